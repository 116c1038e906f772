/* SPDX-License-Identifier: Apache-2.0 */
/*
 * past.c: all ranks write a file by MPI-IO, interleaved and collectively, and read it back; rank 0 then tells
 * by which way they had it: "past the mount: PATH" or "by the mount".
 *
 * usage: past PATH [read]
 * With the second word the file is only read. Exit status: 0, or 1 after a line about what went wrong.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS = 64, RECORD_BYTES = 47008 };

static unsigned char record[RECORD_BYTES], got[RECORD_BYTES];
static int rank, ranks;

static void check(int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length;
    if (code == MPI_SUCCESS)
        return;
    MPI_Error_string(code, text, &length);
    fprintf(stderr, "%s: %s\n", what, text);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void fill(int index)
{
    for (int i = 0; i < RECORD_BYTES; i++)
        record[i] = (unsigned char)(index * 131 + i * 7 + i / 251);
}

static MPI_Offset place(int index)
{
    return (MPI_Offset)index * RECORD_BYTES;
}

static void write_all(MPI_File file)
{
    for (int i = 0; i < RECORDS; i++) {
        fill(i * ranks + rank);
        check(MPI_File_write_at_all(file, place(i * ranks + rank), record, RECORD_BYTES, MPI_BYTE,
                                    MPI_STATUS_IGNORE),
              "write");
    }
    check(MPI_File_sync(file), "sync");
    MPI_Barrier(MPI_COMM_WORLD);
}

/* What the next rank wrote. */
static void read_all(MPI_File file)
{
    for (int i = 0; i < RECORDS; i++) {
        int index = i * ranks + (rank + 1) % ranks;
        MPI_Status status;
        int count;
        fill(index);
        check(MPI_File_read_at_all(file, place(index), got, RECORD_BYTES, MPI_BYTE, &status), "read");
        MPI_Get_count(&status, MPI_BYTE, &count);
        if (count != RECORD_BYTES || memcmp(record, got, RECORD_BYTES) != 0) {
            fprintf(stderr, "record %d is not what was written\n", index);
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
    }
}

static void tell_way(MPI_File file)
{
    char path[MPI_MAX_INFO_VAL + 1] = "";
    int mine = 0, all = 0;
    MPI_Info info;
    check(MPI_File_get_info(file, &info), "info");
    MPI_Info_get(info, "weft_past_mount", MPI_MAX_INFO_VAL, path, &mine);
    MPI_Info_free(&info);
    MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (all != 0 && all != ranks) {
        fprintf(stderr, "the ranks have it by different ways\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    if (rank == 0 && all)
        printf("past the mount: %s\n", path);
    else if (rank == 0)
        printf("by the mount\n");
}

/* A file that is deleted at its close, and one that a single rank has. */
static void come_and_go(const char *path)
{
    MPI_File file;
    char gone[4096];
    snprintf(gone, sizeof gone, "%s.gone", path);
    check(MPI_File_open(MPI_COMM_WORLD, gone, MPI_MODE_CREATE | MPI_MODE_WRONLY | MPI_MODE_DELETE_ON_CLOSE,
                        MPI_INFO_NULL, &file),
          gone);
    check(MPI_File_write_at(file, rank, record, 1, MPI_BYTE, MPI_STATUS_IGNORE), "write");
    check(MPI_File_close(&file), "close");
    snprintf(gone, sizeof gone, "%s.gone%d", path, rank);
    check(MPI_File_open(MPI_COMM_SELF, gone, MPI_MODE_CREATE | MPI_MODE_WRONLY, MPI_INFO_NULL, &file), gone);
    check(MPI_File_close(&file), "close");
    check(MPI_File_delete(gone, MPI_INFO_NULL), "delete");
}

int main(int argc, char **argv)
{
    MPI_File file;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int is_read = argc == 3;
    check(MPI_File_open(MPI_COMM_WORLD, argv[1], is_read ? MPI_MODE_RDONLY : MPI_MODE_CREATE | MPI_MODE_RDWR,
                        MPI_INFO_NULL, &file),
          argv[1]);
    if (!is_read)
        write_all(file);
    read_all(file);
    tell_way(file);
    check(MPI_File_close(&file), "close");
    if (!is_read)
        come_and_go(argv[1]);
    MPI_Finalize();
    return 0;
}
