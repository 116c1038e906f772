/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing. */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "err.h"
#include "locks.h"

/* What of the kernel's flags means anything to Weft. */
#define OPEN_FLAGS (O_ACCMODE | O_TRUNC)

/* ---- open files ----------------------------------------------------------------- */

int file_new(struct mount *mount, weft_file_t *weft, struct file **out)
{
    struct file *file = calloc(1, sizeof *file);
    if (!file)
        return err_set(-ENOMEM, "out of memory for an open file");
    *file = (struct file){.weft = weft, .mount = mount, .ino = weft_file_ino(weft), .users = 1};
    int error = nodes_attach(&mount->nodes, file->ino, &file->open);
    if (error) {
        free(file);
        return error;
    }
    pthread_mutex_init(&file->owners.mutex, NULL);
    *out = file;
    return 0;
}

static void borrow(void *arg, struct list_link *open)
{
    struct file *file = list_item(open, struct file, open);
    file->users++;
    *(struct file **)arg = file;
}

struct file *file_borrow(struct mount *mount, uint64_t ino)
{
    struct file *file = NULL;
    nodes_borrow(&mount->nodes, ino, borrow, &file);
    return file;
}

void file_hold(struct file *file)
{
    pthread_mutex_lock(&file->mount->nodes.lock);
    file->users++;
    pthread_mutex_unlock(&file->mount->nodes.lock);
}

int file_drop(struct file *file)
{
    struct nodes *nodes = &file->mount->nodes;
    pthread_mutex_lock(&nodes->lock);
    bool last = --file->users == 0;
    if (last)
        list_remove(&file->open); /* nobody can borrow it any more */
    pthread_mutex_unlock(&nodes->lock);
    if (!last)
        return 0;
    int error = weft_file_close(file->weft);
    nodes_detach(nodes, file->ino, &file->open);
    pthread_mutex_destroy(&file->owners.mutex);
    free(file->owners.items);
    free(file);
    return error;
}

int file_open(struct mount *mount, fuse_ino_t node, int flags, weft_file_t **weft)
{
    struct where where;
    int error = where_node(mount, node, &where);
    if (error)
        return error;
    /* What is emptied before it is known to be the right one is lost. */
    int first = where.by_number ? flags : flags & ~O_TRUNC;
    error = weft_file_open(mount->session, where.text, first | O_NOFOLLOW, 0, NULL, weft);
    if (error == -ENOENT || error == -ENOTDIR || error == -ELOOP)
        error = -ESTALE;
    if (error)
        return error;
    if (weft_file_ino(*weft) != mount_ino(mount, node))
        error = err_set(-ESTALE, "%s is another file by now", where.text);
    if (!error && first != flags)
        error = weft_file_truncate(*weft, 0);
    if (error)
        (void)weft_file_close(*weft);
    return error;
}

/* ---- the kernel's handles --------------------------------------------------------- */

/* How the kernel is to treat this opening's contents. Without caching it hands each call on as it is.
 * With it, pages are kept when nothing tells of a change since the file was opened last; who appends must
 * not have any, because the bytes may land elsewhere than where the kernel believes. */
static int choose_caching(struct mount *mount, struct file *file, struct fuse_file_info *info)
{
    struct weft_attr attr;
    info->direct_io = !mount->options.cache || (info->flags & O_APPEND);
    info->keep_cache = 0;
    info->nonseekable = 0;
#if FUSE_MAJOR_VERSION > 3 || FUSE_MINOR_VERSION >= 15
    info->parallel_direct_writes = info->direct_io;
#endif
    if (info->direct_io)
        return 0;
    int error = weft_file_stat(file->weft, &attr);
    if (!error)
        info->keep_cache = nodes_unchanged(&mount->nodes, file->ino, attr.size, attr.mtime_ns);
    return error;
}

static int begin(struct mount *mount, weft_file_t *weft, struct fuse_file_info *info)
{
    struct file *file;
    int error = file_new(mount, weft, &file);
    if (error) {
        (void)weft_file_close(weft);
        return error;
    }
    info->fh = (uint64_t)(uintptr_t)file;
    error = choose_caching(mount, file, info);
    if (error)
        (void)file_drop(file);
    return error;
}

void files_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
    struct mount *mount = mount_of(req);
    weft_file_t *weft;
    int error = file_open(mount, node, info->flags & OPEN_FLAGS, &weft);
    if (!error)
        error = begin(mount, weft, info);
    if (error)
        answer_error(req, "open", error);
    else if (fuse_reply_open(req, info) == -ENOENT) /* interrupted: the kernel will not close it */
        (void)file_drop(file_of(info));
}

/* The new file's attributes, and whom it belongs to. */
static int find_created(fuse_req_t req, fuse_ino_t dir, weft_file_t *weft, struct weft_attr *attr)
{
    struct where where;
    int error = weft_file_stat(weft, attr);
    if (error)
        return error;
    snprintf(where.text, sizeof where.text, WEFT_INODE_PREFIX "%" PRIu64, attr->ino);
    return names_give(mount_of(req), req, dir, &where, attr);
}

static int create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, struct fuse_file_info *info,
                  struct fuse_entry_param *entry)
{
    struct mount *mount = mount_of(req);
    int flags = (info->flags & (OPEN_FLAGS | O_EXCL)) | O_CREAT | O_NOFOLLOW;
    struct where where;
    struct weft_attr attr;
    weft_file_t *weft;
    int error = where_entry(mount, dir, name, &where);
    if (!error)
        error = weft_file_open(mount->session, where.text, flags, mode & 07777, NULL, &weft);
    if (error)
        return error;
    error = find_created(req, dir, weft, &attr);
    if (error) {
        (void)weft_file_close(weft);
        return error;
    }
    error = begin(mount, weft, info);
    if (error)
        return error;
    error = where_enter(mount, dir, name, &attr, entry);
    if (error)
        (void)file_drop(file_of(info));
    return error;
}

void files_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, struct fuse_file_info *info)
{
    struct mount *mount = mount_of(req);
    struct fuse_entry_param entry;
    int error = create(req, dir, name, mode, info, &entry);
    if (error) {
        answer_error(req, "create", error);
    } else if (fuse_reply_create(req, &entry, info) == -ENOENT) {
        (void)file_drop(file_of(info));
        nodes_forget(&mount->nodes, entry.ino, 1);
    }
}

/* A descriptor is closed; there may be others of the file. The process loses all of its locks on it. */
void files_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
    (void)node;
    locks_end_owner(file_of(info), info->lock_owner);
    fuse_reply_err(req, 0);
}

void files_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
    struct file *file = file_of(info);
    (void)node;
    locks_end_file(file);
    answer(req, "release", file_drop(file));
}
