/* SPDX-License-Identifier: Apache-2.0 */
/*
 * overlap.c: how much of nonblocking I/O happens while the application computes.
 *
 *   mpirun -n RANKS overlap [-s MIB] [-r REPEATS] [-p PIECE] [-w] PATH
 *
 * Each rank reads or writes MIB mebibytes of its own part of PATH, in pieces of PIECE
 * bytes that lie interleaved with the other ranks' (0: in one run), and computes for
 * as long as that takes. With -w the computation is a sleep, as when it happens on
 * another device; else it needs this rank's core. For each value of the hint
 * weft_progress it prints, in milliseconds, medians of
 *
 *   io       the nonblocking call and its wait, alone
 *   compute  the computation alone
 *   both     the call, the computation, the wait
 *   overlap  1 - (both - max(io, compute)) / min(io, compute): 1 when the shorter one
 *            costs nothing, 0 when they take place one after the other
 */
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REPEATS_MAX 64

static size_t bytes = 64u << 20;
static int piece;
static int repeats = 7;
static bool sleeps;
static int rank, ranks;

static void compute(double seconds)
{
    double end = MPI_Wtime() + seconds;
    volatile double x = 1;
    if (sleeps)
        usleep((useconds_t)(seconds * 1e6));
    else
        while (MPI_Wtime() < end) /* reads a clock, and makes no progress */
            for (int i = 0; i < 1000; i++)
                x = x * 1.0000001 + 1e-9;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_size);
    return values[count / 2];
}

static void must(int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING];
    int length;
    if (code == MPI_SUCCESS)
        return;
    MPI_Error_string(code, text, &length);
    fprintf(stderr, "overlap: %s: %s\n", what, text);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static MPI_File open_file(const char *path, const char *progress)
{
    MPI_File file;
    MPI_Info info;
    MPI_Info_create(&info);
    MPI_Info_set(info, "weft_progress", progress);
    must(MPI_File_open(MPI_COMM_WORLD, path, MPI_MODE_CREATE | MPI_MODE_RDWR, info, &file), path);
    MPI_Info_free(&info);
    if (piece > 0) {
        MPI_Datatype tile, view;
        MPI_Type_contiguous(piece, MPI_BYTE, &tile);
        MPI_Type_create_resized(tile, 0, (MPI_Aint)piece * ranks, &view);
        MPI_Type_commit(&view);
        must(MPI_File_set_view(file, (MPI_Offset)rank * piece, MPI_BYTE, view, "native", MPI_INFO_NULL),
             "view");
        MPI_Type_free(&tile);
        MPI_Type_free(&view);
    }
    return file;
}

/* The call, the computation when there is one, the wait. The time of the slowest rank. */
static double timed(MPI_File file, bool is_write, char *buffer, double seconds)
{
    MPI_Offset offset = piece > 0 ? 0 : (MPI_Offset)bytes * rank;
    MPI_Request request;
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    if (is_write)
        must(MPI_File_iwrite_at(file, offset, buffer, (int)bytes, MPI_BYTE, &request), "iwrite");
    else
        must(MPI_File_iread_at(file, offset, buffer, (int)bytes, MPI_BYTE, &request), "iread");
    if (seconds > 0)
        compute(seconds);
    must(MPI_Wait(&request, MPI_STATUS_IGNORE), "wait");
    double mine = MPI_Wtime() - start, slowest;
    MPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return slowest;
}

static double timed_compute(double seconds)
{
    MPI_Barrier(MPI_COMM_WORLD);
    double start = MPI_Wtime();
    compute(seconds);
    double mine = MPI_Wtime() - start, slowest;
    MPI_Allreduce(&mine, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return slowest;
}

static void measure(const char *path, bool is_write, char *buffer)
{
    static const char *const ways[] = {"calls", "thread"};
    double io[2][REPEATS_MAX], alone[2][REPEATS_MAX], both[2][REPEATS_MAX];
    MPI_File files[2];
    for (int way = 0; way < 2; way++) {
        files[way] = open_file(path, ways[way]);
        timed(files[way], true, buffer, 0); /* the pages exist from now on */
    }
    /* The two ways in turn, so that both see the same moods of the machine. */
    for (int i = 0; i < repeats; i++) {
        for (int way = 0; way < 2; way++) {
            io[way][i] = timed(files[way], is_write, buffer, 0);
            alone[way][i] = timed_compute(io[way][i]);
            both[way][i] = timed(files[way], is_write, buffer, io[way][i]);
        }
    }
    for (int way = 0; way < 2; way++) {
        MPI_File_close(&files[way]);
        double a = median(io[way], repeats), b = median(alone[way], repeats), c = median(both[way], repeats);
        double more = a > b ? a : b, less = a > b ? b : a;
        if (rank == 0)
            printf("%-6s %-7s io %8.1f  compute %8.1f  both %8.1f  overlap %5.2f\n",
                   is_write ? "write" : "read", ways[way], a * 1e3, b * 1e3, c * 1e3, 1 - (c - more) / less);
    }
}

int main(int argc, char **argv)
{
    int option;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    while ((option = getopt(argc, argv, "s:r:p:w")) != -1) {
        switch (option) {
        case 's':
            bytes = strtoul(optarg, NULL, 10) << 20;
            break;
        case 'r':
            repeats = (int)strtoul(optarg, NULL, 10);
            break;
        case 'p':
            piece = (int)strtoul(optarg, NULL, 10);
            break;
        case 'w':
            sleeps = true;
            break;
        default:
            optind = argc + 1;
            break;
        }
    }
    if (optind != argc - 1 || bytes == 0 || bytes >= (1u << 31) || repeats < 1 || repeats > REPEATS_MAX) {
        if (rank == 0)
            fprintf(stderr, "usage: mpirun -n RANKS overlap [-s MIB] [-r REPEATS] [-p PIECE] [-w] PATH\n");
        MPI_Finalize();
        return 2;
    }
    char *buffer = malloc(bytes);
    if (buffer == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
    memset(buffer, rank + 1, bytes);
    measure(argv[optind], true, buffer);
    measure(argv[optind], false, buffer);
    free(buffer);
    if (rank == 0)
        MPI_File_delete(argv[optind], MPI_INFO_NULL);
    MPI_Finalize();
    return 0;
}
