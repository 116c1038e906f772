/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c: the command line.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static void usage(FILE *file)
{
    fputs("Usage: mpirun ... hdf5 --target TARGET [OPTION...] KERNEL...\n"
          "Writes and reads files of parallel HDF5, compares every value, and prints comma-separated\n"
          "values.\n\n"
          "  --target LABEL,DRIVER,FOLDER[,OPTION]...\n"
          "                   where and how; several take turns. DRIVER is mpio or weft. Options:\n"
          "                   collective-metadata (H5Pset_coll_metadata_write); config=TEXT, of the\n"
          "                   driver weft\n"
          "  --size N         of all ranks together (default 64m); some kernels take a part of it\n"
          "  --data-sets N    how many small data sets (default 1000)\n"
          "  --seed N         other values (default 1)\n"
          "  --first N        the target that begins (default 0)\n"
          "  --header         a first line with the names of the values\n"
          "  --list           the kernels\n"
          "  --help           this text\n\n"
          "Kernels (all: every one):\n",
          file);
    for (unsigned i = 0; i < kernel_count; i++)
        fprintf(file, "  %-18s %s\n", kernels[i].name, kernels[i].help);
}

/* "64m": a number. 0 when it is none from 1 on that an int64_t holds. */
static int64_t read_number(const char *text)
{
    char *end;
    long long number = strtoll(text, &end, 10);
    unsigned shift = 0;
    switch (*end) {
    case 'k':
        shift = 10;
        break;
    case 'm':
        shift = 20;
        break;
    case 'g':
        shift = 30;
        break;
    }
    if (end == text || (shift ? end[1] : end[0]) || number < 1 || number > (INT64_MAX >> shift))
        return 0;
    return (int64_t)number << shift;
}

/* Takes the text up to the next comma; false when there is none, or too long a one. */
static bool take(const char **text, char *into, size_t room)
{
    size_t length = strcspn(*text, ",");
    if (length == 0 || length >= room)
        return false;
    memcpy(into, *text, length);
    into[length] = '\0';
    *text += length + ((*text)[length] == ',');
    return true;
}

static bool target_read(const char *text, struct target *target)
{
    char word[TEXT_MAX * 2];
    *target = (struct target){0};
    if (!take(&text, target->label, sizeof target->label) || !take(&text, word, sizeof word) ||
        !take(&text, target->folder, sizeof target->folder))
        return false;
    if (strcmp(word, "weft") != 0 && strcmp(word, "mpio") != 0)
        return false;
    target->driver = word[0] == 'w' ? DRIVER_WEFT : DRIVER_MPIO;
    while (*text) {
        if (!take(&text, word, sizeof word))
            return false;
        if (strcmp(word, "collective-metadata") == 0)
            target->collective_metadata = true;
        else if (strncmp(word, "config=", 7) == 0 && target->driver == DRIVER_WEFT)
            snprintf(target->config, sizeof target->config, "%s", word + 7);
        else
            return false;
    }
    return true;
}

static bool kernels_read(int argc, char **argv, struct options *options, bool talks)
{
    for (int i = optind; i < argc; i++) {
        bool is_all = strcmp(argv[i], "all") == 0;
        for (unsigned k = 0; is_all && k < kernel_count && options->kernel_count < KERNELS_MAX; k++)
            options->kernels[options->kernel_count++] = &kernels[k];
        if (is_all)
            continue;
        const struct kernel *kernel = kernel_find(argv[i]);
        if (kernel == NULL || options->kernel_count == KERNELS_MAX) {
            if (talks)
                fprintf(stderr, "hdf5: there is no kernel %s; --list names them\n", argv[i]);
            return false;
        }
        options->kernels[options->kernel_count++] = kernel;
    }
    return options->kernel_count > 0;
}

static int wrong(bool talks, const char *what)
{
    if (talks)
        fprintf(stderr, "hdf5: %s\nTry --help.\n", what);
    return 2;
}

int options_read(int argc, char **argv, bool talks, struct options *options, bool *ends)
{
    static const struct option table[] = {
        {"target", 1, NULL, 't'}, {"size", 1, NULL, 'b'},  {"data-sets", 1, NULL, 'o'},
        {"seed", 1, NULL, 's'},   {"first", 1, NULL, 'f'}, {"header", 0, NULL, 'H'},
        {"list", 0, NULL, 'l'},   {"help", 0, NULL, 'h'},  {0}};
    int which;
    *ends = true;
    *options = (struct options){.bytes = 64 << 20, .data_sets = 1000, .seed = 1};
    opterr = talks;
    while ((which = getopt_long(argc, argv, "", table, NULL)) != -1)
        switch (which) {
        case 't':
            if (options->target_count == TARGETS_MAX ||
                !target_read(optarg, &options->targets[options->target_count++]))
                return wrong(talks, "a target is LABEL,mpio|weft,FOLDER[,OPTION]...; there may be 16");
            break;
        case 'b':
            options->bytes = read_number(optarg);
            break;
        case 'o':
            options->data_sets = read_number(optarg);
            break;
        case 's':
            options->seed = strtoull(optarg, NULL, 0);
            break;
        case 'f':
            options->first = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 'H':
            options->header = true;
            break;
        case 'l':
            for (unsigned i = 0; talks && i < kernel_count; i++)
                puts(kernels[i].name);
            return 0;
        case 'h':
            if (talks)
                usage(stdout);
            return 0;
        default:
            return wrong(talks, "unknown option");
        }
    if (options->bytes < (1 << 20) || options->data_sets < 1)
        return wrong(talks, "--size wants 1m or more, --data-sets a number from 1 on");
    if (options->target_count == 0)
        return wrong(talks, "--target is missing");
    if (!kernels_read(argc, argv, options, talks))
        return wrong(talks, "which kernel?");
    *ends = false;
    return 0;
}
