/* SPDX-License-Identifier: Apache-2.0 */
#include "attr_entries.h"

#include <stdlib.h>
#include <string.h>

#include "weft_limits.h"

void attr_entries_init(struct attr_entries *entries)
{
    *entries = (struct attr_entries){0};
    list_init(&entries->all);
    list_init(&entries->absents);
}

void attr_entries_free(struct attr_entries *entries)
{
    attr_entries_drop_all(entries);
    free(entries->by_name.slots);
    free(entries->by_ino.slots);
    free(entries->absents_by_name.slots);
}

/* ---- finding ----------------------------------------------------------------- */

struct attr_entry *attr_entries_find(const struct attr_entries *entries, uint64_t name, const char *path)
{
    for (struct table_link *link = table_find(&entries->by_name, name); link; link = link->next) {
        struct attr_entry *entry = table_item(link, struct attr_entry, by_name);
        if (link->key == name && (!path || strcmp(entry->path, path) == 0))
            return entry;
    }
    return NULL;
}

struct attr_entry *attr_entries_find_ino(const struct attr_entries *entries, uint64_t ino)
{
    struct table_link *link = table_find(&entries->by_ino, ino);
    return link ? table_item(link, struct attr_entry, by_ino) : NULL;
}

static struct attr_absent *find_absent(const struct attr_entries *entries, uint64_t name, const char *path)
{
    for (struct table_link *link = table_find(&entries->absents_by_name, name); link; link = link->next) {
        struct attr_absent *absent = table_item(link, struct attr_absent, by_name);
        if (link->key == name && (!path || strcmp(absent->path, path) == 0))
            return absent;
    }
    return NULL;
}

bool attr_entries_absent(const struct attr_entries *entries, uint64_t name, const char *path)
{
    return find_absent(entries, name, path) != NULL;
}

/* ---- dropping ----------------------------------------------------------------- */

static void drop_absent(struct attr_entries *entries, struct attr_absent *absent)
{
    table_remove(&entries->absents_by_name, &absent->by_name);
    list_remove(&absent->link);
    list_remove(&absent->age);
    free(absent);
}

void attr_entries_drop(struct attr_entries *entries, struct attr_entry *entry)
{
    if (!entry)
        return;
    while (!list_empty(&entry->absents))
        drop_absent(entries, list_item(list_first(&entry->absents), struct attr_absent, link));
    table_remove(&entries->by_name, &entry->by_name);
    table_remove(&entries->by_ino, &entry->by_ino);
    list_remove(&entry->link);
    free(entry);
}

void attr_entries_drop_name(struct attr_entries *entries, uint64_t name)
{
    struct attr_entry *entry;
    struct attr_absent *absent;
    while ((entry = attr_entries_find(entries, name, NULL)))
        attr_entries_drop(entries, entry);
    while ((absent = find_absent(entries, name, NULL)))
        drop_absent(entries, absent);
}

void attr_entries_drop_all(struct attr_entries *entries)
{
    while (!list_empty(&entries->all))
        attr_entries_drop(entries, list_item(list_first(&entries->all), struct attr_entry, link));
}

/* ---- adding -------------------------------------------------------------------- */

struct attr_entry *attr_entries_add(struct attr_entries *entries, uint64_t name, const char *path,
                                    const struct weft_attr *attr)
{
    struct attr_entry *entry = attr_entries_find_ino(entries, attr->ino);
    if (entry && !entry->changing && strcmp(entry->path, path) == 0) { /* the promise goes on */
        entry->attr = *attr;
        return entry;
    }
    attr_entries_drop(entries, entry);
    attr_entries_drop_name(entries, name);
    if (entries->by_name.count >= LIMITS_DELEGATIONS_MAX)
        attr_entries_drop(entries, list_item(list_first(&entries->all), struct attr_entry, link));
    const size_t length = strlen(path);
    entry = malloc(sizeof *entry + length + 1);
    if (!entry)
        return NULL;
    *entry = (struct attr_entry){.attr = *attr, .id = ++entries->latest_id};
    list_init(&entry->absents);
    memcpy(entry->path, path, length + 1);
    if (table_add(&entries->by_name, &entry->by_name, name)) {
        free(entry);
        return NULL;
    }
    if (table_add(&entries->by_ino, &entry->by_ino, attr->ino)) {
        table_remove(&entries->by_name, &entry->by_name);
        free(entry);
        return NULL;
    }
    list_push_back(&entries->all, &entry->link);
    return entry;
}

void attr_entries_add_absent(struct attr_entries *entries, struct attr_entry *folder, uint64_t name,
                             const char *path)
{
    if (find_absent(entries, name, path))
        return;
    if (entries->absents_by_name.count >= LIMITS_DELEGATIONS_MAX)
        drop_absent(entries, list_item(list_first(&entries->absents), struct attr_absent, age));
    const size_t length = strlen(path);
    struct attr_absent *absent = malloc(sizeof *absent + length + 1);
    if (!absent)
        return;
    memcpy(absent->path, path, length + 1);
    if (table_add(&entries->absents_by_name, &absent->by_name, name)) {
        free(absent);
        return;
    }
    list_push_back(&folder->absents, &absent->link);
    list_push_back(&entries->absents, &absent->age);
}
