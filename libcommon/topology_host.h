/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topology_host.h: what the kernel of this host knows and hwloc does not tell: which disk a
 * directory is on, which CPUs get a device's interrupts, whether a link is up, and what
 * share of the CPUs a cgroup may use.
 *
 * `root` is in front of all paths of the kernel: "", or a test's folder. Nothing here fails: what can't
 * be found out is not known.
 *
 * Threads: any.
 */
#ifndef COMMON_TOPOLOGY_HOST_H
#define COMMON_TOPOLOGY_HOST_H

#include <hwloc.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The disk below the file system of the directory, or of the nearest one above it that exists: a whole
 * disk, not a partition; below a volume of several disks (LVM, MD) the first. False: it is on none (in
 * memory, on the network) or that is not known. */
bool topology_host_disk(const char *root, const char *dir, char *name, size_t size);
/* The same for the number of a block device. */
bool topology_host_disk_of(const char *root, dev_t device, char *name, size_t size);

/* Adds the CPUs that get interrupts of the device, `class` being "net", "infiniband" or "block". */
void topology_host_interrupts(const char *root, const char *class, const char *name, hwloc_bitmap_t cpus);

/* The network device is known to have no link. */
bool topology_host_is_down(const char *root, const char *name);

/* How many CPUs' time this process' cgroup, or one above it, may use (cgroup v2, or v1's cpu controller);
 * 0: as much as there is. */
double topology_host_quota(const char *root);

#endif
