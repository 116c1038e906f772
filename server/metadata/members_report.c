/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members_report.c: what the leaders of groups with several members say of the others, and what is due by
 * and by.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

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

int members_find_up(const struct map *map, const char *name, const struct map_server **server)
{
    *server = map_server_by_name(map, name);
    if (!*server || (*server)->state != MAP_STATE_UP)
        return err_set(-ENOENT, "storage server %s is not registered, or was taken for dead", name);
    return 0;
}

int members_report(struct members *members, struct store_txn *txn, const struct wire_group_report *report,
                   uint64_t now_ns, struct members_change **change)
{
    struct wire_reader reader = wire_list_reader(&report->verdicts);
    bool changed = false;
    *change = NULL;
    const struct map_server *server;
    int error = members_find_up(members->map, report->name, &server);
    if (error)
        return error;
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
    error = wire_read_all(&reader, "list of verdicts");
    if (error) {
        map_unref(map);
        return error;
    }
    return conclude(members, txn, map, changed, change);
}

/* Its server knows the version that told of it, or serves nobody any more, or nobody of this group: what it
 * was promised before that version is over, and what it is promised since is for those who go by it. */
static bool has_left(const struct members *members, const struct map *map, uint32_t number, uint32_t member,
                     uint64_t now_ns)
{
    const struct map_group *group = &members->map->groups[number];
    const uint32_t server = map->targets[group->members[member]].server;
    const struct watch *watch = &members->watches[number];
    return map->servers[server].state == MAP_STATE_DOWN ||
           members->hearings[server].adopted >= group->changed ||
           (watch->changed == group->changed && now_ns - watch->since_ns > members->conf->lease_ms * MS);
}

/* Notes when each group's state was seen first. -ENOMEM */
static int watch_groups(struct members *members, uint64_t now_ns)
{
    const struct map *map = members->map;
    if (members->watch_count < map->group_count) {
        struct watch *watches = realloc(members->watches, map->group_count * sizeof *watches);
        if (!watches)
            return members_no_memory();
        memset(&watches[members->watch_count], 0,
               (map->group_count - members->watch_count) * sizeof *watches);
        members->watches = watches;
        members->watch_count = map->group_count;
    }
    for (uint32_t g = 0; g < map->group_count; g++)
        if (members->watches[g].changed != map->groups[g].changed)
            members->watches[g] = (struct watch){.changed = map->groups[g].changed, .since_ns = now_ns};
    return 0;
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
            if (group->states[m] == MAP_MEMBER_LEAVING && has_left(members, at, g, m, now_ns))
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

bool members_any_due(struct members *members, uint64_t now_ns)
{
    return members->unsettled && watch_groups(members, now_ns) == 0 && tend(members, NULL, now_ns);
}

int members_tend(struct members *members, struct store_txn *txn, uint64_t now_ns,
                 struct members_change **change)
{
    *change = NULL;
    int error = watch_groups(members, now_ns);
    if (error)
        return error;
    struct map *map = members_map_copy(members->map, &(struct members_growth){0});
    return map ? conclude(members, txn, map, tend(members, map, now_ns), change) : members_no_memory();
}
