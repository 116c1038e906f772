/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arguments.c: the parts of command lines.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/arguments.h"
#include "common/program.h"

int64_t argument_number(const char *text)
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

static bool choose(const char *name, argument_name_fn *name_at, struct chosen *chosen)
{
    bool is_all = strcmp(name, "all") == 0;
    unsigned before = chosen->count;
    for (unsigned i = 0; chosen->count < CHOSEN_MAX && name_at(i) != NULL; i++)
        if (is_all || strcmp(name, name_at(i)) == 0)
            chosen->indices[chosen->count++] = i;
    return chosen->count > before;
}

bool arguments_choose(char **names, argument_name_fn *name_at, const char *kind, bool talks,
                      struct chosen *chosen)
{
    for (; *names != NULL; names++)
        if (!choose(*names, name_at, chosen)) {
            if (talks)
                fprintf(stderr, "%s: there is no %s %s; --list names them\n", program_name, kind, *names);
            return false;
        }
    return chosen->count > 0;
}

int arguments_wrong(bool talks, const char *what)
{
    if (talks)
        fprintf(stderr, "%s: %s\nTry --help.\n", program_name, what);
    return 2;
}
