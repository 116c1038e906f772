/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of the HDF5 driver against a plain array: what is read is what was written last, what was
 * flushed is in the file, whatever the order, and whichever request fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cache.h"

#define FILE_BYTES (12 * CACHE_BLOCK_BYTES + 777)
#define STEPS      4000

/* The file below the cache, and what it ought to look like through it. */
struct world {
    uint8_t below[FILE_BYTES + CACHE_BLOCK_BYTES];
    uint8_t model[FILE_BYTES + CACHE_BLOCK_BYTES];
    unsigned reads, writes, pieces;
    uint64_t read_bytes;
    unsigned fail_one_in; /* 0: nothing fails */
    uint64_t random;
};

static struct world world;

static uint32_t random_below(uint32_t bound)
{
    world.random = world.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((world.random >> 33) % bound);
}

static bool fails(void)
{
    return world.fail_one_in && random_below(world.fail_one_in) == 0;
}

static ssize_t read_below(void *arg, uint64_t offset, const struct iovec *pieces, size_t count)
{
    uint64_t end = offset;
    (void)arg;
    world.reads++;
    if (fails())
        return -5;
    for (size_t i = 0; i < count; i++) {
        uint64_t there = end < FILE_BYTES ? FILE_BYTES - end : 0;
        there = there < pieces[i].iov_len ? there : pieces[i].iov_len;
        if (there > 0)
            memcpy(pieces[i].iov_base, world.below + end, there);
        memset((uint8_t *)pieces[i].iov_base + there, 0, pieces[i].iov_len - there);
        end += pieces[i].iov_len;
    }
    world.read_bytes += end - offset;
    if (offset >= FILE_BYTES)
        return 0;
    return (ssize_t)((end < FILE_BYTES ? end : FILE_BYTES) - offset);
}

static int write_below(void *arg, const struct iovec *pieces, const uint64_t *offsets, size_t count)
{
    (void)arg;
    world.writes++;
    if (fails())
        return -5;
    for (size_t i = 0; i < count; i++) {
        assert_true(pieces[i].iov_len > 0 && offsets[i] + pieces[i].iov_len <= sizeof world.below);
        if (i > 0)
            assert_true(offsets[i] >= offsets[i - 1] + pieces[i - 1].iov_len);
        memcpy(world.below + offsets[i], pieces[i].iov_base, pieces[i].iov_len);
        world.pieces++;
    }
    return 0;
}

static const struct cache_backing backing = {.read = read_below, .write = write_below};

static struct cache *begin(size_t bytes, uint64_t seed)
{
    memset(&world, 0, sizeof world);
    world.random = seed;
    for (size_t i = 0; i < FILE_BYTES; i++)
        world.below[i] = world.model[i] = (uint8_t)random_below(256);
    struct cache *cache = cache_new(bytes, &backing);
    assert_non_null(cache);
    return cache;
}

static void random_piece(uint32_t *offset, uint32_t *length)
{
    /* Short ones mostly, and often near the border of a block. */
    *offset = random_below(FILE_BYTES);
    if (random_below(3) == 0)
        *offset = (*offset / CACHE_BLOCK_BYTES + 1) * CACHE_BLOCK_BYTES - random_below(64);
    *length = 1 + random_below(random_below(4) == 0 ? 2 * CACHE_BLOCK_BYTES : 512);
    *offset = *offset < FILE_BYTES ? *offset : FILE_BYTES - 1;
    if (*length > FILE_BYTES - *offset)
        *length = FILE_BYTES - *offset;
}

static uint8_t bytes[FILE_BYTES];

static void step_write(struct cache *cache, uint32_t offset, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)random_below(256);
    if (cache_write(cache, offset, bytes, length) == 0)
        memcpy(world.model + offset, bytes, length);
    else /* a part of it may be there: ask for which */
        for (uint32_t i = 0; i < length; i++) {
            world.fail_one_in = 0;
            assert_int_equal(cache_read(cache, offset + i, world.model + offset + i, 1, false), 0);
            world.fail_one_in = 50;
        }
}

static void step_read(struct cache *cache, uint32_t offset, uint32_t length)
{
    if (cache_read(cache, offset, bytes, length, random_below(2)) == 0)
        assert_memory_equal(bytes, world.model + offset, length);
}

/* A large piece written past the cache, as the driver does it. */
static void step_past(struct cache *cache, uint32_t offset, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)random_below(256);
    memcpy(world.below + offset, bytes, length);
    memcpy(world.model + offset, bytes, length);
    cache_overwritten(cache, offset, bytes, length);
}

/* And one read past it. */
static void step_read_past(struct cache *cache, uint32_t offset, uint32_t length)
{
    if (cache_holds_dirty(cache, offset, length) && cache_flush(cache) != 0)
        return;
    assert_memory_equal(world.below + offset, world.model + offset, length);
}

static void step_cut(struct cache *cache, uint32_t size)
{
    if (cache_flush(cache) != 0)
        return;
    memset(world.below + size, 0, sizeof world.below - size);
    memset(world.model + size, 0, sizeof world.model - size);
    cache_cut(cache, size);
}

static void run(size_t memory, unsigned fail_one_in, uint64_t seed)
{
    struct cache *cache = begin(memory, seed);
    world.fail_one_in = fail_one_in;
    for (unsigned i = 0; i < STEPS; i++) {
        uint32_t offset, length, kind = random_below(100);
        random_piece(&offset, &length);
        if (kind < 40)
            step_write(cache, offset, length);
        else if (kind < 80)
            step_read(cache, offset, length);
        else if (kind < 88)
            step_past(cache, offset, length);
        else if (kind < 94)
            step_read_past(cache, offset, length);
        else if (kind < 96)
            step_cut(cache, offset);
        else if (kind < 98)
            (void)cache_flush(cache);
        else
            cache_clear(cache);
    }
    world.fail_one_in = 0;
    assert_int_equal(cache_flush(cache), 0);
    assert_memory_equal(world.below, world.model, FILE_BYTES);
    cache_free(cache);
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        run(seed % 3 == 0 ? 0 : seed % 3 == 1 ? 3 * CACHE_BLOCK_BYTES : 64 * CACHE_BLOCK_BYTES, 0, seed);
    }
}

static void test_random_failures(void **state)
{
    (void)state;
    for (uint64_t seed = 100; seed < 106; seed++) {
        print_message("seed %u\n", (unsigned)seed);
        run(seed % 2 ? 3 * CACHE_BLOCK_BYTES : 64 * CACHE_BLOCK_BYTES, 50, seed);
    }
}

/* The reason for having it: many small pieces, few requests. */
static void test_requests(void **state)
{
    (void)state;
    struct cache *cache = begin(64 * CACHE_BLOCK_BYTES, 7);
    for (uint32_t offset = 0; offset < 4 * CACHE_BLOCK_BYTES; offset += 128)
        assert_int_equal(cache_write(cache, offset, bytes, 128), 0);
    assert_int_equal(world.reads, 0);
    assert_int_equal(world.writes, 0);
    assert_int_equal(cache_flush(cache), 0);
    assert_int_equal(world.writes, 1);
    assert_int_equal(world.pieces, 4);
    assert_int_equal(cache_flush(cache), 0);
    assert_int_equal(world.writes, 1);
    for (uint32_t offset = 0; offset < 8 * CACHE_BLOCK_BYTES; offset += 512)
        assert_int_equal(cache_read(cache, offset, bytes, 100, true), 0);
    assert_int_equal(world.reads, 3); /* of the four blocks that were not written whole */
    cache_free(cache);
}

/* Blocks that are asked for one behind the other are read twice as many at a time, up to the end. */
static void test_ahead(void **state)
{
    (void)state;
    struct cache *cache = begin(64 * CACHE_BLOCK_BYTES, 5);
    for (uint32_t offset = 0; offset < FILE_BYTES - 100; offset += 3000)
        assert_int_equal(cache_read(cache, offset, bytes, 100, true), 0);
    assert_int_equal(world.reads, 4); /* 1, 2, 4 and 8 blocks */
    assert_int_equal(cache_read(cache, FILE_BYTES - 50, bytes, 50, true), 0);
    assert_memory_equal(bytes, world.below + FILE_BYTES - 50, 50);
    assert_int_equal(world.reads, 4);
    cache_free(cache);

    cache = begin(64 * CACHE_BLOCK_BYTES, 6);
    for (uint32_t block = 12; block > 0; block--)
        assert_int_equal(cache_read(cache, block * CACHE_BLOCK_BYTES, bytes, 100, true), 0);
    assert_int_equal(world.read_bytes, 12 * CACHE_BLOCK_BYTES);
    cache_free(cache);
}

/* Pieces far from each other are read alone; a block that is asked for again is worth reading. */
static void test_far(void **state)
{
    (void)state;
    struct cache *cache = begin(64 * CACHE_BLOCK_BYTES, 9);
    for (uint32_t offset = 5000; offset < 8 * CACHE_BLOCK_BYTES; offset += CACHE_BLOCK_BYTES)
        assert_int_equal(cache_read(cache, offset, bytes, 400, false), 0);
    assert_int_equal(world.reads, 8);
    assert_int_equal(world.read_bytes, 8 * 400);
    for (uint32_t offset = 5400; offset < CACHE_BLOCK_BYTES - 400; offset += 400)
        assert_int_equal(cache_read(cache, offset, bytes, 400, false), 0);
    assert_int_equal(world.reads, 9);
    cache_free(cache);
}

/* Two streams that take turns do not disturb each other; one is of pieces that are far from each other. */
static void test_two_streams(void **state)
{
    (void)state;
    struct cache *cache = begin(64 * CACHE_BLOCK_BYTES, 4);
    for (uint32_t offset = 0; offset < 6 * CACHE_BLOCK_BYTES; offset += 2000) {
        uint32_t other = offset + 6 * CACHE_BLOCK_BYTES;
        assert_int_equal(cache_read(cache, offset, bytes, 100, true), 0);
        assert_int_equal(cache_read(cache, other, bytes, 100, false), 0);
        assert_memory_equal(bytes, world.below + other, 100);
    }
    /* 1, 2 and 3 blocks up to where the other began; there a piece first, then 1, 2 and 4 blocks. */
    assert_int_equal(world.reads, 3 + 4);
    cache_free(cache);

    /* Back and forth, as from an object's header to its group's. */
    static const uint8_t order[] = {1, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10};
    cache = begin(64 * CACHE_BLOCK_BYTES, 3);
    for (unsigned i = 0; i < sizeof order; i++)
        assert_int_equal(cache_read(cache, order[i] * CACHE_BLOCK_BYTES, bytes, 100, true), 0);
    assert_int_equal(world.reads, 4); /* 1; 2 and 3; 4 to 7; 8 to the end */
    cache_free(cache);
}

static void test_put(void **state)
{
    (void)state;
    struct cache *cache = begin(64 * CACHE_BLOCK_BYTES, 8);
    assert_int_equal(cache_put(cache, 0, world.below, 1000), 0);
    assert_int_equal(cache_read(cache, 10, bytes, 900, true), 0);
    assert_memory_equal(bytes, world.below + 10, 900);
    assert_int_equal(world.reads, 0);
    assert_int_equal(cache_read(cache, 900, bytes, 200, true), 0);
    assert_memory_equal(bytes, world.below + 900, 200);
    assert_int_equal(world.reads, 1);
    cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),   cmocka_unit_test(test_random_failures),
        cmocka_unit_test(test_requests), cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_far),      cmocka_unit_test(test_two_streams),
        cmocka_unit_test(test_put),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cache_memory_end();
    return failed;
}
