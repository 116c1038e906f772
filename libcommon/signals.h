/* SPDX-License-Identifier: Apache-2.0 */
/*
 * signals.h: around the start of threads, one's own and those that a library may begin. The program's
 * signals are none of their business: they would take those away from threads that hold theirs back for a
 * while, or wait to be interrupted.
 */
#ifndef COMMON_SIGNALS_H
#define COMMON_SIGNALS_H

#include <pthread.h>
#include <signal.h>

static inline void signals_hold(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
}
static inline void signals_release(const sigset_t *before)
{
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

#endif
