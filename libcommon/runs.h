/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs.h: lists of runs of bytes in a file, and several of them in one order. Pure.
 *
 * What ranks tell aggregators about their pieces: equal pieces at equal distances are one
 * entry, so the most common patterns of tiny pieces cost next to nothing to tell.
 *
 * Memory that can't be had ends the program: the ranks could not go on without each other.
 */
#ifndef COMMON_RUNS_H
#define COMMON_RUNS_H

#include <stddef.h>
#include <stdint.h>

#include "weft/weft.h"

/* `count` pieces of `length` bytes, the first at `offset`, the next `step` bytes behind it. */
struct run {
    int64_t offset;
    int64_t length;
    int64_t step;
    int64_t count;
};

/* Starts as all zeros. Its pieces rise and have no byte in common. */
struct runs {
    struct run *list;
    size_t count;
    size_t room;
    int64_t bytes; /* of all pieces */
};

/* runs_add(): behind all that are there. */
void runs_add(struct runs *runs, int64_t offset, int64_t length);
void runs_clear(struct runs *runs); /* the memory stays for the next use */
void runs_free(struct runs *runs);
/* runs_reserve(): room for a list that comes from elsewhere, of `count` entries and so many bytes. */
void runs_reserve(struct runs *runs, size_t count, int64_t bytes);

/* One list to be merged, and its bytes, end to end. */
struct merge_source {
    const struct runs *runs;
    char *bytes;
};

/* Extents that rise and don't touch. Starts as all zeros; `list` is to be given to free(). */
struct merge_extents {
    struct weft_extent *list;
    size_t count;
    size_t room;
};

/*
 * merge(): goes over all pieces of all sources in the order of their offsets, as if the bytes
 * of the file that they name stood end to end in `buffer`, each once.
 *   MERGE_LIST   copies nothing
 *   MERGE_IN     copies from the sources into the buffer
 *   MERGE_OUT    copies from the buffer into the sources
 * Returns how many bytes of the file they name. With `extents`, these are added there.
 */
enum merge_way { MERGE_LIST, MERGE_IN, MERGE_OUT };
int64_t merge(const struct merge_source *sources, size_t count, enum merge_way way, char *buffer,
              struct merge_extents *extents);

#endif
