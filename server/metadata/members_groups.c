/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members_groups.c: groups of several members, made from where the targets are. A cluster without
 * redundancy has a group for each target, made when that registers (members_register.c).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "members_internal.h"
#include "placement.h"

/* ---- what placement wants to know ----------------------------------------- */

/* The number of the first host that is in the same one; hosts of which it is not known are alone. */
static uint32_t rack_of(const struct map *map, uint32_t host)
{
    for (uint32_t h = 0; *map->hosts[host].rack && h < host; h++)
        if (strcmp(map->hosts[h].rack, map->hosts[host].rack) == 0)
            return h;
    return host;
}

static uint32_t chassis_of(const struct map *map, uint32_t host)
{
    for (uint32_t h = 0; *map->hosts[host].chassis && h < host; h++)
        if (strcmp(map->hosts[h].chassis, map->hosts[host].chassis) == 0 &&
            strcmp(map->hosts[h].rack, map->hosts[host].rack) == 0)
            return h;
    return host;
}

static int check_known(const struct map *map, enum placement_level level)
{
    for (uint32_t h = 0; h < map->host_count; h++) {
        const struct map_host *host = &map->hosts[h];
        if ((level == PLACEMENT_RACK && !*host->rack) || (level == PLACEMENT_CHASSIS && !*host->chassis))
            return err_set(-EINVAL, "which %s host %s is in is not known; set it for its storage servers",
                           level == PLACEMENT_RACK ? "rack" : "chassis", host->name);
    }
    return 0;
}

bool members_capacity_alike(uint64_t a, uint64_t b)
{
    const uint64_t more = a > b ? a : b, less = a > b ? b : a;
    return more - less <= more / 64;
}

struct sized {
    uint32_t target; /* index */
    uint64_t capacity;
};

static int larger_first(const void *a, const void *b)
{
    const struct sized *left = a, *right = b;
    if (left->capacity != right->capacity)
        return left->capacity > right->capacity ? -1 : 1;
    return left->target < right->target ? -1 : 1;
}

/* What is not known is taken for the mean of what is. */
static uint64_t mean_capacity(const struct map *map)
{
    __extension__ unsigned __int128 sum = 0;
    uint32_t known = 0;
    for (uint32_t i = 0; i < map->target_count; i++) {
        sum += map->targets[i].capacity;
        known += map->targets[i].capacity != 0;
    }
    return known ? (uint64_t)(sum / known) : 1;
}

/* What placement counts a target for, in MiB: of all that are alike, the least. Else disks of one kind would
 * be many kinds to it, and exact designs are for equal targets only. */
static int weigh(const struct map *map, struct placement_target *targets)
{
    const uint64_t mean = mean_capacity(map);
    struct sized *sized = malloc((map->target_count + 1u) * sizeof *sized);
    if (!sized)
        return members_no_memory();
    for (uint32_t i = 0; i < map->target_count; i++) {
        const uint64_t capacity = map->targets[i].capacity;
        sized[i] = (struct sized){.target = i, .capacity = capacity ? capacity : mean};
    }
    qsort(sized, map->target_count, sizeof *sized, larger_first);
    for (uint32_t first = 0, end; first < map->target_count; first = end) {
        for (end = first + 1; end < map->target_count; end++)
            if (!members_capacity_alike(sized[end].capacity, sized[first].capacity))
                break;
        const uint64_t units = sized[end - 1].capacity >> 20;
        for (uint32_t i = first; i < end; i++)
            targets[sized[i].target].capacity = units ? units : 1;
    }
    free(sized);
    return 0;
}

/* Where servers are the failure domains, each is a host of its own. */
static int describe(const struct map *map, enum placement_level level, struct placement_target *targets)
{
    for (uint32_t i = 0; i < map->target_count; i++) {
        const struct map_server *server = &map->servers[map->targets[i].server];
        const uint32_t host = level == PLACEMENT_TARGET ? server->id : server->host - 1;
        targets[i] = (struct placement_target){
            .id = map->targets[i].id,
            .host = host,
            .chassis = level == PLACEMENT_TARGET ? host : chassis_of(map, host),
            .rack = level == PLACEMENT_TARGET ? host : rack_of(map, host),
        };
    }
    return weigh(map, targets);
}

/* ---- when, and how many ----------------------------------------------------- */

static bool all_known(const struct conf *conf, const struct map *map)
{
    for (uint32_t s = 0; s < conf->storage_count; s++)
        for (uint32_t i = 0; i < conf->storage[s].target_count; i++)
            if (!map_target_by_id(map, conf->storage[s].targets[i].id))
                return false;
    return true;
}

/* Which targets are in groups; the caller's to free(). */
static bool *find_grouped(const struct map *map)
{
    bool *grouped = calloc(map->target_count + 1u, sizeof *grouped);
    if (!grouped) {
        err_set(-ENOMEM, "no memory to make groups");
        return NULL;
    }
    for (uint32_t g = 0; g < map->group_count; g++)
        for (uint32_t m = 0; m < map->groups[g].member_count; m++)
            grouped[map->groups[g].members[m]] = true;
    return grouped;
}

/* So many that what the targets have in groups is to their capacity as before; rounded up. */
static uint32_t grown_count(const struct map *map, const bool *grouped,
                            const struct placement_target *targets)
{
    __extension__ unsigned __int128 all = 0, before = 0;
    for (uint32_t i = 0; i < map->target_count; i++) {
        all += targets[i].capacity;
        before += grouped[i] ? targets[i].capacity : 0;
    }
    all = (all * map->group_count + before - 1) / before;
    return all < UINT32_MAX ? (uint32_t)all : UINT32_MAX;
}

/* ---- the groups --------------------------------------------------------------- */

/* The table of the groups that there are. */
static int table_of(const struct map *map, uint32_t members, struct placement_table *table)
{
    *table = (struct placement_table){.members = members, .group_count = map->group_count};
    table->ids = malloc((size_t)(map->group_count + 1) * members * sizeof *table->ids);
    if (!table->ids)
        return members_no_memory();
    for (uint32_t g = 0; g < map->group_count; g++)
        for (uint32_t m = 0; m < members; m++)
            table->ids[g * members + m] = map->targets[map->groups[g].members[m]].id;
    return 0;
}

static int place(const struct conf *conf, const struct map *map, const bool *grouped,
                 struct placement_table *table)
{
    struct placement_wanted wanted = {
        .members = conf->replicas,
        .level = conf->failure_domain == PLACEMENT_TARGET ? PLACEMENT_HOST : conf->failure_domain,
        .groups_per_target = conf->groups_per_target,
        .device_class = PLACEMENT_ANY_CLASS,
    };
    struct placement_table old = {0};
    struct placement_target *targets = calloc(map->target_count, sizeof *targets);
    int error = targets ? check_known(map, conf->failure_domain) : members_no_memory();
    if (!error)
        error = describe(map, conf->failure_domain, targets);
    if (error)
        goto free_targets;
    if (map->group_count == 0) {
        error = placement_make(targets, map->target_count, &wanted, table);
        goto free_targets;
    }
    error = table_of(map, conf->replicas, &old);
    wanted.group_count = grown_count(map, grouped, targets);
    if (!error)
        error = placement_change(targets, map->target_count, &wanted,
                                 &(struct placement_change_wanted){.change = PLACEMENT_KEEP}, &old, table);
    if (!error && memcmp(table->ids, old.ids, (size_t)old.group_count * old.members * sizeof *old.ids) != 0) {
        placement_free(table);
        error = err_set(-EINVAL, "the new targets fit into groups only if others move");
    }
    free(old.ids);
free_targets:
    free(targets);
    return error;
}

static int append(const struct placement_table *table, struct map **map)
{
    struct map *old = *map;
    struct map *grown =
        members_map_copy(old, &(struct members_growth){.groups = table->group_count - old->group_count});
    if (!grown)
        return members_no_memory();
    grown->version = old->version;
    for (uint32_t g = old->group_count; g < table->group_count; g++) {
        struct map_group *group = &grown->groups[g];
        group->member_count = table->members;
        for (uint32_t m = 0; m < table->members; m++)
            group->members[m] =
                (uint32_t)(map_target_by_id(grown, table->ids[g * table->members + m]) - grown->targets);
        group->home = grown->servers[grown->targets[group->members[0]].server].host;
    }
    map_unref(old);
    *map = grown;
    return 0;
}

int members_groups_grow(const struct conf *conf, struct map **map)
{
    struct placement_table table = {0};
    int error = 0;
    if (conf->replicas <= 1 || !all_known(conf, *map))
        return 0;
    bool *grouped = find_grouped(*map);
    if (!grouped)
        return -ENOMEM;
    if (!memchr(grouped, false, (*map)->target_count))
        goto free_grouped;
    error = place(conf, *map, grouped, &table);
    if (!error)
        error = append(&table, map);
    placement_free(&table);
free_grouped:
    free(grouped);
    return error;
}

int members_groups_check(const struct conf *conf, const struct map *map)
{
    const uint32_t replicas = conf->replicas > 1 ? conf->replicas : 1;
    for (uint32_t g = 0; g < map->group_count; g++)
        if (map->groups[g].member_count != replicas)
            return err_set(-EINVAL,
                           "this cluster's groups have %" PRIu32
                           " members, and redundancy.replicas says %" PRIu32
                           "; what is there can't be changed, so set it to %" PRIu32,
                           map->groups[g].member_count, replicas, map->groups[g].member_count);
    return 0;
}
