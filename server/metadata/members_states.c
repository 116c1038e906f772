/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members_states.c: when the members of groups become what group_state.h knows.
 */
#include "group_state.h"
#include "members.h"

void members_states_registered(struct map *map, uint32_t server, const bool *lost, bool unclean)
{
    for (uint32_t g = 0; g < map->group_count; g++) {
        struct map_group *group = &map->groups[g];
        for (uint32_t m = 0; m < group->member_count && group->member_count > 1; m++) {
            const uint32_t target = group->members[m];
            if (map->targets[target].server != server)
                continue;
            /* Its server does not serve it any more. */
            if (!map_target_is_there(map, target)) {
                group_state_lost(map, g, m);
                continue;
            }
            /* It can lead, and who does is not there. */
            if (!map_target_is_there(map, group->members[group->leader]))
                group_state_lost(map, g, group->leader);
            if (lost[target] || (unclean && m == group->leader))
                group_state_doubtful(map, g, m);
            /* What it said of others before does not count. */
            if (m == group->leader && map_group_current(group) < group->member_count)
                group->changed = map->version;
        }
    }
}

void members_states_expired(struct map *map, const struct map *old)
{
    for (uint32_t g = 0; g < map->group_count; g++) {
        const struct map_group *group = &map->groups[g];
        for (uint32_t m = 0; m < group->member_count && group->member_count > 1; m++) {
            const uint32_t server = map->targets[group->members[m]].server;
            if (map->servers[server].state == MAP_STATE_DOWN && old->servers[server].state == MAP_STATE_UP)
                group_state_lost(map, g, m);
        }
    }
}
