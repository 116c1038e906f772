/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One real weft-storaged puts chunks together from several requests. What must
 * survive: pieces that never come, come twice or too late; buffers that run short; a client
 * that dies with its piece held; lists that lie.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storaged_peer.h"

enum { INO = 9, PIECE = 16, CALLS_MAX = 8 };

static struct peer peer;

/* Longer than any of these takes, also on a busy machine: chunks are complete, or not waited for. */
enum { PATIENT_MS = 20000 };

static int setup(void **state)
{
    (void)state;
    peer_open(&peer, "memory_bytes = \"8M\"; credit_bytes = \"200M\"; gather_ms = 20000;");
    peer_start(&peer);
    return 0;
}

static int setup_impatient(void **state)
{
    (void)state;
    peer_open(&peer, "memory_bytes = \"8M\"; credit_bytes = \"200M\"; gather_ms = 300;");
    peer_start(&peer);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_close(&peer);
    return 0;
}

/* ---- requests ----------------------------------------------------------- */

/* One client's part: every `parts`-th piece of each of the chunks, from piece `part` on. */
struct call {
    struct rpc_call rpc;
    uint8_t body[1 << 17];
    uint8_t payload[1 << 16];
    struct iovec iov;
    bool over;
};

static struct call calls[CALLS_MAX];
static unsigned over;

static void call_over(struct rpc_call *rpc)
{
    list_item(rpc, struct call, rpc)->over = true;
    over++;
}

static struct wire_capability capability(void)
{
    return peer_capability(&peer, INO, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
}

static uint64_t chunk_start(unsigned which)
{
    uint64_t at = peer_chunk_on(&peer, 0, 0, 0);
    while (which-- > 0)
        at = peer_chunk_on(&peer, 0, 0, at + PEER_CHUNK);
    return at;
}

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(layout_hash(offset) >> 9 | 1);
}

static ssize_t encode(struct call *call, struct wire_writer *chunks, uint32_t chunk_count,
                      struct wire_writer *extents, uint32_t extent_count, uint64_t id)
{
    struct wire_write_gather wire = {
        .capability = capability(),
        .map_version = peer.map->version,
        .gather = id,
        .chunks = wire_list_of(chunks, chunk_count),
        .extents = wire_list_of(extents, extent_count),
    };
    return wire_encode_write_gather(call->body, sizeof call->body, &wire);
}

static void start(struct rpc_connection *to, struct call *call, ssize_t body_length, size_t payload_length)
{
    assert_true(body_length > 0);
    call->over = false;
    call->iov = (struct iovec){call->payload, payload_length};
    call->rpc = (struct rpc_call){.operation = WIRE_OP_write_gather,
                                  .body = call->body,
                                  .body_length = (uint32_t)body_length,
                                  .payload = &call->iov,
                                  .payload_count = 1,
                                  .deadline_ms = 5000,
                                  .done = call_over};
    assert_int_equal(rpc_call_start(to, &call->rpc), 0);
}

/* `announced` bytes of each chunk by all together; 0: what `parts` such clients have. */
static void start_part(struct call *call, uint64_t id, unsigned chunk_count, unsigned part, unsigned parts,
                       uint32_t announced, bool hold)
{
    static uint8_t chunk_list[1 << 14], extent_list[1 << 16];
    struct wire_writer chunks = wire_writer_on(chunk_list, sizeof chunk_list);
    struct wire_writer extents = wire_writer_on(extent_list, sizeof extent_list);
    uint32_t extent_count = 0;
    size_t length = 0;
    for (unsigned c = 0; c < chunk_count; c++) {
        uint64_t start = chunk_start(c);
        struct wire_gather_chunk chunk = {
            .chunk = start / PEER_CHUNK, .bytes = announced ? announced : PEER_CHUNK, .hold = hold};
        wire_put_gather_chunk(&chunks, &chunk);
        for (uint64_t at = start + part * PIECE; at < start + PEER_CHUNK; at += parts * PIECE) {
            wire_put_extent(&extents, &(struct wire_extent){.offset = at, .length = PIECE, .target = 0});
            extent_count++;
            for (unsigned i = 0; i < PIECE; i++)
                call->payload[length++] = byte_at(at + i);
        }
    }
    start(peer.to_shard[0], call, encode(call, &chunks, chunk_count, &extents, extent_count, id), length);
}

static void wait_for(unsigned count)
{
    for (uint64_t end = rpc_now_ns() + UINT64_C(6000000000); over < count && rpc_now_ns() < end;)
        peer_idle(&peer, 2);
    assert_int_equal(over, count);
}

/* The first `chunk_count` chunks have all bytes of these parts, and zeros else. */
static void check_chunks(unsigned chunk_count, unsigned parts, unsigned part_mask)
{
    uint8_t data[PEER_CHUNK];
    for (unsigned c = 0; c < chunk_count; c++) {
        uint64_t start = chunk_start(c);
        assert_int_equal(peer_read(&peer, INO, start, data, sizeof data), 0);
        for (unsigned i = 0; i < PEER_CHUNK; i++)
            assert_int_equal(data[i], part_mask >> (i / PIECE % parts) & 1 ? byte_at(start + i) : 0);
    }
}

/* ---- tests -------------------------------------------------------------- */

static void test_a_chunk_of_many_clients_is_one_write(void **state)
{
    enum { PARTS = 4, CHUNKS = 3 };
    (void)state;
    over = 0;
    for (unsigned part = 0; part < PARTS; part++) {
        /* Nobody is answered before the last one has come. */
        peer_idle(&peer, 5);
        assert_int_equal(over, 0);
        start_part(&calls[part], 77, CHUNKS, part, PARTS, 0, true);
    }
    wait_for(PARTS);
    for (unsigned part = 0; part < PARTS; part++)
        assert_int_equal(calls[part].rpc.status, 0);
    assert_int_equal(peer_counter(&peer, "store_writes"), CHUNKS);
    assert_int_equal(peer_counter(&peer, "chunks_gathered"), CHUNKS);
    assert_int_equal(peer_counter(&peer, "gathers_late"), 0);
    assert_int_equal(peer_counter(&peer, "bytes_written"), CHUNKS * PEER_CHUNK);
    check_chunks(CHUNKS, PARTS, 0xf);
}

/* One run of the first chunk, of `announced` bytes by all together. */
static void start_run(struct call *call, uint64_t id, uint64_t offset, uint32_t length, uint32_t announced)
{
    uint8_t chunk_list[64], extent_list[64];
    struct wire_writer chunks = wire_writer_on(chunk_list, sizeof chunk_list);
    struct wire_writer extents = wire_writer_on(extent_list, sizeof extent_list);
    uint64_t at = chunk_start(0) + offset;
    struct wire_gather_chunk chunk = {.chunk = at / PEER_CHUNK, .bytes = announced, .hold = 1};
    wire_put_gather_chunk(&chunks, &chunk);
    wire_put_extent(&extents, &(struct wire_extent){.offset = at, .length = length});
    for (uint32_t i = 0; i < length; i++)
        call->payload[i] = byte_at(at + i);
    start(peer.to_shard[0], call, encode(call, &chunks, 1, &extents, 1, id), length);
}

/* Ranks may write the same bytes: as long as no hole is between them it is one write. */
static void test_parts_that_overlap(void **state)
{
    static const struct {
        uint32_t offset, length;
    } runs[] = {{2000, 2096}, {0, 3000}, {100, 700}, {0, 3000}, {2999, 2}};
    enum { RUNS = sizeof runs / sizeof runs[0] };
    uint32_t announced = 0;
    (void)state;
    over = 0;
    for (unsigned i = 0; i < RUNS; i++)
        announced += runs[i].length;
    for (unsigned i = 0; i < RUNS; i++)
        start_run(&calls[i], 88, runs[i].offset, runs[i].length, announced);
    wait_for(RUNS);
    for (unsigned i = 0; i < RUNS; i++)
        assert_int_equal(calls[i].rpc.status, 0);
    assert_int_equal(peer_counter(&peer, "store_writes"), 1);
    check_chunks(1, 1, 1);
}

/* Holes stay holes: a write for each run, and nothing between them. */
static void test_holes_are_left_alone(void **state)
{
    (void)state;
    uint8_t before[PEER_CHUNK];
    memset(before, 0xee, sizeof before);
    assert_int_equal(peer_write(&peer, INO, chunk_start(0), before, sizeof before), 0);
    uint64_t writes = peer_counter(&peer, "store_writes");
    over = 0;
    start_part(&calls[0], 78, 1, 0, 4, PEER_CHUNK / 2, true);
    start_part(&calls[1], 78, 1, 1, 4, PEER_CHUNK / 2, true);
    wait_for(2);
    assert_int_equal(peer_counter(&peer, "store_writes") - writes, PEER_CHUNK / PIECE / 4);
    assert_int_equal(peer_read(&peer, INO, chunk_start(0), before, sizeof before), 0);
    for (unsigned i = 0; i < PEER_CHUNK; i++)
        assert_int_equal(before[i], i / PIECE % 4 < 2 ? byte_at(chunk_start(0) + i) : 0xee);
}

static void test_who_waits_in_vain_is_written(void **state)
{
    (void)state;
    over = 0;
    start_part(&calls[0], 79, 2, 0, 2, 0, true);
    wait_for(1);
    assert_int_equal(calls[0].rpc.status, 0);
    assert_int_equal(peer_counter(&peer, "gathers_late"), 2);
    check_chunks(2, 2, 1);
    /* What comes after all is not held up a second time. */
    start_part(&calls[1], 79, 2, 1, 2, 0, true);
    wait_for(2);
    assert_int_equal(peer_counter(&peer, "gathers_late"), 2);
    check_chunks(2, 2, 3);
}

/* A client whose bytes of a chunk come in two requests does not wait for itself. */
static void test_what_is_not_to_be_held_counts(void **state)
{
    (void)state;
    over = 0;
    start_part(&calls[0], 80, 1, 0, 3, 0, true);
    start_part(&calls[1], 80, 1, 1, 3, 0, false);
    wait_for(1);
    assert_true(calls[1].over);
    start_part(&calls[2], 80, 1, 2, 3, 0, false);
    wait_for(3);
    assert_int_equal(peer_counter(&peer, "gathers_late"), 0);
    check_chunks(1, 3, 7);
}

static void test_other_writes_go_on_meanwhile(void **state)
{
    uint8_t one = 1;
    (void)state;
    over = 0;
    start_part(&calls[0], 81, 1, 0, 2, 0, true);
    start_part(&calls[1], 82, 1, 1, 2, 0, true); /* another collective write of the same chunk */
    peer_idle(&peer, 10);
    assert_int_equal(peer_write(&peer, INO, chunk_start(5), &one, 1), 0);
    assert_int_equal(over, 0);
    start_part(&calls[2], 81, 1, 1, 2, 0, true);
    start_part(&calls[3], 82, 1, 0, 2, 0, true);
    wait_for(4);
    assert_int_equal(peer_counter(&peer, "gathers_late"), 0);
    check_chunks(1, 2, 3);
}

/* More than the server has memory for: what waits is written, and makes room for the rest. */
static void test_short_of_buffers(void **state)
{
    enum { LARGE = 20, EXTENTS = LIMITS_IO_BYTES_MAX / PEER_CHUNK };
    static struct call large[LARGE];
    static uint8_t data[LIMITS_IO_BYTES_MAX], chunk_list[1 << 14], extent_list[1 << 15];
    static uint64_t starts[EXTENTS];
    (void)state;
    over = 0;
    memset(data, 7, sizeof data);
    for (unsigned i = 0; i < EXTENTS; i++)
        starts[i] = i == 0 ? chunk_start(0) : peer_chunk_on(&peer, 0, 0, starts[i - 1] + PEER_CHUNK);
    for (unsigned c = 0; c < LARGE; c++) {
        struct wire_gather_chunk listed = {.chunk = starts[0] / PEER_CHUNK, .bytes = UINT32_MAX, .hold = 1};
        struct wire_writer chunks = wire_writer_on(chunk_list, sizeof chunk_list);
        struct wire_writer extents = wire_writer_on(extent_list, sizeof extent_list);
        wire_put_gather_chunk(&chunks, &listed);
        for (unsigned i = 0; i < EXTENTS; i++)
            wire_put_extent(&extents, &(struct wire_extent){.offset = starts[i], .length = PEER_CHUNK});
        /* Each in a collective write of its own, which nobody else takes part in. */
        ssize_t length = encode(&large[c], &chunks, 1, &extents, EXTENTS, 1000 + c);
        start(peer.to_shard[0], &large[c], length, 0);
        large[c].iov = (struct iovec){data, sizeof data};
    }
    wait_for(LARGE);
    for (unsigned c = 0; c < LARGE; c++)
        assert_int_equal(large[c].rpc.status, 0);
    assert_int_equal(peer_counter(&peer, "gathers_late"), LARGE);
}

static void test_lists_that_lie_are_refused(void **state)
{
    uint64_t chunk = chunk_start(0) / PEER_CHUNK;
    const struct {
        struct wire_gather_chunk list[2];
        int status;
    } cases[] = {
        {{{chunk, 100, 1}, {chunk, 100, 1}}, -EINVAL},
        {{{chunk + 1, 100, 1}, {chunk, 100, 1}}, -EINVAL},
        {{{chunk, 0, 1}, {chunk + 1, 100, 1}}, -EINVAL},
        {{{chunk, 1, 1}, {chunk + 1, 1, 1}}, 0}, /* less than what comes */
        {{{chunk + 50, 1, 1}, {UINT64_MAX, 1, 1}}, 0}, /* chunks that it has no bytes of */
    };
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t chunk_list[64], extent_list[64];
        struct wire_writer chunks = wire_writer_on(chunk_list, sizeof chunk_list);
        struct wire_writer extents = wire_writer_on(extent_list, sizeof extent_list);
        wire_put_gather_chunk(&chunks, &cases[i].list[0]);
        wire_put_gather_chunk(&chunks, &cases[i].list[1]);
        wire_put_extent(&extents, &(struct wire_extent){.offset = chunk_start(0), .length = 100});
        over = 0;
        start(peer.to_shard[0], &calls[0], encode(&calls[0], &chunks, 2, &extents, 1, 84), 100);
        wait_for(1);
        assert_int_equal(calls[0].rpc.status, cases[i].status);
    }
    assert_int_equal(peer_counter(&peer, "gathers_late"), 0);
}

/* Its end while pieces are held is a clean one, and they are written. The answer may be lost on
 * its way: then the client would ask again, had the server not moved. */
static void test_a_server_that_ends_lets_go(void **state)
{
    (void)state;
    over = 0;
    start_part(&calls[0], 85, 2, 0, 2, 0, true);
    /* What was sent before a call that has been answered has arrived. */
    uint8_t data[PEER_CHUNK];
    assert_int_equal(peer_read(&peer, INO, chunk_start(5), data, sizeof data), 0);
    assert_int_equal(peer_read(&peer, INO, chunk_start(5), data, sizeof data), 0);
    uint64_t begun = rpc_now_ns();
    assert_int_equal(peer_signal(&peer, SIGTERM), 0);
    assert_in_range(rpc_now_ns() - begun, 0, PATIENT_MS * UINT64_C(1000000));
    wait_for(1); /* the answer may be lost with the connection */
    peer_start(&peer);
    check_chunks(2, 2, 1);
}

/* Whoever dies leaves its piece to the others' write. */
static void test_a_client_that_goes_away(void **state)
{
    (void)state;
    over = 0;
    struct rpc_connection *gone = peer.manager_to_shard[0];
    static uint8_t chunk_list[64], extent_list[64];
    struct wire_writer chunks = wire_writer_on(chunk_list, sizeof chunk_list);
    struct wire_writer extents = wire_writer_on(extent_list, sizeof extent_list);
    struct wire_gather_chunk chunk = {.chunk = chunk_start(0) / PEER_CHUNK, .bytes = PEER_CHUNK, .hold = 1};
    wire_put_gather_chunk(&chunks, &chunk);
    wire_put_extent(&extents, &(struct wire_extent){.offset = chunk_start(0), .length = PIECE});
    for (unsigned i = 0; i < PIECE; i++)
        calls[0].payload[i] = byte_at(chunk_start(0) + i);
    start(gone, &calls[0], encode(&calls[0], &chunks, 1, &extents, 1, 86), PIECE);
    peer_idle(&peer, 20);
    rpc_disconnect(gone);
    peer.manager_to_shard[0] = NULL;
    assert_int_equal(over, 1);
    assert_int_equal(calls[0].rpc.status, -ECANCELED);
    start_part(&calls[1], 86, 1, 1, 2, 0, true);
    wait_for(2);
    assert_int_equal(calls[1].rpc.status, 0);
    peer_idle(&peer, 200);
    start_part(&calls[2], 87, 1, 0, 1, 0, true);
    wait_for(3);
    check_chunks(1, 1, 1);
}

int main(void)
{
#define TEST(name)      cmocka_unit_test_setup_teardown(name, setup, teardown)
#define IMPATIENT(name) cmocka_unit_test_setup_teardown(name, setup_impatient, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_chunk_of_many_clients_is_one_write),
        TEST(test_parts_that_overlap),
        TEST(test_holes_are_left_alone),
        IMPATIENT(test_who_waits_in_vain_is_written),
        TEST(test_what_is_not_to_be_held_counts),
        TEST(test_other_writes_go_on_meanwhile),
        IMPATIENT(test_short_of_buffers),
        TEST(test_lists_that_lie_are_refused),
        TEST(test_a_server_that_ends_lets_go),
        IMPATIENT(test_a_client_that_goes_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
