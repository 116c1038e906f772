/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's progress thread, with a library and operations that are made up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "progress.h"

/* A second is long for what takes milliseconds, and the alarm ends what never ends. */
enum { PATIENCE_MS = 10000, ALARM_S = 60 };

static atomic_uint drives;
static atomic_bool any;            /* some operation is not at its end */
static atomic_bool is_taken;       /* by another thread, which finds it complete */
static atomic_uint_fast64_t ended; /* as the library counts */

static void pause_ms(unsigned ms)
{
    struct timespec time = {.tv_nsec = (long)ms * 1000000};
    nanosleep(&time, NULL);
}

int session_get(weft_session_t **session)
{
    static int one;
    *session = (weft_session_t *)&one;
    return 0;
}

int weft_drive(weft_session_t *session, int timeout_ms, uint64_t *seen)
{
    (void)session;
    (void)timeout_ms;
    if (*seen == ended)
        pause_ms(1);
    *seen = ended;
    drives++;
    return 0;
}

bool nonblocking_advance(void)
{
    return any || is_taken;
}

bool nonblocking_is_any(void)
{
    return any || is_taken;
}

static void wait_for_drives(unsigned more)
{
    const unsigned wanted = drives + more;
    for (unsigned ms = 0; drives < wanted; ms++) {
        assert_true(ms < PATIENCE_MS);
        pause_ms(1);
    }
}

static int setup(void **state)
{
    (void)state;
    alarm(ALARM_S);
    any = is_taken = false;
    ended = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    progress_end();
    alarm(0);
    return 0;
}

static void test_drives_while_there_is_something(void **state)
{
    (void)state;
    any = true;
    progress_begin();
    wait_for_drives(20);
    any = false;
    ended++;
    pause_ms(20);
    const unsigned then = drives;
    pause_ms(50);
    assert_int_equal(drives, then);
    /* And again, after it has gone to sleep. */
    pause_ms(150);
    any = true;
    progress_begin();
    wait_for_drives(5);
}

/* An operation ends while MPI's own thread has it; that takes it away without any more progress. */
static void test_what_is_taken_away_is_noticed(void **state)
{
    (void)state;
    any = true;
    progress_begin();
    wait_for_drives(3);
    is_taken = true;
    any = false;
    ended++;
    wait_for_drives(3);
    is_taken = false;
    pause_ms(20);
    const unsigned then = drives;
    pause_ms(50);
    assert_int_equal(drives, then);
}

/* Whatever is under way. */
static void test_ends_when_told(void **state)
{
    (void)state;
    any = true;
    progress_begin();
    wait_for_drives(3);
    progress_end();
    const unsigned then = drives;
    pause_ms(30);
    assert_int_equal(drives, then);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_drives_while_there_is_something),
        TEST(test_what_is_taken_away_is_noticed),
        TEST(test_ends_when_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
