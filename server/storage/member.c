/* SPDX-License-Identifier: Apache-2.0 */
#include "member.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "chunks/volume.h"
#include "err.h"
#include "hostname.h"
#include "log.h"

enum { SERVED_TARGET_BYTES = 4 + 8 }; /* of a registration */

enum member_state {
    MEMBER_OUT, /* not registered, or forgotten by the metadata server */
    MEMBER_REGISTERED,
};

struct member {
    struct daemon *daemon;
    struct server *server;
    struct rpc *rpc;
    struct rpc_connection *connection;
    enum member_state state;
    bool ready; /* was registered once */
    bool away;  /* the metadata server can't be reached; said so */
    bool busy;  /* `call` is under way */
    bool asked; /* and a shard waits for its answer */
    atomic_bool map_wanted;
    uint64_t map_version;
    bool is_displaced; /* that map has another address of this server */
    struct rpc_call call;
    uint8_t *body;
    size_t body_size;
    int failure; /* why the process must end */
    char failure_text[LIMITS_ERROR_TEXT_MAX + 1];
};

/* ---- what is reported --------------------------------------------------- */

struct space {
    uint64_t total, free;
};

/* What the stores of a target have and do not use. */
static uint64_t room_of(const struct server *server, uint32_t target)
{
    uint64_t room = 0;
    for (uint32_t k = 0; k < server->shard_count; k++) {
        const struct store *store = server->shards[k].stores[target];
        room += store->type->room ? store->type->room(store) : 0;
    }
    return room;
}

/* Targets of one file system count once. */
static struct space space_of(const struct server *server)
{
    struct space space = {0};
    for (uint32_t i = 0; i < server->target_count; i++) {
        struct statvfs fs;
        struct stat stat, other;
        bool counted = false;
        struct volume *volume = server->targets[i].volume;
        space.free += room_of(server, i);
        if (volume) {
            space.total += volume_bytes(volume);
            space.free += volume_free_bytes(volume);
            continue;
        }
        if (fstatvfs(server->targets[i].dir_fd, &fs) || fstat(server->targets[i].dir_fd, &stat))
            continue;
        for (uint32_t k = 0; k < i && !counted; k++)
            counted = !fstat(server->targets[k].dir_fd, &other) && other.st_dev == stat.st_dev;
        if (counted)
            continue;
        space.total += (uint64_t)fs.f_blocks * fs.f_frsize;
        space.free += (uint64_t)fs.f_bavail * fs.f_frsize;
    }
    return space;
}

/* ---- maps --------------------------------------------------------------- */

/* A target must not be served to another cluster than the one whose files it has. */
static int join(struct member *member, const struct map *map, bool registered)
{
    for (uint32_t i = 0; i < member->server->target_count; i++) {
        struct target *target = &member->server->targets[i];
        bool is_known = !registered && map_target_by_id(map, target->id);
        int error = target_join(target, map->cluster, is_known);
        if (error)
            return error;
    }
    return 0;
}

static void fail(struct member *member, int status, const char *what)
{
    if (!member->failure) {
        member->failure = status;
        snprintf(member->failure_text, sizeof member->failure_text, "%s: %s", what, err_text());
    }
    daemon_stop();
}

/* The map as it is before this server registers. */
static void on_greeting(void *arg, struct rpc_connection *connection, const void *data, size_t length)
{
    struct member *member = arg;
    struct map *map = NULL;
    (void)connection;
    int error = map_decode(data, length, &map);
    if (!error)
        error = join(member, map, false);
    if (error)
        fail(member, error, "this server can't join the cluster");
    map_unref(map);
}

/* Whether clients find this server by the map. A registration of an earlier process of this server may have
 * been long on its way, and come last. */
static bool is_listed(const struct member *member, const struct map *map)
{
    const struct server *server = member->server;
    for (uint32_t i = 0; i < map->server_count; i++) {
        const struct map_server *listed = &map->servers[i];
        if (strcmp(listed->name, server->storage->name) != 0)
            continue;
        bool same = listed->shard_count == server->shard_count;
        for (uint32_t k = 0; same && k < server->shard_count; k++)
            same = strcmp(listed->addresses[k], server->shards[k].bound) == 0;
        return same;
    }
    return true; /* not known: a heartbeat is told so */
}

enum { REGISTER_AGAIN = 1 };

/* The cluster may know of more losses than a target does that was put back to what it was earlier. Then it
 * has one more, and is not served before that is known. */
static int compare_losses(struct member *member, const struct map *map)
{
    for (uint32_t i = 0; i < member->server->target_count; i++) {
        struct target *target = &member->server->targets[i];
        const struct map_target *known = map_target_by_id(map, target->id);
        uint64_t losses = target->losses;
        int error = known ? target_losses_raise(target, known->losses) : 0;
        if (error || target->losses != losses)
            return error ? error : REGISTER_AGAIN;
    }
    return 0;
}

/* As compare_losses(). */
static int take_map(struct member *member, const struct wire_bytes *encoded)
{
    struct map *map;
    if (encoded->length == 0)
        return 0;
    int error = map_decode(encoded->data, encoded->length, &map);
    if (error)
        return error;
    error = join(member, map, true);
    if (!error)
        error = compare_losses(member, map);
    if (!error && map->version > member->map_version) {
        member->map_version = map->version;
        member->is_displaced = !is_listed(member, map);
        log_debug("cluster map version %" PRIu64, map->version);
        for (uint32_t k = 0; k < member->server->shard_count; k++)
            shard_map_put(&member->server->shards[k], map_ref(map));
    }
    map_unref(map);
    return error;
}

/* ---- calls -------------------------------------------------------------- */

static void start_call(struct member *member, uint16_t operation, ssize_t length, rpc_call_fn *done)
{
    const struct conf *conf = member->server->conf;
    if (length < 0) {
        log_error("%s", err_text());
        return;
    }
    member->call = (struct rpc_call){
        .operation = operation,
        .body = member->body,
        .body_length = (uint32_t)length,
        .deadline_ms = conf->lease_ms / 2 > conf->heartbeat_ms ? conf->lease_ms / 2 : conf->heartbeat_ms,
        .done = done,
        .arg = member,
    };
    member->busy = rpc_call_start(member->connection, &member->call) == 0;
    if (!member->busy)
        log_error("%s", err_text());
}

/* The metadata server, or its handshake, said no: asking again won't help. */
static bool is_refusal(int status)
{
    switch (-status) {
    case EEXIST:
    case EINVAL:
    case EACCES:
    case EPERM:
    case EPROTO:
    case EBADMSG:
    case EOPNOTSUPP:
        return true;
    }
    return false;
}

static void note_away(struct member *member)
{
    if (!member->away)
        log_warn("the metadata server at %s can't be reached, trying on: %s",
                 member->server->conf->metadata_listen, err_text());
    member->away = true;
}

static void note_back(struct member *member)
{
    if (member->away)
        log_info("the metadata server at %s is back", member->server->conf->metadata_listen);
    member->away = false;
}

static void register_done(struct rpc_call *call)
{
    struct member *member = call->arg;
    struct wire_server_register_reply reply;
    int status = call->status;
    member->busy = false;
    if (status == -ECANCELED || member->failure)
        return;
    if (status && !is_refusal(status)) {
        note_away(member);
        return;
    }
    if (status) {
        fail(member, status, "the metadata server does not let this server in");
        return;
    }
    note_back(member);
    status = wire_decode_server_register_reply(call->reply, call->reply_length, &reply);
    if (!status)
        status = take_map(member, &reply.map);
    if (status == REGISTER_AGAIN) {
        atomic_store(&member->map_wanted, true);
        return;
    }
    if (status) {
        fail(member, status, "this server can't join the cluster");
        return;
    }
    member->state = MEMBER_REGISTERED;
    if (member->ready)
        log_info("registered again");
    else
        daemon_ready(member->daemon, member->server->shards[0].bound);
    member->ready = true;
}

static void heartbeat_done(struct rpc_call *call)
{
    struct member *member = call->arg;
    struct wire_heartbeat_reply reply;
    int status = call->status;
    member->busy = false;
    if (status == -ECANCELED)
        return;
    if (status == -ENOENT) {
        log_info("the metadata server does not know this server: registering again");
        member->state = MEMBER_OUT;
        atomic_store(&member->map_wanted, true);
        return;
    }
    if (status) {
        note_away(member);
        return;
    }
    note_back(member);
    status = wire_decode_heartbeat_reply(call->reply, call->reply_length, &reply);
    if (!status)
        status = take_map(member, &reply.map);
    if (status < 0)
        log_error("the answer to a heartbeat makes no sense: %s", err_text());
    if (member->is_displaced || status == REGISTER_AGAIN) {
        log_warn("the cluster map does not have this server as it is: registering again");
        member->state = MEMBER_OUT;
        atomic_store(&member->map_wanted, true);
    }
    for (uint32_t k = 0; member->asked && k < member->server->shard_count; k++)
        shard_map_confirm(&member->server->shards[k]);
}

static ssize_t put_register(struct member *member)
{
    const struct server *server = member->server;
    size_t addresses_size = server->shard_count * (size_t)(LIMITS_ADDRESS_MAX + 8);
    size_t targets_size = server->target_count * (size_t)SERVED_TARGET_BYTES;
    uint8_t *addresses = malloc(addresses_size), *targets = malloc(targets_size);
    ssize_t length = -ENOMEM;
    if (!addresses || !targets) {
        err_set(-ENOMEM, "no memory to register");
        goto free;
    }
    struct wire_writer address_writer = wire_writer_on(addresses, addresses_size);
    for (uint32_t k = 0; k < server->shard_count; k++)
        wire_put_address(&address_writer, &(struct wire_address){.text = server->shards[k].bound});
    struct wire_writer target_writer = wire_writer_on(targets, targets_size);
    for (uint32_t i = 0; i < server->target_count; i++)
        wire_put_served_target(
            &target_writer,
            &(struct wire_served_target){.id = server->targets[i].id, .losses = server->targets[i].losses});
    struct space space = space_of(server);
    const struct conf_storage *storage = server->storage;
    char here[LIMITS_HOST_NAME_MAX + 1];
    hostname_get(here);
    struct wire_server_register request = {
        .name = storage->name,
        .host = {.name = storage->host ? storage->host : here,
                 .chassis = storage->chassis ? storage->chassis : "",
                 .rack = storage->rack ? storage->rack : ""},
        .addresses = wire_list_of(&address_writer, server->shard_count),
        .targets = wire_list_of(&target_writer, server->target_count),
        .bytes_total = space.total,
        .bytes_free = space.free,
    };
    length = wire_encode_server_register(member->body, member->body_size, &request);
free:
    free(addresses);
    free(targets);
    return length;
}

static ssize_t put_heartbeat(struct member *member)
{
    struct space space = space_of(member->server);
    struct wire_heartbeat request = {
        .name = member->server->storage->name,
        .map_version = member->map_version,
        .bytes_total = space.total,
        .bytes_free = space.free,
    };
    return wire_encode_heartbeat(member->body, member->body_size, &request);
}

static void beat(void *arg)
{
    struct member *member = arg;
    if (member->busy || daemon_stopping())
        return;
    member->asked = atomic_exchange(&member->map_wanted, false);
    if (member->state == MEMBER_OUT)
        start_call(member, WIRE_OP_server_register, put_register(member), register_done);
    else
        start_call(member, WIRE_OP_heartbeat, put_heartbeat(member), heartbeat_done);
}

void member_map_wanted(void *arg)
{
    struct member *member = arg;
    atomic_store(&member->map_wanted, true);
    rpc_wake(member->rpc);
}

/* ---- life --------------------------------------------------------------- */

int member_open(struct daemon *daemon, struct server *server, struct member **result)
{
    struct member *member = calloc(1, sizeof *member);
    if (!member)
        return err_set(-ENOMEM, "no memory");
    member->daemon = daemon;
    member->server = server;
    member->body_size = 1024 + server->shard_count * (size_t)(LIMITS_ADDRESS_MAX + 8) +
                        SERVED_TARGET_BYTES * (size_t)server->target_count;
    member->body = malloc(member->body_size);
    struct rpc_config config = {.conf = server->conf,
                                .name = server->who,
                                .role = WIRE_ROLE_STORAGE,
                                .arg = member,
                                .greeting = on_greeting};
    int error = member->body ? rpc_open(&config, &member->rpc) : err_set(-ENOMEM, "no memory");
    if (!error)
        error = rpc_connect(member->rpc, server->conf->metadata_listen, &member->connection);
    if (!error)
        error = rpc_every(member->rpc, server->conf->heartbeat_ms, beat, member);
    if (error) {
        member_close(member);
        return error;
    }
    rpc_connection_name(member->connection, "the metadata server");
    *result = member;
    return 0;
}

int member_run(struct member *member)
{
    daemon_wake_set(member->rpc);
    beat(member);
    while (!daemon_stopping()) {
        rpc_wait(member->rpc, -1);
        if (atomic_load(&member->map_wanted))
            beat(member);
    }
    daemon_wake_set(NULL);
    return member->failure ? err_set(member->failure, "%s", member->failure_text) : 0;
}

void member_close(struct member *member)
{
    if (member->rpc)
        rpc_close(member->rpc);
    free(member->body);
    free(member);
}
