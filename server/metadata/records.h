/* SPDX-License-Identifier: Apache-2.0 */
/*
 * records.h: what lies in the tables of the store, as typed calls.
 *
 *   table      key                           value
 *   settings   name                          see SETTING_* below
 *   inodes     ino                           inode.h
 *   dirents    ino of the directory, name    ino (u64)
 *   symlinks   ino                           where the link points
 *   unsettled  ino                           nothing: a file whose size is to be asked for when no one writes
 *   orphans    ino                           nothing: an inode without a name that was in use
 *   removals   ino                           struct removal_record: objects to be removed
 *   writers    handle                        struct writer_record: a file that is open for writing
 *   answers    client (16 bytes), request    answers.c
 *   members    kind and name or number       members_records.c
 *   hints      ino of a directory            its hints, a text; nothing when it has none
 *   pointers   handle                        struct pointer_record: a shared pointer that was used
 *   small      ino of a small file           what is in it, behind a CRC32C of that; nothing when it is empty
 *   holds      ino of a directory            the client that holds it (16 bytes)
 *   xattrs     ino, name of an attribute     its value, behind a CRC32C of key and value
 *   usage      kind (a byte), number         usage.h
 *   links      ino, ino of a directory       how many names (u32) the inode has there (links.h)
 *
 * Integers in keys are big-endian, so that they sort; in values little-endian. All calls
 * return 0, -ENOENT where nothing is there, or another negative errno with a text.
 */
#ifndef METADATA_RECORDS_H
#define METADATA_RECORDS_H

#include "inode.h"
#include "store.h"

#define RECORDS_FORMAT 1u

#define SETTING_CLOSED      "closed"      /* u64: 1 when the server has ended while nobody had a file open */
#define SETTING_FORMAT      "format"      /* u64: RECORDS_FORMAT */
#define SETTING_CLUSTER     "cluster"     /* 16 bytes: the cluster's identity */
#define SETTING_INO_NEXT    "ino_next"    /* u64: no inode number at or above it was given out */
#define SETTING_EPOCH       "epoch"       /* u64: how often a server has started on this store */
#define SETTING_MAP_VERSION "map_version" /* u64 */
#define SETTING_DELEGATED "delegated"     /* u64: 1: clients have been promised something (delegations.h) */

int records_setting_get(struct store_txn *txn, const char *name, uint64_t *value);
int records_setting_put(struct store_txn *txn, const char *name, uint64_t value);

/* ---- inodes ------------------------------------------------------------- */

/* Numbers that the store has as given out already, so that not each new inode changes that
 * setting. They are gone with the process, and must be forgotten (all zero) when a transaction is
 * aborted that took some. */
struct ino_range {
    uint64_t next, end;
};
/* `range` may be NULL. */
int records_ino_next(struct store_txn *txn, struct ino_range *range, uint64_t *ino);
/* `count` numbers in a row, whose user makes the inodes: the first is *first. */
int records_inos_take(struct store_txn *txn, struct ino_range *range, uint32_t count, uint64_t *first);
/* All numbers that were given out are below *bound, and none below it will be given out any more. */
int records_ino_bound(struct store_txn *txn, const struct ino_range *range, uint64_t *bound);
int records_inode_get(struct store_txn *txn, uint64_t ino, struct inode *inode);
/* Is asked before an inode's record changes, or (way) the name, mode or owner of a directory, or (looking) a
 * directory's names are looked at or its attributes told, or (attr_looking) only these. A negative errno is
 * the answer of whatever was to do that, which has changed nothing then. */
struct records_watch {
    int (*changing)(void *arg, uint64_t ino);
    int (*way_changing)(void *arg, uint64_t ino);
    int (*looking)(void *arg, uint64_t ino);
    int (*attr_looking)(void *arg, uint64_t ino);
    void *arg;
};
/* Of this transaction, until there is another one; NULL: none. It must stay. */
void records_watch(struct store_txn *txn, const struct records_watch *watch);
/* Asks beforehand, so that an operation does not find out half way. */
int records_inode_changing(struct store_txn *txn, uint64_t ino);
int records_way_changing(struct store_txn *txn, uint64_t ino);
int records_inode_looking(struct store_txn *txn, uint64_t ino);
int records_attr_looking(struct store_txn *txn, uint64_t ino);
int records_inode_put(struct store_txn *txn, const struct inode *inode);
int records_inode_delete(struct store_txn *txn, uint64_t ino);

/* Places the link's text and a NUL in `target` (LIMITS_SYMLINK_MAX + 1 bytes). */
int records_symlink_get(struct store_txn *txn, uint64_t ino, char *target);
int records_symlink_put(struct store_txn *txn, uint64_t ino, const char *target);
int records_symlink_delete(struct store_txn *txn, uint64_t ino);

/* The directory's hints and a NUL in `hints` (WEFT_HINTS_BYTES_MAX + 1 bytes); "" when it has none. */
int records_hints_get(struct store_txn *txn, uint64_t ino, char *hints);
int records_hints_put(struct store_txn *txn, uint64_t ino, const char *hints); /* "" takes them away */

/* What is in a small file: `size` bytes, as its inode says. The bytes are valid until the transaction's next
 * change. -EUCLEAN when it is damaged. */
int records_small_get(struct store_txn *txn, uint64_t ino, uint64_t size, const uint8_t **data);
/* At most LIMITS_SMALL_BYTES_MAX; 0: takes them away. */
int records_small_put(struct store_txn *txn, uint64_t ino, const uint8_t *data, size_t size);

/* ---- directory entries -------------------------------------------------- */

int records_dirent_get(struct store_txn *txn, uint64_t dir, const char *name, uint64_t *ino);
int records_dirent_put(struct store_txn *txn, uint64_t dir, const char *name, uint64_t ino);
int records_dirent_delete(struct store_txn *txn, uint64_t dir, const char *name);
/* Every entry whose name is greater than `after` ("" for all), in the order of the names'
 * bytes, until `each` returns something else than 0, which is returned. */
typedef int records_dirent_fn(void *arg, const char *name, uint64_t ino);
int records_dirent_each(struct store_txn *txn, uint64_t dir, const char *after, records_dirent_fn *each,
                        void *arg);
/* 1 when the directory has no entries, 0 when it has. */
int records_dir_empty(struct store_txn *txn, uint64_t dir);

/* ---- extended attributes (records_xattrs.c) ------------------------------- */

/* The value is valid until the transaction's next change. */
int records_xattr_get(struct store_txn *txn, uint64_t ino, const char *name, struct store_bytes *value);
/* At most WEFT_XATTR_VALUE_BYTES_MAX. */
int records_xattr_put(struct store_txn *txn, uint64_t ino, const char *name, struct store_bytes value);
int records_xattr_delete(struct store_txn *txn, uint64_t ino, const char *name);
/* All that the inode has. */
int records_xattrs_delete(struct store_txn *txn, uint64_t ino);
/* Every one, in the order of the names' bytes, until `each` returns something else than 0, which is
 * returned. `size` is the value's. */
typedef int records_xattr_fn(void *arg, const char *name, size_t size);
int records_xattr_each(struct store_txn *txn, uint64_t ino, records_xattr_fn *each, void *arg);

/* ---- sets of inodes: unsettled, orphans --------------------------------- */

int records_mark(struct store_txn *txn, enum store_table table, uint64_t ino);
int records_unmark(struct store_txn *txn, enum store_table table, uint64_t ino); /* 0 also when not marked */
/* Up to `count_max` marked inodes from `from` on; returns how many. */
ssize_t records_marked(struct store_txn *txn, enum store_table table, uint64_t from, uint64_t *inos,
                       size_t count_max);

/* ---- objects to be removed ---------------------------------------------- */

#define REMOVAL_END_UNKNOWN UINT64_MAX
struct removal {
    uint64_t ino;
    struct layout layout;
    uint64_t end; /* no object has anything behind it; REMOVAL_END_UNKNOWN: there may be objects anywhere */
};
int records_removal_put(struct store_txn *txn, const struct removal *removal);
int records_removal_delete(struct store_txn *txn, uint64_t ino);
/* 0: there is one. */
int records_removal_find(struct store_txn *txn, uint64_t ino);
ssize_t records_removals(struct store_txn *txn, uint64_t from, struct removal *removals, size_t count_max);

/* ---- files open for writing --------------------------------------------- */

struct writer {
    uint64_t handle;
    uint64_t ino;
    uint8_t client[16];
    uint32_t access; /* WIRE_ACCESS_* */
};
int records_writer_put(struct store_txn *txn, const struct writer *writer);
int records_writer_delete(struct store_txn *txn, uint64_t handle);
typedef int records_writer_fn(void *arg, const struct writer *writer);
int records_writer_each(struct store_txn *txn, records_writer_fn *each, void *arg);

/* ---- directories that a client holds (records_holds.c) -------------------- */

int records_hold_put(struct store_txn *txn, uint64_t ino, const uint8_t client[16]);
int records_hold_delete(struct store_txn *txn, uint64_t ino);
typedef int records_hold_fn(void *arg, uint64_t ino, const uint8_t client[16]);
int records_hold_each(struct store_txn *txn, records_hold_fn *each, void *arg);

/* ---- shared pointers ---------------------------------------------------- */

struct pointer {
    uint64_t handle;
    uint64_t ino;
    int64_t value;
    int64_t used_ns;
    uint8_t client[16]; /* that has the handle */
    uint32_t access;    /* WIRE_ACCESS_* of the handle; 0: neither that nor the client is known */
};
int records_pointer_get(struct store_txn *txn, uint64_t handle, struct pointer *pointer);
int records_pointer_put(struct store_txn *txn, const struct pointer *pointer);
int records_pointer_delete(struct store_txn *txn, uint64_t handle); /* 0 also when there is none */
typedef int records_pointer_fn(void *arg, const struct pointer *pointer);
int records_pointer_each(struct store_txn *txn, records_pointer_fn *each, void *arg);

/* ---- keys, for the modules that have tables of their own ---------------- */

static inline void records_key_u64(uint8_t key[8], uint64_t value)
{
    for (int i = 0; i < 8; i++)
        key[i] = (uint8_t)(value >> (56 - 8 * i));
}
static inline uint64_t records_key_u64_of(const uint8_t key[8])
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | key[i];
    return value;
}

#endif
