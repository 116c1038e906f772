/* SPDX-License-Identifier: Apache-2.0 */
/* Who holds a lock and who waits for whom, by hand and against a simple model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../server/storage/lock_table.h"

enum { INO = 7 };

static struct lock_table *table;
static struct lock_owner owner, other;
static uint64_t last_id;
static unsigned granted_count;
static struct lock *granted_last;

static void granted(void *arg, struct lock *lock)
{
    assert_ptr_equal(arg, &granted_count);
    assert_true(lock->held);
    granted_count++;
    granted_last = lock;
    if (lock->arg)
        ++*(unsigned *)lock->arg;
}

static int setup(void **state)
{
    (void)state;
    granted_count = 0;
    granted_last = NULL;
    lock_owner_init(&owner);
    lock_owner_init(&other);
    return lock_table_new(granted, &granted_count, &table);
}

static int teardown(void **state)
{
    (void)state;
    lock_table_free(table);
    return 0;
}

static struct lock_name name_of(uint64_t id)
{
    return (struct lock_name){.client = "a client's name", .id = id};
}

static struct lock *ask_ranges(struct lock_owner *of, uint64_t ino, bool exclusive,
                               const struct lock_range *ranges, uint32_t count)
{
    struct lock *lock = NULL;
    struct lock_name name = name_of(++last_id);
    assert_int_equal(lock_table_add(table, of, &name, ino, exclusive, ranges, count, &lock), 0);
    assert_ptr_equal(lock_table_find(table, &name), lock);
    return lock;
}

static struct lock *ask(bool exclusive, uint64_t start, uint64_t end)
{
    const struct lock_range range = {start, end};
    return ask_ranges(&owner, INO, exclusive, &range, 1);
}

/* ---- by hand -------------------------------------------------------------- */

static void sharers_hold_together(void **state)
{
    (void)state;
    struct lock *a = ask(false, 0, 100), *b = ask(false, 50, 150);
    assert_true(a->held);
    assert_true(b->held);
    struct lock *c = ask(true, 99, 100);
    assert_false(c->held);
    lock_table_remove(table, a);
    assert_int_equal(granted_count, 0);
    lock_table_remove(table, b);
    assert_int_equal(granted_count, 1);
    assert_ptr_equal(granted_last, c);
}

static void neighbours_do_not_meet(void **state)
{
    (void)state;
    assert_true(ask(true, 10, 20)->held);
    assert_true(ask(true, 0, 10)->held);
    assert_true(ask(true, 20, 21)->held);
    assert_false(ask(true, 19, 20)->held);
    assert_false(ask(false, 0, 1)->held);
}

static void a_waiting_writer_holds_back_later_readers(void **state)
{
    (void)state;
    struct lock *reader = ask(false, 0, 10), *writer = ask(true, 5, 15), *late = ask(false, 0, 10);
    struct lock *beside = ask(false, 0, 5), *behind = ask(false, 14, 20);
    assert_false(writer->held);
    assert_false(late->held);
    assert_true(beside->held);
    assert_false(behind->held);
    lock_table_remove(table, reader);
    assert_ptr_equal(granted_last, writer);
    assert_int_equal(granted_count, 1);
    lock_table_remove(table, writer);
    assert_int_equal(granted_count, 3);
    assert_true(late->held);
    assert_true(behind->held);
}

static void who_gives_up_lets_others_pass(void **state)
{
    (void)state;
    struct lock *first = ask(false, 0, 10), *writer = ask(true, 0, 10), *reader = ask(false, 0, 10);
    struct lock *last = ask(true, 0, 10);
    lock_table_remove(table, writer);
    assert_true(reader->held);
    assert_int_equal(granted_count, 1);
    lock_table_remove(table, first);
    assert_false(last->held);
    lock_table_remove(table, reader);
    assert_true(last->held);
}

static void files_are_apart(void **state)
{
    (void)state;
    const struct lock_range all = {0, INT64_MAX};
    assert_true(ask_ranges(&owner, 1, true, &all, 1)->held);
    assert_true(ask_ranges(&owner, 2, true, &all, 1)->held);
    assert_false(ask_ranges(&owner, 1, true, &all, 1)->held);
}

static void an_owner_takes_all_it_has_along(void **state)
{
    (void)state;
    const struct lock_range all = {0, 100}, low = {0, 50}, high = {50, 100};
    struct lock *held = ask_ranges(&owner, INO, true, &low, 1);
    struct lock *kept = ask_ranges(&other, INO, true, &high, 1);
    ask_ranges(&owner, INO, true, &all, 1);
    struct lock *waits = ask_ranges(&other, INO, false, &low, 1);
    assert_true(held->held);
    assert_false(waits->held);
    assert_int_equal(lock_table_remove_owner(table, &owner), 1);
    assert_int_equal(granted_count, 1);
    assert_true(waits->held);
    assert_true(kept->held);
    assert_int_equal(owner.lock_count, 0);
    assert_int_equal(owner.range_count, 0);
    assert_int_equal(other.lock_count, 2);
    struct lock_name name = name_of(last_id - 3);
    assert_null(lock_table_find(table, &name));
}

static void a_lock_moves_to_another_owner(void **state)
{
    (void)state;
    struct lock *lock = ask(true, 0, 10), *waits = ask(true, 0, 10);
    lock_table_move(lock, &other);
    assert_int_equal(owner.lock_count, 1);
    assert_int_equal(other.lock_count, 1);
    assert_int_equal(lock_table_remove_owner(table, &owner), 0);
    assert_int_equal(granted_count, 0);
    assert_true(lock->held);
    (void)waits;
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const struct lock_range bad[][2] = {
        {{5, 5}, {6, 7}}, {{6, 5}, {6, 7}}, {{0, 5}, {4, 7}}, {{5, 6}, {0, 1}},
    };
    struct lock_name name = name_of(++last_id);
    struct lock *lock;
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(lock_table_add(table, &owner, &name, INO, true, bad[i], 2, &lock), -EINVAL);
    assert_int_equal(lock_table_add(table, &owner, &name, INO, true, bad[0], 0, &lock), -EINVAL);
    assert_int_equal(owner.lock_count, 0);
}

static void an_owner_may_have_so_many(void **state)
{
    (void)state;
    struct lock *lock = NULL;
    for (unsigned i = 0; i < LOCK_OWNER_LOCKS_MAX; i++)
        ask(true, i, i + 1);
    struct lock_range range = {INT64_MAX - 1, INT64_MAX};
    struct lock_name name = name_of(++last_id);
    assert_int_equal(lock_table_add(table, &owner, &name, INO, true, &range, 1, &lock), -ENOLCK);
    assert_int_equal(lock_table_add(table, &other, &name, INO, true, &range, 1, &lock), 0);

    struct lock_range *many = calloc(LOCK_OWNER_RANGES_MAX, sizeof *many);
    for (unsigned i = 0; i < LOCK_OWNER_RANGES_MAX; i++)
        many[i] = (struct lock_range){2 * i, 2 * i + 1};
    name = name_of(++last_id);
    assert_int_equal(
        lock_table_add(table, &other, &name, INO + 1, true, many, LOCK_OWNER_RANGES_MAX, &lock), -ENOLCK);
    assert_int_equal(
        lock_table_add(table, &other, &name, INO + 1, true, many, LOCK_OWNER_RANGES_MAX - 1, &lock), 0);
    assert_true(lock->held);
    free(many);
}

/* ---- against a model --------------------------------------------------------- */

enum { BYTES = 64, OWNERS = 6, LOCKS_MAX = 40, STEPS = 40000 };

/* In the order in which they were asked for. */
static struct {
    struct lock *lock;
    unsigned granted; /* how often the table said so */
    uint64_t bytes;   /* a bit for each */
    uint64_t ino;
    unsigned owner;
    bool exclusive;
    bool held; /* at once, or by what the table said */
} *model[LOCKS_MAX];
static unsigned model_count;
static struct lock_owner owners[OWNERS];

static uint64_t random_state = 88172645463325252u;
static uint64_t random_below(uint64_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % bound;
}

static bool model_held(unsigned i)
{
    for (unsigned k = 0; k < i; k++) {
        if (model[k]->ino == model[i]->ino && (model[k]->exclusive || model[i]->exclusive) &&
            (model[k]->bytes & model[i]->bytes))
            return false;
    }
    return true;
}

static void model_check(void)
{
    for (unsigned i = 0; i < model_count; i++) {
        bool held = model[i]->held || model[i]->granted;
        assert_true(model[i]->granted <= !model[i]->held); /* never twice */
        assert_int_equal(model[i]->lock->held, held);
        assert_int_equal(held, model_held(i));
    }
}

static void model_ask(void)
{
    struct lock_range ranges[BYTES];
    uint32_t count = 0;
    uint64_t bytes = 0, at = random_below(BYTES / 2);
    unsigned dense = 1 + (unsigned)random_below(12);
    while (at < BYTES && (count == 0 || random_below(6))) {
        uint64_t length = 1 + random_below(dense);
        length = length < BYTES - at ? length : BYTES - at;
        ranges[count++] = (struct lock_range){at, at + length};
        for (uint64_t i = at; i < at + length; i++)
            bytes |= UINT64_C(1) << i;
        at += length + random_below(5); /* 0: they touch, which is allowed */
    }
    unsigned of = (unsigned)random_below(OWNERS);
    model[model_count] = calloc(1, sizeof *model[0]);
    model[model_count]->bytes = bytes;
    model[model_count]->ino = 1 + random_below(2);
    model[model_count]->owner = of;
    model[model_count]->exclusive = random_below(2);
    struct lock *lock =
        ask_ranges(&owners[of], model[model_count]->ino, model[model_count]->exclusive, ranges, count);
    lock->arg = &model[model_count]->granted;
    model[model_count]->lock = lock;
    model[model_count]->held = lock->held;
    model_count++;
}

static void model_forget(unsigned i)
{
    free(model[i]);
    memmove(&model[i], &model[i + 1], (--model_count - i) * sizeof model[0]);
}

static void model_owner_ends(unsigned of)
{
    uint32_t held = 0;
    /* What it waits for is dropped without being granted. */
    for (unsigned i = 0; i < model_count; i++) {
        if (model[i]->owner != of)
            continue;
        held += model[i]->lock->held;
        model[i]->lock->arg = NULL;
    }
    assert_int_equal(lock_table_remove_owner(table, &owners[of]), held);
    for (unsigned i = model_count; i-- > 0;) {
        if (model[i]->owner == of)
            model_forget(i);
    }
}

static void it_does_what_the_model_does(void **state)
{
    (void)state;
    uint64_t waited = 0;
    for (unsigned i = 0; i < OWNERS; i++)
        lock_owner_init(&owners[i]);
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned choice = (unsigned)random_below(100);
        if (choice < 50 && model_count < LOCKS_MAX) {
            model_ask();
            waited += !model[model_count - 1]->lock->held;
        } else if (choice < 98 && model_count) {
            unsigned i = (unsigned)random_below(model_count);
            struct lock *lock = model[i]->lock;
            if (random_below(8) == 0) {
                model[i]->owner = (unsigned)random_below(OWNERS);
                lock_table_move(lock, &owners[model[i]->owner]);
            } else {
                lock_table_remove(table, lock);
                model_forget(i);
            }
        } else if (choice >= 98) {
            model_owner_ends((unsigned)random_below(OWNERS));
        }
        model_check();
    }
    assert_true(waited > STEPS / 20); /* else it has not tried much */
    while (model_count)
        model_forget(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sharers_hold_together, setup, teardown),
        cmocka_unit_test_setup_teardown(neighbours_do_not_meet, setup, teardown),
        cmocka_unit_test_setup_teardown(a_waiting_writer_holds_back_later_readers, setup, teardown),
        cmocka_unit_test_setup_teardown(who_gives_up_lets_others_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(files_are_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(an_owner_takes_all_it_has_along, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lock_moves_to_another_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(an_owner_may_have_so_many, setup, teardown),
        cmocka_unit_test_setup_teardown(it_does_what_the_model_does, setup, teardown),
    };
    return cmocka_run_group_tests_name("lock_table", tests, NULL, NULL);
}
