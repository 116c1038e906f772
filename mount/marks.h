/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks.h: which name stands at which position of a directory that is being read, so that whoever comes back
 * to an old position goes on behind the name that was there, and not behind a count of entries, some of which
 * may be gone by now.
 *
 * What it promises
 *  - The names of the latest MARKS_NEAR positions are all known; of those before, each MARKS_STEP-th. Memory
 *    is bounded by that: some 500 KiB, and one name for each MARKS_STEP entries.
 *
 * Threads: belongs to one directory handle.
 */
#ifndef MOUNT_MARKS_H
#define MOUNT_MARKS_H

#include <stdint.h>

#define MARKS_NEAR 8192u
#define MARKS_STEP 256u

struct marks {
    char **near; /* position modulo MARKS_NEAR */
    char **far;  /* position / MARKS_STEP */
    uint64_t far_room;
    uint64_t count;     /* positions that are known: 1 to count */
    uint64_t near_from; /* the first one whose name is in `near` still */
};

void marks_free(struct marks *marks);
/* The name at position count + 1. -ENOMEM. */
int marks_add(struct marks *marks, const char *name);
/* The last known position that is not beyond `position`, and its name; 0 and "" for the beginning. */
uint64_t marks_find(const struct marks *marks, uint64_t position, const char **name);
/* Forgets what is beyond: other names may come there now. */
void marks_cut(struct marks *marks, uint64_t position);

#endif
