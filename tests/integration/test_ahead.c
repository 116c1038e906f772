/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead (libclient/file_ahead.c): how few requests reading in small pieces takes, and that nobody
 * ever reads anything old. Readers go through a file in order, or in strides, while others open it, write
 * to it, cut it and close it, one call after the other, drawn from a seed: each read must find what was
 * written before it, and the file's end where it is. WEFT_TEST_SEED repeats a run.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_pair.h"
#include "seed.h"

enum { BYTES = 3 << 20, PIECE = 4096, STEPS = 3000, READERS = 4 };

static uint8_t expected[BYTES], found[BYTES];
static size_t size;

/* One session in the middle, and one of the crowd, do not keep attributes, and so do not read ahead. */
static int setup(void **state)
{
    random_state = seed_wanted();
    crowd_setup(state);
    ok(weft_keep_attributes(session, NULL));
    ok(weft_keep_attributes(clients[0], NULL));
    ok(weft_keep_attributes(clients[1], NULL));
    return 0;
}

static void write_at(weft_file_t *file, size_t offset, size_t length)
{
    for (size_t i = 0; i < length; i++)
        expected[offset + i] = (uint8_t)below(256);
    assert_int_equal(weft_file_write(file, expected + offset, length, offset), length);
    if (offset > size)
        memset(expected + size, 0, offset - size);
    if (offset + length > size)
        size = offset + length;
}

/* A file of so many bytes that nobody has open. */
static void make(const char *path, size_t bytes)
{
    weft_file_t *file = open_file(other, path, O_WRONLY | O_CREAT | O_TRUNC);
    size = 0;
    write_at(file, 0, bytes);
    ok(weft_file_close(file));
    ok(weft_stat(other, path, 0, &(struct weft_attr){0})); /* takes the close along */
}

static void assert_read(weft_file_t *file, size_t offset, size_t length)
{
    const size_t wanted = offset >= size ? 0 : size - offset < length ? size - offset : length;
    memset(found, 0xee, length);
    const ssize_t got = weft_file_read(file, found, length, offset);
    ok(got);
    if ((size_t)got != wanted || (wanted && memcmp(found, expected + offset, wanted) != 0))
        fail_msg("%zd bytes at %zu, of %zu, are not those %zu that were written", got, offset, size, wanted);
}

/* ---- requests ----------------------------------------------------------------------- */

static void test_in_order(void **state)
{
    (void)state;
    make("/file", BYTES - 100);
    /* The first promise of all may come too late: the server notes first that there are any. */
    for (unsigned i = 0; i < 100; i++)
        ok(weft_stat(session, "/", 0, &(struct weft_attr){0}));
    weft_file_t *file = open_file(session, "/file", O_RDONLY);
    const uint64_t before = counter(session, "storage_requests");
    size_t offset = 0;
    for (; offset < BYTES; offset += PIECE)
        assert_read(file, offset, PIECE);
    assert_read(file, size, PIECE);
    const uint64_t requests = counter(session, "storage_requests") - before;
    assert_in_range(requests, 1, BYTES / PIECE / 8);
    assert_true(counter(session, "ahead_hits") > BYTES / PIECE * 9 / 10);
    ok(weft_file_close(file));
}

static void test_in_strides(void **state)
{
    (void)state;
    enum { STRIDE = 40000 };
    weft_file_t *file = open_file(session, "/file", O_RDONLY);
    const uint64_t hits = counter(session, "ahead_hits"), windows = counter(session, "reads_ahead");
    for (size_t offset = 17; offset < size + 3 * STRIDE; offset += STRIDE)
        assert_read(file, offset, PIECE);
    assert_true(counter(session, "ahead_hits") - hits > BYTES / STRIDE / 2);
    assert_in_range(counter(session, "reads_ahead") - windows, 1, 6); /* three beyond the end */
    ok(weft_file_close(file));
}

/* Random places, long pieces, and files that somebody has open for writing. */
static void test_what_is_not_read_ahead(void **state)
{
    (void)state;
    weft_file_t *file = open_file(session, "/file", O_RDONLY);
    const uint64_t before = counter(session, "reads_ahead");
    for (unsigned i = 0; i < 200; i++)
        assert_read(file, below(BYTES), 1 + below(9000));
    for (size_t offset = 0; offset < BYTES; offset += 200000)
        assert_read(file, offset, 200000);
    weft_file_t *writer = open_file(other, "/file", O_RDWR);
    for (size_t offset = 0; offset < BYTES / 8; offset += PIECE)
        assert_read(file, offset, PIECE);
    assert_int_equal(counter(session, "reads_ahead"), before);
    ok(weft_file_close(writer));
    ok(weft_file_close(file));
}

/* ---- nothing old ---------------------------------------------------------------------- */

/* What stands before the reader was written after it was read ahead. The metadata server may take its time
 * to note that the writer is gone. */
static void test_a_writer_comes(void **state)
{
    (void)state;
    weft_session_t *const writers[] = {other, clients[0], session};
    weft_file_t *file = open_file(session, "/file", O_RDONLY);
    const uint64_t before = counter(session, "ahead_hits");
    for (unsigned i = 0; i < 30; i++) {
        usleep(50000);
        for (size_t offset = 0; offset < 60 * PIECE; offset += PIECE)
            assert_read(file, offset, PIECE);
        weft_file_t *writer = open_file(writers[i % 3], "/file", O_WRONLY);
        write_at(writer, 60 * PIECE, PIECE);
        assert_read(file, 60 * PIECE, PIECE);
        ok(weft_file_close(writer));
        ok(weft_stat(writers[i % 3], "/file", 0, &(struct weft_attr){0}));
    }
    assert_true(counter(session, "ahead_hits") > before + 500);
    ok(weft_file_close(file));
}

struct reader {
    weft_file_t *file;
    size_t offset, length, distance;
};

static void step_read(struct reader *reader)
{
    if (!reader->file)
        reader->file = open_file(clients[below(CLIENTS)], "/file", O_RDONLY);
    if (reader->distance == 0 || reader->offset > size || below(60) == 0) {
        reader->offset = below(BYTES / 2);
        reader->length = 1 + below(8000);
        reader->distance = below(3) ? reader->length : reader->length + below(60000);
    }
    for (unsigned i = below(8); i > 0; i--) {
        assert_read(reader->file, reader->offset, reader->length);
        reader->offset += reader->distance;
    }
    if (below(20) == 0) {
        ok(weft_file_close(reader->file));
        reader->file = NULL;
    }
}

static void step_change(void)
{
    weft_session_t *of = clients[below(CLIENTS)];
    if (below(4) == 0) {
        const size_t to = BYTES / 2 + below(BYTES / 2);
        ok(weft_truncate(of, "/file", to));
        if (to > size)
            memset(expected + size, 0, to - size);
        size = to;
        return;
    }
    weft_file_t *file = open_file(of, "/file", O_WRONLY);
    for (unsigned i = below(4); i > 0; i--)
        write_at(file, below(BYTES - 70000), 1 + below(70000));
    ok(weft_file_close(file));
    ok(weft_stat(of, "/file", 0, &(struct weft_attr){0}));
}

static void test_each_reads_what_was_written_before(void **state)
{
    (void)state;
    struct reader readers[READERS] = {0};
    for (unsigned step = 0; step < STEPS; step++) {
        if (below(40) == 0)
            step_change();
        else
            step_read(&readers[below(READERS)]);
    }
    for (unsigned i = 0; i < READERS; i++) {
        if (readers[i].file)
            ok(weft_file_close(readers[i].file));
    }
    assert_true(counter(clients[0], "ahead_hits") + counter(clients[1], "ahead_hits") > STEPS / 20);
    ok(weft_unlink(other, "/file"));
}

/* Who has come to the end, as tail -f, finds what is appended then. */
static void test_the_end_moves(void **state)
{
    (void)state;
    make("/log", 40 * PIECE);
    usleep(50000);
    weft_file_t *file = open_file(session, "/log", O_RDONLY);
    const uint64_t before = counter(session, "reads_ahead");
    size_t offset = 0;
    for (; offset < size; offset += PIECE)
        assert_read(file, offset, PIECE);
    assert_read(file, offset, PIECE);
    assert_true(counter(session, "reads_ahead") > before);
    for (unsigned i = 0; i < 3; i++, offset += PIECE) {
        weft_file_t *writer = open_file(other, "/log", O_WRONLY);
        write_at(writer, size, PIECE);
        ok(weft_file_close(writer));
        assert_read(file, offset, PIECE);
    }
    ok(weft_file_close(file));
    ok(weft_unlink(other, "/log"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_in_strides),
        cmocka_unit_test(test_what_is_not_read_ahead),
        cmocka_unit_test(test_a_writer_comes),
        cmocka_unit_test(test_each_reads_what_was_written_before),
        cmocka_unit_test(test_the_end_moves),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, setup, crowd_teardown);
}
