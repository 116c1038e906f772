/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The repair of a chunk store. What it must survive: bits of used blocks that are wrong, missing or
 * unreadable; counts and lengths that are wrong; strips without an object; lost superblocks, leaves and
 * branches; a file that was cut; damaged data; changes that only the log has; and its own death at any
 * moment.
 *
 * Afterwards nothing is wrong but what was lost, every byte that was not damaged is there, and the store goes
 * on.
 */
#include "cs_lab.h"

#include <errno.h>
#include <stdio.h>

#include "storage/chunks/cs_overlay.h"
#include "storage/chunks/cs_repair.h"
#include "storage/chunks/cs_tree.h"

enum { ROUNDS = 12 };

static uint8_t model[OBJECTS][BYTES];
static size_t lengths[OBJECTS];
static struct cs_repair_result repaired;
static char told[64 * 1024]; /* all that the last repair and check have said */

static void note(void *arg, const char *text)
{
    (void)arg;
    const size_t length = strlen(told);
    snprintf(told + length, sizeof told - length, "%s\n", text);
}

/* ---- a store and what is in it ------------------------------------------ */

static void write_model(uint64_t ino, size_t offset, size_t length)
{
    fill(model[ino] + offset, length);
    put(ino, offset, model[ino] + offset, length);
    if (lengths[ino] < offset + length)
        lengths[ino] = offset + length;
}

static void write_at_random(uint64_t ino)
{
    const size_t offset = disk_random(&seed) % (BYTES - 1);
    write_model(ino, offset, 1 + disk_random(&seed) % (BYTES - offset));
}

/* Objects with holes, in commits, the last of which is the one that is mounted. */
static void make_store(void)
{
    memset(model, 0, sizeof model);
    memset(lengths, 0, sizeof lengths);
    for (unsigned i = 0; i < 3 * OBJECTS; i++) {
        write_at_random(i % OBJECTS);
        if (i % 4 == 0)
            assert_int_equal(cs_commit(store), 0);
    }
    reopen();
}

/* A new one in its place. */
static void make_anew(void)
{
    cs_close(store);
    disk_close(&disk);
    disk_open(&disk);
    assert_int_equal(cs_format(&config), 0);
    open_store();
    make_store();
}

static void compare_object(uint64_t ino)
{
    assert_int_equal(get(ino, 0, buffer, BYTES), lengths[ino]);
    assert_memory_equal(buffer, model[ino], lengths[ino]);
}

static void compare(void)
{
    for (uint64_t ino = 0; ino < OBJECTS; ino++)
        compare_object(ino);
}

static uint64_t faults(void)
{
    struct cs_check_result result;
    told[0] = 0;
    assert_int_equal(cs_check(store, true, note, NULL, &result), 0);
    return result.faults;
}

static void open_again(void)
{
    cs_close(store);
    open_store();
}

static void repair(bool drop_lost)
{
    open_again();
    told[0] = 0;
    if (cs_repair(store, drop_lost, note, NULL, &repaired))
        fail_msg("%s", err_text());
}

/* As a server would use it: with a log, over what is there and beside it. */
static void goes_on(void)
{
    config.log = true;
    open_again();
    assert_int_equal(store->failed, 0);
    assert_int_equal(store->supers_bad, 0);
    compare();
    for (unsigned i = 0; i < 4; i++)
        write_at_random(disk_random(&seed) % OBJECTS);
    truncate_to(1, 100);
    memset(model[1] + 100, 0, BYTES - 100);
    lengths[1] = 100;
    compare();
    open_again(); /* the changes come from the log */
    compare();
    check_store();
    config.log = false;
    open_again();
}

static void repair_all(void)
{
    repair(false);
    if (faults() || repaired.left)
        fail_msg("%s", told);
    assert_true(repaired.repaired > 0);
    assert_int_equal(repaired.dropped, 0);
    compare();
    /* Once is enough. */
    repair(false);
    assert_int_equal(repaired.repaired + repaired.left, 0);
    goes_on();
}

/* ---- damage ------------------------------------------------------------- */

static struct cs_key group_key(uint64_t group)
{
    return (struct cs_key){.kind = CS_KIND_GROUP, .index = group};
}

static void commit_damage(void)
{
    store->changed = true;
    assert_int_equal(cs_commit(store), 0);
}

static void put_record(struct cs_key key, const void *value, uint32_t length)
{
    assert_int_equal(cs_tree_put(&store->pages, &key, value, length), 0);
}

static void remove_record(struct cs_key key)
{
    assert_int_equal(cs_tree_remove(&store->pages, &key), 0);
}

/* Flips bits that are set (1), are not (0), or any (2): so many, or what there is of them. */
static void flip_blocks(unsigned count, unsigned which)
{
    uint8_t bits[CS_GROUP_BYTES];
    const struct cs_key key = group_key(0);
    struct cs_record record;
    assert_int_equal(cs_tree_get(&store->pages, &key, &record), 0);
    memcpy(bits, record.value, sizeof bits);
    for (unsigned tries = 0; tries < 100000 && count > 0; tries++) {
        const uint32_t block = (uint32_t)(disk_random(&seed) % store->space.blocks);
        if (which != 2 && (bits[block / 8] >> block % 8 & 1) != which)
            continue;
        bits[block / 8] ^= (uint8_t)(1u << block % 8);
        count--;
    }
    put_record(key, bits, sizeof bits);
    commit_damage();
}

static void change_object(uint64_t ino, int64_t blocks, uint64_t length)
{
    struct cs_object_record record;
    assert_int_equal(cs_object_find(store, name_of(ino), &record), 0);
    record.blocks += (uint64_t)blocks;
    record.length = length;
    put_record(cs_object_key(name_of(ino)), &record, sizeof record);
    commit_damage();
}

static void flip_page(uint32_t number)
{
    const uint64_t at = (uint64_t)number * CS_BLOCK + disk_random(&seed) % CS_BLOCK;
    disk.bytes[CS_META][at] ^= (uint8_t)(1u << disk_random(&seed) % 8);
}

/* Where the tree leads for a key: the page of that level. */
static uint32_t page_of(struct cs_key key, unsigned level)
{
    uint32_t number = store->pages.root, crc = store->pages.root_crc;
    for (unsigned at = store->pages.root_level; at > level; at--) {
        struct cs_page *page;
        uint16_t i = 0;
        assert_int_equal(cs_page_get(&store->pages, number, crc, at, &page), 0);
        while (i + 1 < page->header.count && cs_key_compare(&page->entries[i + 1].key, &key) <= 0)
            i++;
        number = page->entries[i].page;
        crc = page->entries[i].crc;
    }
    return number;
}

static struct disk kept;

static void keep_disk(void)
{
    disk_copy(&kept, &disk);
}

static void assert_disk_is_kept(void)
{
    for (int file = 0; file < CS_FILES; file++) {
        assert_int_equal(disk.size[file], kept.size[file]);
        assert_memory_equal(disk.bytes[file], kept.bytes[file], kept.size[file]);
    }
    disk_close(&kept);
}

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
    uint8_t *byte = &disk.bytes[CS_DATA][(uint64_t)strip.block[5] * CS_BLOCK + 99];
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

/* ---- pages that can't be read ------------------------------------------- */

/* The blocks of many groups, with an object in some of them. */
static void make_groups(uint32_t groups)
{
    memset(model, 0, sizeof model);
    memset(lengths, 0, sizeof lengths);
    assert_int_equal(disk.io.type->grow(&disk.io, CS_DATA, (uint64_t)groups * CS_GROUP_BLOCKS * CS_BLOCK), 0);
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
    for (uint64_t ino = 0; ino < OBJECTS; ino++) {
        memset(model[ino], 0, BYTES);
        lengths[ino] = get(ino, 0, model[ino], BYTES);
    }
    goes_on();
}

enum { MANY = 6000 };

static void make_many(void)
{
    memset(model, 0, sizeof model);
    memset(lengths, 0, sizeof lengths);
    for (uint64_t ino = 10; ino < 10 + MANY; ino++)
        put(ino, 0, &ino, sizeof ino);
    reopen();
    assert_int_equal(store->pages.root_level, 2);
}

static unsigned count_many(void)
{
    unsigned found = 0;
    for (uint64_t ino = 10; ino < 10 + MANY; ino++) {
        uint64_t bytes = 0;
        const size_t count = get(ino, 0, &bytes, sizeof bytes);
        if (count == 0)
            continue;
        assert_int_equal(count, sizeof bytes);
        assert_int_equal(bytes, ino);
        found++;
    }
    return found;
}

static void test_a_branch(void **state)
{
    (void)state;
    make_many();
    const uint32_t branch = page_of(cs_object_key(name_of(MANY)), 1);
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

static void test_two_leaves(void **state)
{
    (void)state;
    make_many();
    flip_page(page_of(cs_object_key(name_of(1000)), 0));
    flip_page(page_of(cs_object_key(name_of(MANY / 2)), 0));
    open_again();
    assert_int_equal(store->failed, 0);
    repair(false);
    assert_int_equal(repaired.repaired, 0);
    assert_int_equal(repaired.left, 2);
    assert_int_equal(read_error(1000, 0, 8), -EIO);
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
    disk.bytes[CS_DATA][(uint64_t)strip.block[0] * CS_BLOCK] ^= 1;
    config.log = false;
    keep_disk();
    repair(false);
    assert_int_equal(repaired.left, 1);
    assert_int_equal(repaired.repaired, 0);
    assert_non_null(strstr(told, "changes in the log do not fit"));
    assert_int_equal(disk.size[CS_META], kept.size[CS_META]);
    assert_memory_equal(disk.bytes[CS_META], kept.bytes[CS_META], kept.size[CS_META]);
    disk_close(&kept);
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
    assert_int_equal(cs_overlay_open(&disk.io, &overlay), 0);
    config.io = overlay;
    assert_int_equal(cs_open(&config, &store), 0);
    config.io = &disk.io;
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
    struct disk *const was = (struct disk *)config.io;
    config.io = &crashed->io;
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
    config.io = &was->io;
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

int main(void)
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
        TEST(test_a_page_of_blocks_in_use),
        TEST(test_a_page_of_blocks_and_objects),
        TEST(test_a_branch),
        TEST(test_two_leaves),
        TEST(test_the_root),
        TEST(test_changes_in_the_log),
        TEST(test_a_log_that_does_not_fit),
        TEST(test_nothing_is_written),
        TEST(test_a_death_at_any_moment),
        TEST(test_errors_of_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
