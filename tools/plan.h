/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.h: what `weft plan` computes of a table, before it is shown; prototypes
 * grouped under the file that defines them. Bandwidths are bytes a second.
 */
#ifndef TOOLS_PLAN_H
#define TOOLS_PLAN_H

#include "placement.h"
#include "tool.h"
#include "outline.h"

struct plan {
    struct tool *tool;
    struct outline outline;
    struct placement_wanted wanted;
    uint32_t parity; /* members that may be lost; the others are enough to read */
    bool as_json, with_groups;
    struct placement_target *targets;
    uint32_t target_count;
    struct placement_table table;
    struct placement_figures figures;
    uint64_t member_bytes; /* that one member of a group can hold until the first target is full */
};

/* ---- plan_rates.c: what disks and wires allow ------------------------------------ */

/* Bytes a second; 0: not known. Reads and writes of all clients together, when groups are used evenly. */
struct plan_rates {
    double read_disk, read_network, read_uplink;
    double write_disk, write_network, write_uplink;
};
void plan_rates(const struct plan *plan, struct plan_rates *rates);

/* Bytes of files that the groups hold. */
uint64_t plan_usable(const struct plan *plan);
uint64_t plan_member_bytes(const struct plan *plan);

/* ---- plan_loss.c: what follows from a loss ----------------------------------------- */

struct plan_loss {
    bool *is_lost; /* of each target */
    uint32_t lost_count;
    uint32_t groups_hit, groups_gone; /* with a member lost; with more lost than parity can be */
    struct placement_table table;     /* afterwards */
    uint32_t members_rebuilt;
    uint32_t readers, writers; /* targets that take part */
    double bytes;              /* to be rebuilt */
    double bytes_read_most;    /* by one target */
    double seconds;      /* by the slowest disk or wire, when all of them do nothing else; 0: not known */
    double seconds_even; /* if the disks shared the work evenly */
    const char *slowest; /* "disk", "network", "uplink" */
};

/* The targets that a word means: a number, HOST:K, a host, chassis or rack. -ENOENT with a text. */
int plan_loss_find(const struct plan *plan, const char *what, struct plan_loss *loss);
int plan_loss_target(const struct plan *plan, uint32_t target, struct plan_loss *loss);
/* What is rebuilt where, and how long it takes; -EHOSTDOWN when too little is left to rebuild on. */
int plan_loss_compute(const struct plan *plan, struct plan_loss *loss);
void plan_loss_free(struct plan_loss *loss);

/* ---- plan_growth.c: what growth moves ------------------------------------------------ */

struct plan_growth {
    uint32_t added;
    uint32_t moves, least;
    struct placement_figures figures;
    struct placement_table table;
};
int plan_growth(struct plan *plan, uint32_t added, struct plan_growth *growth);

/* ---- plan_show.c, plan_json.c -------------------------------------------------------- */

void plan_show(const struct plan *plan, const struct plan_rates *rates);
void plan_show_loss(const struct plan *plan, const char *what, const struct plan_loss *loss);
void plan_show_growth(const struct plan *plan, const struct plan_growth *growth);
/* "host:2", into `text`. */
const char *plan_target_name(const struct plan *plan, uint32_t target, char text[300]);

json_t *plan_json(const struct plan *plan, const struct plan_rates *rates);
json_t *plan_json_loss(const char *what, const struct plan_loss *loss);
json_t *plan_json_growth(const struct plan *plan, const struct plan_growth *growth);

#endif
