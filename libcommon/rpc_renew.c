/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that is killed while it sends may jam the queue that all of its host write
 * to; everyone else would then wait for their deadlines, again and again. So after a
 * peer's death the transport is checked, unless it says that nothing is left to be received.
 * Where the check's message does not come, the transport is made anew and all links
 * with it: clients connect again and repeat what was not answered, as after any lost
 * connection.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "err.h"
#include "log.h"
#include "rpc_internal.h"

#define MS            UINT64_C(1000000)
/* Long enough for an idle rpc to have been armed meanwhile, which is cheaper than a check. */
#define SUSPECT_NS    (100 * MS)
/* What the check's message may take. The only thing lost by too short a time is a moment of
 * everyone's: a process that merely stood still in the middle of sending looks the same. */
#define PROBE_NS      (1000 * MS)
#define PROBE_TURN_NS (10 * MS)

void rpc_suspect(struct rpc_road *road)
{
    if (road->rpc->closing)
        return;
    road->suspect_ns = rpc_now_ns();
    rpc_due(road->rpc, road->suspect_ns + SUSPECT_NS);
}

void rpc_trust(struct rpc_road *road)
{
    if (!road->probed_ns)
        road->suspect_ns = 0;
}

/* Everyone is disconnected: the transport's worker may be made anew. */
static int transport_renew(struct rpc_road *road)
{
    int fd = road->transport->fd(road->worker);
    if (fd >= 0)
        epoll_ctl(road->rpc->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    int error = road->transport->renew(road->worker);
    return error ? error : rpc_road_renewed(road);
}

static void renew(struct rpc_road *road)
{
    struct rpc *rpc = road->rpc;
    rpc_count(rpc, COUNT_RENEWALS, 1);
    for (uint32_t i = 0; i < rpc->link_count; i++)
        if (rpc->links[i] && rpc->links[i]->control.transport.own == road) {
            err_set(-ECONNRESET, "the transport is being made anew");
            rpc_link_break(rpc->links[i], -ECONNRESET);
        }
    if (transport_renew(road)) {
        log_error("the transport could not be made anew: %s", err_text());
        road->renewal_due = true; /* and tried again */
        rpc_due(rpc, rpc_now_ns() + SUSPECT_NS);
    }
}

void rpc_renewal_want(struct rpc_road *road)
{
    road->renewal_due = true;
    rpc_due(road->rpc, rpc_now_ns());
}

/* Returns how often it was made anew. */
static unsigned road_tick(struct rpc_road *road, uint64_t now)
{
    if (road->renewal_due) {
        road->renewal_due = false;
        road->suspect_ns = road->probed_ns = 0;
        renew(road);
        return 1;
    }
    if (!road->suspect_ns)
        return 0;
    if (!road->probed_ns && now < road->suspect_ns + SUSPECT_NS) {
        rpc_due(road->rpc, road->suspect_ns + SUSPECT_NS);
        return 0;
    }
    if (!road->probed_ns)
        road->probed_ns = now;
    int error = road->transport->probe(road->worker);
    if (error == -EAGAIN && now < road->probed_ns + PROBE_NS) {
        rpc_due(road->rpc, now + PROBE_TURN_NS);
        return 0;
    }
    /* A death since the check began may have jammed what lies behind the check's message. */
    if (road->suspect_ns <= road->probed_ns || error == -EAGAIN)
        road->suspect_ns = 0;
    else
        rpc_due(road->rpc, road->suspect_ns + SUSPECT_NS);
    road->probed_ns = 0;
    if (error == -EAGAIN) {
        log_warn(
            "messages from this host don't arrive any more; probably a process was killed in the middle of "
            "sending one; connecting with everyone anew");
        renew(road);
        return 1;
    }
    if (error)
        log_warn("the transport could not be checked: %s", err_text());
    return 0;
}

unsigned rpc_suspicion_tick(struct rpc *rpc, uint64_t now)
{
    unsigned count = 0;
    for (unsigned i = 0; i < rpc->road_count; i++)
        if (rpc->roads[i].worker)
            count += road_tick(&rpc->roads[i], now);
    return count;
}
