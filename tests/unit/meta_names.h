/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_names.h: what the tests of the namespace share: operations that must
 * work, and such that must fail and leave the whole store as it was.
 */
#ifndef TESTS_META_NAMES_H
#define TESTS_META_NAMES_H

#include "meta_world.h"

static struct world world;

/* The callers. */
static uint32_t uid, gid;
enum { ANN = 1000, BOB = 1001, STAFF = 100, GUESTS = 200 };

static inline void become(uint32_t new_uid, uint32_t new_gid)
{
    uid = new_uid;
    gid = new_gid;
    world.group_count = 0;
}

/* Is in another group as well. */
static inline void join(uint32_t group)
{
    world.group = group;
    world.group_count = 1;
}

static inline int setup(void **state)
{
    (void)state;
    world_open(&world);
    become(0, 0);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

/* An operation that must work. */
#define does(call)                            \
    do {                                      \
        world_begin(&world, uid, gid);        \
        assert_ok(call);                      \
        world_commit(&world);                 \
    } while (0)

/* One that must fail with `error` and leave no trace. */
#define refuses(call, error)                                   \
    do {                                                       \
        struct world_dump before_ = world_dump(world.store);   \
        world_begin(&world, uid, gid);                         \
        err_clear();                                           \
        assert_result(call, error);                            \
        assert_true(*err_text());                              \
        assert_int_equal(store_changes(world.txn), 0);         \
        world_commit(&world);                                  \
        assert_same_dump(before_, world_dump(world.store));    \
    } while (0)

static struct ns *const ns = &world.ns;

static inline int open_file(const char *path, uint32_t flags, uint32_t mode, struct inode *inode)
{
    struct ns_open open = {.path = path, .flags = flags, .mode = mode, .pool = ""};
    bool created;
    return ns_open(ns, &open, inode, &created);
}

static inline int touch(const char *path, uint32_t mode)
{
    struct inode inode;
    return open_file(path, WIRE_OPEN_WRITE | WIRE_OPEN_CREATE, mode, &inode);
}

static inline struct inode look(const char *path)
{
    struct inode inode;
    world_begin(&world, 0, 0);
    assert_ok(ns_stat(ns, path, 0, true, &inode));
    world_commit(&world);
    return inode;
}

static inline bool is_there(const char *path)
{
    struct inode inode;
    world_begin(&world, 0, 0);
    int error = ns_stat(ns, path, 0, true, &inode);
    world_commit(&world);
    assert_true(error == 0 || error == -ENOENT);
    return error == 0;
}

static inline int stat_of(const char *path)
{
    struct inode inode;
    return ns_stat(ns, path, 0, false, &inode);
}

/* A path of `depth` components, each of `length` bytes. */
static inline const char *long_path(size_t depth, size_t length)
{
    static char path[8192];
    char *at = path;
    for (size_t i = 0; i < depth; i++) {
        *at++ = '/';
        memset(at, 'n', length);
        at += length;
    }
    *at = 0;
    return path;
}

/* Marks the file as one that the storage servers know. */
static inline void write_file(const char *path)
{
    struct inode inode;
    world_begin(&world, 0, 0);
    assert_ok(ns_stat(ns, path, 0, true, &inode));
    assert_ok(ns_size_open(ns, &inode));
    assert_ok(ns_size_settle(ns, &inode, &(struct ns_size){.end = 1000, .bytes = 4096, .mtime_ns = 1}));
    world_commit(&world);
}

static inline size_t removals_in_line(struct removal *removals)
{
    world_begin(&world, 0, 0);
    ssize_t count = records_removals(world.txn, 0, removals, 4);
    world_commit(&world);
    assert_true(count >= 0);
    return (size_t)count;
}

#endif
