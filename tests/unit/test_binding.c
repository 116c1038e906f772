/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the placement of shards is a matter of the configuration: when nothing is bound, what overrides
 * do, and that they are refused where the host lacks what they name. What is a matter of the machine is
 * in tests/topologies.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "binding.h"
#include "err.h"

static char metadata[] = "10.0.0.1:7470", host1_a[] = "10.0.0.1:7471", host1_b[] = "10.0.0.1:7480",
            host2[] = "10.0.0.2:7471", host11[] = "10.0.0.11:7471", name[] = "s",
            where[] = "weft.conf:7: storage[0].x";

static struct conf_storage storage[] = {
    {.name = name, .listen = host1_a, .shards = 2},
    {.name = name, .listen = host2, .shards = 4},
    {.name = name, .listen = host1_b, .shards = 3},
    {.name = name, .listen = host11, .shards = 1},
};
static const struct conf conf = {.metadata_listen = metadata, .storage = storage, .storage_count = 4};

static struct topology *machine(const char *description)
{
    struct topology *topology;
    assert_int_equal(topology_open(description, &topology), 0);
    return topology;
}

static struct binding *plan(const struct topology *topology, const struct conf *of_conf,
                            const struct conf_storage *of)
{
    struct binding *binding;
    assert_int_equal(binding_make(topology, of_conf, of, NULL, &binding), 0);
    return binding;
}

/* The first CPU of the shard; -1: it is not bound. */
static int cpu_of(const struct binding *binding, const struct conf_storage *of, uint32_t index)
{
    const struct binding_shard *shard = binding_shard(binding, of, index);
    assert_non_null(shard);
    return shard->cpus ? hwloc_bitmap_first(shard->cpus) : -1;
}

static void assert_cpu(const char *description, const struct conf_storage *of, uint32_t index, int cpu)
{
    struct topology *topology = machine(description);
    struct binding *binding = plan(topology, &conf, of);
    assert_int_equal(cpu_of(binding, of, index), cpu);
    binding_free(binding);
    topology_close(topology);
}

/* Every thread on a host has another core, and the metadata server's is the first. */
static void test_cores_are_shared_out(void **state)
{
    (void)state;
    assert_cpu("core:6 pu:1", &storage[0], 0, 1);
    assert_cpu("core:6 pu:1", &storage[0], 1, 2);
    assert_cpu("core:6 pu:1", &storage[2], 0, 3);
    assert_cpu("core:6 pu:1", &storage[2], 2, 5);
    assert_cpu("core:4 pu:1", &storage[1], 0, 0);
    assert_cpu("core:64 pu:1", &storage[1], 3, 3);
    assert_cpu("core:1 pu:1", &storage[3], 0, 0);
}

static void test_nothing_is_bound_when_cores_are_few(void **state)
{
    (void)state;
    assert_cpu("core:5 pu:2", &storage[0], 0, -1);
    assert_cpu("core:5 pu:2", &storage[2], 2, -1);
    assert_cpu("core:3 pu:1", &storage[1], 0, -1);
}

/* Whoever listens on loopback shares its cores with all its clients. */
static void test_local_clusters_are_left_alone(void **state)
{
    char *const addresses[] = {"127.0.0.1:7471", "localhost:7471", "[::1]:7471"};
    (void)state;
    struct topology *topology = machine("core:64 pu:1");
    for (unsigned i = 0; i < 3; i++) {
        struct conf_storage one = {.name = name, .listen = addresses[i], .shards = 1};
        struct conf local = {.metadata_listen = metadata, .storage = &one, .storage_count = 1};
        struct binding *binding = plan(topology, &local, &one);
        assert_int_equal(cpu_of(binding, &one, 0), -1);
        assert_non_null(strstr(binding_shard(binding, &one, 0)->reason, "only this host"));
        binding_free(binding);
        one.binding.mode = CONF_BINDING_ALWAYS;
        binding = plan(topology, &local, &one);
        assert_int_equal(cpu_of(binding, &one, 0), 0);
        binding_free(binding);
    }
    topology_close(topology);
}

/* A share of the CPUs' time is no core of one's own. */
static void test_a_quota_leaves_all_unbound(void **state)
{
    (void)state;
    struct topology *topology = machine("core:64 pu:1");
    topology->quota = 2.5;
    struct binding *binding = plan(topology, &conf, &storage[1]);
    assert_int_equal(cpu_of(binding, &storage[1], 0), -1);
    assert_non_null(strstr(binding_shard(binding, &storage[1], 0)->reason, "2.5 CPUs"));
    binding_free(binding);
    topology_close(topology);
}

/* Only what the process may use counts. */
static void test_limits_are_respected(void **state)
{
    (void)state;
    struct topology *topology = machine("core:8 pu:1");
    hwloc_bitmap_list_sscanf(topology->usable, "2-3,5-6");
    struct binding *binding = plan(topology, &conf, &storage[1]);
    const int cpus[] = {2, 3, 5, 6};
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(cpu_of(binding, &storage[1], i), cpus[i]);
    binding_free(binding);
    hwloc_bitmap_list_sscanf(topology->usable, "2-3,5");
    binding = plan(topology, &conf, &storage[1]);
    assert_int_equal(cpu_of(binding, &storage[1], 0), -1);
    binding_free(binding);
    topology_close(topology);
}

/* ---- overrides ------------------------------------------------------------------ */

struct overriding {
    struct conf_storage storage[2];
    struct conf conf;
    struct topology *topology;
    struct binding *binding;
};

/* Two servers of two shards each on one host; a test sets overrides before plan_overriding(). */
static void begin_overriding(struct overriding *world, const char *description)
{
    *world = (struct overriding){
        .storage = {{.name = name, .listen = host1_a, .shards = 2},
                    {.name = name, .listen = host1_b, .shards = 2}},
    };
    world->conf = (struct conf){.metadata_listen = host2, .storage = world->storage, .storage_count = 2};
    world->topology = machine(description);
}

static void plan_overriding(struct overriding *world)
{
    world->binding = plan(world->topology, &world->conf, &world->storage[0]);
}

static void end_overriding(struct overriding *world)
{
    binding_free(world->binding);
    topology_close(world->topology);
}

static void test_named_cores_come_first(void **state)
{
    (void)state;
    struct overriding world;
    begin_overriding(&world, "core:4 pu:1");
    world.storage[1].binding.cores = (struct conf_each){where, (char *[]){"0", "1,3"}};
    plan_overriding(&world);
    assert_int_equal(cpu_of(world.binding, &world.storage[1], 0), 0);
    assert_int_equal(hwloc_bitmap_weight(binding_shard(world.binding, &world.storage[1], 1)->cpus), 2);
    assert_int_equal(cpu_of(world.binding, &world.storage[0], 0), 2);
    assert_int_equal(cpu_of(world.binding, &world.storage[0], 1), -1); /* none is left */
    end_overriding(&world);
}

static void test_none_is_none(void **state)
{
    (void)state;
    struct overriding world;
    begin_overriding(&world, "core:4 pu:1");
    world.storage[0].binding.mode = CONF_BINDING_NONE;
    plan_overriding(&world);
    assert_int_equal(cpu_of(world.binding, &world.storage[0], 0), -1);
    assert_int_equal(cpu_of(world.binding, &world.storage[1], 0), 0);
    end_overriding(&world);
}

/* One shard a core before hyperthreads; a core's first thread is then whose it was. */
static void test_always_goes_on_with_hyperthreads(void **state)
{
    (void)state;
    struct overriding world;
    begin_overriding(&world, "core:3 pu:2");
    world.storage[0].binding.mode = world.storage[1].binding.mode = CONF_BINDING_ALWAYS;
    plan_overriding(&world);
    assert_int_equal(cpu_of(world.binding, &world.storage[0], 0), 0);
    assert_int_equal(cpu_of(world.binding, &world.storage[0], 1), 2);
    assert_int_equal(cpu_of(world.binding, &world.storage[1], 0), 4);
    assert_int_equal(cpu_of(world.binding, &world.storage[1], 1), 1);
    assert_int_equal(hwloc_bitmap_weight(binding_shard(world.binding, &world.storage[0], 0)->cpus), 1);
    end_overriding(&world);
}

static void test_a_node_draws_its_shards(void **state)
{
    (void)state;
    struct overriding world;
    begin_overriding(&world, "pack:2 [numa] core:4 pu:1");
    world.storage[0].binding.numa = (struct conf_each){where, (char *[]){"1", "1"}};
    plan_overriding(&world);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(cpu_of(world.binding, &world.storage[0], i), 4 + (int)i);
        assert_int_equal(binding_shard(world.binding, &world.storage[0], i)->node->os_index, 1);
    }
    end_overriding(&world);
}

/* Helper threads stay near, away from all that is bound. */
static void test_helpers_have_the_free_cores(void **state)
{
    (void)state;
    struct overriding world;
    begin_overriding(&world, "pack:2 [numa] core:3 pu:1");
    plan_overriding(&world);
    for (uint32_t i = 0; i < 4; i++) {
        const struct binding_shard *shard = &world.binding->shards[i];
        char text[32];
        hwloc_bitmap_list_snprintf(text, sizeof text, shard->around);
        assert_string_equal(text, hwloc_bitmap_first(shard->cpus) < 3 ? "2" : "5");
    }
    end_overriding(&world);
}

/* ---- what the host lacks ------------------------------------------------------------ */

static void assert_refused(const struct overriding *world, const char *why)
{
    assert_int_equal(binding_check(world->topology, &world->storage[0]), -EINVAL);
    if (strncmp(err_text(), where, strlen(where)) != 0 || !strstr(err_text(), why))
        fail_msg("\"%s\" does not begin with \"%s\" and say \"%s\"", err_text(), where, why);
}

static void test_what_is_not_there_is_refused(void **state)
{
    (void)state;
    struct overriding world;
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/topologies/two-sockets-two-hcas.xml", getenv("WEFT_TOP_SRCDIR"));
    begin_overriding(&world, path);
    struct conf_binding *told = &world.storage[0].binding;
    assert_int_equal(binding_check(world.topology, &world.storage[0]), 0);
    told->cores = (struct conf_each){where, (char *[]){"0", "7-8"}};
    assert_refused(&world, "CPU 7-8 for shard 1 is not among those that this process may use");
    told->cores = (struct conf_each){where, (char *[]){"0", "7"}};
    assert_int_equal(binding_check(world.topology, &world.storage[0]), 0);
    told->numa = (struct conf_each){where, (char *[]){"0", "2"}};
    assert_refused(&world, "NUMA node 2 is not among");
    told->numa = (struct conf_each){0};
    told->devices = (struct conf_each){where, (char *[]){"mlx5_1:1,lo", "mlx5_2"}};
    assert_refused(&world, "no network device \"mlx5_2\"; it has: mlx5_0, mlx5_1, eth0, lo");
    told->devices = (struct conf_each){where, (char *[]){"mlx5_1:1,lo", "eth0"}};
    assert_int_equal(binding_check(world.topology, &world.storage[0]), 0);
    plan_overriding(&world);
    assert_string_equal(binding_shard(world.binding, &world.storage[0], 0)->devices, "mlx5_1:1,lo");
    assert_string_equal(binding_shard(world.binding, &world.storage[0], 1)->devices, "eth0");
    end_overriding(&world);
}

static void test_addresses(void **state)
{
    (void)state;
    assert_true(binding_same_host("10.0.0.1:7471", "10.0.0.1:80"));
    assert_false(binding_same_host("10.0.0.1:7471", "10.0.0.11:7471"));
    assert_true(binding_is_loopback("127.0.0.1:7471"));
    assert_false(binding_is_loopback("10.0.0.1:7471"));
    assert_true(binding_is_here("127.0.0.1:7471"));
    assert_true(binding_is_here("[::1]:7471"));
    assert_false(binding_is_here("192.0.2.1:7471")); /* an address for examples */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cores_are_shared_out),
        cmocka_unit_test(test_nothing_is_bound_when_cores_are_few),
        cmocka_unit_test(test_local_clusters_are_left_alone),
        cmocka_unit_test(test_a_quota_leaves_all_unbound),
        cmocka_unit_test(test_limits_are_respected),
        cmocka_unit_test(test_named_cores_come_first),
        cmocka_unit_test(test_none_is_none),
        cmocka_unit_test(test_always_goes_on_with_hyperthreads),
        cmocka_unit_test(test_a_node_draws_its_shards),
        cmocka_unit_test(test_helpers_have_the_free_cores),
        cmocka_unit_test(test_what_is_not_there_is_refused),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
