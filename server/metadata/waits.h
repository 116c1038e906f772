/* SPDX-License-Identifier: Apache-2.0 */
/*
 * waits.h: who waits for whom, across all storage shards, as clients tell it of waits that last; and
 * whether somebody waits for himself. Knows nothing of requests and time but what it is told.
 *
 * What it promises
 *  - No circle is reported that did not exist. An edge (a wait, whom it waits for, and the serial of what
 *    that one holds) was there at some time before it was first told, and still there at some time after
 *    the answer to an earlier report, whose token comes with the later one: all the time between. A circle
 *    counts when there is a moment at which all of its edges were there.
 *  - A circle that stays is reported to the owner whose wait closed it, when all others in it have told of
 *    theirs once more after that.
 *  - An owner who stands behind others in a line, and not only for what is held, is told to pass them when
 *    they might be waiting for him.
 *
 * An owner counts as one: whoever waits in one of its threads can give nothing back in another.
 *
 * Threads: belongs to one thread.
 */
#ifndef METADATA_WAITS_H
#define METADATA_WAITS_H

#include <stdbool.h>
#include <stdint.h>

#define WAITS_EDGES_MAX 64u
/* Of one client; what it tells beyond that is forgotten at once. */
#define WAITS_CLIENT_MAX 1024u

struct waits;

struct waits_owner {
    uint8_t client[16];
    uint64_t number;
};

struct waits_edge {
    struct waits_owner holder;
    uint64_t serial;
    bool direct; /* else the wait is for others who wait for this one */
};

enum waits_verdict { WAITS_GOES_ON, WAITS_DEADLOCK, WAITS_PASS };

/* Tokens begin behind `token`, which should not be one of an earlier start. -ENOMEM. */
int waits_new(uint64_t token, struct waits **waits);
void waits_free(struct waits *waits);

/* An owner waits; `id` names the wait, `token` came with an earlier answer about it (0: none). Whoever gets
 * WAITS_DEADLOCK waits no more. -ENOMEM. */
int waits_report(struct waits *waits, const struct waits_owner *owner, uint64_t id, uint64_t token,
                 const struct waits_edge *edges, uint32_t count, uint64_t now_ns, uint64_t *new_token,
                 enum waits_verdict *verdict);

/* Forgets what was not told again since then. */
void waits_expire(struct waits *waits, uint64_t before_ns);
/* How many waits are known. */
uint32_t waits_count(const struct waits *waits);

#endif
