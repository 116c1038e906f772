/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_model.c: the file as it must be, and where a view's data is in it.
 */
#include <stdlib.h>
#include <string.h>

#include "property.h"

/* ---- views ------------------------------------------------------------ */

void view_set(struct view *view, int64_t displacement, struct type *etype, struct type *filetype)
{
    const struct map *map = &filetype->map;
    view_clear(view);
    *view = (struct view){.displacement = displacement, .etype = etype, .filetype = filetype};
    view->sums = test_alloc((map->count + 1) * sizeof *view->sums);
    int64_t sum = 0;
    for (size_t i = 0; i < map->count; i++) {
        view->sums[i] = sum;
        sum += map->pieces[i].length;
    }
}

void view_clear(struct view *view)
{
    type_drop(view->etype);
    type_drop(view->filetype);
    free(view->sums);
    *view = (struct view){0};
}

int64_t view_run(const struct view *view, int64_t position, int64_t *length)
{
    const struct map *map = &view->filetype->map;
    int64_t copy = position / map->size, rest = position % map->size;
    size_t low = 0;
    for (size_t high = map->count; high - low > 1;) {
        size_t middle = (low + high) / 2;
        if (view->sums[middle] <= rest)
            low = middle;
        else
            high = middle;
    }
    int64_t inside = rest - view->sums[low];
    *length = map->pieces[low].length - inside;
    return view->displacement + copy * map_extent(map) + map->pieces[low].offset + inside;
}

int64_t view_offset(const struct view *view, int64_t position)
{
    int64_t length;
    return view_run(view, position, &length);
}

/* The file type's bytes are in order, so all that is before the offset comes first. */
int64_t view_before(const struct view *view, int64_t offset)
{
    const struct map *map = &view->filetype->map;
    if (map->size == 0)
        return 0;
    int64_t low = 0, high = 1; /* data byte `low` - 1 is before it, `high` is not */
    while (view_offset(view, high) < offset)
        high *= 2;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (view_offset(view, middle) < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void view_print(const struct view *view, FILE *stream)
{
    fprintf(stream, "displacement %lld, etype ", (long long)view->displacement);
    type_print(view->etype, stream);
    fprintf(stream, ", filetype ");
    type_print(view->filetype, stream);
}

/* ---- the file --------------------------------------------------------- */

void model_begin(struct model *model, int ranks, int64_t room)
{
    *model = (struct model){.ranks = ranks, .room = room};
    model->image = test_alloc((size_t)room);
    memset(model->image, 0, (size_t)room);
    model_reset_views(model);
}

void model_end(struct model *model)
{
    for (int rank = 0; rank < model->ranks; rank++)
        view_clear(&model->views[rank]);
    free(model->image);
}

void model_reset_views(struct model *model)
{
    for (int rank = 0; rank < model->ranks; rank++) {
        view_set(&model->views[rank], 0, type_byte(), type_byte());
        model->pointers[rank] = 0;
    }
    model->shared = 0;
    model->is_common_view = true;
}

void model_data(const struct view *view, int64_t position, int64_t bytes, unsigned salt, unsigned char *data)
{
    for (int64_t done = 0, length; done < bytes; done += length) {
        int64_t offset = view_run(view, position + done, &length);
        if (length > bytes - done)
            length = bytes - done;
        test_fill(data + done, (size_t)length, (uint64_t)offset, salt);
    }
}

void model_write(struct model *model, int rank, int64_t position, int64_t bytes, unsigned salt)
{
    for (int64_t done = 0, length; done < bytes; done += length) {
        int64_t offset = view_run(&model->views[rank], position + done, &length);
        if (length > bytes - done)
            length = bytes - done;
        test_fill(model->image + offset, (size_t)length, (uint64_t)offset, salt);
        if (offset + length > model->size)
            model->size = offset + length;
    }
}

int64_t model_read(const struct model *model, int rank, int64_t position, int64_t bytes, unsigned char *data)
{
    for (int64_t done = 0, length; done < bytes; done += length) {
        int64_t offset = view_run(&model->views[rank], position + done, &length);
        if (offset >= model->size)
            return done;
        if (length > bytes - done)
            length = bytes - done;
        if (length > model->size - offset)
            length = model->size - offset;
        memcpy(data + done, model->image + offset, (size_t)length);
    }
    return bytes;
}

void model_resize(struct model *model, int64_t size)
{
    if (size < model->size)
        memset(model->image + size, 0, (size_t)(model->size - size));
    model->size = size;
}
