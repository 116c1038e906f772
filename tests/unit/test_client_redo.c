/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the client does when the cluster map changes under it, and when a server answers
 * nonsense: with a metadata server and two storage servers that this test plays itself,
 * in a thread of their own. Targets 0 and 2 are always on A; target 1 is on A in map 1,
 * on B from map 2 on. Map 3 tells of a loss of target 1, map 5 of one of target 2.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client_world.h"
#include "err.h"

enum { CHUNK = 4096, TARGETS = 3, STORE_BYTES = 8 << 20, DEADLINE_MS = 1500, CREDIT_BYTES = 1 << 20 };

/* ---- the servers ------------------------------------------------------------------ */

enum place { PLACE_METADATA, PLACE_A, PLACE_B, PLACES };

/* How the storage servers misbehave. */
enum manner {
    MANNER_GOOD,
    MANNER_STALE_SILENT, /* tell of a newer map, but do not send it */
    MANNER_STALE_ALWAYS, /* a newer one each time */
    MANNER_AGAIN_ONCE,
    MANNER_PRESENT_SUM,   /* the numbers of a read do not match its bytes */
    MANNER_PRESENT_COUNT, /* as many numbers as there are extents, and one more */
    MANNER_PRESENT_MORE,  /* more of an extent than was asked for */
    MANNER_TOO_LONG,      /* more bytes than were asked for */
    MANNER_NO_BODY,
    MANNER_SLOW, /* one at a time, each after a while */
};

struct held {
    struct rpc_request *request;
    uint64_t due_ns;
};

static struct {
    pthread_t thread;
    atomic_bool stop;
    atomic_int manner;
    atomic_uint version; /* of the map that the servers know */
    atomic_uint asked[PLACES];
    atomic_uint held_most; /* requests that were waiting for their answer at once */
    atomic_ullong held_bytes_most;
    struct conf *conf;
    struct rpc *rpc[PLACES];
    char address[PLACES][LIMITS_ADDRESS_MAX + 1];
    struct held held[64];
    unsigned held_count;
    uint64_t held_bytes;
    pthread_mutex_t lock; /* of the store */
    uint8_t store[STORE_BYTES];
    uint64_t end; /* bytes behind it are not there */
} world = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct map *map_of(uint64_t version)
{
    const char *addresses[] = {world.address[PLACE_A], world.address[PLACE_B]};
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
    struct map *map = map_of(version);
    ssize_t length = map_encode(map, encoded, sizeof encoded);
    map_unref(map);
    return (struct wire_bytes){.data = encoded, .length = (uint32_t)length};
}

static struct wire_bytes greeting(void *arg)
{
    return arg == &world.rpc[PLACE_METADATA] ? encoded_map(world.version) : (struct wire_bytes){0};
}

static void answer_stale(struct rpc_request *request, bool with_map)
{
    uint8_t body[16384];
    struct wire_error error = {.text = "your map is old"};
    if (with_map)
        error.map = encoded_map(world.version);
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
    int manner = world.manner;
    struct wire_reader reader = wire_list_reader(&read->extents);
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    pthread_mutex_lock(&world.lock);
    for (uint32_t i = 0; i < read->extents.count; i++) {
        struct wire_extent extent;
        wire_get_extent(&reader, &extent);
        uint32_t there = extent.offset >= world.end                  ? 0
                         : extent.offset + extent.length > world.end ? (uint32_t)(world.end - extent.offset)
                                                                     : extent.length;
        memcpy(payload + length, world.store + extent.offset, there);
        asked += extent.length;
        length += there;
        if (manner == MANNER_PRESENT_MORE && i == 0)
            there = extent.length + 1;
        wire_put_number(&writer, &(struct wire_number){.value = there});
    }
    pthread_mutex_unlock(&world.lock);
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
    pthread_mutex_lock(&world.lock);
    for (uint32_t i = 0; i < write.extents.count; i++) {
        struct wire_extent extent;
        wire_get_extent(&reader, &extent);
        memcpy(world.store + extent.offset, data, extent.length);
        data += extent.length;
        if (extent.offset + extent.length > world.end)
            world.end = extent.offset + extent.length;
    }
    pthread_mutex_unlock(&world.lock);
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
        if ((extent.target == 1 && world.version >= 2) != (place == PLACE_B))
            return false;
    }
    return true;
}

static void answer_sync(struct rpc_request *request)
{
    struct wire_sync sync;
    if (wire_decode_sync(request->body, request->body_length, &sync) < 0)
        abort();
    if (sync.map_version < world.version)
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
    if (stat.map_version < world.version) {
        answer_stale(request, true);
        return;
    }
    pthread_mutex_lock(&world.lock);
    struct wire_object_stat_reply reply = {.end = world.end};
    pthread_mutex_unlock(&world.lock);
    ssize_t length = wire_encode_object_stat_reply(body, sizeof body, &reply);
    rpc_reply(request, 0, body, (size_t)length, NULL, 0, NULL, NULL);
}

static void hold(struct rpc_request *request)
{
    world.held_bytes += request->payload_length;
    world.held[world.held_count++] = (struct held){request, rpc_now_ns() + 100000000};
    if (world.held_count > world.held_most)
        world.held_most = world.held_count;
    if (world.held_bytes > world.held_bytes_most)
        world.held_bytes_most = world.held_bytes;
}

static void serve_io(struct rpc_request *request, enum place place, const struct wire_list *wanted,
                     uint64_t map_version, const struct wire_read *read)
{
    int manner = world.manner;
    if (manner == MANNER_STALE_ALWAYS)
        world.version++;
    if (manner == MANNER_AGAIN_ONCE) {
        world.manner = MANNER_GOOD;
        rpc_reply(request, err_set(-EAGAIN, "just a moment"), NULL, 0, NULL, 0, NULL, NULL);
    } else if (manner == MANNER_STALE_SILENT && map_version < world.version) {
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
    enum place place = (enum place)((struct rpc **)arg - world.rpc);
    world.asked[place]++;
    if (place != PLACE_METADATA) {
        serve_storage(request, place);
        return;
    }
    uint8_t body[16384];
    struct wire_map_get_reply reply = {.map = encoded_map(world.version)};
    ssize_t length = wire_encode_map_get_reply(body, sizeof body, &reply);
    if (request->operation != WIRE_OP_map_get)
        abort();
    rpc_reply(request, 0, body, (size_t)length, NULL, 0, NULL, NULL);
}

/* One of those that are held is due. */
static void answer_held(void)
{
    if (world.held_count == 0 || rpc_now_ns() < world.held[0].due_ns)
        return;
    struct rpc_request *request = world.held[0].request;
    world.held_bytes -= request->payload_length;
    memmove(world.held, world.held + 1, --world.held_count * sizeof world.held[0]);
    for (unsigned i = 0; i < world.held_count; i++) /* one at a time */
        world.held[i].due_ns = rpc_now_ns() + 100000000 * (i + 1);
    serve_write(request);
}

static void *serve(void *arg)
{
    (void)arg;
    while (!world.stop) {
        for (unsigned i = 0; i < PLACES; i++)
            rpc_progress(world.rpc[i]);
        answer_held();
        sched_yield();
    }
    for (unsigned i = 0; i < PLACES; i++)
        rpc_close(world.rpc[i]);
    return NULL;
}

/* ---- the client's side ---------------------------------------------------------------- */

static char conf_path[WORLD_PATH_MAX];
static weft_session_t *session;
static weft_file_t *file;

static int open_servers(void **state)
{
    static const struct rpc_service service = {.request = request_came, .greeting = greeting};
    char limits[128], listen[64];
    unsigned port = world_free_port();
    (void)state;
    if (world_open() < 0)
        return -1;
    snprintf(limits, sizeof limits, "deadline_ms = %d; credit_bytes = %d;", DEADLINE_MS, CREDIT_BYTES);
    world_conf("conf", '7', port, limits, conf_path);
    if (conf_load(conf_path, &world.conf) < 0)
        fail_msg("%s", err_text());
    for (unsigned i = 0; i < PLACES; i++) {
        struct rpc_config config = {.conf = world.conf,
                                    .name = "fake",
                                    .role = WIRE_ROLE_STORAGE,
                                    .service = &service,
                                    .arg = &world.rpc[i]};
        snprintf(listen, sizeof listen, "127.0.0.1:%u", i == PLACE_METADATA ? port : 0);
        if (rpc_open(&config, &world.rpc[i]) < 0 || rpc_listen(world.rpc[i], listen, world.address[i]) < 0)
            fail_msg("%s", err_text());
    }
    world.version = 1;
    return pthread_create(&world.thread, NULL, serve, NULL);
}

static int close_servers(void **state)
{
    (void)state;
    world.stop = true;
    pthread_join(world.thread, NULL);
    conf_free(world.conf);
    return world_close();
}

/* A session that knows map 1, of servers that know `version`. */
static void begin(unsigned version, enum manner manner)
{
    world.version = version;
    world.manner = manner;
    for (unsigned i = 0; i < PLACES; i++)
        world.asked[i] = 0;
    pthread_mutex_lock(&world.lock);
    memset(world.store, 0, sizeof world.store);
    world.end = 0;
    pthread_mutex_unlock(&world.lock);
    session = world_connect(conf_path);
    struct map *map = map_of(1);
    world_give_map(session, map);
    map_unref(map);
    file = world_file(session, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE, CHUNK, TARGETS);
}

static void end(void)
{
    world.manner = MANNER_GOOD;
    world_file_drop(file);
    weft_disconnect(session);
}

enum { COUNT = 300, LENGTH = 100, STRIDE = 1000 };
static uint8_t memory[COUNT * LENGTH], back[COUNT * LENGTH];
static struct iovec iov[COUNT];
static struct weft_extent extents[COUNT];

/* Small pieces over all targets, the memory pieces of other lengths than the extents. */
static void lists_make(uint8_t *at)
{
    for (unsigned i = 0; i < COUNT; i++) {
        iov[i] = (struct iovec){at + i * LENGTH + (i % 2 ? 7 : 0), i % 2 ? LENGTH - 7 : LENGTH + 7};
        extents[i] = (struct weft_extent){50 + i * STRIDE, LENGTH};
    }
    for (unsigned i = 0; i < sizeof memory; i++)
        memory[i] = (uint8_t)(i * 7 + i / 251);
}

static void check_store(void)
{
    pthread_mutex_lock(&world.lock);
    for (unsigned i = 0; i < COUNT; i++)
        assert_memory_equal(world.store + extents[i].offset, memory + i * LENGTH, LENGTH);
    pthread_mutex_unlock(&world.lock);
}

/* ---- tests --------------------------------------------------------------------------------- */

/* One request is refused, and becomes two: the target moved. */
static void test_write_is_split(void **state)
{
    (void)state;
    begin(2, MANNER_GOOD);
    lists_make(memory);
    assert_int_equal(weft_file_write_list(file, iov, COUNT, extents, COUNT), sizeof memory);
    check_store();
    assert_int_equal(world.asked[PLACE_A], 2);
    assert_int_equal(world.asked[PLACE_B], 1);
    assert_int_equal(world.asked[PLACE_METADATA], 0);
    assert_int_equal(world_counter(session, "retries"), 1);
    assert_int_equal(session->map->version, 2);
    /* From now on it goes right at once. */
    assert_int_equal(weft_file_write_list(file, iov, COUNT, extents, COUNT), sizeof memory);
    assert_int_equal(world.asked[PLACE_A], 3);
    assert_int_equal(world.asked[PLACE_B], 2);
    end();
}

static void test_read_is_split(void **state)
{
    (void)state;
    begin(1, MANNER_GOOD);
    lists_make(memory);
    assert_int_equal(weft_file_write_list(file, iov, COUNT, extents, COUNT), sizeof memory);
    assert_int_equal(world.asked[PLACE_B], 0);
    world.version = 2;
    lists_make(back);
    memset(back, '#', sizeof back);
    assert_int_equal(weft_file_read_list(file, iov, COUNT, extents, COUNT), sizeof memory);
    assert_memory_equal(memory, back, sizeof back);
    assert_int_equal(world.asked[PLACE_B], 1);
    end();
}

/* A large transfer in one piece of memory, over several requests, in the middle of which the map changes. */
static void test_large_is_split(void **state)
{
    (void)state;
    enum { BYTES = 6 << 20 };
    uint8_t *bytes = malloc(BYTES), *seen = malloc(BYTES);
    for (unsigned i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * 13 + (i >> 12));
    begin(2, MANNER_GOOD);
    assert_int_equal(weft_file_write(file, bytes, BYTES, 5), BYTES);
    pthread_mutex_lock(&world.lock);
    assert_memory_equal(world.store + 5, bytes, BYTES);
    pthread_mutex_unlock(&world.lock);
    end();
    begin(1, MANNER_GOOD);
    assert_int_equal(weft_file_write(file, bytes, BYTES, 5), BYTES);
    world.version = 2;
    assert_int_equal(weft_file_read(file, seen, BYTES, 5), BYTES);
    assert_memory_equal(bytes, seen, BYTES);
    assert_true(world.asked[PLACE_B] > 0);
    end();
    free(bytes);
    free(seen);
}

/* The size is asked from all, by the new map. */
static void test_size_again(void **state)
{
    (void)state;
    uint64_t size;
    begin(1, MANNER_GOOD);
    assert_int_equal(weft_file_write(file, "x", 1, 99999), 1);
    world.version = 2;
    assert_int_equal(weft_file_size(file, &size), 0);
    assert_int_equal(size, 100000);
    assert_true(world.asked[PLACE_B] > 0);
    assert_int_equal(session->map->version, 2);
    end();
}

/* The map was too long to be sent along: the metadata server has it. */
static void test_map_is_asked_for(void **state)
{
    (void)state;
    begin(2, MANNER_STALE_SILENT);
    lists_make(memory);
    ssize_t result = weft_file_write_list(file, iov, COUNT, extents, COUNT);
    if (result < 0)
        fail_msg("%s", weft_error());
    check_store();
    assert_int_equal(world.asked[PLACE_METADATA], 1);
    end();
}

static void test_no_newer_map(void **state)
{
    (void)state;
    uint64_t start = rpc_now_ns();
    begin(1, MANNER_GOOD);
    struct map *map = map_of(2);
    world_give_map(session, map);
    map_unref(map);
    /* By map 2 target 1 is on B; the servers fall back to map 1, where it is on A. */
    lists_make(memory);
    assert_int_equal(weft_file_write_list(file, iov, COUNT, extents, COUNT), -ESTALE);
    assert_non_null(strstr(weft_error(), "knows of no other place"));
    assert_true(rpc_now_ns() - start < UINT64_C(4000000000));
    end();
}

static void test_ever_newer_maps(void **state)
{
    (void)state;
    begin(2, MANNER_STALE_ALWAYS);
    assert_int_equal(weft_file_write(file, "x", 1, 0), -ESTALE);
    assert_in_range(world.asked[PLACE_A], 2, 20);
    end();
}

static void test_again(void **state)
{
    (void)state;
    begin(1, MANNER_AGAIN_ONCE);
    assert_int_equal(weft_file_write(file, "x", 1, 0), 1);
    assert_int_equal(world.asked[PLACE_A], 2);
    end();
}

/* Replies that make no sense end in an error, and touch no memory that is not theirs. */
static void test_nonsense_replies(void **state)
{
    (void)state;
    static const enum manner manners[] = {MANNER_PRESENT_SUM, MANNER_PRESENT_COUNT, MANNER_PRESENT_MORE,
                                          MANNER_TOO_LONG, MANNER_NO_BODY};
    for (unsigned i = 0; i < sizeof manners / sizeof manners[0]; i++) {
        for (unsigned pieces = 1; pieces <= 2; pieces++) {
            uint8_t guarded[3000];
            struct iovec into[2] = {{guarded + 100, 1000}, {guarded + 1500, 1000}};
            struct weft_extent from[2] = {{0, 500}, {600, 1500}};
            begin(1, MANNER_GOOD);
            assert_int_equal(weft_file_write(file, memory, 3000, 0), 3000);
            world.manner = (int)manners[i];
            if (pieces == 1)
                into[0].iov_len = 2000;
            memset(guarded, '#', sizeof guarded);
            ssize_t result = weft_file_read_list(file, into, pieces, from, 2);
            assert_true(result == -EPROTO || result == -EBADMSG);
            assert_non_null(strstr(weft_error(), "/run7/state"));
            for (unsigned k = 0; k < sizeof guarded; k++) {
                bool inside =
                    (k >= 100 && k < 100 + into[0].iov_len) || (pieces == 2 && k >= 1500 && k < 2500);
                if (!inside)
                    assert_int_equal(guarded[k], '#');
            }
            end();
        }
    }
}

/* Many transfers at once wait in line: never more under way than the credit, and no deadline
 * passes although all of them together take longer than one. */
static void test_line(void **state)
{
    (void)state;
    enum { OPS = 24, BYTES = 256 << 10 };
    weft_op_t *ops[OPS];
    uint8_t *bytes = calloc(1, BYTES);
    begin(1, MANNER_SLOW);
    world.held_most = 0;
    world.held_bytes_most = 0;
    struct weft_extent *chunks = calloc(BYTES / CHUNK, sizeof *chunks);
    for (unsigned i = 0; i < BYTES / CHUNK; i++) /* all of one target */
        chunks[i] = (struct weft_extent){(uint64_t)i * CHUNK * TARGETS, CHUNK};
    uint64_t start = rpc_now_ns();
    for (unsigned i = 0; i < OPS; i++)
        assert_int_equal(weft_file_write_list_async(file, &(struct iovec){bytes, BYTES}, 1, chunks,
                                                    BYTES / CHUNK, &ops[i]),
                         0);
    for (unsigned i = 0; i < OPS; i++) {
        ssize_t result = weft_wait(ops[i]);
        if (result != BYTES)
            fail_msg("operation %u: %s", i, weft_error());
    }
    assert_true(rpc_now_ns() - start > DEADLINE_MS * UINT64_C(1000000));
    assert_in_range(world.held_most, 2, CREDIT_BYTES / BYTES);
    assert_in_range(world.held_bytes_most, 1, CREDIT_BYTES);
    free(chunks);
    free(bytes);
    end();
}

/* ---- losses -------------------------------------------------------------------------------- */

static void expect_loss(int result)
{
    assert_int_equal(result, -EIO);
    assert_non_null(strstr(weft_error(), "/run7/state"));
    assert_non_null(strstr(weft_error(), "host of storage server s1 has crashed"));
}

/* Whoever has a file open is told of a loss by his next sync that ends well otherwise, once. */
static void test_sync_tells_of_losses(void **state)
{
    weft_op_t *ops[2];
    (void)state;
    begin(2, MANNER_GOOD);
    file->synced = 2;
    assert_int_equal(weft_file_sync(file), 0);
    assert_int_equal(file->synced, 2);
    world.version = 3;
    expect_loss(weft_file_sync(file));
    assert_int_equal(weft_file_sync(file), 0);
    assert_int_equal(file->synced, 3);
    /* Two that are under way together both cover what was lost. */
    file->synced = 2;
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_file_sync_async(file, &ops[i]), 0);
    for (int i = 0; i < 2; i++)
        expect_loss((int)weft_wait(ops[i]));
    assert_int_equal(weft_file_sync(file), 0);
    end();
}

/* One that failed for another reason leaves it to the next. */
static void test_a_failed_sync_forgets_no_loss(void **state)
{
    (void)state;
    begin(3, MANNER_GOOD);
    file->synced = 2;
    struct wire_capability capability = file->capability;
    uint32_t groups = file->layout.group_count;
    file->capability.layout.group_count = 100; /* there are not so many */
    assert_int_equal(weft_file_sync(file), -EINVAL);
    file->capability = capability;
    file->layout.group_count = groups;
    expect_loss(weft_file_sync(file));
    end();
}

static void test_a_loss_elsewhere_is_not_told(void **state)
{
    (void)state;
    begin(4, MANNER_GOOD);
    world_file_drop(file);
    file = world_file(session, WIRE_ACCESS_WRITE, CHUNK, 2); /* targets 0 and 1 */
    file->synced = 3;
    world.version = 5;
    assert_int_equal(weft_file_sync(file), 0);
    assert_int_equal(file->synced, 5);
    end();
}

/* Who gets a copy of a handle is told of what the handle would be. */
static void test_a_copy_of_a_handle(void **state)
{
    uint8_t blob[16384];
    weft_file_t *copy;
    (void)state;
    begin(4, MANNER_GOOD);
    file->synced = 2;
    ssize_t length = weft_file_export(file, blob, sizeof blob);
    assert_true(length > 0 && length <= (ssize_t)sizeof blob);
    assert_int_equal(weft_file_import(session, blob, (size_t)length, &copy), 0);
    expect_loss(weft_file_sync(copy));
    expect_loss(weft_file_sync(file));
    assert_int_equal(weft_file_sync(copy), 0);
    assert_int_equal(weft_file_close(copy), 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_is_split),
        cmocka_unit_test(test_read_is_split),
        cmocka_unit_test(test_large_is_split),
        cmocka_unit_test(test_size_again),
        cmocka_unit_test(test_map_is_asked_for),
        cmocka_unit_test(test_no_newer_map),
        cmocka_unit_test(test_ever_newer_maps),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_nonsense_replies),
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_sync_tells_of_losses),
        cmocka_unit_test(test_a_failed_sync_forgets_no_loss),
        cmocka_unit_test(test_a_loss_elsewhere_is_not_told),
        cmocka_unit_test(test_a_copy_of_a_handle),
    };
    return cmocka_run_group_tests_name("client_redo", tests, open_servers, close_servers);
}
