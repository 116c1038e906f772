/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capability.h"
#include "err.h"

struct fan_call {
    struct shard_call call;
    struct fan *fan;
};

static int fan_begin(struct fan *fan);

static void fan_fail(struct fan *fan, int error)
{
    if (fan->status < 0)
        return;
    fan->status = error;
    fan->text = strdup(err_text());
}

static void fan_end(struct fan *fan)
{
    struct planner_table *table = fan->table;
    free(fan->calls);
    fan->calls = NULL;
    if (fan->status == 0 && fan->redo) {
        planner_table_unref(table);
        fan->table = table = NULL;
        fan->attempts++;
        int result = fan_begin(fan);
        if (result == 0)
            return;
        fan_fail(fan, result);
    }
    if (fan->status < 0) {
        err_set(fan->status, "%s", fan->text ? fan->text : err_name(fan->status));
        free(fan->text);
        fan->text = NULL;
    }
    fan->done(fan, fan->status); /* may be the end of it */
    planner_table_unref(table);
}

static void add_seek(struct fan *fan, const struct rpc_call *rpc)
{
    struct wire_object_seek_reply reply;
    int result = wire_decode_object_seek_reply(rpc->reply, rpc->reply_length, &reply);
    if (result < 0) {
        fan_fail(fan, result);
        return;
    }
    if (reply.offset < fan->place) {
        fan->place = reply.offset;
        fan->found = reply.found;
    }
    if (reply.end > fan->end)
        fan->end = reply.end;
}

static void add_answer(struct fan *fan, const struct rpc_call *rpc)
{
    struct wire_object_stat_reply reply;
    if (fan->operation == WIRE_OP_object_seek)
        add_seek(fan, rpc);
    if (fan->operation != WIRE_OP_object_stat)
        return;
    int result = wire_decode_object_stat_reply(rpc->reply, rpc->reply_length, &reply);
    if (result < 0) {
        fan_fail(fan, result);
        return;
    }
    if (reply.end > fan->end)
        fan->end = reply.end;
    if (reply.mtime_ns > fan->mtime_ns)
        fan->mtime_ns = reply.mtime_ns;
    fan->bytes += reply.bytes;
}

static void fan_answered(struct shard_call *call, int status)
{
    struct fan *fan = list_item(call, struct fan_call, call)->fan;
    if (status == SHARD_REDO)
        fan->redo = true;
    else if (status < 0)
        fan_fail(fan, status);
    else
        add_answer(fan, &call->rpc);
    if (--fan->pending == 0)
        fan_end(fan);
}

static int encode_body(struct fan *fan)
{
    const struct wire_capability *capability = &fan->capability;
    const uint64_t version = fan->table->map->version;
    const size_t room = sizeof fan->body;
    ssize_t length;
    if (fan->operation == WIRE_OP_sync)
        length = wire_encode_sync(fan->body, room,
                                  &(struct wire_sync){.capability = *capability, .map_version = version});
    else if (fan->operation == WIRE_OP_object_punch)
        length = wire_encode_object_punch(fan->body, room,
                                          &(struct wire_object_punch){.capability = *capability,
                                                                      .map_version = version,
                                                                      .offset = fan->offset,
                                                                      .length = fan->length});
    else if (fan->operation == WIRE_OP_object_seek)
        length = wire_encode_object_seek(
            fan->body, room,
            &(struct wire_object_seek){
                .capability = *capability, .map_version = version, .offset = fan->offset, .hole = fan->hole});
    else
        length = wire_encode_object_stat(
            fan->body, room, &(struct wire_object_stat){.capability = *capability, .map_version = version});
    if (length < 0)
        return (int)length;
    fan->body_length = (uint32_t)length;
    return 0;
}

/* One attempt. When it returns a negative errno, nothing is under way. */
static int fan_begin(struct fan *fan)
{
    weft_session_t *session = fan->session;
    fan->end = fan->bytes = 0;
    fan->mtime_ns = 0;
    fan->place = UINT64_MAX;
    fan->found = true;
    fan->redo = false;
    int result = session_table(session, &fan->layout, &fan->table);
    if (result < 0)
        return result;
    result = encode_body(fan);
    if (result < 0)
        goto unref_table;
    fan->calls = calloc(fan->table->leading_count, sizeof *fan->calls);
    if (!fan->calls) {
        result = err_set(-ENOMEM, "out of memory for %u requests", fan->table->leading_count);
        goto unref_table;
    }
    for (uint32_t shard = 0; shard < fan->table->leading_count; shard++) {
        struct fan_call *of = &fan->calls[shard];
        if (fan->operation == WIRE_OP_object_punch &&
            !planner_table_has(fan->table, shard, fan->offset, fan->length))
            continue;
        of->fan = fan;
        of->call.rpc.operation = fan->operation;
        of->call.rpc.body = fan->body;
        of->call.rpc.body_length = fan->body_length;
        of->call.begun_ns = fan->begun_ns;
        of->call.attempts = fan->attempts;
        of->call.done = fan_answered;
        result = shard_call_start(session, &of->call, fan->table, shard);
        if (result < 0)
            break;
        fan->pending++;
    }
    if (result == 0)
        return 0;
    if (fan->pending > 0) { /* those that were started end first */
        fan_fail(fan, result);
        return 0;
    }
    free(fan->calls);
    fan->calls = NULL;
unref_table:
    planner_table_unref(fan->table);
    fan->table = NULL;
    return result;
}

int fan_start(struct fan *fan)
{
    fan->begun_ns = rpc_now_ns();
    fan->status = 0;
    fan->attempts = 0;
    return fan_begin(fan);
}

/* ---- waited for -------------------------------------------------------------- */

static void fan_op_done(struct fan *fan, int status)
{
    struct fan_op *of = fan->arg;
    if (status == 0 && of->judge)
        status = of->judge(of);
    if (status < 0)
        op_fail(&of->op, of->file ? client_about(status, of->file->path) : status);
    op_complete(&of->op, 0);
}

int fan_op_start(struct fan_op *of, weft_session_t *session, uint16_t operation,
                 const struct wire_capability *capability, void (*release)(struct weft_op *op))
{
    op_init(&of->op, session, release);
    of->fan.session = session;
    of->fan.layout = capability_layout(capability);
    of->fan.capability = *capability;
    of->fan.operation = operation;
    of->fan.done = fan_op_done;
    of->fan.arg = of;
    session_lock(session);
    if (of->file)
        of->synced = of->file->synced;
    int result = fan_start(&of->fan);
    session_unlock(session);
    return result;
}
