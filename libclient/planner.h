/* SPDX-License-Identifier: Apache-2.0 */
/*
 * planner.h: turns memory pieces and file extents into requests for storage
 * shards, round by round. Pure: nothing is sent, read or waited for here.
 *
 * What it promises
 *  - Every byte of the two lists is in exactly one request, once, and a request's
 *    bytes stand in the same order in its pieces and in its extents.
 *  - A round holds at most one request for each storage shard, and no request is beyond
 *    the limits given.
 *  - The cost is that of one pass over the two lists, and no more than one round is
 *    held in memory.
 *
 * Threads: a planner belongs to one thread at a time; a table does not change.
 */
#ifndef CLIENT_PLANNER_H
#define CLIENT_PLANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "layout.h"
#include "map.h"
#include "weft/weft.h"

/* ---- where a file's bytes are, worked out once for each map ------------- */

struct planner_shard {
    uint32_t server; /* index into the map's servers */
    uint32_t shard;
};

/* Where a chunk can be asked for. */
struct planner_target {
    uint32_t id;
    uint32_t first_shard; /* of the target's server, in the table's shards */
};

/* One of the file's groups. */
struct planner_position {
    struct planner_target leader, nearest; /* changes go to the one, reads to the other */
    struct planner_target other;           /* is read when the nearest can't; the nearest: there is none */
    uint32_t shard_count;                  /* of the servers of all */
};

struct planner_table {
    unsigned references; /* guarded by the owner's lock */
    struct map *map;     /* a reference of ours */
    struct layout layout;
    uint32_t shard_count;                /* storage shards that the file is spread over */
    uint32_t leading_count;              /* of these, the first ones: where its groups' leaders are */
    struct planner_shard *shards;        /* each of them once */
    struct planner_position positions[]; /* layout.stripe_count of them */
};

/* Who will use it: of several members of a group, it reads from the nearest. */
struct planner_reader {
    const char *host; /* its name; NULL: not known */
    uint64_t number;  /* any; readers with other numbers choose others among equally near ones */
};

/* -EINVAL when the layout makes no sense or names groups that the map does not have. `reader` may be NULL. */
int planner_table_new(struct map *map, const struct layout *layout, const struct planner_reader *reader,
                      struct planner_table **table);
struct planner_table *planner_table_ref(struct planner_table *table);
void planner_table_unref(struct planner_table *table); /* NULL is allowed */
/* Where the file's first chunk lies: the shard, as an index into table->shards, and the target. */
void planner_table_first(const struct planner_table *table, uint32_t *shard, uint32_t *target);

/* Whether that shard, an index as above, holds a byte of the range. */
bool planner_table_has(const struct planner_table *table, uint32_t shard, uint64_t offset, uint64_t length);

/* ---- planning ----------------------------------------------------------- */

/* A run of bytes in one chunk. */
struct planner_extent {
    uint64_t offset; /* in the file */
    uint32_t length;
    uint32_t target; /* id of the target that holds it */
};

#define PLANNER_INLINE 4u

/* What one storage shard is asked for in one round. */
struct planner_request {
    struct planner_request *next;
    uint32_t shard; /* index into the table's shards */
    uint32_t extent_count, extent_room;
    uint32_t piece_count, piece_room;
    uint64_t bytes;
    struct planner_extent *extents;
    struct iovec *pieces;
    struct planner_extent extents_few[PLANNER_INLINE];
    struct iovec pieces_few[PLANNER_INLINE];
};

/* Which member of a group is asked. */
enum planner_member { PLANNER_LEADER, PLANNER_NEAREST, PLANNER_OTHER };

struct planner_limits {
    uint64_t bytes_max;   /* of one request */
    uint32_t extents_max; /* of one request */
    uint32_t pieces_max;  /* of one round, which bounds its memory */
    uint64_t alone_min;   /* a piece of so many bytes shares no request with others; 0: all do */
    enum planner_member member;
};

struct planner {
    /* filled by planner_open() */
    const struct planner_table *table;
    const struct iovec *iov;
    const struct weft_extent *extents;
    size_t iov_count, extent_count;
    struct planner_limits limits;
    size_t request_size;

    /* how far it got */
    size_t iov_index, extent_index;
    uint64_t iov_done, extent_done; /* bytes of the current ones */

    /* the chunk that the latest byte was in */
    uint64_t chunk_start, chunk_end;
    uint32_t chunk_target, chunk_shard;

    /* the round being made */
    struct planner_request **slots; /* by shard; all NULL between rounds */
    struct planner_request *first, **last;
    uint32_t pieces;
};

/* The two lists have the same total, which is stored; -EINVAL when they have not, -EFBIG
 * when an extent ends beyond what a file can have. Both with a text. */
int planner_check(const struct iovec *iov, size_t iov_count, const struct weft_extent *extents,
                  size_t extent_count, uint64_t *total);

/* Begins. The lists have passed planner_check() and stay, with the table, until
 * planner_close(). Requests are allocated with `request_size` bytes, zeroed, so that
 * they may be the first member of something larger. -ENOMEM. */
int planner_open(struct planner *planner, const struct planner_table *table, const struct iovec *iov,
                 size_t iov_count, const struct weft_extent *extents, size_t extent_count,
                 const struct planner_limits *limits, size_t request_size);
void planner_close(struct planner *planner);

/* Another map came: the next rounds go by this table (of the same layout). -ENOMEM. */
int planner_table_set(struct planner *planner, const struct planner_table *table);

/* The requests of the next round, linked by `next`, the caller's until
 * planner_request_free(); NULL when all is planned. -ENOMEM leaves none. */
int planner_round(struct planner *planner, struct planner_request **requests);
void planner_request_free(struct planner_request *request);
/* The chunk that the latest round ended inside of and the next one goes on in; UINT64_MAX when it
 * ended between chunks, or nothing is left. `requests` is that round. */
uint64_t planner_chunk_cut(const struct planner *planner, const struct planner_request *requests);

/* The bytes of the extents, in their order, in front of the first one that is at or
 * behind file offset `size`: what a read of a file of that size returns. */
uint64_t planner_count_before(const struct weft_extent *extents, size_t extent_count, uint64_t size);

#endif
