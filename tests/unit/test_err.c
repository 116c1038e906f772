/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "err.h"
#include "weft_limits.h"

static int clear(void **state)
{
    (void)state;
    err_clear();
    return 0;
}

static void nothing_failed_yet(void **state)
{
    (void)state;
    assert_string_equal(err_text(), "");
}

static void set_records_and_returns(void **state)
{
    (void)state;
    assert_int_equal(err_set(-ENOENT, "no server named %s in %d", "s9", 7), -ENOENT);
    assert_string_equal(err_text(), "no server named s9 in 7");
    err_clear();
    assert_string_equal(err_text(), "");
}

static void set_may_quote_the_latest_text(void **state)
{
    (void)state;
    err_set(-EIO, "the disk is gone");
    err_set(-EIO, "chunk 3: %s (%s)", err_text(), err_text());
    assert_string_equal(err_text(), "chunk 3: the disk is gone (the disk is gone)");
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    char text[2 * LIMITS_ERROR_TEXT_MAX];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    err_set(-EIO, "%s", text);
    assert_int_equal(strlen(err_text()), LIMITS_ERROR_TEXT_MAX);
    errno = EIO;
    err_sys("%s", text);
    assert_int_equal(strlen(err_text()), LIMITS_ERROR_TEXT_MAX);
    err_prefix(-EIO, text);
    assert_int_equal(strlen(err_text()), LIMITS_ERROR_TEXT_MAX);
    assert_memory_equal(err_text(), text, LIMITS_ERROR_TEXT_MAX);
}

static void sys_adds_the_meaning_of_errno(void **state)
{
    (void)state;
    errno = ENOSPC;
    assert_int_equal(err_sys("cannot write %s", "t0"), -ENOSPC);
    assert_string_equal(err_text(), "cannot write t0: No space left on device");
    errno = 0; /* a caller's mistake must not make a success of it */
    assert_int_equal(err_sys("cannot write"), -EIO);
}

static void prefix_goes_in_front(void **state)
{
    (void)state;
    err_set(-EINVAL, "offset is too large");
    assert_int_equal(err_prefix(-EINVAL, "weft_file_read"), -EINVAL);
    assert_string_equal(err_text(), "weft_file_read: offset is too large");
}

static void names_are_meanings(void **state)
{
    (void)state;
    assert_string_equal(err_name(-ETIMEDOUT), "Connection timed out");
    assert_string_equal(err_name(0), "Success");
    assert_string_equal(err_name(ETIMEDOUT), "unknown error");
    assert_string_equal(err_name(-99999), "unknown error");
    assert_string_equal(err_name(INT32_MIN), "unknown error");
}

static void wire_numbers_become_errors(void **state)
{
    (void)state;
    assert_int_equal(err_from_wire(0), 0);
    assert_int_equal(err_from_wire(2), -ENOENT);
    assert_int_equal(err_from_wire(110), -ETIMEDOUT);
    assert_int_equal(err_from_wire(133), -EHWPOISON); /* the last that Linux has */
    assert_int_equal(err_from_wire(134), -EPROTO);
    assert_int_equal(err_from_wire(41), -EPROTO); /* a gap */
    assert_int_equal(err_from_wire(-2), -EPROTO);
    assert_int_equal(err_from_wire(INT32_MIN), -EPROTO);
    assert_int_equal(err_from_wire(INT32_MAX), -EPROTO);
}

static void *other_thread(void *arg)
{
    (void)arg;
    int clean = err_text()[0] == '\0';
    err_set(-EIO, "the other thread's");
    return (void *)(intptr_t)clean;
}

static void texts_are_the_threads_own(void **state)
{
    (void)state;
    pthread_t thread;
    void *clean;
    err_set(-EIO, "mine");
    assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
    assert_int_equal(pthread_join(thread, &clean), 0);
    assert_true((intptr_t)clean);
    assert_string_equal(err_text(), "mine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_failed_yet),
        cmocka_unit_test_setup(set_records_and_returns, clear),
        cmocka_unit_test_setup(set_may_quote_the_latest_text, clear),
        cmocka_unit_test_setup(long_texts_are_cut, clear),
        cmocka_unit_test_setup(sys_adds_the_meaning_of_errno, clear),
        cmocka_unit_test_setup(prefix_goes_in_front, clear),
        cmocka_unit_test_setup(names_are_meanings, clear),
        cmocka_unit_test_setup(wire_numbers_become_errors, clear),
        cmocka_unit_test_setup(texts_are_the_threads_own, clear),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
