/* SPDX-License-Identifier: Apache-2.0 */
#include "members.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "group_state.h"
#include "hostname.h"
#include "log.h"
#include "records.h"

#define SETTING_ADDRESS "metadata_address"

/* What has failed is tried again later and later, up to so many leases. */
enum { RETRY_LEASES_MAX = 8 };
#define MS UINT64_C(1000000)

/* What is known of a server, and kept nowhere. */
struct hearing {
    uint64_t heard_ns;
    uint64_t adopted; /* version of the map that all its shards go by */
    uint32_t retry_ms;
    uint64_t retry_at_ns; /* members on it may get what they missed from then on */
};

struct members {
    const struct conf *conf;
    struct map *map;
    struct hearing *hearings; /* of each server of the map */
    uint8_t *encoded;
    bool unsettled; /* a group has a member that is not current */
};

struct members_change {
    struct map *map;
    struct hearing *hearings;
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

static int change_new(const struct members *members, struct map *map, struct members_change **out)
{
    struct members_change *change = calloc(1, sizeof *change);
    struct hearing *hearings = calloc(map->server_count + 1u, sizeof *hearings);
    if (!change || !hearings) {
        free(change);
        free(hearings);
        map_unref(map);
        return no_memory();
    }
    if (members->map->server_count)
        memcpy(hearings, members->hearings, members->map->server_count * sizeof *hearings);
    *change = (struct members_change){.map = map, .hearings = hearings};
    *out = change;
    return 0;
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

/* It is the leader of a group with other members. */
static bool leads_others(const struct map *map, const struct map_server *server)
{
    for (uint32_t g = 0; g < map->group_count; g++)
        if (map->groups[g].member_count > 1 && &map->servers[map_leader(map, g)->server] == server)
            return true;
    return false;
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
    if (claim->unclean && leads_others(map, known))
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
        lost[i] = tells_of_loss(claim, target);
        if (!lost[i])
            continue;
        target->losses = claimed(claim, target->id)->losses;
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
        return no_memory();
    note_claimed(claim, server, map, lost);
    members_states_registered(map, server, lost, claim->unclean);
    tell_losses(map, lost);
    free(lost);
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
        return no_memory();
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
        return no_memory();
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
            error = save(txn, map, i, members->map);
    }
    if (error) {
        map_unref(map);
        return error;
    }
    return change_new(members, map, change);
}

/* ---- groups with several members ---------------------------------------- */

/* Makes a change of `map` if there was one; else it is let go. */
static int conclude(struct members *members, struct store_txn *txn, struct map *map, bool changed,
                    struct members_change **change)
{
    int error = changed ? save(txn, map, UINT32_MAX, members->map) : 0;
    if (error || !changed) {
        map_unref(map);
        return error;
    }
    map_index(map);
    return change_new(members, map, change);
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
        return no_memory();
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
    return map ? conclude(members, txn, map, tend(members, map, now_ns), change) : no_memory();
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

int members_load(struct store_txn *txn, const struct conf *conf, const uint8_t cluster[16],
                 const char *address, uint64_t now_ns, struct members **out)
{
    struct members *members = calloc(1, sizeof *members);
    if (!members)
        return no_memory();
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
            error = no_memory();
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
    free(members);
}
