/* SPDX-License-Identifier: Apache-2.0 */
/* Threads for many small things: most of the time of each is waiting for a server. */
#include "tool.h"

#include <pthread.h>
#include <stdlib.h>

#include "signals.h"

enum { QUEUE_LENGTH = 64 };

struct work {
    work_fn *run;
    void *arg;
};

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t more; /* something was queued, or the end was asked for */
    pthread_cond_t less; /* something was taken out, or is done */
    struct work queue[QUEUE_LENGTH];
    unsigned first, queued;
    unsigned running;
    bool ending;
    unsigned count;
    pthread_t threads[];
};

static void *work(void *arg)
{
    struct workers *workers = arg;
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        while (workers->queued == 0 && !workers->ending)
            pthread_cond_wait(&workers->more, &workers->lock);
        if (workers->queued == 0)
            break;
        struct work next = workers->queue[workers->first];
        workers->first = (workers->first + 1) % QUEUE_LENGTH;
        workers->queued--;
        workers->running++;
        pthread_cond_broadcast(&workers->less);
        pthread_mutex_unlock(&workers->lock);
        next.run(next.arg);
        pthread_mutex_lock(&workers->lock);
        workers->running--;
        pthread_cond_broadcast(&workers->less);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

struct workers *workers_new(unsigned count)
{
    struct workers *workers = calloc(1, sizeof *workers + count * sizeof workers->threads[0]);
    if (!workers)
        return NULL;
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->more, NULL);
    pthread_cond_init(&workers->less, NULL);
    /* Signals are for the main thread, which may wait in a read(). */
    sigset_t before;
    signals_hold(&before);
    while (workers->count < count && !pthread_create(&workers->threads[workers->count], NULL, work, workers))
        workers->count++;
    signals_release(&before);
    if (workers->count > 0)
        return workers;
    workers_free(workers);
    return NULL;
}

void workers_add(struct workers *workers, work_fn *run, void *arg)
{
    if (!workers) {
        run(arg);
        return;
    }
    pthread_mutex_lock(&workers->lock);
    while (workers->queued == QUEUE_LENGTH)
        pthread_cond_wait(&workers->less, &workers->lock);
    workers->queue[(workers->first + workers->queued) % QUEUE_LENGTH] = (struct work){run, arg};
    workers->queued++;
    pthread_cond_signal(&workers->more);
    pthread_mutex_unlock(&workers->lock);
}

void workers_drain(struct workers *workers)
{
    if (!workers)
        return;
    pthread_mutex_lock(&workers->lock);
    while (workers->queued > 0 || workers->running > 0)
        pthread_cond_wait(&workers->less, &workers->lock);
    pthread_mutex_unlock(&workers->lock);
}

void workers_free(struct workers *workers)
{
    if (!workers)
        return;
    pthread_mutex_lock(&workers->lock);
    workers->ending = true;
    pthread_cond_broadcast(&workers->more);
    pthread_mutex_unlock(&workers->lock);
    for (unsigned i = 0; i < workers->count; i++)
        pthread_join(workers->threads[i], NULL);
    pthread_cond_destroy(&workers->more);
    pthread_cond_destroy(&workers->less);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}
