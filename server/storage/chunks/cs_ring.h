/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_ring.h: reads and writes of one file that go on beside each other in the kernel (io_uring), with no
 * thread that waits for them. A fast disk gives a multiple for many at once of what it gives one by one.
 *
 * io_uring is forbidden in many containers, so everybody who uses a ring can do without (cs_pool.h).
 *
 * Threads: a ring belongs to one.
 */
#ifndef CS_RING_H
#define CS_RING_H

#include "cs_io.h"

struct cs_ring;

/* `event_fd` is written to whenever a batch may have ended. -errno with a text when the kernel refuses. */
int cs_ring_open(int fd, int event_fd, struct cs_ring **ring);
/* Waits for what is under way. */
void cs_ring_close(struct cs_ring *ring);

/* As cs_io_type's begin() and ended(). */
int cs_ring_begin(struct cs_ring *ring, struct cs_batch *batch);
struct cs_batch *cs_ring_ended(struct cs_ring *ring);

#endif
