/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h: a hash table of items that are named by a 64-bit number; the links
 * stand inside the items. It grows by itself; when memory for that is out it
 * stays as it is and gets slower.
 *
 * Threads: none of its own.
 */
#ifndef COMMON_TABLE_H
#define COMMON_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "list.h"

struct table_link {
    struct table_link *next;
    uint64_t key;
};

struct table {
    struct table_link **slots; /* NULL until the first item */
    size_t slot_count;         /* a power of two */
    size_t count;
};

static inline size_t table_slot(const struct table *table, uint64_t key)
{
    return (size_t)layout_hash(key) & (table->slot_count - 1);
}

/* NULL when there is none. Several items may have one key: go on with link->next and compare. */
static inline struct table_link *table_find(const struct table *table, uint64_t key)
{
    if (!table->slot_count)
        return NULL;
    struct table_link *link = table->slots[table_slot(table, key)];
    while (link && link->key != key)
        link = link->next;
    return link;
}

static inline void table_grow(struct table *table)
{
    size_t slot_count = table->slot_count ? table->slot_count * 2 : 64;
    struct table_link **slots = calloc(slot_count, sizeof *slots);
    if (!slots)
        return;
    struct table old = *table;
    table->slots = slots;
    table->slot_count = slot_count;
    for (size_t i = 0; i < old.slot_count; i++) {
        for (struct table_link *link = old.slots[i], *next; link; link = next) {
            struct table_link **slot = &slots[table_slot(table, link->key)];
            next = link->next;
            link->next = *slot;
            *slot = link;
        }
    }
    free(old.slots);
}

/* 0, or -1 when memory for the very first slots is out. */
static inline int table_add(struct table *table, struct table_link *link, uint64_t key)
{
    if (table->count >= table->slot_count)
        table_grow(table);
    if (!table->slot_count)
        return -1;
    struct table_link **slot = &table->slots[table_slot(table, key)];
    link->key = key;
    link->next = *slot;
    *slot = link;
    table->count++;
    return 0;
}

static inline void table_remove(struct table *table, struct table_link *link)
{
    struct table_link **at = &table->slots[table_slot(table, link->key)];
    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    link->next = NULL;
    table->count--;
}

/* Hands every item to `each`, which may free it, and frees what the table has made: it is empty then. */
static inline void table_clear(struct table *table, void (*each)(struct table_link *link))
{
    for (size_t i = 0; i < table->slot_count; i++) {
        for (struct table_link *link = table->slots[i], *next; link; link = next) {
            next = link->next;
            each(link);
        }
    }
    free(table->slots);
    *table = (struct table){0};
}

/* The key of an identity that was drawn at random; those that share it are to be compared. */
static inline uint64_t table_id_key(const uint8_t id[16])
{
    uint64_t key;
    memcpy(&key, id, sizeof key);
    return key;
}

#define table_item(link, type, member) list_item(link, type, member)

#endif
