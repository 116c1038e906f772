/* SPDX-License-Identifier: Apache-2.0 */
/*
 * strided.c: independent access of many blocks in one call, with default hints.
 *
 * The numbers of blocks lie on both sides of limits that others' list I/O has
 * (63, 64, 100), and go far beyond. Return values and bytes are both checked.
 */
#include <stdlib.h>
#include <string.h>

#include "mpi_test.h"

static const int block_counts[] = {4, 63, 64, 100, 16384};

/* A view of `count` blocks, one in each `stride` bytes, starting at `start`. */
static int view_blocks(MPI_File file, MPI_Offset start, int count, int block, MPI_Aint stride)
{
    MPI_Datatype view;
    MPI_Type_create_hvector(count, block, stride, MPI_BYTE, &view);
    MPI_Type_commit(&view);
    int code = MPI_File_set_view(file, start, MPI_BYTE, view, "native", MPI_INFO_NULL);
    MPI_Type_free(&view);
    return code;
}

/* Each rank writes its share of interleaved blocks, and reads the next rank's. */
static void interleave(struct test *test, int count, int block)
{
    MPI_Aint stride = (MPI_Aint)block * test->ranks;
    unsigned char *buffer = test_alloc((size_t)count * (size_t)block);
    MPI_File file;
    MPI_Status status;

    MPI(MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"), MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL,
                      &file));
    MPI(MPI_File_set_size(file, 0));
    MPI(view_blocks(file, (MPI_Offset)test->rank * block, count, block, stride));
    for (int i = 0; i < count; i++)
        test_fill(buffer + (size_t)i * (size_t)block, (size_t)block,
                  (uint64_t)(i * stride + test->rank * block), 1);
    MPI(MPI_File_write_at(file, 0, buffer, count * block, MPI_BYTE, &status));
    EXPECT_EQUAL((long long)count * block, test_status_bytes(&status));
    MPI_Barrier(MPI_COMM_WORLD);

    int owner = (test->rank + 1) % test->ranks;
    memset(buffer, 0, (size_t)count * (size_t)block);
    MPI(view_blocks(file, (MPI_Offset)owner * block, count, block, stride));
    MPI(MPI_File_read_at(file, 0, buffer, count * block, MPI_BYTE, &status));
    EXPECT_EQUAL((long long)count * block, test_status_bytes(&status));
    for (int i = 0; i < count; i++) {
        long long wrong = test_first_wrong(buffer + (size_t)i * (size_t)block, (size_t)block,
                                           (uint64_t)(i * stride + owner * block), 1);
        EXPECT(wrong < 0, "byte %lld of block %d of %d is wrong", wrong, i, count);
    }
    MPI_Offset size;
    MPI(MPI_File_get_size(file, &size));
    EXPECT_EQUAL((long long)count * stride, size);
    MPI(MPI_File_close(&file));
    if (test->rank == 0)
        MPI(MPI_File_delete(test_path(test, "file"), MPI_INFO_NULL));
    free(buffer);
}

static void blocks_1k(struct test *test)
{
    for (size_t i = 0; i < sizeof block_counts / sizeof block_counts[0]; i++)
        interleave(test, block_counts[i], 1024);
}

static void blocks_64k(struct test *test)
{
    for (size_t i = 0; i < sizeof block_counts / sizeof block_counts[0] - 1; i++)
        interleave(test, block_counts[i], 65536);
}

/* 1 GiB in one call: rank 0 writes, rank 1 reads, so that one buffer is enough. */
static void blocks_64k_16384(struct test *test)
{
    enum { count = 16384, block = 65536 };
    MPI_Aint stride = 2 * (MPI_Aint)block;
    unsigned char *buffer = NULL;
    MPI_File file;
    MPI_Status status;

    MPI(MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"), MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL,
                      &file));
    MPI(view_blocks(file, 0, count, block, stride));
    if (test->rank == 0) {
        buffer = test_alloc((size_t)count * block);
        test_fill(buffer, (size_t)count * block, 0, 2);
        MPI(MPI_File_write_at(file, 0, buffer, count * block, MPI_BYTE, &status));
        EXPECT_EQUAL((long long)count * block, test_status_bytes(&status));
        free(buffer);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (test->rank == 1 % test->ranks) {
        buffer = test_alloc((size_t)count * block);
        MPI(MPI_File_read_at(file, 0, buffer, count * block, MPI_BYTE, &status));
        EXPECT_EQUAL((long long)count * block, test_status_bytes(&status));
        long long wrong = test_first_wrong(buffer, (size_t)count * block, 0, 2);
        EXPECT(wrong < 0, "byte %lld is wrong", wrong);
        free(buffer);
    }
    MPI(MPI_File_close(&file));
    if (test->rank == 0)
        MPI(MPI_File_delete(test_path(test, "file"), MPI_INFO_NULL));
}

/* What lies between the blocks belongs to others and must stay as it is. */
static void holes_untouched(struct test *test)
{
    enum { count = 1000, block = 100, stride = 333 };
    unsigned char *whole = test_alloc(count * stride);
    unsigned char *mine = test_alloc(count * block);
    MPI_File file;
    MPI(MPI_File_open(MPI_COMM_SELF, test_path(test, test->rank == 0 ? "0" : "n"),
                      MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file));
    if (test->rank == 0) {
        test_fill(whole, count * stride, 0, 3);
        MPI(MPI_File_write_at(file, 0, whole, count * stride, MPI_BYTE, MPI_STATUS_IGNORE));
        MPI(view_blocks(file, 50, count, block, stride));
        test_fill(mine, count * block, 0, 4);
        MPI(MPI_File_write_at(file, 0, mine, count * block, MPI_BYTE, MPI_STATUS_IGNORE));
        MPI(MPI_File_set_view(file, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
        MPI(MPI_File_read_at(file, 0, whole, count * stride, MPI_BYTE, MPI_STATUS_IGNORE));
        for (int i = 0; i < count * stride; i++) {
            int in_block = (i + stride - 50) % stride;
            bool is_mine = i >= 50 && in_block < block;
            unsigned char right = is_mine ? test_byte((uint64_t)((i - 50) / stride * block + in_block), 4)
                                          : test_byte((uint64_t)i, 3);
            EXPECT(whole[i] == right, "byte %d, %s a block", i, is_mine ? "in" : "outside");
        }
    }
    MPI(MPI_File_close(&file));
    free(whole);
    free(mine);
}

/* The individual pointer moves over the view's bytes, across calls of any size. */
static void individual_pointer(struct test *test)
{
    enum { block = 10, stride = 40, total = 5000 };
    static const int steps[] = {1, 7, 10, 3, 29, 250, 11};
    unsigned char bytes[512];
    MPI_File file;
    MPI_Offset position;
    MPI_Datatype tile, view;
    MPI(MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"), MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL,
                      &file));
    MPI_Type_contiguous(block, MPI_BYTE, &tile);
    MPI_Type_create_resized(tile, 0, stride, &view);
    MPI_Type_commit(&view);
    MPI(MPI_File_set_view(file, test->rank * block, MPI_BYTE, view, "native", MPI_INFO_NULL));
    int done = 0;
    for (int i = 0; done < total; i++) {
        int step = steps[i % 7];
        test_fill(bytes, (size_t)step, (uint64_t)done, (unsigned)test->rank);
        MPI(MPI_File_write(file, bytes, step, MPI_BYTE, MPI_STATUS_IGNORE));
        done += step;
        MPI(MPI_File_get_position(file, &position));
        EXPECT_EQUAL(done, position);
    }
    MPI(MPI_File_seek(file, 0, MPI_SEEK_SET));
    for (int at = 0, i = 3; at < done; i++) {
        int step = steps[i % 7] < done - at ? steps[i % 7] : done - at;
        MPI(MPI_File_read(file, bytes, step, MPI_BYTE, MPI_STATUS_IGNORE));
        long long wrong = test_first_wrong(bytes, (size_t)step, (uint64_t)at, (unsigned)test->rank);
        EXPECT(wrong < 0, "byte %lld", at + wrong);
        at += step;
    }
    MPI_Type_free(&tile);
    MPI_Type_free(&view);
    MPI(MPI_File_close(&file));
}

/* A strided read that runs into the end of the file tells how much it got. */
static void end_of_file(struct test *test)
{
    enum { block = 100, stride = 400 };
    unsigned char bytes[1000];
    MPI_Status status;
    MPI_Offset position;
    MPI_File file;
    MPI(MPI_File_open(MPI_COMM_SELF, test_path(test, test->rank == 0 ? "0" : "n"),
                      MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file));
    if (test->rank == 0) {
        MPI(MPI_File_set_size(file, 2 * stride + 30));
        MPI(view_blocks(file, 0, 10, block, stride));
        MPI(MPI_File_read(file, bytes, sizeof bytes, MPI_BYTE, &status));
        EXPECT_EQUAL(2 * block + 30, test_status_bytes(&status));
        MPI(MPI_File_get_position(file, &position));
        if (test->is_weft)
            EXPECT_EQUAL(2 * block + 30, position);
    }
    MPI(MPI_File_close(&file));
}

static const struct test_case cases[] = {
    {"blocks-1k", blocks_1k},
    {"blocks-64k", blocks_64k},
    {"blocks-64k-16384", blocks_64k_16384},
    {"holes-untouched", holes_untouched},
    {"individual-pointer", individual_pointer},
    {"end-of-file", end_of_file},
};

TEST_MAIN("strided", cases)
