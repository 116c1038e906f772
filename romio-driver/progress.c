/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.c: a thread that keeps nonblocking I/O going while the application
 * computes and calls nothing of MPI.
 *
 * It sleeps wherever it can: until there is I/O under way, then until the library
 * has something to do. Where the application is inside MPI and makes progress itself,
 * two would be in each other's way; so the thread looks once in a while and
 * begins only when nobody else has been at it since it last looked. It calls the
 * library, and never MPI, which may be initialised for one thread only.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "progress.h"
#include "signals.h"

#define LOOK_NS        1000000 /* between two looks; what computation waits for a begin at most */
#define LOOKS_IDLE_MAX 50u     /* without I/O, before it sleeps until it is called */
#define DRIVE_MS       20      /* how long one call of the library may sleep */

static pthread_t thread;
static pthread_mutex_t thread_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t thread_wake = PTHREAD_COND_INITIALIZER;
static weft_session_t *thread_session; /* NULL: there is no thread */
static atomic_bool is_ending;
static atomic_bool is_asleep; /* until progress_begin() */
static atomic_uint polls;     /* how often MPI has made progress */

/* (locked) Sleeps until the next look. */
static void look_later(void)
{
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_nsec += LOOK_NS;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&thread_wake, &thread_lock, &at);
}

/* (locked) Nothing to do for a while: sleeps until there is. */
static void sleep_long(void)
{
    atomic_store(&is_asleep, true);
    /* I/O that began before it could see that we sleep is seen here. */
    if (!nonblocking_is_any())
        while (atomic_load(&is_asleep) && !is_ending)
            pthread_cond_wait(&thread_wake, &thread_lock);
    atomic_store(&is_asleep, false);
}

/* Moves all I/O on until nothing is left or MPI makes progress itself. What is left may be taken away by a
 * call of MPI that finds it complete, and so has no progress to make: that ends no operation, and is looked
 * for. */
static void drive(weft_session_t *session, unsigned polls_seen)
{
    uint64_t ended = 0, before;
    bool is_any = true;
    while (is_any && !atomic_load(&is_ending) &&
           atomic_load_explicit(&polls, memory_order_relaxed) == polls_seen) {
        before = ended;
        if (weft_drive(session, DRIVE_MS, &ended) < 0)
            return;
        is_any = ended != before ? nonblocking_advance() : nonblocking_is_any();
    }
}

static void *run(void *argument)
{
    weft_session_t *session = argument;
    unsigned looks_idle = 0, polls_seen = atomic_load(&polls);
    pthread_mutex_lock(&thread_lock);
    while (!is_ending) {
        look_later();
        unsigned polls_now = atomic_load_explicit(&polls, memory_order_relaxed);
        bool is_any = nonblocking_is_any();
        looks_idle = is_any ? 0 : looks_idle + 1;
        if (looks_idle > LOOKS_IDLE_MAX) {
            sleep_long();
            looks_idle = 0;
        } else if (is_any && polls_now == polls_seen) {
            pthread_mutex_unlock(&thread_lock);
            drive(session, polls_now);
            pthread_mutex_lock(&thread_lock);
        }
        polls_seen = polls_now;
    }
    pthread_mutex_unlock(&thread_lock);
    return NULL;
}

/* (locked) The application's signals are not for this thread. */
static void start_thread(void)
{
    sigset_t before;
    if (session_get(&thread_session) < 0)
        return;
    is_ending = false;
    signals_hold(&before);
    if (pthread_create(&thread, NULL, run, thread_session) != 0)
        thread_session = NULL; /* it goes on in MPI's calls */
    signals_release(&before);
}

void progress_begin(void)
{
    if (thread_session != NULL && !atomic_load(&is_asleep))
        return;
    pthread_mutex_lock(&thread_lock);
    if (thread_session == NULL)
        start_thread();
    atomic_store(&is_asleep, false);
    pthread_cond_signal(&thread_wake);
    pthread_mutex_unlock(&thread_lock);
}

void progress_step_back(void)
{
    atomic_fetch_add_explicit(&polls, 1, memory_order_relaxed);
}

void progress_end(void)
{
    pthread_mutex_lock(&thread_lock);
    bool is_any = thread_session != NULL;
    is_ending = true;
    thread_session = NULL;
    pthread_cond_signal(&thread_wake);
    pthread_mutex_unlock(&thread_lock);
    if (is_any)
        pthread_join(thread, NULL);
}
