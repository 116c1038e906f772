/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aggregators.c: which ranks are aggregators of two-phase I/O, and how many.
 *
 * ROMIO finds them between the hints and the open, and asks the function that is wrapped
 * here. Hosts take turns; on a host the ranks nearest to its network devices come
 * first (locality.h), if somebody's host has any choice, which all learn with the hints.
 */
#include <string.h>

#include "driver.h"
#include "adio_cb_config_list.h"

#define ANY_RANKS "*:*" /* a cb_config_list that allows all ranks of all hosts */

/* What the wrapped function can't be given: of the file that is being opened, on rank 0. */
static const struct locality *present_places;
static bool list_was_refused;

/* ---- where the ranks are ---------------------------------------------- */

void aggregators_gather(ADIO_File fd)
{
    struct driver_hints *hints = &driver_file(fd)->hints;
    struct locality here;
    int rank, ranks;
    MPI_Comm_rank(fd->comm, &rank);
    MPI_Comm_size(fd->comm, &ranks);
    locality_here(&here);
    if (rank == 0)
        hints->places = ADIOI_Malloc((size_t)ranks * sizeof *hints->places);
    MPI_Gather(&here, sizeof here, MPI_BYTE, hints->places, sizeof here, MPI_BYTE, 0, fd->comm);
    present_places = hints->places;
}

void aggregators_forget(struct driver_file *file)
{
    struct locality *places = file->hints.places;
    if (places == NULL)
        return;
    if (present_places == places)
        present_places = NULL;
    ADIOI_Free(places);
    file->hints.places = NULL;
}

/* ---- how many, and by whose word -------------------------------------- */

/* ROMIO's own default is one aggregator a host, however many the user asks for. Where
 * the user says nothing, aggregators_bound() leaves as many of them as the file has groups. */
void aggregators_choose(ADIO_File fd)
{
    const struct driver_hints *hints = &driver_file(fd)->hints;
    const struct hint_value *values = hints->asked.values;
    int ranks;
    MPI_Comm_size(fd->comm, &ranks);
    present_places = hints->places;
    fd->hints->cb_nodes = ranks;
    if (hints->has_cb_nodes && values[HINT_cb_nodes].number < (uint64_t)ranks)
        fd->hints->cb_nodes = (int)values[HINT_cb_nodes].number;
    ADIOI_Free(fd->hints->cb_config_list);
    fd->hints->cb_config_list =
        ADIOI_Strdup(hints->has_cb_config_list ? values[HINT_cb_config_list].text : ANY_RANKS);
}

bool aggregators_list_was_refused(void)
{
    return list_was_refused;
}

void aggregators_refuse_list(ADIO_File fd)
{
    driver_file(fd)->hints.asked.values[HINT_cb_config_list] = (struct hint_value){0};
    ADIOI_Free(fd->hints->cb_config_list);
    fd->hints->cb_config_list = ADIOI_Strdup(ANY_RANKS);
    hints_interpret(fd);
}

/* More aggregators than groups would meet at the same storage shards. */
void aggregators_bound(ADIO_File fd)
{
    const struct driver_hints *hints = &driver_file(fd)->hints;
    struct weft_layout layout;
    weft_file_layout(driver_file(fd)->file, &layout);
    if (!hints->has_cb_nodes && !hints->has_cb_config_list &&
        (uint32_t)fd->hints->cb_nodes > layout.stripe_count)
        fd->hints->cb_nodes = (int)layout.stripe_count;
}

/* ---- which ------------------------------------------------------------ */

/* Hosts as numbers, in the order of their first ranks. */
static int *number_hosts(ADIO_cb_name_array array)
{
    int *hosts = ADIOI_Malloc((size_t)array->namect * sizeof *hosts);
    int *first = ADIOI_Malloc((size_t)array->namect * sizeof *first); /* rank of each host */
    int count = 0;
    for (int rank = 0; rank < array->namect; rank++) {
        int host = 0;
        while (host < count && strcmp(array->names[first[host]], array->names[rank]) != 0)
            host++;
        if (host == count)
            first[count++] = rank;
        hosts[rank] = host;
    }
    ADIOI_Free(first);
    return hosts;
}

int __real_ADIOI_cb_config_list_parse(char *list, ADIO_cb_name_array array, int ranks[], int cb_nodes);
int __wrap_ADIOI_cb_config_list_parse(char *list, ADIO_cb_name_array array, int ranks[], int cb_nodes);

/* Where all ranks may be aggregators, ROMIO would take the first ones, which are often on one host. */
static int spread(ADIO_cb_name_array array, int ranks[], int cb_nodes)
{
    int *hosts = number_hosts(array);
    int taken = locality_spread(hosts, present_places, array->namect, ranks, cb_nodes);
    ADIOI_Free(hosts);
    return taken;
}

/* The user's own list, on rank 0. One that leaves nobody would make the open fail. */
static int parse_list(char *list, ADIO_cb_name_array array, int ranks[], int cb_nodes)
{
    int taken = __real_ADIOI_cb_config_list_parse(list, array, ranks, cb_nodes);
    list_was_refused = taken <= 0;
    if (!list_was_refused)
        return taken;
    hints_say_once("hint cb_config_list has no effect; it allows no rank to be an aggregator");
    return spread(array, ranks, cb_nodes);
}

int __wrap_ADIOI_cb_config_list_parse(char *list, ADIO_cb_name_array array, int ranks[], int cb_nodes)
{
    if (strcmp(list, ANY_RANKS) != 0)
        return parse_list(list, array, ranks, cb_nodes);
    list_was_refused = false;
    return spread(array, ranks, cb_nodes);
}

/* ROMIO keeps the hosts' names with the communicator. */
void aggregators_find(ADIO_File fd)
{
    ADIO_cb_name_array hosts;
    int rank, ranks, is_refused = 0;
    MPI_Comm_rank(fd->comm, &rank);
    MPI_Comm_size(fd->comm, &ranks);
    aggregators_choose(fd);
    ADIOI_cb_gather_name_array(fd->comm, fd->comm, &hosts);
    ADIOI_Free(fd->hints->ranklist);
    fd->hints->ranklist = NULL;
    if (rank == 0) {
        fd->hints->ranklist = ADIOI_Malloc((size_t)ranks * sizeof(int));
        fd->hints->cb_nodes = ADIOI_cb_config_list_parse(fd->hints->cb_config_list, hosts,
                                                         fd->hints->ranklist, fd->hints->cb_nodes);
        is_refused = list_was_refused;
    }
    ADIOI_cb_bcast_rank_map(fd);
    MPI_Bcast(&is_refused, 1, MPI_INT, 0, fd->comm);
    if (is_refused)
        aggregators_refuse_list(fd);

    fd->my_cb_nodes_index = -1;
    for (int i = 0; i < fd->hints->cb_nodes; i++)
        if (fd->hints->ranklist[i] == rank)
            fd->my_cb_nodes_index = i;
    fd->is_agg = fd->my_cb_nodes_index >= 0;
}
