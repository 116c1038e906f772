/* SPDX-License-Identifier: Apache-2.0 */
#include "cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "list.h"

/* How far behind a block that was read another belongs to the same stream of reads. */
#define STREAM_BLOCKS 4u

/* A run of bytes within a block. */
struct run {
    uint32_t from;
    uint32_t to;
};

struct block {
    struct list_link bucket;
    struct list_link age; /* in cache->blocks, the one used last at the end */
    uint64_t offset;      /* in the file */
    struct run valid;
    struct run dirty; /* within `valid`; empty when both are 0 */
    size_t together;  /* blocks of the read that it came by */
    uint8_t bytes[CACHE_BLOCK_BYTES];
};

struct cache {
    struct cache_backing backing;
    size_t count, count_max;
    size_t dirty_count;
    size_t bucket_count; /* a power of two */
    struct list *buckets;
    struct list blocks;
};

static struct block *block_of_age(struct list_link *link)
{
    return list_item(link, struct block, age);
}

static bool is_dirty(const struct block *block)
{
    return block->dirty.from < block->dirty.to;
}

static uint64_t block_begin(uint64_t offset)
{
    return offset / CACHE_BLOCK_BYTES * CACHE_BLOCK_BYTES;
}

static struct run whole(void)
{
    return (struct run){0, CACHE_BLOCK_BYTES};
}

static bool is_empty(struct run run)
{
    return run.from == run.to;
}

/* The smallest run that holds both. */
static struct run run_join(struct run a, struct run b)
{
    if (is_empty(a))
        return b;
    return (struct run){a.from < b.from ? a.from : b.from, a.to > b.to ? a.to : b.to};
}

static bool run_holds(struct run outer, struct run inner)
{
    return outer.from <= inner.from && inner.to <= outer.to;
}

static bool run_touches(struct run a, struct run b)
{
    return a.from <= b.to && b.from <= a.to;
}

/* ---- memory ------------------------------------------------------------- */

/* Blocks that no cache has: the next file gets pages that the kernel need not clear. A program that has
 * many files one after the other spends a tenth of its time on that otherwise. */
#define SPARE_BLOCKS_MAX 64u
static struct block *spare[SPARE_BLOCKS_MAX];
static size_t spare_count;

static struct block *block_new(void)
{
    return spare_count > 0 ? spare[--spare_count] : malloc(sizeof(struct block));
}

static void block_free(struct block *block)
{
    if (spare_count < SPARE_BLOCKS_MAX)
        spare[spare_count++] = block;
    else
        free(block);
}

void cache_memory_end(void)
{
    while (spare_count > 0)
        free(spare[--spare_count]);
}

/* ---- the table --------------------------------------------------------- */

static struct list *bucket_of(const struct cache *cache, uint64_t offset)
{
    uint64_t hash = offset / CACHE_BLOCK_BYTES * UINT64_C(0x9e3779b97f4a7c15);
    return &cache->buckets[(hash >> 32) & (cache->bucket_count - 1)];
}

static struct block *find(const struct cache *cache, uint64_t offset)
{
    struct list *bucket = bucket_of(cache, offset);
    list_each(bucket, link, after)
    {
        struct block *block = list_item(link, struct block, bucket);
        if (block->offset == offset)
            return block;
    }
    return NULL;
}

static void drop(struct cache *cache, struct block *block)
{
    if (is_dirty(block))
        cache->dirty_count--;
    list_remove(&block->bucket);
    list_remove(&block->age);
    cache->count--;
    block_free(block);
}

/* When the memory is used up, all that was written goes out at once, and the block that was not used for
 * longest goes. */
static int make_room(struct cache *cache)
{
    if (cache->count < cache->count_max)
        return 0;
    struct block *oldest = block_of_age(list_first(&cache->blocks));
    int error = is_dirty(oldest) ? cache_flush(cache) : 0;
    if (!error)
        drop(cache, oldest);
    return error;
}

/* The block there, perhaps a new one, in which nothing is valid yet. */
static int obtain(struct cache *cache, uint64_t offset, struct block **out)
{
    struct block *block = find(cache, offset);
    if (block) {
        list_remove(&block->age);
        list_push_back(&cache->blocks, &block->age);
        *out = block;
        return 0;
    }
    int error = make_room(cache);
    if (error)
        return error;
    block = block_new();
    if (!block)
        return -ENOMEM;
    block->offset = offset;
    block->valid = block->dirty = (struct run){0, 0};
    block->together = 0;
    list_push_back(bucket_of(cache, offset), &block->bucket);
    list_push_back(&cache->blocks, &block->age);
    cache->count++;
    *out = block;
    return 0;
}

struct cache *cache_new(size_t bytes, const struct cache_backing *backing)
{
    struct cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return NULL;
    cache->backing = *backing;
    cache->count_max = bytes / CACHE_BLOCK_BYTES > 1 ? bytes / CACHE_BLOCK_BYTES : 1;
    for (cache->bucket_count = 16; cache->bucket_count < cache->count_max && cache->bucket_count < 1u << 16;)
        cache->bucket_count *= 2;
    cache->buckets = malloc(cache->bucket_count * sizeof *cache->buckets);
    if (!cache->buckets) {
        free(cache);
        return NULL;
    }
    for (size_t i = 0; i < cache->bucket_count; i++)
        list_init(&cache->buckets[i]);
    list_init(&cache->blocks);
    return cache;
}

void cache_free(struct cache *cache)
{
    if (!cache)
        return;
    list_each(&cache->blocks, link, after) block_free(block_of_age(link));
    free(cache->buckets);
    free(cache);
}

/* ---- bytes of one block -------------------------------------------------- */

/* A block a little before this one that was read, so that a stream of reads may have come here; there may
 * be several at once, and HDF5 goes back and forth between neighbours. */
static const struct block *stream_before(const struct cache *cache, const struct block *block)
{
    for (uint64_t back = CACHE_BLOCK_BYTES;
         back <= block->offset && back <= STREAM_BLOCKS * CACHE_BLOCK_BYTES; back += CACHE_BLOCK_BYTES) {
        const struct block *before = find(cache, block->offset - back);
        if (before)
            return run_holds(before->valid, whole()) ? before : NULL;
    }
    return NULL;
}

/*
 * The run of blocks to be read when this one is: twice as many as by the read that ended before it, from
 * there on, as far as nothing is known of them. The caller finds its block among them.
 */
static size_t obtain_stream(struct cache *cache, struct block *block,
                            struct block *blocks[CACHE_AHEAD_BLOCKS])
{
    const struct block *before = stream_before(cache, block);
    size_t most = cache->count_max / 4 < CACHE_AHEAD_BLOCKS ? cache->count_max / 4 : CACHE_AHEAD_BLOCKS;
    size_t wanted = before ? before->together * 2 : 1, count;
    wanted = wanted < most ? wanted : most;
    uint64_t at = before ? before->offset + CACHE_BLOCK_BYTES : block->offset;
    if (block->offset - at >= wanted * CACHE_BLOCK_BYTES)
        at = block->offset;
    for (count = 0; count < wanted; count++, at += CACHE_BLOCK_BYTES) {
        blocks[count] = block;
        if (at != block->offset && (find(cache, at) || obtain(cache, at, &blocks[count])))
            break;
    }
    if (at > block->offset)
        return count;
    /* No memory for what is before it: the block alone. */
    while (count > 0)
        drop(cache, blocks[--count]);
    blocks[0] = block;
    return 1;
}

/* Notes that `got` bytes of the run were there. What was read for the future only and is not in the file
 * is forgotten. */
static void take_stream(struct cache *cache, struct block *wanted, struct block **blocks, size_t count,
                        ssize_t got)
{
    for (size_t i = 0; i < count; i++) {
        if (got >= 0 && (blocks[i] == wanted || (size_t)got > i * CACHE_BLOCK_BYTES)) {
            blocks[i]->valid = whole();
            blocks[i]->together = count;
        } else if (blocks[i] != wanted) {
            drop(cache, blocks[i]);
        }
    }
}

/* Reads what is not valid yet, and blocks that will be asked for next. */
static int fill(struct cache *cache, struct block *block)
{
    struct run kept = block->valid;
    size_t length = kept.to - kept.from;
    uint8_t *saved = length > 0 ? malloc(length) : NULL;
    if (length > 0 && !saved)
        return -ENOMEM;
    if (saved)
        memcpy(saved, block->bytes + kept.from, length);
    struct block *blocks[CACHE_AHEAD_BLOCKS];
    struct iovec pieces[CACHE_AHEAD_BLOCKS];
    size_t count = obtain_stream(cache, block, blocks);
    for (size_t i = 0; i < count; i++)
        pieces[i] = (struct iovec){blocks[i]->bytes, CACHE_BLOCK_BYTES};
    ssize_t got = cache->backing.read(cache->backing.arg, blocks[0]->offset, pieces, count);
    if (saved)
        memcpy(block->bytes + kept.from, saved, length);
    free(saved);
    take_stream(cache, block, blocks, count, got);
    return got < 0 ? (int)got : 0;
}

static int fill_run(struct cache *cache, struct block *block, struct run run)
{
    struct iovec piece = {block->bytes + run.from, run.to - run.from};
    ssize_t got = cache->backing.read(cache->backing.arg, block->offset + run.from, &piece, 1);
    if (got >= 0)
        block->valid = run;
    return got < 0 ? (int)got : 0;
}

static int read_near(struct cache *cache, struct block *block, struct run run, uint8_t *bytes)
{
    int error = run_holds(block->valid, run) ? 0 : fill(cache, block);
    if (!error)
        memcpy(bytes, block->bytes + run.from, run.to - run.from);
    return error;
}

/* The first time that a block is asked for, only what is asked for is read, but in a stream of reads. */
static int read_far(struct cache *cache, struct block *block, struct run run, uint8_t *bytes)
{
    bool is_alone = is_empty(block->valid) && !stream_before(cache, block);
    int error = is_alone ? fill_run(cache, block, run) : 0;
    return error ? error : read_near(cache, block, run, bytes);
}

static int write_block(struct cache *cache, struct block *block, struct run run, uint8_t *bytes)
{
    /* What lies between this piece and those before would be written too: it must be known. */
    bool is_apart = !is_empty(block->valid) && !run_touches(block->valid, run);
    int error = is_apart ? fill(cache, block) : 0;
    if (error)
        return error;
    memcpy(block->bytes + run.from, bytes, run.to - run.from);
    block->valid = run_join(block->valid, run);
    if (!is_dirty(block))
        cache->dirty_count++;
    block->dirty = run_join(block->dirty, run);
    return 0;
}

/* The part of a piece that lies in the first block that it meets. */
static struct run first_run(uint64_t offset, uint64_t length)
{
    uint32_t from = (uint32_t)(offset % CACHE_BLOCK_BYTES);
    return (struct run){from,
                        length < CACHE_BLOCK_BYTES - from ? from + (uint32_t)length : CACHE_BLOCK_BYTES};
}

/* Calls `each` for the part of a piece in every block that it meets, until one fails. */
typedef int part_fn(struct cache *cache, struct block *block, struct run run, uint8_t *bytes);

static int each_part(struct cache *cache, uint64_t offset, uint8_t *bytes, size_t length, part_fn *each)
{
    struct block *block;
    while (length > 0) {
        struct run run = first_run(offset, length);
        uint32_t done = run.to - run.from;
        int error = obtain(cache, block_begin(offset), &block);
        if (!error)
            error = each(cache, block, run, bytes);
        if (error)
            return error;
        bytes += done;
        offset += done;
        length -= done;
    }
    return 0;
}

int cache_read(struct cache *cache, uint64_t offset, void *buffer, size_t length, bool is_near)
{
    return each_part(cache, offset, buffer, length, is_near ? read_near : read_far);
}

int cache_write(struct cache *cache, uint64_t offset, const void *buffer, size_t length)
{
    /* write_block() only reads the bytes. */
    return each_part(cache, offset, (uint8_t *)buffer, length, write_block);
}

int cache_put(struct cache *cache, uint64_t offset, const void *bytes, size_t length)
{
    struct block *block;
    for (const uint8_t *at = bytes; length > 0;) {
        struct run run = first_run(offset, length);
        int error = obtain(cache, offset, &block);
        if (error)
            return error;
        if (is_empty(block->valid)) {
            memcpy(block->bytes, at, run.to);
            block->valid = run;
        }
        at += run.to;
        offset += run.to;
        length -= run.to;
    }
    return 0;
}

/* ---- what goes past the cache ---------------------------------------------- */

/* Calls `each` for the blocks that a run meets, whichever way is shorter: by the run or by the blocks. */
typedef bool each_fn(struct cache *cache, struct block *block, struct run run, void *arg);

static bool each_block(struct cache *cache, uint64_t offset, uint64_t length, each_fn *each, void *arg)
{
    if (length == 0 || cache->count == 0)
        return false;
    uint64_t end = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
    if ((end - offset) / CACHE_BLOCK_BYTES < cache->count) {
        for (uint64_t at = block_begin(offset); at < end; at += CACHE_BLOCK_BYTES) {
            struct block *block = find(cache, at);
            uint64_t from = offset > at ? offset : at;
            if (block && each(cache, block, first_run(from, end - from), arg))
                return true;
            if (at > UINT64_MAX - CACHE_BLOCK_BYTES)
                break;
        }
        return false;
    }
    list_each(&cache->blocks, link, after)
    {
        struct block *block = block_of_age(link);
        if (block->offset >= end || block->offset + CACHE_BLOCK_BYTES <= offset)
            continue;
        uint64_t from = offset > block->offset ? offset : block->offset;
        if (each(cache, block, first_run(from, end - from), arg))
            return true;
    }
    return false;
}

struct overwritten {
    const uint8_t *bytes;
    uint64_t offset;
};

static bool overwrite(struct cache *cache, struct block *block, struct run run, void *arg)
{
    const struct overwritten *over = arg;
    (void)cache;
    struct run run_valid = {run.from > block->valid.from ? run.from : block->valid.from,
                            run.to < block->valid.to ? run.to : block->valid.to};
    if (run_valid.from < run_valid.to)
        memcpy(block->bytes + run_valid.from, over->bytes + (block->offset + run_valid.from - over->offset),
               run_valid.to - run_valid.from);
    return false;
}

void cache_overwritten(struct cache *cache, uint64_t offset, const void *bytes, uint64_t length)
{
    struct overwritten over = {.bytes = bytes, .offset = offset};
    each_block(cache, offset, length, overwrite, &over);
}

static bool meets_dirty(struct cache *cache, struct block *block, struct run run, void *arg)
{
    (void)cache;
    (void)arg;
    return is_dirty(block) && run.from < block->dirty.to && block->dirty.from < run.to;
}

bool cache_holds_dirty(const struct cache *cache, uint64_t offset, uint64_t length)
{
    /* Nothing is changed by meets_dirty(). */
    return cache->dirty_count > 0 && each_block((struct cache *)cache, offset, length, meets_dirty, NULL);
}

/* ---- writing out ----------------------------------------------------------- */

static int by_offset(const void *a, const void *b)
{
    const struct block *one = *(struct block *const *)a, *other = *(struct block *const *)b;
    return one->offset < other->offset ? -1 : one->offset > other->offset;
}

static size_t collect_dirty(const struct cache *cache, struct block **blocks)
{
    size_t count = 0;
    list_each(&cache->blocks, link, after) if (is_dirty(block_of_age(link))) blocks[count++] =
        block_of_age(link);
    qsort(blocks, count, sizeof(*blocks), by_offset);
    return count;
}

int cache_flush(struct cache *cache)
{
    size_t room = cache->dirty_count;
    if (room == 0)
        return 0;
    struct block **blocks = malloc(room * sizeof(*blocks));
    struct iovec *pieces = malloc(room * sizeof *pieces);
    uint64_t *offsets = malloc(room * sizeof *offsets);
    int error = -ENOMEM;
    if (!blocks || !pieces || !offsets)
        goto free_lists;
    size_t count = collect_dirty(cache, blocks);
    for (size_t i = 0; i < count; i++) {
        struct run dirty = blocks[i]->dirty;
        pieces[i] = (struct iovec){blocks[i]->bytes + dirty.from, dirty.to - dirty.from};
        offsets[i] = blocks[i]->offset + dirty.from;
    }
    error = cache->backing.write(cache->backing.arg, pieces, offsets, count);
    for (size_t i = 0; !error && i < count; i++)
        blocks[i]->dirty = (struct run){0, 0};
    if (!error)
        cache->dirty_count = 0;

free_lists:
    free(offsets);
    free(pieces);
    free(blocks);
    return error;
}

void cache_cut(struct cache *cache, uint64_t size)
{
    list_each(&cache->blocks, link, after)
    {
        struct block *block = block_of_age(link);
        if (block->offset + CACHE_BLOCK_BYTES <= size)
            continue;
        uint32_t kept = size > block->offset ? (uint32_t)(size - block->offset) : 0;
        if (kept <= block->valid.from) {
            drop(cache, block);
            continue;
        }
        /* Should the file grow again, there are zeros. */
        if (is_dirty(block) && block->dirty.from >= kept) {
            block->dirty = (struct run){0, 0};
            cache->dirty_count--;
        } else if (block->dirty.to > kept) {
            block->dirty.to = kept;
        }
        if (block->valid.to > kept)
            memset(block->bytes + kept, 0, block->valid.to - kept);
    }
}

void cache_clear(struct cache *cache)
{
    list_each(&cache->blocks, link, after) if (!is_dirty(block_of_age(link))) drop(cache, block_of_age(link));
}
