/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock_internal.h: what the files of the table of locks share.
 */
#ifndef STORAGE_LOCK_INTERNAL_H
#define STORAGE_LOCK_INTERNAL_H

#include "lock_table.h"

/* The locks of one file. It is there as long as they are. */
struct lock_file {
    struct table_link by_ino;
    struct list locks;
    uint32_t record_count; /* of them */
};

struct lock_table {
    struct table files;   /* by ino */
    struct table names;   /* by hash */
    struct table clients; /* by hash */
    struct list unsettled; /* locks that have to look again for what they wait for */
    uint64_t serial;       /* the latest one given to a record, or a client as its epoch */
    void (*granted)(void *arg, struct lock *lock);
    void *arg;
};

/* Who has records: a number of a client's. There as long as they are. */
struct lock_holder {
    struct lock_client *client;
    uint64_t number;
    struct list_link in_client;
    struct list locks;
};

/* A run of bytes that the holder had before. */
struct lock_piece {
    struct lock_range range;
    uint32_t pid;
    bool exclusive;
};

/* What a record that is held has taken the place of, as long as nothing else has changed it since. */
struct lock_undo {
    uint64_t id; /* of the request; 0: it can't be undone */
    struct lock_range range;
    struct lock_piece *pieces; /* NULL: nothing */
    uint32_t piece_count;
};

/* What a lock is more when it is a record. */
struct lock_record {
    struct lock_holder *holder;
    uint64_t serial; /* of what is held: another one when it grows */
    uint32_t pid;
    bool detect;
    bool pass;
    struct lock *spare; /* for the second half of a record that is cut in the middle by this one */
    struct lock_undo undo;
};

/* ---- lock_table.c ------------------------------------------------------------- */

static inline struct lock *lock_of(struct list_link *in_file)
{
    return list_item(in_file, struct lock, in_file);
}

bool lock_conflict(const struct lock *a, const struct lock *b);
uint64_t lock_name_key(const struct lock_name *name);
struct lock_file *lock_file_get(struct lock_table *table, uint64_t ino);
void lock_file_drop_unused(struct lock_table *table, struct lock_file *file);
/* A lock that is not in its file yet, and belongs at the end: held, or behind the one that it waits for. */
void lock_settle(struct lock *lock);
/* All that wait for this one look again with lock_settle_all(); `from` as of settle(), or NULL. */
void lock_unsettle(struct lock_table *table, struct lock *lock);
void lock_settle_all(struct lock_table *table, struct list_link *from);

/* ---- lock_record.c -------------------------------------------------------------- */

static inline struct lock *lock_of_holder(struct list_link *in_owner)
{
    return list_item(in_owner, struct lock, in_owner);
}

static inline bool lock_ranges_meet(const struct lock_range *a, const struct lock_range *b)
{
    return a->start < b->end && b->start < a->end;
}

/* A lock with one range and the room for what a record is more. */
struct lock *lock_record_new(void);
/* Frees the memory, spare and all. */
void lock_free(struct lock *lock);
/* In its holder's list, and its file's count. */
void lock_record_join(struct lock *lock, struct lock_holder *holder, struct lock_file *file);
/* Takes the bytes out of what is held; `spare` becomes the second half when it is cut in the middle. */
void lock_record_cut(struct lock_table *table, struct lock *held, const struct lock_range *out,
                     struct lock **spare);
/* The record takes in those of its kind that it touches. */
void lock_record_join_neighbours(struct lock_table *table, struct lock *lock);
void lock_holder_drop_unused(struct lock_holder *holder);
/* A record that waits need not stand behind this one. */
bool lock_record_passes(const struct lock *lock, const struct lock *other);
/* The record is held now: puts it in the place of what its holder had. */
void lock_record_take(struct lock_table *table, struct lock *lock);
/* Out of its holder, who goes with the last one. */
void lock_record_leave(struct lock *lock);
void lock_clients_free(struct lock_table *table);

/* ---- lock_undo.c ---------------------------------------------------------------- */

/* The record is about to be put in the place of what its holder has. */
void lock_undo_note(struct lock *lock);
/* Something else has changed it. */
void lock_undo_forget(struct lock *lock);

#endif
