/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hidden.c: what HDF5 hides from a driver that is not its own.
 *
 * Whether a call is collective stands in the library's context. And some collective calls (reads of
 * chunked data sets in a file that is only read, and all of them when a program turns selections off)
 * come as scalar ones: the size is then a count of MPI datatypes which stand in that context too. A driver
 * that doesn't look there reads and writes the wrong bytes, and says that all is well. The functions are
 * exported by the library, but are not part of its interface: without them the driver does not offer MPI.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

#include "driver.h"

#if VFD_HAS_MPI

static struct {
    bool is_known;
    int (*transfer_mode)(H5FD_mpio_xfer_t *mode);
    int (*datatypes)(MPI_Datatype *buffer_type, MPI_Datatype *file_type);
} context;

/* Not every process has HDF5's symbols in its global scope: interpreters load it privately. */
static void find_context(void)
{
    Dl_info library;
    if (context.is_known)
        return;
    context.is_known = true;
    void *handle = dladdr((void *)(uintptr_t)H5open, &library)
                       ? dlopen(library.dli_fname, RTLD_LAZY | RTLD_NOLOAD)
                       : NULL;
    if (!handle)
        handle = dlopen(NULL, RTLD_LAZY);
    if (!handle)
        return;
    /* ISO C has no conversion from an object's address to a function's; POSIX has. */
    *(void **)&context.transfer_mode = dlsym(handle, "H5CX_get_io_xfer_mode");
    *(void **)&context.datatypes = dlsym(handle, "H5CX_get_mpi_coll_datatypes");
    dlclose(handle);
}

int vfd_hidden_check(void)
{
    find_context();
    if (context.transfer_mode && context.datatypes)
        return 0;
    VFD_FAIL(H5E_UNSUPPORTED, 0,
             "this HDF5 does not export what the driver has to know of collective calls "
             "(H5CX_get_io_xfer_mode, H5CX_get_mpi_coll_datatypes); use H5Pset_fapl_mpio() and a weft: path");
    return -ENOTSUP;
}

bool vfd_is_collective(const struct vfd_file *file)
{
    H5FD_mpio_xfer_t mode = H5FD_MPIO_INDEPENDENT;
    return file->ranks && context.transfer_mode(&mode) >= 0 && mode == H5FD_MPIO_COLLECTIVE;
}

/* ---- datatypes as lists ------------------------------------------------------- */

/* Where the runs of a datatype go: as in selection.c. */
struct sink {
    struct list_io *list;
    char *memory;
    uint64_t offset;
    uint64_t left; /* bytes that are still wanted */
};

static int sink_add(struct sink *sink, MPI_Aint offset, uint64_t length)
{
    length = length < sink->left ? length : sink->left;
    sink->left -= length;
    return sink->memory ? list_io_add_memory(sink->list, sink->memory + offset, (size_t)length)
                        : list_io_add_extent(sink->list, sink->offset + (uint64_t)offset, length);
}

/* The contents of a datatype, of which HDF5 makes only some kinds. */
struct contents {
    int combiner;
    int *integers;
    MPI_Aint *addresses;
    MPI_Datatype *types;
    int type_count;
    MPI_Aint extent; /* of the first type */
    MPI_Count size;
    bool is_plain; /* the first type is a run of bytes */
};

static bool is_named(MPI_Datatype type)
{
    int integers, addresses, types, combiner;
    MPI_Type_get_envelope(type, &integers, &addresses, &types, &combiner);
    return combiner == MPI_COMBINER_NAMED;
}

static void contents_free(struct contents *contents)
{
    for (int i = 0; i < contents->type_count; i++)
        if (!is_named(contents->types[i]))
            MPI_Type_free(&contents->types[i]);
    free(contents->integers);
    free(contents->addresses);
    free(contents->types);
}

/* Bytes one behind the other, without holes. HDF5's elements are such types: one of them after the other
 * would take the time of the whole call. */
static bool is_dense(MPI_Datatype type)
{
    int integers, addresses, types, combiner, count;
    MPI_Datatype inner;
    MPI_Aint lower, extent;
    MPI_Count size;
    MPI_Type_get_envelope(type, &integers, &addresses, &types, &combiner);
    if (combiner == MPI_COMBINER_NAMED)
        return true;
    MPI_Type_get_extent(type, &lower, &extent);
    MPI_Type_size_x(type, &size);
    if (combiner != MPI_COMBINER_CONTIGUOUS || lower != 0 || size != extent)
        return false;
    MPI_Type_get_contents(type, 1, 0, 1, &count, NULL, &inner);
    bool result = is_dense(inner);
    if (!is_named(inner))
        MPI_Type_free(&inner);
    return result;
}

static int contents_get(MPI_Datatype type, struct contents *contents)
{
    int integers, addresses, types;
    MPI_Aint lower;
    *contents = (struct contents){0};
    MPI_Type_get_envelope(type, &integers, &addresses, &types, &contents->combiner);
    contents->integers = calloc((size_t)integers + 1, sizeof(*contents->integers));
    contents->addresses = calloc((size_t)addresses + 1, sizeof(*contents->addresses));
    contents->types = calloc((size_t)types + 1, sizeof(*contents->types));
    if (!contents->integers || !contents->addresses || !contents->types) {
        contents_free(contents);
        return -ENOMEM;
    }
    MPI_Type_get_contents(type, integers, addresses, types, contents->integers, contents->addresses,
                          contents->types);
    contents->type_count = types;
    MPI_Type_get_extent(contents->types[0], &lower, &contents->extent);
    MPI_Type_size_x(contents->types[0], &contents->size);
    contents->is_plain = is_dense(contents->types[0]);
    return 0;
}

static int add_type(struct sink *sink, MPI_Datatype type, MPI_Aint at);

/* `count` of the first type, one behind the other. */
static int add_row(struct sink *sink, const struct contents *contents, int count, MPI_Aint at)
{
    int error = 0;
    if (contents->is_plain)
        return sink_add(sink, at, (uint64_t)count * (uint64_t)contents->size);
    for (int i = 0; !error && i < count && sink->left > 0; i++)
        error = add_type(sink, contents->types[0], at + i * contents->extent);
    return error;
}

static int add_struct(struct sink *sink, const struct contents *contents, MPI_Aint at)
{
    int error = 0;
    for (int i = 0; i < contents->integers[0]; i++) {
        MPI_Aint lower, extent;
        MPI_Type_get_extent(contents->types[i], &lower, &extent);
        for (int k = 0; !error && k < contents->integers[1 + i] && sink->left > 0; k++)
            error = add_type(sink, contents->types[i], at + contents->addresses[i] + k * extent);
    }
    return error;
}

/* How many rows a datatype has, and row i of it: its length in first types, and its displacement. */
static int row_count(const struct contents *contents)
{
    switch (contents->combiner) {
    case MPI_COMBINER_DUP:
    case MPI_COMBINER_RESIZED:
    case MPI_COMBINER_CONTIGUOUS:
        return 1;
    case MPI_COMBINER_VECTOR:
    case MPI_COMBINER_HVECTOR:
    case MPI_COMBINER_INDEXED:
    case MPI_COMBINER_HINDEXED:
    case MPI_COMBINER_INDEXED_BLOCK:
    case MPI_COMBINER_HINDEXED_BLOCK:
        return contents->integers[0];
    default:
        return -1;
    }
}

static int row_at(const struct contents *contents, int i, MPI_Aint *displacement)
{
    const int *integers = contents->integers;
    *displacement = 0;
    switch (contents->combiner) {
    case MPI_COMBINER_CONTIGUOUS:
        return integers[0];
    case MPI_COMBINER_VECTOR:
        *displacement = (MPI_Aint)i * integers[2] * contents->extent;
        return integers[1];
    case MPI_COMBINER_HVECTOR:
        *displacement = i * contents->addresses[0];
        return integers[1];
    case MPI_COMBINER_INDEXED:
        *displacement = integers[1 + integers[0] + i] * contents->extent;
        return integers[1 + i];
    case MPI_COMBINER_HINDEXED:
        *displacement = contents->addresses[i];
        return integers[1 + i];
    case MPI_COMBINER_INDEXED_BLOCK:
        *displacement = integers[2 + i] * contents->extent;
        return integers[1];
    case MPI_COMBINER_HINDEXED_BLOCK:
        *displacement = contents->addresses[i];
        return integers[1];
    default:
        return 1;
    }
}

static int add_type(struct sink *sink, MPI_Datatype type, MPI_Aint at)
{
    struct contents contents;
    MPI_Count size;
    if (is_named(type)) {
        MPI_Type_size_x(type, &size);
        return sink_add(sink, at, (uint64_t)size);
    }
    int error = contents_get(type, &contents);
    if (error)
        return error;
    int rows = row_count(&contents);
    if (contents.combiner == MPI_COMBINER_STRUCT)
        error = add_struct(sink, &contents, at);
    else if (rows < 0)
        error = -ENOTSUP;
    for (int i = 0; !error && i < rows && sink->left > 0; i++) {
        MPI_Aint displacement;
        int count = row_at(&contents, i, &displacement);
        error = add_row(sink, &contents, count, at + displacement);
    }
    contents_free(&contents);
    return error;
}

/* Copies of a datatype, one behind the other, until there are as many bytes as the sink wants. */
static int add_copies(struct sink *sink, MPI_Datatype type)
{
    MPI_Aint lower, extent;
    MPI_Count size;
    int error = 0;
    MPI_Type_get_extent(type, &lower, &extent);
    MPI_Type_size_x(type, &size);
    if (size == 0 && sink->left > 0)
        return -EINVAL;
    if (is_named(type))
        return sink_add(sink, 0, sink->left);
    for (MPI_Aint i = 0; !error && sink->left > 0; i++)
        error = add_type(sink, type, i * extent);
    return error;
}

int vfd_hidden_list(haddr_t address, size_t count, void *buffer, struct list_io *list)
{
    MPI_Datatype memory_type = MPI_BYTE, file_type = MPI_BYTE;
    MPI_Count size;
    if (context.datatypes(&memory_type, &file_type) < 0)
        return -EINVAL;
    MPI_Type_size_x(memory_type, &size);
    uint64_t bytes = (uint64_t)size * count;
    int error = add_copies(&(struct sink){.list = list, .memory = buffer, .left = bytes}, memory_type);
    if (!error)
        error = add_copies(&(struct sink){.list = list, .offset = address, .left = bytes}, file_type);
    return error;
}

#endif
