/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arguments.c: options, and the parts of them.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/arguments.h"
#include "common/program.h"

/* Of "64m" and the like, with k, m and g as powers of 1024. 0 when it is none from 1 on that an int64_t
 * holds. */
static int64_t number_read(const char *text)
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

bool argument_part(const char **text, char *into, size_t room)
{
    size_t length = strcspn(*text, ",");
    if (length == 0 || length >= room)
        return false;
    memcpy(into, *text, length);
    into[length] = '\0';
    *text += length + ((*text)[length] == ',');
    return true;
}

/* Tells what is wrong, in two parts, and returns the exit code for that. */
static int wrong(bool talks, const char *what, const char *more)
{
    if (talks)
        fprintf(stderr, "%s: %s%s\nTry --help.\n", program_name, what, more);
    return 2;
}

/* "all" is every one. */
static bool choose(const struct arguments_form *form, const char *name, struct arguments *arguments)
{
    bool is_all = strcmp(name, "all") == 0;
    unsigned before = arguments->chosen_count;
    for (unsigned i = 0; arguments->chosen_count < CHOSEN_MAX && form->item_at(i).name != NULL; i++)
        if (is_all || strcmp(name, form->item_at(i).name) == 0)
            arguments->chosen[arguments->chosen_count++] = i;
    return arguments->chosen_count > before;
}

static void help(const struct arguments_form *form)
{
    printf("%s"
           "  --seed N         other bytes, and another order where it is a random one (default 1)\n"
           "  --first N        the target that begins (default 0)\n"
           "  --header         a first line with the names of the values\n"
           "  --list           what there is to do, each a %s\n"
           "  --help           this text\n\n"
           "all, or some of:\n",
           form->usage, form->kind);
    for (unsigned i = 0; form->item_at(i).name != NULL; i++)
        printf("  %-18s %s\n", form->item_at(i).name, form->item_at(i).help);
}

static bool numbers_are_well(const struct arguments_form *form)
{
    for (unsigned i = 0; i < NUMBERS; i++)
        if (*form->numbers[i].value < form->numbers[i].least ||
            *form->numbers[i].value > form->numbers[i].most)
            return false;
    return true;
}

int arguments_read(int argc, char **argv, const struct arguments_form *form, bool talks,
                   struct arguments *arguments, bool *ends)
{
    const struct option table[] = {{"target", 1, NULL, 't'},
                                   {"first", 1, NULL, 'f'},
                                   {"seed", 1, NULL, 's'},
                                   {"header", 0, NULL, 'H'},
                                   {"list", 0, NULL, 'l'},
                                   {"help", 0, NULL, 'h'},
                                   {form->numbers[0].option, 1, NULL, 0},
                                   {form->numbers[1].option, 1, NULL, 1},
                                   {0}};
    int which;
    *ends = true;
    *arguments = (struct arguments){.seed = 1};
    opterr = talks;
    while ((which = getopt_long(argc, argv, "", table, NULL)) != -1)
        switch (which) {
        case 't':
            if (arguments->target_count == TARGETS_MAX ||
                !form->target_read(optarg,
                                   (char *)form->targets + form->target_bytes * arguments->target_count++))
                return wrong(talks, "a target, of which there may be 16, is ", form->target_form);
            break;
        case 0:
        case 1:
            *form->numbers[which].value = number_read(optarg);
            break;
        case 's':
            arguments->seed = strtoull(optarg, NULL, 0);
            break;
        case 'f':
            arguments->first = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 'H':
            arguments->header = true;
            break;
        case 'l':
            for (unsigned i = 0; talks && form->item_at(i).name != NULL; i++)
                puts(form->item_at(i).name);
            return 0;
        case 'h':
            if (talks)
                help(form);
            return 0;
        default:
            return wrong(talks, "unknown option", "");
        }
    if (!numbers_are_well(form))
        return wrong(talks, form->numbers_form, "");
    if (arguments->target_count == 0)
        return wrong(talks, "--target is missing", "");
    for (; argv[optind] != NULL; optind++)
        if (!choose(form, argv[optind], arguments))
            return wrong(talks, "--list does not name ", argv[optind]);
    if (arguments->chosen_count == 0)
        return wrong(talks, "there has to be a ", form->kind);
    *ends = false;
    return 0;
}
