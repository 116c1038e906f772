/* SPDX-License-Identifier: Apache-2.0 */
/*
 * posix_view.c: lets a program that was made for local files see the files of
 * one folder in the cluster. It is preloaded.
 *
 * PnetCDF does its I/O by MPI, but it asks access() whether a file exists and
 * read() for its first bytes, by the path without the prefix; its checkers read
 * whole files. HDF5's tests make some files by one process without MPI, before all open
 * them by it, and remove their files. For paths with the prefix, those below the folder
 * that POSIX_VIEW names (relative ones as well, where the working folder has the same
 * name as a folder in the cluster), and relative ones in which POSIX_VIEW_PART stands,
 * which are taken as in that folder, such calls are answered by libweft here:
 *   open(), read(), pread(), write(), pwrite(), lseek(), ftruncate(), fstat(), fsync(), close(),
 *   access(), stat(), lstat(), truncate(), unlink(), remove(),
 *   mkdir(), fopen() and what uses the stream
 * All other calls and paths go to the system. Folders are made there as well, so that
 * they can be working folders.
 *
 * The descriptor is that of an empty memory file with the right size, so that
 * lseek() and fstat() need no help. A file of up to 256 MiB that is opened for reading and writing is
 * copied into it, and what was written goes back with fsync() and close(): programs that make files without
 * MPI do it alone, and some in pieces of a few bytes. The copy of the file that was closed last is used again
 * when it is opened next and nobody has changed it: some open a file again and again, to change little.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weft/weft.h"

#define DESCRIPTORS_MAX 4096
#define COPY_MAX ((uint64_t)256 << 20)
#define BLOCK 65536u /* what is copied back at least */

/* The system's own function of that name. */
#define SYSTEM(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static weft_session_t *session;
/* By descriptor. */
static struct seen_file {
    weft_file_t *file;
    bool is_copied;
    char *path;    /* of a copied one; in the cluster */
    bool *changed; /* of each block: whether the cluster has not seen what was written there */
    size_t blocks; /* that `changed` tells of */
} files[DESCRIPTORS_MAX];
/* The copy of the file that was closed last, and what the file was then. */
static struct kept_copy {
    int fd;
    struct weft_attr attr;
} kept = {.fd = -1};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The libraries below read files of theirs, perhaps by relative names, while they begin and while this
 * thread connects: those are none of the program's. */
static bool is_ready;
static _Thread_local bool connects;

__attribute__((constructor)) static void libraries_are_ready(void)
{
    is_ready = true;
}

static bool is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

static bool has_part(const char *path, const char *part)
{
    return part != NULL && part[0] != '\0' && strstr(path, part) != NULL;
}

/* The path in the cluster, or false for a path that is not ours. */
static bool seen_path(const char *path, char seen[PATH_MAX])
{
    const char *folder = getenv("POSIX_VIEW"), *part = getenv("POSIX_VIEW_PART");
    char working[PATH_MAX / 2];
    if (path == NULL || path[0] == '\0' || folder == NULL || folder[0] == '\0' || !is_ready || connects)
        return false;
    if (weft_path_match(path))
        snprintf(seen, PATH_MAX, "%s", path);
    else if (path[0] == '/' && is_below(path, folder))
        snprintf(seen, PATH_MAX, WEFT_PATH_PREFIX "%s", path);
    else if (path[0] != '/' && getcwd(working, sizeof working) != NULL && is_below(working, folder))
        snprintf(seen, PATH_MAX, WEFT_PATH_PREFIX "%s/%.1900s", working, path);
    else if (path[0] != '/' && has_part(path, part))
        snprintf(seen, PATH_MAX, WEFT_PATH_PREFIX "%s/%s", folder, path);
    else
        return false;
    return true;
}

/* 0, or -1 with errno, as the calls here return it. */
static int result_of(int error)
{
    if (error >= 0)
        return 0;
    errno = -error;
    return -1;
}

static int connect_once(void)
{
    int error = 0;
    pthread_mutex_lock(&lock);
    connects = true;
    if (session == NULL)
        error = weft_connect(NULL, &session);
    connects = false;
    pthread_mutex_unlock(&lock);
    return error;
}

static weft_file_t *file_of(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS_MAX ? files[fd].file : NULL;
}

/* 0 or a negative errno: that much of the cluster's file is copied into the memory file, or back. */
static int copy_part(int fd, weft_file_t *file, off_t offset, size_t length, bool back)
{
    int error = 0;
    if (length == 0)
        return 0;
    char *bytes = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
    if (bytes == MAP_FAILED)
        return -errno;
    for (size_t done = 0; error == 0 && done < length;) {
        ssize_t part = back ? weft_file_write(file, bytes + done, length - done, (uint64_t)offset + done)
                            : weft_file_read(file, bytes + done, length - done, (uint64_t)offset + done);
        if (part == 0)
            break;
        error = part < 0 ? (int)part : 0;
        done += part > 0 ? (size_t)part : 0;
    }
    munmap(bytes, length);
    return error;
}

/* Runs of changed blocks are written with a call each, and no further than the file goes. */
static int copy_back(int fd)
{
    struct seen_file *seen = &files[fd];
    struct stat now;
    if (!seen->is_copied)
        return 0;
    if (fstat(fd, &now) != 0)
        return -errno;
    size_t blocks = ((size_t)now.st_size + BLOCK - 1) / BLOCK;
    blocks = blocks < seen->blocks ? blocks : seen->blocks;
    for (size_t first = 0, end; first < blocks; first = end + 1) {
        for (end = first; end < blocks && seen->changed[end]; end++)
            ;
        size_t until = end * BLOCK < (size_t)now.st_size ? end * BLOCK : (size_t)now.st_size;
        int error = copy_part(fd, seen->file, (off_t)(first * BLOCK), until - first * BLOCK, true);
        if (error != 0)
            return error;
        memset(seen->changed + first, 0, end - first);
    }
    return 0;
}

/* 0 or a negative errno. */
static int has_changed(struct seen_file *seen, off_t offset, off_t end)
{
    size_t first = (size_t)offset / BLOCK, last = (size_t)(end - 1) / BLOCK;
    if (last >= seen->blocks) {
        bool *more = realloc(seen->changed, 2 * last + 1);
        if (more == NULL)
            return -ENOMEM;
        memset(more + seen->blocks, 0, 2 * last + 1 - seen->blocks);
        seen->changed = more;
        seen->blocks = 2 * last + 1;
    }
    memset(seen->changed + first, true, last - first + 1);
    return 0;
}

static bool is_unchanged(const struct weft_attr *a, const struct weft_attr *b)
{
    return a->ino == b->ino && a->size == b->size && a->mtime_ns == b->mtime_ns;
}

/* The descriptor of a memory file with the file's bytes, or a negative errno. */
static int copy_open(weft_file_t *file, uint64_t size, bool has_bytes)
{
    struct weft_attr now;
    if (has_bytes && kept.fd >= 0 && weft_file_stat(file, &now) == 0 && is_unchanged(&now, &kept.attr)) {
        int fd = kept.fd;
        kept.fd = -1;
        return lseek(fd, 0, SEEK_SET) == 0 ? fd : -errno;
    }
    int fd = memfd_create("weft", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int error = SYSTEM(ftruncate)(fd, (off_t)size) != 0 ? -errno : 0;
    if (error == 0 && has_bytes)
        error = copy_part(fd, file, 0, (size_t)size, false);
    if (error != 0)
        SYSTEM(close)(fd);
    return error != 0 ? error : fd;
}

static bool is_open(const char *path)
{
    for (size_t fd = 0; fd < DESCRIPTORS_MAX; fd++)
        if (files[fd].path != NULL && strcmp(files[fd].path, path) == 0)
            return true;
    return false;
}

/* Keeps the copy instead of closing it; the cluster has all that was written. One that is open twice may
 * have bytes by now which this copy lacks. */
static int copy_close(int fd, const char *path)
{
    struct weft_attr attr;
    if (is_open(path) || weft_stat(session, path, 0, &attr) != 0)
        return SYSTEM(close)(fd);
    if (kept.fd >= 0)
        SYSTEM(close)(kept.fd);
    kept = (struct kept_copy){.fd = fd, .attr = attr};
    return 0;
}

static int open_seen(const char *path, int flags, mode_t mode)
{
    weft_file_t *file;
    uint64_t size;
    if ((flags & O_APPEND) != 0)
        return result_of(-EINVAL); /* not needed so far */
    int error = connect_once();
    if (error == 0)
        error = weft_file_open(session, path, flags & (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC), mode, NULL,
                               &file);
    if (error != 0)
        return result_of(error);
    error = weft_file_size(file, &size);
    if (error != 0)
        goto close_file;
    bool is_copied = (flags & O_ACCMODE) == O_RDWR && size <= COPY_MAX;
    char *kept_path = is_copied ? strdup(path) : NULL;
    if (is_copied && kept_path == NULL) {
        error = -ENOMEM;
        goto close_file;
    }
    int fd = copy_open(file, size, is_copied);
    if (fd < 0 || fd >= DESCRIPTORS_MAX) {
        error = fd < 0 ? fd : -EMFILE;
        goto close_fd;
    }
    files[fd] = (struct seen_file){.file = file, .is_copied = is_copied, .path = kept_path};
    return fd;
close_fd:
    if (fd >= 0)
        SYSTEM(close)(fd);
    free(kept_path);
close_file:
    weft_file_close(file);
    return result_of(error);
}

#define OPEN(name)                                                                                           \
    int name(const char *path, int flags, ...)                                                               \
    {                                                                                                        \
        char seen[PATH_MAX];                                                                                 \
        mode_t mode = 0;                                                                                     \
        if ((flags & (O_CREAT | __O_TMPFILE)) != 0) {                                                        \
            va_list rest;                                                                                    \
            va_start(rest, flags);                                                                           \
            mode = va_arg(rest, mode_t);                                                                     \
            va_end(rest);                                                                                    \
        }                                                                                                    \
        if (seen_path(path, seen))                                                                           \
            return open_seen(seen, flags, mode);                                                             \
        return SYSTEM(name)(path, flags, mode);                                                              \
    }
OPEN(open)
OPEN(open64)

#define PREAD(name)                                                                                          \
    ssize_t name(int fd, void *buffer, size_t length, off_t offset)                                          \
    {                                                                                                        \
        weft_file_t *file = file_of(fd);                                                                     \
        if (file == NULL || files[fd].is_copied)                                                             \
            return SYSTEM(name)(fd, buffer, length, offset);                                                 \
        ssize_t result = weft_file_read(file, buffer, length, (uint64_t)offset);                             \
        return result >= 0 ? result : result_of((int)result);                                                \
    }
PREAD(pread)
PREAD(pread64)

ssize_t read(int fd, void *buffer, size_t length)
{
    if (file_of(fd) == NULL)
        return SYSTEM(read)(fd, buffer, length);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t result = pread(fd, buffer, length, offset);
    if (result > 0)
        lseek(fd, offset + result, SEEK_SET);
    return result;
}

#define PWRITE(name)                                                                                         \
    ssize_t name(int fd, const void *buffer, size_t length, off_t offset)                                    \
    {                                                                                                        \
        weft_file_t *file = file_of(fd);                                                                     \
        struct stat seen;                                                                                    \
        if (file == NULL)                                                                                    \
            return SYSTEM(name)(fd, buffer, length, offset);                                                 \
        if (files[fd].is_copied) {                                                                           \
            ssize_t written = SYSTEM(name)(fd, buffer, length, offset);                                      \
            int unseen = written > 0 ? has_changed(&files[fd], offset, offset + written) : 0;                \
            return unseen != 0 ? result_of(unseen) : written;                                                \
        }                                                                                                    \
        ssize_t result = weft_file_write(file, buffer, length, (uint64_t)offset);                            \
        if (result < 0)                                                                                      \
            return result_of((int)result);                                                                   \
        offset += result;                                                                                    \
        if (fstat(fd, &seen) == 0 && seen.st_size < offset && SYSTEM(ftruncate)(fd, offset) != 0)            \
            return -1;                                                                                       \
        return result;                                                                                       \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t write(int fd, const void *buffer, size_t length)
{
    if (file_of(fd) == NULL)
        return SYSTEM(write)(fd, buffer, length);
    off_t offset = lseek(fd, 0, SEEK_CUR);
    ssize_t result = pwrite(fd, buffer, length, offset);
    if (result > 0)
        lseek(fd, offset + result, SEEK_SET);
    return result;
}

#define FTRUNCATE(name)                                                                                      \
    int name(int fd, off_t size)                                                                             \
    {                                                                                                        \
        weft_file_t *file = file_of(fd);                                                                     \
        int error = file == NULL ? 0 : copy_back(fd);                                                        \
        if (file != NULL && error == 0)                                                                      \
            error = weft_file_truncate(file, (uint64_t)size);                                                \
        return error != 0 ? result_of(error) : SYSTEM(name)(fd, size);                                       \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)

int fsync(int fd)
{
    weft_file_t *file = file_of(fd);
    if (file == NULL)
        return SYSTEM(fsync)(fd);
    int error = copy_back(fd);
    return result_of(error != 0 ? error : weft_file_sync(file));
}

int close(int fd)
{
    if (file_of(fd) == NULL)
        return SYSTEM(close)(fd);
    int error = copy_back(fd);
    struct seen_file seen = files[fd];
    files[fd] = (struct seen_file){0};
    int closed = weft_file_close(seen.file);
    error = error != 0 ? error : closed;
    closed = seen.is_copied && error == 0 ? copy_close(fd, seen.path) : SYSTEM(close)(fd);
    free(seen.path);
    free(seen.changed);
    return error != 0 ? result_of(error) : closed;
}

int access(const char *path, int mode)
{
    char seen[PATH_MAX];
    if (!seen_path(path, seen))
        return SYSTEM(access)(path, mode);
    int error = connect_once();
    return result_of(error != 0 ? error : weft_access(session, seen, mode));
}

#define TRUNCATE(name)                                                                                       \
    int name(const char *path, off_t size)                                                                   \
    {                                                                                                        \
        char seen[PATH_MAX];                                                                                 \
        if (!seen_path(path, seen))                                                                          \
            return SYSTEM(name)(path, size);                                                                 \
        int error = connect_once();                                                                          \
        return result_of(error != 0 ? error : weft_truncate(session, seen, (uint64_t)size));                 \
    }
TRUNCATE(truncate)
TRUNCATE(truncate64)

int unlink(const char *path)
{
    char seen[PATH_MAX];
    if (!seen_path(path, seen))
        return SYSTEM(unlink)(path);
    int error = connect_once();
    return result_of(error != 0 ? error : weft_unlink(session, seen));
}

/* Where a local folder is to be in the cluster as well: files with and without the part will be in it. */
static bool has_twin(const char *path, char seen[PATH_MAX])
{
    const char *folder = getenv("POSIX_VIEW");
    if (folder == NULL || getenv("POSIX_VIEW_PART") == NULL || path[0] == '/' || weft_path_match(path))
        return false;
    snprintf(seen, PATH_MAX, WEFT_PATH_PREFIX "%s/%s", folder, path);
    return true;
}

int mkdir(const char *path, mode_t mode)
{
    char seen[PATH_MAX];
    bool is_seen = seen_path(path, seen);
    if (!is_seen && !has_twin(path, seen))
        return SYSTEM(mkdir)(path, mode);
    int error = connect_once();
    error = error != 0 ? error : weft_mkdir(session, seen, mode);
    int local = SYSTEM(mkdir)(path, mode);
    return is_seen ? result_of(error) : local;
}

int remove(const char *path)
{
    char seen[PATH_MAX];
    return seen_path(path, seen) ? unlink(path) : SYSTEM(remove)(path);
}

/* No symbolic links are made here. */
#define STAT(name)                                                                                           \
    int name(const char *path, struct stat *out)                                                             \
    {                                                                                                        \
        char seen[PATH_MAX];                                                                                 \
        if (!seen_path(path, seen))                                                                          \
            return SYSTEM(name)(path, out);                                                                  \
        int fd = open_seen(seen, O_RDONLY, 0);                                                               \
        if (fd < 0)                                                                                          \
            return -1;                                                                                       \
        int result = fstat(fd, out);                                                                         \
        close(fd);                                                                                           \
        return result;                                                                                       \
    }
STAT(stat)
STAT(lstat)

/* ---- streams ---------------------------------------------------------- */

struct stream {
    weft_file_t *file;
    off64_t position;
};

static ssize_t stream_read(void *cookie, char *buffer, size_t length)
{
    struct stream *stream = cookie;
    ssize_t result = weft_file_read(stream->file, buffer, length, (uint64_t)stream->position);
    if (result < 0)
        return result_of((int)result);
    stream->position += result;
    return result;
}

static ssize_t stream_write(void *cookie, const char *buffer, size_t length)
{
    struct stream *stream = cookie;
    ssize_t result = weft_file_write(stream->file, buffer, length, (uint64_t)stream->position);
    if (result < 0)
        return result_of((int)result), 0; /* 0 is how it tells of an error */
    stream->position += result;
    return result;
}

static int stream_seek(void *cookie, off64_t *offset, int whence)
{
    struct stream *stream = cookie;
    uint64_t size = 0;
    int error = whence == SEEK_END ? weft_file_size(stream->file, &size) : 0;
    if (error != 0)
        return result_of(error);
    off64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? stream->position : (off64_t)size;
    if (base + *offset < 0)
        return result_of(-EINVAL);
    stream->position = *offset += base;
    return 0;
}

static int stream_close(void *cookie)
{
    struct stream *stream = cookie;
    int error = weft_file_close(stream->file);
    free(stream);
    return result_of(error);
}

static FILE *stream_open(const char *path, const char *mode)
{
    static const cookie_io_functions_t functions = {
        .read = stream_read, .write = stream_write, .seek = stream_seek, .close = stream_close};
    bool is_updated = strchr(mode, '+') != NULL;
    int flags = mode[0] == 'r' ? (is_updated ? O_RDWR : O_RDONLY) : O_RDWR | O_CREAT;
    if (mode[0] == 'w')
        flags |= O_TRUNC;
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return NULL;
    uint64_t size = 0;
    int error = connect_once();
    if (error == 0)
        error = weft_file_open(session, path, flags, 0666, NULL, &stream->file);
    if (error == 0 && mode[0] == 'a' && (error = weft_file_size(stream->file, &size)) != 0)
        weft_file_close(stream->file);
    if (error != 0) {
        free(stream);
        errno = -error;
        return NULL;
    }
    stream->position = (off64_t)size;
    return fopencookie(stream, mode, functions);
}

#define FOPEN(name)                                                                                          \
    FILE *name(const char *path, const char *mode)                                                           \
    {                                                                                                        \
        char seen[PATH_MAX];                                                                                 \
        return seen_path(path, seen) ? stream_open(seen, mode) : SYSTEM(name)(path, mode);                   \
    }
FOPEN(fopen)
FOPEN(fopen64)
