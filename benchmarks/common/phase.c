/* SPDX-License-Identifier: Apache-2.0 */
/*
 * phase.c: clocks.
 */
#include <mpi.h>
#include <sys/resource.h>

#include "common/phase.h"

double phase_begin(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
    return MPI_Wtime();
}

double phase_end(double start)
{
    double mine = MPI_Wtime() - start, most;
    MPI_Allreduce(&mine, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return most;
}

double phase_cpu_begin(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

double phase_cpu_end(double start)
{
    double mine = phase_cpu_begin() - start, all;
    MPI_Allreduce(&mine, &all, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    return all;
}
