/* SPDX-License-Identifier: Apache-2.0 */
/*
 * codes.c: error codes with the library's texts, in MPICH.
 *
 * Codes that are added by MPI_Add_error_code() to a class of the standard's have no
 * texts in MPICH. So codes come from the function by which MPICH makes its own, which
 * its library exports for its other languages; without it there are only classes.
 */
#include "driver.h"

int MPIR_Err_create_code(int last, int kind, const char function[], int line, int class, const char generic[],
                         const char specific[], ...) __attribute__((weak));

int failure_code(const struct failure *failure)
{
    if (failure->class == MPI_SUCCESS || MPIR_Err_create_code == NULL)
        return failure->class;
    /* Messages have names in MPICH; that of this one takes any text. */
    return MPIR_Err_create_code(MPI_SUCCESS, MPIR_ERR_RECOVERABLE, "weft", __LINE__, failure->class, "**io",
                                "**io %s", failure->text);
}
