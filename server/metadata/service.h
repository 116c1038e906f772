/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.h: the metadata server without its network and its clock: requests
 * come in, are run in group commits, and are answered; the storage servers are
 * reached through agent_net. net.c binds it to rpc; tests bind it to what they like.
 *
 * Threads: belongs to one thread. Nothing here waits for anything but the disk.
 */
#ifndef METADATA_SERVICE_H
#define METADATA_SERVICE_H

#include "agent.h"
#include "conf.h"
#include "counters.h"
#include "store.h"
#include "wire.h"

struct service;

struct service_config {
    const struct conf *conf; /* must outlive the service */
    struct store *store;     /* likewise */
    const char *address;     /* of this server, for the map */
    struct agent_net net;
    uint64_t (*monotonic_ns)(void *clock_arg);
    int64_t (*realtime_ns)(void *clock_arg);
    void *clock_arg;
    /* The counters of whatever is around the service; NULL for none. */
    size_t (*more_counters)(void *arg, const struct counter **counters);
    void *more_counters_arg;
};

/* One request of a peer. It belongs to whoever submits it and stays until `reply`, which runs once
 * and never from inside service_request(). */
struct service_request {
    uint16_t operation;
    uint64_t id;
    uint64_t settled;
    const void *body;
    uint32_t body_length;
    uint8_t client[16];
    uint32_t role; /* WIRE_ROLE_* */
    uint32_t uid, gid;
    uint32_t group_count;
    const uint32_t *groups; /* supplementary ones, until it is answered */
    const char *name; /* of the peer, for logs */
    /* For an error (status < 0) there is no body, and err_text() tells. */
    void (*reply)(struct service_request *request, int status, const void *body, size_t length);
};

int service_open(const struct service_config *config, struct service **service);
/* Runs what was put off. Requests that were not answered never will be. No agent call may be under way. */
void service_close(struct service *service);
/* Ends (-ECANCELED) what waits for something that clients are to do, or that they are to be told of. */
void service_dismiss(struct service *service);

void service_request(struct service *service, struct service_request *request);
void service_peer_up(struct service *service, const uint8_t client[16], uint32_t role);
void service_peer_down(struct service *service, const uint8_t client[16], uint32_t role);
/* What a peer hears first: the cluster map. Valid until the next call of anything here. */
struct wire_bytes service_greeting(struct service *service);

/* Runs what has gathered; to be called after each round of the event loop until it returns false. */
bool service_turn(struct service *service);
/* When service_turn() is to be called at the latest, in milliseconds from now; -1: when something happens. */
int service_timeout_ms(const struct service *service);
/* Leases, silence, backoffs; to be called every service_tick_ms(). */
void service_tick(struct service *service);
uint32_t service_tick_ms(const struct service *service);
/* The present map; valid until the next service_turn() or service_tick(). */
const struct map *service_map(const struct service *service);
/* Requests are waiting for storage servers. */
bool service_busy(const struct service *service);
/* The store cannot go on; the process should end and be started again. */
bool service_dead(const struct service *service);

#endif
