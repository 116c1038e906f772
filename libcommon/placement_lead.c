/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who leads a group, that is stands first in it: each target its share of the
 * groups that it is in, rounded up or down. Such a choice exists, since to lead 1/n
 * of each group would be exact and flows with whole bounds have whole solutions.
 */
#include "placement_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

struct leading {
    struct placement_board *board;
    uint32_t *leads;  /* groups that each target leads */
    uint32_t *leader; /* of each group, its slot; PL_NOBODY: not chosen yet */
    /* Scratch of the search: who passes the group `via` to a target; and who is known. */
    uint32_t *from, *via, *queue;
};

static uint32_t most(const struct leading *leading, uint32_t target)
{
    return (leading->board->count[target] + leading->board->members - 1) / leading->board->members;
}

static uint32_t least(const struct leading *leading, uint32_t target)
{
    return leading->board->count[target] / leading->board->members;
}

/* The member that leads the smallest part of its groups; of equals, the one that stands first. */
static void choose(struct leading *leading, uint32_t group)
{
    const struct placement_board *board = leading->board;
    uint32_t first = group * board->members, best = first;
    for (uint32_t slot = first + 1; slot < first + board->members; slot++) {
        uint32_t a = board->member[slot], b = board->member[best];
        if ((uint64_t)leading->leads[a] * board->count[b] < (uint64_t)leading->leads[b] * board->count[a])
            best = slot;
    }
    leading->leader[group] = best;
    leading->leads[board->member[best]]++;
}

/* The other members of groups that `target` leads, or, `up`, the leaders of groups that it is in.
 * Returns the one that can take (or give) one more without leaving its bounds; PL_NOBODY when there is
 * none. */
static uint32_t expand(struct leading *leading, uint32_t target, bool up, uint32_t *queued)
{
    const struct placement_board *board = leading->board;
    uint32_t n = board->members;
    for (uint32_t i = 0; i < board->count[target]; i++) {
        uint32_t slot = board->places[board->first[target] + i], group = slot / n;
        bool leads = leading->leader[group] == slot;
        if (leads == up)
            continue;
        for (uint32_t k = up ? leading->leader[group] : group * n;
             k < (up ? leading->leader[group] + 1 : (group + 1) * n); k++) {
            uint32_t other = board->member[k];
            if (leading->from[other] != PL_NOBODY)
                continue;
            leading->from[other] = target;
            leading->via[other] = up ? slot : k;
            if (up ? leading->leads[other] > least(leading, other)
                   : leading->leads[other] < most(leading, other))
                return other;
            leading->queue[(*queued)++] = other;
        }
    }
    return PL_NOBODY;
}

/* Passes one lead along a shortest chain of groups, away from `target` or, `up`, to it. */
static void pass_on(struct leading *leading, uint32_t target, bool up)
{
    struct placement_board *board = leading->board;
    uint32_t queued = 1, end = PL_NOBODY;
    memset(leading->from, 0xff, (size_t)board->pool->target_count * sizeof *leading->from);
    leading->from[target] = target;
    leading->queue[0] = target;
    for (uint32_t i = 0; i < queued && end == PL_NOBODY; i++)
        end = expand(leading, leading->queue[i], up, &queued);
    if (end == PL_NOBODY)
        return;
    leading->leads[target] += up ? 1u : UINT32_MAX;
    leading->leads[end] += up ? UINT32_MAX : 1u;
    for (; end != target; end = leading->from[end]) {
        uint32_t slot = leading->via[end];
        leading->leader[slot / board->members] = slot;
    }
}

/* Leaders that are there go on while they lead no more than their share. */
static void keep(struct leading *leading, uint32_t kept_groups)
{
    const struct placement_board *board = leading->board;
    for (uint32_t group = 0; group < kept_groups; group++) {
        uint32_t slot = group * board->members, target = board->member[slot];
        if (!board->is_free[slot] && leading->leads[target] < most(leading, target)) {
            leading->leader[group] = slot;
            leading->leads[target]++;
        }
    }
}

/* The leader changes places with whoever stands first. */
static void put_first(struct leading *leading)
{
    struct placement_board *board = leading->board;
    for (uint32_t group = 0; group < board->group_count; group++) {
        uint32_t first = group * board->members;
        if (leading->leader[group] != first)
            placement_board_exchange(board, first, leading->leader[group]);
    }
}

static void balance(struct leading *leading, uint32_t kept_groups)
{
    const struct placement_board *board = leading->board;
    memset(leading->leader, 0xff, (size_t)board->group_count * sizeof *leading->leader);
    keep(leading, kept_groups);
    for (uint32_t group = 0; group < board->group_count; group++) {
        if (leading->leader[group] == PL_NOBODY)
            choose(leading, group);
    }
    for (uint32_t t = 0; t < board->pool->target_count; t++) {
        for (uint32_t left = leading->leads[t]; left > most(leading, t); left--)
            pass_on(leading, t, false);
    }
    for (uint32_t t = 0; t < board->pool->target_count; t++) {
        for (uint32_t have = leading->leads[t]; have < least(leading, t); have++)
            pass_on(leading, t, true);
    }
    put_first(leading);
}

int placement_lead(struct placement_board *board, uint32_t kept_groups)
{
    uint32_t count = board->pool->target_count;
    struct leading leading = {.board = board};
    int error = 0;
    if (board->members == 1)
        return 0;
    leading.leads = calloc(count, sizeof *leading.leads);
    leading.leader = malloc((size_t)board->group_count * sizeof *leading.leader);
    leading.from = malloc((size_t)count * sizeof *leading.from);
    leading.via = malloc((size_t)count * sizeof *leading.via);
    leading.queue = malloc((size_t)count * sizeof *leading.queue);
    if (leading.leads && leading.leader && leading.from && leading.via && leading.queue)
        balance(&leading, kept_groups);
    else
        error = err_set(-ENOMEM, "out of memory for a placement in %u groups", board->group_count);
    free(leading.leads);
    free(leading.leader);
    free(leading.from);
    free(leading.via);
    free(leading.queue);
    return error;
}
