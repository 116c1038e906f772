/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weft.h: the client library of Weft, a striped parallel storage service.
 *
 * What it is for: programs and interfaces (the ROMIO driver, the HDF5 driver,
 * the `weft` command) reach a cluster's namespace and files through the calls
 * below and through nothing else.
 *
 * What it promises
 *  - A write that returned is seen by every later read of any client.
 *  - What weft_file_sync() covered survives the crash of every process and host; and what a crash took before
 *    it was covered, the next one tells of.
 *  - Every request ends within the session's deadline, with a result or an error; a
 *    call that needs several, one after the other, may take as many deadlines. Only a lock
 *    that someone else holds is waited for as long as that one lives and holds it.
 *  - No metadata request is made by reading or writing an open file.
 *
 * Conventions
 *  - Return value: 0 or a count on success, a negative errno on failure;
 *    weft_error() then tells what failed, where, and what to do.
 *  - Offsets and lengths are in bytes; times in nanoseconds since the epoch.
 *  - Paths are absolute inside the cluster; a "weft:" in front is accepted.
 *  - Threads: every call may be made from any thread at any time, unless its
 *    comment says otherwise. A handle must not be used during or after the
 *    call that closes it.
 *  - Fork: a session belongs to the process that made it; a child must
 *    connect anew.
 */
#ifndef WEFT_WEFT_H
#define WEFT_WEFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library is compiled with everything hidden but what stands here. */
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#define WEFT_PATH_PREFIX "weft:"
/* A path may begin with an inode's number instead of the root: WEFT_INODE_PREFIX "17/name". It leads to the
 * same directory when that has got another name meanwhile, and is -ESTALE when it is gone. Search permission
 * is needed as by names. Something else than a directory may be named so by root and its owner only, and a
 * symbolic link is then not followed. */
#define WEFT_INODE_PREFIX "/.weft/inode/"
#define WEFT_NAME_BYTES_MAX 255u    /* one path component */
#define WEFT_PATH_BYTES_MAX 4095u   /* a whole path, without the final NUL */
#define WEFT_POOL_BYTES_MAX 31u     /* a pool's name */
#define WEFT_HOST_BYTES_MAX 63u     /* a host's name */
#define WEFT_PLACEMENT_BYTES_MAX (5u + WEFT_HOST_BYTES_MAX)
#define WEFT_HINTS_BYTES_MAX 1023u  /* a directory's hints */
#define WEFT_XATTR_NAME_BYTES_MAX 255u          /* the name of an extended attribute, as Linux has it */
#define WEFT_XATTR_VALUE_BYTES_MAX (16u << 10)  /* its value */
#define WEFT_XATTR_BYTES_MAX (64u << 10)        /* all of an inode: names, each with a NUL, and values */
#define WEFT_XATTR_COUNT_MAX 256u               /* that an inode has */
#define WEFT_CHUNK_BYTES_MIN 4096u
#define WEFT_CHUNK_BYTES_MAX (1u << 30)

typedef struct weft_session weft_session_t; /* a client's view of one cluster */
typedef struct weft_file weft_file_t;       /* an open file */
typedef struct weft_dir weft_dir_t;         /* a directory being listed */
typedef struct weft_op weft_op_t;           /* an operation under way */
typedef struct weft_lock weft_lock_t;       /* a lock on bytes of a file */

/* A run of bytes of a file. */
struct weft_extent {
    uint64_t offset;
    uint64_t length;
};

/*
 * How a file is striped, fixed at creation. As an argument, a zero field means
 * "the directory's default"; as a result, every field is filled.
 */
struct weft_layout {
    uint64_t chunk_size;   /* bytes, WEFT_CHUNK_BYTES_MIN to _MAX, any number */
    uint32_t stripe_count; /* groups that the file is spread over */
    uint32_t group_count;  /* groups of the pool, or of the host, when the file was made (result only) */
    uint64_t seed;         /* chooses the order of the groups (result only) */
    char pool[WEFT_POOL_BYTES_MAX + 1];
    /* "spread": over all groups. "local": over the groups of the host whose process makes the file (of a
     * directory: each file in it); where that host has none, as "spread". "host:NAME": over those of that
     * host. As a result for a file, "spread" or "host:NAME". */
    char placement[WEFT_PLACEMENT_BYTES_MAX + 1];
};

/* What weft_stat() and its kin tell of a file. */
struct weft_attr {
    uint64_t ino;
    uint64_t size;  /* exact: includes every write that returned */
    uint64_t bytes; /* space in use, as far as known */
    uint32_t mode;  /* type and permission bits as in st_mode */
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    int64_t atime_ns;
    int64_t mtime_ns;
    int64_t ctime_ns;
    uint64_t rdev; /* of a device: its number, as st_rdev; else 0 */
    struct weft_layout layout; /* of a directory: the default for new files in it */
    /* Of a file: 1 when it is a small one, which lies with the metadata server; its layout says where it goes
     * when it grows. */
    uint32_t small;
    uint32_t xattrs; /* 1 when it has extended attributes */
};

/* What weft_statfs() tells of the cluster. */
struct weft_statfs {
    uint64_t bytes_total;
    uint64_t bytes_free;
    uint64_t files;
    uint32_t targets;
    uint32_t targets_up;
    uint32_t groups;         /* of targets, that hold chunks together */
    uint32_t groups_syncing; /* with members that are being brought up to date */
    uint32_t groups_lacking; /* with members that lack something, and nothing is being done about it */
    uint32_t replicas;       /* members of a group */
    uint32_t servers;
    uint32_t servers_up;
    uint64_t map_version;
};

/* Where one extent of a file lives; see weft_file_locate(). */
struct weft_location {
    uint64_t offset; /* in the file */
    uint64_t length;
    uint64_t chunk;  /* index of the chunk */
    uint32_t group;
    uint32_t target;
    uint32_t shard;  /* of that target */
    char server[64]; /* name of the storage server */
};

/* ---- session ---------------------------------------------------------- */

/*
 * weft_version(): the library's version, "major.minor.patch". Static storage.
 */
const char *weft_version(void);

/*
 * weft_error(): the text of the calling thread's latest failure; it begins
 * with the name of the call that failed. Never NULL; "" when nothing failed.
 * Valid until the thread's next failing call.
 */
const char *weft_error(void);

/*
 * weft_path_match(): true when `path` is meant for Weft ("weft:...").
 */
bool weft_path_match(const char *path);

/*
 * weft_connect(): makes a session for the cluster that the configuration file
 * describes. `conf_path` NULL means $WEFT_CONF, else the default path that was
 * set when Weft was built. Connections are made when first needed, so a
 * session alone sends nothing.
 * Ownership: *session is the caller's until weft_disconnect().
 * Errors: -ENOENT (no configuration), -EINVAL (it is wrong; the message names
 * file and line), -ENOMEM.
 */
int weft_connect(const char *conf_path, weft_session_t **session);

/*
 * weft_disconnect(): ends a session. Its files must be closed before; those
 * that are not are abandoned, and the metadata server lets go of them some time after
 * the connection ended. Tells it of handles that were closed, for which it waits up to
 * 3 seconds. NULL is allowed.
 */
void weft_disconnect(weft_session_t *session);

/*
 * weft_keep_attributes(): from now on attributes that the session has asked for, or got with a file that it
 * opened, made or wrote to, are kept, and weft_stat(), weft_access() and weft_file_stat() need no request for
 * them; nor do these and weft_file_open() for a name that was not there, while its folder is as it was.
 * Nothing else changes: the metadata server promises to tell before they change, and whoever changes them
 * waits for that, at most a second when this process does not answer. Files that someone has open for
 * writing are not kept, unless they are small.
 * weft_file_read() in small pieces reads ahead then, where a file that nobody has open for writing is read
 * in order or at equal distances: what it reads is never old either.
 * With "hold_folders" in the configuration, small files that are made or removed in a folder into which
 * nobody else looks are made and removed in this process's memory, and the metadata server is told of many
 * at once: within milliseconds, before anybody else can look, and before each other request. What a process
 * that is killed has done in its last milliseconds is lost, unless weft_sync() or weft_file_sync()
 * came after it.
 * For programs that look at the same names again: it takes a thread, which begins when there is
 * something to be kept, sleeps most of the time, and blocks all signals. What is not used for a second is
 * given up. `begins` is called in that thread before anything else; NULL is allowed.
 * Errors: -ENOMEM. Where there can be no thread, nothing is kept.
 */
int weft_keep_attributes(weft_session_t *session, void (*begins)(void));

/*
 * weft_sync(): when it returns 0, all names that this session has made, changed or removed before the call,
 * and small files that it has closed, survive a crash of everything. Only where attributes are kept there is
 * anything to wait for. A negative errno is of the first that could not be made or removed, although that was
 * said; each is logged. Any thread.
 */
int weft_sync(weft_session_t *session);

/*
 * weft_session_cluster(): the cluster's identity, as hexadecimal digits; it was made once, and no other
 * cluster has it. Asks the metadata server when it has not told yet.
 * weft_session_conf(): the absolute path of the configuration file, as long as the session lives.
 */
#define WEFT_CLUSTER_BYTES 33u
int weft_session_cluster(weft_session_t *session, char cluster[WEFT_CLUSTER_BYTES]);
const char *weft_session_conf(const weft_session_t *session);

/* ---- mounts ----------------------------------------------------------- */

/*
 * A file on a mount of Weft (weft-mount(8)), as the cluster knows it. Interfaces that are given a local path
 * find by it that they can go past the kernel, straight to the servers.
 */
struct weft_mounted {
    char path[sizeof WEFT_INODE_PREFIX + 22 + WEFT_NAME_BYTES_MAX]; /* of the file, for a session's calls */
    char cluster[WEFT_CLUSTER_BYTES];
    char conf[4096];   /* the configuration of the mount's process; "": it did not say */
    uint64_t device;   /* st_dev of all that is on the mount */
    bool is_cached;    /* weft mount --cache: the kernel sees late what gets past it */
    bool is_read_only; /* the kernel lets nobody write there */
};

/*
 * weft_mounted_find(): whether a path of this host, relative to the folder `dirfd` or AT_FDCWD, leads to a
 * regular file on a mount of Weft, or to where one could be made. The kernel walks it, so links, ".." and
 * other mounts are as for open(2). With WEFT_STAT_NOFOLLOW a symbolic link at its end is found itself. Mounts
 * of root and of the process's effective user count, no others. With WEFT_BYPASS=no in the environment there
 * is none. Sends nothing itself; the mount may be asked by the kernel. errno stays as it was.
 * weft_mounted_of(): the same of any mount of this cluster that this process sees; `path` is "".
 */
bool weft_mounted_find(int dirfd, const char *path, unsigned flags, struct weft_mounted *found);
bool weft_mounted_of(const char *cluster, struct weft_mounted *found);

/*
 * weft_mounted_connect(): weft_connect(NULL), or, where there is no configuration, with the mount's.
 * weft_mounted_reach(): 0 when the session is of the mount's cluster, its metadata server has answered, now
 * or before, and the mount would let a file be opened with these flags of open(2). It takes two seconds at
 * the most to find out that the server is not to be reached, and the session does not try again.
 * Errors: -EXDEV (it is another cluster's), -EROFS, those of weft_session_cluster().
 */
int weft_mounted_connect(const struct weft_mounted *mounted, weft_session_t **session);
int weft_mounted_reach(weft_session_t *session, const struct weft_mounted *mounted, int flags);

/* ---- namespace -------------------------------------------------------- */

/* All follow symbolic links in all but the last component; which of them
 * follow the last one is said at each. Errors beside those of the POSIX call
 * of the same name: -ETIMEDOUT (no answer within the deadline), -ECONNREFUSED
 * (no server there), -EPROTO (a peer that makes no sense). */

#define WEFT_STAT_NOFOLLOW 1u /* do not follow the last component */

int weft_stat(weft_session_t *session, const char *path, unsigned flags, struct weft_attr *attr);
/* weft_attr_stat(): what these tell, as stat(2) has it. st_dev is 0, st_blksize a size that is worth being
 * read at once. Sends nothing. */
void weft_attr_stat(const struct weft_attr *attr, struct stat *stat);
int weft_access(weft_session_t *session, const char *path, int mode); /* R_OK, W_OK, X_OK, F_OK */
int weft_mkdir(weft_session_t *session, const char *path, mode_t mode);
/* weft_mknod(): a FIFO, a socket, a device (for root only: -EPERM) with the number `rdev`, or an empty
 * regular file; type and permission bits in `mode` as st_mode has them. Weft keeps names and attributes of
 * special files: weft_file_open() of one is -ENXIO; on a mount the kernel opens them. -EINVAL: another
 * type. */
int weft_mknod(weft_session_t *session, const char *path, mode_t mode, dev_t rdev);
int weft_rmdir(weft_session_t *session, const char *path);
int weft_unlink(weft_session_t *session, const char *path);
/* weft_rename(): atomic, also over an existing target and across directories;
 * moving a directory into itself is refused with -EINVAL. */
int weft_rename(weft_session_t *session, const char *from, const char *to);
int weft_symlink(weft_session_t *session, const char *target, const char *path);
int weft_link(weft_session_t *session, const char *from, const char *to);
/* weft_readlink(): returns the number of bytes placed in `buffer` (no NUL is
 * added), -EINVAL when the path is not a symbolic link. */
ssize_t weft_readlink(weft_session_t *session, const char *path, char *buffer, size_t size);
/* These follow the last component. */
int weft_chmod(weft_session_t *session, const char *path, mode_t mode);
int weft_chown(weft_session_t *session, const char *path, uid_t uid, gid_t gid); /* -1: as it is */
/* weft_utimens(): UTIME_NOW and UTIME_OMIT of <sys/stat.h> in tv_nsec work as
 * in utimensat(2). */
int weft_utimens(weft_session_t *session, const char *path, const struct timespec times[2]);
/* weft_lchown(), weft_lutimens(): the same of the last component itself when it is a symbolic link. */
int weft_lchown(weft_session_t *session, const char *path, uid_t uid, gid_t gid);
int weft_lutimens(weft_session_t *session, const char *path, const struct timespec times[2]);
int weft_truncate(weft_session_t *session, const char *path, uint64_t size);
int weft_statfs(weft_session_t *session, struct weft_statfs *out);

/*
 * How much there is, as the metadata server keeps it up to date: no tree is gone through. What the inodes say
 * counts, so a file that is open for writing does with the size that it had before, until its writers have
 * closed it and the servers were asked. One with several names counts once: in one of the directories that
 * have them. One that was removed while it is open counts for its user and group, and in no directory.
 *
 * weft_usage(): of a directory all that is below it, without the directory; of anything else itself. Needs
 * what weft_stat() needs. `flags`: WEFT_STAT_NOFOLLOW.
 * weft_usage_of(): of a user or a group (`kind`: WEFT_USAGE_USER, WEFT_USAGE_GROUP). Zeros for who has
 * nothing. -EPERM: other users, and groups that the caller is not in, are root's to see.
 * weft_usage_each(): of all users or groups that have something, in the order of their numbers; -EPERM for
 * others than root. It takes several requests when there are many, and `each` may have been called before one
 * fails; changes made meanwhile are seen or not.
 * Errors besides: -EUCLEAN: a sum was found to be damaged; a restart of the metadata server counts all anew.
 */
enum { WEFT_USAGE_USER = 1, WEFT_USAGE_GROUP = 2 };
struct weft_usage {
    uint64_t id;          /* of the user or group; of a path the inode's number */
    uint64_t files;       /* all that are no directories */
    uint64_t directories;
    uint64_t bytes;       /* of space, as weft_attr.bytes */
    uint64_t size;        /* of regular files, bytes; as `bytes` UINT64_MAX when it is more than that */
};
typedef void weft_usage_fn(void *arg, const struct weft_usage *usage);
int weft_usage(weft_session_t *session, const char *path, unsigned flags, struct weft_usage *out);
int weft_usage_of(weft_session_t *session, unsigned kind, uint32_t id, struct weft_usage *out);
int weft_usage_each(weft_session_t *session, unsigned kind, weft_usage_fn *each, void *arg);

/* weft_layout_set(): the default layout for files made in this directory, and
 * in directories made in it from now on. Zero fields keep what was there. */
int weft_layout_set(weft_session_t *session, const char *path, const struct weft_layout *layout);

/*
 * weft_hints_set(): the hints of MPI-IO for files in this directory, as
 * "name=value;name=value", in printable ASCII and at most WEFT_HINTS_BYTES_MAX
 * bytes; "" for none. Directories made in it from now on begin with them too. What
 * they mean is up to who opens a file: see weft-hints(7). The owner may set them.
 * weft_hints_get(): places them and a NUL in `text`, and returns their length; -ERANGE
 * when `size` is not enough (WEFT_HINTS_BYTES_MAX + 1 always is).
 * Errors: -ENOTDIR, -EPERM, -EINVAL (other bytes, or too many).
 */
int weft_hints_set(weft_session_t *session, const char *path, const char *text);
ssize_t weft_hints_get(weft_session_t *session, const char *path, char *text, size_t size);

/*
 * Extended attributes, as xattr(7) has them: names and values that a file, a directory or whatever else has
 * beside its contents. They end with it. Names begin with "user." (of files and directories only, with
 * permission to read or to write them; in a directory with the sticky bit its owner alone writes) or with
 * "trusted.", which root alone has and sees. Changing one changes ctime.
 * They follow symbolic links unless WEFT_STAT_NOFOLLOW is in `flags`.
 *
 * weft_xattr_set(): makes an attribute or gives it another value, in one step; with WEFT_XATTR_CREATE it must
 * not exist (-EEXIST), with WEFT_XATTR_REPLACE it must (-ENODATA).
 * weft_xattr_get(): places the value in `value` and returns its length; with `size` 0 only that.
 * weft_xattr_list(): the same with the names of all, each with a NUL behind it, in the order of their
 * bytes.
 * weft_xattr_remove(): takes one away.
 * Errors: -ENODATA (there is no such attribute, or it is not to be seen), -ERANGE (`size` is not enough; a
 * name is empty or longer than WEFT_XATTR_NAME_BYTES_MAX), -E2BIG (a value is longer than
 * WEFT_XATTR_VALUE_BYTES_MAX), -ENOSPC (the inode would have more than WEFT_XATTR_COUNT_MAX of them, or more
 * than WEFT_XATTR_BYTES_MAX bytes in them), -EPERM, -EACCES, -EOPNOTSUPP (a name that begins otherwise, as
 * "security." and "system." do: nothing is sent then).
 */
#define WEFT_XATTR_CREATE 2u
#define WEFT_XATTR_REPLACE 4u
int weft_xattr_set(weft_session_t *session, const char *path, const char *name, const void *value,
                   size_t size, unsigned flags);
ssize_t weft_xattr_get(weft_session_t *session, const char *path, const char *name, void *value, size_t size,
                       unsigned flags);
ssize_t weft_xattr_list(weft_session_t *session, const char *path, char *names, size_t size, unsigned flags);
int weft_xattr_remove(weft_session_t *session, const char *path, const char *name, unsigned flags);

/*
 * weft_dir_open() ... weft_dir_close(): list a directory, in the order of the
 * names' bytes, with attributes, without "." and "..". Entries come in batches:
 * an entry added or removed meanwhile may or may not be seen, every other one
 * is seen exactly once. One thread at a time may use a weft_dir_t.
 * weft_dir_next() returns 1 with an entry, 0 at the end, or a negative errno;
 * *name is valid until the next call. `attr` may be NULL; the size of a file
 * that is open for writing is then not asked for, and weft_dir_entry() tells number and type. Where the
 * caller may read the directory but not search it, only ino and the type are told; all else is 0.
 */
int weft_dir_open(weft_session_t *session, const char *path, weft_dir_t **dir);
int weft_dir_next(weft_dir_t *dir, const char **name, struct weft_attr *attr);
/* weft_dir_entry(): the number and the type (as in st_mode, without permissions) of the entry that
 * weft_dir_next() told last; they may be NULL. They came with the name: nothing is sent. -EINVAL: there was
 * none. */
int weft_dir_entry(weft_dir_t *dir, uint64_t *ino, mode_t *type);
/* weft_dir_seek(): weft_dir_next() goes on with the first name behind `after`, whether or not there is an
 * entry of that name; "" is the beginning. What is there then is asked anew. */
int weft_dir_seek(weft_dir_t *dir, const char *after);
void weft_dir_close(weft_dir_t *dir);

/* ---- files ------------------------------------------------------------ */

/*
 * weft_file_open(): opens, and with O_CREAT makes, a regular file; one
 * metadata request. `flags`: O_RDONLY, O_WRONLY or O_RDWR with O_CREAT, O_EXCL,
 * O_TRUNC, O_NOFOLLOW. `layout` matters only to a file that is made. NULL: that of the directory; and while
 * the file is small it may lie with the metadata server, so that opening and reading it is one request.
 * Whoever gives one, if only of zeros, finds the file with the storage servers from the start.
 * Ownership: *file is the caller's until weft_file_close().
 */
int weft_file_open(weft_session_t *session, const char *path, int flags, mode_t mode,
                   const struct weft_layout *layout, weft_file_t **file);

/*
 * weft_file_close(): gives the handle back; frees it also when it fails.
 * Every asynchronous operation on it must have been waited for. Does not sync.
 * It asks for nothing: the metadata server hears of it with the session's next request about
 * names or attributes, after a second when the session does anything else, and at
 * weft_disconnect(). Until then a file that was removed keeps its space, and a size that others ask for
 * costs them a question to its storage servers. Handles that were exported, and the 32nd that
 * waits, are given back at once.
 * Errors: those of such a request, when there was one: the metadata server could not be reached, and is
 * told later. What was written is not in question: writes tell of their errors themselves. -ESTALE: it was
 * lost; see there.
 */
int weft_file_close(weft_file_t *file);

/*
 * Reading and writing. `offset` is in the file. A write writes all or fails;
 * a read returns fewer bytes than asked only at the end of the file, and zeros
 * where nothing was written. A failed write may have written some of its bytes.
 * -EBADF: the file was not opened for that. -ESTALE, here and in what follows: the metadata server did
 * not hear from this process for longer than its lease, and the file, which it closed, is gone.
 */
ssize_t weft_file_read(weft_file_t *file, void *buffer, size_t length, uint64_t offset);
ssize_t weft_file_write(weft_file_t *file, const void *buffer, size_t length, uint64_t offset);
ssize_t weft_file_readv(weft_file_t *file, const struct iovec *iov, size_t iov_count, uint64_t offset);
ssize_t weft_file_writev(weft_file_t *file, const struct iovec *iov, size_t iov_count, uint64_t offset);

/*
 * weft_file_append(): writes behind the end of the file, and tells in *offset where (it may be NULL). No
 * two appends of any clients get the same place. Other writes may get behind the end meanwhile. The file's
 * size is asked for under a lock of one byte that no file has, WEFT_LOCK_APPEND: four requests for now.
 * Errors: as of weft_file_write(), weft_file_size() and weft_file_lock().
 */
ssize_t weft_file_append(weft_file_t *file, const struct iovec *iov, size_t iov_count, uint64_t *offset);

/*
 * List I/O: the bytes of the memory pieces, in their order, go to or come from
 * the file extents, in their order; both lists have the same total. Extents of
 * a read may overlap; those of a write must not. At most one request goes to
 * each storage shard for each round of a few MiB. A read stops counting at the
 * first byte past the end of the file.
 */
ssize_t weft_file_read_list(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                            const struct weft_extent *extents, size_t extent_count);
ssize_t weft_file_write_list(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                             const struct weft_extent *extents, size_t extent_count);

/*
 * The asynchronous forms. They return 0 and an operation, which must be given
 * to weft_wait() once, or a negative errno and none. The lists are copied; the
 * memory that they name must stay until weft_wait() returns. Progress is made
 * inside any Weft call of the session that waits or tests.
 */
int weft_file_read_list_async(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                              const struct weft_extent *extents, size_t extent_count, weft_op_t **op);
int weft_file_write_list_async(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                               const struct weft_extent *extents, size_t extent_count, weft_op_t **op);
int weft_file_sync_async(weft_file_t *file, weft_op_t **op);

/*
 * weft_file_write_gather_async(): the part that one process has of a write by several of
 * them. Each tells how many bytes all of them together write in each chunk; a storage shard
 * then keeps the small pieces of a chunk in memory until they are all there, and writes the
 * chunk at once. The write ends when its bytes were written, as any other. When
 * the others don't come within a tenth of a second, or memory is short, what is there is
 * written: the numbers change how often the store is called, never the result.
 * Worth it for pieces of less than some tens of KiB that interleave within chunks. The
 * extents should rise. What `gather` points to is copied.
 */
struct weft_gather {
    uint64_t id;           /* the same for all who take part, and for no other write under way */
    uint64_t first_chunk;  /* index of the chunk that bytes[0] is about */
    size_t chunk_count;
    const uint64_t *bytes; /* of each chunk, by all together; 0: not gathered */
};
int weft_file_write_gather_async(weft_file_t *file, const struct iovec *iov, size_t iov_count,
                                 const struct weft_extent *extents, size_t extent_count,
                                 const struct weft_gather *gather, weft_op_t **op);

/* weft_wait(): waits for the operation, frees it, and returns what the
 * blocking call would have returned. */
ssize_t weft_wait(weft_op_t *op);
/* weft_test(): makes progress without waiting; true when weft_wait() would
 * return at once. */
bool weft_test(weft_op_t *op);
/*
 * weft_drive(): for a thread that keeps operations going while others compute.
 * Sleeps until there is progress to make, for timeout_ms at most, makes it, and
 * sets *ended to the number of operations of the session that have ended so far.
 * Returns at once when that is not what *ended was before. A thread that waits
 * for an operation meanwhile goes before. One thread at a time may be in this
 * call: -EBUSY.
 */
int weft_drive(weft_session_t *session, int timeout_ms, uint64_t *ended);

/*
 * weft_file_sync(): when it returns 0, all that was written to the file by
 * anyone before the call, and the file's size, survive a crash of everything.
 * -EIO: a storage server's host has crashed since the file was opened, or since its last sync:
 * what was written before that and not synced may be lost. Told once for each open file, whoever
 * wrote; what is there is durable all the same. Write anew what was written since the last sync
 * that returned 0, and sync again. What others had begun to write before the file was opened is
 * told to their own open files only.
 */
int weft_file_sync(weft_file_t *file);
int weft_file_truncate(weft_file_t *file, uint64_t size);
/* weft_file_allocate(): makes the file at least offset+length long. Space is
 * not reserved yet. */
int weft_file_allocate(weft_file_t *file, uint64_t offset, uint64_t length);
/*
 * weft_file_punch(): the bytes from `offset` on, `length` of them, read as zeros from now on, and the blocks
 * (of 4 KiB) that have nothing else give their space back. The size stays; behind the end of the file nothing
 * happens. It is a write in all other respects: the file must be open for writing, a read that begins
 * afterwards sees it, a sync makes it durable, and what others write to the range at the same time may be
 * there or not. One small request to each storage shard that has some of the range, or one for each 16 GiB of
 * a longer one. Where it fails, a part may have been done. A small file (docs/protocol.md) becomes one of the
 * storage servers' by it.
 */
int weft_file_punch(weft_file_t *file, uint64_t offset, uint64_t length);
/*
 * weft_file_seek(): *place is the first offset from `offset` on that is data, or in a hole. The
 * answer is exact to a block: what is called a hole has none and reads as zeros, and all bytes that are not
 * zero are data. The end of the file counts as the beginning of a hole, so WEFT_SEEK_HOLE finds the size at
 * the latest. -ENXIO: `offset` is not before the end of the file, or no data follows. *place is then as it
 * was. One small request to each storage shard, or some when there is much to be looked at. Whatever the file
 * was opened for.
 */
enum { WEFT_SEEK_DATA = 1, WEFT_SEEK_HOLE = 2 };
int weft_file_seek(weft_file_t *file, uint64_t offset, int what, uint64_t *place);
/* weft_file_size(): the exact size, asked from the storage servers; no
 * metadata request. */
int weft_file_size(weft_file_t *file, uint64_t *size);
int weft_file_stat(weft_file_t *file, struct weft_attr *attr);
/* These are for the open file, whatever it is called by now, and as of the path calls of these names. */
int weft_file_chmod(weft_file_t *file, mode_t mode);
int weft_file_chown(weft_file_t *file, uid_t uid, gid_t gid);
int weft_file_utimens(weft_file_t *file, const struct timespec times[2]);
/* Permission is the file's of now; what it was opened for does not matter. */
int weft_file_xattr_set(weft_file_t *file, const char *name, const void *value, size_t size, unsigned flags);
ssize_t weft_file_xattr_get(weft_file_t *file, const char *name, void *value, size_t size);
ssize_t weft_file_xattr_list(weft_file_t *file, char *names, size_t size);
int weft_file_xattr_remove(weft_file_t *file, const char *name);
void weft_file_layout(const weft_file_t *file, struct weft_layout *layout);

/* weft_file_ino(): the file's number, as weft_file_stat() has it: two open files of a cluster are the
 * same when theirs are. Nothing is sent. */
uint64_t weft_file_ino(const weft_file_t *file);

/* weft_file_hints(): the hints of the directory that the file was opened in, as they
 * were then; "" for none. They came with the open: nothing is sent. Valid
 * until the file is closed. */
const char *weft_file_hints(const weft_file_t *file);

/*
 * weft_file_locate(): tells which server holds which bytes of an extent, chunk
 * by chunk. Fills at most `count` entries and returns how many there are in
 * all. Sends nothing.
 */
ssize_t weft_file_locate(const weft_file_t *file, uint64_t offset, uint64_t length,
                         struct weft_location *locations, size_t count);

/*
 * weft_file_export(), weft_file_import(): a handle as bytes, for a collective
 * open: one process opens and broadcasts the blob, the others import it and
 * do I/O without ever asking the metadata server. export returns the blob's
 * length, and writes it when `size` is enough (call with size 0 to ask). An
 * imported handle lives as long as the exporting one is open: close all
 * imported ones, then the original. The blob names the cluster and is signed;
 * -EBADMSG when it was altered or is of another version.
 */
ssize_t weft_file_export(weft_file_t *file, void *blob, size_t size);
int weft_file_import(weft_session_t *session, const void *blob, size_t length, weft_file_t **file);

/* ---- locks and shared pointers ---------------------------------------- */

#define WEFT_LOCK_APPEND ((uint64_t)INT64_MAX - 1) /* what weft_file_append() locks */
/* What interfaces lock for a whole file, as flock(2) does, aside from ranges of its bytes. A range that goes
 * to the end of the file, wherever that will be, ends before it. */
#define WEFT_LOCK_WHOLE  ((uint64_t)INT64_MAX - 2)

/*
 * weft_file_lock(): locks the bytes of all `extents` at once, so that nobody waits
 * with a part of what is asked for in hand; waits until the lock is granted. Two locks
 * conflict when they have a byte in common and one of them is exclusive; who asked
 * first gets it first. Locks are agreements among those who ask for them: reading and
 * writing does not look at them. The file's first storage shard keeps them: no
 * metadata request is made.
 *  - An exclusive lock needs a file that is open for writing (-EBADF).
 *  - Whoever holds a lock and asks for another may wait for others who do the same, for ever, or
 *    for himself: ask for all in one call. More than 1,024 pieces are
 *    joined over their smallest gaps, so a lock may cover more than it was asked for.
 *  - A lock ends with the client's connection to the storage server: a client that died
 *    blocks nobody. It does not outlive a restart of that server.
 *  - Extents may overlap and be empty; none at all, or only empty ones, lock nothing,
 *    and nobody is asked. What lies beyond the largest file offset is left out.
 * -ENOLCK: this client has too many locks there already (some thousands).
 * Ownership: *lock is the caller's until weft_file_unlock(), which must come before
 * the file is closed.
 */
int weft_file_lock(weft_file_t *file, const struct weft_extent *extents, size_t count, bool exclusive,
                   weft_lock_t **lock);
/* weft_file_lock_async(): *lock is valid at once, but held only when weft_wait() of the
 * operation returned 0; when that fails, the lock is freed. The extents are copied. A lock that was
 * granted while nobody waits or tests keeps others from theirs all the same. */
int weft_file_lock_async(weft_file_t *file, const struct weft_extent *extents, size_t count, bool exclusive,
                         weft_lock_t **lock, weft_op_t **op);
/* weft_file_trylock(): as weft_file_lock(), but never waits for another's lock: -EAGAIN when one is
 * in the way, or somebody has asked before. One request. */
int weft_file_trylock(weft_file_t *file, const struct weft_extent *extents, size_t count, bool exclusive,
                      weft_lock_t **lock);
/*
 * weft_file_unlock(): gives the lock back and frees it, also when it fails. What was written
 * under it is seen by whoever gets the lock next.
 * -ENOLCK: it had been lost while it was held (the connection to the lock's server broke, or
 * that server was started anew), so what was done under it may have been interleaved with
 * what others did.
 * -ETIMEDOUT: the lock's server did not answer; the session goes on telling it.
 */
int weft_file_unlock(weft_lock_t *lock);
/* weft_file_unlock_async(): the lock must not be used any more. */
int weft_file_unlock_async(weft_lock_t *lock, weft_op_t **op);

/*
 * Locks that have owners, as fcntl(2) has them. An owner is a number of the caller's choice, one for each
 * process or open file or whatever owns; those of different sessions are never the same. What an owner sets
 * takes the place of what he had in that extent, in one step: his locks are split, joined, made exclusive
 * or shared by that, and what he had stays his until the new one is granted. They stand in one line with
 * those of weft_file_lock(), and conflict with them as with those of other owners.
 *  - They are the owner's on one file until he sets WEFT_LOCK_NONE there, or weft_file_lock_drop(), or
 *    the session ends; which file handle was used does not matter, and it may be closed meanwhile. The
 *    handle may be open for whatever: what that allows to lock is for the caller to say.
 *  - First come, first served, but an owner passes those that wait for himself.
 *  - They end with the client's connection to the storage server that keeps them, and with its restart. The
 *    owner's next call about that file fails then, once, with -ENOLCK, and he has nothing of it any more.
 *    -ENOLCK is also said when one client has some thousands of them there already.
 */
enum weft_lock_type { WEFT_LOCK_NONE, WEFT_LOCK_SHARED, WEFT_LOCK_EXCLUSIVE };

struct weft_record {
    uint64_t owner;
    struct weft_extent extent; /* not empty; what lies beyond the largest file offset is left out */
    enum weft_lock_type type;
    uint32_t pid; /* told to others by weft_file_lock_test(), and used for nothing else */
};

#define WEFT_LOCK_WAIT 1u    /* until it is granted; otherwise it is -EAGAIN when it is not granted at once */
/* The owner's waits are looked at for deadlocks: -EDEADLK, when an owner would wait, by whatever others, for
 * himself. Among locks that one storage shard keeps it is said at once, otherwise some seconds later. For
 * owners that do nothing else while they wait: where one thread waits while another one could give back a
 * lock of the same owner, it is said all the same. Waits for locks without an owner are not seen. */
#define WEFT_LOCK_DETECT 2u
/* A signal ends the wait, -EINTR, when its handler was set without SA_RESTART. The handlers of all
 * signals but those of faults are run by this call itself, at a moment of its choice. Not for the
 * asynchronous form. */
#define WEFT_LOCK_SIGNALS 4u

/* weft_file_lock_set(): sets what `record` says. A failure changes nothing. One request, and more for a
 * wait; none, when there is nothing to be given back.
 * -ETIMEDOUT: the lock's server did not answer. The session goes on telling it, before anything else of this
 * owner and file, that the lock is not wanted; but what was to be given back, or shared, may be. */
int weft_file_lock_set(weft_file_t *file, const struct weft_record *record, unsigned flags);
/* weft_file_lock_set_async(): what weft_wait() returns is what the call above would. The record is copied. */
int weft_file_lock_set_async(weft_file_t *file, const struct weft_record *record, unsigned flags,
                             weft_op_t **op);
/* weft_lock_cancel(): the operation, of the call above, ends soon: with -EINTR, or with 0 when it has
 * been granted in the meantime. It must still be given to weft_wait(), and not have been before. */
void weft_lock_cancel(weft_op_t *op);
/* weft_file_lock_test(): 1, and in *found, when somebody else's lock is in the way of this one, the one of
 * the lowest offset: its extent, type and pid, and the owner's number in its own session. A
 * lock without an owner has 0 there. 0 when nothing is. One request. */
int weft_file_lock_test(weft_file_t *file, const struct weft_record *record, struct weft_record *found);
/* weft_file_lock_drop(): all that the owner has of the file. One request, or none when that is nothing.
 * -ETIMEDOUT: as of weft_file_lock_set(). */
int weft_file_lock_drop(weft_file_t *file, uint64_t owner);

/*
 * weft_file_pointer_add(), weft_file_pointer_set(): the shared pointer of an opening: a number
 * that the metadata server keeps with it, for the process that opened the file and for all that
 * imported it. It is 0 when the file is opened, and gone when it is closed. One metadata
 * request each, which happens exactly once however often it had to be repeated, and is
 * kept over a restart of the metadata server.
 * weft_file_pointer_add() adds `add` and tells what the pointer was before (`before` may be NULL).
 * -EINVAL: it would be negative; -EOVERFLOW: it would be beyond INT64_MAX. It is then unchanged.
 */
int weft_file_pointer_add(weft_file_t *file, int64_t add, int64_t *before);
int weft_file_pointer_set(weft_file_t *file, int64_t value);

/* ---- seeing what happens ---------------------------------------------- */

/*
 * weft_counters(): calls `each` for every counter of this session (requests
 * by kind, bytes, wake-ups). weft_server_counters(): the same, asked from each
 * server in turn; `server` is its name. An unreachable server is passed over
 * and makes the call return its error at the end.
 */
typedef void weft_counter_fn(void *arg, const char *server, const char *name, uint64_t value);
int weft_counters(weft_session_t *session, weft_counter_fn *each, void *arg);
int weft_server_counters(weft_session_t *session, weft_counter_fn *each, void *arg);

/*
 * weft_servers(): calls `each` for every server of the cluster map, metadata
 * server first. `targets` is 0 for the metadata server.
 */
struct weft_server {
    const char *name;
    const char *address; /* host:port */
    bool is_metadata;
    bool is_up;
    uint32_t targets;
    uint32_t shards;
    uint64_t bytes_total;
    uint64_t bytes_free;
    const char *host; /* where it runs; "" when that is not known, as of the metadata server */
    const char *chassis;
    const char *rack;
};
typedef void weft_server_fn(void *arg, const struct weft_server *server);
int weft_servers(weft_session_t *session, weft_server_fn *each, void *arg);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
#endif
