/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of open files. */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"

#define BUFFER_ALIGNMENT 4096u

/* ---- a buffer for each thread ------------------------------------------------------ */

static pthread_key_t buffer_key;

static void make_key(void)
{
    pthread_key_create(&buffer_key, free);
}

/* MOUNT_IO_BYTES that stay the thread's: to get and give back a MiB for each read costs more than to read. */
static char *thread_buffer(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_key);
    void *buffer = pthread_getspecific(buffer_key);
    if (!buffer && posix_memalign(&buffer, BUFFER_ALIGNMENT, MOUNT_IO_BYTES) == 0)
        pthread_setspecific(buffer_key, buffer);
    return buffer;
}

/* ---- reading and writing ------------------------------------------------------------ */

void transfer_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *info)
{
    (void)node;
    char *buffer = thread_buffer();
    ssize_t count = buffer ? 0 : -ENOMEM;
    if (size > MOUNT_IO_BYTES)
        size = MOUNT_IO_BYTES;
    if (count == 0)
        count = weft_file_read(file_of(info)->weft, buffer, size, (uint64_t)offset);
    if (count < 0)
        answer_error(req, "read", (int)count);
    else
        fuse_reply_buf(req, buffer, (size_t)count);
}

/* A program that somebody has written to must not run with its owner's rights any more. The kernel takes the
 * bits away only where it caches. Root may write and keep them. */
static int drop_privileges(fuse_req_t req, struct file *file)
{
    struct mount *mount = file->mount;
    struct weft_attr attr;
    if (fuse_req_ctx(req)->uid == 0 || !(nodes_mode(&mount->nodes, file->ino) & (S_ISUID | S_ISGID)))
        return 0;
    int error = weft_file_stat(file->weft, &attr);
    uint32_t mode = attr.mode & ~(uint32_t)(attr.mode & S_IXGRP ? S_ISUID | S_ISGID : S_ISUID);
    if (!error && mode != attr.mode)
        error = weft_file_chmod(file->weft, mode & 07777);
    if (!error)
        nodes_set_mode(&mount->nodes, file->ino, mode);
    return error;
}

void transfer_write(fuse_req_t req, fuse_ino_t node, const char *bytes, size_t size, off_t offset,
                    struct fuse_file_info *info)
{
    weft_file_t *file = file_of(info)->weft;
    (void)node;
    /* The kernel's offset is only what it believes to be the end. */
    const struct iovec iov = {(void *)bytes, size};
    ssize_t count = drop_privileges(req, file_of(info));
    if (count == 0)
        count = info->flags & O_APPEND ? weft_file_append(file, &iov, 1, NULL)
                                       : weft_file_write(file, bytes, size, (uint64_t)offset);
    if (count < 0)
        answer_error(req, "write", (int)count);
    else
        fuse_reply_write(req, (size_t)count);
}

void transfer_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *info)
{
    (void)node;
    (void)datasync; /* the size is part of the data */
    answer(req, "fsync", weft_file_sync(file_of(info)->weft));
}

/* Nothing reserves space: a range that is to be zeros becomes a hole, and what would only reserve does
 * nothing. */
static int allocate(weft_file_t *file, int mode, uint64_t offset, uint64_t length)
{
    int error;
    switch (mode) {
    case FALLOC_FL_KEEP_SIZE:
        return 0;
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
        return weft_file_punch(file, offset, length);
    case 0:
    case FALLOC_FL_ZERO_RANGE:
        error = weft_file_allocate(file, offset, length);
        return error || mode == 0 ? error : weft_file_punch(file, offset, length);
    default:
        return -EOPNOTSUPP;
    }
}

void transfer_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t offset, off_t length,
                        struct fuse_file_info *info)
{
    (void)node;
    int error = drop_privileges(req, file_of(info));
    if (!error)
        error = allocate(file_of(info)->weft, mode, (uint64_t)offset, (uint64_t)length);
    answer(req, "fallocate", error);
}

/* The kernel asks only for these two. */
void transfer_lseek(fuse_req_t req, fuse_ino_t node, off_t offset, int whence, struct fuse_file_info *info)
{
    uint64_t place;
    (void)node;
    int error = whence != SEEK_DATA && whence != SEEK_HOLE ? -EINVAL : offset < 0 ? -ENXIO : 0;
    if (!error)
        error = weft_file_seek(file_of(info)->weft, (uint64_t)offset,
                               whence == SEEK_DATA ? WEFT_SEEK_DATA : WEFT_SEEK_HOLE, &place);
    if (error)
        answer_error(req, "lseek", error);
    else
        fuse_reply_lseek(req, (off_t)place);
}

/* As much as goes by the thread's buffer; whoever asked goes on from there. */
void transfer_copy(fuse_req_t req, fuse_ino_t from, off_t from_offset, struct fuse_file_info *from_info,
                   fuse_ino_t to, off_t to_offset, struct fuse_file_info *to_info, size_t length, int flags)
{
    (void)from;
    (void)to;
    (void)flags;
    char *buffer = thread_buffer();
    ssize_t count = buffer ? 0 : -ENOMEM;
    if (length > MOUNT_IO_BYTES)
        length = MOUNT_IO_BYTES;
    if (count == 0)
        count = weft_file_read(file_of(from_info)->weft, buffer, length, (uint64_t)from_offset);
    if (count > 0)
        count = weft_file_write(file_of(to_info)->weft, buffer, (size_t)count, (uint64_t)to_offset);
    if (count < 0)
        answer_error(req, "copy_file_range", (int)count);
    else
        fuse_reply_write(req, (size_t)count);
}
