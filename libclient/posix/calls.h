/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.h: the names of libc's calls that the preload library takes over, once.
 *
 * From this list come the pointers to libc's own functions (next.c) and the counters
 * of `weft run --report` (report.c). A call that is to be taken over is added here and
 * defined in the file of its kind.
 */
#ifndef POSIX_CALLS_H
#define POSIX_CALLS_H

/* X(name) */
#define PX_CALLS_OPEN(X)                                                                                   \
    X(open)                                                                                                \
    X(open64)                                                                                              \
    X(openat) X(openat64) X(creat) X(creat64) X(__open_2) X(__open64_2) X(__openat_2) X(__openat64_2)      \
        X(close) X(close_range) X(closefrom) X(mkstemp) X(mkstemp64) X(mkostemp) X(mkostemp64) X(mkstemps) \
            X(mkstemps64) X(mkostemps) X(mkostemps64) X(mkdtemp)

#define PX_CALLS_IO(X)                                                                                       \
    X(read)                                                                                                  \
    X(write)                                                                                                 \
    X(pread) X(pread64) X(pwrite) X(pwrite64) X(__read_chk) X(__pread_chk) X(__pread64_chk) X(readv)         \
        X(writev) X(preadv) X(preadv64) X(pwritev) X(pwritev64) X(preadv2) X(preadv64v2) X(pwritev2)         \
            X(pwritev64v2) X(lseek) X(lseek64) X(fsync) X(fdatasync) X(sync_file_range) X(syncfs)            \
                X(ftruncate) X(ftruncate64) X(truncate) X(truncate64) X(fallocate) X(fallocate64)            \
                    X(posix_fallocate) X(posix_fallocate64) X(posix_fadvise) X(posix_fadvise64) X(readahead) \
                        X(sendfile) X(sendfile64) X(copy_file_range) X(mmap) X(mmap64) X(munmap) X(msync)    \
                            X(mremap)

#define PX_CALLS_STAT(X)                                                                                   \
    X(stat)                                                                                                \
    X(stat64)                                                                                              \
    X(lstat) X(lstat64) X(fstat) X(fstat64) X(fstatat) X(fstatat64) X(__xstat) X(__xstat64) X(__lxstat)    \
        X(__lxstat64) X(__fxstat) X(__fxstat64) X(__fxstatat) X(__fxstatat64) X(statx) X(access)           \
            X(faccessat) X(euidaccess) X(eaccess) X(statfs) X(statfs64) X(fstatfs) X(fstatfs64) X(statvfs) \
                X(statvfs64) X(fstatvfs) X(fstatvfs64) X(pathconf) X(fpathconf)

#define PX_CALLS_NAMES(X)                                                                                    \
    X(mkdir)                                                                                                 \
    X(mkdirat)                                                                                               \
    X(rmdir) X(unlink) X(unlinkat) X(remove) X(rename) X(renameat) X(renameat2) X(link) X(linkat) X(symlink) \
        X(symlinkat) X(readlink) X(readlinkat) X(__readlink_chk) X(__readlinkat_chk) X(mknod) X(mknodat)     \
            X(mkfifo) X(mkfifoat) X(realpath) X(__realpath_chk) X(canonicalize_file_name) X(chdir) X(fchdir) \
                X(getcwd) X(__getcwd_chk) X(get_current_dir_name) X(getwd)

#define PX_CALLS_ATTR(X)                                                                                    \
    X(chmod)                                                                                                \
    X(fchmod)                                                                                               \
    X(fchmodat) X(lchmod) X(chown) X(fchown) X(fchownat) X(lchown) X(utime) X(utimes) X(lutimes) X(futimes) \
        X(futimesat) X(utimensat) X(futimens) X(umask) X(setxattr) X(lsetxattr) X(fsetxattr) X(getxattr)    \
            X(lgetxattr) X(fgetxattr) X(listxattr) X(llistxattr) X(flistxattr) X(removexattr)               \
                X(lremovexattr) X(fremovexattr)

#define PX_CALLS_DIRS(X)                                                                               \
    X(opendir)                                                                                         \
    X(fdopendir)                                                                                       \
    X(readdir) X(readdir64) X(readdir_r) X(readdir64_r) X(rewinddir) X(telldir) X(seekdir) X(closedir) \
        X(dirfd) X(scandir) X(scandir64) X(scandirat) X(scandirat64)

#define PX_CALLS_DESCRIPTORS(X)                                                                            \
    X(dup)                                                                                                 \
    X(dup2)                                                                                                \
    X(dup3) X(fcntl) X(fcntl64) X(flock) X(lockf) X(lockf64) X(socket) X(socketpair) X(accept) X(accept4)  \
        X(epoll_create) X(epoll_create1) X(eventfd) X(timerfd_create) X(signalfd) X(inotify_init1) X(pipe) \
            X(pipe2)

#define PX_CALLS_STREAMS(X) X(fopen) X(fopen64) X(freopen) X(freopen64) X(fdopen) X(fileno) X(fileno_unlocked)

#define PX_CALLS_PROCESS(X)                                                                                \
    X(vfork)                                                                                               \
    X(execve)                                                                                              \
    X(execv) X(execvp) X(execvpe) X(execveat) X(fexecve) X(posix_spawn) X(posix_spawnp) X(popen) X(system) \
        X(_exit) X(_Exit)

#define PX_CALLS(X)         \
    PX_CALLS_OPEN(X)        \
    PX_CALLS_IO(X)          \
    PX_CALLS_STAT(X)        \
    PX_CALLS_NAMES(X)       \
    PX_CALLS_ATTR(X)        \
    PX_CALLS_DIRS(X)        \
    PX_CALLS_DESCRIPTORS(X) \
    PX_CALLS_STREAMS(X)     \
    PX_CALLS_PROCESS(X)

enum px_call {
#define PX_CALL_ENUM(name) PX_CALL_##name,
    PX_CALLS(PX_CALL_ENUM)
#undef PX_CALL_ENUM
        PX_CALL_END
};

#endif
