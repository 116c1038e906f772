/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.c: what the chunk store gives alone, without network and threads, beside a plain
 * file with the same pattern in the same directory. Each phase ends with the data
 * durable: a commit of the one, fdatasync of the other. CPU time is of the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "conf.h"
#include "err.h"
#include "layout.h"
#include "storage/chunks/cs_store.h"
#include "storage/chunks/cs_whole.h"

enum { RECORD = 47008, STREAMS = 8 };

static const struct layout layout = {.chunk_size = 1 << 20, .seed = 1, .stripe_count = 1, .group_count = 1};
static const struct cs_name object = {.ino = 1};

struct options {
    const char *dir;
    uint64_t describe;
    uint64_t bytes;
    uint64_t commit_bytes;
    unsigned rounds;
    bool direct;
    const char *only; /* in a pattern's name; NULL: all */
};

/* One access after the other. */
struct pattern {
    const char *name;
    bool read;
    uint64_t length;
    enum { IN_ORDER, AT_RANDOM, INTERLEAVED } order;
};

static const struct pattern patterns[] = {
    {"write 1 MiB in order", false, 1 << 20, IN_ORDER},
    {"write 47,008 B, 8 streams", false, RECORD, INTERLEAVED},
    {"read 1 MiB in order", true, 1 << 20, IN_ORDER},
    {"read 47,008 B, 8 streams", true, RECORD, INTERLEAVED},
    {"write 4 KiB at random", false, 4096, AT_RANDOM},
    {"read 4 KiB at random", true, 4096, AT_RANDOM},
};

enum { PATTERNS = sizeof patterns / sizeof patterns[0] };

static uint8_t *buffer;

static void must(int error)
{
    if (error >= 0)
        return;
    fprintf(stderr, "store: %s\n", err_text());
    exit(1);
}

static double seconds(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Where access n of the pattern is. Streams are a quarter of a chunk's records apart, so that neighbours
 * in the file are not neighbours in time, as with the ranks of a job. */
static uint64_t offset_of(const struct pattern *pattern, uint64_t n, uint64_t count)
{
    if (pattern->order == AT_RANDOM)
        return layout_hash(n) % count * pattern->length;
    if (pattern->order == INTERLEAVED) {
        const uint64_t share = count / STREAMS;
        return (share ? n % STREAMS * share + n / STREAMS % share : n) * pattern->length;
    }
    return n * pattern->length;
}

/* ---- the two of them ----------------------------------------------------- */

struct side {
    struct cs_store *store; /* NULL: a plain file */
    int fd;
};

static void access_one(const struct side *side, const struct pattern *pattern, uint64_t offset)
{
    struct iovec iov = {buffer, pattern->length};
    size_t count;
    if (side->store && pattern->read) {
        must(cs_read(side->store, object, &layout, offset, buffer, pattern->length, &count, NULL));
    } else if (side->store) {
        must(cs_write(side->store, object, &layout, offset, &iov, 1, NULL));
    } else {
        ssize_t done = pattern->read ? pread(side->fd, buffer, pattern->length, (off_t)offset)
                                     : pwrite(side->fd, buffer, pattern->length, (off_t)offset);
        if (done < 0)
            must(err_sys("%s", pattern->name));
    }
}

static void make_durable(const struct side *side)
{
    if (side->store)
        must(cs_commit(side->store));
    else if (fdatasync(side->fd))
        must(err_sys("fdatasync"));
}

/* What one run gave. */
struct result {
    double rate; /* MiB/s */
    double cpu;  /* s, of the process for one access */
};

static struct result run(const struct options *options, const struct side *side,
                         const struct pattern *pattern)
{
    const uint64_t count = options->bytes / pattern->length;
    uint64_t since = 0;
    const double begin = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (uint64_t n = 0; n < count; n++) {
        access_one(side, pattern, offset_of(pattern, n, count));
        since += pattern->length;
        if (!pattern->read && since >= options->commit_bytes) {
            make_durable(side);
            since = 0;
        }
        if (side->store)
            cs_pages_trim(&side->store->pages);
    }
    if (!pattern->read)
        make_durable(side);
    const double took = seconds(CLOCK_MONOTONIC) - begin, used = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    return (struct result){.rate = (double)(count * pattern->length) / (1 << 20) / took,
                           .cpu = used / (double)count};
}

static int by_rate(const void *a, const void *b)
{
    const double first = ((const struct result *)a)->rate, second = ((const struct result *)b)->rate;
    return (first > second) - (first < second);
}

static struct result median(struct result *results, unsigned count)
{
    qsort(results, count, sizeof *results, by_rate);
    return results[count / 2];
}

/* Both take turns, as a shared machine's speed drifts. */
static void compare(const struct options *options, const struct side sides[2], struct result *results[][2])
{
    for (unsigned round = 0; round < options->rounds; round++)
        for (size_t i = 0; i < PATTERNS; i++)
            for (int side = 0; side < 2; side++)
                if (results[i][side])
                    results[i][side][round] = run(options, &sides[side], &patterns[i]);
}

static void print_results(const struct options *options, struct result *results[][2])
{
    double aligned = 0;
    printf("%-26s %16s %16s %7s %20s %9s\n", "medians", "plain, MiB/s", "chunks, MiB/s", "ratio",
           "us CPU of one", "to 1 MiB");
    for (size_t i = 0; i < PATTERNS; i++) {
        if (!results[i][0])
            continue;
        const struct result plain = median(results[i][0], options->rounds);
        const struct result chunks = median(results[i][1], options->rounds);
        if (patterns[i].order == IN_ORDER)
            aligned = chunks.rate;
        printf("%-26s %16.0f %16.0f %7.2f %9.2f %10.2f", patterns[i].name, plain.rate, chunks.rate,
               chunks.rate / plain.rate, plain.cpu * 1e6, chunks.cpu * 1e6);
        if (aligned > 0 && patterns[i].order == INTERLEAVED)
            printf(" %9.2f", chunks.rate / aligned);
        printf("\n");
    }
}

static void measure(const struct options *options)
{
    struct cs_io *io;
    struct side plain = {0}, chunks = {0};
    struct result *results[PATTERNS][2] = {{NULL}};
    char plain_path[4096];
    int dir_fd = open(options->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        must(err_sys("%s", options->dir));
    must(cs_io_files_open(dir_fd, options->dir, true, &io));
    if (options->direct) {
        must(io->type->direct(io));
        must(cs_whole_open(io, &io));
    }
    const struct cs_config config = {.io = io, .name = options->dir, .log = true};
    must(cs_format(&config));
    must(cs_open(&config, &chunks.store));
    snprintf(plain_path, sizeof plain_path, "%s/plain", options->dir);
    plain.fd = open(plain_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (plain.fd < 0 || posix_fallocate(plain.fd, 0, (off_t)options->bytes))
        must(err_sys("%s", plain_path));
    const struct side sides[2] = {plain, chunks};
    for (int side = 0; side < 2; side++)
        run(options, &sides[side], &patterns[0]); /* there is something to read and to write over */
    for (size_t i = 0; i < PATTERNS; i++)
        for (int side = 0; side < 2; side++)
            if (!options->only || strstr(patterns[i].name, options->only))
                results[i][side] = calloc(options->rounds, sizeof(struct result));
    compare(options, sides, results);
    print_results(options, results);
    for (size_t i = 0; i < PATTERNS; i++)
        for (int side = 0; side < 2; side++)
            free(results[i][side]);
    printf("pages read %" PRIu64 ", pages of metadata %" PRIu32 ", blocks of data %" PRIu32 "\n",
           chunks.store->pages.reads, chunks.store->pages.total - chunks.store->pages.free,
           chunks.store->space.blocks - chunks.store->space.free);
    cs_close(chunks.store);
    close(plain.fd);
    unlinkat(dir_fd, "plain", 0);
    unlinkat(dir_fd, "data", 0);
    unlinkat(dir_fd, "meta", 0);
    close(dir_fd);
}

/* ---- metadata without data ------------------------------------------------- */

/* Keeps of `data` only what was written last, for pieces that end within a block. */
enum { KEPT_BLOCKS = 1024 };

struct hollow {
    struct cs_io io;
    struct cs_io *files;
    uint64_t data_size;
    uint8_t kept[KEPT_BLOCKS][CS_BLOCK];
};

static int hollow_read(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count,
                       bool nowait)
{
    struct hollow *hollow = (struct hollow *)io;
    if (file == CS_META)
        return hollow->files->type->read(hollow->files, file, offset, iov, iov_count, nowait);
    for (int i = 0; i < iov_count; offset += iov[i++].iov_len)
        memcpy(iov[i].iov_base, hollow->kept[offset / CS_BLOCK % KEPT_BLOCKS], CS_BLOCK);
    return 0;
}

static int hollow_write(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov,
                        int iov_count)
{
    struct hollow *hollow = (struct hollow *)io;
    if (file == CS_META)
        return hollow->files->type->write(hollow->files, file, offset, iov, iov_count);
    for (int i = 0; i < iov_count; i++)
        for (size_t at = 0; at < iov[i].iov_len;) {
            const size_t room = CS_BLOCK - offset % CS_BLOCK, left = iov[i].iov_len - at;
            const size_t length = left < room ? left : room;
            memcpy(hollow->kept[offset / CS_BLOCK % KEPT_BLOCKS] + offset % CS_BLOCK,
                   (uint8_t *)iov[i].iov_base + at, length);
            at += length;
            offset += length;
        }
    return 0;
}

static int hollow_flush(struct cs_io *io, enum cs_file file)
{
    struct hollow *hollow = (struct hollow *)io;
    return hollow->files->type->flush(hollow->files, file);
}

static int hollow_grow(struct cs_io *io, enum cs_file file, uint64_t size)
{
    struct hollow *hollow = (struct hollow *)io;
    if (file == CS_META)
        return hollow->files->type->grow(hollow->files, file, size);
    hollow->data_size = size;
    return 0;
}

static int hollow_size(struct cs_io *io, enum cs_file file, uint64_t *size)
{
    struct hollow *hollow = (struct hollow *)io;
    *size = hollow->data_size;
    return file == CS_META ? hollow->files->type->size(hollow->files, file, size) : 0;
}

static void hollow_close(struct cs_io *io)
{
    (void)io;
}

static const struct cs_io_type hollow_type = {
    .read = hollow_read,
    .write = hollow_write,
    .flush = hollow_flush,
    .grow = hollow_grow,
    .size = hollow_size,
    .close = hollow_close,
};

static void describe(const struct options *options)
{
    static struct hollow hollow = {.io = {.type = &hollow_type}};
    struct cs_config config = {.io = &hollow.io, .name = options->dir};
    struct cs_store *store;
    struct rusage usage;
    uint64_t since = 0;
    int dir_fd = open(options->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0)
        must(err_sys("%s", options->dir));
    must(cs_io_files_open(dir_fd, options->dir, true, &hollow.files));
    must(cs_format(&config));
    must(cs_open(&config, &store));
    for (uint64_t offset = 0; offset < options->describe; offset += RECORD) {
        struct iovec iov = {buffer, RECORD};
        must(cs_write(store, object, &layout, offset, &iov, 1, NULL));
        since += RECORD;
        if (since < options->commit_bytes && !cs_wants_commit(store))
            continue;
        must(cs_commit(store));
        since = 0;
    }
    must(cs_commit(store));
    const uint32_t pages = store->pages.total - store->pages.free;
    cs_close(store);
    const double begin = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    must(cs_open(&config, &store));
    printf("%" PRIu64 " bytes of data in %" PRIu32
           " pages of metadata; mounted in %.2f s (%.2f s CPU), %" PRIu64 " pages read\n",
           options->describe, pages, seconds(CLOCK_MONOTONIC) - begin,
           seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu, store->pages.reads);
    cs_close(store);
    getrusage(RUSAGE_SELF, &usage);
    printf("most memory of the process: %ld MiB\n", usage.ru_maxrss / 1024);
    hollow.files->type->close(hollow.files);
    unlinkat(dir_fd, "data", 0);
    unlinkat(dir_fd, "meta", 0);
    close(dir_fd);
}

static void help(void)
{
    printf("Usage: store [OPTION...] DIR\n"
           "What the chunk store gives alone, beside a plain file, in the directory DIR, which it\n"
           "leaves as it was: medians, and the ratio of 47,008 bytes to 1 MiB. The disk's caches are not "
           "emptied: what is read was written just before.\n\n"
           "  --bytes SIZE     size of the data (default 256M)\n"
           "  --commit SIZE    make durable after so many bytes (default 64M)\n"
           "  --rounds N       each pattern so often (default 5)\n"
           "  --direct         the store goes past the page cache (direct_io), the plain file does not\n"
           "  --only TEXT      patterns with TEXT in their names\n"
           "  --describe SIZE  instead: makes only the metadata of SIZE bytes, written in pieces of 47,008,\n"
           "                   and tells its size, memory, and how long a mount takes\n"
           "  --help\n");
}

int main(int argc, char **argv)
{
    static const struct option list[] = {
        {"describe", required_argument, NULL, 'd'}, {"bytes", required_argument, NULL, 'b'},
        {"commit", required_argument, NULL, 'c'},   {"rounds", required_argument, NULL, 'r'},
        {"direct", no_argument, NULL, 'D'},         {"only", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},           {0},
    };
    struct options options = {.bytes = UINT64_C(256) << 20, .commit_bytes = UINT64_C(64) << 20, .rounds = 5};
    int letter;
    while ((letter = getopt_long(argc, argv, "h", list, NULL)) >= 0) {
        if (letter == 'b')
            must(conf_parse_size(optarg, &options.bytes));
        else if (letter == 'd')
            must(conf_parse_size(optarg, &options.describe));
        else if (letter == 'c')
            must(conf_parse_size(optarg, &options.commit_bytes));
        else if (letter == 'D')
            options.direct = true;
        else if (letter == 'o')
            options.only = optarg;
        else if (letter == 'r')
            options.rounds = (unsigned)strtoul(optarg, NULL, 10);
        else if (letter == 'h')
            return help(), 0;
        else
            return 2;
    }
    if (optind + 1 != argc || options.bytes < 1 << 20 || options.rounds == 0) {
        fprintf(stderr, "store: name one directory, at least 1M of bytes, and one round; see --help\n");
        return 2;
    }
    options.dir = argv[optind];
    buffer = malloc(1 << 20);
    if (!buffer)
        must(err_set(-ENOMEM, "no memory"));
    memset(buffer, 0x5a, 1 << 20);
    if (options.describe)
        describe(&options);
    else
        measure(&options);
    free(buffer);
    return 0;
}
