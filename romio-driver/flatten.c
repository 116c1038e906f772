/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flatten.c: the list of pieces that ROMIO keeps for a datatype.
 *
 * ROMIO makes it out of how a type was constructed, and does so wrongly for
 * some nested ones: it then writes other bytes than the caller's, or crashes.
 * MPI itself knows which bytes a type selects, since it has to send them; so the
 * list is made from that, and all of ROMIO uses it.
 */
#include "driver.h"

struct list {
    ADIO_Offset *offsets;
    ADIO_Offset *lengths;
    size_t count;
    size_t room;
};

static void add_piece(void *argument, int64_t offset, int64_t length)
{
    struct list *list = argument;
    size_t last = list->count - 1;
    if (list->count > 0 && list->offsets[last] + list->lengths[last] == offset) {
        list->lengths[last] += length;
        return;
    }
    if (list->count == list->room) {
        list->room *= 2;
        list->offsets = ADIOI_Realloc(list->offsets, list->room * sizeof *list->offsets);
        list->lengths = ADIOI_Realloc(list->lengths, list->room * sizeof *list->lengths);
    }
    list->offsets[list->count] = offset;
    list->lengths[list->count] = length;
    list->count++;
}

static ADIOI_Flatlist_node *flatten(MPI_Datatype datatype)
{
    struct list list = {.room = 16};
    list.offsets = ADIOI_Malloc(list.room * sizeof *list.offsets);
    list.lengths = ADIOI_Malloc(list.room * sizeof *list.lengths);
    host_walk(datatype, add_piece, &list);
    if (list.count == 0) /* ROMIO expects one piece at least */
        add_piece(&list, 0, 0);
    return compat_flat_keep(datatype, list.offsets, list.lengths, list.count);
}

romio_flattened_t __wrap_ADIOI_Flatten_datatype(MPI_Datatype datatype);
ADIOI_Flatlist_node *__wrap_ADIOI_Flatten_and_find(MPI_Datatype datatype);

romio_flattened_t __wrap_ADIOI_Flatten_datatype(MPI_Datatype datatype)
{
    ADIOI_Flatlist_node *node = NULL;
    int is_contiguous;
    ADIOI_Datatype_iscontig(datatype, &is_contiguous);
    if (!is_contiguous || COMPAT_FLATTENS_CONTIGUOUS)
        node = __wrap_ADIOI_Flatten_and_find(datatype);
    return (romio_flattened_t)node;
}

ADIOI_Flatlist_node *__wrap_ADIOI_Flatten_and_find(MPI_Datatype datatype)
{
    ADIOI_Flatlist_node *node = compat_flat_find(datatype);
    return node != NULL ? node : flatten(datatype);
}
