/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_pool.h: reads and writes of `data` beside each other by a few threads that wait for the disk, where the
 * kernel has no ring for that (cs_ring.h): io_uring is forbidden in many containers, and a disk that makes
 * faults has only calls. The threads are started by the first batch.
 *
 * Threads: a pool belongs to one, as a ring does.
 */
#ifndef CS_POOL_H
#define CS_POOL_H

#include "cs_io.h"

struct cs_pool;

/* Of `io`, which must outlive it; `event_fd` is written to whenever a batch has ended. -ENOMEM. */
int cs_pool_open(struct cs_io *io, int event_fd, struct cs_pool **pool);
/* Waits for what is under way. NULL: nothing. */
void cs_pool_close(struct cs_pool *pool);

/* As cs_io_type's begin() and ended(). */
int cs_pool_begin(struct cs_pool *pool, struct cs_batch *batch);
struct cs_batch *cs_pool_ended(struct cs_pool *pool);

#endif
