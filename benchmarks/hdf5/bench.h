/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.h: what the files of the HDF5 benchmark share.
 *
 * The program writes and reads files of parallel HDF5 as simulations do, and prints a line of
 * comma-separated values for each phase. Several targets (a driver, a folder) take turns on each
 * kernel, so that their figures are of the same minute.
 *
 * What it promises
 *  - A file is read in a fresh open, by another rank than wrote it, and every value is compared with
 *    what its place says it is. A wrong one fails the run.
 *  - Filling, comparing and removing are outside of what is timed. Memory is touched before; the file is
 *    a new one for each write.
 *  - Opening, creating or opening the data sets, transferring, flushing and closing are timed apart, each
 *    from a barrier to the last rank's end.
 */
#ifndef HDF5_BENCH_H
#define HDF5_BENCH_H

#include <hdf5.h>
#include <mpi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arguments.h"

/* ---- options.c -------------------------------------------------------- */

enum { TEXT_MAX = 64, PATH_MAX_BYTES = 1024 };

enum driver { DRIVER_MPIO, DRIVER_WEFT };

/* One way to do a kernel: "LABEL,DRIVER,FOLDER[,OPTION]..." */
struct target {
    char label[TEXT_MAX];
    enum driver driver;
    char folder[PATH_MAX_BYTES];
    char config[TEXT_MAX * 2]; /* of Weft's driver; "": none */
    bool collective_metadata;
};

struct options {
    struct arguments common;
    struct target targets[TARGETS_MAX];
    int64_t bytes;     /* of all ranks and steps together */
    int64_t data_sets; /* how many the kernels of small ones make */
};

/* options_read(): 0, or the exit code with which to end after telling why. */
int options_read(int argc, char **argv, bool talks, struct options *options, bool *ends);

/* ---- kernels.c -------------------------------------------------------- */

/* What one rank has of a data set: regular blocks. One with a single dimension has only the last of each. */
struct selection {
    int dimensions;
    hsize_t size[2];
    hsize_t chunk[2]; /* 0: not chunked */
    hsize_t start[2], stride[2], count[2], block[2];
};

struct kernel {
    const char *name;
    const char *help;
    const struct method *method;
    unsigned words;          /* of eight bytes in an element: 1: a double; else a particle */
    unsigned steps;          /* data sets of that size, one after the other */
    unsigned volume_divisor; /* of --size: small pieces take longer */
    /* At most `elements` in all, the same for each rank. */
    void (*select)(uint64_t elements, int rank, int ranks, struct selection *selection);
};

extern const struct kernel kernels[];
extern const unsigned kernel_count;
/* particle_type(): the compound type of a particle, the caller's to close. */
hid_t particle_type(void);

/* ---- values.c --------------------------------------------------------- */

/* values_fill(), values_check(): of what is selected, in the order of memory. values_check() returns how
 * many are wrong. */
uint64_t values_count(const struct selection *selection);
void values_fill(const struct selection *selection, unsigned words, uint64_t seed, uint64_t *memory);
int64_t values_check(const struct selection *selection, unsigned words, uint64_t seed,
                     const uint64_t *memory);

/* ---- measure.c -------------------------------------------------------- */

enum direction { DIRECTION_WRITE, DIRECTION_READ, DIRECTION_READ_ALL, DIRECTION_COUNT };

struct times {
    double open, define, transfer, flush, close;
    double cpu; /* of all ranks, in all of these */
};

/* What is the same in all phases. */
struct run {
    const struct options *options;
    const struct kernel *kernel;
    const struct target *target;
    char file[PATH_MAX_BYTES + 256];
    hid_t access;   /* property list to open files with */
    hid_t transfer; /* and to read and write with */
    int rank, ranks;
    uint64_t seed;       /* of the values, another one for each run */
    int64_t calls;       /* H5Dwrite() or H5Dread(), of this rank in this phase */
    const char *io_mode; /* what HDF5 says it did, "" where it was not asked */
    bool is_silent;      /* prints no line */
};

/* How the kernels of a kind are written and read. */
struct method {
    bool has_read_all;
    bool is_collective;
    int64_t (*items)(const struct run *run);                          /* data sets */
    size_t (*bytes)(const struct run *run, enum direction direction); /* of this rank's memory */
    void (*fill)(const struct run *run, void *memory);
    int64_t (*check)(const struct run *run, enum direction direction, const void *memory);
    void (*write)(struct run *run, const void *memory, struct times *times);
    void (*read)(struct run *run, enum direction direction, void *memory, struct times *times);
};

/* measure_kernel(): one kernel on one target, written and read. Collective. Returns the same on all
 * ranks: 0, or -1 after telling what went wrong. */
int measure_kernel(const struct options *options, const struct kernel *kernel, const struct target *target);
/* measure_warm_up(): the same, silently. A process makes its connections with its first file, once for each
 * driver, and the buffers for many requests at a time with its first transfers of a kind: half a volume
 * leaves the first target twice as slow as it is later. */
int measure_warm_up(const struct options *options, const struct kernel *kernel, const struct target *target);
void measure_header(void);

/* must(): a benchmark that meets an error has nothing more to say. Passes on what HDF5 returned. */
int64_t must(int64_t result, const struct run *run, const char *what);

/* ---- array.c, small.c ------------------------------------------------- */

extern const struct method array_method; /* few large data sets, collective transfers */
extern const struct method small_method; /* many small ones with an attribute, independent transfers */

#endif
