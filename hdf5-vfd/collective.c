/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collective.c: reads and writes of all ranks. Each sends its own list; where they interleave in small
 * pieces, the storage shards are told how much is to come of a write, and put the pieces of a chunk
 * together; where the pieces are tiny, the ranks exchange them first (exchange.c). The model is libcommon's
 * (strategy.h).
 *
 * What the ranks have to move they would have to tell each other before. They do so only when the pieces of
 * the call before were small: programs repeat themselves, and the one call that is taken wrongly is
 * only slower. How small they were is told behind a read without waiting for anybody; the next one
 * finds it there.
 */
#include "driver.h"

#if VFD_HAS_MPI

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Larger pieces gain nothing from being gathered. */
#define SMALL_BYTES 16384

/* Of a rank that has failed before. */
static const struct list_io nothing;

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
static uint64_t *gather_prepare(const struct vfd_file *file, const struct list_io *list, uint64_t chunk_size,
                                struct weft_gather *gather)
{
    const struct reach *reaches = file->ranks->reaches;
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

static int write_gathered(struct vfd_file *file, const struct list_io *list, uint64_t chunk_size)
{
    struct weft_gather gather;
    uint64_t *bytes = gather_prepare(file, list, chunk_size, &gather);
    int error = bytes ? vfd_list_gather(file, list, &gather) : -ENOMEM;
    free(bytes);
    return error;
}

/* Collective: what the ranks tell each other goes to ranks->reaches; the choice, the same on all. */
static struct choice agree(struct vfd_file *file, const struct list_io *list, bool is_write,
                           int64_t *chunk_size)
{
    struct vfd_ranks *ranks = file->ranks;
    const enum strategy asked = is_write ? ranks->sharing.write : ranks->sharing.read;
    struct reach reach = reach_of(ranks, list);
    struct weft_layout layout;
    weft_file_layout(file->file, &layout);
    *chunk_size = (int64_t)layout.chunk_size;
    MPI_Allgather(&reach, sizeof reach, MPI_BYTE, ranks->reaches, sizeof reach, MPI_BYTE, ranks->own);
    struct choice choice = strategy_choose(asked, is_write, ranks->reaches, ranks->count, *chunk_size);
    /* What is written in one call by HDF5 is much; then larger pieces are worth being gathered, too. */
    if (is_write && asked == STRATEGY_AUTO && choice.method != METHOD_TWO_PHASE)
        choice = strategy_choose(STRATEGY_DIRECT, true, ranks->reaches, ranks->count, *chunk_size);
    return choice;
}

/* Collective. `error` is one that this rank has already: it takes part all the same. */
static int write_told(struct vfd_file *file, const struct list_io *list, int error)
{
    const struct list_io *mine = error ? &nothing : list;
    int64_t chunk_size, moved;
    int written;
    switch (agree(file, mine, true, &chunk_size).method) {
    case METHOD_TWO_PHASE:
        written = vfd_exchange(file, mine, true, error != 0, &moved);
        if (!written)
            vfd_list_is_written(file, mine);
        break;
    case METHOD_GATHER:
        written = write_gathered(file, mine, (uint64_t)chunk_size);
        break;
    default:
        written = vfd_list_write(file, mine);
    }
    return error ? error : written;
}

static int64_t grain_of(const struct list_io *list)
{
    return list->extent_count ? (int64_t)(list->bytes / list->extent_count) : INT64_MAX;
}

/* HDF5 waits for nobody behind a collective write, and relies on all of it being there. */
int vfd_collective_write(struct vfd_file *file, const struct list_io *list, int error)
{
    struct vfd_ranks *ranks = file->ranks;
    int64_t grain = grain_of(list);
    if (ranks->wrote_small || ranks->sharing.write == STRATEGY_TWO_PHASE)
        error = write_told(file, list, error);
    else if (!error)
        error = vfd_list_write(file, list);
    error = vfd_ranks_agree_least(ranks, error, &grain);
    ranks->wrote_small = grain < SMALL_BYTES;
    return error;
}

/* ---- reads ------------------------------------------------------------------ */

static bool is_tiny(const struct vfd_ranks *ranks, int64_t grain)
{
    struct choice choice;
    return !strategy_is_known(ranks->sharing.read, false, grain, &choice);
}

/* Whether the pieces of the read before were tiny on some rank. */
static bool read_was_tiny(struct vfd_ranks *ranks)
{
    if (ranks->telling != MPI_REQUEST_NULL) {
        MPI_Wait(&ranks->telling, MPI_STATUS_IGNORE);
        ranks->read_tiny = is_tiny(ranks, ranks->heard);
    }
    return ranks->read_tiny;
}

/* Collective. */
static int read_told(struct vfd_file *file, const struct list_io *list, int error)
{
    struct vfd_ranks *ranks = file->ranks;
    const struct list_io *mine = error ? &nothing : list;
    int64_t chunk_size, moved, grain = INT64_MAX;
    struct choice choice = agree(file, mine, false, &chunk_size);
    for (int rank = 0; rank < ranks->count; rank++) {
        const struct reach *reach = &ranks->reaches[rank];
        if (reach->pieces > 0 && reach->bytes / reach->pieces < grain)
            grain = reach->bytes / reach->pieces;
    }
    ranks->read_tiny = is_tiny(ranks, grain);
    if (choice.method != METHOD_TWO_PHASE)
        return error ? error : vfd_list_read(file, H5FD_MEM_DRAW, mine);
    int moving = vfd_exchange(file, mine, false, error != 0, &moved);
    if (!error)
        error = moving;
    if (!error && (uint64_t)moved < mine->bytes)
        error = vfd_list_end_read(file, mine);
    return vfd_ranks_agree(ranks, error);
}

int vfd_collective_read(struct vfd_file *file, const struct list_io *list, int error)
{
    struct vfd_ranks *ranks = file->ranks;
    const bool is_direct = ranks->sharing.read == STRATEGY_DIRECT;
    if (!is_direct && read_was_tiny(ranks))
        return read_told(file, list, error);
    if (!error)
        error = vfd_list_read(file, H5FD_MEM_DRAW, list);
    if (is_direct)
        return error;
    ranks->told = grain_of(list);
    MPI_Iallreduce(&ranks->told, &ranks->heard, 1, MPI_INT64_T, MPI_MIN, ranks->own, &ranks->telling);
    return error;
}

#endif
