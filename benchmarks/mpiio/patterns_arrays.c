/* SPDX-License-Identifier: Apache-2.0 */
/*
 * patterns_arrays.c: what simulations keep: a field on a grid, and particles.
 */
#include "bench.h"

/* ---- a cube of doubles, as in coll_perf -------------------------------- */

static void block_of(int size, int blocks, int index, int *start, int *count)
{
    *start = (int)((int64_t)size * index / blocks);
    *count = (int)((int64_t)size * (index + 1) / blocks) - *start;
}

void make_block3d(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part)
{
    (void)pattern;
    int edge = 1, dims[3] = {0}, sizes[3], starts[3], counts[3];
    MPI_Dims_create(shape->ranks, 3, dims);
    while ((int64_t)(edge + 1) * (edge + 1) * (edge + 1) * (int64_t)sizeof(double) <= shape->bytes)
        edge++;
    while (edge < dims[0]) /* no rank is left without a block; dims[0] is the largest */
        edge++;
    int place[3] = {rank / (dims[1] * dims[2]), rank / dims[2] % dims[1], rank % dims[2]};
    for (int d = 0; d < 3; d++) {
        sizes[d] = edge;
        block_of(edge, dims[d], place[d], &starts[d], &counts[d]);
    }
    int64_t row = (int64_t)edge * (int64_t)sizeof(double);
    for (int x = starts[0]; x < starts[0] + counts[0]; x++)
        part_segments(part, (x * (int64_t)edge + starts[1]) * row + starts[2] * (int64_t)sizeof(double),
                      counts[2] * (int64_t)sizeof(double), row, counts[1]);
    MPI_Type_create_subarray(3, sizes, counts, starts, MPI_ORDER_C, MPI_DOUBLE, &part->filetype);
    MPI_Type_commit(&part->filetype);
    part->etype = MPI_DOUBLE;
    part_call(part, 0, part->bytes);
}

/* ---- particles, as in HACC-IO ------------------------------------------ */

enum { HEADER_BYTES = 4096 };

void make_particles(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part)
{
    /* Place, velocity and potential are floats; then an identity and a mask. */
    static const int widths[] = {4, 4, 4, 4, 4, 4, 4, 8, 2};
    enum { variables = sizeof widths / sizeof widths[0], particle_bytes = 38 };
    (void)pattern;
    /* An odd number, so that the ranks' parts begin at odd places. */
    int64_t total = (shape->bytes - HEADER_BYTES) / particle_bytes;
    total = total < 1 ? 1 : total - (total % 2 == 0);
    int64_t first = total * rank / shape->ranks, count = total * (rank + 1) / shape->ranks - first;

    if (rank == 0)
        part_segments(part, 0, HEADER_BYTES, 0, 1);
    part_call(part, 0, rank == 0 ? HEADER_BYTES : 0);
    int64_t start = HEADER_BYTES;
    for (int v = 0; v < variables; v++) {
        part_segments(part, start + first * widths[v], count * widths[v], 0, 1);
        part_call(part, start + first * widths[v], count * widths[v]);
        start += total * widths[v];
    }
}
