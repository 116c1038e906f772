/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport_ucx.c: the transport over UCX active messages.
 *
 * Payloads of up to 64 KiB are copied behind the header and go eager: for them one more
 * copy costs less than a rendezvous' extra messages and wake-ups (measured: a third more
 * for reads of 47,008 bytes). Larger ones go by rendezvous, so that the receiver places
 * them itself: by one copy between the processes on one host (CMA), by RDMA between hosts.
 *
 * Error handling. In UCX 1.13 the shared-memory transports cannot be had with
 * UCP_ERR_HANDLING_MODE_PEER, so peers on one host use mode NONE, and their
 * death is learnt from the control socket. Then:
 *  - an endpoint cannot be closed by force. It is flushed in the background,
 *    and one whose peer died with messages under way stays until the worker is
 *    closed: some kilobytes for each such death.
 *  - a send under way is forgotten, not cancelled. That is safe for the sender's
 *    memory: eager payloads were copied, and a rendezvous over shared memory is
 *    read by the receiver through the kernel, which checks the address.
 *  - a receive under way cannot be taken back at all, because the sender might
 *    still write to it; its callback runs when UCX has finished with it. With
 *    CMA that is at once.
 *  - one that was killed in the middle of sending jams the worker's queue: see
 *    transport_ucx_inbox.h.
 * Between hosts mode PEER is used, and everything under way is really ended.
 */
#include "transport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucp/api/ucp.h>

#include "err.h"
#include "weft_limits.h"
#include "list.h"
#include "log.h"
#include "transport_ucx_inbox.h"

#define AM_ID           1u
/* Largest payload that is copied and sent eager. The copy is ours, so that UCX never
 * reads a caller's memory after the peer was given up. */
#define EAGER_BYTES_MAX 65536u

struct transport_worker {
    const struct transport_events *events;
    void *arg;
    ucp_context_h context;
    struct ucx_inbox *inbox;
    struct ucx_inbox *progressing; /* the one whose messages come now */
    struct list inboxes_replaced;  /* what came by them is still held */
    struct ucx_probe probe;
    struct list ready; /* transfers whose callback is due */
    struct list free;  /* transfers for use again */
    struct list peers;
    struct list receiving;    /* receives under way */
    struct list closing;      /* peers whose endpoint is being flushed */
    struct list forgotten;    /* transfers that UCX still holds but nobody waits for */
    void *callback_data;      /* payload of the message whose callback runs now, */
    bool callback_data_taken; /* and whether that callback gave it up or received it */
};

struct transport_peer {
    struct list_link link;
    struct transport_worker *worker;
    struct ucx_inbox *inbox;
    ucp_ep_h ep;
    void *arg;
    bool peer_mode;
    struct list transfers;    /* sends under way */
    ucs_status_ptr_t closing; /* the flush before the endpoint's end */
};

struct transport_memory {
    struct transport_worker *worker;
    ucp_mem_h handle;
};

/* A send or a receive under way. It outlives its peer when UCX still holds it. */
struct transfer {
    struct list_link link; /* in the peer's transfers, receiving, ready, forgotten or free */
    struct transport_worker *worker;
    struct transport_peer *peer; /* of a send that can still be told of */
    struct ucx_inbox *inbox;     /* whose UCX worker works on it */
    transport_done_fn *done;     /* NULL: nobody is to be told any more */
    void *arg;
    int status;
    bool in_ucx; /* UCX will call back */
    ucp_dt_iov_t iov[2];
    ucp_dt_iov_t *iov_long; /* malloc'ed when there are more pieces */
    uint8_t bytes[LIMITS_HEADER_MAX + EAGER_BYTES_MAX];
};

/* ---- transfers ------------------------------------------------------------ */

static struct transfer *transfer_new(struct transport_worker *worker, transport_done_fn *done, void *arg)
{
    struct list_link *link = list_pop(&worker->free);
    struct transfer *transfer = link ? list_item(link, struct transfer, link) : malloc(sizeof *transfer);
    if (!transfer)
        return NULL;
    list_link_init(&transfer->link);
    transfer->worker = worker;
    transfer->peer = NULL;
    transfer->inbox = worker->inbox;
    transfer->done = done;
    transfer->arg = arg;
    transfer->status = 0;
    transfer->in_ucx = false;
    transfer->iov_long = NULL;
    return transfer;
}

static void transfer_free(struct transfer *transfer)
{
    free(transfer->iov_long);
    list_push_front(&transfer->worker->free, &transfer->link);
}

/* The callback is due, from the next progress(): never from inside a submit. */
static void transfer_ready(struct transfer *transfer, int status)
{
    transfer->status = status;
    list_remove(&transfer->link);
    list_push_back(&transfer->worker->ready, &transfer->link);
}

/* UCX is done with it. What was forgotten meanwhile has had its callback. */
static void transfer_returned(struct transfer *transfer, ucs_status_t status)
{
    transfer->in_ucx = false;
    if (!transfer->done) {
        list_remove(&transfer->link);
        transfer_free(transfer);
        return;
    }
    transfer_ready(transfer, ucx_error_of(status));
}

static void send_returned(void *request, ucs_status_t status, void *arg)
{
    ucp_request_free(request);
    transfer_returned(arg, status);
}

static void receive_returned(void *request, ucs_status_t status, size_t length, void *arg)
{
    struct transfer *transfer = arg;
    (void)length;
    ucp_request_free(request);
    transfer->inbox->holds--;
    transfer_returned(transfer, status);
}

/* Takes what ucp_*_nbx() returned; 0 when the callback will run. */
static int transfer_submitted(struct transfer *transfer, ucs_status_ptr_t request, const char *what)
{
    if (UCS_PTR_IS_ERR(request)) {
        int error = ucx_fail(UCS_PTR_STATUS(request), what);
        list_remove(&transfer->link);
        transfer_free(transfer);
        return error;
    }
    if (request)
        transfer->in_ucx = true;
    else
        transfer_ready(transfer, 0);
    return 0;
}

static unsigned run_ready(struct transport_worker *worker)
{
    unsigned count = 0;
    struct list_link *link;
    while (count < 256 && (link = list_pop(&worker->ready))) {
        struct transfer *transfer = list_item(link, struct transfer, link);
        transport_done_fn *done = transfer->done;
        void *arg = transfer->arg;
        int status = transfer->status;
        if (transfer->in_ucx) { /* forgotten: freed when UCX returns it */
            transfer->done = NULL;
            list_push_back(&worker->forgotten, link);
        } else {
            transfer_free(transfer);
        }
        if (status < 0)
            err_set(status, "UCX: a transfer failed: %s", err_name(status));
        if (done)
            done(arg, status);
        count++;
    }
    return count;
}

/* ---- messages ---------------------------------------------------------------- */

static ucs_status_t message_came(void *arg, const void *header, size_t header_length, void *data,
                                 size_t length, const ucp_am_recv_param_t *param)
{
    struct transport_worker *worker = arg;
    struct ucx_inbox *inbox = worker->progressing;
    bool rendezvous = param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV;
    struct transport_message message = {
        .worker = worker,
        .header = header,
        .header_length = header_length,
        .payload_length = length,
        .data = rendezvous || !length ? NULL : data,
        .private = length ? data : NULL,
        .origin = inbox,
    };
    void *outer_data = worker->callback_data;
    bool outer_taken = worker->callback_data_taken;
    worker->callback_data = message.private;
    worker->callback_data_taken = false;
    inbox->holds++;
    worker->events->message(worker->arg, &message);
    bool taken = worker->callback_data_taken || !length;
    worker->callback_data = outer_data;
    worker->callback_data_taken = outer_taken;
    inbox->holds -= taken;
    return taken ? UCS_OK : UCS_INPROGRESS;
}

static void ucx_release(const struct transport_message *message)
{
    struct transport_worker *worker = message->worker;
    if (!message->private)
        return;
    if (message->private == worker->callback_data) {
        worker->callback_data_taken = true;
        return;
    }
    struct ucx_inbox *inbox = message->origin;
    inbox->holds--;
    ucp_am_data_release(inbox->worker, message->private);
}

static int ucx_receive(const struct transport_message *message, void *buffer, transport_done_fn *done,
                       void *arg)
{
    struct transport_worker *worker = message->worker;
    struct transfer *transfer = transfer_new(worker, done, arg);
    if (!transfer)
        return err_set(-ENOMEM, "out of memory for a transfer");
    if (message->data || !message->private) {
        if (message->payload_length)
            memcpy(buffer, message->data, message->payload_length);
        ucx_release(message);
        transfer_ready(transfer, 0);
        return 0;
    }
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
        .cb.recv_am = receive_returned,
        .user_data = transfer,
    };
    transfer->inbox = message->origin;
    list_push_back(&worker->receiving, &transfer->link);
    ucs_status_ptr_t request = ucp_am_recv_data_nbx(transfer->inbox->worker, message->private, buffer,
                                                    message->payload_length, &param);
    if (!request || UCS_PTR_IS_ERR(request))
        transfer->inbox->holds--;
    return transfer_submitted(transfer, request, "receiving a payload");
}

/* Describes the payload to UCX: pieces as they are, or one contiguous run. */
static int payload_describe(struct transfer *transfer, const struct iovec *payload, size_t count,
                            ucp_request_param_t *param, const void **buffer, size_t *buffer_count)
{
    if (count <= 1) {
        *buffer = count ? payload[0].iov_base : NULL;
        *buffer_count = count ? payload[0].iov_len : 0;
        return 0;
    }
    ucp_dt_iov_t *iov = transfer->iov;
    if (count > sizeof transfer->iov / sizeof transfer->iov[0]) {
        iov = transfer->iov_long = malloc(count * sizeof *iov);
        if (!iov)
            return err_set(-ENOMEM, "out of memory for %zu payload pieces", count);
    }
    for (size_t i = 0; i < count; i++)
        iov[i] = (ucp_dt_iov_t){.buffer = payload[i].iov_base, .length = payload[i].iov_len};
    param->op_attr_mask |= UCP_OP_ATTR_FIELD_DATATYPE;
    param->datatype = ucp_dt_make_iov();
    *buffer = iov;
    *buffer_count = count;
    return 0;
}

static int ucx_send(struct transport_peer *peer, const void *header, size_t header_length,
                    const struct iovec *payload, size_t payload_count, transport_done_fn *done, void *arg)
{
    if (header_length > LIMITS_HEADER_MAX)
        return err_set(-EMSGSIZE, "a header of %zu bytes is too long", header_length);
    struct transfer *transfer = transfer_new(peer->worker, done, arg);
    if (!transfer)
        return err_set(-ENOMEM, "out of memory for a transfer");

    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS,
        .cb.send = send_returned,
        .user_data = transfer,
    };
    memcpy(transfer->bytes, header, header_length);
    size_t length = 0;
    for (size_t i = 0; i < payload_count; i++)
        length += payload[i].iov_len;

    const void *buffer = transfer->bytes + header_length;
    size_t buffer_count = length;
    if (length <= EAGER_BYTES_MAX) {
        uint8_t *at = transfer->bytes + header_length;
        for (size_t i = 0; i < payload_count; at += payload[i++].iov_len)
            if (payload[i].iov_len)
                memcpy(at, payload[i].iov_base, payload[i].iov_len);
        param.flags = UCP_AM_SEND_FLAG_EAGER;
    } else {
        int error = payload_describe(transfer, payload, payload_count, &param, &buffer, &buffer_count);
        if (error) {
            transfer_free(transfer);
            return error;
        }
        param.flags = UCP_AM_SEND_FLAG_RNDV;
    }
    transfer->peer = peer;
    list_push_back(&peer->transfers, &transfer->link);
    ucs_status_ptr_t request =
        ucp_am_send_nbx(peer->ep, AM_ID, transfer->bytes, header_length, buffer, buffer_count, &param);
    return transfer_submitted(transfer, request, "sending a message");
}

/* ---- peers ---------------------------------------------------------------------- */

static void peer_failed(void *arg, ucp_ep_h ep, ucs_status_t status)
{
    struct transport_peer *peer = arg;
    (void)ep;
    if (peer->worker) /* not yet disconnected */
        peer->worker->events->peer_failed(peer->worker->arg, peer, ucx_error_of(status));
}

static int ucx_connect(struct transport_worker *worker, const void *address, size_t length, bool same_host,
                       void *peer_arg, struct transport_peer **out)
{
    (void)length;
    struct transport_peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return err_set(-ENOMEM, "out of memory for a peer");
    peer->worker = worker;
    peer->inbox = worker->inbox;
    peer->arg = peer_arg;
    peer->peer_mode = !same_host;
    list_init(&peer->transfers);
    ucp_ep_params_t params = {
        .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                      UCP_EP_PARAM_FIELD_ERR_HANDLER,
        .address = address,
        .err_mode = same_host ? UCP_ERR_HANDLING_MODE_NONE : UCP_ERR_HANDLING_MODE_PEER,
        .err_handler = {.cb = peer_failed, .arg = peer},
    };
    sigset_t signals;
    signals_hold(&signals);
    ucs_status_t status = ucp_ep_create(worker->inbox->worker, &params, &peer->ep);
    signals_release(&signals);
    if (status != UCS_OK) {
        free(peer);
        return ucx_fail(status, "connecting an endpoint");
    }
    list_push_back(&worker->peers, &peer->link);
    *out = peer;
    return 0;
}

static void *ucx_peer_arg(struct transport_peer *peer)
{
    return peer->arg;
}

static void endpoint_closed(void *request, ucs_status_t status, void *arg)
{
    struct transport_peer *peer = arg;
    (void)status;
    ucp_request_free(request);
    list_remove(&peer->link);
    free(peer);
}

static void ucx_disconnect(struct transport_peer *peer)
{
    struct list_link *link;
    while ((link = list_pop(&peer->transfers))) {
        struct transfer *transfer = list_item(link, struct transfer, link);
        transfer->peer = NULL;
        transfer_ready(transfer, -ECONNRESET);
    }
    struct transport_worker *worker = peer->worker;
    list_remove(&peer->link);
    peer->worker = NULL;
    ucp_request_param_t param = {
        .op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS,
        .cb.send = endpoint_closed,
        .user_data = peer, /* the error handler may still name it */
        .flags = peer->peer_mode ? UCP_EP_CLOSE_FLAG_FORCE : 0,
    };
    peer->closing = ucp_ep_close_nbx(peer->ep, &param);
    if (!peer->closing || UCS_PTR_IS_ERR(peer->closing))
        free(peer);
    else
        list_push_back(&worker->closing, &peer->link);
}

/* ---- the worker ------------------------------------------------------------------- */

static int ucx_open(const char *options, const char *devices, const struct transport_events *events,
                    void *arg, struct transport_worker **out)
{
    sigset_t signals;
    struct transport_worker *worker = calloc(1, sizeof *worker);
    ucp_config_t *config = NULL;
    int error;
    if (!worker)
        return err_set(-ENOMEM, "out of memory for a transport worker");
    worker->events = events;
    worker->arg = arg;
    list_init(&worker->inboxes_replaced);
    list_init(&worker->ready);
    list_init(&worker->free);
    list_init(&worker->peers);
    list_init(&worker->receiving);
    list_init(&worker->closing);
    list_init(&worker->forgotten);

    /* WEFT_UCX_* goes before UCX_*, so that Weft can be tuned apart from MPI. */
    ucs_status_t status = ucp_config_read("WEFT", NULL, &config);
    if (status != UCS_OK) {
        error = ucx_fail(status, "reading the UCX_* settings of the environment");
        goto err_worker;
    }
    error = devices ? ucx_devices_choose(config, devices) : 0;
    if (error) {
        ucp_config_release(config);
        goto err_worker;
    }
    ucp_params_t params = {
        .field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_NAME,
        .features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP,
        .name = "weft",
    };
    signals_hold(&signals);
    if (options && *options)
        status = ucp_config_modify(config, "TLS", options);
    if (status == UCS_OK)
        status = ucp_init(&params, config, &worker->context);
    signals_release(&signals);
    ucp_config_release(config);
    if (status != UCS_OK) {
        error = ucx_fail(status, "starting");
        goto err_worker;
    }
    error = inbox_open(worker->context, AM_ID, message_came, worker, &worker->inbox);
    if (error)
        goto err_context;
    *out = worker;
    return 0;

err_context:
    ucp_cleanup(worker->context);
err_worker:
    free(worker);
    return error;
}

/* Frees those transfers of the list that UCX held for the inbox. */
static void transfers_end(struct list *list, const struct ucx_inbox *inbox)
{
    list_each(list, each, after)
    {
        struct transfer *transfer = list_item(each, struct transfer, link);
        if (transfer->inbox != inbox)
            continue;
        list_remove(each);
        free(transfer->iov_long);
        free(transfer);
    }
}

/* What a dead peer never gave back is let go of by UCX with its worker. */
static void inbox_end(struct transport_worker *worker, struct ucx_inbox *inbox)
{
    list_each(&worker->closing, each, after)
    {
        struct transport_peer *peer = list_item(each, struct transport_peer, link);
        if (peer->inbox != inbox)
            continue;
        list_remove(each);
        ucp_request_free(peer->closing); /* the worker's end insists that nobody waits for it */
        free(peer);
    }
    inbox_close(inbox);
    /* Those that were given up just now have yet to tell. */
    list_each(&worker->ready, each, after)
    {
        struct transfer *transfer = list_item(each, struct transfer, link);
        if (transfer->inbox == inbox)
            transfer->in_ucx = false;
    }
    transfers_end(&worker->receiving, inbox);
    transfers_end(&worker->forgotten, inbox);
}

static unsigned inbox_progress(struct transport_worker *worker, struct ucx_inbox *inbox)
{
    worker->progressing = inbox;
    return ucp_worker_progress(inbox->worker);
}

/* Those that were replaced end when nothing that came by them is held any more. */
static unsigned progress_replaced(struct transport_worker *worker)
{
    unsigned count = 0;
    list_each(&worker->inboxes_replaced, each, after)
    {
        struct ucx_inbox *inbox = list_item(each, struct ucx_inbox, link);
        count += inbox_progress(worker, inbox);
        if (!inbox->holds)
            inbox_end(worker, inbox);
    }
    return count;
}

static unsigned ucx_progress(struct transport_worker *worker)
{
    unsigned count = list_empty(&worker->inboxes_replaced) ? 0 : progress_replaced(worker);
    count += inbox_progress(worker, worker->inbox);
    return count + run_ready(worker);
}

static void ucx_close(struct transport_worker *worker)
{
    struct list_link *link;
    /* Let closings and last callbacks through; what a dead peer holds up stays behind. */
    for (int turn = 0; turn < 100; turn++)
        if (!ucx_progress(worker))
            break;
    inbox_probe_end(&worker->probe);
    while ((link = list_first(&worker->inboxes_replaced)))
        inbox_end(worker, list_item(link, struct ucx_inbox, link));
    inbox_end(worker, worker->inbox);
    ucp_cleanup(worker->context);
    while ((link = list_pop(&worker->ready)))
        free(list_item(link, struct transfer, link));
    while ((link = list_pop(&worker->free)))
        free(list_item(link, struct transfer, link));
    free(worker);
}

static int ucx_probe(struct transport_worker *worker)
{
    return inbox_probe(&worker->probe, worker->context, worker->inbox);
}

static int ucx_renew(struct transport_worker *worker)
{
    struct ucx_inbox *old = worker->inbox;
    inbox_probe_end(&worker->probe);
    int error = inbox_open(worker->context, AM_ID, message_came, worker, &worker->inbox);
    if (!error)
        list_push_back(&worker->inboxes_replaced, &old->link);
    return error;
}

static int ucx_address(struct transport_worker *worker, const void **address, size_t *length)
{
    *address = worker->inbox->address;
    *length = worker->inbox->address_length;
    return 0;
}

static int ucx_memory_register(struct transport_worker *worker, void *start, size_t length,
                               struct transport_memory **out)
{
    struct transport_memory *memory = calloc(1, sizeof *memory);
    if (!memory)
        return err_set(-ENOMEM, "out of memory for a registration");
    memory->worker = worker;
    ucp_mem_map_params_t params = {
        .field_mask =
            UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH | UCP_MEM_MAP_PARAM_FIELD_FLAGS,
        .address = start,
        .length = length,
        .flags = UCP_MEM_MAP_NONBLOCK,
    };
    ucs_status_t status = ucp_mem_map(worker->context, &params, &memory->handle);
    if (status != UCS_OK) {
        free(memory);
        return ucx_fail(status, "registering memory");
    }
    *out = memory;
    return 0;
}

static void ucx_memory_release(struct transport_memory *memory)
{
    ucp_mem_unmap(memory->worker->context, memory->handle);
    free(memory);
}

static int ucx_fd(struct transport_worker *worker)
{
    return worker->inbox->fd;
}

static int ucx_arm(struct transport_worker *worker)
{
    if (!list_empty(&worker->ready) || !list_empty(&worker->inboxes_replaced))
        return -EBUSY;
    ucs_status_t status = ucp_worker_arm(worker->inbox->worker);
    if (status == UCS_OK)
        return 0;
    return status == UCS_ERR_BUSY ? -EBUSY : ucx_fail(status, "arming a worker");
}

const struct transport transport_ucx = {
    .name = "ucx",
    .chooses_itself = true,
    .devices = ucx_devices,
    .open = ucx_open,
    .close = ucx_close,
    .address = ucx_address,
    .connect = ucx_connect,
    .peer_arg = ucx_peer_arg,
    .disconnect = ucx_disconnect,
    .send = ucx_send,
    .receive = ucx_receive,
    .release = ucx_release,
    .memory_register = ucx_memory_register,
    .memory_release = ucx_memory_release,
    .progress = ucx_progress,
    .fd = ucx_fd,
    .arm = ucx_arm,
    .probe = ucx_probe,
    .renew = ucx_renew,
};
