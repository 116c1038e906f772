/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_repair_lab.h: a chunk store of which a model knows every byte, ways to damage it, and its repair. With
 * cs_lab.h.
 */
#ifndef TEST_CS_REPAIR_LAB_H
#define TEST_CS_REPAIR_LAB_H

#include "cs_lab.h"

#include <errno.h>
#include <stdio.h>

#include "storage/chunks/cs_repair.h"
#include "storage/chunks/cs_tree.h"

static uint8_t model[OBJECTS][BYTES];
static size_t lengths[OBJECTS];
static struct cs_repair_result repaired;
static char told[64 * 1024]; /* all that the last repair and check have said */

static inline void note(void *arg, const char *text)
{
    (void)arg;
    const size_t length = strlen(told);
    snprintf(told + length, sizeof told - length, "%s\n", text);
}

/* ---- a store and what is in it ------------------------------------------ */

static inline void write_model(uint64_t ino, size_t offset, size_t length)
{
    fill(expected, length);
    put(ino, offset, expected, length);
    memcpy(model[ino] + offset, expected, length);
    if (lengths[ino] < offset + length)
        lengths[ino] = offset + length;
}

static inline void write_at_random(uint64_t ino)
{
    const size_t offset = disk_random(&seed) % (BYTES - 1);
    write_model(ino, offset, 1 + disk_random(&seed) % (BYTES - offset));
}

/* Objects with holes, in commits, the last of which is the one that is mounted. */
static inline void make_store(void)
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
static inline void make_anew(void)
{
    cs_close(store);
    disk_close(&disk);
    format_store();
    open_store();
    make_store();
}

static inline void compare_object(uint64_t ino)
{
    assert_int_equal(get(ino, 0, buffer, BYTES), lengths[ino]);
    assert_memory_equal(buffer, model[ino], lengths[ino]);
}

static inline void compare(void)
{
    for (uint64_t ino = 0; ino < OBJECTS; ino++)
        compare_object(ino);
}

static inline uint64_t faults(void)
{
    struct cs_check_result result;
    told[0] = 0;
    assert_int_equal(cs_check(store, true, note, NULL, &result), 0);
    return result.faults;
}

static inline void open_again(void)
{
    cs_close(store);
    open_store();
}

static inline void repair(bool drop_lost)
{
    open_again();
    told[0] = 0;
    if (cs_repair(store, drop_lost, note, NULL, &repaired))
        fail_msg("%s", err_text());
}

/* As a server would use it: with a log, over what is there and beside it. */
static inline void goes_on(void)
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

/* What is there now is what is to stay. */
static inline void goes_on_after_loss(void)
{
    memset(model, 0, sizeof model);
    for (uint64_t ino = 0; ino < OBJECTS; ino++)
        lengths[ino] = get(ino, 0, model[ino], BYTES);
    goes_on();
}

static inline void repair_all(void)
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

static inline struct cs_key group_key(uint64_t group)
{
    return (struct cs_key){.kind = CS_KIND_GROUP, .index = group};
}

static inline void commit_damage(void)
{
    store->changed = true;
    assert_int_equal(cs_commit(store), 0);
}

static inline void put_record(struct cs_key key, const void *value, uint32_t length)
{
    assert_int_equal(cs_tree_put(&store->pages, &key, value, length), 0);
}

static inline void remove_record(struct cs_key key)
{
    assert_int_equal(cs_tree_remove(&store->pages, &key), 0);
}

/* Flips bits that are set (1), are not (0), or any (2): so many, or what there is of them. */
static inline void flip_blocks(unsigned count, unsigned which)
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

static inline void change_object(uint64_t ino, int64_t blocks, uint64_t length)
{
    struct cs_object_record record;
    assert_int_equal(cs_object_find(store, name_of(ino), &record), 0);
    record.blocks += (uint64_t)blocks;
    record.length = length;
    put_record(cs_object_key(name_of(ino)), &record, sizeof record);
    commit_damage();
}

static inline void flip_page(uint32_t number)
{
    const uint64_t at = (uint64_t)number * CS_BLOCK + disk_random(&seed) % CS_BLOCK;
    *byte_at(CS_META, at) ^= (uint8_t)(1u << disk_random(&seed) % 8);
}

/* Where the tree leads for a key: the page of that level. */
static inline uint32_t page_of(struct cs_key key, unsigned level)
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

static inline void keep_disk(void)
{
    disk_copy(&kept, &disk);
}

static inline void assert_disk_is_kept(void)
{
    for (int file = 0; file < CS_FILES; file++) {
        assert_int_equal(disk.size[file], kept.size[file]);
        assert_memory_equal(disk.bytes[file], kept.bytes[file], kept.size[file]);
    }
    disk_close(&kept);
}

#endif
