/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placement_world.h: clusters for the tests of placement, drawn from a seed: hosts
 * in chassis in racks, alike or not, with one capacity, two, or many.
 */
#ifndef TESTS_PLACEMENT_WORLD_H
#define TESTS_PLACEMENT_WORLD_H

#include <stdint.h>
#include <stdlib.h>

#include "placement.h"

enum { WORLD_ALIKE, WORLD_TWO_SIZES, WORLD_MANY_SIZES, WORLD_RAGGED, WORLD_KINDS };

struct world {
    uint64_t random;
    struct placement_target *targets;
    uint32_t count;  /* to begin with */
    uint32_t growth; /* so many more stand behind them */
    unsigned kind;
    struct placement_wanted wanted;
};

/* Not the hash that is under test. */
static inline uint32_t world_random(struct world *world, uint32_t bound)
{
    world->random ^= world->random << 13;
    world->random ^= world->random >> 7;
    world->random ^= world->random << 17;
    return (uint32_t)(world->random >> 16) % bound;
}

static inline uint64_t world_capacity(struct world *world, uint32_t host)
{
    switch (world->kind) {
    case WORLD_ALIKE:
        return UINT64_C(8) << 40;
    case WORLD_TWO_SIZES:
        return (host % 2 ? UINT64_C(4) : UINT64_C(8)) << 40;
    default:
        return (UINT64_C(4) << 40) + ((uint64_t)world_random(world, 12) << 40) + world_random(world, 1000);
    }
}

/* Targets with the ids 0, 1, ...; `count_max` at most, the growth not counted. */
static inline void world_draw(struct world *world, uint64_t seed, uint32_t count_max)
{
    static const uint32_t members[] = {2, 3, 3, 3, 4, 5, 6, 10, 12};
    *world = (struct world){.random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15)};
    world->count = 4 + world_random(world, count_max - 3);
    world->growth = 1 + world_random(world, world->count / 3 + 1);
    world->kind = world_random(world, WORLD_KINDS);
    world->targets = calloc(world->count + world->growth, sizeof *world->targets);
    uint32_t per_host = 1 + world_random(world, 6), per_chassis = 1 + world_random(world, 4);
    uint32_t per_rack = 1 + world_random(world, 10), host = 0, room = per_host;
    for (uint32_t i = 0; world->targets && i < world->count + world->growth; i++, room--) {
        if (room == 0) {
            host++;
            room = world->kind == WORLD_RAGGED ? 1 + world_random(world, per_host) : per_host;
        }
        world->targets[i] = (struct placement_target){.id = i,
                                                      .capacity = world_capacity(world, host),
                                                      .host = host,
                                                      .chassis = host / per_chassis,
                                                      .rack = host / per_chassis / per_rack};
    }
    world->wanted = (struct placement_wanted){
        .members = members[world_random(world, sizeof members / sizeof members[0])],
        .level = (enum placement_level)world_random(world, PLACEMENT_LEVELS),
        .groups_per_target = 10 + world_random(world, 60),
        .device_class = PLACEMENT_ANY_CLASS,
        .seed = seed,
    };
    /* So many groups that a pool can have them. */
    uint32_t most = (uint32_t)(UINT64_C(60000) * world->wanted.members / world->count);
    if (world->wanted.groups_per_target > most)
        world->wanted.groups_per_target = most;
}

static inline uint32_t world_domain(const struct world *world, uint32_t id)
{
    const struct placement_target *target = &world->targets[id];
    switch (world->wanted.level) {
    case PLACEMENT_HOST:
        return target->host;
    case PLACEMENT_CHASSIS:
        return target->chassis;
    case PLACEMENT_RACK:
        return target->rack;
    default:
        return id;
    }
}

/* Failure domains of the targets from `first` to before `end`. */
static inline uint32_t world_domains(const struct world *world, uint32_t first, uint32_t end)
{
    uint32_t count = 0;
    for (uint32_t i = first; i < end; i++)
        count += i == first || world_domain(world, i) != world_domain(world, i - 1);
    return count;
}

/* FNV-1a over a table. */
static inline uint64_t world_digest(const struct placement_table *table, uint64_t digest)
{
    for (size_t i = 0; i < (size_t)table->group_count * table->members; i++) {
        for (unsigned shift = 0; shift < 32; shift += 8) {
            digest ^= (table->ids[i] >> shift) & 0xff;
            digest *= UINT64_C(0x100000001b3);
        }
    }
    return digest;
}
#define WORLD_DIGEST_BEGIN UINT64_C(0xcbf29ce484222325)

#endif
