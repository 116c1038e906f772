/* SPDX-License-Identifier: Apache-2.0 */
/* The hosts of a cluster: how they are put together, changed, and made targets of. */
#include "outline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "weft_limits.h"

void outline_free(struct outline *outline)
{
    free(outline->hosts);
    outline_names_free(&outline->host_names);
    outline_names_free(&outline->chassis);
    outline_names_free(&outline->racks);
    *outline = (struct outline){0};
}

static int named(struct outline_names *names, const char *name, const char *otherwise, uint32_t *index)
{
    const char *wanted = name && *name ? name : otherwise;
    *index = outline_names_find(names, wanted);
    return *index == UINT32_MAX ? outline_names_add(names, wanted, index) : 0;
}

static int make_room(struct outline *outline)
{
    if (outline->host_count >= LIMITS_SERVERS_MAX)
        return err_set(-ENOSPC, "more than %u hosts", LIMITS_SERVERS_MAX);
    if (outline->host_count < outline->host_room)
        return 0;
    uint32_t room = outline->host_room ? 2 * outline->host_room : 64;
    struct outline_host *hosts = realloc(outline->hosts, room * sizeof *hosts);
    if (!hosts)
        return err_set(-ENOMEM, "out of memory for hosts");
    outline->hosts = hosts;
    outline->host_room = room;
    return 0;
}

static int refuse_moved(const struct outline *outline, const struct outline_host *known,
                        const struct outline_host *host)
{
    return err_set(-EEXIST, "the host %s is in rack %s, chassis %s, and can't be in %s, %s, too", known->name,
                   outline->racks.items[known->rack], outline->chassis.items[known->chassis],
                   outline->racks.items[host->rack], outline->chassis.items[host->chassis]);
}

int outline_host_add(struct outline *outline, const char *name, const char *chassis, const char *rack,
                     uint32_t *index)
{
    struct outline_host host = {0};
    int error = named(&outline->chassis, chassis, name, &host.chassis);
    if (!error)
        error = named(&outline->racks, rack, name, &host.rack);
    if (error)
        return error;
    *index = outline_names_find(&outline->host_names, name);
    if (*index != UINT32_MAX) {
        const struct outline_host *known = &outline->hosts[*index];
        return known->chassis == host.chassis && known->rack == host.rack
                   ? 0
                   : refuse_moved(outline, known, &host);
    }
    error = make_room(outline);
    if (!error)
        error = outline_names_add(&outline->host_names, name, index);
    if (error)
        return error;
    host.name = outline->host_names.items[*index];
    outline->hosts[outline->host_count++] = host;
    return 0;
}

void outline_spread(struct outline *outline, uint32_t target_count)
{
    uint32_t hosts = outline->host_count;
    for (uint32_t i = 0; i < hosts; i++)
        outline->hosts[i].targets = target_count / hosts + (i < target_count % hosts);
}

/* Racks and chassis are filled as far as they are in the mean. */
int outline_grow(struct outline *outline, uint32_t target_count)
{
    uint32_t hosts = outline->host_count, index;
    uint32_t per_rack = (hosts + outline->racks.count - 1) / outline->racks.count;
    uint32_t per_chassis = (hosts + outline->chassis.count - 1) / outline->chassis.count;
    for (uint32_t added = 0; target_count; added++) {
        struct outline_host like = outline->hosts[hosts - 1];
        char name[32], chassis[32] = "", rack[32] = "";
        snprintf(name, sizeof name, "new%u", added);
        if (outline->knows_chassis)
            snprintf(chassis, sizeof chassis, "new-chassis%u", added / per_chassis);
        if (outline->knows_racks)
            snprintf(rack, sizeof rack, "new-rack%u", added / per_rack);
        int error = outline_host_add(outline, name, chassis, rack, &index);
        if (error)
            return error;
        struct outline_host *host = &outline->hosts[index];
        host->targets = like.targets && like.targets < target_count ? like.targets : target_count;
        host->capacity = like.capacity;
        host->network = like.network;
        host->disk = like.disk;
        target_count -= host->targets;
    }
    return 0;
}

uint32_t outline_target_count(const struct outline *outline)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < outline->host_count; i++)
        count += outline->hosts[i].targets;
    return count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

struct placement_target *outline_targets(const struct outline *outline)
{
    struct placement_target *targets = calloc((size_t)outline_target_count(outline) + 1, sizeof *targets);
    uint32_t id = 0;
    for (uint32_t i = 0; i < outline->host_count && targets; i++) {
        const struct outline_host *host = &outline->hosts[i];
        for (uint32_t k = 0; k < host->targets; k++, id++)
            targets[id] = (struct placement_target){.id = id,
                                                    .capacity = host->capacity,
                                                    .host = i,
                                                    .chassis = host->chassis,
                                                    .rack = host->rack};
    }
    return targets;
}

int outline_alone(struct outline *outline, uint32_t target_count)
{
    int error = 0;
    for (uint32_t i = 0; i < target_count && !error; i++) {
        char name[32];
        uint32_t index;
        snprintf(name, sizeof name, "host%u", i);
        error = outline_host_add(outline, name, "", "", &index);
        if (!error)
            outline->hosts[index].targets = 1;
    }
    return error;
}
