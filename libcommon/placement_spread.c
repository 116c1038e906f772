/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Better pairs for the targets whose recovery spreads worst, where that is below nine
 * tenths of the ideal: exchanges by which the worst gain, even if others lose more.
 * What counts is the measure of placement_measure.c, in whole numbers.
 * docs/placement.md, "The worst targets".
 */
#include "placement_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

enum { TRIES = 48, PASSES_UPHILL = 16, PASSES = 76, SCALING_ROUNDS = 64 };

/* A target below this, in ten-thousandths, begins a search; it ends when all have a little more, so that
 * nine tenths are there whoever rounds. */
enum { POOR = 9000, GOAL = 9001 };

/* Loads are told in parts of a group, roots of them in 2^-32. */
#define GROUP      UINT64_C(65536)
#define LOAD_MAX   (GROUP * LIMITS_GROUPS_MAX)
#define ROOT_SHIFT 32
#define ROOT_MAX   (UINT64_C(1) << 48)

/* An exchange may lose so much, in the passes that are no more uphill only: less from pass to pass. */
#define LOSS_STEP 100

/* A search for so many targets at most: the measure of more does not stay in a processor's cache. */
#define TARGETS_MAX 1024u

/* Pairs of slots looked at, at most, times four times the members of a group. */
#define WORK_MAX UINT64_C(100000000)

struct spread {
    struct placement_board *board;
    struct placement_ledger *ledger;
    uint64_t *root; /* of each target: two of different domains share root * root groups when all is even */
    int64_t *in_place;            /* of each target, in parts: the load that is where an even one is */
    int64_t *best;                /* what of it could be, in whole groups */
    int64_t *aim;                 /* what is aimed at, 91 of 100 */
    int64_t *unit;                /* what one part missing costs, before it is squared, in 2^-32 */
    uint32_t *loose, loose_count; /* slots that are exchanged with each other without a move more */
    int64_t least;                /* an exchange gains more than this */
    uint32_t *kept;               /* the board as it was at its best: members, where they are listed, lists */
    int64_t kept_loss;
    bool changed;
};

/* ---- the measure -------------------------------------------------------------- */

static uint64_t even_load(const struct spread *spread, uint32_t a, uint32_t b)
{
    placement_wide even = (placement_wide)spread->root[a] * spread->root[b] >> (2 * ROOT_SHIFT - 16);
    return even < LOAD_MAX ? (uint64_t)even : LOAD_MAX;
}

/* What is in place of so many groups that two targets share; one always is. */
static int64_t load_in_place(const struct spread *spread, uint32_t a, uint32_t b, uint32_t shared)
{
    uint64_t all = shared * GROUP;
    if (shared < 2)
        return (int64_t)all;
    uint64_t even = even_load(spread, a, b);
    even = even < GROUP ? GROUP : even;
    return (int64_t)(all < even ? all : even);
}

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

static int find_roots(struct spread *spread)
{
    const struct placement_board *board = spread->board;
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
        spread->root[t] = slots[d] ? (uint64_t)((placement_wide)root[d] * board->count[t] / slots[d]) : 0;
    }
    free(slots);
    free(root);
    return error;
}

static void measure_target(struct spread *spread, uint32_t target)
{
    const struct placement_pool *pool = spread->board->pool;
    const uint32_t *shared = placement_ledger_row(spread->ledger, target);
    for (uint32_t t = 0; t < pool->target_count; t++) {
        if (pool->targets[t].domain == pool->targets[target].domain)
            continue;
        uint64_t even = even_load(spread, target, t), rest = even % GROUP;
        spread->best[target] += (int64_t)(even < GROUP ? even : even - rest + rest * rest / GROUP);
        spread->in_place[target] += load_in_place(spread, target, t, shared[t]);
    }
    spread->aim[target] = spread->best[target] * 91 / 100;
    spread->unit[target] = spread->best[target] ? (INT64_C(1) << 46) / spread->best[target] : 0;
}

/* Has a target less than so many ten-thousandths of the best? */
static bool any_below(const struct spread *spread, int64_t share)
{
    for (uint32_t t = 0; t < spread->board->pool->target_count; t++) {
        if (spread->in_place[t] * 10000 < spread->best[t] * share)
            return true;
    }
    return false;
}

/* ---- exchanges ------------------------------------------------------------------ */

/* What it costs that the target has so much in place: the square of what is missing, 2^14 being all. */
static int64_t loss_of(const struct spread *spread, uint32_t target, int64_t in_place)
{
    int64_t missing = spread->aim[target] - in_place;
    if (missing <= 0)
        return 0;
    missing = missing * spread->unit[target] >> 32;
    return missing * missing;
}

static int64_t gain_of(const struct spread *spread, uint32_t target, int64_t more)
{
    int64_t now = spread->in_place[target];
    return more ? loss_of(spread, target, now) - loss_of(spread, target, now + more) : 0;
}

static void mark_group(struct placement_board *board, uint32_t slot, int32_t sign)
{
    uint32_t first = slot - slot % board->members;
    for (uint32_t i = first; i < first + board->members; i++)
        board->mark[board->member[i]] += sign;
}

/* What the others of the slot's group gain when its member leaves and `joins` comes; what these two have more
 * in place is added to *leaver and *joiner. Whoever is in both groups has two marks, and nothing changes. */
static int64_t gain_beside(const struct spread *spread, uint32_t slot, uint32_t joins, int64_t *leaver,
                           int64_t *joiner)
{
    const struct placement_board *board = spread->board;
    uint32_t first = slot - slot % board->members, leaves = board->member[slot];
    const uint32_t *shared = placement_ledger_row(spread->ledger, leaves);
    const uint32_t *shared_then = placement_ledger_row(spread->ledger, joins);
    int64_t gain = 0;
    for (uint32_t i = first; i < first + board->members; i++) {
        uint32_t other = board->member[i];
        if (i == slot || board->mark[other] > 1)
            continue;
        int64_t less = load_in_place(spread, leaves, other, shared[other]) -
                       load_in_place(spread, leaves, other, shared[other] - 1);
        int64_t more = load_in_place(spread, joins, other, shared_then[other] + 1) -
                       load_in_place(spread, joins, other, shared_then[other]);
        *leaver -= less;
        *joiner += more;
        gain += gain_of(spread, other, more - less);
    }
    return gain;
}

/* What an exchange gains; false: it can't be. The group of `a` is marked. */
static bool weigh(struct spread *spread, uint32_t a, uint32_t b, int64_t *gain)
{
    struct placement_board *board = spread->board;
    uint32_t u = board->member[a], v = board->member[b];
    int64_t of_u = 0, of_v = 0;
    int moves;
    board->work += 4 * (uint64_t)board->members;
    if (!placement_ledger_allows(spread->ledger, a, b, &moves))
        return false;
    mark_group(board, b, 1);
    *gain = gain_beside(spread, a, v, &of_u, &of_v);
    *gain += gain_beside(spread, b, u, &of_v, &of_u);
    mark_group(board, b, -1);
    *gain += gain_of(spread, u, of_u) + gain_of(spread, v, of_v);
    return true;
}

/* The pairs of the slot's member are in place no more (-1), or are now (1). */
static void count_in_place(struct spread *spread, uint32_t slot, int sign)
{
    const struct placement_board *board = spread->board;
    uint32_t first = slot - slot % board->members, target = board->member[slot];
    const uint32_t *shared = placement_ledger_row(spread->ledger, target);
    for (uint32_t i = first; i < first + board->members; i++) {
        uint32_t other = board->member[i];
        if (i == slot)
            continue;
        int64_t part = load_in_place(spread, target, other, shared[other]) -
                       load_in_place(spread, target, other, shared[other] - 1);
        spread->in_place[target] += sign * part;
        spread->in_place[other] += sign * part;
    }
}

static void exchange(struct spread *spread, uint32_t a, uint32_t b)
{
    count_in_place(spread, a, -1);
    count_in_place(spread, b, -1);
    placement_ledger_exchange(spread->ledger, a, b);
    count_in_place(spread, a, 1);
    count_in_place(spread, b, 1);
    spread->changed = true;
}

/* Nothing more would be moved if somebody else stood there. */
static bool is_loose(const struct spread *spread, uint32_t slot)
{
    const struct placement_ledger *ledger = spread->ledger;
    return slot >= ledger->old_slots || placement_ledger_is_moved(ledger, slot, spread->board->member[slot]);
}

/* Is somebody of the slot's group below the aim? */
static bool is_wanting(const struct spread *spread, uint32_t slot)
{
    const struct placement_board *board = spread->board;
    uint32_t first = slot - slot % board->members;
    for (uint32_t i = first; i < first + board->members; i++) {
        if (spread->in_place[board->member[i]] < spread->aim[board->member[i]])
            return true;
    }
    return false;
}

/* The first exchange that gains enough, of those with slots of whoever stood here, and with random ones. */
static void improve_slot(struct spread *spread, uint32_t a)
{
    struct placement_board *board = spread->board;
    const struct placement_ledger *ledger = spread->ledger;
    uint32_t owner = a < ledger->old_slots ? ledger->old[a] : PL_NOBODY, found = PL_NOBODY;
    uint32_t own = owner == PL_NOBODY ? 0 : board->count[owner];
    bool full = ledger->moved >= ledger->moved_max;
    mark_group(board, a, 1);
    for (uint32_t k = 0; k < own + TRIES && found == PL_NOBODY; k++) {
        int64_t gain;
        uint32_t b;
        if (k < own)
            b = board->places[board->first[owner] + k];
        else if (full)
            b = spread->loose[placement_board_random(board, spread->loose_count)];
        else
            b = placement_board_random(board, board->slot_count);
        if (weigh(spread, a, b, &gain) && gain > spread->least)
            found = b;
    }
    mark_group(board, a, -1);
    if (found != PL_NOBODY)
        exchange(spread, a, found);
}

/* One look at all slots that are loose, in groups in want of better; -ECANCELED. */
static int pass(struct spread *spread)
{
    struct placement_board *board = spread->board;
    spread->changed = false;
    spread->loose_count = 0;
    if (placement_board_report(board))
        return -ECANCELED;
    for (uint32_t slot = 0; slot < board->slot_count; slot++) {
        if (is_loose(spread, slot))
            spread->loose[spread->loose_count++] = slot;
    }
    for (uint32_t slot = 0; slot < board->slot_count && board->work < board->work_max; slot++) {
        if (is_loose(spread, slot) && is_wanting(spread, slot))
            improve_slot(spread, slot);
    }
    return 0;
}

/* ---- the search -------------------------------------------------------------------- */

static int64_t greatest_loss(const struct spread *spread)
{
    int64_t greatest = 0;
    for (uint32_t t = 0; t < spread->board->pool->target_count; t++) {
        int64_t loss = loss_of(spread, t, spread->in_place[t]);
        greatest = loss > greatest ? loss : greatest;
    }
    return greatest;
}

static size_t place_count(const struct placement_board *board)
{
    uint32_t last = board->pool->target_count - 1;
    return (size_t)board->first[last] + board->room[last] + 1;
}

/* Keeps the board if it is better for the worst target than what is kept. */
static void keep(struct spread *spread)
{
    const struct placement_board *board = spread->board;
    size_t size = board->slot_count * sizeof *spread->kept;
    int64_t loss = greatest_loss(spread);
    if (loss >= spread->kept_loss)
        return;
    spread->kept_loss = loss;
    memcpy(spread->kept, board->member, size);
    memcpy(spread->kept + board->slot_count, board->at, size);
    memcpy(spread->kept + 2 * (size_t)board->slot_count, board->places,
           place_count(board) * sizeof *board->places);
}

/* Puts back what is kept. The ledger and the measure are not: nobody asks them any more. */
static void restore(const struct spread *spread)
{
    struct placement_board *board = spread->board;
    size_t size = board->slot_count * sizeof *spread->kept;
    memcpy(board->member, spread->kept, size);
    memcpy(board->at, spread->kept + board->slot_count, size);
    memcpy(board->places, spread->kept + 2 * (size_t)board->slot_count,
           place_count(board) * sizeof *board->places);
}

/* Uphill only at first; where that leads to no good end, with steps down that get smaller. */
static int run(struct spread *spread)
{
    struct placement_board *board = spread->board;
    int error = 0;
    board->work_max = board->work + WORK_MAX;
    spread->kept_loss = INT64_MAX;
    keep(spread);
    for (uint32_t i = 0; i < PASSES && !error && board->work < board->work_max && any_below(spread, GOAL);
         i++) {
        spread->least = i < PASSES_UPHILL ? 0 : -LOSS_STEP * (int64_t)(PASSES - 1 - i);
        error = pass(spread);
        keep(spread);
        if (i < PASSES_UPHILL && !spread->changed)
            i = PASSES_UPHILL - 1;
    }
    if (any_below(spread, GOAL))
        restore(spread);
    return error ? error : 1;
}

/* Is there little choice of who meets whom, or too much? */
static bool is_passed_over(const struct placement_pool *pool)
{
    bool passed_over = pool->target_count > TARGETS_MAX || pool->domain_count < 2 * pool->members;
    for (uint32_t d = 0; d < pool->domain_count; d++)
        passed_over = passed_over || pool->domains[d].capped;
    return passed_over;
}

static int begin(struct placement_ledger *ledger, struct spread *spread)
{
    struct placement_board *board = ledger->board;
    uint32_t count = board->pool->target_count;
    *spread = (struct spread){.board = board, .ledger = ledger};
    spread->root = calloc(count, sizeof *spread->root);
    spread->in_place = calloc(count, sizeof *spread->in_place);
    spread->best = calloc(count, sizeof *spread->best);
    spread->aim = calloc(count, sizeof *spread->aim);
    spread->unit = calloc(count, sizeof *spread->unit);
    spread->loose = malloc((size_t)board->slot_count * sizeof *spread->loose);
    spread->kept = malloc((2 * (size_t)board->slot_count + place_count(board)) * sizeof *spread->kept);
    if (!spread->root || !spread->in_place || !spread->best || !spread->aim || !spread->unit ||
        !spread->loose || !spread->kept)
        return err_set(-ENOMEM, "out of memory for a placement of %u targets", count);
    int error = find_roots(spread);
    for (uint32_t t = 0; t < count && !error; t++)
        measure_target(spread, t);
    return error;
}

static void end(struct spread *spread)
{
    free(spread->root);
    free(spread->in_place);
    free(spread->best);
    free(spread->aim);
    free(spread->unit);
    free(spread->loose);
    free(spread->kept);
}

int placement_spread_raise(struct placement_ledger *ledger)
{
    struct spread spread;
    if (is_passed_over(ledger->board->pool))
        return 0;
    int error = begin(ledger, &spread);
    if (!error && any_below(&spread, POOR))
        error = run(&spread);
    end(&spread);
    return error;
}

int placement_spread_raise_new(struct placement_board *board)
{
    struct placement_ledger ledger;
    if (board->members < 2 || is_passed_over(board->pool))
        return 0;
    int error = placement_ledger_make(board, NULL, 0, 0, &ledger);
    if (error)
        return error;
    error = placement_spread_raise(&ledger);
    placement_ledger_free(&ledger);
    return error > 0 ? placement_swap_prove(board) : error;
}
