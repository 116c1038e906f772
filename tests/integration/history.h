/* SPDX-License-Identifier: Apache-2.0 */
/*
 * history.h: what several clients did to a few names at the same time, and whether it can be explained: is
 * there one order of all calls, in which no call comes before another that had ended when it began, and in
 * which each has the result that it had? That is linearizability (Herlihy and Wing, 1990).
 *
 * A history begins with none of the names there.
 */
#ifndef TEST_HISTORY_H
#define TEST_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HISTORY_CLIENTS = 4, HISTORY_CALLS_MAX = 64, HISTORY_NAMES = 3 };

enum history_kind {
    HISTORY_CREATE, /* with O_EXCL */
    HISTORY_UNLINK,
    HISTORY_RENAME,
    HISTORY_LOOK,
    HISTORY_KINDS
};

struct history_call {
    enum history_kind kind;
    unsigned name, to;    /* numbers below HISTORY_NAMES; `to` of a renaming, another one */
    int result;           /* 0 or a negative errno */
    uint64_t ino;         /* of the file that was made or seen */
    int64_t began, ended; /* by one clock for all */
};

struct history {
    unsigned count[HISTORY_CLIENTS];
    struct history_call calls[HISTORY_CLIENTS][HISTORY_CALLS_MAX]; /* in the order in which they were made */
};

bool history_is_linear(const struct history *history);

#endif
