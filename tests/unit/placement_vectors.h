/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placement_vectors.h: what the functions of placement.h must give. The same values
 * stand in docs/placement.md. They were computed from that page by another program, not by
 * placement.c; so never make them fit.
 */
#ifndef TESTS_PLACEMENT_VECTORS_H
#define TESTS_PLACEMENT_VECTORS_H

#include <stdint.h>

#include "placement.h"

enum { VECTOR_TARGETS_MAX = 32, VECTOR_IDS_MAX = 96 };

/* Targets 0, 1, ... of these capacities; `per_host` on a host, `per_rack` hosts in a rack. */
struct placement_vector {
    uint32_t count;
    uint64_t capacities[VECTOR_TARGETS_MAX];
    uint32_t per_host, per_rack, members;
    enum placement_level level;
    uint32_t groups_per_target;
    uint64_t seed;
    uint32_t group_count;
    uint32_t ids[VECTOR_IDS_MAX];
};

static const struct placement_vector make_vectors[] = {
    {7, {1, 1, 1, 1, 1, 1, 1}, 1, 1, 3, PLACEMENT_HOST, 3, 0, 7, {0, 1, 3, 1, 2, 4, 2, 3, 5, 3, 4,
                                                                  6, 4, 5, 0, 5, 6, 1, 6, 0, 2}},
    {6, {1, 1, 1, 1, 1, 1}, 1, 1, 2, PLACEMENT_HOST, 5, 7, 15, {0, 3, 1, 4, 2, 5, 0, 1, 1, 2, 3, 2, 4, 3, 5,
                                                                4, 5, 0, 2, 0, 3, 1, 4, 2, 3, 5, 4, 0, 5, 1}},
    {5,
     {1, 1, 2, 2, 3},
     1,
     1,
     2,
     PLACEMENT_HOST,
     3,
     1,
     9,
     {2, 4, 4, 0, 1, 2, 2, 3, 3, 4, 4, 2, 3, 4, 4, 1, 0, 3}},
    {8, {2, 2, 2, 2, 2, 2, 2, 2}, 1, 2, 3, PLACEMENT_RACK, 3, 5, 8, {2, 1, 5, 3, 0, 4, 6, 1, 3, 7, 5, 3,
                                                                     5, 0, 6, 4, 6, 2, 0, 2, 7, 1, 7, 4}},
    {6,
     {4, 4, 1, 1, 1, 1},
     2,
     1,
     2,
     PLACEMENT_HOST,
     2,
     9,
     8,
     {0, 2, 1, 3, 5, 1, 0, 5, 4, 0, 2, 1, 1, 4, 3, 0}},
    {3, {1, 2, 1}, 1, 1, 1, PLACEMENT_HOST, 1, 0, 4, {0, 1, 1, 2}},
};

/* The same with targets added and the first ones lost. */
static const struct {
    uint32_t of, added_count;
    uint64_t added[VECTOR_TARGETS_MAX];
    uint32_t lost;
    enum placement_change change;
    uint32_t appended, ids[VECTOR_IDS_MAX];
} change_vectors[] = {
    {0, 1, {1}, 0, PLACEMENT_REBALANCE, 0, {0, 1, 3, 1, 2, 4, 2, 3, 5, 3, 4, 7, 4, 5, 0, 7, 6, 1, 6, 0, 2}},
    {2, 2, {3, 1}, 0, PLACEMENT_REBALANCE, 2, {6, 4, 4, 0, 1, 2, 2, 5, 3, 4, 4,
                                               2, 3, 5, 5, 1, 0, 3, 5, 4, 5, 6}},
    {2, 1, {2}, 1, PLACEMENT_KEEP, 0, {2, 4, 4, 5, 1, 2, 2, 3, 3, 4, 4, 2, 3, 4, 4, 1, 5, 3}},
    {3, 2, {2, 2}, 1, PLACEMENT_REBALANCE, 0, {2, 1, 5, 3, 8, 4, 6, 1, 3, 9, 5, 3,
                                               5, 8, 6, 4, 6, 2, 7, 2, 9, 1, 7, 4}},
    {1, 2, {3, 3}, 0, PLACEMENT_REBALANCE, 0, {7, 3, 6, 7, 7, 1, 0, 1, 1, 6, 7, 2, 4, 6, 6,
                                               7, 6, 0, 2, 6, 3, 6, 2, 4, 3, 5, 0, 7, 5, 7}},
    {5, 2, {1, 1}, 0, PLACEMENT_KEEP, 2, {0, 1, 1, 2, 3, 4}},
    {0, 1, {2}, 0, PLACEMENT_REBALANCE, 0, {0, 1, 7, 1, 2, 4, 2, 3, 5, 3, 4, 7, 7, 5, 0, 7, 6, 1, 6, 0, 2}},
    {2, 1, {3}, 1, PLACEMENT_REBALANCE, 2, {2, 4, 4, 5, 1, 2, 2, 5, 3, 4, 4,
                                            2, 3, 4, 5, 1, 5, 3, 5, 3, 4, 5}},
};

/* Larger ones, by the FNV-1a digest of their ids, each as four bytes, the lowest first. */
static const struct {
    struct placement_vector vector; /* without its ids */
    uint64_t digest;
} digest_vectors[] = {
    {{15, {8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8}, 3, 1, 3, PLACEMENT_HOST, 18, UINT64_C(0), 90, {0}},
     UINT64_C(0xfa427b059a6885f5)},
    {{20,
      {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5},
      1,
      4,
      3,
      PLACEMENT_RACK,
      9,
      UINT64_C(3),
      60,
      {0}},
     UINT64_C(0x549648d785ada6c5)},
    {{24,
      {1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3},
      2,
      2,
      4,
      PLACEMENT_HOST,
      8,
      UINT64_C(42),
      48,
      {0}},
     UINT64_C(0xe2b9c6e50e4c2f95)},
    {{31,
      {8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8},
      1,
      1,
      6,
      PLACEMENT_TARGET,
      6,
      UINT64_C(1),
      31,
      {0}},
     UINT64_C(0x86f8f2364d3ec4d5)},
    {{18,
      {7, 8, 11, 16, 12, 10, 10, 12, 16, 11, 8, 7, 8, 11, 16, 12, 10, 10},
      1,
      1,
      5,
      PLACEMENT_HOST,
      6,
      UINT64_C(16045690984503111693),
      39,
      {0}},
     UINT64_C(0x141b97bf06e50ad8)},
    {{22,
      {8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8},
      1,
      1,
      5,
      PLACEMENT_HOST,
      3,
      UINT64_C(1),
      16,
      {0}},
     UINT64_C(0x4d5615c6c599fbd5)},
};

#endif
