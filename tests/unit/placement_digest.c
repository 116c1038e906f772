/* SPDX-License-Identifier: Apache-2.0 */
/* Prints a digest of many tables: test_placement_compilers.sh compares what different builds print. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "placement_world.h"

enum { WORLDS = 40, HARD_TARGETS = 40, HARD_GROWTH = 4 };

static int add_world(uint64_t seed, uint32_t count_max, uint64_t *digest)
{
    struct world world;
    struct placement_table table, grown;
    struct placement_change_wanted how = {.change = seed % 2 ? PLACEMENT_KEEP : PLACEMENT_REBALANCE};
    world_draw(&world, seed, count_max);
    int error = placement_make(world.targets, world.count, &world.wanted, &table);
    if (!error) {
        *digest = world_digest(&table, *digest);
        world.wanted.group_count = table.group_count + (uint32_t)(seed % 3) * 10;
        error = placement_change(world.targets + 1, world.count + world.growth - 1, &world.wanted, &how,
                                 &table, &grown);
        if (!error)
            *digest = world_digest(&grown, *digest);
        placement_free(&table);
        placement_free(&grown);
    }
    free(world.targets);
    /* Too few domains is an answer, too. */
    *digest ^= (uint64_t)(error == -EHOSTDOWN);
    return error == -EHOSTDOWN ? 0 : error;
}

/* A few equal targets in groups of five, which are hard to spread: the worst are looked after. */
static int add_hard(uint32_t count, uint64_t *digest)
{
    struct placement_target targets[HARD_TARGETS + HARD_GROWTH];
    struct placement_wanted wanted = {.members = 5,
                                      .level = PLACEMENT_HOST,
                                      .groups_per_target = 3 + count % 2,
                                      .device_class = PLACEMENT_ANY_CLASS,
                                      .seed = count};
    struct placement_change_wanted how = {.change = PLACEMENT_REBALANCE};
    struct placement_table table, grown;
    for (uint32_t i = 0; i < HARD_TARGETS + HARD_GROWTH; i++)
        targets[i] = (struct placement_target){.id = i, .capacity = 8, .host = i / 2};
    int error = placement_make(targets, count, &wanted, &table);
    if (error)
        return error;
    *digest = world_digest(&table, *digest);
    error = placement_change(targets, count + HARD_GROWTH, &wanted, &how, &table, &grown);
    if (!error)
        *digest = world_digest(&grown, *digest);
    placement_free(&table);
    placement_free(&grown);
    return error;
}

int main(void)
{
    uint64_t digest = WORLD_DIGEST_BEGIN;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        if (add_world(seed, seed % 20 == 19 ? 10000 : 60, &digest)) {
            fprintf(stderr, "the cluster of seed %" PRIu64 " failed\n", seed);
            return 1;
        }
    }
    for (uint32_t count = HARD_TARGETS / 2; count <= HARD_TARGETS; count++) {
        if (add_hard(count, &digest)) {
            fprintf(stderr, "the cluster of %" PRIu32 " equal targets failed\n", count);
            return 1;
        }
    }
    printf("%016" PRIx64 "\n", digest);
    return 0;
}
