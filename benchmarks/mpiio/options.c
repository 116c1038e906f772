/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c: the command line.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"

static const char usage[] =
    "Usage: mpirun ... mpiio --target TARGET [OPTION...] PATTERN...\n"
    "Writes and reads a file by MPI-IO in the given patterns, compares every byte, and\n"
    "prints comma-separated values.\n\n"
    "  --target LABEL,MODE,FOLDER[,KEY=VALUE]...\n"
    "                   where and how; several take turns. MODE is collective or independent;\n"
    "                   KEY=VALUE are hints\n"
    "  --bytes N        of all ranks together (default 64m); some patterns take a part of it\n"
    "  --call-bytes N   of one call, where the pattern leaves it open (default 1m)\n";

static bool target_read(const char *text, void *into)
{
    struct target *target = into;
    char mode[TEXT_MAX], hint[2 * TEXT_MAX];
    *target = (struct target){0};
    if (!argument_part(&text, target->label, sizeof target->label) ||
        !argument_part(&text, mode, sizeof mode) ||
        !argument_part(&text, target->folder, sizeof target->folder))
        return false;
    target->collective = strcmp(mode, "collective") == 0;
    if (!target->collective && strcmp(mode, "independent") != 0)
        return false;
    while (*text) {
        unsigned i = target->hint_count++;
        if (i == HINTS_MAX || !argument_part(&text, hint, sizeof hint))
            return false;
        char *equals = strchr(hint, '=');
        if (equals == NULL || equals == hint || equals - hint >= TEXT_MAX || strlen(equals + 1) >= TEXT_MAX)
            return false;
        *equals = '\0';
        snprintf(target->keys[i], TEXT_MAX, "%.*s", TEXT_MAX - 1, hint);
        snprintf(target->values[i], TEXT_MAX, "%.*s", TEXT_MAX - 1, equals + 1);
    }
    return true;
}

static struct argument_item item_at(unsigned index)
{
    return index < pattern_count ? (struct argument_item){patterns[index].name, patterns[index].help}
                                 : (struct argument_item){0};
}

int options_read(int argc, char **argv, bool talks, struct options *options, bool *ends)
{
    const struct arguments_form form = {
        .usage = usage,
        .kind = "pattern",
        .item_at = item_at,
        .target_read = target_read,
        .targets = options->targets,
        .target_bytes = sizeof *options->targets,
        .target_form = "LABEL,MODE,FOLDER[,KEY=VALUE]...",
        .numbers = {{"bytes", &options->bytes, 1 << 20, INT64_MAX},
                    {"call-bytes", &options->call_bytes, 4096, INT_MAX}},
        .numbers_form = "--bytes wants 1m or more, --call-bytes 4k to less than 2g",
    };
    *options = (struct options){.bytes = 64 << 20, .call_bytes = 1 << 20};
    return arguments_read(argc, argv, &form, talks, &options->common, ends);
}
