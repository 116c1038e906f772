/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"

/* A server that is down must not make the others' answers wait for the whole deadline. */
#define ASK_DEADLINE_MS_MAX 5000u

#define METADATA_NAME "metadata"

void client_counters_init(struct counter counters[CLIENT_COUNT_END])
{
#define CLIENT_COUNTER_NAME(which) counters[CLIENT_COUNT_##which].name = #which;
    CLIENT_COUNTERS(CLIENT_COUNTER_NAME)
#undef CLIENT_COUNTER_NAME
}

/* ---- this session's ------------------------------------------------------------- */

static void each_counter(weft_session_t *session, weft_counter_fn *each, void *arg)
{
    const struct counter *counters;
    size_t count = rpc_counters(session->rpc, &counters);
    for (size_t i = 0; i < CLIENT_COUNT_END; i++)
        each(arg, "client", session->counters[i].name, counter_get(&session->counters[i]));
    for (size_t i = 0; i < count; i++)
        each(arg, "client", counters[i].name, counter_get(&counters[i]));
}

int weft_counters(weft_session_t *session, weft_counter_fn *each, void *arg)
{
    int result = session_check(session);
    if (result == 0 && !each)
        result = err_set(-EINVAL, "there is nobody to tell the counters to (NULL)");
    if (result == 0)
        each_counter(session, each, arg);
    return (int)client_result(__func__, result);
}

struct line {
    size_t length;
    char text[8192];
};

static void line_add(struct line *line, const char *format, ...)
{
    va_list arguments;
    size_t room = sizeof line->text - line->length;
    va_start(arguments, format);
    int length = vsnprintf(line->text + line->length, room, format, arguments);
    va_end(arguments);
    if (length > 0 && (size_t)length < room)
        line->length += (size_t)length;
}

static void add_counter(void *arg, const char *server, const char *name, uint64_t value)
{
    (void)server;
    line_add(arg, " %s=%" PRIu64, name, value);
}

void client_counters_print(weft_session_t *session)
{
    struct line *line = calloc(1, sizeof *line);
    if (!line)
        return;
    line_add(line, "weft-counters pid=%ld", (long)getpid());
    each_counter(session, add_counter, line);
    line_add(line, "\n");
    /* One write, so that the lines of many processes do not mix. */
    ssize_t written = write(STDERR_FILENO, line->text, line->length);
    (void)written;
    free(line);
}

/* ---- the servers' ---------------------------------------------------------------- */

/* What one shard was asked. */
struct question {
    struct op_call call;
    int status; /* of starting it */
};

static uint32_t ask_deadline_ms(const weft_session_t *session)
{
    return session->conf->deadline_ms < ASK_DEADLINE_MS_MAX ? session->conf->deadline_ms
                                                            : ASK_DEADLINE_MS_MAX;
}

/* What a server's shards answered, added up by name. */
struct sums {
    struct counter *counters;
    size_t count, room;
    char (*names)[64];
};

static int sums_add(struct sums *sums, const char *name, uint64_t value)
{
    size_t i = 0;
    while (i < sums->count && strcmp(sums->names[i], name) != 0)
        i++;
    if (i == sums->count) {
        if (sums->count == sums->room) {
            size_t room = sums->room ? sums->room * 2 : 64;
            void *names = realloc(sums->names, room * sizeof *sums->names);
            if (names)
                sums->names = names;
            void *counters = realloc(sums->counters, room * sizeof *sums->counters);
            if (counters)
                sums->counters = counters;
            if (!names || !counters)
                return err_set(-ENOMEM, "out of memory for the counters of a server");
            sums->room = room;
        }
        snprintf(sums->names[i], sizeof sums->names[i], "%s", name);
        atomic_init(&sums->counters[i].value, 0);
        sums->count++;
    }
    counter_add(&sums->counters[i], value);
    return 0;
}

static int add_reply(struct sums *sums, const struct op_call *call)
{
    struct wire_counters_reply reply;
    int result = wire_decode_counters_reply(call->reply, call->reply_length, &reply);
    if (result < 0)
        return result;
    struct wire_reader reader = wire_list_reader(&reply.counters);
    for (uint32_t i = 0; i < reply.counters.count; i++) {
        struct wire_counter counter;
        wire_get_counter(&reader, &counter);
        if (reader.bad)
            break;
        result = sums_add(sums, counter.name, counter.value);
        if (result < 0)
            return result;
    }
    return wire_read_all(&reader, "counters_reply");
}

/* Waits for the shards of one server and tells what they say. */
static int tell_answers(struct question *questions, uint32_t shard_count, const char *server,
                        weft_counter_fn *each, void *arg)
{
    struct sums sums = {0};
    int result = 0;
    for (uint32_t shard = 0; shard < shard_count; shard++) {
        int status = questions[shard].status;
        if (status == 0)
            status = (int)op_wait(&questions[shard].call.op);
        if (status == 0)
            status = add_reply(&sums, &questions[shard].call);
        if (status < 0 && result == 0)
            result = status;
        op_call_free(&questions[shard].call);
    }
    for (size_t i = 0; i < sums.count; i++)
        each(arg, server, sums.names[i], counter_get(&sums.counters[i]));
    free(sums.names);
    free(sums.counters);
    return result;
}

static void ask_shard(weft_session_t *session, const struct map *map, uint32_t server, uint32_t shard,
                      struct question *question)
{
    struct shard_link *link;
    session_lock(session);
    question->status = shard_connect(session, map, server, shard, &link);
    if (question->status == 0)
        question->status = op_call_start(&question->call, session, link->connection, WIRE_OP_counters, NULL,
                                         0, ask_deadline_ms(session));
    session_unlock(session);
}

static int ask_servers(weft_session_t *session, const struct map *map, weft_counter_fn *each, void *arg)
{
    size_t total = 0, next = 0;
    int result = 0;
    for (uint32_t server = 0; server < map->server_count; server++)
        total += map->servers[server].shard_count;
    struct question *questions = calloc(total + 1, sizeof *questions);
    if (!questions)
        return err_set(-ENOMEM, "out of memory for %zu requests", total);
    for (uint32_t server = 0; server < map->server_count; server++) {
        for (uint32_t shard = 0; shard < map->servers[server].shard_count; shard++)
            ask_shard(session, map, server, shard, &questions[next++]);
    }
    next = 0;
    for (uint32_t server = 0; server < map->server_count; server++) {
        const struct map_server *of = &map->servers[server];
        int status = tell_answers(&questions[next], of->shard_count, of->name, each, arg);
        next += of->shard_count;
        if (status < 0 && result == 0)
            result = client_about(status, of->name);
    }
    free(questions);
    return result;
}

static int server_counters(weft_session_t *session, weft_counter_fn *each, void *arg)
{
    struct question metadata = {0};
    struct map *map;
    int result = session_check(session);
    if (result < 0)
        return result;
    if (!each)
        return err_set(-EINVAL, "there is nobody to tell the counters to (NULL)");
    metadata.status = op_call_metadata(&metadata.call, session, WIRE_OP_counters, NULL, 0);
    struct sums sums = {0};
    result = metadata.status;
    if (result == 0)
        result = add_reply(&sums, &metadata.call);
    op_call_free(&metadata.call);
    for (size_t i = 0; i < sums.count; i++)
        each(arg, METADATA_NAME, sums.names[i], counter_get(&sums.counters[i]));
    free(sums.names);
    free(sums.counters);

    session_lock(session);
    map = session->map ? map_ref(session->map) : NULL;
    session_unlock(session);
    if (!map)
        return result < 0 ? result : err_set(-EPROTO, "the metadata server sent no cluster map");
    int status = ask_servers(session, map, each, arg);
    map_unref(map);
    return result < 0 ? result : status;
}

int weft_server_counters(weft_session_t *session, weft_counter_fn *each, void *arg)
{
    return (int)client_result(__func__, server_counters(session, each, arg));
}

/* ---- which servers there are ------------------------------------------------------ */

static void tell_server(const struct map *map, uint32_t server, weft_server_fn *each, void *arg)
{
    const struct map_server *of = &map->servers[server];
    struct weft_server told = {
        .name = of->name,
        .address = of->shard_count ? of->addresses[0] : "",
        .is_up = of->state == MAP_STATE_UP,
        .shards = of->shard_count,
        .bytes_total = of->bytes_total,
        .bytes_free = of->bytes_free,
        .host = "",
        .chassis = "",
        .rack = "",
    };
    const struct map_host *host = map_host(map, of->host);
    if (host) {
        told.host = host->name;
        told.chassis = host->chassis;
        told.rack = host->rack;
    }
    for (uint32_t target = 0; target < map->target_count; target++)
        told.targets += map->targets[target].server == server;
    each(arg, &told);
}

static int servers(weft_session_t *session, weft_server_fn *each, void *arg)
{
    int result = session_check(session);
    if (result < 0)
        return result;
    if (!each)
        return err_set(-EINVAL, "there is nobody to tell the servers to (NULL)");
    result = session_map_refresh(session);
    struct weft_server metadata = {
        .name = METADATA_NAME,
        .address = session->conf->metadata_listen,
        .is_metadata = true,
        .is_up = result == 0,
        .shards = 1,
        .host = "",
        .chassis = "",
        .rack = "",
    };
    each(arg, &metadata);
    session_lock(session);
    struct map *map = session->map ? map_ref(session->map) : NULL;
    session_unlock(session);
    for (uint32_t server = 0; map && server < map->server_count; server++)
        tell_server(map, server, each, arg);
    map_unref(map);
    return result;
}

int weft_servers(weft_session_t *session, weft_server_fn *each, void *arg)
{
    return (int)client_result(__func__, servers(session, each, arg));
}
