/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lead.h: a shard as the leader of groups with several members (docs/replication.md): it puts the changes of
 * a file's bytes in order, and gives each to all members who are to have it.
 *
 * What it promises
 *  - Of two changes that have a byte in common, the second begins, here and on all members, when the first
 *    has ended.
 *  - A change ends well when every member has it of which readers could be told that it is current.
 *  - A member that fails is reported until the map says that it is out; a change waits for that, and not for
 *    the member. When the map says that another one leads, the change ends with -ESTALE.
 *
 * Groups with one member have no part in this.
 *
 * Threads: belongs to its shard's.
 */
#ifndef STORAGE_LEAD_H
#define STORAGE_LEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"
#include "map.h"

struct lead;
struct store_object;
struct shard;
struct shard_io;

/* Bytes of one object. */
struct lead_range {
    uint32_t position;
    uint64_t start, end;
};

enum { LEAD_RANGES_FEW = 4 };

/* A change in the line; part of what makes it. */
struct lead_change {
    struct list_link link;
    uint64_t ino;
    struct lead_range few[LEAD_RANGES_FEW];
    struct lead_range *ranges; /* in rising order; NULL: it is in no line */
    uint32_t range_count;
    bool runs;
    void (*begin)(struct lead_change *change); /* its turn has come */
};

int lead_open(struct shard *shard);
/* Nothing may be in line. */
void lead_close(struct shard *shard);

/* ---- lead.c: the line ------------------------------------------------------- */

/* Whether groups have several members: then all changes go into the line, also those of groups that another
 * one leads by now, which is noticed when their turn has come. */
bool lead_has_others(const struct shard *shard);
/* Whether each part of a file that is so long (io->size) can be: -EFBIG. */
int lead_check_size(const struct shard_io *io);
/* Ranges are made by one of these; -ENOMEM, -EFBIG. Of all runs of a request, or whole objects at all
 * positions. */
int lead_of_runs(struct shard_io *io);
int lead_of_file(struct shard_io *io);
int lead_of_positions(struct lead_change *change, uint32_t count);
/* The same of one object. */
void lead_of_object(struct lead_change *change, uint32_t position, uint64_t start, uint64_t end);
/* Puts a change, of which the ranges are made, in line; `begin` runs when its turn has come, perhaps at
 * once. */
void lead_enter(struct shard *shard, struct lead_change *change, uint64_t ino,
                void (*begin)(struct lead_change *change));
/* It has ended; whose turn has come begins with the next tick, and not inside of what has ended. Nothing when
 * it is in no line. */
void lead_leave(struct shard *shard, struct lead_change *change);

/* ---- lead_give.c: giving to the others ---------------------------------------- */

/* Whether we lead all that a write is to change, by the present map. If not, io is stale. */
bool lead_check(struct shard_io *io);
/* Each gives the request's change to all members who are to have it, and adds to io->pending what is under
 * way; io->end() runs when the last has ended. Errors are the request's. */
void lead_give_write(struct shard_io *io);
void lead_give_file(struct shard_io *io); /* object_truncate, object_punch, sync */
/* All that was given before is to be durable. As lead_give_write(). */
void lead_give_settle(struct shard_io *io);
/* The same of the removal of the file that io->capability names just now; `ended` runs for each that has
 * been added to *pending. -ENOMEM */
int lead_give_removal(struct shard_io *io, uint32_t *pending, void (*ended)(void *arg, int error), void *arg);

/* What object_mend asks for, of which `length` bytes are in io->buffer; as lead_give_write(). */
void lead_give_piece(struct shard_io *io, size_t length);

/* ---- lead_copy.c: what becomes of it -------------------------------------------- */

/* Our own store could not make a change that others may have made: they go on without us. True: that is to be
 * decided, and io->end() runs once more. */
bool lead_failed_here(struct shard_io *io);
/* When lead_tick() is to be called; -1: not before something else happens. */
int lead_timeout_ms(const struct shard *shard);
void lead_tick(struct shard *shard);
/* A new map: what waits for one goes on. */
void lead_map_changed(struct shard *shard);

/* ---- lead_sync.c: bringing others up to date ------------------------------------ */

/* Begins, or goes on with, what members of our groups are to get that they have missed. To be called by
 * ticks, and when the map has changed. */
void lead_sync_look(struct shard *shard);
/* What is under way ends as soon as it can. */
void lead_sync_stop(struct shard *shard);
/* That server has not got something: if it is being brought up to date, that begins anew. */
void lead_sync_void(struct shard *shard, uint32_t server);

/* Whether it was said of a member of the group that it has everything, and the map does not tell yet: others
 * may take it for current. */
bool lead_has_promised(const struct shard *shard, uint32_t group);

/* ---- lead_mend.c: what can't be read any more ------------------------------------ */

/* These bytes of an object (of which only the name is looked at) of that target, by index, can't be read:
 * they are to be taken from another member, if there is one. Returns at once. */
void lead_mend_want(struct shard *shard, uint32_t target, const struct store_object *object, uint64_t offset,
                    uint64_t length);
/* Serves object_mend. */
void lead_mend_serve(struct shard_io *io);

#endif
