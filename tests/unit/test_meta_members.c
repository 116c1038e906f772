/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster's members: groups are only ever appended, the map's version
 * grows with every change and with nothing else, also over restarts; servers
 * that are silent go down, and come back.
 */
#include "meta_files.h"

static const struct map *map(void)
{
    return members_map(lab.service->members);
}

static uint32_t target_of_group(uint32_t group)
{
    assert_true(group < map()->group_count);
    assert_int_equal(map()->groups[group].member_count, 1);
    return map()->targets[map()->groups[group].members[0]].id;
}

static int setup_empty(void **state)
{
    (void)state;
    lab_open_empty(WORLD_STORE_BYTES);
    return 0;
}

static void registration_appends_targets_and_groups(void **state)
{
    (void)state;
    uint64_t version = map()->version;
    assert_ok(lab_register(&storage[0], "s0", 2, (uint32_t[]){7, 3}, 2, 7500));
    assert_int_equal(map()->version, version + 1);
    assert_ok(lab_register(&storage[1], "s1", 1, (uint32_t[]){5}, 1, 7600));
    assert_int_equal(map()->version, version + 2);
    assert_int_equal(map()->server_count, 2);
    assert_int_equal(map()->target_count, 3);
    assert_int_equal(map()->group_count, 3);
    /* Groups in the order of registration, and of ids within one. */
    assert_int_equal(target_of_group(0), 3);
    assert_int_equal(target_of_group(1), 7);
    assert_int_equal(target_of_group(2), 5);
    for (uint32_t i = 1; i < map()->target_count; i++)
        assert_true(map()->targets[i - 1].id < map()->targets[i].id);
    assert_string_equal(map()->servers[0].addresses[1], "127.0.0.1:7501");
    /* A new target of a known server. */
    assert_ok(lab_register(&storage[0], "s0", 2, (uint32_t[]){7, 3, 1}, 3, 7500));
    assert_int_equal(target_of_group(3), 1);
    assert_int_equal(target_of_group(0), 3);
    assert_int_equal(map()->server_count, 2);
}

static void registering_again_changes_nothing(void **state)
{
    (void)state;
    assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){0}, 1, 7500));
    uint64_t version = map()->version;
    struct world_dump before = world_dump(lab.world.store);
    assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){0}, 1, 7500));
    assert_int_equal(map()->version, version);
    assert_same_dump(before, world_dump(lab.world.store));
    /* Another address is a change. */
    assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){0}, 1, 7900));
    assert_int_equal(map()->version, version + 1);
    assert_string_equal(map()->servers[0].addresses[0], "127.0.0.1:7900");
    assert_int_equal(map()->group_count, 1);
}

/* What a target counts is told by one version of the map, the one that told it first. */
static void losses_are_told_once_and_never_taken_back(void **state)
{
    (void)state;
    lab_losses[3] = 2; /* before it was known */
    assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){7, 3}, 2, 7500));
    assert_int_equal(map_target_by_id(map(), 3)->losses, 2);
    assert_int_equal(map_target_by_id(map(), 3)->lost_at, 0);
    uint64_t version = map()->version;
    lab_losses[3] = 3;
    assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){7, 3}, 2, 7500));
    assert_int_equal(map()->version, version + 1);
    assert_int_equal(map_target_by_id(map(), 3)->losses, 3);
    assert_int_equal(map_target_by_id(map(), 3)->lost_at, version + 1);
    assert_int_equal(map_target_by_id(map(), 7)->lost_at, 0);
    /* Once more the same, and one that was long on its way. */
    assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){7, 3}, 2, 7500));
    assert_int_equal(map()->version, version + 1);
    lab_losses[3] = 2;
    assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){7, 3}, 2, 7900));
    assert_int_equal(map()->version, version + 2);
    assert_int_equal(map_target_by_id(map(), 3)->losses, 3);
    assert_int_equal(map_target_by_id(map(), 3)->lost_at, version + 1);
    /* Others that come and go do not matter. */
    assert_ok(lab_register(&storage[1], "s1", 1, (uint32_t[]){5}, 1, 7600));
    lab_restart();
    assert_int_equal(map_target_by_id(map(), 3)->losses, 3);
    assert_int_equal(map_target_by_id(map(), 3)->lost_at, version + 1);
    assert_int_equal(map_target_by_id(map(), 5)->lost_at, 0);
    const struct layout all = {.chunk_size = 4096, .stripe_count = 3, .group_count = 3};
    assert_ptr_equal(map_lost_since(map(), &all, version), map_target_by_id(map(), 3));
    assert_null(map_lost_since(map(), &all, version + 1));
}

/* Another size is told by a new version of the map; nearly the same, and none, are nothing new. */
static void a_targets_size_is_told_when_it_changes(void **state)
{
    (void)state;
    const uint64_t size = UINT64_C(1) << 40;
    assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){2, 3}, 2, 7500));
    assert_int_equal(map_target_by_id(map(), 3)->capacity, 0);
    const uint64_t version = map()->version;
    const uint64_t told[] = {size, size - size / 100, 0, size + size / 10, size + size / 10};
    const uint64_t known[] = {size, size, size, size + size / 10, size + size / 10};
    const uint64_t versions[] = {1, 1, 1, 2, 2};
    for (int i = 0; i < 5; i++) {
        lab_capacities[3] = told[i];
        assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){2, 3}, 2, 7500));
        assert_int_equal(map()->version, version + versions[i]);
        assert_int_equal(map_target_by_id(map(), 3)->capacity, known[i]);
        assert_int_equal(map_target_by_id(map(), 2)->capacity, 0);
    }
    /* With losses, and without, over a restart. */
    lab_losses[2] = 1;
    assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){2, 3}, 2, 7500));
    lab_restart();
    assert_int_equal(map_target_by_id(map(), 3)->capacity, size + size / 10);
    assert_int_equal(map_target_by_id(map(), 3)->losses, 0);
    assert_int_equal(map_target_by_id(map(), 2)->capacity, 0);
    assert_int_equal(map_target_by_id(map(), 2)->losses, 1);
}

static void the_map_is_the_same_after_a_restart(void **state)
{
    uint8_t before[4096], after[4096];
    struct wire_bytes encoded;
    (void)state;
    assert_ok(lab_register(&storage[0], "s0", 2, (uint32_t[]){7, 3}, 2, 7500));
    assert_ok(lab_register(&storage[1], "s1", 1, (uint32_t[]){5}, 1, 7600));
    assert_ok(ask(&storage[0], heartbeat, .name = "s0"));
    assert_ok(ask(&storage[1], heartbeat, .name = "s1"));
    assert_ok(members_encoded(lab.service->members, &encoded));
    size_t length = encoded.length;
    memcpy(before, encoded.data, length);
    lab_restart();
    assert_ok(members_encoded(lab.service->members, &encoded));
    assert_int_equal(encoded.length, length);
    memcpy(after, encoded.data, length);
    assert_memory_equal(before, after, length);
    /* It is a map to others, too. */
    struct map *decoded;
    assert_ok(map_decode(after, length, &decoded));
    assert_int_equal(decoded->group_count, 3);
    assert_string_equal(decoded->metadata_address, "127.0.0.1:7470");
    map_unref(decoded);
}

static void refused_registrations_leave_no_trace(void **state)
{
    uint8_t bytes[256];
    (void)state;
    assert_ok(lab_register(&storage[0], "s0", 2, (uint32_t[]){7, 3}, 2, 7500));
    struct world_dump before = world_dump(lab.world.store);
    uint64_t version = map()->version;
    assert_result(lab_register(&storage[1], "s1", 1, (uint32_t[]){3}, 1, 7600), -EEXIST);
    assert_non_null(strstr(err_text(), "target 3 belongs to storage server s0"));
    assert_result(lab_register(&storage[1], "s1", 1, (uint32_t[]){4, 4}, 2, 7600), -EINVAL);
    assert_result(lab_register(&storage[1], "s1", 1, NULL, 0, 7600), -EINVAL);
    assert_result(lab_register(&storage[1], "s1", 0, (uint32_t[]){4}, 1, 7600), -EINVAL);
    assert_result(lab_register(&storage[1], "", 1, (uint32_t[]){4}, 1, 7600), -EINVAL);
    assert_result(lab_register(&storage[1], "s 1", 1, (uint32_t[]){4}, 1, 7600), -EINVAL);
    /* The data of s0 is spread over two shards. */
    assert_result(lab_register(&storage[0], "s0", 1, (uint32_t[]){7, 3}, 2, 7500), -EINVAL);
    assert_non_null(strstr(err_text(), "shards = 2"));
    /* Lists that are not what they say. */
    struct wire_writer writer = wire_writer_on(bytes, sizeof bytes);
    wire_put_address(&writer, &(struct wire_address){.text = "127.0.0.1:1"});
    struct wire_list one = wire_list_of(&writer, 1), two = one;
    two.count = 2;
    struct wire_writer number = wire_writer_on(bytes + 100, sizeof bytes - 100);
    wire_put_served_target(&number, &(struct wire_served_target){.id = 4});
    struct wire_list target = wire_list_of(&number, 1), targets = target;
    targets.count = 3;
    assert_result(ask(&storage[1], server_register, .name = "s1",
                      .host = {.name = "h", .chassis = "", .rack = ""}, .addresses = two, .targets = target),
                  -EBADMSG);
    assert_result(ask(&storage[1], server_register, .name = "s1",
                      .host = {.name = "h", .chassis = "", .rack = ""}, .addresses = one, .targets = targets),
                  -EBADMSG);
    assert_int_equal(map()->version, version);
    assert_same_dump(before, world_dump(lab.world.store));
}

static void a_silent_server_goes_down_and_comes_back(void **state)
{
    (void)state;
    lab_register_all();
    uint64_t version = map()->version;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(map()->version, version);
        assert_ok(ask(&storage[0], heartbeat, .name = "s0", .map_version = version));
        assert_ok(ask(&storage[2], heartbeat, .name = "s2", .map_version = version));
        lab_wait(1000);
    }
    assert_int_equal(map()->version, version + 1);
    assert_int_equal(map()->servers[0].state, MAP_STATE_UP);
    assert_int_equal(map()->servers[1].state, MAP_STATE_DOWN);
    assert_int_equal(map_target_by_id(map(), 1)->state, MAP_STATE_DOWN);
    assert_int_equal(map_target_by_id(map(), 2)->state, MAP_STATE_UP);
    /* It stays down over a restart. */
    lab_restart();
    assert_int_equal(map()->version, version + 1);
    assert_int_equal(map()->servers[1].state, MAP_STATE_DOWN);
    assert_result(ask(&storage[1], heartbeat, .name = "s1"), -ENOENT);
    assert_ok(lab_register(&storage[1], "s1", 1, (uint32_t[]){1}, 1, 7510));
    assert_int_equal(map()->version, version + 2);
    assert_int_equal(map()->servers[1].state, MAP_STATE_UP);
    assert_int_equal(map_target_by_id(map(), 1)->state, MAP_STATE_UP);
    assert_int_equal(map()->group_count, 3);
    lab_live(30000);
    assert_int_equal(map()->version, version + 2);
}

static void servers_have_a_lease_to_be_heard_after_a_restart(void **state)
{
    (void)state;
    lab_register_all();
    lab_restart();
    lab_wait(9000);
    assert_int_equal(map()->servers[0].state, MAP_STATE_UP);
    lab_heartbeats();
    lab_wait(9000);
    assert_int_equal(map()->servers[0].state, MAP_STATE_UP);
    lab_wait(2000);
    assert_int_equal(map()->servers[0].state, MAP_STATE_DOWN);
}

static void silence_does_not_count_while_this_server_was_deaf(void **state)
{
    (void)state;
    lab_register_all();
    lab_live(3000);
    uint64_t version = map()->version;
    /* A flush that took a minute. */
    lab_jump(60000);
    assert_int_equal(map()->version, version);
    lab_wait(7000);
    lab_heartbeats();
    lab_wait(9000);
    assert_int_equal(map()->version, version);
    lab_wait(2000);
    assert_int_equal(map()->version, version + 1);
    assert_int_equal(map()->servers[2].state, MAP_STATE_DOWN);
}

static void a_target_that_is_not_there_any_more_is_down(void **state)
{
    (void)state;
    assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){0, 1}, 2, 7500));
    uint64_t version = map()->version;
    assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){1}, 1, 7500));
    assert_int_equal(map()->version, version + 1);
    assert_int_equal(map()->servers[0].state, MAP_STATE_UP);
    assert_int_equal(map_target_by_id(map(), 0)->state, MAP_STATE_DOWN);
    assert_int_equal(map_target_by_id(map(), 1)->state, MAP_STATE_UP);
    assert_int_equal(map()->group_count, 2);
}

static void a_heartbeat_brings_the_map_when_it_is_newer(void **state)
{
    struct wire_heartbeat_reply reply;
    struct map *decoded;
    (void)state;
    lab_register_all();
    assert_result(ask(&storage[0], heartbeat, .name = "unheard"), -ENOENT);
    struct lab_answer *answer = submit(&storage[0], heartbeat, .name = "s0", .map_version = map()->version);
    lab_run();
    decode_answer(answer, heartbeat_reply, &reply);
    assert_int_equal(reply.map.length, 0);
    lab_answer_free(answer);
    answer = submit(&storage[0], heartbeat, .name = "s0", .map_version = map()->version - 1);
    lab_run();
    decode_answer(answer, heartbeat_reply, &reply);
    assert_ok(map_decode(reply.map.data, reply.map.length, &decoded));
    assert_int_equal(decoded->version, map()->version);
    map_unref(decoded);
    lab_answer_free(answer);
}

/* An operation without a body. */
static struct lab_answer *ask_plain(struct lab_client *client, uint16_t operation)
{
    struct lab_answer *answer = lab_answer_new();
    lab_submit_as(client, ++client->request_id, operation, answer, 0);
    lab_run();
    return answer;
}

static void statfs_sums_what_is_up(void **state)
{
    struct wire_statfs_reply reply;
    (void)state;
    lab_register_all();
    struct lab_answer *answer = ask_plain(&ann, WIRE_OP_statfs);
    decode_answer(answer, statfs_reply, &reply);
    assert_int_equal(reply.bytes_total, 3000000);
    assert_int_equal(reply.bytes_free, 1800000);
    assert_int_equal(reply.servers_up, 3);
    assert_int_equal(reply.files, 1);
    lab_answer_free(answer);
    for (int i = 0; i < 11; i++) {
        assert_ok(ask(&storage[0], heartbeat, .name = "s0", .bytes_total = 50, .bytes_free = 60));
        lab_wait(1000);
    }
    answer = ask_plain(&ann, WIRE_OP_statfs);
    decode_answer(answer, statfs_reply, &reply);
    assert_int_equal(reply.servers, 3);
    assert_int_equal(reply.servers_up, 1);
    assert_int_equal(reply.targets_up, 1);
    assert_int_equal(reply.bytes_total, 50);
    assert_int_equal(reply.bytes_free, 50);
    lab_answer_free(answer);
}

static void map_and_counters_can_be_asked_for(void **state)
{
    struct wire_map_get_reply map_reply;
    struct wire_counters_reply counters;
    struct map *decoded;
    bool found = false;
    (void)state;
    lab_register_all();
    struct lab_answer *answer = ask_plain(&ann, WIRE_OP_map_get);
    decode_answer(answer, map_get_reply, &map_reply);
    assert_ok(map_decode(map_reply.map.data, map_reply.map.length, &decoded));
    assert_int_equal(decoded->servers[2].bytes_free, 600000);
    map_unref(decoded);
    lab_answer_free(answer);
    answer = ask_plain(&storage[0], WIRE_OP_counters);
    decode_answer(answer, counters_reply, &counters);
    struct wire_reader reader = wire_list_reader(&counters.counters);
    for (uint32_t i = 0; i < counters.counters.count; i++) {
        struct wire_counter counter;
        wire_get_counter(&reader, &counter);
        if (strcmp(counter.name, "commits") == 0) {
            found = true;
            assert_int_equal(counter.value, SERVERS);
        }
    }
    assert_ok(wire_read_all(&reader, "counters"));
    assert_true(found);
    lab_answer_free(answer);
}

static void no_file_can_be_made_before_a_server_is_there(void **state)
{
    struct lab_file file;
    (void)state;
    assert_result(lab_open(&ann, "/f", WIRE_OPEN_WRITE | WIRE_OPEN_CREATE, &file), -ENODEV);
    assert_ok(ask(&ann, mkdir, .path = "/d", .mode = 0755));
}

static void files_keep_their_layout_when_groups_are_added(void **state)
{
    struct lab_file old, new;
    struct wire_attr attr;
    (void)state;
    assert_ok(lab_register(&storage[0], "s0", 1, (uint32_t[]){0}, 1, 7500));
    assert_ok(lab_open(&ann, "/old", WIRE_OPEN_WRITE | WIRE_OPEN_CREATE, &old));
    assert_ok(lab_register(&storage[1], "s1", 1, (uint32_t[]){1}, 1, 7600));
    assert_ok(lab_open(&ann, "/new", WIRE_OPEN_WRITE | WIRE_OPEN_CREATE, &new));
    assert_int_equal(old.attr.layout.group_count, 1);
    assert_int_equal(new.attr.layout.group_count, 2);
    assert_ok(lab_stat(&ann, "/old", &attr));
    assert_int_equal(attr.layout.group_count, 1);
    assert_int_equal(attr.layout.stripe_count, 1);
    /* Only the server that may hold a part of it is asked. */
    fake_write(0, old.ino, 10);
    lab.calls_made = 0;
    lab_close_and_wait(&ann, &old, true);
    assert_int_equal(lab.calls_made, 1);
    lab_close_and_wait(&ann, &new, true);
    assert_int_equal(lab.calls_made, 3);
}

static void every_shard_of_a_server_is_asked_once(void **state)
{
    struct lab_file file;
    (void)state;
    /* Two targets of one server with three shards: three questions, not six. */
    assert_ok(lab_register(&storage[0], "s0", 3, (uint32_t[]){0, 1}, 2, 7500));
    assert_ok(lab_open(&ann, "/f", WIRE_OPEN_WRITE | WIRE_OPEN_CREATE, &file));
    fake_write(0, file.ino, 10);
    lab.answers = false;
    lab_close_and_wait(&ann, &file, true);
    uint32_t asked = 0;
    list_each(&lab.calls, link, after) asked |= 1u << list_item(link, struct fake_call, link)->shard;
    assert_int_equal(lab.calls_made, 3);
    assert_int_equal(asked, 7);
    lab.answers = true;
    lab_run();
}

static void damaged_rows_are_refused(void **state)
{
    struct service *second;
    uint8_t key[5] = {'s', 0, 0, 0, 0};
    struct store_txn *txn;
    (void)state;
    lab_register_all();
    lab_service_close();
    struct service_config config = {.conf = &lab.conf,
                                    .store = lab.world.store,
                                    .address = "x:1",
                                    .monotonic_ns = lab_monotonic,
                                    .realtime_ns = lab_realtime};
    assert_ok(store_begin(lab.world.store, true, &txn));
    assert_ok(store_put(txn, STORE_MEMBERS, (struct store_bytes){key, 5},
                        (struct store_bytes){"\x01\0\xff\xff", 4}));
    assert_ok(store_commit(txn));
    struct world_dump before = world_dump(lab.world.store);
    assert_result(service_open(&config, &second), -EUCLEAN);
    assert_same_dump(before, world_dump(lab.world.store));
    assert_ok(store_begin(lab.world.store, true, &txn));
    assert_ok(store_delete(txn, STORE_MEMBERS, (struct store_bytes){key, 5}));
    assert_ok(store_commit(txn));
    assert_result(service_open(&config, &second), -EUCLEAN); /* ids with a gap */
    for (uint8_t i = 0; i < SERVERS; i++) {
        static const char kinds[] = "gst";
        assert_ok(store_begin(lab.world.store, true, &txn));
        for (int k = 0; k < 3; k++) {
            uint8_t row[5] = {(uint8_t)kinds[k], 0, 0, 0, i};
            store_delete(txn, STORE_MEMBERS, (struct store_bytes){row, 5});
        }
        assert_ok(store_commit(txn));
    }
    lab_service_open();
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup_empty, lab_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(registration_appends_targets_and_groups),
        T(registering_again_changes_nothing),
        T(losses_are_told_once_and_never_taken_back),
        T(a_targets_size_is_told_when_it_changes),
        T(the_map_is_the_same_after_a_restart),
        T(refused_registrations_leave_no_trace),
        T(a_silent_server_goes_down_and_comes_back),
        T(servers_have_a_lease_to_be_heard_after_a_restart),
        T(silence_does_not_count_while_this_server_was_deaf),
        T(a_target_that_is_not_there_any_more_is_down),
        T(a_heartbeat_brings_the_map_when_it_is_newer),
        T(statfs_sums_what_is_up),
        T(map_and_counters_can_be_asked_for),
        T(no_file_can_be_made_before_a_server_is_there),
        T(files_keep_their_layout_when_groups_are_added),
        T(every_shard_of_a_server_is_asked_once),
        T(damaged_rows_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
