/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure.c: one pattern on one target: written, read by other ranks, compared.
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

#define FILE_BYTES 1280

/* What is the same in both phases. */
struct run {
    const struct options *options;
    const struct pattern *pattern;
    const struct target *target;
    char file[FILE_BYTES];
    MPI_Info info;
    bool on_weft;
    int rank, ranks;
    uint64_t seed; /* of the bytes, another one for each run */
};

struct times {
    double open, transfer, close;
    double cpu; /* of all ranks, during the transfer */
};

static void part_make(const struct run *run, int rank, struct part *part)
{
    const struct options *options = run->options;
    struct shape shape = {
        .ranks = run->ranks,
        .bytes = options->bytes / run->pattern->volume_divisor,
        .call_bytes = options->call_bytes,
        .seed = options->common.seed,
    };
    part_init(part);
    run->pattern->make(run->pattern, &shape, rank, part);
}

/* ---- one phase -------------------------------------------------------- */

static void transfer_call(const struct run *run, MPI_File file, const struct part *part, bool write,
                          size_t index, char *memory)
{
    struct call call = index < part->call_count ? part->calls[index] : (struct call){0};
    MPI_Datatype type = part->etype == MPI_DATATYPE_NULL ? MPI_BYTE : part->etype;
    MPI_Status status;
    int code, size, got;
    MPI_Type_size(type, &size);
    int count = (int)(call.bytes / size);
    if (run->target->collective)
        code = write ? MPI_File_write_at_all(file, call.offset, memory, count, type, &status)
                     : MPI_File_read_at_all(file, call.offset, memory, count, type, &status);
    else
        code = write ? MPI_File_write_at(file, call.offset, memory, count, type, &status)
                     : MPI_File_read_at(file, call.offset, memory, count, type, &status);
    file_must(code, run->file, write ? "writing" : "reading");
    MPI_Get_count(&status, type, &got);
    /* Stock ROMIO's two-phase code tells a rank that has nothing how much others had. */
    if (got != count && count > 0)
        program_die("pattern %s on %s: a call %s %d elements, not %d", run->pattern->name, run->target->label,
                    write ? "wrote" : "read", got, count);
}

/* Ranks with fewer calls take part in collective ones with nothing. */
static size_t calls_in_all(const struct run *run, const struct part *part)
{
    uint64_t mine = part->call_count, most = 0;
    MPI_Allreduce(&mine, &most, 1, MPI_UINT64_T, MPI_MAX, MPI_COMM_WORLD);
    return run->target->collective ? (size_t)most : part->call_count;
}

static struct times phase(const struct run *run, const struct part *part, bool write, char *memory)
{
    struct times times;
    MPI_File file;
    int mode = write ? MPI_MODE_CREATE | MPI_MODE_RDWR : MPI_MODE_RDONLY;
    size_t calls = calls_in_all(run, part);

    double start = phase_begin();
    file_must(MPI_File_open(MPI_COMM_WORLD, run->file, mode, run->info, &file), run->file, "opening");
    times.open = phase_end(start);
    if (part->etype != MPI_DATATYPE_NULL)
        file_must(
            MPI_File_set_view(file, part->displacement, part->etype, part->filetype, "native", MPI_INFO_NULL),
            run->file, "setting the view of");

    start = phase_begin();
    double cpu = phase_cpu_begin();
    for (size_t i = 0; i < calls; i++) {
        transfer_call(run, file, part, write, i, memory);
        memory += i < part->call_count ? part->calls[i].bytes : 0;
    }
    times.transfer = phase_end(start);
    times.cpu = phase_cpu_end(cpu);

    start = phase_begin();
    file_must(MPI_File_close(&file), run->file, "closing");
    times.close = phase_end(start);
    return times;
}

/* ---- lines ------------------------------------------------------------ */

void measure_header(void)
{
    puts("pattern,target,direction,ranks,bytes,calls,open_s,transfer_s,close_s,requests,store_operations,"
         "wire_bytes,ranks_cpu_s");
}

static void line(const struct run *run, const struct part *part, bool write, const struct times *times,
                 const struct counts *before, const struct counts *after)
{
    int64_t bytes = 0, calls = 0, mine = (int64_t)part->call_count;
    MPI_Reduce(&part->bytes, &bytes, 1, MPI_INT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
    MPI_Reduce(&mine, &calls, 1, MPI_INT64_T, MPI_MAX, 0, MPI_COMM_WORLD);
    if (run->rank != 0)
        return;
    printf("%s,%s,%s,%d,%" PRId64 ",%" PRId64 ",%.6f,%.6f,%.6f", run->pattern->name, run->target->label,
           write ? "write" : "read", run->ranks, bytes, calls, times->open, times->transfer, times->close);
    if (run->on_weft)
        printf(",%" PRId64 ",%" PRId64 ",%" PRId64, after->requests - before->requests,
               after->store - before->store, after->wire_bytes - before->wire_bytes);
    else
        printf(",,,");
    printf(",%.6f\n", times->cpu);
    fflush(stdout);
}

/* ---- one run ---------------------------------------------------------- */

static int phase_counted(const struct run *run, const struct part *part, bool write, char *memory)
{
    struct counts before = {0}, after = {0};
    if (run->on_weft && counts_ask(&before) < 0)
        return -1;
    struct times times = phase(run, part, write, memory);
    if (run->on_weft && counts_ask(&after) < 0)
        return -1;
    line(run, part, write, &times, &before, &after);
    return 0;
}

static int write_part(const struct run *run)
{
    struct part part;
    part_make(run, run->rank, &part);
    char *memory = memory_make((size_t)part.bytes);
    part_fill(&part, run->seed, memory);
    int result = phase_counted(run, &part, true, memory);
    free(memory);
    part_free(&part);
    return result;
}

static int read_part(const struct run *run)
{
    struct part part;
    int64_t first;
    part_make(run, (run->rank + 1) % run->ranks, &part);
    char *memory = memory_make((size_t)part.bytes);
    int result = phase_counted(run, &part, false, memory);
    int64_t wrong = result < 0 ? 0 : part_check(&part, run->seed, memory, &first);
    if (wrong > 0) {
        program_tell("pattern %s on %s: %" PRId64 " wrong bytes, first at %" PRId64, run->pattern->name,
                     run->target->label, wrong, first);
        result = -1;
    }
    free(memory);
    part_free(&part);
    return program_all_well(result);
}

static MPI_Info info_make(const struct pattern *pattern, const struct target *target)
{
    MPI_Info info;
    char number[32];
    MPI_Info_create(&info);
    for (unsigned i = 0; i < target->hint_count; i++)
        MPI_Info_set(info, target->keys[i], target->values[i]);
    if (pattern->chunk_size) {
        snprintf(number, sizeof number, "%" PRId64, pattern->chunk_size);
        MPI_Info_set(info, "striping_unit", number);
    }
    return info;
}

int measure_pattern(const struct options *options, const struct pattern *pattern, const struct target *target)
{
    static uint64_t serial;
    struct run run = {
        .options = options,
        .pattern = pattern,
        .target = target,
        .on_weft = file_is_on_weft(target->folder),
        .info = info_make(pattern, target),
    };
    run.seed = options->common.seed ^ ++serial << 40;
    MPI_Comm_rank(MPI_COMM_WORLD, &run.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &run.ranks);
    snprintf(run.file, sizeof run.file, "%s/%s-%s", target->folder, pattern->name, target->label);

    int result = write_part(&run);
    if (result == 0)
        result = read_part(&run);
    file_remove(run.file, run.info);
    MPI_Info_free(&run.info);
    return result;
}
