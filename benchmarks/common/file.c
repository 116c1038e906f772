/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.c: errors of MPI-IO, and the end of a file.
 */
#include <string.h>

#include "common/file.h"
#include "common/program.h"

bool file_is_on_weft(const char *path)
{
    return strncmp(path, "weft:", 5) == 0;
}

void file_must(int code, const char *path, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    if (code == MPI_SUCCESS)
        return;
    MPI_Error_string(code, text, &length);
    program_die("%s %s: %s", what, path, text);
}

/* The size goes first, so that the space is given back now and not during the next run. */
void file_remove(const char *path, MPI_Info info)
{
    MPI_File file;
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) {
        file_must(MPI_File_open(MPI_COMM_SELF, path, MPI_MODE_RDWR, info, &file), path, "opening");
        file_must(MPI_File_set_size(file, 0), path, "emptying");
        file_must(MPI_File_close(&file), path, "closing");
        file_must(MPI_File_delete(path, info), path, "removing");
    }
    MPI_Barrier(MPI_COMM_WORLD);
}
