/* SPDX-License-Identifier: Apache-2.0 */
/* map_nearest.c: which member of a group a reader asks. */
#include <string.h>

#include "map.h"

/* How far away: the less, the nearer. */
enum { SAME_HOST, SAME_CHASSIS, SAME_RACK, ELSEWHERE };

static unsigned distance(const struct map *map, uint32_t from, uint32_t to)
{
    const struct map_host *here = map_host(map, from), *there = map_host(map, to);
    if (!here || !there)
        return ELSEWHERE;
    if (from == to)
        return SAME_HOST;
    const bool same_rack = strcmp(here->rack, there->rack) == 0;
    if (*here->chassis && same_rack && strcmp(here->chassis, there->chassis) == 0)
        return SAME_CHASSIS;
    return *here->rack && same_rack ? SAME_RACK : ELSEWHERE;
}

bool map_target_is_there(const struct map *map, uint32_t target)
{
    return map->targets[target].state == MAP_STATE_UP &&
           map->servers[map->targets[target].server].state == MAP_STATE_UP;
}

static bool can_be_read(const struct map *map, const struct map_group *group, uint32_t member)
{
    return group->states[member] == MAP_MEMBER_CURRENT && map_target_is_there(map, group->members[member]);
}

const struct map_target *map_nearest(const struct map *map, uint32_t group, uint32_t host, uint64_t choice)
{
    const struct map_group *of = &map->groups[group];
    uint32_t found[LIMITS_GROUP_MEMBERS_MAX], count = 0;
    unsigned least = ELSEWHERE + 1;
    for (uint32_t m = 0; m < of->member_count; m++) {
        const struct map_target *target = &map->targets[of->members[m]];
        if (!can_be_read(map, of, m))
            continue;
        const unsigned away = distance(map, host, map->servers[target->server].host);
        if (away < least)
            count = 0;
        least = away < least ? away : least;
        if (away == least)
            found[count++] = of->members[m];
    }
    return count ? &map->targets[found[choice % count]] : map_leader(map, group);
}

const struct map_target *map_other(const struct map *map, uint32_t group, const struct map_target *than)
{
    const struct map_group *of = &map->groups[group];
    const struct map_target *found = map_leader(map, group);
    for (uint32_t m = 0; m < of->member_count && found == than; m++)
        if (can_be_read(map, of, m))
            found = &map->targets[of->members[m]];
    return found != than ? found : NULL;
}

bool map_has_replicas(const struct map *map)
{
    return map->group_count && map->groups[0].member_count > 1;
}
