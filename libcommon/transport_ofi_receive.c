/* SPDX-License-Identifier: Apache-2.0 */
#include "transport_ofi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "weft_limits.h"

/* A message whose payload is still with the sender. */
struct held {
    struct list_link link; /* in the worker's */
    struct ofi_remote *remote;
    uint64_t cookie;
    unsigned count;
    struct wire_ofi_piece pieces[];
};

/* One fi_read() of a fetch. */
struct read {
    struct ofi_op op;
    struct ofi_stall stall;
    struct ofi_fetch *fetch;
    uint8_t *to;
    struct wire_ofi_piece piece;
};

/* A payload on its way. */
struct ofi_fetch {
    struct ofi_done done;
    struct list_link link; /* in the remote's */
    struct transport_worker *worker;
    struct ofi_remote *remote;
    uint64_t cookie;
    struct ofi_registration memory;
    unsigned left; /* reads that are not over */
    int status;
    unsigned count;
    struct read reads[];
};

static void done_after(struct ofi_done *done)
{
    free(list_item(done, struct ofi_fetch, done));
}

/* ---- messages that came ---------------------------------------------------------------- */

static void refuse(const struct ofi_lane *lane, const char *why)
{
    log_warn("libfabric (%s): refused a message: %s", lane->info->fabric_attr->prov_name, why);
}

static void whole_came(struct ofi_lane *lane, struct ofi_buffer *buffer, const struct wire_ofi_frame *frame,
                       const uint8_t *header, size_t length)
{
    struct transport_worker *worker = lane->worker;
    size_t at = (size_t)(header - buffer->bytes) + frame->header_length;
    if (frame->payload_length)
        at = (at + OFI_DATA_ALIGN - 1) / OFI_DATA_ALIGN * OFI_DATA_ALIGN + frame->payload_length;
    if (at != length) {
        refuse(lane, "it is not as long as it says");
        ofi_buffer_release(buffer);
        return;
    }
    struct transport_message message = {
        .worker = worker,
        .header = header,
        .header_length = frame->header_length,
        .payload_length = frame->payload_length,
        .data = frame->payload_length ? buffer->bytes + at - frame->payload_length : NULL,
        .private = frame->payload_length ? buffer : NULL,
    };
    worker->events->message(worker->arg, &message);
    if (!frame->payload_length)
        ofi_buffer_release(buffer);
}

/* The pieces, when they are together what the frame says. */
static struct held *held_make(const struct wire_ofi_frame *frame, struct ofi_remote *remote)
{
    struct held *held = malloc(sizeof *held + frame->pieces.count * sizeof held->pieces[0]);
    struct wire_reader reader = wire_list_reader(&frame->pieces);
    uint64_t length = 0;
    if (!held)
        return NULL;
    *held = (struct held){.remote = remote, .cookie = frame->cookie, .count = frame->pieces.count};
    for (unsigned i = 0; i < held->count; i++) {
        wire_get_ofi_piece(&reader, &held->pieces[i]);
        length += held->pieces[i].length;
    }
    if (wire_read_all(&reader, "list of pieces") || length != frame->payload_length || !length) {
        free(held);
        return NULL;
    }
    remote->holds++;
    list_push_back(&remote->worker->held, &held->link);
    return held;
}

static void held_free(struct held *held)
{
    list_remove(&held->link);
    free(held);
}

void ofi_messages_drop(struct transport_worker *worker)
{
    list_each(&worker->held, each, after) {
        struct held *held = list_item(each, struct held, link);
        ofi_remote_drop(held->remote);
        held_free(held);
    }
    ofi_orphans_drop(worker);
}

static void open_came(struct ofi_lane *lane, const struct wire_ofi_frame *frame, const uint8_t *header,
                      size_t length, const uint8_t *start)
{
    struct transport_worker *worker = lane->worker;
    struct ofi_remote *remote = ofi_remote_by_id(worker, frame->sender);
    if (!remote || (size_t)(header - start) + frame->header_length != length) {
        refuse(lane, remote ? "it is not as long as it says" : "its sender is not connected");
        return;
    }
    struct held *held = held_make(frame, remote);
    if (!held) {
        refuse(lane, "its pieces are not what it says, or memory is out");
        return;
    }
    struct transport_message message = {
        .worker = worker,
        .header = header,
        .header_length = frame->header_length,
        .payload_length = frame->payload_length,
        .origin = held,
    };
    worker->events->message(worker->arg, &message);
}

void ofi_message_came(struct ofi_lane *lane, struct ofi_buffer *buffer, size_t length)
{
    struct wire_ofi_frame frame;
    struct wire_reader reader = wire_reader_on(buffer->bytes, length);
    wire_get_ofi_frame(&reader, &frame);
    if (reader.bad || frame.header_length > (size_t)(reader.end - reader.at)) {
        refuse(lane, "it has no frame of Weft's");
    } else if (frame.kind == OFI_FRAME_WHOLE) {
        whole_came(lane, buffer, &frame, reader.at, length);
        return;
    } else if (frame.kind == OFI_FRAME_FETCH) {
        open_came(lane, &frame, reader.at, length, buffer->bytes);
    } else if (frame.kind == OFI_FRAME_FETCHED) {
        struct ofi_remote *remote = ofi_remote_by_id(lane->worker, frame.sender);
        if (remote)
            ofi_fetched_came(remote, frame.cookie, frame.status ? err_from_wire((int)frame.status) : 0);
    } else {
        refuse(lane, "its frame is of no known kind");
    }
    ofi_buffer_release(buffer);
}

void ofi_release(const struct transport_message *message)
{
    struct held *held = message->origin;
    if (message->private)
        ofi_buffer_release(message->private);
    if (!held)
        return;
    ofi_send_fetched(held->remote, held->cookie, 0);
    ofi_remote_drop(held->remote);
    held_free(held);
}

/* ---- fetching ------------------------------------------------------------------------------ */

static void fetch_finish(struct ofi_fetch *fetch)
{
    struct ofi_remote *remote = fetch->remote;
    ofi_unregister(&fetch->memory);
    list_remove(&fetch->link);
    ofi_send_fetched(remote, fetch->cookie, fetch->status);
    ofi_done_due(fetch->worker, &fetch->done, fetch->status);
    ofi_remote_drop(remote);
}

static void read_over(struct read *read, int status)
{
    struct ofi_fetch *fetch = read->fetch;
    if (status && !fetch->status)
        fetch->status = status;
    if (!--fetch->left)
        fetch_finish(fetch);
}

void ofi_read_returned(struct ofi_op *op, int status)
{
    op->submitted = false;
    read_over(list_item(op, struct read, op), status);
}

static ssize_t read_submit(struct ofi_stall *stall)
{
    struct read *read = list_item(stall, struct read, stall);
    struct ofi_remote *remote = read->fetch->remote;
    ssize_t status =
        fi_read(remote->lane->ep, read->to, read->piece.length, read->fetch->memory.local, remote->address,
                remote->lane->addresses_are_virtual ? read->piece.address : read->piece.offset,
                read->piece.key, &read->op.context);
    if (!status)
        read->op.submitted = true;
    return status;
}

static void read_failed(struct ofi_stall *stall, int error)
{
    read_over(list_item(stall, struct read, stall), error);
}

void ofi_fetches_drop(struct ofi_remote *remote, int status)
{
    remote->holds++; /* the last fetch lets go of it */
    list_each(&remote->fetching, each, after)
    {
        struct ofi_fetch *fetch = list_item(each, struct ofi_fetch, link);
        fetch->status = status;
        fetch_finish(fetch);
    }
    ofi_remote_drop(remote);
}

static struct ofi_fetch *fetch_make(struct transport_worker *worker, unsigned count, transport_done_fn *done,
                                    void *arg)
{
    struct ofi_fetch *fetch = calloc(1, sizeof *fetch + count * sizeof fetch->reads[0]);
    if (!fetch) {
        err_set(-ENOMEM, "out of memory for a transfer");
        return NULL;
    }
    fetch->worker = worker;
    fetch->done = (struct ofi_done){.done = done, .arg = arg, .after = done_after};
    fetch->count = count;
    list_link_init(&fetch->link);
    return fetch;
}

/* What is not submitted is over at once; the rest tells when it is. */
static void fetch_start(struct ofi_fetch *fetch, const struct held *held, uint8_t *memory)
{
    fetch->left = fetch->count + 1; /* one for this function */
    for (unsigned i = 0; i < fetch->count; i++) {
        struct read *read = &fetch->reads[i];
        *read = (struct read){
            .op.kind = OFI_OP_READ,
            .stall = {.submit = read_submit, .failed = read_failed},
            .fetch = fetch,
            .to = memory,
            .piece = held->pieces[i],
        };
        memory += held->pieces[i].length;
        int error = fetch->status ? fetch->status : ofi_submit(fetch->remote, &read->stall);
        if (error) {
            fetch->status = error;
            fetch->left--;
        }
    }
    if (!--fetch->left)
        fetch_finish(fetch);
}

/* Takes over the hold that the message had on the remote. */
static void fetch(struct ofi_fetch *fetch, const struct held *held, void *memory, size_t length)
{
    struct ofi_remote *remote = fetch->remote = held->remote;
    fetch->cookie = held->cookie;
    fetch->status = remote->is_gone ? -ECONNRESET : 0;
    if (!fetch->status && remote->reads_memory) {
        fetch->status = ofi_remote_read(remote, memory, held->pieces, held->count);
        if (fetch->status != -EPERM) {
            fetch_finish(fetch);
            return;
        }
        remote->reads_memory = false; /* any more: it may have changed its user */
        fetch->status = 0;
    }
    if (!fetch->status && remote->lane->registers_local)
        fetch->status = ofi_register(remote->lane, memory, length, FI_READ, &fetch->memory);
    list_push_back(&remote->fetching, &fetch->link);
    fetch_start(fetch, held, memory);
}

int ofi_receive(const struct transport_message *message, void *memory, transport_done_fn *done, void *arg)
{
    struct transport_worker *worker = message->worker;
    struct held *held = message->origin;
    struct ofi_fetch *new = fetch_make(worker, held ? held->count : 0, done, arg);
    if (!new)
        return -ENOMEM;
    if (!held) {
        if (message->payload_length)
            memcpy(memory, message->data, message->payload_length);
        ofi_release(message);
        ofi_done_due(worker, &new->done, 0);
        return 0;
    }
    fetch(new, held, memory, message->payload_length);
    held_free(held);
    return 0;
}
