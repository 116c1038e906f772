/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contiguous.c: one run of memory to or from one run of the file.
 *
 * ROMIO calls these with an offset in bytes, for the caller's own contiguous
 * access as well as for the buffers of two-phase I/O.
 */
#include <string.h>

#include "driver.h"

/* The run's length, and where it begins in the file. */
static int64_t run_length(ADIO_File fd, romio_count_t count, MPI_Datatype datatype, int file_ptr_type,
                          ADIO_Offset *offset)
{
    MPI_Count size;
    MPI_Type_size_x(datatype, &size);
    if (file_ptr_type == ADIO_INDIVIDUAL)
        *offset = fd->fp_ind;
    return (int64_t)size * count;
}

/* Tells the caller how many bytes were moved, or what went wrong. */
static void finish(ADIO_File fd, ssize_t result, int file_ptr_type, ADIO_Offset offset, ADIO_Status *status,
                   int *error_code)
{
    int64_t bytes = result < 0 ? 0 : result;
    if (file_ptr_type == ADIO_INDIVIDUAL)
        fd->fp_ind = offset + bytes;
    fd->fp_sys_posn = -1;
    if (status != NULL)
        MPIR_Status_set_bytes(status, MPI_BYTE, bytes);
    *error_code = failure_report(result);
}

static ssize_t move(struct driver_file *file, void *buffer, int64_t length, ADIO_Offset offset, bool is_write)
{
    if (length == 0)
        return 0;
    struct weft_extent extent = {.offset = (uint64_t)offset, .length = (uint64_t)length};
    weft_lock_t *lock;
    int64_t moved = atomic_lock(file, &extent, 1, is_write, &lock);
    if (moved == 0)
        moved = is_write ? weft_file_write(file->file, buffer, (size_t)length, (uint64_t)offset)
                         : weft_file_read(file->file, buffer, (size_t)length, (uint64_t)offset);
    return atomic_unlock(lock, moved);
}

void driver_read_contig(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                        int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code)
{
    struct driver_file *file = driver_file(fd);
    int64_t length = run_length(fd, count, datatype, file_ptr_type, &offset);
    explain_begin(file, 0);
    ssize_t result = move(file, buffer, length, offset, false);
    finish(fd, result, file_ptr_type, offset, status, error_code);
    explain_end(file, length);
}

void driver_write_contig(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                         int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code)
{
    struct driver_file *file = driver_file(fd);
    int64_t length = run_length(fd, count, datatype, file_ptr_type, &offset);
    explain_begin(file, EXPLAIN_WRITE);
    ssize_t result = move(file, (void *)buffer, length, offset, true);
    finish(fd, result, file_ptr_type, offset, status, error_code);
    explain_end(file, length);
}
