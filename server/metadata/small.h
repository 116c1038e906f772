/* SPDX-License-Identifier: Apache-2.0 */
/*
 * small.h: files whose bytes lie in the metadata server's store, so that opening one and reading it
 * is one request. docs/protocol.md ("Small files") has the rules; they are
 *
 *  - A file is made as a small one where its client says that it may be, and becomes one of the storage
 * servers' when
 *    it grows, or when somebody opens it who does not ask for that. There is no way back. It spills:
 *    its bytes go to where its layout puts them, while nothing changes them; then the inode says so.
 *  - Whoever reads may be given a lease on what he read: for some milliseconds nothing changes it. Whoever
 *    wants to change it waits until then, unless the lease is his own.
 *
 * Threads: belongs to the service's thread.
 */
#ifndef METADATA_SMALL_H
#define METADATA_SMALL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent.h"
#include "counters.h"
#include "inode.h"
#include "namespace.h"
#include "opens.h"
#include "turn.h"

struct request;
struct service;

enum small_count { SMALL_READS, SMALL_WRITES, SMALL_LEASES, SMALL_WAITS, SMALL_SPILLS, SMALL_COUNT };

struct small {
    struct list delayed; /* struct request: until leases have ended, the one that is due first in front */
    struct list spills;  /* struct spill: under way */
    struct counter counters[SMALL_COUNT];
};

/* What a request waits for before it can run; of a request, in its field `wait`. */
struct small_wait {
    enum { SMALL_WAIT_NOT, SMALL_WAIT_LEASES, SMALL_WAIT_SPILL } kind;
    uint64_t ino;
    uint64_t until_ns; /* of leases; monotonic */
    struct opens_file *file; /* pinned, while the request is delayed */
};

void small_init(struct small *small);
/* Runs again what waited for leases. */
void small_run(struct service *service, uint64_t now_ns);
/* When it will; 0: never. */
uint64_t small_due_ns(const struct small *small);
bool small_busy(const struct small *small);

/* Whether a new file may be one. */
bool small_wanted(const struct service *service, uint32_t open_flags);
/* So far one may grow. */
uint32_t small_max(const struct service *service, const struct inode *inode);

/* The bytes of a small file are about to change; `writer` is the client that does it if he answers for
 * his own leases himself, else NULL. Or it is to spill: then the inode is the storage servers' afterwards.
 * 0; 1: the request has to wait, and runs again; or a negative errno. */
int small_change(struct request *request, struct ns *ns, const struct inode *inode, const uint8_t *writer);
int small_spill(struct request *request, struct ns *ns, struct inode *inode);
/* To any size up to LIMITS_SMALL_BYTES_MAX, after small_change(); puts the inode with the present time. */
int small_resize(struct ns *ns, struct inode *inode, uint64_t size);

/* Fills in what is in the file, with a lease where there can be one. The bytes are as those of
 * records_small_get(). */
int small_tell(struct service *service, const struct ns *ns, const struct inode *inode,
               struct opens_handle *handle, struct wire_small *small);
/* After the turn: the request waits. */
void small_wait(struct request *request);

#endif
