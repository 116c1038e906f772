/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mounted.h: which mounts of Weft there are here, and the name by which one can wait for the process of one.
 *
 * Threads: any.
 */
#ifndef MOUNT_MOUNTED_H
#define MOUNT_MOUNTED_H

#include <limits.h>
#include <sys/socket.h>
#include <sys/un.h>

struct mounted {
    unsigned major, minor; /* the mount's device */
    char dir[PATH_MAX];    /* absolute, without links */
};

/* The uppermost mount of Weft at `dir`, an absolute path: 1, or 0 when there is none; or a negative errno.
 * Asks the file system itself nothing, which may not answer. */
int mounted_find(const char *dir, struct mounted *mounted);
/* The abstract socket's. */
void mounted_address(const struct mounted *mounted, struct sockaddr_un *address, socklen_t *length);

#endif
