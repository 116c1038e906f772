/* SPDX-License-Identifier: Apache-2.0 */
/*
 * array.c: few large data sets, one for each time step, in collective transfers.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "common/phase.h"

#define STEPS_MAX 16

static struct selection selection_of(const struct run *run, int rank)
{
    const struct kernel *kernel = run->kernel;
    struct selection selection;
    int64_t bytes = run->options->bytes / kernel->volume_divisor / kernel->steps;
    kernel->select((uint64_t)bytes / (8 * kernel->words), rank, run->ranks, &selection);
    return selection;
}

/* The rank whose part this one has. */
static int part_of(const struct run *run, enum direction direction)
{
    return direction == DIRECTION_WRITE ? run->rank : (run->rank + 1) % run->ranks;
}

static uint64_t step_seed(const struct run *run, unsigned step)
{
    return run->seed + (uint64_t)step * UINT64_C(0x100000001b3);
}

static size_t words_of_step(const struct run *run, const struct selection *selection)
{
    return values_count(selection) * run->kernel->words;
}

static int64_t items(const struct run *run)
{
    return run->kernel->steps;
}

static size_t bytes(const struct run *run, enum direction direction)
{
    struct selection selection = selection_of(run, part_of(run, direction));
    return 8 * words_of_step(run, &selection) * run->kernel->steps;
}

static void fill(const struct run *run, void *memory)
{
    struct selection selection = selection_of(run, run->rank);
    for (unsigned step = 0; step < run->kernel->steps; step++)
        values_fill(&selection, run->kernel->words, step_seed(run, step),
                    (uint64_t *)memory + step * words_of_step(run, &selection));
}

static int64_t check(const struct run *run, enum direction direction, const void *memory)
{
    struct selection selection = selection_of(run, part_of(run, direction));
    int64_t wrong = 0;
    for (unsigned step = 0; step < run->kernel->steps; step++)
        wrong += values_check(&selection, run->kernel->words, step_seed(run, step),
                              (const uint64_t *)memory + step * words_of_step(run, &selection));
    return wrong;
}

/* ---- HDF5's objects ----------------------------------------------------- */

/* What both directions need for all steps. */
struct objects {
    hid_t file;
    hid_t type;
    hid_t memory_space, file_space;
    hid_t sets[STEPS_MAX];
};

static void objects_begin(const struct run *run, const struct selection *selection, struct objects *objects)
{
    int skip = 2 - selection->dimensions;
    hsize_t mine[2];
    for (int i = 0; i < 2; i++)
        mine[i] = selection->count[i] * selection->block[i];
    objects->type = must(run->kernel->words == 1 ? H5Tcopy(H5T_NATIVE_DOUBLE) : particle_type(), run,
                         "making a type for");
    objects->memory_space =
        must(H5Screate_simple(selection->dimensions, mine + skip, NULL), run, "making a space for");
    objects->file_space = must(H5Screate_simple(selection->dimensions, selection->size + skip, NULL), run,
                               "making a space for");
    must(H5Sselect_hyperslab(objects->file_space, H5S_SELECT_SET, selection->start + skip,
                             selection->stride + skip, selection->count + skip, selection->block + skip),
         run, "selecting in");
}

static void objects_end(const struct run *run, const struct objects *objects)
{
    must(H5Sclose(objects->file_space), run, "closing a space of");
    must(H5Sclose(objects->memory_space), run, "closing a space of");
    must(H5Tclose(objects->type), run, "closing a type of");
}

static void sets_create(const struct run *run, const struct selection *selection, struct objects *objects)
{
    char name[TEXT_MAX];
    hid_t properties = must(H5Pcreate(H5P_DATASET_CREATE), run, "making properties for");
    if (selection->chunk[1])
        must(H5Pset_chunk(properties, selection->dimensions, selection->chunk + 2 - selection->dimensions),
             run, "setting chunks of");
    for (unsigned step = 0; step < run->kernel->steps; step++) {
        snprintf(name, sizeof name, "step-%u", step);
        objects->sets[step] = must(H5Dcreate2(objects->file, name, objects->type, objects->file_space,
                                              H5P_DEFAULT, properties, H5P_DEFAULT),
                                   run, "creating a data set of");
    }
    must(H5Pclose(properties), run, "closing properties for");
}

static void sets_open(const struct run *run, struct objects *objects)
{
    char name[TEXT_MAX];
    for (unsigned step = 0; step < run->kernel->steps; step++) {
        snprintf(name, sizeof name, "step-%u", step);
        objects->sets[step] = must(H5Dopen2(objects->file, name, H5P_DEFAULT), run, "opening a data set of");
    }
}

static void file_close(const struct run *run, const struct objects *objects, struct times *times)
{
    double start = phase_begin();
    for (unsigned step = 0; step < run->kernel->steps; step++)
        must(H5Dclose(objects->sets[step]), run, "closing a data set of");
    must(H5Fclose(objects->file), run, "closing");
    times->close = phase_end(start);
}

/* What HDF5 made of the request for a collective transfer. */
static const char *io_mode_of(const struct run *run)
{
    H5D_mpio_actual_io_mode_t mode;
    must(H5Pget_mpio_actual_io_mode(run->transfer, &mode), run, "asking for the transfer mode of");
    switch (mode) {
    case H5D_MPIO_CHUNK_INDEPENDENT:
        return "chunk-independent";
    case H5D_MPIO_CHUNK_COLLECTIVE:
        return "chunk-collective";
    case H5D_MPIO_CHUNK_MIXED:
        return "chunk-mixed";
    case H5D_MPIO_CONTIGUOUS_COLLECTIVE:
        return "contiguous-collective";
    default:
        return "not-collective";
    }
}

/* ---- phases ------------------------------------------------------------- */

static void write_file(struct run *run, const void *memory, struct times *times)
{
    struct selection selection = selection_of(run, run->rank);
    struct objects objects;
    const uint64_t *from = memory;
    objects_begin(run, &selection, &objects);

    double start = phase_begin();
    objects.file = must(H5Fcreate(run->file, H5F_ACC_TRUNC, H5P_DEFAULT, run->access), run, "creating");
    times->open = phase_end(start);

    start = phase_begin();
    sets_create(run, &selection, &objects);
    times->define = phase_end(start);

    start = phase_begin();
    for (unsigned step = 0; step < run->kernel->steps; step++, from += words_of_step(run, &selection))
        must(H5Dwrite(objects.sets[step], objects.type, objects.memory_space, objects.file_space,
                      run->transfer, from),
             run, "writing");
    times->transfer = phase_end(start);
    run->calls = run->kernel->steps;
    run->io_mode = io_mode_of(run);

    start = phase_begin();
    must(H5Fflush(objects.file, H5F_SCOPE_GLOBAL), run, "flushing");
    times->flush = phase_end(start);
    file_close(run, &objects, times);
    objects_end(run, &objects);
}

static void read_file(struct run *run, enum direction direction, void *memory, struct times *times)
{
    struct selection selection = selection_of(run, part_of(run, direction));
    struct objects objects;
    uint64_t *into = memory;
    objects_begin(run, &selection, &objects);

    double start = phase_begin();
    objects.file = must(H5Fopen(run->file, H5F_ACC_RDONLY, run->access), run, "opening");
    times->open = phase_end(start);

    start = phase_begin();
    sets_open(run, &objects);
    times->define = phase_end(start);

    start = phase_begin();
    for (unsigned step = 0; step < run->kernel->steps; step++, into += words_of_step(run, &selection))
        must(H5Dread(objects.sets[step], objects.type, objects.memory_space, objects.file_space,
                     run->transfer, into),
             run, "reading");
    times->transfer = phase_end(start);
    run->calls = run->kernel->steps;
    run->io_mode = io_mode_of(run);
    file_close(run, &objects, times);
    objects_end(run, &objects);
}

const struct method array_method = {
    .is_collective = true,
    .items = items,
    .bytes = bytes,
    .fill = fill,
    .check = check,
    .write = write_file,
    .read = read_file,
};
