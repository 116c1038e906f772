/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "err.h"
#include "namespace.h"
#include "path_name.h"
#include "records.h"

/* Whoever came by names would have had to search all directories above. */
int path_may_reach(struct ns *ns, const struct inode *dir, const char *text)
{
    struct inode at = *dir;
    for (int depth = 0; ns->uid != 0 && at.ino != INODE_ROOT; depth++) {
        if (depth == NS_DEPTH_MAX)
            return err_set(-EUCLEAN, "the parents of directory %" PRIu64 " never reach the root", dir->ino);
        int error = records_inode_get(ns->txn, at.parent, &at);
        if (error == -ENOENT)
            return err_set(-EUCLEAN, "the parent of directory %" PRIu64 " does not exist", at.ino);
        path_through(ns, at.ino);
        if (!error)
            error = path_require(ns, &at, NS_MAY_EXECUTE, text);
        if (error)
            return error;
    }
    return 0;
}

int path_inode_begin(struct ns *ns, const char *text, uint64_t ino, const char *rest, struct path *path)
{
    struct inode *inode = &path->inode;
    bool ends = rest[strspn(rest, "/")] == 0;
    int error = records_inode_get(ns->txn, ino, inode);
    if (error == -ENOENT)
        return err_set(-ESTALE, "%s: inode %" PRIu64 " does not exist any more", text, ino);
    if (!error && inode_is_dir(inode)) {
        error = path_may_reach(ns, inode, text);
        if (!error && ends)
            error = records_inode_looking(ns->txn, ino);
        path->parent = *inode;
    } else if (!error) {
        if (!path_owns(ns, inode))
            return err_set(-EACCES, "%s: only root and its owner may name a file by its number", text);
        if (!ends)
            return err_set(-ENOTDIR, "%s: inode %" PRIu64 " is not a directory", text, ino);
        error = records_inode_get(ns->txn, INODE_ROOT, &path->parent);
    }
    path->last = PATH_INODE;
    path->slash = ends && *rest;
    path->exists = !error && ends;
    return error;
}
