/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_pages.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "crc.h"
#include "err.h"
#include "cs_tree.h"

/* ---- numbers ------------------------------------------------------------ */

int cs_numbers_room(struct cs_numbers *numbers, size_t count)
{
    if (numbers->room - numbers->count >= count)
        return 0;
    size_t room = 2 * numbers->room + count;
    uint32_t *list = realloc(numbers->list, room * sizeof *list);
    if (!list)
        return err_set(-ENOMEM, "no memory for the list of what becomes free");
    numbers->list = list;
    numbers->room = room;
    return 0;
}

int cs_numbers_add(struct cs_numbers *numbers, uint32_t number)
{
    int error = cs_numbers_room(numbers, 1);
    if (!error)
        numbers->list[numbers->count++] = number;
    return error;
}

void cs_numbers_free(struct cs_numbers *numbers)
{
    free(numbers->list);
    *numbers = (struct cs_numbers){0};
}

static bool is_used(const struct cs_pages *pages, uint32_t number)
{
    return pages->used[number / 64] >> number % 64 & 1;
}

static void mark_used(struct cs_pages *pages, uint32_t number)
{
    pages->used[number / 64] |= UINT64_C(1) << number % 64;
    pages->free--;
}

static void mark_free(struct cs_pages *pages, uint32_t number)
{
    assert(is_used(pages, number));
    pages->used[number / 64] &= ~(UINT64_C(1) << number % 64);
    pages->free++;
}

int cs_pages_total_set(struct cs_pages *pages, uint32_t total)
{
    if (total > pages->room) {
        uint32_t room = (total + total / 2 + 63) / 64 * 64;
        uint64_t *used = realloc(pages->used, room / 8);
        if (!used)
            return err_set(-ENOMEM, "no memory for the map of pages");
        memset((uint8_t *)used + pages->room / 8, 0, (room - pages->room) / 8);
        pages->used = used;
        pages->room = room;
    }
    pages->free += total - pages->total;
    pages->total = total;
    return 0;
}

int cs_pages_mark(struct cs_pages *pages, uint32_t number)
{
    if (number >= pages->total || is_used(pages, number))
        return err_set(-EBADMSG, "page %" PRIu32 " of the tree %s", number,
                       number >= pages->total ? "is behind the end of the file" : "is in use twice");
    mark_used(pages, number);
    return 0;
}

void cs_pages_mark_all(struct cs_pages *pages)
{
    for (uint32_t number = 0; number < pages->total; number++)
        if (!is_used(pages, number))
            mark_used(pages, number);
}

/* There is a free one: the caller has seen to that. */
static uint32_t take_number(struct cs_pages *pages)
{
    assert(pages->free > 0);
    for (uint32_t number = pages->cursor;; number = number + 1 < pages->total ? number + 1 : 0) {
        if (number % 64 == 0 && pages->used[number / 64] == UINT64_MAX) {
            number += 63;
            continue;
        }
        if (number >= pages->total || is_used(pages, number))
            continue;
        mark_used(pages, number);
        pages->cursor = number + 1 < pages->total ? number + 1 : 0;
        return number;
    }
}

/* ---- the cache ---------------------------------------------------------- */

int cs_pages_open(struct cs_pages *pages, struct cs_io *io, uint32_t total, uint32_t cache_max)
{
    *pages = (struct cs_pages){.io = io, .cache_max = cache_max};
    list_init(&pages->clean);
    list_init(&pages->dirty);
    pages->bucket_count = 64;
    while (pages->bucket_count < cache_max && pages->bucket_count < 1u << 24)
        pages->bucket_count *= 2;
    pages->buckets = calloc(pages->bucket_count, sizeof(struct cs_page *));
    pages->hints = calloc(CS_HINTS, sizeof *pages->hints);
    if (!pages->buckets || !pages->hints)
        return err_set(-ENOMEM, "no memory for the cache of pages");
    int error = cs_pages_total_set(pages, total);
    for (uint32_t slot = 0; !error && slot < CS_SUPER_SLOTS && slot < total; slot++)
        mark_used(pages, slot);
    pages->cursor = CS_SUPER_SLOTS < total ? CS_SUPER_SLOTS : 0;
    return error;
}

void cs_pages_close(struct cs_pages *pages)
{
    for (uint32_t i = 0; pages->buckets && i < pages->bucket_count; i++) {
        struct cs_page *next;
        for (struct cs_page *page = pages->buckets[i]; page; page = next) {
            next = page->bucket_next;
            free(page);
        }
    }
    free(pages->buckets);
    free(pages->hints);
    free(pages->used);
    cs_numbers_free(&pages->freed);
    cs_numbers_free(&pages->releasing);
    *pages = (struct cs_pages){0};
}

/* Numbers follow each other, so that they need no hash to be spread. */
static struct cs_page **bucket_of(const struct cs_pages *pages, uint32_t number)
{
    return &pages->buckets[number & (pages->bucket_count - 1)];
}

static struct cs_page *find(const struct cs_pages *pages, uint32_t number)
{
    struct cs_page *page = *bucket_of(pages, number);
    while (page && page->number != number)
        page = page->bucket_next;
    return page;
}

static void insert(struct cs_pages *pages, struct cs_page *page)
{
    struct cs_page **bucket = bucket_of(pages, page->number);
    page->bucket_next = *bucket;
    *bucket = page;
}

static void take_out(struct cs_pages *pages, struct cs_page *page)
{
    struct cs_page **at = bucket_of(pages, page->number);
    while (*at != page)
        at = &(*at)->bucket_next;
    *at = page->bucket_next;
}

static void make_clean(struct cs_pages *pages, struct cs_page *page)
{
    page->state = CS_PAGE_CLEAN;
    list_push_front(&pages->clean, &page->link);
    pages->clean_count++;
}

static void forget(struct cs_pages *pages, struct cs_page *page)
{
    assert(page->state == CS_PAGE_CLEAN);
    take_out(pages, page);
    list_remove(&page->link);
    pages->clean_count--;
    free(page);
}

void cs_pages_trim(struct cs_pages *pages)
{
    while (pages->clean_count > pages->cache_max)
        forget(pages, list_item(pages->clean.head.previous, struct cs_page, link));
}

static struct cs_page *page_alloc(uint32_t number)
{
    struct cs_page *page = malloc(sizeof *page);
    if (!page)
        return NULL;
    page->number = number;
    list_link_init(&page->link);
    return page;
}

/* ---- reading ------------------------------------------------------------ */

uint32_t cs_page_crc(const void *bytes)
{
    static const uint8_t zeros[4];
    static_assert(offsetof(struct cs_page_header, crc) == 0, "the checksum comes first");
    return crc_of(crc_of(0, zeros, sizeof zeros), (const uint8_t *)bytes + 4, CS_BLOCK - 4);
}

uint32_t cs_super_crc(const void *bytes)
{
    static const uint8_t zeros[4];
    const size_t at = offsetof(struct cs_super, crc);
    uint32_t crc = crc_of(crc_of(0, bytes, at), zeros, sizeof zeros);
    return crc_of(crc, (const uint8_t *)bytes + at + 4, CS_BLOCK - at - 4);
}

static const char *branch_fault(const struct cs_pages *pages, const struct cs_page *page)
{
    if (page->header.count == 0 || page->header.count > CS_BRANCH_MAX)
        return "its number of entries is impossible";
    for (uint16_t i = 0; i < page->header.count; i++) {
        if (page->entries[i].page < CS_SUPER_SLOTS || page->entries[i].page >= pages->total)
            return "it names a page that is not there";
        if (i > 1 && cs_key_compare(&page->entries[i - 1].key, &page->entries[i].key) >= 0)
            return "its keys are out of order";
    }
    return NULL;
}

/* What of a leaf is taken, a bit for every eight bytes. */
struct cover {
    uint64_t bits[CS_BLOCK / 8 / 64];
    uint32_t count;
};

/* False when some of it was taken already. */
static bool cover(struct cover *cover, uint32_t place, uint64_t length)
{
    for (uint32_t i = place / 8; i < (place + length) / 8; i++) {
        const uint64_t bit = UINT64_C(1) << i % 64;
        if (cover->bits[i / 64] & bit)
            return false;
        cover->bits[i / 64] |= bit;
        cover->count++;
    }
    return true;
}

static const char *leaf_fault(const struct cs_page *page)
{
    const struct cs_key *before = NULL;
    struct cover covered = {0};
    const size_t begin = sizeof page->header + page->header.count * sizeof(uint16_t);
    if (page->header.count == 0 || begin > page->header.start || page->header.start > CS_BLOCK)
        return "its number of entries is impossible";
    for (uint16_t i = 0; i < page->header.count; i++) {
        const uint16_t place = page->places[i];
        const struct cs_leaf_record *record;
        if (place < page->header.start || place % 8 || place > CS_BLOCK - sizeof *record)
            return "a record's place is impossible";
        record = (const struct cs_leaf_record *)(page->bytes + place);
        if (record->length > CS_VALUE_MAX || record->length > CS_BLOCK - sizeof *record - place)
            return "a record's length is impossible";
        if (before && cs_key_compare(before, &record->key) >= 0)
            return "its keys are out of order";
        if (!cover(&covered, place, cs_padded(sizeof *record + record->length)))
            return "two records lie in one place";
        before = &record->key;
    }
    return covered.count * 8 == (uint32_t)CS_BLOCK - page->header.start ? NULL : "there are gaps in it";
}

const char *cs_page_fault(const struct cs_pages *pages, const struct cs_page *page)
{
    const struct cs_page_header *header = &page->header;
    if (header->magic != CS_PAGE_MAGIC || header->number != page->number)
        return "another page lies there";
    if (header->owner != pages->owner)
        return "it is another store's";
    return header->level ? branch_fault(pages, page) : leaf_fault(page);
}

static int check(const struct cs_pages *pages, const struct cs_page *page, uint32_t crc, uint32_t level)
{
    const char *fault = NULL;
    if (page->header.crc != cs_page_crc(page->bytes))
        fault = "its checksum is wrong";
    else if (page->header.crc != crc)
        fault = "it is not the one that was written last";
    else if (page->header.level != level)
        fault = "its level is wrong";
    else
        fault = cs_page_fault(pages, page);
    return fault ? err_set(-EBADMSG, "page %" PRIu32 " of the metadata is damaged: %s", page->number, fault)
                 : 0;
}

int cs_page_get(struct cs_pages *pages, uint32_t number, uint32_t crc, uint32_t level,
                struct cs_page **result)
{
    struct cs_page *page = find(pages, number);
    if (page) {
        if (page->state == CS_PAGE_CLEAN && list_first(&pages->clean) != &page->link) {
            list_remove(&page->link);
            list_push_front(&pages->clean, &page->link);
        }
        *result = page;
        return page->header.level == level ? 0
                                           : err_set(-EBADMSG, "page %" PRIu32 " is at two levels", number);
    }
    if (number < CS_SUPER_SLOTS || number >= pages->total)
        return err_set(-EBADMSG, "page %" PRIu32 " of the metadata does not exist", number);
    page = page_alloc(number);
    if (!page)
        return err_set(-ENOMEM, "no memory for a page");
    struct iovec iov = {page->bytes, CS_BLOCK};
    int error =
        pages->io->type->read(pages->io, CS_META, (uint64_t)number * CS_BLOCK, &iov, 1, pages->nowait);
    if (!error)
        error = check(pages, page, crc, level);
    if (error) {
        free(page);
        return error;
    }
    pages->reads++;
    insert(pages, page);
    make_clean(pages, page);
    *result = page;
    return 0;
}

struct cs_page *cs_page_dirty(const struct cs_pages *pages, uint32_t number)
{
    struct cs_page *page = find(pages, number);
    return page && page->state == CS_PAGE_DIRTY ? page : NULL;
}

/* ---- changing ----------------------------------------------------------- */

static void make_dirty(struct cs_pages *pages, struct cs_page *page)
{
    /* What was cached of that number's last use. */
    struct cs_page *stale = find(pages, page->number);
    if (stale)
        forget(pages, stale);
    insert(pages, page);
    page->state = CS_PAGE_DIRTY;
    list_push_back(&pages->dirty, &page->link);
    pages->dirty_count++;
    page->header.number = page->number;
}

int cs_page_new(struct cs_pages *pages, uint32_t level, struct cs_page **result)
{
    struct cs_page *page = page_alloc(0);
    if (!page)
        return err_set(-ENOMEM, "no memory for a page");
    page->number = take_number(pages);
    memset(page->bytes, 0, CS_BLOCK);
    page->header.magic = CS_PAGE_MAGIC;
    page->header.owner = pages->owner;
    page->header.level = (uint8_t)level;
    page->header.start = CS_BLOCK;
    make_dirty(pages, page);
    *result = page;
    return 0;
}

int cs_page_writable(struct cs_pages *pages, struct cs_page **result)
{
    struct cs_page *page = *result;
    if (page->state == CS_PAGE_DIRTY)
        return 0;
    struct cs_page *copy = page_alloc(0);
    int error = copy ? cs_numbers_add(&pages->freed, page->number) : err_set(-ENOMEM, "no memory for a page");
    if (error) {
        free(copy);
        return error;
    }
    memcpy(copy->bytes, page->bytes, CS_BLOCK);
    if (page->state == CS_PAGE_CLEAN)
        forget(pages, page);
    copy->number = take_number(pages);
    make_dirty(pages, copy);
    *result = copy;
    return 0;
}

int cs_page_drop(struct cs_pages *pages, struct cs_page *page)
{
    if (page->state != CS_PAGE_DIRTY)
        return cs_numbers_add(&pages->freed, page->number);
    mark_free(pages, page->number);
    take_out(pages, page);
    list_remove(&page->link);
    pages->dirty_count--;
    free(page);
    return 0;
}

/* ---- a commit ----------------------------------------------------------- */

static uint32_t seal_page(struct cs_pages *pages, struct cs_page *page)
{
    struct cs_page_header *header = &page->header;
    for (uint16_t i = 0; header->level && i < header->count; i++) {
        struct cs_page *below = find(pages, page->entries[i].page);
        if (below && below->state == CS_PAGE_DIRTY)
            page->entries[i].crc = seal_page(pages, below);
    }
    header->generation = pages->generation;
    header->crc = cs_page_crc(page->bytes);
    return header->crc;
}

static int by_number(const void *a, const void *b)
{
    uint32_t left = (*(struct cs_page *const *)a)->number, right = (*(struct cs_page *const *)b)->number;
    return left < right ? -1 : left > right;
}

int cs_pages_seal(struct cs_pages *pages, struct cs_page ***list, uint32_t *count)
{
    struct cs_page **sealed = malloc((pages->dirty_count + 1) * sizeof *sealed);
    if (!sealed)
        return err_set(-ENOMEM, "no memory for a commit");
    struct cs_page *root = pages->root ? find(pages, pages->root) : NULL;
    if (root && root->state == CS_PAGE_DIRTY)
        pages->root_crc = seal_page(pages, root);
    *count = 0;
    list_each(&pages->dirty, link, after)
    {
        struct cs_page *page = list_item(link, struct cs_page, link);
        list_remove(link);
        page->state = CS_PAGE_FLUSHING;
        sealed[(*count)++] = page;
    }
    assert(*count == pages->dirty_count);
    qsort(sealed, *count, sizeof(struct cs_page *), by_number);
    *list = sealed;
    pages->dirty_count = 0;
    pages->generation++;
    assert(pages->releasing.count == 0);
    struct cs_numbers empty = pages->releasing;
    pages->releasing = pages->freed;
    pages->freed = empty;
    return 0;
}

void cs_pages_release(struct cs_pages *pages, struct cs_page **list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        make_clean(pages, list[i]);
    for (size_t i = 0; i < pages->releasing.count; i++)
        mark_free(pages, pages->releasing.list[i]);
    pages->releasing.count = 0;
    cs_pages_trim(pages);
}
