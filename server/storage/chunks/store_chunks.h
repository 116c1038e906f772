/* SPDX-License-Identifier: Apache-2.0 */
/* store_chunks.h: what of the chunk store as an engine is not in store.h. */
#ifndef STORE_CHUNKS_H
#define STORE_CHUNKS_H

#include "cs_repair.h"
#include "cs_store.h"

struct target;

/* store_chunks_files.c */

enum { STORE_CHUNKS_NAME_BYTES = 64 };

/* What the core wants of a shard, with its files open, which cs_open() takes over; `create` makes those that
 * are missing. The shard's name goes to `name`, which must outlive the store. */
int store_chunks_configure(const struct target *target, uint32_t shard, bool create,
                           char name[STORE_CHUNKS_NAME_BYTES], struct cs_config *config);
/* Makes the empty stores of all shards, durably. */
int store_chunks_format(const struct target *target);

struct store_chunks_checking {
    bool read_data;
    bool repair;    /* first */
    bool write;     /* else what a repair writes stays in memory */
    bool drop_lost; /* as cs_repair() */
    void (*report)(void *arg, const char *text);
    void *arg;
};

struct store_chunks_checked {
    struct cs_check_result check; /* of what there is after the repair */
    struct cs_repair_result repair;
    unsigned supers_bad; /* superblocks that can't be used, which a crash may leave, too: no fault */
};

/* cs_check(), and cs_repair() before when it is wanted, of one shard of a target that nobody serves. Nothing
 * is written unless both `repair` and `write` say so. */
int store_chunks_check(const struct target *target, uint32_t shard,
                       const struct store_chunks_checking *checking, struct store_chunks_checked *checked);

#endif
