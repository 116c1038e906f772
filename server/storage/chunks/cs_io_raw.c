/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cs_way.h"
#include "err.h"

struct raw_io {
    struct cs_io io; /* first */
    int fd;
    uint64_t size;
    bool is_device;
    struct cs_way way;
    char name[256];
};

static struct raw_io *raw_of(struct cs_io *io)
{
    return (struct raw_io *)io;
}

static int failed(const struct raw_io *raw, int error, const char *what)
{
    return err_set(error, "%s: %s: %s", raw->name, what, err_name(error));
}

static int raw_read(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count,
                    bool nowait)
{
    struct raw_io *raw = raw_of(io);
    struct cs_call call = {offset, iov, (size_t)iov_count};
    int error = cs_way_read(&raw->way, raw->fd, file, &call, nowait);
    if (error == -ENODATA)
        return err_set(error, "%s ends before offset %" PRIu64, raw->name, call.offset);
    return error && !(error == -EAGAIN && nowait) ? failed(raw, error, "read") : error;
}

static int raw_write(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count)
{
    struct raw_io *raw = raw_of(io);
    struct cs_call call = {offset, iov, (size_t)iov_count};
    int error = cs_way_write(&raw->way, raw->fd, file, &call);
    return error ? failed(raw, error, "write") : 0;
}

static bool raw_write_waits(struct cs_io *io, size_t length)
{
    return cs_way_write_waits(&raw_of(io)->way, length);
}

/* Pages, tables and logs go by the page cache still, and share no block with `data`. */
static int raw_direct(struct cs_io *io)
{
    struct raw_io *raw = raw_of(io);
    return cs_direct_open(raw->fd, raw->name, &raw->way.direct);
}

static int raw_flush(struct cs_io *io, enum cs_file file)
{
    struct raw_io *raw = raw_of(io);
    (void)file;
    const int error = cs_way_flush(&raw->way, raw->fd);
    return error ? failed(raw, error, "flush") : 0;
}

static int raw_grow(struct cs_io *io, enum cs_file file, uint64_t size)
{
    struct raw_io *raw = raw_of(io);
    (void)file;
    return size <= raw->size ? 0 : err_set(-ENOSPC, "%s: a disk does not grow", raw->name);
}

static int raw_size(struct cs_io *io, enum cs_file file, uint64_t *size)
{
    (void)file;
    *size = raw_of(io)->size;
    return 0;
}

/* A file that stands for a disk gets smaller below, as a disk that is lent more than there is. */
static int raw_discard(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length)
{
    struct raw_io *raw = raw_of(io);
    uint64_t range[2] = {offset, length};
    int result;
    (void)file;
    do {
        result = raw->is_device ? ioctl(raw->fd, BLKDISCARD, range)
                                : fallocate(raw->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                            (off_t)offset, (off_t)length);
    } while (result && errno == EINTR);
    return result ? failed(raw, -errno, "give space back") : 0;
}

static void raw_close(struct cs_io *io)
{
    struct raw_io *raw = raw_of(io);
    cs_way_close(&raw->way);
    close(raw->fd);
    free(raw);
}

static int raw_watch(struct cs_io *io, int event_fd)
{
    struct raw_io *raw = raw_of(io);
    return cs_way_watch(&raw->way, raw->fd, event_fd);
}

static int raw_begin(struct cs_io *io, struct cs_batch *batch)
{
    return cs_way_begin(&raw_of(io)->way, batch);
}

static struct cs_batch *raw_ended(struct cs_io *io)
{
    return cs_way_ended(&raw_of(io)->way);
}

static const struct cs_io_type raw_type = {
    .read = raw_read,
    .write = raw_write,
    .write_waits = raw_write_waits,
    .flush = raw_flush,
    .grow = raw_grow,
    .size = raw_size,
    .close = raw_close,
    .direct = raw_direct,
    .discard = raw_discard,
    .watch = raw_watch,
    .begin = raw_begin,
    .ended = raw_ended,
};

static int find_size(struct raw_io *raw)
{
    struct stat stat;
    if (fstat(raw->fd, &stat))
        return failed(raw, -errno, "look at");
    raw->is_device = S_ISBLK(stat.st_mode);
    raw->size = (uint64_t)stat.st_size;
    if (raw->is_device && ioctl(raw->fd, BLKGETSIZE64, &raw->size))
        return failed(raw, -errno, "find its size");
    return 0;
}

/* Not a copy of `fd`, as a lock is on that, and io_uring may let go of a file a while after its process has
 * died: the next server would find the disk in use. */
static int open_anew(int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    const int own = open(path, O_RDWR | O_CLOEXEC);
    return own < 0 && errno == ENOENT ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : own;
}

int cs_io_raw_open(int fd, const char *name, struct cs_io **io)
{
    struct raw_io *raw = calloc(1, sizeof *raw);
    if (!raw)
        return err_set(-ENOMEM, "no memory for a disk");
    raw->io.type = &raw_type;
    snprintf(raw->name, sizeof raw->name, "%s", name);
    cs_way_open(&raw->way);
    raw->fd = open_anew(fd);
    int error = raw->fd < 0 ? failed(raw, -errno, "open") : find_size(raw);
    if (error) {
        if (raw->fd >= 0)
            close(raw->fd);
        free(raw);
        return error;
    }
    *io = &raw->io;
    return 0;
}
