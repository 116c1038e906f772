/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk store's log: what was not committed is there after the death of the process, in the order
 * in which it was done, whatever became of the log. test_cs_crash.c has all moments of a death. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "storage/chunks/cs_store.h"
#include "cs_disk.h"

enum { BYTES = 2 * CS_STRIP };

static const struct layout layout = {.chunk_size = 4096, .seed = 1, .stripe_count = 2, .group_count = 2};
static const struct cs_name name = {.ino = 7, .position = 1};
static struct disk disk;
static struct cs_config config;
static struct cs_store *store;
static uint64_t seed;
static uint8_t data[BYTES], buffer[BYTES], expected[BYTES];

static void ok(int error)
{
    if (error < 0)
        fail_msg("%s", err_text());
}

/* As if the process had died. */
static void reopen(void)
{
    cs_close(store);
    ok(cs_open(&config, &store));
    assert_int_equal(store->failed, 0);
}

static int setup(void **state)
{
    (void)state;
    seed = getenv("WEFT_SEED") ? strtoull(getenv("WEFT_SEED"), NULL, 0) : 1;
    print_message("WEFT_SEED=%llu\n", (unsigned long long)seed);
    disk_open(&disk);
    config = (struct cs_config){
        .io = &disk.io, .name = "target 3 shard 1", .uuid = {1}, .shard = 1, .grow_blocks = 256, .log = true};
    ok(cs_format(&config));
    ok(cs_open(&config, &store));
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)disk_random(&seed);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cs_close(store);
    disk_close(&disk);
    return 0;
}

static void put(uint64_t offset, const void *bytes, size_t length)
{
    struct iovec iov = {(void *)(uintptr_t)bytes, length};
    ok(cs_write(store, name, &layout, offset, &iov, 1, NULL));
}

static size_t get(void)
{
    size_t count;
    ok(cs_read(store, name, &layout, 0, buffer, sizeof buffer, &count, NULL));
    return count;
}

static void assert_is(const void *bytes, size_t length)
{
    assert_int_equal(get(), length);
    assert_memory_equal(buffer, bytes, length);
}

static void ignore_fault(void *arg, const char *text)
{
    (void)arg;
    print_message("fault: %s\n", text);
}

static void check_store(void)
{
    struct cs_check_result result;
    ok(cs_commit(store));
    ok(cs_check(store, true, ignore_fault, NULL, &result));
    assert_int_equal(result.faults, 0);
}

static void test_a_death_loses_nothing(void **state)
{
    (void)state;
    struct cs_stat before, after;
    put(0, data, 100000);
    put(50000, data + 50000, 100);
    ok(cs_stat(store, name, &layout, &before));
    reopen();
    assert_true(store->log.replayed > 0);
    assert_is(data, 100000);
    ok(cs_stat(store, name, &layout, &after));
    assert_memory_equal(&before, &after, sizeof before);
    /* Once more, from what that mount has committed. */
    reopen();
    assert_int_equal(store->log.replayed, 0);
    assert_is(data, 100000);
    int result;
    while ((result = cs_truncate(store, name, &layout, 30001)) > 0)
        ;
    ok(result);
    reopen();
    assert_is(data, 30001);
    while ((result = cs_remove(store, name)) > 0)
        ;
    ok(result);
    reopen();
    assert_is(data, 0);
    assert_int_equal(store->objects, 0);
    check_store();
}

/* One byte after the other into one block: each is a patch. */
static void test_small_pieces_of_one_block(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3000; i++)
        put(i, data + i, 1);
    reopen();
    assert_int_equal(store->log.replayed, 3000);
    assert_is(data, 3000);
    check_store();
}

/* Many whole blocks are not written twice: others take their place. */
static void test_large_pieces_are_not_copied(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        put(0, data + i, CS_STRIP);
        if (i > 0)
            assert_true(store->log.end < 20 * 2000);
    }
    reopen();
    assert_is(data + 19, CS_STRIP);
    check_store();
}

/* A block that was patched, given back, and taken by another object is that object's. */
static void test_a_patch_does_not_outlive_its_block(void **state)
{
    (void)state;
    const struct cs_name other = {.ino = 8, .position = 1};
    struct cs_strip strip;
    int result;
    size_t count;
    put(0, data, CS_BLOCK);
    put(10, data, 100);
    ok(cs_strip_get(store, name, 0, &strip));
    const uint32_t block = strip.block[0];
    while ((result = cs_remove(store, name)) > 0)
        ;
    ok(result);
    struct iovec iov = {data + CS_BLOCK, CS_BLOCK};
    ok(cs_write(store, other, &layout, 0, &iov, 1, NULL));
    ok(cs_strip_get(store, other, 0, &strip));
    assert_int_equal(strip.block[0], block);
    reopen();
    ok(cs_read(store, other, &layout, 0, buffer, CS_BLOCK, &count, NULL));
    assert_memory_equal(buffer, data + CS_BLOCK, CS_BLOCK);
    check_store();
}

/* What a commit holds is not done again, also when its log is still there. */
static void test_a_commit_ends_a_log(void **state)
{
    (void)state;
    uint64_t count;
    put(0, data, 5000);
    ok(cs_commit(store));
    put(100, data, 10);
    put(200, data, 10);
    config.log = false;
    reopen();
    ok(cs_log_count(store, &count));
    assert_int_equal(count, 2);
    config.log = true;
    reopen();
    assert_int_equal(store->log.replayed, 2);
    check_store();
}

/* A store that was changed by one who keeps no log has no use for what an old log says. */
static void test_changes_without_a_log(void **state)
{
    (void)state;
    put(0, data, 5000);
    config.log = false;
    reopen();
    assert_is(data, 0);
    put(0, data + 1, 4000);
    ok(cs_commit(store));
    config.log = true;
    reopen();
    assert_int_equal(store->log.replayed, 0);
    assert_is(data + 1, 4000);
    put(10, data, 1);
    reopen();
    assert_int_equal(store->log.replayed, 1);
    check_store();
}

/* Whatever bit of the log flips: what it has from there on is lost, and nothing else. */
static void test_flips_in_the_log(void **state)
{
    (void)state;
    enum { CHANGES = 40, FLIPS = 400, LENGTH = CHANGES * CS_BLOCK };
    static uint8_t change_at[CHANGES * CS_BLOCK];
    struct disk kept;
    put(0, data, LENGTH);
    ok(cs_commit(store));
    const enum cs_file file = store->log.file;
    for (unsigned i = 0; i < CHANGES; i++) {
        const uint64_t begin = store->log.end;
        put((uint64_t)i * CS_BLOCK, data + LENGTH + i, 1);
        assert_true(store->log.end < sizeof change_at);
        memset(change_at + begin, (int)i, store->log.end - begin);
    }
    const uint64_t end = store->log.end;
    cs_close(store);
    for (unsigned n = 0; n < FLIPS; n++) {
        const uint64_t at = disk_random(&seed) % end;
        disk_copy(&kept, &disk);
        config.io = &kept.io;
        kept.bytes[file][at] ^= (uint8_t)(1u << disk_random(&seed) % 8);
        ok(cs_open(&config, &store));
        assert_int_equal(store->log.replayed, at < sizeof(struct cs_log_header) ? 0 : change_at[at]);
        memcpy(expected, data, LENGTH);
        for (unsigned i = 0; i < store->log.replayed; i++)
            expected[i * CS_BLOCK] = data[LENGTH + i];
        assert_is(expected, LENGTH);
        check_store();
        cs_close(store);
        disk_close(&kept);
    }
    config.io = &disk.io;
    ok(cs_open(&config, &store));
}

/* A block that the log has brought and that is not what it should be: all of the log goes, and what was
 * committed is there. */
static void test_a_block_that_is_lost(void **state)
{
    (void)state;
    struct cs_strip strip;
    put(0, data, 10000);
    ok(cs_commit(store));
    put(0, data + 1, CS_BLOCK);
    put(20000, data, 10);
    ok(cs_strip_get(store, name, 0, &strip));
    disk.bytes[CS_DATA][(uint64_t)strip.block[0] * CS_BLOCK + 5] ^= 1;
    reopen();
    assert_int_equal(store->log.replayed, 0);
    assert_is(data, 10000);
    put(30, data, 10);
    reopen();
    assert_int_equal(store->log.replayed, 1);
    check_store();
}

/* A change of one block is short in the log, into however many runs the strip is broken. */
static void test_a_small_change_is_short(void **state)
{
    (void)state;
    put(0, data, CS_STRIP);
    ok(cs_commit(store));
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i += 2)
        put((uint64_t)i * CS_BLOCK, data + i, CS_BLOCK);
    ok(cs_commit(store));
    const uint64_t begin = store->log.end;
    put(6 * CS_BLOCK, data + 1, CS_BLOCK);
    assert_in_range(store->log.end - begin, sizeof(struct cs_log_entry), 200);
    memcpy(expected, data, CS_STRIP);
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i += 2)
        memcpy(expected + i * CS_BLOCK, data + i, CS_BLOCK);
    memcpy(expected + 6 * CS_BLOCK, data + 1, CS_BLOCK);
    reopen();
    assert_int_equal(store->log.replayed, 1);
    assert_is(expected, CS_STRIP);
    check_store();
}

static void set_version(uint32_t version)
{
    for (uint32_t slot = 0; slot < CS_SUPER_SLOTS; slot++) {
        struct cs_super *super = (struct cs_super *)(disk.bytes[CS_META] + (size_t)slot * CS_BLOCK);
        super->version = version;
        super->crc = cs_super_crc(super);
    }
    for (enum cs_file file = CS_LOG; file <= CS_LOG_OTHER; file++) {
        struct cs_log_header *header = (struct cs_log_header *)disk.bytes[file];
        header->version = version;
        header->crc = cs_log_header_crc(header);
    }
}

/* Of the last commit. */
static uint32_t version_now(void)
{
    struct cs_super super;
    memcpy(&super, disk.bytes[CS_META] + (size_t)(2 * (store->generation % 2)) * CS_BLOCK, sizeof super);
    return super.version;
}

/* What version 2 wrote, with what it noted in the log, is read, and version 3 from then on. */
static void test_version_2(void **state)
{
    (void)state;
    put(0, data, 50000);
    ok(cs_commit(store));
    put(5 * CS_STRIP / 4, data, 10);
    ok(cs_commit(store));
    ok(cs_truncate(store, name, &layout, 30001));
    ok(cs_punch(store, name, &layout, 0, CS_BLOCK));
    cs_close(store);
    set_version(2);
    ok(cs_open(&config, &store));
    assert_true(store->log.replayed > 0);
    assert_int_equal(version_now(), CS_VERSION);
    memcpy(expected, data, 30001);
    memset(expected, 0, CS_BLOCK);
    assert_is(expected, 30001);
    check_store();
    /* Before anything is noted in the new way, also when there was nothing to do again. */
    cs_close(store);
    set_version(2);
    ok(cs_open(&config, &store));
    assert_int_equal(store->log.replayed, 0);
    assert_int_equal(version_now(), CS_VERSION);
    put(0, data + 1, 10);
    reopen();
    assert_int_equal(store->log.replayed, 1);
    for (uint32_t version = 1; version <= CS_VERSION + 1; version += CS_VERSION) {
        struct cs_store *none;
        set_version(version);
        assert_int_equal(cs_open(&config, &none), -EINVAL);
        assert_non_null(strstr(err_text(), "another version"));
    }
}

static void test_no_room_for_the_log(void **state)
{
    (void)state;
    unsigned writes = 0;
    disk.size_max[CS_LOG] = 1 << 20;
    for (; !store->log.lost; writes++) {
        put(0, data, BYTES / 32 + writes % 1000);
        assert_true(writes < 1000);
    }
    assert_true(cs_wants_commit(store));
    put(100, data + 1, 10);
    ok(cs_commit(store));
    assert_false(cs_wants_commit(store));
    put(5, data + 2, 10);
    reopen();
    assert_int_equal(store->log.replayed, 1);
    get();
    assert_memory_equal(buffer + 100, data + 1, 10);
    assert_memory_equal(buffer + 5, data + 2, 10);
    check_store();
}

static void test_a_log_that_cannot_be_written(void **state)
{
    (void)state;
    disk.fault = DISK_WRITE_EIO;
    disk.fault_file = CS_LOG;
    put(0, data, 5000);
    assert_int_equal(disk.faults, 1);
    assert_true(cs_wants_commit(store));
    put(10, data, 100);
    ok(cs_commit(store));
    reopen();
    assert_int_equal(store->log.replayed, 0);
    assert_int_equal(get(), 5000);
    assert_memory_equal(buffer + 10, data, 100);
    check_store();
}

/* The first entry of a log waits for the disk, which has to give room to it. */
static void test_nowait(void **state)
{
    (void)state;
    struct iovec iov = {data, 10};
    put(0, data, 100);
    disk.size_max[CS_LOG] = 0;
    store->log.end = store->log.size[0] - 100;
    cs_nowait(store, true);
    assert_int_equal(cs_write(store, name, &layout, 0, &iov, 1, NULL), -EAGAIN);
    cs_nowait(store, false);
    put(0, data, 10);
    assert_true(store->log.size[0] > 1 << 20);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_death_loses_nothing),
        TEST(test_small_pieces_of_one_block),
        TEST(test_large_pieces_are_not_copied),
        TEST(test_a_patch_does_not_outlive_its_block),
        TEST(test_a_commit_ends_a_log),
        TEST(test_changes_without_a_log),
        TEST(test_flips_in_the_log),
        TEST(test_a_block_that_is_lost),
        TEST(test_a_small_change_is_short),
        TEST(test_version_2),
        TEST(test_no_room_for_the_log),
        TEST(test_a_log_that_cannot_be_written),
        TEST(test_nowait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
