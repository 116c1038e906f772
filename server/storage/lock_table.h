/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock_table.h: byte-range locks of the files whose first storage shard this is: who holds
 * which, who waits for whom. Knows nothing of requests, peers and time.
 *
 * There are two kinds, in one line. A lock as such is asked for and given back as a whole. A record is
 * what a holder (a number of a client's) has locked: what he sets replaces what he had in that range.
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

enum lock_type { LOCK_NONE, LOCK_SHARED, LOCK_EXCLUSIVE };

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
    struct lock_owner *owner;    /* NULL: a record */
    struct lock_record *record;  /* NULL: a lock as such */
    struct lock_file *file;
    struct table_link by_name;
    struct list_link in_owner;   /* or in the record's holder */
    struct list_link in_file;    /* in the order in which they were asked for; held records in front */
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

/* ---- lock_record.c: records ------------------------------------------------- */

/*
 * What it promises beyond the above
 *  - Two holders never have records that conflict, nor a holder and a lock. A holder's own are in nobody's
 *    way but others'.
 *  - A record that is granted replaces, in one step, what its holder had in its range: that is split, joined,
 *    made exclusive or shared. What he had before stays his while he waits.
 *  - A record waits for those that were asked for before it, as a lock does; it passes those that
 *    wait for its own holder.
 *  - A wait that would close a circle of waits for records within the table is refused: -EDEADLK.
 */

/* Of one client, those that wait included; a record that is held is one for each run of bytes. */
#define LOCK_CLIENT_RECORDS_MAX 8192u
/* So many of the latest requests of a client are remembered: a power of two. */
#define LOCK_CLIENT_IDS 1024u

/* Whose records they are, whatever connection he has. */
struct lock_client {
    uint8_t client[16];
    uint64_t epoch; /* another one when all that he had was lost; never 0 */
    void *arg;      /* the user's */

    /* the table's own */
    struct table_link by_client;
    struct list holders;
    uint32_t record_count;
    uint64_t ids[LOCK_CLIENT_IDS]; /* by id: twice the id, and 1 when it was granted */
};

struct lock_wish {
    uint64_t ino;
    uint64_t holder; /* the client's number for him */
    uint64_t id;     /* of the request; not 0 */
    uint32_t pid;    /* told to others */
    enum lock_type type;
    bool waits;  /* else it is granted at once or not at all: -EAGAIN */
    bool detect; /* the holder's waits count for circles */
    bool pass;   /* others that wait do not matter */
    struct lock_range range;
};

/* NULL: there is none, or, when it is to be made, no memory. */
struct lock_client *lock_client_get(struct lock_table *table, const uint8_t client[16], bool make);
/* He is gone, with all of his records. Returns how many were held. */
uint32_t lock_client_end(struct lock_table *table, struct lock_client *client);
/* What became of a request: 0 unknown, 1 granted, -ECANCELED given up. */
int lock_client_ended(const struct lock_client *client, uint64_t id);
void lock_client_note(struct lock_client *client, uint64_t id, bool granted);

/* 0: done, when *waiting is NULL. Else that is in the line now, to be granted or removed by
 * lock_table_remove(). LOCK_NONE never waits. -EAGAIN, -EDEADLK, -EINVAL, -ENOLCK (the client has too
 * many), -ENOMEM. A failure changes nothing. */
int lock_record_set(struct lock_table *table, struct lock_client *client, const struct lock_wish *wish,
                    struct lock **waiting);
/* It passes all that wait from now on: whether it is held by that. */
bool lock_record_pass(struct lock_table *table, struct lock *lock);
/* lock_undo.c: a record that was granted was not wanted any more: its holder has what he had before it. False
 * when it stays, since he has changed something there since, or others may have what it left to them. */
bool lock_record_undo(struct lock_table *table, const struct lock_client *client, uint64_t id);
/* Whose it is. */
struct lock_client *lock_record_client(const struct lock *lock);
bool lock_record_holds(const struct lock_client *client, uint64_t holder, uint64_t ino);

/* What is in the way of a record: the first that is held, by its bytes. */
struct lock_found {
    enum lock_type type;
    struct lock_range range;
    uint8_t client[16]; /* zero, as are the next two: a lock as such */
    uint64_t holder;
    uint32_t pid;
};
bool lock_record_test(const struct lock_table *table, const struct lock_client *client,
                      const struct lock_wish *wish, struct lock_found *found);

/* Whom a record that waits is waiting for: holders of records that are in its way, or in the way of
 * those that it stands behind. `serial` is the same as long as what is held there only shrinks. */
struct lock_blocker {
    uint8_t client[16];
    uint64_t holder;
    uint64_t serial;
    bool direct;
};
/* One for each holder, and `max` at most: for want of room those are left out that are not direct. */
uint32_t lock_record_blockers(const struct lock *lock, struct lock_blocker *blockers, uint32_t max);

#endif
