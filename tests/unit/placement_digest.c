/* SPDX-License-Identifier: Apache-2.0 */
/* Prints a digest of many tables: test_placement_compilers.sh compares what different builds print. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "placement_world.h"

enum { WORLDS = 40 };

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

int main(void)
{
    uint64_t digest = WORLD_DIGEST_BEGIN;
    for (uint64_t seed = 0; seed < WORLDS; seed++) {
        if (add_world(seed, seed % 20 == 19 ? 10000 : 60, &digest)) {
            fprintf(stderr, "the cluster of seed %" PRIu64 " failed\n", seed);
            return 1;
        }
    }
    printf("%016" PRIx64 "\n", digest);
    return 0;
}
