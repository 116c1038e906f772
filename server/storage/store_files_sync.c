/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flush may take long, so a thread of its own does it: one for each store, so
 * that a slow device holds up nobody else's. An object has one flush under way at
 * most; a sync joins it when nothing was changed since it was asked for, and
 * else waits for the next one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "err.h"
#include "store_files.h"
#include "target.h"

/* ---- the flush itself --------------------------------------------------- */

/* The name that tells "synced" may only be seen when data and header are there. */
static int flush_name(const struct files_store *store, const struct files_object *object)
{
    char name_new[FILES_NAME_MAX], name[FILES_NAME_MAX], dir[4];
    files_object_name(&object->key, true, name_new);
    files_object_name(&object->key, false, name);
    if (renameat(store->dir_fd, name_new, store->dir_fd, name))
        return files_object_error(store, object, "rename");
    snprintf(dir, sizeof dir, "%.2s", name);
    int fd = openat(store->dir_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = fd < 0 || fsync(fd) ? err_sys("target %" PRIu32 ": flush %s/shard-%" PRIu32 "/%s",
                                              store->target->id, store->target->dir, store->shard, dir)
                                    : 0;
    if (fd >= 0)
        close(fd);
    return error;
}

int files_sync_object(const struct files_store *store, const struct files_object *object, bool is_new)
{
    if (fdatasync(object->fd))
        return files_object_error(store, object, "flush");
    return is_new ? flush_name(store, object) : 0;
}

/* ---- the thread --------------------------------------------------------- */

static struct files_job *next_job(struct files_store *store)
{
    pthread_mutex_lock(&store->lock);
    while (!store->jobs && !store->stop)
        pthread_cond_wait(&store->wanted, &store->lock);
    struct files_job *job = store->jobs;
    if (job) {
        store->jobs = job->next;
        if (!store->jobs)
            store->jobs_end = &store->jobs;
    }
    pthread_mutex_unlock(&store->lock);
    return job;
}

static void hand_back(struct files_store *store, struct files_job *job)
{
    pthread_mutex_lock(&store->lock);
    job->next = store->done;
    store->done = job;
    pthread_mutex_unlock(&store->lock);
    uint64_t one = 1;
    while (write(store->done_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

static void *run(void *arg)
{
    struct files_store *store = arg;
    struct files_job *job;
    while ((job = next_job(store))) {
        job->status = files_sync_object(store, job->object, job->is_new);
        if (job->status)
            snprintf(job->text, sizeof job->text, "%s", err_text());
        hand_back(store, job);
    }
    return NULL;
}

int files_sync_open(struct files_store *store)
{
    store->jobs_end = &store->jobs;
    store->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (store->done_fd < 0)
        return err_sys("eventfd");
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->wanted, NULL);
    int error = pthread_create(&store->thread, NULL, run, store);
    if (error) {
        errno = error;
        return err_sys("target %" PRIu32 ": start the thread that flushes", store->target->id);
    }
    store->thread_runs = true;
    return 0;
}

void files_sync_close(struct files_store *store)
{
    if (store->thread_runs) {
        pthread_mutex_lock(&store->lock);
        store->stop = true;
        pthread_cond_signal(&store->wanted);
        pthread_mutex_unlock(&store->lock);
        pthread_join(store->thread, NULL);
        store->thread_runs = false;
        pthread_cond_destroy(&store->wanted);
        pthread_mutex_destroy(&store->lock);
    }
    if (store->done_fd >= 0)
        close(store->done_fd);
    store->done_fd = -1;
}

/* ---- the loop's side ---------------------------------------------------- */

static int submit(struct files_store *store, struct files_object *object, struct store_op *ops)
{
    struct files_job *job = calloc(1, sizeof *job);
    if (!job)
        return err_set(-ENOMEM, "no memory for a flush");
    job->object = object;
    job->ops = ops;
    job->changes = object->changes;
    job->is_new = object->is_new;
    object->job = job;
    pthread_mutex_lock(&store->lock);
    *store->jobs_end = job;
    store->jobs_end = &job->next;
    pthread_cond_signal(&store->wanted);
    pthread_mutex_unlock(&store->lock);
    return 0;
}

static int lost(const struct files_store *store, const struct files_object *object)
{
    errno = -object->sync_error;
    return files_object_error(store, object, "an earlier flush failed, and its data may be lost: write anew");
}

int files_sync_start(struct files_store *store, struct files_object *object, struct store_op *op)
{
    if (object->sync_error)
        return lost(store, object);
    if (object->changes == object->synced && !object->is_new)
        return 0;
    struct store_op **list = &object->ops_waiting;
    if (object->job && object->job->changes == object->changes)
        list = &object->job->ops;
    op->next = NULL;
    if (!object->job) {
        int error = submit(store, object, op);
        return error ? error : STORE_PENDING;
    }
    op->next = *list;
    *list = op;
    return STORE_PENDING;
}

/* `text` is what failed; a callback may have set another one meanwhile. */
static void finish(struct store_op *ops, int status, const char *text)
{
    while (ops) {
        struct store_op *op = ops;
        ops = op->next;
        if (status)
            err_set(status, "%s", text);
        op->done(op, status);
    }
}

static void finish_job(struct files_store *store, struct files_job *job)
{
    struct files_object *object = job->object;
    struct store_op *waiting = object->ops_waiting, *removals = object->ops_remove;
    object->job = NULL;
    object->ops_waiting = NULL;
    object->ops_remove = NULL;
    if (job->status) {
        /* The kernel forgets which pages it could not write: a second flush
         * would succeed without them. */
        object->sync_error = job->status;
    } else {
        object->synced = job->changes;
        object->is_new = false;
    }
    if (waiting && !object->sync_error && !removals) {
        int error = submit(store, object, waiting);
        if (error)
            finish(waiting, error, err_text());
        waiting = NULL;
    }
    if (removals) {
        /* A sync of an object that is gone has nothing more to do. */
        int error = files_object_unlink(store, &object->key);
        char text[LIMITS_ERROR_TEXT_MAX + 1];
        snprintf(text, sizeof text, "%s", err_text());
        files_object_close(store, object);
        finish(removals, error, text);
    }
    finish(job->ops, job->status, job->text);
    finish(waiting, job->status, job->text);
    free(job);
}

void files_sync_progress(struct files_store *store)
{
    uint64_t count;
    while (read(store->done_fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&store->lock);
    struct files_job *job = store->done;
    store->done = NULL;
    pthread_mutex_unlock(&store->lock);
    while (job) {
        struct files_job *next = job->next;
        finish_job(store, job);
        job = next;
    }
}
