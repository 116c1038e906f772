/* SPDX-License-Identifier: Apache-2.0 */
/* Those who wait for a lock: one thread asks for all of them, again and again, until each has got it or was
 * interrupted. libweft's own waiting can't be given up, and would take a thread for each. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>

#include "err.h"
#include "locks.h"

#define DELAY_MIN_NS UINT64_C(1000000)
#define DELAY_MAX_NS UINT64_C(50000000)

struct waiter {
    struct list_link link;
    fuse_req_t req;
    struct lock_ask ask;
    struct lock_line *line;
    uint64_t delay_ns, due_ns;
    bool interrupted;
};

struct lock_line {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    bool started;
    bool ending;
    bool kicked;
    struct list waiters;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

int lock_line_new(struct lock_line **out)
{
    struct lock_line *line = calloc(1, sizeof *line);
    pthread_condattr_t attributes;
    if (!line)
        return err_set(-ENOMEM, "out of memory for those who wait for locks");
    pthread_mutex_init(&line->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&line->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    list_init(&line->waiters);
    *out = line;
    return 0;
}

/* ---- the thread --------------------------------------------------------------------- */

/* The one that is to be tried next, or NULL, and until when to sleep (with the mutex). */
static struct waiter *due_waiter(struct lock_line *line, uint64_t *until_ns)
{
    uint64_t now = now_ns();
    *until_ns = UINT64_MAX;
    list_each(&line->waiters, link, after)
    {
        struct waiter *waiter = list_item(link, struct waiter, link);
        if (waiter->interrupted || line->ending || waiter->due_ns <= now)
            return waiter;
        if (waiter->due_ns < *until_ns)
            *until_ns = waiter->due_ns;
    }
    return NULL;
}

static void sleep_until(struct lock_line *line, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    if (until_ns == UINT64_MAX)
        pthread_cond_wait(&line->changed, &line->mutex);
    else
        pthread_cond_timedwait(&line->changed, &line->mutex, &until);
}

static void finish(struct waiter *waiter, int error)
{
    fuse_req_interrupt_func(waiter->req, NULL, NULL); /* nobody comes any more after this */
    /* The lock is the owner's, but nobody heard of it. */
    if (error == 0 && fuse_reply_err(waiter->req, 0) == -ENOENT) {
        waiter->ask.release = true;
        (void)locks_try(&waiter->ask);
    } else if (error) {
        answer_error(waiter->req, "lock", error);
    }
    (void)file_drop(waiter->ask.file);
    free(waiter);
}

/* Tries for one, which is not in the line meanwhile (with the mutex, which is let go of). */
static void attend(struct lock_line *line, struct waiter *waiter)
{
    int error = line->ending ? -EINTR : waiter->interrupted ? -EINTR : 0;
    list_remove(&waiter->link);
    pthread_mutex_unlock(&line->mutex);
    if (!error)
        error = locks_try(&waiter->ask);
    if (error != -EAGAIN) {
        finish(waiter, error);
        pthread_mutex_lock(&line->mutex);
        return;
    }
    pthread_mutex_lock(&line->mutex);
    waiter->due_ns = now_ns() + waiter->delay_ns;
    waiter->delay_ns = 2 * waiter->delay_ns < DELAY_MAX_NS ? 2 * waiter->delay_ns : DELAY_MAX_NS;
    list_push_back(&line->waiters, &waiter->link);
}

static void *work(void *arg)
{
    struct lock_line *line = arg;
    uint64_t until_ns;
    pthread_mutex_lock(&line->mutex);
    while (!line->ending || !list_empty(&line->waiters)) {
        if (line->kicked) {
            line->kicked = false;
            list_each(&line->waiters, link, after) list_item(link, struct waiter, link)->due_ns = 0;
        }
        struct waiter *waiter = due_waiter(line, &until_ns);
        if (waiter)
            attend(line, waiter);
        else
            sleep_until(line, until_ns);
    }
    pthread_mutex_unlock(&line->mutex);
    return NULL;
}

void lock_line_kick(struct lock_line *line)
{
    pthread_mutex_lock(&line->mutex);
    if (!list_empty(&line->waiters)) {
        line->kicked = true;
        pthread_cond_signal(&line->changed);
    }
    pthread_mutex_unlock(&line->mutex);
}

void lock_line_free(struct lock_line *line)
{
    if (!line)
        return;
    pthread_mutex_lock(&line->mutex);
    line->ending = true;
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
    pthread_cond_signal(&waiter->line->changed);
    pthread_mutex_unlock(&waiter->line->mutex);
}

/* The request is answered by the line's thread from now on. */
static int join(fuse_req_t req, const struct lock_ask *ask)
{
    struct lock_line *line = locks_line(ask->file->mount->locks);
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter)
        return -ENOMEM;
    *waiter = (struct waiter){.req = req, .ask = *ask, .line = line, .delay_ns = DELAY_MIN_NS};
    list_link_init(&waiter->link);
    file_hold(ask->file);
    /* May call at once, when the interruption is here already. */
    fuse_req_interrupt_func(req, interrupt, waiter);
    pthread_mutex_lock(&line->mutex);
    int error = 0;
    if (!line->started)
        error = -pthread_create(&line->thread, NULL, work, line);
    line->started = line->started || !error;
    if (!error) {
        list_push_back(&line->waiters, &waiter->link);
        pthread_cond_signal(&line->changed);
    }
    pthread_mutex_unlock(&line->mutex);
    if (error) {
        fuse_req_interrupt_func(req, NULL, NULL);
        (void)file_drop(ask->file);
        free(waiter);
    }
    return error;
}

/* ---- the operations ---------------------------------------------------------------------- */

static void set(fuse_req_t req, const struct lock_ask *ask, bool wait)
{
    int error = locks_try(ask);
    if (error == -EAGAIN && wait) {
        error = join(req, ask);
        if (!error)
            return;
    }
    answer(req, "lock", error);
}

static struct lock_ask ask_of(const struct fuse_file_info *info, const struct flock *lock)
{
    uint64_t start = (uint64_t)lock->l_start;
    uint64_t end = lock->l_len == 0 ? (uint64_t)INT64_MAX : start + (uint64_t)lock->l_len;
    return (struct lock_ask){
        .file = file_of(info),
        .owner = info->lock_owner,
        .pid = lock->l_pid,
        .release = lock->l_type == F_UNLCK,
        .exclusive = lock->l_type == F_WRLCK,
        .start = start,
        .end = end < WEFT_LOCK_WHOLE ? end : WEFT_LOCK_WHOLE,
    };
}

void locks_get(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info, struct flock *lock)
{
    struct lock_ask ask = ask_of(info, lock);
    (void)node;
    int result = locks_test(&ask, lock);
    if (result < 0) {
        answer_error(req, "lock test", result);
        return;
    }
    if (result == 0)
        lock->l_type = F_UNLCK;
    fuse_reply_lock(req, lock);
}

void locks_set(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info, struct flock *lock, int wait)
{
    struct lock_ask ask = ask_of(info, lock);
    (void)node;
    set(req, &ask, wait != 0);
}

void locks_flock(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info, int operation)
{
    struct lock_ask ask = {
        .file = file_of(info),
        .owner = info->lock_owner,
        .whole = true,
        .release = (operation & LOCK_UN) != 0,
        .exclusive = (operation & LOCK_EX) != 0,
        .start = WEFT_LOCK_WHOLE,
        .end = WEFT_LOCK_WHOLE + 1,
    };
    (void)node;
    set(req, &ask, !(operation & LOCK_NB));
}
