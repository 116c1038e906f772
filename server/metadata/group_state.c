/* SPDX-License-Identifier: Apache-2.0 */
#include "group_state.h"

static bool is_there(const struct map *map, const struct map_group *group, uint32_t member)
{
    return map_target_is_there(map, group->members[member]);
}

static bool told(struct map *map, struct map_group *group)
{
    group->changed = map->version;
    return true;
}

/* Who can take `member`'s place: the first other one that is current and there, else one that is leaving: its
 * leader waits with all answers that it does not have. -1: nobody. */
static int successor_of(const struct map *map, const struct map_group *group, uint32_t member)
{
    int leaving = -1;
    for (uint32_t m = 0; m < group->member_count; m++) {
        if (m == member || !is_there(map, group, m))
            continue;
        if (group->states[m] == MAP_MEMBER_CURRENT)
            return (int)m;
        if (group->states[m] == MAP_MEMBER_LEAVING && leaving < 0)
            leaving = (int)m;
    }
    return leaving;
}

/* The old leader was giving changes to all members when it ended: one may have a part of them, and another
 * one another part. So the others are compared with the one that leads now. */
static void lead(struct map_group *group, uint32_t leader)
{
    group->states[group->leader] = MAP_MEMBER_STALE;
    for (uint32_t m = 0; m < group->member_count; m++) {
        if (group->states[m] == MAP_MEMBER_CURRENT)
            group->states[m] = MAP_MEMBER_SYNCING;
        else if (group->states[m] == MAP_MEMBER_LEAVING)
            group->states[m] = MAP_MEMBER_STALE;
    }
    group->leader = leader;
    group->states[leader] = MAP_MEMBER_CURRENT;
}

bool group_state_lost(struct map *map, uint32_t group, uint32_t member)
{
    struct map_group *of = &map->groups[group];
    if (of->states[member] == MAP_MEMBER_STALE)
        return false;
    const int successor = successor_of(map, of, member);
    if (member == of->leader) {
        if (successor < 0)
            return false;
        lead(of, (uint32_t)successor);
        return told(map, of);
    }
    /* The leader may be gone as well: of those that have everything the last one stays. */
    if (of->states[member] == MAP_MEMBER_CURRENT && successor < 0)
        return false;
    of->states[member] = MAP_MEMBER_STALE;
    return told(map, of);
}

bool group_state_doubtful(struct map *map, uint32_t group, uint32_t member)
{
    struct map_group *of = &map->groups[group];
    bool changed = group_state_lost(map, group, member);
    if (changed || member != of->leader)
        return changed;
    for (uint32_t m = 0; m < of->member_count; m++) {
        if (m == member || of->states[m] == MAP_MEMBER_STALE)
            continue;
        of->states[m] = MAP_MEMBER_STALE;
        changed = told(map, of);
    }
    return changed;
}

bool group_state_failed(struct map *map, uint32_t group, uint32_t member)
{
    struct map_group *of = &map->groups[group];
    if (member == of->leader) {
        const int successor = successor_of(map, of, member);
        /* One that is leaving has failed itself. */
        if (successor < 0 || of->states[successor] != MAP_MEMBER_CURRENT)
            return false;
        lead(of, (uint32_t)successor);
        /* Until it knows that somebody else leads it serves reads, and so must have what is answered. */
        of->states[member] = MAP_MEMBER_LEAVING;
        return told(map, of);
    }
    switch (of->states[member]) {
    case MAP_MEMBER_CURRENT:
        of->states[member] = MAP_MEMBER_LEAVING;
        return told(map, of);
    case MAP_MEMBER_SYNCING:
        of->states[member] = MAP_MEMBER_STALE;
        return told(map, of);
    }
    return false;
}

bool group_state_left(struct map *map, uint32_t group, uint32_t member)
{
    struct map_group *of = &map->groups[group];
    if (of->states[member] != MAP_MEMBER_LEAVING)
        return false;
    of->states[member] = MAP_MEMBER_STALE;
    return told(map, of);
}

bool group_state_rejoin(struct map *map, uint32_t group, uint32_t member)
{
    struct map_group *of = &map->groups[group];
    if (of->states[member] != MAP_MEMBER_STALE || !is_there(map, of, member) ||
        !is_there(map, of, of->leader))
        return false;
    of->states[member] = MAP_MEMBER_SYNCING;
    return told(map, of);
}

bool group_state_synced(struct map *map, uint32_t group, uint32_t member)
{
    struct map_group *of = &map->groups[group];
    if (of->states[member] != MAP_MEMBER_SYNCING)
        return false;
    of->states[member] = MAP_MEMBER_CURRENT;
    return told(map, of);
}
