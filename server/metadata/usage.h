/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage.h: how much belongs to each user and group, and how much lies in each directory with all that is
 * below it: sums over the records of inodes, kept up to date by every transaction that changes one. (What
 * CephFS calls recursive statistics.)
 *
 * What it promises
 *  - Sums are exact with respect to the records: those of one state of the store, that of before the
 *    transaction or that of after it.
 *  - Whoever writes an inode's record need not know of them: records_inode_put() and _delete() compare it
 *    with what was there.
 *  - An inode counts in one directory, inode.parent, with all that are above; one without a name in none. A
 *    directory counts in its parent, not in itself.
 *  - When a sum is found to be wrong (damage, a mistake of ours), operations go on, and no sum is told any
 *    more: all are counted anew at the next start.
 *
 * How
 *  What a transaction adds is gathered in memory, by user, group and the directory that is touched, and
 *  put into the store just before the commit: then each directory above is met once, whatever the number
 *  of files that were made below it. A transaction that is aborted has gathered nothing.
 *
 *  The setting "usage" is the epoch of the last start of a server that kept the sums. When it is not that
 *  of the last start, somebody else has changed the store since (usage_rebuild.c).
 *
 * Threads: as store.h.
 */
#ifndef METADATA_USAGE_H
#define METADATA_USAGE_H

#include "inode.h"
#include "store.h"

enum usage_kind { USAGE_USER = 1, USAGE_GROUP = 2, USAGE_DIR = 3 };

/* Sparse files have sizes of up to 2^63 bytes, of which three are more than 64 bits can say. */
typedef unsigned __int128 usage_wide;

struct usage {
    uint64_t files; /* all that are no directories */
    uint64_t dirs;
    usage_wide bytes; /* inode.bytes of all */
    usage_wide size;  /* inode.size of regular files */
};

#define SETTING_USAGE "usage"    /* u64: an epoch, of which the sums are; or: */
#define USAGE_UNKNOWN UINT64_MAX /* they are not known */

/* ---- usage.c: keeping them ------------------------------------------------ */

/* What an inode counts for. */
struct usage_share {
    bool exists;
    bool is_dir;
    uint32_t uid, gid;
    uint64_t parent; /* 0: it is in no directory */
    uint64_t bytes, size;
};
struct usage_change {
    uint64_t ino;
    struct usage_share before, after;
    bool moves; /* a directory, with: */
    struct usage below;
};
/* What it counts for by itself. */
struct usage usage_of_inode(const struct inode *inode);
/* Before and after a record changes: `inode` is what it is to be, NULL: it goes. */
int usage_inode_changes(struct store_txn *txn, uint64_t ino, const struct inode *inode,
                        struct usage_change *change);
int usage_inode_changed(struct store_txn *txn, const struct usage_change *change);
/* The number was just given out, and has no record. */
void usage_inode_is_new(struct store_txn *txn, uint64_t ino);
/* Puts what was gathered into the store. */
int usage_flush(struct store_txn *txn);
/* 1 when the sums are right, 0 when they aren't known. */
int usage_is_known(struct store_txn *txn);
/* Something was found that can't be: `err_text()`. 0, so that the operation goes on. */
int usage_give_up(struct store_txn *txn);

/* While they are counted anew: of an inode that was not counted so far. */
int usage_count(struct store_txn *txn, const struct inode *inode);
/* As usage_flush(), though the sums are not known yet. */
int usage_flush_counted(struct store_txn *txn);

/* ---- usage_records.c: the table ------------------------------------------- */

/* Zeros where nothing is. -EUCLEAN with a text when it is damaged. */
int usage_record_get(struct store_txn *txn, enum usage_kind kind, uint64_t id, struct usage *usage);
int usage_record_put(struct store_txn *txn, enum usage_kind kind, uint64_t id, const struct usage *usage);
/* Those of a kind from `from` on that are not zeros, until `each` returns something else than 0, which is
 * returned. */
typedef int usage_each_fn(void *arg, uint64_t id, const struct usage *usage);
int usage_record_each(struct store_txn *txn, enum usage_kind kind, uint64_t from, usage_each_fn *each,
                      void *arg);

/* ---- usage_rebuild.c: counting anew --------------------------------------- */

/* When a server starts, before it counts the start: 0 also when nothing is to be done. */
int usage_rebuild(struct store *store);

#endif
