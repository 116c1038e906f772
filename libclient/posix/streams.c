/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of stdio. libc's own call the kernel from inside, where nothing can come in between; so a
 * stream on one of our descriptors is made by fopencookie(), and calls read() and write() of io.c.
 *
 * A program whose standard output was redirected to a file of ours has a FILE that it never opened.
 * stdin, stdout and stderr are variables, though: while 0, 1 or 2 is ours they point to
 * streams of this kind.
 */
#include "px.h"

#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>

/* What the stream is about; also the list that fileno() looks into. */
struct cookie {
    int fd;
    bool is_standard; /* its descriptor is not closed with it */
    FILE *stream;
    struct cookie *next;
};

static struct cookie *cookies;
static atomic_uint cookie_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- a stream ------------------------------------------------------------------------------- */

static ssize_t cookie_read(void *arg, char *buffer, size_t size)
{
    const struct cookie *cookie = arg;
    return read(cookie->fd, buffer, size);
}

static ssize_t cookie_write(void *arg, const char *buffer, size_t size)
{
    const struct cookie *cookie = arg;
    ssize_t result = write(cookie->fd, buffer, size);
    return result < 0 ? 0 : result; /* that is how it tells of an error */
}

static int cookie_seek(void *arg, off64_t *offset, int whence)
{
    const struct cookie *cookie = arg;
    off64_t result = lseek64(cookie->fd, *offset, whence);
    if (result < 0)
        return -1;
    *offset = result;
    return 0;
}

static int cookie_close(void *arg)
{
    struct cookie *cookie = arg;
    pthread_mutex_lock(&lock);
    for (struct cookie **at = &cookies; *at; at = &(*at)->next)
        if (*at == cookie) {
            *at = cookie->next;
            break;
        }
    atomic_fetch_sub(&cookie_count, 1);
    pthread_mutex_unlock(&lock);
    int result = close(cookie->fd);
    free(cookie);
    return result;
}

static FILE *stream_new(int fd, const char *mode)
{
    static const cookie_io_functions_t functions = {cookie_read, cookie_write, cookie_seek, cookie_close};
    struct cookie *cookie = calloc(1, sizeof *cookie);
    FILE *stream = cookie ? fopencookie(cookie, mode, functions) : NULL;
    if (!stream) {
        free(cookie);
        return NULL;
    }
    cookie->fd = fd;
    cookie->stream = stream;
    pthread_mutex_lock(&lock);
    cookie->next = cookies;
    cookies = cookie;
    atomic_fetch_add(&cookie_count, 1);
    pthread_mutex_unlock(&lock);
    return stream;
}

/* -1: the stream is libc's. */
static int fd_of(FILE *stream)
{
    int fd = -1;
    if (atomic_load(&cookie_count) == 0)
        return -1;
    pthread_mutex_lock(&lock);
    for (struct cookie *cookie = cookies; cookie && fd < 0; cookie = cookie->next)
        if (cookie->stream == stream)
            fd = cookie->fd;
    pthread_mutex_unlock(&lock);
    return fd;
}

/* ---- opening -------------------------------------------------------------------------------- */

/* The flags of open() for a mode of fopen(); -1 when it is none. */
static int flags_of(const char *mode)
{
    bool is_updated = strchr(mode, '+') != NULL;
    int access = is_updated ? O_RDWR : mode[0] == 'r' ? O_RDONLY : O_WRONLY;
    int flags = mode[0] == 'r'   ? 0
                : mode[0] == 'w' ? O_CREAT | O_TRUNC
                : mode[0] == 'a' ? O_CREAT | O_APPEND
                                 : -1;
    if (flags < 0)
        return -1;
    flags |= strchr(mode, 'x') ? O_EXCL : 0;
    flags |= strchr(mode, 'e') ? O_CLOEXEC : 0;
    return flags | access;
}

/* A file on a mount, past the kernel; NULL: libc is to open it. */
static FILE *stream_open_mounted(const char *path, const char *mode)
{
    int flags = px_is_inside() ? -1 : flags_of(mode);
    int fd = flags < 0 ? -1 : px_mounted_open(AT_FDCWD, path, flags, 0666);
    FILE *stream = fd < 0 ? NULL : stream_new(fd, mode);
    if (fd >= 0 && !stream)
        px_close(fd);
    return stream;
}

static FILE *stream_open(const struct px_place *place, const char *mode)
{
    int flags = flags_of(mode);
    int fd = (int)px_return(flags < 0 ? -EINVAL : px_open(place, flags, 0666));
    if (fd < 0)
        return NULL;
    FILE *stream = stream_new(fd, mode);
    if (!stream)
        px_close(fd);
    return stream;
}

#define FOPEN(name)                                                            \
    PX_EXPORT FILE *name(const char *restrict path, const char *restrict mode) \
    {                                                                          \
        struct px_place place;                                                 \
        if (!px_find(AT_FDCWD, path, &place)) {                                \
            FILE *stream = stream_open_mounted(place.local, mode);             \
            if (!stream)                                                       \
                return PX_NEXT(name)(place.local, mode);                       \
            PX_COUNT(name);                                                    \
            return stream;                                                     \
        }                                                                      \
        PX_COUNT(name);                                                        \
        return stream_open(&place, mode);                                      \
    }
FOPEN(fopen)
FOPEN(fopen64)

PX_EXPORT FILE *fdopen(int fd, const char *mode)
{
    struct px_desc *desc = px_is_inside() ? NULL : px_desc_get(fd);
    if (!desc)
        return PX_NEXT(fdopen)(fd, mode);
    PX_COUNT(fdopen);
    int flags = flags_of(mode), access = desc->flags & O_ACCMODE;
    bool may = flags >= 0 && (access == O_RDWR || access == (flags & O_ACCMODE));
    if (may && (flags & O_APPEND))
        desc->flags |= O_APPEND;
    px_desc_put(desc);
    if (!may) {
        errno = EINVAL;
        return NULL;
    }
    return stream_new(fd, mode);
}

#define FILENO(name)                                 \
    PX_EXPORT int name(FILE *stream)                 \
    {                                                \
        int fd = fd_of(stream);                      \
        return fd >= 0 ? fd : PX_NEXT(name)(stream); \
    }
FILENO(fileno)
FILENO(fileno_unlocked)

/* ---- stdin, stdout and stderr ----------------------------------------------------------------- */

static FILE **variable_of(int fd)
{
    return fd == 0 ? &stdin : fd == 1 ? &stdout : &stderr;
}

/* libc's own, and ours; made when first needed, and never given back. */
static FILE *own[3], *standard[3];
static bool is_parents; /* what is in the buffers was written before the fork */

static FILE *standard_of(int fd)
{
    if (!standard[fd]) {
        standard[fd] = stream_new(fd, fd == 0 ? "r" : "w");
        if (standard[fd] && fd == 2)
            setvbuf(standard[fd], NULL, _IONBF, 0);
    }
    return standard[fd];
}

void px_streams_follow(int fd)
{
    FILE **variable = variable_of(fd);
    bool is_ours = px_table_has(fd), is_followed = standard[fd] && *variable == standard[fd];
    if (is_ours && !is_followed && standard_of(fd)) {
        own[fd] = *variable;
        *variable = standard[fd];
    } else if (!is_ours && is_followed) {
        *variable = own[fd];
    } else if (is_ours && is_followed && fd == 0) {
        __fpurge(standard[0]); /* another file: what was read ahead is not its */
        clearerr(standard[0]);
    }
}

void px_streams_leave(int fd)
{
    if (!standard[fd] || *variable_of(fd) != standard[fd])
        return;
    if (fd == 0 || is_parents)
        __fpurge(standard[fd]);
    else
        fflush(standard[fd]);
}

void px_streams_forget(void)
{
    is_parents = true;
    pthread_mutex_init(&lock, NULL);
}

/* ---- another file for a stream ------------------------------------------------------------------ */

static FILE *reopen_standard(const struct px_place *place, const char *mode, int number)
{
    int flags = flags_of(mode);
    int fd = (int)px_return(flags < 0 ? -EINVAL : px_open(place, flags, 0666));
    if (fd < 0)
        return NULL;
    if (fd != number) {
        int result = dup2(fd, number);
        px_close(fd);
        if (result < 0)
            return NULL;
    }
    return *variable_of(number);
}

/* A stream of libc's can't become one of ours in its place; but who calls this for a standard one has it in
 * a variable, and others take what is returned. */
#define FREOPEN(name)                                                                                 \
    PX_EXPORT FILE *name(const char *restrict path, const char *restrict mode, FILE *restrict stream) \
    {                                                                                                 \
        struct px_place place;                                                                        \
        if (!path || !px_find(AT_FDCWD, path, &place))                                                \
            return PX_NEXT(name)(path ? place.local : path, mode, stream);                            \
        PX_COUNT(name);                                                                               \
        fflush(stream);                                                                               \
        for (int number = 0; number < 3; number++)                                                    \
            if (stream == *variable_of(number))                                                       \
                return reopen_standard(&place, mode, number);                                         \
        fclose(stream);                                                                               \
        return stream_open(&place, mode);                                                             \
    }
FREOPEN(freopen)
FREOPEN(freopen64)
