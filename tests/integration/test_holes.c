/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holes with real servers: what is punched reads as zeros and gives its space back, and what is searched
 * for is where it is told to be; against a plain array, over layouts that fit nothing. WEFT_TEST_SEED repeats
 * a run, WEFT_TEST_HOLES says how many changes each course has (default 150; 15 under valgrind).
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client_pair.h"
#include "seed.h"

enum { BLOCK = 4096, BYTES = 3 << 20, TURNS = 150, TURNS_SLOW = 15 };

/* The store that gives space back by blocks of 4 KiB, and says which these are. */
static bool is_exact(void)
{
    const char *store = getenv("WEFT_TEST_STORE");
    return !store || strcmp(store, "files") != 0;
}

static uint64_t seek_to(weft_file_t *file, uint64_t offset, int what)
{
    uint64_t place;
    ok(weft_file_seek(file, offset, what, &place));
    return place;
}

static void no_data(weft_file_t *file, uint64_t offset)
{
    uint64_t place = 77;
    assert_int_equal(weft_file_seek(file, offset, WEFT_SEEK_DATA, &place), -ENXIO);
    assert_int_equal(place, 77);
}

static weft_file_t *open_with(weft_session_t *of, const char *path, uint64_t chunk_size, uint32_t stripes)
{
    const struct weft_layout layout = {.chunk_size = chunk_size, .stripe_count = stripes};
    weft_file_t *file;
    ok(weft_file_open(of, path, O_RDWR | O_CREAT | O_TRUNC, 0644, &layout, &file));
    return file;
}

/* ---- a model ----------------------------------------------------------------------- */

/* What the file is, and which bytes were written and not punched since. */
static struct {
    uint64_t size, chunk_size;
    uint8_t bytes[BYTES];
    uint8_t written[BYTES];
    uint32_t before[BYTES + 1]; /* written bytes in front of an offset */
} model;

static void model_count(void)
{
    for (uint64_t i = 0; i < BYTES; i++)
        model.before[i + 1] = model.before[i] + model.written[i];
}

/* A byte that is data, away from its chunk's ends, has one that was written in its block. */
static void check_data(uint64_t begin, uint64_t end)
{
    for (uint64_t at = begin; at < end && is_exact(); at++) {
        const uint64_t in_chunk = at % model.chunk_size;
        if (in_chunk < BLOCK || in_chunk + BLOCK > model.chunk_size)
            continue;
        const uint64_t from = at < BLOCK ? 0 : at - BLOCK + 1, to = at + BLOCK < BYTES ? at + BLOCK : BYTES;
        if (model.before[to] == model.before[from])
            fail_msg("%lu of %lu to %lu is no data: chunks of %lu", at, begin, end, model.chunk_size);
    }
}

static void check_hole(uint64_t begin, uint64_t end)
{
    for (; begin < end; begin++)
        if (model.bytes[begin] != 0)
            fail_msg("what is at %lu is no data", begin);
}

/* From data to hole to data, by whoever has the file open. */
static void check_map(weft_file_t *file)
{
    uint64_t at = 0, place;
    model_count();
    while (at < model.size) {
        const int error = weft_file_seek(file, at, WEFT_SEEK_DATA, &place);
        if (error == -ENXIO)
            break;
        ok(error);
        assert_true(place >= at && place < model.size);
        check_hole(at, place);
        at = place;
        place = seek_to(file, at, WEFT_SEEK_HOLE);
        assert_true(place > at && place <= model.size);
        check_data(at, place);
        at = place;
    }
    check_hole(at, model.size);
    assert_int_equal(weft_file_seek(file, model.size, WEFT_SEEK_HOLE, &place), -ENXIO);
    no_data(file, model.size);
}

static void check_bytes(weft_file_t *file)
{
    static uint8_t back[BYTES + 1];
    ssize_t got = weft_file_read(file, back, sizeof back, 0);
    ok(got);
    assert_int_equal(got, model.size);
    assert_memory_equal(back, model.bytes, model.size);
}

static void do_write(weft_file_t *file, uint64_t offset, uint64_t length)
{
    memset(model.bytes + offset, below(8) ? (int)(1 + below(255)) : 0, length);
    memset(model.written + offset, 1, length);
    assert_int_equal(weft_file_write(file, model.bytes + offset, length, offset), length);
    if (model.size < offset + length)
        model.size = offset + length;
}

static void do_punch(weft_file_t *file, uint64_t offset, uint64_t length)
{
    memset(model.bytes + offset, 0, length);
    memset(model.written + offset, 0, length);
    ok(weft_file_punch(file, offset, length));
}

static void do_truncate(weft_file_t *file, uint64_t size)
{
    memset(model.bytes + size, 0, BYTES - size);
    memset(model.written + size, 0, BYTES - size);
    ok(weft_file_truncate(file, size));
    model.size = size;
}

static void change(weft_file_t *file)
{
    const uint64_t offset = below(BYTES - 1);
    uint64_t length = 1 + below(below(4) ? 20000 : BYTES);
    if (length > BYTES - offset)
        length = BYTES - offset;
    switch (below(8)) {
    case 0:
        do_truncate(file, offset);
        break;
    case 1:
    case 2:
    case 3:
        do_punch(file, offset, length);
        break;
    default:
        do_write(file, offset, length);
    }
}

/* Both clients change the file in turn, and each sees what the other did. */
static void course(uint64_t chunk_size, uint32_t stripes)
{
    const char *valgrind = getenv("WEFT_VALGRIND");
    const unsigned turns = number_wanted("WEFT_TEST_HOLES", valgrind && *valgrind ? TURNS_SLOW : TURNS);
    memset(&model, 0, sizeof model);
    model.chunk_size = chunk_size;
    weft_file_t *file = open_with(session, "/model", chunk_size, stripes), *second;
    ok(weft_file_open(other, "/model", O_RDWR, 0, NULL, &second));
    for (unsigned turn = 0; turn < turns; turn++) {
        change(below(2) ? file : second);
        if (below(4) == 0)
            check_map(below(2) ? file : second);
        if (below(8) == 0)
            check_bytes(below(2) ? file : second);
    }
    check_map(file);
    check_bytes(second);
    do_punch(second, 0, BYTES);
    check_map(file);
    if (is_exact())
        no_data(file, 0);
    check_bytes(file);
    ok(weft_file_close(second));
    ok(weft_file_close(file));
    if (is_exact()) {
        struct weft_attr attr;
        ok(weft_stat(other, "/model", 0, &attr));
        assert_int_equal(attr.bytes, 0);
        assert_int_equal(attr.size, model.size);
    }
    ok(weft_unlink(session, "/model"));
}

static void test_model(void **state)
{
    (void)state;
    static const struct {
        uint64_t chunk_size;
        uint32_t stripes;
    } layouts[] = {{CHUNK, 0}, {4096, 5}, {47008, 6}, {10001, 3}, {470080, 2}, {99991, 1}, {1 << 20, 4}};
    random_state = seed_wanted();
    for (unsigned i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        course(layouts[i].chunk_size, layouts[i].stripes);
}

/* ---- edges ------------------------------------------------------------------------- */

static void test_errors(void **state)
{
    (void)state;
    uint64_t place = 0;
    weft_file_t *file = open_file(session, "/errors", O_RDWR | O_CREAT);
    ok(weft_file_write(file, "some", 4, 0));
    assert_int_equal(weft_file_punch(file, UINT64_MAX, 2), -EFBIG);
    assert_int_equal(weft_file_punch(file, 2, INT64_MAX), -EFBIG);
    ok(weft_file_punch(file, 2, 0));
    ok(weft_file_punch(file, 100, INT64_MAX - 100));
    assert_int_equal(weft_file_seek(file, 0, 3, &place), -EINVAL);
    assert_int_equal(weft_file_seek(file, 0, WEFT_SEEK_DATA, NULL), -EINVAL);
    assert_int_equal(weft_file_seek(file, UINT64_MAX, WEFT_SEEK_HOLE, &place), -ENXIO);
    assert_int_equal(weft_file_seek(file, 4, WEFT_SEEK_HOLE, &place), -ENXIO);
    assert_non_null(strstr(weft_error(), "weft_file_seek: /errors: "));
    assert_int_equal(seek_to(file, 3, WEFT_SEEK_DATA), 3);
    assert_int_equal(seek_to(file, 0, WEFT_SEEK_HOLE), 4);
    ok(weft_file_close(file));
    file = open_file(session, "/errors", O_RDONLY);
    assert_int_equal(weft_file_punch(file, 0, 2), -EBADF);
    assert_int_equal(seek_to(file, 0, WEFT_SEEK_HOLE), 4);
    ok(weft_file_close(file));
    file = open_file(session, "/errors", O_WRONLY);
    assert_int_equal(seek_to(file, 0, WEFT_SEEK_HOLE), 4);
    ok(weft_file_close(file));
    ok(weft_unlink(session, "/errors"));
}

/* One request to each shard that has some of the range, and none to the metadata server. */
static void test_requests(void **state)
{
    (void)state;
    enum { CHUNKS = 1000 };
    static uint8_t bytes[CHUNKS * CHUNK];
    weft_file_t *file = open_file(session, "/requests", O_RDWR | O_CREAT);
    memset(bytes, 9, sizeof bytes);
    ok(weft_file_write(file, bytes, sizeof bytes, 0));
    const uint64_t metadata = counter(session, "metadata_requests");
    uint64_t storage = counter(session, "storage_requests");
    ok(weft_file_punch(file, 5 * CHUNK + 100, CHUNK - 200));
    assert_int_equal(counter(session, "storage_requests"), storage + 1);
    ok(weft_file_punch(file, 0, sizeof bytes));
    assert_in_range(counter(session, "storage_requests"), storage + 2, storage + 1 + SERVERS * SHARDS);
    storage = counter(session, "storage_requests");
    (void)seek_to(file, 0, WEFT_SEEK_HOLE);
    assert_in_range(counter(session, "storage_requests"), storage + 1, storage + SERVERS * SHARDS);
    assert_int_equal(counter(session, "metadata_requests"), metadata);
    ok(weft_file_close(file));
    ok(weft_unlink(session, "/requests"));
}

/* A range that is punched in several rounds, and only as far as the file goes. */
static void test_far(void **state)
{
    (void)state;
    const uint64_t far = UINT64_C(40) << 30;
    uint64_t place = 0;
    weft_file_t *file = open_with(session, "/far", 470080, 0);
    for (unsigned i = 0; i < 3; i++)
        ok(weft_file_write(file, "some", 4, i * far / 2));
    assert_in_range(seek_to(file, BLOCK, WEFT_SEEK_DATA), far / 2 - BLOCK, far / 2);
    ok(weft_file_punch(file, 2, far));
    assert_int_equal(seek_to(file, 0, WEFT_SEEK_DATA), 0);
    assert_int_equal(seek_to(file, far, WEFT_SEEK_DATA), far);
    if (is_exact())
        assert_in_range(seek_to(file, 5000, WEFT_SEEK_DATA), far - BLOCK, far);
    ok(weft_file_size(file, &place));
    assert_int_equal(place, far + 4);
    const uint64_t storage = counter(session, "storage_requests");
    ok(weft_file_punch(file, 1, INT64_MAX - 1));
    assert_in_range(counter(session, "storage_requests"), storage + 4, storage + 4 * SERVERS * SHARDS);
    assert_int_equal(weft_file_read(file, &place, 8, far - 4), 8);
    assert_true(place == 0);
    ok(weft_file_close(file));
    ok(weft_unlink(session, "/far"));
}

/* Small files are all data, and are none any more when they are punched. */
static void test_small(void **state)
{
    (void)state;
    weft_file_t *file, *reader;
    struct weft_attr attr;
    char back[2000];
    memset(back, 7, sizeof back);
    ok(weft_file_open(session, "/small", O_RDWR | O_CREAT, 0644, NULL, &file));
    no_data(file, 0);
    ok(weft_file_write(file, back, sizeof back, 0));
    ok(weft_stat(other, "/small", 0, &attr));
    assert_true(attr.small);
    ok(weft_file_open(other, "/small", O_RDONLY, 0, NULL, &reader));
    assert_int_equal(seek_to(reader, 5, WEFT_SEEK_DATA), 5);
    assert_int_equal(seek_to(reader, 5, WEFT_SEEK_HOLE), sizeof back);
    no_data(reader, sizeof back);
    ok(weft_file_punch(file, 500, 1000));
    assert_int_equal(weft_file_read(reader, back, sizeof back, 0), sizeof back);
    for (unsigned i = 0; i < sizeof back; i++)
        assert_int_equal(back[i], i >= 500 && i < 1500 ? 0 : 7);
    ok(weft_stat(other, "/small", 0, &attr));
    assert_false(attr.small);
    assert_int_equal(attr.size, sizeof back);
    ok(weft_file_punch(file, 0, 1 << 30));
    if (is_exact()) {
        no_data(reader, 0);
        assert_int_equal(seek_to(reader, 0, WEFT_SEEK_HOLE), 0);
    }
    ok(weft_file_close(reader));
    ok(weft_file_close(file));
    ok(weft_stat(other, "/small", 0, &attr));
    assert_int_equal(attr.size, sizeof back);
    ok(weft_unlink(session, "/small"));
    /* One that has spilled without having been told so. */
    ok(weft_file_open(session, "/small", O_RDWR | O_CREAT, 0644, NULL, &file));
    ok(weft_truncate(other, "/small", 10 * CHUNK));
    no_data(file, 5);
    assert_int_equal(seek_to(file, 5, WEFT_SEEK_HOLE), 5);
    ok(weft_file_close(file));
    ok(weft_unlink(session, "/small"));
}

/* It is a change, though the size stays. */
static void test_times(void **state)
{
    (void)state;
    struct weft_attr before, after;
    static uint8_t bytes[3 * CHUNK];
    weft_file_t *file = open_file(session, "/times", O_RDWR | O_CREAT);
    memset(bytes, 1, sizeof bytes);
    ok(weft_file_write(file, bytes, sizeof bytes, 0));
    ok(weft_file_close(file));
    ok(weft_stat(other, "/times", 0, &before));
    cluster_pause(30);
    for (unsigned i = 0; i < 2; i++) { /* the second time there is a hole already */
        file = open_file(session, "/times", O_RDWR);
        ok(weft_file_punch(file, CHUNK, CHUNK));
        ok(weft_stat(other, "/times", 0, &after));
        assert_true(after.mtime_ns > before.mtime_ns);
        ok(weft_file_close(file));
        ok(weft_stat(other, "/times", 0, &after));
        assert_true(after.mtime_ns > before.mtime_ns && after.ctime_ns > before.ctime_ns);
        assert_int_equal(after.size, sizeof bytes);
        if (is_exact())
            assert_int_equal(after.bytes, 2 * CHUNK);
        before = after;
        cluster_pause(30);
    }
    ok(weft_unlink(session, "/times"));
}

/* Bytes that all targets' folders take. */
static uint64_t space_taken(void)
{
    char command[128], line[64] = "";
    snprintf(command, sizeof command, "du -sk %s", cluster.dir);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    assert_non_null(fgets(line, sizeof line, pipe));
    assert_int_equal(pclose(pipe), 0);
    return strtoull(line, NULL, 10) << 10;
}

/* What has many strips is searched in several steps, and punched in as many; and what is given back is
 * written again. */
static void test_large(void **state)
{
    (void)state;
    enum { PIECE = 8 << 20, PIECES = 18, ROUNDS = 3 };
    static uint8_t bytes[PIECE];
    const uint64_t size = (uint64_t)PIECES * PIECE;
    uint64_t taken = 0;
    weft_file_t *file = open_with(session, "/large", 1 << 20, 1);
    memset(bytes, 3, sizeof bytes);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < PIECES; i++)
            assert_int_equal(weft_file_write(file, bytes, PIECE, (uint64_t)i * PIECE), PIECE);
        ok(weft_file_sync(file));
        if (round == 0)
            taken = space_taken();
        assert_int_equal(seek_to(file, 77, WEFT_SEEK_HOLE), size);
        ok(weft_file_punch(file, PIECE, size - 2 * PIECE));
        assert_int_equal(seek_to(file, 77, WEFT_SEEK_HOLE), PIECE);
        assert_int_equal(seek_to(file, PIECE, WEFT_SEEK_DATA), size - PIECE);
        ok(weft_file_sync(file));
    }
    assert_true(space_taken() < taken + size / 2);
    ok(weft_file_close(file));
    ok(weft_unlink(session, "/large"));
}

/* What was answered outlives its server. */
static void test_kills(void **state)
{
    (void)state;
    memset(&model, 0, sizeof model);
    model.chunk_size = 47008;
    random_state = seed_wanted();
    weft_file_t *file = open_with(session, "/killed", 47008, 0);
    for (unsigned turn = 0; turn < 6; turn++) {
        for (unsigned i = 0; i < 20; i++)
            change(file);
        if (turn % 2)
            ok(weft_file_sync(file));
        for (int server = 0; server < SERVERS; server++) {
            cluster_kill(&cluster, server);
            cluster_start(&cluster, server);
        }
        check_map(file);
        check_bytes(file);
    }
    ok(weft_file_close(file));
    ok(weft_unlink(session, "/killed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model), cmocka_unit_test(test_errors), cmocka_unit_test(test_requests),
        cmocka_unit_test(test_far),   cmocka_unit_test(test_small),  cmocka_unit_test(test_times),
        cmocka_unit_test(test_large), cmocka_unit_test(test_kills),
    };
    return cmocka_run_group_tests_name("holes", tests, crowd_setup, crowd_teardown);
}
