/* SPDX-License-Identifier: Apache-2.0 */
/* The operations on attributes, and those on the whole. */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "err.h"

static void answer_attr(fuse_req_t req, const char *what, fuse_ino_t node)
{
    struct mount *mount = mount_of(req);
    struct weft_attr attr;
    struct stat stat;
    int error = where_attr(mount, node, &attr);
    if (error) {
        answer_error(req, what, error);
        return;
    }
    nodes_set_mode(&mount->nodes, attr.ino, attr.mode);
    weft_attr_stat(&attr, &stat);
    fuse_reply_attr(req, &stat, mount->timeout_s);
}

void attrs_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
    (void)info;
    answer_attr(req, "getattr", node);
}

/* ---- setattr ------------------------------------------------------------------ */

/* Truncates by an opening that is surely this node's. */
static int truncate_opened(struct mount *mount, fuse_ino_t node, uint64_t size)
{
    weft_file_t *file;
    int error = file_open(mount, node, O_WRONLY, &file);
    if (error)
        return error;
    error = weft_file_truncate(file, size);
    int closed = weft_file_close(file);
    return error ? error : closed;
}

static int set_size(struct mount *mount, fuse_ino_t node, const struct where *where, uint64_t size,
                    const struct fuse_file_info *info)
{
    if (info)
        return weft_file_truncate(file_of(info)->weft, size);
    return where->by_number ? weft_truncate(mount->session, where->text, size)
                            : truncate_opened(mount, node, size);
}

static void times_of(const struct stat *wanted, int what, struct timespec times[2])
{
    times[0] = (struct timespec){.tv_nsec = UTIME_OMIT};
    times[1] = (struct timespec){.tv_nsec = UTIME_OMIT};
    if (what & FUSE_SET_ATTR_ATIME)
        times[0] = wanted->st_atim;
    if (what & FUSE_SET_ATTR_MTIME)
        times[1] = wanted->st_mtim;
    if (what & FUSE_SET_ATTR_ATIME_NOW)
        times[0] = (struct timespec){.tv_nsec = UTIME_NOW};
    if (what & FUSE_SET_ATTR_MTIME_NOW)
        times[1] = (struct timespec){.tv_nsec = UTIME_NOW};
}

/* Only the owner may do more than set the times of now, and needs no name for it. Between the look and the
 * deed another file can get the name: it then gets times that whoever may write it may set anyway. */
static int set_times(struct mount *mount, fuse_ino_t node, const struct where *where,
                     const struct timespec times[2])
{
    struct weft_attr attr;
    int error = where->by_number ? 0 : where_attr(mount, node, &attr);
    if (!error && !where->by_number && S_ISLNK(attr.mode))
        error = -EPERM;
    return error ? error : weft_utimens(mount->session, where->text, times);
}

static int set(struct mount *mount, fuse_ino_t node, const struct where *where, const struct stat *wanted,
               int what, const struct fuse_file_info *info)
{
    struct timespec times[2];
    int error = 0;
    if ((what & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) && !where->by_number)
        return -EPERM;
    /* The owner first: giving a file away takes bits of its mode. */
    if (what & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
        error = weft_chown(mount->session, where->text, what & FUSE_SET_ATTR_UID ? wanted->st_uid : (uid_t)-1,
                           what & FUSE_SET_ATTR_GID ? wanted->st_gid : (gid_t)-1);
    if (!error && (what & FUSE_SET_ATTR_MODE))
        error = weft_chmod(mount->session, where->text, wanted->st_mode & 07777);
    if (!error && (what & FUSE_SET_ATTR_SIZE))
        error = set_size(mount, node, where, (uint64_t)wanted->st_size, info);
    times_of(wanted, what, times);
    if (!error && (times[0].tv_nsec != UTIME_OMIT || times[1].tv_nsec != UTIME_OMIT))
        error = set_times(mount, node, where, times);
    return error;
}

void attrs_setattr(fuse_req_t req, fuse_ino_t node, struct stat *wanted, int what,
                   struct fuse_file_info *info)
{
    struct mount *mount = mount_of(req);
    struct where where;
    int error = where_node(mount, node, &where);
    if (!error)
        error = set(mount, node, &where, wanted, what, info);
    if (error)
        answer_error(req, "setattr", error);
    else
        answer_attr(req, "setattr", node);
}

/* ---- the rest -------------------------------------------------------------------- */

/* Asked only where the kernel does not judge by itself, which it does for mounts that let others in. */
void attrs_access(fuse_req_t req, fuse_ino_t node, int mask)
{
    struct mount *mount = mount_of(req);
    struct where where;
    int error = where_node(mount, node, &where);
    if (!error)
        error = weft_access(mount->session, where.text, mask);
    answer(req, "access", error);
}

void attrs_statfs(fuse_req_t req, fuse_ino_t node)
{
    struct weft_statfs cluster;
    enum { BLOCK = 4096 };
    (void)node;
    int error = weft_statfs(mount_of(req)->session, &cluster);
    if (error) {
        answer_error(req, "statfs", error);
        return;
    }
    /* Nobody could tell how many files there may be; from these df -i computes how many there are. */
    struct statvfs answer = {
        .f_bsize = MOUNT_IO_BYTES,
        .f_frsize = BLOCK,
        .f_blocks = cluster.bytes_total / BLOCK,
        .f_bfree = cluster.bytes_free / BLOCK,
        .f_bavail = cluster.bytes_free / BLOCK,
        .f_files = cluster.files + (UINT64_C(1) << 40),
        .f_ffree = UINT64_C(1) << 40,
        .f_favail = UINT64_C(1) << 40,
        .f_namemax = WEFT_NAME_BYTES_MAX,
    };
    fuse_reply_statfs(req, &answer);
}
