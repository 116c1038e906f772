/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that were made and removed some time ago, in the memory of the client that holds their directory, and
 * are now told. Each is checked as a whole before anything is changed for it, so that one that can't be does
 * not take the others with it.
 */
#include "namespace.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "err.h"
#include "path_name.h"
#include "records.h"

/* A client's clock may be ahead of ours. */
#define AHEAD_NS INT64_C(3600000000000)

int ns_held_may_change(struct ns *ns, const struct inode *dir)
{
    int error = path_may_reach(ns, dir, "a held directory");
    return error ? error : path_require(ns, dir, NS_MAY_WRITE | NS_MAY_EXECUTE, "a held directory");
}

int64_t ns_held_time(const struct ns *ns, int64_t told_ns)
{
    if (told_ns < 0)
        return 0;
    return told_ns > ns->now_ns + AHEAD_NS ? ns->now_ns : told_ns;
}

static int name_check(const char *name)
{
    if (!path_is_name(name))
        return err_set(-EINVAL, "\"%s\" is no name for a file", name);
    return strlen(name) > WEFT_NAME_BYTES_MAX
               ? err_set(-ENAMETOOLONG, "%s: a name is longer than %u bytes", name, WEFT_NAME_BYTES_MAX)
               : 0;
}

/* ---- making ------------------------------------------------------------- */

/* A number is used once: not for what was made before, and not while objects of that are being removed. */
static int number_check(struct ns *ns, const struct ns_making *making)
{
    struct inode inode;
    int error = records_inode_get(ns->txn, making->ino, &inode);
    if (error == -ENOENT)
        error = records_removal_find(ns->txn, making->ino);
    if (!error)
        return err_set(-EEXIST, "%s: the inode %" PRIu64 " exists already", making->name, making->ino);
    return error == -ENOENT ? 0 : error;
}

/* 1: it was made before. */
static int may_make(struct ns *ns, const struct inode *dir, const struct ns_making *making,
                    struct inode *inode)
{
    uint64_t there;
    int error = name_check(making->name);
    if (error)
        return error;
    error = records_dirent_get(ns->txn, dir->ino, making->name, &there);
    if (!error && there != making->ino)
        return err_set(-EEXIST, "%s: exists already", making->name);
    if (!error) {
        error = records_inode_get(ns->txn, there, inode);
        return error ? error : 1;
    }
    return error == -ENOENT ? number_check(ns, making) : error;
}

int ns_held_make(struct ns *ns, const struct inode *dir, const struct ns_making *making, struct inode *inode,
                 bool *refused)
{
    const struct ns_placement placement = {.kind = WIRE_PLACEMENT_DEFAULT};
    struct layout layout = {0};
    const char *pool = "";
    int result = may_make(ns, dir, making, inode);
    if (!result)
        result = ns_layout_choose(ns, dir, &placement, &layout, &pool);
    *refused = result < 0;
    if (result)
        return result;
    ns_inode_init(ns, dir, S_IFREG | (making->mode & 07777), inode);
    inode->ino = making->ino;
    ns_inode_place(inode, &layout, pool);
    inode->flags |= INODE_SMALL;
    inode->size = making->size;
    inode->bytes = layout_small_space(making->size);
    inode->atime_ns = ns_held_time(ns, making->made_ns);
    inode->mtime_ns = inode->ctime_ns = ns_held_time(ns, making->changed_ns);
    /* Later writes are timed by clocks that may be behind the client's. */
    inode->mtime_base_ns = inode->mtime_ns < ns->now_ns ? inode->mtime_ns : ns->now_ns;
    int error = making->size ? records_small_put(ns->txn, inode->ino, making->data, making->size) : 0;
    if (!error)
        error = records_inode_put(ns->txn, inode);
    return error ? error : records_dirent_put(ns->txn, dir->ino, making->name, inode->ino);
}

/* ---- removing ----------------------------------------------------------- */

/* 1: it is gone already. */
static int may_remove(struct ns *ns, const struct inode *dir, const char *name, uint64_t ino,
                      struct inode *inode)
{
    uint64_t there;
    int error = name_check(name);
    if (error)
        return error;
    error = records_dirent_get(ns->txn, dir->ino, name, &there);
    if (error)
        return error == -ENOENT ? 1 : error;
    error = records_inode_get(ns->txn, ino, inode);
    if (there != ino && (error == -ENOENT || (!error && inode->nlink == 0)))
        return 1; /* another file has got the name since then */
    if (there != ino)
        return error ? error : err_set(-ESTALE, "%s: is another file by now", name);
    if (error == -ENOENT)
        return err_set(-EUCLEAN, "%s: the directory entry names inode %" PRIu64 ", which does not exist",
                       name, ino);
    if (error)
        return error;
    if (inode_is_dir(inode))
        return err_set(-EISDIR, "%s: a directory; use rmdir", name);
    return ns_may_delete(ns, dir, inode, name);
}

int ns_held_removing(struct ns *ns, const struct inode *dir, const char *name, uint64_t ino)
{
    uint64_t there;
    if (name_check(name) || records_dirent_get(ns->txn, dir->ino, name, &there) || there != ino)
        return 0; /* whatever that is, it is said when its turn comes */
    return records_inode_changing(ns->txn, ino);
}

int ns_held_remove(struct ns *ns, const struct inode *dir, const char *name, uint64_t ino, bool *refused)
{
    struct inode inode;
    int result = may_remove(ns, dir, name, ino, &inode);
    *refused = result < 0;
    if (result)
        return result;
    int error = records_dirent_delete(ns->txn, dir->ino, name);
    return error ? error : ns_drop(ns, &inode, dir->ino);
}

/* ---- the directory -------------------------------------------------------- */

int ns_held_put(struct ns *ns, struct inode *dir, int64_t changed_ns)
{
    if (dir->mtime_ns < changed_ns)
        dir->mtime_ns = changed_ns;
    if (dir->ctime_ns < changed_ns)
        dir->ctime_ns = changed_ns;
    return records_inode_put(ns->txn, dir);
}
