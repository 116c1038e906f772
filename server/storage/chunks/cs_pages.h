/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_pages.h: the pages of the file `meta`: a cache of them, which are in use, and
 * what a commit writes.
 *
 * What it promises
 *  - No page of the last durable commit is written over: who changes one
 *    gets a fresh page, and the old one can be had again when the commit that let
 *    go of it is durable.
 *  - What a caller sees was checked: its checksum against the one in the page
 *    above, its number, its owner, and every bound inside. A page that is not so is
 *    -EBADMSG, with a text.
 *  - Memory: cs_pages_trim() brings the cache down to its bound and the pages
 *    that are not written yet.
 *
 * A pointer to a page is good until the next cs_pages_trim(), cs_page_writable() or
 * cs_page_drop() of it. Threads: one at a time (the store's lock).
 */
#ifndef CS_PAGES_H
#define CS_PAGES_H

#include <stdbool.h>
#include <stddef.h>

#include "list.h"
#include "cs_format.h"
#include "cs_io.h"

enum cs_page_state {
    CS_PAGE_CLEAN,
    CS_PAGE_DIRTY,    /* new since the last seal; may be changed */
    CS_PAGE_FLUSHING, /* of the commit under way; no one may change it */
};

struct cs_page {
    struct cs_page *bucket_next;
    struct list_link link; /* clean: the latest used first */
    uint32_t number;
    enum cs_page_state state;
    union {
        struct cs_page_header header;
        struct {
            struct cs_page_header branch_header;
            struct cs_branch_entry entries[CS_BRANCH_MAX];
        };
        struct {
            struct cs_page_header leaf_header;
            uint16_t places[CS_PAGE_ROOM / 2];
        };
        uint8_t bytes[CS_BLOCK];
    };
};

/* Where the tree found a record in a leaf that may be changed: looked at before the way from the root, and
 * worth nothing when another record is there. */
enum { CS_HINTS = 4096 };
struct cs_hint {
    uint32_t page, index;
};

/* Numbers that come back later. */
struct cs_numbers {
    uint32_t *list;
    size_t count, room;
};

struct cs_pages {
    struct cs_io *io;
    uint64_t owner;      /* in each page's header */
    uint64_t generation; /* of the next commit to be sealed */
    bool nowait;         /* -EAGAIN instead of waiting for the disk */

    uint32_t root, root_crc, root_level; /* of the tree; root 0: empty */

    struct cs_page **buckets;
    uint32_t bucket_count; /* a power of two */
    struct list clean, dirty;
    uint32_t clean_count, dirty_count, cache_max;

    uint64_t *used; /* a bit for each page: in use, or let go of by a commit that is not durable */
    uint32_t total, room, free, cursor;
    struct cs_numbers freed;     /* by what is not sealed yet */
    struct cs_numbers releasing; /* by the commit under way */
    uint64_t reads;              /* pages that came from the disk */
    struct cs_hint *hints;       /* CS_HINTS, the tree's */
};

/* Pages that writes leave, so that removals and commits can always go on. */
enum { CS_PAGES_RESERVE = 256 };

/* Room for so many more. */
int cs_numbers_room(struct cs_numbers *numbers, size_t count);
int cs_numbers_add(struct cs_numbers *numbers, uint32_t number);
void cs_numbers_free(struct cs_numbers *numbers);

int cs_pages_open(struct cs_pages *pages, struct cs_io *io, uint32_t total, uint32_t cache_max);
void cs_pages_close(struct cs_pages *pages);
/* The file is so long now. */
int cs_pages_total_set(struct cs_pages *pages, uint32_t total);
/* For the mount: -EBADMSG when it is in use already. */
int cs_pages_mark(struct cs_pages *pages, uint32_t number);
/* For a repair: none of those that there are is given out. */
void cs_pages_mark_all(struct cs_pages *pages);

int cs_page_get(struct cs_pages *pages, uint32_t number, uint32_t crc, uint32_t level, struct cs_page **page);
/* Likewise, if it is dirty, and so in the tree; else NULL. */
struct cs_page *cs_page_dirty(const struct cs_pages *pages, uint32_t number);
/* Dirty and empty; there must be free pages. -ENOMEM. */
int cs_page_new(struct cs_pages *pages, uint32_t level, struct cs_page **page);
/* Gives one that may be changed: the same, or one with another number. */
int cs_page_writable(struct cs_pages *pages, struct cs_page **page);
/* It is no part of the tree any more. */
int cs_page_drop(struct cs_pages *pages, struct cs_page *page);
void cs_pages_trim(struct cs_pages *pages);

/* The checksum that a page's header should have. */
uint32_t cs_page_crc(const void *bytes);
/* That of a superblock, likewise. */
uint32_t cs_super_crc(const void *bytes);
/* NULL, or what is wrong with the inside of a page. */
const char *cs_page_fault(const struct cs_pages *pages, const struct cs_page *page);

/* Puts checksums and generation into all dirty pages, and gives them, sorted, to the
 * commit: *list is the caller's, to be freed. What can fail does so before anything is changed. */
int cs_pages_seal(struct cs_pages *pages, struct cs_page ***list, uint32_t *count);
/* The commit is durable. */
void cs_pages_release(struct cs_pages *pages, struct cs_page **list, uint32_t count);

#endif
