/* SPDX-License-Identifier: Apache-2.0 */
/* Trees on their way: directories, links, and files for the workers. */
#include "transfer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What is done to a directory once all in it is there. */
struct made_directory {
    struct place place;
    struct weft_attr attr; /* of its source */
    mode_t mode;
    struct made_directory *next;
};

/* A file of a tree, copied by a worker. */
struct copy_work {
    struct copy *copy;
    struct place from, to;
    struct weft_attr attr;
};

static void run_copy_work(void *arg)
{
    struct copy_work *work = arg;
    if (!tool_interrupted())
        transfer_file(work->copy, &work->from, &work->to, &work->attr);
    place_free(&work->from);
    place_free(&work->to);
    free(work);
}

static void file_later(struct copy *copy, const struct place *from, const struct place *to,
                       const struct weft_attr *attr)
{
    struct copy_work *work = calloc(1, sizeof *work);
    if (!work || !(work->from.path = strdup(from->path)) || !(work->to.path = strdup(to->path))) {
        tool_complain(copy->tool, "%s: no memory to copy it", from->path);
        if (work)
            place_free(&work->from);
        free(work);
        return;
    }
    work->copy = copy;
    work->from.in_cluster = from->in_cluster;
    work->to.in_cluster = to->in_cluster;
    work->attr = *attr;
    workers_add(copy->workers, run_copy_work, work);
}

static void copy_link(struct copy *copy, const struct place *from, const struct place *to)
{
    char *target = NULL;
    struct weft_attr old;
    int error = place_readlink(copy->tool, from, &target);
    if (error) {
        place_complain(copy->tool, from, error);
        return;
    }
    /* A link in the way is replaced, as a file would be. */
    if (place_stat(copy->tool, to, false, &old) == 0 && !S_ISDIR(old.mode))
        place_unlink(copy->tool, to);
    error = place_symlink(copy->tool, target, to);
    if (error)
        place_complain(copy->tool, to, error);
    else
        transfer_say(copy, from, to);
    free(target);
}

/* ---- trees ---------------------------------------------------------------- */

static void copy_children(struct copy *copy, const struct place *from, const struct place *to)
{
    struct place_list *list;
    const char *name;
    int more = place_list_open(copy->tool, from, &list);
    if (more) {
        place_complain(copy->tool, from, more);
        return;
    }
    while (!tool_interrupted() && (more = place_list_next(list, &name)) > 0) {
        struct place child_from, child_to;
        int error = place_join(from, name, &child_from);
        if (error) {
            place_complain(copy->tool, from, error);
            continue;
        }
        error = place_join(to, name, &child_to);
        if (error) {
            place_complain(copy->tool, to, error);
        } else {
            transfer_entry(copy, &child_from, &child_to, false);
            place_free(&child_to);
        }
        place_free(&child_from);
    }
    if (more < 0)
        place_complain(copy->tool, from, more);
    place_list_close(list);
}

/* Its times and permissions can't be set before all in it is copied. */
static void finish_later(struct copy *copy, const struct place *to, const struct weft_attr *attr, mode_t mode)
{
    struct made_directory *made = calloc(1, sizeof *made);
    if (!made || !(made->place.path = strdup(to->path))) {
        free(made);
        tool_complain(copy->tool, "%s: no memory to set its permissions", to->path);
        return;
    }
    made->place.in_cluster = to->in_cluster;
    made->attr = *attr;
    made->mode = mode;
    made->next = copy->made;
    copy->made = made;
}

void transfer_finish(struct copy *copy)
{
    struct made_directory *made;
    while ((made = copy->made)) {
        copy->made = made->next;
        int error = copy->preserve ? 0 : place_chmod(copy->tool, &made->place, made->mode);
        if (copy->preserve)
            transfer_preserve(copy, &made->place, &made->attr);
        else if (error)
            place_complain(copy->tool, &made->place, error);
        place_free(&made->place);
        free(made);
    }
}

static void copy_directory(struct copy *copy, const struct place *from, const struct place *to,
                           const struct weft_attr *attr, bool top)
{
    struct weft_attr made;
    mode_t mode = attr->mode & 0777 & ~copy->mask;
    if (from->in_cluster && !top && copy->made_ino && attr->ino == copy->made_ino) {
        tool_complain(copy->tool,
                      "weft:%s: is the directory that is being made, so it is not copied into itself",
                      from->path);
        return;
    }
    int error = to->in_cluster && !tool_session(copy->tool) ? -ENOTCONN : 0;
    if (!error)
        error = place_mkdir(copy->tool, to, mode | 0700);
    bool created = error == 0;
    if (created || error == -EEXIST)
        error = place_stat(copy->tool, to, true, &made);
    if (!error && !S_ISDIR(made.mode))
        error = -ENOTDIR;
    if (error == -ENOTDIR)
        tool_complain(copy->tool, "%s%s: is in the way: it is no directory",
                      to->in_cluster ? WEFT_PATH_PREFIX : "", to->path);
    else if (error && error != -ENOTCONN)
        place_complain(copy->tool, to, error);
    if (error)
        return;
    if (top)
        copy->made_ino = from->in_cluster && to->in_cluster ? made.ino : 0;
    if (top && copy->made_ino == attr->ino) {
        tool_complain(copy->tool, "weft:%s: source and destination are the same directory", from->path);
        return;
    }
    if (copy->preserve || (created && (mode | 0700) != mode))
        finish_later(copy, to, attr, mode);
    copy_children(copy, from, to);
}

void transfer_entry(struct copy *copy, const struct place *from, const struct place *to, bool top)
{
    struct weft_attr attr;
    int error = place_stat(copy->tool, from, top && !copy->recursive, &attr);
    if (error) {
        if (error != -ENOTCONN)
            place_complain(copy->tool, from, error);
        return;
    }
    if (S_ISDIR(attr.mode)) {
        if (copy->recursive)
            copy_directory(copy, from, to, &attr, top);
        else
            tool_complain(copy->tool, "%s%s: is a directory: weft cp -r copies it with all in it",
                          from->in_cluster ? WEFT_PATH_PREFIX : "", from->path);
    } else if (S_ISLNK(attr.mode)) {
        if (!to->in_cluster || tool_session(copy->tool))
            copy_link(copy, from, to);
    } else if (S_ISREG(attr.mode) || (top && !copy->recursive)) {
        if (copy->workers)
            file_later(copy, from, to, &attr);
        else
            transfer_file(copy, from, to, &attr);
    } else {
        tool_complain(copy->tool, "%s: is neither a file nor a directory nor a link, so it is not copied",
                      from->path);
    }
}

/* Bytes of all regular files below; what can't be read is told of later. */
uint64_t transfer_bytes(struct tool *tool, const struct place *place, bool recursive)
{
    struct weft_attr attr;
    struct place_list *list;
    const char *name;
    if (place_stat(tool, place, !recursive, &attr))
        return 0;
    if (!S_ISDIR(attr.mode))
        return S_ISREG(attr.mode) ? attr.size : 0;
    if (!recursive || place_list_open(tool, place, &list))
        return 0;
    uint64_t sum = 0;
    while (!tool_interrupted() && place_list_next(list, &name) > 0) {
        struct place child;
        if (place_join(place, name, &child))
            continue;
        sum += transfer_bytes(tool, &child, true);
        place_free(&child);
    }
    place_list_close(list);
    return sum;
}
