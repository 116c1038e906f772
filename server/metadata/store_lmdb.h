/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_lmdb.h: what the files of the store on LMDB share: the file and its map (store_lmdb_file.c), LMDB's
 * transaction that goes on over many of ours and ends with a checkpoint (store_lmdb_checkpoint.c), and ours
 * (store_lmdb.c). For nobody else.
 */
#ifndef METADATA_STORE_LMDB_H
#define METADATA_STORE_LMDB_H

#include <lmdb.h>

#include "store.h"
#include "store_journal.h"

/* What LMDB's file says of the journal, in a table of its own. */
struct journal_state {
    uint64_t id;    /* of this store */
    uint64_t done;  /* the transaction that the file has as the last one */
    uint64_t bytes; /* of the journal, in which there may be some behind it; 0: there are none */
};

struct store_txn {
    struct store *store;
    MDB_txn *txn; /* LMDB's that goes on, or one of its own for reading */
    bool write;
    bool broken;
    uint64_t changes;
    const void *arg;
    struct store_rider *rider;
};

struct store {
    MDB_env *env;
    MDB_dbi tables[STORE_TABLE_COUNT];
    MDB_dbi journal_table;
    struct journal_state state;
    struct journal *journal; /* NULL: every transaction is a checkpoint */
    MDB_txn *going;       /* LMDB's transaction with what came since the last checkpoint; NULL: nothing did */
    uint64_t changes;     /* in it */
    uint64_t changes_max; /* then a checkpoint is due; 0: at once */
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

static inline MDB_val val_of(struct store_bytes bytes)
{
    return (MDB_val){.mv_size = bytes.length, .mv_data = (void *)bytes.data};
}

static inline struct store_bytes bytes_of(MDB_val val)
{
    return (struct store_bytes){.data = val.mv_data, .length = val.mv_size};
}

/* From LMDB's error, a positive errno or its own below zero; the text says what was being done: "opening". */
int lmdb_error(struct store *store, int error, const char *what);

/* Makes the folder, locks it, and opens the file with its tables. */
int lmdb_file_open(struct store *store, const char *dir);
void lmdb_file_close(struct store *store);
/* The names in the folder are durable. */
int lmdb_file_sync_dir(const char *dir);
/* Keeps so much room in the map that a transaction hardly ever fails for want of it; one that does is
 * run again, in parts, by whoever began it. LMDB has none under way. */
int lmdb_file_make_room(struct store *store);
/* As far as it is known, there will be room for more than the map has. */
bool lmdb_file_can_grow(const struct store *store);
/* Pages of the map that nothing was put into yet. */
uint64_t lmdb_file_pages_left(const struct store *store);

/* With the file open: does again what the journal has. */
int checkpoint_open(struct store *store);
/* Makes the last one. */
void checkpoint_close(struct store *store);
/* LMDB has a transaction, store->going, from now on. */
int checkpoint_go_on(struct store *store);
/* All that was done until now is in LMDB's file. After an error nothing is that came since the last one;
 * then checkpoint_go_back() is to be called. */
int checkpoint_make(struct store *store, bool in_use);
/* Back to what was acknowledged, and nothing else. The store is dead when that fails. */
void checkpoint_go_back(struct store *store);

#endif
