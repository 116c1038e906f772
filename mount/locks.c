/* SPDX-License-Identifier: Apache-2.0 */
#include "locks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>

#include "err.h"
#include "log.h"

/* ---- owners ---------------------------------------------------------------------- */

/* The kernel tells of the end of a process's table of files, and of flock(2)'s locks, but not of that of
 * the locks that belong to an open file: so each open file remembers who locked through it. */
static int note_owner(struct file *file, uint64_t owner)
{
    struct file_owners *owners = &file->owners;
    int error = 0;
    size_t i = 0;
    pthread_mutex_lock(&owners->mutex);
    while (i < owners->count && owners->items[i] != owner)
        i++;
    if (i == owners->count) {
        uint64_t *more = realloc(owners->items, (i + 1) * sizeof *more);
        if (more) {
            owners->items = more;
            owners->items[owners->count++] = owner;
        } else {
            error = -ENOLCK;
        }
    }
    pthread_mutex_unlock(&owners->mutex);
    return error;
}

void locks_end_owner(struct file *file, uint64_t owner)
{
    int error = weft_file_lock_drop(file->weft, owner);
    if (error)
        log_warn("locks had been lost when their file was closed: %s", weft_error());
}

void locks_end_file(struct file *file)
{
    /* Nobody else has it any more. */
    for (size_t i = 0; i < file->owners.count; i++)
        locks_end_owner(file, file->owners.items[i]);
}

/* ---- the operations ---------------------------------------------------------------- */

static struct weft_record record_of(const struct fuse_file_info *info, const struct flock *lock)
{
    uint64_t start = (uint64_t)lock->l_start;
    uint64_t end = lock->l_len == 0 ? (uint64_t)INT64_MAX : start + (uint64_t)lock->l_len;
    /* "To the end" leaves out the bytes that libweft has a use of its own for. */
    end = end < WEFT_LOCK_WHOLE ? end : WEFT_LOCK_WHOLE;
    return (struct weft_record){
        .owner = info->lock_owner,
        .pid = (uint32_t)lock->l_pid,
        .type = lock->l_type == F_UNLCK   ? WEFT_LOCK_NONE
                : lock->l_type == F_WRLCK ? WEFT_LOCK_EXCLUSIVE
                                          : WEFT_LOCK_SHARED,
        .extent = {.offset = start, .length = end > start ? end - start : 0},
    };
}

void locks_get(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info, struct flock *lock)
{
    struct weft_record wish = record_of(info, lock), found;
    (void)node;
    int result = wish.extent.length ? weft_file_lock_test(file_of(info)->weft, &wish, &found) : 0;
    if (result < 0) {
        answer_error(req, "lock test", result);
        return;
    }
    lock->l_type = F_UNLCK;
    if (result > 0) {
        uint64_t end = found.extent.offset + found.extent.length;
        lock->l_type = found.type == WEFT_LOCK_EXCLUSIVE ? F_WRLCK : F_RDLCK;
        lock->l_whence = SEEK_SET;
        lock->l_start = (off_t)found.extent.offset;
        lock->l_len = end >= WEFT_LOCK_WHOLE ? 0 : (off_t)found.extent.length;
        lock->l_pid = (pid_t)found.pid;
    }
    fuse_reply_lock(req, lock);
}

/* When it can't be had at once, the request is answered by the line. */
static void wait_for(fuse_req_t req, struct file *file, const struct weft_record *record, unsigned flags)
{
    int error = lock_line_join(file->mount->lock_line, req, file, record, flags);
    if (error)
        answer(req, "lock", error);
}

void locks_set(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info, struct flock *lock, int wait)
{
    struct weft_record record = record_of(info, lock);
    struct file *file = file_of(info);
    (void)node;
    int error = record.extent.length ? note_owner(file, record.owner) : 0;
    if (!error && record.extent.length)
        error = weft_file_lock_set(file->weft, &record, 0);
    if (error == -EAGAIN && wait)
        wait_for(req, file, &record, WEFT_LOCK_WAIT | WEFT_LOCK_DETECT);
    else
        answer(req, "lock", error);
}

void locks_flock(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info, int operation)
{
    struct file *file = file_of(info);
    struct weft_record record = {
        .owner = info->lock_owner,
        .pid = (uint32_t)fuse_req_ctx(req)->pid,
        .type = operation & LOCK_UN   ? WEFT_LOCK_NONE
                : operation & LOCK_EX ? WEFT_LOCK_EXCLUSIVE
                                      : WEFT_LOCK_SHARED,
        .extent = {.offset = WEFT_LOCK_WHOLE, .length = 1},
    };
    (void)node;
    int error = note_owner(file, record.owner);
    if (!error)
        error = weft_file_lock_set(file->weft, &record, 0);
    if (error == -EAGAIN) {
        /* What can't be had at once costs what was there: two who share it and both want it alone would
         * wait for each other otherwise, which flock(2) does nowhere. */
        struct weft_record none = record;
        none.type = WEFT_LOCK_NONE;
        (void)weft_file_lock_set(file->weft, &none, 0);
        error = weft_file_lock_set(file->weft, &record, 0);
    }
    if (error == -EAGAIN && !(operation & LOCK_NB))
        wait_for(req, file, &record, WEFT_LOCK_WAIT);
    else
        answer(req, "lock", error);
}
