/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A storage server whose cluster map is older than the metadata server's. What must survive:
 * the truncation or removal of a file in groups that the server has not heard of yet.
 */
#include <errno.h>
#include <setjmp.h>
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

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_truncation_waits_for_the_map),
        TEST(test_removal_waits_for_the_map),
        TEST(test_unknown_groups_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
