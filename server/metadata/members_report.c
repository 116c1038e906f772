/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members_report.c: what the leaders of groups with several members say of the others, and what is due by
 * and by.
 */
#include <errno.h>
#include <inttypes.h>

#include "err.h"
#include "group_state.h"
#include "log.h"
#include "members_internal.h"

/* What has failed is tried again later and later, up to so many leases. */
enum { RETRY_LEASES_MAX = 8 };
#define MS UINT64_C(1000000)

/* ---- groups with several members ---------------------------------------- */

/* Makes a change of `map` if there was one; else it is let go. */
static int conclude(struct members *members, struct store_txn *txn, struct map *map, bool changed,
                    struct members_change **change)
{
    int error = changed ? members_save(txn, map, UINT32_MAX, members->map) : 0;
    if (error || !changed) {
        map_unref(map);
        return error;
    }
    map_index(map);
    return members_change_new(members, map, change);
}

/* A failed member is tried again, but not at once. */
static void put_off(const struct members *members, struct hearing *hearing, uint64_t now_ns)
{
    const uint32_t least = members->conf->heartbeat_ms, most = RETRY_LEASES_MAX * members->conf->lease_ms;
    const uint32_t doubled = 2 * hearing->retry_ms;
    hearing->retry_ms = doubled < least ? least : doubled < most ? doubled : most;
    hearing->retry_at_ns = now_ns + hearing->retry_ms * MS;
}

static bool take_verdict(struct members *members, struct map *map, uint32_t server,
                         const struct wire_group_verdict *verdict, uint64_t now_ns)
{
    uint32_t member;
    if (verdict->group >= map->group_count || map_leader(map, verdict->group)->server != server ||
        map->groups[verdict->group].changed != verdict->changed ||
        map_member_state(map, verdict->group, verdict->target, &member) < 0)
        return false;
    const uint32_t target = map->groups[verdict->group].members[member];
    struct hearing *hearing = &members->hearings[map->targets[target].server];
    if (verdict->synced) {
        hearing->retry_ms = 0;
        return group_state_synced(map, verdict->group, member);
    }
    /* Many groups may tell of the same failure. */
    if (now_ns >= hearing->retry_at_ns)
        put_off(members, hearing, now_ns);
    bool changed = group_state_failed(map, verdict->group, member);
    log_warn("target %" PRIu32 " of storage server %s could not take what was written to group %" PRIu32,
             verdict->target, map->servers[map->targets[target].server].name, verdict->group);
    return changed;
}

int members_report(struct members *members, struct store_txn *txn, const struct wire_group_report *report,
                   uint64_t now_ns, struct members_change **change)
{
    struct wire_reader reader = wire_list_reader(&report->verdicts);
    bool changed = false;
    *change = NULL;
    const struct map_server *server = map_server_by_name(members->map, report->name);
    if (!server)
        return err_set(-ENOENT, "storage server %s is not registered", report->name);
    struct map *map = members_map_copy(members->map, &(struct members_growth){0});
    if (!map)
        return members_no_memory();
    for (uint32_t i = 0; i < report->verdicts.count; i++) {
        struct wire_group_verdict verdict;
        wire_get_group_verdict(&reader, &verdict);
        if (reader.bad)
            break;
        changed |= take_verdict(members, map, (uint32_t)(server - members->map->servers), &verdict, now_ns);
    }
    int error = wire_read_all(&reader, "list of verdicts");
    if (error) {
        map_unref(map);
        return error;
    }
    return conclude(members, txn, map, changed, change);
}

/* Its server knows the version that told of it, or serves nobody any more. */
static bool knows_to_leave(const struct members *members, const struct map *map,
                           const struct map_group *group, uint32_t member)
{
    const uint32_t server = map->targets[group->members[member]].server;
    return map->servers[server].state == MAP_STATE_DOWN ||
           members->hearings[server].adopted >= group->changed;
}

/* With `map` it does what is due; without, it tells whether anything is. */
static bool tend(const struct members *members, struct map *map, uint64_t now_ns)
{
    const struct map *at = map ? map : members->map;
    bool due = false;
    for (uint32_t g = 0; g < at->group_count; g++) {
        const struct map_group *group = &members->map->groups[g];
        for (uint32_t m = 0; m < group->member_count; m++) {
            const uint32_t server = at->targets[group->members[m]].server;
            if (group->states[m] == MAP_MEMBER_LEAVING && knows_to_leave(members, at, group, m))
                due |= map ? group_state_left(map, g, m) : true;
            else if (group->states[m] == MAP_MEMBER_STALE && at->servers[server].state == MAP_STATE_UP &&
                     at->servers[map_leader(at, g)->server].state == MAP_STATE_UP &&
                     now_ns >= members->hearings[server].retry_at_ns)
                due |= map ? group_state_rejoin(map, g, m)
                           : at->targets[group->members[m]].state == MAP_STATE_UP;
        }
    }
    return due;
}

bool members_any_due(const struct members *members, uint64_t now_ns)
{
    return members->unsettled && tend(members, NULL, now_ns);
}

int members_tend(struct members *members, struct store_txn *txn, uint64_t now_ns,
                 struct members_change **change)
{
    *change = NULL;
    struct map *map = members_map_copy(members->map, &(struct members_growth){0});
    return map ? conclude(members, txn, map, tend(members, map, now_ns), change) : members_no_memory();
}
