/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closing a file costs no request: the handle rides with a later one. What must survive: requests that
 * fail, a metadata server that starts again in between, and clients that ask for nothing more.
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

enum { FILES = 100, TOGETHER = 40, LIST_MAX = 32, PATIENCE_S = 60 };

static uint64_t requests(void)
{
    return counter(session, "metadata_requests");
}

/* Handles that the metadata server has been given back so far. */
static uint64_t closes(void)
{
    return server_counter(other, "closes");
}

static const char *name_of(unsigned i)
{
    static char path[32];
    snprintf(path, sizeof path, "/closes-%u", i);
    return path;
}

static void remove_all(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ok(weft_unlink(session, name_of(i)));
}

/* Making, writing and closing a small file: one metadata request, and one to a storage shard. */
static void test_small_files(void **state)
{
    (void)state;
    uint64_t before = requests(), data = counter(session, "storage_requests"), closed = closes();
    for (unsigned i = 0; i < FILES; i++) {
        weft_file_t *file = open_file(session, name_of(i), O_RDWR | O_CREAT);
        ok(weft_file_write(file, name_of(i), strlen(name_of(i)), 0));
        ok(weft_file_close(file));
    }
    assert_int_equal(requests(), before + FILES);
    assert_int_equal(counter(session, "storage_requests"), data + FILES);
    assert_int_equal(closes(), closed + FILES - 1);

    before = requests();
    for (unsigned i = 0; i < FILES; i++) {
        char text[32] = "";
        weft_file_t *file = open_file(session, name_of(i), O_RDONLY);
        assert_int_equal(weft_file_read(file, text, sizeof text, 0), strlen(name_of(i)));
        assert_string_equal(text, name_of(i));
        ok(weft_file_close(file));
    }
    assert_int_equal(requests(), before + FILES);
    remove_all(FILES);
    assert_int_equal(requests(), before + 2 * FILES);
    assert_int_equal(closes(), closed + 2 * FILES);
}

/* So many wait at most; then a request of their own takes them. */
static void test_a_full_list(void **state)
{
    (void)state;
    weft_file_t *files[TOGETHER];
    struct weft_attr attr;
    for (unsigned i = 0; i < TOGETHER; i++)
        files[i] = open_file(session, name_of(i), O_RDWR | O_CREAT);
    uint64_t before = requests(), closed = closes();
    for (unsigned i = 0; i < TOGETHER; i++)
        ok(weft_file_close(files[i]));
    assert_int_equal(requests(), before + 1);
    assert_int_equal(closes(), closed + LIST_MAX);
    /* The rest goes also with a request that fails. */
    assert_int_equal(weft_stat(session, "/none", 0, &attr), -ENOENT);
    assert_int_equal(requests(), before + 2);
    assert_int_equal(closes(), closed + TOGETHER);
    remove_all(TOGETHER);
}

/* Who shares a file with other processes lets go of it at once, with all that waits. */
static void test_an_exported_file(void **state)
{
    (void)state;
    uint8_t blob[65536];
    weft_file_t *copy, *file = open_file(session, name_of(0), O_RDWR | O_CREAT);
    weft_file_t *alone = open_file(session, name_of(1), O_RDWR | O_CREAT);
    ssize_t length = weft_file_export(file, blob, sizeof blob);
    ok(length);
    ok(weft_file_import(other, blob, (size_t)length, &copy));
    ok(weft_file_write(copy, "text", 4, 0));
    ok(weft_file_close(copy));
    uint64_t before = requests(), closed = closes();
    ok(weft_file_close(alone));
    assert_int_equal(requests(), before);
    ok(weft_file_close(file));
    assert_int_equal(requests(), before + 1);
    assert_int_equal(closes(), closed + 2);
    remove_all(2);
}

static void test_the_end_of_a_session(void **state)
{
    (void)state;
    weft_session_t *third;
    uint64_t closed = closes();
    ok(weft_connect(NULL, &third));
    ok(weft_file_close(open_file(third, name_of(0), O_RDWR | O_CREAT)));
    ok(weft_file_close(open_file(third, name_of(1), O_RDWR | O_CREAT)));
    assert_int_equal(closes(), closed + 1);
    weft_disconnect(third);
    assert_int_equal(closes(), closed + 2);
    remove_all(2);
}

/* Reading takes no metadata request that could take them along; still they go after a while. */
static void test_a_client_that_only_reads(void **state)
{
    (void)state;
    char byte;
    weft_file_t *file = open_file(session, name_of(0), O_RDWR | O_CREAT);
    weft_file_t *reader = open_file(session, name_of(0), O_RDONLY);
    uint64_t before = requests(), closed = closes();
    ok(weft_file_close(file));
    assert_int_equal(requests(), before);
    double end = cluster_now() + PATIENCE_S;
    while (closes() == closed && cluster_now() < end) {
        ok(weft_file_read(reader, &byte, 1, 0));
        usleep(10000);
    }
    assert_int_equal(closes(), closed + 1);
    assert_int_equal(requests(), before + 1);
    ok(weft_file_close(reader));
    remove_all(1);
}

/* The server that comes back knows the file as open for writing, until the close has found its way. */
static void test_a_restart_in_between(void **state)
{
    (void)state;
    struct weft_attr attr;
    weft_file_t *file = open_file(session, name_of(0), O_RDWR | O_CREAT);
    ok(weft_file_write(file, "text", 4, 100000));
    ok(weft_file_close(file));
    cluster_kill(&cluster, CLUSTER_METADATA);
    cluster_start(&cluster, CLUSTER_METADATA);
    cluster_wait_up(&cluster, SERVERS);
    ok(weft_stat(other, name_of(0), 0, &attr));
    assert_int_equal(attr.size, 100004);
    assert_int_equal(closes(), 0);
    ok(weft_stat(session, name_of(0), 0, &attr));
    assert_int_equal(attr.size, 100004);
    assert_int_equal(closes(), 1);
    /* Now the metadata server asks for the size by itself, and then no one else has to. */
    uint64_t asked = 1;
    for (double end = cluster_now() + PATIENCE_S; asked > 0 && cluster_now() < end; usleep(10000)) {
        asked = counter(other, "storage_requests");
        ok(weft_stat(other, name_of(0), 0, &attr));
        asked = counter(other, "storage_requests") - asked;
        assert_int_equal(attr.size, 100004);
    }
    assert_int_equal(asked, 0);
    remove_all(1);
}

static void die(const char *path)
{
    weft_session_t *own;
    weft_file_t *file;
    if (weft_connect(NULL, &own) < 0 ||
        weft_file_open(own, path, O_RDWR | O_CREAT, 0644, NULL, &file) < 0 ||
        weft_file_write(file, "text", 4, 70000) < 0 || weft_file_close(file) < 0)
        _exit(1);
    kill(getpid(), SIGKILL);
}

/* What a dead client has not told, the end of its lease does. */
static void test_a_client_that_dies(void **state)
{
    (void)state;
    struct weft_attr attr;
    pid_t child = cluster_run_again((const char *const[]){"die", name_of(0), NULL});
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    ok(weft_stat(other, name_of(0), 0, &attr));
    assert_int_equal(attr.size, 70004);
    ok(weft_unlink(session, name_of(0)));
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "die") == 0)
        die(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_files),
        cmocka_unit_test(test_a_full_list),
        cmocka_unit_test(test_an_exported_file),
        cmocka_unit_test(test_the_end_of_a_session),
        cmocka_unit_test(test_a_client_that_only_reads),
        cmocka_unit_test(test_a_client_that_dies),
        cmocka_unit_test(test_a_restart_in_between),
    };
    return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
