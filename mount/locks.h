/* SPDX-License-Identifier: Apache-2.0 */
/*
 * locks.h: fcntl(2)'s and flock(2)'s locks, across all mounts and other users of libweft's locks.
 *
 * What it promises
 *  - Two owners never hold locks that conflict, be they of one mount or of several.
 *  - An owner gets what fcntl(2) says: a range that is set replaces, splits and joins what he had. Libweft's
 *    locks can't be cut. One of them is given back when its owner needs no byte of it any more, so others may
 *    be kept out of a part for longer than he has it locked, but never for shorter.
 *  - A shared lock is made exclusive by giving it back first. When somebody else comes in between and stays,
 *    the answer is -ENOLCK and the lock is lost; what was read under it has to be read again.
 *  - Whoever waits stands in a line, holds up no other request, and can be interrupted. The line is
 *    worked by asking again, after 1 ms at first and 50 ms at most: who came first need not be first.
 *  - There is no detection of deadlocks.
 *
 * Threads: any.
 */
#ifndef MOUNT_LOCKS_H
#define MOUNT_LOCKS_H

#include "intervals.h"
#include "mount.h"

/* ---- locks.c: who has what -------------------------------------------------- */

/* What somebody asks for. */
struct lock_ask {
    struct file *file;
    uint64_t owner;
    pid_t pid;    /* told to others who ask */
    bool whole;   /* flock(2)'s: the ranges are the one byte that stands for the file */
    bool release; /* else: */
    bool exclusive;
    uint64_t start, end;
};

int locks_new(struct locks **locks);
void locks_free(struct locks *locks);

/* 0, or -EAGAIN when somebody else is in the way, or another error. Never waits for a lock. */
int locks_try(const struct lock_ask *ask);
/* Fills `found` (l_type, l_start, l_len, l_pid) with a lock that is in the way of the one asked for: 1 if
 * there is one, 0 if not. */
int locks_test(const struct lock_ask *ask, struct flock *found);

/* All that the owner has locked of the file with fcntl(2); and what belongs to an open file. */
void locks_end_owner(struct file *file, uint64_t owner);
void locks_end_flock(struct file *file, uint64_t owner);

/* ---- lock_line.c: the operations, and those who wait --------------------------- */

struct lock_line;
int lock_line_new(struct lock_line **line);
/* Answers all that wait with an error, and ends its thread. */
void lock_line_free(struct lock_line *line);
/* Something was given back: those who wait try again at once. */
void lock_line_kick(struct lock_line *line);
struct lock_line *locks_line(struct locks *locks);

void locks_get(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info, struct flock *lock);
void locks_set(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info, struct flock *lock, int wait);
void locks_flock(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info, int operation);

#endif
