/* SPDX-License-Identifier: Apache-2.0 */
#include "binding.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binding_internal.h"
#include "err.h"

static int check_cores(const struct topology *topology, const struct conf_storage *storage)
{
    const struct conf_each *cores = &storage->binding.cores;
    int error = 0;
    for (uint32_t i = 0; !error && cores->items && i < storage->shards; i++) {
        char usable[256];
        hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
        if (!cpus || hwloc_bitmap_list_sscanf(cpus, cores->items[i]))
            error =
                err_set(-EINVAL, "%s: \"%s\" names no CPUs; write \"0-3,8\"", cores->where, cores->items[i]);
        hwloc_bitmap_list_snprintf(usable, sizeof usable, topology->usable);
        if (!error && !hwloc_bitmap_isincluded(cpus, topology->usable))
            error = err_set(-EINVAL,
                            "%s: CPU %s for shard %u is not among those that this process may use on %s, "
                            "which are %s; name some of these, or leave the setting out",
                            cores->where, cores->items[i], i, topology->source, usable);
        hwloc_bitmap_free(cpus);
    }
    return error;
}

static int check_numa(const struct topology *topology, const struct conf_storage *storage)
{
    const struct conf_each *numa = &storage->binding.numa;
    hwloc_const_nodeset_t allowed = hwloc_topology_get_allowed_nodeset(topology->hwloc);
    for (uint32_t i = 0; numa->items && i < storage->shards; i++) {
        unsigned number = (unsigned)strtoul(numa->items[i], NULL, 10);
        char nodes[256];
        hwloc_bitmap_list_snprintf(nodes, sizeof nodes, allowed);
        if (!topology_node(topology, number) || !hwloc_bitmap_isset(allowed, number))
            return err_set(
                -EINVAL,
                "%s: NUMA node %u is not among those that this process may use on %s, which are %s; "
                "name one of these, or leave the setting out",
                numa->where, number, topology->source, nodes);
    }
    return 0;
}

static void list_devices(const struct topology *topology, bool disks, char *text, size_t size)
{
    size_t length = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < topology->device_count && length < size; i++)
        if ((topology->devices[i].kind == TOPOLOGY_DISK) == disks)
            length += (size_t)snprintf(text + length, size - length, "%s%s", length ? ", " : "",
                                       topology->devices[i].name);
}

static int check_devices(const struct topology *topology, const struct conf_storage *storage)
{
    const struct conf_each *devices = &storage->binding.devices;
    char known[256], name[TOPOLOGY_NAME_MAX + 1];
    list_devices(topology, false, known, sizeof known);
    for (uint32_t i = 0; *known && devices->items && i < storage->shards; i++)
        for (const char *at = devices->items[i]; (at = binding_device_next(at, name, sizeof name)) != NULL;)
            if (strcmp(name, "lo") != 0 && !topology_device(topology, false, name))
                return err_set(-EINVAL, "%s: %s has no network device \"%s\"; it has: %s, lo", devices->where,
                               topology->source, name, known);
    return 0;
}

static int check_disks(const struct topology *topology, const struct conf_storage *storage)
{
    char known[256];
    list_devices(topology, true, known, sizeof known);
    for (uint32_t i = 0; *known && i < storage->target_count; i++) {
        const struct conf_target *target = &storage->targets[i];
        if (target->device && !topology_device(topology, true, target->device))
            return err_set(-EINVAL, "%s: %s has no disk \"%s\"; it has: %s", target->device_where,
                           topology->source, target->device, known);
    }
    return 0;
}

int binding_check(const struct topology *topology, const struct conf_storage *storage)
{
    int error = check_cores(topology, storage);
    if (!error)
        error = check_numa(topology, storage);
    if (!error)
        error = check_devices(topology, storage);
    if (!error)
        error = check_disks(topology, storage);
    return error;
}
