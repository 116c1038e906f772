/* SPDX-License-Identifier: Apache-2.0 */
/* How good a table is: the figures that docs/placement.md defines. They are for people and tests, so
 * that they may use floating point; nothing that places a byte depends on them. */
#include "placement_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "err.h"

enum { SCALING_ROUNDS = 64 };

struct measure {
    struct placement_pool pool;
    struct placement_board board;
    /* Of each target: two of different domains share scale * scale groups when all is even. */
    double *scale;
    double *sorted;          /* the scales, ascending */
    uint32_t *starts, *next; /* the targets of each domain, as lists */
};

static int load(const struct placement_wanted *wanted, const struct placement_table *table, struct measure *m)
{
    uint32_t count = m->pool.target_count, slot_count = table->group_count * table->members;
    uint32_t *room = calloc(count, sizeof *room), *member = malloc(((size_t)slot_count + 1) * sizeof *member);
    int error =
        room && member ? 0 : err_set(-ENOMEM, "out of memory to look at %u groups", table->group_count);
    for (uint32_t slot = 0; !error && slot < slot_count; slot++) {
        member[slot] = placement_pool_find(&m->pool, table->ids[slot]);
        if (member[slot] == PL_NOBODY)
            error = err_set(-EINVAL, "target %u of group %u is not among the targets", table->ids[slot],
                            slot / table->members);
        else
            room[member[slot]]++;
    }
    if (!error)
        error = placement_board_make(&m->pool, table->group_count, room, room, wanted, &m->board);
    for (uint32_t slot = 0; !error && slot < slot_count; slot++)
        placement_board_put(&m->board, slot, member[slot]);
    for (uint32_t slot = 0; !error && slot < slot_count; slot++) {
        if (!placement_board_fits(&m->board, slot, member[slot]))
            error = err_set(-EINVAL, "group %u has two members in the %s of target %u", slot / table->members,
                            placement_level_name(wanted->level, false), table->ids[slot]);
    }
    free(room);
    free(member);
    return error;
}

static void measure_shares(const struct measure *m, struct placement_figures *f)
{
    const struct placement_pool *pool = &m->pool;
    uint64_t largest = 0;
    f->target_count = pool->target_count;
    f->domain_count = pool->domain_count;
    f->capacity = pool->capacity;
    for (uint32_t d = 0; d < pool->domain_count; d++) {
        const struct placement_domain *domain = &pool->domains[d];
        if (!domain->capped)
            continue;
        /* A capped domain fills like one n-th of what the others can fill. */
        f->domains_capped++;
        f->capacity_lost += domain->capacity - pool->rest_capacity / pool->rest_members;
        if (domain->capacity > largest) {
            largest = domain->capacity;
            f->domain_capped = domain->number;
        }
    }
    f->slots_mean = (double)m->board.slot_count / pool->target_count;
    f->slots_least = UINT32_MAX;
    f->even = true;
    for (uint32_t t = 0; t < pool->target_count; t++) {
        uint32_t slots = m->board.count[t];
        struct placement_share share = placement_share_of(pool, t, m->board.group_count);
        double exact = share.whole + (double)share.rest / (double)share.divisor;
        double over = slots / exact - 1;
        f->overload = over > f->overload ? over : f->overload;
        f->underload = -over > f->underload ? -over : f->underload;
        f->slots_least = slots < f->slots_least ? slots : f->slots_least;
        f->slots_most = slots > f->slots_most ? slots : f->slots_most;
        if (slots < share.whole || slots > share.whole + (share.rest > 0))
            f->even = false;
    }
}

static void measure_leads(const struct measure *m, struct placement_figures *f)
{
    const struct placement_board *board = &m->board;
    for (uint32_t t = 0; t < m->pool.target_count; t++) {
        uint32_t leads = 0, share = (board->count[t] + board->members - 1) / board->members;
        for (uint32_t i = 0; i < board->count[t]; i++)
            leads += board->places[board->first[t] + i] % board->members == 0;
        if (leads > share && leads - share > f->leads_over)
            f->leads_over = leads - share;
    }
}

/* ---- pairs ------------------------------------------------------------------- */

static int compare_doubles(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/*
 * The even table has a matrix of rank one between domains, nothing inside them, and the row sums of
 * this table: found by scaling rows in turn, damped by the geometric mean, which ends with the
 * symmetric matrix of most entropy.
 */
static int find_scales(struct measure *m)
{
    const struct placement_pool *pool = &m->pool;
    uint32_t domains = pool->domain_count;
    double n = pool->members, sum = 0, *of_domain = calloc(domains, sizeof *of_domain);
    double *slots = calloc(domains, sizeof *slots);
    if (!of_domain || !slots) {
        free(of_domain);
        free(slots);
        return err_set(-ENOMEM, "out of memory to look at %u targets", pool->target_count);
    }
    for (uint32_t t = 0; t < pool->target_count; t++)
        slots[pool->targets[t].domain] += m->board.count[t];
    /* A root without the library's: Newton's steps, from above. */
    double total = (double)m->board.slot_count / (n > 1 ? n - 1 : 1), root = total + 1;
    for (unsigned i = 0; i < SCALING_ROUNDS; i++)
        root = (root + total / root) / 2;
    for (uint32_t d = 0; d < domains; d++)
        sum += of_domain[d] = slots[d] / root;
    for (unsigned round = 0; round < SCALING_ROUNDS; round++) {
        double next_sum = 0;
        for (uint32_t d = 0; d < domains; d++) {
            double others = sum - of_domain[d];
            double exact = others > 0 ? slots[d] * (n - 1) / others : 0;
            of_domain[d] = (of_domain[d] + exact) / 2;
            next_sum += of_domain[d];
        }
        sum = next_sum;
    }
    for (uint32_t t = 0; t < pool->target_count; t++) {
        uint32_t d = pool->targets[t].domain;
        m->scale[t] = slots[d] > 0 ? of_domain[d] * m->board.count[t] / slots[d] : 0;
        m->sorted[t] = m->scale[t];
    }
    qsort(m->sorted, pool->target_count, sizeof *m->sorted, compare_doubles);
    free(of_domain);
    free(slots);
    return 0;
}

/* What of an even load is in place when it comes in whole groups: rounded up with the probability of
 * the rest. */
static double in_place_at_best(double even)
{
    double whole = (double)(uint64_t)even, rest = even - whole;
    return even < 1 ? even : whole * (1 - rest) + even * rest;
}

/* Over all targets, runs of the same scale together, then without those of its own domain. */
static double best_of(const struct measure *m, uint32_t target)
{
    uint32_t count = m->pool.target_count, domain = m->pool.targets[target].domain;
    double scale = m->scale[target], sum = 0;
    for (uint32_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && m->sorted[end] == m->sorted[i]; end++)
            ;
        sum += (end - i) * in_place_at_best(scale * m->sorted[i]);
    }
    for (uint32_t t = m->starts[domain]; t != PL_NOBODY; t = m->next[t])
        sum -= in_place_at_best(scale * m->scale[t]);
    return sum;
}

static void measure_target(struct measure *m, uint32_t target, struct placement_figures *f)
{
    struct placement_board *board = &m->board;
    double in_place = 0;
    placement_board_row(board, target, PL_NOBODY);
    uint32_t partners = board->touched_count, most = 0, least = UINT32_MAX;
    for (uint32_t i = 0; i < partners; i++) {
        uint32_t other = board->touched[i], pairs = board->row[other];
        double even = m->scale[target] * m->scale[other];
        even = even < 1 ? 1 : even; /* less than a group is not to be had */
        in_place += pairs < even ? pairs : even;
        most = pairs > most ? pairs : most;
        least = pairs < least ? pairs : least;
    }
    placement_board_row_clear(board);
    uint32_t own = m->pool.domains[m->pool.targets[target].domain].target_count;
    if (partners < m->pool.target_count - own)
        least = 0;
    double best = best_of(m, target), spread = best > 0 ? in_place / best : 1;
    spread = spread > 1 ? 1 : spread;
    f->spread_mean += spread / m->pool.target_count;
    if (spread < f->spread_least) {
        f->spread_least = spread;
        f->spread_worst = m->pool.targets[target].id;
    }
    f->pairs_most = most > f->pairs_most ? most : f->pairs_most;
    f->pairs_least = least < f->pairs_least ? least : f->pairs_least;
    f->partners_least = partners < f->partners_least ? partners : f->partners_least;
}

static int measure_pairs(struct measure *m, struct placement_figures *f)
{
    int error = find_scales(m);
    if (error)
        return error;
    f->spread_least = 1;
    f->pairs_least = f->partners_least = UINT32_MAX;
    for (uint32_t t = 0; t < m->pool.target_count; t++) {
        if (m->board.count[t])
            measure_target(m, t, f);
        else
            f->spread_mean += 1.0 / m->pool.target_count;
    }
    f->pairs_bound = placement_swap_pairs_bound(&m->board);
    return 0;
}

static int prepare(struct measure *m)
{
    uint32_t count = m->pool.target_count;
    m->scale = malloc((size_t)count * sizeof *m->scale);
    m->sorted = malloc((size_t)count * sizeof *m->sorted);
    m->next = malloc((size_t)count * sizeof *m->next);
    m->starts = malloc((size_t)m->pool.domain_count * sizeof *m->starts);
    if (!m->scale || !m->sorted || !m->next || !m->starts)
        return err_set(-ENOMEM, "out of memory to look at %u targets", count);
    for (uint32_t d = 0; d < m->pool.domain_count; d++)
        m->starts[d] = PL_NOBODY;
    for (uint32_t t = 0; t < count; t++) {
        m->next[t] = m->starts[m->pool.targets[t].domain];
        m->starts[m->pool.targets[t].domain] = t;
    }
    return 0;
}

int placement_measure(const struct placement_target *targets, uint32_t count,
                      const struct placement_wanted *wanted, const struct placement_table *table,
                      struct placement_figures *figures)
{
    struct measure m = {0};
    *figures = (struct placement_figures){0};
    int error = placement_pool_make(targets, count, wanted, &m.pool);
    if (error)
        return error;
    error = load(wanted, table, &m);
    if (!error)
        error = prepare(&m);
    if (!error) {
        measure_shares(&m, figures);
        measure_leads(&m, figures);
        error = measure_pairs(&m, figures);
    }
    free(m.scale);
    free(m.sorted);
    free(m.next);
    free(m.starts);
    placement_board_free(&m.board);
    placement_pool_free(&m.pool);
    return error;
}
