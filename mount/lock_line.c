/* SPDX-License-Identifier: Apache-2.0 */
/* Those who wait for a lock. libweft does the waiting, for any number of them; one thread here drives it, and
 * answers whoever has got what he waited for, or was interrupted. */
#include <errno.h>
#include <stdlib.h>

#include "err.h"
#include "locks.h"

enum { DRIVE_MS = 1000 };

struct waiter {
    struct list_link link;
    fuse_req_t req;
    struct file *file; /* held */
    struct weft_record record;
    struct lock_line *line;
    weft_op_t *op;    /* NULL: not begun, or over */
    bool interrupted; /* before it began */
};

struct lock_line {
    weft_session_t *session;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    bool started;
    bool ending;
    struct list waiters;
};

int lock_line_new(weft_session_t *session, struct lock_line **out)
{
    struct lock_line *line = calloc(1, sizeof *line);
    if (!line)
        return err_set(-ENOMEM, "out of memory for those who wait for locks");
    line->session = session;
    pthread_mutex_init(&line->mutex, NULL);
    pthread_cond_init(&line->changed, NULL);
    list_init(&line->waiters);
    *out = line;
    return 0;
}

/* ---- the thread --------------------------------------------------------------------- */

static void finish(struct waiter *waiter, int error)
{
    fuse_req_interrupt_func(waiter->req, NULL, NULL); /* nobody comes any more after this */
    if (error) {
        answer_error(waiter->req, "lock", error);
    } else if (fuse_reply_err(waiter->req, 0) == -ENOENT) {
        /* The lock is the owner's, but nobody heard of it. */
        waiter->record.type = WEFT_LOCK_NONE;
        (void)weft_file_lock_set(waiter->file->weft, &waiter->record, 0);
    }
    (void)file_drop(waiter->file);
    free(waiter);
}

/* Takes one out whose wait is over (with the mutex). */
static struct waiter *find_done(struct lock_line *line, weft_op_t **op)
{
    list_each(&line->waiters, link, after)
    {
        struct waiter *waiter = list_item(link, struct waiter, link);
        if (!weft_test(waiter->op))
            continue;
        list_remove(&waiter->link);
        *op = waiter->op;
        waiter->op = NULL;
        return waiter;
    }
    return NULL;
}

static void *work(void *arg)
{
    struct lock_line *line = arg;
    uint64_t ended = 0;
    pthread_mutex_lock(&line->mutex);
    while (!line->ending || !list_empty(&line->waiters)) {
        struct waiter *waiter;
        weft_op_t *op;
        if (list_empty(&line->waiters)) {
            pthread_cond_wait(&line->changed, &line->mutex);
            continue;
        }
        pthread_mutex_unlock(&line->mutex);
        /* Returns when any operation of the session has ended since it was called last. */
        (void)weft_drive(line->session, DRIVE_MS, &ended);
        pthread_mutex_lock(&line->mutex);
        while ((waiter = find_done(line, &op))) {
            pthread_mutex_unlock(&line->mutex);
            finish(waiter, (int)weft_wait(op));
            pthread_mutex_lock(&line->mutex);
        }
    }
    pthread_mutex_unlock(&line->mutex);
    return NULL;
}

void lock_line_free(struct lock_line *line)
{
    if (!line)
        return;
    pthread_mutex_lock(&line->mutex);
    line->ending = true;
    list_each(&line->waiters, link, after) weft_lock_cancel(list_item(link, struct waiter, link)->op);
    pthread_cond_signal(&line->changed);
    pthread_mutex_unlock(&line->mutex);
    if (line->started)
        pthread_join(line->thread, NULL);
    pthread_cond_destroy(&line->changed);
    pthread_mutex_destroy(&line->mutex);
    free(line);
}

/* ---- joining the line ------------------------------------------------------------------ */

static void interrupt(fuse_req_t req, void *arg)
{
    struct waiter *waiter = arg;
    (void)req;
    pthread_mutex_lock(&waiter->line->mutex);
    waiter->interrupted = true;
    if (waiter->op)
        weft_lock_cancel(waiter->op);
    pthread_mutex_unlock(&waiter->line->mutex);
}

/* (with the mutex) The wait begins and is in the list before the thread looks for its end. */
static int begin(struct lock_line *line, struct waiter *waiter, unsigned flags)
{
    if (!line->started) {
        int error = -pthread_create(&line->thread, NULL, work, line);
        if (error)
            return error;
        line->started = true;
    }
    if (line->ending)
        return -EINTR;
    int error = weft_file_lock_set_async(waiter->file->weft, &waiter->record, flags, &waiter->op);
    if (error)
        return error;
    if (waiter->interrupted)
        weft_lock_cancel(waiter->op);
    list_push_back(&line->waiters, &waiter->link);
    pthread_cond_signal(&line->changed);
    return 0;
}

int lock_line_join(struct lock_line *line, fuse_req_t req, struct file *file,
                   const struct weft_record *record, unsigned flags)
{
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter)
        return -ENOMEM;
    *waiter = (struct waiter){.req = req, .file = file, .record = *record, .line = line};
    list_link_init(&waiter->link);
    file_hold(file);
    /* May call at once, when the interruption is here already. */
    fuse_req_interrupt_func(req, interrupt, waiter);
    pthread_mutex_lock(&line->mutex);
    int error = begin(line, waiter, flags);
    pthread_mutex_unlock(&line->mutex);
    if (error) {
        fuse_req_interrupt_func(req, NULL, NULL);
        (void)file_drop(file);
        free(waiter);
    }
    return error;
}
