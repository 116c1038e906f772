/* SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "recorder.h"

enum { FILES_MAX = 1024, DESCRIPTORS = 1024 };

struct recorder recorder;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static ino_t file_inodes[FILES_MAX];
static unsigned file_count;
static unsigned dir_of_descriptor[DESCRIPTORS];

unsigned recorder_now(void)
{
    pthread_mutex_lock(&lock);
    unsigned count = recorder.count;
    pthread_mutex_unlock(&lock);
    return count;
}

void recorder_reset(void)
{
    for (unsigned i = 0; i < recorder.count; i++)
        free(recorder.events[i].data);
    memset(recorder.events, 0, sizeof recorder.events);
    recorder.count = file_count = 0;
}

static void record(struct event event)
{
    pthread_mutex_lock(&lock);
    if (recorder.count == EVENTS_MAX)
        abort();
    recorder.events[recorder.count++] = event;
    pthread_mutex_unlock(&lock);
}

static ino_t inode_of(int fd)
{
    struct stat stat;
    if (fstat(fd, &stat))
        abort();
    return stat.st_ino;
}

/* The latest file with that inode: the numbers are used again. */
static unsigned file_of(int fd)
{
    ino_t inode = inode_of(fd);
    pthread_mutex_lock(&lock);
    unsigned i = file_count;
    while (i > 0 && file_inodes[i - 1] != inode)
        i--;
    pthread_mutex_unlock(&lock);
    if (i == 0)
        abort();
    return i - 1;
}

static unsigned file_new(int fd)
{
    ino_t inode = inode_of(fd);
    pthread_mutex_lock(&lock);
    if (file_count == FILES_MAX)
        abort();
    file_inodes[file_count] = inode;
    unsigned file = file_count++;
    pthread_mutex_unlock(&lock);
    return file;
}

static unsigned dir_of(const char *name)
{
    return (unsigned)strtoul(name, NULL, 16);
}

#define REAL(name)                 \
    static __typeof__(&name) real; \
    if (!real)                     \
    *(void **)&real = dlsym(RTLD_NEXT, #name)

int openat(int at, const char *name, int flags, ...)
{
    REAL(openat);
    va_list list;
    va_start(list, flags);
    mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
    va_end(list);
    bool exists = recorder.on && faccessat(at, name, F_OK, 0) == 0;
    int fd = real(at, name, flags, mode);
    if (!recorder.on || fd < 0)
        return fd;
    if (flags & O_DIRECTORY && fd < DESCRIPTORS)
        dir_of_descriptor[fd] = dir_of(name);
    if (flags & O_CREAT && !exists) {
        struct event event = {.kind = CREATE, .file = file_new(fd), .dir = dir_of(name)};
        snprintf(event.name, sizeof event.name, "%s", name);
        record(event);
    }
    return fd;
}

static void record_write(int fd, const struct iovec *iov, off_t offset, size_t written)
{
    struct event event = {.kind = WRITE, .file = file_of(fd), .offset = offset, .length = written};
    event.data = malloc(written);
    if (!event.data)
        abort();
    for (size_t done = 0, part; done < written; done += part, iov++) {
        part = iov->iov_len < written - done ? iov->iov_len : written - done;
        memcpy(event.data + done, iov->iov_base, part);
    }
    record(event);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    REAL(pwrite);
    ssize_t written = real(fd, data, length, offset);
    if (recorder.on && written > 0)
        record_write(fd, &(struct iovec){(void *)data, length}, offset, (size_t)written);
    return written;
}

ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    REAL(pwritev);
    ssize_t written = real(fd, iov, count, offset);
    if (recorder.on && written > 0)
        record_write(fd, iov, offset, (size_t)written);
    return written;
}

int ftruncate(int fd, off_t length)
{
    REAL(ftruncate);
    int result = real(fd, length);
    if (recorder.on && !result)
        record((struct event){.kind = CUT, .file = file_of(fd), .offset = length});
    return result;
}

int renameat(int from_at, const char *from, int to_at, const char *to)
{
    REAL(renameat);
    int result = real(from_at, from, to_at, to);
    if (recorder.on && !result) {
        struct event event = {.kind = RENAME, .dir = dir_of(from)};
        snprintf(event.name, sizeof event.name, "%s", from);
        snprintf(event.to, sizeof event.to, "%s", to);
        record(event);
    }
    return result;
}

int unlinkat(int at, const char *name, int flags)
{
    REAL(unlinkat);
    int result = real(at, name, flags);
    if (recorder.on && !result) {
        struct event event = {.kind = UNLINK, .dir = dir_of(name)};
        snprintf(event.name, sizeof event.name, "%s", name);
        record(event);
    }
    return result;
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    struct event event = {.kind = FLUSH_FILE, .covers = recorder_now()};
    if (recorder.on)
        event.file = file_of(fd);
    int result = recorder.skips_flushes ? 0 : real(fd);
    if (recorder.on && !result)
        record(event);
    return result;
}

int fsync(int fd)
{
    REAL(fsync);
    struct event event = {.kind = FLUSH_DIR, .covers = recorder_now()};
    int result = recorder.skips_flushes ? 0 : real(fd);
    if (recorder.on && !result && fd < DESCRIPTORS) {
        event.dir = dir_of_descriptor[fd];
        record(event);
    }
    return result;
}
