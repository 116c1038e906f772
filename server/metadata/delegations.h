/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delegations.h: promises to clients that what they were told of an inode stays so until they are told
 * otherwise, so that they need not ask again. The word and the idea are NFS's (RFC 8881, section 10.4), as
 * is that they end by time where nobody answers.
 *
 * What it promises
 *  - While a client has a delegation on an inode, the inode's record does not change, and the path it was
 *    asked by leads to it. Who wants to change that waits until the client has answered a recall, or has
 *    not been heard for DELEG_TERM_NS. Nothing can get around that: the records themselves ask
 *    (records_watch()).
 *  - A client's own changes are not held up by what it has itself, as it forgets what it knows of the paths
 *    and of the inode that it names before it asks. What it has of the inode by another path is recalled
 *    like anybody's.
 *  - A server that was just started knows nothing of what an earlier one has promised, and changes no inode
 *    for DELEG_TERM_NS, if the store says that there were any promises. Of holds it knows.
 *  - A client may hold a directory: then nobody else looks at its names or attributes, or changes them, until
 *    that was recalled (delegations_hold.c). It makes and removes files there in its own memory, and tells
 *    them before it answers the recall; request_held.c takes them.
 *  - What a transaction that is undone has given and recalled stays so: others wait for a client that was not
 *    told of it, or one is told in vain.
 *
 * Recalls are told by the answer to `delegation_wait`, which a client with delegations has under way all
 * the time. A client's delegations have a generation: when the server has dropped them, for whatever
 * reason, the next ones have a higher one.
 *
 * Threads: belongs to the service's thread.
 */
#ifndef METADATA_DELEGATIONS_H
#define METADATA_DELEGATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "counters.h"
#include "list.h"
#include "namespace.h"
#include "records.h"
#include "table.h"
#include "turn.h"
#include "wire.h"

struct request;
struct service;

/* So long after a request of a client was heard its delegations hold. The client counts from when it sent
 * it. */
#define DELEG_TERM_NS (LIMITS_DELEGATION_MS * UINT64_C(1000000))

enum deleg_count {
    DELEG_GIVEN,
    DELEG_RECALLED,
    DELEG_RECALLED_ALL,
    DELEG_EXPIRED,
    DELEG_WAITS,
    DELEG_HOLDS_GIVEN,
    DELEG_HOLDS_RECALLED,
    DELEG_NAMES_REQUESTS,
    DELEG_NAMES_MADE,
    DELEG_NAMES_REMOVED,
    DELEG_COUNT
};

/* Directories of which a hold was recalled of late. */
enum { DELEG_CONTENDED_MAX = 32 };
struct deleg_contended {
    uint64_t ino;
    uint64_t until_ns; /* monotonic; 0: none */
};

/* Directories that nobody holds any more, though the store says so still. */
struct deleg_gone {
    uint64_t ino;
    bool by_silence; /* who held it does not know that */
};
struct deleg_given_up {
    struct deleg_gone *all;
    uint32_t count, room;
    uint32_t running; /* so many of the first are being taken out of the store */
    bool is_submitted;
    uint64_t retry_ns; /* not before that, after a failure; monotonic */
};

struct delegations {
    struct table by_ino; /* struct delegation: several may be of one inode */
    struct table ways;   /* struct deleg_way: directories that paths go through by which any was given */
    struct table clients_by_id;
    struct list clients; /* struct deleg_client */
    struct list parked;  /* those of them with a delegation_wait that is not answered, by when it is to be */
    struct table waiters_by_ino;
    struct list waiters; /* struct deleg_waiter, by when they run again */
    uint32_t way_waiters;
    bool let_go;         /* of something, so that waiters may have nothing to wait for any more */
    bool recalls;        /* something is to be told */
    uint64_t generation; /* the latest one */
    uint64_t trusted_ns; /* until then what an earlier server has promised holds; monotonic */
    uint32_t holds;      /* how many directories are held */
    struct deleg_contended contended[DELEG_CONTENDED_MAX]; /* the next one goes to contended_next */
    uint32_t contended_next;
    enum { DELEG_NOT_NOTED, DELEG_BEING_NOTED, DELEG_NOTED } noted; /* in the store, that there are any */
    struct job note;
    struct deleg_given_up given_up;
    struct job give_up;
    struct counter counters[DELEG_COUNT];
};

/* A job that has to wait for recalls. */
struct deleg_waiter {
    bool needed; /* set where it has; reset before each run of the job */
    bool way;    /* for all that was given by paths through the directory `ino` */
    uint64_t ino;
    uint64_t until_ns; /* monotonic */
    struct job *job;
    struct list_link link;
    struct table_link by_ino;
};

/* What a job does to inodes. */
struct deleg_change {
    struct service *service;
    struct deleg_waiter *waiter;
    struct request *request; /* NULL: nobody's */
    struct records_watch watch;
};

/* `noted`: the store says that there were any. `epoch` grows with each start. */
void delegations_init(struct delegations *delegations, uint64_t epoch, bool noted, uint64_t now_ns);
/* Directories that clients held when an earlier server ended are theirs until they are back, for as long as a
 * lease. */
int delegations_restore(struct delegations *delegations, struct store_txn *txn, uint64_t now_ns,
                        uint64_t lease_ns);
void delegations_free(struct delegations *delegations);
/* Leaves what waits without an answer (-ECANCELED). */
void delegations_dismiss(struct service *service);
/* The client is heard: what it has holds from now on. */
void delegations_heard(struct delegations *delegations, const uint8_t client[16], uint64_t now_ns);

/* From here on the transaction's changes of inodes are the job's, until records_watch() with NULL: what is
 * relied upon is refused with -EAGAIN, and the job has to wait, which `change->waiter` tells. */
void delegations_watch(struct deleg_change *change, struct store_txn *txn);
/* After the turn: the job runs again when there is nothing to wait for. */
void delegations_wait(struct service *service, struct deleg_waiter *waiter);

/* Gives the request's client a delegation on the inode that a path led to by `ns->ways`, where there can be
 * one; `name` is the path's (path_name()). 0: tells only what the client has (what it had of the inode by
 * this request's own change: `kept`). */
void delegations_give(struct request *request, const struct ns *ns, const struct inode *inode, uint64_t name,
                      struct wire_delegation *out);
/* A name that the folder does not have is known to the client for as long as the folder's attributes are; so
 * here a delegation is given on the folder, which was not changed lately. -ENOENT: there is none. */
int delegations_give_absent(struct request *request, const struct ns *ns, const struct inode *folder,
                            const char *path, struct wire_delegation *out);

/* ---- directories that a client holds (delegations_hold.c) ---- */

/* What is to be told of what is in one. */
#define DELEG_OTHERS_BYTES (LIMITS_HELD_OTHERS_MAX * (WEFT_NAME_BYTES_MAX + 16))
/* An open has made this file: its client gets to hold the directory, where that can be, and `reply` says so.
 * `others` has room for DELEG_OTHERS_BYTES, and must stay until the answer is encoded. */
int delegations_hold(struct request *request, const struct ns *ns, const struct inode *file, uint8_t *others,
                     struct wire_open_reply *reply);
/* Numbers of its own for the request's client. */
int delegations_numbers(const struct request *request, const struct ns *ns, struct wire_inode_range *range);
/* What a client that tells names of this directory has; `given`: it holds it, and is not asked to give that
 * up. */
void delegations_held(const struct request *request, uint64_t folder, struct wire_delegation *out);
/* Others may have looked at what the client tells of now. */
bool delegations_is_late(const struct request *request, uint64_t folder);

/* A request that waits to be told of recalls; after the turn. */
void delegations_park(struct request *request);
/* Tells what is to be told, and lets those run that need not wait any more. */
void delegations_run(struct service *service, uint64_t now_ns);
/* When it has to; 0: never. */
uint64_t delegations_due_ns(const struct delegations *delegations);
/* Forgets clients that were not heard for long. */
void delegations_tick(struct service *service, uint64_t now_ns);
static inline void delegations_count(struct delegations *delegations, enum deleg_count what)
{
    counter_add(&delegations->counters[what], 1);
}
/* Jobs wait. */
static inline bool delegations_busy(const struct delegations *delegations)
{
    return !list_empty(&delegations->waiters);
}

#endif
