/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.h: what the files of the MPI-IO benchmark share.
 *
 * The program writes and reads one file by MPI-IO in the access patterns of
 * scientific programs, and prints a line of comma-separated values for each
 * phase. Several targets (a path, a mode, hints) take turns on each pattern, so that
 * their figures are of the same minute.
 *
 * What it promises
 *  - Another rank reads what a rank wrote, and every byte is compared with
 *    what its place in the file says it is. A wrong byte fails the run.
 *  - Filling, comparing and removing are outside of what is timed. Memory is
 *    touched before; the file is a new one for each write.
 *  - Opening, transferring and closing are timed apart, each from a barrier to the
 *    last rank's end.
 */
#ifndef MPIIO_BENCH_H
#define MPIIO_BENCH_H

#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arguments.h"

/* ---- options.c -------------------------------------------------------- */

enum { HINTS_MAX = 8, TEXT_MAX = 64 };

/* One way to do a pattern: "LABEL,MODE,FOLDER[,KEY=VALUE]..." */
struct target {
    char label[TEXT_MAX];
    bool collective;
    char folder[1024];
    char keys[HINTS_MAX][TEXT_MAX];
    char values[HINTS_MAX][TEXT_MAX];
    unsigned hint_count;
};

struct options {
    struct arguments common;
    struct target targets[TARGETS_MAX];
    int64_t bytes;      /* of all ranks together */
    int64_t call_bytes; /* of one call, where the pattern leaves that open */
};

/* options_read(): 0, or the exit code with which to end after telling why. */
int options_read(int argc, char **argv, bool talks, struct options *options, bool *ends);

/* ---- part.c ----------------------------------------------------------- */

/* `count` pieces of `length` bytes, one every `stride` bytes of the file. */
struct segment {
    int64_t offset;
    int64_t length;
    int64_t stride;
    int64_t count;
};

/* One MPI call. Its memory begins where that of the call before ended. */
struct call {
    int64_t offset; /* in etypes of the view */
    int64_t bytes;
};

/* What one rank transfers: the pieces in the order of its memory, and the calls that do it. */
struct part {
    struct segment *segments;
    struct call *calls;
    size_t segment_count, segment_room;
    size_t call_count, call_room;
    int64_t bytes;
    int64_t displacement;
    MPI_Datatype etype;    /* MPI_DATATYPE_NULL: no view, offsets are in bytes */
    MPI_Datatype filetype; /* the part's own, freed with it, unless it is the etype */
};

void part_init(struct part *part);
void part_free(struct part *part);
/* part_segments(): adds pieces, which count for `bytes`. */
void part_segments(struct part *part, int64_t offset, int64_t length, int64_t stride, int64_t count);
void part_call(struct part *part, int64_t offset, int64_t bytes);
/* part_slices(): calls of up to `slice` bytes for all that the view shows, which has to be in bytes. */
void part_slices(struct part *part, int64_t slice);
/* part_fill(), part_check(): what a run with this seed has in the part's places. part_check() returns
 * the number of wrong bytes, and where the first one belongs in the file. */
void part_fill(const struct part *part, uint64_t seed, void *memory);
int64_t part_check(const struct part *part, uint64_t seed, const void *memory, int64_t *first_wrong);

/* ---- patterns --------------------------------------------------------- */

struct shape {
    int ranks;
    int64_t bytes;
    int64_t call_bytes;
    uint64_t seed;
};

struct pattern {
    const char *name;
    const char *help;
    int64_t parameter;         /* what `make` does with it is the pattern's affair */
    int64_t chunk_size;        /* asked for by striping_unit; 0: the default */
    unsigned volume_divisor;   /* of --bytes: small pieces take longer */
    void (*make)(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part);
};

/* patterns_records.c */
void make_contiguous(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part);
void make_interleaved(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part);
void make_interleaved_each(const struct pattern *pattern, const struct shape *shape, int rank,
                           struct part *part);
void make_random_each(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part);
void make_random(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part);
/* patterns_arrays.c */
void make_block3d(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part);
void make_particles(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part);
/* patterns_uneven.c */
void make_uneven(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part);
void make_one_rank(const struct pattern *pattern, const struct shape *shape, int rank, struct part *part);

/* patterns.c */
extern const struct pattern patterns[];
extern const unsigned pattern_count;

/* ---- measure.c -------------------------------------------------------- */

/* measure_pattern(): one pattern on one target, written and read. Collective. Returns the same on all
 * ranks: 0, or -1 after telling what went wrong. */
int measure_pattern(const struct options *options, const struct pattern *pattern,
                    const struct target *target);
void measure_header(void);

#endif
