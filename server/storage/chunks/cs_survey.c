/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_survey.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "cs_tree.h"

struct surveying {
    struct cs_survey *survey;
    struct cs_store *store;
    bool drop_lost;
    uint64_t *pages_seen;

    /* The object that the records are of that come next. */
    struct cs_object object;
    bool is_named; /* there is one, maybe without a record */
    bool has_bad_record;
    bool has_gap;    /* records of it may be in a page that can't be read */
    bool gap_before; /* such a page came after the last record */
    uint64_t strips, strips_bad, blocks, end;
};

/* `list` is where the pointer to the items lies. */
static int append(void *list, size_t *count, size_t *room, const void *item, size_t size)
{
    uint8_t *items;
    memcpy(&items, list, sizeof items);
    if (*count == *room) {
        const size_t more = *room ? 2 * *room : 64;
        items = realloc(items, more * size);
        if (!items)
            return err_set(-ENOMEM, "no memory to repair a store");
        memcpy(list, &items, sizeof items);
        *room = more;
    }
    memcpy(items + *count * size, item, size);
    ++*count;
    return 0;
}

#define APPEND(survey, what, item)                                                    \
    append(&(survey)->what##s, &(survey)->what##_count, &(survey)->what##_room, item, \
           sizeof *(survey)->what##s)

/* ---- objects ------------------------------------------------------------ */

static int object_end(struct surveying *at)
{
    const struct cs_object *object = &at->object;
    int error = 0;
    if (at->is_named && object->exists) {
        struct cs_survey_object wanted = {
            .name = object->name, .length = object->record.length, .blocks = object->record.blocks};
        if (wanted.length > CS_OBJECT_BYTES_MAX)
            wanted.length = 0;
        /* The last block may have bytes of the object up to its own end. */
        if (at->end > 0 && wanted.length <= at->end - CS_BLOCK)
            wanted.length = at->end < CS_OBJECT_BYTES_MAX ? at->end : CS_OBJECT_BYTES_MAX;
        if (at->drop_lost || !(at->has_gap || at->strips_bad))
            wanted.blocks = at->blocks;
        if (wanted.length != object->record.length || wanted.blocks != object->record.blocks)
            error = APPEND(at->survey, object, &wanted);
        at->survey->objects_found++;
    } else if (at->is_named && (at->strips || at->has_bad_record)) {
        const struct cs_survey_orphan orphan = {.name = object->name,
                                                .strips = at->strips,
                                                .blocks = at->blocks,
                                                .may_be_hidden = at->has_gap && !at->has_bad_record};
        error = APPEND(at->survey, orphan, &orphan);
    }
    at->object = (struct cs_object){0};
    at->is_named = at->has_bad_record = at->has_gap = false;
    at->strips = at->strips_bad = at->blocks = at->end = 0;
    return error;
}

static int see_object(struct surveying *at, const struct cs_leaf_record *record)
{
    int error = object_end(at);
    at->object.name = cs_key_name(&record->key);
    at->is_named = true;
    at->gap_before = false;
    at->has_bad_record = record->length != sizeof at->object.record;
    if (at->has_bad_record)
        return error;
    memcpy(&at->object.record, record + 1, sizeof at->object.record);
    at->object.exists = true;
    return error;
}

static int see_strip(struct surveying *at, const struct cs_leaf_record *record)
{
    const struct cs_name name = cs_key_name(&record->key);
    const uint64_t index = record->key.index - 1;
    struct cs_strip strip;
    int error = 0;
    if (!at->is_named || at->object.name.ino != name.ino || at->object.name.position != name.position) {
        error = object_end(at);
        at->object.name = name;
        at->is_named = true;
        at->has_gap = at->gap_before;
    }
    at->gap_before = false;
    at->strips++;
    if (error)
        return error;
    if (index > CS_OBJECT_BYTES_MAX / CS_STRIP ||
        cs_strip_decode(record + 1, record->length, at->store->space.blocks, &strip)) {
        at->strips_bad++;
        return at->object.exists ? APPEND(at->survey, strip, &record->key) : 0;
    }
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i++) {
        const uint32_t block = strip.block[i];
        if (block == CS_HOLE)
            continue;
        at->blocks++;
        at->end = index * CS_STRIP + (uint64_t)(i + 1) * CS_BLOCK;
        if (at->object.exists || !at->drop_lost)
            at->survey->owned[block / 64] |= UINT64_C(1) << block % 64;
    }
    return 0;
}

/* ---- pages -------------------------------------------------------------- */

static int see_leaf(struct surveying *at, const struct cs_page *page)
{
    int error = 0;
    for (uint16_t i = 0; i < page->header.count && !error; i++) {
        const struct cs_leaf_record *record = (const struct cs_leaf_record *)(page->bytes + page->places[i]);
        if (record->key.kind == CS_KIND_OBJECT && record->key.index == 0)
            error = see_object(at, record);
        else if (record->key.kind == CS_KIND_OBJECT)
            error = see_strip(at, record);
        else if (record->key.kind == CS_KIND_GROUP && record->key.index >= at->store->space.groups)
            error = APPEND(at->survey, stray, &record->key);
    }
    return error;
}

static bool is_seen_twice(struct surveying *at, uint32_t number)
{
    const uint64_t bit = UINT64_C(1) << number % 64;
    uint64_t *word = &at->pages_seen[number / 64];
    const bool twice = *word & bit;
    *word |= bit;
    return twice;
}

static int see_below(struct surveying *at, uint32_t crc, const struct cs_survey_page *span)
{
    struct cs_page *page;
    struct cs_page copy;
    cs_pages_trim(&at->store->pages);
    if (span->number >= at->store->pages.total || is_seen_twice(at, span->number)) {
        at->survey->pages_twice++;
        return 0;
    }
    int error = cs_page_get(&at->store->pages, span->number, crc, span->level, &page);
    if (error == -ENOMEM)
        return error;
    if (error) {
        at->has_gap = at->gap_before = true;
        return APPEND(at->survey, page, span);
    }
    memcpy(&copy, page, sizeof copy);
    if (span->level == 0)
        return see_leaf(at, &copy);
    for (uint16_t i = 0; i < copy.header.count && !error; i++) {
        struct cs_survey_page below = *span;
        below.number = copy.entries[i].page;
        below.level--;
        if (i > 0)
            below.low = copy.entries[i].key;
        if (i + 1 < copy.header.count) {
            below.high = copy.entries[i + 1].key;
            below.has_high = true;
        }
        error = see_below(at, copy.entries[i].crc, &below);
    }
    return error;
}

static int see_groups(struct surveying *at)
{
    struct cs_store *store = at->store;
    for (uint32_t group = 0; group < store->space.groups; group++) {
        const struct cs_key key = {.kind = CS_KIND_GROUP, .index = group};
        struct cs_record record;
        cs_pages_trim(&store->pages);
        int error = cs_tree_get(&store->pages, &key, &record);
        if (error == -ENOMEM)
            return error;
        if (error == -ENOENT)
            at->survey->groups[group] = CS_GROUP_NONE;
        else if (error || record.length != CS_GROUP_BYTES)
            at->survey->groups[group] = CS_GROUP_UNREADABLE;
    }
    return 0;
}

int cs_survey_open(struct cs_survey *survey, struct cs_store *store, bool drop_lost)
{
    const struct cs_survey_page root = {.number = store->pages.root, .level = store->pages.root_level};
    struct surveying at = {.survey = survey, .store = store, .drop_lost = drop_lost};
    *survey = (struct cs_survey){0};
    survey->owned = calloc((size_t)store->space.groups + 1, CS_GROUP_BYTES);
    survey->groups = calloc((size_t)store->space.groups + 1, 1);
    at.pages_seen = calloc((size_t)store->pages.total / 64 + 1, sizeof *at.pages_seen);
    int error = 0;
    if (!survey->owned || !survey->groups || !at.pages_seen)
        error = err_set(-ENOMEM, "no memory to repair a store");
    cs_nowait(store, false);
    if (!error && root.number)
        error = see_below(&at, store->pages.root_crc, &root);
    if (!error)
        error = object_end(&at);
    if (!error)
        error = see_groups(&at);
    free(at.pages_seen);
    return error;
}

void cs_survey_close(struct cs_survey *survey)
{
    free(survey->owned);
    free(survey->groups);
    free(survey->pages);
    free(survey->objects);
    free(survey->orphans);
    free(survey->strips);
    free(survey->strays);
    *survey = (struct cs_survey){0};
}
