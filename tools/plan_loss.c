/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows from the loss of targets: every lost member is made anew on another
 * target, from as many others of its group as are needed, each read in equal parts
 * of them. The slowest disk, host or uplink says how long it takes.
 */
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

void plan_loss_free(struct plan_loss *loss)
{
    free(loss->is_lost);
    placement_free(&loss->table);
    *loss = (struct plan_loss){0};
}

static int loss_begin(const struct plan *plan, struct plan_loss *loss)
{
    *loss = (struct plan_loss){.is_lost = calloc(plan->target_count + 1u, sizeof *loss->is_lost)};
    return loss->is_lost ? 0 : err_set(-ENOMEM, "out of memory");
}

int plan_loss_target(const struct plan *plan, uint32_t target, struct plan_loss *loss)
{
    int error = loss_begin(plan, loss);
    if (!error) {
        loss->is_lost[target] = true;
        loss->lost_count = 1;
    }
    return error;
}

/* "12" or "host:3"; UINT32_MAX when it is neither. */
static uint32_t target_by_word(const struct plan *plan, const char *what)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(what, &end, 10);
    if (*what >= '0' && *what <= '9' && !*end && !errno && number < plan->target_count)
        return (uint32_t)number;
    const char *colon = strrchr(what, ':');
    if (!colon || colon[1] < '0' || colon[1] > '9')
        return UINT32_MAX;
    number = strtoul(colon + 1, &end, 10);
    for (uint32_t t = 0; t < plan->target_count && !*end; t++) {
        const char *name = plan->outline.hosts[plan->targets[t].host].name;
        if (strlen(name) == (size_t)(colon - what) && strncmp(name, what, strlen(name)) == 0 && number-- == 0)
            return t;
    }
    return UINT32_MAX;
}

int plan_loss_find(const struct plan *plan, const char *what, struct plan_loss *loss)
{
    const struct outline *outline = &plan->outline;
    uint32_t host = outline_names_find(&outline->host_names, what);
    uint32_t chassis = outline->knows_chassis ? outline_names_find(&outline->chassis, what) : UINT32_MAX;
    uint32_t rack = outline->knows_racks ? outline_names_find(&outline->racks, what) : UINT32_MAX;
    uint32_t target = target_by_word(plan, what);
    int error = loss_begin(plan, loss);
    for (uint32_t t = 0; !error && t < plan->target_count; t++) {
        const struct placement_target *at = &plan->targets[t];
        /* The smallest thing of that name. */
        bool is = host != UINT32_MAX      ? at->host == host
                  : target != UINT32_MAX  ? t == target
                  : chassis != UINT32_MAX ? at->chassis == chassis
                                          : at->rack == rack;
        loss->is_lost[t] = is;
        loss->lost_count += is;
    }
    if (!error && loss->lost_count == 0)
        error = err_set(-ENOENT,
                        "there is no target, host, chassis or rack \"%s\"; a target is a number below %u, or "
                        "HOST:K, the K-th of a host, from 0",
                        what, plan->target_count);
    if (error)
        plan_loss_free(loss);
    return error;
}

/* What each target, host and rack has to carry. */
struct work {
    const struct plan *plan;
    double *read, *written; /* of targets */
    double *host_in, *host_out;
    double *rack_in, *rack_out;
};

static int work_begin(struct work *work, const struct plan *plan)
{
    size_t targets = plan->target_count + 1u, hosts = plan->outline.host_count + 1u;
    size_t racks = plan->outline.racks.count + 1u;
    *work = (struct work){.plan = plan};
    work->read = calloc(2 * targets + 2 * hosts + 2 * racks, sizeof *work->read);
    if (!work->read)
        return err_set(-ENOMEM, "out of memory");
    work->written = work->read + targets;
    work->host_in = work->written + targets;
    work->host_out = work->host_in + hosts;
    work->rack_in = work->host_out + hosts;
    work->rack_out = work->rack_in + racks;
    return 0;
}

static void carry(struct work *work, uint32_t from, uint32_t to, double bytes)
{
    const struct placement_target *source = &work->plan->targets[from], *sink = &work->plan->targets[to];
    work->read[from] += bytes;
    if (source->host == sink->host)
        return;
    work->host_out[source->host] += bytes;
    work->host_in[sink->host] += bytes;
    if (source->rack == sink->rack)
        return;
    work->rack_out[source->rack] += bytes;
    work->rack_in[sink->rack] += bytes;
}

/* The lost members of one group are made anew on those that came. */
static void rebuild(struct work *work, const struct plan_loss *loss, uint32_t group, const uint32_t *after)
{
    const struct plan *plan = work->plan;
    uint32_t n = plan->wanted.members, needed = n - plan->parity, alive = 0;
    const uint32_t *before = plan->table.ids + (size_t)group * n;
    for (uint32_t i = 0; i < n; i++)
        alive += !loss->is_lost[before[i]];
    if (alive < needed)
        return;
    for (uint32_t i = 0; i < n; i++) {
        if (!loss->is_lost[before[i]])
            continue;
        work->written[after[i]] += (double)plan->member_bytes;
        for (uint32_t k = 0; k < n; k++) {
            if (!loss->is_lost[before[k]])
                carry(work, before[k], after[i], (double)plan->member_bytes * needed / alive);
        }
    }
}

static void slower(struct plan_loss *loss, double bytes, uint64_t rate, const char *what)
{
    if (rate && bytes / (double)rate > loss->seconds) {
        loss->seconds = bytes / (double)rate;
        loss->slowest = what;
    }
}

static void sum_up(const struct work *work, struct plan_loss *loss)
{
    const struct plan *plan = work->plan;
    const struct outline *outline = &plan->outline;
    double all = 0, rate = 0;
    for (uint32_t t = 0; t < plan->target_count; t++) {
        uint64_t disk = outline->hosts[plan->targets[t].host].disk;
        double bytes = work->read[t] + work->written[t];
        loss->readers += work->read[t] > 0;
        loss->writers += work->written[t] > 0;
        loss->bytes += work->written[t];
        loss->bytes_read_most = work->read[t] > loss->bytes_read_most ? work->read[t] : loss->bytes_read_most;
        slower(loss, bytes, disk, "disk");
        all += bytes;
        rate += loss->is_lost[t] ? 0 : (double)disk;
    }
    loss->seconds_even = rate > 0 ? all / rate : 0;
    for (uint32_t i = 0; i < outline->host_count; i++) {
        slower(loss, work->host_in[i], outline->hosts[i].network, "network");
        slower(loss, work->host_out[i], outline->hosts[i].network, "network");
    }
    for (uint32_t i = 0; i < outline->racks.count && outline->knows_racks; i++) {
        slower(loss, work->rack_in[i], outline->uplink, "uplink");
        slower(loss, work->rack_out[i], outline->uplink, "uplink");
    }
}

static void count_groups(const struct plan *plan, struct plan_loss *loss)
{
    uint32_t n = plan->wanted.members;
    for (uint32_t g = 0; g < plan->table.group_count; g++) {
        uint32_t lost = 0;
        for (uint32_t i = 0; i < n; i++)
            lost += loss->is_lost[plan->table.ids[(size_t)g * n + i]];
        loss->groups_hit += lost > 0;
        loss->groups_gone += lost > plan->parity;
        loss->members_rebuilt += lost > plan->parity ? 0 : lost;
    }
}

int plan_loss_compute(const struct plan *plan, struct plan_loss *loss)
{
    struct placement_change_wanted how = {.change = PLACEMENT_KEEP, .fixed_positions = true};
    struct placement_target *left = malloc((plan->target_count + 1u) * sizeof *left);
    struct placement_wanted wanted = plan->wanted;
    struct work work = {0};
    uint32_t count = 0;
    int error = left ? work_begin(&work, plan) : err_set(-ENOMEM, "out of memory");
    for (uint32_t t = 0; !error && t < plan->target_count; t++) {
        if (!loss->is_lost[t])
            left[count++] = plan->targets[t];
    }
    if (!error) {
        count_groups(plan, loss);
        wanted.group_count = 0;
        error = placement_change(left, count, &wanted, &how, &plan->table, &loss->table);
    }
    for (uint32_t g = 0; !error && g < plan->table.group_count; g++)
        rebuild(&work, loss, g, loss->table.ids + (size_t)g * wanted.members);
    if (!error)
        sum_up(&work, loss);
    free(work.read);
    free(left);
    return error;
}
