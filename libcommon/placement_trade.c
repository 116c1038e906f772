/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Better pairs in a table that grows, by exchanges with members of old groups. Some
 * cost nothing: whoever gave one slot gives another instead. The others move
 * somebody who could stay, for which there is a budget. docs/placement.md, "Trading".
 */
#include "placement_internal.h"

#include <errno.h>

enum { TRIES = 48, PRICES = 8, PASSES_AT_A_PRICE = 2, PASSES_AT_LAST = 32 };

/* Pairs of slots looked at, at most, times four times the members of a group. */
#define WORK_MAX UINT64_C(300000000)

struct trade {
    struct placement_board *board;
    struct placement_ledger ledger;
    int64_t price; /* that an exchange must gain for each member that it moves */
    bool changed;
};

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
    const uint16_t *shared = placement_ledger_row(&trade->ledger, board->member[from]);
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
    uint32_t n = board->members, first = b - b % n;
    int moves;
    board->work += 4 * (uint64_t)n;
    if (!placement_ledger_allows(&trade->ledger, a, b, &moves))
        return false;
    int64_t common = 0;
    for (uint32_t i = first; i < first + n; i++)
        common += i != b && board->mark[board->member[i]] ? board->weight[board->member[i]] : 0;
    /* To move somebody back for a slot in an appended group is worth nothing by itself: else those who are
     * new would end up in these groups, among themselves. */
    if (moves < 0 && (a >= trade->ledger.old_slots || b >= trade->ledger.old_slots))
        moves = 0;
    *gain = gain_of(trade, a, b, common) + gain_of(trade, b, a, common) - trade->price * moves;
    return true;
}

/* The best exchange of a slot with those of whoever stood there, so that that one gives another slot, and
 * with some random ones. */
static void improve_slot(struct trade *trade, uint32_t a)
{
    struct placement_board *board = trade->board;
    const struct placement_ledger *ledger = &trade->ledger;
    uint32_t best = PL_NOBODY, owner = a < ledger->old_slots ? ledger->old[a] : PL_NOBODY;
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
    if (best != PL_NOBODY) {
        placement_ledger_exchange(&trade->ledger, a, best);
        trade->changed = true;
    }
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
    struct trade trade = {.board = board};
    if (!placement_ledger_is_useful(board))
        return 0;
    int error = placement_ledger_make(board, old, old_slots, moves_max, &trade.ledger);
    if (error)
        return error;
    board->work_max = board->work + WORK_MAX;
    if (trade.ledger.moved)
        error = run(&trade);
    if (trade.ledger.moved && !error)
        error = placement_spread_raise(&trade.ledger);
    for (uint32_t slot = 0; slot < old_slots; slot++)
        board->is_free[slot] = placement_ledger_is_moved(&trade.ledger, slot, board->member[slot]);
    placement_ledger_free(&trade.ledger);
    return error;
}
