/* SPDX-License-Identifier: Apache-2.0 */
/*
 * strategy.h: how a collective call moves its data: the model behind weft_collective.
 * Pure: from what all ranks told each other, every rank comes to the same choice.
 *
 * The methods, cheapest first where they are allowed:
 *  - separate: each rank sends its own list I/O, no byte is moved twice. Right where the ranks'
 *    parts don't interleave, and where they do in pieces that are large enough for the cost of a
 *    piece to vanish beside that of its bytes.
 *  - gather: the same, and the storage shards put the pieces of a chunk together in
 *    memory, so that a chunk is written once. For writes in small pieces.
 *  - two-phase: the ranks exchange first, and few of them write or read whole runs.
 *    For tiny pieces, whose places are more to tell and to look at than their bytes.
 * weft_collective=direct means one of the first two, =two_phase the last. Where the file is
 * in atomic mode, or some rank's places don't rise, there is no choice but the first.
 */
#ifndef COMMON_STRATEGY_H
#define COMMON_STRATEGY_H

#include <stdbool.h>
#include <stdint.h>

#include "hint_set.h"

/* What a rank tells of its part of a call. All bytes are sent, so there are no gaps. */
struct reach {
    int64_t start; /* file offsets of the first and the last byte */
    int64_t end;
    int64_t bytes;  /* 0: this rank has nothing to do */
    int64_t pieces; /* about: runs of the file */
    int64_t rises;  /* each piece lies behind the one before it */
    uint64_t id;    /* a number that no other call has */
};

enum method { METHOD_SEPARATE, METHOD_GATHER, METHOD_TWO_PHASE, METHOD_COUNT };

struct choice {
    enum method method;
    const char *reason; /* a static text: "the ranks' parts don't interleave" */
};

/*
 * strategy_is_known(): true when the method does not depend on what the ranks have to move in a call, so
 * that they need not tell each other, and none of them waits for another: *choice is it. `grain` is the
 * mean piece of the finest of their file views, in bytes. Where the views are contiguous a call has one
 * piece of each rank, and what an exchange could save does not pay for the waiting.
 */
bool strategy_is_known(enum strategy asked, bool is_write, int64_t grain, struct choice *choice);

/* `chunk_size` is the file's; `reaches` has one entry for each rank. */
struct choice strategy_choose(enum strategy asked, bool is_write, const struct reach *reaches, int ranks,
                              int64_t chunk_size);
const char *strategy_method_name(enum method method);

#endif
