/* SPDX-License-Identifier: Apache-2.0 */
/* volume_internal.h: a volume as volume.c (label and table) and volume_shard.c (a shard's files) see it. */
#ifndef VOLUME_INTERNAL_H
#define VOLUME_INTERNAL_H

#include <pthread.h>

#include "volume.h"
#include "volume_format.h"

struct volume {
    struct cs_io *raw;
    pthread_mutex_t lock; /* of all that may change */
    unsigned users;       /* who opened it, and shards */
    union {
        struct volume_label label;
        uint8_t page[VOLUME_PAGE]; /* as copy 0 has it */
    };
    /* What both copies together say; filled up to whole pages. An entry that neither copy knows has `file`
     * UINT8_MAX. */
    struct volume_entry *table;
    uint32_t free, cursor;
    bool differ; /* a copy lacks something */
};

/* volume.c */

void volume_hold(struct volume *volume);
/* With the lock held: gives segments first to last - 1 of that file to it, those that it has not. `segments`
 * is the file's list, UINT32_MAX where it has none, which is filled in. Durable when it returns; -ENOSPC. */
int volume_take(struct volume *volume, uint32_t shard, enum cs_file file, uint32_t first, uint32_t last,
                uint32_t *segments);
static inline uint64_t volume_segment_at(const struct volume *volume, uint32_t segment)
{
    return VOLUME_AREA + segment * volume->label.segment_bytes;
}

#endif
