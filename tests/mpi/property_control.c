/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_control.c: the calls of a sequence that move no data: open, views,
 * pointers, sizes, modes.
 */
#include <stdlib.h>

#include "property_sequence.h"

/* ---- open ------------------------------------------------------------- */

static void hint(struct sequence *sequence, MPI_Info info, const char *key, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    MPI_Info_set(info, key, text);
    fprintf(sequence->property->history, " %s=%s", key, text);
}

static void draw_hints(struct sequence *sequence, MPI_Info info)
{
    struct random *random = &sequence->random;
    MPI_Info_set(info, "weft_collective", sequence->property->strategy);
    fprintf(sequence->property->history, " weft_collective=%s", sequence->property->strategy);
    if (chance(random, 80))
        hint(sequence, info, chance(random, 50) ? "weft_chunk_size" : "striping_unit",
             4096 + (chance(random, 80) ? pick(random, 20000) : 0));
    if (chance(random, 50))
        hint(sequence, info, "weft_stripe_count", 1 + pick(random, 4));
    if (chance(random, 70))
        hint(sequence, info, "cb_nodes", 1 + pick(random, sequence->property->ranks));
    /* Small, so that two-phase I/O has many rounds. */
    hint(sequence, info, "cb_buffer_size", 700 + pick(random, chance(random, 50) ? 5000 : 100000));
    if (chance(random, 50))
        MPI_Info_set(info, "weft_progress", "calls");
    if (chance(random, 20))
        MPI_Info_set(info, "weft_durability", "close");
}

bool sequence_open_reader(struct sequence *sequence)
{
    MPI_Info info;
    MPI_Info_create(&info);
    MPI_Info_set(info, "cb_buffer_size", "4096"); /* not used, but it takes time to make */
    int code =
        MPI_File_open(MPI_COMM_SELF, sequence->property->path, MPI_MODE_RDONLY, info, &sequence->reader);
    MPI_Info_free(&info);
    return property_check(sequence->property, code, "open by one rank");
}

bool sequence_open(struct sequence *sequence, int mode)
{
    struct property *property = sequence->property;
    MPI_Info info;
    MPI_Info_create(&info);
    fprintf(property->history, "open:%s",
            mode & MPI_MODE_RDONLY   ? " read-only"
            : mode & MPI_MODE_WRONLY ? " write-only"
                                     : "");
    if (mode & MPI_MODE_APPEND)
        fprintf(property->history, " append");
    draw_hints(sequence, info);
    fprintf(property->history, "\n");
    sequence->mode = mode;
    sequence->has_moved_shared = true;
    model_reset_views(&sequence->model);
    if (mode & MPI_MODE_APPEND) {
        for (int rank = 0; rank < property->ranks; rank++)
            sequence->model.pointers[rank] = sequence->model.size;
        sequence->model.shared = sequence->model.size;
    }
    int code = MPI_File_open(property->comm, property->path, mode, info, &sequence->file);
    MPI_Info_free(&info);
    return property_check(property, code, "open");
}

void sequence_reopen(struct sequence *sequence)
{
    static const int modes[] = {MPI_MODE_RDWR,   MPI_MODE_RDWR,   MPI_MODE_RDWR | MPI_MODE_APPEND,
                                MPI_MODE_RDONLY, MPI_MODE_WRONLY, MPI_MODE_WRONLY | MPI_MODE_APPEND};
    struct property *property = sequence->property;
    int mode = modes[pick(&sequence->random, sizeof modes / sizeof modes[0])];
    fprintf(property->history, "close\n");
    property_check(property, MPI_File_close(&sequence->file), "close");
    sequence_open(sequence, mode);
}

/* ---- views ------------------------------------------------------------ */

static struct type *draw_etype(struct random *random)
{
    const struct type_rules rules = {.is_view = true, .size_max = 200, .span_max = 400, .ranks = 1};
    switch (pick(random, 4)) {
    case 0:
        return type_byte();
    case 1:
        return type_basic((int)pick(random, 6));
    default:
        break;
    }
    struct type *etype = type_make(random, &rules, (int)pick(random, 3));
    if (etype->map.size == 0 || etype->map.lower != 0) {
        type_drop(etype);
        etype = type_byte();
    }
    return etype;
}

/* One file type for all ranks, each with a part of its own in turn. */
static struct type *interleave(struct type *filetype, int rank, int ranks, int64_t *displacement)
{
    int64_t extent = filetype->map.upper;
    *displacement += rank * extent;
    return type_spread(filetype, 0, extent * ranks);
}

static void draw_view(struct sequence *sequence, int rank, int family, struct random *random,
                      struct type *etype, int64_t displacement)
{
    int ranks = sequence->property->ranks;
    struct type_rules rules = {.leaf = etype,
                               .is_view = true,
                               .size_max = 20000,
                               .span_max = 60000,
                               .rank = family == 0 ? 0 : rank,
                               .ranks = ranks};
    struct type *filetype = type_make(random, &rules, (int)pick(random, 5));
    if (filetype->map.size == 0 && family % 2 == 0) {
        type_drop(filetype);
        filetype = type_keep(etype);
    }
    if (family == 2 && filetype->map.upper * ranks <= 100000)
        filetype = interleave(filetype, rank, ranks, &displacement);
    view_set(&sequence->model.views[rank], displacement, type_keep(etype), filetype);
}

/*
 * Views are 0 the same for all; 1 from the same draws, so darrays give each rank its own part;
 * 2 interleaved; 3 each at random.
 */
void sequence_set_view(struct sequence *sequence)
{
    struct property *property = sequence->property;
    struct model *model = &sequence->model;
    struct random *random = &sequence->random;
    struct type *etype = draw_etype(random);
    int family = (int)pick(random, 4);
    int64_t displacement = chance(random, 30) ? 0 : pick(random, 5000);
    struct random same = *random, start = *random;
    for (int rank = 0; rank < property->ranks; rank++) {
        same = start;
        draw_view(sequence, rank, family, family == 3 ? random : &same, etype, displacement);
        if (family == 3 && chance(random, 50))
            displacement = pick(random, 5000);
        model->pointers[rank] = 0;
    }
    if (family != 3)
        *random = same;
    type_drop(etype);
    model->shared = 0;
    model->is_common_view = family == 0;
    sequence->has_moved_shared = true;
    const struct view *view = &model->views[property->rank];
    fprintf(property->history, "set_view(");
    view_print(view, property->history);
    fprintf(property->history, ")\n");
    fflush(property->history);
    MPI_Datatype etype_handle, filetype_handle;
    property_check(property, type_handle(view->etype, &etype_handle), "the etype");
    property_check(property, type_handle(view->filetype, &filetype_handle), "the filetype");
    property_check(property,
                   MPI_File_set_view(sequence->file, view->displacement, etype_handle, filetype_handle,
                                     "native", MPI_INFO_NULL),
                   "set_view");
    type_forget(view->etype, &etype_handle);
    type_forget(view->filetype, &filetype_handle);
}

/* ---- pointers --------------------------------------------------------- */

/* Where MPI_SEEK_END is: behind the last etype that begins before the end of the file. */
static int64_t end_of_view(const struct model *model, int rank)
{
    const struct view *view = &model->views[rank];
    int64_t size = view->etype->map.size;
    return (view_before(view, model->size) + size - 1) / size;
}

static int draw_seek(struct sequence *sequence, int rank, int64_t *pointer, MPI_Offset *offset)
{
    struct random *random = &sequence->random;
    int64_t end = end_of_view(&sequence->model, rank), target = pick(random, end + 10);
    bool is_end_seen = sequence->model.size > sequence->model.views[rank].displacement;
    int64_t before = *pointer;
    *pointer = target;
    switch (pick(random, is_end_seen ? 3 : 2)) {
    case 0:
        *offset = target;
        return MPI_SEEK_SET;
    case 1:
        *offset = target - before;
        return MPI_SEEK_CUR;
    default:
        *offset = target - end;
        return MPI_SEEK_END;
    }
}

void sequence_seek(struct sequence *sequence)
{
    struct property *property = sequence->property;
    struct model *model = &sequence->model;
    bool is_shared = model->is_common_view && chance(&sequence->random, 40);
    MPI_Offset offset, mine = 0;
    int whence = 0;
    if (model->views[0].filetype->map.size == 0)
        is_shared = false;
    for (int rank = 0; rank < (is_shared ? 1 : property->ranks); rank++) {
        int chosen = draw_seek(sequence, rank, is_shared ? &model->shared : &model->pointers[rank], &offset);
        if (is_shared || rank == property->rank) {
            mine = offset;
            whence = chosen;
        }
    }
    fprintf(property->history, "%s(%lld, %s)\n", is_shared ? "seek_shared" : "seek", (long long)mine,
            whence == MPI_SEEK_SET   ? "set"
            : whence == MPI_SEEK_CUR ? "cur"
                                     : "end");
    sequence->has_moved_shared = is_shared;
    if (is_shared)
        property_check(property, MPI_File_seek_shared(sequence->file, mine, whence), "seek_shared");
    else if (model->views[property->rank].filetype->map.size > 0)
        property_check(property, MPI_File_seek(sequence->file, mine, whence), "seek");
}

/* ---- sizes and modes -------------------------------------------------- */

void sequence_resize(struct sequence *sequence)
{
    struct property *property = sequence->property;
    struct model *model = &sequence->model;
    bool is_preallocate = chance(&sequence->random, 30);
    int64_t size = pick(&sequence->random, chance(&sequence->random, 70) ? model->size + 1 : model->room / 2);
    MPI_Offset found = -1;
    fprintf(property->history, "%s(%lld)\n", is_preallocate ? "preallocate" : "set_size", (long long)size);
    if (is_preallocate)
        property_check(property, MPI_File_preallocate(sequence->file, size), "preallocate");
    else
        property_check(property, MPI_File_set_size(sequence->file, size), "set_size");
    if (!is_preallocate || size > model->size)
        model_resize(model, size);
    property_check(property, MPI_File_get_size(sequence->file, &found), "get_size");
    if (found != model->size)
        property_fail(property, "get_size tells %lld, must be %lld", (long long)found,
                      (long long)model->size);
    sequence->has_changed = true;
}

void sequence_mode(struct sequence *sequence)
{
    struct property *property = sequence->property;
    bool is_sync = chance(&sequence->random, 50);
    if (is_sync && (sequence->mode & MPI_MODE_RDONLY)) /* ROMIO refuses it */
        return;
    if (is_sync) {
        fprintf(property->history, "sync\n");
        property_check(property, MPI_File_sync(sequence->file), "sync");
        return;
    }
    int flag = chance(&sequence->random, 60);
    fprintf(property->history, "set_atomicity(%d)\n", flag);
    property_check(property, MPI_File_set_atomicity(sequence->file, flag), "set_atomicity");
}
