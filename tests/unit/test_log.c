/* SPDX-License-Identifier: Apache-2.0 */
/* The logger writes to stderr, so each test puts a file in its place. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "log.h"

#define CAPTURED_MAX (1 << 20)

static FILE *capture;
static int real_stderr;
static char captured[CAPTURED_MAX];

static int capture_begin(void **state)
{
    (void)state;
    unsetenv("JOURNAL_STREAM");
    capture = tmpfile();
    if (!capture)
        return -1;
    fflush(stderr);
    real_stderr = dup(STDERR_FILENO);
    dup2(fileno(capture), STDERR_FILENO);
    return 0;
}

static int capture_end(void **state)
{
    (void)state;
    dup2(real_stderr, STDERR_FILENO);
    close(real_stderr);
    fclose(capture);
    unsetenv("JOURNAL_STREAM");
    return 0;
}

static const char *logged(void)
{
    rewind(capture);
    size_t length = fread(captured, 1, sizeof captured - 1, capture);
    captured[length] = '\0';
    return captured;
}

static void expect_match(const char *text, const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    if (!found)
        fail_msg("\"%s\" does not match %s", text, pattern);
}

/* Must run first: nothing has been set up. */
static void without_init_warnings_are_seen(void **state)
{
    (void)state;
    log_info("not this");
    log_warn("but this");
    assert_null(strstr(logged(), "not this"));
    expect_match(captured, "weft: warn: but this\n$");
}

static void a_line_has_time_name_and_level(void **state)
{
    (void)state;
    log_init("weft-storaged s0", LOG_LEVEL_INFO);
    log_info("serving %d targets", 4);
    expect_match(logged(), "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z "
                           "weft-storaged s0: info: serving 4 targets\n$");
}

static void levels_hold_back_what_is_below(void **state)
{
    (void)state;
    static const char *const words[] = {"an-error", "a-warning", "an-info", "a-debug"};
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        assert_int_equal(ftruncate(fileno(capture), 0), 0);
        lseek(STDERR_FILENO, 0, SEEK_SET);
        log_init("test", (enum log_level)level);
        log_error("%s", words[0]);
        log_warn("%s", words[1]);
        log_info("%s", words[2]);
        log_debug("%s", words[3]);
        logged();
        for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++)
            assert_int_equal(strstr(captured, words[i]) != NULL, i <= level);
    }
}

static void a_message_is_one_line(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_INFO);
    log_info("first\nsecond\ttab\x1b[31mred\x7f, caf\xc3\xa9");
    expect_match(logged(), "info: first second tab\\?\\[31mred\\?, caf\xc3\xa9\n$");
    assert_ptr_equal(strchr(captured, '\n'), captured + strlen(captured) - 1);
}

static void long_messages_are_cut_and_say_so(void **state)
{
    (void)state;
    static char text[100000];
    memset(text, 'y', sizeof text - 1);
    log_init("test", LOG_LEVEL_INFO);
    log_info("%s", text);
    assert_in_range(strlen(logged()), 1000, 4096);
    expect_match(captured, "yyy\\.\\.\\.\n$");
    assert_ptr_equal(strchr(captured, '\n'), captured + strlen(captured) - 1);
}

static void say_where_the_journal_is(ino_t inode_offset)
{
    struct stat stat;
    char stream[64];
    assert_int_equal(fstat(STDERR_FILENO, &stat), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)stat.st_dev,
             (unsigned long long)(stat.st_ino + inode_offset));
    setenv("JOURNAL_STREAM", stream, 1);
}

static void the_journal_gets_priorities(void **state)
{
    (void)state;
    say_where_the_journal_is(0);
    log_init("test", LOG_LEVEL_DEBUG);
    log_error("e");
    log_warn("w");
    log_info("i");
    log_debug("d");
    assert_string_equal(logged(), "<3>test: e\n<4>test: w\n<6>test: i\n<7>test: d\n");
}

static void another_ones_journal_gets_nothing(void **state)
{
    (void)state;
    say_where_the_journal_is(1);
    log_init("test", LOG_LEVEL_DEBUG);
    log_error("e");
    expect_match(logged(), "^20.*Z test: error: e\n$");
    setenv("JOURNAL_STREAM", "nonsense", 1);
    log_init("test", LOG_LEVEL_DEBUG);
    log_error("f");
    expect_match(logged(), "Z test: error: f\n$");
}

static void errno_survives(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_INFO);
    close(STDERR_FILENO); /* so that the write fails */
    errno = ENOSPC;
    log_error("nobody hears this");
    int after = errno;
    dup2(fileno(capture), STDERR_FILENO);
    assert_int_equal(after, ENOSPC);
}

static void *write_lines(void *arg)
{
    for (int i = 0; i < 1000; i++)
        log_info("%s %04d end", (const char *)arg, i);
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    static char *const names[] = {"aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccccc"};
    pthread_t threads[3];
    unsigned lines = 0;
    log_init("test", LOG_LEVEL_INFO);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    logged();
    char *rest = captured;
    for (char *line; (line = strsep(&rest, "\n")) && *line; lines++)
        expect_match(line, "^20[^ ]*Z test: info: (a{20}|b{20}|c{20}) [0-9]{4} end$");
    assert_int_equal(lines, 3000);
}

static void levels_have_words(void **state)
{
    (void)state;
    enum log_level level = LOG_LEVEL_ERROR;
    assert_int_equal(log_level_parse("debug", &level), 0);
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_int_equal(log_level_parse("error", &level), 0);
    assert_int_equal(level, LOG_LEVEL_ERROR);
    assert_int_equal(log_level_parse("warn", &level), 0);
    assert_int_equal(level, LOG_LEVEL_WARN);
    assert_int_equal(log_level_parse("info", &level), 0);
    assert_int_equal(level, LOG_LEVEL_INFO);
    assert_int_equal(log_level_parse("loud", &level), -EINVAL);
    assert_non_null(strstr(err_text(), "loud"));
    assert_int_equal(log_level_parse("", &level), -EINVAL);
    assert_int_equal(level, LOG_LEVEL_INFO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_init_warnings_are_seen, capture_begin, capture_end),
        cmocka_unit_test_setup_teardown(a_line_has_time_name_and_level, capture_begin, capture_end),
        cmocka_unit_test_setup_teardown(levels_hold_back_what_is_below, capture_begin, capture_end),
        cmocka_unit_test_setup_teardown(a_message_is_one_line, capture_begin, capture_end),
        cmocka_unit_test_setup_teardown(long_messages_are_cut_and_say_so, capture_begin, capture_end),
        cmocka_unit_test_setup_teardown(the_journal_gets_priorities, capture_begin, capture_end),
        cmocka_unit_test_setup_teardown(another_ones_journal_gets_nothing, capture_begin, capture_end),
        cmocka_unit_test_setup_teardown(errno_survives, capture_begin, capture_end),
        cmocka_unit_test_setup_teardown(lines_of_threads_do_not_mix, capture_begin, capture_end),
        cmocka_unit_test(levels_have_words),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
