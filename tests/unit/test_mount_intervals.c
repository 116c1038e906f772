/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of locks: by hand, and random ones against a map of bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "intervals.h"

enum { BYTES = 64, ROUNDS = 20000 };

static void check(const struct intervals *set, size_t i, uint64_t start, uint64_t end, bool exclusive)
{
    assert_true(i < set->count);
    assert_int_equal(set->items[i].start, start);
    assert_int_equal(set->items[i].end, end);
    assert_int_equal(set->items[i].exclusive, exclusive);
}

static void a_range_splits_and_joins(void **state)
{
    (void)state;
    struct intervals set = {0};
    assert_int_equal(intervals_set(&set, 0, 100, false), 0);
    assert_int_equal(intervals_set(&set, 40, 60, true), 0);
    assert_int_equal(set.count, 3);
    check(&set, 0, 0, 40, false);
    check(&set, 1, 40, 60, true);
    check(&set, 2, 60, 100, false);
    assert_int_equal(intervals_set(&set, 60, 70, true), 0);
    assert_int_equal(set.count, 3);
    check(&set, 1, 40, 70, true);
    assert_int_equal(intervals_set(&set, 40, 70, false), 0);
    assert_int_equal(set.count, 1);
    check(&set, 0, 0, 100, false);
    assert_int_equal(intervals_clear(&set, 10, 20), 0);
    assert_int_equal(set.count, 2);
    assert_null(intervals_find(&set, 10, 20, false));
    assert_null(intervals_find(&set, 0, 100, true));
    assert_ptr_equal(intervals_find(&set, 5, 50, false), &set.items[0]);
    assert_int_equal(intervals_set(&set, 7, 7, true), 0); /* empty */
    assert_int_equal(set.count, 2);
    intervals_free(&set);
    assert_int_equal(set.count, 0);
}

/* As many bytes: 0 free, 1 shared, 2 exclusive. */
static void compare(const struct intervals *set, const char map[BYTES])
{
    char made[BYTES] = {0};
    for (size_t i = 0; i < set->count; i++) {
        const struct interval *item = &set->items[i];
        assert_true(item->start < item->end && item->end <= BYTES);
        if (i > 0) /* in order, and joined */
            assert_true(item[-1].end < item->start ||
                        (item[-1].end == item->start && item[-1].exclusive != item->exclusive));
        memset(made + item->start, item->exclusive ? 2 : 1, item->end - item->start);
    }
    assert_memory_equal(made, map, BYTES);
}

static void random_ones_are_as_a_map_of_bytes(void **state)
{
    (void)state;
    struct intervals set = {0};
    char map[BYTES] = {0};
    srandom(7);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t start = (uint64_t)random() % BYTES, end = start + (uint64_t)random() % (BYTES - start + 1);
        int kind = (int)(random() % 3);
        assert_int_equal(
            kind ? intervals_set(&set, start, end, kind == 2) : intervals_clear(&set, start, end), 0);
        memset(map + start, kind, end - start);
        compare(&set, map);
        start = (uint64_t)random() % BYTES;
        end = start + (uint64_t)random() % (BYTES - start + 1);
        bool any = false, exclusive = false;
        for (uint64_t at = start; at < end; at++) {
            any |= map[at] != 0;
            exclusive |= map[at] == 2;
        }
        assert_int_equal(intervals_find(&set, start, end, false) != NULL, any);
        assert_int_equal(intervals_find(&set, start, end, true) != NULL, exclusive);
    }
    intervals_free(&set);
}

static void two_sets_meet_where_they_share_a_byte(void **state)
{
    (void)state;
    struct intervals a = {0}, b = {0};
    assert_int_equal(intervals_set(&a, 0, 10, true), 0);
    assert_int_equal(intervals_set(&a, 20, 30, true), 0);
    assert_false(intervals_meet(&a, &b));
    assert_int_equal(intervals_set(&b, 10, 20, false), 0);
    assert_false(intervals_meet(&a, &b));
    assert_int_equal(intervals_set(&b, 29, 31, false), 0);
    assert_true(intervals_meet(&a, &b));
    intervals_free(&a);
    intervals_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_splits_and_joins),
        cmocka_unit_test(random_ones_are_as_a_map_of_bytes),
        cmocka_unit_test(two_sets_meet_where_they_share_a_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
