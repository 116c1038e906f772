/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector.c: several pieces at once: one list I/O. In collective mode all ranks call it, those that
 * have nothing with a count of 0.
 */
#include "driver.h"

#if VFD_HAS_LISTS

/* The pieces as a list. A size of 0 that is not the first means: as the one before, and so are all that
 * follow. */
static int list_of_vector(struct list_io *list, uint32_t count, const haddr_t addresses[],
                          const size_t sizes[], void *const buffers[])
{
    bool repeats = false;
    size_t size = 0;
    int error = 0;
    for (uint32_t i = 0; !error && i < count; i++) {
        repeats = repeats || (i > 0 && sizes[i] == 0);
        size = repeats ? size : sizes[i];
        error = list_io_add_memory(list, buffers[i], size);
        if (!error)
            error = list_io_add_extent(list, addresses[i], size);
    }
    return error;
}

herr_t vfd_read_vector(H5FD_t *base, hid_t dxpl, uint32_t count, H5FD_mem_t types[], haddr_t addresses[],
                       size_t sizes[], void *buffers[])
{
    struct vfd_file *file = vfd_file(base);
    struct list_io list = {0};
    const H5FD_mem_t type = count > 0 ? types[0] : H5FD_MEM_DRAW;
    (void)dxpl;
    int error = list_of_vector(&list, count, addresses, sizes, buffers);
#if VFD_HAS_MPI
    /* Metadata is read by each rank for itself in any mode. */
    if (type == H5FD_MEM_DRAW && vfd_is_collective(file))
        error = vfd_collective_read(file, &list, error);
    else
#endif
        error = error ? error : vfd_list_read(file, type, &list);
    list_io_free(&list);
    if (error)
        VFD_FAIL(H5E_READERROR, error, "%s: %u pieces", file->path, count);
    return error ? -1 : 0;
}

herr_t vfd_write_vector(H5FD_t *base, hid_t dxpl, uint32_t count, H5FD_mem_t types[], haddr_t addresses[],
                        size_t sizes[], const void *buffers[])
{
    struct vfd_file *file = vfd_file(base);
    struct list_io list = {0};
    (void)dxpl;
    (void)types;
    /* Nothing is written through the pointers. */
    int error = list_of_vector(&list, count, addresses, sizes, (void *const *)buffers);
#if VFD_HAS_MPI
    if (vfd_is_collective(file))
        error = vfd_collective_write(file, &list, error);
    else
#endif
        error = error ? error : vfd_list_write(file, &list);
    list_io_free(&list);
    if (error)
        VFD_FAIL(H5E_WRITEERROR, error, "%s: %u pieces", file->path, count);
    return error ? -1 : 0;
}

#endif
