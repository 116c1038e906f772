/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ranks.c: the ranks of a file: what they agree on, and what HDF5 asks the driver about them.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

#if VFD_HAS_MPI

static bool mpi_is_up(void)
{
    int is_up = 0, is_over = 0;
    MPI_Initialized(&is_up);
    if (is_up)
        MPI_Finalized(&is_over);
    return is_up && !is_over;
}

static void free_ranks(struct vfd_ranks *ranks)
{
    free(ranks->reaches);
    free(ranks->aggregators);
    free(ranks);
}

static struct vfd_ranks *new_ranks(size_t count)
{
    struct vfd_ranks *ranks = calloc(1, sizeof *ranks);
    if (!ranks)
        return NULL;
    /* Until the first calls have shown that it is not so. */
    ranks->wrote_small = ranks->read_tiny = true;
    ranks->telling = MPI_REQUEST_NULL;
    ranks->reaches = calloc(count, sizeof *ranks->reaches);
    ranks->aggregators = calloc(count, sizeof *ranks->aggregators);
    if (ranks->reaches && ranks->aggregators)
        return ranks;
    free_ranks(ranks);
    return NULL;
}

int vfd_ranks_open(hid_t fapl, struct vfd_ranks **out)
{
    MPI_Comm comm = MPI_COMM_NULL;
    MPI_Info info = MPI_INFO_NULL;
    herr_t result = -1;
    *out = NULL;
    if (!mpi_is_up())
        return 0;
    /* A list without a communicator is none of the user's errors. */
    H5E_BEGIN_TRY
    {
        result = H5Pget_mpi_params(fapl, &comm, &info);
    }
    H5E_END_TRY
    if (result < 0 || comm == MPI_COMM_NULL)
        return 0;
    int error = vfd_hidden_check(), count = 0;
    MPI_Comm_size(comm, &count);
    struct vfd_ranks *ranks = error ? NULL : new_ranks((size_t)count);
    if (!ranks) {
        MPI_Comm_free(&comm);
        if (info != MPI_INFO_NULL)
            MPI_Info_free(&info);
        return error ? error : -ENOMEM;
    }
    ranks->comm = comm;
    ranks->info = info;
    /* HDF5 is never told that there is no info. */
    if (info == MPI_INFO_NULL)
        MPI_Info_create(&ranks->info);
    MPI_Comm_dup(comm, &ranks->own);
    MPI_Comm_set_errhandler(ranks->own, MPI_ERRORS_ARE_FATAL);
    MPI_Comm_rank(ranks->own, &ranks->rank);
    MPI_Comm_size(ranks->own, &ranks->count);
    *out = ranks;
    return 0;
}

void vfd_ranks_close(struct vfd_ranks *ranks)
{
    if (!ranks)
        return;
    if (mpi_is_up()) {
        MPI_Wait(&ranks->telling, MPI_STATUS_IGNORE);
        MPI_Comm_free(&ranks->own);
        MPI_Comm_free(&ranks->comm);
        MPI_Info_free(&ranks->info);
    }
    free_ranks(ranks);
}

/* What an error becomes so that the lowest of all ranks' is the one to tell of. */
static int64_t key_of(const struct vfd_ranks *ranks, int error)
{
    return error < 0 ? error * INT64_C(1000000000) + ranks->rank : 0;
}

int vfd_ranks_agree_least(const struct vfd_ranks *ranks, int error, int64_t *least)
{
    int64_t both[2] = {key_of(ranks, error), *least};
    char text[VFD_TEXT_BYTES];
    MPI_Allreduce(MPI_IN_PLACE, both, 2, MPI_INT64_T, MPI_MIN, ranks->own);
    *least = both[1];
    if (both[0] == 0)
        return 0;
    int agreed = (int)((both[0] - 999999999) / 1000000000);
    int first = (int)(both[0] - agreed * INT64_C(1000000000));
    snprintf(text, sizeof text, "%s", error ? weft_error() : "");
    MPI_Bcast(text, sizeof text, MPI_CHAR, first, ranks->own);
    if (ranks->rank != first)
        vfd_fail_elsewhere(text);
    return agreed;
}

int vfd_ranks_agree(const struct vfd_ranks *ranks, int error)
{
    int64_t least = 0;
    return vfd_ranks_agree_least(ranks, error, &least);
}

bool vfd_ranks_any(const struct vfd_ranks *ranks, bool mine)
{
    int any = mine;
    MPI_Allreduce(MPI_IN_PLACE, &any, 1, MPI_INT, MPI_LOR, ranks->own);
    return any;
}

herr_t vfd_control(H5FD_t *base, uint64_t operation, uint64_t flags, const void *input, void **output)
{
    struct vfd_ranks *ranks = vfd_file(base)->ranks;
    (void)input;
    if (ranks && output && *output) {
        switch (operation) {
        case H5FD_CTL_GET_MPI_COMMUNICATOR_OPCODE:
            *(MPI_Comm *)*output = ranks->comm;
            return 0;
        case H5FD_CTL_GET_MPI_INFO_OPCODE:
            *(MPI_Info *)*output = ranks->info;
            return 0;
        case H5FD_CTL_GET_MPI_RANK_OPCODE:
            *(int *)*output = ranks->rank;
            return 0;
        case H5FD_CTL_GET_MPI_SIZE_OPCODE:
            *(int *)*output = ranks->count;
            return 0;
        case H5FD_CTL_GET_MPI_FILE_SYNC_OPCODE:
            *(hbool_t *)*output = false; /* what was written is seen by all */
            return 0;
        default:
            break;
        }
    }
    if (!(flags & H5FD_CTL_FAIL_IF_UNKNOWN_FLAG))
        return 0;
    VFD_FAIL(H5E_UNSUPPORTED, 0, "there is no operation %llu", (unsigned long long)operation);
    return -1;
}

#endif
