/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hints.c: hints take effect, and MPI_File_get_info tells what is in effect.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mpi_test.h"

#define EXPECT_HINT(file, key, expected)                                                 \
    EXPECT(strcmp(test_hint(file, key), expected) == 0, "%s is \"%s\", not \"%s\"", key, \
           test_hint(file, key), expected)

static int open_with(struct test *test, const char *name, MPI_File *file, const char *const hints[][2],
                     int count)
{
    MPI_Info info;
    MPI_Info_create(&info);
    for (int i = 0; i < count; i++)
        MPI_Info_set(info, hints[i][0], hints[i][1]);
    int code =
        MPI_File_open(MPI_COMM_WORLD, test_path(test, name), MPI_MODE_CREATE | MPI_MODE_RDWR, info, file);
    MPI_Info_free(&info);
    return code;
}

static void striping(struct test *test)
{
    static const char *const wanted[][2] = {{"striping_factor", "2"}, {"striping_unit", "470080"}};
    static const char *const others[][2] = {{"striping_factor", "1"}, {"striping_unit", "65536"}};
    MPI_File file;
    MPI(open_with(test, "file", &file, wanted, 2));
    EXPECT_HINT(file, "striping_factor", "2");
    EXPECT_HINT(file, "striping_unit", "470080");
    MPI(MPI_File_close(&file));
    /* A file has its layout for life, and that is what is told. */
    MPI(open_with(test, "file", &file, others, 2));
    EXPECT_HINT(file, "striping_factor", "2");
    EXPECT_HINT(file, "striping_unit", "470080");
    MPI(MPI_File_close(&file));
}

/* What no layout can have is passed over: a hint never makes an open fail. */
static void striping_nonsense(struct test *test)
{
    static const char *const wanted[][2] = {{"striping_factor", "100000"}, {"striping_unit", "12"}};
    static const char *const worse[][2] = {{"striping_factor", "-3"}, {"striping_unit", "many"}};
    MPI_File file;
    MPI(open_with(test, "file", &file, wanted, 2));
    EXPECT(strtol(test_hint(file, "striping_factor"), NULL, 10) > 0);
    EXPECT(strtol(test_hint(file, "striping_unit"), NULL, 10) >= 4096);
    MPI(MPI_File_close(&file));
    MPI(open_with(test, "file2", &file, worse, 2));
    EXPECT(strtol(test_hint(file, "striping_factor"), NULL, 10) > 0);
    EXPECT(strtol(test_hint(file, "striping_unit"), NULL, 10) >= 4096);
    MPI(MPI_File_close(&file));
}

/* On one host too, the user has as many aggregators as were asked for. */
static void cb_nodes(struct test *test)
{
    for (int nodes = 1; nodes <= test->ranks; nodes++) {
        char text[16];
        const char *const wanted[][2] = {{"cb_nodes", text}};
        MPI_File file;
        snprintf(text, sizeof text, "%d", nodes);
        MPI(open_with(test, "file", &file, wanted, 1));
        EXPECT_HINT(file, "cb_nodes", text);
        int listed = 0;
        char *rest = (char *)test_hint(file, "romio_aggregator_list");
        while (strtok_r(rest, " ", &rest) != NULL)
            listed++;
        EXPECT_EQUAL(nodes, listed);
        MPI(MPI_File_close(&file));
    }
}

/* A list of the user's own goes before cb_nodes. */
static void cb_config_list(struct test *test)
{
    static const char *const wanted[][2] = {{"cb_nodes", "4"}, {"cb_config_list", "*:2"}};
    MPI_File file;
    MPI(open_with(test, "file", &file, wanted, 2));
    EXPECT_HINT(file, "cb_nodes", test->ranks < 2 ? "1" : "2"); /* the test runs on one host */
    EXPECT_HINT(file, "cb_config_list", "*:2");
    MPI(MPI_File_close(&file));
}

static void others(struct test *test)
{
    static const char *const wanted[][2] = {
        {"cb_buffer_size", "65536"}, {"romio_cb_write", "enable"}, {"romio_cb_read", "disable"}};
    MPI_File file;
    MPI(open_with(test, "file", &file, wanted, 3));
    EXPECT_HINT(file, "cb_buffer_size", "65536");
    EXPECT_HINT(file, "romio_cb_write", "enable");
    EXPECT_HINT(file, "romio_cb_read", "disable");
    EXPECT_HINT(file, "romio_ds_read", "disable");
    EXPECT_HINT(file, "romio_ds_write", "disable");
    EXPECT(strncmp(test_hint(file, "romio_filesystem_type"), "WEFT:", 5) == 0);
    MPI(MPI_File_close(&file));
}

static void none(struct test *test)
{
    MPI_File file;
    MPI(MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"), MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL,
                      &file));
    EXPECT(strtol(test_hint(file, "striping_unit"), NULL, 10) >= 4096);
    EXPECT(strtol(test_hint(file, "cb_buffer_size"), NULL, 10) > 0);
    MPI(MPI_File_close(&file));
}

/* Hints that come with a view: those that can change do, those of the layout
 * don't; and the buffer is as large as its hint says. */
static void with_a_view(struct test *test)
{
    enum { record = 1000, count = 3000 };
    static const char *const small[][2] = {{"cb_buffer_size", "4096"}, {"romio_cb_write", "enable"}};
    unsigned char *bytes = test_alloc(record * count);
    MPI_File file;
    MPI_Info info;
    MPI_Datatype tile, view;
    char unit[64];
    MPI(open_with(test, "file", &file, small, 2));
    snprintf(unit, sizeof unit, "%s", test_hint(file, "striping_unit"));
    MPI_Info_create(&info);
    MPI_Info_set(info, "cb_buffer_size", "8388608");
    MPI_Info_set(info, "striping_unit", "5000");
    MPI_Type_contiguous(record, MPI_BYTE, &tile);
    MPI_Type_create_resized(tile, 0, (MPI_Aint)record * test->ranks, &view);
    MPI_Type_commit(&view);
    MPI(MPI_File_set_view(file, (MPI_Offset)record * test->rank, MPI_BYTE, view, "native", info));
    EXPECT_HINT(file, "cb_buffer_size", "8388608");
    EXPECT_HINT(file, "striping_unit", unit);
    test_fill(bytes, record * count, 0, (unsigned)test->rank);
    MPI(MPI_File_write_at_all(file, 0, bytes, record * count, MPI_BYTE, MPI_STATUS_IGNORE));
    memset(bytes, 0, record * count);
    MPI(MPI_File_read_at_all(file, 0, bytes, record * count, MPI_BYTE, MPI_STATUS_IGNORE));
    EXPECT_EQUAL(-1, test_first_wrong(bytes, record * count, 0, (unsigned)test->rank));
    MPI(MPI_File_close(&file));
    MPI_Info_free(&info);
    MPI_Type_free(&tile);
    MPI_Type_free(&view);
    free(bytes);
}

static const struct test_case cases[] = {
    {"striping", striping},       {"striping-nonsense", striping_nonsense},
    {"cb-nodes", cb_nodes},       {"cb-config-list", cb_config_list},
    {"others", others},           {"none", none},
    {"with-a-view", with_a_view},
};

TEST_MAIN("hints", cases)
