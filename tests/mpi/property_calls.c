/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_calls.c: the calls that move data, and memory for them.
 */
#include <stdlib.h>
#include <string.h>

#include "property.h"

static const struct {
    const char *read;
    const char *write;
    bool is_collective, is_shared, is_explicit, is_nonblocking;
} ways[way_count] = {
    [way_at] = {"read_at", "write_at", false, false, true, false},
    [way_individual] = {"read", "write", false, false, false, false},
    [way_shared] = {"read_shared", "write_shared", false, true, false, false},
    [way_iat] = {"iread_at", "iwrite_at", false, false, true, true},
    [way_iindividual] = {"iread", "iwrite", false, false, false, true},
    [way_ishared] = {"iread_shared", "iwrite_shared", false, true, false, true},
    [way_at_all] = {"read_at_all", "write_at_all", true, false, true, false},
    [way_all] = {"read_all", "write_all", true, false, false, false},
    [way_ordered] = {"read_ordered", "write_ordered", true, true, false, false},
    [way_at_all_split] = {"read_at_all_begin", "write_at_all_begin", true, false, true, false},
    [way_all_split] = {"read_all_begin", "write_all_begin", true, false, false, false},
    [way_ordered_split] = {"read_ordered_begin", "write_ordered_begin", true, true, false, false},
    [way_iat_all] = {"iread_at_all", "iwrite_at_all", true, false, true, true},
    [way_iall] = {"iread_all", "iwrite_all", true, false, false, true},
};

bool way_is_collective(enum way way)
{
    return ways[way].is_collective;
}

bool way_is_shared(enum way way)
{
    return ways[way].is_shared;
}

bool way_is_explicit(enum way way)
{
    return ways[way].is_explicit;
}

bool way_is_nonblocking(enum way way)
{
    return ways[way].is_nonblocking;
}

const char *way_name(enum way way, bool is_write)
{
    return is_write ? ways[way].write : ways[way].read;
}

static int call_nonblocking(enum way way, bool is_write, MPI_File file, MPI_Offset offset, void *buffer,
                            int count, MPI_Datatype type, MPI_Request *request)
{
    switch (way) {
    case way_iat:
        return is_write ? MPI_File_iwrite_at(file, offset, buffer, count, type, request)
                        : MPI_File_iread_at(file, offset, buffer, count, type, request);
    case way_iindividual:
        return is_write ? MPI_File_iwrite(file, buffer, count, type, request)
                        : MPI_File_iread(file, buffer, count, type, request);
    case way_ishared:
        return is_write ? MPI_File_iwrite_shared(file, buffer, count, type, request)
                        : MPI_File_iread_shared(file, buffer, count, type, request);
    case way_iat_all:
        return is_write ? MPI_File_iwrite_at_all(file, offset, buffer, count, type, request)
                        : MPI_File_iread_at_all(file, offset, buffer, count, type, request);
    default:
        return is_write ? MPI_File_iwrite_all(file, buffer, count, type, request)
                        : MPI_File_iread_all(file, buffer, count, type, request);
    }
}

static int call_begin(enum way way, bool is_write, MPI_File file, MPI_Offset offset, void *buffer, int count,
                      MPI_Datatype type)
{
    switch (way) {
    case way_at_all_split:
        return is_write ? MPI_File_write_at_all_begin(file, offset, buffer, count, type)
                        : MPI_File_read_at_all_begin(file, offset, buffer, count, type);
    case way_all_split:
        return is_write ? MPI_File_write_all_begin(file, buffer, count, type)
                        : MPI_File_read_all_begin(file, buffer, count, type);
    default:
        return is_write ? MPI_File_write_ordered_begin(file, buffer, count, type)
                        : MPI_File_read_ordered_begin(file, buffer, count, type);
    }
}

static int call_end(enum way way, bool is_write, MPI_File file, void *buffer, MPI_Status *status)
{
    switch (way) {
    case way_at_all_split:
        return is_write ? MPI_File_write_at_all_end(file, buffer, status)
                        : MPI_File_read_at_all_end(file, buffer, status);
    case way_all_split:
        return is_write ? MPI_File_write_all_end(file, buffer, status)
                        : MPI_File_read_all_end(file, buffer, status);
    default:
        return is_write ? MPI_File_write_ordered_end(file, buffer, status)
                        : MPI_File_read_ordered_end(file, buffer, status);
    }
}

int way_call(enum way way, bool is_write, MPI_File file, MPI_Offset offset, void *buffer, int count,
             MPI_Datatype type, MPI_Status *status)
{
    MPI_Request request;
    int code;
    switch (way) {
    case way_at:
        return is_write ? MPI_File_write_at(file, offset, buffer, count, type, status)
                        : MPI_File_read_at(file, offset, buffer, count, type, status);
    case way_individual:
        return is_write ? MPI_File_write(file, buffer, count, type, status)
                        : MPI_File_read(file, buffer, count, type, status);
    case way_shared:
        return is_write ? MPI_File_write_shared(file, buffer, count, type, status)
                        : MPI_File_read_shared(file, buffer, count, type, status);
    case way_at_all:
        return is_write ? MPI_File_write_at_all(file, offset, buffer, count, type, status)
                        : MPI_File_read_at_all(file, offset, buffer, count, type, status);
    case way_all:
        return is_write ? MPI_File_write_all(file, buffer, count, type, status)
                        : MPI_File_read_all(file, buffer, count, type, status);
    case way_ordered:
        return is_write ? MPI_File_write_ordered(file, buffer, count, type, status)
                        : MPI_File_read_ordered(file, buffer, count, type, status);
    case way_at_all_split:
    case way_all_split:
    case way_ordered_split:
        code = call_begin(way, is_write, file, offset, buffer, count, type);
        return code == MPI_SUCCESS ? call_end(way, is_write, file, buffer, status) : code;
    default:
        code = call_nonblocking(way, is_write, file, offset, buffer, count, type, &request);
        return code == MPI_SUCCESS ? MPI_Wait(&request, status) : code;
    }
}

/* ---- memory ----------------------------------------------------------- */

enum { around = 64 }; /* bytes before and behind */

void room_make(struct room *room, const struct map *map, int64_t count, unsigned salt)
{
    int64_t reach = count > 0 ? (count - 1) * map_extent(map) : 0;
    int64_t start = map->true_lower + (reach < 0 ? reach : 0);
    int64_t end = map->true_upper + (reach > 0 ? reach : 0);
    room->length = (size_t)(end - start) + 2 * around;
    room->memory = test_alloc(room->length);
    room->before = test_alloc(room->length);
    room->origin = room->memory + around - start;
    test_fill(room->memory, room->length, 0, salt);
    room_note(room);
}

void room_free(struct room *room)
{
    free(room->memory);
    free(room->before);
}

void room_note(struct room *room)
{
    memcpy(room->before, room->memory, room->length);
}

unsigned char *room_before_origin(const struct room *room)
{
    return room->before + (room->origin - room->memory);
}
