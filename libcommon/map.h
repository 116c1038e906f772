/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.h: the cluster map: servers, targets, groups and their states, with a
 * version that only grows. The metadata server owns it; everyone else holds a
 * decoded copy that never changes (a newer map is a new object).
 *
 * Threads: a map is immutable once built, so it may be read from anywhere;
 * map_ref() and map_unref() are atomic.
 */
#ifndef COMMON_MAP_H
#define COMMON_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"
#include "weft_limits.h"

enum map_state { MAP_STATE_DOWN, MAP_STATE_UP };

/* A machine that storage servers run on, and what fails together with it. Hosts are only ever appended, and
 * their numbers begin with 1: 0 is no host. */
struct map_host {
    char name[LIMITS_HOST_NAME_MAX + 1];
    char chassis[LIMITS_HOST_NAME_MAX + 1]; /* "": not said */
    char rack[LIMITS_HOST_NAME_MAX + 1];
};

struct map_server {
    uint32_t id;
    enum map_state state;
    char name[LIMITS_SERVER_NAME_MAX + 1];
    uint32_t shard_count;
    char (*addresses)[LIMITS_ADDRESS_MAX + 1]; /* "host:port" of each shard */
    uint64_t bytes_total;
    uint64_t bytes_free;
    uint32_t host; /* number of the one where it runs; 0: not known */
};

struct map_target {
    uint32_t id;
    uint32_t server; /* index into servers, not an id */
    enum map_state state;
    /* How often what it had answered may have been lost before it was synced, since its host crashed: it
     * counts that itself. */
    uint64_t losses;
    uint64_t lost_at;  /* the map's version that told of the latest; 0: of none */
    uint64_t capacity; /* bytes that it counts for when groups are made; 0: its server has not said */
};

/* What a member of a group is good for; docs/replication.md tells how they become what they are. */
enum map_member {
    MAP_MEMBER_CURRENT, /* has all that was answered: reads are answered by these only */
    MAP_MEMBER_LEAVING, /* something could not be given to it; it gets no reads, as soon as it knows */
    MAP_MEMBER_STALE,   /* is out */
    MAP_MEMBER_SYNCING, /* gets what is written, and by and by what it has missed */
};

struct map_group {
    uint32_t member_count;
    uint32_t members[LIMITS_GROUP_MEMBERS_MAX]; /* indices into targets */
    uint8_t states[LIMITS_GROUP_MEMBERS_MAX];   /* enum map_member, of each */
    uint32_t leader;  /* index into members, of one that is current: it puts the group's changes in order */
    uint64_t changed; /* the map's version with which leader or states became what they are; 0: never since
                         the group was made */
    /* Of a group with several members: the version that told that all of them may have lost what was not
     * synced; 0: none has. A target's counts for groups that it is alone in. */
    uint64_t lost_at;
    /* Number of the host where its first member was when the group was made, whatever becomes of that. Files
     * on one host are looked for by it. 0 in clusters that were made before hosts were known, until the
     * server registers. */
    uint32_t home;
};

struct map {
    uint64_t version;
    uint8_t cluster[16]; /* the cluster's identity, made once */
    uint32_t host_count, server_count, target_count, group_count;
    struct map_host *hosts; /* hosts[0] has number 1 */
    struct map_server *servers;
    struct map_target *targets; /* sorted by id */
    struct map_group *groups;   /* groups[g] is group g of the pool "main" */
    char metadata_address[LIMITS_ADDRESS_MAX + 1];
};

/* A new map of the given sizes, all zero, with one reference; NULL when memory
 * is out. `shard_counts` gives each server's number of shards. */
struct map *map_new(uint32_t host_count, uint32_t server_count, const uint32_t *shard_counts,
                    uint32_t target_count, uint32_t group_count);
/* Finds each host's groups, and the latest loss. To be called by whoever fills a new map in, before others
 * read it. */
void map_index(struct map *map);
struct map *map_ref(struct map *map);
void map_unref(struct map *map); /* NULL is allowed */

/* Bytes that map_encode() needs, and the encoding (the wire schema's `map`).
 * -ENOBUFS when `size` is too small. */
size_t map_encoded_size(const struct map *map);
ssize_t map_encode(const struct map *map, void *buffer, size_t size);
/* -EBADMSG when the bytes are no map; indices out of range are refused too. */
int map_decode(const void *data, size_t length, struct map **map);

/* NULL when there is none. */
const struct map_target *map_target_by_id(const struct map *map, uint32_t id);
const struct map_server *map_server_by_name(const struct map *map, const char *name);
/* The host of that number; NULL when there is none. */
const struct map_host *map_host(const struct map *map, uint32_t number);
/* Its number; 0 when there is none. */
uint32_t map_host_by_name(const struct map *map, const char *name);
/* How many groups have their home there. */
uint32_t map_host_groups(const struct map *map, uint32_t host);

/* Does the map have what the layout is over? -EINVAL with a text. */
int map_layout_check(const struct map *map, const struct layout *layout);
/* The group of one of the layout's positions. The layout must be checked. */
uint32_t map_group_of(const struct map *map, const struct layout *layout, uint32_t position);

/* The target that leads the group. */
const struct map_target *map_leader(const struct map *map, uint32_t group);
/* What the target of that id is in the group, and where among its members (NULL: not wanted); -1: it is no
 * member. */
int map_member_state(const struct map *map, uint32_t group, uint32_t target_id, uint32_t *member);
/* That target, by index, is served, and its server is there. */
bool map_target_is_there(const struct map *map, uint32_t target);
/* The current member that is nearest to a host (0: not known): on the same host, in the same chassis, in
 * the same rack, else any. Of several, `choice` (any number) chooses one. The leader, when none is there. */
const struct map_target *map_nearest(const struct map *map, uint32_t group, uint32_t host, uint64_t choice);
/* Another current member than that one, which is a member of the group; the leader, if it is not that. NULL:
 * there is none. */
const struct map_target *map_other(const struct map *map, uint32_t group, const struct map_target *than);
/* Groups have several members. */
bool map_has_replicas(const struct map *map);
/* How many members are current. */
uint32_t map_group_current(const struct map_group *group);

/* The first of the layout's leaders of which a version after `version` has told that it may have lost what
 * was not synced; NULL: none has. The layout must be checked. */
const struct map_target *map_lost_since(const struct map *map, const struct layout *layout, uint64_t version);

/* The target, server and shard that leads what a file's byte lives on. -EINVAL when the
 * layout names groups that the map does not have. */
struct map_location {
    struct layout_place place;
    uint32_t group;
    uint32_t target_id;
    uint32_t server; /* index */
    uint32_t shard;
};
int map_locate(const struct map *map, const struct layout *layout, uint64_t offset,
               struct map_location *location);

#endif
