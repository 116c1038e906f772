/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads of what is not in memory. What they want is noted while the store is at hand (cs_read.h); then
 * the disk is waited for without its lock, so that one cold read delays nobody else: by nobody, where the
 * kernel has io_uring, else by a few threads, or by the worker when those have too much. Blocks may have been
 * written over or given away by then, and their checksums tell. Such a read is done anew by the worker with
 * the lock, as is what failed: it alone says what is damaged.
 */
#include "chunks.h"

#include <errno.h>
#include <stdlib.h>

#include "cs_read.h"
#include "err.h"

/* One that the disk has. */
struct cold {
    struct cs_batch batch; /* first */
    struct job job;
    struct cs_plan plan;
    struct cs_piece pieces[];
};

static int plan_of(struct chunks_store *store, const struct job *job, struct cs_plan *plan)
{
    return cs_plan_make(store->cs, chunks_name(&job->object), &job->object.layout, job->offset, job->buffer,
                        job->length, plan);
}

static void cold_free(struct cold *cold)
{
    cs_plan_free(&cold->plan);
    free(cold);
}

int chunks_cold_begin(struct chunks_store *store, const struct job *job)
{
    struct cold *cold = malloc(sizeof *cold + CS_PLAN_RUNS * sizeof cold->pieces[0]);
    if (!cold)
        return -EAGAIN;
    cs_nowait(store->cs, true);
    int error = plan_of(store, job, &cold->plan);
    if (error) {
        free(cold);
        return error;
    }
    cold->job = *job;
    cold->batch = (struct cs_batch){.pieces = cold->pieces};
    for (unsigned i = 0; i < cold->plan.count; i++) {
        const struct cs_run *run = &cold->plan.runs[i];
        struct cs_piece *piece = &cold->pieces[cold->batch.count];
        piece->offset = cs_run_offset(run);
        piece->iov_count = cs_run_list(run, cold->plan.edges, piece->iov);
        cold->batch.count += piece->iov_count > 0;
    }
    error = chunks_batch_begin(store, &cold->batch);
    if (error)
        cold_free(cold);
    return error ? -EAGAIN : STORE_PENDING;
}

void chunks_cold_ended(struct chunks_store *store, struct cs_batch *batch)
{
    struct cold *cold = (struct cold *)batch;
    struct store_op *op = cold->job.op;
    ssize_t status = (ssize_t)cold->plan.length;
    op->crc = 0;
    op->has_crc = true;
    if (cold->batch.whole && cs_plan_check(&cold->plan, &op->crc) == 0) {
        cold_free(cold);
        op->done(op, status);
        return;
    }
    int result = chunks_enqueue(store, &cold->job);
    cold_free(cold);
    if (result != STORE_PENDING)
        op->done(op, result);
}

int chunks_cold_read(struct chunks_store *store, struct job *job)
{
    struct cs_plan *plan = malloc(sizeof *plan);
    if (!plan)
        return -EAGAIN;
    pthread_mutex_lock(&store->core);
    cs_nowait(store->cs, false);
    int error = plan_of(store, job, plan);
    pthread_mutex_unlock(&store->core);
    if (error)
        goto free_plan;
    job->count = plan->length;
    job->op->crc = 0;
    job->op->has_crc = true;
    if (cs_plan_read(store->cs->io, plan, &job->op->crc))
        error = -EAGAIN;
    cs_plan_free(plan);
free_plan:
    free(plan);
    return error;
}
