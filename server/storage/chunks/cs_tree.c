/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_tree.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "err.h"

/* The way to a leaf; at[0] is the leaf. */
struct path {
    struct {
        struct cs_page *page;
        unsigned index; /* of the entry that was followed; in the leaf, of the first key not below ours */
    } at[CS_DEPTH_MAX];
    bool found;
};

int cs_key_compare(const struct cs_key *a, const struct cs_key *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (a->ino != b->ino)
        return a->ino < b->ino ? -1 : 1;
    if (a->position != b->position)
        return a->position < b->position ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* ---- looking ------------------------------------------------------------ */

static struct cs_leaf_record *record_at(const struct cs_page *page, unsigned index)
{
    return (struct cs_leaf_record *)(page->bytes + page->places[index]);
}

/* The last entry whose key is at most ours; the first one stands for all that is below. */
static unsigned branch_search(const struct cs_page *page, const struct cs_key *key)
{
    unsigned low = 0, high = page->header.count;
    while (high - low > 1) {
        unsigned middle = low + (high - low) / 2;
        if (cs_key_compare(&page->entries[middle].key, key) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* The first record whose key is not below ours. */
static unsigned leaf_search(const struct cs_page *page, const struct cs_key *key)
{
    unsigned low = 0, high = page->header.count;
    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (cs_key_compare(&record_at(page, middle)->key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Fills in the path below `level`, whose page and index are there. */
static int follow(struct cs_pages *pages, struct path *path, unsigned level)
{
    const struct cs_branch_entry *entry = &path->at[level].page->entries[path->at[level].index];
    return cs_page_get(pages, entry->page, entry->crc, level - 1, &path->at[level - 1].page);
}

/* The branches from the root down to those of level `bottom`, which is above 0, or to the leaf, whose index
 * is not looked for. -ENOENT: the tree is empty. */
static int descend_to(struct cs_pages *pages, const struct cs_key *key, unsigned bottom, struct path *path)
{
    unsigned level = pages->root_level;
    if (!pages->root)
        return -ENOENT;
    int error = cs_page_get(pages, pages->root, pages->root_crc, level, &path->at[level].page);
    for (; !error && level > 0; level--) {
        path->at[level].index = branch_search(path->at[level].page, key);
        if (level == bottom)
            break;
        error = follow(pages, path, level);
    }
    return error;
}

/* -ENOENT: the tree is empty. */
static int descend(struct cs_pages *pages, const struct cs_key *key, struct path *path)
{
    int error = descend_to(pages, key, 0, path);
    if (error)
        return error;
    const struct cs_page *leaf = path->at[0].page;
    path->at[0].index = leaf_search(leaf, key);
    path->found = path->at[0].index < leaf->header.count &&
                  cs_key_compare(&record_at(leaf, path->at[0].index)->key, key) == 0;
    return 0;
}

static int give(const struct cs_page *leaf, unsigned index, struct cs_record *record)
{
    const struct cs_leaf_record *found = record_at(leaf, index);
    *record = (struct cs_record){.key = found->key, .value = found + 1, .length = found->length};
    return 0;
}

/* ---- hints -------------------------------------------------------------- */

/* A write asks for an object's record and a strip's, and puts both, and the next one is often of the same
 * ones. A leaf that is dirty is part of the tree, and a key is in one place of it: so what has the key is
 * it. */

static struct cs_hint *hint_of(const struct cs_pages *pages, const struct cs_key *key)
{
    const uint64_t mixed = key->ino * UINT64_C(0x9e3779b97f4a7c15) + key->index + key->position * 977u;
    return &pages->hints[(mixed ^ mixed >> 32) % CS_HINTS];
}

/* The leaf and *index of the record; NULL: it has to be looked for. */
static struct cs_page *hinted(const struct cs_pages *pages, const struct cs_key *key, unsigned *index)
{
    const struct cs_hint *hint = hint_of(pages, key);
    struct cs_page *page = cs_page_dirty(pages, hint->page);
    *index = hint->index;
    return page && page->header.level == 0 && *index < page->header.count &&
                   cs_key_compare(&record_at(page, *index)->key, key) == 0
               ? page
               : NULL;
}

static void hint_set(const struct cs_pages *pages, const struct cs_key *key, const struct cs_page *leaf,
                     unsigned index)
{
    *hint_of(pages, key) = (struct cs_hint){.page = leaf->number, .index = index};
}

/* ------------------------------------------------------------------------- */

int cs_tree_get(struct cs_pages *pages, const struct cs_key *key, struct cs_record *record)
{
    struct path path;
    unsigned index;
    const struct cs_page *leaf = hinted(pages, key, &index);
    if (leaf)
        return give(leaf, index, record);
    int error = descend(pages, key, &path);
    if (error)
        return error;
    if (!path.found)
        return -ENOENT;
    hint_set(pages, key, path.at[0].page, path.at[0].index);
    return give(path.at[0].page, path.at[0].index, record);
}

/* To the first record of the next leaf, or the last one of the leaf before. */
static int step(struct cs_pages *pages, struct path *path, bool forward)
{
    unsigned level = 1;
    for (; level <= pages->root_level; level++) {
        unsigned index = path->at[level].index;
        if (forward ? index + 1u < path->at[level].page->header.count : index > 0)
            break;
    }
    if (level > pages->root_level)
        return -ENOENT;
    path->at[level].index += forward ? 1 : -1;
    for (; level > 0; level--) {
        int error = follow(pages, path, level);
        if (error)
            return error;
        path->at[level - 1].index = forward ? 0 : path->at[level - 1].page->header.count - 1u;
    }
    return 0;
}

int cs_tree_at_least(struct cs_pages *pages, const struct cs_key *key, struct cs_record *record)
{
    struct path path;
    int error = descend(pages, key, &path);
    if (!error && path.at[0].index == path.at[0].page->header.count)
        error = step(pages, &path, true);
    return error ? error : give(path.at[0].page, path.at[0].index, record);
}

int cs_tree_at_most(struct cs_pages *pages, const struct cs_key *key, struct cs_record *record)
{
    struct path path;
    int error = descend(pages, key, &path);
    if (error)
        return error;
    if (!path.found && path.at[0].index > 0)
        path.at[0].index--;
    else if (!path.found)
        error = step(pages, &path, false);
    return error ? error : give(path.at[0].page, path.at[0].index, record);
}

int cs_tree_behind(struct cs_pages *pages, const struct cs_key *key, struct cs_key *behind)
{
    struct cs_page *page;
    uint32_t number = pages->root, crc = pages->root_crc;
    int result = -ENOENT;
    for (unsigned level = pages->root_level; number && level > 0; level--) {
        int error = cs_page_get(pages, number, crc, level, &page);
        if (error == -EAGAIN)
            return error;
        if (error)
            break;
        const unsigned index = branch_search(page, key);
        if (index + 1u < page->header.count) {
            *behind = page->entries[index + 1].key;
            result = 0;
        }
        number = page->entries[index].page;
        crc = page->entries[index].crc;
    }
    return result;
}

/* ---- the inside of a leaf ----------------------------------------------- */

static unsigned size_of(uint32_t length)
{
    return (unsigned)(sizeof(struct cs_leaf_record) + cs_padded(length));
}

static unsigned leaf_room(const struct cs_page *page)
{
    return page->header.start - (unsigned)sizeof page->header - page->header.count * 2u;
}

static void leaf_insert(struct cs_page *page, unsigned index, const struct cs_key *key, const void *value,
                        uint32_t length)
{
    page->header.start = (uint16_t)(page->header.start - size_of(length));
    memmove(page->places + index + 1, page->places + index, (page->header.count - index) * 2u);
    page->places[index] = page->header.start;
    page->header.count++;
    struct cs_leaf_record *record = record_at(page, index);
    memset(record, 0, size_of(length));
    record->key = *key;
    record->length = length;
    memcpy(record + 1, value, length);
}

/* Records stay without gaps, so that what is free is one piece. */
static void leaf_take_out(struct cs_page *page, unsigned index)
{
    const uint16_t place = page->places[index], start = page->header.start;
    const uint16_t size = (uint16_t)size_of(record_at(page, index)->length);
    memmove(page->bytes + start + size, page->bytes + start, place - start);
    memset(page->bytes + start, 0, size);
    page->header.start = (uint16_t)(start + size);
    page->header.count--;
    memmove(page->places + index, page->places + index + 1, (page->header.count - index) * 2u);
    page->places[page->header.count] = 0;
    for (unsigned i = 0; i < page->header.count; i++)
        if (page->places[i] < place)
            page->places[i] = (uint16_t)(page->places[i] + size);
}

/* False when there is no room for it, and nothing is changed. */
static bool leaf_replace(struct cs_page *page, unsigned index, const void *value, uint32_t length)
{
    struct cs_leaf_record *record = record_at(page, index);
    const struct cs_key key = record->key;
    if (record->length == length) {
        memcpy(record + 1, value, length);
        return true;
    }
    if (leaf_room(page) + size_of(record->length) < size_of(length))
        return false;
    leaf_take_out(page, index);
    leaf_insert(page, index, &key, value, length);
    return true;
}

/* Moves the records from `index` on to an empty leaf. */
static void leaf_split(struct cs_page *page, struct cs_page *right, unsigned index)
{
    while (page->header.count > index) {
        const struct cs_leaf_record *record = record_at(page, page->header.count - 1u);
        leaf_insert(right, 0, &record->key, record + 1, record->length);
        leaf_take_out(page, page->header.count - 1u);
    }
}

/* ---- changing ----------------------------------------------------------- */

uint32_t cs_tree_pages_wanted(const struct cs_pages *pages)
{
    /* Each page of the way anew, and beside it another one; a root above. */
    return 2 * (pages->root_level + 1) + 2;
}

static int want_pages(const struct cs_pages *pages)
{
    return pages->free < cs_tree_pages_wanted(pages) ? err_set(-ENOSPC, "no free page for metadata") : 0;
}

/* Lets every page of the path be changed, from the root down to level `bottom`. */
static int path_writable(struct cs_pages *pages, struct path *path, unsigned bottom)
{
    for (unsigned level = pages->root_level + 1; level-- > bottom;) {
        int error = cs_page_writable(pages, &path->at[level].page);
        if (error)
            return error;
        if (level == pages->root_level)
            pages->root = path->at[level].page->number;
        else
            path->at[level + 1].page->entries[path->at[level + 1].index].page = path->at[level].page->number;
    }
    return 0;
}

static void branch_insert(struct cs_page *page, unsigned index, const struct cs_key *key, uint32_t number)
{
    memmove(page->entries + index + 1, page->entries + index,
            (page->header.count - index) * sizeof page->entries[0]);
    page->entries[index] = (struct cs_branch_entry){.key = *key, .page = number};
    page->header.count++;
}

static int grow_root(struct cs_pages *pages, struct path *path)
{
    const struct cs_key lowest = {0};
    struct cs_page *root;
    if (pages->root_level + 2 > CS_DEPTH_MAX)
        return err_set(-ENOSPC, "the metadata's tree is too deep");
    int error = cs_page_new(pages, pages->root_level + 1, &root);
    if (error)
        return error;
    branch_insert(root, 0, &lowest, pages->root);
    pages->root = root->number;
    pages->root_level++;
    path->at[pages->root_level].page = root;
    path->at[pages->root_level].index = 0;
    return 0;
}

/* Where a leaf is cut: in the middle, but behind it all when its last record, `grows`, needs more room. So
 * the pages of a file that is written in order stay full. */
static unsigned leaf_middle(const struct cs_page *page, bool grows)
{
    unsigned bytes = 0, half = (CS_BLOCK - page->header.start) / 2u, i = 0;
    if (grows)
        return page->header.count - 1u;
    while (i + 1u < page->header.count && bytes < half)
        bytes += size_of(record_at(page, i++)->length);
    return i ? i : 1;
}

/* Cuts the page of that level in two. The path can be changed and its page above has room; the path is of
 * no use afterwards. A leaf must have two records at least. */
static int split(struct cs_pages *pages, struct path *path, unsigned level)
{
    struct cs_page *page = path->at[level].page, *right;
    int error = level == pages->root_level ? grow_root(pages, path) : 0;
    if (!error)
        error = cs_page_new(pages, level, &right);
    if (error)
        return error;
    struct cs_key key;
    if (level == 0) {
        leaf_split(page, right,
                   leaf_middle(page, path->found && path->at[0].index == page->header.count - 1u));
        key = record_at(right, 0)->key;
    } else {
        const unsigned count = page->header.count;
        const unsigned from = path->at[level].index == count - 1 ? count - 1 : count / 2;
        memcpy(right->entries, page->entries + from, (count - from) * sizeof page->entries[0]);
        memset(page->entries + from, 0, (count - from) * sizeof page->entries[0]);
        right->header.count = (uint16_t)(count - from);
        page->header.count = (uint16_t)from;
        key = right->entries[0].key;
    }
    branch_insert(path->at[level + 1].page, path->at[level + 1].index + 1, &key, right->number);
    return 0;
}

/* A leaf that grows at its end gets a new one beside it, without moving anything. */
static int append_leaf(struct cs_pages *pages, struct path *path, const struct cs_key *key, const void *value,
                       uint32_t length)
{
    struct cs_page *right;
    int error = pages->root_level == 0 ? grow_root(pages, path) : 0;
    if (!error)
        error = cs_page_new(pages, 0, &right);
    if (error)
        return error;
    leaf_insert(right, 0, key, value, length);
    branch_insert(path->at[1].page, path->at[1].index + 1, key, right->number);
    return 0;
}

static int put_first(struct cs_pages *pages, const struct cs_key *key, const void *value, uint32_t length)
{
    struct cs_page *page;
    int error = cs_page_new(pages, 0, &page);
    if (error)
        return error;
    leaf_insert(page, 0, key, value, length);
    pages->root = page->number;
    pages->root_level = 0;
    return 0;
}

/* Room for an entry in every branch of a path that can be changed. 1: something was split, and the way has to
 * be looked for anew. */
static int branch_room(struct cs_pages *pages, struct path *path)
{
    for (unsigned level = pages->root_level; level > 0; level--) {
        if (path->at[level].page->header.count < CS_BRANCH_MAX)
            continue;
        int error = split(pages, path, level);
        return error ? error : 1;
    }
    return 0;
}

/* 1: something was split, and the way has to be looked for anew. */
static int try_put(struct cs_pages *pages, const struct cs_key *key, const void *value, uint32_t length)
{
    struct path path;
    int error = want_pages(pages);
    if (error)
        return error;
    error = descend(pages, key, &path);
    if (error == -ENOENT)
        return put_first(pages, key, value, length);
    if (!error)
        error = path_writable(pages, &path, 0);
    if (!error)
        error = branch_room(pages, &path);
    if (error)
        return error;
    struct cs_page *leaf = path.at[0].page;
    const unsigned index = path.at[0].index;
    if (!path.found && leaf_room(leaf) >= size_of(length) + 2)
        leaf_insert(leaf, index, key, value, length);
    else if (!path.found && index == leaf->header.count)
        return append_leaf(pages, &path, key, value, length);
    else if (!path.found || !leaf_replace(leaf, index, value, length)) {
        error = split(pages, &path, 0);
        return error ? error : 1;
    }
    hint_set(pages, key, leaf, index);
    return 0;
}

int cs_tree_put(struct cs_pages *pages, const struct cs_key *key, const void *value, uint32_t length)
{
    int result;
    unsigned index;
    assert(length <= CS_VALUE_MAX);
    struct cs_page *leaf = hinted(pages, key, &index);
    if (leaf && leaf_replace(leaf, index, value, length))
        return 0;
    do {
        result = try_put(pages, key, value, length);
    } while (result > 0);
    return result;
}

static void branch_take_out(struct cs_page *page, unsigned index)
{
    page->header.count--;
    memmove(page->entries + index, page->entries + index + 1,
            (page->header.count - index) * sizeof page->entries[0]);
    memset(page->entries + page->header.count, 0, sizeof page->entries[0]);
}

/* Takes away the pages that are empty, from `level` up, and a root with one page below. */
static int prune(struct cs_pages *pages, struct path *path, unsigned level)
{
    for (; level <= pages->root_level && path->at[level].page->header.count == 0; level++) {
        int error = cs_page_drop(pages, path->at[level].page);
        if (error)
            return error;
        if (level == pages->root_level) {
            pages->root = pages->root_crc = pages->root_level = 0;
            return 0;
        }
        branch_take_out(path->at[level + 1].page, path->at[level + 1].index);
    }
    struct cs_page *root = path->at[pages->root_level].page;
    if (pages->root_level == 0 || root->header.count > 1)
        return 0;
    const struct cs_branch_entry entry = root->entries[0];
    int error = cs_page_drop(pages, root);
    if (error)
        return error;
    pages->root = entry.page;
    pages->root_crc = entry.crc;
    pages->root_level--;
    return 0;
}

int cs_tree_remove(struct cs_pages *pages, const struct cs_key *key)
{
    struct path path;
    int error = want_pages(pages);
    if (!error)
        error = descend(pages, key, &path);
    if (error)
        return error;
    if (!path.found)
        return -ENOENT;
    error = path_writable(pages, &path, 0);
    if (error)
        return error;
    leaf_take_out(path.at[0].page, path.at[0].index);
    return prune(pages, &path, 0);
}

/* ---- pages that can't be read ------------------------------------------- */

/* The branch above the page of that level on the way to `key`, which must be that page. */
static int descend_above(struct cs_pages *pages, const struct cs_key *key, unsigned level, uint32_t number,
                         struct path *path)
{
    int error = want_pages(pages);
    if (!error)
        error = descend_to(pages, key, level + 1, path);
    if (error)
        return error;
    const struct cs_page *above = path->at[level + 1].page;
    if (above->entries[path->at[level + 1].index].page != number)
        return err_set(-EBADMSG, "page %" PRIu32 " of the metadata is not where its keys lead", number);
    return path_writable(pages, path, level + 1);
}

int cs_tree_cut(struct cs_pages *pages, const struct cs_key *key, unsigned level, uint32_t number)
{
    struct path path;
    if (number == pages->root) {
        int error = cs_numbers_add(&pages->freed, number);
        if (!error)
            pages->root = pages->root_crc = pages->root_level = 0;
        return error;
    }
    if (level >= pages->root_level)
        return err_set(-EBADMSG, "page %" PRIu32 " of the metadata is not below the root", number);
    int error = descend_above(pages, key, level, number, &path);
    if (!error)
        error = cs_numbers_add(&pages->freed, number);
    if (error)
        return error;
    branch_take_out(path.at[level + 1].page, path.at[level + 1].index);
    return prune(pages, &path, level + 1);
}

/* 1: to be tried anew. */
static int try_fence(struct cs_pages *pages, const struct cs_key *low, uint32_t number,
                     const struct cs_key *fence, const struct cs_record *first)
{
    struct path path;
    struct cs_page *leaf;
    int error = descend_above(pages, low, 0, number, &path);
    if (!error)
        error = branch_room(pages, &path);
    if (!error)
        error = cs_page_new(pages, 0, &leaf);
    if (error)
        return error;
    struct cs_page *branch = path.at[1].page;
    const unsigned index = path.at[1].index;
    const struct cs_key before = branch->entries[index].key;
    leaf_insert(leaf, 0, &first->key, first->value, first->length);
    branch_insert(branch, index, &before, leaf->number);
    branch->entries[index + 1].key = *fence;
    return 0;
}

int cs_tree_fence(struct cs_pages *pages, const struct cs_key *low, uint32_t number,
                  const struct cs_key *fence, const struct cs_record *first)
{
    int result;
    assert(pages->root_level > 0 && cs_key_compare(&first->key, fence) < 0);
    do {
        result = try_fence(pages, low, number, fence, first);
    } while (result > 0);
    return result;
}
