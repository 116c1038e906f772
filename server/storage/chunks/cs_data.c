/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_store.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "copy.h"
#include "crc.h"
#include "err.h"
#include "storage/iov.h"

enum {
    PIECES_MAX = 256, /* memory pieces of one call of the disk */
    WIDE_BLOCKS = 16, /* a write of so many wants its strip in one run */
    ANEW_BLOCKS = 8,  /* so many whole ones in a row are not written over, others take their place */
};

/* ---- the caller's memory ------------------------------------------------ */

struct source {
    const struct iovec *iov;
    size_t left; /* pieces, this one included */
    size_t at;   /* in this one */
};

/* The next piece, of `length` at most. */
static struct iovec next_piece(struct source *source, size_t length)
{
    while (source->left && source->at == source->iov->iov_len) {
        source->iov++;
        source->left--;
        source->at = 0;
    }
    assert(source->left);
    const size_t there = source->iov->iov_len - source->at;
    struct iovec piece = {(uint8_t *)source->iov->iov_base + source->at, there < length ? there : length};
    source->at += piece.iov_len;
    return piece;
}

static void copy_out(struct source *source, uint8_t *to, size_t length)
{
    while (length > 0) {
        struct iovec piece = next_piece(source, length);
        copy_bytes(to, piece.iov_base, piece.iov_len);
        to += piece.iov_len;
        length -= piece.iov_len;
    }
}

/* ---- a gathered transfer ------------------------------------------------ */

/* What lies in one piece on the disk goes or comes by one call. */
struct transfer {
    struct cs_store *store;
    struct iovec iov[PIECES_MAX];
    int count;
    uint64_t begin, bytes; /* in `data` */
};

static int transfer_write(struct transfer *transfer)
{
    struct cs_io *io = transfer->store->io;
    const int count = transfer->count;
    if (count == 0)
        return 0;
    transfer->store->bytes_dirty += transfer->bytes;
    transfer->count = 0;
    int error = io->type->write(io, CS_DATA, transfer->begin, transfer->iov, count);
    transfer->begin += transfer->bytes;
    transfer->bytes = 0;
    return error;
}

/* Goes on at that byte; what lies elsewhere is written before. */
static int transfer_at(struct transfer *transfer, uint64_t offset)
{
    int error = transfer->begin + transfer->bytes == offset ? 0 : transfer_write(transfer);
    if (transfer->bytes == 0)
        transfer->begin = offset;
    return error;
}

static int transfer_add(struct transfer *transfer, struct iovec piece)
{
    struct iovec *last = transfer->count ? &transfer->iov[transfer->count - 1] : NULL;
    transfer->bytes += piece.iov_len;
    if (last && (uint8_t *)last->iov_base + last->iov_len == piece.iov_base) {
        last->iov_len += piece.iov_len;
        return 0;
    }
    transfer->iov[transfer->count++] = piece;
    return transfer->count < PIECES_MAX ? 0 : transfer_write(transfer);
}

int cs_block_load(struct cs_store *store, struct cs_name name, uint64_t offset, uint32_t block, uint32_t crc,
                  uint8_t bytes[CS_BLOCK])
{
    struct iovec iov = {bytes, CS_BLOCK};
    int error =
        store->io->type->read(store->io, CS_DATA, (uint64_t)block * CS_BLOCK, &iov, 1, store->pages.nowait);
    if (!error && crc_of(0, bytes, CS_BLOCK) != crc)
        error = err_set(-EBADMSG, "the checksum of block %" PRIu32 " is wrong", block);
    return cs_unreadable(store, name, offset, error);
}

/* ---- writing ------------------------------------------------------------ */

/* One write, strip by strip. */
struct writing {
    struct cs_store *store;
    struct cs_object object;
    struct source source;
    const uint32_t *crcs; /* of the whole blocks that are left; NULL: not known */
    uint64_t index;       /* of the strip */
    uint32_t from, to;    /* in the strip */
    struct cs_strip before, strip;
    uint8_t edges[2][CS_BLOCK]; /* the first and last block, where a part of it is written */
    struct transfer transfer;
};

/* Where block i would lie behind or before its neighbours. */
static uint32_t place_of(const struct cs_strip *strip, unsigned i)
{
    for (unsigned k = i; k-- > 0;)
        if (strip->block[k] != CS_HOLE)
            return strip->block[k] + (i - k);
    for (unsigned k = i + 1; k < CS_STRIP_BLOCKS; k++)
        if (strip->block[k] != CS_HOLE && strip->block[k] >= k - i)
            return strip->block[k] - (k - i);
    return CS_HOLE;
}

/* A block for each that is written. Those that no commit holds stay where they are, and are written over;
 * but where there are many, others cost less than a copy of the bytes in the log. */
static int take_blocks(struct writing *writing)
{
    struct cs_space *space = &writing->store->space;
    struct cs_strip *strip = &writing->strip;
    const unsigned first = writing->from / CS_BLOCK, last = (writing->to - 1) / CS_BLOCK;
    const unsigned whole = (writing->from + CS_BLOCK - 1) / CS_BLOCK, whole_end = writing->to / CS_BLOCK;
    const bool wide = writing->index > 0 || last - first + 1 >= WIDE_BLOCKS;
    uint32_t wish = CS_HOLE;
    for (unsigned i = first; i <= last; i++) {
        const uint32_t old = strip->block[i];
        const bool anew = whole_end >= whole + ANEW_BLOCKS && i >= whole && i < whole_end;
        if (old != CS_HOLE && cs_space_is_fresh(space, old) && !anew) {
            wish = old + 1;
            continue;
        }
        if (wish == CS_HOLE && old == CS_HOLE)
            wish = place_of(strip, i);
        uint32_t block;
        int error = cs_space_take(space, wish, wide, &block);
        if (error == -ENOSPC)
            return err_set(-ENOSPC, "%s is full", writing->store->config.name);
        if (error)
            return error;
        /* A strip that is new begins where it leaves room for what may come in front. */
        if (wide && wish == CS_HOLE && i > 0 && cs_strip_count(strip) == 0 && block % CS_STRIP_BLOCKS == 0) {
            uint32_t better;
            if (block + i < space->blocks && cs_space_take(space, block + i, false, &better) == 0) {
                cs_space_give(space, block);
                block = better;
            }
        }
        strip->block[i] = block;
        wish = block + 1;
    }
    return 0;
}

/* What the block held, with the new bytes put over it later. All of these are
 * loaded before anything is written: an error leaves what was there. */
static int load_edge(struct writing *writing, unsigned i, uint8_t *bytes)
{
    const uint32_t old = writing->before.block[i];
    const struct cs_edge *kept = &writing->store->edges[old % CS_EDGES];
    if (old != CS_HOLE && kept->block == old && crc_of(0, kept->bytes, CS_BLOCK) == writing->before.crc[i]) {
        memcpy(bytes, kept->bytes, CS_BLOCK);
        return 0;
    }
    if (old != CS_HOLE)
        return cs_block_load(writing->store, writing->object.name,
                             writing->index * CS_STRIP + (uint64_t)i * CS_BLOCK, old, writing->before.crc[i],
                             bytes);
    memset(bytes, 0, CS_BLOCK);
    return 0;
}

static int load_edges(struct writing *writing)
{
    const unsigned first = writing->from / CS_BLOCK, last = (writing->to - 1) / CS_BLOCK;
    int error = 0;
    if (writing->from % CS_BLOCK || (first == last && writing->to % CS_BLOCK))
        error = load_edge(writing, first, writing->edges[0]);
    if (!error && first != last && writing->to % CS_BLOCK)
        error = load_edge(writing, last, writing->edges[1]);
    return error;
}

static void keep_edge(struct writing *writing, unsigned i, const uint8_t *bytes)
{
    const uint32_t block = writing->strip.block[i];
    struct cs_edge *kept = &writing->store->edges[block % CS_EDGES];
    kept->block = block;
    memcpy(kept->bytes, bytes, CS_BLOCK);
}

static int write_edge(struct writing *writing, unsigned i, uint32_t from, uint32_t to)
{
    uint8_t *bytes = writing->edges[i != writing->from / CS_BLOCK];
    copy_out(&writing->source, bytes + from, to - from);
    writing->strip.crc[i] = crc_of(0, bytes, CS_BLOCK);
    keep_edge(writing, i, bytes);
    return transfer_add(&writing->transfer, (struct iovec){bytes, CS_BLOCK});
}

static int write_whole(struct writing *writing, unsigned i)
{
    const bool known = writing->crcs != NULL;
    uint32_t crc = known ? *writing->crcs++ : 0;
    for (size_t done = 0; done < CS_BLOCK;) {
        struct iovec piece = next_piece(&writing->source, CS_BLOCK - done);
        if (!known)
            crc = crc_of(crc, piece.iov_base, piece.iov_len);
        int error = transfer_add(&writing->transfer, piece);
        if (error)
            return error;
        done += piece.iov_len;
    }
    writing->strip.crc[i] = crc;
    return 0;
}

/* A block that is written over: that happens when it is in the log. */
static void patch_block(struct writing *writing, unsigned i, uint32_t from, uint32_t to)
{
    uint8_t *edge = writing->edges[i != writing->from / CS_BLOCK];
    uint8_t *bytes = cs_log_patch(writing->store, writing->strip.block[i], from, to - from);
    copy_out(&writing->source, bytes, to - from);
    if (to - from < CS_BLOCK) {
        memcpy(edge + from, bytes, to - from);
        bytes = edge;
        keep_edge(writing, i, edge);
    }
    const bool known = writing->crcs && to - from == CS_BLOCK;
    writing->strip.crc[i] = known ? *writing->crcs++ : crc_of(0, bytes, CS_BLOCK);
}

static int write_blocks(struct writing *writing)
{
    const unsigned first = writing->from / CS_BLOCK, last = (writing->to - 1) / CS_BLOCK;
    int error = 0;
    for (unsigned i = first; i <= last && !error; i++) {
        const uint32_t at = i * CS_BLOCK;
        const uint32_t from = i == first ? writing->from - at : 0;
        const uint32_t to = i == last ? writing->to - at : CS_BLOCK;
        if (writing->strip.block[i] == writing->before.block[i]) {
            patch_block(writing, i, from, to);
            continue;
        }
        error = transfer_at(&writing->transfer, (uint64_t)writing->strip.block[i] * CS_BLOCK);
        if (!error)
            error = to - from == CS_BLOCK ? write_whole(writing, i) : write_edge(writing, i, from, to);
    }
    /* The edges' memory is used again for the next strip. */
    return error ? error : transfer_write(&writing->transfer);
}

static int write_strip(struct writing *writing)
{
    struct cs_store *store = writing->store;
    struct cs_object *object = &writing->object;
    const uint64_t end = writing->index * CS_STRIP + writing->to;
    int error = cs_strip_get(store, object->name, writing->index, &writing->before);
    if (error)
        return error;
    writing->strip = writing->before;
    error = cs_room(store, (writing->to - 1) / CS_BLOCK - writing->from / CS_BLOCK + 1, false);
    if (!error)
        error = take_blocks(writing);
    if (!error)
        error = load_edges(writing);
    if (!error)
        error = cs_strip_prepare(store, &writing->before, &writing->strip);
    if (!error)
        error = write_blocks(writing);
    if (error) {
        cs_log_forget(store);
        cs_strip_undo(store, &writing->before, &writing->strip);
        return cs_damage(store, object->name, writing->index * CS_STRIP, error);
    }
    if (end > object->record.length)
        object->record.length = end;
    return cs_strip_put(store, object, writing->index, &writing->before, &writing->strip);
}

int cs_check_range(const struct cs_store *store, uint64_t offset, uint64_t length)
{
    if (offset > CS_OBJECT_BYTES_MAX || length > CS_OBJECT_BYTES_MAX - offset)
        return err_set(-EFBIG, "%s: offset %" PRIu64 " is beyond what an object can hold", store->config.name,
                       offset);
    return 0;
}

int cs_write(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
             const struct iovec *iov, size_t iov_count, const uint32_t *crcs)
{
    struct writing writing; /* 13 KiB, which are not worth filling with zeros for each record */
    uint64_t length = iov_length(iov, iov_count);
    writing.store = store;
    writing.source = (struct source){.iov = iov, .left = iov_count};
    writing.crcs = crcs;
    writing.transfer.store = store;
    writing.transfer.count = 0;
    writing.transfer.begin = writing.transfer.bytes = 0;
    int error = cs_changeable(store);
    if (!error)
        error = cs_check_range(store, offset, length);
    if (!error)
        error = cs_object_get(store, name, layout, &writing.object);
    if (error || length == 0)
        return error;
    writing.object.record.mtime_ns = cs_clock_ns();
    while (length > 0 && !error) {
        const uint64_t room = CS_STRIP - offset % CS_STRIP, part = length < room ? length : room;
        writing.index = offset / CS_STRIP;
        writing.from = (uint32_t)(offset % CS_STRIP);
        writing.to = writing.from + (uint32_t)part;
        error = write_strip(&writing);
        offset += part;
        length -= part;
    }
    return error;
}
