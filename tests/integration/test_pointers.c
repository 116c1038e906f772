/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared pointers with real servers. What they must survive: a metadata server that is killed, and
 * connections that are cut, while many processes add to one.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client_pair.h"
#include "workers.h"

enum { WORKERS = 4 };

static void task_pointer(weft_file_t *file, unsigned count)
{
    for (unsigned n = 0; n < count; n++) {
        int64_t before;
        must(weft_file_pointer_add(file, 1, &before));
        printf("%lld\n", (long long)before);
    }
}

static void test_pointer(void **state)
{
    (void)state;
    uint8_t blob[4096];
    int64_t before = -1;
    weft_file_t *a = open_file(session, "/pointer", O_RDWR | O_CREAT), *b;
    ssize_t length = weft_file_export(a, blob, sizeof blob);
    ok(length);
    ok(weft_file_import(other, blob, (size_t)length, &b));
    ok(weft_file_pointer_add(a, 5, &before));
    assert_int_equal(before, 0);
    ok(weft_file_pointer_add(b, 7, &before));
    assert_int_equal(before, 5);
    assert_int_equal(weft_file_pointer_add(b, -13, NULL), -EINVAL);
    assert_int_equal(weft_file_pointer_add(b, INT64_MAX - 11, NULL), -EOVERFLOW);
    assert_int_equal(weft_file_pointer_set(b, -1), -EINVAL);
    ok(weft_file_pointer_add(a, -12, &before));
    assert_int_equal(before, 12);
    ok(weft_file_pointer_set(a, INT64_MAX));
    ok(weft_file_pointer_add(b, 0, &before));
    assert_true(before == INT64_MAX);
    /* Another opening has another pointer. */
    weft_file_t *c = open_file(session, "/pointer", O_RDONLY);
    ok(weft_file_pointer_add(c, 1, &before));
    assert_int_equal(before, 0);
    ok(weft_file_close(c));
    ok(weft_file_close(b));
    ok(weft_file_close(a));
}

/* Notes what the workers say: every number once. */
static void collect(struct worker *workers, unsigned each, uint8_t *seen, uint64_t total)
{
    for (unsigned i = 0; i < WORKERS; i++) {
        char line[64];
        unsigned lines = 0;
        for (; fgets(line, sizeof line, workers[i].out); lines++) {
            uint64_t value = strtoull(line, NULL, 10);
            assert_true(value < total);
            assert_int_equal(seen[value], 0);
            seen[value] = 1;
        }
        assert_int_equal(lines, each);
        worker_end(&workers[i]);
    }
}

static void test_pointer_restarts(void **state)
{
    (void)state;
    enum { EACH = 400, TOTAL = WORKERS * EACH };
    static uint8_t seen[TOTAL];
    static const int flags[] = {O_RDWR | O_CREAT, O_RDONLY};
    struct worker workers[WORKERS];
    for (unsigned round = 0; round < 2; round++) {
        int64_t before;
        weft_file_t *file = open_file(session, "/restarts", flags[round]);
        memset(seen, 0, sizeof seen);
        workers_export(file, cluster.dir);
        for (unsigned i = 0; i < WORKERS; i++)
            workers[i] = worker_start("pointer", EACH);
        for (unsigned i = 0; i < 2; i++) {
            cluster_pause(150);
            cluster_kill(&cluster, CLUSTER_METADATA);
            cluster_start(&cluster, CLUSTER_METADATA);
        }
        collect(workers, EACH, seen, TOTAL);
        ok(weft_file_pointer_add(file, 0, &before));
        assert_int_equal(before, TOTAL);
        ok(weft_file_close(file));
        file = open_file(session, "/restarts", flags[round]);
        ok(weft_file_pointer_add(file, 0, &before));
        assert_int_equal(before, 0);
        ok(weft_file_close(file));
    }
    cluster_wait_up(&cluster, SERVERS);
}

/* A pointer that is used for the first time after a restart of the metadata server. */
static void test_pointer_first_used_late(void **state)
{
    (void)state;
    int64_t before;
    weft_file_t *reader = open_file(session, "/late", O_RDONLY | O_CREAT);
    weft_file_t *writer = open_file(session, "/late", O_RDWR);
    cluster_kill(&cluster, CLUSTER_METADATA);
    cluster_start(&cluster, CLUSTER_METADATA);
    ok(weft_file_pointer_add(reader, 3, NULL));
    ok(weft_file_pointer_add(writer, 4, NULL));
    cluster_kill(&cluster, CLUSTER_METADATA);
    cluster_start(&cluster, CLUSTER_METADATA);
    ok(weft_file_pointer_add(reader, 1, &before));
    assert_int_equal(before, 3);
    ok(weft_file_pointer_add(writer, 1, &before));
    assert_int_equal(before, 4);
    ok(weft_file_close(reader));
    ok(weft_file_close(writer));
    cluster_wait_up(&cluster, SERVERS);
}

enum { CUTS = 12 };

/* Rarely enough that a busy machine gets to make a connection between two cuts. */
static void *cut_often(void *arg)
{
    atomic_bool *end = arg;
    for (unsigned cut = 0; cut < CUTS; cut++) {
        cluster_pause(200 + 7 * cut);
        cluster_cut(&cluster, CLUSTER_METADATA);
    }
    atomic_store(end, true);
    return NULL;
}

static void test_pointer_cut(void **state)
{
    (void)state;
    atomic_bool end = false;
    pthread_t thread;
    weft_file_t *file = open_file(session, "/cut pointer", O_RDWR | O_CREAT);
    uint64_t resent = counter(session, "requests_resent");
    ok(weft_file_pointer_add(file, 0, NULL));
    assert_int_equal(pthread_create(&thread, NULL, cut_often, &end), 0);
    for (int64_t n = 0; !atomic_load(&end); n++) {
        int64_t before;
        ok(weft_file_pointer_add(file, 1, &before));
        assert_int_equal(before, n);
    }
    pthread_join(thread, NULL);
    assert_true(counter(session, "requests_resent") >= resent + CUTS / 2);
    ok(weft_file_close(file));
}

/* Usage: test_pointers [PATTERN]: only the tests whose name matches. */
int main(int argc, char **argv)
{
    static const struct task tasks[] = {{"pointer", task_pointer}, {0}};
    workers_main(argc, argv, tasks);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointer),
        cmocka_unit_test(test_pointer_restarts),
        cmocka_unit_test(test_pointer_first_used_late),
        cmocka_unit_test(test_pointer_cut),
    };
    return cmocka_run_group_tests_name("pointers", tests, pair_setup, pair_teardown);
}
