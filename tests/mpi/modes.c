/* SPDX-License-Identifier: Apache-2.0 */
/*
 * modes.c: what the modes of MPI_File_open promise, and how a file is closed.
 */
#include <stdlib.h>
#include <string.h>

#include "mpi_test.h"

static int open_file(struct test *test, int mode, MPI_File *file)
{
    return MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"), mode, MPI_INFO_NULL, file);
}

static void delete_on_close(struct test *test)
{
    MPI_File file;
    char byte = 1;
    MPI(open_file(test, MPI_MODE_CREATE | MPI_MODE_RDWR | MPI_MODE_DELETE_ON_CLOSE, &file));
    MPI(MPI_File_write_at(file, test->rank, &byte, 1, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI(MPI_File_close(&file));
    int code = open_file(test, MPI_MODE_RDONLY, &file);
    EXPECT_EQUAL(MPI_ERR_NO_SUCH_FILE, test_error_class(code));
}

static void exclusive(struct test *test)
{
    MPI_File file;
    MPI(open_file(test, MPI_MODE_CREATE | MPI_MODE_EXCL | MPI_MODE_WRONLY, &file));
    MPI(MPI_File_close(&file));
    int code = open_file(test, MPI_MODE_CREATE | MPI_MODE_EXCL | MPI_MODE_WRONLY, &file);
    EXPECT_EQUAL(MPI_ERR_FILE_EXISTS, test_error_class(code));
    MPI(open_file(test, MPI_MODE_CREATE | MPI_MODE_WRONLY, &file));
    MPI(MPI_File_close(&file));
}

/* Every rank's own pointer begins at the end; an explicit offset still means what it says. */
static void append(struct test *test)
{
    char bytes[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    MPI_Offset position, size;
    MPI_File file;
    MPI(open_file(test, MPI_MODE_CREATE | MPI_MODE_WRONLY, &file));
    MPI(MPI_File_set_size(file, 5000));
    MPI(MPI_File_close(&file));
    MPI(open_file(test, MPI_MODE_WRONLY | MPI_MODE_APPEND, &file));
    MPI(MPI_File_get_position(file, &position));
    EXPECT_EQUAL(5000, position);
    MPI_Barrier(MPI_COMM_WORLD);
    if (test->rank == 0)
        MPI(MPI_File_write(file, bytes, sizeof bytes, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI(MPI_File_write_at(file, 10 * test->rank, bytes, sizeof bytes, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_get_size(file, &size));
    EXPECT_EQUAL(5010, size);
    MPI(MPI_File_close(&file));
}

/* A preallocation never makes a file shorter. */
static void preallocate(struct test *test)
{
    MPI_Offset size;
    MPI_File file;
    MPI(open_file(test, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    MPI(MPI_File_preallocate(file, 70000));
    MPI(MPI_File_get_size(file, &size));
    EXPECT_EQUAL(70000, size);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_preallocate(file, 10));
    MPI(MPI_File_get_size(file, &size));
    EXPECT_EQUAL(70000, size);
    MPI(MPI_File_close(&file));
}

/* A request that was freed is carried out before its file is closed. */
static void close_with_requests(struct test *test)
{
    enum { length = 300000, count = 20 };
    unsigned char *bytes = test_alloc(length);
    MPI_Offset base = (MPI_Offset)test->rank * length * count;
    MPI_Request request;
    MPI_File file;
    if (!test->is_weft)
        SKIP("MPI leaves it open what happens");
    MPI(open_file(test, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    test_fill(bytes, length, 0, (unsigned)test->rank);
    for (int i = 0; i < count; i++) {
        MPI(MPI_File_iwrite_at(file, base + i * length, bytes, length, MPI_BYTE, &request));
        MPI(MPI_Request_free(&request));
    }
    MPI(MPI_File_close(&file));
    MPI(open_file(test, MPI_MODE_RDONLY, &file));
    for (int i = 0; i < count; i++) {
        memset(bytes, 0, length);
        MPI(MPI_File_read_at(file, base + i * length, bytes, length, MPI_BYTE, MPI_STATUS_IGNORE));
        EXPECT_EQUAL(-1, test_first_wrong(bytes, length, 0, (unsigned)test->rank));
    }
    MPI(MPI_File_close(&file));
    free(bytes);
}

/* Also one that is still to be waited for. */
static void wait_after_close(struct test *test)
{
    enum { length = 300000 };
    unsigned char *bytes = test_alloc(length);
    MPI_Request requests[2];
    MPI_Status statuses[2];
    MPI_File file;
    if (!test->is_weft)
        SKIP("MPI leaves it open what happens");
    test_fill(bytes, length, 0, 1);
    MPI(open_file(test, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    for (int i = 0; i < 2; i++)
        MPI(MPI_File_iwrite_at(file, (2 * test->rank + i) * length, bytes, length, MPI_BYTE, &requests[i]));
    MPI(MPI_File_close(&file));
    MPI(MPI_Waitall(2, requests, statuses));
    EXPECT_EQUAL(length, test_status_bytes(&statuses[0]));
    EXPECT_EQUAL(length, test_status_bytes(&statuses[1]));
    free(bytes);
}

static const struct test_case cases[] = {
    {"delete-on-close", delete_on_close},
    {"exclusive", exclusive},
    {"append", append},
    {"preallocate", preallocate},
    {"close-with-requests", close_with_requests},
    {"wait-after-close", wait_after_close},
};

TEST_MAIN("modes", cases)
