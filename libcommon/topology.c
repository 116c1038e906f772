/* SPDX-License-Identifier: Apache-2.0 */
#include "topology.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "err.h"
#include "topology_host.h"

/* ---- loading -------------------------------------------------------------- */

/* What names a file, or could: a synthetic text has a colon behind each of its types, or blanks. */
static bool is_file(const char *description)
{
    size_t length = strlen(description);
    return strchr(description, '/') || (length > 4 && strcmp(description + length - 4, ".xml") == 0) ||
           access(description, F_OK) == 0;
}

static int describe(struct topology *topology, const char *description)
{
    topology->source = description;
    if (!is_file(description)) {
        if (hwloc_topology_set_synthetic(topology->hwloc, description))
            return err_set(-EINVAL,
                           "\"%s\" describes no machine; name a file that lstopo has written (lstopo "
                           "FILE.xml), or write a synthetic text such as \"pack:2 core:4 pu:2\"",
                           description);
        return 0;
    }
    if (access(description, R_OK))
        return err_sys("%s: the description of the machine can't be read", description);
    /* hwloc tells what is wrong with the text only when it loads it. */
    if (hwloc_topology_set_xml(topology->hwloc, description))
        return err_set(-EINVAL, "%s: is no description of a machine by hwloc; write one with lstopo FILE.xml",
                       description);
    return 0;
}

/* hwloc's plug-ins would start the libraries of graphics cards, which take seconds at times and tell nothing
 * that is asked here. One that is not installed is no error. */
static void leave_out_graphics(hwloc_topology_t topology)
{
    static const char *const names[] = {"opencl", "cuda", "nvml", "rsmi", "levelzero", "gl"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        hwloc_topology_set_components(topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, names[i]);
}

static int load(struct topology *topology, const char *description)
{
    if (hwloc_topology_init(&topology->hwloc))
        return err_set(-ENOMEM, "no memory for the machine's topology");
    hwloc_topology_set_type_filter(topology->hwloc, HWLOC_OBJ_PCI_DEVICE, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    hwloc_topology_set_type_filter(topology->hwloc, HWLOC_OBJ_OS_DEVICE, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    leave_out_graphics(topology->hwloc);
    if (!description || !*description)
        description = getenv("WEFT_TOPOLOGY");
    const char *given[] = {getenv("HWLOC_XMLFILE"), getenv("HWLOC_SYNTHETIC")};
    topology->source = given[0] ? given[0] : given[1] ? given[1] : "this machine";
    int error = description && *description ? describe(topology, description) : 0;
    if (!error && hwloc_topology_load(topology->hwloc))
        error = err_set(-EINVAL, "%s: hwloc can't load the description of the machine", topology->source);
    if (error) {
        hwloc_topology_destroy(topology->hwloc);
        topology->hwloc = NULL;
    }
    return error;
}

/* ---- what may be used ----------------------------------------------------- */

static int find_usable(struct topology *topology)
{
    hwloc_bitmap_t ours = hwloc_bitmap_alloc();
    topology->is_here = hwloc_topology_is_thissystem(topology->hwloc);
    topology->usable = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology->hwloc));
    if (!ours || !topology->usable) {
        hwloc_bitmap_free(ours);
        return err_set(-ENOMEM, "no memory for the machine's topology");
    }
    /* What the process was started with (taskset) is a limit as the cgroup is. */
    if (topology->is_here && !hwloc_get_cpubind(topology->hwloc, ours, HWLOC_CPUBIND_PROCESS))
        hwloc_bitmap_and(topology->usable, topology->usable, ours);
    hwloc_bitmap_free(ours);
    double quota = topology->is_here ? topology_host_quota("") : 0;
    topology->quota = quota < hwloc_bitmap_weight(topology->usable) ? quota : 0;
    return 0;
}

/* ---- devices -------------------------------------------------------------- */

/* Of the first port with a link, whether that has a number in an InfiniBand subnet, and in which. */
static void read_ports(struct topology_device *device, hwloc_obj_t object)
{
    enum { PORTS_MAX = 16, ACTIVE = 4 };
    bool is_told = false;
    device->port = 1;
    for (unsigned port = 1; port <= PORTS_MAX; port++) {
        char name[32];
        snprintf(name, sizeof name, "Port%uState", port);
        const char *state = hwloc_obj_get_info_by_name(object, name);
        is_told = is_told || state;
        if (!state || strtoul(state, NULL, 0) != ACTIVE)
            continue;
        device->port = port;
        snprintf(name, sizeof name, "Port%uLID", port);
        const char *lid = hwloc_obj_get_info_by_name(object, name);
        snprintf(name, sizeof name, "Port%uGID0", port);
        const char *gid = hwloc_obj_get_info_by_name(object, name);
        /* Over Ethernet (RoCE) there are no LIDs, and the prefix says nothing. */
        if (lid && strtoul(lid, NULL, 0) && gid && strlen(gid) > 19)
            snprintf(device->network, sizeof device->network, "%.19s", gid);
        return;
    }
    device->is_down = is_told;
}

static bool take_kind(hwloc_obj_t object, enum topology_kind *kind)
{
    switch (object->attr->osdev.type) {
    case HWLOC_OBJ_OSDEV_OPENFABRICS:
        *kind = TOPOLOGY_FABRIC;
        return true;
    case HWLOC_OBJ_OSDEV_NETWORK:
        *kind = TOPOLOGY_ETHERNET;
        return strcmp(object->name, "lo") != 0;
    case HWLOC_OBJ_OSDEV_BLOCK:
        *kind = TOPOLOGY_DISK;
        return true;
    default:
        return false;
    }
}

static int find_interrupts(struct topology_device *device)
{
    static const char *const classes[] = {"infiniband", "net", "block"};
    device->interrupts = hwloc_bitmap_alloc();
    if (!device->interrupts)
        return err_set(-ENOMEM, "no memory for the machine's topology");
    topology_host_interrupts("", classes[device->kind], device->name, device->interrupts);
    if (hwloc_bitmap_iszero(device->interrupts)) {
        hwloc_bitmap_free(device->interrupts);
        device->interrupts = NULL;
    }
    return 0;
}

static int add_device(struct topology *topology, hwloc_obj_t object, enum topology_kind kind)
{
    struct topology_device *devices =
        realloc(topology->devices, (topology->device_count + 1) * sizeof *devices);
    if (!devices)
        return err_set(-ENOMEM, "no memory for the machine's topology");
    topology->devices = devices;
    struct topology_device *device = &devices[topology->device_count++];
    *device = (struct topology_device){.kind = kind};
    snprintf(device->name, sizeof device->name, "%s", object->name);
    device->beside = hwloc_get_non_io_ancestor_obj(topology->hwloc, object);
    if (!device->beside)
        device->beside = hwloc_get_root_obj(topology->hwloc);
    if (kind == TOPOLOGY_FABRIC)
        read_ports(device, object);
    if (!topology->is_here)
        return 0;
    if (kind == TOPOLOGY_ETHERNET)
        device->is_down = topology_host_is_down("", device->name);
    return find_interrupts(device);
}

static int find_devices(struct topology *topology)
{
    for (enum topology_kind wanted = TOPOLOGY_FABRIC; wanted <= TOPOLOGY_DISK; wanted++) {
        for (hwloc_obj_t object = NULL; (object = hwloc_get_next_osdev(topology->hwloc, object)) != NULL;) {
            enum topology_kind kind;
            if (!object->name || strlen(object->name) > TOPOLOGY_NAME_MAX || !take_kind(object, &kind) ||
                kind != wanted)
                continue;
            int error = add_device(topology, object, kind);
            if (error)
                return error;
        }
    }
    return 0;
}

/* ---- opening and closing ---------------------------------------------------- */

int topology_open(const char *description, struct topology **out)
{
    struct topology *topology = calloc(1, sizeof *topology);
    if (!topology)
        return err_set(-ENOMEM, "no memory for the machine's topology");
    int error = load(topology, description);
    if (!error)
        error = find_usable(topology);
    if (!error)
        error = find_devices(topology);
    if (error) {
        topology_close(topology);
        return error;
    }
    unsigned count = 1;
    if (hwloc_distances_get_by_name(topology->hwloc, "NUMALatency", &count, &topology->latencies, 0) ||
        count == 0)
        topology->latencies = NULL;
    *out = topology;
    return 0;
}

void topology_close(struct topology *topology)
{
    if (!topology)
        return;
    for (uint32_t i = 0; i < topology->device_count; i++)
        hwloc_bitmap_free(topology->devices[i].interrupts);
    free(topology->devices);
    hwloc_bitmap_free(topology->usable);
    if (topology->latencies)
        hwloc_distances_release(topology->hwloc, topology->latencies);
    if (topology->hwloc)
        hwloc_topology_destroy(topology->hwloc);
    free(topology);
}

/* ---- asking ----------------------------------------------------------------- */

const struct topology_device *topology_device(const struct topology *topology, bool is_disk, const char *name)
{
    for (uint32_t i = 0; i < topology->device_count; i++) {
        const struct topology_device *device = &topology->devices[i];
        if ((device->kind == TOPOLOGY_DISK) == is_disk && strcmp(device->name, name) == 0)
            return device;
    }
    return NULL;
}

bool topology_has_devices(const struct topology *topology)
{
    return topology->device_count > 0;
}

/* Of NUMA nodes beside the device to nodes of the CPUs, by the machine's own table; 0: not told. */
static unsigned least_latency(const struct topology *topology, hwloc_obj_t beside, hwloc_const_cpuset_t cpus)
{
    hwloc_uint64_t least = 0;
    for (hwloc_obj_t a = NULL; (a = hwloc_get_next_obj_by_type(topology->hwloc, HWLOC_OBJ_NUMANODE, a));) {
        if (!hwloc_bitmap_isset(beside->nodeset, a->os_index))
            continue;
        for (hwloc_obj_t b = NULL;
             (b = hwloc_get_next_obj_by_type(topology->hwloc, HWLOC_OBJ_NUMANODE, b));) {
            hwloc_uint64_t there, back;
            if (hwloc_bitmap_intersects(b->cpuset, cpus) &&
                hwloc_distances_obj_pair_values(topology->latencies, a, b, &there, &back) == 0 &&
                (!least || there < least))
                least = there;
        }
    }
    return least <= 1000000 ? (unsigned)least : 0;
}

unsigned topology_distance(const struct topology *topology, const struct topology_device *device,
                           hwloc_const_cpuset_t cpus)
{
    hwloc_obj_t where = hwloc_get_obj_covering_cpuset(topology->hwloc, cpus);
    if (hwloc_bitmap_intersects(device->beside->cpuset, cpus) || !where)
        return TOPOLOGY_LOCAL;
    unsigned latency = topology->latencies ? least_latency(topology, device->beside, cpus) : 0;
    if (latency)
        return latency;
    hwloc_obj_t common = hwloc_get_common_ancestor_obj(topology->hwloc, where, device->beside);
    /* The device may hang on a part that has no CPUs of its own; then it is as far as that part. */
    int levels = device->beside->depth - common->depth;
    return TOPOLOGY_LOCAL * (unsigned)(1 + (levels > 0 ? levels : 1));
}

bool topology_is_special(hwloc_obj_t node)
{
    return node->subtype && strcmp(node->subtype, "DRAM") != 0;
}

/* Smaller is better: ordinary memory, there at all, and close. */
static int compare_nodes(hwloc_obj_t a, hwloc_obj_t b)
{
    bool special_a = topology_is_special(a), special_b = topology_is_special(b);
    bool empty_a = !a->attr->numanode.local_memory, empty_b = !b->attr->numanode.local_memory;
    if (special_a != special_b)
        return special_a - special_b;
    if (empty_a != empty_b)
        return empty_a - empty_b;
    int close = hwloc_bitmap_weight(a->cpuset) - hwloc_bitmap_weight(b->cpuset);
    return close ? close : (int)a->os_index - (int)b->os_index;
}

hwloc_obj_t topology_memory(const struct topology *topology, hwloc_const_cpuset_t cpus)
{
    hwloc_obj_t best = NULL;
    hwloc_const_nodeset_t allowed = hwloc_topology_get_allowed_nodeset(topology->hwloc);
    for (hwloc_obj_t node = NULL;
         (node = hwloc_get_next_obj_by_type(topology->hwloc, HWLOC_OBJ_NUMANODE, node));) {
        if (!hwloc_bitmap_isset(allowed, node->os_index) || !hwloc_bitmap_intersects(node->cpuset, cpus))
            continue;
        if (!best || compare_nodes(node, best) < 0)
            best = node;
    }
    return best;
}

hwloc_obj_t topology_node(const struct topology *topology, unsigned number)
{
    return hwloc_get_numanode_obj_by_os_index(topology->hwloc, number);
}

int topology_speed(const struct topology *topology, hwloc_const_cpuset_t cpus)
{
    int efficiency = -1;
    int kind = hwloc_cpukinds_get_by_cpuset(topology->hwloc, cpus, 0);
    if (kind < 0 || hwloc_cpukinds_get_nr(topology->hwloc, 0) < 2 ||
        hwloc_cpukinds_get_info(topology->hwloc, (unsigned)kind, NULL, &efficiency, NULL, NULL, 0))
        return 0;
    return efficiency > 0 ? efficiency : 0;
}
