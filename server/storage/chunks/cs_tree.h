/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_tree.h: the B-tree of a store's records, on the pages of cs_pages.h. Each
 * page is written to a fresh place when it changes, up to the root, so a commit
 * is one new root.
 *
 * All functions return 0 or a negative errno: -EBADMSG when a page on the way is damaged, -EAGAIN
 * without a text when pages->nowait is set and a page is not in memory. A function that
 * fails has changed nothing but the places of pages. A value that is given out is good until the next
 * call that changes the tree, or trims.
 */
#ifndef CS_TREE_H
#define CS_TREE_H

#include "cs_pages.h"

struct cs_record {
    struct cs_key key;
    const void *value;
    uint32_t length;
};

/* -1, 0 or 1. */
int cs_key_compare(const struct cs_key *a, const struct cs_key *b);

/* -ENOENT without a text. */
int cs_tree_get(struct cs_pages *pages, const struct cs_key *key, struct cs_record *record);
/* The first one with a key of at least, or the last one with one of at most, `key`; likewise -ENOENT. */
int cs_tree_at_least(struct cs_pages *pages, const struct cs_key *key, struct cs_record *record);
int cs_tree_at_most(struct cs_pages *pages, const struct cs_key *key, struct cs_record *record);

/* The lowest key that can lie behind the leaf of `key`, which may be unreadable, or behind an unreadable page
 * above it. It is above `key`. -ENOENT: there is none. */
int cs_tree_behind(struct cs_pages *pages, const struct cs_key *key, struct cs_key *behind);

/* Free pages that one put or removal may take. */
uint32_t cs_tree_pages_wanted(const struct cs_pages *pages);
/* Makes or replaces. -ENOSPC when there are fewer free pages than wanted. */
int cs_tree_put(struct cs_pages *pages, const struct cs_key *key, const void *value, uint32_t length);
/* -ENOENT without a text. */
int cs_tree_remove(struct cs_pages *pages, const struct cs_key *key);

/* For a repair: what is to become of a page that can't be read. Neither looks at it; -EBADMSG when the way to
 * the key does not lead to it. */

/* The page `number` of that level is no part of the tree any more, nor is anything that it names, whose pages
 * stay marked as they are. `key` is the lowest that it can have. */
int cs_tree_cut(struct cs_pages *pages, const struct cs_key *key, unsigned level, uint32_t number);
/* The leaf `number`, not the root, has only keys of `fence` and above from now on. What is below it goes to a
 * new leaf, whose first record is given. `low` is the lowest key that the leaf could have before. */
int cs_tree_fence(struct cs_pages *pages, const struct cs_key *low, uint32_t number,
                  const struct cs_key *fence, const struct cs_record *first);

#endif
