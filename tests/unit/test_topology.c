/* SPDX-License-Identifier: Apache-2.0 */
/* The machine: descriptions that are none, distances, memory; and what the kernel of a host tells,
 * from folders that a test makes in the place of /sys and /proc. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "topology.h"
#include "topology_host.h"

/* ---- descriptions ----------------------------------------------------------------- */

static struct topology *machine(const char *description)
{
    struct topology *topology;
    assert_int_equal(topology_open(description, &topology), 0);
    return topology;
}

static void assert_refused(const char *description, int error, const char *why)
{
    struct topology *topology = NULL;
    assert_int_equal(topology_open(description, &topology), error);
    assert_null(topology);
    if (!strstr(err_text(), why))
        fail_msg("\"%s\" does not say \"%s\"", err_text(), why);
}

static void test_what_describes_no_machine(void **state)
{
    (void)state;
    char path[4096];
    assert_refused("nonsense", -EINVAL, "\"nonsense\" describes no machine");
    assert_refused("missing.xml", -ENOENT, "missing.xml: the description of the machine can't be read");
    snprintf(path, sizeof path, "%s/README.md", getenv("WEFT_TOP_SRCDIR"));
    assert_refused(path, -EINVAL, "README.md: ");
}

static void test_the_description_of_the_environment(void **state)
{
    (void)state;
    setenv("WEFT_TOPOLOGY", "pack:2 core:3 pu:1", 1);
    struct topology *topology = machine(NULL);
    assert_string_equal(topology->source, "pack:2 core:3 pu:1");
    assert_false(topology->is_here);
    assert_int_equal(hwloc_bitmap_weight(topology->usable), 6);
    topology_close(topology);
    topology = machine("core:1 pu:1"); /* the caller's word counts more */
    assert_int_equal(hwloc_bitmap_weight(topology->usable), 1);
    topology_close(topology);
    unsetenv("WEFT_TOPOLOGY");
}

static void test_this_machine(void **state)
{
    (void)state;
    struct topology *topology = machine(NULL);
    assert_true(topology->is_here);
    assert_false(hwloc_bitmap_iszero(topology->usable));
    topology_close(topology);
}

/* ---- distances ---------------------------------------------------------------------- */

static struct topology *recorded(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/topologies/%s.xml", getenv("WEFT_TOP_SRCDIR"), name);
    return machine(path);
}

static unsigned distance(const struct topology *topology, const char *name, unsigned cpu)
{
    hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
    const struct topology_device *device = topology_device(topology, false, name);
    assert_non_null(device);
    hwloc_bitmap_only(cpus, cpu);
    unsigned result = topology_distance(topology, device, cpus);
    hwloc_bitmap_free(cpus);
    return result;
}

static void test_distances(void **state)
{
    (void)state;
    struct topology *topology = recorded("two-sockets-two-hcas");
    assert_int_equal(distance(topology, "mlx5_0", 0), TOPOLOGY_LOCAL);
    assert_int_equal(distance(topology, "mlx5_0", 7), 20); /* a level away; this machine has no table */
    assert_int_equal(distance(topology, "mlx5_1", 7), TOPOLOGY_LOCAL);
    assert_int_equal(distance(topology, "eth0", 4), 20);
    assert_null(topology_device(topology, true, "mlx5_0"));
    assert_null(topology_device(topology, false, "mlx5_2"));
    topology_close(topology);
}

static void test_memory_is_the_nearest(void **state)
{
    (void)state;
    struct topology *topology = machine("pack:2 [numa] core:2 pu:1");
    hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
    hwloc_bitmap_only(cpus, 3);
    assert_int_equal(topology_memory(topology, cpus)->os_index, 1);
    /* HBM beside the ordinary memory. */
    topology_node(topology, 1)->subtype = strdup("HBM");
    assert_int_equal(topology_memory(topology, cpus)->os_index, 1); /* there is no other */
    topology_close(topology);
    topology = machine("pack:1 [numa] [numa] core:2 pu:1");
    topology_node(topology, 0)->subtype = strdup("HBM");
    hwloc_bitmap_only(cpus, 0);
    assert_int_equal(topology_memory(topology, cpus)->os_index, 1);
    hwloc_bitmap_free(cpus);
    topology_close(topology);
}

/* ---- the host's kernel ------------------------------------------------------------------ */

static char root[256];

static void path_in_root(char path[512], const char *name)
{
    snprintf(path, 512, "%s/%s", root, name);
}

static void make_folder(const char *name)
{
    char path[512];
    path_in_root(path, name);
    for (char *slash = path + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = 0;
        mkdir(path, 0700);
        *slash = '/';
    }
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
}

static void make_file(const char *folder, const char *name, const char *text)
{
    char path[512], file[768];
    make_folder(folder);
    path_in_root(path, folder);
    snprintf(file, sizeof file, "%s/%s", path, name);
    FILE *stream = fopen(file, "w");
    assert_non_null(stream);
    fputs(text, stream);
    assert_int_equal(fclose(stream), 0);
}

static void make_link(const char *folder, const char *name, const char *to)
{
    char path[512], file[768], target[512];
    make_folder(folder);
    path_in_root(path, folder);
    snprintf(file, sizeof file, "%s/%s", path, name);
    path_in_root(target, to);
    assert_int_equal(symlink(target, file), 0);
}

static int make_root(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(root, sizeof root, "%s/weft-topology-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void assert_disk(unsigned minor, const char *expected)
{
    char name[32];
    assert_int_equal(topology_host_disk_of(root, makedev(8, minor), name, sizeof name), expected != NULL);
    if (expected)
        assert_string_equal(name, expected);
}

static void test_disks_are_found(void **state)
{
    (void)state;
    make_file("sys/devices/pci0/nvme0n1/nvme0n1p2", "partition", "2\n");
    make_link("sys/dev/block", "8:0", "sys/devices/pci0/nvme0n1");
    make_link("sys/dev/block", "8:2", "sys/devices/pci0/nvme0n1/nvme0n1p2");
    /* A volume on a partition. */
    make_link("sys/devices/virtual/block/dm-0/slaves", "nvme0n1p2", "sys/devices/pci0/nvme0n1/nvme0n1p2");
    make_link("sys/dev/block", "8:3", "sys/devices/virtual/block/dm-0");
    make_folder("sys/devices/virtual/block/loop0/slaves");
    make_link("sys/dev/block", "8:4", "sys/devices/virtual/block/loop0");
    assert_disk(0, "nvme0n1");
    assert_disk(2, "nvme0n1");
    assert_disk(3, "nvme0n1");
    assert_disk(4, NULL);
    assert_disk(5, NULL);
}

static void test_the_disk_of_what_is_not_there_yet(void **state)
{
    (void)state;
    char here[64] = "", below[64] = "", path[512];
    path_in_root(path, "a/b/c");
    bool is_known = topology_host_disk("", root, here, sizeof here);
    assert_int_equal(topology_host_disk("", path, below, sizeof below), is_known);
    if (is_known)
        assert_string_equal(here, below);
}

static void test_interrupts_are_found(void **state)
{
    (void)state;
    hwloc_bitmap_t cpus = hwloc_bitmap_alloc();
    make_file("sys/devices/pci0/card/msi_irqs", "40", "msix\n");
    make_file("sys/devices/pci0/card/msi_irqs", "41", "msix\n");
    make_folder("sys/devices/pci0/card/virtio0/net/eth0");
    make_link("sys/class/net", "eth0", "sys/devices/pci0/card/virtio0/net/eth0");
    make_file("proc/irq/40", "effective_affinity_list", "2\n");
    make_file("proc/irq/41", "effective_affinity_list", "5-6\n");
    make_file("proc/irq/42", "effective_affinity_list", "7\n");
    topology_host_interrupts(root, "net", "eth0", cpus);
    assert_int_equal(hwloc_bitmap_weight(cpus), 3);
    assert_true(hwloc_bitmap_isset(cpus, 2) && hwloc_bitmap_isset(cpus, 5) && hwloc_bitmap_isset(cpus, 6));
    hwloc_bitmap_zero(cpus);
    topology_host_interrupts(root, "net", "eth1", cpus);
    assert_true(hwloc_bitmap_iszero(cpus));
    hwloc_bitmap_free(cpus);
}

static void test_links_that_are_down(void **state)
{
    (void)state;
    make_file("sys/class/net/eth0", "operstate", "up\n");
    make_file("sys/class/net/eth1", "operstate", "down\n");
    make_file("sys/class/net/ib0", "operstate", "unknown\n");
    assert_false(topology_host_is_down(root, "eth0"));
    assert_true(topology_host_is_down(root, "eth1"));
    assert_false(topology_host_is_down(root, "ib0"));
    assert_false(topology_host_is_down(root, "eth9"));
}

static void assert_quota(double expected)
{
    double quota = topology_host_quota(root);
    if (quota < expected - 0.01 || quota > expected + 0.01)
        fail_msg("%f is not %f", quota, expected);
}

static void test_quotas(void **state)
{
    (void)state;
    assert_quota(0);
    make_file("proc/self", "cgroup", "0::/a/b\n");
    assert_quota(0);
    make_file("sys/fs/cgroup/a/b", "cpu.max", "max 100000\n");
    assert_quota(0);
    make_file("sys/fs/cgroup/a", "cpu.max", "250000 100000\n");
    assert_quota(2.5);
    make_file("sys/fs/cgroup/a/b", "cpu.max", "150000 100000\n");
    assert_quota(1.5);
    /* Version 1, with another controller beside it. */
    make_file("proc/self", "cgroup", "5:cpuset:/x\n2:cpuacct,cpu:/c\n");
    make_file("sys/fs/cgroup/cpu/c", "cpu.cfs_quota_us", "-1\n");
    make_file("sys/fs/cgroup/cpu/c", "cpu.cfs_period_us", "100000\n");
    assert_quota(0);
    make_file("sys/fs/cgroup/cpu/c", "cpu.cfs_quota_us", "300000\n");
    assert_quota(3);
}

#define IN_A_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_describes_no_machine),
        cmocka_unit_test(test_the_description_of_the_environment),
        cmocka_unit_test(test_this_machine),
        cmocka_unit_test(test_distances),
        cmocka_unit_test(test_memory_is_the_nearest),
        IN_A_ROOT(test_disks_are_found),
        IN_A_ROOT(test_the_disk_of_what_is_not_there_yet),
        IN_A_ROOT(test_interrupts_are_found),
        IN_A_ROOT(test_links_that_are_down),
        IN_A_ROOT(test_quotas),
    };
    /* libpciaccess, which this part of hwloc calls, leaves memory behind. */
    setenv("HWLOC_COMPONENTS", "-pci", 1);
    unsetenv("WEFT_TOPOLOGY");
    unsetenv("HWLOC_XMLFILE");
    unsetenv("HWLOC_SYNTHETIC");
    unsetenv("HWLOC_THISSYSTEM");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
