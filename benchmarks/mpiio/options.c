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

/* "64m": bytes. 0 when it is no number from 1 on that an int64_t holds. */
static int64_t read_bytes(const char *text)
{
    char *end;
    long long number = strtoll(text, &end, 10);
    unsigned shift = 0;
    switch (*end) {
    case 'k': shift = 10; break;
    case 'm': shift = 20; break;
    case 'g': shift = 30; break;
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
    char mode[TEXT_MAX], hint[2 * TEXT_MAX];
    *target = (struct target){0};
    if (!take(&text, target->label, sizeof target->label) || !take(&text, mode, sizeof mode) ||
        !take(&text, target->folder, sizeof target->folder))
        return false;
    target->collective = strcmp(mode, "collective") == 0;
    if (!target->collective && strcmp(mode, "independent") != 0)
        return false;
    while (*text) {
        unsigned i = target->hint_count++;
        if (i == HINTS_MAX || !take(&text, hint, sizeof hint))
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

static bool patterns_read(int argc, char **argv, struct options *options, bool talks)
{
    for (int i = optind; i < argc; i++) {
        bool is_all = strcmp(argv[i], "all") == 0;
        for (unsigned p = 0; is_all && p < pattern_count && options->pattern_count < PATTERNS_MAX; p++)
            options->patterns[options->pattern_count++] = &patterns[p];
        if (is_all)
            continue;
        const struct pattern *pattern = pattern_find(argv[i]);
        if (pattern == NULL || options->pattern_count == PATTERNS_MAX) {
            if (talks)
                fprintf(stderr, "mpiio: there is no pattern %s; --list names them\n", argv[i]);
            return false;
        }
        options->patterns[options->pattern_count++] = pattern;
    }
    return options->pattern_count > 0;
}

static int wrong(bool talks, const char *what)
{
    if (talks)
        fprintf(stderr, "mpiio: %s\nTry --help.\n", what);
    return 2;
}

int options_read(int argc, char **argv, bool talks, struct options *options, bool *ends)
{
    static const struct option table[] = {{"target", 1, NULL, 't'}, {"bytes", 1, NULL, 'b'},
                                          {"call-bytes", 1, NULL, 'c'}, {"seed", 1, NULL, 's'},
                                          {"first", 1, NULL, 'f'}, {"header", 0, NULL, 'H'},
                                          {"list", 0, NULL, 'l'}, {"help", 0, NULL, 'h'}, {0}};
    int which;
    *ends = true;
    *options = (struct options){.bytes = 64 << 20, .call_bytes = 1 << 20, .seed = 1};
    opterr = talks;
    while ((which = getopt_long(argc, argv, "", table, NULL)) != -1)
        switch (which) {
        case 't':
            if (options->target_count == TARGETS_MAX ||
                !target_read(optarg, &options->targets[options->target_count++]))
                return wrong(talks, "a target is LABEL,MODE,FOLDER[,KEY=VALUE]...; there may be 16");
            break;
        case 'b': options->bytes = read_bytes(optarg); break;
        case 'c': options->call_bytes = read_bytes(optarg); break;
        case 's': options->seed = strtoull(optarg, NULL, 0); break;
        case 'f': options->first = (unsigned)strtoul(optarg, NULL, 0); break;
        case 'H': options->header = true; break;
        case 'l':
            for (unsigned i = 0; talks && i < pattern_count; i++)
                puts(patterns[i].name);
            return 0;
        case 'h':
            if (talks)
                usage(stdout);
            return 0;
        default: return wrong(talks, "unknown option");
        }
    if (options->bytes < (1 << 20) || options->call_bytes < 4096 || options->call_bytes > INT_MAX)
        return wrong(talks, "--bytes wants 1m or more, --call-bytes 4k to less than 2g");
    if (options->target_count == 0)
        return wrong(talks, "--target is missing");
    if (!patterns_read(argc, argv, options, talks))
        return wrong(talks, "which pattern?");
    *ends = false;
    return 0;
}
