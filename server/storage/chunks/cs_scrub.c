/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_scrub.h"

#include <errno.h>

#include "crc.h"
#include "err.h"
#include "cs_tree.h"

static struct cs_name name_of(const struct cs_scrub *scrub)
{
    return (struct cs_name){.ino = scrub->key.ino, .position = scrub->key.position};
}

int cs_scrub_next(struct cs_store *store, struct cs_scrub *scrub)
{
    struct cs_record record;
    struct cs_key key = scrub->key;
    cs_nowait(store, false);
    do {
        cs_pages_trim(&store->pages);
        key.index++;
        int error = cs_tree_at_least(&store->pages, &key, &record);
        if (error)
            return error;
        key = record.key;
    } while (key.kind != CS_KIND_OBJECT || key.index == 0);
    scrub->key = key;
    return cs_strip_get(store, name_of(scrub), key.index - 1, &scrub->strip) ? 1 : 0;
}

uint64_t cs_scrub_read(struct cs_io *io, const struct cs_scrub *scrub, uint64_t *bad)
{
    const struct cs_strip *strip = &scrub->strip;
    uint8_t bytes[CS_BLOCK];
    uint64_t read = 0;
    *bad = 0;
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i++) {
        struct iovec iov = {bytes, sizeof bytes};
        if (strip->block[i] == CS_HOLE)
            continue;
        read += CS_BLOCK;
        if (io->type->read(io, CS_DATA, (uint64_t)strip->block[i] * CS_BLOCK, &iov, 1, false) ||
            crc_of(0, bytes, sizeof bytes) != strip->crc[i])
            *bad |= UINT64_C(1) << i;
    }
    return read;
}

unsigned cs_scrub_confirm(struct cs_store *store, const struct cs_scrub *scrub, uint64_t bad,
                          void (*report)(void *arg, const char *text), void *arg)
{
    const uint64_t index = scrub->key.index - 1;
    struct cs_strip now;
    uint8_t bytes[CS_BLOCK];
    unsigned damaged = 0;
    cs_nowait(store, false);
    if (cs_strip_get(store, name_of(scrub), index, &now))
        return 0;
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i++) {
        if (!(bad >> i & 1) || now.block[i] != scrub->strip.block[i] || now.crc[i] != scrub->strip.crc[i] ||
            !cs_block_load(store, name_of(scrub), index * CS_STRIP + (uint64_t)i * CS_BLOCK, now.block[i],
                           now.crc[i], bytes))
            continue;
        damaged++;
        report(arg, err_text());
    }
    return damaged;
}
