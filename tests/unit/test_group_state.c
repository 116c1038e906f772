/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What members of groups become: each line of the table in docs/replication.md, and then random courses in
 * which a model keeps which changes each member has: those that are current have all that were answered,
 * and the same.
 *
 *   WEFT_TEST_SEED=N  another course (the seed is printed)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "metadata/group_state.h"
#include "../integration/seed.h"

enum { C = MAP_MEMBER_CURRENT, L = MAP_MEMBER_LEAVING, S = MAP_MEMBER_STALE, Y = MAP_MEMBER_SYNCING };
enum { MEMBERS = 3, COURSES = 2000, STEPS = 60 };

static struct map *world;

static struct map_group *group(void)
{
    return &world->groups[0];
}

/* A group of so many members, each on a server of its own; the first leads. */
static void make(uint32_t count)
{
    map_unref(world);
    world = map_new(0, count, (uint32_t[LIMITS_GROUP_MEMBERS_MAX]){1, 1, 1, 1}, count, 1);
    assert_non_null(world);
    world->version = 10;
    group()->member_count = count;
    for (uint32_t i = 0; i < count; i++) {
        world->servers[i].state = world->targets[i].state = MAP_STATE_UP;
        world->targets[i].id = world->targets[i].server = i;
        group()->members[i] = i;
    }
}

static void down(uint32_t member)
{
    world->servers[member].state = world->targets[member].state = MAP_STATE_DOWN;
}

static void expect(uint32_t leader, const uint8_t *states)
{
    assert_int_equal(group()->leader, leader);
    assert_memory_equal(group()->states, states, group()->member_count);
}
#define EXPECT(leader, ...) expect(leader, (const uint8_t[]){__VA_ARGS__})

static int teardown(void **state)
{
    (void)state;
    map_unref(world);
    world = NULL;
    return 0;
}

static void alone_it_stays_what_it_is(void **state)
{
    (void)state;
    make(1);
    assert_false(group_state_lost(world, 0, 0));
    assert_false(group_state_doubtful(world, 0, 0));
    assert_false(group_state_failed(world, 0, 0));
    assert_false(group_state_rejoin(world, 0, 0));
    EXPECT(0, C);
    assert_int_equal(group()->changed, 0);
}

static void who_goes_silent_is_out_if_another_can_lead(void **state)
{
    (void)state;
    make(2);
    down(1);
    assert_true(group_state_lost(world, 0, 1));
    EXPECT(0, C, S);
    assert_int_equal(group()->changed, 10);
    down(0);
    assert_false(group_state_lost(world, 0, 0));
    EXPECT(0, C, S);

    make(2);
    down(0);
    assert_true(group_state_lost(world, 0, 0));
    EXPECT(1, S, C);

    /* Both at once: neither is known to have less. */
    make(2);
    down(0), down(1);
    assert_false(group_state_lost(world, 0, 0));
    assert_false(group_state_lost(world, 0, 1));
    EXPECT(0, C, C);
}

static void others_are_compared_with_a_new_leader(void **state)
{
    (void)state;
    make(3);
    down(0);
    assert_true(group_state_lost(world, 0, 0));
    EXPECT(1, S, C, Y);
}

static void who_does_not_have_all_is_out(void **state)
{
    (void)state;
    make(2);
    assert_true(group_state_doubtful(world, 0, 0));
    EXPECT(1, S, C);
    assert_true(group_state_rejoin(world, 0, 0));
    EXPECT(1, Y, C);
    /* The other one is not there: this goes on, and has what counts from now on. */
    make(2);
    down(1);
    assert_true(group_state_doubtful(world, 0, 0));
    EXPECT(0, C, S);
    assert_false(group_state_doubtful(world, 0, 0));
}

static void who_failed_leaves_in_two_steps(void **state)
{
    (void)state;
    make(2);
    assert_false(group_state_left(world, 0, 1));
    assert_true(group_state_failed(world, 0, 1));
    EXPECT(0, C, L);
    assert_false(group_state_failed(world, 0, 1));
    assert_true(group_state_left(world, 0, 1));
    EXPECT(0, C, S);
    assert_true(group_state_rejoin(world, 0, 1));
    EXPECT(0, C, Y);
    assert_true(group_state_failed(world, 0, 1));
    EXPECT(0, C, S);
    assert_true(group_state_rejoin(world, 0, 1));
    assert_true(group_state_synced(world, 0, 1));
    EXPECT(0, C, C);
    assert_false(group_state_synced(world, 0, 1));
}

static void who_leaves_leads_when_nobody_else_can(void **state)
{
    (void)state;
    make(2);
    assert_true(group_state_failed(world, 0, 1));
    down(0);
    assert_true(group_state_lost(world, 0, 0));
    EXPECT(1, S, C);
}

static void a_leader_that_fails_hands_over(void **state)
{
    (void)state;
    make(2);
    assert_true(group_state_failed(world, 0, 0));
    EXPECT(1, L, C);
    assert_false(group_state_failed(world, 0, 1));
    EXPECT(1, L, C);
    assert_true(group_state_left(world, 0, 0));
    EXPECT(1, S, C);
}

static void nobody_rejoins_who_is_not_there(void **state)
{
    (void)state;
    make(2);
    down(1);
    assert_true(group_state_lost(world, 0, 1));
    assert_false(group_state_rejoin(world, 0, 1));
    world->servers[1].state = world->targets[1].state = MAP_STATE_UP;
    down(0);
    assert_false(group_state_rejoin(world, 0, 1));
}

/* ---- random courses ----------------------------------------------------------- */

/* The changes that each member has, a bit for each, and those that were answered. */
static uint64_t has[MEMBERS], answered, next_change;
/* Its process runs, whatever the map says by now. */
static bool runs[MEMBERS];

/* The leader gives a change to all who are to have it, and answers; or it ends when some have it. */
static void change_something(bool ends)
{
    const uint32_t leader = group()->leader;
    const uint64_t change = next_change;
    bool all = true;
    if (!runs[leader] || world->servers[leader].state == MAP_STATE_DOWN)
        return;
    next_change <<= 1;
    for (uint32_t m = 0; m < MEMBERS; m++) {
        if (group()->states[m] == S || (ends && below(2)))
            continue;
        if (runs[m]) {
            has[m] |= change;
            continue;
        }
        /* The client asks again for what is not answered: that is another change. */
        all = false;
        if (!ends)
            group_state_failed(world, 0, m);
    }
    if (ends)
        runs[leader] = false;
    else if (all)
        answered |= change;
}

static void come_back(uint32_t m)
{
    const bool was_killed = !runs[m];
    runs[m] = true;
    world->servers[m].state = world->targets[m].state = MAP_STATE_UP;
    if (world->servers[group()->leader].state == MAP_STATE_DOWN)
        group_state_lost(world, 0, group()->leader);
    if (was_killed && m == group()->leader)
        group_state_doubtful(world, 0, m);
}

static void step(void)
{
    const uint32_t m = below(MEMBERS), leader = group()->leader;
    world->version++;
    switch (below(10)) {
    case 0:
    case 1:
        change_something(false);
        break;
    case 2:
        change_something(true);
        break;
    case 3:
        runs[m] = false;
        break;
    case 4:
        if (runs[m])
            break;
        down(m);
        group_state_lost(world, 0, m);
        break;
    case 5:
        come_back(m);
        break;
    case 6:
        if (runs[m] || world->servers[m].state == MAP_STATE_DOWN)
            group_state_left(world, 0, m);
        break;
    case 7:
        group_state_rejoin(world, 0, m);
        break;
    case 8:
        if (group()->states[m] != Y || !runs[m] || !runs[leader])
            break;
        has[m] = has[leader];
        assert_true(group_state_synced(world, 0, m));
        break;
    case 9:
        if (runs[leader])
            group_state_failed(world, 0, leader);
        break;
    }
}

static void check(void)
{
    const uint32_t leader = group()->leader;
    assert_int_equal(group()->states[leader], C);
    if (!runs[leader] || world->servers[leader].state == MAP_STATE_DOWN)
        return;
    for (uint32_t m = 0; m < MEMBERS; m++) {
        if (group()->states[m] != C)
            continue;
        assert_int_equal(answered & ~has[m], 0);
        assert_true(has[m] == has[leader] || !runs[m]);
    }
}

static void current_members_have_all_that_was_answered(void **state)
{
    (void)state;
    unsigned led[MEMBERS] = {0};
    random_state = seed_wanted();
    for (unsigned course = 0; course < COURSES; course++) {
        make(MEMBERS);
        memset(has, 0, sizeof has);
        memset(runs, true, sizeof runs);
        answered = 0;
        next_change = 1;
        for (unsigned i = 0; i < STEPS; i++) {
            step();
            check();
            led[group()->leader]++;
        }
    }
    for (uint32_t m = 0; m < MEMBERS; m++)
        assert_true(led[m] > COURSES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone_it_stays_what_it_is),
        cmocka_unit_test(who_goes_silent_is_out_if_another_can_lead),
        cmocka_unit_test(others_are_compared_with_a_new_leader),
        cmocka_unit_test(who_does_not_have_all_is_out),
        cmocka_unit_test(who_failed_leaves_in_two_steps),
        cmocka_unit_test(who_leaves_leads_when_nobody_else_can),
        cmocka_unit_test(a_leader_that_fails_hands_over),
        cmocka_unit_test(nobody_rejoins_who_is_not_there),
        cmocka_unit_test(current_members_have_all_that_was_answered),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
