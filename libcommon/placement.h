/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placement.h: groups made from failure domains: which targets hold a chunk
 * together, so that no two of them share a host, chassis or rack, each target
 * carries its capacity's share, and the work after a loss is spread over as many
 * others as possible. Specified in docs/placement.md and pinned by golden vectors.
 *
 * What it promises
 *  - Pure functions of their arguments: integers and the hash of layout.h only, ties
 *    broken by a target's id. Every build computes the same table.
 *  - The order in which targets are given makes no difference.
 *  - What can't be kept is refused, with a text that says what is missing.
 *  - A table grows: a group that exists is never removed or renumbered, and a member
 *    only leaves its group when balance or a lost target asks for it, and beside these
 *    one in five more, at most, so that recoveries are spread better.
 *
 * Threads: nothing is shared; each call works on what it is given.
 */
#ifndef COMMON_PLACEMENT_H
#define COMMON_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The failure domain of which a group has at most one member. */
enum placement_level { PLACEMENT_TARGET, PLACEMENT_HOST, PLACEMENT_CHASSIS, PLACEMENT_RACK };
#define PLACEMENT_LEVELS 4u

/* "target", "host", "chassis", "rack"; -EINVAL, without a text, for other words. */
int placement_level_parse(const char *word, enum placement_level *level);

#define PLACEMENT_ANY_CLASS UINT32_MAX

struct placement_target {
    uint32_t id;
    uint32_t device_class;
    uint64_t capacity;            /* bytes, or any unit that all share; 0: takes part in no group */
    uint32_t host, chassis, rack; /* numbers, each unique in the whole cluster */
};

/* How far the work is; returning true ends it with -ECANCELED. */
typedef bool placement_progress_fn(void *arg, uint64_t done, uint64_t total);

struct placement_wanted {
    uint32_t members; /* of a group, 1 to LIMITS_GROUP_MEMBERS_MAX */
    enum placement_level level;
    uint32_t groups_per_target; /* at least so many for a target of mean capacity */
    uint32_t group_count;       /* exactly so many groups; 0: chosen, from groups_per_target */
    uint32_t device_class;      /* only targets of this class, or PLACEMENT_ANY_CLASS */
    uint64_t seed;
    placement_progress_fn *progress; /* or NULL */
    void *progress_arg;
};

/* Groups: the members of group g are ids[g * members] and those behind it; the first leads. */
struct placement_table {
    uint32_t members;
    uint32_t group_count;
    uint32_t *ids;
};

/* New groups for a new pool. The table is the caller's, until placement_free(). -EINVAL, -ENOSPC (not
 * so many groups), -EHOSTDOWN (not so many failure domains), -ENOMEM, -ECANCELED. */
int placement_make(const struct placement_target *targets, uint32_t count,
                   const struct placement_wanted *wanted, struct placement_table *table);

/* What placement_change() may do with members that are there. */
enum placement_change {
    PLACEMENT_REBALANCE, /* as few as possible move so that every target carries its share, and a fifth of
                            these more, at most, for the spread of recoveries */
    PLACEMENT_KEEP,      /* those on targets that are there stay; new groups make up for it. Should a lost
                            member fit nowhere else, others move after all */
};

struct placement_change_wanted {
    enum placement_change change;
    bool fixed_positions; /* members that stay keep their place in the group (erasure code) */
};

/*
 * The table for the targets that there are now, from the table for those that there were. Targets that are
 * not given (any more) are left by all of their groups; wanted->group_count, when it is above that of
 * `old`, appends groups; when it is the same, none are. When it is 0, none are either, but that
 * PLACEMENT_REBALANCE appends as many as it takes to spread recoveries where that of `old` is a number with
 * which they can't be: docs/placement.md, "Growing". Errors as above.
 */
int placement_change(const struct placement_target *targets, uint32_t count,
                     const struct placement_wanted *wanted, const struct placement_change_wanted *how,
                     const struct placement_table *old, struct placement_table *table);

void placement_free(struct placement_table *table);

/* ---- placement_moves.c: what a change moves --------------------------------- */

struct placement_move {
    uint32_t group;
    uint32_t from, to; /* ids */
};

/* The members of groups of `old` that are others in `table`, by group; *moves is the caller's to
 * free(). What stands at another place of the same group does not move. -ENOMEM, -EINVAL */
int placement_moves(const struct placement_table *old, const struct placement_table *table,
                    struct placement_move **moves, uint32_t *count);

/* The fewest moves with which any table gives every target its share, rounded up or down: the bound
 * that PLACEMENT_REBALANCE is held against. */
int placement_moves_least(const struct placement_target *targets, uint32_t count,
                          const struct placement_wanted *wanted, const struct placement_table *old,
                          uint32_t *least);

/* ---- placement_measure.c: how good a table is -------------------------------- */

/* Ratios for people and tests, in floating point: no part of the function. Defined in docs/placement.md. */
struct placement_figures {
    uint32_t target_count, domain_count; /* that take part */
    uint64_t capacity;                   /* of all targets */
    uint64_t capacity_lost;              /* in domains that have more than a group can take from one */
    uint32_t domains_capped;
    uint32_t domain_capped; /* the number of the largest of these */
    double slots_mean;      /* groups of a target */
    uint32_t slots_least, slots_most;
    double overload;                  /* how far the fullest target is above its even share: 0.02 is 2% */
    double underload;                 /* and the emptiest below */
    bool even;                        /* every target has its share, rounded up or down to a whole group */
    double spread_least, spread_mean; /* 1: the recovery load of a lost target is ideally even */
    uint32_t spread_worst;            /* id of the target with the least */
    uint32_t pairs_least, pairs_most; /* groups that two targets of different domains share */
    uint32_t pairs_bound;             /* none shares more, by the proof; 0: nothing is proved */
    uint32_t partners_least;          /* others that take part in a recovery */
    uint32_t leads_over;              /* most that a target leads above its share, rounded up */
};

int placement_measure(const struct placement_target *targets, uint32_t count,
                      const struct placement_wanted *wanted, const struct placement_table *table,
                      struct placement_figures *figures);

#endif
