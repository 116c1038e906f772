/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_survey.h: what a repair (cs_repair.h) has to know of a store's metadata: who has which block, what does
 * not fit, and which pages can't be read. Reads every page of the tree and no data; changes nothing.
 *
 * Memory: a bit for each block and page, and a little for each thing that is wrong.
 */
#ifndef CS_SURVEY_H
#define CS_SURVEY_H

#include "cs_store.h"

/* A page that can't be read, and the keys that it and those below it can have: from `low` on, below
 * `high`. */
struct cs_survey_page {
    struct cs_key low, high;
    bool has_high; /* else there is no bound */
    uint32_t number;
    unsigned level;
};

/* An object's record, as it should be. */
struct cs_survey_object {
    struct cs_name name;
    uint64_t length, blocks;
};

/* Strips without an object's record that says something. */
struct cs_survey_orphan {
    struct cs_name name;
    uint64_t strips, blocks;
    bool may_be_hidden; /* the object's record may be in a page that can't be read */
};

enum cs_survey_group {
    CS_GROUP_WHOLE,
    CS_GROUP_NONE,       /* has no record: never used, or lost */
    CS_GROUP_UNREADABLE, /* or not as it can be */
};

struct cs_survey {
    uint64_t *owned; /* a bit for each block that somebody has */
    uint8_t *groups; /* enum cs_survey_group of each */
    struct cs_survey_page *pages;
    size_t page_count, page_room;
    struct cs_survey_object *objects; /* that are to be changed */
    size_t object_count, object_room;
    struct cs_survey_orphan *orphans;
    size_t orphan_count, orphan_room;
    struct cs_key *strips; /* whose records can't be understood, of objects that are there */
    size_t strip_count, strip_room;
    struct cs_key *strays; /* groups' records behind the last group */
    size_t stray_count, stray_room;
    uint64_t objects_found;
    uint32_t pages_twice; /* named from two places, which no repair can know to do right */
};

/* With `drop_lost` orphans' blocks count as nobody's, and objects as if what can't be read were gone.
 * -ENOMEM, or 0; cs_survey_close() in either case. */
int cs_survey_open(struct cs_survey *survey, struct cs_store *store, bool drop_lost);
void cs_survey_close(struct cs_survey *survey);

#endif
