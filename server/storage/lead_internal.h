/* SPDX-License-Identifier: Apache-2.0 */
/* What lead*.c share. */
#ifndef STORAGE_LEAD_INTERNAL_H
#define STORAGE_LEAD_INTERNAL_H

#include "lead.h"
#include "rpc.h"

/* A server with members of groups that we lead. */
struct lead_peer {
    char address[LIMITS_ADDRESS_MAX + 1]; /* of its shard of our number; "": not connected */
    struct rpc_connection *connection;
};

/* A member of which this shard has said that it has everything: whatever our map says yet, others may take
 * it for current from then on. */
struct lead_promise {
    uint32_t group;
    uint32_t target; /* id */
    uint64_t changed;
};

struct lead {
    bool has_others;
    struct list line; /* of changes, in the order in which they came */
    uint32_t waiting; /* in line, and not begun */
    bool is_beginning;
    struct list copies;      /* that did not end yet */
    struct lead_peer *peers; /* by the server's place in the map */
    uint32_t peer_count;
    struct lead_promise *promises;
    uint32_t promise_count, promise_room;
    uint32_t own;           /* this server's place in the map; UINT32_MAX: it is not in it */
    struct lead_walk *walk; /* under way; NULL: none */
    uint32_t walked;        /* the server of the latest */
    uint64_t walk_at_ns;    /* not before that */
    bool to_walk;           /* as far as is known, there is something to be done */
    uint64_t tick_ns;       /* when lead_tick() has something to do */
};

/* From the end of one walk to the next: the map is to have heard of it. */
#define LEAD_WALK_PAUSE_NS UINT64_C(250000000)

/* lead_copy.c: to our shard's like on that server. */
/* Before it is said. -ENOMEM */
int lead_promise(struct lead *lead, const struct lead_promise *promise);
int lead_connect(struct shard *shard, uint32_t server, struct rpc_connection **connection);

#endif
