/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_store.h"
#include "cs_ahead.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "copy.h"
#include "crc.h"
#include "err.h"
#include "storage/iov.h"

enum { PIECES_MAX = 256 }; /* memory pieces of one call of the disk */

/* ---- the caller's memory ------------------------------------------------ */

static void copy_out(struct iov_source *source, uint8_t *to, size_t length)
{
    while (length > 0) {
        struct iovec piece = iov_next(source, length);
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
    transfer->bytes += piece.iov_len;
    iov_append(transfer->iov, &transfer->count, PIECES_MAX, piece);
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
    struct iov_source source;
    const uint32_t *crcs; /* of the whole blocks that are left; NULL: not known */
    uint32_t from, to;    /* in the strip */
    struct cs_change change;
    struct cs_ahead *ahead;   /* what of it is in place; NULL: nothing */
    uint64_t in_place;        /* blocks of the strip */
    struct cs_edge *edges[2]; /* the first and last block, where a part of it is written */
    struct transfer transfer;
};

static uint32_t first_block(const struct writing *writing)
{
    return writing->from / CS_BLOCK;
}

static uint32_t last_block(const struct writing *writing)
{
    return (writing->to - 1) / CS_BLOCK;
}

static uint64_t object_block(const struct writing *writing, unsigned i)
{
    return writing->change.index * CS_STRIP_BLOCKS + i;
}

/* The block that has the bytes already, if there is one. */
static int use_ahead(struct writing *writing, unsigned i, uint32_t *block)
{
    *block = writing->ahead ? cs_ahead_use(writing->ahead, object_block(writing, i)) : CS_HOLE;
    if (*block == CS_HOLE)
        return 0;
    int error = cs_space_keep(&writing->store->space, *block);
    if (error) {
        cs_space_drop(&writing->store->space, *block);
        return error;
    }
    writing->change.strip.block[i] = *block;
    writing->in_place |= UINT64_C(1) << i;
    return 0;
}

static int not_taken(const struct writing *writing, int error)
{
    return error == -ENOSPC ? err_set(-ENOSPC, "%s is full", writing->store->config.name) : error;
}

/* A block for each that is written. Those that no commit holds stay where they are, and are written over;
 * but where there are many, others cost less than a copy of the bytes in the log. */
static int take_blocks(struct writing *writing)
{
    struct cs_space *space = &writing->store->space;
    struct cs_strip *strip = &writing->change.strip;
    const unsigned first = first_block(writing), last = last_block(writing);
    const unsigned whole = (writing->from + CS_BLOCK - 1) / CS_BLOCK, whole_end = writing->to / CS_BLOCK;
    const bool wide = writing->change.index > 0 || last - first + 1 >= CS_WIDE_BLOCKS;
    uint32_t wish = CS_HOLE;
    for (unsigned i = first; i <= last; i++) {
        const uint32_t old = strip->block[i];
        uint32_t block;
        int error = use_ahead(writing, i, &block);
        if (error)
            return not_taken(writing, error);
        if (block != CS_HOLE) {
            wish = block + 1;
            continue;
        }
        const bool anew = whole_end >= whole + CS_ANEW_BLOCKS && i >= whole && i < whole_end;
        if (old != CS_HOLE && cs_space_is_fresh(space, old) && !anew) {
            wish = old + 1;
            continue;
        }
        if (wish == CS_HOLE && old == CS_HOLE)
            wish = cs_strip_place(strip, i);
        error = cs_space_take(space, wish, wide, &block);
        if (error)
            return not_taken(writing, error);
        /* A strip that is new begins where it leaves room for what may come in front. */
        if (wide && wish == CS_HOLE && i > 0 && cs_strip_is_hole(strip) && block % CS_STRIP_BLOCKS == 0) {
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

/* ---- blocks of which a part is written ---------------------------------- */

static struct cs_edge *edge_of(const struct writing *writing, unsigned i)
{
    return writing->edges[i != first_block(writing)];
}

static bool edge_is_good(const struct cs_edge *edge, const struct cs_strip *strip, unsigned i)
{
    return strip->block[i] != CS_HOLE && edge->block == strip->block[i] && edge->crc == strip->crc[i];
}

/* A record that begins where the one before ended, and goes to the block's end or beyond it: the checksum
 * goes on from there, and no byte of the block is needed. */
static bool goes_on(const struct writing *writing, const struct cs_edge *edge, unsigned i)
{
    return edge_is_good(edge, &writing->change.before, i) &&
           writing->change.strip.block[i] == writing->change.before.block[i] && i == first_block(writing) &&
           edge->begin_length == writing->from % CS_BLOCK && writing->to >= (i + 1) * CS_BLOCK;
}

/* All that the object has of the block is written: behind that there are zeros. So a block that is damaged
 * can be written anew. */
static bool covers_block(const struct writing *writing, unsigned i)
{
    return writing->from <= i * CS_BLOCK && i == last_block(writing) &&
           writing->object.record.length <= writing->change.index * CS_STRIP + writing->to;
}

/* What the block held, with the new bytes put over it later. All of these are
 * loaded before anything is written: an error leaves what was there. */
static int load_edge(struct writing *writing, unsigned i, struct cs_edge *edge)
{
    struct cs_store *store = writing->store;
    const uint32_t old = writing->change.before.block[i], crc = writing->change.before.crc[i];
    const struct cs_edge *kept = &store->edges[old % CS_EDGES];
    if (goes_on(writing, edge, i))
        return 0;
    const bool good =
        edge_is_good(kept, &writing->change.before, i) && crc_of(0, kept->bytes, CS_BLOCK) == crc;
    edge->block = CS_HOLE;
    if (good && kept != edge)
        memcpy(edge->bytes, kept->bytes, CS_BLOCK);
    else if (old == CS_HOLE || (!good && covers_block(writing, i)))
        memset(edge->bytes, 0, CS_BLOCK);
    else if (!good)
        return cs_block_load(store, writing->object.name,
                             writing->change.index * CS_STRIP + (uint64_t)i * CS_BLOCK, old, crc,
                             edge->bytes);
    return 0;
}

static int load_edges(struct writing *writing)
{
    struct cs_edge *edges = writing->store->edges;
    const unsigned first = first_block(writing), last = last_block(writing);
    int error = 0;
    writing->edges[0] = &edges[writing->change.strip.block[first] % CS_EDGES];
    writing->edges[1] = &edges[writing->change.strip.block[last] % CS_EDGES];
    if (writing->edges[1] == writing->edges[0])
        writing->edges[1] = &edges[CS_EDGES];
    if (writing->from % CS_BLOCK || (first == last && writing->to % CS_BLOCK))
        error = load_edge(writing, first, writing->edges[0]);
    if (!error && first != last && writing->to % CS_BLOCK)
        error = load_edge(writing, last, writing->edges[1]);
    return error;
}

/* The new bytes [from, to) are in place. Returns the block's checksum. */
static uint32_t sum_edge(const struct writing *writing, struct cs_edge *edge, unsigned i, uint32_t to)
{
    edge->begin_length = to;
    edge->begin_crc = crc_of(0, edge->bytes, to);
    edge->crc = crc_of(edge->begin_crc, edge->bytes + to, CS_BLOCK - to);
    edge->block = edge == &writing->store->edges[CS_EDGES] ? CS_HOLE : writing->change.strip.block[i];
    return edge->crc;
}

static int write_edge(struct writing *writing, unsigned i, uint32_t from, uint32_t to)
{
    struct cs_edge *edge = edge_of(writing, i);
    copy_out(&writing->source, edge->bytes + from, to - from);
    writing->change.strip.crc[i] = sum_edge(writing, edge, i, to);
    return transfer_add(&writing->transfer, (struct iovec){edge->bytes, CS_BLOCK});
}

static int write_whole(struct writing *writing, unsigned i)
{
    const bool known = writing->crcs != NULL, in_place = writing->in_place >> i & 1;
    uint32_t crc = known ? *writing->crcs++ : 0;
    for (size_t done = 0; done < CS_BLOCK;) {
        struct iovec piece = iov_next(&writing->source, CS_BLOCK - done);
        if (!known)
            crc = crc_of(crc, piece.iov_base, piece.iov_len);
        int error = in_place ? 0 : transfer_add(&writing->transfer, piece);
        if (error)
            return error;
        done += piece.iov_len;
    }
    writing->change.strip.crc[i] = crc;
    if (in_place)
        writing->store->bytes_dirty += CS_BLOCK;
    return 0;
}

/* A block that is written over: that happens when it is in the log. */
static void patch_block(struct writing *writing, unsigned i, uint32_t from, uint32_t to)
{
    struct cs_edge *edge = edge_of(writing, i);
    uint8_t *bytes = cs_log_patch(writing->store, writing->change.strip.block[i], from, to - from);
    uint32_t *crc = &writing->change.strip.crc[i];
    copy_out(&writing->source, bytes, to - from);
    if (to - from == CS_BLOCK) {
        *crc = writing->crcs ? *writing->crcs++ : crc_of(0, bytes, CS_BLOCK);
    } else if (goes_on(writing, edge, i)) {
        *crc = crc_of(edge->begin_crc, bytes, to - from);
        edge->block = CS_HOLE;
    } else {
        memcpy(edge->bytes + from, bytes, to - from);
        *crc = sum_edge(writing, edge, i, to);
    }
}

static int write_blocks(struct writing *writing)
{
    const unsigned first = first_block(writing), last = last_block(writing);
    int error = 0;
    for (unsigned i = first; i <= last && !error; i++) {
        const uint32_t at = i * CS_BLOCK;
        const uint32_t from = i == first ? writing->from - at : 0;
        const uint32_t to = i == last ? writing->to - at : CS_BLOCK;
        if (writing->in_place >> i & 1) {
            error = write_whole(writing, i);
            continue;
        }
        if (writing->change.strip.block[i] == writing->change.before.block[i]) {
            patch_block(writing, i, from, to);
            continue;
        }
        error = transfer_at(&writing->transfer, (uint64_t)writing->change.strip.block[i] * CS_BLOCK);
        if (!error)
            error = to - from == CS_BLOCK ? write_whole(writing, i) : write_edge(writing, i, from, to);
    }
    /* The edges are used again for the next strip. */
    return error ? error : transfer_write(&writing->transfer);
}

/* Beside those that are in place. */
static uint32_t blocks_wanted(const struct writing *writing)
{
    const unsigned first = first_block(writing), last = last_block(writing);
    const uint32_t ahead = writing->ahead ? cs_ahead_count(writing->ahead, object_block(writing, first),
                                                           object_block(writing, last))
                                          : 0;
    return last - first + 1 - ahead;
}

static int write_strip(struct writing *writing)
{
    struct cs_store *store = writing->store;
    struct cs_object *object = &writing->object;
    struct cs_change *change = &writing->change;
    const uint64_t end = change->index * CS_STRIP + writing->to;
    int error = cs_strip_get(store, object->name, change->index, &change->before);
    if (error)
        return error;
    change->strip = change->before;
    change->touched =
        CS_ALL_BLOCKS << first_block(writing) & CS_ALL_BLOCKS >> (CS_STRIP_BLOCKS - 1 - last_block(writing));
    writing->in_place = 0;
    error = cs_room(store, blocks_wanted(writing), false);
    if (!error)
        error = take_blocks(writing);
    if (!error)
        error = load_edges(writing);
    if (!error)
        error = cs_strip_prepare(store, change);
    if (!error)
        error = write_blocks(writing);
    if (error) {
        cs_log_forget(store);
        cs_strip_undo(store, change);
        return cs_damage(store, object->name, change->index * CS_STRIP, error);
    }
    if (end > object->record.length)
        object->record.length = end;
    return cs_strip_put(store, object, change);
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
    return cs_write_ahead(store, name, layout, offset, iov, iov_count, crcs, NULL);
}

int cs_write_ahead(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
                   const struct iovec *iov, size_t iov_count, const uint32_t *crcs, struct cs_ahead *ahead)
{
    struct writing writing; /* 5 KiB, which are not worth filling with zeros for each record */
    uint64_t length = iov_length(iov, iov_count);
    writing.store = store;
    writing.source = (struct iov_source){.iov = iov, .left = iov_count};
    writing.crcs = crcs;
    writing.ahead = ahead;
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
        writing.change.index = offset / CS_STRIP;
        writing.from = (uint32_t)(offset % CS_STRIP);
        writing.to = writing.from + (uint32_t)part;
        error = write_strip(&writing);
        offset += part;
        length -= part;
    }
    return error;
}
