/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hints.c: what the user asks for by MPI_Info, and what comes of it.
 *
 * ROMIO reads and checks the hints; here are those that mean something else on
 * Weft, or need more to take effect:
 *
 *   striping_factor, striping_unit  the layout of a file that is made; read
 *                                   back, they are the file's real layout
 *   cb_nodes                        without a cb_config_list, the aggregators
 *                                   are spread over the hosts
 *   cb_buffer_size                  the buffer follows when it changes later
 *   romio_ds_read, romio_ds_write   there is no data sieving: "disable"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "adio_cb_config_list.h"
#include "hint_fns.h"

#define ANY_RANKS "*:*" /* a cb_config_list that allows all ranks of all hosts */

static bool info_has(MPI_Info info, const char *key)
{
    int length, found = 0;
    if (info != MPI_INFO_NULL)
        ADIOI_Info_get_valuelen(info, key, &length, &found);
    return found;
}

static uint64_t info_number(MPI_Info info, const char *key)
{
    char text[MPI_MAX_INFO_VAL + 1];
    int found;
    ADIOI_Info_get(info, key, MPI_MAX_INFO_VAL, text, &found);
    long long number = found ? strtoll(text, NULL, 10) : 0;
    return number > 0 ? (uint64_t)number : 0;
}

static void info_set_number(MPI_Info info, const char *key, uint64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    ADIOI_Info_set(info, key, text);
}

/* ROMIO's default is one aggregator a host, however many the user asks for. */
static void honour_cb_nodes(ADIO_File fd, MPI_Info users_info)
{
    if (!info_has(users_info, "cb_nodes") || info_has(users_info, "cb_config_list"))
        return;
    ADIOI_Free(fd->hints->cb_config_list);
    fd->hints->cb_config_list = ADIOI_Strdup(ANY_RANKS);
    ADIOI_Info_set(fd->info, "cb_config_list", ANY_RANKS);
}

/* ROMIO looks at the hint at each call, but makes the buffer at open. */
static void fit_collective_buffer(ADIO_File fd, int size_before)
{
    ADIOI_Hints *hints = fd->hints;
    if (hints->cb_buffer_size <= 0) {
        hints->cb_buffer_size =
            size_before > 0 ? size_before : (int)strtol(ADIOI_CB_BUFFER_SIZE_DFLT, NULL, 10);
        info_set_number(fd->info, "cb_buffer_size", (uint64_t)hints->cb_buffer_size);
    }
    if (fd->io_buf != NULL && hints->cb_buffer_size != size_before) {
        ADIOI_Free(fd->io_buf);
        fd->io_buf = ADIOI_Malloc((size_t)hints->cb_buffer_size);
    }
}

void driver_set_info(ADIO_File fd, MPI_Info users_info, int *error_code)
{
    static char name[] = "driver_set_info";
    bool is_first = !fd->hints->initialized;
    int buffer_before = is_first ? 0 : fd->hints->cb_buffer_size;

    ADIOI_GEN_SetInfo(fd, users_info, error_code);
    if (is_first) {
        if (users_info != MPI_INFO_NULL)
            ADIOI_Info_check_and_install_int(fd, users_info, "striping_factor", NULL, name, error_code);
        honour_cb_nodes(fd, users_info);
    }
    fit_collective_buffer(fd, buffer_before);
    fd->hints->deferred_open = 0; /* an open file is open on all ranks */
    fd->hints->ds_read = ADIOI_HINT_DISABLE;
    ADIOI_Info_set(fd->info, "romio_ds_read", "disable");
    if (info_has(fd->info, "ind_rd_buffer_size"))
        ADIOI_Info_delete(fd->info, "ind_rd_buffer_size");

    /* A new file view comes with this call, and may come with hints again. */
    if (fd->fs_ptr != NULL) {
        view_forget(driver_file(fd));
        hints_publish(fd);
    }
}

/* A hint never makes a call fail: what no layout can have is passed over. */
void hints_layout(ADIO_File fd, struct weft_layout *layout)
{
    uint64_t unit = info_number(fd->info, "striping_unit");
    uint64_t factor = info_number(fd->info, "striping_factor");
    *layout = (struct weft_layout){0};
    if (unit >= WEFT_CHUNK_BYTES_MIN && unit <= WEFT_CHUNK_BYTES_MAX)
        layout->chunk_size = unit;
    if (factor <= UINT32_MAX)
        layout->stripe_count = (uint32_t)factor;
}

/* ROMIO cuts the aggregators' file domains at multiples of striping_unit. */
void hints_publish(ADIO_File fd)
{
    struct weft_layout layout;
    weft_file_layout(driver_file(fd)->file, &layout);
    fd->hints->striping_unit = (int)layout.chunk_size;
    info_set_number(fd->info, "striping_unit", layout.chunk_size);
    info_set_number(fd->info, "striping_factor", layout.stripe_count);
}

/* How many ranks before this one are on its host. */
static int *places_on_hosts(ADIO_cb_name_array array)
{
    int *places = ADIOI_Calloc((size_t)array->namect, sizeof *places);
    int *hosts = ADIOI_Malloc((size_t)array->namect * sizeof *hosts); /* the latest rank of each */
    int host_count = 0;
    for (int rank = 0; rank < array->namect; rank++) {
        int host = 0;
        while (host < host_count && strcmp(array->names[hosts[host]], array->names[rank]) != 0)
            host++;
        if (host == host_count)
            host_count++;
        else
            places[rank] = places[hosts[host]] + 1;
        hosts[host] = rank;
    }
    ADIOI_Free(hosts);
    return places;
}

int __real_ADIOI_cb_config_list_parse(char *list, ADIO_cb_name_array array, int ranks[], int cb_nodes);
int __wrap_ADIOI_cb_config_list_parse(char *list, ADIO_cb_name_array array, int ranks[], int cb_nodes);

/*
 * Where all ranks may be aggregators, ROMIO would take the first ones, which
 * are often on one host. Here each host gives one rank, then each a second one.
 */
int __wrap_ADIOI_cb_config_list_parse(char *list, ADIO_cb_name_array array, int ranks[], int cb_nodes)
{
    if (strcmp(list, ANY_RANKS) != 0)
        return __real_ADIOI_cb_config_list_parse(list, array, ranks, cb_nodes);
    if (cb_nodes > array->namect)
        cb_nodes = array->namect;
    int *places = places_on_hosts(array);
    int taken = 0;
    for (int place = 0; taken < cb_nodes; place++)
        for (int rank = 0; rank < array->namect && taken < cb_nodes; rank++)
            if (places[rank] == place)
                ranks[taken++] = rank;
    ADIOI_Free(places);
    return taken;
}
