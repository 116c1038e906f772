/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_space.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "cs_tree.h"

static_assert(CS_STRIP_BLOCKS == 64, "a strip's blocks are the bits of one word");

static bool bit(const uint64_t *bits, uint32_t block)
{
    return bits[block / 64] >> block % 64 & 1;
}

static void bit_set(uint64_t *bits, uint32_t block)
{
    bits[block / 64] |= UINT64_C(1) << block % 64;
}

static void bit_clear(uint64_t *bits, uint32_t block)
{
    bits[block / 64] &= ~(UINT64_C(1) << block % 64);
}

static struct cs_key group_key(uint32_t group)
{
    return (struct cs_key){.kind = CS_KIND_GROUP, .index = group};
}

/* ---- life --------------------------------------------------------------- */

static int more_room(uint64_t **bits, uint32_t before, uint32_t after)
{
    uint64_t *more = realloc(*bits, (size_t)after * CS_GROUP_BYTES);
    if (!more)
        return err_set(-ENOMEM, "no memory for the map of blocks");
    memset(more + (size_t)before * CS_GROUP_WORDS, 0, (size_t)(after - before) * CS_GROUP_BYTES);
    *bits = more;
    return 0;
}

/* Likewise, a bit for each word. */
static int more_words(uint64_t **bits, uint32_t before, uint32_t after)
{
    enum { WORDS = CS_GROUP_WORDS / 64 };
    uint64_t *more = realloc(*bits, (size_t)after * WORDS * sizeof **bits);
    if (!more)
        return err_set(-ENOMEM, "no memory for the map of blocks");
    memset(more + (size_t)before * WORDS, 0, (size_t)(after - before) * WORDS * sizeof **bits);
    *bits = more;
    return 0;
}

int cs_space_blocks_set(struct cs_space *space, uint32_t blocks)
{
    const uint32_t groups = blocks / CS_GROUP_BLOCKS + (blocks % CS_GROUP_BLOCKS != 0);
    if (groups > space->room) {
        uint32_t room = groups + groups / 4;
        uint8_t *dirty = realloc(space->dirty, room);
        if (!dirty)
            return err_set(-ENOMEM, "no memory for the map of blocks");
        memset(dirty + space->room, 0, room - space->room);
        space->dirty = dirty;
        int error = more_room(&space->used, space->room, room);
        if (!error)
            error = more_room(&space->freed, space->room, room);
        if (!error)
            error = more_room(&space->fresh, space->room, room);
        if (!error)
            error = more_words(&space->stale, space->room, room);
        if (!error)
            error = more_words(&space->holes, space->room, room);
        if (error)
            return error;
        space->room = room;
    }
    space->free += blocks - space->blocks;
    space->no_strips = false;
    space->blocks = blocks;
    space->groups = groups;
    return 0;
}

/* All of it in use: nobody knows better. */
static void take_group(struct cs_space *space, uint32_t group)
{
    memset(space->used + (size_t)group * CS_GROUP_WORDS, 0xff, CS_GROUP_BYTES);
}

static int read_group(struct cs_space *space, uint32_t group)
{
    const struct cs_key key = group_key(group);
    struct cs_record record;
    int error = cs_tree_get(space->pages, &key, &record);
    if (error == -ENOENT)
        return 0; /* never used */
    if (!error && record.length != CS_GROUP_BYTES)
        error = err_set(-EBADMSG, "the record of the blocks of group %" PRIu32 " has a wrong length", group);
    if (error) {
        take_group(space, group);
        return error;
    }
    memcpy(space->used + (size_t)group * CS_GROUP_WORDS, record.value, CS_GROUP_BYTES);
    return 0;
}

/* Blocks in use from a multiple of 64 on. */
static uint32_t count_used(const struct cs_space *space, uint32_t from, uint32_t to)
{
    uint32_t used = 0;
    for (uint32_t word = from / 64; word < to / 64; word++)
        used += (uint32_t)__builtin_popcountll(space->used[word]);
    for (uint32_t block = to / 64 * 64; block < to; block++)
        used += bit(space->used, block);
    return used;
}

int cs_space_open(struct cs_space *space, struct cs_pages *pages, uint32_t blocks)
{
    *space = (struct cs_space){.pages = pages};
    int error = cs_space_blocks_set(space, blocks), first = 0;
    if (error)
        return error;
    for (uint32_t group = 0; group < space->groups; group++) {
        error = read_group(space, group);
        first = first ? first : error;
        cs_pages_trim(pages);
    }
    space->free = space->blocks - count_used(space, 0, space->blocks);
    return first;
}

void cs_space_close(struct cs_space *space)
{
    free(space->used);
    free(space->freed);
    free(space->fresh);
    free(space->stale);
    free(space->holes);
    free(space->dirty);
    cs_numbers_free(&space->pending);
    cs_numbers_free(&space->releasing);
    *space = (struct cs_space){0};
}

/* ---- giving out --------------------------------------------------------- */

/* What the disk is to hold of a group after the next commit. */
static void group_bits(const struct cs_space *space, uint32_t group, uint64_t bits[CS_GROUP_WORDS])
{
    const size_t from = (size_t)group * CS_GROUP_WORDS;
    for (unsigned i = 0; i < CS_GROUP_WORDS; i++)
        bits[i] = space->used[from + i] & ~space->freed[from + i];
}

/* The seal can then fill in the record without taking a page, or reading one. */
static int touch_group(struct cs_space *space, uint32_t group)
{
    const struct cs_key key = group_key(group);
    uint64_t bits[CS_GROUP_WORDS];
    if (space->dirty[group])
        return 0;
    group_bits(space, group, bits);
    int error = cs_tree_put(space->pages, &key, bits, sizeof bits);
    if (error)
        return error;
    space->dirty[group] = 1;
    space->dirty_groups++;
    return 0;
}

/* The first word of the map, from the cursor on and round, with a free block, or quite free. */
static bool find_word(const struct cs_space *space, uint32_t cursor, bool whole, uint32_t *word)
{
    const uint32_t words = space->blocks / 64;
    for (uint32_t i = 0; i < words; i++) {
        uint32_t at = cursor + i < words ? cursor + i : cursor + i - words;
        if (whole ? space->used[at] == 0 : space->used[at] != UINT64_MAX) {
            *word = at;
            return true;
        }
    }
    return false;
}

static bool find_block(struct cs_space *space, uint32_t wish, bool wide, uint32_t *block)
{
    uint32_t word;
    if (space->free == 0)
        return false;
    if (wish < space->blocks && !bit(space->used, wish)) {
        *block = wish;
        return true;
    }
    if (wide && !space->no_strips) {
        if (find_word(space, space->cursor_strip, true, &word)) {
            space->cursor_strip = word + 1 < space->blocks / 64 ? word + 1 : 0;
            *block = word * 64;
            return true;
        }
        space->no_strips = true;
    }
    if (find_word(space, space->cursor_small, false, &word)) {
        space->cursor_small = word;
        *block = word * 64 + (uint32_t)__builtin_ctzll(~space->used[word]);
        return true;
    }
    for (*block = space->blocks / 64 * 64; *block < space->blocks; ++*block)
        if (!bit(space->used, *block))
            return true;
    return false;
}

int cs_space_take(struct cs_space *space, uint32_t wish, bool wide, uint32_t *block)
{
    if (!find_block(space, wish, wide, block))
        return -ENOSPC;
    int error = touch_group(space, *block / CS_GROUP_BLOCKS);
    if (error)
        return error;
    bit_set(space->used, *block);
    bit_set(space->fresh, *block);
    space->free--;
    return 0;
}

static void make_stale(struct cs_space *space, uint32_t block)
{
    space->stale_words += !bit(space->stale, block / 64);
    bit_set(space->stale, block / 64);
}

int cs_space_reserve(struct cs_space *space, uint32_t wish, bool wide, uint32_t from, uint32_t *block)
{
    if (!find_block(space, wish, wide, block))
        return -ENOSPC;
    if (*block != wish && *block % 64 == 0 && space->used[*block / 64] == 0)
        *block += from;
    bit_set(space->used, *block);
    bit_set(space->freed, *block);
    space->free--;
    return 0;
}

int cs_space_keep(struct cs_space *space, uint32_t block)
{
    int error = touch_group(space, block / CS_GROUP_BLOCKS);
    if (error)
        return error;
    bit_clear(space->freed, block);
    bit_set(space->fresh, block);
    return 0;
}

void cs_space_drop(struct cs_space *space, uint32_t block)
{
    bit_clear(space->freed, block);
    bit_clear(space->used, block);
    make_stale(space, block);
    space->free++;
}

int cs_space_claim(struct cs_space *space, uint32_t block)
{
    uint32_t taken;
    if (block >= space->blocks || bit(space->used, block))
        return err_set(-EBADMSG, "block %" PRIu32 " is not free", block);
    return cs_space_take(space, block, false, &taken);
}

int cs_space_may_give(struct cs_space *space, uint32_t block)
{
    int error = cs_numbers_room(&space->pending, CS_STRIP_BLOCKS);
    return error ? error : touch_group(space, block / CS_GROUP_BLOCKS);
}

void cs_space_give(struct cs_space *space, uint32_t block)
{
    assert(block < space->blocks && bit(space->used, block) && !bit(space->freed, block));
    assert(space->dirty[block / CS_GROUP_BLOCKS]);
    if (bit(space->fresh, block)) {
        bit_clear(space->fresh, block);
        bit_clear(space->used, block);
        make_stale(space, block);
        space->free++;
        return;
    }
    assert(space->pending.count < space->pending.room);
    space->pending.list[space->pending.count++] = block;
    bit_set(space->freed, block);
}

bool cs_space_is_fresh(const struct cs_space *space, uint32_t block)
{
    return bit(space->fresh, block);
}

bool cs_space_is_used(const struct cs_space *space, uint32_t block)
{
    return block < space->blocks && bit(space->used, block) && !bit(space->freed, block);
}

int cs_space_group_set(struct cs_space *space, uint32_t group, const uint64_t bits[CS_GROUP_WORDS])
{
    const uint32_t from = group * CS_GROUP_BLOCKS;
    const uint32_t to = space->blocks - from < CS_GROUP_BLOCKS ? space->blocks : from + CS_GROUP_BLOCKS;
    const size_t word = (size_t)group * CS_GROUP_WORDS;
    assert(group < space->groups && space->pending.count == 0 && space->releasing.count == 0);
    int error = touch_group(space, group);
    if (error)
        return error;
    space->free += count_used(space, from, to);
    memcpy(space->used + word, bits, CS_GROUP_BYTES);
    memset(space->freed + word, 0, CS_GROUP_BYTES);
    memset(space->fresh + word, 0, CS_GROUP_BYTES);
    space->free -= count_used(space, from, to);
    space->no_strips = false;
    return 0;
}

/* ---- space that is given back ------------------------------------------- */

static bool is_wanted(const struct cs_space *space, uint32_t word)
{
    return bit(space->stale, word) && space->used[word] == 0;
}

static void take_away(struct cs_space *space, uint32_t word)
{
    space->used[word] = space->freed[word] = UINT64_MAX;
    space->free -= 64;
}

static void bring_back(struct cs_space *space, uint32_t word)
{
    space->used[word] = space->freed[word] = 0;
    space->free += 64;
    space->no_strips = false;
}

bool cs_space_discard_next(struct cs_space *space, uint32_t max, uint32_t *block, uint32_t *count)
{
    const uint32_t words = space->blocks / 64;
    uint32_t at = space->cursor_discard < words ? space->cursor_discard : 0, looked = 0, run = 0;
    while (looked < words && !is_wanted(space, at)) {
        /* 64 words at a time, where none of them is stale. */
        const uint32_t step = at % 64 == 0 && space->stale[at / 64] == 0 ? 64 : 1;
        looked += step;
        at = at + step < words ? at + step : 0;
    }
    if (looked >= words)
        return false;
    for (; at + run < words && run < max / 64 && is_wanted(space, at + run); run++)
        take_away(space, at + run);
    space->cursor_discard = at + run;
    space->discarding += run * 64;
    *block = at * 64;
    *count = run * 64;
    return run > 0;
}

void cs_space_discarded(struct cs_space *space, uint32_t block, uint32_t count, bool are_holes)
{
    for (uint32_t word = block / 64; word < (block + count) / 64; word++) {
        bit_clear(space->stale, word);
        space->stale_words--;
        if (are_holes)
            bit_set(space->holes, word);
        else
            bring_back(space, word);
    }
    space->discarding -= count;
    space->hole_blocks += are_holes ? count : 0;
}

bool cs_space_hole_next(const struct cs_space *space, uint32_t max, uint32_t *block, uint32_t *count)
{
    const uint32_t words = space->blocks / 64;
    uint32_t at = 0, run = 0;
    while (at < words && !bit(space->holes, at))
        at += at % 64 == 0 && space->holes[at / 64] == 0 ? 64 : 1;
    while (at + run < words && run < max / 64 && bit(space->holes, at + run))
        run++;
    *block = at * 64;
    *count = run * 64;
    return run > 0;
}

void cs_space_filled(struct cs_space *space, uint32_t block, uint32_t count)
{
    for (uint32_t word = block / 64; word < (block + count) / 64; word++) {
        bit_clear(space->holes, word);
        bring_back(space, word);
    }
    space->hole_blocks -= count;
}

void cs_space_all_stale(struct cs_space *space)
{
    for (uint32_t word = 0; word < space->blocks / 64; word++)
        make_stale(space, word * 64);
}

void cs_space_all_holes(struct cs_space *space)
{
    for (uint32_t word = 0; word < space->blocks / 64; word++) {
        if (space->used[word])
            continue;
        take_away(space, word);
        bit_set(space->holes, word);
        space->hole_blocks += 64;
    }
}

/* ---- a commit ----------------------------------------------------------- */

int cs_space_seal(struct cs_space *space)
{
    assert(space->releasing.count == 0);
    for (uint32_t group = 0; group < space->groups && space->dirty_groups > 0; group++) {
        const struct cs_key key = group_key(group);
        uint64_t bits[CS_GROUP_WORDS];
        if (!space->dirty[group])
            continue;
        group_bits(space, group, bits);
        struct cs_record record;
        /* It was made writable when the group was touched, so this can't fail. */
        int error = cs_tree_get(space->pages, &key, &record);
        if (error || record.length != sizeof bits)
            return error ? error : err_set(-EBADMSG, "the record of group %" PRIu32 " has changed", group);
        memcpy((void *)record.value, bits, sizeof bits);
        memset(space->fresh + (size_t)group * CS_GROUP_WORDS, 0, CS_GROUP_BYTES);
        space->dirty[group] = 0;
        space->dirty_groups--;
    }
    struct cs_numbers empty = space->releasing;
    space->releasing = space->pending;
    space->pending = empty;
    for (size_t i = 0; i < space->releasing.count; i++)
        bit_clear(space->freed, space->releasing.list[i]);
    return 0;
}

void cs_space_release(struct cs_space *space)
{
    for (size_t i = 0; i < space->releasing.count; i++) {
        bit_clear(space->used, space->releasing.list[i]);
        make_stale(space, space->releasing.list[i]);
        space->free++;
        space->no_strips = false;
    }
    space->releasing.count = 0;
}
