/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collective.c: a write of all ranks. Each sends its own list; where they interleave in small pieces, the
 * storage shards are told how much is to come, and put the pieces of a chunk together. The model is
 * libcommon's (strategy.h).
 *
 * What the ranks have to write they would have to tell each other first. They do so only when the pieces of
 * the write before were small: programs repeat themselves, and the one call that is taken wrongly is
 * only slower.
 */
#include "driver.h"

#if VFD_HAS_MPI

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "strategy.h"

/* Larger pieces gain nothing from being gathered. */
#define SMALL_BYTES 16384

/* Differs from all of other files, jobs and times. */
static uint64_t new_number(struct vfd_ranks *ranks)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t number = (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
    return (number * UINT64_C(0x9e3779b97f4a7c15)) ^ ((uint64_t)getpid() << 32) ^ ++ranks->gathers;
}

static struct reach reach_of(struct vfd_ranks *ranks, const struct list_io *list)
{
    struct reach reach = {.start = INT64_MAX,
                          .end = -1,
                          .bytes = (int64_t)list->bytes,
                          .pieces = (int64_t)list->extent_count,
                          .rises = true,
                          .id = new_number(ranks)};
    for (size_t i = 0; i < list->extent_count; i++) {
        int64_t offset = (int64_t)list->extents[i].offset,
                end = offset + (int64_t)list->extents[i].length - 1;
        reach.rises = reach.rises && offset > reach.end;
        reach.start = offset < reach.start ? offset : reach.start;
        reach.end = end > reach.end ? end : reach.end;
    }
    return reach;
}

/* Adds up what this rank has of each chunk. */
static void count_bytes(const struct list_io *list, uint64_t chunk_size, struct weft_gather *gather,
                        uint64_t *bytes)
{
    for (size_t i = 0; i < list->extent_count; i++) {
        uint64_t offset = list->extents[i].offset, left = list->extents[i].length;
        while (left > 0) {
            uint64_t length = chunk_size - offset % chunk_size;
            length = length < left ? length : left;
            bytes[offset / chunk_size - gather->first_chunk] += length;
            offset += length;
            left -= length;
        }
    }
}

/* Collective: fills *gather, whose numbers are the caller's to free; NULL where there was no memory. */
static uint64_t *gather_prepare(const struct vfd_file *file, const struct list_io *list,
                                const struct reach *reaches, uint64_t chunk_size, struct weft_gather *gather)
{
    int64_t start = INT64_MAX, end = -1;
    for (int rank = 0; rank < file->ranks->count; rank++) {
        if (reaches[rank].bytes == 0)
            continue;
        start = reaches[rank].start < start ? reaches[rank].start : start;
        end = reaches[rank].end > end ? reaches[rank].end : end;
    }
    gather->id = reaches[0].id;
    gather->first_chunk = (uint64_t)start / chunk_size;
    gather->chunk_count = (size_t)((uint64_t)end / chunk_size - gather->first_chunk + 1);
    uint64_t *bytes = calloc(gather->chunk_count, sizeof *bytes);
    if (vfd_ranks_agree(file->ranks, bytes ? 0 : -ENOMEM)) {
        free(bytes);
        return NULL;
    }
    count_bytes(list, chunk_size, gather, bytes);
    MPI_Allreduce(MPI_IN_PLACE, bytes, (int)gather->chunk_count, MPI_UINT64_T, MPI_SUM, file->ranks->own);
    gather->bytes = bytes;
    return bytes;
}

static int write_gathered(struct vfd_file *file, const struct list_io *list, const struct reach *reaches,
                          uint64_t chunk_size)
{
    struct weft_gather gather;
    uint64_t *bytes = gather_prepare(file, list, reaches, chunk_size, &gather);
    int error = bytes ? vfd_list_gather(file, list, &gather) : -ENOMEM;
    free(bytes);
    return error;
}

/* Collective. `error` is one that this rank has already: it takes part all the same. */
static int write_told(struct vfd_file *file, const struct list_io *list, int error)
{
    static const struct list_io nothing;
    struct vfd_ranks *ranks = file->ranks;
    const struct list_io *mine = error ? &nothing : list;
    struct reach reach = reach_of(ranks, mine);
    struct reach *reaches = malloc((size_t)ranks->count * sizeof *reaches);
    struct weft_layout layout;
    int no_memory = vfd_ranks_agree(ranks, reaches ? 0 : -ENOMEM);
    if (no_memory) {
        free(reaches);
        return no_memory;
    }
    weft_file_layout(file->file, &layout);
    MPI_Allgather(&reach, sizeof reach, MPI_BYTE, reaches, sizeof reach, MPI_BYTE, ranks->own);
    struct choice choice =
        strategy_choose(STRATEGY_DIRECT, true, reaches, ranks->count, (int64_t)layout.chunk_size);
    int written = choice.method == METHOD_GATHER ? write_gathered(file, mine, reaches, layout.chunk_size)
                                                 : vfd_list_write(file, mine);
    free(reaches);
    return error ? error : written;
}

/* HDF5 waits for nobody behind a collective write, and relies on all of it being there. */
int vfd_collective_write(struct vfd_file *file, const struct list_io *list, int error)
{
    int64_t grain = list->extent_count ? (int64_t)(list->bytes / list->extent_count) : INT64_MAX;
    if (file->ranks->pieces_are_small)
        error = write_told(file, list, error);
    else if (!error)
        error = vfd_list_write(file, list);
    error = vfd_ranks_agree_least(file->ranks, error, &grain);
    file->ranks->pieces_are_small = grain < SMALL_BYTES;
    return error;
}

#endif
