/* SPDX-License-Identifier: Apache-2.0 */
/*
 * selection.c: selections of data spaces: their runs in memory and in the file become one list I/O.
 * HDF5's own helper would add the file's base address a second time, and forget that a call is collective.
 */
#include <errno.h>

#include "driver.h"

#if VFD_HAS_LISTS

#define RUNS 512 /* asked for at a time */

/* Where the runs of a selection go: to the list's memory or to its extents. */
struct sink {
    struct list_io *list;
    char *memory;   /* NULL: these are extents */
    haddr_t offset; /* in the file, of the space's first element */
};

static int sink_add(const struct sink *sink, hsize_t offset, size_t length)
{
    return sink->memory ? list_io_add_memory(sink->list, sink->memory + offset, length)
                        : list_io_add_extent(sink->list, sink->offset + offset, length);
}

/* The runs of a selection, in the order in which its elements pair with those of the other one. */
static int add_selection(const struct sink *sink, hid_t space, size_t element_size)
{
    hsize_t offsets[RUNS];
    size_t lengths[RUNS], runs = 0, bytes;
    int error = 0;
    hid_t iterator = H5Ssel_iter_create(space, element_size, H5S_SEL_ITER_SHARE_WITH_DATASPACE);
    if (iterator < 0)
        return -EINVAL;
    do {
        if (H5Ssel_iter_get_seq_list(iterator, RUNS, SIZE_MAX, &runs, &bytes, offsets, lengths) < 0)
            error = -EINVAL;
        for (size_t i = 0; !error && i < runs; i++)
            error = sink_add(sink, offsets[i], lengths[i]);
    } while (!error && runs > 0);
    H5Ssel_iter_close(iterator);
    return error;
}

/* An element size of 0 or a buffer of NULL that is not the first means: as the one before, and so are all
 * that follow. */
static int list_of_selection(struct list_io *list, size_t count, const hid_t memory_spaces[],
                             const hid_t file_spaces[], const haddr_t offsets[], const size_t element_sizes[],
                             void *const buffers[])
{
    bool size_repeats = false, buffer_repeats = false;
    size_t size = 0;
    void *buffer = NULL;
    int error = 0;
    for (size_t i = 0; !error && i < count; i++) {
        size_repeats = size_repeats || (i > 0 && element_sizes[i] == 0);
        buffer_repeats = buffer_repeats || (i > 0 && buffers[i] == NULL);
        size = size_repeats ? size : element_sizes[i];
        buffer = buffer_repeats ? buffer : buffers[i];
        error = add_selection(&(struct sink){.list = list, .memory = buffer}, memory_spaces[i], size);
        if (!error)
            error = add_selection(&(struct sink){.list = list, .offset = offsets[i]}, file_spaces[i], size);
    }
    return error;
}

herr_t vfd_read_selection(H5FD_t *base, H5FD_mem_t type, hid_t dxpl, size_t count, hid_t memory_spaces[],
                          hid_t file_spaces[], haddr_t offsets[], size_t element_sizes[], void *buffers[])
{
    struct vfd_file *file = vfd_file(base);
    struct list_io list = {0};
    (void)dxpl;
#if VFD_HAS_MPI
    /* Metadata is read by each rank for itself in any mode. */
    bool is_collective = type == H5FD_MEM_DRAW && vfd_is_collective(file);
#endif
    int error = list_of_selection(&list, count, memory_spaces, file_spaces, offsets, element_sizes, buffers);
#if VFD_HAS_MPI
    if (is_collective)
        error = vfd_collective_read(file, &list, error);
    else
#endif
        error = error ? error : vfd_list_read(file, type, &list);
    list_io_free(&list);
    if (error)
        VFD_FAIL(H5E_READERROR, error, "%s: %zu selections", file->path, count);
    return error ? -1 : 0;
}

herr_t vfd_write_selection(H5FD_t *base, H5FD_mem_t type, hid_t dxpl, size_t count, hid_t memory_spaces[],
                           hid_t file_spaces[], haddr_t offsets[], size_t element_sizes[],
                           const void *buffers[])
{
    struct vfd_file *file = vfd_file(base);
    struct list_io list = {0};
    (void)type;
    (void)dxpl;
#if VFD_HAS_MPI
    bool is_collective = vfd_is_collective(file);
#endif
    /* Nothing is written through the pointers. */
    int error = list_of_selection(&list, count, memory_spaces, file_spaces, offsets, element_sizes,
                                  (void *const *)buffers);
#if VFD_HAS_MPI
    if (is_collective)
        error = vfd_collective_write(file, &list, error);
    else
#endif
        error = error ? error : vfd_list_write(file, &list);
    list_io_free(&list);
    if (error)
        VFD_FAIL(H5E_WRITEERROR, error, "%s: %zu selections", file->path, count);
    return error ? -1 : 0;
}

#endif
