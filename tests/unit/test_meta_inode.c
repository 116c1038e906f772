/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "metadata/inode.h"

static const struct inode file = {
    .ino = 0x0102030405060708,
    .mode = S_IFREG | 04755,
    .nlink = 3,
    .uid = 1000,
    .gid = 100,
    .flags = INODE_SIZE_OPEN | INODE_WRITTEN,
    .size = 47008000,
    .bytes = 47009792,
    .atime_ns = -1,
    .mtime_ns = 1700000000123456789,
    .ctime_ns = 1700000000123456790,
    .mtime_base_ns = 1700000000123456000,
    .layout = {.chunk_size = 470080, .seed = 0xfedcba9876543210, .stripe_count = 3, .group_count = 4},
    .pool = "main",
};
/* Of every kind that has come with version 2. */
static const struct inode specials[] = {
    {.ino = 8, .mode = S_IFIFO | 0640, .nlink = 1},
    {.ino = 9, .mode = S_IFSOCK | 0777, .nlink = 2},
    {.ino = 10, .mode = S_IFCHR | 0666, .nlink = 1, .rdev = 0x0123456789abcdef},
    {.ino = 11, .mode = S_IFBLK | 0660, .nlink = 1, .rdev = 0x801},
};
enum { SPECIALS = sizeof specials / sizeof specials[0] };
/* Of every kind that has come with version 3. */
static const struct inode placed[] = {
    {.ino = 12, .mode = S_IFREG | 0644, .nlink = 1,
     .layout = {.chunk_size = 65536, .seed = 1, .stripe_count = 1, .group_count = 2, .host = 0x1234}},
    {.ino = 13, .mode = S_IFDIR | 0755, .nlink = 2, .parent = 1, .placement = WIRE_PLACEMENT_LOCAL},
    {.ino = 14, .mode = S_IFDIR | 0755, .nlink = 2, .parent = 1, .placement = WIRE_PLACEMENT_HOST,
     .layout = {.host = 3}},
};
enum { PLACED = sizeof placed / sizeof placed[0] };
static const struct inode dir = {.ino = 7, .mode = S_IFDIR | 0755, .nlink = 2, .parent = 1};

static void assert_same(const struct inode *a, const struct inode *b)
{
    assert_int_equal(a->ino, b->ino);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->nlink, b->nlink);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_int_equal(a->flags, b->flags);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->atime_ns, b->atime_ns);
    assert_int_equal(a->mtime_ns, b->mtime_ns);
    assert_int_equal(a->ctime_ns, b->ctime_ns);
    assert_int_equal(a->mtime_base_ns, b->mtime_base_ns);
    assert_int_equal(a->parent, b->parent);
    assert_int_equal(a->rdev, b->rdev);
    assert_int_equal(a->layout.chunk_size, b->layout.chunk_size);
    assert_int_equal(a->layout.seed, b->layout.seed);
    assert_int_equal(a->layout.stripe_count, b->layout.stripe_count);
    assert_int_equal(a->layout.group_count, b->layout.group_count);
    assert_int_equal(a->layout.host, b->layout.host);
    assert_int_equal(a->placement, b->placement);
    assert_string_equal(a->pool, b->pool);
}

static void a_record_keeps_every_field(void **state)
{
    uint8_t record[INODE_RECORD_BYTES];
    struct inode again;
    (void)state;
    inode_encode(&file, record);
    assert_int_equal(inode_decode(file.ino, record, sizeof record, &again), 0);
    assert_same(&file, &again);
    inode_encode(&dir, record);
    assert_int_equal(inode_decode(dir.ino, record, sizeof record, &again), 0);
    assert_same(&dir, &again);
    for (size_t i = 0; i < SPECIALS; i++) {
        inode_encode(&specials[i], record);
        assert_int_equal(inode_decode(specials[i].ino, record, sizeof record, &again), 0);
        assert_same(&specials[i], &again);
    }
    for (size_t i = 0; i < PLACED; i++) {
        inode_encode(&placed[i], record);
        assert_int_equal(inode_decode(placed[i].ino, record, sizeof record, &again), 0);
        assert_same(&placed[i], &again);
    }
}

/* The format is what older stores hold: these bytes may never change. */
static void the_format_is_pinned(void **state)
{
    uint8_t record[INODE_RECORD_BYTES];
    static const uint8_t head[] = {
        1, 0, 3, 0,                                     /* version, flags */
        0xed, 0x89, 0, 0,                               /* mode */
        8, 7, 6, 5, 4, 3, 2, 1,                         /* ino */
        3, 0, 0, 0, 0xe8, 3, 0, 0, 100, 0, 0, 0,        /* nlink, uid, gid */
        3, 0, 0, 0,                                     /* stripe_count */
        0x00, 0x49, 0xcd, 0x02, 0, 0, 0, 0,             /* size */
    };
    static const uint8_t pool[] = {'m', 'a', 'i', 'n', 0};
    (void)state;
    inode_encode(&file, record);
    assert_memory_equal(record, head, sizeof head);
    assert_memory_equal(record + 108, pool, sizeof pool);
    uint32_t crc;
    memcpy(&crc, record + 148, 4);
    assert_int_equal(crc, crc_of(0, record, 148));
    /* All bytes at once. */
    assert_int_equal(crc_of(0, record, sizeof record),
                     0x48674bc7); /* CRC32C's residue, whatever the content */
}

static void seal(uint8_t record[INODE_RECORD_BYTES])
{
    uint32_t crc = crc_of(0, record, 148);
    memcpy(record + 148, &crc, 4);
}

/* An older server reads all records of a store without what is newer, and names the version of the others. */
static void a_record_has_the_oldest_version_that_can_say_it(void **state)
{
    uint8_t record[INODE_RECORD_BYTES];
    static const uint8_t rdev[] = {0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01};
    struct inode link = dir, again;
    (void)state;
    link.mode = S_IFLNK | 0777;
    inode_encode(&file, record);
    assert_int_equal(record[0], 1);
    inode_encode(&dir, record);
    assert_int_equal(record[0], 1);
    inode_encode(&link, record);
    assert_int_equal(record[0], 1);
    for (size_t i = 0; i < SPECIALS; i++) {
        inode_encode(&specials[i], record);
        assert_int_equal(record[0], 2);
        /* The same bytes under version 1 are nothing that ever was. */
        record[0] = 1;
        seal(record);
        assert_int_equal(inode_decode(specials[i].ino, record, sizeof record, &again), -EUCLEAN);
    }
    inode_encode(&specials[2], record);
    assert_memory_equal(record + 140, rdev, sizeof rdev);
    for (size_t i = 0; i < PLACED; i++) {
        inode_encode(&placed[i], record);
        assert_int_equal(record[0], 3);
        record[0] = 2;
        seal(record);
        assert_int_equal(inode_decode(placed[i].ino, record, sizeof record, &again), -EUCLEAN);
    }
    struct inode small = file;
    small.flags = INODE_SMALL | INODE_WRITTEN;
    small.size = LIMITS_SMALL_BYTES_MAX;
    inode_encode(&small, record);
    assert_int_equal(record[0], 4);
    assert_int_equal(inode_decode(small.ino, record, sizeof record, &again), 0);
    assert_int_equal(again.flags, small.flags);
    record[0] = 3;
    seal(record);
    assert_int_equal(inode_decode(small.ino, record, sizeof record, &again), -EUCLEAN);
    inode_encode(&placed[0], record);
    assert_memory_equal(record + 140, ((uint8_t[]){0x34, 0x12, 0, 0, 0, 0, 0, 0}), 8);
    inode_encode(&placed[2], record);
    assert_memory_equal(record + 140, ((uint8_t[]){3, 0, 0, 0, WIRE_PLACEMENT_HOST, 0, 0, 0}), 8);
}

/* Whatever it is of: extended attributes make it a record of version 5, and change nothing else. */
static void extended_attributes_are_what_came_with_version_5(void **state)
{
    uint8_t record[INODE_RECORD_BYTES];
    struct inode all[3 + SPECIALS + PLACED] = {file, dir, dir}, again;
    (void)state;
    all[2].mode = S_IFLNK | 0777;
    memcpy(all + 3, specials, sizeof specials);
    memcpy(all + 3 + SPECIALS, placed, sizeof placed);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        all[i].flags |= INODE_XATTRS;
        inode_encode(&all[i], record);
        assert_int_equal(record[0], 5);
        assert_int_equal(inode_decode(all[i].ino, record, sizeof record, &again), 0);
        assert_same(&all[i], &again);
        record[0] = 4;
        seal(record);
        assert_int_equal(inode_decode(all[i].ino, record, sizeof record, &again), -EUCLEAN);
    }
}

static void every_flipped_bit_is_found(void **state)
{
    uint8_t record[INODE_RECORD_BYTES];
    struct inode again;
    (void)state;
    inode_encode(&file, record);
    for (size_t bit = 0; bit < 8 * sizeof record; bit++) {
        record[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(inode_decode(file.ino, record, sizeof record, &again), -EUCLEAN);
        assert_non_null(strstr(err_text(), "inode 72623859790382856"));
        record[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void a_record_of_another_length_is_refused(void **state)
{
    uint8_t record[INODE_RECORD_BYTES + 1] = {0};
    struct inode again;
    (void)state;
    inode_encode(&file, record);
    for (size_t length = 0; length <= sizeof record; length++)
        assert_int_equal(inode_decode(file.ino, record, length, &again),
                         length == INODE_RECORD_BYTES ? 0 : -EUCLEAN);
}

static void another_inodes_record_is_refused(void **state)
{
    uint8_t record[INODE_RECORD_BYTES];
    struct inode again;
    (void)state;
    inode_encode(&file, record);
    assert_int_equal(inode_decode(file.ino + 1, record, sizeof record, &again), -EUCLEAN);
}

/* Records whose checksum is right and whose fields are wrong: a mistake of ours. */
static void fields_out_of_range_are_refused(void **state)
{
    uint8_t record[INODE_RECORD_BYTES];
    struct inode wrong[24], again;
    size_t count = 0;
    (void)state;
    for (size_t i = 0; i < 24; i++)
        wrong[i] = file;
    wrong[count++].mode = 0644;
    wrong[count++].mode = 0xf000 | 0644;
    wrong[count++].placement = WIRE_PLACEMENT_LOCAL;
    wrong[count++].layout.host = LIMITS_HOSTS_MAX + 1;
    wrong[count++].mode = 0x10000 | S_IFREG;
    wrong[count++].flags = 32;
    wrong[count].size = LIMITS_SMALL_BYTES_MAX + 1;
    wrong[count++].flags = INODE_SMALL;
    wrong[count].size = 1;
    wrong[count++].flags = INODE_SMALL | INODE_SIZE_OPEN;
    wrong[count++].nlink = INODE_NLINK_MAX + 1;
    wrong[count++].size = (uint64_t)INT64_MAX + 1;
    wrong[count++].layout.chunk_size = 4095;
    wrong[count++].layout.chunk_size = (UINT64_C(1) << 30) + 1;
    wrong[count++].layout.stripe_count = 0;
    wrong[count++].layout.stripe_count = 5;
    wrong[count++].layout.group_count = LIMITS_GROUPS_MAX + 1;
    wrong[count] = dir;
    wrong[count++].parent = 0;
    wrong[count] = dir;
    wrong[count++].nlink = 1;
    wrong[count] = dir;
    wrong[count++].placement = WIRE_PLACEMENT_HOST + 1;
    wrong[count] = dir; /* which host? */
    wrong[count++].placement = WIRE_PLACEMENT_HOST;
    wrong[count] = dir;
    wrong[count++].layout.host = 1;
    wrong[count] = dir;
    wrong[count].mode = S_IFLNK | 0777;
    wrong[count++].layout.host = 1;
    wrong[count] = dir;
    wrong[count++].flags = INODE_SMALL;
    for (size_t i = 0; i < count; i++) {
        inode_encode(&wrong[i], record);
        assert_int_equal(inode_decode(wrong[i].ino, record, sizeof record, &again), -EUCLEAN);
    }
    /* A device's number, of what is none; and what nobody has a meaning for. */
    inode_encode(&file, record);
    record[140] = 1;
    seal(record);
    assert_int_equal(inode_decode(file.ino, record, sizeof record, &again), -EUCLEAN);
    inode_encode(&placed[1], record);
    record[147] = 1;
    seal(record);
    assert_int_equal(inode_decode(placed[1].ino, record, sizeof record, &again), -EUCLEAN);
}

static void a_newer_version_is_named(void **state)
{
    uint8_t record[INODE_RECORD_BYTES];
    struct inode again;
    (void)state;
    inode_encode(&file, record);
    record[0] = INODE_RECORD_VERSION + 1;
    assert_int_equal(inode_decode(file.ino, record, sizeof record, &again), -EUCLEAN);
    assert_non_null(strstr(err_text(), "version 6"));
    record[0] = 0;
    assert_int_equal(inode_decode(file.ino, record, sizeof record, &again), -EUCLEAN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_keeps_every_field),
        cmocka_unit_test(the_format_is_pinned),
        cmocka_unit_test(a_record_has_the_oldest_version_that_can_say_it),
        cmocka_unit_test(extended_attributes_are_what_came_with_version_5),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(a_record_of_another_length_is_refused),
        cmocka_unit_test(another_inodes_record_is_refused),
        cmocka_unit_test(fields_out_of_range_are_refused),
        cmocka_unit_test(a_newer_version_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
