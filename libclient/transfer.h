/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer.h: one read or write, from the caller's lists to its last byte. It goes in rounds of
 * requests, each planned when its turn comes, as many of them under way as it takes to
 * keep the storage shards busy:
 *
 *     transfer_start -> transfer_advance -> round_start -> request_start_all
 *                             ^                                |  (the rpc)
 *                             +------- request_ended <- request_done
 *
 * Threads: everything here runs with the session's lock held, in whichever thread
 * drives; only transfer_start() takes it itself.
 */
#ifndef CLIENT_TRANSFER_H
#define CLIENT_TRANSFER_H

#include "client.h"

/* Rounds under way at the most. */
#define TRANSFER_ROUNDS_MAX  8u
/* Extents of a request whose message needs no memory of its own. */
#define REQUEST_EXTENTS_FEW  8u
#define REQUEST_EXTENT_BYTES 16u
#define REQUEST_CHUNK_BYTES  13u
#define REQUEST_FIXED_BYTES  112u

struct transfer {
    struct weft_op op;
    weft_file_t *file;
    bool write;
    bool planned; /* no more rounds to come */
    bool planning;
    struct iovec *own_iov; /* copies, for an asynchronous one */
    struct weft_extent *own_extents;
    struct weft_gather gather; /* chunk_count 0: none; its numbers are ours */
    uint64_t chunk_cut;        /* that the latest round ended inside of; UINT64_MAX: none */
    const struct iovec *iov;
    const struct weft_extent *extents;
    size_t iov_count, extent_count;
    uint64_t total;
    struct planner planner;
    struct planner_table *table; /* a reference of ours; the planner's too */
    unsigned rounds;
    unsigned requests[TRANSFER_ROUNDS_MAX]; /* not ended yet, of each round under way */
    uint64_t bytes;                         /* of them all */
    uint64_t missing_end; /* of the last byte that a read did not find, in the file; 0: none */
    uint64_t present_end; /* and of the last one that it did */
    struct fan fan;
};

struct request {
    struct planner_request plan; /* first: the planner allocates it */
    struct shard_call call;
    struct transfer *transfer;
    unsigned round;
    uint64_t map_version;         /* that it was planned by */
    bool tells;                   /* a write, whose answer tells of the file's objects */
    bool elsewhere;               /* a read that goes to others than the nearest, who could not answer it */
    uint64_t chunks_cut[2];       /* of which other rounds have bytes, too; UINT64_MAX: none */
    struct bufpool_waiter waiter; /* for a buffer */
    void *packed;                 /* from the session's pool; NULL: the pieces themselves travel */
    uint8_t *body;
    uint8_t body_few[REQUEST_FIXED_BYTES + REQUEST_EXTENTS_FEW * REQUEST_EXTENT_BYTES];
    struct iovec payload;
};

/* io.c */

/* Waits for the end. */
ssize_t transfer_blocking(weft_file_t *file, bool write, const struct iovec *iov, size_t iov_count,
                          const struct weft_extent *extents, size_t extent_count);

/* transfer.c */

/* Begins a transfer whose lists are set. Nothing is left of it after a failure. */
int transfer_start(struct transfer *transfer, weft_file_t *file, bool write,
                   void (*release)(struct weft_op *op));
/* (locked) Begins the rounds of one that transfer_start() has checked. After a failure nothing is under
 * way. */
int transfer_go(struct transfer *transfer);
/* Starts what can be started, and ends the transfer when nothing is left. */
void transfer_advance(struct transfer *transfer);
/* From here on the transfer is planned by the session's current map. */
int transfer_table_update(struct transfer *transfer);
const struct planner_limits *transfer_limits(const struct transfer *transfer);

/* request.c */

/* Starts planned requests as part of round `round`; `earlier` is the one whose bytes they
 * are, when these are sent again. */
void request_start_all(struct transfer *transfer, struct planner_request *requests, unsigned round,
                       const struct request *earlier);

/* gather.c */

/* Keeps a copy of what the caller says. -EINVAL, -ENOMEM. */
int gather_copy(struct transfer *transfer, const struct weft_gather *gather);
void gather_release(struct transfer *transfer);
/* The chunks of a request that are put together with other clients' pieces, encoded; *count of
 * them. `room` is enough for one for each extent. */
ssize_t gather_encode(const struct request *request, struct wire_writer *writer, uint32_t *count);

#endif
