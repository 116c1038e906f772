/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placement_internal.h: what the parts of placement share, grouped under the
 * file that defines it. Inside, targets are numbered 0, 1, ... by their ids, and a
 * slot is one place of one group: slot s is place s mod n of group s / n.
 */
#ifndef COMMON_PLACEMENT_INTERNAL_H
#define COMMON_PLACEMENT_INTERNAL_H

#include "placement.h"

#include "weft_limits.h"

#define PL_NOBODY UINT32_MAX

typedef unsigned __int128 placement_wide;

/* ---- placement_pool.c: the targets that take part ----------------------------- */

struct placement_member {
    uint32_t id;
    uint32_t domain; /* index of its failure domain */
    uint64_t capacity;
};

struct placement_domain {
    uint32_t number; /* as the caller gave it */
    uint32_t target_count;
    uint64_t capacity;
    bool capped;
};

struct placement_pool {
    uint32_t target_count, domain_count, members;
    struct placement_member *targets; /* by id */
    struct placement_domain *domains; /* by their first target */
    uint64_t capacity;
    bool alike; /* all targets have the same capacity */
    /* Of what is not capped: it shares `rest_members` places of each group. */
    uint64_t rest_capacity;
    uint32_t rest_members;
};

int placement_pool_make(const struct placement_target *targets, uint32_t count,
                        const struct placement_wanted *wanted, struct placement_pool *pool);
void placement_pool_free(struct placement_pool *pool);
/* The index of the target; PL_NOBODY when it takes no part. */
uint32_t placement_pool_find(const struct placement_pool *pool, uint32_t id);
const char *placement_level_name(enum placement_level level, bool plural);

/* ---- placement_share.c: how many slots a target gets --------------------------- */

/* An even share of slots, exactly: whole + rest / divisor. */
struct placement_share {
    uint32_t whole;
    uint64_t rest, divisor;
};

struct placement_share placement_share_of(const struct placement_pool *pool, uint32_t target,
                                          uint32_t group_count);
/* Slots of each target in `group_count` groups: its share rounded up or down, near to `present` (NULL:
 * none). */
int placement_share_round(const struct placement_pool *pool, uint32_t group_count, const uint32_t *present,
                          uint32_t *slots);
/* `places` slots more for those who are in want of them beside `present`, in groups that are others, or, with
 * `same_groups`, in the `group_count` groups themselves: a domain has one in each at most. */
int placement_share_fill(const struct placement_pool *pool, uint32_t group_count, uint64_t places,
                         const uint32_t *present, bool same_groups, uint32_t *slots);
/* Is `a`, with `total` slots each, more in want of one than `b`? */
bool placement_share_before(const struct placement_pool *pool, const uint32_t *total, uint32_t a, uint32_t b);
/* The number of groups with which rounding does least harm. -ENOSPC */
int placement_share_groups(const struct placement_pool *pool, uint32_t groups_per_target,
                           uint32_t *group_count);
/* The least number from `group_count` to twice that with which pairs are not hard to arrange; `group_count`
 * itself when there is none. */
uint32_t placement_share_groups_grown(const struct placement_pool *pool, uint32_t group_count);

/* ---- placement_design.c: block designs ------------------------------------------ */

/* An exact design for the pool, when its targets are alike and one is found: *slots is then the members
 * of *group_count groups (to free()); NULL when there is none. -ENOMEM */
int placement_design_find(const struct placement_pool *pool, uint32_t groups_per_target,
                          uint32_t group_count_wanted, uint32_t **slots, uint32_t *group_count);

/* ---- placement_board.c: who stands where ----------------------------------------- */

struct placement_board {
    const struct placement_pool *pool;
    uint32_t members, group_count, slot_count;
    uint32_t *member;  /* of each slot: a target's index or PL_NOBODY */
    uint8_t *is_free;  /* of each slot: it may be exchanged */
    uint32_t *places;  /* the slots of each target, one list behind the other */
    uint32_t *first;   /* where a target's list begins */
    uint32_t *count;   /* its length */
    uint32_t *room;    /* and the most that it can be */
    uint32_t *at;      /* where in its target's list a slot stands */
    uint32_t *weight;  /* of each target: the fewer slots, the more a repeated pair counts */
    uint32_t *row;     /* scratch: groups shared with one target, see placement_board_row() */
    uint32_t *touched; /* the entries of `row` that may be other than 0, touched_count of them */
    uint8_t *is_touched;
    uint32_t touched_count;
    int32_t *mark;           /* scratch of placement_swap.c, all 0 */
    uint64_t random;         /* state of the generator */
    uint64_t work, work_max; /* entries looked at, and how many may be */
    placement_progress_fn *progress;
    void *progress_arg;
};

/* `slots`: that each target is to have; `room`: the most that it will ever have. */
int placement_board_make(const struct placement_pool *pool, uint32_t group_count, const uint32_t *slots,
                         const uint32_t *room, const struct placement_wanted *wanted,
                         struct placement_board *board);
void placement_board_free(struct placement_board *board);
void placement_board_put(struct placement_board *board, uint32_t slot,
                         uint32_t target); /* into an empty slot */
void placement_board_take(struct placement_board *board, uint32_t slot);
void placement_board_exchange(struct placement_board *board, uint32_t a, uint32_t b);
/* Could the target stand in the slot, as far as the others of the group are concerned? */
bool placement_board_fits(const struct placement_board *board, uint32_t slot, uint32_t target);
/* Fills `row` with the number of groups, without `group`, that each target shares with this one. */
void placement_board_row(struct placement_board *board, uint32_t target, uint32_t group);
void placement_board_row_clear(struct placement_board *board);
void placement_board_row_add(struct placement_board *board, uint32_t target, uint32_t groups);
/* What the row's target costs in this slot: the weighted sum of its pairs with the others of the group. */
uint64_t placement_board_cost(const struct placement_board *board, uint32_t slot);
uint32_t placement_board_random(struct placement_board *board, uint32_t bound);
/* The one that placement_board_random() returns after so many others; and so many are done with. */
uint32_t placement_board_random_at(const struct placement_board *board, uint32_t index, uint32_t bound);
void placement_board_random_skip(struct placement_board *board, uint32_t count);
/* -ECANCELED when the caller wants no more. */
int placement_board_report(struct placement_board *board);

/* ---- placement_fill.c: every slot gets somebody ----------------------------------- */

/* The groups from `first_group` on are empty: deals targets into them. */
int placement_fill_new(struct placement_board *board, uint32_t first_group, const uint32_t *slots);
/* Gives targets that have fewer than `slots` the holes, and slots of those that have more. With `keep`
 * nobody gives one as long as there is another way, and a target that fits in no hole goes without:
 * `slots` changes. */
int placement_fill_holes(struct placement_board *board, uint32_t *slots, bool keep);

/* ---- placement_swap.c: better pairs ------------------------------------------------- */

/* Exchanges free slots until no pair is repeated, or no more is gained. */
int placement_swap_improve(struct placement_board *board);
/* The proof's part of it alone. */
int placement_swap_prove(struct placement_board *board);
/* By the proof no slot costs more than this after placement_swap_improve() of a board that is free as a
 * whole; UINT64_MAX: nothing is proved. */
uint64_t placement_swap_bound(const struct placement_board *board);
/* The weights' part of it: the most groups that the two targets then share. */
uint32_t placement_swap_pairs_bound(const struct placement_board *board);

/* ---- placement_ledger.c: what exchanges change -------------------------------------------- */

struct placement_ledger {
    struct placement_board *board;
    const uint32_t *old; /* of each slot of the old groups: who stood there, or PL_NOBODY */
    uint32_t old_slots;
    uint32_t moved, moved_max; /* slots of old groups with somebody else in them, and how many may be */
    uint16_t *shared;          /* groups of each two targets */
};

/* May one be kept of the board, which is full, and are pairs to be bettered by it? Groups of one have none;
 * there may be too many targets, or one in more groups than are counted; and in a large cluster two targets
 * mostly share no more than one group anyway. */
bool placement_ledger_is_useful(struct placement_board *board);
/* Of a board that is full. -ENOMEM */
int placement_ledger_make(struct placement_board *board, const uint32_t *old, uint32_t old_slots,
                          uint32_t moved_max, struct placement_ledger *ledger);
void placement_ledger_free(struct placement_ledger *ledger);
/* The groups that each target shares with this one. */
uint16_t *placement_ledger_row(const struct placement_ledger *ledger, uint32_t target);
/* Would the target, in this slot, be another than before? */
bool placement_ledger_is_moved(const struct placement_ledger *ledger, uint32_t slot, uint32_t target);
/* May the members of the two slots be exchanged? *moves: so many slots more are moved then. */
bool placement_ledger_allows(const struct placement_ledger *ledger, uint32_t a, uint32_t b, int *moves);
void placement_ledger_exchange(struct placement_ledger *ledger, uint32_t a, uint32_t b);

/* ---- placement_trade.c: better pairs in a table that changes -------------------------- */

/* Exchanges slots where that betters the pairs, as long as no more than `moves_max` of the first `old_slots`
 * have another member than `old`. -ENOMEM, -ECANCELED */
int placement_trade_improve(struct placement_board *board, const uint32_t *old, uint32_t old_slots,
                            uint32_t moves_max);

/* ---- placement_standing.c: how evenly the loss of each target would spread ------------ */

/* Loads are told in parts of a group, and are no greater than those of all groups there can be. */
#define PL_LOAD     UINT64_C(65536)
#define PL_LOAD_MAX (PL_LOAD * LIMITS_GROUPS_MAX)

struct placement_standing {
    uint64_t root; /* two of different domains share root * root groups when all is even; in 2^-32 */
    uint32_t domain;
    int64_t in_place; /* the load that is where an even one is */
    int64_t best;     /* what of it could be, in whole groups */
    int64_t aim;      /* what is aimed at, 91 of 100 */
    int64_t unit;     /* what one part missing costs, before it is squared, in 2^-32 */
    int64_t loss;     /* the square of what is missing */
};

static inline uint64_t placement_standing_even(const struct placement_standing *a,
                                               const struct placement_standing *b)
{
    placement_wide even = (placement_wide)a->root * b->root >> 48;
    return even < PL_LOAD_MAX ? (uint64_t)even : PL_LOAD_MAX;
}

/* What the k-th group that two targets share, from 1, brings into place: one always is. */
static inline int64_t placement_standing_part(const struct placement_standing *a,
                                              const struct placement_standing *b, uint32_t k)
{
    if (k < 2)
        return (int64_t)PL_LOAD;
    uint64_t before = (k - 1) * PL_LOAD, even = placement_standing_even(a, b);
    uint64_t part = even > before ? even - before : 0;
    return (int64_t)(part < PL_LOAD ? part : PL_LOAD);
}

/* What it costs that the target has so much in place: the square of what is missing, 2^14 being all. */
static inline int64_t placement_standing_loss(const struct placement_standing *standing, int64_t in_place)
{
    int64_t missing = standing->aim - in_place;
    if (missing <= 0)
        return 0;
    missing = missing * standing->unit >> 32;
    return missing * missing;
}

/* Those of all targets; to free(), whatever is returned. -ENOMEM */
int placement_standing_make(const struct placement_ledger *ledger, struct placement_standing **standings);
/* placement_ledger_exchange(), with the standings. */
void placement_standing_exchange(struct placement_ledger *ledger, struct placement_standing *standings,
                                 uint32_t a, uint32_t b);

/* ---- placement_spread.c: the targets whose recovery spreads worst -------------------------- */

/* Where a target's recovery spread is below nine tenths, exchanges slots until none is, or no more is gained.
 * -ENOMEM, -ECANCELED */
int placement_spread_raise(struct placement_ledger *ledger);
/* The same for a new table, after placement_swap_prove(), whose bound still holds then. */
int placement_spread_raise_new(struct placement_board *board);

/* ---- placement_lead.c: who stands first ----------------------------------------------- */

/* Members whose group is below `kept_groups` and that lead already go on where that does no harm. */
int placement_lead(struct placement_board *board, uint32_t kept_groups);

#endif
