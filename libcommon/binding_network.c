/* SPDX-License-Identifier: Apache-2.0 */
#include "binding_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

const char *binding_device_next(const char *list, char *name, size_t size)
{
    if (!*list)
        return NULL;
    size_t length = strcspn(list, ",");
    snprintf(name, size, "%.*s", (int)length, list);
    name[strcspn(name, ":")] = 0;
    list += length;
    return *list ? list + 1 : list;
}

/* ---- candidates --------------------------------------------------------------- */

static uint32_t named_candidates(const struct topology *topology, const char *names,
                                 const struct topology_device **chosen)
{
    char name[TOPOLOGY_NAME_MAX + 1];
    uint32_t count = 0;
    while ((names = binding_device_next(names, name, sizeof name)) != NULL) {
        const struct topology_device *device = topology_device(topology, false, name);
        if (device && count < topology->device_count)
            chosen[count++] = device;
    }
    return count;
}

static uint32_t candidates_of(const struct topology *topology, enum topology_kind kind,
                              const struct topology_device **chosen)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < topology->device_count; i++)
        if (topology->devices[i].kind == kind && !topology->devices[i].is_down)
            chosen[count++] = &topology->devices[i];
    return count;
}

uint32_t binding_candidates(const struct binding *binding, const struct conf_storage *storage, uint32_t shard,
                            const struct binding_lookup *lookup, const struct topology_device **chosen)
{
    const struct topology *topology = binding->topology;
    if (storage->binding.devices.items)
        return named_candidates(topology, storage->binding.devices.items[shard], chosen);
    if (binding_is_loopback(storage->listen))
        return 0;
    uint32_t count = candidates_of(topology, TOPOLOGY_FABRIC, chosen);
    if (count)
        return count;
    /* Ethernet devices reach different peers: clients use the one with the server's address. */
    char name[TOPOLOGY_NAME_MAX + 1];
    if (lookup && lookup->interface && lookup->interface(storage->listen, name, sizeof name)) {
        chosen[0] = topology_device(topology, false, name);
        if (chosen[0])
            return 1;
    }
    return candidates_of(topology, TOPOLOGY_ETHERNET, chosen);
}

/* ---- narrowing ----------------------------------------------------------------- */

static int append(char **list, const char *name, unsigned port)
{
    char *longer, port_text[16] = "";
    if (port)
        snprintf(port_text, sizeof port_text, ":%u", port);
    int length = asprintf(&longer, "%s%s%s%s", *list ? *list : "", *list ? "," : "", name, port_text);
    if (length < 0)
        return err_set(-ENOMEM, "no memory for the names of network devices");
    free(*list);
    *list = longer;
    return 0;
}

/* UCX knows a fabric's device by its port: mlx5_0:1. */
static unsigned port_of(const struct topology_device *device)
{
    return device && device->kind == TOPOLOGY_FABRIC ? device->port : 0;
}

static int narrow_as_told(const struct topology *topology, struct binding_shard *shard)
{
    char name[TOPOLOGY_NAME_MAX + 1], whole[TOPOLOGY_NAME_MAX + 1];
    const char *at = shard->storage->binding.devices.items[shard->index];
    int error = 0;
    while (!error && *at) {
        snprintf(whole, sizeof whole, "%.*s", (int)strcspn(at, ","), at);
        at = binding_device_next(at, name, sizeof name);
        bool has_port = strcmp(whole, name) != 0;
        error =
            append(&shard->devices, whole, has_port ? 0 : port_of(topology_device(topology, false, name)));
    }
    return error;
}

static bool is_twin(const struct topology_device *device, const struct topology_device *chosen)
{
    return device != chosen && device->kind == TOPOLOGY_FABRIC && !device->is_down && chosen->network[0] &&
           strcmp(device->network, chosen->network) == 0;
}

static bool is_used(const struct binding *binding, const struct topology_device *device)
{
    for (uint32_t i = 0; i < binding->shard_count; i++)
        if (binding->shards[i].cpus && binding->shards[i].nic == device)
            return true;
    return false;
}

/* There are twins, and other shards are near them: a port that nobody used would be bandwidth lost. */
static bool can_spare_twins(const struct binding *binding, const struct topology_device *chosen)
{
    bool has_twins = false;
    for (uint32_t i = 0; i < binding->topology->device_count; i++) {
        const struct topology_device *device = &binding->topology->devices[i];
        if (!is_twin(device, chosen))
            continue;
        if (!is_used(binding, device))
            return false;
        has_twins = true;
    }
    return has_twins;
}

/* Without the twins of the chosen device, which are further away and reach nobody else. */
static int narrow_to_nearest(const struct binding *binding, struct binding_shard *shard)
{
    const struct topology *topology = binding->topology;
    if (!can_spare_twins(binding, shard->nic))
        return 0;
    int error = append(&shard->devices, shard->nic->name, port_of(shard->nic));
    for (uint32_t i = 0; !error && i < topology->device_count; i++) {
        const struct topology_device *device = &topology->devices[i];
        if (device->kind != TOPOLOGY_DISK && !device->is_down && device != shard->nic &&
            !is_twin(device, shard->nic))
            error = append(&shard->devices, device->name, port_of(device));
    }
    return error;
}

/* Those that hwloc does not know: of the list, and the loopback. */
static int append_others(const struct topology *topology, struct binding_shard *shard, const char *names)
{
    char name[TOPOLOGY_NAME_MAX + 1];
    int error = append(&shard->devices, "lo", 0);
    while (!error && (names = binding_device_next(names, name, sizeof name)) != NULL)
        if (strcmp(name, "lo") != 0 && !topology_device(topology, false, name))
            error = append(&shard->devices, name, 0);
    return error;
}

int binding_narrow(const struct binding *binding, struct binding_shard *shard,
                   const struct binding_lookup *lookup)
{
    if (shard->storage->binding.devices.items)
        return narrow_as_told(binding->topology, shard);
    if (!shard->nic || !shard->cpus || binding_is_loopback(shard->storage->listen))
        return 0;
    int error = narrow_to_nearest(binding, shard);
    if (error || !shard->devices)
        return error;
    char names[1024] = "";
    if (lookup && lookup->interfaces)
        lookup->interfaces(names, sizeof names);
    return append_others(binding->topology, shard, names);
}
