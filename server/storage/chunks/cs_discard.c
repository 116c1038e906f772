/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Space that is given back. What is free in memory was let go of by a commit that is durable, or is no part
 * of any, so that nothing a crash can bring back needs it; the log does not either, since its last word on a
 * block is that it is nobody's. While the disk is at it the blocks are nobody's to have.
 */
#include "cs_store.h"

#include <errno.h>

#include "err.h"

/* Bytes that get their space back at once. */
enum { FILL_BLOCKS = 16384 };

bool cs_discard_begin(struct cs_store *store, uint64_t bytes_max, struct cs_discard *discard)
{
    struct cs_space *space = &store->space;
    uint64_t most = bytes_max / CS_BLOCK;
    if (!store->config.discard || store->failed || !store->io->type->discard || space->stale_words == 0)
        return false;
    /* Where it has to be asked for again, as much stays as is asked for at once. */
    if (cs_io_punches(store->io)) {
        const uint32_t keep = store->config.grow_blocks;
        const uint32_t spare = space->free > keep ? space->free - keep : 0;
        most = most < spare ? most : spare;
    }
    return cs_space_discard_next(space, most < UINT32_MAX ? (uint32_t)most : UINT32_MAX, &discard->block,
                                 &discard->count);
}

int cs_discard_make(struct cs_store *store, const struct cs_discard *discard)
{
    struct cs_io *io = store->io;
    return io->type->discard(io, CS_DATA, (uint64_t)discard->block * CS_BLOCK,
                             (uint64_t)discard->count * CS_BLOCK);
}

void cs_discard_end(struct cs_store *store, const struct cs_discard *discard, int status)
{
    /* After another error some of it may have been done. */
    cs_space_discarded(&store->space, discard->block, discard->count,
                       cs_io_punches(store->io) && status != -EOPNOTSUPP);
    if (status == -EOPNOTSUPP)
        store->config.discard = false;
}

int cs_discard_undo(struct cs_store *store)
{
    struct cs_space *space = &store->space;
    struct cs_io *io = store->io;
    uint32_t block, count;
    if (space->hole_blocks == 0 || !cs_space_hole_next(space, FILL_BLOCKS, &block, &count))
        return 0;
    int error = io->type->fill(io, CS_DATA, (uint64_t)block * CS_BLOCK, (uint64_t)count * CS_BLOCK);
    if (error == -ENOSPC && count > CS_STRIP_BLOCKS) {
        count = CS_STRIP_BLOCKS;
        error = io->type->fill(io, CS_DATA, (uint64_t)block * CS_BLOCK, (uint64_t)count * CS_BLOCK);
    }
    if (error)
        return error == -ENOSPC ? err_set(-ENOSPC, "%s is full", store->config.name) : error;
    cs_space_filled(space, block, count);
    return 1;
}
