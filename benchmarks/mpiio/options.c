/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c: the command line.
 */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static void usage(FILE *file)
{
    fputs("Usage: mpirun ... mpiio --target TARGET [OPTION...] PATTERN...\n"
          "Writes and reads a file by MPI-IO in the given patterns, compares every byte, and\n"
          "prints comma-separated values.\n\n"
          "  --target LABEL,MODE,FOLDER[,KEY=VALUE]...\n"
          "                   where and how; several take turns. MODE is collective or independent;\n"
          "                   KEY=VALUE are hints\n"
          "  --bytes N        of all ranks together (default 64m); some patterns take a part of it\n"
          "  --call-bytes N   of one call, where the pattern leaves it open (default 1m)\n"
          "  --seed N         another order of random places, and other bytes (default 1)\n"
          "  --first N        the target that begins (default 0)\n"
          "  --header         a first line with the names of the values\n"
          "  --list           the patterns\n"
          "  --help           this text\n\n"
          "Patterns (all: every one):\n",
          file);
    for (unsigned i = 0; i < pattern_count; i++)
        fprintf(file, "  %-18s %s\n", patterns[i].name, patterns[i].help);
}

static bool target_read(const char *text, struct target *target)
{
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

static const char *pattern_name(unsigned index)
{
    return index < pattern_count ? patterns[index].name : NULL;
}

int options_read(int argc, char **argv, bool talks, struct options *options, bool *ends)
{
    static const struct option table[] = {
        {"target", 1, NULL, 't'}, {"bytes", 1, NULL, 'b'}, {"call-bytes", 1, NULL, 'c'},
        {"seed", 1, NULL, 's'},   {"first", 1, NULL, 'f'}, {"header", 0, NULL, 'H'},
        {"list", 0, NULL, 'l'},   {"help", 0, NULL, 'h'},  {0}};
    int which;
    *ends = true;
    *options = (struct options){.bytes = 64 << 20, .call_bytes = 1 << 20, .seed = 1};
    opterr = talks;
    while ((which = getopt_long(argc, argv, "", table, NULL)) != -1)
        switch (which) {
        case 't':
            if (options->target_count == TARGETS_MAX ||
                !target_read(optarg, &options->targets[options->target_count++]))
                return arguments_wrong(talks,
                                       "a target is LABEL,MODE,FOLDER[,KEY=VALUE]...; there may be 16");
            break;
        case 'b':
            options->bytes = argument_number(optarg);
            break;
        case 'c':
            options->call_bytes = argument_number(optarg);
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
            for (unsigned i = 0; talks && i < pattern_count; i++)
                puts(patterns[i].name);
            return 0;
        case 'h':
            if (talks)
                usage(stdout);
            return 0;
        default:
            return arguments_wrong(talks, "unknown option");
        }
    if (options->bytes < (1 << 20) || options->call_bytes < 4096 || options->call_bytes > INT_MAX)
        return arguments_wrong(talks, "--bytes wants 1m or more, --call-bytes 4k to less than 2g");
    if (options->target_count == 0)
        return arguments_wrong(talks, "--target is missing");
    if (!arguments_choose(argv + optind, pattern_name, "pattern", talks, &options->patterns))
        return arguments_wrong(talks, "which pattern?");
    *ends = false;
    return 0;
}
