/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk.c: which bytes a datatype selects, in the order in which MPI sends them.
 *
 * MPICH's library does not let others ask that, so it is worked out of how the type
 * was made, as the standard defines each constructor. Runs of bytes are joined as
 * they come, so a type that is contiguous in a roundabout way is one run.
 */
#include <stdio.h>

#include "driver.h"

struct runs {
    int64_t *offsets;
    int64_t *lengths;
    size_t count;
    size_t room;
};

/* How a type was made. */
struct contents {
    int combiner;
    MPI_Count integer_count, address_count, large_count, type_count;
    int *integers;
    MPI_Datatype *types;
    /* All counts and displacements in the order of the constructor's parameters, whether it was
     * called with integers and addresses or with large counts. */
    MPI_Count *numbers;
};

static struct runs runs_of(MPI_Datatype datatype);

/* ---- runs ------------------------------------------------------------- */

static void add_run(struct runs *runs, int64_t offset, int64_t length)
{
    if (length == 0)
        return;
    size_t last = runs->count - 1;
    if (runs->count > 0 && runs->offsets[last] + runs->lengths[last] == offset) {
        runs->lengths[last] += length;
        return;
    }
    if (runs->count == runs->room) {
        runs->room = runs->room == 0 ? 8 : 2 * runs->room;
        runs->offsets = ADIOI_Realloc(runs->offsets, runs->room * sizeof *runs->offsets);
        runs->lengths = ADIOI_Realloc(runs->lengths, runs->room * sizeof *runs->lengths);
    }
    runs->offsets[runs->count] = offset;
    runs->lengths[runs->count] = length;
    runs->count++;
}

static void runs_free(struct runs *runs)
{
    if (runs->room > 0) {
        ADIOI_Free(runs->offsets);
        ADIOI_Free(runs->lengths);
    }
}

/* Adds `copies` of some runs, the first one moved by `displacement`, each other by `step` more. */
static void add_copies(struct runs *to, const struct runs *from, int64_t displacement, int64_t copies,
                       int64_t step)
{
    if (from->count == 1 && from->lengths[0] == step && copies > 0) {
        add_run(to, displacement + from->offsets[0], copies * step);
        return;
    }
    for (int64_t copy = 0; copy < copies; copy++)
        for (size_t i = 0; i < from->count; i++)
            add_run(to, displacement + copy * step + from->offsets[i], from->lengths[i]);
}

/* ---- contents --------------------------------------------------------- */

static bool is_predefined(int combiner)
{
    return combiner == MPI_COMBINER_NAMED || combiner == MPI_COMBINER_F90_REAL ||
           combiner == MPI_COMBINER_F90_COMPLEX || combiner == MPI_COMBINER_F90_INTEGER;
}

static int combiner_of(MPI_Datatype datatype)
{
    MPI_Count integers, addresses, larges, types;
    int combiner;
    MPI_Type_get_envelope_c(datatype, &integers, &addresses, &larges, &types, &combiner);
    return combiner;
}

static struct contents contents_get(MPI_Datatype datatype)
{
    struct contents is = {0};
    MPI_Type_get_envelope_c(datatype, &is.integer_count, &is.address_count, &is.large_count, &is.type_count,
                            &is.combiner);
    size_t numbers = (size_t)(is.large_count > 0 ? is.large_count : is.integer_count + is.address_count);
    is.integers = ADIOI_Malloc(((size_t)is.integer_count + 1) * sizeof *is.integers);
    is.types = ADIOI_Malloc(((size_t)is.type_count + 1) * sizeof *is.types);
    is.numbers = ADIOI_Malloc((numbers + 1) * sizeof *is.numbers);
    MPI_Aint *addresses = ADIOI_Malloc(((size_t)is.address_count + 1) * sizeof *addresses);
    MPI_Type_get_contents_c(datatype, is.integer_count, is.address_count, is.large_count, is.type_count,
                            is.integers, addresses, is.numbers, is.types);
    if (is.large_count == 0) {
        for (MPI_Count i = 0; i < is.integer_count; i++)
            is.numbers[i] = is.integers[i];
        for (MPI_Count i = 0; i < is.address_count; i++)
            is.numbers[is.integer_count + i] = addresses[i];
    }
    ADIOI_Free(addresses);
    return is;
}

/* Of what contents_get() gave, types that are not predefined are copies. */
static void contents_free(struct contents *is)
{
    for (MPI_Count i = 0; i < is->type_count; i++)
        if (!is_predefined(combiner_of(is->types[i])))
            MPI_Type_free(&is->types[i]);
    ADIOI_Free(is->integers);
    ADIOI_Free(is->types);
    ADIOI_Free(is->numbers);
}

/* ---- each constructor ------------------------------------------------- */

/* Of the predefined types only the pairs with an int can have a gap, before it. */
static void walk_predefined(MPI_Datatype datatype, struct runs *to)
{
    MPI_Count size, lower_bound, extent;
    MPI_Type_size_x(datatype, &size);
    MPI_Type_get_true_extent_x(datatype, &lower_bound, &extent);
    if (size == extent) {
        add_run(to, 0, size);
    } else {
        int64_t second = sizeof(int);
        add_run(to, 0, size - second);
        add_run(to, extent - second, second);
    }
}

/* Blocks of one length, or each of its own, at displacements that are counted in `unit`. */
static void walk_blocks(const struct contents *is, bool is_one_length, int64_t unit, const struct runs *old,
                        int64_t extent, struct runs *to)
{
    const MPI_Count *lengths = is->numbers + 1;
    const MPI_Count *displacements = lengths + (is_one_length ? 1 : is->numbers[0]);
    for (MPI_Count i = 0; i < is->numbers[0]; i++)
        add_copies(to, old, displacements[i] * unit, lengths[is_one_length ? 0 : i], extent);
}

static void walk_vector(const struct contents *is, int64_t unit, const struct runs *old, int64_t extent,
                        struct runs *to)
{
    MPI_Count count = is->numbers[0], length = is->numbers[1], stride = is->numbers[2];
    for (MPI_Count i = 0; i < count; i++)
        add_copies(to, old, i * stride * unit, length, extent);
}

static void walk_struct(const struct contents *is, struct runs *to)
{
    MPI_Count count = is->numbers[0];
    for (MPI_Count i = 0; i < count; i++) {
        MPI_Count lower_bound, extent;
        struct runs old = runs_of(is->types[i]);
        MPI_Type_get_extent_x(is->types[i], &lower_bound, &extent);
        add_copies(to, &old, is->numbers[1 + count + i], is->numbers[1 + i], extent);
        runs_free(&old);
    }
}

/* What one dimension of an array takes: `length` indices from `start` on, again after each `period`,
 * below `end`. */
struct slice {
    int64_t start, length, period, end;
};

/* Makes runs of the next dimension out of those of the dimensions below it, which are `step` apart. */
static void add_dimension(struct runs *runs, struct slice slice, int64_t step)
{
    struct runs below = *runs;
    *runs = (struct runs){0};
    for (int64_t at = slice.start; at < slice.end; at += slice.period) {
        int64_t length = slice.end - at < slice.length ? slice.end - at : slice.length;
        add_copies(runs, &below, at * step, length, step);
    }
    runs_free(&below);
}

/* The dimension that is `nth` when they are counted from the one whose neighbours are closest. */
static int dimension(int nth, int dimensions, int order)
{
    return order == MPI_ORDER_C ? dimensions - 1 - nth : nth;
}

static void walk_subarray(const struct contents *is, const struct runs *old, int64_t extent, struct runs *to)
{
    int dimensions = is->integers[0], order = is->integers[is->integer_count - 1];
    const MPI_Count *sizes = is->numbers + (is->large_count > 0 ? 0 : 1);
    const MPI_Count *subsizes = sizes + dimensions, *starts = subsizes + dimensions;
    int64_t step = extent;
    add_copies(to, old, 0, 1, extent);
    for (int nth = 0; nth < dimensions; nth++) {
        int i = dimension(nth, dimensions, order);
        struct slice slice = {starts[i], subsizes[i], sizes[i], starts[i] + subsizes[i]};
        add_dimension(to, slice, step);
        step *= sizes[i];
    }
}

/* What process `place` of `places` has of a dimension of so many indices. */
static struct slice slice_of(int distribution, int argument, int64_t size, int place, int places)
{
    if (distribution == MPI_DISTRIBUTE_NONE)
        return (struct slice){0, size, size, size};
    int64_t length = argument;
    if (argument == MPI_DISTRIBUTE_DFLT_DARG)
        length = distribution == MPI_DISTRIBUTE_BLOCK ? (size + places - 1) / places : 1;
    return (struct slice){place * length, length, places * length, size};
}

static void walk_darray(const struct contents *is, const struct runs *old, int64_t extent, struct runs *to)
{
    int rank = is->integers[1], dimensions = is->integers[2], order = is->integers[is->integer_count - 1];
    bool is_large = is->large_count > 0;
    const MPI_Count *sizes = is->numbers + (is_large ? 0 : 3);
    const int *distributions = is->integers + 3 + (is_large ? 0 : dimensions);
    const int *arguments = distributions + dimensions, *places = arguments + dimensions;
    int *place = ADIOI_Malloc(((size_t)dimensions + 1) * sizeof *place);
    /* Ranks are laid out in the order of C, whatever that of the array. */
    for (int i = dimensions - 1; i >= 0; i--) {
        place[i] = rank % places[i];
        rank /= places[i];
    }
    int64_t step = extent;
    add_copies(to, old, 0, 1, extent);
    for (int nth = 0; nth < dimensions; nth++) {
        int i = dimension(nth, dimensions, order);
        add_dimension(to, slice_of(distributions[i], arguments[i], sizes[i], place[i], places[i]), step);
        step *= sizes[i];
    }
    ADIOI_Free(place);
}

/* ---- all of them ------------------------------------------------------ */

static void walk_derived(const struct contents *is, struct runs *to)
{
    MPI_Count lower_bound, extent;
    struct runs old = runs_of(is->types[0]);
    MPI_Type_get_extent_x(is->types[0], &lower_bound, &extent);
    switch (is->combiner) {
    case MPI_COMBINER_DUP:
    case MPI_COMBINER_RESIZED:
        add_copies(to, &old, 0, 1, extent);
        break;
    case MPI_COMBINER_CONTIGUOUS:
        add_copies(to, &old, 0, is->numbers[0], extent);
        break;
    case MPI_COMBINER_VECTOR:
        walk_vector(is, extent, &old, extent, to);
        break;
    case MPI_COMBINER_HVECTOR:
        walk_vector(is, 1, &old, extent, to);
        break;
    case MPI_COMBINER_INDEXED:
        walk_blocks(is, false, extent, &old, extent, to);
        break;
    case MPI_COMBINER_HINDEXED:
        walk_blocks(is, false, 1, &old, extent, to);
        break;
    case MPI_COMBINER_INDEXED_BLOCK:
        walk_blocks(is, true, extent, &old, extent, to);
        break;
    case MPI_COMBINER_HINDEXED_BLOCK:
        walk_blocks(is, true, 1, &old, extent, to);
        break;
    case MPI_COMBINER_SUBARRAY:
        walk_subarray(is, &old, extent, to);
        break;
    case MPI_COMBINER_DARRAY:
        walk_darray(is, &old, extent, to);
        break;
    default: /* the standard has no others; to go on would move other bytes than the caller's */
        fprintf(stderr, "weft: a datatype of unknown make (combiner %d)\n", is->combiner);
        MPI_Abort(MPI_COMM_WORLD, MPI_ERR_TYPE);
    }
    runs_free(&old);
}

static struct runs runs_of(MPI_Datatype datatype)
{
    struct runs runs = {0};
    if (is_predefined(combiner_of(datatype))) {
        walk_predefined(datatype, &runs);
        return runs;
    }
    struct contents is = contents_get(datatype);
    if (is.combiner == MPI_COMBINER_STRUCT)
        walk_struct(&is, &runs);
    else
        walk_derived(&is, &runs);
    contents_free(&is);
    return runs;
}

void host_walk(MPI_Datatype datatype, host_add_fn *add, void *argument)
{
    struct runs runs = runs_of(datatype);
    for (size_t i = 0; i < runs.count; i++)
        add(argument, runs.offsets[i], runs.lengths[i]);
    runs_free(&runs);
}
