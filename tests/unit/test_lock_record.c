/* SPDX-License-Identifier: Apache-2.0 */
/* What the owners of records have, by hand and against an array with an entry for each byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../server/storage/lock_table.h"

enum { INO = 7 };

static struct lock_table *table;
static uint64_t last_id;
static unsigned granted_count;
static uint64_t granted_last; /* the id of a record, 0 for a lock as such */
static void (*granted_also)(const struct lock *lock);

static void granted(void *arg, struct lock *lock)
{
    assert_ptr_equal(arg, &granted_count);
    assert_true(lock->held);
    granted_count++;
    granted_last = lock->record ? lock->name.id : 0;
    if (granted_also)
        granted_also(lock);
}

static int setup(void **state)
{
    (void)state;
    granted_count = 0;
    granted_last = 0;
    granted_also = NULL;
    return lock_table_new(granted, &granted_count, &table);
}

static int teardown(void **state)
{
    (void)state;
    lock_table_free(table);
    return 0;
}

static struct lock_client *client_of(uint8_t number)
{
    uint8_t name[16] = {number};
    return lock_client_get(table, name, true);
}

/* 1: it waits, 0: it is done, or the error. */
static int set_with(const struct lock_wish *wish, uint8_t client)
{
    struct lock *waiting = NULL;
    int error = lock_record_set(table, client_of(client), wish, &waiting);
    assert_true(!error || !waiting);
    return error ? error : waiting != NULL;
}

static int set(uint8_t client, enum lock_type type, uint64_t start, uint64_t end)
{
    const struct lock_wish wish = {.ino = INO,
                                   .holder = 1,
                                   .id = ++last_id,
                                   .pid = 100u + client,
                                   .type = type,
                                   .waits = true,
                                   .detect = true,
                                   .range = {start, end}};
    return set_with(&wish, client);
}

static int try(uint8_t client, enum lock_type type, uint64_t start, uint64_t end)
{
    const struct lock_wish wish = {
        .ino = INO, .holder = 1, .id = ++last_id, .type = type, .range = {start, end}};
    return set_with(&wish, client);
}

static void give_up(uint8_t client, uint64_t id)
{
    struct lock_name name = {.client = {client}, .id = id};
    struct lock *lock = lock_table_find(table, &name);
    assert_non_null(lock);
    lock_table_remove(table, lock);
}

/* What somebody without any lock finds in the way of an exclusive one there: 's', 'x', or '-'. */
static char at(uint64_t byte)
{
    const struct lock_wish wish = {.ino = INO, .type = LOCK_EXCLUSIVE, .range = {byte, byte + 1}};
    struct lock_found found;
    if (!lock_record_test(table, NULL, &wish, &found))
        return '-';
    assert_true(found.range.start <= byte && byte < found.range.end);
    return found.type == LOCK_EXCLUSIVE ? 'x' : 's';
}

static void assert_bytes(const char *expected)
{
    char bytes[64];
    size_t length = strlen(expected);
    for (size_t i = 0; i < length; i++)
        bytes[i] = at(i);
    bytes[length] = 0;
    assert_string_equal(bytes, expected);
}

/* ---- by hand -------------------------------------------------------------- */

static void what_is_set_replaces_what_was_there(void **state)
{
    (void)state;
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 0, 10), 0);
    assert_int_equal(set(1, LOCK_SHARED, 3, 6), 0);
    assert_bytes("xxxsssxxxx-");
    assert_int_equal(set(1, LOCK_NONE, 8, 9), 0);
    assert_bytes("xxxsssxx-x-");
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 2, 9), 0);
    assert_bytes("xxxxxxxxxx-");
    assert_int_equal(client_of(1)->record_count, 1);
    assert_int_equal(set(1, LOCK_NONE, 0, 64), 0);
    assert_bytes("-----------");
    assert_int_equal(client_of(1)->record_count, 0);
}

static void neighbours_of_a_kind_become_one(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 3 * LOCK_CLIENT_RECORDS_MAX; i++)
        assert_int_equal(set(1, LOCK_SHARED, i, i + 1), 0);
    assert_int_equal(client_of(1)->record_count, 1);
}

static void an_upgrade_has_no_gap(void **state)
{
    (void)state;
    assert_int_equal(set(1, LOCK_SHARED, 0, 10), 0);
    assert_int_equal(set(2, LOCK_SHARED, 5, 15), 0);
    assert_int_equal(set(3, LOCK_EXCLUSIVE, 0, 4), 1);
    uint64_t third = last_id;
    /* It waits for the second, and passes the third, who waits for it. */
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 0, 10), 1);
    uint64_t upgrade = last_id;
    assert_bytes("ssssssssss");
    assert_int_equal(try(3, LOCK_EXCLUSIVE, 0, 1), -EAGAIN);
    assert_int_equal(set(2, LOCK_NONE, 0, 64), 0);
    assert_int_equal(granted_count, 1);
    assert_int_equal(granted_last, upgrade);
    assert_bytes("xxxxxxxxxx-");
    assert_int_equal(set(1, LOCK_NONE, 0, 2), 0);
    assert_int_equal(granted_count, 1);
    assert_int_equal(set(1, LOCK_NONE, 2, 4), 0);
    assert_int_equal(granted_last, third);
}

static void a_downgrade_lets_others_in(void **state)
{
    (void)state;
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 0, 10), 0);
    assert_int_equal(set(2, LOCK_SHARED, 2, 4), 1);
    assert_int_equal(set(3, LOCK_SHARED, 8, 12), 1);
    assert_int_equal(set(1, LOCK_SHARED, 0, 5), 0);
    assert_int_equal(granted_count, 1);
    assert_int_equal(set(1, LOCK_NONE, 5, 10), 0);
    assert_int_equal(granted_count, 2);
}

static void a_hole_in_the_middle_is_free(void **state)
{
    (void)state;
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 0, 100), 0);
    assert_int_equal(set(2, LOCK_EXCLUSIVE, 40, 50), 1);
    assert_int_equal(set(1, LOCK_NONE, 40, 50), 0);
    assert_int_equal(granted_count, 1);
    assert_int_equal(try(2, LOCK_SHARED, 39, 40), -EAGAIN);
    assert_int_equal(try(2, LOCK_SHARED, 50, 51), -EAGAIN);
}

static void those_that_wait_are_not_starved(void **state)
{
    (void)state;
    assert_int_equal(set(1, LOCK_SHARED, 0, 10), 0);
    assert_int_equal(set(2, LOCK_EXCLUSIVE, 0, 10), 1);
    uint64_t writer = last_id;
    assert_int_equal(set(3, LOCK_SHARED, 0, 10), 1);
    assert_int_equal(try(4, LOCK_SHARED, 0, 10), -EAGAIN);
    /* Whom the writer waits for may do as he likes with what he has, and have more of it. */
    assert_int_equal(set(1, LOCK_SHARED, 2, 12), 0);
    assert_int_equal(set(1, LOCK_NONE, 0, 12), 0);
    assert_int_equal(granted_count, 1);
    assert_int_equal(granted_last, writer);
}

static void both_kinds_stand_in_one_line(void **state)
{
    (void)state;
    struct lock_owner owner;
    struct lock *lock = NULL, *late = NULL;
    const struct lock_range ranges[] = {{0, 4}, {8, 12}};
    struct lock_name name = {.client = {9}, .id = ++last_id};
    lock_owner_init(&owner);
    assert_int_equal(set(1, LOCK_SHARED, 3, 4), 0);
    assert_int_equal(lock_table_add(table, &owner, &name, INO, true, ranges, 2, &lock), 0);
    assert_false(lock->held);
    assert_int_equal(set(2, LOCK_SHARED, 8, 9), 1);
    name.id = ++last_id;
    assert_int_equal(lock_table_add(table, &owner, &name, INO, true, ranges, 1, &late), 0);
    assert_int_equal(set(1, LOCK_NONE, 3, 4), 0);
    assert_true(lock->held);
    assert_false(late->held);
    assert_int_equal(granted_count, 1);
    const struct lock_wish wish = {.ino = INO, .type = LOCK_SHARED, .range = {0, 64}};
    struct lock_found found;
    assert_true(lock_record_test(table, NULL, &wish, &found));
    assert_int_equal(found.range.end, 4);
    assert_int_equal(found.pid, 0);
    lock_table_remove(table, lock);
    assert_int_equal(granted_count, 3);
    assert_true(late->held);
    lock_table_remove_owner(table, &owner);
}

/* One waits for a record that waits itself, and is in front of all when it is held. */
static void what_stood_behind_a_record_looks_at_all_again(void **state)
{
    (void)state;
    struct lock_owner owner;
    struct lock *between = NULL, *behind = NULL;
    const struct lock_range low = {0, 5}, all = {0, 10}, high = {6, 10};
    struct lock_name name = {.client = {9}, .id = ++last_id};
    lock_owner_init(&owner);
    assert_int_equal(lock_table_add(table, &owner, &name, INO, true, &low, 1, &between), 0);
    assert_true(between->held);
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 6, 8), 0);
    assert_int_equal(set(2, LOCK_EXCLUSIVE, 6, 10), 1);
    name.id = ++last_id;
    assert_int_equal(lock_table_add(table, &owner, &name, INO, true, &all, 1, &behind), 0);
    assert_int_equal(set(1, LOCK_NONE, 0, 64), 0);
    assert_int_equal(granted_count, 1); /* the second */
    assert_int_equal(set(2, LOCK_NONE, high.start, high.end), 0);
    assert_false(behind->held); /* there is `between` */
    lock_table_remove(table, between);
    assert_true(behind->held);
    lock_table_remove_owner(table, &owner);
}

static void a_circle_of_waits_is_refused(void **state)
{
    (void)state;
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 0, 1), 0);
    assert_int_equal(set(2, LOCK_EXCLUSIVE, 1, 2), 0);
    assert_int_equal(set(3, LOCK_SHARED, 2, 3), 0);
    assert_int_equal(set(1, LOCK_SHARED, 1, 2), 1);
    uint64_t first = last_id;
    assert_int_equal(set(2, LOCK_EXCLUSIVE, 2, 3), 1);
    assert_int_equal(set(4, LOCK_EXCLUSIVE, 0, 3), 1); /* has nothing that anybody could wait for */
    uint64_t fourth = last_id;
    assert_int_equal(set(3, LOCK_SHARED, 0, 1), -EDEADLK);
    assert_bytes("xxs-");
    assert_int_equal(try(3, LOCK_SHARED, 0, 1), -EAGAIN);
    give_up(1, first);
    assert_int_equal(set(3, LOCK_SHARED, 0, 1), 1);
    give_up(4, fourth);
}

static void two_who_share_can_not_both_have_it_alone(void **state)
{
    (void)state;
    assert_int_equal(set(1, LOCK_SHARED, 0, 1), 0);
    assert_int_equal(set(2, LOCK_SHARED, 0, 1), 0);
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 0, 1), 1);
    assert_int_equal(set(2, LOCK_EXCLUSIVE, 0, 1), -EDEADLK);
    assert_int_equal(set(2, LOCK_NONE, 0, 1), 0);
    assert_int_equal(granted_count, 1);
}

static void whoever_waits_can_tell_for_whom(void **state)
{
    (void)state;
    struct lock_blocker blockers[4];
    assert_int_equal(set(1, LOCK_SHARED, 0, 10), 0);
    assert_int_equal(set(2, LOCK_SHARED, 20, 30), 0);
    assert_int_equal(set(3, LOCK_EXCLUSIVE, 5, 25), 1);
    assert_int_equal(set(4, LOCK_EXCLUSIVE, 8, 12), 1);
    struct lock_name name = {.client = {4}, .id = last_id};
    struct lock *lock = lock_table_find(table, &name);
    /* For the first because of its own bytes, for the second because of the third. */
    assert_int_equal(lock_record_blockers(lock, blockers, 4), 2);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(blockers[i].direct, blockers[i].client[0] == 1);
    assert_int_equal(blockers[0].client[0] + blockers[1].client[0], 3);
    assert_int_equal(lock_record_blockers(lock, blockers, 1), 1);
    assert_true(blockers[0].direct);
    uint64_t serial = blockers[0].serial;
    assert_int_equal(set(1, LOCK_NONE, 0, 9), 0);
    assert_int_equal(lock_record_blockers(lock, blockers, 1), 1);
    assert_int_equal(blockers[0].serial, serial);
    assert_int_equal(set(1, LOCK_SHARED, 9, 11), 0);
    assert_int_equal(lock_record_blockers(lock, blockers, 1), 1);
    assert_int_not_equal(blockers[0].serial, serial);
    assert_int_equal(set(1, LOCK_NONE, 0, 64), 0);
    assert_int_equal(granted_count, 0); /* the third is in front */
    assert_true(lock_record_pass(table, lock));
    assert_int_equal(granted_count, 1);
}

static bool undo(uint8_t client, uint64_t id)
{
    return lock_record_undo(table, client_of(client), id);
}

static void what_is_taken_back_was_never_there(void **state)
{
    (void)state;
    assert_int_equal(set(1, LOCK_SHARED, 0, 4), 0);
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 6, 8), 0);
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 10, 12), 0);
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 2, 10), 0); /* it replaces, cuts and joins */
    uint64_t id = last_id;
    assert_bytes("ssxxxxxxxxxx-");
    assert_int_equal(client_of(1)->record_count, 2);
    assert_int_equal(set(2, LOCK_SHARED, 0, 6), 1);
    assert_int_equal(set(3, LOCK_EXCLUSIVE, 4, 6), 1);
    assert_false(undo(1, id + 1));
    assert_false(undo(2, id));
    assert_true(undo(1, id));
    assert_int_equal(granted_count, 1); /* the second, in front of the third */
    assert_bytes("ssssssxx--xx-");
    assert_int_equal(client_of(1)->record_count, 3);
    assert_false(undo(1, id));
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 20, 30), 0);
    assert_true(undo(1, last_id));
    assert_int_equal(set(1, LOCK_NONE, 0, 64), 0);
    assert_int_equal(client_of(1)->record_count, 0);
}

static void what_waited_is_taken_back_too(void **state)
{
    (void)state;
    assert_int_equal(set(2, LOCK_SHARED, 2, 4), 0);
    assert_int_equal(set(1, LOCK_SHARED, 0, 10), 0);
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 0, 5), 1);
    uint64_t id = last_id;
    assert_false(undo(1, id)); /* that is for lock_table_remove() */
    assert_int_equal(set(2, LOCK_NONE, 2, 4), 0);
    assert_bytes("xxxxxsssss-");
    assert_true(undo(1, id));
    assert_bytes("ssssssssss-");
    assert_int_equal(client_of(1)->record_count, 1);
}

static void what_has_changed_since_stays(void **state)
{
    (void)state;
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 0, 10), 0);
    uint64_t first = last_id;
    assert_int_equal(set(1, LOCK_NONE, 8, 10), 0);
    assert_false(undo(1, first));
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 8, 12), 0);
    uint64_t second = last_id;
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 12, 14), 0);
    assert_false(undo(1, second));
    /* Others may share what it left to them. */
    assert_int_equal(set(1, LOCK_SHARED, 0, 10), 0);
    assert_false(undo(1, last_id));
    assert_bytes("ssssssssssxxxx-");
}

static void requests_are_remembered(void **state)
{
    (void)state;
    struct lock_client *client = client_of(1);
    assert_int_equal(set(1, LOCK_SHARED, 0, 1), 0);
    assert_int_equal(lock_client_ended(client, last_id), 1);
    assert_int_equal(lock_client_ended(client, last_id + 1), 0);
    assert_int_equal(lock_client_ended(client, last_id + LOCK_CLIENT_IDS), 0);
    lock_client_note(client, last_id + 1, false);
    assert_int_equal(lock_client_ended(client, last_id + 1), -ECANCELED);
}

static void a_client_may_have_so_many(void **state)
{
    (void)state;
    for (uint64_t i = 0; i + 1 < LOCK_CLIENT_RECORDS_MAX; i++)
        assert_int_equal(set(1, LOCK_EXCLUSIVE, 2 * i, 2 * i + 1), 0);
    uint64_t end = 2 * (uint64_t)LOCK_CLIENT_RECORDS_MAX + 10;
    assert_int_equal(set(1, LOCK_EXCLUSIVE, end, end + 1), -ENOLCK);
    assert_int_equal(set(2, LOCK_EXCLUSIVE, end, end + 1), 0);
    assert_int_equal(set(1, LOCK_NONE, 0, 1), 0);
    assert_int_equal(set(1, LOCK_EXCLUSIVE, 0, 1), 0);
    assert_int_equal(lock_client_end(table, client_of(1)), LOCK_CLIENT_RECORDS_MAX - 1);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    assert_int_equal(set(1, LOCK_SHARED, 5, 5), -EINVAL);
    assert_int_equal(set(1, LOCK_SHARED, 6, 5), -EINVAL);
    assert_int_equal(client_of(1)->record_count, 0);
}

/* ---- against a model --------------------------------------------------------- */

enum { BYTES = 40, CLIENTS = 3, HOLDERS = 2, OWNERS = CLIENTS * HOLDERS, WAITING_MAX = 12, STEPS = 60000 };

/* What each owner has, byte by byte, and who waits, in the order of their coming. */
static uint8_t has[OWNERS][BYTES]; /* enum lock_type */
static struct ask {
    uint64_t id;
    unsigned owner;
    enum lock_type type;
    uint64_t start, end;
} asks[WAITING_MAX];
static unsigned ask_count;
static uint64_t random_state;

static uint64_t random_below(uint64_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % bound;
}

static void model_take(const struct ask *ask)
{
    memset(&has[ask->owner][ask->start], ask->type, ask->end - ask->start);
}

static bool model_conflicts(unsigned owner, enum lock_type type, uint64_t byte)
{
    return has[owner][byte] && (type == LOCK_EXCLUSIVE || has[owner][byte] == LOCK_EXCLUSIVE);
}

static bool model_may_have(const struct ask *ask)
{
    for (unsigned owner = 0; owner < OWNERS; owner++) {
        for (uint64_t i = ask->start; i < ask->end && owner != ask->owner; i++) {
            if (model_conflicts(owner, ask->type, i))
                return false;
        }
    }
    return true;
}

/* Whether the other, who came before, makes it wait: unless he waits for its owner. */
static bool model_stands_behind(const struct ask *ask, const struct ask *other)
{
    if (ask->owner == other->owner || ask->end <= other->start || other->end <= ask->start ||
        (ask->type != LOCK_EXCLUSIVE && other->type != LOCK_EXCLUSIVE))
        return false;
    for (uint64_t i = other->start; i < other->end; i++) {
        if (model_conflicts(ask->owner, other->type, i))
            return false;
    }
    return true;
}

/* Called for what is granted from the line. */
static void model_granted(const struct lock *lock)
{
    for (unsigned i = 0; i < ask_count; i++) {
        if (asks[i].id != lock->name.id)
            continue;
        assert_true(model_may_have(&asks[i]));
        model_take(&asks[i]);
        memmove(&asks[i], &asks[i + 1], (--ask_count - i) * sizeof asks[0]);
        return;
    }
    fail_msg("granted, but nobody waited for it");
}

static void model_check(void)
{
    for (unsigned owner = 0; owner < OWNERS; owner++) {
        /* What the others have is in this one's way, and nothing else is. */
        const struct lock_client *client = client_of((uint8_t)(owner / HOLDERS));
        for (uint64_t i = 0; i < BYTES; i++) {
            const struct lock_wish wish = {
                .ino = INO, .holder = owner % HOLDERS, .type = LOCK_EXCLUSIVE, .range = {i, i + 1}};
            struct lock_found found;
            enum lock_type expected = LOCK_NONE;
            for (unsigned k = 0; k < OWNERS; k++) {
                if (k != owner && has[k][i] > expected)
                    expected = has[k][i];
            }
            bool is_found = lock_record_test(table, client, &wish, &found);
            assert_int_equal(is_found ? found.type : LOCK_NONE, expected);
        }
    }
    /* Nobody waits for nothing. */
    for (unsigned i = 0; i < ask_count; i++) {
        bool behind = !model_may_have(&asks[i]);
        for (unsigned k = 0; k < i; k++)
            behind = behind || model_stands_behind(&asks[i], &asks[k]);
        if (!behind) {
            /* Whom it stands behind was judged when it looked last; whoever comes first can't say that. */
            bool could = false;
            for (unsigned k = 0; k < i; k++)
                could = could || asks[k].owner != asks[i].owner;
            assert_true(could);
        }
    }
}

/* What was granted just now, in the place of what the owner had before. */
static void model_undo(const struct ask *ask, const uint8_t before[BYTES])
{
    bool may_be = ask->type != LOCK_NONE;
    for (uint64_t i = ask->start; i < ask->end; i++)
        may_be = may_be && before[i] <= (uint8_t)ask->type;
    if (may_be)
        memcpy(has[ask->owner], before, BYTES);
    assert_int_equal(lock_record_undo(table, client_of((uint8_t)(ask->owner / HOLDERS)), ask->id), may_be);
}

static void model_ask(void)
{
    uint8_t before[BYTES];
    struct ask ask = {.id = ++last_id, .owner = (unsigned)random_below(OWNERS)};
    ask.type = (enum lock_type)(random_below(5) < 2 ? LOCK_NONE : 1 + random_below(2));
    ask.start = random_below(BYTES);
    ask.end = ask.start + 1 + random_below(random_below(3) ? 6 : BYTES);
    ask.end = ask.end < BYTES ? ask.end : BYTES;
    const struct lock_wish wish = {.ino = INO,
                                   .holder = ask.owner % HOLDERS,
                                   .id = ask.id,
                                   .type = ask.type,
                                   .waits = ask_count < WAITING_MAX && random_below(3),
                                   .range = {ask.start, ask.end}};
    struct lock *waiting = NULL;
    bool is_free = ask.type == LOCK_NONE || model_may_have(&ask);
    bool is_behind = false;
    for (unsigned i = 0; i < ask_count && ask.type != LOCK_NONE; i++)
        is_behind = is_behind || model_stands_behind(&ask, &asks[i]);
    memcpy(before, has[ask.owner], BYTES);
    /* What it gives back is granted to others inside the call. */
    if (is_free && !is_behind)
        model_take(&ask);
    int error = lock_record_set(table, client_of((uint8_t)(ask.owner / HOLDERS)), &wish, &waiting);
    if (is_free && !is_behind) {
        assert_int_equal(error, 0);
        assert_null(waiting);
        if (random_below(4) == 0)
            model_undo(&ask, before);
    } else if (!wish.waits) {
        assert_int_equal(error, -EAGAIN);
    } else {
        assert_int_equal(error, 0);
        assert_non_null(waiting);
        asks[ask_count++] = ask;
    }
}

static void model_give_up(void)
{
    unsigned i = (unsigned)random_below(ask_count);
    uint8_t client = (uint8_t)(asks[i].owner / HOLDERS);
    uint64_t id = asks[i].id;
    memmove(&asks[i], &asks[i + 1], (--ask_count - i) * sizeof asks[0]);
    give_up(client, id);
}

static void model_end(void)
{
    uint8_t client = (uint8_t)random_below(CLIENTS);
    for (unsigned i = ask_count; i-- > 0;) {
        if (asks[i].owner / HOLDERS == client)
            memmove(&asks[i], &asks[i + 1], (--ask_count - i) * sizeof asks[0]);
    }
    for (unsigned k = 0; k < HOLDERS; k++)
        memset(has[client * HOLDERS + k], 0, BYTES);
    lock_client_end(table, client_of(client));
}

static void it_does_what_the_model_does(void **state)
{
    (void)state;
    const char *seed = getenv("SEED");
    uint64_t waited = 0;
    random_state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) * 2654435761u | 1;
    print_message("SEED=%llu\n", (unsigned long long)random_state);
    granted_also = model_granted;
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t choice = random_below(200);
        if (choice == 0)
            model_end();
        else if (choice < 20 && ask_count)
            model_give_up();
        else
            model_ask();
        waited += ask_count;
        if (step % 8 == 0)
            model_check();
    }
    assert_true(waited > STEPS);
    for (uint8_t client = 0; client < CLIENTS; client++) {
        granted_also = NULL;
        lock_client_end(table, client_of(client));
    }
    assert_bytes("--------------------");
    memset(has, 0, sizeof has);
    ask_count = 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_is_set_replaces_what_was_there),
        TEST(neighbours_of_a_kind_become_one),
        TEST(an_upgrade_has_no_gap),
        TEST(a_downgrade_lets_others_in),
        TEST(a_hole_in_the_middle_is_free),
        TEST(those_that_wait_are_not_starved),
        TEST(both_kinds_stand_in_one_line),
        TEST(what_stood_behind_a_record_looks_at_all_again),
        TEST(a_circle_of_waits_is_refused),
        TEST(two_who_share_can_not_both_have_it_alone),
        TEST(whoever_waits_can_tell_for_whom),
        TEST(what_is_taken_back_was_never_there),
        TEST(what_waited_is_taken_back_too),
        TEST(what_has_changed_since_stays),
        TEST(requests_are_remembered),
        TEST(a_client_may_have_so_many),
        TEST(nonsense_is_refused),
        TEST(it_does_what_the_model_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
