/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "held.h"
#include "monotonic.h"

/* How long a leader goes on without anything happening before it sleeps. With programs and
 * servers on the same cores, yielding this long is faster than both spinning and sleeping at once. */
#define YIELD_NS 50000u
/* How often signals are looked for where nothing tells of them: turns of a leader that does not come to
 * sleep, and the sleep of a thread behind another. */
#define SIGNAL_TURNS   1024u
#define SIGNAL_LOOK_MS 20

/* ---- operations ------------------------------------------------------------ */

/* A thread that sleeps until its operation is done or it is its turn to lead. */
struct op_waiter {
    struct list_link link;
    pthread_cond_t wake;
};

void op_init(struct weft_op *op, weft_session_t *session, void (*release)(struct weft_op *op))
{
    *op = (struct weft_op){.session = session, .release = release};
}

void op_fail(struct weft_op *op, int error)
{
    if (op->result < 0)
        return;
    op->result = error;
    op->text = strdup(err_text());
}

void op_complete(struct weft_op *op, ssize_t result)
{
    weft_session_t *session = op->session;
    if (op->result == 0)
        op->result = result;
    atomic_store_explicit(&op->done, true, memory_order_release);
    if (op->waiter)
        pthread_cond_signal(&op->waiter->wake);
    session->ended++;
    if (session->driver)
        pthread_cond_signal(&session->driver->wake);
}

/* ---- waiting --------------------------------------------------------------- */

/* Sleeps until the rpc has something to do, or for as long as `limit_ms` (-1: no limit), or until `signal_fd`
 * (-1: none) is readable, which is returned; the lock is free meanwhile. */
static bool leader_sleep(weft_session_t *session, int limit_ms, int signal_fd)
{
    int timeout_ms;
    int fd = rpc_sleep_begin(session->rpc, &timeout_ms);
    if (fd < 0)
        return false;
    if (limit_ms >= 0 && (timeout_ms < 0 || timeout_ms > limit_ms))
        timeout_ms = limit_ms;
    session->asleep = true;
    pthread_mutex_unlock(&session->lock);
    struct pollfd readable[2] = {{.fd = fd, .events = POLLIN}, {.fd = signal_fd, .events = POLLIN}};
    (void)poll(readable, 2, timeout_ms);
    session_lock(session);
    session->asleep = false;
    rpc_sleep_end(session->rpc);
    return readable[1].revents != 0;
}

static bool is_readable(int fd)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    return poll(&readable, 1, 0) > 0;
}

/* Drives the rpc until the operation is done, or a signal is there (`signal_fd`, or -1), which is returned.
 * Between turns other threads get the lock. */
static bool lead(weft_session_t *session, const struct weft_op *op, int signal_fd)
{
    uint64_t idle_since = 0, turns = 0;
    bool has_signal = false;
    session->led = true;
    while (!op->done && !has_signal) {
        unsigned happened = rpc_progress(session->rpc);
        session_settle(session);
        if (op->done)
            break;
        if (happened) {
            idle_since = 0;
        } else if (idle_since == 0) {
            idle_since = rpc_now_ns();
        } else if (rpc_now_ns() - idle_since > YIELD_NS) {
            idle_since = 0;
            has_signal = leader_sleep(session, -1, signal_fd);
            continue;
        }
        /* Others keep it from sleeping. */
        if (signal_fd >= 0 && ++turns % SIGNAL_TURNS == 0 && is_readable(signal_fd))
            has_signal = true;
        pthread_mutex_unlock(&session->lock);
        if (!happened || atomic_load_explicit(&session->contenders, memory_order_relaxed))
            sched_yield();
        session_lock(session);
    }
    session->led = false;
    session->driven_ns = rpc_now_ns();
    return has_signal;
}

/* As lead(), behind a thread that does it. Signals don't end this sleep: they are looked for. */
static bool follow(weft_session_t *session, struct weft_op *op, int signal_fd)
{
    struct op_waiter waiter;
    bool has_signal = false;
    monotonic_cond_init(&waiter.wake);
    list_push_back(&session->followers, &waiter.link);
    op->waiter = &waiter;
    while (!op->done && session->led && !has_signal) {
        if (signal_fd < 0) {
            pthread_cond_wait(&waiter.wake, &session->lock);
            continue;
        }
        const struct timespec until = monotonic_in(SIGNAL_LOOK_MS);
        has_signal = pthread_cond_timedwait(&waiter.wake, &session->lock, &until) == ETIMEDOUT &&
                     is_readable(signal_fd);
    }
    op->waiter = NULL;
    list_remove(&waiter.link);
    pthread_cond_destroy(&waiter.wake);
    return has_signal;
}

/* Whoever stops waiting sees to it that one of those who go on leads. */
static void hand_over(weft_session_t *session)
{
    struct list_link *next = list_first(&session->followers);
    if (next && !session->led)
        pthread_cond_signal(&list_item(next, struct op_waiter, link)->wake);
}

/* (locked) Until it is done, or a signal is there. */
static bool wait_once(struct weft_op *op, int signal_fd)
{
    weft_session_t *session = op->session;
    bool has_signal = false;
    while (!op->done && !has_signal)
        has_signal = session->led ? follow(session, op, signal_fd) : lead(session, op, signal_fd);
    hand_over(session);
    return has_signal;
}

/* What was waited for. */
static ssize_t take_result(struct weft_op *op)
{
    ssize_t result = op->result;
    if (result < 0)
        err_set((int)result, "%s", op->text ? op->text : err_name((int)result));
    free(op->text);
    op->text = NULL;
    if (op->release)
        op->release(op);
    return result;
}

ssize_t op_wait(struct weft_op *op)
{
    session_lock(op->session);
    (void)wait_once(op, -1);
    session_unlock(op->session);
    return take_result(op);
}

ssize_t op_wait_signals(struct weft_op *op, void (*give_up)(struct weft_op *op))
{
    struct op_signals signals;
    if (op_signals_begin(&signals) < 0)
        return op_wait(op);
    session_lock(op->session);
    while (wait_once(op, signals.fd)) {
        session_unlock(op->session);
        bool ends = op_signals_deliver(&signals);
        session_lock(op->session);
        if (ends && !op->done)
            give_up(op);
    }
    session_unlock(op->session);
    op_signals_end(&signals);
    return take_result(op);
}

/* Never waits for the lock, and wakes nobody: whoever polls in a loop would otherwise keep the
 * thread that leads from getting the lock, or wake it all the time for nothing. */
static bool test(struct weft_op *op)
{
    weft_session_t *session = op->session;
    if (atomic_load_explicit(&session->contenders, memory_order_relaxed) ||
        pthread_mutex_trylock(&session->lock) != 0)
        return false;
    if (!op->done && !session->led) {
        rpc_progress(session->rpc);
        session_settle(session);
    }
    bool done = op->done;
    pthread_mutex_unlock(&session->lock);
    return done;
}

bool weft_test(weft_op_t *op)
{
    /* Wrong use ends in weft_wait(), which can tell. */
    if (!op || session_check(op->session) < 0 || atomic_load_explicit(&op->done, memory_order_acquire) ||
        test(op))
        return true;
    /* Callers poll: whoever is to answer may need this core. */
    sched_yield();
    return false;
}

ssize_t weft_wait(weft_op_t *op)
{
    if (!op)
        return client_result(__func__, err_set(-EINVAL, "the operation is NULL"));
    int result = session_check(op->session);
    return client_result(__func__, result < 0 ? result : op_wait(op));
}

/* ---- progress for others ----------------------------------------------------- */

/* Another thread leads: sleeps until that ends, or an operation does. */
static void drive_behind(weft_session_t *session, uint64_t ended, int timeout_ms)
{
    struct op_waiter waiter;
    monotonic_cond_init(&waiter.wake);
    const struct timespec deadline = monotonic_in((uint32_t)timeout_ms);
    list_push_back(&session->followers, &waiter.link);
    session->driver = &waiter;
    int error = 0;
    while (session->led && session->ended == ended && error == 0)
        error = pthread_cond_timedwait(&waiter.wake, &session->lock, &deadline);
    session->driver = NULL;
    list_remove(&waiter.link);
    pthread_cond_destroy(&waiter.wake);
}

/* Leads until something happened, with one sleep at most. */
static void drive_once(weft_session_t *session, uint64_t ended, int timeout_ms)
{
    uint64_t idle_since = rpc_now_ns();
    bool slept = false;
    session->led = true;
    for (;;) {
        unsigned happened = rpc_progress(session->rpc);
        session_settle(session);
        if (happened || session->ended != ended || slept)
            break;
        if (rpc_now_ns() - idle_since > YIELD_NS) {
            (void)leader_sleep(session, timeout_ms, -1);
            slept = true;
            continue;
        }
        pthread_mutex_unlock(&session->lock);
        sched_yield();
        session_lock(session);
    }
    session->led = false;
    session->driven_ns = rpc_now_ns();
}

int weft_drive(weft_session_t *session, int timeout_ms, uint64_t *ended)
{
    int result = session_check(session);
    if (result == 0 && (timeout_ms < 0 || !ended))
        result = err_set(-EINVAL, timeout_ms < 0 ? "the timeout is negative" : "there is no counter (NULL)");
    if (result < 0)
        return (int)client_result(__func__, result);
    session_lock(session);
    if (session->driver) {
        result = err_set(-EBUSY, "another thread drives the session");
    } else if (session->ended == *ended) {
        if (session->led)
            drive_behind(session, *ended, timeout_ms);
        else
            drive_once(session, *ended, timeout_ms);
        hand_over(session);
    }
    *ended = session->ended;
    session_unlock(session);
    return (int)client_result(__func__, result);
}

/* ---- one call to one server ------------------------------------------------- */

static void call_done(struct rpc_call *rpc)
{
    struct op_call *call = rpc->arg;
    call->answered = rpc->reply != NULL;
    if (rpc->status < 0) {
        op_fail(&call->op, rpc->status);
    } else if (rpc->reply_length > 0) {
        call->reply = malloc(rpc->reply_length);
        if (call->reply) {
            memcpy(call->reply, rpc->reply, rpc->reply_length);
            call->reply_length = rpc->reply_length;
        } else {
            op_fail(&call->op, err_set(-ENOMEM, "out of memory for a reply of %u bytes", rpc->reply_length));
        }
    }
    op_complete(&call->op, 0);
}

int op_call_start(struct op_call *call, weft_session_t *session, struct rpc_connection *connection,
                  uint16_t operation, const void *body, size_t body_length, uint32_t deadline_ms)
{
    *call = (struct op_call){0};
    op_init(&call->op, session, NULL);
    call->rpc.operation = operation;
    call->rpc.body = body;
    call->rpc.body_length = (uint32_t)body_length;
    call->rpc.deadline_ms = deadline_ms;
    call->rpc.done = call_done;
    call->rpc.arg = call;
    return rpc_call_start(connection, &call->rpc);
}

void op_call_free(struct op_call *call)
{
    free(call->reply);
    call->reply = NULL;
}

int op_call_metadata_within(struct op_call *call, weft_session_t *session, uint16_t operation,
                            const void *body, ssize_t body_length, uint32_t deadline_ms)
{
    struct rpc_connection *connection;
    call->reply = NULL;
    call->answered = false;
    int result = session_check(session);
    if (result < 0 || body_length < 0)
        return result < 0 ? result : (int)body_length;
    /* What was done before is known before; a close is of handles that are. */
    if (operation != WIRE_OP_close && operation != WIRE_OP_map_get)
        (void)held_flush(session);
    session_lock(session);
    result = session_metadata(session, &connection);
    if (result == 0)
        result = op_call_start(call, session, connection, operation, body, (size_t)body_length, deadline_ms);
    if (result == 0)
        session_count(session, CLIENT_COUNT_metadata_requests, 1);
    session_unlock(session);
    return result < 0 ? result : (int)op_wait(&call->op);
}

int op_call_metadata(struct op_call *call, weft_session_t *session, uint16_t operation, const void *body,
                     ssize_t body_length)
{
    return op_call_metadata_within(call, session, operation, body, body_length, 0);
}
