/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Truncation in three steps: a transaction marks the file, so that its size is
 * in doubt from then on also after a crash; the storage servers cut it; a second
 * transaction notes the size. The request waits, the event loop does not.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "err.h"
#include "log.h"
#include "records.h"
#include "service_internal.h"

struct truncation {
    struct request *request;
    struct agent_work work;
    struct job job;
    struct opens_file *file; /* pinned */
    bool known;              /* the size was known before */
    uint64_t size_before;
    uint64_t handle;         /* of an open with truncation */
    int status;              /* what the request is answered */
};

int truncation_prepare(struct request *request, struct ns *ns, struct inode *inode, uint64_t size,
                       bool grow_only, uint64_t handle)
{
    struct service *service = request->service;
    struct truncation *truncation = calloc(1, sizeof *truncation);
    if (!truncation)
        return err_set(-ENOMEM, "no memory for a truncation");
    truncation->file = opens_file_pin(ns->opens, inode->ino);
    if (!truncation->file) {
        free(truncation);
        return -ENOMEM;
    }
    truncation->request = request;
    truncation->handle = handle;
    truncation->known = !(inode->flags & INODE_SIZE_OPEN);
    truncation->size_before = inode->size;
    truncation->file->truncations++;
    truncation->file->generation++;
    truncation->work = (struct agent_work){
        .kind = AGENT_TRUNCATE,
        .ino = inode->ino,
        .layout = inode->layout,
        .size = size,
        .grow_only = grow_only,
        .deadline_ms = service->conf->deadline_ms / 4 * 3, /* ends before the client gives up */
        .file = truncation->file,
    };
    request->truncation = truncation;
    list_push_back(&service->parked, &request->link);
    int error = ns_size_open(ns, inode);
    return error ? error : ns_size_unsettle(ns, inode);
}

static void free_truncation(struct truncation *truncation)
{
    truncation->file->truncations--;
    opens_file_unpin(truncation->request->service->opens, truncation->file);
    truncation->request->truncation = NULL;
    free(truncation);
}

void truncation_cancel(struct request *request)
{
    if (!request->truncation)
        return;
    list_remove(&request->link);
    free_truncation(request->truncation);
}

/* ---- the second transaction --------------------------------------------- */

static bool writes(struct job *job)
{
    (void)job;
    return true;
}

static int note_failure(struct truncation *truncation, struct ns *ns, const struct inode *inode)
{
    struct service *service = truncation->request->service;
    struct opens_handle *handle = truncation->handle ? opens_find(ns->opens, truncation->handle) : NULL;
    truncation->file->dirty = true;
    truncation->status = truncation->work.status;
    if (handle)
        opens_close(ns->opens, handle);
    if (!truncation->file->writers)
        settle_want(&service->settle, inode);
    return truncation->handle ? records_writer_delete(ns->txn, truncation->handle) : 0;
}

static int note_success(struct truncation *truncation, struct ns *ns, struct inode *inode)
{
    struct service *service = truncation->request->service;
    struct opens_file *file = truncation->file;
    const struct opens_handle *own = truncation->handle ? opens_find(ns->opens, truncation->handle) : NULL;
    uint32_t own_writers = own && (own->access & WIRE_ACCESS_WRITE);
    bool alone = file->truncations == 1 && file->writers == own_writers;
    bool exact = alone && (!truncation->work.grow_only || truncation->known);
    uint64_t size = truncation->work.size;
    if (truncation->work.grow_only && size < truncation->size_before)
        size = truncation->size_before;
    if (exact)
        opens_file_clean(ns->opens, file);
    else
        file->dirty = true;
    if (!exact && !file->writers && file->truncations == 1)
        settle_want(&service->settle, inode);
    return ns_size_truncated(ns, inode, size, truncation->work.bytes, exact, file->writers == 0);
}

static int run(struct job *job, struct ns *ns)
{
    struct truncation *truncation = list_item(job, struct truncation, job);
    struct request *request = truncation->request;
    struct inode inode;
    truncation->status = 0;
    int error = records_inode_get(ns->txn, truncation->work.ino, &inode);
    if (error)
        return error;
    if (truncation->work.status)
        return note_failure(truncation, ns, &inode);
    error = note_success(truncation, ns, &inode);
    if (!error && truncation->handle)
        error =
            request_open_answer(request, ns, &inode, truncation->handle, false, truncation->work.map_version);
    return error ? error : request_keep(request, ns);
}

/* Ends a file that lost its last name, and its last user before this one. */
struct ending {
    struct job job;
    struct service *service;
    uint64_t ino;
};

static int end_run(struct job *job, struct ns *ns)
{
    struct ending *ending = list_item(job, struct ending, job);
    struct inode inode;
    int error = records_inode_get(ns->txn, ending->ino, &inode);
    if (error)
        return error == -ENOENT ? 0 : error;
    return inode.nlink || opens_in_use(ns->opens, ending->ino)
               ? 0
               : request_end_orphan(ending->service, ns, &inode);
}

static void end_done(struct job *job, int status)
{
    if (status < 0)
        log_error("cannot end a file without names: %s", err_text());
    free(list_item(job, struct ending, job));
}

/* Used by truncations and spills only: everyone else notices the end of the last use himself. */
void truncation_end_orphan(struct service *service, uint64_t ino)
{
    struct ending *ending = calloc(1, sizeof *ending);
    if (!ending)
        return; /* the next start of the server ends it */
    ending->job = (struct job){.writes = writes, .run = end_run, .done = end_done};
    ending->service = service;
    ending->ino = ino;
    turn_submit(&service->turn, &ending->job);
}

/* The store could not take what the storage servers have done: what it says is not the size. */
static void note_lost(struct truncation *truncation)
{
    const struct agent_work *work = &truncation->work;
    struct opens_file *file = truncation->file;
    log_error("noting a truncation of inode %" PRIu64 ": %s", work->ino, err_text());
    file->dirty = true;
    if (!file->writers && file->truncations == 1)
        settle_want(&truncation->request->service->settle,
                    &(struct inode){.ino = work->ino, .layout = work->layout});
}

static void done(struct job *job, int status)
{
    struct truncation *truncation = list_item(job, struct truncation, job);
    struct request *request = truncation->request;
    struct service *service = request->service;
    uint64_t ino = truncation->work.ino;
    bool orphan = truncation->file->orphan;
    if (status < 0)
        note_lost(truncation);
    if (status == 0 && truncation->status)
        status =
            err_set(truncation->status, "the file may be cut in some places only: %s", truncation->work.text);
    list_remove(&request->link);
    free_truncation(truncation);
    if (orphan && !opens_in_use(service->opens, ino))
        truncation_end_orphan(service, ino);
    request_finish(request, status);
}

static void answered(struct agent_work *work)
{
    struct truncation *truncation = list_item(work, struct truncation, work);
    truncation->job = (struct job){.writes = writes, .run = run, .done = done};
    turn_submit(&truncation->request->service->turn, &truncation->job);
}

void truncation_start(struct request *request)
{
    request->truncation->work.done = answered;
    agent_start(&request->service->agent, &request->truncation->work);
}
