/* SPDX-License-Identifier: Apache-2.0 */
#include "mount.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"

int where_entry(const struct mount *mount, fuse_ino_t dir, const char *name, struct where *where)
{
    if (strlen(name) > WEFT_NAME_BYTES_MAX)
        return err_set(-ENAMETOOLONG, "a name has at most %u bytes", WEFT_NAME_BYTES_MAX);
    snprintf(where->text, sizeof where->text, WEFT_INODE_PREFIX "%" PRIu64 "/%s", mount_ino(mount, dir),
             name);
    where->by_number = false;
    return 0;
}

int where_node(struct mount *mount, fuse_ino_t node, struct where *where)
{
    struct node_place place;
    uint64_t ino = mount_ino(mount, node);
    bool known = node != FUSE_ROOT_ID && nodes_place(&mount->nodes, ino, &place);
    where->by_number = !known || mount->uid == 0 || S_ISDIR(place.mode) || place.uid == mount->uid;
    if (where->by_number) {
        snprintf(where->text, sizeof where->text, WEFT_INODE_PREFIX "%" PRIu64, ino);
        return 0;
    }
    return where_entry(mount, place.parent, place.name, where);
}

static int attr_of_name(struct mount *mount, fuse_ino_t node, struct weft_attr *attr)
{
    struct where where;
    int error = where_node(mount, node, &where);
    if (!error)
        error = weft_stat(mount->session, where.text, WEFT_STAT_NOFOLLOW, attr);
    if (!error && attr->ino != mount_ino(mount, node))
        error = err_set(-ESTALE, "%s is another file by now", where.text);
    if (error == -ENOENT || error == -ENOTDIR)
        error = -ESTALE;
    return error;
}

int where_attr(struct mount *mount, fuse_ino_t node, struct weft_attr *attr)
{
    int error = attr_of_name(mount, node, attr);
    struct file *file = error ? file_borrow(mount, mount_ino(mount, node)) : NULL;
    if (file) {
        error = weft_file_stat(file->weft, attr);
        (void)file_drop(file);
    }
    return error;
}

int where_enter(struct mount *mount, fuse_ino_t dir, const char *name, const struct weft_attr *attr,
                struct fuse_entry_param *entry)
{
    struct node_seen seen = {
        .ino = attr->ino,
        .parent = mount_ino(mount, dir),
        .name = name,
        .uid = attr->uid,
        .mode = attr->mode,
    };
    memset(entry, 0, sizeof *entry);
    entry->ino = attr->ino;
    entry->generation = 1; /* numbers are never used again */
    entry->attr_timeout = entry->entry_timeout = mount->timeout_s;
    weft_attr_stat(attr, &entry->attr);
    return nodes_enter(&mount->nodes, &seen);
}
