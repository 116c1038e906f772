/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file.h: the files of the MPI benchmarks, by MPI-IO on weft: paths and on local ones.
 */
#ifndef BENCHMARK_FILE_H
#define BENCHMARK_FILE_H

#include <mpi.h>
#include <stdbool.h>

/* file_is_on_weft(): also of a folder. */
bool file_is_on_weft(const char *path);
/* file_must(): ends the program unless the call of MPI-IO that returned `code` went well. `what` tells of it
 * in front of the path: "opening". */
void file_must(int code, const char *path, const char *what);
/* file_remove(): gone when the call returns; an error ends the program. Collective: rank 0 does it. */
void file_remove(const char *path, MPI_Info info);

#endif
