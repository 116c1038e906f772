/* SPDX-License-Identifier: Apache-2.0 */
/* The targets that take part in a placement, their failure domains, and whether groups can be made of
 * them. */
#include "placement_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

const char *placement_level_name(enum placement_level level, bool plural)
{
    static const char *const names[PLACEMENT_LEVELS][2] = {
        {"target", "targets"}, {"host", "hosts"}, {"chassis", "chassis"}, {"rack", "racks"}};
    return names[level][plural];
}

int placement_level_parse(const char *word, enum placement_level *level)
{
    for (unsigned i = 0; i < PLACEMENT_LEVELS; i++) {
        if (strcmp(placement_level_name((enum placement_level)i, false), word) != 0)
            continue;
        *level = (enum placement_level)i;
        return 0;
    }
    return -EINVAL;
}

static uint32_t domain_of(const struct placement_target *target, enum placement_level level)
{
    switch (level) {
    case PLACEMENT_HOST:
        return target->host;
    case PLACEMENT_CHASSIS:
        return target->chassis;
    case PLACEMENT_RACK:
        return target->rack;
    case PLACEMENT_TARGET:
        break;
    }
    return target->id;
}

static int compare_ids(const void *left, const void *right)
{
    const struct placement_member *a = left, *b = right;
    return a->id < b->id ? -1 : a->id > b->id;
}

static int take_targets(const struct placement_target *targets, uint32_t count,
                        const struct placement_wanted *wanted, struct placement_pool *pool)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct placement_target *target = &targets[i];
        if (target->id == PL_NOBODY)
            return err_set(-EINVAL, "a target can't have the id %u", target->id);
        if (wanted->device_class != PLACEMENT_ANY_CLASS && wanted->device_class != target->device_class)
            continue;
        if (target->capacity == 0)
            continue;
        if (__builtin_add_overflow(pool->capacity, target->capacity, &pool->capacity))
            return err_set(-EINVAL, "the capacities of %u targets don't fit 64 bits together", count);
        pool->targets[pool->target_count++] = (struct placement_member){
            .id = target->id,
            /* A group of one member parts nobody. */
            .domain = wanted->members == 1 ? target->id : domain_of(target, wanted->level),
            .capacity = target->capacity,
        };
    }
    if (pool->target_count)
        qsort(pool->targets, pool->target_count, sizeof *pool->targets, compare_ids);
    for (uint32_t i = 1; i < pool->target_count; i++) {
        if (pool->targets[i].id == pool->targets[i - 1].id)
            return err_set(-EINVAL, "two targets have the id %u; every target needs one of its own",
                           pool->targets[i].id);
    }
    return 0;
}

struct numbered {
    uint32_t number, target;
};

static int compare_numbers(const void *left, const void *right)
{
    const struct numbered *a = left, *b = right;
    if (a->number != b->number)
        return a->number < b->number ? -1 : 1;
    return a->target < b->target ? -1 : a->target > b->target;
}

/* Domains are numbered anew, in the order of their first target. */
static int make_domains(struct placement_pool *pool)
{
    uint32_t count = pool->target_count;
    struct numbered *sorted = malloc((size_t)(count + 1) * sizeof *sorted);
    uint32_t *leader = malloc((size_t)(count + 1) * sizeof *leader);
    int error = -ENOMEM;
    if (!sorted || !leader)
        goto free;
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = (struct numbered){.number = pool->targets[i].domain, .target = i};
    if (count)
        qsort(sorted, count, sizeof *sorted, compare_numbers);
    /* The first target of its domain stands for the domain. */
    for (uint32_t i = 0; i < count; i++) {
        bool same = i > 0 && sorted[i].number == sorted[i - 1].number;
        leader[sorted[i].target] = same ? leader[sorted[i - 1].target] : sorted[i].target;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct placement_member *target = &pool->targets[i];
        uint32_t domain = leader[i] == i ? pool->domain_count++ : pool->targets[leader[i]].domain;
        if (leader[i] == i)
            pool->domains[domain] = (struct placement_domain){.number = target->domain};
        target->domain = domain;
        pool->domains[domain].target_count++;
        pool->domains[domain].capacity += target->capacity;
    }
    error = 0;
free:
    free(sorted);
    free(leader);
    return error ? err_set(-ENOMEM, "out of memory for a placement of %u targets", count) : 0;
}

/*
 * A group takes one member from a domain, so a domain with more than 1/n of the capacity stands in every
 * group and can't be filled. The others share what is left, which may make the next one too large.
 */
static void cap_domains(struct placement_pool *pool)
{
    pool->rest_capacity = pool->capacity;
    pool->rest_members = pool->members;
    for (bool again = true; again;) {
        again = false;
        uint32_t largest = PL_NOBODY;
        for (uint32_t i = 0; i < pool->domain_count; i++) {
            const struct placement_domain *domain = &pool->domains[i];
            if (!domain->capped &&
                (largest == PL_NOBODY || domain->capacity > pool->domains[largest].capacity))
                largest = i;
        }
        if (largest == PL_NOBODY)
            return;
        struct placement_domain *domain = &pool->domains[largest];
        if ((placement_wide)domain->capacity * pool->rest_members > pool->rest_capacity) {
            domain->capped = true;
            pool->rest_capacity -= domain->capacity;
            pool->rest_members--;
            again = true;
        }
    }
}

static int refuse_domains(const struct placement_pool *pool, const struct placement_wanted *wanted)
{
    const char *of_class = wanted->device_class == PLACEMENT_ANY_CLASS ? "" : " of its device class";
    enum placement_level level = wanted->level;
    if (pool->target_count < pool->members)
        return err_set(-EHOSTDOWN,
                       "a group of %u members needs as many targets, but the pool has %u%s: add targets, or "
                       "choose fewer members",
                       pool->members, pool->target_count, of_class);
    return err_set(-EHOSTDOWN,
                   "%u members on different %s, but the pool's %u targets%s are in %u %s: add %s, choose "
                   "fewer members, or a lower level than %s",
                   pool->members, placement_level_name(level, true), pool->target_count, of_class,
                   pool->domain_count, placement_level_name(level, pool->domain_count != 1),
                   placement_level_name(level, true), placement_level_name(level, false));
}

int placement_pool_make(const struct placement_target *targets, uint32_t count,
                        const struct placement_wanted *wanted, struct placement_pool *pool)
{
    *pool = (struct placement_pool){.members = wanted->members};
    if (wanted->members == 0 || wanted->members > LIMITS_GROUP_MEMBERS_MAX)
        return err_set(-EINVAL, "a group of %u members is not possible; choose 1 to %u", wanted->members,
                       LIMITS_GROUP_MEMBERS_MAX);
    if ((unsigned)wanted->level >= PLACEMENT_LEVELS)
        return err_set(-EINVAL, "there is no failure domain of level %u", (unsigned)wanted->level);
    if (count > LIMITS_TARGETS_MAX)
        return err_set(-ENOSPC, "%u targets are more than a cluster can have: %u", count, LIMITS_TARGETS_MAX);
    pool->targets = calloc((size_t)count + 1, sizeof *pool->targets);
    pool->domains = calloc((size_t)count + 1, sizeof *pool->domains);
    int error = 0;
    if (!pool->targets || !pool->domains)
        error = err_set(-ENOMEM, "out of memory for a placement of %u targets", count);
    if (!error)
        error = take_targets(targets, count, wanted, pool);
    if (!error)
        error = make_domains(pool);
    if (!error && pool->domain_count < pool->members)
        error = refuse_domains(pool, wanted);
    if (error) {
        placement_pool_free(pool);
        return error;
    }
    cap_domains(pool);
    pool->alike = true;
    for (uint32_t t = 1; t < pool->target_count; t++)
        pool->alike = pool->alike && pool->targets[t].capacity == pool->targets[0].capacity;
    return 0;
}

void placement_pool_free(struct placement_pool *pool)
{
    free(pool->targets);
    free(pool->domains);
    *pool = (struct placement_pool){0};
}

uint32_t placement_pool_find(const struct placement_pool *pool, uint32_t id)
{
    struct placement_member key = {.id = id};
    const struct placement_member *found =
        bsearch(&key, pool->targets, pool->target_count, sizeof *pool->targets, compare_ids);
    return found ? (uint32_t)(found - pool->targets) : PL_NOBODY;
}
