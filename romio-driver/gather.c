/* SPDX-License-Identifier: Apache-2.0 */
#include "gather.h"

/* The file's chunks from the first to the last that some rank writes in. */
struct chunks {
    int64_t size;
    int64_t first;
    size_t count;
    uint64_t *bytes; /* of each, by all ranks together */
};

static void chunks_of(struct chunks *chunks, ADIO_File fd, const struct reach *reaches)
{
    struct weft_layout layout;
    int ranks;
    int64_t start = INT64_MAX, end = 0;
    weft_file_layout(driver_file(fd)->file, &layout);
    MPI_Comm_size(fd->comm, &ranks);
    for (int rank = 0; rank < ranks; rank++) {
        if (reaches[rank].bytes == 0)
            continue;
        start = reaches[rank].start < start ? reaches[rank].start : start;
        end = reaches[rank].end > end ? reaches[rank].end : end;
    }
    chunks->size = (int64_t)layout.chunk_size;
    chunks->first = start / chunks->size;
    chunks->count = (size_t)(end / chunks->size - chunks->first) + 1;
    chunks->bytes = ADIOI_Calloc(chunks->count, sizeof *chunks->bytes);
}

/* Collective. */
static void chunks_add_up(struct chunks *chunks, ADIO_File fd, struct access access)
{
    int64_t offset;
    struct piece piece;
    while ((offset = access_offset(&access)) != INT64_MAX) {
        int64_t chunk = offset / chunks->size;
        while (access_next(&access, (chunk + 1) * chunks->size, &piece))
            chunks->bytes[chunk - chunks->first] += (uint64_t)piece.length;
    }
    MPI_Allreduce(MPI_IN_PLACE, chunks->bytes, (int)chunks->count, MPI_UINT64_T, MPI_SUM, fd->comm);
}

/* What was started and not waited for. Two batches are under way at once: where one ends inside a
 * chunk, the shard holds its pieces until those of the next have come. */
struct under_way {
    weft_op_t *ops[2];
    unsigned turn;
    int64_t written;
};

static void wait_for(struct under_way *way, weft_op_t **op, struct failure *failure)
{
    if (*op == NULL)
        return;
    ssize_t result = weft_wait(*op);
    *op = NULL;
    if (result >= 0)
        way->written += result;
    else if (failure->class == MPI_SUCCESS)
        failure_set(failure, (int)result);
}

int64_t gather_write(ADIO_File fd, struct access *access, const struct reach *reaches,
                     struct failure *failure)
{
    struct chunks chunks;
    struct batch batch = {0};
    struct under_way way = {0};
    chunks_of(&chunks, fd, reaches);
    chunks_add_up(&chunks, fd, *access);
    struct weft_gather gather = {.id = reaches[0].id,
                                 .first_chunk = (uint64_t)chunks.first,
                                 .chunk_count = chunks.count,
                                 .bytes = chunks.bytes};
    while (failure->class == MPI_SUCCESS && batch_fill(&batch, access)) {
        weft_op_t **op = &way.ops[way.turn++ % 2];
        wait_for(&way, op, failure);
        int error = weft_file_write_gather_async(driver_file(fd)->file, batch.iov, batch.iov_count,
                                                 batch.extents, batch.extent_count, &gather, op);
        if (error < 0) {
            *op = NULL;
            failure_set(failure, error);
        }
    }
    wait_for(&way, &way.ops[way.turn % 2], failure);
    wait_for(&way, &way.ops[(way.turn + 1) % 2], failure);
    batch_free(&batch);
    ADIOI_Free(chunks.bytes);
    return failure->class == MPI_SUCCESS ? way.written : -1;
}
