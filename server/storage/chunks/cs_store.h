/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_store.h: the chunk store's core: objects with verified bytes, on the files of
 * cs_io.h. docs/chunk-store.md tells the format and why it is so.
 *
 * What it promises
 *  - After the death of the process the store has every change that had returned; config.log.
 *  - After a crash of the host the store is as it was at one commit, or between two changes of a strip after
 *    it; that commit is none older than the last one that was finished. Each block's bytes match its
 *    checksum.
 *  - A read gives what was written last, zeros where nothing was, or -EIO, which names
 *    inode and offset in the file; damage in one place leaves the rest readable.
 *  - Removals and commits go on when the disk is full.
 *  - Memory: the cache of pages, what a commit changes, and three bits for each block.
 *
 * What an object's bytes are cut into: blocks of 4 KiB, and strips of 64 blocks, each of
 * which has one record with its blocks' places and checksums.
 *
 * Waiting. With cs_nowait(store, true) an operation that would have to wait for the
 * disk returns -EAGAIN without a text; it may have done a part, and is done anew, whole,
 * with cs_nowait(store, false). Writes count as not waiting: who must not wait asks the disk before
 * (write_waits()), and has them written ahead (cs_ahead.h).
 *
 * Threads: one at a time, but for cs_commit_flush() and cs_discard_make(), which may run beside all others.
 */
#ifndef CS_STORE_H
#define CS_STORE_H

#include "layout.h"
#include "storage/store.h"
#include "cs_log.h"
#include "cs_pages.h"
#include "cs_space.h"
#include "cs_strip.h"

struct cs_config {
    struct cs_io *io;
    const char *name; /* in errors' texts, "target 3 shard 0"; must outlive the store */
    uint8_t uuid[16];
    uint32_t shard;
    uint32_t shard_count;     /* of the target, for offsets in files; 0: not known */
    uint32_t cache_pages;     /* 0: 8192, 32 MiB */
    uint32_t grow_blocks;     /* by which `data` grows at least; 0: 16384, 64 MiB */
    uint32_t data_blocks_max; /* 0: the format's bound, 16 TiB */
    bool discard;             /* cs_discard_begin() is called: notes what may be given back */
    bool log; /* changes since the last commit are found again, and noted from then on; else only looked at */
};

/* Blocks of which a part was written lately: records that follow each other meet in one, and each has
 * to know all of it. One is good if it is of the block and has the checksum that is wanted. */
enum { CS_EDGES = 64 };
struct cs_edge {
    uint32_t block;                   /* CS_HOLE: none */
    uint32_t crc;                     /* of the bytes */
    uint32_t begin_length, begin_crc; /* of the bytes in front of the end of what was written last */
    uint8_t bytes[CS_BLOCK];
};

/* Of writes: so many blocks want their strip in one run; so many whole ones in a row are not written over,
 * others take their place. */
enum { CS_WIDE_BLOCKS = 16, CS_ANEW_BLOCKS = 8 };

struct cs_name {
    uint64_t ino;
    uint32_t position;
};

/* Where the blocks of a strip are to lie of which some were taken lately (cs_ahead.h). */
enum { CS_AHEAD_PLACES = 64 };
struct cs_ahead_place {
    struct cs_name name;
    uint64_t index;
    uint32_t block; /* the first one's */
};

struct cs_store {
    struct cs_config config;
    struct cs_io *io;
    struct cs_pages pages;
    struct cs_space space;
    struct cs_log log;
    struct cs_edge *edges; /* CS_EDGES, at block % CS_EDGES, and one more that is of no block */
    struct cs_ahead_place ahead_places[CS_AHEAD_PLACES];
    uint64_t objects;
    bool changed;         /* since the last seal */
    bool is_unsure;       /* what was found when it was opened may be gone after a crash: cs_commit_sure() */
    bool sealed;          /* a commit is under way */
    uint32_t flushing;    /* pages of it */
    uint64_t bytes_dirty; /* written to `data` since the last seal */
    bool has_lost;        /* a commit failed: not all that was answered will ever be durable */
    int failed;           /* no change is possible any more: a commit failed, or the metadata is damaged */
    char *failed_text;
    uint64_t generation; /* of the last durable commit */
    uint64_t damaged;    /* reads of blocks or records that failed their check */
    unsigned supers_bad; /* slots that were unreadable at the mount */
    uint32_t version;    /* of the superblock that was mounted */
    /* Blocks and pages that the files should have, when one of them is too short. */
    uint64_t data_wanted, meta_wanted;
};

struct cs_stat {
    bool exists;
    uint64_t length, blocks;
    int64_t mtime_ns;
};

/* cs_store.c: life */

/* Makes an empty store, durably; files that hold one are emptied. */
int cs_format(const struct cs_config *config);
/* Takes over config->io, also when it fails. A store with damaged metadata opens read-only, if anything
 * of it can be read: store->failed. */
int cs_open(const struct cs_config *config, struct cs_store **store);
/* Without a commit. */
void cs_close(struct cs_store *store);
/* Forgets all that is not committed, and reads what the last commit left, without the log. A store that is
 * failed then may open as it should. When it fails nothing but cs_close() is of use. */
int cs_remount(struct cs_store *store);
void cs_nowait(struct cs_store *store, bool nowait);
/* Says where an object's byte is in its file, as far as the object's record can be read: "offset 17 of the
 * file (...)", with a second offset when its block has bytes of two chunks. -EAGAIN, or 0. */
enum { CS_PLACE_BYTES = 160 };
int cs_place(struct cs_store *store, struct cs_name name, uint64_t offset, char text[CS_PLACE_BYTES]);
/* err_set(-EIO, ...) with all names, when `error` tells of damage; else returns `error`. -EAGAIN when the
 * names would have to be waited for. */
int cs_damage(struct cs_store *store, struct cs_name name, uint64_t offset, int error);
/* As cs_damage(), of a read that nobody has given names yet: that of a disk that fails (-EIO) gets them,
 * too. */
int cs_unreadable(struct cs_store *store, struct cs_name name, uint64_t offset, int error);

/* cs_object.c: objects */

int cs_stat(struct cs_store *store, struct cs_name name, const struct layout *layout, struct cs_stat *stat);
/* The first object behind that one, in the order of inode and position; -ENOENT. */
int cs_next(struct cs_store *store, struct cs_name *name, struct layout *layout);
/* All three that take something away return 1 when they have done a part and are to be called again, which
 * leaves others a chance. */
int cs_truncate(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t length);
int cs_remove(struct cs_store *store, struct cs_name name);
/* Zeros, without blocks behind them where whole blocks are covered; the length stays. */
int cs_punch(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
             uint64_t length);
/* The first byte from `offset` on that is in a block, or (`hole`) in none, as everything behind the object's
 * end is. */
int cs_seek(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
            bool hole, struct store_seek *seek);

/* cs_data.c: bytes */

/* `crcs`, when not NULL, are those of the blocks that are covered whole, in their order, and the caller
 * has compared them with the bytes: what changes from then on is noticed when it is read. The lists are not
 * changed. */
int cs_write(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
             const struct iovec *iov, size_t iov_count, const uint32_t *crcs);
/* cs_read.c. *count: bytes read, fewer at the object's end. *crc, when `crc` is not NULL: that of all of
 * them, put together from those of the blocks, not made anew: what happens to the bytes from here on can be
 * noticed. */
int cs_read(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
            void *buffer, size_t length, size_t *count, uint32_t *crc);

/* cs_commit.c */

struct cs_commit;

/* *commit is NULL when nothing has changed. */
int cs_seal(struct cs_store *store, struct cs_commit **commit);
int cs_commit_flush(struct cs_commit *commit);
/* Frees it. `status` is what the flush returned; when negative, the store is failed. */
void cs_commit_finish(struct cs_store *store, struct cs_commit *commit, int status);
/* All of that. */
int cs_commit(struct cs_store *store);
/* Makes durable what was found when the store was opened, while it is unsure and until a commit does it. Runs
 * beside all others as cs_commit_flush() does; whoever called it clears is_unsure, with the lock, when that
 * went well. */
int cs_commit_sure(const struct cs_store *store);
/* Memory is used up by what is not committed. */
bool cs_wants_commit(const struct cs_store *store);
/* A commit would make blocks or pages free. */
bool cs_commit_gains(const struct cs_store *store);

/* cs_discard.c: space that is given back */

/* Blocks that are free, and that nobody gets meanwhile. */
struct cs_discard {
    uint32_t block, count;
};
/* Some of what became free, of `bytes_max` at the most; no commit that a crash may bring back has any of it.
 * False: there is nothing to be given back now. */
bool cs_discard_begin(struct cs_store *store, uint64_t bytes_max, struct cs_discard *discard);
/* Beside all others, without the lock. -EOPNOTSUPP: the disk takes nothing back, now and later. */
int cs_discard_make(struct cs_store *store, const struct cs_discard *discard);
/* `status` is what that returned. */
void cs_discard_end(struct cs_store *store, const struct cs_discard *discard, int status);
/* Space behind blocks that have none, to be used again: 1, or 0 when there are none; -ENOSPC. */
int cs_discard_undo(struct cs_store *store);

/* cs_check.c */

struct cs_check_result {
    uint64_t objects, strips, blocks; /* found */
    uint64_t faults;
    uint64_t damaged; /* blocks whose bytes fail their checksum, among the faults */
    uint64_t logged;  /* changes that the log has beyond the commit, not looked at; filled by the caller */
};
/* Looks at everything of a store in which nothing is uncommitted; `report` is called with each
 * fault's text. -ENOMEM, or 0. */
int cs_check(struct cs_store *store, bool read_data, void (*report)(void *arg, const char *text), void *arg,
             struct cs_check_result *result);

/* For the module's own files */

struct cs_object {
    struct cs_name name;
    bool exists;
    struct cs_object_record record;
};

/* The record as it stands there; -ENOENT and -EAGAIN without a text, or the tree's errors. */
int cs_object_find(struct cs_store *store, struct cs_name name, struct cs_object_record *record);
int cs_object_get(struct cs_store *store, struct cs_name name, const struct layout *layout,
                  struct cs_object *object);
int cs_object_put(struct cs_store *store, struct cs_object *object);
struct cs_key cs_object_key(struct cs_name name);
struct cs_key cs_strip_key(struct cs_name name, uint64_t strip);
/* Whose it is. */
static inline struct cs_name cs_key_name(const struct cs_key *key)
{
    return (struct cs_name){.ino = key->ino, .position = key->position};
}
int cs_strip_get(struct cs_store *store, struct cs_name name, uint64_t index, struct cs_strip *strip);
/* Does what may fail of cs_strip_put(), or may have to wait: before anything is written over. */
int cs_strip_prepare(struct cs_store *store, const struct cs_change *change);
/* Makes the change, and puts the object's record with it, or changes nothing: blocks taken for it are given
 * back when it fails. */
int cs_strip_put(struct cs_store *store, struct cs_object *object, const struct cs_change *change);
/* Gives back what the strip has and had not before. */
void cs_strip_undo(struct cs_store *store, const struct cs_change *change);
/* Room for a change that takes up to `blocks`; `frees`: one that makes room, and may use the reserve. */
int cs_room(struct cs_store *store, uint32_t blocks, bool frees);
/* Of one block that is there, whole and checked. */
int cs_block_load(struct cs_store *store, struct cs_name name, uint64_t offset, uint32_t block, uint32_t crc,
                  uint8_t bytes[CS_BLOCK]);
/* -EFBIG when an object can't have bytes there. */
int cs_check_range(const struct cs_store *store, uint64_t offset, uint64_t length);
int64_t cs_clock_ns(void);
int cs_changeable(struct cs_store *store);
/* From now on nothing can be changed. */
void cs_fail(struct cs_store *store, int error, const char *text);

#endif
