/* SPDX-License-Identifier: Apache-2.0 */
#include "intervals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

void intervals_free(struct intervals *set)
{
    free(set->items);
    *set = (struct intervals){0};
}

/* Appends, joined to the last one where that goes on in the same way. There is room. */
static void append(struct intervals *set, uint64_t start, uint64_t end, bool exclusive)
{
    struct interval *last = set->count ? &set->items[set->count - 1] : NULL;
    if (start >= end)
        return;
    if (last && last->end == start && last->exclusive == exclusive)
        last->end = end;
    else
        set->items[set->count++] = (struct interval){start, end, exclusive};
}

/* The set anew, with the range in its place when `put`, and else without it. */
static int rebuild(struct intervals *set, uint64_t start, uint64_t end, bool put, bool exclusive)
{
    struct intervals made = {.room = set->count + 2};
    size_t i = 0;
    if (start >= end)
        return 0;
    made.items = malloc(made.room * sizeof *made.items);
    if (!made.items)
        return err_set(-ENOMEM, "out of memory for locked ranges");
    for (; i < set->count && set->items[i].start < start; i++) {
        const struct interval *item = &set->items[i];
        append(&made, item->start, item->end < start ? item->end : start, item->exclusive);
        if (item->end > end)
            break; /* it has a part behind the range, too */
    }
    if (put)
        append(&made, start, end, exclusive);
    for (; i < set->count; i++) {
        const struct interval *item = &set->items[i];
        append(&made, item->start > end ? item->start : end, item->end, item->exclusive);
    }
    free(set->items);
    *set = made;
    return 0;
}

int intervals_set(struct intervals *set, uint64_t start, uint64_t end, bool exclusive)
{
    return rebuild(set, start, end, true, exclusive);
}

int intervals_clear(struct intervals *set, uint64_t start, uint64_t end)
{
    return rebuild(set, start, end, false, false);
}

const struct interval *intervals_find(const struct intervals *set, uint64_t start, uint64_t end,
                                      bool exclusive_only)
{
    for (size_t i = 0; start < end && i < set->count && set->items[i].start < end; i++) {
        const struct interval *item = &set->items[i];
        if (item->end > start && (item->exclusive || !exclusive_only))
            return item;
    }
    return NULL;
}

bool intervals_meet(const struct intervals *a, const struct intervals *b)
{
    for (size_t i = 0; i < a->count; i++)
        if (intervals_find(b, a->items[i].start, a->items[i].end, false))
            return true;
    return false;
}
