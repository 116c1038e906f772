/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outline.h: the hosts of a cluster, with their chassis and racks, as `weft plan`
 * reads them from a description, from Slurm's topology.conf, or from the present
 * cluster; prototypes grouped under the file that defines them.
 *
 * Errors are negative errnos with a text that names file, line and remedy (err.h).
 */
#ifndef TOOLS_OUTLINE_H
#define TOOLS_OUTLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "placement.h"
#include "tool.h"

struct outline_host {
    const char *name;       /* that of host_names */
    uint32_t chassis, rack; /* indices of names */
    uint32_t targets;
    uint64_t capacity; /* bytes of one target; 0: not said */
    uint64_t network;  /* bytes a second of the host; 0: not said */
    uint64_t disk;     /* bytes a second of one target; 0: not said */
};

struct outline_names {
    char **items;
    uint32_t count, room;
    uint32_t *buckets; /* index + 1 of a name, by its hash; 0: none */
    uint32_t bucket_count;
};

struct outline {
    struct outline_host *hosts;
    uint32_t host_count, host_room;
    struct outline_names host_names, chassis, racks;
    bool knows_chassis, knows_racks; /* where not, each host stands alone */
    uint64_t uplink;                 /* bytes a second of a rack; 0: not said */
};

/* ---- outline.c: building one ----------------------------------------------- */

void outline_free(struct outline *outline);
/* The host of that name, made when it is not there; *index tells which. An empty chassis or rack: its own.
 * -EEXIST: it is there, in another chassis or rack. -ENOMEM, -ENOSPC */
int outline_host_add(struct outline *outline, const char *name, const char *chassis, const char *rack,
                     uint32_t *index);
/* Spreads that many targets over the hosts, instead of what they have. */
void outline_spread(struct outline *outline, uint32_t target_count);
/* Hosts like the last ones, with so many targets in all. */
int outline_grow(struct outline *outline, uint32_t target_count);
uint32_t outline_target_count(const struct outline *outline);
/* The targets, numbered from 0 host by host; to free(). NULL: no memory. */
struct placement_target *outline_targets(const struct outline *outline);
/* So many targets, each on a host of its own. */
int outline_alone(struct outline *outline, uint32_t target_count);

/* ---- outline_names.c: lists of names ------------------------------------------ */

/* "a[0-3,7],b" as Slurm writes them: a0, a1, a2, a3, a7, b. -EINVAL, -ENOSPC, -ENOMEM */
int outline_names_expand(const char *text, struct outline_names *names);
int outline_names_add(struct outline_names *names, const char *name, uint32_t *index);
/* UINT32_MAX when there is none. */
uint32_t outline_names_find(const struct outline_names *names, const char *name);
void outline_names_free(struct outline_names *names);

/* ---- outline_file.c, outline_slurm.c: files; outline_cluster.c: the present one --- */

/* Reads a description, or Slurm's topology.conf: what its first line says. */
int outline_read(const char *path, struct outline *outline);
int outline_read_slurm(const char *path, struct outline *outline);
/* -1 after a complaint. */
int outline_ask(struct tool *tool, struct outline *outline);

#endif
