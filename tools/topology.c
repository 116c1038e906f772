/* SPDX-License-Identifier: Apache-2.0 */
/* The hosts of a cluster: how they are put together, changed, and made targets of. */
#include "topology.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "weft_limits.h"

void topology_free(struct topology *topology)
{
    free(topology->hosts);
    topology_names_free(&topology->host_names);
    topology_names_free(&topology->chassis);
    topology_names_free(&topology->racks);
    *topology = (struct topology){0};
}

static int named(struct topology_names *names, const char *name, const char *otherwise, uint32_t *index)
{
    const char *wanted = name && *name ? name : otherwise;
    *index = topology_names_find(names, wanted);
    return *index == UINT32_MAX ? topology_names_add(names, wanted, index) : 0;
}

static int make_room(struct topology *topology)
{
    if (topology->host_count >= LIMITS_SERVERS_MAX)
        return err_set(-ENOSPC, "more than %u hosts", LIMITS_SERVERS_MAX);
    if (topology->host_count < topology->host_room)
        return 0;
    uint32_t room = topology->host_room ? 2 * topology->host_room : 64;
    struct topology_host *hosts = realloc(topology->hosts, room * sizeof *hosts);
    if (!hosts)
        return err_set(-ENOMEM, "out of memory for hosts");
    topology->hosts = hosts;
    topology->host_room = room;
    return 0;
}

static int refuse_moved(const struct topology *topology, const struct topology_host *known,
                        const struct topology_host *host)
{
    return err_set(-EEXIST, "the host %s is in rack %s, chassis %s, and can't be in %s, %s, too", known->name,
                   topology->racks.items[known->rack], topology->chassis.items[known->chassis],
                   topology->racks.items[host->rack], topology->chassis.items[host->chassis]);
}

int topology_host_add(struct topology *topology, const char *name, const char *chassis, const char *rack,
                      uint32_t *index)
{
    struct topology_host host = {0};
    int error = named(&topology->chassis, chassis, name, &host.chassis);
    if (!error)
        error = named(&topology->racks, rack, name, &host.rack);
    if (error)
        return error;
    *index = topology_names_find(&topology->host_names, name);
    if (*index != UINT32_MAX) {
        const struct topology_host *known = &topology->hosts[*index];
        return known->chassis == host.chassis && known->rack == host.rack
                   ? 0
                   : refuse_moved(topology, known, &host);
    }
    error = make_room(topology);
    if (!error)
        error = topology_names_add(&topology->host_names, name, index);
    if (error)
        return error;
    host.name = topology->host_names.items[*index];
    topology->hosts[topology->host_count++] = host;
    return 0;
}

void topology_spread(struct topology *topology, uint32_t target_count)
{
    uint32_t hosts = topology->host_count;
    for (uint32_t i = 0; i < hosts; i++)
        topology->hosts[i].targets = target_count / hosts + (i < target_count % hosts);
}

/* Racks and chassis are filled as far as they are in the mean. */
int topology_grow(struct topology *topology, uint32_t target_count)
{
    uint32_t hosts = topology->host_count, index;
    uint32_t per_rack = (hosts + topology->racks.count - 1) / topology->racks.count;
    uint32_t per_chassis = (hosts + topology->chassis.count - 1) / topology->chassis.count;
    for (uint32_t added = 0; target_count; added++) {
        struct topology_host like = topology->hosts[hosts - 1];
        char name[32], chassis[32] = "", rack[32] = "";
        snprintf(name, sizeof name, "new%u", added);
        if (topology->knows_chassis)
            snprintf(chassis, sizeof chassis, "new-chassis%u", added / per_chassis);
        if (topology->knows_racks)
            snprintf(rack, sizeof rack, "new-rack%u", added / per_rack);
        int error = topology_host_add(topology, name, chassis, rack, &index);
        if (error)
            return error;
        struct topology_host *host = &topology->hosts[index];
        host->targets = like.targets && like.targets < target_count ? like.targets : target_count;
        host->capacity = like.capacity;
        host->network = like.network;
        host->disk = like.disk;
        target_count -= host->targets;
    }
    return 0;
}

uint32_t topology_target_count(const struct topology *topology)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < topology->host_count; i++)
        count += topology->hosts[i].targets;
    return count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

struct placement_target *topology_targets(const struct topology *topology)
{
    struct placement_target *targets = calloc((size_t)topology_target_count(topology) + 1, sizeof *targets);
    uint32_t id = 0;
    for (uint32_t i = 0; i < topology->host_count && targets; i++) {
        const struct topology_host *host = &topology->hosts[i];
        for (uint32_t k = 0; k < host->targets; k++, id++)
            targets[id] = (struct placement_target){.id = id,
                                                    .capacity = host->capacity,
                                                    .host = i,
                                                    .chassis = host->chassis,
                                                    .rack = host->rack};
    }
    return targets;
}

int topology_alone(struct topology *topology, uint32_t target_count)
{
    int error = 0;
    for (uint32_t i = 0; i < target_count && !error; i++) {
        char name[32];
        uint32_t index;
        snprintf(name, sizeof name, "host%u", i);
        error = topology_host_add(topology, name, "", "", &index);
        if (!error)
            topology->hosts[index].targets = 1;
    }
    return error;
}
