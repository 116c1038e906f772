/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dead_server.c: what ranks see when a storage server dies under them.
 *
 *   mpirun -n 4 dead_server PATH WAY SECONDS READY
 *
 * Does I/O without end, collective writes (WAY write), collective reads (read)
 * or nonblocking writes (iwrite), and makes the local file READY when it is well
 * under way. Whoever runs it kills a server then. Exit status: 0 when every rank
 * got an error within SECONDS, the same class on all in a collective call; 1 when
 * not so, or when no error came within two minutes.
 */
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { record = 47008, records = 100, warm_up = 20 };

static int one_call(MPI_File file, const char *way, MPI_Offset round, unsigned char *bytes)
{
    MPI_Offset offset = round % 20 * record * records;
    MPI_Request request;
    if (strcmp(way, "write") == 0)
        return MPI_File_write_at_all(file, offset, bytes, record * records, MPI_BYTE, MPI_STATUS_IGNORE);
    if (strcmp(way, "read") == 0)
        return MPI_File_read_at_all(file, offset, bytes, record * records, MPI_BYTE, MPI_STATUS_IGNORE);
    int code = MPI_File_iwrite_at(file, offset, bytes, record * records, MPI_BYTE, &request);
    return code == MPI_SUCCESS ? MPI_Wait(&request, MPI_STATUS_IGNORE) : code;
}

static MPI_File open_file(const char *path, int rank, int ranks)
{
    MPI_Datatype tile, view;
    MPI_Info info;
    MPI_File file;
    MPI_Info_create(&info);
    MPI_Info_set(info, "cb_nodes", "4");
    if (MPI_File_open(MPI_COMM_WORLD, path, MPI_MODE_CREATE | MPI_MODE_RDWR, info, &file) != MPI_SUCCESS) {
        fprintf(stderr, "dead_server: cannot open %s\n", path);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    MPI_Info_free(&info);
    MPI_Type_contiguous(record, MPI_BYTE, &tile);
    MPI_Type_create_resized(tile, 0, (MPI_Aint)record * ranks, &view);
    MPI_Type_commit(&view);
    MPI_File_set_view(file, (MPI_Offset)rank * record, MPI_BYTE, view, "native", MPI_INFO_NULL);
    MPI_Type_free(&tile);
    MPI_Type_free(&view);
    return file;
}

int main(int argc, char **argv)
{
    int rank, ranks, code = MPI_SUCCESS, class = MPI_SUCCESS, length, classes[2], found[2], late, any_late;
    char text[MPI_MAX_ERROR_STRING];
    MPI_Init(&argc, &argv);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (argc != 5)
        MPI_Abort(MPI_COMM_WORLD, 2);
    const char *way = argv[2];
    unsigned char *bytes = calloc(records, record);
    MPI_File file = open_file(argv[1], rank, ranks);
    double begin = MPI_Wtime(), call = begin;
    for (MPI_Offset round = 0; code == MPI_SUCCESS && MPI_Wtime() - begin < 120; round++) {
        FILE *ready = rank == 0 && round == warm_up ? fopen(argv[4], "w") : NULL;
        if (ready != NULL)
            fclose(ready);
        call = MPI_Wtime();
        code = one_call(file, way, round, bytes);
    }
    double seconds = MPI_Wtime() - call;
    MPI_Error_class(code, &class);
    MPI_Error_string(code, text, &length);
    printf("# rank %d after %.1f s: class %d: %s\n", rank, seconds, class, text);
    fflush(stdout);

    classes[0] = class;
    classes[1] = -class;
    MPI_Allreduce(classes, found, 2, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    bool is_same = found[0] == -found[1];
    late = code == MPI_SUCCESS || seconds > strtod(argv[3], NULL);
    MPI_Allreduce(&late, &any_late, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    bool is_good = !any_late && (is_same || strcmp(way, "iwrite") == 0);
    if (rank == 0)
        printf("%s dead-server: %s\n", is_good ? "ok" : "not ok", way);
    MPI_File_close(&file);
    free(bytes);
    MPI_Finalize();
    return !is_good;
}
