/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sweep.h: a shard looks now and then, and slowly, at all objects that it has, has the metadata server asked
 * which of their inodes are gone for good, and removes its own objects of those. There are some when a
 * removal has missed them: a client whose lease was over wrote on, or a leader was lost in the middle.
 *
 * What it promises
 *  - Only objects of inodes that there will never be again are removed.
 *  - The shard's loop is not held up: some objects at a time.
 *
 * Each member of a group sweeps for itself, without its leader and without a place in the line (lead.h).
 * Members have different bytes of such a file meanwhile, which nobody can see but who still writes to it.
 * What one of them is brought again before both have swept is found by its next sweep, and when all have
 * swept there is nobody left to bring it back.
 *
 * Threads: belongs to the shard's, but for what is marked.
 */
#ifndef STORAGE_SWEEP_H
#define STORAGE_SWEEP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "weft_limits.h"

struct shard;

/* Goes from the shard to who asks, and back: whose it is tells `state`. */
struct sweep_question {
    _Atomic(int) state; /* SWEEP_* below */
    uint32_t count;
    uint64_t inos[LIMITS_SWEEP_INODES_MAX];
    bool is_gone[LIMITS_SWEEP_INODES_MAX];
    int status; /* 0, or it could not be asked */
};
enum { SWEEP_MADE, SWEEP_ASKED, SWEEP_ANSWERED };

/* -ENOMEM. Nothing is begun when the configuration says so, or no store can tell what it has. */
int sweep_open(struct shard *shard);
/* Nothing of it may be under way. */
void sweep_close(struct shard *shard);
/* When sweep_tick() has something to do; -1: not before something else happens. */
int sweep_timeout_ms(const struct shard *shard);
void sweep_tick(struct shard *shard);

/* ---- the main thread's ------------------------------------------------------ */

/* What the shard wants to know; NULL: nothing. It waits for sweep_answer(). */
struct sweep_question *sweep_asked(const struct shard *shard);
void sweep_answer(struct shard *shard, struct sweep_question *question, int status);

#endif
