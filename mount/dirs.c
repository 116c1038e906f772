/* SPDX-License-Identifier: Apache-2.0 */
/* Reading directories. Offset 1 is behind ".", 2 behind "..", and 2 + n behind the n-th entry (marks.h). */
#include "mount.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "err.h"
#include "marks.h"

enum { DOTS = 2 };

struct directory {
    pthread_mutex_t lock; /* two threads of a program may share a descriptor */
    weft_dir_t *weft;
    fuse_ino_t node;
    uint64_t position; /* entries that lie behind */
    struct marks marks;
    bool plus;    /* the kernel asks for attributes */
    bool begun;   /* something was read */
    bool pending; /* the entry below was read but not given out: it had no room */
    char name[NODE_NAME_BYTES];
    struct weft_attr attr;
};

/* An answer that is being filled. */
struct listing {
    char *bytes;
    size_t size, used;
    bool plus;
};

static struct directory *directory_of(const struct fuse_file_info *info)
{
    return (struct directory *)(uintptr_t)info->fh;
}

static void directory_free(struct directory *directory)
{
    weft_dir_close(directory->weft);
    marks_free(&directory->marks);
    pthread_mutex_destroy(&directory->lock);
    free(directory);
}

static int directory_new(struct mount *mount, fuse_ino_t node, struct directory **out)
{
    struct where where;
    struct directory *directory = calloc(1, sizeof *directory);
    if (!directory)
        return err_set(-ENOMEM, "out of memory for a directory");
    int error = where_node(mount, node, &where);
    if (!error)
        error = weft_dir_open(mount->session, where.text, &directory->weft);
    if (error) {
        free(directory);
        return error == -ENOENT ? -ESTALE : error;
    }
    pthread_mutex_init(&directory->lock, NULL);
    directory->node = node;
    *out = directory;
    return 0;
}

void dirs_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
    struct directory *directory;
    int error = directory_new(mount_of(req), node, &directory);
    if (error) {
        answer_error(req, "opendir", error);
        return;
    }
    info->fh = (uint64_t)(uintptr_t)directory;
    if (fuse_reply_open(req, info) == -ENOENT)
        directory_free(directory);
}

void dirs_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
    (void)node;
    directory_free(directory_of(info));
    fuse_reply_err(req, 0);
}

/* Names are durable when they are answered. */
void dirs_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *info)
{
    (void)node;
    (void)datasync;
    (void)info;
    fuse_reply_err(req, 0);
}

/* ---- reading ------------------------------------------------------------------- */

/* The next entry into `directory`: 1, 0 at the end, or an error. */
static int next(struct directory *directory)
{
    const char *name;
    if (directory->pending)
        return 1;
    int result = weft_dir_next(directory->weft, &name, directory->plus ? &directory->attr : NULL);
    /* Without attributes the kernel is told the number and the type: no file's size need be asked for. */
    if (result > 0 && !directory->plus) {
        directory->attr = (struct weft_attr){0};
        int error = weft_dir_entry(directory->weft, &directory->attr.ino, &directory->attr.mode);
        result = error ? error : result;
    }
    if (result > 0) {
        strncpy(directory->name, name, sizeof directory->name - 1);
        directory->pending = true;
    }
    return result;
}

/* It was given out, or passed over. */
static int pass(struct directory *directory)
{
    int error = marks_add(&directory->marks, directory->name);
    if (!error) {
        directory->pending = false;
        directory->position++;
    }
    return error;
}

/* Where the kernel wants to go on: nearly always where the last answer ended. A beginning is made anew, so
 * that rewinddir() sees what has come since. */
static int seek(struct directory *directory, uint64_t position)
{
    const char *after;
    bool goes_on = position == directory->position && (position > 0 || !directory->begun);
    directory->begun = true;
    if (goes_on)
        return 0;
    uint64_t found = marks_find(&directory->marks, position, &after);
    int result = weft_dir_seek(directory->weft, after);
    if (result)
        return result;
    marks_cut(&directory->marks, found);
    directory->pending = false;
    directory->position = found;
    while (directory->position < position && (result = next(directory)) > 0) {
        result = pass(directory);
        if (result)
            break;
    }
    return result;
}

/* False when it does not fit. */
static bool put(fuse_req_t req, struct listing *listing, const char *name,
                const struct fuse_entry_param *entry, off_t next_offset)
{
    char *at = listing->bytes + listing->used;
    size_t room = listing->size - listing->used;
    size_t used = listing->plus ? fuse_add_direntry_plus(req, at, room, name, entry, next_offset)
                                : fuse_add_direntry(req, at, room, name, &entry->attr, next_offset);
    if (used > room)
        return false;
    listing->used += used;
    return true;
}

static uint64_t parent_of(struct mount *mount, fuse_ino_t node)
{
    struct node_place place;
    bool known = node != FUSE_ROOT_ID && nodes_place(&mount->nodes, node, &place);
    return known ? place.parent : mount_ino(mount, node);
}

/* "." and ".." are told without a node: with the number 0 the kernel remembers nothing. */
static bool put_dot(fuse_req_t req, struct directory *directory, struct listing *listing, uint64_t index)
{
    struct mount *mount = mount_of(req);
    struct fuse_entry_param entry = {.attr = {.st_mode = S_IFDIR}};
    entry.attr.st_ino = index == 0 ? mount_ino(mount, directory->node) : parent_of(mount, directory->node);
    return put(req, listing, index == 0 ? "." : "..", &entry, (off_t)index + 1);
}

static int put_entry(fuse_req_t req, struct directory *directory, struct listing *listing, bool *full)
{
    struct mount *mount = mount_of(req);
    struct fuse_entry_param entry = {0};
    off_t next_offset = (off_t)(DOTS + directory->position + 1);
    int error = 0;
    if (listing->plus)
        error = where_enter(mount, directory->node, directory->name, &directory->attr, &entry);
    else
        weft_attr_stat(&directory->attr, &entry.attr);
    if (error)
        return error;
    *full = !put(req, listing, directory->name, &entry, next_offset);
    if (*full && listing->plus)
        nodes_forget(&mount->nodes, entry.ino, 1);
    return *full ? 0 : pass(directory);
}

static int fill(fuse_req_t req, struct directory *directory, uint64_t offset, struct listing *listing)
{
    int result;
    bool full = false;
    for (; offset < DOTS; offset++)
        if (!put_dot(req, directory, listing, offset))
            return 0;
    result = seek(directory, offset - DOTS);
    while (result >= 0 && !full && (result = next(directory)) > 0)
        result = put_entry(req, directory, listing, &full);
    /* What was found before goes out; the error comes back with the next question. */
    return listing->used > 0 || result > 0 ? 0 : result;
}

/* The kernel may ask now with attributes and now without: an entry that waits was read the other way. */
static int begin_kind(struct directory *directory, bool plus)
{
    const char *after = "";
    int error = 0;
    if (directory->pending && directory->plus != plus) {
        if (directory->position > 0)
            marks_find(&directory->marks, directory->position, &after);
        directory->pending = false;
        error = weft_dir_seek(directory->weft, after);
    }
    directory->plus = plus;
    return error;
}

static void read_directory(fuse_req_t req, size_t size, off_t offset, struct fuse_file_info *info, bool plus)
{
    struct directory *directory = directory_of(info);
    if (size > MOUNT_IO_BYTES)
        size = MOUNT_IO_BYTES;
    struct listing listing = {.bytes = malloc(size), .size = size, .plus = plus};
    int error = -ENOMEM;
    if (listing.bytes) {
        pthread_mutex_lock(&directory->lock);
        error = begin_kind(directory, plus);
        if (!error)
            error = fill(req, directory, (uint64_t)offset, &listing);
        pthread_mutex_unlock(&directory->lock);
    }
    if (error)
        answer_error(req, "readdir", error);
    else
        fuse_reply_buf(req, listing.bytes, listing.used);
    free(listing.bytes);
}

void dirs_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *info)
{
    (void)node;
    read_directory(req, size, offset, info, false);
}

void dirs_readplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *info)
{
    (void)node;
    read_directory(req, size, offset, info, true);
}
