/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of what the page cache does not have: by io_uring, and by threads where there is none. */
#include "chunks_lab.h"

#include <sys/uio.h>

#include "storage/chunks/chunks.h"

enum { OBJECTS = 24, OBJECT_BYTES = 200000 };

static struct wait waits[OBJECTS];
static int results[OBJECTS];
static size_t counts[OBJECTS];
static uint8_t buffers[OBJECTS][OBJECT_BYTES];

static int setup_cold(void **state)
{
    seed_take();
    return setup(state);
}

/* Makes the page cache forget `data`, or skips the test. */
static void forget(void)
{
    char byte;
    if (past_cache)
        return; /* it knows nothing of it */
    struct iovec iov = {&byte, 1};
    const off_t at = data_place(0);
    int fd = open(data_path(), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    bool forgotten = false;
    /* What somebody else is just looking at stays. */
    for (unsigned tries = 0; tries < 50 && !forgotten; tries++) {
        assert_int_equal(fdatasync(fd), 0);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        forgotten = preadv2(fd, &iov, 1, at, RWF_NOWAIT) < 0 && errno == EAGAIN;
        if (!forgotten)
            usleep(10000);
    }
    close(fd);
    if (forgotten)
        return;
    print_message("skipped: the file system of %s keeps files in memory\n", dir);
    skip();
}

/* All blocks of an object have one number; its versions differ in it. */
static void fill_object(uint8_t *bytes, unsigned ino, unsigned version)
{
    memset(bytes, (int)(ino * 8 + version % 8), OBJECT_BYTES);
}

static void write_objects(unsigned version)
{
    static uint8_t bytes[OBJECT_BYTES];
    for (unsigned i = 0; i < OBJECTS; i++) {
        fill_object(bytes, i, version);
        assert_int_equal(put(i + 1, 0, bytes, OBJECT_BYTES), 0);
    }
    assert_int_equal(sync_it(1), 0);
}

static void begin_reads(void)
{
    for (unsigned i = 0; i < OBJECTS; i++) {
        struct store_object object = object_of(i + 1);
        results[i] =
            store_chunks.read(store, &object, 0, buffers[i], OBJECT_BYTES, &counts[i], op_of(&waits[i]));
        assert_true(results[i] == 0 || results[i] == STORE_PENDING);
    }
}

/* The bytes that a read came to, and their checksum. */
static void end_read(unsigned i)
{
    const ssize_t status = end_of(&waits[i], results[i]);
    assert_int_equal(results[i] == 0 ? (ssize_t)counts[i] : status, OBJECT_BYTES);
    assert_true(waits[i].op.has_crc);
    assert_int_equal(waits[i].op.crc, crc_of(0, buffers[i], OBJECT_BYTES));
}

static void test_cold_bytes_come_back(void **state)
{
    static uint8_t bytes[OBJECT_BYTES];
    unsigned pending = 0;
    (void)state;
    write_objects(1);
    forget();
    begin_reads();
    for (unsigned i = 0; i < OBJECTS; i++) {
        pending += results[i] == STORE_PENDING;
        end_read(i);
        fill_object(bytes, i, 1);
        assert_memory_equal(buffers[i], bytes, OBJECT_BYTES);
    }
    assert_true(pending > 0);
}

/* Any part of an object with holes, cold and warm, as in memory. */
static void test_cold_parts_and_holes(void **state)
{
    enum { ROUNDS = 60, SIZE = 1 << 20 };
    static uint8_t model[SIZE];
    (void)state;
    size_t end = 0;
    for (unsigned i = 0; i < 30; i++) {
        const uint32_t at = random_below(SIZE - 60000), length = 1 + random_below(60000);
        memcpy(model + at, data + i * 1000, length);
        assert_int_equal(put(1, at, data + i * 1000, length), 0);
        end = at + length > end ? at + length : end;
    }
    assert_int_equal(sync_it(1), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        const uint32_t at = random_below((uint32_t)end), length = 1 + random_below((uint32_t)end - at);
        if (i % 2)
            forget();
        assert_int_equal(get(1, at, buffer, length), length);
        assert_memory_equal(buffer, model + at, length);
    }
    forget();
    assert_int_equal(get(1, 0, buffer, sizeof buffer), end);
    assert_int_equal(get(1, end, buffer, 100), 0);
}

/* Blocks are written over, given away and taken by others while they are read: each block that comes has the
 * bytes of one version of its own object. */
static void test_blocks_that_change_meanwhile(void **state)
{
    static uint8_t bytes[OBJECT_BYTES];
    enum { ROUNDS = 30 };
    (void)state;
    write_objects(0);
    for (unsigned version = 1; version <= ROUNDS; version++) {
        forget();
        begin_reads();
        for (unsigned n = 0; n < OBJECTS; n++) {
            const unsigned i = random_below(OBJECTS);
            fill_object(bytes, i, version);
            const uint32_t at = random_below(OBJECT_BYTES / 4096) * 4096,
                           length = random_below(OBJECT_BYTES - at) + 1;
            assert_int_equal(put(i + 1, at, bytes, length), 0);
            if (n % 8 == 0)
                assert_int_equal(sync_it(i + 1), 0);
        }
        for (unsigned i = 0; i < OBJECTS; i++) {
            end_read(i);
            for (size_t at = 0; at < OBJECT_BYTES; at++)
                if (buffers[i][at] / 8 != i)
                    fail_msg("object %u has a byte of object %u at %zu", i, buffers[i][at] / 8, at);
        }
    }
}

/* A block that is damaged fails, whoever reads it, and names itself once. */
static void test_cold_damage_is_an_error(void **state)
{
    uint8_t byte;
    (void)state;
    write_objects(1);
    const off_t at = data_place(5000);
    int fd = open(data_path(), O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 16;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
    forget();
    begin_reads();
    unsigned damaged = 0;
    for (unsigned i = 0; i < OBJECTS; i++)
        if (end_of(&waits[i], results[i]) == -EIO) {
            damaged++;
            assert_non_null(strstr(err_text(), "is damaged at offset"));
        }
    assert_int_equal(damaged, 1);
    assert_int_equal(((struct chunks_store *)store)->cs->damaged, 1);
}

static int setup_without_rings(void **state)
{
    int error = setup_cold(state);
    if (!error)
        ((struct chunks_store *)store)->rings = false;
    return error;
}

static int run(const char *name)
{
#define BOTH_WAYS(name)                                                \
    {#name, name, setup_cold, teardown, NULL},                         \
    {                                                                  \
#name " by threads", name, setup_without_rings, teardown, NULL \
    }
    const struct CMUnitTest tests[] = {
        BOTH_WAYS(test_cold_bytes_come_back),
        BOTH_WAYS(test_cold_parts_and_holes),
        BOTH_WAYS(test_blocks_that_change_meanwhile),
        BOTH_WAYS(test_cold_damage_is_an_error),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return lab_run(run);
}
