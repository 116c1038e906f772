/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How evenly others would take over what each target has, were it lost: the measure of
 * placement_measure.c in whole numbers, kept up while members are exchanged.
 * docs/placement.md, "The worst targets".
 */
#include "placement_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "err.h"

enum { SCALING_ROUNDS = 64 };

#define ROOT_SHIFT 32
#define ROOT_MAX   (UINT64_C(1) << 48)

/* What is missing is told in parts of this, before it is squared. */
#define ALL_SHIFT 14

/* A root of each domain so that it has, times those of all others, its pairs: scaled in turn, damped. */
static void scale_domains(const struct placement_board *board, const uint64_t *slots, uint64_t *root)
{
    uint32_t domains = board->pool->domain_count;
    uint64_t sum = 0;
    for (uint32_t d = 0; d < domains; d++)
        sum += root[d] = slots[d] << ROOT_SHIFT;
    for (uint32_t round = 0; round < SCALING_ROUNDS; round++) {
        uint64_t next_sum = 0;
        for (uint32_t d = 0; d < domains; d++) {
            uint64_t others = sum - root[d];
            placement_wide pairs = (placement_wide)slots[d] * (board->members - 1) << (2 * ROOT_SHIFT);
            placement_wide exact = others ? pairs / others : ROOT_MAX;
            root[d] = (root[d] + (uint64_t)(exact < ROOT_MAX ? exact : ROOT_MAX)) / 2;
            next_sum += root[d];
        }
        sum = next_sum;
    }
}

static int find_roots(const struct placement_board *board, struct placement_standing *standings)
{
    const struct placement_pool *pool = board->pool;
    uint64_t *slots = calloc(pool->domain_count, sizeof *slots);
    uint64_t *root = calloc(pool->domain_count, sizeof *root);
    int error = slots && root
                    ? 0
                    : err_set(-ENOMEM, "out of memory for a placement of %u targets", pool->target_count);
    for (uint32_t t = 0; t < pool->target_count && !error; t++)
        slots[pool->targets[t].domain] += board->count[t];
    if (!error)
        scale_domains(board, slots, root);
    for (uint32_t t = 0; t < pool->target_count && !error; t++) {
        uint32_t d = pool->targets[t].domain;
        standings[t].root = slots[d] ? (uint64_t)((placement_wide)root[d] * board->count[t] / slots[d]) : 0;
    }
    free(slots);
    free(root);
    return error;
}

static void measure(const struct placement_ledger *ledger, struct placement_standing *standings,
                    uint32_t target)
{
    const struct placement_pool *pool = ledger->board->pool;
    const uint16_t *shared = placement_ledger_row(ledger, target);
    struct placement_standing *own = &standings[target];
    int64_t best = 0;
    for (uint32_t t = 0; t < pool->target_count; t++) {
        if (standings[t].domain == own->domain)
            continue;
        uint64_t even = placement_standing_even(own, &standings[t]), rest = even % PL_LOAD;
        best += (int64_t)(even < PL_LOAD ? even : even - rest + rest * rest / PL_LOAD);
        for (uint32_t k = 1; k <= shared[t]; k++)
            own->in_place += placement_standing_part(own, &standings[t], k);
    }
    own->best = best;
    own->aim = best * 91 / 100;
    own->unit = best ? (INT64_C(1) << (32 + ALL_SHIFT)) / best : 0;
    own->loss = placement_standing_loss(own, own->in_place);
}

int placement_standing_make(const struct placement_ledger *ledger, struct placement_standing **standings)
{
    const struct placement_pool *pool = ledger->board->pool;
    *standings = calloc(pool->target_count, sizeof **standings);
    if (!*standings)
        return err_set(-ENOMEM, "out of memory for a placement of %u targets", pool->target_count);
    for (uint32_t t = 0; t < pool->target_count; t++)
        (*standings)[t].domain = pool->targets[t].domain;
    int error = find_roots(ledger->board, *standings);
    for (uint32_t t = 0; t < pool->target_count && !error; t++)
        measure(ledger, *standings, t);
    return error;
}

/* The pairs of the slot's member are in place no more (-1), or are now (1). */
static void count_in_place(const struct placement_ledger *ledger, struct placement_standing *standings,
                           uint32_t slot, int sign)
{
    const struct placement_board *board = ledger->board;
    uint32_t first = slot - slot % board->members, target = board->member[slot];
    const uint16_t *shared = placement_ledger_row(ledger, target);
    for (uint32_t i = first; i < first + board->members; i++) {
        uint32_t other = board->member[i];
        if (i == slot)
            continue;
        int64_t part = sign * placement_standing_part(&standings[target], &standings[other], shared[other]);
        standings[target].in_place += part;
        standings[other].in_place += part;
    }
}

static void count_loss(const struct placement_board *board, struct placement_standing *standings,
                       uint32_t slot)
{
    uint32_t first = slot - slot % board->members;
    for (uint32_t i = first; i < first + board->members; i++) {
        struct placement_standing *standing = &standings[board->member[i]];
        standing->loss = placement_standing_loss(standing, standing->in_place);
    }
}

void placement_standing_exchange(struct placement_ledger *ledger, struct placement_standing *standings,
                                 uint32_t a, uint32_t b)
{
    count_in_place(ledger, standings, a, -1);
    count_in_place(ledger, standings, b, -1);
    placement_ledger_exchange(ledger, a, b);
    count_in_place(ledger, standings, a, 1);
    count_in_place(ledger, standings, b, 1);
    count_loss(ledger->board, standings, a);
    count_loss(ledger->board, standings, b);
}
