/* SPDX-License-Identifier: Apache-2.0 */
#include "locality.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the topology ----------------------------------------------------- */

void locality_filter(hwloc_topology_t topology)
{
    hwloc_topology_set_type_filter(topology, HWLOC_OBJ_PCI_DEVICE, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
    hwloc_topology_set_type_filter(topology, HWLOC_OBJ_OS_DEVICE, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
}

static bool has_kind(hwloc_topology_t topology, hwloc_obj_osdev_type_t kind)
{
    for (hwloc_obj_t device = NULL; (device = hwloc_get_next_osdev(topology, device)) != NULL;)
        if (device->attr->osdev.type == kind)
            return true;
    return false;
}

bool locality_find(hwloc_topology_t topology, hwloc_const_cpuset_t where, struct locality *place)
{
    hwloc_obj_osdev_type_t kind = has_kind(topology, HWLOC_OBJ_OSDEV_OPENFABRICS)
                                      ? HWLOC_OBJ_OSDEV_OPENFABRICS
                                      : HWLOC_OBJ_OSDEV_NETWORK;
    hwloc_obj_t process = hwloc_get_obj_covering_cpuset(topology, where);
    bool has_choice = false, is_first = true;
    int32_t count = 0;
    *place = (struct locality){0};
    for (hwloc_obj_t device = NULL; (device = hwloc_get_next_osdev(topology, device)) != NULL;) {
        if (device->attr->osdev.type != kind)
            continue;
        hwloc_obj_t beside = hwloc_get_non_io_ancestor_obj(topology, device);
        /* A device that hangs on the whole machine is as near to one core as to another. */
        if (process == NULL || beside == NULL || beside->depth == 0)
            continue;
        hwloc_obj_t common = hwloc_get_common_ancestor_obj(topology, process, beside);
        int32_t distance = beside->depth - common->depth;
        if (is_first || distance < place->distance)
            *place = (struct locality){.distance = distance, .device = count};
        has_choice = true;
        is_first = false;
        count++;
    }
    return has_choice;
}

/* ---- this process ----------------------------------------------------- */

static bool has_numa(void)
{
    char nodes[256] = "";
    FILE *online = fopen("/sys/devices/system/node/online", "re");
    if (online == NULL)
        return true; /* not known: hwloc is to find out */
    bool is_read = fgets(nodes, sizeof nodes, online) != NULL;
    fclose(online);
    return !is_read || strpbrk(nodes, "-,") != NULL;
}

static bool load_and_find(struct locality *place)
{
    hwloc_topology_t topology;
    bool has_choice = false;
    if (hwloc_topology_init(&topology) != 0)
        return false;
    locality_filter(topology);
    hwloc_cpuset_t where = hwloc_bitmap_alloc();
    if (where != NULL && hwloc_topology_load(topology) == 0) {
        /* Of another machine's topology: anywhere. */
        if (hwloc_get_cpubind(topology, where, HWLOC_CPUBIND_PROCESS) != 0)
            hwloc_bitmap_copy(where, hwloc_topology_get_topology_cpuset(topology));
        has_choice = locality_find(topology, where, place);
    }
    hwloc_bitmap_free(where);
    hwloc_topology_destroy(topology);
    return has_choice;
}

bool locality_here(struct locality *place)
{
    static bool is_known, has_choice;
    static struct locality here;
    if (!is_known) {
        bool is_given = getenv("HWLOC_XMLFILE") != NULL || getenv("HWLOC_SYNTHETIC") != NULL;
        has_choice = (is_given || has_numa()) && load_and_find(&here);
        is_known = true;
    }
    *place = has_choice ? here : (struct locality){0};
    return has_choice;
}

/* ---- all ranks -------------------------------------------------------- */

struct candidate {
    int rank, host;
    struct locality place;
    int turn; /* among those of its host that are as near to the same device; later, among all of its host */
};

static int compare_places(const struct candidate *a, const struct candidate *b)
{
    if (a->host != b->host)
        return a->host < b->host ? -1 : 1;
    if (a->place.distance != b->place.distance)
        return a->place.distance < b->place.distance ? -1 : 1;
    return 0;
}

static int by_device(const void *one, const void *other)
{
    const struct candidate *a = one, *b = other;
    int order = compare_places(a, b);
    if (order == 0 && a->place.device != b->place.device)
        order = a->place.device < b->place.device ? -1 : 1;
    return order != 0 ? order : a->rank - b->rank;
}

static int by_turn(const void *one, const void *other)
{
    const struct candidate *a = one, *b = other;
    int order = compare_places(a, b);
    if (order == 0)
        order = a->turn - b->turn;
    return order != 0 ? order : by_device(one, other);
}

static int by_host_turn(const void *one, const void *other)
{
    const struct candidate *a = one, *b = other;
    return a->turn != b->turn ? a->turn - b->turn : a->host - b->host;
}

/* Hosts take turns in the order of their first ranks, which is that of their numbers. */
static void order_candidates(struct candidate *all, int ranks)
{
    qsort(all, (size_t)ranks, sizeof *all, by_device);
    for (int i = 0; i < ranks; i++) {
        bool goes_on = i > 0 && compare_places(&all[i - 1], &all[i]) == 0 &&
                       all[i - 1].place.device == all[i].place.device;
        all[i].turn = goes_on ? all[i - 1].turn + 1 : 0;
    }
    qsort(all, (size_t)ranks, sizeof *all, by_turn);
    for (int i = 0; i < ranks; i++)
        all[i].turn = i > 0 && all[i - 1].host == all[i].host ? all[i - 1].turn + 1 : 0;
    qsort(all, (size_t)ranks, sizeof *all, by_host_turn);
}

int locality_spread(const int *hosts, const struct locality *places, int ranks, int *chosen, int wanted)
{
    struct candidate *all = malloc((size_t)ranks * sizeof *all);
    int count = wanted < ranks ? wanted : ranks;
    if (all != NULL) {
        for (int rank = 0; rank < ranks; rank++)
            all[rank] = (struct candidate){.rank = rank,
                                           .host = hosts[rank],
                                           .place = places != NULL ? places[rank] : (struct locality){0}};
        order_candidates(all, ranks);
    }
    for (int i = 0; i < count; i++)
        chosen[i] = all != NULL ? all[i].rank : i; /* without memory any order is as good */
    free(all);
    return count;
}
