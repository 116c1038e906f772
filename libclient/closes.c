/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles that were closed and of which the metadata server has yet to hear: they ride with the session's
 * next request that has room for them. Closing changes nothing that anyone waits for, and a handle that is
 * closed twice is closed, so whatever may have been lost on the way rides again.
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"

/* So long a closed handle waits for a request that takes it along, when anything drives the session. */
#define WAIT_NS (UINT64_C(1000) * 1000000)
/* The end of a session waits so long for the metadata server: it finds out by itself, only later. */
enum { END_MS = 3000 };

/* ---- what waits (locked) ------------------------------------------------------- */

static int make_room(struct closes *closes, uint32_t count)
{
    if (closes->count + count <= closes->room)
        return 0;
    uint32_t room = 2 * (closes->count + count) + LIMITS_CLOSES_MAX;
    struct closes_item *bigger = realloc(closes->waiting, room * sizeof *bigger);
    if (!bigger)
        return err_set(-ENOMEM, "out of memory for a file that is to be closed");
    closes->waiting = bigger;
    closes->room = room;
    return 0;
}

static int add(weft_session_t *session, const struct closes_item *items, uint32_t count)
{
    struct closes *closes = &session->closes;
    int result = make_room(closes, count);
    if (result < 0)
        return result;
    if (closes->count == 0)
        closes->since_ns = rpc_now_ns();
    if (count > 0)
        memcpy(closes->waiting + closes->count, items, count * sizeof *items);
    closes->count += count;
    return 0;
}

/* The ride has ended. */
static void alight(weft_session_t *session, struct closes_ride *ride, bool arrived)
{
    if (ride->count == 0)
        return;
    list_remove(&ride->link);
    if (!arrived && add(session, ride->items, ride->count) < 0)
        log_warn("%s; %u stay open until this session ends", err_text(), ride->count);
}

static void ride_fill(weft_session_t *session, struct closes_ride *ride, const struct closes_item *items,
                      uint32_t count)
{
    ride->count = count;
    if (count > 0)
        list_push_back(&session->closes.rides, &ride->link);
    struct wire_writer writer = wire_writer_on(ride->encoded, sizeof ride->encoded);
    for (uint32_t i = 0; i < count; i++) {
        ride->items[i] = items[i];
        wire_put_closing(&writer, &items[i].closing);
    }
    ride->list = wire_list_of(&writer, count);
}

/* The oldest ones, as many as a request carries. */
static void take(weft_session_t *session, struct closes_ride *ride)
{
    struct closes *closes = &session->closes;
    ride_fill(session, ride, closes->waiting,
              closes->count < LIMITS_CLOSES_MAX ? closes->count : LIMITS_CLOSES_MAX);
    closes->count -= ride->count;
    if (closes->count > 0)
        memmove(closes->waiting, closes->waiting + ride->count, closes->count * sizeof *closes->waiting);
}

/* ---- riding with a request ------------------------------------------------------- */

void closes_board(weft_session_t *session, struct closes_ride *ride)
{
    ride->count = 0;
    ride->list = (struct wire_list){0};
    if (session_check(session) < 0)
        return; /* which the request is about to tell */
    session_lock(session);
    take(session, ride);
    session_unlock(session);
}

static int call_within(struct op_call *call, weft_session_t *session, struct closes_ride *ride,
                       uint16_t operation, const void *body, ssize_t body_length, uint32_t deadline_ms)
{
    char text[LIMITS_ERROR_TEXT_MAX + 1];
    int result = op_call_metadata_within(call, session, operation, body, body_length, deadline_ms);
    if (ride->count == 0)
        return result;
    snprintf(text, sizeof text, "%s", result < 0 ? err_text() : "");
    session_lock(session);
    alight(session, ride, call->answered);
    session_unlock(session);
    return result < 0 ? err_set(result, "%s", text) : result;
}

int closes_call(struct op_call *call, weft_session_t *session, struct closes_ride *ride, uint16_t operation,
                const void *body, ssize_t body_length)
{
    return call_within(call, session, ride, operation, body, body_length, 0);
}

/* ---- a request of their own -------------------------------------------------------- */

static ssize_t encode(const struct closes_ride *ride, uint8_t body[CLOSES_BYTES_MAX])
{
    return wire_encode_close(body, CLOSES_BYTES_MAX, &(struct wire_close){.closes = ride->list});
}

static int send_ride(weft_session_t *session, struct closes_ride *ride, uint32_t deadline_ms)
{
    uint8_t body[CLOSES_BYTES_MAX];
    struct op_call call;
    int result = call_within(&call, session, ride, WIRE_OP_close, body, encode(ride, body), deadline_ms);
    op_call_free(&call);
    return result;
}

int closes_give(weft_file_t *file)
{
    weft_session_t *session = file->session;
    /* A file of several processes is not to stay unsettled for longer than it must. */
    const bool at_once = file->exported;
    struct closes_item item = {.closing = {.handle = file->handle, .wrote = file->wrote}};
    struct closes_ride ride;
    told_close(file, &item.closing);
    session_lock(session);
    item.reopen = file->reopen;
    reopen_end(file);
    int result = add(session, &item, 1);
    bool is_due = at_once || session->closes.count >= LIMITS_CLOSES_MAX;
    if (result < 0) /* no memory to keep it */
        ride_fill(session, &ride, &item, 1);
    session_unlock(session);
    if (result < 0)
        return send_ride(session, &ride, 0);
    while (is_due && result == 0) {
        closes_board(session, &ride);
        if (ride.count == 0)
            break;
        result = send_ride(session, &ride, 0);
        is_due = at_once;
    }
    return result;
}

/* ---- when nothing takes them along (locked) ------------------------------------------- */

static void look_ended(struct rpc_call *rpc)
{
    weft_session_t *session = rpc->arg;
    struct closes *closes = &session->closes;
    closes->is_sending = false;
    alight(session, &closes->sent, rpc->reply || session->closing);
}

void closes_look(void *arg)
{
    weft_session_t *session = arg;
    struct closes *closes = &session->closes;
    struct rpc_connection *connection;
    if (closes->count == 0 || closes->is_sending || rpc_now_ns() - closes->since_ns < WAIT_NS ||
        session_metadata(session, &connection) < 0)
        return;
    take(session, &closes->sent);
    ssize_t length = encode(&closes->sent, closes->body);
    closes->call = (struct rpc_call){
        .operation = WIRE_OP_close,
        .body = closes->body,
        .body_length = (uint32_t)length,
        .done = look_ended,
        .arg = session,
    };
    if (length < 0 || rpc_call_start(connection, &closes->call) < 0) {
        alight(session, &closes->sent, false);
        return;
    }
    closes->is_sending = true;
    session_count(session, CLIENT_COUNT_metadata_requests, 1);
}

/* ---- those that may have been for nothing (locked) -------------------------------------- */

static bool each_of(struct closes_item *items, uint32_t count,
                    bool (*each)(void *arg, struct reopen_item *item), void *arg)
{
    bool goes_on = true;
    for (uint32_t i = 0; i < count && goes_on; i++)
        goes_on = !items[i].closing.wrote || each(arg, &items[i].reopen);
    return goes_on;
}

void closes_each(weft_session_t *session, bool (*each)(void *arg, struct reopen_item *item), void *arg)
{
    struct closes *closes = &session->closes;
    bool goes_on = each_of(closes->waiting, closes->count, each, arg);
    list_each(&closes->rides, link, after)
    {
        struct closes_ride *ride = list_item(link, struct closes_ride, link);
        goes_on = goes_on && each_of(ride->items, ride->count, each, arg);
    }
}

/* ---- the end of the session ---------------------------------------------------------- */

void closes_end(weft_session_t *session)
{
    struct closes *closes = &session->closes;
    struct closes_ride ride;
    int result = 0;
    session_lock(session);
    if (closes->is_sending && add(session, closes->sent.items, closes->sent.count) < 0)
        log_warn("%s", err_text()); /* its answer is not waited for */
    session_unlock(session);
    while (result == 0) {
        closes_board(session, &ride);
        if (ride.count == 0)
            break;
        result = send_ride(session, &ride, END_MS);
    }
    if (result < 0)
        log_info("%s; the files of this session are closed by the end of its lease", err_text());
    free(closes->waiting);
    closes->waiting = NULL;
    closes->count = closes->room = 0;
}
