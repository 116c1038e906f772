/* SPDX-License-Identifier: Apache-2.0 */
/* Placement: the golden vectors, and the page that specifies them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "placement.h"
#include "placement_vectors.h"
#include "placement_world.h"
#include "page.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The vector's targets with `added` behind them; wanted is filled in. */
static struct placement_target *targets_of(const struct placement_vector *vector, const uint64_t *added,
                                           uint32_t added_count, struct placement_wanted *wanted)
{
    struct placement_target *targets = calloc(vector->count + added_count, sizeof *targets);
    assert_non_null(targets);
    for (uint32_t i = 0; i < vector->count + added_count; i++) {
        uint32_t host = i / vector->per_host;
        targets[i] = (struct placement_target){
            .id = i,
            .capacity = i < vector->count ? vector->capacities[i] : added[i - vector->count],
            .host = host,
            .chassis = host,
            .rack = host / vector->per_rack,
        };
    }
    *wanted = (struct placement_wanted){.members = vector->members,
                                        .level = vector->level,
                                        .groups_per_target = vector->groups_per_target,
                                        .device_class = PLACEMENT_ANY_CLASS,
                                        .seed = vector->seed};
    return targets;
}

static void make(const struct placement_vector *vector, struct placement_table *table)
{
    struct placement_wanted wanted;
    struct placement_target *targets = targets_of(vector, NULL, 0, &wanted);
    if (placement_make(targets, vector->count, &wanted, table))
        fail_msg("%s", err_text());
    assert_int_equal(table->group_count, vector->group_count);
    free(targets);
}

static void new_tables_are_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(make_vectors); i++) {
        struct placement_table table;
        make(&make_vectors[i], &table);
        assert_memory_equal(table.ids, make_vectors[i].ids,
                            (size_t)table.group_count * table.members * sizeof *table.ids);
        placement_free(&table);
    }
}

static void changes_are_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(change_vectors); i++) {
        const struct placement_vector *vector = &make_vectors[change_vectors[i].of];
        struct placement_change_wanted how = {.change = change_vectors[i].change};
        struct placement_wanted wanted;
        struct placement_table table, changed;
        uint32_t lost = change_vectors[i].lost, added = change_vectors[i].added_count;
        make(vector, &table);
        struct placement_target *targets = targets_of(vector, change_vectors[i].added, added, &wanted);
        wanted.group_count = table.group_count + change_vectors[i].appended;
        assert_int_equal(
            placement_change(targets + lost, vector->count + added - lost, &wanted, &how, &table, &changed),
            0);
        assert_memory_equal(changed.ids, change_vectors[i].ids,
                            (size_t)changed.group_count * changed.members * sizeof *changed.ids);
        placement_free(&table);
        placement_free(&changed);
        free(targets);
    }
}

static void digests_are_golden(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(digest_vectors); i++) {
        struct placement_table table;
        make(&digest_vectors[i].vector, &table);
        assert_int_equal(world_digest(&table, WORLD_DIGEST_BEGIN), digest_vectors[i].digest);
        placement_free(&table);
    }
}

/* ---- the page ------------------------------------------------------------------- */

static const char *level_name(enum placement_level level)
{
    static const char *const names[] = {"target", "host", "chassis", "rack"};
    return names[level];
}

static void put_groups(FILE *stream, const uint32_t *ids, uint32_t count, uint32_t members)
{
    for (uint32_t i = 0; i < count * members; i++)
        fprintf(stream, "%s%s%u%s", i && i % members == 0 ? " " : "", i % members ? ", " : "(", ids[i],
                (i + 1) % members ? "" : ")");
}

/* "| capacities | per host | ... | seed | " */
static void put_head(FILE *stream, const struct placement_vector *vector)
{
    fputs("\n| ", stream);
    for (uint32_t i = 0; i < vector->count; i++)
        fprintf(stream, "%s%" PRIu64, i ? ", " : "", vector->capacities[i]);
    fprintf(stream, " | %u | %u | %u | %s | %u | %" PRIu64 " | ", vector->per_host, vector->per_rack,
            vector->members, level_name(vector->level), vector->groups_per_target, vector->seed);
}

static void expect(const char *page, char *row)
{
    if (!strstr(page, row))
        fail_msg("docs/placement.md has no row %s", row);
    free(row);
}

static void page_shows_the_vectors(void **state)
{
    (void)state;
    char *page = page_read("docs/placement.md"), *row;
    size_t size;
    if (!page) {
        print_message("docs/placement.md is not here; run from the top of the tree or set WEFT_TOP_SRCDIR\n");
        skip();
    }
    for (size_t i = 0; i < COUNT(make_vectors); i++) {
        FILE *stream = open_memstream(&row, &size);
        assert_non_null(stream);
        put_head(stream, &make_vectors[i]);
        put_groups(stream, make_vectors[i].ids, make_vectors[i].group_count, make_vectors[i].members);
        fputs(" |\n", stream);
        fclose(stream);
        expect(page, row);
    }
    for (size_t i = 0; i < COUNT(change_vectors); i++) {
        const struct placement_vector *vector = &make_vectors[change_vectors[i].of];
        FILE *stream = open_memstream(&row, &size);
        assert_non_null(stream);
        fprintf(stream, "\n| %u | ", change_vectors[i].of);
        for (uint32_t k = 0; k < change_vectors[i].added_count; k++)
            fprintf(stream, "%s%" PRIu64, k ? ", " : "", change_vectors[i].added[k]);
        fprintf(stream, " | %u | %s | %u | ", change_vectors[i].lost,
                change_vectors[i].change == PLACEMENT_KEEP ? "keep" : "rebalance",
                change_vectors[i].appended);
        put_groups(stream, change_vectors[i].ids, vector->group_count + change_vectors[i].appended,
                   vector->members);
        fputs(" |\n", stream);
        fclose(stream);
        expect(page, row);
    }
    for (size_t i = 0; i < COUNT(digest_vectors); i++) {
        FILE *stream = open_memstream(&row, &size);
        assert_non_null(stream);
        put_head(stream, &digest_vectors[i].vector);
        fprintf(stream, "%u | 0x%016" PRIx64 " |\n", digest_vectors[i].vector.group_count,
                digest_vectors[i].digest);
        fclose(stream);
        expect(page, row);
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(new_tables_are_golden),
        cmocka_unit_test(changes_are_golden),
        cmocka_unit_test(digests_are_golden),
        cmocka_unit_test(page_shows_the_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
