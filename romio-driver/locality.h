/* SPDX-License-Identifier: Apache-2.0 */
/*
 * locality.h: how near a process runs to this host's network devices, which decides
 * which ranks of a host are aggregators. It knows hwloc, and nothing of MPI.
 *
 * What it promises
 *  - Where a host gives no choice (it has one NUMA node, or no device is nearer to some
 *    cores than to others) nobody's place differs, and hwloc is not asked at all in the
 *    first case: reading a topology takes some ten milliseconds.
 *  - InfiniBand and its kin count before Ethernet, where a host has both.
 *  - The variables of hwloc (HWLOC_XMLFILE, HWLOC_SYNTHETIC, HWLOC_THISSYSTEM) put another
 *    topology in the place of the machine's.
 *
 * Threads: locality_here() belongs to one thread at a time; the rest are pure functions.
 */
#ifndef ROMIO_LOCALITY_H
#define ROMIO_LOCALITY_H

#include <hwloc.h>
#include <stdbool.h>
#include <stdint.h>

struct locality {
    /* Levels of the topology between the device and the smallest part of the machine that holds both it and
     * the process: 0 is beside it. */
    int32_t distance;
    int32_t device; /* which one, counted over the host's */
};

/* locality_here(): that of this process, from where it may run when this is first called. False where the
 * host gives no choice, or hwloc can't tell: *place is all zeros then. */
bool locality_here(struct locality *place);
/* locality_find(): that of somebody who runs on `where`. False as above. */
bool locality_find(hwloc_topology_t topology, hwloc_const_cpuset_t where, struct locality *place);
/* locality_filter(): has the topology loaded with the devices, which hwloc leaves out by itself. Before
 * hwloc_topology_load(). */
void locality_filter(hwloc_topology_t topology);

/*
 * locality_spread(): the ranks in the order in which they become aggregators, the first `wanted` of them in
 * `chosen`; returns how many these are. Hosts take turns; on a host the nearest ranks come first, and of
 * those equally near one of each device, then the next of each. `hosts` and `places` tell of each rank;
 * hosts are numbered from 0 on, below `ranks`. `places` may be NULL: all are alike.
 */
int locality_spread(const int *hosts, const struct locality *places, int ranks, int *chosen, int wanted);

#endif
