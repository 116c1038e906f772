/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations on extended attributes. The kernel asks for security labels and access lists of
 * everything, and with --cache for "security.capability" before each write; libweft knows that there are none
 * of these, so they cost no request of the cluster. To answer ENOSYS, after which the kernel does not ask
 * again, takes the users' attributes away as well: that is --no-xattrs.
 */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "err.h"

/* How a node is reached: by an open file of it, if there is one, else by where_node(). */
struct reached {
    struct file *file;
    struct where where;
};

static int reach(struct mount *mount, fuse_ino_t node, struct reached *reached)
{
    reached->file = file_borrow(mount, mount_ino(mount, node));
    return reached->file ? 0 : where_node(mount, node, &reached->where);
}

static void leave(const struct reached *reached)
{
    if (reached->file)
        (void)file_drop(reached->file);
}

/* ---- looking ------------------------------------------------------------------ */

/* Whether a name still led to the node: what was read by it is the node's then, but for a swap to and fro. */
static int check_still(struct mount *mount, fuse_ino_t node, const struct reached *reached)
{
    struct weft_attr attr;
    if (reached->file || reached->where.by_number)
        return 0;
    int error = weft_stat(mount->session, reached->where.text, WEFT_STAT_NOFOLLOW, &attr);
    return error || attr.ino != mount_ino(mount, node) ? -ESTALE : 0;
}

/* `name` NULL: the names of all. */
static ssize_t look(struct mount *mount, fuse_ino_t node, const char *name, char *out, size_t size)
{
    struct reached reached;
    ssize_t length = reach(mount, node, &reached);
    if (length < 0)
        return length;
    if (reached.file)
        length = name ? weft_file_xattr_get(reached.file->weft, name, out, size)
                      : weft_file_xattr_list(reached.file->weft, out, size);
    else
        length = name
                     ? weft_xattr_get(mount->session, reached.where.text, name, out, size, WEFT_STAT_NOFOLLOW)
                     : weft_xattr_list(mount->session, reached.where.text, out, size, WEFT_STAT_NOFOLLOW);
    int error = length < 0 && length != -ENODATA ? 0 : check_still(mount, node, &reached);
    leave(&reached);
    return error ? error : length;
}

static void answer_bytes(fuse_req_t req, const char *what, const char *bytes, ssize_t length, size_t size)
{
    if (length > 0 && size > 0 && (size_t)length > size)
        length = -ERANGE;
    if (length < 0)
        answer_error(req, what, (int)length);
    else if (size == 0)
        fuse_reply_xattr(req, (size_t)length);
    else
        fuse_reply_buf(req, bytes, (size_t)length);
}

void xattrs_get(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
    char *value = malloc(WEFT_XATTR_VALUE_BYTES_MAX);
    ssize_t length =
        value ? look(mount_of(req), node, name, value, size ? WEFT_XATTR_VALUE_BYTES_MAX : 0) : -ENOMEM;
    answer_bytes(req, "getxattr", value, length, size);
    free(value);
}

/* This process may be root's and see what whoever asks may not. */
static size_t without_trusted(char *names, size_t length)
{
    size_t kept = 0;
    for (size_t at = 0; at < length;) {
        const size_t bytes = strlen(names + at) + 1;
        if (strncmp(names + at, "trusted.", 8) != 0) {
            memmove(names + kept, names + at, bytes);
            kept += bytes;
        }
        at += bytes;
    }
    return kept;
}

void xattrs_list(fuse_req_t req, fuse_ino_t node, size_t size)
{
    char *names = malloc(WEFT_XATTR_BYTES_MAX);
    ssize_t length = names ? look(mount_of(req), node, NULL, names, WEFT_XATTR_BYTES_MAX) : -ENOMEM;
    if (length > 0 && fuse_req_ctx(req)->uid != 0)
        length = (ssize_t)without_trusted(names, (size_t)length);
    answer_bytes(req, "listxattr", names, length, size);
    free(names);
}

/* ---- changing ----------------------------------------------------------------- */

struct change {
    const char *name;
    const char *value; /* NULL: it goes */
    size_t size;
    unsigned flags;
};

static int change_file(weft_file_t *file, const struct change *change)
{
    return change->value ? weft_file_xattr_set(file, change->name, change->value, change->size, change->flags)
                         : weft_file_xattr_remove(file, change->name);
}

/* A name may be another file's by now, so that one's is changed by an opening that is surely the node's. */
static int change_opened(struct mount *mount, fuse_ino_t node, const struct change *change)
{
    weft_file_t *file;
    int error = file_open(mount, node, O_WRONLY, &file);
    if (error)
        return error;
    error = change_file(file, change);
    int closed = weft_file_close(file);
    return error ? error : closed;
}

static int change_node(struct mount *mount, fuse_ino_t node, const struct change *change)
{
    struct reached reached;
    int error = reach(mount, node, &reached);
    if (error)
        return error;
    if (reached.file)
        error = change_file(reached.file->weft, change);
    else if (!reached.where.by_number)
        error = change_opened(mount, node, change);
    else if (change->value)
        error = weft_xattr_set(mount->session, reached.where.text, change->name, change->value, change->size,
                               change->flags | WEFT_STAT_NOFOLLOW);
    else
        error = weft_xattr_remove(mount->session, reached.where.text, change->name, WEFT_STAT_NOFOLLOW);
    leave(&reached);
    return error;
}

void xattrs_set(fuse_req_t req, fuse_ino_t node, const char *name, const char *value, size_t size, int flags)
{
    const struct change change = {
        .name = name,
        .value = value ? value : "",
        .size = size,
        .flags =
            (flags & XATTR_CREATE ? WEFT_XATTR_CREATE : 0) | (flags & XATTR_REPLACE ? WEFT_XATTR_REPLACE : 0),
    };
    answer(req, "setxattr", change_node(mount_of(req), node, &change));
}

void xattrs_remove(fuse_req_t req, fuse_ino_t node, const char *name)
{
    answer(req, "removexattr", change_node(mount_of(req), node, &(struct change){.name = name}));
}
