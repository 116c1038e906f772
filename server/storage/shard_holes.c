/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_holes.c: space that is given back within a file, and where there is none.
 *
 * What a run of a file is in one object is a run, too, however many chunks it has, because an object has its
 * chunks in the file's order and packed. So one request to each shard does for a run of any length; and the
 * first hole of the file, as its first data, is the first of those that the objects have, each told as an
 * offset in the file.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "err.h"
#include "shard.h"

/* ---- punch ---------------------------------------------------------------- */

static int punch_start(struct shard_io *io, struct store *store, const struct store_object *object,
                       struct shard_run *run)
{
    const struct layout_part part = shard_part_of(io, object->position);
    const uint64_t from = layout_part_length(&io->layout, &part, io->offset);
    const uint64_t to = layout_part_length(&io->layout, &part, io->offset + io->length);
    return from < to ? store->type->punch(store, object, from, to - from, &run->op) : 0;
}

void shard_object_punch(struct shard_io *io)
{
    if (io->length > INT64_MAX - io->offset)
        shard_io_refuse(
            io, err_set(-EINVAL, "the range at %" PRIu64 " ends beyond the largest file offset", io->offset));
    else
        shard_change_objects(io, punch_start);
}

/* ---- seek ----------------------------------------------------------------- */

static int seek_start(struct shard_io *io, struct store *store, const struct store_object *object,
                      struct shard_run *run)
{
    const struct layout_part part = shard_part_of(io, object->position);
    const uint64_t from = layout_part_length(&io->layout, &part, io->offset);
    return store->type->seek(store, object, from, io->hole, &run->seek, &run->op);
}

static void seek_ended(struct shard_io *io)
{
    enum { SIZE = 32 };
    struct wire_object_seek_reply reply = {.offset = UINT64_MAX, .found = 1};
    for (uint32_t i = 0; i < io->run_count; i++) {
        const struct store_seek *seek = &io->runs[i].seek;
        const struct layout_part part = shard_part_of(io, io->runs[i].position);
        const uint64_t end = layout_part_end(&io->layout, &part, seek->length);
        const uint64_t offset =
            seek->offset == UINT64_MAX ? UINT64_MAX : layout_file_offset(&io->layout, &part, seek->offset);
        if (offset < reply.offset) {
            reply.offset = offset;
            reply.found = seek->found;
        }
        reply.end = end > reply.end ? end : reply.end;
    }
    io->body = malloc(SIZE);
    shard_answer(io, io->body ? wire_encode_object_seek_reply(io->body, SIZE, &reply)
                              : err_set(-ENOMEM, "no memory for an answer"));
}

void shard_object_seek(struct shard_io *io)
{
    io->ended = seek_ended;
    shard_with_objects(io, seek_start);
}
