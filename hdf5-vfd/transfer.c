/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer.c: bytes between HDF5's memory and the file: as list I/O, or through the cache.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

/* ---- lists ----------------------------------------------------------------- */

static int make_room(void **items, size_t size, size_t count, size_t *room)
{
    if (count < *room)
        return 0;
    size_t more = *room ? *room * 2 : 64;
    void *moved = reallocarray(*items, more, size);
    if (!moved)
        return -ENOMEM;
    *items = moved;
    *room = more;
    return 0;
}

int list_io_add_memory(struct list_io *list, void *memory, size_t length)
{
    struct iovec *last = list->iov_count ? &list->iov[list->iov_count - 1] : NULL;
    if (length == 0)
        return 0;
    if (last && (char *)last->iov_base + last->iov_len == memory) {
        last->iov_len += length;
        return 0;
    }
    void *items = list->iov;
    int error = make_room(&items, sizeof *list->iov, list->iov_count, &list->iov_room);
    list->iov = items;
    if (!error)
        list->iov[list->iov_count++] = (struct iovec){memory, length};
    return error;
}

int list_io_add_extent(struct list_io *list, uint64_t offset, uint64_t length)
{
    struct weft_extent *last = list->extent_count ? &list->extents[list->extent_count - 1] : NULL;
    if (length == 0)
        return 0;
    if (offset > VFD_ADDRESS_MAX || length > VFD_ADDRESS_MAX - offset)
        return -EOVERFLOW;
    list->bytes += length;
    if (last && last->offset + last->length == offset) {
        last->length += length;
        return 0;
    }
    void *items = list->extents;
    int error = make_room(&items, sizeof *list->extents, list->extent_count, &list->extent_room);
    list->extents = items;
    if (!error)
        list->extents[list->extent_count++] = (struct weft_extent){offset, length};
    return error;
}

void list_io_free(struct list_io *list)
{
    free(list->iov);
    free(list->extents);
    *list = (struct list_io){0};
}

bool list_place_next(void *at, int64_t file_end, struct piece *piece)
{
    struct list_place *place = at;
    const struct list_io *list = place->list;
    if (place->extent == list->extent_count || place->piece == list->iov_count)
        return false;
    const struct weft_extent *extent = &list->extents[place->extent];
    const struct iovec *iov = &list->iov[place->piece];
    const uint64_t offset = extent->offset + place->in_extent;
    uint64_t length = extent->length - place->in_extent, room = iov->iov_len - place->in_piece;
    if (offset >= (uint64_t)file_end)
        return false;
    length = length < room ? length : room;
    room = (uint64_t)file_end - offset;
    length = length < room ? length : room;
    *piece = (struct piece){.memory = (char *)iov->iov_base + place->in_piece,
                            .offset = (int64_t)offset,
                            .length = (int64_t)length};
    place->in_extent += length;
    place->in_piece += length;
    if (place->in_extent == extent->length) {
        place->extent++;
        place->in_extent = 0;
    }
    if (place->in_piece == iov->iov_len) {
        place->piece++;
        place->in_piece = 0;
    }
    return true;
}

int64_t list_place_offset(void *at)
{
    const struct list_place *place = at;
    const struct list_io *list = place->list;
    if (place->extent == list->extent_count || place->piece == list->iov_count)
        return INT64_MAX;
    return (int64_t)(list->extents[place->extent].offset + place->in_extent);
}

/* Calls `each` for every run that is one in memory and one in the file. */
typedef void each_run_fn(void *arg, uint64_t offset, void *memory, size_t length);

static void list_each_run(const struct list_io *list, each_run_fn *each, void *arg)
{
    struct list_place place = {.list = list};
    struct piece piece;
    while (list_place_next(&place, INT64_MAX, &piece))
        each(arg, (uint64_t)piece.offset, piece.memory, (size_t)piece.length);
}

static uint64_t list_end(const struct list_io *list)
{
    uint64_t end = 0;
    for (size_t e = 0; e < list->extent_count; e++)
        if (list->extents[e].offset + list->extents[e].length > end)
            end = list->extents[e].offset + list->extents[e].length;
    return end;
}

/* ---- without the cache ------------------------------------------------------- */

static void zero_behind(void *arg, uint64_t offset, void *memory, size_t length)
{
    const uint64_t *size = arg;
    if (offset >= *size)
        memset(memory, 0, length);
    else if (length > *size - offset)
        memset((char *)memory + (*size - offset), 0, length - (size_t)(*size - offset));
}

int vfd_list_end_read(struct vfd_file *file, const struct list_io *list)
{
    uint64_t size;
    int error = weft_file_size(file->file, &size);
    if (!error)
        list_each_run(list, zero_behind, &size);
    return error;
}

static int send_read(struct vfd_file *file, const struct list_io *list)
{
    ssize_t got = list->bytes ? weft_file_read_list(file->file, list->iov, list->iov_count, list->extents,
                                                    list->extent_count)
                              : 0;
    if (got < 0)
        return (int)got;
    return (uint64_t)got == list->bytes ? 0 : vfd_list_end_read(file, list);
}

void vfd_list_is_written(struct vfd_file *file, const struct list_io *list)
{
    uint64_t end = list_end(list);
    file->eof_sent = end > file->eof_sent ? end : file->eof_sent;
    file->eof = file->eof_sent > file->eof ? file->eof_sent : file->eof;
    file->wrote = file->wrote || list->bytes > 0;
}

static int send_write(struct vfd_file *file, const struct list_io *list)
{
    ssize_t put = list->bytes ? weft_file_write_list(file->file, list->iov, list->iov_count, list->extents,
                                                     list->extent_count)
                              : 0;
    if (put < 0)
        return (int)put;
    vfd_list_is_written(file, list);
    return 0;
}

#if VFD_HAS_MPI

int vfd_list_gather(struct vfd_file *file, const struct list_io *list, const struct weft_gather *gather)
{
    weft_op_t *op;
    if (list->bytes == 0)
        return 0;
    int error = weft_file_write_gather_async(file->file, list->iov, list->iov_count, list->extents,
                                             list->extent_count, gather, &op);
    ssize_t put = error ? error : weft_wait(op);
    if (put < 0)
        return (int)put;
    vfd_list_is_written(file, list);
    return 0;
}

#endif

/* ---- the cache ----------------------------------------------------------------- */

/* No request for what is known to be behind the end. */
static ssize_t fill_blocks(void *arg, uint64_t offset, const struct iovec *pieces, size_t count)
{
    struct vfd_file *file = arg;
    struct weft_extent extent = {.offset = offset};
    for (size_t i = 0; i < count; i++)
        extent.length += pieces[i].iov_len;
    ssize_t got =
        offset < file->eof_sent ? weft_file_read_list(file->file, pieces, count, &extent, 1) : 0;
    size_t left = got > 0 ? (size_t)got : 0;
    for (size_t i = 0; got >= 0 && i < count; i++) {
        size_t there = left < pieces[i].iov_len ? left : pieces[i].iov_len;
        memset((char *)pieces[i].iov_base + there, 0, pieces[i].iov_len - there);
        left -= there;
    }
    return got;
}

static int write_blocks(void *arg, const struct iovec *pieces, const uint64_t *offsets, size_t count)
{
    struct list_io list = {0};
    int error = 0;
    for (size_t i = 0; !error && i < count; i++) {
        error = list_io_add_memory(&list, pieces[i].iov_base, pieces[i].iov_len);
        if (!error)
            error = list_io_add_extent(&list, offsets[i], pieces[i].iov_len);
    }
    if (!error)
        error = send_write(arg, &list);
    list_io_free(&list);
    return error;
}

/* Ranks that write could not know what the others have in theirs. */
int vfd_cache_open(struct vfd_file *file)
{
    const struct cache_backing backing = {.arg = file, .read = fill_blocks, .write = write_blocks};
    if (file->options.cache_bytes == 0 || (vfd_is_parallel(file) && file->can_write))
        return 0;
    file->cache = cache_new(file->options.cache_bytes, &backing);
    if (file->cache)
        return 0;
    VFD_FAIL(H5E_CANTALLOC, -ENOMEM, "no memory for a cache");
    return -ENOMEM;
}

int vfd_cache_flush(struct vfd_file *file)
{
    return file->cache && file->can_write ? cache_flush(file->cache) : 0;
}

/*
 * The cache, or NULL in *cache when there is none any more. HDF5 takes the accumulation of metadata off a
 * file's features when its writes have to happen in their order (SWMR), and tells no driver otherwise.
 */
static int present_cache(struct vfd_file *file, struct cache **cache)
{
    bool in_order = !vfd_is_parallel(file) && file->can_write && file->base.feature_flags != 0 &&
                    !(file->base.feature_flags & H5FD_FEAT_ACCUMULATE_METADATA);
    int error = 0;
    if (file->cache && in_order) {
        error = cache_flush(file->cache);
        if (!error) {
            cache_free(file->cache);
            file->cache = NULL;
        }
    }
    *cache = file->cache;
    return error;
}

struct through {
    struct vfd_file *file;
    bool is_near;
    struct cache *cache;
    int error;
};

static void read_through(void *arg, uint64_t offset, void *memory, size_t length)
{
    struct through *through = arg;
    if (!through->error)
        through->error = cache_read(through->cache, offset, memory, length, through->is_near);
}

static void write_through(void *arg, uint64_t offset, void *memory, size_t length)
{
    struct through *through = arg;
    struct vfd_file *file = through->file;
    if (through->error)
        return;
    through->error = cache_write(through->cache, offset, memory, length);
    if (!through->error && offset + length > file->eof)
        file->eof = offset + length;
}

static void was_overwritten(void *arg, uint64_t offset, void *memory, size_t length)
{
    cache_overwritten(arg, offset, memory, length);
}

static bool is_dirty(const struct cache *cache, const struct list_io *list)
{
    for (size_t e = 0; e < list->extent_count; e++)
        if (cache_holds_dirty(cache, list->extents[e].offset, list->extents[e].length))
            return true;
    return false;
}

int vfd_list_read(struct vfd_file *file, H5FD_mem_t type, const struct list_io *list)
{
    struct through through = {.file = file, .is_near = type != H5FD_MEM_DRAW};
    int error = present_cache(file, &through.cache);
    if (error || !through.cache)
        return error ? error : send_read(file, list);
    if (list->bytes <= CACHE_PIECE_BYTES_MAX) {
        list_each_run(list, read_through, &through);
        return through.error;
    }
    if (is_dirty(through.cache, list))
        error = cache_flush(through.cache);
    return error ? error : send_read(file, list);
}

int vfd_list_write(struct vfd_file *file, const struct list_io *list)
{
    struct through through = {.file = file};
    int error = present_cache(file, &through.cache);
    if (error || !through.cache)
        return error ? error : send_write(file, list);
    if (list->bytes <= CACHE_PIECE_BYTES_MAX) {
        list_each_run(list, write_through, &through);
        return through.error;
    }
    error = send_write(file, list);
    if (!error)
        list_each_run(list, was_overwritten, through.cache);
    return error;
}

/* ---- one piece ------------------------------------------------------------------- */

int vfd_bytes_read(struct vfd_file *file, H5FD_mem_t type, uint64_t offset, void *buffer, size_t length)
{
    struct iovec iov = {buffer, length};
    struct weft_extent extent = {offset, length};
    struct list_io list = {
        .iov = &iov, .extents = &extent, .iov_count = 1, .extent_count = 1, .bytes = length};
    return length ? vfd_list_read(file, type, &list) : 0;
}

int vfd_bytes_write(struct vfd_file *file, uint64_t offset, const void *buffer, size_t length)
{
    /* Nothing is written through the pointer. */
    struct iovec iov = {(void *)buffer, length};
    struct weft_extent extent = {offset, length};
    struct list_io list = {
        .iov = &iov, .extents = &extent, .iov_count = 1, .extent_count = 1, .bytes = length};
    return length ? vfd_list_write(file, &list) : 0;
}
