/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collective.c: blocking collective reads and writes.
 *
 * ROMIO's two-phase code moves the data, except where it can't:
 *  - it counts a rank's bytes in ints, so from 2 GiB on every rank sends its own
 *    list I/O;
 *  - where the ranks leave holes it reads before it writes, which a file that
 *    the user may only write does not allow.
 */
#include <limits.h>

#include "driver.h"

/* Collective: true when two-phase I/O can do this access. */
static bool fits_two_phase(ADIO_File fd, int count, MPI_Datatype datatype)
{
    MPI_Count size;
    MPI_Type_size_x(datatype, &size);
    long long bytes = (long long)size * count, most;
    MPI_Allreduce(&bytes, &most, 1, MPI_LONG_LONG, MPI_MAX, fd->comm);
    return most <= INT_MAX;
}

/* Collective: the outcome for all, when the two-phase code is through. */
static void finish(ADIO_File fd, struct failure *failure, int *error_code)
{
    driver_file(fd)->two_phase_failure = NULL;
    if (failure->class == MPI_SUCCESS && *error_code != MPI_SUCCESS) {
        int length, class;
        char text[MPI_MAX_ERROR_STRING];
        MPI_Error_class(*error_code, &class);
        MPI_Error_string(*error_code, text, &length);
        failure_say(failure, class, text);
    }
    *error_code = failure_agree(failure, fd->comm) ? failure_code(failure) : MPI_SUCCESS;
}

void driver_read_coll(ADIO_File fd, void *buffer, int count, MPI_Datatype datatype, int file_ptr_type,
                      ADIO_Offset offset, ADIO_Status *status, int *error_code)
{
    if (fd->hints->cb_read == ADIOI_HINT_DISABLE || !fits_two_phase(fd, count, datatype)) {
        driver_read_strided(fd, buffer, count, datatype, file_ptr_type, offset, status, error_code);
        return;
    }
    struct failure failure = {.class = MPI_SUCCESS};
    driver_file(fd)->two_phase_failure = &failure;
    ADIOI_GEN_ReadStridedColl(fd, buffer, count, datatype, file_ptr_type, offset, status, error_code);
    finish(fd, &failure, error_code);
}

void driver_write_coll(ADIO_File fd, const void *buffer, int count, MPI_Datatype datatype, int file_ptr_type,
                       ADIO_Offset offset, ADIO_Status *status, int *error_code)
{
    if (fd->hints->cb_write == ADIOI_HINT_DISABLE || !driver_file(fd)->can_read ||
        !fits_two_phase(fd, count, datatype)) {
        driver_write_strided(fd, buffer, count, datatype, file_ptr_type, offset, status, error_code);
        return;
    }
    struct failure failure = {.class = MPI_SUCCESS};
    driver_file(fd)->two_phase_failure = &failure;
    ADIOI_GEN_WriteStridedColl(fd, buffer, count, datatype, file_ptr_type, offset, status, error_code);
    finish(fd, &failure, error_code);
}
