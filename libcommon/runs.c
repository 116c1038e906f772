/* SPDX-License-Identifier: Apache-2.0 */
#include "runs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *list, size_t entries)
{
    if (list == NULL) {
        fprintf(stderr, "weft: out of memory for %zu pieces of a collective call\n", entries);
        abort();
    }
    return list;
}

/* Room for one more entry. */
static void *make_room(void *list, size_t count, size_t *room, size_t entry_bytes)
{
    if (count < *room)
        return list;
    *room = *room == 0 ? 16 : 2 * *room;
    return checked(realloc(list, *room * entry_bytes), *room);
}

/* ---- one list --------------------------------------------------------- */

void runs_add(struct runs *runs, int64_t offset, int64_t length)
{
    struct run *last = runs->count > 0 ? &runs->list[runs->count - 1] : NULL;
    runs->bytes += length;
    if (last != NULL && last->count == 1 && last->offset + last->length == offset) {
        last->length += length;
        return;
    }
    if (last != NULL && last->length == length) {
        if (last->count == 1)
            last->step = offset - last->offset;
        if (offset == last->offset + last->count * last->step) {
            last->count++;
            return;
        }
    }
    runs->list = make_room(runs->list, runs->count, &runs->room, sizeof *runs->list);
    runs->list[runs->count++] = (struct run){.offset = offset, .length = length, .count = 1};
}

void runs_clear(struct runs *runs)
{
    runs->count = 0;
    runs->bytes = 0;
}

void runs_free(struct runs *runs)
{
    free(runs->list);
    *runs = (struct runs){0};
}

void runs_reserve(struct runs *runs, size_t count, int64_t bytes)
{
    if (count > runs->room) {
        free(runs->list);
        runs->list = NULL;
        runs->room = count;
        runs->list = checked(malloc(count * sizeof *runs->list), count);
    }
    runs->count = count;
    runs->bytes = bytes;
}

/* ---- several lists ---------------------------------------------------- */

/* Where a source is at. */
struct cursor {
    int64_t offset; /* of its next piece */
    int64_t index;  /* of that piece in its run */
    const struct run *run, *end;
    char *bytes; /* of that piece */
};

/* The cursors as a heap: the one with the least offset is the first. */
struct heap {
    struct cursor *cursors;
    size_t count;
};

static void sift_down(struct heap *heap, size_t at)
{
    struct cursor moving = heap->cursors[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && heap->cursors[child + 1].offset < heap->cursors[child].offset)
            child++;
        if (heap->cursors[child].offset >= moving.offset)
            break;
        heap->cursors[at] = heap->cursors[child];
        at = child;
    }
    heap->cursors[at] = moving;
}

static void heap_make(struct heap *heap, const struct merge_source *sources, size_t count)
{
    size_t room = 0;
    heap->cursors = NULL;
    heap->count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct runs *runs = sources[i].runs;
        if (runs->count == 0)
            continue;
        heap->cursors = make_room(heap->cursors, heap->count, &room, sizeof *heap->cursors);
        heap->cursors[heap->count++] = (struct cursor){.offset = runs->list[0].offset,
                                                       .run = runs->list,
                                                       .end = runs->list + runs->count,
                                                       .bytes = sources[i].bytes};
    }
    for (size_t at = heap->count / 2; at-- > 0;)
        sift_down(heap, at);
}

/* Moves the first cursor to its next piece. */
static void heap_step(struct heap *heap)
{
    struct cursor *first = &heap->cursors[0];
    if (first->bytes != NULL)
        first->bytes += first->run->length;
    if (++first->index < first->run->count) {
        first->offset += first->run->step;
    } else if (++first->run < first->end) {
        first->index = 0;
        first->offset = first->run->offset;
    } else {
        heap->cursors[0] = heap->cursors[--heap->count];
    }
    sift_down(heap, 0);
}

static void extents_add(struct merge_extents *extents, int64_t offset, int64_t length)
{
    extents->list = make_room(extents->list, extents->count, &extents->room, sizeof *extents->list);
    extents->list[extents->count++] =
        (struct weft_extent){.offset = (uint64_t)offset, .length = (uint64_t)length};
}

int64_t merge(const struct merge_source *sources, size_t count, enum merge_way way, char *buffer,
              struct merge_extents *extents)
{
    struct heap heap;
    int64_t start = 0, end = -1; /* of the current extent */
    int64_t before = 0;          /* bytes of the extents in front of it */
    heap_make(&heap, sources, count);
    while (heap.count > 0) {
        const struct cursor *first = &heap.cursors[0];
        int64_t offset = first->offset, length = first->run->length;
        if (offset > end) {
            if (end >= 0) {
                before += end - start;
                if (extents != NULL)
                    extents_add(extents, start, end - start);
            }
            start = end = offset;
        }
        int64_t place = before + (offset - start);
        if (way == MERGE_IN)
            memcpy(buffer + place, first->bytes, (size_t)length);
        else if (way == MERGE_OUT)
            memcpy(first->bytes, buffer + place, (size_t)length);
        if (end < offset + length)
            end = offset + length;
        heap_step(&heap);
    }
    free(heap.cursors);
    if (end < 0)
        return 0;
    if (extents != NULL)
        extents_add(extents, start, end - start);
    return before + (end - start);
}
