/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle.h: after a file was written its storage servers know how long it is.
 * Once no one writes any more they are asked, and the inode gets the size, so
 * that from then on a stat needs no one but the metadata server.
 *
 * Until it succeeds the inode stays marked (INODE_SIZE_OPEN), and clients ask
 * the storage servers themselves: settling may take its time, and starts over
 * after a restart, but never gives a wrong size.
 *
 * Threads: belongs to one thread.
 */
#ifndef METADATA_SETTLE_H
#define METADATA_SETTLE_H

#include "agent.h"
#include "turn.h"

enum settle_count { SETTLE_DONE, SETTLE_OVERTAKEN, SETTLE_FAILED, SETTLE_COUNT };

struct settle {
    struct turn *turn;
    struct agent *agent;
    struct opens *opens;
    uint32_t deadline_ms;
    struct list ready, failed;
    uint32_t running;
    uint64_t retry_ns;   /* when the failed ones are ready again */
    uint32_t backoff_ms;
    /* files that were waiting when this server started */
    bool loading, loaded;
    uint64_t load_next;
    struct counter counters[SETTLE_COUNT];
};

void settle_init(struct settle *settle, struct turn *turn, struct agent *agent, uint32_t deadline_ms);
/* Gives back what waits; nothing may be running. */
void settle_end(struct settle *settle);
/* The file is to be asked for. May be called inside transactions, even ones that are aborted later. */
void settle_want(struct settle *settle, const struct inode *inode);
/* Starts what can be started. */
void settle_run(struct settle *settle, uint64_t now_ns);
/* A storage server came: try the failed ones again. */
void settle_hurry(struct settle *settle);

#endif
