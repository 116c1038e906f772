/* SPDX-License-Identifier: Apache-2.0 */
/*
 * create_race.c: ranks that create one file at the same time, each on its own.
 *
 * Whoever comes first makes it; nobody may make it anew, or cut what another
 * rank has written already.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mpi_test.h"

enum { block = 5000 };

static void round_of(struct test *test, const char *path)
{
    unsigned char bytes[block];
    MPI_File file;
    test_fill(bytes, block, (uint64_t)test->rank * block, 5);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI(MPI_File_open(MPI_COMM_SELF, path, MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file));
    MPI(MPI_File_write_at(file, (MPI_Offset)test->rank * block, bytes, block, MPI_BYTE, MPI_STATUS_IGNORE));
    MPI(MPI_File_close(&file));
    MPI_Barrier(MPI_COMM_WORLD);

    MPI_Status status;
    unsigned char *all = test_alloc((size_t)test->ranks * block);
    MPI(MPI_File_open(MPI_COMM_SELF, path, MPI_MODE_RDONLY, MPI_INFO_NULL, &file));
    MPI(MPI_File_read_at(file, 0, all, test->ranks * block, MPI_BYTE, &status));
    EXPECT_EQUAL((long long)test->ranks * block, test_status_bytes(&status));
    long long wrong = test_first_wrong(all, (size_t)test->ranks * block, 0, 5);
    EXPECT(wrong < 0, "byte %lld, of rank %lld", wrong, wrong / block);
    MPI(MPI_File_close(&file));
    free(all);
}

static void races(struct test *test, bool is_deleted)
{
    for (int i = 0; i < 100 && test->failures == 0; i++) {
        char name[32];
        snprintf(name, sizeof name, "file%d", is_deleted ? 0 : i);
        const char *path = test_path(test, name);
        round_of(test, path);
        MPI_Barrier(MPI_COMM_WORLD);
        if (is_deleted && test->rank == i % test->ranks)
            MPI(MPI_File_delete(path, MPI_INFO_NULL));
    }
}

static void fresh_names(struct test *test)
{
    races(test, false);
}

static void same_name_again(struct test *test)
{
    races(test, true);
}

/* With MPI_MODE_EXCL exactly one rank may succeed. */
static void exclusive(struct test *test)
{
    for (int i = 0; i < 50; i++) {
        char name[32];
        MPI_File file;
        int total;
        snprintf(name, sizeof name, "file%d", i);
        MPI_Barrier(MPI_COMM_WORLD);
        int code = MPI_File_open(MPI_COMM_SELF, test_path(test, name),
                                 MPI_MODE_CREATE | MPI_MODE_EXCL | MPI_MODE_WRONLY, MPI_INFO_NULL, &file);
        int mine = code == MPI_SUCCESS;
        if (mine)
            MPI_File_close(&file);
        else if (test_error_class(code) != MPI_ERR_FILE_EXISTS)
            test_fail(test, __FILE__, __LINE__, "the file exists", "another error: %s",
                      test_error_text(code));
        MPI_Allreduce(&mine, &total, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
        EXPECT_EQUAL(1, total);
    }
}

static const struct test_case cases[] = {
    {"fresh-names", fresh_names},
    {"same-name-again", same_name_again},
    {"exclusive", exclusive},
};

TEST_MAIN("create-race", cases)
