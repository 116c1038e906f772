/* SPDX-License-Identifier: Apache-2.0 */
/*
 * two_phase.h: collective reads and writes in which the ranks exchange their data first,
 * and some of them, the aggregators, move it in large runs (after del Rosario, Bordawekar and Choudhary,
 * "Improved parallel I/O via a two-phase run-time access strategy", 1993).
 *
 * ROMIO has a two-phase code too. This one knows the chunks of the file (domains.h), never
 * reads what it is to write, counts bytes in 64 bits, works on a file that may only be
 * written, and leaves no rank waiting for one that fails.
 *
 * It wants an MPI, so it is in no library of ours: the drivers compile it, each for its own.
 * Memory that can't be had ends the program.
 */
#ifndef COMMON_TWO_PHASE_H
#define COMMON_TWO_PHASE_H

#include <mpi.h>

#include "piece_walk.h"
#include "strategy.h"
#include "weft/weft.h"

/* The same on all ranks, but for `has_failed`. */
struct two_phase_call {
    MPI_Comm comm;
    weft_file_t *file;
    bool is_write;
    const int *aggregators; /* their ranks */
    int aggregator_count;
    int64_t buffer_bytes;        /* what an aggregator moves at a time, about */
    const struct reach *reaches; /* what all ranks told each other: an entry for each */
    bool has_failed;             /* before: this rank has no pieces, and takes part for the others' sake */
};

/*
 * two_phase(): collective. Moves each rank's part, whose pieces rise on every one. Returns 0 or a negative
 * errno of this rank with a text for weft_error(): all ranks must agree on whether there was one before
 * anyone uses what came, since an aggregator's failure is that of others. *moved is how many of this rank's
 * bytes were moved: of a read, up to the end of the file; nothing behind it is touched in memory.
 */
int two_phase(const struct two_phase_call *call, const struct piece_walk *part, int64_t *moved);

#endif
