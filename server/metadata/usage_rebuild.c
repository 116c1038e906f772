/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting anew: a store that comes from a server that kept no sums, that one has changed since, or
 * whose sums were found to be wrong.
 *
 * First all sums and rows of links go. Then every name is looked at: it says in which directory its inode
 * lies. Then every inode is counted. All that in transactions of a bounded size, while nobody else is served.
 * When it is cut short, it begins again with the next start: only the last step says that the sums are known.
 *
 * An inode whose record is damaged is left out: it can neither be changed nor removed.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "links.h"
#include "log.h"
#include "records.h"
#include "usage.h"

/* Rows that one transaction goes through. LMDB bounds how many pages it may change. */
enum { BATCH = 2048, LOG_INTERVAL_S = 10, DAMAGED_LOGGED = 10 };

struct row {
    uint64_t dir; /* of a name: where it is */
    uint64_t ino;
};

struct rebuild {
    struct store *store;
    /* Where the next transaction goes on. */
    uint8_t next[STORE_KEY_BYTES_MAX + 1];
    size_t next_length;
    struct row rows[BATCH];
    struct store_bytes keys[BATCH]; /* of what is to be deleted, in `bytes` */
    uint8_t bytes[BATCH * 16 + STORE_KEY_BYTES_MAX];
    size_t count, used;
    bool full;
    uint64_t names, inodes, damaged;
    time_t logged_s;
};

/* One transaction: looks at the rows that `from` is followed by, then does what they want. */
typedef int gather_fn(struct rebuild *rebuild, struct store_bytes key, struct store_bytes value);
typedef int change_fn(struct rebuild *rebuild, struct store_txn *txn, enum store_table table);

static time_t now_s(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec;
}

/* ---- going through a table ------------------------------------------------ */

struct walk {
    struct rebuild *rebuild;
    gather_fn *gather;
};

static int step(void *arg, struct store_bytes key, struct store_bytes value)
{
    const struct walk *walk = arg;
    struct rebuild *rebuild = walk->rebuild;
    if (rebuild->count == BATCH) {
        rebuild->full = true;
        return 1;
    }
    /* The least key that is greater. */
    memcpy(rebuild->next, key.data, key.length);
    rebuild->next[key.length] = 0;
    rebuild->next_length = key.length + 1;
    return walk->gather(rebuild, key, value);
}

static int batch(struct rebuild *rebuild, enum store_table table, gather_fn *gather, change_fn *change)
{
    struct store_txn *txn;
    struct walk walk = {.rebuild = rebuild, .gather = gather};
    rebuild->count = rebuild->used = 0;
    rebuild->full = false;
    int error = store_begin(rebuild->store, true, &txn);
    if (error)
        return error;
    error = store_each(txn, table, (struct store_bytes){rebuild->next, rebuild->next_length}, step, &walk);
    if (error >= 0)
        error = change(rebuild, txn, table);
    if (!error)
        return store_commit(txn);
    store_abort(txn);
    return error;
}

static int pass(struct rebuild *rebuild, enum store_table table, gather_fn *gather, change_fn *change)
{
    int error;
    rebuild->next_length = 0;
    do {
        error = batch(rebuild, table, gather, change);
        if (now_s() - rebuild->logged_s >= LOG_INTERVAL_S) {
            rebuild->logged_s = now_s();
            log_info("counting usage anew: %" PRIu64 " names and %" PRIu64 " inodes so far", rebuild->names,
                     rebuild->inodes);
        }
    } while (!error && rebuild->full);
    return error;
}

/* ---- what was there before goes ------------------------------------------- */

static int gather_key(struct rebuild *rebuild, struct store_bytes key, struct store_bytes value)
{
    (void)value;
    /* Longer keys than those that are written are no keys of these tables, and go as well. */
    if (key.length > sizeof rebuild->bytes - rebuild->used) {
        rebuild->next_length = key.length;
        rebuild->full = true;
        return 1;
    }
    uint8_t *copy = rebuild->bytes + rebuild->used;
    memcpy(copy, key.data, key.length);
    rebuild->used += key.length;
    rebuild->keys[rebuild->count++] = (struct store_bytes){copy, key.length};
    return 0;
}

static int delete_keys(struct rebuild *rebuild, struct store_txn *txn, enum store_table table)
{
    int error = 0;
    for (size_t i = 0; i < rebuild->count && !error; i++)
        error = store_delete(txn, table, rebuild->keys[i]);
    return error;
}

/* ---- where each inode lies ------------------------------------------------- */

static int gather_name(struct rebuild *rebuild, struct store_bytes key, struct store_bytes value)
{
    struct row *row = &rebuild->rows[rebuild->count];
    if (key.length < 8 || value.length != sizeof row->ino)
        return 0; /* whoever lists that directory is told */
    row->dir = records_key_u64_of(key.data);
    memcpy(&row->ino, value.data, sizeof row->ino);
    rebuild->count++;
    return 0;
}

/* Nothing is counted yet, and nobody else sees the record change. */
static int put_inode(struct store_txn *txn, const struct inode *inode)
{
    uint8_t key[8], record[INODE_RECORD_BYTES];
    records_key_u64(key, inode->ino);
    inode_encode(inode, record);
    return store_put(txn, STORE_INODES, (struct store_bytes){key, sizeof key},
                     (struct store_bytes){record, sizeof record});
}

static int find_parents(struct rebuild *rebuild, struct store_txn *txn, enum store_table table)
{
    int error = 0;
    (void)table;
    for (size_t i = 0; i < rebuild->count && !error; i++) {
        struct inode inode;
        const struct row *row = &rebuild->rows[i];
        error = records_inode_get(txn, row->ino, &inode);
        if (error && !store_broken(txn)) {
            error = 0;
            continue;
        }
        rebuild->names++;
        if (error || inode_is_dir(&inode))
            continue;
        const uint64_t before = inode.parent;
        if (inode.nlink > 1)
            error = links_met(txn, &inode, row->dir);
        else
            inode.parent = row->dir;
        if (!error && inode.parent != before)
            error = put_inode(txn, &inode);
    }
    return error;
}

/* ---- counting -------------------------------------------------------------- */

static int gather_inode(struct rebuild *rebuild, struct store_bytes key, struct store_bytes value)
{
    (void)value;
    if (key.length == 8)
        rebuild->rows[rebuild->count++].ino = records_key_u64_of(key.data);
    return 0;
}

static int count_inodes(struct rebuild *rebuild, struct store_txn *txn, enum store_table table)
{
    int error = 0;
    (void)table;
    for (size_t i = 0; i < rebuild->count && !error; i++) {
        struct inode inode;
        error = records_inode_get(txn, rebuild->rows[i].ino, &inode);
        if (error && !store_broken(txn)) {
            if (rebuild->damaged++ < DAMAGED_LOGGED)
                log_warn("%s; it is not counted", err_text());
            error = 0;
            continue;
        }
        if (!error && inode.nlink == 0 && inode.parent) {
            inode.parent = 0;
            error = put_inode(txn, &inode);
        }
        if (!error)
            error = usage_count(txn, &inode);
        rebuild->inodes++;
    }
    return error ? error : usage_flush_counted(txn);
}

/* ---- all of it ------------------------------------------------------------- */

/* In a transaction of its own. */
static int note_known(struct store *store)
{
    struct store_txn *txn;
    uint64_t epoch;
    int error = store_begin(store, true, &txn);
    if (error)
        return error;
    error = records_setting_get(txn, SETTING_EPOCH, &epoch);
    if (!error)
        error = records_setting_put(txn, SETTING_USAGE, epoch);
    if (!error)
        return store_commit(txn);
    store_abort(txn);
    return error;
}

/* 1, or 0 when the store is new or its sums are known. */
static int is_needed(struct store *store)
{
    struct store_txn *txn;
    uint64_t epoch;
    int error = store_begin(store, false, &txn);
    if (error)
        return error;
    int known = 1;
    error = records_setting_get(txn, SETTING_EPOCH, &epoch);
    if (!error)
        known = usage_is_known(txn);
    store_abort(txn);
    if (error == -ENOENT)
        return 0;
    return error ? error : known < 0 ? known : !known;
}

static int run(struct rebuild *rebuild)
{
    log_info("this store does not say how much there is of whom, and where: counting");
    int error = pass(rebuild, STORE_USAGE, gather_key, delete_keys);
    if (!error)
        error = pass(rebuild, STORE_LINKS, gather_key, delete_keys);
    if (!error)
        error = pass(rebuild, STORE_DIRENTS, gather_name, find_parents);
    if (!error)
        error = pass(rebuild, STORE_INODES, gather_inode, count_inodes);
    if (!error)
        error = note_known(rebuild->store);
    if (!error)
        log_info("counted %" PRIu64 " inodes with %" PRIu64 " names; %" PRIu64 " were damaged",
                 rebuild->inodes, rebuild->names, rebuild->damaged);
    return error;
}

int usage_rebuild(struct store *store)
{
    int error = is_needed(store);
    if (error <= 0)
        return error;
    struct rebuild *rebuild = calloc(1, sizeof *rebuild);
    if (!rebuild)
        return err_set(-ENOMEM, "no memory to count usage");
    rebuild->store = store;
    rebuild->logged_s = now_s();
    error = run(rebuild);
    free(rebuild);
    return error;
}
