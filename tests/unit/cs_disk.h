/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_disk.h: a disk for tests of the chunk store, in memory, that goes wrong on purpose: it
 * records what is written and flushed, gives the disk as a crash at any moment
 * may leave it, has a size, and makes faults.
 */
#ifndef TEST_CS_DISK_H
#define TEST_CS_DISK_H

#include <stddef.h>

#include "storage/chunks/cs_io.h"

enum disk_fault {
    DISK_GOOD,
    DISK_READ_EIO,
    DISK_WRITE_EIO,
    DISK_WRITE_SHORT,       /* half of it is written, then EIO */
    DISK_WRITE_LOST,        /* told as written, but nothing is */
    DISK_WRITE_TORN,        /* told as written, but only the first half is */
    DISK_WRITE_MISDIRECTED, /* goes one block further */
    DISK_FLUSH_EIO,
    DISK_GROW_ENOSPC,
};

struct disk_event {
    enum { DISK_WRITE, DISK_FLUSH, DISK_GROW, DISK_DISCARD } kind;
    enum cs_file file;
    uint64_t offset, length; /* GROW: the size in `length` */
    uint8_t *bytes;          /* DISCARD: what they became */
};

struct disk {
    struct cs_io io; /* first; its close() does nothing: the test has the disk */
    uint8_t *bytes[CS_FILES];
    uint64_t size[CS_FILES];
    uint64_t size_max[CS_FILES]; /* 0: none */
    bool cold;                   /* reads with nowait say -EAGAIN */
    bool whole_blocks;           /* of `data` nothing else is taken */
    bool raw;                    /* all files are the same bytes, which are those of CS_DATA */

    uint8_t *holes; /* a byte for each block of `data` of a disk that punches: 1 is a hole; NULL: not known */
    uint64_t hole_room, hole_blocks;
    uint64_t discarded; /* bytes */

    /* The next operation of that kind after `fault_in` others goes wrong, on `fault_file`. */
    enum disk_fault fault;
    enum cs_file fault_file;
    unsigned fault_in;
    unsigned faults; /* made so far */

    bool records;
    struct disk_event *events;
    size_t event_count, event_room;
    uint8_t *first[CS_FILES]; /* as it was when recording began */
    uint64_t first_size[CS_FILES];

    /* Called before each event of a kind that is recorded. */
    void (*before)(void *arg);
    void *before_arg;
};

void disk_open(struct disk *disk);
/* One without files, of that size, as below a volume (volume.h). */
void disk_open_raw(struct disk *disk, uint64_t size);
void disk_close(struct disk *disk);
/* Opens `to`, with the bytes of `from`. */
void disk_copy(struct disk *to, const struct disk *from);
void disk_record(struct disk *disk);

/* From now on discarded bytes have no space behind them until fill(), as in a file, and must not be written
 * before. `room`: blocks of `data` that can be filled. */
void disk_punches(struct disk *disk, uint64_t room);

/* Numbers from a seed. */
uint64_t disk_random(uint64_t *seed);

/* Goes through the events of a recording. `durable` is what no crash can take away. */
struct disk_replay {
    const struct disk *of;
    struct disk durable;
    size_t at;
    size_t *waiting; /* events that no flush has covered */
    size_t waiting_count;
};
void disk_replay_open(struct disk_replay *replay, const struct disk *disk);
void disk_replay_close(struct disk_replay *replay);
/* Up to and without event number `to`, which only grows. */
void disk_replay_to(struct disk_replay *replay, size_t to);
/* A disk as a crash now may leave it: of what was not flushed each 512 bytes may be there or not,
 * in any order. Opens `result`. */
void disk_replay_crash(const struct disk_replay *replay, uint64_t *seed, struct disk *result);
/* A disk as the death of the process may leave it now: all that was written is there, and of the write that
 * comes next some part from its beginning. Opens `result`. */
void disk_replay_kill(const struct disk_replay *replay, uint64_t *seed, struct disk *result);

#endif
