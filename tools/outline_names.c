/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of names: as they are kept, and as Slurm writes them, "tux[0-3,12],login". */
#include "outline.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "weft_limits.h"

enum { NAME_BYTES_MAX = 255, DIGITS_MAX = 9 };

void outline_names_free(struct outline_names *names)
{
    for (uint32_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
    free(names->buckets);
    *names = (struct outline_names){0};
}

/* FNV-1a. */
static uint32_t bucket_of(const struct outline_names *names, const char *name)
{
    uint32_t hash = UINT32_C(0x811c9dc5);
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * UINT32_C(0x01000193);
    return hash & (names->bucket_count - 1);
}

/* A list may have the same name twice; the first is found. */
static void enter(struct outline_names *names, uint32_t index)
{
    uint32_t at = bucket_of(names, names->items[index]);
    while (names->buckets[at])
        at = (at + 1) & (names->bucket_count - 1);
    names->buckets[at] = index + 1;
}

uint32_t outline_names_find(const struct outline_names *names, const char *name)
{
    if (names->count == 0)
        return UINT32_MAX;
    for (uint32_t at = bucket_of(names, name); names->buckets[at];
         at = (at + 1) & (names->bucket_count - 1)) {
        if (strcmp(names->items[names->buckets[at] - 1], name) == 0)
            return names->buckets[at] - 1;
    }
    return UINT32_MAX;
}

/* Half of the buckets stay empty. */
static int make_room(struct outline_names *names)
{
    uint32_t room = names->room ? 2 * names->room : 64;
    char **items = realloc(names->items, room * sizeof *items);
    if (items)
        names->items = items;
    uint32_t *buckets = calloc(2 * (size_t)room, sizeof *buckets);
    if (!items || !buckets) {
        free(buckets);
        return err_set(-ENOMEM, "out of memory for names");
    }
    free(names->buckets);
    names->buckets = buckets;
    names->bucket_count = 2 * room;
    names->room = room;
    for (uint32_t i = 0; i < names->count; i++)
        enter(names, i);
    return 0;
}

int outline_names_add(struct outline_names *names, const char *name, uint32_t *index)
{
    if (names->count >= LIMITS_TARGETS_MAX)
        return err_set(-ENOSPC, "more than %u names", LIMITS_TARGETS_MAX);
    int error = names->count == names->room ? make_room(names) : 0;
    if (error)
        return error;
    char *copy = strdup(name);
    if (!copy)
        return err_set(-ENOMEM, "out of memory for names");
    names->items[names->count] = copy;
    enter(names, names->count);
    if (index)
        *index = names->count;
    names->count++;
    return 0;
}

/* A number of 1 to DIGITS_MAX digits. */
static int take_number(const char **at, uint32_t *number, int *digits)
{
    *digits = 0;
    *number = 0;
    while (isdigit((unsigned char)**at) && *digits < DIGITS_MAX) {
        *number = 10 * *number + (uint32_t)(**at - '0');
        ++*at;
        ++*digits;
    }
    return *digits == 0 || isdigit((unsigned char)**at) ? -EINVAL : 0;
}

static int expand_item(const char *head, const char *tail, struct outline_names *names);

/* "0-3,7]" behind the bracket, for each number `head`, the number and what is behind the bracket. */
static int expand_ranges(const char *head, const char *ranges, const char *tail, struct outline_names *names)
{
    char name[NAME_BYTES_MAX + 1];
    for (const char *at = ranges;;) {
        uint32_t first, last;
        int digits, ignored;
        int error = take_number(&at, &first, &digits);
        last = first;
        if (!error && *at == '-') {
            at++;
            error = take_number(&at, &last, &ignored);
        }
        if (error || last < first || (*at != ',' && *at != ']'))
            return err_set(-EINVAL, "\"[%.40s\" is no list of numbers such as [0-3,7]", ranges);
        for (uint32_t number = first; number <= last && !error; number++) {
            /* 01 to 12 keep their zeros. */
            int length = snprintf(name, sizeof name, "%s%0*u", head, digits, number);
            if (length < 0 || (size_t)length >= sizeof name)
                return err_set(-EINVAL, "the name \"%.40s...\" is too long", head);
            error = expand_item(name, tail, names);
        }
        if (error || *at++ == ']')
            return error;
    }
}

/* One item: `head` is expanded, `tail` is not yet. */
static int expand_item(const char *head, const char *tail, struct outline_names *names)
{
    char name[NAME_BYTES_MAX + 1];
    const char *open = strchr(tail, '[');
    size_t plain = open ? (size_t)(open - tail) : strlen(tail);
    if (strlen(head) + plain > NAME_BYTES_MAX)
        return err_set(-EINVAL, "the name \"%.40s...\" is too long", head);
    snprintf(name, sizeof name, "%s%.*s", head, (int)plain, tail);
    if (strchr(name, ']'))
        return err_set(-EINVAL, "\"%.80s\" has a bracket that was not opened", tail);
    if (!open)
        return name[0] ? outline_names_add(names, name, NULL)
                       : err_set(-EINVAL, "there is an empty name in a list");
    const char *close = strchr(open, ']');
    if (!close)
        return err_set(-EINVAL, "\"%.80s\" has a bracket that is not closed", tail);
    return expand_ranges(name, open + 1, close + 1, names);
}

int outline_names_expand(const char *text, struct outline_names *names)
{
    char *copy = strdup(text);
    int error = copy ? 0 : err_set(-ENOMEM, "out of memory for names");
    for (char *item = copy; !error && item;) {
        /* A comma outside of brackets parts items. */
        char *end = item;
        for (bool inside = false; *end && (inside || *end != ','); end++)
            inside = *end == '[' || (inside && *end != ']');
        char *next = *end ? end + 1 : NULL;
        *end = 0;
        error = expand_item("", item, names);
        item = next;
    }
    free(copy);
    if (error)
        outline_names_free(names);
    return error;
}
