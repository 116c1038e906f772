/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading and writing with real servers: every call of weft.h for it, what it returns, and
 * what it costs in requests. Run again as "test_client import FILE", this program is another
 * process of a job.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_pair.h"

/* ---- helpers -------------------------------------------------------------------- */

static uint8_t byte_at(uint64_t offset, unsigned seed)
{
    return (uint8_t)((offset * 2654435761u >> 7) + offset + seed);
}

static uint8_t *pattern(size_t length, uint64_t offset, unsigned seed)
{
    uint8_t *bytes = malloc(length);
    for (size_t i = 0; i < length; i++)
        bytes[i] = byte_at(offset + i, seed);
    return bytes;
}

static uint64_t size_of(weft_session_t *of, const char *path)
{
    struct weft_attr attr;
    ok(weft_stat(of, path, 0, &attr));
    return attr.size;
}

/* ---- reading and writing --------------------------------------------------------------- */

/* Sizes from nothing to several rounds, at offsets that fit nothing, seen by another session. */
static void test_contiguous(void **state)
{
    (void)state;
    static const size_t lengths[] = {0, 1, 4095, CHUNK, CHUNK + 1, 1000003, 20 * 1024 * 1024 + 17};
    static const uint64_t offsets[] = {0, 1, CHUNK - 1, 123457, UINT64_C(1) << 40};
    for (unsigned l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
        for (unsigned o = 0; o < sizeof offsets / sizeof offsets[0]; o++) {
            size_t length = lengths[l];
            uint64_t offset = offsets[o];
            uint8_t *bytes = pattern(length + 1, offset, l), *back = malloc(length + 1);
            weft_file_t *file = open_file(session, "/contiguous", O_RDWR | O_CREAT | O_TRUNC);
            weft_file_t *reader = open_file(other, "/contiguous", O_RDONLY);
            assert_int_equal(weft_file_write(file, bytes, length, offset), length);
            memset(back, '#', length + 1);
            ssize_t result = weft_file_read(reader, back, length + 1, offset);
            ok(result);
            assert_int_equal(result, length);
            assert_memory_equal(bytes, back, length);
            assert_int_equal(size_of(other, "/contiguous"), length ? offset + length : 0);
            weft_file_close(reader);
            weft_file_close(file);
            free(bytes);
            free(back);
        }
    }
    ok(weft_unlink(session, "/contiguous"));
}

/* Large transfers are not copied, small pieces once. */
static void test_copies(void **state)
{
    (void)state;
    enum { BYTES = 8 << 20 };
    struct weft_layout layout = {.chunk_size = 1 << 20};
    weft_file_t *file;
    ok(weft_file_open(session, "/copies", O_RDWR | O_CREAT, 0644, &layout, &file));
    uint8_t *bytes = pattern(BYTES, 0, 3), *back = malloc(BYTES);
    uint64_t copied = counter(session, "bytes_copied");
    assert_int_equal(weft_file_write(file, bytes, BYTES, 0), BYTES);
    assert_int_equal(weft_file_read(file, back, BYTES, 0), BYTES);
    assert_memory_equal(bytes, back, BYTES);
    assert_int_equal(counter(session, "bytes_copied"), copied);
    struct iovec iov[2] = {{bytes, 1000}, {bytes + 5000, 1000}};
    assert_int_equal(weft_file_writev(file, iov, 2, 0), 2000);
    assert_int_equal(counter(session, "bytes_copied"), copied + 2000);
    weft_file_close(file);
    ok(weft_unlink(session, "/copies"));
    free(bytes);
    free(back);
}

static void test_vectors(void **state)
{
    (void)state;
    enum { BYTES = 3 * CHUNK + 777 };
    uint8_t *bytes = pattern(BYTES, 0, 5), *back = calloc(1, BYTES);
    struct iovec iov[60], into[2];
    size_t count = 0, done = 0;
    while (done < BYTES) {
        size_t length = count == 59 ? BYTES - done : (count * 997) % 7000;
        length = length < BYTES - done ? length : BYTES - done;
        iov[count++] = (struct iovec){bytes + done, length};
        done += length;
    }
    weft_file_t *file = open_file(session, "/vectors", O_RDWR | O_CREAT);
    assert_int_equal(weft_file_writev(file, iov, count, 4321), BYTES);
    into[0] = (struct iovec){back, 1000};
    into[1] = (struct iovec){back + 1000, BYTES - 1000};
    assert_int_equal(weft_file_readv(file, into, 2, 4321), BYTES);
    assert_memory_equal(bytes, back, BYTES);
    assert_int_equal(weft_file_writev(file, NULL, 0, 0), 0);
    weft_file_close(file);
    ok(weft_unlink(session, "/vectors"));
    free(bytes);
    free(back);
}

/* Strided lists of the counts that others got wrong, against a copy in memory. */
static void test_lists(void **state)
{
    (void)state;
    static const struct {
        unsigned count, length, stride;
    } cases[] = {{4, 1024, 4096},      {63, 1024, 4096},   {64, 1024, 4096},    {100, 1024, 4096},
                 {16384, 1024, 4096},  {4, 65536, 262144}, {63, 65536, 262144}, {64, 65536, 262144},
                 {100, 65536, 262144}, {1024, 47, 1000},   {20000, 7, 11}};
    for (unsigned c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        unsigned count = cases[c].count, length = cases[c].length, stride = cases[c].stride;
        size_t total = (size_t)count * length;
        struct iovec *iov = calloc(count, sizeof *iov);
        struct weft_extent *extents = calloc(count, sizeof *extents);
        uint8_t *memory = pattern(total + count, 0, c), *back = calloc(1, total + count);
        for (unsigned i = 0; i < count; i++) {
            iov[i] = (struct iovec){memory + (size_t)i * (length + 1), length};
            extents[i] = (struct weft_extent){77 + (uint64_t)i * stride, length};
        }
        weft_file_t *file = open_file(session, "/lists", O_RDWR | O_CREAT | O_TRUNC);
        uint64_t requests = counter(session, "storage_requests"), rounds = counter(session, "rounds");
        ssize_t result = weft_file_write_list(file, iov, count, extents, count);
        ok(result);
        assert_int_equal(result, total);
        requests = counter(session, "storage_requests") - requests;
        rounds = counter(session, "rounds") - rounds;
        assert_true(requests <= rounds * SERVERS * SHARDS);
        if (total <= 4 << 20 && count <= 1024)
            assert_int_equal(rounds, 1);
        assert_int_equal(size_of(other, "/lists"), 77 + (uint64_t)(count - 1) * stride + length);

        for (unsigned i = 0; i < count; i++)
            iov[i].iov_base = back + ((uint8_t *)iov[i].iov_base - memory);
        weft_file_t *reader = open_file(other, "/lists", O_RDONLY);
        assert_int_equal(weft_file_read_list(reader, iov, count, extents, count), total);
        for (unsigned i = 0; i < count; i++)
            assert_memory_equal(iov[i].iov_base, memory + (size_t)i * (length + 1), length);
        /* What lies between the pieces was not touched. */
        struct iovec run = {back, 0};
        uint8_t *between = malloc(stride);
        run = (struct iovec){between, stride};
        assert_int_equal(weft_file_read_list(reader, &run, 1, &(struct weft_extent){77, stride}, 1), stride);
        for (unsigned i = 0; i < stride; i++)
            assert_int_equal(between[i], i < length ? memory[i] : 0);
        free(between);
        weft_file_close(reader);
        weft_file_close(file);
        free(iov);
        free(extents);
        free(memory);
        free(back);
    }
    ok(weft_unlink(session, "/lists"));
}

static void test_argument_errors(void **state)
{
    (void)state;
    char bytes[10] = "";
    struct iovec iov = {bytes, 10};
    struct weft_extent extent = {0, 9};
    weft_file_t *file = open_file(session, "/arguments", O_WRONLY | O_CREAT);
    assert_int_equal(weft_file_write_list(file, &iov, 1, &extent, 1), -EINVAL);
    assert_non_null(strstr(weft_error(), "weft_file_write_list: /arguments: "));
    assert_int_equal(weft_file_read(file, bytes, 10, 0), -EBADF);
    weft_op_t *op = NULL;
    assert_int_equal(weft_file_read_list_async(file, &iov, 1, &extent, 1, &op), -EBADF);
    assert_null(op);
    ok(weft_file_close(file));
    file = open_file(session, "/arguments", O_RDONLY);
    assert_int_equal(weft_file_write(file, bytes, 10, 0), -EBADF);
    assert_int_equal(weft_file_truncate(file, 0), -EBADF);
    ok(weft_file_close(file));
    ok(weft_unlink(session, "/arguments"));
}

/* Holes are zeros; the end of the file ends a read; and only a read that meets something missing at its
 * end asks for the size. */
static void test_holes_and_end(void **state)
{
    (void)state;
    enum { FAR = 50 * CHUNK };
    char back[3000];
    weft_file_t *file = open_file(session, "/holes", O_RDWR | O_CREAT);
    weft_file_t *reader = open_file(other, "/holes", O_RDONLY);
    uint64_t size;
    assert_int_equal(weft_file_read(reader, back, sizeof back, 0), 0);
    ok(weft_file_write(file, "begin", 5, 0));
    ok(weft_file_write(file, "end", 3, FAR));
    memset(back, '#', sizeof back);
    uint64_t asked = counter(other, "sizes_asked");
    assert_int_equal(weft_file_read(reader, back, 5, 0), 5);
    assert_int_equal(counter(other, "sizes_asked"), asked);
    assert_int_equal(weft_file_read(reader, back, 1000, 0), 1000);
    assert_int_equal(counter(other, "sizes_asked"), asked + 1);
    assert_memory_equal(back, "begin", 5);
    for (unsigned i = 5; i < 1000; i++)
        assert_int_equal(back[i], 0);
    assert_int_equal(weft_file_read(reader, back, 1000, FAR - 500), 503);
    assert_memory_equal(back + 500, "end", 3);
    assert_int_equal(back[499], 0);
    assert_int_equal(weft_file_read(reader, back, 10, FAR + 3), 0);
    assert_int_equal(weft_file_read(reader, back, 10, FAR * 10), 0);

    /* The hole between two pieces that are there needs no question. */
    struct iovec iov = {back, 13};
    struct weft_extent extents[3] = {{0, 5}, {5 * CHUNK, 5}, {FAR, 3}};
    asked = counter(other, "sizes_asked");
    assert_int_equal(weft_file_read_list(reader, &iov, 1, extents, 3), 13);
    assert_int_equal(counter(other, "sizes_asked"), asked);
    assert_memory_equal(back, "begin\0\0\0\0\0end", 13);
    /* Counting stops at the first byte behind the end, wherever it stands in the list. */
    struct weft_extent backward[3] = {{FAR, 5}, {0, 5}, {5, 3}};
    assert_int_equal(weft_file_read_list(reader, &iov, 1, backward, 3), 3);

    ok(weft_file_size(reader, &size));
    assert_int_equal(size, FAR + 3);
    weft_file_close(reader);
    weft_file_close(file);
    assert_int_equal(size_of(other, "/holes"), FAR + 3);
    ok(weft_unlink(session, "/holes"));
}

static void test_sizes(void **state)
{
    (void)state;
    uint64_t size;
    char back[100];
    struct weft_attr attr;
    uint8_t *bytes = pattern(10 * CHUNK, 0, 9);
    weft_file_t *file = open_file(session, "/sizes", O_RDWR | O_CREAT);
    weft_file_t *reader = open_file(other, "/sizes", O_RDONLY);
    ok(weft_file_write(file, bytes, 10 * CHUNK, 0));
    uint64_t requests = counter(other, "metadata_requests");
    ok(weft_file_size(reader, &size));
    assert_int_equal(size, 10 * CHUNK);
    assert_int_equal(counter(other, "metadata_requests"), requests);
    ok(weft_file_truncate(file, 3 * CHUNK + 5));
    ok(weft_file_size(reader, &size));
    assert_int_equal(size, 3 * CHUNK + 5);
    assert_int_equal(size_of(other, "/sizes"), 3 * CHUNK + 5);
    assert_int_equal(weft_file_read(reader, back, 100, 3 * CHUNK), 5);
    assert_memory_equal(back, bytes + 3 * CHUNK, 5);
    /* What was cut off does not come back. */
    ok(weft_truncate(other, "/sizes", 8 * CHUNK));
    assert_int_equal(weft_file_read(reader, back, 100, 3 * CHUNK), 100);
    assert_int_equal(back[5], 0);
    assert_int_equal(back[99], 0);
    ok(weft_file_allocate(file, 2 * CHUNK, 7 * CHUNK));
    ok(weft_file_size(reader, &size));
    assert_int_equal(size, 9 * CHUNK);
    ok(weft_file_allocate(file, 0, 10));
    ok(weft_file_size(reader, &size));
    assert_int_equal(size, 9 * CHUNK);
    ok(weft_file_stat(reader, &attr));
    assert_int_equal(attr.size, 9 * CHUNK);
    assert_int_equal(weft_file_truncate(file, UINT64_MAX), -EFBIG);
    assert_int_equal(weft_file_allocate(file, UINT64_MAX, 2), -EFBIG);
    weft_file_close(reader);
    weft_file_close(file);
    file = open_file(session, "/sizes", O_RDWR | O_TRUNC);
    ok(weft_file_size(file, &size));
    assert_int_equal(size, 0);
    weft_file_close(file);
    assert_int_equal(size_of(session, "/sizes"), 0);
    ok(weft_unlink(session, "/sizes"));
    free(bytes);
}

/* Counts beyond 32 bits, cheap because nothing but a hole is read, again and again into the same memory. */
static void test_huge_counts(void **state)
{
    (void)state;
    enum { PIECES = 300, PIECE = 16 << 20 };
    const uint64_t total = (uint64_t)PIECES * PIECE;
    struct iovec iov[PIECES];
    char *memory = malloc(PIECE);
    memset(memory, '#', PIECE);
    for (unsigned i = 0; i < PIECES; i++)
        iov[i] = (struct iovec){memory, PIECE};
    weft_file_t *file = open_file(session, "/huge", O_RDWR | O_CREAT);
    ok(weft_file_truncate(file, total + 1000));
    assert_true(weft_file_readv(file, iov, PIECES, 0) == (ssize_t)total);
    assert_int_equal(memory[0], 0);
    assert_int_equal(memory[PIECE - 1], 0);
    assert_true(weft_file_readv(file, iov, PIECES, 5000) == (ssize_t)(total - 4000));
    /* So are offsets; the far end of a file can be written and is its size. */
    const uint64_t far = (uint64_t)INT64_MAX - 100;
    struct weft_layout layout = {.chunk_size = WEFT_CHUNK_BYTES_MAX};
    ok(weft_file_close(file));
    ok(weft_unlink(session, "/huge"));
    ok(weft_file_open(session, "/huge", O_RDWR | O_CREAT, 0644, &layout, &file));
    ssize_t result = weft_file_write(file, "end", 3, far);
    if (result == 3) { /* a store may have a lower limit of its own */
        assert_int_equal(size_of(other, "/huge"), far + 3);
    } else {
        assert_true(result == -EFBIG || result == -EINVAL || result == -ENOSPC);
        assert_int_equal(size_of(other, "/huge"), 0);
    }
    ok(weft_file_close(file));
    ok(weft_unlink(session, "/huge"));
    free(memory);
}

/* No metadata request by reading, writing, syncing and asking for the size. */
static void test_no_metadata_during_io(void **state)
{
    (void)state;
    char bytes[1000] = "x";
    uint64_t size, requests = counter(session, "metadata_requests");
    weft_file_t *file = open_file(session, "/io", O_RDWR | O_CREAT);
    assert_int_equal(counter(session, "metadata_requests"), requests + 1);
    for (unsigned i = 0; i < 100; i++) {
        ok(weft_file_write(file, bytes, sizeof bytes, i * UINT64_C(50000)));
        assert_int_equal(weft_file_read(file, bytes, sizeof bytes, i * UINT64_C(50000)), 1000);
    }
    assert_int_equal(weft_file_read(file, bytes, sizeof bytes, 1 << 30), 0);
    ok(weft_file_sync(file));
    ok(weft_file_size(file, &size));
    assert_int_equal(counter(session, "metadata_requests"), requests + 1);
    /* The close waits for a request that takes it along. */
    ok(weft_file_close(file));
    assert_int_equal(counter(session, "metadata_requests"), requests + 1);
    ok(weft_unlink(session, "/io"));
    assert_int_equal(counter(session, "metadata_requests"), requests + 2);
}

/* ---- asynchronous, and many threads ----------------------------------------------------------- */

static void test_async(void **state)
{
    (void)state;
    enum { OPS = 50, BYTES = 30000 };
    weft_op_t *ops[OPS], *sync;
    uint8_t *bytes = pattern(OPS * BYTES, 0, 11), *back = calloc(1, OPS * BYTES);
    weft_file_t *file = open_file(session, "/async", O_RDWR | O_CREAT);
    for (unsigned i = 0; i < OPS; i++) {
        struct iovec iov = {bytes + i * BYTES, BYTES};
        struct weft_extent extent = {i * (uint64_t)BYTES, BYTES};
        ok(weft_file_write_list_async(file, &iov, 1, &extent, 1, &ops[i]));
        memset(&iov, 0xff, sizeof iov); /* the lists are copied */
        memset(&extent, 0xff, sizeof extent);
    }
    while (!weft_test(ops[OPS / 2]))
        ;
    for (unsigned i = OPS; i-- > 0;)
        assert_int_equal(weft_wait(ops[i]), BYTES);
    ok(weft_file_sync_async(file, &sync));
    for (unsigned i = 0; i < OPS; i++) {
        struct iovec iov = {back + i * BYTES, BYTES};
        struct weft_extent extent = {i * (uint64_t)BYTES, BYTES};
        ok(weft_file_read_list_async(file, &iov, 1, &extent, 1, &ops[i]));
    }
    ok(weft_wait(sync));
    for (unsigned i = 0; i < OPS; i++)
        assert_int_equal(weft_wait(ops[i]), BYTES);
    assert_memory_equal(bytes, back, OPS * BYTES);
    /* More small pieces at once than there is memory to pack them in: the others wait in line. */
    struct iovec *many = calloc(1000, sizeof *many);
    static weft_op_t *queued[40];
    for (unsigned i = 0; i < 1000; i++)
        many[i] = (struct iovec){bytes + (i % 40) * 20000, 4000};
    for (unsigned i = 0; i < 40; i++)
        ok(weft_file_write_list_async(file, many, 1000, &(struct weft_extent){i * UINT64_C(4000000), 4000000},
                                      1, &queued[i]));
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(weft_wait(queued[i]), 4000000);
    free(many);
    weft_file_close(file);
    ok(weft_unlink(session, "/async"));
    free(bytes);
    free(back);
}

enum { THREADS = 6, TURNS = 60 };

struct worker {
    pthread_t thread;
    unsigned number;
    weft_file_t *shared;
    char problem[256];
};

#define need(condition)                                                                                    \
    do {                                                                                                   \
        if (!(condition)) {                                                                                \
            snprintf(worker->problem, sizeof worker->problem, "%.100s: %.100s", #condition, weft_error()); \
            return NULL;                                                                                   \
        }                                                                                                  \
    } while (0)

/* Every thread reads and writes its own stripes of one file and has files of its own. */
static void *work(void *arg)
{
    struct worker *worker = arg;
    char path[64];
    struct weft_attr attr;
    uint8_t *back = malloc(200000);
    snprintf(path, sizeof path, "/threads.%u", worker->number);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        size_t length = 1 + (turn * 7919) % 200000;
        uint64_t offset = (turn * THREADS + worker->number) * UINT64_C(200000);
        uint8_t *bytes = pattern(length, offset, worker->number);
        weft_file_t *file;
        need(weft_file_write(worker->shared, bytes, length, offset) == (ssize_t)length);
        need(weft_file_open(session, path, O_RDWR | O_CREAT | O_TRUNC, 0600, NULL, &file) == 0);
        need(weft_file_write(file, bytes, length, 0) == (ssize_t)length);
        need(weft_file_read(worker->shared, back, length, offset) == (ssize_t)length);
        need(memcmp(bytes, back, length) == 0);
        memset(back, 0, length);
        need(weft_file_read(file, back, length, 0) == (ssize_t)length);
        need(memcmp(bytes, back, length) == 0);
        need(weft_file_close(file) == 0);
        need(weft_stat(session, path, 0, &attr) == 0 && attr.size == length);
        need(weft_unlink(session, path) == 0);
        need(weft_unlink(session, path) == -ENOENT);
        need(strstr(weft_error(), path)); /* this thread's error, not another's */
        free(bytes);
    }
    free(back);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    static struct worker workers[THREADS];
    weft_file_t *shared = open_file(session, "/threads", O_RDWR | O_CREAT);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.number = i, .shared = shared};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_string_equal(workers[i].problem, "");
    }
    weft_file_close(shared);
    ok(weft_unlink(session, "/threads"));
}

/* ---- more than one client ------------------------------------------------------------------------ */

/* A write that returned is seen by the very next read of anyone. */
static void test_visibility(void **state)
{
    (void)state;
    weft_file_t *ours = open_file(session, "/visible", O_RDWR | O_CREAT);
    weft_file_t *theirs = open_file(other, "/visible", O_RDWR);
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t seen = 0;
        uint64_t offset = (i * UINT64_C(30011)) % 1000000;
        weft_file_t *writer = i % 2 ? ours : theirs, *reader = i % 2 ? theirs : ours;
        ok(weft_file_write(writer, &i, sizeof i, offset));
        assert_int_equal(weft_file_read(reader, &seen, sizeof seen, offset), sizeof seen);
        assert_int_equal(seen, i);
        if (i % 50 == 0) {
            uint64_t end = 0;
            ok(weft_file_size(reader, &end));
            assert_true(end >= offset + sizeof i);
            assert_true(size_of(i % 2 ? other : session, "/visible") >= offset + sizeof i);
        }
    }
    weft_file_close(ours);
    weft_file_close(theirs);
    ok(weft_unlink(session, "/visible"));
}

/* Racing opens with O_CREAT and without O_EXCL lose nothing of each other. */
static void *race(void *arg)
{
    struct worker *worker = arg;
    weft_session_t *own;
    uint64_t mark = worker->number + 1;
    need(weft_connect(NULL, &own) == 0);
    for (unsigned turn = 0; turn < 20; turn++) {
        char path[64];
        weft_file_t *file;
        snprintf(path, sizeof path, "/race.%u", turn);
        need(weft_file_open(own, path, O_RDWR | O_CREAT, 0644, NULL, &file) == 0);
        need(weft_file_write(file, &mark, sizeof mark, worker->number * UINT64_C(100000)) == sizeof mark);
        need(weft_file_close(file) == 0);
    }
    weft_disconnect(own);
    return NULL;
}

static void test_racing_creates(void **state)
{
    (void)state;
    static struct worker workers[4];
    for (unsigned i = 0; i < 4; i++) {
        workers[i] = (struct worker){.number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, race, &workers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_string_equal(workers[i].problem, "");
    }
    for (unsigned turn = 0; turn < 20; turn++) {
        char path[64];
        snprintf(path, sizeof path, "/race.%u", turn);
        weft_file_t *file = open_file(session, path, O_RDONLY);
        for (unsigned i = 0; i < 4; i++) {
            uint64_t mark = 0;
            assert_int_equal(weft_file_read(file, &mark, sizeof mark, i * UINT64_C(100000)), sizeof mark);
            assert_int_equal(mark, i + 1);
        }
        weft_file_close(file);
        ok(weft_unlink(session, path));
    }
}

/* ---- a handle in another process ------------------------------------------------------------------ */

/* That process: reads what we wrote, writes its own, and never asks the metadata server. */
static int importer(const char *blob_path)
{
    static uint8_t blob[1 << 20];
    weft_session_t *own;
    weft_file_t *file;
    struct wanted wanted = {.name = "metadata_requests"};
    uint64_t size;
    char back[5];
    FILE *in = fopen(blob_path, "r");
    size_t length = in ? fread(blob, 1, sizeof blob, in) : 0;
    if (in)
        fclose(in);
    if (weft_connect(NULL, &own) < 0 || weft_file_import(own, blob, length, &file) < 0 ||
        weft_file_read(file, back, 5, 12 * CHUNK) != 5 || memcmp(back, "hello", 5) != 0 ||
        weft_file_write(file, "world", 5, 20 * CHUNK) != 5 || weft_file_sync(file) < 0 ||
        weft_file_size(file, &size) < 0 || size != 20 * CHUNK + 5 || weft_file_close(file) < 0) {
        fprintf(stderr, "importer: %s\n", weft_error());
        return 1;
    }
    weft_counters(own, pick, &wanted);
    weft_disconnect(own);
    return wanted.value == 0 ? 0 : 2;
}

static void test_export_to_another_process(void **state)
{
    (void)state;
    uint8_t blob[65536];
    char path[128], back[5];
    int status;
    weft_file_t *file = open_file(session, "/exported", O_RDWR | O_CREAT);
    ok(weft_file_write(file, "hello", 5, 12 * CHUNK));
    ssize_t length = weft_file_export(file, blob, sizeof blob);
    ok(length);
    snprintf(path, sizeof path, "%s/blob", cluster.dir);
    FILE *out = fopen(path, "w");
    assert_int_equal(fwrite(blob, 1, (size_t)length, out), length);
    fclose(out);
    pid_t child = cluster_run_again((const char *const[]){"import", path, NULL});
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(weft_file_read(file, back, 5, 20 * CHUNK), 5);
    assert_memory_equal(back, "world", 5);
    /* Truncation by an importer goes to the metadata server by the capability. */
    weft_file_t *copy;
    ok(weft_file_import(other, blob, (size_t)length, &copy));
    ok(weft_file_truncate(copy, 100));
    ok(weft_file_close(copy));
    ok(weft_file_close(file));
    assert_int_equal(size_of(other, "/exported"), 100);
    ok(weft_unlink(session, "/exported"));
}

/* ---- seeing what happens --------------------------------------------------------------------------- */

static void see_server(void *arg, const struct weft_server *server)
{
    unsigned *seen = arg;
    assert_true(server->is_up);
    assert_int_equal(server->is_metadata, *seen == 0);
    assert_int_equal(server->targets, *seen == 0 ? 0 : 2);
    assert_int_equal(server->shards, *seen == 0 ? 1 : SHARDS);
    (*seen)++;
}

static void test_servers(void **state)
{
    (void)state;
    unsigned seen = 0;
    ok(weft_servers(session, see_server, &seen));
    assert_int_equal(seen, 1 + SERVERS);
    assert_true(server_counter(session, "requests_received") > 100);
}

/* Usage: test_client [PATTERN]: only the tests whose name matches. */
int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "import") == 0)
        return importer(argv[2]);
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contiguous),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_argument_errors),
        cmocka_unit_test(test_holes_and_end),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_huge_counts),
        cmocka_unit_test(test_no_metadata_during_io),
        cmocka_unit_test(test_async),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_visibility),
        cmocka_unit_test(test_racing_creates),
        cmocka_unit_test(test_export_to_another_process),
        cmocka_unit_test(test_servers),
    };
    return cmocka_run_group_tests_name("client", tests, pair_setup, pair_teardown);
}
