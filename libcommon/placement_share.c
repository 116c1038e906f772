/* SPDX-License-Identifier: Apache-2.0 */
/* How many slots each target gets: its capacity's share, rounded to whole groups so that no failure
 * domain has more than one slot of each group. */
#include "placement_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

/* The search for a number of groups ends after so many shares. */
#define GROUPS_WORK_MAX (1u << 22)
#define PARTS           1000000u /* overloads are compared in millionths */

struct placement_share placement_share_of(const struct placement_pool *pool, uint32_t target,
                                          uint32_t group_count)
{
    const struct placement_member *t = &pool->targets[target];
    const struct placement_domain *domain = &pool->domains[t->domain];
    uint64_t divisor = domain->capped ? domain->capacity : pool->rest_capacity;
    uint64_t places = domain->capped ? group_count : (uint64_t)group_count * pool->rest_members;
    placement_wide product = (placement_wide)t->capacity * places;
    return (struct placement_share){
        .whole = (uint32_t)(product / divisor), .rest = (uint64_t)(product % divisor), .divisor = divisor};
}

static int no_memory(const struct placement_pool *pool)
{
    return err_set(-ENOMEM, "out of memory for a placement of %u targets", pool->target_count);
}

/* A target that can be rounded the other way. */
struct choice {
    uint32_t target;
    uint64_t rest, divisor;
};

/* The greatest rest first, then the least target. */
static int compare_choices(const void *left, const void *right)
{
    const struct choice *a = left, *b = right;
    placement_wide of_a = (placement_wide)a->rest * b->divisor, of_b = (placement_wide)b->rest * a->divisor;
    if (of_a != of_b)
        return of_a > of_b ? -1 : 1;
    return a->target < b->target ? -1 : a->target > b->target;
}

/* Rounds up where the domain has room, those with the greatest rest first. */
static void round_up(const struct placement_pool *pool, uint32_t group_count, const struct choice *choices,
                     uint32_t count, uint64_t missing, uint32_t *in_domain, uint32_t *slots)
{
    for (uint32_t i = 0; i < count && missing; i++) {
        uint32_t target = choices[i].target, domain = pool->targets[target].domain;
        struct placement_share share = placement_share_of(pool, target, group_count);
        if (slots[target] == share.whole && in_domain[domain] < group_count) {
            slots[target]++;
            in_domain[domain]++;
            missing--;
        }
    }
}

/* Rounds down what was rounded up, those with the least rest first: in domains that are over full, then
 * until `surplus` is gone. */
static void round_down(const struct placement_pool *pool, uint32_t group_count, const struct choice *choices,
                       uint32_t count, int64_t surplus, uint32_t *in_domain, uint32_t *slots)
{
    for (unsigned turn = 0; turn < 2; turn++) {
        for (uint32_t i = count; i-- > 0;) {
            uint32_t target = choices[i].target, domain = pool->targets[target].domain;
            struct placement_share share = placement_share_of(pool, target, group_count);
            bool due = turn == 0 ? in_domain[domain] > group_count : surplus > 0;
            if (due && slots[target] > share.whole) {
                slots[target]--;
                in_domain[domain]--;
                surplus--;
            }
        }
    }
}

int placement_share_round(const struct placement_pool *pool, uint32_t group_count, const uint32_t *present,
                          uint32_t *slots)
{
    uint32_t count = 0;
    uint64_t wanted = (uint64_t)group_count * pool->members, sum = 0;
    struct choice *choices = malloc((size_t)pool->target_count * sizeof *choices);
    uint32_t *in_domain = calloc(pool->domain_count, sizeof *in_domain);
    int error = choices && in_domain ? 0 : no_memory(pool);
    if (error)
        goto free;
    for (uint32_t t = 0; t < pool->target_count; t++) {
        struct placement_share share = placement_share_of(pool, t, group_count);
        slots[t] = share.whole;
        if (share.rest) {
            choices[count++] = (struct choice){.target = t, .rest = share.rest, .divisor = share.divisor};
            /* Who has more than the whole part keeps one of it: that is one move less. */
            if (present && present[t] > share.whole)
                slots[t]++;
        }
        in_domain[pool->targets[t].domain] += slots[t];
        sum += slots[t];
    }
    if (count)
        qsort(choices, count, sizeof *choices, compare_choices);
    round_down(pool, group_count, choices, count, (int64_t)sum - (int64_t)wanted, in_domain, slots);
    for (uint32_t t = 0; t < pool->target_count; t++)
        wanted -= slots[t];
    round_up(pool, group_count, choices, count, wanted, in_domain, slots);
free:
    free(choices);
    free(in_domain);
    return error;
}

/* ---- beside what is there --------------------------------------------------- */

/* Each target has (2 * slots + 1) / capacity, and the least is served (Webster's divisors; Balinski and
 * Young, "Fair Representation", 1982). */
bool placement_share_before(const struct placement_pool *pool, const uint32_t *total, uint32_t a, uint32_t b)
{
    placement_wide of_a = (placement_wide)(2 * (uint64_t)total[a] + 1) * pool->targets[b].capacity;
    placement_wide of_b = (placement_wide)(2 * (uint64_t)total[b] + 1) * pool->targets[a].capacity;
    return of_a != of_b ? of_a < of_b : a < b;
}

static void sift_down(const struct placement_pool *pool, const uint32_t *total, uint32_t *heap,
                      uint32_t count, uint32_t at)
{
    for (;;) {
        uint32_t least = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++) {
            if (placement_share_before(pool, total, heap[child], heap[least]))
                least = child;
        }
        if (least == at)
            return;
        uint32_t swap = heap[at];
        heap[at] = heap[least];
        heap[least] = swap;
        at = least;
    }
}

int placement_share_fill(const struct placement_pool *pool, uint32_t group_count, uint64_t places,
                         const uint32_t *present, bool same_groups, uint32_t *slots)
{
    uint32_t count = pool->target_count;
    uint32_t *heap = malloc((size_t)count * sizeof *heap);
    uint32_t *total = malloc((size_t)count * sizeof *total);
    uint32_t *in_domain = calloc(pool->domain_count, sizeof *in_domain);
    int error = heap && total && in_domain ? 0 : no_memory(pool);
    if (error)
        goto free;
    memset(slots, 0, (size_t)count * sizeof *slots);
    for (uint32_t t = 0; t < count; t++) {
        heap[t] = t;
        total[t] = present[t];
        in_domain[pool->targets[t].domain] += same_groups ? present[t] : 0;
    }
    for (uint32_t at = count / 2; at-- > 0;)
        sift_down(pool, total, heap, count, at);
    while (places && count) {
        uint32_t target = heap[0], domain = pool->targets[target].domain;
        if (in_domain[domain] >= group_count) {
            heap[0] = heap[--count]; /* its domain stands in all of the groups */
        } else {
            slots[target]++;
            total[target]++;
            in_domain[domain]++;
            places--;
        }
        sift_down(pool, total, heap, count, 0);
    }
free:
    free(heap);
    free(total);
    free(in_domain);
    return error;
}

/* ---- how many groups ------------------------------------------------------- */

static int compare_wide(const void *left, const void *right)
{
    const struct placement_member *a = *(const struct placement_member *const *)left,
                                  *b = *(const struct placement_member *const *)right;
    if (a->capacity != b->capacity)
        return a->capacity < b->capacity ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Targets that stand for all others: of each capacity one, in capped domains all. */
static uint32_t pick_samples(const struct placement_pool *pool, const struct placement_member **samples)
{
    uint32_t count = 0;
    for (uint32_t t = 0; t < pool->target_count; t++)
        samples[t] = &pool->targets[t];
    qsort(samples, pool->target_count, sizeof *samples, compare_wide);
    for (uint32_t t = 0; t < pool->target_count; t++) {
        bool capped = pool->domains[samples[t]->domain].capped;
        if (t == 0 || capped || samples[t]->capacity != samples[t - 1]->capacity ||
            pool->domains[samples[t - 1]->domain].capped)
            samples[count++] = samples[t];
    }
    return count;
}

/* The worst overload of a share that is rounded up, in millionths of the share. */
static uint64_t overload_of(const struct placement_pool *pool, const struct placement_member *const *samples,
                            uint32_t count, uint32_t group_count)
{
    uint64_t worst = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct placement_share share =
            placement_share_of(pool, (uint32_t)(samples[i] - pool->targets), group_count);
        if (share.rest == 0)
            continue;
        placement_wide exact = (placement_wide)share.whole * share.divisor + share.rest;
        placement_wide over = (placement_wide)(share.divisor - share.rest) * PARTS;
        uint64_t parts = (uint64_t)(over / exact);
        worst = parts >= worst ? parts + 1 : worst;
    }
    return worst;
}

/*
 * Groups of four and more are hard to arrange when every two of targets that are alike are to share
 * nearly one group, or nearly two: there is next to no freedom, as in an exact design, but mostly none
 * is known. More groups, or fewer, are easy (docs/placement.md, "How many groups", has the
 * measurements).
 */
static bool is_tight(const struct placement_pool *pool, uint64_t group_count)
{
    uint64_t n = pool->members, shared = group_count * n * (n - 1), pairs = 0;
    for (uint32_t d = 0; d < pool->domain_count; d++) {
        uint64_t inside = pool->domains[d].target_count;
        pairs += inside * (pool->target_count - inside);
    }
    return n > 3 && pool->alike &&
           ((10 * shared > 7 * pairs && 10 * shared < 13 * pairs) ||
            (20 * shared > 37 * pairs && 20 * shared < 43 * pairs));
}

uint32_t placement_share_groups_grown(const struct placement_pool *pool, uint32_t group_count)
{
    uint64_t twice = 2 * (uint64_t)group_count, most = twice < LIMITS_GROUPS_MAX ? twice : LIMITS_GROUPS_MAX;
    for (uint64_t groups = group_count; groups <= most; groups++) {
        if (!is_tight(pool, groups))
            return (uint32_t)groups;
    }
    return group_count;
}

/* The number of groups, of those that are not tight or of all, with the least overload; the fewest of
 * equals. */
static uint32_t pick_groups(const struct placement_pool *pool, const struct placement_member *const *samples,
                            uint32_t sample_count, uint64_t least, bool tight_too)
{
    uint64_t most = 2 * least < LIMITS_GROUPS_MAX ? 2 * least : LIMITS_GROUPS_MAX, best = UINT64_MAX;
    uint32_t found = 0, work = 0;
    for (uint64_t groups = least; groups <= most && best && work < GROUPS_WORK_MAX; groups++) {
        if (!tight_too && is_tight(pool, groups))
            continue;
        uint64_t overload = overload_of(pool, samples, sample_count, (uint32_t)groups);
        work += sample_count;
        if (overload < best) {
            best = overload;
            found = (uint32_t)groups;
        }
    }
    return found;
}

int placement_share_groups(const struct placement_pool *pool, uint32_t groups_per_target,
                           uint32_t *group_count)
{
    uint64_t places = (uint64_t)groups_per_target * pool->target_count;
    uint64_t least = (places + pool->members - 1) / pool->members;
    if (groups_per_target == 0)
        return err_set(-EINVAL, "a target in 0 groups holds nothing; choose at least 1");
    if (least > LIMITS_GROUPS_MAX)
        return err_set(-ENOSPC,
                       "%u targets in %u groups each make %llu groups of %u, and a pool has at most %u: "
                       "choose at most %u groups for each target",
                       pool->target_count, groups_per_target, (unsigned long long)least, pool->members,
                       LIMITS_GROUPS_MAX,
                       (unsigned)((uint64_t)LIMITS_GROUPS_MAX * pool->members / pool->target_count));
    const struct placement_member **samples = malloc((size_t)pool->target_count * sizeof *samples);
    if (!samples)
        return no_memory(pool);
    uint32_t sample_count = pick_samples(pool, samples);
    *group_count = pick_groups(pool, samples, sample_count, least, false);
    if (*group_count == 0)
        *group_count = pick_groups(pool, samples, sample_count, least, true);
    free(samples);
    return 0;
}
