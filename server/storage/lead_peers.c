/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lead_peers.c: the servers with members of groups that we lead: connections to them, and what was said of
 * the members.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "lead_internal.h"
#include "shard.h"

/* ---- connections ------------------------------------------------------------------- */

static int peers_room(struct lead *lead, uint32_t count)
{
    if (count <= lead->peer_count)
        return 0;
    struct lead_peer *peers = realloc(lead->peers, count * sizeof *peers);
    if (!peers)
        return err_set(-ENOMEM, "no memory for connections to other storage servers");
    memset(&peers[lead->peer_count], 0, (count - lead->peer_count) * sizeof *peers);
    lead->peers = peers;
    lead->peer_count = count;
    return 0;
}

int lead_connect(struct shard *shard, uint32_t number, struct rpc_connection **connection)
{
    const struct map_server *server = &shard->map->servers[number];
    char name[LIMITS_SERVER_NAME_MAX + LIMITS_ADDRESS_MAX + 64];
    int error = peers_room(shard->lead, shard->map->server_count);
    if (error)
        return error;
    struct lead_peer *peer = &shard->lead->peers[number];
    if (shard->index >= server->shard_count)
        return err_set(-EINVAL, "storage server %s has fewer shards than this one", server->name);
    const char *address = server->addresses[shard->index];
    if (!peer->connection) {
        error = rpc_connect(shard->rpc, address, &peer->connection);
        if (error)
            return error;
        snprintf(peer->address, sizeof peer->address, "%s", address);
        snprintf(name, sizeof name, "storage server %s at %s", server->name, address);
        rpc_connection_name(peer->connection, name);
        rpc_connection_expect(peer->connection, true);
    }
    *connection = peer->connection;
    return 0;
}

/* Connections to where nobody is any more; calls on them end. */
void lead_drop_moved(struct shard *shard)
{
    const struct map *map = shard->map;
    for (uint32_t i = 0; i < shard->lead->peer_count; i++) {
        struct lead_peer *peer = &shard->lead->peers[i];
        if (!peer->connection || (i < map->server_count && map->servers[i].state == MAP_STATE_UP &&
                                  shard->index < map->servers[i].shard_count &&
                                  strcmp(map->servers[i].addresses[shard->index], peer->address) == 0))
            continue;
        struct rpc_connection *connection = peer->connection;
        *peer = (struct lead_peer){0};
        rpc_disconnect(connection);
    }
}

/* ---- promises ------------------------------------------------------------------------ */

int lead_promise(struct lead *lead, const struct lead_promise *promise)
{
    if (lead->promise_count == lead->promise_room) {
        const uint32_t room = lead->promise_room ? 2 * lead->promise_room : 64;
        struct lead_promise *bigger = realloc(lead->promises, room * sizeof *bigger);
        if (!bigger)
            return err_set(-ENOMEM, "no memory to bring a member up to date");
        lead->promises = bigger;
        lead->promise_room = room;
    }
    lead->promises[lead->promise_count++] = *promise;
    return 0;
}

bool lead_is_promised(const struct lead *lead, const struct lead_duty *duty)
{
    for (uint32_t i = 0; i < lead->promise_count; i++)
        if (lead->promises[i].group == duty->group && lead->promises[i].target == duty->target)
            return true;
    return false;
}

/* What was said of an earlier state of a group has had its effect, or never will. */
void lead_forget_promises(struct lead *lead, const struct map *map)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < lead->promise_count; i++)
        if (map->groups[lead->promises[i].group].changed == lead->promises[i].changed)
            lead->promises[kept++] = lead->promises[i];
    lead->promise_count = kept;
}
