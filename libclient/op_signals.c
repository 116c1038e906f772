/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signal must be able to end a wait, whenever it comes: also between two sleeps. So the thread holds its
 * signals back while it waits, sleeps on a descriptor that tells of them, and lets their handlers run
 * at a place of its choice.
 */
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "client.h"
#include "err.h"

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};

int op_signals_begin(struct op_signals *signals)
{
    sigset_t held, told;
    sigfillset(&held);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        sigdelset(&held, faults[i]);
    pthread_sigmask(SIG_BLOCK, &held, &signals->before);
    /* Those that the program itself holds back are not to be told of. */
    told = held;
    for (int number = 1; number < NSIG; number++) {
        if (sigismember(&signals->before, number) == 1)
            sigdelset(&told, number);
    }
    signals->fd = signalfd(-1, &told, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->fd < 0) {
        int error = err_sys("making a descriptor for signals");
        pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
        return error;
    }
    return 0;
}

void op_signals_end(struct op_signals *signals)
{
    close(signals->fd);
    pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
}

/* Whether the handler is one that ends system calls, as opposed to none, or one that wants them restarted. */
static bool ends_calls(int number)
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) < 0)
        return false;
    if (!(action.sa_flags & SA_SIGINFO) && (action.sa_handler == SIG_IGN || action.sa_handler == SIG_DFL))
        return false;
    return !(action.sa_flags & SA_RESTART);
}

bool op_signals_deliver(const struct op_signals *signals)
{
    sigset_t pending, held;
    bool ends = false;
    sigpending(&pending);
    for (int number = 1; number < NSIG; number++) {
        if (sigismember(&pending, number) == 1 && sigismember(&signals->before, number) != 1)
            ends = ends || ends_calls(number);
    }
    pthread_sigmask(SIG_SETMASK, &signals->before, &held); /* the handlers run here */
    pthread_sigmask(SIG_SETMASK, &held, NULL);
    return ends;
}
