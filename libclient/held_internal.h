/* SPDX-License-Identifier: Apache-2.0 */
/*
 * held_internal.h: what the files of held.h share: held.c (folders and names), held_file.c (files that are
 * open), held_tell.c (requests that tell of them). All of it wants the session's lock held.
 */
#ifndef CLIENT_HELD_INTERNAL_H
#define CLIENT_HELD_INTERNAL_H

#include <time.h>

#include "held.h"

/* Names that one request tells of when nobody waits for it. */
enum { HELD_BATCH = LIMITS_NAMINGS_MAX / 2 };

struct held_range {
    struct wire_inode_range given;
    uint32_t used;
};

struct held_folder {
    struct table_link by_path;
    struct list_link link; /* in held->folders */
    uint64_t ino;
    uint64_t generation;      /* of the delegations among which it is held */
    bool leaves;              /* it is held no more, and goes when all is told */
    struct weft_attr pattern; /* of files that are made in it */
    char *hints;
    uint32_t small_max;
    struct held_range range, spare;
    struct list names;   /* held_name */
    struct list changes; /* held_name: to be told of, the oldest first */
    struct list sent;    /* held_name: those that the request under way tells of */
    uint32_t change_count;
    bool is_sending;
    uint64_t sent_ns;
    uint64_t refused_ns; /* since when the metadata server refuses all; 0: it does not */
    struct rpc_call call;
    uint8_t *body;
    weft_session_t *session;
    char path[];
};

struct held_name {
    struct table_link by_path, by_ino;
    struct list_link link;   /* in folder->names */
    struct list_link change; /* in folder->changes or ->sent */
    struct held_folder *folder;
    enum { HELD_MADE, HELD_THERE, HELD_REMOVED } state; /* HELD_THERE: the metadata server has it */
    bool is_sent;
    bool was_sent;   /* the metadata server may have done it, though it has not said so */
    bool is_known;   /* the attributes are what stands here */
    bool is_other;   /* no regular file */
    bool is_foreign; /* it was there before, and may be somebody else's */
    uint64_t seen;   /* held->attr_changes when the attributes were known last */
    uint64_t ino;
    uint32_t mode;
    uint32_t size;
    int64_t made_ns, changed_ns;
    uint8_t *data;     /* of a file that is made: all that is in it */
    weft_file_t *file; /* it is open here alone */
    char path[];
};

/* A thread that waits until all is told. */
struct held_waiter {
    struct weft_op op;
    struct list_link link;
};

struct held {
    struct table folders;  /* by path_name() */
    struct table names;    /* likewise */
    struct table inos;     /* names by their numbers */
    struct list all;       /* held_folder */
    struct list waiters;   /* held_waiter */
    uint32_t leaving;      /* folders */
    uint64_t changed_ns;   /* since when there are changes; 0: there are none */
    uint64_t retry_ns;     /* not before that, after a failure */
    uint64_t attr_changes; /* requests of this session that change attributes by paths */
    int wait_error;        /* for those who wait: a name that could not be done */
    int failed;            /* a negative errno for the next weft_sync(): something was lost */
};

void held_name_drop(struct held_name *name);
void held_folder_drop(struct held_folder *folder);
/* The name is to be told of. */
void held_changed(struct held_name *name);
/* What a stat tells of it; by what is known here. */
void held_attr(const struct held_name *name, struct weft_attr *attr);
/* For its times: the host's clock, as the metadata server's are by its. */
static inline int64_t held_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}
/* The last part of the name's path. */
const char *held_name_text(const struct held_name *name);
/* What is not told by now never will be: says so. */
void held_lose_all(struct held_folder *folder);
/* Sends what there is, unless a request is under way; `all`: files that are open here, too. */
void held_send(struct held_folder *folder, bool all);
static inline bool held_is_idle(const struct held_folder *folder)
{
    return folder->change_count == 0 && !folder->is_sending;
}

#endif
