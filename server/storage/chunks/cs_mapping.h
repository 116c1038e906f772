/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_mapping.h: a file that is reached through memory, without a call of the system for each
 * access: the log, of which it is enough that the page cache has it, and all files of a store that lies in
 * memory (tmpfs). There a call costs more than what it does: 4 KiB are copied in 0.1 us, a call takes 1 us.
 *
 * A file is mapped in segments where it is touched, and those stay until the end. Only bytes that
 * have space behind them are ever touched: a full file system would end the process there (SIGBUS), as would
 * somebody who cuts the file meanwhile, and an error of a disk. So `data` and `meta` on a disk are not
 * mapped.
 *
 * Threads: reads and writes from several at once, also beside one call of cs_mapping_cover().
 */
#ifndef CS_MAPPING_H
#define CS_MAPPING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct cs_segment;

/* Together 16 TiB, what a store can have. */
enum { CS_SEGMENT_BYTES = 64 << 20, CS_SEGMENTS = 1 << 18 };

struct cs_mapping {
    int fd; /* the caller's */
    /* What may be touched. 0: nothing, it can't be mapped, or isn't wanted. */
    atomic_uint_fast64_t size;
    _Atomic(struct cs_segment *) *segments;
};

/* Whether the file system of `fd` is in memory. */
bool cs_mapping_in_memory(int fd);

/* Nothing is mapped yet. */
void cs_mapping_open(struct cs_mapping *mapping, int fd);
void cs_mapping_close(struct cs_mapping *mapping);

/* Takes in all that the file has by now, with space behind every byte of it. When that can't be had, it stays
 * as it was: what is not mapped is reached by calls. */
void cs_mapping_cover(struct cs_mapping *mapping);

/* Both: false when not all of these bytes are mapped, and then nothing is done. */
bool cs_mapping_read(struct cs_mapping *mapping, uint64_t offset, const struct iovec *iov, int iov_count);
bool cs_mapping_write(struct cs_mapping *mapping, uint64_t offset, const struct iovec *iov, int iov_count);

/* A page's first write is made by a call: through memory, the kernel would fill it with zeros before
 * (0.75 ms for 1 MiB, and 0.2 by a call). The first notes that it was made; the second tells whether all of
 * these were. */
void cs_mapping_written(struct cs_mapping *mapping, uint64_t offset, size_t length);
bool cs_mapping_is_written(struct cs_mapping *mapping, uint64_t offset, size_t length);

#endif
