/* SPDX-License-Identifier: Apache-2.0 */
/*
 * selection.c: the Weft component takes what is Weft's, and nothing else.
 *
 * The runner gives a local folder in TEST_LOCAL_FOLDER, and runs the program
 * again with ROMIO_FSTYPE_FORCE, with and without a folder, for the case "forced".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mpi_test.h"

static bool is_on_weft(MPI_File file)
{
    return strncmp(test_hint(file, "romio_filesystem_type"), "WEFT:", 5) == 0;
}

static void by_prefix(struct test *test)
{
    MPI_File file;
    if (getenv("ROMIO_FSTYPE_FORCE") != NULL)
        SKIP("for a run without ROMIO_FSTYPE_FORCE");
    MPI(MPI_File_open(MPI_COMM_WORLD, test_path(test, "file"), MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL,
                      &file));
    EXPECT(is_on_weft(file) == test->is_weft);
    MPI(MPI_File_close(&file));
}

/* A local file stays with Open MPI's own components, and is a local file. */
static void local_file(struct test *test)
{
    const char *folder = getenv("TEST_LOCAL_FOLDER");
    char path[1024];
    int value = 42;
    struct stat stat_buffer;
    MPI_File file;
    if (getenv("ROMIO_FSTYPE_FORCE") != NULL)
        SKIP("for a run without ROMIO_FSTYPE_FORCE");
    if (folder == NULL)
        SKIP("TEST_LOCAL_FOLDER is not set");
    static const char *const names[] = {"plain", "weft", "weft-file"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        MPI(MPI_File_open(MPI_COMM_WORLD, path, MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file));
        EXPECT(!is_on_weft(file));
        MPI(MPI_File_write_at_all(file, test->rank * 4, &value, 1, MPI_INT, MPI_STATUS_IGNORE));
        MPI(MPI_File_close(&file));
        MPI_Barrier(MPI_COMM_WORLD);
        EXPECT(stat(path, &stat_buffer) == 0);
        EXPECT_EQUAL(4 * test->ranks, stat_buffer.st_size);
        MPI_Barrier(MPI_COMM_WORLD);
        if (test->rank == 0)
            MPI(MPI_File_delete(path, MPI_INFO_NULL));
        MPI_Barrier(MPI_COMM_WORLD);
        EXPECT(stat(path, &stat_buffer) != 0);
        MPI_Barrier(MPI_COMM_WORLD);
    }
}

/* Programs with names of their own: relative ones are in the folder that the
 * variable names, or in the root. */
static void forced(struct test *test)
{
    const char *prefix = getenv("ROMIO_FSTYPE_FORCE");
    char path[1024];
    int value = test->rank, read = -1;
    struct stat stat_buffer;
    MPI_File file;
    if (prefix == NULL)
        SKIP("for a run with ROMIO_FSTYPE_FORCE");
    snprintf(path, sizeof path, "%s/forced.out", prefix);
    MPI(MPI_File_open(MPI_COMM_WORLD, "forced.out", MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file));
    EXPECT(is_on_weft(file));
    MPI(MPI_File_write_at_all(file, test->rank * 4, &value, 1, MPI_INT, MPI_STATUS_IGNORE));
    MPI(MPI_File_close(&file));
    EXPECT(stat("forced.out", &stat_buffer) != 0, "it is a local file");

    MPI(MPI_File_open(MPI_COMM_WORLD, path, MPI_MODE_RDONLY, MPI_INFO_NULL, &file));
    MPI(MPI_File_read_at_all(file, test->rank * 4, &read, 1, MPI_INT, MPI_STATUS_IGNORE));
    EXPECT_EQUAL(test->rank, read);
    MPI(MPI_File_close(&file));
    MPI_Barrier(MPI_COMM_WORLD);
    if (test->rank == 0)
        MPI(MPI_File_delete("forced.out", MPI_INFO_NULL));
}

static const struct test_case cases[] = {
    {"by-prefix", by_prefix},
    {"local-file", local_file},
    {"forced", forced},
};

TEST_MAIN("selection", cases)
