/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scalar.c: reads and writes of one piece; in collective mode, what HDF5 hides behind such a call.
 */
#include "driver.h"

#if VFD_HAS_MPI

/* All ranks make such a call, those that have nothing with a count of 0. */
static int collective_access(struct vfd_file *file, bool is_write, haddr_t address, size_t count,
                             void *buffer)
{
    struct list_io list = {0};
    int error = vfd_hidden_list(address, count, buffer, &list);
    error = is_write ? vfd_collective_write(file, &list, error) : vfd_collective_read(file, &list, error);
    list_io_free(&list);
    return error;
}

#endif

static int read_piece(struct vfd_file *file, H5FD_mem_t type, haddr_t address, size_t size, void *buffer)
{
#if VFD_HAS_MPI
    /* Metadata is read by each rank for itself in any mode. */
    if (type == H5FD_MEM_DRAW && vfd_is_collective(file))
        return collective_access(file, false, address, size, buffer);
#endif
    return vfd_bytes_read(file, type, address, buffer, size);
}

static int write_piece(struct vfd_file *file, haddr_t address, size_t size, const void *buffer)
{
#if VFD_HAS_MPI
    /* Nothing is written through the pointer. */
    if (vfd_is_collective(file))
        return collective_access(file, true, address, size, (void *)buffer);
#endif
    return vfd_bytes_write(file, address, buffer, size);
}

herr_t vfd_read(H5FD_t *base, H5FD_mem_t type, hid_t dxpl, haddr_t address, size_t size, void *buffer)
{
    struct vfd_file *file = vfd_file(base);
    int error = read_piece(file, type, address, size, buffer);
    (void)dxpl;
    if (error)
        VFD_FAIL(H5E_READERROR, error, "%s: %zu bytes at %llu", file->path, size,
                 (unsigned long long)address);
    return error ? -1 : 0;
}

herr_t vfd_write(H5FD_t *base, H5FD_mem_t type, hid_t dxpl, haddr_t address, size_t size, const void *buffer)
{
    struct vfd_file *file = vfd_file(base);
    int error = write_piece(file, address, size, buffer);
    (void)type;
    (void)dxpl;
    if (error)
        VFD_FAIL(H5E_WRITEERROR, error, "%s: %zu bytes at %llu", file->path, size,
                 (unsigned long long)address);
    return error ? -1 : 0;
}
