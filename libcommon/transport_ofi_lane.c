/* SPDX-License-Identifier: Apache-2.0 */
#include "transport_ofi.h"

#include <errno.h>
#include <stdlib.h>

#include "err.h"
#include "log.h"
#include "weft_limits.h"

/* Ready for messages at any time; a burst beyond that waits with the provider. */
#define BUFFERS           64u
/* With those that are held because their payload is wanted later. */
#define BUFFERS_MAX       4096u
/* As much as the common providers send without asking first (16 KiB for ofi_rxm). */
#define MESSAGE_BYTES_MAX 16384u
#define MESSAGE_BYTES_MIN (OFI_FRAME_BYTES_MAX + LIMITS_HEADER_MAX)
#define BATCH             16
#define TURN_MAX          256u

/* ---- errors ------------------------------------------------------------------------- */

int ofi_error_of(ssize_t status)
{
    if (status >= 0)
        return 0;
    switch (-status) {
    case FI_ECANCELED:
    case FI_ENOTCONN:
    case FI_ECONNABORTED:
    case FI_ECONNREFUSED:
    case FI_ESHUTDOWN:
        return -ECONNRESET;
    case FI_ETRUNC:
    case FI_ETOOSMALL:
        return -EMSGSIZE;
    default:
        return -status < FI_ERRNO_OFFSET ? (int)status : -EIO;
    }
}

int ofi_fail(ssize_t status, const char *what)
{
    return err_set(ofi_error_of(status), "libfabric: %s: %s", what, ofi_library_error((int)-status));
}

/* ---- buffers ------------------------------------------------------------------------ */

static void buffer_free(struct ofi_buffer *buffer)
{
    list_remove(&buffer->link);
    list_remove(&buffer->queue);
    if (buffer->mr)
        fi_close(&buffer->mr->fid);
    if (buffer->lane)
        buffer->lane->buffers_made--;
    free(buffer);
}

static void buffer_post(struct ofi_buffer *buffer)
{
    struct ofi_lane *lane = buffer->lane;
    list_remove(&buffer->queue);
    ssize_t status = ofi_guard_take(lane->guard);
    if (!status) {
        status = fi_recv(lane->ep, buffer->bytes, lane->message_bytes_max,
                         buffer->mr ? fi_mr_desc(buffer->mr) : NULL, FI_ADDR_UNSPEC, &buffer->op.context);
        ofi_guard_leave(lane->guard);
    }
    if (status) {
        if (status != -FI_EAGAIN && status != -FI_ECONNABORTED)
            log_warn("libfabric: offering a buffer: %s", ofi_library_error((int)-status));
        list_push_back(&lane->unposted, &buffer->queue);
        return;
    }
    buffer->op.submitted = true;
    lane->buffers_posted++;
}

static int buffer_make(struct ofi_lane *lane)
{
    struct ofi_buffer *buffer = NULL;
    if (posix_memalign((void **)&buffer, 64, sizeof *buffer + lane->message_bytes_max))
        return err_set(-ENOMEM, "out of memory for messages");
    *buffer = (struct ofi_buffer){.op.kind = OFI_OP_BUFFER, .lane = lane};
    list_link_init(&buffer->queue);
    list_push_back(&lane->buffers, &buffer->link);
    lane->buffers_made++;
    if (lane->registers_local) {
        int error = ofi_mr_open(lane, buffer->bytes, lane->message_bytes_max, FI_RECV, &buffer->mr);
        if (error) {
            buffer_free(buffer);
            return error;
        }
    }
    buffer_post(buffer);
    return 0;
}

void ofi_buffer_release(struct ofi_buffer *buffer)
{
    if (--buffer->holds)
        return;
    if (!buffer->lane || buffer->lane->buffers_made > 2 * BUFFERS)
        buffer_free(buffer);
    else
        buffer_post(buffer);
}

void ofi_orphans_drop(struct transport_worker *worker)
{
    list_each(&worker->orphans, each, after) buffer_free(list_item(each, struct ofi_buffer, link));
}

static void buffer_came(struct ofi_buffer *buffer, size_t length, bool deliver)
{
    struct ofi_lane *lane = buffer->lane;
    buffer->op.submitted = false;
    lane->buffers_posted--;
    buffer->holds = 1;
    buffer->length = length;
    if (deliver)
        ofi_message_came(lane, buffer, length);
    else
        list_push_back(&lane->worker->arrivals, &buffer->queue);
    if (lane->buffers_posted < BUFFERS / 2 && list_empty(&lane->unposted) &&
        lane->buffers_made < BUFFERS_MAX && buffer_make(lane))
        log_warn("%s", err_text());
}

/* ---- what the provider has done ---------------------------------------------------- */

static void op_returned(struct ofi_op *op, size_t length, int status, bool deliver)
{
    struct ofi_buffer *buffer;
    switch (op->kind) {
    case OFI_OP_BUFFER:
        buffer = list_item(op, struct ofi_buffer, op);
        if (!status) {
            buffer_came(buffer, length, deliver);
            return;
        }
        buffer->op.submitted = false;
        buffer->lane->buffers_posted--;
        list_push_back(&buffer->lane->unposted, &buffer->queue);
        return;
    case OFI_OP_SEND:
        ofi_send_returned(op, status);
        return;
    case OFI_OP_READ:
        ofi_read_returned(op, status);
        return;
    }
}

static void error_read(struct ofi_lane *lane)
{
    struct fi_cq_err_entry entry = {0};
    char text[128] = "";
    if (fi_cq_readerr(lane->cq, &entry, 0) < 0)
        return;
    fi_cq_strerror(lane->cq, entry.prov_errno, entry.err_data, text, sizeof text);
    log_debug("libfabric (%s): %s (%s)", lane->info->fabric_attr->prov_name, ofi_library_error(entry.err),
              text);
    if (entry.op_context)
        op_returned(entry.op_context, 0, ofi_error_of(-entry.err), false);
}

/* As fi_cq_read(). */
static ssize_t queue_read(struct ofi_lane *lane, struct fi_cq_data_entry *entries)
{
    ssize_t got = ofi_guard_take(lane->guard);
    if (got) {
        lane->unseen = got == -FI_EAGAIN;
        return got;
    }
    got = fi_cq_read(lane->cq, entries, BATCH);
    ofi_guard_leave(lane->guard);
    return got;
}

unsigned ofi_lane_drain(struct ofi_lane *lane, bool deliver)
{
    struct fi_cq_data_entry entries[BATCH];
    unsigned count = 0;
    lane->unseen = false;
    while (!lane->broken && count < TURN_MAX) {
        ssize_t got = queue_read(lane, entries);
        if (got == -FI_EAGAIN || got == 0)
            break;
        if (got == -FI_EAVAIL) {
            error_read(lane);
            count++;
            continue;
        }
        if (got < 0) {
            ofi_lane_break(lane, ofi_fail(got, "looking for what was done"));
            break;
        }
        for (ssize_t i = 0; i < got && !lane->broken; i++)
            op_returned(entries[i].op_context, entries[i].len, 0, deliver);
        count += (unsigned)got;
    }
    return count;
}

/* ---- what it had no room for --------------------------------------------------------- */

/* The other has something to do now: a message, or, where there was no room, to make some or to connect. */
static ssize_t submit(struct ofi_remote *remote, struct ofi_stall *stall)
{
    ssize_t status = ofi_guard_take(remote->guard);
    if (!status) {
        status = stall->submit(stall);
        ofi_guard_leave(remote->guard);
        remote->was_tried = true;
        remote->was_reached |= !status;
    }
    if (remote->bell && (status == 0 || status == -FI_EAGAIN))
        ofi_bell_ring(remote->bell);
    return status;
}

int ofi_submit(struct ofi_remote *remote, struct ofi_stall *stall)
{
    ssize_t status = list_empty(&remote->stalled) ? submit(remote, stall) : -FI_EAGAIN;
    if (status == 0)
        return 0;
    if (status != -FI_EAGAIN)
        return ofi_fail(status, "sending");
    stall->waits = true;
    list_push_back(&remote->stalled, &stall->link);
    if (remote->stalled_link.next == &remote->stalled_link)
        list_push_back(&remote->lane->stalled, &remote->stalled_link);
    return 0;
}

static unsigned remote_push(struct ofi_remote *remote)
{
    unsigned count = 0;
    struct list_link *link;
    while ((link = list_pop(&remote->stalled))) {
        struct ofi_stall *stall = list_item(link, struct ofi_stall, link);
        ssize_t status = submit(remote, stall);
        if (status == -FI_EAGAIN) {
            list_push_front(&remote->stalled, link);
            return count;
        }
        stall->waits = false;
        if (status)
            stall->failed(stall, ofi_fail(status, "sending"));
        count++;
    }
    list_remove(&remote->stalled_link);
    return count;
}

void ofi_stalls_fail(struct ofi_remote *remote, int error)
{
    struct list_link *link;
    while ((link = list_pop(&remote->stalled))) {
        struct ofi_stall *stall = list_item(link, struct ofi_stall, link);
        stall->waits = false;
        stall->failed(stall, error);
    }
    list_remove(&remote->stalled_link);
}

unsigned ofi_lane_push(struct ofi_lane *lane)
{
    unsigned count = 0;
    if (lane->broken)
        return 0;
    list_each(&lane->stalled, each, after) count +=
        remote_push(list_item(each, struct ofi_remote, stalled_link));
    /* Those that find no room again stand at the end, so once each. */
    for (unsigned left = lane->buffers_made; left && !list_empty(&lane->unposted); left--) {
        unsigned before = lane->buffers_posted;
        buffer_post(list_item(list_first(&lane->unposted), struct ofi_buffer, queue));
        if (lane->buffers_posted == before)
            break;
    }
    return count;
}

bool ofi_lane_is_calm(const struct ofi_lane *lane)
{
    return list_empty(&lane->stalled) && list_empty(&lane->unposted) && !lane->unseen;
}

/* ---- opening and closing --------------------------------------------------------------- */

static void lane_describe(struct ofi_lane *lane)
{
    const struct fi_info *info = lane->info;
    const uint64_t mode = (uint64_t)info->domain_attr->mr_mode;
    lane->is_local = ofi_is_local(info);
    lane->registers_local = mode & FI_MR_LOCAL;
    lane->addresses_are_virtual = mode & FI_MR_VIRT_ADDR;
    lane->keys_are_providers = mode & FI_MR_PROV_KEY;
    lane->binds_memory = mode & FI_MR_ENDPOINT;
    lane->message_bytes_max = MESSAGE_BYTES_MAX;
    /* Over shared memory what is copied at once needs nothing of the other any more. */
    if (lane->is_local && info->tx_attr->inject_size < MESSAGE_BYTES_MAX)
        lane->message_bytes_max = info->tx_attr->inject_size;
}

static int queue_open(struct ofi_lane *lane)
{
    struct fi_cq_attr attr = {
        .format = FI_CQ_FORMAT_DATA,
        .wait_obj = FI_WAIT_FD,
        .size = lane->info->tx_attr->size + lane->info->rx_attr->size,
    };
    lane->fd = -1;
    if (!fi_cq_open(lane->domain, &attr, &lane->cq, lane)) {
        if (fi_control(&lane->cq->fid, FI_GETWAIT, &lane->fd))
            lane->fd = -1;
        return 0;
    }
    attr.wait_obj = FI_WAIT_NONE;
    int status = fi_cq_open(lane->domain, &attr, &lane->cq, lane);
    return status ? ofi_fail(status, "making a completion queue") : 0;
}

static int endpoint_open(struct ofi_lane *lane)
{
    struct fi_av_attr attr = {.type = FI_AV_UNSPEC, .count = 64};
    int status = fi_av_open(lane->domain, &attr, &lane->av, lane);
    if (!status)
        status = fi_endpoint(lane->domain, lane->info, &lane->ep, lane);
    if (!status && ofi_is_shm(lane->info))
        status = ofi_shm_name(lane->ep);
    if (!status)
        status = fi_ep_bind(lane->ep, &lane->av->fid, 0);
    if (!status)
        status = fi_ep_bind(lane->ep, &lane->cq->fid, FI_TRANSMIT | FI_RECV);
    if (!status)
        status = fi_enable(lane->ep);
    lane->address_length = sizeof lane->address;
    if (!status)
        status = fi_getname(&lane->ep->fid, lane->address, &lane->address_length);
    if (status)
        return ofi_fail(status, "making an endpoint");
    return ofi_is_shm(lane->info) ? ofi_guard_make((const char *)lane->address, &lane->guard) : 0;
}

static int lane_start(struct ofi_lane *lane)
{
    if (lane->message_bytes_max < MESSAGE_BYTES_MIN)
        return err_set(-ENOTSUP, "libfabric: %s carries %zu bytes at once, Weft needs %u",
                       lane->info->fabric_attr->prov_name, lane->message_bytes_max, MESSAGE_BYTES_MIN);
    int status = ofi_library_fabric(lane->info->fabric_attr, &lane->fabric);
    if (!status)
        status = fi_domain(lane->fabric, lane->info, &lane->domain, NULL);
    int error = status ? ofi_fail(status, "opening a device") : queue_open(lane);
    if (!error)
        error = endpoint_open(lane);
    if (!error)
        error = ofi_memories_open(lane);
    while (!error && lane->buffers_made < BUFFERS)
        error = buffer_make(lane);
    return error;
}

/* Frees what nobody holds, and lets go of the rest. */
static void buffers_end(struct ofi_lane *lane)
{
    list_each(&lane->buffers, each, after)
    {
        struct ofi_buffer *buffer = list_item(each, struct ofi_buffer, link);
        if (!buffer->holds) {
            buffer_free(buffer);
            continue;
        }
        if (buffer->mr)
            fi_close(&buffer->mr->fid);
        buffer->mr = NULL;
        buffer->lane = NULL;
        list_remove(each);
        list_push_back(&lane->worker->orphans, each);
    }
    lane->buffers_made = lane->buffers_posted = 0;
}

static void close_one(struct fid *fid)
{
    int status = fid ? fi_close(fid) : 0;
    if (status)
        log_warn("libfabric: closing: %s", ofi_library_error(-status));
}

/* Registrations for others are bound to the endpoint with some providers, and end before it. */
static void lane_end(struct ofi_lane *lane, int error)
{
    lane->broken = true;
    list_each(&lane->remotes, each, after) ofi_remote_end(list_item(each, struct ofi_remote, link), error);
    ofi_memories_close(lane);
    close_one(lane->ep ? &lane->ep->fid : NULL);
    ofi_guard_close(lane->guard);
    lane->guard = NULL;
    list_each(&lane->remotes, each, after) ofi_fetches_drop(list_item(each, struct ofi_remote, link), error);
    ofi_sends_drop(lane);
    buffers_end(lane);
    close_one(lane->av ? &lane->av->fid : NULL);
    close_one(lane->cq ? &lane->cq->fid : NULL);
    close_one(lane->domain ? &lane->domain->fid : NULL);
    close_one(lane->fabric ? &lane->fabric->fid : NULL);
    lane->ep = NULL;
    lane->fd = -1;
}

void ofi_lane_break(struct ofi_lane *lane, int error)
{
    if (lane->broken)
        return;
    log_warn("libfabric: connecting with everyone anew over %s: %s", lane->info->fabric_attr->prov_name,
             err_text());
    lane->worker->failure = error;
    lane_end(lane, error);
}

void ofi_lane_close(struct ofi_lane *lane)
{
    if (!lane->broken)
        lane_end(lane, -ECONNRESET);
    list_each(&lane->remotes, each, after)
    {
        list_item(each, struct ofi_remote, link)->lane = NULL;
        list_remove(each);
    }
    ofi_library_free(lane->info);
    free(lane);
}

int ofi_lane_open(struct transport_worker *worker, const struct fi_info *info, struct ofi_lane **out)
{
    struct ofi_lane *lane = calloc(1, sizeof *lane);
    if (!lane)
        return err_set(-ENOMEM, "out of memory for a transport worker");
    lane->worker = worker;
    lane->info = ofi_library_dup(info);
    if (!lane->info) {
        free(lane);
        return err_set(-ENOMEM, "out of memory for a transport worker");
    }
    list_init(&lane->buffers);
    list_init(&lane->unposted);
    list_init(&lane->remotes);
    list_init(&lane->stalled);
    list_init(&lane->sends);
    list_init(&lane->sends_free);
    lane_describe(lane);
    *out = lane; /* registrations are told apart by its place */
    ofi_signals_keep();
    int error = lane_start(lane);
    ofi_signals_restore();
    if (error) {
        ofi_lane_close(lane);
        *out = NULL;
    }
    return error;
}
