/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A storage server whose cluster map is older than the metadata server's. What must survive:
 * the truncation or removal of a file in groups that the server has not heard of yet.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "storaged_peer.h"

enum { INO = 5, LENGTH = 12 * PEER_CHUNK };

static struct peer peer;

static int setup(void **state)
{
    static uint8_t data[LENGTH];
    (void)state;
    peer_open(&peer, "");
    peer_start(&peer);
    memset(data, 0xa5, sizeof data);
    assert_int_equal(peer_write(&peer, INO, 0, data, LENGTH), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    peer_close(&peer);
    return 0;
}

/* The server comes to hold a map of `groups` groups only. Then the cluster has all of
 * them; the server hears of that at its next heartbeat, or when it asks. */
static void leave_behind(uint32_t groups)
{
    peer_map_next(&peer);
    peer.map->group_count = groups;
    unsigned before = peer.heartbeats;
    while (peer.heartbeats < before + 2)
        peer_idle(&peer, 1);
    peer_map_next(&peer);
}

static uint64_t end_of_file(void)
{
    uint64_t end;
    assert_int_equal(peer_end(&peer, INO, &end), 0);
    return end;
}

/* Each shard in turn is the first to hear of the groups. */
static void test_truncation_waits_for_the_map(void **state)
{
    (void)state;
    assert_true(end_of_file() > 2 * PEER_CHUNK);
    for (uint32_t k = 0; k < PEER_SHARDS; k++) {
        leave_behind(1);
        assert_int_equal(peer_truncate(&peer, peer.manager_to_shard[k], INO, PEER_CHUNK, false), 0);
    }
    assert_true(end_of_file() <= PEER_CHUNK);
    assert_int_equal(peer_counter(&peer, "requests_refused"), 0);
}

static void test_removal_waits_for_the_map(void **state)
{
    (void)state;
    for (uint32_t k = 0; k < PEER_SHARDS; k++) {
        leave_behind(1);
        assert_int_equal(peer_remove(&peer, peer.manager_to_shard[k], INO), 0);
    }
    assert_int_equal(end_of_file(), 0);
    assert_int_equal(peer_counter(&peer, "requests_refused"), 0);
}

/* Groups that no map has are not waited for without end. */
static void test_unknown_groups_are_refused(void **state)
{
    (void)state;
    peer_map_next(&peer);
    peer.map->group_count = 1;
    unsigned before = peer.heartbeats;
    while (peer.heartbeats < before + 2)
        peer_idle(&peer, 1);
    assert_int_equal(peer_truncate(&peer, peer.manager_to_shard[0], INO, 0, false), -EINVAL);
    assert_int_equal(peer_remove(&peer, peer.manager_to_shard[0], INO), -EINVAL);
    assert_int_equal(peer_counter(&peer, "requests_refused"), 2);
}

/* ---- losses ------------------------------------------------------------- */

static int write_by(uint64_t map_version)
{
    static const uint8_t data[PEER_CHUNK];
    uint8_t body[512];
    struct answer answer = {0};
    const struct wire_capability capability = peer_capability(&peer, INO, WIRE_ACCESS_WRITE);
    const struct layout layout = peer_layout();
    uint64_t offset = 0;
    uint32_t group;
    while ((group = map_group_of(peer.map, &layout, layout_place_of(&layout, offset).position)) > 1)
        offset += PEER_CHUNK;
    const struct wire_extent extent = {.offset = offset, .length = PEER_CHUNK, .target = group};
    const uint32_t shard = layout_shard_of(layout_place_of(&layout, offset).row, PEER_SHARDS);
    const size_t length =
        peer_encode_io(WIRE_OP_write, &capability, map_version, &extent, 1, body, sizeof body);
    peer_call(&peer, peer.to_shard[shard], WIRE_OP_write, body, length, data, sizeof data, &answer);
    return answer.status;
}

/* Who does not know of a loss has to hear of it before anything is done for him, also when this process
 * of the server never had another map. */
static void test_a_map_without_the_loss_is_refused(void **state)
{
    (void)state;
    assert_int_equal(peer.registered_losses[0], 0);
    const uint64_t before = peer.map->version;
    assert_int_equal(write_by(before), 0);
    peer_signal(&peer, SIGKILL);
    peer_map_next(&peer);
    peer.map->targets[1].lost_at = before + 1;
    peer_start(&peer);
    assert_int_equal(write_by(before), -ESTALE);
    assert_int_equal(write_by(before + 1), 0);
    assert_int_equal(write_by(before + 2), 0);
    assert_int_equal(peer_counter(&peer, "requests_stale"), 1);
    /* Versions without one do not matter. */
    peer_signal(&peer, SIGKILL);
    peer_start(&peer);
    assert_int_equal(write_by(before + 1), 0);
}

static void test_a_target_that_was_put_back_registers_again(void **state)
{
    (void)state;
    peer_signal(&peer, SIGKILL);
    peer.map->targets[1].losses = 4;
    const unsigned before = peer.registrations;
    peer_start(&peer);
    assert_int_equal(peer.registrations, before + 2);
    assert_int_equal(peer.registered_losses[0], 0);
    assert_int_equal(peer.registered_losses[1], 5);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_truncation_waits_for_the_map),
        TEST(test_removal_waits_for_the_map),
        TEST(test_unknown_groups_are_refused),
        TEST(test_a_map_without_the_loss_is_refused),
        TEST(test_a_target_that_was_put_back_registers_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
