/* SPDX-License-Identifier: Apache-2.0 */
/* The table while it is made: who stands in which slot, and which groups two targets share. */
#include "placement_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "layout.h"

/* Added to the generator's state for each number, as SplitMix64 does. */
#define RANDOM_STEP UINT64_C(0x9e3779b97f4a7c15)

/* A pair's weight is the product of two of these: SCALE for a target with the mean number of slots. */
#define WEIGHT_SCALE 64u

/* A slot more than `room` is needed while a target changes places. */
static int make_lists(struct placement_board *board, const uint32_t *slots, const uint32_t *room)
{
    uint32_t count = board->pool->target_count;
    uint64_t places = 0;
    for (uint32_t t = 0; t < count; t++)
        places += room[t] + 1;
    board->places = malloc(places * sizeof *board->places);
    board->first = malloc((size_t)count * sizeof *board->first);
    board->count = calloc(count, sizeof *board->count);
    board->room = malloc((size_t)count * sizeof *board->room);
    board->weight = malloc((size_t)count * sizeof *board->weight);
    board->row = calloc(count, sizeof *board->row);
    board->touched = malloc((size_t)count * sizeof *board->touched);
    board->is_touched = calloc(count, 1);
    board->mark = calloc(count, sizeof *board->mark);
    if (!board->places || !board->first || !board->count || !board->room || !board->weight || !board->row ||
        !board->touched || !board->is_touched || !board->mark)
        return -ENOMEM;
    uint64_t at = 0, weighed = (uint64_t)WEIGHT_SCALE * board->slot_count;
    for (uint32_t t = 0; t < count; t++) {
        board->first[t] = (uint32_t)at;
        board->room[t] = room[t];
        at += room[t] + 1;
        uint64_t weight = slots[t] ? weighed / ((uint64_t)count * slots[t]) : 1;
        board->weight[t] = weight < 1 ? 1 : weight > UINT16_MAX ? UINT16_MAX : (uint32_t)weight;
    }
    return 0;
}

int placement_board_make(const struct placement_pool *pool, uint32_t group_count, const uint32_t *slots,
                         const uint32_t *room, const struct placement_wanted *wanted,
                         struct placement_board *board)
{
    *board = (struct placement_board){
        .pool = pool,
        .members = pool->members,
        .group_count = group_count,
        .slot_count = group_count * pool->members,
        .random = wanted->seed,
        .progress = wanted->progress,
        .progress_arg = wanted->progress_arg,
    };
    board->member = malloc((size_t)board->slot_count * sizeof *board->member);
    board->at = malloc((size_t)board->slot_count * sizeof *board->at);
    board->is_free = calloc(board->slot_count, 1);
    if (!board->member || !board->at || !board->is_free || make_lists(board, slots, room)) {
        placement_board_free(board);
        return err_set(-ENOMEM, "out of memory for a placement in %u groups", group_count);
    }
    memset(board->member, 0xff, (size_t)board->slot_count * sizeof *board->member);
    return 0;
}

void placement_board_free(struct placement_board *board)
{
    free(board->member);
    free(board->is_free);
    free(board->places);
    free(board->first);
    free(board->count);
    free(board->room);
    free(board->at);
    free(board->weight);
    free(board->row);
    free(board->touched);
    free(board->is_touched);
    free(board->mark);
    *board = (struct placement_board){0};
}

void placement_board_put(struct placement_board *board, uint32_t slot, uint32_t target)
{
    uint32_t at = board->first[target] + board->count[target]++;
    board->member[slot] = target;
    board->places[at] = slot;
    board->at[slot] = at;
}

void placement_board_take(struct placement_board *board, uint32_t slot)
{
    uint32_t target = board->member[slot], at = board->at[slot];
    uint32_t last = board->places[board->first[target] + --board->count[target]];
    board->places[at] = last;
    board->at[last] = at;
    board->member[slot] = PL_NOBODY;
}

void placement_board_exchange(struct placement_board *board, uint32_t a, uint32_t b)
{
    uint32_t of_a = board->member[a], of_b = board->member[b], at = board->at[a];
    board->member[a] = of_b;
    board->member[b] = of_a;
    board->at[a] = board->at[b];
    board->at[b] = at;
    board->places[board->at[a]] = a;
    board->places[board->at[b]] = b;
}

bool placement_board_fits(const struct placement_board *board, uint32_t slot, uint32_t target)
{
    const struct placement_member *targets = board->pool->targets;
    uint32_t first = slot - slot % board->members, domain = targets[target].domain;
    for (uint32_t i = first; i < first + board->members; i++) {
        if (i != slot && board->member[i] != PL_NOBODY && targets[board->member[i]].domain == domain)
            return false;
    }
    return true;
}

void placement_board_row_add(struct placement_board *board, uint32_t target, uint32_t groups)
{
    if (!board->is_touched[target]) {
        board->is_touched[target] = 1;
        board->touched[board->touched_count++] = target;
    }
    board->row[target] += groups;
}

void placement_board_row(struct placement_board *board, uint32_t target, uint32_t group)
{
    const uint32_t *places = board->places + board->first[target];
    for (uint32_t i = 0; i < board->count[target]; i++) {
        uint32_t first = places[i] - places[i] % board->members;
        if (first == group * board->members)
            continue;
        for (uint32_t slot = first; slot < first + board->members; slot++) {
            uint32_t other = board->member[slot];
            if (slot != places[i] && other != PL_NOBODY)
                placement_board_row_add(board, other, 1);
        }
    }
    board->work += (uint64_t)board->count[target] * board->members;
}

void placement_board_row_clear(struct placement_board *board)
{
    for (uint32_t i = 0; i < board->touched_count; i++) {
        board->row[board->touched[i]] = 0;
        board->is_touched[board->touched[i]] = 0;
    }
    board->touched_count = 0;
}

uint64_t placement_board_cost(const struct placement_board *board, uint32_t slot)
{
    uint32_t first = slot - slot % board->members;
    uint64_t cost = 0;
    for (uint32_t i = first; i < first + board->members; i++) {
        uint32_t other = board->member[i];
        if (i != slot && other != PL_NOBODY)
            cost += (uint64_t)board->row[other] * board->weight[other];
    }
    return cost;
}

uint32_t placement_board_random_at(const struct placement_board *board, uint32_t index, uint32_t bound)
{
    uint64_t number = layout_hash(board->random + index * RANDOM_STEP);
    return (uint32_t)(((number >> 32) * bound) >> 32);
}

void placement_board_random_skip(struct placement_board *board, uint32_t count)
{
    board->random += count * RANDOM_STEP;
}

uint32_t placement_board_random(struct placement_board *board, uint32_t bound)
{
    uint32_t number = placement_board_random_at(board, 0, bound);
    placement_board_random_skip(board, 1);
    return number;
}

int placement_board_report(struct placement_board *board)
{
    if (board->progress && board->progress(board->progress_arg, board->work, board->work_max))
        return err_set(-ECANCELED, "the placement was interrupted");
    return 0;
}
