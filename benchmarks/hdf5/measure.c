/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure.c: one kernel on one target: written, read by other ranks in a fresh open, compared.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"
#include "common/counts.h"
#include "common/file.h"
#include "common/memory.h"
#include "common/phase.h"
#include "common/program.h"

static const char *const direction_names[DIRECTION_COUNT] = {"write", "read", "read-all"};

int64_t must(int64_t result, const struct run *run, const char *what)
{
    if (result < 0) /* HDF5 has printed its stack of errors */
        program_die("kernel %s on %s: %s %s failed", run->kernel->name, run->target->label, what, run->file);
    return result;
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
    if (file_is_on_weft(run->target->folder))
        printf(",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64,
               after->requests - before->requests, after->store - before->store, after->other - before->other,
               after->metadata - before->metadata, after->wire_bytes - before->wire_bytes);
    else
        printf(",,,,,");
    printf(",%.6f,%s\n", times->cpu, run->io_mode);
    fflush(stdout);
}

/* ---- one phase -------------------------------------------------------- */

static int phase_counted(struct run *run, enum direction direction, void *memory, size_t bytes)
{
    struct counts before = {0}, after = {0};
    struct times times = {0};
    run->calls = 0;
    run->io_mode = "";
    if (file_is_on_weft(run->target->folder) && counts_ask(&before) < 0)
        return -1;
    double cpu = phase_cpu_begin();
    if (direction == DIRECTION_WRITE)
        run->kernel->method->write(run, memory, &times);
    else
        run->kernel->method->read(run, direction, memory, &times);
    times.cpu = phase_cpu_end(cpu);
    if (file_is_on_weft(run->target->folder) && counts_ask(&after) < 0)
        return -1;
    if (!run->is_silent)
        line(run, direction, (int64_t)bytes, &times, &before, &after);
    return 0;
}

static int phase(struct run *run, enum direction direction)
{
    const struct method *method = run->kernel->method;
    size_t bytes = method->bytes(run, direction);
    void *memory = memory_make(bytes);
    if (direction == DIRECTION_WRITE)
        method->fill(run, memory);
    int result = phase_counted(run, direction, memory, bytes);
    int64_t wrong = result < 0 || direction == DIRECTION_WRITE ? 0 : method->check(run, direction, memory);
    if (wrong > 0) {
        program_tell("kernel %s on %s: %" PRId64 " wrong values", run->kernel->name, run->target->label,
                     wrong);
        result = -1;
    }
    free(memory);
    return program_all_well(result);
}

/* ---- one run ---------------------------------------------------------- */

static int measure(const struct options *options, const struct kernel *kernel, const struct target *target,
                   bool is_silent)
{
    static uint64_t serial;
    struct run run = {.options = options, .kernel = kernel, .target = target, .is_silent = is_silent};
    run.seed = options->common.seed ^ ++serial << 40;
    MPI_Comm_rank(MPI_COMM_WORLD, &run.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &run.ranks);
    snprintf(run.file, sizeof run.file, "%s/%s-%s.h5", target->folder, kernel->name, target->label);

    lists_make(&run);
    int result = phase(&run, DIRECTION_WRITE);
    if (result == 0)
        result = phase(&run, DIRECTION_READ);
    if (result == 0 && kernel->method->has_read_all)
        result = phase(&run, DIRECTION_READ_ALL);
    file_remove(run.file, MPI_INFO_NULL);
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
