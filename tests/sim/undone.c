/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches of the metadata server's whose commit fails, so that each of their jobs runs again by itself: what
 * a full store, or a job that fails half-way, brings about. No client is to notice; what one would notice
 * seldom, after a restart, is looked at here.
 */
#include <errno.h>
#include <inttypes.h>

#include "err.h"
#include "../unit/meta_recount.h"
#include "metadata/turn.h"
#include "sim.h"

static struct {
    unsigned per_million; /* of the batches */
    uint64_t count;
    /* processes; 0: none */
    unsigned next; /* whose next transaction is to fail */
    unsigned due;  /* whose present one is */
} undone;

void __real_turn_run(struct turn *turn, uint64_t now_ns);
void __wrap_turn_run(struct turn *turn, uint64_t now_ns);
int __real_store_begin(struct store *store, bool write, struct store_txn **txn);
int __wrap_store_begin(struct store *store, bool write, struct store_txn **txn);
int __real_store_commit(struct store_txn *txn);
int __wrap_store_commit(struct store_txn *txn);
void __real_store_close(struct store *store);
void __wrap_store_close(struct store *store);

void undone_begin(unsigned per_million)
{
    undone.per_million = per_million;
}

uint64_t undone_end(void)
{
    const uint64_t count = undone.count;
    undone.count = 0;
    undone.per_million = 0;
    return count;
}

/* How many jobs the next transaction is of, if it writes. A single one would not be run again, but told. */
static unsigned batch_jobs(const struct turn *turn)
{
    unsigned count = 0;
    list_each(&turn->queue, link, after)
    {
        const bool alone = list_item(link, struct job, link)->alone;
        if (!alone || count == 0)
            count++;
        if (alone)
            break;
    }
    list_each(&turn->lazy, link, after)
        count++;
    return count;
}

/* ---- who writes, as the store and the memory have it ------------------------- */

struct writers {
    struct opens *opens;
    uint64_t count;
};

static int check_writer(void *arg, const struct writer *writer)
{
    struct writers *writers = arg;
    const struct opens_handle *handle = opens_find(writers->opens, writer->handle);
    if (!handle || !handle->recorded || opens_ino(handle->file) != writer->ino)
        sim_fail("the store has a handle %#" PRIx64 " that writes, and the memory has not", writer->handle);
    writers->count++;
    return 0;
}

static uint64_t count_recorded(const struct opens *opens)
{
    uint64_t count = 0;
    list_each(&opens->clients, at, after)
    {
        const struct opens_client *client = list_item(at, struct opens_client, link);
        list_each(&client->handles, link, next)
            count += list_item(link, struct opens_handle, link)->recorded;
    }
    return count;
}

static void check_writers(const struct turn *turn)
{
    struct writers writers = {.opens = turn->opens};
    struct store_txn *txn;
    if (__real_store_begin(turn->store, false, &txn))
        sim_fail("%s", err_text());
    const int error = records_writer_each(txn, check_writer, &writers);
    store_abort(txn);
    if (error)
        sim_fail("%s", err_text());
    const uint64_t recorded = count_recorded(turn->opens);
    if (recorded != writers.count)
        sim_fail("%" PRIu64 " handles count as recorded, and the store has %" PRIu64, recorded,
                 writers.count);
}

/* ---- how much there is, likewise --------------------------------------------- */

enum { RECOUNT_EVERY = 16 }; /* commits */

static void check_sums(struct store *store)
{
    struct store_txn *txn;
    if (__real_store_begin(store, false, &txn))
        sim_fail("%s", err_text());
    const char *difference = recount(txn);
    store_abort(txn);
    if (difference)
        sim_fail("the sums of usage are wrong: %s", difference);
}

/* ---- turns ------------------------------------------------------------------- */

/* Commits take their time, so that requests gather. The jobs of a batch run again in the same call: none of
 * them is undone twice. */
void __wrap_turn_run(struct turn *turn, uint64_t now_ns)
{
    const uint64_t reruns = counter_get(&turn->counters[TURN_RERUNS]);
    const uint64_t commits = counter_get(&turn->counters[TURN_COMMITS]);
    if (undone.per_million)
        fiber_sleep(sim_below(2 * SIM_MS));
    const bool fails = batch_jobs(turn) > 1 && sim_chance(undone.per_million);
    undone.next = fails ? process_current->id : 0;
    __real_turn_run(turn, now_ns);
    undone.next = undone.due = 0;
    const bool has_rerun = counter_get(&turn->counters[TURN_RERUNS]) != reruns;
    if (has_rerun)
        check_writers(turn);
    if (has_rerun || commits / RECOUNT_EVERY != counter_get(&turn->counters[TURN_COMMITS]) / RECOUNT_EVERY)
        check_sums(turn->store);
}

int __wrap_store_begin(struct store *store, bool write, struct store_txn **txn)
{
    undone.due = undone.next;
    undone.next = 0;
    return __real_store_begin(store, write, txn);
}

int __wrap_store_commit(struct store_txn *txn)
{
    if (undone.due != process_current->id || !store_changes(txn) || store_broken(txn))
        return __real_store_commit(txn);
    undone.count++;
    sim_trace("a batch is undone");
    store_abort(txn);
    return err_set(-EIO, "the simulation wants this to be done again");
}

/* A server ends properly. */
void __wrap_store_close(struct store *store)
{
    if (store && !store_dead(store))
        check_sums(store);
    __real_store_close(store);
}
