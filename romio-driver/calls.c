/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.c: the calls of MPI that the driver answers itself, in place of ROMIO's
 * files of the same names (component.mk leaves those out).
 *
 *  - Atomic mode, because ROMIO would take it for locks of fcntl(2): see atomic.c.
 *  - The ordered calls. ROMIO hands a token from rank to rank, each of which moves the
 *    shared file pointer by its own part. Here the ranks add up their parts, one of
 *    them moves the pointer for all, and what remains is a collective call at an
 *    explicit offset. The time is that of a broadcast, not the sum over all ranks.
 *
 * The names are MPI's; ROMIO's headers turn them into its own inside Open MPI.
 */
#include "driver.h"

/* ---- atomic mode ------------------------------------------------------ */

int MPI_File_set_atomicity(MPI_File handle, int flag)
{
    ADIO_File fd = MPIO_File_resolve(handle);
    struct failure failure = {.class = MPI_SUCCESS};
    int mine[2] = {flag != 0, flag == 0}, any[2];
    /* Nobody goes on in one mode while others are at accesses of the other. */
    MPI_Allreduce(mine, any, 2, MPI_INT, MPI_MAX, fd->comm);
    if (any[0] && any[1])
        failure_say(&failure, MPI_ERR_NOT_SAME,
                    "MPI_File_set_atomicity: the ranks differ in what they ask for");
    else
        driver_file(fd)->is_atomic = flag != 0;
    return failure_code(&failure);
}

int MPI_File_get_atomicity(MPI_File handle, int *flag)
{
    *flag = driver_file(MPIO_File_resolve(handle))->is_atomic;
    return MPI_SUCCESS;
}

/* ---- ordered calls ---------------------------------------------------- */

/* What the ranks add up. */
struct part {
    int64_t etypes;
    int64_t refused; /* 1: this rank cannot take part */
};

static struct part part_make(ADIO_File fd, int count, MPI_Datatype datatype)
{
    struct part part = {0};
    MPI_Count size;
    MPI_Type_size_x(datatype, &size);
    if (fd->etype_size > 0 && size * count % fd->etype_size == 0)
        part.etypes = size * count / fd->etype_size;
    else
        part.refused = size * count != 0;
    return part;
}

/* Collective: the place of this rank's part, in etypes of the view. All ranks succeed, or none. */
static int take_place(ADIO_File fd, int count, MPI_Datatype datatype, MPI_Offset *place)
{
    struct {
        struct failure failure;
        int64_t base;
    } answer = {.failure = {.class = MPI_SUCCESS}};
    struct part mine = part_make(fd, count, datatype), upto;
    int rank, ranks;
    MPI_Comm_rank(fd->comm, &rank);
    MPI_Comm_size(fd->comm, &ranks);
    MPI_Scan(&mine, &upto, 2, MPI_INT64_T, MPI_SUM, fd->comm);
    if (rank == ranks - 1 && upto.refused > 0) {
        failure_say(&answer.failure, MPI_ERR_IO, "a rank's bytes are no whole number of the view's etypes");
    } else if (rank == ranks - 1) {
        int error = shared_pointer_add(fd, upto.etypes, &answer.base);
        if (error < 0)
            failure_set(&answer.failure, error);
    }
    MPI_Bcast(&answer, sizeof answer, MPI_BYTE, ranks - 1, fd->comm);
    *place = answer.base + upto.etypes - mine.etypes;
    return failure_code(&answer.failure);
}

/* Sequential mode forbids the caller explicit offsets, not us. Between the two, ROMIO does not see it. */
static int hide_sequential(ADIO_File fd)
{
    int mode = fd->access_mode;
    fd->access_mode &= ~ADIO_SEQUENTIAL;
    return mode;
}

int MPI_File_read_ordered(MPI_File handle, void *buffer, int count, MPI_Datatype datatype, MPI_Status *status)
{
    ADIO_File fd = MPIO_File_resolve(handle);
    MPI_Offset place;
    int code = take_place(fd, count, datatype, &place);
    if (code != MPI_SUCCESS)
        return code;
    int mode = hide_sequential(fd);
    code = MPI_File_read_at_all(handle, place, buffer, count, datatype, status);
    fd->access_mode = mode;
    return code;
}

int MPI_File_write_ordered(MPI_File handle, const void *buffer, int count, MPI_Datatype datatype,
                           MPI_Status *status)
{
    ADIO_File fd = MPIO_File_resolve(handle);
    MPI_Offset place;
    int code = take_place(fd, count, datatype, &place);
    if (code != MPI_SUCCESS)
        return code;
    int mode = hide_sequential(fd);
    code = MPI_File_write_at_all(handle, place, buffer, count, datatype, status);
    fd->access_mode = mode;
    return code;
}

/* A split collective call that is open already must not move the pointer. */
static int refuse_second_split(void)
{
    struct failure failure;
    failure_say(&failure, MPI_ERR_IO, "only one split collective call may be open on a file at a time");
    return failure_code(&failure);
}

int MPI_File_read_ordered_begin(MPI_File handle, void *buffer, int count, MPI_Datatype datatype)
{
    ADIO_File fd = MPIO_File_resolve(handle);
    MPI_Offset place;
    if (fd->split_coll_count)
        return refuse_second_split();
    int code = take_place(fd, count, datatype, &place);
    if (code != MPI_SUCCESS)
        return code;
    int mode = hide_sequential(fd);
    code = MPI_File_read_at_all_begin(handle, place, buffer, count, datatype);
    fd->access_mode = mode;
    return code;
}

int MPI_File_write_ordered_begin(MPI_File handle, const void *buffer, int count, MPI_Datatype datatype)
{
    ADIO_File fd = MPIO_File_resolve(handle);
    MPI_Offset place;
    if (fd->split_coll_count)
        return refuse_second_split();
    int code = take_place(fd, count, datatype, &place);
    if (code != MPI_SUCCESS)
        return code;
    int mode = hide_sequential(fd);
    code = MPI_File_write_at_all_begin(handle, place, buffer, count, datatype);
    fd->access_mode = mode;
    return code;
}
