/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member.h: a storage server's membership in its cluster: it registers with
 * the metadata server, sends heartbeats, and hands every newer cluster map to
 * the shards. While the metadata server is away it keeps trying, and the shards go
 * on serving with the map they have.
 *
 * Threads: the main thread's, but for the functions at the end.
 */
#ifndef STORAGE_MEMBER_H
#define STORAGE_MEMBER_H

#include "daemon.h"
#include "shard.h"

struct member;

/* Starts to register. The shards must listen. */
int member_open(struct daemon *daemon, struct server *server, struct member **member);
/* Serves until the daemon is to stop; 0, or why the server can't be a member. */
int member_run(struct member *member);
void member_close(struct member *member);

/* `member` asks for a newer map soon. From any thread. */
void member_map_wanted(void *member);

/* `member` says this to the metadata server soon, until that has heard it. From any thread. */
void member_verdict(void *member, const struct wire_group_verdict *verdict);
/* The same, when all shards have said it. */
void member_synced(void *member, uint32_t shard, const struct wire_group_verdict *verdict);

/* Shards are looked at for what they ask (sweep.h). From any thread. */
void member_sweep_wanted(void *member);

#endif
