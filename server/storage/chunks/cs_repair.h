/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_repair.h: makes right what of a store's metadata follows from the rest of it, and tells of all else.
 * docs/chunk-store.md ("Repair") says what that is, and why no more.
 *
 * What it promises
 *  - All of it is done in memory, and becomes durable with one commit. Until then nothing that the last
 *    commit uses is written: a death in between leaves the store as it was. (Only a file that was too short
 *    is made as long as it was before that.)
 *  - What can't be known is not guessed: it stays an error.
 *  - Blocks' bytes and checksums are not touched.
 *
 * What changes the log has beyond the commit are done again on top of what was repaired, as by a mount.
 */
#ifndef CS_REPAIR_H
#define CS_REPAIR_H

#include "cs_store.h"

struct cs_repair_result {
    uint64_t repaired; /* things that were wrong, and are right now */
    uint64_t dropped;  /* that were lost, and are gone now */
    uint64_t left;     /* that were told of and left as they are */
    uint64_t replayed; /* changes taken from the log */
};

/*
 * Of a store that was opened without config.log and in which nothing has changed. `drop_lost`: what can't be
 * served any more is given up, too: pages that can't be read, with all that they had; strips without an
 * object; a log that does not fit.
 *
 * `report` is called with a text for each thing; the counts in `result` are of these. Afterwards the store is
 * as a mount finds it. When it fails nothing but cs_close() is of use: -ENOMEM, -ENOSPC when there is no room
 * for pages, or the disk's errors.
 */
int cs_repair(struct cs_store *store, bool drop_lost, void (*report)(void *arg, const char *text), void *arg,
              struct cs_repair_result *result);

#endif
