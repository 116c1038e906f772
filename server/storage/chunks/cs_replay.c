/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_replay.c: what a mount does with the log.
 *
 * Records are done again in their order. Patches are not: the block of one may have been given back later,
 * and have got other bytes, which were there before their own entry was. So only those are made that no later
 * entry has taken the block from.
 */
#include "cs_store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "cs_tree.h"

/* ---- reading ------------------------------------------------------------ */

struct reading {
    struct cs_store *store;
    enum cs_file file;
    uint64_t nonce, offset, size;
    uint8_t *bytes; /* of an entry: CS_LOG_ENTRY_MAX */
};

static int read_bytes(struct cs_store *store, enum cs_file file, uint64_t offset, void *bytes, size_t length)
{
    struct iovec iov = {bytes, length};
    return store->io->type->read(store->io, file, offset, &iov, 1, false);
}

/* Whether the file begins as a log of this store. */
static bool read_header(struct cs_store *store, enum cs_file file, struct cs_log_header *header)
{
    return store->log.size[file - CS_LOG] >= sizeof *header &&
           read_bytes(store, file, 0, header, sizeof *header) == 0 &&
           memcmp(header->magic, CS_LOG_MAGIC, sizeof header->magic) == 0 &&
           cs_log_header_crc(header) == header->crc && header->version >= CS_VERSION_READ &&
           header->version <= CS_VERSION &&
           memcmp(header->uuid, store->config.uuid, sizeof header->uuid) == 0 &&
           header->shard == store->config.shard;
}

/* The patches fill the entry up to its end. */
static bool patches_fit(const uint8_t *at, uint64_t left, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct cs_log_patch patch;
        if (left < sizeof patch)
            return false;
        memcpy(&patch, at, sizeof patch);
        const uint64_t length = sizeof patch + cs_padded(patch.length);
        if (patch.length == 0 || patch.from + (uint32_t)patch.length > CS_BLOCK || length > left)
            return false;
        at += length;
        left -= length;
    }
    return left == 0;
}

/* Whether there is a whole entry with that number; `reading` then stands behind it. */
static bool read_entry(struct reading *reading, uint64_t sequence, struct cs_log_entry *entry)
{
    const uint64_t room = reading->size - reading->offset;
    if (room < sizeof *entry ||
        read_bytes(reading->store, reading->file, reading->offset, entry, sizeof *entry) < 0)
        return false;
    const uint64_t head = sizeof *entry + cs_padded(entry->value_length);
    if (entry->sequence != sequence || entry->value_length > CS_VALUE_MAX ||
        entry->patches > CS_STRIP_BLOCKS || entry->length < head || entry->length > CS_LOG_ENTRY_MAX ||
        entry->length > room)
        return false;
    if (read_bytes(reading->store, reading->file, reading->offset, reading->bytes, entry->length) < 0 ||
        cs_log_entry_crc(reading->nonce, reading->bytes, entry->length) != entry->crc ||
        !patches_fit(reading->bytes + head, entry->length - head, entry->patches))
        return false;
    reading->offset += entry->length;
    return true;
}

/* Calls `each`, if there is one, for the changes behind the commit, in order; *end: number of the one after
 * the last, which is the one that failed when it did. `offset` is that of the entry. */
static int walk(struct cs_store *store, uint64_t *end,
                int (*each)(void *arg, const struct reading *reading, const struct cs_log_entry *entry,
                            uint64_t offset),
                void *arg)
{
    struct reading reading = {.store = store, .bytes = malloc(CS_LOG_ENTRY_MAX)};
    int error = 0;
    *end = store->log.base;
    if (!reading.bytes)
        return err_set(-ENOMEM, "no memory to read a log");
    for (int round = 0; round < 2 && !error; round++) {
        struct cs_log_header header;
        struct cs_log_entry entry;
        reading.file = CS_LOG;
        if (!read_header(store, CS_LOG, &header) || header.sequence != *end) {
            reading.file = CS_LOG_OTHER;
            if (!read_header(store, CS_LOG_OTHER, &header) || header.sequence != *end)
                break;
        }
        reading.nonce = header.nonce;
        reading.offset = sizeof header;
        reading.size = store->log.size[reading.file - CS_LOG];
        for (uint64_t offset = reading.offset; !error && read_entry(&reading, *end, &entry);
             offset = reading.offset, ++*end)
            error = each ? each(arg, &reading, &entry, offset) : 0;
    }
    free(reading.bytes);
    return error;
}

/* ---- doing it again ----------------------------------------------------- */

struct claim {
    uint32_t block;
    uint64_t sequence;
};

struct patch {
    struct cs_log_patch patch;
    enum cs_file file;
    uint64_t offset, sequence; /* of its bytes; of its entry */
};

struct replay {
    struct cs_store *store;
    struct cs_key *strips; /* that were changed */
    struct claim *claims;  /* of blocks by entries */
    struct patch *patches;
    size_t strip_count, claim_count, patch_count, strip_room, claim_room, patch_room;
};

static int more_room(void **list, size_t *room, size_t count, size_t size)
{
    if (count < *room)
        return 0;
    const size_t more = *room ? 2 * *room : 256;
    void *longer = realloc(*list, more * size);
    if (!longer)
        return err_set(-ENOMEM, "no memory to go through a log");
    *list = longer;
    *room = more;
    return 0;
}

static int claim_blocks(struct replay *replay, const struct cs_log_entry *entry,
                        const struct cs_strip *before, const struct cs_strip *strip)
{
    int error = 0;
    for (unsigned i = 0; i < CS_STRIP_BLOCKS && !error; i++) {
        const uint32_t block = strip->block[i];
        if (block == CS_HOLE || block == before->block[i])
            continue;
        error = cs_space_claim(&replay->store->space, block);
        if (!error)
            error = more_room((void **)&replay->claims, &replay->claim_room, replay->claim_count,
                              sizeof *replay->claims);
        if (!error)
            replay->claims[replay->claim_count++] = (struct claim){block, entry->sequence};
    }
    return error;
}

static bool has_block(const struct cs_strip *strip, uint32_t block)
{
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i++)
        if (strip->block[i] == block)
            return block != CS_HOLE;
    return false;
}

/* `offset` is that of the entry. */
static int keep_patches(struct replay *replay, const struct reading *reading,
                        const struct cs_log_entry *entry, uint64_t offset, const struct cs_strip *strip)
{
    uint64_t at = sizeof *entry + cs_padded(entry->value_length);
    for (uint32_t i = 0; i < entry->patches; i++) {
        struct patch patch = {.file = reading->file, .sequence = entry->sequence};
        memcpy(&patch.patch, reading->bytes + at, sizeof patch.patch);
        patch.offset = offset + at + sizeof patch.patch;
        if (!has_block(strip, patch.patch.block))
            return err_set(-EBADMSG, "a patch is for a block of another strip");
        int error = more_room((void **)&replay->patches, &replay->patch_room, replay->patch_count,
                              sizeof *replay->patches);
        if (error)
            return error;
        replay->patches[replay->patch_count++] = patch;
        at += sizeof patch.patch + cs_padded(patch.patch.length);
    }
    return 0;
}

/* What the entry makes of the strip as it is before. */
static int strip_of(struct cs_store *store, const uint8_t *bytes, const struct cs_log_entry *entry,
                    struct cs_change *change)
{
    struct cs_strip value;
    int error = 0;
    cs_strip_clear(&value);
    if (entry->value_length)
        error = cs_strip_decode(bytes + sizeof *entry, entry->value_length, store->space.blocks, &value);
    change->strip = entry->kind == CS_LOG_BLOCKS ? change->before : value;
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i++)
        if (value.block[i] != CS_HOLE) {
            change->strip.block[i] = value.block[i];
            change->strip.crc[i] = value.crc[i];
        }
    return error;
}

static int redo_strip(struct replay *replay, const struct reading *reading, const struct cs_log_entry *entry,
                      uint64_t offset)
{
    struct cs_store *store = replay->store;
    const struct cs_name name = cs_key_name(&entry->key);
    struct cs_change change = {.index = entry->key.index - 1, .touched = CS_ALL_BLOCKS};
    struct cs_object object;
    int error = entry->key.index ? 0 : err_set(-EBADMSG, "a strip has an object's key");
    if (!error)
        error = cs_object_get(store, name, NULL, &object);
    if (!error)
        error = cs_strip_get(store, name, change.index, &change.before);
    if (!error)
        error = strip_of(store, reading->bytes, entry, &change);
    if (!error)
        error = claim_blocks(replay, entry, &change.before, &change.strip);
    if (!error)
        error = cs_strip_prepare(store, &change);
    if (!error)
        error = more_room((void **)&replay->strips, &replay->strip_room, replay->strip_count,
                          sizeof *replay->strips);
    if (error)
        return error;
    replay->strips[replay->strip_count++] = entry->key;
    const uint64_t blocks = object.record.blocks;
    object.record = entry->object;
    object.record.blocks = blocks;
    error = cs_strip_put(store, &object, &change);
    if (!error && object.record.blocks != entry->object.blocks)
        error = err_set(-EBADMSG, "an object has another number of blocks");
    return error ? error : keep_patches(replay, reading, entry, offset, &change.strip);
}

static int redo_object(struct cs_store *store, const struct cs_log_entry *entry)
{
    struct cs_object object;
    int error = cs_object_get(store, cs_key_name(&entry->key), NULL, &object);
    if (!error && object.record.blocks != entry->object.blocks)
        error = err_set(-EBADMSG, "an object has another number of blocks");
    if (error)
        return error;
    object.record = entry->object;
    return cs_object_put(store, &object);
}

static int redo(void *arg, const struct reading *reading, const struct cs_log_entry *entry, uint64_t offset)
{
    struct replay *replay = arg;
    struct cs_store *store = replay->store;
    if (entry->key.kind != CS_KIND_OBJECT || entry->object.length > CS_OBJECT_BYTES_MAX)
        return err_set(-EBADMSG, "an entry is impossible");
    int error = cs_room(store, 0, true);
    if (error)
        return error;
    switch (entry->kind) {
    case CS_LOG_STRIP:
    case CS_LOG_BLOCKS:
        return redo_strip(replay, reading, entry, offset);
    case CS_LOG_OBJECT:
        return redo_object(store, entry);
    case CS_LOG_REMOVE:
        error = cs_remove(store, cs_key_name(&entry->key));
        return error > 0 ? err_set(-EBADMSG, "an object that was removed has bytes") : error;
    default:
        return err_set(-EBADMSG, "an entry is of an unknown kind");
    }
}

/* ---- patches ------------------------------------------------------------ */

static int compare_claims(const void *a, const void *b)
{
    const struct claim *one = a, *two = b;
    if (one->block != two->block)
        return one->block < two->block ? -1 : 1;
    return one->sequence < two->sequence ? -1 : one->sequence > two->sequence;
}

/* Whether the block was given to someone else after that change. `claims` are sorted. */
static bool is_taken_later(const struct replay *replay, uint32_t block, uint64_t sequence)
{
    size_t low = 0, high = replay->claim_count;
    while (low < high) { /* the first claim behind the block's last one */
        const size_t middle = low + (high - low) / 2;
        if (replay->claims[middle].block <= block)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && replay->claims[low - 1].block == block && replay->claims[low - 1].sequence > sequence;
}

static int make_patches(struct replay *replay)
{
    struct cs_store *store = replay->store;
    uint8_t bytes[CS_BLOCK];
    if (replay->claim_count)
        qsort(replay->claims, replay->claim_count, sizeof *replay->claims, compare_claims);
    for (size_t i = 0; i < replay->patch_count; i++) {
        const struct patch *patch = &replay->patches[i];
        if (is_taken_later(replay, patch->patch.block, patch->sequence))
            continue;
        int error = read_bytes(store, patch->file, patch->offset, bytes, patch->patch.length);
        if (!error)
            error = cs_log_patch_make(store->io, &patch->patch, bytes);
        if (error)
            return error;
    }
    return 0;
}

/* ---- what came out ------------------------------------------------------ */

static int compare_keys(const void *a, const void *b)
{
    return cs_key_compare(a, b);
}

/* Every block that the log has brought must be what its record says. */
static int check_strips(struct replay *replay)
{
    struct cs_store *store = replay->store;
    uint8_t bytes[CS_BLOCK];
    if (replay->strip_count)
        qsort(replay->strips, replay->strip_count, sizeof *replay->strips, compare_keys);
    for (size_t i = 0; i < replay->strip_count; i++) {
        const struct cs_key *key = &replay->strips[i];
        const uint64_t index = key->index - 1;
        struct cs_strip strip;
        if (i > 0 && cs_key_compare(key, key - 1) == 0)
            continue;
        int error = cs_strip_get(store, cs_key_name(key), index, &strip);
        for (unsigned k = 0; k < CS_STRIP_BLOCKS && !error; k++)
            if (strip.block[k] != CS_HOLE && cs_space_is_fresh(&store->space, strip.block[k]))
                error = cs_block_load(store, cs_key_name(key), index * CS_STRIP + (uint64_t)k * CS_BLOCK,
                                      strip.block[k], strip.crc[k], bytes);
        if (error)
            return error;
    }
    return 0;
}

/* The file may have grown since the commit. */
static int take_size(struct cs_store *store)
{
    uint64_t size = 0;
    int error = store->io->type->size(store->io, CS_DATA, &size);
    size /= CS_BLOCK;
    if (size > store->config.data_blocks_max)
        size = store->config.data_blocks_max;
    return error || size <= store->space.blocks ? error : cs_space_blocks_set(&store->space, (uint32_t)size);
}

/* The number with which the later of the two logs begins; 0 when there is none. */
static uint64_t latest_begin(struct cs_store *store)
{
    struct cs_log_header header;
    uint64_t latest = 0;
    for (enum cs_file file = CS_LOG; file <= CS_LOG_OTHER; file++)
        if (read_header(store, file, &header) && header.sequence > latest)
            latest = header.sequence;
    return latest;
}

int cs_log_replay(struct cs_store *store, bool *found, bool *good)
{
    struct replay replay = {.store = store};
    const uint64_t latest = latest_begin(store);
    uint64_t end = store->log.base;
    int error = take_size(store);
    if (!error)
        error = walk(store, &end, redo, &replay);
    if (!error)
        error = make_patches(&replay);
    if (!error)
        error = check_strips(&replay);
    free(replay.strips);
    free(replay.claims);
    free(replay.patches);
    if (error == -ENOMEM)
        return error;
    *good = error == 0;
    if (error)
        log_warn(
            "%s: the log of changes since the last commit is of no use, as after a crash of the host: %s",
            store->config.name, err_text());
    store->log.replayed = end - store->log.base;
    *found = end > store->log.base || latest > end;
    store->log.sequence = latest > end ? latest : end;
    return 0;
}

int cs_log_count(struct cs_store *store, uint64_t *count)
{
    uint64_t end;
    int error = walk(store, &end, NULL, NULL);
    *count = end - store->log.base;
    return error;
}
