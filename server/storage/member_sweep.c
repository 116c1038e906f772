/* SPDX-License-Identifier: Apache-2.0 */
#include "member_sweep.h"

#include <errno.h>
#include <inttypes.h>

#include "err.h"
#include "log.h"
#include "sweep.h"

static_assert(LIMITS_SWEEP_INODES_MAX * 8 + LIMITS_SERVER_NAME_MAX + 32 <= LIMITS_BODY_INLINE_MAX,
              "a full question fits the header");

static int take(struct sweep_question *question, const struct rpc_call *call)
{
    struct wire_inodes_gone_reply reply;
    int error = wire_decode_inodes_gone_reply(call->reply, call->reply_length, &reply);
    if (error)
        return error;
    struct wire_reader reader = wire_list_reader(&reply.gone);
    for (uint32_t i = 0; i < reply.gone.count; i++) {
        struct wire_number number;
        wire_get_number(&reader, &number);
        if (!reader.bad && number.value >= question->count)
            return err_set(-EBADMSG, "it names inode %" PRIu32 " of %" PRIu32, number.value, question->count);
        if (!reader.bad)
            question->is_gone[number.value] = true;
    }
    return wire_read_all(&reader, "list of inodes that are gone");
}

static void answer(struct member_sweep *sweep, int status)
{
    struct sweep_question *question = sweep->question;
    sweep->question = NULL;
    sweep_answer(&sweep->server->shards[sweep->shard], question, status);
}

static void answered(struct rpc_call *call)
{
    struct member_sweep *sweep = call->arg;
    int status = call->status;
    /* The rpc is being closed, and shards have ended. */
    if (status == -ECANCELED)
        return;
    if (!status) {
        status = take(sweep->question, call);
        if (status)
            log_error("the answer to which inodes are gone makes no sense: %s", err_text());
    }
    answer(sweep, status);
}

static void ask(struct member_sweep *sweep)
{
    const struct sweep_question *question = sweep->question;
    const struct conf *conf = sweep->server->conf;
    uint8_t list[8 * LIMITS_SWEEP_INODES_MAX];
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    for (uint32_t i = 0; i < question->count; i++)
        wire_put_inode_number(&writer, &(struct wire_inode_number){.ino = question->inos[i]});
    struct wire_inodes_gone request = {.name = sweep->server->storage->name,
                                       .inos = wire_list_of(&writer, question->count)};
    ssize_t length = wire_encode_inodes_gone(sweep->body, sizeof sweep->body, &request);
    sweep->call = (struct rpc_call){
        .operation = WIRE_OP_inodes_gone,
        .body = sweep->body,
        .body_length = length > 0 ? (uint32_t)length : 0,
        .deadline_ms = conf->lease_ms,
        .done = answered,
        .arg = sweep,
    };
    int error = length < 0 ? (int)length : rpc_call_start(sweep->connection, &sweep->call);
    if (error)
        answer(sweep, error);
}

void member_sweep_look(struct member_sweep *sweep)
{
    const struct server *server = sweep->server;
    for (uint32_t i = 1; i <= server->shard_count && !sweep->question; i++) {
        const uint32_t shard = (sweep->shard + i) % server->shard_count;
        sweep->question = sweep_asked(&server->shards[shard]);
        if (!sweep->question)
            continue;
        sweep->shard = shard;
        ask(sweep);
    }
}
