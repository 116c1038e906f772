/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "delegations_internal.h"
#include "err.h"
#include "service_internal.h"

/* A client with nothing else to say is heard so often, and learns that it was. */
#define TOLD_NS (DELEG_TERM_NS / 3)

/* ---- jobs that wait ----------------------------------------------------- */

static void waiter_leaves(struct delegations *delegations, struct deleg_waiter *waiter)
{
    list_remove(&waiter->link);
    table_remove(&delegations->waiters_by_ino, &waiter->by_ino);
    delegations->way_waiters -= waiter->way;
}

void delegations_wait(struct service *service, struct deleg_waiter *waiter)
{
    struct delegations *delegations = &service->delegations;
    struct list_link *place = &delegations->waiters.head;
    delegations_count(delegations, DELEG_WAITS);
    waiter->needed = false;
    if (table_add(&delegations->waiters_by_ino, &waiter->by_ino, waiter->ino)) {
        turn_submit(&service->turn, waiter->job);
        return;
    }
    delegations->way_waiters += waiter->way;
    while (place->previous != &delegations->waiters.head &&
           list_item(place->previous, struct deleg_waiter, link)->until_ns > waiter->until_ns)
        place = place->previous;
    list_insert_before(place, &waiter->link);
}

static void run_waiters(struct service *service, uint64_t now_ns)
{
    struct delegations *delegations = &service->delegations;
    const bool look = delegations->let_go;
    delegations->let_go = false;
    list_each(&delegations->waiters, link, after)
    {
        struct deleg_waiter *waiter = list_item(link, struct deleg_waiter, link);
        const bool is_due = waiter->until_ns <= now_ns;
        if (!is_due && !look)
            break;
        if (!is_due && (now_ns < delegations->trusted_ns || delegations_in_the_way(delegations, waiter)))
            continue;
        waiter_leaves(delegations, waiter);
        turn_submit(&service->turn, waiter->job);
    }
}

/* ---- telling ------------------------------------------------------------ */

/* The answer says which recalls it tells of; what does not fit is told next time. */
static int answer(struct request *request, const struct deleg_client *client)
{
    uint8_t list[LIMITS_RECALLS_MAX * 8];
    uint8_t body[sizeof list + 64];
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    struct wire_delegation_wait_reply reply = {.all = !client || client->recall_all};
    uint32_t count = 0;
    if (client) {
        reply.delegation.generation = client->generation;
        reply.delegation.recalls = client->recalls;
        if (!reply.all) {
            list_each(&client->recalled, link, after)
            {
                const struct delegation *delegation = list_item(link, struct delegation, link);
                if (count == LIMITS_RECALLS_MAX) {
                    reply.delegation.recalls = delegation->recall - 1;
                    break;
                }
                wire_put_inode_number(&writer, &(struct wire_inode_number){.ino = delegation->by_ino.key});
                count++;
            }
        }
    }
    reply.inos = wire_list_of(&writer, count);
    return request_answer(request, body, wire_encode_delegation_wait_reply(body, sizeof body, &reply));
}

static void unpark(struct deleg_client *client)
{
    client->told = NULL;
    list_remove(&client->parked_link);
    list_link_init(&client->parked_link);
}

static void tell(struct deleg_client *client)
{
    struct request *request = client->told;
    unpark(client);
    request_finish(request, answer(request, client));
}

int request_delegation_wait(struct request *request, struct ns *ns)
{
    const struct wire_delegation_wait *body = &request->body.delegation_wait;
    struct service *service = request->service;
    struct deleg_client *client = delegations_client_find(&service->delegations, request->from->client);
    (void)ns;
    if (client && client->generation == body->generation) {
        delegations_acknowledge(&service->delegations, client, body->recalls);
        if (body->ends) {
            delegations_client_drop(service, client, false);
            client = NULL;
        }
    } else if (client) {
        /* What it had was dropped, and what it has now it is yet to hear of. */
        struct wire_delegation_wait_reply reply = {
            .all = 1, .delegation = {.generation = client->generation, .recalls = client->recalls}};
        uint8_t encoded[64];
        return request_answer(request, encoded,
                              wire_encode_delegation_wait_reply(encoded, sizeof encoded, &reply));
    }
    request->parks = client && !delegations_has_to_tell(client);
    return request->parks ? 0 : answer(request, client);
}

void delegations_park(struct request *request)
{
    struct delegations *delegations = &request->service->delegations;
    struct deleg_client *client = delegations_client_find(delegations, request->from->client);
    if (!client) { /* dropped in the same turn */
        request_finish(request, answer(request, NULL));
        return;
    }
    if (client->told) /* the same one, by an earlier connection */
        tell(client);
    client->told = request;
    client->told_ns = service_now(request->service) + TOLD_NS;
    list_push_back(&delegations->parked, &client->parked_link);
}

/* ---- the loop's ----------------------------------------------------------- */

void delegations_run(struct service *service, uint64_t now_ns)
{
    struct delegations *delegations = &service->delegations;
    delegations_give_up(service);
    if (delegations->recalls) {
        delegations->recalls = false;
        list_each(&delegations->parked, link, after)
        {
            struct deleg_client *client = list_item(link, struct deleg_client, parked_link);
            if (delegations_has_to_tell(client))
                tell(client);
        }
    }
    run_waiters(service, now_ns);
    struct list_link *first;
    while ((first = list_first(&delegations->parked))) {
        struct deleg_client *client = list_item(first, struct deleg_client, parked_link);
        if (client->told_ns > now_ns)
            break;
        tell(client);
    }
}

uint64_t delegations_due_ns(const struct delegations *delegations)
{
    const struct list_link *waiter = list_first(&delegations->waiters),
                           *parked = list_first(&delegations->parked);
    uint64_t due_ns = waiter ? list_item(waiter, struct deleg_waiter, link)->until_ns : UINT64_MAX;
    if (parked && list_item(parked, struct deleg_client, parked_link)->told_ns < due_ns)
        due_ns = list_item(parked, struct deleg_client, parked_link)->told_ns;
    if (delegations->given_up.count && !delegations->given_up.is_submitted &&
        delegations->given_up.retry_ns < due_ns)
        due_ns = delegations->given_up.retry_ns;
    return due_ns == UINT64_MAX ? 0 : due_ns;
}

void delegations_tick(struct service *service, uint64_t now_ns)
{
    struct delegations *delegations = &service->delegations;
    list_each(&delegations->clients, link, after)
    {
        struct deleg_client *client = list_item(link, struct deleg_client, link);
        if (now_ns < client->heard_ns + 2 * DELEG_TERM_NS) /* which may be ahead: delegations_restore() */
            continue;
        if (client->count > 0)
            delegations_count(delegations, DELEG_EXPIRED);
        delegations_client_drop(service, client, true);
    }
}

/* ---- the end ------------------------------------------------------------ */

void delegations_dismiss(struct service *service)
{
    struct delegations *delegations = &service->delegations;
    struct list_link *link;
    while ((link = list_first(&delegations->parked))) {
        struct deleg_client *client = list_item(link, struct deleg_client, parked_link);
        struct request *request = client->told;
        unpark(client);
        request_finish(request, err_set(-ECANCELED, "this server is ending"));
    }
    while ((link = list_first(&delegations->waiters))) {
        struct deleg_waiter *waiter = list_item(link, struct deleg_waiter, link);
        waiter_leaves(delegations, waiter);
        waiter->job->done(waiter->job, err_set(-ECANCELED, "this server is ending"));
    }
}

static void free_delegation(struct table_link *link)
{
    free(table_item(link, struct delegation, by_ino));
}

static void free_client(struct table_link *link)
{
    free(table_item(link, struct deleg_client, by_id));
}

static void nothing(struct table_link *link)
{
    (void)link;
}

void delegations_free(struct delegations *delegations)
{
    table_clear(&delegations->by_ino, free_delegation);
    table_clear(&delegations->clients_by_id, free_client);
    delegations_ways_forget(delegations);
    table_clear(&delegations->waiters_by_ino, nothing);
    free(delegations->given_up.all);
}
