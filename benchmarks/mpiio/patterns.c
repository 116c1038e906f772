/* SPDX-License-Identifier: Apache-2.0 */
/*
 * patterns.c: the list of patterns.
 */
#include <string.h>

#include "bench.h"

#define RECORD 47008 /* of IOR's and IO500's hard case */

const struct pattern patterns[] = {
    {.name = "contiguous",
     .help = "each rank a run of its own, a call's bytes at a time (IOR easy)",
     .make = make_contiguous,
     .volume_divisor = 1},
    {.name = "interleaved",
     .help = "records of 47,008 bytes in turn, many in a call, by a view (IOR hard)",
     .make = make_interleaved,
     .parameter = RECORD,
     .volume_divisor = 1},
    {.name = "interleaved-chunk",
     .help = "the same in chunks of ten records (striping_unit=470080)",
     .make = make_interleaved,
     .parameter = RECORD,
     .chunk_size = INT64_C(10) * RECORD,
     .volume_divisor = 1},
    {.name = "interleaved-each",
     .help = "the same in default chunks, one record in a call and no view, as IOR does it",
     .make = make_interleaved_each,
     .parameter = RECORD,
     .volume_divisor = 1},
    {.name = "random",
     .help = "4 KiB at random places, many in a call, by a view",
     .make = make_random,
     .parameter = 4096,
     .volume_divisor = 8},
    {.name = "random-each",
     .help = "4 KiB at random places, one in a call",
     .make = make_random_each,
     .parameter = 4096,
     .volume_divisor = 64},
    {.name = "strided-64",
     .help = "64 bytes of each rank in turn, by a view",
     .make = make_interleaved,
     .parameter = 64,
     .volume_divisor = 8},
    {.name = "strided-8",
     .help = "8 bytes of each rank in turn, by a view",
     .make = make_interleaved,
     .parameter = 8,
     .volume_divisor = 32},
    {.name = "block3d",
     .help = "a cube of doubles cut into blocks, one call, by a subarray view (coll_perf)",
     .make = make_block3d,
     .volume_divisor = 1},
    {.name = "particles",
     .help = "nine variables, 38 bytes a particle, one call for each variable (HACC-IO)",
     .make = make_particles,
     .volume_divisor = 1},
    {.name = "uneven",
     .help = "contiguous, rank i having i + 1 shares",
     .make = make_uneven,
     .volume_divisor = 1},
    {.name = "one-rank",
     .help = "contiguous, rank 0 having all",
     .make = make_one_rank,
     .volume_divisor = 1},
};

const unsigned pattern_count = sizeof patterns / sizeof patterns[0];

const struct pattern *pattern_find(const char *name)
{
    for (unsigned i = 0; i < pattern_count; i++)
        if (strcmp(patterns[i].name, name) == 0)
            return &patterns[i];
    return NULL;
}
