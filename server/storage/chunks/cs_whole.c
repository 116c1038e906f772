/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_whole.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cs_format.h"
#include "err.h"
#include "storage/iov.h"

#define NONE UINT64_MAX

struct whole_io {
    struct cs_io io; /* first */
    struct cs_io *below;
    pthread_mutex_t lock; /* of the blocks that wait */
    atomic_uint waiting;  /* how many; changed with the lock */
    /* At its number % CS_WHOLE_BLOCKS; NONE. Changed with the lock. */
    atomic_uint_fast64_t block[CS_WHOLE_BLOCKS];
    uint8_t (*bytes)[CS_BLOCK]; /* aligned */
};

static struct whole_io *whole_of(struct cs_io *io)
{
    return (struct whole_io *)io;
}

/* ---- blocks that wait; with the lock held, but for the looks at them ------- */

static unsigned place_of(uint64_t block)
{
    return (unsigned)(block % CS_WHOLE_BLOCKS);
}

static bool waits(const struct whole_io *whole, uint64_t block)
{
    return whole->block[place_of(block)] == block;
}

static void forget(struct whole_io *whole, unsigned place)
{
    whole->block[place] = NONE;
    atomic_fetch_sub(&whole->waiting, 1);
}

/* It waits until it is written, so that who reads meanwhile finds it here or there. */
static int write_out(struct whole_io *whole, unsigned place)
{
    struct iovec iov = {whole->bytes[place], CS_BLOCK};
    if (whole->block[place] == NONE)
        return 0;
    int error = whole->below->type->write(whole->below, CS_DATA, whole->block[place] * CS_BLOCK, &iov, 1);
    if (!error)
        forget(whole, place);
    return error;
}

/* The block is in its place, with what the disk has. */
static int load(struct whole_io *whole, uint64_t block)
{
    const unsigned place = place_of(block);
    struct iovec iov = {whole->bytes[place], CS_BLOCK};
    if (waits(whole, block))
        return 0;
    int error = write_out(whole, place);
    if (!error)
        error = whole->below->type->read(whole->below, CS_DATA, block * CS_BLOCK, &iov, 1, false);
    if (error)
        return error;
    whole->block[place] = block;
    atomic_fetch_add(&whole->waiting, 1);
    return 0;
}

static bool any_waits(const struct whole_io *whole, uint64_t offset, uint64_t length)
{
    for (uint64_t block = offset / CS_BLOCK; block * CS_BLOCK < offset + length; block++)
        if (waits(whole, block))
            return true;
    return false;
}

/* ---- writing ------------------------------------------------------------ */

/* To one block, or two. */
static int write_parts(struct whole_io *whole, uint64_t offset, const struct iovec *iov, int iov_count)
{
    int error = 0;
    pthread_mutex_lock(&whole->lock);
    for (int i = 0; i < iov_count && !error; i++) {
        const uint8_t *from = iov[i].iov_base;
        for (size_t left = iov[i].iov_len; left > 0 && !error;) {
            const uint64_t block = offset / CS_BLOCK;
            const size_t at = offset % CS_BLOCK, room = CS_BLOCK - at, length = left < room ? left : room;
            error = load(whole, block);
            if (!error)
                memcpy(whole->bytes[place_of(block)] + at, from, length);
            from += length;
            offset += length;
            left -= length;
        }
    }
    pthread_mutex_unlock(&whole->lock);
    return error;
}

static void forget_range(struct whole_io *whole, uint64_t offset, uint64_t length)
{
    for (uint64_t block = offset / CS_BLOCK; block * CS_BLOCK < offset + length; block++)
        if (waits(whole, block))
            forget(whole, place_of(block));
}

/* Without the lock where nothing is to be done: whoever has it may wait for the disk. Nobody writes to these
 * blocks meanwhile. */
static bool try_forget(struct whole_io *whole, uint64_t offset, uint64_t length)
{
    if (!any_waits(whole, offset, length))
        return true;
    if (pthread_mutex_trylock(&whole->lock))
        return false;
    forget_range(whole, offset, length);
    pthread_mutex_unlock(&whole->lock);
    return true;
}

static int whole_write(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count)
{
    struct whole_io *whole = whole_of(io);
    const uint64_t length = iov_length(iov, (size_t)iov_count);
    if (file == CS_DATA && (offset % CS_BLOCK || length % CS_BLOCK))
        return write_parts(whole, offset, iov, iov_count);
    if (file == CS_DATA && atomic_load(&whole->waiting)) {
        pthread_mutex_lock(&whole->lock);
        forget_range(whole, offset, length);
        pthread_mutex_unlock(&whole->lock);
    }
    return whole->below->type->write(whole->below, file, offset, iov, iov_count);
}

static int whole_flush(struct cs_io *io, enum cs_file file)
{
    struct whole_io *whole = whole_of(io);
    int error = 0;
    for (unsigned place = 0; place < CS_WHOLE_BLOCKS && file == CS_DATA && !error; place++) {
        if (atomic_load(&whole->waiting) == 0)
            break;
        pthread_mutex_lock(&whole->lock);
        error = write_out(whole, place);
        pthread_mutex_unlock(&whole->lock);
    }
    return error ? error : whole->below->type->flush(whole->below, file);
}

static bool whole_write_waits(struct cs_io *io, size_t length)
{
    struct cs_io *below = whole_of(io)->below;
    return below->type->write_waits && below->type->write_waits(below, length);
}

/* ---- reading ------------------------------------------------------------ */

/* What waits takes the place of what the disk had. */
static void lay_over(const struct whole_io *whole, uint64_t offset, const struct iovec *iov, int iov_count)
{
    for (int i = 0; i < iov_count; i++) {
        uint8_t *to = iov[i].iov_base;
        for (size_t left = iov[i].iov_len; left > 0;) {
            const uint64_t block = offset / CS_BLOCK;
            const size_t at = offset % CS_BLOCK, room = CS_BLOCK - at, length = left < room ? left : room;
            if (waits(whole, block))
                memcpy(to, whole->bytes[place_of(block)] + at, length);
            to += length;
            offset += length;
            left -= length;
        }
    }
}

static int read_both(struct whole_io *whole, uint64_t offset, struct iovec *iov, int iov_count, bool nowait)
{
    struct cs_io *below = whole->below;
    struct iovec *copy = malloc((size_t)iov_count * sizeof *copy); /* below may change the list */
    if (!copy)
        return err_set(-ENOMEM, "no memory to read");
    memcpy(copy, iov, (size_t)iov_count * sizeof *copy);
    int error = below->type->read(below, CS_DATA, offset, iov, iov_count, nowait);
    if (!error)
        lay_over(whole, offset, copy, iov_count);
    free(copy);
    return error;
}

static int whole_read(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count,
                      bool nowait)
{
    struct whole_io *whole = whole_of(io);
    struct cs_io *below = whole->below;
    int error = 1;
    if (file == CS_DATA && atomic_load(&whole->waiting)) {
        pthread_mutex_lock(&whole->lock);
        if (any_waits(whole, offset, iov_length(iov, (size_t)iov_count)))
            error = read_both(whole, offset, iov, iov_count, nowait);
        pthread_mutex_unlock(&whole->lock);
    }
    return error <= 0 ? error : below->type->read(below, file, offset, iov, iov_count, nowait);
}

/* ---- all else ----------------------------------------------------------- */

static int whole_discard(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length)
{
    struct whole_io *whole = whole_of(io);
    struct cs_io *below = whole->below;
    pthread_mutex_lock(&whole->lock);
    for (unsigned place = 0; place < CS_WHOLE_BLOCKS && file == CS_DATA; place++)
        if (whole->block[place] != NONE && whole->block[place] >= offset / CS_BLOCK &&
            whole->block[place] < (offset + length) / CS_BLOCK)
            forget(whole, place);
    pthread_mutex_unlock(&whole->lock);
    return below->type->discard ? below->type->discard(below, file, offset, length)
                                : err_set(-EOPNOTSUPP, "the disk takes no space back");
}

static bool whole_punches(struct cs_io *io)
{
    return cs_io_punches(whole_of(io)->below);
}

static int whole_fill(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length)
{
    struct cs_io *below = whole_of(io)->below;
    return below->type->fill ? below->type->fill(below, file, offset, length) : 0;
}

static bool whole_has_holes(struct cs_io *io, enum cs_file file)
{
    struct cs_io *below = whole_of(io)->below;
    return below->type->has_holes && below->type->has_holes(below, file);
}

static int whole_grow(struct cs_io *io, enum cs_file file, uint64_t size)
{
    struct cs_io *below = whole_of(io)->below;
    return below->type->grow(below, file, size);
}

static int whole_size(struct cs_io *io, enum cs_file file, uint64_t *size)
{
    struct cs_io *below = whole_of(io)->below;
    return below->type->size(below, file, size);
}

static void whole_close(struct cs_io *io)
{
    struct whole_io *whole = whole_of(io);
    whole->below->type->close(whole->below);
    pthread_mutex_destroy(&whole->lock);
    free(whole->bytes);
    free(whole);
}

static int whole_watch(struct cs_io *io, int event_fd)
{
    struct cs_io *below = whole_of(io)->below;
    return below->type->watch ? below->type->watch(below, event_fd)
                              : err_set(-ENOTSUP, "the disk has only calls");
}

/* Of blocks that wait the disk has other bytes; their checksums fail, and whoever reads them anew comes
 * here. What waits for a block that is written whole is of no more use, and must not follow. */
static int whole_begin(struct cs_io *io, struct cs_batch *batch)
{
    struct whole_io *whole = whole_of(io);
    struct cs_io *below = whole->below;
    for (unsigned i = 0; i < batch->count && batch->is_write; i++) {
        const struct cs_piece *piece = &batch->pieces[i];
        if (!try_forget(whole, piece->offset, iov_length(piece->iov, (size_t)piece->iov_count)))
            return -EAGAIN;
    }
    return below->type->begin(below, batch);
}

static struct cs_batch *whole_ended(struct cs_io *io)
{
    struct cs_io *below = whole_of(io)->below;
    return below->type->ended(below);
}

static const struct cs_io_type whole_type = {
    .read = whole_read,
    .write = whole_write,
    .write_waits = whole_write_waits,
    .flush = whole_flush,
    .grow = whole_grow,
    .size = whole_size,
    .close = whole_close,
    .discard = whole_discard,
    .punches = whole_punches,
    .fill = whole_fill,
    .has_holes = whole_has_holes,
    .watch = whole_watch,
    .begin = whole_begin,
    .ended = whole_ended,
};

int cs_whole_open(struct cs_io *below, struct cs_io **io)
{
    struct whole_io *whole = calloc(1, sizeof *whole);
    if (whole)
        whole->bytes = aligned_alloc(CS_BLOCK, (size_t)CS_WHOLE_BLOCKS * CS_BLOCK);
    if (!whole || !whole->bytes) {
        free(whole);
        below->type->close(below);
        return err_set(-ENOMEM, "no memory for blocks that are written in parts");
    }
    whole->io.type = &whole_type;
    whole->below = below;
    pthread_mutex_init(&whole->lock, NULL);
    for (unsigned place = 0; place < CS_WHOLE_BLOCKS; place++)
        whole->block[place] = NONE;
    *io = &whole->io;
    return 0;
}
