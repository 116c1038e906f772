/* SPDX-License-Identifier: Apache-2.0 */
#include "namespace.h"

#include <errno.h>
#include <string.h>

#include "err.h"
#include "path_name.h"
#include "permission.h"
#include "records.h"

/* The part of a path that is still to be walked. A symbolic link's text is put
 * in front of it, so it may get longer than a path. */
struct rest {
    char text[4 * (WEFT_PATH_BYTES_MAX + 1)];
    size_t start; /* of what is left */
};

static void rest_begin(struct rest *rest, const char *text, size_t length)
{
    rest->start = sizeof rest->text - (length + 1);
    memcpy(rest->text + rest->start, text, length + 1);
}

/* False when it does not fit. */
static bool rest_prepend(struct rest *rest, const char *text)
{
    size_t length = strlen(text);
    /* What is left begins with the slash that ended the component, or is empty. */
    if (length > rest->start)
        return false;
    rest->start -= length;
    memcpy(rest->text + rest->start, text, length);
    return true;
}

static const char *rest_text(const struct rest *rest)
{
    return rest->text + rest->start;
}

static void rest_skip_slashes(struct rest *rest)
{
    while (rest->text[rest->start] == '/')
        rest->start++;
}

/* ---- permissions -------------------------------------------------------- */

static struct permission_caller caller_of(const struct ns *ns)
{
    return (struct permission_caller){
        .uid = ns->uid, .gid = ns->gid, .group_count = ns->caller_group_count, .groups = ns->caller_groups};
}

bool path_in_group(const struct ns *ns, uint32_t gid)
{
    const struct permission_caller caller = caller_of(ns);
    return permission_is_in_group(&caller, gid);
}

bool path_may(const struct ns *ns, const struct inode *inode, unsigned wanted)
{
    const struct permission of = {.mode = inode->mode, .uid = inode->uid, .gid = inode->gid};
    const struct permission_caller caller = caller_of(ns);
    return permission_has(&caller, &of, wanted);
}

int path_require(const struct ns *ns, const struct inode *inode, unsigned wanted, const char *text)
{
    if (path_may(ns, inode, wanted))
        return 0;
    const char *what = wanted & NS_MAY_WRITE ? "write to" : wanted & NS_MAY_READ ? "read" : "search";
    return err_set(-EACCES, "%s: permission denied: uid %u may not %s inode with owner %u:%u and mode %04o",
                   text, ns->uid, what, inode->uid, inode->gid, inode->mode & 07777);
}

bool path_owns(const struct ns *ns, const struct inode *inode)
{
    return ns->uid == 0 || ns->uid == inode->uid;
}

/* ---- the ways ------------------------------------------------------------ */

void path_through(struct ns *ns, uint64_t ino)
{
    struct ns_ways *ways = ns->ways;
    if (!ways)
        return;
    if (ways->count == sizeof ways->inos / sizeof ways->inos[0])
        ways->plain = false;
    else
        ways->inos[ways->count++] = ino;
}

static void not_plain(struct ns *ns)
{
    if (ns->ways)
        ns->ways->plain = false;
}

/* ---- walking ------------------------------------------------------------ */

struct walk {
    struct ns *ns;
    const char *text; /* for messages */
    unsigned flags;
    unsigned links; /* followed so far */
    struct rest rest;
    struct path *path;
};

static int not_a_directory(const struct walk *walk)
{
    return err_set(-ENOTDIR, "%s: a part of the path is not a directory", walk->text);
}

/* Puts the link's text in front of the rest; an absolute one starts at the root again. */
static int follow(struct walk *walk, const struct inode *link)
{
    char target[LIMITS_SYMLINK_MAX + 1];
    not_plain(walk->ns);
    if (++walk->links > LIMITS_SYMLINK_DEPTH_MAX)
        return err_set(-ELOOP, "%s: more than %u symbolic links", walk->text, LIMITS_SYMLINK_DEPTH_MAX);
    int error = records_symlink_get(walk->ns->txn, link->ino, target);
    if (error)
        return error;
    if (!rest_prepend(&walk->rest, target))
        return err_set(-ENAMETOOLONG, "%s: too long with its symbolic links", walk->text);
    if (*target == '/')
        return records_inode_get(walk->ns->txn, INODE_ROOT, &walk->path->parent);
    return 0;
}

/* Takes one component off the rest. */
static int next_name(struct walk *walk, char name[WEFT_NAME_BYTES_MAX + 1])
{
    const char *text = rest_text(&walk->rest);
    size_t length = strcspn(text, "/");
    if (length > WEFT_NAME_BYTES_MAX)
        return err_set(-ENAMETOOLONG, "%s: a name is longer than %u bytes", walk->text, WEFT_NAME_BYTES_MAX);
    memcpy(name, text, length);
    name[length] = 0;
    walk->rest.start += length;
    return 0;
}

/* The path ends here, and what it leads to is told: of a directory that somebody holds it can't be. */
static int end_at(struct ns *ns, struct path *path, enum path_last last, const struct inode *inode)
{
    path->last = last;
    path->exists = true;
    path->inode = *inode;
    return inode_is_dir(inode) ? records_inode_looking(ns->txn, inode->ino) : 0;
}

static int enter_parent(struct walk *walk, bool last)
{
    struct path *path = walk->path;
    struct inode up;
    int error = records_inode_get(walk->ns->txn, path->parent.parent, &up);
    if (error)
        return error;
    if (last)
        return end_at(walk->ns, path, PATH_DOT_DOT, &up);
    path->parent = up;
    return 0;
}

/* An ordinary name in path->parent. Returns 1 when the path ends here. */
static int enter_name(struct walk *walk, const char *name, bool last)
{
    struct path *path = walk->path;
    struct ns *ns = walk->ns;
    uint64_t ino;
    struct inode inode;
    if (last && path->slash && (walk->flags & PATH_OF_FILE))
        return err_set(-EISDIR, "%s: a file's name cannot end with a slash", walk->text);
    int error = records_inode_looking(ns->txn, path->parent.ino);
    if (!error)
        error = records_dirent_get(ns->txn, path->parent.ino, name, &ino);
    if (error == -ENOENT && last) {
        path->last = PATH_NAME;
        memcpy(path->name, name, strlen(name) + 1);
        path->exists = false;
        return 1;
    }
    if (error == -ENOENT)
        return err_set(-ENOENT, "%s: no such file or directory", walk->text);
    if (error)
        return error;
    error = records_inode_get(ns->txn, ino, &inode);
    if (error == -ENOENT)
        return err_set(-EUCLEAN, "%s: the directory entry names inode %llu, which does not exist", walk->text,
                       (unsigned long long)ino);
    if (error)
        return error;
    bool through = !last || (walk->flags & PATH_FOLLOW) || (path->slash && !(walk->flags & PATH_AS_IS));
    if (inode_is_symlink(&inode) && through)
        return follow(walk, &inode);
    if (last) {
        memcpy(path->name, name, strlen(name) + 1);
        error = end_at(ns, path, PATH_NAME, &inode);
        return error ? error : 1;
    }
    if (!inode_is_dir(&inode))
        return not_a_directory(walk);
    path->parent = inode;
    return 0;
}

/* One component. Returns 1 when the path ends here. */
static int step(struct walk *walk)
{
    struct path *path = walk->path;
    char name[WEFT_NAME_BYTES_MAX + 1];
    int error = next_name(walk, name);
    if (error)
        return error;
    bool slash = *rest_text(&walk->rest) == '/';
    size_t before = walk->rest.start;
    rest_skip_slashes(&walk->rest);
    bool last = *rest_text(&walk->rest) == 0;
    path->slash = last && slash;
    if (path->slash || walk->rest.start > before + 1)
        not_plain(walk->ns);

    path_through(walk->ns, path->parent.ino);
    error = path_require(walk->ns, &path->parent, NS_MAY_EXECUTE, walk->text);
    if (error)
        return error;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        not_plain(walk->ns);
    if (strcmp(name, ".") == 0) {
        error = last ? end_at(walk->ns, path, PATH_DOT, &path->parent) : 0;
        return error ? error : last;
    }
    if (strcmp(name, "..") == 0) {
        error = enter_parent(walk, last);
        return error ? error : last;
    }
    /* A link's text must be parted from what follows it. */
    walk->rest.start = before;
    error = enter_name(walk, name, last);
    rest_skip_slashes(&walk->rest);
    return error;
}

int path_resolve(struct ns *ns, const char *text, unsigned flags, struct path *path)
{
    struct walk walk; /* not initialized as a whole: the rest is large */
    size_t length = strlen(text);
    if (length == 0)
        return err_set(-ENOENT, "the path is empty");
    if (length > WEFT_PATH_BYTES_MAX)
        return err_set(-ENAMETOOLONG, "the path is longer than %u bytes", WEFT_PATH_BYTES_MAX);
    if (*text != '/')
        return err_set(-EINVAL, "%s: the path must begin with a slash", text);

    uint64_t ino;
    const char *rest = path_inode_rest(text, &ino);
    if (ns->ways)
        *ns->ways = (struct ns_ways){.plain = true};
    *path = (struct path){.last = PATH_ROOT};
    int error = rest ? path_inode_begin(ns, text, ino, rest, path)
                     : records_inode_get(ns->txn, INODE_ROOT, &path->parent);
    if (path->slash)
        not_plain(ns);
    if (error || path->exists)
        return error;
    rest = rest ? rest : text;
    walk.ns = ns;
    walk.text = text;
    walk.flags = flags;
    walk.links = 0;
    walk.path = path;
    rest_begin(&walk.rest, rest, strlen(rest));
    if (rest[0] == '/' && rest[1] == '/')
        not_plain(ns);
    rest_skip_slashes(&walk.rest);
    while (*rest_text(&walk.rest)) {
        error = step(&walk);
        if (error)
            return error < 0 ? error : 0;
    }
    /* Nothing but slashes was left, maybe of a link to the root. */
    return end_at(ns, path, PATH_ROOT, &path->parent);
}

int path_resolve_existing(struct ns *ns, const char *text, unsigned flags, struct path *path)
{
    int error = path_resolve(ns, text, flags, path);
    if (error)
        return error;
    if (!path->exists)
        return err_set(-ENOENT, "%s: no such file or directory", text);
    if (path->slash && !inode_is_dir(&path->inode))
        return err_set(-ENOTDIR, "%s: not a directory", text);
    return 0;
}
