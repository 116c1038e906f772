/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The repair of a chunk store. What it must survive: bits of used blocks that are wrong, missing or
 * impossible; counts and lengths that are wrong; strips without an object; lost superblocks; a file that was
 * cut; damaged data; changes that only the log has; and its own death at any moment. Pages that can't be read
 * are in test_cs_repair_pages.c.
 *
 * Afterwards nothing is wrong but what was lost, every byte that was not damaged is there, and the store goes
 * on.
 */
#include "cs_repair_lab.h"

#include "storage/chunks/cs_overlay.h"

enum { ROUNDS = 12 };

/* ---- what is derived ---------------------------------------------------- */

static void test_blocks_in_use(void **state)
{
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        make_anew();
        flip_blocks(1 + (unsigned)(disk_random(&seed) % 100), round % 3);
        open_again();
        assert_true(faults() > 0);
        repair_all();
    }
}

static void test_records_of_blocks_that_are_lost(void **state)
{
    (void)state;
    static const uint8_t zeros[100];
    make_store();
    remove_record(group_key(0));
    commit_damage();
    open_again();
    assert_true(faults() > 0);
    repair_all();
    make_anew();
    put_record(group_key(0), zeros, sizeof zeros);
    put_record(group_key(1000), zeros, sizeof zeros);
    commit_damage();
    open_again();
    assert_int_equal(store->failed, -EIO);
    repair_all();
}

static void test_counts_and_lengths(void **state)
{
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        make_anew();
        const uint64_t ino = disk_random(&seed) % OBJECTS;
        const uint64_t blocks = stat_of(ino).blocks;
        change_object(ino, 1 - (int64_t)(disk_random(&seed) % blocks) * 2, lengths[ino]);
        store->objects += round % 2;
        commit_damage();
        open_again();
        assert_true(faults() > 0);
        repair_all();
    }
    /* The end of the last block is the least that the length can be; behind the true end are zeros. */
    make_anew();
    change_object(2, 0, disk_random(&seed) % (lengths[2] - CS_BLOCK));
    change_object(3, 0, UINT64_MAX);
    change_object(4, 0, lengths[4] + 1000000);
    lengths[2] = (lengths[2] + CS_BLOCK - 1) / CS_BLOCK * CS_BLOCK;
    lengths[3] = (lengths[3] + CS_BLOCK - 1) / CS_BLOCK * CS_BLOCK;
    open_again();
    assert_int_equal(stat_of(4).length, lengths[4] + 1000000);
    assert_true(faults() > 0);
    assert_non_null(strstr(told, "its length is impossible"));
    assert_non_null(strstr(told, "a block is behind the end"));
    repair(false);
    assert_int_equal(repaired.repaired, 2);
    assert_int_equal(faults(), 0);
    assert_int_equal(stat_of(4).length, lengths[4] + 1000000);
    truncate_to(4, lengths[4]);
    reopen();
    goes_on();
}

static void test_superblocks(void **state)
{
    (void)state;
    make_store();
    for (uint32_t slot = 0; slot < CS_SUPER_SLOTS; slot++) {
        flip_page(slot);
        open_again();
        assert_int_equal(store->supers_bad, 1);
        compare();
        repair_all();
    }
}

/* ---- what is lost ------------------------------------------------------- */

static void test_strips_without_an_object(void **state)
{
    (void)state;
    static const uint8_t zeros[10];
    make_store();
    const uint64_t blocks = stat_of(1).blocks + stat_of(2).blocks;
    remove_record(cs_object_key(name_of(1)));
    put_record(cs_object_key(name_of(2)), zeros, sizeof zeros);
    store->objects -= 2;
    commit_damage();
    keep_disk();
    repair(false);
    assert_int_equal(repaired.left, 2);
    assert_non_null(strstr(told, "inode 1 position 1: "));
    assert_non_null(strstr(told, "they stay unless they are dropped"));
    assert_true(faults() > 0);
    assert_disk_is_kept();
    const uint32_t space_free = store->space.free;
    repair(true);
    assert_int_equal(repaired.dropped, 2);
    assert_int_equal(store->space.free, space_free + blocks);
    memset(model[1], 0, 2 * BYTES);
    lengths[1] = lengths[2] = 0;
    assert_int_equal(faults(), 0);
    goes_on();
}

static void test_a_strip_that_makes_no_sense(void **state)
{
    (void)state;
    static const uint8_t zeros[24];
    make_store();
    write_model(0, 0, BYTES);
    put_record(cs_strip_key(name_of(0), 1), zeros, sizeof zeros);
    commit_damage();
    repair(false);
    /* Its blocks are nobody's. */
    assert_int_equal(repaired.left, 1);
    assert_int_equal(faults(), 2);
    assert_int_equal(read_error(0, CS_STRIP, 10), -EIO);
    repair(true);
    assert_int_equal(faults(), 0);
    memset(model[0] + CS_STRIP, 0, CS_STRIP);
    goes_on();
}

/* Damaged data is no matter of a repair, which tells where it is. */
static void test_data_stays_damaged(void **state)
{
    (void)state;
    struct cs_strip strip;
    char text[80];
    make_store();
    write_model(3, 0, BYTES);
    reopen();
    assert_int_equal(cs_strip_get(store, name_of(3), 1, &strip), 0);
    uint8_t *byte = byte_at(CS_DATA, (uint64_t)strip.block[5] * CS_BLOCK + 99);
    *byte ^= 1;
    flip_blocks(20, 2);
    repair(false);
    assert_int_equal(faults(), 1);
    snprintf(text, sizeof text, "inode 3 is damaged at offset %d of the file", (3 + (64 + 5) * 4) * CS_BLOCK);
    assert_non_null(strstr(told, text));
    repair(true);
    assert_int_equal(faults(), 1);
    *byte ^= 1;
    assert_int_equal(faults(), 0);
    goes_on();
}

static void test_short_files(void **state)
{
    (void)state;
    if (on_volume)
        return; /* what takes the place of a short file is in test_volume.c */
    make_store();
    cs_close(store);
    const uint64_t size = disk.size[CS_DATA], cut = 300 * CS_BLOCK;
    keep_disk();
    disk.size[CS_DATA] = cut;
    disk.bytes[CS_DATA] = realloc(disk.bytes[CS_DATA], cut);
    open_store();
    assert_int_equal(store->failed, -EIO);
    repair(false);
    assert_int_equal(store->failed, 0);
    assert_int_equal(disk.size[CS_DATA], size);
    struct cs_check_result result;
    assert_int_equal(cs_check(store, true, note, NULL, &result), 0);
    assert_int_equal(result.faults, result.damaged);
    assert_true(result.damaged > 0);
    memcpy(disk.bytes[CS_DATA] + cut, kept.bytes[CS_DATA] + cut, size - cut);
    disk_close(&kept);
    goes_on();
}

/* ---- the log ------------------------------------------------------------ */

/* Changes that no commit has, on a store whose metadata is damaged. */
static void make_logged(void)
{
    make_anew();
    remove_record(group_key(0));
    commit_damage();
    /* The one who writes the log knows what is in use. */
    config.log = true;
    open_again();
    for (uint64_t ino = 0; ino < OBJECTS; ino++) {
        for (uint64_t index = 0; index < BYTES / CS_STRIP; index++) {
            struct cs_strip strip;
            assert_int_equal(cs_strip_get(store, name_of(ino), index, &strip), 0);
            for (unsigned i = 0; i < CS_STRIP_BLOCKS; i++)
                if (strip.block[i] != CS_HOLE) {
                    store->space.used[strip.block[i] / 64] |= UINT64_C(1) << strip.block[i] % 64;
                    store->space.free--;
                }
        }
    }
    for (unsigned i = 0; i < 5; i++)
        write_at_random(i % OBJECTS);
    config.log = false;
}

static void test_changes_in_the_log(void **state)
{
    (void)state;
    make_logged();
    repair(false);
    assert_true(repaired.replayed >= 5);
    if (faults() || repaired.left)
        fail_msg("%s", told);
    compare();
    goes_on();
}

static void test_a_log_that_does_not_fit(void **state)
{
    (void)state;
    static uint8_t before[OBJECTS][BYTES];
    size_t before_lengths[OBJECTS];
    struct cs_strip strip;
    make_anew();
    memcpy(before, model, sizeof model);
    memcpy(before_lengths, lengths, sizeof lengths);
    flip_blocks(7, 0);
    config.log = true;
    open_again();
    write_model(0, 0, CS_STRIP);
    assert_int_equal(cs_strip_get(store, name_of(0), 0, &strip), 0);
    *byte_at(CS_DATA, (uint64_t)strip.block[0] * CS_BLOCK) ^= 1;
    config.log = false;
    keep_disk();
    repair(false);
    assert_int_equal(repaired.left, 1);
    assert_int_equal(repaired.repaired, 0);
    assert_non_null(strstr(told, "changes in the log do not fit"));
    assert_disk_is_kept();
    repair(true);
    assert_int_equal(faults(), 0);
    assert_int_equal(repaired.dropped, 1);
    memcpy(model, before, sizeof model);
    memcpy(lengths, before_lengths, sizeof lengths);
    goes_on();
}

/* ---- writing ------------------------------------------------------------ */

/* Several things at once, all of which can be repaired. */
static void damage_much(void)
{
    change_object(0, 5, lengths[0]);
    change_object(2, -3, lengths[2] + 100);
    lengths[2] += 100;
    flip_blocks(30, 2);
    flip_page((uint32_t)(disk_random(&seed) % CS_SUPER_SLOTS));
    open_again();
}

/* A check writes nothing, nor does a repair of which nothing is to come. */
static void test_nothing_is_written(void **state)
{
    (void)state;
    struct cs_io *overlay;
    make_logged();
    cs_close(store);
    disk_record(&disk);
    open_store();
    assert_true(faults() > 0);
    assert_int_equal(disk.event_count, 0);
    cs_close(store);
    assert_int_equal(cs_overlay_open(lab_io(&disk, LAB_SHARD), &overlay), 0);
    config.io = overlay;
    assert_int_equal(cs_open(&config, &store), 0);
    told[0] = 0;
    assert_int_equal(cs_repair(store, false, note, NULL, &repaired), 0);
    assert_true(repaired.repaired > 0 && repaired.replayed > 0);
    assert_int_equal(faults(), 0);
    compare();
    write_at_random(1);
    compare();
    assert_int_equal(disk.event_count, 0);
}

static void try_crash(struct disk *crashed, unsigned *before)
{
    lab_disk = crashed;
    open_store();
    *before += faults() > 0;
    compare();
    cs_close(store);
    open_store();
    assert_int_equal(cs_repair(store, false, note, NULL, &repaired), 0);
    if (faults())
        fail_msg("%s", told);
    compare();
    cs_close(store);
    lab_disk = &disk;
    disk_close(crashed);
}

static void test_a_death_at_any_moment(void **state)
{
    (void)state;
    struct disk_replay replay;
    unsigned before = 0, tries = 0;
    make_store();
    damage_much();
    disk_record(&disk);
    repair(false);
    assert_int_equal(faults(), 0);
    cs_close(store);
    disk_replay_open(&replay, &disk);
    for (size_t at = 0; at <= disk.event_count; at++) {
        disk_replay_to(&replay, at);
        for (unsigned n = 0; n < 3; n++, tries++) {
            struct disk crashed;
            disk_replay_crash(&replay, &seed, &crashed);
            try_crash(&crashed, &before);
        }
    }
    print_message("%u crashes, %u before the commit\n", tries, before);
    assert_in_range(before, 1, tries - 3);
    disk_replay_close(&replay);
    open_store();
    compare();
}

static void test_errors_of_the_disk(void **state)
{
    (void)state;
    static const enum disk_fault wrong[] = {DISK_WRITE_EIO, DISK_WRITE_SHORT, DISK_FLUSH_EIO, DISK_READ_EIO};
    make_store();
    damage_much();
    for (unsigned n = 0; n < 4; n++) {
        open_again();
        disk.fault = wrong[n];
        disk.fault_file = CS_META;
        disk.fault_in = 0;
        int error = cs_repair(store, false, note, NULL, &repaired);
        assert_true(error == -EIO || repaired.left > 0 || wrong[n] == DISK_READ_EIO);
        disk.fault = DISK_GOOD;
        open_again();
        compare();
    }
    repair(false);
    assert_int_equal(faults(), 0);
    goes_on();
}

static int run(const char *name)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, lab_open, lab_close)
    const struct CMUnitTest tests[] = {
        TEST(test_blocks_in_use),
        TEST(test_records_of_blocks_that_are_lost),
        TEST(test_counts_and_lengths),
        TEST(test_superblocks),
        TEST(test_strips_without_an_object),
        TEST(test_a_strip_that_makes_no_sense),
        TEST(test_data_stays_damaged),
        TEST(test_short_files),
        TEST(test_changes_in_the_log),
        TEST(test_a_log_that_does_not_fit),
        TEST(test_nothing_is_written),
        TEST(test_a_death_at_any_moment),
        TEST(test_errors_of_the_disk),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return lab_run(run);
}
