/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_way.h"

#include <errno.h>
#include <unistd.h>

/* Writes of so many bytes cost more than to leave them to others. */
enum { LONG_BYTES = 32 << 10 };

static bool is_direct(const struct cs_way *way)
{
    return way->direct.fd >= 0;
}

void cs_way_open(struct cs_way *way)
{
    way->direct.fd = -1;
}

void cs_way_close(struct cs_way *way)
{
    if (way->ring)
        cs_ring_close(way->ring);
    cs_direct_close(&way->direct);
}

int cs_way_read(struct cs_way *way, int fd, enum cs_file file, struct cs_call *call, bool nowait)
{
    const bool may_refuse = nowait && !atomic_load_explicit(&way->nowait_refused, memory_order_relaxed);
    if (file == CS_DATA && is_direct(way))
        return nowait ? -EAGAIN : cs_direct_read(&way->direct, call);
    int error = cs_calls_read(fd, call, may_refuse ? RWF_NOWAIT : 0);
    if (error == -EOPNOTSUPP && may_refuse) {
        /* It is asked once: a call that only fails costs a tenth of a read of 47,008 bytes. */
        atomic_store_explicit(&way->nowait_refused, true, memory_order_relaxed);
        error = cs_calls_read(fd, call, 0);
    }
    return error;
}

int cs_way_write(const struct cs_way *way, int fd, enum cs_file file, struct cs_call *call)
{
    return file == CS_DATA && is_direct(way) ? cs_direct_write(&way->direct, call) : cs_calls_write(fd, call);
}

bool cs_way_write_waits(const struct cs_way *way, size_t length)
{
    return is_direct(way) || length >= LONG_BYTES ||
           atomic_load_explicit(&way->flushing, memory_order_relaxed);
}

int cs_way_flush(struct cs_way *way, int fd)
{
    atomic_fetch_add(&way->flushing, 1);
    const int error = fdatasync(fd) ? -errno : 0;
    atomic_fetch_sub(&way->flushing, 1);
    return error;
}

int cs_way_watch(struct cs_way *way, int fd, int event_fd)
{
    return cs_ring_open(is_direct(way) ? way->direct.fd : fd, event_fd, &way->ring);
}

int cs_way_begin(struct cs_way *way, struct cs_batch *batch)
{
    if (!cs_direct_begin(&way->direct, batch))
        return -EAGAIN;
    int error = cs_ring_begin(way->ring, batch);
    if (error)
        cs_direct_end(&way->direct, batch);
    return error;
}

struct cs_batch *cs_way_ended(struct cs_way *way)
{
    struct cs_batch *batch = cs_ring_ended(way->ring);
    if (batch)
        cs_direct_end(&way->direct, batch);
    return batch;
}
