/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared pointer of an opening: a number that its processes add to. It lies in the store, from its
 * first use until its handle ends, so that a restart loses none of what was added.
 *
 * Handles for reading are not kept in the store before their pointers are used. One that was opened before
 * the latest start, and is used for the first time now, is unknown here: its capability speaks
 * for it, and it has no owner whose end we could notice.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "capability.h"
#include "err.h"
#include "log.h"
#include "records.h"
#include "service_internal.h"

/* A pointer without an owner is dropped by the first start so long after its last use. */
#define UNUSED_NS (INT64_C(86400) * 1000000000)

static int not_open(uint64_t number)
{
    return err_set(-EBADF, "there is no open file with the handle %#" PRIx64, number);
}

/* ---- moving it ---------------------------------------------------------- */

/* The handle's pointer as it is, 0 when it was never used. */
static int find(const struct request *request, struct ns *ns, struct opens_handle *handle,
                struct pointer *pointer)
{
    const struct wire_pointer *body = &request->body.pointer;
    int error = records_pointer_get(ns->txn, body->handle, pointer);
    if (error && error != -ENOENT)
        return error;
    if (error)
        *pointer = (struct pointer){.handle = body->handle, .ino = body->capability.ino};
    if (handle) {
        pointer->access = handle->access;
        memcpy(pointer->client, handle->client->id, sizeof pointer->client);
    }
    uint64_t ino = handle ? opens_ino(handle->file) : pointer->ino;
    if (ino != body->capability.ino)
        return err_set(-EBADF, "the handle %#" PRIx64 " is of another file than its capability",
                       body->handle);
    return 0;
}

static int move(struct pointer *pointer, const struct wire_pointer *body)
{
    int64_t value = body->value;
    if (!body->set && __builtin_add_overflow(pointer->value, body->value, &value))
        return err_set(-EOVERFLOW, "the shared pointer is %" PRId64 ", and can't grow by %" PRId64,
                       pointer->value, body->value);
    if (value < 0)
        return err_set(-EINVAL, "the shared pointer would be negative: %" PRId64, value);
    pointer->value = value;
    return 0;
}

int request_pointer(struct request *request, struct ns *ns)
{
    struct service *service = request->service;
    const struct wire_pointer *body = &request->body.pointer;
    struct opens_handle *handle = opens_find(ns->opens, body->handle);
    struct pointer pointer;
    if (handle ? handle->closing || handle->lost_pointer : !opens_is_earlier(ns->opens, body->handle))
        return not_open(body->handle);
    int error = capability_check(service->conf->key, &body->capability, 0);
    if (!error)
        error = find(request, ns, handle, &pointer);
    if (error)
        return error;
    struct wire_pointer_reply reply = {.before = pointer.value};
    error = move(&pointer, body);
    if (error)
        return error;
    pointer.used_ns = ns->now_ns;
    if (handle)
        handle->has_pointer = true; /* also when this is undone: then the store is only asked in vain */
    error = records_pointer_put(ns->txn, &pointer);
    /* It is to be known after a restart, also that of a small file. */
    if (!error && handle)
        error = ns_writer_note(ns, handle);
    return error ? error
                 : request_answer(request, service->scratch,
                                  wire_encode_pointer_reply(service->scratch, LIMITS_BODY_MAX, &reply));
}

/* ---- after a start ------------------------------------------------------ */

struct restoring {
    struct service *service;
    struct store_txn *txn;
    int64_t before_ns;
    uint64_t *stale;
    size_t stale_count, stale_size;
};

static int note_stale(struct restoring *restoring, uint64_t number)
{
    if (restoring->stale_count == restoring->stale_size) {
        size_t size = restoring->stale_size ? 2 * restoring->stale_size : 64;
        uint64_t *bigger = realloc(restoring->stale, size * sizeof *bigger);
        if (!bigger)
            return err_set(-ENOMEM, "no memory for the shared pointers");
        restoring->stale = bigger;
        restoring->stale_size = size;
    }
    restoring->stale[restoring->stale_count++] = number;
    return 0;
}

static int restore_reader(struct restoring *restoring, const struct pointer *pointer)
{
    struct opens *opens = restoring->service->opens;
    struct inode inode;
    int error = records_inode_get(restoring->txn, pointer->ino, &inode);
    if (error)
        return error == -ENOENT ? note_stale(restoring, pointer->handle) : error;
    struct opens_client *client = opens_client_get(opens, pointer->client);
    if (!client)
        return -ENOMEM;
    client->lost_ns = restoring->service->started_ns;
    error = opens_restore(opens, client, pointer->ino, pointer->access, pointer->handle);
    if (error)
        return error;
    opens_find(opens, pointer->handle)->has_pointer = true;
    if (inode.nlink == 0)
        opens_file_find(opens, pointer->ino)->orphan = true;
    return 0;
}

/* Those for writing are there already: leases_restore() has made them. */
static int restore(void *arg, const struct pointer *pointer)
{
    struct restoring *restoring = arg;
    struct opens_handle *handle = opens_find(restoring->service->opens, pointer->handle);
    if (handle) {
        handle->has_pointer = true;
        return 0;
    }
    if (pointer->access == 0)
        return pointer->used_ns < restoring->before_ns ? note_stale(restoring, pointer->handle) : 0;
    return pointer->access & WIRE_ACCESS_WRITE ? note_stale(restoring, pointer->handle)
                                               : restore_reader(restoring, pointer);
}

int request_pointers_restore(struct service *service, struct store_txn *txn)
{
    const struct service_config *config = &service->config;
    struct restoring restoring = {
        .service = service, .txn = txn, .before_ns = config->realtime_ns(config->clock_arg) - UNUSED_NS};
    int error = records_pointer_each(txn, restore, &restoring);
    for (size_t i = 0; i < restoring.stale_count && !error; i++)
        error = records_pointer_delete(txn, restoring.stale[i]);
    free(restoring.stale);
    return error;
}
