/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One real weft-storaged as a member of a group that another server leads, which is this test: who may give
 * it what, by which map, and what it tells of what it has.
 */
#include <errno.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storaged_peer.h"

enum { INO = 5, LEADER = 1 /* "elsewhere", by its number in the map */, BYTES = 10000 };

static struct peer peer;
static uint8_t data[BYTES], back[BYTES];
static uint32_t position; /* one of the file's, in group 0 */

/* Group 0 has the server's target 0 and the leader's target 7. */
static void lead(uint8_t state)
{
    struct map_group *group = &peer.map->groups[0];
    for (uint32_t i = 0; i < 2; i++)
        peer.map->servers[i].id = i;
    *group = (struct map_group){.member_count = 2,
                                .members = {0, 2},
                                .states = {state, MAP_MEMBER_CURRENT},
                                .leader = 1,
                                .changed = peer.map->version};
    for (uint32_t i = 0; i < 2; i++)
        peer.map->servers[i].state = MAP_STATE_UP;
}

/* A newer map, and the server has it. */
static void next_map(uint8_t state)
{
    peer_map_next(&peer);
    lead(state);
    peer_idle(&peer, 400);
}

static int setup(void **state)
{
    const struct layout layout = peer_layout();
    (void)state;
    peer_open_more(&peer, "", "redundancy = { replicas = 2; };");
    lead(MAP_MEMBER_CURRENT);
    peer_start(&peer);
    for (position = 0; layout_group_of(&layout, position) != 0;)
        position++;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(layout_hash(i) >> 7);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_close(&peer);
    return 0;
}

static struct answer answer;
static uint8_t body[4096];

static int call(struct rpc_connection *connection, unsigned operation, ssize_t length, size_t payload_length)
{
    assert_true(length > 0);
    memset(&answer, 0, sizeof answer);
    answer.payload = back;
    answer.payload_size = sizeof back;
    peer_call(&peer, connection, operation, body, (size_t)length, data, payload_length, &answer);
    return answer.status;
}

static struct wire_capability both(void)
{
    return peer_capability(&peer, INO, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
}

struct giving {
    uint64_t version;
    uint32_t leader;
    struct wire_copy_piece piece;
    size_t payload;
    bool as_client;
};

static struct giving usual(void)
{
    return (struct giving){.version = peer.map->version,
                           .leader = LEADER,
                           .piece = {.position = position, .offset = 100, .length = BYTES},
                           .payload = BYTES};
}

static int give(const struct giving *giving)
{
    uint8_t list[32];
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    wire_put_copy_piece(&writer, &giving->piece);
    struct wire_copy copy = {.capability = both(),
                             .map_version = giving->version,
                             .leader = giving->leader,
                             .pieces = wire_list_of(&writer, 1)};
    return call(giving->as_client ? peer.to_shard[0] : peer.leader_to_shard[0], WIRE_OP_copy,
                wire_encode_copy(body, sizeof body, &copy), giving->payload);
}

static uint64_t length_of_object(uint8_t digest[32])
{
    struct wire_copy_digest ask = {.capability = both(),
                                   .map_version = peer.map->version,
                                   .leader = LEADER,
                                   .position = position,
                                   .offset = 100,
                                   .length = 1 << 20};
    struct wire_copy_digest_reply reply;
    assert_int_equal(call(peer.leader_to_shard[0], WIRE_OP_copy_digest,
                          wire_encode_copy_digest(body, sizeof body, &ask), 0),
                     0);
    assert_int_equal(wire_decode_copy_digest_reply(answer.body, answer.body_length, &reply), 0);
    assert_int_equal(reply.digest.length, 32);
    memcpy(digest, reply.digest.data, 32);
    return reply.length;
}

static uint32_t count_objects(void)
{
    struct wire_copy_list ask = {.map_version = peer.map->version, .leader = LEADER};
    struct wire_copy_list_reply reply;
    assert_int_equal(
        call(peer.leader_to_shard[0], WIRE_OP_copy_list, wire_encode_copy_list(body, sizeof body, &ask), 0),
        0);
    assert_int_equal(wire_decode_copy_list_reply(answer.body, answer.body_length, &reply), 0);
    assert_int_equal(reply.end, 1);
    return reply.objects.count;
}

static int cut(uint64_t length, bool gone)
{
    struct wire_copy_cut ask = {.capability = both(),
                                .map_version = peer.map->version,
                                .leader = LEADER,
                                .position = position,
                                .length = length,
                                .gone = gone};
    return call(peer.leader_to_shard[0], WIRE_OP_copy_cut, wire_encode_copy_cut(body, sizeof body, &ask), 0);
}

static int fetch(struct rpc_connection *from, uint64_t offset, uint32_t length)
{
    struct wire_copy_fetch ask = {.capability = both(),
                                  .map_version = peer.map->version,
                                  .leader = LEADER,
                                  .position = position,
                                  .offset = offset,
                                  .length = length};
    return call(from, WIRE_OP_copy_fetch, wire_encode_copy_fetch(body, sizeof body, &ask), 0);
}

static int mend(struct rpc_connection *from, uint32_t target, uint32_t length)
{
    struct wire_object_mend ask = {.capability = both(),
                                   .map_version = peer.map->version,
                                   .target = target,
                                   .position = position,
                                   .length = length};
    return call(from, WIRE_OP_object_mend, wire_encode_object_mend(body, sizeof body, &ask), 0);
}

/* What a client may ask of it: the file's bytes at the object's beginning. */
static int client_io(unsigned operation)
{
    const struct wire_capability capability = both();
    const struct layout layout = peer_layout();
    struct wire_extent extent = {.offset = position * layout.chunk_size, .length = 4000, .target = 0};
    size_t length = peer_encode_io(operation, &capability, peer.map->version, &extent, 1, body, sizeof body);
    return call(peer.to_shard[0], operation, (ssize_t)length, operation == WIRE_OP_write ? 4000 : 0);
}

static void what_a_leader_gives_is_there(void **state)
{
    uint8_t digest[32], expected[32];
    struct giving giving = usual();
    (void)state;
    assert_int_equal(count_objects(), 0);
    assert_int_equal(length_of_object(digest), 0);
    assert_int_equal(give(&giving), 0);
    assert_int_equal(length_of_object(digest), 100 + BYTES);
    crypto_generichash(expected, sizeof expected, data, BYTES, NULL, 0);
    assert_memory_equal(digest, expected, sizeof digest);
    assert_int_equal(count_objects(), 1);
    assert_int_equal(client_io(WIRE_OP_read), 0);
    assert_int_equal(answer.payload_length, 4000);
    assert_memory_equal(back + 100, data, 3900);
    assert_int_equal(cut(150, false), 0);
    assert_int_equal(length_of_object(digest), 150);
    assert_int_equal(
        call(peer.leader_to_shard[0], WIRE_OP_copy_settle,
             wire_encode_copy_settle(
                 body, sizeof body,
                 &(struct wire_copy_settle){.map_version = peer.map->version, .leader = LEADER, .hurry = 1}),
             0),
        0);
    assert_int_equal(cut(0, true), 0);
    assert_int_equal(count_objects(), 0);
    assert_true(peer_counter(&peer, "copies_taken") > 5);
}

static void a_leader_gets_what_it_can_not_read_itself(void **state)
{
    struct giving giving = usual();
    (void)state;
    assert_int_equal(give(&giving), 0);
    assert_int_equal(fetch(peer.leader_to_shard[0], 100, BYTES), 0);
    assert_int_equal(answer.payload_length, BYTES);
    assert_memory_equal(back, data, BYTES);
    assert_int_equal(fetch(peer.leader_to_shard[0], BYTES, 4096), 0);
    assert_int_equal(answer.payload_length, 100); /* the object's end */
    assert_memory_equal(back, data + BYTES - 100, 100);
    assert_int_equal(fetch(peer.to_shard[0], 100, BYTES), -EACCES);
    assert_int_equal(fetch(peer.leader_to_shard[0], 0, 0), -EINVAL);
    assert_int_equal(fetch(peer.leader_to_shard[0], INT64_MAX - 10, 4096), -EINVAL);
    next_map(MAP_MEMBER_SYNCING);
    assert_int_equal(fetch(peer.leader_to_shard[0], 100, BYTES), -EINVAL);
    next_map(MAP_MEMBER_CURRENT);
    assert_int_equal(cut(0, true), 0);
}

/* It does not lead: others must not have it mend anything. */
static void only_a_leader_mends(void **state)
{
    (void)state;
    assert_int_equal(mend(peer.to_shard[0], 7, 4096), -EACCES);
    assert_int_equal(mend(peer.leader_to_shard[0], 7, 4096), -EINVAL);
    assert_int_equal(mend(peer.leader_to_shard[0], 0, 4096), -EINVAL);
    assert_int_equal(mend(peer.leader_to_shard[0], 99, 4096), -EINVAL);
    assert_int_equal(mend(peer.leader_to_shard[0], 7, 0), -EINVAL);
}

static void only_the_leader_gives(void **state)
{
    struct giving giving = usual();
    (void)state;
    giving.as_client = true;
    assert_int_equal(give(&giving), -EACCES);
    giving = usual();
    giving.leader = 0;
    assert_int_equal(give(&giving), -EINVAL);
    giving.leader = 77;
    assert_int_equal(give(&giving), -EINVAL);
    assert_int_equal(count_objects(), 0);
    /* And clients write to the leader. */
    assert_int_equal(client_io(WIRE_OP_write), -EINVAL);
}

static void nonsense_is_refused(void **state)
{
    struct giving giving = usual();
    (void)state;
    giving.payload = BYTES - 1;
    assert_int_equal(give(&giving), -EBADMSG);
    giving = usual();
    giving.piece.length = 0;
    giving.payload = 0;
    assert_int_equal(give(&giving), -EINVAL);
    giving = usual();
    giving.piece.offset = INT64_MAX - 10;
    assert_int_equal(give(&giving), -EINVAL);
    giving = usual();
    giving.piece.position = peer_layout().stripe_count;
    assert_int_equal(give(&giving), -EINVAL);
    assert_int_equal(count_objects(), 0);
}

static void an_older_map_than_the_group_is_refused_and_a_newer_one_waited_for(void **state)
{
    struct giving giving = usual();
    (void)state;
    next_map(MAP_MEMBER_CURRENT);
    assert_int_equal(give(&giving), -ESTALE);
    giving = usual();
    assert_int_equal(give(&giving), 0);
    /* It asks for that map, and has it then. */
    peer_map_next(&peer);
    lead(MAP_MEMBER_CURRENT);
    giving = usual();
    assert_int_equal(give(&giving), 0);
    assert_int_equal(cut(0, true), 0);
}

static void who_is_not_current_is_not_read(void **state)
{
    struct giving giving;
    (void)state;
    next_map(MAP_MEMBER_SYNCING);
    giving = usual();
    assert_int_equal(give(&giving), 0);
    assert_int_equal(client_io(WIRE_OP_read), -EINVAL);
    next_map(MAP_MEMBER_LEAVING);
    giving = usual();
    assert_int_equal(give(&giving), 0);
    assert_int_equal(client_io(WIRE_OP_read), -EINVAL);
    next_map(MAP_MEMBER_STALE);
    giving = usual();
    assert_int_equal(give(&giving), -EINVAL);
    assert_int_equal(client_io(WIRE_OP_read), -EINVAL);
    next_map(MAP_MEMBER_CURRENT);
    assert_int_equal(client_io(WIRE_OP_read), 0);
    assert_int_equal(cut(0, true), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_leader_gives_is_there),
        cmocka_unit_test(a_leader_gets_what_it_can_not_read_itself),
        cmocka_unit_test(only_a_leader_mends),
        cmocka_unit_test(only_the_leader_gives),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(an_older_map_than_the_group_is_refused_and_a_newer_one_waited_for),
        cmocka_unit_test(who_is_not_current_is_not_read),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
