/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of faults on purpose: what a file may say and what is refused, which operations a rule fits, how
 * often it is made, and that a file that changes is read again. What the faults do is tested in
 * test_cs_io_faults.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "err.h"
#include "storage/chunks/cs_faults.h"

enum { DEADLINE_MS = 20000 };

static char dir[160], path[200], log_path[200];
static struct cs_fault_rules rules;
static struct cs_faults *faults;

static int make_dir(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    char template[128];
    snprintf(template, sizeof template, "%.90s/weft-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(template) || !realpath(template, dir))
        return -1;
    snprintf(path, sizeof path, "%s/faults.conf", dir);
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    memset(&rules, 0, sizeof rules);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    cs_faults_close(faults);
    faults = NULL;
    unlink(path);
    unlink(log_path);
    return rmdir(dir);
}

/* As a whole: nobody finds a half of it. */
static void write_rules(const char *text)
{
    char other[220];
    snprintf(other, sizeof other, "%s.new", path);
    FILE *file = fopen(other, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(other, path), 0);
}

static void refused(const char *text, unsigned line, const char *why)
{
    char place[240];
    const struct cs_fault_rules before = rules;
    write_rules(text);
    assert_int_equal(cs_fault_rules_read(path, &rules), -EINVAL);
    snprintf(place, sizeof place, "%s:%u: ", path, line);
    if (strncmp(err_text(), place, strlen(place)) != 0 || !strstr(err_text(), why))
        fail_msg("\"%s\" does not begin with \"%s\" or lacks \"%s\"", err_text(), place, why);
    assert_memory_equal(&rules, &before, sizeof rules);
}

static void accepted(const char *text)
{
    write_rules(text);
    if (cs_fault_rules_read(path, &rules))
        fail_msg("%s", err_text());
}

/* ---- the file ----------------------------------------------------------- */

static void test_all_that_a_rule_can_say(void **state)
{
    (void)state;
    char text[CS_FAULT_RULE_TEXT];
    accepted("faults = (\n"
             "  { on = \"read\"; file = \"data\"; fault = \"eio\"; target = 3; shard = 0; one_in = 100; seed "
             "= 7; },\n"
             "  { on = \"write\"; fault = \"delay\"; ms = 20; },\n"
             "  { on = \"grow\"; fault = \"enospc\"; file = \"meta\"; times = 2; },\n"
             "  { on = \"write\"; fault = \"torn\"; file = \"log\"; } );\n");
    assert_int_equal(rules.count, 4);
    const struct cs_fault_rule *rule = rules.list;
    assert_int_equal(rule->on, CS_ON_READ);
    assert_int_equal(rule->fault, CS_FAULT_EIO);
    assert_int_equal(rule->files, 1 << CS_DATA);
    assert_true(rule->of_target && rule->of_shard);
    assert_int_equal(rule->target, 3);
    assert_int_equal(rule->shard, 0);
    assert_int_equal(rule->one_in, 100);
    assert_int_equal(rule->seed, 7);
    cs_fault_rule_text(rule, text);
    assert_string_equal(text, "read of data, target 3, shard 0: eio, one in 100, seed 7");
    rule++;
    assert_int_equal(rule->fault, CS_FAULT_DELAY);
    assert_int_equal(rule->ms, 20);
    assert_int_equal(rule->files, (1 << CS_FILES) - 1);
    assert_int_equal(rule->one_in, 1);
    assert_false(rule->of_target || rule->of_shard);
    cs_fault_rule_text(rule, text);
    assert_string_equal(text, "write of any file: delay of 20 ms");
    rule++;
    assert_int_equal(rule->files, 1 << CS_META);
    cs_fault_rule_text(rule, text);
    assert_string_equal(text, "grow of meta: enospc, 2 times");
    rule++;
    assert_int_equal(rule->files, 1 << CS_LOG | 1 << CS_LOG_OTHER);
    accepted("faults = ( );");
    assert_int_equal(rules.count, 0);
}

/* Each fault, with the operations that it is one of, and refused with all others. */
static void test_faults_and_operations(void **state)
{
    (void)state;
    static const char *const on[] = {"read", "write", "flush", "grow"};
    static const struct {
        const char *name;
        enum cs_fault fault;
        unsigned fits;
    } all[] = {
        {"eio", CS_FAULT_EIO, 15},  {"enospc", CS_FAULT_ENOSPC, 8}, {"short", CS_FAULT_SHORT, 2},
        {"lost", CS_FAULT_LOST, 2}, {"torn", CS_FAULT_TORN, 2},     {"misdirected", CS_FAULT_MISDIRECTED, 2},
        {"flip", CS_FAULT_FLIP, 1}, {"delay", CS_FAULT_DELAY, 15},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        for (unsigned k = 0; k < 4; k++) {
            char text[200];
            snprintf(text, sizeof text, "faults = ( { on = \"%s\"; fault = \"%s\"; %s } );", on[k],
                     all[i].name, all[i].fault == CS_FAULT_DELAY ? "ms = 1;" : "");
            if (!(all[i].fits >> k & 1)) {
                refused(text, 1, "is no fault of a ");
                continue;
            }
            accepted(text);
            assert_int_equal(rules.list[0].on, k);
            assert_int_equal(rules.list[0].fault, all[i].fault);
            assert_string_equal(cs_fault_name(all[i].fault), all[i].name);
        }
}

static void test_wrong_files(void **state)
{
    (void)state;
#define GOOD "on = \"read\"; fault = \"eio\"; "
    accepted("faults = ( { " GOOD " } );");
    refused("", 1, "the setting \"faults\" is missing");
    refused("faults = 3;", 1, "must be a list of groups");
    refused("faults = ( 3 );", 1, "must be a group");
    refused("\nfault = ( );", 2, "the nearest known one is \"faults\"");
    refused("faults = ( {\n" GOOD "\nonce = 1; } );", 3, "unknown setting; the nearest known one is \"on");
    refused("faults = (\n { fault = \"eio\"; } );", 2, "the setting \"on\" is missing");
    refused("faults = (\n { on = \"read\"; } );", 2, "the setting \"fault\" is missing");
    refused("faults = ( { on = \"erase\"; fault = \"eio\"; } );", 1, "\"erase\" is no operation");
    refused("faults = ( { on = \"read\"; fault = \"none\"; } );", 1, "\"none\" is no fault; write \"eio\"");
    refused("faults = ( { on = 1; fault = \"eio\"; } );", 1, "must be a string");
    refused("faults = ( { " GOOD "\n file = \"log-0\"; } );", 2, "\"log-0\" is no file of a store");
    refused("faults = ( { " GOOD "\n one_in = 0; } );", 2, "0 is not from 1 to");
    refused("faults = ( { " GOOD "\n times = 0; } );", 2, "0 is not from 1 to");
    refused("faults = ( { " GOOD "\n seed = -1; } );", 2, "-1 is not from 0 to");
    refused("faults = ( { " GOOD "\n shard = \"all\"; } );", 2, "must be a whole number");
    refused("faults = ( { " GOOD "\n target = 4294967296; } );", 2, "4294967296 is not from 0 to");
    refused("faults = ( { " GOOD "\n ms = 5; } );", 2, "only a \"delay\" takes time");
    refused("faults = ( {\n on = \"read\"; fault = \"delay\"; } );", 1, "the setting \"ms\" is missing");
    refused("faults = ( { on = \"read\"; fault = \"delay\";\n ms = 60001; } );", 2,
            "60001 is not from 1 to 60000");
    refused("faults = (\n\n { on = \"read\" fault } );", 3, "");
    refused("@include \"other\"\n", 1, "@include is not supported");
    char many[4096] = "faults = ( ";
    for (int i = 0; i <= CS_FAULT_RULES_MAX; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "%s{ " GOOD "}", i ? ", " : "");
    snprintf(many + strlen(many), sizeof many - strlen(many), " );");
    refused(many, 1, "has 65 rules; the most is 64");
    unlink(path);
    assert_int_equal(cs_fault_rules_read(path, &rules), -ENOENT);
    assert_int_equal(cs_fault_rules_read(dir, &rules), -EINVAL);
    assert_int_equal(rules.count, 1); /* those of the good one, at the beginning */
}

/* ---- which operations, and how many ------------------------------------- */

static void open_with(const char *text)
{
    write_rules(text);
    assert_int_equal(cs_faults_open(path, &faults), 0);
}

static const struct cs_fault_place here = {.target = 3, .shard = 1, .on = CS_ON_READ, .file = CS_DATA};

static void test_a_rule_fits_its_place_alone(void **state)
{
    (void)state;
    open_with("faults = ( { on = \"read\"; fault = \"eio\"; target = 3; shard = 1; file = \"data\"; } );");
    struct cs_fault_draw draw = cs_faults_draw(faults, &here);
    assert_int_equal(draw.fault, CS_FAULT_EIO);
    assert_int_equal(draw.made, 1);
    assert_int_equal(draw.ms, 0);
    struct cs_fault_place others[4] = {here, here, here, here};
    others[0].target = 2;
    others[1].shard = 0;
    others[2].on = CS_ON_WRITE;
    others[3].file = CS_META;
    for (int i = 0; i < 4; i++) {
        draw = cs_faults_draw(faults, &others[i]);
        assert_int_equal(draw.fault, CS_FAULT_NONE);
        assert_int_equal(draw.made, 0);
    }
}

static void test_one_fault_and_all_delays(void **state)
{
    (void)state;
    open_with("faults = ( { on = \"read\"; fault = \"delay\"; ms = 5; }, { on = \"read\"; fault = \"flip\"; "
              "times = 1; },"
              " { on = \"read\"; fault = \"eio\"; times = 2; }, { on = \"read\"; fault = \"delay\"; ms = 7; "
              "times = 1; } );");
    assert_true(cs_faults_may_wait(faults, &here));
    struct cs_fault_draw draw = cs_faults_draw(faults, &here);
    assert_int_equal(draw.fault, CS_FAULT_FLIP);
    assert_int_equal(draw.ms, 12);
    assert_int_equal(draw.made, 3);
    for (int i = 0; i < 2; i++) {
        draw = cs_faults_draw(faults, &here);
        assert_int_equal(draw.fault, CS_FAULT_EIO);
        assert_int_equal(draw.ms, 5);
    }
    draw = cs_faults_draw(faults, &here);
    assert_int_equal(draw.fault, CS_FAULT_NONE);
    assert_int_equal(draw.made, 1);
    struct cs_fault_place other = here;
    other.on = CS_ON_GROW;
    assert_false(cs_faults_may_wait(faults, &other));
}

/* One in a hundred are about that, other ones with another seed, and the same ones with the same. */
static void test_one_in_a_hundred(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    static bool made[3][DRAWS];
    static const char *const seeds[] = {"7", "7", "8"};
    unsigned count[3] = {0}, different = 0;
    for (int round = 0; round < 3; round++) {
        char text[200];
        snprintf(text, sizeof text,
                 "faults = ( { on = \"read\"; fault = \"eio\"; one_in = 100; seed = %s; } );", seeds[round]);
        open_with(text);
        for (int i = 0; i < DRAWS; i++) {
            made[round][i] = cs_faults_draw(faults, &here).fault == CS_FAULT_EIO;
            count[round] += made[round][i];
        }
        cs_faults_close(faults);
        faults = NULL;
        assert_in_range(count[round], DRAWS / 100 / 2, DRAWS / 100 * 2);
    }
    assert_memory_equal(made[0], made[1], sizeof made[0]);
    for (int i = 0; i < DRAWS; i++)
        different += made[0][i] != made[2][i];
    assert_true(different > DRAWS / 100);
}

/* ---- a file that changes ------------------------------------------------ */

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void wait_for(enum cs_fault fault)
{
    const int64_t until = now_ms() + DEADLINE_MS;
    while (cs_faults_draw(faults, &here).fault != fault) {
        assert_true(now_ms() < until);
        usleep(10000);
    }
}

static unsigned lines_with(const char *text)
{
    char line[1000];
    unsigned count = 0;
    FILE *file = fopen(log_path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        count += strstr(line, text) != NULL;
    fclose(file);
    return count;
}

static void test_a_file_that_changes(void **state)
{
    (void)state;
    const int standard_error = dup(2);
    assert_non_null(freopen(log_path, "w", stderr));
    setvbuf(stderr, NULL, _IOLBF, 0);
    assert_int_equal(cs_faults_open(path, &faults), 0);
    assert_int_equal(cs_faults_draw(faults, &here).fault, CS_FAULT_NONE);
    write_rules("faults = ( { on = \"read\"; fault = \"eio\"; } );");
    wait_for(CS_FAULT_EIO);
    assert_int_equal(lines_with("1 rule from now on"), 1);
    assert_int_equal(lines_with("rule 1: read of any file: eio"), 1);
    /* A wrong one is told of, and changes nothing; it is looked at more than once. */
    write_rules("faults = ( { on = \"read\"; } );");
    const int64_t until = now_ms() + DEADLINE_MS;
    while (!lines_with("the setting \"fault\" is missing")) {
        assert_true(now_ms() < until);
        usleep(10000);
    }
    usleep(2500000);
    assert_int_equal(lines_with("the rules stay as they are: "), 1);
    assert_int_equal(cs_faults_draw(faults, &here).fault, CS_FAULT_EIO);
    /* Two in a row of the same length, the second in place: it can't be told by its size. */
    write_rules("faults = ( { on = \"read\"; fault = \"eio\"; times = 1; } );");
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_true(fputs("faults = ( { on = \"read\"; fault = \"flip\"; one_in = 1;});", file) >= 0);
    assert_int_equal(fclose(file), 0);
    wait_for(CS_FAULT_FLIP);
    assert_int_equal(unlink(path), 0);
    wait_for(CS_FAULT_NONE);
    assert_int_equal(lines_with("0 rules from now on"), 1);
    dup2(standard_error, 2);
    close(standard_error);
}

static void *sleep_long(void *arg)
{
    (void)arg;
    cs_faults_sleep(faults, CS_FAULT_MS_MAX);
    return NULL;
}

/* Who waits is let go when the rules change, and else waits as long as was said. */
static void test_sleeping(void **state)
{
    (void)state;
    pthread_t thread;
    open_with("faults = ( { on = \"read\"; fault = \"delay\"; ms = 60000; } );");
    int64_t began = now_ms();
    cs_faults_sleep(faults, 30);
    assert_true(now_ms() - began >= 30);
    began = now_ms();
    assert_int_equal(pthread_create(&thread, NULL, sleep_long, NULL), 0);
    usleep(50000);
    assert_int_equal(unlink(path), 0);
    pthread_join(thread, NULL);
    assert_true(now_ms() - began < DEADLINE_MS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        TEST(test_all_that_a_rule_can_say),
        TEST(test_faults_and_operations),
        TEST(test_wrong_files),
        TEST(test_a_rule_fits_its_place_alone),
        TEST(test_one_fault_and_all_delays),
        TEST(test_one_in_a_hundred),
        TEST(test_a_file_that_changes),
        TEST(test_sleeping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
