/* SPDX-License-Identifier: Apache-2.0 */
#include "store_files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "err.h"
#include "iov.h"
#include "target.h"

/* Behind the header, and where the kernel's offsets end. */
#define DATA_BYTES_MAX ((uint64_t)INT64_MAX - FILES_HEADER_BYTES)

static struct files_store *files_of(struct store *store)
{
    return (struct files_store *)store;
}

/* ---- making and opening ------------------------------------------------- */

static int format_shard(const struct target *target, uint32_t shard)
{
    char name[32];
    for (unsigned i = 0; i <= FILES_DIRS; i++) {
        /* The shard's own directory comes first. */
        if (i == 0)
            snprintf(name, sizeof name, "shard-%" PRIu32, shard);
        else
            snprintf(name, sizeof name, "shard-%" PRIu32 "/%02x", shard, i - 1);
        if (mkdirat(target->dir_fd, name, 0700) && errno != EEXIST)
            return err_sys("target %" PRIu32 ": make the directory %s/%s", target->id, target->dir, name);
    }
    return 0;
}

static int files_format(const struct target *target)
{
    for (uint32_t shard = 0; shard < target->shard_count; shard++) {
        int error = format_shard(target, shard);
        if (error)
            return error;
    }
    /* One flush of the file system instead of 256 of directories. */
    return syncfs(target->dir_fd) ? err_sys("target %" PRIu32 ": flush %s", target->id, target->dir) : 0;
}

static void free_store(struct files_store *store)
{
    files_sync_close(store);
    if (store->buckets)
        files_cache_close(store);
    if (store->dir_fd >= 0)
        close(store->dir_fd);
    free(store);
}

static int files_open(const struct store_config *config, struct store **result)
{
    char name[32];
    int error;
    struct files_store *store = calloc(1, sizeof *store);
    if (!store)
        return err_set(-ENOMEM, "no memory for a store");
    store->store.type = &store_files;
    store->target = config->target;
    store->shard = config->shard;
    store->done_fd = -1;
    snprintf(name, sizeof name, "shard-%" PRIu32, config->shard);
    store->dir_fd = openat(config->target->dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->dir_fd < 0)
        error = err_sys("target %" PRIu32 ": open %s/%s", config->target->id, config->target->dir, name);
    else
        error = files_cache_open(store, config->open_files_max);
    if (!error)
        error = files_sync_open(store);
    if (error) {
        free_store(store);
        return error;
    }
    *result = &store->store;
    return 0;
}

static int files_close(struct store *base)
{
    struct files_store *store = files_of(base);
    int error = 0;
    list_each(&store->recent, link, after)
    {
        struct files_object *object = list_item(link, struct files_object, recent);
        if (error || (object->changes == object->synced && !object->is_new))
            continue;
        error = object->sync_error ? err_set(object->sync_error,
                                             "target %" PRIu32 ": a flush failed, and its data may be lost",
                                             store->target->id)
                                   : files_sync_object(store, object, object->is_new);
    }
    if (!error && store->evicted_dirty && syncfs(store->dir_fd))
        error = err_sys("target %" PRIu32 ": flush %s", store->target->id, store->target->dir);
    free_store(store);
    return error;
}

/* ---- bytes -------------------------------------------------------------- */

static int check_range(const struct files_store *store, uint64_t offset, uint64_t length)
{
    if (offset > DATA_BYTES_MAX || length > DATA_BYTES_MAX - offset)
        return err_set(-EFBIG, "target %" PRIu32 ": offset %" PRIu64 " is beyond what a local file can hold",
                       store->target->id, offset);
    return 0;
}

static int files_write(struct store *base, const struct store_object *key, uint64_t offset, struct iovec *iov,
                       size_t iov_count, struct store_op *op)
{
    struct files_store *store = files_of(base);
    struct files_object *object;
    uint64_t left = 0;
    (void)op;
    for (size_t i = 0; i < iov_count; i++)
        left += iov[i].iov_len;
    int error = check_range(store, offset, left);
    if (!error)
        error = files_object_open(store, key, true, &object);
    if (error)
        return error;
    object->changes++;
    while (left > 0) {
        int pieces = iov_count < IOV_MAX ? (int)iov_count : IOV_MAX;
        ssize_t count = pwritev(object->fd, iov, pieces, (off_t)(FILES_HEADER_BYTES + offset));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            errno = count ? errno : ENOSPC;
            return files_object_error(store, object, "write");
        }
        iov_skip(&iov, &iov_count, (size_t)count);
        offset += (uint64_t)count;
        left -= (uint64_t)count;
    }
    return 0;
}

static int files_read(struct store *base, const struct store_object *key, uint64_t offset, void *buffer,
                      size_t length, size_t *count, struct store_op *op)
{
    struct files_store *store = files_of(base);
    struct files_object *object;
    size_t done = 0;
    (void)op;
    *count = 0;
    int error = check_range(store, offset, length);
    if (!error)
        error = files_object_open(store, key, false, &object);
    if (error || !object)
        return error;
    while (done < length) {
        ssize_t now = pread(object->fd, (char *)buffer + done, length - done,
                            (off_t)(FILES_HEADER_BYTES + offset + done));
        if (now < 0 && errno == EINTR)
            continue;
        if (now < 0)
            return files_object_error(store, object, "read");
        if (now == 0)
            break;
        done += (size_t)now;
    }
    *count = done;
    return 0;
}

static int files_sync(struct store *base, const struct store_object *key, struct store_op *op)
{
    struct files_store *store = files_of(base);
    struct files_object *object;
    int error = files_object_open(store, key, false, &object);
    return error || !object ? error : files_sync_start(store, object, op);
}

/* ---- objects ------------------------------------------------------------ */

static int files_truncate(struct store *base, const struct store_object *key, uint64_t length,
                          struct store_op *op)
{
    struct files_store *store = files_of(base);
    struct files_object *object;
    (void)op;
    int error = check_range(store, length, 0);
    if (!error)
        error = files_object_open(store, key, length > 0, &object);
    if (error || !object)
        return error;
    object->changes++;
    if (ftruncate(object->fd, (off_t)(FILES_HEADER_BYTES + length)))
        return files_object_error(store, object, "truncate");
    /* What was lost is gone now in any case. */
    if (length == 0)
        object->sync_error = 0;
    return 0;
}

/* By hand, where the file system has no holes. */
static int write_zeros(const struct files_store *store, const struct files_object *object, uint64_t offset,
                       uint64_t end)
{
    static const uint8_t zeros[64 << 10];
    while (offset < end) {
        const size_t wanted = end - offset < sizeof zeros ? (size_t)(end - offset) : sizeof zeros;
        ssize_t count = pwrite(object->fd, zeros, wanted, (off_t)(FILES_HEADER_BYTES + offset));
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            errno = count ? errno : ENOSPC;
            return files_object_error(store, object, "write zeros to");
        }
        offset += (uint64_t)count;
    }
    return 0;
}

/* Behind the end, so that a file system gives the last block back, too. */
#define PUNCH_BEHIND 65536u

static int punch_file(const struct files_store *store, const struct files_object *object, uint64_t offset,
                      uint64_t length, bool to_end)
{
    /* Not every file system does the second of itself. */
    static const struct timespec now[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_NOW}};
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int error = 0;
    const uint64_t room = DATA_BYTES_MAX - offset - length;
    const uint64_t behind = !to_end ? 0 : room < PUNCH_BEHIND ? room : PUNCH_BEHIND;
    if (fallocate(object->fd, mode, (off_t)(FILES_HEADER_BYTES + offset), (off_t)(length + behind))) {
        if (errno != EOPNOTSUPP)
            return files_object_error(store, object, "punch a hole into");
        error = write_zeros(store, object, offset, offset + length);
    }
    if (!error && futimens(object->fd, now))
        error = files_object_error(store, object, "set the time of");
    return error;
}

static int files_punch(struct store *base, const struct store_object *key, uint64_t offset, uint64_t length,
                       struct store_op *op)
{
    struct files_store *store = files_of(base);
    struct files_object *object;
    struct stat stat;
    (void)op;
    int error = files_object_open(store, key, false, &object);
    if (error || !object)
        return error;
    if (fstat(object->fd, &stat))
        return files_object_error(store, object, "look at");
    const uint64_t size = stat.st_size > FILES_HEADER_BYTES ? (uint64_t)stat.st_size - FILES_HEADER_BYTES : 0;
    if (offset >= size || length == 0)
        return 0;
    object->changes++;
    const bool to_end = length >= size - offset;
    return punch_file(store, object, offset, to_end ? size - offset : length, to_end);
}

static int files_remove(struct store *base, const struct store_object *key, struct store_op *op)
{
    struct files_store *store = files_of(base);
    struct files_object *object = files_cache_find(store, key);
    /* The flush under way may be renaming the file. */
    if (object && object->job) {
        op->next = object->ops_remove;
        object->ops_remove = op;
        return STORE_PENDING;
    }
    int error = files_object_unlink(store, key);
    if (!error && object)
        files_object_close(store, object);
    return error;
}

static int files_stat(struct store *base, const struct store_object *key, struct store_stat *result)
{
    struct files_store *store = files_of(base);
    struct files_object *object;
    struct stat stat;
    *result = (struct store_stat){0};
    int error = files_object_open(store, key, false, &object);
    if (error || !object)
        return error;
    if (fstat(object->fd, &stat))
        return files_object_error(store, object, "look at");
    uint64_t used = (uint64_t)stat.st_blocks * 512;
    result->length = stat.st_size > FILES_HEADER_BYTES ? (uint64_t)stat.st_size - FILES_HEADER_BYTES : 0;
    result->bytes = used > FILES_HEADER_BYTES ? used - FILES_HEADER_BYTES : 0;
    result->mtime_ns = (int64_t)stat.st_mtim.tv_sec * 1000000000 + stat.st_mtim.tv_nsec;
    return 0;
}

static int files_seek(struct store *base, const struct store_object *key, uint64_t offset, bool hole,
                      struct store_seek *seek, struct store_op *op)
{
    struct files_store *store = files_of(base);
    struct files_object *object;
    struct store_stat stat;
    (void)op;
    int error = files_stat(base, key, &stat);
    if (!error)
        error = files_object_open(store, key, false, &object);
    if (error)
        return error;
    *seek = (struct store_seek){.offset = hole ? offset : UINT64_MAX, .found = true, .length = stat.length};
    if (!object || offset >= stat.length)
        return 0;
    off_t at = lseek(object->fd, (off_t)(FILES_HEADER_BYTES + offset), hole ? SEEK_HOLE : SEEK_DATA);
    if (at < 0)
        return errno == ENXIO ? 0 : files_object_error(store, object, "search");
    seek->offset = (uint64_t)at - FILES_HEADER_BYTES;
    return 0;
}

static int files_fd(struct store *base)
{
    return files_of(base)->done_fd;
}

static void files_progress(struct store *base)
{
    files_sync_progress(files_of(base));
}

const struct store_type store_files = {
    .name = "files",
    .format = files_format,
    .open = files_open,
    .close = files_close,
    .write = files_write,
    .read = files_read,
    .sync = files_sync,
    .truncate = files_truncate,
    .punch = files_punch,
    .seek = files_seek,
    .remove = files_remove,
    .stat = files_stat,
    .fd = files_fd,
    .progress = files_progress,
};
