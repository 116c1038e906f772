/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport_ofi.c: the transport over libfabric's reliable datagrams (FI_EP_RDM).
 *
 * What providers differ in, and what is done about it
 *  - Connections are made on demand (ofi_rxm): the first messages find no room (EAGAIN), stand in line,
 *    and go when progress has made the connection.
 *  - Some sleep on a descriptor of the completion queue, after fi_trywait(). Shared memory has none: see
 *    transport_ofi_doorbell.c. With others arm() refuses, and rpc.c sleeps by the clock.
 *  - Over IP devices a dead peer's connection breaks, and what was under way fails. For all of them the
 *    control socket tells.
 *  - The shared-memory provider of libfabric 1.17 takes a spin lock in the memory of the peer that it
 *    sends to. A process that is killed there would make all others spin in libfabric: see
 *    transport_ofi_guard.c. It is used only when it is named; two processes of one host have tcp for
 *    their messages, and the kernel's process_vm_readv() for payloads.
 */
#include "transport_ofi.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <sodium.h>

#include "err.h"
#include "signals.h"

#define READY_TURN_MAX 256u
#define CLOSE_TURNS    1000u

/* ---- callbacks that are due -------------------------------------------------------------- */

void ofi_done_due(struct transport_worker *worker, struct ofi_done *done, int status)
{
    done->status = status;
    list_push_back(&worker->ready, &done->link);
}

static unsigned run_ready(struct transport_worker *worker)
{
    unsigned count = 0;
    struct list_link *link;
    while (count < READY_TURN_MAX && (link = list_pop(&worker->ready))) {
        struct ofi_done *due = list_item(link, struct ofi_done, link);
        transport_done_fn *done = due->done;
        void *arg = due->arg;
        int status = due->status;
        due->after(due);
        if (status < 0)
            err_set(status, "libfabric: a transfer failed: %s", err_name(status));
        if (done)
            done(arg, status);
        count++;
    }
    return count;
}

static unsigned run_arrivals(struct transport_worker *worker)
{
    unsigned count = 0;
    struct list_link *link;
    while ((link = list_pop(&worker->arrivals))) {
        struct ofi_buffer *buffer = list_item(link, struct ofi_buffer, queue);
        if (buffer->lane)
            ofi_message_came(buffer->lane, buffer, buffer->length);
        else
            ofi_buffer_release(buffer);
        count++;
    }
    return count;
}

static unsigned run_failures(struct transport_worker *worker)
{
    unsigned count = 0;
    struct list_link *link;
    while ((link = list_pop(&worker->failed))) {
        struct transport_peer *peer = list_item(link, struct transport_peer, failed_link);
        worker->events->peer_failed(worker->arg, peer, peer->error);
        count++;
    }
    if (worker->failure && !worker->failure_told) {
        worker->failure_told = true;
        worker->events->worker_failed(worker->arg, worker->failure);
        count++;
    }
    return count;
}

static unsigned progress(struct transport_worker *worker)
{
    if (worker->doorbell)
        ofi_doorbell_answer(worker->doorbell);
    unsigned count = run_arrivals(worker);
    for (unsigned i = 0; i < worker->lane_count; i++) {
        count += ofi_lane_drain(worker->lanes[i], true);
        count += ofi_lane_push(worker->lanes[i]);
    }
    count += run_failures(worker);
    return count + run_ready(worker);
}

/* ---- opening and closing ------------------------------------------------------------------- */

static void lanes_close(struct transport_worker *worker)
{
    for (unsigned i = 0; i < worker->lane_count; i++)
        ofi_lane_close(worker->lanes[i]);
    worker->lane_count = 0;
    if (worker->epoll_fd >= 0)
        close(worker->epoll_fd);
    worker->epoll_fd = -1;
    if (worker->doorbell)
        ofi_doorbell_close(worker->doorbell);
    worker->doorbell = NULL;
}

static int descriptor_add(struct transport_worker *worker, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    if (fd >= 0 && epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event))
        return err_sys("epoll_ctl");
    return 0;
}

/* Around all that wakes the worker, unless it is one thing. */
static int descriptors_join(struct transport_worker *worker)
{
    int error = 0;
    bool needs_bell = false;
    for (unsigned i = 0; i < worker->lane_count; i++)
        needs_bell |= worker->lanes[i]->is_local && worker->lanes[i]->fd < 0;
    if (needs_bell)
        error = ofi_doorbell_open(&worker->doorbell);
    if (error || (worker->lane_count == 1 && worker->lanes[0]->fd >= 0))
        return error;
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll_fd < 0)
        return err_sys("making a descriptor to sleep on");
    for (unsigned i = 0; i < worker->lane_count && !error; i++)
        error = descriptor_add(worker, worker->lanes[i]->fd);
    if (!error && worker->doorbell)
        error = descriptor_add(worker, ofi_doorbell_fd(worker->doorbell));
    return error;
}

static int lanes_open(struct transport_worker *worker)
{
    sigset_t signals;
    int error = 0;
    randombytes_buf(&worker->id, sizeof worker->id);
    signals_hold(&signals);
    for (unsigned i = 0; i < worker->choice.count && !error; i++) {
        error = ofi_lane_open(worker, worker->choice.infos[i], &worker->lanes[i]);
        if (!error)
            worker->lane_count++;
    }
    signals_release(&signals);
    if (!error)
        error = descriptors_join(worker);
    if (!error)
        error = ofi_address_make(worker);
    if (error)
        lanes_close(worker);
    return error;
}

static int worker_open(const char *options, const char *devices, const struct transport_events *events,
                       void *arg, struct transport_worker **out)
{
    (void)devices; /* names of UCX's; libfabric's are said in `options` */
    sigset_t signals;
    struct transport_worker *worker = calloc(1, sizeof *worker);
    if (!worker)
        return err_set(-ENOMEM, "out of memory for a transport worker");
    worker->events = events;
    worker->arg = arg;
    worker->epoll_fd = -1;
    list_init(&worker->memories);
    list_init(&worker->held);
    list_init(&worker->orphans);
    list_init(&worker->arrivals);
    list_init(&worker->failed);
    list_init(&worker->ready);
    signals_hold(&signals);
    int error = ofi_choose(options, &worker->choice);
    signals_release(&signals);
    if (!error)
        error = lanes_open(worker);
    if (error) {
        ofi_choice_free(&worker->choice);
        free(worker->address);
        free(worker);
        return error;
    }
    *out = worker;
    return 0;
}

static bool is_sending(const struct transport_worker *worker)
{
    for (unsigned i = 0; i < worker->lane_count; i++)
        if (worker->lanes[i]->sends_under_way)
            return true;
    return false;
}

static void worker_close(struct transport_worker *worker)
{
    struct list_link *link;
    /* Let the last messages out; what a dead peer holds up stays behind. */
    for (unsigned turn = 0; turn < CLOSE_TURNS && (progress(worker) || is_sending(worker)); turn++)
        ;
    lanes_close(worker);
    run_arrivals(worker);
    ofi_messages_drop(worker);
    while ((link = list_pop(&worker->ready))) {
        struct ofi_done *due = list_item(link, struct ofi_done, link);
        due->after(due);
    }
    ofi_choice_free(&worker->choice);
    free(worker->remotes.slots);
    free(worker->fetches.slots);
    free(worker->address);
    free(worker);
}

/* Nothing that its peers share can be jammed by one of them, but for shared memory, where it would have
 * stopped this very thread. */
static int worker_probe(struct transport_worker *worker)
{
    (void)worker;
    return 0;
}

static int worker_renew(struct transport_worker *worker)
{
    lanes_close(worker);
    int error = lanes_open(worker);
    worker->failure = error;
    worker->failure_told = false;
    return error;
}

static int worker_address(struct transport_worker *worker, const void **address, size_t *length)
{
    *address = worker->address;
    *length = worker->address_length;
    return 0;
}

/* ---- sleeping ------------------------------------------------------------------------------ */

static int worker_fd(struct transport_worker *worker)
{
    if (worker->epoll_fd >= 0)
        return worker->epoll_fd;
    return worker->lane_count ? worker->lanes[0]->fd : -1;
}

static bool has_work(const struct transport_worker *worker)
{
    return !list_empty(&worker->ready) || !list_empty(&worker->arrivals) || !list_empty(&worker->failed) ||
           (worker->failure && !worker->failure_told);
}

static int lane_arm(struct ofi_lane *lane)
{
    if (lane->broken)
        return 0;
    if (!ofi_lane_is_calm(lane))
        return -EBUSY;
    if (lane->fd >= 0) {
        struct fid *fid = &lane->cq->fid;
        int status = fi_trywait(lane->fabric, &fid, 1);
        return status == -FI_EAGAIN ? -EBUSY : status ? ofi_fail(status, "preparing to sleep") : 0;
    }
    /* What is under way there moves only while it is looked at. */
    if (!lane->is_local || lane->sends_under_way)
        return -EBUSY;
    return ofi_lane_drain(lane, false) || lane->unseen || has_work(lane->worker) ? -EBUSY : 0;
}

static int worker_arm(struct transport_worker *worker)
{
    int error = 0;
    if (has_work(worker))
        return -EBUSY;
    if (worker->doorbell)
        ofi_doorbell_listen(worker->doorbell);
    for (unsigned i = 0; i < worker->lane_count && !error; i++)
        error = lane_arm(worker->lanes[i]);
    if (error && worker->doorbell)
        ofi_doorbell_answer(worker->doorbell);
    return error;
}

const struct transport transport_ofi = {
    .name = "ofi",
    .devices = ofi_transport_devices,
    .open = worker_open,
    .close = worker_close,
    .address = worker_address,
    .connect = ofi_connect,
    .peer_arg = ofi_peer_arg,
    .disconnect = ofi_disconnect,
    .send = ofi_send,
    .receive = ofi_receive,
    .release = ofi_release,
    .memory_register = ofi_memory_register,
    .memory_release = ofi_memory_release,
    .progress = progress,
    .fd = worker_fd,
    .arm = worker_arm,
    .probe = worker_probe,
    .renew = worker_renew,
};
