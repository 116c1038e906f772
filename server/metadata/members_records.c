/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rows of the members table. Keys are a letter and a number (big-endian u32):
 *
 *   'h' host number   version u16, then name, chassis and rack: length u8, text
 *   's' server id     version u16, shard count u16, state u8, length of the name u8, the name,
 *                     then for each shard: length u16, address; then from version 2 on: host number u32
 *   't' target id     version u16, state u16, server id u32; then from version 2 on: losses u64, version of
 *                     the map that told of the latest u64; then from version 3 on: capacity u64
 *   'g' group number  version u16, member count u16, target ids u32 ...; then from version 2 on: home (a
 *                     host's number) u32; then from version 3 on: leader (place among the members) u32,
 *                     versions of the map that told of the latest change and the latest loss u64, state of
 *                     each member u8 ...
 *
 * Where the host is not known, or neither a capacity nor a loss, version 1 is written; of a target with
 * losses and no capacity version 2. Of groups with several members it is version 3, and of others never.
 */
#include "members.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

#define ROW_VERSION          1u
#define ROW_VERSION_HOST     2u
#define ROW_VERSION_LOST     2u
#define ROW_VERSION_CAPACITY 3u
#define ROW_VERSION_STATES   3u
enum {
    SERVER_HEAD_BYTES = 6,
    TARGET_BYTES = 8,
    TARGET_LOST_BYTES = 24,
    TARGET_CAPACITY_BYTES = 32,
    GROUP_HEAD_BYTES = 4,
    GROUP_HOME_BYTES = 4,
    GROUP_STATES_BYTES = 4 + 8 + 8, /* and one for each member */
};

struct row_key {
    uint8_t bytes[5];
};

static struct store_bytes key_of(struct row_key *key, char kind, uint32_t number)
{
    key->bytes[0] = (uint8_t)kind;
    for (int i = 0; i < 4; i++)
        key->bytes[1 + i] = (uint8_t)(number >> (24 - 8 * i));
    return (struct store_bytes){.data = key->bytes, .length = sizeof key->bytes};
}

static uint32_t number_of(const uint8_t *key)
{
    return (uint32_t)key[1] << 24 | (uint32_t)key[2] << 16 | (uint32_t)key[3] << 8 | key[4];
}

static void put_u16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}
static void put_u32(uint8_t *at, uint32_t value)
{
    put_u16(at, value);
    put_u16(at + 2, value >> 16);
}
static void put_u64(uint8_t *at, uint64_t value)
{
    put_u32(at, (uint32_t)value);
    put_u32(at + 4, (uint32_t)(value >> 32));
}
static uint32_t get_u16(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}
static uint32_t get_u32(const uint8_t *at)
{
    return get_u16(at) | get_u16(at + 2) << 16;
}

static uint64_t get_u64(const uint8_t *at)
{
    return get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

/* ---- writing ------------------------------------------------------------ */

static uint8_t *put_text(uint8_t *at, const char *text)
{
    size_t length = strlen(text);
    *at = (uint8_t)length;
    memcpy(at + 1, text, length);
    return at + 1 + length;
}

static int save_host(struct store_txn *txn, const struct map *map, uint32_t number)
{
    const struct map_host *host = &map->hosts[number - 1];
    struct row_key key;
    uint8_t row[2 + 3 * (1 + LIMITS_HOST_NAME_MAX)], *at = row + 2;
    put_u16(row, ROW_VERSION);
    at = put_text(at, host->name);
    at = put_text(at, host->chassis);
    at = put_text(at, host->rack);
    return store_put(txn, STORE_MEMBERS, key_of(&key, 'h', number),
                     (struct store_bytes){row, (size_t)(at - row)});
}

static int save_server(struct store_txn *txn, const struct map_server *server)
{
    struct row_key key;
    size_t name_length = strlen(server->name);
    size_t size =
        SERVER_HEAD_BYTES + name_length + (size_t)server->shard_count * (2 + LIMITS_ADDRESS_MAX) + 4;
    uint8_t *row = malloc(size), *at = row;
    if (!row)
        return err_set(-ENOMEM, "no memory for the record of a storage server");
    bool has_host = server->host != 0;
    put_u16(at, has_host ? ROW_VERSION_HOST : ROW_VERSION);
    put_u16(at + 2, server->shard_count);
    at[4] = (uint8_t)server->state;
    at[5] = (uint8_t)name_length;
    at += SERVER_HEAD_BYTES;
    memcpy(at, server->name, name_length);
    at += name_length;
    for (uint32_t k = 0; k < server->shard_count; k++) {
        size_t length = strlen(server->addresses[k]);
        put_u16(at, (uint32_t)length);
        memcpy(at + 2, server->addresses[k], length);
        at += 2 + length;
    }
    if (has_host) {
        put_u32(at, server->host);
        at += 4;
    }
    int error = store_put(txn, STORE_MEMBERS, key_of(&key, 's', server->id),
                          (struct store_bytes){row, (size_t)(at - row)});
    free(row);
    return error;
}

/* Of a row of that version; 0: there is none. */
static size_t target_bytes(uint32_t version)
{
    switch (version) {
    case ROW_VERSION:
        return TARGET_BYTES;
    case ROW_VERSION_LOST:
        return TARGET_LOST_BYTES;
    case ROW_VERSION_CAPACITY:
        return TARGET_CAPACITY_BYTES;
    }
    return 0;
}

static int save_target(struct store_txn *txn, const struct map *map, const struct map_target *target)
{
    struct row_key key;
    uint8_t row[TARGET_CAPACITY_BYTES];
    const uint32_t version = target->capacity ? ROW_VERSION_CAPACITY
                             : target->losses ? ROW_VERSION_LOST
                                              : ROW_VERSION;
    put_u16(row, version);
    put_u16(row + 2, target->state);
    put_u32(row + 4, map->servers[target->server].id);
    put_u64(row + 8, target->losses);
    put_u64(row + 16, target->lost_at);
    put_u64(row + 24, target->capacity);
    return store_put(txn, STORE_MEMBERS, key_of(&key, 't', target->id),
                     (struct store_bytes){row, target_bytes(version)});
}

static int save_group(struct store_txn *txn, const struct map *map, uint32_t number)
{
    struct row_key key;
    const struct map_group *group = &map->groups[number];
    const bool has_states = group->member_count > 1;
    uint8_t
        row[GROUP_HEAD_BYTES + GROUP_HOME_BYTES + GROUP_STATES_BYTES + (4 + 1) * LIMITS_GROUP_MEMBERS_MAX];
    size_t length = GROUP_HEAD_BYTES + 4 * (size_t)group->member_count;
    put_u16(row, has_states ? ROW_VERSION_STATES : group->home != 0 ? ROW_VERSION_HOST : ROW_VERSION);
    put_u16(row + 2, group->member_count);
    for (uint32_t i = 0; i < group->member_count; i++)
        put_u32(row + GROUP_HEAD_BYTES + 4 * i, map->targets[group->members[i]].id);
    if (group->home != 0 || has_states) {
        put_u32(row + length, group->home);
        length += GROUP_HOME_BYTES;
    }
    if (has_states) {
        put_u32(row + length, group->leader);
        put_u64(row + length + 4, group->changed);
        put_u64(row + length + 12, group->lost_at);
        memcpy(row + length + GROUP_STATES_BYTES, group->states, group->member_count);
        length += GROUP_STATES_BYTES + group->member_count;
    }
    return store_put(txn, STORE_MEMBERS, key_of(&key, 'g', number), (struct store_bytes){row, length});
}

int members_rows_save(struct store_txn *txn, const struct map *map, uint32_t server, const struct map *old)
{
    uint32_t host = server == UINT32_MAX ? 0 : map->servers[server].host;
    int error = host ? save_host(txn, map, host) : 0;
    if (!error && server != UINT32_MAX)
        error = save_server(txn, &map->servers[server]);
    for (uint32_t i = 0; i < map->target_count && !error; i++) {
        if (map->targets[i].server == server)
            error = save_target(txn, map, &map->targets[i]);
    }
    for (uint32_t g = 0; g < map->group_count && !error; g++) {
        if (g >= old->group_count || old->groups[g].home != map->groups[g].home ||
            old->groups[g].changed != map->groups[g].changed)
            error = save_group(txn, map, g);
    }
    return error;
}

/* ---- reading ------------------------------------------------------------ */

/* First the rows are counted, then a map of that size is filled. */
struct loading {
    uint32_t counts[4]; /* groups, hosts, servers, targets: in the order of their keys */
    uint32_t *shard_counts;
    uint32_t shard_counts_size;
    struct map *map; /* NULL while counting */
    uint32_t at[4];
};

enum { GROUPS, HOSTS, SERVERS, TARGETS };

static int damaged(const char *what)
{
    return err_set(-EUCLEAN, "the table of storage servers in the metadata store is damaged: %s", what);
}

static int count_server(struct loading *loading, uint32_t shard_count)
{
    uint32_t i = loading->counts[SERVERS];
    if (i == loading->shard_counts_size) {
        uint32_t size = loading->shard_counts_size ? 2 * loading->shard_counts_size : 16;
        uint32_t *bigger = realloc(loading->shard_counts, size * sizeof *bigger);
        if (!bigger)
            return err_set(-ENOMEM, "no memory for the cluster map");
        loading->shard_counts = bigger;
        loading->shard_counts_size = size;
    }
    loading->shard_counts[i] = shard_count;
    return 0;
}

/* NULL when there is no text of at most LIMITS_HOST_NAME_MAX bytes. */
static const uint8_t *get_text(const uint8_t *at, const uint8_t *end, char text[LIMITS_HOST_NAME_MAX + 1])
{
    if (!at || at == end || *at > LIMITS_HOST_NAME_MAX || end - at < 1 + *at || memchr(at + 1, 0, *at))
        return NULL;
    memcpy(text, at + 1, *at);
    text[*at] = 0;
    return at + 1 + *at;
}

static int load_host(struct loading *loading, uint32_t number, struct store_bytes row)
{
    const uint8_t *at = row.data, *end = at + row.length;
    struct map_host host;
    if (row.length < 2 || get_u16(at) != ROW_VERSION || number != loading->at[HOSTS] + 1)
        return damaged("a host's record is of another version or too short");
    at = get_text(at + 2, end, host.name);
    at = get_text(at, end, host.chassis);
    at = get_text(at, end, host.rack);
    if (at != end || !*host.name)
        return damaged("a host's record makes no sense");
    if (loading->map)
        loading->map->hosts[number - 1] = host;
    return 0;
}

static bool is_host(const struct loading *loading, uint32_t host)
{
    return host && host <= loading->counts[HOSTS];
}

static int load_server(struct loading *loading, uint32_t id, struct store_bytes row)
{
    const uint8_t *at = row.data, *end = at + row.length;
    bool has_host = row.length >= SERVER_HEAD_BYTES && get_u16(at) == ROW_VERSION_HOST;
    if (row.length < SERVER_HEAD_BYTES + (has_host ? 4 : 0) || (!has_host && get_u16(at) != ROW_VERSION))
        return damaged("a server's record is of another version or too short");
    if (has_host)
        end -= 4;
    uint32_t shard_count = get_u16(at + 2);
    size_t name_length = at[5];
    if (id != loading->at[SERVERS] || shard_count == 0 || shard_count > LIMITS_SHARDS_MAX ||
        at[4] > MAP_STATE_UP || name_length == 0 || name_length > LIMITS_SERVER_NAME_MAX ||
        (size_t)(end - at) < SERVER_HEAD_BYTES + name_length)
        return damaged("a server's record makes no sense");
    if (!loading->map)
        return count_server(loading, shard_count);

    struct map_server *server = &loading->map->servers[id];
    server->id = id;
    server->host = has_host ? get_u32(end) : 0;
    if (has_host && !is_host(loading, server->host))
        return damaged("a server is on a host that does not exist");
    server->state = at[4] == MAP_STATE_UP ? MAP_STATE_UP : MAP_STATE_DOWN;
    memcpy(server->name, at + SERVER_HEAD_BYTES, name_length);
    at += SERVER_HEAD_BYTES + name_length;
    for (uint32_t k = 0; k < shard_count; k++) {
        size_t length = end - at >= 2 ? get_u16(at) : 0;
        if (length == 0 || length > LIMITS_ADDRESS_MAX || (size_t)(end - at) < 2 + length)
            return damaged("a server's address makes no sense");
        memcpy(server->addresses[k], at + 2, length);
        at += 2 + length;
    }
    return at == end ? 0 : damaged("a server's record is too long");
}

static int load_target(struct loading *loading, uint32_t id, struct store_bytes row)
{
    const uint8_t *at = row.data;
    if (row.length < TARGET_BYTES || row.length != target_bytes(get_u16(at)) ||
        get_u16(at + 2) > MAP_STATE_UP || get_u32(at + 4) >= loading->counts[SERVERS])
        return damaged("a target's record makes no sense");
    if (loading->map)
        loading->map->targets[loading->at[TARGETS]] = (struct map_target){
            .id = id,
            .server = get_u32(at + 4),
            .state = get_u16(at + 2) == MAP_STATE_UP ? MAP_STATE_UP : MAP_STATE_DOWN,
            .losses = row.length >= TARGET_LOST_BYTES ? get_u64(at + 8) : 0,
            .lost_at = row.length >= TARGET_LOST_BYTES ? get_u64(at + 16) : 0,
            .capacity = row.length >= TARGET_CAPACITY_BYTES ? get_u64(at + 24) : 0,
        };
    return 0;
}

static int load_states(const struct loading *loading, const uint8_t *at, struct map_group *group)
{
    group->home = get_u32(at);
    if (group->home && !is_host(loading, group->home))
        return damaged("a group's home is a host that does not exist");
    if (group->member_count == 1)
        return 0;
    at += GROUP_HOME_BYTES;
    group->leader = get_u32(at);
    group->changed = get_u64(at + 4);
    group->lost_at = get_u64(at + 12);
    memcpy(group->states, at + GROUP_STATES_BYTES, group->member_count);
    for (uint32_t i = 0; i < group->member_count; i++) {
        if (group->states[i] > MAP_MEMBER_SYNCING)
            return damaged("a member of a group has no state that there is");
    }
    if (group->leader >= group->member_count || group->states[group->leader] != MAP_MEMBER_CURRENT)
        return damaged("a group is led by none of its current members");
    return 0;
}

/* Groups come first, so their members stay ids until the targets are known. */
static int load_group(struct loading *loading, uint32_t number, struct store_bytes row)
{
    const uint8_t *at = row.data;
    uint32_t count = row.length >= GROUP_HEAD_BYTES ? get_u16(at + 2) : 0;
    uint32_t version = count > 1 ? ROW_VERSION_STATES : ROW_VERSION;
    if (count == 1 && get_u16(at) == ROW_VERSION_HOST)
        version = ROW_VERSION_HOST;
    size_t members_end = GROUP_HEAD_BYTES + 4 * (size_t)count;
    size_t length = members_end + (version >= ROW_VERSION_HOST ? GROUP_HOME_BYTES : 0) +
                    (version >= ROW_VERSION_STATES ? GROUP_STATES_BYTES + count : 0);
    if (count == 0 || count > LIMITS_GROUP_MEMBERS_MAX || get_u16(at) != version || row.length != length ||
        number != loading->at[GROUPS])
        return damaged("a group's record makes no sense");
    if (!loading->map)
        return 0;
    struct map_group *group = &loading->map->groups[number];
    group->member_count = count;
    for (uint32_t i = 0; i < count; i++)
        group->members[i] = get_u32(at + GROUP_HEAD_BYTES + 4 * i);
    return version >= ROW_VERSION_HOST ? load_states(loading, at + members_end, group) : 0;
}

static int load_row(void *arg, struct store_bytes key, struct store_bytes row)
{
    struct loading *loading = arg;
    const uint8_t *bytes = key.data;
    if (key.length != 5)
        return damaged("a key makes no sense");
    uint32_t number = number_of(bytes);
    int kind = *bytes == 'g'   ? GROUPS
               : *bytes == 'h' ? HOSTS
               : *bytes == 's' ? SERVERS
               : *bytes == 't' ? TARGETS
                               : -1;
    if (kind < 0)
        return damaged("a key makes no sense");
    int error = kind == GROUPS    ? load_group(loading, number, row)
                : kind == HOSTS   ? load_host(loading, number, row)
                : kind == SERVERS ? load_server(loading, number, row)
                                  : load_target(loading, number, row);
    if (error)
        return error;
    if (!loading->map)
        loading->counts[kind]++;
    loading->at[kind]++;
    return 0;
}

static int members_by_index(struct map *map)
{
    for (uint32_t g = 0; g < map->group_count; g++) {
        struct map_group *group = &map->groups[g];
        for (uint32_t i = 0; i < group->member_count; i++) {
            const struct map_target *target = map_target_by_id(map, group->members[i]);
            if (!target)
                return damaged("a group names a target that does not exist");
            group->members[i] = (uint32_t)(target - map->targets);
        }
    }
    return 0;
}

int members_rows_load(struct store_txn *txn, struct map **out)
{
    struct loading loading = {0};
    int error = store_each(txn, STORE_MEMBERS, (struct store_bytes){"", 0}, load_row, &loading);
    if (error)
        goto free_counts;
    loading.map = map_new(loading.counts[HOSTS], loading.counts[SERVERS], loading.shard_counts,
                          loading.counts[TARGETS], loading.counts[GROUPS]);
    if (!loading.map) {
        error = err_set(-ENOMEM, "no memory for the cluster map");
        goto free_counts;
    }
    memset(loading.at, 0, sizeof loading.at);
    error = store_each(txn, STORE_MEMBERS, (struct store_bytes){"", 0}, load_row, &loading);
    if (!error)
        error = members_by_index(loading.map);
    if (error) {
        map_unref(loading.map);
    } else {
        map_index(loading.map);
        *out = loading.map;
    }
free_counts:
    free(loading.shard_counts);
    return error;
}
