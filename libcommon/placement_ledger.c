/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ledger of a table while its members are exchanged: how many groups each two
 * targets share, and which slots have another member than in the table before.
 */
#include "placement_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "err.h"

/* A matrix of all pairs is kept for so many targets at most, which is 200 MiB; for more than the lesser
 * number, 32 MiB, only if it may be of use. */
enum { TARGETS_MAX = 10240, TARGETS_SMALL = 4096 };

uint16_t *placement_ledger_row(const struct placement_ledger *ledger, uint32_t target)
{
    return ledger->shared + (size_t)target * ledger->board->pool->target_count;
}

bool placement_ledger_is_moved(const struct placement_ledger *ledger, uint32_t slot, uint32_t target)
{
    return slot < ledger->old_slots && ledger->old[slot] != target;
}

/* Does a target share groups with others that it shares one with already, more than one of ten? */
static bool repeats_pairs(struct placement_board *board, uint32_t target)
{
    uint64_t all = (uint64_t)board->count[target] * (board->members - 1), repeated = all;
    placement_board_row(board, target, PL_NOBODY);
    repeated -= board->touched_count;
    placement_board_row_clear(board);
    return 10 * repeated > all;
}

bool placement_ledger_is_useful(struct placement_board *board)
{
    uint32_t count = board->pool->target_count;
    bool is_useful = count <= TARGETS_SMALL;
    if (board->members < 2 || count > TARGETS_MAX)
        return false;
    for (uint32_t t = 0; t < count; t++) {
        if (board->count[t] > UINT16_MAX)
            return false;
        is_useful = is_useful || repeats_pairs(board, t);
    }
    return is_useful;
}

int placement_ledger_make(struct placement_board *board, const uint32_t *old, uint32_t old_slots,
                          uint32_t moved_max, struct placement_ledger *ledger)
{
    uint32_t count = board->pool->target_count;
    *ledger =
        (struct placement_ledger){.board = board, .old = old, .old_slots = old_slots, .moved_max = moved_max};
    ledger->shared = calloc((size_t)count * count, sizeof *ledger->shared);
    if (!ledger->shared)
        return err_set(-ENOMEM, "out of memory for a placement of %u targets", count);
    for (uint32_t slot = 0; slot < board->slot_count; slot++) {
        ledger->moved += placement_ledger_is_moved(ledger, slot, board->member[slot]);
        for (uint32_t i = slot - slot % board->members; i < slot; i++) {
            placement_ledger_row(ledger, board->member[slot])[board->member[i]]++;
            placement_ledger_row(ledger, board->member[i])[board->member[slot]]++;
        }
    }
    return 0;
}

void placement_ledger_free(struct placement_ledger *ledger)
{
    free(ledger->shared);
    *ledger = (struct placement_ledger){0};
}

/* The target's pairs with the others of the slot's group count `sign` more. */
static void count_pairs(struct placement_ledger *ledger, uint32_t slot, uint32_t target, int sign)
{
    const struct placement_board *board = ledger->board;
    uint16_t *row = placement_ledger_row(ledger, target);
    uint32_t first = slot - slot % board->members;
    for (uint32_t i = first; i < first + board->members; i++) {
        uint32_t other = board->member[i];
        if (i == slot)
            continue;
        row[other] = (uint16_t)(row[other] + sign);
        placement_ledger_row(ledger, other)[target] = row[other];
    }
}

/* Fits by its domain, and stood at no other place of the group, which would be no move but a change of
 * places. */
static bool fits(const struct placement_ledger *ledger, uint32_t slot, uint32_t target)
{
    uint32_t n = ledger->board->members, first = slot - slot % n;
    for (uint32_t i = first; slot < ledger->old_slots && i < first + n; i++) {
        if (i != slot && ledger->old[i] == target)
            return false;
    }
    return placement_board_fits(ledger->board, slot, target);
}

bool placement_ledger_allows(const struct placement_ledger *ledger, uint32_t a, uint32_t b, int *moves)
{
    const struct placement_board *board = ledger->board;
    uint32_t n = board->members, u = board->member[a], v = board->member[b];
    *moves = placement_ledger_is_moved(ledger, a, v) + placement_ledger_is_moved(ledger, b, u) -
             placement_ledger_is_moved(ledger, a, u) - placement_ledger_is_moved(ledger, b, v);
    return a / n != b / n && u != v &&
           (*moves <= 0 || ledger->moved + (uint32_t)*moves <= ledger->moved_max) && fits(ledger, a, v) &&
           fits(ledger, b, u);
}

void placement_ledger_exchange(struct placement_ledger *ledger, uint32_t a, uint32_t b)
{
    struct placement_board *board = ledger->board;
    uint32_t u = board->member[a], v = board->member[b];
    uint32_t before =
        (uint32_t)placement_ledger_is_moved(ledger, a, u) + placement_ledger_is_moved(ledger, b, v);
    count_pairs(ledger, a, u, -1);
    count_pairs(ledger, b, v, -1);
    placement_board_exchange(board, a, b);
    count_pairs(ledger, a, v, 1);
    count_pairs(ledger, b, u, 1);
    ledger->moved +=
        (uint32_t)placement_ledger_is_moved(ledger, a, v) + placement_ledger_is_moved(ledger, b, u) - before;
}
