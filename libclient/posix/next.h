/* SPDX-License-Identifier: Apache-2.0 */
/*
 * next.h: libc's own functions, beneath those that this library puts in their place.
 *
 * PX_NEXT(open)(...) calls libc's. The pointers are looked up once, when the first is
 * needed, since other libraries' constructors call before ours runs.
 */
#ifndef POSIX_NEXT_H
#define POSIX_NEXT_H

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include "calls.h"

/* What libc has for programs that were compiled against older or checking headers, and
 * its own headers don't show. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags);
int __openat64_2(int dirfd, const char *path, int flags);
ssize_t __read_chk(int fd, void *buffer, size_t length, size_t room);
ssize_t __pread_chk(int fd, void *buffer, size_t length, off_t offset, size_t room);
ssize_t __pread64_chk(int fd, void *buffer, size_t length, off64_t offset, size_t room);
ssize_t __readlink_chk(const char *path, char *buffer, size_t length, size_t room);
ssize_t __readlinkat_chk(int dirfd, const char *path, char *buffer, size_t length, size_t room);
char *__realpath_chk(const char *path, char *resolved, size_t room);
char *__getcwd_chk(char *buffer, size_t size, size_t room);
int __xstat(int version, const char *path, struct stat *out);
int __xstat64(int version, const char *path, struct stat64 *out);
int __lxstat(int version, const char *path, struct stat *out);
int __lxstat64(int version, const char *path, struct stat64 *out);
int __fxstat(int version, int fd, struct stat *out);
int __fxstat64(int version, int fd, struct stat64 *out);
int __fxstatat(int version, int dirfd, const char *path, struct stat *out, int flags);
int __fxstatat64(int version, int dirfd, const char *path, struct stat64 *out, int flags);

_Static_assert(sizeof(off_t) == 8 && sizeof(struct stat) == sizeof(struct stat64),
               "the forms with 64 in their names are the same calls");

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
struct px_next {
#define PX_NEXT_POINTER(name) __typeof__(&name) name##_;
    PX_CALLS(PX_NEXT_POINTER)
#undef PX_NEXT_POINTER
};
#pragma GCC diagnostic pop

extern struct px_next px_next_table;
extern bool px_next_ready;
void px_next_init(void);

static inline const struct px_next *px_next(void)
{
    if (__builtin_expect(!px_next_ready, 0))
        px_next_init();
    return &px_next_table;
}

#define PX_NEXT(name) (px_next()->name##_)

#endif
