/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roads: the transports that this rpc has, each with a worker. Which one a connection takes is
 * agreed in its handshake. The first is opened at once, so that what is wrong with it is known at the
 * start, another when somebody wants it. A road without connections is not looked at.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "err.h"
#include "log.h"
#include "rpc_internal.h"

/* With a full queue towards a dead or stopped peer UCX refuses to be armed for as long as that lasts, and
 * some of libfabric's providers always do. Then sleep by the clock rather than spin. */
#define ARM_FAILING_NS UINT64_C(200000)

/* Memory that is registered on every road that is open. */
struct rpc_memory {
    struct list_link link;
    void *start;
    size_t length;
    struct transport_memory *memories[TRANSPORTS_MAX];
};

/* ---- which ---------------------------------------------------------------------------- */

int rpc_roads_make(struct rpc *rpc, const char *text)
{
    struct transport_wish wishes[TRANSPORTS_MAX];
    int count = transport_text_read(text, wishes);
    for (int i = 0; i < count; i++) {
        struct rpc_road *road = &rpc->roads[rpc->road_count++];
        const size_t used = strlen(rpc->transports);
        road->rpc = rpc;
        road->index = (unsigned)i;
        road->transport = wishes[i].transport;
        road->rests = true;
        memcpy(road->options, wishes[i].options, sizeof road->options);
        snprintf(rpc->transports + used, sizeof rpc->transports - used, "%s%s", used ? "," : "",
                 road->transport->name);
    }
    return count < 0 ? count : 0;
}

/* ---- opening and closing ----------------------------------------------------------------- */

static void message_came(void *arg, const struct transport_message *message)
{
    rpc_message_came(arg, message);
}

static void peer_failed(void *arg, struct transport_peer *peer, int error)
{
    struct rpc_road *road = arg;
    struct rpc_link *link = road->transport->peer_arg(peer);
    err_set(error, "the transport lost %s: %s", link->control.peer_name, err_name(error));
    rpc_link_fail(link, error);
}

static void worker_failed(void *arg, int error)
{
    (void)error;
    rpc_renewal_want(arg);
}

static const struct transport_events events = {
    .message = message_came,
    .peer_failed = peer_failed,
    .worker_failed = worker_failed,
};

static int memory_register(struct rpc_road *road, struct rpc_memory *memory)
{
    return road->transport->memory_register(road->worker, memory->start, memory->length,
                                            &memory->memories[road->index]);
}

static int poll_set(struct rpc_road *road, int operation, bool muted)
{
    road->muted = muted;
    return rpc_poll_set(road->rpc, operation, road->transport->fd(road->worker), muted ? 0 : EPOLLIN,
                        EVENT_TRANSPORT, road->index);
}

/* What stands by its own descriptor, or address, when the worker is new. */
int rpc_road_renewed(struct rpc_road *road)
{
    int error = road->transport->address(road->worker, &road->address, &road->address_length);
    int poll_error = poll_set(road, EPOLL_CTL_ADD, false);
    return error ? error : poll_error;
}

int rpc_road_open(struct rpc_road *road)
{
    if (road->worker)
        return 0;
    int error = road->transport->open(road->options, road->rpc->config.devices, &events, road, &road->worker);
    if (error) {
        road->worker = NULL;
        return error;
    }
    list_each(&road->rpc->memories, each, after) if (!error) error =
        memory_register(road, list_item(each, struct rpc_memory, link));
    if (!error)
        error = rpc_road_renewed(road);
    if (error)
        rpc_road_close(road);
    return error;
}

void rpc_road_close(struct rpc_road *road)
{
    if (!road->worker)
        return;
    list_each(&road->rpc->memories, each, after)
    {
        struct transport_memory **memory = &list_item(each, struct rpc_memory, link)->memories[road->index];
        if (*memory)
            road->transport->memory_release(*memory);
        *memory = NULL;
    }
    road->transport->close(road->worker);
    road->worker = NULL;
}

int rpc_road_choose(void *arg, const char *names, struct control_transport *chosen)
{
    struct rpc *rpc = arg;
    int error = 0;
    bool refused = false;
    for (unsigned i = 0; i < rpc->road_count; i++) {
        struct rpc_road *road = &rpc->roads[i];
        if (!control_transports_meet(road->transport->name, names))
            continue;
        error = rpc_road_open(road);
        if (error) { /* perhaps another one */
            log_warn("transport %s can't be used: %s", road->transport->name, err_text());
            refused = true;
            continue;
        }
        *chosen =
            (struct control_transport){road->transport->name, road->address, road->address_length, road};
        return 0;
    }
    if (refused)
        return error;
    return err_set(-EPROTO, "the peer has transport %s, this side %s: see `transport` in weft.conf(5)", names,
                   rpc->transports);
}

/* ---- moving on and sleeping --------------------------------------------------------------------- */

void rpc_road_take(struct rpc_road *road)
{
    road->links++;
    road->rests = false;
}

unsigned rpc_roads_progress(struct rpc *rpc)
{
    unsigned count = 0;
    for (unsigned i = 0; i < rpc->road_count; i++)
        if (!rpc->roads[i].rests)
            count += rpc->roads[i].transport->progress(rpc->roads[i].worker);
    return count;
}

void rpc_roads_moved(struct rpc *rpc)
{
    for (unsigned i = 0; i < rpc->road_count; i++)
        rpc->roads[i].arm_failing_ns = 0;
}

/* What refuses to be armed may be readable all the time, and so may what is not looked at. */
static void road_mute(struct rpc_road *road, bool muted)
{
    if (muted != road->muted)
        poll_set(road, EPOLL_CTL_MOD, muted);
}

/* 0, -EAGAIN: progress first, or -EBUSY: sleep by the clock. */
static int road_arm(struct rpc_road *road, uint64_t now)
{
    if (road->transport->arm(road->worker) == 0) {
        rpc_trust(road);
        road->rests = !road->links;
        road_mute(road, road->rests);
        return 0;
    }
    if (!road->arm_failing_ns)
        road->arm_failing_ns = now;
    if (now - road->arm_failing_ns < ARM_FAILING_NS)
        return -EAGAIN;
    road_mute(road, true);
    return -EBUSY;
}

int rpc_roads_arm(struct rpc *rpc, uint64_t now)
{
    int result = 0;
    for (unsigned i = 0; i < rpc->road_count; i++) {
        int error = rpc->roads[i].rests ? 0 : road_arm(&rpc->roads[i], now);
        if (error == -EAGAIN)
            return error;
        if (error)
            result = error;
    }
    return result;
}

/* ---- memory ----------------------------------------------------------------------------------------- */

int rpc_memory_register(struct rpc *rpc, void *start, size_t length, struct rpc_memory **out)
{
    struct rpc_memory *memory = calloc(1, sizeof *memory);
    if (!memory)
        return err_set(-ENOMEM, "out of memory for a registration");
    memory->start = start;
    memory->length = length;
    list_push_back(&rpc->memories, &memory->link);
    int error = 0;
    for (unsigned i = 0; i < rpc->road_count && !error; i++)
        if (rpc->roads[i].worker)
            error = memory_register(&rpc->roads[i], memory);
    if (error) {
        rpc_memory_release(rpc, memory);
        return error;
    }
    *out = memory;
    return 0;
}

void rpc_memory_release(struct rpc *rpc, struct rpc_memory *memory)
{
    for (unsigned i = 0; i < rpc->road_count; i++)
        if (memory->memories[i])
            rpc->roads[i].transport->memory_release(memory->memories[i]);
    list_remove(&memory->link);
    free(memory);
}
