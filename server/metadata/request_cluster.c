/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations on the cluster: servers, map, counters.
 */
#include <errno.h>
#include <inttypes.h>

#include "err.h"
#include "log.h"
#include "service_internal.h"

/* ---- the map ------------------------------------------------------------ */

int request_map_get(struct request *request, struct ns *ns)
{
    (void)ns;
    struct service *service = request->service;
    struct wire_map_get_reply reply;
    int error = members_encoded(service->members, &reply.map);
    if (error)
        return error;
    return request_answer(request, service->scratch,
                          wire_encode_map_get_reply(service->scratch, LIMITS_BODY_MAX, &reply));
}

static void count_groups(const struct map *map, struct wire_statfs_reply *reply)
{
    reply->groups = map->group_count;
    reply->replicas = map->group_count ? map->groups[0].member_count : 0;
    for (uint32_t g = 0; g < map->group_count; g++) {
        const struct map_group *group = &map->groups[g];
        bool lacks = false, syncs = false;
        for (uint32_t m = 0; m < group->member_count; m++) {
            syncs = syncs || group->states[m] == MAP_MEMBER_SYNCING;
            lacks = lacks || group->states[m] == MAP_MEMBER_STALE || group->states[m] == MAP_MEMBER_LEAVING;
        }
        reply->groups_lacking += lacks;
        reply->groups_syncing += syncs && !lacks;
    }
}

int request_statfs(struct request *request, struct ns *ns)
{
    struct service *service = request->service;
    const struct map *map = members_map(service->members);
    struct wire_statfs_reply reply = {
        .targets = map->target_count, .servers = map->server_count, .map_version = map->version};
    int error = store_count(ns->txn, STORE_INODES, &reply.files);
    if (error)
        return error;
    for (uint32_t i = 0; i < map->server_count; i++) {
        if (map->servers[i].state != MAP_STATE_UP)
            continue;
        reply.servers_up++;
        reply.bytes_total += map->servers[i].bytes_total;
        reply.bytes_free += map->servers[i].bytes_free;
    }
    for (uint32_t i = 0; i < map->target_count; i++)
        reply.targets_up += map->targets[i].state == MAP_STATE_UP;
    count_groups(map, &reply);
    /* What files can have: each byte is kept so often. */
    if (map_has_replicas(map)) {
        reply.bytes_total /= map->groups[0].member_count;
        reply.bytes_free /= map->groups[0].member_count;
    }
    return request_answer(request, service->scratch,
                          wire_encode_statfs_reply(service->scratch, LIMITS_BODY_MAX, &reply));
}

/* ---- storage servers ---------------------------------------------------- */

int request_server_register(struct request *request, struct ns *ns)
{
    int error = members_register(request->service->members, ns->txn, &request->body.server_register,
                                 &request->change);
    if (error)
        log_warn("refused to register storage server %s: %s", request->body.server_register.name, err_text());
    return error;
}

void request_server_registered(struct request *request)
{
    struct service *service = request->service;
    const struct wire_server_register *body = &request->body.server_register;
    bool changed = request->change != NULL;
    members_adopt(service->members, request->change);
    request->change = NULL;
    members_heard(service->members, body->name, body->bytes_total, body->bytes_free, 0, service_now(service));
    if (changed) {
        const struct map *map = members_map(service->members);
        log_info("storage server %s registered %u targets and %u shards; map version %" PRIu64 ", %u groups",
                 body->name, body->targets.count, body->addresses.count, map->version, map->group_count);
        settle_hurry(&service->settle);
        removals_hurry(&service->removals);
    }
    struct wire_server_register_reply reply;
    int error = members_encoded(service->members, &reply.map);
    if (!error)
        error = request_answer(request, service->scratch,
                               wire_encode_server_register_reply(service->scratch, LIMITS_BODY_MAX, &reply));
    if (error)
        log_error("answering the registration of %s: %s", body->name, err_text());
}

int request_heartbeat(struct request *request, struct ns *ns)
{
    (void)ns;
    struct service *service = request->service;
    const struct wire_heartbeat *body = &request->body.heartbeat;
    struct wire_heartbeat_reply reply = {0};
    int error = members_heard(service->members, body->name, body->bytes_total, body->bytes_free,
                              body->adopted, service_now(service));
    if (!error && body->map_version != members_map(service->members)->version)
        error = members_encoded(service->members, &reply.map);
    if (error)
        return error;
    return request_answer(request, service->scratch,
                          wire_encode_heartbeat_reply(service->scratch, LIMITS_BODY_MAX, &reply));
}

/* ---- groups --------------------------------------------------------------- */

int request_group_report(struct request *request, struct ns *ns)
{
    struct service *service = request->service;
    return members_report(service->members, ns->txn, &request->body.group_report, service_now(service),
                          &request->change);
}

void request_group_reported(struct request *request)
{
    struct service *service = request->service;
    struct wire_heartbeat_reply reply = {0};
    int error = 0;
    members_adopt(service->members, request->change);
    request->change = NULL;
    if (request->body.group_report.map_version != members_map(service->members)->version)
        error = members_encoded(service->members, &reply.map);
    if (!error)
        error = request_answer(request, service->scratch,
                               wire_encode_heartbeat_reply(service->scratch, LIMITS_BODY_MAX, &reply));
    if (error)
        log_error("answering the report of %s: %s", request->body.group_report.name, err_text());
}

/* ---- counters ----------------------------------------------------------- */

struct listing {
    struct wire_writer writer;
    uint32_t count;
};

static void add_counter(void *arg, const struct counter *counter)
{
    struct listing *listing = arg;
    struct wire_counter wire = {.name = counter->name, .value = counter_get(counter)};
    wire_put_counter(&listing->writer, &wire);
    listing->count++;
}

int request_counters(struct request *request, struct ns *ns)
{
    (void)ns;
    struct service *service = request->service;
    uint8_t *answer = service->scratch + LIMITS_BODY_MAX / 2;
    struct listing listing = {.writer = wire_writer_on(service->scratch, LIMITS_BODY_MAX / 2)};
    service_counters(service, add_counter, &listing);
    struct wire_counters_reply reply = {.counters = wire_list_of(&listing.writer, listing.count)};
    return request_answer(request, answer, wire_encode_counters_reply(answer, LIMITS_BODY_MAX / 2, &reply));
}
