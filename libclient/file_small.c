/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files, whose bytes lie with the metadata server (metadata/small.h has the rules). A transfer to or
 * from one is a request to it; where the answer is that the file has spilled, or where what is to be written
 * does not fit, the transfer goes on as any other.
 *
 * What an open or a read has told is good for the time of its lease. Who cuts a file, or makes it spill,
 * waits for the end of all leases. A lease does not keep this session itself from writing, so what it
 * writes to is forgotten first, and what was asked before that is not remembered.
 */
#include "transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attr_cache.h"
#include "err.h"
#include "pieces.h"

/* A request for a transfer. */
struct small_call {
    struct rpc_call rpc;
    struct transfer *transfer;
    uint64_t sent_ns;
    uint64_t writes; /* session->small_writes when it was sent */
    struct attr_ticket ticket; /* of one that changes the file */
    uint8_t body[];
};

enum { BODY_FIXED = 256, PIECE_BYTES = 8 };

/* ---- what is known (locked) ----------------------------------------------- */

void file_small_init(weft_file_t *file)
{
    list_link_init(&file->small.link);
}

void file_small_begin(weft_file_t *file, uint32_t max)
{
    if (max == 0)
        return;
    file->small.state = SMALL_IS;
    file->small.max = max;
    list_push_back(&file->session->small_files, &file->small.link);
}

/* It has spilled. Who writes has to say so before he does it by the layout. */
static void over(weft_file_t *file, bool joined)
{
    file->small.state = joined || !(file->access & WIRE_ACCESS_WRITE) ? SMALL_NOT : SMALL_SPILLED;
    file->small.until_ns = 0;
}

void file_small_over(weft_file_t *file)
{
    if (file->small.state == SMALL_IS)
        over(file, false);
}

void file_small_end(weft_file_t *file)
{
    list_remove(&file->small.link);
    free(file->small.data);
}

void file_small_learn(weft_file_t *file, const struct wire_small *small, uint64_t sent_ns, uint64_t writes)
{
    struct file_small *own = &file->small;
    own->until_ns = 0;
    if (!small->lease_us || own->state != SMALL_IS || writes != file->session->small_writes)
        return;
    if (small->data.length > own->room) {
        uint8_t *bigger = realloc(own->data, small->data.length);
        if (!bigger)
            return;
        own->data = bigger;
        own->room = small->data.length;
    }
    if (small->data.length)
        memcpy(own->data, small->data.data, small->data.length);
    own->length = small->data.length;
    own->until_ns = sent_ns + UINT64_C(1000) * small->lease_us;
}

/* This session is about to write to the file, or has just done so. */
static void forget(weft_session_t *session, uint64_t ino)
{
    session->small_writes++;
    list_each(&session->small_files, link, after)
    {
        weft_file_t *file = list_item(link, struct weft_file, small.link);
        if (file->capability.ino == ino)
            file->small.until_ns = 0;
    }
}

bool file_small_known(const weft_file_t *file, uint64_t *size)
{
    *size = file->small.length;
    return file->small.until_ns && rpc_now_ns() < file->small.until_ns;
}

/* ---- bytes ------------------------------------------------------------------ */

/* Gives the caller what he reads of `size` bytes; returns how many. */
static uint64_t scatter(struct transfer *transfer, const uint8_t *data, uint64_t size)
{
    struct pieces_place place = {.piece = transfer->iov};
    uint64_t count = planner_count_before(transfer->extents, transfer->extent_count, size);
    uint64_t left = count;
    for (size_t i = 0; left > 0; i++) {
        const struct weft_extent *extent = &transfer->extents[i];
        uint64_t length = extent->length < left ? extent->length : left;
        if (length)
            pieces_fill(&place, data + extent->offset, length);
        left -= length;
    }
    return count;
}

/* Whether it can be written as one request to the metadata server. */
static bool fits(const struct transfer *transfer)
{
    if (transfer->gather.chunk_count > 0 || transfer->extent_count > LIMITS_SMALL_PIECES_MAX ||
        transfer->total > transfer->file->small.max)
        return false;
    for (size_t i = 0; i < transfer->extent_count; i++) {
        if (transfer->extents[i].offset + transfer->extents[i].length > transfer->file->small.max)
            return false;
    }
    return true;
}

/* ---- requests (locked) ------------------------------------------------------- */

/* A spill's answer. `sole`: the file was empty, and only this handle writes it, so that it can tell its
 * size when it is closed, as from its open on. */
static void joined(weft_file_t *file, bool sole)
{
    over(file, true);
    if (!sole)
        told_lose(file);
}

/* What the answer means: 0: the transfer is done, *count; 1: it goes on by the layout. */
static int take_answer(const struct small_call *call, uint64_t *count)
{
    struct transfer *transfer = call->transfer;
    weft_file_t *file = transfer->file;
    const struct rpc_call *rpc = &call->rpc;
    union {
        struct wire_small_read_reply read;
        struct wire_small_write_reply write;
        struct wire_spill_reply spill;
    } reply;
    int error;
    switch (rpc->operation) {
    case WIRE_OP_small_read:
        error = wire_decode_small_read_reply(rpc->reply, rpc->reply_length, &reply.read);
        if (error)
            return error;
        if (reply.read.spilled) {
            over(file, false);
            return 1;
        }
        file_small_learn(file, &reply.read.small, call->sent_ns, call->writes);
        *count = scatter(transfer, reply.read.small.data.data, reply.read.small.data.length);
        return 0;
    case WIRE_OP_small_write:
        error = wire_decode_small_write_reply(rpc->reply, rpc->reply_length, &reply.write);
        if (error)
            return error;
        if (!reply.write.spilled) {
            *count = transfer->total;
            return 0;
        }
        joined(file, false);
        return 1;
    default:
        error = wire_decode_spill_reply(rpc->reply, rpc->reply_length, &reply.spill);
        if (error)
            return error;
        joined(file, reply.spill.sole);
        return 1;
    }
}

/* What a write tells of the file's attributes. */
static void know_after(const struct small_call *call)
{
    const struct rpc_call *rpc = &call->rpc;
    weft_session_t *session = call->transfer->op.session;
    struct wire_small_write_reply reply;
    struct weft_attr attr;
    if (!session->attr_cache || rpc->operation == WIRE_OP_small_read)
        return;
    bool is_told = rpc->operation == WIRE_OP_small_write && rpc->status == 0 &&
                   wire_decode_small_write_reply(rpc->reply, rpc->reply_length, &reply) == 0 &&
                   reply.delegation.given;
    if (is_told)
        attr_from_wire(&reply.attr, &attr);
    attr_write_end(session, call->transfer->file->capability.ino, &call->ticket,
                   is_told ? &reply.delegation : NULL, &attr);
}

static void answered(struct rpc_call *rpc)
{
    struct small_call *call = list_item(rpc, struct small_call, rpc);
    struct transfer *transfer = call->transfer;
    uint64_t count = 0;
    int result = rpc->status;
    if (rpc->operation == WIRE_OP_small_write)
        forget(transfer->op.session, transfer->file->capability.ino);
    know_after(call);
    if (result == 0)
        result = take_answer(call, &count);
    free(call);
    if (result == 1)
        result = transfer_go(transfer);
    else if (result == 0)
        op_complete(&transfer->op, (ssize_t)count);
    if (result < 0) {
        op_fail(&transfer->op, client_about(result, transfer->file->path));
        op_complete(&transfer->op, 0);
    }
}

static ssize_t encode_write(const struct transfer *transfer, uint8_t *body, size_t room, uint8_t *data)
{
    const weft_file_t *file = transfer->file;
    uint8_t pieces[LIMITS_SMALL_PIECES_MAX * PIECE_BYTES];
    struct wire_writer writer = wire_writer_on(pieces, sizeof pieces);
    for (size_t i = 0; i < transfer->extent_count; i++) {
        const struct weft_extent *extent = &transfer->extents[i];
        wire_put_small_piece(&writer, &(struct wire_small_piece){.offset = (uint32_t)extent->offset,
                                                                 .length = (uint32_t)extent->length});
    }
    pieces_pack(transfer->iov, transfer->iov_count, data);
    return wire_encode_small_write(
        body, room,
        &(struct wire_small_write){.capability = file->capability,
                                   .handle = file->handle,
                                   .pieces = wire_list_of(&writer, (uint32_t)transfer->extent_count),
                                   .data = {.data = data, .length = (uint32_t)transfer->total}});
}

static ssize_t encode_spill(const weft_file_t *file, uint8_t *body, size_t room)
{
    return wire_encode_spill(body, room,
                             &(struct wire_spill){.capability = file->capability, .handle = file->handle});
}

static ssize_t encode(const struct transfer *transfer, uint16_t operation, uint8_t *body, size_t room,
                      uint8_t *data)
{
    const weft_file_t *file = transfer->file;
    if (operation == WIRE_OP_small_write)
        return encode_write(transfer, body, room, data);
    if (operation == WIRE_OP_small_read)
        return wire_encode_small_read(
            body, room, &(struct wire_small_read){.capability = file->capability, .handle = file->handle});
    return encode_spill(file, body, room);
}

static int ask(struct transfer *transfer, uint16_t operation)
{
    weft_session_t *session = transfer->op.session;
    struct rpc_connection *connection;
    size_t data = operation == WIRE_OP_small_write ? transfer->total : 0;
    size_t room = BODY_FIXED + 2 * data + (data ? transfer->extent_count * PIECE_BYTES : 0);
    struct small_call *call = calloc(1, sizeof *call + room);
    if (!call)
        return err_set(-ENOMEM, "out of memory for a transfer");
    /* The data is encoded from behind the body into it. */
    ssize_t length = encode(transfer, operation, call->body, room - data, call->body + room - data);
    int result = length < 0 ? (int)length : session_metadata(session, &connection);
    if (result < 0) {
        free(call);
        return result;
    }
    if (operation == WIRE_OP_small_write)
        forget(session, transfer->file->capability.ino);
    call->transfer = transfer;
    call->sent_ns = rpc_now_ns();
    call->writes = session->small_writes;
    call->rpc = (struct rpc_call){
        .operation = operation, .body = call->body, .body_length = (uint32_t)length, .done = answered};
    if (operation != WIRE_OP_small_read)
        attr_write_begin(session, transfer->file->capability.ino, &call->ticket);
    result = rpc_call_start(connection, &call->rpc);
    if (result < 0) {
        if (operation != WIRE_OP_small_read)
            attr_write_end(session, transfer->file->capability.ino, &call->ticket, NULL, NULL);
        free(call);
        return result;
    }
    session_count(session, CLIENT_COUNT_metadata_requests, 1);
    return 1;
}

int file_small_transfer(struct transfer *transfer)
{
    weft_file_t *file = transfer->file;
    uint64_t size;
    if (file->small.state == SMALL_NOT || transfer->total == 0)
        return 0;
    if (transfer->write)
        return ask(transfer,
                   file->small.state == SMALL_IS && fits(transfer) ? WIRE_OP_small_write : WIRE_OP_spill);
    if (file->small.state != SMALL_IS)
        return 0;
    if (!file_small_known(file, &size))
        return ask(transfer, WIRE_OP_small_read);
    session_count(transfer->op.session, CLIENT_COUNT_small_hits, 1);
    op_complete(&transfer->op, (ssize_t)scatter(transfer, file->small.data, size));
    return 1;
}

/* ---- the whole file ------------------------------------------------------------ */

int file_small_spill(weft_file_t *file)
{
    uint8_t body[BODY_FIXED];
    struct op_call call;
    struct wire_spill_reply reply;
    session_lock(file->session);
    bool is_small = file->small.state != SMALL_NOT;
    session_unlock(file->session);
    if (!is_small)
        return 0;
    struct attr_change change;
    attr_change_begin(file->session, &change, "", NULL, file->capability.ino);
    int result =
        op_call_metadata(&call, file->session, WIRE_OP_spill, body, encode_spill(file, body, sizeof body));
    attr_change_end(file->session, &change);
    if (result == 0)
        result = wire_decode_spill_reply(call.reply, call.reply_length, &reply);
    op_call_free(&call);
    session_lock(file->session);
    if (result == 0)
        joined(file, reply.sole);
    session_unlock(file->session);
    return result;
}
