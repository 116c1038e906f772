/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The committer: one thread of a store. All who ask for a sync before a seal are answered by that commit; so
 * are those who want no commit of their own, but to know when there was one.
 */
#include "chunks.h"

#include <errno.h>

#include "err.h"
#include "monotonic.h"

enum { COMMIT_SECONDS = 2 };

void chunks_want_commit(struct chunks_store *store)
{
    pthread_mutex_lock(&store->queue);
    if (!store->commit_wanted) {
        store->commit_wanted = true;
        pthread_cond_signal(&store->committer_wanted);
    }
    pthread_mutex_unlock(&store->queue);
}

void chunks_wait_for_commit(struct chunks_store *store)
{
    pthread_mutex_lock(&store->queue);
    const uint64_t round = store->rounds_begun + 1;
    store->commit_wanted = true;
    pthread_cond_signal(&store->committer_wanted);
    while (store->rounds_done < round)
        pthread_cond_wait(&store->committed, &store->queue);
    pthread_mutex_unlock(&store->queue);
}

int chunks_make_sure(struct chunks_store *store)
{
    int error = cs_commit_sure(store->cs);
    pthread_mutex_lock(&store->core);
    store->cs->is_unsure = error != 0;
    pthread_mutex_unlock(&store->core);
    return error;
}

/* Returns what those who wait for a sync are told. */
static int commit_once(struct chunks_store *store)
{
    struct cs_commit *commit;
    pthread_mutex_lock(&store->core);
    atomic_store(&store->dirty, false);
    cs_nowait(store->cs, false);
    int error = cs_seal(store->cs, &commit);
    if (!error && !commit)
        error = cs_changeable(store->cs); /* what an earlier commit lost stays lost */
    const bool unsure = !error && !commit && store->cs->is_unsure;
    pthread_mutex_unlock(&store->core);
    if (unsure)
        return chunks_make_sure(store);
    if (!commit)
        return error;
    error = cs_commit_flush(commit);
    pthread_mutex_lock(&store->core);
    cs_commit_finish(store->cs, commit, error);
    chunks_note_room(store);
    if (error)
        error = cs_changeable(store->cs);
    const bool gives = store->discarder_runs && store->cs->space.stale_words > 0;
    pthread_mutex_unlock(&store->core);
    if (gives)
        chunks_want_discard(store);
    return error;
}

static void answer(struct chunks_store *store, struct job *jobs, int status)
{
    for (struct job *job = jobs; job; job = job->next)
        job_end(job, status);
    if (jobs)
        chunks_hand_back(store, jobs);
}

/* With `queue` held. Who waits for a commit that is not due gets one, which has nothing to do. */
static bool is_wanted(struct chunks_store *store)
{
    return store->stop_committer || store->commit_wanted || store->syncs.first ||
           (store->settles.first && !atomic_load(&store->dirty));
}

void *chunks_run_committer(void *arg)
{
    struct chunks_store *store = arg;
    pthread_mutex_lock(&store->queue);
    while (!store->stop_committer) {
        struct timespec until = monotonic_in(COMMIT_SECONDS * 1000);
        bool timed = atomic_load(&store->dirty);
        int waited = 0;
        while (!is_wanted(store) && waited != ETIMEDOUT) {
            if (atomic_load(&store->dirty))
                waited = pthread_cond_timedwait(&store->committer_wanted, &store->queue, &until);
            else
                waited = pthread_cond_wait(&store->committer_wanted, &store->queue);
            /* The time begins with the first change. */
            if (waited == 0 && atomic_load(&store->dirty) && !timed) {
                until = monotonic_in(COMMIT_SECONDS * 1000);
                timed = true;
            }
        }
        struct job *syncs = jobs_take_all(&store->syncs), *settles = jobs_take_all(&store->settles);
        store->commit_wanted = false;
        const uint64_t round = ++store->rounds_begun;
        pthread_mutex_unlock(&store->queue);
        int status = commit_once(store);
        answer(store, syncs, status);
        answer(store, settles, status);
        pthread_mutex_lock(&store->queue);
        store->rounds_done = round;
        pthread_cond_broadcast(&store->committed);
    }
    pthread_mutex_unlock(&store->queue);
    return NULL;
}
