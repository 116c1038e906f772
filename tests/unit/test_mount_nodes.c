/* SPDX-License-Identifier: Apache-2.0 */
/* What the mount knows of inodes and of positions in directories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "marks.h"
#include "nodes.h"

static struct nodes nodes;

static int setup(void **state)
{
    (void)state;
    nodes_init(&nodes);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    nodes_free(&nodes);
    return 0;
}

static void enter(uint64_t ino, uint64_t parent, const char *name)
{
    struct node_seen seen = {.ino = ino, .parent = parent, .name = name, .uid = 5, .mode = 0100644};
    assert_int_equal(nodes_enter(&nodes, &seen), 0);
}

static void a_node_stays_until_it_is_forgotten_as_often_as_told(void **state)
{
    struct node_place place;
    (void)state;
    enter(10, 1, "a");
    enter(10, 2, "b"); /* by another name: the latest counts */
    assert_true(nodes_place(&nodes, 10, &place));
    assert_int_equal(place.parent, 2);
    assert_string_equal(place.name, "b");
    assert_int_equal(place.uid, 5);
    nodes_rename(&nodes, 10, 3, "c");
    nodes_rename(&nodes, 11, 3, "nobody");
    assert_true(nodes_place(&nodes, 10, &place));
    assert_string_equal(place.name, "c");
    nodes_forget(&nodes, 10, 1);
    assert_int_equal(nodes_count(&nodes), 1);
    nodes_forget(&nodes, 10, 1);
    assert_int_equal(nodes_count(&nodes), 0);
    assert_false(nodes_place(&nodes, 10, &place));
    nodes_forget(&nodes, 10, 1); /* one too many does no harm */
}

static void count_it(void *arg, struct list_link *open)
{
    (void)open;
    ++*(int *)arg;
}

static void an_open_file_keeps_its_node(void **state)
{
    struct list_link open;
    struct node_place place;
    int held = 0;
    (void)state;
    list_link_init(&open);
    enter(10, 1, "a");
    assert_false(nodes_borrow(&nodes, 10, count_it, &held));
    assert_int_equal(nodes_attach(&nodes, 10, &open), 0);
    nodes_forget(&nodes, 10, 1);
    assert_true(nodes_place(&nodes, 10, &place));
    assert_true(nodes_borrow(&nodes, 10, count_it, &held));
    assert_int_equal(held, 1);
    nodes_detach(&nodes, 10, &open);
    assert_int_equal(nodes_count(&nodes), 0);
    /* Of one that was made by its opening there is no name yet. */
    assert_int_equal(nodes_attach(&nodes, 11, &open), 0);
    assert_false(nodes_place(&nodes, 11, &place));
    nodes_detach(&nodes, 11, &open);
}

static void contents_are_unchanged_only_when_size_and_time_are(void **state)
{
    (void)state;
    assert_false(nodes_unchanged(&nodes, 10, 5, 7));
    enter(10, 1, "a");
    assert_false(nodes_unchanged(&nodes, 10, 5, 7));
    assert_true(nodes_unchanged(&nodes, 10, 5, 7));
    assert_false(nodes_unchanged(&nodes, 10, 6, 7));
    assert_false(nodes_unchanged(&nodes, 10, 6, 8));
    assert_true(nodes_unchanged(&nodes, 10, 6, 8));
}

static const char *name_of(uint64_t position)
{
    static char name[32];
    snprintf(name, sizeof name, "name%08llu", (unsigned long long)position);
    return name;
}

static void expect(const struct marks *marks, uint64_t asked, uint64_t wanted)
{
    const char *name;
    assert_int_equal(marks_find(marks, asked, &name), wanted);
    assert_string_equal(name, wanted ? name_of(wanted) : "");
}

static void positions_lead_to_their_names(void **state)
{
    struct marks marks = {0};
    (void)state;
    expect(&marks, 0, 0);
    expect(&marks, 5, 0);
    for (uint64_t i = 1; i <= 100; i++)
        assert_int_equal(marks_add(&marks, name_of(i)), 0);
    for (uint64_t i = 0; i <= 100; i++)
        expect(&marks, i, i);
    expect(&marks, 101, 100);
    marks_cut(&marks, 60);
    expect(&marks, 80, 60);
    for (uint64_t i = 61; i <= 3 * MARKS_NEAR; i++)
        assert_int_equal(marks_add(&marks, name_of(i)), 0);
    expect(&marks, 3 * MARKS_NEAR, 3 * MARKS_NEAR);
    expect(&marks, 2 * MARKS_NEAR + 1, 2 * MARKS_NEAR + 1);
    expect(&marks, 2 * MARKS_NEAR, 2 * MARKS_NEAR);
    expect(&marks, 2 * MARKS_NEAR - 1, 2 * MARKS_NEAR - MARKS_STEP);
    expect(&marks, 10, 0);
    expect(&marks, MARKS_STEP + 10, MARKS_STEP);
    /* Back to where only some are known, and on from there. */
    marks_cut(&marks, 4 * MARKS_STEP);
    expect(&marks, 3 * MARKS_NEAR, 4 * MARKS_STEP);
    assert_int_equal(marks_add(&marks, name_of(4 * MARKS_STEP + 1)), 0);
    expect(&marks, 4 * MARKS_STEP + 1, 4 * MARKS_STEP + 1);
    expect(&marks, 4 * MARKS_STEP, 4 * MARKS_STEP);
    expect(&marks, 4 * MARKS_STEP - 1, 3 * MARKS_STEP);
    marks_free(&marks);
    expect(&marks, 3, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_node_stays_until_it_is_forgotten_as_often_as_told, setup, teardown),
        cmocka_unit_test_setup_teardown(an_open_file_keeps_its_node, setup, teardown),
        cmocka_unit_test_setup_teardown(contents_are_unchanged_only_when_size_and_time_are, setup, teardown),
        cmocka_unit_test(positions_lead_to_their_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
