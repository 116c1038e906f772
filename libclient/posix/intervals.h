/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intervals.h: which bytes of one file a process has locked by fcntl(), and what has to be done
 * at the servers when it asks for a change. Arithmetic only: who calls does the locking.
 *
 * The intervals never overlap. Each stands for one lock of libweft, which can't be cut: an interval
 * of which a part changes is dropped as a whole, and what remains of it is made anew.
 *
 * Threads: whoever holds the lock of the file's list.
 */
#ifndef POSIX_INTERVALS_H
#define POSIX_INTERVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct px_interval {
    uint64_t start, end; /* bytes [start, end) */
    bool is_exclusive;
    bool is_rest; /* of a change: it was locked before in the same way */
    void *lock;
};

struct px_intervals {
    struct px_interval *items; /* by start */
    size_t count, room;
};

enum px_wanted { PX_UNLOCKED, PX_SHARED, PX_EXCLUSIVE };

/* What a change takes: `drop` are intervals with their locks, `make` are those to be locked for it,
 * rests first. */
struct px_change {
    struct px_intervals drop, make;
};

/* False: no memory, and nothing in `change`. */
bool px_intervals_plan(const struct px_intervals *set, uint64_t start, uint64_t end, enum px_wanted wanted,
                       struct px_change *change);
/* Puts one in its place, takes one out. The room is there when px_intervals_reserve() said so. */
bool px_intervals_reserve(struct px_intervals *set, size_t more);
void px_intervals_add(struct px_intervals *set, const struct px_interval *item);
void px_intervals_remove(struct px_intervals *set, const struct px_interval *item);
void px_intervals_free(struct px_intervals *set);
void px_change_free(struct px_change *change);

#endif
