/* SPDX-License-Identifier: Apache-2.0 */
#include "binding.h"

#include <errno.h>
#include <hwloc.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "log.h"

static bool same_host(const char *a, const char *b)
{
    const char *end_a = strrchr(a, ':'), *end_b = strrchr(b, ':');
    return end_a && end_b && end_a - a == end_b - b && memcmp(a, b, (size_t)(end_a - a)) == 0;
}

static bool is_loopback(const char *address)
{
    return !strncmp(address, "127.", 4) || !strncmp(address, "localhost:", 10) ||
           !strncmp(address, "[::1]:", 6);
}

int binding_choose(const struct conf *conf, const struct conf_storage *storage, uint32_t shard,
                   uint32_t core_count)
{
    /* The metadata server's thread comes first, then the shards in the order of
     * the file: every server on the host comes to the same result by itself. */
    if (is_loopback(storage->listen))
        return -1;
    uint64_t threads = same_host(conf->metadata_listen, storage->listen), before = threads;
    for (uint32_t i = 0; i < conf->storage_count; i++) {
        const struct conf_storage *other = &conf->storage[i];
        if (!same_host(other->listen, storage->listen))
            continue;
        if (other == storage)
            before = threads;
        threads += other->shards;
    }
    return threads <= core_count ? (int)(before + shard) : -1;
}

static void bind_to(hwloc_topology_t topology, const struct conf *conf, const struct conf_storage *storage,
                    uint32_t shard)
{
    hwloc_const_cpuset_t allowed = hwloc_topology_get_allowed_cpuset(topology);
    hwloc_bitmap_t ours = hwloc_bitmap_alloc(), set = NULL;
    /* What the process was started with (taskset, a cgroup) is a limit. */
    if (!ours || hwloc_get_cpubind(topology, ours, HWLOC_CPUBIND_PROCESS))
        goto free;
    hwloc_bitmap_and(ours, ours, allowed);
    int cores = hwloc_get_nbobjs_inside_cpuset_by_type(topology, ours, HWLOC_OBJ_CORE);
    int core = cores > 0 ? binding_choose(conf, storage, shard, (uint32_t)cores) : -1;
    if (core < 0)
        goto free;
    hwloc_obj_t object = hwloc_get_obj_inside_cpuset_by_type(topology, ours, HWLOC_OBJ_CORE, (unsigned)core);
    set = object ? hwloc_bitmap_dup(object->cpuset) : NULL;
    if (!set)
        goto free;
    hwloc_bitmap_and(set, set, ours);
    if (hwloc_set_cpubind(topology, set, HWLOC_CPUBIND_THREAD))
        log_warn("shard %" PRIu32 " could not be bound to a core: %s", shard, err_name(-errno));
    else
        log_info("shard %" PRIu32 " runs on core %u", shard, object->logical_index);
free:
    hwloc_bitmap_free(set);
    hwloc_bitmap_free(ours);
}

void binding_apply(const struct conf *conf, const struct conf_storage *storage, uint32_t shard)
{
    hwloc_topology_t topology;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    /* Reading the topology takes a while, and is of no use to most small clusters. */
    if (online < 1 || binding_choose(conf, storage, shard, (uint32_t)online) < 0)
        return;
    if (hwloc_topology_init(&topology))
        return;
    if (!hwloc_topology_load(topology))
        bind_to(topology, conf, storage, shard);
    hwloc_topology_destroy(topology);
}
