/* SPDX-License-Identifier: Apache-2.0 */
/* What a person should know of a placement, in words: what is not as near as it could be, and what
 * was passed over. */
#include "binding_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"

enum { LIST_BYTES = 256 };

__attribute__((format(printf, 2, 3))) static int add(struct binding *binding, const char *format, ...)
{
    char **hints = realloc(binding->hints, (binding->hint_count + 1) * sizeof *hints), *text;
    va_list list;
    if (!hints)
        return err_set(-ENOMEM, "no memory for hints");
    binding->hints = hints;
    va_start(list, format);
    int length = vasprintf(&text, format, list);
    va_end(list);
    if (length < 0)
        return err_set(-ENOMEM, "no memory for hints");
    hints[binding->hint_count++] = text;
    return 0;
}

static uint32_t count_bound(const struct binding *binding)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < binding->shard_count; i++)
        count += binding->shards[i].cpus != NULL;
    return count;
}

/* "s0/0, s0/1": the shards whose CPUs are among these. */
static void list_shards(const struct binding *binding, hwloc_const_bitmap_t cpus, char text[LIST_BYTES])
{
    size_t length = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < binding->shard_count; i++) {
        const struct binding_shard *shard = &binding->shards[i];
        if (!shard->cpus || !hwloc_bitmap_intersects(shard->cpus, cpus))
            continue;
        if (length + LIMITS_SERVER_NAME_MAX + 16 > LIST_BYTES) {
            snprintf(text + length, LIST_BYTES - length, ", ...");
            return;
        }
        length += (size_t)snprintf(text + length, LIST_BYTES - length, "%s%s/%" PRIu32, length ? ", " : "",
                                   shard->storage->name, shard->index);
    }
}

/* ---- the cores -------------------------------------------------------------- */

static bool is_told_by_conf(const struct conf_storage *storage)
{
    return storage->binding.mode == CONF_BINDING_NONE;
}

/* One sentence for each server that is not bound, though nobody said so. */
static int hint_unbound(struct binding *binding)
{
    int error = 0;
    const struct conf_storage *told = NULL;
    for (uint32_t i = 0; !error && i < binding->shard_count; i++) {
        const struct binding_shard *shard = &binding->shards[i];
        if (shard->cpus || shard->storage == told || is_told_by_conf(shard->storage))
            continue;
        told = shard->storage;
        error = add(binding, "%s is not bound: %s.%s", told->name, shard->reason,
                    told->binding.mode == CONF_BINDING_AUTO && !told->binding.cores.items
                        ? " binding = \"always\" binds it all the same."
                        : "");
    }
    return error;
}

static int hint_shared(struct binding *binding)
{
    const struct topology *topology = binding->topology;
    int error = 0;
    for (hwloc_obj_t core = NULL;
         !error && (core = hwloc_get_next_obj_by_type(topology->hwloc, HWLOC_OBJ_CORE, core)) != NULL;) {
        uint32_t count = 0;
        char shards[LIST_BYTES];
        for (uint32_t i = 0; i < binding->shard_count; i++)
            count +=
                binding->shards[i].cpus && hwloc_bitmap_intersects(binding->shards[i].cpus, core->cpuset);
        if (count < 2)
            continue;
        list_shards(binding, core->cpuset, shards);
        error = add(binding, "Core %u is shared by the shards %s.", core->logical_index, shards);
    }
    return error;
}

static int hint_speeds(struct binding *binding)
{
    const struct topology *topology = binding->topology;
    int fastest = 0;
    bool has_slower = false;
    hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
    if (!cpus)
        return err_set(-ENOMEM, "no memory for hints");
    int kinds = hwloc_cpukinds_get_nr(topology->hwloc, 0);
    for (int kind = 0; kind < kinds; kind++) {
        if (hwloc_cpukinds_get_info(topology->hwloc, (unsigned)kind, cpus, NULL, NULL, NULL, 0))
            continue;
        int speed = topology_speed(topology, cpus);
        has_slower = has_slower || (kind > 0 && speed != fastest);
        fastest = speed > fastest ? speed : fastest;
    }
    int error = 0;
    if (has_slower) {
        char shards[LIST_BYTES];
        hwloc_bitmap_zero(cpus);
        for (uint32_t i = 0; i < binding->shard_count; i++)
            if (binding->shards[i].cpus && topology_speed(topology, binding->shards[i].cpus) < fastest)
                hwloc_bitmap_or(cpus, cpus, binding->shards[i].cpus);
        list_shards(binding, cpus, shards);
        error =
            add(binding, "The cores are of different kinds; %s%s.",
                shards[0] ? "on slower ones are the shards " : "all shards are on the fastest one", shards);
    }
    hwloc_bitmap_free(cpus);
    return error;
}

/* ---- memory ------------------------------------------------------------------- */

static int hint_memory(struct binding *binding)
{
    const struct topology *topology = binding->topology;
    int error = 0;
    for (hwloc_obj_t node = NULL;
         !error && (node = hwloc_get_next_obj_by_type(topology->hwloc, HWLOC_OBJ_NUMANODE, node)) != NULL;) {
        bool is_used = false, is_near = false;
        for (uint32_t i = 0; i < binding->shard_count; i++) {
            const struct binding_shard *shard = &binding->shards[i];
            is_used = is_used || shard->node == node;
            is_near = is_near || (shard->cpus && hwloc_bitmap_intersects(shard->cpus, node->cpuset));
        }
        if (topology_is_special(node) && is_near && !is_used)
            error = add(binding, "NUMA node %u is %s, and not used for buffers unless numa names it.",
                        node->os_index, node->subtype);
    }
    return error;
}

/* ---- the network ------------------------------------------------------------- */

static int hint_interrupts(struct binding *binding)
{
    const struct topology *topology = binding->topology;
    int error = 0;
    for (uint32_t i = 0; !error && i < topology->device_count; i++) {
        const struct topology_device *device = &topology->devices[i];
        char shards[LIST_BYTES], cpus[64];
        if (!device->interrupts)
            continue;
        list_shards(binding, device->interrupts, shards);
        hwloc_bitmap_list_snprintf(cpus, sizeof cpus, device->interrupts);
        if (shards[0])
            error = add(binding,
                        "Interrupts of %s come to CPU %s, among them CPUs of %s; "
                        "/proc/irq/*/smp_affinity_list sends them elsewhere.",
                        device->name, cpus, shards);
    }
    return error;
}

/* Several fabric ports, of which nobody knows whether they reach the same peers. */
static int hint_narrowing(struct binding *binding)
{
    const struct topology *topology = binding->topology;
    uint32_t count = 0, unknown = 0;
    for (uint32_t i = 0; i < topology->device_count; i++) {
        const struct topology_device *device = &topology->devices[i];
        bool is_fabric = device->kind == TOPOLOGY_FABRIC && !device->is_down;
        count += is_fabric;
        unknown += is_fabric && !device->network[0];
    }
    bool is_narrowed = false;
    for (uint32_t i = 0; i < binding->shard_count; i++)
        is_narrowed = is_narrowed || binding->shards[i].devices;
    if (count < 2 || !unknown || is_narrowed)
        return 0;
    return add(
        binding,
        "Whether the ports of the fabric reach the same peers is not known (no InfiniBand subnet), so the "
        "transport chooses among them; devices names one for each shard.");
}

static int hint_nics(struct binding *binding)
{
    int error = 0;
    for (uint32_t i = 0; !error && i < binding->shard_count; i++) {
        const struct binding_shard *shard = &binding->shards[i];
        unsigned distance =
            shard->nic && shard->cpus ? topology_distance(binding->topology, shard->nic, shard->cpus) : 0;
        if (distance > TOPOLOGY_LOCAL)
            error =
                add(binding, "%s/%" PRIu32 " is at distance %u from its network device %s (%d is beside).",
                    shard->storage->name, shard->index, distance, shard->nic->name, TOPOLOGY_LOCAL);
    }
    return error;
}

/* ---- disks ---------------------------------------------------------------------- */

static unsigned nearest_shard(const struct binding *binding, const struct binding_target *target)
{
    unsigned least = UINT32_MAX;
    for (uint32_t i = 0; i < binding->shard_count; i++) {
        const struct binding_shard *shard = &binding->shards[i];
        if (shard->storage != target->storage || !shard->cpus)
            continue;
        unsigned distance = topology_distance(binding->topology, target->device, shard->cpus);
        least = distance < least ? distance : least;
    }
    return least;
}

static int hint_disks(struct binding *binding)
{
    int error = 0;
    for (uint32_t i = 0; !error && i < binding->target_count; i++) {
        const struct binding_target *target = &binding->targets[i];
        unsigned distance = target->device ? nearest_shard(binding, target) : UINT32_MAX;
        if (distance > TOPOLOGY_LOCAL && distance != UINT32_MAX)
            error = add(binding,
                        "Target %" PRIu32 ": its disk %s is at distance %u from the nearest shard of %s.",
                        target->target->id, target->disk, distance, target->storage->name);
    }
    return error;
}

/* ---- all of them --------------------------------------------------------------- */

int binding_hint(struct binding *binding)
{
    int error = hint_unbound(binding);
    if (error || !count_bound(binding))
        return error;
    if (!topology_has_devices(binding->topology))
        error = add(binding, "No devices are known of this machine; cores are chosen by NUMA nodes alone.");
    int (*const all[])(struct binding *) = {hint_shared, hint_speeds,    hint_memory,    hint_nics,
                                            hint_disks,  hint_narrowing, hint_interrupts};
    for (size_t i = 0; !error && i < sizeof all / sizeof all[0]; i++)
        error = all[i](binding);
    return error;
}
