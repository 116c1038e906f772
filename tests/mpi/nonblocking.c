/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nonblocking.c: reads and writes that are waited for later.
 *
 * The nonblocking collective calls crash in the ROMIO of Open MPI 4.1; on a
 * local folder their cases are left out.
 */
#include <stdlib.h>
#include <string.h>

#include "mpi_test.h"

static int open_world(struct test *test, MPI_File *file)
{
    return MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"), MPI_MODE_CREATE | MPI_MODE_RDWR,
                         MPI_INFO_NULL, file);
}

static int view_tiles(struct test *test, MPI_File file, int owner, int record)
{
    MPI_Datatype tile, view;
    MPI_Type_contiguous(record, MPI_BYTE, &tile);
    MPI_Type_create_resized(tile, 0, (MPI_Aint)record * test->ranks, &view);
    MPI_Type_commit(&view);
    int code = MPI_File_set_view(file, (MPI_Offset)owner * record, MPI_BYTE, view, "native", MPI_INFO_NULL);
    MPI_Type_free(&tile);
    MPI_Type_free(&view);
    return code;
}

/* Many requests at once, waited for together. */
static void many_contiguous(struct test *test)
{
    enum { length = 10007, count = 100 };
    unsigned char *bytes = test_alloc(length * count);
    MPI_Request requests[count];
    MPI_Status statuses[count];
    MPI_Offset base = (MPI_Offset)test->rank * length * count;
    MPI_File file;
    MPI(open_world(test, &file));
    test_fill(bytes, length * count, (uint64_t)base, 30);
    for (int i = 0; i < count; i++)
        MPI(MPI_File_iwrite_at(file, base + i * length, bytes + i * length, length, MPI_BYTE, &requests[i]));
    MPI(MPI_Waitall(count, requests, statuses));
    for (int i = 0; i < count; i++)
        EXPECT_EQUAL(length, test_status_bytes(&statuses[i]));
    memset(bytes, 0, length * count);
    for (int i = 0; i < count; i++)
        MPI(MPI_File_iread_at(file, base + i * length, bytes + i * length, length, MPI_BYTE, &requests[i]));
    for (int done = 0; done < count; done++) {
        int index;
        MPI(MPI_Waitany(count, requests, &index, MPI_STATUS_IGNORE));
    }
    EXPECT_EQUAL(-1, test_first_wrong(bytes, length * count, (uint64_t)base, 30));
    MPI(MPI_File_close(&file));
    free(bytes);
}

/* The file pointer moves at the call, not when the request completes. */
static void file_pointer(struct test *test)
{
    enum { record = 500, count = 20 };
    unsigned char *bytes = test_alloc(record * count);
    MPI_Request requests[count];
    MPI_Offset position;
    MPI_File file;
    MPI(open_world(test, &file));
    MPI(view_tiles(test, file, test->rank, 123));
    test_fill(bytes, record * count, 0, (unsigned)test->rank);
    for (int i = 0; i < count; i++) {
        MPI(MPI_File_iwrite(file, bytes + i * record, record, MPI_BYTE, &requests[i]));
        MPI(MPI_File_get_position(file, &position));
        EXPECT_EQUAL(record * (i + 1), position);
    }
    MPI(MPI_Waitall(count, requests, MPI_STATUSES_IGNORE));
    memset(bytes, 0, record * count);
    MPI(MPI_File_seek(file, 0, MPI_SEEK_SET));
    for (int i = 0; i < count; i++)
        MPI(MPI_File_iread(file, bytes + i * record, record, MPI_BYTE, &requests[i]));
    MPI(MPI_Waitall(count, requests, MPI_STATUSES_IGNORE));
    EXPECT_EQUAL(-1, test_first_wrong(bytes, record * count, 0, (unsigned)test->rank));
    MPI(MPI_File_close(&file));
    free(bytes);
}

/* More pieces than go into one request of any kind; and the datatype of the
 * memory is gone before the data is. */
static void many_pieces(struct test *test)
{
    enum { count = 150000 };
    short *memory = test_alloc(2 * count * sizeof *memory);
    MPI_Datatype every_second;
    MPI_Request request;
    MPI_Status status;
    MPI_File file;
    MPI(open_world(test, &file));
    MPI(view_tiles(test, file, test->rank, sizeof(short)));
    for (int i = 0; i < 2 * count; i++)
        memory[i] = (short)(i % 2 == 0 ? i / 2 % 30000 + test->rank : -1);
    MPI_Type_vector(count, 1, 2, MPI_SHORT, &every_second);
    MPI_Type_commit(&every_second);
    MPI(MPI_File_iwrite_at(file, 0, memory, 1, every_second, &request));
    MPI_Type_free(&every_second);
    MPI(MPI_Wait(&request, &status));
    EXPECT_EQUAL(count * (long long)sizeof(short), test_status_bytes(&status));

    memset(memory, 0, 2 * count * sizeof *memory);
    MPI_Type_vector(count, 1, 2, MPI_SHORT, &every_second);
    MPI_Type_commit(&every_second);
    MPI(MPI_File_iread_at(file, 0, memory, 1, every_second, &request));
    MPI_Type_free(&every_second);
    int is_done = 0;
    while (!is_done)
        MPI(MPI_Test(&request, &is_done, &status));
    EXPECT_EQUAL(count * (long long)sizeof(short), test_status_bytes(&status));
    for (int i = 0; i < 2 * count; i++)
        EXPECT_EQUAL(i % 2 == 0 ? i / 2 % 30000 + test->rank : 0, memory[i]);
    MPI(MPI_File_close(&file));
    free(memory);
}

static void nothing_to_do(struct test *test)
{
    unsigned char byte = 0;
    MPI_Request requests[3];
    MPI_Status status;
    MPI_File file;
    MPI(open_world(test, &file));
    MPI(MPI_File_iwrite_at(file, 0, &byte, 0, MPI_BYTE, &requests[0]));
    MPI(MPI_File_iread_at(file, 0, &byte, 0, MPI_BYTE, &requests[1]));
    MPI(MPI_File_iread_at(file, 1LL << 30, &byte, 1, MPI_BYTE, &requests[2]));
    MPI(MPI_Waitall(2, requests, MPI_STATUSES_IGNORE));
    MPI(MPI_Wait(&requests[2], &status));
    EXPECT_EQUAL(0, test_status_bytes(&status)); /* past the end */
    MPI(MPI_File_close(&file));
}

/* A request that is freed is still carried out. */
static void freed_request(struct test *test)
{
    enum { length = 100000 };
    unsigned char *bytes = test_alloc(length), *read = test_alloc(length);
    MPI_Offset base = (MPI_Offset)test->rank * length;
    MPI_Request request, later;
    MPI_File file;
    MPI(open_world(test, &file));
    test_fill(bytes, length, 0, (unsigned)test->rank);
    MPI(MPI_File_iwrite_at(file, base, bytes, length, MPI_BYTE, &request));
    MPI(MPI_Request_free(&request));
    for (int tries = 0; tries < 100000; tries++) {
        MPI(MPI_File_iread_at(file, base, read, length, MPI_BYTE, &later));
        MPI(MPI_Wait(&later, MPI_STATUS_IGNORE));
        if (memcmp(bytes, read, length) == 0)
            break;
    }
    EXPECT(memcmp(bytes, read, length) == 0);
    MPI(MPI_File_close(&file));
    free(bytes);
    free(read);
}

static void collective(struct test *test)
{
    enum { record = 4700, count = 100 };
    if (!test->is_weft)
        SKIP("crashes in Open MPI's own ROMIO");
    unsigned char *bytes = test_alloc(record * count);
    MPI_Request request;
    MPI_Status status;
    MPI_File file;
    MPI(open_world(test, &file));
    MPI(view_tiles(test, file, test->rank, record));
    test_fill(bytes, record * count, 0, (unsigned)test->rank);
    MPI(MPI_File_iwrite_at_all(file, 0, bytes, record * count, MPI_BYTE, &request));
    MPI(MPI_Wait(&request, &status));
    EXPECT_EQUAL(record * count, test_status_bytes(&status));
    MPI_Barrier(MPI_COMM_WORLD);

    int owner = (test->rank + 1) % test->ranks;
    memset(bytes, 0, record * count);
    MPI(view_tiles(test, file, owner, record));
    MPI(MPI_File_iread_all(file, bytes, record * count, MPI_BYTE, &request));
    MPI(MPI_Wait(&request, &status));
    EXPECT_EQUAL(-1, test_first_wrong(bytes, record * count, 0, (unsigned)owner));
    MPI(MPI_File_set_view(file, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
    MPI(MPI_File_iread_at_all(file, (MPI_Offset)owner * record, bytes, record, MPI_BYTE, &request));
    MPI(MPI_Wait(&request, &status));
    EXPECT_EQUAL(-1, test_first_wrong(bytes, record, 0, (unsigned)owner));
    MPI(MPI_File_close(&file));
    free(bytes);
}

/* A nonblocking collective call must not wait for the other ranks: here they
 * come to theirs only after a message from this one. */
static void collective_without_waiting(struct test *test)
{
    if (!test->is_weft)
        SKIP("crashes in Open MPI's own ROMIO");
    unsigned char bytes[1000];
    int token = 0;
    MPI_Request request;
    MPI_File file;
    MPI(open_world(test, &file));
    test_fill(bytes, sizeof bytes, 0, (unsigned)test->rank);
    if (test->rank > 0)
        MPI_Recv(&token, 1, MPI_INT, test->rank - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI(MPI_File_iwrite_at_all(file, test->rank * 1000, bytes, sizeof bytes, MPI_BYTE, &request));
    if (test->rank + 1 < test->ranks)
        MPI_Send(&token, 1, MPI_INT, test->rank + 1, 0, MPI_COMM_WORLD);
    MPI(MPI_Wait(&request, MPI_STATUS_IGNORE));
    MPI_Barrier(MPI_COMM_WORLD);
    int owner = test->ranks - 1 - test->rank;
    MPI(MPI_File_read_at(file, owner * 1000, bytes, sizeof bytes, MPI_BYTE, MPI_STATUS_IGNORE));
    EXPECT_EQUAL(-1, test_first_wrong(bytes, sizeof bytes, 0, (unsigned)owner));
    MPI(MPI_File_close(&file));
}

static const struct test_case cases[] = {
    {"many-contiguous", many_contiguous},
    {"file-pointer", file_pointer},
    {"many-pieces", many_pieces},
    {"nothing-to-do", nothing_to_do},
    {"freed-request", freed_request},
    {"collective", collective},
    {"collective-without-waiting", collective_without_waiting},
};

TEST_MAIN("nonblocking", cases)
