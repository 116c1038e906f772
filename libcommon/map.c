/* SPDX-License-Identifier: Apache-2.0 */
#include "map.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "wire.h"

/* What map_new() really makes. */
struct map_object {
    struct map map; /* first: a map's address is its object's */
    atomic_uint references;
    char (*addresses)[LIMITS_ADDRESS_MAX + 1]; /* of all servers */
    /* Those of host number h are home_groups[home_first[h - 1]] to home_groups[home_first[h] - 1], rising. */
    uint32_t *home_first;
    uint32_t *home_groups;
    uint64_t lost_at; /* the latest of any target */
};

static void *zeroed(size_t count, size_t size)
{
    return calloc(count ? count : 1, size);
}

static void object_free(struct map_object *object)
{
    free(object->home_groups);
    free(object->home_first);
    free(object->addresses);
    free(object->map.hosts);
    free(object->map.groups);
    free(object->map.targets);
    free(object->map.servers);
    free(object);
}

struct map *map_new(uint32_t host_count, uint32_t server_count, const uint32_t *shard_counts,
                    uint32_t target_count, uint32_t group_count)
{
    size_t address_count = 0;
    for (uint32_t i = 0; i < server_count; i++)
        address_count += shard_counts[i];

    struct map_object *object = calloc(1, sizeof *object);
    if (!object)
        return NULL;
    struct map *map = &object->map;
    atomic_init(&object->references, 1);
    map->host_count = host_count;
    map->server_count = server_count;
    map->target_count = target_count;
    map->group_count = group_count;
    map->hosts = zeroed(host_count, sizeof *map->hosts);
    map->servers = zeroed(server_count, sizeof *map->servers);
    map->targets = zeroed(target_count, sizeof *map->targets);
    map->groups = zeroed(group_count, sizeof *map->groups);
    object->addresses = zeroed(address_count, sizeof *object->addresses);
    object->home_first = zeroed(host_count + 1u, sizeof *object->home_first);
    object->home_groups = zeroed(group_count, sizeof *object->home_groups);
    if (!map->hosts || !map->servers || !map->targets || !map->groups || !object->addresses ||
        !object->home_first || !object->home_groups) {
        object_free(object);
        return NULL;
    }
    size_t at = 0;
    for (uint32_t i = 0; i < server_count; i++) {
        map->servers[i].shard_count = shard_counts[i];
        map->servers[i].addresses = object->addresses + at;
        at += shard_counts[i];
    }
    return map;
}

/* A counting sort of the groups by their homes; and the latest loss. */
void map_index(struct map *map)
{
    struct map_object *object = (struct map_object *)map;
    uint32_t *first = object->home_first;
    memset(first, 0, (map->host_count + 1u) * sizeof *first);
    for (uint32_t g = 0; g < map->group_count; g++)
        if (map->groups[g].home)
            first[map->groups[g].home - 1]++;
    for (uint32_t h = 0, before = 0; h <= map->host_count; h++) {
        uint32_t groups = first[h];
        first[h] = before;
        before += groups;
    }
    for (uint32_t g = 0; g < map->group_count; g++)
        if (map->groups[g].home)
            object->home_groups[first[map->groups[g].home - 1]++] = g;
    /* Each beginning has become the next one's. */
    memmove(first + 1, first, map->host_count * sizeof *first);
    first[0] = 0;
    object->lost_at = 0;
    for (uint32_t i = 0; i < map->target_count; i++)
        if (map->targets[i].lost_at > object->lost_at)
            object->lost_at = map->targets[i].lost_at;
    for (uint32_t g = 0; g < map->group_count; g++)
        if (map->groups[g].lost_at > object->lost_at)
            object->lost_at = map->groups[g].lost_at;
}

struct map *map_ref(struct map *map)
{
    atomic_fetch_add_explicit(&((struct map_object *)map)->references, 1, memory_order_relaxed);
    return map;
}

void map_unref(struct map *map)
{
    struct map_object *object = (struct map_object *)map;
    if (object && atomic_fetch_sub_explicit(&object->references, 1, memory_order_acq_rel) == 1)
        object_free(object);
}

/* ---- encoding ------------------------------------------------------------- */

/* What the kinds of wire_messages.h take. */
enum { LIST_HEAD_BYTES = 4 + 4, ADDRESS_BYTES_MIN = 4 + 1 };

static size_t string_size(const char *text)
{
    return 4 + strlen(text) + 1;
}

static size_t server_size(const struct map_server *server)
{
    size_t size = 4 + 1 + string_size(server->name) + 8 + 8 + 4 + LIST_HEAD_BYTES;
    for (uint32_t k = 0; k < server->shard_count; k++)
        size += string_size(server->addresses[k]);
    return size;
}

size_t map_encoded_size(const struct map *map)
{
    size_t size = 8 + sizeof map->cluster + string_size(map->metadata_address) + 4 * LIST_HEAD_BYTES;
    for (uint32_t h = 0; h < map->host_count; h++)
        size += string_size(map->hosts[h].name) + string_size(map->hosts[h].chassis) +
                string_size(map->hosts[h].rack);
    for (uint32_t i = 0; i < map->server_count; i++)
        size += server_size(&map->servers[i]);
    size += (size_t)map->target_count * (4 + 4 + 1 + 8 + 8 + 8);
    for (uint32_t g = 0; g < map->group_count; g++)
        size += 4 + 8 + 8 + 4 + 4 + LIST_HEAD_BYTES + (size_t)map->groups[g].member_count * (4 + 1);
    return size;
}

/* Lists are encoded before what contains them: `scratch` is a heap of pieces
 * that stay until the whole map is written. */
static struct wire_writer piece_begin(const struct wire_writer *scratch)
{
    struct wire_writer piece = wire_writer_on(scratch->at, (size_t)(scratch->end - scratch->at));
    piece.bad = scratch->bad;
    return piece;
}

static struct wire_list piece_end(struct wire_writer *scratch, const struct wire_writer *piece,
                                  uint32_t count)
{
    scratch->at = piece->at;
    scratch->bad = piece->bad;
    return wire_list_of(piece, count);
}

static void put_server(struct wire_writer *writer, struct wire_writer *scratch,
                       const struct map_server *server)
{
    struct wire_writer piece = piece_begin(scratch);
    for (uint32_t k = 0; k < server->shard_count; k++)
        wire_put_address(&piece, &(struct wire_address){.text = server->addresses[k]});
    struct wire_map_server wire = {
        .id = server->id,
        .state = (uint8_t)server->state,
        .name = server->name,
        .bytes_total = server->bytes_total,
        .bytes_free = server->bytes_free,
        .host = server->host,
        .addresses = piece_end(scratch, &piece, server->shard_count),
    };
    wire_put_map_server(writer, &wire);
}

static void put_group(struct wire_writer *writer, struct wire_writer *scratch, const struct map_group *group)
{
    struct wire_writer piece = piece_begin(scratch);
    for (uint32_t m = 0; m < group->member_count; m++)
        wire_put_number(&piece, &(struct wire_number){.value = group->members[m]});
    wire_put_map_group(writer, &(struct wire_map_group){
                                   .home = group->home,
                                   .changed = group->changed,
                                   .lost_at = group->lost_at,
                                   .leader = group->leader,
                                   .states = {.data = group->states, .length = group->member_count},
                                   .members = piece_end(scratch, &piece, group->member_count),
                               });
}

/* The inner lists go to `inner`, the outer ones to `outer`, the whole to `writer`. */
static void put_map(struct wire_writer *writer, struct wire_writer *outer, struct wire_writer *inner,
                    const struct map *map)
{
    struct wire_map wire = {.version = map->version, .metadata_address = map->metadata_address};
    memcpy(wire.cluster.bytes, map->cluster, sizeof wire.cluster.bytes);

    struct wire_writer piece = piece_begin(outer);
    for (uint32_t h = 0; h < map->host_count; h++)
        wire_put_map_host(&piece, &(struct wire_map_host){
                                      .name = map->hosts[h].name,
                                      .chassis = map->hosts[h].chassis,
                                      .rack = map->hosts[h].rack,
                                  });
    wire.hosts = piece_end(outer, &piece, map->host_count);

    piece = piece_begin(outer);
    for (uint32_t i = 0; i < map->server_count; i++)
        put_server(&piece, inner, &map->servers[i]);
    wire.servers = piece_end(outer, &piece, map->server_count);

    piece = piece_begin(outer);
    for (uint32_t i = 0; i < map->target_count; i++)
        wire_put_map_target(&piece, &(struct wire_map_target){
                                        .id = map->targets[i].id,
                                        .server = map->targets[i].server,
                                        .state = (uint8_t)map->targets[i].state,
                                        .losses = map->targets[i].losses,
                                        .lost_at = map->targets[i].lost_at,
                                        .capacity = map->targets[i].capacity,
                                    });
    wire.targets = piece_end(outer, &piece, map->target_count);

    piece = piece_begin(outer);
    for (uint32_t g = 0; g < map->group_count; g++)
        put_group(&piece, inner, &map->groups[g]);
    wire.groups = piece_end(outer, &piece, map->group_count);

    writer->bad |= outer->bad || inner->bad;
    wire_put_map(writer, &wire);
}

ssize_t map_encode(const struct map *map, void *buffer, size_t size)
{
    size_t needed = map_encoded_size(map);
    if (size < needed)
        return err_set(-ENOBUFS, "the cluster map needs %zu bytes, and %zu are there", needed, size);
    uint8_t *scratch = malloc(2 * needed);
    if (!scratch)
        return err_set(-ENOMEM, "out of memory for a cluster map of %zu bytes", needed);
    struct wire_writer outer = wire_writer_on(scratch, needed);
    struct wire_writer inner = wire_writer_on(scratch + needed, needed);
    struct wire_writer writer = wire_writer_on(buffer, size);
    put_map(&writer, &outer, &inner, map);
    ssize_t length = wire_written(&writer);
    free(scratch);
    return length;
}

/* ---- decoding ------------------------------------------------------------- */

static int refuse(const char *what)
{
    return err_set(-EBADMSG, "a cluster map makes no sense: %s", what);
}

/* Reads the servers' numbers of shards, which map_new() wants first. */
static int get_shard_counts(const struct wire_list *servers, uint32_t *shard_counts)
{
    struct wire_reader reader = wire_list_reader(servers);
    for (uint32_t i = 0; i < servers->count; i++) {
        struct wire_map_server server;
        wire_get_map_server(&reader, &server);
        shard_counts[i] = server.addresses.count;
        if (reader.bad)
            break;
        if (shard_counts[i] == 0)
            return refuse("a server has no shards");
        if (server.addresses.encoded.length / ADDRESS_BYTES_MIN < shard_counts[i])
            return refuse("a server has fewer addresses than it tells");
    }
    return wire_read_all(&reader, "map_server list");
}

static int get_addresses(const struct wire_list *addresses, struct map_server *server)
{
    struct wire_reader reader = wire_list_reader(addresses);
    for (uint32_t k = 0; k < server->shard_count; k++) {
        struct wire_address address;
        wire_get_address(&reader, &address);
        memcpy(server->addresses[k], address.text, strlen(address.text) + 1);
    }
    return wire_read_all(&reader, "address list");
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorts the names, and refuses one that is empty or comes twice. */
static int check_names(const char **names, uint32_t count, const char *refusal)
{
    qsort(names, count, sizeof *names, compare_names);
    for (uint32_t i = 0; i < count; i++) {
        if (!names[i][0] || (i > 0 && strcmp(names[i - 1], names[i]) == 0))
            return refuse(refusal);
    }
    return 0;
}

static int check_all_names(const struct map *map)
{
    uint32_t count = map->server_count > map->host_count ? map->server_count : map->host_count;
    const char **names = zeroed(count, sizeof *names);
    if (!names)
        return err_set(-ENOMEM, "out of memory for a cluster map");
    for (uint32_t i = 0; i < map->server_count; i++)
        names[i] = map->servers[i].name;
    int error = check_names(names, map->server_count, "a server has no name, or another's");
    for (uint32_t h = 0; h < map->host_count; h++)
        names[h] = map->hosts[h].name;
    if (!error)
        error = check_names(names, map->host_count, "a host has no name, or another's");
    free(names);
    return error;
}

static int get_hosts(const struct wire_list *list, struct map *map)
{
    struct wire_reader reader = wire_list_reader(list);
    for (uint32_t h = 0; h < map->host_count; h++) {
        struct wire_map_host wire;
        struct map_host *host = &map->hosts[h];
        wire_get_map_host(&reader, &wire);
        memcpy(host->name, wire.name, strlen(wire.name) + 1);
        memcpy(host->chassis, wire.chassis, strlen(wire.chassis) + 1);
        memcpy(host->rack, wire.rack, strlen(wire.rack) + 1);
    }
    return wire_read_all(&reader, "map_host list");
}

static bool is_host(const struct map *map, uint32_t host)
{
    return host <= map->host_count;
}

static int get_servers(const struct wire_list *list, struct map *map)
{
    struct wire_reader reader = wire_list_reader(list);
    for (uint32_t i = 0; i < map->server_count; i++) {
        struct map_server *server = &map->servers[i];
        struct wire_map_server wire;
        wire_get_map_server(&reader, &wire);
        server->id = wire.id;
        server->state = (enum map_state)wire.state;
        server->bytes_total = wire.bytes_total;
        server->bytes_free = wire.bytes_free;
        server->host = wire.host;
        if (!is_host(map, wire.host))
            return refuse("a server is on a host that does not exist");
        memcpy(server->name, wire.name, strlen(wire.name) + 1);
        int error = get_addresses(&wire.addresses, server);
        if (error)
            return error;
    }
    return check_all_names(map);
}

static int get_targets(const struct wire_list *list, struct map *map)
{
    struct wire_reader reader = wire_list_reader(list);
    for (uint32_t i = 0; i < map->target_count; i++) {
        struct wire_map_target wire;
        wire_get_map_target(&reader, &wire);
        if (reader.bad)
            break;
        if (wire.server >= map->server_count)
            return refuse("a target is on a server that does not exist");
        if (i > 0 && wire.id <= map->targets[i - 1].id)
            return refuse("the targets are not in the order of their ids, or one comes twice");
        if (wire.lost_at > map->version)
            return refuse("a target's loss was told by a later version");
        map->targets[i] = (struct map_target){.id = wire.id,
                                              .server = wire.server,
                                              .state = (enum map_state)wire.state,
                                              .losses = wire.losses,
                                              .lost_at = wire.lost_at,
                                              .capacity = wire.capacity};
    }
    return wire_read_all(&reader, "map_target list");
}

static int get_members(const struct wire_list *list, const struct map *map, struct map_group *group)
{
    struct wire_reader reader = wire_list_reader(list);
    if (list->count == 0)
        return refuse("a group has no members");
    group->member_count = list->count;
    for (uint32_t m = 0; m < list->count; m++) {
        struct wire_number wire;
        wire_get_number(&reader, &wire);
        if (reader.bad)
            break;
        if (wire.value >= map->target_count)
            return refuse("a group's member is a target that does not exist");
        for (uint32_t k = 0; k < m; k++) {
            if (group->members[k] == wire.value)
                return refuse("a target is twice in a group");
        }
        group->members[m] = wire.value;
    }
    return wire_read_all(&reader, "number list");
}

static int get_states(const struct wire_map_group *wire, const struct map *map, struct map_group *group)
{
    const uint8_t *states = wire->states.data;
    if (wire->states.length != group->member_count)
        return refuse("a group has not as many states as members");
    for (uint32_t m = 0; m < group->member_count; m++) {
        if (states[m] > MAP_MEMBER_SYNCING)
            return refuse("a member's state is none");
        group->states[m] = states[m];
    }
    if (wire->leader >= group->member_count || states[wire->leader] != MAP_MEMBER_CURRENT)
        return refuse("a group is led by none of its current members");
    if (wire->changed > map->version || wire->lost_at > map->version)
        return refuse("a group has changed with a later version");
    group->lost_at = wire->lost_at;
    group->leader = wire->leader;
    group->changed = wire->changed;
    return 0;
}

static int get_groups(const struct wire_list *list, struct map *map)
{
    struct wire_reader reader = wire_list_reader(list);
    for (uint32_t g = 0; g < map->group_count; g++) {
        struct wire_map_group wire;
        wire_get_map_group(&reader, &wire);
        if (reader.bad)
            break;
        if (!is_host(map, wire.home))
            return refuse("a group's home is a host that does not exist");
        map->groups[g].home = wire.home;
        int error = get_members(&wire.members, map, &map->groups[g]);
        if (!error)
            error = get_states(&wire, map, &map->groups[g]);
        if (error)
            return error;
    }
    return wire_read_all(&reader, "map_group list");
}

int map_decode(const void *data, size_t length, struct map **map)
{
    struct wire_map wire;
    struct map *result;
    int error = wire_decode_map(data, length, &wire);
    if (error)
        return error;
    /* A list's count is at most its bytes, so that what is taken here is in
     * proportion to what came. */
    uint32_t *shard_counts = zeroed(wire.servers.count, sizeof *shard_counts);
    if (!shard_counts)
        return err_set(-ENOMEM, "out of memory for a cluster map");
    error = get_shard_counts(&wire.servers, shard_counts);
    if (error)
        goto free_counts;
    result =
        map_new(wire.hosts.count, wire.servers.count, shard_counts, wire.targets.count, wire.groups.count);
    if (!result) {
        error = err_set(-ENOMEM, "out of memory for a cluster map");
        goto free_counts;
    }
    result->version = wire.version;
    memcpy(result->cluster, wire.cluster.bytes, sizeof result->cluster);
    memcpy(result->metadata_address, wire.metadata_address, strlen(wire.metadata_address) + 1);
    error = get_hosts(&wire.hosts, result);
    if (!error)
        error = get_servers(&wire.servers, result);
    if (!error)
        error = get_targets(&wire.targets, result);
    if (!error)
        error = get_groups(&wire.groups, result);
    if (error) {
        map_unref(result);
    } else {
        map_index(result);
        *map = result;
    }
free_counts:
    free(shard_counts);
    return error;
}

/* ---- asking --------------------------------------------------------------- */

const struct map_target *map_target_by_id(const struct map *map, uint32_t id)
{
    uint32_t low = 0, high = map->target_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (map->targets[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < map->target_count && map->targets[low].id == id ? &map->targets[low] : NULL;
}

const struct map_server *map_server_by_name(const struct map *map, const char *name)
{
    for (uint32_t i = 0; i < map->server_count; i++) {
        if (strcmp(map->servers[i].name, name) == 0)
            return &map->servers[i];
    }
    return NULL;
}

const struct map_host *map_host(const struct map *map, uint32_t number)
{
    return number && number <= map->host_count ? &map->hosts[number - 1] : NULL;
}

uint32_t map_host_by_name(const struct map *map, const char *name)
{
    for (uint32_t h = 0; h < map->host_count; h++) {
        if (strcmp(map->hosts[h].name, name) == 0)
            return h + 1;
    }
    return 0;
}

uint32_t map_host_groups(const struct map *map, uint32_t host)
{
    const uint32_t *first = ((const struct map_object *)map)->home_first;
    return map_host(map, host) ? first[host] - first[host - 1] : 0;
}

int map_layout_check(const struct map *map, const struct layout *layout)
{
    if (!layout_valid(layout))
        return err_set(-EINVAL, "a layout makes no sense");
    uint32_t group_count = layout->host ? map_host_groups(map, layout->host) : map->group_count;
    if (layout->group_count > group_count)
        return err_set(-EINVAL,
                       "a layout is over %" PRIu32 " groups%s, but version %" PRIu64
                       " of the cluster map has %" PRIu32,
                       layout->group_count, layout->host ? " of one host" : "", map->version, group_count);
    return 0;
}

uint32_t map_group_of(const struct map *map, const struct layout *layout, uint32_t position)
{
    const struct map_object *object = (const struct map_object *)map;
    uint32_t group = layout_group_of(layout, position);
    return layout->host ? object->home_groups[object->home_first[layout->host - 1] + group] : group;
}

const struct map_target *map_leader(const struct map *map, uint32_t group)
{
    const struct map_group *of = &map->groups[group];
    return &map->targets[of->members[of->leader]];
}

int map_member_state(const struct map *map, uint32_t group, uint32_t target_id, uint32_t *member)
{
    const struct map_group *of = &map->groups[group];
    for (uint32_t m = 0; m < of->member_count; m++) {
        if (map->targets[of->members[m]].id != target_id)
            continue;
        if (member)
            *member = m;
        return of->states[m];
    }
    return -1;
}

uint32_t map_group_current(const struct map_group *group)
{
    uint32_t count = 0;
    for (uint32_t m = 0; m < group->member_count; m++)
        count += group->states[m] == MAP_MEMBER_CURRENT;
    return count;
}

const struct map_target *map_lost_since(const struct map *map, const struct layout *layout, uint64_t version)
{
    if (((const struct map_object *)map)->lost_at <= version)
        return NULL;
    for (uint32_t position = 0; position < layout->stripe_count; position++) {
        const uint32_t group = map_group_of(map, layout, position);
        const struct map_target *leader = map_leader(map, group);
        if ((map->groups[group].member_count == 1 ? leader->lost_at : map->groups[group].lost_at) > version)
            return leader;
    }
    return NULL;
}

int map_locate(const struct map *map, const struct layout *layout, uint64_t offset,
               struct map_location *location)
{
    int error = map_layout_check(map, layout);
    if (error)
        return error;
    struct layout_place place = layout_place_of(layout, offset);
    uint32_t group = map_group_of(map, layout, place.position);
    const struct map_target *target = map_leader(map, group);
    *location = (struct map_location){
        .place = place,
        .group = group,
        .target_id = target->id,
        .server = target->server,
        .shard = layout_shard_of(place.row, map->servers[target->server].shard_count),
    };
    return 0;
}
