/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counts.h: what the servers of the cluster count, so that a benchmark says what a phase cost them.
 *
 * They count from their start on, for all clients: what happened between two answers is their difference.
 * They are asked over a session of our own, whose requests are not counted here, nor those by which
 * servers tell each other that they are there.
 */
#ifndef BENCHMARK_COUNTS_H
#define BENCHMARK_COUNTS_H

#include <stdint.h>

/* Of the storage servers all together, but for `metadata`. */
struct counts {
    int64_t requests;   /* reads and writes */
    int64_t store;      /* reads and writes of the stores */
    int64_t other;      /* all other requests to storage servers: sizes, syncs */
    int64_t metadata;   /* requests to the metadata server */
    int64_t wire_bytes; /* in both directions, with those of being asked */
};

/* counts_ask(): rank 0 asks; the others get zeros. Collective. Returns the same on all ranks: 0, or -1 after
 * telling why. The session begins with the first call. */
int counts_ask(struct counts *counts);
/* counts_end(): ends the session, if there is one. */
void counts_end(void);

#endif
