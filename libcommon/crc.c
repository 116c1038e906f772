/* SPDX-License-Identifier: Apache-2.0 */
#include "crc.h"

#include <isa-l/crc.h>

/* The library takes an int for the length. */
#define PIECE_BYTES_MAX ((size_t)1 << 30)

uint32_t crc_of(uint32_t crc, const void *data, size_t length)
{
    unsigned char *at = (unsigned char *)data; /* only read, whatever the prototype says */
    /* The library leaves the inversions before and after to its caller. */
    uint32_t state = ~crc;
    while (length > 0) {
        size_t piece = length < PIECE_BYTES_MAX ? length : PIECE_BYTES_MAX;
        state = crc32_iscsi(at, (int)piece, state);
        at += piece;
        length -= piece;
    }
    return ~state;
}
