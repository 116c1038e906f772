/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard.h: one event-loop thread of a storage server with all that it owns: its
 * rpc, its payload buffers, and its part of each target's chunks.
 *
 * What it promises
 *  - Nothing is read or written before the request's capability, its extents and
 *    their place in the cluster map were checked.
 *  - Memory is bounded: payloads lie in the shard's pool; who finds no buffer waits
 *    in line, and rpc's credit bounds the line.
 *  - A request that names a newer map than ours, and can't be served with ours,
 *    waits for the map; one that names a map from before our groups changed, or from before
 *    a loss of our targets was told, gets the newer one.
 *
 * Threads: a shard's fields belong to its thread, but for those marked. Shards
 * share nothing but what `struct server` has, which is read-only while they run.
 */
#ifndef STORAGE_SHARD_H
#define STORAGE_SHARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "bufpool.h"
#include "conf.h"
#include "counters.h"
#include "lead.h"
#include "list.h"
#include "lock_table.h"
#include "map.h"
#include "rpc.h"
#include "store.h"
#include "target.h"

struct shard;
struct sweep;

/* What all shards of the process share. */
struct server {
    const struct conf *conf;
    const struct conf_storage *storage;
    const char *who;
    struct target *targets;
    uint32_t target_count;
    struct cs_faults *faults; /* on purpose; NULL: none */
    const struct pins *pins;  /* where shards run; NULL: anywhere */
    struct shard *shards;
    uint32_t shard_count;
    /* A shard wants a newer map. Called from shards' threads. */
    void (*map_wanted)(void *arg);
    void *map_wanted_arg;
    /* What a shard, as the leader of a group, says of a member. Likewise, with the same argument. */
    void (*verdict)(void *arg, const struct wire_group_verdict *verdict);
    /* The same, that a member has everything that this shard has; it counts when all shards have said it. */
    void (*synced)(void *arg, uint32_t shard, const struct wire_group_verdict *verdict);
    /* A shard has a question for the metadata server (sweep.h). Likewise. */
    void (*sweep_asks)(void *arg);
    /* The cluster knows how the process before this one ended; the main thread's. */
    bool was_heard;
    /* Until then others count on what this server does (rpc_now_ns()), as far as it goes by that version of
     * the map or a later one; any thread. */
    _Atomic(uint64_t) lease_until_ns, lease_version;
};

enum shard_counter {
    SHARD_BYTES_WRITTEN,
    SHARD_BYTES_READ,
    SHARD_EXTENTS_WRITTEN,
    SHARD_EXTENTS_READ,
    SHARD_STORE_WRITES, /* extents that lie one behind the other are one */
    SHARD_STORE_READS,
    SHARD_STORE_ERRORS,
    SHARD_SYNCS,
    SHARD_COPIES, /* of payload bytes, beyond the one into or out of the store */
    SHARD_BUFFER_WAITS,
    SHARD_REQUESTS_PARKED,
    SHARD_REQUESTS_REFUSED,
    SHARD_REQUESTS_STALE,
    SHARD_LOCKS_GRANTED,
    SHARD_LOCKS_WAITED, /* were not granted at once */
    SHARD_LOCKS_RELEASED,
    SHARD_LOCKS_LOST,      /* held when their client's connection ended */
    SHARD_CHUNKS_GATHERED, /* put together from several requests before they were written */
    SHARD_GATHERS_LATE,    /* written without what was still to come */
    SHARD_BYTES_SCRUBBED,
    SHARD_BYTES_DISCARDED, /* whose space was given back */
    SHARD_SCRUBS,          /* passes over one store */
    SHARD_BLOCKS_DAMAGED,  /* found by these */
    SHARD_FAULTS_MADE,     /* on purpose */
    SHARD_CHANGES_WAITED,  /* for another one of the same bytes, in groups that have several members */
    SHARD_COPIES_SENT,     /* to other members */
    SHARD_COPIES_FAILED,
    SHARD_COPIES_TAKEN,    /* from leaders */
    SHARD_PIECES_COMPARED, /* of objects, with those of other members */
    SHARD_BYTES_RESYNCED,
    SHARD_BYTES_MENDED, /* that could not be read, and were taken from another member */
    SHARD_MENDS_FAILED,
    SHARD_LEASES_WAITED, /* reads, for the metadata server to be heard */
    SHARD_SWEEPS,        /* looks at all objects, for those whose file is gone */
    SHARD_OBJECTS_SWEPT, /* removed by these */
    SHARD_COUNTERS,
};

enum { SHARD_CAPABILITIES = 16 };

/* What can come with every request must not fill the log. */
struct shard_log_limit {
    uint64_t logged_ns; /* the latest line; 0: none yet */
    uint32_t unlogged;  /* since then */
};

struct shard_target {
    struct shard *shard;
    uint32_t target; /* index into the server's */
};

enum { SHARD_GATHER_BUCKETS = 256 };

/* Chunks of collective writes that are being put together (shard_gather.c). */
struct shard_gathers {
    struct list buckets[SHARD_GATHER_BUCKETS];
    struct list by_age;
    uint32_t count;
    uint32_t wait_ms;
    int timer_fd; /* runs while there are any */
    bool ticking;
};

struct shard {
    struct server *server;
    uint32_t index;
    pthread_t thread;
    bool thread_runs;
    struct rpc *rpc;                    /* set before the thread runs on; others may call rpc_wake() */
    char bound[LIMITS_ADDRESS_MAX + 1]; /* the address it listens on; constant once it runs */

    atomic_bool stop;              /* any thread */
    _Atomic(struct map *) map_new; /* any thread: a map to be taken over */
    atomic_bool map_confirmed;     /* any thread: the metadata server was asked, as was wanted */
    _Atomic(uint64_t) map_adopted; /* any thread: version of the map that it goes by */

    struct bufpool *pool;
    struct bufpool *copy_pool; /* for what leaders give: these must not wait for what waits for leaders */
    struct lead *lead;
    struct store **stores;            /* one for each target, in the server's order */
    struct shard_target *damage_args; /* likewise: what the scrubber's finds come with */
    int stores_fd;                    /* readable when a store has something to do */
    struct map *map;                  /* NULL until registered */
    uint64_t map_digest;              /* of the groups with targets of ours */
    uint64_t map_changed;  /* the version at which they last changed, or a target of ours had a loss */
    uint32_t changing;     /* requests under way that change objects */
    uint32_t changing_now; /* of these, those that came since map_changed */
    bool older_ended;      /* the last of the others has; who waits for that is in `parked` */
    struct list parked;    /* requests that wait for a map, or for the end */
    struct shard_locks *locks;
    uint32_t under_way; /* requests being served */
    struct shard_gathers gathers;
    struct sweep *sweep; /* NULL: it does not */
    /* The latest ones whose signatures were right: checking one takes longer than
     * a small request. Entries with a chunk size of 0 are empty. */
    struct wire_capability verified[SHARD_CAPABILITIES];
    struct shard_log_limit refusal_log, failure_log;
    struct counter counters[SHARD_COUNTERS];
};

/* A piece of work for the store: extents that lie one behind the other in one object (and, of a
 * gathered write, in one chunk). */
struct shard_run {
    uint32_t target; /* index into the server's targets */
    uint32_t position;
    uint64_t offset; /* local */
    uint64_t length;
    uint64_t chunk;       /* of its first byte */
    uint64_t data_offset; /* in the payload */
    uint32_t extent_count;
    size_t count;         /* bytes read */
    struct iovec iov;     /* bytes to write */
    const uint32_t *crcs; /* of them, as store_op has them */
    struct store_op op;
    struct store_seek seek;
    uint32_t span_count; /* a read: runs from this one on that the store reads as one (shard_read.c) */
    uint8_t *span;       /* where it reads them to; NULL: this one alone, into the payload */
};

enum { SHARD_RUNS_FEW = 4 };

struct shard_io;
/* Begins something with one object: as an operation of the store. */
typedef int shard_start_fn(struct shard_io *io, struct store *store, const struct store_object *object,
                           struct shard_run *run);

/* A request being served. */
struct shard_io {
    struct shard *shard;
    struct rpc_request *request;
    struct wire_capability capability;
    struct layout layout;
    uint64_t map_version;
    struct wire_list extents; /* read and write */
    struct wire_list chunks;  /* of a gathered write */
    uint64_t gather;
    bool by_chunk;            /* runs end at chunk bounds */
    uint64_t bytes;           /* in all extents */
    uint64_t size;            /* object_truncate */
    uint64_t offset, length;  /* object_punch, object_seek: in the file */
    bool hole;                /* object_seek: is what is looked for */
    struct wire_list removes; /* object_remove */
    uint32_t removes_failed;  /* likewise: a bit for each */
    bool hurry;               /* likewise */
    uint32_t lock_target;     /* lock, record */
    uint32_t mend_target;     /* object_mend: id of the one that is to have it */
    bool grow_only;
    uint32_t leader;            /* copy...: id of the server that gives it */
    struct wire_copy_list list; /* copy_list */
    uint32_t position;          /* copy_digest, copy_cut, copy_fetch, object_mend: the object's */
    bool is_gone;               /* copy_cut */
    bool settles_others;        /* object_remove: other members are asked to make it durable */
    /* What is done with each object is over, without an error; NULL: the answer is empty. */
    void (*ended)(struct shard_io *io);
    shard_start_fn *start;  /* what is to be done in its turn */
    bool tell;              /* write: the answer tells of the file's objects */
    struct shard_run *runs; /* read and write: pieces; others: one for each object */
    struct shard_run few[SHARD_RUNS_FEW];
    uint32_t run_count;
    struct lead_change change;        /* of what goes into the line */
    void (*end)(struct shard_io *io); /* all that was pending has ended */
    const uint8_t *data;              /* of a write */
    uint64_t checked;                 /* version of the map by which it was checked */
    bool is_change;                   /* it changes objects */
    uint64_t began_at;                /* shard->map_changed then */
    bool is_stale;                    /* the client is to go by a newer map */
    bool was_reported;                /* that it failed here (lead_failed_here()) */
    struct bufpool *pool;
    struct bufpool_waiter waiter;
    void *buffer;
    void *span;     /* from the pool: what the next span can have */
    uint32_t *crcs; /* of a write's blocks, of all runs */
    uint8_t *body;  /* of the reply */
    size_t body_length;
    uint32_t pending; /* store operations, and one while they are being started */
    int status;       /* the first error */
    char *status_text;
};

/* shard.c: life, loop, map */

/* Starts the thread and waits until it listens. Opens the stores, too. */
int shard_start(struct shard *shard, struct server *server, uint32_t index);
/* Ends what is under way, within `SHARD_STOP_MS`, and the thread; makes the stores durable. */
void shard_stop_ask(struct shard *shard);
int shard_stop_wait(struct shard *shard);
/* Hands over a map, whose reference it takes. From any thread. */
void shard_map_put(struct shard *shard, struct map *map);
/* The metadata server has answered since map_wanted() was called. From any thread. */
void shard_map_confirm(struct shard *shard);
void shard_counter_add(struct shard *shard, enum shard_counter which, uint64_t amount);
/* The request will be looked at again when the map was asked for; `tries` is how often that was. */
void shard_park(struct shard *shard, struct rpc_request *request, unsigned tries);
/* Changes that came before what we are in groups has changed last have all ended. */
void shard_older_ended(struct shard *shard);

/* shard_serve.c: from a request to its answer */

void shard_serve(struct shard *shard, struct rpc_request *request, unsigned tries);
/* Something changes objects from now on; what it returns is told when that has ended. */
uint64_t shard_change_began(struct shard *shard);
void shard_change_ended(struct shard *shard, uint64_t began_at);
/* The same of a request, as soon as the map was asked for the last time, until it ends. */
void shard_io_changes(struct shard_io *io);
/* Whether a change from before is still under way: whoever gave it may have gone on without it. */
bool shard_has_older(const struct shard *shard);
/* Something that a leader gives. */
bool shard_is_copy(const struct shard_io *io);
struct shard_io *shard_io_new(struct shard *shard, struct rpc_request *request);
/* Answers with io->status, io->body and, from the buffer, `payload_length` bytes; frees. */
void shard_io_end(struct shard_io *io, size_t payload_length);
/* Frees it; its request is someone else's now. */
void shard_io_leave(struct shard_io *io);
/* Calls `ready` with a buffer for all of its bytes, at once or when its turn has come. */
void shard_buffer_wait(struct shard_io *io, void (*ready)(struct bufpool_waiter *waiter, void *buffer));
/* Keeps the first error and its text. */
void shard_io_fail(struct shard_io *io, int error);
/* It ends with -ESTALE and our map, whatever else has happened. */
void shard_io_stale(struct shard_io *io);
/* As shard_io_fail(), for an error of the store: logs it too. */
void shard_io_store_failed(struct shard_io *io, int error);
/* The same, but the request goes on. */
void shard_io_store_noted(struct shard_io *io, int error);
/* For requests that a peer should not have made: logs, within limits, and answers. Frees. */
void shard_io_refuse(struct shard_io *io, int error);

/* shard_decode.c */

/* Takes what came over the wire; `access` is what its capability must allow. */
int shard_decode(struct shard_io *io, uint32_t *access);

/* shard_check.c: what must hold before a byte moves */

/* 0; 1: the request must wait for a newer map; -ESTALE: the client must take ours; or an error. */
int shard_check_capability(struct shard_io *io, uint32_t access);
int shard_check_map(struct shard_io *io);
/* Checks all extents, counts bytes and runs, and keeps up to `room` runs in io->runs.
 * Results as above. */
int shard_check_extents(struct shard_io *io, uint32_t room);
/* The same of the pieces that a leader gives; the runs are kept. */
int shard_check_pieces(struct shard_io *io);
/* The same of the one object that io->position names, which becomes the only run. */
int shard_check_object(struct shard_io *io);
/* The map has changed since it was checked, so that another one may lead, or be read: to be asked again after
 * every wait. */
bool shard_is_outdated(const struct shard_io *io);
/* Whether this server may still count on the map: another one could lead the groups of the read's runs, or a
 * newer map have put us out. */
bool shard_check_lease(const struct shard_io *io);
/* The lease alone, whatever is asked. */
bool shard_lease_lasts(const struct shard *shard);
/* The request is to be made again when the metadata server has been heard. */
void shard_wait_for_lease(struct shard_io *io);
/* The index of the server's target of that id; -1: it has none. */
int shard_target_index(const struct server *server, uint32_t id);
/* Whether this shard, with its target of that id, holds the file's first chunk. Results as above. */
int shard_check_first(struct shard_io *io, uint32_t target);
/* The chunks of a gathered write are listed as they should be. */
int shard_check_chunks(const struct shard_io *io);
/* One run for each object that this shard may hold of the file. */
int shard_find_objects(struct shard_io *io);
struct store_object shard_object_of(const struct shard_io *io, const struct shard_run *run);
/* Room for io->run_count runs; what they were is lost. -ENOMEM. */
int shard_runs_make(struct shard_io *io);
/* Makes the runs that shard_check_extents() only counted; they are made when they are to be used. */
int shard_runs_keep(struct shard_io *io);

/* shard_read.c */

void shard_read(struct shard_io *io);

/* shard_write.c */

void shard_write(struct shard_io *io);

/* shard_copy.c: what a leader asks for to bring us up to date, and to mend what it has */

/* Reads what is there of the bytes that are asked for, of the only run's object, into the buffer; done_here()
 * or `done` is told how many. */
void shard_read_object(struct shard_io *io, void (*done)(struct store_op *op, ssize_t status),
                       void (*done_here)(struct shard_io *io, ssize_t got));
void shard_copy_list(struct shard_io *io);
void shard_copy_digest(struct shard_io *io);
void shard_copy_fetch(struct shard_io *io);
void shard_copy_cut(struct shard_io *io);
void shard_copy_settle(struct shard_io *io);

/* shard_lock.c: byte-range locks of the files whose first chunk is here */

int shard_locks_open(struct shard *shard);
/* After the rpc was closed. */
void shard_locks_close(struct shard *shard);
void shard_lock(struct shard_io *io);
void shard_unlock(struct shard_io *io);
/* shard_record.c */
void shard_record(struct shard_io *io);
void shard_record_test(struct shard_io *io);
void shard_record_cancel(struct shard_io *io);
/* shard_lock.c */
/* The client has lost what it held. */
void shard_locks_peer_down(struct shard *shard, struct rpc_peer *peer);
/* When shard_locks_tick() has something to do; -1: not before something else happens. */
int shard_locks_timeout_ms(const struct shard *shard);
void shard_locks_tick(struct shard *shard);
/* Ends a write of which everything has been written, or failed. */
void shard_write_end(struct shard_io *io);
/* Writes one run; the request has one more `pending` while that lasts. */
void shard_write_run(struct shard_io *io, struct shard_run *run, const uint8_t *data);

/* shard_gather.c: chunks that several clients write together */

int shard_gathers_open(struct shard *shard);
void shard_gathers_close(struct shard *shard);
/* Writes at once all that waits for more. */
void shard_gathers_flush(struct shard *shard);
/* Begins the write of all runs; those of chunks that are gathered wait for the others' pieces. */
void shard_gather_runs(struct shard_io *io, const uint8_t *data);

/* shard_object.c: the other operations */

void shard_sync(struct shard_io *io);
void shard_object_stat(struct shard_io *io);
void shard_object_truncate(struct shard_io *io);
void shard_object_remove(struct shard_io *io);
/* Puts what object_stat would say into the answer of a write that has ended; into none, if that fails, or
 * the map has changed since the write was sent. */
void shard_object_tell(struct shard_io *io);
void shard_counters(struct shard_io *io);
/* Calls `start` for each object that the file may have here, goes on after an error, and ends the request
 * when all are done. */
void shard_with_objects(struct shard_io *io, shard_start_fn *start);
/* The same for what changes them: where we lead groups with others, in its turn and there as well. */
void shard_change_objects(struct shard_io *io, shard_start_fn *start);
/* What the object is of the file. */
struct layout_part shard_part_of(const struct shard_io *io, uint32_t position);
/* Answers with io->body of that length, or with the negative errno that it is. */
void shard_answer(struct shard_io *io, ssize_t length);

/* shard_holes.c: space that is given back within a file, and where there is none */

void shard_object_punch(struct shard_io *io);
void shard_object_seek(struct shard_io *io);

#endif
