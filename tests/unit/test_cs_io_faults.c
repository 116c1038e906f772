/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that goes wrong on purpose: what each fault does to the bytes and to who asked, that it is counted,
 * and what the chunk store makes of it. */
#include "cs_lab.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "storage/chunks/cs_io_faults.h"

enum { SIZE = 8 * CS_BLOCK };

static char path[160];
static struct cs_faults *faults;
static struct cs_io *io;
static struct counter made;
static uint8_t bytes[SIZE];

static int open_disk(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof path, "%.90s/weft-faults-XXXXXX", base ? base : "/tmp");
    const int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    seed = 1;
    made = (struct counter){.name = "faults_made"};
    disk_open(&disk);
    fill(bytes, sizeof bytes);
    for (enum cs_file file = CS_DATA; file < CS_FILES; file++)
        disk.io.type->grow(&disk.io, file, SIZE);
    return 0;
}

static int close_disk(void **state)
{
    (void)state;
    if (io)
        io->type->close(io);
    io = NULL;
    cs_faults_close(faults);
    faults = NULL;
    disk_close(&disk);
    return unlink(path);
}

static void write_rules(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "faults = ( %s );\n", text) > 0);
    assert_int_equal(fclose(file), 0);
}

/* The disk with these rules, in place of one with others. */
static void with(const char *text)
{
    if (io)
        io->type->close(io);
    cs_faults_close(faults);
    write_rules(text);
    assert_int_equal(cs_faults_open(path, &faults), 0);
    const struct cs_io_faults_config wrapped = {.inner = &disk.io,
                                                .faults = faults,
                                                .name = "target 3 shard 1",
                                                .target = 3,
                                                .shard = 1,
                                                .made = &made};
    assert_int_equal(cs_io_faults_open(&wrapped, &io), 0);
}

/* In two pieces, of which the second is the longer one. */
static int write_blocks(enum cs_file file, uint64_t offset, size_t length)
{
    struct iovec iov[] = {{bytes, 100}, {bytes + 100, length - 100}};
    return io->type->write(io, file, offset, iov, 2);
}

static int read_blocks(enum cs_file file, size_t length, bool nowait)
{
    struct iovec iov[] = {{buffer, 100}, {buffer + 100, length - 100}};
    return io->type->read(io, file, 0, iov, 2, nowait);
}

static bool is_zero(const uint8_t *at, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (at[i])
            return false;
    return true;
}

/* ---- each fault --------------------------------------------------------- */

static void test_without_rules_all_goes_through(void **state)
{
    (void)state;
    uint64_t size;
    with("");
    assert_int_equal(write_blocks(CS_META, CS_BLOCK, CS_BLOCK), 0);
    assert_memory_equal(disk.bytes[CS_META] + CS_BLOCK, bytes, CS_BLOCK);
    assert_int_equal(read_blocks(CS_META, 2 * CS_BLOCK, true), 0);
    assert_memory_equal(buffer, disk.bytes[CS_META], 2 * CS_BLOCK);
    assert_int_equal(io->type->grow(io, CS_LOG, 2 * SIZE), 0);
    assert_int_equal(io->type->size(io, CS_LOG, &size), 0);
    assert_int_equal(size, 2 * SIZE);
    disk.fault = DISK_FLUSH_EIO;
    disk.fault_file = CS_DATA;
    assert_int_equal(io->type->flush(io, CS_DATA), -EIO); /* it was the disk's own */
    assert_int_equal(io->type->flush(io, CS_DATA), 0);
    disk.cold = true;
    assert_int_equal(read_blocks(CS_DATA, CS_BLOCK, true), -EAGAIN);
    assert_int_equal(read_blocks(CS_DATA, CS_BLOCK, false), 0);
    assert_false(io->type->write_waits(io, 0));
    assert_int_equal(counter_get(&made), 0);
}

static void test_errors(void **state)
{
    (void)state;
    static const char *const on[] = {"read", "write", "flush", "grow"};
    for (int i = 0; i < 4; i++) {
        char text[100];
        snprintf(text, sizeof text, "{ on = \"%s\"; fault = \"eio\"; file = \"data\"; }", on[i]);
        with(text);
        assert_int_equal(read_blocks(CS_DATA, CS_BLOCK, false), i == 0 ? -EIO : 0);
        assert_int_equal(write_blocks(CS_DATA, 0, CS_BLOCK), i == 1 ? -EIO : 0);
        if (i == 1)
            assert_string_equal(err_text(), "target 3 shard 1/data: write: Input/output error, on purpose");
        assert_int_equal(io->type->flush(io, CS_DATA), i == 2 ? -EIO : 0);
        assert_int_equal(io->type->grow(io, CS_DATA, SIZE), i == 3 ? -EIO : 0);
        assert_int_equal(counter_get(&made), i + 1);
        /* The other files are well. */
        assert_int_equal(read_blocks(CS_META, CS_BLOCK, false), 0);
        assert_int_equal(write_blocks(CS_LOG, 0, CS_BLOCK), 0);
    }
}

static void test_a_write_that_fails_writes_nothing(void **state)
{
    (void)state;
    with("{ on = \"write\"; fault = \"eio\"; times = 1; }");
    assert_int_equal(write_blocks(CS_DATA, 0, CS_BLOCK), -EIO);
    assert_true(is_zero(disk.bytes[CS_DATA], SIZE));
    assert_int_equal(write_blocks(CS_DATA, 0, CS_BLOCK), 0);
    assert_memory_equal(disk.bytes[CS_DATA], bytes, CS_BLOCK);
}

static void test_no_space(void **state)
{
    (void)state;
    with("{ on = \"grow\"; fault = \"enospc\"; times = 1; }");
    assert_int_equal(io->type->grow(io, CS_DATA, 2 * SIZE), -ENOSPC);
    assert_int_equal(disk.size[CS_DATA], SIZE);
    assert_int_equal(io->type->grow(io, CS_DATA, 2 * SIZE), 0);
    assert_int_equal(disk.size[CS_DATA], 2 * SIZE);
}

static void test_halves_of_writes(void **state)
{
    (void)state;
    static const char *const names[] = {"short", "torn"};
    for (int i = 0; i < 2; i++) {
        char text[100];
        memset(disk.bytes[CS_DATA], 0, SIZE);
        snprintf(text, sizeof text, "{ on = \"write\"; fault = \"%s\"; }", names[i]);
        with(text);
        assert_int_equal(write_blocks(CS_DATA, 0, 2 * CS_BLOCK), i == 0 ? -EIO : 0);
        assert_memory_equal(disk.bytes[CS_DATA], bytes, CS_BLOCK);
        assert_true(is_zero(disk.bytes[CS_DATA] + CS_BLOCK, SIZE - CS_BLOCK));
        /* Of one byte there is no half. */
        struct iovec one = {bytes, 1};
        assert_int_equal(io->type->write(io, CS_DATA, 3 * CS_BLOCK, &one, 1), i == 0 ? -EIO : 0);
        assert_true(is_zero(disk.bytes[CS_DATA] + CS_BLOCK, SIZE - CS_BLOCK));
        /* Half of it ends inside the first piece. */
        struct iovec two[] = {{bytes, 100}, {bytes + 100, 20}};
        assert_int_equal(io->type->write(io, CS_DATA, 3 * CS_BLOCK, two, 2), i == 0 ? -EIO : 0);
        assert_memory_equal(disk.bytes[CS_DATA] + 3 * CS_BLOCK, bytes, 60);
        assert_true(is_zero(disk.bytes[CS_DATA] + 3 * CS_BLOCK + 60, CS_BLOCK));
    }
}

static void test_lost_and_misdirected_writes(void **state)
{
    (void)state;
    with("{ on = \"write\"; fault = \"lost\"; }");
    assert_int_equal(write_blocks(CS_DATA, 0, CS_BLOCK), 0);
    assert_true(is_zero(disk.bytes[CS_DATA], SIZE));
    with("{ on = \"write\"; fault = \"misdirected\"; }");
    assert_int_equal(write_blocks(CS_DATA, CS_BLOCK, CS_BLOCK), 0);
    assert_memory_equal(disk.bytes[CS_DATA] + 2 * CS_BLOCK, bytes, CS_BLOCK);
    assert_true(is_zero(disk.bytes[CS_DATA], 2 * CS_BLOCK));
    /* The last block's goes to the one in front. */
    assert_int_equal(write_blocks(CS_DATA, SIZE - CS_BLOCK, CS_BLOCK), 0);
    assert_memory_equal(disk.bytes[CS_DATA] + SIZE - 2 * CS_BLOCK, bytes, CS_BLOCK);
    assert_true(is_zero(disk.bytes[CS_DATA] + SIZE - CS_BLOCK, CS_BLOCK));
    /* That of the whole file has nowhere to go. */
    memset(disk.bytes[CS_DATA], 0, SIZE);
    assert_int_equal(write_blocks(CS_DATA, 0, SIZE), 0);
    assert_true(is_zero(disk.bytes[CS_DATA], SIZE));
    assert_int_equal(disk.size[CS_DATA], SIZE);
    assert_int_equal(counter_get(&made), 4);
}

/* One bit of what is given, of any piece; what is on the disk stays. */
static void test_flipped_bits(void **state)
{
    (void)state;
    enum { READS = 400, LENGTH = 200 };
    unsigned in_first = 0, in_second = 0;
    memcpy(disk.bytes[CS_DATA], bytes, SIZE);
    with("{ on = \"read\"; fault = \"flip\"; seed = 3; }");
    for (int i = 0; i < READS; i++) {
        unsigned bits = 0;
        assert_int_equal(read_blocks(CS_DATA, LENGTH, true), 0);
        for (unsigned k = 0; k < LENGTH; k++) {
            bits += (unsigned)__builtin_popcount((unsigned)(buffer[k] ^ bytes[k]));
            in_first += k < 100 && buffer[k] != bytes[k];
            in_second += k >= 100 && buffer[k] != bytes[k];
        }
        assert_int_equal(bits, 1);
    }
    assert_in_range(in_first, READS / 4, READS * 3 / 4);
    assert_in_range(in_second, READS / 4, READS * 3 / 4);
    assert_memory_equal(disk.bytes[CS_DATA], bytes, SIZE);
    assert_int_equal(counter_get(&made), READS);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Who does not want to wait is told so and does not use the delay up; who may, waits. */
static void test_delays(void **state)
{
    (void)state;
    static const char *const on[] = {"read", "write", "flush", "grow"};
    for (int i = 0; i < 4; i++) {
        char text[100];
        snprintf(text, sizeof text,
                 "{ on = \"%s\"; fault = \"delay\"; ms = 20; times = 1; file = \"meta\"; }", on[i]);
        with(text);
        err_clear();
        assert_int_equal(read_blocks(CS_META, CS_BLOCK, true), i == 0 ? -EAGAIN : 0);
        assert_int_equal(read_blocks(CS_META, CS_BLOCK, true), i == 0 ? -EAGAIN : 0);
        assert_string_equal(err_text(), "");
        assert_int_equal(read_blocks(CS_DATA, CS_BLOCK, true), 0);
        assert_int_equal(io->type->write_waits(io, 0), i == 1);
        assert_int_equal(counter_get(&made), i);
        const int64_t began = now_ns();
        assert_int_equal(read_blocks(CS_META, CS_BLOCK, false), 0);
        assert_int_equal(write_blocks(CS_META, 0, CS_BLOCK), 0);
        assert_int_equal(io->type->flush(io, CS_META), 0);
        assert_int_equal(io->type->grow(io, CS_META, SIZE), 0);
        assert_true(now_ns() - began >= 20000000);
        assert_int_equal(counter_get(&made), i + 1);
        /* It was made as often as was said. */
        assert_int_equal(read_blocks(CS_META, CS_BLOCK, true), 0);
        assert_false(io->type->write_waits(io, 0));
    }
}

/* A read that has to be done anew, since it would wait, is asked about once. */
static void test_a_cold_read_draws_once(void **state)
{
    (void)state;
    with("{ on = \"read\"; fault = \"eio\"; times = 1; }");
    disk.cold = true;
    assert_int_equal(read_blocks(CS_DATA, CS_BLOCK, true), -EAGAIN);
    assert_int_equal(counter_get(&made), 0);
    assert_int_equal(read_blocks(CS_DATA, CS_BLOCK, false), -EIO);
    assert_int_equal(read_blocks(CS_DATA, CS_BLOCK, false), 0);
}

/* ---- a store on it ------------------------------------------------------ */

/* Empty, with one object of a strip, then with these rules. */
static void store_with(const char *text)
{
    disk_close(&disk);
    disk_open(&disk);
    config = (struct cs_config){.io = &disk.io,
                                .name = "target 3 shard 1",
                                .shard = 1,
                                .shard_count = 2,
                                .grow_blocks = 256,
                                .cache_pages = 256};
    assert_int_equal(cs_format(&config), 0);
    with(text);
    config.io = io;
    io = NULL; /* the store's */
    assert_int_equal(cs_open(&config, &store), 0);
}

static void close_store(void)
{
    cs_close(store);
    store = NULL;
}

/* A rule for one kind is made once, in an operation after the commit, at each place in turn: the store says
 * -EIO or gives what was written, and never anything else. */
static void test_a_store_is_never_wrong(void **state)
{
    (void)state;
    static const char *const rules[] = {
        "on = \"read\"; fault = \"flip\"",         "on = \"read\"; fault = \"eio\"",
        "on = \"write\"; fault = \"lost\"",        "on = \"write\"; fault = \"torn\"",
        "on = \"write\"; fault = \"short\"",       "on = \"write\"; fault = \"eio\"",
        "on = \"write\"; fault = \"misdirected\"",
    };
    unsigned told = 0, good = 0;
    for (unsigned n = 0; n < 210; n++) {
        char text[160];
        uint8_t before[CS_BLOCK * 4];
        snprintf(text, sizeof text, "{ %s; file = \"data\"; one_in = 8; seed = %u; }", rules[n % 7], n);
        store_with(text);
        fill(expected, sizeof before);
        memcpy(before, expected, sizeof before);
        int error = write_at(1, 0, before, sizeof before);
        for (int i = 0; i < 6 && !error; i++) {
            const size_t at = disk_random(&seed) % (sizeof before - 700);
            uint8_t some[700];
            fill(some, sizeof some);
            memcpy(expected, before, sizeof before);
            memcpy(expected + at, some, sizeof some);
            error = write_at(1, at, some, sizeof some);
            size_t count = 0;
            const int result = cs_read(store, name_of(1), &layout, 0, buffer, sizeof before, &count, NULL);
            if (error)
                assert_int_equal(error, -EIO);
            /* A write that fails has changed all that it meant to, or nothing. */
            if (error && !result && memcmp(buffer, before, sizeof before) != 0)
                assert_memory_equal(buffer, expected, sizeof before);
            if (result) {
                assert_int_equal(result, -EIO);
                assert_non_null(strstr(err_text(), "target 3 shard 1: inode 1 "));
                error = result;
            } else if (!error) {
                assert_int_equal(count, sizeof before);
                assert_memory_equal(buffer, expected, sizeof before);
            }
            memcpy(before, expected, sizeof before);
        }
        told += error != 0;
        good += !error;
        close_store();
    }
    print_message("%u errors told, %u without\n", told, good);
    assert_true(told > 70 && good > 10);
}

static void test_a_store_that_can_not_grow(void **state)
{
    (void)state;
    store_with("{ on = \"grow\"; fault = \"enospc\"; file = \"data\"; times = 1; }");
    fill(expected, BYTES);
    assert_int_equal(write_at(1, 0, expected, BYTES), -ENOSPC);
    put(1, 0, expected, BYTES);
    assert_int_equal(get(1, 0, buffer, BYTES), BYTES);
    assert_memory_equal(buffer, expected, BYTES);
    close_store();
    store_with("{ on = \"grow\"; fault = \"enospc\"; file = \"data\"; }");
    assert_int_equal(write_at(1, 0, expected, BYTES), -ENOSPC);
    assert_non_null(strstr(err_text(), "target 3 shard 1 is full"));
    assert_int_equal(cs_commit(store), 0);
    close_store();
}

static void test_a_commit_that_can_not_be_flushed(void **state)
{
    (void)state;
    store_with("{ on = \"flush\"; fault = \"eio\"; file = \"meta\"; times = 1; }");
    put(1, 0, "abcd", 4);
    assert_int_equal(cs_commit(store), -EIO);
    assert_int_equal(write_at(1, 0, "xy", 2), -EIO);
    assert_non_null(strstr(err_text(), "a commit failed (target 3 shard 1/meta: flush: "));
    assert_int_equal(get(1, 0, buffer, 4), 4);
    close_store();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_disk, close_disk)
    const struct CMUnitTest tests[] = {
        TEST(test_without_rules_all_goes_through),
        TEST(test_errors),
        TEST(test_a_write_that_fails_writes_nothing),
        TEST(test_no_space),
        TEST(test_halves_of_writes),
        TEST(test_lost_and_misdirected_writes),
        TEST(test_flipped_bits),
        TEST(test_delays),
        TEST(test_a_cold_read_draws_once),
        TEST(test_a_store_is_never_wrong),
        TEST(test_a_store_that_can_not_grow),
        TEST(test_a_commit_that_can_not_be_flushed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
