/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dead_replica.c: what ranks see when a storage server dies under them, and others have what it had: nothing.
 *
 *   mpirun -n 4 dead_replica PATH READY STOP
 *
 * Writes records of 47,008 bytes in turns, all ranks together and each for itself, reads what the next rank
 * has written, and compares all bytes, until the local file STOP is there; the local file READY is made when
 * that is well under way. Exit status: 0 when no call failed and every byte was right.
 */
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { record = 47008, records = 40, warm_up = 5 };

static int rank, ranks;

static void check(int code, const char *call)
{
    char text[MPI_MAX_ERROR_STRING];
    int length;
    if (code == MPI_SUCCESS)
        return;
    MPI_Error_string(code, text, &length);
    fprintf(stderr, "# rank %d: %s: %s\n", rank, call, text);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* Every record of every rank and round is another one. */
static void fill(unsigned char *bytes, int of_rank, unsigned round)
{
    unsigned state = round * 2654435761u + (unsigned)of_rank * 40503u + 1;
    for (size_t i = 0; i < (size_t)records * record; i += sizeof state) {
        state = state * 1664525u + 1013904223u;
        memcpy(bytes + i, &state, sizeof state);
    }
}

/* Record i of rank r is the file's i * ranks + r. */
static void set_view(MPI_File file, int of_rank)
{
    MPI_Datatype tile, view;
    MPI_Type_contiguous(record, MPI_BYTE, &tile);
    MPI_Type_create_resized(tile, 0, (MPI_Aint)record * ranks, &view);
    MPI_Type_commit(&view);
    check(MPI_File_set_view(file, (MPI_Offset)of_rank * record, MPI_BYTE, view, "native", MPI_INFO_NULL),
          "MPI_File_set_view");
    MPI_Type_free(&tile);
    MPI_Type_free(&view);
}

static void write_round(MPI_File file, unsigned char *bytes, unsigned round)
{
    const int half = records / 2 * record;
    fill(bytes, rank, round);
    set_view(file, rank);
    check(MPI_File_write_at_all(file, 0, bytes, half, MPI_BYTE, MPI_STATUS_IGNORE), "MPI_File_write_at_all");
    for (int at = half; at < records * record; at += record)
        check(MPI_File_write_at(file, at, bytes + at, record, MPI_BYTE, MPI_STATUS_IGNORE),
              "MPI_File_write_at");
    check(MPI_File_sync(file), "MPI_File_sync");
    MPI_Barrier(MPI_COMM_WORLD);
}

static void read_round(MPI_File file, unsigned char *bytes, unsigned char *wanted, unsigned round)
{
    const int next = (rank + 1) % ranks;
    const size_t length = (size_t)records * record;
    fill(wanted, next, round);
    set_view(file, next);
    memset(bytes, 0, length);
    check(MPI_File_read_at_all(file, 0, bytes, records * record, MPI_BYTE, MPI_STATUS_IGNORE),
          "MPI_File_read_at_all");
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] == wanted[i])
            continue;
        fprintf(stderr, "# rank %d: round %u: byte %zu of rank %d is wrong\n", rank, round, i, next);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

int main(int argc, char **argv)
{
    MPI_File file;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    unsigned char *bytes = malloc((size_t)records * record), *wanted = malloc((size_t)records * record);
    if (argc != 4 || !bytes || !wanted)
        MPI_Abort(MPI_COMM_WORLD, 2);
    check(MPI_File_open(MPI_COMM_WORLD, argv[1], MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file),
          "MPI_File_open");
    unsigned round = 0;
    for (int stop = 0; !stop; round++) {
        write_round(file, bytes, round);
        read_round(file, bytes, wanted, round);
        FILE *ready = rank == 0 && round == warm_up ? fopen(argv[2], "w") : NULL;
        if (ready)
            fclose(ready);
        stop = rank == 0 && access(argv[3], F_OK) == 0;
        MPI_Bcast(&stop, 1, MPI_INT, 0, MPI_COMM_WORLD);
    }
    check(MPI_File_close(&file), "MPI_File_close");
    if (rank == 0)
        printf("# %u rounds, all bytes right\n", round);
    free(bytes);
    free(wanted);
    MPI_Finalize();
    return 0;
}
