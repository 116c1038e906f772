/* SPDX-License-Identifier: Apache-2.0 */
/* The files of one shard, in segments of a disk. */
#include "volume_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "storage/iov.h"

enum { PIECES = 64 };

/* What stands in the lists up to `count` does not change any more, so reads and writes need no lock. */
struct file {
    uint32_t *segments; /* UINT32_MAX: none */
    atomic_uint count;
};

struct shard_io {
    struct cs_io io; /* first */
    struct volume *volume;
    uint32_t shard;
    struct cs_io *raw;
    struct file files[CS_FILES];
    /* Writes that ended, of `data` and `meta`; how many of them the last flush had. */
    atomic_uint_fast64_t written, flushed;
};

static struct shard_io *shard_of(struct cs_io *io)
{
    return (struct shard_io *)io;
}

/* ---- places ------------------------------------------------------------- */

static uint64_t size_of(struct shard_io *shard, enum cs_file file)
{
    return atomic_load_explicit(&shard->files[file].count, memory_order_acquire) *
           shard->volume->label.segment_bytes;
}

/* Where the byte lies, and how many from there on lie so, up to `length`. The file has them. */
static uint64_t place_of(struct shard_io *shard, enum cs_file file, uint64_t offset, uint64_t length,
                         uint64_t *there)
{
    const uint64_t segment_bytes = shard->volume->label.segment_bytes;
    const uint32_t *segments = shard->files[file].segments;
    uint64_t index = offset / segment_bytes;
    const uint64_t place = volume_segment_at(shard->volume, segments[index]) + offset % segment_bytes;
    uint64_t room = segment_bytes - offset % segment_bytes;
    for (; room < length && segments[index + 1] == segments[index] + 1; index++)
        room += segment_bytes;
    *there = room < length ? room : length;
    return place;
}

static int check_range(struct shard_io *shard, enum cs_file file, uint64_t offset, uint64_t length)
{
    const uint64_t size = size_of(shard, file);
    if (offset <= size && length <= size - offset)
        return 0;
    return err_set(-ENODATA, "the file \"%s\" of shard %" PRIu32 " ends before offset %" PRIu64,
                   cs_file_name(file), shard->shard, offset + length);
}

uint64_t volume_place(struct cs_io *io, enum cs_file file, uint64_t offset)
{
    struct shard_io *shard = shard_of(io);
    uint64_t there;
    return offset < size_of(shard, file) ? place_of(shard, file, offset, 1, &there) : UINT64_MAX;
}

/* ---- reading and writing ------------------------------------------------ */

static int access_piece(struct shard_io *shard, enum cs_file file, uint64_t place, struct iovec *iov,
                        int iov_count, bool write, bool nowait)
{
    struct cs_io *raw = shard->raw;
    return write ? raw->type->write(raw, file, place, iov, iov_count)
                 : raw->type->read(raw, file, place, iov, iov_count, nowait);
}

/* The first pieces of the list, of `length` bytes, but PIECES at most; takes them off it. Returns their
 * bytes. */
static size_t cut(struct iovec **iov, size_t *left, size_t length, struct iovec pieces[PIECES], int *count)
{
    size_t bytes = 0;
    for (*count = 0; bytes < length && *count < PIECES; ++*count) {
        const size_t room = length - bytes;
        pieces[*count] = **iov;
        if (pieces[*count].iov_len > room)
            pieces[*count].iov_len = room;
        bytes += pieces[*count].iov_len;
        iov_skip(iov, left, pieces[*count].iov_len);
    }
    return bytes;
}

static int transfer(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count,
                    bool write, bool nowait)
{
    struct shard_io *shard = shard_of(io);
    uint64_t length = iov_length(iov, (size_t)iov_count), there;
    size_t left = (size_t)iov_count;
    int error = check_range(shard, file, offset, length);
    while (length > 0 && !error) {
        struct iovec pieces[PIECES];
        int count;
        const uint64_t place = place_of(shard, file, offset, length, &there);
        if (there == length) {
            error = access_piece(shard, file, place, iov, (int)left, write, nowait);
            break;
        }
        const size_t bytes = cut(&iov, &left, there, pieces, &count);
        error = access_piece(shard, file, place, pieces, count, write, nowait);
        offset += bytes;
        length -= bytes;
    }
    return error;
}

static int shard_read(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count,
                      bool nowait)
{
    return transfer(io, file, offset, iov, iov_count, false, nowait);
}

static int shard_write(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count)
{
    int error = transfer(io, file, offset, iov, iov_count, true, false);
    if (file == CS_DATA || file == CS_META)
        atomic_fetch_add(&shard_of(io)->written, 1);
    return error;
}

static bool shard_write_waits(struct cs_io *io, size_t length)
{
    struct cs_io *raw = shard_of(io)->raw;
    return raw->type->write_waits && raw->type->write_waits(raw, length);
}

/* A disk is flushed as a whole. When that was done for `data`, and nothing was written since, `meta` needs no
 * second time. */
static int shard_flush(struct cs_io *io, enum cs_file file)
{
    struct shard_io *shard = shard_of(io);
    const uint64_t written = atomic_load(&shard->written);
    if (written == atomic_load(&shard->flushed) && file != CS_LOG && file != CS_LOG_OTHER)
        return 0;
    int error = shard->raw->type->flush(shard->raw, file);
    if (!error)
        atomic_store(&shard->flushed, written);
    return error;
}

/* ---- growing ------------------------------------------------------------ */

static int shard_grow(struct cs_io *io, enum cs_file file, uint64_t size)
{
    struct shard_io *shard = shard_of(io);
    struct volume *volume = shard->volume;
    struct file *of = &shard->files[file];
    const uint64_t segment_bytes = volume->label.segment_bytes;
    const uint64_t wanted = size / segment_bytes + (size % segment_bytes != 0);
    int error = 0;
    pthread_mutex_lock(&volume->lock);
    const uint32_t count = atomic_load(&of->count);
    if (wanted > volume->label.segments)
        error = err_set(-ENOSPC, "the disk is full");
    else if (wanted > count)
        error = volume_take(volume, shard->shard, file, count, (uint32_t)wanted, of->segments);
    if (!error && wanted > count)
        atomic_store_explicit(&of->count, (unsigned)wanted, memory_order_release);
    pthread_mutex_unlock(&volume->lock);
    return error;
}

static int shard_size(struct cs_io *io, enum cs_file file, uint64_t *size)
{
    *size = size_of(shard_of(io), file);
    return 0;
}

static int shard_direct(struct cs_io *io)
{
    struct cs_io *raw = shard_of(io)->raw;
    return raw->type->direct ? raw->type->direct(raw) : err_set(-ENOTSUP, "the disk has no direct I/O");
}

static int shard_discard(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length)
{
    struct shard_io *shard = shard_of(io);
    struct cs_io *raw = shard->raw;
    int error = raw->type->discard ? check_range(shard, file, offset, length)
                                   : err_set(-EOPNOTSUPP, "the disk takes no space back");
    while (length > 0 && !error) {
        uint64_t there;
        const uint64_t place = place_of(shard, file, offset, length, &there);
        error = raw->type->discard(raw, file, place, there);
        offset += there;
        length -= there;
    }
    return error;
}

/* ---- reads and writes that nobody waits for ---------------------------------------- */

static int shard_watch(struct cs_io *io, int event_fd)
{
    struct cs_io *raw = shard_of(io)->raw;
    return raw->type->watch ? raw->type->watch(raw, event_fd) : err_set(-ENOTSUP, "the disk has only calls");
}

/* Runs that go on in another segment are rare, and left to who can wait. */
static int shard_begin(struct cs_io *io, struct cs_batch *batch)
{
    struct shard_io *shard = shard_of(io);
    for (unsigned i = 0; i < batch->count; i++) {
        struct cs_piece *piece = &batch->pieces[i];
        const uint64_t length = iov_length(piece->iov, (size_t)piece->iov_count);
        uint64_t there;
        if (check_range(shard, CS_DATA, piece->offset, length))
            return -EAGAIN;
        piece->offset = place_of(shard, CS_DATA, piece->offset, length, &there);
        if (there < length)
            return -EAGAIN;
    }
    return shard->raw->type->begin(shard->raw, batch);
}

static struct cs_batch *shard_ended(struct cs_io *io)
{
    struct shard_io *shard = shard_of(io);
    struct cs_batch *batch = shard->raw->type->ended(shard->raw);
    if (batch && batch->is_write)
        atomic_fetch_add(&shard->written, 1);
    return batch;
}

/* ---- life --------------------------------------------------------------- */

static void shard_close(struct cs_io *io)
{
    struct shard_io *shard = shard_of(io);
    for (int file = 0; file < CS_FILES; file++)
        free(shard->files[file].segments);
    shard->raw->type->close(shard->raw);
    volume_close(shard->volume);
    free(shard);
}

static const struct cs_io_type shard_type = {
    .read = shard_read,
    .write = shard_write,
    .write_waits = shard_write_waits,
    .flush = shard_flush,
    .grow = shard_grow,
    .size = shard_size,
    .close = shard_close,
    .direct = shard_direct,
    .discard = shard_discard,
    .watch = shard_watch,
    .begin = shard_begin,
    .ended = shard_ended,
};

/* A file ends before the first segment that it lacks. One behind that may be left of a crash, and is used
 * when the file has grown so far. */
static void find_files(struct shard_io *shard)
{
    const struct volume *volume = shard->volume;
    for (uint32_t segment = 0; segment < volume->label.segments; segment++) {
        const struct volume_entry *entry = &volume->table[segment];
        if (entry->file < 1 || entry->file > CS_FILES || entry->shard != shard->shard ||
            entry->index >= volume->label.segments)
            continue;
        shard->files[entry->file - 1].segments[entry->index] = segment;
    }
    for (int file = 0; file < CS_FILES; file++) {
        unsigned count = 0;
        while (count < volume->label.segments && shard->files[file].segments[count] != UINT32_MAX)
            count++;
        atomic_init(&shard->files[file].count, count);
    }
}

int volume_shard_open(struct volume *volume, uint32_t number, struct cs_io *raw, struct cs_io **io)
{
    const size_t bytes = (volume->label.segments + (size_t)1) * sizeof(uint32_t);
    struct shard_io *shard = calloc(1, sizeof *shard);
    if (!shard) {
        raw->type->close(raw);
        return err_set(-ENOMEM, "no memory for a shard's files");
    }
    shard->io.type = &shard_type;
    shard->volume = volume;
    volume_hold(volume);
    shard->shard = number;
    shard->raw = raw;
    atomic_init(&shard->written, 1); /* the disk may have what was never flushed */
    for (int file = 0; file < CS_FILES; file++) {
        shard->files[file].segments = malloc(bytes);
        if (!shard->files[file].segments) {
            shard_close(&shard->io);
            return err_set(-ENOMEM, "no memory for a shard's files");
        }
        memset(shard->files[file].segments, 0xff, bytes); /* one more than there can be stays UINT32_MAX */
    }
    pthread_mutex_lock(&volume->lock);
    find_files(shard);
    pthread_mutex_unlock(&volume->lock);
    *io = &shard->io;
    return 0;
}
