/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_lmdb_checkpoint.c: from many transactions of ours to one of LMDB's.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "store_lmdb.h"

/* A checkpoint is due after so many changes: LMDB keeps track of 131,071 changed pages. */
#define CHANGES_MAX          16384u
/* There must be room in the map for all of them until then. That they do not fit is mended as long as the map
 * can grow (redo_all()), so what they usually take is counted on; else all that they can take. */
#define PAGES_OF_CHANGE      1u
#define PAGES_OF_CHANGE_MOST 8u
/* Fewer are not worth a journal. */
#define CHANGES_MIN          64u

enum { REDO_TRIES = 3 };

static uint64_t changes_that_fit(const struct store *store)
{
    const uint64_t each = lmdb_file_can_grow(store) ? PAGES_OF_CHANGE : PAGES_OF_CHANGE_MOST;
    const uint64_t changes = lmdb_file_pages_left(store) / each;
    if (!store->journal || changes < CHANGES_MIN)
        return 0;
    return changes < CHANGES_MAX ? changes : CHANGES_MAX;
}

int checkpoint_go_on(struct store *store)
{
    if (store->going)
        return 0;
    int error = lmdb_file_make_room(store);
    if (error)
        return error;
    error = mdb_txn_begin(store->env, NULL, 0, &store->going);
    if (error) {
        store->going = NULL;
        return lmdb_error(store, error, "beginning a transaction in");
    }
    store->changes = 0;
    store->changes_max = changes_that_fit(store);
    return 0;
}

static void drop(struct store *store)
{
    if (store->going)
        mdb_txn_abort(store->going);
    store->going = NULL;
}

static MDB_val state_key(void)
{
    static char name[] = "state";
    return (MDB_val){.mv_size = sizeof name - 1, .mv_data = name};
}

int checkpoint_make(struct store *store, bool in_use)
{
    struct journal_state state = store->state;
    MDB_val key = state_key(), value = {.mv_size = sizeof state, .mv_data = &state};
    if (store->journal)
        state.done = journal_last(store->journal);
    state.bytes = in_use ? journal_bytes(store->journal) : 0;
    int error = mdb_put(store->going, store->journal_table, &key, &value, 0);
    if (error)
        mdb_txn_abort(store->going);
    else
        error = mdb_txn_commit(store->going);
    store->going = NULL;
    if (error)
        return lmdb_error(store, error, "committing to");
    store->state = state;
    if (store->journal)
        journal_restart(store->journal);
    return 0;
}

static int redo(void *arg, const struct journal_change *change)
{
    struct store *store = arg;
    MDB_val key = val_of(change->key), value = val_of(change->value);
    int error = change->is_delete ? mdb_del(store->going, store->tables[change->table], &key, NULL)
                                  : mdb_put(store->going, store->tables[change->table], &key, &value, 0);
    if (error == MDB_NOTFOUND)
        return err_set(-EUCLEAN, "the journal of the metadata store in %s does not fit to it", store->dir);
    return error ? lmdb_error(store, error, "redoing changes in") : 0;
}

static int redo_once(struct store *store)
{
    int error = checkpoint_go_on(store);
    if (error)
        return error;
    int64_t count = journal_replay(store->journal, store->state.done, redo, store);
    if (count > 0)
        log_debug("%lld transactions of the journal were done again", (long long)count);
    if (count >= 0)
        return checkpoint_make(store, true);
    drop(store);
    return (int)count;
}

/* What the journal has is done again, upon the last checkpoint, and is one. There may be no room for it only
 * because something else had taken it: then the map grows before the next try. */
static int redo_all(struct store *store)
{
    int error = redo_once(store);
    for (int tries = 1; tries < REDO_TRIES && error == -ENOSPC; tries++)
        error = redo_once(store);
    return error;
}

void checkpoint_go_back(struct store *store)
{
    drop(store);
    if (store->journal)
        journal_forget(store->journal);
    if (!store->journal || journal_is_empty(store->journal) || !redo_all(store))
        return;
    store->dead = true;
    log_error("what was acknowledged could not be done again (%s); it is kept in the journal", err_text());
}

static int read_state(struct store *store)
{
    MDB_txn *txn;
    MDB_val key = state_key(), value;
    int error = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);
    if (error)
        return lmdb_error(store, error, "opening");
    error = mdb_get(txn, store->journal_table, &key, &value);
    if (!error && value.mv_size == sizeof store->state)
        memcpy(&store->state, value.mv_data, sizeof store->state);
    else if (!error)
        error = MDB_CORRUPTED;
    mdb_txn_abort(txn);
    if (!error)
        return 0;
    if (error != MDB_NOTFOUND)
        return lmdb_error(store, error, "opening");
    if (getrandom(&store->state.id, sizeof store->state.id, 0) != sizeof store->state.id)
        return err_sys("making the number of a journal");
    return 0;
}

static int open_journal(struct store *store)
{
    int error = read_state(store);
    if (error)
        return error;
    if (journal_is_given_up(store->dir)) {
        log_warn("%s/journal.given-up: what was changed last in the metadata store is given up", store->dir);
        store->state.bytes = 0;
        store->state.done += JOURNAL_JUMP;
    }
    error = journal_open(store->dir, store->state.id, store->state.bytes, &store->journal);
    if (!error || store->state.bytes)
        return error;
    log_info("%s; each transaction is flushed by itself", err_text());
    store->journal = NULL;
    return 0;
}

/* A store that was closed needs its journal no more. */
void checkpoint_close(struct store *store)
{
    if (store->dead || !store->journal || (!store->going && !store->state.bytes)) {
        drop(store);
        return;
    }
    int error = checkpoint_go_on(store);
    if (!error)
        error = checkpoint_make(store, false);
    if (error)
        log_warn("%s; what was changed last is kept in the journal", err_text());
    drop(store);
}

int checkpoint_open(struct store *store)
{
    int error = open_journal(store);
    if (!error)
        error = lmdb_file_sync_dir(store->dir);
    if (!error && store->journal)
        error = redo_all(store);
    if (!error)
        journal_give_up(store->dir);
    return error;
}
