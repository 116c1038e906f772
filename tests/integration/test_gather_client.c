/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes by several clients together, with real servers: the bytes are those of ordinary
 * writes, whatever the numbers say; a chunk costs the stores one write; nobody waits
 * for pieces that have come, however many rounds it takes to send them.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "calls.h"
#include "cluster.h"

enum { CHUNK = 65536, SERVERS = 3, CLIENTS = 4, EXTENTS_MAX = 1 << 16 };

static struct cluster cluster;
static weft_session_t *sessions[CLIENTS];

static int begin(const char *limits)
{
    cluster_open(&cluster,
                 &(struct cluster_options){.servers = SERVERS, .chunk_size = CHUNK, .limits = limits});
    connect_all(sessions, CLIENTS);
    return 0;
}

/* Whoever waits in vain is seen by the counter, however slow this machine is. */
static int setup_patient(void **state)
{
    (void)state;
    return begin("gather_ms = 8000;");
}

/* Where numbers are wrong, some pieces wait in vain: for a small part of a request's deadline. */
static int setup_hasty(void **state)
{
    (void)state;
    return begin("gather_ms = 50;");
}

static int teardown(void **state)
{
    (void)state;
    disconnect_all(sessions, CLIENTS);
    cluster_close(&cluster);
    return 0;
}

/* One client's part of a write. */
struct part {
    pthread_t thread;
    weft_file_t *file;
    struct weft_extent *extents;
    size_t count;
    uint8_t *data;
    size_t length;
    const struct weft_gather *gather;
    ssize_t result;
};

static struct part parts[CLIENTS];

static void *write_part(void *arg)
{
    struct part *part = arg;
    struct iovec iov = {.iov_base = part->data, .iov_len = part->length};
    weft_op_t *op;
    int error =
        weft_file_write_gather_async(part->file, &iov, 1, part->extents, part->count, part->gather, &op);
    part->result = error < 0 ? error : weft_wait(op);
    return NULL;
}

static void parts_open(const char *path)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct part *part = &parts[i];
        part->extents = calloc(EXTENTS_MAX, sizeof *part->extents);
        part->data = malloc(64u << 20);
        assert_non_null(part->extents);
        assert_non_null(part->data);
        part->count = part->length = 0;
        ok(weft_file_open(sessions[i], path, O_CREAT | O_RDWR, 0644, &(struct weft_layout){0}, &part->file));
    }
}

static void parts_close(void)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        ok(weft_file_close(parts[i].file));
        free(parts[i].extents);
        free(parts[i].data);
    }
}

static void add(struct part *part, uint64_t offset, uint64_t length, uint8_t *model)
{
    assert_true(part->count < EXTENTS_MAX);
    part->extents[part->count++] = (struct weft_extent){offset, length};
    for (uint64_t i = 0; i < length; i++)
        model[offset + i] = part->data[part->length++] = (uint8_t)((offset + i) * 2654435761u >> 11 | 1);
}

static void count_chunks(uint64_t *bytes)
{
    for (unsigned p = 0; p < CLIENTS; p++)
        for (size_t i = 0; i < parts[p].count; i++)
            for (uint64_t at = parts[p].extents[i].offset, end = at + parts[p].extents[i].length; at < end;) {
                uint64_t next = (at / CHUNK + 1) * CHUNK < end ? (at / CHUNK + 1) * CHUNK : end;
                bytes[at / CHUNK] += next - at;
                at = next;
            }
}

static void write_all(const struct weft_gather *gather)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        parts[i].gather = gather;
        assert_int_equal(pthread_create(&parts[i].thread, NULL, write_part, &parts[i]), 0);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(parts[i].thread, NULL);
    for (unsigned i = 0; i < CLIENTS; i++)
        assert_int_equal(parts[i].result, parts[i].length);
}

static void check_file(const uint8_t *model, size_t size)
{
    uint8_t *found = calloc(1, size);
    uint64_t end;
    assert_non_null(found);
    ok(weft_file_size(parts[0].file, &end));
    assert_true(end <= size);
    assert_int_equal(weft_file_read(parts[0].file, found, size, 0), end);
    assert_memory_equal(found, model, size);
    free(found);
}

/* ---- tests -------------------------------------------------------------- */

/* All clients write one file together, whose pieces are theirs in turn; how many writes that costs the
 * stores. */
static uint64_t write_in_turn(const char *path, uint64_t id, uint64_t chunks, uint64_t piece)
{
    const uint64_t size = chunks * CHUNK;
    uint64_t writes = server_counter(sessions[0], "store_writes");
    uint64_t *bytes = calloc(chunks, sizeof *bytes);
    uint8_t *model = calloc(1, size);
    assert_non_null(bytes);
    assert_non_null(model);
    parts_open(path);
    for (uint64_t at = 0; at < size; at += piece)
        add(&parts[at / piece % CLIENTS], at, at + piece < size ? piece : size - at, model);
    count_chunks(bytes);
    write_all(&(struct weft_gather){.id = id, .chunk_count = chunks, .bytes = bytes});
    check_file(model, size);
    assert_int_equal(server_counter(sessions[0], "gathers_late"), 0);
    writes = server_counter(sessions[0], "store_writes") - writes;
    parts_close();
    free(model);
    free(bytes);
    return writes;
}

/* 12 MiB in pieces of 1,000 bytes, client after client: more than a request holds. */
static void test_interleaved_pieces_cost_one_write_a_chunk(void **state)
{
    (void)state;
    assert_int_equal(write_in_turn("/interleaved", 1, 192, 1000), 192);
}

/* So many pieces that chunks are cut between requests: they count, and are not waited for. */
static void test_chunks_cut_between_rounds(void **state)
{
    enum { CHUNKS = 16, PIECE = 6 };
    (void)state;
    assert_true(write_in_turn("/cut", 2, CHUNKS, PIECE) < CHUNKS * CHUNK / PIECE / 2);
}

/* Random pieces with holes, and numbers that are right, too small, too large, or left out. */
static void test_numbers_never_change_the_bytes(void **state)
{
    enum { CHUNKS = 24, SIZE = CHUNKS * CHUNK, ROUNDS = 12 };
    (void)state;
    for (unsigned seed = 1; seed <= ROUNDS; seed++) {
        uint64_t bytes[CHUNKS] = {0}, at = 0;
        uint8_t *model = calloc(1, SIZE);
        char path[32];
        assert_non_null(model);
        srand(seed);
        snprintf(path, sizeof path, "/random%u", seed);
        parts_open(path);
        while (at < SIZE) {
            uint64_t length = 1 + (uint64_t)rand() % (rand() % 8 ? 3000 : 100000);
            if (length > SIZE - at)
                length = SIZE - at;
            if (rand() % 5)
                add(&parts[rand() % CLIENTS], at, length, model);
            at += length;
        }
        count_chunks(bytes);
        for (unsigned c = 0; seed % 3 == 0 && c < CHUNKS; c++)
            bytes[c] = rand() % 4 ? bytes[c] : (uint64_t)rand() % (2 * CHUNK);
        write_all(&(struct weft_gather){
            .id = seed + 10, .first_chunk = seed % 2, .chunk_count = CHUNKS - 2, .bytes = bytes + seed % 2});
        check_file(model, SIZE);
        parts_close();
        free(model);
    }
}

int main(void)
{
#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_interleaved_pieces_cost_one_write_a_chunk, setup_patient),
        TEST(test_chunks_cut_between_rounds, setup_patient),
        TEST(test_numbers_never_change_the_bytes, setup_hasty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
