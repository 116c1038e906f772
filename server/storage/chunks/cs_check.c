/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_check.c: looks at all that a store has on disk: every page of the tree, that every
 * block belongs to one strip and to nobody else, that lengths and counts are
 * right, and, if wanted, every block's bytes.
 */
#include "cs_store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "weft_limits.h"

struct checking {
    struct cs_store *store;
    bool read_data;
    void (*report)(void *arg, const char *text);
    void *arg;
    struct cs_check_result *result;
    uint64_t *owned;         /* a bit for each block that a strip has */
    bool partial;            /* pages were unreadable, so blocks may have owners that nobody saw */
    struct cs_object object; /* the strips that follow are its */
    uint64_t blocks;         /* counted in them */
};

static void fault(struct checking *checking, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fault(struct checking *checking, const char *format, ...)
{
    char text[LIMITS_ERROR_TEXT_MAX + 1];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    checking->result->faults++;
    checking->report(checking->arg, text);
}

/* As fault(), with the place in the file. */
static void fault_at(struct checking *checking, struct cs_name name, uint64_t offset, const char *text)
{
    char place[CS_PLACE_BYTES];
    cs_place(checking->store, name, offset, place); /* may wait, so it does not fail */
    fault(checking, "inode %" PRIu64 " at %s: %s", name.ino, place, text);
}

static void object_end(struct checking *checking)
{
    const struct cs_object *object = &checking->object;
    if (object->exists && object->record.blocks != checking->blocks && !checking->partial)
        fault(checking,
              "inode %" PRIu64 " position %" PRIu32 ": %" PRIu64 " blocks are counted, but it has %" PRIu64,
              object->name.ino, object->name.position, object->record.blocks, checking->blocks);
    checking->object = (struct cs_object){0};
    checking->blocks = 0;
}

static void check_object(struct checking *checking, const struct cs_leaf_record *record)
{
    struct cs_object *object = &checking->object;
    object_end(checking);
    object->name = cs_key_name(&record->key);
    if (record->length != sizeof object->record) {
        fault(checking, "inode %" PRIu64 " position %" PRIu32 ": its record has a wrong length",
              record->key.ino, record->key.position);
        return;
    }
    memcpy(&object->record, record + 1, sizeof object->record);
    object->exists = true;
    checking->result->objects++;
    if (object->record.length > CS_OBJECT_BYTES_MAX)
        fault(checking, "inode %" PRIu64 " position %" PRIu32 ": its length is impossible", record->key.ino,
              record->key.position);
}

static void check_block(struct checking *checking, const struct cs_strip *strip, unsigned i, uint64_t offset)
{
    struct cs_store *store = checking->store;
    const struct cs_name name = checking->object.name;
    const uint32_t block = strip->block[i];
    uint8_t bytes[CS_BLOCK];
    char text[64];
    checking->result->blocks++;
    checking->blocks++;
    if (checking->owned[block / 64] >> block % 64 & 1) {
        snprintf(text, sizeof text, "block %" PRIu32 " has two owners", block);
        fault_at(checking, name, offset, text);
    }
    checking->owned[block / 64] |= UINT64_C(1) << block % 64;
    if (!cs_space_is_used(&store->space, block)) {
        snprintf(text, sizeof text, "block %" PRIu32 " counts as free", block);
        fault_at(checking, name, offset, text);
    }
    if (checking->read_data && cs_block_load(store, name, offset, block, strip->crc[i], bytes)) {
        checking->result->damaged++;
        fault(checking, "%s", err_text());
    }
}

static void check_strip(struct checking *checking, const struct cs_leaf_record *record)
{
    const struct cs_object *object = &checking->object;
    const struct cs_name name = cs_key_name(&record->key);
    const uint64_t offset = (record->key.index - 1) * CS_STRIP;
    struct cs_strip strip;
    checking->result->strips++;
    if (object->name.ino != name.ino || object->name.position != name.position) {
        object_end(checking);
        checking->object.name = name;
    }
    if (!object->exists && !checking->partial)
        fault(checking, "inode %" PRIu64 " position %" PRIu32 " has bytes but no record", name.ino,
              name.position);
    if (cs_strip_decode(record + 1, record->length, checking->store->space.blocks, &strip)) {
        char text[256];
        snprintf(text, sizeof text, "%s", err_text());
        fault_at(checking, name, offset, text);
        return;
    }
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i++) {
        if (strip.block[i] == CS_HOLE)
            continue;
        const uint64_t at = offset + (uint64_t)i * CS_BLOCK;
        if (object->exists && at >= object->record.length)
            fault_at(checking, name, at, "a block is behind the end");
        check_block(checking, &strip, i, at);
    }
}

static void check_leaf(struct checking *checking, const struct cs_page *page)
{
    for (uint16_t i = 0; i < page->header.count; i++) {
        const struct cs_leaf_record *record = (const struct cs_leaf_record *)(page->bytes + page->places[i]);
        if (record->key.kind == CS_KIND_OBJECT && record->key.index == 0)
            check_object(checking, record);
        else if (record->key.kind == CS_KIND_OBJECT)
            check_strip(checking, record);
        else if (record->key.kind != CS_KIND_GROUP || record->key.index >= checking->store->space.groups ||
                 record->length != CS_GROUP_BYTES)
            fault(checking, "a record of kind %" PRIu32 " is unknown or has no place", record->key.kind);
    }
}

static void check_below(struct checking *checking, uint32_t number, uint32_t crc, uint32_t level)
{
    struct cs_page *page;
    struct cs_page copy;
    cs_pages_trim(&checking->store->pages);
    if (cs_page_get(&checking->store->pages, number, crc, level, &page)) {
        checking->partial = true;
        fault(checking, "%s", err_text());
        return;
    }
    memcpy(&copy, page, sizeof copy);
    if (level == 0)
        check_leaf(checking, &copy);
    for (uint16_t i = 0; level > 0 && i < copy.header.count; i++)
        check_below(checking, copy.entries[i].page, copy.entries[i].crc, level - 1);
}

static void check_leaks(struct checking *checking)
{
    const struct cs_space *space = &checking->store->space;
    uint64_t leaked = 0;
    for (uint32_t block = 0; block < space->blocks; block++)
        leaked += cs_space_is_used(space, block) && !(checking->owned[block / 64] >> block % 64 & 1);
    if (leaked)
        fault(checking, "%" PRIu64 " blocks count as used but nobody has them", leaked);
}

int cs_check(struct cs_store *store, bool read_data, void (*report)(void *arg, const char *text), void *arg,
             struct cs_check_result *result)
{
    struct checking checking = {
        .store = store, .read_data = read_data, .report = report, .arg = arg, .result = result};
    *result = (struct cs_check_result){0};
    checking.owned = calloc((size_t)store->space.blocks / 64 + 1, sizeof *checking.owned);
    if (!checking.owned)
        return err_set(-ENOMEM, "no memory to check a store");
    cs_nowait(store, false);
    if (store->failed)
        fault(&checking, "%s", store->failed_text ? store->failed_text : "the metadata is damaged");
    if (store->pages.root)
        check_below(&checking, store->pages.root, store->pages.root_crc, store->pages.root_level);
    object_end(&checking);
    if (!checking.partial && !store->failed)
        check_leaks(&checking);
    if (!checking.partial && result->objects != store->objects)
        fault(&checking, "%" PRIu64 " objects are counted, but there are %" PRIu64, store->objects,
              result->objects);
    free(checking.owned);
    return 0;
}
