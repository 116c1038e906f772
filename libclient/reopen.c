/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles that the metadata server may have closed, since it did not hear this session for longer than the
 * lease: over each new connection they are named before anything else is said, and are open again when that
 * is answered. So whatever the session asks next finds them, and its writes, which need no handle, are known
 * of. Requests on the way overtake each other: that is why all others wait for the answer, and a close can't
 * come before what it closes is open again, to stay open.
 *
 * What has been closed here, and need not have been heard of there, is named as well, when something was
 * written: a close of what is closed already is passed over, and nobody would ask for the size.
 */
#include "client.h"

#include <inttypes.h>

#include "err.h"
#include "log.h"

static void go_on(weft_session_t *session);

/* ---- one request --------------------------------------------------------- */

struct naming {
    struct reopen *reopen;
    struct wire_writer writer;
};

/* False: there is no room for more. */
static bool name(void *arg, struct reopen_item *item)
{
    struct naming *naming = arg;
    struct reopen *reopen = naming->reopen;
    if (item->round == reopen->round)
        return true;
    if (reopen->count == LIMITS_REOPENS_MAX)
        return false;
    item->round = reopen->round;
    reopen->numbers[reopen->count++] = item->number;
    wire_put_reopening(&naming->writer,
                       &(struct wire_reopening){.handle = item->number, .capability = item->capability});
    return true;
}

/* Those that the present connection has not been told of, as many as one request names. */
static ssize_t encode(weft_session_t *session)
{
    struct reopen *reopen = &session->reopen;
    uint8_t list[sizeof reopen->body];
    struct naming naming = {.reopen = reopen, .writer = wire_writer_on(list, sizeof list)};
    reopen->count = 0;
    list_each(&session->files, link, after)
    {
        if (!name(&naming, &list_item(link, struct weft_file, link)->reopen))
            break;
    }
    closes_each(session, name, &naming);
    if (reopen->count == 0)
        return 0;
    const struct wire_reopen body = {.handles = wire_list_of(&naming.writer, reopen->count)};
    return wire_encode_reopen(reopen->body, sizeof reopen->body, &body);
}

/* ---- its answer ------------------------------------------------------------ */

static void lose(weft_session_t *session, uint64_t number)
{
    list_each(&session->files, link, after)
    {
        weft_file_t *file = list_item(link, struct weft_file, link);
        if (file->handle != number)
            continue;
        atomic_store_explicit(&file->lost, true, memory_order_relaxed);
        log_warn("%s was closed by the metadata server, which did not hear this process for longer than the "
                 "lease, and is gone",
                 file->path);
    }
}

static int take_answer(weft_session_t *session, const struct rpc_call *call)
{
    const struct reopen *reopen = &session->reopen;
    struct wire_reopen_reply reply;
    int result = wire_decode_reopen_reply(call->reply, call->reply_length, &reply);
    if (result < 0)
        return result;
    struct wire_reader reader = wire_list_reader(&reply.lost);
    for (uint32_t i = 0; i < reply.lost.count; i++) {
        struct wire_number number;
        wire_get_number(&reader, &number);
        if (!reader.bad && number.value < reopen->count)
            lose(session, reopen->numbers[number.value]);
    }
    return wire_read_all(&reader, "list of lost handles");
}

static void answered(struct rpc_call *call)
{
    weft_session_t *session = call->arg;
    session->reopen.is_sending = false;
    int result = call->status;
    if (result == 0)
        result = take_answer(session, call);
    else if (!call->reply)
        return; /* the next connection hears it again */
    if (result < 0)
        log_warn("the metadata server may have closed files that are open here, so that others see old "
                 "sizes: %s",
                 err_text());
    go_on(session);
}

static void go_on(weft_session_t *session)
{
    struct reopen *reopen = &session->reopen;
    if (reopen->is_sending || session->closing)
        return;
    ssize_t length = encode(session);
    if (length == 0)
        return;
    reopen->call = (struct rpc_call){
        .operation = WIRE_OP_reopen,
        .body = reopen->body,
        .body_length = (uint32_t)length,
        /* Whoever waits for it must have time left. */
        .deadline_ms = session->conf->deadline_ms / 2 + 1,
        .done = answered,
        .arg = session,
        .leads = true,
    };
    /* Without a connection, the next one hears it. */
    if (length < 0 || rpc_call_start(session->metadata, &reopen->call) < 0)
        return;
    reopen->is_sending = true;
    session_count(session, CLIENT_COUNT_metadata_requests, 1);
}

/* ---- when ------------------------------------------------------------------ */

void reopen_all(weft_session_t *session)
{
    struct reopen *reopen = &session->reopen;
    if (reopen->met)
        reopen->round++;
    reopen->met = true;
    go_on(session);
}

void reopen_begin(weft_file_t *file, uint64_t round)
{
    weft_session_t *session = file->session;
    file->reopen =
        (struct reopen_item){.number = file->handle, .capability = file->capability, .round = round};
    list_push_back(&session->files, &file->link);
    rpc_connection_keep(session->metadata, true);
    if (round != session->reopen.round)
        go_on(session); /* the answer may have been an earlier connection's, and the handle closed since */
}

void reopen_end(weft_file_t *file)
{
    weft_session_t *session = file->session;
    list_remove(&file->link);
    if (list_empty(&session->files))
        rpc_connection_keep(session->metadata, false);
}
