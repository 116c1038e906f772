/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure.c: one kernel on one target: written, read by other ranks in a fresh open, compared.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench.h"

static const char *const direction_names[DIRECTION_COUNT] = {"write", "read", "read-all"};

int64_t must(int64_t result, const struct run *run, const char *what)
{
    if (result >= 0)
        return result;
    /* HDF5 has printed its stack of errors. */
    fprintf(stderr, "hdf5: rank %d, kernel %s on %s: %s %s failed\n", run->rank, run->kernel->name,
            run->target->label, what, run->file);
    MPI_Abort(MPI_COMM_WORLD, 1);
    return -1;
}

static void must_mpi(int code, const struct run *run, const char *what)
{
    must(code == MPI_SUCCESS ? 0 : -1, run, what);
}

double phase_begin(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
    return MPI_Wtime();
}

double phase_end(double start)
{
    double mine = MPI_Wtime() - start, most;
    MPI_Allreduce(&mine, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return most;
}

static double cpu_used(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static int all_well(int result)
{
    int worst;
    MPI_Allreduce(&result, &worst, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    return worst;
}

static bool is_on_weft(const struct target *target)
{
    return strncmp(target->folder, "weft:", 5) == 0;
}

/* ---- property lists ----------------------------------------------------- */

static void lists_make(struct run *run)
{
    const struct target *target = run->target;
    run->access = must(H5Pcreate(H5P_FILE_ACCESS), run, "making properties for");
    if (target->driver == DRIVER_MPIO) {
        must(H5Pset_fapl_mpio(run->access, MPI_COMM_WORLD, MPI_INFO_NULL), run, "choosing the driver for");
    } else {
        must(H5Pset_mpi_params(run->access, MPI_COMM_WORLD, MPI_INFO_NULL), run, "naming the ranks of");
        must(H5Pset_driver_by_name(run->access, "weft", target->config[0] ? target->config : NULL), run,
             "choosing the driver for");
    }
    if (target->collective_metadata)
        must(H5Pset_coll_metadata_write(run->access, true), run, "setting collective metadata for");
    run->transfer = must(H5Pcreate(H5P_DATASET_XFER), run, "making properties for");
    must(H5Pset_dxpl_mpio(run->transfer,
                          run->kernel->method->is_collective ? H5FD_MPIO_COLLECTIVE : H5FD_MPIO_INDEPENDENT),
         run, "choosing the transfer for");
}

static void lists_free(struct run *run)
{
    must(H5Pclose(run->transfer), run, "closing properties for");
    must(H5Pclose(run->access), run, "closing properties for");
}

/* ---- lines ------------------------------------------------------------ */

void measure_header(void)
{
    puts(
        "kernel,target,direction,ranks,bytes,items,calls,open_s,define_s,transfer_s,flush_s,close_s,requests,"
        "store_operations,other_requests,metadata_requests,wire_bytes,ranks_cpu_s,io_mode");
}

static void line(const struct run *run, enum direction direction, int64_t mine, const struct times *times,
                 const struct counts *before, const struct counts *after)
{
    int64_t bytes = 0, calls = 0;
    MPI_Reduce(&mine, &bytes, 1, MPI_INT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
    MPI_Reduce(&run->calls, &calls, 1, MPI_INT64_T, MPI_MAX, 0, MPI_COMM_WORLD);
    if (run->rank != 0)
        return;
    printf("%s,%s,%s,%d,%" PRId64 ",%" PRId64 ",%" PRId64 ",%.6f,%.6f,%.6f,%.6f,%.6f", run->kernel->name,
           run->target->label, direction_names[direction], run->ranks, bytes, run->kernel->method->items(run),
           calls, times->open, times->define, times->transfer, times->flush, times->close);
    if (is_on_weft(run->target))
        printf(",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64,
               after->requests - before->requests, after->store - before->store, after->other - before->other,
               after->metadata - before->metadata, after->wire_bytes - before->wire_bytes);
    else
        printf(",,,,,");
    printf(",%.6f,%s\n", times->cpu, run->io_mode);
    fflush(stdout);
}

/* ---- one phase -------------------------------------------------------- */

/* Lets the kernel write the memory. In some virtual machines its first access to a page costs microseconds,
 * even to one that the program has written before. */
static void touch_by_kernel(char *memory, size_t bytes)
{
    int zeros = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    for (ssize_t got = 1; zeros >= 0 && bytes > 0 && got > 0; memory += got, bytes -= (size_t)got)
        got = read(zeros, memory, bytes);
    if (zeros >= 0)
        close(zeros);
}

/* Fresh pages are the kernel's affair, and not to be found in what is timed. */
static void *memory_make(const struct run *run, size_t bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, 4096, bytes + 1)) {
        fprintf(stderr, "hdf5: rank %d: out of memory for %zu bytes\n", run->rank, bytes);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    touch_by_kernel(memory, bytes + 1);
    memset(memory, 0xee, bytes + 1);
    return memory;
}

static int phase_counted(struct run *run, enum direction direction, void *memory, size_t bytes)
{
    struct counts before = {0}, after = {0};
    struct times times = {0};
    run->calls = 0;
    run->io_mode = "";
    if (is_on_weft(run->target) && all_well(counts_ask(&before)) < 0)
        return -1;
    double cpu = cpu_used();
    if (direction == DIRECTION_WRITE)
        run->kernel->method->write(run, memory, &times);
    else
        run->kernel->method->read(run, direction, memory, &times);
    cpu = cpu_used() - cpu;
    MPI_Allreduce(&cpu, &times.cpu, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    if (is_on_weft(run->target) && all_well(counts_ask(&after)) < 0)
        return -1;
    if (!run->is_silent)
        line(run, direction, (int64_t)bytes, &times, &before, &after);
    return 0;
}

static int phase(struct run *run, enum direction direction)
{
    const struct method *method = run->kernel->method;
    size_t bytes = method->bytes(run, direction);
    void *memory = memory_make(run, bytes);
    if (direction == DIRECTION_WRITE)
        method->fill(run, memory);
    int result = phase_counted(run, direction, memory, bytes);
    int64_t wrong = result < 0 || direction == DIRECTION_WRITE ? 0 : method->check(run, direction, memory);
    if (wrong > 0) {
        fprintf(stderr, "hdf5: rank %d, kernel %s on %s: %" PRId64 " wrong values\n", run->rank,
                run->kernel->name, run->target->label, wrong);
        result = -1;
    }
    free(memory);
    return all_well(result);
}

/* ---- one run ---------------------------------------------------------- */

/* The size goes first, so that the space is given back now and not during the next run. */
static void remove_file(const struct run *run)
{
    MPI_File file;
    if (run->rank == 0) {
        must_mpi(MPI_File_open(MPI_COMM_SELF, run->file, MPI_MODE_RDWR, MPI_INFO_NULL, &file), run,
                 "opening");
        must_mpi(MPI_File_set_size(file, 0), run, "emptying");
        must_mpi(MPI_File_close(&file), run, "closing");
        must_mpi(MPI_File_delete(run->file, MPI_INFO_NULL), run, "removing");
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static int measure(const struct options *options, const struct kernel *kernel, const struct target *target,
                   bool is_silent)
{
    static uint64_t serial;
    struct run run = {.options = options, .kernel = kernel, .target = target, .is_silent = is_silent};
    run.seed = options->seed ^ ++serial << 40;
    MPI_Comm_rank(MPI_COMM_WORLD, &run.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &run.ranks);
    snprintf(run.file, sizeof run.file, "%s/%s-%s.h5", target->folder, kernel->name, target->label);

    lists_make(&run);
    int result = phase(&run, DIRECTION_WRITE);
    if (result == 0)
        result = phase(&run, DIRECTION_READ);
    if (result == 0 && kernel->method->has_read_all)
        result = phase(&run, DIRECTION_READ_ALL);
    remove_file(&run);
    lists_free(&run);
    return result;
}

int measure_kernel(const struct options *options, const struct kernel *kernel, const struct target *target)
{
    return measure(options, kernel, target, false);
}

int measure_warm_up(const struct options *options, const struct kernel *kernel, const struct target *target)
{
    return measure(options, kernel, target, true);
}
