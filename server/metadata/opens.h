/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opens.h: who has which file open. It lives in memory; what must outlive a
 * crash (files open for writing) is kept in the store by the caller, too.
 *
 * Handles belong to a client's identity, not to a connection: a client that connects again
 * within its lease finds them as they were.
 *
 * Changes made inside a transaction are seen at once by what follows in it;
 * opens_commit() makes them last, opens_rollback() takes them back. What is set in the structs
 * below without a call stays, and must do no harm then.
 *
 * Threads: belongs to one thread.
 */
#ifndef METADATA_OPENS_H
#define METADATA_OPENS_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"
#include "table.h"

#define OPENS_EPOCH_SHIFT 40 /* a handle is the server's start, then a count */

/* A file that is in use: open, or being worked on. */
struct opens_file {
    struct table_link by_ino; /* key: its ino */
    uint32_t handles;         /* openings of any kind */
    uint32_t writers;         /* those of them for writing */
    uint32_t pins;            /* other reasons to stay */
    uint32_t truncations;     /* under way */
    uint64_t generation;      /* grows whenever a writer or a truncation begins */
    bool dirty;               /* its size is not what the store says, or may not be */
    bool orphan;              /* may have lost its last name */
    struct list openings;     /* struct opens_handle */
    struct list_link journal_link;
    bool changed;                /* in the present transaction; before it: */
    bool was_dirty, was_orphan;

    /* small.c's, of a small file */
    bool spilling;          /* what is in it is on its way to the storage servers, and does not change */
    uint32_t lease_refusals; /* those who wait for leases to end: there are to be no new ones */

    struct settling *settling; /* settle.c's: its size is being asked for, or is to be */
    /* agent.c's: work for the storage servers, done one after the other */
    bool working;
    struct list works;
};

struct opens_client {
    struct table_link by_id;
    uint8_t id[16];
    uint32_t connections;
    uint64_t met;            /* connections so far */
    bool seen;               /* since this server started */
    bool reconnected;        /* so requests may come again */
    bool leaving;            /* a job that closes its handles is under way */
    uint64_t lost_ns;        /* when the last connection went; monotonic */
    uint64_t settled_pruned; /* answers below this request have been dropped */
    struct list handles;
    struct list_link link; /* in opens->clients */
};

struct opens_handle {
    struct table_link by_number; /* key: the handle */
    struct opens_file *file;
    struct opens_client *client;
    uint32_t access;     /* WIRE_ACCESS_* */
    uint64_t request_id; /* that opened it */
    uint64_t generation; /* of the file after it was opened */
    bool sole;           /* opened for writing when no one else wrote, and the size was known */
    uint64_t lease_ns;   /* until then its client may rely on what it knows of a small file; monotonic */
    bool recorded;       /* the store has it, or may have it, among those who write */
    struct list_link link;
    struct list_link file_link; /* in file->openings */
    struct list_link journal_link;
    bool added, closed, noted; /* in the present transaction; noted: recorded */
    bool closing;       /* its client has closed it; the store is to hear of it */
    bool lost_pointer;  /* it was given up with its client's lease, and its shared pointer with it */
    bool has_pointer;   /* a shared pointer, in the store, which ends with it */
};

struct opens {
    struct table files, handles, clients_by_id;
    struct list clients;
    struct list journal;      /* struct opens_handle */
    struct list file_journal; /* struct opens_file */
    uint64_t handle_next, handle_first;
};

int opens_new(uint64_t epoch, struct opens **opens);
void opens_free(struct opens *opens); /* NULL is allowed */

/* ---- clients ------------------------------------------------------------ */

struct opens_client *opens_client_find(struct opens *opens, const uint8_t id[16]);
/* Finds or makes it; NULL when memory is out. */
struct opens_client *opens_client_get(struct opens *opens, const uint8_t id[16]);
void opens_client_up(struct opens_client *client);
void opens_client_down(struct opens_client *client, uint64_t now_ns);
/* It must have no connections and no handles. */
void opens_client_drop(struct opens *opens, struct opens_client *client);

/* ---- handles ------------------------------------------------------------ */

/* NULL with a text when memory is out. */
struct opens_handle *opens_add(struct opens *opens, struct opens_client *client, uint64_t ino,
                               uint32_t access, uint64_t request_id);
/* One from an earlier start, under its old number; the store has it. Not inside a transaction of the turn. */
int opens_restore(struct opens *opens, struct opens_client *client, uint64_t ino, uint32_t access,
                  uint64_t number);
/* Likewise, or one that was given up with its client's lease; the store does not have it. NULL with a text
 * when memory is out. */
struct opens_handle *opens_adopt(struct opens *opens, struct opens_client *client, uint64_t ino,
                                 uint32_t access, uint64_t number);
/* From the present transaction on the store has it among those who write. */
void opens_record(struct opens *opens, struct opens_handle *handle);
struct opens_handle *opens_find(struct opens *opens, uint64_t number);
/* The one that this request of the client opened; NULL when there is none. */
struct opens_handle *opens_find_request(struct opens_client *client, uint64_t request_id);
/* False for numbers that no server on this store has given out. */
bool opens_known(const struct opens *opens, uint64_t number);
/* Whether the number was given out before this server's start. */
bool opens_is_earlier(const struct opens *opens, uint64_t number);
void opens_close(struct opens *opens, struct opens_handle *handle);

static inline uint64_t opens_number(const struct opens_handle *handle)
{
    return handle->by_number.key;
}

void opens_commit(struct opens *opens);
void opens_rollback(struct opens *opens);

/* ---- files -------------------------------------------------------------- */

struct opens_file *opens_file_find(struct opens *opens, uint64_t ino);
/* Finds or makes it, and keeps it until as many opens_file_unpin(); NULL with a text when memory is out. */
struct opens_file *opens_file_pin(struct opens *opens, uint64_t ino);
void opens_file_unpin(struct opens *opens, struct opens_file *file);
/* The present transaction has taken its last name. */
void opens_file_orphan(struct opens *opens, struct opens_file *file);
/* What the present transaction notes is its size. That a file is dirty, on the other hand, may stay when it
 * is undone: then the storage servers are asked once too often. */
void opens_file_clean(struct opens *opens, struct opens_file *file);

static inline uint64_t opens_ino(const struct opens_file *file)
{
    return file->by_ino.key;
}
/* Whether the inode must stay although it has no name. */
static inline bool opens_in_use(struct opens *opens, uint64_t ino)
{
    const struct opens_file *file = opens_file_find(opens, ino);
    return file && (file->handles || file->truncations);
}

#endif
