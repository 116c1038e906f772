/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a close tells of a file is what its storage servers say. Several clients open, write, cut and close a
 * few files, drawn from a seed, and some die before they close; then each file's size, time and space are
 * compared as the servers tell them while someone has it open, and as they are once it is closed.
 * WEFT_TEST_SEED repeats a run.
 *
 * The servers keep their bytes in memory: ext4 and others tell the space of what they have not yet written
 * to the disk only about, and another figure later.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_pair.h"
#include "seed.h"

enum { ROUNDS = 250, STEPS_MAX = 12, HANDLES = 4, PATIENCE_S = 60, DEATHS = 4 };

static int setup(void **state)
{
    random_state = seed_wanted();
    return crowd_setup(state);
}

/* One file's history, with the handles that are open. */
struct history {
    char path[32];
    weft_file_t *files[HANDLES];
    unsigned steps;
};

static void write_somewhere(weft_file_t *file)
{
    static const char bytes[3 * CHUNK];
    uint64_t offset = below(4) ? below(10000) : below(20) * UINT64_C(33333);
    size_t length = below(4) ? 1 + below(5000) : 1 + below(sizeof bytes);
    ok(weft_file_write(file, bytes, length, offset));
}

static void step(struct history *history, weft_session_t *of)
{
    static const int flags[] = {O_RDWR, O_WRONLY, O_RDONLY, O_RDWR | O_CREAT, O_RDWR | O_TRUNC};
    weft_file_t **file = &history->files[below(HANDLES)];
    static const struct weft_layout any = {0};
    bool can_write = false;
    history->steps++;
    switch (below(10)) {
    case 0:
        if (below(4) == 0)
            ok(weft_truncate(of, history->path, below(100000)));
        return;
    case 1:
        if (*file && below(8) == 0 && weft_file_truncate(*file, below(100000)) < 0)
            assert_non_null(strstr(weft_error(), "not open for writing"));
        return;
    case 2:
    case 3:
        if (*file)
            ok(weft_file_close(*file));
        *file = NULL;
        return;
    case 4:
        if (!*file)
            ok(weft_file_open(of, history->path, flags[below(5)], 0644, below(2) ? NULL : &any, file));
        return;
    default:
        can_write = *file && weft_file_write(*file, "", 0, 0) == 0;
        if (can_write)
            write_somewhere(*file);
    }
}

/* Once nobody has it open and its size is settled, whoever asks needs no storage server. */
static struct weft_attr settled(const char *path)
{
    struct weft_attr attr;
    double end = cluster_now() + PATIENCE_S;
    for (;;) {
        uint64_t before = counter(other, "storage_requests");
        ok(weft_stat(other, path, 0, &attr));
        if (counter(other, "storage_requests") == before)
            return attr;
        if (cluster_now() > end)
            fail_msg("%s is never settled", path);
        usleep(5000);
    }
}

static void compare(const struct history *history, const struct weft_attr *asked)
{
    struct weft_attr attr = settled(history->path), again;
    if (attr.size != asked->size || attr.bytes != asked->bytes || attr.mtime_ns != asked->mtime_ns)
        fail_msg("%s after %u steps: size %llu, bytes %llu, mtime %lld; the servers said %llu, %llu, %lld",
                 history->path, history->steps, (unsigned long long)attr.size, (unsigned long long)attr.bytes,
                 (long long)attr.mtime_ns, (unsigned long long)asked->size, (unsigned long long)asked->bytes,
                 (long long)asked->mtime_ns);
    /* And so they still say, to whoever has it open for writing. */
    weft_file_t *file = open_file(other, history->path, O_WRONLY);
    ok(weft_stat(session, history->path, 0, &again));
    assert_int_equal(again.size, attr.size);
    assert_int_equal(again.bytes, attr.bytes);
    assert_int_equal(again.mtime_ns, attr.mtime_ns);
    ok(weft_file_close(file));
    ok(weft_unlink(other, history->path));
}

/* The last handle that could write is closed by whoever is last; before, all is looked at. */
static void finish(struct history *history)
{
    struct weft_attr asked;
    ok(weft_stat(other, history->path, 0, &asked));
    for (unsigned i = 0; i < HANDLES; i++) {
        if (history->files[i])
            ok(weft_file_close(history->files[i]));
        history->files[i] = NULL;
    }
    for (unsigned i = 0; i < CLIENTS; i++) { /* takes along what waits */
        struct weft_attr attr;
        ok(weft_stat(clients[i], "/", 0, &attr));
    }
    compare(history, &asked);
}

static void test_histories(void **state)
{
    (void)state;
    uint64_t told = server_counter(other, "closes_told"), settles = server_counter(other, "settled");
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct history history = {0};
        snprintf(history.path, sizeof history.path, "/told-%u", round);
        history.files[0] = open_file(clients[below(CLIENTS)], history.path, O_RDWR | O_CREAT);
        /* Every third has one writer and nothing else, as most files do. */
        unsigned steps = 1 + below(STEPS_MAX);
        for (unsigned i = 0; i < steps && round % 3; i++)
            step(&history, clients[below(CLIENTS)]);
        for (unsigned i = 0; i < steps && round % 3 == 0; i++)
            write_somewhere(history.files[0]);
        finish(&history);
    }
    /* Both ways were gone. */
    assert_true(server_counter(other, "closes_told") > told + ROUNDS / 4);
    assert_true(server_counter(other, "settled") > settles);
}

/* A file that is cut takes less space at once, whether or not someone has it open. */
static void test_space_after_a_cut(void **state)
{
    static const char bytes[3 * CHUNK];
    struct history history = {.path = "/cut"};
    struct weft_attr before, asked;
    (void)state;
    for (unsigned left = 0; left <= 2; left++) {
        weft_file_t *file = open_file(session, history.path, O_RDWR | O_CREAT);
        ok(weft_file_write(file, bytes, sizeof bytes, 0));
        ok(weft_file_close(file));
        ok(weft_stat(session, history.path, 0, &before));
        ok(weft_truncate(session, history.path, (uint64_t)left * 20000));
        ok(weft_stat(session, history.path, 0, &asked));
        assert_true(asked.bytes < before.bytes && (asked.bytes > 0) == (left > 0));
        compare(&history, &asked);
    }
}

static void die(const char *path, unsigned writes)
{
    static const char bytes[CHUNK];
    weft_session_t *own;
    weft_file_t *file;
    if (weft_connect(NULL, &own) < 0 || weft_file_open(own, path, O_RDWR | O_CREAT, 0644, NULL, &file) < 0)
        _exit(1);
    for (unsigned i = 0; i < writes; i++)
        if (weft_file_write(file, bytes, 1 + below(CHUNK), below(5 * CHUNK)) < 0)
            _exit(1);
    if (writes % 2 && weft_file_close(file) < 0) /* it dies before the close has ridden */
        _exit(1);
    kill(getpid(), SIGKILL);
}

static void test_deaths(void **state)
{
    (void)state;
    struct history histories[DEATHS] = {0};
    struct weft_attr asked[DEATHS];
    for (unsigned i = 0; i < DEATHS; i++) {
        int status;
        snprintf(histories[i].path, sizeof histories[i].path, "/dead-%u", i);
        unsigned writes = 2 + i + 2 * below(5);
        char count[16], seed[16];
        snprintf(count, sizeof count, "%u", writes);
        snprintf(seed, sizeof seed, "%u", below(1000000));
        pid_t child = cluster_run_again((const char *const[]){"die", histories[i].path, count, seed, NULL});
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        ok(weft_stat(other, histories[i].path, 0, &asked[i]));
    }
    for (unsigned i = 0; i < DEATHS; i++)
        compare(&histories[i], &asked[i]);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "die") == 0) {
        random_state = (unsigned)strtoul(argv[4], NULL, 10);
        die(argv[2], (unsigned)strtoul(argv[3], NULL, 10));
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_space_after_a_cut),
        cmocka_unit_test(test_histories),
        cmocka_unit_test(test_deaths),
    };
    return cmocka_run_group_tests(tests, setup, crowd_teardown);
}
