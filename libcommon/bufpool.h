/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bufpool.h: payload buffers of a bounded total, made once and used again, so
 * that pages exist and are registered with the network. A shortage is a state:
 * whoever finds none waits in line and is called when its turn comes.
 *
 * Threads: a pool belongs to one thread.
 */
#ifndef COMMON_BUFPOOL_H
#define COMMON_BUFPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bufpool;
struct rpc;

/* One in line; the caller's memory until `ready` runs or bufpool_leave(). */
struct bufpool_waiter {
    size_t length;
    void (*ready)(struct bufpool_waiter *waiter, void *buffer);
    struct bufpool_waiter *next;
};

/* `bytes_max` of memory at most, in buffers of a few sizes up to `buffer_max`.
 * Registered with `rpc` when that is not NULL. */
int bufpool_open(struct rpc *rpc, size_t bytes_max, size_t buffer_max, struct bufpool **pool);
void bufpool_close(struct bufpool *pool); /* every buffer must be back */
/* All of its memory, for whoever says where its pages are to lie. */
void bufpool_memory(const struct bufpool *pool, void **start, size_t *bytes);

/* Calls `ready` at once when a buffer of `length` is free, else later from
 * bufpool_put(). -EMSGSIZE when length is over buffer_max. */
int bufpool_get(struct bufpool *pool, struct bufpool_waiter *waiter);
/* A buffer, or NULL when none is free now (those in line come first). */
void *bufpool_try(struct bufpool *pool, size_t length);
/* Somebody stands in line. */
bool bufpool_is_short(const struct bufpool *pool);
void bufpool_put(struct bufpool *pool, void *buffer);
void bufpool_leave(struct bufpool *pool, struct bufpool_waiter *waiter);

#endif
