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
#include <unistd.h>

#include "cs_direct.h"
#include "cs_mapping.h"
#include "cs_ring.h"
#include "err.h"
#include "storage/iov.h"

static const char *const file_names[CS_FILES] = {
    [CS_DATA] = "data", [CS_META] = "meta", [CS_LOG] = "log-0", [CS_LOG_OTHER] = "log-1"};

struct files_io {
    struct cs_io io; /* first */
    int fd[CS_FILES];
    struct cs_mapping mappings[CS_FILES];
    /* Of a log: it may have space that was not asked for its mapping yet. */
    atomic_bool may_be_longer[CS_FILES];
    bool in_memory;
    struct cs_direct direct; /* of `data`; fd -1: it goes by the page cache */
    struct cs_ring *ring;    /* NULL: none */
    /* The file system can't tell whether it would have to wait, as those in memory. */
    atomic_bool nowait_refused;
    char name[256];
};

static struct files_io *files_of(struct cs_io *io)
{
    return (struct files_io *)io;
}

static int failed(const struct files_io *files, enum cs_file file, int error, const char *what)
{
    return err_set(error, "%s/%s: %s: %s", files->name, file_names[file], what, err_name(error));
}

static int files_read(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count,
                      bool nowait)
{
    struct files_io *files = files_of(io);
    const bool may_refuse = nowait && !atomic_load_explicit(&files->nowait_refused, memory_order_relaxed);
    struct cs_call call = {offset, iov, (size_t)iov_count};
    if (files->in_memory && cs_mapping_read(&files->mappings[file], offset, iov, iov_count))
        return 0;
    const bool direct = file == CS_DATA && files->direct.fd >= 0;
    if (direct && nowait)
        return -EAGAIN;
    int error = direct ? cs_direct_read(&files->direct, &call)
                       : cs_calls_read(files->fd[file], &call, may_refuse ? RWF_NOWAIT : 0);
    if (error == -EOPNOTSUPP && may_refuse) {
        /* It is asked once: a call that only fails costs a tenth of a read of 47,008 bytes. */
        atomic_store_explicit(&files->nowait_refused, true, memory_order_relaxed);
        error = cs_calls_read(files->fd[file], &call, 0);
    }
    if (error == -ENODATA)
        return err_set(error, "%s/%s ends before offset %" PRIu64, files->name, file_names[file],
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
    int error = file == CS_DATA && files->direct.fd >= 0 ? cs_direct_write(&files->direct, &call)
                                                         : cs_calls_write(files->fd[file], &call);
    if (error)
        return failed(files, file, error, "write");
    if (files->in_memory)
        cs_mapping_written(&files->mappings[file], offset, length);
    return 0;
}

static bool files_write_waits(struct cs_io *io)
{
    return files_of(io)->direct.fd >= 0;
}

static int files_direct(struct cs_io *io)
{
    struct files_io *files = files_of(io);
    return files->in_memory ? err_set(-ENOTSUP, "%s: the file system is in memory", files->name)
                            : cs_direct_open(files->fd[CS_DATA], files->name, &files->direct);
}

static int files_flush(struct cs_io *io, enum cs_file file)
{
    struct files_io *files = files_of(io);
    return fdatasync(files->fd[file]) ? failed(files, file, -errno, "flush") : 0;
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
    if (files->ring)
        cs_ring_close(files->ring);
    cs_direct_close(&files->direct);
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
    return cs_ring_open(files->direct.fd >= 0 ? files->direct.fd : files->fd[CS_DATA], event_fd,
                        &files->ring);
}

static int files_begin(struct cs_io *io, struct cs_batch *batch)
{
    struct files_io *files = files_of(io);
    if (!cs_direct_begin(&files->direct, batch))
        return -EAGAIN;
    int error = cs_ring_begin(files->ring, batch);
    if (error)
        cs_direct_end(&files->direct, batch);
    return error;
}

static struct cs_batch *files_ended(struct cs_io *io)
{
    struct files_io *files = files_of(io);
    struct cs_batch *batch = cs_ring_ended(files->ring);
    if (batch)
        cs_direct_end(&files->direct, batch);
    return batch;
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
    files->direct.fd = -1;
    files->in_memory = cs_mapping_in_memory(dir_fd);
    for (int file = 0; file < CS_FILES && !error; file++) {
        files->fd[file] = openat(dir_fd, file_names[file], O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
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
