/* SPDX-License-Identifier: Apache-2.0 */
/* Modes, owners and times. */
#include "px.h"

#include <string.h>

/* ---- what new files lack --------------------------------------------------------------- */

static atomic_uint mask;

mode_t px_umask(void)
{
    return atomic_load_explicit(&mask, memory_order_relaxed);
}

void px_umask_init(void)
{
    mode_t now = PX_NEXT(umask)(077);
    PX_NEXT(umask)(now);
    atomic_store(&mask, now);
}

PX_EXPORT mode_t umask(mode_t wanted)
{
    atomic_store(&mask, wanted & 0777);
    return PX_NEXT(umask)(wanted);
}

/* ---- changes ----------------------------------------------------------------------------- */

/* One change of what a path or a descriptor is about. */
struct change {
    enum { MODE, OWNER, TIMES } what;
    mode_t mode;
    uid_t uid;
    gid_t gid;
    const struct timespec *times; /* NULL: now */
    bool is_followed;
};

static int change_path(const char *path, const struct change *change)
{
    switch (change->what) {
    case MODE:
        /* Linux has no modes of symbolic links either. */
        return change->is_followed ? PX_ASK(chmod, path, change->mode & 07777) : -EOPNOTSUPP;
    case OWNER:
        return change->is_followed ? PX_ASK(chown, path, change->uid, change->gid)
                                   : PX_ASK(lchown, path, change->uid, change->gid);
    default:
        return change->is_followed ? PX_ASK(utimens, path, change->times)
                                   : PX_ASK(lutimens, path, change->times);
    }
}

static int change_file(weft_file_t *file, const struct change *change)
{
    switch (change->what) {
    case MODE:
        return PX_CALL(file_chmod, file, change->mode & 07777);
    case OWNER:
        return PX_CALL(file_chown, file, change->uid, change->gid);
    default:
        return PX_CALL(file_utimens, file, change->times);
    }
}

static int change_fd(int fd, const struct change *change)
{
    weft_file_t *file;
    struct px_desc *desc = px_desc_get(fd);
    int result = desc ? 0 : -EBADF;
    if (result == 0 && desc->kind == PX_FILE)
        result = px_open_file(desc, &file);
    if (result == 0)
        result = desc->kind == PX_FILE ? change_file(file, change) : change_path(desc->path, change);
    px_desc_put(desc);
    return (int)px_return(result);
}

static int change_place(const struct px_place *place, const struct change *change)
{
    return (int)px_return(place->error ? place->error : change_path(place->path, change));
}

/* NULL as a path is Linux's way to say that it is about the descriptor. */
static bool is_nothing(const char *path)
{
    return !path || !*path;
}

#define BY_PATH(name, parameters, dirfd, next, ...)                       \
    PX_EXPORT int name parameters                                         \
    {                                                                     \
        struct px_place place;                                            \
        if (!px_find(dirfd, path, &place))                                \
            return PX_NEXT(name) next;                                    \
        PX_COUNT(name);                                                   \
        return change_place(&place, &(const struct change){__VA_ARGS__}); \
    }
#define BY_FD(name, parameters, next, ...)                                              \
    PX_EXPORT int name parameters                                                       \
    {                                                                                   \
        if (px_is_inside() || !px_table_has(fd))                                        \
            return PX_NEXT(name) next;                                                  \
        PX_COUNT(name);                                                                 \
        return change_fd(fd, &(const struct change){__VA_ARGS__, .is_followed = true}); \
    }

BY_PATH(chmod, (const char *path, mode_t mode), AT_FDCWD, (place.local, mode), .what = MODE, .mode = mode,
        .is_followed = true)
BY_PATH(lchmod, (const char *path, mode_t mode), AT_FDCWD, (place.local, mode), .what = MODE, .mode = mode)
BY_PATH(fchmodat, (int dirfd, const char *path, mode_t mode, int flags), dirfd,
        (dirfd, place.local, mode, flags), .what = MODE, .mode = mode,
        .is_followed = !(flags & AT_SYMLINK_NOFOLLOW))
BY_FD(fchmod, (int fd, mode_t mode), (fd, mode), .what = MODE, .mode = mode)

BY_PATH(chown, (const char *path, uid_t uid, gid_t gid), AT_FDCWD, (place.local, uid, gid), .what = OWNER,
        .uid = uid, .gid = gid, .is_followed = true)
BY_PATH(lchown, (const char *path, uid_t uid, gid_t gid), AT_FDCWD, (place.local, uid, gid), .what = OWNER,
        .uid = uid, .gid = gid)
BY_FD(fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid), .what = OWNER, .uid = uid, .gid = gid)

PX_EXPORT int fchownat(int dirfd, const char *path, uid_t uid, gid_t gid, int flags)
{
    struct px_place place;
    const struct change change = {
        .what = OWNER, .uid = uid, .gid = gid, .is_followed = !(flags & AT_SYMLINK_NOFOLLOW)};
    if (!px_is_inside() && is_nothing(path) && (flags & AT_EMPTY_PATH) && px_table_has(dirfd))
        return change_fd(dirfd, &change);
    if (!px_find(dirfd, path, &place))
        return PX_NEXT(fchownat)(dirfd, place.local, uid, gid, flags);
    PX_COUNT(fchownat);
    return change_place(&place, &change);
}

/* ---- times ---------------------------------------------------------------------------------- */

/* From microseconds and seconds; `out` is where the result is, NULL for now. */
static const struct timespec *from_timeval(const struct timeval *times, struct timespec out[2])
{
    if (!times)
        return NULL;
    for (int i = 0; i < 2; i++) {
        bool is_valid = times[i].tv_usec >= 0 && times[i].tv_usec < 1000000;
        out[i] = (struct timespec){times[i].tv_sec, is_valid ? times[i].tv_usec * 1000 : -1};
    }
    return out;
}

static const struct timespec *from_utimbuf(const struct utimbuf *times, struct timespec out[2])
{
    if (!times)
        return NULL;
    out[0] = (struct timespec){.tv_sec = times->actime};
    out[1] = (struct timespec){.tv_sec = times->modtime};
    return out;
}

#define ROOM ((struct timespec[2]){{0}})

BY_PATH(utime, (const char *path, const struct utimbuf *times), AT_FDCWD, (place.local, times), .what = TIMES,
        .times = from_utimbuf(times, ROOM), .is_followed = true)
BY_PATH(utimes, (const char *path, const struct timeval times[2]), AT_FDCWD, (place.local, times),
        .what = TIMES, .times = from_timeval(times, ROOM), .is_followed = true)
BY_PATH(lutimes, (const char *path, const struct timeval times[2]), AT_FDCWD, (place.local, times),
        .what = TIMES, .times = from_timeval(times, ROOM))
BY_PATH(futimesat, (int dirfd, const char *path, const struct timeval times[2]), dirfd,
        (dirfd, place.local, times), .what = TIMES, .times = from_timeval(times, ROOM), .is_followed = true)
BY_FD(futimes, (int fd, const struct timeval times[2]), (fd, times), .what = TIMES,
      .times = from_timeval(times, ROOM))
BY_FD(futimens, (int fd, const struct timespec times[2]), (fd, times), .what = TIMES, .times = times)

PX_EXPORT int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags)
{
    struct px_place place;
    const struct change change = {
        .what = TIMES, .times = times, .is_followed = !(flags & AT_SYMLINK_NOFOLLOW)};
    if (!px_is_inside() && is_nothing(path) && px_table_has(dirfd))
        return change_fd(dirfd, &change);
    if (!px_find(dirfd, path, &place))
        return PX_NEXT(utimensat)(dirfd, place.local, times, flags);
    PX_COUNT(utimensat);
    return change_place(&place, &change);
}
