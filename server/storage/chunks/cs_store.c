/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "err.h"
#include "log.h"
#include "weft_limits.h"
#include "cs_tree.h"

enum { CACHE_PAGES = 8192, GROW_BLOCKS = 16384, FIRST_PAGES = 512, FIRST_BLOCKS = 1024, RESERVE_BLOCKS = 16 };

/* ---- superblocks -------------------------------------------------------- */

union super_page {
    struct cs_super super;
    uint8_t bytes[CS_BLOCK];
};

static int read_super(const struct cs_config *config, uint32_t slot, union super_page *page,
                      const char **fault)
{
    struct iovec iov = {page->bytes, CS_BLOCK};
    *fault = NULL;
    int error = config->io->type->read(config->io, CS_META, (uint64_t)slot * CS_BLOCK, &iov, 1, false);
    if (error) {
        *fault = err_text();
        return error == -ENODATA || error == -EIO ? 0 : error;
    }
    const uint32_t crc = page->super.crc;
    if (memcmp(page->super.magic, CS_SUPER_MAGIC, sizeof page->super.magic) != 0)
        *fault = "it is none";
    else if (cs_super_crc(page->bytes) != crc)
        *fault = "its checksum is wrong";
    else if (page->super.version < CS_VERSION_READ || page->super.version > CS_VERSION)
        return err_set(-EINVAL, "%s was made by another version of Weft (format %" PRIu32 ", this is %d)",
                       config->name, page->super.version, CS_VERSION);
    else if (memcmp(page->super.uuid, config->uuid, sizeof config->uuid) != 0 ||
             page->super.shard != config->shard || page->super.slot != slot ||
             slot / 2 != page->super.generation % 2)
        *fault = "it belongs elsewhere";
    return 0;
}

/* The newest one that is whole. */
static int find_super(struct cs_store *store, struct cs_super *super)
{
    union super_page page;
    const char *fault, *last = "none was ever written";
    bool found = false;
    for (uint32_t slot = 0; slot < CS_SUPER_SLOTS; slot++) {
        int error = read_super(&store->config, slot, &page, &fault);
        if (error)
            return error;
        if (fault) {
            store->supers_bad++;
            last = fault;
        } else if (!found || page.super.generation > super->generation) {
            *super = page.super;
            found = true;
        }
    }
    return found
               ? 0
               : err_set(-EBADMSG, "%s: no superblock in \"meta\" is usable (%s)", store->config.name, last);
}

/* ---- opening ------------------------------------------------------------ */

/* Marks the pages of the tree. Leaves are not read, only named. */
static int mark_below(struct cs_store *store, uint32_t number, uint32_t crc, uint32_t level)
{
    struct cs_branch_entry entries[CS_BRANCH_MAX];
    struct cs_page *page;
    int error = cs_pages_mark(&store->pages, number), first;
    if (error || level == 0)
        return error;
    cs_pages_trim(&store->pages);
    first = cs_page_get(&store->pages, number, crc, level, &page);
    if (first)
        return first;
    const uint16_t count = page->header.count;
    memcpy(entries, page->entries, count * sizeof entries[0]);
    for (uint16_t i = 0; i < count; i++) {
        error = mark_below(store, entries[i].page, entries[i].crc, level - 1);
        first = first ? first : error;
    }
    return first;
}

void cs_fail(struct cs_store *store, int error, const char *text)
{
    if (store->failed)
        return;
    store->failed = error;
    store->failed_text = strdup(text);
}

/* What lies behind the end of a file is not there; the rest can be read. */
static int check_sizes(struct cs_store *store, struct cs_super *super)
{
    uint64_t data, meta;
    int error = store->io->type->size(store->io, CS_DATA, &data);
    if (!error)
        error = store->io->type->size(store->io, CS_META, &meta);
    if (error)
        return error;
    const bool short_data = data / CS_BLOCK < super->data_blocks;
    const bool short_meta = meta / CS_BLOCK < super->meta_pages;
    if (short_data || short_meta) {
        err_set(-EIO, "the file \"%s\" is shorter than it was", short_data ? "data" : "meta");
        cs_fail(store, -EIO, err_text());
        store->data_wanted = super->data_blocks;
        store->meta_wanted = super->meta_pages;
    }
    if (short_data)
        super->data_blocks = data / CS_BLOCK;
    if (short_meta)
        super->meta_pages = (uint32_t)(meta / CS_BLOCK);
    return 0;
}

/* What can't be known for sure must not be written over. */
static int read_metadata(struct cs_store *store, const struct cs_super *super)
{
    struct cs_pages *pages = &store->pages;
    if (super->data_blocks > CS_HOLE || super->root_level >= CS_DEPTH_MAX ||
        super->meta_pages < CS_SUPER_SLOTS || (super->root && super->root >= super->meta_pages))
        return err_set(-EBADMSG, "%s: the superblock is impossible", store->config.name);
    int error = cs_pages_open(pages, store->io, super->meta_pages, store->config.cache_pages);
    if (error)
        return error;
    memcpy(&pages->owner, super->uuid, sizeof pages->owner);
    pages->owner += super->shard;
    pages->generation = super->generation + 1;
    pages->root = super->root;
    pages->root_crc = super->root_crc;
    pages->root_level = super->root_level;
    store->objects = super->objects;
    store->generation = super->generation;
    store->log.sequence = store->log.base = super->log_sequence;
    if (super->root)
        error = mark_below(store, super->root, super->root_crc, super->root_level);
    if (error == -ENOMEM)
        return error;
    if (error)
        cs_fail(store, -EIO, err_text());
    error = cs_space_open(&store->space, pages, (uint32_t)super->data_blocks);
    if (error == -ENOMEM)
        return error;
    if (error)
        cs_fail(store, -EIO, err_text());
    return 0;
}

/* As the last commit left it. */
static int mount_commit(struct cs_store *store)
{
    struct cs_super super = {0};
    int error = find_super(store, &super);
    if (!error)
        error = check_sizes(store, &super);
    store->version = super.version;
    return error ? error : read_metadata(store, &super);
}

static void forget(struct cs_store *store)
{
    cs_space_close(&store->space);
    cs_pages_close(&store->pages);
    free(store->failed_text);
    store->failed_text = NULL;
    store->failed = 0;
    store->changed = false;
    store->damaged = 0;
    store->supers_bad = 0;
    store->bytes_dirty = 0;
    store->data_wanted = store->meta_wanted = 0;
}

int cs_remount(struct cs_store *store)
{
    assert(!store->sealed);
    forget(store);
    store->log.replayed = 0;
    return mount_commit(store);
}

/* What the log has on top of the commit, all or nothing; committed, so that the log can begin anew, and so
 * that a build of before, which can't read it, does not take the commit for all there is. */
static int mount_log(struct cs_store *store)
{
    bool found = false, good = true;
    int error = cs_log_replay(store, &found, &good);
    const uint64_t sequence = store->log.sequence;
    if (!error && !good)
        error = cs_remount(store);
    if (error || (!found && store->version == CS_VERSION))
        return error;
    store->log.sequence = sequence + CS_LOG_JUMP;
    store->changed = true;
    error = cs_commit(store);
    if (!error && store->log.replayed)
        log_info("%s: %" PRIu64 " changes since the last commit were found in the log", store->config.name,
                 store->log.replayed);
    return error;
}

static int make_edges(struct cs_store *store)
{
    store->edges = malloc((CS_EDGES + 1) * sizeof *store->edges);
    if (!store->edges)
        return err_set(-ENOMEM, "no memory for a store");
    for (unsigned i = 0; i <= CS_EDGES; i++)
        store->edges[i].block = CS_HOLE;
    return 0;
}

int cs_open(const struct cs_config *config, struct cs_store **result)
{
    struct cs_store *store = calloc(1, sizeof *store);
    if (!store) {
        config->io->type->close(config->io);
        return err_set(-ENOMEM, "no memory for a store");
    }
    store->config = *config;
    store->io = config->io;
    if (!store->config.cache_pages)
        store->config.cache_pages = CACHE_PAGES;
    if (!store->config.grow_blocks)
        store->config.grow_blocks = GROW_BLOCKS;
    if (!store->config.data_blocks_max)
        store->config.data_blocks_max = CS_HOLE;
    int error = cs_log_open(store);
    if (!error)
        error = make_edges(store);
    if (!error)
        error = mount_commit(store);
    if (!error && config->log && !store->failed)
        error = mount_log(store);
    if (error) {
        cs_close(store);
        return error;
    }
    if (config->discard)
        cs_space_all_stale(&store->space);
    /* A repair, which has neither, looks at the map as it is, and takes no block. */
    if ((config->log || config->discard) && cs_io_punches(store->io) &&
        store->io->type->has_holes(store->io, CS_DATA))
        cs_space_all_holes(&store->space);
    /* A server that was killed may have left a commit's superblock unflushed. */
    store->is_unsure = config->log && !store->failed;
    if (!config->log)
        store->log.sequence += CS_LOG_JUMP; /* what the log has is of no use on what this one changes */
    else if (!store->failed)
        cs_log_begin(store);
    if (store->failed)
        log_error("%s: the metadata is damaged, so it can only be read: %s", config->name,
                  store->failed_text);
    *result = store;
    return 0;
}

void cs_close(struct cs_store *store)
{
    cs_space_close(&store->space);
    cs_pages_close(&store->pages);
    cs_log_close(store);
    free(store->edges);
    store->io->type->close(store->io);
    free(store->failed_text);
    free(store);
}

int cs_format(const struct cs_config *config)
{
    union super_page pages[CS_SUPER_SLOTS];
    struct iovec iov = {pages, sizeof pages};
    struct cs_io *io = config->io;
    memset(pages, 0, sizeof pages);
    for (uint32_t slot = 0; slot < CS_SUPER_SLOTS; slot++) {
        struct cs_super *super = &pages[slot].super;
        memcpy(super->magic, CS_SUPER_MAGIC, sizeof super->magic);
        super->version = CS_VERSION;
        super->generation = slot / 2;
        memcpy(super->uuid, config->uuid, sizeof super->uuid);
        super->shard = config->shard;
        super->slot = slot;
        super->meta_pages = FIRST_PAGES;
        super->crc = cs_super_crc(pages[slot].bytes);
    }
    int error = io->type->grow(io, CS_META, (uint64_t)FIRST_PAGES * CS_BLOCK);
    if (!error)
        error = io->type->write(io, CS_META, 0, &iov, 1);
    return error ? error : io->type->flush(io, CS_META);
}

/* ---- what all operations need ------------------------------------------- */

void cs_nowait(struct cs_store *store, bool nowait)
{
    store->pages.nowait = nowait;
}

int64_t cs_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Of the object's record; -EAGAIN, or another error when that says nothing that can be. */
static int layout_of(struct cs_store *store, struct cs_name name, struct layout *layout)
{
    struct cs_object_record object;
    int error = cs_object_find(store, name, &object);
    if (error)
        return error;
    *layout = (struct layout){.chunk_size = object.chunk_size,
                              .seed = object.seed,
                              .stripe_count = object.stripe_count,
                              .group_count = object.group_count};
    const bool is_possible = layout_valid(layout) && name.position < layout->stripe_count &&
                             store->config.shard < store->config.shard_count;
    return is_possible ? 0 : -ENOENT;
}

int cs_place(struct cs_store *store, struct cs_name name, uint64_t offset, char text[CS_PLACE_BYTES])
{
    const struct layout_part part = {name.position, store->config.shard, store->config.shard_count};
    struct layout layout;
    char second[32] = "";
    int error = layout_of(store, name, &layout);
    if (error == -EAGAIN)
        return error;
    if (error) {
        snprintf(text, CS_PLACE_BYTES, "offset %" PRIu64 " of its object at position %" PRIu32, offset,
                 name.position);
        return 0;
    }
    /* A block may have the end of one chunk and the beginning of another one. */
    const uint64_t border = layout.chunk_size - offset % layout.chunk_size;
    if (border < CS_BLOCK)
        snprintf(second, sizeof second, " and %" PRIu64, layout_file_offset(&layout, &part, offset + border));
    snprintf(text, CS_PLACE_BYTES,
             "offset %" PRIu64 "%s of the file (position %" PRIu32 ", object offset %" PRIu64 ")",
             layout_file_offset(&layout, &part, offset), second, name.position, offset);
    return 0;
}

/* The latest text, with all names in front. */
static int name_error(struct cs_store *store, struct cs_name name, uint64_t offset, const char *what)
{
    char text[LIMITS_ERROR_TEXT_MAX + 1], place[CS_PLACE_BYTES];
    snprintf(text, sizeof text, "%s", err_text());
    if (cs_place(store, name, offset, place))
        return -EAGAIN;
    return err_set(-EIO, "%s: inode %" PRIu64 " %s at %s: %s", store->config.name, name.ino, what, place,
                   text);
}

int cs_damage(struct cs_store *store, struct cs_name name, uint64_t offset, int error)
{
    if (error != -EBADMSG && error != -ENODATA)
        return error;
    error = name_error(store, name, offset, "is damaged");
    store->damaged += error != -EAGAIN;
    return error;
}

int cs_unreadable(struct cs_store *store, struct cs_name name, uint64_t offset, int error)
{
    return error == -EIO ? name_error(store, name, offset, "can't be read")
                         : cs_damage(store, name, offset, error);
}

int cs_changeable(struct cs_store *store)
{
    if (!store->failed)
        return 0;
    return err_set(store->failed, "%s can only be read, since %s", store->config.name,
                   store->failed_text ? store->failed_text : "an earlier write failed");
}

static int grow_pages(struct cs_store *store)
{
    struct cs_pages *pages = &store->pages;
    uint64_t more = pages->total / 8 < FIRST_PAGES ? FIRST_PAGES : pages->total / 8;
    if (pages->total + more > CS_HOLE)
        return err_set(-ENOSPC, "%s: the metadata has reached the format's bound", store->config.name);
    int error = store->io->type->grow(store->io, CS_META, (pages->total + more) * CS_BLOCK);
    return error ? error : cs_pages_total_set(pages, pages->total + (uint32_t)more);
}

static int grow_blocks(struct cs_store *store)
{
    struct cs_space *space = &store->space;
    const uint32_t max = store->config.data_blocks_max;
    const uint32_t least = store->config.grow_blocks < 256 ? store->config.grow_blocks : 256;
    uint64_t more =
        space->blocks / 8 < store->config.grow_blocks ? store->config.grow_blocks : space->blocks / 8;
    int error = -ENOSPC;
    if (more > 1u << 18)
        more = 1u << 18;
    /* A small store takes a small file: it grows by its own size at first. */
    const uint64_t first = space->blocks > FIRST_BLOCKS ? space->blocks : FIRST_BLOCKS;
    if (more > first)
        more = first;
    for (; error == -ENOSPC && more >= least; more /= 2) {
        if (space->blocks + more > max)
            continue;
        error = store->io->type->grow(store->io, CS_DATA, (space->blocks + more) * CS_BLOCK);
        if (!error)
            return cs_space_blocks_set(space, space->blocks + (uint32_t)more);
    }
    return error == -ENOSPC ? err_set(-ENOSPC, "%s is full", store->config.name) : error;
}

int cs_room(struct cs_store *store, uint32_t blocks, bool frees)
{
    int error = cs_log_room(store);
    if (error)
        return error;
    /* The puts of a strip and its object, and of the groups that they touch. */
    const uint32_t wanted = 8 * cs_tree_pages_wanted(&store->pages);
    const uint32_t pages = wanted + (frees ? 0 : CS_PAGES_RESERVE);
    if (store->pages.free < wanted + CS_PAGES_RESERVE) {
        if (store->pages.nowait)
            return -EAGAIN;
        error = grow_pages(store);
        if (error && error != -ENOSPC)
            return error;
        if (store->pages.free < pages)
            return err_set(-ENOSPC, "%s is full: there is no room for metadata", store->config.name);
    }
    const uint32_t reserve = frees ? 0 : RESERVE_BLOCKS;
    /* Large writes do not scatter over what is left between others, while holes could be filled. */
    const bool wants_strips =
        blocks >= CS_STRIP_BLOCKS / 4 && store->space.no_strips && store->space.hole_blocks;
    if (wants_strips && store->pages.nowait)
        return -EAGAIN;
    if (wants_strips)
        cs_discard_undo(store); /* what can't be had is no error yet */
    while (blocks > 0 && store->space.free < blocks + reserve) {
        if (store->pages.nowait)
            return -EAGAIN;
        error = cs_discard_undo(store);
        if (error == 0)
            error = grow_blocks(store);
        if (error < 0)
            return error;
    }
    return 0;
}
