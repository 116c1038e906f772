/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount.h: what the parts of weft-mount share, grouped under the file that defines it. The program shows a
 * directory of a cluster to the kernel by FUSE.
 *
 * What it promises
 *  - What libweft promises is seen through the mount: a write that returned is seen by every later read, a
 *    rename by every later lookup, from wherever they were made. Unless caching was asked for, the kernel
 *    keeps no attribute, name or byte beyond the request that it was asked for.
 *  - The kernel's node ids are Weft's inode numbers, but for the mounted directory, which is FUSE_ROOT_ID.
 *    Entries are named by the directory's number and a name, so renames above don't matter.
 *  - No request waits for another's lock: those that do stand in a line of their own and can be interrupted.
 *
 * Errors: negative errno inside, turned round where the kernel is answered.
 * Threads: libfuse calls the operations from several; so do they call libweft.
 */
#ifndef MOUNT_MOUNT_H
#define MOUNT_MOUNT_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nodes.h"
#include "weft/weft.h"

/* The largest request of the kernel. */
#define MOUNT_IO_BYTES ((size_t)1 << 20)

struct locks;

/* ---- options.c ------------------------------------------------------------ */

struct mount_options {
    const char *conf; /* NULL: $WEFT_CONF or the default path */
    const char *dir;  /* where; NULL before it was given */
    const char *path; /* which directory of the cluster */
    const char *log;  /* file of the messages; NULL: syslog, or stderr in the foreground */
    unsigned threads;
    bool foreground;
    bool allow_other;
    bool read_only;
    bool cache;
    bool no_xattrs;
    char kernel[512]; /* further options of the kernel's: "nosuid,nodev" */
};

/* Fills all of it; -1 to go on, or the code to exit with after help or a complaint. */
int options_take(int argc, char **argv, struct mount_options *options);

/* ---- weft_mount.c ----------------------------------------------------------- */

struct mount {
    struct mount_options options;
    weft_session_t *session;
    uint32_t uid; /* the session's */
    uint32_t gid;
    uint64_t root;    /* the mounted directory's number */
    double timeout_s; /* how long the kernel may keep names and attributes */
    struct nodes nodes;
    struct lock_line *lock_line;
};

static inline struct mount *mount_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}
static inline uint64_t mount_ino(const struct mount *mount, fuse_ino_t node)
{
    return node == FUSE_ROOT_ID ? mount->root : node;
}

/* ---- ready.c: from the start until the mount is there ----------------------- */

/* Goes to the background, where the process returns from here; the one in front waits until ready_done(),
 * and exits. */
int ready_begin(bool foreground);
/* 0: the mount is there. Otherwise `text` says why not; nobody waits any more then. */
void ready_done(int error, const char *text);
/* Binds the socket by which weft umount waits for the end of this process. */
void ready_name(const char *dir);

/* ---- answer.c --------------------------------------------------------------- */

/* Answers with an error, a negative errno of `what`; the first of a kind that is no plain answer of a
 * file system goes to the log, with libweft's text. */
void answer_error(fuse_req_t req, const char *what, int error);
/* 0 or an error. */
void answer(fuse_req_t req, const char *what, int error);

/* ---- where.c: from nodes to libweft's paths ---------------------------------- */

struct where {
    char text[sizeof WEFT_INODE_PREFIX + 22 + NODE_NAME_BYTES];
    bool by_number; /* else the name may be another's by now: compare the number after the call */
};

/* An entry of a directory; -ENAMETOOLONG. */
int where_entry(const struct mount *mount, fuse_ino_t dir, const char *name, struct where *where);
/* A node itself; -ESTALE when it can't be named. */
int where_node(struct mount *mount, fuse_ino_t node, struct where *where);
/* The attributes of a node, also when it has lost its last name but is open. */
int where_attr(struct mount *mount, fuse_ino_t node, struct weft_attr *attr);
/* Tells the kernel's table of what was found, and fills the answer. */
int where_enter(struct mount *mount, fuse_ino_t dir, const char *name, const struct weft_attr *attr,
                struct fuse_entry_param *entry);

/* ---- names.c, attrs.c, xattrs.c, files.c, transfer.c, dirs.c, locks.c: the operations ----- */

void names_lookup(fuse_req_t req, fuse_ino_t dir, const char *name);
void names_forget(fuse_req_t req, fuse_ino_t node, uint64_t count);
void names_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void names_mkdir(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode);
void names_mknod(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, dev_t device);
void names_symlink(fuse_req_t req, const char *target, fuse_ino_t dir, const char *name);
void names_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t dir, const char *name);
void names_unlink(fuse_req_t req, fuse_ino_t dir, const char *name);
void names_rmdir(fuse_req_t req, fuse_ino_t dir, const char *name);
void names_rename(fuse_req_t req, fuse_ino_t dir, const char *name, fuse_ino_t to_dir, const char *to_name,
                  unsigned flags);
void names_readlink(fuse_req_t req, fuse_ino_t node);
/* A file or directory that root made for somebody else becomes theirs: `where` names it, `attr` is what it
 * has and will have. */
int names_give(struct mount *mount, fuse_req_t req, fuse_ino_t dir, const struct where *where,
               struct weft_attr *attr);

void attrs_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info);
void attrs_setattr(fuse_req_t req, fuse_ino_t node, struct stat *wanted, int what,
                   struct fuse_file_info *info);
void attrs_access(fuse_req_t req, fuse_ino_t node, int mask);
void attrs_statfs(fuse_req_t req, fuse_ino_t node);

void xattrs_set(fuse_req_t req, fuse_ino_t node, const char *name, const char *value, size_t size, int flags);
void xattrs_get(fuse_req_t req, fuse_ino_t node, const char *name, size_t size);
void xattrs_list(fuse_req_t req, fuse_ino_t node, size_t size);
void xattrs_remove(fuse_req_t req, fuse_ino_t node, const char *name);

/* Who locked something through an open file. */
struct file_owners {
    pthread_mutex_t mutex;
    uint64_t *items;
    size_t count;
};

/* An open file, counted: by the kernel's handle, by locks, and by whoever borrowed it. */
struct file {
    weft_file_t *weft;
    struct mount *mount;
    uint64_t ino;
    struct list_link open; /* in the node */
    unsigned users; /* under the table's lock */
    struct file_owners owners;
};

static inline struct file *file_of(const struct fuse_file_info *info)
{
    return (struct file *)(uintptr_t)info->fh;
}
int file_new(struct mount *mount, weft_file_t *weft, struct file **file);
/* Any open file of the node, or NULL; to be given back. */
struct file *file_borrow(struct mount *mount, uint64_t ino);
void file_hold(struct file *file);
/* With the last one the file is closed: its result. */
int file_drop(struct file *file);
/* Opens a node by where_node() and makes sure that it is the one. */
int file_open(struct mount *mount, fuse_ino_t node, int flags, weft_file_t **weft);

void files_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info);
void files_create(fuse_req_t req, fuse_ino_t dir, const char *name, mode_t mode, struct fuse_file_info *info);
void files_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info);
void files_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info);

void transfer_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *info);
void transfer_write(fuse_req_t req, fuse_ino_t node, const char *bytes, size_t size, off_t offset,
                    struct fuse_file_info *info);
void transfer_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *info);
void transfer_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t offset, off_t length,
                        struct fuse_file_info *info);
void transfer_lseek(fuse_req_t req, fuse_ino_t node, off_t offset, int whence, struct fuse_file_info *info);
void transfer_copy(fuse_req_t req, fuse_ino_t from, off_t from_offset, struct fuse_file_info *from_info,
                   fuse_ino_t to, off_t to_offset, struct fuse_file_info *to_info, size_t length, int flags);

void dirs_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info);
void dirs_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *info);
void dirs_readplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *info);
void dirs_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info);
void dirs_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *info);

#endif
