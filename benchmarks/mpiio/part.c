/* SPDX-License-Identifier: Apache-2.0 */
/*
 * part.c: what one rank transfers, and the bytes that belong there.
 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "common/program.h"
#include "common/word.h"

static void *must(void *memory)
{
    if (memory == NULL)
        program_die("out of memory");
    return memory;
}

void part_init(struct part *part)
{
    *part = (struct part){.etype = MPI_DATATYPE_NULL, .filetype = MPI_DATATYPE_NULL};
}

void part_free(struct part *part)
{
    if (part->filetype != MPI_DATATYPE_NULL && part->filetype != part->etype)
        MPI_Type_free(&part->filetype);
    free(part->segments);
    free(part->calls);
    part_init(part);
}

void part_segments(struct part *part, int64_t offset, int64_t length, int64_t stride, int64_t count)
{
    if (length <= 0 || count <= 0)
        return;
    if (part->segment_count == part->segment_room) {
        part->segment_room = part->segment_room ? 2 * part->segment_room : 16;
        part->segments = must(realloc(part->segments, part->segment_room * sizeof *part->segments));
    }
    part->segments[part->segment_count++] = (struct segment){offset, length, stride, count};
    part->bytes += length * count;
}

void part_call(struct part *part, int64_t offset, int64_t bytes)
{
    if (part->call_count == part->call_room) {
        part->call_room = part->call_room ? 2 * part->call_room : 16;
        part->calls = must(realloc(part->calls, part->call_room * sizeof *part->calls));
    }
    part->calls[part->call_count++] = (struct call){offset, bytes};
}

void part_slices(struct part *part, int64_t slice)
{
    for (int64_t at = 0; at < part->bytes; at += slice)
        part_call(part, at, part->bytes - at < slice ? part->bytes - at : slice);
}

/* ---- bytes ------------------------------------------------------------ */

static uint8_t byte_at(uint64_t seed, uint64_t offset)
{
    return (uint8_t)(word_at(seed, offset / 8) >> 8 * (offset % 8));
}

static void fill(uint64_t seed, uint64_t offset, int64_t length, uint8_t *at)
{
    for (; length > 0 && offset % 8; length--)
        *at++ = byte_at(seed, offset++);
    for (; length >= 8; length -= 8, offset += 8, at += 8) {
        uint64_t word = word_at(seed, offset / 8);
        memcpy(at, &word, 8);
    }
    while (length-- > 0)
        *at++ = byte_at(seed, offset++);
}

static int64_t check_bytes(uint64_t seed, uint64_t offset, int64_t length, const uint8_t *at, int64_t *first)
{
    int64_t wrong = 0;
    for (int64_t i = 0; i < length; i++)
        if (at[i] != byte_at(seed, offset + (uint64_t)i) && wrong++ == 0 && *first < 0)
            *first = (int64_t)offset + i;
    return wrong;
}

static int64_t check(uint64_t seed, uint64_t offset, int64_t length, const uint8_t *at, int64_t *first)
{
    int64_t wrong = 0, head = (int64_t)(-offset % 8);
    if (head > length)
        head = length;
    wrong += check_bytes(seed, offset, head, at, first);
    int64_t done = head;
    for (; length - done >= 8; done += 8) {
        uint64_t word, there = word_at(seed, (offset + (uint64_t)done) / 8);
        memcpy(&word, at + done, 8);
        if (word != there)
            wrong += check_bytes(seed, offset + (uint64_t)done, 8, at + done, first);
    }
    return wrong + check_bytes(seed, offset + (uint64_t)done, length - done, at + done, first);
}

void part_fill(const struct part *part, uint64_t seed, void *memory)
{
    uint8_t *at = memory;
    for (size_t s = 0; s < part->segment_count; s++) {
        const struct segment *segment = &part->segments[s];
        for (int64_t i = 0; i < segment->count; i++, at += segment->length)
            fill(seed, (uint64_t)(segment->offset + i * segment->stride), segment->length, at);
    }
}

int64_t part_check(const struct part *part, uint64_t seed, const void *memory, int64_t *first_wrong)
{
    const uint8_t *at = memory;
    int64_t wrong = 0;
    *first_wrong = -1;
    for (size_t s = 0; s < part->segment_count; s++) {
        const struct segment *segment = &part->segments[s];
        for (int64_t i = 0; i < segment->count; i++, at += segment->length)
            wrong += check(seed, (uint64_t)(segment->offset + i * segment->stride), segment->length, at,
                           first_wrong);
    }
    return wrong;
}
