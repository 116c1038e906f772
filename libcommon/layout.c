/* SPDX-License-Identifier: Apache-2.0 */
#include "layout.h"

#include <errno.h>
#include <inttypes.h>

#include "err.h"
#include "weft_limits.h"

/* Used by whoever leaves the choice to us. */
#define CHUNK_BYTES_DEFAULT (UINT64_C(1) << 20)

/* Tells the hash for b from the one for a: "WeftStrd" in ASCII. Part of the
 * specification, like everything below: docs/layout.md. */
#define STRIDE_TAG UINT64_C(0x5765667453747264)

static bool chunk_size_valid(uint64_t chunk_size)
{
    return chunk_size >= WEFT_CHUNK_BYTES_MIN && chunk_size <= WEFT_CHUNK_BYTES_MAX;
}

bool layout_valid(const struct layout *layout)
{
    return chunk_size_valid(layout->chunk_size) && layout->group_count >= 1 &&
           layout->group_count <= LIMITS_GROUPS_MAX && layout->stripe_count >= 1 &&
           layout->stripe_count <= layout->group_count && layout->host <= LIMITS_HOSTS_MAX;
}

int layout_complete(struct layout *layout)
{
    if (layout->chunk_size == 0)
        layout->chunk_size = CHUNK_BYTES_DEFAULT;
    if (!chunk_size_valid(layout->chunk_size))
        return err_set(-EINVAL, "a chunk size of %" PRIu64 " bytes is not possible; choose one from %u to %u",
                       layout->chunk_size, WEFT_CHUNK_BYTES_MIN, WEFT_CHUNK_BYTES_MAX);
    if (layout->group_count == 0)
        return err_set(-EINVAL,
                       "the pool has no groups to place a file on; have storage servers registered?");
    if (layout->group_count > LIMITS_GROUPS_MAX)
        return err_set(-EINVAL, "a layout over %" PRIu32 " groups is not possible; the most is %u",
                       layout->group_count, LIMITS_GROUPS_MAX);
    if (layout->stripe_count == 0 || layout->stripe_count > layout->group_count)
        layout->stripe_count = layout->group_count;
    return 0;
}

uint64_t layout_hash(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

/* Makes a file's seed differ from its number, so that placement does not
 * follow from the order of creation. "WeftSeed" in ASCII. */
#define SEED_TAG UINT64_C(0x5765667453656564)

uint64_t layout_seed(uint64_t ino)
{
    return layout_hash(ino ^ SEED_TAG);
}

static uint64_t greatest_common_divisor(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

uint32_t layout_group_of(const struct layout *layout, uint32_t position)
{
    uint64_t groups = layout->group_count;
    uint64_t a = layout_hash(layout->seed) % groups;
    uint64_t b = layout_hash(layout->seed ^ STRIDE_TAG) % groups;
    /* Ends at groups - 1 at the latest, which is coprime with groups. */
    while (greatest_common_divisor(b, groups) != 1)
        b++;
    /* All are below 2^32, so this is below 2^64. */
    return (uint32_t)((a + b * position) % groups);
}

struct layout_place layout_place_of(const struct layout *layout, uint64_t offset)
{
    uint64_t chunk = offset / layout->chunk_size;
    uint32_t position = (uint32_t)(chunk % layout->stripe_count);
    return (struct layout_place){
        .chunk = chunk,
        .row = chunk / layout->stripe_count,
        .position = position,
        .group = layout_group_of(layout, position),
    };
}

uint32_t layout_shard_of(uint64_t row, uint32_t shard_count)
{
    return (uint32_t)(row % shard_count);
}

/* The chunks of a part are first, first + step, first + 2 * step, ... */
static uint64_t part_first(const struct layout *layout, const struct layout_part *part)
{
    return (uint64_t)part->shard * layout->stripe_count + part->position;
}

static uint64_t part_step(const struct layout *layout, const struct layout_part *part)
{
    return (uint64_t)part->shard_count * layout->stripe_count;
}

uint64_t layout_part_length(const struct layout *layout, const struct layout_part *part, uint64_t size)
{
    uint64_t first = part_first(layout, part), step = part_step(layout, part);
    uint64_t whole = size / layout->chunk_size; /* chunks before the one that `size` cuts */
    if (whole < first)
        return 0;
    uint64_t behind = whole - first;
    uint64_t chunks = (behind + step - 1) / step;
    uint64_t length = chunks * layout->chunk_size;
    if (behind % step == 0)
        length += size % layout->chunk_size;
    return length;
}

uint64_t layout_file_offset(const struct layout *layout, const struct layout_part *part, uint64_t local)
{
    uint64_t chunk, start, offset;
    /* A place that no file can have (a peer's word) must not wrap around to a small one. */
    if (__builtin_mul_overflow(local / layout->chunk_size, part_step(layout, part), &chunk) ||
        __builtin_add_overflow(chunk, part_first(layout, part), &chunk) ||
        __builtin_mul_overflow(chunk, layout->chunk_size, &start) ||
        __builtin_add_overflow(start, local % layout->chunk_size, &offset))
        return UINT64_MAX;
    return offset;
}

uint64_t layout_part_end(const struct layout *layout, const struct layout_part *part, uint64_t length)
{
    if (length == 0)
        return 0;
    const uint64_t last = layout_file_offset(layout, part, length - 1);
    return last == UINT64_MAX ? last : last + 1;
}

uint64_t layout_part_offset(const struct layout *layout, uint32_t shard_count, uint64_t offset)
{
    uint64_t row = offset / layout->chunk_size / layout->stripe_count;
    return row / shard_count * layout->chunk_size + offset % layout->chunk_size;
}
