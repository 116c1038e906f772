/* SPDX-License-Identifier: Apache-2.0 */
/*
 * overlap.c: nonblocking I/O that comes to its end while its rank calls nothing of MPI.
 *
 * Rank 0 begins a write that has to be continued many times, and then only looks at
 * a number in shared memory. Rank 1 reads the file until all is there, and only then
 * changes the number. benchmarks/overlap.c says how much it gains.
 */
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "mpi_test.h"

enum { pieces = 200000, piece = 8 }; /* of several batches */

struct shared {
    atomic_int seen;
};

static struct shared *share(struct test *test, MPI_Win *window)
{
    struct shared *shared;
    MPI_Aint size = test->rank == 0 ? (MPI_Aint)sizeof *shared : 0;
    int unit;
    MPI_Win_allocate_shared(size, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &shared, window);
    MPI_Win_shared_query(*window, 0, &size, &unit, &shared);
    return shared;
}

/* Rank 1's part: true when the last piece is in the file within the time. */
static bool comes(MPI_File file, double seconds)
{
    unsigned char last[piece];
    double end = MPI_Wtime() + seconds;
    do {
        MPI_Status status;
        MPI_File_read_at(file, (MPI_Offset)2 * piece * (pieces - 1), last, piece, MPI_BYTE, &status);
        if (test_status_bytes(&status) == piece && last[0] == 0x5a)
            return true;
        sched_yield();
    } while (MPI_Wtime() < end);
    return false;
}

/* Rank 0's part. */
static void begin(struct test *test, MPI_File file, const atomic_int *seen)
{
    unsigned char *bytes = test_alloc(pieces * piece);
    MPI_Datatype run, every_second;
    MPI_Request request;
    MPI_Type_contiguous(piece, MPI_BYTE, &run);
    MPI_Type_create_resized(run, 0, 2 * piece, &every_second);
    MPI_Type_commit(&every_second);
    memset(bytes, 0x5a, pieces * piece);
    MPI(MPI_File_set_view(file, 0, MPI_BYTE, every_second, "native", MPI_INFO_NULL));
    MPI(MPI_File_iwrite_at(file, 0, bytes, pieces * piece, MPI_BYTE, &request));
    for (double end = MPI_Wtime() + 60; atomic_load(seen) == 0 && MPI_Wtime() < end;)
        sched_yield();
    EXPECT_EQUAL(1, atomic_load(seen));
    MPI(MPI_Wait(&request, MPI_STATUS_IGNORE));
    MPI_Type_free(&run);
    MPI_Type_free(&every_second);
    free(bytes);
}

static void begin_and_look(struct test *test, bool is_atomic)
{
    MPI_Info info;
    MPI_File file;
    MPI_Win window;
    if (test->ranks < 2 || !test->is_weft)
        SKIP("needs 2 ranks and Weft's own hint");
    struct shared *shared = share(test, &window);
    if (test->rank == 0)
        atomic_store(&shared->seen, 0);
    MPI_Info_create(&info);
    MPI_Info_set(info, "weft_progress", "thread");
    /* Each rank opens it for itself, so that it sets its view alone. */
    MPI(MPI_File_open(MPI_COMM_SELF, test_path(test, "file"), MPI_MODE_CREATE | MPI_MODE_RDWR, info, &file));
    MPI_Info_free(&info);
    MPI(MPI_File_set_atomicity(file, is_atomic));
    MPI_Barrier(MPI_COMM_WORLD);
    if (test->rank == 0) {
        begin(test, file, &shared->seen);
    } else if (test->rank == 1) {
        bool is_there = comes(file, 55);
        atomic_store(&shared->seen, is_there ? 1 : 2);
        EXPECT(is_there);
    }
    MPI(MPI_File_close(&file));
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_free(&window);
}

static void many_batches(struct test *test)
{
    begin_and_look(test, false);
}

/* The lock is taken and given back without a call of MPI, too. */
static void atomic_mode(struct test *test)
{
    begin_and_look(test, true);
}

static const struct test_case cases[] = {
    {"many-batches", many_batches},
    {"atomic-mode", atomic_mode},
};

TEST_MAIN("overlap", cases)
