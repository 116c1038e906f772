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

/* A datatype taken apart, once: HDF5's have rows by the thousand, all made of the same. Of the kinds
 * that there are it makes only some. */
struct tree {
    int combiner;
    MPI_Aint extent;
    MPI_Count size;
    bool is_plain; /* a run of bytes; there is nothing below */
    int *integers;
    MPI_Aint *addresses;
    struct tree *parts; /* one, or those of a struct */
    int part_count;
};

/* Bytes one behind the other, without holes, as HDF5's elements are. */
static bool is_dense(const struct tree *tree, MPI_Aint lower)
{
    return tree->combiner == MPI_COMBINER_NAMED ||
           (tree->combiner == MPI_COMBINER_CONTIGUOUS && tree->parts[0].is_plain && lower == 0 &&
            tree->size == tree->extent);
}

static void tree_free(struct tree *tree)
{
    for (int i = 0; tree->parts && i < tree->part_count; i++)
        tree_free(&tree->parts[i]);
    free(tree->parts);
    free(tree->integers);
    free(tree->addresses);
    *tree = (struct tree){0};
}

static bool is_named(MPI_Datatype type)
{
    int integers, addresses, types, combiner;
    MPI_Type_get_envelope(type, &integers, &addresses, &types, &combiner);
    return combiner == MPI_COMBINER_NAMED;
}

static int tree_make(struct tree *tree, MPI_Datatype type);

static int tree_make_parts(struct tree *tree, MPI_Datatype type, int integers, int addresses, int count)
{
    int error = 0;
    MPI_Datatype *types = calloc((size_t)count + 1, sizeof *types);
    tree->integers = calloc((size_t)integers + 1, sizeof *tree->integers);
    tree->addresses = calloc((size_t)addresses + 1, sizeof *tree->addresses);
    tree->parts = calloc((size_t)count + 1, sizeof *tree->parts);
    if (!types || !tree->integers || !tree->addresses || !tree->parts) {
        free(types);
        return -ENOMEM;
    }
    MPI_Type_get_contents(type, integers, addresses, count, tree->integers, tree->addresses, types);
    tree->part_count = count;
    for (int i = 0; i < count; i++) {
        if (!error)
            error = tree_make(&tree->parts[i], types[i]);
        if (!is_named(types[i]))
            MPI_Type_free(&types[i]);
    }
    free(types);
    return error;
}

/* The caller frees it, also when it fails. */
static int tree_make(struct tree *tree, MPI_Datatype type)
{
    int integers, addresses, types, error = 0;
    MPI_Aint lower;
    MPI_Type_get_envelope(type, &integers, &addresses, &types, &tree->combiner);
    MPI_Type_get_extent(type, &lower, &tree->extent);
    MPI_Type_size_x(type, &tree->size);
    if (tree->combiner != MPI_COMBINER_NAMED)
        error = tree_make_parts(tree, type, integers, addresses, types);
    tree->is_plain = !error && is_dense(tree, lower);
    return error;
}

/* How many rows a datatype has, and row i of it: its length in parts, and its displacement. */
static int row_count(const struct tree *tree)
{
    switch (tree->combiner) {
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
    case MPI_COMBINER_STRUCT:
        return tree->integers[0];
    default:
        return -1;
    }
}

static int row_at(const struct tree *tree, int i, MPI_Aint *displacement)
{
    const int *integers = tree->integers;
    MPI_Aint extent = tree->parts[0].extent;
    *displacement = 0;
    switch (tree->combiner) {
    case MPI_COMBINER_CONTIGUOUS:
        return integers[0];
    case MPI_COMBINER_VECTOR:
        *displacement = (MPI_Aint)i * integers[2] * extent;
        return integers[1];
    case MPI_COMBINER_HVECTOR:
        *displacement = i * tree->addresses[0];
        return integers[1];
    case MPI_COMBINER_INDEXED:
        *displacement = integers[1 + integers[0] + i] * extent;
        return integers[1 + i];
    case MPI_COMBINER_HINDEXED:
    case MPI_COMBINER_STRUCT:
        *displacement = tree->addresses[i];
        return integers[1 + i];
    case MPI_COMBINER_INDEXED_BLOCK:
        *displacement = integers[2 + i] * extent;
        return integers[1];
    case MPI_COMBINER_HINDEXED_BLOCK:
        *displacement = tree->addresses[i];
        return integers[1];
    default:
        return 1;
    }
}

static int add_tree(struct sink *sink, const struct tree *tree, MPI_Aint at);

/* So many of a part, one behind the other. */
static int add_row(struct sink *sink, const struct tree *part, int count, MPI_Aint at)
{
    int error = 0;
    if (part->is_plain)
        return sink_add(sink, at, (uint64_t)count * (uint64_t)part->size);
    for (int i = 0; !error && i < count && sink->left > 0; i++)
        error = add_tree(sink, part, at + i * part->extent);
    return error;
}

static int add_tree(struct sink *sink, const struct tree *tree, MPI_Aint at)
{
    int error = 0;
    if (tree->is_plain)
        return sink_add(sink, at, (uint64_t)tree->size);
    int rows = row_count(tree);
    if (rows < 0)
        return -ENOTSUP;
    for (int i = 0; !error && i < rows && sink->left > 0; i++) {
        MPI_Aint displacement;
        int count = row_at(tree, i, &displacement);
        const struct tree *part = &tree->parts[tree->combiner == MPI_COMBINER_STRUCT ? i : 0];
        error = add_row(sink, part, count, at + displacement);
    }
    return error;
}

/* Copies of a datatype, one behind the other, until there are as many bytes as the sink wants. */
static int add_copies(struct sink *sink, MPI_Datatype type)
{
    struct tree tree = {0};
    int error = tree_make(&tree, type);
    if (!error && tree.size == 0 && sink->left > 0)
        error = -EINVAL;
    if (!error && tree.is_plain)
        error = sink_add(sink, 0, sink->left);
    for (MPI_Aint i = 0; !error && sink->left > 0; i++)
        error = add_tree(sink, &tree, i * tree.extent);
    tree_free(&tree);
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
