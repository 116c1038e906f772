/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared.c: shared file pointers: each record once, whoever writes or reads it; the
 * ordered calls in the order of the ranks.
 */
#include <stdlib.h>
#include <string.h>

#include "mpi_test.h"
#include "weft/weft.h"

enum { record = 1000, records = 50 };

static int open_file(struct test *test, int mode, MPI_File *file)
{
    return MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"),
                         mode | (mode & MPI_MODE_RDONLY ? 0 : MPI_MODE_CREATE), MPI_INFO_NULL, file);
}

/* A record says whose it is, which of his, and the rest follows from that. */
static void make_record(unsigned char *bytes, int rank, int number)
{
    test_fill(bytes, record, 0, (unsigned)(rank * records + number));
    bytes[0] = (unsigned char)rank;
    bytes[1] = (unsigned char)number;
}

static bool is_record(const unsigned char *bytes, int *rank, int *number)
{
    unsigned char right[record];
    *rank = bytes[0];
    *number = bytes[1];
    make_record(right, *rank, *number);
    return memcmp(bytes, right, record) == 0;
}

/* Every record of every rank is in the file once, and each rank's are in its order. */
static void check_each_once(struct test *test, MPI_File file)
{
    size_t length = (size_t)test->ranks * records * record;
    unsigned char *bytes = test_alloc(length);
    int *next = calloc((size_t)test->ranks, sizeof *next);
    MPI_Offset size;
    MPI(MPI_File_get_size(file, &size));
    EXPECT_EQUAL((long long)length, size);
    MPI(MPI_File_read_at(file, 0, bytes, (int)length, MPI_BYTE, MPI_STATUS_IGNORE));
    for (int i = 0; i < test->ranks * records; i++) {
        int rank, number;
        EXPECT(is_record(bytes + (size_t)i * record, &rank, &number), "record %d", i);
        EXPECT(rank < test->ranks);
        EXPECT_EQUAL(next[rank], number);
        next[rank]++;
    }
    free(next);
    free(bytes);
}

static void write_each_once(struct test *test)
{
    unsigned char bytes[record];
    MPI_Offset position;
    MPI_File file;
    MPI(open_file(test, MPI_MODE_RDWR, &file));
    for (int i = 0; i < records; i++) {
        make_record(bytes, test->rank, i);
        MPI(MPI_File_write_shared(file, bytes, record, MPI_BYTE, MPI_STATUS_IGNORE));
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_get_position_shared(file, &position));
    EXPECT_EQUAL((long long)test->ranks * records * record, position);
    if (test->rank == 0)
        check_each_once(test, file);
    MPI(MPI_File_close(&file));
}

static void nonblocking(struct test *test)
{
    unsigned char *bytes = test_alloc(records * record);
    int *counts = calloc((size_t)test->ranks * records, sizeof *counts);
    MPI_Request requests[records];
    MPI_File file;
    MPI(open_file(test, MPI_MODE_RDWR, &file));
    for (int i = 0; i < records; i++) {
        make_record(bytes + i * record, test->rank, i);
        MPI(MPI_File_iwrite_shared(file, bytes + i * record, record, MPI_BYTE, &requests[i]));
    }
    MPI(MPI_Waitall(records, requests, MPI_STATUSES_IGNORE));
    MPI_Barrier(MPI_COMM_WORLD);
    if (test->rank == 0)
        check_each_once(test, file);
    MPI(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));

    memset(bytes, 0, records * record);
    for (int i = 0; i < records; i++)
        MPI(MPI_File_iread_shared(file, bytes + i * record, record, MPI_BYTE, &requests[i]));
    MPI(MPI_Waitall(records, requests, MPI_STATUSES_IGNORE));
    for (int i = 0; i < records; i++) {
        int rank, number;
        EXPECT(is_record(bytes + i * record, &rank, &number));
        counts[rank * records + number]++;
    }
    MPI_Allreduce(MPI_IN_PLACE, counts, test->ranks * records, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    for (int i = 0; i < test->ranks * records; i++)
        EXPECT_EQUAL(1, counts[i]);
    MPI(MPI_File_close(&file));
    free(bytes);
    free(counts);
}

/* All ranks read until the end: together they have each record once. */
static void read_each_once(struct test *test)
{
    unsigned char bytes[record];
    int count = 0, total;
    MPI_Status status;
    MPI_File file;
    MPI(open_file(test, MPI_MODE_RDWR, &file));
    if (test->rank == 0)
        for (int i = 0; i < 200; i++) {
            make_record(bytes, i / records, i % records);
            MPI(MPI_File_write_at(file, (MPI_Offset)i * record, bytes, record, MPI_BYTE, MPI_STATUS_IGNORE));
        }
    MPI_Barrier(MPI_COMM_WORLD);
    for (;;) {
        int rank, number;
        MPI(MPI_File_read_shared(file, bytes, record, MPI_BYTE, &status));
        if (test_status_bytes(&status) == 0)
            break;
        EXPECT(is_record(bytes, &rank, &number));
        count++;
    }
    MPI_Allreduce(&count, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    EXPECT_EQUAL(200, total);
    MPI(MPI_File_close(&file));
}

/* Rank r writes r + 1 records, or none in every third round, in a view with holes whose
 * etype is an int; then they read by the other calls what the others wrote. */
static void ordered(struct test *test, bool is_split)
{
    enum { rounds = 9, unit = 40 };
    int values[16 * unit];
    MPI_Datatype run, view;
    MPI_Offset position, at = 0;
    MPI_Status status;
    MPI_File file;
    if (test->ranks > 15)
        SKIP("for up to 15 ranks");
    MPI(open_file(test, MPI_MODE_RDWR, &file));
    MPI_Type_contiguous(3, MPI_INT, &run);
    MPI_Type_create_resized(run, 0, 5 * sizeof(int), &view);
    MPI_Type_commit(&view);
    MPI(MPI_File_set_view(file, 12, MPI_INT, view, "native", MPI_INFO_NULL));
    for (int round = 0; round < rounds; round++) {
        int count = round % 3 == test->rank % 3 ? 0 : (test->rank + 1) * unit;
        for (int i = 0; i < count; i++)
            values[i] = round * 100000 + test->rank * 1000 + i;
        if (is_split) {
            MPI(MPI_File_write_ordered_begin(file, values, count, MPI_INT));
            MPI(MPI_File_write_ordered_end(file, values, &status));
        } else {
            MPI(MPI_File_write_ordered(file, values, count, MPI_INT, &status));
        }
        EXPECT_EQUAL(count * (long long)sizeof(int), test_status_bytes(&status));
    }
    /* One rank reads all: the rounds in their order, in each the ranks in theirs. */
    MPI_Barrier(MPI_COMM_WORLD);
    for (int round = 0; round < rounds; round++)
        for (int rank = 0; rank < test->ranks; rank++) {
            int count = round % 3 == rank % 3 ? 0 : (rank + 1) * unit;
            if (test->rank == 0) {
                MPI(MPI_File_read_at(file, at, values, count, MPI_INT, MPI_STATUS_IGNORE));
                for (int i = 0; i < count; i++)
                    EXPECT_EQUAL(round * 100000 + rank * 1000 + i, values[i]);
            }
            at += count;
        }
    MPI(MPI_File_get_position_shared(file, &position));
    EXPECT_EQUAL(at, position);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));
    for (int round = 0; round < rounds; round++) {
        int count = round % 3 == test->rank % 3 ? 0 : (test->rank + 1) * unit;
        memset(values, 0, sizeof values);
        if (is_split) {
            MPI(MPI_File_read_ordered_begin(file, values, count, MPI_INT));
            MPI(MPI_File_read_ordered_end(file, values, &status));
        } else {
            MPI(MPI_File_read_ordered(file, values, count, MPI_INT, &status));
        }
        for (int i = 0; i < count; i++)
            EXPECT_EQUAL(round * 100000 + test->rank * 1000 + i, values[i]);
    }
    MPI_Type_free(&run);
    MPI_Type_free(&view);
    MPI(MPI_File_close(&file));
}

static void ordered_blocking(struct test *test)
{
    ordered(test, false);
}

static void ordered_split(struct test *test)
{
    ordered(test, true);
}

/* A rank that may not take part ends the call for all, and the pointer stays. */
static void ordered_refused(struct test *test)
{
    int values[4] = {0};
    MPI_Offset position;
    MPI_File file;
    if (!test->is_weft)
        SKIP("the other ranks would wait for ever");
    MPI(open_file(test, MPI_MODE_RDWR, &file));
    MPI(MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "native", MPI_INFO_NULL));
    int count = test->rank == 0 ? 3 : 4; /* bytes: not a whole int */
    EXPECT(MPI_File_write_ordered(file, values, count, MPI_BYTE, MPI_STATUS_IGNORE) != MPI_SUCCESS);
    MPI(MPI_File_get_position_shared(file, &position));
    EXPECT_EQUAL(0, position);
    MPI(MPI_File_write_ordered(file, values, 4, MPI_INT, MPI_STATUS_IGNORE));
    MPI(MPI_File_close(&file));
}

static void seek(struct test *test)
{
    MPI_Offset position;
    MPI_File file;
    char bytes[100] = "";
    MPI(open_file(test, MPI_MODE_RDWR, &file));
    MPI(MPI_File_get_position_shared(file, &position));
    EXPECT_EQUAL(0, position);
    MPI(MPI_File_set_size(file, 1000));
    MPI(MPI_File_seek_shared(file, 300, MPI_SEEK_SET));
    MPI(MPI_File_get_position_shared(file, &position));
    EXPECT_EQUAL(300, position);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_seek_shared(file, -100, MPI_SEEK_CUR));
    MPI(MPI_File_get_position_shared(file, &position));
    EXPECT_EQUAL(200, position);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_seek_shared(file, 10, MPI_SEEK_END));
    MPI(MPI_File_get_position_shared(file, &position));
    EXPECT_EQUAL(1010, position);
    MPI_Barrier(MPI_COMM_WORLD);
    if (test->rank == test->ranks - 1)
        MPI(MPI_File_read_shared(file, bytes, 0, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_get_position_shared(file, &position));
    EXPECT_EQUAL(1010, position);
    MPI_Barrier(MPI_COMM_WORLD);
    /* A new view begins at 0, also when another rank than the first moved the pointer. */
    MPI(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));
    MPI(MPI_File_set_view(file, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
    if (test->rank == test->ranks - 1)
        MPI(MPI_File_write_shared(file, bytes, 100, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI(MPI_File_set_view(file, 500, MPI_INT, MPI_INT, "native", MPI_INFO_NULL));
    MPI(MPI_File_get_position_shared(file, &position));
    EXPECT_EQUAL(0, position);
    MPI_Barrier(MPI_COMM_WORLD);
    /* Another opening has a pointer of its own. */
    MPI(MPI_File_seek_shared(file, 77, MPI_SEEK_SET));
    MPI_File other;
    MPI(open_file(test, MPI_MODE_RDWR, &other));
    MPI(MPI_File_get_position_shared(other, &position));
    EXPECT_EQUAL(0, position);
    MPI(MPI_File_close(&other));
    MPI(MPI_File_close(&file));
}

static void append(struct test *test)
{
    unsigned char bytes[record] = {0};
    MPI_Offset position;
    MPI_File file;
    MPI(open_file(test, MPI_MODE_WRONLY, &file));
    MPI(MPI_File_set_size(file, 12345));
    MPI(MPI_File_close(&file));
    MPI(open_file(test, MPI_MODE_RDWR | MPI_MODE_APPEND, &file));
    MPI(MPI_File_get_position_shared(file, &position));
    EXPECT_EQUAL(12345, position);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_write_shared(file, bytes, record, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_get_size(file, &position));
    EXPECT_EQUAL(12345 + (long long)record * test->ranks, position);
    MPI(MPI_File_close(&file));
}

/* Only the shared pointer may be used, and a view can begin where it stands. */
static void sequential(struct test *test)
{
    unsigned char bytes[record];
    MPI_File file;
    int rank, number;
    MPI(open_file(test, MPI_MODE_WRONLY | MPI_MODE_SEQUENTIAL, &file));
    make_record(bytes, test->rank, 0);
    MPI(MPI_File_write_ordered(file, bytes, record, MPI_BYTE, MPI_STATUS_IGNORE));
    make_record(bytes, test->rank, 1);
    MPI(MPI_File_set_view(file, MPI_DISPLACEMENT_CURRENT, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
    MPI(MPI_File_write_ordered_begin(file, bytes, record, MPI_BYTE));
    MPI(MPI_File_write_ordered_end(file, bytes, MPI_STATUS_IGNORE));
    make_record(bytes, test->rank, 2);
    MPI(MPI_File_write_shared(file, bytes, record, MPI_BYTE, MPI_STATUS_IGNORE));
    EXPECT(MPI_File_write_at(file, 0, bytes, record, MPI_BYTE, MPI_STATUS_IGNORE) != MPI_SUCCESS);
    EXPECT(MPI_File_write_at_all(file, 0, bytes, record, MPI_BYTE, MPI_STATUS_IGNORE) != MPI_SUCCESS);
    EXPECT(MPI_File_write(file, bytes, record, MPI_BYTE, MPI_STATUS_IGNORE) != MPI_SUCCESS);
    MPI(MPI_File_close(&file));

    MPI(open_file(test, MPI_MODE_RDONLY | MPI_MODE_SEQUENTIAL, &file));
    for (int i = 0; i < 2; i++) {
        MPI(MPI_File_read_ordered(file, bytes, record, MPI_BYTE, MPI_STATUS_IGNORE));
        EXPECT(is_record(bytes, &rank, &number));
        EXPECT_EQUAL(test->rank, rank);
        EXPECT_EQUAL(i, number);
    }
    MPI(MPI_File_read_shared(file, bytes, record, MPI_BYTE, MPI_STATUS_IGNORE));
    EXPECT(is_record(bytes, &rank, &number));
    EXPECT_EQUAL(2, number);
    MPI(MPI_File_close(&file));
}

static void atomic_mode(struct test *test)
{
    unsigned char bytes[record];
    MPI_File file;
    MPI(open_file(test, MPI_MODE_RDWR, &file));
    MPI(MPI_File_set_atomicity(file, 1));
    for (int i = 0; i < records; i++) {
        MPI_Request request;
        make_record(bytes, test->rank, i);
        if (i % 2 == 0) {
            MPI(MPI_File_write_shared(file, bytes, record, MPI_BYTE, MPI_STATUS_IGNORE));
        } else {
            MPI(MPI_File_iwrite_shared(file, bytes, record, MPI_BYTE, &request));
            MPI(MPI_Wait(&request, MPI_STATUS_IGNORE));
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (test->rank == 0)
        check_each_once(test, file);
    MPI(MPI_File_close(&file));
}

/* Stock ROMIO keeps the pointer in a file beside the user's; here there is none, also while it is used. */
static void no_hidden_file(struct test *test)
{
    unsigned char bytes[record] = {0};
    MPI_File file;
    if (!test->is_weft)
        SKIP("ROMIO's own way is a hidden file");
    MPI(open_file(test, MPI_MODE_RDWR, &file));
    MPI(MPI_File_write_shared(file, bytes, record, MPI_BYTE, MPI_STATUS_IGNORE));
    if (test->rank == 0) {
        weft_session_t *session;
        weft_dir_t *dir;
        const char *name;
        EXPECT_EQUAL(0, weft_connect(NULL, &session));
        EXPECT_EQUAL(0, weft_dir_open(session, test->folder, &dir));
        while (weft_dir_next(dir, &name, NULL) == 1)
            EXPECT(name[0] != '.', "%s", name);
        weft_dir_close(dir);
        weft_disconnect(session);
    }
    MPI(MPI_File_close(&file));
}

static const struct test_case cases[] = {
    {"write-each-once", write_each_once},
    {"read-each-once", read_each_once},
    {"nonblocking", nonblocking},
    {"ordered", ordered_blocking},
    {"ordered-split", ordered_split},
    {"ordered-refused", ordered_refused},
    {"seek", seek},
    {"append", append},
    {"sequential", sequential},
    {"atomic-mode", atomic_mode},
    {"no-hidden-file", no_hidden_file},
};

TEST_MAIN("shared", cases)
