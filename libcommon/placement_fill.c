/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every slot gets a target of a domain that its group does not have yet. New
 * groups are dealt like cards; in old ones holes, and slots of targets that have
 * too many, go to those that have too few, where need be over others.
 */
#include "placement_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

enum { MIX_ROUNDS = 4, DONORS_TRIED = 4, HOLES_TRIED = 16 };

/* ---- new groups ------------------------------------------------------------- */

/* Random exchanges, wanted or not, so that neighbours in the deal are no neighbours for ever. */
static void mix(struct placement_board *board, uint32_t first_slot)
{
    uint32_t count = board->slot_count - first_slot;
    for (uint32_t round = 0; round < MIX_ROUNDS; round++) {
        for (uint32_t a = first_slot; a < board->slot_count; a++) {
            uint32_t b = first_slot + placement_board_random(board, count);
            if (a / board->members != b / board->members && board->member[a] != board->member[b] &&
                placement_board_fits(board, a, board->member[b]) &&
                placement_board_fits(board, b, board->member[a]))
                placement_board_exchange(board, a, b);
        }
    }
}

/* The targets, domain by domain. */
static int order_by_domain(const struct placement_pool *pool, uint32_t **order)
{
    uint32_t *next = calloc((size_t)pool->domain_count + 1, sizeof *next);
    *order = malloc((size_t)pool->target_count * sizeof **order);
    if (!next || !*order) {
        free(next);
        free(*order);
        return err_set(-ENOMEM, "out of memory for a placement of %u targets", pool->target_count);
    }
    for (uint32_t d = 0; d < pool->domain_count; d++)
        next[d + 1] = next[d] + pool->domains[d].target_count;
    for (uint32_t t = 0; t < pool->target_count; t++)
        (*order)[next[pool->targets[t].domain]++] = t;
    free(next);
    return 0;
}

/*
 * Domain after domain, group after group: what a domain has, at most one slot of each group, comes to
 * different groups because it is dealt without a gap (McNaughton's wrap-around rule, 1959).
 */
int placement_fill_new(struct placement_board *board, uint32_t first_group, const uint32_t *slots)
{
    uint32_t groups = board->group_count - first_group, n = board->members, *order, dealt = 0;
    int error = order_by_domain(board->pool, &order);
    if (error)
        return error;
    for (uint32_t k = 0; k < board->pool->target_count; k++) {
        for (uint32_t i = 0; i < slots[order[k]]; i++, dealt++) {
            uint32_t slot = (first_group + dealt % groups) * n + dealt / groups;
            placement_board_put(board, slot, order[k]);
            board->is_free[slot] = 1;
        }
    }
    free(order);
    if (n > 1)
        mix(board, first_group * n);
    return 0;
}

/* ---- holes ------------------------------------------------------------------- */

/* What is to be given, and what for. */
struct hunt {
    struct placement_board *board;
    uint32_t *slots; /* that each target is to have */
    bool keep;       /* nobody gives up a slot */
    uint32_t *holes, hole_count;
    uint32_t *donors, donor_count; /* targets that have more than that */
    uint32_t best;                 /* slot; PL_NOBODY: none yet */
    uint64_t best_cost;
};

static void consider(struct hunt *hunt, uint32_t slot, uint32_t target)
{
    if (!placement_board_fits(hunt->board, slot, target))
        return;
    uint64_t cost = placement_board_cost(hunt->board, slot);
    if (hunt->best == PL_NOBODY || cost < hunt->best_cost) {
        hunt->best = slot;
        hunt->best_cost = cost;
    }
}

static void consider_donor(struct hunt *hunt, uint32_t donor, uint32_t target)
{
    const struct placement_board *board = hunt->board;
    for (uint32_t i = 0; i < board->count[donor]; i++)
        consider(hunt, board->places[board->first[donor] + i], target);
}

/* The best of some holes; without one, of the slots of some donors. */
static void look_around(struct hunt *hunt, uint32_t target)
{
    for (uint32_t i = 0; i < HOLES_TRIED && hunt->hole_count; i++)
        consider(hunt, hunt->holes[placement_board_random(hunt->board, hunt->hole_count)], target);
    for (uint32_t i = 0; i < DONORS_TRIED && hunt->best == PL_NOBODY && hunt->donor_count; i++)
        consider_donor(hunt, hunt->donors[placement_board_random(hunt->board, hunt->donor_count)], target);
}

static void look_everywhere(struct hunt *hunt, uint32_t target)
{
    for (uint32_t i = 0; i < hunt->hole_count; i++)
        consider(hunt, hunt->holes[i], target);
    for (uint32_t i = 0; i < hunt->donor_count && hunt->best == PL_NOBODY; i++)
        consider_donor(hunt, hunt->donors[i], target);
}

static bool gives(const struct hunt *hunt, uint32_t target)
{
    return hunt->board->count[target] > hunt->slots[target];
}

/* The target stands in the slot, from now on instead of who does. */
static void replace(struct placement_board *board, uint32_t slot, uint32_t target)
{
    if (board->member[slot] != PL_NOBODY)
        placement_board_take(board, slot);
    placement_board_put(board, slot, target);
    board->is_free[slot] = 1;
}

/* As replace(); a hole, or one who gives the last that it has too many, leaves its list. */
static void settle(struct hunt *hunt, uint32_t slot, uint32_t target)
{
    struct placement_board *board = hunt->board;
    uint32_t before = board->member[slot];
    uint32_t *list = before == PL_NOBODY ? hunt->holes : hunt->donors;
    uint32_t *count = before == PL_NOBODY ? &hunt->hole_count : &hunt->donor_count;
    replace(board, slot, target);
    if (before != PL_NOBODY && board->count[before] != hunt->slots[before])
        return;
    for (uint32_t i = 0; i < *count; i++) {
        if (list[i] == (before == PL_NOBODY ? slot : before)) {
            list[i] = list[--*count];
            return;
        }
    }
}

/* ---- over others --------------------------------------------------------------- */

/* How a target was reached: it would have to leave `slot` for `by`. */
struct step {
    uint32_t by, slot;
    bool known;
};

/* The targets of the chain, from the last one back, each take the slot that the next one left. */
static void walk_back(struct hunt *hunt, const struct step *steps, uint32_t target, uint32_t slot)
{
    settle(hunt, slot, target);
    while (steps[target].by != PL_NOBODY) {
        slot = steps[target].slot;
        target = steps[target].by;
        replace(hunt->board, slot, target);
    }
}

/* Is there a slot that nobody needs, for this target? Otherwise those whom it could replace are next. */
static uint32_t expand(struct hunt *hunt, struct step *steps, uint32_t target, uint32_t *queue,
                       uint32_t *queued)
{
    const struct placement_board *board = hunt->board;
    for (uint32_t slot = 0; slot < board->slot_count; slot++) {
        uint32_t other = board->member[slot];
        if (other != PL_NOBODY && steps[other].known && !gives(hunt, other))
            continue;
        if (!placement_board_fits(board, slot, target))
            continue;
        if (other == PL_NOBODY || gives(hunt, other))
            return slot;
        steps[other] = (struct step){.by = target, .slot = slot, .known = true};
        queue[(*queued)++] = other;
    }
    return PL_NOBODY;
}

/*
 * A shortest chain of replacements, breadth first, that ends at a hole or at somebody who has too many. There
 * always is one while slots are missing: docs/placement.md, "Growing".
 */
static int chain(struct hunt *hunt, uint32_t target)
{
    uint32_t count = hunt->board->pool->target_count, queued = 1;
    struct step *steps = calloc(count, sizeof *steps);
    uint32_t *queue = malloc((size_t)count * sizeof *queue);
    int error = 0;
    if (!steps || !queue) {
        error = err_set(-ENOMEM, "out of memory for a placement of %u targets", count);
        goto free;
    }
    queue[0] = target;
    steps[target] = (struct step){.by = PL_NOBODY, .known = true};
    for (uint32_t i = 0; i < queued; i++) {
        uint32_t slot = expand(hunt, steps, queue[i], queue, &queued);
        if (slot != PL_NOBODY) {
            walk_back(hunt, steps, queue[i], slot);
            goto free;
        }
    }
    error = err_set(-ENOTRECOVERABLE, "there is no place for target %u, which can't be; please report it",
                    hunt->board->pool->targets[target].id);
free:
    free(steps);
    free(queue);
    return error;
}

/* Without a place for it that nobody has to leave, a target that is not to push others goes without. */
static int fill_one(struct hunt *hunt, uint32_t target)
{
    hunt->best = PL_NOBODY;
    placement_board_row(hunt->board, target, PL_NOBODY);
    look_around(hunt, target);
    if (hunt->best == PL_NOBODY)
        look_everywhere(hunt, target);
    placement_board_row_clear(hunt->board);
    if (hunt->best == PL_NOBODY && hunt->keep) {
        hunt->slots[target] = hunt->board->count[target];
        return 0;
    }
    if (hunt->best == PL_NOBODY)
        return chain(hunt, target);
    settle(hunt, hunt->best, target);
    return 0;
}

/* Everyone in want takes one, until nobody is. */
static int fill_rounds(struct hunt *hunt)
{
    struct placement_board *board = hunt->board;
    int error = 0;
    for (bool again = true; again && !error;) {
        again = false;
        for (uint32_t t = 0; t < board->pool->target_count && !error; t++) {
            if (board->count[t] >= hunt->slots[t])
                continue;
            error = fill_one(hunt, t);
            again = true;
        }
        if (!error)
            error = placement_board_report(board);
    }
    return error;
}

/* Has room for one more, and is more in want of it than `best`? */
static bool is_better(const struct placement_board *board, uint32_t target, uint32_t best)
{
    return board->count[target] < board->room[target] &&
           (best == PL_NOBODY || placement_share_before(board->pool, board->count, target, best));
}

/*
 * Holes that nobody who was meant to have them fits in: of those who do, the one most in want takes
 * each. There are more domains than its group has members; should all who fit have no room, others
 * have to move.
 */
static int fill_rest(struct hunt *hunt)
{
    struct placement_board *board = hunt->board;
    int error = 0;
    while (hunt->hole_count && !error) {
        uint32_t slot = hunt->holes[0], best = PL_NOBODY, any = PL_NOBODY;
        for (uint32_t t = 0; t < board->pool->target_count; t++) {
            if (is_better(board, t, any))
                any = t;
            if (is_better(board, t, best) && placement_board_fits(board, slot, t))
                best = t;
        }
        if (best != PL_NOBODY)
            settle(hunt, slot, best);
        else
            error = chain(hunt, any);
    }
    return error;
}

int placement_fill_holes(struct placement_board *board, uint32_t *slots, bool keep)
{
    struct hunt hunt = {.board = board, .slots = slots, .keep = keep};
    hunt.holes = malloc(((size_t)board->slot_count + 1) * sizeof *hunt.holes);
    hunt.donors = malloc((size_t)board->pool->target_count * sizeof *hunt.donors);
    int error = -ENOMEM;
    if (!hunt.holes || !hunt.donors) {
        err_set(-ENOMEM, "out of memory for a placement in %u groups", board->group_count);
        goto free;
    }
    for (uint32_t slot = 0; slot < board->slot_count; slot++) {
        if (board->member[slot] == PL_NOBODY)
            hunt.holes[hunt.hole_count++] = slot;
    }
    for (uint32_t t = 0; t < board->pool->target_count; t++) {
        if (gives(&hunt, t))
            hunt.donors[hunt.donor_count++] = t;
    }
    error = fill_rounds(&hunt);
    if (!error)
        error = fill_rest(&hunt);
free:
    free(hunt.holes);
    free(hunt.donors);
    return error;
}
