/* SPDX-License-Identifier: Apache-2.0 */
#include "binding.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binding_internal.h"
#include "err.h"

/* What a shard can be given: a core, or, where cores have to be shared, a hyperthread. */
struct slot {
    hwloc_bitmap_t cpus;
    hwloc_obj_t node;
    unsigned turn; /* which of its core's hyperthreads; 0: the first, or the whole core */
    int speed;
    bool is_taken;
};

struct making {
    struct binding *binding;
    const struct binding_lookup *lookup;
    struct slot *slots;
    uint32_t slot_count;
    uint32_t *nic_shards;  /* for each device of the topology */
    uint32_t *node_shards; /* for each NUMA node, by hwloc's number */
    const struct topology_device **candidates;
};

static int no_memory(void)
{
    return err_set(-ENOMEM, "no memory for the placement of shards");
}

/* ---- slots ------------------------------------------------------------------ */

static int add_slot(struct making *making, hwloc_const_bitmap_t cpus, unsigned turn)
{
    const struct topology *topology = making->binding->topology;
    struct slot *slot = &making->slots[making->slot_count];
    *slot = (struct slot){.cpus = hwloc_bitmap_dup(cpus), .turn = turn};
    if (!slot->cpus)
        return no_memory();
    making->slot_count++;
    slot->node = topology_memory(topology, cpus);
    slot->speed = topology_speed(topology, cpus);
    return 0;
}

/* The part of the `core`-th core that may be used; false: there is no such core, or nothing of it. */
static bool core_cpus(const struct topology *topology, unsigned core, hwloc_bitmap_t cpus)
{
    hwloc_obj_type_t type =
        hwloc_get_nbobjs_by_type(topology->hwloc, HWLOC_OBJ_CORE) > 0 ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
    hwloc_obj_t object = hwloc_get_obj_by_type(topology->hwloc, type, core);
    if (!object)
        return false;
    hwloc_bitmap_and(cpus, object->cpuset, topology->usable);
    return true;
}

static uint32_t count_cores(const struct topology *topology, hwloc_bitmap_t cpus)
{
    uint32_t count = 0;
    for (unsigned core = 0; core_cpus(topology, core, cpus); core++)
        count += !hwloc_bitmap_iszero(cpus);
    return count;
}

/* The n-th hyperthreads of all cores before the next ones of any. */
static int add_hyperthreads(struct making *making, hwloc_bitmap_t cpus, hwloc_bitmap_t one)
{
    const struct topology *topology = making->binding->topology;
    bool goes_on = true;
    int error = 0;
    for (unsigned turn = 0; goes_on && !error; turn++) {
        goes_on = false;
        for (unsigned core = 0; !error && core_cpus(topology, core, cpus); core++) {
            int cpu = hwloc_bitmap_first(cpus);
            for (unsigned i = 0; i < turn && cpu >= 0; i++)
                cpu = hwloc_bitmap_next(cpus, cpu);
            if (cpu < 0)
                continue;
            goes_on = true;
            hwloc_bitmap_only(one, (unsigned)cpu);
            error = add_slot(making, one, turn);
        }
    }
    return error;
}

static bool is_always(const struct binding *binding)
{
    for (uint32_t i = 0; i < binding->shard_count; i++)
        if (binding->shards[i].storage->binding.mode == CONF_BINDING_ALWAYS)
            return true;
    return false;
}

static int make_slots(struct making *making)
{
    struct binding *binding = making->binding;
    const struct topology *topology = binding->topology;
    hwloc_bitmap_t cpus = hwloc_bitmap_alloc(), one = hwloc_bitmap_alloc();
    int most = hwloc_bitmap_weight(topology->usable);
    making->slots = calloc(most > 0 ? (size_t)most : 1, sizeof *making->slots);
    int error = cpus && one && making->slots ? 0 : no_memory();
    if (error)
        goto free_sets;
    binding->cores = count_cores(topology, cpus);
    if (binding->threads > binding->cores && is_always(binding))
        error = add_hyperthreads(making, cpus, one);
    else
        for (unsigned core = 0; !error && core_cpus(topology, core, cpus); core++)
            if (!hwloc_bitmap_iszero(cpus))
                error = add_slot(making, cpus, 0);
free_sets:
    hwloc_bitmap_free(cpus);
    hwloc_bitmap_free(one);
    return error;
}

/* Nobody else chooses what these CPUs are part of. */
static void take_slots(struct making *making, hwloc_const_bitmap_t cpus)
{
    for (uint32_t i = 0; i < making->slot_count; i++)
        if (hwloc_bitmap_intersects(making->slots[i].cpus, cpus))
            making->slots[i].is_taken = true;
}

/* ---- choosing ------------------------------------------------------------------ */

/* Of all of the server's disks that are known, from the CPUs. */
static unsigned disks_distance(const struct binding *binding, const struct conf_storage *storage,
                               hwloc_const_bitmap_t cpus)
{
    unsigned sum = 0;
    for (uint32_t i = 0; i < binding->target_count; i++)
        if (binding->targets[i].storage == storage && binding->targets[i].device)
            sum += topology_distance(binding->topology, binding->targets[i].device, cpus);
    return sum;
}

/* Whole cores before hyperthreads, fast ones before slow ones. */
static int compare_kinds(const struct slot *a, const struct slot *b)
{
    if (a->turn != b->turn)
        return a->turn < b->turn ? -1 : 1;
    return b->speed - a->speed;
}

/* From the device to where the shard can be: its CPUs, else the nearest of the best free slots. */
static unsigned nic_distance(const struct making *making, const struct binding_shard *shard,
                             const struct topology_device *nic)
{
    const struct topology *topology = making->binding->topology;
    const struct slot *best = NULL;
    unsigned least = UINT32_MAX;
    if (shard->cpus)
        return topology_distance(topology, nic, shard->cpus);
    for (uint32_t i = 0; i < making->slot_count; i++) {
        const struct slot *slot = &making->slots[i];
        int order = best ? compare_kinds(slot, best) : -1;
        if (slot->is_taken || order > 0 ||
            (shard->node && !hwloc_bitmap_intersects(shard->node->cpuset, slot->cpus)))
            continue;
        unsigned distance = topology_distance(topology, nic, slot->cpus);
        if (order < 0 || distance < least)
            least = distance;
        best = slot;
    }
    return least;
}

/* Devices near to where the shard can be; of these the one with the fewest shards, near the disks. */
static void choose_nic(struct making *making, struct binding_shard *shard)
{
    const struct binding *binding = making->binding;
    uint32_t count =
        binding_candidates(binding, shard->storage, shard->index, making->lookup, making->candidates);
    unsigned best[3] = {0};
    for (uint32_t i = 0; i < count; i++) {
        const struct topology_device *nic = making->candidates[i];
        unsigned cost[3] = {
            nic_distance(making, shard, nic),
            making->nic_shards[nic - binding->topology->devices],
            disks_distance(binding, shard->storage, nic->beside->cpuset),
        };
        unsigned level = 0;
        while (shard->nic && level < 2 && cost[level] == best[level])
            level++;
        if (shard->nic && cost[level] >= best[level])
            continue;
        shard->nic = nic;
        memcpy(best, cost, sizeof best);
    }
    if (shard->nic)
        making->nic_shards[shard->nic - binding->topology->devices]++;
}

/* The free slot with the least cost; the first of several. NULL: all are taken. */
static struct slot *choose_slot(const struct making *making, const struct binding_shard *shard)
{
    enum { LEVELS = 6 };
    const struct binding *binding = making->binding;
    struct slot *chosen = NULL;
    long best[LEVELS] = {0};
    for (uint32_t i = 0; i < making->slot_count; i++) {
        struct slot *slot = &making->slots[i];
        if (slot->is_taken)
            continue;
        const long cost[LEVELS] = {
            shard->node && !hwloc_bitmap_intersects(shard->node->cpuset, slot->cpus),
            (long)slot->turn,
            -slot->speed,
            shard->nic ? (long)topology_distance(binding->topology, shard->nic, slot->cpus) : 0,
            (long)disks_distance(binding, shard->storage, slot->cpus),
            slot->node ? (long)making->node_shards[slot->node->logical_index] : 0,
        };
        unsigned level = 0;
        while (chosen && level < LEVELS - 1 && cost[level] == best[level])
            level++;
        if (chosen && cost[level] >= best[level])
            continue;
        chosen = slot;
        memcpy(best, cost, sizeof best);
    }
    return chosen;
}

static int bind_to_slot(struct making *making, struct binding_shard *shard)
{
    choose_nic(making, shard);
    struct slot *slot = choose_slot(making, shard);
    if (!slot) {
        shard->nic = NULL;
        snprintf(shard->reason, sizeof shard->reason, "all CPUs have a server thread already");
        return 0;
    }
    slot->is_taken = true;
    shard->cpus = hwloc_bitmap_dup(slot->cpus);
    if (!shard->cpus)
        return no_memory();
    if (!shard->node)
        shard->node = slot->node;
    if (slot->node)
        making->node_shards[slot->node->logical_index]++;
    snprintf(shard->reason, sizeof shard->reason, "%s",
             shard->storage->binding.mode == CONF_BINDING_ALWAYS ? "always, as the configuration says"
                                                                 : "a core for each server thread");
    return 0;
}

/* ---- each shard -------------------------------------------------------------- */

/* Where the configuration names CPUs that this process may use. */
static int bind_as_told(struct making *making, struct binding_shard *shard)
{
    const struct topology *topology = making->binding->topology;
    const struct conf_binding *told = &shard->storage->binding;
    if (told->numa.items)
        shard->node = topology_node(topology, (unsigned)strtoul(told->numa.items[shard->index], NULL, 10));
    if (!told->cores.items)
        return 0;
    shard->cpus = hwloc_bitmap_alloc();
    if (!shard->cpus || hwloc_bitmap_list_sscanf(shard->cpus, told->cores.items[shard->index]))
        return no_memory();
    hwloc_bitmap_and(shard->cpus, shard->cpus, topology->usable);
    if (hwloc_bitmap_iszero(shard->cpus)) {
        hwloc_bitmap_free(shard->cpus);
        shard->cpus = NULL;
        snprintf(shard->reason, sizeof shard->reason, "CPU %s is not there, or not to be used",
                 told->cores.items[shard->index]);
        return 0;
    }
    take_slots(making, shard->cpus);
    if (!shard->node)
        shard->node = topology_memory(topology, shard->cpus);
    hwloc_obj_t node = topology_memory(topology, shard->cpus);
    if (node)
        making->node_shards[node->logical_index]++;
    choose_nic(making, shard);
    snprintf(shard->reason, sizeof shard->reason, "cores, as the configuration says");
    return 0;
}

/* Says why not, unless the shard is to be bound. */
static bool is_to_be_bound(const struct binding *binding, struct binding_shard *shard)
{
    const struct conf_storage *storage = shard->storage;
    char *reason = shard->reason;
    const size_t size = sizeof shard->reason;
    if (shard->cpus || *reason)
        return false; /* decided already */
    if (storage->binding.mode == CONF_BINDING_ALWAYS)
        return true;
    if (storage->binding.mode == CONF_BINDING_NONE)
        snprintf(reason, size, "none, as the configuration says");
    else if (binding_is_loopback(storage->listen))
        snprintf(reason, size, "only this host can reach it, so its clients share the cores");
    else if (binding->threads > binding->cores)
        snprintf(reason, size, "%" PRIu32 " server threads on this host, but %" PRIu32 " cores",
                 binding->threads, binding->cores);
    else if (binding->topology->quota > 0)
        snprintf(reason, size, "the cgroup may use the time of %.1f CPUs, and shares them",
                 binding->topology->quota);
    return !*reason;
}

/* The first core of the fastest kind. Its thread binds nothing; the shards leave it alone. */
static int leave_to_metadata(struct making *making)
{
    struct binding *binding = making->binding;
    struct slot *slot = NULL;
    for (uint32_t i = 0; i < making->slot_count; i++)
        if (!making->slots[i].is_taken && (!slot || making->slots[i].speed > slot->speed))
            slot = &making->slots[i];
    if (!slot)
        return 0;
    slot->is_taken = true;
    if (slot->node)
        making->node_shards[slot->node->logical_index]++;
    binding->metadata_cpus = hwloc_bitmap_dup(slot->cpus);
    return binding->metadata_cpus ? 0 : no_memory();
}

/* What the configuration says comes first, whatever the order in the file. */
static int choose_all(struct making *making)
{
    struct binding *binding = making->binding;
    bool is_any_bound = false;
    int error = 0;
    for (uint32_t i = 0; !error && i < binding->shard_count; i++) {
        error = bind_as_told(making, &binding->shards[i]);
        is_any_bound = is_any_bound || (!error && is_to_be_bound(binding, &binding->shards[i]));
    }
    if (!error && is_any_bound && binding->has_metadata)
        error = leave_to_metadata(making);
    for (uint32_t i = 0; !error && i < binding->shard_count; i++)
        if (is_to_be_bound(binding, &binding->shards[i]))
            error = bind_to_slot(making, &binding->shards[i]);
    for (uint32_t i = 0; !error && i < binding->shard_count; i++)
        error = binding_narrow(binding, &binding->shards[i], making->lookup);
    return error;
}

/* ---- helper threads ---------------------------------------------------------- */

/* Of the free CPUs those of the NUMA node, else those of the package, else all; where none is free, all that
 * there are. */
static void near_ones(const struct topology *topology, const struct binding_shard *shard,
                      hwloc_const_bitmap_t free_cpus, hwloc_bitmap_t chosen)
{
    hwloc_obj_t covering = hwloc_get_obj_covering_cpuset(topology->hwloc, shard->cpus);
    hwloc_obj_t node = topology_memory(topology, shard->cpus);
    hwloc_obj_t package = hwloc_get_ancestor_obj_by_type(topology->hwloc, HWLOC_OBJ_PACKAGE, covering);
    hwloc_bitmap_zero(chosen);
    if (node)
        hwloc_bitmap_and(chosen, free_cpus, node->cpuset);
    if (hwloc_bitmap_iszero(chosen) && package)
        hwloc_bitmap_and(chosen, free_cpus, package->cpuset);
    if (hwloc_bitmap_iszero(chosen))
        hwloc_bitmap_copy(chosen, free_cpus);
    if (hwloc_bitmap_iszero(chosen))
        hwloc_bitmap_copy(chosen, topology->usable);
}

static int choose_around(const struct binding *binding)
{
    const struct topology *topology = binding->topology;
    hwloc_bitmap_t free_cpus = hwloc_bitmap_dup(topology->usable);
    int error = free_cpus ? 0 : no_memory();
    for (uint32_t i = 0; !error && i < binding->shard_count; i++)
        if (binding->shards[i].cpus)
            hwloc_bitmap_andnot(free_cpus, free_cpus, binding->shards[i].cpus);
    if (!error && binding->metadata_cpus)
        hwloc_bitmap_andnot(free_cpus, free_cpus, binding->metadata_cpus);
    for (uint32_t i = 0; !error && i < binding->shard_count; i++) {
        struct binding_shard *shard = &binding->shards[i];
        if (!shard->cpus)
            continue;
        shard->around = hwloc_bitmap_alloc();
        if (shard->around)
            near_ones(topology, shard, free_cpus, shard->around);
        else
            error = no_memory();
    }
    hwloc_bitmap_free(free_cpus);
    return error;
}

/* ---- making and ending --------------------------------------------------------- */

static void find_disk(const struct topology *topology, const struct binding_lookup *lookup,
                      struct binding_target *target)
{
    if (target->target->device)
        snprintf(target->disk, sizeof target->disk, "%s", target->target->device);
    else if (!lookup || !lookup->disk ||
             !lookup->disk(target->target->dir, target->disk, sizeof target->disk))
        target->disk[0] = 0;
    target->device = target->disk[0] ? topology_device(topology, true, target->disk) : NULL;
}

static int list_host(struct binding *binding, const struct conf_storage *of,
                     const struct binding_lookup *lookup)
{
    const struct conf *conf = binding->conf;
    uint32_t shards = 0, targets = 0;
    for (uint32_t i = 0; i < conf->storage_count; i++) {
        if (!binding_same_host(conf->storage[i].listen, of->listen))
            continue;
        shards += conf->storage[i].shards;
        targets += conf->storage[i].target_count;
    }
    binding->has_metadata = binding_same_host(conf->metadata_listen, of->listen);
    binding->threads = shards + binding->has_metadata;
    binding->shards = calloc(shards ? shards : 1, sizeof *binding->shards);
    binding->targets = calloc(targets ? targets : 1, sizeof *binding->targets);
    if (!binding->shards || !binding->targets)
        return no_memory();
    for (uint32_t i = 0; i < conf->storage_count; i++) {
        const struct conf_storage *storage = &conf->storage[i];
        if (!binding_same_host(storage->listen, of->listen))
            continue;
        for (uint32_t k = 0; k < storage->shards; k++)
            binding->shards[binding->shard_count++] = (struct binding_shard){.storage = storage, .index = k};
        for (uint32_t k = 0; k < storage->target_count; k++) {
            struct binding_target *target = &binding->targets[binding->target_count++];
            *target = (struct binding_target){.storage = storage, .target = &storage->targets[k]};
            find_disk(binding->topology, lookup, target);
        }
    }
    return 0;
}

static void making_free(struct making *making)
{
    for (uint32_t i = 0; i < making->slot_count; i++)
        hwloc_bitmap_free(making->slots[i].cpus);
    free(making->slots);
    free(making->nic_shards);
    free(making->node_shards);
    free(making->candidates);
}

int binding_make(const struct topology *topology, const struct conf *conf, const struct conf_storage *of,
                 const struct binding_lookup *lookup, struct binding **out)
{
    struct binding *binding = calloc(1, sizeof *binding);
    struct making making = {.binding = binding, .lookup = lookup};
    if (!binding)
        return no_memory();
    binding->topology = topology;
    binding->conf = conf;
    int nodes = hwloc_get_nbobjs_by_type(topology->hwloc, HWLOC_OBJ_NUMANODE);
    making.nic_shards = calloc(topology->device_count + 1, sizeof *making.nic_shards);
    making.node_shards = calloc(nodes > 0 ? (size_t)nodes : 1, sizeof *making.node_shards);
    making.candidates = calloc(topology->device_count + 1, sizeof *making.candidates);
    int error = making.nic_shards && making.node_shards && making.candidates ? 0 : no_memory();
    if (!error)
        error = list_host(binding, of, lookup);
    if (!error)
        error = make_slots(&making);
    if (!error)
        error = choose_all(&making);
    if (!error)
        error = choose_around(binding);
    if (!error)
        error = binding_hint(binding);
    making_free(&making);
    if (error)
        binding_free(binding);
    else
        *out = binding;
    return error;
}

void binding_free(struct binding *binding)
{
    if (!binding)
        return;
    for (uint32_t i = 0; binding->shards && i < binding->shard_count; i++) {
        hwloc_bitmap_free(binding->shards[i].cpus);
        hwloc_bitmap_free(binding->shards[i].around);
        free(binding->shards[i].devices);
    }
    for (uint32_t i = 0; i < binding->hint_count; i++)
        free(binding->hints[i]);
    free(binding->hints);
    hwloc_bitmap_free(binding->metadata_cpus);
    free(binding->shards);
    free(binding->targets);
    free(binding);
}

const struct binding_shard *binding_shard(const struct binding *binding, const struct conf_storage *storage,
                                          uint32_t index)
{
    for (uint32_t i = 0; i < binding->shard_count; i++)
        if (binding->shards[i].storage == storage && binding->shards[i].index == index)
            return &binding->shards[i];
    return NULL;
}
