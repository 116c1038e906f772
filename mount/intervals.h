/* SPDX-License-Identifier: Apache-2.0 */
/*
 * intervals.h: which bytes of a file one owner has locked, and how, as fcntl(2) has it: setting a range
 * replaces what was there, splits what reaches beyond, and joins equal neighbours.
 *
 * Threads: none of its own.
 */
#ifndef MOUNT_INTERVALS_H
#define MOUNT_INTERVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes from `start` up to, but not including, `end`. */
struct interval {
    uint64_t start, end;
    bool exclusive;
};

/* Ascending; all zero is empty. */
struct intervals {
    struct interval *items;
    size_t count, room;
};

void intervals_free(struct intervals *set);
/* -ENOMEM leaves the set as it was. An empty range changes nothing. */
int intervals_set(struct intervals *set, uint64_t start, uint64_t end, bool exclusive);
int intervals_clear(struct intervals *set, uint64_t start, uint64_t end);
/* The first one that has a byte of the range, or NULL; with `exclusive_only`, only those that are. */
const struct interval *intervals_find(const struct intervals *set, uint64_t start, uint64_t end,
                                      bool exclusive_only);
/* Have the two sets a byte in common? */
bool intervals_meet(const struct intervals *a, const struct intervals *b);

#endif
