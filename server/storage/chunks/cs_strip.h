/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_strip.h: a strip, 64 blocks of an object one behind the other, in memory: where each
 * block lies and its checksum; and its record (cs_format.h), which has runs. Pure functions.
 */
#ifndef CS_STRIP_H
#define CS_STRIP_H

#include <stdbool.h>

#include "cs_format.h"

#define CS_HOLE       UINT32_MAX
#define CS_ALL_BLOCKS UINT64_MAX /* of a strip */

struct cs_strip {
    uint32_t block[CS_STRIP_BLOCKS]; /* CS_HOLE: none, all zeros */
    uint32_t crc[CS_STRIP_BLOCKS];
};

/* A change of one. Blocks that are not `touched` are the same before and after it. */
struct cs_change {
    uint64_t index; /* of the strip in its object */
    struct cs_strip before, strip;
    uint64_t touched; /* a bit for each block */
};

void cs_strip_clear(struct cs_strip *strip);
/* Whether it has no block at all. */
bool cs_strip_is_hole(const struct cs_strip *strip);
/* Where block i would lie behind or before its neighbours; CS_HOLE: it has none. */
uint32_t cs_strip_place(const struct cs_strip *strip, unsigned i);
/* The next one of a set of blocks, a bit for each, which is not empty; takes it out. */
static inline unsigned cs_strip_next(uint64_t *blocks)
{
    const unsigned i = (unsigned)__builtin_ctzll(*blocks);
    *blocks &= *blocks - 1;
    return i;
}

/* -EBADMSG with a text when the record is not as it can be; blocks are below `blocks`. */
int cs_strip_decode(const void *value, uint32_t length, uint32_t blocks, struct cs_strip *strip);
/* Those of `blocks` that are there, a bit for each. Returns the length; 0 when it is none. */
uint32_t cs_strip_encode(const struct cs_strip *strip, uint64_t blocks, uint8_t value[CS_VALUE_MAX]);

#endif
