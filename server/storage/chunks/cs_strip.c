/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_strip.h"

#include <errno.h>
#include <string.h>

#include "err.h"

enum { CACHE_LINE = 64 };

void cs_strip_clear(struct cs_strip *strip)
{
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i++)
        strip->block[i] = CS_HOLE;
    memset(strip->crc, 0, sizeof strip->crc);
}

static_assert(CS_STRIP_BLOCKS == 64, "a strip's blocks are the bits of one word");

bool cs_strip_is_hole(const struct cs_strip *strip)
{
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i++)
        if (strip->block[i] != CS_HOLE)
            return false;
    return true;
}

uint32_t cs_strip_place(const struct cs_strip *strip, unsigned i)
{
    for (unsigned k = i; k-- > 0;)
        if (strip->block[k] != CS_HOLE)
            return strip->block[k] + (i - k);
    for (unsigned k = i + 1; k < CS_STRIP_BLOCKS; k++)
        if (strip->block[k] != CS_HOLE && strip->block[k] >= k - i)
            return strip->block[k] - (k - i);
    return CS_HOLE;
}

static const char *fault_of(const struct cs_strip_head *head, uint32_t length)
{
    if (head->runs == 0 || head->runs > CS_STRIP_BLOCKS || head->blocks > CS_STRIP_BLOCKS || head->zero)
        return "its head";
    if (length != sizeof *head + head->runs * sizeof(struct cs_strip_run) + head->blocks * sizeof(uint32_t))
        return "its length";
    return NULL;
}

/* Runs are short where many small writes were, and not worth a call for each. */
static void set_run(struct cs_strip *strip, const struct cs_strip_run *run, const uint8_t *crcs)
{
    for (unsigned k = 0; k < run->count; k++) {
        strip->block[run->first + k] = run->block + k;
        memcpy(&strip->crc[run->first + k], crcs + k * sizeof(uint32_t), sizeof(uint32_t));
    }
}

int cs_strip_decode(const void *value, uint32_t length, uint32_t blocks, struct cs_strip *strip)
{
    const uint8_t *at = value;
    struct cs_strip_head head;
    const char *fault = "its length";
    unsigned end = 0, count = 0;
    /* The loop below is too long for the processor to ask for all of it at once. */
    for (uint32_t i = 0; i < length; i += CACHE_LINE)
        __builtin_prefetch(at + i);
    cs_strip_clear(strip);
    if (length < sizeof head)
        goto damaged;
    memcpy(&head, at, sizeof head);
    fault = fault_of(&head, length);
    if (fault)
        goto damaged;
    const uint8_t *crcs = at + sizeof head + head.runs * sizeof(struct cs_strip_run);
    fault = "a run";
    for (unsigned i = 0; i < head.runs; i++) {
        struct cs_strip_run run;
        memcpy(&run, at + sizeof head + i * sizeof run, sizeof run);
        if (run.count == 0 || run.first < end || run.count > CS_STRIP_BLOCKS - run.first ||
            run.count > head.blocks - count || run.block >= blocks || run.count > blocks - run.block)
            goto damaged;
        set_run(strip, &run, crcs + count * sizeof(uint32_t));
        count += run.count;
        end = run.first + run.count;
    }
    if (count == head.blocks)
        return 0;
damaged:
    cs_strip_clear(strip);
    return err_set(-EBADMSG, "the record of a strip is damaged: %s is impossible", fault);
}

uint32_t cs_strip_encode(const struct cs_strip *strip, uint64_t blocks, uint8_t value[CS_VALUE_MAX])
{
    struct cs_strip_head head = {0};
    struct cs_strip_run runs[CS_STRIP_BLOCKS];
    uint32_t crcs[CS_STRIP_BLOCKS];
    while (blocks) {
        const unsigned first = cs_strip_next(&blocks);
        const uint32_t block = strip->block[first];
        unsigned end = first + 1;
        if (block == CS_HOLE)
            continue;
        crcs[head.blocks++] = strip->crc[first];
        for (; end < CS_STRIP_BLOCKS && strip->block[end] == block + (end - first) && blocks >> end & 1;
             end++) {
            crcs[head.blocks++] = strip->crc[end];
            blocks &= blocks - 1;
        }
        runs[head.runs++] =
            (struct cs_strip_run){.first = (uint8_t)first, .count = (uint8_t)(end - first), .block = block};
    }
    if (head.runs == 0)
        return 0;
    const uint32_t run_bytes = head.runs * (uint32_t)sizeof runs[0];
    const uint32_t crc_bytes = head.blocks * (uint32_t)sizeof crcs[0];
    memcpy(value, &head, sizeof head);
    memcpy(value + sizeof head, runs, run_bytes);
    memcpy(value + sizeof head + run_bytes, crcs, crc_bytes);
    return (uint32_t)sizeof head + run_bytes + crc_bytes;
}
