/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that poll with weft_test() beside threads that wait, in two processes. What must
 * survive: no thread wakes another for nothing or keeps it from its transfers, so each of them ends
 * at once, not after seconds or at its deadline.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cluster.h"
#include "weft/weft.h"

/* More bytes than are sent without asking, in chunks that do not cut them. */
enum { SERVERS = 4, PROCESSES = 2, THREADS = 4, ROUNDS = 150, WRITES = 2, BYTES = 200000 };

/* A round takes some milliseconds; on busy cores some tens. A stalled one lasts until a deadline
 * of 10 s. */
#define STALL_S 5.0

static struct cluster cluster;

struct worker {
    pthread_t thread;
    unsigned number;
    weft_file_t *file;
    double longest;
    uint64_t polls;
    char problem[256];
};

static int setup(void **state)
{
    (void)state;
    cluster_open(&cluster, &(struct cluster_options){.servers = SERVERS, .chunk_size = 1 << 20});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    cluster_close(&cluster);
    return 0;
}

/* Two writes under way at once, ended by polling. */
static ssize_t write_polling(weft_file_t *file, uint8_t *bytes, uint64_t offset)
{
    weft_op_t *ops[WRITES];
    ssize_t result = BYTES;
    int started = 0;
    for (int error = 0; started < WRITES && !error; started += !error) {
        struct iovec iov = {bytes, BYTES};
        struct weft_extent extent = {offset + (unsigned)started * BYTES, BYTES};
        error = weft_file_write_list_async(file, &iov, 1, &extent, 1, &ops[started]);
        if (error)
            result = error;
    }
    for (int i = 0; i < started; i++)
        while (!weft_test(ops[i]))
            sched_yield();
    for (int i = 0; i < started; i++) {
        ssize_t written = weft_wait(ops[i]);
        result = written == BYTES ? result : written;
    }
    return result;
}

/* While some threads poll, others wait, each for transfers of its own. */
static void *work(void *arg)
{
    struct worker *worker = arg;
    uint8_t *bytes = malloc(BYTES), *back = malloc(BYTES);
    memset(bytes, (int)worker->number + 1, BYTES);
    for (unsigned round = 0; round < ROUNDS && !worker->problem[0]; round++) {
        uint64_t offset = round * UINT64_C(2) * BYTES;
        double start = cluster_now();
        ssize_t done = write_polling(worker->file, bytes, offset);
        if (done == BYTES)
            done = weft_file_read(worker->file, back, BYTES, offset + BYTES / 2);
        double took = cluster_now() - start;
        if (took > worker->longest)
            worker->longest = took;
        if (done != BYTES)
            snprintf(worker->problem, sizeof worker->problem, "round %u: %zd: %.150s", round, done,
                     weft_error());
        else if (memcmp(bytes, back, BYTES) != 0)
            snprintf(worker->problem, sizeof worker->problem, "round %u: other bytes", round);
    }
    free(bytes);
    free(back);
    return NULL;
}

static int start_workers(weft_session_t *session, unsigned process, struct worker *workers)
{
    for (unsigned i = 0; i < THREADS; i++) {
        char path[32];
        snprintf(path, sizeof path, "/polled.%u.%u", process, i);
        workers[i] = (struct worker){.number = i};
        int error = weft_file_open(session, path, O_RDWR | O_CREAT, 0644, NULL, &workers[i].file);
        if (error)
            return error;
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    return 0;
}

/* What one of the processes does; its exit status. */
static int run_process(unsigned process)
{
    struct worker workers[THREADS];
    weft_session_t *session;
    int failures = 0;
    if (weft_connect(NULL, &session) || start_workers(session, process, workers)) {
        fprintf(stderr, "process %u: %s\n", process, weft_error());
        return 2;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        weft_file_close(workers[i].file);
        if (workers[i].problem[0] || workers[i].longest > STALL_S) {
            fprintf(stderr, "process %u, thread %u: the longest round took %.3f s; %s\n", process, i,
                    workers[i].longest, workers[i].problem);
            failures++;
        }
    }
    weft_disconnect(session);
    return failures > 0;
}

/* ---- while a server is silent ------------------------------------------------------ */

static void pick_wakeups(void *arg, const char *server, const char *name, uint64_t value)
{
    uint64_t *wakeups = arg;
    (void)server;
    if (strcmp(name, "wakeups") == 0)
        *wakeups = value;
}

static uint64_t wakeups(weft_session_t *session)
{
    uint64_t count = UINT64_MAX;
    assert_int_equal(weft_counters(session, pick_wakeups, &count), 0);
    assert_true(count != UINT64_MAX);
    return count;
}

static void *read_blocking(void *arg)
{
    struct worker *worker = arg;
    uint8_t *back = malloc(BYTES);
    if (weft_file_read(worker->file, back, BYTES, 0) != BYTES)
        snprintf(worker->problem, sizeof worker->problem, "%.150s", weft_error());
    free(back);
    return NULL;
}

static void *read_polling(void *arg)
{
    struct worker *worker = arg;
    uint8_t *back = malloc(BYTES);
    struct iovec iov = {back, BYTES};
    struct weft_extent extent = {0, BYTES};
    weft_op_t *op;
    int error = weft_file_read_list_async(worker->file, &iov, 1, &extent, 1, &op);
    while (!error && !weft_test(op))
        worker->polls++;
    if (error || weft_wait(op) != BYTES)
        snprintf(worker->problem, sizeof worker->problem, "%.150s", weft_error());
    free(back);
    return NULL;
}

/* A thread sleeps until a server answers. Those that poll meanwhile are no reason to wake it. */
static void test_polling_wakes_nobody(void **state)
{
    struct worker workers[THREADS] = {0};
    weft_session_t *session;
    weft_file_t *file;
    uint8_t *bytes = calloc(1, BYTES);
    uint64_t polls = 0;
    (void)state;
    assert_int_equal(weft_connect(NULL, &session), 0);
    assert_int_equal(weft_file_open(session, "/silent", O_RDWR | O_CREAT, 0644, NULL, &file), 0);
    assert_int_equal(weft_file_write(file, bytes, BYTES, 0), BYTES);
    for (int i = 0; i < SERVERS; i++)
        cluster_signal(&cluster, i, SIGSTOP);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i].file = file;
        pthread_create(&workers[i].thread, NULL, i == 0 ? read_blocking : read_polling, &workers[i]);
        if (i == 0)
            usleep(100000); /* it shall be the one that sleeps */
    }
    usleep(50000);
    uint64_t before = wakeups(session);
    usleep(500000);
    uint64_t after = wakeups(session);
    for (int i = 0; i < SERVERS; i++)
        cluster_signal(&cluster, i, SIGCONT);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_string_equal(workers[i].problem, "");
        polls += workers[i].polls;
    }
    assert_true(polls > 100);
    assert_in_range(after - before, 0, 50);
    assert_int_equal(weft_file_close(file), 0);
    weft_disconnect(session);
    free(bytes);
}

/* ---- together ---------------------------------------------------------------------- */

static void test_polling_threads_stall_nobody(void **state)
{
    pid_t children[PROCESSES];
    int status, failures = 0;
    (void)state;
    for (unsigned i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0)
            _exit(run_process(i));
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        failures += status != 0;
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_polling_wakes_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_polling_threads_stall_nobody, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
