/* SPDX-License-Identifier: Apache-2.0 */
/* How a collective call is done, and which aggregator moves which bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "domains.h"
#include "strategy.h"

enum { MIB = 1 << 20, RANKS = 4 };

/* ---- the choice -------------------------------------------------------- */

/* Each rank has `pieces` of so many bytes, in turn with the others or behind them. */
static void make(struct reach *reaches, int64_t bytes, int64_t pieces, bool is_interleaved)
{
    int64_t all = bytes * pieces;
    for (int rank = 0; rank < RANKS; rank++) {
        int64_t start = is_interleaved ? rank * bytes : rank * all;
        int64_t end = is_interleaved ? start + (pieces - 1) * RANKS * bytes + bytes - 1 : start + all - 1;
        reaches[rank] =
            (struct reach){.start = start, .end = end, .bytes = all, .pieces = pieces, .rises = 1, .id = 1};
    }
}

static enum method method_of(enum strategy asked, bool is_write, const struct reach *reaches)
{
    struct choice choice = strategy_choose(asked, is_write, reaches, RANKS, MIB);
    assert_non_null(choice.reason);
    assert_non_null(strategy_method_name(choice.method));
    return choice.method;
}

static void test_auto(void **state)
{
    (void)state;
    struct reach reaches[RANKS];
    make(reaches, MIB, 1, false);
    assert_int_equal(method_of(STRATEGY_AUTO, true, reaches), METHOD_SEPARATE);
    make(reaches, 100, 1000, false); /* small, but each rank's own place */
    assert_int_equal(method_of(STRATEGY_AUTO, true, reaches), METHOD_SEPARATE);
    make(reaches, 4095, 20, true);
    assert_int_equal(method_of(STRATEGY_AUTO, true, reaches), METHOD_GATHER);
    assert_int_equal(method_of(STRATEGY_AUTO, false, reaches), METHOD_SEPARATE);
    make(reaches, 4096, 20, true);
    assert_int_equal(method_of(STRATEGY_AUTO, true, reaches), METHOD_SEPARATE);
    assert_int_equal(method_of(STRATEGY_DIRECT, true, reaches), METHOD_GATHER);
    make(reaches, 47008, 20, true);
    assert_int_equal(method_of(STRATEGY_AUTO, true, reaches), METHOD_SEPARATE);
    assert_int_equal(method_of(STRATEGY_DIRECT, true, reaches), METHOD_GATHER);
    make(reaches, 100000, 20, true);
    assert_int_equal(method_of(STRATEGY_AUTO, true, reaches), METHOD_SEPARATE);
    make(reaches, 767, 20, true); /* reads can't be gathered */
    assert_int_equal(method_of(STRATEGY_AUTO, true, reaches), METHOD_GATHER);
    assert_int_equal(method_of(STRATEGY_AUTO, false, reaches), METHOD_TWO_PHASE);
    make(reaches, 8, 100000, true);
    assert_int_equal(method_of(STRATEGY_AUTO, true, reaches), METHOD_TWO_PHASE);
    assert_int_equal(method_of(STRATEGY_AUTO, false, reaches), METHOD_TWO_PHASE);
}

static void test_what_is_asked_for(void **state)
{
    (void)state;
    struct reach reaches[RANKS];
    make(reaches, MIB, 1, false);
    assert_int_equal(method_of(STRATEGY_TWO_PHASE, true, reaches), METHOD_TWO_PHASE);
    assert_int_equal(method_of(STRATEGY_DIRECT, true, reaches), METHOD_SEPARATE);
    make(reaches, 4096, 100, true);
    assert_int_equal(method_of(STRATEGY_TWO_PHASE, false, reaches), METHOD_TWO_PHASE);
    assert_int_equal(method_of(STRATEGY_DIRECT, true, reaches), METHOD_GATHER);
    assert_int_equal(method_of(STRATEGY_DIRECT, false, reaches), METHOD_SEPARATE);
}

static void test_what_can_not_be(void **state)
{
    (void)state;
    struct reach reaches[RANKS];
    make(reaches, 8, 100000, true);
    reaches[2].rises = 0;
    assert_int_equal(method_of(STRATEGY_TWO_PHASE, false, reaches), METHOD_SEPARATE);
    reaches[2].bytes = 0; /* who has nothing does not count */
    assert_int_equal(method_of(STRATEGY_TWO_PHASE, false, reaches), METHOD_TWO_PHASE);
    memset(reaches, 0, sizeof reaches);
    assert_int_equal(method_of(STRATEGY_TWO_PHASE, true, reaches), METHOD_SEPARATE);
    /* Too much to count chunk by chunk. */
    make(reaches, 4096, 100, true);
    reaches[3].end = INT64_C(1) << 50;
    assert_int_equal(method_of(STRATEGY_DIRECT, true, reaches), METHOD_SEPARATE);
    make(reaches, 8, 100000, true);
    assert_int_equal(method_of(STRATEGY_DIRECT, true, reaches), METHOD_SEPARATE);
}

/* Where the ranks tell each other nothing, the choice is the one that they would have come to. */
static void test_what_is_known_before(void **state)
{
    static const int64_t sizes[] = {1, 383, 384, 767, 768, 4095, 4096, 16384, 47008, 65535, 65536, MIB};
    static const enum strategy all[] = {STRATEGY_AUTO, STRATEGY_DIRECT, STRATEGY_TWO_PHASE};
    struct reach reaches[RANKS];
    struct choice choice;
    unsigned known = 0;
    (void)state;
    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        make(reaches, sizes[i], 20, true);
        for (unsigned a = 0; a < 3; a++) {
            for (int is_write = 0; is_write < 2; is_write++) {
                if (!strategy_is_known(all[a], is_write, sizes[i], &choice))
                    continue;
                assert_int_equal(choice.method, METHOD_SEPARATE);
                assert_int_equal(method_of(all[a], is_write, reaches), METHOD_SEPARATE);
                known++;
            }
        }
    }
    assert_int_equal(known, 8 + 6 + 12 + 2);
    assert_true(strategy_is_known(STRATEGY_AUTO, true, INT64_MAX, &choice));
    assert_false(strategy_is_known(STRATEGY_TWO_PHASE, true, INT64_MAX, &choice));
}

/* ---- domains ----------------------------------------------------------- */

/* Every byte has an owner, the ends are where owners change or units end, and a group has as few
 * aggregators as can be. */
static void check_domains(int aggregators, int64_t chunk_size, int64_t stripes, int64_t buffer)
{
    struct domains domains;
    static bool meets[64][64]; /* aggregator and group */
    memset(meets, 0, sizeof meets);
    domains_init(&domains, aggregators, chunk_size, stripes, buffer);
    assert_in_range(domains.aggregators, 1, aggregators);
    assert_true(domains.window >= domains.unit && domains.unit <= chunk_size);
    int64_t end = 0;
    for (int64_t offset = 0; offset < 200 * chunk_size; offset = end) {
        int owner = domains_owner(&domains, offset, &end);
        int64_t same;
        assert_in_range(owner, 0, domains.aggregators - 1);
        assert_true(end > offset && end - offset <= domains.unit);
        assert_int_equal(offset / chunk_size, (end - 1) / chunk_size);
        assert_int_equal(domains_owner(&domains, end - 1, &same), owner);
        assert_int_equal(same, end);
        assert_int_equal(domains_start(&domains, end - 1), offset);
        meets[owner][offset / chunk_size % stripes] = true;
    }
    for (int64_t group = 0; group < stripes && domains.unit == chunk_size; group++) {
        int count = 0;
        for (int owner = 0; owner < domains.aggregators; owner++)
            count += meets[owner][group];
        assert_int_equal(count, domains.aggregators > stripes ? domains.aggregators / stripes : 1);
    }
}

static void test_domains(void **state)
{
    (void)state;
    for (int aggregators = 1; aggregators < 14; aggregators++)
        for (int64_t stripes = 1; stripes < 14; stripes++) {
            check_domains(aggregators, 4096, stripes, 16384);
            check_domains(aggregators, 470080, stripes, MIB);
            check_domains(aggregators, 470080, stripes, 100000); /* a chunk is too much for a buffer */
            check_domains(aggregators, 4099, stripes, 1);
        }
    struct domains domains;
    domains_init(&domains, 4, MIB, 4, INT32_MAX);
    assert_int_equal(domains.window, 4 * DOMAINS_BUFFER_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto),
        cmocka_unit_test(test_what_is_asked_for),
        cmocka_unit_test(test_what_can_not_be),
        cmocka_unit_test(test_what_is_known_before),
        cmocka_unit_test(test_domains),
    };
    return cmocka_run_group_tests_name("strategy", tests, NULL, NULL);
}
