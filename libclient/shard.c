/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

/* A request is made again at most so often, each time because of a newer map. Its deadline ends it sooner,
 * but for servers that are started again and again. */
#define ATTEMPTS_MAX 20u

/* ---- connections ------------------------------------------------------------ */

static struct list *bucket_of(weft_session_t *session, const char *address)
{
    uint32_t hash = 2166136261u;
    for (const char *at = address; *at; at++)
        hash = (hash ^ (uint8_t)*at) * 16777619u;
    return &session->links[hash % SESSION_LINK_BUCKETS];
}

static struct shard_link *link_find(weft_session_t *session, const char *address)
{
    list_each(bucket_of(session, address), at, after)
    {
        struct shard_link *link = list_item(at, struct shard_link, link);
        if (strcmp(link->address, address) == 0)
            return link;
    }
    return NULL;
}

static void link_fail_waiting(struct shard_link *link, int status);

/* Calls under way and those that wait end with -ECANCELED, for judge() to decide. */
static void link_free(struct shard_link *link)
{
    list_remove(&link->link);
    link->dropped = true;
    rpc_disconnect(link->connection);
    link_fail_waiting(link, err_set(-ECANCELED, "the connection to %s was closed", link->address));
    free(link);
}

int shard_connect(weft_session_t *session, const struct map *map, uint32_t server, uint32_t shard,
                  struct shard_link **out)
{
    const struct map_server *of = &map->servers[server];
    const char *address = of->addresses[shard];
    struct shard_link *link = link_find(session, address);
    if (!link) {
        char name[LIMITS_SERVER_NAME_MAX + LIMITS_ADDRESS_MAX + 64], which[32] = "";
        link = calloc(1, sizeof *link);
        if (!link)
            return err_set(-ENOMEM, "out of memory for a connection to %s", of->name);
        int result = rpc_connect(session->rpc, address, &link->connection);
        if (result < 0) {
            free(link);
            return result;
        }
        if (of->shard_count > 1)
            snprintf(which, sizeof which, ", shard %" PRIu32 ",", shard);
        snprintf(name, sizeof name, "storage server %s%s at %s", of->name, which, address);
        rpc_connection_name(link->connection, name);
        link->wanted = true;
        list_init(&link->waiting);
        snprintf(link->address, sizeof link->address, "%s", address);
        list_push_back(bucket_of(session, address), &link->link);
    }
    rpc_connection_expect(link->connection, of->state == MAP_STATE_UP);
    if (map->version > link->map_version)
        link->map_version = map->version;
    link->wanted = true; /* whatever a sweep that is under way has found */
    *out = link;
    return 0;
}

void shard_links_sweep(weft_session_t *session)
{
    const struct map *map = session->map;
    for (unsigned i = 0; i < SESSION_LINK_BUCKETS; i++) {
        list_each(&session->links[i], at, after) list_item(at, struct shard_link, link)->wanted = false;
    }
    for (uint32_t server = 0; server < map->server_count; server++) {
        for (uint32_t shard = 0; shard < map->servers[server].shard_count; shard++) {
            struct shard_link *link = link_find(session, map->servers[server].addresses[shard]);
            /* Of one that is down others have what it has, but for what this map still leads there. */
            if (link && (map->servers[server].state == MAP_STATE_UP || !map_has_replicas(map) ||
                         link->map_version == map->version))
                link->wanted = true;
        }
    }
    for (unsigned i = 0; i < SESSION_LINK_BUCKETS; i++) {
        list_each(&session->links[i], at, after)
        {
            struct shard_link *link = list_item(at, struct shard_link, link);
            if (!link->wanted)
                link_free(link);
        }
    }
}

void shard_links_free(weft_session_t *session)
{
    for (unsigned i = 0; i < SESSION_LINK_BUCKETS; i++) {
        struct list_link *at;
        while ((at = list_first(&session->links[i])))
            link_free(list_item(at, struct shard_link, link));
    }
}

/* ---- calls ------------------------------------------------------------------ */

static bool newer_map_is_here(const struct shard_call *call)
{
    return call->session->map->version > call->map_version;
}

/* The server refused the call because it knows a newer map, and sent it along if it is not too long. */
static void adopt_map_of_refusal(struct shard_call *call)
{
    struct wire_error refusal;
    if (call->rpc.reply_length == 0 ||
        wire_decode_error(call->rpc.reply, call->rpc.reply_length, &refusal) < 0 || refusal.map.length == 0)
        return;
    if (session_map_adopt(call->session, refusal.map.data, refusal.map.length) < 0)
        log_warn("%s", err_text());
    err_set(-ESTALE, "%s", refusal.text);
}

/*
 * Whether a call that ended with `status` may be made again with another map: when the
 * server refused it for the map's sake (-EAGAIN: the map changed in the middle of it), when
 * nobody listens where the map says, or when the server moved while the call was under way.
 * In none of these did the server that counts do it.
 */
static int judge(struct shard_call *call, int status)
{
    bool may_help =
        status == -ESTALE || status == -ECONNREFUSED || (status == -ECANCELED && !call->session->closing);
    if (status != -EAGAIN && (!may_help || !newer_map_is_here(call)))
        return status;
    if (call->attempts + 1 >= ATTEMPTS_MAX)
        return status;
    session_count(call->session, CLIENT_COUNT_retries, 1);
    return SHARD_REDO;
}

/* Keeps the ended call until the metadata server told of its map. False when it can't be asked. */
static bool wait_for_map(struct shard_call *call, int status)
{
    weft_session_t *session = call->session;
    if (session->closing)
        return false;
    call->text = strdup(err_text());
    session_map_ask(session);
    if (!session->map_asked) {
        err_set(status, "%s", call->text ? call->text : err_name(status));
        free(call->text);
        call->text = NULL;
        return false;
    }
    list_push_back(&session->map_waiters, &call->link);
    return true;
}

/* ---- the line in front of a shard --------------------------------------------- */

static bool link_has_room(const struct shard_link *link, const struct shard_call *call)
{
    const struct conf *conf = call->session->conf;
    return call->bytes == 0 || link->calls_under_way == 0 ||
           (link->calls_under_way < conf->credit_requests &&
            link->bytes_under_way + call->bytes <= conf->credit_bytes);
}

static void call_done(struct rpc_call *rpc);

static int call_send(struct shard_call *call)
{
    const struct conf *conf = call->session->conf;
    struct shard_link *link = call->shard;
    call->started_ns = rpc_now_ns();
    if (call->begun_ns == 0)
        call->begun_ns = call->started_ns;
    uint64_t spent_ms = (call->started_ns - call->begun_ns) / 1000000u;
    if (spent_ms >= conf->deadline_ms)
        return err_set(-ETIMEDOUT, "no end within %u ms, the last try at the storage server at %s",
                       conf->deadline_ms, link->address);
    call->rpc.deadline_ms = conf->deadline_ms - (uint32_t)spent_ms;
    call->rpc.done = call_done;
    call->rpc.arg = call;
    int result = rpc_call_start(link->connection, &call->rpc);
    if (result < 0)
        return result;
    link->calls_under_way++;
    link->bytes_under_way += call->bytes;
    list_push_back(&call->session->shard_calls, &call->link);
    session_count(call->session, CLIENT_COUNT_storage_requests, 1);
    return 0;
}

/* Sends what waits, as far as there is room. */
static void link_pump(struct shard_link *link)
{
    struct list_link *first;
    while (!link->dropped && (first = list_first(&link->waiting))) {
        struct shard_call *call = list_item(first, struct shard_call, link);
        if (!link_has_room(link, call))
            return;
        list_remove(first);
        int result = call_send(call);
        if (result < 0)
            call->done(call, result);
    }
}

static void link_fail_waiting(struct shard_link *link, int status)
{
    char text[LIMITS_ERROR_TEXT_MAX + 1];
    struct list_link *at;
    struct list waiting;
    snprintf(text, sizeof text, "%s", err_text());
    /* Only those that wait now: their ends may make new ones. */
    list_init(&waiting);
    while ((at = list_pop(&link->waiting)))
        list_push_back(&waiting, at);
    while ((at = list_pop(&waiting))) {
        struct shard_call *call = list_item(at, struct shard_call, link);
        err_set(status, "%s", text);
        call->done(call, judge(call, status));
    }
}

/* A call has left the shard. True when nothing at all came from there for a whole deadline: then
 * those that wait are not made to wait for one deadline after the other. */
static bool link_is_dead(struct shard_link *link, const struct shard_call *call, int status)
{
    uint64_t now = rpc_now_ns();
    link->calls_under_way--;
    link->bytes_under_way -= call->bytes;
    if (status != -ETIMEDOUT && status != -ECONNREFUSED) {
        link->answered_ns = now;
        return false;
    }
    return now - link->answered_ns >= call->session->conf->deadline_ms * UINT64_C(1000000);
}

static void call_ended(struct shard_call *call, int status)
{
    if (status == -ESTALE)
        adopt_map_of_refusal(call);
    if ((status == -ESTALE || status == -ECONNREFUSED) && !newer_map_is_here(call) &&
        wait_for_map(call, status))
        return;
    call->done(call, judge(call, status));
}

static void call_done(struct rpc_call *rpc)
{
    struct shard_call *call = rpc->arg;
    struct shard_link *link = call->shard;
    char text[LIMITS_ERROR_TEXT_MAX + 1] = "";
    int status = rpc->status;

    list_remove(&call->link);
    bool dead = link_is_dead(link, call, status) && !list_empty(&link->waiting);
    if (dead)
        snprintf(text, sizeof text, "%s", err_text());
    call_ended(call, status);
    if (dead)
        link_fail_waiting(link, err_set(status, "%s", text));
    link_pump(link);
}

void shard_map_answered(weft_session_t *session)
{
    struct list_link *at;
    while ((at = list_pop(&session->map_waiters))) {
        struct shard_call *call = list_item(at, struct shard_call, link);
        int status = call->rpc.status;
        err_set(status, "%s (and the metadata server %s)", call->text ? call->text : err_name(status),
                session->map_call.status < 0 ? "does not answer" : "knows of no other place");
        free(call->text);
        call->text = NULL;
        call->done(call, judge(call, status));
    }
}

int shard_call_start(weft_session_t *session, struct shard_call *call, const struct planner_table *table,
                     uint32_t shard)
{
    const struct planner_shard *place = &table->shards[shard];
    int result = shard_connect(session, table->map, place->server, place->shard, &call->shard);
    if (result < 0)
        return result;
    call->session = session;
    call->map_version = table->map->version;
    call->bytes = call->rpc.reply_bytes_max;
    for (uint32_t i = 0; i < call->rpc.payload_count; i++)
        call->bytes += call->rpc.payload[i].iov_len;
    if (link_has_room(call->shard, call) && (call->bytes == 0 || list_empty(&call->shard->waiting)))
        return call_send(call);
    list_push_back(&call->shard->waiting, &call->link);
    return 0;
}

/* A storage server that came back elsewhere is known to the metadata server. A call that
 * takes a quarter of its deadline is reason enough to ask; when the map says that the shard moved,
 * shard_links_sweep() ends the call, and judge() lets it begin again. A server
 * that is only slow keeps the call: to send a write twice could let the first
 * one overwrite what was written after it. */
void shard_calls_look(void *arg)
{
    weft_session_t *session = arg;
    struct list_link *at = list_first(&session->shard_calls);
    if (!at)
        return;
    const struct shard_call *oldest = list_item(at, struct shard_call, link);
    uint64_t now = rpc_now_ns(), long_ns = session->conf->deadline_ms * UINT64_C(250000);
    /* Where others have the same, somebody else leads soon. */
    if (map_has_replicas(session->map) && long_ns > session->conf->heartbeat_ms * UINT64_C(1000000))
        long_ns = session->conf->heartbeat_ms * UINT64_C(1000000);
    if (now - oldest->started_ns > long_ns && now - session->looked_ns > long_ns) {
        session->looked_ns = now;
        session_map_ask(session);
    }
}
