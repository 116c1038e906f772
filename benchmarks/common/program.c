/* SPDX-License-Identifier: Apache-2.0 */
/*
 * program.c: messages, and results of all ranks.
 */
#include <mpi.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/program.h"

static void tell(const char *format, va_list arguments)
{
    char text[4096];
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    vsnprintf(text, sizeof text, format, arguments);
    fprintf(stderr, "%s: rank %d: %s\n", program_name, rank, text); /* by one call: the ranks share it */
}

void program_tell(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(format, arguments);
    va_end(arguments);
}

void program_die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(format, arguments);
    va_end(arguments);
    MPI_Abort(MPI_COMM_WORLD, 1);
    abort();
}

int program_all_well(int result)
{
    int worst;
    MPI_Allreduce(&result, &worst, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    return worst;
}
