/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attr_cache.h"
#include "err.h"
#include "held.h"
#include "hostname.h"
#include "record.h"

/* How often it is looked whether closed handles wait for a request that takes them along. */
enum { CLOSES_LOOK_MS = 500 };

/* ---- errors and paths ------------------------------------------------------ */

/* The thread's latest failing call. Not err.h's text: callbacks of other threads'
 * operations may run in this one and record errors that are not its own. */
static _Thread_local char latest_error[LIMITS_ERROR_TEXT_MAX + 1];

const char *weft_version(void)
{
    return WEFT_VERSION;
}

const char *weft_error(void)
{
    return latest_error;
}

ssize_t client_result(const char *name, ssize_t result)
{
    if (result >= 0)
        return result;
    const char *text = err_text();
    snprintf(latest_error, sizeof latest_error, "%s: %s", name, text[0] ? text : err_name((int)result));
    return result;
}

bool weft_path_match(const char *path)
{
    return path && strncmp(path, WEFT_PATH_PREFIX, strlen(WEFT_PATH_PREFIX)) == 0;
}

int client_path(const char *path, const char **clean)
{
    if (!path)
        return err_set(-EINVAL, "the path is NULL");
    const char *inside = weft_path_match(path) ? path + strlen(WEFT_PATH_PREFIX) : path;
    if (inside[0] != '/')
        return err_set(-EINVAL, "%.400s: a path inside the cluster begins with / (%s/%.16s...)", path,
                       WEFT_PATH_PREFIX, inside);
    if (strlen(inside) > WEFT_PATH_BYTES_MAX)
        return err_set(-ENAMETOOLONG, "%.64s...: a path has at most %u bytes", path, WEFT_PATH_BYTES_MAX);
    *clean = inside;
    return 0;
}

int client_about(int error, const char *path)
{
    char shown[256];
    const char *text = err_text();
    if (error >= 0 || strstr(text, path))
        return error;
    if (text[0] == '\0')
        text = err_name(error);
    snprintf(shown, sizeof shown, "%.*s%s", (int)sizeof shown - 4, path,
             strlen(path) > sizeof shown - 4 ? "..." : "");
    return err_set(error, "%s: %s", shown, text);
}

/* ---- the lock -------------------------------------------------------------- */

int session_check(weft_session_t *session)
{
    if (!session)
        return err_set(-EINVAL, "the session is NULL");
    if (!*(volatile uint8_t *)session->process_mark)
        return err_set(-EINVAL,
                       "the session belongs to the parent process; a child has to call weft_connect()");
    return 0;
}

void session_lock(weft_session_t *session)
{
    if (pthread_mutex_trylock(&session->lock) == 0)
        return;
    atomic_fetch_add(&session->contenders, 1);
    pthread_mutex_lock(&session->lock);
    atomic_fetch_sub(&session->contenders, 1);
}

void session_unlock(weft_session_t *session)
{
    if (session->asleep)
        rpc_wake(session->rpc);
    pthread_mutex_unlock(&session->lock);
}

/* ---- the map --------------------------------------------------------------- */

static int map_take(weft_session_t *session, struct map *map)
{
    if (session->map && memcmp(session->map->cluster, map->cluster, sizeof map->cluster) != 0) {
        map_unref(map);
        return err_set(-EXDEV,
                       "the metadata server at %s is of another cluster than this session; connect anew",
                       session->conf->metadata_listen);
    }
    if (session->map && session->map->version >= map->version) {
        map_unref(map);
        return 0;
    }
    map_unref(session->map);
    session->map = map;
    session->map_changed = true;
    session_count(session, CLIENT_COUNT_maps_adopted, 1);
    return 0;
}

int session_map_adopt(weft_session_t *session, const void *data, size_t length)
{
    struct map *map;
    int result = map_decode(data, length, &map);
    return result < 0 ? result : map_take(session, map);
}

static void greeted(void *arg, struct rpc_connection *connection, const void *data, size_t length)
{
    weft_session_t *session = arg;
    if (connection != session->metadata || length == 0)
        return;
    if (session_map_adopt(session, data, length) < 0)
        log_warn("%s", err_text());
}

static void opened(void *arg, struct rpc_connection *connection)
{
    weft_session_t *session = arg;
    if (connection == session->metadata)
        reopen_all(session);
}

/* The answer to map_get, whoever asked. */
static int map_adopt_reply(weft_session_t *session, const void *reply, size_t length)
{
    struct wire_map_get_reply wire;
    int result = wire_decode_map_get_reply(reply, length, &wire);
    return result < 0 ? result : session_map_adopt(session, wire.map.data, wire.map.length);
}

static void map_answered(struct rpc_call *call)
{
    weft_session_t *session = call->arg;
    session->map_asked = false;
    if (call->status == 0 && map_adopt_reply(session, call->reply, call->reply_length) < 0)
        log_warn("%s", err_text());
    shard_map_answered(session);
}

void session_map_ask(weft_session_t *session)
{
    struct rpc_connection *connection;
    if (session->map_asked || session_metadata(session, &connection) < 0)
        return;
    session->map_call = (struct rpc_call){
        .operation = WIRE_OP_map_get,
        /* Whoever waits for it must have time left to use it. */
        .deadline_ms = session->conf->deadline_ms / 2 + 1,
        .done = map_answered,
        .arg = session,
    };
    if (rpc_call_start(connection, &session->map_call) < 0)
        return;
    session->map_asked = true;
    session_count(session, CLIENT_COUNT_metadata_requests, 1);
}

static int map_refresh(weft_session_t *session, uint32_t deadline_ms)
{
    struct op_call call;
    int result = op_call_metadata_within(&call, session, WIRE_OP_map_get, NULL, 0, deadline_ms);
    if (result == 0) {
        session_lock(session);
        result = map_adopt_reply(session, call.reply, call.reply_length);
        session_unlock(session);
    }
    op_call_free(&call);
    return result;
}

int session_map_refresh(weft_session_t *session)
{
    return map_refresh(session, 0);
}

int session_table(weft_session_t *session, const struct layout *layout, struct planner_table **table)
{
    struct planner_table *newer;
    if (!session->map)
        return err_set(-EPROTO, "the metadata server at %s sent no cluster map",
                       session->conf->metadata_listen);
    if (*table && (*table)->map == session->map)
        return 0;
    struct planner_reader reader = {.host = session->host};
    reader.number = layout_hash((uint64_t)getpid());
    int result = planner_table_new(session->map, layout, &reader, &newer);
    if (result < 0)
        return result;
    planner_table_unref(*table);
    *table = newer;
    return 0;
}

int session_map(weft_session_t *session, struct map **map)
{
    return session_map_within(session, map, 0);
}

int session_map_within(weft_session_t *session, struct map **map, uint32_t deadline_ms)
{
    session_lock(session);
    bool known = session->map != NULL;
    session_unlock(session);
    if (!known) {
        int result = map_refresh(session, deadline_ms);
        if (result < 0)
            return result;
    }
    session_lock(session);
    *map = map_ref(session->map);
    session_unlock(session);
    return 0;
}

void session_settle(weft_session_t *session)
{
    while (session->map_changed) {
        session->map_changed = false;
        shard_links_sweep(session);
    }
}

/* ---- what a session has ---------------------------------------------------- */

int session_metadata(weft_session_t *session, struct rpc_connection **connection)
{
    if (!session->metadata) {
        char name[LIMITS_ADDRESS_MAX + 32];
        int result = rpc_connect(session->rpc, session->conf->metadata_listen, &session->metadata);
        if (result < 0)
            return result;
        snprintf(name, sizeof name, "metadata server at %s", session->conf->metadata_listen);
        rpc_connection_name(session->metadata, name);
    }
    *connection = session->metadata;
    return 0;
}

int session_buffers(weft_session_t *session, struct bufpool **buffers)
{
    if (!session->buffers) {
        int result =
            bufpool_open(session->rpc, session->conf->memory_bytes, LIMITS_IO_BYTES_MAX, &session->buffers);
        if (result < 0)
            return result;
    }
    *buffers = session->buffers;
    return 0;
}

/* A page that the kernel empties in a child process: tells one from its parent without a
 * system call. */
static int mark_process(weft_session_t *session)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *mark = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mark == MAP_FAILED)
        return err_sys("mapping a page for a session");
    if (madvise(mark, page, MADV_WIPEONFORK) < 0) {
        int result = err_sys("marking a page as this process's own (Linux 4.14 or newer is needed)");
        munmap(mark, page);
        return result;
    }
    *(uint8_t *)mark = 1;
    session->process_mark = mark;
    return 0;
}

static int open_rpc(weft_session_t *session)
{
    hostname_get(session->host);
    snprintf(session->name, sizeof session->name, "%.40s[%ld]", program_invocation_short_name,
             (long)getpid());
    struct rpc_config config = {
        .conf = session->conf,
        .name = session->name,
        .role = WIRE_ROLE_CLIENT,
        .arg = session,
        .greeting = greeted,
        .opened = opened,
    };
    int result = rpc_open(&config, &session->rpc);
    if (result < 0)
        return result;
    uint32_t look_ms = session->conf->deadline_ms / 8;
    result = rpc_every(session->rpc,
                       look_ms < 20     ? 20
                       : look_ms > 1000 ? 1000
                                        : look_ms,
                       shard_calls_look, session);
    if (result == 0)
        result = rpc_every(session->rpc, CLOSES_LOOK_MS, closes_look, session);
    if (result < 0)
        rpc_close(session->rpc);
    return result;
}

static int session_new(const char *conf_path, weft_session_t **out)
{
    if (!out)
        return err_set(-EINVAL, "there is no place for the session (NULL)");
    weft_session_t *session = calloc(1, sizeof *session);
    if (!session)
        return err_set(-ENOMEM, "out of memory for a session");
    list_init(&session->shard_calls);
    list_init(&session->map_waiters);
    list_init(&session->locks_in_line);
    list_init(&session->followers);
    list_init(&session->small_files);
    list_init(&session->files);
    list_init(&session->closes.rides);
    for (unsigned i = 0; i < SESSION_LINK_BUCKETS; i++)
        list_init(&session->links[i]);
    client_counters_init(session->counters);
    const char *wanted = getenv("WEFT_COUNTERS");
    session->counters_wanted = wanted && strcmp(wanted, "") != 0 && strcmp(wanted, "0") != 0;
    pthread_mutex_init(&session->lock, NULL);

    int result = conf_load(conf_path, &session->conf);
    if (result < 0)
        goto free_session;
    result = mark_process(session);
    if (result < 0)
        goto free_conf;
    result = open_rpc(session);
    if (result < 0)
        goto unmap_mark;
    *out = session;
    return 0;

unmap_mark:
    munmap(session->process_mark, (size_t)sysconf(_SC_PAGESIZE));
free_conf:
    conf_free(session->conf);
free_session:
    pthread_mutex_destroy(&session->lock);
    free(session);
    return result;
}

int weft_connect(const char *conf_path, weft_session_t **session)
{
    return (int)client_result(__func__, session_new(conf_path, session));
}

int weft_keep_attributes(weft_session_t *session, void (*begins)(void))
{
    return (int)client_result(__func__, attr_cache_open(session, begins));
}

void weft_disconnect(weft_session_t *session)
{
    /* In a child process nothing may be touched: the sockets are the parent's. */
    if (!session || session_check(session) < 0)
        return;
    held_end(session);
    closes_end(session);
    attr_cache_close(session);
    if (session->counters_wanted)
        client_counters_print(session);
    session->closing = true;
    shard_links_free(session);
    if (session->metadata)
        rpc_disconnect(session->metadata);
    if (session->buffers)
        bufpool_close(session->buffers);
    rpc_close(session->rpc);
    attr_cache_free(session);
    record_holdings_free(session);
    map_unref(session->map);
    conf_free(session->conf);
    munmap(session->process_mark, (size_t)sysconf(_SC_PAGESIZE));
    pthread_mutex_destroy(&session->lock);
    free(session);
}
