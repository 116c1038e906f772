/* SPDX-License-Identifier: Apache-2.0 */
#include "namespace.h"

#include <errno.h>
#include <string.h>

#include "err.h"
#include "records.h"
#include "weft/weft.h"

static int not_the_owner(const char *text, const char *what)
{
    return err_set(-EPERM, "%s: only the owner may change its %s", text, what);
}

static int set_mode(const struct ns *ns, const struct wire_setattr *request, struct inode *inode)
{
    if (!path_owns(ns, inode))
        return not_the_owner(request->path, "mode");
    uint32_t bits = request->mode & 07777;
    /* No one may make programs run for a group that is not his. */
    if (ns->uid != 0 && !path_in_group(ns, inode->gid) && !inode_is_dir(inode))
        bits &= ~(uint32_t)S_ISGID;
    inode->mode = (inode->mode & S_IFMT) | bits;
    return 0;
}

static int set_owner(const struct ns *ns, const struct wire_setattr *request, struct inode *inode)
{
    uint32_t uid = request->mask & WIRE_SETATTR_UID ? request->uid : inode->uid;
    uint32_t gid = request->mask & WIRE_SETATTR_GID ? request->gid : inode->gid;
    if (ns->uid != 0) {
        if (uid != inode->uid)
            return err_set(-EPERM, "%s: only root may give a file away", request->path);
        if (ns->uid != inode->uid)
            return not_the_owner(request->path, "group");
        if (gid != inode->gid && !path_in_group(ns, gid))
            return err_set(-EPERM, "%s: the owner may change the group to one of his only", request->path);
    }
    inode->uid = uid;
    inode->gid = gid;
    if (!inode_is_dir(inode)) {
        inode->mode &= ~(uint32_t)S_ISUID;
        if (inode->mode & S_IXGRP)
            inode->mode &= ~(uint32_t)S_ISGID;
    }
    return 0;
}

static int set_times(const struct ns *ns, const struct wire_setattr *request, struct inode *inode)
{
    bool now = request->mask & WIRE_SETATTR_NOW;
    if (!path_owns(ns, inode)) {
        if (!now)
            return not_the_owner(request->path, "times");
        int error = path_require(ns, inode, NS_MAY_WRITE, request->path);
        if (error)
            return error;
    }
    if (request->mask & WIRE_SETATTR_ATIME)
        inode->atime_ns = now ? ns->now_ns : request->atime_ns;
    if (request->mask & WIRE_SETATTR_MTIME) {
        inode->mtime_ns = now ? ns->now_ns : request->mtime_ns;
        /* Writes before this moment must not bring their own time back. */
        inode->mtime_base_ns = ns->now_ns;
    }
    return 0;
}

int ns_setattr(struct ns *ns, const struct wire_setattr *request)
{
    struct inode found, *inode = &found;
    int error = ns_stat(ns, request->path, request->ino, request->flags & WEFT_STAT_NOFOLLOW, inode);
    if (!error && (request->mask & (WIRE_SETATTR_UID | WIRE_SETATTR_GID)))
        error = set_owner(ns, request, inode);
    if (!error && (request->mask & WIRE_SETATTR_MODE))
        error = set_mode(ns, request, inode);
    if (!error && (request->mask & (WIRE_SETATTR_ATIME | WIRE_SETATTR_MTIME)))
        error = set_times(ns, request, inode);
    if (error || !(request->mask & ~(uint32_t)WIRE_SETATTR_NOW))
        return error;
    inode->ctime_ns = ns->now_ns;
    if (inode_is_dir(inode) && (request->mask & (WIRE_SETATTR_MODE | WIRE_SETATTR_UID | WIRE_SETATTR_GID)))
        error = records_way_changing(ns->txn, inode->ino);
    return error ? error : records_inode_put(ns->txn, inode);
}

int ns_layout_set(struct ns *ns, const char *text, const struct layout *layout,
                  const struct ns_placement *placement, const char *pool)
{
    struct path path;
    uint32_t host = 0;
    struct inode *dir = &path.inode;
    int error = path_resolve_existing(ns, text, PATH_FOLLOW, &path);
    if (error)
        return error;
    if (!inode_is_dir(dir))
        return err_set(-ENOTDIR, "%s: not a directory; a file's layout is fixed when it is made", text);
    if (!path_owns(ns, dir))
        return not_the_owner(text, "default layout");
    if (*pool && strcmp(pool, "main") != 0)
        return err_set(-EINVAL, "there is no pool named \"%s\"; there is only \"main\" so far", pool);
    error = ns_host_allowed(ns, placement->kind);
    if (error)
        return error;
    if (placement->kind == WIRE_PLACEMENT_HOST) {
        error = ns_host_find(ns, placement->host, &host);
        if (error)
            return error;
    }
    if (layout->chunk_size) {
        struct layout probe = {.chunk_size = layout->chunk_size, .group_count = 1};
        error = layout_complete(&probe);
        if (error)
            return error;
        dir->layout.chunk_size = layout->chunk_size;
    }
    if (layout->stripe_count)
        dir->layout.stripe_count = layout->stripe_count;
    if (placement->kind != WIRE_PLACEMENT_DEFAULT) {
        dir->placement = placement->kind;
        dir->layout.host = host;
    }
    if (*pool)
        memcpy(dir->pool, pool, strlen(pool) + 1);
    dir->ctime_ns = ns->now_ns;
    return records_inode_put(ns->txn, dir);
}

/* What is shown on terminals and put into messages must be nothing but text. */
static int hints_check(const char *hints)
{
    for (const char *at = hints; *at; at++) {
        if (*at < ' ' || *at > '~')
            return err_set(-EINVAL, "hints must be printable ASCII; byte %zu is 0x%02x", (size_t)(at - hints),
                           (unsigned char)*at);
    }
    return 0;
}

static int hints_dir(struct ns *ns, const char *text, struct path *path)
{
    int error = path_resolve_existing(ns, text, PATH_FOLLOW, path);
    if (error)
        return error;
    if (!inode_is_dir(&path->inode))
        return err_set(-ENOTDIR, "%s: not a directory; hints are kept for the files of a directory", text);
    return 0;
}

int ns_hints_set(struct ns *ns, const char *text, const char *hints)
{
    struct path path;
    int error = hints_dir(ns, text, &path);
    if (error)
        return error;
    if (!path_owns(ns, &path.inode))
        return not_the_owner(text, "hints");
    error = hints_check(hints);
    if (error)
        return error;
    path.inode.ctime_ns = ns->now_ns;
    error = records_inode_changing(ns->txn, path.inode.ino);
    if (!error)
        error = records_hints_put(ns->txn, path.inode.ino, hints);
    return error ? error : records_inode_put(ns->txn, &path.inode);
}

int ns_hints_get(struct ns *ns, const char *text, char *hints)
{
    struct path path;
    int error = hints_dir(ns, text, &path);
    return error ? error : records_hints_get(ns->txn, path.inode.ino, hints);
}

void ns_layout_effective(const struct ns *ns, const struct inode *dir, struct layout *layout)
{
    uint32_t stripe_count = dir->layout.stripe_count ? dir->layout.stripe_count : ns->stripe_count;
    uint32_t group_count =
        dir->layout.host && ns->map ? map_host_groups(ns->map, dir->layout.host) : ns->group_count;
    if (stripe_count == 0 || stripe_count > group_count)
        stripe_count = group_count;
    *layout = (struct layout){
        .chunk_size = dir->layout.chunk_size ? dir->layout.chunk_size : ns->chunk_size,
        .stripe_count = stripe_count,
        .group_count = group_count,
        .host = dir->layout.host,
    };
}
