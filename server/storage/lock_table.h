/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock_table.h: byte-range locks of the files whose first storage shard this is: who holds
 * which, who waits for whom. Knows nothing of requests, peers and time.
 *
 * What it promises
 *  - Two locks that conflict (they have a byte in common, and one of them is exclusive) are
 *    never held at the same time.
 *  - A lock is held as soon as no conflicting one that was asked for before it is left, be that
 *    held or waiting: first come, first served among those that conflict, and no waiting
 *    at all among those that don't.
 *  - A lock covers all of its ranges at once, so that nobody waits with a part of what he
 *    needs in his hands.
 *  - Each pair of locks is compared at most once, and a comparison ends at the first byte in common:
 *    a long line costs as much as a short one, when all wait for the same bytes.
 *
 * Locks are named by a client and a number of that client's choice, and belong to an owner: the
 * connection that they end with.
 *
 * Threads: belongs to one thread.
 */
#ifndef STORAGE_LOCK_TABLE_H
#define STORAGE_LOCK_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "list.h"
#include "table.h"

/* Of one owner; more would be a peer that does not behave. */
#define LOCK_OWNER_LOCKS_MAX 4096u
#define LOCK_OWNER_RANGES_MAX 262144u

/* The bytes from `start` up to, but not including, `end`. */
struct lock_range {
    uint64_t start, end;
};

/* A connection; all zero but for its list, which lock_owner_init() makes. */
struct lock_owner {
    struct list locks;
    uint32_t lock_count;
    uint32_t range_count;
};

struct lock_name {
    uint8_t client[16];
    uint64_t id;
};

struct lock {
    struct lock_name name;
    uint64_t ino;
    bool exclusive;
    bool held;
    void *arg; /* the user's; NULL at first */

    /* the table's own */
    struct lock_owner *owner;
    struct lock_file *file;
    struct table_link by_name;
    struct list_link in_owner;
    struct list_link in_file;    /* in the order in which they were asked for */
    struct list_link in_blocker; /* in the list of the one that it waits for */
    struct list blocked;         /* those that wait for this one */
    uint32_t range_count;
    struct lock_range ranges[];
};

struct lock_table;

/* `granted` is called for every lock that was waiting and is held from now on; it must not change the
 * table. */
int lock_table_new(void (*granted)(void *arg, struct lock *lock), void *arg, struct lock_table **table);
/* NULL is allowed. Frees all locks without a word. */
void lock_table_free(struct lock_table *table);

void lock_owner_init(struct lock_owner *owner);

/* Asks for a lock, whose name must be new; `lock->held` tells whether it is held already. The
 * ranges are ascending, not empty, and do not overlap: else -EINVAL. -ENOLCK: the owner has too many. */
int lock_table_add(struct lock_table *table, struct lock_owner *owner, const struct lock_name *name,
                   uint64_t ino, bool exclusive, const struct lock_range *ranges, uint32_t range_count,
                   struct lock **lock);
struct lock *lock_table_find(const struct lock_table *table, const struct lock_name *name);
/* It belongs to another connection of the same client from now on. */
void lock_table_move(struct lock *lock, struct lock_owner *owner);
/* Given back, or not waited for any more. Frees it. */
void lock_table_remove(struct lock_table *table, struct lock *lock);
/* The owner is gone; what it held is free. Returns how many it held. */
uint32_t lock_table_remove_owner(struct lock_table *table, struct lock_owner *owner);

#endif
