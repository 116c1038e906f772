/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_ahead.h"

#include <errno.h>
#include <stdlib.h>

#include "err.h"
#include "storage/iov.h"

enum { PIECE_IOVS = sizeof((struct cs_piece *)0)->iov / sizeof(struct iovec) };

/* ---- blocks ------------------------------------------------------------- */

/* Where those of the strip lie that are not made yet, if one was begun a moment ago: what follows each other
 * in a strip is to lie so on the disk, whether the first write has been made or not. */
static struct cs_ahead_place *place_of(struct cs_store *store, struct cs_name name, uint64_t index)
{
    const uint64_t hash = (name.ino * 31 + name.position) * 31 + index;
    return &store->ahead_places[hash % CS_AHEAD_PLACES];
}

static bool place_is(const struct cs_ahead_place *place, struct cs_name name, uint64_t index)
{
    return place->name.ino == name.ino && place->name.position == name.position && place->index == index;
}

/* Blocks first to last of one strip. Where they are few, those that are written over cost less than new
 * ones. */
static int take_strip(struct cs_store *store, struct cs_name name, uint64_t index, unsigned first,
                      unsigned last, struct cs_ahead *ahead)
{
    const bool wide = index > 0 || last - first + 1 >= CS_WIDE_BLOCKS;
    const bool anew = last - first + 1 >= CS_ANEW_BLOCKS;
    struct cs_ahead_place *place = place_of(store, name, index);
    struct cs_strip strip;
    uint32_t wish = CS_HOLE;
    int error = cs_strip_get(store, name, index, &strip);
    for (unsigned i = first; i <= last && !error; i++) {
        const uint64_t at = index * CS_STRIP_BLOCKS + i - ahead->first;
        const uint32_t old = strip.block[i];
        if (old != CS_HOLE && !anew && cs_space_is_fresh(&store->space, old)) {
            ahead->all = false;
            continue;
        }
        if (wish == CS_HOLE && place_is(place, name, index))
            wish = place->block + i;
        if (wish == CS_HOLE && old == CS_HOLE)
            wish = cs_strip_place(&strip, i);
        error = cs_space_reserve(&store->space, wish, wide, wide && cs_strip_is_hole(&strip) ? i : 0,
                                 &ahead->blocks[at]);
        if (error)
            break;
        ahead->left++;
        if (wish != ahead->blocks[at] && ahead->blocks[at] >= i)
            *place = (struct cs_ahead_place){name, index, ahead->blocks[at] - i};
        wish = ahead->blocks[at] + 1;
    }
    return error;
}

/* ---- pieces ------------------------------------------------------------- */

/* One behind the other in the write and on the disk, within a strip: what is on several disks or segments is
 * cut by others. */
static bool goes_on(const struct cs_ahead *ahead, uint32_t i)
{
    return i > 0 && (ahead->first + i) % CS_STRIP_BLOCKS && ahead->blocks[i - 1] != CS_HOLE &&
           ahead->blocks[i] == ahead->blocks[i - 1] + 1;
}

/* Adds the next bytes, one block. False: it has too many pieces of memory, and all is as before. */
static bool add_block(struct cs_piece *piece, struct iov_source *source)
{
    const struct cs_piece piece_before = *piece;
    const struct iov_source source_before = *source;
    for (size_t left = CS_BLOCK; left > 0;) {
        const struct iovec part = iov_next(source, left);
        if (!iov_append(piece->iov, &piece->iov_count, PIECE_IOVS, part)) {
            *piece = piece_before;
            *source = source_before;
            return false;
        }
        left -= part.iov_len;
    }
    return true;
}

static void skip(struct iov_source *source, size_t length)
{
    while (length > 0)
        length -= iov_next(source, length).iov_len;
}

/* `before`: bytes of the write in front of the first block. Blocks whose memory is in too many pieces are
 * left to the write. */
static int make_pieces(struct cs_store *store, struct iov_source source, size_t before,
                       struct cs_ahead *ahead)
{
    skip(&source, before);
    for (uint32_t i = 0; i < ahead->count; i++) {
        struct cs_piece *next = &ahead->pieces[ahead->piece_count];
        if (ahead->blocks[i] == CS_HOLE) {
            skip(&source, CS_BLOCK);
            continue;
        }
        if (ahead->piece_count && goes_on(ahead, i) && add_block(next - 1, &source))
            continue;
        *next = (struct cs_piece){.offset = (uint64_t)ahead->blocks[i] * CS_BLOCK};
        if (add_block(next, &source)) {
            ahead->piece_count++;
            continue;
        }
        skip(&source, CS_BLOCK);
        cs_space_drop(&store->space, ahead->blocks[i]);
        ahead->blocks[i] = CS_HOLE;
        ahead->left--;
        ahead->all = false;
    }
    return ahead->piece_count ? 0 : -EAGAIN;
}

/* ---- all of it ---------------------------------------------------------- */

static int make(struct cs_store *store, struct cs_name name, struct iov_source source, size_t before,
                struct cs_ahead *ahead)
{
    int error = cs_room(store, ahead->count, false);
    for (uint32_t i = 0; i < ahead->count && !error;) {
        const uint64_t block = ahead->first + i;
        const unsigned first = block % CS_STRIP_BLOCKS;
        const uint32_t room = CS_STRIP_BLOCKS - first, left = ahead->count - i,
                       count = left < room ? left : room;
        error = take_strip(store, name, block / CS_STRIP_BLOCKS, first, first + count - 1, ahead);
        i += count;
    }
    return error ? error : make_pieces(store, source, before, ahead);
}

int cs_ahead_make(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
                  const struct iovec *iov, size_t iov_count, struct cs_ahead *ahead)
{
    const uint64_t length = iov_length(iov, iov_count), end = offset + length;
    struct cs_object object;
    *ahead = (struct cs_ahead){0};
    int error = cs_changeable(store);
    if (!error)
        error = cs_check_range(store, offset, length);
    if (!error)
        error = cs_object_get(store, name, layout, &object);
    if (error)
        return error;
    ahead->first = (offset + CS_BLOCK - 1) / CS_BLOCK;
    if (end / CS_BLOCK <= ahead->first)
        return -EAGAIN;
    ahead->count = (uint32_t)(end / CS_BLOCK - ahead->first);
    ahead->all = offset % CS_BLOCK == 0 && end % CS_BLOCK == 0;
    ahead->blocks = malloc(ahead->count * sizeof *ahead->blocks);
    ahead->pieces = malloc(ahead->count * sizeof *ahead->pieces);
    if (!ahead->blocks || !ahead->pieces) {
        free(ahead->blocks);
        free(ahead->pieces);
        return err_set(-ENOMEM, "no memory for a write");
    }
    for (uint32_t i = 0; i < ahead->count; i++)
        ahead->blocks[i] = CS_HOLE;
    const struct iov_source source = {.iov = iov, .left = iov_count};
    error = make(store, name, source, (size_t)(ahead->first * CS_BLOCK - offset), ahead);
    if (error)
        cs_ahead_drop(store, ahead);
    return error;
}

void cs_ahead_drop(struct cs_store *store, struct cs_ahead *ahead)
{
    for (uint32_t i = 0; i < ahead->count && ahead->left; i++) {
        if (ahead->blocks[i] == CS_HOLE)
            continue;
        cs_space_drop(&store->space, ahead->blocks[i]);
        ahead->left--;
    }
    free(ahead->blocks);
    free(ahead->pieces);
    *ahead = (struct cs_ahead){0};
}

uint32_t cs_ahead_count(const struct cs_ahead *ahead, uint64_t first, uint64_t last)
{
    uint32_t count = 0;
    for (uint64_t block = first; ahead->left && block <= last; block++)
        count += block >= ahead->first && block - ahead->first < ahead->count &&
                 ahead->blocks[block - ahead->first] != CS_HOLE;
    return count;
}

uint32_t cs_ahead_use(struct cs_ahead *ahead, uint64_t block)
{
    if (block < ahead->first || block - ahead->first >= ahead->count)
        return CS_HOLE;
    uint32_t *at = &ahead->blocks[block - ahead->first], used = *at;
    ahead->left -= used != CS_HOLE;
    *at = CS_HOLE;
    return used;
}
