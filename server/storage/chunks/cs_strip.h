/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_strip.h: a strip, 64 blocks of an object one behind the other, in memory: where each
 * block lies and its checksum; and its record (cs_format.h), which has runs. Pure functions.
 */
#ifndef CS_STRIP_H
#define CS_STRIP_H

#include <stdbool.h>

#include "cs_format.h"

#define CS_HOLE UINT32_MAX

struct cs_strip {
    uint32_t block[CS_STRIP_BLOCKS]; /* CS_HOLE: none, all zeros */
    uint32_t crc[CS_STRIP_BLOCKS];
};

void cs_strip_clear(struct cs_strip *strip);
unsigned cs_strip_count(const struct cs_strip *strip);

/* -EBADMSG with a text when the record is not as it can be; blocks are below `blocks`. */
int cs_strip_decode(const void *value, uint32_t length, uint32_t blocks, struct cs_strip *strip);
/* Returns the length; 0 when all is a hole. */
uint32_t cs_strip_encode(const struct cs_strip *strip, uint8_t value[CS_VALUE_MAX]);

#endif
