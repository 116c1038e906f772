/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delegations_internal.h: what the files of delegations.h share: delegations.c (who has what, and what is
 * in the way of a change), delegations_tell.c (recalls on their way, and those who wait for them).
 */
#ifndef METADATA_DELEGATIONS_INTERNAL_H
#define METADATA_DELEGATIONS_INTERNAL_H

#include "delegations.h"

/* One client's on one inode. */
struct delegation {
    struct table_link by_ino;
    struct deleg_client *client;
    uint64_t name;         /* path_name() of the path that the client asked by */
    uint32_t recall;       /* the number of its recall; 0: there was none */
    struct list_link link; /* in the client's `held` or `recalled` */
};

/* A directory that paths go through. */
struct deleg_way {
    struct table_link by_ino;
};

struct deleg_client {
    struct table_link by_id;
    uint8_t id[16];
    uint64_t generation;
    uint64_t heard_ns;   /* monotonic */
    uint32_t count;      /* of delegations, recalled ones too */
    uint32_t recalls;    /* made so far */
    uint32_t recall_all; /* the number of the recall of everything that is under way; 0: none is */
    struct list held;
    struct list recalled; /* by their recalls */
    struct request *told; /* its delegation_wait; NULL: it has none here */
    uint64_t told_ns;     /* when that is answered, whatever happens; monotonic */
    struct list_link parked_link;
    struct list_link link; /* in delegations->clients */
};

struct deleg_client *delegations_client_find(const struct delegations *delegations, const uint8_t id[16]);
/* All that it has; a request of it that is parked is told so. */
void delegations_client_drop(struct service *service, struct deleg_client *client);
/* It has heeded all recalls up to this one. */
void delegations_acknowledge(struct delegations *delegations, struct deleg_client *client, uint32_t recalls);
/* Nothing was given by any path. */
void delegations_ways_forget(struct delegations *delegations);
static inline bool delegations_has_to_tell(const struct deleg_client *client)
{
    return client->recall_all || !list_empty(&client->recalled);
}
static inline void delegations_count(struct delegations *delegations, enum deleg_count what)
{
    counter_add(&delegations->counters[what], 1);
}
/* Whether a waiter of this kind still has something to wait for. */
bool delegations_in_the_way(const struct delegations *delegations, const struct deleg_waiter *waiter);

#endif
