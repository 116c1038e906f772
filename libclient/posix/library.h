/* SPDX-License-Identifier: Apache-2.0 */
/*
 * library.h: libweft, loaded and connected when the first path of ours is met.
 *
 * A preloaded library is part of every program of a job, also of those that never touch
 * Weft; libweft and UCX cost milliseconds to load, so they are loaded late, by
 * dlopen(). PX_ASK(stat, path, ...) calls weft_stat() with this process's session,
 * PX_CALL(file_read, file, ...) calls weft_file_read(); the result is the call's, or -EIO when
 * there is no session to be had, which is then said on stderr; errno is left as it was.
 *
 * While a thread is inside one of them its calls of libc are libweft's and not
 * the program's: px_is_inside. Descriptors that are made there are moved to high numbers
 * and remembered, so that a program that gives itself a number (exec 3>file) takes none of them away.
 */
#ifndef POSIX_LIBRARY_H
#define POSIX_LIBRARY_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "weft/weft.h"

#define PX_LIBRARY(X)                                                                                        \
    X(access)                                                                                                \
    X(attr_stat)                                                                                             \
    X(chmod)                                                                                                 \
    X(chown)                                                                                                 \
    X(connect) X(dir_close) X(dir_entry) X(dir_next) X(dir_open) X(disconnect) X(error)                      \
    X(file_allocate) X(file_append) X(file_chmod) X(file_chown) X(file_close) X(file_export)                 \
    X(file_import) X(file_ino) X(file_lock_drop) X(file_lock_set) X(file_lock_test) X(file_open)             \
    X(file_punch) X(file_read) X(file_readv) X(file_seek) X(file_size) X(file_stat) X(file_sync)             \
    X(file_truncate)                                                                                         \
    X(file_utimens) X(file_write) X(file_writev) X(file_xattr_get) X(file_xattr_list) X(file_xattr_remove)   \
    X(file_xattr_set) X(keep_attributes) X(lchown) X(link) X(lutimens) X(mkdir) X(mknod)                     \
    X(mounted_connect) X(mounted_reach)                                                                      \
    X(readlink) X(rename) X(rmdir) X(stat) X(statfs) X(symlink) X(sync) X(truncate) X(unlink)                \
    X(utimens) X(xattr_get) X(xattr_list) X(xattr_remove) X(xattr_set)

struct px_library {
#define PX_LIBRARY_POINTER(name) __typeof__(&weft_##name) name##_;
    PX_LIBRARY(PX_LIBRARY_POINTER)
#undef PX_LIBRARY_POINTER
};

extern struct px_library px_library;
extern _Atomic(weft_session_t *) px_session;
extern _Thread_local unsigned px_inside __attribute__((tls_model("initial-exec")));

static inline bool px_is_inside(void)
{
    return __builtin_expect(px_inside != 0, 0);
}

/* Makes the session when there is none: 0, or -EIO. Until px_leave() the thread is inside. */
int px_enter(void);
extern atomic_uint px_busy; /* threads inside */
static inline void px_leave(void)
{
    px_inside--;
    atomic_fetch_sub_explicit(&px_busy, 1, memory_order_release);
}

#define PX_ASK(name, ...)                                                                \
    ({                                                                                   \
        int px_errno_ = errno;                                                           \
        __typeof__(px_library.name##_(px_session, __VA_ARGS__)) px_result_ = px_enter(); \
        if (px_result_ == 0) {                                                           \
            px_result_ = px_library.name##_(px_session, __VA_ARGS__);                    \
            px_leave();                                                                  \
        }                                                                                \
        errno = px_errno_;                                                               \
        px_result_;                                                                      \
    })
#define PX_CALL(name, ...)                                                   \
    ({                                                                       \
        int px_errno_ = errno;                                               \
        __typeof__(px_library.name##_(__VA_ARGS__)) px_result_ = px_enter(); \
        if (px_result_ == 0) {                                               \
            px_result_ = px_library.name##_(__VA_ARGS__);                    \
            px_leave();                                                      \
        }                                                                    \
        errno = px_errno_;                                                   \
        px_result_;                                                          \
    })

/* Makes the session when there is none, by the mount's configuration if the process has none: 0 when files on
 * the mount can be opened past it with these flags. Says nothing when they can't. */
int px_library_reach(const struct weft_mounted *mounted, int flags);
/* The configuration that this process has by a mount only; NULL: there is none. */
const char *px_library_mounts_conf(void);
/* Whether the cluster of a mount was not to be reached. Programs that are started need not find that out. */
bool px_library_has_given_up(void);

/* Which session it is: another number after fork() and after px_library_end(). */
unsigned px_library_generation(void);
/* Ends the session in an orderly way; the next call makes another one. All of its files are closed before. */
void px_library_end(void);
/* In a child: the session and its descriptors are the parent's. */
void px_library_forget(void);

/* A line on stderr about what this program can't have; once for each `what`. */
void px_say_once(const char *what, const char *text);

#endif
