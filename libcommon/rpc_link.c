/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links. A link's token says in which slot it is (24 bits below) and which of
 * the slot's many links (40 random bits above), so that a message for a link
 * that is gone, or a guessed one, is recognised.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "err.h"
#include "log.h"
#include "rpc_internal.h"

#define SLOT_BITS 24u
#define SLOT_MASK ((UINT64_C(1) << SLOT_BITS) - 1)

static struct rpc_link *link_new(struct rpc *rpc)
{
    uint32_t slot = 0;
    while (slot < rpc->link_count && rpc->links[slot])
        slot++;
    if (slot == rpc->link_count) {
        struct rpc_link **grown = realloc(rpc->links, (slot + 1) * sizeof *grown);
        if (!grown || slot > SLOT_MASK) {
            err_set(-ENOMEM, "out of memory for a connection");
            return NULL;
        }
        rpc->links = grown;
        rpc->links[rpc->link_count++] = NULL;
    }
    struct rpc_link *link = calloc(1, sizeof *link);
    if (!link) {
        err_set(-ENOMEM, "out of memory for a connection");
        return NULL;
    }
    link->rpc = rpc;
    link->slot = slot;
    link->control.fd = -1;
    list_link_init(&link->broken_link);
    rpc->links[slot] = link;
    return link;
}

static void link_free(struct rpc_link *link)
{
    struct rpc *rpc = link->rpc;
    list_remove(&link->broken_link);
    if (link->control.fd >= 0)
        epoll_ctl(rpc->epoll_fd, EPOLL_CTL_DEL, link->control.fd, NULL);
    if (link->control.is_server)
        rpc->served_count--;
    control_close(&link->control);
    rpc->links[link->slot] = NULL;
    free(link->broken_text);
    free(link);
}

static uint64_t token_new(const struct rpc_link *link)
{
    uint64_t random;
    randombytes_buf(&random, sizeof random);
    return (random & ~SLOT_MASK) | link->slot;
}

struct rpc_link *rpc_link_by_token(struct rpc *rpc, uint64_t token)
{
    uint64_t slot = token & SLOT_MASK;
    struct rpc_link *link = slot < rpc->link_count ? rpc->links[slot] : NULL;
    if (!link || link->broken || link->control.state != CONTROL_OPEN || link->control.token_in != token)
        return NULL;
    return link;
}

/* Asks epoll for what the control socket needs now. */
static int link_poll(struct rpc_link *link, int operation)
{
    uint32_t events = EPOLLIN | (control_wants_write(&link->control) ? EPOLLOUT : 0);
    if (operation == EPOLL_CTL_MOD && events == link->events)
        return 0;
    link->events = events;
    return rpc_poll_set(link->rpc, operation, link->control.fd, events, EVENT_LINK, link->slot);
}

struct rpc_link *rpc_link_dial(struct rpc *rpc, struct rpc_connection *connection, int *error)
{
    struct rpc_link *link = link_new(rpc);
    if (!link) {
        *error = -ENOMEM;
        return NULL;
    }
    uint64_t deadline = rpc_now_ns() + HANDSHAKE_MS * UINT64_C(1000000);
    link->connection = connection;
    *error = control_dial(&link->control, connection->address, rpc->config.conf->key, &rpc->self,
                          token_new(link), deadline);
    if (!*error)
        *error = link_poll(link, EPOLL_CTL_ADD);
    if (*error) {
        link_free(link);
        return NULL;
    }
    rpc_due(rpc, deadline);
    return link;
}

static void accept_one(struct rpc *rpc, int fd)
{
    const struct conf *conf = rpc->config.conf;
    if (rpc->served_count >= conf->connections_max) {
        rpc_count(rpc, COUNT_CONNECTIONS_REFUSED, 1);
        log_warn("refused a connection: %u are open already (limits.connections_max)", rpc->served_count);
        close(fd);
        return;
    }
    struct rpc_link *link = link_new(rpc);
    if (!link) {
        close(fd);
        return;
    }
    uint64_t deadline = rpc_now_ns() + HANDSHAKE_MS * UINT64_C(1000000);
    control_accept(&link->control, fd, conf->key, &rpc->self, token_new(link), deadline);
    rpc->served_count++;
    link->control.credit_requests = conf->credit_requests;
    link->control.credit_bytes = conf->credit_bytes;
    link->control.greeting = rpc->config.service->greeting;
    link->control.greeting_arg = rpc->config.arg;
    if (link_poll(link, EPOLL_CTL_ADD))
        link_free(link);
    else
        rpc_due(rpc, deadline);
}

void rpc_link_accept(struct rpc *rpc)
{
    for (int turn = 0; turn < 64; turn++) {
        int fd = accept4(rpc->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                log_warn("accepting a connection: %s", err_name(-errno));
            return;
        }
        accept_one(rpc, fd);
    }
}

/* The handshake is over: the transport may be used. */
static int link_opened(struct rpc_link *link)
{
    struct control *control = &link->control;
    const struct wire_bytes *address =
        control->is_server ? &control->proof.address : &control->welcome.address;
    struct rpc *rpc = link->rpc;
    struct rpc_road *road = control->transport.own;
    int error = road->transport->connect(road->worker, address->data, address->length, control->same_host,
                                         link, &link->peer);
    if (error)
        return error;
    link->road = road;
    rpc_road_take(road);
    rpc_count(rpc, COUNT_CONNECTIONS_MADE, 1);
    if (control->is_server)
        return rpc_peer_up(link);
    if (rpc->config.greeting && control->welcome.greeting.length)
        rpc->config.greeting(rpc->config.arg, link->connection, control->welcome.greeting.data,
                             control->welcome.greeting.length);
    rpc_connection_open(link->connection);
    return 0;
}

void rpc_link_progress(struct rpc_link *link)
{
    if (link->broken)
        return;
    bool was_open = link->control.state == CONTROL_OPEN;
    int error = control_progress(&link->control);
    if (!error && !was_open && link->control.state == CONTROL_OPEN)
        error = link_opened(link);
    if (!error)
        error = link_poll(link, EPOLL_CTL_MOD);
    if (error)
        rpc_link_fail(link, error);
}

void rpc_link_fail(struct rpc_link *link, int error)
{
    if (link->broken)
        return;
    link->broken = error;
    link->broken_text = strdup(err_text());
    list_push_back(&link->rpc->broken, &link->broken_link);
}

void rpc_link_break(struct rpc_link *link, int error)
{
    struct rpc *rpc = link->rpc;
    struct rpc_connection *connection = link->connection;
    struct rpc_peer *served = link->served;
    struct transport_peer *peer = link->peer;
    struct rpc_road *road = link->road;
    bool refused = link->control.is_server && !served;

    if (link->broken_text)
        err_set(error, "%s", link->broken_text);
    rpc_count(rpc, refused ? COUNT_CONNECTIONS_REFUSED : COUNT_CONNECTIONS_LOST, 1);
    if (rpc->closing)
        log_debug("closed the connection with %s", link->control.peer_name);
    else if (refused)
        log_warn("refused a connection from %s: %s", link->control.peer_name, err_text());
    else if (served && error != -ECONNRESET)
        log_warn("dropped %s: %s", link->control.peer_name, err_text());
    if (peer && link->control.same_host)
        rpc_suspect(road);
    link_free(link);
    if (peer) {
        road->links--;
        road->transport->disconnect(peer);
    }
    if (served)
        rpc_peer_down(served);
    if (connection)
        rpc_connection_down(connection, error);
}

unsigned rpc_links_break_due(struct rpc *rpc)
{
    unsigned count = 0;
    struct list_link *first;
    while ((first = list_first(&rpc->broken))) {
        struct rpc_link *link = list_item(first, struct rpc_link, broken_link);
        rpc_link_break(link, link->broken);
        count++;
    }
    return count;
}
