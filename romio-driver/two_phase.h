/* SPDX-License-Identifier: Apache-2.0 */
/*
 * two_phase.h: collective reads and writes in which the ranks exchange their data first,
 * and the aggregators move it in large runs (after del Rosario, Bordawekar and Choudhary,
 * "Improved parallel I/O via a two-phase run-time access strategy", 1993).
 *
 * ROMIO has a two-phase code too. This one knows the chunks of the file (domains.h), never
 * reads what it is to write, counts bytes in 64 bits, works on a file that may only be
 * written, and leaves no rank waiting for one that fails.
 */
#ifndef ROMIO_TWO_PHASE_H
#define ROMIO_TWO_PHASE_H

#include "driver.h"
#include "strategy.h"

/* two_phase(): collective. Moves the access of each rank, whose pieces rise on every one. `reaches`
 * is what all ranks told each other. Returns the bytes moved of this rank; when it failed, the failure is
 * in *failure. A rank whose access has failed before takes part with no bytes. */
int64_t two_phase(ADIO_File fd, struct access *access, bool is_write, const struct reach *reaches,
                  struct failure *failure);

#endif
