/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block designs in which every two failure domains share equally many groups: a
 * balanced incomplete block design on the domains, developed from a difference
 * family (R. C. Bose, "On the construction of balanced incomplete block designs",
 * Annals of Eugenics 9, 1939) that a bounded search finds, and, with several targets in a domain, an
 * orthogonal array of lines over each of its blocks.
 */
#include "placement_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

enum { POINTS_MAX = 128, BLOCKS_MAX = 256 };
#define NODES_MAX 4000000u /* choices of a point in one search */

/* A difference family over the residues modulo m, perhaps with a point more that stays where it is. */
struct family {
    uint32_t modulus, points; /* points is modulus, or one more */
    uint32_t size;            /* of a block: n */
    uint32_t lambda;          /* how often each difference is due */
    uint32_t short_blocks; /* {0, m/n, 2m/n, ...}, which comes back after m/n steps; or with the fixed point,
                                 of n - 1 residues */
    uint32_t fixed_blocks; /* with the fixed point and n - 1 residues */
    uint32_t full_blocks;  /* n residues */
    uint32_t due[POINTS_MAX]; /* of each difference, how often it is still to come */
    uint32_t block[BLOCKS_MAX][LIMITS_GROUP_MEMBERS_MAX]; /* residues: the fixed ones first, then the full */
    uint32_t nodes;
};

/* ---- the search ------------------------------------------------------------ */

/* Counts the differences of `point` to the first `count` of the block as come; false when one was not
 * due, and nothing is counted then. */
static bool place_point(struct family *family, const uint32_t *block, uint32_t count, uint32_t point)
{
    uint32_t m = family->modulus;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t up = (point + m - block[i]) % m, down = m - up;
        /* Both directions, which may be the same difference. */
        if (family->due[up] < 1u + (up == down) || family->due[down] == 0) {
            while (i-- > 0) {
                up = (point + m - block[i]) % m;
                family->due[up]++;
                family->due[m - up]++;
            }
            return false;
        }
        family->due[up]--;
        family->due[down]--;
    }
    return true;
}

static void remove_point(struct family *family, const uint32_t *block, uint32_t count, uint32_t point)
{
    uint32_t m = family->modulus;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t up = (point + m - block[i]) % m;
        family->due[up]++;
        family->due[m - up]++;
    }
}

static bool search(struct family *family, uint32_t block, uint32_t count, uint32_t from);

static bool try_point(struct family *family, uint32_t block, uint32_t count, uint32_t point, uint32_t from)
{
    uint32_t *points = family->block[block];
    if (family->nodes++ >= NODES_MAX || !place_point(family, points, count, point))
        return false;
    points[count] = point;
    if (search(family, block, count + 1, from))
        return true;
    remove_point(family, points, count, point);
    return false;
}

/*
 * Depth first. A block begins with 0; a full one goes on with the least difference that is due, which
 * one of the blocks to come must have, and may have there; the other points rise from `from`.
 */
static bool search(struct family *family, uint32_t block, uint32_t count, uint32_t from)
{
    bool fixed = block < family->fixed_blocks;
    uint32_t size = fixed ? family->size - 1 : family->size;
    if (block == family->fixed_blocks + family->full_blocks)
        return true;
    if (count == size)
        return search(family, block + 1, 0, 1);
    if (count == 0) {
        family->block[block][0] = 0;
        return search(family, block, 1, 1);
    }
    if (count == 1 && !fixed) {
        uint32_t least = 1;
        while (least < family->modulus && family->due[least] == 0)
            least++;
        return least < family->modulus && try_point(family, block, 1, least, 1);
    }
    for (uint32_t point = from; point < family->modulus && family->nodes < NODES_MAX; point++) {
        if (try_point(family, block, count, point, point + 1))
            return true;
    }
    return false;
}

/* What short blocks bring is not due any more. */
static bool begin(struct family *family)
{
    uint32_t m = family->modulus, size = family->points > m ? family->size - 1 : family->size;
    if (family->fixed_blocks + family->full_blocks > BLOCKS_MAX || m > POINTS_MAX)
        return false;
    for (uint32_t d = 1; d < m; d++)
        family->due[d] = family->lambda;
    for (uint32_t i = 1; family->short_blocks && i < size; i++)
        family->due[i * (m / size)] -= family->short_blocks;
    family->nodes = 0;
    return true;
}

/* On the residues alone: with the fewest short blocks that make the count of the others whole. */
static bool find_cyclic(struct family *family, uint32_t points, uint32_t n, uint32_t lambda)
{
    uint32_t pairs = lambda * (points - 1);
    for (uint32_t s = 0; s <= lambda && s < n; s++) {
        if (s * (n - 1) > pairs || (pairs - s * (n - 1)) % (n * (n - 1)) || (s && points % n))
            continue;
        *family = (struct family){.modulus = points,
                                  .points = points,
                                  .size = n,
                                  .lambda = lambda,
                                  .short_blocks = s,
                                  .full_blocks = (pairs - s * (n - 1)) / (n * (n - 1))};
        return begin(family) && search(family, 0, 0, 1);
    }
    /* Whole blocks only: what is one group of all. */
    if (n == points) {
        *family = (struct family){
            .modulus = points, .points = points, .size = n, .lambda = lambda, .short_blocks = lambda};
        return true;
    }
    return false;
}

/* With a fixed point: it meets each residue `lambda` times. */
static bool find_rotational(struct family *family, uint32_t points, uint32_t n, uint32_t lambda)
{
    uint32_t m = points - 1, s = lambda % (n - 1), e = lambda / (n - 1);
    if (n < 3 || m < 2 || (s && m % (n - 1)))
        return false;
    uint32_t taken = e * (n - 1) * (n - 2) + s * (n - 2), pairs = lambda * (m - 1);
    if (taken > pairs || (pairs - taken) % (n * (n - 1)))
        return false;
    *family = (struct family){.modulus = m,
                              .points = points,
                              .size = n,
                              .lambda = lambda,
                              .short_blocks = s,
                              .fixed_blocks = e,
                              .full_blocks = (pairs - taken) / (n * (n - 1))};
    return begin(family) && search(family, 0, 0, 1);
}

/* ---- from the family to groups -------------------------------------------------- */

struct writer {
    const struct placement_pool *pool;
    const uint32_t *of_domain; /* the targets, domain by domain */
    uint32_t depth;            /* targets of a domain */
    uint32_t *slots;
    uint32_t used;
};

/* One block of domains: a group of it for each line a + b * i in the square of depth * depth, so that
 * two targets of different domains meet in one of them. */
static void write_block(struct writer *writer, const uint32_t *domains)
{
    uint32_t n = writer->pool->members, depth = writer->depth;
    for (uint32_t b = 0; b < depth; b++) {
        for (uint32_t a = 0; a < depth; a++) {
            for (uint32_t i = 0; i < n; i++)
                writer->slots[writer->used++] = writer->of_domain[domains[i] * depth + (a + b * i) % depth];
        }
    }
}

static void write_orbit(struct writer *writer, const struct family *family, const uint32_t *residues,
                        uint32_t count, uint32_t length)
{
    uint32_t domains[LIMITS_GROUP_MEMBERS_MAX];
    for (uint32_t shift = 0; shift < length; shift++) {
        for (uint32_t i = 0; i < count; i++)
            domains[i] = (residues[i] + shift) % family->modulus;
        if (count < family->size)
            domains[count] = family->modulus;
        write_block(writer, domains);
    }
}

static void write_family(struct writer *writer, const struct family *family)
{
    uint32_t m = family->modulus, n = family->size, size = family->points > m ? n - 1 : n;
    uint32_t spaced[LIMITS_GROUP_MEMBERS_MAX];
    for (uint32_t i = 0; i < size; i++)
        spaced[i] = i * (m / size);
    for (uint32_t i = 0; i < family->short_blocks; i++)
        write_orbit(writer, family, spaced, size, m / size);
    for (uint32_t i = 0; i < family->fixed_blocks; i++)
        write_orbit(writer, family, family->block[i], n - 1, m);
    for (uint32_t i = 0; i < family->full_blocks; i++)
        write_orbit(writer, family, family->block[family->fixed_blocks + i], n, m);
}

/* ---- which design -------------------------------------------------------------- */

static bool is_prime(uint32_t number)
{
    for (uint32_t i = 2; i * i <= number; i++) {
        if (number % i == 0)
            return false;
    }
    return number >= 2;
}

/* Targets of a domain when all domains and targets are alike and lines can be drawn; else 0. */
static uint32_t depth_of(const struct placement_pool *pool)
{
    uint32_t depth = pool->domains[0].target_count;
    for (uint32_t d = 0; d < pool->domain_count; d++) {
        if (pool->domains[d].target_count != depth)
            return 0;
    }
    if (!pool->alike)
        return 0;
    return depth == 1 || (is_prime(depth) && depth >= pool->members) ? depth : 0;
}

/* Is a design of that lambda on v points one in numbers? Its blocks then. */
static uint32_t blocks_of(uint32_t v, uint32_t n, uint32_t lambda)
{
    uint32_t pairs = lambda * (v - 1);
    if (pairs % (n - 1) || (pairs / (n - 1) * v) % n)
        return 0;
    return pairs / (n - 1) * v / n;
}

/* The least lambda with which every target is in as many groups as wanted, and not in more than twice
 * as many. */
static uint32_t lambda_of(const struct placement_pool *pool, uint32_t depth, uint32_t groups_per_target,
                          uint32_t group_count_wanted)
{
    uint32_t v = pool->domain_count, n = pool->members;
    for (uint32_t lambda = 1;; lambda++) {
        uint64_t groups = (uint64_t)blocks_of(v, n, lambda) * depth * depth;
        uint64_t per_target = (uint64_t)lambda * (v - 1) * depth / (n - 1);
        if (per_target > 2 * (uint64_t)groups_per_target || groups > LIMITS_GROUPS_MAX)
            return 0;
        if (groups && (group_count_wanted ? groups == group_count_wanted : per_target >= groups_per_target))
            return lambda;
    }
}

static int write_design(const struct placement_pool *pool, const struct family *family, uint32_t depth,
                        uint32_t times, uint32_t **slots, uint32_t *group_count)
{
    uint32_t v = pool->domain_count, n = pool->members;
    *group_count = blocks_of(v, n, family->lambda) * depth * depth * times;
    uint32_t *of_domain = malloc((size_t)pool->target_count * sizeof *of_domain);
    uint32_t *filled = calloc(v, sizeof *filled);
    struct writer writer = {.pool = pool, .of_domain = of_domain, .depth = depth};
    writer.slots = malloc((size_t)*group_count * n * sizeof *writer.slots);
    if (!of_domain || !filled || !writer.slots) {
        free(of_domain);
        free(filled);
        free(writer.slots);
        return err_set(-ENOMEM, "out of memory for a placement in %u groups", *group_count);
    }
    for (uint32_t t = 0; t < pool->target_count; t++) {
        uint32_t domain = pool->targets[t].domain;
        of_domain[domain * depth + filled[domain]++] = t;
    }
    for (uint32_t i = 0; i < times; i++)
        write_family(&writer, family);
    free(of_domain);
    free(filled);
    *slots = writer.slots;
    return 0;
}

int placement_design_find(const struct placement_pool *pool, uint32_t groups_per_target,
                          uint32_t group_count_wanted, uint32_t **slots, uint32_t *group_count)
{
    uint32_t v = pool->domain_count, n = pool->members, depth = depth_of(pool);
    int error = 0;
    *slots = NULL;
    if (n < 2 || v > POINTS_MAX || depth == 0)
        return 0;
    uint32_t lambda = lambda_of(pool, depth, groups_per_target, group_count_wanted);
    struct family *family = malloc(sizeof *family);
    if (!family)
        return err_set(-ENOMEM, "out of memory for a placement of %u targets", pool->target_count);
    /* A design that is found for a divisor serves as often as it fits in. */
    for (uint32_t part = 1; part <= lambda; part++) {
        if (lambda % part || blocks_of(v, n, part) == 0)
            continue;
        if (find_cyclic(family, v, n, part) || find_rotational(family, v, n, part)) {
            error = write_design(pool, family, depth, lambda / part, slots, group_count);
            break;
        }
    }
    free(family);
    return error;
}
