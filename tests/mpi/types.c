/* SPDX-License-Identifier: Apache-2.0 */
/*
 * types.c: datatypes at random, in memory and as file views.
 *
 * What is right is told by MPI_Pack and MPI_Unpack, which know nothing of files.
 * Each rank runs its own types, on its own file; a failure names the seed and
 * the type, and TEST_SEED=N runs that one alone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mpi_test.h"

/* ---- random types ----------------------------------------------------- */

struct random {
    uint64_t state;
    bool is_monotone; /* as file views must be: offsets grow, none is negative */
    char text[2000];  /* what was made */
};

static int pick(struct random *random, int below)
{
    random->state = random->state * 6364136223846793005u + 1442695040888963407u;
    return (int)((random->state >> 33) % (uint64_t)below);
}

static void describe(struct random *random, const char *name, int number)
{
    size_t length = strlen(random->text);
    snprintf(random->text + length, sizeof random->text - length, "%s%d ", name, number);
}

static MPI_Datatype basic(struct random *random)
{
    static const char *const names[] = {"byte", "short", "int", "double", "double_int", "short_int"};
    MPI_Datatype types[] = {MPI_BYTE, MPI_SHORT, MPI_INT, MPI_DOUBLE, MPI_DOUBLE_INT, MPI_SHORT_INT};
    int choice = pick(random, 6);
    describe(random, names[choice], 1);
    return types[choice];
}

/* Where `count` blocks of at most `span` go: apart from each other, in order for
 * a view, in any order (and before the origin too) in memory. */
static void places(struct random *random, int count, MPI_Aint span, MPI_Aint *at)
{
    MPI_Aint next = random->is_monotone ? pick(random, 3) * span : -pick(random, 3) * span;
    for (int i = 0; i < count; i++) {
        at[i] = next;
        next += span + pick(random, 3) * (MPI_Aint)(pick(random, 2) != 0 ? span : 1);
    }
    for (int i = count - 1; i > 0 && !random->is_monotone; i--) {
        int other = pick(random, i + 1);
        MPI_Aint swap = at[i];
        at[i] = at[other];
        at[other] = swap;
    }
}

static MPI_Datatype make(struct random *random, int depth);

static void blocks(struct random *random, int kind, MPI_Datatype child, MPI_Aint extent, MPI_Datatype *type)
{
    enum { most = 5 };
    int count = 1 + pick(random, most), lengths[most], positions[most];
    MPI_Aint at[most];
    MPI_Datatype children[most];
    describe(random, "x", count);
    for (int i = 0; i < count; i++) {
        lengths[i] = pick(random, 4); /* 0 is a length too */
        children[i] = child;
    }
    if (kind == 0 || kind == 2) {
        places(random, count, 3, at); /* in elements */
        for (int i = 0; i < count; i++)
            positions[i] = (int)at[i];
        if (kind == 0)
            MPI_Type_indexed(count, lengths, positions, child, type);
        else
            MPI_Type_create_indexed_block(count, 1 + pick(random, 3), positions, child, type);
        return;
    }
    places(random, count, 3 * extent, at);
    if (kind == 1)
        MPI_Type_create_hindexed(count, lengths, at, child, type);
    else
        MPI_Type_create_struct(count, lengths, at, children, type);
}

static void array(struct random *random, bool is_darray, MPI_Datatype child, MPI_Datatype *type)
{
    int order = pick(random, 2) != 0 ? MPI_ORDER_C : MPI_ORDER_FORTRAN;
    int sizes[2] = {2 + pick(random, 5), 2 + pick(random, 5)}, parts[2], starts[2];
    if (is_darray) {
        int distributions[2], arguments[2] = {MPI_DISTRIBUTE_DFLT_DARG, MPI_DISTRIBUTE_DFLT_DARG},
                              grid[2] = {2, 2};
        for (int i = 0; i < 2; i++)
            distributions[i] = pick(random, 2) != 0 ? MPI_DISTRIBUTE_BLOCK : MPI_DISTRIBUTE_CYCLIC;
        MPI_Type_create_darray(4, pick(random, 4), 2, sizes, distributions, arguments, grid, order, child,
                               type);
        return;
    }
    for (int i = 0; i < 2; i++) {
        parts[i] = 1 + pick(random, sizes[i]);
        starts[i] = pick(random, sizes[i] - parts[i] + 1);
    }
    MPI_Type_create_subarray(2, sizes, parts, starts, order, child, type);
}

static void resize(struct random *random, MPI_Datatype child, MPI_Datatype *type)
{
    MPI_Aint true_lower, true_extent;
    MPI_Type_get_true_extent(child, &true_lower, &true_extent);
    MPI_Aint lower = random->is_monotone ? 0 : true_lower - pick(random, 20);
    MPI_Type_create_resized(child, lower, true_lower + true_extent - lower + pick(random, 20), type);
}

static MPI_Datatype make(struct random *random, int depth)
{
    if (depth == 0)
        return basic(random);
    static const char *const names[] = {"contiguous", "vector",  "hvector", "indexed",  "hindexed", "iblock",
                                        "struct",     "resized", "dup",     "subarray", "darray"};
    int choice = pick(random, 11), count = 1 + pick(random, 4), length = 1 + pick(random, 3), size;
    MPI_Aint lower, extent;
    MPI_Datatype type, child = make(random, depth - 1);
    MPI_Type_get_extent(child, &lower, &extent);
    MPI_Type_size(child, &size);
    if (size == 0) /* Open MPI 4.1 crashes where an empty type is nested in some others */
        choice = 0;
    describe(random, names[choice], count);
    switch (choice) {
    case 0:
        MPI_Type_contiguous(count, child, &type);
        break;
    case 1:
        MPI_Type_vector(count, length, length + pick(random, 3), child, &type);
        break;
    case 2:
        MPI_Type_create_hvector(count, length, length * extent + pick(random, 9), child, &type);
        break;
    case 3:
        blocks(random, 0, child, extent, &type);
        break;
    case 4:
        blocks(random, 1, child, extent, &type);
        break;
    case 5:
        blocks(random, 2, child, extent, &type);
        break;
    case 6:
        blocks(random, 3, child, extent, &type);
        break;
    case 7:
        resize(random, child, &type);
        break;
    case 8:
        MPI_Type_dup(child, &type);
        break;
    default:
        array(random, choice == 10, child, &type);
        break;
    }
    if (depth > 1)
        MPI_Type_free(&child);
    return type;
}

/* ---- one comparison --------------------------------------------------- */

/* Room for `count` of a type, wherever its bytes are. */
struct room {
    unsigned char *memory;
    unsigned char *origin; /* where MPI is told that the buffer is */
    size_t length;
};

static void room_make(struct room *room, int count, MPI_Datatype type, unsigned char byte)
{
    MPI_Aint lower, extent, true_lower, true_extent;
    MPI_Type_get_extent(type, &lower, &extent);
    MPI_Type_get_true_extent(type, &true_lower, &true_extent);
    MPI_Aint last = (count - 1) * extent;
    MPI_Aint start = true_lower + (last < 0 ? last : 0);
    MPI_Aint end = true_lower + true_extent + (last > 0 ? last : 0);
    room->length = (size_t)(end - start) + 64;
    room->memory = test_alloc(room->length);
    memset(room->memory, byte, room->length);
    room->origin = room->memory + 32 - start;
}

struct outcome {
    const char *what; /* that is wrong; NULL: nothing */
    long long at;
    int error;
};

static struct outcome compare(const char *what, const unsigned char *expected, const unsigned char *found,
                              size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (expected[i] != found[i])
            return (struct outcome){.what = what, .at = (long long)i};
    return (struct outcome){0};
}

enum way { blocking, collective, nonblocking, way_count };

static int transfer(MPI_File file, enum way way, bool is_write, void *buffer, int count, MPI_Datatype type)
{
    MPI_Request request;
    int code = MPI_SUCCESS;
    switch (way) {
    case blocking:
        return is_write ? MPI_File_write_at(file, 0, buffer, count, type, MPI_STATUS_IGNORE)
                        : MPI_File_read_at(file, 0, buffer, count, type, MPI_STATUS_IGNORE);
    case collective:
        return is_write ? MPI_File_write_at_all(file, 0, buffer, count, type, MPI_STATUS_IGNORE)
                        : MPI_File_read_at_all(file, 0, buffer, count, type, MPI_STATUS_IGNORE);
    default:
        code = is_write ? MPI_File_iwrite_at(file, 0, buffer, count, type, &request)
                        : MPI_File_iread_at(file, 0, buffer, count, type, &request);
        return code == MPI_SUCCESS ? MPI_Wait(&request, MPI_STATUS_IGNORE) : code;
    }
}

/* Writes memory through the view, compares the file's bytes with what MPI_Unpack
 * makes of the same data; reads it back, and compares memory likewise. */
static struct outcome round_trip(MPI_File file, enum way way, int count, MPI_Datatype memory_type,
                                 MPI_Datatype view, MPI_Offset displacement)
{
    MPI_Count memory_size, view_size;
    MPI_Type_size_x(memory_type, &memory_size);
    MPI_Type_size_x(view, &view_size);
    int bytes = (int)memory_size * count, position = 0;
    int copies = bytes == 0 ? 1 : (int)((bytes + view_size - 1) / view_size);
    struct outcome outcome = {0};
    struct room source, target, right, image;
    unsigned char *packed = test_alloc((size_t)(copies * view_size));
    memset(packed, 0, (size_t)(copies * view_size));
    room_make(&source, count, memory_type, 0);
    for (size_t i = 0; i < source.length; i++)
        source.memory[i] = (unsigned char)(test_byte(i, 50) | 1);
    MPI_Pack(source.origin, count, memory_type, packed, bytes, &position, MPI_COMM_SELF);

    /* The file: the data in the view's places, zeros elsewhere. */
    room_make(&image, copies, view, 0);
    position = 0;
    MPI_Unpack(packed, (int)(copies * view_size), &position, image.origin, copies, view, MPI_COMM_SELF);
    unsigned char *found = test_alloc(image.length);
    memset(found, 0, image.length);
    outcome.error = MPI_File_set_size(file, 0);
    if (outcome.error == MPI_SUCCESS)
        outcome.error = MPI_File_set_view(file, displacement, MPI_BYTE, view, "native", MPI_INFO_NULL);
    if (outcome.error == MPI_SUCCESS)
        outcome.error = transfer(file, way, true, source.origin, count, memory_type);
    room_make(&target, count, memory_type, 0xEE);
    room_make(&right, count, memory_type, 0xEE);
    position = 0;
    MPI_Unpack(packed, bytes, &position, right.origin, count, memory_type, MPI_COMM_SELF);
    if (outcome.error == MPI_SUCCESS)
        outcome.error = transfer(file, way, false, target.origin, count, memory_type);
    if (outcome.error == MPI_SUCCESS)
        outcome.error = MPI_File_set_view(file, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL);
    /* The image begins where its memory does, which may be after the origin. */
    MPI_Offset start = displacement + (image.memory + 32 - image.origin);
    if (outcome.error == MPI_SUCCESS)
        outcome.error =
            MPI_File_read_at(file, start, found, (int)image.length - 64, MPI_BYTE, MPI_STATUS_IGNORE);
    if (outcome.error == MPI_SUCCESS)
        outcome = compare("the file", image.memory + 32, found, image.length - 64);
    if (outcome.error == MPI_SUCCESS && outcome.what == NULL)
        outcome = compare("memory", right.memory, target.memory, right.length);
    free(packed);
    free(found);
    free(source.memory);
    free(target.memory);
    free(right.memory);
    free(image.memory);
    return outcome;
}

static void run_seed(struct test *test, MPI_File file, enum way way, unsigned seed, bool is_typed_memory,
                     bool is_typed_file)
{
    static const char *const way_names[] = {"blocking", "collective", "nonblocking"};
    struct random memory = {.state = seed}, view = {.state = seed + 1000003u, .is_monotone = true};
    MPI_Datatype memory_type = MPI_BYTE, view_type = MPI_BYTE;
    MPI_Count size;
    int count = 1 + pick(&memory, 4);
    if (is_typed_memory)
        memory_type = make(&memory, 1 + pick(&memory, 3));
    else
        count = 1 + pick(&memory, 5000);
    if (is_typed_file)
        view_type = make(&view, 1 + pick(&view, 3));
    struct outcome outcome = {0};
    MPI_Type_size_x(view_type, &size);
    if (is_typed_memory)
        MPI_Type_commit(&memory_type);
    if (is_typed_file)
        MPI_Type_commit(&view_type);
    if (size > 0)
        outcome = round_trip(file, way, count, memory_type, view_type, pick(&view, 100));
    if (outcome.error != MPI_SUCCESS)
        test_fail(test, __FILE__, __LINE__, way_names[way], "seed %u, %d of memory [%s], file [%s]: %s", seed,
                  count, memory.text, view.text, test_error_text(outcome.error));
    else if (outcome.what != NULL)
        test_fail(test, __FILE__, __LINE__, way_names[way],
                  "seed %u, %d of memory [%s], file [%s]: %s is wrong at byte %lld", seed, count, memory.text,
                  view.text, outcome.what, outcome.at);
    if (is_typed_memory)
        MPI_Type_free(&memory_type);
    if (is_typed_file)
        MPI_Type_free(&view_type);
}

static void run_seeds(struct test *test, bool is_typed_memory, bool is_typed_file)
{
    enum { seeds = 250 };
    const char *only = getenv("TEST_SEED");
    char name[32];
    MPI_Info info;
    MPI_File file;
    snprintf(name, sizeof name, "rank%d", test->rank);
    MPI_Info_create(&info);
    MPI_Info_set(info, "romio_cb_write", "enable"); /* two-phase I/O also with one rank */
    MPI_Info_set(info, "romio_cb_read", "enable");
    MPI(MPI_File_open(MPI_COMM_SELF, test_path(test, name), MPI_MODE_CREATE | MPI_MODE_RDWR, info, &file));
    MPI_Info_free(&info);
    for (unsigned i = 0; i < seeds && test->failures < 5; i++) {
        unsigned seed = only != NULL ? (unsigned)strtoul(only, NULL, 10) : (unsigned)test->rank * seeds + i;
        for (enum way way = 0; way < way_count; way++)
            run_seed(test, file, way, seed, is_typed_memory, is_typed_file);
        if (only != NULL)
            break;
    }
    MPI(MPI_File_close(&file));
}

static void memory_types(struct test *test)
{
    run_seeds(test, true, false);
}

static void views(struct test *test)
{
    run_seeds(test, false, true);
}

static void both(struct test *test)
{
    run_seeds(test, true, true);
}

static const struct test_case cases[] = {
    {"memory", memory_types},
    {"views", views},
    {"both", both},
};

TEST_MAIN("types", cases)
