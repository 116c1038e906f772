/* SPDX-License-Identifier: Apache-2.0 */
#include "service_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "records.h"

enum { TICK_MS_MAX = 1000 };

/* A wait for a lock that was not told again for so long is over. Clients tell every few seconds. */
#define WAIT_AGE_NS UINT64_C(60000000000)

const struct map *service_map(const struct service *service)
{
    return members_map(service->members);
}

static const struct map *present_map(void *arg)
{
    return service_map(arg);
}

/* What every operation of a transaction starts from. */
static bool may_be_held(const struct service *service)
{
    const uint64_t lease_ns = service->conf->lease_ms * UINT64_C(1000000);
    return service->is_restart && service_now(service) - service->started_ns < lease_ns;
}

static void prepare(void *arg, struct ns *ns)
{
    const struct service *service = arg;
    ns->now_ns = service->config.realtime_ns(service->config.clock_arg);
    ns->chunk_size = service->conf->chunk_size;
    ns->stripe_count = service->conf->stripe_count;
    ns->map = service_map(service);
    ns->group_count = ns->map->group_count;
    ns->may_be_held = may_be_held(service);
}

/* ---- opening ------------------------------------------------------------ */

static int load(struct service *service, struct store_txn *txn)
{
    struct ns_identity identity;
    const struct service_config *config = &service->config;
    uint64_t delegated = 0, closed = 0;
    int error = ns_format(txn, config->realtime_ns(config->clock_arg), &identity);
    if (!error)
        error = records_setting_get(txn, SETTING_DELEGATED, &delegated);
    if (error == -ENOENT)
        error = 0;
    if (!error)
        delegations_init(&service->delegations, identity.epoch, delegated, service->started_ns);
    if (!error)
        error = delegations_restore(&service->delegations, txn, service->started_ns,
                                    service->conf->lease_ms * UINT64_C(1000000));
    if (!error && records_setting_get(txn, SETTING_CLOSED, &closed) == 0)
        error = records_setting_put(txn, SETTING_CLOSED, 0);
    service->is_restart = !error && identity.epoch > 1 && !closed;
    if (!error)
        error = opens_new(identity.epoch, &service->opens);
    if (!error)
        error = members_load(txn, config->conf, identity.cluster, config->address, service->started_ns,
                             &service->members);
    if (!error)
        error = leases_restore(service, txn);
    if (!error)
        error = request_pointers_restore(service, txn);
    return error;
}

/* Notes that nobody has a file open, if that is so: then the next start need not wait for anyone. */
static void note_closed(struct service *service)
{
    struct store_txn *txn;
    if (may_be_held(service) || store_dead(service->config.store))
        return;
    list_each(&service->opens->clients, link, after)
    {
        if (!list_empty(&list_item(link, struct opens_client, link)->handles))
            return;
    }
    int error = store_begin(service->config.store, true, &txn);
    if (error)
        return;
    error = records_setting_put(txn, SETTING_CLOSED, 1);
    if (error)
        store_abort(txn);
    else
        (void)store_commit(txn);
}

static int load_committed(struct service *service)
{
    struct store_txn *txn;
    int error = store_begin(service->config.store, true, &txn);
    if (error)
        return error;
    error = load(service, txn);
    if (error) {
        store_abort(txn);
        return error;
    }
    return store_commit(txn);
}

int service_open(const struct service_config *config, struct service **out)
{
    struct service *service = calloc(1, sizeof *service);
    if (!service)
        return err_set(-ENOMEM, "no memory for the metadata service");
    service->config = *config;
    service->conf = config->conf;
    service->started_ns = service_now(service);
    service->answers_ns = service->ticked_ns = service->started_ns;
    service->requests_refused.name = "requests_refused";
    service->closes.name = "closes";
    service->closes_told.name = "closes_told";
    service->reopens.name = "reopens";
    list_init(&service->parked);
    service->scratch = malloc(LIMITS_BODY_MAX);
    int error =
        service->scratch ? load_committed(service) : err_set(-ENOMEM, "no memory for the metadata service");
    if (!error)
        error = waits_new((uint64_t)config->realtime_ns(config->clock_arg), &service->waits);
    if (error) {
        opens_free(service->opens);
        members_free(service->members);
        free(service->scratch);
        free(service);
        return error;
    }
    uint32_t deadline_ms = service->conf->deadline_ms;
    turn_init(&service->turn, config->store, service->opens, prepare, service);
    agent_init(&service->agent, service->conf, &config->net, present_map, service);
    small_init(&service->small);
    settle_init(&service->settle, &service->turn, &service->agent, deadline_ms);
    removals_init(&service->removals, &service->turn, &service->agent, deadline_ms);
    *out = service;
    return 0;
}

void service_close(struct service *service)
{
    service_dismiss(service);
    turn_hurry(&service->turn);
    while (service_turn(service))
        ;
    settle_end(&service->settle);
    note_closed(service);
    waits_free(service->waits);
    delegations_free(&service->delegations);
    opens_free(service->opens);
    members_free(service->members);
    free(service->scratch);
    free(service);
}

void service_dismiss(struct service *service)
{
    delegations_dismiss(service);
}

/* ---- running ------------------------------------------------------------ */

bool service_turn(struct service *service)
{
    uint64_t now_ns = service_now(service);
    agent_run(&service->agent);
    small_run(service, now_ns);
    if (turn_waiting(&service->turn, now_ns))
        turn_run(&service->turn, now_ns);
    delegations_run(service, now_ns);
    settle_run(&service->settle, now_ns);
    removals_run(&service->removals, now_ns);
    return turn_waiting(&service->turn, now_ns) || !list_empty(&service->agent.finished);
}

int service_timeout_ms(const struct service *service)
{
    uint64_t due_ns = turn_due_ns(&service->turn);
    uint64_t small_ns = small_due_ns(&service->small);
    if (small_ns && (!due_ns || small_ns < due_ns))
        due_ns = small_ns;
    uint64_t recalls_ns = delegations_due_ns(&service->delegations);
    if (recalls_ns && (!due_ns || recalls_ns < due_ns))
        due_ns = recalls_ns;
    if (!due_ns)
        return -1;
    uint64_t now_ns = service_now(service);
    return now_ns >= due_ns ? 0 : (int)((due_ns - now_ns) / 1000000 + 1);
}

void service_tick(struct service *service)
{
    uint64_t now_ns = service_now(service);
    leases_tick(service, now_ns);
    delegations_tick(service, now_ns);
    if (now_ns > WAIT_AGE_NS)
        waits_expire(service->waits, now_ns - WAIT_AGE_NS);
}

bool service_busy(const struct service *service)
{
    return !list_empty(&service->parked) || small_busy(&service->small) ||
           delegations_busy(&service->delegations);
}

uint32_t service_tick_ms(const struct service *service)
{
    uint32_t quarter = service->conf->lease_ms / 4;
    return quarter < 10 ? 10 : quarter < TICK_MS_MAX ? quarter : TICK_MS_MAX;
}

bool service_dead(const struct service *service)
{
    return store_dead(service->config.store);
}

/* ---- peers -------------------------------------------------------------- */

void service_peer_up(struct service *service, const uint8_t client[16], uint32_t role)
{
    if (role != WIRE_ROLE_CLIENT)
        return;
    struct opens_client *known = opens_client_get(service->opens, client);
    if (known)
        opens_client_up(known);
    else
        log_error("%s", err_text());
}

void service_peer_down(struct service *service, const uint8_t client[16], uint32_t role)
{
    struct opens_client *known = role == WIRE_ROLE_CLIENT ? opens_client_find(service->opens, client) : NULL;
    if (known && known->connections)
        opens_client_down(known, service_now(service));
}

struct wire_bytes service_greeting(struct service *service)
{
    struct wire_bytes encoded = {0};
    if (members_encoded(service->members, &encoded)) {
        log_error("encoding the cluster map: %s", err_text());
        return (struct wire_bytes){0};
    }
    return encoded;
}

/* ---- counters ----------------------------------------------------------- */

struct counter_set {
    const struct counter *counters;
    size_t count;
};

void service_counters(const struct service *service, void (*each)(void *arg, const struct counter *counter),
                      void *arg)
{
    const struct counter *more = NULL;
    size_t more_count = service->config.more_counters
                            ? service->config.more_counters(service->config.more_counters_arg, &more)
                            : 0;
    const struct counter_set sets[] = {
        {more, more_count},
        {service->turn.counters, TURN_COUNT},
        {service->agent.counters, AGENT_COUNT},
        {service->settle.counters, SETTLE_COUNT},
        {service->removals.counters, REMOVALS_COUNT},
        {service->small.counters, SMALL_COUNT},
        {service->delegations.counters, DELEG_COUNT},
        {&service->requests_refused, 1},
        {&service->closes, 1},
        {&service->closes_told, 1},
        {&service->reopens, 1},
    };
    for (size_t s = 0; s < sizeof sets / sizeof sets[0]; s++) {
        for (size_t i = 0; i < sets[s].count; i++)
            each(arg, &sets[s].counters[i]);
    }
}
