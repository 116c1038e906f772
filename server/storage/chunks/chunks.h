/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunks.h: the chunk store with its threads, as its own files see it: store_chunks.c has the interface and
 * who does what, chunks_commit.c the committer, chunks_discard.c the discarder, chunks_cold.c and
 * chunks_ahead.c reads and writes that the disk has to be waited for.
 */
#ifndef CHUNKS_H
#define CHUNKS_H

#include <pthread.h>
#include <stdatomic.h>

#include "cs_pool.h"
#include "cs_store.h"
#include "store_chunks.h"
#include "storage/store.h"

enum { CHUNKS_SLOTS = 64 };

enum job_kind { JOB_WRITE, JOB_READ, JOB_SYNC, JOB_SETTLE, JOB_TRUNCATE, JOB_REMOVE, JOB_PUNCH, JOB_SEEK };

struct chunks_ahead;

struct job {
    struct job *next;
    enum job_kind kind;
    struct store_op *op;
    struct store_object object;
    uint64_t offset; /* or the length to truncate to */
    struct iovec *iov;
    size_t iov_count;
    struct chunks_ahead *ahead; /* of a write whose bytes went to the disk before it; NULL: none did */
    void *buffer;
    uint64_t length;
    size_t count; /* bytes read */
    bool hole;    /* is what is looked for */
    struct store_seek *seek;
    int status;
    char *text; /* of a failure */
};

struct jobs {
    struct job *first, **end;
};

struct chunks_store {
    struct store store; /* first */
    const struct target *target;
    char name[STORE_CHUNKS_NAME_BYTES];
    struct cs_store *cs;
    pthread_mutex_t core;

    struct scrub *scrub; /* NULL: there is none */
    struct store_discard discard;
    pthread_t worker, committer, discarder;
    bool worker_runs, committer_runs, discarder_runs;
    pthread_cond_t discarded; /* with `core`: what was being discarded is free again */
    int done_fd;              /* eventfd */
    /* What nobody waits for: the disk takes it itself, or threads do. The shard's thread alone asks them. */
    bool rings;
    struct cs_pool *pool;
    /* Changes that were not done at once, by a hash of the object: those that stand in a line for others, and
     * the number of these and of those that the worker has. The shard's thread alone looks at them. */
    struct jobs lines[CHUNKS_SLOTS];
    uint32_t lined[CHUNKS_SLOTS], queued[CHUNKS_SLOTS];
    atomic_bool dirty;         /* something was changed since the last seal: the committer minds the time */
    atomic_uint_fast64_t room; /* bytes in blocks that are free */

    pthread_mutex_t queue; /* of all that follows */
    pthread_cond_t worker_wanted, committer_wanted, discarder_wanted, committed;
    struct jobs work, syncs, settles, done;
    bool stop_worker, stop_committer, stop_discarder, commit_wanted, discard_wanted;
    uint64_t rounds_begun, rounds_done; /* of the committer */
};

static inline struct cs_name chunks_name(const struct store_object *object)
{
    return (struct cs_name){.ino = object->ino, .position = object->position};
}

static inline unsigned chunks_slot(const struct store_object *object)
{
    return (unsigned)((object->ino + object->position) % CHUNKS_SLOTS);
}

/* store_chunks.c: jobs */

void jobs_init(struct jobs *jobs);
void jobs_push(struct jobs *jobs, struct job *job);
/* The first one, taken out; NULL: there is none. */
struct job *jobs_pop(struct jobs *jobs);
/* A copy. NULL without memory, with a text. */
struct job *job_new(const struct job *like);
struct job *jobs_take_all(struct jobs *jobs);
/* Notes what it came to; err_text() is that of `status`. */
void job_end(struct job *job, int status);
/* To the shard's thread, whose progress() tells who asked. */
void chunks_hand_back(struct chunks_store *store, struct job *jobs);
/* To the worker or the committer: STORE_PENDING, or -ENOMEM. */
int chunks_enqueue(struct chunks_store *store, const struct job *like);
/* A job that is there already; cannot fail. */
void chunks_give_worker(struct chunks_store *store, struct job *job);
/* In the shard's thread: does it, and frees what was ahead. -EAGAIN: it has to be left to the worker. */
int chunks_try(struct chunks_store *store, struct job *job);
/* With `core` held. */
void chunks_note_room(struct chunks_store *store);
bool chunks_is_too_dirty(const struct cs_store *cs);
bool chunks_write_waits(const struct cs_store *cs, const struct job *job);

/* chunks_commit.c */

void *chunks_run_committer(void *store);
void chunks_want_commit(struct chunks_store *store);
/* What was found when the store was opened becomes durable. From any thread, without `core`. */
int chunks_make_sure(struct chunks_store *store);
/* Waits for a commit that was sealed after this call began. */
void chunks_wait_for_commit(struct chunks_store *store);

/* chunks_discard.c */

void *chunks_run_discarder(void *store);
/* Something may have become free. */
void chunks_want_discard(struct chunks_store *store);

/* chunks_cold.c: reads of what is not in memory */

/* In the shard's thread, with `core` held: leaves the read to the disk. -EAGAIN: to be left to the worker. */
int chunks_cold_begin(struct chunks_store *store, const struct job *job);
/* In the shard's thread: the disk is done with it. */
void chunks_cold_ended(struct chunks_store *store, struct cs_batch *batch);
/* In the worker, without `core`, which it takes for a moment. -EAGAIN: the read must be done with it. */
int chunks_cold_read(struct chunks_store *store, struct job *job);

/* chunks_ahead.c: writes to a disk that has to be waited for */

/* In the shard's thread, as all but those that say so. As cs_io_type's begin(), by whoever does that. */
int chunks_batch_begin(struct chunks_store *store, struct cs_batch *batch);
/* Ends those that the disk is done with. */
void chunks_batches_progress(struct chunks_store *store);
/* A change that can't be made at once: STORE_PENDING, or -ENOMEM. */
int chunks_line_up(struct chunks_store *store, const struct job *like);
void chunks_ahead_ended(struct chunks_store *store, struct cs_batch *batch);
/* In any thread: nothing is left of the write but to make it. */
bool chunks_ahead_is_all(const struct job *job);
/* With `core` held, in any thread: makes the write; gives back what it did not use. */
int chunks_ahead_write(struct chunks_store *store, const struct job *job);
void chunks_ahead_free(struct chunks_store *store, struct job *job);

#endif
