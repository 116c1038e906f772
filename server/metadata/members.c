/* SPDX-License-Identifier: Apache-2.0 */
#include "members_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "records.h"

#define SETTING_ADDRESS "metadata_address"

int members_no_memory(void)
{
    return err_set(-ENOMEM, "no memory for the cluster map");
}

/* ---- making maps from maps ---------------------------------------------- */

struct map *members_map_copy(const struct map *old, const struct members_growth *more)
{
    uint32_t *shard_counts = calloc(old->server_count + more->servers + 1u, sizeof *shard_counts);
    if (!shard_counts)
        return NULL;
    for (uint32_t i = 0; i < old->server_count; i++)
        shard_counts[i] = old->servers[i].shard_count;
    for (uint32_t i = 0; i < more->servers; i++)
        shard_counts[old->server_count + i] = more->shards;
    struct map *map = map_new(old->host_count + more->hosts, old->server_count + more->servers, shard_counts,
                              old->target_count + more->targets, old->group_count + more->groups);
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

int members_change_new(const struct members *members, struct map *map, struct members_change **out)
{
    struct members_change *change = calloc(1, sizeof *change);
    struct hearing *hearings = calloc(map->server_count + 1u, sizeof *hearings);
    if (!change || !hearings) {
        free(change);
        free(hearings);
        map_unref(map);
        return members_no_memory();
    }
    if (members->map->server_count)
        memcpy(hearings, members->hearings, members->map->server_count * sizeof *hearings);
    *change = (struct members_change){.map = map, .hearings = hearings};
    *out = change;
    return 0;
}

int members_save(struct store_txn *txn, const struct map *map, uint32_t server, const struct map *old)
{
    int error = members_rows_save(txn, map, server, old);
    return error ? error : records_setting_put(txn, SETTING_MAP_VERSION, map->version);
}

void members_forget(struct members_change *change)
{
    if (!change)
        return;
    map_unref(change->map);
    free(change->hearings);
    free(change);
}

const struct map *members_change_map(const struct members_change *change)
{
    return change->map;
}

static bool is_unsettled(const struct map *map)
{
    for (uint32_t g = 0; g < map->group_count; g++)
        if (map_group_current(&map->groups[g]) < map->groups[g].member_count)
            return true;
    return false;
}

/* For whoever looks for what has happened. */
static void log_groups(const struct map *before, const struct map *after)
{
    static const char letters[] = "clsy"; /* current, leaving, stale, syncing */
    for (uint32_t g = 0; g < after->group_count; g++) {
        const struct map_group *group = &after->groups[g];
        char text[LIMITS_GROUP_MEMBERS_MAX + 1];
        if (group->member_count == 1 ||
            (g < before->group_count && before->groups[g].changed == group->changed))
            continue;
        for (uint32_t m = 0; m < group->member_count; m++)
            text[m] = letters[group->states[m]];
        text[group->member_count] = 0;
        log_debug("group %" PRIu32 " is led by target %" PRIu32 ", its members are %s; map version %" PRIu64,
                  g, map_leader(after, g)->id, text, after->version);
    }
}

void members_adopt(struct members *members, struct members_change *change)
{
    if (!change)
        return;
    log_groups(members->map, change->map);
    map_unref(members->map);
    free(members->hearings);
    members->map = change->map;
    members->hearings = change->hearings;
    members->unsettled = is_unsettled(members->map);
    free(change);
}

/* ---- life and death ----------------------------------------------------- */

int members_heard(struct members *members, const char *name, uint64_t bytes_total, uint64_t bytes_free,
                  uint64_t adopted, uint64_t now_ns)
{
    const struct map_server *found = map_server_by_name(members->map, name);
    if (!found)
        return err_set(-ENOENT, "storage server %s is not registered; it has to register first", name);
    /* The map is ours; no one else holds this copy of it. */
    struct map_server *server = &members->map->servers[found - members->map->servers];
    struct hearing *hearing = &members->hearings[server - members->map->servers];
    hearing->heard_ns = now_ns;
    hearing->adopted = adopted;
    server->bytes_total = bytes_total;
    server->bytes_free = bytes_free < bytes_total ? bytes_free : bytes_total;
    if (server->state != MAP_STATE_UP)
        return err_set(-ENOENT, "storage server %s was taken for dead; it has to register again", name);
    return 0;
}

static bool is_silent(const struct members *members, uint32_t i, uint64_t silent_since_ns)
{
    return members->map->servers[i].state == MAP_STATE_UP && members->hearings[i].heard_ns <= silent_since_ns;
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
        uint64_t heard_ns = members->hearings[i].heard_ns + deaf_ns;
        members->hearings[i].heard_ns = heard_ns < now_ns ? heard_ns : now_ns;
    }
}

int members_expire(struct members *members, struct store_txn *txn, uint64_t silent_since_ns,
                   struct members_change **change)
{
    *change = NULL;
    if (!members_any_silent(members, silent_since_ns))
        return 0;
    struct map *map = members_map_copy(members->map, &(struct members_growth){0});
    if (!map)
        return members_no_memory();
    map_index(map);
    for (uint32_t i = 0; i < map->target_count; i++) {
        if (is_silent(members, map->targets[i].server, silent_since_ns))
            map->targets[i].state = MAP_STATE_DOWN;
    }
    for (uint32_t i = 0; i < map->server_count; i++) {
        if (is_silent(members, i, silent_since_ns))
            map->servers[i].state = MAP_STATE_DOWN;
    }
    members_states_expired(map, members->map);
    int error = 0;
    for (uint32_t i = 0; i < map->server_count && !error; i++) {
        if (is_silent(members, i, silent_since_ns))
            error = members_save(txn, map, i, members->map);
    }
    if (error) {
        map_unref(map);
        return error;
    }
    return members_change_new(members, map, change);
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
        return members_no_memory();
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

int members_load(struct store_txn *txn, const struct conf *conf, const uint8_t cluster[16],
                 const char *address, uint64_t now_ns, struct members **out)
{
    struct members *members = calloc(1, sizeof *members);
    if (!members)
        return members_no_memory();
    members->conf = conf;
    int error = members_rows_load(txn, &members->map);
    if (!error)
        error = members_groups_check(conf, members->map);
    if (!error)
        error = records_setting_get(txn, SETTING_MAP_VERSION, &members->map->version);
    if (error == -ENOENT)
        error = err_set(-EUCLEAN, "the metadata store has lost its setting \"%s\"", SETTING_MAP_VERSION);
    if (!error)
        error = note_address(txn, members->map, address);
    if (!error) {
        memcpy(members->map->cluster, cluster, sizeof members->map->cluster);
        members->unsettled = is_unsettled(members->map);
        members->hearings = calloc(members->map->server_count + 1u, sizeof *members->hearings);
        if (!members->hearings)
            error = members_no_memory();
    }
    if (error) {
        members_free(members);
        return error;
    }
    for (uint32_t i = 0; i < members->map->server_count; i++)
        members->hearings[i].heard_ns = now_ns;
    *out = members;
    return 0;
}

void members_free(struct members *members)
{
    if (!members)
        return;
    map_unref(members->map);
    free(members->hearings);
    free(members->encoded);
    free(members->watches);
    free(members);
}
