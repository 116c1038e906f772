/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The repair of a chunk store with pages that can't be read. What it must survive: the loss of leaves with
 * the bits of used blocks, with objects, and with both; of a branch; and of the root.
 *
 * Nothing old comes back in place of what was lost. It stays an error until it is given up, all else is
 * there, and the store goes on unless nobody can know what is free.
 */
#include "cs_repair_lab.h"

/* ---- pages that can't be read ------------------------------------------- */

/* The blocks of many groups, with an object in some of them. */
static void make_groups(uint32_t groups)
{
    memset(model, 0, sizeof model);
    memset(lengths, 0, sizeof lengths);
    const uint64_t bytes = (uint64_t)groups * CS_GROUP_BLOCKS * CS_BLOCK;
    assert_int_equal(store->io->type->grow(store->io, CS_DATA, bytes), 0);
    assert_int_equal(cs_space_blocks_set(&store->space, groups * CS_GROUP_BLOCKS), 0);
    for (uint32_t i = 0; i < groups; i++) {
        store->space.cursor_strip = store->space.cursor_small = i * CS_GROUP_WORDS;
        store->space.no_strips = false;
        write_model(i % OBJECTS, i / OBJECTS * CS_STRIP, CS_STRIP);
    }
    reopen();
}

static void test_a_page_of_blocks_in_use(void **state)
{
    (void)state;
    make_groups(9);
    assert_true(store->pages.root_level > 0);
    assert_int_not_equal(page_of(group_key(0), 0), page_of(cs_object_key(name_of(0)), 0));
    flip_page(page_of(group_key(0), 0));
    open_again();
    assert_int_equal(store->failed, -EIO);
    repair_all();
}

/* The leaf in which groups end and objects begin is gone: the groups are known again, what the objects had
 * stays an error, and all others go on. */
static void test_a_page_of_blocks_and_objects(void **state)
{
    (void)state;
    make_store();
    fill(expected, sizeof expected);
    for (uint64_t ino = 100; ino < 140; ino++)
        put(ino, 0, expected, 5000);
    reopen();
    const struct cs_key last_group = group_key(0), lost = cs_object_key(name_of(0));
    const uint32_t leaf = page_of(lost, 0), space_free = store->space.free;
    assert_int_equal(leaf, page_of(last_group, 0));
    assert_int_not_equal(leaf, page_of(cs_object_key(name_of(139)), 0));
    flip_page(leaf);
    open_again();
    assert_int_equal(store->failed, -EIO);
    repair(false);
    assert_int_equal(store->failed, 0);
    assert_true(repaired.repaired > 0 && repaired.left > 0);
    assert_non_null(strstr(told, "what they had stays an error"));
    assert_int_equal(read_error(0, 0, 10), -EIO);
    assert_int_equal(write_at(0, 0, "x", 1), -EIO);
    assert_true(faults() > 0);
    assert_int_equal(get(139, 0, buffer, BYTES), 5000);
    assert_memory_equal(buffer, expected, 5000);
    assert_true(store->space.free < space_free);
    for (uint64_t ino = 200; ino < 300; ino++)
        put(ino, 0, expected, 5000);
    reopen();
    assert_int_equal(get(299, 0, buffer, BYTES), 5000);
    assert_int_equal(read_error(0, 0, 10), -EIO);
    /* given up: there is nothing any more where the error was, and no block is lost (as the check says). */
    repair(true);
    assert_int_equal(repaired.left, 0);
    assert_int_equal(faults(), 0);
    assert_int_equal(get(0, 0, buffer, BYTES), 0);
    assert_int_equal(get(299, 0, buffer, BYTES), 5000);
    assert_memory_equal(buffer, expected, 5000);
    goes_on_after_loss();
}

enum { MANY = 6000, APART = 10000 };

static uint64_t ino_of(uint64_t i)
{
    return (i + 1) * APART;
}

static void make_many(void)
{
    memset(model, 0, sizeof model);
    memset(lengths, 0, sizeof lengths);
    for (uint64_t i = 0; i < MANY; i++)
        put(ino_of(i), 0, &i, sizeof i);
    reopen();
    assert_int_equal(store->pages.root_level, 2);
}

static unsigned count_many(void)
{
    unsigned found = 0;
    for (uint64_t i = 0; i < MANY; i++) {
        uint64_t bytes = 0;
        const size_t count = get(ino_of(i), 0, &bytes, sizeof bytes);
        if (count == 0)
            continue;
        assert_int_equal(count, sizeof bytes);
        assert_int_equal(bytes, i);
        found++;
    }
    return found;
}

static struct cs_page *first_branch(void)
{
    struct cs_page *root, *branch;
    assert_int_equal(cs_page_get(&store->pages, store->pages.root, store->pages.root_crc, 2, &root), 0);
    assert_int_equal(cs_page_get(&store->pages, root->entries[0].page, root->entries[0].crc, 1, &branch), 0);
    return branch;
}

/* Leaves are added one by one, each at the end of the one before, until the first branch is full. */
static void fill_first_branch(void)
{
    struct cs_object_record record;
    unsigned i = 1;
    assert_int_equal(cs_object_find(store, name_of(ino_of(0)), &record), 0);
    record.length = record.blocks = 0;
    while (first_branch()->entries[i].key.index > 0)
        i++;
    const uint64_t end = first_branch()->entries[i].key.ino;
    for (uint64_t ino = end - APART + 1; ino < end && first_branch()->header.count < CS_BRANCH_MAX; ino++) {
        put_record(cs_object_key(name_of(ino)), &record, sizeof record);
        store->objects++;
    }
    assert_int_equal(first_branch()->header.count, CS_BRANCH_MAX);
    commit_damage();
}

/* The branch above the leaf with the groups has no room for one more, so it is split. */
static void test_a_leaf_below_a_full_branch(void **state)
{
    (void)state;
    make_many();
    fill_first_branch();
    flip_page(page_of(group_key(0), 0));
    repair(false);
    assert_int_equal(store->failed, 0);
    assert_in_range(first_branch()->header.count, 2, CS_BRANCH_MAX - 1);
    assert_non_null(strstr(told, "what they had stays an error"));
    assert_int_equal(read_error(ino_of(0), 0, 1), -EIO);
    assert_int_equal(get(ino_of(MANY / 2), 0, buffer, 1), 1);
    repair(true);
    assert_int_equal(faults(), 0);
    assert_in_range(count_many(), MANY - 100, MANY - 1);
    goes_on();
}

static void test_a_branch(void **state)
{
    (void)state;
    make_many();
    const uint32_t branch = page_of(cs_object_key(name_of(ino_of(MANY - 1))), 1);
    flip_page(branch);
    open_again();
    assert_int_equal(store->failed, -EIO);
    keep_disk();
    repair(false);
    assert_int_equal(repaired.repaired, 0);
    assert_int_equal(repaired.left, 1);
    assert_non_null(strstr(told, "what is below it is not found"));
    assert_int_equal(store->failed, -EIO);
    assert_disk_is_kept();
    repair(true);
    assert_int_equal(repaired.left, 0);
    assert_int_equal(store->failed, 0);
    assert_int_equal(faults(), 0);
    assert_in_range(count_many(), MANY / 4, MANY - 1);
    goes_on();
}

/* Until the commit not even what is below the branch, and counts as free, is written over: were the branch
 * readable again, nothing would be missing. */
static void test_a_death_while_a_branch_is_dropped(void **state)
{
    (void)state;
    struct disk_replay replay;
    unsigned before = 0;
    make_many();
    const uint64_t at = (uint64_t)page_of(cs_object_key(name_of(ino_of(MANY - 1))), 1) * CS_BLOCK + 100;
    cs_close(store);
    const uint64_t place = lab_place(&disk, LAB_SHARD, CS_META, at);
    const enum cs_file file = on_volume ? CS_DATA : CS_META;
    disk.bytes[file][place] ^= 1;
    disk_record(&disk);
    open_store();
    repair(true);
    const uint64_t generation = store->generation;
    cs_close(store);
    disk_replay_open(&replay, &disk);
    for (size_t event = 0; event <= disk.event_count; event++) {
        struct disk crashed;
        disk_replay_to(&replay, event);
        disk_replay_crash(&replay, &seed, &crashed);
        crashed.bytes[file][place] ^= 1;
        lab_disk = &crashed;
        open_store();
        if (store->generation < generation) {
            before++;
            assert_int_equal(store->failed, 0);
            assert_int_equal(count_many(), MANY);
        }
        assert_int_equal(faults(), 0);
        cs_close(store);
        lab_disk = &disk;
        disk_close(&crashed);
    }
    assert_in_range(before, 2, disk.event_count);
    disk_replay_close(&replay);
    open_store();
}

static void test_two_leaves(void **state)
{
    (void)state;
    make_many();
    flip_page(page_of(cs_object_key(name_of(ino_of(1000))), 0));
    flip_page(page_of(cs_object_key(name_of(ino_of(MANY / 2))), 0));
    open_again();
    assert_int_equal(store->failed, 0);
    repair(false);
    assert_int_equal(repaired.repaired, 0);
    assert_int_equal(repaired.left, 2);
    assert_int_equal(read_error(ino_of(1000), 0, 8), -EIO);
    /* What nobody has now may be theirs. */
    flip_blocks(3, 0);
    const uint32_t space_free = store->space.free;
    repair(false);
    assert_int_equal(repaired.repaired, 0);
    assert_int_equal(store->space.free, space_free - 3);
    repair(true);
    assert_int_equal(faults(), 0);
    assert_int_equal(repaired.dropped, 2);
    const unsigned found = count_many();
    assert_in_range(found, MANY - 200, MANY - 2);
    assert_int_equal(store->space.free, space_free + MANY - found);
    goes_on();
}

static void test_the_root(void **state)
{
    (void)state;
    make_many();
    flip_page(store->pages.root);
    open_again();
    keep_disk();
    repair(true);
    assert_int_equal(repaired.left, 1);
    assert_non_null(strstr(told, "it is the root"));
    assert_disk_is_kept();
}

/* On a disk that has room for so many groups. */
static int large_open(void **state)
{
    lab_disk_bytes = UINT64_C(320) << 20;
    const int result = lab_open(state);
    lab_disk_bytes = UINT64_C(64) << 20;
    return result;
}

static int run(const char *name)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, lab_open, lab_close)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_page_of_blocks_in_use, large_open, lab_close),
        TEST(test_a_page_of_blocks_and_objects),
        TEST(test_a_leaf_below_a_full_branch),
        TEST(test_a_branch),
        TEST(test_a_death_while_a_branch_is_dropped),
        TEST(test_two_leaves),
        TEST(test_the_root),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    lab_disk_bytes = UINT64_C(64) << 20;
    return lab_run(run);
}
