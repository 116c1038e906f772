/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.h: what tests that call libweft against real servers share: ok(), sessions, and counters by
 * their names. After <cmocka.h>.
 */
#ifndef TEST_CALLS_H
#define TEST_CALLS_H

#include <stdint.h>
#include <string.h>

#include "weft/weft.h"

/* Ends the test with the library's own words when a call fails. */
#define ok(call)                                                    \
    do {                                                            \
        long result_ = (long)(call);                                \
        if (result_ < 0)                                            \
            fail_msg("%s = %ld: %s", #call, result_, weft_error()); \
    } while (0)

static inline void connect_all(weft_session_t **sessions, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        ok(weft_connect(NULL, &sessions[i]));
}

static inline void disconnect_all(weft_session_t **sessions, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        weft_disconnect(sessions[i]);
}

struct wanted {
    const char *name;
    uint64_t value;
};

/* A weft_counter_fn that adds up the counters of one name. */
static inline void pick(void *arg, const char *server, const char *name, uint64_t value)
{
    struct wanted *wanted = arg;
    (void)server;
    if (strcmp(name, wanted->name) == 0)
        wanted->value += value;
}

/* The session's own. */
static inline uint64_t counter(weft_session_t *of, const char *name)
{
    struct wanted wanted = {.name = name};
    ok(weft_counters(of, pick, &wanted));
    return wanted.value;
}

/* All servers' together. */
static inline uint64_t server_counter(weft_session_t *by, const char *name)
{
    struct wanted wanted = {.name = name};
    ok(weft_server_counters(by, pick, &wanted));
    return wanted.value;
}

#endif
