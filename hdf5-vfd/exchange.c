/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange.c: two-phase I/O for the ranks of a file (libcommon's two_phase.h): they exchange their
 * pieces first. For pieces so tiny that a list of them is more to tell and to look at than their bytes.
 */
#include "driver.h"

#if VFD_HAS_MPI

#include "two_phase.h"

/* Rank 0's, so that all ranks do the same. */
void vfd_sharing_of(const struct vfd_file *file, struct vfd_sharing *sharing)
{
    const struct hint_set *hints = &file->options.hints;
    struct weft_layout layout;
    weft_file_layout(file->file, &layout);
    sharing->read = hint_set_collective(hints, false);
    sharing->write = hint_set_collective(hints, true);
    sharing->buffer_bytes = (int64_t)hints->values[HINT_cb_buffer_size].number;
    sharing->aggregators = hints->values[HINT_cb_nodes].is_set ? (int64_t)hints->values[HINT_cb_nodes].number
                                                               : (int64_t)layout.stripe_count;
}

/* Evenly spread, so that each host gives some where ranks of a host are neighbours. Returns how many. */
static int choose_aggregators(struct vfd_ranks *ranks)
{
    int64_t wanted = ranks->sharing.aggregators;
    int count = wanted < ranks->count ? (int)wanted : ranks->count;
    for (int i = 0; i < count; i++)
        ranks->aggregators[i] = (int)((int64_t)i * ranks->count / count);
    return count;
}

int vfd_exchange(struct vfd_file *file, const struct list_io *list, bool is_write, bool has_failed,
                 int64_t *moved)
{
    struct vfd_ranks *ranks = file->ranks;
    struct list_place place = {.list = list};
    const struct piece_walk walk = {
        .at = &place, .at_bytes = sizeof place, .next = list_place_next, .offset = list_place_offset};
    const struct two_phase_call call = {
        .comm = ranks->own,
        .file = file->file,
        .is_write = is_write,
        .aggregators = ranks->aggregators,
        .aggregator_count = choose_aggregators(ranks),
        .buffer_bytes = ranks->sharing.buffer_bytes,
        .reaches = ranks->reaches,
        .has_failed = has_failed,
    };
    return two_phase(&call, &walk, moved);
}

#endif
