/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The size of a file, which the storage servers know best while it is open, and
 * what changes it but is no write; and sync, which asks the same servers.
 */
#include "client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "attr_cache.h"
#include "capability.h"
#include "err.h"

/* ---- losses ------------------------------------------------------------------- */

/* (locked) What maps up to that version told of is no business of the next sync's. */
static void note_synced(weft_file_t *file, const struct map *map)
{
    if (map && map->version > file->synced)
        file->synced = map->version;
}

/* All that was there is durable. But what was written before the crash of a host is not there any more, and a
 * sync that said nothing of it would have its caller believe that it was. Told once, as a failed write-back
 * by Linux' fsync(). */
static int sync_judge(const struct fan_op *of)
{
    const struct map *map = of->fan.table->map;
    const struct map_target *lost = map_lost_since(map, &of->file->layout, of->synced);
    note_synced(of->file, map);
    if (!lost)
        return 0;
    return err_set(-EIO,
                   "the host of storage server %s has crashed: what was written to the file before, and not "
                   "synced, may be lost; write it anew",
                   map->servers[lost->server].name);
}

/* ---- sizes -------------------------------------------------------------------- */

int size_complete(weft_session_t *session, struct wire_attr *attr, const struct wire_capability *capability)
{
    struct fan_op of = {0};
    if (!attr->size_open)
        return 0;
    int result = fan_op_start(&of, session, WIRE_OP_object_stat, capability, NULL);
    if (result == 0)
        result = (int)op_wait(&of.op);
    if (result < 0)
        return result;
    attr->size = of.fan.end;
    attr->bytes = of.fan.bytes;
    /* As the metadata server will settle it: a time that was set holds until the next write. */
    if (of.fan.mtime_ns > attr->mtime_base_ns) {
        attr->mtime_ns = of.fan.mtime_ns;
        if (attr->ctime_ns < of.fan.mtime_ns)
            attr->ctime_ns = of.fan.mtime_ns;
    }
    return 0;
}

bool size_of_small(weft_file_t *file, uint64_t *size, int *result)
{
    struct weft_attr attr;
    session_lock(file->session);
    bool is_small = file->small.state == SMALL_IS;
    bool known = is_small && file_small_known(file, size);
    session_unlock(file->session);
    *result = 0;
    if (is_small && !known) {
        *result = attr_ask(file->session, "", file->capability.ino, 0, &attr);
        *size = *result < 0 ? *size : attr.size;
        session_lock(file->session);
        if (*result == 0 && !attr.small)
            file_small_over(file);
        session_unlock(file->session);
    }
    return is_small;
}

static int file_size(weft_file_t *file, uint64_t *size)
{
    struct fan_op of = {.file = file};
    int result = file_check(file);
    if (result < 0)
        return result;
    if (!size)
        return err_set(-EINVAL, "there is no place for the size (NULL)");
    if (size_of_small(file, size, &result))
        return client_about(result, file->path);
    result = fan_op_start(&of, file->session, WIRE_OP_object_stat, &file->capability, NULL);
    if (result == 0)
        result = (int)op_wait(&of.op);
    if (result < 0)
        return client_about(result, file->path);
    *size = of.fan.end;
    return 0;
}

int weft_file_size(weft_file_t *file, uint64_t *size)
{
    return (int)client_result(__func__, file_size(file, size));
}

/* ---- sync ---------------------------------------------------------------------- */

static void sync_release(struct weft_op *op)
{
    free(list_item(op, struct fan_op, op));
}

/* 1: it is a small file, of which all is durable that was written, and there is nothing to be done. That it
 * is still one, only the metadata server can say: others may have written to storage servers by now. */
static int sync_small(struct fan_op *of)
{
    weft_file_t *file = of->file;
    uint64_t size;
    int result = 0;
    if (!size_of_small(file, &size, &result))
        return 0;
    if (result < 0)
        return result;
    session_lock(file->session);
    bool is_small = file->small.state == SMALL_IS;
    if (is_small) {
        /* Storage servers have nothing of it yet. */
        note_synced(file, file->session->map);
        op_init(&of->op, file->session, sync_release);
        op_complete(&of->op, 0);
    }
    session_unlock(file->session);
    return is_small;
}

static int sync_async(weft_file_t *file, weft_op_t **op)
{
    int result = file_check(file);
    if (result < 0)
        return result;
    if (!op)
        return err_set(-EINVAL, "there is no place for the operation (NULL)");
    struct fan_op *of = calloc(1, sizeof *of);
    if (!of)
        return err_set(-ENOMEM, "out of memory for a sync");
    of->file = file;
    of->judge = sync_judge;
    result = sync_small(of);
    if (result == 0)
        result = fan_op_start(of, file->session, WIRE_OP_sync, &file->capability, sync_release);
    if (result < 0) {
        free(of);
        return client_about(result, file->path);
    }
    *op = &of->op;
    return 0;
}

int weft_file_sync_async(weft_file_t *file, weft_op_t **op)
{
    return (int)client_result(__func__, sync_async(file, op));
}

int weft_file_sync(weft_file_t *file)
{
    weft_op_t *op;
    ssize_t result = sync_async(file, &op);
    return (int)client_result(__func__, result < 0 ? result : op_wait(op));
}

/* ---- truncate and allocate ------------------------------------------------------- */

static int truncate_send(weft_session_t *session, struct wire_truncate *truncate)
{
    struct attr_change change;
    uint8_t body[WEFT_PATH_BYTES_MAX + 256 + CLOSES_BYTES_MAX];
    struct op_call call;
    struct closes_ride ride;
    if (truncate->size > INT64_MAX)
        return err_set(-EFBIG, "a size of %" PRIu64 " bytes is beyond what a file can have", truncate->size);
    attr_change_begin(session, &change, truncate->path, NULL, truncate->capability.ino);
    closes_board(session, &ride);
    truncate->closes = ride.list;
    int result = closes_call(&call, session, &ride, WIRE_OP_truncate, body,
                             wire_encode_truncate(body, sizeof body, truncate));
    attr_change_end(session, &change);
    op_call_free(&call);
    return result;
}

static int truncate_path(weft_session_t *session, const char *path, uint64_t size)
{
    struct wire_truncate truncate = {.size = size};
    int result = client_path(path, &truncate.path);
    return result < 0 ? result : client_about(truncate_send(session, &truncate), truncate.path);
}

int weft_truncate(weft_session_t *session, const char *path, uint64_t size)
{
    return (int)client_result(__func__, truncate_path(session, path, size));
}

static int truncate_file(weft_file_t *file, uint64_t size, bool grow_only)
{
    int result = file_check(file);
    if (result == 0)
        result = file_allows(file, WIRE_ACCESS_WRITE);
    if (result < 0)
        return result;
    struct wire_truncate truncate = {
        .path = "",
        .handle = file->handle,
        .capability = file->capability,
        .size = size,
        .grow_only = grow_only,
    };
    session_lock(file->session);
    file->wrote = true;
    told_lose(file);
    session_unlock(file->session);
    return client_about(truncate_send(file->session, &truncate), file->path);
}

int weft_file_truncate(weft_file_t *file, uint64_t size)
{
    return (int)client_result(__func__, truncate_file(file, size, false));
}

int weft_file_allocate(weft_file_t *file, uint64_t offset, uint64_t length)
{
    uint64_t end;
    int result;
    if (__builtin_add_overflow(offset, length, &end))
        result = err_set(-EFBIG, "%" PRIu64 " bytes at offset %" PRIu64 " end beyond the largest file offset",
                         length, offset);
    else
        result = truncate_file(file, end, true);
    return (int)client_result(__func__, result);
}
