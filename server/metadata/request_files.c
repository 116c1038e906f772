/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening, closing and truncating files.
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
                        uint64_t handle, bool created)
{
    struct service *service = request->service;
    char hints[WEFT_HINTS_BYTES_MAX + 1];
    struct wire_open_reply reply = {
        .handle = handle,
        .created = created,
        .map_version = members_map(service->members)->version,
        .hints = hints,
    };
    int error = records_hints_get(ns->txn, request->dir, hints);
    if (error)
        return error;
    request_attr(ns, inode, &reply.attr);
    request_capability(service, inode, access_of(request->body.open.flags), &reply.capability);
    return request_answer(request, service->scratch,
                          wire_encode_open_reply(service->scratch, LIMITS_BODY_MAX, &reply));
}

static int begin_writing(struct request *request, struct ns *ns, struct inode *inode,
                         const struct opens_handle *handle, bool created)
{
    struct writer writer = {.handle = opens_number(handle), .ino = inode->ino, .access = handle->access};
    memcpy(writer.client, request->from->client, sizeof writer.client);
    /* The file may have grown by writers that are gone: it was so before it got into memory. */
    if ((inode->flags & INODE_SIZE_OPEN) && handle->file->writers == 1 && !created)
        handle->file->dirty = true;
    int error = ns_size_open(ns, inode);
    return error ? error : records_writer_put(ns->txn, &writer);
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

static int open_inode(struct request *request, struct ns *ns, struct inode *inode, bool created)
{
    uint32_t flags = request->body.open.flags;
    struct opens_client *client = opens_client_get(ns->opens, request->from->client);
    if (!client)
        return -ENOMEM;
    if (!client->connections && !client->lost_ns)
        client->lost_ns = service_now(request->service);
    /* It opened before, and the answer was lost. */
    struct opens_handle *old = client->reconnected ? opens_find_request(client, request->from->id) : NULL;
    if (old && !(old->access & WIRE_ACCESS_WRITE))
        opens_close(ns->opens, old);
    bool truncate = (flags & WIRE_OPEN_TRUNCATE) && !created;
    bool ask = truncate && !is_surely_empty(inode);
    int error = 0;
    if (truncate && !ask)
        error = touch(ns, inode);
    struct opens_handle *handle =
        error ? NULL : opens_add(ns->opens, client, inode->ino, access_of(flags), request->from->id);
    if (!handle)
        return error ? error : -ENOMEM;
    if (flags & WIRE_OPEN_WRITE)
        error = begin_writing(request, ns, inode, handle, created);
    if (!error && ask)
        error = truncation_prepare(request, ns, inode, 0, false, opens_number(handle));
    if (error) {
        opens_close(ns->opens, handle);
        return error;
    }
    return request_open_answer(request, ns, inode, opens_number(handle), created);
}

int request_open(struct request *request, struct ns *ns)
{
    const struct wire_open *body = &request->body.open;
    struct ns_open open = {
        .path = body->path,
        .flags = body->flags,
        .mode = body->mode,
        .layout = {.chunk_size = body->layout.chunk_size, .stripe_count = body->layout.stripe_count},
        .pool = body->pool,
        .size_open = body->flags & WIRE_OPEN_WRITE, /* its record is then put once, not twice */
    };
    struct inode inode;
    bool created;
    int error = ns_open(ns, &open, &inode, &created);
    request->dir = open.dir;
    return error ? error : open_inode(request, ns, &inode, created);
}

/* ---- close -------------------------------------------------------------- */

int request_end_orphan(struct service *service, struct ns *ns, const struct inode *inode)
{
    int error = records_unmark(ns->txn, STORE_ORPHANS, inode->ino);
    if (!error)
        error = ns_destroy(ns, inode);
    if (!error)
        removals_want(&service->removals);
    return error;
}

/* The last writer has gone. */
static int end_writing(struct service *service, struct ns *ns, struct opens_file *file, struct inode *inode)
{
    if (!file->dirty)
        return ns_size_close(ns, inode);
    settle_want(&service->settle, inode);
    return ns_size_unsettle(ns, inode);
}

int request_release(struct service *service, struct ns *ns, struct opens_handle *handle, bool wrote)
{
    struct opens_file *file = handle->file;
    bool writer = handle->access & WIRE_ACCESS_WRITE;
    int error = writer ? records_writer_delete(ns->txn, opens_number(handle)) : 0;
    if (!error && handle->has_pointer)
        error = records_pointer_delete(ns->txn, opens_number(handle));
    if (error)
        return error;
    if (writer && wrote)
        file->dirty = true;
    opens_close(ns->opens, handle);
    bool last_writer = writer && !file->writers && !file->truncations;
    bool last = !opens_in_use(ns->opens, opens_ino(file));
    if (!last_writer && !(last && file->orphan))
        return 0;

    struct inode inode;
    error = records_inode_get(ns->txn, opens_ino(file), &inode);
    if (error)
        return error == -ENOENT ? 0 : error;
    if (inode.nlink == 0 && last)
        return request_end_orphan(service, ns, &inode);
    return last_writer && (inode.flags & INODE_SIZE_OPEN) ? end_writing(service, ns, file, &inode) : 0;
}

static struct opens_handle *find_own(struct request *request)
{
    struct opens_handle *handle = opens_find(request->service->opens, request->body.close.handle);
    bool own = handle && memcmp(handle->client->id, request->from->client, sizeof handle->client->id) == 0;
    return own ? handle : NULL;
}

/* Whether the store must hear of the end of this handle. */
static bool matters(const struct opens_handle *handle)
{
    return (handle->access & WIRE_ACCESS_WRITE) || handle->file->orphan || handle->has_pointer;
}

int request_close(struct request *request, struct ns *ns)
{
    uint64_t number = request->body.close.handle;
    struct opens_handle *handle = find_own(request);
    if (handle && !matters(handle))
        opens_close(ns->opens, handle);
    /* One that was given out once is closed already: by a request whose answer was
     * lost, by the end of the client's lease, or by a restart of this server. */
    if (handle || (!opens_find(ns->opens, number) && opens_known(ns->opens, number)))
        return 0;
    return err_set(-EBADF, "there is no open file with the handle %#" PRIx64, number);
}

/*
 * The client need not wait until the store has heard of a close: were it lost
 * in a crash, the file would be taken for open for writing a while longer,
 * which keeps its size exact.
 */
struct release {
    struct job job;
    struct service *service;
    uint64_t handle;
    bool wrote;
};

static bool release_writes(struct job *job)
{
    (void)job;
    return true;
}

static int release_run(struct job *job, struct ns *ns)
{
    struct release *release = list_item(job, struct release, job);
    struct opens_handle *handle = opens_find(ns->opens, release->handle);
    return handle ? request_release(release->service, ns, handle, release->wrote)
                  : records_pointer_delete(ns->txn, release->handle);
}

static void release_done(struct job *job, int status)
{
    struct release *release = list_item(job, struct release, job);
    if (status < 0)
        log_error("closing handle %#" PRIx64 ": %s", release->handle, err_text());
    free(release);
}

void request_closed(struct request *request)
{
    const struct opens *opens = request->service->opens;
    struct opens_handle *handle = find_own(request);
    /* Of one that an earlier start gave out, only its shared pointer may be left. */
    if (handle ? handle->closing : !opens_is_earlier(opens, request->body.close.handle))
        return;
    struct release *release = calloc(1, sizeof *release);
    if (!release) {
        log_error("no memory to close a file; it stays open until its client is gone");
        return;
    }
    release->job =
        (struct job){.writes = release_writes, .run = release_run, .done = release_done, .lazy = true};
    release->service = request->service;
    release->handle = request->body.close.handle;
    release->wrote = request->body.close.wrote;
    if (handle)
        handle->closing = true;
    turn_submit(&request->service->turn, &release->job);
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

static int find_by_capability(struct request *request, struct ns *ns, struct inode *inode)
{
    const struct wire_capability *capability = &request->body.truncate.capability;
    int error = capability_check(request->service->conf->key, capability, WIRE_ACCESS_WRITE);
    if (error)
        return error;
    error = records_inode_get(ns->txn, capability->ino, inode);
    if (error == -ENOENT)
        return err_set(-ESTALE, "the open file (inode %" PRIu64 ") does not exist any more", capability->ino);
    return error;
}

int request_truncate(struct request *request, struct ns *ns)
{
    const struct wire_truncate *truncate = &request->body.truncate;
    struct inode inode;
    int error =
        *truncate->path ? find_by_path(ns, truncate->path, &inode) : find_by_capability(request, ns, &inode);
    if (error)
        return error;
    if (!inode_is_file(&inode))
        return err_set(-EINVAL, "%s: not a regular file", truncate->path);
    bool known = !(inode.flags & INODE_SIZE_OPEN);
    if (known && truncate->grow_only && truncate->size <= inode.size)
        return 0;
    if (known && truncate->size == inode.size)
        return touch(ns, &inode);
    return truncation_prepare(request, ns, &inode, truncate->size, truncate->grow_only, 0);
}
