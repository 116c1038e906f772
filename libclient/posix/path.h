/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path.h: which paths are Weft's, and what they are called inside the cluster.
 *
 * A path is ours when it is below the mount point, or begins with "weft:". Only its text
 * is looked at: nothing is asked of anyone, so every call of a program can afford it.
 * Slashes, "." and ".." are understood as text on the way to the mount point; below it
 * ".." is left to the metadata server, which knows what is a symbolic link, unless there
 * are so many of them that the path leaves the mount point.
 *
 * No state; any thread.
 */
#ifndef POSIX_PATH_H
#define POSIX_PATH_H

#include <stdbool.h>
#include <stddef.h>

#define PX_PATH_ROOM 4097u /* the longest path inside the cluster, a slash, and NUL */

enum px_path {
    PX_PATH_OTHER, /* not ours; `out` is untouched */
    PX_PATH_OURS,  /* `out` is the path inside the cluster */
    PX_PATH_LEFT,  /* a relative path that leaves the mount point: `out` is the local one */
    PX_PATH_TOO_LONG,
};

/* `mount` is absolute, without a slash at its end and without "." and ".."; "" is not allowed.
 * `path` is absolute, or begins with "weft:". */
enum px_path px_path_absolute(const char *mount, const char *path, char out[PX_PATH_ROOM]);
/* `base` is the path inside the cluster that `path` begins at. */
enum px_path px_path_relative(const char *mount, const char *base, const char *path, char out[PX_PATH_ROOM]);
/* Makes of a user's text what `mount` above has to be; false when it can't. */
bool px_path_mount(const char *text, char *out, size_t room);
/* The target of a symbolic link, from what the program says to what the cluster keeps, and back. A
 * target below the mount point is kept as a path of the cluster. Another absolute one is kept
 * with "/.." in front: it leads out of the cluster. False when there is no room. */
bool px_path_target_in(const char *mount, const char *target, char *out, size_t room);
bool px_path_target_out(const char *mount, const char *target, char *out, size_t room);
/* Where a kept target leads outside the cluster; NULL when it stays inside. */
const char *px_path_target_outside(const char *target);

#endif
