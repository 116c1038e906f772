/* SPDX-License-Identifier: Apache-2.0 */
/* Writes whose chunks are put together with other processes' pieces, by the storage shards. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "transfer.h"

int gather_copy(struct transfer *transfer, const struct weft_gather *gather)
{
    if (!gather || (gather->chunk_count > 0 && !gather->bytes))
        return err_set(-EINVAL, "there is nothing to gather by (NULL)");
    transfer->gather = *gather;
    transfer->gather.bytes = NULL;
    if (gather->chunk_count == 0)
        return 0;
    uint64_t *bytes = calloc(gather->chunk_count, sizeof *bytes);
    if (!bytes) {
        transfer->gather.chunk_count = 0;
        return err_set(-ENOMEM, "out of memory for the chunks of a write");
    }
    memcpy(bytes, gather->bytes, gather->chunk_count * sizeof *bytes);
    transfer->gather.bytes = bytes;
    return 0;
}

void gather_release(struct transfer *transfer)
{
    free((void *)transfer->gather.bytes);
}

/* What all together write in the chunk; 0 when it is not gathered. */
static uint32_t bytes_of_all(const struct weft_gather *gather, uint64_t chunk)
{
    if (chunk < gather->first_chunk || chunk - gather->first_chunk >= gather->chunk_count)
        return 0;
    uint64_t bytes = gather->bytes[chunk - gather->first_chunk];
    return bytes <= UINT32_MAX ? (uint32_t)bytes : 0;
}

/* Only what others have a part in, and only while the chunks rise. */
ssize_t gather_encode(const struct request *request, struct wire_writer *writer, uint32_t *count)
{
    const struct transfer *transfer = request->transfer;
    const struct planner_request *plan = &request->plan;
    uint64_t chunk_size = transfer->file->layout.chunk_size;
    *count = 0;
    for (uint32_t i = 0; i < plan->extent_count && *count < LIMITS_GATHER_CHUNKS_MAX;) {
        struct wire_gather_chunk wire = {.chunk = plan->extents[i].offset / chunk_size};
        uint64_t own = 0;
        for (; i < plan->extent_count && plan->extents[i].offset / chunk_size == wire.chunk; i++)
            own += plan->extents[i].length;
        if (i < plan->extent_count && plan->extents[i].offset / chunk_size < wire.chunk)
            i = plan->extent_count;
        wire.bytes = bytes_of_all(&transfer->gather, wire.chunk);
        wire.hold = wire.chunk != request->chunks_cut[0] && wire.chunk != request->chunks_cut[1];
        if (wire.bytes > 0 && (wire.bytes != own || !wire.hold)) {
            wire_put_gather_chunk(writer, &wire);
            ++*count;
        }
    }
    return wire_written(writer);
}
