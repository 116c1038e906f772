/* SPDX-License-Identifier: Apache-2.0 */
#include "namespace.h"

#include <errno.h>
#include <inttypes.h>

#include "err.h"
#include "records.h"

int ns_stat(struct ns *ns, const char *text, uint64_t ino, bool nofollow, struct inode *inode)
{
    if (*text == 0) {
        int error = records_inode_get(ns->txn, ino, inode);
        if (error == -ENOENT)
            return err_set(-ESTALE, "inode %" PRIu64 " does not exist any more", ino);
        return !error && inode_is_dir(inode) ? records_inode_looking(ns->txn, ino) : error;
    }
    struct path path;
    int error = path_resolve_existing(ns, text, nofollow ? 0 : PATH_FOLLOW, &path);
    if (!error)
        *inode = path.inode;
    return error;
}

int ns_stat_folder(struct ns *ns, const char *text, bool nofollow, struct inode *folder)
{
    struct path path;
    int error = path_resolve(ns, text, nofollow ? 0 : PATH_FOLLOW, &path);
    if (error)
        return error;
    if (path.exists)
        return err_set(-EEXIST, "%s: exists", text);
    *folder = path.parent;
    return 0;
}

int ns_access(struct ns *ns, const char *text, unsigned wanted)
{
    struct path path;
    int error = path_resolve_existing(ns, text, PATH_FOLLOW, &path);
    return error ? error : path_require(ns, &path.inode, wanted, text);
}

int ns_readlink(struct ns *ns, const char *text, char *target)
{
    struct path path;
    int error = path_resolve_existing(ns, text, 0, &path);
    if (error)
        return error;
    if (!inode_is_symlink(&path.inode))
        return err_set(-EINVAL, "%s: not a symbolic link", text);
    return records_symlink_get(ns->txn, path.inode.ino, target);
}

struct listing {
    struct ns *ns;
    ns_readdir_fn *each;
    void *arg;
    bool names_only;
    int waits;      /* -EAGAIN: there was one whose attributes can't be told yet */
    uint32_t ahead; /* entries behind that one */
};

/* Has all be recalled that this listing will come to, so that it does not wait for one behind the other. */
enum { AHEAD_MAX = 1024 };

static int list_entry(void *arg, const char *name, uint64_t ino)
{
    struct listing *listing = arg;
    struct inode inode;
    int error = records_inode_get(listing->ns->txn, ino, &inode);
    if (error == -ENOENT)
        return err_set(-EUCLEAN, "the directory entry \"%s\" names inode %" PRIu64 ", which does not exist",
                       name, ino);
    if (!error && listing->names_only)
        inode = (struct inode){.ino = inode.ino, .mode = inode.mode & S_IFMT};
    else if (!error && inode_is_dir(&inode))
        error = records_attr_looking(listing->ns->txn, ino);
    if (error == -EAGAIN)
        listing->waits = error;
    if (!listing->waits)
        return error ? error : listing->each(listing->arg, name, &inode);
    return error && error != -EAGAIN ? error : listing->ahead++ < AHEAD_MAX ? 0 : listing->waits;
}

int ns_readdir(struct ns *ns, const char *text, const char *after, ns_readdir_fn *each, void *arg)
{
    struct path path;
    int error = path_resolve_existing(ns, text, PATH_FOLLOW, &path);
    if (error)
        return error;
    if (!inode_is_dir(&path.inode))
        return err_set(-ENOTDIR, "%s: not a directory", text);
    error = path_require(ns, &path.inode, NS_MAY_READ, text);
    if (error)
        return error;
    /* Who may not search it could not ask for the attributes one by one. */
    struct listing listing = {
        .ns = ns, .each = each, .arg = arg, .names_only = !path_may(ns, &path.inode, NS_MAY_EXECUTE)};
    int result = records_dirent_each(ns->txn, path.inode.ino, after, list_entry, &listing);
    return listing.waits ? listing.waits : result < 0 ? result : 0;
}
