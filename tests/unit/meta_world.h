/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_world.h: what the tests of the metadata server share: a store in a
 * folder of its own, one transaction after the other on it, and the whole
 * store as bytes, to see that a failing operation left no trace.
 */
#ifndef TESTS_META_WORLD_H
#define TESTS_META_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "metadata/namespace.h"
#include "metadata/opens.h"
#include "metadata/records.h"
#include "metadata/store.h"
#include "meta_recount.h"

#define WORLD_STORE_BYTES (UINT64_C(64) << 20)

struct world {
    char base[256];  /* a folder of this test's own */
    char dir[272];   /* the store's, in it */
    struct store *store;
    struct opens *opens;
    struct store_txn *txn;
    struct ns ns;
    int64_t now_ns;
    uint32_t group, group_count; /* a supplementary one of the caller, if the count is 1 */
    bool is_damaged;             /* the test has done things to the store that no server does */
};

/* assert_int_equal() with the error's text shown when the two differ. */
#define assert_result(result, expected)                                                                  \
    do {                                                                                                 \
        int result_ = (int)(result);                                                                     \
        if (result_ != (int)(expected))                                                                  \
            print_error("%s: %s (%s)\n", #result, err_name(result_ < 0 ? result_ : -1), err_text());      \
        assert_int_equal(result_, (expected));                                                           \
    } while (0)
#define assert_ok(result) assert_result(result, 0)

static inline void world_dir_make(struct world *world)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(world->base, sizeof world->base, "%s/weft-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(world->base));
    snprintf(world->dir, sizeof world->dir, "%s/metadata", world->base);
}

static inline void world_dir_remove(const struct world *world)
{
    char path[1024];
    DIR *dir = opendir(world->dir);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", world->dir, entry->d_name);
        unlink(path);
    }
    if (dir)
        closedir(dir);
    rmdir(world->dir);
    rmdir(world->base);
}

static inline void world_begin(struct world *world, uint32_t uid, uint32_t gid)
{
    assert_ok(store_begin(world->store, true, &world->txn));
    world->now_ns += 1000;
    world->ns = (struct ns){
        .txn = world->txn,
        .opens = world->opens,
        .uid = uid,
        .gid = gid,
        .caller_group_count = world->group_count,
        .caller_groups = &world->group,
        .now_ns = world->now_ns,
        .chunk_size = 1 << 20,
        .group_count = 4,
    };
}

static inline void world_commit(struct world *world)
{
    assert_ok(store_commit(world->txn));
    opens_commit(world->opens);
}

static inline void world_open(struct world *world)
{
    struct ns_identity identity;
    *world = (struct world){.now_ns = INT64_C(1000000000000)};
    world_dir_make(world);
    assert_ok(store_open(world->dir, WORLD_STORE_BYTES, &world->store));
    assert_ok(opens_new(1, &world->opens));
    world_begin(world, 0, 0);
    assert_ok(ns_format(world->txn, world->now_ns, &identity));
    world_commit(world);
}

/* What is kept as sums is what there is. */
static inline void world_recount(struct store *store)
{
    struct store_txn *txn;
    assert_ok(store_begin(store, false, &txn));
    const char *difference = recount(txn);
    store_abort(txn);
    if (difference)
        fail_msg("%s", difference);
}

static inline void world_close(struct world *world)
{
    if (!world->is_damaged)
        world_recount(world->store);
    opens_free(world->opens);
    store_close(world->store);
    world_dir_remove(world);
}

/* ---- the whole store as bytes --------------------------------------------- */

struct world_dump {
    uint8_t *data;
    size_t length, size;
};

static inline void world_dump_put(struct world_dump *dump, struct store_bytes bytes)
{
    uint32_t length = (uint32_t)bytes.length;
    if (dump->length + 4 + length > dump->size) {
        dump->size = 2 * (dump->length + 4 + length);
        dump->data = realloc(dump->data, dump->size);
        assert_non_null(dump->data);
    }
    memcpy(dump->data + dump->length, &length, 4);
    if (length)
        memcpy(dump->data + dump->length + 4, bytes.data, length);
    dump->length += 4 + length;
}

static inline int world_dump_row(void *arg, struct store_bytes key, struct store_bytes value)
{
    world_dump_put(arg, key);
    world_dump_put(arg, value);
    return 0;
}

static inline struct world_dump world_dump_txn(struct store_txn *txn)
{
    struct world_dump dump = {0};
    for (int table = 0; table < STORE_TABLE_COUNT; table++) {
        uint8_t number = (uint8_t)table;
        world_dump_put(&dump, (struct store_bytes){&number, 1});
        assert_ok(
            store_each(txn, (enum store_table)table, (struct store_bytes){"", 0}, world_dump_row, &dump));
    }
    return dump;
}

static inline struct world_dump world_dump(struct store *store)
{
    struct store_txn *txn;
    assert_ok(store_begin(store, false, &txn));
    struct world_dump dump = world_dump_txn(txn);
    store_abort(txn);
    return dump;
}

/* Frees both. */
static inline void assert_same_dump(struct world_dump before, struct world_dump after)
{
    assert_int_equal(before.length, after.length);
    assert_memory_equal(before.data, after.data, before.length);
    free(before.data);
    free(after.data);
}

#endif
