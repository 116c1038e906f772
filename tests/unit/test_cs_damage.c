/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk store's core on a disk that fails and lies: bits flip, blocks are swapped, files are short,
 * writes are lost. Nothing wrong is ever given out, what is damaged is named, and all else is served. */
#include "cs_lab.h"

#include <errno.h>
#include <stdio.h>

#include "storage/chunks/cs_scrub.h"

static void ignore_fault(void *arg, const char *text)
{
    (void)arg, (void)text;
}

static void test_a_damaged_block_is_named(void **state)
{
    (void)state;
    struct cs_strip strip;
    fill(expected, sizeof expected);
    put(1, 0, expected, BYTES);
    reopen();
    assert_int_equal(cs_strip_get(store, name_of(1), 1, &strip), 0);
    *byte_at(CS_DATA, (uint64_t)strip.block[3] * CS_BLOCK + 17) ^= 0x10;
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
    *byte_at(CS_DATA, (uint64_t)strip.block[1] * CS_BLOCK) ^= 1;
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
        *byte_at(file, at) ^= bit;
        int error = mount_store();
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
        *byte_at(file, at) ^= bit;
    }
    print_message("%u flips: %u noticed, %u kept the store from opening, %u in what is not in use\n", FLIPS,
                  found, refused, unused);
    assert_int_equal(refused, 0);
    open_store();
    check_store();
}

/* A damaged block in which the object ends is written anew up to the end: nothing of it is read. One more
 * byte of the object behind that, and it is. */
static void test_a_damaged_end_is_written_anew(void **state)
{
    (void)state;
    enum { LENGTH = 3 * CS_BLOCK + 1234 };
    struct cs_strip strip;
    fill(expected, sizeof expected);
    put(1, 0, expected, LENGTH);
    reopen();
    assert_int_equal(cs_strip_get(store, name_of(1), 0, &strip), 0);
    *byte_at(CS_DATA, (uint64_t)strip.block[3] * CS_BLOCK + 77) ^= 4;
    assert_int_equal(read_error(1, 0, LENGTH), -EIO);
    const struct iovec most = {expected + 3 * CS_BLOCK, LENGTH - 3 * CS_BLOCK - 1};
    assert_int_equal(cs_write(store, name_of(1), &layout, 3 * CS_BLOCK, &most, 1, NULL), -EIO);
    const struct iovec all = {expected + 2 * CS_BLOCK, LENGTH - 2 * CS_BLOCK};
    assert_int_equal(cs_write(store, name_of(1), &layout, 2 * CS_BLOCK, &all, 1, NULL), 0);
    reopen();
    assert_int_equal(get(1, 0, buffer, BYTES), LENGTH);
    assert_memory_equal(buffer, expected, LENGTH);
    /* What is behind the end was not made up. */
    put(1, LENGTH + 100, expected, 10);
    assert_int_equal(get(1, LENGTH, buffer, 100), 100);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(buffer[i], 0);
    check_store();
}

/* Records that meet within a block: the second one's sum goes on from the first one's and does not look at
 * the block, so what happened to it in between must fail afterwards. */
static void test_a_flip_before_a_record_goes_on(void **state)
{
    (void)state;
    struct cs_strip strip;
    if (in_whole_blocks)
        return; /* the disk's block is read again there */
    fill(expected, sizeof expected);
    put(1, 0, expected, 3000);
    assert_int_equal(cs_strip_get(store, name_of(1), 0, &strip), 0);
    const size_t at = (size_t)strip.block[0] * CS_BLOCK + disk_random(&seed) % 3000;
    *byte_at(CS_DATA, at) ^= 4;
    put(1, 3000, expected + 3000, 50000);
    assert_int_equal(read_error(1, 0, 53000), -EIO);
    assert_int_equal(get(1, CS_BLOCK, buffer, 53000 - CS_BLOCK), 53000 - CS_BLOCK);
    assert_memory_equal(buffer, expected + CS_BLOCK, 53000 - CS_BLOCK);
    *byte_at(CS_DATA, at) ^= 4;
    assert_int_equal(get(1, 0, buffer, 53000), 53000);
    assert_memory_equal(buffer, expected, 53000);
    check_store();
}

static void count_fault(void *arg, struct cs_name name, uint64_t offset, const char *text)
{
    (void)name;
    (void)offset;
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
    assert_int_equal(
        cs_page_get(&store->pages, store->pages.root, store->pages.root_crc, 1, (struct cs_page **)&root), 0);
    assert_true(root->header.count > 5);
    const uint32_t leaf = root->entries[2].page, last = root->entries[root->header.count - 1u].page;
    const uint16_t leaves = root->header.count;
    cs_close(store);
    *byte_at(CS_META, (uint64_t)leaf * CS_BLOCK + 2000) ^= 1;
    *byte_at(CS_META, (uint64_t)last * CS_BLOCK + 2000) ^= 1;
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
    *byte_at(CS_META, (uint64_t)leaf * CS_BLOCK + 2000) ^= 1;
    *byte_at(CS_META, (uint64_t)last * CS_BLOCK + 2000) ^= 1;
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
    uint8_t *a = byte_at(CS_DATA, (uint64_t)strip.block[0] * CS_BLOCK);
    assert_int_equal(cs_strip_get(store, name_of(2), 0, &strip), 0);
    uint8_t *b = byte_at(CS_DATA, (uint64_t)strip.block[0] * CS_BLOCK);
    memcpy(kept, a, CS_BLOCK);
    memcpy(a, b, CS_BLOCK);
    memcpy(b, kept, CS_BLOCK);
    assert_int_equal(read_error(1, 0, 10), -EIO);
    assert_int_equal(read_error(2, 0, 10), -EIO);
    assert_int_equal(get(1, CS_BLOCK, buffer, 1000), 1000);
    assert_memory_equal(buffer, expected + CS_BLOCK, 1000);
    if (on_volume)
        return; /* what takes the place of a short file is in test_volume.c */
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
    /* What the disk says of it has the names in front, as damage has; it is none. */
    assert_non_null(strstr(err_text(), "target 3 shard 1: inode 1 can't be read at offset "));
    assert_non_null(strstr(err_text(), " of the file (position 1, object offset 0): a test's disk"));
    assert_int_equal(store->damaged, 0);
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

/* So has a page of the metadata that can't be read. */
static void test_an_unreadable_page_is_named(void **state)
{
    (void)state;
    fill(expected, 5000);
    for (uint64_t ino = 1; ino <= 400; ino++)
        put(ino, 0, expected, 5000);
    reopen();
    assert_true(store->pages.root_level == 1);
    disk.fault = DISK_READ_EIO;
    disk.fault_file = CS_META;
    assert_int_equal(read_error(300, 4096, 10), -EIO);
    assert_int_equal(disk.faults, 1);
    assert_non_null(strstr(err_text(), "target 3 shard 1: inode 300 can't be read at offset "));
    assert_int_equal(get(300, 0, buffer, BYTES), 5000);
    assert_memory_equal(buffer, expected, 5000);
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
        format_store();
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
        bool told = mount_store() != 0;
        if (told) {
            disk_close(&disk);
            format_store();
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

static int run(const char *name)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, lab_open, lab_close)
    const struct CMUnitTest tests[] = {
        TEST(test_a_damaged_block_is_named),
        TEST(test_a_damaged_block_of_two_chunks),
        TEST(test_bit_flips),
        TEST(test_a_damaged_end_is_written_anew),
        TEST(test_a_flip_before_a_record_goes_on),
        TEST(test_scrubbing_behind_a_damaged_page),
        TEST(test_swapped_blocks_and_short_files),
        TEST(test_errors_of_the_disk),
        TEST(test_an_unreadable_page_is_named),
        TEST(test_a_failed_flush_ends_all_changes),
        TEST(test_lies_of_the_disk),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return lab_run(run);
}
