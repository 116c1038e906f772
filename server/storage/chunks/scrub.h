/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scrub.h: the thread that reads all of a chunk store over and over, slowly, and compares checksums.
 *
 * What it promises
 *  - It reads `rate` bytes a second at the most, and nothing between the end of a pass and the next one,
 *    which begins a day later.
 *  - Damage is logged, a few lines a pass, and counted, once in each pass.
 *  - It holds the store's lock for one record at a time.
 */
#ifndef CHUNKS_SCRUB_H
#define CHUNKS_SCRUB_H

#include <pthread.h>

#include "cs_store.h"
#include "storage/store.h"

struct scrub;

/* `core` is the lock around all of `store`. The rate is that of config->scrub. -ENOMEM, or the thread's
 * errno. */
int scrub_start(struct cs_store *store, pthread_mutex_t *core, const struct store_scrub *config,
                struct scrub **scrub);
/* Ends it, at once. */
void scrub_stop(struct scrub *scrub);

#endif
