/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_case.c: one sequence of calls on one file, and what must hold after each.
 *
 * All ranks may write the same places at once: what a byte of the file gets depends on
 * its place and on the call alone. After each call one rank reads the whole file
 * through a handle of its own.
 */
#include <stdlib.h>
#include <string.h>

#include "property_sequence.h"

static void note_call(struct sequence *sequence, const char *name, const struct part *part)
{
    FILE *history = sequence->property->history;
    fprintf(history, "%s", name);
    if (part->is_idle) {
        fprintf(history, ": not by this rank\n");
        return;
    }
    fprintf(history, "(offset %lld, count %d of ", (long long)part->offset, part->count);
    type_print(part->type, history);
    fprintf(history, "), salt %u\n", sequence->salt);
}

/* ---- what one rank moves ---------------------------------------------- */

static int64_t greatest_divisor(int64_t a, int64_t b)
{
    return b == 0 ? a : greatest_divisor(b, a % b);
}

static int64_t draw_bytes(struct random *random)
{
    switch (pick(random, 10)) {
    case 0:
        return 0;
    case 1:
    case 2:
    case 3:
        return pick(random, 200);
    case 4:
    case 5:
    case 6:
    case 7:
        return pick(random, 5000);
    case 8:
        return pick(random, 20000);
    default:
        return pick(random, 40000);
    }
}

/* As many copies as make about so many bytes, a whole number of etypes, and fit behind `offset`. */
static void draw_count(struct part *part, int64_t etype_size, int64_t bytes, int64_t etypes_left)
{
    int64_t size = part->type->map.size;
    int64_t unit = etype_size / greatest_divisor(size, etype_size);
    int64_t most = etypes_left > 0 ? etypes_left * etype_size / size / unit : 0;
    int64_t units = bytes > 0 ? bytes / size / unit + 1 : 0;
    int64_t count = (units < most ? units : most) * unit;
    if (!map_is_disjoint(&part->type->map, count)) {
        type_drop(part->type);
        part->type = type_byte();
        count *= size;
    }
    part->count = (int)count;
}

static void draw_part(struct sequence *sequence, int rank, enum way way, int64_t shared, struct part *part)
{
    struct random *random = &sequence->random;
    const struct model *model = &sequence->model;
    const struct view *view = &model->views[rank];
    const struct type_rules rules = {
        .size_max = 20000, .span_max = 60000, .rank = (int)pick(random, model->ranks), .ranks = model->ranks};
    int64_t etype_size = view->etype->map.size;
    int64_t etypes = view->filetype->map.size > 0 ? view_before(view, model->room) / etype_size : 0;
    *part = (struct part){.is_idle = !way_is_collective(way) && chance(random, 15)};
    part->type = type_make(random, &rules, (int)pick(random, 5));
    part->offset = way_is_shared(way) ? shared : model->pointers[rank];
    if (way_is_explicit(way)) {
        int64_t below = chance(random, 50) ? etypes / 4 : view_before(view, model->size) / etype_size;
        part->offset = pick(random, below + 1);
    }
    int64_t bytes = draw_bytes(random);
    part->count = (int)pick(random, 4);
    if (part->type->map.size > 0)
        draw_count(part, etype_size, bytes, etypes - part->offset);
    part->position = part->offset * etype_size;
    part->bytes = part->count * part->type->map.size;
}

/* ---- the call of this rank -------------------------------------------- */

static void check_status(struct sequence *sequence, const struct part *part, int64_t moved,
                         MPI_Datatype datatype, MPI_Status *status)
{
    long long told = test_status_bytes(status);
    int count = -1;
    if (told != moved) {
        property_fail(sequence->property, "the status tells of %lld bytes, %lld were moved", told,
                      (long long)moved);
        return;
    }
    MPI_Get_count(status, datatype, &count);
    if (moved == part->bytes && part->bytes > 0 && count != part->count)
        property_fail(sequence->property, "the status tells of %d datatypes, %d were moved", count,
                      part->count);
}

/* Reads may end early. What is then in the rest of the memory that was named is nobody's promise. */
static void check_memory(struct sequence *sequence, const struct part *part, struct room *room,
                         const unsigned char *data, int64_t moved)
{
    const struct map *map = &part->type->map;
    unsigned char *rest = test_alloc((size_t)part->bytes);
    map_pack(map, part->count, room->origin, rest);
    memcpy(rest, data, (size_t)moved);
    map_unpack(map, part->count, rest, room_before_origin(room));
    free(rest);
    for (size_t i = 0; i < room->length; i++)
        if (room->memory[i] != room->before[i]) {
            property_fail(sequence->property, "byte %lld of memory is 0x%02x and must be 0x%02x",
                          (long long)(room->memory + i - room->origin), room->memory[i], room->before[i]);
            return;
        }
}

/* Of some types with negative strides Open MPI 4.1 tells wrong true bounds; no I/O depends on them. */
static void check_extent(struct sequence *sequence, const struct type *type, MPI_Datatype datatype)
{
    const struct map *map = &type->map;
    MPI_Aint lower, extent;
    MPI_Count size;
    MPI_Type_get_extent(datatype, &lower, &extent);
    MPI_Type_size_x(datatype, &size);
    if (map->size == 0 && size == 0)
        return;
    if (size != map->size || lower != map->lower || extent != map_extent(map))
        property_fail(sequence->property,
                      "MPI's datatype itself differs: size %lld, lower bound %ld, extent %ld; must be %lld, "
                      "%lld, %lld",
                      (long long)size, (long)lower, (long)extent, (long long)map->size, (long long)map->lower,
                      (long long)map_extent(map));
}

static void call_part(struct sequence *sequence, enum way way, bool is_write, const struct part *part)
{
    struct property *property = sequence->property;
    const struct view *view = &sequence->model.views[property->rank];
    unsigned char *data = test_alloc((size_t)part->bytes);
    int64_t moved = part->bytes;
    struct room room;
    MPI_Datatype datatype;
    MPI_Status status;
    room_make(&room, &part->type->map, part->count, sequence->salt + 1000000u);
    if (is_write) {
        model_data(view, part->position, part->bytes, sequence->salt, data);
        map_unpack(&part->type->map, part->count, data, room.origin);
        room_note(&room);
    } else {
        moved = model_read(&sequence->model, property->rank, part->position, part->bytes, data);
    }
    property_check(property, type_handle(part->type, &datatype), "a constructor of datatypes");
    check_extent(sequence, part->type, datatype);
    int code =
        way_call(way, is_write, sequence->file, part->offset, room.origin, part->count, datatype, &status);
    if (property_check(property, code, way_name(way, is_write))) {
        check_status(sequence, part, moved, datatype, &status);
        check_memory(sequence, part, &room, data, moved);
    }
    type_forget(part->type, &datatype);
    room_free(&room);
    free(data);
}

/* ---- the call of all -------------------------------------------------- */

/* Ranks use the shared pointer one after the other, from `first` on: else nobody knew the order. */
static void call_in_turn(struct sequence *sequence, enum way way, bool is_write, int first,
                         const struct part *parts)
{
    struct property *property = sequence->property;
    for (int i = 0; i < property->ranks; i++) {
        if ((first + i) % property->ranks == property->rank && !parts[property->rank].is_idle)
            call_part(sequence, way, is_write, &parts[property->rank]);
        MPI_Barrier(property->comm);
    }
}

/* How far the individual pointer moves. Where a read ended within an etype, nobody knows where the
 * pointer is: the rank seeks. */
static void move_pointer(struct sequence *sequence, enum way way, bool is_write, int rank,
                         const struct part *part)
{
    struct model *model = &sequence->model;
    int64_t etype_size = model->views[rank].etype->map.size, moved = part->bytes;
    unsigned char *unused = test_alloc((size_t)part->bytes);
    if (!is_write)
        moved = model_read(model, rank, part->position, part->bytes, unused);
    free(unused);
    if (moved == part->bytes || way_is_nonblocking(way)) {
        model->pointers[rank] += part->bytes / etype_size;
        return;
    }
    model->pointers[rank] += moved / etype_size;
    if (moved % etype_size != 0) {
        model->pointers[rank] = 0;
        if (rank == sequence->property->rank)
            property_check(sequence->property, MPI_File_seek(sequence->file, 0, MPI_SEEK_SET), "seek");
    }
}

static enum way draw_way(struct sequence *sequence)
{
    enum way way = (enum way)pick(&sequence->random, way_count);
    if (way_is_shared(way) && !sequence->model.is_common_view)
        way = way == way_shared ? way_individual : way == way_ishared ? way_iindividual : way_all;
    if (!sequence->property->test->is_weft && way_is_collective(way) && way_is_nonblocking(way))
        way = way_all; /* the others crash in Open MPI 4.1's own ROMIO */
    return way;
}

void sequence_transfer(struct sequence *sequence, bool is_write)
{
    struct property *property = sequence->property;
    struct model *model = &sequence->model;
    struct part parts[property_ranks_max];
    enum way way = draw_way(sequence);
    int first = way_is_collective(way) ? 0 : (int)pick(&sequence->random, property->ranks);
    int64_t shared = model->shared;
    sequence->salt++;
    for (int i = 0; i < property->ranks; i++) {
        int rank = (first + i) % property->ranks;
        draw_part(sequence, rank, way, shared, &parts[rank]);
        if (!parts[rank].is_idle)
            shared += parts[rank].bytes / model->views[rank].etype->map.size;
    }
    note_call(sequence, way_name(way, is_write), &parts[property->rank]);
    fflush(property->history);
    if (way_is_shared(way) && !way_is_collective(way))
        call_in_turn(sequence, way, is_write, first, parts);
    else if (!parts[property->rank].is_idle)
        call_part(sequence, way, is_write, &parts[property->rank]);
    for (int rank = 0; rank < property->ranks; rank++) {
        const struct part *part = &parts[rank];
        if (!part->is_idle && !way_is_explicit(way) && !way_is_shared(way))
            move_pointer(sequence, way, is_write, rank, part);
        if (!part->is_idle && is_write)
            model_write(model, rank, part->position, part->bytes, sequence->salt);
        type_drop(part->type);
    }
    if (way_is_shared(way))
        model->shared = shared;
    sequence->has_moved_shared = way_is_shared(way);
    sequence->has_changed = is_write;
}

/* ---- after each call -------------------------------------------------- */

static void check_pointers(struct sequence *sequence)
{
    struct property *property = sequence->property;
    const struct view *view = &sequence->model.views[property->rank];
    MPI_Offset pointer, offset;
    if (view->filetype->map.size == 0)
        return;
    int64_t expected = sequence->model.pointers[property->rank];
    if (!property_check(property, MPI_File_get_position(sequence->file, &pointer), "get_position"))
        return;
    if (pointer != expected)
        property_fail(property, "the pointer is at %lld and must be at %lld", (long long)pointer,
                      (long long)expected);
    int64_t place = (expected + sequence->salt * 7) % 5000;
    int64_t right = view_offset(view, place * view->etype->map.size);
    if (property_check(property, MPI_File_get_byte_offset(sequence->file, place, &offset),
                       "get_byte_offset") &&
        offset != right)
        property_fail(property, "etype %lld is at byte %lld and must be at %lld", (long long)place,
                      (long long)offset, (long long)right);
}

static void check_shared_pointer(struct sequence *sequence)
{
    struct property *property = sequence->property;
    MPI_Offset pointer;
    if (property_check(property, MPI_File_get_position_shared(sequence->file, &pointer),
                       "get_position_shared") &&
        pointer != sequence->model.shared)
        property_fail(property, "the shared pointer is at %lld and must be at %lld", (long long)pointer,
                      (long long)sequence->model.shared);
}

static void check_file(struct sequence *sequence)
{
    struct property *property = sequence->property;
    const struct model *model = &sequence->model;
    unsigned char *found = test_alloc((size_t)model->size);
    MPI_Offset size = -1;
    property_check(property, MPI_File_get_size(sequence->reader, &size), "get_size");
    if (size != model->size)
        property_fail(property, "the file has %lld bytes and must have %lld", (long long)size,
                      (long long)model->size);
    else if (property_check(
                 property,
                 MPI_File_read_at(sequence->reader, 0, found, (int)model->size, MPI_BYTE, MPI_STATUS_IGNORE),
                 "read_at of all the file"))
        for (int64_t i = 0; i < model->size; i++)
            if (found[i] != model->image[i]) {
                property_fail(property, "byte %lld of the file is 0x%02x and must be 0x%02x", (long long)i,
                              found[i], model->image[i]);
                break;
            }
    free(found);
}

bool sequence_check(struct sequence *sequence)
{
    struct property *property = sequence->property;
    bool has_changed = sequence->has_changed, has_moved = sequence->has_moved_shared;
    check_pointers(sequence);
    sequence->has_changed = sequence->has_moved_shared = false;
    if (property_agree(property))
        return false;
    if (!has_changed && !has_moved)
        return true;
    if (property->rank == sequence->reader_rank) {
        if (has_changed)
            check_file(sequence);
        if (has_moved && sequence->model.is_common_view && sequence->model.views[0].filetype->map.size > 0)
            check_shared_pointer(sequence);
    }
    return !property_agree(property);
}

/* ---- the sequence ----------------------------------------------------- */

static void step(struct sequence *sequence)
{
    int choice = (int)pick(&sequence->random, 100);
    bool can_read = !(sequence->mode & MPI_MODE_WRONLY), can_write = !(sequence->mode & MPI_MODE_RDONLY);
    if (choice < 60)
        sequence_transfer(sequence, can_write && (!can_read || choice < 36));
    else if (choice < 75)
        sequence_set_view(sequence);
    else if (choice < 85)
        sequence_seek(sequence);
    else if (choice < 90 && can_write)
        sequence_resize(sequence);
    else if (choice < 95)
        sequence_mode(sequence);
    else
        sequence_reopen(sequence);
}

void case_run(struct property *property)
{
    struct sequence sequence = {.property = property, .file = MPI_FILE_NULL, .reader = MPI_FILE_NULL};
    random_start(&sequence.random, property->seed, (uint64_t)property->number);
    model_begin(&sequence.model, property->ranks, chance(&sequence.random, 90) ? 200000 : 1 << 20);
    sequence.reader_rank = (int)pick(&sequence.random, property->ranks);
    int steps = 3 + (int)pick(&sequence.random, 12);
    if (property->rank == 0)
        MPI_File_delete(property->path, MPI_INFO_NULL); /* of a run that was cut off */
    MPI_Barrier(property->comm);
    sequence_open(&sequence, MPI_MODE_CREATE | MPI_MODE_RDWR);
    if (!property_agree(property)) {
        if (property->rank == sequence.reader_rank)
            sequence_open_reader(&sequence);
        bool is_right = !property_agree(property);
        for (int i = 0; i < steps && is_right; i++) {
            step(&sequence);
            is_right = sequence_check(&sequence);
        }
    }
    if (sequence.reader != MPI_FILE_NULL)
        MPI_File_close(&sequence.reader);
    if (sequence.file != MPI_FILE_NULL)
        property_check(property, MPI_File_close(&sequence.file), "close");
    if (property->rank == 0)
        MPI_File_delete(property->path, MPI_INFO_NULL);
    model_end(&sequence.model);
}
