/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.h: blocks of one file in memory, for small reads and writes.
 *
 * What it is for: HDF5 reads and writes metadata in pieces of some hundred bytes. Each would be a
 * request; instead a block is read at once, and more blocks where they are asked for about in their
 * order. What was written goes out as one list, in the order of the file, when it is asked for or when
 * memory is short.
 *
 * What it promises
 *  - A read returns what was written last, whether it was written out or not.
 *  - cache_flush() writes all that was written; when it fails, nothing is forgotten, and it may be
 *    called again.
 *  - It holds at most the memory that it was given, and never reads to make room.
 *
 * It knows neither HDF5 nor Weft. One thread at a time, whatever the cache: they share spare memory, at
 * most 64 blocks, which the process keeps.
 */
#ifndef VFD_CACHE_H
#define VFD_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct cache;

#define CACHE_BLOCK_BYTES     65536u
/* Larger pieces gain nothing from a cache. */
#define CACHE_PIECE_BYTES_MAX (CACHE_BLOCK_BYTES / 2)
/* Blocks that are read at once, at most; and never more than a quarter of all. */
#define CACHE_AHEAD_BLOCKS    16u

/* Where the blocks come from and go to. */
struct cache_backing {
    void *arg;
    /* Fills the pieces with one run of the file, with zeros behind its end. Returns the bytes that
     * the file has of it, or a negative errno. */
    ssize_t (*read)(void *arg, uint64_t offset, const struct iovec *pieces, size_t count);
    /* Piece i goes to offsets[i]; ascending, without overlap. 0 or a negative errno. */
    int (*write)(void *arg, const struct iovec *pieces, const uint64_t *offsets, size_t count);
};

/* cache_new(): `bytes` of memory at most, and one block at least. NULL: no memory. */
struct cache *cache_new(size_t bytes, const struct cache_backing *backing);
/* cache_free(): what was not flushed is lost. */
void cache_free(struct cache *cache);

/* cache_memory_end(): gives spare memory back; caches may be made and used after it, too. */
void cache_memory_end(void);

/* A piece of any length and place. With `is_near`, what stands around it will be asked for soon, and is
 * read at once; without, only when the block is asked for a second time, or one close before it was read. */
int cache_read(struct cache *cache, uint64_t offset, void *buffer, size_t length, bool is_near);
int cache_write(struct cache *cache, uint64_t offset, const void *buffer, size_t length);

/* cache_put(): what is known to stand in the file there, from a block's begin on. */
int cache_put(struct cache *cache, uint64_t offset, const void *bytes, size_t length);

/* cache_overwritten(): these bytes were just written past the cache. */
void cache_overwritten(struct cache *cache, uint64_t offset, const void *bytes, uint64_t length);
/* cache_holds_dirty(): something of this run was written and not flushed. */
bool cache_holds_dirty(const struct cache *cache, uint64_t offset, uint64_t length);

int cache_flush(struct cache *cache);
/* cache_cut(): the file ends there now; what lay behind is forgotten. */
void cache_cut(struct cache *cache, uint64_t size);
/* cache_clear(): forgets everything that needs no flush. */
void cache_clear(struct cache *cache);

#endif
