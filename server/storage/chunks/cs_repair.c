/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_repair.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "weft_limits.h"
#include "cs_survey.h"
#include "cs_tree.h"

struct repairing {
    struct cs_store *store;
    bool drop_lost;
    bool is_quiet; /* all was told before */
    void (*report)(void *arg, const char *text);
    void *arg;
    struct cs_repair_result *result;
    struct cs_survey survey;
    bool is_partial; /* pages stay that can't be read */
};

static void tell(struct repairing *at, uint64_t *count, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* `count` is what it is one of. */
static void tell(struct repairing *at, uint64_t *count, const char *format, ...)
{
    char text[LIMITS_ERROR_TEXT_MAX + 1];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    ++*count;
    if (!at->is_quiet)
        at->report(at->arg, text);
}

static int record_put(struct cs_store *store, const struct cs_key *key, const void *value, uint32_t length)
{
    int error = cs_room(store, 0, true);
    return error ? error : cs_tree_put(&store->pages, key, value, length);
}

static int record_remove(struct cs_store *store, const struct cs_key *key)
{
    int error = cs_room(store, 0, true);
    return error ? error : cs_tree_remove(&store->pages, key);
}

/* ---- pages that can't be read ------------------------------------------- */

static const struct cs_key objects_begin = {.kind = CS_KIND_OBJECT};

/* It has bits of groups and nothing else, all of which can be made anew. */
static bool has_groups_only(const struct cs_survey_page *page)
{
    return page->has_high && cs_key_compare(&page->high, &objects_begin) <= 0;
}

static bool may_have_groups(const struct cs_survey_page *page)
{
    return cs_key_compare(&page->low, &objects_begin) < 0;
}

static void key_text(const struct cs_key *key, char text[64])
{
    if (key->kind < CS_KIND_OBJECT)
        snprintf(text, 64, "the blocks in use");
    else if (key->index)
        snprintf(text, 64, "inode %" PRIu64 " position %" PRIu32 " offset %" PRIu64, key->ino, key->position,
                 (key->index - 1) * CS_STRIP);
    else
        snprintf(text, 64, "inode %" PRIu64 " position %" PRIu32, key->ino, key->position);
}

static void tell_page(struct repairing *at, uint64_t *count, const struct cs_survey_page *page,
                      const char *what)
{
    char low[64], high[64] = "the end";
    key_text(&page->low, low);
    if (page->has_high)
        key_text(&page->high, high);
    tell(at, count, "page %" PRIu32 " of the metadata can't be read; it had records from %s on, up to %s: %s",
         page->number, low, high, what);
}

/* Whether the store can be made writable at all. What is below a branch that can't be read, and which pages
 * and blocks that uses, nobody knows. */
static bool is_hopeless(struct repairing *at)
{
    const struct cs_survey *survey = &at->survey;
    bool hopeless = survey->pages_twice > 0;
    if (survey->pages_twice)
        tell(at, &at->result->left, "%" PRIu32 " pages of the metadata are named twice, or not there",
             survey->pages_twice);
    for (size_t i = 0; i < survey->page_count; i++) {
        const struct cs_survey_page *page = &survey->pages[i];
        const bool is_root = page->number == at->store->pages.root;
        if (!is_root && (page->level == 0 || at->drop_lost || has_groups_only(page)))
            continue;
        hopeless = true;
        tell_page(at, &at->result->left, page,
                  is_root ? "it is the root, without which nothing is found"
                          : "what is below it is not found, so the store stays as it is unless that is "
                            "dropped");
    }
    return hopeless;
}

static int cut_pages(struct repairing *at)
{
    struct cs_pages *pages = &at->store->pages;
    const struct cs_survey *survey = &at->survey;
    int error = 0;
    /* What is below an unreadable branch is part of the last commit, and counts as free. */
    for (size_t i = 0; i < survey->page_count; i++)
        if (survey->pages[i].level > 0)
            cs_pages_mark_all(pages);
    for (size_t i = 0; i < survey->page_count && !error; i++) {
        const struct cs_survey_page *page = &survey->pages[i];
        if (has_groups_only(page)) {
            tell_page(at, &at->result->repaired, page, "they are made anew");
        } else if (at->drop_lost) {
            tell_page(at, &at->result->dropped, page, "they are given up, and what they had reads as zeros");
        } else {
            at->is_partial = true;
            tell_page(at, &at->result->left, page, "what they had stays an error");
            continue;
        }
        error = cs_room(at->store, 0, true);
        if (!error)
            error = cs_tree_cut(pages, &page->low, page->level, page->number);
    }
    return error;
}

/* ---- groups ------------------------------------------------------------- */

static uint32_t group_blocks(const struct cs_space *space, uint32_t group)
{
    const uint32_t left = space->blocks - group * CS_GROUP_BLOCKS;
    return left < CS_GROUP_BLOCKS ? left : CS_GROUP_BLOCKS;
}

/* What is to be marked. With pages that stay unreadable, what counts as used stays so: it may be theirs. */
static void group_wanted(const struct repairing *at, uint32_t group, uint64_t bits[CS_GROUP_WORDS])
{
    const struct cs_space *space = &at->store->space;
    const uint64_t *owned = at->survey.owned + (size_t)group * CS_GROUP_WORDS;
    const uint64_t *used = space->used + (size_t)group * CS_GROUP_WORDS;
    bool is_owned = false;
    for (unsigned i = 0; i < CS_GROUP_WORDS; i++)
        is_owned = is_owned || owned[i];
    const bool is_lost = at->survey.groups[group] == CS_GROUP_UNREADABLE ||
                         (at->survey.groups[group] == CS_GROUP_NONE && is_owned);
    memcpy(bits, owned, CS_GROUP_BYTES);
    for (unsigned i = 0; at->is_partial && i < CS_GROUP_WORDS; i++)
        bits[i] = is_lost ? UINT64_MAX : owned[i] | used[i];
    for (uint32_t block = group_blocks(space, group); block < CS_GROUP_BLOCKS; block++)
        bits[block / 64] &= ~(UINT64_C(1) << block % 64);
}

static bool is_zero(const uint64_t bits[CS_GROUP_WORDS])
{
    for (unsigned i = 0; i < CS_GROUP_WORDS; i++)
        if (bits[i])
            return false;
    return true;
}

static void tell_group(struct repairing *at, uint32_t group, const uint64_t bits[CS_GROUP_WORDS])
{
    const uint64_t *used = at->store->space.used + (size_t)group * CS_GROUP_WORDS;
    const uint32_t first = group * CS_GROUP_BLOCKS, last = first + group_blocks(&at->store->space, group) - 1;
    uint32_t taken = 0, given = 0;
    for (unsigned i = 0; i < CS_GROUP_WORDS; i++) {
        taken += (uint32_t)__builtin_popcountll(bits[i] & ~used[i]);
        given += (uint32_t)__builtin_popcountll(used[i] & ~bits[i]);
    }
    if (at->survey.groups[group] == CS_GROUP_UNREADABLE)
        tell(at, &at->result->repaired,
             "which of the blocks %" PRIu32 " to %" PRIu32
             " are in use could not be read, and is known again%s",
             first, last, at->is_partial ? " as far as it can be: none counts as free" : "");
    else
        tell(at, &at->result->repaired,
             "of the blocks %" PRIu32 " to %" PRIu32 ", %" PRIu32
             " that counted as free are in use, and %" PRIu32 " that counted as used are free",
             first, last, taken, given);
}

/* A leaf that stays, unreadable, may not be where groups' records have to go. */
static int fence_page(struct repairing *at, const struct cs_record *group)
{
    struct cs_pages *pages = &at->store->pages;
    for (size_t i = 0; at->is_partial && i < at->survey.page_count; i++) {
        struct cs_survey_page *page = &at->survey.pages[i];
        if (has_groups_only(page) || !may_have_groups(page) || cs_key_compare(&group->key, &page->low) < 0)
            continue;
        int error = cs_tree_fence(pages, &page->low, page->number, &objects_begin, group);
        page->low = objects_begin;
        return error;
    }
    return 0;
}

static int repair_group(struct repairing *at, uint32_t group)
{
    struct cs_store *store = at->store;
    const struct cs_key key = {.kind = CS_KIND_GROUP, .index = group};
    uint64_t bits[CS_GROUP_WORDS];
    struct cs_record record = {.key = key, .value = bits, .length = sizeof bits};
    group_wanted(at, group, bits);
    if (at->survey.groups[group] == CS_GROUP_NONE && is_zero(bits))
        return 0;
    if (at->survey.groups[group] == CS_GROUP_WHOLE &&
        memcmp(bits, store->space.used + (size_t)group * CS_GROUP_WORDS, sizeof bits) == 0)
        return 0;
    tell_group(at, group, bits);
    int error = cs_room(store, 0, true);
    if (!error)
        error = fence_page(at, &record);
    return error ? error : cs_space_group_set(&store->space, group, bits);
}

static int repair_groups(struct repairing *at)
{
    int error = 0;
    for (size_t i = 0; i < at->survey.stray_count && !error; i++) {
        const struct cs_key *key = &at->survey.strays[i];
        tell(at, &at->result->repaired, "a record of blocks in use is behind the last block: it is removed");
        error = record_remove(at->store, key);
    }
    for (uint32_t group = 0; group < at->store->space.groups && !error; group++) {
        error = repair_group(at, group);
        cs_pages_trim(&at->store->pages);
    }
    return error;
}

/* ---- objects ------------------------------------------------------------ */

static int repair_object(struct repairing *at, const struct cs_survey_object *wanted)
{
    const struct cs_key key = cs_object_key(wanted->name);
    struct cs_object_record record;
    int error = cs_object_find(at->store, wanted->name, &record);
    if (error)
        return error;
    if (record.blocks != wanted->blocks)
        tell(at, &at->result->repaired,
             "inode %" PRIu64 " position %" PRIu32 ": %" PRIu64 " blocks were counted, but it has %" PRIu64,
             wanted->name.ino, wanted->name.position, record.blocks, wanted->blocks);
    if (record.length != wanted->length)
        tell(at, &at->result->repaired,
             "inode %" PRIu64 " position %" PRIu32 ": its object's length was %" PRIu64 ", and is %" PRIu64
             " now, the end of its last block",
             wanted->name.ino, wanted->name.position, record.length, wanted->length);
    record.blocks = wanted->blocks;
    record.length = wanted->length;
    return record_put(at->store, &key, &record, sizeof record);
}

/* Its strips, and a record that says nothing. */
static int drop_orphan(struct cs_store *store, struct cs_name name)
{
    const struct cs_key first = cs_object_key(name);
    for (;;) {
        struct cs_record record = {0};
        cs_pages_trim(&store->pages);
        int error = cs_tree_at_least(&store->pages, &first, &record);
        if (error == -ENOENT || (!error && (record.key.kind != first.kind || record.key.ino != name.ino ||
                                            record.key.position != name.position)))
            return 0;
        const struct cs_key key = record.key;
        if (!error)
            error = record_remove(store, &key);
        if (error)
            return error;
    }
}

static int repair_orphan(struct repairing *at, const struct cs_survey_orphan *orphan)
{
    tell(at, at->drop_lost ? &at->result->dropped : &at->result->left,
         "inode %" PRIu64 " position %" PRIu32 ": %" PRIu64 " strips with %" PRIu64
         " blocks have no object's record%s, without which nobody can read them: %s",
         orphan->name.ino, orphan->name.position, orphan->strips, orphan->blocks,
         orphan->may_be_hidden ? " that can be read" : "",
         at->drop_lost ? "they are given up" : "they stay unless they are dropped");
    return at->drop_lost ? drop_orphan(at->store, orphan->name) : 0;
}

static int repair_strip(struct repairing *at, const struct cs_key *key)
{
    char place[CS_PLACE_BYTES];
    cs_place(at->store, cs_key_name(key), (key->index - 1) * CS_STRIP, place);
    tell(at, at->drop_lost ? &at->result->dropped : &at->result->left,
         "inode %" PRIu64 " at %s: the record of up to 256 KiB is impossible: %s", key->ino, place,
         at->drop_lost ? "it is given up, and they read as zeros" : "they stay an error");
    return at->drop_lost ? record_remove(at->store, key) : 0;
}

static int repair_objects(struct repairing *at)
{
    struct cs_store *store = at->store;
    const struct cs_survey *survey = &at->survey;
    int error = 0;
    for (size_t i = 0; i < survey->object_count && !error; i++)
        error = repair_object(at, &survey->objects[i]);
    for (size_t i = 0; i < survey->orphan_count && !error; i++)
        error = repair_orphan(at, &survey->orphans[i]);
    for (size_t i = 0; i < survey->strip_count && !error; i++)
        error = repair_strip(at, &survey->strips[i]);
    if (error || at->is_partial || store->objects == survey->objects_found)
        return error;
    tell(at, &at->result->repaired, "%" PRIu64 " objects were counted, but there are %" PRIu64,
         store->objects, survey->objects_found);
    store->objects = survey->objects_found;
    return 0;
}

/* ---- the log ------------------------------------------------------------ */

/* Changes since the commit go on top of what was repaired. 1: they don't fit, and what is in memory is of no
 * use. */
static int take_log(struct repairing *at)
{
    struct cs_log *log = &at->store->log;
    bool found = false, good = true;
    int error = cs_log_replay(at->store, &found, &good);
    if (error)
        return error;
    if (!good)
        return 1;
    at->result->replayed = log->replayed;
    return 0;
}

/* ---- all of it ---------------------------------------------------------- */

/* A commit writes two of the four slots. */
static int commit(struct cs_store *store, bool all_slots)
{
    int error = 0;
    for (int i = 0; i < (all_slots ? 2 : 1) && !error; i++) {
        store->changed = true;
        error = cs_commit(store);
    }
    return error;
}

static int repair_in_memory(struct repairing *at)
{
    struct cs_store *store = at->store;
    free(store->failed_text);
    store->failed_text = NULL;
    store->failed = 0;
    if (store->supers_bad)
        tell(at, &at->result->repaired, "%u of %d superblocks can't be used: they are written anew",
             store->supers_bad, CS_SUPER_SLOTS);
    int error = cut_pages(at);
    if (!error)
        error = repair_groups(at);
    return error ? error : repair_objects(at);
}

/* 1: the log does not fit, and nothing was done. */
static int repair_once(struct repairing *at, bool with_log)
{
    struct cs_store *store = at->store;
    const bool all_slots = store->supers_bad > 0;
    const struct cs_repair_result before = *at->result;
    int error = cs_survey_open(&at->survey, store, at->drop_lost);
    if (error || is_hopeless(at))
        return error;
    error = repair_in_memory(at);
    if (error || (at->result->repaired == before.repaired && at->result->dropped == before.dropped))
        return error ? error : cs_remount(store);
    if (with_log)
        error = take_log(at);
    if (error)
        return error;
    store->log.sequence += CS_LOG_JUMP;
    error = commit(store, all_slots);
    return error ? error : cs_remount(store);
}

/* What a file has lost at its end reads as zeros now, and fails its checksums. */
static int lengthen_files(struct repairing *at)
{
    struct cs_store *store = at->store;
    const uint64_t data = store->data_wanted, meta = store->meta_wanted;
    if (!data && !meta)
        return 0;
    int error = store->io->type->grow(store->io, CS_DATA, data * CS_BLOCK);
    if (!error)
        error = store->io->type->grow(store->io, CS_META, meta * CS_BLOCK);
    if (error)
        return error;
    tell(at, &at->result->repaired,
         "a file was too short, and is as long as it was; what it lost is an error");
    return cs_remount(store);
}

int cs_repair(struct cs_store *store, bool drop_lost, void (*report)(void *arg, const char *text), void *arg,
              struct cs_repair_result *result)
{
    struct repairing at = {
        .store = store, .drop_lost = drop_lost, .report = report, .arg = arg, .result = result};
    uint64_t logged = 0;
    assert(!store->changed && !store->log.on);
    *result = (struct cs_repair_result){0};
    int error = lengthen_files(&at);
    const struct cs_repair_result before = *result;
    if (!error)
        error = cs_log_count(store, &logged);
    if (!error)
        error = repair_once(&at, logged > 0);
    if (error == 1) {
        char text[LIMITS_ERROR_TEXT_MAX + 1];
        snprintf(text, sizeof text, "%s", err_text());
        *result = before;
        error = cs_remount(store);
        tell(&at, drop_lost ? &result->dropped : &result->left,
             "%" PRIu64 " changes in the log do not fit (%s): %s", logged, text,
             drop_lost ? "they are given up" : "so nothing is written unless they are dropped");
        cs_survey_close(&at.survey);
        at.is_quiet = true;
        at.is_partial = false;
        if (!error && drop_lost)
            error = repair_once(&at, false);
    }
    cs_survey_close(&at.survey);
    return error;
}
