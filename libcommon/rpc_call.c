/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client side: a connection is made when its first call starts, made anew
 * when it breaks, and given up by each call on its own, at its deadline.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "err.h"
#include "rpc_internal.h"

#define MS              UINT64_C(1000000)
#define BACKOFF_MS_MIN  10u
#define BACKOFF_MS_MAX  500u
/* Where nobody ever answered, and nobody said that a server is there, nobody is: no use in waiting
 * the whole deadline. A server that was there before may be restarting, and is waited for. */
#define ABSENT_NS       (2000 * MS)
#define PIECES_ON_STACK 34u

static void connection_pump(struct rpc_connection *connection);

/* ---- transfers ------------------------------------------------------------------ */

static void transfer_drop(struct rpc_transfer *transfer)
{
    if (transfer->sending || transfer->receiving)
        return;
    free(transfer->whole);
    free(transfer);
}

/* Nobody waits for it any more; it goes when the transport gives it back. */
static void transfer_forget(struct rpc_call *call)
{
    struct rpc_transfer *transfer = call->transfer;
    if (!transfer)
        return;
    transfer->call = NULL;
    call->transfer = NULL;
    transfer_drop(transfer);
}

/* The transport gave back its part: the call that it was for, if that can go on. A
 * failed one ends the connection, and the call is made again over the next. */
static struct rpc_call *transfer_back(struct rpc_transfer *transfer, int status)
{
    struct rpc_call *call = transfer->call;
    if (!call) {
        transfer_drop(transfer);
        return NULL;
    }
    if (status == 0)
        return call;
    if (call->connection->link)
        rpc_link_fail(call->connection->link, status);
    return NULL;
}

static void call_leave(struct rpc_call *call)
{
    struct rpc_connection *connection = call->connection;
    if (call->state != CALL_QUEUED) {
        connection->requests_under_way--;
        connection->bytes_under_way -= call->reply_bytes_max;
        for (uint32_t i = 0; i < call->payload_count; i++)
            connection->bytes_under_way -= call->payload[i].iov_len;
    }
    list_remove(&call->link);
}

/* The callback of a call that has left; it may free the call, and start the next one that leads. */
static void call_tell(struct rpc_connection *connection, struct rpc_call *call)
{
    const bool leads = call->leads;
    call->done(call);
    if (!leads)
        return;
    connection->leading--;
    connection_pump(connection);
}

/* The end of a call that got no reply. */
static void call_fail(struct rpc_call *call, int error)
{
    struct rpc_connection *connection = call->connection;
    call_leave(call);
    transfer_forget(call);
    call->status = error;
    call->reply = NULL;
    call->reply_length = 0;
    call->reply_payload_length = 0;
    call_tell(connection, call);
}

/* The end of a call whose reply is here, once its request is sent. */
static void call_finish(struct rpc_call *call)
{
    struct rpc_connection *connection = call->connection;
    struct rpc_transfer *transfer = call->transfer;
    struct wire_error error;
    if (transfer->sending || transfer->receiving)
        return;
    const void *body = transfer->whole ? transfer->whole : transfer->body;
    call->reply = body;
    call->reply_length = transfer->body_length;
    if (call->status < 0) {
        if (wire_decode_error(body, transfer->body_length, &error) == 0 && error.text[0])
            err_set(call->status, "%s", error.text);
        else
            err_set(call->status, "%s: %s", connection->name, err_name(call->status));
    }
    call_leave(call);
    call->transfer = NULL;
    transfer->call = NULL;
    connection_pump(connection);
    call_tell(connection, call); /* the transfer holds the body until after */
    transfer_drop(transfer);
}

/* ---- sending ----------------------------------------------------------------------- */

static void request_sent(void *arg, int status)
{
    struct rpc_transfer *transfer = arg;
    transfer->sending = false;
    struct rpc_call *call = transfer_back(transfer, status);
    if (call && call->state == CALL_REPLIED)
        call_finish(call);
}

/* No call below it will be repeated whose answer the server keeps. */
static uint64_t settled_below(const struct rpc_connection *connection)
{
    list_each(&connection->calls, link, after)
    {
        const struct rpc_call *call = list_item(link, struct rpc_call, link);
        if (!call->repeatable)
            return call->id;
    }
    return connection->rpc->next_id;
}

static int request_send(struct rpc_connection *connection, struct rpc_call *call)
{
    struct rpc *rpc = connection->rpc;
    uint8_t header[LIMITS_HEADER_MAX];
    struct iovec pieces[PIECES_ON_STACK], *iov = pieces;
    size_t iov_count;
    struct wire_envelope envelope = {
        .operation = call->operation,
        .kind = WIRE_REQUEST,
        .flags = call->repeatable ? WIRE_REPEATABLE : 0,
        .token = connection->link->control.token_out,
        .id = call->id,
        .settled = settled_below(connection),
    };
    struct rpc_transfer *transfer = malloc(sizeof *transfer);
    if (call->payload_count >= PIECES_ON_STACK)
        iov = malloc((call->payload_count + 1) * sizeof *iov);
    if (!transfer || !iov) {
        free(transfer);
        return err_set(-ENOMEM, "out of memory for a request");
    }
    transfer->rpc = rpc;
    transfer->call = call;
    transfer->sending = true;
    transfer->receiving = false;
    transfer->whole = NULL;
    size_t length = rpc_header_make(rpc, &envelope, call->body, call->body_length, header, iov, &iov_count,
                                    call->payload, call->payload_count);
    int error = connection->link->road->transport->send(connection->link->peer, header, length, iov,
                                                        iov_count, request_sent, transfer);
    if (iov != pieces)
        free(iov);
    if (error) {
        free(transfer);
        return error;
    }
    call->transfer = transfer;
    rpc_count_sent(rpc, call->operation);
    rpc_count(rpc, COUNT_BYTES_WIRE_SENT, length + envelope.payload_length);
    rpc_count(rpc, COUNT_BYTES_PAYLOAD_SENT,
              envelope.payload_length - (envelope.flags & WIRE_BODY_IN_PAYLOAD ? envelope.body_length : 0));
    return 0;
}

/* Sends what waits, as far as the server's credit goes. One call may always go. */
static void connection_pump(struct rpc_connection *connection)
{
    struct rpc_link *link = connection->link;
    if (!link || link->broken || link->control.state != CONTROL_OPEN || !link->peer)
        return;
    const struct wire_welcome *welcome = &link->control.welcome;
    list_each(&connection->calls, each, after)
    {
        struct rpc_call *call = list_item(each, struct rpc_call, link);
        if (call->state != CALL_QUEUED || (connection->leading && !call->leads))
            continue;
        uint64_t bytes = call->reply_bytes_max;
        for (uint32_t i = 0; i < call->payload_count; i++)
            bytes += call->payload[i].iov_len;
        if (connection->requests_under_way && (connection->requests_under_way >= welcome->credit_requests ||
                                               connection->bytes_under_way + bytes > welcome->credit_bytes))
            return;
        int error = request_send(connection, call);
        if (error) {
            rpc_link_fail(link, error);
            return;
        }
        call->state = CALL_SENT;
        connection->requests_under_way++;
        connection->bytes_under_way += bytes;
    }
}

/* ---- replies ------------------------------------------------------------------------- */

static void reply_received(void *arg, int status)
{
    struct rpc_transfer *transfer = arg;
    transfer->receiving = false;
    if (status == 0 && transfer->call)
        status = rpc_payload_check(transfer->rpc, transfer->call->connection->name, transfer->sum,
                                   transfer->place, transfer->payload_length);
    struct rpc_call *call = transfer_back(transfer, status);
    if (!call)
        return;
    call->state = CALL_REPLIED;
    if (transfer->whole) {
        uint64_t length = transfer->payload_length - transfer->body_length;
        void *place =
            length && call->place ? call->place(call, transfer->whole, transfer->body_length, length) : NULL;
        if (place) {
            memcpy(place, (uint8_t *)transfer->whole + transfer->body_length, length);
            call->reply_payload_length = length;
        }
    }
    rpc_count(transfer->rpc, COUNT_BYTES_PAYLOAD_RECEIVED, call->reply_payload_length);
    call_finish(call);
}

static void payload_receive(struct rpc_call *call, const struct transport_message *message, bool in_payload)
{
    struct rpc_transfer *transfer = call->transfer;
    const struct transport *transport = call->connection->link->road->transport;
    void *place = NULL;
    if (in_payload) {
        place = transfer->whole = malloc(message->payload_length);
        if (!place) {
            transport->release(message);
            rpc_link_fail(call->connection->link, err_set(-ENOMEM, "out of memory for a reply"));
            return;
        }
    } else if (call->place) {
        place = call->place(call, transfer->body, transfer->body_length, message->payload_length);
    }
    if (!place) {
        transport->release(message);
        call->state = CALL_REPLIED;
        call_finish(call);
        return;
    }
    if (!in_payload)
        call->reply_payload_length = message->payload_length;
    transfer->receiving = true;
    transfer->place = place;
    call->state = CALL_RECEIVING;
    int error = transport->receive(message, place, reply_received, transfer);
    if (error) {
        transfer->receiving = false;
        rpc_link_fail(call->connection->link, error);
    }
}

void rpc_reply_came(struct rpc_connection *connection, const struct wire_envelope *envelope,
                    const struct transport_message *message)
{
    struct rpc *rpc = connection->rpc;
    struct rpc_call *call = NULL;
    rpc_count(rpc, COUNT_REPLIES_RECEIVED, 1);
    list_each(&connection->calls, each, after)
    {
        struct rpc_call *candidate = list_item(each, struct rpc_call, link);
        if (candidate->id == envelope->id && candidate->state == CALL_SENT) {
            call = candidate;
            break;
        }
    }
    if (!call) { /* its deadline passed, or it is a repeated answer */
        connection->link->road->transport->release(message);
        return;
    }
    bool in_payload = envelope->flags & WIRE_BODY_IN_PAYLOAD;
    struct rpc_transfer *transfer = call->transfer;
    call->status = envelope->status ? err_from_wire((int)envelope->status) : 0;
    call->reply_payload_length = 0;
    transfer->body_length = envelope->body_length;
    transfer->payload_length = envelope->payload_length;
    transfer->sum = rpc_sum_of(envelope);
    if (!in_payload)
        memcpy(transfer->body,
               (const uint8_t *)message->header + message->header_length - envelope->body_length,
               envelope->body_length);
    if (message->payload_length) {
        payload_receive(call, message, in_payload);
        return;
    }
    call->state = CALL_REPLIED;
    call_finish(call);
}

/* ---- connections ------------------------------------------------------------------------- */

int rpc_connect(struct rpc *rpc, const char *address, struct rpc_connection **out)
{
    struct rpc_connection *connection = calloc(1, sizeof *connection);
    if (!connection)
        return err_set(-ENOMEM, "out of memory for a connection");
    connection->rpc = rpc;
    snprintf(connection->address, sizeof connection->address, "%s", address);
    snprintf(connection->name, sizeof connection->name, "the server at %.120s", address);
    list_init(&connection->calls);
    list_push_back(&rpc->connections, &connection->link_in_rpc);
    *out = connection;
    return 0;
}

void rpc_disconnect(struct rpc_connection *connection)
{
    struct list_link *first;
    struct rpc_link *link = connection->link;
    if (link) {
        link->connection = NULL;
        connection->link = NULL;
        rpc_link_break(link, err_set(-ECONNRESET, "the connection is not needed any more"));
    }
    while ((first = list_first(&connection->calls)))
        call_fail(list_item(first, struct rpc_call, link),
                  err_set(-ECANCELED, "%s: the connection was closed", connection->name));
    list_remove(&connection->link_in_rpc);
    free(connection);
}

void rpc_connection_name(struct rpc_connection *connection, const char *name)
{
    snprintf(connection->name, sizeof connection->name, "%s", name);
}

void rpc_connection_expect(struct rpc_connection *connection, bool expected)
{
    connection->expected = expected;
}

void rpc_connection_keep(struct rpc_connection *connection, bool kept)
{
    connection->kept = kept;
}

const char *rpc_connection_address(const struct rpc_connection *connection)
{
    return connection->address;
}

void rpc_connection_arg_set(struct rpc_connection *connection, void *arg)
{
    connection->arg = arg;
}

void *rpc_connection_arg(const struct rpc_connection *connection)
{
    return connection->arg;
}

static void connection_problem(struct rpc_connection *connection, int error)
{
    uint64_t now = rpc_now_ns();
    connection->problem_error = error;
    snprintf(connection->problem, sizeof connection->problem, "%.255s", err_text());
    if (error != -ECONNREFUSED)
        connection->refused_ns = 0;
    else if (!connection->refused_ns)
        connection->refused_ns = now;
    connection->backoff_ms = connection->backoff_ms ? connection->backoff_ms * 2 : BACKOFF_MS_MIN;
    if (connection->backoff_ms > BACKOFF_MS_MAX)
        connection->backoff_ms = BACKOFF_MS_MAX;
    connection->retry_ns = now + connection->backoff_ms * MS;
    rpc_due(connection->rpc, connection->retry_ns);
}

static void connection_dial(struct rpc_connection *connection)
{
    int error = 0;
    connection->problem_error = 0;
    connection->link = rpc_link_dial(connection->rpc, connection, &error);
    if (!connection->link)
        connection_problem(connection, error);
}

void rpc_connection_open(struct rpc_connection *connection)
{
    connection->was_open = true;
    connection->backoff_ms = 0;
    connection->refused_ns = 0;
    connection->problem_error = 0;
    connection->problem[0] = 0;
    if (connection->rpc->config.opened)
        connection->rpc->config.opened(connection->rpc->config.arg, connection);
    connection_pump(connection);
}

/* Whether a call is to be told soon that nobody listens there. */
static bool is_absent(const struct rpc_connection *connection)
{
    return !connection->was_open && !connection->expected && connection->refused_ns;
}

/* An error that trying again won't mend: a wrong key, another version. */
static bool is_final(int error)
{
    return error == -EACCES || error == -EPROTO || error == -EINVAL;
}

static struct rpc_call *find_leader(const struct rpc_connection *connection)
{
    list_each(&connection->calls, each, after)
    {
        struct rpc_call *call = list_item(each, struct rpc_call, link);
        if (call->leads)
            return call;
    }
    return NULL;
}

void rpc_connection_down(struct rpc_connection *connection, int error)
{
    connection->link = NULL;
    connection_problem(connection, error);
    connection->requests_under_way = 0;
    connection->bytes_under_way = 0;
    list_each(&connection->calls, each, after)
    {
        struct rpc_call *call = list_item(each, struct rpc_call, link);
        if (call->state != CALL_QUEUED && !call->leads) {
            rpc_count(connection->rpc, COUNT_REQUESTS_RESENT, 1);
            call->resent = true;
        }
        transfer_forget(call);
        call->state = CALL_QUEUED;
    }
    struct rpc_call *leader = find_leader(connection);
    if (leader)
        call_fail(leader, err_set(-ECONNRESET, "%s: the connection was lost", connection->name));
}

/* ---- calls ---------------------------------------------------------------------------------- */

int rpc_call_start(struct rpc_connection *connection, struct rpc_call *call)
{
    struct rpc *rpc = connection->rpc;
    uint32_t deadline_ms = call->deadline_ms ? call->deadline_ms : rpc->config.conf->deadline_ms;
    if (call->body_length > LIMITS_BODY_MAX)
        return err_set(-EMSGSIZE, "a request of %u bytes is too long", call->body_length);
    if (call->leads && (!connection->link || connection->link->control.state != CONTROL_OPEN))
        return err_set(-ENOTCONN, "%s is not connected", connection->name);
    if (list_empty(&connection->calls) && !connection->link) {
        /* What earlier calls met does not count against this one. */
        connection->refused_ns = connection->retry_ns = 0;
        connection->backoff_ms = 0;
        connection->problem[0] = 0;
    }
    call->connection = connection;
    call->id = rpc->next_id++;
    call->deadline_ns = rpc_now_ns() + deadline_ms * MS;
    call->state = CALL_QUEUED;
    call->transfer = NULL;
    call->status = 0;
    call->resent = false;
    connection->leading += call->leads;
    list_push_back(&connection->calls, &call->link);
    rpc_due(rpc, call->deadline_ns);
    if (!connection->link && rpc_now_ns() >= connection->retry_ns)
        connection_dial(connection);
    else
        connection_pump(connection);
    return 0;
}

/* Whether the call is to be given up now; sets the text. */
static int call_verdict(const struct rpc_connection *connection, const struct rpc_call *call, uint64_t now)
{
    const char *problem = connection->problem[0] ? connection->problem : "no answer came";
    bool away = !connection->link || connection->link->control.state != CONTROL_OPEN;
    if (away && connection->problem_error && is_final(connection->problem_error))
        return err_set(connection->problem_error, "%s: %s", connection->name, problem);
    if (away && is_absent(connection) && now - connection->refused_ns >= ABSENT_NS)
        return err_set(-ECONNREFUSED, "%s: nobody listens there; is the server running?", connection->name);
    if (now >= call->deadline_ns)
        return err_set(-ETIMEDOUT, "%s did not answer the %s request in time (%s)", connection->name,
                       wire_operation_name(call->operation), problem);
    return 0;
}

/* Whether there is a use for a link. */
static bool is_wanted(const struct rpc_connection *connection)
{
    return !list_empty(&connection->calls) ||
           (connection->kept && connection->was_open && !is_final(connection->problem_error));
}

/* Returns how many calls ended: one at most. */
static unsigned connection_tick(struct rpc_connection *connection, uint64_t now)
{
    struct rpc *rpc = connection->rpc;
    list_each(&connection->calls, each, after)
    {
        struct rpc_call *call = list_item(each, struct rpc_call, link);
        int error = call_verdict(connection, call, now);
        if (!error) {
            rpc_due(rpc, call->deadline_ns);
            continue;
        }
        rpc_count(rpc, COUNT_DEADLINES_MISSED, 1);
        if (call->leads) { /* which ends it */
            rpc_link_break(connection->link, error);
            return 1;
        }
        /* Memory that the transport still works on can only be had back by
         * ending the connection; the other calls go on over a new one. */
        if (connection->link && call->transfer && (call->transfer->sending || call->transfer->receiving)) {
            char text[LIMITS_ERROR_TEXT_MAX + 1];
            snprintf(text, sizeof text, "%s", err_text());
            rpc_link_break(connection->link, error);
            err_set(error, "%s", text);
        }
        call_fail(call, error);
        /* The callback may have ended other calls of this connection: begin anew. */
        rpc_due(rpc, now);
        return 1;
    }
    if (is_wanted(connection) && !connection->link) {
        if (now >= connection->retry_ns)
            connection_dial(connection);
        else
            rpc_due(rpc, connection->retry_ns);
    }
    if (!list_empty(&connection->calls) && is_absent(connection))
        rpc_due(rpc, connection->refused_ns + ABSENT_NS);
    return 0;
}

unsigned rpc_calls_tick(struct rpc *rpc, uint64_t now)
{
    unsigned count = 0;
    list_each(&rpc->connections, each, after)
        count += connection_tick(list_item(each, struct rpc_connection, link_in_rpc), now);
    return count;
}

void rpc_calls_cancel(struct rpc *rpc)
{
    struct list_link *first;
    while ((first = list_first(&rpc->connections)))
        rpc_disconnect(list_item(first, struct rpc_connection, link_in_rpc));
}
