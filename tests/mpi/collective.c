/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collective.c: collective reads and writes in the shapes that programs have.
 *
 * Each shape runs with ROMIO's own choice, with two-phase I/O forced and with
 * it off, and with one and with many aggregators.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mpi_test.h"

static const char *const modes[][2] = {
    {"automatic", "1"}, {"enable", "1"}, {"enable", "4"}, {"disable", "1"}};
enum { mode_count = sizeof modes / sizeof modes[0] };

static int open_mode(struct test *test, const char *name, int mode, int amode, MPI_File *file)
{
    MPI_Info info;
    MPI_Info_create(&info);
    MPI_Info_set(info, "romio_cb_write", modes[mode][0]);
    MPI_Info_set(info, "romio_cb_read", modes[mode][0]);
    MPI_Info_set(info, "cb_nodes", modes[mode][1]);
    MPI_Info_set(info, "cb_buffer_size", "300000"); /* so that there are several rounds */
    MPI_Info_set(info, "striping_unit", "100000");
    int code = MPI_File_open(MPI_COMM_WORLD, test_path(test, name), amode, info, file);
    MPI_Info_free(&info);
    return code;
}

static MPI_Datatype tiles(int length, MPI_Aint stride)
{
    MPI_Datatype tile, resized;
    MPI_Type_contiguous(length, MPI_BYTE, &tile);
    MPI_Type_create_resized(tile, 0, stride, &resized);
    MPI_Type_commit(&resized);
    MPI_Type_free(&tile);
    return resized;
}

static void interleaved_mode(struct test *test, int mode)
{
    enum { record = 4700, count = 200 };
    unsigned char *bytes = test_alloc(record * count);
    MPI_Datatype view = tiles(record, (MPI_Aint)record * test->ranks);
    MPI_Status status;
    MPI_File file;
    MPI(open_mode(test, "file", mode, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    MPI(MPI_File_set_view(file, (MPI_Offset)test->rank * record, MPI_BYTE, view, "native", MPI_INFO_NULL));
    test_fill(bytes, record * count, 0, (unsigned)(test->rank + 10 * mode));
    MPI(MPI_File_write_at_all(file, 0, bytes, record * count, MPI_BYTE, &status));
    EXPECT_EQUAL(record * count, test_status_bytes(&status));
    MPI_Barrier(MPI_COMM_WORLD);
    int owner = (test->rank + 1) % test->ranks;
    MPI(MPI_File_set_view(file, (MPI_Offset)owner * record, MPI_BYTE, view, "native", MPI_INFO_NULL));
    memset(bytes, 0, record * count);
    MPI(MPI_File_read_all(file, bytes, record * count, MPI_BYTE, &status));
    EXPECT_EQUAL(record * count, test_status_bytes(&status));
    EXPECT_EQUAL(-1, test_first_wrong(bytes, record * count, 0, (unsigned)(owner + 10 * mode)));
    MPI(MPI_File_close(&file));
    MPI_Type_free(&view);
    free(bytes);
}

static void interleaved(struct test *test)
{
    for (int mode = 0; mode < mode_count && test->failures == 0; mode++)
        interleaved_mode(test, mode);
}

/* The ranks together leave every second record to nobody: its bytes stay. */
static void holes_mode(struct test *test, int mode)
{
    enum { record = 777, count = 500 };
    MPI_Aint stride = 2 * (MPI_Aint)record * test->ranks;
    size_t whole = (size_t)stride * count;
    unsigned char *all = test_alloc(whole), *bytes = test_alloc(record * count);
    MPI_Datatype view = tiles(record, stride);
    MPI_File file;
    MPI(open_mode(test, "file", mode, MPI_MODE_CREATE | MPI_MODE_WRONLY, &file));
    if (test->rank == 0) {
        test_fill(all, whole, 0, 100);
        MPI(MPI_File_write_at(file, 0, all, (int)whole, MPI_BYTE, MPI_STATUS_IGNORE));
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_set_view(file, (MPI_Offset)test->rank * 2 * record, MPI_BYTE, view, "native",
                          MPI_INFO_NULL));
    test_fill(bytes, record * count, 0, (unsigned)test->rank);
    MPI(MPI_File_write_all(file, bytes, record * count, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI(MPI_File_close(&file));

    MPI(open_mode(test, "file", mode, MPI_MODE_RDONLY, &file));
    MPI(MPI_File_read_at_all(file, 0, all, (int)whole, MPI_BYTE, MPI_STATUS_IGNORE));
    for (size_t at = 0; at < whole; at += record) {
        size_t index = at / record;
        unsigned owner = (unsigned)(index / 2 % (size_t)test->ranks);
        size_t turn = index / (2 * (size_t)test->ranks);
        bool is_hole = index % 2 == 1;
        long long wrong = is_hole ? test_first_wrong(all + at, record, at, 100)
                                  : test_first_wrong(all + at, record, turn * record, owner);
        EXPECT(wrong < 0, "%s at %zu: byte %lld (mode %s)", is_hole ? "hole" : "record", at, wrong,
               modes[mode][0]);
    }
    MPI(MPI_File_close(&file));
    MPI_Type_free(&view);
    free(all);
    free(bytes);
}

static void holes(struct test *test)
{
    for (int mode = 0; mode < mode_count && test->failures == 0; mode++)
        holes_mode(test, mode);
}

/* A file that its owner may only write: no reading before writing. */
static void write_only_file(struct test *test)
{
    enum { record = 500, count = 300 };
    if (!test->is_weft)
        SKIP("Open MPI's own ROMIO reads before it writes");
    if (geteuid() == 0)
        SKIP("root may read every file");
    mode_t before = umask(0555);
    unsigned char *bytes = test_alloc(record * count);
    MPI_Datatype view = tiles(record, 3 * (MPI_Aint)record * test->ranks);
    MPI_File file;
    MPI(open_mode(test, "file", 1, MPI_MODE_CREATE | MPI_MODE_WRONLY, &file));
    MPI(MPI_File_close(&file));
    umask(before);
    int code = open_mode(test, "file", 1, MPI_MODE_RDONLY, &file);
    EXPECT(code != MPI_SUCCESS);
    EXPECT_EQUAL(MPI_ERR_ACCESS, test_error_class(code));
    MPI(open_mode(test, "file", 1, MPI_MODE_WRONLY, &file));
    MPI(MPI_File_set_view(file, (MPI_Offset)test->rank * record, MPI_BYTE, view, "native", MPI_INFO_NULL));
    test_fill(bytes, record * count, 0, (unsigned)test->rank);
    MPI(MPI_File_write_all(file, bytes, record * count, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI(MPI_File_close(&file));
    MPI_Type_free(&view);
    free(bytes);
}

/* Every second element of memory, into every third of the file. */
static void scattered_mode(struct test *test, int mode)
{
    enum { count = 4000 };
    long *memory = test_alloc(2 * count * sizeof *memory);
    MPI_Datatype pairs = tiles(sizeof(long), 2 * sizeof(long));
    MPI_Datatype view = tiles(sizeof(long), 3 * (MPI_Aint)sizeof(long) * test->ranks);
    MPI_File file;
    MPI(open_mode(test, "file", mode, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    MPI(MPI_File_set_view(file, (MPI_Offset)(test->rank * sizeof(long)), MPI_LONG, view, "native",
                          MPI_INFO_NULL));
    for (int i = 0; i < 2 * count; i++)
        memory[i] = i % 2 == 0 ? 1000L * test->rank + i : -1;
    MPI(MPI_File_write_at_all(file, 0, memory, count, pairs, MPI_STATUS_IGNORE));
    for (int i = 0; i < 2 * count; i++)
        memory[i] = -2;
    MPI(MPI_File_read_at_all(file, 0, memory, count, pairs, MPI_STATUS_IGNORE));
    for (int i = 0; i < 2 * count; i++)
        EXPECT_EQUAL(i % 2 == 0 ? 1000L * test->rank + i : -2, memory[i]);
    MPI(MPI_File_close(&file));
    MPI_Type_free(&pairs);
    MPI_Type_free(&view);
    free(memory);
}

static void scattered(struct test *test)
{
    for (int mode = 0; mode < mode_count && test->failures == 0; mode++)
        scattered_mode(test, mode);
}

/* Ranks with nothing to do take part with a count of 0. */
static void empty_ranks_mode(struct test *test, int mode)
{
    enum { length = 100000 };
    unsigned char *bytes = test_alloc(length);
    int count = test->rank % 2 == 0 ? length : 0;
    MPI_Status status;
    MPI_File file;
    MPI(open_mode(test, "file", mode, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    test_fill(bytes, length, 0, (unsigned)test->rank);
    MPI(MPI_File_write_at_all(file, (MPI_Offset)test->rank * length / 2, bytes, count, MPI_BYTE, &status));
    EXPECT_EQUAL(count, test_status_bytes(&status));
    memset(bytes, 0, length);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_read_at_all(file, (MPI_Offset)test->rank * length / 2, bytes, count, MPI_BYTE, &status));
    EXPECT_EQUAL(-1, test_first_wrong(bytes, (size_t)count, 0, (unsigned)test->rank));
    MPI(MPI_File_close(&file));
    free(bytes);
}

static void empty_ranks(struct test *test)
{
    for (int mode = 0; mode < mode_count && test->failures == 0; mode++)
        empty_ranks_mode(test, mode);
}

/* The file ends within what is read: each rank is told what it really got, and its pointer is behind it. */
static void short_read_mode(struct test *test, int mode)
{
    enum { record = 100, count = 50, present = 7 };
    unsigned char bytes[record * count];
    MPI_Datatype view = tiles(record, (MPI_Aint)record * test->ranks);
    MPI_Offset pointer;
    MPI_Status status;
    MPI_File file;
    /* All ranks have so many records; of the last one rank 0 has half, the others nothing. */
    MPI_Offset end = (MPI_Offset)present * record * test->ranks + record / 2;
    int expected = present * record + (test->rank == 0 ? record / 2 : 0);
    MPI(open_mode(test, "file", mode, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    MPI(MPI_File_set_size(file, 0));
    MPI(MPI_File_set_size(file, end));
    MPI(MPI_File_set_view(file, (MPI_Offset)test->rank * record, MPI_BYTE, view, "native", MPI_INFO_NULL));
    MPI(MPI_File_read_all(file, bytes, record * count, MPI_BYTE, &status));
    EXPECT_EQUAL(expected, test_status_bytes(&status));
    MPI(MPI_File_get_position(file, &pointer));
    EXPECT_EQUAL(expected, pointer);
    MPI(MPI_File_read_at_all(file, record * 2, bytes, record * count, MPI_BYTE, &status));
    EXPECT_EQUAL(expected - record * 2, test_status_bytes(&status));
    MPI(MPI_File_read_at_all(file, record * count, bytes, record, MPI_BYTE, &status));
    EXPECT_EQUAL(0, test_status_bytes(&status));
    MPI_Type_free(&view);
    MPI(MPI_File_close(&file));
}

static void short_read(struct test *test)
{
    if (!test->is_weft)
        SKIP("stock ROMIO tells of all that was asked for");
    for (int mode = 0; mode < mode_count && test->failures == 0; mode++)
        short_read_mode(test, mode);
}

static void split(struct test *test)
{
    enum { record = 3000, count = 100 };
    unsigned char *bytes = test_alloc(record * count);
    MPI_Datatype view = tiles(record, (MPI_Aint)record * test->ranks);
    MPI_Status status;
    MPI_File file;
    MPI(open_mode(test, "file", 0, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    MPI(MPI_File_set_view(file, (MPI_Offset)test->rank * record, MPI_BYTE, view, "native", MPI_INFO_NULL));
    test_fill(bytes, record * count, 0, (unsigned)test->rank);
    MPI(MPI_File_write_all_begin(file, bytes, record * count, MPI_BYTE));
    MPI(MPI_File_write_all_end(file, bytes, &status));
    EXPECT_EQUAL(record * count, test_status_bytes(&status));
    memset(bytes, 0, record * count);
    MPI(MPI_File_read_at_all_begin(file, 0, bytes, record * count, MPI_BYTE));
    MPI(MPI_File_read_at_all_end(file, bytes, &status));
    EXPECT_EQUAL(-1, test_first_wrong(bytes, record * count, 0, (unsigned)test->rank));
    MPI(MPI_File_close(&file));
    MPI_Type_free(&view);
    free(bytes);
}

/* A block of a three-dimensional array for each rank, as simulations have it. */
static void subarray(struct test *test)
{
    enum { edge = 24 };
    int sizes[3] = {edge, edge, edge * test->ranks}, parts[3] = {edge, edge, edge},
        starts[3] = {0, 0, edge * test->rank};
    int *block = test_alloc(edge * edge * edge * sizeof *block);
    MPI_Datatype view;
    MPI_File file;
    MPI_Type_create_subarray(3, sizes, parts, starts, MPI_ORDER_C, MPI_INT, &view);
    MPI_Type_commit(&view);
    for (int i = 0; i < edge * edge * edge; i++)
        block[i] = test->rank * 1000000 + i;
    MPI(open_mode(test, "file", 0, MPI_MODE_CREATE | MPI_MODE_RDWR, &file));
    MPI(MPI_File_set_view(file, 0, MPI_INT, view, "native", MPI_INFO_NULL));
    MPI(MPI_File_write_all(file, block, edge * edge * edge, MPI_INT, MPI_STATUS_IGNORE));
    MPI(MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "native", MPI_INFO_NULL));
    if (test->rank == 0) {
        int *all = test_alloc(edge * edge * edge * (size_t)test->ranks * sizeof *all);
        MPI(MPI_File_read_at(file, 0, all, edge * edge * edge * test->ranks, MPI_INT, MPI_STATUS_IGNORE));
        for (int at = 0; at < edge * edge * edge * test->ranks; at++) {
            int plane = at / (edge * test->ranks), column = at % (edge * test->ranks);
            EXPECT_EQUAL(column / edge * 1000000 + plane * edge + column % edge, all[at]);
        }
        free(all);
    }
    MPI(MPI_File_close(&file));
    MPI_Type_free(&view);
    free(block);
}

static const struct test_case cases[] = {
    {"interleaved", interleaved},
    {"holes", holes},
    {"write-only-file", write_only_file},
    {"scattered", scattered},
    {"empty-ranks", empty_ranks},
    {"short-read", short_read},
    {"split", split},
    {"subarray", subarray},
};

TEST_MAIN("collective", cases)
