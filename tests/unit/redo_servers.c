/* SPDX-License-Identifier: Apache-2.0 */
#include "redo_servers.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "err.h"

struct held {
    struct rpc_request *request;
    uint64_t due_ns;
};

struct redo redo = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What tests don't look at. */
static struct {
    pthread_t thread;
    atomic_bool stop;
    struct conf *conf;
    struct rpc *rpc[PLACES];
    char address[PLACES][LIMITS_ADDRESS_MAX + 1];
    struct held held[64];
    unsigned held_count;
    uint64_t held_bytes;
} own;

/* ---- the map -------------------------------------------------------------------- */

struct map *redo_servers_map(uint64_t version)
{
    const char *addresses[] = {own.address[PLACE_A], own.address[PLACE_B]};
    unsigned owners[TARGETS] = {0, version >= 2, 0};
    struct map *map = world_map(1, version, 2, addresses, TARGETS, owners);
    map->targets[1].lost_at = version >= 3 ? 3 : 0;
    map->targets[2].lost_at = version >= 5 ? 5 : 0;
    map_index(map);
    return map;
}

static struct wire_bytes encoded_map(uint64_t version)
{
    static uint8_t encoded[8192];
    struct map *map = redo_servers_map(version);
    ssize_t length = map_encode(map, encoded, sizeof encoded);
    map_unref(map);
    return (struct wire_bytes){.data = encoded, .length = (uint32_t)length};
}

static struct wire_bytes greeting(void *arg)
{
    return arg == &own.rpc[PLACE_METADATA] ? encoded_map(redo.version) : (struct wire_bytes){0};
}

/* ---- answers -------------------------------------------------------------------- */

static void answer_stale(struct rpc_request *request, bool with_map)
{
    uint8_t body[16384];
    struct wire_error error = {.text = "your map is old"};
    if (with_map)
        error.map = encoded_map(redo.version);
    ssize_t length = wire_encode_error(body, sizeof body, &error);
    rpc_reply(request, -ESTALE, body, (size_t)length, NULL, 0, NULL, NULL);
}

static void free_payload(void *arg)
{
    free(arg);
}

/* The bytes of the extents, as far as they are there. */
static void answer_read(struct rpc_request *request, const struct wire_read *read)
{
    static uint8_t list[LIMITS_EXTENTS_MAX * 4 + 4], body[sizeof list + 64];
    uint8_t *payload = malloc(LIMITS_IO_BYTES_MAX + 100);
    size_t length = 0, asked = 0;
    int manner = redo.manner;
    struct wire_reader reader = wire_list_reader(&read->extents);
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    pthread_mutex_lock(&redo.lock);
    for (uint32_t i = 0; i < read->extents.count; i++) {
        struct wire_extent extent;
        wire_get_extent(&reader, &extent);
        uint32_t there = extent.offset >= redo.end                  ? 0
                         : extent.offset + extent.length > redo.end ? (uint32_t)(redo.end - extent.offset)
                                                                    : extent.length;
        memcpy(payload + length, redo.store + extent.offset, there);
        asked += extent.length;
        length += there;
        if (manner == MANNER_PRESENT_MORE && i == 0)
            there = extent.length + 1;
        wire_put_number(&writer, &(struct wire_number){.value = there});
    }
    pthread_mutex_unlock(&redo.lock);
    uint32_t count = read->extents.count;
    if (manner == MANNER_PRESENT_COUNT) {
        wire_put_number(&writer, &(struct wire_number){.value = 0});
        count++;
    }
    if (manner == MANNER_PRESENT_SUM)
        length -= length > 0;
    if (manner == MANNER_PRESENT_MORE)
        length++;
    if (manner == MANNER_TOO_LONG)
        length = asked + 100;
    struct wire_read_reply reply = {.present = wire_list_of(&writer, count)};
    if (length == asked && manner == MANNER_GOOD)
        reply.present = (struct wire_list){0};
    ssize_t body_length = wire_encode_read_reply(body, sizeof body, &reply);
    if (manner == MANNER_NO_BODY)
        body_length = 0;
    struct iovec iov = {.iov_base = payload, .iov_len = length};
    rpc_reply(request, 0, body, (size_t)body_length, &iov, length > 0, free_payload, payload);
}

static void take_write(struct rpc_request *request, const uint8_t *data)
{
    struct wire_write write;
    if (wire_decode_write(request->body, request->body_length, &write) < 0)
        abort();
    struct wire_reader reader = wire_list_reader(&write.extents);
    pthread_mutex_lock(&redo.lock);
    for (uint32_t i = 0; i < write.extents.count; i++) {
        struct wire_extent extent;
        wire_get_extent(&reader, &extent);
        memcpy(redo.store + extent.offset, data, extent.length);
        data += extent.length;
        if (extent.offset + extent.length > redo.end)
            redo.end = extent.offset + extent.length;
    }
    pthread_mutex_unlock(&redo.lock);
}

static void write_received(struct rpc_request *request, int status)
{
    uint8_t *data = request->arg;
    if (status == 0)
        take_write(request, data);
    free(data);
    rpc_reply(request, status, NULL, 0, NULL, 0, NULL, NULL);
}

static void serve_write(struct rpc_request *request)
{
    if (request->data || request->payload_length == 0) {
        take_write(request, request->data);
        rpc_reply(request, 0, NULL, 0, NULL, 0, NULL, NULL);
        return;
    }
    request->arg = malloc(request->payload_length);
    if (rpc_request_receive(request, request->arg, write_received) < 0)
        abort();
}

/* Whether all extents belong to that place by the servers' map. */
static bool belongs_here(const struct wire_list *extents, enum place place)
{
    struct wire_reader reader = wire_list_reader(extents);
    for (uint32_t i = 0; i < extents->count; i++) {
        struct wire_extent extent;
        wire_get_extent(&reader, &extent);
        if ((extent.target == 1 && redo.version >= 2) != (place == PLACE_B))
            return false;
    }
    return true;
}

static void answer_sync(struct rpc_request *request)
{
    struct wire_sync sync;
    if (wire_decode_sync(request->body, request->body_length, &sync) < 0)
        abort();
    if (sync.map_version < redo.version)
        answer_stale(request, true);
    else
        rpc_reply(request, 0, NULL, 0, NULL, 0, NULL, NULL);
}

static void answer_size(struct rpc_request *request)
{
    uint8_t body[64];
    struct wire_object_stat stat;
    if (wire_decode_object_stat(request->body, request->body_length, &stat) < 0)
        abort();
    if (stat.map_version < redo.version) {
        answer_stale(request, true);
        return;
    }
    pthread_mutex_lock(&redo.lock);
    struct wire_object_stat_reply reply = {.end = redo.end};
    pthread_mutex_unlock(&redo.lock);
    ssize_t length = wire_encode_object_stat_reply(body, sizeof body, &reply);
    rpc_reply(request, 0, body, (size_t)length, NULL, 0, NULL, NULL);
}

static void hold(struct rpc_request *request)
{
    own.held_bytes += request->payload_length;
    own.held[own.held_count++] = (struct held){request, rpc_now_ns() + 100000000};
    if (own.held_count > redo.held_most)
        redo.held_most = own.held_count;
    if (own.held_bytes > redo.held_bytes_most)
        redo.held_bytes_most = own.held_bytes;
}

static void serve_io(struct rpc_request *request, enum place place, const struct wire_list *wanted,
                     uint64_t map_version, const struct wire_read *read)
{
    int manner = redo.manner;
    if (manner == MANNER_STALE_ALWAYS)
        redo.version++;
    if (manner == MANNER_AGAIN_ONCE) {
        redo.manner = MANNER_GOOD;
        rpc_reply(request, err_set(-EAGAIN, "just a moment"), NULL, 0, NULL, 0, NULL, NULL);
    } else if (manner == MANNER_STALE_SILENT && map_version < redo.version) {
        answer_stale(request, false);
    } else if (manner == MANNER_STALE_ALWAYS || !belongs_here(wanted, place)) {
        answer_stale(request, true);
    } else if (manner == MANNER_SLOW) {
        hold(request);
    } else if (read) {
        answer_read(request, read);
    } else {
        serve_write(request);
    }
}

static void serve_storage(struct rpc_request *request, enum place place)
{
    struct wire_write write;
    struct wire_read read;
    if (request->operation == WIRE_OP_object_stat)
        answer_size(request);
    else if (request->operation == WIRE_OP_sync)
        answer_sync(request);
    else if (request->operation == WIRE_OP_write &&
             wire_decode_write(request->body, request->body_length, &write) == 0)
        serve_io(request, place, &write.extents, write.map_version, NULL);
    else if (request->operation == WIRE_OP_read &&
             wire_decode_read(request->body, request->body_length, &read) == 0)
        serve_io(request, place, &read.extents, read.map_version, &read);
    else
        abort();
}

static void request_came(void *arg, struct rpc_request *request)
{
    enum place place = (enum place)((struct rpc **)arg - own.rpc);
    redo.asked[place]++;
    if (place != PLACE_METADATA) {
        serve_storage(request, place);
        return;
    }
    uint8_t body[16384];
    struct wire_map_get_reply reply = {.map = encoded_map(redo.version)};
    ssize_t length = wire_encode_map_get_reply(body, sizeof body, &reply);
    if (request->operation != WIRE_OP_map_get)
        abort();
    rpc_reply(request, 0, body, (size_t)length, NULL, 0, NULL, NULL);
}

/* One of those that are held is due. */
static void answer_held(void)
{
    if (own.held_count == 0 || rpc_now_ns() < own.held[0].due_ns)
        return;
    struct rpc_request *request = own.held[0].request;
    own.held_bytes -= request->payload_length;
    memmove(own.held, own.held + 1, --own.held_count * sizeof own.held[0]);
    for (unsigned i = 0; i < own.held_count; i++) /* one at a time */
        own.held[i].due_ns = rpc_now_ns() + 100000000 * (i + 1);
    serve_write(request);
}

static void *serve(void *arg)
{
    (void)arg;
    while (!own.stop) {
        for (unsigned i = 0; i < PLACES; i++)
            rpc_progress(own.rpc[i]);
        answer_held();
        sched_yield();
    }
    for (unsigned i = 0; i < PLACES; i++)
        rpc_close(own.rpc[i]);
    return NULL;
}

/* ---- life ----------------------------------------------------------------------- */

int redo_servers_open(char conf_path[WORLD_PATH_MAX])
{
    static const struct rpc_service service = {.request = request_came, .greeting = greeting};
    char limits[128], listen[64];
    unsigned port = world_free_port();
    if (world_open() < 0)
        return -1;
    snprintf(limits, sizeof limits, "deadline_ms = %d; credit_bytes = %d;", DEADLINE_MS, CREDIT_BYTES);
    world_conf("conf", '7', port, limits, conf_path);
    if (conf_load(conf_path, &own.conf) < 0)
        fail_msg("%s", err_text());
    for (unsigned i = 0; i < PLACES; i++) {
        struct rpc_config config = {.conf = own.conf,
                                    .name = "fake",
                                    .role = WIRE_ROLE_STORAGE,
                                    .service = &service,
                                    .arg = &own.rpc[i]};
        snprintf(listen, sizeof listen, "127.0.0.1:%u", i == PLACE_METADATA ? port : 0);
        if (rpc_open(&config, &own.rpc[i]) < 0 || rpc_listen(own.rpc[i], listen, own.address[i]) < 0)
            fail_msg("%s", err_text());
    }
    redo.version = 1;
    return pthread_create(&own.thread, NULL, serve, NULL);
}

int redo_servers_close(void)
{
    own.stop = true;
    pthread_join(own.thread, NULL);
    conf_free(own.conf);
    return world_close();
}
