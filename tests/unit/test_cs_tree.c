/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk store's B-tree against a sorted list, with commits, and mounts of what they
 * left; its pages are looked at by cs_page_fault() on each read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "storage/chunks/cs_tree.h"
#include "cs_disk.h"

enum { KEYS = 4000, PAGES = 4096 };

static struct disk disk;
static struct cs_pages pages;
static uint64_t seed;
static struct {
    uint32_t length; /* 0: not there */
    uint8_t byte;
} model[KEYS];

static struct cs_key key_of(unsigned i)
{
    return (struct cs_key){.kind = 2, .ino = i / 50, .position = i / 10 % 5, .index = i % 10};
}

static int setup(void **state)
{
    (void)state;
    seed = getenv("WEFT_SEED") ? strtoull(getenv("WEFT_SEED"), NULL, 0) : 1;
    print_message("WEFT_SEED=%llu\n", (unsigned long long)seed);
    memset(model, 0, sizeof model);
    disk_open(&disk);
    assert_int_equal(disk.io.type->grow(&disk.io, CS_META, PAGES * CS_BLOCK), 0);
    assert_int_equal(cs_pages_open(&pages, &disk.io, PAGES, 16), 0);
    pages.owner = 7;
    pages.generation = 1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cs_pages_close(&pages);
    disk_close(&disk);
    return 0;
}

/* Writes all dirty pages, and lets them become clean. */
static void commit(void)
{
    struct cs_page **list;
    uint32_t count;
    assert_int_equal(cs_pages_seal(&pages, &list, &count), 0);
    for (uint32_t i = 0; i < count; i++) {
        struct iovec iov = {list[i]->bytes, CS_BLOCK};
        assert_int_equal(
            disk.io.type->write(&disk.io, CS_META, (uint64_t)list[i]->number * CS_BLOCK, &iov, 1), 0);
    }
    cs_pages_release(&pages, list, count);
    free(list);
}

static uint32_t count_pages(uint32_t number, uint32_t crc, uint32_t level)
{
    struct cs_page *page, copy;
    uint32_t count = 1;
    assert_int_equal(cs_page_get(&pages, number, crc, level, &page), 0);
    copy = *page;
    cs_pages_trim(&pages);
    for (unsigned i = 0; level > 0 && i < copy.header.count; i++)
        count += count_pages(copy.entries[i].page, copy.entries[i].crc, level - 1);
    return count;
}

static void check_record(const struct cs_record *record, unsigned i)
{
    const struct cs_key key = key_of(i);
    assert_int_equal(cs_key_compare(&record->key, &key), 0);
    assert_int_equal(record->length, model[i].length);
    const uint8_t *value = record->value;
    assert_int_equal(value[0], model[i].byte);
    assert_int_equal(value[record->length - 1], model[i].byte);
}

/* Everything is there, in order, from both sides. */
static void check_all(void)
{
    struct cs_record record;
    struct cs_key at = {0};
    for (unsigned i = 0; i < KEYS; i++) {
        const struct cs_key key = key_of(i);
        cs_pages_trim(&pages);
        assert_int_equal(cs_tree_get(&pages, &key, &record), model[i].length ? 0 : -ENOENT);
        if (!model[i].length)
            continue;
        check_record(&record, i);
        assert_int_equal(cs_tree_at_least(&pages, &at, &record), 0);
        check_record(&record, i);
        at = key;
        at.index++;
    }
    assert_int_equal(cs_tree_at_least(&pages, &at, &record), -ENOENT);
    at = (struct cs_key){.kind = 3};
    for (unsigned i = KEYS; i-- > 0;) {
        if (!model[i].length)
            continue;
        cs_pages_trim(&pages);
        assert_int_equal(cs_tree_at_most(&pages, &at, &record), 0);
        check_record(&record, i);
        at = key_of(i);
        if (at.index-- == 0)
            at = (struct cs_key){.kind = 2, .ino = at.ino, .position = at.position - 1, .index = UINT64_MAX};
        if (key_of(i).index == 0 && key_of(i).position == 0)
            at = (struct cs_key){
                .kind = 2, .ino = key_of(i).ino - 1, .position = UINT32_MAX, .index = UINT64_MAX};
        if (key_of(i).ino == 0 && key_of(i).position == 0 && key_of(i).index == 0)
            break;
    }
}

static void put(unsigned i, uint32_t length)
{
    uint8_t value[CS_VALUE_MAX];
    const struct cs_key key = key_of(i);
    model[i].byte = (uint8_t)disk_random(&seed);
    model[i].length = length;
    memset(value, model[i].byte, length);
    assert_int_equal(cs_tree_put(&pages, &key, value, length), 0);
}

static void drop(unsigned i)
{
    const struct cs_key key = key_of(i);
    assert_int_equal(cs_tree_remove(&pages, &key), model[i].length ? 0 : -ENOENT);
    model[i].length = 0;
}

static void test_random_changes(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        const unsigned changes = (unsigned)(disk_random(&seed) % 300);
        const bool fills = round % 20 < 12;
        for (unsigned n = 0; n < changes; n++) {
            const unsigned i = (unsigned)(disk_random(&seed) % KEYS);
            if (disk_random(&seed) % 4 < (fills ? 3 : 1))
                put(i, 1 + (uint32_t)(disk_random(&seed) % CS_VALUE_MAX));
            else
                drop(i);
        }
        commit();
        assert_int_equal(PAGES - CS_SUPER_SLOTS - pages.free,
                         pages.root ? count_pages(pages.root, pages.root_crc, pages.root_level) : 0);
        if (round % 10 == 9)
            check_all();
    }
    for (unsigned i = 0; i < KEYS; i++)
        drop(i);
    commit();
    assert_int_equal(pages.root, 0);
    assert_int_equal(pages.free, PAGES - CS_SUPER_SLOTS);
}

/* Leaves that grow at their end stay full, so that a file written in order takes little room. */
static void test_records_in_order_fill_pages(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1400; i++)
        for (uint32_t length = 64; length <= 512; length += 64)
            put(i, length);
    commit();
    check_all();
    const uint32_t used = PAGES - CS_SUPER_SLOTS - pages.free;
    assert_in_range(used, 200, 206);
}

static void test_no_free_pages(void **state)
{
    (void)state;
    const uint8_t value[CS_VALUE_MAX] = {1};
    unsigned i = 0;
    int error = 0;
    pages.free -= PAGES - 100; /* as if the others were in use */
    const uint32_t total = pages.total;
    pages.total = 100;
    for (; !error; i++) {
        const struct cs_key key = key_of(i);
        error = cs_tree_put(&pages, &key, value, sizeof value);
    }
    assert_int_equal(error, -ENOSPC);
    assert_in_range(i, 100, 300);
    commit();
    for (unsigned k = 0; k + 1 < i; k++) {
        const struct cs_key key = key_of(k);
        struct cs_record record;
        assert_int_equal(cs_tree_get(&pages, &key, &record), 0);
    }
    pages.total = total;
}

static void test_a_page_that_is_not_in_memory(void **state)
{
    (void)state;
    struct cs_record record;
    for (unsigned i = 0; i < KEYS; i++)
        put(i, 100);
    commit();
    disk.cold = pages.nowait = true;
    unsigned missing = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        const struct cs_key key = key_of(i);
        int error = cs_tree_get(&pages, &key, &record);
        assert_true(error == 0 || error == -EAGAIN);
        missing += error == -EAGAIN;
        error = cs_tree_put(&pages, &key, "x", 1);
        assert_true(error == 0 || error == -EAGAIN);
        if (!error) {
            model[i].length = 1;
            model[i].byte = 'x';
        }
    }
    assert_int_not_equal(missing, 0);
    pages.nowait = false;
    check_all();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_random_changes),
        TEST(test_records_in_order_fill_pages),
        TEST(test_no_free_pages),
        TEST(test_a_page_that_is_not_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
