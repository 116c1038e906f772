/* SPDX-License-Identifier: Apache-2.0 */
/* Upper bounds: files are spread over the groups evenly, so each target has its slots' part of all
 * traffic, and the first disk, wire or uplink that is full is the bound. */
#include "plan.h"

#include <stdlib.h>

/* Traffic of one target, host or rack: its part of all, and what it can carry. */
struct carrier {
    double part;
    double rate; /* 0: not known */
};

static void lower(double *bound, const struct carrier *carrier, double amplification)
{
    if (carrier->part <= 0 || carrier->rate <= 0)
        return;
    double limit = carrier->rate / (carrier->part * amplification);
    if (*bound == 0 || limit < *bound)
        *bound = limit;
}

/* Bytes that reach targets for one byte that a client writes. */
static double written(const struct plan *plan)
{
    return (double)plan->wanted.members / (plan->wanted.members - plan->parity);
}

void plan_rates(const struct plan *plan, struct plan_rates *rates)
{
    const struct outline *outline = &plan->outline;
    size_t slot_count = (size_t)plan->table.group_count * plan->table.members;
    struct carrier *hosts = calloc(outline->host_count + 1u, sizeof *hosts);
    struct carrier *racks = calloc(outline->racks.count + 1u, sizeof *racks);
    uint32_t *slots = calloc(plan->target_count + 1u, sizeof *slots);
    *rates = (struct plan_rates){0};
    for (size_t i = 0; hosts && racks && slots && i < slot_count; i++)
        slots[plan->table.ids[i]]++;
    for (uint32_t t = 0; hosts && racks && slots && t < plan->target_count; t++) {
        const struct placement_target *target = &plan->targets[t];
        const struct outline_host *host = &outline->hosts[target->host];
        struct carrier disk = {.part = slots[t] / (double)slot_count, .rate = (double)host->disk};
        hosts[target->host].part += disk.part;
        hosts[target->host].rate = (double)host->network;
        racks[target->rack].part += disk.part;
        racks[target->rack].rate = (double)outline->uplink;
        lower(&rates->read_disk, &disk, 1);
        lower(&rates->write_disk, &disk, written(plan));
    }
    for (uint32_t i = 0; hosts && i < outline->host_count; i++) {
        lower(&rates->read_network, &hosts[i], 1);
        lower(&rates->write_network, &hosts[i], written(plan));
    }
    for (uint32_t i = 0; racks && outline->knows_racks && i < outline->racks.count; i++) {
        lower(&rates->read_uplink, &racks[i], 1);
        lower(&rates->write_uplink, &racks[i], written(plan));
    }
    free(hosts);
    free(racks);
    free(slots);
}

uint64_t plan_member_bytes(const struct plan *plan)
{
    uint64_t least = UINT64_MAX;
    uint32_t *slots = calloc(plan->target_count + 1u, sizeof *slots);
    if (!slots)
        return 0;
    for (size_t i = 0; i < (size_t)plan->table.group_count * plan->table.members; i++)
        slots[plan->table.ids[i]]++;
    for (uint32_t t = 0; t < plan->target_count; t++) {
        if (slots[t] && plan->targets[t].capacity / slots[t] < least)
            least = plan->targets[t].capacity / slots[t];
    }
    free(slots);
    return least;
}

uint64_t plan_usable(const struct plan *plan)
{
    return plan->member_bytes * plan->table.group_count * (plan->wanted.members - plan->parity);
}
