/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of runs, and several of them in one order, against a plain map of bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runs.h"

enum { SOURCES = 5, FILE_BYTES = 4000, CASES = 3000 };

static void test_equal_steps_are_one_entry(void **state)
{
    (void)state;
    struct runs runs = {0};
    for (int i = 0; i < 1000; i++)
        runs_add(&runs, 100 + 64 * i, 8);
    assert_int_equal(runs.count, 1);
    assert_int_equal(runs.bytes, 8000);
    assert_int_equal(runs.list[0].step, 64);
    assert_int_equal(runs.list[0].count, 1000);
    runs_add(&runs, 200000, 8);
    runs_add(&runs, 200008, 8); /* touches, but the last entry has one piece: joined */
    assert_int_equal(runs.count, 2);
    assert_int_equal(runs.list[1].length, 16);
    runs_add(&runs, 300000, 16);
    runs_add(&runs, 300001 + 16, 16);
    assert_int_equal(runs.count, 3);
    assert_int_equal(runs.list[1].count, 2);
    assert_int_equal(runs.list[2].count, 1);
    runs_clear(&runs);
    assert_int_equal(runs.bytes, 0);
    runs_free(&runs);
}

struct source {
    struct runs runs;
    char bytes[FILE_BYTES];
    bool has[FILE_BYTES];
};

/* Pieces at random, or regular ones; the bytes tell source and offset. */
static void source_make(struct source *source, int number)
{
    int64_t offset = rand() % 300, at = 0;
    bool is_regular = rand() % 2 == 0;
    int64_t length = 1 + rand() % 9, gap = rand() % 40;
    memset(source->has, 0, sizeof source->has);
    runs_clear(&source->runs);
    while (rand() % 60 != 0) {
        if (!is_regular) {
            length = 1 + rand() % 30;
            gap = rand() % 3 == 0 ? 0 : rand() % 100;
        }
        if (offset + length > FILE_BYTES)
            break;
        runs_add(&source->runs, offset, length);
        for (int64_t i = 0; i < length; i++, at++) {
            source->bytes[at] = (char)(number * 50 + (offset + i) % 50);
            source->has[offset + i] = true;
        }
        offset += length + gap;
    }
    assert_int_equal(source->runs.bytes, at);
}

/* What the extents must be, and which sources a byte of the buffer may come from. */
static void check(struct source *sources, struct merge_source *list)
{
    static char buffer[FILE_BYTES], back[SOURCES][FILE_BYTES];
    struct merge_extents extents = {0}, again = {0};
    int64_t total = merge(list, SOURCES, MERGE_IN, buffer, &extents);
    assert_int_equal(merge(list, SOURCES, MERGE_LIST, NULL, &again), total);
    assert_int_equal(again.count, extents.count);
    size_t index = 0;
    int64_t at = 0;
    for (int64_t offset = 0; offset <= FILE_BYTES; offset++) {
        bool is_named = false, is_right = false;
        for (int s = 0; s < SOURCES && offset < FILE_BYTES; s++)
            if (sources[s].has[offset]) {
                is_named = true;
                is_right = is_right || buffer[at] == (char)(s * 50 + offset % 50);
            }
        if (is_named) {
            assert_true(is_right);
            assert_in_range(offset, extents.list[index].offset,
                            extents.list[index].offset + extents.list[index].length - 1);
            at++;
        } else if (index < extents.count &&
                   (uint64_t)offset == extents.list[index].offset + extents.list[index].length) {
            index++;
        }
    }
    assert_int_equal(at, total);
    assert_int_equal(index, extents.count);

    /* What goes out is what stands in the buffer, for each source by itself. */
    for (int s = 0; s < SOURCES; s++)
        list[s].bytes = back[s];
    for (int64_t i = 0; i < total; i++)
        buffer[i] = (char)(i % 101);
    merge(list, SOURCES, MERGE_OUT, buffer, NULL);
    int64_t used[SOURCES] = {0}, position = 0;
    for (int64_t offset = 0; offset < FILE_BYTES; offset++) {
        bool is_named = false;
        for (int s = 0; s < SOURCES; s++)
            if (sources[s].has[offset]) {
                assert_int_equal(back[s][used[s]++], (char)(position % 101));
                is_named = true;
            }
        position += is_named;
    }
    free(extents.list);
    free(again.list);
}

static void test_merge_against_a_map_of_bytes(void **state)
{
    (void)state;
    static struct source sources[SOURCES];
    struct merge_source list[SOURCES];
    unsigned seed = 4711;
    srand(seed);
    for (int i = 0; i < CASES; i++) {
        for (int s = 0; s < SOURCES; s++) {
            source_make(&sources[s], s);
            list[s] = (struct merge_source){.runs = &sources[s].runs, .bytes = sources[s].bytes};
        }
        check(sources, list);
    }
    for (int s = 0; s < SOURCES; s++)
        runs_free(&sources[s].runs);
}

static void test_nothing(void **state)
{
    (void)state;
    struct runs none = {0};
    struct merge_source source = {.runs = &none};
    struct merge_extents extents = {0};
    assert_int_equal(merge(&source, 1, MERGE_IN, NULL, &extents), 0);
    assert_int_equal(extents.count, 0);
    assert_int_equal(merge(NULL, 0, MERGE_LIST, NULL, NULL), 0);
    runs_reserve(&none, 10, 70);
    assert_int_equal(none.count, 10);
    assert_int_equal(none.bytes, 70);
    runs_free(&none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_steps_are_one_entry),
        cmocka_unit_test(test_merge_against_a_map_of_bytes),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests_name("runs", tests, NULL, NULL);
}
