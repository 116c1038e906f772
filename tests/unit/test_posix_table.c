/* SPDX-License-Identifier: Apache-2.0 */
/* Which descriptors are Weft's: counts, copies, and threads that close what others look up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "../../libclient/posix/table.h"

static atomic_int ended;

/* In the place of open.c's. */
void px_desc_end(struct px_desc *desc)
{
    (void)desc;
    atomic_fetch_add(&ended, 1);
}

static int count_before;

static int setup(void **state)
{
    (void)state;
    count_before = atomic_load(&ended);
    return 0;
}

static int ended_now(void)
{
    return atomic_load(&ended) - count_before;
}

static void copies_share_a_description(void **state)
{
    (void)state;
    struct px_desc *desc = px_desc_new();
    assert_true(px_table_is_empty());
    assert_true(px_table_set(5, desc));
    assert_true(px_table_set(2000, desc));
    px_desc_put(desc);
    assert_false(px_table_is_empty());
    assert_true(px_table_has(5) && px_table_has(2000));
    assert_false(px_table_has(6) || px_table_has(-1) || px_table_has(1 << 29));
    struct px_desc *found = px_desc_get(2000);
    assert_ptr_equal(found, desc);
    assert_true(px_table_set(5, NULL));
    assert_true(px_table_set(2000, NULL));
    assert_int_equal(ended_now(), 0); /* a call still uses it */
    px_desc_put(found);
    assert_int_equal(ended_now(), 1);
    assert_null(px_desc_get(5));
    assert_true(px_table_is_empty());
}

static void another_takes_the_place(void **state)
{
    (void)state;
    struct px_desc *first = px_desc_new(), *second = px_desc_new();
    px_table_set(7, first);
    px_desc_put(first);
    px_table_set(7, second);
    px_desc_put(second);
    assert_int_equal(ended_now(), 1);
    struct px_desc *found = px_desc_get(7);
    assert_ptr_equal(found, second);
    px_desc_put(found);
    px_table_set(7, NULL);
    assert_int_equal(ended_now(), 2);
}

static void marks_are_not_ours(void **state)
{
    (void)state;
    px_table_mark(9, PX_MARK_EPOLL);
    assert_int_equal(px_table_is_marked(9), PX_MARK_EPOLL);
    assert_false(px_table_has(9));
    assert_null(px_desc_get(9));
    assert_int_equal(px_table_is_marked(10), PX_MARK_NONE);
    px_table_unmark(9);
    assert_int_equal(px_table_is_marked(9), PX_MARK_NONE);
    assert_false(px_table_set(-1, NULL) && px_table_is_marked(-1));
}

enum { FDS = 8, TURNS = 200000 };
static atomic_bool is_over;

static void *look(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    while (!atomic_load(&is_over)) {
        int fd = 20 + (int)((unsigned)rand_r(&seed) % FDS);
        struct px_desc *desc = px_desc_get(fd);
        /* Whoever gets one gets one that is alive. */
        if (desc && (atomic_load(&desc->count) < 1 || desc->kind != PX_FILE))
            abort();
        px_desc_put(desc);
    }
    return NULL;
}

static void threads_never_meet_a_dead_one(void **state)
{
    pthread_t threads[2];
    unsigned seed = 7;
    (void)state;
    for (uintptr_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, look, (void *)(i + 1)), 0);
    for (int turn = 0; turn < TURNS; turn++) {
        struct px_desc *desc = px_desc_new();
        px_table_set(20 + (int)((unsigned)rand_r(&seed) % FDS), desc);
        px_desc_put(desc);
    }
    for (int fd = 20; fd < 20 + FDS; fd++)
        px_table_set(fd, NULL);
    atomic_store(&is_over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(ended_now(), TURNS);
    assert_true(px_table_is_empty());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(copies_share_a_description, setup),
        cmocka_unit_test_setup(another_takes_the_place, setup),
        cmocka_unit_test_setup(marks_are_not_ours, setup),
        cmocka_unit_test_setup(threads_never_meet_a_dead_one, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
