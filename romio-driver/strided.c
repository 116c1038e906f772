/* SPDX-License-Identifier: Apache-2.0 */
/*
 * strided.c: noncontiguous memory, a noncontiguous file, or both, as list I/O.
 */
#include "driver.h"

typedef ssize_t list_fn(weft_file_t *file, const struct batch *batch);

static ssize_t read_list(weft_file_t *file, const struct batch *batch)
{
    return weft_file_read_list(file, batch->iov, batch->iov_count, batch->extents, batch->extent_count);
}

static ssize_t write_list(weft_file_t *file, const struct batch *batch)
{
    return weft_file_write_list(file, batch->iov, batch->iov_count, batch->extents, batch->extent_count);
}

/* Moves the whole access, or up to the end of the file. Returns the bytes moved
 * or a negative errno. */
static int64_t move(weft_file_t *file, struct access *access, list_fn *list)
{
    struct batch batch = {0};
    int64_t moved = 0;
    while (batch_fill(&batch, access)) {
        ssize_t result = list(file, &batch);
        moved = result < 0 ? result : moved + result;
        if (result < batch.bytes) /* an error, or the end of the file */
            break;
    }
    batch_free(&batch);
    return moved;
}

int64_t strided_move(struct driver_file *file, struct access *access, bool is_write)
{
    list_fn *list = is_write ? write_list : read_list;
    if (!file->is_atomic)
        return move(file->file, access, list);
    weft_lock_t *lock;
    size_t count;
    struct weft_extent *extents = access_extents(access, &count);
    int64_t moved = atomic_lock(file, extents, count, is_write, &lock);
    ADIOI_Free(extents);
    if (moved == 0)
        moved = move(file->file, access, list);
    return atomic_unlock(lock, moved);
}

static void access_strided(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                           int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code,
                           bool is_write)
{
    struct driver_file *file = driver_file(fd);
    struct access access;
    int64_t moved = 0;
    explain_begin_access(fd, is_write, 0, datatype);
    if (access_begin(&access, fd, buffer, count, datatype, file_ptr_type, offset)) {
        if (access.bytes > 0)
            moved = strided_move(file, &access, is_write);
        *error_code = failure_report(moved);
        if (moved > 0 && file_ptr_type == ADIO_INDIVIDUAL)
            fd->fp_ind = access_offset_after(&access, moved);
    } else {
        struct failure failure;
        failure_before_start(&failure);
        *error_code = failure_code(&failure);
    }
    access_end(&access);
    fd->fp_sys_posn = -1;
    if (status != NULL)
        MPIR_Status_set_bytes(status, MPI_BYTE, moved < 0 ? 0 : moved);
    explain_end_access(fd, count, datatype);
}

void driver_read_strided(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                         int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code)
{
    access_strided(fd, buffer, count, datatype, file_ptr_type, offset, status, error_code, false);
}

void driver_write_strided(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                          int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code)
{
    access_strided(fd, buffer, count, datatype, file_ptr_type, offset, status, error_code, true);
}
