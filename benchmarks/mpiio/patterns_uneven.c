/* SPDX-License-Identifier: Apache-2.0 */
/*
 * patterns_uneven.c: ranks that have unlike amounts, each a run of its own.
 */
#include "bench.h"

static void make_run(const struct shape *shape, int64_t first, int64_t count, struct part *part)
{
    part_segments(part, first * shape->call_bytes, count * shape->call_bytes, 0, 1);
    for (int64_t i = 0; i < count; i++)
        part_call(part, (first + i) * shape->call_bytes, shape->call_bytes);
}

static int64_t calls_of(const struct shape *shape)
{
    int64_t calls = shape->bytes / shape->call_bytes;
    return calls > 0 ? calls : 1;
}

void make_uneven(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part)
{
    (void)pattern;
    int64_t shares = (int64_t)shape->ranks * (shape->ranks + 1) / 2, calls = calls_of(shape);
    int64_t first = calls * rank * (rank + 1) / 2 / shares;
    make_run(shape, first, calls * (rank + 1) * (rank + 2) / 2 / shares - first, part);
}

void make_one_rank(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part)
{
    (void)pattern;
    if (rank == 0)
        make_run(shape, 0, calls_of(shape), part);
}
