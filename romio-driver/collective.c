/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collective.c: blocking collective reads and writes.
 *
 * ROMIO's two-phase code moves the data of ranks that interleave, except where
 * it can't:
 *  - it counts a rank's bytes in ints, so from 2 GiB on every rank sends its own
 *    list I/O;
 *  - where the ranks leave holes it reads before it writes, which a file that
 *    the user may only write does not allow.
 * Ranks that don't interleave gain nothing by it, and go on by themselves. In
 * atomic mode each access has a lock of its own, so each rank makes its own.
 */
#include <limits.h>

#include "driver.h"

/* What the ranks tell each other before a collective call. */
struct reach {
    int64_t start; /* file offsets of the first and the last byte */
    int64_t end;
    int64_t bytes; /* 0: this rank has nothing to do */
};

/* True when two neighbours with something to do overlap in what they span. */
static bool is_interleaved(const struct reach *reaches, int ranks)
{
    const struct reach *before = NULL;
    for (int rank = 0; rank < ranks; rank++) {
        if (reaches[rank].bytes == 0)
            continue;
        if (before != NULL && reaches[rank].start <= before->end)
            return true;
        before = &reaches[rank];
    }
    return false;
}

static bool is_too_large(const struct reach *reaches, int ranks)
{
    for (int rank = 0; rank < ranks; rank++)
        if (reaches[rank].bytes > INT_MAX)
            return true;
    return false;
}

/* Collective: true when two-phase I/O is to do this access. `hint` is the same
 * on all ranks. */
static bool wants_two_phase(ADIO_File fd, int hint, romio_count_t count, MPI_Datatype datatype,
                            int file_ptr_type, ADIO_Offset offset)
{
    if (hint == ADIOI_HINT_DISABLE || driver_file(fd)->is_atomic)
        return false;
    struct reach mine = {0};
    MPI_Count size;
    int ranks;
    MPI_Type_size_x(datatype, &size);
    if (access_reach(fd, (int64_t)size * count, file_ptr_type, offset, &mine.start, &mine.end))
        mine.bytes = (int64_t)size * count;
    MPI_Comm_size(fd->comm, &ranks);
    struct reach *reaches = ADIOI_Malloc((size_t)ranks * sizeof *reaches);
    MPI_Allgather(&mine, sizeof mine, MPI_BYTE, reaches, sizeof mine, MPI_BYTE, fd->comm);
    bool is_wanted =
        (hint == ADIOI_HINT_ENABLE || is_interleaved(reaches, ranks)) && !is_too_large(reaches, ranks);
    ADIOI_Free(reaches);
    return is_wanted;
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

void driver_read_coll(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                      int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code)
{
    if (!wants_two_phase(fd, fd->hints->cb_read, count, datatype, file_ptr_type, offset)) {
        driver_read_strided(fd, buffer, count, datatype, file_ptr_type, offset, status, error_code);
        return;
    }
    struct failure failure = {.class = MPI_SUCCESS};
    driver_file(fd)->two_phase_failure = &failure;
    ADIOI_GEN_ReadStridedColl(fd, buffer, count, datatype, file_ptr_type, offset, status, error_code);
    finish(fd, &failure, error_code);
}

void driver_write_coll(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                       int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code)
{
    int hint = driver_file(fd)->can_read ? fd->hints->cb_write : ADIOI_HINT_DISABLE;
    if (!wants_two_phase(fd, hint, count, datatype, file_ptr_type, offset)) {
        driver_write_strided(fd, buffer, count, datatype, file_ptr_type, offset, status, error_code);
        return;
    }
    struct failure failure = {.class = MPI_SUCCESS};
    driver_file(fd)->two_phase_failure = &failure;
    ADIOI_GEN_WriteStridedColl(fd, buffer, count, datatype, file_ptr_type, offset, status, error_code);
    finish(fd, &failure, error_code);
}
