/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_lab.h: one chunk store on a disk in memory (cs_disk.h), and calls of it that end the
 * running test when they fail. Objects have names by their inode's number alone. The disk has the store's
 * files, or is a volume with the store in it: lab_run() runs the tests with both.
 */
#ifndef TEST_CS_LAB_H
#define TEST_CS_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "storage/chunks/cs_store.h"
#include "cs_disk.h"
#include "volume_lab.h"

enum { OBJECTS = 5, BYTES = 3 * CS_STRIP, LAB_SHARD = 1 };

static const struct layout layout = {.chunk_size = 4096, .seed = 1, .stripe_count = 2, .group_count = 2};
static struct disk disk, *lab_disk = &disk; /* the second one is what is mounted */
static struct cs_config config;
static struct cs_store *store;
static uint64_t seed;
static uint8_t buffer[BYTES], expected[BYTES];

static inline struct cs_name name_of(uint64_t ino)
{
    return (struct cs_name){.ino = ino, .position = 1};
}

/* As cs_open(), and reads what the disk says of its files before. */
static inline int mount_store(void)
{
    config.io = lab_io(lab_disk, LAB_SHARD);
    return cs_open(&config, &store);
}

static inline void open_store(void)
{
    assert_int_equal(mount_store(), 0);
}

/* A byte of a file, to be damaged. */
static inline uint8_t *byte_at(enum cs_file file, uint64_t offset)
{
    return disk.bytes[on_volume ? CS_DATA : file] + lab_place(&disk, LAB_SHARD, file, offset);
}

/* An empty store on a disk that is new. */
static inline void format_store(void)
{
    lab_disk_open(&disk);
    config.io = lab_io(&disk, LAB_SHARD);
    assert_int_equal(cs_format(&config), 0);
    lab_formatted(&config);
}

static inline void reopen(void)
{
    assert_int_equal(cs_commit(store), 0);
    cs_close(store);
    open_store();
    assert_int_equal(store->failed, 0);
}

static inline int lab_open(void **state)
{
    (void)state;
    seed = getenv("WEFT_SEED") ? strtoull(getenv("WEFT_SEED"), NULL, 0) : 1;
    print_message("WEFT_SEED=%llu\n", (unsigned long long)seed);
    config = (struct cs_config){.name = "target 3 shard 1",
                                .uuid = {1, 2, 3},
                                .shard = LAB_SHARD,
                                .shard_count = 2,
                                .grow_blocks = 256,
                                .cache_pages = 256};
    format_store();
    open_store();
    return 0;
}

static inline int lab_close(void **state)
{
    (void)state;
    cs_close(store);
    disk_close(&disk);
    return 0;
}

static inline int write_at(uint64_t ino, uint64_t offset, const void *bytes, size_t length)
{
    struct iovec iov = {(void *)bytes, length};
    return cs_write(store, name_of(ino), &layout, offset, &iov, 1, NULL);
}

static inline void put(uint64_t ino, uint64_t offset, const void *bytes, size_t length)
{
    int error = write_at(ino, offset, bytes, length);
    if (error)
        fail_msg("%s", err_text());
}

static inline size_t get(uint64_t ino, uint64_t offset, void *bytes, size_t length)
{
    size_t count;
    int error = cs_read(store, name_of(ino), &layout, offset, bytes, length, &count, NULL);
    if (error)
        fail_msg("%s", err_text());
    return count;
}

static inline int read_error(uint64_t ino, uint64_t offset, size_t length)
{
    size_t count;
    return cs_read(store, name_of(ino), &layout, offset, buffer, length, &count, NULL);
}

static inline struct cs_stat stat_of(uint64_t ino)
{
    struct cs_stat stat;
    assert_int_equal(cs_stat(store, name_of(ino), &layout, &stat), 0);
    return stat;
}

static inline void truncate_to(uint64_t ino, uint64_t length)
{
    int result;
    while ((result = cs_truncate(store, name_of(ino), &layout, length)) > 0)
        ;
    assert_int_equal(result, 0);
}

static inline void drop(uint64_t ino)
{
    int result;
    while ((result = cs_remove(store, name_of(ino))) > 0)
        ;
    assert_int_equal(result, 0);
}

static inline void fill(void *bytes, size_t length)
{
    uint8_t *at = bytes;
    for (size_t i = 0; i < length; i++)
        at[i] = (uint8_t)disk_random(&seed);
}

static inline void print_fault(void *arg, const char *text)
{
    (void)arg;
    print_message("fault: %s\n", text);
}

static inline struct cs_check_result check_store(void)
{
    struct cs_check_result result;
    assert_int_equal(cs_commit(store), 0);
    assert_int_equal(cs_check(store, true, print_fault, NULL, &result), 0);
    assert_int_equal(result.faults, 0);
    return result;
}

#endif
