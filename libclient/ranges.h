/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ranges.h: a set of file extents as few ascending ranges of bytes, as a lock needs it.
 *
 * What it promises
 *  - Every byte of the extents is in a range.
 *  - The ranges are ascending, not empty, and don't touch each other.
 *  - When that takes more ranges than may be, the smallest gaps between them are covered too, and
 *    nothing else.
 */
#ifndef CLIENT_RANGES_H
#define CLIENT_RANGES_H

#include <stddef.h>
#include <stdint.h>

#include "weft/weft.h"

struct range {
    uint64_t start, end; /* at most INT64_MAX: what lies beyond the largest file offset can't be there */
};

/* At most `count_max` ranges, at least 1; *ranges is to be freed, and NULL when there are none. -ENOMEM. */
int ranges_of_extents(const struct weft_extent *extents, size_t extent_count, uint32_t count_max,
                      struct range **ranges, uint32_t *count);

#endif
