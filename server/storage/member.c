/* SPDX-License-Identifier: Apache-2.0 */
#include "member.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "hostname.h"
#include "log.h"
#include "member_sweep.h"
#include "space.h"

enum { SERVED_TARGET_BYTES = 4 + 8 + 8 + 1 + 3 }; /* of a registration */
enum { VERDICT_BYTES = 4 + 8 + 4 + 1 + 3 };       /* of a report */

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
    bool ready;   /* was registered once */
    bool refused; /* for now; said so */
    bool away;    /* the metadata server can't be reached; said so */
    bool busy;    /* `call` is under way */
    bool asked;   /* a shard waits for its answer, or that of the next one */
    atomic_bool map_wanted;
    uint32_t reported;    /* verdicts in the call under way */
    uint64_t sent_ns;     /* when the call under way was sent */
    pthread_mutex_t lock; /* of what follows */
    struct list partly;   /* said by some of the shards */
    struct wire_group_verdict *verdicts;
    uint32_t verdict_count, verdict_room;
    uint64_t map_version;
    bool is_displaced; /* that map has another address of this server */
    struct member_sweep sweep;
    struct rpc_call call;
    uint8_t *body;
    size_t body_size;
    int failure; /* why the process must end */
    char failure_text[LIMITS_ERROR_TEXT_MAX + 1];
};

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
    member->sent_ns = rpc_now_ns();
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

/* Others count on this server for a lease from when they heard it: it stops after half of one from when it
 * spoke. What they count on is that it goes by their map. */
static void renew_lease(struct member *member)
{
    atomic_store(&member->server->lease_version, member->map_version);
    atomic_store(&member->server->lease_until_ns,
                 member->sent_ns + member->server->conf->lease_ms / 2 * UINT64_C(1000000));
}

static void confirm(struct member *member)
{
    for (uint32_t k = 0; member->asked && k < member->server->shard_count; k++)
        shard_map_confirm(&member->server->shards[k]);
    member->asked = false;
}

static void note_back(struct member *member)
{
    if (member->away)
        log_info("the metadata server at %s is back", member->server->conf->metadata_listen);
    member->away = false;
}

/* Not yet: it is asked again with the next heartbeat. */
static void note_refused(struct member *member)
{
    if (!member->refused)
        log_warn("the metadata server does not let this server in yet, trying on: %s", err_text());
    member->refused = true;
}

static void register_done(struct rpc_call *call)
{
    struct member *member = call->arg;
    struct wire_server_register_reply reply;
    int status = call->status;
    member->busy = false;
    if (status == -ECANCELED || member->failure)
        return;
    if (status == -EHOSTDOWN) {
        note_refused(member);
        return;
    }
    if (status && !is_refusal(status)) {
        note_away(member);
        return;
    }
    if (status) {
        fail(member, status, "the metadata server does not let this server in");
        return;
    }
    note_back(member);
    member->refused = false;
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
    member->server->was_heard = true;
    renew_lease(member);
    confirm(member);
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
    const uint64_t version = member->map_version;
    if (!status)
        status = take_map(member, &reply.map);
    if (status < 0)
        log_error("the answer to a heartbeat makes no sense: %s", err_text());
    else if (status == 0)
        renew_lease(member); /* once the shards have the map that came with it */
    /* Somebody may wait until this server knows: it is told at once when the shards do. */
    if (member->map_version != version && member->server->conf->replicas > 1)
        atomic_store(&member->map_wanted, true);
    if (member->is_displaced || status == REGISTER_AGAIN) {
        log_warn("the cluster map does not have this server as it is: registering again");
        member->state = MEMBER_OUT;
        atomic_store(&member->map_wanted, true);
    }
    confirm(member);
}

/* The process before was killed, or did not end what it had begun. */
static bool was_left(const struct server *server)
{
    for (uint32_t i = 0; i < server->target_count; i++)
        if (server->targets[i].was_left)
            return true;
    return false;
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
        wire_put_served_target(&target_writer,
                               &(struct wire_served_target){.id = server->targets[i].id,
                                                            .losses = server->targets[i].losses,
                                                            .capacity = space_capacity(server, i),
                                                            .is_empty = target_is_new(&server->targets[i]) &&
                                                                        server->targets[i].replaces});
    struct space space = space_measure(server);
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
        .unclean = !server->was_heard && was_left(server),
    };
    length = wire_encode_server_register(member->body, member->body_size, &request);
free:
    free(addresses);
    free(targets);
    return length;
}

static uint64_t adopted_by_all(const struct server *server)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t k = 0; k < server->shard_count; k++) {
        const uint64_t adopted = atomic_load(&server->shards[k].map_adopted);
        least = adopted < least ? adopted : least;
    }
    return least;
}

/* What shards have said, as far as it fits; it stays noted until it was heard. */
static ssize_t put_report(struct member *member)
{
    uint8_t *list = malloc(LIMITS_VERDICTS_MAX * (size_t)VERDICT_BYTES);
    if (!list)
        return err_set(-ENOMEM, "no memory for a report");
    struct wire_writer writer = wire_writer_on(list, LIMITS_VERDICTS_MAX * (size_t)VERDICT_BYTES);
    pthread_mutex_lock(&member->lock);
    const uint32_t count =
        member->verdict_count < LIMITS_VERDICTS_MAX ? member->verdict_count : LIMITS_VERDICTS_MAX;
    for (uint32_t i = 0; i < count; i++)
        wire_put_group_verdict(&writer, &member->verdicts[i]);
    pthread_mutex_unlock(&member->lock);
    member->reported = count;
    struct wire_group_report report = {.name = member->server->storage->name,
                                       .map_version = member->map_version,
                                       .verdicts = wire_list_of(&writer, count)};
    ssize_t length = wire_encode_group_report(member->body, member->body_size, &report);
    free(list);
    return length;
}

static ssize_t put_heartbeat(struct member *member)
{
    struct space space = space_measure(member->server);
    struct wire_heartbeat request = {
        .name = member->server->storage->name,
        .map_version = member->map_version,
        .adopted = adopted_by_all(member->server),
        .bytes_total = space.total,
        .bytes_free = space.free,
    };
    return wire_encode_heartbeat(member->body, member->body_size, &request);
}

static bool has_verdicts(struct member *member)
{
    pthread_mutex_lock(&member->lock);
    const bool has = member->verdict_count > 0;
    pthread_mutex_unlock(&member->lock);
    return has;
}

/* What was heard is done with. A member whose state did not change by it will be reported again. */
static void report_done(struct rpc_call *call)
{
    struct member *member = call->arg;
    if (call->status == 0) {
        pthread_mutex_lock(&member->lock);
        member->verdict_count -= member->reported;
        memmove(member->verdicts, member->verdicts + member->reported,
                member->verdict_count * sizeof *member->verdicts);
        pthread_mutex_unlock(&member->lock);
    }
    heartbeat_done(call);
}

void member_verdict(void *arg, const struct wire_group_verdict *verdict)
{
    struct member *member = arg;
    bool known = false;
    pthread_mutex_lock(&member->lock);
    for (uint32_t i = 0; i < member->verdict_count && !known; i++) {
        const struct wire_group_verdict *other = &member->verdicts[i];
        known = other->group == verdict->group && other->target == verdict->target &&
                other->changed == verdict->changed && other->synced == verdict->synced;
    }
    if (!known && member->verdict_count == member->verdict_room) {
        const uint32_t room = member->verdict_room ? 2 * member->verdict_room : 64;
        struct wire_group_verdict *bigger = realloc(member->verdicts, room * sizeof *bigger);
        known = !bigger; /* it will be said again */
        member->verdicts = bigger ? bigger : member->verdicts;
        member->verdict_room = bigger ? room : member->verdict_room;
    }
    if (!known)
        member->verdicts[member->verdict_count++] = *verdict;
    pthread_mutex_unlock(&member->lock);
    member_map_wanted(member);
}

/* What some shards have said, and others have not yet. */
struct partly {
    struct list_link link;
    struct wire_group_verdict verdict;
    uint32_t shard_count;
    bool shards[LIMITS_SHARDS_MAX];
};

/* Those of the same member. What was said of an earlier state of the group does not count any more; NULL:
 * that is what this is. */
static struct partly *partly_of(struct member *member, const struct wire_group_verdict *verdict)
{
    list_each(&member->partly, link, after)
    {
        struct partly *partly = list_item(link, struct partly, link);
        if (partly->verdict.group != verdict->group || partly->verdict.target != verdict->target)
            continue;
        if (partly->verdict.changed >= verdict->changed)
            return partly->verdict.changed == verdict->changed ? partly : NULL;
        list_remove(link);
        free(partly);
    }
    struct partly *partly = calloc(1, sizeof *partly);
    if (partly) {
        partly->verdict = *verdict;
        list_push_back(&member->partly, &partly->link);
    }
    return partly;
}

void member_synced(void *arg, uint32_t shard, const struct wire_group_verdict *verdict)
{
    struct member *member = arg;
    bool all = false;
    pthread_mutex_lock(&member->lock);
    struct partly *partly = partly_of(member, verdict);
    if (partly) {
        partly->shard_count += !partly->shards[shard];
        partly->shards[shard] = true;
        all = partly->shard_count == member->server->shard_count;
        if (all) {
            list_remove(&partly->link);
            free(partly);
        }
    }
    pthread_mutex_unlock(&member->lock);
    if (all)
        member_verdict(member, verdict);
}

static void beat(void *arg)
{
    struct member *member = arg;
    if (member->busy || daemon_stopping())
        return;
    if (atomic_exchange(&member->map_wanted, false))
        member->asked = true;
    if (member->state == MEMBER_OUT)
        start_call(member, WIRE_OP_server_register, put_register(member), register_done);
    else if (has_verdicts(member))
        start_call(member, WIRE_OP_group_report, put_report(member), report_done);
    else
        start_call(member, WIRE_OP_heartbeat, put_heartbeat(member), heartbeat_done);
}

void member_map_wanted(void *arg)
{
    struct member *member = arg;
    atomic_store(&member->map_wanted, true);
    rpc_wake(member->rpc);
}

void member_sweep_wanted(void *arg)
{
    struct member *member = arg;
    rpc_wake(member->rpc);
}

/* ---- life --------------------------------------------------------------- */

int member_open(struct daemon *daemon, struct server *server, struct member **result)
{
    struct member *member = calloc(1, sizeof *member);
    if (!member)
        return err_set(-ENOMEM, "no memory");
    pthread_mutex_init(&member->lock, NULL);
    list_init(&member->partly);
    member->daemon = daemon;
    member->server = server;
    member->body_size = 1024 + server->shard_count * (size_t)(LIMITS_ADDRESS_MAX + 8) +
                        SERVED_TARGET_BYTES * (size_t)server->target_count +
                        (server->conf->replicas > 1 ? LIMITS_VERDICTS_MAX * (size_t)VERDICT_BYTES : 0);
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
    member->sweep = (struct member_sweep){.server = server, .connection = member->connection};
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
        if (member->state == MEMBER_REGISTERED)
            member_sweep_look(&member->sweep);
    }
    daemon_wake_set(NULL);
    return member->failure ? err_set(member->failure, "%s", member->failure_text) : 0;
}

void member_close(struct member *member)
{
    if (member->rpc)
        rpc_close(member->rpc);
    for (struct list_link *link; (link = list_pop(&member->partly));)
        free(list_item(link, struct partly, link));
    pthread_mutex_destroy(&member->lock);
    free(member->verdicts);
    free(member->body);
    free(member);
}
