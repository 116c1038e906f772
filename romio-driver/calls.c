/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.c: the calls of MPI that the driver answers itself for its files. For all
 * others, and for handles that are none, ROMIO's own functions do (romio.mk gives
 * those another name).
 *
 *  - Atomic mode, because ROMIO would take it for locks of fcntl(2): see atomic.c.
 *  - The ordered calls. ROMIO hands a token from rank to rank, each of which moves the
 *    shared file pointer by its own part. Here the ranks add up their parts, one of
 *    them moves the pointer for all, and what remains is a collective call at an
 *    explicit offset. The time is that of a broadcast, not the sum over all ranks.
 *
 * The names are MPI's. ROMIO's headers turn them into its own inside Open MPI; in a
 * library they are those of the profiling interface, and MPI's stand for the same.
 */
#include "driver.h"

#ifdef HAVE_WEAK_SYMBOLS
#pragma weak MPI_File_set_atomicity = PMPI_File_set_atomicity
#pragma weak MPI_File_get_atomicity = PMPI_File_get_atomicity
#pragma weak MPI_File_read_ordered = PMPI_File_read_ordered
#pragma weak MPI_File_read_ordered_begin = PMPI_File_read_ordered_begin
#pragma weak MPI_File_write_ordered = PMPI_File_write_ordered
#pragma weak MPI_File_write_ordered_begin = PMPI_File_write_ordered_begin
#ifdef ROMIO_HAS_LARGE_COUNTS
#pragma weak MPI_File_read_ordered_c = PMPI_File_read_ordered_c
#pragma weak MPI_File_read_ordered_begin_c = PMPI_File_read_ordered_begin_c
#pragma weak MPI_File_write_ordered_c = PMPI_File_write_ordered_c
#pragma weak MPI_File_write_ordered_begin_c = PMPI_File_write_ordered_begin_c
#endif
#define MPIO_BUILD_PROFILING
#include "mpioprof.h"
#endif

/* What ends each call that may fail: the file's error handler learns of it. */
static int finish_call(MPI_File handle, const struct failure *failure)
{
    int code = failure_code(failure);
    return code == MPI_SUCCESS ? code : MPIO_Err_return_file(handle, code);
}

/* ---- atomic mode ------------------------------------------------------ */

int MPI_File_set_atomicity(MPI_File handle, int flag)
{
    ADIO_File fd = MPIO_File_resolve(handle);
    if (!driver_owns(fd))
        return romio_File_set_atomicity(handle, flag);
    struct failure failure = {.class = MPI_SUCCESS};
    int mine[2] = {flag != 0, flag == 0}, any[2];
    /* Nobody goes on in one mode while others are at accesses of the other. */
    MPI_Allreduce(mine, any, 2, MPI_INT, MPI_MAX, fd->comm);
    if (any[0] && any[1])
        failure_say(&failure, MPI_ERR_NOT_SAME,
                    "MPI_File_set_atomicity: the ranks differ in what they ask for");
    else
        driver_file(fd)->is_atomic = flag != 0;
    return finish_call(handle, &failure);
}

int MPI_File_get_atomicity(MPI_File handle, int *flag)
{
    ADIO_File fd = MPIO_File_resolve(handle);
    if (!driver_owns(fd))
        return romio_File_get_atomicity(handle, flag);
    *flag = driver_file(fd)->is_atomic;
    return MPI_SUCCESS;
}

/* ---- ordered calls ---------------------------------------------------- */

/* What the ranks add up. */
struct part {
    int64_t etypes;
    int64_t refused; /* 1: this rank cannot take part */
};

static struct part part_make(ADIO_File fd, MPI_Count count, MPI_Datatype datatype)
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
static int take_place(MPI_File handle, MPI_Count count, MPI_Datatype datatype, MPI_Offset *place)
{
    ADIO_File fd = MPIO_File_resolve(handle);
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
    return finish_call(handle, &answer.failure);
}

/* A split collective call that is open already must not move the pointer. */
static int take_place_for_split(MPI_File handle, MPI_Count count, MPI_Datatype datatype, MPI_Offset *place)
{
    struct failure failure;
    if (!MPIO_File_resolve(handle)->split_coll_count)
        return take_place(handle, count, datatype, place);
    failure_say(&failure, MPI_ERR_IO, "only one split collective call may be open on a file at a time");
    return finish_call(handle, &failure);
}

/* Sequential mode forbids the caller explicit offsets, not us. Between the two, ROMIO does not see it. */
static int hide_sequential(ADIO_File fd)
{
    int mode = fd->access_mode;
    fd->access_mode &= ~ADIO_SEQUENTIAL;
    return mode;
}

static int read_ordered(MPI_File handle, void *buffer, MPI_Count count, MPI_Datatype datatype,
                        MPI_Status *status)
{
    ADIO_File fd = MPIO_File_resolve(handle);
    MPI_Offset place;
    int code = take_place(handle, count, datatype, &place);
    if (code != MPI_SUCCESS)
        return code;
    int mode = hide_sequential(fd);
    code = COMPAT_COUNTED(MPI_File_read_at_all)(handle, place, buffer, COMPAT_COUNT(count), datatype, status);
    fd->access_mode = mode;
    return code;
}

static int write_ordered(MPI_File handle, const void *buffer, MPI_Count count, MPI_Datatype datatype,
                         MPI_Status *status)
{
    ADIO_File fd = MPIO_File_resolve(handle);
    MPI_Offset place;
    int code = take_place(handle, count, datatype, &place);
    if (code != MPI_SUCCESS)
        return code;
    int mode = hide_sequential(fd);
    code =
        COMPAT_COUNTED(MPI_File_write_at_all)(handle, place, buffer, COMPAT_COUNT(count), datatype, status);
    fd->access_mode = mode;
    return code;
}

static int read_ordered_begin(MPI_File handle, void *buffer, MPI_Count count, MPI_Datatype datatype)
{
    ADIO_File fd = MPIO_File_resolve(handle);
    MPI_Offset place;
    int code = take_place_for_split(handle, count, datatype, &place);
    if (code != MPI_SUCCESS)
        return code;
    int mode = hide_sequential(fd);
    code = COMPAT_COUNTED(MPI_File_read_at_all_begin)(handle, place, buffer, COMPAT_COUNT(count), datatype);
    fd->access_mode = mode;
    return code;
}

static int write_ordered_begin(MPI_File handle, const void *buffer, MPI_Count count, MPI_Datatype datatype)
{
    ADIO_File fd = MPIO_File_resolve(handle);
    MPI_Offset place;
    int code = take_place_for_split(handle, count, datatype, &place);
    if (code != MPI_SUCCESS)
        return code;
    int mode = hide_sequential(fd);
    code = COMPAT_COUNTED(MPI_File_write_at_all_begin)(handle, place, buffer, COMPAT_COUNT(count), datatype);
    fd->access_mode = mode;
    return code;
}

/* ---- ordered calls, as MPI has them ------------------------------------ */

int MPI_File_read_ordered(MPI_File handle, void *buffer, int count, MPI_Datatype datatype, MPI_Status *status)
{
    if (!driver_owns(MPIO_File_resolve(handle)))
        return romio_File_read_ordered(handle, buffer, count, datatype, status);
    return read_ordered(handle, buffer, count, datatype, status);
}

int MPI_File_write_ordered(MPI_File handle, const void *buffer, int count, MPI_Datatype datatype,
                           MPI_Status *status)
{
    if (!driver_owns(MPIO_File_resolve(handle)))
        return romio_File_write_ordered(handle, buffer, count, datatype, status);
    return write_ordered(handle, buffer, count, datatype, status);
}

int MPI_File_read_ordered_begin(MPI_File handle, void *buffer, int count, MPI_Datatype datatype)
{
    if (!driver_owns(MPIO_File_resolve(handle)))
        return romio_File_read_ordered_begin(handle, buffer, count, datatype);
    return read_ordered_begin(handle, buffer, count, datatype);
}

int MPI_File_write_ordered_begin(MPI_File handle, const void *buffer, int count, MPI_Datatype datatype)
{
    if (!driver_owns(MPIO_File_resolve(handle)))
        return romio_File_write_ordered_begin(handle, buffer, count, datatype);
    return write_ordered_begin(handle, buffer, count, datatype);
}

#ifdef ROMIO_HAS_LARGE_COUNTS

int MPI_File_read_ordered_c(MPI_File handle, void *buffer, MPI_Count count, MPI_Datatype datatype,
                            MPI_Status *status)
{
    if (!driver_owns(MPIO_File_resolve(handle)))
        return romio_File_read_ordered_c(handle, buffer, count, datatype, status);
    return read_ordered(handle, buffer, count, datatype, status);
}

int MPI_File_write_ordered_c(MPI_File handle, const void *buffer, MPI_Count count, MPI_Datatype datatype,
                             MPI_Status *status)
{
    if (!driver_owns(MPIO_File_resolve(handle)))
        return romio_File_write_ordered_c(handle, buffer, count, datatype, status);
    return write_ordered(handle, buffer, count, datatype, status);
}

int MPI_File_read_ordered_begin_c(MPI_File handle, void *buffer, MPI_Count count, MPI_Datatype datatype)
{
    if (!driver_owns(MPIO_File_resolve(handle)))
        return romio_File_read_ordered_begin_c(handle, buffer, count, datatype);
    return read_ordered_begin(handle, buffer, count, datatype);
}

int MPI_File_write_ordered_begin_c(MPI_File handle, const void *buffer, MPI_Count count,
                                   MPI_Datatype datatype)
{
    if (!driver_owns(MPIO_File_resolve(handle)))
        return romio_File_write_ordered_begin_c(handle, buffer, count, datatype);
    return write_ordered_begin(handle, buffer, count, datatype);
}

#endif
