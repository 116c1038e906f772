/* SPDX-License-Identifier: Apache-2.0 */
/* What the network is like. The weather is drawn anew for each schedule; partitions come and go. */
#include <string.h>

#include "sim.h"
#include "wire.h"

enum { HOSTS_MAX = 16, WATCHES_MAX = 4 };

struct weather weather;

static uint64_t away_until_ns[HOSTS_MAX];
static uint64_t apart_until_ns[HOSTS_MAX][HOSTS_MAX];
static uint64_t held_ns[HOSTS_MAX];
static struct weather_watch watches[WATCHES_MAX];
static unsigned watch_count;

void weather_begin(void)
{
    watch_count = 0;
    memset(away_until_ns, 0, sizeof away_until_ns);
    memset(apart_until_ns, 0, sizeof apart_until_ns);
    memset(held_ns, 0, sizeof held_ns);
}

void weather_partition(unsigned host, uint64_t until_ns)
{
    if (until_ns > away_until_ns[host % HOSTS_MAX])
        away_until_ns[host % HOSTS_MAX] = until_ns;
}

void weather_part(unsigned host, unsigned other, uint64_t until_ns)
{
    uint64_t *until = apart_until_ns[host % HOSTS_MAX], *back = apart_until_ns[other % HOSTS_MAX];
    until[other % HOSTS_MAX] = back[host % HOSTS_MAX] = until_ns;
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

void weather_watch(const struct weather_watch *watch)
{
    if (watch_count == WATCHES_MAX)
        sim_fail("too many messages are waited for");
    watches[watch_count++] = *watch;
}

uint64_t weather_watched(unsigned from, unsigned to, const void *header, size_t length)
{
    struct wire_envelope envelope;
    struct wire_reader reader = wire_reader_on(header, length);
    if (watch_count)
        wire_get_envelope(&reader, &envelope);
    for (unsigned i = 0; i < watch_count && !reader.bad; i++) {
        const struct weather_watch watch = watches[i];
        if (watch.from != from || watch.to != to || watch.operation != envelope.operation ||
            watch.is_reply != (envelope.kind == WIRE_REPLY))
            continue;
        watches[i] = watches[--watch_count];
        sim_trace("a message that was waited for has been sent");
        if (watch.then)
            sim_at(sim_now(), watch.then, watch.arg);
        return watch.hold_ns;
    }
    return 0;
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
    if (apart_until_ns[from % HOSTS_MAX][to % HOSTS_MAX] > ns)
        ns = apart_until_ns[from % HOSTS_MAX][to % HOSTS_MAX];
    return ns > sim_now() ? ns + sim_below(200 * SIM_MS) : ns;
}

uint64_t weather_arrival(unsigned from, unsigned to)
{
    uint64_t ns = departure(from, to) + sim_between(weather.delay_min_ns, weather.delay_max_ns);
    if (sim_chance(weather.slow))
        ns += sim_below(weather.slow_ns);
    return ns;
}
