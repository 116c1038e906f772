/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks and shared pointers with real servers. What they must survive:
 *  - many processes at once that read, change and write back the same bytes;
 *  - a client that is killed, or loses its connection, while it holds a lock or waits for one;
 *  - a storage server that is killed while it keeps locks;
 *  - waits longer than a request's deadline;
 *  - a metadata server that is killed, and connections that are cut, while pointers are added to.
 * Run again as "test_locks worker TASK BLOB COUNT", this program is another process of a job.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "cluster.h"
#include "weft/weft.h"

enum { CHUNK = 65536, SERVERS = 2, SHARDS = 2, DEADLINE_MS = 5000, WORKERS = 4 };

static struct cluster cluster;
static weft_session_t *session, *other, *third;
static const char *own_path; /* not /proc/self/exe, which is valgrind under valgrind */

#define ok(call)                                                    \
    do {                                                            \
        long result_ = (long)(call);                                \
        if (result_ < 0)                                            \
            fail_msg("%s = %ld: %s", #call, result_, weft_error()); \
    } while (0)

static int setup(void **state)
{
    (void)state;
    cluster_open(&cluster, &(struct cluster_options){.servers = SERVERS,
                                                     .shards = SHARDS,
                                                     .chunk_size = CHUNK,
                                                     .deadline_ms = DEADLINE_MS});
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

static void pause_ms(unsigned ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

static weft_file_t *open_file(weft_session_t *of, const char *path, int flags)
{
    weft_file_t *file;
    ok(weft_file_open(of, path, flags, 0644, NULL, &file));
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

/* ---- pointers --------------------------------------------------------------------- */

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

/* Usage: test_locks [PATTERN]: only the tests whose name matches. */
int main(int argc, char **argv)
{
    own_path = argv[0];
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_pointer),
    };
    return cmocka_run_group_tests_name("locks", tests, setup, teardown);
}
