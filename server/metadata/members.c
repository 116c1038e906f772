/* SPDX-License-Identifier: Apache-2.0 */
#include "members.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "hostname.h"
#include "log.h"
#include "records.h"

#define SETTING_ADDRESS "metadata_address"

struct members {
    struct map *map;
    uint64_t *heard_ns; /* of each server of the map; kept nowhere */
    uint8_t *encoded;
};

struct members_change {
    struct map *map;
    uint64_t *heard_ns;
};

static int no_memory(void)
{
    return err_set(-ENOMEM, "no memory for the cluster map");
}

/* ---- making maps from maps ---------------------------------------------- */

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
        return no_memory();
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

/* What a copy has more than the old map: each target has a group of its own. */
struct growth {
    uint32_t hosts, servers, shards /* of each server */, targets;
};

/* A copy with room for more. The version is one more. */
static struct map *copy(const struct map *old, const struct growth *more)
{
    uint32_t *shard_counts = calloc(old->server_count + more->servers + 1u, sizeof *shard_counts);
    if (!shard_counts)
        return NULL;
    for (uint32_t i = 0; i < old->server_count; i++)
        shard_counts[i] = old->servers[i].shard_count;
    for (uint32_t i = 0; i < more->servers; i++)
        shard_counts[old->server_count + i] = more->shards;
    struct map *map = map_new(old->host_count + more->hosts, old->server_count + more->servers, shard_counts,
                              old->target_count + more->targets, old->group_count + more->targets);
    free(shard_counts);
    if (!map)
        return NULL;
    map->version = old->version + 1;
    memcpy(map->cluster, old->cluster, sizeof map->cluster);
    memcpy(map->metadata_address, old->metadata_address, sizeof map->metadata_address);
    for (uint32_t i = 0; i < old->server_count; i++) {
        struct map_server *server = &map->servers[i];
        char(*addresses)[LIMITS_ADDRESS_MAX + 1] = server->addresses;
        *server = old->servers[i];
        server->addresses = addresses;
        memcpy(addresses, old->servers[i].addresses, server->shard_count * sizeof *addresses);
    }
    if (old->host_count)
        memcpy(map->hosts, old->hosts, old->host_count * sizeof *map->hosts);
    if (old->target_count)
        memcpy(map->targets, old->targets, old->target_count * sizeof *map->targets);
    if (old->group_count)
        memcpy(map->groups, old->groups, old->group_count * sizeof *map->groups);
    return map;
}

static int change_new(const struct members *members, struct map *map, struct members_change **out)
{
    struct members_change *change = calloc(1, sizeof *change);
    uint64_t *heard_ns = calloc(map->server_count + 1u, sizeof *heard_ns);
    if (!change || !heard_ns) {
        free(change);
        free(heard_ns);
        map_unref(map);
        return no_memory();
    }
    if (members->map->server_count)
        memcpy(heard_ns, members->heard_ns, members->map->server_count * sizeof *heard_ns);
    *change = (struct members_change){.map = map, .heard_ns = heard_ns};
    *out = change;
    return 0;
}

void members_forget(struct members_change *change)
{
    if (!change)
        return;
    map_unref(change->map);
    free(change->heard_ns);
    free(change);
}

const struct map *members_change_map(const struct members_change *change)
{
    return change->map;
}

void members_adopt(struct members *members, struct members_change *change)
{
    if (!change)
        return;
    map_unref(members->map);
    free(members->heard_ns);
    members->map = change->map;
    members->heard_ns = change->heard_ns;
    free(change);
}

/* ---- what a registration says ------------------------------------------- */

struct claim {
    const char *name;
    uint32_t shard_count;
    const char *addresses[LIMITS_SHARDS_MAX];
    uint32_t target_count;
    struct wire_served_target *targets; /* sorted by id */
    struct map_host host;
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
        return no_memory();
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

/* Does the claim fit what is known? */
static int check_claim(const struct map *map, const struct claim *claim, const struct map_server *known)
{
    /* The shard of a chunk follows from the number of shards, so data would be looked for elsewhere. */
    if (known && known->shard_count != claim->shard_count)
        return err_set(
            -EINVAL,
            "storage server %s came with %u shards, but its data is spread over %u; set shards = %u for it",
            claim->name, claim->shard_count, known->shard_count, known->shard_count);
    for (uint32_t i = 0; i < claim->target_count; i++) {
        const struct map_target *target = map_target_by_id(map, claim->targets[i].id);
        if (target && &map->servers[target->server] != known)
            return err_set(
                -EEXIST,
                "target %u belongs to storage server %s, and %s claims it too; every target of a cluster "
                "needs an id of its own",
                target->id, map->servers[target->server].name, claim->name);
    }
    return 0;
}

static uint32_t count_new_targets(const struct map *map, const struct claim *claim)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < claim->target_count; i++)
        count += map_target_by_id(map, claim->targets[i].id) == NULL;
    return count;
}

static bool is_same_host(const struct map_host *a, const struct map_host *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->chassis, b->chassis) == 0 &&
           strcmp(a->rack, b->rack) == 0;
}

static bool changes_nothing(const struct map *map, const struct claim *claim, const struct map_server *known)
{
    if (!known || known->state != MAP_STATE_UP || count_new_targets(map, claim))
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
            ((target->state == MAP_STATE_UP) != !!claimed(claim, target->id) || tells_of_loss(claim, target)))
            return false;
    }
    return true;
}

/* ---- registration ------------------------------------------------------- */

/* The new targets go behind the others, each with a group of its own. */
static void append_targets(const struct map *old, const struct claim *claim, uint32_t server, struct map *map)
{
    uint32_t target = old->target_count, group = old->group_count;
    for (uint32_t i = 0; i < claim->target_count; i++) {
        const struct wire_served_target *served = &claim->targets[i];
        if (map_target_by_id(old, served->id))
            continue;
        map->targets[target] =
            (struct map_target){.id = served->id, .server = server, .losses = served->losses};
        map->groups[group] =
            (struct map_group){.member_count = 1, .members = {target}, .home = map->servers[server].host};
        target++;
        group++;
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

/* What the server serves is up, and what that may have lost since it registered last is told by this
 * version. */
static void note_claimed(const struct claim *claim, uint32_t server, struct map *map)
{
    for (uint32_t i = 0; i < map->target_count; i++) {
        struct map_target *target = &map->targets[i];
        if (target->server != server)
            continue;
        target->state = claimed(claim, target->id) ? MAP_STATE_UP : MAP_STATE_DOWN;
        if (!tells_of_loss(claim, target))
            continue;
        target->losses = claimed(claim, target->id)->losses;
        target->lost_at = map->version;
        log_warn("storage server %s may have lost what was written to target %" PRIu32
                 " and not synced, since its host crashed",
                 claim->name, target->id);
    }
}

static int build(const struct members *members, const struct claim *claim, const struct map_server *known,
                 struct map **out)
{
    const struct map *old = members->map;
    uint32_t new_targets = count_new_targets(old, claim);
    uint32_t index = known ? (uint32_t)(known - old->servers) : old->server_count;
    uint32_t host = map_host_by_name(old, claim->host.name);
    struct growth more = {
        .hosts = host == 0, .servers = known ? 0 : 1, .shards = claim->shard_count, .targets = new_targets};
    if (host == 0)
        host = old->host_count + 1;
    if (old->group_count + new_targets > LIMITS_GROUPS_MAX || index >= LIMITS_SERVERS_MAX ||
        host > LIMITS_HOSTS_MAX)
        return err_set(-ENOSPC, "the cluster has as many servers or targets as it can have");
    struct map *map = copy(old, &more);
    if (!map)
        return no_memory();
    struct map_server *server = &map->servers[index];
    server->id = index;
    server->state = MAP_STATE_UP;
    snprintf(server->name, sizeof server->name, "%s", claim->name);
    for (uint32_t k = 0; k < claim->shard_count; k++)
        snprintf(server->addresses[k], sizeof server->addresses[k], "%s", claim->addresses[k]);
    place_server(map, index, host, &claim->host);
    append_targets(old, claim, index, map);
    note_claimed(claim, index, map);
    int error = sort_targets(map);
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

static int save(struct store_txn *txn, const struct map *map, uint32_t server, const struct map *old)
{
    int error = members_rows_save(txn, map, server, old);
    return error ? error : records_setting_put(txn, SETTING_MAP_VERSION, map->version);
}

static int register_claim(struct members *members, struct store_txn *txn, const struct claim *claim,
                          struct members_change **change)
{
    const struct map_server *known = map_server_by_name(members->map, claim->name);
    struct map *map = NULL;
    int error = check_claim(members->map, claim, known);
    if (error || changes_nothing(members->map, claim, known))
        return error;
    error = build(members, claim, known, &map);
    if (error)
        return error;
    error = change_new(members, map, change);
    if (error)
        return error;
    uint32_t index = known ? (uint32_t)(known - members->map->servers) : members->map->server_count;
    error = save(txn, map, index, members->map);
    if (error) {
        members_forget(*change);
        *change = NULL;
    }
    return error;
}

int members_register(struct members *members, struct store_txn *txn,
                     const struct wire_server_register *request, struct members_change **change)
{
    struct claim claim = {.name = request->name};
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

/* ---- life and death ----------------------------------------------------- */

int members_heard(struct members *members, const char *name, uint64_t bytes_total, uint64_t bytes_free,
                  uint64_t now_ns)
{
    const struct map_server *found = map_server_by_name(members->map, name);
    if (!found)
        return err_set(-ENOENT, "storage server %s is not registered; it has to register first", name);
    /* The map is ours; no one else holds this copy of it. */
    struct map_server *server = &members->map->servers[found - members->map->servers];
    members->heard_ns[server - members->map->servers] = now_ns;
    server->bytes_total = bytes_total;
    server->bytes_free = bytes_free < bytes_total ? bytes_free : bytes_total;
    if (server->state != MAP_STATE_UP)
        return err_set(-ENOENT, "storage server %s was taken for dead; it has to register again", name);
    return 0;
}

static bool is_silent(const struct members *members, uint32_t i, uint64_t silent_since_ns)
{
    return members->map->servers[i].state == MAP_STATE_UP && members->heard_ns[i] <= silent_since_ns;
}

bool members_any_silent(const struct members *members, uint64_t silent_since_ns)
{
    for (uint32_t i = 0; i < members->map->server_count; i++) {
        if (is_silent(members, i, silent_since_ns))
            return true;
    }
    return false;
}

void members_pardon(struct members *members, uint64_t deaf_ns, uint64_t now_ns)
{
    for (uint32_t i = 0; i < members->map->server_count; i++) {
        uint64_t heard_ns = members->heard_ns[i] + deaf_ns;
        members->heard_ns[i] = heard_ns < now_ns ? heard_ns : now_ns;
    }
}

int members_expire(struct members *members, struct store_txn *txn, uint64_t silent_since_ns,
                   struct members_change **change)
{
    *change = NULL;
    if (!members_any_silent(members, silent_since_ns))
        return 0;
    struct map *map = copy(members->map, &(struct growth){0});
    if (!map)
        return no_memory();
    map_index(map);
    for (uint32_t i = 0; i < map->target_count; i++) {
        if (is_silent(members, map->targets[i].server, silent_since_ns))
            map->targets[i].state = MAP_STATE_DOWN;
    }
    int error = 0;
    for (uint32_t i = 0; i < map->server_count && !error; i++) {
        if (!is_silent(members, i, silent_since_ns))
            continue;
        map->servers[i].state = MAP_STATE_DOWN;
        error = save(txn, map, i, members->map);
    }
    if (error) {
        map_unref(map);
        return error;
    }
    return change_new(members, map, change);
}

/* ---- the map ------------------------------------------------------------ */

const struct map *members_map(const struct members *members)
{
    return members->map;
}

int members_encoded(struct members *members, struct wire_bytes *encoded)
{
    const struct map *map = members->map;
    size_t size = map_encoded_size(map);
    uint8_t *buffer = realloc(members->encoded, size);
    if (!buffer)
        return no_memory();
    members->encoded = buffer;
    ssize_t length = map_encode(map, buffer, size);
    if (length < 0)
        return (int)length;
    *encoded = (struct wire_bytes){.data = buffer, .length = (uint32_t)length};
    return 0;
}

/* The address may differ from start to start (port 0), and a map of one version has one content. */
static int note_address(struct store_txn *txn, struct map *map, const char *address)
{
    struct store_bytes key = {SETTING_ADDRESS, strlen(SETTING_ADDRESS)}, known;
    snprintf(map->metadata_address, sizeof map->metadata_address, "%s", address);
    int error = store_get(txn, STORE_SETTINGS, key, &known);
    if (error && error != -ENOENT)
        return error;
    if (!error && known.length == strlen(address) && memcmp(known.data, address, known.length) == 0)
        return 0;
    map->version++;
    error = store_put(txn, STORE_SETTINGS, key, (struct store_bytes){address, strlen(address)});
    return error ? error : records_setting_put(txn, SETTING_MAP_VERSION, map->version);
}

int members_load(struct store_txn *txn, const uint8_t cluster[16], const char *address, uint64_t now_ns,
                 struct members **out)
{
    struct members *members = calloc(1, sizeof *members);
    if (!members)
        return no_memory();
    int error = members_rows_load(txn, &members->map);
    if (!error)
        error = records_setting_get(txn, SETTING_MAP_VERSION, &members->map->version);
    if (error == -ENOENT)
        error = err_set(-EUCLEAN, "the metadata store has lost its setting \"%s\"", SETTING_MAP_VERSION);
    if (!error)
        error = note_address(txn, members->map, address);
    if (!error) {
        memcpy(members->map->cluster, cluster, sizeof members->map->cluster);
        members->heard_ns = calloc(members->map->server_count + 1u, sizeof *members->heard_ns);
        if (!members->heard_ns)
            error = no_memory();
    }
    if (error) {
        members_free(members);
        return error;
    }
    for (uint32_t i = 0; i < members->map->server_count; i++)
        members->heard_ns[i] = now_ns;
    *out = members;
    return 0;
}

void members_free(struct members *members)
{
    if (!members)
        return;
    map_unref(members->map);
    free(members->heard_ns);
    free(members->encoded);
    free(members);
}
