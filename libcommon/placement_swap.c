/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Better pairs by exchanges: two members of different groups change places when
 * their failure domains allow it and pairs are repeated less afterwards. What
 * counts of a target and a domain stays what it is. docs/placement.md proves how
 * many groups two targets share at most when this ends.
 */
#include "placement_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

enum { TRIES = 24, PASSES = 100 };

/* Entries looked at, at most, before the search for better pairs ends: a second or two. */
#define WORK_MAX    (UINT64_C(3) << 27)
#define WORK_REPORT (UINT64_C(1) << 22)

/* One search: the free slots, and which of them are to be looked at. */
struct search {
    struct placement_board *board;
    uint32_t *free_slots, free_count;
    uint8_t *due;    /* of each slot */
    uint32_t tries;  /* random ones for each slot */
    uint64_t bound;  /* what costs more is tried with all others */
    uint64_t report; /* tell of the progress when so much work is done */
    bool changed;
};

/* The members of the slot's group, without that of the slot, count by their weights. */
static void add_marks(struct placement_board *board, uint32_t slot, int32_t sign)
{
    uint32_t first = slot - slot % board->members;
    for (uint32_t i = first; i < first + board->members; i++) {
        if (i != slot)
            board->mark[board->member[i]] += sign * (int32_t)board->weight[board->member[i]];
    }
}

/* By how much the member of `from` is cheaper in the slot `to`. */
static int64_t gain_of_move(struct placement_board *board, uint32_t from, uint32_t to)
{
    uint32_t n = board->members, target = board->member[from], own = from - from % n;
    const uint32_t *places = board->places + board->first[target];
    int64_t gain = 0;
    add_marks(board, from, 1);
    add_marks(board, to, -1);
    for (uint32_t i = 0; i < board->count[target]; i++) {
        uint32_t first = places[i] - places[i] % n;
        if (first == own)
            continue;
        for (uint32_t slot = first; slot < first + n; slot++)
            gain += board->mark[board->member[slot]];
    }
    add_marks(board, from, -1);
    add_marks(board, to, 1);
    board->work += (uint64_t)board->count[target] * n;
    return gain * (int64_t)board->weight[target];
}

/* Exchanges slot `a`, whose member has its row without this group on the board, with slot `b` when that is
 * possible, makes a's member cheaper than `now`, and gains `least` over all. */
static bool try_exchange(struct search *search, uint32_t a, uint32_t b, uint64_t now, int64_t least)
{
    struct placement_board *board = search->board;
    uint32_t n = board->members, u = board->member[a], v = board->member[b];
    board->work += n;
    if (a / n == b / n || u == v || !placement_board_fits(board, a, v) || !placement_board_fits(board, b, u))
        return false;
    uint64_t then = placement_board_cost(board, b);
    if (then >= now)
        return false;
    if ((int64_t)((now - then) * board->weight[u]) + gain_of_move(board, b, a) < least)
        return false;
    placement_board_exchange(board, a, b);
    for (uint32_t i = 0; i < n; i++) {
        search->due[a - a % n + i] = 1;
        search->due[b - b % n + i] = 1;
    }
    search->changed = true;
    return true;
}

/* Looks for a better place for the member of slot `a` among some random ones, then, when it costs more
 * than the bound, among all. Returns the slot in which it is then. */
static uint32_t improve_slot(struct search *search, uint32_t a)
{
    struct placement_board *board = search->board;
    uint64_t now = placement_board_cost(board, a);
    search->due[a] = now > 0;
    for (uint32_t k = 0; k < search->tries && now; k++) {
        uint32_t b = search->free_slots[placement_board_random(board, search->free_count)];
        if (try_exchange(search, a, b, now, 0))
            return b;
    }
    if (now * board->weight[board->member[a]] <= search->bound)
        return a;
    for (uint32_t k = 0; k < search->free_count; k++) {
        if (try_exchange(search, a, search->free_slots[k], now, 1))
            return search->free_slots[k];
    }
    return a;
}

/* The row of a member counts this group, or does not. */
static void count_group(struct placement_board *board, uint32_t slot, uint32_t sign)
{
    uint32_t first = slot - slot % board->members;
    for (uint32_t i = first; i < first + board->members; i++) {
        if (i != slot)
            placement_board_row_add(board, board->member[i], sign);
    }
}

static bool is_due(const struct search *search, uint32_t slot)
{
    return search->board->is_free[slot] && search->due[slot];
}

/* All slots of a target; its row is made once, and follows it from group to group. */
static void improve_target(struct search *search, uint32_t target)
{
    struct placement_board *board = search->board;
    const uint32_t *places = board->places + board->first[target];
    uint32_t due = 0;
    for (uint32_t i = 0; i < board->count[target]; i++)
        due += is_due(search, places[i]);
    if (due == 0)
        return;
    placement_board_row(board, target, PL_NOBODY);
    for (uint32_t i = 0; i < board->count[target]; i++) {
        uint32_t slot = places[i];
        if (!is_due(search, slot) || (search->tries && board->work >= board->work_max))
            continue;
        count_group(board, slot, UINT32_MAX);
        slot = improve_slot(search, slot);
        count_group(board, slot, 1);
    }
    placement_board_row_clear(board);
}

/* One look at all targets; -ECANCELED, or whether anything was exchanged. */
static int pass(struct search *search)
{
    struct placement_board *board = search->board;
    search->changed = false;
    for (uint32_t t = 0; t < board->pool->target_count; t++) {
        if (search->tries && board->work >= board->work_max)
            break;
        if (board->work >= search->report) {
            search->report = board->work + WORK_REPORT;
            if (placement_board_report(board))
                return -ECANCELED;
        }
        improve_target(search, t);
    }
    return search->changed;
}

uint64_t placement_swap_bound(const struct placement_board *board)
{
    const struct placement_pool *pool = board->pool;
    uint64_t heaviest = 0, n = board->members, largest = 0;
    uint64_t *in_domain = calloc(pool->domain_count, sizeof *in_domain);
    if (!in_domain)
        return UINT64_MAX;
    for (uint32_t t = 0; t < pool->target_count; t++) {
        uint64_t weighed = (uint64_t)board->count[t] * board->weight[t];
        uint64_t *slots = &in_domain[pool->targets[t].domain];
        heaviest = weighed > heaviest ? weighed : heaviest;
        *slots += board->count[t];
        largest = *slots > largest ? *slots : largest;
    }
    free(in_domain);
    uint64_t excluded = largest * (2 * n - 1);
    if (excluded >= board->slot_count)
        return UINT64_MAX;
    placement_wide bound =
        (placement_wide)2 * heaviest * heaviest * (n - 1) * (n - 1) / (board->slot_count - excluded);
    return bound > UINT64_MAX ? UINT64_MAX : (uint64_t)bound;
}

uint32_t placement_swap_pairs_bound(const struct placement_board *board)
{
    uint64_t bound = placement_swap_bound(board);
    uint32_t least = UINT32_MAX;
    for (uint32_t t = 0; t < board->pool->target_count; t++) {
        if (board->count[t] && board->weight[t] < least)
            least = board->weight[t];
    }
    if (bound == UINT64_MAX)
        return 0;
    uint64_t pairs = 1 + bound / ((uint64_t)least * least);
    return pairs > UINT32_MAX ? 0 : (uint32_t)pairs;
}

/* Passes with random tries. */
static int improve(struct search *search)
{
    const struct placement_board *board = search->board;
    int result = 1;
    search->tries = TRIES;
    search->bound = UINT64_MAX;
    for (uint32_t i = 0; i < PASSES && result > 0 && board->work < board->work_max; i++)
        result = pass(search);
    return result < 0 ? result : 0;
}

/* The proof asks for more where the table is new as a whole; it ends since each exchange gains. */
static int prove(struct search *search)
{
    const struct placement_board *board = search->board;
    int result = 1;
    search->tries = 0;
    search->bound = placement_swap_bound(board);
    if (search->free_count < board->slot_count || search->bound == UINT64_MAX)
        return 0;
    while (result > 0) {
        memset(search->due, 1, board->slot_count);
        result = pass(search);
    }
    return result;
}

static int run(struct placement_board *board, bool proof_only)
{
    struct search search = {.board = board};
    int error = 0;
    search.free_slots = malloc(((size_t)board->slot_count + 1) * sizeof *search.free_slots);
    search.due = malloc((size_t)board->slot_count + 1);
    if (!search.free_slots || !search.due) {
        error = err_set(-ENOMEM, "out of memory for a placement in %u groups", board->group_count);
        goto free;
    }
    memset(search.due, 1, board->slot_count);
    for (uint32_t slot = 0; slot < board->slot_count; slot++) {
        if (board->is_free[slot])
            search.free_slots[search.free_count++] = slot;
    }
    board->work_max = board->work + WORK_MAX;
    if (!proof_only)
        error = improve(&search);
    if (!error)
        error = prove(&search);
free:
    free(search.free_slots);
    free(search.due);
    return error;
}

int placement_swap_improve(struct placement_board *board)
{
    return run(board, false);
}

int placement_swap_prove(struct placement_board *board)
{
    return run(board, true);
}
