/* SPDX-License-Identifier: Apache-2.0 */
/*
 * removals.h: removes the objects of files that are gone from the storage
 * servers. The files stand in a table of the store, put there by the
 * transaction that ended them, until every server has answered, which
 * it does when no crash can undo them; servers that are down are asked again later, for ever.
 *
 * The table is swept from its beginning to its end; a sweep starts when there
 * is something new, and some time after one that met failures.
 *
 * Threads: belongs to one thread.
 */
#ifndef METADATA_REMOVALS_H
#define METADATA_REMOVALS_H

#include "agent.h"
#include "turn.h"

enum removals_count { REMOVALS_DONE, REMOVALS_FAILED, REMOVALS_COUNT };

struct removals {
    struct turn *turn;
    struct agent *agent;
    uint32_t deadline_ms;
    bool wanted;    /* something has been added since the sweep began */
    bool sweeping;
    bool reading;   /* the table is being read */
    bool end;       /* and its end was reached */
    uint64_t next;  /* inode to go on with */
    uint32_t running;
    uint32_t failed;     /* in this sweep */
    uint64_t retry_ns;   /* no sweep before */
    uint32_t backoff_ms;
    struct counter counters[REMOVALS_COUNT];
};

void removals_init(struct removals *removals, struct turn *turn, struct agent *agent, uint32_t deadline_ms);
void removals_want(struct removals *removals);
void removals_run(struct removals *removals, uint64_t now_ns);
/* A storage server came. */
void removals_hurry(struct removals *removals);

#endif
