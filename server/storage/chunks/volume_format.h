/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_format.h: the bytes of a disk that is a target by itself, as docs/chunk-store.md tells.
 * Little-endian.
 *
 *   0                       the label, a page of 4 KiB
 *   4 KiB                   the table: 8 bytes for each segment
 *   1 MiB                   the segments
 *   end - 1 MiB             a second label
 *   end - 1 MiB + 4 KiB     a second table
 *
 * `end` is the label's `bytes`. A segment belongs to one of the files of one shard (cs_io.h), or to nobody.
 */
#ifndef VOLUME_FORMAT_H
#define VOLUME_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum {
    VOLUME_VERSION = 1,
    VOLUME_PAGE = 4096,
    VOLUME_AREA = 1 << 20, /* bytes of label and table, in front and at the end */
    VOLUME_SEGMENT_MIN = 1 << 20,
    VOLUME_SEGMENTS_MAX = 65536,
    VOLUME_SHARDS_MAX = 256,
    VOLUME_TEXT_MAX = 1024, /* its end included */
};

#define VOLUME_MAGIC "WEFTDISK"

struct volume_label {
    char magic[8];              /* 0 */
    uint32_t version;           /* 8 */
    uint32_t crc;               /* 12: CRC32C of the whole page, taken with 0 here */
    uint64_t generation;        /* 16: grows by one when the text changes; the newer one of the two counts */
    uint8_t id[16];             /* 24: random; made with the table */
    uint64_t bytes;             /* 40: of the disk, in pages; what is behind is not used */
    uint64_t segment_bytes;     /* 48: a power of two */
    uint32_t segments;          /* 56 */
    uint32_t copy;              /* 60: 0: in front, 1: at the end */
    char text[VOLUME_TEXT_MAX]; /* 64: the target's description (target.h) */
    /* zeros */
};
static_assert(offsetof(struct volume_label, bytes) == 40 && offsetof(struct volume_label, text) == 64 &&
                  sizeof(struct volume_label) == 1088,
              "the label's bytes are fixed");

/* Whose a segment is; all zeros: nobody's. Once it is somebody's it stays so. */
struct volume_entry {
    uint32_t crc;   /* 0: CRC32C of the label's id, the segment's number (32 bits) and what follows here */
    uint16_t index; /* 4: which segment of the file */
    uint8_t file;   /* 6: enum cs_file + 1 */
    uint8_t shard;  /* 7 */
};
static_assert(sizeof(struct volume_entry) == 8, "the entry's bytes are fixed");
static_assert(VOLUME_SEGMENTS_MAX * sizeof(struct volume_entry) + VOLUME_PAGE <= VOLUME_AREA,
              "label and table fit");

#endif
