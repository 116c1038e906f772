/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles of a client that was out of touch: those that this server has closed for it meanwhile are open
 * again, under their old numbers, as if they had never been closed. Only their shared pointers are lost.
 *
 * A client says this before anything else over each new connection, closes included, and never repeats it: it
 * says it anew over the next one. So one that waits here while its connection ends is not done any more. The
 * client may have said it again and closed the file since.
 *
 * The capability speaks for the file and what may be done with it; that the handle was this client's own,
 * only its word. Who has the capability could open the file as well.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "capability.h"
#include "err.h"
#include "records.h"
#include "service_internal.h"

struct reopening {
    uint64_t number;
    uint64_t ino;
    uint32_t access;
    bool lost;
    bool closed;   /* by this server */
    bool orphan;
    bool recorded; /* the store is to know that it writes */
};

/* ---- which they are ----------------------------------------------------- */

/* Those that are open need nothing. */
bool request_reopen_writes(const struct request *request)
{
    const struct wire_list *list = &request->body.reopen.handles;
    struct wire_reader reader = wire_list_reader(list);
    for (uint32_t i = 0; i < list->count && !reader.bad; i++) {
        struct wire_reopening wire;
        wire_get_reopening(&reader, &wire);
        if (!reader.bad && !opens_find(request->service->opens, wire.handle))
            return true;
    }
    return false;
}

static int decode(const struct request *request, struct reopening items[LIMITS_REOPENS_MAX])
{
    const struct wire_list *list = &request->body.reopen.handles;
    struct wire_reader reader = wire_list_reader(list);
    for (uint32_t i = 0; i < list->count; i++) {
        struct wire_reopening wire;
        wire_get_reopening(&reader, &wire);
        if (reader.bad)
            break;
        int error = capability_check(request->service->conf->key, &wire.capability, wire.capability.access);
        if (!error && wire.capability.access == 0)
            error = err_set(-EACCES, "the capability for inode %" PRIu64 " is not of an open file",
                            wire.capability.ino);
        if (error)
            return error;
        items[i] = (struct reopening){
            .number = wire.handle, .ino = wire.capability.ino, .access = wire.capability.access};
    }
    return wire_read_all(&reader, "list of handles");
}

static bool is_same(const struct request *request, const struct opens_handle *handle,
                    const struct reopening *item)
{
    return memcmp(handle->client->id, request->from->client, sizeof handle->client->id) == 0 &&
           opens_ino(handle->file) == item->ino && handle->access == item->access;
}

/* ---- making it so ------------------------------------------------------- */

/* All that may have to wait for clients who rely on an inode comes first: nothing in memory has been changed
 * then. */
static int prepare(const struct request *request, struct ns *ns, struct reopening *item)
{
    const struct opens_handle *handle = opens_find(ns->opens, item->number);
    struct inode inode;
    item->lost = handle ? !is_same(request, handle, item) : !opens_known(ns->opens, item->number);
    if (handle || item->lost)
        return 0;
    int error = records_inode_get(ns->txn, item->ino, &inode);
    item->lost = error == -ENOENT || (!error && !inode_is_file(&inode));
    if (error || item->lost)
        return error == -ENOENT ? 0 : error;
    const bool writer = item->access & WIRE_ACCESS_WRITE, small = inode.flags & INODE_SMALL;
    item->closed = true;
    item->orphan = inode.nlink == 0;
    item->recorded = writer && (!small || item->orphan);
    return writer && !small ? ns_size_open(ns, &inode) : 0;
}

static int restore(const struct request *request, struct ns *ns, struct reopening *item)
{
    struct opens_handle *handle = opens_find(ns->opens, item->number);
    if (handle) { /* it was named twice */
        item->lost = !is_same(request, handle, item);
        return 0;
    }
    struct opens_client *client = opens_client_get(ns->opens, request->from->client);
    /* One that writes makes the file dirty: what others wrote meanwhile, nobody else's close tells of any
     * more. */
    handle = client ? opens_adopt(ns->opens, client, item->ino, item->access, item->number) : NULL;
    if (!handle)
        return -ENOMEM;
    if (item->orphan)
        opens_file_orphan(ns->opens, handle->file);
    handle->generation = handle->file->generation;
    handle->lost_pointer = !opens_is_earlier(ns->opens, item->number);
    counter_add(&request->service->reopens, 1);
    return item->recorded ? ns_writer_note(ns, handle) : 0;
}

static int answer(struct request *request, const struct reopening items[LIMITS_REOPENS_MAX])
{
    uint8_t list[4 * LIMITS_REOPENS_MAX];
    uint8_t body[sizeof list + 64];
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->body.reopen.handles.count; i++) {
        if (!items[i].lost)
            continue;
        wire_put_number(&writer, &(struct wire_number){.value = i});
        count++;
    }
    const struct wire_reopen_reply reply = {.lost = wire_list_of(&writer, count)};
    return request_answer(request, body, wire_encode_reopen_reply(body, sizeof body, &reply));
}

/* Whether its client waits for it. */
static bool is_wanted(struct request *request, struct ns *ns)
{
    const struct opens_client *client = opens_client_find(ns->opens, request->from->client);
    if (!client || !client->connections)
        return false;
    if (!request->met)
        request->met = client->met;
    return request->met == client->met;
}

int request_reopen(struct request *request, struct ns *ns)
{
    struct reopening items[LIMITS_REOPENS_MAX] = {0};
    const uint32_t count = request->body.reopen.handles.count;
    if (!is_wanted(request, ns))
        return err_set(-ECANCELED, "the connection that asked for files to be open again has ended");
    int error = decode(request, items);
    for (uint32_t i = 0; i < count && !error; i++)
        error = prepare(request, ns, &items[i]);
    for (uint32_t i = 0; i < count && !error; i++)
        error = items[i].closed ? restore(request, ns, &items[i]) : 0;
    return error ? error : answer(request, items);
}
