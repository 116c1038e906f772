/* SPDX-License-Identifier: Apache-2.0 */
/* A target that is a disk, on a plain file that stands for one: made on purpose only, refused when it is
 * somebody else's, in use, or not what was asked for, and whole when it is opened again. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "log.h"
#include "../../server/storage/store.h"
#include "../../server/storage/target.h"
#include "../../server/storage/chunks/store_chunks.h"
#include "../../server/storage/chunks/volume.h"

#define DISK_BYTES (UINT64_C(32) << 20)

static char path[192];
static struct conf_target conf;
static struct target target;

static int setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    log_init("test_target_disk", LOG_LEVEL_NONE);
    snprintf(path, sizeof path, "%.90s/weft-test-XXXXXX", tmp ? tmp : "/tmp");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)DISK_BYTES), 0);
    close(fd);
    conf = (struct conf_target){.id = 5, .dir = path, .is_disk = true};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(path);
}

static void put_at(off_t offset, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, text, strlen(text), offset), strlen(text));
    close(fd);
}

static int open_target(void)
{
    return target_open(&conf, 2, &store_chunks, &target);
}

static void expect_error(int result, int error, const char *text)
{
    assert_int_equal(result, error);
    if (!strstr(err_text(), text))
        fail_msg("\"%s\" is not in \"%s\"", text, err_text());
}

static void test_only_on_purpose(void **state)
{
    (void)state;
    expect_error(open_target(), -ENOENT, "weft-format makes it a target");
    assert_int_equal(target_format(&conf, 2, 0, false), 0);
    assert_int_equal(open_target(), 0);
    assert_ptr_equal(target.store_type, &store_chunks);
    assert_int_equal(volume_bytes(target.volume), DISK_BYTES);
    for (uint32_t shard = 0; shard < 2; shard++) {
        const struct store_chunks_checking checking = {.read_data = true};
        struct store_chunks_checked checked;
        assert_int_equal(store_chunks_check(&target, shard, &checking, &checked), 0);
        assert_int_equal(checked.check.faults, 0);
    }
    target_close(&target);
    assert_int_equal(target.disk_fd, -1);
}

static void test_foreign_contents(void **state)
{
    (void)state;
    put_at(DISK_BYTES - 100, "something");
    expect_error(target_format(&conf, 2, 0, false), -EEXIST, "holds data of an unknown kind");
    assert_int_equal(target_format(&conf, 2, 0, true), 0);
    /* A target counts, whoever's it is. */
    expect_error(target_format(&conf, 2, 0, false), -EEXIST, "holds target 5 of a Weft cluster");
    conf.id = 6;
    expect_error(target_format(&conf, 2, 0, false), -EEXIST, "holds target 5 of a Weft cluster");
    assert_int_equal(target_format(&conf, 2, 0, true), 0);
    assert_int_equal(open_target(), 0);
    target_close(&target);
#ifdef HAVE_BLKID
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(truncate(path, (off_t)DISK_BYTES), 0);
    put_at(1024, "\1");
    put_at(1028, "\377");
    put_at(4086, "SWAPSPACE2");
    expect_error(target_format(&conf, 2, 0, false), -EEXIST, "holds contents of type swap");
#endif
}

static void test_another_one(void **state)
{
    (void)state;
    assert_int_equal(target_format(&conf, 2, 0, false), 0);
    conf.id = 7;
    expect_error(open_target(), -EINVAL, "holds target 5, but the configuration says 7");
    conf.id = 5;
    expect_error(target_open(&conf, 3, &store_chunks, &target), -EINVAL, "made for 2 shards");
    conf.dir = (char[]){"/tmp"};
    expect_error(open_target(), -EINVAL, "is a directory, no disk");
    conf.dir = (char[]){"/dev/null"};
    expect_error(open_target(), -EINVAL, "is no block device");
}

static void test_in_use(void **state)
{
    (void)state;
    struct target second;
    assert_int_equal(target_format(&conf, 2, 0, false), 0);
    assert_int_equal(open_target(), 0);
    expect_error(target_open(&conf, 2, &store_chunks, &second), -EBUSY, "in use by another process");
    expect_error(target_format(&conf, 2, 0, true), -EBUSY, "in use by another process");
    target_close(&target);
    assert_int_equal(open_target(), 0);
    target_close(&target);
}

static void test_a_file_of_a_size(void **state)
{
    (void)state;
    expect_error(target_format(&conf, 2, 2 * DISK_BYTES, false), -EEXIST, "is there already");
    assert_int_equal(unlink(path), 0);
    expect_error(target_format(&conf, 2, 0, false), -ENOENT, "open");
    assert_int_equal(target_format(&conf, 2, 2 * DISK_BYTES, false), 0);
    assert_int_equal(open_target(), 0);
    assert_int_equal(volume_bytes(target.volume), 2 * DISK_BYTES);
    target_close(&target);
    expect_error(target_format(&conf, 100, DISK_BYTES, true), -ENOSPC, "full");
    expect_error(open_target(), -ENOENT, "weft-format makes it a target"); /* half of it counts for nothing */
}

static void test_its_cluster(void **state)
{
    (void)state;
    const uint8_t ours[TARGET_UUID_BYTES] = {1}, others[TARGET_UUID_BYTES] = {2};
    assert_int_equal(target_format(&conf, 2, 0, false), 0);
    assert_int_equal(open_target(), 0);
    expect_error(target_join(&target, ours, true), -EINVAL, "new and empty");
    assert_int_equal(target_join(&target, ours, false), 0);
    target_close(&target);
    assert_int_equal(open_target(), 0);
    assert_int_equal(target_join(&target, ours, true), 0);
    expect_error(target_join(&target, others, false), -EINVAL, "belongs to another cluster");
    target_close(&target);
}

/* What is counted in a directory is so on a disk; it stands in the label. */
static void test_losses(void **state)
{
    (void)state;
    const uint8_t ours[TARGET_UUID_BYTES] = {1};
    assert_int_equal(target_format(&conf, 2, 0, false), 0);
    assert_int_equal(open_target(), 0);
    assert_int_equal(target_begin(&target), 0);
    target_close(&target);
    assert_int_equal(open_target(), 0);
    assert_int_equal(target_begin(&target), 0);
    assert_int_equal(target.losses, 0);
    target.boot[3] ^= 1; /* its host was started again; the label is written with that */
    assert_int_equal(target_join(&target, ours, false), 0);
    target_close(&target);
    assert_int_equal(open_target(), 0);
    assert_int_equal(target_begin(&target), 0);
    assert_int_equal(target.losses, 1);
    assert_int_equal(target_end(&target), 0);
    target_close(&target);
    assert_int_equal(open_target(), 0);
    assert_int_equal(target.losses, 1);
    assert_int_equal(target_begin(&target), 0);
    assert_int_equal(target.losses, 1);
    target_close(&target);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_only_on_purpose),  TEST(test_foreign_contents), TEST(test_another_one), TEST(test_in_use),
        TEST(test_a_file_of_a_size), TEST(test_its_cluster),      TEST(test_losses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
