/* SPDX-License-Identifier: Apache-2.0 */
#include "spill.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "records.h"
#include "service_internal.h"
#include "small.h"

/* How often the bytes are written when storage servers' hosts crash. */
enum { TRIES_MAX = 5 };

struct spill {
    struct service *service;
    struct list_link link; /* in service->small.spills */
    struct list waiting;   /* struct request */
    uint64_t ino;
    struct opens_file *file; /* pinned */
    struct job job;
    struct deleg_waiter recalls;
    struct agent_work work;
    bool counted; /* among the file's truncations: the inode stays, and nobody else takes its end for noted */
    bool is_needed; /* it is a small file still */
    bool moves;     /* there are bytes to be moved */
    unsigned tries;
    uint64_t map_version; /* that the present try was begun by */
    bool cuts; /* an earlier try may have left something */
    uint8_t data[LIMITS_SMALL_BYTES_MAX];
};

static bool always(struct job *job)
{
    (void)job;
    return true;
}

/* ---- ending ------------------------------------------------------------- */

/* err_text() is that of `status`. */
static void end(struct spill *spill, int status)
{
    struct service *service = spill->service;
    char text[LIMITS_ERROR_TEXT_MAX + 1];
    struct list_link *link;
    bool is_orphan = spill->file->orphan;
    uint64_t ino = spill->ino;
    snprintf(text, sizeof text, "%s", status < 0 ? err_text() : "");
    spill->file->spilling = false;
    spill->file->truncations -= spill->counted;
    opens_file_unpin(service->opens, spill->file);
    list_remove(&spill->link);
    if (is_orphan && !opens_in_use(service->opens, ino))
        truncation_end_orphan(service, ino);
    while ((link = list_pop(&spill->waiting))) {
        struct request *request = list_item(link, struct request, link);
        if (status < 0) {
            err_set(status, "%s", text);
            request_finish(request, status);
        } else {
            turn_submit(&service->turn, &request->job);
        }
    }
    free(spill);
}

/* ---- the last step ------------------------------------------------------ */

int spill_note(struct ns *ns, struct inode *inode)
{
    struct opens_file *file = opens_file_find(ns->opens, inode->ino);
    bool is_empty = inode->size == 0;
    int error = records_small_put(ns->txn, inode->ino, NULL, 0);
    inode->flags &= ~(uint32_t)INODE_SMALL;
    if (!is_empty) {
        inode->flags |= INODE_WRITTEN;
        /* Moving the bytes was no write. */
        inode->mtime_base_ns = ns->now_ns;
    }
    if (!error && file)
        error = ns_writers_note(ns, inode->ino);
    if (file && file->writers) {
        list_each(&file->openings, link, after)
        {
            struct opens_handle *handle = list_item(link, struct opens_handle, file_link);
            /* Also when this is undone: of a small file nobody looks at it. */
            handle->generation = file->generation;
            handle->sole = file->writers == 1 && is_empty && !(inode->flags & INODE_WRITTEN);
        }
        inode->flags |= INODE_SIZE_OPEN;
    } else if (!is_empty) {
        inode->flags |= INODE_BOUNDED;
    }
    return error ? error : records_inode_put(ns->txn, inode);
}

static int last_run(struct job *job, struct ns *ns)
{
    struct spill *spill = list_item(job, struct spill, job);
    struct inode inode;
    int error = records_inode_get(ns->txn, spill->ino, &inode);
    if (error)
        return error;
    counter_add(&spill->service->small.counters[SMALL_SPILLS], 1);
    /* Whoever closes the file in this turn finds it noted. When this is undone nobody needs the inode: who
     * ends it meanwhile leaves its objects to the removals. */
    spill->file->truncations -= spill->counted;
    spill->counted = false;
    return inode.flags & INODE_SMALL ? spill_note(ns, &inode) : 0;
}

static void last_done(struct job *job, int status)
{
    struct spill *spill = list_item(job, struct spill, job);
    if (status < 0)
        log_error("noting that inode %" PRIu64 " lies with the storage servers: %s", spill->ino, err_text());
    end(spill, status);
}

/* ---- the step between --------------------------------------------------- */

static enum agent_kind first_kind(const struct spill *spill)
{
    return spill->cuts ? AGENT_TRUNCATE : AGENT_WRITE;
}

/* A host that has crashed since the bytes were sent has nothing to sync any more, and says so to nobody. */
static bool is_lost(const struct spill *spill)
{
    const struct map *map = members_map(spill->service->members);
    return map_lost_since(map, &spill->work.layout, spill->map_version) != NULL;
}

/* What was durable here is to be so there. 0: it is; 1: *next has to be done. */
static int step(struct spill *spill, enum agent_kind *next)
{
    const struct agent_work *work = &spill->work;
    if (work->kind == first_kind(spill))
        spill->map_version = work->map_version;
    if (!spill->moves)
        return 0;
    if (work->kind == AGENT_TRUNCATE || work->kind == AGENT_WRITE) {
        *next = work->kind == AGENT_TRUNCATE ? AGENT_WRITE : AGENT_SYNC;
        return 1;
    }
    *next = first_kind(spill);
    if (!is_lost(spill))
        return 0;
    if (++spill->tries < TRIES_MAX)
        return 1;
    return err_set(-EIO, "a small file can't be moved: the storage servers' hosts crash again and again");
}

static void answered(struct agent_work *work)
{
    struct spill *spill = list_item(work, struct spill, work);
    enum agent_kind next;
    if (work->status) {
        end(spill,
            err_set(work->status, "a small file can't be moved to the storage servers: %s", work->text));
        return;
    }
    int result = step(spill, &next);
    if (result < 0) {
        end(spill, result);
        return;
    }
    if (result) {
        work->kind = next;
        agent_start(&spill->service->agent, work);
        return;
    }
    spill->job = (struct job){.writes = always, .run = last_run, .done = last_done};
    turn_submit(&spill->service->turn, &spill->job);
}

/* ---- the first step ----------------------------------------------------- */

/* From here on nothing changes it: what runs next waits. */
static int note_begin(struct spill *spill, struct ns *ns, struct inode *inode)
{
    struct deleg_change change = {.service = spill->service, .waiter = &spill->recalls};
    delegations_watch(&change, ns->txn);
    inode->flags |= INODE_WRITTEN;
    int error = records_inode_put(ns->txn, inode);
    records_watch(ns->txn, NULL);
    if (!error)
        spill->file->spilling = true; /* also when this is undone: then others wait a little longer */
    return spill->recalls.needed ? 0 : error;
}

static int first_run(struct job *job, struct ns *ns)
{
    struct spill *spill = list_item(job, struct spill, job);
    const struct conf *conf = spill->service->conf;
    struct inode inode;
    const uint8_t *data = NULL;
    spill->recalls.needed = false;
    int error = records_inode_get(ns->txn, spill->ino, &inode);
    if (!error)
        error = records_small_get(ns->txn, spill->ino, inode.flags & INODE_SMALL ? inode.size : 0, &data);
    if (error)
        return error;
    spill->is_needed = inode.flags & INODE_SMALL;
    if (!spill->is_needed)
        return 0;
    spill->cuts = inode.flags & INODE_WRITTEN;
    spill->moves = inode.size > 0;
    memcpy(spill->data, data, inode.size);
    spill->work = (struct agent_work){
        .kind = first_kind(spill),
        .ino = inode.ino,
        .layout = inode.layout,
        .data = spill->data,
        .data_length = (uint32_t)inode.size,
        .deadline_ms = conf->deadline_ms / 4 * 3, /* ends before the clients give up */
        .file = spill->file,
        .done = answered,
    };
    return note_begin(spill, ns, &inode);
}

static void first_done(struct job *job, int status)
{
    struct spill *spill = list_item(job, struct spill, job);
    if (spill->recalls.needed) {
        delegations_wait(spill->service, &spill->recalls);
        return;
    }
    if (status < 0 || !spill->is_needed)
        end(spill, status);
    else
        agent_start(&spill->service->agent, &spill->work);
}

static struct spill *find(struct service *service, uint64_t ino)
{
    list_each(&service->small.spills, link, after)
    {
        struct spill *spill = list_item(link, struct spill, link);
        if (spill->ino == ino)
            return spill;
    }
    return NULL;
}

static struct spill *begin(struct service *service, uint64_t ino)
{
    struct spill *spill = calloc(1, sizeof *spill);
    struct opens_file *file = spill ? opens_file_pin(service->opens, ino) : NULL;
    if (!file) {
        free(spill);
        err_set(-ENOMEM, "no memory to move a small file");
        return NULL;
    }
    spill->service = service;
    spill->ino = ino;
    spill->file = file;
    file->truncations++;
    spill->counted = true;
    list_init(&spill->waiting);
    list_push_back(&service->small.spills, &spill->link);
    spill->job = (struct job){.writes = always, .run = first_run, .done = first_done};
    spill->recalls.job = &spill->job;
    turn_submit(&service->turn, &spill->job);
    return spill;
}

void spill_want(struct request *request)
{
    struct service *service = request->service;
    struct spill *spill = find(service, request->wait.ino);
    if (!spill)
        spill = begin(service, request->wait.ino);
    if (spill)
        list_push_back(&spill->waiting, &request->link);
    else
        request_finish(request, -ENOMEM);
}

/* ---- handles of before -------------------------------------------------- */

/* The handle, also when it is one of an earlier start that is not known yet. NULL: there is none such that
 * can write to this inode. */
static int adopt(struct request *request, struct ns *ns, const struct inode *inode, uint64_t number,
                 uint32_t access, struct opens_handle **out)
{
    struct opens_handle *handle = opens_find(ns->opens, number);
    *out = NULL;
    if (!handle && opens_known(ns->opens, number)) {
        struct opens_client *client = opens_client_get(ns->opens, request->from->client);
        handle = client ? opens_adopt(ns->opens, client, inode->ino, access, number) : NULL;
        if (!handle)
            return -ENOMEM;
        handle->lost_pointer = !opens_is_earlier(ns->opens, number);
    }
    if (handle && opens_ino(handle->file) == inode->ino && (handle->access & WIRE_ACCESS_WRITE))
        *out = handle;
    return 0;
}

int spill_join(struct request *request, struct ns *ns, struct inode *inode, uint64_t number, uint32_t access)
{
    struct opens_handle *handle = NULL;
    int error = access & WIRE_ACCESS_WRITE ? adopt(request, ns, inode, number, access, &handle) : 0;
    if (error || !handle || handle->recorded)
        return error;
    handle->file->dirty = true;
    error = ns_size_open(ns, inode);
    return error ? error : ns_writer_note(ns, handle);
}

int spill_keep_orphan(struct request *request, struct ns *ns, const struct inode *inode, uint64_t number,
                      uint32_t access)
{
    struct opens_handle *handle;
    if (inode->nlink)
        return 0;
    int error = adopt(request, ns, inode, number, access, &handle);
    if (error || !handle)
        return error;
    opens_file_orphan(ns->opens, handle->file);
    return handle->recorded ? 0 : ns_writer_note(ns, handle);
}
