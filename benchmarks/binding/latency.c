/* SPDX-License-Identifier: Apache-2.0 */
/*
 * latency.c: how long small requests take, one at a time, from the call to its return: median and tail. The
 * file is made first, and read or written at random places that are multiples of the request's size.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "weft/weft.h"

#define FILE_BYTES (UINT64_C(64) << 20)

struct options {
    const char *path;
    uint32_t bytes, count, warm_up;
    unsigned seed;
    bool write;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int complain(void)
{
    fprintf(stderr, "latency: %s\n", weft_error());
    return -1;
}

static int fill(weft_file_t *file)
{
    enum { PIECE = 1 << 20 };
    char *piece = malloc(PIECE);
    int status = piece ? 0 : -1;
    for (uint64_t at = 0; status == 0 && at < FILE_BYTES; at += PIECE) {
        memset(piece, (int)(at >> 20), PIECE);
        status = weft_file_write(file, piece, PIECE, at) == PIECE ? 0 : complain();
    }
    free(piece);
    return status;
}

static int one_request(weft_file_t *file, const struct options *options, void *buffer, unsigned *state)
{
    uint64_t places = FILE_BYTES / options->bytes;
    uint64_t offset = (uint64_t)rand_r(state) % places * options->bytes;
    ssize_t done = options->write ? weft_file_write(file, buffer, options->bytes, offset)
                                  : weft_file_read(file, buffer, options->bytes, offset);
    return done == (ssize_t)options->bytes ? 0 : complain();
}

static int compare(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

/* Microseconds that `per_100k` of 100,000 requests did not take. */
static double percentile(const uint64_t *sorted, uint32_t count, uint32_t per_100k)
{
    uint64_t index = ((uint64_t)count * per_100k + 99999) / 100000;
    return (double)sorted[index ? index - 1 : 0] / 1000;
}

static int measure(weft_file_t *file, const struct options *options)
{
    uint64_t *taken = calloc(options->count, sizeof *taken);
    char *buffer = malloc(options->bytes);
    unsigned state = options->seed;
    int status = taken && buffer ? 0 : -1;
    if (buffer)
        memset(buffer, 7, options->bytes);
    for (uint32_t i = 0; status == 0 && i < options->warm_up; i++)
        status = one_request(file, options, buffer, &state);
    for (uint32_t i = 0; status == 0 && i < options->count; i++) {
        uint64_t start = now_ns();
        status = one_request(file, options, buffer, &state);
        taken[i] = now_ns() - start;
    }
    if (status == 0) {
        qsort(taken, options->count, sizeof *taken, compare);
        printf("%s,%u,%u,%.2f,%.2f,%.2f,%.2f\n", options->write ? "write" : "read", options->bytes,
               options->count, percentile(taken, options->count, 50000),
               percentile(taken, options->count, 99000), percentile(taken, options->count, 99900),
               percentile(taken, options->count, 100000));
    }
    free(buffer);
    free(taken);
    return status;
}

static void usage(FILE *file)
{
    fputs("Usage: latency [OPTION...] /PATH\n"
          "Reads or writes a file of the cluster in small requests, one at a time, and prints\n"
          "operation,bytes,count,p50,p99,p99.9,longest in microseconds.\n\n"
          "  --bytes N    of a request (default 4096)\n"
          "  --count N    requests that are measured (default 20000)\n"
          "  --write      write, rather than read\n"
          "  --seed N     of the places (default 1)\n"
          "  --help\n",
          file);
}

static int parse(int argc, char **argv, struct options *options)
{
    static const struct option table[] = {{"bytes", 1, NULL, 'b'}, {"count", 1, NULL, 'c'},
                                          {"write", 0, NULL, 'w'}, {"seed", 1, NULL, 's'},
                                          {"help", 0, NULL, 'h'},  {0}};
    int which;
    *options = (struct options){.bytes = 4096, .count = 20000, .warm_up = 500, .seed = 1};
    while ((which = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (which) {
        case 'b':
            options->bytes = (uint32_t)strtoul(optarg, NULL, 0);
            break;
        case 'c':
            options->count = (uint32_t)strtoul(optarg, NULL, 0);
            break;
        case 'w':
            options->write = true;
            break;
        case 's':
            options->seed = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            return -EINVAL;
        }
    }
    options->path = optind + 1 == argc ? argv[optind] : NULL;
    return options->path && options->bytes && options->bytes <= FILE_BYTES && options->count ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
    struct options options;
    weft_session_t *session = NULL;
    weft_file_t *file = NULL;
    if (parse(argc, argv, &options)) {
        usage(stderr);
        return 2;
    }
    if (weft_connect(NULL, &session) ||
        weft_file_open(session, options.path, O_RDWR | O_CREAT, 0600, NULL, &file)) {
        complain();
        weft_disconnect(session);
        return 1;
    }
    int status = fill(file);
    if (status == 0)
        status = measure(file, &options);
    if (weft_file_close(file))
        status = complain();
    weft_disconnect(session);
    return status ? 1 : 0;
}
