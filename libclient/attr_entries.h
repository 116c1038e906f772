/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attr_entries.h: attributes by path and by inode, and names that a folder does not have, which are known for
 * as long as the folder's attributes are. What attr_cache.h keeps; whether it holds is that one's business.
 *
 * Threads: guarded by whoever has it.
 */
#ifndef CLIENT_ATTR_ENTRIES_H
#define CLIENT_ATTR_ENTRIES_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"
#include "table.h"
#include "weft/weft.h"

struct attr_entry {
    struct table_link by_name, by_ino;
    struct list_link link; /* in entries->all */
    uint64_t id;           /* no other has had it */
    bool changing;         /* this session writes to the file: not to be found meanwhile */
    struct weft_attr attr;
    struct list absents; /* names that this folder does not have: struct attr_absent */
    char path[];
};

struct attr_absent {
    struct table_link by_name;
    struct list_link link; /* in the folder's entry->absents */
    struct list_link age;  /* in entries->absents */
    char path[];
};

struct attr_entries {
    struct table by_name, by_ino, absents_by_name;
    struct list all;     /* the oldest first */
    struct list absents; /* likewise */
    uint64_t latest_id;
};

void attr_entries_init(struct attr_entries *entries);
void attr_entries_free(struct attr_entries *entries);

/* `name` is path_name() of the path. NULL when there is none; `path` NULL: one of that name, whatever its
 * path is. */
struct attr_entry *attr_entries_find(const struct attr_entries *entries, uint64_t name, const char *path);
struct attr_entry *attr_entries_find_ino(const struct attr_entries *entries, uint64_t ino);
bool attr_entries_absent(const struct attr_entries *entries, uint64_t name, const char *path);

/* In the place of what was known of the path and of the inode by another path. The entry, which is that of
 * before if only its attributes are others; NULL when memory is out. */
struct attr_entry *attr_entries_add(struct attr_entries *entries, uint64_t name, const char *path,
                                    const struct weft_attr *attr);
/* The folder does not have what this path names. */
void attr_entries_add_absent(struct attr_entries *entries, struct attr_entry *folder, uint64_t name,
                             const char *path);
/* With the names that it does not have. NULL is allowed. */
void attr_entries_drop(struct attr_entries *entries, struct attr_entry *entry);
/* All that is known by such a name. */
void attr_entries_drop_name(struct attr_entries *entries, uint64_t name);
void attr_entries_drop_all(struct attr_entries *entries);

#endif
