/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "shard.h"

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
    if (io->status && lead_failed_here(io))
        return;
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

static void write_here(struct shard_io *io)
{
    if (io->chunks.count && io->shard->gathers.wait_ms)
        shard_gather_runs(io, io->data);
    else
        for (uint32_t i = 0; i < io->run_count && !io->status; i++)
            shard_write_run(io, &io->runs[i], io->data);
    if (--io->pending == 0)
        shard_write_end(io);
}

/* No other change of these bytes is under way. */
static void write_in_turn(struct lead_change *change)
{
    struct shard_io *io = list_item(change, struct shard_io, change);
    if (!lead_check(io)) {
        shard_io_end(io, 0);
        return;
    }
    shard_io_changes(io);
    io->pending = 1;
    lead_give_write(io);
    write_here(io);
}

/* The map may be another one than when the request came. Whether we lead is asked when its turn has come. */
static int check_again(struct shard_io *io)
{
    if (io->checked == io->shard->map->version || !shard_is_copy(io))
        return shard_runs_keep(io);
    int verdict = shard_is_outdated(io) ? -ESTALE : shard_check_pieces(io);
    if (verdict == -ESTALE)
        shard_io_stale(io);
    return verdict > 0 ? err_set(-EAGAIN, "the cluster map changed") : verdict;
}

static void write_runs(struct shard_io *io, const uint8_t *data)
{
    int error = check_again(io);
    if (!error)
        error = check_data(io, data);
    const bool has_others = !error && !shard_is_copy(io) && lead_has_others(io->shard);
    if (has_others)
        error = lead_of_runs(io);
    if (error) {
        shard_io_fail(io, error);
        shard_io_end(io, 0);
        return;
    }
    io->data = data;
    io->end = shard_write_end;
    if (has_others) {
        lead_enter(io->shard, &io->change, io->capability.ino, write_in_turn);
        return;
    }
    shard_io_changes(io);
    io->pending = 1;
    write_here(io);
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
        shard_buffer_wait(io, write_fetch);
}
