/* SPDX-License-Identifier: Apache-2.0 */
/*
 * checkpoint.c: a simulation that can be killed at any moment and goes on where it was.
 *
 * All ranks together write the steps of a three-dimensional field, of which each has a block. Started again
 * with the same name, the program says which step is the last complete one, reads it, compares every value
 * with what belongs there, and goes on from it. Nothing of Weft is in it: only the path leads there.
 *
 *   h5pcc -O2 checkpoint.c -o checkpoint        (Debian: h5pcc.openmpi)
 *   mpirun -n 4 ./checkpoint weft:/run7/state
 *
 * Why it is safe. HDF5 has no journal. Between two flushes it writes pieces of its metadata whenever its
 * cache is full, in no order that a reader could rely on; whoever is killed then leaves a file that may not
 * open any more, with all the steps that were in it before. So:
 *
 *  1. The only file with the last complete step is never open for writing. Steps go to NAME.0.h5 and
 *     NAME.1.h5 in turn. Whatever a crash makes of the one, the other is closed and complete.
 *  2. A file says itself whether it is complete, by the attribute `complete_step`. It is made with the
 *     file, as 0, and gets the step's number when all ranks have flushed everything else. H5Fflush()
 *     returns when data and metadata are durable, and setting the mark then changes these eight bytes in
 *     their place and nothing else of the file. So a mark that can be read tells of a step that can be
 *     read.
 *  3. A step counts when its file was flushed once more and closed. Only then the other one is overwritten.
 *  4. Who starts again takes the higher mark. A file that is damaged, or has no mark, is no checkpoint. A
 *     file that can't be read because the storage is away may be the last one: then the restart fails.
 *
 * To keep more than the last step, use more files (FILES below); to keep all, one file for each step.
 * "Write to another name, flush, close, rename" is as good; HDF5 and MPI have no call for the last.
 */
#include <getopt.h>
#include <hdf5.h>
#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FILES 2
#define MARK  "complete_step"

struct options {
    const char *name;
    const char *driver;
    long long steps;
    hsize_t size;
    long pause_ms;
    bool verify_only;
};

/* What one rank has of the field. */
struct block {
    hsize_t first[3], count[3];
    double *values;
};

static struct options options = {.driver = "mpio", .steps = 10, .size = 64};
static int rank, ranks;

static void usage(FILE *to)
{
    fputs("usage: mpirun -n RANKS checkpoint [options] NAME\n"
          "\n"
          "Computes steps of a field and saves each of them in NAME.0.h5 or NAME.1.h5, in turn.\n"
          "Goes on from the last complete step that is there, after comparing every value.\n"
          "\n"
          "  --steps N         how many steps to do from here (default: 10)\n"
          "  --size N          the field has N * N * N values (default: 64)\n"
          "  --pause MS        how long a step computes (default: 0)\n"
          "  --driver NAME     HDF5's driver: mpio, or weft with HDF5 1.14 and later (default: mpio)\n"
          "  --verify          look at the last complete step, and end\n"
          "  --help            this text\n"
          "\n"
          "Exit status: 0 all is well, 1 a value is wrong or an error, 2 wrong usage.\n",
          to);
}

/* ---- errors and messages ------------------------------------------------------ */

/* An error of one rank ends the job, since others may wait for it. No mark has been set then. */
static void check(bool is_right, const char *what)
{
    if (is_right)
        return;
    fprintf(stderr, "checkpoint: rank %d: %s failed\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void say(const char *what, long long step, const char *path)
{
    if (rank > 0)
        return;
    printf("%s %lld: %s\n", what, step, path);
    fflush(stdout);
}

/* ---- the field -------------------------------------------------------------------- */

#define MODULUS ((uint64_t)1 << 52) /* below it a double holds every integer */
#define STRIDE  ((uint64_t)0x5deece66d1)

static uint64_t value_at(hsize_t z, hsize_t y, hsize_t x, long long step)
{
    uint64_t place = ((z * options.size + y) * options.size + x) * 0x9e3779b97f4a7c15u;
    return ((place ^ place >> 29) + (uint64_t)step * STRIDE) % MODULUS;
}

/* One step of the simulation: it needs the values of the step before. */
static void advance(struct block *block)
{
    hsize_t count = block->count[0] * block->count[1] * block->count[2];
    for (hsize_t i = 0; i < count; i++)
        block->values[i] = (double)(((uint64_t)block->values[i] + STRIDE) % MODULUS);
    struct timespec pause = {options.pause_ms / 1000, options.pause_ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

/* Calls `visit` with each value of the block and what it should be; returns how often that was false. */
static long long for_all(struct block *block, long long step, bool (*visit)(double *, double))
{
    double *value = block->values;
    long long count = 0;
    for (hsize_t z = 0; z < block->count[0]; z++)
        for (hsize_t y = 0; y < block->count[1]; y++)
            for (hsize_t x = 0; x < block->count[2]; x++)
                count += !visit(value++, (double)value_at(block->first[0] + z, block->first[1] + y,
                                                          block->first[2] + x, step));
    return count;
}

static bool set(double *value, double wanted)
{
    *value = wanted;
    return true;
}

static bool is_same(double *value, double wanted)
{
    return *value == wanted;
}

static void make_block(struct block *block)
{
    int parts[3] = {0}, none[3] = {0}, mine[3];
    MPI_Comm grid;
    MPI_Dims_create(ranks, 3, parts);
    MPI_Cart_create(MPI_COMM_WORLD, 3, parts, none, 0, &grid);
    MPI_Cart_coords(grid, rank, 3, mine);
    MPI_Comm_free(&grid);
    for (int i = 0; i < 3; i++) {
        block->first[i] = options.size * (hsize_t)mine[i] / (hsize_t)parts[i];
        block->count[i] = options.size * (hsize_t)(mine[i] + 1) / (hsize_t)parts[i] - block->first[i];
    }
    block->values = malloc(block->count[0] * block->count[1] * block->count[2] * sizeof *block->values + 1);
    check(block->values, "malloc");
}

/* ---- files ------------------------------------------------------------------------ */

static void path_of(int number, char *path, size_t size)
{
    int length = snprintf(path, size, "%s.%d.h5", options.name, number);
    check(length > 0 && (size_t)length < size, "a name that is too long");
}

/* The access list for a file of these ranks. */
static hid_t access_list(MPI_Comm comm)
{
    hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 14, 0)
    if (strcmp(options.driver, "mpio") != 0) {
        check(H5Pset_mpi_params(fapl, comm, MPI_INFO_NULL) >= 0, "H5Pset_mpi_params");
        check(H5Pset_driver_by_name(fapl, options.driver, NULL) >= 0, "H5Pset_driver_by_name");
        return fapl;
    }
#endif
    check(H5Pset_fapl_mpio(fapl, comm, MPI_INFO_NULL) >= 0, "H5Pset_fapl_mpio");
    return fapl;
}

/* All ranks read or write the field's blocks in one call. */
static void transfer(hid_t data, struct block *block, bool is_write)
{
    hid_t place = H5Dget_space(data), memory = H5Screate_simple(3, block->count, NULL);
    hid_t together = H5Pcreate(H5P_DATASET_XFER);
    check(H5Pset_dxpl_mpio(together, H5FD_MPIO_COLLECTIVE) >= 0, "H5Pset_dxpl_mpio");
    check(H5Sselect_hyperslab(place, H5S_SELECT_SET, block->first, NULL, block->count, NULL) >= 0,
          "H5Sselect_hyperslab");
    if (is_write)
        check(H5Dwrite(data, H5T_NATIVE_DOUBLE, memory, place, together, block->values) >= 0, "H5Dwrite");
    else
        check(H5Dread(data, H5T_NATIVE_DOUBLE, memory, place, together, block->values) >= 0, "H5Dread");
    H5Pclose(together);
    H5Sclose(memory);
    H5Sclose(place);
}

static hid_t make_mark(hid_t file)
{
    long long none = 0;
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t mark = H5Acreate2(file, MARK, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
    check(mark >= 0 && H5Awrite(mark, H5T_NATIVE_LLONG, &none) >= 0, "the mark");
    H5Sclose(space);
    return mark;
}

static void write_field(hid_t file, struct block *block)
{
    hsize_t size[3] = {options.size, options.size, options.size};
    hid_t space = H5Screate_simple(3, size, NULL);
    hid_t data = H5Dcreate2(file, "field", H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    check(data >= 0, "H5Dcreate2");
    transfer(data, block, true);
    check(H5Dclose(data) >= 0, "H5Dclose");
    H5Sclose(space);
}

/* When it returns, the step survives a crash of everything. */
static void save(struct block *block, long long step)
{
    char path[1024];
    hid_t fapl = access_list(MPI_COMM_WORLD);
    path_of((int)(step % FILES), path, sizeof path);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, fapl);
    check(file >= 0, "H5Fcreate");
    hid_t mark = make_mark(file);
    write_field(file, block);
    check(H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0, "H5Fflush");
    /* The mark is set by whoever writes HDF5's metadata: not before the last of us has flushed. */
    MPI_Barrier(MPI_COMM_WORLD);
    check(H5Awrite(mark, H5T_NATIVE_LLONG, &step) >= 0 && H5Aclose(mark) >= 0, "the mark");
    /* H5Fclose() alone promises nothing of durability. */
    check(H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0, "H5Fflush");
    check(H5Fclose(file) >= 0, "H5Fclose");
    H5Pclose(fapl);
    say("complete: step", step, path);
}

/* Sets *arg when the driver itself could not read, rather than that HDF5 did not like what it read. */
static herr_t look_for_driver(unsigned number, const H5E_error2_t *error, void *arg)
{
    (void)number;
    if (error->maj_num == H5E_VFL && error->min_num == H5E_READERROR)
        *(bool *)arg = true;
    return 0;
}

/* After a call of HDF5 that failed: a damaged file may be, storage that is away is the end. */
static void check_storage(const char *path)
{
    bool is_away = false;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, look_for_driver, &is_away);
    if (is_away)
        H5Eprint2(H5E_DEFAULT, stderr);
    check(!is_away, path);
}

static bool exists(const char *path)
{
    MPI_File file;
    int code = MPI_File_open(MPI_COMM_SELF, path, MPI_MODE_RDONLY, MPI_INFO_NULL, &file), class;
    if (code == MPI_SUCCESS)
        return MPI_File_close(&file) == MPI_SUCCESS;
    MPI_Error_class(code, &class);
    check(class == MPI_ERR_NO_SUCH_FILE, path);
    return false;
}

/* The mark of an open file; 0 when it has none. */
static long long mark_in(hid_t file, const char *path)
{
    long long step = 0;
    hid_t mark = H5Aopen(file, MARK, H5P_DEFAULT);
    if (mark < 0 || H5Aread(mark, H5T_NATIVE_LLONG, &step) < 0) {
        check_storage(path);
        step = 0;
    }
    if (mark >= 0)
        H5Aclose(mark);
    return step;
}

/* The mark of a file; 0 when it has none, or was left so that it can't be opened. */
static long long mark_of(const char *path)
{
    long long step = 0;
    if (!exists(path))
        return 0;
    hid_t fapl = access_list(MPI_COMM_SELF);
    H5E_BEGIN_TRY
    {
        hid_t file = H5Fopen(path, H5F_ACC_RDONLY, fapl);
        if (file >= 0) {
            step = mark_in(file, path);
            H5Fclose(file);
        } else {
            check_storage(path);
        }
    }
    H5E_END_TRY
    H5Pclose(fapl);
    return step;
}

/* The last complete step, or 0. One rank looks for all. */
static long long last_complete(void)
{
    long long last = 0;
    for (int i = 0; rank == 0 && i < FILES; i++) {
        char path[1024];
        path_of(i, path, sizeof path);
        long long step = mark_of(path);
        if (step > last)
            last = step;
    }
    MPI_Bcast(&last, 1, MPI_LONG_LONG, 0, MPI_COMM_WORLD);
    return last;
}

static void load(struct block *block, long long step)
{
    char path[1024];
    hid_t fapl = access_list(MPI_COMM_WORLD);
    path_of((int)(step % FILES), path, sizeof path);
    say("restart: step", step, path);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, fapl);
    check(file >= 0, "H5Fopen");
    hid_t data = H5Dopen2(file, "field", H5P_DEFAULT);
    check(data >= 0, "H5Dopen2");
    transfer(data, block, false);
    H5Dclose(data);
    check(H5Fclose(file) >= 0, "H5Fclose");
    H5Pclose(fapl);
}

/* ---- the program ------------------------------------------------------------------ */

/* Whether all values of all ranks are those of the step. */
static bool verify(struct block *block, long long step)
{
    long long wrong = for_all(block, step, is_same);
    MPI_Allreduce(MPI_IN_PLACE, &wrong, 1, MPI_LONG_LONG, MPI_SUM, MPI_COMM_WORLD);
    if (wrong > 0)
        say("WRONG: values", wrong, "not those of the step that the file is marked with");
    else
        say("verified: step", step, "every value is right");
    return wrong == 0;
}

static int run(void)
{
    struct block block;
    make_block(&block);
    long long step = last_complete();
    bool is_right = true;
    if (step > 0) {
        load(&block, step);
        is_right = verify(&block, step);
    } else {
        for_all(&block, 0, set);
        say("restart: step", 0, "no step is complete, beginning anew");
    }
    long long last = options.verify_only || !is_right ? step : step + options.steps;
    while (step < last) {
        advance(&block);
        save(&block, ++step);
    }
    free(block.values);
    return !is_right;
}

static bool is_number(const char *text, long long least, long long *number)
{
    char *end;
    *number = strtoll(text, &end, 10);
    return end != text && *end == '\0' && *number >= least && *number <= 1000000000;
}

/* 0, or the exit status plus 1. */
static int parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"steps", required_argument, NULL, 's'},
        {"size", required_argument, NULL, 'n'},
        {"pause", required_argument, NULL, 'p'},
        {"driver", required_argument, NULL, 'd'},
        {"verify", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    long long number = 0;
    bool is_right = true;
    for (int c; is_right && (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 's':
            is_right = is_number(optarg, 0, &options.steps);
            break;
        case 'n':
            is_right = is_number(optarg, 1, &number) && number <= 100000;
            options.size = (hsize_t)number;
            break;
        case 'p':
            is_right = is_number(optarg, 0, &number);
            options.pause_ms = (long)number;
            break;
        case 'd':
            options.driver = optarg;
            is_right =
                strcmp(optarg, "mpio") == 0 || (H5_VERSION_GE(1, 14, 0) && strcmp(optarg, "weft") == 0);
            break;
        case 'v':
            options.verify_only = true;
            break;
        case 'h':
            if (rank == 0)
                usage(stdout);
            return 1;
        default:
            is_right = false;
        }
    }
    if (is_right && optind == argc - 1) {
        options.name = argv[optind];
        return 0;
    }
    if (rank == 0)
        usage(stderr);
    return 3;
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    int status = parse(argc, argv);
    status = status > 0 ? status - 1 : run();
    MPI_Finalize();
    return status;
}
