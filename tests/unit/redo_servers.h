/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redo_servers.h: a metadata server and two storage servers that a test plays itself, in a thread of their
 * own, and that misbehave as they are told. Targets 0 and 2 are always on A; target 1 is on A in map 1, on B
 * from map 2 on. Map 3 tells of a loss of target 1, map 5 of one of target 2.
 */
#ifndef TESTS_REDO_SERVERS_H
#define TESTS_REDO_SERVERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "client_world.h"

enum { TARGETS = 3, STORE_BYTES = 8 << 20, DEADLINE_MS = 1500, CREDIT_BYTES = 1 << 20 };

enum place { PLACE_METADATA, PLACE_A, PLACE_B, PLACES };

/* How the storage servers misbehave. */
enum manner {
    MANNER_GOOD,
    MANNER_STALE_SILENT, /* tell of a newer map, but do not send it */
    MANNER_STALE_ALWAYS, /* a newer one each time */
    MANNER_AGAIN_ONCE,
    MANNER_PRESENT_SUM,   /* the numbers of a read do not match its bytes */
    MANNER_PRESENT_COUNT, /* as many numbers as there are extents, and one more */
    MANNER_PRESENT_MORE,  /* more of an extent than was asked for */
    MANNER_TOO_LONG,      /* more bytes than were asked for */
    MANNER_NO_BODY,
    MANNER_SLOW, /* one at a time, each after a while */
};

/* What they do, and what they have seen. */
extern struct redo {
    atomic_int manner;
    atomic_uint version; /* of the map that the servers know */
    atomic_uint asked[PLACES];
    atomic_uint held_most; /* requests that were waiting for their answer at once */
    atomic_ullong held_bytes_most;
    pthread_mutex_t lock; /* of the store */
    uint8_t store[STORE_BYTES];
    uint64_t end; /* bytes behind it are not there */
} redo;

/* Starts them, with world_open(); `conf_path` gets the client's configuration. Not 0: no. */
int redo_servers_open(char conf_path[WORLD_PATH_MAX]);
/* Ends them, and what world_open() began. */
int redo_servers_close(void);
/* Theirs of that version. The caller's reference. */
struct map *redo_servers_map(uint64_t version);

#endif
