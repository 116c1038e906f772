/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on LMDB, a B+tree in one file, with a journal in front of it (store_journal.h).
 *
 * One transaction of LMDB goes on over many of ours: each is durable by its record in the journal, and
 * LMDB's is committed, with a flush (none of its flags that trade durability for speed is set), when a good
 * number of changes have come together, when the journal is full, and at the end. That is a checkpoint. A
 * transaction of ours that is to be undone takes LMDB's with it: what was acknowledged is done again from
 * the journal, and a checkpoint follows, so that the next one has little to do again. Where there can be no
 * journal, or hardly any room is left in the map, every transaction is a checkpoint.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "store_lmdb.h"

/* A long value counts as several changes: it takes pages of its own. */
#define CHANGE_BYTES 1024u

static int txn_error(struct store_txn *txn, int error, const char *what)
{
    txn->broken = true;
    return lmdb_error(txn->store, error, what);
}

int store_open(const char *dir, uint64_t bytes_max, struct store **out)
{
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        return err_set(-ENOMEM, "no memory for the metadata store");
    store->lock_fd = -1;
    store->bytes_max = bytes_max;
    store->dir = strdup(dir);
    int error =
        store->dir ? lmdb_file_open(store, dir) : err_set(-ENOMEM, "no memory for the metadata store");
    if (!error)
        error = checkpoint_open(store);
    if (error) {
        store_close(store);
        return error;
    }
    *out = store;
    return 0;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    if (store->env)
        checkpoint_close(store);
    journal_close(store->journal);
    lmdb_file_close(store);
    free(store->dir);
    free(store);
}

bool store_dead(const struct store *store)
{
    return store->dead;
}

/* ---- transactions ------------------------------------------------------- */

int store_begin(struct store *store, bool write, struct store_txn **out)
{
    struct store_txn *txn = &store->txn;
    assert(txn->txn == NULL);
    *txn = (struct store_txn){.store = store, .write = write};
    if (store->dead)
        return lmdb_error(store, MDB_PANIC, "beginning a transaction in");
    int error = write ? checkpoint_go_on(store) : 0;
    if (error)
        return error;
    txn->txn = store->going;
    if (!txn->txn) {
        error = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn->txn);
        if (error) {
            txn->txn = NULL;
            return lmdb_error(store, error, "beginning a transaction in");
        }
    }
    *out = txn;
    return 0;
}

static void txn_end(struct store_txn *txn)
{
    if (txn->txn != txn->store->going)
        mdb_txn_abort(txn->txn);
    txn->txn = NULL;
    struct store_rider *rider = txn->rider;
    txn->rider = NULL;
    if (rider)
        rider->end(rider);
}

int store_commit(struct store_txn *txn)
{
    struct store *store = txn->store;
    int error = 0;
    if (!txn->broken && txn->rider && txn->changes > 0)
        error = txn->rider->commit(txn->rider, txn);
    if (txn->broken || error) {
        store_abort(txn);
        return error ? error : -EIO;
    }
    const bool has_changed = txn->changes > 0;
    txn_end(txn);
    if (!has_changed)
        return 0;
    if (store->changes < store->changes_max && journal_fits(store->journal)) {
        error = journal_write(store->journal);
        /* Whether it is durable nobody can tell, so nothing may follow it. */
        store->dead = error != 0;
        return error;
    }
    error = checkpoint_make(store, store->journal != NULL);
    if (error)
        checkpoint_go_back(store);
    return error;
}

void store_abort(struct store_txn *txn)
{
    const bool has_changed = txn->changes > 0 || (txn->write && txn->broken);
    struct store *store = txn->store;
    txn_end(txn);
    if (has_changed)
        checkpoint_go_back(store);
}

bool store_broken(const struct store_txn *txn)
{
    return txn->broken;
}

uint64_t store_changes(const struct store_txn *txn)
{
    return txn->changes;
}

void store_rider_set(struct store_txn *txn, struct store_rider *rider)
{
    assert(!txn->rider);
    txn->rider = rider;
}

struct store_rider *store_rider(const struct store_txn *txn)
{
    return txn->rider;
}

void store_arg_set(struct store_txn *txn, const void *arg)
{
    txn->arg = arg;
}

const void *store_arg(const struct store_txn *txn)
{
    return txn->arg;
}

/* ---- keys and values ---------------------------------------------------- */

int store_get(struct store_txn *txn, enum store_table table, struct store_bytes key,
              struct store_bytes *value)
{
    MDB_val k = val_of(key), v;
    int error = mdb_get(txn->txn, txn->store->tables[table], &k, &v);
    if (error == MDB_NOTFOUND)
        return -ENOENT;
    if (error)
        return txn_error(txn, error, "reading");
    *value = bytes_of(v);
    return 0;
}

static void note(struct store_txn *txn, const struct journal_change *change)
{
    txn->changes++;
    txn->store->changes += 1 + change->value.length / CHANGE_BYTES;
    if (txn->store->journal)
        journal_note(txn->store->journal, change);
}

int store_put(struct store_txn *txn, enum store_table table, struct store_bytes key, struct store_bytes value)
{
    assert(txn->write && key.length > 0 && key.length <= STORE_KEY_BYTES_MAX);
    MDB_val k = val_of(key), v = val_of(value);
    note(txn, &(struct journal_change){.table = (uint8_t)table, .key = key, .value = value});
    int error = mdb_put(txn->txn, txn->store->tables[table], &k, &v, 0);
    return error ? txn_error(txn, error, "writing to") : 0;
}

int store_delete(struct store_txn *txn, enum store_table table, struct store_bytes key)
{
    assert(txn->write);
    MDB_val k = val_of(key);
    int error = mdb_del(txn->txn, txn->store->tables[table], &k, NULL);
    if (error == MDB_NOTFOUND)
        return -ENOENT;
    note(txn, &(struct journal_change){.is_delete = true, .table = (uint8_t)table, .key = key});
    return error ? txn_error(txn, error, "writing to") : 0;
}

int store_each(struct store_txn *txn, enum store_table table, struct store_bytes from, store_each_fn *each,
               void *arg)
{
    MDB_cursor *cursor;
    int error = mdb_cursor_open(txn->txn, txn->store->tables[table], &cursor);
    if (error)
        return txn_error(txn, error, "reading");
    MDB_val key = val_of(from), value;
    int result = 0;
    error = mdb_cursor_get(cursor, &key, &value, from.length ? MDB_SET_RANGE : MDB_FIRST);
    while (!error) {
        result = each(arg, bytes_of(key), bytes_of(value));
        if (result)
            break;
        error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (error && error != MDB_NOTFOUND)
        return txn_error(txn, error, "reading");
    return result;
}

int store_count(struct store_txn *txn, enum store_table table, uint64_t *count)
{
    MDB_stat stat;
    int error = mdb_stat(txn->txn, txn->store->tables[table], &stat);
    if (error)
        return txn_error(txn, error, "reading");
    *count = stat.ms_entries;
    return 0;
}
