/* SPDX-License-Identifier: Apache-2.0 */
#include "sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>

#include "err.h"
#include "log.h"
#include "shard.h"

/* Of one turn of the shard's loop: objects that are looked at, and such that are removed at once. */
enum { LOOKS = 32, REMOVALS = 8 };
/* From one turn that looks to the next: 640 objects a second. */
#define PAUSE_NS UINT64_C(50000000)
/* When it could not be asked. */
#define RETRY_NS UINT64_C(1000000000)
#define S_NS     UINT64_C(1000000000)

enum stage { RESTS, LOOKS_ON, ASKS, REMOVES };

struct found {
    struct store_object object;
    uint32_t store;    /* index into the shard's */
    uint32_t question; /* its inode's place there */
};

struct sweep {
    struct shard *shard;
    enum stage stage;
    uint64_t due_ns; /* nothing is done before */

    uint32_t store;             /* that is looked at; behind the last: all were */
    struct store_object object; /* the latest one */
    uint32_t found_count, found_at;
    struct found found[LIMITS_SWEEP_INODES_MAX];
    struct sweep_question question;

    struct store_op op;
    bool is_removing;
    uint64_t swept, failed; /* of this pass */
};

static bool can_list(const struct shard *shard)
{
    for (uint32_t i = 0; i < shard->server->target_count; i++)
        if (shard->stores[i]->type->next)
            return true;
    return false;
}

static uint64_t interval_ns(const struct shard *shard)
{
    return shard->server->conf->sweep_interval_s * S_NS;
}

/* From a quarter of the interval on, so that shards that were started together don't all ask at once, and
 * what has just started is left alone. */
static uint64_t first_pause_ns(const struct shard *shard)
{
    uint64_t random;
    randombytes_buf(&random, sizeof random);
    const uint64_t quarter = interval_ns(shard) / 4;
    return quarter + random % (3 * quarter);
}

int sweep_open(struct shard *shard)
{
    if (!shard->server->conf->sweep_interval_s || !can_list(shard))
        return 0;
    struct sweep *sweep = calloc(1, sizeof *sweep);
    if (!sweep)
        return err_set(-ENOMEM, "no memory for a shard");
    sweep->shard = shard;
    sweep->due_ns = rpc_now_ns() + first_pause_ns(shard);
    shard->sweep = sweep;
    return 0;
}

void sweep_close(struct shard *shard)
{
    free(shard->sweep);
    shard->sweep = NULL;
}

/* ---- removing ------------------------------------------------------------------ */

static void removed(struct sweep *sweep, int status)
{
    sweep->is_removing = false;
    sweep->shard->under_way--;
    if (status == 0) {
        sweep->swept++;
        shard_counter_add(sweep->shard, SHARD_OBJECTS_SWEPT, 1);
        return;
    }
    shard_counter_add(sweep->shard, SHARD_STORE_ERRORS, 1);
    if (!sweep->failed++)
        log_error("shard %" PRIu32 ": an object of a file that is gone can't be removed: %s",
                  sweep->shard->index, err_text());
}

static void remove_done(struct store_op *op, ssize_t status)
{
    removed(op->arg, (int)status);
}

/* A crash may undo it: then the next sweep finds it again. That it may come after a comparison of members
 * which began later does no harm either, so it is none of the changes that those wait for. */
static void remove_object(struct sweep *sweep, const struct found *found)
{
    struct store *store = sweep->shard->stores[found->store];
    sweep->op = (struct store_op){.done = remove_done, .arg = sweep};
    sweep->is_removing = true;
    sweep->shard->under_way++; /* the store must not be closed */
    int result = store->type->remove(store, &found->object, &sweep->op);
    if (result != STORE_PENDING)
        removed(sweep, result);
}

/* Its removal may have come while this one asked. */
static bool is_there(const struct shard *shard, const struct found *found)
{
    struct store *store = shard->stores[found->store];
    const struct store_object *object = &found->object;
    struct store_object next = {.ino = object->position ? object->ino : object->ino - 1,
                                .position = object->position - 1};
    int error = store->type->next(store, &next);
    return error ? error != -ENOENT : next.ino == object->ino && next.position == object->position;
}

static void remove_some(struct sweep *sweep)
{
    for (unsigned i = 0; i < REMOVALS && !sweep->is_removing;) {
        if (sweep->found_at == sweep->found_count) {
            sweep->found_at = sweep->found_count = sweep->question.count = 0;
            sweep->stage = LOOKS_ON;
            return;
        }
        const struct found *found = &sweep->found[sweep->found_at++];
        if (!sweep->question.is_gone[found->question] || !is_there(sweep->shard, found))
            continue;
        remove_object(sweep, found);
        i++;
    }
}

/* ---- asking -------------------------------------------------------------------- */

static void ask(struct sweep *sweep)
{
    struct server *server = sweep->shard->server;
    for (uint32_t i = 0; i < sweep->question.count; i++)
        sweep->question.is_gone[i] = false;
    sweep->stage = ASKS;
    atomic_store(&sweep->question.state, SWEEP_ASKED);
    server->sweep_asks(server->map_wanted_arg);
}

struct sweep_question *sweep_asked(const struct shard *shard)
{
    struct sweep *sweep = shard->sweep;
    return sweep && atomic_load(&sweep->question.state) == SWEEP_ASKED ? &sweep->question : NULL;
}

void sweep_answer(struct shard *shard, struct sweep_question *question, int status)
{
    question->status = status;
    atomic_store(&question->state, SWEEP_ANSWERED);
    rpc_wake(shard->rpc);
}

static bool has_answer(const struct sweep *sweep)
{
    return atomic_load(&sweep->question.state) == SWEEP_ANSWERED;
}

static void take_answer(struct sweep *sweep, uint64_t now_ns)
{
    if (!has_answer(sweep))
        return;
    atomic_store(&sweep->question.state, SWEEP_MADE);
    sweep->stage = sweep->question.status ? LOOKS_ON : REMOVES;
    if (sweep->question.status)
        sweep->due_ns = now_ns + RETRY_NS;
}

/* ---- looking ------------------------------------------------------------------- */

static void begin(struct sweep *sweep)
{
    sweep->store = 0;
    sweep->object = (struct store_object){0};
    sweep->swept = sweep->failed = 0;
    sweep->stage = LOOKS_ON;
}

static void end(struct sweep *sweep, uint64_t now_ns)
{
    shard_counter_add(sweep->shard, SHARD_SWEEPS, 1);
    if (sweep->swept)
        log_info("shard %" PRIu32 ": removed %" PRIu64 " objects of files that are gone", sweep->shard->index,
                 sweep->swept);
    sweep->due_ns = now_ns + interval_ns(sweep->shard);
    sweep->stage = RESTS;
}

/* Objects come in the order of their inodes, so one inode's are asked for once. */
static void note(struct sweep *sweep)
{
    struct sweep_question *question = &sweep->question;
    if (!question->count || question->inos[question->count - 1] != sweep->object.ino)
        question->inos[question->count++] = sweep->object.ino;
    sweep->found[sweep->found_count++] =
        (struct found){.object = sweep->object, .store = sweep->store, .question = question->count - 1};
}

static bool is_at_end(const struct sweep *sweep)
{
    return sweep->store == sweep->shard->server->target_count;
}

static bool is_full(const struct sweep *sweep)
{
    return sweep->found_count == LIMITS_SWEEP_INODES_MAX;
}

static void look_on(struct sweep *sweep)
{
    for (unsigned i = 0; i < LOOKS && !is_full(sweep) && !is_at_end(sweep); i++) {
        struct store *store = sweep->shard->stores[sweep->store];
        int error = store->type->next ? store->type->next(store, &sweep->object) : -ENOENT;
        if (error == 0) {
            note(sweep);
            continue;
        }
        if (error != -ENOENT)
            log_error("shard %" PRIu32 ": looking for objects of files that are gone: %s",
                      sweep->shard->index, err_text());
        sweep->store++;
        sweep->object = (struct store_object){0};
    }
}

static void look(struct sweep *sweep, uint64_t now_ns)
{
    look_on(sweep);
    sweep->due_ns = now_ns + PAUSE_NS;
    if (is_full(sweep) || (is_at_end(sweep) && sweep->found_count))
        ask(sweep);
    else if (is_at_end(sweep))
        end(sweep, now_ns);
}

/* ---- turns --------------------------------------------------------------------- */

/* Before there is a map nobody could be asked. */
static bool waits_for_others(const struct sweep *sweep)
{
    return !sweep->shard->map || sweep->is_removing || (sweep->stage == ASKS && !has_answer(sweep));
}

int sweep_timeout_ms(const struct shard *shard)
{
    const struct sweep *sweep = shard->sweep;
    if (!sweep || waits_for_others(sweep))
        return -1;
    const uint64_t now_ns = rpc_now_ns();
    if (sweep->stage == ASKS || sweep->stage == REMOVES || now_ns >= sweep->due_ns)
        return 0;
    const uint64_t ms = (sweep->due_ns - now_ns) / 1000000 + 1;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

void sweep_tick(struct shard *shard)
{
    struct sweep *sweep = shard->sweep;
    if (!sweep || waits_for_others(sweep))
        return;
    const uint64_t now_ns = rpc_now_ns();
    if (sweep->stage == ASKS)
        take_answer(sweep, now_ns);
    else if (sweep->stage == REMOVES)
        remove_some(sweep);
    else if (now_ns < sweep->due_ns)
        return;
    else if (sweep->stage == RESTS)
        begin(sweep);
    else
        look(sweep, now_ns);
}
