/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collective.c: blocking collective reads and writes: what the ranks tell each other, and
 * the method that follows from it (strategy.h).
 *
 * Where the method is the same whatever the others have, nothing is exchanged: in atomic
 * mode, where each access has a lock of its own, and where strategy_is_known(). An error is
 * each rank's own then, and nobody waits for a rank that has given up; in all other calls it ends the
 * call on all ranks.
 */
#include <sys/random.h>

#include "driver.h"
#include "gather.h"
#include "strategy.h"
#include "two_phase.h"

/* A number that no other call of any process has; 0 is none. */
static uint64_t new_id(void)
{
    static uint64_t next;
    if (next == 0 && getrandom(&next, sizeof next, 0) != sizeof next)
        next = (uint64_t)(MPI_Wtime() * 1e9);
    return ++next | UINT64_C(1) << 63;
}

static struct reach reach_of(const struct access *access)
{
    struct reach reach = {.bytes = access->bytes, .rises = 1, .id = new_id()};
    if (reach.bytes > 0) {
        access_reach(access, &reach.start, &reach.end);
        reach.pieces = access_pieces(access);
        reach.rises = access_rises(access);
    }
    return reach;
}

/* Collective: the method and why, the same on all ranks. *reaches has an entry for each rank, and is
 * to be given to ADIOI_Free(). */
static struct choice agree(ADIO_File fd, const struct access *access, enum strategy asked, bool is_write,
                           struct reach **reaches)
{
    struct weft_layout layout;
    struct reach mine = reach_of(access);
    int ranks;
    MPI_Comm_size(fd->comm, &ranks);
    *reaches = ADIOI_Malloc((size_t)ranks * sizeof **reaches);
    weft_file_layout(driver_file(fd)->file, &layout);
    MPI_Allgather(&mine, sizeof mine, MPI_BYTE, *reaches, sizeof mine, MPI_BYTE, fd->comm);
    return strategy_choose(asked, is_write, *reaches, ranks, (int64_t)layout.chunk_size);
}

static bool walk_next(void *at, int64_t file_end, struct piece *piece)
{
    return access_next(at, file_end, piece);
}

static int64_t walk_offset(void *at)
{
    return access_offset(at);
}

static int64_t exchange(ADIO_File fd, struct access *access, bool is_write, const struct reach *reaches,
                        struct failure *failure)
{
    const struct piece_walk walk = {
        .at = access, .at_bytes = sizeof *access, .next = walk_next, .offset = walk_offset};
    const struct two_phase_call call = {
        .comm = fd->comm,
        .file = driver_file(fd)->file,
        .is_write = is_write,
        .aggregators = fd->hints->ranklist,
        .aggregator_count = fd->hints->cb_nodes,
        .buffer_bytes = fd->hints->cb_buffer_size,
        .reaches = reaches,
        .has_failed = failure->class != MPI_SUCCESS,
    };
    int64_t moved;
    int error = two_phase(&call, &walk, &moved);
    if (error && !call.has_failed)
        failure_set(failure, error);
    return moved;
}

/* The rank's part by this method. An access that could not begin has no bytes, and its rank takes
 * part for the others' sake. */
static int64_t move(ADIO_File fd, struct access *access, bool is_write, enum method method,
                    const struct reach *reaches, struct failure *failure)
{
    if (method == METHOD_TWO_PHASE)
        return exchange(fd, access, is_write, reaches, failure);
    if (method == METHOD_GATHER)
        return gather_write(fd, access, reaches, failure);
    int64_t moved = access->bytes > 0 ? strided_move(driver_file(fd), access, is_write) : 0;
    if (moved < 0)
        failure_set(failure, (int)moved);
    return moved;
}

static void access_collective(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                              int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code,
                              bool is_write)
{
    struct driver_file *file = driver_file(fd);
    enum strategy asked = is_write ? file->hints.collective_write : file->hints.collective_read;
    struct choice choice;
    bool is_alone = strategy_is_known(asked, is_write, file->grain, &choice);
    struct failure failure = {.class = MPI_SUCCESS};
    struct access access;
    struct reach *reaches = NULL;
    if (file->is_atomic) {
        is_alone = true;
        choice = (struct choice){METHOD_SEPARATE, "in atomic mode"};
    }
    if (!access_begin(&access, fd, buffer, count, datatype, file_ptr_type, offset)) {
        failure_before_start(&failure);
        access.bytes = access.left = 0;
    }
    if (!is_alone)
        choice = agree(fd, &access, asked, is_write, &reaches);
    explain_strategy(fd, is_write, strategy_method_name(choice.method), choice.reason);
    int64_t moved = move(fd, &access, is_write, choice.method, reaches, &failure);
    /* A rank that fails may not come to the next call, in which the others would wait for it. */
    if (!is_alone)
        failure_agree(&failure, fd->comm);
    if (failure.class != MPI_SUCCESS)
        moved = 0;
    *error_code = failure_code(&failure);
    if (moved > 0 && file_ptr_type == ADIO_INDIVIDUAL)
        fd->fp_ind = access_offset_after(&access, moved);
    fd->fp_sys_posn = -1;
    if (status != NULL)
        MPIR_Status_set_bytes(status, MPI_BYTE, moved);
    access_end(&access);
    if (reaches != NULL)
        ADIOI_Free(reaches);
}

void driver_read_coll(ADIO_File fd, void *buffer, romio_count_t count, MPI_Datatype datatype,
                      int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code)
{
    explain_begin_access(fd, false, EXPLAIN_COLLECTIVE, datatype);
    access_collective(fd, buffer, count, datatype, file_ptr_type, offset, status, error_code, false);
    explain_end_access(fd, count, datatype);
}

void driver_write_coll(ADIO_File fd, const void *buffer, romio_count_t count, MPI_Datatype datatype,
                       int file_ptr_type, ADIO_Offset offset, ADIO_Status *status, int *error_code)
{
    explain_begin_access(fd, true, EXPLAIN_COLLECTIVE, datatype);
    access_collective(fd, buffer, count, datatype, file_ptr_type, offset, status, error_code, true);
    explain_end_access(fd, count, datatype);
}
