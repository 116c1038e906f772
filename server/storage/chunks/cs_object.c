/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_store.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "cs_tree.h"

/* Strips that one call of a truncation, removal or punch takes away, and that one of a search looks at. */
enum { STRIPS_A_STEP = 64, STRIPS_A_SEEK = 256 };

/* ---- records ------------------------------------------------------------ */

struct cs_key cs_strip_key(struct cs_name name, uint64_t strip)
{
    return (struct cs_key){
        .kind = CS_KIND_OBJECT, .ino = name.ino, .position = name.position, .index = strip + 1};
}

struct cs_key cs_object_key(struct cs_name name)
{
    return (struct cs_key){.kind = CS_KIND_OBJECT, .ino = name.ino, .position = name.position};
}

static bool layout_is(const struct cs_object_record *record, const struct layout *layout)
{
    return record->chunk_size == layout->chunk_size && record->seed == layout->seed &&
           record->stripe_count == layout->stripe_count && record->group_count == layout->group_count;
}

int cs_object_find(struct cs_store *store, struct cs_name name, struct cs_object_record *object)
{
    const struct cs_key key = cs_object_key(name);
    struct cs_record record;
    int error = cs_tree_get(&store->pages, &key, &record);
    if (error)
        return error;
    if (record.length != sizeof *object)
        return err_set(-EBADMSG, "its record has a wrong length");
    memcpy(object, record.value, sizeof *object);
    return 0;
}

int cs_object_get(struct cs_store *store, struct cs_name name, const struct layout *layout,
                  struct cs_object *object)
{
    *object = (struct cs_object){.name = name};
    int error = cs_object_find(store, name, &object->record);
    if (error == -ENOENT) {
        if (layout) {
            object->record.chunk_size = layout->chunk_size;
            object->record.seed = layout->seed;
            object->record.stripe_count = layout->stripe_count;
            object->record.group_count = layout->group_count;
        }
        return 0;
    }
    if (!error && object->record.length > CS_OBJECT_BYTES_MAX)
        error = err_set(-EBADMSG, "its length is impossible");
    if (error)
        return cs_unreadable(store, name, 0, error);
    if (layout && !layout_is(&object->record, layout))
        return err_set(-EIO, "%s: object %016" PRIx64 ".%" PRIx32 " was made with another layout",
                       store->config.name, name.ino, name.position);
    object->exists = true;
    return 0;
}

int cs_object_put(struct cs_store *store, struct cs_object *object)
{
    const struct cs_key key = cs_object_key(object->name);
    int error = cs_tree_put(&store->pages, &key, &object->record, sizeof object->record);
    if (error)
        return cs_damage(store, object->name, 0, error);
    store->changed = true;
    store->objects += !object->exists;
    object->exists = true;
    return 0;
}

int cs_stat(struct cs_store *store, struct cs_name name, const struct layout *layout, struct cs_stat *stat)
{
    struct cs_object object;
    *stat = (struct cs_stat){0};
    int error = cs_object_get(store, name, layout, &object);
    if (error || !object.exists)
        return error;
    *stat = (struct cs_stat){.exists = true,
                             .length = object.record.length,
                             .blocks = object.record.blocks,
                             .mtime_ns = object.record.mtime_ns};
    return 0;
}

/* ---- strips ------------------------------------------------------------- */

int cs_next(struct cs_store *store, struct cs_name *name, struct layout *layout)
{
    struct cs_key key = {
        .kind = CS_KIND_OBJECT, .ino = name->ino, .position = name->position, .index = UINT64_MAX};
    struct cs_record record;
    cs_pages_trim(&store->pages);
    int error = cs_tree_at_least(&store->pages, &key, &record);
    if (error)
        return error == -ENOENT ? error : cs_damage(store, *name, 0, error);
    if (record.key.kind != CS_KIND_OBJECT)
        return -ENOENT;
    struct cs_object_record object;
    *name = cs_key_name(&record.key);
    error = cs_object_find(store, *name, &object);
    if (error)
        return error;
    *layout = (struct layout){.chunk_size = object.chunk_size,
                              .seed = object.seed,
                              .stripe_count = object.stripe_count,
                              .group_count = object.group_count};
    return 0;
}

int cs_strip_get(struct cs_store *store, struct cs_name name, uint64_t index, struct cs_strip *strip)
{
    const struct cs_key key = cs_strip_key(name, index);
    struct cs_record record;
    int error = cs_tree_get(&store->pages, &key, &record);
    if (error)
        cs_strip_clear(strip);
    if (error == -ENOENT)
        return 0;
    if (!error)
        error = cs_strip_decode(record.value, record.length, store->space.blocks, strip);
    return cs_unreadable(store, name, index * CS_STRIP, error);
}

void cs_strip_undo(struct cs_store *store, const struct cs_change *change)
{
    for (uint64_t touched = change->touched; touched;) {
        const unsigned i = cs_strip_next(&touched);
        const uint32_t block = change->strip.block[i];
        if (block != CS_HOLE && block != change->before.block[i])
            cs_space_give(&store->space, block);
    }
}

static bool has_twice(const struct cs_strip *strip, uint32_t block)
{
    unsigned count = 0;
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i++)
        count += strip->block[i] == block;
    return count > 1;
}

/* Blocks that may be in the strip twice, a bit for each remainder by 64; none in most strips, whose blocks
 * lie in a row. */
static uint64_t suspects(const struct cs_strip *strip)
{
    uint64_t once = 0, twice = 0;
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i++) {
        const uint64_t bit = UINT64_C(1) << strip->block[i] % 64;
        twice |= once & bit;
        once |= bit;
    }
    return twice;
}

int cs_strip_prepare(struct cs_store *store, const struct cs_change *change)
{
    const uint64_t twice = suspects(&change->before);
    for (uint64_t touched = change->touched; touched;) {
        const unsigned i = cs_strip_next(&touched);
        const uint32_t block = change->before.block[i];
        if (block == CS_HOLE || block == change->strip.block[i])
            continue;
        /* Two records that hold one block, or one that has it twice: only damage makes that. */
        if (!cs_space_is_used(&store->space, block))
            return err_set(-EBADMSG, "block %" PRIu32 " is not marked as used", block);
        if (twice >> block % 64 & 1 && has_twice(&change->before, block))
            return err_set(-EBADMSG, "a strip has block %" PRIu32 " twice", block);
        int error = cs_space_may_give(&store->space, block);
        if (error)
            return error;
    }
    if (store->pages.free < 2 * cs_tree_pages_wanted(&store->pages))
        return err_set(-ENOSPC, "%s is full: there is no room for metadata", store->config.name);
    return 0;
}

static int put_records(struct cs_store *store, struct cs_object *object, const struct cs_key *key,
                       const uint8_t *value, uint32_t length, bool was_there)
{
    /* The object's first: what may have to wait for the disk, or fails, does so before anything changed. */
    int error = cs_object_put(store, object);
    if (!error && length)
        error = cs_tree_put(&store->pages, key, value, length);
    else if (!error && was_there)
        error = cs_tree_remove(&store->pages, key);
    return error;
}

/* By how many blocks the strip has more, modulo 2^64. */
static uint64_t blocks_more(const struct cs_change *change)
{
    uint64_t more = 0;
    for (uint64_t touched = change->touched; touched;) {
        const unsigned i = cs_strip_next(&touched);
        more += change->strip.block[i] != CS_HOLE;
        more -= change->before.block[i] != CS_HOLE;
    }
    return more;
}

static void give_old(struct cs_store *store, const struct cs_change *change)
{
    for (uint64_t touched = change->touched; touched;) {
        const unsigned i = cs_strip_next(&touched);
        const uint32_t block = change->before.block[i];
        if (block != CS_HOLE && block != change->strip.block[i])
            cs_space_give(&store->space, block);
    }
}

int cs_strip_put(struct cs_store *store, struct cs_object *object, const struct cs_change *change)
{
    const struct cs_key key = cs_strip_key(object->name, change->index);
    const struct cs_object_record record = object->record;
    const bool existed = object->exists;
    uint8_t value[CS_VALUE_MAX];
    const uint32_t length = cs_strip_encode(&change->strip, CS_ALL_BLOCKS, value);
    object->record.blocks += blocks_more(change);
    int error =
        put_records(store, object, &key, value, length, length == 0 && !cs_strip_is_hole(&change->before));
    if (error)
        goto undo;
    give_old(store, change);
    return cs_log_strip(store, &key, &object->record, change);
undo:
    cs_log_forget(store);
    object->record = record;
    /* Its leaf was in memory a moment ago, and the number of blocks is what must be right. */
    if (existed && object->exists)
        cs_object_put(store, object);
    cs_strip_undo(store, change);
    return cs_damage(store, object->name, change->index * CS_STRIP, error);
}

/* ---- cutting ------------------------------------------------------------ */

static bool is_zeros(const uint8_t *bytes, size_t length)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

/* Zeros in place of the bytes [from, to) of a block that is there. A block that has no other bytes any more
 * is given up: what meets in it are the ends of two chunks, which may go one after the other. */
static int zero_part(struct cs_store *store, const struct cs_object *object, uint64_t index,
                     struct cs_strip *strip, unsigned i, uint32_t from, uint32_t to)
{
    uint8_t bytes[CS_BLOCK];
    const uint64_t offset = index * CS_STRIP + (uint64_t)i * CS_BLOCK;
    uint32_t block = strip->block[i];
    int error = cs_block_load(store, object->name, offset, block, strip->crc[i], bytes);
    if (error)
        return cs_damage(store, object->name, offset, error);
    const bool is_done = is_zeros(bytes + from, to - from);
    memset(bytes + from, 0, to - from);
    if (is_zeros(bytes, CS_BLOCK))
        strip->block[i] = CS_HOLE;
    if (is_done || strip->block[i] == CS_HOLE)
        return 0;
    error = cs_space_take(&store->space, CS_HOLE, false, &block);
    if (error)
        return error == -ENOSPC ? err_set(-ENOSPC, "%s is full", store->config.name)
                                : cs_damage(store, object->name, offset, error);
    struct iovec iov = {bytes, CS_BLOCK};
    strip->block[i] = block;
    strip->crc[i] = crc_of(0, bytes, sizeof bytes);
    store->bytes_dirty += CS_BLOCK;
    return store->io->type->write(store->io, CS_DATA, (uint64_t)block * CS_BLOCK, &iov, 1);
}

/* Makes the bytes [from, to) of a strip zeros. */
static int zero_strip(struct cs_store *store, struct cs_object *object, uint64_t index, uint32_t from,
                      uint32_t to)
{
    struct cs_change change = {.index = index, .touched = CS_ALL_BLOCKS};
    struct cs_strip *strip = &change.strip;
    int error = cs_strip_get(store, object->name, index, &change.before);
    if (error)
        return error;
    *strip = change.before;
    for (unsigned i = from / CS_BLOCK; i < CS_STRIP_BLOCKS && i * CS_BLOCK < to && !error; i++) {
        const uint32_t at = i * CS_BLOCK;
        const uint32_t first = from > at ? from - at : 0, last = to - at < CS_BLOCK ? to - at : CS_BLOCK;
        if (strip->block[i] == CS_HOLE)
            continue;
        if (first == 0 && last == CS_BLOCK)
            strip->block[i] = CS_HOLE;
        else
            error = zero_part(store, object, index, strip, i, first, last);
    }
    if (!error)
        error = cs_strip_prepare(store, &change);
    if (error) {
        cs_strip_undo(store, &change);
        return cs_damage(store, object->name, index * CS_STRIP, error);
    }
    return cs_strip_put(store, object, &change);
}

/* The object's last strip; -ENOENT. */
static int last_strip(struct cs_store *store, struct cs_name name, uint64_t *index)
{
    const struct cs_key key = {
        .kind = CS_KIND_OBJECT, .ino = name.ino, .position = name.position, .index = UINT64_MAX};
    struct cs_record record;
    int error = cs_tree_at_most(&store->pages, &key, &record);
    if (error)
        return error == -ENOENT ? error : cs_damage(store, name, 0, error);
    if (record.key.kind != CS_KIND_OBJECT || record.key.ino != name.ino ||
        record.key.position != name.position || record.key.index == 0)
        return -ENOENT;
    *index = record.key.index - 1;
    return 0;
}

/* A change of the object's record and of no strip's. */
static int put_alone(struct cs_store *store, struct cs_object *object)
{
    const struct cs_key key = cs_object_key(object->name);
    int error = cs_object_put(store, object);
    if (!error)
        cs_log_object(store, &key, &object->record);
    return error;
}

/* Cuts from the end, strip by strip: at every moment nothing lies behind the length. */
static int cut(struct cs_store *store, struct cs_object *object, uint64_t length)
{
    for (unsigned steps = 0; object->record.length > length; steps++) {
        uint64_t index = 0;
        int error = cs_room(store, 1, true);
        if (!error)
            error = last_strip(store, object->name, &index);
        if (error == -ENOENT || (!error && (index + 1) * CS_STRIP <= length)) {
            object->record.length = length;
            return put_alone(store, object);
        }
        if (error)
            return error;
        if (steps == STRIPS_A_STEP)
            return 1;
        const uint64_t start = index * CS_STRIP;
        object->record.length = start > length ? start : length;
        object->record.mtime_ns = cs_clock_ns();
        error = zero_strip(store, object, index, start > length ? 0 : (uint32_t)(length - start), CS_STRIP);
        if (error)
            return error;
    }
    return 0;
}

int cs_truncate(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t length)
{
    struct cs_object object;
    int error = cs_changeable(store);
    if (!error && length > CS_OBJECT_BYTES_MAX)
        error = err_set(-EFBIG, "%s: a length of %" PRIu64 " is more than an object can have",
                        store->config.name, length);
    if (!error)
        error = cs_object_get(store, name, layout, &object);
    if (error || (!object.exists && length == 0))
        return error;
    object.record.mtime_ns = cs_clock_ns();
    if (object.record.length > length)
        return cut(store, &object, length);
    if (object.exists && object.record.length == length)
        return 0;
    error = cs_room(store, 0, false);
    if (error)
        return error;
    object.record.length = length;
    return put_alone(store, &object);
}

int cs_remove(struct cs_store *store, struct cs_name name)
{
    struct cs_object object;
    const struct cs_key key = cs_object_key(name);
    int error = cs_changeable(store);
    if (!error)
        error = cs_object_get(store, name, NULL, &object);
    if (error || !object.exists)
        return error;
    if (object.record.length > 0) {
        int result = cut(store, &object, 0);
        if (result)
            return result;
    }
    error = cs_room(store, 0, true);
    if (!error)
        error = cs_tree_remove(&store->pages, &key);
    if (error)
        return cs_damage(store, name, 0, error);
    store->objects--;
    store->changed = true;
    cs_log_remove(store, &key);
    return 0;
}

/* ---- holes -------------------------------------------------------------- */

/* The first strip from the one of `offset` on that has blocks; -ENOENT. */
static int strip_at_least(struct cs_store *store, struct cs_name name, uint64_t offset, uint64_t *index)
{
    const struct cs_key key = cs_strip_key(name, offset / CS_STRIP);
    struct cs_record record;
    int error = cs_tree_at_least(&store->pages, &key, &record);
    if (error)
        return error == -ENOENT ? error : cs_damage(store, name, offset, error);
    if (record.key.kind != CS_KIND_OBJECT || record.key.ino != name.ino ||
        record.key.position != name.position)
        return -ENOENT;
    *index = record.key.index - 1;
    return 0;
}

/* Strip by strip: 1 when there is more to do, 0 when no block is left. *touched: the object's record was
 * put. */
static int punch(struct cs_store *store, struct cs_object *object, uint64_t offset, uint64_t end,
                 bool *touched)
{
    for (unsigned steps = 0; offset < end; steps++) {
        uint64_t index = 0;
        int error = cs_room(store, 2, true);
        if (!error)
            error = strip_at_least(store, object->name, offset, &index);
        const uint64_t start = index * CS_STRIP;
        if (error == -ENOENT || (!error && start >= end))
            return 0;
        if (error)
            return error;
        if (steps == STRIPS_A_STEP)
            return 1;
        const uint32_t from = offset > start ? (uint32_t)(offset - start) : 0;
        const uint32_t to = end - start < CS_STRIP ? (uint32_t)(end - start) : CS_STRIP;
        error = zero_strip(store, object, index, from, to);
        if (error)
            return error;
        *touched = true;
        offset = start + CS_STRIP;
    }
    return 0;
}

int cs_punch(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
             uint64_t length)
{
    struct cs_object object;
    bool touched = false;
    int error = cs_changeable(store);
    if (!error)
        error = cs_object_get(store, name, layout, &object);
    if (error || !object.exists || length == 0 || offset >= object.record.length)
        return error;
    const uint64_t end = length < object.record.length - offset ? offset + length : object.record.length;
    object.record.mtime_ns = cs_clock_ns();
    int result = punch(store, &object, offset, end, &touched);
    if (result || touched)
        return result;
    /* What was a hole before has been changed all the same, as its time tells. */
    error = cs_room(store, 0, true);
    return error ? error : put_alone(store, &object);
}

/* The first block from `offset` on, in that strip, that is a hole or is none; the strip's end: there is
 * none. */
static uint64_t seek_strip(const struct cs_strip *strip, uint64_t start, uint64_t offset, bool hole)
{
    unsigned i = offset > start ? (unsigned)((offset - start) / CS_BLOCK) : 0;
    while (i < CS_STRIP_BLOCKS && (strip->block[i] == CS_HOLE) != hole)
        i++;
    const uint64_t at = start + (uint64_t)i * CS_BLOCK;
    return at > offset ? at : offset;
}

int cs_seek(struct cs_store *store, struct cs_name name, const struct layout *layout, uint64_t offset,
            bool hole, struct store_seek *seek)
{
    struct cs_object object;
    struct cs_strip strip;
    int error = cs_object_get(store, name, layout, &object);
    if (error)
        return error;
    const uint64_t length = object.exists ? object.record.length : 0;
    *seek = (struct store_seek){.offset = UINT64_MAX, .found = true, .length = length};
    if (hole)
        seek->offset = offset > length ? offset : length;
    for (unsigned steps = 0; offset < length; steps++) {
        uint64_t index = offset / CS_STRIP;
        if (steps == STRIPS_A_SEEK) {
            seek->found = false;
            seek->offset = offset;
            return 0;
        }
        error = hole ? 0 : strip_at_least(store, name, offset, &index);
        if (error == -ENOENT)
            return 0;
        if (!error)
            error = cs_strip_get(store, name, index, &strip);
        if (error)
            return error;
        const uint64_t start = index * CS_STRIP;
        const uint64_t place = seek_strip(&strip, start, offset, hole);
        if (place < start + CS_STRIP && place < length) {
            seek->offset = place;
            return 0;
        }
        offset = start + CS_STRIP;
    }
    return 0;
}
