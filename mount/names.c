/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on names. */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"

/* ---- looking up ------------------------------------------------------------- */

/* Asks what is there now, and answers with it. */
static void answer_entry(fuse_req_t req, const char *what, fuse_ino_t dir, const char *name,
                         const struct weft_attr *attr)
{
    struct fuse_entry_param entry;
    struct mount *mount = mount_of(req);
    int error = where_enter(mount, dir, name, attr, &entry);
    if (error)
        answer_error(req, what, error);
    else if (fuse_reply_entry(req, &entry) == -ENOENT) /* interrupted: the kernel knows nothing of it */
        nodes_forget(&mount->nodes, entry.ino, 1);
}

void names_lookup(fuse_req_t req, fuse_ino_t dir, const char *name)
{
    struct mount *mount = mount_of(req);
    struct where where;
    struct weft_attr attr;
    int error = where_entry(mount, dir, name, &where);
    if (!error)
        error = weft_stat(mount->session, where.text, WEFT_STAT_NOFOLLOW, &attr);
    if (error)
        answer_error(req, "lookup", error);
    else
        answer_entry(req, "lookup", dir, name, &attr);
}

void names_forget(fuse_req_t req, fuse_ino_t node, uint64_t count)
{
    nodes_forget(&mount_of(req)->nodes, node, count);
    fuse_reply_none(req);
}

void names_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    for (size_t i = 0; i < count; i++)
        nodes_forget(&mount_of(req)->nodes, forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

/* ---- making ------------------------------------------------------------------ */

int names_give(struct mount *mount, fuse_req_t req, fuse_ino_t dir, const struct where *where,
               struct weft_attr *attr)
{
    const struct fuse_ctx *context = fuse_req_ctx(req);
    uid_t uid = context->uid == attr->uid ? (uid_t)-1 : context->uid;
    gid_t gid = context->gid == attr->gid ? (gid_t)-1 : context->gid;
    struct weft_attr parent;
    /* A user's own mount makes files as its user, who may be known by another group by now. */
    if (mount->uid != 0 || (uid == (uid_t)-1 && gid == (gid_t)-1))
        return 0;
    if (gid != (gid_t)-1) {
        int error = where_attr(mount, dir, &parent);
        if (error)
            return error;
        if (parent.mode & S_ISGID)
            gid = (gid_t)-1;
    }
    if (uid == (uid_t)-1 && gid == (gid_t)-1)
        return 0;
    int error = weft_chown(mount->session, where->text, uid, gid);
    /* chown() takes these bits away from a file; a new one's were asked for. */
    if (!error && (attr->mode & (S_ISUID | S_ISGID)) && !S_ISDIR(attr->mode))
        error = weft_chmod(mount->session, where->text, attr->mode & 07777);
    if (!error && uid != (uid_t)-1)
        attr->uid = uid;
    if (!error && gid != (gid_t)-1)
        attr->gid = gid;
    return error;
}

/* What was made under the name: its attributes, and whom it belongs to. */
static int find_made(fuse_req_t req, fuse_ino_t dir, const struct where *where, struct weft_attr *attr)
{
    struct mount *mount = mount_of(req);
    struct where number;
    int error = weft_stat(mount->session, where->text, WEFT_STAT_NOFOLLOW, attr);
    if (error)
        return error;
    /* By its number: a symbolic link is not followed so, and another's new file of the name is left alone. */
    snprintf(number.text, sizeof number.text, WEFT_INODE_PREFIX "%llu", (unsigned long long)attr->ino);
    return names_give(mount, req, dir, &number, attr);
}

static void answer_made(fuse_req_t req, const char *what, fuse_ino_t dir, const char *name,
                        const struct where *where, int error)
{
    struct weft_attr attr;
    if (!error)
        error = find_made(req, dir, where, &attr);
    if (error)
        answer_error(req, what, error);
    else
        answer_entry(req, what, dir, name, &attr);
}

void names_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode)
{
    struct mount *mount = mount_of(req);
    struct where where;
    int error = where_entry(mount, dir, name, &where);
    if (!error)
        error = weft_mkdir(mount->session, where.text, mode & 07777);
    answer_made(req, "mkdir", dir, name, &where, error);
}

void names_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t device)
{
    struct mount *mount = mount_of(req);
    struct where where;
    int error = where_entry(mount, dir, name, &where);
    if (!error)
        error = weft_mknod(mount->session, where.text, mode, device);
    answer_made(req, "mknod", dir, name, &where, error);
}

void names_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name)
{
    struct mount *mount = mount_of(req);
    struct where where;
    int error = where_entry(mount, dir, name, &where);
    if (!error)
        error = weft_symlink(mount->session, target, where.text);
    answer_made(req, "symlink", dir, name, &where, error);
}

/* A link to what `from` was a name of; when that was another file by then, it is taken back. */
static int link_checked(struct mount *mount, uint64_t ino, const struct where *from, const struct where *to,
                        struct weft_attr *attr)
{
    int error = weft_link(mount->session, from->text, to->text);
    if (!error)
        error = weft_stat(mount->session, to->text, WEFT_STAT_NOFOLLOW, attr);
    if (error || attr->ino == ino)
        return error;
    if (!from->by_number)
        (void)weft_unlink(mount->session, to->text);
    return err_set(-ESTALE, "%s is another file by now", from->text);
}

void names_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t dir, const char *name)
{
    struct mount *mount = mount_of(req);
    struct where from, to;
    struct weft_attr attr;
    int error = where_node(mount, node, &from);
    if (!error)
        error = where_entry(mount, dir, name, &to);
    if (!error)
        error = link_checked(mount, mount_ino(mount, node), &from, &to, &attr);
    if (error)
        answer_error(req, "link", error);
    else
        answer_entry(req, "link", dir, name, &attr);
}

/* ---- removing and renaming ----------------------------------------------------- */

void names_unlink(fuse_req_t req, fuse_ino_t dir, const char *name)
{
    struct mount *mount = mount_of(req);
    struct where where;
    int error = where_entry(mount, dir, name, &where);
    if (!error)
        error = weft_unlink(mount->session, where.text);
    answer(req, "unlink", error);
}

void names_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name)
{
    struct mount *mount = mount_of(req);
    struct where where;
    int error = where_entry(mount, dir, name, &where);
    if (!error)
        error = weft_rmdir(mount->session, where.text);
    answer(req, "rmdir", error);
}

/* Where files are named by their names, the table has to know the new one. */
static void note_rename(struct mount *mount, fuse_ino_t dir, const char *name, const struct where *where)
{
    struct weft_attr attr;
    if (mount->uid != 0 && weft_stat(mount->session, where->text, WEFT_STAT_NOFOLLOW, &attr) == 0)
        nodes_rename(&mount->nodes, attr.ino, mount_ino(mount, dir), name);
}

void names_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t to_dir, const char *to_name,
                  unsigned flags)
{
    struct mount *mount = mount_of(req);
    struct where from, to;
    int error = where_entry(mount, dir, name, &from);
    if (!error)
        error = where_entry(mount, to_dir, to_name, &to);
    /* No request of Weft does what the flags ask for in one step. */
    if (!error && flags)
        error = -EINVAL;
    if (!error)
        error = weft_rename(mount->session, from.text, to.text);
    if (!error)
        note_rename(mount, to_dir, to_name, &to);
    answer(req, "rename", error);
}

void names_readlink(fuse_req_t req, fuse_ino_t node)
{
    struct mount *mount = mount_of(req);
    struct where where;
    struct weft_attr attr;
    char target[PATH_MAX + 1];
    ssize_t length = where_node(mount, node, &where);
    if (length == 0)
        length = weft_readlink(mount->session, where.text, target, sizeof target - 1);
    /* A link's text never changes: what the name leads to now tells whose text it was, but for a swap to and
     * fro meanwhile. */
    if (length >= 0 && !where.by_number) {
        int error = weft_stat(mount->session, where.text, WEFT_STAT_NOFOLLOW, &attr);
        if (error || attr.ino != mount_ino(mount, node))
            length = -ESTALE;
    }
    if (length < 0) {
        answer_error(req, "readlink", (int)length);
        return;
    }
    target[length] = 0;
    fuse_reply_readlink(req, target);
}
