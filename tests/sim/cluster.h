/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster.h: a small cluster of the simulation: one metadata server, storage servers, clients. All servers
 * that end are started again, as systemd would, until the cluster is stopped.
 */
#ifndef TEST_SIM_CLUSTER_H
#define TEST_SIM_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "sim.h"

enum {
    CLUSTER_STORAGE_MAX = 3,
    CLUSTER_CLIENTS_MAX = 3,
    CLUSTER_PATH_BYTES = 256,
    CLUSTER_DEADLINE_MS = 4000,
    CLUSTER_LEASE_MS = 2000,
    CLUSTER_SWEEP_MAX_S = 3
};

struct server_slot {
    struct process *process; /* NULL: down */
    char name[8];            /* of a storage server; "" is the metadata server */
    unsigned host;
    bool was_told; /* its end was planned; then it comes back after: */
    uint64_t away_ns;
    bool has_crashed; /* its host, and it is not back yet */
    uint64_t back_ns; /* from the latest crash */
};

struct cluster {
    char folder[CLUSTER_PATH_BYTES], conf[CLUSTER_PATH_BYTES + 16];
    unsigned storage_count, client_count;
    unsigned shards, targets; /* of each storage server */
    unsigned replicas;
    unsigned sweep_interval_s; /* 0, as in scenarios that don't say: never, lest what is lost goes unseen */
    bool moves;               /* these listen on another port after each start */
    bool stopping;
    struct server_slot metadata, storage[CLUSTER_STORAGE_MAX];
    struct process *clients[CLUSTER_CLIENTS_MAX];
    unsigned clients_left;
};

extern struct cluster cluster;

/* Draws a cluster. */
void cluster_draw(void);
/* Starts its servers in a new folder within `folder`. */
void cluster_begin(const char *folder, uint64_t number);
bool cluster_is_ready(void);
/* Starts the clients: each runs `run` with its number. */
void cluster_clients_start(void *(*run)(void *number));
/* One more, on the first one's host. */
void cluster_client_start_one(void *(*run)(void *number));
/* Another client of that number, on any host. */
void cluster_client_start_on(unsigned number, unsigned host, void *(*run)(void *number));
bool cluster_clients_ended(void);
void cluster_stop(void);
bool cluster_is_down(void);
/* Of servers that have ended: all stores are whole, and have no objects. */
void cluster_check_stores(void);
/* Removes the folder. */
void cluster_end(void);

/* Ends a server, by a signal that it heeds, by one that it can't, or with its host, and starts it again after
 * that time. False when it is not there. */
enum server_end { SERVER_STOPS, SERVER_KILLED, SERVER_CRASHES };
bool cluster_server_end(struct server_slot *slot, enum server_end how, uint64_t away_ns);
/* A storage server's host has crashed, and was back after that time, or is not yet. */
bool cluster_lost_since(uint64_t ns);
bool cluster_client_kill(unsigned number);

#endif
