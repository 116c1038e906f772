/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_space.h: which blocks of the file `data` are in use.
 *
 * What it promises
 *  - A block is given out once. One that a commit holds can be had again when
 *    the commit that let go of it is durable; one that no commit holds, at once.
 *  - The bits on disk are those of the commit that they belong to.
 *  - Blocks that follow each other in a strip lie so on the disk where there is room.
 *
 *  - Space is given back (discarded) in whole words of the map, 64 blocks, and only of those that are free,
 *    which no commit and nobody else then has.
 *
 * Memory: three bits for each block, and two for each word. Threads: one at a time (the store's lock).
 */
#ifndef CS_SPACE_H
#define CS_SPACE_H

#include "cs_pages.h"

enum { CS_GROUP_WORDS = CS_GROUP_BLOCKS / 64 };

struct cs_space {
    struct cs_pages *pages;
    uint64_t *used;  /* not to be given out */
    uint64_t *freed; /* used, but the commit that is sealed next lets go of it */
    uint64_t *fresh; /* given out since the last seal */
    uint8_t *dirty;  /* groups whose record is in a page that may be changed, to be filled in by the seal */
    uint32_t blocks, groups, room;
    uint32_t free; /* that can be given out now */
    uint32_t dirty_groups;
    uint32_t cursor_small; /* where the search for single blocks goes on; likewise for whole strips */
    uint32_t cursor_strip;
    bool no_strips; /* there is no room for a whole strip until something becomes free */
    /* Of each word of the map a bit: something in it was in use, and it was not discarded since; it has no
     * space behind it. What is a hole, or being discarded, is `used` and `freed`, so that nobody gets it, and
     * no commit takes it for in use; so is a block that is reserved. */
    uint64_t *stale, *holes;
    uint32_t stale_words, hole_blocks, discarding; /* how many; blocks that are being discarded */
    uint32_t cursor_discard;
    struct cs_numbers pending, releasing;
};

/* Reads the bits of all groups. -EBADMSG when records are damaged or missing: the
 * bits of those groups are set. */
int cs_space_open(struct cs_space *space, struct cs_pages *pages, uint32_t blocks);
void cs_space_close(struct cs_space *space);
/* The file has so many blocks now. */
int cs_space_blocks_set(struct cs_space *space, uint32_t blocks);

/*
 * One block: `wish` if that is free (UINT32_MAX: no wish), else one from which
 * a whole strip is free, when `wide`, else any. -ENOSPC without a text; or the tree's
 * errors, since the group's record is made writable: -EAGAIN, -EBADMSG, -ENOSPC.
 */
int cs_space_take(struct cs_space *space, uint32_t wish, bool wide, uint32_t *block);
/* As cs_space_take(), but no commit takes the block for in use, so that nothing has to be made writable; and
 * of a whole strip that is free, block number `from` in it. -ENOSPC without a text. */
int cs_space_reserve(struct cs_space *space, uint32_t wish, bool wide, uint32_t from, uint32_t *block);
/* From now on it is as one that was taken; fails as that. */
int cs_space_keep(struct cs_space *space, uint32_t block);
/* It is free again. */
void cs_space_drop(struct cs_space *space, uint32_t block);
/* That very block; -EBADMSG when it is in use. */
int cs_space_claim(struct cs_space *space, uint32_t block);
/* Prepares cs_space_give() of that block, and of up to a strip's blocks in all; fails as above. */
int cs_space_may_give(struct cs_space *space, uint32_t block);
/* Can't fail: it was prepared, or the block is fresh. */
void cs_space_give(struct cs_space *space, uint32_t block);
/* It is no part of any commit, so it may be written over. */
bool cs_space_is_fresh(const struct cs_space *space, uint32_t block);
bool cs_space_is_used(const struct cs_space *space, uint32_t block);

/* For a repair, with nothing uncommitted but of its own: these blocks of the group are in use and no others,
 * a bit for each. None that is behind the last block. Fails as cs_space_take(). */
int cs_space_group_set(struct cs_space *space, uint32_t group, const uint64_t bits[CS_GROUP_WORDS]);

/* ---- space that is given back */

/* The next run of words that are free and stale, of `max` blocks at the most: nobody gets them until
 * cs_space_discarded(). False: there is none. */
bool cs_space_discard_next(struct cs_space *space, uint32_t max, uint32_t *block, uint32_t *count);
/* They can be had again, or are holes from now on. */
void cs_space_discarded(struct cs_space *space, uint32_t block, uint32_t count, bool are_holes);
/* A run of holes, likewise; they stay that until cs_space_filled(). */
bool cs_space_hole_next(const struct cs_space *space, uint32_t max, uint32_t *block, uint32_t *count);
void cs_space_filled(struct cs_space *space, uint32_t block, uint32_t count);
/* For the mount, which does not know better: all words are stale; those that are free are holes. */
void cs_space_all_stale(struct cs_space *space);
void cs_space_all_holes(struct cs_space *space);

/* Fills in the records, then begins anew: nothing is fresh. Before cs_pages_seal(). */
int cs_space_seal(struct cs_space *space);
/* That commit is durable. */
void cs_space_release(struct cs_space *space);

#endif
