/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks with owners, with real servers. What they must survive:
 *  - owners who wait for each other, on one storage shard or on several, in one client or in several;
 *  - long waits, and lines, without a circle: nobody is refused;
 *  - waits that are given up, by a call or by a signal, at any moment;
 *  - connections that are cut, and storage servers that are killed, while locks are held.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "calls.h"
#include "cluster.h"

enum { SERVERS = 2, SHARDS = 2, DEADLINE_MS = 5000, FILES = 16, CLIENTS = 3 };

static struct cluster cluster;
static weft_session_t *sessions[CLIENTS];

static int setup(void **state)
{
    (void)state;
    cluster_open(&cluster,
                 &(struct cluster_options){.servers = SERVERS, .shards = SHARDS, .deadline_ms = DEADLINE_MS});
    connect_all(sessions, CLIENTS);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    disconnect_all(sessions, CLIENTS);
    cluster_close(&cluster);
    return 0;
}

static weft_file_t *open_file(unsigned client, const char *path, int flags)
{
    weft_file_t *file;
    ok(weft_file_open(sessions[client], path, flags, 0644, NULL, &file));
    return file;
}

static struct weft_record record(uint64_t owner, enum weft_lock_type type, uint64_t offset, uint64_t length)
{
    return (struct weft_record){
        .owner = owner, .type = type, .extent = {offset, length}, .pid = 1000 + (uint32_t)owner};
}

static int try(weft_file_t *file, uint64_t owner, enum weft_lock_type type, uint64_t offset, uint64_t length)
{
    const struct weft_record wish = record(owner, type, offset, length);
    return weft_file_lock_set(file, &wish, 0);
}

static weft_op_t *begin(weft_file_t *file, uint64_t owner, enum weft_lock_type type, uint64_t offset,
                        uint64_t length)
{
    weft_op_t *op;
    const struct weft_record wish = record(owner, type, offset, length);
    ok(weft_file_lock_set_async(file, &wish, WEFT_LOCK_WAIT | WEFT_LOCK_DETECT, &op));
    return op;
}

/* Waits for so many seconds at most, all of the operations' sessions making progress. The first that ended,
 * or -1. */
static int first_done(weft_op_t **ops, unsigned count, double seconds)
{
    double end = cluster_now() + seconds;
    do {
        for (unsigned i = 0; i < count; i++) {
            if (ops[i] && weft_test(ops[i]))
                return (int)i;
        }
    } while (cluster_now() < end);
    return -1;
}

/* ---- one file --------------------------------------------------------------------- */

static void test_split_and_join(void **state)
{
    (void)state;
    weft_file_t *a = open_file(0, "/split", O_RDWR | O_CREAT), *b = open_file(1, "/split", O_RDONLY);
    struct weft_record found, wish = record(1, WEFT_LOCK_SHARED, 0, 100);
    ok(try(a, 7, WEFT_LOCK_EXCLUSIVE, 10, 30));
    ok(try(a, 7, WEFT_LOCK_SHARED, 20, 10));
    assert_int_equal(try(b, 1, WEFT_LOCK_SHARED, 0, 100), -EAGAIN);
    ok(try(b, 1, WEFT_LOCK_SHARED, 20, 10));
    assert_int_equal(try(b, 1, WEFT_LOCK_EXCLUSIVE, 25, 1), -EAGAIN);
    assert_int_equal(weft_file_lock_test(b, &wish, &found), 1);
    assert_int_equal(found.type, WEFT_LOCK_EXCLUSIVE);
    assert_int_equal(found.extent.offset, 10);
    assert_int_equal(found.extent.length, 10);
    assert_int_equal(found.owner, 7);
    assert_int_equal(found.pid, 1007);
    ok(try(a, 7, WEFT_LOCK_NONE, 12, 3));
    ok(try(b, 1, WEFT_LOCK_EXCLUSIVE, 12, 3));
    wish = record(7, WEFT_LOCK_EXCLUSIVE, 0, 200);
    assert_int_equal(weft_file_lock_test(a, &wish, &found), 1);
    assert_int_equal(found.extent.offset, 12);
    ok(weft_file_lock_drop(a, 7));
    ok(try(b, 1, WEFT_LOCK_EXCLUSIVE, 0, 100));
    ok(weft_file_lock_drop(b, 1));
    assert_int_equal(weft_file_lock_test(a, &wish, &found), 0);
    ok(weft_file_close(a));
    ok(weft_file_close(b));
}

static void test_what_costs_nothing(void **state)
{
    (void)state;
    weft_file_t *a = open_file(0, "/nothing", O_RDWR | O_CREAT);
    uint64_t before = counter(sessions[0], "storage_requests"),
             metadata = counter(sessions[0], "metadata_requests");
    ok(weft_file_lock_drop(a, 3));
    ok(try(a, 3, WEFT_LOCK_NONE, 0, 10));
    assert_int_equal(counter(sessions[0], "storage_requests"), before);
    ok(try(a, 3, WEFT_LOCK_SHARED, 0, 10));
    ok(try(a, 3, WEFT_LOCK_EXCLUSIVE, 0, 10));
    ok(try(a, 3, WEFT_LOCK_NONE, 0, 10));
    assert_int_equal(counter(sessions[0], "storage_requests"), before + 3);
    ok(weft_file_lock_drop(a, 3));
    assert_int_equal(counter(sessions[0], "storage_requests"), before + 3);
    assert_int_equal(counter(sessions[0], "metadata_requests"), metadata);
    ok(weft_file_close(a));
}

/* An upgrade that waits keeps what there was, and nobody gets in between. */
static void test_upgrade(void **state)
{
    (void)state;
    weft_file_t *a = open_file(0, "/upgrade", O_RDWR | O_CREAT), *b = open_file(1, "/upgrade", O_RDWR);
    weft_file_t *c = open_file(2, "/upgrade", O_RDWR);
    ok(try(a, 1, WEFT_LOCK_SHARED, 0, 10));
    ok(try(b, 1, WEFT_LOCK_SHARED, 0, 10));
    weft_op_t *writer = begin(c, 1, WEFT_LOCK_EXCLUSIVE, 0, 10);
    assert_int_equal(first_done(&writer, 1, 0.05), -1);
    weft_op_t *upgrade = begin(a, 1, WEFT_LOCK_EXCLUSIVE, 0, 10);
    assert_int_equal(first_done(&upgrade, 1, 0.05), -1);
    ok(weft_file_lock_drop(b, 1));
    assert_int_equal(first_done(&upgrade, 1, 10), 0);
    ok(weft_wait(upgrade));
    assert_int_equal(first_done(&writer, 1, 0.05), -1);
    ok(try(a, 1, WEFT_LOCK_SHARED, 0, 10));
    assert_int_equal(first_done(&writer, 1, 0.05), -1);
    ok(weft_file_lock_drop(a, 1));
    ok(weft_wait(writer));
    ok(weft_file_lock_drop(c, 1));
    ok(weft_file_close(a));
    ok(weft_file_close(b));
    ok(weft_file_close(c));
}

static void test_both_kinds(void **state)
{
    (void)state;
    weft_file_t *a = open_file(0, "/kinds", O_RDWR | O_CREAT), *b = open_file(1, "/kinds", O_RDWR);
    const struct weft_extent extent = {.offset = 5, .length = 10};
    struct weft_record found, wish = record(1, WEFT_LOCK_SHARED, 0, 100);
    weft_lock_t *lock;
    ok(weft_file_lock(a, &extent, 1, true, &lock));
    assert_int_equal(try(b, 1, WEFT_LOCK_SHARED, 0, 6), -EAGAIN);
    assert_int_equal(weft_file_lock_test(b, &wish, &found), 1);
    assert_int_equal(found.owner, 0);
    assert_int_equal(found.extent.offset, 5);
    weft_op_t *op = begin(b, 1, WEFT_LOCK_SHARED, 0, 6);
    assert_int_equal(first_done(&op, 1, 0.05), -1);
    ok(weft_file_unlock(lock));
    ok(weft_wait(op));
    assert_int_equal(weft_file_trylock(a, &extent, 1, true, &lock), -EAGAIN);
    ok(weft_file_lock_drop(b, 1));
    ok(weft_file_trylock(a, &extent, 1, true, &lock));
    ok(weft_file_unlock(lock));
    ok(weft_file_close(a));
    ok(weft_file_close(b));
}

static void test_argument_errors(void **state)
{
    (void)state;
    weft_file_t *a = open_file(0, "/errors", O_RDWR | O_CREAT);
    struct weft_record wish = record(1, WEFT_LOCK_SHARED, 0, 0), found;
    assert_int_equal(weft_file_lock_set(a, &wish, 0), -EINVAL);
    wish.extent.length = 1;
    assert_int_equal(weft_file_lock_set(a, &wish, 64), -EINVAL);
    assert_int_equal(weft_file_lock_set(a, NULL, 0), -EINVAL);
    assert_int_equal(weft_file_lock_set(NULL, &wish, 0), -EINVAL);
    assert_int_equal(weft_file_lock_set_async(a, &wish, 0, NULL), -EINVAL);
    assert_int_equal(weft_file_lock_test(a, &wish, NULL), -EINVAL);
    wish.type = WEFT_LOCK_NONE;
    assert_int_equal(weft_file_lock_test(a, &wish, &found), -EINVAL);
    wish.type = (enum weft_lock_type)5;
    assert_int_equal(weft_file_lock_set(a, &wish, 0), -EINVAL);
    weft_lock_cancel(NULL);
    ok(weft_file_close(a));
}

/* ---- giving up ---------------------------------------------------------------------- */

static void test_cancel(void **state)
{
    (void)state;
    weft_file_t *a = open_file(0, "/cancel", O_RDWR | O_CREAT), *b = open_file(1, "/cancel", O_RDWR);
    unsigned cancelled = 0;
    for (unsigned i = 0; i < 60; i++) {
        ok(try(a, 1, WEFT_LOCK_EXCLUSIVE, 0, 10));
        weft_op_t *op = begin(b, 1, WEFT_LOCK_EXCLUSIVE, 0, 10);
        (void)first_done(&op, 1, (i % 6) * 1e-4);
        if (i % 3 == 0) { /* in the moment in which it is granted */
            weft_op_t *release;
            const struct weft_record none = record(1, WEFT_LOCK_NONE, 0, 10);
            ok(weft_file_lock_set_async(a, &none, 0, &release));
            (void)first_done(&release, 1, (i % 4) * 1e-4);
            weft_lock_cancel(op);
            ok(weft_wait(release));
        } else {
            weft_lock_cancel(op);
        }
        weft_lock_cancel(op); /* once more is nothing */
        ssize_t result = weft_wait(op);
        assert_true(result == 0 || result == -EINTR);
        cancelled += result == -EINTR;
        /* What the call said is what is held. */
        assert_int_equal(try(a, 2, WEFT_LOCK_SHARED, 0, 10), result == 0 || i % 3 ? -EAGAIN : 0);
        ok(weft_file_lock_drop(a, 1));
        assert_int_equal(try(a, 2, WEFT_LOCK_SHARED, 0, 10), result == 0 ? -EAGAIN : 0);
        ok(weft_file_lock_drop(a, 2));
        ok(weft_file_lock_drop(b, 1));
    }
    assert_true(cancelled >= 40);
    ok(weft_file_close(a));
    ok(weft_file_close(b));
}

static volatile sig_atomic_t handled;

static void handle(int number)
{
    (void)number;
    handled++;
}

static void handle_by(int flags)
{
    struct sigaction action = {.sa_handler = handle, .sa_flags = flags};
    assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
}

static void alarm_in(unsigned ms, unsigned again_ms)
{
    const struct itimerval timer = {.it_value = {.tv_usec = ms * 1000},
                                    .it_interval = {.tv_usec = again_ms * 1000}};
    handled = 0;
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void *release_later(void *arg)
{
    while (handled < 3)
        usleep(1000);
    ok(weft_file_lock_drop(arg, 1));
    return NULL;
}

static void test_signal(void **state)
{
    (void)state;
    weft_file_t *a = open_file(0, "/signal", O_RDWR | O_CREAT), *b = open_file(1, "/signal", O_RDWR);
    const struct weft_record wish = record(1, WEFT_LOCK_EXCLUSIVE, 0, 10);
    ok(try(a, 1, WEFT_LOCK_SHARED, 0, 10));
    handle_by(0);
    for (unsigned i = 0; i < 20; i++) {
        alarm_in(1 + i * 3, 0);
        assert_int_equal(weft_file_lock_set(b, &wish, WEFT_LOCK_WAIT | WEFT_LOCK_SIGNALS), -EINTR);
        assert_int_equal(handled, 1);
    }
    /* Handlers that want it so don't end it. The signals of the other thread's creation are its own. */
    pthread_t thread;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    handle_by(SA_RESTART);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    assert_int_equal(pthread_create(&thread, NULL, release_later, a), 0);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    alarm_in(5, 5);
    ok(weft_file_lock_set(b, &wish, WEFT_LOCK_WAIT | WEFT_LOCK_SIGNALS));
    alarm_in(0, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    ok(weft_file_lock_drop(b, 1));
    ok(weft_file_close(a));
    ok(weft_file_close(b));
}

/* ---- deadlocks ------------------------------------------------------------------------ */

/* Two files that two different shards keep the locks of. */
static void two_shards(char first[32], char second[32])
{
    char place[2][96];
    for (unsigned i = 0; i < FILES; i++) {
        struct weft_location at;
        char path[32];
        snprintf(path, sizeof path, "/ring%u", i);
        weft_file_t *file = open_file(0, path, O_RDWR | O_CREAT);
        assert_int_equal(weft_file_locate(file, 0, 1, &at, 1), 1);
        ok(weft_file_close(file));
        snprintf(place[i > 0], sizeof place[0], "%s/%u", at.server, at.shard);
        snprintf(i ? second : first, 32, "%s", path);
        if (i && strcmp(place[0], place[1]) != 0)
            return;
    }
    fail_msg("all files are on one shard");
}

static void test_deadlock_at_once(void **state)
{
    (void)state;
    weft_file_t *a = open_file(0, "/dead", O_RDWR | O_CREAT), *b = open_file(1, "/dead", O_RDWR);
    ok(try(a, 1, WEFT_LOCK_EXCLUSIVE, 0, 10));
    ok(try(b, 1, WEFT_LOCK_EXCLUSIVE, 10, 10));
    weft_op_t *op = begin(a, 1, WEFT_LOCK_EXCLUSIVE, 10, 10);
    assert_int_equal(first_done(&op, 1, 0.02), -1);
    uint64_t reports = counter(sessions[1], "record_reports");
    const struct weft_record wish = record(1, WEFT_LOCK_SHARED, 5, 1);
    assert_int_equal(weft_file_lock_set(b, &wish, WEFT_LOCK_WAIT | WEFT_LOCK_DETECT), -EDEADLK);
    assert_int_equal(counter(sessions[1], "record_reports"), reports);
    ok(weft_file_lock_drop(b, 1));
    ok(weft_wait(op));
    ok(weft_file_lock_drop(a, 1));
    ok(weft_file_close(a));
    ok(weft_file_close(b));
}

/* Each of `count` owners, of different clients, holds one range and waits for the next one's. One of them
 * is told, all others get what they wait for. */
static void ring(unsigned count, const char *const *paths)
{
    weft_file_t *own[4], *next[4];
    weft_op_t *ops[4];
    for (unsigned i = 0; i < count; i++) {
        own[i] = open_file(i % CLIENTS, paths[i], O_RDWR | O_CREAT);
        ok(try(own[i], 10 + i, WEFT_LOCK_EXCLUSIVE, i, 1));
    }
    for (unsigned i = 0; i < count; i++) {
        next[i] = open_file(i % CLIENTS, paths[(i + 1) % count], O_RDWR);
        ops[i] = begin(next[i], 10 + i, WEFT_LOCK_EXCLUSIVE, (i + 1) % count, 1);
    }
    int victim = first_done(ops, count, 25);
    assert_true(victim >= 0);
    assert_int_equal(weft_wait(ops[victim]), -EDEADLK);
    ops[victim] = NULL;
    /* What the victim has goes round, backwards, until all have had it. */
    for (unsigned left = count - 1, owner = (unsigned)victim; left > 0; left--) {
        ok(weft_file_lock_drop(own[owner], 10 + owner));
        if (left < count - 1)
            ok(weft_file_lock_drop(next[owner], 10 + owner));
        owner = (owner + count - 1) % count;
        ok(weft_wait(ops[owner]));
        if (left == 1) {
            ok(weft_file_lock_drop(own[owner], 10 + owner));
            ok(weft_file_lock_drop(next[owner], 10 + owner));
        }
    }
    for (unsigned i = 0; i < count; i++) {
        ok(weft_file_close(own[i]));
        ok(weft_file_close(next[i]));
    }
}

static void test_deadlock_across_shards(void **state)
{
    (void)state;
    char first[32], second[32];
    two_shards(first, second);
    const char *paths[] = {first, second};
    ring(2, paths);
}

static void test_ring_of_three(void **state)
{
    (void)state;
    char first[32], second[32];
    two_shards(first, second);
    const char *paths[] = {first, second, first};
    ring(3, paths);
}

/* Two owners of one client, on two shards. */
static void test_deadlock_in_one_client(void **state)
{
    (void)state;
    char first[32], second[32];
    two_shards(first, second);
    weft_file_t *a = open_file(0, first, O_RDWR), *b = open_file(0, second, O_RDWR);
    ok(try(a, 1, WEFT_LOCK_EXCLUSIVE, 0, 1));
    ok(try(b, 2, WEFT_LOCK_EXCLUSIVE, 0, 1));
    weft_op_t *ops[] = {begin(b, 1, WEFT_LOCK_SHARED, 0, 1), begin(a, 2, WEFT_LOCK_SHARED, 0, 1)};
    int victim = first_done(ops, 2, 25);
    assert_true(victim >= 0);
    assert_int_equal(weft_wait(ops[victim]), -EDEADLK);
    ok(weft_file_lock_drop(victim ? b : a, (uint64_t)victim + 1));
    ok(weft_wait(ops[!victim]));
    ok(weft_file_lock_drop(a, 1));
    ok(weft_file_lock_drop(b, 2));
    ok(weft_file_lock_drop(b, 1));
    ok(weft_file_lock_drop(a, 2));
    ok(weft_file_close(a));
    ok(weft_file_close(b));
}

/* Each client has both files open. */
static void open_both(const char *first, const char *second, weft_file_t *a[CLIENTS], weft_file_t *b[CLIENTS])
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        a[i] = open_file(i, first, O_RDWR);
        b[i] = open_file(i, second, O_RDWR);
    }
}

static void close_both(weft_file_t *a[CLIENTS], weft_file_t *b[CLIENTS], uint64_t owners)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        for (uint64_t owner = 1; owner <= owners; owner++) {
            ok(weft_file_lock_drop(a[i], owner));
            ok(weft_file_lock_drop(b[i], owner));
        }
        ok(weft_file_close(a[i]));
        ok(weft_file_close(b[i]));
    }
}

/* Chains and lines that are no circles, for long enough to be told many times. */
static void test_long_waits_that_are_no_circles(void **state)
{
    (void)state;
    char first[32], second[32];
    two_shards(first, second);
    weft_file_t *a[CLIENTS], *b[CLIENTS];
    open_both(first, second, a, b);
    uint64_t reports = counter(sessions[0], "record_reports") + counter(sessions[1], "record_reports");
    ok(try(a[0], 1, WEFT_LOCK_EXCLUSIVE, 0, 1));
    ok(try(b[1], 1, WEFT_LOCK_EXCLUSIVE, 0, 1));
    ok(try(b[0], 1, WEFT_LOCK_SHARED, 7, 1));
    ok(try(a[2], 1, WEFT_LOCK_EXCLUSIVE, 9, 1));
    weft_op_t *ops[] = {
        begin(b[0], 1, WEFT_LOCK_EXCLUSIVE, 0, 1),  /* 0 for 1 */
        begin(a[1], 1, WEFT_LOCK_SHARED, 9, 1),     /* 1 for 2 */
        begin(a[1], 2, WEFT_LOCK_SHARED, 0, 1),     /* another of 1 for 0 */
        begin(b[2], 3, WEFT_LOCK_EXCLUSIVE, 0, 10), /* another of 2 behind 0, for 1 and for 0 */
    };
    assert_int_equal(first_done(ops, 4, 6), -1);
    assert_true(counter(sessions[0], "record_reports") + counter(sessions[1], "record_reports") >
                reports + 6);
    ok(weft_file_lock_drop(a[2], 1));
    ok(weft_wait(ops[1]));
    ok(weft_file_lock_drop(b[1], 1));
    ok(weft_wait(ops[0]));
    ok(weft_file_lock_drop(a[0], 1));
    ok(weft_wait(ops[2]));
    ok(weft_file_lock_drop(b[0], 1));
    ok(weft_wait(ops[3]));
    close_both(a, b, 3);
}

/* Standing behind somebody who waits is no reason to wait for ever: 0 shares a range with 1, who waits for
 * what 0 has elsewhere, and 2 waits to have it alone. */
static void test_whoever_is_waited_for_is_let_pass(void **state)
{
    (void)state;
    char first[32], second[32];
    two_shards(first, second);
    weft_file_t *a[CLIENTS], *b[CLIENTS];
    open_both(first, second, a, b);
    ok(try(a[0], 1, WEFT_LOCK_EXCLUSIVE, 0, 1));
    ok(try(b[1], 1, WEFT_LOCK_SHARED, 0, 1));
    weft_op_t *alone = begin(b[2], 1, WEFT_LOCK_EXCLUSIVE, 0, 1);
    assert_int_equal(first_done(&alone, 1, 0.02), -1);
    weft_op_t *ops[] = {begin(a[1], 1, WEFT_LOCK_EXCLUSIVE, 0, 1), begin(b[0], 1, WEFT_LOCK_SHARED, 0, 1)};
    assert_int_equal(first_done(ops, 2, 25), 1);
    ok(weft_wait(ops[1]));
    ok(weft_file_lock_drop(a[0], 1));
    ok(weft_wait(ops[0]));
    ok(weft_file_lock_drop(b[0], 1));
    ok(weft_file_lock_drop(b[1], 1));
    ok(weft_wait(alone));
    close_both(a, b, 1);
}

/* ---- what is lost ----------------------------------------------------------------------- */

static void test_killed_server(void **state)
{
    (void)state;
    weft_file_t *a = open_file(0, "/lost", O_RDWR | O_CREAT), *b = open_file(1, "/lost", O_RDWR);
    struct weft_location place;
    unsigned server;
    assert_int_equal(weft_file_locate(a, 0, 1, &place, 1), 1);
    assert_int_equal(sscanf(place.server, "s%u", &server), 1);
    ok(try(a, 1, WEFT_LOCK_EXCLUSIVE, 0, 10));
    cluster_kill(&cluster, (int)server);
    cluster_start(&cluster, (int)server);
    ok(try(b, 1, WEFT_LOCK_EXCLUSIVE, 0, 10));
    uint64_t lost = counter(sessions[0], "locks_lost");
    assert_int_equal(try(a, 1, WEFT_LOCK_NONE, 0, 5), -ENOLCK);
    assert_int_equal(counter(sessions[0], "locks_lost"), lost + 1);
    ok(weft_file_lock_drop(a, 1)); /* said once */
    ok(try(a, 1, WEFT_LOCK_EXCLUSIVE, 20, 10));
    ok(weft_file_lock_drop(a, 1));
    ok(weft_file_lock_drop(b, 1));
    ok(weft_file_close(a));
    ok(weft_file_close(b));
}

/* A server that stood still grants the lock after its client gave the request up. Nobody must have it then,
 * and its owner must have what he had before. */
static void test_granted_too_late(void **state)
{
    (void)state;
    weft_file_t *a = open_file(0, "/late", O_RDWR | O_CREAT), *b = open_file(1, "/late", O_RDWR);
    ok(try(a, 7, WEFT_LOCK_SHARED, 0, 5)); /* connects */
    for (int i = 0; i < SERVERS; i++)
        cluster_signal(&cluster, i, SIGSTOP);
    int result = try(a, 7, WEFT_LOCK_EXCLUSIVE, 0, 10);
    for (int i = 0; i < SERVERS; i++)
        cluster_signal(&cluster, i, SIGCONT);
    assert_int_equal(result, -ETIMEDOUT);
    cluster_wait_up(&cluster, SERVERS);
    ok(try(a, 7, WEFT_LOCK_SHARED, 20, 5)); /* waits until that is settled */
    ok(try(b, 1, WEFT_LOCK_EXCLUSIVE, 5, 10));
    ok(try(b, 1, WEFT_LOCK_SHARED, 0, 5));
    assert_int_equal(try(b, 1, WEFT_LOCK_EXCLUSIVE, 0, 1), -EAGAIN);
    ok(weft_file_lock_drop(a, 7));
    ok(weft_file_lock_drop(b, 1));
    ok(weft_file_close(a));
    ok(weft_file_close(b));
}

static void test_client_that_ends(void **state)
{
    (void)state;
    weft_session_t *short_lived;
    weft_file_t *a, *b = open_file(1, "/ends", O_RDWR | O_CREAT);
    ok(weft_connect(NULL, &short_lived));
    ok(weft_file_open(short_lived, "/ends", O_RDWR, 0, NULL, &a));
    ok(try(a, 1, WEFT_LOCK_EXCLUSIVE, 0, 10));
    ok(try(a, 2, WEFT_LOCK_EXCLUSIVE, 10, 10));
    weft_op_t *op = begin(b, 1, WEFT_LOCK_SHARED, 0, 20);
    assert_int_equal(first_done(&op, 1, 0.05), -1);
    ok(weft_file_close(a)); /* what is locked does not depend on it */
    assert_int_equal(first_done(&op, 1, 0.05), -1);
    weft_disconnect(short_lived);
    ok(weft_wait(op));
    ok(weft_file_lock_drop(b, 1));
    ok(weft_file_close(b));
}

int main(int argc, char **argv)
{
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_and_join),
        cmocka_unit_test(test_what_costs_nothing),
        cmocka_unit_test(test_upgrade),
        cmocka_unit_test(test_both_kinds),
        cmocka_unit_test(test_argument_errors),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_signal),
        cmocka_unit_test(test_deadlock_at_once),
        cmocka_unit_test(test_deadlock_across_shards),
        cmocka_unit_test(test_ring_of_three),
        cmocka_unit_test(test_deadlock_in_one_client),
        cmocka_unit_test(test_long_waits_that_are_no_circles),
        cmocka_unit_test(test_whoever_is_waited_for_is_let_pass),
        cmocka_unit_test(test_killed_server),
        cmocka_unit_test(test_granted_too_late),
        cmocka_unit_test(test_client_that_ends),
    };
    return cmocka_run_group_tests_name("records", tests, setup, teardown);
}
