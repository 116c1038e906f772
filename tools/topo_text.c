/* SPDX-License-Identifier: Apache-2.0 */
#include "topo.h"

#include <inttypes.h>
#include <string.h>

const char *topo_cpus(char text[TOPO_TEXT], hwloc_const_bitmap_t cpus)
{
    if (!cpus || hwloc_bitmap_iszero(cpus) || hwloc_bitmap_list_snprintf(text, TOPO_TEXT, cpus) <= 0)
        snprintf(text, TOPO_TEXT, "-");
    return text;
}

const char *topo_host(char text[LIMITS_ADDRESS_MAX + 1], const char *listen)
{
    const char *colon = strrchr(listen, ':');
    snprintf(text, LIMITS_ADDRESS_MAX + 1, "%.*s", colon ? (int)(colon - listen) : -1, listen);
    return text;
}

const char *topo_kind(const struct topology_device *device)
{
    static const char *const names[] = {"fabric", "Ethernet", "disk"};
    return names[device->kind];
}

/* ---- the machine -------------------------------------------------------------- */

static int count_of(const struct topo *topo, hwloc_obj_type_t type)
{
    return hwloc_get_nbobjs_by_type(topo->topology->hwloc, type);
}

static void print_count(int count, const char *one, const char *many, const char *behind)
{
    if (count > 0)
        printf("%d %s%s", count, count == 1 ? one : many, behind);
}

static void print_machine(const struct topo *topo)
{
    const struct topology *topology = topo->topology;
    char host[LIMITS_ADDRESS_MAX + 1], cpus[TOPO_TEXT];
    if (topo->of)
        printf("Host %s, as seen on %s: ", topo_host(host, topo->of->listen), topology->source);
    else
        printf("%s: ", topology->source);
    print_count(count_of(topo, HWLOC_OBJ_PACKAGE), "package", "packages", ", ");
    print_count(count_of(topo, HWLOC_OBJ_NUMANODE), "NUMA node", "NUMA nodes", ", ");
    print_count(count_of(topo, HWLOC_OBJ_CORE), "core", "cores", ", ");
    print_count(count_of(topo, HWLOC_OBJ_PU), "CPU", "CPUs", "");
    printf("; usable: CPU %s\n", topo_cpus(cpus, topology->usable));
    if (topology->quota > 0)
        printf("The cgroup may use the time of %.1f CPUs.\n", topology->quota);
}

/* ---- shards ------------------------------------------------------------------- */

/* hwloc's number of the core that has the CPUs, or of the first of several with a "+". */
static const char *core_text(char text[TOPO_TEXT], const struct topology *topology, hwloc_const_bitmap_t cpus)
{
    hwloc_obj_t core = NULL;
    snprintf(text, TOPO_TEXT, "-");
    while (cpus && (core = hwloc_get_next_obj_by_type(topology->hwloc, HWLOC_OBJ_CORE, core)) != NULL) {
        if (!hwloc_bitmap_intersects(core->cpuset, cpus))
            continue;
        snprintf(text, TOPO_TEXT, "%u%s", core->logical_index,
                 hwloc_bitmap_isincluded(cpus, core->cpuset) ? "" : "+");
        break;
    }
    return text;
}

static const char *node_text(char text[TOPO_TEXT], hwloc_obj_t node)
{
    if (node)
        snprintf(text, TOPO_TEXT, "%u%s%s", node->os_index, node->subtype ? " " : "",
                 node->subtype ? node->subtype : "");
    else
        snprintf(text, TOPO_TEXT, "-");
    return text;
}

static void print_shards(const struct binding *binding)
{
    const struct topology *topology = binding->topology;
    struct table *table = table_new("lrrlllrl");
    char core[TOPO_TEXT], cpus[TOPO_TEXT], memory[TOPO_TEXT], distance[TOPO_TEXT], around[TOPO_TEXT],
        name[LIMITS_SERVER_NAME_MAX + 16];
    table_row(table, "SHARD", "CORE", "CPU", "MEMORY", "HELPERS", "NETWORK", "DISTANCE", "WHY", NULL);
    if (binding->metadata_cpus)
        table_row(table, "metadata", core_text(core, topology, binding->metadata_cpus),
                  topo_cpus(cpus, binding->metadata_cpus), "-", "-", "-", "-",
                  "left free for the metadata server", NULL);
    for (uint32_t i = 0; i < binding->shard_count; i++) {
        const struct binding_shard *shard = &binding->shards[i];
        bool is_near = shard->nic && shard->cpus;
        snprintf(name, sizeof name, "%s/%" PRIu32, shard->storage->name, shard->index);
        snprintf(distance, sizeof distance, "%u",
                 is_near ? topology_distance(topology, shard->nic, shard->cpus) : 0);
        table_row(table, name, core_text(core, topology, shard->cpus), topo_cpus(cpus, shard->cpus),
                  node_text(memory, shard->node), topo_cpus(around, shard->around),
                  shard->nic ? shard->nic->name : "-", is_near ? distance : "-",
                  shard->cpus ? shard->reason : "not bound", NULL);
    }
    table_print(table, stdout);
    for (uint32_t i = 0; i < binding->shard_count; i++)
        if (binding->shards[i].devices)
            printf("%s/%" PRIu32 " uses the network devices %s\n", binding->shards[i].storage->name,
                   binding->shards[i].index, binding->shards[i].devices);
}

/* ---- targets and devices --------------------------------------------------------- */

/* "10", or "10..21" where the shards of its server differ; "-" where that is not known. */
static const char *distances_text(char text[TOPO_TEXT], const struct binding *binding,
                                  const struct binding_target *target)
{
    unsigned least = UINT32_MAX, most = 0;
    for (uint32_t i = 0; target->device && i < binding->shard_count; i++) {
        const struct binding_shard *shard = &binding->shards[i];
        if (shard->storage != target->storage || !shard->cpus)
            continue;
        unsigned distance = topology_distance(binding->topology, target->device, shard->cpus);
        least = distance < least ? distance : least;
        most = distance > most ? distance : most;
    }
    if (!most)
        snprintf(text, TOPO_TEXT, "-");
    else if (least == most)
        snprintf(text, TOPO_TEXT, "%u", least);
    else
        snprintf(text, TOPO_TEXT, "%u..%u", least, most);
    return text;
}

static const char *place_of(char text[TOPO_TEXT], const struct topology_device *device)
{
    char nodes[TOPO_TEXT];
    if (!device)
        snprintf(text, TOPO_TEXT, "-");
    else
        snprintf(text, TOPO_TEXT, "%.48s", topo_cpus(nodes, device->beside->nodeset));
    return text;
}

static void print_targets(const struct binding *binding)
{
    struct table *table = table_new("rllllrl");
    char id[TOPO_TEXT], node[TOPO_TEXT], distances[TOPO_TEXT];
    table_row(table, "TARGET", "SERVER", "STORE", "DISK", "NUMA", "DISTANCE", "DIRECTORY", NULL);
    for (uint32_t i = 0; i < binding->target_count; i++) {
        const struct binding_target *target = &binding->targets[i];
        const char *store = target->target->store ? target->target->store : binding->conf->store;
        snprintf(id, sizeof id, "%" PRIu32, target->target->id);
        table_row(table, id, target->storage->name, store, target->disk[0] ? target->disk : "-",
                  place_of(node, target->device), distances_text(distances, binding, target),
                  target->target->dir, NULL);
    }
    table_print(table, stdout);
}

/* The network devices, and which shards are near to each. */
static void print_devices(const struct topo *topo)
{
    const struct topology *topology = topo->topology;
    struct table *table = table_new("llllll");
    table_row(table, "DEVICE", "KIND", "NUMA", "LINK", "INTERRUPTS", "SHARDS", NULL);
    uint32_t count = 0;
    for (uint32_t i = 0; i < topology->device_count; i++) {
        const struct topology_device *device = &topology->devices[i];
        char node[TOPO_TEXT], interrupts[TOPO_TEXT], shards[256] = "";
        size_t length = 0;
        if (device->kind == TOPOLOGY_DISK)
            continue;
        for (uint32_t k = 0; topo->binding && k < topo->binding->shard_count && length < sizeof shards; k++)
            if (topo->binding->shards[k].nic == device)
                length += (size_t)snprintf(shards + length, sizeof shards - length, "%s%s/%" PRIu32,
                                           length ? " " : "", topo->binding->shards[k].storage->name,
                                           topo->binding->shards[k].index);
        table_row(table, device->name, topo_kind(device), place_of(node, device),
                  device->is_down ? "down" : "up", topo_cpus(interrupts, device->interrupts),
                  length ? shards : "-", NULL);
        count++;
    }
    if (count) {
        putchar('\n');
        table_print(table, stdout);
    } else {
        table_free(table);
    }
}

/* ---- the rest of the cluster -------------------------------------------------------- */

static bool is_first_of_host(const struct conf *conf, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (binding_same_host(conf->storage[i].listen, conf->storage[index].listen))
            return false;
    return true;
}

/* Servers of other hosts, as far as the configuration knows them. */
static void print_others(const struct topo *topo)
{
    const struct conf *conf = topo->conf;
    struct table *table = table_new("llrl");
    uint32_t count = 0;
    table_row(table, "HOST", "SERVERS", "SHARDS", "TARGETS", NULL);
    for (uint32_t i = 0; i < conf->storage_count; i++) {
        const char *listen = conf->storage[i].listen;
        char host[LIMITS_ADDRESS_MAX + 1], servers[256] = "", targets[256] = "", shards[TOPO_TEXT];
        size_t servers_at = 0, targets_at = 0;
        uint64_t shard_count = 0;
        if ((topo->of && binding_same_host(listen, topo->of->listen)) || !is_first_of_host(conf, i))
            continue;
        for (uint32_t k = i; k < conf->storage_count; k++) {
            const struct conf_storage *server = &conf->storage[k];
            if (!binding_same_host(server->listen, listen))
                continue;
            shard_count += server->shards;
            if (servers_at < sizeof servers)
                servers_at += (size_t)snprintf(servers + servers_at, sizeof servers - servers_at, "%s%s",
                                               servers_at ? " " : "", server->name);
            for (uint32_t t = 0; t < server->target_count && targets_at < sizeof targets; t++)
                targets_at += (size_t)snprintf(targets + targets_at, sizeof targets - targets_at,
                                               "%s%" PRIu32, targets_at ? " " : "", server->targets[t].id);
        }
        snprintf(shards, sizeof shards, "%" PRIu64, shard_count);
        table_row(table, topo_host(host, listen), servers, shards, targets, NULL);
        count++;
    }
    if (count) {
        puts("\nOther hosts, by the configuration:");
        table_print(table, stdout);
    } else {
        table_free(table);
    }
}

void topo_print(const struct topo *topo)
{
    print_machine(topo);
    if (topo->binding) {
        putchar('\n');
        print_shards(topo->binding);
        putchar('\n');
        print_targets(topo->binding);
    } else {
        puts("No storage server of the configuration has an address of this host.");
    }
    print_devices(topo);
    if (topo->binding && topo->binding->hint_count) {
        putchar('\n');
        for (uint32_t i = 0; i < topo->binding->hint_count; i++)
            printf("- %s\n", topo->binding->hints[i]);
    }
    print_others(topo);
}
