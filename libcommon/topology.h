/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topology.h: a machine as hwloc sees it, with its network devices and disks, and how
 * far each of them is from a core.
 *
 * What it promises
 *  - The machine is this one, or the one that a description stands for: hwloc's XML in a file, or
 *    its synthetic text ("pack:2 core:4 pu:2"). The description is the caller's, else that of
 *    WEFT_TOPOLOGY, else what hwloc's own variables say (HWLOC_XMLFILE, HWLOC_SYNTHETIC).
 *  - A description is of another machine, on which nothing can be bound, unless HWLOC_THISSYSTEM=1
 *    says that it is of this one.
 *  - `usable` is what this process may use: the cgroup's CPUs, and those it was started with (taskset).
 *
 * Threads: after topology_open() nothing changes; any number of threads may read.
 */
#ifndef COMMON_TOPOLOGY_H
#define COMMON_TOPOLOGY_H

#include <hwloc.h>
#include <stdbool.h>
#include <stdint.h>

enum topology_kind { TOPOLOGY_FABRIC, TOPOLOGY_ETHERNET, TOPOLOGY_DISK };

enum {
    TOPOLOGY_NAME_MAX = 31, /* bytes of a device's name */
    TOPOLOGY_LOCAL = 10,    /* the distance of what is beside, as ACPI's table of distances (SLIT) has it */
};

struct topology_device {
    char name[TOPOLOGY_NAME_MAX + 1]; /* the kernel's: mlx5_0, eth0, nvme0n1 */
    enum topology_kind kind;
    hwloc_obj_t
        beside;    /* the part of the machine that it hangs on; the whole machine, where that is not known */
    bool is_down;  /* a network device without a link */
    unsigned port; /* of a fabric: the first with a link */
    /* The subnet prefix of an InfiniBand port: two ports with the same one reach the same peers. "" where
     * that is not known, as for Ethernet. */
    char network[24];
    hwloc_bitmap_t interrupts; /* the CPUs that get its interrupts; NULL: not known, or none */
};

struct topology {
    hwloc_topology_t hwloc;
    const char *source; /* "this machine", a file, or a synthetic text */
    bool is_here;       /* threads of this process can be bound by it */
    hwloc_bitmap_t usable;
    double quota; /* CPUs' time that the cgroup may use, fewer than are usable; 0: no such limit */
    struct topology_device *devices; /* network devices, then disks, each in hwloc's order */
    uint32_t device_count;
    struct hwloc_distances_s *latencies; /* between NUMA nodes, 10 is local; NULL: not known */
};

/* topology_open(): `description` is an XML file or a synthetic text; NULL: see above. -EINVAL, -ENOENT,
 * ...: with a text. */
int topology_open(const char *description, struct topology **topology);
void topology_close(struct topology *topology); /* NULL is allowed */

/* topology_device(): the network device or disk of that name; NULL: there is none. */
const struct topology_device *topology_device(const struct topology *topology, bool is_disk,
                                              const char *name);
/* topology_has_devices(): hwloc has found any; else their absence says nothing. */
bool topology_has_devices(const struct topology *topology);

/* topology_distance(): from the device to the nearest of the CPUs: TOPOLOGY_LOCAL when one of its NUMA
 * nodes is theirs, else the least of the distances between these, or, where the machine tells none, 10
 * for each level of the topology in between. */
unsigned topology_distance(const struct topology *topology, const struct topology_device *device,
                           hwloc_const_cpuset_t cpus);

/* topology_memory(): the NUMA node that whoever runs on the CPUs should take memory from: theirs, and of
 * several (as with HBM) the ordinary one. NULL: hwloc knows none. */
hwloc_obj_t topology_memory(const struct topology *topology, hwloc_const_cpuset_t cpus);
/* topology_is_special(): HBM and its kin, which are not used unless somebody says so. */
bool topology_is_special(hwloc_obj_t node);
/* topology_node(): the NUMA node with that number of the kernel's; NULL: there is none. */
hwloc_obj_t topology_node(const struct topology *topology, unsigned number);

/* topology_speed(): how fast the kind of these CPUs is among the machine's, larger is faster; all are 0
 * where the machine has one kind, or tells nothing. */
int topology_speed(const struct topology *topology, hwloc_const_cpuset_t cpus);

#endif
