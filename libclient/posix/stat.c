/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of files and of the cluster. */
#include "px.h"

#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>

#define FILESYSTEM_MAGIC 0x57656674 /* "Weft": no program takes it for one whose habits it knows */
#define BLOCK_BYTES      512
#define IO_BYTES         (1 << 20) /* what is worth being read at once */

/* Space that is in use is not always known: programs take a file of no blocks for an empty one. */
static uint64_t blocks_of(const struct weft_attr *attr)
{
    uint64_t bytes = attr->bytes ? attr->bytes : attr->size;
    return bytes / BLOCK_BYTES + (bytes % BLOCK_BYTES != 0);
}

void px_stat_fill(const struct weft_attr *attr, uint64_t device, struct stat *out)
{
    px_library.attr_stat_(attr, out); /* it was loaded for asking, and a call of it needs no session */
    out->st_dev = device;
    out->st_blocks = (blkcnt_t)blocks_of(attr);
}

int px_stat_desc(struct px_desc *desc, struct weft_attr *attr)
{
    weft_file_t *file;
    if (desc->kind != PX_FILE)
        return PX_ASK(stat, desc->path, desc->flags & O_NOFOLLOW ? WEFT_STAT_NOFOLLOW : 0, attr);
    int result = px_open_file(desc, &file);
    return result < 0 ? result : PX_CALL(file_stat, file, attr);
}

static int stat_place(const struct px_place *place, bool is_followed, struct stat *out)
{
    struct weft_attr attr;
    char local[PX_PATH_ROOM];
    int result = place->error;
    if (result == 0)
        result = PX_ASK(stat, place->path, is_followed ? 0 : WEFT_STAT_NOFOLLOW, &attr);
    if (result == 0)
        px_stat_fill(&attr, PX_DEVICE, out);
    if (result == -ENOENT && is_followed && px_place_leads_out(place->path, local))
        return PX_NEXT(stat)(local, out);
    return (int)px_return(result);
}

static int stat_fd(int fd, struct stat *out)
{
    struct weft_attr attr;
    struct px_desc *desc = px_desc_get(fd);
    int result = desc ? px_stat_desc(desc, &attr) : -EBADF;
    if (result == 0)
        px_stat_fill(&attr, desc->device ? desc->device : PX_DEVICE, out);
    px_desc_put(desc);
    return (int)px_return(result);
}

static bool is_ours(int fd)
{
    return !px_is_inside() && px_table_has(fd);
}

/* The struct of the forms with 64 in their names is the same. */
#define STAT(name, type, is_followed)                                        \
    PX_EXPORT int name(const char *restrict path, struct type *restrict out) \
    {                                                                        \
        struct px_place place;                                               \
        if (!px_find(AT_FDCWD, path, &place))                                \
            return PX_NEXT(name)(place.local, out);                          \
        PX_COUNT(name);                                                      \
        return stat_place(&place, is_followed, (struct stat *)out);          \
    }
STAT(stat, stat, true)
STAT(stat64, stat64, true)
STAT(lstat, stat, false)
STAT(lstat64, stat64, false)

#define XSTAT(name, type, is_followed)                                  \
    PX_EXPORT int name(int version, const char *path, struct type *out) \
    {                                                                   \
        struct px_place place;                                          \
        if (!px_find(AT_FDCWD, path, &place))                           \
            return PX_NEXT(name)(version, place.local, out);            \
        PX_COUNT(name);                                                 \
        return stat_place(&place, is_followed, (struct stat *)out);     \
    }
XSTAT(__xstat, stat, true)
XSTAT(__xstat64, stat64, true)
XSTAT(__lxstat, stat, false)
XSTAT(__lxstat64, stat64, false)

#define FSTAT(name, type)                        \
    PX_EXPORT int name(int fd, struct type *out) \
    {                                            \
        if (!is_ours(fd))                        \
            return PX_NEXT(name)(fd, out);       \
        PX_COUNT(name);                          \
        return stat_fd(fd, (struct stat *)out);  \
    }
FSTAT(fstat, stat)
FSTAT(fstat64, stat64)

#define FXSTAT(name, type)                                    \
    PX_EXPORT int name(int version, int fd, struct type *out) \
    {                                                         \
        if (!is_ours(fd))                                     \
            return PX_NEXT(name)(version, fd, out);           \
        PX_COUNT(name);                                       \
        return stat_fd(fd, (struct stat *)out);               \
    }
FXSTAT(__fxstat, stat)
FXSTAT(__fxstat64, stat64)

/* With AT_EMPTY_PATH and no path it is about the descriptor itself. */
static bool is_itself(int dirfd, const char *path, int flags)
{
    return (flags & AT_EMPTY_PATH) && (!path || !*path) && is_ours(dirfd);
}

#define FSTATAT(name, type)                                                                        \
    PX_EXPORT int name(int dirfd, const char *restrict path, struct type *restrict out, int flags) \
    {                                                                                              \
        struct px_place place;                                                                     \
        if (is_itself(dirfd, path, flags))                                                         \
            return stat_fd(dirfd, (struct stat *)out);                                             \
        if (!px_find(dirfd, path, &place))                                                         \
            return PX_NEXT(name)(dirfd, place.local, out, flags);                                  \
        PX_COUNT(name);                                                                            \
        return stat_place(&place, !(flags & AT_SYMLINK_NOFOLLOW), (struct stat *)out);             \
    }
FSTATAT(fstatat, stat)
FSTATAT(fstatat64, stat64)

#define FXSTATAT(name, type)                                                                  \
    PX_EXPORT int name(int version, int dirfd, const char *path, struct type *out, int flags) \
    {                                                                                         \
        struct px_place place;                                                                \
        if (is_itself(dirfd, path, flags))                                                    \
            return stat_fd(dirfd, (struct stat *)out);                                        \
        if (!px_find(dirfd, path, &place))                                                    \
            return PX_NEXT(name)(version, dirfd, place.local, out, flags);                    \
        PX_COUNT(name);                                                                       \
        return stat_place(&place, !(flags & AT_SYMLINK_NOFOLLOW), (struct stat *)out);        \
    }
FXSTATAT(__fxstatat, stat)
FXSTATAT(__fxstatat64, stat64)

static struct statx_timestamp statx_time(struct timespec time)
{
    return (struct statx_timestamp){.tv_sec = time.tv_sec, .tv_nsec = (uint32_t)time.tv_nsec};
}

static void statx_fill(const struct stat *stat, struct statx *out)
{
    *out = (struct statx){
        .stx_mask = STATX_BASIC_STATS,
        .stx_blksize = (uint32_t)stat->st_blksize,
        .stx_nlink = (uint32_t)stat->st_nlink,
        .stx_uid = stat->st_uid,
        .stx_gid = stat->st_gid,
        .stx_mode = (uint16_t)stat->st_mode,
        .stx_ino = stat->st_ino,
        .stx_size = (uint64_t)stat->st_size,
        .stx_blocks = (uint64_t)stat->st_blocks,
        .stx_atime = statx_time(stat->st_atim),
        .stx_mtime = statx_time(stat->st_mtim),
        .stx_ctime = statx_time(stat->st_ctim),
        .stx_rdev_major = major(stat->st_rdev),
        .stx_rdev_minor = minor(stat->st_rdev),
        .stx_dev_major = major(stat->st_dev),
        .stx_dev_minor = minor(stat->st_dev),
    };
}

PX_EXPORT int statx(int dirfd, const char *restrict path, int flags, unsigned mask,
                    struct statx *restrict out)
{
    struct px_place place;
    struct stat stat;
    int result;
    if (is_itself(dirfd, path, flags)) {
        PX_COUNT(statx);
        result = stat_fd(dirfd, &stat);
    } else if (px_find(dirfd, path, &place)) {
        PX_COUNT(statx);
        result = stat_place(&place, !(flags & AT_SYMLINK_NOFOLLOW), &stat);
    } else {
        return PX_NEXT(statx)(dirfd, place.local, flags, mask, out);
    }
    if (result == 0)
        statx_fill(&stat, out);
    return result;
}

/* ---- may it? ------------------------------------------------------------------------ */

static int access_place(const struct px_place *place, int mode, int flags)
{
    struct weft_attr attr;
    char local[PX_PATH_ROOM];
    int result = place->error;
    if (result == 0 && (flags & AT_SYMLINK_NOFOLLOW))
        result = PX_ASK(stat, place->path, WEFT_STAT_NOFOLLOW, &attr);
    else if (result == 0)
        result = PX_ASK(access, place->path, mode);
    if (result == -ENOENT && !(flags & AT_SYMLINK_NOFOLLOW) && px_place_leads_out(place->path, local))
        return PX_NEXT(faccessat)(AT_FDCWD, local, mode, flags);
    return (int)px_return(result);
}

#define ACCESS(name)                                 \
    PX_EXPORT int name(const char *path, int mode)   \
    {                                                \
        struct px_place place;                       \
        if (!px_find(AT_FDCWD, path, &place))        \
            return PX_NEXT(name)(place.local, mode); \
        PX_COUNT(name);                              \
        return access_place(&place, mode, 0);        \
    }
ACCESS(access)
ACCESS(euidaccess)
ACCESS(eaccess)

PX_EXPORT int faccessat(int dirfd, const char *path, int mode, int flags)
{
    struct px_place place;
    if (!px_find(dirfd, path, &place))
        return PX_NEXT(faccessat)(dirfd, place.local, mode, flags);
    PX_COUNT(faccessat);
    return access_place(&place, mode, flags);
}

/* ---- the cluster -------------------------------------------------------------------- */

static int statfs_ask(struct statfs *out)
{
    struct weft_statfs weft;
    int result = PX_ASK(statfs, &weft);
    if (result < 0)
        return result;
    *out = (struct statfs){
        .f_type = FILESYSTEM_MAGIC,
        .f_bsize = IO_BYTES,
        .f_frsize = BLOCK_BYTES * 8,
        .f_blocks = weft.bytes_total / (BLOCK_BYTES * 8),
        .f_bfree = weft.bytes_free / (BLOCK_BYTES * 8),
        .f_bavail = weft.bytes_free / (BLOCK_BYTES * 8),
        .f_files = weft.files + UINT32_MAX,
        .f_ffree = UINT32_MAX,
        .f_namelen = WEFT_NAME_BYTES_MAX,
    };
    return 0;
}

static int statvfs_ask(struct statvfs *out)
{
    struct statfs all;
    int result = statfs_ask(&all);
    if (result < 0)
        return result;
    *out = (struct statvfs){
        .f_bsize = (unsigned long)all.f_bsize,
        .f_frsize = (unsigned long)all.f_frsize,
        .f_blocks = all.f_blocks,
        .f_bfree = all.f_bfree,
        .f_bavail = all.f_bavail,
        .f_files = all.f_files,
        .f_ffree = all.f_ffree,
        .f_favail = all.f_ffree,
        .f_fsid = PX_DEVICE,
        .f_namemax = WEFT_NAME_BYTES_MAX,
    };
    return 0;
}

/* The path has to be there. */
#define STATFS(name, type, plain, ask)                                               \
    PX_EXPORT int name(const char *path, struct type *out)                           \
    {                                                                                \
        struct px_place place;                                                       \
        struct weft_attr attr;                                                       \
        if (!px_find(AT_FDCWD, path, &place))                                        \
            return PX_NEXT(name)(place.local, out);                                  \
        PX_COUNT(name);                                                              \
        int result = place.error ? place.error : PX_ASK(stat, place.path, 0, &attr); \
        return (int)px_return(result < 0 ? result : ask((struct plain *)out));       \
    }
STATFS(statfs, statfs, statfs, statfs_ask)
STATFS(statfs64, statfs64, statfs, statfs_ask)
STATFS(statvfs, statvfs, statvfs, statvfs_ask)
STATFS(statvfs64, statvfs64, statvfs, statvfs_ask)

#define FSTATFS(name, type, plain, ask)                  \
    PX_EXPORT int name(int fd, struct type *out)         \
    {                                                    \
        if (!is_ours(fd))                                \
            return PX_NEXT(name)(fd, out);               \
        PX_COUNT(name);                                  \
        return (int)px_return(ask((struct plain *)out)); \
    }
FSTATFS(fstatfs, statfs, statfs, statfs_ask)
FSTATFS(fstatfs64, statfs64, statfs, statfs_ask)
FSTATFS(fstatvfs, statvfs, statvfs, statvfs_ask)
FSTATFS(fstatvfs64, statvfs64, statvfs, statvfs_ask)

static long limit_of(int name)
{
    switch (name) {
    case _PC_NAME_MAX:
        return WEFT_NAME_BYTES_MAX;
    case _PC_PATH_MAX:
        return PATH_MAX;
    case _PC_LINK_MAX:
        return INT32_MAX;
    case _PC_CHOWN_RESTRICTED:
    case _PC_NO_TRUNC:
    case _PC_2_SYMLINKS:
        return 1;
    case _PC_FILESIZEBITS:
        return 64;
    case _PC_REC_XFER_ALIGN:
    case _PC_ALLOC_SIZE_MIN:
        return 4096;
    default:
        return -1; /* no limit, and errno as it was */
    }
}

PX_EXPORT long pathconf(const char *path, int name)
{
    struct px_place place;
    if (!px_find(AT_FDCWD, path, &place))
        return PX_NEXT(pathconf)(place.local, name);
    PX_COUNT(pathconf);
    return limit_of(name);
}

PX_EXPORT long fpathconf(int fd, int name)
{
    if (!is_ours(fd))
        return PX_NEXT(fpathconf)(fd, name);
    PX_COUNT(fpathconf);
    return limit_of(name);
}
