/* SPDX-License-Identifier: Apache-2.0 */
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "list.h"
#include "log.h"
#include "rpc.h"
#include "service.h"

/* So long the requests that wait for storage servers may go on after a stop was asked for. */
enum { STOP_MS = 5000 };

#define NS_PER_MS UINT64_C(1000000)

/* The connections to one storage server, one for each shard; made when first needed. */
struct shard_connections {
    uint32_t count;
    struct rpc_connection **connections;
};

struct net {
    const struct conf *conf;
    struct rpc *rpc;
    struct service *service;
    bool closing; /* no more calls to storage servers */
    bool moving;  /* those that a connection's end gives back go to: */
    struct list moved;
    struct shard_connections *servers; /* by the server's id */
    uint32_t server_count;
    uint64_t map_version; /* of the map whose addresses the connections have */
};

/* ---- requests of peers -------------------------------------------------- */

struct incoming {
    struct service_request request; /* first */
    struct net *net;
    struct rpc_request *rpc_request;
};

static void reply(struct service_request *request, int status, const void *body, size_t length)
{
    struct incoming *incoming = (struct incoming *)request;
    struct net *net = incoming->net;
    /* What the end of this server has broken off is left unanswered: the
     * client asks again, and the server that follows does it. */
    if (!(net->closing && status == -ECANCELED))
        rpc_reply(incoming->rpc_request, status, body, length, NULL, 0, NULL, NULL);
    free(incoming);
}

static void on_request(void *arg, struct rpc_request *rpc_request)
{
    struct net *net = arg;
    const struct rpc_identity *identity = rpc_peer_identity(rpc_request->peer);
    struct incoming *incoming = malloc(sizeof *incoming);
    if (!incoming) {
        rpc_reply(rpc_request, err_set(-ENOMEM, "no memory for a request"), NULL, 0, NULL, 0, NULL, NULL);
        return;
    }
    incoming->net = net;
    incoming->rpc_request = rpc_request;
    incoming->request = (struct service_request){
        .operation = rpc_request->operation,
        .id = rpc_request->id,
        .settled = rpc_request->settled,
        .body = rpc_request->body,
        .body_length = rpc_request->body_length,
        .role = identity->role,
        .uid = identity->uid,
        .gid = identity->gid,
        .group_count = identity->group_count,
        .groups = identity->groups,
        .name = identity->name,
        .reply = reply,
    };
    memcpy(incoming->request.client, identity->client, sizeof incoming->request.client);
    service_request(net->service, &incoming->request);
}

static void on_peer_up(void *arg, struct rpc_peer *peer)
{
    struct net *net = arg;
    const struct rpc_identity *identity = rpc_peer_identity(peer);
    service_peer_up(net->service, identity->client, identity->role);
}

static void on_peer_down(void *arg, struct rpc_peer *peer)
{
    struct net *net = arg;
    const struct rpc_identity *identity = rpc_peer_identity(peer);
    service_peer_down(net->service, identity->client, identity->role);
}

static struct wire_bytes on_greeting(void *arg)
{
    struct net *net = arg;
    return service_greeting(net->service);
}

/* ---- calls to storage shards -------------------------------------------- */

struct outgoing {
    struct rpc_call call; /* first */
    struct iovec payload;
    struct net *net;
    struct agent_call *agent_call;
    struct list_link link; /* in net->moved */
};

static void on_answer(struct rpc_call *call)
{
    struct outgoing *outgoing = (struct outgoing *)call;
    if (call->status == -ECANCELED && outgoing->net->moving) {
        list_push_back(&outgoing->net->moved, &outgoing->link);
        return;
    }
    outgoing->agent_call->done(outgoing->agent_call, call->status, call->reply, call->reply_length);
    free(outgoing);
}

static int outgoing_start(struct outgoing *outgoing, struct rpc_connection *connection)
{
    const struct agent_call *asked = outgoing->agent_call;
    const uint64_t now_ns = rpc_now_ns();
    if (now_ns >= asked->end_ns)
        return err_set(-ETIMEDOUT, "the storage server moved, and there is no time left to ask it again");
    outgoing->call = (struct rpc_call){
        .operation = asked->operation,
        .body = asked->body,
        .body_length = asked->body_length,
        .deadline_ms = (uint32_t)((asked->end_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS),
        .done = on_answer,
    };
    if (asked->payload) {
        outgoing->payload =
            (struct iovec){.iov_base = (void *)asked->payload, .iov_len = asked->payload_length};
        outgoing->call.payload = &outgoing->payload;
        outgoing->call.payload_count = 1;
    }
    return rpc_call_start(connection, &outgoing->call);
}

static int servers_grow(struct net *net, uint32_t count)
{
    if (count <= net->server_count)
        return 0;
    struct shard_connections *bigger = realloc(net->servers, count * sizeof *bigger);
    if (!bigger)
        return err_set(-ENOMEM, "no memory for connections to storage servers");
    memset(bigger + net->server_count, 0, (count - net->server_count) * sizeof *bigger);
    net->servers = bigger;
    net->server_count = count;
    return 0;
}

/* The place of the connection to one shard; a server's number of shards never changes. */
static int find_place(struct net *net, const struct map_server *server, uint32_t shard,
                      struct rpc_connection ***place)
{
    int error = servers_grow(net, server->id + 1);
    if (error)
        return error;
    struct shard_connections *shards = &net->servers[server->id];
    if (!shards->connections) {
        shards->connections = calloc(server->shard_count, sizeof(struct rpc_connection *));
        if (!shards->connections)
            return err_set(-ENOMEM, "no memory for connections to storage servers");
        shards->count = server->shard_count;
    }
    *place = &shards->connections[shard];
    return 0;
}

/* The server has been started anew, elsewhere: what it was asked before goes there, too, since all
 * of it may be asked twice. */
static void go_on_at(struct net *net, struct rpc_connection *connection, const char *name)
{
    for (struct list_link *link = list_pop(&net->moved); link; link = list_pop(&net->moved)) {
        struct outgoing *outgoing = list_item(link, struct outgoing, link);
        int error = connection ? outgoing_start(outgoing, connection)
                               : err_set(-ENOMEM, "no memory for a connection to storage server %s", name);
        if (!error)
            continue;
        outgoing->agent_call->done(outgoing->agent_call, error, NULL, 0);
        free(outgoing);
    }
}

static int find_connection(struct net *net, const struct map_server *server, uint32_t shard,
                           struct rpc_connection **connection)
{
    const char *address = server->addresses[shard];
    struct rpc_connection **place = NULL;
    char name[LIMITS_SERVER_NAME_MAX + LIMITS_ADDRESS_MAX + 32];
    int error = find_place(net, server, shard, &place);
    if (error)
        return error;
    if (*place && strcmp(rpc_connection_address(*place), address) != 0) {
        net->moving = true;
        rpc_disconnect(*place);
        net->moving = false;
        *place = NULL;
    }
    if (!*place) {
        error = rpc_connect(net->rpc, address, place);
        go_on_at(net, *place, server->name);
        if (error)
            return error;
        snprintf(name, sizeof name, "storage server %s at %s", server->name, address);
        rpc_connection_name(*place, name);
        /* Only servers that are up are asked: one that nobody listens for is being started again. */
        rpc_connection_expect(*place, true);
    }
    *connection = *place;
    return 0;
}

/* What waits for a server that has come back elsewhere goes there now, and not with the next call. */
static void follow_map(struct net *net)
{
    const struct map *map = service_map(net->service);
    struct rpc_connection *connection;
    if (map->version == net->map_version)
        return;
    net->map_version = map->version;
    for (uint32_t i = 0; i < map->server_count; i++) {
        const struct map_server *server = &map->servers[i];
        const uint32_t count = server->id < net->server_count ? net->servers[server->id].count : 0;
        for (uint32_t k = 0; k < count; k++) {
            if (net->servers[server->id].connections[k] &&
                find_connection(net, server, k, &connection) < 0)
                log_warn("%s", err_text());
        }
    }
}

static int call_shard(void *arg, struct agent_call *agent_call)
{
    struct net *net = arg;
    struct rpc_connection *connection;
    if (net->closing)
        return err_set(-ECANCELED, "this server is ending");
    int error = find_connection(net, agent_call->server, agent_call->shard, &connection);
    if (error)
        return error;
    struct outgoing *outgoing = calloc(1, sizeof *outgoing);
    if (!outgoing)
        return err_set(-ENOMEM, "no memory for a request to a storage server");
    outgoing->net = net;
    outgoing->agent_call = agent_call;
    list_link_init(&outgoing->link);
    error = outgoing_start(outgoing, connection);
    if (error)
        free(outgoing);
    return error;
}

static void disconnect_all(struct net *net)
{
    for (uint32_t i = 0; i < net->server_count; i++) {
        for (uint32_t k = 0; k < net->servers[i].count; k++) {
            if (net->servers[i].connections[k])
                rpc_disconnect(net->servers[i].connections[k]);
        }
        free(net->servers[i].connections);
    }
    free(net->servers);
    net->servers = NULL;
    net->server_count = 0;
}

/* ---- the whole ---------------------------------------------------------- */

static const struct rpc_service handlers = {
    .request = on_request,
    .peer_up = on_peer_up,
    .peer_down = on_peer_down,
    .greeting = on_greeting,
};

static uint64_t monotonic_ns(void *arg)
{
    (void)arg;
    return rpc_now_ns();
}

static int64_t realtime_ns(void *arg)
{
    (void)arg;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static size_t counters_of_rpc(void *arg, const struct counter **counters)
{
    struct net *net = arg;
    return rpc_counters(net->rpc, counters);
}

static void tick(void *arg)
{
    struct net *net = arg;
    service_tick(net->service);
}

static int open_service(struct net *net, struct store *store, const char *address)
{
    const struct service_config config = {
        .conf = net->conf,
        .store = store,
        .address = address,
        .net = {.call = call_shard, .arg = net},
        .monotonic_ns = monotonic_ns,
        .realtime_ns = realtime_ns,
        .more_counters = counters_of_rpc,
        .more_counters_arg = net,
    };
    int error = service_open(&config, &net->service);
    return error ? error : rpc_every(net->rpc, service_tick_ms(net->service), tick, net);
}

int net_open(const struct conf *conf, const char *who, struct store *store, struct net **out,
             char bound[LIMITS_ADDRESS_MAX + 1])
{
    struct net *net = calloc(1, sizeof *net);
    if (!net)
        return err_set(-ENOMEM, "no memory for the network");
    net->conf = conf;
    list_init(&net->moved);
    const struct rpc_config config = {
        .conf = conf, .name = who, .role = WIRE_ROLE_METADATA, .service = &handlers, .arg = net};
    int error = rpc_open(&config, &net->rpc);
    /* Nothing is accepted before the first net_turn(), when the service is there. */
    if (!error)
        error = rpc_listen(net->rpc, conf->metadata_listen, bound);
    if (!error)
        error = open_service(net, store, bound);
    if (error) {
        net_close(net);
        return error;
    }
    *out = net;
    return 0;
}

/* Lets the requests that wait for storage servers end, if they do so soon. */
static void drain(struct net *net)
{
    uint64_t end_ns = rpc_now_ns() + STOP_MS * UINT64_C(1000000), now_ns;
    while (service_busy(net->service) && (now_ns = rpc_now_ns()) < end_ns) {
        rpc_wait(net->rpc, (int)((end_ns - now_ns) / 1000000) + 1);
        while (service_turn(net->service))
            ;
    }
}

void net_close(struct net *net)
{
    if (!net)
        return;
    if (net->service)
        drain(net);
    net->closing = true;
    if (net->service)
        service_dismiss(net->service);
    disconnect_all(net);
    if (net->service) {
        while (service_turn(net->service))
            ;
        rpc_progress(net->rpc);
        while (service_turn(net->service))
            ;
    }
    if (net->rpc)
        rpc_close(net->rpc);
    if (net->service)
        service_close(net->service);
    free(net);
}

struct rpc *net_rpc(struct net *net)
{
    return net->rpc;
}

int net_turn(struct net *net)
{
    rpc_wait(net->rpc, service_timeout_ms(net->service));
    while (service_turn(net->service))
        rpc_progress(net->rpc);
    follow_map(net);
    return service_dead(net->service)
               ? err_set(-EIO, "the metadata store cannot go on; start the server again")
               : 0;
}
