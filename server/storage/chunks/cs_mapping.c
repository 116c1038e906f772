/* SPDX-License-Identifier: Apache-2.0 */
#include "cs_mapping.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "copy.h"
#include "storage/iov.h"

enum { PAGE_BYTES = 4096 };

#define SEGMENT_BYTES ((uint64_t)CS_SEGMENT_BYTES)
#define SEGMENT_PAGES (SEGMENT_BYTES / PAGE_BYTES)

struct cs_segment {
    uint8_t *bytes;
    atomic_uint_fast64_t written[SEGMENT_PAGES / 64]; /* a bit for each page */
};

bool cs_mapping_in_memory(int fd)
{
    struct statfs stat;
    return fstatfs(fd, &stat) == 0 && (stat.f_type == TMPFS_MAGIC || stat.f_type == RAMFS_MAGIC);
}

void cs_mapping_open(struct cs_mapping *mapping, int fd)
{
    mapping->fd = fd;
    atomic_init(&mapping->size, 0);
    mapping->segments = NULL;
}

void cs_mapping_close(struct cs_mapping *mapping)
{
    for (size_t i = 0; mapping->segments && i < CS_SEGMENTS; i++) {
        struct cs_segment *segment = atomic_load_explicit(&mapping->segments[i], memory_order_relaxed);
        if (segment)
            munmap(segment->bytes, SEGMENT_BYTES);
        free(segment);
    }
    free(mapping->segments);
    mapping->segments = NULL;
    atomic_store(&mapping->size, 0);
}

void cs_mapping_cover(struct cs_mapping *mapping)
{
    struct stat stat;
    if (!mapping->segments)
        mapping->segments = calloc(CS_SEGMENTS, sizeof *mapping->segments);
    if (!mapping->segments || fstat(mapping->fd, &stat) || stat.st_size == 0)
        return;
    if (stat.st_blocks * UINT64_C(512) < (uint64_t)stat.st_size && fallocate(mapping->fd, 0, 0, stat.st_size))
        return;
    atomic_store(&mapping->size, (uint64_t)stat.st_size);
}

/* It may reach beyond the file's end: only what lies in front of that is touched. */
static struct cs_segment *segment_map(struct cs_mapping *mapping, uint64_t index)
{
    struct cs_segment *none = NULL, *segment = calloc(1, sizeof *segment);
    if (!segment)
        return NULL;
    segment->bytes = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                          mapping->fd, (off_t)(index * SEGMENT_BYTES));
    if (segment->bytes == MAP_FAILED) {
        free(segment);
        return NULL;
    }
    if (atomic_compare_exchange_strong(&mapping->segments[index], &none, segment))
        return segment;
    munmap(segment->bytes, SEGMENT_BYTES);
    free(segment);
    return none;
}

static struct cs_segment *segment_of(struct cs_mapping *mapping, uint64_t offset)
{
    struct cs_segment *segment = atomic_load(&mapping->segments[offset / SEGMENT_BYTES]);
    return segment ? segment : segment_map(mapping, offset / SEGMENT_BYTES);
}

static bool is_mapped(struct cs_mapping *mapping, uint64_t offset, size_t length)
{
    const uint64_t size = atomic_load(&mapping->size);
    if (length == 0 || offset > size || length > size - offset || size > CS_SEGMENTS * SEGMENT_BYTES)
        return false;
    for (uint64_t at = offset - offset % SEGMENT_BYTES; at < offset + length; at += SEGMENT_BYTES)
        if (!segment_of(mapping, at))
            return false;
    return true;
}

/* Copies from or to the mapping, of which all is there. */
static void copy(struct cs_mapping *mapping, uint64_t offset, const struct iovec *iov, int iov_count, bool in)
{
    for (int i = 0; i < iov_count; i++)
        for (size_t done = 0; done < iov[i].iov_len;) {
            const uint64_t room = SEGMENT_BYTES - offset % SEGMENT_BYTES;
            const size_t left = iov[i].iov_len - done, length = left < room ? left : (size_t)room;
            uint8_t *there = segment_of(mapping, offset)->bytes + offset % SEGMENT_BYTES;
            uint8_t *here = (uint8_t *)iov[i].iov_base + done;
            copy_bytes(in ? there : here, in ? here : there, length);
            done += length;
            offset += length;
        }
}

bool cs_mapping_read(struct cs_mapping *mapping, uint64_t offset, const struct iovec *iov, int iov_count)
{
    if (!is_mapped(mapping, offset, iov_length(iov, (size_t)iov_count)))
        return false;
    copy(mapping, offset, iov, iov_count, false);
    return true;
}

bool cs_mapping_write(struct cs_mapping *mapping, uint64_t offset, const struct iovec *iov, int iov_count)
{
    if (!is_mapped(mapping, offset, iov_length(iov, (size_t)iov_count)))
        return false;
    copy(mapping, offset, iov, iov_count, true);
    return true;
}

/* The word with the bit of the page at *offset, and the bits of it that are meant. *offset moves on. */
static atomic_uint_fast64_t *bits_of(struct cs_mapping *mapping, uint64_t *offset, uint64_t end,
                                     uint64_t *mask)
{
    const uint64_t page = *offset / PAGE_BYTES, last = (end - 1) / PAGE_BYTES;
    const uint64_t word_end = page | 63, bits = (last < word_end ? last : word_end) - page + 1;
    struct cs_segment *segment = segment_of(mapping, *offset);
    *mask = (bits == 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1) << page % 64;
    *offset = (word_end + 1) * PAGE_BYTES;
    return &segment->written[page % SEGMENT_PAGES / 64];
}

void cs_mapping_written(struct cs_mapping *mapping, uint64_t offset, size_t length)
{
    const uint64_t end = offset + length;
    uint64_t mask;
    if (!is_mapped(mapping, offset, length))
        return;
    while (offset < end) {
        atomic_uint_fast64_t *word = bits_of(mapping, &offset, end, &mask);
        if (~atomic_load_explicit(word, memory_order_relaxed) & mask)
            atomic_fetch_or_explicit(word, mask, memory_order_relaxed);
    }
}

bool cs_mapping_is_written(struct cs_mapping *mapping, uint64_t offset, size_t length)
{
    const uint64_t end = offset + length;
    uint64_t mask;
    if (!is_mapped(mapping, offset, length))
        return false;
    while (offset < end) {
        const atomic_uint_fast64_t *word = bits_of(mapping, &offset, end, &mask);
        if (~atomic_load_explicit(word, memory_order_relaxed) & mask)
            return false;
    }
    return true;
}
