/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member_sweep.h: the part of a membership (member.h) that asks the metadata server what shards want to know
 * for their sweeps. One question of one shard at a time, beside the heartbeats, which it does not hold up.
 *
 * Threads: the main thread's.
 */
#ifndef STORAGE_MEMBER_SWEEP_H
#define STORAGE_MEMBER_SWEEP_H

#include "shard.h"

struct sweep_question;

struct member_sweep {
    struct server *server;
    struct rpc_connection *connection; /* to the metadata server */
    struct sweep_question *question;   /* under way; NULL: none */
    uint32_t shard;                    /* whose it is, or was the latest */
    struct rpc_call call;
    uint8_t body[LIMITS_BODY_INLINE_MAX];
};

/* Asks what the next shard wants to know, if there is one and nothing is under way. */
void member_sweep_look(struct member_sweep *sweep);

#endif
