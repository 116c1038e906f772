/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holes: making them, and finding them. Both are one small request to each storage shard that is concerned,
 * however long the range or the file is (server/storage/shard_holes.c). What would take a server long takes
 * several rounds: a range of many GiB, and a search that finds nothing in what shards look at in one.
 */
#include "client.h"

#include <errno.h>
#include <inttypes.h>

#include "err.h"

/* ---- punch --------------------------------------------------------------------- */

/* What one round of requests is about at the most, so that none has to do more than its deadline allows. */
#define PUNCH_BYTES_MAX (UINT64_C(16) << 30)

static int ask(weft_file_t *file, uint16_t operation, struct fan_op *of)
{
    of->file = file;
    int result = fan_op_start(of, file->session, operation, &file->capability, NULL);
    return result < 0 ? result : (int)op_wait(&of->op);
}

/* In one round of requests, or in several as far as the file goes. */
static int punch_all(weft_file_t *file, uint64_t offset, uint64_t length)
{
    uint64_t end = offset + length;
    int result = 0;
    if (length > PUNCH_BYTES_MAX) {
        struct fan_op size = {0};
        result = ask(file, WIRE_OP_object_stat, &size);
        end = end < size.fan.end ? end : size.fan.end;
    }
    while (result == 0 && offset < end) {
        const uint64_t piece = end - offset < PUNCH_BYTES_MAX ? end - offset : PUNCH_BYTES_MAX;
        struct fan_op of = {.fan = {.offset = offset, .length = piece}};
        result = ask(file, WIRE_OP_object_punch, &of);
        offset += piece;
    }
    return result;
}

static int punch(weft_file_t *file, uint64_t offset, uint64_t length)
{
    int result = file_check(file);
    if (result == 0)
        result = file_allows(file, WIRE_ACCESS_WRITE);
    if (result < 0 || length == 0)
        return result;
    if (offset > INT64_MAX || length > INT64_MAX - offset)
        return err_set(-EFBIG, "%" PRIu64 " bytes at offset %" PRIu64 " end beyond the largest file offset",
                       length, offset);
    result = file_small_spill(file);
    if (result < 0)
        return client_about(result, file->path);
    session_lock(file->session);
    file->wrote = true;
    told_lose(file);
    session_unlock(file->session);
    return client_about(punch_all(file, offset, length), file->path);
}

int weft_file_punch(weft_file_t *file, uint64_t offset, uint64_t length)
{
    return (int)client_result(__func__, punch(file, offset, length));
}

/* ---- seek ---------------------------------------------------------------------- */

/* What lies behind the end is neither. */
static int conclude(uint64_t offset, bool hole, uint64_t found, uint64_t size, uint64_t *place)
{
    if (offset >= size || (!hole && found >= size))
        return err_set(-ENXIO, "there is no %s from offset %" PRIu64 " on: the file has %" PRIu64 " bytes",
                       hole ? "hole" : "data", offset, size);
    *place = found < size ? found : size;
    return 0;
}

/* Of a small file all is data: 1, or a negative errno; 0: it is none, perhaps since a moment ago. */
static int seek_small(weft_file_t *file, uint64_t offset, bool hole, uint64_t *place)
{
    uint64_t size;
    int result;
    if (!size_of_small(file, &size, &result))
        return 0;
    session_lock(file->session);
    const bool is_small = file->small.state == SMALL_IS;
    session_unlock(file->session);
    if (result == 0 && is_small)
        result = conclude(offset, hole, hole ? size : offset, size, place);
    return result < 0 ? result : is_small;
}

static int seek(weft_file_t *file, uint64_t offset, bool hole, uint64_t *place)
{
    uint64_t from = offset;
    int result = seek_small(file, offset, hole, place);
    if (result)
        return result < 0 ? result : 0;
    for (;;) {
        struct fan_op of = {.fan = {.offset = from, .hole = hole}};
        result = ask(file, WIRE_OP_object_seek, &of);
        if (result < 0)
            return result;
        if (of.fan.found || of.fan.place >= of.fan.end)
            return conclude(offset, hole, of.fan.place, of.fan.end, place);
        from = of.fan.place;
    }
}

int weft_file_seek(weft_file_t *file, uint64_t offset, int what, uint64_t *place)
{
    int result = file_check(file);
    if (result == 0 && (!place || (what != WEFT_SEEK_DATA && what != WEFT_SEEK_HOLE)))
        result = err_set(-EINVAL,
                         place ? "what is looked for is neither data nor a hole (%d)"
                               : "there is no place for the offset (NULL)",
                         what);
    if (result == 0 && offset > INT64_MAX)
        result = err_set(-ENXIO, "offset %" PRIu64 " is beyond the largest one", offset);
    if (result == 0)
        result = client_about(seek(file, offset, what == WEFT_SEEK_HOLE, place), file->path);
    return (int)client_result(__func__, result);
}
