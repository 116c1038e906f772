/* SPDX-License-Identifier: Apache-2.0 */
/*
 * patterns_records.c: equal records, one behind the other, in turn, or at random.
 */
#include <stdlib.h>

#include "bench.h"
#include "common/program.h"

void make_contiguous(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part)
{
    (void)pattern;
    int64_t calls = shape->bytes / shape->ranks / shape->call_bytes;
    if (calls == 0)
        calls = 1;
    int64_t mine = calls * shape->call_bytes;
    part_segments(part, rank * mine, mine, 0, 1);
    for (int64_t i = 0; i < calls; i++)
        part_call(part, rank * mine + i * shape->call_bytes, shape->call_bytes);
}

static int64_t records_each(const struct shape *shape, int64_t record)
{
    int64_t count = shape->bytes / (record * shape->ranks);
    return count > 0 ? count : 1;
}

void make_interleaved(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part)
{
    int64_t record = pattern->parameter, turn = record * shape->ranks;
    MPI_Datatype one;
    part_segments(part, rank * record, record, turn, records_each(shape, record));
    MPI_Type_contiguous((int)record, MPI_BYTE, &one);
    MPI_Type_create_resized(one, 0, turn, &part->filetype);
    MPI_Type_commit(&part->filetype);
    MPI_Type_free(&one);
    part->etype = MPI_BYTE;
    part->displacement = rank * record;
    part_slices(part, shape->call_bytes > record ? shape->call_bytes / record * record : record);
}

void make_interleaved_each(const struct pattern *pattern, const struct shape *shape, int rank,
                           struct part *part)
{
    int64_t record = pattern->parameter, turn = record * shape->ranks;
    int64_t count = records_each(shape, record);
    part_segments(part, rank * record, record, turn, count);
    for (int64_t i = 0; i < count; i++)
        part_call(part, rank * record + i * turn, record);
}

/* ---- random ----------------------------------------------------------- */

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* The rank's blocks: every block of the file has one rank, the same for all that ask. The caller frees it. */
static int64_t *blocks_of(const struct shape *shape, int64_t block, int rank, int64_t *count)
{
    int64_t each = records_each(shape, block), total = each * shape->ranks;
    int64_t *order = malloc((size_t)total * sizeof *order);
    uint64_t state = shape->seed;
    if (order == NULL)
        program_die("out of memory");
    for (int64_t i = 0; i < total; i++) {
        int64_t j = (int64_t)(next_random(&state) % (uint64_t)(i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    for (int64_t i = 0; i < each; i++)
        order[i] = order[rank * each + i];
    *count = each;
    return order;
}

void make_random_each(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part)
{
    int64_t count, block = pattern->parameter;
    int64_t *blocks = blocks_of(shape, block, rank, &count);
    for (int64_t i = 0; i < count; i++) {
        part_segments(part, blocks[i] * block, block, 0, 1);
        part_call(part, blocks[i] * block, block);
    }
    free(blocks);
}

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

void make_random(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part)
{
    int64_t count, block = pattern->parameter;
    int64_t *blocks = blocks_of(shape, block, rank, &count);
    MPI_Aint *places = malloc((size_t)count * sizeof *places);
    if (places == NULL)
        program_die("out of memory");
    qsort(blocks, (size_t)count, sizeof *blocks, by_value); /* a view goes forward */
    for (int64_t i = 0; i < count; i++) {
        places[i] = (MPI_Aint)(blocks[i] * block);
        part_segments(part, blocks[i] * block, block, 0, 1);
    }
    MPI_Type_create_hindexed_block((int)count, (int)block, places, MPI_BYTE, &part->filetype);
    MPI_Type_commit(&part->filetype);
    part->etype = MPI_BYTE;
    part_slices(part, shape->call_bytes);
    free(places);
    free(blocks);
}
