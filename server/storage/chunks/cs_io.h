/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_io.h: the little that the chunk store wants of a disk. A table of
 * functions, so that tests can record what is written and flushed, crash at any
 * point, and make faults (tests/unit/cs_disk.h; in a running server cs_io_faults.h).
 *
 * What a backend promises
 *  - A read sees every write that ended before it.
 *  - What was written to a file before its flush() began survives everything once
 *    flush() has returned 0; so does the size that grow() gave it. Of all other
 *    writes any part may be lost, in any order, even half a block.
 *  - What was given to discard() may become anything, at any time until the next flush(), and reads as
 *    anything until it is written again.
 *  - Writes and reads are whole or fail. All functions return 0 or a negative errno with a
 *    text.
 *
 * Threads: all functions but close(), watch(), begin() and ended() may be called from several at once.
 */
#ifndef CS_IO_H
#define CS_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum cs_file { CS_DATA, CS_META, CS_LOG, CS_LOG_OTHER, CS_FILES };

struct cs_io;

/* Reads of `data`, or writes, that go on beside each other. */
struct cs_piece {
    uint64_t offset;
    struct iovec iov[3];
    int iov_count;
    size_t length; /* the disk's, as what follows */
    struct cs_batch *batch;
    void *copy; /* what is in its place, when the disk does not take the memory itself; NULL: it does */
    struct iovec wanted[3];
    int wanted_count;
};

struct cs_batch {
    struct cs_piece *pieces;
    unsigned count;
    bool is_write;
    bool whole;       /* afterwards: all bytes are there; if not, read() or write() says why */
    unsigned pending; /* the disk's, as what follows */
    struct cs_batch *next;
};

struct cs_io_type {
    /* The lists may be changed. With `nowait`, -EAGAIN without a text when the disk would have to be
     * waited for. -ENODATA: the file ends before. */
    int (*read)(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count,
                bool nowait);
    int (*write)(struct cs_io *io, enum cs_file file, uint64_t offset, struct iovec *iov, int iov_count);
    /* A write of so many bytes would have to be waited for, now, or is long enough to be given to those who
     * wait. NULL: none. */
    bool (*write_waits)(struct cs_io *io, size_t length);
    int (*flush)(struct cs_io *io, enum cs_file file);
    /* Makes the file so long, with space on the disk behind every byte; -ENOSPC. */
    int (*grow)(struct cs_io *io, enum cs_file file, uint64_t size);
    int (*size)(struct cs_io *io, enum cs_file file, uint64_t *size);
    void (*close)(struct cs_io *io);

    /* Optional (NULL): from now on `data` is read and written past the page cache, so that both have to be
     * waited for, and in whole blocks of 4 KiB (cs_whole.h). Before anything else is done. -ENOTSUP. */
    int (*direct)(struct cs_io *io);

    /* Optional (NULL): these bytes are of no use any more, and their space may go back to where it came from.
     * -EOPNOTSUPP: it can't be given back. */
    int (*discard)(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length);
    /* Optional, all or none: discarded bytes have no space behind them, and must not be written before fill()
     * gave it to them, as grow() did; -ENOSPC. */
    bool (*punches)(struct cs_io *io);
    int (*fill)(struct cs_io *io, enum cs_file file, uint64_t offset, uint64_t length);
    /* Some bytes of the file may have none. */
    bool (*has_holes)(struct cs_io *io, enum cs_file file);

    /* Optional, all of them or none (NULL): reads and writes that nobody waits for. They belong to one
     * thread. A write is one that has ended when ended() has given its batch. */

    /* From now on `event_fd` is written to when a batch may have ended. -errno with a text: there are only
     * calls. */
    int (*watch)(struct cs_io *io, int event_fd);
    /* -EAGAIN without a text: too many are under way. Until ended() gives it, the batch belongs to the
     * disk. */
    int (*begin)(struct cs_io *io, struct cs_batch *batch);
    /* One that has ended; NULL: none has. */
    struct cs_batch *(*ended)(struct cs_io *io);
};

/* Every backend begins with its type. */
struct cs_io {
    const struct cs_io_type *type;
};

static inline bool cs_io_punches(struct cs_io *io)
{
    return io->type->punches && io->type->punches(io);
}

static inline const char *cs_file_name(enum cs_file file)
{
    static const char *const names[CS_FILES] = {
        [CS_DATA] = "data", [CS_META] = "meta", [CS_LOG] = "log-0", [CS_LOG_OTHER] = "log-1"};
    return names[file];
}

/* Files of these names in a directory. `create` makes them where they are missing,
 * durably. `name` stands in the errors' texts. */
int cs_io_files_open(int dir_fd, const char *name, bool create, struct cs_io **io);

/* A disk, or a file that stands for one, as it is: all files of this one are the same bytes, and its size
 * does not change (volume.h makes files of it). Has a descriptor of its own. */
int cs_io_raw_open(int fd, const char *name, struct cs_io **io);

#endif
