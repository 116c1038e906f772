/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store on LMDB: a B+tree in one file, flushed at every commit (none of LMDB's
 * flags that trade durability for speed is set).
 *
 * A commit of a few requests changes some fifteen pages. So where it is safe they are
 * written through the map, which costs a copy, and no system call for each. Safe means that
 * a full disk is met as an error of fallocate(), never as SIGBUS: the file has all blocks
 * below the map's size, which grows with it. File systems that may need more blocks for
 * those that a file has already are written through the descriptor, and so is one that
 * can't allocate.
 */
#include "store.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "err.h"
#include "log.h"

enum { LOCK_TRIES = 20, LOCK_WAIT_MS = 100 };

/* So much the file grows by at a time, or by an eighth when that is more. */
#define GROW_BYTES_MIN (UINT64_C(16) << 20)
#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

static const char *const table_names[STORE_TABLE_COUNT] = {
    [STORE_SETTINGS] = "settings", [STORE_INODES] = "inodes",       [STORE_DIRENTS] = "dirents",
    [STORE_SYMLINKS] = "symlinks", [STORE_UNSETTLED] = "unsettled", [STORE_ORPHANS] = "orphans",
    [STORE_REMOVALS] = "removals", [STORE_WRITERS] = "writers",     [STORE_ANSWERS] = "answers",
    [STORE_MEMBERS] = "members",   [STORE_POINTERS] = "pointers",   [STORE_HINTS] = "hints",
    [STORE_SMALL] = "small",
};

struct store_txn {
    struct store *store;
    MDB_txn *txn;
    bool write;
    bool broken;
    uint64_t changes;
    const void *arg;
};

struct store {
    MDB_env *env;
    MDB_dbi tables[STORE_TABLE_COUNT];
    struct store_txn txn; /* there is one at a time */
    char *dir;
    uint64_t bytes_max;
    uint64_t map_bytes; /* all of them allocated, when the map is written to */
    int lock_fd;
    bool through_map;
    bool did_not_fit; /* a transaction, in the map as it is */
    bool enlarging_failed;
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

static uint64_t whole_pages(uint64_t bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return bytes / page * page;
}

static int full(const struct store *store)
{
    if (store->enlarging_failed)
        return err_set(-ENOSPC,
                       "the metadata store in %s is full (%" PRIu64
                       " bytes), and its file system has no space for more",
                       store->dir, store->map_bytes);
    if (store->through_map && store->map_bytes < whole_pages(store->bytes_max))
        return err_set(-ENOSPC,
                       "the metadata store in %s has no room for so much at once (%" PRIu64
                       " bytes); it is enlarged up to metadata_bytes_max, so try again",
                       store->dir, store->map_bytes);
    return err_set(-ENOSPC,
                   "the metadata store in %s is full (%" PRIu64
                   " bytes); raise metadata_bytes_max in the configuration's limits",
                   store->dir, store->bytes_max);
}

/* LMDB's errors are positive errnos, or its own below zero. */
static int lmdb_error(struct store *store, int error, const char *what)
{
    switch (error) {
    case MDB_MAP_FULL:
        store->did_not_fit = true;
        return full(store);
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

/* Whether blocks that a file has are never needed anew: not so where all is copied on write. */
static bool keeps_blocks(const char *dir)
{
    struct statfs fs;
    return statfs(dir, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == EXT4_SUPER_MAGIC ||
                                     fs.f_type == (__fsword_t)XFS_SUPER_MAGIC);
}

static int open_env_with(struct store *store, unsigned flags)
{
    int error = mdb_env_create(&store->env);
    if (!error)
        error = mdb_env_set_mapsize(store->env, (size_t)store->map_bytes);
    if (!error)
        error = mdb_env_set_maxdbs(store->env, STORE_TABLE_COUNT);
    /* Only this process works on it (see lock()), with one thread: LMDB's own
     * lock file, which outlives crashes, is not needed. */
    if (!error)
        error = mdb_env_open(store->env, store->dir, MDB_NOTLS | MDB_NOLOCK | MDB_NORDAHEAD | flags, 0600);
    return error ? lmdb_error(store, error, "opening") : 0;
}

/* The file gets the blocks of what is mapped from `from` on. */
static int allocate(struct store *store, uint64_t from, uint64_t to)
{
    int fd;
    int error = mdb_env_get_fd(store->env, &fd);
    if (error)
        return lmdb_error(store, error, "opening");
    while (fallocate(fd, 0, (off_t)from, (off_t)(to - from)) != 0) {
        if (errno != EINTR)
            return err_sys("allocating %" PRIu64 " bytes for the metadata store in %s", to - from,
                           store->dir);
    }
    return 0;
}

/* As large as the file is now, and a little more if it is new. */
static uint64_t first_map_bytes(const struct store *store)
{
    char path[4096];
    struct stat file;
    uint64_t bytes = GROW_BYTES_MIN;
    if ((size_t)snprintf(path, sizeof path, "%s/data.mdb", store->dir) < sizeof path &&
        stat(path, &file) == 0 && (uint64_t)file.st_size > bytes)
        bytes = (uint64_t)file.st_size;
    return whole_pages(bytes < store->bytes_max ? bytes : store->bytes_max);
}

static int open_env(struct store *store)
{
    store->map_bytes = first_map_bytes(store);
    if (keeps_blocks(store->dir)) {
        int error = open_env_with(store, MDB_WRITEMAP);
        if (error)
            return error;
        /* LMDB knows better when more than that is in use. */
        MDB_envinfo info;
        mdb_env_info(store->env, &info);
        store->map_bytes = info.me_mapsize;
        if (allocate(store, 0, store->map_bytes) == 0) {
            store->through_map = true;
            return 0;
        }
        log_info("%s; it is written through its descriptor", err_text());
        mdb_env_close(store->env);
        store->env = NULL;
    }
    store->map_bytes = whole_pages(store->bytes_max);
    return open_env_with(store, 0);
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

/* Enlarges the file first, then the map. When the disk has no more, what is there is used up. */
static int enlarge(struct store *store)
{
    uint64_t step = store->map_bytes / 8 > GROW_BYTES_MIN ? store->map_bytes / 8 : GROW_BYTES_MIN;
    uint64_t room = store->bytes_max - store->map_bytes;
    uint64_t bytes = whole_pages(store->map_bytes + (step < room ? step : room));
    bool failed_before = store->enlarging_failed;
    store->enlarging_failed = allocate(store, store->map_bytes, bytes) < 0;
    if (store->enlarging_failed) {
        if (!failed_before)
            log_warn("%s", err_text());
        return 0;
    }
    int error = mdb_env_set_mapsize(store->env, (size_t)bytes);
    if (error) {
        store->dead = true; /* LMDB has let go of the old map */
        return lmdb_error(store, error, "enlarging");
    }
    store->map_bytes = bytes;
    return 0;
}

/* Keeps so much room in the map that a transaction hardly ever fails for want of it; one that does is
 * run again, in parts, by whoever began it. */
static int make_room(struct store *store)
{
    MDB_envinfo info;
    MDB_stat stat;
    if (!store->through_map || store->map_bytes >= whole_pages(store->bytes_max))
        return 0;
    mdb_env_info(store->env, &info);
    mdb_env_stat(store->env, &stat);
    uint64_t left = store->map_bytes - ((uint64_t)info.me_last_pgno + 1) * stat.ms_psize;
    if (left >= GROW_BYTES_MIN / 2 && !store->did_not_fit)
        return 0;
    store->did_not_fit = false;
    return enlarge(store);
}

int store_begin(struct store *store, bool write, struct store_txn **out)
{
    struct store_txn *txn = &store->txn;
    assert(txn->txn == NULL);
    *txn = (struct store_txn){.store = store, .write = write};
    int error = write ? make_room(store) : 0;
    if (error)
        return error;
    error = mdb_txn_begin(store->env, NULL, write ? 0 : MDB_RDONLY, &txn->txn);
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
