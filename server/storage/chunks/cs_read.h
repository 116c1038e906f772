/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_read.h: what a read of an object wants of the disk, apart from the reading. A plan is made with the
 * store at hand; its runs can then be read without the store, beside others, by whoever may wait, and
 * are compared with the checksums that they had when the plan was made.
 *
 * A plan does not keep its blocks: when they are written over or given to somebody else in the meantime,
 * their checksums fail, and the read is to be done anew by cs_read(). So a failure
 * here is not yet damage.
 */
#ifndef CS_READ_H
#define CS_READ_H

#include "cs_store.h"

/* Blocks that lie one behind the other on the disk, in one strip, or a hole. */
struct cs_run {
    uint64_t index;                /* of the strip */
    uint32_t block;                /* the first one's; CS_HOLE: all of it reads as zeros */
    uint32_t from, to;             /* bytes of the strip that are wanted */
    uint8_t first, last;           /* blocks in the strip */
    uint8_t *place;                /* where the first byte wanted goes */
    uint32_t crc[CS_STRIP_BLOCKS]; /* of the blocks */
};

/* The first and the last block of a read, where only a part of them is wanted. */
typedef uint8_t cs_edges[2][CS_BLOCK];

struct cs_plan {
    size_t length; /* bytes, fewer than were wanted at the object's end; 0: there is nothing to read */
    struct cs_run *runs;
    unsigned count, room;
    cs_edges edges;
};

enum { CS_PLAN_RUNS = 256 };

/* For whom it is, with the store as for cs_read(). -EAGAIN without a text: a page of the tree would have to
 * be waited for (with nowait), or there are more than CS_PLAN_RUNS runs. */
int cs_plan_make(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
                 void *buffer, size_t length, struct cs_plan *plan);
void cs_plan_free(struct cs_plan *plan);

/* Where the run's blocks are to be read to, which lie at cs_run_offset() of `data`. Returns how many pieces;
 * none for a hole. */
enum { CS_RUN_PIECES = 3 };
int cs_run_list(const struct cs_run *run, cs_edges edges, struct iovec iov[CS_RUN_PIECES]);
static inline uint64_t cs_run_offset(const struct cs_run *run)
{
    return (uint64_t)run->block * CS_BLOCK;
}

/* After the runs were read: compares, in order, and puts what is wanted in place. *crc, when not NULL, goes
 * on over the wanted bytes. -EBADMSG without a text. */
int cs_plan_check(struct cs_plan *plan, uint32_t *crc);
/* Reads all of them and checks; waits for the disk. */
int cs_plan_read(struct cs_io *io, struct cs_plan *plan, uint32_t *crc);

#endif
