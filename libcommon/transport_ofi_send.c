/* SPDX-License-Identifier: Apache-2.0 */
#include "transport_ofi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "weft_limits.h"

/* A message under way. It outlives its peer while the provider holds it. */
struct ofi_send {
    struct ofi_op op;
    struct ofi_stall stall;
    struct ofi_done done;
    struct list_link link_in_lane;
    struct list_link link;       /* in the peer's sends, or the lane's free ones */
    struct ofi_lane *lane;       /* NULL: closed */
    struct ofi_remote *remote;   /* valid while it stands in line */
    struct transport_peer *peer; /* NULL: ended, or nobody's */
    struct table_link fetch;     /* by its cookie, while its payload may be fetched */
    bool lies_open;
    bool callback_is_due;
    unsigned piece_count;
    struct ofi_registration pieces[OFI_PIECES_MAX];
    void *gathered; /* a payload of too many pieces, put together */
    struct fid_mr *mr;
    size_t length;
    uint8_t bytes[];
};

/* ---- their lives -------------------------------------------------------------------- */

static void send_free(struct ofi_send *send)
{
    list_remove(&send->link_in_lane);
    list_remove(&send->link);
    if (send->mr)
        fi_close(&send->mr->fid);
    free(send);
}

/* Used again when nobody has anything of it any more. */
static void send_settle(struct ofi_send *send)
{
    if (send->peer || send->op.submitted || send->stall.waits || send->callback_is_due)
        return;
    if (send->lane)
        list_push_front(&send->lane->sends_free, &send->link);
    else
        send_free(send);
}

static void send_after(struct ofi_done *done)
{
    struct ofi_send *send = list_item(done, struct ofi_send, done);
    send->callback_is_due = false;
    send_settle(send);
}

static ssize_t send_submit(struct ofi_stall *stall)
{
    struct ofi_send *send = list_item(stall, struct ofi_send, stall);
    struct ofi_lane *lane = send->lane;
    ssize_t status = fi_send(lane->ep, send->bytes, send->length, send->mr ? fi_mr_desc(send->mr) : NULL,
                             send->remote->address, &send->op.context);
    if (status)
        return status;
    send->op.submitted = true;
    lane->sends_under_way++;
    return 0;
}

static void send_finish(struct ofi_send *send, int status);

static void send_failed(struct ofi_stall *stall, int error)
{
    struct ofi_send *send = list_item(stall, struct ofi_send, stall);
    if (send->peer)
        send_finish(send, error);
    else
        send_settle(send);
}

static struct ofi_send *send_new(struct ofi_lane *lane)
{
    struct list_link *link = list_pop(&lane->sends_free);
    if (link)
        return list_item(link, struct ofi_send, link);
    struct ofi_send *send = calloc(1, sizeof *send + lane->message_bytes_max);
    if (!send) {
        err_set(-ENOMEM, "out of memory for a message");
        return NULL;
    }
    send->op.kind = OFI_OP_SEND;
    send->stall.submit = send_submit;
    send->stall.failed = send_failed;
    send->done.after = send_after;
    send->lane = lane;
    list_link_init(&send->link);
    list_push_back(&lane->sends, &send->link_in_lane);
    if (lane->registers_local &&
        ofi_mr_open(lane, send->bytes, lane->message_bytes_max, FI_SEND, &send->mr)) {
        send_free(send);
        return NULL;
    }
    return send;
}

/* Nobody can read the payload any more. */
static void payload_withdraw(struct ofi_send *send)
{
    if (send->lies_open)
        table_remove(&send->lane->worker->fetches, &send->fetch);
    send->lies_open = false;
    for (unsigned i = 0; i < send->piece_count; i++)
        ofi_unregister(&send->pieces[i]);
    send->piece_count = 0;
    free(send->gathered);
    send->gathered = NULL;
}

/* The peer's part is over: its callback is due. */
static void send_finish(struct ofi_send *send, int status)
{
    payload_withdraw(send);
    list_remove(&send->link);
    send->peer = NULL;
    send->callback_is_due = true;
    ofi_done_due(send->lane->worker, &send->done, status);
}

void ofi_send_returned(struct ofi_op *op, int status)
{
    struct ofi_send *send = list_item(op, struct ofi_send, op);
    op->submitted = false;
    send->lane->sends_under_way--;
    if (send->peer && (status || !send->lies_open))
        send_finish(send, status);
    else
        send_settle(send);
}

void ofi_sends_end(struct transport_peer *peer)
{
    list_each(&peer->sends, each, after) send_finish(list_item(each, struct ofi_send, link), -ECONNRESET);
}

bool ofi_sends_lie_open(const struct transport_peer *peer)
{
    list_each(&peer->sends, each, after) if (list_item(each, struct ofi_send, link)->lies_open) return true;
    return false;
}

void ofi_sends_drop(struct ofi_lane *lane)
{
    list_each(&lane->sends, each, after)
    {
        struct ofi_send *send = list_item(each, struct ofi_send, link_in_lane);
        send->op.submitted = false;
        if (!send->callback_is_due) {
            send_free(send);
            continue;
        }
        if (send->mr)
            fi_close(&send->mr->fid);
        send->mr = NULL;
        send->lane = NULL;
        list_remove(each);
    }
    lane->sends_under_way = 0;
}

/* ---- frames --------------------------------------------------------------------------- */

/* Puts the frame and the header in front; returns where the payload begins, or 0 when it does not fit. */
static size_t frame_write(struct ofi_send *send, struct wire_ofi_frame *frame, const void *header,
                          size_t header_length)
{
    struct wire_writer writer = wire_writer_on(send->bytes, send->lane->message_bytes_max - header_length);
    frame->sender = send->lane->worker->id;
    frame->header_length = (uint32_t)header_length;
    wire_put_ofi_frame(&writer, frame);
    ssize_t length = wire_written(&writer);
    if (length < 0)
        return 0;
    if (header_length)
        memcpy(send->bytes + length, header, header_length);
    send->length = (size_t)length + header_length;
    return (send->length + OFI_DATA_ALIGN - 1) / OFI_DATA_ALIGN * OFI_DATA_ALIGN;
}

static int frame_is_too_long(void)
{
    return err_set(-EMSGSIZE, "a message is too long for libfabric's lane");
}

static int write_whole(struct ofi_send *send, const void *header, size_t header_length,
                       const struct iovec *payload, size_t payload_count, size_t payload_length)
{
    struct wire_ofi_frame frame = {.kind = OFI_FRAME_WHOLE, .payload_length = payload_length};
    size_t at = frame_write(send, &frame, header, header_length);
    if (!at)
        return frame_is_too_long();
    for (size_t i = 0; i < payload_count; at += payload[i++].iov_len)
        if (payload[i].iov_len)
            memcpy(send->bytes + at, payload[i].iov_base, payload[i].iov_len);
    if (payload_length)
        send->length = at;
    return 0;
}

static int piece_open(struct ofi_send *send, struct wire_writer *writer, void *start, size_t length)
{
    struct ofi_registration *registration = &send->pieces[send->piece_count];
    int error = ofi_register(send->lane, start, length, FI_REMOTE_READ, registration);
    if (error)
        return error;
    send->piece_count++;
    struct wire_ofi_piece piece = {
        .address = (uint64_t)(uintptr_t)start,
        .offset = registration->offset,
        .key = registration->key,
        .length = length,
    };
    wire_put_ofi_piece(writer, &piece);
    return 0;
}

/* More pieces than a frame names become one. */
static int payload_gather(struct ofi_send *send, const struct iovec *payload, size_t count, size_t length)
{
    uint8_t *at = send->gathered = malloc(length);
    if (!at)
        return err_set(-ENOMEM, "out of memory for a message");
    for (size_t i = 0; i < count; at += payload[i++].iov_len)
        if (payload[i].iov_len)
            memcpy(at, payload[i].iov_base, payload[i].iov_len);
    return 0;
}

static int write_open(struct ofi_send *send, const void *header, size_t header_length,
                      const struct iovec *payload, size_t payload_count, size_t payload_length)
{
    struct transport_worker *worker = send->lane->worker;
    uint8_t encoded[OFI_PIECES_MAX * 32u];
    struct wire_writer writer = wire_writer_on(encoded, sizeof encoded);
    int error = 0;
    if (payload_count > OFI_PIECES_MAX) {
        error = payload_gather(send, payload, payload_count, payload_length);
        if (!error)
            error = piece_open(send, &writer, send->gathered, payload_length);
    } else {
        for (size_t i = 0; i < payload_count && !error; i++)
            if (payload[i].iov_len)
                error = piece_open(send, &writer, payload[i].iov_base, payload[i].iov_len);
    }
    struct wire_ofi_frame frame = {
        .kind = OFI_FRAME_FETCH,
        .cookie = ++worker->next_cookie,
        .payload_length = payload_length,
        .pieces = wire_list_of(&writer, send->piece_count),
    };
    if (!error && !frame_write(send, &frame, header, header_length))
        error = frame_is_too_long();
    if (!error && table_add(&worker->fetches, &send->fetch, frame.cookie))
        error = err_set(-ENOMEM, "out of memory for a message");
    if (error) {
        payload_withdraw(send);
        return error;
    }
    send->lies_open = true;
    return 0;
}

int ofi_send(struct transport_peer *peer, const void *header, size_t header_length,
             const struct iovec *payload, size_t payload_count, transport_done_fn *done, void *arg)
{
    struct ofi_remote *remote = peer->remote;
    struct ofi_lane *lane = remote->lane;
    size_t length = 0;
    if (header_length > LIMITS_HEADER_MAX)
        return err_set(-EMSGSIZE, "a header of %zu bytes is too long", header_length);
    if (remote->is_gone)
        return err_set(-ECONNRESET, "libfabric: the connection is over");
    struct ofi_send *send = send_new(lane);
    if (!send)
        return -ENOMEM;
    for (size_t i = 0; i < payload_count; i++)
        length += payload[i].iov_len;
    bool whole = 64 + header_length + OFI_DATA_ALIGN + length <= lane->message_bytes_max;
    int error = whole ? write_whole(send, header, header_length, payload, payload_count, length)
                      : write_open(send, header, header_length, payload, payload_count, length);
    send->remote = remote;
    send->done.done = done;
    send->done.arg = arg;
    if (!error)
        error = ofi_submit(remote, &send->stall);
    if (error) {
        payload_withdraw(send);
        send_settle(send);
        return error;
    }
    send->peer = peer;
    list_push_back(&peer->sends, &send->link);
    return 0;
}

/* ---- fetched ------------------------------------------------------------------------------ */

void ofi_send_fetched(struct ofi_remote *remote, uint64_t cookie, int status)
{
    struct wire_ofi_frame frame = {
        .kind = OFI_FRAME_FETCHED,
        .cookie = cookie,
        .status = (uint32_t)-status,
    };
    if (remote->is_gone)
        return;
    struct ofi_send *send = send_new(remote->lane);
    int error = -ENOMEM;
    if (send) {
        send->remote = remote;
        error = frame_write(send, &frame, NULL, 0) ? ofi_submit(remote, &send->stall) : frame_is_too_long();
        if (error)
            send_settle(send);
    }
    /* The sender would wait for it for ever. */
    if (error)
        ofi_remote_end(remote, error);
}

void ofi_fetched_came(struct ofi_remote *from, uint64_t cookie, int status)
{
    struct table_link *link = table_find(&from->worker->fetches, cookie);
    struct ofi_send *send = link ? table_item(link, struct ofi_send, fetch) : NULL;
    if (send && send->remote == from)
        send_finish(send, status);
}
