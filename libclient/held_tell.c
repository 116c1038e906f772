/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that tell the metadata server what was made and removed in folders that are held. A folder has one
 * under way at a time; each name has one change at a time, so their order among each other does not matter.
 *
 * One that is not answered is told again: a name that was made with the same number before is there, and one
 * that is gone is gone.
 */
#include "held_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capability.h"
#include "err.h"
#include "log.h"

/* So long a change waits for others to be told of with it. */
#define WAIT_NS  UINT64_C(5000000)
#define RETRY_NS UINT64_C(250000000)
/* So long a metadata server may refuse all of a request before its names count as lost. */
#define PATIENCE_NS UINT64_C(5000000000)
/* What a request with one more name must not exceed. */
enum { BYTES_MAX = 192 << 10, NAMING_BYTES = 64, FIXED_BYTES = 256 };

static void told(struct rpc_call *call);

/* ---- who waits ---------------------------------------------------------------- */

static bool is_all_idle(const struct held *held)
{
    list_each(&held->all, link, after)
    {
        if (!held_is_idle(list_item(link, struct held_folder, link)))
            return false;
    }
    return true;
}

/* `error` 0: all is told. */
static void let_waiters_go(struct held *held, int error)
{
    for (struct list_link *link = list_pop(&held->waiters); link; link = list_pop(&held->waiters)) {
        struct held_waiter *waiter = list_item(link, struct held_waiter, link);
        if (error)
            op_fail(&waiter->op, error);
        op_complete(&waiter->op, 0);
    }
}

int held_flush(weft_session_t *session)
{
    struct held *held = session->held;
    struct held_waiter waiter;
    if (!held)
        return 0;
    session_lock(session);
    if (is_all_idle(held)) {
        session_unlock(session);
        return 0;
    }
    op_init(&waiter.op, session, NULL);
    list_push_back(&held->waiters, &waiter.link);
    held->retry_ns = 0;
    list_each(&held->all, link, after) held_send(list_item(link, struct held_folder, link), true);
    session_unlock(session);
    return (int)op_wait(&waiter.op);
}

static int sync_all(weft_session_t *session)
{
    int result = session_check(session);
    if (result == 0)
        result = held_flush(session);
    if (result < 0 || !session->held)
        return result;
    session_lock(session);
    const int failed = session->held->failed;
    session->held->failed = 0;
    session_unlock(session);
    return failed ? err_set(failed, "files that were made or removed before are not (each was logged)") : 0;
}

int weft_sync(weft_session_t *session)
{
    return (int)client_result(__func__, sync_all(session));
}

/* ---- sending ------------------------------------------------------------------ */

static void put(struct wire_writer *writer, const struct held_name *name)
{
    const bool made = name->state == HELD_MADE;
    wire_put_naming(writer, &(struct wire_naming){
                                .name = held_name_text(name),
                                .ino = name->ino,
                                .kind = made ? WIRE_NAMING_MAKE : WIRE_NAMING_REMOVE,
                                .access = made && name->file ? (uint8_t)name->file->access : 0,
                                .mode = made ? name->mode : 0,
                                .made_ns = made ? name->made_ns : 0,
                                .changed_ns = name->changed_ns,
                                .data = {.data = name->data, .length = made ? name->size : 0},
                            });
}

/* Takes what one request can tell of from the changes; returns how many bytes that may be. */
static size_t take(struct held_folder *folder, bool all, uint32_t *count)
{
    size_t bytes = 0;
    *count = 0;
    list_each(&folder->changes, link, after)
    {
        struct held_name *name = list_item(link, struct held_name, change);
        const size_t own = NAMING_BYTES + strlen(held_name_text(name)) + name->size;
        if (name->file && !all)
            continue;
        if (*count == LIMITS_NAMINGS_MAX || (*count && bytes + own > BYTES_MAX))
            break;
        list_remove(&name->change);
        list_push_back(&folder->sent, &name->change);
        name->is_sent = name->was_sent = true;
        folder->change_count--;
        bytes += own;
        ++*count;
    }
    return bytes;
}

static void put_back(struct held_folder *folder)
{
    while (!list_empty(&folder->sent)) {
        struct held_name *name = list_item(folder->sent.head.previous, struct held_name, change);
        list_remove(&name->change);
        list_push_front(&folder->changes, &name->change);
        name->is_sent = false;
        folder->change_count++;
    }
}

static ssize_t encode(struct held_folder *folder, uint32_t count, size_t bytes)
{
    uint8_t *list = malloc(bytes);
    folder->body = malloc(bytes + FIXED_BYTES);
    ssize_t length = -ENOMEM;
    if (list && folder->body) {
        struct wire_writer writer = wire_writer_on(list, bytes);
        list_each(&folder->sent, link, after) put(&writer, list_item(link, struct held_name, change));
        const struct held_range *range = &folder->range;
        const struct wire_names names = {
            .folder = folder->ino,
            .range = range->given,
            .wants_range = !folder->leaves && !folder->spare.given.count &&
                           range->given.count - range->used < range->given.count / 2,
            .namings = wire_list_of(&writer, count),
        };
        length = wire_encode_names(folder->body, bytes + FIXED_BYTES, &names);
    } else {
        err_set(-ENOMEM, "out of memory for telling of %u files", count);
    }
    free(list);
    return length;
}

/* A request could not be sent, or was not answered: its names wait. */
static void failed(struct held_folder *folder, int error)
{
    struct held *held = folder->session->held;
    free(folder->body);
    folder->body = NULL;
    put_back(folder);
    held->retry_ns = rpc_now_ns() + RETRY_NS;
    if (held->changed_ns == 0)
        held->changed_ns = rpc_now_ns();
    let_waiters_go(held, error);
}

void held_send(struct held_folder *folder, bool all)
{
    weft_session_t *session = folder->session;
    struct rpc_connection *connection;
    uint32_t count;
    if (folder->is_sending || folder->change_count == 0)
        return;
    const size_t bytes = take(folder, all, &count);
    if (count == 0)
        return;
    ssize_t length = encode(folder, count, bytes);
    int result = length < 0 ? (int)length : session_metadata(session, &connection);
    if (result == 0) {
        folder->call = (struct rpc_call){
            .operation = WIRE_OP_names,
            .body = folder->body,
            .body_length = (uint32_t)length,
            .done = told,
            .arg = folder,
        };
        folder->sent_ns = rpc_now_ns();
        result = rpc_call_start(connection, &folder->call);
    }
    if (result < 0) {
        failed(folder, result);
        return;
    }
    folder->is_sending = true;
    session_count(session, CLIENT_COUNT_metadata_requests, 1);
    attr_cache_hurry(session);
}

/* ---- being answered -------------------------------------------------------------- */

/* The file is one that the metadata server knows to be open. */
static void settle(struct held_name *name, const struct wire_named *named)
{
    weft_file_t *file = name->file;
    weft_session_t *session = file->session;
    file->handle = named->handle;
    file->capability = named->capability;
    file->layout = capability_layout(&named->capability);
    file->synced = session->map ? session->map->version : 0;
    told_begin(file, &(struct wire_attr){.size = name->size, .bytes = name->size});
    reopen_begin(file, session->reopen.round);
    file_small_begin(file, name->folder->small_max);
    name->file = NULL;
    name->is_known = false;
    atomic_store_explicit(&file->held, NULL, memory_order_release);
}

/* Said of each that is lost: there is nobody whose call could fail. */
static void lose(struct held_name *name, int error)
{
    log_error("%s is not %s, though that was said: %s", name->path,
              name->state == HELD_MADE ? "made" : "removed", err_name(error));
    struct held *held = name->folder->session->held;
    held->failed = held->failed ? held->failed : error;
    session_count(name->folder->session, CLIENT_COUNT_held_lost, 1);
    held_name_drop(name);
}

static void arrive(struct held_name *name)
{
    list_remove(&name->change);
    list_link_init(&name->change);
    name->is_sent = name->was_sent = false;
    free(name->data);
    name->data = NULL;
    if (name->state == HELD_REMOVED)
        held_name_drop(name);
    else
        name->state = HELD_THERE;
}

/* The names in the order of the request; what the reply does not mention is done. Returns the first
 * failure. */
static int arrive_all(struct held_folder *folder, const struct wire_names_reply *reply)
{
    struct wire_reader reader = wire_list_reader(&reply->named);
    struct wire_named named = {.place = UINT32_MAX};
    uint32_t place = 0, left = reply->named.count;
    int first = 0;
    list_each(&folder->sent, link, after)
    {
        struct held_name *name = list_item(link, struct held_name, change);
        while (left > 0 && !reader.bad && (named.place == UINT32_MAX || named.place < place)) {
            wire_get_named(&reader, &named);
            left--;
        }
        const bool is_mentioned = !reader.bad && named.place == place;
        int error = is_mentioned ? -(int)named.status : 0;
        if (!error && name->file && !(is_mentioned && named.handle))
            error = -EPROTO;
        if (!error && name->file)
            settle(name, &named);
        if (error) {
            first = first ? first : err_set(error, "%s: %s", name->path, err_name(error));
            lose(name, error);
        } else {
            arrive(name);
        }
        place++;
    }
    return first;
}

static int lose_all(struct held_folder *folder, int error)
{
    while (!list_empty(&folder->sent))
        lose(list_item(list_first(&folder->sent), struct held_name, change), error);
    return error;
}

static void tell_late(const struct held_folder *folder)
{
    uint64_t count = 0;
    list_each(&folder->sent, link, after) count++;
    session_count(folder->session, CLIENT_COUNT_held_late, count);
    log_warn("this process was not heard for long, and others may have looked into %s before they could see "
             "all that it had done there",
             folder->path);
}

static int take_answer(struct held_folder *folder, const struct rpc_call *call)
{
    struct wire_names_reply reply;
    int result = wire_decode_names_reply(call->reply, call->reply_length, &reply);
    if (result < 0)
        return lose_all(folder, result);
    if (!folder->leaves && reply.range.count && !folder->spare.given.count)
        folder->spare.given = reply.range;
    attr_cache_heard(folder->session, &reply.delegation, folder->sent_ns);
    if (reply.late)
        tell_late(folder);
    return arrive_all(folder, &reply);
}

/* It is about the server, not the names, and another time it may do them: it is full, or ends. */
static bool may_pass(struct held_folder *folder, int error)
{
    const uint64_t now_ns = rpc_now_ns();
    if (error != -ECANCELED && error != -ENOSPC && error != -EDQUOT && error != -ENOMEM && error != -EIO)
        return false;
    if (folder->refused_ns == 0)
        folder->refused_ns = now_ns;
    return now_ns - folder->refused_ns < PATIENCE_NS;
}

static void told(struct rpc_call *call)
{
    struct held_folder *folder = call->arg;
    weft_session_t *session = folder->session;
    struct held *held = session->held;
    int result = call->status;
    if (result < 0 && (!call->reply || may_pass(folder, result))) {
        folder->is_sending = false;
        failed(folder, result);
        return;
    }
    folder->refused_ns = 0;
    /* As long as it counts as sending nobody drops the folder: the answer may say that all is lost. */
    result = result < 0 ? lose_all(folder, result) : take_answer(folder, call);
    free(folder->body);
    folder->body = NULL;
    folder->is_sending = false;
    if (result < 0 && !held->wait_error)
        held->wait_error = result;
    const bool all = folder->leaves || !list_empty(&held->waiters);
    if (all || folder->change_count >= HELD_BATCH)
        held_send(folder, all);
    if (folder->leaves && held_is_idle(folder))
        held_folder_drop(folder);
    if (is_all_idle(held)) {
        held->changed_ns = 0;
        let_waiters_go(held, held->wait_error);
        held->wait_error = 0;
    }
    if (held->leaving == 0)
        attr_cache_left(session);
}

/* ---- what has waited for long ------------------------------------------------------ */

int held_look(weft_session_t *session)
{
    struct held *held = session->held;
    if (!held || held->changed_ns == 0)
        return -1;
    const uint64_t now_ns = rpc_now_ns();
    uint64_t due_ns = held->changed_ns + WAIT_NS;
    if (held->retry_ns > due_ns)
        due_ns = held->retry_ns;
    if (now_ns < due_ns)
        return (int)((due_ns - now_ns) / 1000000) + 1;
    held->changed_ns = 0;
    list_each(&held->all, link, after)
    {
        struct held_folder *folder = list_item(link, struct held_folder, link);
        held_send(folder, true);
        if (folder->change_count)
            held->changed_ns = now_ns;
    }
    return held->changed_ns ? (int)(WAIT_NS / 1000000) : -1;
}

void held_end(weft_session_t *session)
{
    if (!session->held)
        return;
    if (held_flush(session) < 0)
        log_error("%s", err_text());
}

void held_lose_all(struct held_folder *folder)
{
    put_back(folder);
    while (!list_empty(&folder->changes))
        lose(list_item(list_first(&folder->changes), struct held_name, change), -ETIMEDOUT);
    folder->change_count = 0;
}
