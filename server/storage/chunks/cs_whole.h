/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_whole.h: makes whole blocks of what is written to parts of them in `data`, for a disk below that takes
 * nothing else (O_DIRECT). Parts wait in memory until the next flush, or until their place is wanted.
 *
 * So the death of the process loses them, where it would not lose what a call has written. The log makes that
 * good: a part that is written over others in a block has an entry in it before (cs_log.h, patches).
 *
 * Memory: CS_WHOLE_BLOCKS blocks. Threads: as cs_io.h.
 */
#ifndef CS_WHOLE_H
#define CS_WHOLE_H

#include "cs_io.h"

enum { CS_WHOLE_BLOCKS = 1024 };

/* Takes over `below`, also when it fails. -ENOMEM. */
int cs_whole_open(struct cs_io *below, struct cs_io **io);

#endif
