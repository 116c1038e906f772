/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atomic.c: atomic mode. Ranks write over each other's bytes at the same time, each
 * its own mark; what is found afterwards must be what they leave when they write
 * one after the other, in some order. Who reads meanwhile never sees two marks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mpi_test.h"

enum { ranks_max = 16, chunk = 64 << 10 };

static int open_atomic(struct test *test, const char *progress, MPI_File *file)
{
    MPI_Info info;
    MPI_Info_create(&info);
    MPI_Info_set(info, "striping_unit", "65536");
    MPI_Info_set(info, "weft_progress", progress);
    int code = MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"),
                             MPI_MODE_CREATE | MPI_MODE_RDWR | MPI_MODE_DELETE_ON_CLOSE, info, file);
    MPI_Info_free(&info);
    if (code == MPI_SUCCESS)
        code = MPI_File_set_atomicity(*file, 1);
    return code;
}

/* How the ranks share a file of `bytes` bytes: rank r writes every run of `piece` bytes out of
 * `piece` + gap(r) bytes, from start(r) on. The gaps differ, so every two ranks overlap in
 * many places, some bytes have one writer, some have all of them. */
struct layout {
    int piece;
    int gap_unit;
    int pieces;
};

static MPI_Aint stride_of(const struct layout *layout, int rank)
{
    return layout->piece + (MPI_Aint)layout->gap_unit * (rank % 3);
}

static MPI_Aint start_of(const struct layout *layout, int rank)
{
    return (MPI_Aint)layout->piece / 2 * (rank / 3);
}

static MPI_Aint end_of(const struct layout *layout, int rank)
{
    return start_of(layout, rank) + stride_of(layout, rank) * layout->pieces;
}

static bool is_written_by(const struct layout *layout, int rank, MPI_Aint at)
{
    MPI_Aint inside = at - start_of(layout, rank);
    return inside >= 0 && at < end_of(layout, rank) && inside % stride_of(layout, rank) < layout->piece;
}

static int set_view(MPI_File file, const struct layout *layout, int rank)
{
    MPI_Datatype run, view;
    MPI_Type_contiguous(layout->piece, MPI_BYTE, &run);
    MPI_Type_create_resized(run, 0, stride_of(layout, rank), &view);
    MPI_Type_commit(&view);
    int code = MPI_File_set_view(file, start_of(layout, rank), MPI_BYTE, view, "native", MPI_INFO_NULL);
    MPI_Type_free(&run);
    MPI_Type_free(&view);
    return code;
}

/* True when no rank comes both before and after another, by way of any others. */
static bool is_serial(bool before[ranks_max][ranks_max], int ranks)
{
    for (int k = 0; k < ranks; k++)
        for (int i = 0; i < ranks; i++)
            for (int j = 0; j < ranks; j++)
                before[i][j] |= before[i][k] && before[k][j];
    for (int i = 0; i < ranks; i++)
        if (before[i][i])
            return false;
    return true;
}

/* Rank r's mark is r + 1. Who wrote a byte last came after all others that write it. */
static void check_serial(struct test *test, MPI_File file, const struct layout *layout)
{
    bool before[ranks_max][ranks_max] = {{false}};
    MPI_Aint end = 0;
    for (int rank = 0; rank < test->ranks; rank++)
        if (end_of(layout, rank) > end)
            end = end_of(layout, rank);
    unsigned char *bytes = test_alloc((size_t)end);
    memset(bytes, 0, (size_t)end);
    MPI(MPI_File_read_at(file, 0, bytes, (int)end, MPI_BYTE, MPI_STATUS_IGNORE));
    for (MPI_Aint at = 0; at < end; at++) {
        int last = bytes[at] - 1;
        EXPECT(last < test->ranks);
        for (int rank = 0; rank < test->ranks; rank++)
            if (rank != last && is_written_by(layout, rank, at)) {
                EXPECT(last >= 0, "byte %ld was written by nobody", (long)at);
                before[rank][last] = true;
            }
        EXPECT(last < 0 || is_written_by(layout, last, at), "byte %ld is not rank %d's", (long)at, last);
    }
    EXPECT(is_serial(before, test->ranks), "pieces of %d bytes: the marks are of no serial order",
           layout->piece);
    free(bytes);
}

static const struct layout layouts[] = {
    {.piece = 3 * chunk + 17, .gap_unit = 1, .pieces = 3}, /* few long runs, each over several servers */
    {.piece = 5000, .gap_unit = 1700, .pieces = 200},
    {.piece = 100, .gap_unit = 33, .pieces = 3000}, /* more than a lock has ranges */
};
enum { layouts_count = sizeof layouts / sizeof layouts[0] };

enum way { way_independent, way_collective, way_nonblocking, way_nonblocking_collective };

static int write_once(MPI_File file, enum way way, const void *bytes, int count)
{
    MPI_Request request;
    int code = MPI_SUCCESS;
    switch (way) {
    case way_independent:
        return MPI_File_write_at(file, 0, bytes, count, MPI_BYTE, MPI_STATUS_IGNORE);
    case way_collective:
        return MPI_File_write_at_all(file, 0, bytes, count, MPI_BYTE, MPI_STATUS_IGNORE);
    case way_nonblocking:
        code = MPI_File_iwrite_at(file, 0, bytes, count, MPI_BYTE, &request);
        break;
    case way_nonblocking_collective:
        code = MPI_File_iwrite_at_all(file, 0, bytes, count, MPI_BYTE, &request);
        break;
    }
    return code == MPI_SUCCESS ? MPI_Wait(&request, MPI_STATUS_IGNORE) : code;
}

static void writers(struct test *test, enum way way, const char *progress)
{
    MPI_File file;
    MPI(open_atomic(test, progress, &file));
    for (int round = 0; round < 4 * layouts_count; round++) {
        const struct layout *layout = &layouts[round % layouts_count];
        size_t bytes = (size_t)layout->piece * (size_t)layout->pieces;
        unsigned char *mark = test_alloc(bytes);
        memset(mark, test->rank + 1, bytes);
        MPI(MPI_File_set_size(file, 0));
        MPI(set_view(file, layout, test->rank));
        MPI_Barrier(MPI_COMM_WORLD);
        MPI(write_once(file, way, mark, (int)bytes));
        MPI(MPI_File_set_view(file, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
        if (test->rank == round % test->ranks)
            check_serial(test, file, layout);
        MPI_Barrier(MPI_COMM_WORLD);
        free(mark);
    }
    MPI(MPI_File_close(&file));
}

static void independent(struct test *test)
{
    writers(test, way_independent, "thread");
}

static void collective(struct test *test)
{
    writers(test, way_collective, "thread");
}

static void nonblocking_thread(struct test *test)
{
    writers(test, way_nonblocking, "thread");
}

static void nonblocking_calls(struct test *test)
{
    writers(test, way_nonblocking, "calls");
}

static void nonblocking_collective(struct test *test)
{
    writers(test, way_nonblocking_collective, "thread");
}

/* All marks of a buffer are the same one. */
static long long first_other(const unsigned char *bytes, size_t length)
{
    for (size_t i = 1; i < length; i++)
        if (bytes[i] != bytes[0])
            return (long long)i;
    return -1;
}

/* Odd ranks write the whole region, strided in the file in two calls' worth of pieces; even ranks
 * read it, each in its own way, while they do. */
static void readers(struct test *test)
{
    enum { length = 6 * chunk, rounds = 60 };
    unsigned char *bytes = test_alloc(2 * length);
    MPI_Datatype every_second;
    MPI_File file;
    MPI_Type_vector(length / 100, 100, 200, MPI_BYTE, &every_second);
    MPI_Type_commit(&every_second);
    MPI(open_atomic(test, "thread", &file));
    memset(bytes, 200, length);
    if (test->rank == 0)
        MPI(MPI_File_write_at(file, 0, bytes, length, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI_Barrier(MPI_COMM_WORLD);
    for (int round = 0; round < rounds; round++) {
        if (test->rank % 2 == 1) {
            memset(bytes, test->rank + 16 * (round % 8), length);
            MPI(MPI_File_write_at(file, 0, bytes, length, MPI_BYTE, MPI_STATUS_IGNORE));
        } else if (test->rank % 4 == 0) {
            MPI(MPI_File_read_at(file, 0, bytes, length, MPI_BYTE, MPI_STATUS_IGNORE));
            EXPECT_EQUAL(-1, first_other(bytes, length));
        } else {
            MPI(MPI_File_read_at(file, 0, bytes, 1, every_second, MPI_STATUS_IGNORE));
            for (int i = 0; i < length / 100; i++)
                memmove(bytes + i * 100, bytes + i * 200, 100);
            EXPECT_EQUAL(-1, first_other(bytes, length / 100 * 100));
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Type_free(&every_second);
    MPI(MPI_File_close(&file));
    free(bytes);
}

/* Nonblocking accesses of one rank that overlap each other and a blocking one: none waits for ever
 * for a lock that only the waiting rank itself could give back. */
static void own_accesses(struct test *test, const char *progress)
{
    enum { length = 3 * chunk, count = 8 };
    unsigned char *bytes = test_alloc((count + 1) * length), *read = test_alloc(length);
    MPI_Request requests[count];
    MPI_File file;
    MPI(open_atomic(test, progress, &file));
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i <= count; i++)
            memset(bytes + i * length, 1 + test->rank * (count + 1) + i, length);
        for (int i = 0; i < count; i++)
            MPI(MPI_File_iwrite_at(file, 0, bytes + i * length, length, MPI_BYTE, &requests[i]));
        MPI(MPI_File_write_at(file, 0, bytes + count * length, length, MPI_BYTE, MPI_STATUS_IGNORE));
        MPI(MPI_File_read_at(file, 0, read, length, MPI_BYTE, MPI_STATUS_IGNORE));
        EXPECT_EQUAL(-1, first_other(read, length));
        MPI(MPI_Waitall(count, requests, MPI_STATUSES_IGNORE));
    }
    MPI(MPI_File_close(&file));
    free(bytes);
    free(read);
}

static void own_accesses_thread(struct test *test)
{
    own_accesses(test, "thread");
}

static void own_accesses_calls(struct test *test)
{
    own_accesses(test, "calls");
}

static void mode(struct test *test)
{
    MPI_File file;
    MPI_Offset size;
    int flag = -1;
    MPI(MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"), MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL,
                      &file));
    MPI(MPI_File_get_atomicity(file, &flag));
    EXPECT_EQUAL(0, flag);
    MPI(MPI_File_set_atomicity(file, 7));
    MPI(MPI_File_get_atomicity(file, &flag));
    EXPECT(flag != 0);
    MPI(MPI_File_preallocate(file, 300000));
    MPI(MPI_File_get_size(file, &size));
    EXPECT_EQUAL(300000, size);
    MPI(MPI_File_set_size(file, 1000));
    MPI(MPI_File_get_size(file, &size));
    EXPECT_EQUAL(1000, size);
    if (test->is_weft && test->ranks > 1) {
        EXPECT(MPI_File_set_atomicity(file, test->rank == 0) != MPI_SUCCESS);
        MPI(MPI_File_get_atomicity(file, &flag));
        EXPECT(flag != 0, "a refused call changed the mode");
    }
    MPI(MPI_File_set_atomicity(file, 0));
    MPI(MPI_File_get_atomicity(file, &flag));
    EXPECT_EQUAL(0, flag);
    MPI(MPI_File_close(&file));
}

/* A lock must not outlive an access that fails: here all but the first byte is past the
 * end, or nothing may be written. */
static void after_errors(struct test *test)
{
    unsigned char bytes[5000] = {0};
    MPI_File file;
    MPI_Status status;
    MPI(open_atomic(test, "thread", &file));
    if (test->rank == 0)
        MPI(MPI_File_write_at(file, 0, bytes, 1, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_read_at(file, 0, bytes, sizeof bytes, MPI_BYTE, &status));
    EXPECT_EQUAL(1, test_status_bytes(&status));
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(MPI_File_write_at(file, INT64_MAX - 10, bytes, sizeof bytes, MPI_BYTE, MPI_STATUS_IGNORE) !=
           MPI_SUCCESS);
    MPI(MPI_File_write_at(file, 0, bytes, sizeof bytes, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI(MPI_File_close(&file));
}

static const struct test_case cases[] = {
    {"mode", mode},
    {"independent", independent},
    {"collective", collective},
    {"nonblocking-thread", nonblocking_thread},
    {"nonblocking-calls", nonblocking_calls},
    {"nonblocking-collective", nonblocking_collective},
    {"readers", readers},
    {"own-accesses-thread", own_accesses_thread},
    {"own-accesses-calls", own_accesses_calls},
    {"after-errors", after_errors},
};

TEST_MAIN("atomic", cases)
