/* SPDX-License-Identifier: Apache-2.0 */
/* store_chunks.h: what of the chunk store as an engine is not in store.h. */
#ifndef STORE_CHUNKS_H
#define STORE_CHUNKS_H

#include "cs_store.h"

struct target;

/* cs_check() of one shard of a target that nobody serves. Writes nothing. */
int store_chunks_check(const struct target *target, uint32_t shard, bool read_data,
                       void (*report)(void *arg, const char *text), void *arg,
                       struct cs_check_result *result);

#endif
