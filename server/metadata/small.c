/* SPDX-License-Identifier: Apache-2.0 */
#include "small.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "err.h"
#include "records.h"
#include "service_internal.h"
#include "spill.h"

/* Long enough for an open and the read after it, short enough for whoever wants to write meanwhile. */
#define LEASE_NS UINT64_C(5000000)

void small_init(struct small *small)
{
    static const char *const names[SMALL_COUNT] = {
        [SMALL_READS] = "small_reads", [SMALL_WRITES] = "small_writes", [SMALL_LEASES] = "small_leases",
        [SMALL_WAITS] = "small_waits", [SMALL_SPILLS] = "small_spills",
    };
    list_init(&small->delayed);
    list_init(&small->spills);
    for (int i = 0; i < SMALL_COUNT; i++)
        small->counters[i].name = names[i];
}

bool small_busy(const struct small *small)
{
    return !list_empty(&small->delayed) || !list_empty(&small->spills);
}

bool small_wanted(const struct service *service, uint32_t open_flags)
{
    return (open_flags & WIRE_OPEN_SMALL) && service->conf->small_file > 0;
}

uint32_t small_max(const struct service *service, const struct inode *inode)
{
    uint32_t max = service->conf->small_file ? service->conf->small_file : 1;
    return inode->size > max ? (uint32_t)inode->size : max;
}

/* ---- leases ------------------------------------------------------------- */

/* When the last lease of others than `writer` ends, if that is to come. */
static uint64_t leased_until(const struct service *service, uint64_t ino, const uint8_t *writer)
{
    /* What an earlier server has promised, this one does not know. */
    uint64_t until_ns = service->started_ns + LEASE_NS;
    const struct opens_file *file = opens_file_find(service->opens, ino);
    if (file) {
        list_each(&file->openings, link, after)
        {
            const struct opens_handle *handle = list_item(link, struct opens_handle, file_link);
            bool own = writer && memcmp(handle->client->id, writer, sizeof handle->client->id) == 0;
            if (!handle->closed && !own && handle->lease_ns > until_ns)
                until_ns = handle->lease_ns;
        }
    }
    return until_ns > service_now(service) ? until_ns : 0;
}

/* Nobody else is about to write. */
static bool may_lease(const struct opens_file *file, const struct opens_client *client)
{
    if (file->spilling || file->lease_refusals)
        return false;
    list_each(&file->openings, link, after)
    {
        const struct opens_handle *handle = list_item(link, struct opens_handle, file_link);
        if (!handle->closed && (handle->access & WIRE_ACCESS_WRITE) && handle->client != client)
            return false;
    }
    return true;
}

int small_tell(struct service *service, const struct ns *ns, const struct inode *inode,
               struct opens_handle *handle, struct wire_small *small)
{
    const uint8_t *data;
    int error = records_small_get(ns->txn, inode->ino, inode->size, &data);
    if (error)
        return error;
    small->data = (struct wire_bytes){.data = data, .length = (uint32_t)inode->size};
    if (handle && may_lease(handle->file, handle->client)) {
        /* Also when this is undone: who writes then waits in vain, but not for long. */
        handle->lease_ns = service_now(service) + LEASE_NS;
        small->lease_us = LEASE_NS / 1000;
        counter_add(&service->small.counters[SMALL_LEASES], 1);
    }
    return 0;
}

/* ---- waiting ------------------------------------------------------------ */

static int wait_for(struct request *request, uint64_t ino, int kind, uint64_t until_ns)
{
    request->wait = (struct small_wait){.kind = kind, .ino = ino, .until_ns = until_ns};
    return 1;
}

/* Keeps the list in order; the ends of leases come in order, nearly. */
static void delay(struct small *small, struct request *request)
{
    struct list_link *place = &small->delayed.head;
    while (place->previous != &small->delayed.head &&
           list_item(place->previous, struct request, link)->wait.until_ns > request->wait.until_ns)
        place = place->previous;
    list_insert_before(place, &request->link);
}

void small_wait(struct request *request)
{
    struct service *service = request->service;
    counter_add(&service->small.counters[SMALL_WAITS], 1);
    if (request->wait.kind == SMALL_WAIT_SPILL) {
        spill_want(request);
        return;
    }
    /* So that those who read all the time do not keep it waiting for ever. */
    request->wait.file = opens_file_find(service->opens, request->wait.ino);
    if (request->wait.file) {
        opens_file_pin(service->opens, request->wait.ino);
        request->wait.file->lease_refusals++;
    }
    delay(&service->small, request);
}

uint64_t small_due_ns(const struct small *small)
{
    const struct list_link *first = list_first(&small->delayed);
    return first ? list_item(first, struct request, link)->wait.until_ns : 0;
}

void small_run(struct service *service, uint64_t now_ns)
{
    struct list_link *first;
    while ((first = list_first(&service->small.delayed))) {
        struct request *request = list_item(first, struct request, link);
        if (request->wait.until_ns > now_ns)
            break;
        list_remove(first);
        if (request->wait.file) {
            request->wait.file->lease_refusals--;
            opens_file_unpin(service->opens, request->wait.file);
        }
        turn_submit(&service->turn, &request->job);
    }
}

/* ---- changing ----------------------------------------------------------- */

int small_change(struct request *request, struct ns *ns, const struct inode *inode, const uint8_t *writer)
{
    const struct opens_file *file = opens_file_find(ns->opens, inode->ino);
    if (file && file->spilling)
        return wait_for(request, inode->ino, SMALL_WAIT_SPILL, 0);
    uint64_t until_ns = leased_until(request->service, inode->ino, writer);
    return until_ns ? wait_for(request, inode->ino, SMALL_WAIT_LEASES, until_ns) : 0;
}

int small_spill(struct request *request, struct ns *ns, struct inode *inode)
{
    int error = small_change(request, ns, inode, NULL);
    if (error)
        return error;
    if (inode->size > 0 || (inode->flags & INODE_WRITTEN) || !request->operation->writes(request))
        return wait_for(request, inode->ino, SMALL_WAIT_SPILL, 0);
    return spill_note(ns, inode);
}

static int put(struct ns *ns, struct inode *inode, const uint8_t *data, size_t size)
{
    int error = records_small_put(ns->txn, inode->ino, data, size);
    inode->size = size;
    inode->bytes = layout_small_space(size);
    inode->mtime_ns = inode->ctime_ns = inode->mtime_base_ns = ns->now_ns;
    return error ? error : records_inode_put(ns->txn, inode);
}

/* A copy, with zeros behind it. */
static int take(struct ns *ns, const struct inode *inode, uint8_t data[LIMITS_SMALL_BYTES_MAX])
{
    const uint8_t *stored;
    int error = records_small_get(ns->txn, inode->ino, inode->size, &stored);
    if (error)
        return error;
    memcpy(data, stored, inode->size);
    memset(data + inode->size, 0, LIMITS_SMALL_BYTES_MAX - inode->size);
    return 0;
}

int small_resize(struct ns *ns, struct inode *inode, uint64_t size)
{
    uint8_t data[LIMITS_SMALL_BYTES_MAX];
    assert(size <= LIMITS_SMALL_BYTES_MAX);
    int error = size ? take(ns, inode, data) : 0;
    return error ? error : put(ns, inode, data, size);
}

/* ---- the requests ------------------------------------------------------- */

int request_small_read(struct request *request, struct ns *ns)
{
    const struct wire_small_read *body = &request->body.small_read;
    struct service *service = request->service;
    struct wire_small_read_reply reply = {0};
    struct inode inode;
    int error = request_find(request, ns, &body->capability, WIRE_ACCESS_READ, &inode);
    if (error)
        return error;
    reply.spilled = !(inode.flags & INODE_SMALL);
    if (!reply.spilled) {
        struct opens_handle *handle = opens_find(ns->opens, body->handle);
        if (handle && (opens_ino(handle->file) != inode.ino ||
                       memcmp(handle->client->id, request->from->client, sizeof handle->client->id) != 0))
            handle = NULL;
        counter_add(&service->small.counters[SMALL_READS], 1);
        error = small_tell(service, ns, &inode, handle, &reply.small);
    }
    return error ? error
                 : request_answer(request, service->scratch,
                                  wire_encode_small_read_reply(service->scratch, LIMITS_BODY_MAX, &reply));
}

/* -EINVAL when the pieces are not those of the data. */
static int apply(const struct wire_small_write *body, uint8_t data[LIMITS_SMALL_BYTES_MAX], uint64_t *size)
{
    struct wire_reader reader = wire_list_reader(&body->pieces);
    uint32_t used = 0;
    for (uint32_t i = 0; i < body->pieces.count; i++) {
        struct wire_small_piece piece;
        wire_get_small_piece(&reader, &piece);
        if (reader.bad || piece.offset + piece.length > LIMITS_SMALL_BYTES_MAX ||
            piece.length > body->data.length - used)
            return err_set(-EINVAL, "the pieces of a write to a small file make no sense");
        memcpy(data + piece.offset, (const uint8_t *)body->data.data + used, piece.length);
        used += piece.length;
        if (piece.length && piece.offset + piece.length > *size)
            *size = piece.offset + piece.length;
    }
    if (used != body->data.length)
        return err_set(-EINVAL, "a write to a small file has more data than pieces");
    return wire_read_all(&reader, "list of pieces");
}

int request_small_write(struct request *request, struct ns *ns)
{
    const struct wire_small_write *body = &request->body.small_write;
    struct service *service = request->service;
    struct wire_small_write_reply reply = {0};
    uint8_t data[LIMITS_SMALL_BYTES_MAX];
    struct inode inode;
    int error = request_find(request, ns, &body->capability, WIRE_ACCESS_WRITE, &inode);
    if (error)
        return error;
    if (!(inode.flags & INODE_SMALL)) {
        reply.spilled = 1;
        error = spill_join(request, ns, &inode, body->handle, body->capability.access);
    } else {
        error = small_change(request, ns, &inode, request->from->client);
        if (error)
            return error < 0 ? error : 0;
        uint64_t size = inode.size;
        error = take(ns, &inode, data);
        if (!error)
            error = apply(body, data, &size);
        if (!error)
            error = put(ns, &inode, data, size);
        if (!error)
            error = spill_keep_orphan(request, ns, &inode, body->handle, body->capability.access);
        counter_add(&service->small.counters[SMALL_WRITES], 1);
        delegations_give(request, ns, &inode, 0, &reply.delegation);
    }
    request_attr(ns, &inode, &reply.attr);
    return error ? error
                 : request_answer(request, service->scratch,
                                  wire_encode_small_write_reply(service->scratch, LIMITS_BODY_MAX, &reply));
}

int request_spill(struct request *request, struct ns *ns)
{
    const struct wire_spill *body = &request->body.spill;
    struct service *service = request->service;
    struct wire_spill_reply reply = {0};
    struct inode inode;
    int error = request_find(request, ns, &body->capability, 0, &inode);
    if (!error && (inode.flags & INODE_SMALL)) {
        bool empty = inode.size == 0;
        error = small_spill(request, ns, &inode);
        if (error)
            return error < 0 ? error : 0;
        const struct opens_handle *handle = opens_find(ns->opens, body->handle);
        reply.sole = empty && handle && handle->sole;
    }
    if (!error)
        error = spill_join(request, ns, &inode, body->handle, body->capability.access);
    return error ? error
                 : request_answer(request, service->scratch,
                                  wire_encode_spill_reply(service->scratch, LIMITS_BODY_MAX, &reply));
}
