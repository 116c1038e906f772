/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of a transfer: its message, its start, its end, and what becomes of it
 * when the cluster map changed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "err.h"
#include "pieces.h"
#include "transfer.h"

static void request_start(struct request *request);

/* ---- one request: its message ------------------------------------------------ */

static ssize_t encode_extents(const struct planner_request *plan, struct wire_writer *writer)
{
    for (uint32_t i = 0; i < plan->extent_count; i++) {
        struct wire_extent extent = {
            .offset = plan->extents[i].offset,
            .length = plan->extents[i].length,
            .target = plan->extents[i].target,
        };
        wire_put_extent(writer, &extent);
    }
    return wire_written(writer);
}

/* `chunks` is empty when nothing is gathered. */
static ssize_t encode_request(struct request *request, const struct wire_list *extents,
                              const struct wire_list *chunks, size_t room)
{
    const struct transfer *transfer = request->transfer;
    if (chunks->count > 0) {
        told_lose(transfer->file);
        struct wire_write_gather wire = {
            .capability = transfer->file->capability,
            .map_version = transfer->table->map->version,
            .gather = transfer->gather.id,
            .chunks = *chunks,
            .extents = *extents,
        };
        return wire_encode_write_gather(request->body, room, &wire);
    }
    if (transfer->write) {
        request->tells = told_wanted(transfer->file);
        struct wire_write wire = {
            .capability = transfer->file->capability,
            .map_version = transfer->table->map->version,
            .tell = request->tells,
            .extents = *extents,
        };
        return wire_encode_write(request->body, room, &wire);
    }
    struct wire_read wire = {
        .capability = transfer->file->capability,
        .map_version = transfer->table->map->version,
        .extents = *extents,
    };
    return wire_encode_read(request->body, room, &wire);
}

static ssize_t encode_lists(struct request *request, uint8_t *lists, size_t extents_room, size_t chunks_room,
                            size_t body_room)
{
    struct wire_writer extent_writer = wire_writer_on(lists, extents_room);
    struct wire_writer chunk_writer = wire_writer_on(lists + extents_room, chunks_room);
    uint32_t chunk_count = 0;
    ssize_t length = encode_extents(&request->plan, &extent_writer);
    if (length >= 0 && chunks_room > 0)
        length = gather_encode(request, &chunk_writer, &chunk_count);
    if (length < 0)
        return length;
    struct wire_list extents = wire_list_of(&extent_writer, request->plan.extent_count);
    struct wire_list chunks = wire_list_of(&chunk_writer, chunk_count);
    request->call.rpc.operation = chunk_count > 0            ? WIRE_OP_write_gather
                                  : request->transfer->write ? WIRE_OP_write
                                                             : WIRE_OP_read;
    return encode_request(request, &extents, &chunks, body_room);
}

/* Encodes the request's body and has the call point to it. */
static int encode_body(struct request *request)
{
    uint32_t count = request->plan.extent_count;
    bool gathers = request->transfer->gather.chunk_count > 0;
    uint8_t few[REQUEST_EXTENTS_FEW * REQUEST_EXTENT_BYTES], *lists = few;
    size_t extents_room = sizeof few, chunks_room = 0, body_room = sizeof request->body_few;

    if (count > REQUEST_EXTENTS_FEW || gathers) {
        extents_room = (size_t)count * REQUEST_EXTENT_BYTES;
        chunks_room = gathers ? (size_t)count * REQUEST_CHUNK_BYTES : 0;
        body_room = REQUEST_FIXED_BYTES + extents_room + chunks_room;
        lists = malloc(extents_room + chunks_room);
        uint8_t *body = malloc(body_room);
        if (!lists || !body) {
            free(lists);
            free(body);
            return err_set(-ENOMEM, "out of memory for a request of %u extents", count);
        }
        request->body = body;
    } else {
        request->body = request->body_few;
    }
    ssize_t length = encode_lists(request, lists, extents_room, chunks_room, body_room);
    if (lists != few)
        free(lists);
    if (length < 0)
        return (int)length;
    request->call.rpc.body = request->body;
    request->call.rpc.body_length = (uint32_t)length;
    return 0;
}

/* ---- one request: its end ----------------------------------------------------- */

static void request_let_go(struct request *request)
{
    if (request->packed)
        bufpool_put(request->transfer->op.session->buffers, request->packed);
    request->packed = NULL;
    if (request->body != request->body_few)
        free(request->body);
    request->body = NULL;
}

/* The request is over, well or with the transfer's failure recorded. */
static void request_ended(struct request *request)
{
    struct transfer *transfer = request->transfer;
    unsigned round = request->round;
    request_let_go(request);
    transfer->bytes -= request->plan.bytes;
    planner_request_free(&request->plan);
    if (--transfer->requests[round] == 0) {
        transfer->rounds--;
        transfer_advance(transfer);
    }
}

/* Records the failure, with the call's part in it. */
static void request_failed(struct request *request, int error)
{
    struct transfer *transfer = request->transfer;
    const struct planner_extent *first = &request->plan.extents[0];
    if (transfer->op.result == 0) {
        err_set(error, "%.200s: %s %" PRIu64 " bytes in %" PRIu32 " extent%s from offset %" PRIu64 ": %s",
                transfer->file->path, transfer->write ? "writing" : "reading", request->plan.bytes,
                request->plan.extent_count, request->plan.extent_count == 1 ? "" : "s", first->offset,
                err_text());
        op_fail(&transfer->op, error);
    }
    request_ended(request);
}

/* What a read's reply says is there of each extent. *present is the caller's to free;
 * NULL when all of all is there. */
static int decode_present(const struct request *request, uint32_t **out)
{
    const struct rpc_call *rpc = &request->call.rpc;
    const struct planner_request *plan = &request->plan;
    struct wire_read_reply reply;
    uint64_t sum = 0;

    *out = NULL;
    int result = wire_decode_read_reply(rpc->reply, rpc->reply_length, &reply);
    if (result < 0)
        return result;
    if (reply.present.count == 0) {
        if (rpc->reply_payload_length != plan->bytes)
            return err_set(-EPROTO, "a reply has %" PRIu64 " bytes instead of %" PRIu64,
                           rpc->reply_payload_length, plan->bytes);
        return 0;
    }
    if (reply.present.count != plan->extent_count)
        return err_set(-EPROTO, "a reply tells of %" PRIu32 " extents instead of %" PRIu32,
                       reply.present.count, plan->extent_count);
    uint32_t *present = malloc(plan->extent_count * sizeof *present);
    if (!present)
        return err_set(-ENOMEM, "out of memory for a reply of %u extents", plan->extent_count);
    struct wire_reader reader = wire_list_reader(&reply.present);
    for (uint32_t i = 0; i < plan->extent_count; i++) {
        struct wire_number number;
        wire_get_number(&reader, &number);
        present[i] = number.value;
        sum += number.value;
        if (number.value > plan->extents[i].length)
            reader.bad = true;
    }
    result = wire_read_all(&reader, "read_reply");
    if (result == 0 && sum != rpc->reply_payload_length)
        result = err_set(-EPROTO, "a reply has %" PRIu64 " bytes but tells of %" PRIu64,
                         rpc->reply_payload_length, sum);
    if (result < 0) {
        free(present);
        return result;
    }
    *out = present;
    return 0;
}

/* Remembers how far bytes were found and missed, which decides whether the end of the file matters. */
static void note_present(struct transfer *transfer, const struct planner_request *plan,
                         const uint32_t *present)
{
    for (uint32_t i = 0; i < plan->extent_count; i++) {
        const struct planner_extent *extent = &plan->extents[i];
        uint32_t there = present ? present[i] : extent->length;
        if (there > 0 && extent->offset + there > transfer->present_end)
            transfer->present_end = extent->offset + there;
        if (there < extent->length && extent->offset + extent->length > transfer->missing_end)
            transfer->missing_end = extent->offset + extent->length;
    }
}

static int take_reply(struct request *request)
{
    struct transfer *transfer = request->transfer;
    const struct planner_request *plan = &request->plan;
    uint32_t *present;
    int result = decode_present(request, &present);
    if (result < 0)
        return result;
    note_present(transfer, plan, present);
    pieces_unpack(plan, present, request->packed ? request->packed : plan->pieces[0].iov_base);
    if (request->packed)
        session_count(transfer->op.session, CLIENT_COUNT_bytes_copied,
                      request->call.rpc.reply_payload_length);
    free(present);
    return 0;
}

/* ---- one request: made again -------------------------------------------------- */

/* All that the planner has left, as if it were one round. */
static int plan_rest(struct planner *planner, struct planner_request **requests)
{
    struct planner_request *round;
    *requests = NULL;
    for (;;) {
        int result = planner_round(planner, &round);
        if (result == 0 && !round)
            return 0;
        for (struct planner_request *next; result < 0 && *requests; *requests = next) {
            next = (*requests)->next;
            planner_request_free(*requests);
        }
        if (result < 0)
            return result;
        struct planner_request **last = &round->next;
        while (*last)
            last = &(*last)->next;
        *last = *requests;
        *requests = round;
    }
}

/* The bytes of this request go by another map now, or to other members: they become requests of their own,
 * in the same round. */
static int request_replan(struct request *request, struct planner_request **requests)
{
    const struct planner_request *plan = &request->plan;
    struct transfer *transfer = request->transfer;
    struct planner_limits limits = *transfer_limits(transfer);
    struct planner planner;
    int result = transfer_table_update(transfer);
    if (result < 0)
        return result;
    if (request->elsewhere)
        limits.member = PLANNER_OTHER;
    struct weft_extent *extents = malloc(plan->extent_count * sizeof *extents);
    if (!extents)
        return err_set(-ENOMEM, "out of memory for a plan of %u extents", plan->extent_count);
    for (uint32_t i = 0; i < plan->extent_count; i++)
        extents[i] = (struct weft_extent){plan->extents[i].offset, plan->extents[i].length};
    result = planner_open(&planner, transfer->table, plan->pieces, plan->piece_count, extents,
                          plan->extent_count, &limits, sizeof(struct request));
    if (result == 0) {
        result = plan_rest(&planner, requests);
        planner_close(&planner);
    }
    free(extents);
    return result;
}

static void request_redo(struct request *request)
{
    struct planner_request *requests = NULL;
    request_let_go(request);
    int result = request_replan(request, &requests);
    if (result < 0) {
        request_failed(request, result);
        return;
    }
    request_start_all(request->transfer, requests, request->round, request);
    request_ended(request);
}

/* A write that was made again, or failed, may have happened at another time than its answer says. */
static void note_told(struct request *request, int status)
{
    const struct rpc_call *rpc = &request->call.rpc;
    weft_file_t *file = request->transfer->file;
    if (status != 0 || !request->tells || rpc->resent || request->call.attempts > 0)
        told_lose(file);
    else
        told_take(file, request->plan.shard, request->map_version, rpc->reply, rpc->reply_length);
}

/* Whoever was asked can't read what it has: another member of the group may. */
static bool can_go_elsewhere(const struct request *request, int status)
{
    const struct transfer *transfer = request->transfer;
    return status == -EIO && !transfer->write && transfer->op.result == 0 && !request->elsewhere &&
           map_has_replicas(transfer->table->map);
}

static void request_done(struct shard_call *call, int status)
{
    struct request *request = list_item(call, struct request, call);
    struct transfer *transfer = request->transfer;
    if (transfer->write)
        note_told(request, status);
    if (status == SHARD_REDO && transfer->op.result == 0) {
        request_redo(request);
        return;
    }
    if (can_go_elsewhere(request, status)) {
        request->elsewhere = true;
        session_count(transfer->op.session, CLIENT_COUNT_reads_elsewhere, 1);
        request_redo(request);
        return;
    }
    if (status == 0 && !transfer->write && transfer->op.result == 0)
        status = take_reply(request);
    if (status < 0)
        request_failed(request, status);
    else
        request_ended(request);
}

/* ---- one request: its start ---------------------------------------------------- */

/* The one place where a reply's bytes go without a copy: one piece of the caller's memory. */
static void *place_reply(struct rpc_call *rpc, const void *body, uint32_t body_length, uint64_t length)
{
    struct request *request = list_item(rpc, struct request, call.rpc);
    (void)body;
    (void)body_length;
    if (length > request->plan.bytes)
        return NULL;
    return request->packed ? request->packed : request->plan.pieces[0].iov_base;
}

static void fill_payload(struct request *request)
{
    struct rpc_call *rpc = &request->call.rpc;
    const struct planner_request *plan = &request->plan;
    if (!request->packed) {
        rpc->payload = plan->pieces;
        rpc->payload_count = plan->piece_count;
        return;
    }
    pieces_pack(plan->pieces, plan->piece_count, request->packed);
    session_count(request->transfer->op.session, CLIENT_COUNT_bytes_copied, plan->bytes);
    request->payload = (struct iovec){.iov_base = request->packed, .iov_len = plan->bytes};
    rpc->payload = &request->payload;
    rpc->payload_count = 1;
}

/* The request has its buffer, or needs none. */
static void request_send(struct request *request)
{
    struct transfer *transfer = request->transfer;
    struct shard_call *call = &request->call;
    int result = transfer->op.result < 0 ? (int)transfer->op.result : 0;
    if (result < 0) { /* another request failed while this one stood in line */
        request_ended(request);
        return;
    }
    if (request->map_version != transfer->op.session->map->version) { /* likewise, the map changed */
        request_redo(request);
        return;
    }
    result = encode_body(request);
    if (result < 0) {
        request_failed(request, result);
        return;
    }
    if (transfer->write)
        fill_payload(request);
    else
        call->rpc.place = place_reply;
    call->rpc.reply_bytes_max = transfer->write ? 0 : request->plan.bytes;
    call->done = request_done;
    result = shard_call_start(transfer->op.session, call, transfer->table, request->plan.shard);
    if (result < 0)
        request_failed(request, result);
}

static void buffer_ready(struct bufpool_waiter *waiter, void *buffer)
{
    struct request *request = list_item(waiter, struct request, waiter);
    request->packed = buffer;
    request_send(request);
}

static void request_start(struct request *request)
{
    struct transfer *transfer = request->transfer;
    const struct planner_request *plan = &request->plan;
    struct bufpool *buffers;

    if (plan->piece_count == 1) {
        request_send(request);
        return;
    }
    int result = session_buffers(transfer->op.session, &buffers);
    if (result == 0) {
        request->waiter = (struct bufpool_waiter){.length = plan->bytes, .ready = buffer_ready};
        result = bufpool_get(buffers, &request->waiter);
    }
    if (result < 0)
        request_failed(request, result);
}

void request_start_all(struct transfer *transfer, struct planner_request *requests, unsigned round,
                       const struct request *earlier)
{
    for (struct planner_request *at = requests; at; at = at->next) {
        transfer->requests[round]++;
        transfer->bytes += at->bytes;
    }
    for (struct planner_request *at = requests, *next; at; at = next) {
        struct request *request = (struct request *)at;
        next = at->next;
        request->transfer = transfer;
        request->round = round;
        request->map_version = transfer->table->map->version;
        request->elsewhere = earlier && earlier->elsewhere;
        request->call.begun_ns = earlier ? earlier->call.begun_ns : 0;
        request->call.attempts = earlier ? earlier->call.attempts + 1 : 0;
        request_start(request);
    }
}
