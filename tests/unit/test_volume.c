/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that is a target by itself: label, table, and the files of shards in its segments. What it must
 * survive: a crash at any moment of growing and of changing the text, the loss of any one copy of label and
 * table, and bytes of any kind in both.
 */
#include "cs_lab.h"

#include <errno.h>
#include <stdio.h>

#include "storage/chunks/cs_repair.h"
#include "storage/chunks/volume_format.h"

enum { SEGMENT = VOLUME_SEGMENT_MIN, SEGMENTS = 12 };

#define DISK_BYTES (2 * (uint64_t)VOLUME_AREA + SEGMENTS * (uint64_t)SEGMENT + 1000)

static struct volume *volume;
static struct cs_io *files[2];
static struct disk raw;

static void open_volume(struct disk *of)
{
    if (volume_open(&of->io, &volume))
        fail_msg("%s", err_text());
    for (uint32_t shard = 0; shard < 2; shard++)
        assert_int_equal(volume_shard_open(volume, shard, &of->io, &files[shard]), 0);
}

static void close_volume(void)
{
    for (uint32_t shard = 0; shard < 2; shard++)
        files[shard]->type->close(files[shard]);
    volume_close(volume);
}

static int raw_open(void **state)
{
    (void)state;
    seed = getenv("WEFT_SEED") ? strtoull(getenv("WEFT_SEED"), NULL, 0) : 1;
    disk_open_raw(&raw, DISK_BYTES);
    memset(raw.bytes[CS_DATA], 0xa5, DISK_BYTES);
    assert_int_equal(volume_make(&raw.io, 0, &volume), 0);
    assert_int_equal(volume_text_set(volume, "first"), 0);
    volume_close(volume);
    open_volume(&raw);
    return 0;
}

static int raw_close(void **state)
{
    (void)state;
    close_volume();
    disk_close(&raw);
    return 0;
}

static uint64_t size_of(uint32_t shard, enum cs_file file)
{
    uint64_t size;
    assert_int_equal(files[shard]->type->size(files[shard], file, &size), 0);
    return size;
}

static int grow(uint32_t shard, enum cs_file file, uint64_t size)
{
    return files[shard]->type->grow(files[shard], file, size);
}

static int transfer(uint32_t shard, enum cs_file file, uint64_t offset, uint8_t *bytes, size_t length,
                    bool write)
{
    /* In pieces of odd lengths. */
    struct iovec iov[200];
    int count = 0;
    for (size_t done = 0; done < length; count++) {
        const size_t left = length - done, most = count < 199 ? 1 + disk_random(&seed) % 60000 : left;
        iov[count] = (struct iovec){bytes + done, most < left ? most : left};
        done += iov[count].iov_len;
    }
    const struct cs_io_type *type = files[shard]->type;
    return write ? type->write(files[shard], file, offset, iov, count)
                 : type->read(files[shard], file, offset, iov, count, false);
}

/* ---- files in segments ---------------------------------------------------- */

static void test_files_lie_between_each_other(void **state)
{
    (void)state;
    static uint8_t bytes[2][2][4 * SEGMENT], back[4 * SEGMENT];
    static const enum cs_file both[] = {CS_DATA, CS_META};
    for (unsigned n = 1; n <= 3; n++)
        for (unsigned shard = 0; shard < 2; shard++)
            for (unsigned f = 0; f < 2; f++)
                assert_int_equal(grow(shard, both[f], n * SEGMENT - 5), 0);
    assert_int_equal(volume_free_bytes(volume), 0);
    assert_int_equal(grow(0, CS_LOG, 1), -ENOSPC);
    assert_int_equal(grow(0, CS_DATA, 3 * SEGMENT), 0); /* it has that */
    assert_int_equal(grow(0, CS_DATA, UINT64_MAX), -ENOSPC);
    for (unsigned shard = 0; shard < 2; shard++)
        for (unsigned f = 0; f < 2; f++) {
            assert_int_equal(size_of(shard, both[f]), 3 * SEGMENT);
            fill(bytes[shard][f], 3 * SEGMENT);
            assert_int_equal(transfer(shard, both[f], 0, bytes[shard][f], 3 * SEGMENT, true), 0);
        }
    for (unsigned n = 0; n < 100; n++) {
        const unsigned shard = (unsigned)(disk_random(&seed) % 2), f = (unsigned)(disk_random(&seed) % 2);
        const size_t offset = disk_random(&seed) % (3 * SEGMENT);
        const size_t length = disk_random(&seed) % (3 * SEGMENT - offset);
        if (n % 2)
            fill(bytes[shard][f] + offset, length);
        if (n % 2)
            assert_int_equal(transfer(shard, both[f], offset, bytes[shard][f] + offset, length, true), 0);
        if (n % 10 == 9) {
            close_volume();
            open_volume(&raw);
        }
        assert_int_equal(transfer(shard, both[f], offset, back, length, false), 0);
        assert_memory_equal(back, bytes[shard][f] + offset, length);
    }
    assert_int_equal(transfer(0, CS_DATA, 3 * SEGMENT - 1, back, 2, false), -ENODATA);
    assert_int_equal(transfer(0, CS_LOG, 0, back, 1, false), -ENODATA);
    for (unsigned shard = 0; shard < 2; shard++)
        for (unsigned f = 0; f < 2; f++) {
            assert_int_equal(transfer(shard, both[f], 0, back, 3 * SEGMENT, false), 0);
            assert_memory_equal(back, bytes[shard][f], 3 * SEGMENT);
        }
}

/* The second flush of a commit finds nothing to do; a write between them is not forgotten. */
static void test_flushes(void **state)
{
    (void)state;
    uint8_t byte = 1;
    assert_int_equal(grow(0, CS_DATA, 1), 0);
    disk_record(&raw);
    const struct cs_io_type *type = files[0]->type;
    assert_int_equal(transfer(0, CS_DATA, 0, &byte, 1, true), 0);
    assert_int_equal(type->flush(files[0], CS_DATA), 0);
    assert_int_equal(type->flush(files[0], CS_META), 0);
    assert_int_equal(raw.event_count, 2);
    assert_int_equal(transfer(0, CS_DATA, 0, &byte, 1, true), 0);
    assert_int_equal(type->flush(files[0], CS_META), 0);
    assert_int_equal(raw.event_count, 4);
    /* One that failed was none. */
    assert_int_equal(transfer(0, CS_DATA, 0, &byte, 1, true), 0);
    raw.fault = DISK_FLUSH_EIO;
    raw.fault_file = CS_META;
    assert_int_equal(type->flush(files[0], CS_META), -EIO);
    assert_int_equal(type->flush(files[0], CS_META), 0);
    assert_int_equal(raw.event_count, 6);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    struct volume *none;
    struct disk other;
    char text[VOLUME_TEXT_MAX + 1];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    assert_int_equal(volume_text_set(volume, text), -ENAMETOOLONG);
    assert_string_equal(volume_text(volume), "first");
    disk_open_raw(&other, 2 * VOLUME_AREA + SEGMENT - 1);
    assert_int_equal(volume_make(&other.io, 0, &none), -ENOSPC);
    assert_int_equal(volume_open(&other.io, &none), -ENOENT);
    disk_close(&other);
    disk_copy(&other, &raw);
    struct volume_label *label = (struct volume_label *)other.bytes[CS_DATA];
    label->version++;
    label->crc = volume_label_crc(label);
    assert_int_equal(volume_open(&other.io, &none), -EINVAL);
    assert_non_null(strstr(err_text(), "another version"));
    disk_close(&other);
    /* A disk that is shorter than it was: not the second label either is where it should be. */
    disk_copy(&other, &raw);
    other.size[CS_DATA] -= SEGMENT;
    assert_int_equal(volume_open(&other.io, &none), -EINVAL);
    disk_close(&other);
    disk_open_raw(&other, DISK_BYTES);
    assert_int_equal(volume_open(&other.io, &none), -ENOENT);
    disk_close(&other);
}

/* A disk that is longer than it was, or partitioned on purpose: both labels are found nevertheless. */
static void test_a_longer_disk(void **state)
{
    (void)state;
    assert_int_equal(grow(1, CS_META, SEGMENT), 0);
    raw.io.type->grow(&raw.io, CS_DATA, DISK_BYTES + SEGMENT);
    close_volume();
    open_volume(&raw);
    assert_int_equal(size_of(1, CS_META), SEGMENT);
    assert_int_equal(volume_bytes(volume), DISK_BYTES / VOLUME_PAGE * VOLUME_PAGE);
}

/* ---- damage --------------------------------------------------------------- */

static uint64_t second_area(void)
{
    return volume_bytes(volume) - VOLUME_AREA;
}

/* Whichever of the two areas is gone, the other one has all, and heals it. */
static void test_one_copy_is_enough(void **state)
{
    (void)state;
    for (unsigned copy = 0; copy < 2; copy++) {
        uint8_t *area = raw.bytes[CS_DATA] + (copy ? second_area() : 0);
        assert_int_equal(grow(0, CS_DATA, (2 + copy) * SEGMENT), 0);
        fill(area, VOLUME_PAGE + 1000);
        close_volume();
        open_volume(&raw);
        assert_string_equal(volume_text(volume), "first");
        assert_int_equal(size_of(0, CS_DATA), (2 + copy) * SEGMENT);
        assert_int_equal(volume_heal(volume), 0);
    }
    disk_record(&raw);
    close_volume();
    open_volume(&raw);
    assert_int_equal(volume_heal(volume), 0); /* there is nothing to heal any more */
    assert_int_equal(raw.event_count, 0);
}

static struct volume_entry *entry_of(unsigned copy, uint32_t segment)
{
    return (struct volume_entry *)(raw.bytes[CS_DATA] + (copy ? second_area() : 0) + VOLUME_PAGE) + segment;
}

/* A segment that nobody knows any more: its file ends before, and it is given to nobody. */
static void test_both_copies_of_an_entry_are_gone(void **state)
{
    (void)state;
    static uint8_t bytes[4 * SEGMENT], back[4 * SEGMENT];
    assert_int_equal(grow(0, CS_DATA, 4 * SEGMENT), 0);
    fill(bytes, sizeof bytes);
    assert_int_equal(transfer(0, CS_DATA, 0, bytes, sizeof bytes, true), 0);
    const uint32_t segment =
        (uint32_t)((volume_place(files[0], CS_DATA, 2 * SEGMENT) - VOLUME_AREA) / SEGMENT);
    const uint64_t room = volume_free_bytes(volume);
    entry_of(0, segment)->index ^= 1;
    entry_of(1, segment)->crc ^= 1;
    close_volume();
    open_volume(&raw);
    assert_int_equal(size_of(0, CS_DATA), 2 * SEGMENT);
    assert_int_equal(volume_free_bytes(volume), room);
    assert_int_equal(volume_heal(volume), 0);
    assert_int_equal(grow(1, CS_META, 2 * SEGMENT), 0);
    /* With another one in its place what lies behind it is there again. */
    assert_int_equal(grow(0, CS_DATA, 3 * SEGMENT), 0);
    assert_int_equal(grow(0, CS_DATA, 4 * SEGMENT), 0);
    close_volume();
    open_volume(&raw);
    assert_int_equal(volume_free_bytes(volume), room - 3 * SEGMENT);
    assert_int_equal(transfer(0, CS_DATA, 0, back, sizeof back, false), 0);
    assert_memory_equal(back, bytes, 2 * SEGMENT);
    assert_memory_equal(back + 3 * SEGMENT, bytes + 3 * SEGMENT, SEGMENT);
}

static void ignore_fault(void *arg, const char *text)
{
    (void)arg, (void)text;
}

/* What that is for a store: it can only be read, says why, and a repair gives the file its length back. */
static void test_a_store_that_lost_a_segment(void **state)
{
    (void)state;
    struct cs_repair_result repaired;
    struct cs_check_result result;
    uint64_t size, again;
    fill(expected, sizeof expected);
    for (uint64_t ino = 0; ino < 12; ino++)
        put(ino, 0, expected, BYTES);
    reopen();
    assert_int_equal(store->io->type->size(store->io, CS_DATA, &size), 0);
    struct cs_strip strip;
    assert_int_equal(cs_strip_get(store, name_of(11), 2, &strip), 0);
    const uint32_t block = strip.block[63];
    cs_close(store);
    const uint64_t place = lab_place(&disk, LAB_SHARD, CS_DATA, (uint64_t)block * CS_BLOCK);
    const uint32_t segment = (uint32_t)((place - VOLUME_AREA) / SEGMENT);
    struct volume_entry *tables = (void *)(disk.bytes[CS_DATA] + VOLUME_PAGE);
    tables[segment].shard ^= 1;
    tables = (void *)(disk.bytes[CS_DATA] + lab_disk_bytes - VOLUME_AREA + VOLUME_PAGE);
    tables[segment].shard ^= 2;
    open_store();
    assert_int_equal(store->failed, -EIO);
    assert_int_equal(write_at(0, 0, "a", 1), -EIO);
    assert_int_equal(get(0, 0, buffer, BYTES), BYTES);
    assert_memory_equal(buffer, expected, BYTES);
    assert_int_equal(read_error(11, 2 * CS_STRIP + 63 * CS_BLOCK, 10), -EIO);
    assert_int_equal(cs_repair(store, false, ignore_fault, NULL, &repaired), 0);
    assert_int_equal(store->failed, 0);
    assert_int_equal(store->io->type->size(store->io, CS_DATA, &again), 0);
    assert_int_equal(again, size);
    assert_int_equal(cs_check(store, true, ignore_fault, NULL, &result), 0);
    assert_int_equal(result.faults, result.damaged);
    assert_in_range(result.damaged, 1, SEGMENT / CS_BLOCK);
    put(20, 0, expected, 1000);
}

/* ---- crashes -------------------------------------------------------------- */

/* Growing of two shards' files and changes of the text, each of which is durable when it has returned. */
static void test_crashes(void **state)
{
    (void)state;
    enum { STEPS = 10 };
    struct {
        size_t event;
        uint64_t size[2][2];
        char text[32];
    } steps[STEPS + 1];
    struct disk_replay replay;
    static const enum cs_file both[] = {CS_DATA, CS_META};
    uint64_t wanted[2][2] = {0};
    char text[32] = "first";
    disk_record(&raw);
    for (unsigned n = 0; n <= STEPS; n++) {
        steps[n].event = raw.event_count;
        memcpy(steps[n].size, wanted, sizeof wanted);
        memcpy(steps[n].text, text, sizeof text);
        const unsigned shard = n % 2, f = n / 2 % 2;
        if (n % 3 == 2) {
            snprintf(text, sizeof text, "text %u", n);
            assert_int_equal(volume_text_set(volume, text), 0);
        } else if (n < STEPS) {
            wanted[shard][f] += (1 + n % 2) * SEGMENT;
            assert_int_equal(grow(shard, both[f], wanted[shard][f]), 0);
        }
    }
    close_volume();
    disk_replay_open(&replay, &raw);
    for (size_t event = 0; event <= raw.event_count; event++) {
        struct disk left;
        unsigned n = 0;
        disk_replay_to(&replay, event);
        disk_replay_crash(&replay, &seed, &left);
        while (n < STEPS && steps[n + 1].event <= event)
            n++;
        open_volume(&left);
        for (unsigned shard = 0; shard < 2; shard++)
            for (unsigned f = 0; f < 2; f++) {
                const uint64_t size = size_of(shard, both[f]);
                const uint64_t next = n < STEPS ? steps[n + 1].size[shard][f] : steps[n].size[shard][f];
                assert_in_range(size, steps[n].size[shard][f], next);
                /* It goes on, whatever is left. */
                if (volume_free_bytes(volume))
                    assert_int_equal(grow(shard, both[f], size + SEGMENT), 0);
            }
        if (strcmp(volume_text(volume), steps[n].text) != 0)
            assert_string_equal(volume_text(volume), steps[n < STEPS ? n + 1 : n].text);
        assert_int_equal(volume_heal(volume), 0);
        const uint64_t room = volume_free_bytes(volume);
        close_volume();
        open_volume(&left);
        assert_int_equal(volume_free_bytes(volume), room);
        close_volume();
        disk_close(&left);
    }
    disk_replay_close(&replay);
    open_volume(&raw);
}

/* A grow that could not be written is not believed, and may be tried again. */
static void test_a_table_that_cannot_be_written(void **state)
{
    (void)state;
    raw.fault = DISK_WRITE_EIO;
    raw.fault_file = CS_META;
    assert_int_equal(grow(0, CS_DATA, 2 * SEGMENT), -EIO);
    assert_int_equal(size_of(0, CS_DATA), 0);
    assert_int_equal(grow(0, CS_DATA, 2 * SEGMENT), 0);
    assert_int_equal(size_of(0, CS_DATA), 2 * SEGMENT);
    assert_int_equal(volume_free_bytes(volume), (SEGMENTS - 2) * (uint64_t)SEGMENT);
    close_volume();
    open_volume(&raw);
    assert_int_equal(size_of(0, CS_DATA), 2 * SEGMENT);
}

static int lab_open_on_disk(void **state)
{
    on_volume = true;
    return lab_open(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, raw_open, raw_close)
    const struct CMUnitTest tests[] = {
        TEST(test_files_lie_between_each_other),
        TEST(test_flushes),
        TEST(test_what_is_refused),
        TEST(test_a_longer_disk),
        TEST(test_one_copy_is_enough),
        TEST(test_both_copies_of_an_entry_are_gone),
        TEST(test_crashes),
        TEST(test_a_table_that_cannot_be_written),
        cmocka_unit_test_setup_teardown(test_a_store_that_lost_a_segment, lab_open_on_disk, lab_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
