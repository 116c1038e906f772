/* SPDX-License-Identifier: Apache-2.0 */
/* Who waits for himself: by hand, and in a small world of locks whose news are late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../server/metadata/waits.h"

static struct waits *waits;
static uint64_t now_ns;

static int setup(void **state)
{
    (void)state;
    now_ns = 0;
    return waits_new(1000, &waits);
}

static int teardown(void **state)
{
    (void)state;
    waits_free(waits);
    return 0;
}

static struct waits_owner owner_of(uint8_t number)
{
    return (struct waits_owner){.client = {(uint8_t)(number % 2)}, .number = number};
}

static struct waits_edge edge_to(uint8_t holder, uint64_t serial, bool direct)
{
    return (struct waits_edge){.holder = owner_of(holder), .serial = serial, .direct = direct};
}

static uint64_t tokens[256]; /* of each owner's latest report */

static enum waits_verdict tell(uint8_t number, uint64_t id, const struct waits_edge *edges, uint32_t count)
{
    struct waits_owner owner = owner_of(number);
    enum waits_verdict verdict;
    assert_int_equal(
        waits_report(waits, &owner, id, tokens[number], edges, count, now_ns, &tokens[number], &verdict), 0);
    return verdict;
}

static enum waits_verdict tell_one(uint8_t number, uint64_t id, uint8_t holder, uint64_t serial, bool direct)
{
    const struct waits_edge edge = edge_to(holder, serial, direct);
    return tell(number, id, &edge, 1);
}

static void forget_tokens(void)
{
    memset(tokens, 0, sizeof tokens);
}

/* ---- by hand -------------------------------------------------------------- */

static void a_ring_of_three_is_found_once(void **state)
{
    (void)state;
    forget_tokens();
    assert_int_equal(tell_one(1, 1, 2, 7, true), WAITS_GOES_ON);
    assert_int_equal(tell_one(2, 1, 3, 7, true), WAITS_GOES_ON);
    assert_int_equal(tell_one(3, 1, 1, 7, true), WAITS_GOES_ON);
    /* All were told, but the first two may have been over when the third began. */
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(tell_one(3, 1, 1, 7, true), WAITS_GOES_ON);
        assert_int_equal(tell_one(2, 1, 3, 7, true), WAITS_GOES_ON);
        assert_int_equal(tell_one(1, 1, 2, 7, true), WAITS_GOES_ON);
    }
    /* They were not; the one that came last has the answer. */
    assert_int_equal(tell_one(3, 1, 1, 7, true), WAITS_DEADLOCK);
    assert_int_equal(waits_count(waits), 2);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(tell_one(1, 1, 2, 7, true), WAITS_GOES_ON);
        assert_int_equal(tell_one(2, 1, 3, 7, true), WAITS_GOES_ON);
    }
}

static void a_wait_that_is_over_closes_nothing(void **state)
{
    (void)state;
    forget_tokens();
    assert_int_equal(tell_one(1, 1, 2, 7, true), WAITS_GOES_ON);
    assert_int_equal(tell_one(1, 1, 2, 7, true), WAITS_GOES_ON);
    /* The first has got what he waited for; nobody said so. */
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(tell_one(2, 1, 1, 7, true), WAITS_GOES_ON);
    /* Another wait of his, for the same one. */
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(tell_one(1, 2, 2, 8, true), WAITS_GOES_ON);
    /* What the other says now was seen before, and once more after. */
    assert_int_equal(tell_one(2, 1, 1, 7, true), WAITS_GOES_ON);
    assert_int_equal(tell_one(1, 2, 2, 8, true), WAITS_GOES_ON);
    assert_int_equal(tell_one(2, 1, 1, 7, true), WAITS_GOES_ON);
    assert_int_equal(tell_one(1, 2, 2, 8, true), WAITS_DEADLOCK);
}

static void what_was_given_back_and_taken_again_is_another(void **state)
{
    (void)state;
    forget_tokens();
    assert_int_equal(tell_one(2, 1, 1, 5, true), WAITS_GOES_ON);
    for (uint64_t serial = 1; serial < 6; serial++) {
        assert_int_equal(tell_one(1, 1, 2, serial, true), WAITS_GOES_ON);
        assert_int_equal(tell_one(2, 1, 1, 5, true), WAITS_GOES_ON);
    }
}

static void tokens_of_an_earlier_start_are_nothing(void **state)
{
    (void)state;
    static const uint64_t strange[] = {0, 1, 999, UINT64_MAX, 1u << 30};
    for (unsigned i = 0; i < 5; i++) {
        tokens[1] = tokens[2] = strange[i];
        assert_int_equal(tell_one(1, 1, 2, 7, true), WAITS_GOES_ON);
        assert_int_equal(tell_one(2, 1, 1, 7, true), WAITS_GOES_ON);
    }
}

static void whoever_stands_behind_others_is_let_pass(void **state)
{
    (void)state;
    forget_tokens();
    const struct waits_edge both[] = {edge_to(2, 7, false), edge_to(3, 7, true)};
    assert_int_equal(tell(1, 1, both, 2), WAITS_GOES_ON);
    assert_int_equal(tell_one(2, 1, 4, 7, true), WAITS_GOES_ON);
    assert_int_equal(tell_one(4, 1, 1, 7, true), WAITS_GOES_ON);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(tell(1, 1, both, 2), WAITS_PASS);
        assert_int_equal(tell_one(2, 1, 4, 7, true), WAITS_GOES_ON);
        assert_int_equal(tell_one(4, 1, 1, 7, true), WAITS_GOES_ON);
    }
}

static void old_waits_and_too_many_are_forgotten(void **state)
{
    (void)state;
    forget_tokens();
    struct waits_owner owner = {.client = {5}};
    const struct waits_edge edge = edge_to(1, 1, true);
    uint64_t token;
    enum waits_verdict verdict;
    for (uint64_t i = 0; i < WAITS_CLIENT_MAX + 10; i++) {
        owner.number = i;
        assert_int_equal(waits_report(waits, &owner, i, 0, &edge, 1, ++now_ns, &token, &verdict), 0);
    }
    assert_int_equal(waits_count(waits), WAITS_CLIENT_MAX);
    assert_int_equal(tell_one(1, 1, 2, 7, true), WAITS_GOES_ON);
    assert_int_equal(waits_count(waits), WAITS_CLIENT_MAX + 1);
    waits_expire(waits, now_ns);
    assert_int_equal(waits_count(waits), 2);
    waits_expire(waits, now_ns + 1);
    assert_int_equal(waits_count(waits), 0);
}

/* ---- a small world -------------------------------------------------------------- */

enum { OWNERS = 7, LOCKS = 6, STEPS = 200000, ROUNDS = 100 };

/* Locks that one owner holds alone. Each owner waits for one at most, and looks now and then who has it;
 * what he saw is told later. */
static struct {
    int holder; /* -1: free */
    uint64_t serial;
} locks[LOCKS];
static struct {
    int lock; /* that it waits for, or -1 */
    uint64_t id, token;
    bool has_seen;
    struct {
        uint64_t id, token;
        struct waits_edge edge;
    } seen;
} owners[OWNERS];
static uint64_t last_serial, last_id, found_count;
static uint64_t random_state;

static uint64_t random_below(uint64_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % bound;
}

static bool waits_for_itself(int from)
{
    int at = from;
    for (unsigned i = 0; i <= OWNERS; i++) {
        if (owners[at].lock < 0)
            return false;
        at = locks[owners[at].lock].holder;
        if (at == from)
            return true;
        if (at < 0)
            return false;
    }
    return false;
}

static void take(int lock, int owner)
{
    locks[lock].holder = owner;
    locks[lock].serial = ++last_serial;
    owners[owner].lock = -1;
}

static void release(int lock)
{
    locks[lock].holder = -1;
    unsigned first = (unsigned)random_below(OWNERS);
    for (unsigned i = 0; i < OWNERS; i++) {
        if (owners[(first + i) % OWNERS].lock == lock) {
            take(lock, (int)((first + i) % OWNERS));
            return;
        }
    }
}

static void ask(int owner)
{
    int lock = (int)random_below(LOCKS);
    if (locks[lock].holder == owner || random_below(2)) {
        if (locks[lock].holder == owner)
            release(lock);
    } else if (locks[lock].holder < 0) {
        take(lock, owner);
    } else {
        owners[owner].lock = lock;
        owners[owner].id = ++last_id;
        owners[owner].token = 0;
    }
}

static void look(int owner)
{
    int lock = owners[owner].lock;
    owners[owner].has_seen = true;
    owners[owner].seen.id = owners[owner].id;
    owners[owner].seen.token = owners[owner].token;
    owners[owner].seen.edge = edge_to((uint8_t)locks[lock].holder, locks[lock].serial, true);
}

static void tell_seen(int owner)
{
    struct waits_owner name = owner_of((uint8_t)owner);
    enum waits_verdict verdict;
    uint64_t token;
    bool is_current = owners[owner].lock >= 0 && owners[owner].id == owners[owner].seen.id;
    owners[owner].has_seen = false;
    assert_int_equal(waits_report(waits, &name, owners[owner].seen.id, owners[owner].seen.token,
                                  &owners[owner].seen.edge, 1, ++now_ns, &token, &verdict),
                     0);
    if (!is_current)
        return; /* the answer goes nowhere */
    owners[owner].token = token;
    assert_int_not_equal(verdict, WAITS_PASS);
    if (verdict != WAITS_DEADLOCK)
        return;
    assert_true(waits_for_itself(owner)); /* it exists, and has existed since */
    owners[owner].lock = -1;
    found_count++;
}

static void step(bool may_ask)
{
    int owner = (int)random_below(OWNERS);
    if (owners[owner].has_seen && random_below(2))
        tell_seen(owner);
    else if (owners[owner].lock < 0 && may_ask)
        ask(owner);
    else if (owners[owner].lock >= 0 && !owners[owner].has_seen)
        look(owner);
}

static void only_what_exists_is_found_and_all_of_it(void **state)
{
    (void)state;
    const char *seed = getenv("SEED");
    random_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) * 2654435761u | 1;
    print_message("SEED=%llu\n", (unsigned long long)random_state);
    found_count = last_serial = last_id = 0;
    memset(owners, 0, sizeof owners);
    for (int i = 0; i < OWNERS; i++)
        owners[i].lock = -1;
    for (int i = 0; i < LOCKS; i++)
        locks[i].holder = -1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < STEPS / ROUNDS; i++)
            step(true);
        for (unsigned i = 0; i < 100 * OWNERS; i++)
            step(false);
        for (int owner = 0; owner < OWNERS; owner++)
            assert_false(waits_for_itself(owner));
    }
    assert_true(found_count > ROUNDS);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_ring_of_three_is_found_once),
        TEST(a_wait_that_is_over_closes_nothing),
        TEST(what_was_given_back_and_taken_again_is_another),
        TEST(tokens_of_an_earlier_start_are_nothing),
        TEST(whoever_stands_behind_others_is_let_pass),
        TEST(old_waits_and_too_many_are_forgotten),
        TEST(only_what_exists_is_found_and_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
