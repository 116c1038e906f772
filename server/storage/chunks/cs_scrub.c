/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_scrub.h"

#include <errno.h>
#include <stdio.h>

#include "crc.h"
#include "err.h"
#include "weft_limits.h"
#include "cs_tree.h"

/* A page of the tree can't be read: goes on with what may be behind it, or says that there is nothing. */
static int skip(struct cs_store *store, struct cs_scrub *scrub, const struct cs_key *key, int error)
{
    char text[LIMITS_ERROR_TEXT_MAX + 1];
    struct cs_key at = *key;
    struct cs_record record;
    snprintf(text, sizeof text, "%s", err_text());
    /* The key's own leaf is whole when it was the one behind that failed. */
    const int own = cs_tree_get(&store->pages, &at, &record);
    if (own == 0 || own == -ENOENT)
        scrub->ended = cs_tree_behind(&store->pages, &at, &at) != 0;
    if (scrub->ended || cs_tree_behind(&store->pages, &at, &scrub->key))
        scrub->ended = true;
    else if (scrub->key.index > 0)
        scrub->key.index--; /* the next one looked for is one more */
    err_set(error, "%s: %s", store->config.name, text);
    return 1;
}

int cs_scrub_next(struct cs_store *store, struct cs_scrub *scrub)
{
    struct cs_record record;
    struct cs_key key = scrub->key;
    cs_nowait(store, false);
    if (scrub->ended)
        return -ENOENT;
    do {
        cs_pages_trim(&store->pages);
        key.index++;
        int error = cs_tree_at_least(&store->pages, &key, &record);
        if (error == -EBADMSG || error == -EIO || error == -ENODATA)
            return skip(store, scrub, &key, error);
        if (error)
            return error;
        key = record.key;
    } while (key.kind != CS_KIND_OBJECT || key.index == 0);
    scrub->key = key;
    return cs_strip_get(store, cs_key_name(&scrub->key), key.index - 1, &scrub->strip) ? 1 : 0;
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
                          void (*report)(void *arg, struct cs_name name, uint64_t offset, const char *text),
                          void *arg)
{
    const uint64_t index = scrub->key.index - 1;
    const struct cs_name name = cs_key_name(&scrub->key);
    struct cs_strip now;
    uint8_t bytes[CS_BLOCK];
    unsigned damaged = 0;
    cs_nowait(store, false);
    if (cs_strip_get(store, name, index, &now))
        return 0;
    for (unsigned i = 0; i < CS_STRIP_BLOCKS; i++) {
        const uint64_t offset = index * CS_STRIP + (uint64_t)i * CS_BLOCK;
        if (!(bad >> i & 1) || now.block[i] != scrub->strip.block[i] || now.crc[i] != scrub->strip.crc[i] ||
            !cs_block_load(store, name, offset, now.block[i], now.crc[i], bytes))
            continue;
        damaged++;
        report(arg, name, offset, err_text());
    }
    return damaged;
}
