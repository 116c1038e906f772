/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mountpoint.h: which mounts of Weft (weft-mount(8)) this process sees, and which file of a cluster a path in
 * one of them is. From it interfaces know that they can take the short road to a file, past the kernel.
 *
 * What it promises
 *  - The kernel walks the path: links, "..", other mounts inside or on top, binds of a subfolder and what is
 *    renamed meanwhile are its business. A file is named by its folder's number and its name.
 *  - The mount is the one that the kernel says the folder is in: by its number, which statx(2) tells, in
 *    /proc/self/mountinfo. What that mount shows of which cluster stands in its source, as weft-mount wrote
 *    it.
 *  - Only mounts of root and of the process's own user count: anybody's could claim to be any cluster's.
 *  - Where there is no Weft mount, the table is read once in a second at most, and nothing else is done.
 *    Where there is one, a path that is not in it costs a statx(2), two when there is no such file.
 *  - Whatever can't be found out is no mount of Weft: nothing here is an error. errno stays as it was.
 *
 * It needs nothing but libc, since the preload library has it too. Threads: any, also around fork().
 */
#ifndef COMMON_MOUNTPOINT_H
#define COMMON_MOUNTPOINT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/weft.h"

/* What a mount shows, as its source says: "weft:/run7?cluster=0123...&root=17&cache&conf=/etc/weft.conf".
 * What has a meaning in it, or to the kernel or libfuse, is written as in a URL, by % and two digits. */
struct mountpoint_source {
    char path[WEFT_PATH_BYTES_MAX + 1]; /* the folder of the cluster that is mounted */
    char cluster[WEFT_CLUSTER_BYTES];
    uint64_t root;       /* the folder's number */
    bool is_cached;      /* the kernel keeps names, attributes and pages */
    char conf[PATH_MAX]; /* the configuration file of the mount's process; "": not said */
};

/* A longer one than the kernel takes is written without `conf`, and then without `path`. */
#define MOUNTPOINT_SOURCE_BYTES 3072u
void mountpoint_source_write(const struct mountpoint_source *source, char out[MOUNTPOINT_SOURCE_BYTES]);
/* False when it is no source of ours, or of a weft-mount that did not say of which cluster. Names that are
 * not known are passed over. */
bool mountpoint_source_read(const char *text, struct mountpoint_source *source);

/* A mount of Weft in /proc/self/mountinfo. */
struct mountpoint {
    uint64_t id;           /* the kernel's number of the mount; used again when it is gone */
    unsigned major, minor; /* the file system's device, as st_dev */
    unsigned user;         /* who mounted it; UINT_MAX: not said */
    bool is_read_only;     /* the mount, or all of its file system */
    char dir[PATH_MAX];    /* where; absolute, without links */
    char source[PATH_MAX];
};

/* One line of the file, with or without its end; false when it is no mount of Weft, or none at all. */
bool mountpoint_parse(const char *line, struct mountpoint *mount);

/* Calls for each mount of Weft in this file, in the order of the file, until `each` is false. False: the file
 * can't be read. */
typedef bool mountpoint_fn(void *arg, const struct mountpoint *mount);
bool mountpoint_each(const char *file, mountpoint_fn *each, void *arg);

/* As weft_mounted_find() and weft_mounted_of() of weft.h. */
bool mountpoint_find(int dirfd, const char *path, unsigned flags, struct weft_mounted *found);
bool mountpoint_of(const char *cluster, struct weft_mounted *found);

#endif
