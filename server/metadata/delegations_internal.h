/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delegations_internal.h: what the files of delegations.h share: delegations.c (who has what, and what is
 * in the way of a change), delegations_hold.c (directories that a client holds), delegations_store.c (what
 * the store knows of these), delegations_tell.c (recalls on their way, and those who wait for them).
 */
#ifndef METADATA_DELEGATIONS_INTERNAL_H
#define METADATA_DELEGATIONS_INTERNAL_H

#include "delegations.h"

/* One client's on one inode. */
struct delegation {
    struct table_link by_ino;
    struct deleg_client *client;
    uint64_t name;         /* path_name() of the path that the client asked by; 0: of an earlier start */
    uint32_t recall;       /* the number of its recall; 0: there was none */
    bool holds;            /* nobody else may look at it */
    uint64_t since_ns;     /* it does so; monotonic; 0: since an earlier start */
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
/* All that it has; a request of it that is parked is told so. `by_silence`: else it has said so itself. */
void delegations_client_drop(struct service *service, struct deleg_client *client, bool by_silence);
/* It has heeded all recalls up to this one. */
void delegations_acknowledge(struct delegations *delegations, struct deleg_client *client, uint32_t recalls);
/* Nothing was given by any path. */
void delegations_ways_forget(struct delegations *delegations);
static inline bool delegations_has_to_tell(const struct deleg_client *client)
{
    return client->recall_all || !list_empty(&client->recalled);
}
/* Whether a waiter of this kind still has something to wait for. */
bool delegations_in_the_way(const struct delegations *delegations, const struct deleg_waiter *waiter);

/* ---- delegations.c, for delegations_hold.c ---- */

struct delegation *delegations_find(const struct delegations *delegations, const struct deleg_client *client,
                                    uint64_t ino);
void delegations_recall(struct service *service, struct delegation *delegation);
/* The job has to wait until then, unless what is in the way goes before. */
int delegations_has_to_wait(struct deleg_change *change, uint64_t ino, bool way, uint64_t until_ns);
/* Nothing is about to change it, by what is under way or stands in line. */
bool delegations_is_settled(const struct service *service, const struct inode *inode);
/* A server that is started after this one has to know that there are any, durably before they are given. */
bool delegations_is_noted(struct service *service);
/* One that an earlier server had given. */
int delegations_hold_restored(struct delegations *delegations, uint64_t ino, const uint8_t client[16],
                              uint64_t heard_ns);
/* False when there can be none. */
bool delegations_add(struct service *service, struct deleg_client *client, const struct ns_ways *ways,
                     uint64_t ino, uint64_t name);
void delegations_drop_expired(struct service *service, uint64_t now_ns);
/* So long what it has holds. */
static inline uint64_t delegations_end_ns(const struct deleg_client *client)
{
    return client->heard_ns + DELEG_TERM_NS;
}
/* It is the request's client's. */
bool delegations_is_own(const struct request *request, const struct delegation *delegation);

/* ---- delegations_hold.c, for delegations.c ---- */

/* records_watch()'s. */
int delegations_looking(void *arg, uint64_t ino);
int delegations_attr_looking(void *arg, uint64_t ino);
/* The request tells names, and its client holds this directory, of which it has forgotten nothing. */
bool delegations_is_told(const struct request *request, const struct delegation *delegation);
/* The request tells of a directory that its client holds, and the inode is that, or one that it makes
 * there. */
bool delegations_is_holders(const struct delegations *delegations, const struct request *request,
                            uint64_t ino);
bool delegations_is_held(const struct delegations *delegations, uint64_t ino);

/* ---- delegations_store.c ---- */

/* Nobody holds the directory any more: the store is to know. */
void delegations_given_up(struct delegations *delegations, uint64_t ino, bool by_silence);
/* The job has to wait where somebody has lost the directory by his silence, and the store does not know that:
 * after a crash he would be taken for the holder, who tells in time. */
int delegations_be_sure(struct deleg_change *change, uint64_t ino);
/* Has it done, before what is submitted later. */
void delegations_give_up(struct service *service);

/* ---- delegations_hold.c, again ---- */

/* There is contention for it. */
void delegations_contended(struct delegations *delegations, uint64_t ino, uint64_t now_ns);

#endif
