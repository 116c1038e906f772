/* SPDX-License-Identifier: Apache-2.0 */
#include "topology_host.h"

#include <dirent.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* The first line of a small file, without its newline. */
__attribute__((format(printf, 3, 4))) static bool read_line(char *line, size_t size, const char *format, ...)
{
    char path[PATH_MAX];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(path, sizeof path, format, list);
    va_end(list);
    FILE *file = length > 0 && (size_t)length < sizeof path ? fopen(path, "re") : NULL;
    if (!file)
        return false;
    bool is_read = fgets(line, (int)size, file) != NULL;
    fclose(file);
    if (is_read)
        line[strcspn(line, "\n")] = 0;
    return is_read;
}

/* ---- disks ---------------------------------------------------------------- */

/* The first entry of a folder by name; false: it is empty, or not there. */
static bool first_entry(const char *path, char *name, size_t size)
{
    DIR *folder = opendir(path);
    if (!folder)
        return false;
    name[0] = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.' && (!name[0] || strcmp(entry->d_name, name) < 0))
            snprintf(name, size, "%s", entry->d_name);
    closedir(folder);
    return name[0];
}

bool topology_host_disk_of(const char *root, dev_t device, char *name, size_t size)
{
    enum { LAYERS_MAX = 8 };
    char path[PATH_MAX], real[PATH_MAX], below[NAME_MAX + 1];
    snprintf(path, sizeof path, "%s/sys/dev/block/%u:%u", root, major(device), minor(device));
    for (int layer = 0; layer < LAYERS_MAX; layer++) {
        if (!realpath(path, real))
            return false;
        /* A partition lies in the folder of its disk, a volume has links to what it is made of. */
        int length = snprintf(path, sizeof path, "%s/partition", real);
        if (length < (int)sizeof path && access(path, F_OK) == 0) {
            *strrchr(real, '/') = 0;
            length = snprintf(path, sizeof path, "%s", real);
            continue;
        }
        length = snprintf(path, sizeof path, "%s/slaves", real);
        if (length >= (int)sizeof path || !first_entry(path, below, sizeof below))
            break;
        length = snprintf(path, sizeof path, "%s/slaves/%s", real, below);
        if (length >= (int)sizeof path)
            return false;
    }
    /* What the kernel makes up (loop, zram) is no disk that could be near to anything. */
    const char *base = strrchr(real, '/');
    if (!base || strstr(real, "/devices/virtual/"))
        return false;
    return snprintf(name, size, "%s", base + 1) < (int)size;
}

bool topology_host_disk(const char *root, const char *dir, char *name, size_t size)
{
    char path[PATH_MAX];
    struct stat status;
    if (snprintf(path, sizeof path, "%s", dir) >= (int)sizeof path)
        return false;
    while (stat(path, &status)) {
        char *slash = strrchr(path, '/');
        if (!slash)
            return false;
        slash[slash == path] = 0; /* "/" itself stays */
        if (slash == path && stat(path, &status))
            return false;
    }
    return topology_host_disk_of(root, S_ISBLK(status.st_mode) ? status.st_rdev : status.st_dev, name, size);
}

/* ---- network devices ---------------------------------------------------- */

static void add_interrupt(const char *root, const char *number, hwloc_bitmap_t cpus)
{
    char list[4096];
    hwloc_bitmap_t some = hwloc_bitmap_alloc();
    if (some && read_line(list, sizeof list, "%s/proc/irq/%s/effective_affinity_list", root, number) &&
        list[0] && hwloc_bitmap_list_sscanf(some, list) == 0)
        hwloc_bitmap_or(cpus, cpus, some);
    hwloc_bitmap_free(some);
}

void topology_host_interrupts(const char *root, const char *class, const char *name, hwloc_bitmap_t cpus)
{
    char path[PATH_MAX], real[PATH_MAX];
    snprintf(path, sizeof path, "%s/sys/class/%s/%s", root, class, name);
    if (!realpath(path, real))
        return;
    /* A virtual machine's device lies a step or two below the PCI device that has the interrupts. */
    for (char *slash; (slash = strrchr(real, '/')) != NULL && slash != real; *slash = 0) {
        DIR *folder =
            snprintf(path, sizeof path, "%s/msi_irqs", real) < (int)sizeof path ? opendir(path) : NULL;
        if (!folder)
            continue;
        for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
            if (entry->d_name[0] != '.')
                add_interrupt(root, entry->d_name, cpus);
        closedir(folder);
        return;
    }
}

bool topology_host_is_down(const char *root, const char *name)
{
    char state[32];
    return read_line(state, sizeof state, "%s/sys/class/net/%s/operstate", root, name) &&
           (strcmp(state, "down") == 0 || strcmp(state, "lowerlayerdown") == 0 ||
            strcmp(state, "notpresent") == 0);
}

/* ---- cgroups ---------------------------------------------------------------- */

static void take_quota(double cpus, double *least)
{
    if (cpus > 0 && (*least <= 0 || cpus < *least))
        *least = cpus;
}

/* Of the folder, and of all above it up to the hierarchy's own. */
static void quota_upwards(const char *hierarchy, const char *group, double *least)
{
    char path[PATH_MAX], line[64];
    size_t base = strlen(hierarchy);
    if (snprintf(path, sizeof path, "%s%s", hierarchy, group) >= (int)sizeof path)
        return;
    for (;;) {
        double quota, period;
        if (read_line(line, sizeof line, "%s/cpu.max", path) && sscanf(line, "%lf %lf", &quota, &period) == 2)
            take_quota(quota / period, least);
        if (read_line(line, sizeof line, "%s/cpu.cfs_quota_us", path) && sscanf(line, "%lf", &quota) == 1 &&
            read_line(line, sizeof line, "%s/cpu.cfs_period_us", path) && sscanf(line, "%lf", &period) == 1)
            take_quota(quota / period, least);
        char *slash = strrchr(path, '/');
        if (!slash || slash < path + base)
            return;
        *slash = 0;
    }
}

/* "cpu" is one of the words of "cpu,cpuacct". */
static bool names_cpu(const char *controllers)
{
    for (const char *at = controllers; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, "cpu", 3) == 0 && (at[3] == ',' || !at[3]))
            return true;
    }
    return false;
}

double topology_host_quota(const char *root)
{
    char path[PATH_MAX], line[PATH_MAX];
    double least = 0;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = 0;
        controllers++;
        bool is_v2 = !*controllers;
        if (!is_v2 && !names_cpu(controllers))
            continue;
        snprintf(path, sizeof path, "%s/sys/fs/cgroup%s", root, is_v2 ? "" : "/cpu");
        quota_upwards(path, group, &least);
        if (!is_v2)
            continue;
        /* Where both versions are in use, that of v2 lies beside the others. */
        snprintf(path, sizeof path, "%s/sys/fs/cgroup/unified", root);
        quota_upwards(path, group, &least);
    }
    fclose(file);
    return least;
}
