/* SPDX-License-Identifier: Apache-2.0 */
#include "pieces.h"

#include <string.h>

void pieces_pack(const struct iovec *pieces, size_t piece_count, void *packed)
{
    char *at = packed;
    for (size_t i = 0; i < piece_count; i++) {
        if (pieces[i].iov_len)
            memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
}

void pieces_fill(struct pieces_place *place, const void *source, uint64_t length)
{
    const char *from = source;
    while (length > 0) {
        size_t left = place->piece->iov_len - place->done;
        if (left == 0) {
            place->piece++;
            place->done = 0;
            continue;
        }
        size_t step = left < length ? left : (size_t)length;
        char *target = (char *)place->piece->iov_base + place->done;
        if (from) {
            memcpy(target, from, step);
            from += step;
        } else {
            memset(target, 0, step);
        }
        place->done += step;
        length -= step;
    }
}

/* The packed bytes stand at the start of the one piece that they belong in. No extent
 * belongs in front of where it stands packed, so going backward overwrites nothing
 * that is still needed. */
static void unpack_in_place(const struct planner_request *request, const uint32_t *present)
{
    char *memory = request->pieces[0].iov_base;
    uint64_t packed = 0, end = request->bytes;
    for (uint32_t i = 0; i < request->extent_count; i++)
        packed += present[i];
    for (uint32_t i = request->extent_count; i-- > 0;) {
        uint32_t length = request->extents[i].length;
        end -= length;
        packed -= present[i];
        if (packed != end)
            memmove(memory + end, memory + packed, present[i]);
        memset(memory + end + present[i], 0, length - present[i]);
    }
}

void pieces_unpack(const struct planner_request *request, const uint32_t *present, const void *packed)
{
    if (packed == request->pieces[0].iov_base) {
        if (present)
            unpack_in_place(request, present);
        return;
    }
    struct pieces_place place = {.piece = request->pieces};
    const char *at = packed;
    if (!present) {
        pieces_fill(&place, at, request->bytes);
        return;
    }
    for (uint32_t i = 0; i < request->extent_count; i++) {
        pieces_fill(&place, at, present[i]);
        pieces_fill(&place, NULL, request->extents[i].length - present[i]);
        at += present[i];
    }
}
