/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says which ranks are the aggregators of a file: aggregators PATH [HINT=VALUE]. Of
 * test_aggregators.sh, which sees to it that they run in different places.
 */
#include <mpi.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    char list[MPI_MAX_INFO_VAL + 1] = "none";
    MPI_File file;
    MPI_Info hints, told;
    int rank, found;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Info_create(&hints);
    char *value = argc > 2 ? strchr(argv[2], '=') : NULL;
    if (value != NULL) {
        *value = '\0';
        MPI_Info_set(hints, argv[2], value + 1);
    }
    int error =
        MPI_File_open(MPI_COMM_WORLD, argc > 1 ? argv[1] : "", MPI_MODE_CREATE | MPI_MODE_RDWR, hints, &file);
    MPI_Info_free(&hints);
    if (error != MPI_SUCCESS) {
        fprintf(stderr, "rank %d can't open the file\n", rank);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    MPI_File_get_info(file, &told);
    MPI_Info_get(told, "romio_aggregator_list", MPI_MAX_INFO_VAL, list, &found);
    MPI_Info_free(&told);
    if (rank == 0)
        printf("aggregators: %s\n", list);
    MPI_File_close(&file);
    MPI_Finalize();
    return 0;
}
