/* SPDX-License-Identifier: Apache-2.0 */
/*
 * target.h: a target's directory, or disk: whose it is, and that only one server uses it.
 *
 * What it promises
 *  - An empty (or missing) directory is made into a target, durably, or not at all: a
 *    server killed in between goes on where it was when it starts again.
 *  - A directory that is another target's, of another cluster, has another shard
 *    count, holds other things, or is in use, is left alone and refused.
 *
 *  - A disk is made into a target by target_format() alone, and never by opening it.
 *  - Each time that bytes may be gone which were answered and not synced, since the host crashed, one more
 *    loss is counted, durably, before anything is served.
 *
 * The description is the text file "target" in the directory, or stands in the label of the disk (volume.h):
 *
 *     weft target 2
 *     id 0
 *     shards 1
 *     store files
 *     uuid 4a7c...            (32 hex digits)
 *     cluster 9b01...         (likewise; zeros: not registered yet)
 *     losses 0
 *     boot 77e0...            (the start of the host since which it is served; zeros: all of it is durable)
 *     crc 1a2b3c4d            (CRC32C of the lines above)
 *
 * Threads: made and changed by the main thread; shards only read it.
 */
#ifndef STORAGE_TARGET_H
#define STORAGE_TARGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf.h"

struct store_type;
struct cs_io;
struct volume;

enum { TARGET_UUID_BYTES = 16 };

struct target {
    uint32_t id;
    uint32_t shard_count;
    const char *dir; /* the configuration's; of a disk, its path */
    bool is_disk;
    int dir_fd;            /* locked; -1: it is a disk */
    int disk_fd;           /* nobody else has it; -1: it is a directory */
    struct volume *volume; /* NULL: it is a directory */
    const struct store_type *store_type;
    uint8_t uuid[TARGET_UUID_BYTES];
    uint8_t cluster[TARGET_UUID_BYTES];
    uint8_t boot[TARGET_UUID_BYTES];
    uint64_t losses;
    bool replaces;          /* if it is new, it stands in for one that was lost, by --replace */
    bool was_left;          /* by a server that was killed since the host started */
    atomic_bool has_failed; /* any thread: a store of it could not make durable what it had */
};

/* `type` is for a directory that is made into a target; one that is a target
 * already keeps its own. -EBUSY, -EEXIST (something else is there), -EINVAL (another
 * target's), -EBADMSG (the description is damaged). */
int target_open(const struct conf_target *conf, uint32_t shard_count, const struct store_type *type,
                struct target *target);
void target_close(struct target *target);

/*
 * Makes a disk into an empty target; conf->is_disk. `size`: a file of so many bytes is made, which stands for
 * a disk; 0: there is one. -EEXIST when it holds anything, unless `force` gives that up: a file system,
 * partitions, another target, or bytes that are not zeros, in its first or last MiB. -EBUSY: it is in use.
 */
int target_format(const struct conf_target *conf, uint32_t shard_count, uint64_t size, bool force);
/* The whole disk of a target that is one, for one more user, as cs_io_raw_open() gives it. */
int target_disk_raw(const struct target *target, struct cs_io **raw);

/*
 * The target is about to be served. Counts a loss when it was served before, not ended, and the host has
 * been started since: what was not flushed is gone with the page cache. The death of the server alone loses
 * nothing.
 */
int target_begin(struct target *target);
/* Its stores were closed: nothing is left that a crash could take, or, when one of them failed, a loss is
 * counted. */
int target_end(struct target *target);
/* Others know of `known` losses. When these are more than the target has, it was put back to what it was
 * earlier: that is a loss as well. */
int target_losses_raise(struct target *target, uint64_t known);

/*
 * Ties the target to the cluster before its first registration; -EINVAL when it
 * is tied to another. `is_known`: the cluster has this target already. One that
 * is new and empty then stands in for one with data, which would read as zeros:
 * -EINVAL too, but where it replaces that one: then nothing is done before it is registered.
 */
int target_join(struct target *target, const uint8_t cluster[TARGET_UUID_BYTES], bool is_known);
/* It was tied to no cluster yet. */
bool target_is_new(const struct target *target);

#endif
