/* SPDX-License-Identifier: Apache-2.0 */
/*
 * small.c: many small data sets in groups, each with an attribute: what they cost is HDF5's metadata. All
 * ranks create all of them; each writes and reads some.
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "common/phase.h"
#include "common/word.h"

#define SET_VALUES     256
#define SETS_IN_GROUP  50
#define ATTRIBUTE_SEED UINT64_C(0x5bd1e995)

/* What a rank has of a data set, one behind the other in its memory. */
struct set {
    uint64_t attribute;
    uint64_t values[SET_VALUES];
};

/* Whether a rank has to do with a data set in this direction. */
static bool has(const struct run *run, enum direction direction, int64_t index)
{
    int owner = (int)(index % run->ranks);
    switch (direction) {
    case DIRECTION_WRITE:
        return owner == run->rank;
    case DIRECTION_READ:
        return owner == (run->rank + 1) % run->ranks;
    default:
        return true;
    }
}

static int64_t items(const struct run *run)
{
    return run->options->data_sets;
}

static size_t bytes(const struct run *run, enum direction direction)
{
    size_t sum = 0;
    for (int64_t i = 0; i < items(run); i++)
        sum += has(run, direction, i) ? sizeof(struct set) : 0;
    return sum;
}

static struct selection selection_of(int64_t index)
{
    /* As if all were one: no value stands in two of them. */
    return (struct selection){
        .size = {1, SET_VALUES},
        .start = {(hsize_t)index, 0},
        .stride = {1, 1},
        .count = {1, 1},
        .block = {1, SET_VALUES},
    };
}

static uint64_t attribute_of(const struct run *run, int64_t index)
{
    return word_at(run->seed ^ ATTRIBUTE_SEED, (uint64_t)index);
}

static void fill(const struct run *run, void *memory)
{
    struct set *set = memory;
    for (int64_t i = 0; i < items(run); i++) {
        if (!has(run, DIRECTION_WRITE, i))
            continue;
        struct selection selection = selection_of(i);
        set->attribute = attribute_of(run, i);
        values_fill(&selection, 1, run->seed, set++->values);
    }
}

static int64_t check(const struct run *run, enum direction direction, const void *memory)
{
    const struct set *set = memory;
    int64_t wrong = 0;
    for (int64_t i = 0; i < items(run); i++) {
        if (!has(run, direction, i))
            continue;
        struct selection selection = selection_of(i);
        wrong += set->attribute != attribute_of(run, i);
        wrong += values_check(&selection, 1, run->seed, set++->values);
    }
    return wrong;
}

/* ---- phases ------------------------------------------------------------- */

static void name_of(int64_t index, char name[TEXT_MAX])
{
    snprintf(name, TEXT_MAX, "/group-%lld/set-%lld", (long long)(index / SETS_IN_GROUP), (long long)index);
}

static void attribute_create(const struct run *run, hid_t set, hid_t scalar, int64_t index)
{
    uint64_t value = attribute_of(run, index);
    hid_t attribute = must(H5Acreate2(set, "value", H5T_NATIVE_UINT64, scalar, H5P_DEFAULT, H5P_DEFAULT), run,
                           "creating an attribute of");
    must(H5Awrite(attribute, H5T_NATIVE_UINT64, &value), run, "writing an attribute of");
    must(H5Aclose(attribute), run, "closing an attribute of");
}

/* Collective, as all that changes the structure of a file. */
static void sets_create(const struct run *run, hid_t file)
{
    hsize_t size = SET_VALUES;
    char name[TEXT_MAX];
    hid_t space = must(H5Screate_simple(1, &size, NULL), run, "making a space for");
    hid_t scalar = must(H5Screate(H5S_SCALAR), run, "making a space for");
    for (int64_t i = 0; i < items(run); i++) {
        if (i % SETS_IN_GROUP == 0) {
            snprintf(name, sizeof name, "/group-%lld", (long long)(i / SETS_IN_GROUP));
            hid_t group = must(H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), run,
                               "creating a group of");
            must(H5Gclose(group), run, "closing a group of");
        }
        name_of(i, name);
        hid_t set =
            must(H5Dcreate2(file, name, H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT), run,
                 "creating a data set of");
        attribute_create(run, set, scalar, i);
        must(H5Dclose(set), run, "closing a data set of");
    }
    must(H5Sclose(scalar), run, "closing a space of");
    must(H5Sclose(space), run, "closing a space of");
}

static void sets_write(struct run *run, hid_t file, const struct set *from)
{
    char name[TEXT_MAX];
    for (int64_t i = 0; i < items(run); i++) {
        if (!has(run, DIRECTION_WRITE, i))
            continue;
        name_of(i, name);
        hid_t set = must(H5Dopen2(file, name, H5P_DEFAULT), run, "opening a data set of");
        must(H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, run->transfer, from++->values), run,
             "writing");
        must(H5Dclose(set), run, "closing a data set of");
        run->calls++;
    }
}

static void sets_read(struct run *run, enum direction direction, hid_t file, struct set *into)
{
    char name[TEXT_MAX];
    for (int64_t i = 0; i < items(run); i++) {
        if (!has(run, direction, i))
            continue;
        name_of(i, name);
        hid_t set = must(H5Dopen2(file, name, H5P_DEFAULT), run, "opening a data set of");
        hid_t attribute = must(H5Aopen(set, "value", H5P_DEFAULT), run, "opening an attribute of");
        must(H5Aread(attribute, H5T_NATIVE_UINT64, &into->attribute), run, "reading an attribute of");
        must(H5Aclose(attribute), run, "closing an attribute of");
        must(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, run->transfer, into++->values), run,
             "reading");
        must(H5Dclose(set), run, "closing a data set of");
        run->calls++;
    }
}

static void write_file(struct run *run, const void *memory, struct times *times)
{
    double start = phase_begin();
    hid_t file = must(H5Fcreate(run->file, H5F_ACC_TRUNC, H5P_DEFAULT, run->access), run, "creating");
    times->open = phase_end(start);

    start = phase_begin();
    sets_create(run, file);
    times->define = phase_end(start);

    start = phase_begin();
    sets_write(run, file, memory);
    times->transfer = phase_end(start);

    start = phase_begin();
    must(H5Fflush(file, H5F_SCOPE_GLOBAL), run, "flushing");
    times->flush = phase_end(start);

    start = phase_begin();
    must(H5Fclose(file), run, "closing");
    times->close = phase_end(start);
}

static void read_file(struct run *run, enum direction direction, void *memory, struct times *times)
{
    double start = phase_begin();
    hid_t file = must(H5Fopen(run->file, H5F_ACC_RDONLY, run->access), run, "opening");
    times->open = phase_end(start);

    start = phase_begin();
    sets_read(run, direction, file, memory);
    times->transfer = phase_end(start);

    start = phase_begin();
    must(H5Fclose(file), run, "closing");
    times->close = phase_end(start);
}

const struct method small_method = {
    .has_read_all = true,
    .items = items,
    .bytes = bytes,
    .fill = fill,
    .check = check,
    .write = write_file,
    .read = read_file,
};
