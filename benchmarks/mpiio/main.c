/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c: each pattern on each target in turn.
 */
#include "bench.h"
#include "common/counts.h"
#include "common/program.h"

const char *const program_name = "mpiio";

int main(int argc, char **argv)
{
    struct options options;
    bool ends;
    int rank;
    if (argc == 2 && argv[1][0] == '-') /* what needs no MPI, and so no mpirun */
        return options_read(argc, argv, true, &options, &ends);
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    int result = options_read(argc, argv, rank == 0, &options, &ends);
    if (!ends && options.common.header && rank == 0)
        measure_header();
    for (unsigned p = 0; !ends && p < options.common.chosen_count; p++)
        for (unsigned t = 0; t < options.common.target_count && result == 0; t++) {
            const struct target *target =
                &options.targets[(options.common.first + t) % options.common.target_count];
            result = measure_pattern(&options, &patterns[options.common.chosen[p]], target) < 0;
        }
    counts_end();
    MPI_Finalize();
    return result;
}
