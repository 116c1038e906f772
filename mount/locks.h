/* SPDX-License-Identifier: Apache-2.0 */
/*
 * locks.h: fcntl(2)'s and flock(2)'s locks, which are libweft's locks with owners: the owner is the kernel's
 * number for a process's table of files, or for an open file.
 *
 * What it promises
 *  - All that weft.h says of weft_file_lock_set(), across all mounts and other clients.
 *  - Whoever waits holds up no other request, and can be interrupted.
 *  - What an open file's owners have locked through it ends with it at the latest.
 *
 * Threads: any.
 */
#ifndef MOUNT_LOCKS_H
#define MOUNT_LOCKS_H

#include "mount.h"

/* ---- locks.c: the operations ------------------------------------------------ */

void locks_get(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info, struct flock *lock);
void locks_set(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info, struct flock *lock, int wait);
void locks_flock(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info, int operation);

/* A descriptor is closed: all that the owner has of the file. */
void locks_end_owner(struct file *file, uint64_t owner);
/* The open file is: all that was locked through it. */
void locks_end_file(struct file *file);

/* ---- lock_line.c: those who wait -------------------------------------------- */

struct lock_line;
int lock_line_new(weft_session_t *session, struct lock_line **line);
/* Answers all that wait with an error, and ends its thread. NULL is allowed. */
void lock_line_free(struct lock_line *line);
/* The request is answered, with the lock or without, by the line's thread. */
int lock_line_join(struct lock_line *line, fuse_req_t req, struct file *file,
                   const struct weft_record *record, unsigned flags);

#endif
