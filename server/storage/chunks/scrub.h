/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scrub.h: the thread that reads all of a chunk store over and over, slowly, and compares checksums.
 *
 * What it promises
 *  - It reads `rate` bytes a second at the most, and nothing between the end of a pass and the next one,
 *    which begins a day later.
 *  - Damage is logged, a few lines a pass, and counted, once in each pass.
 *  - It holds the store's lock for one record at a time.
 *  - Who wants to know of damage is told in a thread of its own choice: that of scrub_tell().
 */
#ifndef CHUNKS_SCRUB_H
#define CHUNKS_SCRUB_H

#include <pthread.h>

#include "cs_store.h"
#include "storage/store.h"

struct scrub;

/* `core` is the lock around all of `store`. An eventfd, `tell_fd`, is written when scrub_tell() is to be
 * called. -ENOMEM, or the thread's errno. */
int scrub_start(struct cs_store *store, pthread_mutex_t *core, const struct store_scrub *config, int tell_fd,
                struct scrub **scrub);
/* Calls config->found for what was found since the last time. */
void scrub_tell(struct scrub *scrub);
/* Ends it, at once. */
void scrub_stop(struct scrub *scrub);

#endif
