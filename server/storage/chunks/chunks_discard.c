/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The discarder: one thread of a store, which gives back what commits have made free, so many bytes a second
 * at the most. It begins a second after the commit: what is written anew at once need not be given back
 * before.
 */
#include "chunks.h"

#include <errno.h>

#include "err.h"
#include "log.h"
#include "monotonic.h"

/* Bytes that are given back at once, and are missed by those who write meanwhile. */
#define PIECE_BYTES (UINT64_C(16) << 20)

void chunks_want_discard(struct chunks_store *store)
{
    pthread_mutex_lock(&store->queue);
    store->discard_wanted = true;
    pthread_cond_signal(&store->discarder_wanted);
    pthread_mutex_unlock(&store->queue);
}

/* False: there is nothing to be given back. */
static bool discard_piece(struct chunks_store *store, uint64_t most, uint64_t *bytes)
{
    struct cs_discard discard;
    pthread_mutex_lock(&store->core);
    const bool begun = cs_discard_begin(store->cs, most < PIECE_BYTES ? most : PIECE_BYTES, &discard);
    pthread_mutex_unlock(&store->core);
    if (!begun)
        return false;
    const int status = cs_discard_make(store->cs, &discard);
    if (status == -EOPNOTSUPP)
        log_info("no space is given back: %s", err_text());
    else if (status)
        log_warn("%s: space could not be given back: %s", store->name, err_text());
    pthread_mutex_lock(&store->core);
    cs_discard_end(store->cs, &discard, status);
    chunks_note_room(store);
    pthread_cond_broadcast(&store->discarded);
    pthread_mutex_unlock(&store->core);
    *bytes = (uint64_t)discard.count * CS_BLOCK;
    if (status == 0 && store->discard.bytes)
        counter_add_shared(store->discard.bytes, *bytes);
    return status == 0;
}

static bool is_stopping(struct chunks_store *store)
{
    pthread_mutex_lock(&store->queue);
    const bool stopping = store->stop_discarder;
    pthread_mutex_unlock(&store->queue);
    return stopping;
}

/* A second's bytes. True: there may be more. */
static bool discard_some(struct chunks_store *store)
{
    uint64_t left = store->discard.rate, bytes;
    while (left >= CS_STRIP_BLOCKS * CS_BLOCK && !is_stopping(store)) {
        if (!discard_piece(store, left, &bytes))
            return false;
        left -= bytes;
    }
    return true;
}

void *chunks_run_discarder(void *arg)
{
    struct chunks_store *store = arg;
    struct timespec until;
    pthread_mutex_lock(&store->queue);
    for (;;) {
        while (!store->discard_wanted && !store->stop_discarder)
            pthread_cond_wait(&store->discarder_wanted, &store->queue);
        until = monotonic_in(1000);
        for (int waited = 0; waited != ETIMEDOUT && !store->stop_discarder;)
            waited = pthread_cond_timedwait(&store->discarder_wanted, &store->queue, &until);
        if (store->stop_discarder)
            break;
        store->discard_wanted = false;
        pthread_mutex_unlock(&store->queue);
        const bool more = discard_some(store);
        pthread_mutex_lock(&store->queue);
        store->discard_wanted = store->discard_wanted || more;
    }
    pthread_mutex_unlock(&store->queue);
    return NULL;
}
