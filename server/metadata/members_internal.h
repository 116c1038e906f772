/* SPDX-License-Identifier: Apache-2.0 */
/* What members*.c share. */
#ifndef METADATA_MEMBERS_INTERNAL_H
#define METADATA_MEMBERS_INTERNAL_H

#include "members.h"

/* What is known of a server, and kept nowhere. */
struct hearing {
    uint64_t heard_ns;
    uint64_t adopted; /* version of the map that all its shards go by */
    uint32_t retry_ms;
    uint64_t retry_at_ns; /* members on it may get what they missed from then on */
};

/* Since when a group has been as it is, as far as was seen. */
struct watch {
    uint64_t changed;
    uint64_t since_ns;
};

struct members {
    const struct conf *conf;
    struct map *map;
    struct hearing *hearings; /* of each server of the map */
    uint8_t *encoded;
    struct watch *watches; /* of the first groups */
    uint32_t watch_count;
    bool unsettled; /* a group has a member that is not current */
};

struct members_change {
    struct map *map;
    struct hearing *hearings;
};

/* -ENOMEM, with a text. */
int members_no_memory(void);
/* A change to `map`, which it takes over, also when it fails. -ENOMEM */
int members_change_new(const struct members *members, struct map *map, struct members_change **change);
/* Disks of one kind, whose file systems differ by a few blocks: within a sixty-fourth. */
bool members_capacity_alike(uint64_t a, uint64_t b);
/* Writes what differs from `old`, of server `server` (UINT32_MAX: none) all, and the version. */
int members_save(struct store_txn *txn, const struct map *map, uint32_t server, const struct map *old);

#endif
