/* SPDX-License-Identifier: Apache-2.0 */
#include "history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How many calls of each client were put in order so far, and what they left: the file of each name, or 0. */
struct point {
    uint64_t ino[HISTORY_NAMES];
    uint16_t done[HISTORY_CLIENTS];
};

/* The search of Wing and Gong (1993), which goes nowhere twice (Lowe, 2017). */
struct search {
    const struct history *history;
    struct point *seen; /* a hash table */
    bool *used;
    size_t slots, count;
};

static uint64_t hash_of(const struct point *point)
{
    const unsigned char *bytes = (const unsigned char *)point;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < sizeof *point; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

static size_t slot_of(const struct search *search, const struct point *point)
{
    size_t slot = hash_of(point) % search->slots;
    while (search->used[slot] && memcmp(&search->seen[slot], point, sizeof *point) != 0)
        slot = (slot + 1) % search->slots;
    return slot;
}

static void put(struct search *search, const struct point *point)
{
    size_t slot = slot_of(search, point);
    search->seen[slot] = *point;
    search->used[slot] = true;
    search->count++;
}

static void begin(struct search *search, size_t slots)
{
    search->slots = slots;
    search->count = 0;
    search->seen = calloc(slots, sizeof *search->seen);
    search->used = calloc(slots, sizeof *search->used);
    if (!search->seen || !search->used)
        abort();
}

/* False when it is there already. */
static bool add(struct search *search, const struct point *point)
{
    if (search->slots == 0)
        begin(search, 1024);
    if (search->used[slot_of(search, point)])
        return false;
    if (2 * search->count >= search->slots) {
        struct search old = *search;
        begin(search, 4 * old.slots);
        for (size_t i = 0; i < old.slots; i++)
            if (old.used[i])
                put(search, &old.seen[i]);
        free(old.seen);
        free(old.used);
    }
    put(search, point);
    return true;
}

/* Could the call have had its result here? Then it is done. */
static bool does(struct point *point, const struct history_call *call)
{
    uint64_t *ino = &point->ino[call->name];
    switch (call->kind) {
    case HISTORY_CREATE:
        if (call->result)
            return call->result == -EEXIST && *ino;
        if (*ino)
            return false;
        *ino = call->ino;
        return true;
    case HISTORY_UNLINK:
        if (call->result)
            return call->result == -ENOENT && !*ino;
        if (!*ino)
            return false;
        *ino = 0;
        return true;
    case HISTORY_RENAME:
        if (call->result)
            return call->result == -ENOENT && !*ino;
        if (!*ino)
            return false;
        point->ino[call->to] = *ino;
        *ino = 0;
        return true;
    default:
        return call->result ? call->result == -ENOENT && !*ino : *ino == call->ino;
    }
}

/* A call may be the next one when none that is still to come had ended before it began. */
static bool from(struct search *search, const struct point *point)
{
    const struct history_call *next[HISTORY_CLIENTS];
    int64_t first_end = INT64_MAX;
    for (unsigned i = 0; i < HISTORY_CLIENTS; i++) {
        bool is_left = point->done[i] < search->history->count[i];
        next[i] = is_left ? &search->history->calls[i][point->done[i]] : NULL;
        if (is_left && next[i]->ended < first_end)
            first_end = next[i]->ended;
    }
    if (first_end == INT64_MAX)
        return true;
    for (unsigned i = 0; i < HISTORY_CLIENTS; i++) {
        struct point after = *point;
        if (!next[i] || next[i]->began > first_end || !does(&after, next[i]))
            continue;
        after.done[i]++;
        if (add(search, &after) && from(search, &after))
            return true;
    }
    return false;
}

bool history_is_linear(const struct history *history)
{
    struct search search = {.history = history};
    struct point none;
    memset(&none, 0, sizeof none); /* it is hashed with its padding */
    bool is_linear = from(&search, &none);
    free(search.seen);
    free(search.used);
    return is_linear;
}
