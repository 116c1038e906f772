/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that is cut off from the metadata server for longer than its lease: the server closes its files
 * for it, and it writes on. When it is back they are open again, so that others see sizes, and appends have
 * their places; what could not be kept is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client_pair.h"

/* More files than one request names. */
enum { LEASE_MS = 3000, PATIENCE_S = 60, PIECE = 5000, MANY = 70 };

static uint8_t bytes[4 * PIECE];

static uint64_t reopens(void)
{
    return server_counter(other, "reopens");
}

static uint64_t size_for(weft_session_t *by, const char *path)
{
    struct weft_attr attr;
    ok(weft_stat(by, path, 0, &attr));
    return attr.size;
}

/* Of the one session, which nobody calls meanwhile; the other is driven, and connects anew. */
static void lose_lease(void)
{
    const double until = cluster_now() + 1.6 * LEASE_MS / 1000;
    uint64_t ended = 0;
    assert_true(cluster_cut(&cluster, CLUSTER_METADATA) > 0);
    while (cluster_now() < until) {
        struct weft_attr attr;
        ok(weft_stat(other, "/", 0, &attr));
        ok(weft_drive(other, 50, &ended));
    }
}

/* The session is used, and until then it is back. */
static void wait_for_reopens(weft_session_t *of, uint64_t count)
{
    const double until = cluster_now() + PATIENCE_S;
    uint64_t ended = 0;
    while (reopens() < count) {
        assert_true(cluster_now() < until);
        ok(weft_drive(of, 20, &ended));
    }
}

static weft_file_t *open_small(weft_session_t *by, const char *path, int flags)
{
    weft_file_t *file;
    ok(weft_file_open(by, path, flags, 0644, NULL, &file));
    return file;
}

static void test_sizes(void **state)
{
    (void)state;
    const uint64_t before = reopens();
    weft_file_t *file = open_file(session, "/sizes", O_RDWR | O_CREAT);
    assert_int_equal(weft_file_write(file, bytes, PIECE, 0), PIECE);
    lose_lease();
    assert_int_equal(size_for(other, "/sizes"), PIECE);
    assert_int_equal(weft_file_write(file, bytes, PIECE, PIECE), PIECE); /* without a word to it */
    wait_for_reopens(session, before + 1);
    assert_int_equal(size_for(other, "/sizes"), 2 * PIECE);
    assert_int_equal(weft_file_write(file, bytes, PIECE, 2 * PIECE), PIECE);
    assert_int_equal(size_for(other, "/sizes"), 3 * PIECE);
    ok(weft_file_close(file));
    assert_int_equal(size_for(session, "/sizes"), 3 * PIECE);
    assert_int_equal(size_for(other, "/sizes"), 3 * PIECE);
    assert_int_equal(reopens(), before + 1);
    ok(weft_unlink(session, "/sizes"));
}

/* The handle is given back before the session has noticed anything. */
static void test_closed_at_once(void **state)
{
    (void)state;
    weft_file_t *file = open_file(session, "/closed", O_RDWR | O_CREAT);
    assert_int_equal(weft_file_write(file, bytes, PIECE, 0), PIECE);
    lose_lease();
    assert_int_equal(size_for(other, "/closed"), PIECE);
    assert_int_equal(weft_file_write(file, bytes, PIECE, PIECE), PIECE);
    ok(weft_file_close(file));
    assert_int_equal(size_for(session, "/closed"), 2 * PIECE);
    assert_int_equal(size_for(other, "/closed"), 2 * PIECE);
    /* It is closed: some moment later, others need not ask for its size any more. */
    const double until = cluster_now() + PATIENCE_S;
    uint64_t before;
    do {
        assert_true(cluster_now() < until);
        before = counter(other, "storage_requests");
        assert_int_equal(size_for(other, "/closed"), 2 * PIECE);
    } while (counter(other, "storage_requests") != before);
    ok(weft_unlink(session, "/closed"));
}

static void test_appends(void **state)
{
    (void)state;
    const struct iovec iov = {bytes, 100}, more = {bytes, PIECE};
    const uint64_t before = reopens();
    uint64_t offset;
    /* Who has a small file open, and writes nothing for long, asks the metadata server where its end is. */
    weft_file_t *mine = open_small(session, "/log", O_RDWR | O_CREAT);
    weft_file_t *theirs = open_small(other, "/log", O_RDWR);
    ok(weft_file_append(mine, &more, 1, &offset));
    assert_int_equal(offset, 0);
    lose_lease();
    ok(weft_file_append(mine, &iov, 1, &offset));
    assert_int_equal(offset, PIECE);
    wait_for_reopens(session, before + 1);
    ok(weft_file_append(mine, &iov, 1, &offset));
    assert_int_equal(offset, PIECE + 100);
    ok(weft_file_append(theirs, &iov, 1, &offset));
    assert_int_equal(offset, PIECE + 200);
    ok(weft_file_append(mine, &iov, 1, &offset));
    assert_int_equal(offset, PIECE + 300);
    ok(weft_file_close(mine));
    ok(weft_file_close(theirs));
    assert_int_equal(size_for(other, "/log"), PIECE + 400);
    ok(weft_unlink(session, "/log"));
}

static void test_many_files(void **state)
{
    (void)state;
    static weft_file_t *files[MANY];
    const uint64_t before = reopens();
    char path[32];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "/many-%u", i);
        files[i] = open_file(session, path, O_RDWR | O_CREAT);
        assert_int_equal(weft_file_write(files[i], bytes, 10, 0), 10);
    }
    lose_lease();
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(weft_file_write(files[i], bytes, 10 + i, 10), 10 + i);
    for (unsigned i = 0; i < MANY / 2; i++) /* some of them before they are open again */
        ok(weft_file_close(files[i]));
    wait_for_reopens(session, before + MANY);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "/many-%u", i);
        assert_int_equal(size_for(other, path), 20 + i);
        if (i >= MANY / 2)
            ok(weft_file_close(files[i]));
        ok(weft_unlink(session, path));
    }
    assert_int_equal(reopens(), before + MANY);
}

/* A file that only this client has, and that has no name: nobody can give it back. */
static void test_a_file_without_a_name_is_lost(void **state)
{
    (void)state;
    weft_file_t *file = open_file(session, "/lost", O_RDWR | O_CREAT);
    assert_int_equal(weft_file_write(file, bytes, PIECE, 0), PIECE);
    ok(weft_unlink(session, "/lost"));
    lose_lease();
    const double until = cluster_now() + PATIENCE_S;
    uint64_t ended = 0;
    while (weft_file_write(file, bytes, PIECE, 0) == PIECE) {
        assert_true(cluster_now() < until);
        ok(weft_drive(session, 20, &ended));
    }
    assert_int_equal(weft_file_write(file, bytes, PIECE, 0), -ESTALE);
    assert_int_equal(weft_file_read(file, bytes, PIECE, 0), -ESTALE);
    assert_int_equal(weft_file_sync(file), -ESTALE);
    assert_non_null(strstr(weft_error(), "/lost"));
    assert_int_equal(weft_file_close(file), -ESTALE);
}

static void test_a_short_cut_changes_nothing(void **state)
{
    (void)state;
    const uint64_t before = reopens();
    weft_file_t *file = open_file(session, "/short", O_RDWR | O_CREAT);
    assert_int_equal(weft_file_write(file, bytes, PIECE, 0), PIECE);
    assert_true(cluster_cut(&cluster, CLUSTER_METADATA) > 0);
    const uint64_t asked = counter(session, "metadata_requests");
    assert_int_equal(size_for(session, "/short"), PIECE);
    assert_int_equal(counter(session, "metadata_requests"), asked + 2);
    assert_int_equal(reopens(), before);
    ok(weft_file_close(file));
    ok(weft_unlink(session, "/short"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_closed_at_once),
        cmocka_unit_test(test_appends),
        cmocka_unit_test(test_many_files),
        cmocka_unit_test(test_a_file_without_a_name_is_lost),
        cmocka_unit_test(test_a_short_cut_changes_nothing),
    };
    return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
