/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks with real servers. What they must survive:
 *  - many processes at once that read, change and write back the same bytes;
 *  - a client that is killed, or loses its connection, while it holds a lock or waits for one;
 *  - a storage server that is killed while it keeps locks;
 *  - waits longer than a request's deadline.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "calls.h"
#include "cluster.h"
#include "workers.h"

enum { CHUNK = 65536, SERVERS = 2, SHARDS = 2, DEADLINE_MS = 5000, WORKERS = 4 };

static struct cluster cluster;
static weft_session_t *session, *other, *third;

static int setup(void **state)
{
    (void)state;
    cluster_open(&cluster,
                 &(struct cluster_options){
                     .servers = SERVERS, .shards = SHARDS, .chunk_size = CHUNK, .deadline_ms = DEADLINE_MS});
    ok(weft_connect(NULL, &session));
    ok(weft_connect(NULL, &other));
    ok(weft_connect(NULL, &third));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft_disconnect(session);
    weft_disconnect(other);
    weft_disconnect(third);
    cluster_close(&cluster);
    return 0;
}

/* ---- helpers -------------------------------------------------------------------- */

static weft_file_t *open_file(weft_session_t *of, const char *path, int flags)
{
    weft_file_t *file;
    ok(weft_file_open(of, path, flags, 0644, &(struct weft_layout){0}, &file));
    return file;
}

static weft_lock_t *lock_one(weft_file_t *file, uint64_t offset, uint64_t length, bool exclusive)
{
    weft_lock_t *lock;
    const struct weft_extent extent = {.offset = offset, .length = length};
    ok(weft_file_lock(file, &extent, 1, exclusive, &lock));
    return lock;
}

/* A lock that is asked for, and its operation. */
struct asked {
    weft_lock_t *lock;
    weft_op_t *op;
};

static struct asked ask_one(weft_file_t *file, uint64_t offset, uint64_t length, bool exclusive)
{
    struct asked asked;
    const struct weft_extent extent = {.offset = offset, .length = length};
    ok(weft_file_lock_async(file, &extent, 1, exclusive, &asked.lock, &asked.op));
    return asked;
}

/* Whether it is granted within so many milliseconds; it is then still to be waited for. */
static bool granted_within(struct asked *asked, unsigned ms)
{
    double end = cluster_now() + ms / 1e3;
    do {
        if (weft_test(asked->op))
            return true;
    } while (cluster_now() < end);
    return false;
}

/* The storage server that keeps the file's locks. */
static int keeper_of(weft_file_t *file)
{
    struct weft_location place;
    int server = -1;
    assert_int_equal(weft_file_locate(file, 0, 1, &place, 1), 1);
    assert_int_equal(sscanf(place.server, "s%d", &server), 1);
    return server;
}

/* ---- other processes -------------------------------------------------------------- */

enum { RECORDS = 8, SPREAD = CHUNK / 2 + 24 }; /* on both servers, some across a chunk's bound */

/* Adds 1 to some of the records at a time; or looks that the first and the last, which always change
 * together, are the same. */
static void task_records(weft_file_t *file, unsigned count)
{
    unsigned seed = (unsigned)getpid();
    for (unsigned n = 0; n < count; n++) {
        struct weft_extent extents[RECORDS];
        uint64_t values[RECORDS];
        unsigned chosen = 0, mask = (unsigned)rand_r(&seed) | 1 | 1u << (RECORDS - 1);
        bool change = n % 4 != 0;
        if (!change)
            mask = 1 | 1u << (RECORDS - 1);
        for (unsigned i = 0; i < RECORDS; i++) {
            if (mask & 1u << i)
                extents[chosen++] = (struct weft_extent){.offset = (uint64_t)i * SPREAD, .length = 8};
        }
        const struct iovec iov = {.iov_base = values, .iov_len = chosen * 8};
        weft_lock_t *lock;
        must(weft_file_lock(file, extents, chosen, change, &lock));
        memset(values, 0, sizeof values);
        must(weft_file_read_list(file, &iov, 1, extents, chosen));
        if (values[0] != values[chosen - 1]) {
            fprintf(stderr, "worker: %lu and %lu under a lock\n", values[0], values[chosen - 1]);
            exit(1);
        }
        for (unsigned i = 0; i < chosen; i++)
            values[i]++;
        if (change)
            must(weft_file_write_list(file, &iov, 1, extents, chosen));
        must(weft_file_unlock(lock));
    }
}

static void task_hold(weft_file_t *file, unsigned bytes)
{
    const struct weft_extent extent = {.length = bytes};
    weft_lock_t *lock, *none;
    weft_op_t *op;
    must(weft_file_lock(file, &extent, 1, true, &lock));
    /* And one more in the line, behind itself. */
    must(weft_file_lock_async(file, &extent, 1, true, &none, &op));
    printf("held\n");
    fflush(stdout);
    for (;;)
        weft_test(op);
}

/* ---- who comes first -------------------------------------------------------------- */

static void test_order(void **state)
{
    (void)state;
    weft_file_t *a = open_file(session, "/order", O_RDWR | O_CREAT);
    weft_file_t *b = open_file(other, "/order", O_RDWR), *c = open_file(third, "/order", O_RDONLY);
    weft_lock_t *first = lock_one(a, 0, 100, false);
    weft_lock_t *beside = lock_one(c, 50, 100, false);
    struct asked writer = ask_one(b, 99, 2, true);
    assert_false(granted_within(&writer, 50));
    /* A reader that could have it with the others stands behind the writer, who came first. */
    struct asked reader = ask_one(c, 0, 100, false);
    assert_false(granted_within(&reader, 50));
    /* What has no byte in common with any of them passes. */
    ok(weft_file_unlock(lock_one(b, 150, 100, true)));
    ok(weft_file_unlock(first));
    assert_false(granted_within(&writer, 50));
    ok(weft_file_unlock(beside));
    ok(weft_wait(writer.op));
    assert_false(granted_within(&reader, 50));
    ok(weft_file_unlock(writer.lock));
    ok(weft_wait(reader.op));
    ok(weft_file_unlock(reader.lock));
    ok(weft_file_close(a));
    ok(weft_file_close(b));
    ok(weft_file_close(c));
}

/* Who does not wait leaves nothing behind, and is refused also while another one only waits. */
static void test_try(void **state)
{
    (void)state;
    const struct weft_extent one = {.offset = 7, .length = 1};
    weft_file_t *a = open_file(session, "/try", O_RDWR | O_CREAT), *b = open_file(other, "/try", O_RDWR);
    weft_file_t *c = open_file(third, "/try", O_RDONLY);
    weft_lock_t *lock, *shared = lock_one(a, 0, 100, false);
    assert_int_equal(weft_file_trylock(b, &one, 1, true, &lock), -EAGAIN);
    ok(weft_file_trylock(c, &one, 1, false, &lock));
    ok(weft_file_unlock(lock));
    struct asked writer = ask_one(b, 0, 10, true);
    assert_false(granted_within(&writer, 50));
    assert_int_equal(weft_file_trylock(c, &one, 1, false, &lock), -EAGAIN);
    ok(weft_file_unlock(shared));
    ok(weft_wait(writer.op));
    ok(weft_file_unlock(writer.lock));
    ok(weft_file_trylock(b, &one, 1, true, &lock));
    ok(weft_file_unlock(lock));
    ok(weft_file_close(a));
    ok(weft_file_close(b));
    ok(weft_file_close(c));
}

/* ---- what a lock covers ------------------------------------------------------------ */

static void test_ranges(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    static struct weft_extent many[MANY];
    weft_file_t *a = open_file(session, "/ranges", O_RDWR | O_CREAT);
    weft_file_t *b = open_file(other, "/ranges", O_RDWR);
    weft_lock_t *lock, *none;
    /* Every second kilobyte, in more pieces than a request has room for. */
    for (unsigned i = 0; i < MANY; i++)
        many[i] = (struct weft_extent){.offset = (uint64_t)(i * 7 % MANY) * 2048, .length = 1024};
    ok(weft_file_lock(a, many, MANY, true, &lock));
    struct asked first = ask_one(b, 0, 1, false), last = ask_one(b, (MANY - 1) * 2048 + 1023, 1, false);
    weft_lock_t *behind = lock_one(b, (MANY - 1) * 2048 + 1024, UINT64_MAX, true);
    assert_false(granted_within(&first, 50));
    assert_false(granted_within(&last, 50));
    ok(weft_file_unlock(lock));
    ok(weft_wait(first.op));
    ok(weft_wait(last.op));
    ok(weft_file_unlock(first.lock));
    ok(weft_file_unlock(last.lock));
    ok(weft_file_unlock(behind));

    /* What covers nothing asks nobody. */
    uint64_t requests = counter(session, "storage_requests");
    ok(weft_file_lock(a, NULL, 0, true, &lock));
    ok(weft_file_lock(a, &(struct weft_extent){.offset = 5}, 1, true, &none));
    ok(weft_file_unlock(lock));
    ok(weft_file_unlock(none));
    assert_int_equal(counter(session, "storage_requests"), requests);

    /* Locks of files, and of those only, are apart. */
    weft_file_t *c = open_file(third, "/ranges2", O_RDWR | O_CREAT);
    lock = lock_one(a, 0, UINT64_MAX, true);
    ok(weft_file_unlock(lock_one(c, 0, UINT64_MAX, true)));
    ok(weft_file_unlock(lock));
    ok(weft_file_close(a));
    ok(weft_file_close(b));
    ok(weft_file_close(c));
}

static void test_argument_errors(void **state)
{
    (void)state;
    const struct weft_extent extent = {.length = 1};
    weft_file_t *file = open_file(session, "/errors", O_RDONLY | O_CREAT);
    weft_lock_t *lock;
    weft_op_t *op;
    assert_int_equal(weft_file_lock(file, &extent, 1, true, &lock), -EBADF);
    assert_non_null(strstr(weft_error(), "/errors"));
    assert_int_equal(weft_file_lock(NULL, &extent, 1, true, &lock), -EINVAL);
    assert_int_equal(weft_file_lock(file, NULL, 1, false, &lock), -EINVAL);
    assert_int_equal(weft_file_lock(file, &extent, 1, false, NULL), -EINVAL);
    assert_int_equal(weft_file_unlock(NULL), -EINVAL);
    ok(weft_file_lock_async(file, &extent, 1, false, &lock, &op));
    ok(weft_wait(op));
    assert_int_equal(weft_file_unlock_async(lock, NULL), -EINVAL);
    ok(weft_file_unlock_async(lock, &op));
    ok(weft_wait(op));
    ok(weft_file_close(file));
}

/* One process asks for more locks than its credit has room for: all are granted in the end, and what is not
 * a lock passes meanwhile. */
static void test_more_than_credit(void **state)
{
    (void)state;
    enum { ASKED = 300 };
    static struct asked asked[ASKED];
    weft_file_t *a = open_file(session, "/many", O_RDWR | O_CREAT), *b = open_file(other, "/many", O_RDWR);
    weft_lock_t *lock = lock_one(a, 0, 100, true);
    char byte = 'x';
    for (unsigned i = 0; i < ASKED; i++)
        asked[i] = ask_one(b, i % 100, 1 + i % 3, i % 5 == 0);
    assert_false(granted_within(&asked[0], 100));
    ok(weft_file_write(b, &byte, 1, 0));
    ok(weft_file_unlock(lock));
    for (unsigned i = 0; i < ASKED; i++) {
        ok(weft_wait(asked[i].op));
        ok(weft_file_unlock(asked[i].lock));
    }
    ok(weft_file_close(a));
    ok(weft_file_close(b));
}

/* ---- many processes ---------------------------------------------------------------- */

static void test_processes(void **state)
{
    (void)state;
    enum { ROUNDS = 150 };
    struct worker workers[WORKERS];
    uint64_t first, last, requests = counter(session, "metadata_requests");
    weft_file_t *file = open_file(session, "/records", O_RDWR | O_CREAT);
    ok(weft_file_allocate(file, 0, RECORDS * SPREAD));
    workers_export(file, cluster.dir);
    for (unsigned i = 0; i < WORKERS; i++)
        workers[i] = worker_start("records", ROUNDS);
    for (unsigned i = 0; i < WORKERS; i++)
        worker_end(&workers[i]);
    assert_int_equal(weft_file_read(file, &first, 8, 0), 8);
    assert_int_equal(weft_file_read(file, &last, 8, (RECORDS - 1) * SPREAD), 8);
    assert_int_equal(first, WORKERS * (ROUNDS - (ROUNDS + 3) / 4));
    assert_int_equal(last, first);
    assert_int_equal(counter(session, "metadata_requests"), requests + 2); /* open and allocate */
    ok(weft_file_close(file));
}

/* ---- what breaks --------------------------------------------------------------------- */

static void test_killed_holder(void **state)
{
    (void)state;
    weft_file_t *file = open_file(session, "/killed", O_RDWR | O_CREAT);
    uint64_t lost = server_counter(session, "locks_lost");
    workers_export(file, cluster.dir);
    struct worker worker = worker_start("hold", 100);
    worker_expect(&worker, "held");
    struct asked asked = ask_one(file, 50, 100, true);
    assert_false(granted_within(&asked, 100));
    double begin = cluster_now();
    worker_kill(&worker);
    ok(weft_wait(asked.op));
    assert_true(cluster_now() - begin < DEADLINE_MS / 2e3);
    ok(weft_file_unlock(asked.lock));
    assert_int_equal(server_counter(session, "locks_lost"), lost + 1);
    ok(weft_file_close(file));
}

static void test_killed_server(void **state)
{
    (void)state;
    weft_file_t *a = open_file(session, "/restarted", O_RDWR | O_CREAT);
    weft_file_t *b = open_file(other, "/restarted", O_RDWR);
    int server = keeper_of(a);
    weft_lock_t *lock = lock_one(a, 0, 100, true);
    struct asked waits = ask_one(b, 0, 100, true);
    assert_false(granted_within(&waits, 100));
    cluster_kill(&cluster, server);
    cluster_start(&cluster, server);
    /* Whoever waited asks the new one by itself. */
    ok(weft_wait(waits.op));
    assert_int_equal(weft_file_unlock(lock), -ENOLCK);
    assert_non_null(strstr(weft_error(), "lost"));
    assert_non_null(strstr(weft_error(), "/restarted"));
    assert_true(counter(session, "locks_lost") > 0);
    /* The loser has taken nothing from the one who has it now. */
    struct asked again = ask_one(a, 99, 1, false);
    assert_false(granted_within(&again, 100));
    ok(weft_file_unlock(waits.lock));
    ok(weft_wait(again.op));
    ok(weft_file_unlock(again.lock));
    cluster_wait_up(&cluster, SERVERS);
    ok(weft_file_close(a));
    ok(weft_file_close(b));
}

static void test_cut_connection(void **state)
{
    (void)state;
    weft_file_t *a = open_file(session, "/cut", O_RDWR | O_CREAT), *b = open_file(other, "/cut", O_RDWR);
    weft_lock_t *lock = lock_one(a, 0, 100, true);
    assert_true(cluster_cut(&cluster, keeper_of(a)) > 0);
    cluster_pause(300); /* until the server has noticed */
    weft_lock_t *stolen = lock_one(b, 0, 100, true);
    assert_int_equal(weft_file_unlock(lock), -ENOLCK);
    /* Those who wait ask again over a new connection, and come next. The holder's is cut, too. */
    struct asked waits = ask_one(a, 0, 100, false);
    assert_false(granted_within(&waits, 100));
    assert_true(cluster_cut(&cluster, keeper_of(a)) > 0);
    ok(weft_wait(waits.op));
    assert_int_equal(weft_file_unlock(stolen), -ENOLCK);
    ok(weft_file_unlock(waits.lock));
    ok(weft_file_close(a));
    ok(weft_file_close(b));
}

static void test_long_wait(void **state)
{
    (void)state;
    weft_file_t *a = open_file(session, "/long", O_RDWR | O_CREAT), *b = open_file(other, "/long", O_RDWR);
    weft_file_t *c = open_file(third, "/long", O_RDWR);
    weft_lock_t *lock = lock_one(a, 0, 100, true);
    uint64_t waits = counter(other, "lock_waits"), metadata = counter(other, "metadata_requests");
    uint64_t asked_map = server_counter(session, "served_map_get");
    struct asked second = ask_one(b, 0, 100, true);
    assert_false(granted_within(&second, 100));
    struct asked other_one = ask_one(c, 0, 100, true);
    assert_false(granted_within(&other_one, 100));
    assert_false(granted_within(&second, DEADLINE_MS + 1000));
    assert_false(granted_within(&other_one, 100));
    assert_true(counter(other, "lock_waits") >= waits + 2);
    ok(weft_file_unlock(lock));
    ok(weft_wait(second.op)); /* still in front of the other */
    assert_false(granted_within(&other_one, 100));
    ok(weft_file_unlock(second.lock));
    ok(weft_wait(other_one.op));
    ok(weft_file_unlock(other_one.lock));
    assert_int_equal(counter(other, "metadata_requests"), metadata);
    assert_int_equal(server_counter(session, "served_map_get"), asked_map);
    ok(weft_file_close(a));
    ok(weft_file_close(b));
    ok(weft_file_close(c));
}

/* A server that does not answer is noticed within the deadline, as with any other request. */
static void test_silent_server(void **state)
{
    (void)state;
    weft_file_t *a = open_file(session, "/silent", O_RDWR | O_CREAT);
    weft_file_t *b = open_file(other, "/silent", O_RDWR);
    weft_lock_t *lock = lock_one(a, 0, 100, true), *none;
    int server = keeper_of(a);
    const struct weft_extent extent = {.length = 1};
    cluster_signal(&cluster, server, SIGSTOP);
    double begin = cluster_now();
    int result = weft_file_lock(b, &extent, 1, true, &none);
    double took = cluster_now() - begin;
    cluster_signal(&cluster, server, SIGCONT);
    assert_int_equal(result, -ETIMEDOUT);
    assert_true(took < DEADLINE_MS * 1.5e-3);
    cluster_wait_up(&cluster, SERVERS);
    /* What was given up does not stand in anyone's way. */
    ok(weft_file_unlock(lock));
    ok(weft_file_unlock(lock_one(a, 0, 100, true)));
    ok(weft_file_close(a));
    ok(weft_file_close(b));
}

/* Usage: test_locks [PATTERN]: only the tests whose name matches. */
int main(int argc, char **argv)
{
    static const struct task tasks[] = {{"records", task_records}, {"hold", task_hold}, {0}};
    workers_main(argc, argv, tasks);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_try),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_argument_errors),
        cmocka_unit_test(test_more_than_credit),
        cmocka_unit_test(test_processes),
        cmocka_unit_test(test_killed_holder),
        cmocka_unit_test(test_killed_server),
        cmocka_unit_test(test_cut_connection),
        cmocka_unit_test(test_long_wait),
        cmocka_unit_test(test_silent_server),
    };
    return cmocka_run_group_tests_name("locks", tests, setup, teardown);
}
