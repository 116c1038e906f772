/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing. A transfer goes in rounds of requests, each planned when its
 * turn comes, a few of them under way at a time:
 *
 *     transfer_start -> transfer_advance -> round_start -> request_start
 *                             ^                                |  (the rpc)
 *                             +------- request_ended <- request_done
 *
 * All of it runs with the session's lock held, in whichever thread drives.
 */
#include "client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "pieces.h"

/* Rounds under way: one at the servers while the next one is on its way. */
#define ROUNDS_MAX        2u
/* Memory pieces of one round: a MiB of bookkeeping at most. */
#define ROUND_PIECES_MAX  65536u
/* Extents of a request whose message needs no memory of its own. */
#define BODY_EXTENTS_FEW  8u
#define BODY_EXTENT_BYTES 16u
#define BODY_FIXED_BYTES  96u

struct transfer {
    struct weft_op op;
    weft_file_t *file;
    bool write;
    bool planned; /* no more rounds to come */
    bool planning;
    struct iovec *own_iov; /* copies, for an asynchronous one */
    struct weft_extent *own_extents;
    const struct iovec *iov;
    const struct weft_extent *extents;
    size_t iov_count, extent_count;
    uint64_t total;
    struct planner planner;
    struct planner_table *table; /* a reference of ours; the planner's too */
    unsigned rounds;
    unsigned requests[ROUNDS_MAX]; /* not ended yet, of each round under way */
    uint64_t missing_end;          /* of the last byte that a read did not find, in the file; 0: none */
    uint64_t present_end;          /* and of the last one that it did */
    struct fan fan;
};

struct request {
    struct planner_request plan; /* first: the planner allocates it */
    struct shard_call call;
    struct transfer *transfer;
    unsigned round;
    uint64_t map_version;         /* that it was planned by */
    struct bufpool_waiter waiter; /* for a buffer */
    void *packed;                 /* from the session's pool; NULL: the pieces themselves travel */
    uint8_t *body;
    uint8_t body_few[BODY_FIXED_BYTES + BODY_EXTENTS_FEW * BODY_EXTENT_BYTES];
    struct iovec payload;
};

static const struct planner_limits limits = {
    .bytes_max = LIMITS_IO_BYTES_MAX,
    .extents_max = LIMITS_EXTENTS_MAX,
    .pieces_max = ROUND_PIECES_MAX,
};

static void transfer_advance(struct transfer *transfer);
static void request_start(struct request *request);

/* From here on the transfer is planned by the session's current map. */
static int transfer_table_update(struct transfer *transfer)
{
    struct planner_table *table;
    int result = file_table(transfer->file, &table);
    if (result < 0 || table == transfer->table)
        return result;
    result = planner_table_set(&transfer->planner, table);
    if (result < 0)
        return result;
    planner_table_unref(transfer->table);
    transfer->table = planner_table_ref(table);
    return 0;
}

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

static ssize_t encode_request(const struct request *request, const struct wire_list *extents, size_t room)
{
    const struct transfer *transfer = request->transfer;
    if (transfer->write) {
        struct wire_write wire = {
            .capability = transfer->file->capability,
            .map_version = transfer->table->map->version,
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

/* Encodes the request's body and has the call point to it. */
static int encode_body(struct request *request)
{
    uint8_t few[BODY_EXTENTS_FEW * BODY_EXTENT_BYTES], *list = few;
    size_t list_room = sizeof few, body_room = sizeof request->body_few;

    if (request->plan.extent_count > BODY_EXTENTS_FEW) {
        list_room = (size_t)request->plan.extent_count * BODY_EXTENT_BYTES;
        body_room = BODY_FIXED_BYTES + list_room;
        list = malloc(list_room);
        uint8_t *body = malloc(body_room);
        if (!list || !body) {
            free(list);
            free(body);
            return err_set(-ENOMEM, "out of memory for a request of %u extents", request->plan.extent_count);
        }
        request->body = body;
    } else {
        request->body = request->body_few;
    }
    struct wire_writer writer = wire_writer_on(list, list_room);
    ssize_t length = encode_extents(&request->plan, &writer);
    if (length >= 0) {
        struct wire_list extents = wire_list_of(&writer, request->plan.extent_count);
        length = encode_request(request, &extents, body_room);
    }
    if (list != few)
        free(list);
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

/* The bytes of this request go by another map now: they become requests of their own, in
 * the same round. A request is within the limits, so one round takes all of it. */
static int request_replan(struct request *request, struct planner_request **requests)
{
    const struct planner_request *plan = &request->plan;
    struct transfer *transfer = request->transfer;
    struct planner planner;
    int result = transfer_table_update(transfer);
    if (result < 0)
        return result;
    struct weft_extent *extents = malloc(plan->extent_count * sizeof *extents);
    if (!extents)
        return err_set(-ENOMEM, "out of memory for a plan of %u extents", plan->extent_count);
    for (uint32_t i = 0; i < plan->extent_count; i++)
        extents[i] = (struct weft_extent){plan->extents[i].offset, plan->extents[i].length};
    result = planner_open(&planner, transfer->table, plan->pieces, plan->piece_count, extents,
                          plan->extent_count, &limits, sizeof(struct request));
    if (result == 0) {
        result = planner_round(&planner, requests);
        planner_close(&planner);
    }
    free(extents);
    return result;
}

/* Starts planned requests as part of round `round`. */
static void requests_start(struct transfer *transfer, struct planner_request *requests, unsigned round,
                           const struct request *earlier)
{
    for (struct planner_request *at = requests; at; at = at->next)
        transfer->requests[round]++;
    for (struct planner_request *at = requests, *next; at; at = next) {
        struct request *request = (struct request *)at;
        next = at->next;
        request->transfer = transfer;
        request->round = round;
        request->map_version = transfer->table->map->version;
        request->call.begun_ns = earlier ? earlier->call.begun_ns : 0;
        request->call.attempts = earlier ? earlier->call.attempts + 1 : 0;
        request_start(request);
    }
}

static void request_redo(struct request *request)
{
    struct planner_request *requests;
    request_let_go(request);
    int result = request_replan(request, &requests);
    if (result < 0) {
        request_failed(request, result);
        return;
    }
    requests_start(request->transfer, requests, request->round, request);
    request_ended(request);
}

static void request_done(struct shard_call *call, int status)
{
    struct request *request = list_item(call, struct request, call);
    struct transfer *transfer = request->transfer;
    if (status == SHARD_REDO && transfer->op.result == 0) {
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
    call->rpc.operation = transfer->write ? WIRE_OP_write : WIRE_OP_read;
    if (transfer->write)
        fill_payload(request);
    else
        call->rpc.place = place_reply;
    call->rpc.reply_bytes_max = transfer->write ? 0 : request->plan.bytes;
    call->done = request_done;
    if (call->begun_ns == 0)
        call->begun_ns = rpc_now_ns();
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

    if (plan->piece_count == 1 || (transfer->write && pieces_sendable(plan->pieces, plan->piece_count))) {
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

/* ---- rounds -------------------------------------------------------------------- */

/* Plans the next round by the newest map, and starts it. */
static int round_start(struct transfer *transfer)
{
    struct planner_request *requests;
    int result = transfer_table_update(transfer);
    if (result < 0)
        return result;
    result = planner_round(&transfer->planner, &requests);
    if (result < 0)
        return result;
    if (!requests) {
        transfer->planned = true;
        return 0;
    }
    unsigned round = transfer->requests[0] == 0 ? 0 : 1;
    transfer->rounds++;
    session_count(transfer->op.session, CLIENT_COUNT_rounds, 1);
    requests_start(transfer, requests, round, NULL);
    return 0;
}

static void transfer_end(struct transfer *transfer, uint64_t count)
{
    planner_close(&transfer->planner);
    planner_table_unref(transfer->table);
    transfer->table = NULL;
    op_complete(&transfer->op, (ssize_t)count);
}

static void size_asked(struct fan *fan, int status)
{
    struct transfer *transfer = fan->arg;
    if (status < 0) {
        client_about(status, transfer->file->path);
        op_fail(&transfer->op, status);
    }
    transfer_end(transfer, planner_count_before(transfer->extents, transfer->extent_count, fan->end));
}

/* All rounds are over. Bytes that were not there are a hole when something lies behind them; else
 * only the exact size tells a hole from the end of the file. */
static void transfer_conclude(struct transfer *transfer)
{
    if (transfer->op.result < 0 || transfer->missing_end <= transfer->present_end) {
        transfer_end(transfer, transfer->total);
        return;
    }
    transfer->fan = (struct fan){
        .session = transfer->op.session,
        .layout = transfer->file->layout,
        .capability = transfer->file->capability,
        .operation = WIRE_OP_object_stat,
        .done = size_asked,
        .arg = transfer,
    };
    session_count(transfer->op.session, CLIENT_COUNT_sizes_asked, 1);
    int result = fan_start(&transfer->fan);
    if (result < 0) {
        op_fail(&transfer->op, client_about(result, transfer->file->path));
        transfer_end(transfer, 0);
    }
}

static void transfer_advance(struct transfer *transfer)
{
    if (transfer->planning) /* a request ended before its round was fully started */
        return;
    transfer->planning = true;
    while (!transfer->planned && transfer->op.result == 0 && transfer->rounds < ROUNDS_MAX) {
        int result = round_start(transfer);
        if (result < 0)
            op_fail(&transfer->op, client_about(result, transfer->file->path));
    }
    transfer->planning = false;
    if (transfer->rounds == 0)
        transfer_conclude(transfer);
}

/* ---- the calls ------------------------------------------------------------------ */

/* Begins a transfer whose lists are set. Nothing is left of it after a failure. */
static int transfer_start(struct transfer *transfer, weft_file_t *file, bool write,
                          void (*release)(struct weft_op *op))
{
    weft_session_t *session = file->session;
    op_init(&transfer->op, session, release);
    transfer->file = file;
    transfer->write = write;
    int result = file_allows(file, write ? WIRE_ACCESS_WRITE : WIRE_ACCESS_READ);
    if (result == 0)
        result = planner_check(transfer->iov, transfer->iov_count, transfer->extents, transfer->extent_count,
                               &transfer->total);
    if (result < 0)
        return client_about(result, file->path);

    session_lock(session);
    struct planner_table *table;
    result = file_table(file, &table);
    if (result == 0)
        result = planner_open(&transfer->planner, table, transfer->iov, transfer->iov_count,
                              transfer->extents, transfer->extent_count, &limits, sizeof(struct request));
    if (result == 0) {
        transfer->table = planner_table_ref(table);
        session_count(session, CLIENT_COUNT_transfers, 1);
        session_count(session, write ? CLIENT_COUNT_bytes_written : CLIENT_COUNT_bytes_read, transfer->total);
        if (write && transfer->total > 0)
            file->wrote = true;
        transfer_advance(transfer);
    }
    session_unlock(session);
    return client_about(result, file->path);
}

static ssize_t transfer_blocking(weft_file_t *file, bool write, const struct iovec *iov, size_t iov_count,
                                 const struct weft_extent *extents, size_t extent_count)
{
    struct transfer transfer = {
        .iov = iov, .iov_count = iov_count, .extents = extents, .extent_count = extent_count};
    int result = file_check(file);
    if (result == 0)
        result = transfer_start(&transfer, file, write, NULL);
    return result < 0 ? result : op_wait(&transfer.op);
}

/* One run of the file. */
static ssize_t transfer_run(weft_file_t *file, bool write, const struct iovec *iov, size_t iov_count,
                            uint64_t offset)
{
    struct weft_extent extent = {.offset = offset};
    for (size_t i = 0; iov && i < iov_count; i++) {
        if (__builtin_add_overflow(extent.length, iov[i].iov_len, &extent.length))
            return err_set(-EINVAL, "the memory pieces have more bytes together than a call can transfer");
    }
    return transfer_blocking(file, write, iov, iov_count, &extent, 1);
}

ssize_t weft_file_read(weft_file_t *file, void *buffer, size_t length, uint64_t offset)
{
    struct iovec iov = {.iov_base = buffer, .iov_len = length};
    return client_result(__func__, transfer_run(file, false, &iov, 1, offset));
}

ssize_t weft_file_write(weft_file_t *file, const void *buffer, size_t length, uint64_t offset)
{
    struct iovec iov = {.iov_base = (void *)buffer, .iov_len = length};
    return client_result(__func__, transfer_run(file, true, &iov, 1, offset));
}

ssize_t weft_file_readv(weft_file_t *file, const struct iovec *iov, size_t iov_count, uint64_t offset)
{
    return client_result(__func__, transfer_run(file, false, iov, iov_count, offset));
}

ssize_t weft_file_writev(weft_file_t *file, const struct iovec *iov, size_t iov_count, uint64_t offset)
{
    return client_result(__func__, transfer_run(file, true, iov, iov_count, offset));
}

ssize_t weft_file_read_list(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                            const struct weft_extent *extents, size_t extent_count)
{
    return client_result(__func__, transfer_blocking(file, false, iov, iov_count, extents, extent_count));
}

ssize_t weft_file_write_list(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                             const struct weft_extent *extents, size_t extent_count)
{
    return client_result(__func__, transfer_blocking(file, true, iov, iov_count, extents, extent_count));
}

/* ---- the asynchronous forms ------------------------------------------------------ */

static void transfer_release(struct weft_op *op)
{
    struct transfer *transfer = list_item(op, struct transfer, op);
    free(transfer->own_iov);
    free(transfer->own_extents);
    free(transfer);
}

static int copy_lists(struct transfer *transfer, const struct iovec *iov, size_t iov_count,
                      const struct weft_extent *extents, size_t extent_count)
{
    if ((iov_count && !iov) || (extent_count && !extents))
        return err_set(-EINVAL, "a list is NULL but its count is not 0");
    transfer->own_iov = calloc(iov_count ? iov_count : 1, sizeof *iov);
    transfer->own_extents = calloc(extent_count ? extent_count : 1, sizeof *extents);
    if (!transfer->own_iov || !transfer->own_extents)
        return err_set(-ENOMEM, "out of memory for the lists of a transfer");
    if (iov_count)
        memcpy(transfer->own_iov, iov, iov_count * sizeof *iov);
    if (extent_count)
        memcpy(transfer->own_extents, extents, extent_count * sizeof *extents);
    transfer->iov = transfer->own_iov;
    transfer->iov_count = iov_count;
    transfer->extents = transfer->own_extents;
    transfer->extent_count = extent_count;
    return 0;
}

static int transfer_async(weft_file_t *file, bool write, const struct iovec *iov, size_t iov_count,
                          const struct weft_extent *extents, size_t extent_count, weft_op_t **op)
{
    int result = file_check(file);
    if (result < 0)
        return result;
    if (!op)
        return err_set(-EINVAL, "there is no place for the operation (NULL)");
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer)
        return err_set(-ENOMEM, "out of memory for a transfer");
    result = copy_lists(transfer, iov, iov_count, extents, extent_count);
    if (result == 0)
        result = transfer_start(transfer, file, write, transfer_release);
    if (result < 0) {
        transfer_release(&transfer->op);
        return result;
    }
    *op = &transfer->op;
    return 0;
}

int weft_file_read_list_async(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                              const struct weft_extent *extents, size_t extent_count, weft_op_t **op)
{
    return (int)client_result(__func__,
                              transfer_async(file, false, iov, iov_count, extents, extent_count, op));
}

int weft_file_write_list_async(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                               const struct weft_extent *extents, size_t extent_count, weft_op_t **op)
{
    return (int)client_result(__func__,
                              transfer_async(file, true, iov, iov_count, extents, extent_count, op));
}
