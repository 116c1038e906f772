/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and truncating files.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "path_name.h"
#include "records.h"
#include "service_internal.h"

static uint32_t access_of(uint32_t flags)
{
    return (flags & WIRE_OPEN_READ ? WIRE_ACCESS_READ : 0) |
           (flags & WIRE_OPEN_WRITE ? WIRE_ACCESS_WRITE : 0);
}

/* ---- open --------------------------------------------------------------- */

bool request_open_writes(const struct request *request)
{
    return request->body.open.flags & (WIRE_OPEN_WRITE | WIRE_OPEN_CREATE | WIRE_OPEN_TRUNCATE);
}

int request_open_answer(struct request *request, const struct ns *ns, const struct inode *inode,
                        uint64_t handle, bool created, uint64_t map_version)
{
    struct service *service = request->service;
    char hints[WEFT_HINTS_BYTES_MAX + 1];
    uint8_t others[DELEG_OTHERS_BYTES];
    struct wire_open_reply reply = {
        .handle = handle,
        .created = created,
        .map_version = map_version,
        .hints = hints,
    };
    int error = records_hints_get(ns->txn, request->dir, hints);
    if (error)
        return error;
    if (ns->ways)
        delegations_give(request, ns, inode,
                         path_name(request->body.open.path, strlen(request->body.open.path)),
                         &reply.delegation);
    error = delegations_hold(request, ns, inode, others, &reply);
    if (error)
        return error;
    request_attr(ns, inode, &reply.attr);
    request_capability(service, inode, access_of(request->body.open.flags), &reply.capability);
    if (inode->flags & INODE_SMALL) {
        struct opens_handle *opened = opens_find(ns->opens, handle);
        reply.small_max = small_max(service, inode);
        /* Answers to those who write are kept, and need not have it. */
        if (opened && !(opened->access & WIRE_ACCESS_WRITE))
            error = small_tell(service, ns, inode, opened, &reply.small);
        if (error)
            return error;
    }
    return request_answer(request, service->scratch,
                          wire_encode_open_reply(service->scratch, LIMITS_BODY_MAX, &reply));
}

static int begin_writing(struct ns *ns, struct inode *inode, struct opens_handle *handle, bool created)
{
    if (inode->flags & INODE_SMALL)
        return 0; /* its size is the store's business alone */
    /* The file may have grown by writers that are gone: it was so before it got into memory. */
    if ((inode->flags & INODE_SIZE_OPEN) && handle->file->writers == 1 && !created)
        handle->file->dirty = true;
    handle->sole = handle->file->writers == 1 && (created || !(inode->flags & INODE_SIZE_OPEN));
    handle->generation = handle->file->generation;
    int error = ns_size_open(ns, inode);
    return error ? error : ns_writer_note(ns, handle);
}

/* An empty file that no storage server has anything of needs no one to be asked. */
static bool is_surely_empty(const struct inode *inode)
{
    return inode->size == 0 && !(inode->flags & INODE_SIZE_OPEN);
}

static int touch(struct ns *ns, struct inode *inode)
{
    inode->mtime_ns = inode->ctime_ns = inode->mtime_base_ns = ns->now_ns;
    return records_inode_put(ns->txn, inode);
}

/* 1: it has to wait. */
static int prepare_small(struct request *request, struct ns *ns, struct inode *inode, bool created)
{
    uint32_t flags = request->body.open.flags;
    if (!(inode->flags & INODE_SMALL) || created)
        return 0;
    int error = flags & WIRE_OPEN_SMALL ? 0 : small_spill(request, ns, inode);
    if (!error && (flags & WIRE_OPEN_TRUNCATE) && (inode->flags & INODE_SMALL) && inode->size) {
        error = small_change(request, ns, inode, NULL);
        if (!error)
            error = small_resize(ns, inode, 0);
    }
    return error;
}

static struct opens_client *opener(const struct request *request, struct ns *ns)
{
    struct opens_client *client = opens_client_get(ns->opens, request->from->client);
    if (client && !client->connections && !client->lost_ns)
        client->lost_ns = service_now(request->service);
    return client;
}

int request_open_new(struct request *request, struct ns *ns, struct inode *inode, uint32_t access,
                     bool created, struct opens_handle **handle)
{
    struct opens_client *client = opener(request, ns);
    *handle = client ? opens_add(ns->opens, client, inode->ino, access, request->from->id) : NULL;
    if (!*handle)
        return -ENOMEM;
    int error = access & WIRE_ACCESS_WRITE ? begin_writing(ns, inode, *handle, created) : 0;
    if (error)
        opens_close(ns->opens, *handle);
    return error;
}

static int open_inode(struct request *request, struct ns *ns, struct inode *inode, bool created)
{
    uint32_t flags = request->body.open.flags;
    struct opens_client *client = opens_client_find(ns->opens, request->from->client);
    /* It opened before, and the answer was lost. */
    struct opens_handle *handle,
        *old = client && client->reconnected ? opens_find_request(client, request->from->id) : NULL;
    if (old && !old->recorded)
        opens_close(ns->opens, old);
    bool truncate = (flags & WIRE_OPEN_TRUNCATE) && !created;
    bool ask = truncate && !is_surely_empty(inode);
    int error = 0;
    if (truncate && !ask)
        error = touch(ns, inode);
    if (!error)
        error = request_open_new(request, ns, inode, access_of(flags), created, &handle);
    if (error)
        return error;
    if (ask)
        error = truncation_prepare(request, ns, inode, 0, false, opens_number(handle));
    if (error) {
        opens_close(ns->opens, handle);
        return error;
    }
    return request_open_answer(request, ns, inode, opens_number(handle), created,
                               members_map(request->service->members)->version);
}

static int open_by_path(struct request *request, struct ns *ns)
{
    const struct wire_open *body = &request->body.open;
    struct ns_open open = {
        .path = body->path,
        .flags = body->flags,
        .mode = body->mode,
        .layout = {.chunk_size = body->layout.chunk_size, .stripe_count = body->layout.stripe_count},
        .pool = body->pool,
        .placement = {.kind = body->placement, .host = body->host},
        .small = small_wanted(request->service, body->flags),
        .size_open = body->flags & WIRE_OPEN_WRITE, /* its record is then put once, not twice */
    };
    struct inode inode;
    bool created;
    int error = ns_open(ns, &open, &inode, &created);
    request->dir = open.dir;
    if (!error)
        error = prepare_small(request, ns, &inode, created);
    if (error)
        return error < 0 ? error : 0;
    return open_inode(request, ns, &inode, created);
}

int request_open(struct request *request, struct ns *ns)
{
    struct ns_ways ways = {0};
    ns->ways = request->body.open.flags & WIRE_OPEN_DELEGATE ? &ways : NULL;
    int error = open_by_path(request, ns);
    ns->ways = NULL;
    return error;
}

/* ---- truncate ----------------------------------------------------------- */

static int find_by_path(struct ns *ns, const char *text, struct inode *inode)
{
    struct path path;
    int error = path_resolve_existing(ns, text, PATH_FOLLOW, &path);
    if (error)
        return error;
    *inode = path.inode;
    if (inode_is_dir(inode))
        return err_set(-EISDIR, "%s: a directory", text);
    return path_require(ns, inode, NS_MAY_WRITE, text);
}

int request_truncate(struct request *request, struct ns *ns)
{
    const struct wire_truncate *truncate = &request->body.truncate;
    struct inode inode;
    int error = *truncate->path ? find_by_path(ns, truncate->path, &inode)
                                : request_find(request, ns, &truncate->capability, WIRE_ACCESS_WRITE, &inode);
    if (error)
        return error;
    if (!inode_is_file(&inode))
        return err_set(-EINVAL, "%s: not a regular file", truncate->path);
    if ((inode.flags & INODE_SMALL) && truncate->size > small_max(request->service, &inode)) {
        error = small_spill(request, ns, &inode);
        if (error)
            return error < 0 ? error : 0;
    }
    bool known = !(inode.flags & INODE_SIZE_OPEN);
    if (known && truncate->grow_only && truncate->size <= inode.size)
        return 0;
    if (known && truncate->size == inode.size)
        return touch(ns, &inode);
    if (inode.flags & INODE_SMALL) {
        error = small_change(request, ns, &inode, NULL);
        return error < 0 ? error : error ? 0 : small_resize(ns, &inode, truncate->size);
    }
    return truncation_prepare(request, ns, &inode, truncate->size, truncate->grow_only, 0);
}
