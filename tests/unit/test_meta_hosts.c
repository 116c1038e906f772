/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts in the cluster map, and files that are placed by them: where a server runs is kept with its groups,
 * also over restarts and moves; new files go to all groups, to those of the host of who makes them, or to
 * those of a named one; and only the servers there are ever asked about them.
 */
#include "meta_files.h"

static const struct wire_map_host hosts[] = {
    {.name = "n0", .chassis = "", .rack = "r0"},
    {.name = "n1", .chassis = "c1", .rack = "r0"},
};

static const struct map *map(void)
{
    return members_map(lab.service->members);
}

/* Servers 0 and 2 on host n0, 1 on n1; targets 0 to 3, as 1 has two. */
static int setup(void **state)
{
    (void)state;
    lab_open_empty(WORLD_STORE_BYTES);
    assert_ok(lab_register_on(&hosts[0], &storage[0], "s0", 1, (uint32_t[]){0}, 1, 7500));
    assert_ok(lab_register_on(&hosts[1], &storage[1], "s1", 1, (uint32_t[]){1, 2}, 2, 7600));
    assert_ok(lab_register_on(&hosts[0], &storage[2], "s2", 1, (uint32_t[]){3}, 1, 7700));
    return 0;
}

static int open_as(const char *path, uint8_t placement, const char *host, struct lab_file *file)
{
    return lab_open_placed(&ann, path, WIRE_OPEN_WRITE | WIRE_OPEN_CREATE, placement, host, file);
}

static struct layout layout_of(const struct lab_file *file)
{
    return capability_layout(&file->capability);
}

static void the_map_tells_where_servers_are(void **state)
{
    (void)state;
    assert_int_equal(map()->host_count, 2);
    assert_string_equal(map_host(map(), 1)->name, "n0");
    assert_string_equal(map_host(map(), 1)->rack, "r0");
    assert_string_equal(map_host(map(), 2)->chassis, "c1");
    assert_int_equal(map()->servers[0].host, 1);
    assert_int_equal(map()->servers[1].host, 2);
    assert_int_equal(map()->servers[2].host, 1);
    assert_int_equal(map_host_groups(map(), 1), 2);
    assert_int_equal(map_host_groups(map(), 2), 2);
    uint64_t version = map()->version;
    lab_restart();
    assert_int_equal(map()->version, version);
    assert_int_equal(map()->servers[2].host, 1);
    assert_string_equal(map_host(map(), 2)->name, "n1");
    assert_int_equal(map_host_groups(map(), 1), 2);
}

static void a_rack_can_change_and_a_server_can_move(void **state)
{
    struct wire_map_host moved = {.name = "n1", .chassis = "c1", .rack = "r9"};
    (void)state;
    uint64_t version = map()->version;
    assert_ok(lab_register_on(&hosts[1], &storage[1], "s1", 1, (uint32_t[]){1, 2}, 2, 7600));
    assert_int_equal(map()->version, version);
    assert_ok(lab_register_on(&moved, &storage[1], "s1", 1, (uint32_t[]){1, 2}, 2, 7600));
    assert_int_equal(map()->version, version + 1);
    assert_string_equal(map_host(map(), 2)->rack, "r9");
    assert_int_equal(map()->host_count, 2);
    /* s2 goes to a host that was not there before. What it holds is at home where it was made. */
    moved = (struct wire_map_host){.name = "n7", .chassis = "", .rack = ""};
    assert_ok(lab_register_on(&moved, &storage[2], "s2", 1, (uint32_t[]){3}, 1, 7700));
    assert_int_equal(map()->host_count, 3);
    assert_int_equal(map()->servers[2].host, 3);
    assert_int_equal(map_host_groups(map(), 1), 2);
    assert_int_equal(map_host_groups(map(), 3), 0);
    lab_restart();
    assert_int_equal(map()->servers[2].host, 3);
    assert_string_equal(map_host(map(), 2)->rack, "r9");
    assert_int_equal(map_host_groups(map(), 1), 2);
}

static void names_that_are_none_are_refused(void **state)
{
    static const struct wire_map_host wrong[] = {
        {.name = "", .chassis = "", .rack = ""},
        {.name = "a b", .chassis = "", .rack = ""},
        {.name = "a", .chassis = "/", .rack = ""},
        {.name = "a", .chassis = "", .rack = "\x1b[1m"},
    };
    (void)state;
    uint64_t version = map()->version;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_result(lab_register_on(&wrong[i], &storage[0], "s0", 1, (uint32_t[]){0}, 1, 7500), -EINVAL);
    assert_int_equal(map()->version, version);
}

/* What a server wrote that knew no hosts: version 1 of the rows, and none of a host. */
static void groups_of_older_stores_get_their_home(void **state)
{
    struct store_txn *txn;
    struct store_bytes row;
    (void)state;
    lab_service_close();
    assert_ok(store_begin(lab.world.store, true, &txn));
    for (uint8_t i = 0; i < 4; i++) {
        uint8_t key[5] = {'g', 0, 0, 0, i}, copy[256];
        assert_ok(store_get(txn, STORE_MEMBERS, (struct store_bytes){key, 5}, &row));
        memcpy(copy, row.data, row.length);
        copy[0] = 1;
        assert_ok(store_put(txn, STORE_MEMBERS, (struct store_bytes){key, 5},
                            (struct store_bytes){copy, row.length - 4}));
        key[0] = 's';
        if (i == 3)
            break;
        assert_ok(store_get(txn, STORE_MEMBERS, (struct store_bytes){key, 5}, &row));
        memcpy(copy, row.data, row.length);
        copy[0] = 1;
        assert_ok(store_put(txn, STORE_MEMBERS, (struct store_bytes){key, 5},
                            (struct store_bytes){copy, row.length - 4}));
    }
    for (uint8_t h = 1; h <= 2; h++)
        assert_ok(store_delete(txn, STORE_MEMBERS, (struct store_bytes){(uint8_t[]){'h', 0, 0, 0, h}, 5}));
    assert_ok(store_commit(txn));
    lab_service_open();
    assert_int_equal(map()->host_count, 0);
    assert_int_equal(map()->group_count, 4);
    lab_connect(&storage[1]);
    assert_ok(lab_register_on(&hosts[1], &storage[1], "s1", 1, (uint32_t[]){1, 2}, 2, 7600));
    assert_int_equal(map_host_groups(map(), 1), 2);
    assert_int_equal(map()->groups[1].home, 1);
    assert_int_equal(map()->groups[0].home, 0);
    lab_restart();
    assert_int_equal(map()->groups[1].home, 1);
    assert_int_equal(map()->groups[2].home, 1);
}

static void a_file_goes_where_it_is_wanted(void **state)
{
    struct lab_file file;
    struct wire_attr attr;
    (void)state;
    assert_ok(open_as("/spread", WIRE_PLACEMENT_SPREAD, "n1", &file));
    assert_int_equal(layout_of(&file).host, 0);
    assert_int_equal(layout_of(&file).group_count, 4);
    assert_int_equal(file.attr.placement, WIRE_PLACEMENT_SPREAD);
    assert_ok(open_as("/default", WIRE_PLACEMENT_DEFAULT, "n1", &file));
    assert_int_equal(layout_of(&file).host, 0);
    assert_ok(open_as("/local", WIRE_PLACEMENT_LOCAL, "n1", &file));
    assert_int_equal(layout_of(&file).host, 2);
    assert_int_equal(layout_of(&file).group_count, 2);
    assert_int_equal(layout_of(&file).stripe_count, 2);
    assert_ok(open_as("/host", WIRE_PLACEMENT_HOST, "n0", &file));
    assert_int_equal(layout_of(&file).host, 1);
    assert_ok(lab_stat(&ann, "/host", &attr));
    assert_int_equal(attr.placement, WIRE_PLACEMENT_HOST);
    assert_int_equal(attr.layout.host, 1);
    /* A client whose host has no storage is not refused for it; a wish for a host is. */
    assert_ok(open_as("/elsewhere", WIRE_PLACEMENT_LOCAL, "n9", &file));
    assert_int_equal(layout_of(&file).host, 0);
    assert_ok(open_as("/nowhere", WIRE_PLACEMENT_LOCAL, "", &file));
    assert_int_equal(layout_of(&file).host, 0);
    assert_result(open_as("/none", WIRE_PLACEMENT_HOST, "n9", &file), -EADDRNOTAVAIL);
    assert_non_null(strstr(err_text(), "n9"));
    assert_result(lab_stat(&ann, "/none", &attr), -ENOENT);
    /* It stays where it is, whoever opens it, and when its host gets more. */
    assert_ok(lab_register_on(&hosts[1], &storage[1], "s1", 1, (uint32_t[]){1, 2, 9}, 3, 7600));
    assert_ok(open_as("/local", WIRE_PLACEMENT_LOCAL, "n0", &file));
    assert_int_equal(layout_of(&file).host, 2);
    assert_int_equal(layout_of(&file).group_count, 2);
    assert_ok(open_as("/local2", WIRE_PLACEMENT_LOCAL, "n1", &file));
    assert_int_equal(layout_of(&file).group_count, 3);
}

static void directories_say_where_files_go(void **state)
{
    struct lab_file file;
    struct wire_attr attr;
    (void)state;
    assert_ok(ask(&root, mkdir, .path = "/d", .mode = 0777));
    assert_ok(ask(&root, layout_set, .path = "/d", .placement = WIRE_PLACEMENT_LOCAL));
    assert_ok(ask(&ann, mkdir, .path = "/d/e", .mode = 0755));
    assert_ok(open_as("/d/e/f", WIRE_PLACEMENT_DEFAULT, "n1", &file));
    assert_int_equal(layout_of(&file).host, 2);
    assert_ok(open_as("/d/e/g", WIRE_PLACEMENT_SPREAD, "n1", &file));
    assert_int_equal(layout_of(&file).host, 0);
    assert_ok(lab_stat(&ann, "/d/e", &attr));
    assert_int_equal(attr.placement, WIRE_PLACEMENT_LOCAL);
    /* What is not named stays. */
    assert_ok(ask(&root, layout_set, .path = "/d", .layout = {.chunk_size = 4096}));
    assert_ok(open_as("/d/h", WIRE_PLACEMENT_DEFAULT, "n0", &file));
    assert_int_equal(layout_of(&file).host, 1);
    assert_int_equal(layout_of(&file).chunk_size, 4096);
    assert_ok(ask(&root, layout_set, .path = "/d", .placement = WIRE_PLACEMENT_HOST, .host = "n1"));
    assert_ok(open_as("/d/i", WIRE_PLACEMENT_DEFAULT, "n0", &file));
    assert_int_equal(layout_of(&file).host, 2);
    assert_ok(lab_stat(&ann, "/d", &attr));
    assert_int_equal(attr.layout.group_count, 2);
    assert_result(ask(&root, layout_set, .path = "/d", .placement = WIRE_PLACEMENT_HOST, .host = "n9"),
                  -EADDRNOTAVAIL);
    assert_ok(ask(&root, layout_set, .path = "/d", .placement = WIRE_PLACEMENT_SPREAD));
    assert_ok(open_as("/d/k", WIRE_PLACEMENT_DEFAULT, "n0", &file));
    assert_int_equal(layout_of(&file).host, 0);
    lab_restart();
    assert_ok(lab_stat(&ann, "/d/e", &attr));
    assert_int_equal(attr.placement, WIRE_PLACEMENT_LOCAL);
}

static uint32_t servers_asked(void)
{
    uint32_t asked = 0;
    list_each(&lab.calls, link, after) asked |= 1u << list_item(link, struct fake_call, link)->server;
    return asked;
}

/* For its size and for its removal. */
static void only_the_servers_of_the_host_are_asked(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(open_as("/f", WIRE_PLACEMENT_HOST, "n0", &file));
    fake_write(0, file.ino, 10);
    lab.answers = false;
    lab_close_and_wait(&ann, &file, true);
    assert_int_equal(servers_asked(), 1u << 0 | 1u << 2);
    lab.answers = true;
    lab_run();
    lab_restart();
    /* Who has it open would have come back by then. */
    lab_live(20000);
    lab.answers = false;
    lab.calls_made = 0;
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_wait(50);
    assert_int_equal(servers_asked() & 1u << 1, 0);
    assert_true(lab.calls_made > 0);
    lab.answers = true;
    lab_run();
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, lab_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_map_tells_where_servers_are),        T(a_rack_can_change_and_a_server_can_move),
        T(names_that_are_none_are_refused),        T(groups_of_older_stores_get_their_home),
        T(a_file_goes_where_it_is_wanted),         T(directories_say_where_files_go),
        T(only_the_servers_of_the_host_are_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
