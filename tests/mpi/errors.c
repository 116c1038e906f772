/* SPDX-License-Identifier: Apache-2.0 */
/*
 * errors.c: errors are the same on every rank, have the right class, and say
 * in words what failed.
 */
#include <stdio.h>
#include <string.h>

#include "mpi_test.h"

/* All ranks have the class, the same code's text, and Weft's words in it. */
static void expect_class(struct test *test, int line, int code, int class, const char *word)
{
    int mine = test_error_class(code), most, least;
    MPI_Allreduce(&mine, &most, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    MPI_Allreduce(&mine, &least, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (most != least)
        test_fail(test, __FILE__, line, "the same class on all ranks", "classes from %d to %d", least, most);
    if (mine != class)
        test_fail(test, __FILE__, line, "the right class", "class %d, not %d: %s", mine, class,
                  test_error_text(code));
    if (test->is_weft && word != NULL && strstr(test_error_text(code), word) == NULL)
        test_fail(test, __FILE__, line, "the text", "\"%s\" does not name %s", test_error_text(code), word);
}
#define EXPECT_CLASS(code, class, word) expect_class(test, __LINE__, code, class, word)

static int open_world(struct test *test, const char *name, int amode, MPI_File *file)
{
    return MPI_File_open(MPI_COMM_WORLD, test_path(test, name), amode, MPI_INFO_NULL, file);
}

static void missing_file(struct test *test)
{
    MPI_File file;
    EXPECT_CLASS(open_world(test, "none", MPI_MODE_RDONLY, &file), MPI_ERR_NO_SUCH_FILE, "none");
    EXPECT_CLASS(open_world(test, "none", MPI_MODE_RDWR, &file), MPI_ERR_NO_SUCH_FILE, "none");
    EXPECT_CLASS(open_world(test, "none/below", MPI_MODE_RDWR | MPI_MODE_CREATE, &file), MPI_ERR_NO_SUCH_FILE,
                 "none");
    EXPECT_CLASS(MPI_File_delete(test_path(test, "none"), MPI_INFO_NULL), MPI_ERR_NO_SUCH_FILE, "none");
}

static void existing_file(struct test *test)
{
    MPI_File file;
    MPI(open_world(test, "file", MPI_MODE_RDWR | MPI_MODE_CREATE, &file));
    MPI(MPI_File_close(&file));
    EXPECT_CLASS(open_world(test, "file", MPI_MODE_RDWR | MPI_MODE_CREATE | MPI_MODE_EXCL, &file),
                 MPI_ERR_FILE_EXISTS, "file");
}

static void a_folder(struct test *test)
{
    MPI_File file;
    if (!test->is_weft)
        SKIP("others have other classes");
    EXPECT_CLASS(MPI_File_open(MPI_COMM_WORLD, "weft:/", MPI_MODE_RDWR, MPI_INFO_NULL, &file),
                 MPI_ERR_BAD_FILE, NULL);
}

/* What the mode forbids, ROMIO refuses before the driver is asked. */
static void wrong_mode(struct test *test)
{
    unsigned char byte = 1;
    MPI_File file;
    MPI(open_world(test, "file", MPI_MODE_WRONLY | MPI_MODE_CREATE, &file));
    int code = MPI_File_read_at(file, 0, &byte, 1, MPI_BYTE, MPI_STATUS_IGNORE);
    EXPECT(code != MPI_SUCCESS);
    MPI(MPI_File_close(&file));
    MPI(open_world(test, "file", MPI_MODE_RDONLY, &file));
    code = MPI_File_write_at(file, 0, &byte, 1, MPI_BYTE, MPI_STATUS_IGNORE);
    EXPECT(code != MPI_SUCCESS);
    MPI(MPI_File_close(&file));
}

/* The standard forbids such a view, and some libraries refuse it, on that rank only. */
static void see_refusal(struct test *test, MPI_Datatype before_start, bool *is_refused)
{
    char name[32];
    MPI_File file;
    snprintf(name, sizeof name, "own-%d", test->rank);
    MPI(MPI_File_open(MPI_COMM_SELF, test_path(test, name), MPI_MODE_RDWR | MPI_MODE_CREATE, MPI_INFO_NULL,
                      &file));
    *is_refused = MPI_File_set_view(file, 0, MPI_BYTE, before_start, "native", MPI_INFO_NULL) != MPI_SUCCESS;
    MPI(MPI_File_close(&file));
}

/* A collective call that can't be done on one rank ends with its error on all, whatever the method: a
 * program that stops calling then leaves nobody waiting. */
static void fails_on_one_rank(struct test *test)
{
    static const char *const strategies[] = {"auto", "direct", "two_phase"};
    unsigned char bytes[100] = {0};
    if (!test->is_weft)
        SKIP("others end it on that rank only");
    MPI_Datatype before_start;
    MPI_Type_create_hindexed(1, (int[]){100}, (MPI_Aint[]){-500}, MPI_BYTE, &before_start);
    MPI_Type_commit(&before_start);
    bool is_refused = false;
    see_refusal(test, before_start, &is_refused);
    if (is_refused) {
        MPI_Type_free(&before_start);
        SKIP("this library refuses the view that makes it fail");
    }
    for (unsigned i = 0; i < sizeof strategies / sizeof strategies[0]; i++) {
        MPI_Info info;
        MPI_File file;
        MPI_Info_create(&info);
        MPI_Info_set(info, "weft_collective", strategies[i]);
        MPI(MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"), MPI_MODE_RDWR | MPI_MODE_CREATE, info,
                          &file));
        MPI_Info_free(&info);
        MPI(MPI_File_set_view(file, test->rank == 1 ? 0 : test->rank * 1000, MPI_BYTE,
                              test->rank == 1 ? before_start : MPI_BYTE, "native", MPI_INFO_NULL));
        EXPECT_CLASS(MPI_File_write_at_all(file, 0, bytes, 100, MPI_BYTE, MPI_STATUS_IGNORE), MPI_ERR_ARG,
                     "before the start");
        if (strcmp(strategies[i], "direct") != 0)
            EXPECT_CLASS(MPI_File_read_at_all(file, 0, bytes, 100, MPI_BYTE, MPI_STATUS_IGNORE), MPI_ERR_ARG,
                         "before the start");
        MPI(MPI_File_close(&file));
    }
    MPI_Type_free(&before_start);
}

/* Errors without end need no memory without end, and keep their words. */
static void many_errors(struct test *test)
{
    int last_before = 0, found;
    int *used;
    MPI_File file;
    for (int i = 0; i < 1000; i++) {
        char name[32] = "none-000";
        name[5] = (char)('0' + i / 100);
        name[6] = (char)('0' + i / 10 % 10);
        name[7] = (char)('0' + i % 10);
        int code = MPI_File_open(MPI_COMM_SELF, test_path(test, name), MPI_MODE_RDONLY, MPI_INFO_NULL, &file);
        EXPECT_EQUAL(MPI_ERR_NO_SUCH_FILE, test_error_class(code));
        if (test->is_weft)
            EXPECT(strstr(test_error_text(code), name) != NULL, "\"%s\"", test_error_text(code));
        if (i == 100) {
            MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_LASTUSEDCODE, &used, &found);
            last_before = *used;
        }
    }
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_LASTUSEDCODE, &used, &found);
    EXPECT_EQUAL(last_before, *used);
}

static const struct test_case cases[] = {
    {"missing-file", missing_file}, {"existing-file", existing_file},         {"a-folder", a_folder},
    {"wrong-mode", wrong_mode},     {"fails-on-one-rank", fails_on_one_rank}, {"many-errors", many_errors},
};

TEST_MAIN("errors", cases)
