/* SPDX-License-Identifier: Apache-2.0 */
#include "ranges.h"

#include <errno.h>
#include <stdlib.h>

#include "err.h"

static int by_start(const void *a, const void *b)
{
    const struct range *one = a, *other = b;
    return one->start < other->start ? -1 : one->start > other->start;
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *one = a, *other = b;
    return *one < *other ? -1 : *one > *other;
}

/* What the extents cover of what a file can have; false when that is nothing. */
static bool range_of(const struct weft_extent *extent, struct range *range)
{
    if (extent->length == 0 || extent->offset >= INT64_MAX)
        return false;
    range->start = extent->offset;
    range->end = extent->length < INT64_MAX - extent->offset ? extent->offset + extent->length : INT64_MAX;
    return true;
}

/* Joins neighbours with a gap of less than `gap_min` between them, and, of those with just so much,
 * as many as `equal_max`. */
static size_t join(struct range *ranges, size_t count, uint64_t gap_min, size_t equal_max)
{
    size_t kept = 0;
    for (size_t i = 1; i < count; i++) {
        struct range *last = &ranges[kept];
        uint64_t gap = ranges[i].start > last->end ? ranges[i].start - last->end : 0;
        bool joined = gap < gap_min || (gap == gap_min && equal_max > 0);
        if (joined && gap == gap_min)
            equal_max--;
        if (!joined)
            ranges[++kept] = ranges[i];
        else if (ranges[i].end > last->end)
            last->end = ranges[i].end;
    }
    return count ? kept + 1 : 0;
}

/* So many gaps have to go that `count_max` ranges are left: the smallest ones. */
static int coarsen(struct range *ranges, size_t *count, uint32_t count_max)
{
    size_t gap_count = *count - 1, excess = *count - count_max, smaller = 0;
    uint64_t *gaps = malloc(gap_count * sizeof *gaps);
    if (!gaps)
        return err_set(-ENOMEM, "out of memory for a lock with %zu ranges", *count);
    for (size_t i = 0; i < gap_count; i++)
        gaps[i] = ranges[i + 1].start - ranges[i].end;
    qsort(gaps, gap_count, sizeof *gaps, by_value);
    uint64_t largest = gaps[excess - 1];
    while (gaps[smaller] < largest)
        smaller++;
    free(gaps);
    *count = join(ranges, *count, largest, excess - smaller);
    return 0;
}

int ranges_of_extents(const struct weft_extent *extents, size_t extent_count, uint32_t count_max,
                      struct range **out, uint32_t *out_count)
{
    size_t count = 0;
    *out = NULL;
    *out_count = 0;
    if (extent_count > SIZE_MAX / sizeof(struct range))
        return err_set(-ENOMEM, "a lock can't have %zu extents", extent_count);
    struct range *ranges = malloc((extent_count ? extent_count : 1) * sizeof *ranges);
    if (!ranges)
        return err_set(-ENOMEM, "out of memory for a lock with %zu extents", extent_count);
    bool sorted = true;
    for (size_t i = 0; i < extent_count; i++) {
        if (!range_of(&extents[i], &ranges[count]))
            continue;
        sorted = sorted && (count == 0 || ranges[count - 1].start <= ranges[count].start);
        count++;
    }
    if (!sorted)
        qsort(ranges, count, sizeof *ranges, by_start);
    count = join(ranges, count, 1, 0);
    int result = count > count_max ? coarsen(ranges, &count, count_max) : 0;
    if (result < 0 || count == 0) {
        free(ranges);
        return result;
    }
    *out = ranges;
    *out_count = (uint32_t)count;
    return 0;
}
