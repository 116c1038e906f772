/* SPDX-License-Identifier: Apache-2.0 */
#include "chaos.h"

#include "client.h"
#include "cluster.h"
#include "model.h"
#include "sim.h"

const char *const chaos_names[CHAOS_KINDS] = {
    [CHAOS_CUTS] = "cuts of connections", [CHAOS_PEERS] = "peers lost",
    [CHAOS_STOPS] = "servers stopped",    [CHAOS_KILLS] = "servers killed",
    [CHAOS_CRASHES] = "hosts crashed",    [CHAOS_PARTITIONS] = "partitions",
    [CHAOS_CLIENTS] = "clients killed",   [CHAOS_PARTINGS] = "clients parted from the metadata server",
};

static struct {
    bool kinds[CHAOS_KINDS];
    uint64_t counts[CHAOS_KINDS];
    bool is_on;
    uint64_t pause_ns;
} chaos;

static struct server_slot *any_server(void)
{
    const unsigned which = (unsigned)sim_below(cluster.storage_count + 1);
    return which ? &cluster.storage[which - 1] : &cluster.metadata;
}

static struct process *any_process(void)
{
    const unsigned which = (unsigned)sim_below(cluster.storage_count + 1 + cluster.client_count);
    if (which < cluster.client_count)
        return cluster.clients[which];
    return any_server()->process;
}

static uint64_t away_draw(void)
{
    return sim_chance(100000) ? sim_below(3 * SIM_S) : sim_below(400 * SIM_MS);
}

static bool server_ends(struct server_slot *slot, enum server_end how)
{
    if (!cluster_server_end(slot, how, away_draw()))
        return false;
    if (how == SERVER_CRASHES)
        clients_crashed();
    return true;
}

static bool kill_client(unsigned number)
{
    if (!cluster_client_kill(number))
        return false;
    clients_killed(number);
    return true;
}

static bool partition(const struct process *process)
{
    const uint64_t lasts_ns = away_draw();
    sim_trace("host %u is cut off for %u ms", process->host, (unsigned)(lasts_ns / SIM_MS));
    weather_partition(process->host, sim_now() + lasts_ns);
    return true;
}

/* For longer than its lease, often; with the storage servers it goes on. */
static bool part(struct process *client)
{
    const uint64_t lasts_ns = sim_between(1, 12) * SIM_S;
    if (!client || !sim_chance(200000))
        return false;
    sim_trace("client at host %u is parted from the metadata server for %u ms", client->host,
              (unsigned)(lasts_ns / SIM_MS));
    weather_part(client->host, cluster.metadata.host, sim_now() + lasts_ns);
    return streams_cut(client, 1000000);
}

/* False when there was nothing that it could befall. */
static bool befall(enum chaos_kind kind)
{
    struct process *process = any_process();
    switch (kind) {
    case CHAOS_CUTS:
        return process && streams_cut(process, 500000);
    case CHAOS_PEERS:
        return process && peers_cut(process, 500000);
    case CHAOS_STOPS:
        return server_ends(any_server(), SERVER_STOPS);
    case CHAOS_KILLS:
        return server_ends(any_server(), SERVER_KILLED);
    case CHAOS_CRASHES:
        return server_ends(&cluster.storage[sim_below(cluster.storage_count)], SERVER_CRASHES);
    case CHAOS_PARTITIONS:
        return process && partition(process);
    case CHAOS_PARTINGS:
        return part(cluster.clients[sim_below(cluster.client_count)]);
    default:
        return cluster.clients_left > 1 && kill_client((unsigned)sim_below(cluster.client_count));
    }
}

static void next(void *unused)
{
    (void)unused;
    if (!chaos.is_on)
        return;
    const enum chaos_kind kind = (enum chaos_kind)sim_below(CHAOS_KINDS);
    if (chaos.kinds[kind] && cluster.clients_left)
        chaos.counts[kind] += befall(kind);
    sim_at(sim_now() + sim_below(chaos.pause_ns), next, NULL);
}

static void weather_draw(void)
{
    weather = (struct weather){
        .delay_min_ns = 5 * SIM_US,
        .delay_max_ns = sim_chance(500000) ? 50 * SIM_US : 5 * SIM_MS,
        .slow = sim_chance(500000) ? 20000 : 0,
        .slow_ns = sim_chance(200000) ? 2 * SIM_S : 100 * SIM_MS,
        .is_one_host = weather.is_one_host,
        .eager_max = sim_chance(500000) ? 4096 : 65536,
    };
}

bool chaos_begin(void)
{
    chaos.is_on = true;
    weather_draw();
    undone_begin(!sim_chance(333333) ? 0 : sim_chance(500000) ? 50000 : 500000);
    if (sim_chance(100000)) {
        weather.slow = 0;
        return true;
    }
    weather.lost = sim_chance(200000) ? 3000 : 0;
    weather.twice = sim_chance(300000) ? 30000 : 0;
    weather.damaged = sim_chance(200000) ? 5000 : 0;
    for (unsigned i = 0; i < CHAOS_KINDS; i++)
        chaos.kinds[i] = sim_chance(350000);
    chaos.pause_ns = sim_chance(250000) ? 40 * SIM_MS : 300 * SIM_MS;
    sim_at(sim_now() + sim_below(chaos.pause_ns), next, NULL);
    return false;
}

void chaos_end(uint64_t counts[CHAOS_KINDS])
{
    for (unsigned i = 0; i < CHAOS_KINDS; i++) {
        counts[i] += chaos.counts[i];
        chaos.counts[i] = 0;
    }
    chaos.is_on = false;
    weather.lost = weather.twice = weather.damaged = weather.slow = 0;
    for (unsigned i = 0; i < CHAOS_KINDS; i++)
        chaos.kinds[i] = false;
}
