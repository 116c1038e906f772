/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk store's core on a disk in memory: bytes, holes, lengths, space, a full disk,
 * damage. test_cs_crash.c has the crashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "storage/chunks/cs_scrub.h"
#include "storage/chunks/cs_store.h"
#include "cs_disk.h"

enum { OBJECTS = 5, BYTES = 3 * CS_STRIP };

static const struct layout layout = {.chunk_size = 4096, .seed = 1, .stripe_count = 2, .group_count = 2};
static struct disk disk;
static struct cs_config config;
static struct cs_store *store;
static uint64_t seed;
static uint8_t buffer[BYTES], expected[BYTES];

static struct cs_name name_of(uint64_t ino)
{
    return (struct cs_name){.ino = ino, .position = 1};
}

static void open_store(void)
{
    assert_int_equal(cs_open(&config, &store), 0);
}

static void reopen(void)
{
    assert_int_equal(cs_commit(store), 0);
    cs_close(store);
    open_store();
    assert_int_equal(store->failed, 0);
}

static int setup(void **state)
{
    (void)state;
    seed = getenv("WEFT_SEED") ? strtoull(getenv("WEFT_SEED"), NULL, 0) : 1;
    print_message("WEFT_SEED=%llu\n", (unsigned long long)seed);
    disk_open(&disk);
    config = (struct cs_config){.io = &disk.io,
                                .name = "target 3 shard 1",
                                .uuid = {1, 2, 3},
                                .shard = 1,
                                .shard_count = 2,
                                .grow_blocks = 256,
                                .cache_pages = 256};
    assert_int_equal(cs_format(&config), 0);
    open_store();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cs_close(store);
    disk_close(&disk);
    return 0;
}

static int write_at(uint64_t ino, uint64_t offset, const void *bytes, size_t length)
{
    struct iovec iov = {(void *)bytes, length};
    return cs_write(store, name_of(ino), &layout, offset, &iov, 1, NULL);
}

static void put(uint64_t ino, uint64_t offset, const void *bytes, size_t length)
{
    int error = write_at(ino, offset, bytes, length);
    if (error)
        fail_msg("%s", err_text());
}

static size_t get(uint64_t ino, uint64_t offset, void *bytes, size_t length)
{
    size_t count;
    int error = cs_read(store, name_of(ino), &layout, offset, bytes, length, &count, NULL);
    if (error)
        fail_msg("%s", err_text());
    return count;
}

static int read_error(uint64_t ino, uint64_t offset, size_t length)
{
    size_t count;
    return cs_read(store, name_of(ino), &layout, offset, buffer, length, &count, NULL);
}

static struct cs_stat stat_of(uint64_t ino)
{
    struct cs_stat stat;
    assert_int_equal(cs_stat(store, name_of(ino), &layout, &stat), 0);
    return stat;
}

static void truncate_to(uint64_t ino, uint64_t length)
{
    int result;
    while ((result = cs_truncate(store, name_of(ino), &layout, length)) > 0)
        ;
    assert_int_equal(result, 0);
}

static void drop(uint64_t ino)
{
    int result;
    while ((result = cs_remove(store, name_of(ino))) > 0)
        ;
    assert_int_equal(result, 0);
}

static void fill(void *bytes, size_t length)
{
    uint8_t *at = bytes;
    for (size_t i = 0; i < length; i++)
        at[i] = (uint8_t)disk_random(&seed);
}

static void print_fault(void *arg, const char *text)
{
    (void)arg;
    print_message("fault: %s\n", text);
}

static void ignore_fault(void *arg, const char *text)
{
    (void)arg, (void)text;
}

static struct cs_check_result check_store(void)
{
    struct cs_check_result result;
    assert_int_equal(cs_commit(store), 0);
    assert_int_equal(cs_check(store, true, print_fault, NULL, &result), 0);
    assert_int_equal(result.faults, 0);
    return result;
}

/* ---- bytes -------------------------------------------------------------- */

static void test_nothing_there(void **state)
{
    (void)state;
    assert_int_equal(get(1, 0, buffer, 100), 0);
    assert_false(stat_of(1).exists);
    drop(1);
    truncate_to(1, 0);
    assert_false(stat_of(1).exists);
    assert_int_equal(check_store().objects, 0);
}

static void test_holes_and_lengths(void **state)
{
    (void)state;
    put(1, CS_STRIP + 5000, "abc", 3);
    assert_int_equal(stat_of(1).length, CS_STRIP + 5003);
    assert_int_equal(stat_of(1).blocks, 1);
    memset(buffer, 1, sizeof buffer);
    memset(expected, 0, sizeof expected);
    memcpy(expected + CS_STRIP + 5000, "abc", 3);
    assert_int_equal(get(1, 0, buffer, sizeof buffer), CS_STRIP + 5003);
    assert_memory_equal(buffer, expected, CS_STRIP + 5003);
    assert_int_equal(get(1, CS_STRIP + 5003, buffer, 1), 0);
    truncate_to(1, 2 * CS_STRIP);
    assert_int_equal(stat_of(1).length, 2 * CS_STRIP);
    assert_int_equal(stat_of(1).blocks, 1);
    /* What was cut off does not come back. */
    truncate_to(1, CS_STRIP + 5001);
    truncate_to(1, CS_STRIP + 6000);
    assert_int_equal(get(1, CS_STRIP + 5000, buffer, 1000), 1000);
    assert_memory_equal(buffer, "a\0\0\0", 4);
    reopen();
    assert_int_equal(get(1, CS_STRIP + 5000, buffer, 1000), 1000);
    assert_memory_equal(buffer, "a\0\0\0", 4);
    assert_int_equal(check_store().blocks, 1);
}

/* Everything against plain arrays, with commits and mounts in between. */
static void test_random_changes(void **state)
{
    (void)state;
    static uint8_t model[OBJECTS][BYTES];
    uint64_t length[OBJECTS] = {0};
    memset(model, 0, sizeof model);
    for (unsigned step = 0; step < 3000; step++) {
        const uint64_t ino = disk_random(&seed) % OBJECTS;
        const uint64_t offset = disk_random(&seed) % BYTES;
        uint64_t bytes = disk_random(&seed) % (disk_random(&seed) % 4 ? 10000 : BYTES);
        if (bytes > BYTES - offset)
            bytes = BYTES - offset;
        switch (disk_random(&seed) % 20) {
        case 0:
            drop(ino);
            memset(model[ino], 0, BYTES);
            length[ino] = 0;
            break;
        case 1:
            truncate_to(ino, offset);
            if (offset < length[ino])
                memset(model[ino] + offset, 0, BYTES - offset);
            length[ino] = offset;
            break;
        case 2:
            assert_int_equal(cs_punch(store, name_of(ino), &layout, offset, bytes), 0);
            memset(model[ino] + offset, 0, bytes);
            break;
        case 3:
            assert_int_equal(cs_commit(store), 0);
            break;
        case 4:
            if (step % 10 == 0)
                reopen();
            break;
        case 5:
        case 6:
        case 7:
            assert_int_equal(get(ino, offset, buffer, bytes), offset >= length[ino] ? 0
                                                              : bytes > length[ino] - offset
                                                                  ? length[ino] - offset
                                                                  : bytes);
            if (offset < length[ino])
                assert_memory_equal(buffer, model[ino] + offset,
                                    bytes < length[ino] - offset ? bytes : length[ino] - offset);
            break;
        default:
            if (bytes == 0)
                break;
            fill(model[ino] + offset, bytes < 64 ? bytes : 64);
            memset(model[ino] + offset, (int)step, bytes);
            fill(model[ino] + offset, bytes < 64 ? bytes : 64);
            put(ino, offset, model[ino] + offset, bytes);
            if (length[ino] < offset + bytes)
                length[ino] = offset + bytes;
        }
        assert_int_equal(stat_of(ino).length, length[ino]);
        if (step % 100 == 0)
            check_store();
    }
    reopen();
    for (unsigned ino = 0; ino < OBJECTS; ino++) {
        assert_int_equal(get(ino, 0, buffer, BYTES), length[ino]);
        assert_memory_equal(buffer, model[ino], length[ino]);
        drop(ino);
    }
    assert_int_equal(check_store().blocks, 0);
    assert_int_equal(store->space.free, store->space.blocks);
    assert_int_equal(store->objects, 0);
}

static void test_many_pieces_of_memory(void **state)
{
    (void)state;
    enum { PIECES = 5000 };
    static struct iovec iov[PIECES];
    size_t at = 0;
    fill(expected, sizeof expected);
    for (unsigned i = 0; i < PIECES; i++) {
        /* Not one behind the other, so that they stay pieces. */
        iov[i] = (struct iovec){expected + at + i % 2, 1 + i % 50};
        at += 60;
    }
    size_t length = 0;
    for (unsigned i = 0; i < PIECES; i++)
        length += iov[i].iov_len;
    assert_int_equal(cs_write(store, name_of(1), &layout, 777, iov, PIECES, NULL), 0);
    assert_int_equal(get(1, 777, buffer, sizeof buffer), length);
    for (size_t i = 0, from = 0; i < PIECES; from += iov[i++].iov_len)
        assert_memory_equal(buffer + from, iov[i].iov_base, iov[i].iov_len);
    check_store();
}

/* The records of several writers, one behind the other in the object, make long runs on the disk. */
static void test_small_pieces_lie_together(void **state)
{
    (void)state;
    enum { RECORD = 47008, RECORDS = 8 };
    fill(expected, sizeof expected);
    for (unsigned i = 0; i < RECORDS; i++) {
        const unsigned at = i * 5 % RECORDS;
        put(1, (uint64_t)at * RECORD, expected + at * RECORD, RECORD);
    }
    assert_int_equal(get(1, 0, buffer, RECORDS * RECORD), RECORDS * RECORD);
    assert_memory_equal(buffer, expected, RECORDS * RECORD);
    /* 91.8 blocks in two strips. */
    assert_int_equal(stat_of(1).blocks, 92);
    struct cs_strip strip;
    unsigned runs = 0;
    for (uint64_t index = 0; index < 2; index++) {
        assert_int_equal(cs_strip_get(store, name_of(1), index, &strip), 0);
        for (unsigned i = 0; i < CS_STRIP_BLOCKS && strip.block[i] != CS_HOLE; i++)
            runs += i == 0 || strip.block[i] != strip.block[i - 1] + 1;
    }
    assert_int_equal(runs, 2);
}

static void test_checksums_given_and_taken(void **state)
{
    (void)state;
    uint32_t crcs[3];
    size_t count;
    fill(expected, sizeof expected);
    struct iovec iov = {expected, 3 * CS_BLOCK};
    /* From the middle of a block: two whole ones are covered. */
    crcs[0] = crc_of(0, expected + CS_BLOCK - 100, CS_BLOCK);
    crcs[1] = crc_of(0, expected + 2 * CS_BLOCK - 100, CS_BLOCK);
    assert_int_equal(cs_write(store, name_of(1), &layout, 100, &iov, 1, crcs), 0);
    uint32_t crc;
    assert_int_equal(cs_read(store, name_of(1), &layout, 100, buffer, 3 * CS_BLOCK, &count, &crc), 0);
    assert_int_equal(crc, crc_of(0, expected, 3 * CS_BLOCK));
    expected[2 * CS_BLOCK] ^= 1;
    iov = (struct iovec){expected, 3 * CS_BLOCK};
    assert_int_equal(cs_write(store, name_of(1), &layout, 100, &iov, 1, crcs), -EBADMSG);
    assert_non_null(strstr(err_text(), "offset 8192"));
    expected[2 * CS_BLOCK] ^= 1;
    assert_int_equal(get(1, 100, buffer, 3 * CS_BLOCK), 3 * CS_BLOCK);
    assert_memory_equal(buffer, expected, 3 * CS_BLOCK);
}

/* Of any range, over blocks, holes and strips, and behind the end. */
static void test_the_checksum_of_a_read(void **state)
{
    (void)state;
    fill(expected, sizeof expected);
    memset(expected + CS_STRIP - 5000, 0, 30000);
    put(1, 0, expected, CS_STRIP - 5000);
    put(1, CS_STRIP + 25000, expected + CS_STRIP + 25000, BYTES - CS_STRIP - 25000 - 7);
    for (unsigned n = 0; n < 300; n++) {
        const uint64_t offset = disk_random(&seed) % BYTES;
        const size_t length = disk_random(&seed) % (n % 2 ? 10000 : BYTES);
        size_t count;
        uint32_t crc = 1;
        assert_int_equal(cs_read(store, name_of(1), &layout, offset, buffer, length, &count, &crc), 0);
        assert_memory_equal(buffer, expected + offset, count);
        assert_int_equal(crc, crc_of(0, buffer, count));
    }
}

static void test_another_layout_is_refused(void **state)
{
    (void)state;
    struct layout other = layout;
    size_t count;
    put(1, 0, "abc", 3);
    other.seed++;
    assert_int_equal(cs_read(store, name_of(1), &other, 0, buffer, 3, &count, NULL), -EIO);
    struct iovec iov = {"abc", 3};
    assert_int_equal(cs_write(store, name_of(1), &other, 0, &iov, 1, NULL), -EIO);
    assert_non_null(strstr(err_text(), "another layout"));
}

static void test_bounds(void **state)
{
    (void)state;
    assert_int_equal(write_at(1, UINT64_MAX, "a", 1), -EFBIG);
    assert_int_equal(write_at(1, CS_OBJECT_BYTES_MAX, "a", 1), -EFBIG);
    assert_int_equal(read_error(1, UINT64_MAX - 1, 10), -EFBIG);
    assert_int_equal(cs_truncate(store, name_of(1), &layout, UINT64_MAX), -EFBIG);
    put(1, CS_OBJECT_BYTES_MAX - 1, "z", 1);
    assert_int_equal(get(1, CS_OBJECT_BYTES_MAX - 2, buffer, 10), 2);
    assert_int_equal(buffer[1], 'z');
    drop(1);
    check_store();
}

/* ---- space -------------------------------------------------------------- */

static void test_committed_blocks_are_not_written_over(void **state)
{
    (void)state;
    struct cs_strip before, after;
    put(1, 0, expected, CS_BLOCK);
    assert_int_equal(cs_strip_get(store, name_of(1), 0, &before), 0);
    put(1, 0, expected, CS_BLOCK);
    assert_int_equal(cs_strip_get(store, name_of(1), 0, &after), 0);
    assert_int_equal(after.block[0], before.block[0]);
    assert_int_equal(cs_commit(store), 0);
    put(1, 0, expected, CS_BLOCK);
    assert_int_equal(cs_strip_get(store, name_of(1), 0, &after), 0);
    assert_int_not_equal(after.block[0], before.block[0]);
    assert_true(store->space.used[before.block[0] / 64] >> before.block[0] % 64 & 1);
    assert_int_equal(cs_commit(store), 0);
    assert_false(store->space.used[before.block[0] / 64] >> before.block[0] % 64 & 1);
}

static void test_a_full_disk(void **state)
{
    (void)state;
    cs_close(store);
    config.data_blocks_max = 1024;
    open_store();
    uint64_t ino = 10, offset = 0;
    int error = 0;
    memset(expected, 7, sizeof expected);
    for (; !error; offset += CS_STRIP)
        error = write_at(ino, offset, expected, CS_STRIP);
    assert_int_equal(error, -ENOSPC);
    assert_non_null(strstr(err_text(), "target 3 shard 1 is full"));
    assert_true(offset > 900 * CS_BLOCK);
    assert_int_equal(cs_commit(store), 0);
    /* What is there can be read, cut and removed. */
    assert_int_equal(get(ino, 0, buffer, BYTES), BYTES);
    assert_memory_equal(buffer, expected, BYTES);
    truncate_to(ino, 5000);
    assert_int_equal(write_at(11, 0, expected, CS_STRIP), -ENOSPC);
    assert_true(cs_commit_gains(store));
    assert_int_equal(cs_commit(store), 0);
    put(11, 0, expected, CS_STRIP);
    drop(ino);
    drop(11);
    assert_int_equal(check_store().blocks, 0);
    assert_int_equal(store->space.free, store->space.blocks);
}

static void test_no_room_for_metadata(void **state)
{
    (void)state;
    disk.size_max[CS_META] = disk.size[CS_META];
    uint64_t ino = 0;
    while (write_at(ino, 0, "a", 1) == 0)
        ino++;
    assert_non_null(strstr(err_text(), "no room for metadata"));
    assert_true(ino > 1000);
    assert_int_equal(cs_commit(store), 0);
    for (uint64_t i = 0; i < ino; i++) {
        int result = cs_remove(store, name_of(i));
        if (result == -ENOSPC && cs_commit_gains(store)) {
            assert_int_equal(cs_commit(store), 0);
            result = cs_remove(store, name_of(i));
        }
        assert_int_equal(result, 0);
    }
    assert_int_equal(check_store().objects, 0);
    put(1, 0, "a", 1);
}

/* ---- waiting ------------------------------------------------------------ */

/* What would wait says so, and is done whole when it may. */
static void test_nowait(void **state)
{
    (void)state;
    fill(expected, sizeof expected);
    put(1, 0, expected, BYTES);
    reopen();
    cs_pages_close(&store->pages);
    cs_space_close(&store->space);
    cs_close(store);
    open_store();
    disk.cold = true;
    for (unsigned step = 0; step < 200; step++) {
        const uint64_t offset = disk_random(&seed) % (BYTES - 10000);
        const size_t length = 1 + disk_random(&seed) % 9999;
        cs_nowait(store, true);
        fill(expected + offset, length < 16 ? length : 16);
        int error = write_at(1, offset, expected + offset, length);
        if (error == -EAGAIN) {
            cs_nowait(store, false);
            error = write_at(1, offset, expected + offset, length);
        }
        assert_int_equal(error, 0);
        cs_nowait(store, true);
        assert_int_equal(read_error(1, offset, length), -EAGAIN);
        cs_nowait(store, false);
        assert_int_equal(get(1, 0, buffer, BYTES), BYTES);
        assert_memory_equal(buffer, expected, BYTES);
        if (step % 20 == 0)
            assert_int_equal(cs_commit(store), 0);
    }
    check_store();
}

/* ---- damage ------------------------------------------------------------- */

static void test_a_damaged_block_is_named(void **state)
{
    (void)state;
    struct cs_strip strip;
    fill(expected, sizeof expected);
    put(1, 0, expected, BYTES);
    reopen();
    assert_int_equal(cs_strip_get(store, name_of(1), 1, &strip), 0);
    disk.bytes[CS_DATA][(uint64_t)strip.block[3] * CS_BLOCK + 17] ^= 0x10;
    assert_int_equal(read_error(1, 0, BYTES), -EIO);
    /* A chunk is a block here. The shard has every fourth of the file, from the fourth one on. */
    char wanted[160];
    snprintf(wanted, sizeof wanted,
             "target 3 shard 1: inode 1 is damaged at offset %d of the file (position 1, object offset %d): ",
             (3 + (64 + 3) * 4) * CS_BLOCK, CS_STRIP + 3 * CS_BLOCK);
    assert_non_null(strstr(err_text(), wanted));
    assert_int_equal(store->damaged, 1);
    /* All else is served, and a part of the block can't be written over. */
    assert_int_equal(get(1, 0, buffer, CS_STRIP + 3 * CS_BLOCK), CS_STRIP + 3 * CS_BLOCK);
    assert_memory_equal(buffer, expected, CS_STRIP + 3 * CS_BLOCK);
    assert_int_equal(write_at(1, CS_STRIP + 3 * CS_BLOCK + 5, "x", 1), -EIO);
    put(1, CS_STRIP + 3 * CS_BLOCK, expected, CS_BLOCK);
    assert_int_equal(get(1, 0, buffer, BYTES), BYTES);
    check_store();
}

/* A block that has the end of one chunk and the beginning of the next names both places. */
static void test_a_damaged_block_of_two_chunks(void **state)
{
    (void)state;
    static const struct layout odd = {.chunk_size = 5000, .seed = 1, .stripe_count = 2, .group_count = 2};
    struct iovec iov = {expected, 20000};
    struct cs_strip strip;
    size_t count;
    fill(expected, sizeof expected);
    assert_int_equal(cs_write(store, name_of(1), &odd, 0, &iov, 1, NULL), 0);
    reopen();
    assert_int_equal(cs_strip_get(store, name_of(1), 0, &strip), 0);
    disk.bytes[CS_DATA][(uint64_t)strip.block[1] * CS_BLOCK] ^= 1;
    assert_int_equal(cs_read(store, name_of(1), &odd, 5000, buffer, 100, &count, NULL), -EIO);
    assert_non_null(
        strstr(err_text(), "at offset 19096 and 35000 of the file (position 1, object offset 4096)"));
}

/* Every bit of the metadata and data: no wrong byte is ever given out, and none is missed. */
static void test_bit_flips(void **state)
{
    (void)state;
    enum { FLIPS = 1000 };
    unsigned found = 0, refused = 0, unused = 0;
    fill(expected, sizeof expected);
    for (uint64_t ino = 0; ino < OBJECTS; ino++)
        put(ino, ino * 1000, expected, BYTES / 2);
    reopen();
    cs_close(store);
    for (unsigned n = 0; n < FLIPS; n++) {
        const enum cs_file file = (enum cs_file)(n % 2);
        /* Where something is: pages that are not in use may hold anything. */
        const uint64_t at = disk_random(&seed) % (file == CS_META ? 40 * CS_BLOCK : OBJECTS * BYTES / 2);
        const uint8_t bit = (uint8_t)(1u << disk_random(&seed) % 8);
        bool noticed = false;
        disk.bytes[file][at] ^= bit;
        int error = cs_open(&config, &store);
        noticed = error || store->failed || store->supers_bad;
        refused += error != 0;
        for (uint64_t ino = 0; !error && ino < OBJECTS; ino++) {
            size_t count;
            int result = cs_read(store, name_of(ino), &layout, 0, buffer, BYTES, &count, NULL);
            noticed = noticed || result;
            if (result) {
                assert_int_equal(result, -EIO);
                continue;
            }
            assert_int_equal(count, ino * 1000 + BYTES / 2);
            assert_memory_equal(buffer + ino * 1000, expected, BYTES / 2);
        }
        if (!error) {
            struct cs_check_result result;
            assert_int_equal(cs_check(store, true, ignore_fault, NULL, &result), 0);
            assert_int_equal(result.faults > 0, noticed && !store->supers_bad);
            cs_close(store);
        }
        found += noticed;
        unused += !noticed;
        disk.bytes[file][at] ^= bit;
    }
    print_message("%u flips: %u noticed, %u kept the store from opening, %u in what is not in use\n", FLIPS,
                  found, refused, unused);
    assert_int_equal(refused, 0);
    open_store();
    check_store();
}

static void count_fault(void *arg, const char *text)
{
    (void)text;
    ++*(unsigned *)arg;
}

/* A leaf that is damaged hides its own strips from the scrubber and no others. */
static void test_scrubbing_behind_a_damaged_page(void **state)
{
    (void)state;
    enum { MANY = 400 };
    struct cs_scrub scrub = {0};
    unsigned strips = 0, faults = 0, damaged = 0;
    uint64_t bad;
    int result;
    fill(expected, sizeof expected);
    for (uint64_t ino = 1; ino <= MANY; ino++)
        put(ino, 0, expected, 5000);
    reopen();
    assert_true(store->pages.root_level == 1);
    const struct cs_page *root;
    assert_int_equal(cs_page_get(&store->pages, store->pages.root, store->pages.root_crc, 1,
                                 (struct cs_page **)&root),
                     0);
    assert_true(root->header.count > 5);
    const uint32_t leaf = root->entries[2].page, last = root->entries[root->header.count - 1u].page;
    const uint16_t leaves = root->header.count;
    cs_close(store);
    disk.bytes[CS_META][(uint64_t)leaf * CS_BLOCK + 2000] ^= 1;
    disk.bytes[CS_META][(uint64_t)last * CS_BLOCK + 2000] ^= 1;
    open_store();
    while ((result = cs_scrub_next(store, &scrub)) >= 0) {
        assert_true(strips + damaged < 2 * MANY);
        if (result > 0) {
            damaged++;
            continue;
        }
        strips++;
        cs_scrub_read(store->io, &scrub, &bad);
        if (bad)
            cs_scrub_confirm(store, &scrub, bad, count_fault, &faults);
    }
    assert_int_equal(result, -ENOENT);
    assert_int_equal(damaged, 2);
    assert_int_equal(faults, 0);
    assert_in_range(strips, MANY - 3 * MANY / leaves, MANY - MANY / leaves);
    disk.bytes[CS_META][(uint64_t)leaf * CS_BLOCK + 2000] ^= 1;
    disk.bytes[CS_META][(uint64_t)last * CS_BLOCK + 2000] ^= 1;
}

static void test_swapped_blocks_and_short_files(void **state)
{
    (void)state;
    uint8_t kept[CS_BLOCK];
    struct cs_strip strip;
    fill(expected, sizeof expected);
    put(1, 0, expected, BYTES);
    put(2, 0, expected + 1, BYTES - 1);
    reopen();
    assert_int_equal(cs_strip_get(store, name_of(1), 0, &strip), 0);
    uint8_t *a = disk.bytes[CS_DATA] + (uint64_t)strip.block[0] * CS_BLOCK;
    assert_int_equal(cs_strip_get(store, name_of(2), 0, &strip), 0);
    uint8_t *b = disk.bytes[CS_DATA] + (uint64_t)strip.block[0] * CS_BLOCK;
    memcpy(kept, a, CS_BLOCK);
    memcpy(a, b, CS_BLOCK);
    memcpy(b, kept, CS_BLOCK);
    assert_int_equal(read_error(1, 0, 10), -EIO);
    assert_int_equal(read_error(2, 0, 10), -EIO);
    assert_int_equal(get(1, CS_BLOCK, buffer, 1000), 1000);
    assert_memory_equal(buffer, expected + CS_BLOCK, 1000);
    const uint64_t size = disk.size[CS_DATA];
    cs_close(store);
    disk.size[CS_DATA] = 40 * CS_BLOCK;
    open_store();
    assert_int_equal(store->failed, -EIO);
    assert_int_equal(write_at(1, 0, "a", 1), -EIO);
    assert_int_equal(read_error(2, BYTES - 10, 5), -EIO);
    disk.size[CS_DATA] = size;
}

/* ---- faults of the disk ------------------------------------------------- */

static void test_errors_of_the_disk(void **state)
{
    (void)state;
    put(1, 0, "abcd", 4);
    assert_int_equal(cs_commit(store), 0);
    disk.fault = DISK_READ_EIO;
    disk.fault_file = CS_DATA;
    assert_int_equal(read_error(1, 0, 4), -EIO);
    assert_int_equal(get(1, 0, buffer, 4), 4);
    /* A write that fails leaves what was there. */
    disk.fault = DISK_WRITE_EIO;
    assert_int_equal(write_at(1, 0, "xy", 2), -EIO);
    assert_int_equal(get(1, 0, buffer, 4), 4);
    assert_memory_equal(buffer, "abcd", 4);
    disk.fault = DISK_GROW_ENOSPC;
    disk.fault_in = 0;
    assert_int_equal(write_at(1, 0, "wz", 2), 0);
    disk.fault = DISK_GOOD;
    check_store();
}

static void test_a_failed_flush_ends_all_changes(void **state)
{
    (void)state;
    put(1, 0, "abcd", 4);
    assert_int_equal(cs_commit(store), 0);
    put(1, 0, "xy", 2);
    disk.fault = DISK_FLUSH_EIO;
    disk.fault_file = CS_DATA;
    assert_int_equal(cs_commit(store), -EIO);
    assert_int_equal(write_at(1, 0, "zz", 2), -EIO);
    assert_non_null(strstr(err_text(), "a commit failed"));
    assert_int_equal(cs_commit(store), 0); /* nothing has changed since */
    cs_close(store);
    open_store();
    assert_int_equal(get(1, 0, buffer, 4), 4);
    assert_memory_equal(buffer, "abcd", 4);
}

/* A disk that lies: what it lost or put elsewhere is found, never given out. */
static void test_lies_of_the_disk(void **state)
{
    (void)state;
    static const enum disk_fault lies[] = {DISK_WRITE_LOST, DISK_WRITE_TORN, DISK_WRITE_MISDIRECTED};
    unsigned noticed = 0, made = 0;
    for (unsigned n = 0; n < 240; n++) {
        cs_close(store);
        disk_close(&disk);
        disk_open(&disk);
        assert_int_equal(cs_format(&config), 0);
        open_store();
        fill(expected, 2 * CS_STRIP);
        put(1, 0, expected, CS_STRIP);
        put(2, 0, expected, 1000);
        assert_int_equal(cs_commit(store), 0);
        const unsigned before = disk.faults;
        disk.fault = lies[n % 3];
        disk.fault_file = (enum cs_file)(n / 3 % 2);
        disk.fault_in = (unsigned)(disk_random(&seed) % 4);
        fill(expected + 5000, 20000);
        put(1, 5000, expected + 5000, 20000);
        put(3, 0, expected, 30000);
        assert_int_equal(cs_commit(store), 0);
        disk.fault = DISK_GOOD;
        cs_close(store);
        bool told = cs_open(&config, &store) != 0;
        if (told) {
            disk_close(&disk);
            disk_open(&disk);
            assert_int_equal(cs_format(&config), 0);
            open_store();
            continue;
        }
        told = store->failed || store->supers_bad || store->generation != 3;
        for (uint64_t ino = 1; ino <= 3; ino++) {
            const size_t length = ino == 1 ? CS_STRIP : ino == 2 ? 1000 : 30000;
            size_t count;
            int error = cs_read(store, name_of(ino), &layout, 0, buffer, length, &count, NULL);
            told = told || error;
            if (error || store->generation != 3)
                continue;
            assert_int_equal(count, length);
            assert_memory_equal(buffer, expected, length);
        }
        made += disk.faults != before;
        noticed += told;
        /* Misdirected and lost writes of pages that nobody needs any more leave no trace. */
        if (disk.fault_file == CS_DATA)
            assert_int_equal(told, disk.faults != before);
    }
    print_message("%u lies, %u noticed\n", made, noticed);
    assert_true(made > 100);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_there),
        TEST(test_holes_and_lengths),
        TEST(test_random_changes),
        TEST(test_many_pieces_of_memory),
        TEST(test_small_pieces_lie_together),
        TEST(test_checksums_given_and_taken),
        TEST(test_the_checksum_of_a_read),
        TEST(test_another_layout_is_refused),
        TEST(test_bounds),
        TEST(test_committed_blocks_are_not_written_over),
        TEST(test_a_full_disk),
        TEST(test_no_room_for_metadata),
        TEST(test_nowait),
        TEST(test_a_damaged_block_is_named),
        TEST(test_a_damaged_block_of_two_chunks),
        TEST(test_bit_flips),
        TEST(test_scrubbing_behind_a_damaged_page),
        TEST(test_swapped_blocks_and_short_files),
        TEST(test_errors_of_the_disk),
        TEST(test_a_failed_flush_ends_all_changes),
        TEST(test_lies_of_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
