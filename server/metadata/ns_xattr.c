/* SPDX-License-Identifier: Apache-2.0 */
#include "namespace.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "err.h"
#include "records.h"
#include "weft/weft.h"

#define USER    "user."
#define TRUSTED "trusted."

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static int name_check(const char *text, const char *name)
{
    if (!begins(name, USER) && !begins(name, TRUSTED))
        return err_set(-EOPNOTSUPP,
                       "%s: there are extended attributes of \"user.\" and \"trusted.\", and no \"%s\"", text,
                       name);
    if (name[strlen(begins(name, USER) ? USER : TRUSTED)] == 0)
        return err_set(-EINVAL, "%s: \"%s\" needs a name behind it", text, name);
    return 0;
}

static int none(const char *text, const char *name)
{
    return err_set(-ENODATA, "%s: there is no extended attribute \"%s\"", text, name);
}

/* `wanted`: NS_MAY_READ or NS_MAY_WRITE. Who may not even know of something is told that it is not there. */
static int may(const struct ns *ns, const struct inode *inode, const char *text, const char *name,
               unsigned wanted)
{
    const bool writes = wanted & NS_MAY_WRITE;
    int error = name_check(text, name);
    if (error)
        return error;
    if (begins(name, TRUSTED)) {
        if (ns->uid == 0)
            return 0;
        return writes ? err_set(-EPERM, "%s: the attribute \"%s\" is root's to change", text, name)
                      : none(text, name);
    }
    if (!inode_is_file(inode) && !inode_is_dir(inode))
        return writes ? err_set(-EPERM, "%s: only files and directories have attributes of users", text)
                      : none(text, name);
    if (writes && inode_is_dir(inode) && (inode->mode & S_ISVTX) && !path_owns(ns, inode))
        return err_set(-EPERM, "%s: in a directory with the sticky bit only the owner may do this", text);
    return path_require(ns, inode, wanted, text);
}

int ns_xattr_get(struct ns *ns, const struct inode *inode, const char *text, const char *name,
                 struct store_bytes *value)
{
    int error = may(ns, inode, text, name, NS_MAY_READ);
    if (error)
        return error;
    error = inode->flags & INODE_XATTRS ? records_xattr_get(ns->txn, inode->ino, name, value) : -ENOENT;
    return error == -ENOENT ? none(text, name) : error;
}

/* ---- changing ----------------------------------------------------------- */

struct sum {
    const char *except;
    size_t count, bytes;
};

static int add(void *arg, const char *name, size_t size)
{
    struct sum *sum = arg;
    if (sum->except && strcmp(name, sum->except) == 0)
        return 0;
    sum->count++;
    sum->bytes += strlen(name) + 1 + size;
    return 0;
}

/* Whether there is room for it beside the others. */
static int room_check(struct ns *ns, const struct inode *inode, const char *text, const char *name,
                      size_t size)
{
    struct sum sum = {.except = name};
    int error = inode->flags & INODE_XATTRS ? records_xattr_each(ns->txn, inode->ino, add, &sum) : 0;
    if (error)
        return error;
    if (sum.count >= WEFT_XATTR_COUNT_MAX)
        return err_set(-ENOSPC, "%s: it has %zu extended attributes, and there can be no more", text,
                       sum.count);
    if (sum.bytes + strlen(name) + 1 + size > WEFT_XATTR_BYTES_MAX)
        return err_set(-ENOSPC, "%s: its extended attributes would take more than %u bytes", text,
                       WEFT_XATTR_BYTES_MAX);
    return 0;
}

int ns_xattr_set(struct ns *ns, struct inode *inode, const char *text, const char *name,
                 struct store_bytes value, unsigned flags)
{
    struct store_bytes old;
    int error = may(ns, inode, text, name, NS_MAY_WRITE);
    if (error)
        return error;
    error = inode->flags & INODE_XATTRS ? records_xattr_get(ns->txn, inode->ino, name, &old) : -ENOENT;
    if (error == -ENOENT && (flags & WEFT_XATTR_REPLACE))
        return none(text, name);
    /* One that is damaged may be written anew. */
    if (error && error != -ENOENT && error != -EUCLEAN)
        return error;
    if (error != -ENOENT && (flags & WEFT_XATTR_CREATE))
        return err_set(-EEXIST, "%s: the extended attribute \"%s\" exists", text, name);
    error = room_check(ns, inode, text, name, value.length);
    if (!error)
        error = records_inode_changing(ns->txn, inode->ino);
    if (!error)
        error = records_xattr_put(ns->txn, inode->ino, name, value);
    inode->flags |= INODE_XATTRS;
    inode->ctime_ns = ns->now_ns;
    return error ? error : records_inode_put(ns->txn, inode);
}

int ns_xattr_remove(struct ns *ns, struct inode *inode, const char *text, const char *name)
{
    struct store_bytes old;
    struct sum others = {.except = name};
    int error = may(ns, inode, text, name, NS_MAY_WRITE);
    if (error)
        return error;
    error = inode->flags & INODE_XATTRS ? records_xattr_get(ns->txn, inode->ino, name, &old) : -ENOENT;
    if (error == -ENOENT)
        return none(text, name);
    if (error && error != -EUCLEAN)
        return error;
    error = records_xattr_each(ns->txn, inode->ino, add, &others);
    if (!error)
        error = records_inode_changing(ns->txn, inode->ino);
    if (!error)
        error = records_xattr_delete(ns->txn, inode->ino, name);
    if (others.count == 0)
        inode->flags &= ~(uint32_t)INODE_XATTRS;
    inode->ctime_ns = ns->now_ns;
    return error ? error : records_inode_put(ns->txn, inode);
}

/* ---- listing ------------------------------------------------------------ */

struct listing {
    bool is_root;
    char *names;
    size_t length;
};

static int list_name(void *arg, const char *name, size_t size)
{
    struct listing *listing = arg;
    const size_t bytes = strlen(name) + 1;
    (void)size;
    if (!listing->is_root && begins(name, TRUSTED))
        return 0;
    if (bytes > WEFT_XATTR_BYTES_MAX - listing->length)
        return err_set(-EUCLEAN, "an inode has more extended attributes than it can have");
    memcpy(listing->names + listing->length, name, bytes);
    listing->length += bytes;
    return 0;
}

int ns_xattr_list(struct ns *ns, const struct inode *inode, char *names, size_t *length)
{
    struct listing listing = {.is_root = ns->uid == 0, .names = names};
    int error =
        inode->flags & INODE_XATTRS ? records_xattr_each(ns->txn, inode->ino, list_name, &listing) : 0;
    *length = listing.length;
    return error;
}
