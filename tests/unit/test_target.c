/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "crc.h"
#include "err.h"
#include "log.h"
#include "../../server/storage/store.h"
#include "../../server/storage/target.h"
#include "../../server/storage/target_internal.h"

static char base[128], dir[192];
static struct conf_target conf;
static struct target target;
static unsigned formats;
static int format_error;

static int format(const struct target *formatted)
{
    assert_true(formatted->dir_fd >= 0);
    formats++;
    if (format_error)
        return err_set(format_error, "no space");
    assert_true(mkdirat(formatted->dir_fd, "shard-0", 0700) == 0 || errno == EEXIST);
    return 0;
}

/* Its name is a real store's: that is what a description may say. */
static const struct store_type type = {.name = "files", .format = format};

static int setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    log_init("test_target", LOG_LEVEL_NONE);
    snprintf(base, sizeof base, "%.90s/weft-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(base));
    snprintf(dir, sizeof dir, "%s/s0/t0", base);
    conf = (struct conf_target){.id = 5, .dir = dir};
    formats = 0;
    format_error = 0;
    return 0;
}

static int teardown(void **state)
{
    char command[256];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    return system(command);
}

static void make_one(void)
{
    assert_int_equal(target_open(&conf, 2, &type, &target), 0);
    target_close(&target);
}

static size_t read_file(const char *name, char text[1024])
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    size_t length = fread(text, 1, 1023, file);
    fclose(file);
    text[length] = 0;
    return length;
}

static void write_file(const char *name, const char *text, size_t length)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    fclose(file);
}

static void expect_refused(int error, const char *why)
{
    assert_int_equal(target_open(&conf, 2, &type, &target), error);
    assert_non_null(strstr(err_text(), why));
    assert_int_equal(target.dir_fd, -1);
}

static void test_made_once(void **state)
{
    uint8_t uuid[TARGET_UUID_BYTES];
    char text[1024];
    (void)state;
    assert_int_equal(target_open(&conf, 2, &type, &target), 0);
    assert_int_equal(formats, 1);
    memcpy(uuid, target.uuid, sizeof uuid);
    target_close(&target);
    assert_true(read_file("target", text) > 0);
    assert_non_null(strstr(text, "weft target 2\nid 5\nshards 2\nstore files\nuuid "));
    assert_int_equal(read_file("target.making", text), 0);

    assert_int_equal(target_open(&conf, 2, &type, &target), 0);
    assert_int_equal(formats, 1);
    assert_memory_equal(target.uuid, uuid, sizeof uuid);
    assert_ptr_equal(target.store_type, &store_files);
    target_close(&target);
}

static void test_a_new_file_system_may_have_its_lost_and_found(void **state)
{
    char path[256];
    (void)state;
    snprintf(path, sizeof path, "mkdir -p '%s/lost+found'", dir);
    assert_int_equal(system(path), 0);
    make_one();
}

static void test_other_things_are_left_alone(void **state)
{
    char path[256], text[1024];
    (void)state;
    snprintf(path, sizeof path, "mkdir -p '%s'", dir);
    assert_int_equal(system(path), 0);
    write_file("thesis.tex", "\\begin", 6);
    expect_refused(-EEXIST, "thesis.tex");
    assert_int_equal(formats, 0);
    assert_int_equal(read_file("thesis.tex", text), 6);
}

static void test_another_target_is_refused(void **state)
{
    (void)state;
    make_one();
    conf.id = 6;
    expect_refused(-EINVAL, "holds target 5, but the configuration says 6");
}

static void test_another_shard_count_is_refused(void **state)
{
    (void)state;
    make_one();
    assert_int_equal(target_open(&conf, 3, &type, &target), -EINVAL);
    assert_non_null(strstr(err_text(), "was made for 2 shards"));
}

static void test_used_by_one_only(void **state)
{
    struct target second;
    (void)state;
    assert_int_equal(target_open(&conf, 2, &type, &target), 0);
    assert_int_equal(target_open(&conf, 2, &type, &second), -EBUSY);
    assert_non_null(strstr(err_text(), "in use by another process"));
    target_close(&target);
    make_one();
}

static void test_every_damage_is_seen(void **state)
{
    char text[1024], damaged[1024];
    (void)state;
    make_one();
    size_t length = read_file("target", text);
    for (size_t i = 0; i < length; i++) {
        memcpy(damaged, text, length);
        damaged[i] ^= 1;
        write_file("target", damaged, length);
        int error = target_open(&conf, 2, &type, &target);
        assert_true(error == -EBADMSG || error == -EINVAL);
        write_file("target", text, i);
        assert_int_equal(target_open(&conf, 2, &type, &target), -EBADMSG);
    }
    assert_int_equal(formats, 1);
    write_file("target", text, length);
    make_one();
}

static void test_an_interrupted_start_goes_on(void **state)
{
    char text[1024], path[256];
    (void)state;
    format_error = -ENOSPC;
    assert_int_equal(target_open(&conf, 2, &type, &target), -ENOSPC);
    assert_true(read_file("target.making", text) > 0);
    assert_int_equal(read_file("target", text), 0);
    format_error = 0;
    make_one();
    /* The store that its description names was used this time. */
    assert_int_equal(formats, 1);
    snprintf(path, sizeof path, "%s/shard-1/ff", dir);
    assert_int_equal(access(path, F_OK), 0);

    /* Killed while the first file was being written. */
    snprintf(dir, sizeof dir, "%s/s0/t1", base);
    assert_int_equal(mkdir(dir, 0700), 0);
    write_file("target.making", "weft tar", 8);
    make_one();
    assert_int_equal(formats, 2);
}

static void test_belongs_to_one_cluster(void **state)
{
    const uint8_t ours[TARGET_UUID_BYTES] = "our cluster....", other[TARGET_UUID_BYTES] = "another one....";
    (void)state;
    assert_int_equal(target_open(&conf, 2, &type, &target), 0);
    assert_int_equal(target_join(&target, ours, false), 0);
    assert_int_equal(target_join(&target, ours, false), 0);
    assert_int_equal(target_join(&target, other, false), -EINVAL);
    target_close(&target);
    assert_int_equal(target_open(&conf, 2, &type, &target), 0);
    assert_int_equal(target_join(&target, other, false), -EINVAL);
    assert_non_null(strstr(err_text(), "another cluster"));
    assert_int_equal(target_join(&target, ours, false), 0);
    target_close(&target);
}

/* Its file system was not mounted, say. */
static void test_an_empty_one_stands_in_for_none_with_data(void **state)
{
    const uint8_t cluster[TARGET_UUID_BYTES] = "our cluster....";
    (void)state;
    assert_int_equal(target_open(&conf, 2, &type, &target), 0);
    assert_int_equal(target_join(&target, cluster, true), -EINVAL);
    assert_non_null(strstr(err_text(), "is its file system mounted?"));
    assert_int_equal(target_join(&target, cluster, false), 0);
    assert_int_equal(target_join(&target, cluster, true), 0);
    target_close(&target);
}

/* ---- losses ------------------------------------------------------------- */

static void open_begun(uint64_t losses)
{
    assert_int_equal(target_open(&conf, 2, &type, &target), 0);
    assert_int_equal(target_begin(&target), 0);
    assert_int_equal(target.losses, losses);
}

/* As if the host had been started again, and all were flushed. */
static void start_host(void)
{
    char text[TARGET_TEXT_MAX];
    assert_int_equal(target_open(&conf, 2, &type, &target), 0);
    if (target.boot[3] || target.boot[7])
        target.boot[3] ^= 1;
    write_file("target", text, (size_t)target_describe(&target, text));
    target_close(&target);
}

static void test_the_death_of_the_server_loses_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        open_begun(0);
        target_close(&target);
    }
}

static void test_the_crash_of_the_host_is_a_loss(void **state)
{
    (void)state;
    open_begun(0);
    target_close(&target);
    for (uint64_t losses = 1; losses < 4; losses++) {
        start_host();
        open_begun(losses);
        target_close(&target);
        /* Counted once, and for good. */
        open_begun(losses);
        target_close(&target);
    }
}

static void test_what_was_ended_is_not_lost(void **state)
{
    (void)state;
    open_begun(0);
    target_close(&target);
    open_begun(0); /* after its server was killed */
    assert_int_equal(target_end(&target), 0);
    target_close(&target);
    start_host();
    open_begun(0);
    target_close(&target);
    start_host();
    open_begun(1);
    target_close(&target);
}

static void test_a_store_that_failed_is_a_loss(void **state)
{
    (void)state;
    open_begun(0);
    atomic_store(&target.has_failed, true);
    assert_int_equal(target_end(&target), 0);
    target_close(&target);
    open_begun(1);
    assert_int_equal(target_end(&target), 0);
    target_close(&target);
    open_begun(1);
    target_close(&target);
}

static void test_one_that_was_put_back_counts_on(void **state)
{
    (void)state;
    open_begun(0);
    assert_int_equal(target_losses_raise(&target, 0), 0);
    assert_int_equal(target.losses, 0);
    assert_int_equal(target_losses_raise(&target, 7), 0);
    assert_int_equal(target.losses, 8);
    assert_int_equal(target_losses_raise(&target, 8), 0);
    target_close(&target);
    open_begun(8);
    target_close(&target);
}

/* Those of before are taken, and have nothing counted. */
static void test_an_earlier_description(void **state)
{
    char text[TARGET_TEXT_MAX], cluster[TARGET_UUID_BYTES];
    (void)state;
    make_one();
    size_t length = read_file("target", text);
    text[strlen("weft target ")] = '1';
    length = (size_t)(strstr(text, "losses ") - text);
    length += (size_t)snprintf(text + length, 14, "crc %08x\n", crc_of(0, text, length));
    write_file("target", text, length);
    open_begun(0);
    memset(cluster, 7, sizeof cluster);
    assert_int_equal(target_join(&target, (const uint8_t *)cluster, false), 0);
    target_close(&target);
    assert_true(read_file("target", text) > 0);
    assert_non_null(strstr(text, "weft target 2\n"));
    start_host();
    open_begun(1);
    assert_memory_equal(target.cluster, cluster, sizeof cluster);
    target_close(&target);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_made_once),
        TEST(test_a_new_file_system_may_have_its_lost_and_found),
        TEST(test_other_things_are_left_alone),
        TEST(test_another_target_is_refused),
        TEST(test_another_shard_count_is_refused),
        TEST(test_used_by_one_only),
        TEST(test_every_damage_is_seen),
        TEST(test_an_interrupted_start_goes_on),
        TEST(test_belongs_to_one_cluster),
        TEST(test_an_empty_one_stands_in_for_none_with_data),
        TEST(test_the_death_of_the_server_loses_nothing),
        TEST(test_the_crash_of_the_host_is_a_loss),
        TEST(test_what_was_ended_is_not_lost),
        TEST(test_a_store_that_failed_is_a_loss),
        TEST(test_one_that_was_put_back_counts_on),
        TEST(test_an_earlier_description),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
