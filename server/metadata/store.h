/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h: the transactional store below the namespace: ordered tables of keys
 * and values. records.h says what lies in the tables; nothing above knows which
 * engine is below, so that a replicated one can take its place.
 *
 * What it promises
 *  - A transaction happens as a whole or not at all, and sees its own changes.
 *  - What store_commit() accepted survives the death of the process and of the host.
 *  - One process at a time has a store open.
 *  - An error other than -ENOENT from a get, put or delete leaves a
 *    transaction that can only be aborted; store_broken() tells, and
 *    store_commit() refuses it.
 *
 * Threads: a store and its transactions belong to one thread; one transaction at a time.
 */
#ifndef METADATA_STORE_H
#define METADATA_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The numbers are internal; the names of the tables in the file are in store_lmdb.c. */
enum store_table {
    STORE_SETTINGS,
    STORE_INODES,
    STORE_DIRENTS,
    STORE_SYMLINKS,
    STORE_UNSETTLED,
    STORE_ORPHANS,
    STORE_REMOVALS,
    STORE_WRITERS,
    STORE_ANSWERS,
    STORE_MEMBERS,
    STORE_POINTERS,
    STORE_HINTS,
    STORE_SMALL,
    STORE_XATTRS,
    STORE_HOLDS,
    STORE_TABLE_COUNT,
};

#define STORE_KEY_BYTES_MAX 500u

struct store;
struct store_txn;

struct store_bytes {
    const void *data;
    size_t length;
};

/* Opens the store in the folder `dir`, which is made when it is missing; at most `bytes_max` in
 * size. -EBUSY when another process has it; -ENOSPC, -EACCES, ... */
int store_open(const char *dir, uint64_t bytes_max, struct store **store);
void store_close(struct store *store); /* NULL is allowed */
/* A write failed in such a way that nothing but opening the store anew helps. */
bool store_dead(const struct store *store);

int store_begin(struct store *store, bool write, struct store_txn **txn);
/* Frees the transaction in any case; on failure nothing of it has happened. */
int store_commit(struct store_txn *txn);
void store_abort(struct store_txn *txn);
bool store_broken(const struct store_txn *txn);
/* How many puts and deletes the transaction has made: tells whether an operation that
 * failed has left something behind, and the transaction must be aborted. */
uint64_t store_changes(const struct store_txn *txn);
/* Something of whoever uses the transaction; NULL at first. */
void store_arg_set(struct store_txn *txn, const void *arg);
const void *store_arg(const struct store_txn *txn);

/* The value is valid until the transaction's next change or its end. */
int store_get(struct store_txn *txn, enum store_table table, struct store_bytes key,
              struct store_bytes *value);
int store_put(struct store_txn *txn, enum store_table table, struct store_bytes key,
              struct store_bytes value);
/* -ENOENT when there is none. */
int store_delete(struct store_txn *txn, enum store_table table, struct store_bytes key);

/* Calls `each` for every key not below `from`, in the order of the keys'
 * bytes, until it returns something else than 0, which is returned. `each` must not change the
 * store; keys and values are valid inside it only. */
typedef int store_each_fn(void *arg, struct store_bytes key, struct store_bytes value);
int store_each(struct store_txn *txn, enum store_table table, struct store_bytes from, store_each_fn *each,
               void *arg);
/* How many keys a table has. */
int store_count(struct store_txn *txn, enum store_table table, uint64_t *count);

#endif
