/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_read.c: reads. Small runs that lie close together are a span: the store reads it once, as one piece,
 * and they are copied out of it. So a list of small pieces costs the store neither a look-up for each nor a
 * block's checksum for each piece in the block.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "shard.h"

/* A checksum of less is made faster than it is joined. */
#define JOIN_BYTES_MIN 16384
/* A larger run costs its bytes more than the look-up, and had better not be copied. */
#define SPAN_RUN_MAX   (2 * CRC_BLOCK)
/* So that it is still in a cache of the processor when it is copied out of. */
#define SPAN_BYTES_MAX (UINT64_C(32) << 10)

/* ---- the answer --------------------------------------------------------- */

/* Closes the gaps that short runs left; returns how much there is. */
static size_t pack(struct shard_io *io)
{
    uint8_t *buffer = io->buffer;
    size_t length = 0;
    for (uint32_t i = 0; i < io->run_count; i++) {
        const struct shard_run *run = &io->runs[i];
        if (run->count && length != run->data_offset) {
            memmove(buffer + length, buffer + run->data_offset, run->count);
            shard_counter_add(io->shard, SHARD_COPIES, 1);
        }
        length += run->count;
    }
    return length;
}

/* How much there is of each extent: a run's bytes belong to its extents in their order. */
static void put_present(struct shard_io *io, struct wire_writer *writer)
{
    struct wire_reader reader = wire_list_reader(&io->extents);
    for (uint32_t i = 0; i < io->run_count; i++) {
        uint64_t left = io->runs[i].count;
        for (uint32_t e = 0; e < io->runs[i].extent_count; e++) {
            struct wire_extent extent;
            wire_get_extent(&reader, &extent);
            uint32_t present = left < extent.length ? (uint32_t)left : extent.length;
            wire_put_number(writer, &(struct wire_number){.value = present});
            left -= present;
        }
    }
}

static int make_read_body(struct shard_io *io, size_t present_bytes)
{
    size_t list_size = present_bytes == io->bytes ? 0 : (size_t)io->extents.count * sizeof(uint32_t);
    uint8_t *list = malloc(list_size + 1);
    io->body = malloc(list_size + 16);
    if (!list || !io->body) {
        free(list);
        return err_set(-ENOMEM, "no memory for an answer");
    }
    struct wire_writer writer = wire_writer_on(list, list_size);
    if (list_size)
        put_present(io, &writer);
    struct wire_read_reply reply = {.present = wire_list_of(&writer, list_size ? io->extents.count : 0)};
    ssize_t length = writer.bad ? -ENOBUFS : wire_encode_read_reply(io->body, list_size + 16, &reply);
    free(list);
    if (length < 0)
        return (int)length;
    io->body_length = (size_t)length;
    return 0;
}

/* The bytes have the checksums that they had on the disk, unless something happens to them from here on: then
 * the client notices. That of one run is there; those of many small ones are not worth joining. */
static void pass_on_checksums(struct shard_io *io, size_t length)
{
    uint32_t crc = 0;
    if (io->run_count > 1 && length < io->run_count * (size_t)JOIN_BYTES_MIN)
        return;
    for (uint32_t i = 0; i < io->run_count; i++) {
        const struct shard_run *run = &io->runs[i];
        if (!run->op.has_crc)
            return;
        crc = crc_join(crc, run->op.crc, run->count);
    }
    io->request->reply_crc_known = true;
    io->request->reply_crc = crc;
}

static void read_end(struct shard_io *io)
{
    size_t length = 0;
    if (shard_is_outdated(io)) {
        shard_io_stale(io);
        shard_io_end(io, 0);
        return;
    }
    /* After the bytes were read: whatever has kept us from work before that, they are not from later. */
    if (!io->status && !shard_check_lease(io)) {
        shard_wait_for_lease(io);
        return;
    }
    if (!io->status) {
        length = pack(io);
        int error = make_read_body(io, length);
        if (error)
            shard_io_fail(io, error);
        else
            pass_on_checksums(io, length);
    }
    if (!io->status) {
        shard_counter_add(io->shard, SHARD_BYTES_READ, length);
        shard_counter_add(io->shard, SHARD_EXTENTS_READ, io->extents.count);
    }
    shard_io_end(io, length);
}

/* ---- spans -------------------------------------------------------------- */

/* Whether no block would be read that neither run wants. */
static bool is_close(const struct shard_run *run, const struct shard_run *next)
{
    const uint64_t end = run->offset + run->length;
    return next->target == run->target && next->position == run->position && next->offset >= end &&
           next->offset / CRC_BLOCK <= (end - 1) / CRC_BLOCK + 1;
}

static uint64_t span_length(const struct shard_run *first, uint32_t count)
{
    return first[count - 1].offset + first[count - 1].length - first->offset;
}

/* How many runs from this one on are one span. */
static uint32_t span_count(const struct shard_io *io, uint32_t first)
{
    const struct shard_run *run = &io->runs[first];
    uint32_t count = 1;
    if (run->length > SPAN_RUN_MAX)
        return 1;
    while (count < io->run_count - first && run[count].length <= SPAN_RUN_MAX &&
           is_close(&run[count - 1], &run[count]) && span_length(run, count + 1) <= SPAN_BYTES_MAX)
        count++;
    return count;
}

/* Memory for a span; NULL when there is none just now. One that ended leaves its own to the next. */
static void *span_take(struct shard_io *io)
{
    void *memory = io->span;
    io->span = NULL;
    return memory ? memory : bufpool_try(io->shard->pool, SPAN_BYTES_MAX);
}

static void span_give(struct shard_io *io, void *memory)
{
    if (io->span)
        bufpool_put(io->shard->pool, memory);
    else
        io->span = memory;
}

/* Takes its runs out of a span of which `got` bytes are there. */
static void span_end(struct shard_io *io, struct shard_run *first, uint64_t got)
{
    for (uint32_t i = 0; i < first->span_count; i++) {
        struct shard_run *run = &first[i];
        const uint64_t at = run->offset - first->offset, there = got > at ? got - at : 0;
        run->count = (size_t)(there < run->length ? there : run->length);
        memcpy((uint8_t *)io->buffer + run->data_offset, first->span + at, run->count);
    }
    first->op.has_crc = false;
    span_give(io, first->span);
}

/* ---- reading ------------------------------------------------------------ */

static void part_end(struct shard_io *io, struct shard_run *run, ssize_t status)
{
    const size_t got = status > 0 ? (size_t)status : 0;
    if (status < 0)
        shard_io_store_failed(io, (int)status);
    if (status == -EIO) {
        const struct store_object object = shard_object_of(io, run);
        lead_mend_want(io->shard, run->target, &object, run->offset, span_length(run, run->span_count));
    }
    if (run->span)
        span_end(io, run, got);
    else
        run->count = got;
}

static void part_done(struct store_op *op, ssize_t status)
{
    struct shard_io *io = op->arg;
    part_end(io, list_item(op, struct shard_run, op), status);
    if (--io->pending == 0)
        read_end(io);
}

/* A run, or the span that it begins. Returns how many runs that are. */
static uint32_t part_begin(struct shard_io *io, uint32_t first)
{
    struct shard *shard = io->shard;
    struct shard_run *run = &io->runs[first];
    struct store *store = shard->stores[run->target];
    struct store_object object = shard_object_of(io, run);
    uint32_t count = span_count(io, first);
    size_t got = 0;
    run->span = count > 1 ? span_take(io) : NULL;
    run->span_count = count = run->span ? count : 1;
    run->op = (struct store_op){.done = part_done, .arg = io};
    int result = store->type->read(store, &object, run->offset,
                                   run->span ? run->span : (uint8_t *)io->buffer + run->data_offset,
                                   (size_t)span_length(run, count), &got, &run->op);
    shard_counter_add(shard, SHARD_STORE_READS, 1);
    if (result == STORE_PENDING)
        io->pending++;
    else
        part_end(io, run, result ? result : (ssize_t)got);
    return count;
}

static void read_runs(struct bufpool_waiter *waiter, void *buffer)
{
    struct shard_io *io = list_item(waiter, struct shard_io, waiter);
    io->buffer = buffer;
    int error = shard_runs_keep(io);
    if (error) {
        shard_io_fail(io, error);
        shard_io_end(io, 0);
        return;
    }
    io->pending = 1;
    for (uint32_t i = 0; i < io->run_count && !io->status;)
        i += part_begin(io, i);
    if (--io->pending == 0)
        read_end(io);
}

void shard_read(struct shard_io *io)
{
    if (io->bytes == 0)
        read_end(io);
    else
        shard_buffer_wait(io, read_runs);
}
