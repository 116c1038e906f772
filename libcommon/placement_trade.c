/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Better pairs in a table that grows, by exchanges with members of old groups. Some
 * cost nothing: whoever gave one slot gives another instead. The others move
 * somebody who could stay, for which there is a budget. docs/placement.md, "Trading".
 */
#include "placement_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "err.h"

enum { TRIES = 48, PRICES = 8, PASSES_AT_A_PRICE = 2, PASSES_AT_LAST = 32 };

/* A matrix of all pairs is kept for so many targets at most. */
#define TARGETS_MAX 4096u
/* Pairs of slots looked at, at most, times four times the members of a group. */
#define WORK_MAX    UINT64_C(300000000)

struct trade {
    struct placement_board *board;
    const uint32_t *old; /* of each slot of the old groups: who stood there */
    uint32_t old_slots;
    uint32_t moved, moved_max; /* slots of old groups with somebody else in them */
    uint32_t *shared;          /* groups of each two targets */
    int64_t price;             /* that an exchange must gain for each member that it moves */
    bool changed;
};

static uint32_t *shared_of(const struct trade *trade, uint32_t target)
{
    return trade->shared + (size_t)target * trade->board->pool->target_count;
}

/* The target's pairs with the others of the slot's group count `sign` more. */
static void count_pairs(struct trade *trade, uint32_t slot, uint32_t target, int sign)
{
    const struct placement_board *board = trade->board;
    uint32_t first = slot - slot % board->members, count = board->pool->target_count;
    for (uint32_t i = first; i < first + board->members; i++) {
        uint32_t other = board->member[i];
        if (i == slot)
            continue;
        trade->shared[(size_t)target * count + other] += (uint32_t)sign;
        trade->shared[(size_t)other * count + target] += (uint32_t)sign;
    }
}

static bool is_moved(const struct trade *trade, uint32_t slot, uint32_t target)
{
    return slot < trade->old_slots && trade->old[slot] != target;
}

/* Fits by its domain, and stood at no other place of the group, which would be no move but a change of
 * places. */
static bool fits(const struct trade *trade, uint32_t slot, uint32_t target)
{
    uint32_t n = trade->board->members, first = slot - slot % n;
    for (uint32_t i = first; slot < trade->old_slots && i < first + n; i++) {
        if (i != slot && trade->old[i] == target)
            return false;
    }
    return placement_board_fits(trade->board, slot, target);
}

static void mark_others(struct placement_board *board, uint32_t slot, bool marked)
{
    uint32_t first = slot - slot % board->members;
    for (uint32_t i = first; i < first + board->members; i++)
        board->mark[board->member[i]] = marked && i != slot;
}

/* What changes when the member of slot `from` takes part in `to` as well, and no more in `from`; `common` is
 * the weight of those who are in both groups. */
static int64_t gain_of(const struct trade *trade, uint32_t from, uint32_t to, int64_t common)
{
    const struct placement_board *board = trade->board;
    uint32_t n = board->members, a = from - from % n, b = to - to % n;
    const uint32_t *shared = shared_of(trade, board->member[from]);
    int64_t gain = common;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t left = board->member[a + i], joined = board->member[b + i];
        if (a + i != from)
            gain += (int64_t)board->weight[left] * (shared[left] - 1);
        if (b + i != to)
            gain -= (int64_t)board->weight[joined] * shared[joined];
    }
    return gain * board->weight[board->member[from]];
}

/* What an exchange gains beyond the price of what it moves, in *gain; false: it can't be. The other
 * members of a's group are marked. */
static bool weigh(struct trade *trade, uint32_t a, uint32_t b, int64_t *gain)
{
    struct placement_board *board = trade->board;
    uint32_t n = board->members, u = board->member[a], v = board->member[b], first = b - b % n;
    int moves = is_moved(trade, a, v) + is_moved(trade, b, u) - is_moved(trade, a, u) - is_moved(trade, b, v);
    board->work += 4 * (uint64_t)n;
    if (a / n == b / n || u == v || (moves > 0 && trade->moved + (uint32_t)moves > trade->moved_max) ||
        !fits(trade, a, v) || !fits(trade, b, u))
        return false;
    int64_t common = 0;
    for (uint32_t i = first; i < first + n; i++)
        common += i != b && board->mark[board->member[i]] ? board->weight[board->member[i]] : 0;
    *gain = gain_of(trade, a, b, common) + gain_of(trade, b, a, common) - trade->price * moves;
    return true;
}

static void exchange(struct trade *trade, uint32_t a, uint32_t b)
{
    struct placement_board *board = trade->board;
    uint32_t u = board->member[a], v = board->member[b];
    uint32_t before = (uint32_t)is_moved(trade, a, u) + is_moved(trade, b, v);
    count_pairs(trade, a, u, -1);
    count_pairs(trade, b, v, -1);
    placement_board_exchange(board, a, b);
    count_pairs(trade, a, v, 1);
    count_pairs(trade, b, u, 1);
    trade->moved += (uint32_t)is_moved(trade, a, v) + is_moved(trade, b, u) - before;
    trade->changed = true;
}

/* The best exchange of a slot with those of whoever stood there, so that that one gives another slot, and
 * with some random ones. */
static void improve_slot(struct trade *trade, uint32_t a)
{
    struct placement_board *board = trade->board;
    uint32_t best = PL_NOBODY, owner = a < trade->old_slots ? trade->old[a] : PL_NOBODY;
    int64_t gain, best_gain = 0;
    mark_others(board, a, true);
    uint32_t own = owner != PL_NOBODY && owner != board->member[a] ? board->count[owner] : 0;
    for (uint32_t k = 0; k < own + TRIES; k++) {
        uint32_t b = k < own ? board->places[board->first[owner] + k]
                             : placement_board_random(board, board->slot_count);
        if (weigh(trade, a, b, &gain) && gain > best_gain) {
            best = b;
            best_gain = gain;
        }
    }
    mark_others(board, a, false);
    if (best != PL_NOBODY)
        exchange(trade, a, best);
}

/* One look at all slots; -ECANCELED. */
static int pass(struct trade *trade)
{
    struct placement_board *board = trade->board;
    trade->changed = false;
    if (placement_board_report(board))
        return -ECANCELED;
    for (uint32_t slot = 0; slot < board->slot_count && board->work < board->work_max; slot++)
        improve_slot(trade, slot);
    return 0;
}

/* Dear at first, so that what is left of the budget goes where a move gains most. */
static int run(struct trade *trade)
{
    struct placement_board *board = trade->board;
    int error = 0;
    for (uint32_t k = 0; k < PRICES && !error; k++) {
        trade->price = k + 1 < PRICES ? INT64_C(4096) * board->members * 8 >> k : 0;
        uint32_t passes = k + 1 < PRICES ? PASSES_AT_A_PRICE : PASSES_AT_LAST;
        trade->changed = true;
        for (uint32_t i = 0; i < passes && trade->changed && board->work < board->work_max && !error; i++)
            error = pass(trade);
    }
    return error;
}

int placement_trade_improve(struct placement_board *board, const uint32_t *old, uint32_t old_slots,
                            uint32_t moves_max)
{
    uint32_t count = board->pool->target_count;
    struct trade trade = {.board = board, .old = old, .old_slots = old_slots, .moved_max = moves_max};
    if (count > TARGETS_MAX || board->members < 2)
        return 0;
    trade.shared = calloc((size_t)count * count, sizeof *trade.shared);
    if (!trade.shared)
        return err_set(-ENOMEM, "out of memory for a placement of %u targets", count);
    for (uint32_t slot = 0; slot < board->slot_count; slot++) {
        trade.moved += is_moved(&trade, slot, board->member[slot]);
        for (uint32_t i = slot - slot % board->members; i < slot; i++) {
            shared_of(&trade, board->member[slot])[board->member[i]]++;
            shared_of(&trade, board->member[i])[board->member[slot]]++;
        }
    }
    int error = 0;
    board->work_max = board->work + WORK_MAX;
    if (trade.moved)
        error = run(&trade);
    for (uint32_t slot = 0; slot < old_slots; slot++)
        board->is_free[slot] = is_moved(&trade, slot, board->member[slot]);
    free(trade.shared);
    return error;
}
