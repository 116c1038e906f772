/* SPDX-License-Identifier: Apache-2.0 */
/* Which bytes a process has locked, by hand and against a model that knows each byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../libclient/posix/intervals.h"

/* Does what the plan says, with a number for each lock. */
static void change(struct px_intervals *set, uint64_t start, uint64_t end, enum px_wanted wanted)
{
    static intptr_t number;
    struct px_change plan;
    assert_true(px_intervals_plan(set, start, end, wanted, &plan));
    assert_true(px_intervals_reserve(set, plan.make.count));
    for (size_t i = 0; i < plan.drop.count; i++) {
        assert_non_null(plan.drop.items[i].lock);
        px_intervals_remove(set, &plan.drop.items[i]);
    }
    for (size_t i = 0; i < plan.make.count; i++) {
        assert_null(plan.make.items[i].lock);
        plan.make.items[i].lock = (void *)++number;
        px_intervals_add(set, &plan.make.items[i]);
    }
    px_change_free(&plan);
}

static void is(const struct px_intervals *set, size_t at, uint64_t start, uint64_t end, bool is_exclusive)
{
    assert_true(at < set->count);
    assert_int_equal(set->items[at].start, start);
    assert_int_equal(set->items[at].end, end);
    assert_int_equal(set->items[at].is_exclusive, is_exclusive);
}

static void a_hole_leaves_both_ends(void **state)
{
    struct px_intervals set = {0};
    (void)state;
    change(&set, 10, 30, PX_EXCLUSIVE);
    change(&set, 15, 20, PX_UNLOCKED);
    assert_int_equal(set.count, 2);
    is(&set, 0, 10, 15, true);
    is(&set, 1, 20, 30, true);
    change(&set, 0, UINT64_MAX, PX_UNLOCKED);
    assert_int_equal(set.count, 0);
    px_intervals_free(&set);
}

static void what_is_held_is_not_asked_for_again(void **state)
{
    struct px_intervals set = {0};
    struct px_change plan;
    (void)state;
    change(&set, 10, 20, PX_SHARED);
    change(&set, 30, 40, PX_SHARED);
    assert_true(px_intervals_plan(&set, 12, 18, PX_SHARED, &plan));
    assert_int_equal(plan.drop.count + plan.make.count, 0);
    px_change_free(&plan);
    assert_true(px_intervals_plan(&set, 0, 50, PX_SHARED, &plan));
    assert_int_equal(plan.drop.count, 0);
    assert_int_equal(plan.make.count, 3);
    is(&plan.make, 0, 0, 10, false);
    is(&plan.make, 1, 20, 30, false);
    is(&plan.make, 2, 40, 50, false);
    px_change_free(&plan);
    px_intervals_free(&set);
}

static void another_kind_takes_the_place(void **state)
{
    struct px_intervals set = {0};
    struct px_change plan;
    (void)state;
    change(&set, 0, 100, PX_SHARED);
    assert_true(px_intervals_plan(&set, 40, 60, PX_EXCLUSIVE, &plan));
    assert_int_equal(plan.drop.count, 1);
    assert_int_equal(plan.make.count, 3);
    assert_true(plan.make.items[0].is_rest && plan.make.items[1].is_rest && !plan.make.items[2].is_rest);
    px_change_free(&plan);
    change(&set, 40, 60, PX_EXCLUSIVE);
    assert_int_equal(set.count, 3);
    is(&set, 1, 40, 60, true);
    px_intervals_free(&set);
}

/* ---- against the model ------------------------------------------------------------ */

enum { BYTES = 64, TURNS = 20000 };

static void it_is_what_the_model_is(void **state)
{
    struct px_intervals set = {0};
    enum px_wanted model[BYTES] = {PX_UNLOCKED};
    const char *given = getenv("WEFT_TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    (void)state;
    print_message("WEFT_TEST_SEED=%u\n", seed);
    for (int turn = 0; turn < TURNS; turn++) {
        uint64_t start = (uint64_t)rand_r(&seed) % BYTES,
                 end = start + 1 + (uint64_t)rand_r(&seed) % (BYTES - start);
        enum px_wanted wanted = (enum px_wanted)(rand_r(&seed) % 3), seen[BYTES] = {PX_UNLOCKED};
        change(&set, start, end, wanted);
        for (uint64_t i = start; i < end; i++)
            model[i] = wanted;
        for (size_t i = 0; i < set.count; i++) {
            assert_true(set.items[i].start < set.items[i].end && set.items[i].end <= BYTES);
            assert_true(i == 0 || set.items[i - 1].end <= set.items[i].start);
            for (uint64_t k = set.items[i].start; k < set.items[i].end; k++)
                seen[k] = set.items[i].is_exclusive ? PX_EXCLUSIVE : PX_SHARED;
        }
        assert_memory_equal(seen, model, sizeof model);
    }
    px_intervals_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hole_leaves_both_ends),
        cmocka_unit_test(what_is_held_is_not_asked_for_again),
        cmocka_unit_test(another_kind_takes_the_place),
        cmocka_unit_test(it_is_what_the_model_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
