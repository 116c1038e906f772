/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_ahead.h: the whole blocks of a write, which go to the disk before the write itself is made: many beside
 * each other, without the store's lock, while others are at work.
 *
 *   1. cs_ahead_make()   takes blocks that are nobody's, and says what is to be written to them
 *   2. the caller writes the pieces (cs_io.h, begin() or write()), and waits until that is done
 *   3. cs_write_ahead()  makes the write as cs_write() would, but finds these bytes in place
 *
 * Up to 3 nothing names the blocks, no commit counts them as in use, and nobody else gets them: a crash or a
 * death before leaves nothing. What 3 says is only about bytes that were written before, so the log and the
 * commits need not know of it. Writes that are begun in one order may be made in another; who is to be seen
 * last is up to the caller.
 *
 * Threads: as cs_store.h.
 */
#ifndef CS_AHEAD_H
#define CS_AHEAD_H

#include "cs_store.h"

struct cs_ahead {
    uint64_t first;   /* block of the object */
    uint32_t *blocks; /* where that one and those behind it are; CS_HOLE: it is not ahead, or used by now */
    uint32_t count, left;
    bool all;                /* nothing else of the write is to be written */
    struct cs_piece *pieces; /* offsets in `data`, and the caller's memory */
    unsigned piece_count;
};

/* -EAGAIN without a text: there is nothing to gain, or it would have to be waited for; the other errors are
 * those of cs_write(), which will say them again. */
int cs_ahead_make(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
                  const struct iovec *iov, size_t iov_count, struct cs_ahead *ahead);
/* Gives back what no write has used. Nothing of it may be under way. */
void cs_ahead_drop(struct cs_store *store, struct cs_ahead *ahead);

/* The write that it was made for, with the same arguments. When it fails, or is to be done anew (-EAGAIN),
 * what it has used of `ahead` is written again by the next try. */
int cs_write_ahead(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
                   const struct iovec *iov, size_t iov_count, const uint32_t *crcs, struct cs_ahead *ahead);

/* For cs_data.c: how many of these blocks of the object are there; where one is, which is used with that, or
 * CS_HOLE. */
uint32_t cs_ahead_count(const struct cs_ahead *ahead, uint64_t first, uint64_t last);
uint32_t cs_ahead_use(struct cs_ahead *ahead, uint64_t block);

#endif
