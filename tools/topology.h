/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topology.h: the hosts of a cluster, with their chassis and racks, as `weft plan`
 * reads them from a description, from Slurm's topology.conf, or from the present
 * cluster; prototypes grouped under the file that defines them.
 *
 * Errors are negative errnos with a text that names file, line and remedy (err.h).
 */
#ifndef TOOLS_TOPOLOGY_H
#define TOOLS_TOPOLOGY_H

#include <stdbool.h>
#include <stdint.h>

#include "placement.h"
#include "tool.h"

struct topology_host {
    const char *name;       /* that of host_names */
    uint32_t chassis, rack; /* indices of names */
    uint32_t targets;
    uint64_t capacity; /* bytes of one target; 0: not said */
    uint64_t network;  /* bytes a second of the host; 0: not said */
    uint64_t disk;     /* bytes a second of one target; 0: not said */
};

struct topology_names {
    char **items;
    uint32_t count, room;
    uint32_t *buckets; /* index + 1 of a name, by its hash; 0: none */
    uint32_t bucket_count;
};

struct topology {
    struct topology_host *hosts;
    uint32_t host_count, host_room;
    struct topology_names host_names, chassis, racks;
    bool knows_chassis, knows_racks; /* where not, each host stands alone */
    uint64_t uplink;                 /* bytes a second of a rack; 0: not said */
};

/* ---- topology.c: building one ----------------------------------------------- */

void topology_free(struct topology *topology);
/* The host of that name, made when it is not there; *index tells which. An empty chassis or rack: its own.
 * -EEXIST: it is there, in another chassis or rack. -ENOMEM, -ENOSPC */
int topology_host_add(struct topology *topology, const char *name, const char *chassis, const char *rack,
                      uint32_t *index);
/* Spreads that many targets over the hosts, instead of what they have. */
void topology_spread(struct topology *topology, uint32_t target_count);
/* Hosts like the last ones, with so many targets in all. */
int topology_grow(struct topology *topology, uint32_t target_count);
uint32_t topology_target_count(const struct topology *topology);
/* The targets, numbered from 0 host by host; to free(). NULL: no memory. */
struct placement_target *topology_targets(const struct topology *topology);
/* So many targets, each on a host of its own. */
int topology_alone(struct topology *topology, uint32_t target_count);

/* ---- topology_names.c: lists of names ------------------------------------------ */

/* "a[0-3,7],b" as Slurm writes them: a0, a1, a2, a3, a7, b. -EINVAL, -ENOSPC, -ENOMEM */
int topology_names_expand(const char *text, struct topology_names *names);
int topology_names_add(struct topology_names *names, const char *name, uint32_t *index);
/* UINT32_MAX when there is none. */
uint32_t topology_names_find(const struct topology_names *names, const char *name);
void topology_names_free(struct topology_names *names);

/* ---- topology_file.c, topology_slurm.c: files; topology_cluster.c: the present one --- */

/* Reads a description, or Slurm's topology.conf: what its first line says. */
int topology_read(const char *path, struct topology *topology);
int topology_read_slurm(const char *path, struct topology *topology);
/* -1 after a complaint. */
int topology_ask(struct tool *tool, struct topology *topology);

#endif
