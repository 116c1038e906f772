/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations on names and attributes: each is a call of the namespace with
 * its request taken apart and its answer put together.
 */
#include <errno.h>
#include <string.h>

#include "err.h"
#include "path_name.h"
#include "service_internal.h"

int request_stat(struct request *request, struct ns *ns)
{
    struct service *service = request->service;
    const struct wire_stat *stat = &request->body.stat;
    struct wire_stat_reply reply = {0};
    struct inode inode;
    struct ns_ways ways = {0};
    const bool wanted = (stat->flags & WIRE_STAT_DELEGATE) && *stat->path;
    ns->ways = wanted ? &ways : NULL;
    const bool nofollow = stat->flags & WEFT_STAT_NOFOLLOW;
    int error = ns_stat(ns, stat->path, stat->ino, nofollow, &inode);
    if (!error && wanted) {
        delegations_give(request, ns, &inode, path_name(stat->path, strlen(stat->path)), &reply.delegation);
    } else if (error == -ENOENT && wanted && ns_stat_folder(ns, stat->path, nofollow, &inode) == 0) {
        error = delegations_give_absent(request, ns, &inode, stat->path, &reply.delegation);
        reply.absent = !error;
    }
    ns->ways = NULL;
    if (error)
        return error;
    request_attr(ns, &inode, &reply.attr);
    if (inode.flags & INODE_SIZE_OPEN)
        request_capability(service, &inode, 0, &reply.capability);
    return request_answer(request, service->scratch,
                          wire_encode_stat_reply(service->scratch, LIMITS_BODY_MAX, &reply));
}

int request_access(struct request *request, struct ns *ns)
{
    return ns_access(ns, request->body.access.path, request->body.access.mode);
}

int request_readlink(struct request *request, struct ns *ns)
{
    char target[LIMITS_SYMLINK_MAX + 1];
    struct wire_readlink_reply reply = {.target = target};
    uint8_t *scratch = request->service->scratch;
    int error = ns_readlink(ns, request->body.readlink.path, target);
    if (error)
        return error;
    return request_answer(request, scratch, wire_encode_readlink_reply(scratch, LIMITS_BODY_MAX, &reply));
}

/* ---- readdir ------------------------------------------------------------ */

/* The list is encoded into the first half of the scratch memory, the answer around it into the second. */
#define LIST_BYTES_MAX (LIMITS_BODY_MAX / 2 - 64)

struct batch {
    const struct ns *ns;
    struct wire_writer writer;
    uint32_t count, count_max;
    bool full;
};

static int add_entry(void *arg, const char *name, const struct inode *inode)
{
    struct batch *batch = arg;
    struct wire_dirent dirent = {.name = name};
    if (batch->count == batch->count_max) {
        batch->full = true;
        return 1;
    }
    struct wire_writer before = batch->writer;
    request_attr(batch->ns, inode, &dirent.attr);
    wire_put_dirent(&batch->writer, &dirent);
    if (batch->writer.bad) {
        batch->writer = before;
        batch->full = true;
        return 1;
    }
    batch->count++;
    return 0;
}

int request_readdir(struct request *request, struct ns *ns)
{
    const struct wire_readdir *readdir = &request->body.readdir;
    uint8_t *scratch = request->service->scratch, *answer = scratch + LIMITS_BODY_MAX / 2;
    struct batch batch = {
        .ns = ns,
        .writer = wire_writer_on(scratch, LIST_BYTES_MAX),
        .count_max = readdir->count_max ? readdir->count_max : 4096,
    };
    int error = ns_readdir(ns, readdir->path, readdir->after, add_entry, &batch);
    if (error)
        return error;
    struct wire_readdir_reply reply = {.end = !batch.full,
                                       .entries = wire_list_of(&batch.writer, batch.count)};
    return request_answer(request, answer, wire_encode_readdir_reply(answer, LIMITS_BODY_MAX / 2, &reply));
}

/* ---- changes ------------------------------------------------------------ */

int request_mkdir(struct request *request, struct ns *ns)
{
    return ns_mkdir(ns, request->body.mkdir.path, request->body.mkdir.mode);
}

int request_mknod(struct request *request, struct ns *ns)
{
    const struct wire_mknod *mknod = &request->body.mknod;
    return ns_mknod(ns, mknod->path, mknod->mode, mknod->rdev);
}

int request_rmdir(struct request *request, struct ns *ns)
{
    return ns_rmdir(ns, request->body.rmdir.path);
}

/* A call that may have put objects in line to be removed. A sweep too many does no harm. */
static int with_removals(struct request *request, const struct ns *ns, int error)
{
    if (!error && ns->removals)
        removals_want(&request->service->removals);
    return error;
}

int request_unlink(struct request *request, struct ns *ns)
{
    return with_removals(request, ns, ns_unlink(ns, request->body.unlink.path));
}

int request_rename(struct request *request, struct ns *ns)
{
    return with_removals(request, ns, ns_rename(ns, request->body.rename.from, request->body.rename.to));
}

int request_symlink(struct request *request, struct ns *ns)
{
    return ns_symlink(ns, request->body.symlink.target, request->body.symlink.path);
}

int request_link(struct request *request, struct ns *ns)
{
    return ns_link(ns, request->body.link.from, request->body.link.to);
}

int request_setattr(struct request *request, struct ns *ns)
{
    return ns_setattr(ns, &request->body.setattr);
}

int request_hints_set(struct request *request, struct ns *ns)
{
    return ns_hints_set(ns, request->body.hints_set.path, request->body.hints_set.hints);
}

int request_hints_get(struct request *request, struct ns *ns)
{
    char hints[WEFT_HINTS_BYTES_MAX + 1];
    struct wire_hints_get_reply reply = {.hints = hints};
    uint8_t *scratch = request->service->scratch;
    int error = ns_hints_get(ns, request->body.hints_get.path, hints);
    if (error)
        return error;
    return request_answer(request, scratch, wire_encode_hints_get_reply(scratch, LIMITS_BODY_MAX, &reply));
}

int request_layout_set(struct request *request, struct ns *ns)
{
    const struct wire_layout_set *set = &request->body.layout_set;
    struct layout layout = {.chunk_size = set->layout.chunk_size, .stripe_count = set->layout.stripe_count};
    const struct ns_placement placement = {.kind = set->placement, .host = set->host};
    return ns_layout_set(ns, set->path, &layout, &placement, set->pool);
}
