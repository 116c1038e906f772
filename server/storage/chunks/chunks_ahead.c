/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to a disk that has to be waited for. Their whole blocks go to it beside each other (cs_ahead.h), by
 * the kernel or by threads, and without the store's lock; nobody waits for them. A write whose blocks are
 * there is made as any other: by the shard's thread when that is all of it, else by the worker.
 *
 * Changes of one object are made in the order in which they were asked for. So those whose object, or one
 * with the same hash, has a write under way stand behind it in a line, whatever they are; a write in a line
 * has its own blocks under way meanwhile.
 */
#include "chunks.h"

#include <errno.h>
#include <stdlib.h>

#include "cs_ahead.h"
#include "err.h"

struct chunks_ahead {
    struct cs_batch batch; /* first */
    struct cs_ahead blocks;
    struct job *job;
    bool under_way;
    bool failed; /* who makes the write writes all of it, and says what is wrong */
};

static unsigned slot_of(const struct job *job)
{
    return chunks_slot(&job->object);
}

/* ---- batches of the disk ------------------------------------------------ */

int chunks_batch_begin(struct chunks_store *store, struct cs_batch *batch)
{
    struct cs_io *io = store->cs->io;
    return store->rings ? io->type->begin(io, batch) : cs_pool_begin(store->pool, batch);
}

void chunks_batches_progress(struct chunks_store *store)
{
    struct cs_io *io = store->cs->io;
    struct cs_batch *batch;
    for (;;) {
        batch = store->rings ? io->type->ended(io) : NULL;
        if (!batch)
            batch = cs_pool_ended(store->pool);
        if (!batch)
            break;
        if (batch->is_write)
            chunks_ahead_ended(store, batch);
        else
            chunks_cold_ended(store, batch);
    }
}

/* ---- one write ---------------------------------------------------------- */

/* With `core` held. NULL: it is not for the disk alone, or can't begin now. */
static struct chunks_ahead *begin(struct chunks_store *store, const struct job *job)
{
    struct chunks_ahead *ahead = calloc(1, sizeof *ahead);
    if (!ahead)
        return NULL;
    cs_nowait(store->cs, true);
    if (cs_ahead_make(store->cs, chunks_name(&job->object), &job->object.layout, job->offset, job->iov,
                      job->iov_count, &ahead->blocks))
        goto free_ahead;
    ahead->batch = (struct cs_batch){
        .pieces = ahead->blocks.pieces, .count = ahead->blocks.piece_count, .is_write = true};
    if (chunks_batch_begin(store, &ahead->batch))
        goto drop_blocks;
    ahead->under_way = true;
    return ahead;
drop_blocks:
    cs_ahead_drop(store->cs, &ahead->blocks);
free_ahead:
    free(ahead);
    return NULL;
}

static struct chunks_ahead *try_begin(struct chunks_store *store, const struct job *job)
{
    struct chunks_ahead *ahead = NULL;
    if (job->kind != JOB_WRITE || pthread_mutex_trylock(&store->core))
        return NULL;
    if (chunks_write_waits(store->cs, job) && !chunks_is_too_dirty(store->cs))
        ahead = begin(store, job);
    pthread_mutex_unlock(&store->core);
    return ahead;
}

int chunks_ahead_write(struct chunks_store *store, const struct job *job)
{
    struct cs_ahead *blocks = job->ahead && !job->ahead->failed ? &job->ahead->blocks : NULL;
    return cs_write_ahead(store->cs, chunks_name(&job->object), &job->object.layout, job->offset, job->iov,
                          job->iov_count, job->op->crcs, blocks);
}

bool chunks_ahead_is_all(const struct job *job)
{
    return job->ahead && !job->ahead->failed && job->ahead->blocks.all &&
           job->ahead->blocks.left == job->ahead->blocks.count;
}

void chunks_ahead_free(struct chunks_store *store, struct job *job)
{
    if (!job->ahead)
        return;
    cs_ahead_drop(store->cs, &job->ahead->blocks);
    free(job->ahead);
    job->ahead = NULL;
}

/* ---- lines -------------------------------------------------------------- */

/* Those at the head whose bytes are there, or which have none ahead. */
static void go_on(struct chunks_store *store, unsigned slot)
{
    struct jobs *line = &store->lines[slot];
    struct job *job;
    while ((job = line->first) && !(job->ahead && job->ahead->under_way)) {
        jobs_pop(line);
        store->lined[slot]--;
        int result = -EAGAIN;
        /* What is with the worker already comes first. */
        if (chunks_ahead_is_all(job) && store->queued[slot] == store->lined[slot] + 1)
            result = chunks_try(store, job);
        if (result == -EAGAIN) {
            chunks_give_worker(store, job);
            continue;
        }
        struct store_op *op = job->op;
        store->queued[slot]--;
        free(job);
        op->done(op, result);
    }
}

int chunks_line_up(struct chunks_store *store, const struct job *like)
{
    const unsigned slot = slot_of(like);
    struct jobs *line = &store->lines[slot];
    struct job *job = job_new(like);
    if (!job)
        return -ENOMEM;
    job->ahead = try_begin(store, like);
    store->queued[slot]++;
    if (!job->ahead && !line->first) {
        chunks_give_worker(store, job);
        return STORE_PENDING;
    }
    if (job->ahead)
        job->ahead->job = job;
    store->lined[slot]++;
    jobs_push(line, job);
    return STORE_PENDING;
}

void chunks_ahead_ended(struct chunks_store *store, struct cs_batch *batch)
{
    struct chunks_ahead *ahead = (struct chunks_ahead *)batch;
    ahead->under_way = false;
    ahead->failed = !batch->whole;
    go_on(store, slot_of(ahead->job));
}
