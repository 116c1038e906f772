/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunks_lab.h: one chunk store as the server uses it, on real files in a folder of TMPDIR or on one that
 * stands for a disk, as `on_disk` says, and its operations with their ends waited for.
 */
#ifndef TEST_CHUNKS_LAB_H
#define TEST_CHUNKS_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crc.h"
#include "err.h"
#include "storage/chunks/chunks.h"
#include "storage/chunks/cs_direct.h"
#include "storage/chunks/cs_mapping.h"
#include "storage/chunks/volume.h"
#include "storage/store.h"
#include "storage/target.h"

enum { DEADLINE_MS = 20000 };

static bool on_disk, past_cache;
static char dir[128], disk_path[160];
static struct conf_target conf;
static struct target target;
static struct store *store;
static uint8_t data[1 << 20], buffer[1 << 20];

static const struct layout layout = {.chunk_size = 4096, .seed = 1, .stripe_count = 2, .group_count = 2};

static uint64_t seed;

/* From WEFT_SEED, or 1. */
static inline void seed_take(void)
{
    seed = getenv("WEFT_SEED") ? strtoull(getenv("WEFT_SEED"), NULL, 0) : 1;
    print_message("WEFT_SEED=%llu\n", (unsigned long long)seed);
}

static inline uint32_t random_below(uint32_t bound)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)(seed >> 33) % bound;
}

static inline struct store_object object_of(uint64_t ino)
{
    return (struct store_object){.ino = ino, .position = 1, .layout = layout};
}

/* The file with the bytes of `data`. */
static inline const char *data_path(void)
{
    static char path[200];
    snprintf(path, sizeof path, "%s/shard-1/data", dir);
    return on_disk ? disk_path : path;
}

/* Where a byte of `data` is in it. */
static inline off_t data_place(uint64_t offset)
{
    struct cs_io *raw, *io;
    if (!on_disk)
        return (off_t)offset;
    assert_int_equal(cs_io_raw_open(target.disk_fd, "a test's disk", &raw), 0);
    assert_int_equal(volume_shard_open(target.volume, 1, raw, &io), 0);
    const uint64_t place = volume_place(io, CS_DATA, offset);
    io->type->close(io);
    assert_true(place != UINT64_MAX);
    return (off_t)place;
}

static inline void open_store(void)
{
    struct store_config config = {.target = &target, .shard = 1, .direct_io = past_cache};
    assert_int_equal(store_chunks.open(&config, &store), 0);
}

static inline int setup(void **state)
{
    const char *base = getenv("TMPDIR");
    (void)state;
    snprintf(dir, sizeof dir, "%.90s/weft-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(disk_path, sizeof disk_path, "%s/disk", dir);
    conf = (struct conf_target){.id = 3, .dir = on_disk ? disk_path : dir, .is_disk = on_disk};
    if (on_disk)
        assert_int_equal(target_format(&conf, 2, UINT64_C(96) << 20, false), 0);
    assert_int_equal(target_open(&conf, 2, &store_chunks, &target), 0);
    open_store();
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 4096);
    return 0;
}

static inline int teardown(void **state)
{
    char command[200];
    (void)state;
    if (store)
        store_chunks.close(store);
    store = NULL;
    target_close(&target);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* ---- operations, with their ends waited for ------------------------------ */

struct wait {
    struct store_op op;
    bool over;
    ssize_t status;
};

static inline void over(struct store_op *op, ssize_t status)
{
    struct wait *wait = op->arg;
    assert_false(wait->over);
    wait->over = true;
    wait->status = status;
}

static inline struct store_op *op_of(struct wait *wait)
{
    *wait = (struct wait){.op = {.done = over, .arg = wait}};
    return &wait->op;
}

static inline ssize_t end_of(struct wait *wait, int result)
{
    if (result != STORE_PENDING) {
        assert_false(wait->over);
        return result;
    }
    while (!wait->over) {
        struct pollfd pollfd = {.fd = store_chunks.fd(store), .events = POLLIN};
        assert_int_equal(poll(&pollfd, 1, DEADLINE_MS), 1);
        store_chunks.progress(store);
    }
    return wait->status;
}

static inline ssize_t put(uint64_t ino, uint64_t offset, void *bytes, size_t length)
{
    struct wait wait;
    struct store_object object = object_of(ino);
    struct iovec iov = {bytes, length};
    return end_of(&wait, store_chunks.write(store, &object, offset, &iov, 1, op_of(&wait)));
}

static inline ssize_t get(uint64_t ino, uint64_t offset, void *bytes, size_t length)
{
    struct wait wait;
    struct store_object object = object_of(ino);
    size_t count;
    int result = store_chunks.read(store, &object, offset, bytes, length, &count, op_of(&wait));
    ssize_t status = end_of(&wait, result);
    if (result == 0)
        status = (ssize_t)count;
    if (status >= 0)
        assert_true(wait.op.has_crc && wait.op.crc == crc_of(0, bytes, (size_t)status));
    return status;
}

static inline ssize_t sync_it(uint64_t ino)
{
    struct wait wait;
    struct store_object object = object_of(ino);
    return end_of(&wait, store_chunks.sync(store, &object, op_of(&wait)));
}

static inline ssize_t drop(uint64_t ino)
{
    struct wait wait;
    struct store_object object = object_of(ino);
    return end_of(&wait, store_chunks.remove(store, &object, op_of(&wait)));
}

static inline ssize_t truncate_to(uint64_t ino, uint64_t length)
{
    struct wait wait;
    struct store_object object = object_of(ino);
    return end_of(&wait, store_chunks.truncate(store, &object, length, op_of(&wait)));
}

static inline struct store_stat stat_of(uint64_t ino)
{
    struct store_object object = object_of(ino);
    struct store_stat stat;
    assert_int_equal(store_chunks.stat(store, &object, &stat), 0);
    return stat;
}

static inline bool can_be_direct(void)
{
    const char *base = getenv("TMPDIR");
    char path[128];
    struct cs_direct direct;
    snprintf(path, sizeof path, "%.90s/weft-test-XXXXXX", base ? base : "/tmp");
    int fd = mkstemp(path);
    if (fd < 0)
        return false;
    const bool can = !cs_mapping_in_memory(fd) && cs_direct_open(fd, path, &direct) == 0;
    if (can)
        cs_direct_close(&direct);
    close(fd);
    unlink(path);
    return can;
}

/* All tests in files, then on a disk; and past the page cache, where the file system can. */
static inline int lab_run(int (*run)(const char *name))
{
    int failed = run("in files");
    on_disk = true;
    failed += run("on a disk");
    if (!can_be_direct()) {
        print_message("skipped: the file system of %s has no direct I/O\n", dir);
        return failed;
    }
    past_cache = true;
    failed += run("on a disk, past the page cache");
    on_disk = false;
    return failed + run("in files, past the page cache");
}

#endif
