/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_map.c: the bytes that a datatype selects, by the definitions of the MPI standard.
 */
#include <stdlib.h>
#include <string.h>

#include "property.h"

void map_free(struct map *map)
{
    free(map->pieces);
    *map = (struct map){0};
}

static void add_piece(struct map *map, int64_t offset, int64_t length)
{
    if (length == 0)
        return;
    struct piece *last = map->count > 0 ? &map->pieces[map->count - 1] : NULL;
    if (map->size == 0 || offset < map->true_lower)
        map->true_lower = offset;
    if (map->size == 0 || offset + length > map->true_upper)
        map->true_upper = offset + length;
    map->size += length;
    if (last != NULL && last->offset + last->length == offset) {
        last->length += length;
        return;
    }
    if (map->count == map->room) {
        map->room = map->room == 0 ? 8 : 2 * map->room;
        map->pieces = realloc(map->pieces, map->room * sizeof *map->pieces);
        if (map->pieces == NULL)
            abort();
    }
    map->pieces[map->count++] = (struct piece){.offset = offset, .length = length};
}

void map_basic(struct map *map, int64_t length, int64_t second, int64_t second_length, int64_t align)
{
    *map = (struct map){.align = align};
    add_piece(map, 0, length);
    add_piece(map, second, second_length);
    map->upper = map->true_upper;
    map_end(map);
}

/* Bounds that were set count alone, once there are any. */
static void add_bounds(struct map *map, int64_t lower, int64_t upper, bool is_set)
{
    bool is_first = !map->has_part || (is_set && !map->has_bounds);
    if (map->has_bounds && !is_set)
        return;
    if (is_first || lower < map->lower)
        map->lower = lower;
    if (is_first || upper > map->upper)
        map->upper = upper;
    map->has_bounds = is_set;
    map->has_part = true;
}

void map_add(struct map *map, const struct map *part, int64_t offset, int64_t count)
{
    if (part->align > map->align && count > 0)
        map->align = part->align;
    for (int64_t copy = 0; copy < count; copy++) {
        int64_t origin = offset + copy * map_extent(part);
        for (size_t i = 0; i < part->count; i++)
            add_piece(map, origin + part->pieces[i].offset, part->pieces[i].length);
        if (part->size > 0)
            add_bounds(map, origin + part->lower, origin + part->upper, part->has_bounds);
    }
}

/* Bounds that were not set are such that in an array each copy is aligned. */
void map_end(struct map *map)
{
    int64_t align = map->align > 0 ? map->align : 1;
    if (!map->has_bounds)
        map->upper = map->lower + (map_extent(map) + align - 1) / align * align;
}

void map_set_bounds(struct map *map, int64_t lower, int64_t extent)
{
    map->has_bounds = map->has_part = true;
    map->lower = lower;
    map->upper = lower + extent;
}

bool map_is_ordered(const struct map *map)
{
    int64_t end = 0;
    for (size_t i = 0; i < map->count; i++) {
        if (map->pieces[i].offset < end)
            return false;
        end = map->pieces[i].offset + map->pieces[i].length;
    }
    return map->count == 0 || end - map->pieces[0].offset <= map_extent(map);
}

bool map_is_disjoint(const struct map *map, int64_t count)
{
    int64_t extent = map_extent(map);
    int64_t shift = extent < 0 ? (count - 1) * extent : 0;
    int64_t reach = (count - 1) * (extent < 0 ? -extent : extent);
    if (map->size == 0 || count == 0)
        return true;
    size_t span = (size_t)(map->true_upper - map->true_lower + reach);
    unsigned char *marks = test_alloc(span);
    bool is_disjoint = true;
    memset(marks, 0, span);
    for (int64_t copy = 0; copy < count && is_disjoint; copy++)
        for (size_t i = 0; i < map->count && is_disjoint; i++) {
            unsigned char *mark = marks + (copy * extent - shift + map->pieces[i].offset - map->true_lower);
            is_disjoint = memchr(mark, 1, (size_t)map->pieces[i].length) == NULL;
            memset(mark, 1, (size_t)map->pieces[i].length);
        }
    free(marks);
    return is_disjoint;
}

void map_pack(const struct map *map, int64_t count, const unsigned char *origin, unsigned char *packed)
{
    for (int64_t copy = 0; copy < count; copy++)
        for (size_t i = 0; i < map->count; i++) {
            const struct piece *piece = &map->pieces[i];
            memcpy(packed, origin + copy * map_extent(map) + piece->offset, (size_t)piece->length);
            packed += piece->length;
        }
}

void map_unpack(const struct map *map, int64_t count, const unsigned char *packed, unsigned char *origin)
{
    for (int64_t copy = 0; copy < count; copy++)
        for (size_t i = 0; i < map->count; i++) {
            const struct piece *piece = &map->pieces[i];
            memcpy(origin + copy * map_extent(map) + piece->offset, packed, (size_t)piece->length);
            packed += piece->length;
        }
}
