/* SPDX-License-Identifier: Apache-2.0 */
/*
 * finalize.c: files that are used and closed inside MPI_Finalize, by an attribute of
 * MPI_COMM_SELF, as HDF5 does it for files that a program has left open.
 *
 * MPI takes off last what was set first: this attribute is set before the first file is
 * opened, so the driver's own one goes before it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mpi_test.h"

#define BYTES 10000

static MPI_File left_open;
static char path[1024];

/* The test's cases are over: what fails here ends the process with an error. */
static void need(bool holds, const char *what)
{
    if (holds)
        return;
    printf("# in MPI_Finalize: %s\n", what);
    fflush(stdout);
    _exit(1);
}

static bool holds_bytes(MPI_File file, MPI_Offset offset, unsigned salt)
{
    unsigned char bytes[BYTES];
    memset(bytes, 0, sizeof bytes);
    return MPI_File_read_at_all(file, offset, bytes, BYTES, MPI_BYTE, MPI_STATUS_IGNORE) == MPI_SUCCESS &&
           test_first_wrong(bytes, BYTES, (uint64_t)offset, salt) < 0;
}

static int use_and_close(MPI_Comm comm, int keyval, void *value, void *extra)
{
    unsigned char bytes[BYTES];
    MPI_File file;
    MPI_Request request;
    int rank, ranks;
    (void)comm;
    (void)value;
    (void)extra;
    (void)keyval;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Offset first = (MPI_Offset)rank * BYTES, second = first + (MPI_Offset)ranks * BYTES;

    need(holds_bytes(left_open, first, 1), "what was written before is there");
    test_fill(bytes, BYTES, (uint64_t)second, 2);
    need(MPI_File_iwrite_at(left_open, second, bytes, BYTES, MPI_BYTE, &request) == MPI_SUCCESS, "iwrite");
    need(MPI_Wait(&request, MPI_STATUS_IGNORE) == MPI_SUCCESS, "wait");
    need(MPI_File_close(&left_open) == MPI_SUCCESS, "close");

    need(MPI_File_open(MPI_COMM_WORLD, path, MPI_MODE_RDONLY, MPI_INFO_NULL, &file) == MPI_SUCCESS, "open");
    need(holds_bytes(file, first, 1) && holds_bytes(file, second, 2), "all that was written is there");
    need(MPI_File_close(&file) == MPI_SUCCESS, "close again");
    if (rank == 0)
        need(MPI_File_delete(path, MPI_INFO_NULL) == MPI_SUCCESS, "delete");
    return MPI_SUCCESS;
}

static void leave_open(struct test *test)
{
    unsigned char bytes[BYTES];
    int keyval;
    MPI_Offset first = (MPI_Offset)test->rank * BYTES;
    MPI(MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, use_and_close, &keyval, NULL));
    MPI(MPI_Comm_set_attr(MPI_COMM_SELF, keyval, NULL));
    snprintf(path, sizeof path, "%s", test_path(test, "file"));
    MPI(MPI_File_open(MPI_COMM_WORLD, path, MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &left_open));
    test_fill(bytes, BYTES, (uint64_t)first, 1);
    MPI(MPI_File_write_at_all(left_open, first, bytes, BYTES, MPI_BYTE, MPI_STATUS_IGNORE));
}

static const struct test_case cases[] = {
    {"leave-open", leave_open},
};

TEST_MAIN("finalize", cases)
