/* SPDX-License-Identifier: Apache-2.0 */
/* chaos.h: what befalls a cluster in one schedule. */
#ifndef TEST_SIM_CHAOS_H
#define TEST_SIM_CHAOS_H

#include <stdbool.h>
#include <stdint.h>

enum chaos_kind {
    CHAOS_CUTS,       /* of control sockets */
    CHAOS_PEERS,      /* the transport loses peers */
    CHAOS_STOPS,      /* servers are stopped and started again */
    CHAOS_KILLS,      /* kill -9 of servers */
    CHAOS_CRASHES,    /* of hosts with storage servers */
    CHAOS_PARTITIONS, /* a host is cut off for a while */
    CHAOS_CLIENTS,    /* kill -9 of clients */
    CHAOS_PARTINGS,   /* a client and the metadata server don't hear each other for long */
    CHAOS_KINDS
};

extern const char *const chaos_names[CHAOS_KINDS];

/* Draws the weather, and what else is to happen as soon as there are clients. True: nothing at all. */
bool chaos_begin(void);
/* No more of it. What was on its way may still arrive. Adds how often each kind came. */
void chaos_end(uint64_t counts[CHAOS_KINDS]);

#endif
