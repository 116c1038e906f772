/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_pair.h: a cluster of real servers and two sessions with it, for tests of the
 * client library: what the one does, the other must see.
 */
#ifndef TEST_CLIENT_PAIR_H
#define TEST_CLIENT_PAIR_H

#include <stdint.h>

#include "cluster.h"
#include "weft/weft.h"

enum { CHUNK = 65536, SERVERS = 3, SHARDS = 2 };

extern struct cluster cluster;
extern weft_session_t *session, *other;

/* Ends the test with the library's own words when a call fails. */
#define ok(call)                                                    \
    do {                                                            \
        long result_ = (long)(call);                                \
        if (result_ < 0)                                            \
            fail_msg("%s = %ld: %s", #call, result_, weft_error()); \
    } while (0)

int pair_setup(void **state);
int pair_teardown(void **state);

/* pick(): a weft_counter_fn that adds up the counters of one name. */
struct wanted {
    const char *name;
    uint64_t value;
};
void pick(void *arg, const char *server, const char *name, uint64_t value);
uint64_t counter(weft_session_t *of, const char *name);
weft_file_t *open_file(weft_session_t *of, const char *path, int flags);

#endif
