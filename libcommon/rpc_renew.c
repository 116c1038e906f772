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

void rpc_suspect(struct rpc *rpc)
{
    if (rpc->closing)
        return;
    rpc->suspect_ns = rpc_now_ns();
    rpc_due(rpc, rpc->suspect_ns + SUSPECT_NS);
}

void rpc_trust(struct rpc *rpc)
{
    if (!rpc->probed_ns)
        rpc->suspect_ns = 0;
}

/* Everyone is disconnected: the transport's worker may be made anew. */
static int transport_renew(struct rpc *rpc)
{
    epoll_ctl(rpc->epoll_fd, EPOLL_CTL_DEL, rpc->transport->fd(rpc->worker), NULL);
    int error = rpc->transport->renew(rpc->worker);
    if (!error)
        error = rpc->transport->address(rpc->worker, &rpc->self.address, &rpc->self.address_length);
    rpc->transport_muted = false;
    int poll_error =
        rpc_poll_set(rpc, EPOLL_CTL_ADD, rpc->transport->fd(rpc->worker), EPOLLIN, EVENT_TRANSPORT, 0);
    return error ? error : poll_error;
}

static void renew(struct rpc *rpc)
{
    rpc_count(rpc, COUNT_RENEWALS, 1);
    for (uint32_t i = 0; i < rpc->link_count; i++)
        if (rpc->links[i]) {
            err_set(-ECONNRESET, "the transport is being made anew");
            rpc_link_break(rpc->links[i], -ECONNRESET);
        }
    int error = transport_renew(rpc);
    if (error) {
        log_error("the transport could not be made anew: %s", err_text());
        rpc->renewal_due = true; /* and tried again */
        rpc_due(rpc, rpc_now_ns() + SUSPECT_NS);
    }
}

void rpc_renewal_want(struct rpc *rpc)
{
    rpc->renewal_due = true;
    rpc_due(rpc, rpc_now_ns());
}

void rpc_suspicion_tick(struct rpc *rpc, uint64_t now)
{
    if (rpc->renewal_due) {
        rpc->renewal_due = false;
        rpc->suspect_ns = rpc->probed_ns = 0;
        renew(rpc);
        return;
    }
    if (!rpc->suspect_ns)
        return;
    if (!rpc->probed_ns && now < rpc->suspect_ns + SUSPECT_NS) {
        rpc_due(rpc, rpc->suspect_ns + SUSPECT_NS);
        return;
    }
    if (!rpc->probed_ns)
        rpc->probed_ns = now;
    int error = rpc->transport->probe(rpc->worker);
    if (error == -EAGAIN && now < rpc->probed_ns + PROBE_NS) {
        rpc_due(rpc, now + PROBE_TURN_NS);
        return;
    }
    /* A death since the check began may have jammed what lies behind the check's message. */
    if (rpc->suspect_ns <= rpc->probed_ns || error == -EAGAIN)
        rpc->suspect_ns = 0;
    else
        rpc_due(rpc, rpc->suspect_ns + SUSPECT_NS);
    rpc->probed_ns = 0;
    if (error == -EAGAIN) {
        log_warn(
            "messages from this host don't arrive any more; probably a process was killed in the middle of "
            "sending one; connecting with everyone anew");
        renew(rpc);
    } else if (error)
        log_warn("the transport could not be checked: %s", err_text());
}
