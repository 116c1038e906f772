/* SPDX-License-Identifier: Apache-2.0 */
/*
 * size.c: the size of a file, cutting and growing it, and its end.
 */
#include <stdlib.h>

#include "mpi_test.h"

static int open_world(struct test *test, int amode, MPI_File *file)
{
    return MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"), amode, MPI_INFO_NULL, file);
}

#define EXPECT_SIZE(expected)                 \
    do {                                      \
        MPI_Offset size_;                     \
        MPI(MPI_File_get_size(file, &size_)); \
        EXPECT_EQUAL(expected, size_);        \
        MPI_Barrier(MPI_COMM_WORLD);          \
    } while (0)

/* A write that returned is in the size that any rank sees then. */
static void exact(struct test *test)
{
    unsigned char bytes[300];
    MPI_File file;
    MPI(open_world(test, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    MPI(MPI_File_set_size(file, 0));
    EXPECT_SIZE(0);
    for (int i = 0; i < 50; i++) {
        int writer = i % test->ranks;
        long long end = 70001LL * (i + 1);
        if (test->rank == writer)
            MPI(MPI_File_write_at(file, end - (long long)sizeof bytes, bytes, sizeof bytes, MPI_BYTE,
                                  MPI_STATUS_IGNORE));
        MPI_Barrier(MPI_COMM_WORLD);
        EXPECT_SIZE(end);
    }
    MPI(MPI_File_close(&file));
}

static void cut_and_grow(struct test *test)
{
    enum { length = 3000000 };
    unsigned char *bytes = test_alloc(length);
    MPI_Status status;
    MPI_File file;
    MPI(open_world(test, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    test_fill(bytes, length, 0, 20);
    if (test->rank == 0)
        MPI(MPI_File_write_at(file, 0, bytes, length, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI(MPI_File_set_size(file, 1234567));
    EXPECT_SIZE(1234567);
    MPI(MPI_File_read_at(file, 0, bytes, length, MPI_BYTE, &status));
    EXPECT_EQUAL(1234567, test_status_bytes(&status));
    EXPECT_EQUAL(-1, test_first_wrong(bytes, 1234567, 0, 20));
    MPI_Barrier(MPI_COMM_WORLD);
    /* What was cut off comes back as zeros. */
    MPI(MPI_File_set_size(file, 2000000));
    EXPECT_SIZE(2000000);
    MPI(MPI_File_read_at(file, 0, bytes, length, MPI_BYTE, &status));
    EXPECT_EQUAL(2000000, test_status_bytes(&status));
    EXPECT_EQUAL(-1, test_first_wrong(bytes, 1234567, 0, 20));
    for (int i = 1234567; i < 2000000; i++)
        EXPECT(bytes[i] == 0, "byte %d", i);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_set_size(file, 0));
    EXPECT_SIZE(0);
    MPI(MPI_File_close(&file));
    free(bytes);
}

static void preallocate(struct test *test)
{
    unsigned char byte = 7;
    MPI_File file;
    MPI(open_world(test, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    if (test->rank == 0)
        MPI(MPI_File_write_at(file, 10, &byte, 1, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI(MPI_File_preallocate(file, 5000000));
    EXPECT_SIZE(5000000);
    MPI(MPI_File_preallocate(file, 1000)); /* never makes a file shorter */
    EXPECT_SIZE(5000000);
    byte = 0;
    MPI(MPI_File_read_at(file, 10, &byte, 1, MPI_BYTE, MPI_STATUS_IGNORE));
    EXPECT_EQUAL(7, byte);
    MPI(MPI_File_close(&file));
}

static void append(struct test *test)
{
    MPI_Offset position;
    MPI_File file;
    MPI(open_world(test, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    MPI(MPI_File_set_size(file, 4321));
    MPI(MPI_File_close(&file));
    MPI(open_world(test, MPI_MODE_RDWR | MPI_MODE_APPEND, &file));
    MPI(MPI_File_get_position(file, &position));
    EXPECT_EQUAL(4321, position);
    MPI(MPI_File_seek(file, -21, MPI_SEEK_END));
    MPI(MPI_File_get_position(file, &position));
    EXPECT_EQUAL(4300, position);
    MPI(MPI_File_close(&file));
}

static void sync_all(struct test *test)
{
    int value = test->rank + 1, read = 0, next = (test->rank + 1) % test->ranks;
    MPI_File file;
    MPI(open_world(test, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    MPI(MPI_File_write_at(file, test->rank * 4, &value, 1, MPI_INT, MPI_STATUS_IGNORE));
    MPI(MPI_File_sync(file));
    MPI(MPI_File_read_at(file, next * 4, &read, 1, MPI_INT, MPI_STATUS_IGNORE));
    EXPECT_EQUAL(next + 1, read);
    MPI(MPI_File_close(&file));
}

static bool exists(struct test *test)
{
    MPI_File file;
    int code = MPI_File_open(MPI_COMM_SELF, test_path(test, "file"), MPI_MODE_RDONLY, MPI_INFO_NULL, &file);
    if (code == MPI_SUCCESS)
        MPI_File_close(&file);
    return code == MPI_SUCCESS;
}

static void delete (struct test *test)
{
    MPI_File file;
    MPI(open_world(test, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    MPI(MPI_File_close(&file));
    EXPECT(exists(test));
    MPI_Barrier(MPI_COMM_WORLD);
    if (test->rank == test->ranks - 1)
        MPI(MPI_File_delete(test_path(test, "file"), MPI_INFO_NULL));
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(!exists(test));
}

static void delete_on_close(struct test *test)
{
    MPI_File file;
    MPI(open_world(test, MPI_MODE_CREATE | MPI_MODE_RDWR | MPI_MODE_DELETE_ON_CLOSE, &file));
    EXPECT(exists(test));
    MPI(MPI_File_close(&file));
    MPI_Barrier(MPI_COMM_WORLD);
    EXPECT(!exists(test));
}

/* Many files open at once, and closed in another order. */
static void many_open(struct test *test)
{
    enum { count = 40 };
    MPI_File files[count];
    for (int i = 0; i < count; i++) {
        char name[16] = "file-a0";
        name[5] = (char)('a' + i / 10);
        name[6] = (char)('0' + i % 10);
        MPI(MPI_File_open(MPI_COMM_WORLD, test_path(test, name), MPI_MODE_CREATE | MPI_MODE_RDWR,
                          MPI_INFO_NULL, &files[i]));
        MPI(MPI_File_write_at_all(files[i], test->rank * 4, &i, 1, MPI_INT, MPI_STATUS_IGNORE));
    }
    for (int i = 0; i < count; i++) {
        int at = i * 7 % count, value = -1;
        MPI(MPI_File_read_at_all(files[at], test->rank * 4, &value, 1, MPI_INT, MPI_STATUS_IGNORE));
        EXPECT_EQUAL(at, value);
        MPI(MPI_File_close(&files[at]));
    }
}

static const struct test_case cases[] = {
    {"exact", exact},
    {"cut-and-grow", cut_and_grow},
    {"preallocate", preallocate},
    {"append", append},
    {"sync", sync_all},
    {"delete", delete},
    {"delete-on-close", delete_on_close},
    {"many-open", many_open},
};

TEST_MAIN("size", cases)
