/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "err.h"

/* Few, since each waits most of the time and has a stack; pieces that wait for one. */
enum { THREADS = 8, PIECES_MAX = 512 };

struct cs_pool {
    struct cs_io *io;
    int event_fd;
    pthread_t threads[THREADS];
    unsigned thread_count;
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t wanted;
    struct cs_piece *queue[PIECES_MAX]; /* a ring */
    unsigned first, count;
    struct cs_batch *done; /* the latest first */
    bool stop;
};

static void tell(struct cs_pool *pool)
{
    const uint64_t one = 1;
    while (write(pool->event_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* With the lock held. */
static void end(struct cs_pool *pool, struct cs_batch *batch, int error)
{
    if (error)
        batch->whole = false;
    if (--batch->pending)
        return;
    batch->next = pool->done;
    pool->done = batch;
    tell(pool);
}

static void *run(void *arg)
{
    struct cs_pool *pool = arg;
    const struct cs_io_type *type = pool->io->type;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->count == 0 && !pool->stop)
            pthread_cond_wait(&pool->wanted, &pool->lock);
        if (pool->count == 0)
            break;
        struct cs_piece *piece = pool->queue[pool->first];
        struct cs_batch *batch = piece->batch;
        pool->first = (pool->first + 1) % PIECES_MAX;
        pool->count--;
        pthread_mutex_unlock(&pool->lock);
        int error = batch->is_write
                        ? type->write(pool->io, CS_DATA, piece->offset, piece->iov, piece->iov_count)
                        : type->read(pool->io, CS_DATA, piece->offset, piece->iov, piece->iov_count, false);
        pthread_mutex_lock(&pool->lock);
        end(pool, batch, error);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

int cs_pool_open(struct cs_io *io, int event_fd, struct cs_pool **result)
{
    struct cs_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return err_set(-ENOMEM, "no memory for threads that wait for the disk");
    pool->io = io;
    pool->event_fd = event_fd;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wanted, NULL);
    *result = pool;
    return 0;
}

void cs_pool_close(struct cs_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wanted);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->wanted);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

/* False: there is none at all. */
static bool start(struct cs_pool *pool)
{
    while (pool->thread_count < THREADS &&
           pthread_create(&pool->threads[pool->thread_count], NULL, run, pool) == 0)
        pool->thread_count++;
    return pool->thread_count > 0;
}

int cs_pool_begin(struct cs_pool *pool, struct cs_batch *batch)
{
    if (batch->count == 0 || !start(pool))
        return -EAGAIN;
    pthread_mutex_lock(&pool->lock);
    const bool fits = batch->count <= PIECES_MAX - pool->count;
    batch->whole = true;
    batch->pending = batch->count;
    for (unsigned i = 0; i < batch->count && fits; i++) {
        batch->pieces[i].batch = batch;
        pool->queue[(pool->first + pool->count++) % PIECES_MAX] = &batch->pieces[i];
        pthread_cond_signal(&pool->wanted);
    }
    pthread_mutex_unlock(&pool->lock);
    return fits ? 0 : -EAGAIN;
}

struct cs_batch *cs_pool_ended(struct cs_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct cs_batch *batch = pool->done;
    if (batch)
        pool->done = batch->next;
    pthread_mutex_unlock(&pool->lock);
    return batch;
}
