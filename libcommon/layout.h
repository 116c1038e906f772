/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout.h: where a byte is. Pure functions of a file's layout; specified in
 * docs/layout.md and pinned by golden vectors, because two builds that disagree
 * here lose data.
 *
 *   chunk    c = offset / chunk_size
 *   position s = c mod stripe_count          (which of the file's groups)
 *   group    g = (a + b * s) mod group_count (a, b from the seed; gcd(b, group_count) = 1),
 *            counted among those of one host when the file is on one (map.h)
 *   row      r = c / stripe_count            (the chunk's place in that group)
 *   shard    k = r mod shard_count           (of the target that holds the group)
 */
#ifndef COMMON_LAYOUT_H
#define COMMON_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

struct layout {
    uint64_t chunk_size;   /* bytes */
    uint64_t seed;
    uint32_t stripe_count; /* 1 to group_count */
    uint32_t group_count;  /* groups of the pool, or of the host, at creation; they are only ever appended */
    uint32_t host;         /* number of the host that has the file (map.h); 0: it is spread over all */
};

/* Where one byte lies. */
struct layout_place {
    uint64_t chunk;
    uint64_t row;
    uint32_t position;
    uint32_t group; /* of a file on one host: counted among the host's; map_group_of() tells which that is */
};

/* The fields make sense together (chunk size in bounds, counts not 0, ...). */
bool layout_valid(const struct layout *layout);

/* Fills in what is not given (zero fields) and checks the rest: stripe_count 0
 * means all groups; a stripe_count above group_count is cut to it. -EINVAL with
 * a text when a value is out of range. */
int layout_complete(struct layout *layout);

/* The 64-bit finalizer all placement hashing uses (SplitMix64; Steele, Lea and
 * Flood, OOPSLA 2014). */
uint64_t layout_hash(uint64_t value);
/* Of a new file with this inode number. */
uint64_t layout_seed(uint64_t ino);
/* Bytes of space that a small file of this size counts for, on both sides: whole blocks of st_blocks. */
static inline uint64_t layout_small_space(uint64_t size)
{
    return (size + 511) / 512 * 512;
}

uint32_t layout_group_of(const struct layout *layout, uint32_t position);
struct layout_place layout_place_of(const struct layout *layout, uint64_t offset);
uint32_t layout_shard_of(uint64_t row, uint32_t shard_count);

/*
 * Truncation and size, seen from one shard of one position. The shard holds
 * the rows r with r mod shard_count == shard, packed: row r lies at local
 * index r / shard_count.
 */
struct layout_part {
    uint32_t position;
    uint32_t shard;
    uint32_t shard_count;
};

/* The part's local length (bytes, packed chunks) of a file of `size` bytes
 * that has no holes: what a truncate to `size` cuts the part down to. */
uint64_t layout_part_length(const struct layout *layout, const struct layout_part *part, uint64_t size);

/* The file offset just behind the part's last byte, for a part of local
 * length `length`; 0 when the part is empty. The file's size is the largest
 * of these over all its parts. */
uint64_t layout_part_end(const struct layout *layout, const struct layout_part *part, uint64_t length);

/* The local offset at which file offset `offset` lies in the part that holds it. */
uint64_t layout_part_offset(const struct layout *layout, uint32_t shard_count, uint64_t offset);

/* The other way round: the file offset of the part's byte at `local`; UINT64_MAX when no file is so
 * long. */
uint64_t layout_file_offset(const struct layout *layout, const struct layout_part *part, uint64_t local);

#endif
