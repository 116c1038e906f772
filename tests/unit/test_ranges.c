/* SPDX-License-Identifier: Apache-2.0 */
/* Extents as few ascending ranges: by hand, and random ones against a map of bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../../libclient/ranges.h"

static struct range *ranges;
static uint32_t count;

static int teardown(void **state)
{
    (void)state;
    free(ranges);
    ranges = NULL;
    return 0;
}

static void make(const struct weft_extent *extents, size_t extent_count, uint32_t count_max)
{
    free(ranges);
    ranges = NULL;
    assert_int_equal(ranges_of_extents(extents, extent_count, count_max, &ranges, &count), 0);
}

static void check(uint32_t i, uint64_t start, uint64_t end)
{
    assert_true(i < count);
    assert_true(ranges[i].start == start);
    assert_true(ranges[i].end == end);
}

static void nothing_stays_nothing(void **state)
{
    (void)state;
    const struct weft_extent extents[] = {{5, 0}, {INT64_MAX, 10}, {UINT64_MAX, UINT64_MAX}};
    make(NULL, 0, 4);
    assert_int_equal(count, 0);
    assert_null(ranges);
    make(extents, 3, 4);
    assert_int_equal(count, 0);
    assert_null(ranges);
}

static void they_are_sorted_and_joined(void **state)
{
    (void)state;
    const struct weft_extent extents[] = {{50, 10}, {0, 10}, {10, 5}, {52, 2}, {55, 10}, {70, 0}, {16, 1}};
    make(extents, 7, 4);
    assert_int_equal(count, 3);
    check(0, 0, 15);
    check(1, 16, 17);
    check(2, 50, 65);
}

static void they_end_with_the_largest_offset(void **state)
{
    (void)state;
    const struct weft_extent extents[] = {{INT64_MAX - 3, 100}, {7, UINT64_MAX}};
    make(extents, 1, 4);
    check(0, INT64_MAX - 3, INT64_MAX);
    make(extents, 2, 4);
    assert_int_equal(count, 1);
    check(0, 7, INT64_MAX);
}

static void the_smallest_gaps_are_covered(void **state)
{
    (void)state;
    /* gaps: 10, 2, 10, 1, 10 */
    const struct weft_extent extents[] = {{0, 10}, {20, 10}, {32, 8}, {50, 10}, {61, 9}, {80, 1}};
    make(extents, 6, 6);
    assert_int_equal(count, 6);
    make(extents, 6, 4);
    assert_int_equal(count, 4);
    check(1, 20, 40);
    check(2, 50, 70);
    make(extents, 6, 3); /* and one of the three equal ones */
    assert_int_equal(count, 3);
    check(0, 0, 40);
    make(extents, 6, 1);
    assert_int_equal(count, 1);
    check(0, 0, 81);
}

/* ---- random ones ----------------------------------------------------------- */

enum { BYTES = 400, EXTENTS_MAX = 60, CASES = 3000 };

static uint64_t random_state = 88172645463325252u;
static uint64_t random_below(uint64_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % bound;
}

static uint32_t runs_of(const uint8_t *bytes)
{
    uint32_t runs = 0;
    for (unsigned i = 0; i < BYTES; i++)
        runs += bytes[i] && (i == 0 || !bytes[i - 1]);
    return runs;
}

/* What has to be covered beside `bytes` that `runs_max` runs are left: gap by gap, the smallest first. */
static uint64_t cost_of(const uint8_t *bytes, uint32_t runs_max)
{
    uint8_t covered[BYTES];
    uint64_t cost = 0;
    memcpy(covered, bytes, sizeof covered);
    while (runs_of(covered) > runs_max) {
        unsigned best = 0, best_length = BYTES + 1;
        for (unsigned i = 1; i < BYTES; i++) {
            unsigned end = i;
            while (end < BYTES && !covered[end])
                end++;
            if (covered[i - 1] && !covered[i] && end < BYTES && end - i < best_length) {
                best = i;
                best_length = end - i;
            }
        }
        memset(covered + best, 1, best_length);
        cost += best_length;
    }
    return cost;
}

static void random_ones_are_covered_at_the_least_cost(void **state)
{
    (void)state;
    for (unsigned c = 0; c < CASES; c++) {
        struct weft_extent extents[EXTENTS_MAX];
        uint8_t bytes[BYTES] = {0}, covered[BYTES] = {0};
        size_t extent_count = random_below(EXTENTS_MAX + 1);
        uint32_t count_max = 1 + (uint32_t)random_below(20);
        uint64_t more = 0;
        for (size_t i = 0; i < extent_count; i++) {
            extents[i].offset = random_below(BYTES);
            extents[i].length = random_below(1 + random_below(12));
            if (extents[i].length > BYTES - extents[i].offset)
                extents[i].length = BYTES - extents[i].offset;
            memset(bytes + extents[i].offset, 1, extents[i].length);
        }
        make(extents, extent_count, count_max);
        uint32_t wanted = runs_of(bytes) < count_max ? runs_of(bytes) : count_max;
        assert_int_equal(count, wanted);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(ranges[i].start < ranges[i].end && ranges[i].end <= BYTES);
            assert_true(i == 0 || ranges[i - 1].end < ranges[i].start);
            memset(covered + ranges[i].start, 1, ranges[i].end - ranges[i].start);
        }
        for (unsigned i = 0; i < BYTES; i++) {
            assert_true(covered[i] || !bytes[i]);
            more += covered[i] && !bytes[i];
        }
        assert_int_equal(more, cost_of(bytes, count_max));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(nothing_stays_nothing, teardown),
        cmocka_unit_test_teardown(they_are_sorted_and_joined, teardown),
        cmocka_unit_test_teardown(they_end_with_the_largest_offset, teardown),
        cmocka_unit_test_teardown(the_smallest_gaps_are_covered, teardown),
        cmocka_unit_test_teardown(random_ones_are_covered_at_the_least_cost, teardown),
    };
    return cmocka_run_group_tests_name("ranges", tests, NULL, NULL);
}
