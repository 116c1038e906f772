/* SPDX-License-Identifier: Apache-2.0 */
/* Packing and unpacking against a model of single bytes, over seeded random requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../libclient/pieces.h"

#define BYTES_MAX 4096u
#define PARTS_MAX 64u

static uint32_t random_state;

static uint32_t below(uint32_t bound)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % bound;
}

/* A request of up to BYTES_MAX bytes in `memory`, with gaps between its pieces. */
static void request_make(struct planner_request *request, struct iovec *pieces,
                         struct planner_extent *extents, char *memory, bool one_piece)
{
    *request = (struct planner_request){.pieces = pieces, .extents = extents};
    request->extent_count = 1 + below(PARTS_MAX);
    for (uint32_t i = 0; i < request->extent_count; i++) {
        extents[i] = (struct planner_extent){.offset = i * 1000, .length = 1 + below(BYTES_MAX / PARTS_MAX)};
        request->bytes += extents[i].length;
    }
    uint64_t left = request->bytes;
    while (left > 0) {
        uint64_t length = one_piece || request->piece_count == PARTS_MAX - 1 ? left : 1 + below(100);
        length = length < left ? length : left;
        pieces[request->piece_count++] = (struct iovec){.iov_base = memory, .iov_len = length};
        memory += length + below(20);
        left -= length;
    }
}

static void test_unpack(void **state)
{
    (void)state;
    static char memory[2 * BYTES_MAX], expected[2 * BYTES_MAX], packed[BYTES_MAX];
    struct planner_request request;
    struct iovec pieces[PARTS_MAX];
    struct planner_extent extents[PARTS_MAX];
    uint32_t present[PARTS_MAX];
    for (random_state = 1; random_state < 2000; random_state++) {
        uint32_t seed = random_state;
        bool one_piece = below(2), all = below(4) == 0, in_place = one_piece && below(2);
        request_make(&request, pieces, extents, memory, one_piece);
        memset(memory, 'x', sizeof memory);
        memset(expected, 'x', sizeof expected);
        size_t came = 0, piece = 0, done = 0;
        for (uint32_t i = 0; i < request.extent_count; i++) {
            present[i] = all ? extents[i].length : below(extents[i].length + 1);
            for (uint32_t k = 0; k < extents[i].length; k++) {
                if (done == pieces[piece].iov_len) {
                    piece++;
                    done = 0;
                }
                char byte = (char)(k < present[i] ? 'a' + below(20) : 0);
                expected[(char *)pieces[piece].iov_base + done++ - memory] = byte;
                if (k < present[i])
                    packed[came++] = byte;
            }
        }
        if (in_place)
            memcpy(memory, packed, came);
        pieces_unpack(&request, all ? NULL : present, in_place ? memory : packed);
        assert_memory_equal(memory, expected, sizeof memory);
        random_state = seed;
    }
}

static void test_pack(void **state)
{
    (void)state;
    static char memory[2 * BYTES_MAX], packed[BYTES_MAX + 1];
    struct planner_request request;
    struct iovec pieces[PARTS_MAX];
    struct planner_extent extents[PARTS_MAX];
    random_state = 5;
    for (unsigned i = 0; i < sizeof memory; i++)
        memory[i] = (char)below(256);
    for (unsigned turn = 0; turn < 500; turn++) {
        request_make(&request, pieces, extents, memory, false);
        packed[request.bytes] = '#';
        pieces_pack(request.pieces, request.piece_count, packed);
        const char *at = packed;
        for (uint32_t i = 0; i < request.piece_count; at += pieces[i++].iov_len)
            assert_memory_equal(at, pieces[i].iov_base, pieces[i].iov_len);
        assert_int_equal(at - packed, request.bytes);
        assert_int_equal(*at, '#');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unpack),
        cmocka_unit_test(test_pack),
    };
    return cmocka_run_group_tests_name("client_pieces", tests, NULL, NULL);
}
