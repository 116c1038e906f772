/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_chunks.c: the chunk store as an engine of store.h.
 *
 * Who does what
 *  - The shard's thread does an operation itself when nothing of it has to wait for the disk: pages of the
 *    tree in memory, data in the page cache, room preallocated. What would wait (-EAGAIN) is left to the
 *    kernel, or a few threads, as far as it is a read (chunks_cold.c) or whole blocks of a write
 *    (chunks_ahead.c), or goes to
 *  - the worker, one thread of the store, which does it anew and may wait; and
 *  - the committer, another one, makes commits: for those who wait for a sync, when memory is used up, and
 *    every two seconds. All syncs that were asked for before a seal are answered by that commit, and so is
 *    who only wants to know when there was one.
 *  - The scrubber (scrub.h), a third one, reads what nobody else does.
 *  - The discarder, a fourth one where that is wanted, gives back the space that commits have made free.
 * A change does not overtake another one of the same object that was left to the worker: of two writes, the
 * one that was asked for last is the one that stays.
 *
 * Locks: `core` is held around every call of cs_store.h but cs_commit_flush() and cs_discard_make(); the
 * shard's thread only tries it, except for stat(), which may wait for a page. `queue` guards the lists and
 * counts. Who needs both takes `core` first.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "store_chunks.h"
#include "chunks.h"
#include "cs_io_faults.h"
#include "cs_whole.h"
#include "err.h"
#include "log.h"
#include "monotonic.h"
#include "scrub.h"
#include "storage/iov.h"
#include "volume.h"
#include "storage/target.h"

/* Written and not yet committed: from the first on a commit is made, at the second writers wait for it. */
#define DIRTY_BYTES      (UINT64_C(128) << 20)
#define DIRTY_BYTES_STOP (UINT64_C(512) << 20)

static struct chunks_store *chunks_of(struct store *store)
{
    return (struct chunks_store *)store;
}

/* ---- lists -------------------------------------------------------------- */

void jobs_init(struct jobs *jobs)
{
    jobs->first = NULL;
    jobs->end = &jobs->first;
}

void jobs_push(struct jobs *jobs, struct job *job)
{
    job->next = NULL;
    *jobs->end = job;
    jobs->end = &job->next;
}

struct job *jobs_pop(struct jobs *jobs)
{
    struct job *job = jobs->first;
    if (!job)
        return NULL;
    jobs->first = job->next;
    if (!jobs->first)
        jobs->end = &jobs->first;
    job->next = NULL;
    return job;
}

struct job *job_new(const struct job *like)
{
    struct job *job = malloc(sizeof *job);
    if (job)
        *job = *like;
    else
        err_set(-ENOMEM, "no memory for an operation of the store");
    return job;
}

void job_end(struct job *job, int status)
{
    job->status = status;
    job->text = status < 0 ? strdup(err_text()) : NULL;
}

struct job *jobs_take_all(struct jobs *jobs)
{
    struct job *first = jobs->first;
    jobs_init(jobs);
    return first;
}

void chunks_hand_back(struct chunks_store *store, struct job *jobs)
{
    const uint64_t one = 1;
    pthread_mutex_lock(&store->queue);
    while (jobs) {
        struct job *job = jobs;
        jobs = job->next;
        jobs_push(&store->done, job);
    }
    pthread_mutex_unlock(&store->queue);
    while (write(store->done_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void chunks_give_worker(struct chunks_store *store, struct job *job)
{
    pthread_mutex_lock(&store->queue);
    jobs_push(&store->work, job);
    pthread_cond_signal(&store->worker_wanted);
    pthread_mutex_unlock(&store->queue);
}

static void give_committer(struct chunks_store *store, struct job *job)
{
    pthread_mutex_lock(&store->queue);
    jobs_push(job->kind == JOB_SYNC ? &store->syncs : &store->settles, job);
    /* A commit that is due in any case is waited for. */
    if (job->kind == JOB_SYNC || !atomic_load(&store->dirty))
        pthread_cond_signal(&store->committer_wanted);
    pthread_mutex_unlock(&store->queue);
}

int chunks_enqueue(struct chunks_store *store, const struct job *like)
{
    struct job *job = job_new(like);
    if (!job)
        return -ENOMEM;
    if (job->kind == JOB_SYNC || job->kind == JOB_SETTLE)
        give_committer(store, job);
    else
        chunks_give_worker(store, job);
    return STORE_PENDING;
}

void chunks_note_room(struct chunks_store *store)
{
    atomic_store_explicit(&store->room, (uint64_t)store->cs->space.free * CS_BLOCK, memory_order_relaxed);
}

/* ---- operations --------------------------------------------------------- */

static int do_job(struct chunks_store *store, struct job *job)
{
    const struct cs_name name = chunks_name(&job->object);
    const struct layout *layout = &job->object.layout;
    switch (job->kind) {
    case JOB_WRITE:
        return chunks_ahead_write(store, job);
    case JOB_READ:
        job->op->has_crc = true;
        return cs_read(store->cs, name, layout, job->offset, job->buffer, job->length, &job->count,
                       &job->op->crc);
    case JOB_TRUNCATE:
        return cs_truncate(store->cs, name, layout, job->offset);
    case JOB_REMOVE:
        return cs_remove(store->cs, name);
    case JOB_PUNCH:
        return cs_punch(store->cs, name, layout, job->offset, job->length);
    case JOB_SEEK:
        return cs_seek(store->cs, name, layout, job->offset, job->hole, job->seek);
    case JOB_SYNC:
    case JOB_SETTLE:
        break;
    }
    return 0;
}

bool chunks_is_too_dirty(const struct cs_store *cs)
{
    return !cs->failed && (cs->bytes_dirty > DIRTY_BYTES_STOP ||
                           cs->pages.dirty_count > cs->config.cache_pages || cs_log_is_full(&cs->log));
}

bool chunks_write_waits(const struct cs_store *cs, const struct job *job)
{
    const size_t length = job->kind == JOB_WRITE ? iov_length(job->iov, job->iov_count) : 0;
    return cs->io->type->write_waits && cs->io->type->write_waits(cs->io, length);
}

static bool changes(const struct job *job)
{
    return job->kind == JOB_WRITE || job->kind == JOB_TRUNCATE || job->kind == JOB_REMOVE ||
           job->kind == JOB_PUNCH;
}

/* With `core` held. */
static int attempt(struct chunks_store *store, struct job *job, bool nowait)
{
    struct cs_store *cs = store->cs;
    const bool writes = changes(job) && !chunks_ahead_is_all(job);
    if (nowait && changes(job) && (chunks_is_too_dirty(cs) || (writes && chunks_write_waits(cs, job))))
        return -EAGAIN;
    cs_pages_trim(&cs->pages);
    cs_nowait(cs, nowait);
    int result = do_job(store, job);
    chunks_note_room(store);
    if (nowait && (result > 0 || (result == -ENOSPC && cs_commit_gains(cs))))
        result = -EAGAIN;
    if (cs->changed && !atomic_load(&store->dirty)) {
        pthread_mutex_lock(&store->queue);
        atomic_store(&store->dirty, true);
        pthread_cond_signal(&store->committer_wanted);
        pthread_mutex_unlock(&store->queue);
    }
    if (changes(job) && (cs->bytes_dirty > DIRTY_BYTES || cs_wants_commit(cs)))
        chunks_want_commit(store);
    return result;
}

int chunks_try(struct chunks_store *store, struct job *job)
{
    if (pthread_mutex_trylock(&store->core))
        return -EAGAIN;
    const int result = attempt(store, job, true);
    if (result != -EAGAIN)
        chunks_ahead_free(store, job);
    pthread_mutex_unlock(&store->core);
    return result;
}

/* In the shard's thread: done at once, or later. */
static int start(struct chunks_store *store, struct job *job)
{
    const bool must_wait = changes(job) && store->queued[chunks_slot(&job->object)];
    if (!must_wait && pthread_mutex_trylock(&store->core) == 0) {
        int result = attempt(store, job, true);
        if (result == -EAGAIN && job->kind == JOB_READ)
            result = chunks_cold_begin(store, job);
        pthread_mutex_unlock(&store->core);
        if (result != -EAGAIN)
            return result;
    }
    return changes(job) ? chunks_line_up(store, job) : chunks_enqueue(store, job);
}

static void work_on(struct chunks_store *store, struct job *job)
{
    bool committed = false;
    int status = job->kind == JOB_READ ? chunks_cold_read(store, job) : -EAGAIN;
    if (status != -EAGAIN) {
        job_end(job, status);
        return;
    }
    for (;;) {
        pthread_mutex_lock(&store->core);
        const bool full = changes(job) && chunks_is_too_dirty(store->cs);
        if (!full)
            status = attempt(store, job, false);
        /* What is being discarded is free, but not to be had. */
        if (status == -ENOSPC && store->cs->space.discarding) {
            while (store->cs->space.discarding)
                pthread_cond_wait(&store->discarded, &store->core);
            status = attempt(store, job, false);
        }
        const bool gains = status == -ENOSPC && !committed && cs_commit_gains(store->cs);
        if (!full && !gains && status <= 0)
            chunks_ahead_free(store, job);
        pthread_mutex_unlock(&store->core);
        if (full || gains)
            chunks_wait_for_commit(store);
        else if (status <= 0)
            break;
        committed = committed || gains;
    }
    job_end(job, status);
}

static void *run_worker(void *arg)
{
    struct chunks_store *store = arg;
    for (;;) {
        pthread_mutex_lock(&store->queue);
        while (!store->work.first && !store->stop_worker)
            pthread_cond_wait(&store->worker_wanted, &store->queue);
        struct job *job = jobs_pop(&store->work);
        pthread_mutex_unlock(&store->queue);
        if (!job)
            return NULL;
        work_on(store, job);
        chunks_hand_back(store, job);
    }
}

static int chunks_write(struct store *base, const struct store_object *object, uint64_t offset,
                        struct iovec *iov, size_t iov_count, struct store_op *op)
{
    struct job job = {
        .kind = JOB_WRITE, .op = op, .object = *object, .offset = offset, .iov = iov, .iov_count = iov_count};
    return start(chunks_of(base), &job);
}

static int chunks_read(struct store *base, const struct store_object *object, uint64_t offset, void *buffer,
                       size_t length, size_t *count, struct store_op *op)
{
    struct job job = {
        .kind = JOB_READ, .op = op, .object = *object, .offset = offset, .buffer = buffer, .length = length};
    int result = start(chunks_of(base), &job);
    *count = result ? 0 : job.count;
    return result;
}

static int chunks_truncate(struct store *base, const struct store_object *object, uint64_t length,
                           struct store_op *op)
{
    struct job job = {.kind = JOB_TRUNCATE, .op = op, .object = *object, .offset = length};
    return start(chunks_of(base), &job);
}

static int chunks_punch(struct store *base, const struct store_object *object, uint64_t offset,
                        uint64_t length, struct store_op *op)
{
    struct job job = {.kind = JOB_PUNCH, .op = op, .object = *object, .offset = offset, .length = length};
    return start(chunks_of(base), &job);
}

static int chunks_seek(struct store *base, const struct store_object *object, uint64_t offset, bool hole,
                       struct store_seek *seek, struct store_op *op)
{
    struct job job = {
        .kind = JOB_SEEK, .op = op, .object = *object, .offset = offset, .hole = hole, .seek = seek};
    return start(chunks_of(base), &job);
}

static int chunks_remove(struct store *base, const struct store_object *object, struct store_op *op)
{
    struct job job = {.kind = JOB_REMOVE, .op = op, .object = *object};
    return start(chunks_of(base), &job);
}

/* False also when that can't be told at once. */
static bool is_durable(struct chunks_store *store)
{
    if (pthread_mutex_trylock(&store->core))
        return false;
    const struct cs_store *cs = store->cs;
    const bool durable = !cs->changed && !cs->sealed && !cs->failed && !cs->is_unsure;
    pthread_mutex_unlock(&store->core);
    return durable;
}

static int chunks_sync(struct store *base, const struct store_object *object, struct store_op *op)
{
    struct chunks_store *store = chunks_of(base);
    struct job job = {.kind = JOB_SYNC, .op = op, .object = *object};
    return is_durable(store) ? 0 : chunks_enqueue(store, &job);
}

static int chunks_settle(struct store *base, bool hurry, struct store_op *op)
{
    struct chunks_store *store = chunks_of(base);
    struct job job = {.kind = JOB_SETTLE, .op = op};
    int result = !op || is_durable(store) ? 0 : chunks_enqueue(store, &job);
    if (hurry && (!op || result == STORE_PENDING))
        chunks_want_commit(store);
    return result;
}

static int chunks_stat(struct store *base, const struct store_object *object, struct store_stat *result)
{
    struct chunks_store *store = chunks_of(base);
    struct cs_stat stat;
    *result = (struct store_stat){0};
    pthread_mutex_lock(&store->core);
    cs_nowait(store->cs, false);
    int error = cs_stat(store->cs, chunks_name(object), &object->layout, &stat);
    pthread_mutex_unlock(&store->core);
    if (!error)
        *result = (struct store_stat){
            .length = stat.length, .bytes = stat.blocks * CS_BLOCK, .mtime_ns = stat.mtime_ns};
    return error;
}

static int chunks_next(struct store *base, struct store_object *object)
{
    struct chunks_store *store = chunks_of(base);
    struct cs_name name = chunks_name(object);
    pthread_mutex_lock(&store->core);
    cs_nowait(store->cs, false);
    int error = cs_next(store->cs, &name, &object->layout);
    pthread_mutex_unlock(&store->core);
    if (!error) {
        object->ino = name.ino;
        object->position = name.position;
    }
    return error;
}

static uint64_t chunks_room(const struct store *base)
{
    return atomic_load_explicit(&((const struct chunks_store *)base)->room, memory_order_relaxed);
}

static int chunks_fd(struct store *base)
{
    return chunks_of(base)->done_fd;
}

static void chunks_progress(struct store *base)
{
    struct chunks_store *store = chunks_of(base);
    uint64_t count;
    while (read(store->done_fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    if (store->scrub)
        scrub_tell(store->scrub);
    chunks_batches_progress(store);
    pthread_mutex_lock(&store->queue);
    struct job *job = jobs_take_all(&store->done);
    pthread_mutex_unlock(&store->queue);
    while (job) {
        struct job *next = job->next;
        ssize_t status = job->status;
        if (changes(job))
            store->queued[chunks_slot(&job->object)]--;
        if (status < 0)
            err_set((int)status, "%s", job->text ? job->text : err_name((int)status));
        else if (job->kind == JOB_READ)
            status = (ssize_t)job->count;
        job->op->done(job->op, status);
        free(job->text);
        free(job);
        job = next;
    }
}

/* ---- life --------------------------------------------------------------- */

/* Puts the disk into one that makes faults. It may be gone when that fails. */
static int wrap(const struct store_config *config, const char *name, struct cs_io **io)
{
    const struct cs_io_faults_config faults = {.inner = *io,
                                               .faults = config->faults.rules,
                                               .name = name,
                                               .target = config->target->id,
                                               .shard = config->shard,
                                               .made = config->faults.made};
    return config->faults.rules ? cs_io_faults_open(&faults, io) : 0;
}

static void stop_thread(struct chunks_store *store, pthread_t thread, bool *runs, bool *stop,
                        pthread_cond_t *wanted)
{
    if (!*runs)
        return;
    pthread_mutex_lock(&store->queue);
    *stop = true;
    pthread_cond_signal(wanted);
    pthread_mutex_unlock(&store->queue);
    pthread_join(thread, NULL);
    *runs = false;
}

static void stop_threads(struct chunks_store *store)
{
    if (store->scrub)
        scrub_stop(store->scrub);
    store->scrub = NULL;
    /* The worker may wait for the committer, never the other way round. */
    stop_thread(store, store->worker, &store->worker_runs, &store->stop_worker, &store->worker_wanted);
    stop_thread(store, store->committer, &store->committer_runs, &store->stop_committer,
                &store->committer_wanted);
    stop_thread(store, store->discarder, &store->discarder_runs, &store->stop_discarder,
                &store->discarder_wanted);
}

static void free_store(struct chunks_store *store)
{
    stop_threads(store);
    cs_pool_close(store->pool);
    if (store->cs)
        cs_close(store->cs);
    if (store->done_fd >= 0)
        close(store->done_fd);
    pthread_cond_destroy(&store->committed);
    pthread_cond_destroy(&store->discarded);
    pthread_cond_destroy(&store->discarder_wanted);
    pthread_cond_destroy(&store->committer_wanted);
    pthread_cond_destroy(&store->worker_wanted);
    pthread_mutex_destroy(&store->queue);
    pthread_mutex_destroy(&store->core);
    free(store);
}

/* Without it a few threads do what would wait. */
static int start_rings(struct chunks_store *store)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    struct cs_io *io = store->cs->io;
    int error = io->type->watch ? io->type->watch(io, store->done_fd) : -ENOTSUP;
    store->rings = error == 0;
    if (error && error != -ENOTSUP && !atomic_flag_test_and_set(&said))
        log_info("threads wait for the disk: %s", err_text());
    return cs_pool_open(io, store->done_fd, &store->pool);
}

static int start_threads(struct chunks_store *store)
{
    store->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (store->done_fd < 0)
        return err_sys("eventfd");
    int error = start_rings(store);
    if (error)
        return error;
    errno = pthread_create(&store->worker, NULL, run_worker, store);
    if (errno)
        return err_sys("%s: start the thread that waits for the disk", store->name);
    store->worker_runs = true;
    errno = pthread_create(&store->committer, NULL, chunks_run_committer, store);
    if (errno)
        return err_sys("%s: start the thread that commits", store->name);
    store->committer_runs = true;
    if (store->discard.rate == 0)
        return 0;
    errno = pthread_create(&store->discarder, NULL, chunks_run_discarder, store);
    if (errno)
        return err_sys("%s: start the thread that gives space back", store->name);
    pthread_mutex_lock(&store->core);
    store->discarder_runs = true; /* the committer looks at it */
    pthread_mutex_unlock(&store->core);
    return 0;
}

static struct chunks_store *new_store(const struct store_config *config)
{
    struct chunks_store *store = calloc(1, sizeof *store);
    if (!store)
        return NULL;
    store->store.type = &store_chunks;
    store->target = config->target;
    store->discard = config->discard;
    store->done_fd = -1;
    pthread_mutex_init(&store->core, NULL);
    pthread_mutex_init(&store->queue, NULL);
    monotonic_cond_init(&store->committer_wanted);
    monotonic_cond_init(&store->discarder_wanted);
    pthread_cond_init(&store->discarded, NULL);
    pthread_cond_init(&store->worker_wanted, NULL);
    pthread_cond_init(&store->committed, NULL);
    for (unsigned slot = 0; slot < CHUNKS_SLOTS; slot++)
        jobs_init(&store->lines[slot]);
    jobs_init(&store->work);
    jobs_init(&store->syncs);
    jobs_init(&store->settles);
    jobs_init(&store->done);
    return store;
}

/* Past the page cache, if that is wanted. */
static int go_direct(const struct store_config *config, struct cs_io **io)
{
    if (!config->direct_io)
        return 0;
    int error =
        (*io)->type->direct ? (*io)->type->direct(*io) : err_set(-ENOTSUP, "the disk has no direct I/O");
    if (!error)
        return cs_whole_open(*io, io);
    (*io)->type->close(*io);
    return err_prefix(error, "direct_io");
}

static int chunks_open(const struct store_config *config, struct store **result)
{
    struct cs_config inner;
    struct chunks_store *store = new_store(config);
    if (!store)
        return err_set(-ENOMEM, "no memory for a store");
    int error = config->target->volume ? volume_heal(config->target->volume) : 0;
    if (!error)
        error = store_chunks_configure(config->target, config->shard, false, store->name, &inner);
    inner.log = true;
    inner.discard = config->discard.rate > 0;
    if (!error)
        error = go_direct(config, &inner.io);
    if (!error)
        error = wrap(config, store->name, &inner.io);
    if (!error)
        error = cs_open(&inner, &store->cs);
    if (!error)
        chunks_note_room(store);
    if (!error)
        error = start_threads(store);
    if (!error && config->scrub.rate)
        error = scrub_start(store->cs, &store->core, &config->scrub, store->done_fd, &store->scrub);
    if (error) {
        free_store(store);
        return error;
    }
    *result = &store->store;
    return 0;
}

static int chunks_close(struct store *base)
{
    struct chunks_store *store = chunks_of(base);
    stop_threads(store);
    cs_nowait(store->cs, false);
    int error = cs_commit(store->cs);
    if (!error && store->cs->is_unsure)
        error = chunks_make_sure(store);
    if (!error && store->cs->has_lost)
        error = cs_changeable(store->cs);
    free_store(store);
    return error;
}

const struct store_type store_chunks = {
    .name = "chunks",
    .takes_crcs = true,
    .object_bytes_max = CS_OBJECT_BYTES_MAX,
    .format = store_chunks_format,
    .open = chunks_open,
    .close = chunks_close,
    .write = chunks_write,
    .read = chunks_read,
    .sync = chunks_sync,
    .truncate = chunks_truncate,
    .punch = chunks_punch,
    .seek = chunks_seek,
    .remove = chunks_remove,
    .settle = chunks_settle,
    .stat = chunks_stat,
    .next = chunks_next,
    .room = chunks_room,
    .fd = chunks_fd,
    .progress = chunks_progress,
};
