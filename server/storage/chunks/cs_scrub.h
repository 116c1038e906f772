/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_scrub.h: looks at a store's blocks one strip after the other, while the store is in use, so that
 * damage is found in what nobody reads.
 *
 * A strip's record is taken with the store's lock, its blocks are read without it, and what fails is looked
 * at again with it: a block may have been given back and have got other bytes in between, which is no damage.
 */
#ifndef CS_SCRUB_H
#define CS_SCRUB_H

#include "cs_store.h"

struct cs_scrub {
    struct cs_key key; /* of the strip that is looked at */
    bool ended;        /* nothing is behind it */
    struct cs_strip strip;
};

/* (locked) Goes on to the next strip; from the first one with a key of zeros. 1, with a text: its record is
 * damaged, or a page of the tree, behind which it goes on. -ENOENT without a text: there is none; -ENOMEM. */
int cs_scrub_next(struct cs_store *store, struct cs_scrub *scrub);
/* Reads its blocks; *bad has a bit for each that is not what its record says, or can't be read. Returns the
 * bytes read. */
uint64_t cs_scrub_read(struct cs_io *io, const struct cs_scrub *scrub, uint64_t *bad);
/* (locked) How many of them are damaged, and not just changed; `report` is called for each, with the block's
 * offset in the object. */
unsigned cs_scrub_confirm(struct cs_store *store, const struct cs_scrub *scrub, uint64_t bad,
                          void (*report)(void *arg, struct cs_name name, uint64_t offset, const char *text),
                          void *arg);

#endif
