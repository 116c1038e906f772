/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk store's core on a disk in memory: bytes, holes, lengths, space, a full disk.
 * test_cs_damage.c has disks that fail and lie, test_cs_crash.c the crashes. */
#include "cs_lab.h"

#include <errno.h>
#include <stdio.h>

#include "crc.h"

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

static uint64_t seek_to(uint64_t ino, uint64_t offset, bool hole)
{
    struct store_seek seek;
    assert_int_equal(cs_seek(store, name_of(ino), &layout, offset, hole, &seek), 0);
    assert_true(seek.found);
    assert_int_equal(seek.length, stat_of(ino).length);
    assert_true(seek.offset >= offset);
    return seek.offset;
}

/* From data to hole to data through the object: what is no data is zeros, and all blocks are in the rest. */
static void check_holes(uint64_t ino, const uint8_t *model, uint64_t length)
{
    uint64_t blocks = 0;
    for (uint64_t at = 0; at < length;) {
        const uint64_t begin = seek_to(ino, at, false), end = seek_to(ino, begin < length ? begin : at, true);
        for (; at < begin && at < length; at++)
            assert_int_equal(model[at], 0);
        if (begin == UINT64_MAX)
            break;
        assert_true(begin < end && end <= length);
        assert_int_equal(begin % CS_BLOCK, 0);
        blocks += (end + CS_BLOCK - 1) / CS_BLOCK - begin / CS_BLOCK;
        at = end;
    }
    assert_int_equal(blocks, stat_of(ino).blocks);
    assert_int_equal(seek_to(ino, length, true), length);
    assert_true(seek_to(ino, length, false) == UINT64_MAX);
}

static void punch(uint64_t ino, uint64_t offset, uint64_t length)
{
    int result;
    while ((result = cs_punch(store, name_of(ino), &layout, offset, length)) > 0)
        ;
    assert_int_equal(result, 0);
}

static void test_punch_and_seek(void **state)
{
    (void)state;
    assert_int_equal(seek_to(1, 0, true), 0);
    assert_true(seek_to(1, 0, false) == UINT64_MAX);
    punch(1, 0, 100);
    assert_false(stat_of(1).exists);
    memset(expected, 7, 10 * CS_BLOCK);
    put(1, 0, expected, 10 * CS_BLOCK);
    const int64_t before = stat_of(1).mtime_ns;
    /* Whole blocks go, what is left of two stays, and only the object's own bytes are touched. */
    punch(1, CS_BLOCK + 100, 2 * CS_BLOCK);
    memset(expected + CS_BLOCK + 100, 0, 2 * CS_BLOCK);
    assert_int_equal(stat_of(1).blocks, 9);
    assert_int_equal(seek_to(1, 0, true), 2 * CS_BLOCK);
    assert_int_equal(seek_to(1, 2 * CS_BLOCK + 5, true), 2 * CS_BLOCK + 5);
    assert_int_equal(seek_to(1, 2 * CS_BLOCK + 5, false), 3 * CS_BLOCK);
    assert_int_equal(seek_to(1, 3 * CS_BLOCK + 5, false), 3 * CS_BLOCK + 5);
    assert_int_equal(seek_to(1, 3 * CS_BLOCK, true), 10 * CS_BLOCK);
    assert_true(stat_of(1).mtime_ns > before);
    /* The second half of a block of which the first one is gone already. */
    punch(1, CS_BLOCK, 100);
    assert_int_equal(stat_of(1).blocks, 8);
    memset(expected + CS_BLOCK, 0, 100);
    /* Nothing behind the end, and no other length. */
    punch(1, 9 * CS_BLOCK, UINT64_MAX - 9 * CS_BLOCK);
    memset(expected + 9 * CS_BLOCK, 0, CS_BLOCK);
    assert_int_equal(stat_of(1).length, 10 * CS_BLOCK);
    assert_int_equal(stat_of(1).blocks, 7);
    const int64_t latest = stat_of(1).mtime_ns;
    punch(1, 10 * CS_BLOCK, 100);
    assert_true(stat_of(1).mtime_ns == latest);
    /* A hole that is punched again is nothing new but for the time. */
    punch(1, 9 * CS_BLOCK, 10);
    assert_true(stat_of(1).mtime_ns > latest);
    assert_int_equal(get(1, 0, buffer, 20 * CS_BLOCK), 10 * CS_BLOCK);
    assert_memory_equal(buffer, expected, 10 * CS_BLOCK);
    check_holes(1, expected, 10 * CS_BLOCK);
    reopen();
    assert_int_equal(get(1, 0, buffer, 20 * CS_BLOCK), 10 * CS_BLOCK);
    assert_memory_equal(buffer, expected, 10 * CS_BLOCK);
    check_holes(1, expected, 10 * CS_BLOCK);
    truncate_to(3, 10 * CS_STRIP);
    const int64_t made = stat_of(3).mtime_ns;
    punch(3, 5 * CS_STRIP, 10);
    assert_true(stat_of(3).mtime_ns > made);
    drop(3);
    /* Another object's strips, which lie behind, are not this one's. */
    put(2, 0, "x", 1);
    punch(1, 0, UINT64_MAX);
    assert_int_equal(check_store().blocks, 1);
    assert_true(seek_to(1, 0, false) == UINT64_MAX);
}

/* Zeros that are there already are not written again, on a full disk neither. */
static void test_punch_of_zeros(void **state)
{
    (void)state;
    memset(expected, 0, CS_BLOCK);
    memset(expected, 3, 100);
    put(1, 0, expected, CS_BLOCK);
    struct cs_strip before, after;
    assert_int_equal(cs_strip_get(store, name_of(1), 0, &before), 0);
    punch(1, 1000, 2000);
    assert_int_equal(cs_strip_get(store, name_of(1), 0, &after), 0);
    assert_int_equal(after.block[0], before.block[0]);
    assert_int_equal(get(1, 0, buffer, CS_BLOCK), CS_BLOCK);
    assert_memory_equal(buffer, expected, CS_BLOCK);
    /* A block of nothing else goes, by whichever part of it. */
    memset(expected, 0, CS_BLOCK);
    put(2, 0, expected, CS_BLOCK);
    assert_int_equal(stat_of(2).blocks, 1);
    punch(2, 1000, 1);
    assert_int_equal(stat_of(2).blocks, 0);
    check_store();
}

/* Of many strips some are done at a time, so that others have their turn, and a search looks at some. */
static void test_long_steps(void **state)
{
    (void)state;
    enum { STRIPS = 300 };
    struct store_seek seek;
    unsigned steps = 1;
    for (unsigned i = 0; i < STRIPS; i++)
        put(1, (uint64_t)i * CS_STRIP + CS_BLOCK, "x", 1);
    while (cs_punch(store, name_of(1), &layout, CS_BLOCK, (uint64_t)STRIPS * CS_STRIP) == 1)
        steps++;
    assert_in_range(steps, 4, STRIPS);
    assert_int_equal(stat_of(1).blocks, 0);
    assert_true(seek_to(1, 0, false) == UINT64_MAX);
    if (on_volume)
        return; /* which is too small for what follows */
    for (unsigned i = 0; i < STRIPS; i++)
        put(2, (uint64_t)i * CS_STRIP, expected, CS_STRIP);
    assert_int_equal(cs_seek(store, name_of(2), &layout, 5, true, &seek), 0);
    assert_false(seek.found);
    assert_in_range(seek.offset, CS_STRIP, (STRIPS - 1) * CS_STRIP);
    assert_int_equal(seek_to(2, seek.offset, true), (uint64_t)STRIPS * CS_STRIP);
    assert_int_equal(stat_of(2).blocks, STRIPS * CS_STRIP_BLOCKS);
    check_store();
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
            punch(ino, offset, bytes);
            memset(model[ino] + offset, 0, bytes);
            check_holes(ino, model[ino], length[ino]);
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
    assert_memory_equal(buffer, expected, 3 * CS_BLOCK);
    /* Bytes that change behind the caller's check are never given out as good, whether their block is a new
     * one or is written over. */
    for (int round = 0; round < 2; round++) {
        expected[2 * CS_BLOCK] ^= 1;
        iov = (struct iovec){expected, 3 * CS_BLOCK};
        assert_int_equal(cs_write(store, name_of(1), &layout, 100, &iov, 1, crcs), 0);
        assert_int_equal(read_error(1, 100, 3 * CS_BLOCK), -EIO);
        expected[2 * CS_BLOCK] ^= 1;
        assert_int_equal(cs_write(store, name_of(1), &layout, 100, &iov, 1, crcs), 0);
        assert_int_equal(get(1, 100, buffer, 3 * CS_BLOCK), 3 * CS_BLOCK);
        assert_memory_equal(buffer, expected, 3 * CS_BLOCK);
        assert_int_equal(cs_commit(store), 0);
    }
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

/* ---- space that is given back --------------------------------------------- */

/* All that there is to be given back; returns the blocks. */
static uint32_t discard_all(void)
{
    struct cs_discard discard;
    uint32_t blocks = 0;
    while (cs_discard_begin(store, 100 * CS_BLOCK, &discard)) {
        assert_in_range(discard.count, CS_STRIP_BLOCKS, 100);
        assert_int_equal(cs_discard_make(store, &discard), 0);
        cs_discard_end(store, &discard, 0);
        blocks += discard.count;
    }
    return blocks;
}

/* Objects of three strips each, of which all but the first are removed. */
static void fill_and_remove(uint64_t objects)
{
    fill(expected, sizeof expected);
    for (uint64_t ino = 0; ino < objects; ino++)
        put(ino, 0, expected, BYTES);
    assert_int_equal(cs_commit(store), 0);
    discard_all(); /* after a mount all that is free counts */
    for (uint64_t ino = 1; ino < objects; ino++)
        drop(ino);
}

static void test_space_is_given_back(void **state)
{
    (void)state;
    enum { OBJECTS_HERE = 8, FREED = (OBJECTS_HERE - 1) * BYTES / CS_BLOCK };
    const bool holes = !on_volume;
    if (holes)
        disk_punches(&disk, UINT64_MAX);
    config.discard = true;
    reopen();
    fill_and_remove(OBJECTS_HERE);
    assert_int_equal(discard_all(), 0); /* no commit has let go of it */
    assert_int_equal(cs_commit(store), 0);
    const uint32_t space_free = store->space.free, given = discard_all();
    const uint32_t stays = holes ? config.grow_blocks : 0;
    assert_in_range(given, FREED - stays - 2 * CS_STRIP_BLOCKS, FREED);
    assert_int_equal(store->space.free, space_free - (holes ? given : 0));
    assert_int_equal(store->space.hole_blocks, holes ? given : 0);
    assert_int_equal(discard_all(), 0);
    assert_int_equal(get(0, 0, buffer, BYTES), BYTES);
    assert_memory_equal(buffer, expected, BYTES);
    /* It can be had again, also after another mount. */
    const uint32_t blocks = store->space.blocks;
    reopen();
    for (uint64_t ino = 1; ino < OBJECTS_HERE; ino++)
        put(ino, 0, expected, BYTES);
    assert_int_equal(store->space.blocks, blocks);
    for (uint64_t ino = 0; ino < OBJECTS_HERE; ino++) {
        assert_int_equal(get(ino, 0, buffer, BYTES), BYTES);
        assert_memory_equal(buffer, expected, BYTES);
    }
    check_store();
}

/* What is being given back is nobody's, and in no commit. */
static void test_nobody_gets_what_is_given_back(void **state)
{
    (void)state;
    struct cs_discard discard;
    config.discard = true;
    reopen();
    fill_and_remove(4);
    assert_int_equal(cs_commit(store), 0);
    const uint32_t space_free = store->space.free;
    assert_true(cs_discard_begin(store, UINT64_MAX, &discard));
    assert_int_equal(store->space.free, space_free - discard.count);
    assert_true(cs_commit_gains(store));
    for (uint64_t ino = 10; ino < 14; ino++)
        put(ino, 0, expected, BYTES);
    assert_int_equal(cs_discard_make(store, &discard), 0);
    check_store();
    cs_discard_end(store, &discard, 0);
    for (uint64_t ino = 10; ino < 14; ino++) {
        assert_int_equal(get(ino, 0, buffer, BYTES), BYTES);
        assert_memory_equal(buffer, expected, BYTES);
    }
    /* A disk that can't is not asked again. */
    drop(10);
    assert_int_equal(cs_commit(store), 0);
    assert_true(cs_discard_begin(store, UINT64_MAX, &discard));
    cs_discard_end(store, &discard, -EOPNOTSUPP);
    assert_false(cs_discard_begin(store, UINT64_MAX, &discard));
    check_store();
}

/* The space was given to somebody else: the store is full, and all that needs none goes on. */
static void test_space_that_does_not_come_back(void **state)
{
    (void)state;
    if (on_volume)
        return; /* a disk keeps its own */
    disk_punches(&disk, CS_STRIP_BLOCKS);
    config.discard = true;
    reopen();
    fill_and_remove(8);
    assert_int_equal(cs_commit(store), 0);
    disk.size_max[CS_DATA] = disk.size[CS_DATA];
    const uint32_t space_free = store->space.free, given = discard_all();
    assert_true(given > 4 * CS_STRIP_BLOCKS);
    uint64_t ino = 100;
    while (write_at(ino, 0, expected, CS_BLOCK) == 0)
        ino++;
    assert_non_null(strstr(err_text(), "is full"));
    assert_in_range(ino - 100, space_free - given + CS_STRIP_BLOCKS - 32,
                    space_free - given + CS_STRIP_BLOCKS);
    truncate_to(0, 5000);
    assert_int_equal(cs_commit(store), 0);
    disk.hole_room = UINT64_MAX;
    put(50, 0, expected, BYTES);
    check_store();
}

static void test_no_room_for_metadata(void **state)
{
    (void)state;
    if (on_volume)
        return; /* files have no bound of their own there */
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

/* A server that is killed between the writing of a superblock and its flush leaves a commit that a crash of
 * the host can take, and the next one finds it. */
static void test_a_commit_that_is_found_can_be_made_durable(void **state)
{
    (void)state;
    size_t flushes = 0;
    fill(expected, 10000);
    put(1, 0, expected, 10000);
    assert_int_equal(cs_commit(store), 0);
    cs_close(store);
    config.log = true;
    disk_record(&disk);
    open_store();
    assert_true(store->is_unsure);
    assert_int_equal(cs_commit_sure(store), 0);
    for (size_t i = 0; i < disk.event_count; i++)
        flushes += disk.events[i].kind == DISK_FLUSH;
    assert_int_not_equal(flushes, 0);
    put(1, 0, "x", 1);
    assert_int_equal(cs_commit(store), 0);
    assert_false(store->is_unsure);
}

static int run(const char *name)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, lab_open, lab_close)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_there),
        TEST(test_holes_and_lengths),
        TEST(test_punch_and_seek),
        TEST(test_punch_of_zeros),
        TEST(test_long_steps),
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
        TEST(test_space_is_given_back),
        TEST(test_nobody_gets_what_is_given_back),
        TEST(test_space_that_does_not_come_back),
        TEST(test_nowait),
        TEST(test_a_commit_that_is_found_can_be_made_durable),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return lab_run(run);
}
