/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members_register.c: what a storage server says when it registers, whether that can be, and the map in
 * which it is there.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "hostname.h"
#include "log.h"
#include "members_internal.h"

/* ---- what a registration says ------------------------------------------- */

struct claim {
    const char *name;
    uint32_t shard_count;
    const char *addresses[LIMITS_SHARDS_MAX];
    uint32_t target_count;
    struct wire_served_target *targets; /* sorted by id */
    struct map_host host;
    bool unclean;
};

static int compare_served(const void *a, const void *b)
{
    const struct wire_served_target *left = a, *right = b;
    return left->id < right->id ? -1 : left->id > right->id;
}

static int check_name(const char *name)
{
    if (!hostname_valid(name))
        return err_set(-EINVAL, "a storage server's name has letters, digits, \".\", \"_\" and \"-\" only");
    return 0;
}

static int read_host(const struct wire_map_host *wire, struct claim *claim)
{
    if (!hostname_valid(wire->name) || (*wire->chassis && !hostname_valid(wire->chassis)) ||
        (*wire->rack && !hostname_valid(wire->rack)))
        return err_set(-EINVAL,
                       "the names of storage server %s's host, chassis and rack have letters, digits, \".\", "
                       "\"_\" and \"-\" only; set host, chassis and rack for it",
                       claim->name);
    snprintf(claim->host.name, sizeof claim->host.name, "%s", wire->name);
    snprintf(claim->host.chassis, sizeof claim->host.chassis, "%s", wire->chassis);
    snprintf(claim->host.rack, sizeof claim->host.rack, "%s", wire->rack);
    return 0;
}

static int read_addresses(const struct wire_server_register *request, struct claim *claim)
{
    struct wire_reader reader = wire_list_reader(&request->addresses);
    claim->shard_count = request->addresses.count;
    if (claim->shard_count == 0 || claim->shard_count > LIMITS_SHARDS_MAX)
        return err_set(-EINVAL, "storage server %s has %u shards; possible are 1 to %u", claim->name,
                       claim->shard_count, LIMITS_SHARDS_MAX);
    for (uint32_t k = 0; k < claim->shard_count; k++) {
        struct wire_address address;
        wire_get_address(&reader, &address);
        if (reader.bad)
            break;
        if (!strchr(address.text, ':'))
            return err_set(-EINVAL, "\"%s\" of storage server %s is no address of the form host:port",
                           address.text, claim->name);
        claim->addresses[k] = address.text;
    }
    return wire_read_all(&reader, "list of addresses");
}

static int read_targets(const struct wire_server_register *request, struct claim *claim)
{
    struct wire_reader reader = wire_list_reader(&request->targets);
    claim->target_count = request->targets.count;
    if (claim->target_count == 0)
        return err_set(-EINVAL, "storage server %s has no targets", claim->name);
    claim->targets = calloc(claim->target_count, sizeof *claim->targets);
    if (!claim->targets)
        return members_no_memory();
    for (uint32_t i = 0; i < claim->target_count; i++)
        wire_get_served_target(&reader, &claim->targets[i]);
    int error = wire_read_all(&reader, "list of targets");
    if (error)
        return error;
    qsort(claim->targets, claim->target_count, sizeof *claim->targets, compare_served);
    for (uint32_t i = 1; i < claim->target_count; i++) {
        if (claim->targets[i].id == claim->targets[i - 1].id)
            return err_set(-EINVAL, "storage server %s names target %u twice", claim->name,
                           claim->targets[i].id);
    }
    return 0;
}

/* NULL when it does not serve that one. */
static const struct wire_served_target *claimed(const struct claim *claim, uint32_t id)
{
    const struct wire_served_target key = {.id = id};
    return bsearch(&key, claim->targets, claim->target_count, sizeof key, compare_served);
}

/* One that tells of fewer than are known has been long on its way. */
static bool tells_of_loss(const struct claim *claim, const struct map_target *target)
{
    const struct wire_served_target *served = claimed(claim, target->id);
    return served && served->losses > target->losses;
}

/* A chunk is in the shard of the same number on all servers of a group. */
static int check_shards(const struct map *map, const struct claim *claim)
{
    for (uint32_t s = 0; s < map->server_count; s++)
        if (map->servers[s].shard_count != claim->shard_count)
            return err_set(
                -EINVAL,
                "storage server %s came with %u shards, and %s has %u; where there are replicas all "
                "have as many, so set shards = %u for it",
                claim->name, claim->shard_count, map->servers[s].name, map->servers[s].shard_count,
                map->servers[s].shard_count);
    return 0;
}

/* What the target had must be with others who are there: -EHOSTDOWN, and its server asks again. */
static int check_replaced(const struct map *map, const struct map_target *target)
{
    const uint32_t index = (uint32_t)(target - map->targets);
    for (uint32_t g = 0; g < map->group_count; g++) {
        const struct map_group *group = &map->groups[g];
        const int state = map_member_state(map, g, target->id, NULL);
        bool others = state < 0 || state == MAP_MEMBER_STALE || state == MAP_MEMBER_SYNCING;
        for (uint32_t m = 0; m < group->member_count && !others; m++) {
            const uint32_t other = group->members[m];
            others =
                other != index && group->states[m] == MAP_MEMBER_CURRENT && map_target_is_there(map, other);
        }
        if (!others)
            return err_set(-EHOSTDOWN,
                           "target %" PRIu32 " can't be replaced: of group %" PRIu32
                           " nobody else is there who has all; start the servers of its other members first",
                           target->id, g);
    }
    return 0;
}

/* Does the claim fit what is known? */
static int check_claim(const struct conf *conf, const struct map *map, const struct claim *claim,
                       const struct map_server *known)
{
    /* The shard of a chunk follows from the number of shards, so data would be looked for elsewhere. */
    if (known && known->shard_count != claim->shard_count)
        return err_set(
            -EINVAL,
            "storage server %s came with %u shards, but its data is spread over %u; set shards = %u for it",
            claim->name, claim->shard_count, known->shard_count, known->shard_count);
    int error = conf->replicas > 1 ? check_shards(map, claim) : 0;
    if (error)
        return error;
    for (uint32_t i = 0; i < claim->target_count && !error; i++) {
        const struct map_target *target = map_target_by_id(map, claim->targets[i].id);
        if (target && claim->targets[i].is_empty)
            error = check_replaced(map, target);
        if (target && &map->servers[target->server] != known)
            return err_set(
                -EEXIST,
                "target %u belongs to storage server %s, and %s claims it too; every target of a cluster "
                "needs an id of its own",
                target->id, map->servers[target->server].name, claim->name);
    }
    return error;
}

static uint32_t count_new_targets(const struct map *map, const struct claim *claim)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < claim->target_count; i++)
        count += map_target_by_id(map, claim->targets[i].id) == NULL;
    return count;
}

/* It is the leader of a group with other members. */
static bool leads_others(const struct map *map, const struct map_server *server)
{
    for (uint32_t g = 0; g < map->group_count; g++)
        if (map->groups[g].member_count > 1 && &map->servers[map_leader(map, g)->server] == server)
            return true;
    return false;
}

/* It leads a group of which a member is being brought up to date: it begins anew, whatever it has said. */
static bool brings_up(const struct map *map, const struct map_server *server)
{
    for (uint32_t g = 0; g < map->group_count; g++) {
        if (&map->servers[map_leader(map, g)->server] != server)
            continue;
        for (uint32_t m = 0; m < map->groups[g].member_count; m++)
            if (map->groups[g].states[m] == MAP_MEMBER_SYNCING)
                return true;
    }
    return false;
}

static bool is_same_host(const struct map_host *a, const struct map_host *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->chassis, b->chassis) == 0 &&
           strcmp(a->rack, b->rack) == 0;
}

/* A server that can't tell how large its target is says nothing new. */
static bool tells_of_size(const struct claim *claim, const struct map_target *target)
{
    const struct wire_served_target *served = claimed(claim, target->id);
    return served && served->capacity && !members_capacity_alike(served->capacity, target->capacity);
}

static bool changes_nothing(const struct map *map, const struct claim *claim, const struct map_server *known)
{
    if (!known || known->state != MAP_STATE_UP || count_new_targets(map, claim))
        return false;
    for (uint32_t i = 0; i < claim->target_count; i++)
        if (claim->targets[i].is_empty)
            return false;
    if ((claim->unclean && leads_others(map, known)) || brings_up(map, known))
        return false;
    if (!known->host || !is_same_host(map_host(map, known->host), &claim->host))
        return false;
    for (uint32_t k = 0; k < known->shard_count; k++) {
        if (strcmp(known->addresses[k], claim->addresses[k]) != 0)
            return false;
    }
    for (uint32_t i = 0; i < map->target_count; i++) {
        const struct map_target *target = &map->targets[i];
        if (&map->servers[target->server] == known &&
            ((target->state == MAP_STATE_UP) != !!claimed(claim, target->id) ||
             tells_of_loss(claim, target) || tells_of_size(claim, target)))
            return false;
    }
    return true;
}

/* ---- registration ------------------------------------------------------- */

/* The new targets go behind the others, without redundancy each with a group of its own. */
static void append_targets(const struct map *old, const struct claim *claim, uint32_t server, struct map *map)
{
    uint32_t target = old->target_count, group = old->group_count;
    const bool alone = map->group_count > old->group_count;
    for (uint32_t i = 0; i < claim->target_count; i++) {
        const struct wire_served_target *served = &claim->targets[i];
        if (map_target_by_id(old, served->id))
            continue;
        map->targets[target] =
            (struct map_target){.id = served->id, .server = server, .losses = served->losses};
        if (alone)
            map->groups[group++] =
                (struct map_group){.member_count = 1, .members = {target}, .home = map->servers[server].host};
        target++;
    }
}

/* The server is there now. Groups that were made before hosts were known get their home by it; what has a
 * home keeps it, also when the server has moved. */
static void place_server(struct map *map, uint32_t server, uint32_t host, const struct map_host *claimed)
{
    map->hosts[host - 1] = *claimed;
    map->servers[server].host = host;
    for (uint32_t g = 0; g < map->group_count; g++) {
        struct map_group *group = &map->groups[g];
        if (group->member_count && group->home == 0 && map->targets[group->members[0]].server == server)
            group->home = host;
    }
}

/* What the server serves is up. Sets lost[i] for each target that may have lost something since it registered
 * last. */
static void note_claimed(const struct claim *claim, uint32_t server, struct map *map, bool *lost)
{
    for (uint32_t i = 0; i < map->target_count; i++) {
        struct map_target *target = &map->targets[i];
        if (target->server != server)
            continue;
        target->state = claimed(claim, target->id) ? MAP_STATE_UP : MAP_STATE_DOWN;
        const struct wire_served_target *served = claimed(claim, target->id);
        const bool is_empty = served && served->is_empty;
        if (tells_of_size(claim, target))
            target->capacity = served->capacity;
        lost[i] = tells_of_loss(claim, target) || is_empty;
        if (!lost[i])
            continue;
        target->losses = served->losses > target->losses ? served->losses : target->losses;
        if (is_empty)
            log_warn("target %" PRIu32 " of storage server %s was replaced by an empty one", target->id,
                     claim->name);
        else
            log_warn("storage server %s may have lost what was written to target %" PRIu32
                     " and not synced, since its host crashed",
                     claim->name, target->id);
    }
}

/* Where nobody else has what a target may have lost, this version tells of it: in the groups that it leads
 * on. */
static void tell_losses(struct map *map, const bool *lost)
{
    for (uint32_t g = 0; g < map->group_count; g++) {
        struct map_group *group = &map->groups[g];
        const uint32_t leader = group->members[group->leader];
        if (lost[leader] && group->member_count == 1)
            map->targets[leader].lost_at = map->version;
        else if (lost[leader])
            group->lost_at = group->changed = map->version;
    }
}

/* The server is there: what that means for the members of groups, and for who wrote to them. */
static int note_there(const struct claim *claim, uint32_t server, struct map *map)
{
    bool *lost = calloc(map->target_count + 1u, sizeof *lost);
    if (!lost)
        return members_no_memory();
    note_claimed(claim, server, map, lost);
    members_states_registered(map, server, lost, claim->unclean);
    tell_losses(map, lost);
    free(lost);
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    const struct map_target *left = a, *right = b;
    return left->id < right->id ? -1 : left->id > right->id;
}

/* Puts the targets in the order of their ids; the groups follow. */
static int sort_targets(struct map *map)
{
    uint32_t *ids = malloc((map->target_count ? map->target_count : 1) * sizeof *ids);
    if (!ids)
        return members_no_memory();
    for (uint32_t i = 0; i < map->target_count; i++)
        ids[i] = map->targets[i].id;
    qsort(map->targets, map->target_count, sizeof *map->targets, compare_ids);
    for (uint32_t g = 0; g < map->group_count; g++) {
        struct map_group *group = &map->groups[g];
        for (uint32_t i = 0; i < group->member_count; i++)
            group->members[i] = (uint32_t)(map_target_by_id(map, ids[group->members[i]]) - map->targets);
    }
    free(ids);
    return 0;
}

static int build(const struct members *members, const struct claim *claim, const struct map_server *known,
                 struct map **out)
{
    const struct map *old = members->map;
    uint32_t new_targets = count_new_targets(old, claim);
    uint32_t index = known ? (uint32_t)(known - old->servers) : old->server_count;
    uint32_t host = map_host_by_name(old, claim->host.name);
    struct members_growth more = {.hosts = host == 0,
                                  .servers = known ? 0 : 1,
                                  .shards = claim->shard_count,
                                  .targets = new_targets,
                                  .groups = members->conf->replicas > 1 ? 0 : new_targets};
    if (host == 0)
        host = old->host_count + 1;
    if (old->group_count + new_targets > LIMITS_GROUPS_MAX || index >= LIMITS_SERVERS_MAX ||
        host > LIMITS_HOSTS_MAX)
        return err_set(-ENOSPC, "the cluster has as many servers or targets as it can have");
    struct map *map = members_map_copy(old, &more);
    if (!map)
        return members_no_memory();
    struct map_server *server = &map->servers[index];
    server->id = index;
    server->state = MAP_STATE_UP;
    snprintf(server->name, sizeof server->name, "%s", claim->name);
    for (uint32_t k = 0; k < claim->shard_count; k++)
        snprintf(server->addresses[k], sizeof server->addresses[k], "%s", claim->addresses[k]);
    place_server(map, index, host, &claim->host);
    append_targets(old, claim, index, map);
    int error = note_there(claim, index, map);
    if (!error)
        error = sort_targets(map);
    /* Without groups it is a server that can't be used yet, not one that has no place. */
    if (!error && members_groups_grow(members->conf, &map))
        log_error("no groups can be made for the new targets: %s", err_text());
    map_index(map);
    if (!error && map_encoded_size(map) > LIMITS_BODY_MAX / 2)
        error = err_set(-ENOSPC, "the cluster map has become too large for one message");
    if (error) {
        map_unref(map);
        return error;
    }
    *out = map;
    return 0;
}

static int register_claim(struct members *members, struct store_txn *txn, const struct claim *claim,
                          struct members_change **change)
{
    const struct map_server *known = map_server_by_name(members->map, claim->name);
    struct map *map = NULL;
    int error = check_claim(members->conf, members->map, claim, known);
    if (error || changes_nothing(members->map, claim, known))
        return error;
    error = build(members, claim, known, &map);
    if (error)
        return error;
    error = members_change_new(members, map, change);
    if (error)
        return error;
    uint32_t index = known ? (uint32_t)(known - members->map->servers) : members->map->server_count;
    error = members_save(txn, map, index, members->map);
    if (error) {
        members_forget(*change);
        *change = NULL;
    }
    return error;
}

int members_register(struct members *members, struct store_txn *txn,
                     const struct wire_server_register *request, struct members_change **change)
{
    struct claim claim = {.name = request->name, .unclean = request->unclean};
    *change = NULL;
    int error = check_name(claim.name);
    if (!error)
        error = read_addresses(request, &claim);
    if (!error)
        error = read_targets(request, &claim);
    if (!error)
        error = read_host(&request->host, &claim);
    if (!error)
        error = register_claim(members, txn, &claim, change);
    free(claim.targets);
    return error;
}
