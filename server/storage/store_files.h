/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_files.h: the inside of the store that keeps each object in one local
 * file, for its own files only.
 *
 * An object of inode 0x2a at position 1, in shard 0 of a target, is
 *     shard-0/2a/000000000000002a.1       (the 2 digits: the inode's last byte)
 * with a header of 4 KiB in front of the data. Until its first sync has ended
 * its name has ".new" behind it. So the order at a sync is: data and header
 * (fdatasync), the name (rename), the directory (fsync), and after a crash the name
 * tells what a damaged header means: a file that was never promised to
 * anyone, or damage. The 256 directories exist from the start.
 */
#ifndef STORAGE_STORE_FILES_H
#define STORAGE_STORE_FILES_H

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>

#include "weft_limits.h"
#include "list.h"
#include "store.h"

enum {
    FILES_HEADER_BYTES = 4096,
    FILES_VERSION = 1,
    FILES_OPEN_MAX = 1024,
    FILES_NAME_MAX = 48,
    FILES_DIRS = 256,
};

/* The first bytes of an object's file; zeros up to FILES_HEADER_BYTES. Little-endian. */
struct files_header {
    char magic[8];         /* 0: "WEFTOBJ" */
    uint32_t version;      /* 8 */
    uint32_t crc;          /* 12: CRC32C of the whole header, taken with 0 here */
    uint64_t ino;          /* 16 */
    uint64_t chunk_size;   /* 24 */
    uint64_t seed;         /* 32 */
    uint32_t stripe_count; /* 40 */
    uint32_t group_count;  /* 44 */
    uint32_t position;     /* 48 */
    uint32_t shard;        /* 52 */
    uint32_t shard_count;  /* 56 */
    uint32_t target;       /* 60 */
};
static_assert(sizeof(struct files_header) == 64, "the header's bytes are fixed");

/* A file that is open. */
struct files_object {
    struct store_object key;
    struct files_object *bucket_next;
    struct list_link recent; /* in files_store.recent, the latest used first */
    int fd;
    bool is_new;                  /* has its ".new" name still */
    uint64_t changes;             /* grows with each write, ... */
    uint64_t synced;              /* ... and as many of them are durable */
    int sync_error;               /* what was written is lost: no sync may succeed any more */
    struct files_job *job;        /* under way */
    struct store_op *ops_waiting; /* syncs that came after changes that `job` does not cover */
    struct store_op *ops_remove;  /* a removal waits for `job` */
};

/* One flush, done by the helper thread. */
struct files_job {
    struct files_job *next;
    struct files_object *object;
    struct store_op *ops;
    uint64_t changes; /* of the object when the job was made */
    bool is_new;
    int status;
    char text[LIMITS_ERROR_TEXT_MAX + 1];
};

struct files_store {
    struct store store; /* first */
    const struct target *target;
    uint32_t shard;
    int dir_fd; /* shard-<k> */

    /* The cache of open files. */
    struct files_object **buckets;
    uint32_t bucket_count; /* a power of two */
    uint32_t open_count, open_max;
    struct list recent;
    bool evicted_dirty; /* some file was closed before it was flushed */

    /* The helper thread. */
    pthread_t thread;
    bool thread_runs;
    int done_fd;          /* eventfd */
    pthread_mutex_t lock; /* of the four below */
    pthread_cond_t wanted;
    struct files_job *jobs, **jobs_end;
    struct files_job *done;
    bool stop;
};

/* store_files_object.c: files and the cache of open ones */

/* *object becomes NULL when there is none and `create` is false. */
int files_object_open(struct files_store *store, const struct store_object *key, bool create,
                      struct files_object **object);
/* Closes the file and forgets it; it must have no job. */
void files_object_close(struct files_store *store, struct files_object *object);
void files_object_name(const struct store_object *key, bool is_new, char name[FILES_NAME_MAX]);
/* err_sys() with the target's id, "what" and the file's path. */
int files_object_error(const struct files_store *store, const struct files_object *object, const char *what);
/* Whatever is in the file, and by whichever name. */
int files_object_unlink(struct files_store *store, const struct store_object *key);
int files_cache_open(struct files_store *store, uint32_t open_max);
void files_cache_close(struct files_store *store);
/* NULL when that file is not open. */
struct files_object *files_cache_find(struct files_store *store, const struct store_object *key);

/* store_files_sync.c: flushing, in a helper thread */

int files_sync_open(struct files_store *store);
void files_sync_close(struct files_store *store);
/* Flushes data, name and directory entry; from any thread. */
int files_sync_object(const struct files_store *store, const struct files_object *object, bool is_new);
/* 0 when there is nothing to flush, else as store->sync. */
int files_sync_start(struct files_store *store, struct files_object *object, struct store_op *op);
void files_sync_progress(struct files_store *store);

#endif
