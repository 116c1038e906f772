/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on LMDB: a B+tree in one file, mapped for reading, written through
 * the file descriptor and flushed at every commit (none of LMDB's flags that
 * trade durability for speed is set).
 */
#include "store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"

enum { LOCK_TRIES = 20, LOCK_WAIT_MS = 100 };

static const char *const table_names[STORE_TABLE_COUNT] = {
    [STORE_SETTINGS] = "settings",   [STORE_INODES] = "inodes",       [STORE_DIRENTS] = "dirents",
    [STORE_SYMLINKS] = "symlinks",   [STORE_UNSETTLED] = "unsettled", [STORE_ORPHANS] = "orphans",
    [STORE_REMOVALS] = "removals",   [STORE_WRITERS] = "writers",     [STORE_ANSWERS] = "answers",
    [STORE_MEMBERS] = "members",     [STORE_POINTERS] = "pointers",
    [STORE_HINTS] = "hints",
};

struct store_txn {
    struct store *store;
    MDB_txn *txn;
    bool write;
    bool broken;
    uint64_t changes;
};

struct store {
    MDB_env *env;
    MDB_dbi tables[STORE_TABLE_COUNT];
    struct store_txn txn; /* there is one at a time */
    char *dir;
    uint64_t bytes_max;
    int lock_fd;
    bool dead;
};

static MDB_val val_of(struct store_bytes bytes)
{
    return (MDB_val){.mv_size = bytes.length, .mv_data = (void *)bytes.data};
}
static struct store_bytes bytes_of(MDB_val val)
{
    return (struct store_bytes){.data = val.mv_data, .length = val.mv_size};
}

/* LMDB's errors are positive errnos, or its own below zero. */
static int lmdb_error(struct store *store, int error, const char *what)
{
    switch (error) {
    case MDB_MAP_FULL:
        return err_set(-ENOSPC,
                       "the metadata store in %s is full (%" PRIu64
                       " bytes); raise metadata_bytes_max in the configuration's limits",
                       store->dir, store->bytes_max);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
        return err_set(-EUCLEAN, "%s the metadata store in %s: %s", what, store->dir, mdb_strerror(error));
    case MDB_PANIC:
        store->dead = true;
        return err_set(-EIO, "the metadata store in %s cannot go on after a failed write; restart the server",
                       store->dir);
    default:
        return err_set(error > 0 ? -error : -EIO, "%s the metadata store in %s: %s", what, store->dir,
                       mdb_strerror(error));
    }
}

static int txn_error(struct store_txn *txn, int error, const char *what)
{
    txn->broken = true;
    return lmdb_error(txn->store, error, what);
}

/* ---- opening ------------------------------------------------------------ */

static int make_dir(const char *dir)
{
    if (mkdir(dir, 0700) == 0 || errno == EEXIST)
        return 0;
    return err_sys("making the metadata folder %s", dir);
}

/* The names of new files are durable only once their folder is. */
static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys("opening the metadata folder %s", dir);
    int error = fsync(fd) ? err_sys("flushing the metadata folder %s", dir) : 0;
    close(fd);
    return error;
}

static int lock(struct store *store)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/lock", store->dir) >= sizeof path)
        return err_set(-ENAMETOOLONG, "the metadata folder's name is too long: %s", store->dir);
    store->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock_fd < 0)
        return err_sys("opening %s", path);
    /* One that was killed a moment ago may still be on its way out. */
    int error = EWOULDBLOCK;
    for (int tries = 0; tries < LOCK_TRIES && error == EWOULDBLOCK; tries++) {
        if (tries)
            usleep(LOCK_WAIT_MS * 1000);
        error = flock(store->lock_fd, LOCK_EX | LOCK_NB) ? errno : 0;
    }
    if (error == 0)
        return 0;
    if (error == EWOULDBLOCK)
        return err_set(-EBUSY, "another metadata server works in %s; end it first", store->dir);
    errno = error;
    return err_sys("locking %s", path);
}

static int open_env(struct store *store)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    int error = mdb_env_create(&store->env);
    if (!error)
        error = mdb_env_set_mapsize(store->env, (size_t)store->bytes_max / page * page);
    if (!error)
        error = mdb_env_set_maxdbs(store->env, STORE_TABLE_COUNT);
    /* Only this process works on it (see lock()), with one thread: LMDB's own
     * lock file, which outlives crashes, is not needed. */
    if (!error)
        error = mdb_env_open(store->env, store->dir, MDB_NOTLS | MDB_NOLOCK | MDB_NORDAHEAD, 0600);
    return error ? lmdb_error(store, error, "opening") : 0;
}

static int open_tables(struct store *store)
{
    MDB_txn *txn;
    int error = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (error)
        return lmdb_error(store, error, "opening");
    for (int i = 0; i < STORE_TABLE_COUNT && !error; i++)
        error = mdb_dbi_open(txn, table_names[i], MDB_CREATE, &store->tables[i]);
    if (error)
        mdb_txn_abort(txn);
    else
        error = mdb_txn_commit(txn);
    return error ? lmdb_error(store, error, "opening") : 0;
}

int store_open(const char *dir, uint64_t bytes_max, struct store **out)
{
    struct store *store = calloc(1, sizeof *store);
    if (!store)
        return err_set(-ENOMEM, "no memory for the metadata store");
    store->lock_fd = -1;
    store->bytes_max = bytes_max;
    store->dir = strdup(dir);
    int error = store->dir ? make_dir(dir) : err_set(-ENOMEM, "no memory for the metadata store");
    if (!error)
        error = lock(store);
    if (!error)
        error = open_env(store);
    if (!error)
        error = open_tables(store);
    if (!error)
        error = sync_dir(dir);
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
        mdb_env_close(store->env);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
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
    int error = mdb_txn_begin(store->env, NULL, write ? 0 : MDB_RDONLY, &txn->txn);
    if (error) {
        txn->txn = NULL;
        return lmdb_error(store, error, "beginning a transaction in");
    }
    *out = txn;
    return 0;
}

int store_commit(struct store_txn *txn)
{
    if (txn->broken) {
        store_abort(txn);
        return -EIO;
    }
    int error = mdb_txn_commit(txn->txn);
    txn->txn = NULL;
    return error ? lmdb_error(txn->store, error, "committing to") : 0;
}

void store_abort(struct store_txn *txn)
{
    mdb_txn_abort(txn->txn);
    txn->txn = NULL;
}

bool store_broken(const struct store_txn *txn)
{
    return txn->broken;
}

uint64_t store_changes(const struct store_txn *txn)
{
    return txn->changes;
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

int store_put(struct store_txn *txn, enum store_table table, struct store_bytes key, struct store_bytes value)
{
    assert(txn->write && key.length > 0 && key.length <= STORE_KEY_BYTES_MAX);
    MDB_val k = val_of(key), v = val_of(value);
    txn->changes++;
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
    txn->changes++;
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
