/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_overlay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cs_format.h"
#include "err.h"
#include "layout.h"

enum { BUCKETS = 1 << 14 };

/* What a block of a file has become. */
struct piece {
    struct piece *next;
    enum cs_file file;
    uint64_t index; /* of the block in its file */
    uint8_t bytes[CS_BLOCK];
};

struct overlay {
    struct cs_io io; /* first */
    struct cs_io *below;
    uint64_t size[CS_FILES], size_below[CS_FILES];
    struct piece *buckets[BUCKETS];
};

static struct overlay *overlay_of(struct cs_io *io)
{
    return (struct overlay *)io;
}

static struct piece **find(struct overlay *overlay, enum cs_file file, uint64_t index)
{
    struct piece **at = &overlay->buckets[layout_hash(index * CS_FILES + (unsigned)file) % BUCKETS];
    while (*at && ((*at)->file != file || (*at)->index != index))
        at = &(*at)->next;
    return at;
}

/* Of the disk below; zeros behind its end. */
static int read_below(struct overlay *overlay, enum cs_file file, uint64_t offset, uint8_t *bytes,
                      size_t length)
{
    const uint64_t size = overlay->size_below[file];
    const size_t there = offset >= size ? 0 : length < size - offset ? length : (size_t)(size - offset);
    struct iovec iov = {bytes, there};
    memset(bytes + there, 0, length - there);
    return there ? overlay->below->type->read(overlay->below, file, offset, &iov, 1, false) : 0;
}

/* A part of one block. */
static int read_part(struct overlay *overlay, enum cs_file file, uint64_t offset, uint8_t *bytes,
                     size_t length)
{
    const struct piece *piece = *find(overlay, file, offset / CS_BLOCK);
    if (!piece)
        return read_below(overlay, file, offset, bytes, length);
    memcpy(bytes, piece->bytes + offset % CS_BLOCK, length);
    return 0;
}

static int write_part(struct overlay *overlay, enum cs_file file, uint64_t offset, uint8_t *bytes,
                      size_t length)
{
    struct piece **at = find(overlay, file, offset / CS_BLOCK), *piece = *at;
    if (!piece) {
        piece = malloc(sizeof *piece);
        if (!piece)
            return err_set(-ENOMEM, "no memory to try a repair");
        *piece = (struct piece){.file = file, .index = offset / CS_BLOCK};
        int error = length < CS_BLOCK
                        ? read_below(overlay, file, piece->index * CS_BLOCK, piece->bytes, CS_BLOCK)
                        : 0;
        if (error) {
            free(piece);
            return error;
        }
        *at = piece;
    }
    memcpy(piece->bytes + offset % CS_BLOCK, bytes, length);
    return 0;
}

/* Goes through a list, block by block. */
static int each_part(struct overlay *overlay, enum cs_file file, uint64_t offset, const struct iovec *iov,
                     int iov_count,
                     int (*part)(struct overlay *overlay, enum cs_file file, uint64_t offset, uint8_t *bytes,
                                 size_t length))
{
    for (int i = 0; i < iov_count; i++) {
        for (size_t done = 0; done < iov[i].iov_len;) {
            const size_t room = CS_BLOCK - offset % CS_BLOCK, left = iov[i].iov_len - done;
            const size_t length = left < room ? left : room;
            if (offset + length > overlay->size[file])
                return err_set(-ENODATA, "a file ends before offset %" PRIu64, offset + length);
            int error = part(overlay, file, offset, (uint8_t *)iov[i].iov_base + done, length);
            if (error)
                return error;
            done += length;
            offset += length;
        }
    }
    return 0;
}

static int overlay_read(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov,
                        int iov_count, bool nowait)
{
    (void)nowait; /* nobody who tries a repair minds waiting */
    return each_part(overlay_of(io), file, offset, iov, iov_count, read_part);
}

static int overlay_write(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov,
                         int iov_count)
{
    return each_part(overlay_of(io), file, offset, iov, iov_count, write_part);
}

static int overlay_flush(struct cs_io *io, enum cs_file file)
{
    (void)io, (void)file;
    return 0;
}

static int overlay_grow(struct cs_io *io, enum cs_file file, uint64_t size)
{
    struct overlay *overlay = overlay_of(io);
    if (size > overlay->size[file])
        overlay->size[file] = size;
    return 0;
}

static int overlay_size(struct cs_io *io, enum cs_file file, uint64_t *size)
{
    *size = overlay_of(io)->size[file];
    return 0;
}

static void overlay_close(struct cs_io *io)
{
    struct overlay *overlay = overlay_of(io);
    for (unsigned i = 0; i < BUCKETS; i++) {
        while (overlay->buckets[i]) {
            struct piece *piece = overlay->buckets[i];
            overlay->buckets[i] = piece->next;
            free(piece);
        }
    }
    overlay->below->type->close(overlay->below);
    free(overlay);
}

static const struct cs_io_type overlay_type = {
    .read = overlay_read,
    .write = overlay_write,
    .flush = overlay_flush,
    .grow = overlay_grow,
    .size = overlay_size,
    .close = overlay_close,
};

int cs_overlay_open(struct cs_io *below, struct cs_io **io)
{
    struct overlay *overlay = calloc(1, sizeof *overlay);
    int error = 0;
    if (!overlay) {
        below->type->close(below);
        return err_set(-ENOMEM, "no memory to try a repair");
    }
    overlay->io.type = &overlay_type;
    overlay->below = below;
    for (int file = 0; file < CS_FILES && !error; file++) {
        error = below->type->size(below, (enum cs_file)file, &overlay->size[file]);
        overlay->size_below[file] = overlay->size[file];
    }
    if (error) {
        overlay_close(&overlay->io);
        return error;
    }
    *io = &overlay->io;
    return 0;
}
