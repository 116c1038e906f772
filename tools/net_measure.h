/* SPDX-License-Identifier: Apache-2.0 */
/* net_measure.h: what two processes of this host get from a transport, for `weft net`. */
#ifndef TOOLS_NET_MEASURE_H
#define TOOLS_NET_MEASURE_H

struct net_result {
    int error; /* 0, or a negative errno with a text; then nothing was measured */
    char text[256];
    double latency_us; /* half of what a request without data and its answer take */
    double mib_per_s;  /* of requests with 1 MiB each, four under way */
};

/* `transport` as in the configuration; takes about so many seconds. */
void net_measure(const char *transport, double seconds, struct net_result *result);

#endif
