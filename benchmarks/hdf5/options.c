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

static bool target_read(const char *text, struct target *target)
{
    char word[TEXT_MAX * 2];
    *target = (struct target){0};
    if (!argument_part(&text, target->label, sizeof target->label) ||
        !argument_part(&text, word, sizeof word) ||
        !argument_part(&text, target->folder, sizeof target->folder))
        return false;
    if (strcmp(word, "weft") != 0 && strcmp(word, "mpio") != 0)
        return false;
    target->driver = word[0] == 'w' ? DRIVER_WEFT : DRIVER_MPIO;
    while (*text) {
        if (!argument_part(&text, word, sizeof word))
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

static const char *kernel_name(unsigned index)
{
    return index < kernel_count ? kernels[index].name : NULL;
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
                return arguments_wrong(talks,
                                       "a target is LABEL,mpio|weft,FOLDER[,OPTION]...; there may be 16");
            break;
        case 'b':
            options->bytes = argument_number(optarg);
            break;
        case 'o':
            options->data_sets = argument_number(optarg);
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
            return arguments_wrong(talks, "unknown option");
        }
    if (options->bytes < (1 << 20) || options->data_sets < 1)
        return arguments_wrong(talks, "--size wants 1m or more, --data-sets a number from 1 on");
    if (options->target_count == 0)
        return arguments_wrong(talks, "--target is missing");
    if (!arguments_choose(argv + optind, kernel_name, "kernel", talks, &options->kernels))
        return arguments_wrong(talks, "which kernel?");
    *ends = false;
    return 0;
}
