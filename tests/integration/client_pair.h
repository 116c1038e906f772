/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_pair.h: a cluster of real servers and two sessions with it, or more, for tests of the
 * client library: what the one does, the others must see. After <cmocka.h>.
 */
#ifndef TEST_CLIENT_PAIR_H
#define TEST_CLIENT_PAIR_H

#include "calls.h"
#include "cluster.h"

enum { CHUNK = 65536, SERVERS = 3, SHARDS = 2 };

extern struct cluster cluster;
extern weft_session_t *session, *other;

int pair_setup(void **state);
int pair_teardown(void **state);

/* The same with more sessions, for courses drawn by below() (seed.h); the servers keep their bytes in memory,
 * where there is a file system for that. */
enum { CLIENTS = 3 };
extern weft_session_t *clients[CLIENTS];
int crowd_setup(void **state);
int crowd_teardown(void **state);

/* With a layout, so that it is no small file. */
weft_file_t *open_file(weft_session_t *of, const char *path, int flags);

#endif
