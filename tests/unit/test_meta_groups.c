/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of several members: they are made when all targets that the configuration names are there, and what
 * their members are follows from who is silent, who comes back, and what leaders say; over restarts, too.
 */
#include "meta_files.h"

#define GIB (UINT64_C(1) << 30)

static struct conf_target conf_targets[SERVERS] = {{.id = 0}, {.id = 1}, {.id = 2}};
static struct conf_storage conf_storage[SERVERS];

static const struct map *map(void)
{
    return members_map(lab.service->members);
}

/* Three servers with a target each, on one host; two members to a group. */
static int setup(void **state)
{
    (void)state;
    lab_open_empty(WORLD_STORE_BYTES);
    for (uint32_t i = 0; i < SERVERS; i++)
        conf_storage[i] = (struct conf_storage){.targets = &conf_targets[i], .target_count = 1};
    lab.conf.storage = conf_storage;
    lab.conf.storage_count = SERVERS;
    lab.conf.replicas = 2;
    lab.conf.failure_domain = PLACEMENT_TARGET;
    lab.conf.groups_per_target = 4;
    return 0;
}

static int setup_groups(void **state)
{
    setup(state);
    lab_register_all();
    assert_int_equal(map()->group_count, 6);
    return 0;
}

static bool is_empty; /* the target that registers next replaces one that was lost */

/* With one of its own targets, or another, and so many shards. */
static int register_with(uint32_t server, bool unclean, uint32_t target, uint32_t shards)
{
    uint8_t address_bytes[128], target_bytes[64];
    char name[8], address[32];
    struct wire_writer addresses = wire_writer_on(address_bytes, sizeof address_bytes);
    struct wire_writer served = wire_writer_on(target_bytes, sizeof target_bytes);
    snprintf(name, sizeof name, "s%u", server);
    for (uint32_t k = 0; k < shards; k++) {
        snprintf(address, sizeof address, "127.0.0.1:%u", 7500 + 10 * server + k);
        wire_put_address(&addresses, &(struct wire_address){.text = address});
    }
    wire_put_served_target(&served, &(struct wire_served_target){.id = target,
                                                                 .losses = lab_losses[server],
                                                                 .capacity = lab_capacities[server],
                                                                 .is_empty = is_empty});
    is_empty = false;
    return ask(&storage[server], server_register, .name = name,
               .host = {.name = "h", .chassis = "", .rack = ""},
               .addresses = wire_list_of(&addresses, shards), .targets = wire_list_of(&served, 1),
               .unclean = unclean);
}

static int register_again(uint32_t server, bool unclean)
{
    return register_with(server, unclean, server, 1);
}

/* What the target is in the group; -1: nothing. */
static int state_in(uint32_t group, uint32_t target)
{
    return map_member_state(map(), group, target, NULL);
}

/* How many groups the target leads. */
static uint32_t led_by(uint32_t target)
{
    uint32_t count = 0;
    for (uint32_t g = 0; g < map()->group_count; g++)
        count += map_leader(map(), g)->id == target;
    return count;
}

/* In how many groups it is that. */
static uint32_t count_of(uint32_t target, int state)
{
    uint32_t count = 0;
    for (uint32_t g = 0; g < map()->group_count; g++)
        count += state_in(g, target) == state;
    return count;
}

/* A group with both that the first leads. */
static uint32_t group_of(uint32_t leader, uint32_t other)
{
    for (uint32_t g = 0; g < map()->group_count; g++)
        if (map_leader(map(), g)->id == leader && state_in(g, other) >= 0)
            return g;
    fail_msg("target %u leads no group with %u", leader, other);
    return 0;
}

static int say(uint32_t server, uint32_t group, uint64_t changed, uint32_t target, bool synced)
{
    uint8_t bytes[32];
    char name[8];
    struct wire_writer writer = wire_writer_on(bytes, sizeof bytes);
    snprintf(name, sizeof name, "s%u", server);
    wire_put_group_verdict(
        &writer,
        &(struct wire_group_verdict){.group = group, .changed = changed, .target = target, .synced = synced});
    return ask(&storage[server], group_report, .name = name, .verdicts = wire_list_of(&writer, 1));
}

static void beat(uint32_t server, uint64_t adopted)
{
    char name[8];
    snprintf(name, sizeof name, "s%u", server);
    assert_ok(
        ask(&storage[server], heartbeat, .name = name, .map_version = map()->version, .adopted = adopted));
}

/* All but one are heard for so long. */
static void live_without(uint32_t silent, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        for (uint32_t server = 0; server < SERVERS; server++)
            if (server != silent)
                beat(server, map()->version);
        lab_wait(1000);
    }
}

/* ---- making ---------------------------------------------------------------------- */

static void groups_are_made_when_all_are_there(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SERVERS; i++) {
        assert_int_equal(map()->group_count, 0);
        assert_ok(register_again(i, false));
    }
    assert_int_equal(map()->group_count, 6);
    for (uint32_t g = 0; g < map()->group_count; g++) {
        const struct map_group *group = &map()->groups[g];
        assert_int_equal(group->member_count, 2);
        assert_int_not_equal(group->members[0], group->members[1]);
        assert_int_equal(map_group_current(group), 2);
        assert_int_equal(group->home, 1);
    }
    for (uint32_t target = 0; target < SERVERS; target++) {
        assert_int_equal(led_by(target), 2);
        assert_int_equal(count_of(target, MAP_MEMBER_CURRENT), 4);
    }
}

static uint32_t groups_of(uint32_t target)
{
    return count_of(target, MAP_MEMBER_CURRENT);
}

static void a_larger_target_is_in_more_groups(void **state)
{
    (void)state;
    lab_capacities[0] = 8 * GIB;
    lab_capacities[1] = lab_capacities[2] = 4 * GIB;
    lab_register_all();
    assert_int_equal(map()->group_count, 6);
    assert_int_equal(groups_of(0), 6);
    assert_int_equal(groups_of(1), 3);
    assert_int_equal(groups_of(2), 3);
    assert_int_equal(led_by(0), 3);
}

/* Of 12 places the even shares would be 4.04, 4 and 3.96, and with the next number of groups no better. */
static void targets_that_differ_little_count_as_equal(void **state)
{
    (void)state;
    lab_capacities[0] = 101 * GIB;
    lab_capacities[1] = 100 * GIB;
    lab_capacities[2] = 100 * GIB - 1;
    lab_register_all();
    assert_int_equal(map()->group_count, 6);
    for (uint32_t target = 0; target < SERVERS; target++)
        assert_int_equal(groups_of(target), 4);
}

/* Its mean is 6 GiB: it counts for as much as both others together have in the mean. */
static void what_is_not_known_counts_for_the_mean(void **state)
{
    (void)state;
    lab_capacities[0] = 8 * GIB;
    lab_capacities[1] = 4 * GIB;
    lab_register_all();
    assert_true(groups_of(0) > groups_of(2));
    assert_true(groups_of(2) > groups_of(1));
}

/* What two targets had in groups is to their capacity what all three have: of five times as much, five times
 * as many. */
static void as_many_groups_are_added_as_capacity(void **state)
{
    (void)state;
    lab.conf.storage_count = 2;
    lab_capacities[0] = lab_capacities[1] = 2 * GIB;
    lab_capacities[2] = 16 * GIB;
    for (uint32_t i = 0; i < 2; i++)
        assert_ok(register_again(i, false));
    assert_int_equal(map()->group_count, 4);
    lab.conf.storage_count = 3;
    assert_ok(register_again(2, false));
    assert_int_equal(map()->group_count, 20);
    assert_int_equal(groups_of(2), 16);
    assert_int_equal(groups_of(0), 12);
    assert_int_equal(groups_of(1), 12);
}

static void where_domains_are_missing_no_file_can_be_made(void **state)
{
    struct lab_file file;
    (void)state;
    lab.conf.failure_domain = PLACEMENT_HOST;
    log_init("test", LOG_LEVEL_NONE);
    lab_register_all();
    log_init("test", LOG_LEVEL_ERROR);
    assert_int_equal(map()->server_count, 3);
    assert_int_equal(map()->group_count, 0);
    assert_int_not_equal(lab_open_placed(&root, "/a", NEW, 0, "", &file), 0);
}

static void what_there_is_stays(void **state)
{
    (void)state;
    struct service *second;
    struct map *before = map_ref((struct map *)map());
    lab_restart();
    for (uint32_t g = 0; g < before->group_count; g++)
        assert_memory_equal(&before->groups[g], &map()->groups[g], sizeof before->groups[g]);
    map_unref(before);
    /* Another number of replicas is not for groups that are there. */
    const struct service_config config = {.conf = &lab.conf,
                                          .store = lab.world.store,
                                          .address = "127.0.0.1:7470",
                                          .net = {.call = fake_call},
                                          .monotonic_ns = lab_monotonic,
                                          .realtime_ns = lab_realtime};
    lab_service_close();
    lab.conf.replicas = 1;
    assert_result(service_open(&config, &second), -EINVAL);
    lab.conf.replicas = 2;
    lab_service_open();
}

/* ---- silence, and coming back --------------------------------------------------------- */

static void the_silent_one_is_out_and_comes_back_by_its_leader(void **state)
{
    (void)state;
    live_without(1, 12);
    assert_int_equal(led_by(1), 0);
    assert_int_equal(count_of(1, MAP_MEMBER_STALE), 4);
    assert_int_equal(count_of(0, MAP_MEMBER_CURRENT), 4);
    lab_restart();
    assert_int_equal(count_of(1, MAP_MEMBER_STALE), 4);
    assert_ok(register_again(1, true));
    live_without(SERVERS, 3);
    assert_int_equal(count_of(1, MAP_MEMBER_SYNCING), 4);
    assert_int_equal(led_by(1), 0);
    uint32_t group = group_of(0, 1);
    const uint64_t changed = map()->groups[group].changed;
    /* Not by who does not lead it, and not of an earlier state. */
    assert_ok(say(2, group, changed, 1, true));
    assert_ok(say(0, group, changed - 1, 1, true));
    assert_int_equal(state_in(group, 1), MAP_MEMBER_SYNCING);
    assert_ok(say(0, group, changed, 1, true));
    assert_int_equal(state_in(group, 1), MAP_MEMBER_CURRENT);
    assert_int_equal(map()->groups[group].changed, map()->version);
    assert_int_equal(count_of(1, MAP_MEMBER_SYNCING), 3);
}

static void of_all_who_are_silent_none_is_out(void **state)
{
    (void)state;
    lab_wait(12000);
    for (uint32_t i = 0; i < SERVERS; i++) {
        assert_int_equal(map()->servers[i].state, MAP_STATE_DOWN);
        assert_int_equal(count_of(i, MAP_MEMBER_CURRENT), 4);
        assert_int_equal(led_by(i), 2);
    }
    /* The first to come back leads, and has all that was answered. */
    assert_ok(register_again(2, false));
    assert_int_equal(led_by(2), 4);
    assert_int_equal(count_of(2, MAP_MEMBER_CURRENT), 4);
}

static void a_leader_that_was_killed_hands_over(void **state)
{
    (void)state;
    const uint64_t version = map()->version;
    assert_ok(register_again(0, false));
    assert_int_equal(map()->version, version);
    assert_ok(register_again(0, true));
    assert_int_equal(map()->version, version + 1);
    assert_int_equal(led_by(0), 0);
    assert_int_equal(count_of(0, MAP_MEMBER_STALE), 2);
    assert_int_equal(count_of(0, MAP_MEMBER_CURRENT),
                     2); /* where others lead, these know what it did not get */
}

static void who_lost_something_is_out_and_nobody_need_be_told(void **state)
{
    (void)state;
    const struct layout all = {.chunk_size = 65536, .seed = 1, .stripe_count = 6, .group_count = 6};
    const uint64_t version = map()->version;
    lab_losses[0] = 1;
    log_init("test", LOG_LEVEL_NONE);
    assert_ok(register_again(0, true));
    assert_int_equal(count_of(0, MAP_MEMBER_STALE), 4);
    assert_null(map_lost_since(map(), &all, version));
    /* Now the groups of both have lost it. */
    lab_losses[1] = lab_losses[2] = 1;
    assert_ok(register_again(1, true));
    log_init("test", LOG_LEVEL_ERROR);
    const struct map_target *lost = map_lost_since(map(), &all, version);
    assert_non_null(lost);
    assert_int_equal(lost->id, 1);
    assert_null(map_lost_since(map(), &all, map()->version));
    lab_restart();
    assert_non_null(map_lost_since(map(), &all, version));
}

/* ---- what leaders say --------------------------------------------------------------------- */

static void who_failed_leaves_when_it_knows(void **state)
{
    (void)state;
    const uint32_t group = group_of(0, 1);
    log_init("test", LOG_LEVEL_NONE);
    assert_ok(say(0, group, map()->groups[group].changed, 1, false));
    log_init("test", LOG_LEVEL_ERROR);
    assert_int_equal(state_in(group, 1), MAP_MEMBER_LEAVING);
    const uint64_t told = map()->version;
    beat(0, told), beat(1, told - 1), beat(2, told);
    lab_wait(1000);
    assert_int_equal(state_in(group, 1), MAP_MEMBER_LEAVING);
    beat(0, told), beat(1, told), beat(2, told);
    lab_wait(1000);
    assert_int_equal(state_in(group, 1), MAP_MEMBER_STALE);
    /* It is tried again, after a while. */
    live_without(SERVERS, 4);
    assert_int_equal(state_in(group, 1), MAP_MEMBER_SYNCING);
}

static void a_leader_may_say_it_of_itself(void **state)
{
    (void)state;
    const uint32_t group = group_of(0, 1);
    log_init("test", LOG_LEVEL_NONE);
    assert_ok(say(0, group, map()->groups[group].changed, 0, false));
    log_init("test", LOG_LEVEL_ERROR);
    assert_int_equal(map_leader(map(), group)->id, 1);
    /* It is read until it knows that, and gets what is written. */
    assert_int_equal(state_in(group, 0), MAP_MEMBER_LEAVING);
    beat(0, map()->version);
    lab_wait(1000);
    assert_int_equal(state_in(group, 0), MAP_MEMBER_STALE);
}

/* One of its threads hangs, and another one goes on to be heard. */
static void who_never_knows_that_it_leaves_is_out_a_lease_later(void **state)
{
    (void)state;
    const uint32_t group = group_of(0, 1);
    const uint64_t before = map()->version;
    const unsigned lease_s = lab.conf.lease_ms / 1000;
    log_init("test", LOG_LEVEL_NONE);
    assert_ok(say(0, group, map()->groups[group].changed, 1, false));
    log_init("test", LOG_LEVEL_ERROR);
    unsigned waited = 0;
    for (; state_in(group, 1) == MAP_MEMBER_LEAVING && waited < 2 * lease_s; waited++) {
        beat(0, map()->version), beat(1, before), beat(2, map()->version);
        lab_wait(1000);
    }
    assert_in_range(waited, lease_s, lease_s + 2);
    assert_int_equal(state_in(group, 1), MAP_MEMBER_STALE);
}

static void who_is_down_says_nothing_of_others(void **state)
{
    (void)state;
    const uint32_t group = group_of(1, 2);
    log_init("test", LOG_LEVEL_NONE);
    live_without(0, lab.conf.lease_ms / 1000 + 2);
    log_init("test", LOG_LEVEL_ERROR);
    assert_result(ask(&storage[0], group_report, .name = "s0"), -ENOENT);
    assert_ok(say(1, group, 0, 2, false));
}

/* ---- what must be alike, and what is taken away ----------------------------------------------- */

static void all_have_as_many_shards(void **state)
{
    (void)state;
    assert_ok(register_again(0, false));
    assert_result(register_with(1, false, 1, 2), -EINVAL);
    assert_non_null(strstr(err_text(), "set shards = 1"));
    assert_ok(register_again(1, false));
}

static void who_replaces_a_lost_target_has_nothing(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_NONE);
    is_empty = true;
    assert_ok(register_again(0, false));
    assert_int_equal(led_by(0), 0);
    assert_int_equal(count_of(0, MAP_MEMBER_STALE), 4);
    const uint64_t version = map()->version;
    assert_int_equal(map()->targets[0].lost_at, 0); /* nobody has lost anything */
    /* Now the other two are all that there is of some groups. */
    is_empty = true;
    assert_result(register_again(1, false), -EHOSTDOWN);
    assert_non_null(strstr(err_text(), "nobody else is there who has all"));
    assert_int_equal(map()->version, version);
    assert_ok(register_again(1, false));
    log_init("test", LOG_LEVEL_ERROR);
}

static void who_has_what_was_lost_must_be_there(void **state)
{
    (void)state;
    log_init("test", LOG_LEVEL_NONE);
    live_without(1, lab.conf.lease_ms / 1000 + 2);
    is_empty = true;
    assert_result(register_again(0, false), -EHOSTDOWN);
    assert_true(count_of(0, MAP_MEMBER_STALE) == 0);
    log_init("test", LOG_LEVEL_ERROR);
}

static void a_target_that_is_not_served_any_more_leads_nobody(void **state)
{
    (void)state;
    assert_true(led_by(0) > 0);
    assert_ok(register_with(0, false, 77, 1));
    assert_int_equal(led_by(0), 0);
    assert_int_equal(count_of(0, MAP_MEMBER_STALE), 4);
}

static void nonsense_is_passed_over(void **state)
{
    (void)state;
    const uint64_t version = map()->version;
    const uint32_t group = group_of(0, 1);
    assert_ok(say(0, 1000, 0, 1, false));
    assert_ok(say(0, group, map()->groups[group].changed, 77, false));
    assert_ok(say(1, group, map()->groups[group].changed, 0, false));
    assert_int_equal(map()->version, version);
    assert_result(ask(&storage[0], group_report, .name = "nobody"), -ENOENT);
    assert_result(ask(&ann, group_report, .name = "s0"), -EPERM);
}

#define T(name)      cmocka_unit_test_setup_teardown(name, setup_groups, lab_teardown)
#define T_NONE(name) cmocka_unit_test_setup_teardown(name, setup, lab_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T_NONE(groups_are_made_when_all_are_there),
        T_NONE(a_larger_target_is_in_more_groups),
        T_NONE(targets_that_differ_little_count_as_equal),
        T_NONE(what_is_not_known_counts_for_the_mean),
        T_NONE(as_many_groups_are_added_as_capacity),
        T_NONE(where_domains_are_missing_no_file_can_be_made),
        T(what_there_is_stays),
        T(the_silent_one_is_out_and_comes_back_by_its_leader),
        T(of_all_who_are_silent_none_is_out),
        T(a_leader_that_was_killed_hands_over),
        T(who_lost_something_is_out_and_nobody_need_be_told),
        T(who_failed_leaves_when_it_knows),
        T(a_leader_may_say_it_of_itself),
        T(who_never_knows_that_it_leaves_is_out_a_lease_later),
        T(who_is_down_says_nothing_of_others),
        T(a_target_that_is_not_served_any_more_leads_nobody),
        T(who_replaces_a_lost_target_has_nothing),
        T(who_has_what_was_lost_must_be_there),
        T_NONE(all_have_as_many_shards),
        T(nonsense_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
