/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c: the command line.
 */
#include <stdio.h>
#include <string.h>

#include "bench.h"

static const char usage[] =
    "Usage: mpirun ... hdf5 --target TARGET [OPTION...] KERNEL...\n"
    "Writes and reads files of parallel HDF5, compares every value, and prints comma-separated\n"
    "values.\n\n"
    "  --target LABEL,DRIVER,FOLDER[,OPTION]...\n"
    "                   where and how; several take turns. DRIVER is mpio or weft. Options:\n"
    "                   collective-metadata (H5Pset_coll_metadata_write); config=TEXT, of the\n"
    "                   driver weft\n"
    "  --size N         of all ranks together (default 64m); some kernels take a part of it\n"
    "  --data-sets N    how many small data sets (default 1000)\n";

static bool target_read(const char *text, void *into)
{
    struct target *target = into;
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

static struct argument_item item_at(unsigned index)
{
    return index < kernel_count ? (struct argument_item){kernels[index].name, kernels[index].help}
                                : (struct argument_item){0};
}

int options_read(int argc, char **argv, bool talks, struct options *options, bool *ends)
{
    const struct arguments_form form = {
        .usage = usage,
        .kind = "kernel",
        .item_at = item_at,
        .target_read = target_read,
        .targets = options->targets,
        .target_bytes = sizeof *options->targets,
        .target_form = "LABEL,mpio|weft,FOLDER[,OPTION]...",
        .numbers = {{"size", &options->bytes, 1 << 20, INT64_MAX},
                    {"data-sets", &options->data_sets, 1, INT64_MAX}},
        .numbers_form = "--size wants 1m or more, --data-sets a number from 1 on",
    };
    *options = (struct options){.bytes = 64 << 20, .data_sets = 1000};
    return arguments_read(argc, argv, &form, talks, &options->common, ends);
}
