/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serial.c: one process, one HDF5 file on Weft: what it writes it reads, before and after the file was
 * closed; nobody else has the file meanwhile; order is kept where HDF5 asks for it.
 *
 * usage: serial NAME [FIRST-TEST]
 * With HDF5_DRIVER in the environment it does not mention the driver: HDF5 loads it. Exit status: 0 all is
 * well; 1 the first check that failed is on standard error.
 */
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef WITH_LINKED_DRIVER
#include "weft/hdf5.h"
#endif

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            H5Eprint2(H5E_DEFAULT, stderr);                                         \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

#define SMALL_COUNT 300
#define ROWS        200
#define COLUMNS     333

static const char *name;

/* The access list. Files of the latest format are marked while they are open for writing, and need h5clear
 * after a crash: `is_latest` is for those tests that want no less. */
static hid_t access_list_of(int is_latest)
{
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    CHECK(fapl >= 0);
#ifdef WITH_LINKED_DRIVER
    if (!getenv("HDF5_DRIVER"))
        CHECK(H5Pset_fapl_weft(fapl, getenv("WEFT_HDF5_CONFIG")) >= 0);
#endif
    if (is_latest)
        CHECK(H5Pset_libver_bounds(fapl, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST) >= 0);
    return fapl;
}

static hid_t access_list(void)
{
    return access_list_of(1);
}

static hid_t create_file(hid_t fapl)
{
    hid_t file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
    CHECK(file >= 0);
    return file;
}

static hid_t open_file(hid_t fapl, unsigned flags)
{
    hid_t file = H5Fopen(name, flags, fapl);
    CHECK(file >= 0);
    return file;
}

/* ---- what is in the file ------------------------------------------------- */

static double value_at(unsigned row, unsigned column, unsigned turn)
{
    return row * 1000.0 + column + turn * 0.25;
}

static void write_small(hid_t file, unsigned turn)
{
    hsize_t count = 17;
    hid_t space = H5Screate_simple(1, &count, NULL);
    for (unsigned i = 0; i < SMALL_COUNT; i++) {
        char path[64];
        int values[17];
        for (unsigned k = 0; k < count; k++)
            values[k] = (int)(i * 100 + k + turn);
        snprintf(path, sizeof path, "/small/of %u/set %u", i % 7, i);
        hid_t links = H5Pcreate(H5P_LINK_CREATE);
        CHECK(H5Pset_create_intermediate_group(links, 1) >= 0);
        hid_t set = turn == 0 ? H5Dcreate2(file, path, H5T_STD_I32BE, space, links, H5P_DEFAULT, H5P_DEFAULT)
                              : H5Dopen2(file, path, H5P_DEFAULT);
        CHECK(set >= 0);
        CHECK(H5Dwrite(set, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
        if (turn == 0) {
            hid_t attribute =
                H5Acreate2(set, "number", H5T_NATIVE_UINT, H5Screate(H5S_SCALAR), H5P_DEFAULT, H5P_DEFAULT);
            CHECK(H5Awrite(attribute, H5T_NATIVE_UINT, &i) >= 0);
            H5Aclose(attribute);
        }
        H5Dclose(set);
        H5Pclose(links);
    }
    H5Sclose(space);
}

static void check_small(hid_t file, unsigned turn)
{
    for (unsigned i = 0; i < SMALL_COUNT; i++) {
        char path[64];
        int values[17];
        unsigned number;
        snprintf(path, sizeof path, "/small/of %u/set %u", i % 7, i);
        hid_t set = H5Dopen2(file, path, H5P_DEFAULT);
        CHECK(set >= 0);
        CHECK(H5Dread(set, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
        for (unsigned k = 0; k < 17; k++)
            CHECK(values[k] == (int)(i * 100 + k + turn));
        hid_t attribute = H5Aopen(set, "number", H5P_DEFAULT);
        CHECK(H5Aread(attribute, H5T_NATIVE_UINT, &number) >= 0 && number == i);
        H5Aclose(attribute);
        H5Dclose(set);
    }
}

static hid_t creation_list(const char *kind)
{
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t chunk[2] = {23, 41};
    if (strcmp(kind, "contiguous") != 0)
        CHECK(H5Pset_chunk(list, 2, chunk) >= 0);
    if (strcmp(kind, "filtered") == 0)
        CHECK(H5Pset_shuffle(list) >= 0 && H5Pset_fletcher32(list) >= 0);
    return list;
}

/* Row by row backwards, in blocks that meet no border of chunks. */
static void write_field(hid_t file, const char *kind, unsigned turn)
{
    static double block[10][COLUMNS];
    hsize_t size[2] = {ROWS, COLUMNS}, count[2] = {10, COLUMNS};
    hid_t space = H5Screate_simple(2, size, NULL), memory = H5Screate_simple(2, count, NULL);
    hid_t list = creation_list(kind);
    hid_t set = turn == 0 ? H5Dcreate2(file, kind, H5T_IEEE_F64LE, space, H5P_DEFAULT, list, H5P_DEFAULT)
                          : H5Dopen2(file, kind, H5P_DEFAULT);
    CHECK(set >= 0);
    for (int row = ROWS - 10; row >= 0; row -= 10) {
        hsize_t start[2] = {(hsize_t)row, 0};
        for (unsigned i = 0; i < 10; i++)
            for (unsigned k = 0; k < COLUMNS; k++)
                block[i][k] = value_at((unsigned)row + i, k, turn);
        CHECK(H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0);
        CHECK(H5Dwrite(set, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, block) >= 0);
    }
    H5Dclose(set);
    H5Pclose(list);
    H5Sclose(memory);
    H5Sclose(space);
}

/* All, then every third column of every second row. */
static void check_field(hid_t file, const char *kind, unsigned turn)
{
    static double all[ROWS][COLUMNS], some[ROWS / 2][COLUMNS / 3];
    hsize_t start[2] = {1, 2}, stride[2] = {2, 3}, count[2] = {ROWS / 2, COLUMNS / 3};
    hid_t set = H5Dopen2(file, kind, H5P_DEFAULT);
    CHECK(set >= 0);
    CHECK(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, all) >= 0);
    for (unsigned i = 0; i < ROWS; i++)
        for (unsigned k = 0; k < COLUMNS; k++)
            CHECK(all[i][k] == value_at(i, k, turn));
    hid_t space = H5Dget_space(set), memory = H5Screate_simple(2, count, NULL);
    CHECK(H5Sselect_hyperslab(space, H5S_SELECT_SET, start, stride, count, NULL) >= 0);
    CHECK(H5Dread(set, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, some) >= 0);
    for (unsigned i = 0; i < ROWS / 2; i++)
        for (unsigned k = 0; k < COLUMNS / 3; k++)
            CHECK(some[i][k] == value_at(1 + 2 * i, 2 + 3 * k, turn));
    H5Sclose(memory);
    H5Sclose(space);
    H5Dclose(set);
}

static const char *const kinds[] = {"contiguous", "chunked", "filtered"};

static void write_all(hid_t file, unsigned turn)
{
    write_small(file, turn);
    for (unsigned i = 0; i < 3; i++)
        write_field(file, kinds[i], turn);
}

static void check_all(hid_t file, unsigned turn)
{
    check_small(file, turn);
    for (unsigned i = 0; i < 3; i++)
        check_field(file, kinds[i], turn);
}

/* ---- tests ------------------------------------------------------------------ */

/* Runs a part of this program in another process, which knows nothing of this one's files. */
static int in_process(const char *part)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execl("/proc/self/exe", "serial", name, part, (char *)NULL);
        _exit(127);
    }
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void expect_second_turn(void)
{
    hid_t fapl = access_list(), file = open_file(fapl, H5F_ACC_RDONLY);
    check_all(file, 1);
    H5Fclose(file);
    H5Pclose(fapl);
}

static void test_contents(void)
{
    hid_t fapl = access_list(), file = create_file(fapl);
    hsize_t size_open, size_closed;
    write_all(file, 0);
    check_all(file, 0);
    CHECK(H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0);
    write_all(file, 1);
    check_all(file, 1);
    CHECK(H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0);
    CHECK(H5Fget_filesize(file, &size_open) >= 0);
    CHECK(H5Fclose(file) >= 0);
    CHECK(in_process("expect_second_turn") == 0);
    file = open_file(fapl, H5F_ACC_RDWR);
    CHECK(H5Fget_filesize(file, &size_closed) >= 0 && size_closed == size_open);
    /* The end of the file moves back as well. */
    CHECK(H5Ldelete(file, "contiguous", H5P_DEFAULT) >= 0);
    CHECK(H5Fclose(file) >= 0);
    file = open_file(fapl, H5F_ACC_RDONLY);
    check_field(file, "chunked", 1);
    CHECK(H5Fclose(file) >= 0);
    H5Pclose(fapl);
}

/* Another process must not get at the file: whoever asks is told so. */
static void expect_refusal(unsigned flags)
{
    hid_t fapl = access_list(), file;
    H5E_BEGIN_TRY
    {
        file = H5Fopen(name, flags, fapl);
    }
    H5E_END_TRY
    CHECK(file < 0);
    H5Pclose(fapl);
}

static void expect_no_write(void)
{
    expect_refusal(H5F_ACC_RDWR);
}

static void expect_no_read(void)
{
    expect_refusal(H5F_ACC_RDONLY);
}

static void expect_read(void)
{
    hid_t fapl = access_list();
    H5Fclose(open_file(fapl, H5F_ACC_RDONLY));
    H5Pclose(fapl);
}

static void test_lock(void)
{
    hid_t fapl = access_list(), file = create_file(fapl);
    CHECK(in_process("expect_no_write") == 0);
    CHECK(in_process("expect_no_read") == 0);
    /* In the same process it is the same file. */
    hid_t again = open_file(fapl, H5F_ACC_RDWR);
    CHECK(H5Fclose(again) >= 0);
    CHECK(H5Fclose(file) >= 0);
    file = open_file(fapl, H5F_ACC_RDONLY);
    CHECK(in_process("expect_no_write") == 0);
    CHECK(in_process("expect_read") == 0);
    CHECK(H5Fclose(file) >= 0);
    CHECK(H5Fclose(open_file(fapl, H5F_ACC_RDWR)) >= 0);
    H5Pclose(fapl);
}

/* A reader sees whole records only, in their order, while the writer has the file open. */
#define SWMR_RECORDS 100

static hid_t swmr_file, swmr_set;

static void swmr_append(hid_t set, int value)
{
    hsize_t size, one = 1, start;
    hid_t space = H5Dget_space(set);
    H5Sget_simple_extent_dims(space, &size, NULL);
    H5Sclose(space);
    start = size++;
    CHECK(H5Dset_extent(set, &size) >= 0);
    space = H5Dget_space(set);
    hid_t memory = H5Screate_simple(1, &one, NULL);
    CHECK(H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &one, NULL) >= 0);
    CHECK(H5Dwrite(set, H5T_NATIVE_INT, memory, space, H5P_DEFAULT, &value) >= 0);
    H5Sclose(memory);
    H5Sclose(space);
}

/* As many records as the file has, which are all in it. */
static hsize_t swmr_count(void)
{
    static int values[SWMR_RECORDS];
    hid_t fapl = access_list();
    hid_t file = open_file(fapl, H5F_ACC_RDONLY | H5F_ACC_SWMR_READ);
    hid_t set = H5Dopen2(file, "series", H5P_DEFAULT);
    CHECK(set >= 0);
    hid_t space = H5Dget_space(set);
    hsize_t size;
    H5Sget_simple_extent_dims(space, &size, NULL);
    CHECK(size <= SWMR_RECORDS);
    if (size > 0)
        CHECK(H5Dread(set, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    for (hsize_t i = 0; i < size; i++)
        CHECK(values[i] == (int)i * 3);
    H5Sclose(space);
    H5Dclose(set);
    H5Fclose(file);
    H5Pclose(fapl);
    return size;
}

static void expect_half(void)
{
    CHECK(swmr_count() == SWMR_RECORDS / 2);
}

static void expect_all(void)
{
    CHECK(swmr_count() == SWMR_RECORDS);
}

static void test_swmr(void)
{
    hid_t fapl = access_list();
    swmr_file = create_file(fapl);
    hsize_t none = 0, unlimited = H5S_UNLIMITED, chunk = 16;
    hid_t space = H5Screate_simple(1, &none, &unlimited), list = H5Pcreate(H5P_DATASET_CREATE);
    CHECK(H5Pset_chunk(list, 1, &chunk) >= 0);
    swmr_set = H5Dcreate2(swmr_file, "series", H5T_NATIVE_INT, space, H5P_DEFAULT, list, H5P_DEFAULT);
    CHECK(swmr_set >= 0);
    CHECK(H5Fstart_swmr_write(swmr_file) >= 0);
    for (int i = 0; i < SWMR_RECORDS; i++) {
        swmr_append(swmr_set, i * 3);
        if (i + 1 == SWMR_RECORDS / 2) {
            CHECK(H5Dflush(swmr_set) >= 0);
            CHECK(in_process("expect_half") == 0);
        }
    }
    CHECK(H5Dflush(swmr_set) >= 0);
    CHECK(in_process("expect_all") == 0);
    H5Dclose(swmr_set);
    H5Pclose(list);
    H5Sclose(space);
    CHECK(H5Fclose(swmr_file) >= 0);
    CHECK(in_process("expect_all") == 0);
    H5Pclose(fapl);
}

static void test_configuration(void)
{
#ifdef WITH_LINKED_DRIVER
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
    static const char *const wrong[] = {"chunk_sise=1M", "chunk_size=many", "cache_size", "folder=here",
                                        "nonsense=1"};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        herr_t result;
        H5E_BEGIN_TRY
        {
            result = H5Pset_fapl_weft(fapl, wrong[i]);
        }
        H5E_END_TRY
        CHECK(result < 0);
    }
    CHECK(H5Pset_fapl_weft(fapl, "chunk_size=64K; stripe_count=2;cache_size=0;folder=/") >= 0);
    CHECK(H5Pget_driver(fapl) == H5FD_WEFT);
    hid_t copy = H5Pcopy(fapl);
    hid_t file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, copy);
    CHECK(file >= 0);
    write_all(file, 0);
    hid_t of_file = H5Fget_access_plist(file);
    CHECK(H5Pget_driver(of_file) == H5FD_WEFT);
    CHECK(H5Fclose(file) >= 0);
    file = H5Fopen(name, H5F_ACC_RDONLY, of_file);
    CHECK(file >= 0);
    check_all(file, 0);
    CHECK(H5Fclose(file) >= 0);
    H5Pclose(of_file);
    H5Pclose(copy);
    H5Pclose(fapl);
#endif
}

/* A file's access list equals the one that it was opened with, however the driver was chosen there. */
static void test_access_list(void)
{
    hid_t fapl = access_list();
    /* HDF5 itself puts other values for these. */
    CHECK(H5Pset_fclose_degree(fapl, H5F_CLOSE_SEMI) >= 0);
    CHECK(H5Pset_metadata_read_attempts(fapl, 9) >= 0);
    hid_t file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
    CHECK(file >= 0);
    hid_t of_file = H5Fget_access_plist(file);
    CHECK(H5Pequal(fapl, of_file) > 0);
    CHECK(H5Fclose(file) >= 0);
    H5Pclose(of_file);
    H5Pclose(fapl);
}

/* What H5Fflush() covered is there, though the process ends without another word. */
static void flush_and_die(void)
{
    hid_t file = create_file(access_list_of(0));
    write_all(file, 0);
    CHECK(H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0);
    _exit(0);
}

static void test_flush(void)
{
    hid_t fapl = access_list_of(0), file;
    CHECK(in_process("flush_and_die") == 0);
    file = open_file(fapl, H5F_ACC_RDONLY);
    check_all(file, 0);
    CHECK(H5Fclose(file) >= 0);
    H5Pclose(fapl);
}

static void test_missing(void)
{
    hid_t fapl = access_list(), file;
    H5E_BEGIN_TRY
    {
        file = H5Fopen("/no/such/file.h5", H5F_ACC_RDONLY, fapl);
    }
    H5E_END_TRY
    CHECK(file < 0);
    H5Pclose(fapl);
#if H5_VERSION_GE(1, 12, 0)
    fapl = access_list();
    CHECK(H5Fclose(create_file(fapl)) >= 0);
    CHECK(H5Fdelete(name, fapl) >= 0);
    H5E_BEGIN_TRY
    {
        file = H5Fopen(name, H5F_ACC_RDONLY, fapl);
    }
    H5E_END_TRY
    CHECK(file < 0);
    H5Pclose(fapl);
#endif
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
        int is_part; /* of another one, which runs it */
    } tests[] = {
        {"contents", test_contents, 0},
        {"lock", test_lock, 0},
        {"flush", test_flush, 0},
        {"swmr", test_swmr, 0},
        {"configuration", test_configuration, 0},
        {"access-list", test_access_list, 0},
        {"missing", test_missing, 0},
        {"expect_second_turn", expect_second_turn, 1},
        {"expect_no_write", expect_no_write, 1},
        {"expect_no_read", expect_no_read, 1},
        {"expect_read", expect_read, 1},
        {"expect_half", expect_half, 1},
        {"expect_all", expect_all, 1},
        {"flush_and_die", flush_and_die, 1},
    };
    if (argc < 2)
        return 2;
    name = argv[1];
    for (unsigned i = 0; i < sizeof tests / sizeof *tests; i++) {
        if (argc > 2 ? strcmp(argv[2], tests[i].name) != 0 : tests[i].is_part)
            continue;
        tests[i].run();
        if (!tests[i].is_part)
            printf("%s\n", tests[i].name);
        fflush(stdout);
    }
    return 0;
}
