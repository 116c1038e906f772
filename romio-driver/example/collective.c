/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collective.c: an MPI program as users write them, and nothing of Weft in it.
 *
 * Every rank owns each n-th record of one shared file, an interleaved view. All
 * write together, then each reads what its neighbour wrote and compares every
 * byte with what belongs at that place in the file. Only the path tells MPI to
 * go to Weft:
 *
 *   mpicc -O2 collective.c -o collective
 *   mpirun -n 4 ./collective weft:/demo
 */
#include <getopt.h>
#include <mpi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct options {
    const char *path;
    long long total_bytes;
    int record_bytes;
    int records_per_call;
    bool keep;
    MPI_Info hints;
};

/* What one rank does, and with what. */
struct job {
    struct options options;
    int rank;
    int ranks;
    long long records; /* of each rank */
    MPI_File file;
    MPI_Datatype record;
    unsigned char *buffer;
};

static void usage(FILE *to)
{
    fputs("usage: mpirun -n RANKS collective [options] PATH\n"
          "\n"
          "Writes one shared file with MPI_File_write_at_all over an interleaved view,\n"
          "reads it back on other ranks, and verifies every byte.\n"
          "\n"
          "  --size MIB        size of the file in MiB (default: 100)\n"
          "  --record BYTES    size of a record, the unit of interleaving (default: 47008)\n"
          "  --batch N         records that a rank writes in one call (default: 64)\n"
          "  --hint KEY=VALUE  an MPI-IO hint; may be given several times\n"
          "  --delete          delete the file in the end (default: keep it)\n"
          "  --help            this text\n"
          "\n"
          "Exit status: 0 all bytes are right, 1 not so or an error, 2 wrong usage.\n",
          to);
}

/* ---- errors ----------------------------------------------------------- */

static void say(int code, const char *what)
{
    char text[MPI_MAX_ERROR_STRING];
    int length, rank;
    MPI_Error_string(code, text, &length);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    fprintf(stderr, "collective: rank %d: %s: %s\n", rank, what, text);
}

/* Files return errors, where other calls of MPI end the program. */
static void check(int code, const char *what)
{
    if (code == MPI_SUCCESS)
        return;
    say(code, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* ---- the bytes -------------------------------------------------------- */

/* The eight bytes at file offset 8 * `index`: they depend on the place alone,
 * and no two places are likely to have the same. */
static uint64_t word_at(uint64_t index)
{
    uint64_t word = index * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
    word = (word ^ (word >> 31)) * 0xbf58476d1ce4e5b9u;
    return word ^ (word >> 29);
}

static unsigned char byte_at(uint64_t offset)
{
    return (unsigned char)(word_at(offset / 8) >> 8 * (offset % 8));
}

static void fill(unsigned char *bytes, size_t length, uint64_t offset)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = byte_at(offset + i);
}

/* The first wrong byte, or -1. */
static long long first_wrong(const unsigned char *bytes, size_t length, uint64_t offset)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != byte_at(offset + i))
            return (long long)i;
    return -1;
}

/* ---- the work --------------------------------------------------------- */

static uint64_t record_offset(const struct job *job, int owner, long long record)
{
    return (uint64_t)(record * job->ranks + owner) * (uint64_t)job->options.record_bytes;
}

/* Shows this rank the records of `owner`, and no others. */
static void set_view(struct job *job, int owner)
{
    MPI_Datatype view;
    MPI_Aint stride = (MPI_Aint)job->options.record_bytes * job->ranks;
    MPI_Type_create_resized(job->record, 0, stride, &view);
    MPI_Type_commit(&view);
    MPI_Offset start = (MPI_Offset)owner * job->options.record_bytes;
    check(MPI_File_set_view(job->file, start, job->record, view, "native", MPI_INFO_NULL),
          "MPI_File_set_view");
    MPI_Type_free(&view);
}

static int batch_at(const struct job *job, long long done)
{
    long long left = job->records - done;
    return (int)(left < job->options.records_per_call ? left : job->options.records_per_call);
}

/* The seconds that the calls of MPI-IO took, on the slowest rank. */
static double slowest(double seconds)
{
    double most;
    MPI_Allreduce(&seconds, &most, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return most;
}

static double write_all(struct job *job)
{
    size_t bytes = (size_t)job->options.record_bytes;
    double seconds = 0;
    set_view(job, job->rank);
    for (long long done = 0; done < job->records;) {
        int count = batch_at(job, done);
        for (int i = 0; i < count; i++)
            fill(job->buffer + (size_t)i * bytes, bytes, record_offset(job, job->rank, done + i));
        MPI_Barrier(MPI_COMM_WORLD);
        double start = MPI_Wtime();
        check(MPI_File_write_at_all(job->file, done, job->buffer, count, job->record, MPI_STATUS_IGNORE),
              "MPI_File_write_at_all");
        seconds += MPI_Wtime() - start;
        done += count;
    }
    return slowest(seconds);
}

/* Reads what the next rank wrote. *wrong is the offset of the first wrong byte
 * that any rank found, or -1. */
static double read_and_verify(struct job *job, long long *wrong)
{
    size_t bytes = (size_t)job->options.record_bytes;
    int owner = (job->rank + 1) % job->ranks;
    long long mine = INT64_MAX;
    double seconds = 0;
    set_view(job, owner);
    for (long long done = 0; done < job->records;) {
        int count = batch_at(job, done);
        memset(job->buffer, 0, (size_t)count * bytes);
        MPI_Barrier(MPI_COMM_WORLD);
        double start = MPI_Wtime();
        check(MPI_File_read_at_all(job->file, done, job->buffer, count, job->record, MPI_STATUS_IGNORE),
              "MPI_File_read_at_all");
        seconds += MPI_Wtime() - start;
        for (int i = 0; i < count; i++) {
            uint64_t offset = record_offset(job, owner, done + i);
            long long at = first_wrong(job->buffer + (size_t)i * bytes, bytes, offset);
            if (at >= 0 && (long long)offset + at < mine)
                mine = (long long)offset + at;
        }
        done += count;
    }
    MPI_Allreduce(&mine, wrong, 1, MPI_LONG_LONG, MPI_MIN, MPI_COMM_WORLD);
    if (*wrong == INT64_MAX)
        *wrong = -1;
    return slowest(seconds);
}

static void print_hints(MPI_File file)
{
    MPI_Info info;
    int count;
    check(MPI_File_get_info(file, &info), "MPI_File_get_info");
    MPI_Info_get_nkeys(info, &count);
    puts("hints in effect:");
    for (int i = 0; i < count; i++) {
        char key[MPI_MAX_INFO_KEY + 1], value[MPI_MAX_INFO_VAL + 1];
        int found;
        MPI_Info_get_nthkey(info, i, key);
        MPI_Info_get(info, key, MPI_MAX_INFO_VAL, value, &found);
        if (found)
            printf("  %-24s %s\n", key, value);
    }
    MPI_Info_free(&info);
}

/* ---- the program ------------------------------------------------------ */

static bool add_hint(MPI_Info hints, const char *text)
{
    char key[MPI_MAX_INFO_KEY + 1];
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || equals - text > MPI_MAX_INFO_KEY)
        return false;
    memcpy(key, text, (size_t)(equals - text));
    key[equals - text] = '\0';
    return MPI_Info_set(hints, key, equals + 1) == MPI_SUCCESS;
}

/* 0 when the text is no number from 1 to `most`. */
static long long number(const char *text, long long most)
{
    char *end;
    long long value = strtoll(text, &end, 10);
    return *end == '\0' && value > 0 && value <= most ? value : 0;
}

/* 0 and options, or an exit status + 1. */
static int parse(int argc, char **argv, int rank, struct options *options)
{
    static const struct option names[] = {
        {"size", required_argument, NULL, 's'},
        {"record", required_argument, NULL, 'r'},
        {"batch", required_argument, NULL, 'b'},
        {"hint", required_argument, NULL, 'h'},
        {"delete", no_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'H'},
        {NULL, 0, NULL, 0},
    };
    *options = (struct options){
        .total_bytes = 100 << 20, .record_bytes = 47008, .records_per_call = 64, .keep = true};
    MPI_Info_create(&options->hints);
    opterr = rank == 0;
    bool good = true;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case 's':
            options->total_bytes = number(optarg, INT32_MAX) << 20;
            break;
        case 'r':
            options->record_bytes = (int)number(optarg, INT32_MAX);
            break;
        case 'b':
            options->records_per_call = (int)number(optarg, INT32_MAX);
            break;
        case 'h':
            good = good && add_hint(options->hints, optarg);
            break;
        case 'd':
            options->keep = false;
            break;
        case 'H':
            if (rank == 0)
                usage(stdout);
            return 1;
        default:
            good = false;
            break;
        }
    }
    good = good && optind == argc - 1 && options->total_bytes > 0 && options->record_bytes > 0 &&
           options->records_per_call > 0;
    if (good) {
        options->path = argv[optind];
        return 0;
    }
    if (rank == 0)
        usage(stderr);
    return 3;
}

static bool run(struct job *job)
{
    struct options *options = &job->options;
    long long wrong;
    job->records = options->total_bytes / ((long long)options->record_bytes * job->ranks);
    if (job->records == 0)
        job->records = 1;
    double mib = (double)job->records * job->ranks * options->record_bytes / (1 << 20);
    job->buffer = malloc((size_t)options->record_bytes * (size_t)options->records_per_call);
    if (job->buffer == NULL)
        check(MPI_ERR_NO_MEM, "a buffer for one call");
    MPI_Type_contiguous(options->record_bytes, MPI_BYTE, &job->record);
    MPI_Type_commit(&job->record);

    int mode = MPI_MODE_CREATE | MPI_MODE_RDWR;
    int code = MPI_File_open(MPI_COMM_WORLD, options->path, mode, options->hints, &job->file);
    if (code != MPI_SUCCESS) { /* the same on every rank */
        if (job->rank == 0)
            say(code, "MPI_File_open");
        return false;
    }
    check(MPI_File_set_size(job->file, 0), "MPI_File_set_size");
    double write_seconds = write_all(job);
    double start = MPI_Wtime();
    check(MPI_File_sync(job->file), "MPI_File_sync");
    double sync_seconds = slowest(MPI_Wtime() - start);
    double read_seconds = read_and_verify(job, &wrong);

    if (job->rank == 0) {
        printf("%d ranks, %.1f MiB in records of %d bytes, in turns: %s\n", job->ranks, mib,
               options->record_bytes, options->path);
        printf("  written  %8.1f MiB/s   (durable after another %.3f s)\n", mib / write_seconds,
               sync_seconds);
        printf("  read     %8.1f MiB/s   (each rank what the next one wrote)\n", mib / read_seconds);
        print_hints(job->file);
        if (wrong >= 0)
            printf("WRONG: the first wrong byte is at offset %lld\n", wrong);
        else
            puts("verified: every byte is right");
    }
    check(MPI_File_close(&job->file), "MPI_File_close");
    if (!options->keep && job->rank == 0)
        check(MPI_File_delete(options->path, MPI_INFO_NULL), "MPI_File_delete");
    MPI_Type_free(&job->record);
    free(job->buffer);
    return wrong < 0;
}

int main(int argc, char **argv)
{
    struct job job = {0};
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &job.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &job.ranks);
    int outcome = parse(argc, argv, job.rank, &job.options);
    int status = outcome > 0 ? outcome - 1 : !run(&job);
    MPI_Info_free(&job.options.hints);
    MPI_Finalize();
    return status;
}
