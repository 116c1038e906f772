/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space.h: how much a server's targets hold, and could hold: asked of their file systems and volumes anew
 * each time. What a file system does not tell counts as nothing.
 *
 * Threads: the calls only read what does not change after the server's start, and ask stores for what any
 * thread may ask; so they may be made anywhere.
 */
#ifndef STORAGE_SPACE_H
#define STORAGE_SPACE_H

#include <stdint.h>

struct server;

struct space {
    uint64_t total, free; /* bytes */
};

/* Of all targets; those of one file system count once. */
struct space space_measure(const struct server *server);

/* The bytes that a target is good for when groups are made: what its entry in weft.conf says, or what its
 * volume has, or its part of its file system, which it shares with this server's others. 0: can't be told. */
uint64_t space_capacity(const struct server *server, uint32_t target);

#endif
