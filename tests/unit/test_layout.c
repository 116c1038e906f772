/* SPDX-License-Identifier: Apache-2.0 */
/* Placement: the golden vectors, the page that specifies them, and properties
 * against models that are too simple to be wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "layout.h"
#include "layout_vectors.h"
#include "weft_limits.h"
#include "page.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Repeatable; layout_hash() is under test, so another generator. */
static uint64_t random_state = 88172645463325252u;
static uint64_t random_below(uint64_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % bound;
}

/* ---- golden vectors ------------------------------------------------------- */

static void hash_is_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(hash_vectors); i++)
        assert_int_equal(layout_hash(hash_vectors[i].value), hash_vectors[i].hash);
}

static void order_is_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(order_vectors); i++) {
        struct layout layout = {.chunk_size = 4096,
                                .seed = order_vectors[i].seed,
                                .stripe_count = 1,
                                .group_count = order_vectors[i].group_count};
        for (uint32_t position = 0; position < ORDER_POSITIONS; position++)
            assert_int_equal(layout_group_of(&layout, position), order_vectors[i].groups[position]);
    }
}

static void places_are_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(place_vectors); i++) {
        struct layout layout = {.chunk_size = place_vectors[i].chunk_size,
                                .seed = place_vectors[i].seed,
                                .stripe_count = place_vectors[i].stripe_count,
                                .group_count = place_vectors[i].group_count};
        uint32_t shards = place_vectors[i].shard_count;
        uint64_t offset = place_vectors[i].offset;
        assert_true(layout_valid(&layout));
        struct layout_place place = layout_place_of(&layout, offset);
        assert_int_equal(place.chunk, place_vectors[i].chunk);
        assert_int_equal(place.row, place_vectors[i].row);
        assert_int_equal(place.position, place_vectors[i].position);
        assert_int_equal(place.group, place_vectors[i].group);
        assert_int_equal(layout_shard_of(place.row, shards), place_vectors[i].shard);
        assert_int_equal(layout_part_offset(&layout, shards, offset), place_vectors[i].part_offset);
    }
}

static void parts_are_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(part_vectors); i++) {
        struct layout layout = {.chunk_size = part_vectors[i].chunk_size,
                                .stripe_count = part_vectors[i].stripe_count,
                                .group_count = part_vectors[i].stripe_count};
        struct layout_part part = {part_vectors[i].position, part_vectors[i].shard,
                                   part_vectors[i].shard_count};
        assert_int_equal(layout_part_length(&layout, &part, part_vectors[i].size), part_vectors[i].length);
        assert_int_equal(layout_part_end(&layout, &part, part_vectors[i].length), part_vectors[i].end);
    }
}

/* ---- the page ------------------------------------------------------------- */

static void expect_row(const char *page, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void expect_row(const char *page, const char *format, ...)
{
    char row[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(row, sizeof row, format, arguments);
    va_end(arguments);
    if (!strstr(page, row))
        fail_msg("docs/layout.md has no row %s", row);
}

static void page_shows_the_vectors(void **state)
{
    (void)state;
    char *page = page_read("docs/layout.md");
    if (!page) {
        print_message("docs/layout.md is not here; run from the top of the tree or set WEFT_TOP_SRCDIR\n");
        skip();
    }
    for (size_t i = 0; i < COUNT(hash_vectors); i++)
        expect_row(page, "\n| 0x%016" PRIx64 " | 0x%016" PRIx64 " |\n", hash_vectors[i].value,
                   hash_vectors[i].hash);
    for (size_t i = 0; i < COUNT(order_vectors); i++) {
        const uint32_t *g = order_vectors[i].groups;
        expect_row(page, "| 0x%016" PRIx64 " | %u | ", order_vectors[i].seed, order_vectors[i].group_count);
        expect_row(page, " | %u, %u, %u, %u, %u, %u, %u, %u |\n", g[0], g[1], g[2], g[3], g[4], g[5], g[6],
                   g[7]);
    }
    for (size_t i = 0; i < COUNT(place_vectors); i++)
        expect_row(page,
                   "\n| %" PRIu64 " | 0x%016" PRIx64 " | %u | %u | %u | %" PRIu64 " | %" PRIu64 " | %" PRIu64
                   " | %u | %u | %u | %" PRIu64 " |\n",
                   place_vectors[i].chunk_size, place_vectors[i].seed, place_vectors[i].stripe_count,
                   place_vectors[i].group_count, place_vectors[i].shard_count, place_vectors[i].offset,
                   place_vectors[i].chunk, place_vectors[i].row, place_vectors[i].position,
                   place_vectors[i].group, place_vectors[i].shard, place_vectors[i].part_offset);
    for (size_t i = 0; i < COUNT(part_vectors); i++)
        expect_row(page, "\n| %" PRIu64 " | %u | %u | %u | %u | %" PRIu64 " | %" PRIu64 " | %" PRIu64 " |\n",
                   part_vectors[i].chunk_size, part_vectors[i].stripe_count, part_vectors[i].position,
                   part_vectors[i].shard, part_vectors[i].shard_count, part_vectors[i].size,
                   part_vectors[i].length, part_vectors[i].end);
    free(page);
}

/* ---- properties ----------------------------------------------------------- */

static void groups_of_a_file_differ(void **state)
{
    (void)state;
    for (uint32_t groups = 1; groups <= 300; groups++) {
        struct layout layout = {.chunk_size = 4096,
                                .seed = random_below(UINT64_MAX),
                                .stripe_count = groups,
                                .group_count = groups};
        uint8_t seen[300] = {0};
        for (uint32_t position = 0; position < groups; position++) {
            uint32_t group = layout_group_of(&layout, position);
            assert_in_range(group, 0, groups - 1);
            assert_int_equal(seen[group]++, 0);
        }
    }
}

/* Ten thousand files of one chunk over 16 groups: no group gets far more than its share. */
static void seeds_spread_the_first_chunk(void **state)
{
    (void)state;
    enum { FILES = 10000, GROUPS = 16 };
    unsigned files_of[GROUPS] = {0};
    for (uint64_t seed = 0; seed < FILES; seed++) {
        struct layout layout = {
            .chunk_size = 4096, .seed = seed, .stripe_count = GROUPS, .group_count = GROUPS};
        files_of[layout_group_of(&layout, 0)]++;
    }
    for (unsigned g = 0; g < GROUPS; g++)
        assert_in_range(files_of[g], FILES / GROUPS * 8 / 10, FILES / GROUPS * 12 / 10);
}

/* The model: every byte's chunk is asked in turn where it is, and each part
 * counts what it gets. `edge` is where in the last chunk the file ends. */
struct model {
    uint64_t length[6][5]; /* position, shard */
    uint64_t end[6][5];
    uint64_t size;
};

static void model_make(struct model *model, const struct layout *layout, uint32_t shards, uint64_t size)
{
    memset(model, 0, sizeof *model);
    model->size = size;
    for (uint64_t start = 0; start < size; start += layout->chunk_size) {
        uint64_t chunk = start / layout->chunk_size;
        uint64_t bytes = size - start < layout->chunk_size ? size - start : layout->chunk_size;
        uint64_t position = chunk % layout->stripe_count, shard = chunk / layout->stripe_count % shards;
        /* Packed: a chunk begins where the part's last one ended. */
        assert_int_equal(layout_part_offset(layout, shards, start), model->length[position][shard]);
        model->length[position][shard] += bytes;
        model->end[position][shard] = start + bytes;
    }
}

static void check_against_model(const struct layout *layout, uint32_t shards, const struct model *model)
{
    uint64_t greatest = 0, total = 0;
    for (uint32_t position = 0; position < layout->stripe_count; position++) {
        for (uint32_t shard = 0; shard < shards; shard++) {
            struct layout_part part = {position, shard, shards};
            uint64_t length = layout_part_length(layout, &part, model->size);
            uint64_t end = layout_part_end(layout, &part, length);
            assert_int_equal(length, model->length[position][shard]);
            assert_int_equal(end, model->end[position][shard]);
            assert_int_equal(layout_part_length(layout, &part, end), length);
            greatest = end > greatest ? end : greatest;
            total += length;
        }
    }
    assert_int_equal(greatest, model->size);
    assert_int_equal(total, model->size);
}

static void parts_agree_with_the_model(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 4000; round++) {
        uint32_t groups = 1 + (uint32_t)random_below(6), shards = 1 + (uint32_t)random_below(5);
        struct layout layout = {
            .chunk_size = WEFT_CHUNK_BYTES_MIN + random_below(5),
            .seed = random_below(UINT64_MAX),
            .stripe_count = 1 + (uint32_t)random_below(groups),
            .group_count = groups,
        };
        uint64_t edges[] = {0, 1, layout.chunk_size - 1, random_below(layout.chunk_size)};
        uint64_t size = random_below(70) * layout.chunk_size + edges[random_below(COUNT(edges))];
        struct model model;
        model_make(&model, &layout, shards, size);
        check_against_model(&layout, shards, &model);
    }
}

/* Every length of a part, byte by byte around the chunks' edges: its last byte
 * is in the part, at the place that the length tells. */
static void ends_and_offsets_are_inverse(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 200000; round++) {
        uint32_t groups = 1 + (uint32_t)random_below(LIMITS_GROUPS_MAX);
        uint32_t shards = 1 + (uint32_t)random_below(LIMITS_SHARDS_MAX);
        struct layout layout = {
            .chunk_size = WEFT_CHUNK_BYTES_MIN + random_below(1 << 20),
            .stripe_count = 1 + (uint32_t)random_below(groups),
            .group_count = groups,
        };
        struct layout_part part = {(uint32_t)random_below(layout.stripe_count),
                                   (uint32_t)random_below(shards), shards};
        uint64_t length = random_below(1000) * layout.chunk_size + random_below(3) + 1;
        uint64_t end = layout_part_end(&layout, &part, length);
        struct layout_place place = layout_place_of(&layout, end - 1);
        assert_int_equal(place.position, part.position);
        assert_int_equal(layout_shard_of(place.row, shards), part.shard);
        assert_int_equal(layout_part_offset(&layout, shards, end - 1), length - 1);
        assert_int_equal(layout_part_length(&layout, &part, end), length);
        assert_int_equal(layout_file_offset(&layout, &part, length - 1), end - 1);
        uint64_t offset = random_below(UINT64_C(1) << 40);
        place = layout_place_of(&layout, offset);
        part = (struct layout_part){place.position, layout_shard_of(place.row, shards), shards};
        assert_int_equal(layout_file_offset(&layout, &part, layout_part_offset(&layout, shards, offset)),
                         offset);
    }
}

static void an_impossible_length_does_not_wrap(void **state)
{
    (void)state;
    struct layout layout = {.chunk_size = 1 << 20, .stripe_count = 65536, .group_count = 65536};
    struct layout_part part = {65535, 255, 256};
    assert_int_equal(layout_part_end(&layout, &part, UINT64_MAX), UINT64_MAX);
    assert_int_equal(layout_part_end(&layout, &part, UINT64_C(1) << 60), UINT64_MAX);
    assert_int_equal(layout_file_offset(&layout, &part, UINT64_C(1) << 60), UINT64_MAX);
    layout = (struct layout){.chunk_size = 4096, .stripe_count = 1, .group_count = 1};
    part = (struct layout_part){0, 0, 1};
    assert_int_equal(layout_part_end(&layout, &part, UINT64_MAX), UINT64_MAX);
    assert_int_equal(layout_part_end(&layout, &part, INT64_MAX), INT64_MAX);
}

/* ---- what a layout may be ------------------------------------------------- */

static void valid_knows_the_bounds(void **state)
{
    (void)state;
    const struct layout good = {.chunk_size = 4096, .stripe_count = 2, .group_count = 3};
    struct layout layout = good;
    assert_true(layout_valid(&layout));
    layout.chunk_size = WEFT_CHUNK_BYTES_MIN - 1;
    assert_false(layout_valid(&layout));
    layout.chunk_size = WEFT_CHUNK_BYTES_MAX;
    assert_true(layout_valid(&layout));
    layout.chunk_size = WEFT_CHUNK_BYTES_MAX + UINT64_C(1);
    assert_false(layout_valid(&layout));
    layout = good;
    layout.stripe_count = 0;
    assert_false(layout_valid(&layout));
    layout.stripe_count = 3;
    assert_true(layout_valid(&layout));
    layout.stripe_count = 4;
    assert_false(layout_valid(&layout));
    layout = good;
    layout.group_count = 0;
    assert_false(layout_valid(&layout));
    layout.group_count = LIMITS_GROUPS_MAX + 1;
    assert_false(layout_valid(&layout));
}

static void complete_fills_in_and_refuses(void **state)
{
    (void)state;
    struct layout layout = {.group_count = 5};
    assert_int_equal(layout_complete(&layout), 0);
    assert_int_equal(layout.chunk_size, 1 << 20);
    assert_int_equal(layout.stripe_count, 5);
    assert_true(layout_valid(&layout));

    layout = (struct layout){.chunk_size = 470080, .stripe_count = 9, .group_count = 5, .seed = 3};
    assert_int_equal(layout_complete(&layout), 0);
    assert_int_equal(layout.chunk_size, 470080);
    assert_int_equal(layout.stripe_count, 5);
    assert_int_equal(layout.seed, 3);

    layout = (struct layout){.chunk_size = 4095, .group_count = 5};
    assert_int_equal(layout_complete(&layout), -EINVAL);
    assert_non_null(strstr(err_text(), "4095"));
    layout = (struct layout){.chunk_size = WEFT_CHUNK_BYTES_MAX + UINT64_C(1), .group_count = 5};
    assert_int_equal(layout_complete(&layout), -EINVAL);
    layout = (struct layout){.group_count = 0};
    assert_int_equal(layout_complete(&layout), -EINVAL);
    layout = (struct layout){.group_count = LIMITS_GROUPS_MAX + 1};
    assert_int_equal(layout_complete(&layout), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_is_golden),
        cmocka_unit_test(order_is_golden),
        cmocka_unit_test(places_are_golden),
        cmocka_unit_test(parts_are_golden),
        cmocka_unit_test(page_shows_the_vectors),
        cmocka_unit_test(groups_of_a_file_differ),
        cmocka_unit_test(seeds_spread_the_first_chunk),
        cmocka_unit_test(parts_agree_with_the_model),
        cmocka_unit_test(ends_and_offsets_are_inverse),
        cmocka_unit_test(an_impossible_length_does_not_wrap),
        cmocka_unit_test(valid_knows_the_bounds),
        cmocka_unit_test(complete_fills_in_and_refuses),
    };
    return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
