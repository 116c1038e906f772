/* SPDX-License-Identifier: Apache-2.0 */
/*
 * large.c: more than 2 GiB in one call, and offsets far beyond 4 GiB.
 *
 * MPI's counts are ints, so the size comes from large datatypes. One rank at a
 * time has a large buffer.
 */
#include <stdlib.h>
#include <string.h>

#include "mpi_test.h"

#define MIB (1L << 20)

enum { mebibytes = 2200 };

static MPI_Datatype mebibyte(void)
{
    MPI_Datatype type;
    MPI_Type_contiguous(MIB, MPI_BYTE, &type);
    MPI_Type_commit(&type);
    return type;
}

/* Rank 0 writes all, rank 1 reads it in one call as well. */
static void write_then_read(struct test *test, MPI_File file, MPI_Datatype type, unsigned salt)
{
    MPI_Status status;
    if (test->rank == 0) {
        unsigned char *buffer = test_alloc(mebibytes * MIB);
        test_fill(buffer, mebibytes * MIB, 0, salt);
        MPI(MPI_File_write_at(file, 0, buffer, mebibytes, type, &status));
        EXPECT_EQUAL(mebibytes * MIB, test_status_bytes(&status));
        free(buffer);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (test->rank == 1 % test->ranks) {
        unsigned char *buffer = test_alloc(mebibytes * MIB);
        memset(buffer, 0, mebibytes * MIB);
        MPI(MPI_File_read_at(file, 0, buffer, mebibytes, type, &status));
        EXPECT_EQUAL(mebibytes * MIB, test_status_bytes(&status));
        long long wrong = test_first_wrong(buffer, mebibytes * MIB, 0, salt);
        EXPECT(wrong < 0, "byte %lld", wrong);
        free(buffer);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void open_file(struct test *test, MPI_File *file)
{
    MPI(MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"),
                      MPI_MODE_CREATE | MPI_MODE_RDWR | MPI_MODE_DELETE_ON_CLOSE, MPI_INFO_NULL, file));
}

static void contiguous(struct test *test)
{
    MPI_File file;
    MPI_Offset size;
    MPI_Datatype type = mebibyte();
    open_file(test, &file);
    if (test->failures > 0)
        return;
    write_then_read(test, file, type, 6);
    MPI(MPI_File_get_size(file, &size));
    EXPECT_EQUAL(mebibytes * MIB, size);
    MPI(MPI_File_close(&file));
    MPI_Type_free(&type);
}

/* A view of 3 MiB in each 4. */
static void strided(struct test *test)
{
    MPI_File file;
    MPI_Datatype type = mebibyte(), three, view;
    MPI_Type_contiguous(3, type, &three);
    MPI_Type_create_resized(three, 0, 4 * MIB, &view);
    MPI_Type_commit(&view);
    open_file(test, &file);
    if (test->failures > 0)
        return;
    MPI(MPI_File_set_view(file, 0, type, view, "native", MPI_INFO_NULL));
    write_then_read(test, file, type, 7);
    MPI(MPI_File_close(&file));
    MPI_Type_free(&three);
    MPI_Type_free(&view);
    MPI_Type_free(&type);
}

/* Interleaved, so that two-phase I/O would like it; rank 0 has 2200 MiB of it. */
static void collective(struct test *test)
{
    if (!test->is_weft)
        SKIP("Open MPI's own ROMIO counts in ints here");
    MPI_File file;
    MPI_Status status;
    MPI_Datatype type = mebibyte(), view;
    int count = test->rank == 0 ? mebibytes : 1;
    unsigned char *buffer = test_alloc((size_t)count * MIB);
    MPI_Type_create_resized(type, 0, test->ranks * MIB, &view);
    MPI_Type_commit(&view);
    open_file(test, &file);
    if (test->failures > 0)
        return;
    MPI(MPI_File_set_view(file, test->rank * MIB, type, view, "native", MPI_INFO_NULL));
    test_fill(buffer, (size_t)count * MIB, 0, 8 + (unsigned)test->rank);
    MPI(MPI_File_write_at_all(file, 0, buffer, count, type, &status));
    EXPECT_EQUAL(count * MIB, test_status_bytes(&status));
    memset(buffer, 0, (size_t)count * MIB);
    MPI(MPI_File_read_at_all(file, 0, buffer, count, type, &status));
    EXPECT_EQUAL(count * MIB, test_status_bytes(&status));
    long long wrong = test_first_wrong(buffer, (size_t)count * MIB, 0, 8 + (unsigned)test->rank);
    EXPECT(wrong < 0, "byte %lld", wrong);
    MPI(MPI_File_close(&file));
    MPI_Type_free(&type);
    MPI_Type_free(&view);
    free(buffer);
}

static void nonblocking(struct test *test)
{
    if (!test->is_weft)
        SKIP("Open MPI's own ROMIO counts in ints here");
    MPI_File file;
    MPI_Status status;
    MPI_Request request;
    MPI_Datatype type = mebibyte();
    open_file(test, &file);
    if (test->failures > 0)
        return;
    if (test->rank == 0) {
        unsigned char *buffer = test_alloc(mebibytes * MIB);
        test_fill(buffer, mebibytes * MIB, 0, 9);
        MPI(MPI_File_iwrite_at(file, 0, buffer, mebibytes, type, &request));
        MPI(MPI_Wait(&request, &status));
        EXPECT_EQUAL(mebibytes * MIB, test_status_bytes(&status));
        memset(buffer, 0, mebibytes * MIB);
        MPI(MPI_File_iread_at(file, 0, buffer, mebibytes, type, &request));
        MPI(MPI_Wait(&request, &status));
        EXPECT_EQUAL(mebibytes * MIB, test_status_bytes(&status));
        long long wrong = test_first_wrong(buffer, mebibytes * MIB, 0, 9);
        EXPECT(wrong < 0, "byte %lld", wrong);
        free(buffer);
    }
    MPI(MPI_File_close(&file));
    MPI_Type_free(&type);
}

static void far_offsets(struct test *test)
{
    static const MPI_Offset offsets[] = {(1LL << 31) - 5, (1LL << 32) - 5, 5LL << 32, (1LL << 40) + 3};
    unsigned char bytes[100];
    MPI_File file;
    open_file(test, &file);
    if (test->failures > 0)
        return;
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        MPI_Offset offset = offsets[i] + test->rank * (MPI_Offset)sizeof bytes;
        MPI_Offset size;
        test_fill(bytes, sizeof bytes, (uint64_t)offset, 10);
        MPI(MPI_File_write_at_all(file, offset, bytes, sizeof bytes, MPI_BYTE, MPI_STATUS_IGNORE));
        MPI_Barrier(MPI_COMM_WORLD);
        MPI(MPI_File_get_size(file, &size));
        EXPECT_EQUAL(offsets[i] + test->ranks * (long long)sizeof bytes, size);
        memset(bytes, 0, sizeof bytes);
        MPI(MPI_File_read_at_all(file, offset, bytes, sizeof bytes, MPI_BYTE, MPI_STATUS_IGNORE));
        EXPECT_EQUAL(-1, test_first_wrong(bytes, sizeof bytes, (uint64_t)offset, 10));
        MPI_Barrier(MPI_COMM_WORLD);
    }
    MPI(MPI_File_close(&file));
}

static const struct test_case cases[] = {
    {"contiguous", contiguous},   {"strided", strided},         {"collective", collective},
    {"nonblocking", nonblocking}, {"far-offsets", far_offsets},
};

TEST_MAIN("large", cases)
