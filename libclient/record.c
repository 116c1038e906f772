/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: what owners have locked, which the file's first storage shard keeps
 * (server/storage/shard_record.c). One that has to wait is asked for again and again under its
 * number, as a lock is (lock.c), and may be given up.
 *
 * When an owner waits who has something himself, others may be waiting for him, and he for them. Then
 * the server's answers "not yet" name who is in the way, and the metadata server is told, at growing
 * intervals; it knows when that makes a circle (server/metadata/waits.h).
 */
#include "record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "lock_turn.h"

#define REPORT_MS_MIN 100u
#define REPORT_MS_MAX 800u
#define REPORT_DEADLINE_MS 2000u
#define BODY_BYTES 256u
#define REPORT_BYTES (64u + LIMITS_LOCK_BLOCKERS_MAX * 40u)

struct record_request {
    struct weft_op op;
    weft_session_t *session;
    char *path;
    struct wire_capability capability;
    struct layout layout;
    struct planner_table *table;
    struct record_holding *holding; /* NULL: it has ended there, or is a test */
    struct weft_record *found;      /* of a test */
    struct weft_record wish;
    uint64_t start, end;
    uint64_t id;
    bool waits, detects, passes;
    bool in_line;
    bool calling, cancelling, reporting; /* requests under way */
    bool owed; /* its caller was told that it failed, or is about to be; `cancel` settles what came of it */
    bool undoing; /* the server is to undo it: what is answered to itself is not the last word any more */
    bool granted;
    bool released; /* waited for: it is freed when nothing is under way */
    int given_up;  /* why: a negative errno, or 0 */
    struct lock_turn turn;
    struct shard_call call;
    struct shard_call cancel;
    struct rpc_call report;
    uint64_t report_due_ns; /* not before */
    uint32_t report_ms;
    uint64_t token, token_asked; /* the latest one, and the one that was there when the server was asked */
    uint8_t body[BODY_BYTES];
    uint8_t cancel_body[16];
    uint8_t *report_body;
};

/* ---- its life ------------------------------------------------------------------- */

static void request_free(struct record_request *request)
{
    planner_table_unref(request->table);
    free(request->path);
    free(request->report_body);
    free(request);
}

static bool is_under_way(const struct record_request *request)
{
    return request->calling || request->cancelling || request->reporting;
}

static void released(struct weft_op *op)
{
    struct record_request *request = list_item(op, struct record_request, op);
    weft_session_t *session = request->session;
    session_lock(session);
    request->released = true;
    if (!is_under_way(request))
        request_free(request);
    session_unlock(session);
}

static void drop_released(struct record_request *request)
{
    if (request->released && !is_under_way(request))
        request_free(request);
}

/* Until the server has said the last word, there may be something to be given back. */
static void end_holding(struct record_request *request)
{
    if (!request->holding || request->owed)
        return;
    record_holding_end(request->session, request->holding);
    request->holding = NULL;
}

static void settle(struct record_request *request);

static void complete(struct record_request *request, ssize_t result)
{
    if (result < 0)
        op_fail(&request->op, client_about((int)result, request->path));
    if (result == -ETIMEDOUT && !request->found)
        settle(request);
    end_holding(request);
    op_complete(&request->op, result);
}

/* Given up, and nothing is under way that could still say that it was granted. */
static void complete_given_up(struct record_request *request)
{
    if (request->op.done || request->calling || (request->cancelling && !request->owed))
        return;
    if (request->granted)
        complete(request, 0);
    else if (request->given_up == -EDEADLK)
        complete(request, err_set(-EDEADLK, "whoever holds the lock waits for one that this owner has"));
    else
        complete(request, err_set(request->given_up, "the wait for the lock was given up"));
}

/* ---- calls ---------------------------------------------------------------------- */

static int locate(struct record_request *request, uint32_t *shard, uint32_t *target)
{
    int result = session_table(request->session, &request->layout, &request->table);
    if (result == 0)
        planner_table_first(request->table, shard, target);
    return result;
}

static int send_call(struct record_request *request, struct shard_call *call, uint16_t operation,
                     const void *body, ssize_t length, uint32_t shard)
{
    if (length < 0)
        return (int)length;
    call->rpc.operation = operation;
    call->rpc.body = body;
    call->rpc.body_length = (uint32_t)length;
    return shard_call_start(request->session, call, request->table, shard);
}

static uint8_t wire_type(enum weft_lock_type type)
{
    return type == WEFT_LOCK_EXCLUSIVE ? WIRE_LOCK_EXCLUSIVE
           : type == WEFT_LOCK_SHARED  ? WIRE_LOCK_SHARED
                                       : WIRE_LOCK_NONE;
}

/* ---- waits that last ---------------------------------------------------------------- */

static void give_up(struct record_request *request, int why);

static void reported(struct rpc_call *call)
{
    struct record_request *request = call->arg;
    struct wire_lock_wait_reply reply;
    request->reporting = false;
    if (call->status == 0 &&
        wire_decode_lock_wait_reply(call->reply, call->reply_length, &reply) == 0) {
        request->token = reply.token;
        if (reply.verdict == WIRE_WAIT_PASS)
            request->passes = true;
        if (reply.verdict == WIRE_WAIT_DEADLOCK && !request->op.done)
            give_up(request, -EDEADLK);
    }
    drop_released(request);
}

/* Whoever gets no answer goes on waiting, and tells again. */
static void report(struct record_request *request, const struct wire_list *blockers)
{
    weft_session_t *session = request->session;
    struct rpc_connection *connection;
    const struct wire_lock_wait wire = {.owner = request->wish.owner,
                                        .id = request->id,
                                        .token = request->token_asked,
                                        .blockers = *blockers};
    if (!request->report_body && !(request->report_body = malloc(REPORT_BYTES)))
        return;
    ssize_t length = wire_encode_lock_wait(request->report_body, REPORT_BYTES, &wire);
    if (length < 0 || session_metadata(session, &connection) < 0)
        return;
    request->report = (struct rpc_call){.operation = WIRE_OP_lock_wait,
                                        .body = request->report_body,
                                        .body_length = (uint32_t)length,
                                        .deadline_ms = REPORT_DEADLINE_MS,
                                        .done = reported,
                                        .arg = request};
    if (rpc_call_start(connection, &request->report) < 0)
        return;
    request->reporting = true;
    request->report_due_ns = rpc_now_ns() + request->report_ms * UINT64_C(1000000);
    request->report_ms = 2 * request->report_ms < REPORT_MS_MAX ? 2 * request->report_ms : REPORT_MS_MAX;
    session_count(session, CLIENT_COUNT_metadata_requests, 1);
    session_count(session, CLIENT_COUNT_record_reports, 1);
}

/* ---- asking ------------------------------------------------------------------------- */

/* Whether the server is to say who is in the way; it does so when the wait is over. */
static bool wants_blockers(const struct record_request *request)
{
    return request->waits && request->detects &&
           record_owner_holds(request->session, request->wish.owner);
}

static ssize_t encode_set(struct record_request *request, uint32_t target)
{
    bool blockers = wants_blockers(request);
    uint32_t wait_ms = lock_turn_wait_ms(request->session);
    if (blockers && wait_ms > request->report_ms)
        wait_ms = request->report_ms;
    const struct wire_record wire = {
        .capability = request->capability,
        .map_version = request->table->map->version,
        .target = target,
        .id = request->id,
        .owner = request->wish.owner,
        .pid = request->wish.pid,
        .type = wire_type(request->wish.type),
        .flags = (uint8_t)((request->detects ? WIRE_RECORD_DETECT : 0) |
                           (request->passes ? WIRE_RECORD_PASS : 0) | (blockers ? WIRE_RECORD_BLOCKERS : 0)),
        .wait_ms = request->waits ? wait_ms : 0,
        .start = request->start,
        .end = request->end,
        .epoch = request->holding->epoch,
    };
    request->token_asked = request->token;
    return wire_encode_record(request->body, sizeof request->body, &wire);
}

static ssize_t encode_test(struct record_request *request, uint32_t target)
{
    const struct wire_record_test wire = {
        .capability = request->capability,
        .map_version = request->table->map->version,
        .target = target,
        .owner = request->wish.owner,
        .type = wire_type(request->wish.type),
        .start = request->start,
        .end = request->end,
    };
    return wire_encode_record_test(request->body, sizeof request->body, &wire);
}

static int ask(struct record_request *request)
{
    uint32_t shard, target;
    int result = locate(request, &shard, &target);
    if (result < 0)
        return result;
    result = request->found ? send_call(request, &request->call, WIRE_OP_record_test, request->body,
                                        encode_test(request, target), shard)
                            : send_call(request, &request->call, WIRE_OP_record, request->body,
                                        encode_set(request, target), shard);
    request->calling = result == 0;
    return result;
}

static bool begin(struct lock_turn *turn)
{
    struct record_request *request = list_item(turn, struct record_request, turn);
    if (request->holding && request->holding->unsettled) { /* or it would be taken for what is settled */
        list_push_back(&request->holding->parked, &turn->link);
        return false;
    }
    request->in_line = false;
    shard_call_fresh(&request->call);
    int result =
        request->session->closing ? err_set(-ECANCELED, "the session was closed") : ask(request);
    if (result < 0)
        complete(request, result);
    return result == 0;
}

static void join_line(struct record_request *request)
{
    request->in_line = true;
    lock_turn_join(request->session, &request->turn);
}

static int judge_test(struct record_request *request)
{
    struct wire_record_test_reply reply;
    int result =
        wire_decode_record_test_reply(request->call.rpc.reply, request->call.rpc.reply_length, &reply);
    if (result < 0)
        return result;
    if (reply.type == WIRE_LOCK_NONE)
        return 0;
    *request->found = (struct weft_record){
        .owner = reply.owner,
        .pid = reply.pid,
        .type = reply.type == WIRE_LOCK_EXCLUSIVE ? WEFT_LOCK_EXCLUSIVE : WEFT_LOCK_SHARED,
        .extent = {.offset = reply.start, .length = reply.end - reply.start},
    };
    return 1;
}

/* 1: granted, 0: not yet. */
static int judge_set(struct record_request *request, const struct rpc_call *rpc)
{
    struct wire_record_reply reply;
    int result = wire_decode_record_reply(rpc->reply, rpc->reply_length, &reply);
    if (result < 0)
        return result;
    if (reply.granted) {
        record_holding_told(request->holding, reply.holds, reply.epoch);
        return 1;
    }
    if (!request->waits)
        return err_set(-EAGAIN, "somebody else holds a lock on it");
    if (reply.blockers.count && !request->reporting && !request->given_up &&
        rpc_now_ns() >= request->report_due_ns)
        report(request, &reply.blockers);
    return 0;
}

static void asked(struct record_request *request, int status)
{
    if (status == -EOWNERDEAD && request->holding) {
        record_holding_lost(request->holding);
        session_count(request->session, CLIENT_COUNT_locks_lost, 1);
        status = err_set(-ENOLCK, "%s", err_text());
    }
    int verdict = status < 0       ? status
                  : request->found ? judge_test(request)
                                   : judge_set(request, &request->call.rpc);
    if (!request->undoing)
        request->granted = verdict > 0;
    if (request->given_up) {
        complete_given_up(request);
    } else if (verdict < 0 || request->found) {
        complete(request, verdict);
    } else if (verdict > 0) {
        complete(request, 0);
    } else {
        session_count(request->session, CLIENT_COUNT_lock_waits, 1);
        join_line(request);
    }
}

static void answered(struct shard_call *call, int status)
{
    struct record_request *request = list_item(call, struct record_request, call);
    weft_session_t *session = request->session;
    request->calling = false;
    if (status == SHARD_REDO) {
        request->call.attempts++;
        status = ask(request);
        if (status == 0)
            return;
    }
    lock_turn_answered(session);
    asked(request, status);
    drop_released(request);
    lock_turn_pump(session);
}

/* ---- giving up, and settling what was not answered ------------------------------------- */

static ssize_t encode_cancel(struct record_request *request)
{
    const struct wire_record_cancel wire = {.id = request->id, .undo = request->owed};
    return wire_encode_record_cancel(request->cancel_body, sizeof request->cancel_body, &wire);
}

/* That it is not wanted; or, when it is to give something back and that has to be settled, itself again. */
static int send_cancel(struct record_request *request)
{
    uint32_t shard, target;
    const bool itself = request->owed && request->wish.type == WEFT_LOCK_NONE;
    if (request->session->closing)
        return err_set(-ECANCELED, "the session was closed");
    int result = locate(request, &shard, &target);
    if (result == 0 && itself)
        result = send_call(request, &request->cancel, WIRE_OP_record, request->body,
                           encode_set(request, target), shard);
    else if (result == 0)
        result = send_call(request, &request->cancel, WIRE_OP_record_cancel, request->cancel_body,
                           encode_cancel(request), shard);
    request->cancelling = result == 0;
    return result;
}

static void settled(struct record_request *request)
{
    struct record_holding *holding = request->holding;
    struct list_link *at;
    request->owed = false;
    if (--holding->unsettled > 0)
        return;
    while ((at = list_pop(&holding->parked)))
        lock_turn_join(request->session, list_item(at, struct lock_turn, link));
}

/*
 * A server that did not answer may have done what was asked, or do so when it gets to it, and the caller is
 * told that it failed: nobody would give such a lock back. So the server is told, one deadline after the
 * other, until it answers: that the lock is not wanted, and its owner is to have what he had before; or once
 * more what he gives back. Until then nothing else of that owner's is sent that is about the file, since it
 * would be undone with it. When the server can't be told, the end of the connection says it.
 */
static void settle(struct record_request *request)
{
    if (!request->owed)
        request->holding->unsettled++;
    request->owed = request->undoing = true;
    shard_call_fresh(&request->cancel);
    if (send_cancel(request) < 0)
        settled(request);
}

/* They have waited for that, and the server does not answer: not for one deadline after the other. */
static void fail_parked(struct record_holding *holding)
{
    struct list parked;
    struct list_link *at;
    list_init(&parked);
    while ((at = list_pop(&holding->parked)))
        list_push_back(&parked, at);
    while ((at = list_pop(&parked))) {
        struct record_request *request = list_item(at, struct record_request, turn.link);
        request->in_line = false;
        /* It is settled as well: it may be known there already, and what is given back is yet to be. */
        complete(request, err_set(-ETIMEDOUT, "the server did not answer an earlier request of the owner's"));
    }
}

static void judge_cancel(struct record_request *request)
{
    const struct rpc_call *rpc = &request->cancel.rpc;
    struct wire_record_cancel_reply reply;
    if (rpc->operation == WIRE_OP_record) {
        (void)judge_set(request, rpc);
    } else if (wire_decode_record_cancel_reply(rpc->reply, rpc->reply_length, &reply) == 0 && reply.granted) {
        request->granted = true;
        record_holding_told(request->holding, true, reply.epoch);
    }
}

static void cancelled(struct shard_call *call, int status)
{
    struct record_request *request = list_item(call, struct record_request, cancel);
    weft_session_t *session = request->session;
    const bool again = request->owed;
    request->cancelling = false;
    if (status == SHARD_REDO) {
        request->cancel.attempts++;
        status = send_cancel(request);
        if (status == 0)
            return;
    }
    if (status == 0)
        judge_cancel(request);
    if (status == -ETIMEDOUT && (again || !request->granted)) {
        settle(request);
        if (again)
            fail_parked(request->holding);
    } else if (again) {
        settled(request);
    }
    complete_given_up(request);
    if (request->op.done)
        end_holding(request);
    drop_released(request);
    lock_turn_pump(session);
}

/* Its wait ends as soon as the server has agreed, unless it is granted in that moment. */
static void give_up(struct record_request *request, int why)
{
    if (request->given_up || request->op.done || !request->waits)
        return;
    request->given_up = why;
    if (request->in_line)
        list_remove(&request->turn.link);
    request->in_line = false;
    if (send_cancel(request) < 0)
        complete_given_up(request);
}

void weft_lock_cancel(weft_op_t *op)
{
    if (!op || session_check(op->session) < 0 || op->release != released)
        return;
    session_lock(op->session);
    give_up(list_item(op, struct record_request, op), -EINTR);
    session_unlock(op->session);
}

static void interrupted(struct weft_op *op)
{
    give_up(list_item(op, struct record_request, op), -EINTR);
}

/* ---- the calls ------------------------------------------------------------------------- */

static int request_new(weft_file_t *file, const struct weft_record *wish, struct record_request **out)
{
    struct record_request *request = calloc(1, sizeof *request);
    if (!request || !(request->path = strdup(file->path))) {
        free(request);
        return err_set(-ENOMEM, "out of memory for a lock");
    }
    request->session = file->session;
    request->capability = file->capability;
    request->layout = file->layout;
    request->wish = *wish;
    request->start = wish->extent.offset < INT64_MAX ? wish->extent.offset : INT64_MAX;
    request->end = wish->extent.length < INT64_MAX - request->start ? request->start + wish->extent.length
                                                                    : INT64_MAX;
    request->report_ms = REPORT_MS_MIN;
    request->turn.begin = begin;
    list_link_init(&request->turn.link);
    request->call.done = answered;
    request->cancel.done = cancelled;
    op_init(&request->op, request->session, released);
    *out = request;
    return 0;
}

static int check(const weft_file_t *file, const struct weft_record *wish)
{
    int result = file_check(file);
    if (result < 0)
        return result;
    if (!wish)
        return err_set(-EINVAL, "it is not said what to lock (NULL)");
    if (wish->type != WEFT_LOCK_NONE && wish->type != WEFT_LOCK_SHARED && wish->type != WEFT_LOCK_EXCLUSIVE)
        return err_set(-EINVAL, "there is no lock of type %d", (int)wish->type);
    if (wish->extent.length == 0 || wish->extent.offset >= INT64_MAX)
        return err_set(-EINVAL, "the extent has no byte that a file may have");
    return 0;
}

/* (locked) Nobody needs to be asked when there is nothing to be given back. */
static int submit(struct record_request *request)
{
    weft_session_t *session = request->session;
    if (!request->found && request->wish.type == WEFT_LOCK_NONE &&
        !record_holding_find(session, request->wish.owner, request->capability.ino)) {
        op_complete(&request->op, 0);
        return 0;
    }
    if (!request->found) {
        int result = record_holding_begin(session, request->wish.owner, request->capability.ino,
                                          &request->holding);
        if (result < 0)
            return result;
        request->id = ++session->lock_id;
    }
    session_count(session, CLIENT_COUNT_records, 1);
    join_line(request);
    lock_turn_pump(session);
    return 0;
}

static int start(weft_file_t *file, const struct weft_record *wish, unsigned flags, struct weft_record *found,
                 struct record_request **out)
{
    struct record_request *request = NULL;
    int result = check(file, wish);
    if (result == 0 && (flags & ~(WEFT_LOCK_WAIT | WEFT_LOCK_DETECT | WEFT_LOCK_SIGNALS)))
        result = err_set(-EINVAL, "flags 0x%x are not known", flags);
    if (result == 0)
        result = request_new(file, wish, &request);
    if (result < 0)
        return result;
    request->found = found;
    request->waits = (flags & WEFT_LOCK_WAIT) != 0 && wish->type != WEFT_LOCK_NONE;
    request->detects = (flags & WEFT_LOCK_DETECT) != 0;
    session_lock(request->session);
    result = submit(request);
    session_unlock(request->session);
    if (result < 0)
        request_free(request);
    else
        *out = request;
    return result < 0 ? client_about(result, file->path) : 0;
}

int weft_file_lock_set_async(weft_file_t *file, const struct weft_record *record, unsigned flags,
                             weft_op_t **op)
{
    struct record_request *request;
    int result = op ? start(file, record, flags, NULL, &request)
                    : err_set(-EINVAL, "there is no place for the operation (NULL)");
    if (result == 0)
        *op = &request->op;
    return (int)client_result(__func__, result);
}

int weft_file_lock_set(weft_file_t *file, const struct weft_record *record, unsigned flags)
{
    struct record_request *request;
    ssize_t result = start(file, record, flags, NULL, &request);
    if (result == 0 && request->waits && (flags & WEFT_LOCK_SIGNALS))
        result = op_wait_signals(&request->op, interrupted);
    else if (result == 0)
        result = op_wait(&request->op);
    return (int)client_result(__func__, result);
}

int weft_file_lock_test(weft_file_t *file, const struct weft_record *record, struct weft_record *found)
{
    struct record_request *request;
    ssize_t result = 0;
    if (!found || (record && record->type == WEFT_LOCK_NONE))
        result =
            err_set(-EINVAL, found ? "a lock of no type is in nobody's way" : "there is no place (NULL)");
    if (result == 0)
        result = start(file, record, 0, found, &request);
    return (int)client_result(__func__, result < 0 ? result : op_wait(&request->op));
}

int weft_file_lock_drop(weft_file_t *file, uint64_t owner)
{
    const struct weft_record all = {.owner = owner, .type = WEFT_LOCK_NONE, .extent = {0, INT64_MAX}};
    struct record_request *request;
    ssize_t result = start(file, &all, 0, NULL, &request);
    return (int)client_result(__func__, result < 0 ? result : op_wait(&request->op));
}
