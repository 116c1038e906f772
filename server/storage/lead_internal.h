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
    bool leads;              /* a group with other members */
    struct list line;        /* of changes, in the order in which they came */
    uint32_t waiting;        /* in line, and not begun */
    bool has_left;           /* one, since it was looked whose turn has come */
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
    struct lead_mender *mender;
};

/* From the end of one walk to the next: the map is to have heard of it. */
#define LEAD_WALK_PAUSE_NS   UINT64_C(250000000)
/* The same when we could not read our own bytes. */
#define LEAD_WALK_LACKING_NS UINT64_C(5000000000)

/* A member for which a copy is. */
struct lead_duty {
    uint32_t group;
    uint32_t target; /* id */
};

/* What one server is given of one change; or, with our own number, that we could not make it ourselves. */
struct lead_copy {
    struct list_link link;
    struct shard_io *io;
    void (*ended)(void *arg, int error); /* of a removal; else NULL, and io->pending counts it */
    void *arg;
    bool settles; /* it only has to make durable what it has */
    struct wire_capability capability;
    struct rpc_call call;
    uint32_t server;
    uint64_t map_version; /* that it was sent with */
    bool under_way;
    bool refused;      /* the other one knows a newer map */
    uint64_t until_ns; /* of ours: then the request's own error counts */
    uint32_t duty_count, piece_count;
    struct lead_duty *duties;
    struct wire_copy_piece *pieces;
    struct iovec *iov;
    uint8_t body[LIMITS_BODY_INLINE_MAX];
};

/* ---- lead.c ----------------------------------------------------------------- */

/* Begins those whose turn has come. */
void lead_begin_waiting(struct shard *shard);

/* ---- lead_give.c ------------------------------------------------------------ */

/* Whether that target is one of this server's. */
bool lead_is_own(const struct shard *shard, uint32_t target_id);
/* This server's id: who leads, as others know it. It must be in the map. */
uint32_t lead_own_id(const struct shard *shard);

/* ---- lead_copy.c ------------------------------------------------------------ */

/* With room for so many pieces and duties; NULL: no memory. */
struct lead_copy *lead_copy_new(struct shard_io *io, uint32_t server, uint32_t piece_room,
                                uint32_t duty_room);
void lead_copy_free(struct lead_copy *copy);
/* Each group is one duty, however often it is added. */
void lead_copy_add_duty(struct lead_copy *copy, uint32_t group, uint32_t target_id);
/* Sends it; from then on it ends by itself. */
void lead_copy_start(struct lead_copy *copy);

/* ---- lead_peers.c ----------------------------------------------------------- */

/* To our shard's like on that server, by its place in the map. -ENOMEM, -EINVAL, and what rpc_connect()
 * says. */
int lead_connect(struct shard *shard, uint32_t server, struct rpc_connection **connection);
/* How long a member may take. Who is not there any more is noticed by the metadata server: this is for one
 * that it hears and we don't, and must not be met by a disk that is only busy. */
uint32_t lead_deadline_ms(const struct shard *shard, uint16_t operation);
/* Connections to where nobody is any more end, and the calls on them. */
void lead_drop_moved(struct shard *shard);
/* To be called before it is said that the member has everything. -ENOMEM */
int lead_promise(struct lead *lead, const struct lead_promise *promise);
bool lead_is_promised(const struct lead *lead, const struct lead_duty *duty);
/* What was said of an earlier state of a group has had its effect, or never will. */
void lead_forget_promises(struct lead *lead, const struct map *map);

/* ---- lead_mend.c ------------------------------------------------------------ */

int lead_mender_open(struct shard *shard);
void lead_mender_close(struct shard *shard);
/* Whether something is wanted and not begun. */
bool lead_mend_waits(const struct shard *shard);
/* Begins the next one, if its time has come. */
void lead_mend_look(struct shard *shard);

#endif
