/* SPDX-License-Identifier: Apache-2.0 */
#include "attr_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capability.h"
#include "err.h"
#include "held.h"

/* ---- an open file ------------------------------------------------------------- */

int file_check(const weft_file_t *file)
{
    if (!file)
        return err_set(-EINVAL, "the file is NULL");
    int result = held_settle((weft_file_t *)file);
    if (result < 0)
        return result;
    if (!atomic_load_explicit(&file->lost, memory_order_relaxed))
        return session_check(file->session);
    return err_set(-ESTALE,
                   "%.300s: the metadata server was not heard from for longer than the lease, and has closed "
                   "the file, which it does not have any more; what was written to it is lost",
                   file->path);
}

int file_allows(const weft_file_t *file, uint32_t access)
{
    if (file->access & access)
        return 0;
    return err_set(-EBADF, "%.400s is not open for %s", file->path,
                   access == WIRE_ACCESS_WRITE ? "writing" : "reading");
}

int file_table(weft_file_t *file, struct planner_table **table)
{
    int result = session_table(file->session, &file->layout, &file->table);
    *table = file->table;
    return result;
}

static void file_free(weft_file_t *file)
{
    if (!file)
        return;
    planner_table_unref(file->table);
    file_small_end(file);
    file_ahead_end(file);
    free(file->path);
    free(file->hints);
    free(file);
}

weft_file_t *file_make(weft_session_t *session, const char *path, const struct wire_capability *capability,
                       const char *pool, const char *hints)
{
    weft_file_t *file = calloc(1, sizeof *file);
    if (file) {
        file_small_init(file);
        list_link_init(&file->link);
        file->path = strdup(path);
        file->hints = strdup(hints);
    }
    if (!file || !file->path || !file->hints) {
        file_free(file);
        err_set(-ENOMEM, "out of memory for an open file");
        return NULL;
    }
    file->session = session;
    file->capability = *capability;
    file->layout = capability_layout(capability);
    snprintf(file->pool, sizeof file->pool, "%s", pool);
    return file;
}

/* ---- open and close -------------------------------------------------------------- */

static int flags_to_wire(int flags, uint32_t *wire)
{
    static const struct {
        int flag;
        uint32_t wire;
    } known[] = {
        {O_CREAT, WIRE_OPEN_CREATE},
        {O_EXCL, WIRE_OPEN_EXCLUSIVE},
        {O_TRUNC, WIRE_OPEN_TRUNCATE},
        {O_NOFOLLOW, WIRE_OPEN_NOFOLLOW},
        {O_CLOEXEC, 0}, /* handles never outlive exec() */
    };
    static const uint32_t access[] = {
        [O_RDONLY] = WIRE_OPEN_READ,
        [O_WRONLY] = WIRE_OPEN_WRITE,
        [O_RDWR] = WIRE_OPEN_READ | WIRE_OPEN_WRITE,
    };
    int rest = flags & ~O_ACCMODE;
    if ((flags & O_ACCMODE) == O_ACCMODE)
        return err_set(-EINVAL, "the access mode is none of O_RDONLY, O_WRONLY and O_RDWR");
    *wire = access[flags & O_ACCMODE];
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (rest & known[i].flag)
            *wire |= known[i].wire;
        rest &= ~known[i].flag;
    }
#ifdef O_LARGEFILE
    rest &= ~O_LARGEFILE;
#endif
    if (rest)
        return err_set(-EINVAL, "the flags 0%o are not known; O_CREAT, O_EXCL, O_TRUNC and O_NOFOLLOW are",
                       rest);
    return 0;
}

/* As it was when the metadata server was asked. */
struct opening {
    uint64_t sent_ns;
    uint64_t small_writes;
    uint64_t round;            /* session->reopen's */
    struct attr_change change; /* if it may be one */
    struct attr_ticket ticket;
};

static struct opening opening_begin(weft_session_t *session, struct wire_open *open)
{
    struct opening opening = {.sent_ns = rpc_now_ns()};
    if (session_check(session) < 0)
        return opening;
    if (open->flags & (WIRE_OPEN_WRITE | WIRE_OPEN_CREATE | WIRE_OPEN_TRUNCATE))
        attr_change_begin(session, &opening.change, open->path, NULL, 0);
    if (attr_cache_ask(session, open->path, &opening.ticket))
        open->flags |= WIRE_OPEN_DELEGATE;
    if ((open->flags & WIRE_OPEN_CREATE) && (open->flags & WIRE_OPEN_SMALL) && session->held)
        open->flags |= WIRE_OPEN_HOLD;
    session_lock(session);
    opening.small_writes = session->small_writes;
    opening.round = session->reopen.round;
    session_unlock(session);
    return opening;
}

/* Makes the file of what the metadata server answered. */
static int file_of_reply(weft_session_t *session, const char *path, const struct op_call *call,
                         uint32_t wire_flags, const struct opening *opening, weft_file_t **out)
{
    struct wire_open_reply reply;
    struct weft_attr attr;
    int result = wire_decode_open_reply(call->reply, call->reply_length, &reply);
    if (result < 0)
        return result;
    if (reply.delegation.generation) {
        attr_from_wire(&reply.attr, &attr);
        attr_cache_learn(session, &opening->ticket, path, &opening->change, &reply.delegation, &attr);
    }
    held_learn(session, &opening->ticket, &opening->change, path, &reply);
    weft_file_t *file = file_make(session, path, &reply.capability, reply.attr.pool, reply.hints);
    if (!file)
        return -ENOMEM;
    file->handle = reply.handle;
    file->synced = reply.map_version;
    file->access = wire_flags & (WIRE_OPEN_READ | WIRE_OPEN_WRITE);
    /* Truncating counts: the size that the metadata server remembers is no longer the true one. */
    file->wrote = (wire_flags & WIRE_OPEN_TRUNCATE) != 0;
    told_begin(file, &reply.attr);

    session_lock(session);
    reopen_begin(file, opening->round);
    file_small_begin(file, reply.small_max);
    file_small_learn(file, &reply.small, opening->sent_ns, opening->small_writes);
    bool newer = !session->map || session->map->version < reply.map_version;
    session_unlock(session);
    if (newer && session_map_refresh(session) < 0) {
        /* Not this call's failure: storage servers tell of newer maps too. */
        log_debug("%s", err_text());
    }
    *out = file;
    return 0;
}

static_assert((int)WIRE_OPEN_READ == (int)WIRE_ACCESS_READ && (int)WIRE_OPEN_WRITE == (int)WIRE_ACCESS_WRITE,
              "an open's flags are an access");

static int file_open(weft_session_t *session, const char *path, int flags, mode_t mode,
                     const struct weft_layout *layout, weft_file_t **out)
{
    struct wire_open open = {.mode = mode & 07777};
    uint8_t body[WEFT_PATH_BYTES_MAX + 256 + CLOSES_BYTES_MAX];
    struct op_call call;
    struct closes_ride ride;
    struct attr_layout wanted;

    if (!out)
        return err_set(-EINVAL, "there is no place for the file (NULL)");
    int result = client_path(path, &open.path);
    if (result == 0)
        result = flags_to_wire(flags, &open.flags);
    if (result == 0)
        result = attr_layout_to_wire(layout, &wanted);
    if (result < 0)
        return result;
    if (!(open.flags & WIRE_OPEN_CREATE) && attr_cache_absent(session, open.path))
        return err_set(-ENOENT, "%s: no such file or directory", open.path);
    open.layout = wanted.layout;
    open.pool = wanted.pool;
    open.placement = wanted.placement;
    /* Who wants a layout wants it from the start. */
    if (!layout)
        open.flags |= WIRE_OPEN_SMALL;
    if ((open.flags & WIRE_OPEN_CREATE) && layout) {
        held_leave(session, open.path);
    } else if (open.flags & WIRE_OPEN_CREATE) {
        result = held_create(session, &open, out);
        if (result)
            return result < 0 ? client_about(result, open.path) : 0;
    }
    struct opening opening = opening_begin(session, &open);
    closes_board(session, &ride);
    /* Without a session the call is about to be refused. */
    open.host = wanted.placement == WIRE_PLACEMENT_HOST || !session ? wanted.host : session->host;
    open.closes = ride.list;
    result =
        closes_call(&call, session, &ride, WIRE_OP_open, body, wire_encode_open(body, sizeof body, &open));
    if (result == 0)
        result = file_of_reply(session, open.path, &call, open.flags, &opening, out);
    attr_change_end(session, &opening.change);
    op_call_free(&call);
    return client_about(result, open.path);
}

int weft_file_open(weft_session_t *session, const char *path, int flags, mode_t mode,
                   const struct weft_layout *layout, weft_file_t **file)
{
    return (int)client_result(__func__, file_open(session, path, flags, mode, layout, file));
}

static int file_close(weft_file_t *file)
{
    if (!file)
        return file_check(file);
    int result = session_check(file->session);
    if (result < 0)
        return result; /* in a child process, where nothing may be touched */
    const bool is_closed = held_close(file);
    if (!file->imported && !is_closed && file->handle) {
        result = client_about(closes_give(file), file->path);
        if (result == 0)
            result = file_check(file);
    } else if (!is_closed && atomic_load_explicit(&file->lost, memory_order_relaxed)) {
        result = file_check(file);
    }
    session_lock(file->session); /* its table's map may be the session's */
    weft_session_t *session = file->session;
    file_free(file);
    session_unlock(session);
    return result;
}

int weft_file_close(weft_file_t *file)
{
    return (int)client_result(__func__, file_close(file));
}

/* ---- a handle as bytes ------------------------------------------------------------- */

/* Keyed with the cluster key, and never to be taken for one of its other signatures. */
static void blob_mac(const weft_session_t *session, const void *blob, size_t length,
                     uint8_t mac[WIRE_MAC_BYTES])
{
    static const uint8_t purpose[] = "weft handle";
    crypto_generichash_state state;
    crypto_generichash_init(&state, session->conf->key, sizeof session->conf->key, WIRE_MAC_BYTES);
    crypto_generichash_update(&state, purpose, sizeof purpose);
    crypto_generichash_update(&state, blob, length);
    crypto_generichash_final(&state, mac, WIRE_MAC_BYTES);
}

/* The blob without its size's being known to the caller; to be freed. */
static ssize_t blob_make(weft_file_t *file, const struct map *map, uint8_t **out)
{
    session_lock(file->session);
    uint64_t synced = file->synced;
    session_unlock(file->session);
    struct wire_handle_blob wire = {
        .version = LIMITS_PROTOCOL_VERSION,
        .handle = file->handle,
        .access = file->access,
        .synced = synced,
        .path = file->path,
        .pool = file->pool,
        .hints = file->hints,
        .capability = file->capability,
        .small_max = file->small.state == SMALL_IS ? file->small.max : 0,
    };
    memcpy(wire.cluster.bytes, map->cluster, sizeof map->cluster);
    size_t map_size = map_encoded_size(map);
    size_t room = map_size + strlen(file->path) + strlen(file->hints) + sizeof file->pool + 256;
    uint8_t *encoded = malloc(map_size), *blob = malloc(room);
    ssize_t length = -ENOMEM;
    if (!encoded || !blob) {
        err_set(-ENOMEM, "out of memory for an exported handle");
        goto free_all;
    }
    length = map_encode(map, encoded, map_size);
    if (length < 0)
        goto free_all;
    wire.map = (struct wire_bytes){.data = encoded, .length = (uint32_t)length};
    length = wire_encode_handle_blob(blob, room, &wire);
    if (length < 0)
        goto free_all;
    blob_mac(file->session, blob, (size_t)length - WIRE_MAC_BYTES, blob + length - WIRE_MAC_BYTES);
    *out = blob;
    blob = NULL;

free_all:
    free(encoded);
    free(blob);
    return length;
}

static ssize_t file_export(weft_file_t *file, void *blob, size_t size)
{
    struct map *map;
    uint8_t *made = NULL;
    ssize_t result = file_check(file);
    if (result < 0)
        return result;
    if (size > 0 && !blob)
        return err_set(-EINVAL, "there is no place for the blob (NULL)");
    /* Whoever imports it has no handle of his own, by which the metadata server would know of his writing. */
    result = file->access & WIRE_ACCESS_WRITE ? file_small_spill(file) : 0;
    if (result < 0)
        return client_about((int)result, file->path);
    result = session_map(file->session, &map);
    if (result < 0)
        return client_about((int)result, file->path);
    result = blob_make(file, map, &made);
    map_unref(map);
    if (result < 0)
        return client_about((int)result, file->path);
    if ((size_t)result <= size) {
        memcpy(blob, made, (size_t)result);
        session_lock(file->session);
        file->exported = true;
        told_lose(file);
        if (file->access & WIRE_ACCESS_WRITE)
            file->wrote = true; /* by whoever imports it */
        session_unlock(file->session);
    }
    free(made);
    return result;
}

ssize_t weft_file_export(weft_file_t *file, void *blob, size_t size)
{
    return client_result(__func__, file_export(file, blob, size));
}

static int blob_check(const weft_session_t *session, const uint8_t *blob, size_t length,
                      struct wire_handle_blob *wire)
{
    uint8_t mac[WIRE_MAC_BYTES];
    struct wire_reader version = wire_reader_on(blob, length);
    struct wire_number number;
    wire_get_number(&version, &number);
    if (length < WIRE_MAC_BYTES || version.bad)
        return err_set(-EBADMSG, "an exported handle of %zu bytes is cut short", length);
    if (number.value != LIMITS_PROTOCOL_VERSION)
        return err_set(-EBADMSG,
                       "an exported handle is of protocol version %" PRIu32 ", this library of %u; all "
                       "processes of a job need the same version of Weft",
                       number.value, LIMITS_PROTOCOL_VERSION);
    blob_mac(session, blob, length - WIRE_MAC_BYTES, mac);
    if (sodium_memcmp(mac, blob + length - WIRE_MAC_BYTES, WIRE_MAC_BYTES) != 0)
        return err_set(-EBADMSG,
                       "an exported handle was altered, or is of a cluster with another key than that of %s",
                       session->conf->file);
    return wire_decode_handle_blob(blob, length, wire);
}

/* Who exported the handle has met the metadata server, so it is waited for, though nobody may listen now. */
static void expect_metadata(weft_session_t *session)
{
    struct rpc_connection *connection;
    if (session_metadata(session, &connection) == 0)
        rpc_connection_expect(connection, true);
}

static int file_import(weft_session_t *session, const void *blob, size_t length, weft_file_t **out)
{
    struct wire_handle_blob wire;
    int result = session_check(session);
    if (result < 0)
        return result;
    if (!blob || !out)
        return err_set(-EINVAL, "there is no blob, or no place for the file (NULL)");
    result = blob_check(session, blob, length, &wire);
    if (result < 0)
        return result;

    session_lock(session);
    result = session_map_adopt(session, wire.map.data, wire.map.length);
    session_unlock(session);
    if (result == -EXDEV)
        return err_set(-EBADMSG, "the exported handle of %.300s is of another cluster than this session",
                       wire.path);
    if (result < 0)
        return result;
    weft_file_t *file = file_make(session, wire.path, &wire.capability, wire.pool, wire.hints);
    if (!file)
        return -ENOMEM;
    file->handle = wire.handle;
    file->access = wire.access;
    file->synced = wire.synced;
    file->imported = true;
    session_lock(session);
    file_small_begin(file, wire.small_max);
    expect_metadata(session);
    session_unlock(session);
    *out = file;
    return 0;
}

int weft_file_import(weft_session_t *session, const void *blob, size_t length, weft_file_t **file)
{
    return (int)client_result(__func__, file_import(session, blob, length, file));
}

/* ---- what is known of an open file ----------------------------------------------------- */

/* The name of the host that has the file is in the map, which came with the open, or by the import. */
static void tell_host(const weft_file_t *file, struct weft_layout *layout)
{
    weft_session_t *session = file->session;
    session_lock(session);
    const struct map_host *host = session->map ? map_host(session->map, file->layout.host) : NULL;
    attr_placement_text(WIRE_PLACEMENT_HOST, host ? host->name : "?", layout->placement);
    session_unlock(session);
}

void weft_file_layout(const weft_file_t *file, struct weft_layout *layout)
{
    *layout = (struct weft_layout){
        .chunk_size = file->layout.chunk_size,
        .stripe_count = file->layout.stripe_count,
        .group_count = file->layout.group_count,
        .seed = file->layout.seed,
    };
    memcpy(layout->pool, file->pool, sizeof layout->pool);
    if (file->layout.host)
        tell_host(file, layout);
    else
        attr_placement_text(WIRE_PLACEMENT_SPREAD, "", layout->placement);
}

uint64_t weft_file_ino(const weft_file_t *file)
{
    return file ? file->capability.ino : 0;
}

const char *weft_file_hints(const weft_file_t *file)
{
    return file->hints;
}

static int file_stat(weft_file_t *file, struct weft_attr *attr)
{
    if (file && attr && held_stat(file, attr))
        return 0;
    int result = file_check(file);
    if (result < 0)
        return result;
    if (!attr)
        return err_set(-EINVAL, "there is no place for the attributes (NULL)");
    return client_about(attr_ask(file->session, "", file->capability.ino, 0, attr), file->path);
}

int weft_file_stat(weft_file_t *file, struct weft_attr *attr)
{
    return (int)client_result(__func__, file_stat(file, attr));
}

static int locate_chunk(const struct map *map, const struct layout *layout, uint64_t offset, uint64_t end,
                        struct weft_location *out)
{
    struct map_location location;
    int result = map_locate(map, layout, offset, &location);
    if (result < 0)
        return result;
    uint64_t chunk_end = (location.place.chunk + 1) * layout->chunk_size;
    *out = (struct weft_location){
        .offset = offset,
        .length = (chunk_end < end ? chunk_end : end) - offset,
        .chunk = location.place.chunk,
        .group = location.group,
        .target = location.target_id,
        .shard = location.shard,
    };
    snprintf(out->server, sizeof out->server, "%s", map->servers[location.server].name);
    return 0;
}

static ssize_t file_locate(const weft_file_t *file, uint64_t offset, uint64_t length,
                           struct weft_location *locations, size_t count)
{
    struct map *map;
    uint64_t end;
    ssize_t result = file_check(file);
    if (result < 0)
        return result;
    if (__builtin_add_overflow(offset, length, &end) || end > INT64_MAX)
        return err_set(-EFBIG,
                       "%.300s: %" PRIu64 " bytes at offset %" PRIu64 " end beyond the largest file offset",
                       file->path, length, offset);
    if (length == 0)
        return 0;
    if (count > 0 && !locations)
        return err_set(-EINVAL, "there is no place for the locations (NULL)");
    result = session_map(file->session, &map);
    if (result < 0)
        return client_about((int)result, file->path);
    uint64_t chunk_size = file->layout.chunk_size;
    uint64_t chunks = (end - 1) / chunk_size - offset / chunk_size + 1;
    for (uint64_t i = 0; i < chunks && i < count; i++) {
        uint64_t from = i == 0 ? offset : (offset / chunk_size + i) * chunk_size;
        result = locate_chunk(map, &file->layout, from, end, &locations[i]);
        if (result < 0)
            break;
    }
    map_unref(map);
    return result < 0 ? client_about((int)result, file->path) : (ssize_t)chunks;
}

ssize_t weft_file_locate(const weft_file_t *file, uint64_t offset, uint64_t length,
                         struct weft_location *locations, size_t count)
{
    return client_result(__func__, file_locate(file, offset, length, locations, count));
}
