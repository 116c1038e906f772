/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_service.h: a metadata service in a test: its clock stands still until
 * it is moved, its peers are lines of code, and its storage servers are a
 * table of how long each file is. Calls to them wait until they are answered.
 */
#ifndef TESTS_META_SERVICE_H
#define TESTS_META_SERVICE_H

#include "meta_world.h"

#include "capability.h"
#include "list.h"
#include "log.h"
#include "map.h"
#include "metadata/service_internal.h"

enum { SERVERS = 3, FILES_MAX = 512, MS = 1000000 };

/* What one storage server (of one shard) knows of one file. */
struct fake_object {
    uint64_t ino;
    bool exists;
    uint64_t end;
    int64_t mtime_ns;
};

struct fake_call {
    struct agent_call *call;
    uint32_t server;
    uint32_t shard;
    struct list_link link;
};

struct lab {
    struct world world; /* its store and folder only */
    struct conf conf;
    struct service *service;
    uint64_t monotonic_ns;
    int64_t realtime_ns;
    struct list calls;       /* not answered yet */
    bool answers;            /* storage servers answer at once */
    int server_error[SERVERS]; /* what a server answers instead */
    struct fake_object objects[SERVERS][FILES_MAX];
    unsigned calls_made, truncates, removes, remove_calls, stats, writes, syncs;
    uint8_t written[16384]; /* the latest write's data */
    uint64_t stubborn_ino;
};

static struct lab lab;

/* ---- the storage servers -------------------------------------------------- */

static inline struct fake_object *fake_object(uint32_t server, uint64_t ino)
{
    for (int i = 0; i < FILES_MAX; i++) {
        struct fake_object *object = &lab.objects[server][i];
        if (object->ino == ino || object->ino == 0) {
            object->ino = ino;
            return object;
        }
    }
    fail_msg("the fake servers have too many files");
    return NULL;
}

/* Someone wrote to the file: its bytes up to `end`, of which this server has the last. */
static inline void fake_write(uint32_t server, uint64_t ino, uint64_t end)
{
    struct fake_object *object = fake_object(server, ino);
    object->exists = true;
    if (object->end < end)
        object->end = end;
    object->mtime_ns = lab.realtime_ns;
}

static inline ssize_t fake_stat(const struct fake_object *object, uint8_t *reply, size_t size)
{
    struct wire_object_stat_reply answer = {
        .end = object->end, .mtime_ns = object->mtime_ns, .bytes = object->exists ? 4096 : 0};
    return wire_encode_object_stat_reply(reply, size, &answer);
}

static inline void fake_answer(struct fake_call *waiting)
{
    struct agent_call *call = waiting->call;
    uint32_t server = waiting->server;
    uint8_t reply[256];
    ssize_t length = 0;
    list_remove(&waiting->link);
    free(waiting);
    if (lab.server_error[server]) {
        call->done(call, err_set(lab.server_error[server], "server s%u does not want to", server), NULL, 0);
        return;
    }
    if (call->operation == WIRE_OP_object_stat) {
        struct wire_object_stat stat;
        assert_ok(wire_decode_object_stat(call->body, call->body_length, &stat));
        assert_ok(capability_check(lab.conf.key, &stat.capability, 0));
        length = fake_stat(fake_object(server, stat.capability.ino), reply, sizeof reply);
        lab.stats++;
    } else if (call->operation == WIRE_OP_object_truncate) {
        struct wire_object_truncate truncate;
        assert_ok(wire_decode_object_truncate(call->body, call->body_length, &truncate));
        assert_ok(capability_check(lab.conf.key, &truncate.capability, WIRE_ACCESS_WRITE));
        struct fake_object *object = fake_object(server, truncate.capability.ino);
        if (!truncate.grow_only || object->end < truncate.size)
            object->end = truncate.size;
        length = fake_stat(object, reply, sizeof reply);
        lab.truncates++;
    } else if (call->operation == WIRE_OP_write) {
        struct wire_write write;
        struct wire_extent extent;
        assert_ok(wire_decode_write(call->body, call->body_length, &write));
        assert_ok(capability_check(lab.conf.key, &write.capability, WIRE_ACCESS_WRITE));
        struct wire_reader reader = wire_list_reader(&write.extents);
        for (uint32_t i = 0; i < write.extents.count; i++) {
            wire_get_extent(&reader, &extent);
            fake_write(server, write.capability.ino, extent.offset + extent.length);
        }
        assert_ok(wire_read_all(&reader, "extents"));
        assert_true(call->payload_length <= sizeof lab.written);
        memcpy(lab.written, call->payload, call->payload_length);
        lab.writes++; /* a shard need not tell anything, whoever asks */
    } else if (call->operation == WIRE_OP_sync) {
        lab.syncs++;
    } else {
        struct wire_object_remove remove;
        assert_int_equal(call->operation, WIRE_OP_object_remove);
        assert_ok(wire_decode_object_remove(call->body, call->body_length, &remove));
        assert_in_range(remove.files.count, 1, LIMITS_REMOVES_MAX);
        struct wire_reader reader = wire_list_reader(&remove.files);
        struct wire_object_remove_reply answer = {0};
        uint8_t number[4] = {0};
        for (uint32_t i = 0; i < remove.files.count; i++) {
            struct wire_capability capability;
            wire_get_capability(&reader, &capability);
            assert_ok(capability_check(lab.conf.key, &capability, WIRE_ACCESS_WRITE));
            lab.removes++;
            if (capability.ino == lab.stubborn_ino) { /* its object can't be removed */
                struct wire_writer writer = wire_writer_on(number, sizeof number);
                wire_put_number(&writer, &(struct wire_number){.value = i});
                answer.failed = wire_list_of(&writer, 1);
                continue;
            }
            *fake_object(server, capability.ino) = (struct fake_object){.ino = capability.ino};
        }
        assert_ok(wire_read_all(&reader, "files"));
        length = wire_encode_object_remove_reply(reply, sizeof reply, &answer);
        lab.remove_calls++;
    }
    assert_true(length >= 0);
    call->done(call, 0, reply, (size_t)length);
}

static inline unsigned fake_answer_all(void)
{
    unsigned count = 0;
    for (struct list_link *link; (link = list_first(&lab.calls)); count++)
        fake_answer(list_item(link, struct fake_call, link));
    return count;
}

static inline int fake_call(void *arg, struct agent_call *call)
{
    struct fake_call *waiting = calloc(1, sizeof *waiting);
    (void)arg;
    assert_non_null(waiting);
    waiting->call = call;
    waiting->server = call->server->id;
    waiting->shard = call->shard;
    list_push_back(&lab.calls, &waiting->link);
    lab.calls_made++;
    return 0;
}

/* ---- time, and the loop ---------------------------------------------------- */

static inline uint64_t lab_monotonic(void *arg)
{
    (void)arg;
    return lab.monotonic_ns;
}
static inline int64_t lab_realtime(void *arg)
{
    (void)arg;
    return lab.realtime_ns;
}

/* Runs until nothing moves any more. */
static inline void lab_run(void)
{
    do {
        while (service_turn(lab.service))
            ;
    } while (lab.answers && fake_answer_all());
}

static inline void lab_jump(uint64_t ms)
{
    lab.monotonic_ns += ms * MS;
    lab.realtime_ns += (int64_t)ms * MS;
    service_tick(lab.service);
    lab_run();
}

static inline void lab_wait(uint64_t ms)
{
    for (uint64_t step; ms; ms -= step) {
        step = ms < service_tick_ms(lab.service) ? ms : service_tick_ms(lab.service);
        lab_jump(step);
    }
}

/* ---- requests -------------------------------------------------------------- */

struct lab_answer {
    struct service_request request; /* first */
    uint8_t body[32768];
    bool done;
    int status;
    char text[LIMITS_ERROR_TEXT_MAX + 1];
    uint8_t *reply;
    size_t reply_length;
};

struct lab_client {
    uint8_t id[16];
    uint32_t role, uid, gid;
    uint32_t group_count;
    const uint32_t *groups;
    uint64_t request_id;
    uint64_t settled;
};

static inline void lab_replied(struct service_request *request, int status, const void *body, size_t length)
{
    struct lab_answer *answer = (struct lab_answer *)request;
    assert_false(answer->done);
    answer->done = true;
    answer->status = status;
    snprintf(answer->text, sizeof answer->text, "%s", status < 0 ? err_text() : "");
    answer->reply = malloc(length + 1);
    answer->reply_length = length;
    assert_non_null(answer->reply);
    if (length)
        memcpy(answer->reply, body, length);
}

static inline void lab_answer_free(struct lab_answer *answer)
{
    free(answer->reply);
    free(answer);
}

/* Submits a request whose body is in answer->body. */
static inline void lab_submit_as(struct lab_client *client, uint64_t id, uint16_t operation,
                                 struct lab_answer *answer, ssize_t length)
{
    assert_true(length >= 0);
    answer->request = (struct service_request){
        .operation = operation,
        .id = id,
        .settled = client->settled,
        .body = answer->body,
        .body_length = (uint32_t)length,
        .role = client->role,
        .uid = client->uid,
        .group_count = client->group_count,
        .groups = client->groups,
        .gid = client->gid,
        .name = "test",
        .reply = lab_replied,
    };
    memcpy(answer->request.client, client->id, 16);
    service_request(lab.service, &answer->request);
    assert_false(answer->done);
}

static inline struct lab_answer *lab_answer_new(void)
{
    struct lab_answer *answer = calloc(1, sizeof *answer);
    assert_non_null(answer);
    return answer;
}

/* submit(client, mkdir, .path = "/d", .mode = 0755) */
#define submit_as(client, number, name, ...)                                                              \
    ({                                                                                                    \
        struct lab_answer *answer_ = lab_answer_new();                                                    \
        struct wire_##name body_ = {__VA_ARGS__};                                                         \
        lab_submit_as((client), (number), WIRE_OP_##name, answer_,                                        \
                      wire_encode_##name(answer_->body, sizeof answer_->body, &body_));                   \
        answer_;                                                                                          \
    })
#define submit(client, name, ...) submit_as((client), ++(client)->request_id, name, __VA_ARGS__)

/* The same, run until it is answered; returns its status. */
#define ask_as(client, number, name, ...)                                         \
    ({                                                                            \
        struct lab_answer *asked_ = submit_as((client), (number), name, __VA_ARGS__); \
        lab_run();                                                                \
        assert_true(asked_->done);                                                \
        int status_ = asked_->status;                                             \
        if (status_ < 0)                                                          \
            err_set(status_, "%s", asked_->text);                                 \
        lab_answer_free(asked_);                                                  \
        status_;                                                                  \
    })
#define ask(client, name, ...) ask_as(client, ++(client)->request_id, name, __VA_ARGS__)

/* One that was submitted has been answered like this; it is freed. */
#define assert_answered(answer, expected)                     \
    do {                                                      \
        struct lab_answer *answered_ = (answer);              \
        assert_true(answered_->done);                         \
        assert_int_equal(answered_->status, (expected));      \
        lab_answer_free(answered_);                           \
    } while (0)

#define decode_answer(answer, name, value)                                                        \
    do {                                                                                          \
        const struct lab_answer *decoded_ = (answer);                                             \
        assert_true(decoded_->done);                                                              \
        if (decoded_->status < 0)                                                                 \
            print_error("%s\n", decoded_->text);                                                  \
        assert_int_equal(decoded_->status, 0);                                                    \
        assert_ok(wire_decode_##name(decoded_->reply, decoded_->reply_length, value));            \
    } while (0)

/* What the storage servers that register count of their targets' losses, by the targets' ids. */
enum { LAB_TARGETS = 64 };
static uint64_t lab_losses[LAB_TARGETS], lab_capacities[LAB_TARGETS];

static inline int lab_register_on(const struct wire_map_host *host, struct lab_client *client,
                                  const char *name, uint32_t shards, const uint32_t *targets,
                                  uint32_t target_count, uint16_t port)
{
    uint8_t address_bytes[4096], target_bytes[4096];
    struct wire_writer addresses = wire_writer_on(address_bytes, sizeof address_bytes);
    struct wire_writer served = wire_writer_on(target_bytes, sizeof target_bytes);
    char address[64];
    for (uint32_t k = 0; k < shards; k++) {
        snprintf(address, sizeof address, "127.0.0.1:%u", port + k);
        wire_put_address(&addresses, &(struct wire_address){.text = address});
    }
    for (uint32_t i = 0; i < target_count; i++) {
        struct wire_served_target target = {.id = targets[i]};
        if (target.id < LAB_TARGETS) {
            target.losses = lab_losses[target.id];
            target.capacity = lab_capacities[target.id];
        }
        wire_put_served_target(&served, &target);
    }
    return ask(client, server_register, .name = name, .host = *host,
               .addresses = wire_list_of(&addresses, shards), .targets = wire_list_of(&served, target_count),
               .bytes_total = 1000000, .bytes_free = 600000);
}

static inline int lab_register(struct lab_client *client, const char *name, uint32_t shards,
                               const uint32_t *targets, uint32_t target_count, uint16_t port)
{
    static const struct wire_map_host host = {.name = "h", .chassis = "", .rack = ""};
    return lab_register_on(&host, client, name, shards, targets, target_count, port);
}

/* ---- opening and closing ---------------------------------------------------- */

static struct lab_client ann = {.id = "ann", .uid = 1000, .gid = 100};
static struct lab_client bob = {.id = "bob", .uid = 1001, .gid = 100};
static struct lab_client root = {.id = "root"};
static struct lab_client storage[SERVERS] = {
    {.id = "storage 0", .role = WIRE_ROLE_STORAGE},
    {.id = "storage 1", .role = WIRE_ROLE_STORAGE},
    {.id = "storage 2", .role = WIRE_ROLE_STORAGE},
};

static inline void lab_service_open(void)
{
    const struct service_config config = {
        .conf = &lab.conf,
        .store = lab.world.store,
        .address = "127.0.0.1:7470",
        .net = {.call = fake_call},
        .monotonic_ns = lab_monotonic,
        .realtime_ns = lab_realtime,
    };
    assert_ok(service_open(&config, &lab.service));
}

static inline void lab_connect(struct lab_client *client)
{
    service_peer_up(lab.service, client->id, client->role);
}
static inline void lab_disconnect(struct lab_client *client)
{
    service_peer_down(lab.service, client->id, client->role);
}

static inline void lab_heartbeats(void)
{
    char name[8];
    for (uint32_t i = 0; i < SERVERS; i++) {
        snprintf(name, sizeof name, "s%u", i);
        assert_ok(ask(&storage[i], heartbeat, .name = name,
                      .map_version = members_map(lab.service->members)->version, .bytes_total = 1000000,
                      .bytes_free = 600000));
    }
}

/* As lab_wait(), with storage servers that are alive. */
static inline void lab_live(uint64_t ms)
{
    while (ms) {
        uint64_t step = ms < 1000 ? ms : 1000;
        lab_heartbeats();
        lab_wait(step);
        ms -= step;
    }
}

static inline void lab_open_empty(uint64_t store_bytes)
{
    lab = (struct lab){
        .monotonic_ns = UINT64_C(5000) * MS, .realtime_ns = INT64_C(1700000000000000000), .answers = true};
    memset(lab_losses, 0, sizeof lab_losses);
    memset(lab_capacities, 0, sizeof lab_capacities);
    log_init("test", LOG_LEVEL_ERROR);
    list_init(&lab.calls);
    lab.conf = (struct conf){
        .chunk_size = 65536, .deadline_ms = 30000, .lease_ms = 10000, .heartbeat_ms = 1000, .key = {1, 2, 3},
        .metadata_dir = lab.world.dir};
    world_dir_make(&lab.world);
    assert_ok(store_open(lab.world.dir, store_bytes, &lab.world.store));
    lab_service_open();
    lab_connect(&ann);
    lab_connect(&bob);
    lab_connect(&root);
    ann.settled = bob.settled = root.settled = 0;
}

static inline void lab_register_all(void)
{
    char name[8];
    for (uint32_t i = 0; i < SERVERS; i++) {
        snprintf(name, sizeof name, "s%u", i);
        assert_ok(lab_register(&storage[i], name, 1, &i, 1, (uint16_t)(7500 + 10 * i)));
    }
}

static inline int lab_setup(void **state)
{
    (void)state;
    lab_open_empty(WORLD_STORE_BYTES);
    lab_register_all();
    return 0;
}

/* The calls that are under way end, as they do when the network is closed. */
static inline void lab_service_close(void)
{
    lab_run();
    for (struct list_link *link; (link = list_first(&lab.calls));) {
        struct fake_call *waiting = list_item(link, struct fake_call, link);
        struct agent_call *call = waiting->call;
        list_remove(link);
        free(waiting);
        call->done(call, err_set(-ECANCELED, "this server is ending"), NULL, 0);
        lab_run();
    }
    service_close(lab.service);
    lab.service = NULL;
}

static inline int lab_teardown(void **state)
{
    (void)state;
    lab_service_close();
    if (!lab.world.is_damaged)
        world_recount(lab.world.store);
    store_close(lab.world.store);
    world_dir_remove(&lab.world);
    return 0;
}

/* A test with a service of its own, which has storage servers. */
#define lab_test(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)

/* The server ends and is started again, a moment later; its peers are gone. */
static inline void lab_restart(void)
{
    lab_service_close();
    store_close(lab.world.store);
    assert_ok(store_open(lab.world.dir, WORLD_STORE_BYTES, &lab.world.store));
    lab.monotonic_ns += 500 * (uint64_t)MS;
    lab.realtime_ns += 500 * MS;
    lab_service_open();
    lab_run();
}

/* ---- looking ------------------------------------------------------------------ */

/* How many rows a table has. */
static inline uint64_t rows(enum store_table table)
{
    struct store_txn *txn;
    uint64_t count;
    assert_ok(store_begin(lab.world.store, false, &txn));
    assert_ok(store_count(txn, table, &count));
    store_abort(txn);
    return count;
}

#endif
