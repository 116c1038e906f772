/* SPDX-License-Identifier: Apache-2.0 */
/* Making, moving and taking away names. */
#include "px.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NAME(PARAMETERS): a call about one path. */
#define ONE_PATH(name, parameters, dirfd, next, expression)              \
    PX_EXPORT int name parameters                                        \
    {                                                                    \
        struct px_place place;                                           \
        if (!px_find(dirfd, path, &place))                               \
            return PX_NEXT(name) next;                                   \
        PX_COUNT(name);                                                  \
        return (int)px_return(place.error ? place.error : (expression)); \
    }

ONE_PATH(mkdir, (const char *path, mode_t mode), AT_FDCWD, (place.local, mode),
         PX_ASK(mkdir, place.path, mode & ~px_umask() & 07777))
ONE_PATH(mkdirat, (int dirfd, const char *path, mode_t mode), dirfd, (dirfd, place.local, mode),
         PX_ASK(mkdir, place.path, mode & ~px_umask() & 07777))
ONE_PATH(rmdir, (const char *path), AT_FDCWD, (place.local), PX_ASK(rmdir, place.path))
ONE_PATH(unlink, (const char *path), AT_FDCWD, (place.local), PX_ASK(unlink, place.path))

static int unlink_at(const char *path, int flags)
{
    if (flags & ~AT_REMOVEDIR)
        return -EINVAL;
    return flags ? PX_ASK(rmdir, path) : PX_ASK(unlink, path);
}

/* unlink() of a folder fails with EISDIR here as in Linux, and with EPERM elsewhere. */
static int remove_path(const char *path)
{
    int result = PX_ASK(unlink, path);
    return result == -EISDIR || result == -EPERM ? PX_ASK(rmdir, path) : result;
}

ONE_PATH(unlinkat, (int dirfd, const char *path, int flags), dirfd, (dirfd, place.local, flags),
         unlink_at(place.path, flags))
ONE_PATH(remove, (const char *path), AT_FDCWD, (place.local), remove_path(place.path))

/* ---- special files ------------------------------------------------------------------- */

ONE_PATH(mknod, (const char *path, mode_t mode, dev_t device), AT_FDCWD, (place.local, mode, device),
         PX_ASK(mknod, place.path, mode & ~px_umask(), device))
ONE_PATH(mknodat, (int dirfd, const char *path, mode_t mode, dev_t device), dirfd,
         (dirfd, place.local, mode, device), PX_ASK(mknod, place.path, mode & ~px_umask(), device))
ONE_PATH(mkfifo, (const char *path, mode_t mode), AT_FDCWD, (place.local, mode),
         PX_ASK(mknod, place.path, (mode & ~px_umask() & 07777) | S_IFIFO, 0))
ONE_PATH(mkfifoat, (int dirfd, const char *path, mode_t mode), dirfd, (dirfd, place.local, mode),
         PX_ASK(mknod, place.path, (mode & ~px_umask() & 07777) | S_IFIFO, 0))

/* ---- two paths ----------------------------------------------------------------------- */

/* Where both are: -EXDEV when only one is ours. */
struct two {
    struct px_place from, to;
    bool is_ours;
    int error;
};

static void find_two(struct two *two, int from_dir, const char *from, int to_dir, const char *to)
{
    bool is_from = px_find(from_dir, from, &two->from), is_to = px_find(to_dir, to, &two->to);
    two->is_ours = is_from || is_to;
    two->error = is_from != is_to ? -EXDEV : two->from.error ? two->from.error : two->to.error;
}

/* Exchanging can't be done in one step; not replacing is asked for beforehand, so another
 * client may come in between. */
static int rename_two(const struct two *two, unsigned flags)
{
    struct weft_attr attr;
    if (two->error)
        return two->error;
    if (flags & ~(unsigned)RENAME_NOREPLACE) {
        px_say_once("renameat2", "renameat2() can't exchange or white out names on Weft (EINVAL)");
        return -EINVAL;
    }
    if (flags) {
        int result = PX_ASK(stat, two->to.path, WEFT_STAT_NOFOLLOW, &attr);
        if (result != -ENOENT)
            return result == 0 ? -EEXIST : result;
    }
    return PX_ASK(rename, two->from.path, two->to.path);
}

static int link_two(const struct two *two, int flags)
{
    char canonical[PX_PATH_ROOM];
    if (two->error)
        return two->error;
    if (flags & ~AT_SYMLINK_FOLLOW)
        return -EINVAL;
    if (!flags)
        return PX_ASK(link, two->from.path, two->to.path);
    int result = px_place_canonical(two->from.path, canonical);
    return result < 0 ? result : PX_ASK(link, canonical, two->to.path);
}

#define TWO_PATHS(name, parameters, from_dir, to_dir, next, expression) \
    PX_EXPORT int name parameters                                       \
    {                                                                   \
        struct two two;                                                 \
        find_two(&two, from_dir, from, to_dir, to);                     \
        if (!two.is_ours)                                               \
            return PX_NEXT(name) next;                                  \
        PX_COUNT(name);                                                 \
        return (int)px_return(expression);                              \
    }

TWO_PATHS(rename, (const char *from, const char *to), AT_FDCWD, AT_FDCWD, (two.from.local, two.to.local),
          rename_two(&two, 0))
TWO_PATHS(renameat, (int from_dir, const char *from, int to_dir, const char *to), from_dir, to_dir,
          (from_dir, two.from.local, to_dir, two.to.local), rename_two(&two, 0))
TWO_PATHS(renameat2, (int from_dir, const char *from, int to_dir, const char *to, unsigned flags), from_dir,
          to_dir, (from_dir, two.from.local, to_dir, two.to.local, flags), rename_two(&two, flags))
TWO_PATHS(link, (const char *from, const char *to), AT_FDCWD, AT_FDCWD, (two.from.local, two.to.local),
          link_two(&two, 0))
TWO_PATHS(linkat, (int from_dir, const char *from, int to_dir, const char *to, int flags), from_dir, to_dir,
          (from_dir, two.from.local, to_dir, two.to.local, flags), link_two(&two, flags))

/* ---- symbolic links -------------------------------------------------------------------- */

static int symlink_to(const char *target, const char *path)
{
    char kept[PX_PATH_ROOM];
    if (!target)
        return -EFAULT;
    if (!px_path_target_in(px_mount(), target, kept, sizeof kept))
        return -ENAMETOOLONG;
    return PX_ASK(symlink, kept, path);
}

static ssize_t readlink_of(const char *path, char *buffer, size_t size)
{
    char kept[PX_PATH_ROOM], shown[2 * PX_PATH_ROOM];
    if (size == 0)
        return -EINVAL;
    ssize_t length = PX_ASK(readlink, path, kept, sizeof kept - 1);
    if (length < 0)
        return length;
    kept[length] = '\0';
    if (!px_path_target_out(px_mount(), kept, shown, sizeof shown))
        return -ENAMETOOLONG;
    size_t shown_length = strlen(shown);
    memcpy(buffer, shown, shown_length < size ? shown_length : size);
    return (ssize_t)(shown_length < size ? shown_length : size);
}

ONE_PATH(symlink, (const char *target, const char *path), AT_FDCWD, (target, place.local),
         symlink_to(target, place.path))
ONE_PATH(symlinkat, (const char *target, int dirfd, const char *path), dirfd, (target, dirfd, place.local),
         symlink_to(target, place.path))

#define READLINK(name, parameters, dirfd, next, size)                                        \
    PX_EXPORT ssize_t name parameters                                                        \
    {                                                                                        \
        struct px_place place;                                                               \
        if (!px_find(dirfd, path, &place))                                                   \
            return PX_NEXT(name) next;                                                       \
        PX_COUNT(name);                                                                      \
        return px_return(place.error ? place.error : readlink_of(place.path, buffer, size)); \
    }
READLINK(readlink, (const char *restrict path, char *restrict buffer, size_t length), AT_FDCWD,
         (place.local, buffer, length), length)
READLINK(readlinkat, (int dirfd, const char *restrict path, char *restrict buffer, size_t length), dirfd,
         (dirfd, place.local, buffer, length), length)
READLINK(__readlink_chk, (const char *path, char *buffer, size_t length, size_t room), AT_FDCWD,
         (place.local, buffer, length, room), length < room ? length : room)
READLINK(__readlinkat_chk, (int dirfd, const char *path, char *buffer, size_t length, size_t room), dirfd,
         (dirfd, place.local, buffer, length, room), length < room ? length : room)

/* ---- the one name of a file -------------------------------------------------------------- */

static char *resolve(const struct px_place *place, char *resolved)
{
    char canonical[PX_PATH_ROOM], outside[2 * PX_PATH_ROOM];
    int error = place->error ? place->error : px_place_canonical(place->path, canonical);
    if (error == 0 && (!px_place_outside(canonical, outside, sizeof outside) ||
                       (resolved && strlen(outside) >= PX_PATH_ROOM - 1)))
        error = -ENAMETOOLONG;
    if (px_return(error) < 0)
        return NULL;
    return resolved ? memcpy(resolved, outside, strlen(outside) + 1) : strdup(outside);
}

#define REALPATH(name, parameters, next)      \
    PX_EXPORT char *name parameters           \
    {                                         \
        struct px_place place;                \
        if (!px_find(AT_FDCWD, path, &place)) \
            return PX_NEXT(name) next;        \
        PX_COUNT(name);                       \
        return resolve(&place, resolved);     \
    }
REALPATH(realpath, (const char *restrict path, char *restrict resolved), (place.local, resolved))
REALPATH(__realpath_chk, (const char *path, char *resolved, size_t room), (place.local, resolved, room))

PX_EXPORT char *canonicalize_file_name(const char *path)
{
    return realpath(path, NULL);
}
