/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_log.h: the log of the chunk store: what was changed since the last commit, so that the death of the
 * server's process loses nothing that it has answered.
 *
 * It is written and never flushed: the page cache keeps it when the process dies. What it is good for
 * after a crash of the host is found out, not believed (cs_log_replay()).
 *
 * The order of a change, which is all that makes it work:
 *   1. bytes go to blocks that nothing names yet
 *   2. the tree changes, in memory
 *   3. an entry says how; with it the bytes that are to be written over others in a block
 *   4. these patches are made
 * Between 1 and 3 nothing has happened, and from 3 on all of it can be done again.
 *
 * Two files are used in turn, from seal to seal: a commit that does not come to its end has the entries since
 * the commit before it in one, and those since its seal in the other.
 *
 * Threads: as cs_store.h.
 */
#ifndef CS_LOG_H
#define CS_LOG_H

#include <stdbool.h>

#include "cs_format.h"
#include "cs_io.h"
#include "cs_strip.h"

struct cs_store;

struct cs_log {
    bool on;   /* else patches are made and nothing is noted */
    bool lost; /* a change since the last seal is not in it: there was no room, or it can't be written */
    enum cs_file file; /* CS_LOG or CS_LOG_OTHER */
    uint64_t nonce;
    uint64_t sequence; /* of the next change */
    uint64_t base;     /* of the first one that is not in the commit that was mounted */
    uint64_t end;      /* bytes of the file in use */
    uint64_t size[2];  /* of the files */
    uint8_t *patches;  /* of the change that is being made */
    uint32_t patch_bytes, patch_count;
    uint64_t replayed; /* changes found by the mount */
};

/* The numbers of changes go on so much further after a mount that found old ones, of which none
 * may be taken for a new one. */
#define CS_LOG_JUMP (UINT64_C(1) << 32)

/* Memory for patches. -ENOMEM. */
int cs_log_open(struct cs_store *store);
void cs_log_close(struct cs_store *store);

/* Room for one entry. 0 also when there is none to be had: then the change will not be in the log, and
 * a commit is wanted. -EAGAIN as cs_room(). */
int cs_log_room(struct cs_store *store);
/* Where the caller puts `length` bytes that are to be written to that block when the change is in the
 * log; CS_STRIP_BLOCKS of them at most, none twice. */
uint8_t *cs_log_patch(struct cs_store *store, uint32_t block, uint32_t from, uint32_t length);
/* The change is not made. */
void cs_log_forget(struct cs_store *store);

/* A change has been made in memory. Only making the patches can fail. */
int cs_log_strip(struct cs_store *store, const struct cs_key *key, const struct cs_object_record *object,
                 const struct cs_change *change);
void cs_log_object(struct cs_store *store, const struct cs_key *key, const struct cs_object_record *object);
void cs_log_remove(struct cs_store *store, const struct cs_key *key);

/* From now on changes are noted, in the first file. What was there before must be of no more use. */
void cs_log_begin(struct cs_store *store);
/* By the seal: what is changed from now on goes to the other file. */
void cs_log_switch(struct cs_store *store);
/* Changes would be lost, or no room be left, without a commit. */
bool cs_log_wants_commit(const struct cs_log *log);
/* Until a commit no more should be changed. */
bool cs_log_is_full(const struct cs_log *log);

/* Writes the bytes of a patch to their place. */
int cs_log_patch_make(struct cs_io *io, const struct cs_log_patch *patch, void *bytes);
uint32_t cs_log_header_crc(const struct cs_log_header *header);
/* Of an entry's bytes, all of them, the first four aside. */
uint32_t cs_log_entry_crc(uint64_t nonce, const void *entry, uint32_t length);

/* cs_replay.c */

/*
 * By the mount: does again what the log has, if all of it fits the commit and every block that it names has
 * its checksum. *good is false when it does not: then what is in memory is of no use, and the
 * commit is to be read anew. Else, when there was something, a commit must follow before log->on.
 * *found: entries, or signs of them.
 */
int cs_log_replay(struct cs_store *store, bool *found, bool *good);
/* How many changes that would be, of a store that was opened without it. */
int cs_log_count(struct cs_store *store, uint64_t *count);

#endif
