/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contiguous.c: whether a datatype is contiguous, in place of ROMIO's file that asks
 * MPICH's inside.
 */
#include "driver.h"

static bool is_named(MPI_Datatype datatype)
{
    MPI_Count integers, addresses, larges, types;
    int combiner;
    MPI_Type_get_envelope_c(datatype, &integers, &addresses, &larges, &types, &combiner);
    return combiner == MPI_COMBINER_NAMED;
}

/* One after the other, copies of a contiguous type are one run from the first one's origin on. */
void ADIOI_Datatype_iscontig(MPI_Datatype datatype, int *is_contiguous)
{
    MPI_Count size, lower_bound, extent, true_lower_bound, true_extent;
    MPI_Type_size_x(datatype, &size);
    MPI_Type_get_extent_x(datatype, &lower_bound, &extent);
    MPI_Type_get_true_extent_x(datatype, &true_lower_bound, &true_extent);
    *is_contiguous =
        size == 0 || (lower_bound == 0 && true_lower_bound == 0 && size == extent && size == true_extent);
    /* The sizes may be right while pieces are out of order, or overlap where others leave a gap. */
    if (size > 0 && *is_contiguous && !is_named(datatype))
        *is_contiguous = ADIOI_Flatten_and_find(datatype)->count == 1;
}
