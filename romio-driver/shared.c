/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared.c: the shared file pointer, as a number on the server.
 *
 * ROMIO keeps it in a hidden file under an fcntl lock, and reaches it by two
 * functions. The component is linked so that these calls arrive here, and are one
 * fetch-and-add each. The number counts etypes of the current view, as ROMIO's.
 */
#include "driver.h"

int shared_pointer_add(ADIO_File fd, int64_t add, int64_t *before)
{
    struct driver_file *file = driver_file(fd);
    if (add != 0)
        file->moved_shared_pointer = true;
    explain_begin(file, EXPLAIN_POINTER);
    int error = weft_file_pointer_add(file->file, add, before);
    explain_end(file, 0);
    return error;
}

void __real_ADIO_Get_shared_fp(ADIO_File fd, ADIO_Offset add, ADIO_Offset *before, int *error_code);
void __wrap_ADIO_Get_shared_fp(ADIO_File fd, ADIO_Offset add, ADIO_Offset *before, int *error_code);

void __wrap_ADIO_Get_shared_fp(ADIO_File fd, ADIO_Offset add, ADIO_Offset *before, int *error_code)
{
    int64_t value;
    if (!driver_owns(fd)) {
        __real_ADIO_Get_shared_fp(fd, add, before, error_code);
        return;
    }
    int error = shared_pointer_add(fd, add, &value);
    /* Some of ROMIO's callers go on after an error: this place is before the start of the file,
     * where nothing can be read or written. */
    if (error < 0)
        value = -(fd->etype_size > 0 ? fd->disp / fd->etype_size : fd->disp) - 2;
    *before = value;
    *error_code = failure_report(error);
}

void __real_ADIO_Set_shared_fp(ADIO_File fd, ADIO_Offset value, int *error_code);
void __wrap_ADIO_Set_shared_fp(ADIO_File fd, ADIO_Offset value, int *error_code);

void __wrap_ADIO_Set_shared_fp(ADIO_File fd, ADIO_Offset value, int *error_code)
{
    if (!driver_owns(fd)) {
        __real_ADIO_Set_shared_fp(fd, value, error_code);
        return;
    }
    struct driver_file *file = driver_file(fd);
    file->moved_shared_pointer = true;
    explain_begin(file, EXPLAIN_POINTER);
    *error_code = failure_report(weft_file_pointer_set(file->file, value));
    explain_end(file, 0);
}

void __real_ADIOI_Shfp_fname(ADIO_File fd, int rank, int *error_code);
void __wrap_ADIOI_Shfp_fname(ADIO_File fd, int rank, int *error_code);

/* The hidden file's name is freed at close, and else not used. */
void __wrap_ADIOI_Shfp_fname(ADIO_File fd, int rank, int *error_code)
{
    if (driver_owns(fd))
        fd->shared_fp_fname = ADIOI_Strdup("");
    else
        __real_ADIOI_Shfp_fname(fd, rank, error_code);
}

void __real_ADIO_Set_view(ADIO_File fd, ADIO_Offset displacement, MPI_Datatype etype, MPI_Datatype filetype,
                          MPI_Info info, int *error_code);
void __wrap_ADIO_Set_view(ADIO_File fd, ADIO_Offset displacement, MPI_Datatype etype, MPI_Datatype filetype,
                          MPI_Info info, int *error_code);

/*
 * Collective. A new view begins with the pointer at 0, and there are no requests in a program that
 * never moves it. Rank 0 waits for the others' word, so that no rank moves it by the old view any more;
 * the barrier behind it is ROMIO's. The same exchange tells all ranks how fine their views are.
 */
void __wrap_ADIO_Set_view(ADIO_File fd, ADIO_Offset displacement, MPI_Datatype etype, MPI_Datatype filetype,
                          MPI_Info info, int *error_code)
{
    __real_ADIO_Set_view(fd, displacement, etype, filetype, info, error_code);
    if (!driver_owns(fd))
        return;
    struct driver_file *file = driver_file(fd);
    int64_t grain = *error_code == MPI_SUCCESS ? view_grain(fd) : INT64_MAX;
    int64_t mine[2] = {file->moved_shared_pointer, -grain}, most[2];
    int rank;
    MPI_Comm_rank(fd->comm, &rank);
    MPI_Allreduce(mine, most, 2, MPI_INT64_T, MPI_MAX, fd->comm);
    file->moved_shared_pointer = false;
    file->grain = -most[1];
    if (rank == 0 && most[0] && *error_code == MPI_SUCCESS)
        *error_code = failure_report(weft_file_pointer_set(file->file, 0));
}
