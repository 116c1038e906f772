/* SPDX-License-Identifier: Apache-2.0 */
#include "agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "capability.h"
#include "err.h"
#include "wire.h"

/* A call with its request. */
struct question {
    struct agent_call call; /* first */
    struct agent *agent;
    struct agent_work *work;
    uint8_t body[256];
};

void agent_init(struct agent *agent, const struct conf *conf, const struct agent_net *net,
                const struct map *(*map)(void *arg), void *arg)
{
    *agent = (struct agent){.conf = conf, .net = *net, .map = map, .arg = arg};
    agent->counters[AGENT_WORKS].name = "agent_works";
    agent->counters[AGENT_CALLS].name = "agent_calls";
    agent->counters[AGENT_FAILURES].name = "agent_failures";
    list_init(&agent->finished);
}

/* ---- ending ------------------------------------------------------------- */

/* The first failure is the one that is told. */
static void fail(struct agent_work *work, int status)
{
    if (work->status)
        return;
    work->status = status;
    snprintf(work->text, sizeof work->text, "%s", err_text());
}

static void begin(struct agent *agent, struct agent_work *work);

static void part_ended(struct agent *agent, struct agent_work *work)
{
    if (--work->waiting)
        return;
    if (work->status)
        counter_add(&agent->counters[AGENT_FAILURES], 1);
    list_push_back(&agent->finished, &work->link);
}

static void begin_next(struct agent *agent, struct opens_file *file)
{
    struct list_link *next = list_pop(&file->works);
    file->working = next != NULL;
    if (next)
        begin(agent, list_item(next, struct agent_work, link));
}

bool agent_run(struct agent *agent)
{
    struct list_link *link = list_pop(&agent->finished);
    if (!link)
        return false;
    for (; link; link = list_pop(&agent->finished)) {
        struct agent_work *work = list_item(link, struct agent_work, link);
        if (work->file)
            begin_next(agent, work->file);
        work->done(work);
    }
    return true;
}

/* ---- asking ------------------------------------------------------------- */

static void take_answer(struct agent_work *work, const void *reply, size_t length)
{
    struct wire_object_stat_reply answer;
    if (work->kind != AGENT_STAT)
        return;
    int error = wire_decode_object_stat_reply(reply, length, &answer);
    if (error) {
        fail(work, error);
        return;
    }
    if (answer.end > work->end)
        work->end = answer.end;
    if (answer.mtime_ns > work->mtime_ns)
        work->mtime_ns = answer.mtime_ns;
    work->bytes += answer.bytes;
}

static void answered(struct agent_call *call, int status, const void *reply, size_t reply_length)
{
    struct question *question = (struct question *)call;
    struct agent_work *work = question->work;
    struct agent *agent = question->agent;
    if (status < 0)
        fail(work, status);
    else
        take_answer(work, reply, reply_length);
    free(question);
    part_ended(agent, work);
}

static ssize_t encode(const struct agent *agent, const struct agent_work *work, struct question *question)
{
    struct wire_capability capability = {
        .ino = work->ino,
        .layout = {.chunk_size = work->layout.chunk_size,
                   .seed = work->layout.seed,
                   .stripe_count = work->layout.stripe_count,
                   .group_count = work->layout.group_count},
        .access = work->kind == AGENT_STAT ? 0 : WIRE_ACCESS_WRITE,
    };
    capability_sign(agent->conf->key, &capability);
    switch (work->kind) {
    case AGENT_STAT:
        question->call.operation = WIRE_OP_object_stat;
        return wire_encode_object_stat(
            question->body, sizeof question->body,
            &(struct wire_object_stat){.capability = capability,
                                       .map_version = agent->map(agent->arg)->version});
    case AGENT_TRUNCATE:
        question->call.operation = WIRE_OP_object_truncate;
        return wire_encode_object_truncate(question->body, sizeof question->body,
                                           &(struct wire_object_truncate){.capability = capability,
                                                                          .size = work->size,
                                                                          .grow_only = work->grow_only});
    default:
        question->call.operation = WIRE_OP_object_remove;
        return wire_encode_object_remove(question->body, sizeof question->body,
                                         &(struct wire_object_remove){.capability = capability});
    }
}

static int ask(struct agent *agent, struct agent_work *work, const struct map_server *server, uint32_t shard)
{
    struct question *question = calloc(1, sizeof *question);
    if (!question)
        return err_set(-ENOMEM, "no memory for a request to storage server %s", server->name);
    question->agent = agent;
    question->work = work;
    ssize_t length = encode(agent, work, question);
    if (length < 0) {
        free(question);
        return (int)length;
    }
    question->call.server = server;
    question->call.shard = shard;
    question->call.body = question->body;
    question->call.body_length = (uint32_t)length;
    question->call.deadline_ms = work->deadline_ms;
    question->call.done = answered;
    work->waiting++;
    counter_add(&agent->counters[AGENT_CALLS], 1);
    int error = agent->net.call(agent->net.arg, &question->call);
    if (error) {
        work->waiting--;
        free(question);
    }
    return error;
}

/* Sets wanted[i] for each server that holds a target of the stripe. */
static int find_servers(const struct agent_work *work, const struct map *map, uint8_t *wanted)
{
    if (work->layout.group_count > map->group_count)
        return err_set(-EUCLEAN, "inode %llu has a layout over %u groups, and there are only %u",
                       (unsigned long long)work->ino, work->layout.group_count, map->group_count);
    for (uint32_t s = 0; s < work->layout.stripe_count; s++) {
        const struct map_group *group = &map->groups[layout_group_of(&work->layout, s)];
        for (uint32_t m = 0; m < group->member_count; m++)
            wanted[map->targets[group->members[m]].server] = 1;
    }
    return 0;
}

/* A file is not to be cut in one place when it can't be in another, so this
 * comes before anything is asked. A removal does what it can, and is repeated. */
static int check_servers(struct agent_work *work, const struct map *map, uint8_t *wanted)
{
    for (uint32_t i = 0; i < map->server_count; i++) {
        if (!wanted[i] || map->servers[i].state == MAP_STATE_UP)
            continue;
        int error = err_set(-EHOSTDOWN, "storage server %s, which holds a part of the file, is down",
                            map->servers[i].name);
        if (work->kind != AGENT_REMOVE)
            return error;
        fail(work, error);
        wanted[i] = 0;
    }
    return 0;
}

static int ask_all(struct agent *agent, struct agent_work *work, const struct map *map)
{
    uint8_t *wanted = calloc(map->server_count + 1u, 1);
    if (!wanted)
        return err_set(-ENOMEM, "no memory to ask the storage servers");
    int error = find_servers(work, map, wanted);
    if (!error)
        error = check_servers(work, map, wanted);
    for (uint32_t i = 0; i < map->server_count && !error; i++) {
        const struct map_server *server = &map->servers[i];
        for (uint32_t shard = 0; wanted[i] && shard < server->shard_count && !error; shard++)
            error = ask(agent, work, server, shard);
    }
    free(wanted);
    return error;
}

static void begin(struct agent *agent, struct agent_work *work)
{
    work->status = 0;
    work->end = work->bytes = 0;
    work->mtime_ns = 0;
    work->waiting = 1; /* until all have been asked */
    counter_add(&agent->counters[AGENT_WORKS], 1);
    int error = ask_all(agent, work, agent->map(agent->arg));
    if (error)
        fail(work, error);
    part_ended(agent, work);
}

void agent_start(struct agent *agent, struct agent_work *work)
{
    list_link_init(&work->link);
    if (work->file && work->file->working) {
        list_push_back(&work->file->works, &work->link);
        return;
    }
    if (work->file)
        work->file->working = true;
    begin(agent, work);
}
