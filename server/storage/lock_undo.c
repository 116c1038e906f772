/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that are taken back: whoever asked has been told that he did not get it, so that he must have what
 * he had before, neither more nor less. That is kept with each record that is held until something else
 * changes it: then its holder has gone on, and what he has is what he set since.
 *
 * A record that made something shared that its holder had alone is not taken back, since others may share it
 * by now. What he gets back is never in anybody's way: the record was.
 */
#include <stdlib.h>

#include "lock_internal.h"

/* Whether the record takes the place of something of that one. */
static bool replaces(const struct lock *lock, const struct lock *other)
{
    return other != lock && other->held && other->ino == lock->ino &&
           lock_ranges_meet(&other->ranges[0], &lock->ranges[0]);
}

static struct lock_piece piece_of(const struct lock *lock, const struct lock_range *within)
{
    struct lock_piece piece = {
        .range = lock->ranges[0], .pid = lock->record->pid, .exclusive = lock->exclusive};
    if (piece.range.start < within->start)
        piece.range.start = within->start;
    if (piece.range.end > within->end)
        piece.range.end = within->end;
    return piece;
}

void lock_undo_forget(struct lock *lock)
{
    struct lock_undo *undo = &lock->record->undo;
    free(undo->pieces);
    *undo = (struct lock_undo){0};
}

void lock_undo_note(struct lock *lock)
{
    struct lock_undo *undo = &lock->record->undo;
    uint32_t count = 0;
    undo->range = lock->ranges[0];
    list_each(&lock->record->holder->locks, link, after)
    {
        const struct lock *other = lock_of_holder(link);
        if (!replaces(lock, other))
            continue;
        count++;
        if (other->exclusive && !lock->exclusive)
            undo->id = 0;
    }
    if (undo->id == 0 || count == 0)
        return;
    undo->pieces = malloc(count * sizeof *undo->pieces);
    if (!undo->pieces) {
        undo->id = 0;
        return;
    }
    list_each(&lock->record->holder->locks, link, after)
    {
        const struct lock *other = lock_of_holder(link);
        if (replaces(lock, other))
            undo->pieces[undo->piece_count++] = piece_of(other, &undo->range);
    }
}

static struct lock *find(const struct lock_client *client, uint64_t id)
{
    list_each(&client->holders, at, after)
    {
        list_each(&list_item(at, struct lock_holder, in_client)->locks, link, behind)
        {
            struct lock *lock = lock_of_holder(link);
            if (lock->held && lock->record->undo.id == id)
                return lock;
        }
    }
    return NULL;
}

/* One for each piece, and one for the second half of what is cut: all of them, or none. */
static bool make_room(struct list *room, uint32_t count)
{
    list_init(room);
    for (uint32_t i = 0; i <= count; i++) {
        struct lock *lock = lock_record_new();
        if (!lock) {
            struct list_link *link;
            while ((link = list_pop(room)))
                lock_free(lock_of_holder(link));
            return false;
        }
        list_push_back(room, &lock->in_owner);
    }
    return true;
}

static void give_back(struct lock_table *table, struct lock_holder *holder, struct lock_file *file,
                      struct lock *lock, const struct lock_piece *piece)
{
    lock->ino = file->by_ino.key;
    lock->exclusive = piece->exclusive;
    lock->held = true;
    lock->ranges[0] = piece->range;
    lock->record->pid = piece->pid;
    lock->record->serial = ++table->serial;
    lock_record_join(lock, holder, file);
    list_push_front(&file->locks, &lock->in_file);
    lock_record_join_neighbours(table, lock);
}

bool lock_record_undo(struct lock_table *table, const struct lock_client *client, uint64_t id)
{
    struct lock *lock = id ? find(client, id) : NULL;
    struct list room;
    if (!lock || !make_room(&room, lock->record->undo.piece_count))
        return false;
    struct lock_holder *holder = lock->record->holder;
    struct lock_file *file = lock->file;
    struct lock_undo undo = lock->record->undo;
    struct lock *spare = lock_of_holder(list_pop(&room));
    lock->record->undo = (struct lock_undo){0};
    lock_record_cut(table, lock, &undo.range, &spare);
    if (spare)
        lock_free(spare);
    for (uint32_t i = 0; i < undo.piece_count; i++)
        give_back(table, holder, file, lock_of_holder(list_pop(&room)), &undo.pieces[i]);
    free(undo.pieces);
    lock_holder_drop_unused(holder);
    lock_settle_all(table, NULL);
    lock_file_drop_unused(table, file);
    return true;
}
