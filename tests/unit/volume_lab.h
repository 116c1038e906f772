/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_lab.h: a disk in memory (cs_disk.h) that has the files of one store, or is a volume (volume.h) in
 * which these are, as `on_volume` says; and takes whole blocks of `data` only, as `in_whole_blocks` says.
 */
#ifndef TEST_VOLUME_LAB_H
#define TEST_VOLUME_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "storage/chunks/cs_store.h"
#include "storage/chunks/cs_whole.h"
#include "storage/chunks/volume.h"
#include "cs_disk.h"

static bool on_volume, in_whole_blocks;
static uint64_t lab_disk_bytes = UINT64_C(28) << 20;

/* All tests with the one, then with the other. */
static inline int lab_run(int (*run)(const char *name))
{
    on_volume = false;
    int failed = run("in files");
    on_volume = true;
    failed += run("on a disk");
    in_whole_blocks = true;
    failed += run("on a disk, in whole blocks");
    on_volume = false;
    failed += run("in files, in whole blocks");
    in_whole_blocks = false;
    return failed;
}

static inline void lab_disk_open(struct disk *disk)
{
    struct volume *volume;
    if (!on_volume) {
        disk_open(disk);
        return;
    }
    disk_open_raw(disk, lab_disk_bytes);
    assert_int_equal(volume_make(&disk->io, 0, &volume), 0);
    assert_int_equal(volume_text_set(volume, "a test's"), 0);
    volume_close(volume);
}

/* The files of a shard, as the disk now says where they are. */
static inline struct cs_io *lab_io(struct disk *disk, uint32_t shard)
{
    struct volume *volume;
    struct cs_io *io;
    if (!on_volume)
        io = &disk->io;
    if (on_volume) {
        assert_int_equal(volume_open(&disk->io, &volume), 0);
        assert_int_equal(volume_shard_open(volume, shard, &disk->io, &io), 0);
        volume_close(volume);
    }
    disk->whole_blocks = in_whole_blocks;
    if (in_whole_blocks)
        assert_int_equal(cs_whole_open(io, &io), 0);
    return io;
}

/* After cs_format(), which leaves the files open. */
static inline void lab_formatted(const struct cs_config *config)
{
    config->io->type->close(config->io);
}

/* Where the byte of the file is on the disk. */
static inline uint64_t lab_place(struct disk *disk, uint32_t shard, enum cs_file file, uint64_t offset)
{
    const bool whole = in_whole_blocks;
    in_whole_blocks = false;
    struct cs_io *io = lab_io(disk, shard);
    in_whole_blocks = whole;
    const uint64_t place = on_volume ? volume_place(io, file, offset) : offset;
    io->type->close(io);
    assert_true(place != UINT64_MAX);
    return place;
}

#endif
