/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks on the wire of one real weft-storaged: requests that lie, come twice, or come too late, and
 * clients that ask for too much.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "err.h"
#include "storaged_peer.h"

enum { INO = 9 };

static struct peer peer;
static struct map_location first; /* of the file's first chunk */
static struct wire_capability both, reader;

static int setup(void **state)
{
    (void)state;
    struct layout layout = peer_layout();
    peer_open(&peer, "memory_bytes = \"8M\";");
    peer_start(&peer);
    assert_int_equal(map_locate(peer.map, &layout, 0, &first), 0);
    assert_int_equal(first.server, 0);
    both = peer_capability(&peer, INO, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    reader = peer_capability(&peer, INO, WIRE_ACCESS_READ);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_close(&peer);
    return 0;
}

/* ---- asking --------------------------------------------------------------- */

static struct answer answer;

static size_t encode(uint8_t *body, size_t size, const struct wire_lock *lock,
                     const struct wire_lock_range *ranges, uint32_t count)
{
    static uint8_t encoded[LIMITS_BODY_MAX];
    struct wire_lock whole = *lock;
    struct wire_writer writer = wire_writer_on(encoded, sizeof encoded);
    for (uint32_t i = 0; i < count; i++)
        wire_put_lock_range(&writer, &ranges[i]);
    whole.ranges = wire_list_of(&writer, count);
    ssize_t length = wire_encode_lock(body, size, &whole);
    assert_true(length > 0);
    return (size_t)length;
}

/* 1: granted; 0: not yet; or an error. */
static int ask_on(uint32_t shard, const struct wire_lock *lock, const struct wire_lock_range *ranges,
                  uint32_t count)
{
    static uint8_t body[LIMITS_BODY_MAX];
    struct wire_lock_reply reply;
    size_t length = encode(body, sizeof body, lock, ranges, count);
    memset(&answer, 0, sizeof answer);
    peer_call(&peer, peer.to_shard[shard], WIRE_OP_lock, body, length, NULL, 0, &answer);
    if (answer.status < 0)
        return answer.status;
    assert_int_equal(wire_decode_lock_reply(answer.body, answer.body_length, &reply), 0);
    return reply.granted;
}

/* As short a wait as there is: with none at all a lock would not be kept in the line. */
static struct wire_lock lock_of(uint64_t id, bool exclusive)
{
    return (struct wire_lock){.capability = both,
                              .map_version = peer.map->version,
                              .target = first.target_id,
                              .id = id,
                              .exclusive = exclusive,
                              .wait_ms = 1};
}

static int ask(const struct wire_lock *lock, uint64_t start, uint64_t end)
{
    const struct wire_lock_range range = {.start = start, .end = end};
    return ask_on(first.shard, lock, &range, 1);
}

static int ask_simply(uint64_t id, bool exclusive, uint64_t start, uint64_t end)
{
    struct wire_lock lock = lock_of(id, exclusive);
    return ask(&lock, start, end);
}

static int unlock(uint64_t id)
{
    uint8_t body[16];
    struct wire_unlock wire = {.id = id};
    ssize_t length = wire_encode_unlock(body, sizeof body, &wire);
    memset(&answer, 0, sizeof answer);
    peer_call(&peer, peer.to_shard[first.shard], WIRE_OP_unlock, body, (size_t)length, NULL, 0, &answer);
    return answer.status;
}

/* ---- tests ---------------------------------------------------------------- */

static void test_repeated_requests(void **state)
{
    (void)state;
    assert_int_equal(ask_simply(1, true, 0, 10), 1);
    assert_int_equal(ask_simply(1, true, 0, 10), 1); /* the answer was lost */
    assert_int_equal(ask_simply(2, true, 5, 6), 0);
    assert_int_equal(ask_simply(3, true, 5, 6), 0);
    assert_int_equal(ask_simply(2, true, 5, 6), 0);
    assert_int_equal(unlock(1), 0);
    assert_int_equal(unlock(1), 0);
    assert_int_equal(ask_simply(3, true, 5, 6), 0); /* 2 has kept its place, and was granted meanwhile */
    assert_int_equal(ask_simply(2, true, 5, 6), 1);
    assert_int_equal(unlock(3), 0); /* given up while it waits */
    assert_int_equal(unlock(2), 0);
    /* One that comes after it was given back, or under a number that means another lock. */
    assert_int_equal(ask_simply(2, true, 5, 6), -ECANCELED);
    assert_int_equal(ask_simply(4, true, 0, 1), 1);
    assert_int_equal(ask_simply(4, false, 0, 1), -EPROTO);
    /* What nobody has can't be given back, however often it is tried. */
    assert_int_equal(unlock(99), -ENOLCK);
    assert_int_equal(unlock(99), -ENOLCK);
    assert_int_equal(ask_simply(99, true, 50, 51), -ECANCELED);
    assert_int_equal(peer_counter(&peer, "locks_granted"), 3);
    assert_int_equal(peer_counter(&peer, "locks_waited"), 2);
    assert_int_equal(peer_counter(&peer, "locks_released"), 2);
}

static void test_waiting(void **state)
{
    (void)state;
    struct wire_lock waits = lock_of(2, true);
    assert_int_equal(ask_simply(1, true, 0, 10), 1);
    waits.wait_ms = 400;
    uint64_t begin = rpc_now_ns();
    assert_int_equal(ask(&waits, 0, 10), 0);
    assert_in_range((rpc_now_ns() - begin) / 1000000, 380, 2500);
    assert_int_equal(unlock(1), 0);
    waits.wait_ms = UINT32_MAX;
    assert_int_equal(ask(&waits, 0, 10), 1);
}

static void test_wrong_requests_are_refused(void **state)
{
    (void)state;
    struct wire_lock lock = lock_of(1, true), wrong;
    static const struct wire_lock_range bad[][2] = {{{5, 5}, {6, 7}}, {{6, 5}, {6, 7}}, {{0, 5}, {4, 7}}};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask_on(first.shard, &lock, bad[i], 2), -EINVAL);
    assert_int_equal(ask_on(first.shard, &lock, bad[0], 0), -EINVAL);
    wrong = lock;
    wrong.id = 0;
    assert_int_equal(ask(&wrong, 0, 1), -EINVAL);
    wrong = lock;
    wrong.capability = reader;
    assert_int_equal(ask(&wrong, 0, 1), -EACCES);
    wrong.exclusive = false;
    assert_int_equal(ask(&wrong, 0, 1), 1);
    assert_int_equal(unlock(1), 0);
    wrong = lock_of(2, false);
    wrong.capability = peer_capability(&peer, INO, 0); /* that of a stat */
    assert_int_equal(ask(&wrong, 0, 1), -EACCES);
    wrong.capability = both;
    wrong.capability.ino++;
    assert_int_equal(ask(&wrong, 0, 1), -EACCES);
    wrong = lock_of(2, false);
    wrong.target = 1 - first.target_id;
    assert_int_equal(ask(&wrong, 0, 1), -EINVAL);
    wrong.target = 77;
    assert_int_equal(ask(&wrong, 0, 1), -EINVAL);
    wrong = lock_of(2, false);
    assert_int_equal(ask_on(1 - first.shard, &wrong, &(struct wire_lock_range){0, 1}, 1), -EINVAL);
    assert_true(peer_counter(&peer, "requests_refused") >= 11);
    /* Nothing of all this stands in anyone's way. */
    assert_int_equal(ask_simply(3, true, 0, INT64_MAX), 1);
}

static void test_nonsense_bodies_are_refused(void **state)
{
    static const unsigned operations[] = {WIRE_OP_lock, WIRE_OP_unlock};
    uint8_t body[512];
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        for (size_t length = 0; length < 300; length += 13) {
            for (size_t k = 0; k < length; k++)
                body[k] = (uint8_t)(layout_hash(i * 1000003 + length * 301 + k) >> 7);
            memset(&answer, 0, sizeof answer);
            peer_call(&peer, peer.to_shard[0], operations[i], body, length, NULL, 0, &answer);
            assert_int_equal(answer.status, -EBADMSG);
        }
    }
}

/* At once or not at all: what was refused so stands in nobody's way, and may be asked for again. */
static void test_no_wait(void **state)
{
    (void)state;
    struct wire_lock lock = lock_of(2, true);
    lock.wait_ms = 0;
    assert_int_equal(ask_simply(1, true, 0, 10), 1);
    assert_int_equal(ask(&lock, 5, 6), 0);
    assert_int_equal(unlock(2), -ENOLCK);
    assert_int_equal(unlock(1), 0);
    assert_int_equal(ask_simply(3, true, 5, 6), 1);
    assert_int_equal(unlock(3), 0);
    lock.id = 4;
    assert_int_equal(ask(&lock, 5, 6), 1);
    assert_int_equal(ask(&lock, 5, 6), 1);
    assert_int_equal(unlock(4), 0);
}

static void test_most_ranges(void **state)
{
    (void)state;
    static struct wire_lock_range ranges[LIMITS_LOCK_RANGES_MAX];
    for (uint64_t i = 0; i < LIMITS_LOCK_RANGES_MAX; i++)
        ranges[i] = (struct wire_lock_range){.start = 3 * i, .end = 3 * i + 1};
    struct wire_lock lock = lock_of(1, true);
    assert_int_equal(ask_on(first.shard, &lock, ranges, LIMITS_LOCK_RANGES_MAX), 1);
    assert_int_equal(ask_simply(2, true, 1, 3), 1);
    assert_int_equal(ask_simply(3, true, 3 * LIMITS_LOCK_RANGES_MAX - 3, INT64_MAX), 0);
    /* So much, and no more, from one client. */
    unsigned id = 10;
    int result;
    do {
        for (uint64_t i = 0; i < LIMITS_LOCK_RANGES_MAX; i++)
            ranges[i].end = ranges[i].start + 1;
        lock = lock_of(id++, true);
        result = ask_on(first.shard, &lock, ranges, LIMITS_LOCK_RANGES_MAX);
    } while (result == 0 && id < 1000);
    assert_int_equal(result, -ENOLCK);
    assert_in_range(id, 100, 300);
    for (unsigned i = 10; i + 1 < id; i++)
        assert_int_equal(unlock(i), 0);
    assert_int_equal(unlock(1), 0);
    assert_int_equal(ask_simply(3, true, 3 * LIMITS_LOCK_RANGES_MAX - 3, INT64_MAX), 1);
}

static unsigned calls_done;

static void call_done(struct rpc_call *call)
{
    (void)call;
    calls_done++;
}

/* Held and waited for: neither keeps the server from ending cleanly. */
static void test_clean_end(void **state)
{
    (void)state;
    static uint8_t body[256];
    const struct wire_lock_range range = {.start = 0, .end = 1};
    struct wire_lock waits = lock_of(2, true);
    assert_int_equal(ask_simply(1, true, 0, 10), 1);
    waits.wait_ms = 60000;
    struct rpc_call call = {.operation = WIRE_OP_lock,
                            .body = body,
                            .body_length = (uint32_t)encode(body, sizeof body, &waits, &range, 1),
                            .deadline_ms = 3000,
                            .done = call_done};
    calls_done = 0;
    assert_int_equal(rpc_call_start(peer.to_shard[first.shard], &call), 0);
    peer_idle(&peer, 200);
    assert_int_equal(calls_done, 0);
    int status = peer_signal(&peer, SIGTERM);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    while (!calls_done)
        peer_idle(&peer, 20);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_repeated_requests),
        TEST(test_waiting),
        TEST(test_wrong_requests_are_refused),
        TEST(test_nonsense_bodies_are_refused),
        TEST(test_no_wait),
        TEST(test_most_ranges),
        TEST(test_clean_end),
    };
    return cmocka_run_group_tests_name("storaged_locks", tests, NULL, NULL);
}
