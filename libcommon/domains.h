/* SPDX-License-Identifier: Apache-2.0 */
/*
 * domains.h: which aggregator of two-phase I/O moves which bytes of the file. Pure.
 *
 * What it promises
 *  - A chunk has one aggregator, unless it is larger than an aggregator's buffer.
 *  - The chunks of one group have one aggregator where there are as many groups as
 *    aggregators or more; else as few as can be. So an aggregator talks to its own
 *    storage shards, and two aggregators don't meet at one.
 */
#ifndef COMMON_DOMAINS_H
#define COMMON_DOMAINS_H

#include <stdint.h>

struct domains {
    int aggregators; /* of those given, how many have work: at least 1 */
    int64_t chunk_size;
    int64_t stripes; /* chunk c is in the group number c % stripes of the file */
    int64_t unit;    /* what is one aggregator's in one run: a chunk, or a part of it */
    int64_t window;  /* bytes of the file that are moved in one round by all aggregators */
};

/* All arguments are at least 1. A round is of about `buffer_bytes` for each aggregator, at most
 * DOMAINS_BUFFER_MAX. */
#define DOMAINS_BUFFER_MAX (INT64_C(256) << 20)
void domains_init(struct domains *domains, int aggregators, int64_t chunk_size, int64_t stripes,
                  int64_t buffer_bytes);
/* domains_owner(): the index of the aggregator that moves the byte, and in *end the offset
 * up to which the bytes behind it are its as well. */
int domains_owner(const struct domains *domains, int64_t offset, int64_t *end);
/* domains_start(): where the round begins whose first byte is this one. */
int64_t domains_start(const struct domains *domains, int64_t offset);

#endif
