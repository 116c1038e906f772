/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits for locks that last, as clients tell them. Nothing of it is stored: after a restart they are told
 * again. One that is told twice, since its transaction was undone, may be found to be in a circle only when
 * it is told next.
 */
#include <string.h>

#include "err.h"
#include "service_internal.h"

static_assert(LIMITS_LOCK_BLOCKERS_MAX <= WAITS_EDGES_MAX, "all that a client may tell is looked at");

static int decode_edges(const struct wire_list *list, struct waits_edge edges[LIMITS_LOCK_BLOCKERS_MAX])
{
    struct wire_reader reader = wire_list_reader(list);
    for (uint32_t i = 0; i < list->count; i++) {
        struct wire_lock_blocker wire;
        wire_get_lock_blocker(&reader, &wire);
        if (reader.bad)
            break;
        edges[i] =
            (struct waits_edge){.holder.number = wire.owner, .serial = wire.serial, .direct = wire.direct};
        memcpy(edges[i].holder.client, wire.client.bytes, sizeof edges[i].holder.client);
    }
    return wire_read_all(&reader, "list of those who are waited for");
}

int request_lock_wait(struct request *request, struct ns *ns)
{
    struct service *service = request->service;
    const struct wire_lock_wait *wire = &request->body.lock_wait;
    struct waits_edge edges[LIMITS_LOCK_BLOCKERS_MAX];
    struct waits_owner owner = {.number = wire->owner};
    enum waits_verdict verdict;
    struct wire_lock_wait_reply reply;
    (void)ns;
    memcpy(owner.client, request->from->client, sizeof owner.client);
    int error = decode_edges(&wire->blockers, edges);
    if (!error)
        error = waits_report(service->waits, &owner, wire->id, wire->token, edges, wire->blockers.count,
                             service_now(service), &reply.token, &verdict);
    if (error)
        return error;
    reply.verdict = verdict == WAITS_DEADLOCK ? WIRE_WAIT_DEADLOCK
                    : verdict == WAITS_PASS   ? WIRE_WAIT_PASS
                                              : WIRE_WAIT_GOES_ON;
    return request_answer(request, service->scratch,
                          wire_encode_lock_wait_reply(service->scratch, LIMITS_BODY_MAX, &reply));
}
