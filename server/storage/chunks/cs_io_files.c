/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "storage/iov.h"

static const char *const file_names[CS_FILES] = {
    [CS_DATA] = "data", [CS_META] = "meta", [CS_LOG] = "log-0", [CS_LOG_OTHER] = "log-1"};

/* A log gets many small writes, and the page cache is all that they need to reach. */
struct mapping {
    uint8_t *bytes;
    uint64_t length;
    bool refused; /* it is written by calls then */
};

struct files_io {
    struct cs_io io; /* first */
    int fd[CS_FILES];
    struct mapping mappings[CS_FILES];
    char name[256];
};

static struct files_io *files_of(struct cs_io *io)
{
    return (struct files_io *)io;
}

static int failed(const struct files_io *files, enum cs_file file, const char *what)
{
    return err_sys("%s/%s: %s", files->name, file_names[file], what);
}

static int files_read(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count,
                      bool nowait)
{
    struct files_io *files = files_of(io);
    int flags = nowait ? RWF_NOWAIT : 0;
    size_t left = (size_t)iov_count;
    while (left > 0) {
        int pieces = left < IOV_MAX ? (int)left : IOV_MAX;
        ssize_t count = preadv2(files->fd[file], iov, pieces, (off_t)offset, flags);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EOPNOTSUPP && flags) {
            /* A file system that can't tell is one in memory, or we have no choice. */
            flags = 0;
            continue;
        }
        if (count < 0)
            return errno == EAGAIN && nowait ? -EAGAIN : failed(files, file, "read");
        if (count == 0)
            return err_set(-ENODATA, "%s/%s ends before offset %" PRIu64, files->name, file_names[file],
                           offset);
        offset += (uint64_t)count;
        iov_skip(&iov, &left, (size_t)count);
    }
    return 0;
}

static void unmap(struct mapping *mapping)
{
    if (mapping->bytes)
        munmap(mapping->bytes, mapping->length);
    mapping->bytes = NULL;
}

/* All of the file, with space behind every byte: else a full disk would end the process (SIGBUS). */
static void map(struct files_io *files, enum cs_file file)
{
    struct mapping *mapping = &files->mappings[file];
    struct stat stat;
    unmap(mapping);
    mapping->refused = true;
    if (fstat(files->fd[file], &stat) || stat.st_size == 0 ||
        fallocate(files->fd[file], 0, 0, stat.st_size))
        return;
    void *bytes =
        mmap(NULL, (size_t)stat.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, files->fd[file], 0);
    if (bytes == MAP_FAILED)
        return;
    *mapping = (struct mapping){.bytes = bytes, .length = (uint64_t)stat.st_size};
}

/* False when it must be done by calls. */
static bool write_mapped(struct files_io *files, enum cs_file file, uint64_t offset, const struct iovec *iov,
                         int iov_count)
{
    struct mapping *mapping = &files->mappings[file];
    uint64_t end = offset;
    for (int i = 0; i < iov_count; i++)
        end += iov[i].iov_len;
    if (end > mapping->length && !mapping->refused)
        map(files, file);
    if (!mapping->bytes || end > mapping->length)
        return false;
    for (int i = 0; i < iov_count; i++) {
        if (iov[i].iov_len)
            memcpy(mapping->bytes + offset, iov[i].iov_base, iov[i].iov_len);
        offset += iov[i].iov_len;
    }
    return true;
}

static int files_write(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count)
{
    struct files_io *files = files_of(io);
    size_t left = (size_t)iov_count;
    if ((file == CS_LOG || file == CS_LOG_OTHER) && write_mapped(files, file, offset, iov, iov_count))
        return 0;
    while (left > 0) {
        int pieces = left < IOV_MAX ? (int)left : IOV_MAX;
        ssize_t count = pwritev(files->fd[file], iov, pieces, (off_t)offset);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            errno = count ? errno : ENOSPC;
            return failed(files, file, "write");
        }
        offset += (uint64_t)count;
        iov_skip(&iov, &left, (size_t)count);
    }
    return 0;
}

static int files_flush(struct cs_io *io, enum cs_file file)
{
    struct files_io *files = files_of(io);
    return fdatasync(files->fd[file]) ? failed(files, file, "flush") : 0;
}

static int files_grow(struct cs_io *io, enum cs_file file, uint64_t size)
{
    struct files_io *files = files_of(io);
    int result;
    do {
        result = fallocate(files->fd[file], 0, 0, (off_t)size);
    } while (result && errno == EINTR);
    if (result && errno == EOPNOTSUPP)
        result = ftruncate(files->fd[file], (off_t)size);
    return result ? failed(files, file, "allocate space") : 0;
}

static int files_size(struct cs_io *io, enum cs_file file, uint64_t *size)
{
    struct files_io *files = files_of(io);
    struct stat stat;
    if (fstat(files->fd[file], &stat))
        return failed(files, file, "look at");
    *size = (uint64_t)stat.st_size;
    return 0;
}

static void files_close(struct cs_io *io)
{
    struct files_io *files = files_of(io);
    for (int file = 0; file < CS_FILES; file++) {
        unmap(&files->mappings[file]);
        if (files->fd[file] >= 0)
            close(files->fd[file]);
    }
    free(files);
}

static const struct cs_io_type files_type = {
    .read = files_read,
    .write = files_write,
    .flush = files_flush,
    .grow = files_grow,
    .size = files_size,
    .close = files_close,
};

int cs_io_files_open(int dir_fd, const char *name, bool create, struct cs_io **io)
{
    int error = 0;
    struct files_io *files = calloc(1, sizeof *files);
    if (!files)
        return err_set(-ENOMEM, "no memory for a store's files");
    files->io.type = &files_type;
    snprintf(files->name, sizeof files->name, "%s", name);
    for (int file = 0; file < CS_FILES; file++)
        files->fd[file] = -1;
    for (int file = 0; file < CS_FILES && !error; file++) {
        files->fd[file] = openat(dir_fd, file_names[file], O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
        if (files->fd[file] < 0)
            error = failed(files, (enum cs_file)file, "open");
    }
    if (!error && create && fsync(dir_fd))
        error = err_sys("%s: flush the directory", name);
    if (error) {
        files_close(&files->io);
        return error;
    }
    *io = &files->io;
    return 0;
}
