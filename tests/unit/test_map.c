/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "map.h"
#include "wire.h"

/* Three servers with 2, 1 and 3 shards on two hosts, five targets, five groups of one and one of three. */
static struct map *make(void)
{
    static const uint32_t shards[] = {2, 1, 3}, target_servers[] = {0, 0, 1, 2, 2};
    struct map *map = map_new(2, 3, shards, 5, 6);
    assert_non_null(map);
    map->version = UINT64_C(0x123456789a);
    memset(map->cluster, 0xc5, sizeof map->cluster);
    snprintf(map->metadata_address, sizeof map->metadata_address, "127.0.0.1:7470");
    for (uint32_t i = 0; i < 3; i++) {
        struct map_server *server = &map->servers[i];
        server->id = 100 + i;
        server->state = i == 1 ? MAP_STATE_DOWN : MAP_STATE_UP;
        server->bytes_total = UINT64_C(1) << 45;
        server->bytes_free = 17 * i;
        snprintf(server->name, sizeof server->name, "s%u", i);
        for (uint32_t k = 0; k < shards[i]; k++)
            snprintf(server->addresses[k], sizeof server->addresses[k], "host%u:%u", i, 7471 + k);
    }
    for (uint32_t i = 0; i < 5; i++)
        map->targets[i] =
            (struct map_target){.id = 10 * i + 3, .server = target_servers[i], .state = MAP_STATE_UP};
    map->targets[0].capacity = UINT64_MAX;
    map->targets[1].losses = UINT64_MAX;
    map->targets[1].lost_at = map->version;
    map->targets[3].losses = 1;
    map->targets[3].lost_at = 9;
    for (uint32_t g = 0; g < 5; g++)
        map->groups[g] = (struct map_group){.member_count = 1, .members = {4 - g}};
    map->groups[5] = (struct map_group){.member_count = 3,
                                        .members = {1, 2, 3},
                                        .states = {MAP_MEMBER_SYNCING, MAP_MEMBER_CURRENT, MAP_MEMBER_STALE},
                                        .leader = 1,
                                        .changed = 12,
                                        .lost_at = 10};
    map->hosts[0] = (struct map_host){.name = "n0", .rack = "r0"};
    map->hosts[1] = (struct map_host){.name = "n1", .chassis = "c1", .rack = "r0"};
    map->servers[0].host = map->servers[1].host = 1;
    map->servers[2].host = 2;
    /* Server 2's targets first; where group 5 is at home is not known. */
    for (uint32_t g = 0; g < 5; g++)
        map->groups[g].home = g < 2 ? 2 : 1;
    map_index(map);
    return map;
}

static void *encode(const struct map *map, size_t *length)
{
    *length = map_encoded_size(map);
    void *data = malloc(*length);
    assert_non_null(data);
    assert_int_equal(map_encode(map, data, *length), *length);
    return data;
}

static void expect_equal(const struct map *a, const struct map *b)
{
    assert_int_equal(a->version, b->version);
    assert_memory_equal(a->cluster, b->cluster, sizeof a->cluster);
    assert_string_equal(a->metadata_address, b->metadata_address);
    assert_int_equal(a->server_count, b->server_count);
    assert_int_equal(a->target_count, b->target_count);
    assert_int_equal(a->group_count, b->group_count);
    assert_int_equal(a->host_count, b->host_count);
    for (uint32_t h = 0; h < a->host_count; h++) {
        assert_string_equal(a->hosts[h].name, b->hosts[h].name);
        assert_string_equal(a->hosts[h].chassis, b->hosts[h].chassis);
        assert_string_equal(a->hosts[h].rack, b->hosts[h].rack);
    }
    for (uint32_t i = 0; i < a->server_count; i++) {
        const struct map_server *x = &a->servers[i], *y = &b->servers[i];
        assert_int_equal(x->id, y->id);
        assert_int_equal(x->state, y->state);
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->bytes_total, y->bytes_total);
        assert_int_equal(x->bytes_free, y->bytes_free);
        assert_int_equal(x->host, y->host);
        assert_int_equal(x->shard_count, y->shard_count);
        for (uint32_t k = 0; k < x->shard_count; k++)
            assert_string_equal(x->addresses[k], y->addresses[k]);
    }
    for (uint32_t i = 0; i < a->target_count; i++) {
        assert_int_equal(a->targets[i].id, b->targets[i].id);
        assert_int_equal(a->targets[i].server, b->targets[i].server);
        assert_int_equal(a->targets[i].state, b->targets[i].state);
        assert_int_equal(a->targets[i].losses, b->targets[i].losses);
        assert_int_equal(a->targets[i].lost_at, b->targets[i].lost_at);
        assert_int_equal(a->targets[i].capacity, b->targets[i].capacity);
    }
    for (uint32_t g = 0; g < a->group_count; g++) {
        assert_int_equal(a->groups[g].member_count, b->groups[g].member_count);
        assert_int_equal(a->groups[g].home, b->groups[g].home);
        assert_int_equal(a->groups[g].leader, b->groups[g].leader);
        assert_int_equal(a->groups[g].changed, b->groups[g].changed);
        assert_int_equal(a->groups[g].lost_at, b->groups[g].lost_at);
        for (uint32_t m = 0; m < a->groups[g].member_count; m++) {
            assert_int_equal(a->groups[g].members[m], b->groups[g].members[m]);
            assert_int_equal(a->groups[g].states[m], b->groups[g].states[m]);
        }
    }
}

/* ---- the trip ------------------------------------------------------------- */

static void a_map_makes_the_trip(void **state)
{
    (void)state;
    size_t length;
    struct map *map = make(), *copy = NULL;
    void *data = encode(map, &length);
    assert_int_equal(map_decode(data, length, &copy), 0);
    free(data); /* nothing of it is used any more */
    expect_equal(map, copy);
    map_unref(copy);
    map_unref(map);
}

static void an_empty_map_makes_the_trip(void **state)
{
    (void)state;
    size_t length;
    struct map *map = map_new(0, 0, NULL, 0, 0), *copy = NULL;
    void *data = encode(map, &length);
    assert_int_equal(map_decode(data, length, &copy), 0);
    expect_equal(map, copy);
    assert_null(map_target_by_id(copy, 0));
    free(data);
    map_unref(copy);
    map_unref(map);
}

static void a_large_map_makes_the_trip(void **state)
{
    (void)state;
    enum { SERVERS = 500, TARGETS = 4000 };
    size_t length;
    uint32_t shards[SERVERS];
    for (uint32_t i = 0; i < SERVERS; i++)
        shards[i] = 1 + i % 16;
    struct map *map = map_new(0, SERVERS, shards, TARGETS, TARGETS), *copy = NULL;
    for (uint32_t i = 0; i < SERVERS; i++)
        snprintf(map->servers[i].name, sizeof map->servers[i].name, "server-%u", i * 7919 % SERVERS);
    for (uint32_t i = 0; i < TARGETS; i++) {
        map->targets[i] = (struct map_target){.id = i * 3, .server = i % SERVERS};
        map->groups[i] = (struct map_group){.member_count = 1, .members = {i}};
    }
    void *data = encode(map, &length);
    assert_int_equal(map_decode(data, length, &copy), 0);
    expect_equal(map, copy);
    for (uint32_t i = 0; i < TARGETS; i++) {
        assert_ptr_equal(map_target_by_id(copy, i * 3), &copy->targets[i]);
        assert_null(map_target_by_id(copy, i * 3 + 1));
    }
    free(data);
    map_unref(copy);
    map_unref(map);
}

static void a_small_buffer_is_told(void **state)
{
    (void)state;
    struct map *map = make();
    size_t length = map_encoded_size(map);
    uint8_t *data = malloc(length - 1);
    assert_int_equal(map_encode(map, data, length - 1), -ENOBUFS);
    assert_int_equal(map_encode(map, NULL, 0), -ENOBUFS);
    free(data);
    map_unref(map);
}

/* ---- what is refused ------------------------------------------------------ */

static void cut_maps_are_refused(void **state)
{
    (void)state;
    size_t length;
    struct map *map = make(), *copy = NULL;
    uint8_t *data = encode(map, &length);
    for (size_t cut = 0; cut < length; cut++) {
        uint8_t *part = malloc(cut ? cut : 1);
        memcpy(part, data, cut);
        assert_int_equal(map_decode(part, cut, &copy), -EBADMSG);
        free(part);
    }
    assert_null(copy);
    free(data);
    map_unref(map);
}

/* The map must encode (the encoder trusts its owner) and not be taken. */
static void expect_refused(struct map *map, const char *why)
{
    size_t length;
    struct map *copy = NULL;
    void *data = encode(map, &length);
    assert_int_equal(map_decode(data, length, &copy), -EBADMSG);
    assert_null(copy);
    if (!strstr(err_text(), why))
        fail_msg("\"%s\" does not say \"%s\"", err_text(), why);
    free(data);
    map_unref(map);
}

/* A file on one host has its chunks in that host's groups alone, each in turn. */
static void a_file_can_be_on_one_host(void **state)
{
    (void)state;
    size_t length;
    struct map *map = make(), *copy = NULL;
    void *data = encode(map, &length);
    assert_int_equal(map_decode(data, length, &copy), 0);
    struct layout layout = {.chunk_size = 4096, .seed = 7, .host = 1, .group_count = 3, .stripe_count = 3};
    unsigned seen = 0;
    for (uint32_t chunk = 0; chunk < 3; chunk++) {
        struct map_location location, there;
        assert_int_equal(map_locate(copy, &layout, 4096 * chunk + 5, &location), 0);
        assert_int_equal(map_locate(map, &layout, 4096 * chunk + 5, &there), 0);
        assert_int_equal(location.group, there.group);
        assert_int_equal(location.target_id, there.target_id);
        assert_int_equal(copy->groups[location.group].home, 1);
        assert_in_range(location.group, 2, 4);
        seen |= 1u << location.group;
    }
    assert_int_equal(seen, 1u << 2 | 1u << 3 | 1u << 4);
    assert_int_equal(map_host_groups(copy, 1), 3);
    assert_int_equal(map_host_groups(copy, 2), 2);
    assert_int_equal(map_host_groups(copy, 3), 0);
    assert_int_equal(map_host_groups(copy, 0), 0);
    assert_int_equal(map_host_by_name(copy, "n1"), 2);
    assert_int_equal(map_host_by_name(copy, "n2"), 0);
    assert_null(map_host(copy, 0));
    assert_null(map_host(copy, 3));
    /* More groups than the host has, and a host that there is not. */
    layout.group_count = 4;
    assert_int_equal(map_layout_check(copy, &layout), -EINVAL);
    layout.host = 3;
    layout.group_count = layout.stripe_count = 1;
    assert_int_equal(map_layout_check(copy, &layout), -EINVAL);
    free(data);
    map_unref(copy);
    map_unref(map);
}

static void maps_without_sense_are_refused(void **state)
{
    (void)state;
    struct map *map = make();
    map->servers[1].host = 3;
    expect_refused(map, "on a host that does not exist");
    map = make();
    map->groups[1].home = 3;
    expect_refused(map, "home is a host that does not exist");
    map = make();
    map->hosts[0].name[1] = '1';
    expect_refused(map, "a host has no name, or another's");
    map = make();
    map->hosts[1].name[0] = 0;
    expect_refused(map, "a host has no name, or another's");
    map = make();
    map->targets[2].server = 3;
    expect_refused(map, "server that does not exist");
    map = make();
    map->targets[2].lost_at = map->version + 1;
    expect_refused(map, "loss was told by a later version");
    map = make();
    map->targets[2].id = map->targets[1].id;
    expect_refused(map, "order of their ids");
    map = make();
    map->targets[4].id = 0;
    expect_refused(map, "order of their ids");
    map = make();
    map->groups[0].members[0] = 5;
    expect_refused(map, "target that does not exist");
    map = make();
    map->groups[5].members[2] = map->groups[5].members[0];
    expect_refused(map, "twice in a group");
    map = make();
    map->groups[1].member_count = 0;
    expect_refused(map, "no members");
    map = make();
    map->groups[5].states[0] = MAP_MEMBER_SYNCING + 1;
    expect_refused(map, "state is none");
    map = make();
    map->groups[5].leader = 2;
    expect_refused(map, "none of its current members");
    map = make();
    map->groups[5].leader = 3;
    expect_refused(map, "none of its current members");
    map = make();
    map->groups[5].changed = map->version + 1;
    expect_refused(map, "later version");
    map = make();
    memcpy(map->servers[2].name, map->servers[0].name, sizeof map->servers[0].name);
    expect_refused(map, "another's");
    map = make();
    map->servers[1].name[0] = '\0';
    expect_refused(map, "no name");
    map = make();
    map->servers[1].shard_count = 0;
    expect_refused(map, "no shards");
}

/* Few bytes that promise many addresses must not make memory be taken. */
static void lying_counts_are_refused(void **state)
{
    (void)state;
    uint8_t server_bytes[1024], addresses[256] = {0}, data[2048];
    struct wire_writer writer = wire_writer_on(server_bytes, sizeof server_bytes);
    wire_put_map_server(&writer, &(struct wire_map_server){
                                     .name = "s0",
                                     .addresses = {.count = 256, .encoded = {addresses, sizeof addresses}},
                                 });
    assert_true(wire_written(&writer) > 0);
    struct wire_map wire = {.servers = wire_list_of(&writer, 1)};
    ssize_t length = wire_encode_map(data, sizeof data, &wire);
    assert_true(length > 0);
    struct map *map = NULL;
    assert_int_equal(map_decode(data, (size_t)length, &map), -EBADMSG);
    assert_non_null(strstr(err_text(), "fewer addresses"));
}

static void flipped_bits_are_refused_or_harmless(void **state)
{
    (void)state;
    size_t length;
    struct map *map = make();
    uint8_t *data = encode(map, &length);
    for (size_t bit = 0; bit < 8 * length; bit++) {
        struct map *copy = NULL;
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (map_decode(data, length, &copy) == 0) {
            size_t again_length;
            void *again = encode(copy, &again_length);
            assert_int_equal(again_length, length);
            assert_memory_equal(again, data, length);
            free(again);
            map_unref(copy);
        }
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(data);
    map_unref(map);
}

/* ---- asking --------------------------------------------------------------- */

static void targets_and_servers_are_found(void **state)
{
    (void)state;
    struct map *map = make();
    for (uint32_t i = 0; i < 5; i++)
        assert_ptr_equal(map_target_by_id(map, 10 * i + 3), &map->targets[i]);
    assert_null(map_target_by_id(map, 0));
    assert_null(map_target_by_id(map, 14));
    assert_null(map_target_by_id(map, UINT32_MAX));
    assert_ptr_equal(map_server_by_name(map, "s2"), &map->servers[2]);
    assert_null(map_server_by_name(map, "s"));
    assert_null(map_server_by_name(map, ""));
    map_unref(map);
}

static void bytes_are_located(void **state)
{
    (void)state;
    struct map *map = make();
    struct layout layout = {.chunk_size = 4096, .seed = 77, .stripe_count = 6, .group_count = 6};
    for (uint64_t offset = 0; offset < 60 * 4096; offset += 1000) {
        struct map_location location;
        struct layout_place place = layout_place_of(&layout, offset);
        const struct map_target *target = map_leader(map, place.group);
        assert_int_equal(map_locate(map, &layout, offset, &location), 0);
        assert_int_equal(location.place.chunk, offset / 4096);
        assert_int_equal(location.place.group, place.group);
        assert_int_equal(location.target_id, target->id);
        assert_int_equal(location.server, target->server);
        assert_int_equal(location.shard, offset / 4096 / 6 % map->servers[target->server].shard_count);
    }
    map_unref(map);
}

/* Targets 1 and 3 had losses, and are groups 3 and 1; of group 5, which they are members of, all lost
 * something once, and who writes there hears of it by its leader, target 2. */
static void losses_are_found_where_a_file_is(void **state)
{
    (void)state;
    struct map *map = make();
    struct layout all = {.chunk_size = 4096, .seed = 77, .stripe_count = 6, .group_count = 6};
    assert_null(map_lost_since(map, &all, map->version));
    assert_ptr_equal(map_lost_since(map, &all, map->version - 1), &map->targets[1]);
    assert_non_null(map_lost_since(map, &all, 9));
    for (uint32_t seed = 0; seed < 100; seed++) {
        struct layout one = {.chunk_size = 4096, .seed = seed, .stripe_count = 1, .group_count = 6};
        uint32_t group = map_group_of(map, &one, 0);
        const struct map_target *lost = map_lost_since(map, &one, 8), *later = map_lost_since(map, &one, 9);
        assert_ptr_equal(later, group == 3 ? &map->targets[1] : group == 5 ? &map->targets[2] : NULL);
        assert_ptr_equal(lost, group == 1 ? &map->targets[3] : later);
    }
    map->targets[1].lost_at = map->groups[5].lost_at = 0;
    map_index(map);
    assert_null(map_lost_since(map, &all, 9));
    assert_ptr_equal(map_lost_since(map, &all, 8), &map->targets[3]);
    map_unref(map);
}

static void layouts_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct map *map = make();
    struct map_location location;
    struct layout layout = {.chunk_size = 4096, .stripe_count = 2, .group_count = 7};
    assert_int_equal(map_locate(map, &layout, 0, &location), -EINVAL);
    assert_non_null(strstr(err_text(), "7 groups"));
    layout.group_count = 0;
    assert_int_equal(map_locate(map, &layout, 0, &location), -EINVAL);
    /* Made when the pool was smaller. */
    layout = (struct layout){.chunk_size = 4096, .stripe_count = 2, .group_count = 2};
    assert_int_equal(map_locate(map, &layout, 1 << 20, &location), 0);
    assert_in_range(location.place.group, 0, 1);
    map_unref(map);
}

/* ---- sharing -------------------------------------------------------------- */

static void *share(void *arg)
{
    struct map *map = arg;
    for (unsigned i = 0; i < 100000; i++)
        map_unref(map_ref(map));
    map_unref(map);
    return NULL;
}

/* A sanitizer or valgrind sees a map that is freed early, twice, or never. */
static void the_last_one_frees(void **state)
{
    (void)state;
    pthread_t threads[3];
    struct map *map = make();
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, share, map_ref(map)), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_string_equal(map->servers[0].name, "s0");
    map_unref(map);
    map_unref(NULL);
}

/* Of the members that have everything and are there: on the host, in its rack, anywhere; the leader when
 * none is. */
static void the_nearest_member_is_read(void **state)
{
    (void)state;
    static const uint32_t shards[] = {1, 1, 1, 1};
    struct map *map = map_new(4, 4, shards, 4, 1);
    assert_non_null(map);
    for (uint32_t i = 0; i < 4; i++) {
        snprintf(map->hosts[i].rack, sizeof map->hosts[i].rack, "r%u", i / 2);
        map->servers[i] = (struct map_server){.state = MAP_STATE_UP, .host = i + 1};
        map->targets[i] = (struct map_target){.id = i, .server = i, .state = MAP_STATE_UP};
    }
    map->groups[0] = (struct map_group){.member_count = 3, .members = {0, 1, 2}};
    assert_int_equal(map_nearest(map, 0, 2, 7)->id, 1);
    assert_int_equal(map_nearest(map, 0, 4, 7)->id, 2); /* in the rack of hosts 3 and 4 */
    bool seen[3] = {false};
    for (uint64_t choice = 0; choice < 6; choice++)
        seen[map_nearest(map, 0, 0, choice)->id] = true;
    assert_true(seen[0] && seen[1] && seen[2]);
    map->groups[0].states[1] = MAP_MEMBER_SYNCING;
    assert_int_equal(map_nearest(map, 0, 2, 7)->id, 0);
    map->servers[0].state = MAP_STATE_DOWN;
    assert_int_equal(map_nearest(map, 0, 2, 7)->id, 2);
    map->servers[2].state = MAP_STATE_DOWN;
    assert_int_equal(map_nearest(map, 0, 2, 7)->id, 0);
    map_unref(map);
}

/* The leader, or else the next one that can be read; nobody where there is nobody else. */
static void another_member_is_another_one(void **state)
{
    (void)state;
    static const uint32_t shards[] = {1, 1, 1};
    struct map *map = map_new(0, 3, shards, 3, 1);
    assert_non_null(map);
    for (uint32_t i = 0; i < 3; i++) {
        map->servers[i].state = MAP_STATE_UP;
        map->targets[i] = (struct map_target){.id = i, .server = i, .state = MAP_STATE_UP};
    }
    map->groups[0] = (struct map_group){.member_count = 3, .members = {0, 1, 2}, .leader = 1};
    assert_int_equal(map_other(map, 0, &map->targets[0])->id, 1);
    assert_int_equal(map_other(map, 0, &map->targets[1])->id, 0);
    map->servers[0].state = MAP_STATE_DOWN;
    assert_int_equal(map_other(map, 0, &map->targets[1])->id, 2);
    map->groups[0].states[2] = MAP_MEMBER_SYNCING;
    assert_null(map_other(map, 0, &map->targets[1]));
    assert_int_equal(map_other(map, 0, &map->targets[2])->id, 1);
    map_unref(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_member_is_another_one),
        cmocka_unit_test(a_map_makes_the_trip),
        cmocka_unit_test(an_empty_map_makes_the_trip),
        cmocka_unit_test(a_large_map_makes_the_trip),
        cmocka_unit_test(a_small_buffer_is_told),
        cmocka_unit_test(cut_maps_are_refused),
        cmocka_unit_test(a_file_can_be_on_one_host),
        cmocka_unit_test(maps_without_sense_are_refused),
        cmocka_unit_test(lying_counts_are_refused),
        cmocka_unit_test(flipped_bits_are_refused_or_harmless),
        cmocka_unit_test(targets_and_servers_are_found),
        cmocka_unit_test(bytes_are_located),
        cmocka_unit_test(losses_are_found_where_a_file_is),
        cmocka_unit_test(the_nearest_member_is_read),
        cmocka_unit_test(layouts_that_do_not_fit_are_refused),
        cmocka_unit_test(the_last_one_frees),
    };
    return cmocka_run_group_tests_name("map", tests, NULL, NULL);
}
