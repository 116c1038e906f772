/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server side: connected clients, their requests, and the replies.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "err.h"
#include "log.h"
#include "rpc_internal.h"

#define PIECES_ON_STACK 34u
/* A client frees its credit when it has a reply, and its next request may be here long before the transport
 * gives that reply back. So replies do not count against the credit; but one who asks and asks, and takes
 * no reply, is not to fill the memory. */
#define REPLIES_MAX     8192u
/* A client frees the credit of a call whose deadline is over, too, though the server still works on it. So
 * twice the credit is honest; more is not. */
#define CREDIT_SLACK    2u

/* A request with what rpc needs for it. */
struct served {
    struct rpc_request request;        /* first: the service holds a pointer to it */
    struct list_link link;             /* in the rpc's requests */
    bool in_line;                      /* for a buffer */
    const struct transport *transport; /* that the message came by */
    struct transport_message message;
    bool payload_waits; /* the message's payload was neither taken nor released */
    struct rpc_sum sum; /* of the payload */
    const void *place;  /* where the service wants it */
    void *whole;        /* body and data, fetched */
    struct bufpool_waiter waiter;
    void (*received)(struct rpc_request *request, int status);
    uint8_t body[LIMITS_HEADER_MAX];
};

/* A reply under way. */
struct reply {
    struct list_link link;
    struct rpc_peer *peer;
    void (*sent)(void *arg);
    void *arg;
    void *body; /* a long one, copied */
};

static struct served *served_of(struct rpc_request *request)
{
    return (struct served *)request;
}

/* ---- peers --------------------------------------------------------------------- */

/* A client that connects anew has given up what it had before, though this side may hear of that end late,
 * or never: what is still on its way over it was sent again, and may have been replaced by what was asked
 * for since. */
static void end_earlier(struct rpc *rpc, const struct rpc_peer *peer)
{
    list_each(&rpc->peers, each, after)
    {
        const struct rpc_peer *earlier = list_item(each, struct rpc_peer, link_in_rpc);
        if (earlier != peer && earlier->link && !earlier->link->broken &&
            !memcmp(earlier->identity.client, peer->identity.client, sizeof peer->identity.client))
            rpc_link_fail(earlier->link, err_set(-ECONNRESET, "%s has connected again", peer->name));
    }
}

static int take_groups(const struct wire_list *list, uint32_t *groups)
{
    struct wire_reader reader = wire_list_reader(list);
    for (uint32_t i = 0; i < list->count; i++) {
        struct wire_group_number number;
        wire_get_group_number(&reader, &number);
        groups[i] = number.gid;
    }
    return wire_read_all(&reader, "list of groups");
}

int rpc_peer_up(struct rpc_link *link)
{
    struct rpc *rpc = link->rpc;
    const struct wire_hello *hello = &link->control.hello;
    struct rpc_peer *peer = calloc(1, sizeof *peer);
    uint32_t *groups = malloc((hello->groups.count + 1u) * sizeof *groups);
    int error =
        peer && groups ? take_groups(&hello->groups, groups) : err_set(-ENOMEM, "out of memory for a peer");
    if (error) {
        free(groups);
        free(peer);
        return error;
    }
    peer->rpc = rpc;
    peer->link = link;
    snprintf(peer->name, sizeof peer->name, "%s", hello->name);
    memcpy(peer->identity.client, hello->client.bytes, sizeof peer->identity.client);
    peer->identity.role = hello->role;
    peer->identity.uid = hello->uid;
    peer->identity.gid = hello->gid;
    peer->identity.group_count = hello->groups.count;
    peer->identity.groups = groups;
    peer->identity.name = peer->name;
    list_push_back(&rpc->peers, &peer->link_in_rpc);
    link->served = peer;
    log_debug("%s connected", link->control.peer_name);
    end_earlier(rpc, peer);
    if (rpc->config.service->peer_up)
        rpc->config.service->peer_up(rpc->config.arg, peer);
    return 0;
}

static void peer_drop(struct rpc_peer *peer)
{
    if (peer->link || peer->requests)
        return;
    list_remove(&peer->link_in_rpc);
    free((uint32_t *)peer->identity.groups);
    free(peer);
}

void rpc_peer_down(struct rpc_peer *peer)
{
    struct rpc *rpc = peer->rpc;
    peer->link = NULL;
    log_debug("%s went away", peer->name);
    if (rpc->config.service->peer_down)
        rpc->config.service->peer_down(rpc->config.arg, peer);
    peer_drop(peer);
}

const struct rpc_identity *rpc_peer_identity(const struct rpc_peer *peer)
{
    return &peer->identity;
}

void rpc_peer_arg_set(struct rpc_peer *peer, void *arg)
{
    peer->arg = arg;
}

void *rpc_peer_arg(const struct rpc_peer *peer)
{
    return peer->arg;
}

/* ---- requests --------------------------------------------------------------------- */

static void request_deliver(struct served *served)
{
    struct rpc *rpc = served->request.peer->rpc;
    rpc_count_served(rpc, served->request.operation);
    rpc_count(rpc, COUNT_BYTES_PAYLOAD_RECEIVED, served->request.payload_length);
    rpc->config.service->request(rpc->config.arg, &served->request);
}

static void request_free(struct served *served)
{
    struct rpc *rpc = served->request.peer->rpc;
    if (served->payload_waits)
        served->transport->release(&served->message);
    if (served->whole)
        bufpool_put(rpc->bodies, served->whole);
    list_remove(&served->link);
    free(served);
}

/* What was damaged ends the connection. */
static int end_damaged(struct rpc_peer *peer, int error)
{
    if (error && peer->link)
        rpc_link_fail(peer->link, error);
    return error;
}

/* The payload has come. */
static int check_payload(struct served *served, int status, const void *payload)
{
    struct rpc_peer *peer = served->request.peer;
    if (status < 0)
        return status;
    return end_damaged(
        peer, rpc_payload_check(peer->rpc, peer->name, served->sum, payload, served->message.payload_length));
}

bool rpc_request_crc(const struct rpc_request *request, uint32_t *crc)
{
    const struct served *served = (const struct served *)request;
    *crc = served->sum.crc;
    return served->sum.known;
}

int rpc_request_damaged(struct rpc_request *request)
{
    struct rpc_peer *peer = request->peer;
    return end_damaged(peer, rpc_payload_damaged(peer->rpc, peer->name, request->payload_length));
}

static void whole_received(void *arg, int status)
{
    struct served *served = arg;
    struct rpc_request *request = &served->request;
    status = check_payload(served, status, served->whole);
    if (status < 0) {
        rpc_reply(request, status, NULL, 0, NULL, 0, NULL, NULL);
        return;
    }
    request->body = served->whole;
    request->data = request->payload_length ? (uint8_t *)served->whole + request->body_length : NULL;
    request_deliver(served);
}

static void whole_fetch(struct bufpool_waiter *waiter, void *buffer)
{
    struct served *served = list_item(waiter, struct served, waiter);
    served->in_line = false;
    served->whole = buffer;
    served->payload_waits = false;
    int error = served->transport->receive(&served->message, buffer, whole_received, served);
    if (error)
        rpc_reply(&served->request, error, NULL, 0, NULL, 0, NULL, NULL);
}

/* The body is in the payload: at hand when that came at once, else fetched. */
static void request_unwrap(struct served *served)
{
    struct rpc *rpc = served->request.peer->rpc;
    if (served->message.data) {
        served->request.body = served->message.data;
        served->request.data = served->request.payload_length
                                   ? (const uint8_t *)served->message.data + served->request.body_length
                                   : NULL;
        request_deliver(served);
        return;
    }
    served->waiter.length = served->message.payload_length;
    served->waiter.ready = whole_fetch;
    served->in_line = true;
    void *buffer = bufpool_try(rpc->bodies, served->waiter.length);
    if (buffer) {
        whole_fetch(&served->waiter, buffer);
        return;
    }
    if (rpc->config.service->shortage)
        rpc->config.service->shortage(rpc->config.arg);
    int error = bufpool_get(rpc->bodies, &served->waiter);
    if (error)
        rpc_reply(&served->request, error, NULL, 0, NULL, 0, NULL, NULL);
}

bool rpc_is_short(const struct rpc *rpc)
{
    return bufpool_is_short(rpc->bodies);
}

/* A client sends a request once over one connection. A network that brings it twice must not have it served
 * twice: the second time may be long after the answer. */
static bool is_repeated(struct rpc_peer *peer, const struct wire_envelope *envelope)
{
    uint64_t *latest = &peer->ids[envelope->id % PEER_IDS];
    if ((envelope->id < peer->settled && !(envelope->flags & WIRE_REPEATABLE)) || *latest == envelope->id)
        return true;
    *latest = envelope->id;
    if (envelope->settled > peer->settled)
        peer->settled = envelope->settled;
    return false;
}

static int check_credit(const struct rpc_peer *peer)
{
    const uint32_t credit = peer->rpc->config.conf->credit_requests;
    if (peer->requests - peer->replies >= CREDIT_SLACK * credit)
        return err_set(-EPROTO, "it has more than %u requests under way", credit);
    if (peer->replies >= REPLIES_MAX)
        return err_set(-EPROTO, "it takes none of %u replies", REPLIES_MAX);
    return 0;
}

void rpc_request_came(struct rpc_peer *peer, const struct wire_envelope *envelope,
                      const struct transport_message *message)
{
    struct rpc *rpc = peer->rpc;
    bool in_payload = envelope->flags & WIRE_BODY_IN_PAYLOAD;
    if (is_repeated(peer, envelope)) {
        rpc_refuse_message(rpc, peer->name, "it came before");
        peer->link->road->transport->release(message);
        return;
    }
    struct served *served = malloc(sizeof *served);
    int error = served ? check_credit(peer) : err_set(-ENOMEM, "out of memory for a request");
    if (error) {
        free(served);
        peer->link->road->transport->release(message);
        rpc_link_fail(peer->link, error);
        return;
    }
    peer->requests++;
    list_push_back(&rpc->requests, &served->link);
    served->in_line = false;
    served->request = (struct rpc_request){
        .peer = peer,
        .operation = envelope->operation,
        .id = envelope->id,
        .settled = envelope->settled,
        .body = served->body,
        .body_length = envelope->body_length,
        .payload_length = message->payload_length - (in_payload ? envelope->body_length : 0),
    };
    served->transport = peer->link->road->transport;
    served->message = *message;
    served->payload_waits = message->payload_length > 0;
    served->sum = rpc_sum_of(envelope);
    served->whole = NULL;
    if (message->data && check_payload(served, 0, message->data)) {
        rpc_reply(&served->request, -EBADMSG, NULL, 0, NULL, 0, NULL, NULL);
        return;
    }
    if (in_payload) {
        request_unwrap(served);
        return;
    }
    memcpy(served->body, (const uint8_t *)message->header + message->header_length - envelope->body_length,
           envelope->body_length);
    served->request.data = message->data;
    request_deliver(served);
}

static void payload_received(void *arg, int status)
{
    struct served *served = arg;
    if (!served->request.checks_payload)
        status = check_payload(served, status, served->place);
    served->received(&served->request, status);
}

int rpc_request_receive(struct rpc_request *request, void *buffer,
                        void (*done)(struct rpc_request *request, int status))
{
    struct served *served = served_of(request);
    if (!served->payload_waits || served->whole || request->body != served->body)
        return err_set(-EINVAL, "the request's payload is here already");
    served->received = done;
    served->place = buffer;
    served->payload_waits = false;
    request->data = NULL;
    return served->transport->receive(&served->message, buffer, payload_received, served);
}

void rpc_requests_drop(struct rpc *rpc)
{
    struct list_link *first;
    list_each(&rpc->requests, each, after)
    {
        struct served *served = list_item(each, struct served, link);
        if (served->in_line)
            bufpool_leave(rpc->bodies, &served->waiter);
    }
    while ((first = list_first(&rpc->requests))) {
        struct served *served = list_item(first, struct served, link);
        struct rpc_peer *peer = served->request.peer;
        served->payload_waits = false; /* it ended with the transport's worker */
        request_free(served);
        peer->requests--;
        peer_drop(peer);
    }
}

/* ---- replies ---------------------------------------------------------------------------- */

static void reply_end(struct reply *reply)
{
    struct rpc_peer *peer = reply->peer;
    if (reply->sent)
        reply->sent(reply->arg);
    free(reply->body);
    free(reply);
    peer->replies--;
    peer->requests--;
    peer_drop(peer);
}

static void reply_sent(void *arg, int status)
{
    struct reply *reply = arg;
    if (status < 0 && reply->peer->link)
        rpc_link_fail(reply->peer->link, status);
    reply_end(reply);
}

static int reply_send(struct reply *reply, struct wire_envelope *envelope, const void *body,
                      size_t body_length, const struct iovec *payload, size_t payload_count)
{
    struct rpc_peer *peer = reply->peer;
    struct rpc *rpc = peer->rpc;
    uint8_t header[LIMITS_HEADER_MAX];
    struct iovec pieces[PIECES_ON_STACK], *iov = pieces;
    size_t iov_count;
    if (body_length > LIMITS_BODY_MAX)
        return err_set(-EMSGSIZE, "a reply of %zu bytes is too long", body_length);
    if (body_length > LIMITS_BODY_INLINE_MAX) {
        reply->body = malloc(body_length);
        if (!reply->body)
            return err_set(-ENOMEM, "out of memory for a reply");
        memcpy(reply->body, body, body_length);
        body = reply->body;
    }
    if (payload_count >= PIECES_ON_STACK) {
        iov = malloc((payload_count + 1) * sizeof *iov);
        if (!iov)
            return err_set(-ENOMEM, "out of memory for a reply");
    }
    size_t length =
        rpc_header_make(rpc, envelope, body, body_length, header, iov, &iov_count, payload, payload_count);
    int error = peer->link->road->transport->send(peer->link->peer, header, length, iov, iov_count,
                                                  reply_sent, reply);
    if (iov != pieces)
        free(iov);
    if (error)
        return error;
    rpc_count(rpc, COUNT_REPLIES_SENT, 1);
    rpc_count(rpc, COUNT_BYTES_WIRE_SENT, length + envelope->payload_length);
    rpc_count(rpc, COUNT_BYTES_PAYLOAD_SENT, envelope->payload_length - (reply->body ? body_length : 0));
    return 0;
}

void rpc_reply(struct rpc_request *request, int status, const void *body, size_t body_length,
               const struct iovec *payload, size_t payload_count, void (*sent)(void *arg), void *arg)
{
    struct rpc_peer *peer = request->peer;
    struct rpc *rpc = peer->rpc;
    struct wire_envelope envelope = {
        .operation = request->operation,
        .kind = WIRE_REPLY,
        .token = peer->link ? peer->link->control.token_out : 0,
        .id = request->id,
        .status = (uint32_t)-status,
        .flags = request->reply_crc_known ? WIRE_PAYLOAD_CRC : 0,
        .payload_crc = request->reply_crc,
    };
    uint8_t error_body[LIMITS_ERROR_TEXT_MAX + 64];
    if (status < 0 && !body) {
        char text[LIMITS_ERROR_TEXT_MAX + 1];
        snprintf(text, sizeof text, "%s", err_text());
        struct wire_error error = {.text = text};
        ssize_t length = wire_encode_error(error_body, sizeof error_body, &error);
        body = error_body;
        body_length = length > 0 ? (size_t)length : 0;
    }
    struct reply *reply = malloc(sizeof *reply);
    if (!reply) {
        /* Nothing can be said without memory: end the connection, so that the
         * client asks again. */
        log_error("out of memory for a reply to %s", peer->name);
        if (peer->link)
            rpc_link_fail(peer->link, -ENOMEM);
        request_free(served_of(request));
        if (sent)
            sent(arg);
        peer->requests--;
        return;
    }
    *reply = (struct reply){.peer = peer, .sent = sent, .arg = arg};
    peer->replies++;
    list_link_init(&reply->link);
    int error = -ECONNRESET;
    if (peer->link && !peer->link->broken) {
        error = reply_send(reply, &envelope, body, body_length, payload, payload_count);
        if (error)
            rpc_link_fail(peer->link, error);
    }
    request_free(served_of(request));
    if (error)
        list_push_back(&rpc->sent_due, &reply->link);
}

unsigned rpc_sent_run(struct rpc *rpc)
{
    unsigned count = 0;
    struct list_link *link;
    while ((link = list_pop(&rpc->sent_due))) {
        reply_end(list_item(link, struct reply, link));
        count++;
    }
    return count;
}
