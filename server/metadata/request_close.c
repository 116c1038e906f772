/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of an open file: its client gives the handle back, in a list that rides with another request or
 * has one of its own; or the client is gone.
 *
 * The client need not wait until the store has heard of a close: were it lost in a crash, the file would be
 * taken for open for writing a while longer, which keeps its size exact. So each close is a job of its own,
 * in front of the request that brought it, which takes effect whatever becomes of that request.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "records.h"
#include "service_internal.h"

int request_end_orphan(struct service *service, struct ns *ns, const struct inode *inode)
{
    int error = records_unmark(ns->txn, STORE_ORPHANS, inode->ino);
    if (!error)
        error = ns_destroy(ns, inode);
    if (!error)
        removals_want(&service->removals);
    return error;
}

/* Whether this handle's client may know what the storage servers would say: no one else has opened the
 * file for writing, or cut it, since it did, and nothing was in doubt then. */
static bool may_tell(const struct opens_handle *handle)
{
    const struct opens_file *file = handle->file;
    return handle->sole && file->writers == 1 && !file->truncations && !file->dirty &&
           file->generation == handle->generation;
}

/* A file that was never written before: the client has seen all that there is. It may say what is wrong, as
 * it may write what is wrong, to this file only. */
static int settle_as_told(struct service *service, struct ns *ns, const struct wire_closing *closing,
                          struct inode *inode)
{
    const struct ns_size size = {
        .end = closing->end, .bytes = closing->bytes, .mtime_ns = closing->mtime_ns, .bounded = true};
    counter_add(&service->closes_told, 1);
    return size.end ? ns_size_settle(ns, inode, &size) : ns_size_close(ns, inode);
}

/* The last writer has gone. */
static int end_writing(struct service *service, struct ns *ns, struct opens_file *file, struct inode *inode)
{
    if (!file->dirty)
        return ns_size_close(ns, inode);
    settle_want(&service->settle, inode);
    return ns_size_unsettle(ns, inode);
}

int request_release(struct service *service, struct ns *ns, struct opens_handle *handle,
                    const struct wire_closing *closing)
{
    struct opens_file *file = handle->file;
    /* Who writes to a small file is not in the store. */
    bool writer = (handle->access & WIRE_ACCESS_WRITE) && handle->recorded;
    int error = writer ? records_writer_delete(ns->txn, opens_number(handle)) : 0;
    if (!error && handle->has_pointer)
        error = records_pointer_delete(ns->txn, opens_number(handle));
    if (error && error != -ENOENT)
        return error;
    bool told = writer && closing->told && may_tell(handle);
    opens_close(ns->opens, handle);
    bool last_writer = writer && !file->writers && !file->truncations;
    bool last = !opens_in_use(ns->opens, opens_ino(file));
    if (writer && closing->wrote && !told)
        file->dirty = true;
    if (!last_writer && !(last && file->orphan))
        return 0;

    struct inode inode;
    error = records_inode_get(ns->txn, opens_ino(file), &inode);
    if (error)
        return error == -ENOENT ? 0 : error;
    if (inode.nlink == 0 && last)
        return request_end_orphan(service, ns, &inode);
    if (!last_writer || !(inode.flags & INODE_SIZE_OPEN))
        return 0;
    if (told && !(inode.flags & INODE_WRITTEN))
        return settle_as_told(service, ns, closing, &inode);
    if (closing->wrote)
        file->dirty = true;
    return end_writing(service, ns, file, &inode);
}

/* ---- one close ---------------------------------------------------------- */

struct release {
    struct job job;
    struct service *service;
    struct wire_closing closing;
};

/* Whether the store must hear of the end of this handle. Of one that an earlier start gave out, only its
 * shared pointer may be left. */
static bool matters(const struct opens *opens, const struct opens_handle *handle, uint64_t number)
{
    if (!handle)
        return opens_is_earlier(opens, number);
    return handle->recorded || handle->file->orphan || handle->has_pointer;
}

static bool release_writes(struct job *job)
{
    const struct release *release = list_item(job, struct release, job);
    struct opens *opens = release->service->opens;
    uint64_t number = release->closing.handle;
    return matters(opens, opens_find(opens, number), number);
}

static int release_run(struct job *job, struct ns *ns)
{
    struct release *release = list_item(job, struct release, job);
    uint64_t number = release->closing.handle;
    struct opens_handle *handle = opens_find(ns->opens, number);
    if (handle)
        return request_release(release->service, ns, handle, &release->closing);
    return opens_is_earlier(ns->opens, number) ? records_pointer_delete(ns->txn, number) : 0;
}

static void release_done(struct job *job, int status)
{
    struct release *release = list_item(job, struct release, job);
    if (status < 0)
        log_error("closing handle %#" PRIx64 ": %s", release->closing.handle, err_text());
    free(release);
}

static bool is_own(const struct request *request, const struct opens_handle *handle)
{
    return memcmp(handle->client->id, request->from->client, sizeof handle->client->id) == 0;
}

/* Who asks for attributes right after writing is not to be sent to the storage servers. */
static bool helps(const struct request *request, const struct wire_closing *closing)
{
    return closing->told && request->operation->number == WIRE_OP_stat;
}

static void release_submit(struct request *request, const struct wire_closing *closing)
{
    struct service *service = request->service;
    struct opens_handle *handle = opens_find(service->opens, closing->handle);
    /* One that is closed already was: by a request whose answer was lost, by the end of the client's
     * lease, or by a restart of this server. */
    if (handle ? !is_own(request, handle) || handle->closing
               : !opens_is_earlier(service->opens, closing->handle))
        return;
    struct release *release = calloc(1, sizeof *release);
    if (!release) {
        log_error("no memory to close a file; it stays open until its client is gone");
        return;
    }
    release->job = (struct job){
        .writes = release_writes,
        .run = release_run,
        .done = release_done,
        .lazy = matters(service->opens, handle, closing->handle) && !helps(request, closing),
    };
    release->service = service;
    release->closing = *closing;
    if (handle)
        handle->closing = true;
    counter_add(&service->closes, 1);
    turn_submit(&service->turn, &release->job);
}

/* ---- those that a request brings ------------------------------------------ */

static const struct wire_list *list_of(const struct request *request)
{
    return request->operation->closes ? request->operation->closes(request) : NULL;
}

int request_closes_check(const struct request *request)
{
    const struct wire_list *list = list_of(request);
    struct wire_closing closing;
    if (!list)
        return 0;
    struct wire_reader reader = wire_list_reader(list);
    for (uint32_t i = 0; i < list->count; i++)
        wire_get_closing(&reader, &closing);
    return wire_read_all(&reader, "list of closes");
}

void request_closes(struct request *request)
{
    const struct wire_list *list = list_of(request);
    if (!list)
        return;
    struct wire_reader reader = wire_list_reader(list);
    for (uint32_t i = 0; i < list->count; i++) {
        struct wire_closing closing;
        wire_get_closing(&reader, &closing);
        release_submit(request, &closing);
    }
}

int request_close(struct request *request, struct ns *ns)
{
    const struct wire_list *list = &request->body.close.closes;
    struct wire_reader reader = wire_list_reader(list);
    for (uint32_t i = 0; i < list->count; i++) {
        struct wire_closing closing;
        wire_get_closing(&reader, &closing);
        const struct opens_handle *handle = opens_find(ns->opens, closing.handle);
        if (handle ? !is_own(request, handle) : !opens_known(ns->opens, closing.handle))
            return err_set(-EBADF, "there is no open file with the handle %#" PRIx64, closing.handle);
    }
    return 0;
}
