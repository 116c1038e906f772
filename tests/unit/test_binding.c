/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../server/storage/binding.h"

static char metadata[] = "10.0.0.1:7470", host1_a[] = "10.0.0.1:7471", host1_b[] = "10.0.0.1:7480",
            host2[] = "10.0.0.2:7471", host11[] = "10.0.0.11:7471";

static struct conf_storage storage[] = {
    {.listen = host1_a, .shards = 2},
    {.listen = host2, .shards = 4},
    {.listen = host1_b, .shards = 3},
    {.listen = host11, .shards = 1},
};
static const struct conf conf = {.metadata_listen = metadata, .storage = storage, .storage_count = 4};

/* Every thread on a host has another core, and the metadata server's is the first. */
static void test_cores_are_shared_out(void **state)
{
    (void)state;
    assert_int_equal(binding_choose(&conf, &storage[0], 0, 6), 1);
    assert_int_equal(binding_choose(&conf, &storage[0], 1, 6), 2);
    assert_int_equal(binding_choose(&conf, &storage[2], 0, 6), 3);
    assert_int_equal(binding_choose(&conf, &storage[2], 2, 6), 5);
    assert_int_equal(binding_choose(&conf, &storage[1], 0, 4), 0);
    assert_int_equal(binding_choose(&conf, &storage[1], 3, 64), 3);
    assert_int_equal(binding_choose(&conf, &storage[3], 0, 1), 0);
}

static void test_nothing_is_bound_when_cores_are_few(void **state)
{
    (void)state;
    assert_int_equal(binding_choose(&conf, &storage[0], 0, 5), -1);
    assert_int_equal(binding_choose(&conf, &storage[2], 2, 5), -1);
    assert_int_equal(binding_choose(&conf, &storage[1], 0, 3), -1);
}

/* Whoever listens on loopback shares its cores with all its clients. */
static void test_local_clusters_are_left_alone(void **state)
{
    char *const addresses[] = {"127.0.0.1:7471", "localhost:7471", "[::1]:7471"};
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct conf_storage one = {.listen = addresses[i], .shards = 1};
        struct conf local = {.metadata_listen = metadata, .storage = &one, .storage_count = 1};
        assert_int_equal(binding_choose(&local, &one, 0, 64), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cores_are_shared_out),
        cmocka_unit_test(test_nothing_is_bound_when_cores_are_few),
        cmocka_unit_test(test_local_clusters_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
