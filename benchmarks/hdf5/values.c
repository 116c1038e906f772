/* SPDX-License-Identifier: Apache-2.0 */
/*
 * values.c: what stands in a data set. The values are bits and not numbers: memory and file have the same
 * type, so that HDF5 converts nothing.
 */
#include "bench.h"
#include "common/word.h"

uint64_t values_count(const struct selection *selection)
{
    return selection->count[0] * selection->block[0] * selection->count[1] * selection->block[1];
}

typedef void each_run_fn(void *arg, uint64_t first, uint64_t count);

/* Calls `each` for every run of elements, in the order of memory. */
static void each_run(const struct selection *selection, each_run_fn *each, void *arg)
{
    for (hsize_t i = 0; i < selection->count[0] * selection->block[0]; i++) {
        hsize_t row =
            selection->start[0] + i / selection->block[0] * selection->stride[0] + i % selection->block[0];
        for (hsize_t k = 0; k < selection->count[1]; k++)
            each(arg, row * selection->size[1] + selection->start[1] + k * selection->stride[1],
                 selection->block[1]);
    }
}

struct walk {
    uint64_t seed;
    unsigned words;
    uint64_t *into;
    const uint64_t *from;
    int64_t wrong;
};

static void fill_run(void *arg, uint64_t first, uint64_t count)
{
    struct walk *walk = arg;
    for (uint64_t i = first * walk->words; i < (first + count) * walk->words; i++)
        *walk->into++ = word_at(walk->seed, i);
}

static void check_run(void *arg, uint64_t first, uint64_t count)
{
    struct walk *walk = arg;
    for (uint64_t i = first * walk->words; i < (first + count) * walk->words; i++)
        walk->wrong += *walk->from++ != word_at(walk->seed, i);
}

void values_fill(const struct selection *selection, unsigned words, uint64_t seed, uint64_t *memory)
{
    each_run(selection, fill_run, &(struct walk){.seed = seed, .words = words, .into = memory});
}

int64_t values_check(const struct selection *selection, unsigned words, uint64_t seed, const uint64_t *memory)
{
    struct walk walk = {.seed = seed, .words = words, .from = memory};
    each_run(selection, check_run, &walk);
    return walk.wrong;
}
