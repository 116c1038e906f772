/* SPDX-License-Identifier: Apache-2.0 */
#include "namespace.h"

#include <errno.h>
#include <string.h>

#include "err.h"
#include "links.h"
#include "records.h"

static int exists(const char *text)
{
    return err_set(-EEXIST, "%s: exists already", text);
}

/* May the caller make an entry here? */
static int may_create(const struct ns *ns, const struct path *path, const char *text)
{
    int error = path_require(ns, &path->parent, NS_MAY_WRITE | NS_MAY_EXECUTE, text);
    return error ? error : records_inode_changing(ns->txn, path->parent.ino);
}

void ns_inode_init(const struct ns *ns, const struct inode *dir, uint32_t mode, struct inode *inode)
{
    *inode = (struct inode){
        .mode = mode,
        .nlink = 1,
        .uid = ns->uid,
        .gid = ns->gid,
        .atime_ns = ns->now_ns,
        .mtime_ns = ns->now_ns,
        .ctime_ns = ns->now_ns,
        .mtime_base_ns = ns->now_ns,
        .parent = dir->ino,
    };
    if (dir->mode & S_ISGID) {
        inode->gid = dir->gid;
        if (S_ISDIR(mode))
            inode->mode |= S_ISGID;
    }
}

/* The entry, the new inode, and the directory that has changed. */
static int enter(struct ns *ns, struct path *path, const struct inode *inode)
{
    struct inode *dir = &path->parent;
    dir->mtime_ns = dir->ctime_ns = ns->now_ns;
    int error = records_inode_put(ns->txn, inode);
    if (!error)
        error = records_dirent_put(ns->txn, dir->ino, path->name, inode->ino);
    if (!error)
        error = records_inode_put(ns->txn, dir);
    return error;
}

/* A new directory begins with what files in its parent get. */
static int inherit_hints(struct ns *ns, const struct path *path, uint64_t ino)
{
    char hints[WEFT_HINTS_BYTES_MAX + 1];
    int error = records_hints_get(ns->txn, path->parent.ino, hints);
    return error || !*hints ? error : records_hints_put(ns->txn, ino, hints);
}

int ns_mkdir(struct ns *ns, const char *text, uint32_t mode)
{
    struct path path;
    struct inode inode;
    int error = path_resolve(ns, text, PATH_AS_IS, &path);
    if (error)
        return error;
    if (path.exists)
        return exists(text);
    error = may_create(ns, &path, text);
    if (error)
        return error;
    if (path.parent.nlink >= INODE_NLINK_MAX)
        return err_set(-EMLINK, "%s: the directory has too many subdirectories", text);
    ns_inode_init(ns, &path.parent, S_IFDIR | (mode & 07777), &inode);
    inode.nlink = 2;
    inode.layout = path.parent.layout;
    inode.placement = path.parent.placement;
    memcpy(inode.pool, path.parent.pool, sizeof inode.pool);
    error = records_ino_next(ns->txn, ns->inos, &inode.ino);
    if (!error)
        error = inherit_hints(ns, &path, inode.ino);
    if (error)
        return error;
    path.parent.nlink++;
    return enter(ns, &path, &inode);
}

/* Of what is no directory: `what` is it. */
static int resolve_new(struct ns *ns, const char *text, const char *what, struct path *path)
{
    int error = path_resolve(ns, text, PATH_AS_IS, path);
    if (error)
        return error;
    if (path->exists)
        return exists(text);
    return path->slash ? err_set(-ENOENT, "%s: %s's name cannot end with a slash", text, what) : 0;
}

int ns_symlink(struct ns *ns, const char *target, const char *text)
{
    struct path path;
    struct inode inode;
    size_t length = strlen(target);
    if (length == 0)
        return err_set(-ENOENT, "%s: a symbolic link to an empty path is not possible", text);
    if (length > LIMITS_SYMLINK_MAX)
        return err_set(-ENAMETOOLONG, "%s: the path to point to is too long", text);
    int error = resolve_new(ns, text, "a symbolic link", &path);
    if (error)
        return error;
    error = may_create(ns, &path, text);
    if (error)
        return error;
    ns_inode_init(ns, &path.parent, S_IFLNK | 0777, &inode);
    inode.size = length;
    error = records_ino_next(ns->txn, ns->inos, &inode.ino);
    if (!error)
        error = records_symlink_put(ns->txn, inode.ino, target);
    return error ? error : enter(ns, &path, &inode);
}

int ns_link(struct ns *ns, const char *from, const char *to)
{
    struct path source, path;
    int error = path_resolve_existing(ns, from, 0, &source);
    if (!error)
        error = path_resolve(ns, to, PATH_AS_IS, &path);
    if (error)
        return error;
    if (path.exists)
        return exists(to);
    /* By its number one may meet a file whose last name is gone. It ends with its last close. */
    if (source.inode.nlink == 0)
        return err_set(-ENOENT, "%s: a removed file cannot have a name again", from);
    if (path.slash)
        return err_set(-ENOENT, "%s: a file's name cannot end with a slash", to);
    error = may_create(ns, &path, to);
    if (error)
        return error;
    if (inode_is_dir(&source.inode))
        return err_set(-EPERM, "%s: a directory cannot have a second name", from);
    if (source.inode.nlink >= INODE_NLINK_MAX)
        return err_set(-EMLINK, "%s: too many links", from);
    error = records_inode_changing(ns->txn, source.inode.ino);
    if (!error)
        error = links_add(ns->txn, &source.inode, path.parent.ino);
    if (error)
        return error;
    source.inode.ctime_ns = ns->now_ns;
    return enter(ns, &path, &source.inode);
}

/* ---- open --------------------------------------------------------------- */

int ns_host_allowed(const struct ns *ns, uint8_t placement)
{
    if ((placement != WIRE_PLACEMENT_LOCAL && placement != WIRE_PLACEMENT_HOST) || !ns->map ||
        !map_has_replicas(ns->map))
        return 0;
    return err_set(-EOPNOTSUPP,
                   "files on one host are not to be had in a cluster with replicas, so far; leave "
                   "weft_placement out");
}

int ns_host_find(const struct ns *ns, const char *name, uint32_t *host)
{
    uint32_t found = ns->map ? map_host_by_name(ns->map, name) : 0;
    if (!found || map_host_groups(ns->map, found) == 0)
        return err_set(-EADDRNOTAVAIL,
                       "there is no host \"%s\" that has storage; weft status --hosts lists those that have",
                       name);
    *host = found;
    return 0;
}

/* Sets the layout's host, and how many groups there are to choose from. */
static int choose_host(const struct ns *ns, const struct inode *dir, const struct ns_placement *wanted,
                       struct layout *layout)
{
    uint8_t kind = wanted->kind == WIRE_PLACEMENT_DEFAULT ? dir->placement : wanted->kind;
    layout->host = 0;
    layout->group_count = ns->group_count;
    int error = ns_host_allowed(ns, kind);
    if (error)
        return error;
    if (kind == WIRE_PLACEMENT_HOST && wanted->kind == WIRE_PLACEMENT_DEFAULT) {
        layout->host = dir->layout.host;
    } else if (kind == WIRE_PLACEMENT_HOST) {
        error = ns_host_find(ns, wanted->host ? wanted->host : "", &layout->host);
        if (error)
            return error;
    } else if (kind == WIRE_PLACEMENT_LOCAL && wanted->host && ns->map) {
        uint32_t host = map_host_by_name(ns->map, wanted->host);
        /* A host without storage is no mistake: its files go where others' go. */
        if (map_host_groups(ns->map, host) > 0)
            layout->host = host;
    }
    if (layout->host)
        layout->group_count = ns->map ? map_host_groups(ns->map, layout->host) : 0;
    return 0;
}

int ns_layout_choose(const struct ns *ns, const struct inode *dir, const struct ns_placement *placement,
                     struct layout *layout, const char **pool)
{
    if (**pool == 0)
        *pool = *dir->pool ? dir->pool : "main";
    if (strcmp(*pool, "main") != 0)
        return err_set(-EINVAL, "there is no pool named \"%s\"; there is only \"main\" so far", *pool);
    if (ns->group_count == 0)
        return err_set(
            -ENODEV,
            "no storage server has registered yet, or with replicas not all have, so there is no place for a "
            "file; start weft-storaged and look at weft status");
    if (layout->chunk_size == 0)
        layout->chunk_size = dir->layout.chunk_size ? dir->layout.chunk_size : ns->chunk_size;
    if (layout->stripe_count == 0)
        layout->stripe_count = dir->layout.stripe_count ? dir->layout.stripe_count : ns->stripe_count;
    int error = choose_host(ns, dir, placement, layout);
    return error ? error : layout_complete(layout);
}

void ns_inode_place(struct inode *inode, const struct layout *layout, const char *pool)
{
    inode->layout = *layout;
    inode->layout.seed = layout_seed(inode->ino);
    memcpy(inode->pool, pool, strlen(pool) + 1);
}

/* Nobody has said where it is to be. */
static bool may_be_small(const struct ns_open *open, const struct inode *dir)
{
    return open->small && open->layout.chunk_size == 0 && open->layout.stripe_count == 0 &&
           *open->pool == 0 && open->placement.kind == WIRE_PLACEMENT_DEFAULT &&
           (dir->placement == WIRE_PLACEMENT_DEFAULT || dir->placement == WIRE_PLACEMENT_SPREAD);
}

static int create(struct ns *ns, const struct ns_open *open, struct path *path, struct inode *inode)
{
    struct layout layout = open->layout;
    const char *pool = open->pool;
    int error = may_create(ns, path, open->path);
    if (!error)
        error = ns_layout_choose(ns, &path->parent, &open->placement, &layout, &pool);
    if (error)
        return error;
    ns_inode_init(ns, &path->parent, S_IFREG | (open->mode & 07777), inode);
    error = records_ino_next(ns->txn, ns->inos, &inode->ino);
    if (error)
        return error;
    ns_inode_place(inode, &layout, pool);
    if (may_be_small(open, &path->parent))
        inode->flags |= INODE_SMALL;
    else if (open->size_open)
        inode->flags |= INODE_SIZE_OPEN;
    return enter(ns, path, inode);
}

static int may_open(const struct ns *ns, const struct ns_open *open, const struct path *path)
{
    const struct inode *inode = &path->inode;
    unsigned wanted = 0;
    if ((open->flags & WIRE_OPEN_CREATE) && (open->flags & WIRE_OPEN_EXCLUSIVE))
        return exists(open->path);
    if (inode_is_symlink(inode))
        return err_set(-ELOOP, "%s: a symbolic link, which is not to be followed", open->path);
    if (inode_is_dir(inode))
        return err_set(-EISDIR, "%s: a directory", open->path);
    if (path->slash)
        return err_set(-ENOTDIR, "%s: not a directory", open->path);
    if (inode_is_special(inode))
        return err_set(-ENXIO, "%s: a FIFO, socket or device, which is opened by a kernel only: on a mount",
                       open->path);
    if (open->flags & WIRE_OPEN_READ)
        wanted |= NS_MAY_READ;
    if (open->flags & (WIRE_OPEN_WRITE | WIRE_OPEN_TRUNCATE))
        wanted |= NS_MAY_WRITE;
    return path_require(ns, inode, wanted, open->path);
}

int ns_mknod(struct ns *ns, const char *text, uint32_t mode, uint64_t rdev)
{
    struct ns_open plain = {.path = text, .mode = mode & 07777, .pool = ""};
    struct path path;
    struct inode inode;
    bool is_file = S_ISREG(mode) || (mode & S_IFMT) == 0;
    int error = resolve_new(ns, text, "a file", &path);
    if (error)
        return error;
    if (is_file)
        return create(ns, &plain, &path, &inode);
    if (S_ISDIR(mode))
        return err_set(-EPERM, "%s: a directory is made by mkdir", text);
    ns_inode_init(ns, &path.parent, mode, &inode);
    if (!inode_is_special(&inode))
        return err_set(-EINVAL, "%s: there is no file of type 0%o", text, mode & S_IFMT);
    error = may_create(ns, &path, text);
    if (error)
        return error;
    if (inode_is_device(&inode) && ns->uid != 0)
        return err_set(-EPERM, "%s: only root may make devices", text);
    inode.rdev = inode_is_device(&inode) ? rdev : 0;
    error = records_ino_next(ns->txn, ns->inos, &inode.ino);
    return error ? error : enter(ns, &path, &inode);
}

int ns_open(struct ns *ns, struct ns_open *open, struct inode *inode, bool *created)
{
    struct path path;
    uint32_t flags = open->flags;
    bool exclusive = (flags & WIRE_OPEN_CREATE) && (flags & WIRE_OPEN_EXCLUSIVE);
    *created = false;
    if (!(flags & (WIRE_OPEN_READ | WIRE_OPEN_WRITE)))
        return err_set(-EINVAL, "%s: a file is opened for reading, for writing, or both", open->path);
    unsigned how = exclusive ? PATH_AS_IS : flags & WIRE_OPEN_NOFOLLOW ? 0 : PATH_FOLLOW;
    if (flags & WIRE_OPEN_CREATE)
        how |= PATH_OF_FILE;
    int error = path_resolve(ns, open->path, how, &path);
    if (error)
        return error;
    open->dir = path.parent.ino;
    if (path.exists) {
        error = may_open(ns, open, &path);
        if (!error)
            *inode = path.inode;
        return error;
    }
    if (!(flags & WIRE_OPEN_CREATE))
        return err_set(-ENOENT, "%s: no such file or directory", open->path);
    *created = true;
    return create(ns, open, &path, inode);
}
