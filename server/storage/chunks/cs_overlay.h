/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_overlay.h: a disk on top of another one that is never written: what is written stays in memory, and is
 * read from there. For a repair that is only tried.
 *
 * Memory: 4 KiB for each block that was written. Threads: one at a time.
 */
#ifndef CS_OVERLAY_H
#define CS_OVERLAY_H

#include "cs_io.h"

/* Takes over `below`, also when it fails: it is closed with the overlay. -ENOMEM. */
int cs_overlay_open(struct cs_io *below, struct cs_io **io);

#endif
