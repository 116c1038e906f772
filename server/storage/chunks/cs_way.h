/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_way.h: the ways to a store's files: by the page cache; past it for `data`, where that was opened
 * (cs_direct.h); and to `data` by the kernel's ring (cs_ring.h), where that was.
 *
 * Threads: reads and writes from several at once; the ring belongs to one.
 */
#ifndef CS_WAY_H
#define CS_WAY_H

#include <stdatomic.h>

#include "cs_calls.h"
#include "cs_direct.h"
#include "cs_ring.h"

struct cs_way {
    struct cs_direct direct; /* of `data`; fd -1: it goes by the page cache */
    struct cs_ring *ring;    /* NULL: none */
    /* The file system can't tell whether it would have to wait, as those in memory. */
    atomic_bool nowait_refused;
    atomic_uint flushing; /* flushes under way */
};

void cs_way_open(struct cs_way *way);
void cs_way_close(struct cs_way *way);

/* Of `file`, which `fd` is the descriptor of. As cs_calls_read() and cs_calls_write(), but that with `nowait`
 * a read that would have to wait is -EAGAIN where that can be told. */
int cs_way_read(struct cs_way *way, int fd, enum cs_file file, struct cs_call *call, bool nowait);
int cs_way_write(const struct cs_way *way, int fd, enum cs_file file, struct cs_call *call);
/* Whether a write of so many bytes has to be waited for. By the page cache it has while that is being
 * flushed: for pages that are just written, and for the file system's journal. Long ones count always: they
 * meet that often, and one that a thread of the kernel's copies lets others go on. */
bool cs_way_write_waits(const struct cs_way *way, size_t length);
int cs_way_flush(struct cs_way *way, int fd);

/* As cs_io_type's; `fd` is that of `data`. */
int cs_way_watch(struct cs_way *way, int fd, int event_fd);
int cs_way_begin(struct cs_way *way, struct cs_batch *batch);
struct cs_batch *cs_way_ended(struct cs_way *way);

#endif
