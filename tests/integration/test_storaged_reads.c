/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of small pieces, read from one real weft-storaged: those that lie close together are one read of its
 * store, and what comes back is what separate reads would have brought. WEFT_TEST_SEED repeats the random
 * ones.
 */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "seed.h"
#include "storaged_peer.h"

enum { BLOCK = 4096, CHUNKS = 40, LENGTH = CHUNKS * PEER_CHUNK, PIECES_MAX = 400, INO = 9 };

static struct peer peer;
/* The object: these chunks of the file, one behind the other. */
static uint64_t chunk_at[CHUNKS];
static uint8_t model[LENGTH];
static uint8_t payload[PIECES_MAX * PEER_CHUNK];

/* A piece of the object. */
struct piece {
    uint32_t at, length;
};

static int setup(void **state)
{
    (void)state;
    peer_open(&peer, "memory_bytes = \"8M\";");
    peer_start(&peer);
    for (unsigned i = 0; i < CHUNKS; i++)
        chunk_at[i] = peer_chunk_on(&peer, 0, 0, i ? chunk_at[i - 1] + PEER_CHUNK : 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_close(&peer);
    return 0;
}

static int request(unsigned operation, const struct piece *pieces, uint32_t count, size_t payload_length,
                   struct answer *answer)
{
    static uint8_t body[LIMITS_BODY_MAX];
    static struct wire_extent extents[PIECES_MAX];
    struct wire_capability capability = peer_capability(&peer, INO, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    for (uint32_t i = 0; i < count; i++)
        extents[i] =
            (struct wire_extent){.offset = chunk_at[pieces[i].at / PEER_CHUNK] + pieces[i].at % PEER_CHUNK,
                                 .length = pieces[i].length};
    size_t length =
        peer_encode_io(operation, &capability, peer.map->version, extents, count, body, sizeof body);
    memset(answer, 0, sizeof *answer);
    answer->payload = payload;
    answer->payload_size = sizeof payload;
    peer_call(&peer, peer.to_shard[0], operation, body, length, payload, payload_length, answer);
    return answer->status;
}

/* Writes the chunks from `first` up to `end`, the last one as far as `last_bytes`. */
static void write_chunks(unsigned first, unsigned end, uint32_t last_bytes)
{
    struct answer answer;
    for (unsigned i = first; i < end; i++) {
        const struct piece chunk = {i * PEER_CHUNK, i + 1 < end ? PEER_CHUNK : last_bytes};
        for (uint32_t k = 0; k < chunk.length; k++)
            model[chunk.at + k] = (uint8_t)(layout_hash(chunk.at + k + UINT64_C(77)) >> 9);
        memcpy(payload, model + chunk.at, chunk.length);
        assert_int_equal(request(WIRE_OP_write, &chunk, 1, chunk.length, &answer), 0);
    }
}

/* Reads the pieces of an object of so many bytes, and compares. Returns how often the store was asked. */
static uint64_t read_pieces(const struct piece *pieces, uint32_t count, uint32_t object_length)
{
    struct answer answer;
    struct wire_read_reply reply;
    const uint64_t before = peer_counter(&peer, "store_reads");
    size_t at = 0, wanted = 0;
    memset(payload, 0xee, sizeof payload);
    assert_int_equal(request(WIRE_OP_read, pieces, count, 0, &answer), 0);
    assert_int_equal(wire_decode_read_reply(answer.body, answer.body_length, &reply), 0);
    struct wire_reader reader = wire_list_reader(&reply.present);
    for (uint32_t i = 0; i < count; i++) {
        struct wire_number present = {.value = pieces[i].length};
        const uint32_t behind = object_length > pieces[i].at ? object_length - pieces[i].at : 0;
        const uint32_t there = behind < pieces[i].length ? behind : pieces[i].length;
        if (reply.present.count)
            wire_get_number(&reader, &present);
        assert_int_equal(present.value, there);
        assert_memory_equal(payload + at, model + pieces[i].at, there);
        at += there;
        wanted += pieces[i].length;
    }
    assert_int_equal(answer.payload_length, at);
    assert_int_equal(reply.present.count, at < wanted ? count : 0);
    return peer_counter(&peer, "store_reads") - before;
}

/* No piece goes beyond its chunk. */
static struct piece piece_at(uint32_t at, uint32_t length)
{
    const uint32_t room = PEER_CHUNK - at % PEER_CHUNK;
    return (struct piece){at, length < room ? length : room};
}

/* `count` pieces of `length` bytes, `step` apart. */
static void comb(struct piece *pieces, uint32_t count, uint32_t first, uint32_t length, uint32_t step)
{
    for (uint32_t i = 0; i < count; i++)
        pieces[i] = piece_at(first + i * step, length);
}

/* ---- what is one read --------------------------------------------------- */

static void test_close_pieces_are_one_read(void **state)
{
    struct piece pieces[56];
    (void)state;
    write_chunks(0, CHUNKS, PEER_CHUNK);
    comb(pieces, 56, 100, 200, 512); /* 28 KiB */
    assert_int_equal(read_pieces(pieces, 56, LENGTH), 1);
    /* Whole blocks between them are not read for nothing. */
    comb(pieces, 10, 1000, 100, 2 * BLOCK);
    assert_int_equal(read_pieces(pieces, 10, LENGTH), 10);
    comb(pieces, 10, 1000, 100, BLOCK);
    assert_int_equal(read_pieces(pieces, 10, LENGTH), 2);
}

static void test_backwards_is_as_asked_for(void **state)
{
    struct piece pieces[20];
    (void)state;
    write_chunks(0, CHUNKS, PEER_CHUNK);
    for (uint32_t i = 0; i < 20; i++)
        pieces[i] = (struct piece){LENGTH - 1024 * (i + 1), 200};
    assert_int_equal(read_pieces(pieces, 20, LENGTH), 20);
    for (uint32_t i = 0; i < 20; i++)
        pieces[i] = (struct piece){7 + i % 2 * 100, 200}; /* each has bytes of the one before it */
    read_pieces(pieces, 20, LENGTH);
}

static void test_the_end_is_within_a_span(void **state)
{
    struct piece pieces[40];
    (void)state;
    write_chunks(0, 3, 1234);
    comb(pieces, 40, 50, 300, 400);
    read_pieces(pieces, 40, 2 * PEER_CHUNK + 1234);
    comb(pieces, 10, 3 * PEER_CHUNK, 300, 400); /* all of it behind the end */
    read_pieces(pieces, 10, 2 * PEER_CHUNK + 1234);
}

static void test_nothing_was_ever_written(void **state)
{
    struct piece pieces[40];
    (void)state;
    comb(pieces, 40, 50, 300, 400);
    read_pieces(pieces, 40, 0);
}

static void test_a_hole_is_zeros(void **state)
{
    struct piece pieces[100];
    (void)state;
    memset(model, 0, sizeof model);
    write_chunks(0, 1, PEER_CHUNK);
    write_chunks(4, 6, PEER_CHUNK);
    comb(pieces, 100, 11, 150, 240);
    read_pieces(pieces, 100, 6 * PEER_CHUNK);
}

/* ---- any list ----------------------------------------------------------- */

/* Mostly forwards, short and long, close and far apart. */
static uint32_t draw(struct piece *pieces)
{
    const uint32_t count = 1 + below(PIECES_MAX - 1);
    const unsigned gap = 1u << below(14), longest = 1u << below(13);
    uint32_t at = below(BLOCK);
    for (uint32_t i = 0; i < count; i++) {
        pieces[i] = piece_at(at, 1 + below(longest));
        at += pieces[i].length + below(gap);
        if (at >= LENGTH || below(200) == 0)
            at = below(LENGTH);
    }
    return count;
}

static void test_any_list(void **state)
{
    static struct piece pieces[PIECES_MAX];
    const uint32_t length = LENGTH - PEER_CHUNK / 3;
    (void)state;
    random_state = seed_wanted();
    write_chunks(0, CHUNKS, PEER_CHUNK - PEER_CHUNK / 3);
    for (unsigned turn = 0; turn < (peer_is_slow() ? 10 : 300); turn++)
        read_pieces(pieces, draw(pieces), length);
}

static int evict(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    if (type == FTW_F && strcmp(path + ftw->base, "data") == 0) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    return 0;
}

/* Where the folder is on a disk, the store's reads have to wait for it, several spans at a time. */
static void test_any_list_from_the_disk(void **state)
{
    static struct piece pieces[PIECES_MAX];
    (void)state;
    random_state = seed_wanted();
    write_chunks(0, CHUNKS, PEER_CHUNK);
    assert_int_equal(peer_sync(&peer, INO), 0);
    for (unsigned turn = 0; turn < (peer_is_slow() ? 5 : 60); turn++) {
        assert_int_equal(nftw(peer.dir, evict, 8, FTW_PHYS), 0);
        read_pieces(pieces, draw(pieces), LENGTH);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_close_pieces_are_one_read), TEST(test_backwards_is_as_asked_for),
        TEST(test_the_end_is_within_a_span),  TEST(test_nothing_was_ever_written),
        TEST(test_a_hole_is_zeros),           TEST(test_any_list),
        TEST(test_any_list_from_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
