/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monotonic.h: condition variables whose waits end by the monotonic clock, so that nobody who sets the time
 * makes them longer or shorter, and the times at which they end.
 */
#ifndef COMMON_MONOTONIC_H
#define COMMON_MONOTONIC_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

static inline void monotonic_cond_init(pthread_cond_t *condition)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* So many milliseconds from now. */
static inline struct timespec monotonic_in(uint32_t ms)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += ms / 1000;
    time.tv_nsec += (long)(ms % 1000) * 1000000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

#endif
