/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper.h"

#include <poll.h>

#include "err.h"
#include "held.h"
#include "log.h"
#include "monotonic.h"
#include "signals.h"

/* So long the rpc is left to whoever drove it last, and so often it is looked whether he still does. */
#define QUIET_NS UINT64_C(2000000)
enum { LOOK_MS = 10 };

/* ---- forks ---------------------------------------------------------------- */

/* Keepers share it while they call the rpc; who forks has it alone. They never wait for it, as whoever
 * prepares for a fork may need the session. */
static pthread_rwlock_t forks = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    pthread_rwlock_wrlock(&forks);
}

static void after_fork(void)
{
    pthread_rwlock_unlock(&forks);
}

static void in_child(void)
{
    pthread_rwlock_init(&forks, NULL);
}

static void prepare(void)
{
    pthread_atfork(before_fork, after_fork, in_child);
}

/* ---- the thread (locked) ---------------------------------------------------- */

static void sleep_a_little(struct keeper *keeper)
{
    const struct timespec until = monotonic_in(LOOK_MS);
    (void)pthread_cond_timedwait(&keeper->wake, &keeper->session->lock, &until);
}

/* Drives the rpc once, and sleeps until it has something to do, for as long as `limit_ms` (-1: no limit). */
static void drive(struct keeper *keeper, int limit_ms)
{
    weft_session_t *session = keeper->session;
    int timeout_ms;
    if (pthread_rwlock_tryrdlock(&forks) != 0) {
        sleep_a_little(keeper);
        return;
    }
    rpc_progress(session->rpc);
    session_settle(session);
    int fd = rpc_sleep_begin(session->rpc, &timeout_ms);
    pthread_rwlock_unlock(&forks);
    if (fd < 0)
        return;
    if (limit_ms >= 0 && (timeout_ms < 0 || timeout_ms > limit_ms))
        timeout_ms = limit_ms;
    keeper->sleeps = true;
    pthread_mutex_unlock(&session->lock);
    (void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, timeout_ms);
    session_lock(session);
    keeper->sleeps = false;
    rpc_sleep_end(session->rpc);
}

static void *keep(void *arg)
{
    struct keeper *keeper = arg;
    weft_session_t *session = keeper->session;
    if (keeper->begins)
        keeper->begins();
    session_lock(session);
    while (!keeper->ends) {
        const int limit_ms = held_look(session);
        if (!keeper->is_needed(session))
            (void)pthread_cond_wait(&keeper->wake, &session->lock);
        else if (session->led || rpc_now_ns() - session->driven_ns < QUIET_NS)
            sleep_a_little(keeper);
        else
            drive(keeper, limit_ms);
    }
    pthread_mutex_unlock(&session->lock);
    return NULL;
}

bool keeper_start(struct keeper *keeper)
{
    sigset_t before;
    if (keeper->state != KEEPER_NOT_YET)
        return keeper->state == KEEPER_RUNS;
    signals_hold(&before);
    const int error = pthread_create(&keeper->thread, NULL, keep, keeper);
    signals_release(&before);
    keeper->state = error ? KEEPER_IMPOSSIBLE : KEEPER_RUNS;
    if (error)
        log_info("there can be no thread for a session: %s", err_name(-error));
    return !error;
}

void keeper_wake(struct keeper *keeper)
{
    pthread_cond_signal(&keeper->wake);
}

void keeper_hurry(struct keeper *keeper)
{
    if (keeper->sleeps)
        rpc_wake(keeper->session->rpc);
}

/* ---- opening and closing ------------------------------------------------------ */

void keeper_open(struct keeper *keeper, weft_session_t *session, bool (*is_needed)(weft_session_t *session),
                 void (*begins)(void))
{
    *keeper = (struct keeper){.session = session, .is_needed = is_needed, .begins = begins};
    monotonic_cond_init(&keeper->wake);
    pthread_once(&once, prepare);
}

void keeper_close(struct keeper *keeper)
{
    session_lock(keeper->session);
    const bool runs = keeper->state == KEEPER_RUNS;
    keeper->ends = true;
    keeper_wake(keeper);
    rpc_wake(keeper->session->rpc);
    session_unlock(keeper->session);
    if (runs)
        pthread_join(keeper->thread, NULL);
    pthread_cond_destroy(&keeper->wake);
}
