/* SPDX-License-Identifier: Apache-2.0 */
/* Which ranks are near the network, and in which order ranks become aggregators. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "locality.h"

static hwloc_topology_t load(const char *name)
{
    char path[4096];
    hwloc_topology_t topology;
    snprintf(path, sizeof path, "%s/tests/topologies/%s.xml", getenv("WEFT_TOP_SRCDIR"), name);
    assert_int_equal(hwloc_topology_init(&topology), 0);
    locality_filter(topology);
    assert_int_equal(hwloc_topology_set_xml(topology, path), 0);
    assert_int_equal(hwloc_topology_load(topology), 0);
    return topology;
}

/* Of somebody who runs on the processing units `first` to `last`. */
static bool find(hwloc_topology_t topology, unsigned first, unsigned last, struct locality *place)
{
    hwloc_bitmap_t where = hwloc_bitmap_alloc();
    hwloc_bitmap_set_range(where, first, (int)last);
    bool has_choice = locality_find(topology, where, place);
    hwloc_bitmap_free(where);
    return has_choice;
}

static void assert_place(hwloc_topology_t topology, unsigned first, unsigned last, int distance, int device)
{
    struct locality place;
    assert_true(find(topology, first, last, &place));
    assert_int_equal(place.distance, distance);
    assert_int_equal(place.device, device);
}

static void test_nearest_device(void **state)
{
    (void)state;
    hwloc_topology_t topology = load("two-sockets-two-hcas");
    assert_place(topology, 0, 0, 0, 0);
    assert_place(topology, 0, 3, 0, 0);
    assert_place(topology, 4, 4, 0, 1);
    assert_place(topology, 2, 5, 1, 0); /* across both sockets: beside none */
    hwloc_topology_destroy(topology);
}

/* Ethernet counts where there is nothing better: on the first of these ib0 is mlx5_0's other name. */
static void test_fabric_before_ethernet(void **state)
{
    (void)state;
    hwloc_topology_t topology = load("two-cores-one-hca");
    assert_place(topology, 0, 0, 1, 0);
    assert_place(topology, 1, 1, 0, 0);
    hwloc_topology_destroy(topology);
    topology = load("two-sockets-ethernet");
    assert_place(topology, 0, 3, 1, 0);
    assert_place(topology, 5, 5, 0, 0);
    hwloc_topology_destroy(topology);
}

static void test_no_choice(void **state)
{
    (void)state;
    struct locality place = {7, 7};
    hwloc_topology_t topology;
    assert_int_equal(hwloc_topology_init(&topology), 0);
    locality_filter(topology);
    assert_int_equal(hwloc_topology_set_synthetic(topology, "pack:2 [numa] core:2 pu:1"), 0);
    assert_int_equal(hwloc_topology_load(topology), 0);
    assert_false(find(topology, 0, 0, &place));
    assert_int_equal(place.distance, 0);
    assert_int_equal(place.device, 0);
    hwloc_topology_destroy(topology);
}

/* A mask of units that the machine has not. */
static void test_nowhere(void **state)
{
    (void)state;
    struct locality place;
    hwloc_topology_t topology = load("two-sockets-two-hcas");
    assert_false(find(topology, 64, 65, &place));
    hwloc_topology_destroy(topology);
}

static void assert_order(const int *hosts, const struct locality *places, int ranks, int wanted,
                         const int *expected)
{
    int chosen[16];
    int count = locality_spread(hosts, places, ranks, chosen, wanted);
    assert_int_equal(count, wanted < ranks ? wanted : ranks);
    for (int i = 0; i < count; i++)
        assert_int_equal(chosen[i], expected[i]);
}

static void test_hosts_take_turns(void **state)
{
    (void)state;
    const int hosts[] = {0, 0, 0, 1, 1, 2};
    assert_order(hosts, NULL, 6, 6, (int[]){0, 3, 5, 1, 4, 2});
    assert_order(hosts, NULL, 6, 2, (int[]){0, 3});
    assert_order(hosts, NULL, 6, 100, (int[]){0, 3, 5, 1, 4, 2});
    assert_order(hosts, NULL, 1, 1, (int[]){0});
}

static void test_near_ranks_first(void **state)
{
    (void)state;
    const int hosts[] = {0, 0, 0, 0, 1, 1, 1, 1};
    const struct locality places[] = {{1, 0}, {0, 0}, {1, 0}, {0, 0}, {2, 0}, {2, 0}, {2, 0}, {0, 0}};
    assert_order(hosts, places, 8, 8, (int[]){1, 7, 3, 4, 0, 5, 2, 6});
}

/* Two of each device: the first of each before the second of any. */
static void test_devices_take_turns(void **state)
{
    (void)state;
    const int hosts[] = {0, 0, 0, 0, 0};
    const struct locality places[] = {{0, 0}, {0, 0}, {0, 1}, {0, 1}, {0, 0}};
    assert_order(hosts, places, 5, 5, (int[]){0, 2, 1, 3, 4});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nearest_device),     cmocka_unit_test(test_fabric_before_ethernet),
        cmocka_unit_test(test_no_choice),          cmocka_unit_test(test_nowhere),
        cmocka_unit_test(test_hosts_take_turns),   cmocka_unit_test(test_near_ranks_first),
        cmocka_unit_test(test_devices_take_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
