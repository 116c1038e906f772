/* SPDX-License-Identifier: Apache-2.0 */
#include "namespace.h"

#include <errno.h>
#include <inttypes.h>

#include "err.h"
#include "links.h"
#include "records.h"

/* 1 when `dir` is `ancestor` or lies below it. */
static int lies_below(struct ns *ns, const struct inode *dir, uint64_t ancestor)
{
    struct inode at = *dir;
    for (int depth = 0; depth < NS_DEPTH_MAX; depth++) {
        if (at.ino == ancestor)
            return 1;
        if (at.ino == INODE_ROOT)
            return 0;
        int error = records_inode_get(ns->txn, at.parent, &at);
        if (error == -ENOENT)
            return err_set(-EUCLEAN, "the parent of directory %" PRIu64 " does not exist", at.ino);
        if (error)
            return error;
    }
    return err_set(-EUCLEAN, "the parents of directory %" PRIu64 " never reach the root", dir->ino);
}

/* All checks come in the order in which Linux makes them, for who looks at the errors. */
static int check_names(const struct path *source, const struct path *target, const char *from, const char *to)
{
    if (source->last != PATH_NAME)
        return err_set(-EBUSY, "%s: not a name that can be changed", from);
    if (target->last != PATH_NAME)
        return err_set(-EBUSY, "%s: not a name that can be given", to);
    if (!source->exists)
        return err_set(-ENOENT, "%s: no such file or directory", from);
    if (inode_is_dir(&source->inode))
        return 0;
    if (source->slash)
        return err_set(-ENOTDIR, "%s: not a directory", from);
    if (target->slash)
        return err_set(-ENOTDIR, "%s: a file's name cannot end with a slash", to);
    return 0;
}

static int check_permissions(struct ns *ns, const struct path *source, const struct path *target,
                             const char *from, const char *to)
{
    int error = ns_may_delete(ns, &source->parent, &source->inode, from);
    if (error)
        return error;
    if (target->exists)
        error = ns_may_delete(ns, &target->parent, &target->inode, to);
    else
        error = path_require(ns, &target->parent, NS_MAY_WRITE | NS_MAY_EXECUTE, to);
    return error;
}

static int check_types(const struct path *source, const struct path *target, const char *to)
{
    if (!target->exists || inode_is_dir(&source->inode) == inode_is_dir(&target->inode))
        return 0;
    if (inode_is_dir(&source->inode))
        return err_set(-ENOTDIR, "%s: a directory cannot take the place of a file", to);
    return err_set(-EISDIR, "%s: a directory", to);
}

static int check_directories(struct ns *ns, const struct path *source, const struct path *target,
                             const char *from, const char *to)
{
    int error = 0, empty = 1;
    if (!inode_is_dir(&source->inode))
        return 0;
    /* A directory that moves gets another "..", which is a change of its own. */
    if (source->parent.ino != target->parent.ino)
        error = path_require(ns, &source->inode, NS_MAY_WRITE, from);
    if (!error && target->exists)
        empty = records_dir_empty(ns->txn, target->inode.ino);
    if (error || empty < 0)
        return error ? error : empty;
    if (!empty)
        return err_set(-ENOTEMPTY, "%s: the directory is not empty", to);
    if (!target->exists && target->parent.nlink >= INODE_NLINK_MAX)
        return err_set(-EMLINK, "%s: the directory has too many subdirectories", to);
    return 0;
}

/* Neither of the two may lie above the other. */
static int check_loop(struct ns *ns, const struct path *source, const struct path *target, const char *from,
                      const char *to)
{
    int below = inode_is_dir(&source->inode) ? lies_below(ns, &target->parent, source->inode.ino) : 0;
    if (below > 0)
        return err_set(-EINVAL, "%s: a directory cannot be moved into itself", from);
    if (below == 0 && target->exists && inode_is_dir(&target->inode))
        below = lies_below(ns, &source->parent, target->inode.ino);
    if (below > 0)
        return err_set(-ENOTEMPTY, "%s: the directory is not empty: %s is in it", to, from);
    return below;
}

/* Who relies on any of it is told before anything changes. */
static int check_delegations(struct ns *ns, const struct path *source, const struct path *target)
{
    int error = records_inode_changing(ns->txn, source->parent.ino);
    if (!error)
        error = records_inode_changing(ns->txn, target->parent.ino);
    if (!error)
        error = records_inode_changing(ns->txn, source->inode.ino);
    if (!error && target->exists)
        error = records_inode_changing(ns->txn, target->inode.ino);
    if (!error && inode_is_dir(&source->inode))
        error = records_way_changing(ns->txn, source->inode.ino);
    return error;
}

/* Everything has been checked; nothing below refuses. */
static int move(struct ns *ns, struct path *source, struct path *target)
{
    bool same_dir = source->parent.ino == target->parent.ino;
    bool is_dir = inode_is_dir(&source->inode);
    struct inode *old_dir = &source->parent;
    struct inode *new_dir = same_dir ? old_dir : &target->parent;

    if (is_dir) {
        old_dir->nlink--;
        new_dir->nlink++;
        if (target->exists)
            new_dir->nlink--;
        source->inode.parent = new_dir->ino;
    }
    old_dir->mtime_ns = old_dir->ctime_ns = ns->now_ns;
    new_dir->mtime_ns = new_dir->ctime_ns = ns->now_ns;
    source->inode.ctime_ns = ns->now_ns;

    int error = records_dirent_delete(ns->txn, old_dir->ino, source->name);
    if (!error)
        error = records_dirent_put(ns->txn, new_dir->ino, target->name, source->inode.ino);
    if (!error && !is_dir)
        error = links_move(ns->txn, &source->inode, old_dir->ino, new_dir->ino);
    if (!error)
        error = records_inode_put(ns->txn, &source->inode);
    if (!error)
        error = records_inode_put(ns->txn, old_dir);
    if (!error && !same_dir)
        error = records_inode_put(ns->txn, new_dir);
    if (!error && target->exists)
        error = is_dir ? ns_destroy_dir(ns, &target->inode) : ns_drop(ns, &target->inode, new_dir->ino);
    return error;
}

int ns_rename(struct ns *ns, const char *from, const char *to)
{
    struct path source, target;
    int error = path_resolve(ns, from, PATH_AS_IS, &source);
    if (!error)
        error = path_resolve(ns, to, PATH_AS_IS, &target);
    if (error)
        return error;
    error = check_names(&source, &target, from, to);
    if (error)
        return error;
    /* Two names of one file: POSIX wants nothing done. */
    if (target.exists && source.inode.ino == target.inode.ino)
        return 0;
    error = check_loop(ns, &source, &target, from, to);
    if (!error)
        error = check_permissions(ns, &source, &target, from, to);
    if (!error)
        error = check_types(&source, &target, to);
    if (!error)
        error = check_directories(ns, &source, &target, from, to);
    if (!error)
        error = check_delegations(ns, &source, &target);
    return error ? error : move(ns, &source, &target);
}
