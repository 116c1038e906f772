/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks that write one file in turns and their own files in one folder, and read each other's. */
#include <fcntl.h>
#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD = 4711, TURNS = 20, FILES = 50 };

static int rank, ranks, wrong;

#define WANT(condition)                                                            \
    do {                                                                           \
        if (!(condition)) {                                                        \
            fprintf(stderr, "rank %d, line %d: %s\n", rank, __LINE__, #condition); \
            wrong++;                                                               \
        }                                                                          \
    } while (0)

static void fill(char record[RECORD], int writer, int turn)
{
    for (int i = 0; i < RECORD; i++)
        record[i] = (char)(writer * 31 + turn * 7 + i);
}

static void one_file(const char *folder)
{
    char path[PATH_MAX], record[RECORD], seen[RECORD];
    snprintf(path, sizeof path, "%s/shared", folder);
    int fd = open(path, O_RDWR | O_CREAT, 0644);
    WANT(fd >= 0);
    for (int turn = 0; turn < TURNS; turn++) {
        fill(record, rank, turn);
        WANT(pwrite(fd, record, RECORD, ((off_t)turn * ranks + rank) * RECORD) == RECORD);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    int other = (rank + 1) % ranks;
    for (int turn = 0; turn < TURNS; turn++) {
        fill(record, other, turn);
        WANT(pread(fd, seen, RECORD, ((off_t)turn * ranks + other) * RECORD) == RECORD);
        WANT(memcmp(record, seen, RECORD) == 0);
    }
    WANT(lseek(fd, 0, SEEK_END) == (off_t)ranks * TURNS * RECORD);
    WANT(close(fd) == 0);
}

static void many_files(const char *folder)
{
    char path[PATH_MAX];
    struct stat st;
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/file-%d-%d", folder, rank, i);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
        WANT(fd >= 0 && write(fd, path, (size_t)i) == i && close(fd) == 0);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    int other = (rank + 1) % ranks;
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "%s/file-%d-%d", folder, other, i);
        WANT(stat(path, &st) == 0 && st.st_size == i);
        WANT(unlink(path) == 0);
    }
}

int main(int argc, char **argv)
{
    int all_wrong = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (rank == 0)
        WANT(argc == 2 && mkdir(argv[1], 0755) == 0);
    MPI_Barrier(MPI_COMM_WORLD);
    one_file(argv[1]);
    many_files(argv[1]);
    MPI_Allreduce(&wrong, &all_wrong, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (rank == 0 && all_wrong == 0)
        puts("all ranks are content");
    MPI_Finalize();
    return all_wrong != 0;
}
