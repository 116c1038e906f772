/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service_internal.h: what the files of the service share. Prototypes stand under the file
 * that defines them.
 */
#ifndef METADATA_SERVICE_INTERNAL_H
#define METADATA_SERVICE_INTERNAL_H

#include "answers.h"
#include "delegations.h"
#include "members.h"
#include "removals.h"
#include "service.h"
#include "settle.h"
#include "small.h"
#include "turn.h"
#include "waits.h"

struct service {
    struct service_config config;
    const struct conf *conf;
    struct opens *opens;
    struct members *members;
    struct turn turn;
    struct agent agent;
    struct settle settle;
    struct removals removals;
    struct small small;
    struct delegations delegations;
    struct waits *waits;  /* for locks, as told by clients */
    uint64_t started_ns;
    bool is_restart;      /* there were clients before */
    struct list parked;   /* struct request: waiting for the storage servers */
    uint8_t *scratch;     /* LIMITS_BODY_MAX bytes for encoding an answer */
    struct counter requests_refused, closes, closes_told, reopens;
    uint64_t refusals_ns; /* the second in which so many were refused */
    uint32_t refusals;

    /* leases.c */
    uint64_t ticked_ns;
    bool silence_noted;   /* a job that takes silent servers down is under way */
    bool groups_noted;    /* likewise one that looks after members of groups */
    bool orphans_done;    /* those of earlier starts */
    bool orphans_noted;
    uint64_t orphans_next;
    uint64_t answers_ns;  /* when old answers were last looked for */
    struct answers_cursor answers_cursor;
    bool answers_noted;
};

struct operation;
struct truncation;

/* A request on its way through a turn. */
struct request {
    struct job job; /* first */
    struct service *service;
    struct service_request *from;
    const struct operation *operation;
    union {
        struct wire_stat stat;
        struct wire_open open;
        struct wire_close close;
        struct wire_reopen reopen;
        struct wire_mkdir mkdir;
        struct wire_mknod mknod;
        struct wire_rmdir rmdir;
        struct wire_unlink unlink;
        struct wire_rename rename;
        struct wire_symlink symlink;
        struct wire_link link;
        struct wire_names names;
        struct wire_readlink readlink;
        struct wire_setattr setattr;
        struct wire_truncate truncate;
        struct wire_readdir readdir;
        struct wire_layout_set layout_set;
        struct wire_hints_set hints_set;
        struct wire_hints_get hints_get;
        struct wire_xattr_set xattr_set;
        struct wire_xattr_get xattr_get;
        struct wire_xattr_list xattr_list;
        struct wire_xattr_remove xattr_remove;
        struct wire_usage usage;
        struct wire_access access;
        struct wire_pointer pointer;
        struct wire_small_read small_read;
        struct wire_small_write small_write;
        struct wire_spill spill;
        struct wire_lock_wait lock_wait;
        struct wire_delegation_wait delegation_wait;
        struct wire_server_register server_register;
        struct wire_heartbeat heartbeat;
        struct wire_group_report group_report;
        struct wire_inodes_gone inodes_gone;
    } body;

    int refusal; /* negative: it made no sense, and this is the answer */
    char *refusal_text;

    uint64_t asked_ns; /* when it came; monotonic */
    uint64_t dir; /* of an open: the directory that holds the file */
    uint64_t met; /* of a reopen: its client's latest connection when it ran first */

    /* what run() made; given back before it runs again */
    uint8_t *reply;
    size_t reply_length;
    struct truncation *truncation;  /* parked: the storage servers are to be asked first */
    struct small_wait wait;         /* it can't run yet */
    struct deleg_waiter recalls;    /* likewise */
    bool kept;                      /* a delegation that its client has goes on, though it makes a change */
    bool parks;                     /* it waits to be told of recalls */
    struct request *twin_of;        /* a parked request that this one repeats */
    struct members_change *change;

    struct list_link link; /* in service->parked, the twin's twins, or where small.c lets it wait */
    struct list twins;
};

enum { ROLE_CLIENT = 1 << WIRE_ROLE_CLIENT, ROLE_STORAGE = 1 << WIRE_ROLE_STORAGE, ROLE_ANY = 7 };

struct operation {
    uint16_t number;
    uint32_t roles;  /* who may ask for it: ROLE_* */
    bool kept;       /* the answer is kept for repeated requests */
    bool alone;
    int (*decode)(const void *data, size_t length, void *body); /* NULL: it has no body */
    bool (*writes)(const struct request *request);
    const struct wire_list *(*closes)(const struct request *request); /* that it brings; NULL: none */
    int (*run)(struct request *request, struct ns *ns);
    void (*committed)(struct request *request); /* after the commit, before the answer; may be NULL */
};

/* ---- operations.c: the table of all operations ---------------------------- */

const struct operation *operation_find(uint16_t number);

/* ---- request.c: a request's way -------------------------------------------- */

/* Takes the encoded answer; `length` may be the negative result of encoding. */
int request_answer(struct request *request, const void *body, ssize_t length);
/* Keeps the answer for repeated requests. */
int request_keep(struct request *request, struct ns *ns);
/* Answers it and its twins, and frees them. err_text() is that of `status`. */
void request_finish(struct request *request, int status);
void request_attr(const struct ns *ns, const struct inode *inode, struct wire_attr *attr);
/* The inode that the client's capability is of. -EACCES: it does not allow `access`; -ESTALE. */
int request_find(const struct request *request, struct ns *ns, const struct wire_capability *capability,
                 uint32_t access, struct inode *inode);
void request_capability(const struct service *service, const struct inode *inode, uint32_t access,
                        struct wire_capability *capability);

/* ---- request_*.c: the operations ------------------------------------------- */

int request_lock_wait(struct request *request, struct ns *ns);

int request_stat(struct request *request, struct ns *ns);
int request_access(struct request *request, struct ns *ns);
int request_readlink(struct request *request, struct ns *ns);
int request_readdir(struct request *request, struct ns *ns);
int request_mkdir(struct request *request, struct ns *ns);
int request_mknod(struct request *request, struct ns *ns);
int request_rmdir(struct request *request, struct ns *ns);
int request_unlink(struct request *request, struct ns *ns);
int request_rename(struct request *request, struct ns *ns);
int request_symlink(struct request *request, struct ns *ns);
int request_link(struct request *request, struct ns *ns);
int request_setattr(struct request *request, struct ns *ns);
int request_layout_set(struct request *request, struct ns *ns);
int request_hints_set(struct request *request, struct ns *ns);
int request_hints_get(struct request *request, struct ns *ns);

int request_open(struct request *request, struct ns *ns);
bool request_open_writes(const struct request *request);
int request_truncate(struct request *request, struct ns *ns);
/* `map_version`: losses that the map tells of from there on are the handle's, too. */
int request_open_answer(struct request *request, const struct ns *ns, const struct inode *inode,
                        uint64_t handle, bool created, uint64_t map_version);

/* One more opening of this file by the request's client. */
int request_open_new(struct request *request, struct ns *ns, struct inode *inode, uint32_t access,
                     bool created, struct opens_handle **handle);

/* request_held.c */
int request_names(struct request *request, struct ns *ns);

/* request_close.c */
int request_close(struct request *request, struct ns *ns);
/* -EBADMSG when the list of closes that the request brings makes no sense. */
int request_closes_check(const struct request *request);
/* Submits a job for each close that the request brings; to be called before the request is submitted. */
void request_closes(struct request *request);
/* A handle ends, by its close or because its client is gone. */
int request_release(struct service *service, struct ns *ns, struct opens_handle *handle,
                    const struct wire_closing *closing);
/* An inode without names and users ends. */
int request_end_orphan(struct service *service, struct ns *ns, const struct inode *inode);

/* request_reopen.c */
int request_reopen(struct request *request, struct ns *ns);
bool request_reopen_writes(const struct request *request);

int request_pointer(struct request *request, struct ns *ns);

/* request_xattr.c */
int request_xattr_set(struct request *request, struct ns *ns);
int request_xattr_get(struct request *request, struct ns *ns);
int request_xattr_list(struct request *request, struct ns *ns);
int request_xattr_remove(struct request *request, struct ns *ns);

/* request_usage.c */
int request_usage(struct request *request, struct ns *ns);

/* small.c */
int request_small_read(struct request *request, struct ns *ns);
int request_small_write(struct request *request, struct ns *ns);
int request_spill(struct request *request, struct ns *ns);

/* delegations_tell.c */
int request_delegation_wait(struct request *request, struct ns *ns);

/* The pointers of handles from before this start, after leases_restore(). */
int request_pointers_restore(struct service *service, struct store_txn *txn);

int request_statfs(struct request *request, struct ns *ns);
int request_map_get(struct request *request, struct ns *ns);
int request_server_register(struct request *request, struct ns *ns);
void request_server_registered(struct request *request);
int request_heartbeat(struct request *request, struct ns *ns);
int request_group_report(struct request *request, struct ns *ns);
void request_group_reported(struct request *request);
int request_counters(struct request *request, struct ns *ns);

/* request_gone.c */
int request_inodes_gone(struct request *request, struct ns *ns);

/* ---- truncation.c: parked requests ----------------------------------------- */

/* Marks the file, and parks the request until the storage servers have cut it. `handle` is that of an open
 * with truncation, else 0. */
int truncation_prepare(struct request *request, struct ns *ns, struct inode *inode, uint64_t size,
                       bool grow_only, uint64_t handle);
void truncation_start(struct request *request);
/* Takes truncation_prepare() back. */
void truncation_cancel(struct request *request);
/* Ends a file that lost its last name and its last user but the one that has just ended. */
void truncation_end_orphan(struct service *service, uint64_t ino);

/* ---- leases.c: what time does ----------------------------------------------- */

/* Files that were open for writing when an earlier server on this store ended. */
int leases_restore(struct service *service, struct store_txn *txn);
void leases_tick(struct service *service, uint64_t now_ns);

/* ---- service.c -------------------------------------------------------------- */

static inline uint64_t service_now(const struct service *service)
{
    return service->config.monotonic_ns(service->config.clock_arg);
}
/* All counters that are the service's own and its surroundings'; calls `each` for every one. */
void service_counters(const struct service *service, void (*each)(void *arg, const struct counter *counter),
                      void *arg);

#endif
