/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_recount.h: how much there is of whom and where, counted from the records of inodes and from the names
 * alone, the simplest way, and held against what the metadata server's sums say (usage.h, links.h). Also used
 * by the simulation.
 */
#ifndef TESTS_META_RECOUNT_H
#define TESTS_META_RECOUNT_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "metadata/records.h"
#include "metadata/usage.h"

/* One that is out of memory ends the test. */
#define RECOUNT_PUSH(array, count, item)                                     \
    do {                                                                     \
        if (((count) & ((count)-1)) == 0)                                    \
            (array) = realloc((array), 2 * ((count) + 1) * sizeof *(array)); \
        if (!(array))                                                        \
            abort();                                                         \
        (array)[(count)++] = (item);                                         \
    } while (0)

struct recounted_name {
    uint64_t dir, ino;
};
struct recounted_row {
    enum usage_kind kind;
    uint64_t id;
    struct usage sum;
};
struct recounted_link {
    uint64_t ino, dir;
    uint32_t names;
};

static struct recounting {
    struct inode *inodes; /* sorted */
    size_t inode_count;
    struct recounted_name *names;
    size_t name_count;
    struct recounted_row *rows;
    size_t row_count;
    struct recounted_link *links;
    size_t link_count;
    size_t links_met;
    char text[512];
} recounting;

static inline int recount_wrong(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline int recount_wrong(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(recounting.text, sizeof recounting.text, format, arguments);
    va_end(arguments);
    return -1;
}

/* ---- what there is -------------------------------------------------------- */

static inline int recount_take_inode(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct inode inode;
    (void)arg;
    if (inode_decode(records_key_u64_of(key.data), value.data, value.length, &inode))
        return recount_wrong("%s", err_text());
    RECOUNT_PUSH(recounting.inodes, recounting.inode_count, inode);
    return 0;
}

static inline int recount_take_name(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct recounted_name name = {.dir = records_key_u64_of(key.data)};
    (void)arg;
    memcpy(&name.ino, value.data, sizeof name.ino);
    RECOUNT_PUSH(recounting.names, recounting.name_count, name);
    return 0;
}

static inline struct inode *recount_inode_of(uint64_t ino)
{
    size_t low = 0, high = recounting.inode_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (recounting.inodes[middle].ino < ino)
            low = middle + 1;
        else
            high = middle;
    }
    return low < recounting.inode_count && recounting.inodes[low].ino == ino ? &recounting.inodes[low] : NULL;
}

/* ---- names ---------------------------------------------------------------- */

static inline struct recounted_link *recount_link_of(uint64_t ino, uint64_t dir)
{
    for (size_t i = 0; i < recounting.link_count; i++) {
        if (recounting.links[i].ino == ino && recounting.links[i].dir == dir)
            return &recounting.links[i];
    }
    RECOUNT_PUSH(recounting.links, recounting.link_count, ((struct recounted_link){.ino = ino, .dir = dir}));
    return &recounting.links[recounting.link_count - 1];
}

/* Where it has a name, it may count; `met` counts its names. */
static inline int recount_check_parents(void)
{
    uint32_t *met = calloc(recounting.inode_count + 1, sizeof *met);
    bool *is_right = calloc(recounting.inode_count + 1, sizeof *is_right);
    int result = met && is_right ? 0 : recount_wrong("no memory");
    for (size_t i = 0; i < recounting.name_count && !result; i++) {
        const struct recounted_name *name = &recounting.names[i];
        const struct inode *inode = recount_inode_of(name->ino);
        if (!inode) {
            result = recount_wrong("a name in %" PRIu64 " leads to no inode", name->dir);
            break;
        }
        met[inode - recounting.inodes]++;
        is_right[inode - recounting.inodes] |= inode->parent == name->dir;
        if (!inode_is_dir(inode) && inode->nlink > 1)
            recount_link_of(name->ino, name->dir)->names++;
    }
    for (size_t i = 0; i < recounting.inode_count && !result; i++) {
        const struct inode *inode = &recounting.inodes[i];
        if (inode->ino == INODE_ROOT)
            continue;
        if (met[i] != (inode_is_dir(inode) ? 1 : inode->nlink))
            result = recount_wrong("inode %" PRIu64 " has %u names", inode->ino, met[i]);
        else if (met[i] ? !is_right[i] : inode->parent != 0)
            result = recount_wrong("inode %" PRIu64 " has %u names, none of them in %" PRIu64, inode->ino,
                                   met[i], inode->parent);
    }
    free(met);
    free(is_right);
    return result;
}

static inline int recount_check_link(void *arg, struct store_bytes key, struct store_bytes value)
{
    const uint8_t *bytes = key.data;
    uint32_t names;
    (void)arg;
    if (key.length != 16 || value.length != sizeof names)
        return recount_wrong("a row of links is damaged");
    memcpy(&names, value.data, sizeof names);
    const struct recounted_link *link =
        recount_link_of(records_key_u64_of(bytes), records_key_u64_of(bytes + 8));
    if (link->names != names)
        return recount_wrong("inode %" PRIu64 " has %u names in %" PRIu64 ", and the table says %u",
                             link->ino, link->names, link->dir, names);
    recounting.links_met++;
    return 0;
}

/* ---- sums ----------------------------------------------------------------- */

static inline struct usage *recount_sum_of(enum usage_kind kind, uint64_t id)
{
    for (size_t i = 0; i < recounting.row_count; i++) {
        if (recounting.rows[i].kind == kind && recounting.rows[i].id == id)
            return &recounting.rows[i].sum;
    }
    RECOUNT_PUSH(recounting.rows, recounting.row_count, ((struct recounted_row){.kind = kind, .id = id}));
    return &recounting.rows[recounting.row_count - 1].sum;
}

static inline void recount_add(struct usage *sum, const struct inode *inode)
{
    sum->files += !inode_is_dir(inode);
    sum->dirs += inode_is_dir(inode);
    sum->bytes += inode->bytes;
    sum->size += inode_is_file(inode) ? inode->size : 0;
}

static inline void recount_count(void)
{
    for (size_t i = 0; i < recounting.inode_count; i++) {
        const struct inode *inode = &recounting.inodes[i];
        recount_add(recount_sum_of(USAGE_USER, inode->uid), inode);
        recount_add(recount_sum_of(USAGE_GROUP, inode->gid), inode);
        for (const struct inode *at = inode; at && at->ino != INODE_ROOT && at->parent;
             at = recount_inode_of(at->parent))
            recount_add(recount_sum_of(USAGE_DIR, at->parent), inode);
    }
}

static inline int recount_check_row(const struct recounted_row *row, struct store_txn *txn)
{
    struct usage told;
    const struct usage *sum = &row->sum;
    if (usage_record_get(txn, row->kind, row->id, &told))
        return recount_wrong("%s", err_text());
    if (told.files == sum->files && told.dirs == sum->dirs && told.bytes == sum->bytes &&
        told.size == sum->size)
        return 0;
    return recount_wrong(
        "kind %d, %" PRIu64 ": %" PRIu64 " files, %" PRIu64 " directories, %" PRIu64 " bytes, size %" PRIu64
        ", and the sums say %" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64,
        (int)row->kind, row->id, sum->files, sum->dirs, (uint64_t)sum->bytes, (uint64_t)sum->size, told.files,
        told.dirs, (uint64_t)told.bytes, (uint64_t)told.size);
}

static inline int recount_check_sums(struct store_txn *txn)
{
    uint64_t stored;
    size_t expected = 0;
    recount_count();
    for (size_t i = 0; i < recounting.row_count; i++) {
        const struct recounted_row *row = &recounting.rows[i];
        expected += row->sum.files || row->sum.dirs || row->sum.bytes || row->sum.size;
        if (recount_check_row(row, txn))
            return -1;
    }
    if (store_count(txn, STORE_USAGE, &stored))
        return recount_wrong("%s", err_text());
    return stored == expected
               ? 0
               : recount_wrong("there are %" PRIu64 " sums, and there should be %zu", stored, expected);
}

static inline int recount_check(struct store_txn *txn)
{
    const struct store_bytes all = {"", 0};
    if (usage_is_known(txn) != 1)
        return recount_wrong("the sums are not known");
    if (store_each(txn, STORE_INODES, all, recount_take_inode, NULL) ||
        store_each(txn, STORE_DIRENTS, all, recount_take_name, NULL) || recount_check_parents() ||
        store_each(txn, STORE_LINKS, all, recount_check_link, NULL))
        return *recounting.text ? -1 : recount_wrong("%s", err_text());
    if (recounting.links_met != recounting.link_count)
        return recount_wrong("there are %zu rows of links, and there should be %zu", recounting.links_met,
                             recounting.link_count);
    return recount_check_sums(txn);
}

/* NULL when all is equal, else what is not; it lives until the next call. */
static inline const char *recount(struct store_txn *txn)
{
    recounting = (struct recounting){0};
    int result = recount_check(txn);
    free(recounting.inodes);
    free(recounting.names);
    free(recounting.rows);
    free(recounting.links);
    return result ? recounting.text : NULL;
}

#endif
