/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.h: what the metadata server asks of the storage servers: the end of a
 * file, to cut it, to write what was in a small one, to remove it. Each question goes to every shard that
 * may hold a part of the file, and is answered when all have answered. Many files are removed by one
 * question.
 *
 * What it promises
 *  - `done` runs exactly once for each work, from agent_run(), never from inside agent_start().
 *  - Works of one file that is in use are done one after the other, in the
 *    order of their start; so no two truncations mix.
 *  - What a storage server did not do since the cluster map had changed meanwhile is asked for again by the
 *    newer map.
 *  - A server that the map calls down fails a work at once (-EHOSTDOWN); any other failure
 *    shows by the work's deadline.
 *
 * Threads: belongs to one thread.
 */
#ifndef METADATA_AGENT_H
#define METADATA_AGENT_H

#include <stdint.h>

#include "conf.h"
#include "counters.h"
#include "list.h"
#include "map.h"
#include "opens.h"

/* ---- below it: the network ------------------------------------------------ */

/* One request to one storage shard. */
struct agent_call {
    const struct map_server *server; /* valid inside agent_net.call only */
    uint32_t shard;
    uint16_t operation;
    const void *body;
    uint32_t body_length;
    const void *payload; /* stays until done; NULL: none */
    uint32_t payload_length;
    uint64_t end_ns; /* of its deadline, wherever the server is; as rpc_now_ns() */
    /* Must run once, not from inside call(). `reply` is valid inside only. */
    void (*done)(struct agent_call *call, int status, const void *reply, size_t reply_length);
};

struct agent_net {
    /* 0: `done` will run. Negative with a text: it never will. */
    int (*call)(void *arg, struct agent_call *call);
    void *arg;
};

/* ---- above it: works ------------------------------------------------------ */

enum agent_kind { AGENT_STAT, AGENT_TRUNCATE, AGENT_REMOVE, AGENT_WRITE, AGENT_SYNC };

/* A file whose objects are to be removed. */
struct agent_file {
    uint64_t ino;
    struct layout layout;
    uint64_t end; /* no object has anything behind it; UINT64_MAX: that is not known */
    bool failed;  /* the answer */
};

struct agent_work {
    /* filled by the caller */
    enum agent_kind kind;
    struct agent_file *files; /* of a removal, instead of what follows up to the deadline */
    uint32_t file_count;
    bool hurry; /* of a removal: others wait behind it */
    uint64_t ino;
    struct layout layout;
    uint64_t size;         /* of a truncation */
    bool grow_only;        /* likewise */
    const uint8_t *data;   /* of a write, at the beginning of the file; stays until done */
    uint32_t data_length;  /* likewise; of a sync: so much of the file is to be durable */
    uint32_t deadline_ms;
    struct opens_file *file; /* pinned by the caller; NULL when no one can use the file */
    void (*done)(struct agent_work *work);

    /* the answer */
    int status; /* 0 or a negative errno, then with a text: */
    char text[LIMITS_ERROR_TEXT_MAX + 1];
    uint64_t end; /* with the two that follow: of a stat and a truncation */
    uint64_t bytes;
    int64_t mtime_ns;
    /* Version of the map that it was begun by. What it did on a target may be lost if a later version tells
     * of a loss of that one. */
    uint64_t map_version;

    /* the agent's */
    struct list_link link;
    uint32_t waiting;
    uint64_t end_ns; /* of its deadline */
};

enum agent_count { AGENT_WORKS, AGENT_CALLS, AGENT_FAILURES, AGENT_COUNT };

struct agent {
    const struct conf *conf;
    struct agent_net net;
    const struct map *(*map)(void *arg); /* the present one */
    void *arg;
    struct list finished;
    struct counter counters[AGENT_COUNT];
};

void agent_init(struct agent *agent, const struct conf *conf, const struct agent_net *net,
                const struct map *(*map)(void *arg), void *arg);
void agent_start(struct agent *agent, struct agent_work *work);
/* Runs `done` of what has ended; true when there was something. */
bool agent_run(struct agent *agent);

#endif
