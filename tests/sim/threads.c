/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads are fibers. A mutex holds who has it, a condition variable nothing: those who wait for one wait for
 * its address. The seed chooses who is woken, and where a thread gives way though it need not.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"
#include "wraps.h"

/* Virtual time 0 as CLOCK_REALTIME has it: some day in 2033. */
#define EPOCH_S 2000000000u

struct mutex {
    struct fiber *owner;
};

static_assert(sizeof(struct mutex) <= sizeof(pthread_mutex_t), "it lies in there");

static struct mutex *mutex_of(pthread_mutex_t *mutex)
{
    return (struct mutex *)mutex;
}

static uint64_t ns_of(const struct timespec *time)
{
    return (uint64_t)time->tv_sec * SIM_S + (uint64_t)time->tv_nsec;
}

/* ---- time ----------------------------------------------------------------- */

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    sim_tick();
    fiber_pause();
    const uint64_t now = sim_now();
    time->tv_sec = (time_t)(now / SIM_S) + (clock == CLOCK_REALTIME ? EPOCH_S : 0);
    time->tv_nsec = (long)(now % SIM_S);
    return 0;
}

time_t __wrap_time(time_t *out)
{
    const time_t now = (time_t)(sim_now() / SIM_S) + EPOCH_S;
    if (out)
        *out = now;
    return now;
}

/* Whoever yields has nothing to do but wait for others: so long that they come to something. */
int __wrap_sched_yield(void)
{
    fiber_sleep(sim_between(5 * SIM_US, 60 * SIM_US));
    return 0;
}

int __wrap_usleep(useconds_t us)
{
    fiber_sleep(us * SIM_US);
    return 0;
}

/* ---- chance --------------------------------------------------------------- */

static void random_fill(void *buffer, size_t length)
{
    uint8_t *at = buffer;
    for (size_t i = 0; i < length; i++)
        at[i] = (uint8_t)(sim_random() >> 24);
}

ssize_t __wrap_getrandom(void *buffer, size_t length, unsigned flags)
{
    (void)flags;
    random_fill(buffer, length);
    return (ssize_t)length;
}

void __wrap_randombytes_buf(void *buffer, size_t length)
{
    random_fill(buffer, length);
}

/* ---- mutexes and conditions ------------------------------------------------ */

int __wrap_pthread_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes)
{
    (void)attributes;
    mutex_of(mutex)->owner = NULL;
    return 0;
}

int __wrap_pthread_mutex_destroy(pthread_mutex_t *mutex)
{
    if (mutex_of(mutex)->owner)
        sim_fail("a mutex is destroyed while it is held");
    return 0;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    fiber_pause();
    if (mutex_of(mutex)->owner)
        return EBUSY;
    mutex_of(mutex)->owner = fiber_current();
    return 0;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    if (mutex_of(mutex)->owner == fiber_current())
        sim_fail("a thread locks a mutex that it holds");
    while (__wrap_pthread_mutex_trylock(mutex))
        fiber_wait(mutex, UINT64_MAX, "a mutex");
    return 0;
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    if (mutex_of(mutex)->owner != fiber_current())
        sim_fail("a thread unlocks a mutex that it does not hold");
    mutex_of(mutex)->owner = NULL;
    fiber_wake_one(mutex);
    fiber_pause();
    return 0;
}

int __wrap_pthread_condattr_init(pthread_condattr_t *attributes)
{
    (void)attributes;
    return 0;
}

int __wrap_pthread_condattr_setclock(pthread_condattr_t *attributes, clockid_t clock)
{
    (void)attributes;
    if (clock != CLOCK_MONOTONIC)
        sim_fail("a condition variable wants another clock");
    return 0;
}

int __wrap_pthread_condattr_destroy(pthread_condattr_t *attributes)
{
    (void)attributes;
    return 0;
}

int __wrap_pthread_cond_init(pthread_cond_t *condition, const pthread_condattr_t *attributes)
{
    (void)condition;
    (void)attributes;
    return 0;
}

int __wrap_pthread_cond_destroy(pthread_cond_t *condition)
{
    (void)condition;
    return 0;
}

int __wrap_pthread_cond_signal(pthread_cond_t *condition)
{
    fiber_wake_one(condition);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *condition)
{
    fiber_wake_all(condition);
    return 0;
}

static bool condition_wait(pthread_cond_t *condition, pthread_mutex_t *mutex, uint64_t deadline_ns)
{
    /* Nobody else runs between these two. */
    mutex_of(mutex)->owner = NULL;
    fiber_wake_one(mutex);
    bool woken = fiber_wait(condition, deadline_ns, "a condition");
    while (mutex_of(mutex)->owner)
        fiber_wait(mutex, UINT64_MAX, "the mutex of a condition");
    mutex_of(mutex)->owner = fiber_current();
    return woken;
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    condition_wait(condition, mutex, UINT64_MAX);
    return 0;
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                                  const struct timespec *until)
{
    return condition_wait(condition, mutex, ns_of(until)) ? 0 : ETIMEDOUT;
}

/* ---- threads -------------------------------------------------------------- */

static_assert(sizeof(pthread_t) >= sizeof(struct fiber *), "it is one");

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *arg),
                          void *arg)
{
    (void)attributes;
    struct process *process = process_current;
    *thread = (pthread_t)(uintptr_t)fiber_start(process, process ? process->name : "world", run, arg);
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **result)
{
    struct fiber *fiber = (struct fiber *)(uintptr_t)thread; /* NOLINT(performance-no-int-to-ptr) */
    void *ignored;
    while (!fiber_ended(fiber, result ? result : &ignored))
        fiber_wait(fiber, UINT64_MAX, "the end of a thread");
    fiber_free(fiber);
    return 0;
}

pthread_t __wrap_pthread_self(void)
{
    return (pthread_t)(uintptr_t)fiber_current();
}

int __wrap_pthread_setname_np(pthread_t thread, const char *name)
{
    (void)thread;
    (void)name;
    return 0;
}

int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *before)
{
    (void)how;
    (void)set;
    if (before)
        sigemptyset(before);
    return 0;
}

/* ---- semaphores ----------------------------------------------------------- */

static uint64_t *count_of(sem_t *semaphore)
{
    return (uint64_t *)semaphore;
}

int __wrap_sem_init(sem_t *semaphore, int shared, unsigned value)
{
    (void)shared;
    *count_of(semaphore) = value;
    return 0;
}

int __wrap_sem_destroy(sem_t *semaphore)
{
    (void)semaphore;
    return 0;
}

int __wrap_sem_wait(sem_t *semaphore)
{
    while (!*count_of(semaphore))
        fiber_wait(semaphore, UINT64_MAX, "a semaphore");
    --*count_of(semaphore);
    return 0;
}

int __wrap_sem_post(sem_t *semaphore)
{
    ++*count_of(semaphore);
    fiber_wake_one(semaphore);
    return 0;
}
