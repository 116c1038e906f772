/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "shard.h"

/* One line of a kind in so many nanoseconds. */
#define LOG_NS UINT64_C(1000000000)
/* When the request came, one answer of the metadata server may have been there that this shard had not
 * noticed yet, and another one on its way; the third one was asked for after it. */
enum { MAP_TRIES_MAX = 3 };

/* ---- a request's life --------------------------------------------------- */

struct shard_io *shard_io_new(struct shard *shard, struct rpc_request *request)
{
    struct shard_io *io = calloc(1, sizeof *io);
    if (!io) {
        rpc_reply(request, err_set(-ENOMEM, "no memory for a request"), NULL, 0, NULL, 0, NULL, NULL);
        return NULL;
    }
    io->runs = io->few;
    io->shard = shard;
    io->pool = shard->pool;
    io->request = request;
    shard->under_way++;
    return io;
}

uint64_t shard_change_began(struct shard *shard)
{
    shard->changing++;
    shard->changing_now++;
    return shard->map_changed;
}

void shard_change_ended(struct shard *shard, uint64_t began_at)
{
    shard->changing--;
    if (began_at == shard->map_changed)
        shard->changing_now--;
    else if (!shard_has_older(shard))
        shard_older_ended(shard);
}

bool shard_has_older(const struct shard *shard)
{
    return shard->changing > shard->changing_now;
}

void shard_io_changes(struct shard_io *io)
{
    if (io->is_change)
        return;
    io->is_change = true;
    io->began_at = shard_change_began(io->shard);
}

/* What the leader has given up may be under way here still, and is not to come after the comparison. */
static bool waits_for_older(const struct shard_io *io)
{
    const unsigned operation = io->request->operation;
    return (operation == WIRE_OP_copy_digest || operation == WIRE_OP_copy_list ||
            operation == WIRE_OP_copy_fetch) &&
           shard_has_older(io->shard);
}

static void io_free(struct shard_io *io)
{
    struct shard *shard = io->shard;
    struct bufpool *pool = io->pool;
    void *buffer = io->buffer, *span = io->span;
    if (io->is_change)
        shard_change_ended(shard, io->began_at);
    lead_leave(shard, &io->change);
    if (io->runs != io->few)
        free(io->runs);
    free(io->body);
    free(io->crcs);
    free(io->status_text);
    free(io);
    shard->under_way--;
    /* Last: the next in line begins inside. */
    if (span)
        bufpool_put(pool, span);
    if (buffer)
        bufpool_put(pool, buffer);
}

void shard_io_leave(struct shard_io *io)
{
    io_free(io);
}

static void io_sent(void *arg)
{
    io_free(arg);
}

void shard_wait_for_lease(struct shard_io *io)
{
    struct shard *shard = io->shard;
    struct rpc_request *request = io->request;
    shard_counter_add(shard, SHARD_LEASES_WAITED, 1);
    shard_io_leave(io);
    shard_park(shard, request, 0);
    shard->server->map_wanted(shard->server->map_wanted_arg);
}

void shard_buffer_wait(struct shard_io *io, void (*ready)(struct bufpool_waiter *waiter, void *buffer))
{
    io->waiter.length = io->bytes;
    io->waiter.ready = ready;
    void *buffer = bufpool_try(io->pool, io->bytes);
    if (buffer) {
        ready(&io->waiter, buffer);
        return;
    }
    shard_counter_add(io->shard, SHARD_BUFFER_WAITS, 1);
    /* What waits for others' pieces must not keep those from coming. */
    shard_gathers_flush(io->shard);
    int error = bufpool_get(io->pool, &io->waiter);
    if (error) {
        shard_io_fail(io, error);
        shard_io_end(io, 0);
    }
}

void shard_io_fail(struct shard_io *io, int error)
{
    if (io->status)
        return;
    io->status = error;
    io->status_text = strdup(err_text());
}

static void answer_stale(struct shard_io *io);

void shard_io_stale(struct shard_io *io)
{
    io->is_stale = true;
    io->status = -ESTALE;
}

void shard_io_end(struct shard_io *io, size_t payload_length)
{
    struct iovec payload = {.iov_base = io->buffer, .iov_len = payload_length};
    if (io->is_stale) {
        err_set(-ESTALE, "another storage server leads by now");
        answer_stale(io);
    } else if (io->status) {
        if (io->status_text)
            err_set(io->status, "%s", io->status_text);
        rpc_reply(io->request, io->status, NULL, 0, NULL, 0, NULL, NULL);
        io_free(io);
    } else if (payload_length) {
        rpc_reply(io->request, 0, io->body, io->body_length, &payload, 1, io_sent, io);
    } else {
        rpc_reply(io->request, 0, io->body, io->body_length, NULL, 0, NULL, NULL);
        io_free(io);
    }
}

/* One line about the latest error in some time. */
static void log_limited(struct shard_io *io, struct shard_log_limit *limit, enum log_level level,
                        const char *what)
{
    uint64_t now = rpc_now_ns();
    if (limit->logged_ns && now - limit->logged_ns < LOG_NS) {
        limit->unlogged++;
        return;
    }
    char more[48] = "";
    if (limit->unlogged)
        snprintf(more, sizeof more, " (and %" PRIu32 " more before)", limit->unlogged);
    log_write(level, "shard %" PRIu32 ": %s %s request of %s: %s%s", io->shard->index, what,
              wire_operation_name(io->request->operation), rpc_peer_identity(io->request->peer)->name,
              err_text(), more);
    *limit = (struct shard_log_limit){.logged_ns = now};
}

void shard_io_store_noted(struct shard_io *io, int error)
{
    (void)error;
    shard_counter_add(io->shard, SHARD_STORE_ERRORS, 1);
    log_limited(io, &io->shard->failure_log, LOG_LEVEL_ERROR, "failed");
}

void shard_io_store_failed(struct shard_io *io, int error)
{
    shard_io_store_noted(io, error);
    shard_io_fail(io, error);
}

void shard_io_refuse(struct shard_io *io, int error)
{
    shard_counter_add(io->shard, SHARD_REQUESTS_REFUSED, 1);
    log_limited(io, &io->shard->refusal_log, LOG_LEVEL_WARN, "refused");
    shard_io_fail(io, error);
    shard_io_end(io, 0);
}

/* The client's map is from before our groups changed: the answer has the newer one. */
static void answer_stale(struct shard_io *io)
{
    const struct map *map = io->shard->map;
    size_t map_size = map_encoded_size(map), size = map_size + LIMITS_ERROR_TEXT_MAX + 64;
    uint8_t *encoded = malloc(map_size), *body = malloc(size);
    ssize_t length = -ENOMEM;
    char text[LIMITS_ERROR_TEXT_MAX + 1];
    shard_counter_add(io->shard, SHARD_REQUESTS_STALE, 1);
    snprintf(text, sizeof text, "%s", err_text());
    if (encoded && body)
        length = map_encode(map, encoded, map_size);
    if (length >= 0) {
        struct wire_error error = {.text = text, .map = {.data = encoded, .length = (uint32_t)length}};
        length = wire_encode_error(body, size, &error);
    }
    if (length < 0)
        rpc_reply(io->request, err_set(-ESTALE, "%s", text), NULL, 0, NULL, 0, NULL, NULL);
    else
        rpc_reply(io->request, -ESTALE, body, (size_t)length, NULL, 0, NULL, NULL);
    free(encoded);
    free(body);
    io_free(io);
}

/* ---- what must hold ------------------------------------------------------- */

static int check_role(const struct shard_io *io)
{
    unsigned operation = io->request->operation;
    if ((operation == WIRE_OP_object_truncate || operation == WIRE_OP_object_remove) &&
        rpc_peer_identity(io->request->peer)->role != WIRE_ROLE_METADATA)
        return err_set(-EACCES, "only the metadata server may ask for %s", wire_operation_name(operation));
    if ((shard_is_copy(io) || operation == WIRE_OP_object_mend) &&
        rpc_peer_identity(io->request->peer)->role != WIRE_ROLE_STORAGE)
        return err_set(-EACCES, "only a storage server may ask for %s", wire_operation_name(operation));
    return 0;
}

static bool is_copy(uint16_t operation)
{
    return operation >= WIRE_OP_copy && operation <= WIRE_OP_copy_fetch;
}

bool shard_is_copy(const struct shard_io *io)
{
    return is_copy(io->request->operation);
}

static bool is_write(const struct shard_io *io)
{
    const unsigned operation = io->request->operation;
    return operation == WIRE_OP_write || operation == WIRE_OP_write_gather || operation == WIRE_OP_copy;
}

static int check_file(struct shard_io *io, uint32_t access)
{
    int verdict = shard_check_capability(io, access);
    return verdict ? verdict : shard_check_map(io);
}

static int check_removes(struct shard_io *io)
{
    struct wire_reader reader = wire_list_reader(&io->removes);
    int verdict = io->removes.count ? 0 : err_set(-EBADMSG, "it names no file");
    for (uint32_t i = 0; i < io->removes.count && !verdict; i++) {
        wire_get_capability(&reader, &io->capability);
        verdict = reader.bad ? err_set(-EBADMSG, "its list of files makes no sense") : check_file(io, 0);
    }
    return verdict ? verdict : wire_read_all(&reader, "list of files");
}

static bool names_no_file(const struct shard_io *io)
{
    return io->request->operation == WIRE_OP_copy_list || io->request->operation == WIRE_OP_copy_settle;
}

static bool is_lock(const struct shard_io *io)
{
    unsigned operation = io->request->operation;
    return operation == WIRE_OP_lock || operation == WIRE_OP_record || operation == WIRE_OP_record_test;
}

static bool is_of_one_object(const struct shard_io *io)
{
    switch (io->request->operation) {
    case WIRE_OP_copy_digest:
    case WIRE_OP_copy_fetch:
    case WIRE_OP_copy_cut:
    case WIRE_OP_object_mend:
        return true;
    }
    return false;
}

/* As shard_check_extents(). */
static int check(struct shard_io *io)
{
    uint32_t access;
    int verdict = shard_decode(io, &access);
    if (!verdict)
        verdict = check_role(io);
    if (!verdict &&
        (io->request->operation == WIRE_OP_object_remove || io->request->operation == WIRE_OP_copy_remove))
        verdict = check_removes(io);
    else if (!verdict && names_no_file(io))
        verdict = shard_check_map(io);
    else if (!verdict)
        verdict = check_file(io, access);
    if (!verdict && io->request->operation == WIRE_OP_copy)
        verdict = shard_check_pieces(io);
    else if (!verdict && is_of_one_object(io))
        verdict = shard_check_object(io);
    else if (!verdict && io->extents.count)
        verdict = shard_check_extents(io, SHARD_RUNS_FEW);
    if (!verdict && is_lock(io))
        verdict = shard_check_first(io, io->lock_target);
    if (!verdict && io->chunks.count)
        verdict = shard_check_chunks(io);
    if (!verdict && !is_write(io) && io->request->payload_length)
        verdict = err_set(-EBADMSG, "it comes with data, which it should not");
    if (!verdict && is_write(io) && io->bytes != io->request->payload_length)
        verdict = err_set(-EBADMSG, "its extents have %" PRIu64 " bytes, its payload %" PRIu64, io->bytes,
                          io->request->payload_length);
    return verdict;
}

static void (*const handlers[])(struct shard_io *io) = {
    [WIRE_OP_write] = shard_write,
    [WIRE_OP_write_gather] = shard_write,
    [WIRE_OP_read] = shard_read,
    [WIRE_OP_sync] = shard_sync,
    [WIRE_OP_object_stat] = shard_object_stat,
    [WIRE_OP_object_truncate] = shard_object_truncate,
    [WIRE_OP_object_remove] = shard_object_remove,
    [WIRE_OP_object_punch] = shard_object_punch,
    [WIRE_OP_object_seek] = shard_object_seek,
    [WIRE_OP_object_mend] = lead_mend_serve,
    [WIRE_OP_lock] = shard_lock,
    [WIRE_OP_record] = shard_record,
    [WIRE_OP_record_test] = shard_record_test,
    [WIRE_OP_copy] = shard_write,
    [WIRE_OP_copy_truncate] = shard_object_truncate,
    [WIRE_OP_copy_punch] = shard_object_punch,
    [WIRE_OP_copy_sync] = shard_sync,
    [WIRE_OP_copy_list] = shard_copy_list,
    [WIRE_OP_copy_digest] = shard_copy_digest,
    [WIRE_OP_copy_cut] = shard_copy_cut,
    [WIRE_OP_copy_settle] = shard_copy_settle,
    [WIRE_OP_copy_remove] = shard_object_remove,
    [WIRE_OP_copy_fetch] = shard_copy_fetch,
};

void shard_serve(struct shard *shard, struct rpc_request *request, unsigned tries)
{
    /* At the end new requests are left unanswered: the client asks again, and
     * the server that follows answers. But what leaders give ends what others have begun. */
    if ((atomic_load_explicit(&shard->stop, memory_order_relaxed) && !is_copy(request->operation)) ||
        (!shard->map && request->operation != WIRE_OP_counters)) {
        shard_park(shard, request, 0);
        return;
    }
    struct shard_io *io = shard_io_new(shard, request);
    if (!io)
        return;
    if (request->operation == WIRE_OP_counters) {
        shard_counters(io);
        return;
    }
    /* It names a lock of the client's own, wherever that is: neither capability nor map matters. */
    if (request->operation == WIRE_OP_unlock) {
        shard_unlock(io);
        return;
    }
    if (request->operation == WIRE_OP_record_cancel) {
        shard_record_cancel(io);
        return;
    }
    int verdict = check(io);
    io->checked = shard->map->version;
    if (verdict == 0 && waits_for_older(io)) {
        io_free(io);
        shard_park(shard, request, tries);
        return;
    }
    if (verdict == 0 && shard_is_copy(io)) {
        io->pool = shard->copy_pool ? shard->copy_pool : shard->pool;
        shard_counter_add(shard, SHARD_COPIES_TAKEN, 1);
    }
    if (verdict == 0 && is_lock(io) && !shard_check_lease(io)) {
        shard_wait_for_lease(io);
    } else if (verdict == 0) {
        handlers[request->operation](io);
    } else if (verdict == -ESTALE) {
        answer_stale(io);
    } else if (verdict > 0 && tries >= MAP_TRIES_MAX) {
        shard_io_refuse(io, err_set(-EINVAL,
                                    "it names version %" PRIu64 " of the cluster map, which does not exist",
                                    io->map_version));
    } else if (verdict > 0) {
        io_free(io);
        shard_park(shard, request, tries + 1);
        shard->server->map_wanted(shard->server->map_wanted_arg);
    } else {
        shard_io_refuse(io, verdict);
    }
}
