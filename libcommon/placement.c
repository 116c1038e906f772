/* SPDX-License-Identifier: Apache-2.0 */
#include "placement.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "placement_internal.h"

static int write_table(const struct placement_board *board, struct placement_table *table)
{
    *table = (struct placement_table){.members = board->members, .group_count = board->group_count};
    table->ids = malloc((size_t)board->slot_count * sizeof *table->ids);
    if (!table->ids)
        return err_set(-ENOMEM, "out of memory for a table of %u groups", board->group_count);
    for (uint32_t slot = 0; slot < board->slot_count; slot++)
        table->ids[slot] = board->pool->targets[board->member[slot]].id;
    return 0;
}

void placement_free(struct placement_table *table)
{
    free(table->ids);
    *table = (struct placement_table){0};
}

/* ---- a new table ------------------------------------------------------------- */

static void put_design(struct placement_board *board, const uint32_t *design)
{
    for (uint32_t slot = 0; slot < board->slot_count; slot++)
        placement_board_put(board, slot, design[slot]);
}

static int make_on(struct placement_board *board, const uint32_t *slots, const uint32_t *design,
                   struct placement_table *table)
{
    int error = 0;
    if (design) {
        put_design(board, design);
    } else {
        error = placement_fill_new(board, 0, slots);
        if (!error && board->members > 1)
            error = placement_swap_improve(board);
        if (!error)
            error = placement_spread_raise_new(board);
    }
    if (!error)
        error = placement_lead(board, 0);
    return error ? error : write_table(board, table);
}

/* Slots of each target: those of the design, or shares. */
static int count_slots(const struct placement_pool *pool, uint32_t group_count, const uint32_t *design,
                       uint32_t *slots)
{
    if (!design)
        return placement_share_round(pool, group_count, NULL, slots);
    memset(slots, 0, (size_t)pool->target_count * sizeof *slots);
    for (uint32_t slot = 0; slot < group_count * pool->members; slot++)
        slots[design[slot]]++;
    return 0;
}

int placement_make(const struct placement_target *targets, uint32_t count,
                   const struct placement_wanted *wanted, struct placement_table *table)
{
    struct placement_pool pool;
    struct placement_board board = {0};
    uint32_t *design = NULL, *slots = NULL, group_count = wanted->group_count;
    *table = (struct placement_table){0};
    int error = placement_pool_make(targets, count, wanted, &pool);
    if (error)
        return error;
    if (group_count > LIMITS_GROUPS_MAX) {
        error =
            err_set(-ENOSPC, "%u groups are more than a pool can have: %u", group_count, LIMITS_GROUPS_MAX);
        goto free;
    }
    if (group_count == 0)
        error = placement_share_groups(&pool, wanted->groups_per_target, &group_count);
    if (!error)
        error = placement_design_find(&pool, wanted->groups_per_target, wanted->group_count, &design,
                                      &group_count);
    slots = malloc((size_t)pool.target_count * sizeof *slots);
    if (!error && !slots)
        error = err_set(-ENOMEM, "out of memory for a placement of %u targets", count);
    if (!error)
        error = count_slots(&pool, group_count, design, slots);
    if (!error)
        error = placement_board_make(&pool, group_count, slots, slots, wanted, &board);
    if (!error)
        error = make_on(&board, slots, design, table);
free:
    placement_board_free(&board);
    free(slots);
    free(design);
    placement_pool_free(&pool);
    return error;
}

/* ---- a table that changes ------------------------------------------------------- */

enum { KEEP_SPARE = 16 };

/* One more in so many members moves for the sake of better pairs. */
enum { MOVES_SPARE = 5 };

struct transition {
    struct placement_pool pool;
    struct placement_board board;
    uint32_t old_groups;
    uint32_t *present; /* of each target, slots of the old groups in which it can stay */
    uint32_t *in_old;  /* that it is to have of them */
    uint32_t *in_new;  /* and of new groups */
    uint32_t *member;  /* of each old slot; PL_NOBODY: a hole */
};

/* Who can stay: targets that are there, the first of its domain in the group. */
static void find_present(struct transition *t, const struct placement_table *old)
{
    uint32_t n = old->members;
    for (uint32_t slot = 0; slot < t->old_groups * n; slot++) {
        uint32_t target = placement_pool_find(&t->pool, old->ids[slot]);
        for (uint32_t i = slot - slot % n; i < slot && target != PL_NOBODY; i++) {
            if (t->member[i] != PL_NOBODY &&
                t->pool.targets[t->member[i]].domain == t->pool.targets[target].domain)
                target = PL_NOBODY;
        }
        t->member[slot] = target;
        if (target != PL_NOBODY)
            t->present[target]++;
    }
}

/* With PLACEMENT_KEEP nobody gives, and the holes go to those who are most in want. */
static int keep_shares(struct transition *t)
{
    uint64_t holes = 0;
    for (uint32_t slot = 0; slot < t->old_groups * t->pool.members; slot++)
        holes += t->member[slot] == PL_NOBODY;
    int error = placement_share_fill(&t->pool, t->old_groups, holes, t->present, true, t->in_old);
    for (uint32_t i = 0; i < t->pool.target_count; i++)
        t->in_old[i] += t->present[i];
    return error;
}

static int plan_shares(struct transition *t, const struct placement_change_wanted *how, uint32_t group_count)
{
    uint32_t added = group_count - t->old_groups;
    int error = how->change == PLACEMENT_KEEP
                    ? keep_shares(t)
                    : placement_share_round(&t->pool, t->old_groups, t->present, t->in_old);
    if (!error && added)
        error = placement_share_fill(&t->pool, added, (uint64_t)added * t->pool.members, t->in_old, false,
                                     t->in_new);
    return error;
}

static int make_board(struct transition *t, const struct placement_wanted *wanted,
                      const struct placement_change_wanted *how, uint32_t group_count)
{
    uint32_t count = t->pool.target_count;
    uint32_t *room = malloc((size_t)count * sizeof *room), *slots = malloc((size_t)count * sizeof *slots);
    int error = room && slots ? 0 : err_set(-ENOMEM, "out of memory for a placement of %u targets", count);
    /* What some are to have, others may get who fit. */
    uint32_t spare = how->change == PLACEMENT_KEEP ? KEEP_SPARE : 0;
    for (uint32_t i = 0; i < count && !error; i++) {
        slots[i] = t->in_old[i] + t->in_new[i];
        room[i] = (t->present[i] > t->in_old[i] ? t->present[i] : t->in_old[i]) + t->in_new[i] + spare;
    }
    if (!error)
        error = placement_board_make(&t->pool, group_count, slots, room, wanted, &t->board);
    free(room);
    free(slots);
    return error;
}

/* Whoever is to have more slots than it has is moved into each of them. */
static uint32_t moves_least(const struct transition *t)
{
    uint32_t least = 0;
    for (uint32_t i = 0; i < t->pool.target_count; i++)
        least += t->in_old[i] > t->present[i] ? t->in_old[i] - t->present[i] : 0;
    return least;
}

/* Old groups first, while the board has nobody else: their slots are counted alone. */
static int change_on(struct transition *t, const struct placement_change_wanted *how,
                     struct placement_table *table)
{
    struct placement_board *board = &t->board;
    uint32_t group_count = board->group_count;
    board->group_count = t->old_groups;
    board->slot_count = t->old_groups * board->members;
    for (uint32_t slot = 0; slot < board->slot_count; slot++) {
        if (t->member[slot] != PL_NOBODY)
            placement_board_put(board, slot, t->member[slot]);
    }
    int error = placement_fill_holes(board, t->in_old, how->change == PLACEMENT_KEEP);
    board->group_count = group_count;
    board->slot_count = group_count * board->members;
    if (!error && group_count > t->old_groups)
        error = placement_fill_new(board, t->old_groups, t->in_new);
    if (!error && board->members > 1)
        error = placement_swap_improve(board);
    if (!error && how->change == PLACEMENT_REBALANCE)
        error = placement_trade_improve(board, t->member, t->old_groups * board->members,
                                        moves_least(t) + moves_least(t) / MOVES_SPARE);
    if (!error && !how->fixed_positions)
        error = placement_lead(board, t->old_groups);
    return error ? error : write_table(board, table);
}

static int check_change(const struct placement_wanted *wanted, const struct placement_table *old)
{
    if (old->members != wanted->members)
        return err_set(-EINVAL, "groups of %u members can't become groups of %u; make a new pool",
                       old->members, wanted->members);
    if (wanted->group_count && wanted->group_count < old->group_count)
        return err_set(-EINVAL, "a pool of %u groups can't become one of %u: groups are never removed",
                       old->group_count, wanted->group_count);
    if (wanted->group_count > LIMITS_GROUPS_MAX)
        return err_set(-ENOSPC, "%u groups are more than a pool can have: %u", wanted->group_count,
                       LIMITS_GROUPS_MAX);
    return 0;
}

static int transition_begin(const struct placement_target *targets, uint32_t count,
                            const struct placement_wanted *wanted, const struct placement_table *old,
                            struct transition *t)
{
    *t = (struct transition){.old_groups = old->group_count};
    int error = check_change(wanted, old);
    if (!error)
        error = placement_pool_make(targets, count, wanted, &t->pool);
    if (error)
        return error;
    t->present = calloc(t->pool.target_count, sizeof *t->present);
    t->in_old = calloc(t->pool.target_count, sizeof *t->in_old);
    t->in_new = calloc(t->pool.target_count, sizeof *t->in_new);
    t->member = malloc(((size_t)old->group_count * old->members + 1) * sizeof *t->member);
    if (!t->present || !t->in_old || !t->in_new || !t->member)
        return err_set(-ENOMEM, "out of memory for a placement of %u targets", count);
    find_present(t, old);
    return 0;
}

static void transition_end(struct transition *t)
{
    placement_board_free(&t->board);
    placement_pool_free(&t->pool);
    free(t->present);
    free(t->in_old);
    free(t->in_new);
    free(t->member);
}

int placement_change(const struct placement_target *targets, uint32_t count,
                     const struct placement_wanted *wanted, const struct placement_change_wanted *how,
                     const struct placement_table *old, struct placement_table *table)
{
    struct transition t;
    uint32_t group_count = wanted->group_count ? wanted->group_count : old->group_count;
    *table = (struct placement_table){0};
    int error = transition_begin(targets, count, wanted, old, &t);
    if (!error && !wanted->group_count && how->change == PLACEMENT_REBALANCE)
        group_count = placement_share_groups_grown(&t.pool, group_count);
    if (!error)
        error = plan_shares(&t, how, group_count);
    if (!error)
        error = make_board(&t, wanted, how, group_count);
    if (!error)
        error = change_on(&t, how, table);
    transition_end(&t);
    return error;
}

int placement_moves_least(const struct placement_target *targets, uint32_t count,
                          const struct placement_wanted *wanted, const struct placement_table *old,
                          uint32_t *least)
{
    struct transition t;
    *least = 0;
    int error = transition_begin(targets, count, wanted, old, &t);
    if (!error)
        error = placement_share_round(&t.pool, t.old_groups, t.present, t.in_old);
    if (!error)
        *least = moves_least(&t);
    transition_end(&t);
    return error;
}
