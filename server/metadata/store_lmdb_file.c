/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_lmdb_file.c: LMDB's file, its map, and how they grow.
 *
 * A commit of a few requests changes some fifteen pages. So where it is safe they are
 * written through the map, which costs a copy, and no system call for each. Safe means that
 * a full disk is met as an error of fallocate(), never as SIGBUS: the file has all blocks
 * below the map's size, which grows with it. File systems that may need more blocks for
 * those that a file has already are written through the descriptor, and so is one that
 * can't allocate.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "store_lmdb.h"

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
    [STORE_SMALL] = "small",       [STORE_XATTRS] = "xattrs",       [STORE_HOLDS] = "holds",
};

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

int lmdb_error(struct store *store, int error, const char *what)
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

/* ---- opening ------------------------------------------------------------ */

static int make_dir(const char *dir)
{
    if (mkdir(dir, 0700) == 0 || errno == EEXIST)
        return 0;
    return err_sys("making the metadata folder %s", dir);
}

/* The names of new files are durable only once their folder is. */
int lmdb_file_sync_dir(const char *dir)
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
        error = mdb_env_set_maxdbs(store->env, STORE_TABLE_COUNT + 1);
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
    if (!error)
        error = mdb_dbi_open(txn, "journal", MDB_CREATE, &store->journal_table);
    if (error)
        mdb_txn_abort(txn);
    else
        error = mdb_txn_commit(txn);
    return error ? lmdb_error(store, error, "opening") : 0;
}

int lmdb_file_open(struct store *store, const char *dir)
{
    int error = make_dir(dir);
    if (!error)
        error = lock(store);
    if (!error)
        error = open_env(store);
    return error ? error : open_tables(store);
}

void lmdb_file_close(struct store *store)
{
    if (store->env)
        mdb_env_close(store->env);
    if (store->lock_fd >= 0)
        close(store->lock_fd);
}

/* ---- growing ------------------------------------------------------------ */

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

static bool may_grow(const struct store *store)
{
    return store->through_map && store->map_bytes < whole_pages(store->bytes_max);
}

bool lmdb_file_can_grow(const struct store *store)
{
    return may_grow(store) && !store->enlarging_failed;
}

uint64_t lmdb_file_pages_left(const struct store *store)
{
    MDB_envinfo info;
    MDB_stat stat;
    mdb_env_info(store->env, &info);
    mdb_env_stat(store->env, &stat);
    return store->map_bytes / stat.ms_psize - ((uint64_t)info.me_last_pgno + 1);
}

int lmdb_file_make_room(struct store *store)
{
    const uint64_t wanted = GROW_BYTES_MIN / 2 / (uint64_t)sysconf(_SC_PAGESIZE);
    if (!may_grow(store))
        return 0;
    if (lmdb_file_pages_left(store) >= wanted && !store->did_not_fit)
        return 0;
    store->did_not_fit = false;
    return enlarge(store);
}
