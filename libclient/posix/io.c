/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in and out, where they go, and how many there are. */
#include "px.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_BYTES ((size_t)1 << 20) /* of copies between descriptors */

/* ---- at an offset ---------------------------------------------------------------- */

static ssize_t total_of(const struct iovec *iov, size_t count)
{
    size_t total = 0;
    if (count > IOV_MAX)
        return -EINVAL;
    for (size_t i = 0; i < count; i++)
        if (__builtin_add_overflow(total, iov[i].iov_len, &total) || total > SSIZE_MAX)
            return -EINVAL;
    return (ssize_t)total;
}

ssize_t px_read_at(struct px_desc *desc, const struct iovec *iov, size_t count, off_t offset)
{
    weft_file_t *file;
    if ((desc->flags & O_ACCMODE) == O_WRONLY || (desc->flags & O_PATH))
        return -EBADF;
    if (offset < 0)
        return -EINVAL;
    ssize_t result = px_open_file(desc, &file);
    if (result < 0)
        return result;
    if (count == 1)
        result = PX_CALL(file_read, file, iov->iov_base, iov->iov_len, (uint64_t)offset);
    else
        result = PX_CALL(file_readv, file, iov, count, (uint64_t)offset);
    if (result > 0)
        atomic_fetch_add_explicit(&px_bytes_read, (unsigned long)result, memory_order_relaxed);
    return result;
}

/* What a write that ended with `result` has to do before the program hears of it. */
static ssize_t has_written(struct px_desc *desc, weft_file_t *file, ssize_t result)
{
    if (result > 0)
        atomic_fetch_add_explicit(&px_bytes_written, (unsigned long)result, memory_order_relaxed);
    if (result > 0 && (desc->flags & (O_SYNC | O_DSYNC))) {
        int error = PX_CALL(file_sync, file);
        result = error < 0 ? error : result;
    }
    return result;
}

static ssize_t write_at(struct px_desc *desc, const struct iovec *iov, size_t count, off_t offset, off_t *end)
{
    weft_file_t *file;
    if ((desc->flags & O_ACCMODE) == O_RDONLY || (desc->flags & O_PATH))
        return -EBADF;
    if (offset < 0)
        return -EINVAL;
    ssize_t total = total_of(iov, count);
    ssize_t result = px_open_file(desc, &file);
    if (total <= 0 || result < 0)
        return result < 0 ? result : total;
    uint64_t start = (uint64_t)offset;
    if (desc->flags & O_APPEND)
        result = PX_CALL(file_append, file, iov, count, &start);
    else if (count == 1)
        result = PX_CALL(file_write, file, iov->iov_base, iov->iov_len, start);
    else
        result = PX_CALL(file_writev, file, iov, count, start);
    result = has_written(desc, file, result);
    *end = (off_t)start + (result > 0 ? result : 0);
    return result;
}

ssize_t px_write_at(struct px_desc *desc, const struct iovec *iov, size_t count, off_t offset)
{
    off_t end;
    return write_at(desc, iov, count, offset, &end);
}

/* ---- at the description's offset --------------------------------------------------- */

/* Moves the offset by `length` in one step, so that two processes that share it never get the same bytes,
 * and tells where it was. What was too much is given back by the caller. */
static off_t take(struct px_desc *desc, int fd, off_t length)
{
    if (!desc->is_shared) {
        off_t before = desc->offset;
        desc->offset += length;
        return before;
    }
    off_t after = PX_NEXT(lseek)(fd, length, SEEK_CUR);
    return after < 0 ? -errno : after - length;
}

static void give_back(struct px_desc *desc, int fd, off_t length)
{
    if (length != 0)
        take(desc, fd, -length);
}

static void move_to(struct px_desc *desc, int fd, off_t offset)
{
    if (desc->is_shared)
        PX_NEXT(lseek)(fd, offset, SEEK_SET);
    else
        desc->offset = offset;
}

ssize_t px_read(struct px_desc *desc, int fd, const struct iovec *iov, size_t count)
{
    ssize_t total = total_of(iov, count);
    if (total < 0)
        return total;
    if (desc->kind == PX_FOLDER && !(desc->flags & O_PATH))
        return -EISDIR;
    pthread_mutex_lock(&desc->lock);
    off_t offset = take(desc, fd, total);
    ssize_t result = offset < 0 ? offset : px_read_at(desc, iov, count, offset);
    if (offset >= 0)
        give_back(desc, fd, total - (result > 0 ? result : 0));
    pthread_mutex_unlock(&desc->lock);
    return result;
}

ssize_t px_write(struct px_desc *desc, int fd, const struct iovec *iov, size_t count)
{
    ssize_t total = total_of(iov, count), result;
    off_t end = 0;
    if (total < 0)
        return total;
    pthread_mutex_lock(&desc->lock);
    if (desc->flags & O_APPEND) {
        result = write_at(desc, iov, count, 0, &end);
        if (result > 0)
            move_to(desc, fd, end);
    } else {
        off_t offset = take(desc, fd, total);
        result = offset < 0 ? offset : write_at(desc, iov, count, offset, &end);
        if (offset >= 0)
            give_back(desc, fd, total - (result > 0 ? result : 0));
    }
    pthread_mutex_unlock(&desc->lock);
    return result;
}

/* Where data or a hole begins. What is no file has neither. */
static off_t find(struct px_desc *desc, off_t offset, int whence)
{
    weft_file_t *file;
    uint64_t place;
    if (desc->kind != PX_FILE || offset < 0)
        return -ENXIO;
    int error = px_open_file(desc, &file);
    if (error == 0)
        error = PX_CALL(file_seek, file, (uint64_t)offset,
                        whence == SEEK_DATA ? WEFT_SEEK_DATA : WEFT_SEEK_HOLE, &place);
    return error < 0 ? error : (off_t)place;
}

static off_t seek_locked(struct px_desc *desc, int fd, off_t offset, int whence)
{
    weft_file_t *file;
    uint64_t size = 0;
    off_t base = 0;
    if (whence == SEEK_CUR) {
        base = take(desc, fd, 0);
    } else if (whence == SEEK_DATA || whence == SEEK_HOLE) {
        offset = find(desc, offset, whence);
        if (offset < 0)
            return offset;
    } else if (whence == SEEK_END) {
        int error = desc->kind == PX_FILE ? px_open_file(desc, &file) : 0;
        if (error == 0 && desc->kind == PX_FILE)
            error = PX_CALL(file_size, file, &size);
        if (error < 0)
            return error;
        base = (off_t)size;
    }
    if (__builtin_add_overflow(base, offset, &base))
        return -EOVERFLOW;
    if (base < 0)
        return -EINVAL;
    move_to(desc, fd, base);
    return base;
}

off_t px_seek(struct px_desc *desc, int fd, off_t offset, int whence)
{
    if (desc->flags & O_PATH)
        return -EBADF;
    if (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END && whence != SEEK_DATA &&
        whence != SEEK_HOLE)
        return -EINVAL;
    pthread_mutex_lock(&desc->lock);
    off_t result = seek_locked(desc, fd, offset, whence);
    pthread_mutex_unlock(&desc->lock);
    return result;
}

/* ---- what programs call ------------------------------------------------------------ */

/* NAME(fd, PARAMETERS): when fd is ours, `desc` is its description, and the expression is the result. */
#define CALL(type, name, parameters, arguments, expression)             \
    PX_EXPORT type name parameters                                      \
    {                                                                   \
        struct px_desc *desc = px_is_inside() ? NULL : px_desc_get(fd); \
        if (__builtin_expect(!desc, 1))                                 \
            return PX_NEXT(name) arguments;                             \
        PX_COUNT(name);                                                 \
        type result = (type)px_return(expression);                      \
        px_desc_put(desc);                                              \
        return result;                                                  \
    }

#define ONE(buffer, length) &(const struct iovec){(void *)(buffer), length}, 1

CALL(ssize_t, read, (int fd, void *buffer, size_t length), (fd, buffer, length),
     px_read(desc, fd, ONE(buffer, length)))
CALL(ssize_t, __read_chk, (int fd, void *buffer, size_t length, size_t room), (fd, buffer, length, room),
     px_read(desc, fd, ONE(buffer, length < room ? length : room)))
CALL(ssize_t, write, (int fd, const void *buffer, size_t length), (fd, buffer, length),
     px_write(desc, fd, ONE(buffer, length)))
CALL(ssize_t, readv, (int fd, const struct iovec *iov, int count), (fd, iov, count),
     px_read(desc, fd, iov, (size_t)count))
CALL(ssize_t, writev, (int fd, const struct iovec *iov, int count), (fd, iov, count),
     px_write(desc, fd, iov, (size_t)count))

#define PREAD(name, type)                                                                                 \
    CALL(ssize_t, name, (int fd, void *buffer, size_t length, type offset), (fd, buffer, length, offset), \
         px_read_at(desc, ONE(buffer, length), offset))
PREAD(pread, off_t)
PREAD(pread64, off64_t)
#define PREAD_CHK(name, type)                                                            \
    CALL(ssize_t, name, (int fd, void *buffer, size_t length, type offset, size_t room), \
         (fd, buffer, length, offset, room),                                             \
         px_read_at(desc, ONE(buffer, length < room ? length : room), offset))
PREAD_CHK(__pread_chk, off_t)
PREAD_CHK(__pread64_chk, off64_t)
#define PWRITE(name, type)                                                        \
    CALL(ssize_t, name, (int fd, const void *buffer, size_t length, type offset), \
         (fd, buffer, length, offset), px_write_at(desc, ONE(buffer, length), offset))
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)
#define PREADV(name, type)                                                                                   \
    CALL(ssize_t, name, (int fd, const struct iovec *iov, int count, type offset), (fd, iov, count, offset), \
         px_read_at(desc, iov, (size_t)count, offset))
PREADV(preadv, off_t)
PREADV(preadv64, off64_t)
#define PWRITEV(name, type)                                                                                  \
    CALL(ssize_t, name, (int fd, const struct iovec *iov, int count, type offset), (fd, iov, count, offset), \
         px_write_at(desc, iov, (size_t)count, offset))
PWRITEV(pwritev, off_t)
PWRITEV(pwritev64, off64_t)

/* The flags of the second forms: hints, and syncs that a write may ask for. */
static ssize_t read_with(struct px_desc *desc, int fd, const struct iovec *iov, size_t count, off_t offset,
                         int flags)
{
    if (flags & ~(RWF_HIPRI | RWF_NOWAIT))
        return -EOPNOTSUPP;
    return offset == -1 ? px_read(desc, fd, iov, count) : px_read_at(desc, iov, count, offset);
}

static ssize_t write_with(struct px_desc *desc, int fd, const struct iovec *iov, size_t count, off_t offset,
                          int flags)
{
    weft_file_t *file;
    if (flags & ~(RWF_HIPRI | RWF_NOWAIT | RWF_DSYNC | RWF_SYNC))
        return -EOPNOTSUPP;
    ssize_t result = offset == -1 ? px_write(desc, fd, iov, count) : px_write_at(desc, iov, count, offset);
    if (result > 0 && (flags & (RWF_DSYNC | RWF_SYNC))) {
        int error = px_open_file(desc, &file);
        error = error < 0 ? error : PX_CALL(file_sync, file);
        result = error < 0 ? error : result;
    }
    return result;
}

#define VECTOR2(name, type, with)                                                             \
    CALL(ssize_t, name, (int fd, const struct iovec *iov, int count, type offset, int flags), \
         (fd, iov, count, offset, flags), with(desc, fd, iov, (size_t)count, offset, flags))
VECTOR2(preadv2, off_t, read_with)
VECTOR2(preadv64v2, off64_t, read_with)
VECTOR2(pwritev2, off_t, write_with)
VECTOR2(pwritev64v2, off64_t, write_with)

CALL(off_t, lseek, (int fd, off_t offset, int whence), (fd, offset, whence),
     px_seek(desc, fd, offset, whence))
CALL(off64_t, lseek64, (int fd, off64_t offset, int whence), (fd, offset, whence),
     px_seek(desc, fd, offset, whence))

/* ---- sizes and syncs ---------------------------------------------------------------- */

static int sync_desc(struct px_desc *desc)
{
    weft_file_t *file;
    if (desc->flags & O_PATH)
        return -EBADF;
    if (desc->kind != PX_FILE)
        return px_session ? PX_CALL(sync, px_session) : 0;
    int result = px_open_file(desc, &file);
    return result < 0 ? result : PX_CALL(file_sync, file);
}

/* 0 when the file may be changed through this description. */
static int writable(struct px_desc *desc, weft_file_t **file, int otherwise)
{
    if (desc->kind != PX_FILE || (desc->flags & O_ACCMODE) == O_RDONLY)
        return otherwise;
    return px_open_file(desc, file);
}

static int truncate_desc(struct px_desc *desc, off_t size)
{
    weft_file_t *file;
    int result = size < 0 ? -EINVAL : writable(desc, &file, -EINVAL);
    return result < 0 ? result : PX_CALL(file_truncate, file, (uint64_t)size);
}

static int punch(struct px_desc *desc, weft_file_t *file, off_t offset, off_t length)
{
    int result = PX_CALL(file_punch, file, (uint64_t)offset, (uint64_t)length);
    if (result == 0 && (desc->flags & (O_SYNC | O_DSYNC)))
        result = PX_CALL(file_sync, file);
    return result;
}

/* Nothing reserves space: a range that is to be zeros becomes a hole, and what would only reserve does
 * nothing. */
static int allocate(struct px_desc *desc, int mode, off_t offset, off_t length)
{
    weft_file_t *file;
    if (offset < 0 || length <= 0)
        return -EINVAL;
    int result = writable(desc, &file, -EBADF);
    if (result < 0)
        return result;
    switch (mode) {
    case FALLOC_FL_KEEP_SIZE:
        return 0;
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
        return punch(desc, file, offset, length);
    case 0:
    case FALLOC_FL_ZERO_RANGE:
        result = PX_CALL(file_allocate, file, (uint64_t)offset, (uint64_t)length);
        return result < 0 || mode == 0 ? result : punch(desc, file, offset, length);
    case FALLOC_FL_PUNCH_HOLE: /* Linux wants the two together */
        return -EOPNOTSUPP;
    default:
        px_say_once("fallocate", "fallocate() of this mode is not supported");
        return -EOPNOTSUPP;
    }
}

CALL(int, fsync, (int fd), (fd), sync_desc(desc))
CALL(int, fdatasync, (int fd), (fd), sync_desc(desc))
CALL(int, syncfs, (int fd), (fd), sync_desc(desc))
CALL(int, sync_file_range, (int fd, off64_t offset, off64_t length, unsigned flags),
     (fd, offset, length, flags), sync_desc(desc))
CALL(int, ftruncate, (int fd, off_t size), (fd, size), truncate_desc(desc, size))
CALL(int, ftruncate64, (int fd, off64_t size), (fd, size), truncate_desc(desc, size))
CALL(int, fallocate, (int fd, int mode, off_t offset, off_t length), (fd, mode, offset, length),
     allocate(desc, mode, offset, length))
CALL(int, fallocate64, (int fd, int mode, off64_t offset, off64_t length), (fd, mode, offset, length),
     allocate(desc, mode, offset, length))
CALL(ssize_t, readahead, (int fd, off64_t offset, size_t count), (fd, offset, count), 0)

/* These return the error itself. */
#define NUMBER(name, parameters, arguments, expression)                 \
    PX_EXPORT int name parameters                                       \
    {                                                                   \
        struct px_desc *desc = px_is_inside() ? NULL : px_desc_get(fd); \
        if (!desc)                                                      \
            return PX_NEXT(name) arguments;                             \
        PX_COUNT(name);                                                 \
        int result = expression;                                        \
        px_desc_put(desc);                                              \
        return -result;                                                 \
    }
NUMBER(posix_fallocate, (int fd, off_t offset, off_t length), (fd, offset, length),
       allocate(desc, 0, offset, length))
NUMBER(posix_fallocate64, (int fd, off64_t offset, off64_t length), (fd, offset, length),
       allocate(desc, 0, offset, length))
NUMBER(posix_fadvise, (int fd, off_t offset, off_t length, int advice), (fd, offset, length, advice), 0)
NUMBER(posix_fadvise64, (int fd, off64_t offset, off64_t length, int advice), (fd, offset, length, advice), 0)

#define TRUNCATE(name, type)                                                                             \
    PX_EXPORT int name(const char *path, type size)                                                      \
    {                                                                                                    \
        struct px_place place;                                                                           \
        if (!px_find(AT_FDCWD, path, &place))                                                            \
            return PX_NEXT(name)(place.local, size);                                                     \
        PX_COUNT(name);                                                                                  \
        if (size < 0)                                                                                    \
            place.error = -EINVAL;                                                                       \
        return (int)px_return(place.error ? place.error : PX_ASK(truncate, place.path, (uint64_t)size)); \
    }
TRUNCATE(truncate, off_t)
TRUNCATE(truncate64, off64_t)

/* ---- from descriptor to descriptor --------------------------------------------------- */

/* Copies by the calls above, which know whose each descriptor is. An offset of NULL is the descriptor's. */
static ssize_t copy(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count)
{
    size_t done = 0, piece = count < PIECE_BYTES ? count : PIECE_BYTES;
    char *buffer = malloc(piece ? piece : 1);
    ssize_t result = buffer ? 0 : -ENOMEM;
    while (result == 0 && done < count) {
        size_t wanted = count - done < piece ? count - done : piece;
        ssize_t got = in_offset ? pread64(in, buffer, wanted, *in_offset) : read(in, buffer, wanted);
        if (got <= 0) {
            result = got < 0 ? -errno : 0;
            break;
        }
        ssize_t put =
            out_offset ? pwrite64(out, buffer, (size_t)got, *out_offset) : write(out, buffer, (size_t)got);
        if (put < 0)
            result = -errno;
        put = put < 0 ? 0 : put;
        if (in_offset)
            *in_offset += put;
        else if (put < got)
            lseek64(in, put - got, SEEK_CUR);
        if (out_offset)
            *out_offset += put;
        done += (size_t)put;
        if (put < got)
            break;
    }
    free(buffer);
    return px_return(done > 0 ? (ssize_t)done : result);
}

static bool is_one_ours(int fd, int other)
{
    return !px_is_inside() && (px_table_has(fd) || px_table_has(other));
}

#define SENDFILE(name, type)                                            \
    PX_EXPORT ssize_t name(int out, int in, type *offset, size_t count) \
    {                                                                   \
        if (!is_one_ours(out, in))                                      \
            return PX_NEXT(name)(out, in, offset, count);               \
        PX_COUNT(name);                                                 \
        return copy(in, offset, out, NULL, count);                      \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

/* How much of `count` there is to be copied. A copy to behind the end of the same file makes the file longer
 * while it goes on, and would never come to its end. */
static ssize_t length_there(int in, const off64_t *in_offset, size_t count)
{
    struct stat64 st;
    off64_t offset = in_offset ? *in_offset : lseek64(in, 0, SEEK_CUR);
    if (offset < 0)
        return in_offset ? -EINVAL : -errno;
    if (fstat64(in, &st) < 0)
        return -errno;
    off64_t left = offset < st.st_size ? st.st_size - offset : 0;
    return count < (size_t)left ? (ssize_t)count : left;
}

PX_EXPORT ssize_t copy_file_range(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count,
                                  unsigned flags)
{
    if (!is_one_ours(out, in))
        return PX_NEXT(copy_file_range)(in, in_offset, out, out_offset, count, flags);
    PX_COUNT(copy_file_range);
    ssize_t length = flags ? -EINVAL : length_there(in, in_offset, count);
    return length < 0 ? px_return(length) : copy(in, in_offset, out, out_offset, (size_t)length);
}
