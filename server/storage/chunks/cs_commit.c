/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_commit.c: from what was changed in memory to what is durable. The order on the disk:
 *   1. data and pages, all to places that the last commit does not use; both files flushed
 *   2. the superblock, twice, in the slots of the commit before the last; flushed
 * Until 2 is done a mount finds the last commit, whole.
 */
#include "cs_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "weft_limits.h"

enum { PAGES_A_WRITE = 256 };

struct cs_commit {
    struct cs_io *io;
    struct cs_page **pages; /* in the order of their numbers */
    uint32_t page_count;
    struct cs_super super;
};

static void make_super(const struct cs_store *store, struct cs_super *super)
{
    const struct cs_pages *pages = &store->pages;
    memset(super, 0, sizeof *super);
    memcpy(super->magic, CS_SUPER_MAGIC, sizeof super->magic);
    super->version = CS_VERSION;
    super->generation = pages->generation - 1; /* cs_pages_seal() has counted on */
    memcpy(super->uuid, store->config.uuid, sizeof super->uuid);
    super->shard = store->config.shard;
    super->data_blocks = store->space.blocks;
    super->meta_pages = pages->total;
    super->root = pages->root;
    super->root_crc = pages->root_crc;
    super->root_level = pages->root_level;
    super->objects = store->objects;
    super->log_sequence = store->log.sequence;
}

int cs_seal(struct cs_store *store, struct cs_commit **result)
{
    *result = NULL;
    assert(!store->sealed);
    int error = store->changed ? cs_changeable(store) : 0;
    if (error || !store->changed)
        return error;
    struct cs_commit *commit = calloc(1, sizeof *commit);
    if (!commit)
        return err_set(-ENOMEM, "no memory for a commit");
    commit->io = store->io;
    error = cs_space_seal(&store->space);
    if (!error)
        error = cs_pages_seal(&store->pages, &commit->pages, &commit->page_count);
    if (error) {
        free(commit);
        /* Some groups count as written already: nothing may be built on that. */
        cs_fail(store, error, err_text());
        return error;
    }
    make_super(store, &commit->super);
    cs_log_switch(store);
    store->changed = false;
    store->sealed = true;
    store->flushing = commit->page_count;
    store->bytes_dirty = 0;
    *result = commit;
    return 0;
}

static int write_pages(struct cs_commit *commit)
{
    struct iovec iov[PAGES_A_WRITE];
    for (uint32_t i = 0; i < commit->page_count;) {
        const uint32_t begin = commit->pages[i]->number;
        int count = 0;
        while (i < commit->page_count && count < PAGES_A_WRITE &&
               commit->pages[i]->number == begin + (uint32_t)count)
            iov[count++] = (struct iovec){commit->pages[i++]->bytes, CS_BLOCK};
        int error = commit->io->type->write(commit->io, CS_META, (uint64_t)begin * CS_BLOCK, iov, count);
        if (error)
            return error;
    }
    return 0;
}

static int write_super(struct cs_commit *commit)
{
    union {
        struct cs_super super;
        uint8_t bytes[CS_BLOCK];
    } copies[2];
    const uint32_t slot = 2 * (uint32_t)(commit->super.generation % 2);
    memset(copies, 0, sizeof copies);
    for (uint32_t i = 0; i < 2; i++) {
        copies[i].super = commit->super;
        copies[i].super.slot = slot + i;
        copies[i].super.crc = cs_super_crc(copies[i].bytes);
    }
    struct iovec iov = {copies, sizeof copies};
    return commit->io->type->write(commit->io, CS_META, (uint64_t)slot * CS_BLOCK, &iov, 1);
}

int cs_commit_flush(struct cs_commit *commit)
{
    const struct cs_io_type *type = commit->io->type;
    int error = write_pages(commit);
    if (!error)
        error = type->flush(commit->io, CS_DATA);
    if (!error)
        error = type->flush(commit->io, CS_META);
    if (!error)
        error = write_super(commit);
    return error ? error : type->flush(commit->io, CS_META);
}

void cs_commit_finish(struct cs_store *store, struct cs_commit *commit, int status)
{
    assert(store->sealed);
    store->sealed = false;
    store->flushing = 0;
    if (status < 0) {
        char text[LIMITS_ERROR_TEXT_MAX + 1];
        snprintf(text, sizeof text, "a commit failed (%s); what was written since the last one is lost",
                 err_text());
        log_error("%s: %s", store->config.name, text);
        store->has_lost = true;
        cs_fail(store, -EIO, text);
    } else {
        cs_space_release(&store->space);
        cs_pages_release(&store->pages, commit->pages, commit->page_count);
        store->generation = commit->super.generation;
        store->is_unsure = false;
    }
    free(commit->pages);
    free(commit);
}

int cs_commit_sure(const struct cs_store *store)
{
    return store->io->type->flush(store->io, CS_META);
}

int cs_commit(struct cs_store *store)
{
    struct cs_commit *commit;
    int error = cs_seal(store, &commit);
    if (error || !commit)
        return error;
    error = cs_commit_flush(commit);
    cs_commit_finish(store, commit, error);
    return error;
}

bool cs_wants_commit(const struct cs_store *store)
{
    return store->pages.dirty_count > store->config.cache_pages / 2 ||
           store->space.pending.count > store->space.blocks / 4 + CS_GROUP_BLOCKS ||
           cs_log_wants_commit(&store->log);
}

bool cs_commit_gains(const struct cs_store *store)
{
    return store->space.discarding || store->space.pending.count || store->space.releasing.count ||
           store->pages.freed.count || store->pages.releasing.count;
}
