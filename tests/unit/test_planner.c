/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner against a model that knows of nothing but single bytes, over seeded random
 * lists. WEFT_TEST_SEED repeats a run; a failure prints the seed.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "../../libclient/planner.h"
#include "err.h"
#include "weft_limits.h"

/* ---- a random world ----------------------------------------------------------- */

static uint64_t random_state;
static uint64_t seed_running; /* 0: none */

static uint64_t random_next(void)
{
    random_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t value = random_state;
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static uint64_t below(uint64_t bound)
{
    return random_next() % bound;
}

/* `servers` servers with 1 to 3 shards and 1 to 3 targets each; a group for each target. */
static struct map *map_make(uint32_t servers)
{
    uint32_t shard_counts[16] = {0}, target_counts[16] = {0}, targets = 0;
    for (uint32_t i = 0; i < servers; i++) {
        shard_counts[i] = 1 + (uint32_t)below(3);
        target_counts[i] = 1 + (uint32_t)below(3);
        targets += target_counts[i];
    }
    struct map *map = map_new(0, servers, shard_counts, targets, targets);
    assert_non_null(map);
    map->version = 1 + below(100);
    uint32_t target = 0;
    for (uint32_t i = 0; i < servers; i++) {
        snprintf(map->servers[i].name, sizeof map->servers[i].name, "s%u", i);
        map->servers[i].state = MAP_STATE_UP;
        for (uint32_t k = 0; k < shard_counts[i]; k++)
            snprintf(map->servers[i].addresses[k], sizeof map->servers[i].addresses[k], "127.0.0.1:%u",
                     1000 + 10 * i + k);
        for (uint32_t k = 0; k < target_counts[i]; k++, target++)
            map->targets[target] =
                (struct map_target){.id = 100 + target, .server = i, .state = MAP_STATE_UP};
    }
    for (uint32_t group = 0; group < targets; group++) {
        map->groups[group].member_count = 1;
        map->groups[group].members[0] = (group * 7 + 3) % targets;
    }
    return map;
}

static struct planner_table *table_make(struct map *map, uint64_t chunk_size, uint32_t stripe_count)
{
    struct planner_table *table;
    struct layout layout = {.chunk_size = chunk_size,
                            .seed = random_next(),
                            .stripe_count = stripe_count,
                            .group_count = map->group_count};
    assert_int_equal(planner_table_new(map, &layout, NULL, &table), 0);
    return table;
}

#define LIST_MAX 400

struct lists {
    struct iovec iov[LIST_MAX];
    struct weft_extent extents[LIST_MAX];
    size_t iov_count, extent_count;
    uint64_t total;
};

/* Cuts [0, total) into pieces, some of them empty. Returns how many. */
static size_t cut(uint64_t total, uint64_t lengths[LIST_MAX])
{
    size_t count = 0;
    uint64_t typical = 1 + below(total / 2 + 2);
    while (total > 0 && count < LIST_MAX - 1) {
        uint64_t length = below(8) == 0 ? 0 : 1 + below(typical);
        if (length > total)
            length = total;
        lengths[count++] = length;
        total -= length;
    }
    if (total > 0)
        lengths[count++] = total;
    return count;
}

/* Memory pieces stand in `arena` in a shuffled order, some next to each other; file extents
 * go forward with gaps, or touch, or (for a read) lie anywhere. */
static void lists_make(struct lists *lists, uint64_t total, char *arena)
{
    uint64_t lengths[LIST_MAX];
    lists->total = total;
    lists->iov_count = cut(total, lengths);
    char *at = arena;
    for (size_t i = 0; i < lists->iov_count; i++) {
        lists->iov[i] = (struct iovec){.iov_base = at, .iov_len = lengths[i]};
        at += lengths[i] + (below(2) ? below(50) : 0);
    }
    for (size_t i = lists->iov_count; i > 1 && below(2); i--) {
        size_t other = below(i);
        struct iovec swap = lists->iov[i - 1];
        lists->iov[i - 1] = lists->iov[other];
        lists->iov[other] = swap;
    }
    lists->extent_count = cut(total, lengths);
    uint64_t offset = below(2) ? 0 : below(UINT64_C(1) << 40);
    unsigned kind = (unsigned)below(3);
    for (size_t i = 0; i < lists->extent_count; i++) {
        if (kind == 2)
            offset = below(1 << 20);
        lists->extents[i] = (struct weft_extent){.offset = offset, .length = lengths[i]};
        offset += lengths[i] + (kind == 1 ? below(10000) : 0);
    }
}

/* ---- the model ----------------------------------------------------------------- */

#define ARENA_BYTES (256u << 10)

/* Of each byte of the arena: where in the file it belongs, and how often it was planned. */
struct model {
    uint64_t offset[ARENA_BYTES];
    uint8_t wanted[ARENA_BYTES];
    uint8_t planned[ARENA_BYTES];
};

static void model_make(struct model *model, const struct lists *lists, const char *arena)
{
    size_t extent = 0;
    uint64_t done = 0;
    memset(model, 0, sizeof *model);
    for (size_t i = 0; i < lists->iov_count; i++) {
        for (size_t k = 0; k < lists->iov[i].iov_len; k++) {
            while (done == lists->extents[extent].length) {
                extent++;
                done = 0;
            }
            size_t byte = (size_t)((char *)lists->iov[i].iov_base + k - arena);
            model->wanted[byte] = 1;
            model->offset[byte] = lists->extents[extent].offset + done++;
        }
    }
}

static void check_place(const struct planner_table *table, const struct planner_request *request,
                        const struct planner_extent *extent)
{
    struct map_location location;
    const struct planner_shard *shard = &table->shards[request->shard];
    assert_in_range(extent->length, 1, UINT32_MAX);
    assert_int_equal(map_locate(table->map, &table->layout, extent->offset, &location), 0);
    assert_int_equal(location.target_id, extent->target);
    assert_int_equal(location.server, shard->server);
    assert_int_equal(location.shard, shard->shard);
    assert_int_equal(extent->offset / table->layout.chunk_size,
                     (extent->offset + extent->length - 1) / table->layout.chunk_size);
}

static void check_request(struct model *model, const struct planner_table *table,
                          const struct planner_request *request, const struct planner_limits *limits,
                          const char *arena)
{
    assert_in_range(request->bytes, 1, limits->bytes_max);
    assert_in_range(request->extent_count, 1, limits->extents_max);
    assert_in_range(request->shard, 0, table->shard_count - 1);
    uint32_t piece = 0;
    uint64_t done = 0, bytes = 0;
    for (uint32_t i = 0; i < request->extent_count; i++) {
        const struct planner_extent *extent = &request->extents[i];
        check_place(table, request, extent);
        if (i > 0 && extent[-1].offset + extent[-1].length == extent->offset)
            assert_int_equal(extent->offset % table->layout.chunk_size, 0); /* else it had to be one */
        for (uint32_t k = 0; k < extent->length; k++, done++, bytes++) {
            while (done == request->pieces[piece].iov_len) {
                assert_true(++piece < request->piece_count);
                done = 0;
            }
            size_t byte = (size_t)((char *)request->pieces[piece].iov_base + done - arena);
            assert_true(byte < ARENA_BYTES);
            assert_int_equal(model->wanted[byte], 1);
            assert_int_equal(model->planned[byte]++, 0);
            assert_true(model->offset[byte] == extent->offset + k);
        }
    }
    assert_true(bytes == request->bytes);
    assert_int_equal(piece, request->piece_count - 1);
    assert_true(done == request->pieces[piece].iov_len);
}

/* Plans all rounds and checks each; returns how many there were. */
static unsigned check_plan(struct model *model, const struct planner_table *table, const struct lists *lists,
                           const struct planner_limits *limits, const char *arena)
{
    struct planner planner;
    struct planner_request *request;
    unsigned rounds = 0;
    uint8_t *asked = calloc(table->shard_count, 1);
    model_make(model, lists, arena);
    assert_int_equal(planner_open(&planner, table, lists->iov, lists->iov_count, lists->extents,
                                  lists->extent_count, limits, sizeof *request + 8),
                     0);
    for (;; rounds++) {
        uint64_t pieces = 0;
        assert_int_equal(planner_round(&planner, &request), 0);
        if (!request)
            break;
        memset(asked, 0, table->shard_count);
        while (request) {
            struct planner_request *next = request->next;
            assert_int_equal(asked[request->shard]++, 0);
            check_request(model, table, request, limits, arena);
            pieces += request->piece_count;
            planner_request_free(request);
            request = next;
        }
        assert_in_range(pieces, 1, limits->pieces_max);
    }
    planner_close(&planner);
    free(asked);
    assert_memory_equal(model->planned, model->wanted, sizeof model->planned);
    return rounds;
}

/* ---- tests ------------------------------------------------------------------------ */

static void test_random_lists(void **state)
{
    (void)state;
    const char *given = getenv("WEFT_TEST_SEED");
    struct lists *lists = malloc(sizeof *lists);
    struct model *model = malloc(sizeof *model);
    char *arena = malloc(ARENA_BYTES);
    for (uint64_t seed = 1; seed <= 400; seed++) {
        uint64_t total;
        random_state = given ? strtoull(given, NULL, 0) : seed;
        seed_running = random_state;
        struct map *map = map_make(1 + (uint32_t)below(8));
        struct planner_table *table =
            table_make(map, WEFT_CHUNK_BYTES_MIN + below(20000), 1 + (uint32_t)below(map->group_count));
        struct planner_limits limits = {.bytes_max = 1 + below(30000),
                                        .extents_max = 1 + (uint32_t)below(40),
                                        .pieces_max = 1 + (uint32_t)below(300),
                                        .alone_min = below(2) ? 1 + below(10000) : 0};
        lists_make(lists, below(100000), arena);
        assert_int_equal(
            planner_check(lists->iov, lists->iov_count, lists->extents, lists->extent_count, &total), 0);
        assert_true(total == lists->total);
        check_plan(model, table, lists, &limits, arena);
        planner_table_unref(table);
        map_unref(map);
        if (given)
            break;
    }
    seed_running = 0;
    free(arena);
    free(model);
    free(lists);
}

static int tell_seed(void **state)
{
    (void)state;
    if (seed_running)
        print_message("it failed with WEFT_TEST_SEED=%llu\n", (unsigned long long)seed_running);
    return 0;
}

static const struct planner_limits real_limits = {
    .bytes_max = LIMITS_IO_BYTES_MAX, .extents_max = LIMITS_EXTENTS_MAX, .pieces_max = 65536};

/* 1,024 small pieces are not 1,024 requests. */
static void test_one_request_for_each_shard(void **state)
{
    (void)state;
    random_state = 7;
    struct map *map = map_make(6);
    struct planner_table *table = table_make(map, 1 << 20, map->group_count);
    struct iovec iov[1024];
    struct weft_extent extents[1024];
    static char arena[1024 * 64];
    struct planner planner;
    struct planner_request *request;
    unsigned requests = 0;
    for (unsigned i = 0; i < 1024; i++) {
        iov[i] = (struct iovec){.iov_base = arena + i * 64, .iov_len = 48};
        extents[i] = (struct weft_extent){.offset = i * UINT64_C(47008), .length = 48};
    }
    assert_int_equal(planner_open(&planner, table, iov, 1024, extents, 1024, &real_limits, sizeof *request),
                     0);
    assert_int_equal(planner_round(&planner, &request), 0);
    while (request) {
        struct planner_request *next = request->next;
        requests++;
        planner_request_free(request);
        request = next;
    }
    assert_in_range(requests, 2, table->shard_count);
    assert_int_equal(planner_round(&planner, &request), 0);
    assert_null(request);
    planner_close(&planner);
    planner_table_unref(table);
    map_unref(map);
}

/* A contiguous transfer needs no more requests than its bytes, and cuts no chunk in two. */
static void test_contiguous(void **state)
{
    (void)state;
    random_state = 8;
    struct map *map = map_make(4);
    struct planner_table *table = table_make(map, 470080, map->group_count);
    struct iovec iov = {.iov_base = (void *)(uintptr_t)4096, .iov_len = UINT64_C(3) << 30};
    struct weft_extent extent = {.offset = 12345, .length = UINT64_C(3) << 30};
    struct planner planner;
    struct planner_request *request;
    uint64_t bytes = 0;
    uint64_t rounds = 0, end = extent.offset + extent.length;
    assert_int_equal(planner_open(&planner, table, &iov, 1, &extent, 1, &real_limits, sizeof *request), 0);
    for (;; rounds++) {
        assert_int_equal(planner_round(&planner, &request), 0);
        if (!request)
            break;
        while (request) {
            struct planner_request *next = request->next;
            bytes += request->bytes;
            for (uint32_t i = 0; i < request->extent_count; i++) {
                const struct planner_extent *at = &request->extents[i];
                if (at->offset != extent.offset)
                    assert_int_equal(at->offset % 470080, 0);
                if (at->offset + at->length != end)
                    assert_int_equal((at->offset + at->length) % 470080, 0);
            }
            planner_request_free(request);
            request = next;
        }
    }
    assert_true(bytes == extent.length);
    planner_close(&planner);
    planner_table_unref(table);
    map_unref(map);
}

/* Large pieces have requests of their own, small ones share. */
static void test_large_pieces_alone(void **state)
{
    (void)state;
    random_state = 13;
    struct map *map = map_make(3);
    struct planner_table *table = table_make(map, 1 << 20, map->group_count);
    struct planner_limits limits = {
        .bytes_max = 4 << 20, .extents_max = 8192, .pieces_max = 65536, .alone_min = 256 << 10};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)4096, .iov_len = 64 << 20};
    struct weft_extent extent = {.offset = 500, .length = 64 << 20};
    struct planner planner;
    struct planner_request *request;
    unsigned shared = 0;
    for (unsigned turn = 0; turn < 2; turn++) {
        if (turn == 1)
            table->layout.chunk_size = 65536;
        assert_int_equal(planner_open(&planner, table, &iov, 1, &extent, 1, &limits, sizeof *request), 0);
        do {
            assert_int_equal(planner_round(&planner, &request), 0);
            for (struct planner_request *at = request, *next; at; at = next) {
                next = at->next;
                if (turn == 0)
                    assert_int_equal(at->piece_count, 1);
                shared += at->piece_count > 1;
                planner_request_free(at);
            }
        } while (request);
        planner_close(&planner);
    }
    assert_true(shared > 0);
    planner_table_unref(table);
    map_unref(map);
}

/* Plans `count` pieces of 100 bytes in every other 100 bytes of the file; returns its CPU time. */
static double time_of(size_t count)
{
    struct map *map = map_make(4);
    struct planner_table *table = table_make(map, 1 << 20, map->group_count);
    struct iovec *iov = malloc(count * sizeof *iov);
    struct weft_extent *extents = malloc(count * sizeof *extents);
    struct planner planner;
    struct planner_request *request;
    uint64_t total, bytes = 0;
    for (size_t i = 0; i < count; i++) {
        iov[i] = (struct iovec){.iov_base = (void *)(uintptr_t)(4096 + i * 128), .iov_len = 100};
        extents[i] = (struct weft_extent){.offset = i * 200, .length = 100};
    }
    clock_t start = clock();
    assert_int_equal(planner_check(iov, count, extents, count, &total), 0);
    assert_int_equal(planner_open(&planner, table, iov, count, extents, count, &real_limits, sizeof *request),
                     0);
    do {
        assert_int_equal(planner_round(&planner, &request), 0);
        for (struct planner_request *at = request, *next; at; at = next) {
            next = at->next;
            bytes += at->bytes;
            planner_request_free(at);
        }
    } while (request);
    clock_t end = clock();
    assert_true(bytes == total);
    planner_close(&planner);
    planner_table_unref(table);
    map_unref(map);
    free(iov);
    free(extents);
    return (double)(end - start) / CLOCKS_PER_SEC;
}

/* Four times as many pieces take about four times as long: 16 times would be quadratic. */
static void test_many_pieces(void **state)
{
    (void)state;
    random_state = 9;
    time_of(100000); /* pages that are new to the process are not the planner's cost */
    double few = time_of(100000), many = time_of(400000);
    print_message("100,000 pieces in %.1f ms, 400,000 in %.1f ms\n", few * 1e3, many * 1e3);
    assert_true(many < 10 * (few > 0.002 ? few : 0.002));
}

static void test_check(void **state)
{
    (void)state;
    char memory[100];
    struct iovec iov[2] = {{memory, 60}, {memory + 60, 40}};
    struct weft_extent extents[2] = {{1000, 0}, {2000, 100}};
    uint64_t total;
    assert_int_equal(planner_check(iov, 2, extents, 2, &total), 0);
    assert_int_equal(total, 100);
    assert_int_equal(planner_check(NULL, 0, NULL, 0, &total), 0);
    assert_int_equal(total, 0);
    assert_int_equal(planner_check(NULL, 0, extents, 1, &total), 0);
    assert_int_equal(planner_check(iov, 1, extents, 2, &total), -EINVAL);
    assert_non_null(strstr(err_text(), "60"));
    assert_int_equal(planner_check(NULL, 1, extents, 2, &total), -EINVAL);
    assert_int_equal(planner_check(iov, 2, NULL, 2, &total), -EINVAL);
    struct iovec hollow = {NULL, 100};
    assert_int_equal(planner_check(&hollow, 1, extents, 2, &total), -EINVAL);

    struct weft_extent far = {INT64_MAX - 99, 100};
    assert_int_equal(planner_check(iov, 2, &far, 1, &total), -EFBIG);
    far.offset--;
    assert_int_equal(planner_check(iov, 2, &far, 1, &total), 0);
    far.offset = UINT64_MAX - 50;
    assert_int_equal(planner_check(iov, 2, &far, 1, &total), -EFBIG);
    struct iovec huge[3] = {{memory, SIZE_MAX}, {memory, SIZE_MAX}, {memory, 102}};
    assert_int_equal(planner_check(huge, 3, extents, 2, &total), -EINVAL);
}

static void test_table(void **state)
{
    (void)state;
    random_state = 10;
    struct map *map = map_make(5);
    struct planner_table *table;
    struct layout layout = {.chunk_size = 65536,
                            .seed = 3,
                            .stripe_count = map->group_count + 1,
                            .group_count = map->group_count + 1};
    assert_int_equal(planner_table_new(map, &layout, NULL, &table),
                     -EINVAL); /* groups that the map has not */
    layout.group_count = map->group_count;
    assert_int_equal(planner_table_new(map, &layout, NULL, &table), -EINVAL); /* more groups than there are */
    layout.stripe_count = map->group_count;
    assert_int_equal(planner_table_new(map, &layout, NULL, &table), 0);
    uint32_t shards = 0;
    for (uint32_t i = 0; i < map->server_count; i++)
        shards += map->servers[i].shard_count;
    assert_int_equal(table->shard_count, shards);
    for (uint32_t i = 0; i < table->shard_count; i++) {
        for (uint32_t k = 0; k < i; k++)
            assert_false(table->shards[i].server == table->shards[k].server &&
                         table->shards[i].shard == table->shards[k].shard);
    }
    planner_table_unref(planner_table_ref(table));
    planner_table_unref(table);
    map_unref(map);
}

/* In the middle of a plan a server's shards become more: the rest goes by the new map. */
static void test_table_changes(void **state)
{
    (void)state;
    random_state = 11;
    struct map *old = map_make(3), *new = NULL;
    uint32_t counts[3] = {3, 3, 3};
    new = map_new(0, 3, counts, old->target_count, old->group_count);
    memcpy(new->targets, old->targets, old->target_count * sizeof *old->targets);
    memcpy(new->groups, old->groups, old->group_count * sizeof *old->groups);
    struct planner_table *before = table_make(old, 8192, old->group_count), *after;
    assert_int_equal(planner_table_new(new, &before->layout, NULL, &after), 0);
    struct lists *lists = malloc(sizeof *lists);
    struct model *model = malloc(sizeof *model);
    char *arena = malloc(ARENA_BYTES);
    struct planner_limits limits = {.bytes_max = 9000, .extents_max = 50, .pieces_max = 500};
    struct planner planner;
    struct planner_request *request;
    lists_make(lists, 120000, arena);
    model_make(model, lists, arena);
    assert_int_equal(planner_open(&planner, before, lists->iov, lists->iov_count, lists->extents,
                                  lists->extent_count, &limits, sizeof *request),
                     0);
    const struct planner_table *table = before;
    for (unsigned round = 0;; round++) {
        if (round == 1) {
            assert_int_equal(planner_table_set(&planner, after), 0);
            table = after;
        }
        assert_int_equal(planner_round(&planner, &request), 0);
        if (!request)
            break;
        for (struct planner_request *next; request; request = next) {
            next = request->next;
            check_request(model, table, request, &limits, arena);
            planner_request_free(request);
        }
    }
    assert_memory_equal(model->planned, model->wanted, sizeof model->planned);
    planner_close(&planner);
    planner_table_unref(before);
    planner_table_unref(after);
    map_unref(old);
    map_unref(new);
    free(lists);
    free(model);
    free(arena);
}

/* Which shards hold something of a range, chunk by chunk. */
static void test_table_has(void **state)
{
    (void)state;
    random_state = 14;
    for (unsigned turn = 0; turn < 300; turn++) {
        struct map *map = map_make(1 + (uint32_t)below(4));
        struct planner_table *table =
            table_make(map, WEFT_CHUNK_BYTES_MIN + below(100), 1 + (uint32_t)below(map->group_count));
        const struct layout *layout = &table->layout;
        for (unsigned k = 0; k < 20; k++) {
            const uint64_t offset = below(200000), length = 1 + below(k % 4 ? 200000 >> 5 * (k % 4) : 1);
            bool has[64] = {false};
            for (uint64_t at = offset; at < offset + length;
                 at += layout->chunk_size - at % layout->chunk_size) {
                const struct layout_place place = layout_place_of(layout, at);
                const struct planner_position *position = &table->positions[place.position];
                has[position->leader.first_shard + layout_shard_of(place.row, position->shard_count)] = true;
            }
            for (uint32_t shard = 0; shard < table->shard_count; shard++)
                assert_int_equal(planner_table_has(table, shard, offset, length), has[shard]);
        }
        planner_table_unref(table);
        map_unref(map);
    }
}

/* Two servers that have everything of each other: changes go to who leads, reads to the reader's own host,
 * and who asks all leaders asks nobody else. */
static void test_the_nearest_is_read(void **state)
{
    (void)state;
    static const uint32_t shards[] = {2, 2, 2};
    struct map *map = map_new(3, 3, shards, 3, 2);
    assert_non_null(map);
    map->version = 1;
    for (uint32_t i = 0; i < 3; i++) {
        snprintf(map->hosts[i].name, sizeof map->hosts[i].name, "n%u", i);
        map->servers[i].id = i;
        map->servers[i].state = MAP_STATE_UP;
        map->servers[i].host = i + 1;
        map->targets[i] = (struct map_target){.id = i, .server = i, .state = MAP_STATE_UP};
    }
    map->groups[0] = (struct map_group){.member_count = 2, .members = {0, 2}};
    map->groups[1] = (struct map_group){.member_count = 2, .members = {1, 2}};
    map_index(map);
    const struct layout layout = {.chunk_size = 4096, .stripe_count = 2, .group_count = 2};
    const struct planner_reader reader = {.host = "n2"};
    struct planner_table *table;
    assert_int_equal(planner_table_new(map, &layout, &reader, &table), 0);
    assert_int_equal(table->leading_count, 4);
    assert_int_equal(table->shard_count, 6);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_not_equal(table->shards[table->positions[i].leader.first_shard].server, 2);
        assert_int_equal(table->positions[i].nearest.id, 2);
        assert_int_equal(table->shards[table->positions[i].nearest.first_shard].server, 2);
        /* Who can't read there asks the leader. */
        assert_memory_equal(&table->positions[i].other, &table->positions[i].leader,
                            sizeof table->positions[i].other);
    }
    char bytes[8192];
    const struct iovec iov = {bytes, sizeof bytes};
    const struct weft_extent extent = {0, sizeof bytes};
    for (enum planner_member member = PLANNER_LEADER; member <= PLANNER_OTHER; member++) {
        struct planner_limits limits = {
            .bytes_max = 1 << 20, .extents_max = 64, .pieces_max = 64, .member = member};
        struct planner planner;
        struct planner_request *requests;
        assert_int_equal(
            planner_open(&planner, table, &iov, 1, &extent, 1, &limits, sizeof(struct planner_request)), 0);
        assert_int_equal(planner_round(&planner, &requests), 0);
        for (struct planner_request *next; requests; requests = next) {
            next = requests->next;
            assert_int_equal(table->shards[requests->shard].server == 2, member == PLANNER_NEAREST);
            planner_request_free(requests);
        }
        planner_close(&planner);
    }
    planner_table_unref(table);
    map_unref(map);
}

static void test_count_before(void **state)
{
    (void)state;
    random_state = 12;
    for (unsigned turn = 0; turn < 2000; turn++) {
        struct weft_extent extents[6];
        size_t count = below(7);
        uint64_t size = below(300), expected = 0;
        bool past = false;
        for (size_t i = 0; i < count; i++) {
            extents[i] = (struct weft_extent){below(250), below(4) ? below(80) : 0};
            for (uint64_t k = 0; k < extents[i].length && !past; k++) {
                past = extents[i].offset + k >= size;
                expected += !past;
            }
        }
        assert_int_equal(planner_count_before(extents, count, size), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_random_lists, tell_seed),
        cmocka_unit_test(test_one_request_for_each_shard),
        cmocka_unit_test(test_contiguous),
        cmocka_unit_test(test_large_pieces_alone),
        cmocka_unit_test(test_many_pieces),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_table_changes),
        cmocka_unit_test(test_table_has),
        cmocka_unit_test(test_the_nearest_is_read),
        cmocka_unit_test(test_count_before),
    };
    return cmocka_run_group_tests_name("planner", tests, NULL, NULL);
}
