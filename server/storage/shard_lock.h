/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_lock.h: what the two files share that serve locks: shard_lock.c those as such, shard_record.c
 * records.
 */
#ifndef STORAGE_SHARD_LOCK_H
#define STORAGE_SHARD_LOCK_H

#include "shard.h"

/* A request that waits for its lock; the lock's `arg`. */
struct waiting {
    struct list_link link;
    struct rpc_request *request;
    struct lock *lock;
    uint64_t due_ns;
    bool tells; /* when it is over, who is in the way */
};

struct shard_locks {
    struct shard *shard;
    struct lock_table *table;
    struct list waiting;
    uint64_t due_ns;        /* no request that waits is due before */
    struct ending *endings; /* made with the first unlock */
};

/* ---- shard_lock.c ------------------------------------------------------------- */

/* The request stays until the lock is granted, or so long. */
int shard_lock_wait(struct shard_io *io, uint32_t wait_ms, bool tells, struct lock *lock);
void shard_lock_waiting_answer(struct waiting *waiting, bool granted);

/* ---- shard_record.c ----------------------------------------------------------- */

void shard_record_answer(struct rpc_request *request, const struct lock *lock, bool granted, bool tells);
/* The peer is gone; how many records were held that go with it. */
uint32_t shard_records_peer_down(struct shard *shard, struct rpc_peer *peer);

#endif
