/* SPDX-License-Identifier: Apache-2.0 */
/* What the network is like. The weather is drawn anew for each schedule; partitions come and go. */
#include <string.h>

#include "sim.h"

enum { HOSTS_MAX = 16 };

struct weather weather;

static uint64_t away_until_ns[HOSTS_MAX];
static uint64_t held_ns[HOSTS_MAX];

void weather_begin(void)
{
    memset(away_until_ns, 0, sizeof away_until_ns);
    memset(held_ns, 0, sizeof held_ns);
}

void weather_partition(unsigned host, uint64_t until_ns)
{
    if (until_ns > away_until_ns[host % HOSTS_MAX])
        away_until_ns[host % HOSTS_MAX] = until_ns;
}

void weather_hold(unsigned host, uint64_t ns)
{
    held_ns[host % HOSTS_MAX] = ns;
}

uint64_t weather_held(unsigned host)
{
    const uint64_t ns = held_ns[host % HOSTS_MAX];
    held_ns[host % HOSTS_MAX] = 0;
    return ns;
}

/* What is sent meanwhile is sent again by the kernel, or the network card, until it arrives. */
static uint64_t departure(unsigned from, unsigned to)
{
    uint64_t ns = sim_now();
    if (from == to)
        return ns;
    if (away_until_ns[from % HOSTS_MAX] > ns)
        ns = away_until_ns[from % HOSTS_MAX];
    if (away_until_ns[to % HOSTS_MAX] > ns)
        ns = away_until_ns[to % HOSTS_MAX];
    return ns > sim_now() ? ns + sim_below(200 * SIM_MS) : ns;
}

uint64_t weather_arrival(unsigned from, unsigned to)
{
    uint64_t ns = departure(from, to) + sim_between(weather.delay_min_ns, weather.delay_max_ns);
    if (sim_chance(weather.slow))
        ns += sim_below(weather.slow_ns);
    return ns;
}
