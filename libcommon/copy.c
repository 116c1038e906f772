/* SPDX-License-Identifier: Apache-2.0 */
#include "copy.h"

#include <stdint.h>
#include <string.h>

enum {
    PAGE_BYTES = 4096,
    SHORT_BYTES = 2048, /* up to here the C library does it itself */
    LONG_BYTES = 16384, /* from here on a loop is no slower, and faster when the source is not in a cache */
    NEAR_BYTES = 256, /* a target so far behind within a page: a loop upwards would wait for its own stores */
    LINE_BYTES = 64,
};

typedef uint64_t vector __attribute__((vector_size(16), aligned(1), may_alias));

static inline void copy_line(uint8_t *to, const uint8_t *from)
{
    const vector *in = (const vector *)from;
    vector *out = (vector *)to;
    const vector a = in[0], b = in[1], c = in[2], d = in[3];
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
}

static void copy_up(uint8_t *to, const uint8_t *from, size_t length)
{
    for (; length >= LINE_BYTES; length -= LINE_BYTES, to += LINE_BYTES, from += LINE_BYTES)
        copy_line(to, from);
    memcpy(to, from, length);
}

static void copy_down(uint8_t *to, const uint8_t *from, size_t length)
{
    for (; length >= LINE_BYTES; length -= LINE_BYTES)
        copy_line(to + length - LINE_BYTES, from + length - LINE_BYTES);
    memcpy(to, from, length);
}

void copy_bytes(void *to, const void *from, size_t length)
{
    const size_t behind = ((uintptr_t)to - (uintptr_t)from) % PAGE_BYTES;
    if (length <= SHORT_BYTES || (length < LONG_BYTES && (behind == 0 || behind >= NEAR_BYTES)))
        memcpy(to, from, length);
    else if (behind > 0 && behind < NEAR_BYTES)
        copy_down(to, from, length);
    else
        copy_up(to, from, length);
}
