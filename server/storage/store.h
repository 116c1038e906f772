/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h: where a storage server's bytes are kept. A store holds what one
 * shard of one target has: objects, each with the bytes that one file has in
 * that shard at one of its positions, packed (layout.h: layout_part_offset()).
 *
 * The interface is a table of functions, so that stores can be exchanged and
 * stacked. store_files is the small example, store_chunks the real one.
 *
 * What every store promises
 *  - A read sees every write that ended before it; bytes that were never
 *    written, in front of an object's end, are zeros.
 *  - Changes of one object take effect in the order in which they were asked for.
 *  - What was written before a sync was asked for survives the death of
 *    the process and of the host once that sync has ended with 0. Everything
 *    else may be lost, but nothing is replaced by other bytes.
 *  - An error's text names the target and the object.
 *
 * Operations that may take time (those with a `struct store_op`) return 0 when
 * they are done, STORE_PENDING when op->done will run, once, from a later
 * progress(), or a negative errno, and then `done` never runs. Until the end
 * of an operation its op and its memory belong to the store.
 *
 * Threads: a store belongs to one thread.
 */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "counters.h"
#include "layout.h"

struct cs_faults;
struct store;
struct target;

enum { STORE_PENDING = 1 };

/* Names an object, and tells what is needed to make it. A target may hold
 * several groups, so one file may have several positions in one store. */
struct store_object {
    uint64_t ino;
    uint32_t position;
    struct layout layout; /* of the file; an object made with another one is refused: -EIO */
};

struct store_op {
    /* `status` is 0 or a negative errno (its text in err_text()); of a read, the bytes read. */
    void (*done)(struct store_op *op, ssize_t status);
    void *arg;
    /* Of a write: the checksums (CRC32C) of the blocks of CRC_BLOCK bytes of the object that it covers
     * whole, in order, if they are known to be right. NULL: they are not. They must stay as the memory. */
    const uint32_t *crcs;
    /* Of a read that has ended: the checksum (CRC32C) that the bytes had on the disk, if the store
     * keeps any. */
    bool has_crc;
    uint32_t crc;
    struct store_op *next; /* the store's */
};

struct store_stat {
    uint64_t length;  /* bytes, exact: behind the last byte written or truncated to */
    uint64_t bytes;   /* of space used, about */
    int64_t mtime_ns; /* of the last write; 0 when there is no object */
};

/* What a search for data or a hole came to. */
struct store_seek {
    uint64_t offset; /* of the first byte of it; UINT64_MAX: there is none */
    bool found;      /* else there is none before `offset`, from where the search is to go on */
    uint64_t length; /* of the object */
};

/* How a store that has checksums looks at all of its bytes, and what it counts of that. */
struct store_scrub {
    uint64_t rate;                            /* bytes a second; 0: not at all */
    uint64_t pause_ms;                        /* from one pass to the next; 0: a day */
    struct counter *bytes, *passes, *damaged; /* NULL: not counted; several stores may share them */
    /* Is told of damaged bytes of an object, from progress(); of some of them, where there are many. NULL:
     * nobody is. */
    void (*found)(void *arg, uint64_t ino, uint32_t position, uint64_t offset, uint64_t length);
    void *arg;
};

/* How a store gives back the space of what was removed, and what it counts of that. */
struct store_discard {
    uint64_t rate;         /* bytes a second; 0: not at all */
    struct counter *bytes; /* NULL: not counted; several stores may share it */
};

/* Faults on purpose of a store that can have them. */
struct store_faults {
    struct cs_faults *rules; /* NULL: none. Outlives the store */
    struct counter *made;    /* NULL: not counted; several stores may share it */
};

struct store_config {
    const struct target *target;
    uint32_t shard;
    uint32_t open_files_max; /* 0: the store's own default */
    bool direct_io;          /* past the page cache; opening fails where that is not possible: -ENOTSUP */
    struct store_scrub scrub;
    struct store_discard discard;
    struct store_faults faults;
};

struct store_type {
    const char *name; /* stands in the target's description */
    bool takes_crcs;  /* store_op.crcs spares it work */
    /* Beyond that: -EFBIG. 0: as many as fit into a local file. */
    uint64_t object_bytes_max;

    /* Makes what an empty target needs, durably. May find parts of an
     * earlier attempt. */
    int (*format)(const struct target *target);

    int (*open)(const struct store_config *config, struct store **store);
    /* Makes durable what was written, and frees the store. No operation may be
     * pending. The store is freed also when that fails. */
    int (*close)(struct store *store);

    /* Writes the bytes of all memory pieces, one behind the other, or fails; may have written a part
     * then. Makes the object. The list may be changed by it. */
    int (*write)(struct store *store, const struct store_object *object, uint64_t offset, struct iovec *iov,
                 size_t iov_count, struct store_op *op);
    /* *count gets the bytes read, when it is done at once: fewer than `length` at the
     * object's end, none when there is no object. */
    int (*read)(struct store *store, const struct store_object *object, uint64_t offset, void *buffer,
                size_t length, size_t *count, struct store_op *op);
    int (*sync)(struct store *store, const struct store_object *object, struct store_op *op);

    /* Cuts or lengthens (with zeros) to `length`; makes the object only when length > 0. */
    int (*truncate)(struct store *store, const struct store_object *object, uint64_t length,
                    struct store_op *op);
    /* A range becomes zeros, and gives its space back as far as the store can; the length stays. 0 also when
     * there is no object. */
    int (*punch)(struct store *store, const struct store_object *object, uint64_t offset, uint64_t length,
                 struct store_op *op);
    /* Where data begins, or (`hole`) a hole, from `offset` on. What is a hole reads as zeros; zeros may be
     * data. Behind the object's end all is a hole. *seek is filled when it has ended; it looks at some
     * part of the object and no more. */
    int (*seek)(struct store *store, const struct store_object *object, uint64_t offset, bool hole,
                struct store_seek *seek, struct store_op *op);
    /* 0 also when there is none. A crash may undo it until settle(). */
    int (*remove)(struct store *store, const struct store_object *object, struct store_op *op);

    /* Ends when all that was changed before is durable, as by a sync, but leaves the time to the store: it
     * waits for what that does anyhow within seconds, and with `hurry` that is done at once, for all who
     * wait. `op` NULL: they are hurried, and nobody else waits. Optional (NULL): a crash may undo what was
     * done lately. */
    int (*settle)(struct store *store, bool hurry, struct store_op *op);

    int (*stat)(struct store *store, const struct store_object *object, struct store_stat *stat);

    /* The first object behind that one, in the order of inode and position: *object becomes it, with the
     * layout as far as the store keeps it. -ENOENT: there is none. May wait for the disk. NULL: it can't
     * tell. */
    int (*next)(struct store *store, struct store_object *object);

    /* Bytes that can be written before the file system has to give more; from any thread. NULL: none. */
    uint64_t (*room)(const struct store *store);

    /* Readable when progress() has something to do. */
    int (*fd)(struct store *store);
    void (*progress)(struct store *store);
};

/* Every store begins with its type. */
struct store {
    const struct store_type *type;
};

extern const struct store_type store_files;  /* one local file for each object */
extern const struct store_type store_chunks; /* chunks/: verified blocks, see docs/chunk-store.md */

/* The type of that name; NULL when there is none. */
const struct store_type *store_type_by_name(const char *name);

#endif
