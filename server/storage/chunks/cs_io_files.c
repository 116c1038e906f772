/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cs_mapping.h"
#include "cs_way.h"
#include "err.h"
#include "storage/iov.h"

struct files_io {
    struct cs_io io; /* first */
    int fd[CS_FILES];
    struct cs_mapping mappings[CS_FILES];
    /* Of a log: it may have space that was not asked for its mapping yet. */
    atomic_bool may_be_longer[CS_FILES];
    bool in_memory;
    struct cs_way way;
    char name[256];
};

static struct files_io *files_of(struct cs_io *io)
{
    return (struct files_io *)io;
}

static int failed(const struct files_io *files, enum cs_file file, int error, const char *what)
{
    return err_set(error, "%s/%s: %s: %s", files->name, cs_file_name(file), what, err_name(error));
}

static int files_read(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count,
                      bool nowait)
{
    struct files_io *files = files_of(io);
    struct cs_call call = {offset, iov, (size_t)iov_count};
    if (files->in_memory && cs_mapping_read(&files->mappings[file], offset, iov, iov_count))
        return 0;
    int error = cs_way_read(&files->way, files->fd[file], file, &call, nowait);
    if (error == -ENODATA)
        return err_set(error, "%s/%s ends before offset %" PRIu64, files->name, cs_file_name(file),
                       call.offset);
    return error && !(error == -EAGAIN && nowait) ? failed(files, file, error, "read") : error;
}

/* True when it is done. */
static bool write_mapped(struct files_io *files, enum cs_file file, uint64_t offset, const struct iovec *iov,
                         int iov_count)
{
    struct cs_mapping *mapping = &files->mappings[file];
    if (file == CS_LOG || file == CS_LOG_OTHER) {
        if (atomic_load_explicit(&files->may_be_longer[file], memory_order_relaxed) &&
            atomic_exchange(&files->may_be_longer[file], false))
            cs_mapping_cover(mapping);
        return cs_mapping_write(mapping, offset, iov, iov_count);
    }
    return files->in_memory && cs_mapping_is_written(mapping, offset, iov_length(iov, (size_t)iov_count)) &&
           cs_mapping_write(mapping, offset, iov, iov_count);
}

static int files_write(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count)
{
    struct files_io *files = files_of(io);
    const size_t length = iov_length(iov, (size_t)iov_count);
    struct cs_call call = {offset, iov, (size_t)iov_count};
    if (write_mapped(files, file, offset, iov, iov_count))
        return 0;
    int error = cs_way_write(&files->way, files->fd[file], file, &call);
    if (error)
        return failed(files, file, error, "write");
    if (files->in_memory)
        cs_mapping_written(&files->mappings[file], offset, length);
    return 0;
}

static bool files_write_waits(struct cs_io *io, size_t length)
{
    return !files_of(io)->in_memory && cs_way_write_waits(&files_of(io)->way, length);
}

static int files_direct(struct cs_io *io)
{
    struct files_io *files = files_of(io);
    return files->in_memory ? err_set(-ENOTSUP, "%s: the file system is in memory", files->name)
                            : cs_direct_open(files->fd[CS_DATA], files->name, &files->way.direct);
}

static int files_flush(struct cs_io *io, enum cs_file file)
{
    struct files_io *files = files_of(io);
    const int error = cs_way_flush(&files->way, files->fd[file]);
    return error ? failed(files, file, error, "flush") : 0;
}

/* ext4 takes all that there is before it says that there is not enough, and everyone else has none while
 * it does. */
static bool is_too_much(int fd, uint64_t size)
{
    struct stat file;
    struct statvfs system;
    return !fstat(fd, &file) && !fstatvfs(fd, &system) && size > (uint64_t)file.st_size &&
           (size - (uint64_t)file.st_size) / system.f_frsize > system.f_bfree;
}

static int files_grow(struct cs_io *io, enum cs_file file, uint64_t size)
{
    struct files_io *files = files_of(io);
    int result;
    if (is_too_much(files->fd[file], size))
        return failed(files, file, -ENOSPC, "allocate space");
    do {
        result = fallocate(files->fd[file], 0, 0, (off_t)size);
    } while (result && errno == EINTR);
    if (result && errno == EOPNOTSUPP)
        result = ftruncate(files->fd[file], (off_t)size);
    atomic_store(&files->may_be_longer[file], true);
    if (!result && files->in_memory)
        cs_mapping_cover(&files->mappings[file]);
    return result ? failed(files, file, -errno, "allocate space") : 0;
}

/* Of a file in memory that is mapped a read of what has no space would take some, which ends the process when
 * there is none. */
static int files_discard(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length)
{
    struct files_io *files = files_of(io);
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int result;
    if (files->in_memory)
        return failed(files, file, -EOPNOTSUPP, "give space back");
    do {
        result = fallocate(files->fd[file], mode, (off_t)offset, (off_t)length);
    } while (result && errno == EINTR);
    return result ? failed(files, file, -errno, "give space back") : 0;
}

static bool files_punches(struct cs_io *io)
{
    return !files_of(io)->in_memory;
}

static int files_fill(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length)
{
    struct files_io *files = files_of(io);
    int result;
    do {
        result = fallocate(files->fd[file], 0, (off_t)offset, (off_t)length);
    } while (result && errno == EINTR);
    return result && errno != EOPNOTSUPP ? failed(files, file, -errno, "allocate space") : 0;
}

static bool files_has_holes(struct cs_io *io, enum cs_file file)
{
    struct files_io *files = files_of(io);
    struct stat stat;
    return !files->in_memory && fstat(files->fd[file], &stat) == 0 &&
           stat.st_blocks * UINT64_C(512) < (uint64_t)stat.st_size;
}

static int files_size(struct cs_io *io, enum cs_file file, uint64_t *size)
{
    struct files_io *files = files_of(io);
    struct stat stat;
    if (fstat(files->fd[file], &stat))
        return failed(files, file, -errno, "look at");
    *size = (uint64_t)stat.st_size;
    return 0;
}

static void files_close(struct cs_io *io)
{
    struct files_io *files = files_of(io);
    cs_way_close(&files->way);
    for (int file = 0; file < CS_FILES; file++) {
        cs_mapping_close(&files->mappings[file]);
        if (files->fd[file] >= 0)
            close(files->fd[file]);
    }
    free(files);
}

static int files_watch(struct cs_io *io, int event_fd)
{
    struct files_io *files = files_of(io);
    if (files->in_memory)
        return err_set(-ENOTSUP, "%s is in memory", files->name);
    return cs_way_watch(&files->way, files->fd[CS_DATA], event_fd);
}

static int files_begin(struct cs_io *io, struct cs_batch *batch)
{
    return cs_way_begin(&files_of(io)->way, batch);
}

static struct cs_batch *files_ended(struct cs_io *io)
{
    return cs_way_ended(&files_of(io)->way);
}

static const struct cs_io_type files_type = {
    .read = files_read,
    .write = files_write,
    .write_waits = files_write_waits,
    .flush = files_flush,
    .grow = files_grow,
    .size = files_size,
    .close = files_close,
    .direct = files_direct,
    .discard = files_discard,
    .punches = files_punches,
    .fill = files_fill,
    .has_holes = files_has_holes,
    .watch = files_watch,
    .begin = files_begin,
    .ended = files_ended,
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
    cs_way_open(&files->way);
    files->in_memory = cs_mapping_in_memory(dir_fd);
    for (int file = 0; file < CS_FILES && !error; file++) {
        files->fd[file] =
            openat(dir_fd, cs_file_name(file), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
        if (files->fd[file] < 0)
            error = failed(files, (enum cs_file)file, -errno, "open");
        cs_mapping_open(&files->mappings[file], files->fd[file]);
        atomic_init(&files->may_be_longer[file], true);
        if (!error && files->in_memory)
            cs_mapping_cover(&files->mappings[file]);
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
