/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property.h: what the files of the property test share.
 *
 * A case is a short sequence of calls of MPI on one file, all of it drawn from the
 * number of the case and a seed: ranks, hints, views, datatypes, calls. Every rank
 * draws what all ranks do, so each knows without a word from the others what every
 * byte of the file, of its memory, and every pointer must be after each call.
 *
 * What a datatype selects is computed here from the definitions of the MPI standard
 * (property_map.c), by nothing of MPI or ROMIO.
 */
#ifndef PROPERTY_H
#define PROPERTY_H

#include <stdio.h>

#include "mpi_test.h"

enum { property_ranks_max = 16 };

/* ---- property_random.c ------------------------------------------------ */

struct random {
    uint64_t state;
};

void random_start(struct random *random, uint64_t seed, uint64_t number);
/* pick(): 0 to below - 1. */
int64_t pick(struct random *random, int64_t below);
bool chance(struct random *random, int percent);

/* ---- property_map.c --------------------------------------------------- */

struct piece {
    int64_t offset;
    int64_t length;
};

/* The bytes that a datatype selects, in the order of its data; neighbours are one piece. */
struct map {
    struct piece *pieces;
    size_t count;
    size_t room;
    int64_t size;
    int64_t lower; /* bounds as MPI_Type_get_extent tells them */
    int64_t upper;
    int64_t true_lower; /* of the bytes themselves */
    int64_t true_upper;
    int64_t align;   /* of the basic type that has the largest */
    bool has_bounds; /* some part of it has bounds that were set */
    bool has_part;
};

void map_free(struct map *map);
/* map_basic(): `length` bytes at 0 and then, unless it is 0, `second_length` at `second`. */
void map_basic(struct map *map, int64_t length, int64_t second, int64_t second_length, int64_t align);
/* map_add(): `count` copies of `part`, from `offset` on. */
void map_add(struct map *map, const struct map *part, int64_t offset, int64_t count);
/* map_end(): after the last map_add(): the bounds. */
void map_end(struct map *map);
void map_set_bounds(struct map *map, int64_t lower, int64_t extent);
static inline int64_t map_extent(const struct map *map)
{
    return map->upper - map->lower;
}
/* map_is_ordered(): no byte is before the origin, and each comes after the one before it,
 * also in the next copy: what a file view must be. */
bool map_is_ordered(const struct map *map);
/* map_is_disjoint(): no byte is there twice in `count` copies. */
bool map_is_disjoint(const struct map *map, int64_t count);
/* map_pack(), map_unpack(): between memory and the data in a row. */
void map_pack(const struct map *map, int64_t count, const unsigned char *origin, unsigned char *packed);
void map_unpack(const struct map *map, int64_t count, const unsigned char *packed, unsigned char *origin);

/* ---- property_types.c ------------------------------------------------- */

enum kind {
    kind_basic,
    kind_contiguous,
    kind_vector,
    kind_hvector,
    kind_indexed,
    kind_hindexed,
    kind_indexed_block,
    kind_hindexed_block,
    kind_struct,
    kind_subarray,
    kind_darray,
    kind_resized,
    kind_dup,
    kind_count
};

enum { blocks_max = 6, dims_max = 3 };

/* How a datatype is constructed, and what it selects. */
struct type {
    enum kind kind;
    int references;
    int basic;
    int count;               /* blocks, or dimensions */
    int lengths[blocks_max]; /* of blocks in elements; of an array, its global sizes */
    int64_t at[blocks_max];  /* displacements; [0] alone: a stride, or a lower bound */
    int parts[dims_max];
    int starts[dims_max];
    int order;
    int distributions[dims_max];
    int arguments[dims_max];
    int grid[dims_max];
    int rank;
    int ranks;
    int64_t extent;
    struct type *children[blocks_max]; /* one; of a struct, one a block */
    struct map map;
};

struct type_rules {
    struct type *leaf; /* NULL: any basic type */
    bool is_view;      /* in order, from the origin on */
    int64_t size_max;  /* bytes of data */
    int64_t span_max;  /* bytes from the first to the last */
    int rank, ranks;   /* of darrays */
};

struct type *type_basic(int basic);
struct type *type_byte(void);
struct type *type_make(struct random *random, const struct type_rules *rules, int depth);
/* type_spread(): the type with its extent so much larger. Takes the reference. */
struct type *type_spread(struct type *type, int64_t lower, int64_t extent);
/* type_runs(): `length` bytes out of `extent`. */
struct type *type_runs(int64_t length, int64_t extent);
struct type *type_keep(struct type *type);
void type_drop(struct type *type);
/* type_handle(): the datatype, committed; to be freed with type_forget(). */
int type_handle(const struct type *type, MPI_Datatype *handle);
void type_forget(const struct type *type, MPI_Datatype *handle);
void type_print(const struct type *type, FILE *stream);

/* ---- property_model.c ------------------------------------------------- */

struct view {
    int64_t displacement;
    struct type *etype;
    struct type *filetype;
    int64_t *sums; /* data bytes of the file type before each of its pieces */
};

/* view_set(): takes the references. */
void view_set(struct view *view, int64_t displacement, struct type *etype, struct type *filetype);
void view_clear(struct view *view);
/* view_offset(): where data byte `position` of the view is in the file. */
int64_t view_offset(const struct view *view, int64_t position);
/* view_run(): the same, and how many bytes follow each other there. */
int64_t view_run(const struct view *view, int64_t position, int64_t *length);
/* view_before(): data bytes of the view before an offset in the file. */
int64_t view_before(const struct view *view, int64_t offset);
void view_print(const struct view *view, FILE *stream);

/* What everybody must see. */
struct model {
    unsigned char *image; /* `room` bytes, zeros behind the end of the file */
    int64_t room;
    int64_t size;
    int ranks;
    struct view views[property_ranks_max];
    int64_t pointers[property_ranks_max]; /* in etypes */
    int64_t shared;
    bool is_common_view; /* all ranks have the same: the shared pointer may be used */
};

void model_begin(struct model *model, int ranks, int64_t room);
void model_end(struct model *model);
/* model_reset_views(): as after an open. */
void model_reset_views(struct model *model);
void model_write(struct model *model, int rank, int64_t position, int64_t bytes, unsigned salt);
/* model_data(): what a write of these bytes of the view must have in memory. */
void model_data(const struct view *view, int64_t position, int64_t bytes, unsigned salt, unsigned char *data);
/* model_read(): what a read gives; returns the bytes before the end of the file. */
int64_t model_read(const struct model *model, int rank, int64_t position, int64_t bytes, unsigned char *data);
void model_resize(struct model *model, int64_t size);

/* ---- property_calls.c ------------------------------------------------- */

enum way {
    way_at,
    way_individual,
    way_shared,
    way_iat,
    way_iindividual,
    way_ishared,
    way_at_all, /* collective from here on */
    way_all,
    way_ordered,
    way_at_all_split,
    way_all_split,
    way_ordered_split,
    way_iat_all,
    way_iall,
    way_count
};

bool way_is_collective(enum way way);
bool way_is_shared(enum way way); /* uses the shared pointer */
bool way_is_explicit(enum way way);
bool way_is_nonblocking(enum way way);
/* way_name(): of the call, as MPI names it. */
const char *way_name(enum way way, bool is_write);
int way_call(enum way way, bool is_write, MPI_File file, MPI_Offset offset, void *buffer, int count,
             MPI_Datatype datatype, MPI_Status *status);

/* Memory for `count` of a type, with some bytes around it that nobody may touch. */
struct room {
    unsigned char *memory;
    unsigned char *before; /* the same as it was */
    unsigned char *origin;
    size_t length;
};

void room_make(struct room *room, const struct map *map, int64_t count, unsigned salt);
void room_free(struct room *room);
/* room_note(): what `before` must look like from now on. */
void room_note(struct room *room);
unsigned char *room_before_origin(const struct room *room);

/* ---- property_case.c, property_atomic.c ------------------------------- */

struct property {
    struct test *test;
    uint64_t seed;
    long long number; /* of the case */
    MPI_Comm comm;
    int rank, ranks;
    char path[512];
    const char *strategy;
    FILE *history; /* what has been done in this case, as text */
    char *history_text;
    size_t history_length;
    bool has_failed;
    char failure[4096];
};

/* property_fail(): notes the first failure of this rank in this case. */
void property_fail(struct property *property, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* property_agree(): collective: true when a rank has failed. */
bool property_agree(struct property *property);
/* property_check(): false, and noted, when a call of MPI failed. */
bool property_check(struct property *property, int code, const char *call);

void case_run(struct property *property);
void case_run_writers(struct property *property);

#endif
