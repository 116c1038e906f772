/* SPDX-License-Identifier: Apache-2.0 */
#include "namespace.h"

#include <errno.h>

#include "err.h"
#include "links.h"
#include "records.h"

int ns_may_delete(const struct ns *ns, const struct inode *dir, const struct inode *inode, const char *text)
{
    int error = path_require(ns, dir, NS_MAY_WRITE | NS_MAY_EXECUTE, text);
    if (error)
        return error;
    if ((dir->mode & S_ISVTX) && !path_owns(ns, dir) && !path_owns(ns, inode))
        return err_set(-EPERM, "%s: in a directory with the sticky bit only the owner may do this", text);
    return 0;
}

static int delete_inode(struct ns *ns, const struct inode *inode)
{
    int error = records_inode_delete(ns->txn, inode->ino);
    return error || !(inode->flags & INODE_XATTRS) ? error : records_xattrs_delete(ns->txn, inode->ino);
}

int ns_destroy(struct ns *ns, const struct inode *inode)
{
    int error = delete_inode(ns, inode);
    if (!error && inode_is_symlink(inode))
        error = records_symlink_delete(ns->txn, inode->ino);
    if (!error && (inode->flags & INODE_SMALL))
        error = records_small_put(ns->txn, inode->ino, NULL, 0);
    else if (!error && inode_is_file(inode))
        error = records_unmark(ns->txn, STORE_UNSETTLED, inode->ino);
    /* Files that were never written have no objects. */
    if (!error && inode_is_file(inode) && (inode->flags & (INODE_WRITTEN | INODE_SIZE_OPEN))) {
        bool bounded =
            (inode->flags & INODE_BOUNDED) && !(inode->flags & (INODE_SIZE_OPEN | INODE_SMALL));
        struct removal removal = {
            .ino = inode->ino, .layout = inode->layout, .end = bounded ? inode->size : REMOVAL_END_UNKNOWN};
        error = records_removal_put(ns->txn, &removal);
        ns->removals++;
    }
    return error;
}

int ns_destroy_dir(struct ns *ns, const struct inode *dir)
{
    int error = delete_inode(ns, dir);
    return error ? error : records_hints_put(ns->txn, dir->ino, "");
}

int ns_drop(struct ns *ns, struct inode *inode, uint64_t dir)
{
    int error = links_remove(ns->txn, inode, dir);
    inode->ctime_ns = ns->now_ns;
    if (error || inode->nlink)
        return error ? error : records_inode_put(ns->txn, inode);
    const bool in_use = opens_in_use(ns->opens, inode->ino);
    /* Who has it open may not have come back yet: it is looked at again when he has had the time to
     * (leases.c). */
    if (!in_use && !(ns->may_be_held && S_ISREG(inode->mode)))
        return ns_destroy(ns, inode);
    if (in_use)
        opens_file_orphan(ns->opens, opens_file_find(ns->opens, inode->ino));
    error = records_inode_put(ns->txn, inode);
    if (!error && in_use && (inode->flags & INODE_SMALL))
        error = ns_writers_note(ns, inode->ino);
    return error ? error : records_mark(ns->txn, STORE_ORPHANS, inode->ino);
}

static int leave(struct ns *ns, struct path *path)
{
    path->parent.mtime_ns = path->parent.ctime_ns = ns->now_ns;
    int error = records_inode_changing(ns->txn, path->parent.ino);
    if (!error)
        error = records_inode_changing(ns->txn, path->inode.ino);
    if (!error)
        error = records_dirent_delete(ns->txn, path->parent.ino, path->name);
    return error ? error : records_inode_put(ns->txn, &path->parent);
}

int ns_unlink(struct ns *ns, const char *text)
{
    struct path path;
    int error = path_resolve(ns, text, PATH_AS_IS, &path);
    if (error)
        return error;
    if (!path.exists)
        return err_set(-ENOENT, "%s: no such file or directory", text);
    if (path.last == PATH_INODE && !inode_is_dir(&path.inode))
        return err_set(-EBUSY, "%s: an inode's number is not a name that can be removed", text);
    if (path.last != PATH_NAME)
        return err_set(-EISDIR, "%s: a directory; use rmdir", text);
    error = ns_may_delete(ns, &path.parent, &path.inode, text);
    if (error)
        return error;
    if (inode_is_dir(&path.inode))
        return err_set(-EISDIR, "%s: a directory; use rmdir", text);
    if (path.slash)
        return err_set(-ENOTDIR, "%s: not a directory", text);
    error = leave(ns, &path);
    return error ? error : ns_drop(ns, &path.inode, path.parent.ino);
}

int ns_rmdir(struct ns *ns, const char *text)
{
    struct path path;
    int error = path_resolve(ns, text, PATH_AS_IS, &path);
    if (error)
        return error;
    if (!path.exists)
        return err_set(-ENOENT, "%s: no such file or directory", text);
    if (path.last == PATH_ROOT)
        return err_set(-EBUSY, "%s: the root directory cannot be removed", text);
    if (path.last == PATH_INODE)
        return err_set(-EBUSY, "%s: an inode's number is not a name that can be removed", text);
    if (path.last == PATH_DOT)
        return err_set(-EINVAL, "%s: \".\" is no name to remove a directory by", text);
    if (path.last == PATH_DOT_DOT)
        return err_set(-ENOTEMPTY, "%s: the directory is not empty", text);
    error = ns_may_delete(ns, &path.parent, &path.inode, text);
    if (error)
        return error;
    if (!inode_is_dir(&path.inode))
        return err_set(-ENOTDIR, "%s: not a directory", text);
    int empty = records_dir_empty(ns->txn, path.inode.ino);
    if (empty < 0)
        return empty;
    if (!empty)
        return err_set(-ENOTEMPTY, "%s: the directory is not empty", text);
    path.parent.nlink--;
    error = leave(ns, &path);
    return error ? error : ns_destroy_dir(ns, &path.inode);
}
