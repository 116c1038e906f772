/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h: which descriptors of the process are Weft's, and what is open behind each.
 *
 * A descriptor is a real one of the kernel, so that its number, its close-on-exec flag and
 * everything that only carries it about are the kernel's business. The table maps
 * the number to an open file description, which dup() shares: it is counted.
 *
 * Looking up takes no lock: two loads for a descriptor that is not ours. Descriptions are
 * never given back to malloc(), only reused, so that a count can be tried on one that
 * another thread lets go of at the same moment.
 *
 * Locks: a description's `lock` guards its offset and the making of its file; it is held
 * while read() and write() move the offset, never by calls that name their offset.
 */
#ifndef POSIX_TABLE_H
#define POSIX_TABLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "weft/weft.h"

enum px_kind {
    PX_FILE,
    PX_FOLDER,
    PX_NAME, /* O_PATH */
};

struct px_desc {
    atomic_int count; /* descriptors and calls under way; 0: free */
    atomic_int fds;   /* descriptors of this process */
    pthread_mutex_t lock;
    enum px_kind kind;
    atomic_int flags; /* of open(), as F_GETFL tells them */
    bool is_shared;   /* its offset is the kernel's, of the memory file behind its descriptors */
    uint64_t ino;
    uint64_t device;             /* st_dev; 0: that of what is on no mount */
    off_t offset;                /* unless is_shared */
    char *path;                  /* inside the cluster, as it was when it was opened */
    _Atomic(weft_file_t *) file; /* of PX_FILE; NULL: to be opened again when needed */
    void *blob;                  /* of weft_file_export(), of the process that gave it to us */
    size_t blob_length;
    uint64_t owner;       /* of the description's locks; 0: there are none yet */
    struct px_desc *next; /* in the list of free ones */
};

/* NULL for a descriptor that is not ours. The reference is the caller's until px_desc_put(). */
struct px_desc *px_desc_get(int fd);
void px_desc_put(struct px_desc *desc);
struct px_desc *px_desc_ref(struct px_desc *desc);
/* A description with one reference and nothing in it; NULL: no memory. */
struct px_desc *px_desc_new(void);
/* What the last reference's end calls (open.c). */
void px_desc_end(struct px_desc *desc);

bool px_table_has(int fd);
/* `desc` NULL takes the descriptor out. The table has a reference of its own. False: no memory, or
 * a number beyond what the table has room for. */
bool px_table_set(int fd, struct px_desc *desc);
/* Descriptors of libweft's own, and what becomes of them in a child process (library.c). */
enum px_mark { PX_MARK_NONE, PX_MARK_CLOSED, PX_MARK_EPOLL, PX_MARK_EVENT, PX_MARK_PIPE };
void px_table_mark(int fd, enum px_mark mark);
enum px_mark px_table_is_marked(int fd);
void px_table_unmark(int fd);
/* Calls for each descriptor, ours (desc) or libweft's (NULL). No reference is taken. */
void px_table_each(void (*each)(int fd, struct px_desc *desc, void *arg), void *arg);
/* Whether any descriptor is ours. */
bool px_table_is_empty(void);
/* How many numbers the table reaches over. */
int px_table_end(void);

#endif
