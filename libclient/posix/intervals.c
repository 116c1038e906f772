/* SPDX-License-Identifier: Apache-2.0 */
#include "intervals.h"

#include <stdlib.h>
#include <string.h>

bool px_intervals_reserve(struct px_intervals *set, size_t more)
{
    if (set->count + more <= set->room)
        return true;
    size_t room = 2 * (set->count + more);
    struct px_interval *items = realloc(set->items, room * sizeof *items);
    if (!items)
        return false;
    set->items = items;
    set->room = room;
    return true;
}

void px_intervals_add(struct px_intervals *set, const struct px_interval *item)
{
    size_t at = set->count;
    while (at > 0 && set->items[at - 1].start > item->start)
        at--;
    memmove(set->items + at + 1, set->items + at, (set->count - at) * sizeof *item);
    set->items[at] = *item;
    set->count++;
}

void px_intervals_remove(struct px_intervals *set, const struct px_interval *item)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i].start != item->start)
            continue;
        set->count--;
        memmove(set->items + i, set->items + i + 1, (set->count - i) * sizeof *item);
        return;
    }
}

void px_intervals_free(struct px_intervals *set)
{
    free(set->items);
    *set = (struct px_intervals){0};
}

void px_change_free(struct px_change *change)
{
    px_intervals_free(&change->drop);
    px_intervals_free(&change->make);
}

/* In the order of the calls, not by start: rests have to come first. */
static bool append(struct px_intervals *list, uint64_t start, uint64_t end, bool is_exclusive, bool is_rest,
                   void *lock)
{
    if (start >= end)
        return true;
    if (!px_intervals_reserve(list, 1))
        return false;
    list->items[list->count++] = (struct px_interval){start, end, is_exclusive, is_rest, lock};
    return true;
}

static bool overlaps(const struct px_interval *item, uint64_t start, uint64_t end)
{
    return item->start < end && start < item->end;
}

static bool is_kept(const struct px_interval *item, enum px_wanted wanted)
{
    return wanted != PX_UNLOCKED && item->is_exclusive == (wanted == PX_EXCLUSIVE);
}

static bool plan(const struct px_intervals *set, uint64_t start, uint64_t end, enum px_wanted wanted,
                 struct px_change *change)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct px_interval *item = &set->items[i];
        if (!overlaps(item, start, end) || is_kept(item, wanted))
            continue;
        if (!append(&change->drop, item->start, item->end, item->is_exclusive, false, item->lock) ||
            !append(&change->make, item->start, start, item->is_exclusive, true, NULL) ||
            !append(&change->make, end, item->end, item->is_exclusive, true, NULL))
            return false;
    }
    if (wanted == PX_UNLOCKED)
        return true;
    for (size_t i = 0; i < set->count; i++) {
        const struct px_interval *item = &set->items[i];
        if (!overlaps(item, start, end) || !is_kept(item, wanted))
            continue;
        if (!append(&change->make, start, item->start, wanted == PX_EXCLUSIVE, false, NULL))
            return false;
        start = item->end;
    }
    return append(&change->make, start, end, wanted == PX_EXCLUSIVE, false, NULL);
}

bool px_intervals_plan(const struct px_intervals *set, uint64_t start, uint64_t end, enum px_wanted wanted,
                       struct px_change *change)
{
    *change = (struct px_change){0};
    if (plan(set, start, end, wanted, change))
        return true;
    px_change_free(change);
    return false;
}
