/* SPDX-License-Identifier: Apache-2.0 */
#include "storaged_peer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"

#define CALL_MS  3000u
#define READY_MS 20000u

static const char key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

/* ---- everyone moves on -------------------------------------------------- */

static void progress(struct peer *peer)
{
    unsigned count = 0;
    struct rpc *all[] = {peer->metadata, peer->client, peer->manager, peer->leader};
    for (unsigned i = 0; i < 4; i++)
        count += all[i] ? rpc_progress(all[i]) : 0;
    if (!count)
        usleep(100);
}

void peer_idle(struct peer *peer, unsigned ms)
{
    for (uint64_t end = rpc_now_ns() + ms * UINT64_C(1000000); rpc_now_ns() < end;)
        progress(peer);
}

/* ---- the metadata server ------------------------------------------------ */

static void take_registration(struct peer *peer, const struct wire_server_register *request)
{
    struct wire_reader addresses = wire_list_reader(&request->addresses);
    struct wire_reader targets = wire_list_reader(&request->targets);
    assert_int_equal(request->addresses.count, PEER_SHARDS);
    assert_true(request->targets.count <= 8);
    for (uint32_t k = 0; k < PEER_SHARDS; k++) {
        struct wire_address address;
        wire_get_address(&addresses, &address);
        snprintf(peer->map->servers[0].addresses[k], LIMITS_ADDRESS_MAX + 1, "%s", address.text);
    }
    for (uint32_t i = 0; i < request->targets.count; i++) {
        struct wire_served_target served;
        wire_get_served_target(&targets, &served);
        peer->registered_targets[i] = served.id;
        peer->registered_losses[i] = served.losses;
        peer->registered_capacities[i] = served.capacity;
    }
    assert_int_equal(wire_read_all(&addresses, "addresses"), 0);
    assert_int_equal(wire_read_all(&targets, "targets"), 0);
    peer->registered_target_count = request->targets.count;
    peer->registered_total = request->bytes_total;
    peer->registered_free = request->bytes_free;
    peer->map->version++;
    peer->registrations++;
}

static void reply_map(struct peer *peer, struct rpc_request *request, bool newer_only, uint64_t version)
{
    uint8_t map[4096], body[8192];
    ssize_t length = map_encode(peer->map, map, sizeof map);
    assert_true(length > 0);
    bool with = !newer_only || peer->map->version > version;
    /* Both replies are the same on the wire. */
    struct wire_heartbeat_reply reply = {.map = {.data = map, .length = with ? (uint32_t)length : 0}};
    length = wire_encode_heartbeat_reply(body, sizeof body, &reply);
    assert_true(length > 0);
    rpc_reply(request, 0, body, (size_t)length, NULL, 0, NULL, NULL);
}

static void metadata_request(void *arg, struct rpc_request *request)
{
    struct peer *peer = arg;
    struct wire_server_register registration;
    struct wire_heartbeat heartbeat;
    if (request->operation == WIRE_OP_server_register) {
        assert_int_equal(wire_decode_server_register(request->body, request->body_length, &registration), 0);
        assert_string_equal(registration.name, "s0");
        if (peer->register_status) {
            err_set(peer->register_status, "target 0 is served by another server");
            rpc_reply(request, peer->register_status, NULL, 0, NULL, 0, NULL, NULL);
            return;
        }
        take_registration(peer, &registration);
        reply_map(peer, request, false, 0);
        return;
    }
    assert_int_equal(request->operation, WIRE_OP_heartbeat);
    assert_int_equal(wire_decode_heartbeat(request->body, request->body_length, &heartbeat), 0);
    peer->heartbeats++;
    if (peer->forget) {
        peer->forget = false;
        rpc_reply(request, err_set(-ENOENT, "no server s0"), NULL, 0, NULL, 0, NULL, NULL);
        return;
    }
    reply_map(peer, request, true, heartbeat.map_version);
}

/* Before the first registration the cluster has no targets. */
static struct wire_bytes greeting(void *arg)
{
    static uint8_t encoded[4096];
    struct peer *peer = arg;
    struct map *empty = map_new(0, 0, NULL, 0, 0);
    assert_non_null(empty);
    memcpy(empty->cluster, peer->map->cluster, sizeof empty->cluster);
    ssize_t length = map_encode(peer->registrations ? peer->map : empty, encoded, sizeof encoded);
    assert_true(length > 0);
    map_unref(empty);
    return (struct wire_bytes){.data = encoded, .length = (uint32_t)length};
}

static struct map *make_map(uint64_t version)
{
    const uint32_t shard_counts[] = {PEER_SHARDS, PEER_SHARDS};
    const uint32_t ids[] = {0, 1, 7};
    struct map *map = map_new(0, 2, shard_counts, 3, PEER_GROUPS);
    assert_non_null(map);
    map->version = version;
    memset(map->cluster, 0xc1, sizeof map->cluster);
    snprintf(map->servers[0].name, sizeof map->servers[0].name, "s0");
    snprintf(map->servers[1].name, sizeof map->servers[1].name, "elsewhere");
    for (uint32_t i = 0; i < 3; i++) {
        map->targets[i] = (struct map_target){.id = ids[i], .server = i == 2, .state = MAP_STATE_UP};
        map->groups[i] = (struct map_group){.member_count = 1, .members = {i}};
    }
    return map;
}

void peer_map_next(struct peer *peer)
{
    struct map *map = make_map(peer->map->version + 1);
    memcpy(map->servers[0].addresses, peer->map->servers[0].addresses,
           PEER_SHARDS * (LIMITS_ADDRESS_MAX + 1));
    map_unref(peer->map);
    peer->map = map;
}

/* ---- files -------------------------------------------------------------- */

static void write_text(const struct peer *peer, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", peer->dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

bool peer_keeps_files(void)
{
    const char *store = getenv("WEFT_TEST_STORE");
    return store && strcmp(store, "files") == 0;
}

static void write_conf(struct peer *peer, const char *metadata, const char *limits, const char *more)
{
    const char *store = getenv("WEFT_TEST_STORE");
    char text[1024];
    snprintf(text, sizeof text,
             "cluster = { name = \"test\"; key_file = \"cluster.key\"; };\n"
             "metadata = { listen = \"%s\"; dir = \"metadata\"; };\n"
             "storage = ( { name = \"s0\"; listen = \"127.0.0.1:0\"; shards = %d;\n"
             "  targets = ( { id = 0; dir = \"s0/t0\"; }, { id = 1; dir = \"s0/t1\"; capacity = \"8T\"; } ); "
             "} );\n"
             "limits = { heartbeat_ms = 100; lease_ms = 1000; %s };\n"
             "log = { level = \"info\"; };\nstore = \"%s\";\n%s\n",
             metadata, PEER_SHARDS, limits, store ? store : "chunks", more);
    write_text(peer, "weft.conf", text);
}

void peer_open(struct peer *peer, const char *limits)
{
    peer_open_more(peer, limits, "");
}

void peer_open_more(struct peer *peer, const char *limits, const char *more)
{
    static const struct rpc_service service = {.request = metadata_request, .greeting = greeting};
    char path[256], bound[LIMITS_ADDRESS_MAX + 1];
    const char *base = getenv("TMPDIR");
    memset(peer, 0, sizeof *peer);
    signal(SIGPIPE, SIG_IGN);
    snprintf(peer->dir, sizeof peer->dir, "%.90s/weft-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(peer->dir));
    snprintf(path, sizeof path, "%s/weft.conf", peer->dir);
    write_text(peer, "cluster.key", key);
    write_conf(peer, "127.0.0.1:1", limits, more);
    assert_int_equal(conf_load(path, &peer->conf), 0);
    peer->map = make_map(1);

    struct rpc_config config = {.conf = peer->conf, .name = "test", .service = &service, .arg = peer};
    assert_int_equal(rpc_open(&config, &peer->metadata), 0);
    assert_int_equal(rpc_listen(peer->metadata, "127.0.0.1:0", bound), 0);
    write_conf(peer, bound, limits, more);
    config.service = NULL;
    config.role = WIRE_ROLE_CLIENT;
    assert_int_equal(rpc_open(&config, &peer->client), 0);
    config.role = WIRE_ROLE_METADATA;
    assert_int_equal(rpc_open(&config, &peer->manager), 0);
    config.role = WIRE_ROLE_STORAGE;
    assert_int_equal(rpc_open(&config, &peer->leader), 0);
}

void peer_close(struct peer *peer)
{
    char command[256];
    if (peer->pid) {
        kill(peer->pid, SIGKILL);
        waitpid(peer->pid, NULL, 0);
    }
    rpc_close(peer->client);
    rpc_close(peer->manager);
    rpc_close(peer->leader);
    rpc_close(peer->metadata);
    map_unref(peer->map);
    conf_free(peer->conf);
    snprintf(command, sizeof command, "rm -rf '%s'", peer->dir);
    assert_int_equal(system(command), 0);
}

/* ---- the server --------------------------------------------------------- */

bool peer_is_slow(void)
{
    const char *valgrind = getenv("WEFT_VALGRIND");
    return valgrind && *valgrind;
}

static void exec_server(const struct peer *peer, int ready_fd)
{
    char path[256], conf[256], number[16];
    const char *top = getenv("WEFT_TOP_BUILDDIR");
    snprintf(path, sizeof path, "%s/server/storage/weft-storaged", top ? top : ".");
    snprintf(conf, sizeof conf, "%s/weft.conf", peer->dir);
    snprintf(number, sizeof number, "%d", ready_fd);
    execl(path, path, "--config", conf, "--name", "s0", "--die-with-parent", "--ready-fd", number,
          (char *)NULL);
    fprintf(stderr, "can't start %s\n", path);
    _exit(127);
}

static void connect_to(struct peer *peer)
{
    for (uint32_t k = 0; k < PEER_SHARDS; k++) {
        if (peer->to_shard[k])
            rpc_disconnect(peer->to_shard[k]);
        if (peer->manager_to_shard[k])
            rpc_disconnect(peer->manager_to_shard[k]);
        if (peer->leader_to_shard[k])
            rpc_disconnect(peer->leader_to_shard[k]);
        const char *address = peer->map->servers[0].addresses[k];
        assert_int_equal(rpc_connect(peer->client, address, &peer->to_shard[k]), 0);
        assert_int_equal(rpc_connect(peer->manager, address, &peer->manager_to_shard[k]), 0);
        assert_int_equal(rpc_connect(peer->leader, address, &peer->leader_to_shard[k]), 0);
    }
}

void peer_start(struct peer *peer)
{
    int ready[2];
    size_t length = 0;
    uint64_t end = rpc_now_ns() + READY_MS * UINT64_C(1000000);
    assert_int_equal(pipe(ready), 0);
    peer->pid = fork();
    assert_true(peer->pid >= 0);
    if (peer->pid == 0) {
        close(ready[0]);
        exec_server(peer, ready[1]);
    }
    close(ready[1]);
    assert_int_equal(fcntl(ready[0], F_SETFL, O_NONBLOCK), 0);
    while (!memchr(peer->ready, '\n', length)) {
        progress(peer);
        ssize_t count = read(ready[0], peer->ready + length, sizeof peer->ready - 1 - length);
        assert_true(count > 0 || (count < 0 && errno == EAGAIN));
        assert_true(rpc_now_ns() < end);
        length += count > 0 ? (size_t)count : 0;
    }
    peer->ready[length] = 0;
    close(ready[0]);
    connect_to(peer);
}

int peer_run(struct peer *peer, char *text, size_t size)
{
    int output[2], status;
    size_t length = 0;
    assert_int_equal(pipe(output), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(output[0]);
        dup2(output[1], STDERR_FILENO);
        exec_server(peer, STDERR_FILENO);
    }
    close(output[1]);
    assert_int_equal(fcntl(output[0], F_SETFL, O_NONBLOCK), 0);
    for (;;) {
        progress(peer);
        ssize_t count = read(output[0], text + length, size - 1 - length);
        if (count == 0 || (count < 0 && errno != EAGAIN))
            break;
        length += count > 0 ? (size_t)count : 0;
        assert_true(length < size - 1);
    }
    text[length] = 0;
    close(output[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

int peer_signal(struct peer *peer, int number)
{
    int status;
    assert_int_equal(kill(peer->pid, number), 0);
    while (waitpid(peer->pid, &status, WNOHANG) == 0)
        progress(peer);
    peer->pid = 0;
    memset(peer->ready, 0, sizeof peer->ready);
    return status;
}

/* ---- calls -------------------------------------------------------------- */

struct waiting {
    struct answer *answer;
    bool done;
};

static void *place(struct rpc_call *call, const void *body, uint32_t body_length, uint64_t length)
{
    struct waiting *waiting = call->arg;
    (void)body, (void)body_length;
    return length <= waiting->answer->payload_size ? waiting->answer->payload : NULL;
}

static void call_done(struct rpc_call *call)
{
    struct waiting *waiting = call->arg;
    struct answer *answer = waiting->answer;
    answer->status = call->status;
    snprintf(answer->text, sizeof answer->text, "%s", call->status ? err_text() : "");
    answer->body_length = call->reply_length;
    assert_true(call->reply_length <= sizeof answer->body);
    if (call->reply_length)
        memcpy(answer->body, call->reply, call->reply_length);
    answer->payload_length = call->reply_payload_length;
    waiting->done = true;
}

void peer_call(struct peer *peer, struct rpc_connection *connection, unsigned operation, const void *body,
               size_t body_length, const void *payload, size_t payload_length, struct answer *answer)
{
    struct waiting waiting = {.answer = answer};
    struct iovec iov = {.iov_base = (void *)payload, .iov_len = payload_length};
    struct rpc_call call = {
        .operation = (uint16_t)operation,
        .body = body,
        .body_length = (uint32_t)body_length,
        .payload = &iov,
        .payload_count = payload_length ? 1 : 0,
        .deadline_ms = CALL_MS,
        .done = call_done,
        .place = place,
        .arg = &waiting,
    };
    assert_int_equal(rpc_call_start(connection, &call), 0);
    while (!waiting.done)
        progress(peer);
}

/* ---- reading and writing ------------------------------------------------ */

struct layout peer_layout(void)
{
    return (struct layout){
        .chunk_size = PEER_CHUNK, .seed = 42, .stripe_count = 3, .group_count = PEER_GROUPS};
}

struct wire_capability peer_capability(const struct peer *peer, uint64_t ino, uint32_t access)
{
    struct layout layout = peer_layout();
    return capability_make(peer->conf->key, ino, &layout, access);
}

size_t peer_encode_io(unsigned operation, const struct wire_capability *capability, uint64_t map_version,
                      const struct wire_extent *extents, uint32_t count, void *body, size_t size)
{
    size_t list_size = count * (size_t)16;
    uint8_t *list = malloc(list_size + 1);
    assert_non_null(list);
    struct wire_writer writer = wire_writer_on(list, list_size);
    for (uint32_t i = 0; i < count; i++)
        wire_put_extent(&writer, &extents[i]);
    assert_int_equal(wire_written(&writer), list_size);
    struct wire_list list_of_extents = wire_list_of(&writer, count);
    struct wire_write write = {
        .capability = *capability, .map_version = map_version, .extents = list_of_extents};
    struct wire_read read = {
        .capability = *capability, .map_version = map_version, .extents = list_of_extents};
    ssize_t length = operation == WIRE_OP_write ? wire_encode_write(body, size, &write)
                                                : wire_encode_read(body, size, &read);
    assert_true(length > 0);
    free(list);
    return (size_t)length;
}

bool peer_is_elsewhere(uint64_t offset)
{
    struct layout layout = peer_layout();
    return layout_place_of(&layout, offset).group == 2;
}

uint64_t peer_chunk_on(const struct peer *peer, uint32_t target, uint32_t shard, uint64_t from)
{
    struct layout layout = peer_layout();
    for (uint64_t at = from;; at += PEER_CHUNK) {
        struct map_location location;
        assert_int_equal(map_locate(peer->map, &layout, at, &location), 0);
        if (location.target_id == target && location.shard == shard)
            return at;
    }
}

/* One request for each chunk: how requests with many extents go, the tests try themselves. */
static int each_chunk(struct peer *peer, uint64_t ino, uint64_t offset, uint8_t *data, size_t length,
                      bool is_write)
{
    struct wire_capability capability = peer_capability(peer, ino, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    struct layout layout = peer_layout();
    static struct answer answer;
    uint8_t body[256];
    for (size_t done = 0; done < length;) {
        struct map_location location;
        uint64_t at = offset + done, room = PEER_CHUNK - at % PEER_CHUNK;
        uint32_t count = (uint32_t)(length - done < room ? length - done : room);
        assert_int_equal(map_locate(peer->map, &layout, at, &location), 0);
        struct wire_extent extent = {.offset = at, .length = count, .target = location.target_id};
        unsigned operation = is_write ? WIRE_OP_write : WIRE_OP_read;
        size_t size =
            peer_encode_io(operation, &capability, peer->map->version, &extent, 1, body, sizeof body);
        memset(&answer, 0, sizeof answer);
        answer.payload = data + done;
        answer.payload_size = count;
        if (!is_write)
            memset(data + done, 0, count);
        if (!peer_is_elsewhere(at))
            peer_call(peer, peer->to_shard[location.shard], operation, body, size, data + done,
                      is_write ? count : 0, &answer);
        if (answer.status)
            return answer.status;
        done += count;
    }
    return 0;
}

int peer_write(struct peer *peer, uint64_t ino, uint64_t offset, const void *data, size_t length)
{
    return each_chunk(peer, ino, offset, (uint8_t *)data, length, true);
}

int peer_read(struct peer *peer, uint64_t ino, uint64_t offset, void *data, size_t length)
{
    return each_chunk(peer, ino, offset, data, length, false);
}

int peer_sync(struct peer *peer, uint64_t ino)
{
    static struct answer answer;
    uint8_t body[256];
    struct wire_sync request = {.capability = peer_capability(peer, ino, 0),
                                .map_version = peer->map->version};
    ssize_t length = wire_encode_sync(body, sizeof body, &request);
    assert_true(length > 0);
    for (uint32_t k = 0; k < PEER_SHARDS; k++) {
        peer_call(peer, peer->to_shard[k], WIRE_OP_sync, body, (size_t)length, NULL, 0, &answer);
        if (answer.status)
            return answer.status;
    }
    return 0;
}

int peer_truncate(struct peer *peer, struct rpc_connection *connection, uint64_t ino, uint64_t size,
                  bool grow_only)
{
    static struct answer answer;
    uint8_t body[256];
    struct wire_object_truncate request = {.map_version = peer->map->version,
                                           .capability = peer_capability(peer, ino, 0),
                                           .size = size,
                                           .grow_only = grow_only};
    ssize_t length = wire_encode_object_truncate(body, sizeof body, &request);
    assert_true(length > 0);
    peer_call(peer, connection, WIRE_OP_object_truncate, body, (size_t)length, NULL, 0, &answer);
    return answer.status;
}

int peer_remove(struct peer *peer, struct rpc_connection *connection, uint64_t ino)
{
    static struct answer answer;
    uint8_t body[256], list[128];
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    struct wire_capability capability = peer_capability(peer, ino, 0);
    wire_put_capability(&writer, &capability);
    struct wire_object_remove request = {.map_version = peer->map->version,
                                         .files = wire_list_of(&writer, 1)};
    ssize_t length = wire_encode_object_remove(body, sizeof body, &request);
    assert_true(length > 0);
    peer_call(peer, connection, WIRE_OP_object_remove, body, (size_t)length, NULL, 0, &answer);
    return answer.status;
}

int peer_end(struct peer *peer, uint64_t ino, uint64_t *end)
{
    static struct answer answer;
    uint8_t body[256];
    struct wire_object_stat request = {.capability = peer_capability(peer, ino, 0),
                                       .map_version = peer->map->version};
    ssize_t length = wire_encode_object_stat(body, sizeof body, &request);
    assert_true(length > 0);
    *end = 0;
    for (uint32_t k = 0; k < PEER_SHARDS; k++) {
        struct wire_object_stat_reply reply;
        peer_call(peer, peer->to_shard[k], WIRE_OP_object_stat, body, (size_t)length, NULL, 0, &answer);
        if (answer.status)
            return answer.status;
        assert_int_equal(wire_decode_object_stat_reply(answer.body, answer.body_length, &reply), 0);
        *end = reply.end > *end ? reply.end : *end;
    }
    return 0;
}

uint64_t peer_counter(struct peer *peer, const char *name)
{
    static struct answer answer;
    uint64_t sum = 0;
    bool found = false;
    for (uint32_t k = 0; k < PEER_SHARDS; k++) {
        struct wire_counters_reply reply;
        peer_call(peer, peer->to_shard[k], WIRE_OP_counters, NULL, 0, NULL, 0, &answer);
        assert_int_equal(answer.status, 0);
        assert_int_equal(wire_decode_counters_reply(answer.body, answer.body_length, &reply), 0);
        struct wire_reader reader = wire_list_reader(&reply.counters);
        for (uint32_t i = 0; i < reply.counters.count; i++) {
            struct wire_counter counter;
            wire_get_counter(&reader, &counter);
            if (!strcmp(counter.name, name)) {
                sum += counter.value;
                found = true;
            }
        }
        assert_int_equal(wire_read_all(&reader, "counters"), 0);
    }
    assert_true(found);
    return sum;
}
