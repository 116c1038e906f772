/* SPDX-License-Identifier: Apache-2.0 */
#include "pin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "binding.h"
#include "err.h"
#include "log.h"
#include "topology.h"

struct pins {
    struct topology *topology;
    struct binding *binding;
    const struct conf_storage *storage;
};

/* Reading the topology takes a while, and is of no use to most small clusters. */
static bool is_needed(const struct conf_storage *storage)
{
    const struct conf_binding *told = &storage->binding;
    if (told->cores.items || told->numa.items || told->devices.items || told->mode == CONF_BINDING_ALWAYS)
        return true;
    return told->mode == CONF_BINDING_AUTO && !binding_is_loopback(storage->listen);
}

int pin_open(const struct conf *conf, const struct conf_storage *storage, struct pins **out)
{
    *out = NULL;
    if (!is_needed(storage))
        return 0;
    struct pins *pins = calloc(1, sizeof *pins);
    if (!pins)
        return err_set(-ENOMEM, "no memory for the placement of shards");
    pins->storage = storage;
    int error = topology_open(NULL, &pins->topology);
    if (!error)
        error = binding_check(pins->topology, storage);
    if (!error)
        error = binding_make(pins->topology, conf, storage,
                             pins->topology->is_here ? &binding_lookup_here : NULL, &pins->binding);
    if (error) {
        pin_close(pins);
        return error;
    }
    if (!pins->topology->is_here)
        log_warn(
            "%s is the description of another machine, so no thread is bound; HWLOC_THISSYSTEM=1 says that "
            "it is of this one",
            pins->topology->source);
    *out = pins;
    return 0;
}

void pin_close(struct pins *pins)
{
    if (!pins)
        return;
    binding_free(pins->binding);
    topology_close(pins->topology);
    free(pins);
}

static const struct binding_shard *shard_of(const struct pins *pins, uint32_t shard)
{
    return pins ? binding_shard(pins->binding, pins->storage, shard) : NULL;
}

/* ---- memory ----------------------------------------------------------------- */

/* Where there is one node, or none was chosen, the kernel has nothing to be told. */
static bool has_node(const struct pins *pins, const struct binding_shard *shard)
{
    return shard && shard->node && pins->topology->is_here &&
           (pins->storage->binding.numa.items ||
            hwloc_get_nbobjs_by_type(pins->topology->hwloc, HWLOC_OBJ_NUMANODE) > 1);
}

/* Preferred, not forced: a full node must not end a server. */
static void prefer_node(const struct pins *pins, const struct binding_shard *shard)
{
    if (has_node(pins, shard) &&
        hwloc_set_membind(pins->topology->hwloc, shard->node->nodeset, HWLOC_MEMBIND_BIND,
                          HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET))
        log_warn("the memory of shard %" PRIu32 " could not be bound to NUMA node %u: %s", shard->index,
                 shard->node->os_index, err_name(-errno));
}

/* The thread's own policy is not enough: another process that writes to these pages (CMA) may be the first to
 * touch them. */
void pin_memory(const struct pins *pins, uint32_t index, const struct bufpool *pool)
{
    const struct binding_shard *shard = shard_of(pins, index);
    void *start;
    size_t bytes;
    bufpool_memory(pool, &start, &bytes);
    if (has_node(pins, shard) &&
        hwloc_set_area_membind(pins->topology->hwloc, start, bytes, shard->node->nodeset, HWLOC_MEMBIND_BIND,
                               HWLOC_MEMBIND_BYNODESET))
        log_warn("the buffers of shard %" PRIu32 " could not be bound to NUMA node %u: %s", index,
                 shard->node->os_index, err_name(-errno));
}

/* ---- CPUs ------------------------------------------------------------------- */

static void bind_thread(const struct pins *pins, uint32_t shard, hwloc_const_bitmap_t cpus)
{
    if (hwloc_set_cpubind(pins->topology->hwloc, cpus, HWLOC_CPUBIND_THREAD))
        log_warn("shard %" PRIu32 " could not be bound: %s", shard, err_name(-errno));
}

void pin_begin(const struct pins *pins, uint32_t index)
{
    const struct binding_shard *shard = shard_of(pins, index);
    if (shard && shard->cpus && pins->topology->is_here)
        bind_thread(pins, index, shard->around);
    prefer_node(pins, shard);
}

void pin_end(const struct pins *pins, uint32_t index)
{
    const struct binding_shard *shard = shard_of(pins, index);
    char cpus[64];
    if (!shard || !pins->topology->is_here)
        return;
    if (!shard->cpus) {
        log_info("shard %" PRIu32 " is not bound: %s", index, shard->reason);
        return;
    }
    bind_thread(pins, index, shard->cpus);
    hwloc_bitmap_list_snprintf(cpus, sizeof cpus, shard->cpus);
    log_info("shard %" PRIu32 " runs on CPU %s (%s)%s%s", index, cpus, shard->reason,
             shard->devices ? ", network devices " : "", shard->devices ? shard->devices : "");
}

const char *pin_devices(const struct pins *pins, uint32_t index)
{
    const struct binding_shard *shard = shard_of(pins, index);
    return shard ? shard->devices : NULL;
}
