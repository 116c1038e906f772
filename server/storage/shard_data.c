/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "shard.h"

/* A checksum of less is made faster than it is joined. */
enum { JOIN_BYTES_MIN = 16384 };

/* The runs that did not fit beside the request are made when they are to be used. */
static int runs_make(struct shard_io *io)
{
    uint32_t count = io->run_count;
    if (count <= SHARD_RUNS_FEW)
        return 0;
    int verdict = shard_runs_make(io);
    if (!verdict)
        verdict = shard_check_extents(io, count);
    /* All was right before, but the map may be another one by now. */
    return verdict > 0 ? err_set(-EAGAIN, "the cluster map changed") : verdict;
}

static void wait_for_buffer(struct shard_io *io, void (*ready)(struct bufpool_waiter *waiter, void *buffer))
{
    io->waiter.length = io->bytes;
    io->waiter.ready = ready;
    void *buffer = bufpool_try(io->shard->pool, io->bytes);
    if (buffer) {
        ready(&io->waiter, buffer);
        return;
    }
    shard_counter_add(io->shard, SHARD_BUFFER_WAITS, 1);
    /* What waits for others' pieces must not keep those from coming. */
    shard_gathers_flush(io->shard);
    int error = bufpool_get(io->shard->pool, &io->waiter);
    if (error) {
        shard_io_fail(io, error);
        shard_io_end(io, 0);
    }
}

/* ---- checksums of a write ----------------------------------------------- */

/* The blocks' checksums of one run go to `crcs`; *sum goes on over all of its bytes. Returns how many blocks
 * it covers whole. */
static size_t sum_run(const struct shard_run *run, const uint8_t *data, uint32_t *crcs, uint32_t *sum)
{
    const uint64_t end = run->offset + run->length;
    size_t count = 0;
    data += run->data_offset;
    for (uint64_t at = run->offset; at < end;) {
        const uint64_t room = CRC_BLOCK - at % CRC_BLOCK;
        const size_t length = (size_t)(end - at < room ? end - at : room);
        if (length == CRC_BLOCK) {
            crcs[count] = crc_of(0, data, CRC_BLOCK);
            *sum = crc_join(*sum, crcs[count++], CRC_BLOCK);
        } else {
            *sum = crc_of(*sum, data, length);
        }
        data += length;
        at += length;
    }
    return count;
}

/*
 * Compares what came with its checksum, which is put together from those of the blocks: so a store that keeps
 * these need not look at the bytes once more. All of it before the first byte is written.
 */
static int check_data(struct shard_io *io, const uint8_t *data)
{
    uint32_t sum = 0, sent;
    size_t count = 0;
    if (!io->request->checks_payload)
        return 0;
    io->crcs = malloc((size_t)(io->bytes / CRC_BLOCK + 1) * sizeof *io->crcs);
    if (!io->crcs)
        return err_set(-ENOMEM, "no memory for the checksums of a write");
    for (uint32_t i = 0; i < io->run_count; i++) {
        io->runs[i].crcs = &io->crcs[count];
        count += sum_run(&io->runs[i], data, &io->crcs[count], &sum);
    }
    return rpc_request_crc(io->request, &sent) && sum != sent ? rpc_request_damaged(io->request) : 0;
}

/* ---- write -------------------------------------------------------------- */

void shard_write_end(struct shard_io *io)
{
    if (!io->status) {
        shard_counter_add(io->shard, SHARD_BYTES_WRITTEN, io->bytes);
        shard_counter_add(io->shard, SHARD_EXTENTS_WRITTEN, io->extents.count);
        if (io->tell)
            shard_object_tell(io);
    }
    shard_io_end(io, 0);
}

static void write_done(struct store_op *op, ssize_t status)
{
    struct shard_io *io = op->arg;
    if (status < 0)
        shard_io_store_failed(io, (int)status);
    if (--io->pending == 0)
        shard_write_end(io);
}

void shard_write_run(struct shard_io *io, struct shard_run *run, const uint8_t *data)
{
    struct store *store = io->shard->stores[run->target];
    struct store_object object = shard_object_of(io, run);
    run->op = (struct store_op){.done = write_done, .arg = io, .crcs = run->crcs};
    run->iov = (struct iovec){(void *)(data + run->data_offset), run->length};
    int result = store->type->write(store, &object, run->offset, &run->iov, 1, &run->op);
    shard_counter_add(io->shard, SHARD_STORE_WRITES, 1);
    if (result == STORE_PENDING)
        io->pending++;
    else if (result)
        shard_io_store_failed(io, result);
}

static void write_runs(struct shard_io *io, const uint8_t *data)
{
    int error = runs_make(io);
    if (!error)
        error = check_data(io, data);
    if (error) {
        shard_io_fail(io, error);
        shard_io_end(io, 0);
        return;
    }
    io->pending = 1;
    if (io->chunks.count && io->shard->gathers.wait_ms)
        shard_gather_runs(io, data);
    else
        for (uint32_t i = 0; i < io->run_count && !io->status; i++)
            shard_write_run(io, &io->runs[i], data);
    if (--io->pending == 0)
        shard_write_end(io);
}

static void write_received(struct rpc_request *request, int status)
{
    struct shard_io *io = request->arg;
    if (status < 0) {
        /* The peer is gone, or its transfer failed; the answer reaches whoever is left. */
        shard_io_fail(io, err_set(status, "the data of a write could not be fetched: %s", err_name(status)));
        shard_io_end(io, 0);
        return;
    }
    write_runs(io, io->buffer);
}

/* All of the server's targets do, or it is not worth it. */
static bool keeps_crcs(const struct shard *shard)
{
    for (uint32_t i = 0; i < shard->server->target_count; i++)
        if (!shard->stores[i]->type->takes_crcs)
            return false;
    return true;
}

static void write_fetch(struct bufpool_waiter *waiter, void *buffer)
{
    struct shard_io *io = list_item(waiter, struct shard_io, waiter);
    uint32_t crc;
    io->buffer = buffer;
    io->request->checks_payload = keeps_crcs(io->shard) && rpc_request_crc(io->request, &crc);
    int error = rpc_request_receive(io->request, buffer, write_received);
    if (error) {
        shard_io_fail(io, error);
        shard_io_end(io, 0);
    }
}

void shard_write(struct shard_io *io)
{
    io->request->arg = io;
    if (io->bytes == 0)
        shard_io_end(io, 0);
    else if (io->request->data)
        write_runs(io, io->request->data);
    else
        wait_for_buffer(io, write_fetch);
}

/* ---- read --------------------------------------------------------------- */

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

static void read_done(struct store_op *op, ssize_t status)
{
    struct shard_io *io = op->arg;
    struct shard_run *run = list_item(op, struct shard_run, op);
    if (status < 0)
        shard_io_store_failed(io, (int)status);
    else
        run->count = (size_t)status;
    if (--io->pending == 0)
        read_end(io);
}

static void read_runs(struct bufpool_waiter *waiter, void *buffer)
{
    struct shard_io *io = list_item(waiter, struct shard_io, waiter);
    struct shard *shard = io->shard;
    io->buffer = buffer;
    int error = runs_make(io);
    if (error) {
        shard_io_fail(io, error);
        shard_io_end(io, 0);
        return;
    }
    io->pending = 1;
    for (uint32_t i = 0; i < io->run_count && !io->status; i++) {
        struct shard_run *run = &io->runs[i];
        struct store *store = shard->stores[run->target];
        struct store_object object = shard_object_of(io, run);
        run->op = (struct store_op){.done = read_done, .arg = io};
        int result = store->type->read(store, &object, run->offset, (uint8_t *)buffer + run->data_offset,
                                       run->length, &run->count, &run->op);
        shard_counter_add(shard, SHARD_STORE_READS, 1);
        if (result == STORE_PENDING)
            io->pending++;
        else if (result)
            shard_io_store_failed(io, result);
    }
    if (--io->pending == 0)
        read_end(io);
}

void shard_read(struct shard_io *io)
{
    if (io->bytes == 0)
        read_end(io);
    else
        wait_for_buffer(io, read_runs);
}
