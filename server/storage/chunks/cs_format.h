/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cs_format.h: the bytes of the chunk store on disk, as docs/chunk-store.md
 * tells. Little-endian; every struct's place and size is pinned below.
 *
 * Four files make one store (one shard of one target):
 *   data          blocks of 4 KiB with the objects' bytes and nothing else
 *   meta          pages of 4 KiB: four superblocks, then the pages of one B-tree
 *   log-0, log-1  in turn: what was changed since a commit was sealed
 */
#ifndef CS_FORMAT_H
#define CS_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CS_VERSION = 3,
    CS_VERSION_READ = 2, /* the oldest that can be read: it has no CS_LOG_BLOCKS */
    CS_BLOCK = 4096,
    CS_STRIP_BLOCKS = 64,
    CS_STRIP = CS_STRIP_BLOCKS * CS_BLOCK, /* bytes of an object that one record maps */
    CS_SUPER_SLOTS = 4,
    CS_GROUP_BLOCKS = 8192, /* whose allocation one record tells */
    CS_GROUP_BYTES = CS_GROUP_BLOCKS / 8,
    CS_DEPTH_MAX = 12, /* levels of the tree; ten hold more than 2^32 pages can */
};

#define CS_SUPER_MAGIC "WEFTCHNK"
#define CS_LOG_MAGIC   "WEFTCLOG"
#define CS_PAGE_MAGIC  0x5743u

/* The first pages of `meta`. Generation g is in the slots 2 * (g % 2) and the one behind. The rest
 * of the page is zeros. */
struct cs_super {
    char magic[8];         /* 0 */
    uint32_t version;      /* 8 */
    uint32_t crc;          /* 12: CRC32C of the whole page, taken with 0 here */
    uint64_t generation;   /* 16: of the commit; grows by one */
    uint8_t uuid[16];      /* 24: the target's */
    uint32_t shard;        /* 40 */
    uint32_t slot;         /* 44 */
    uint64_t data_blocks;  /* 48: that `data` has */
    uint32_t meta_pages;   /* 56: that `meta` has */
    uint32_t root;         /* 60: page; 0: the tree is empty */
    uint32_t root_crc;     /* 64 */
    uint32_t root_level;   /* 68: 0 is a leaf */
    uint64_t objects;      /* 72 */
    uint64_t log_sequence; /* 80: of the first change that is not in this commit */
};
static_assert(offsetof(struct cs_super, generation) == 16, "the superblock's bytes are fixed");
static_assert(offsetof(struct cs_super, data_blocks) == 48, "the superblock's bytes are fixed");
static_assert(sizeof(struct cs_super) == 88, "the superblock's bytes are fixed");

/* Records of the tree and parts of a log's entry are filled up with zeros to multiples of 8. */
static inline uint64_t cs_padded(uint64_t length)
{
    return (length + 7) & ~UINT64_C(7);
}

/* In the order of kind, ino, position, index. */
struct cs_key {
    uint32_t kind;     /* 0 */
    uint32_t position; /* 4 */
    uint64_t ino;      /* 8 */
    uint64_t index;    /* 16 */
};
static_assert(sizeof(struct cs_key) == 24, "the key's bytes are fixed");

enum cs_kind {
    CS_KIND_GROUP = 1,  /* index: of the group; value: CS_GROUP_BYTES of bits, 1 is allocated */
    CS_KIND_OBJECT = 2, /* index 0: struct cs_object_record; n > 0: strip n - 1, see cs_strip.h */
};

/* Of every page but the superblocks. */
struct cs_page_header {
    uint32_t crc;        /* 0: CRC32C of the whole page, taken with 0 here */
    uint32_t number;     /* 4: of the page itself */
    uint64_t generation; /* 8: of the commit that wrote it */
    uint64_t owner;      /* 16: first 8 bytes of the target's uuid, with the shard's number added */
    uint16_t magic;      /* 24 */
    uint8_t level;       /* 26: 0: a leaf */
    uint8_t zero;        /* 27 */
    uint16_t count;      /* 28: of entries */
    uint16_t start;      /* 30: leaf: where the records begin, which fill the page up to its end */
};
static_assert(sizeof(struct cs_page_header) == 32, "the page header's bytes are fixed");

/* A branch page has these behind its header. The first one's key is never looked at. */
struct cs_branch_entry {
    struct cs_key key; /* 0: the lowest below */
    uint32_t page;     /* 24 */
    uint32_t crc;      /* 28: of that page, as in its header */
};
static_assert(sizeof(struct cs_branch_entry) == 32, "the branch entry's bytes are fixed");

/* A leaf has uint16_t places of its records behind its header, in the keys' order; a record is
 * this and the value, filled up with zeros to a multiple of 8. */
struct cs_leaf_record {
    struct cs_key key; /* 0 */
    uint32_t length;   /* 24: of the value */
    uint32_t zero;     /* 28 */
};
static_assert(sizeof(struct cs_leaf_record) == 32, "the leaf record's bytes are fixed");

enum {
    CS_PAGE_ROOM = CS_BLOCK - (int)sizeof(struct cs_page_header),
    CS_BRANCH_MAX = CS_PAGE_ROOM / (int)sizeof(struct cs_branch_entry),
    CS_VALUE_MAX = 1024,
};

struct cs_object_record {
    uint64_t length;       /* 0: bytes */
    int64_t mtime_ns;      /* 8 */
    uint64_t blocks;       /* 16: allocated */
    uint64_t chunk_size;   /* 24: layout */
    uint64_t seed;         /* 32 */
    uint32_t stripe_count; /* 40 */
    uint32_t group_count;  /* 44 */
};
static_assert(sizeof(struct cs_object_record) == 48, "the object record's bytes are fixed");

/* A strip's value: runs, then the checksums of all their blocks in order. What no run covers is a
 * hole. Runs do not touch when they could be one. */
struct cs_strip_head {
    uint16_t runs;   /* 0 */
    uint16_t blocks; /* 2: in all runs */
    uint32_t zero;   /* 4 */
};
struct cs_strip_run {
    uint8_t first;  /* 0: block of the strip */
    uint8_t count;  /* 1 */
    uint16_t zero;  /* 2 */
    uint32_t block; /* 4: of `data` */
};
static_assert(sizeof(struct cs_strip_head) == 8 && sizeof(struct cs_strip_run) == 8,
              "the strip's bytes are fixed");
static_assert(sizeof(struct cs_strip_head) +
                      CS_STRIP_BLOCKS * (sizeof(struct cs_strip_run) + sizeof(uint32_t)) <=
                  CS_VALUE_MAX,
              "any strip fits a record");

/* A log begins with this. */
struct cs_log_header {
    char magic[8];     /* 0 */
    uint32_t version;  /* 8: CS_VERSION */
    uint32_t crc;      /* 12: CRC32C of all of it, taken with 0 here */
    uint8_t uuid[16];  /* 16: the target's */
    uint32_t shard;    /* 32 */
    uint32_t zero;     /* 36 */
    uint64_t nonce;    /* 40: random; what an earlier log left in the file has another one */
    uint64_t sequence; /* 48: of the first entry */
    uint64_t zeros;    /* 56 */
};
static_assert(sizeof(struct cs_log_header) == 64, "the log header's bytes are fixed");

enum cs_log_kind {
    CS_LOG_STRIP = 1,  /* a strip's record is `value`, or gone; its object's is `object` */
    CS_LOG_OBJECT = 2, /* the object's record */
    CS_LOG_REMOVE = 3, /* an object without strips is gone */
    CS_LOG_BLOCKS = 4, /* those blocks of a strip that `value` has, as a record; its object's is `object` */
};

/* Then come its entries, each of which is this, the value, and patches; both filled up with zeros
 * to multiples of 8. */
struct cs_log_entry {
    uint32_t crc;                   /* 0: CRC32C of the nonce and what follows here */
    uint32_t length;                /* 4: of all of it */
    uint64_t sequence;              /* 8: one more than of the entry before */
    uint32_t kind;                  /* 16 */
    uint32_t value_length;          /* 20 */
    uint32_t patches;               /* 24 */
    uint32_t zero;                  /* 28 */
    struct cs_key key;              /* 32: of the strip or object */
    struct cs_object_record object; /* 56 */
};
static_assert(sizeof(struct cs_log_entry) == 104, "the log entry's bytes are fixed");

/* Bytes that were to be written over others in a block, behind the entry; the bytes follow. */
struct cs_log_patch {
    uint32_t block;  /* 0 */
    uint16_t from;   /* 4: in the block */
    uint16_t length; /* 6 */
};
static_assert(sizeof(struct cs_log_patch) == 8, "the patch's bytes are fixed");

enum {
    CS_LOG_PATCHES_MAX = CS_STRIP_BLOCKS * ((int)sizeof(struct cs_log_patch) + CS_BLOCK),
    CS_LOG_ENTRY_MAX = (int)sizeof(struct cs_log_entry) + CS_VALUE_MAX + CS_LOG_PATCHES_MAX,
};

/* The longest object: its strips' numbers fit the tree, its offsets an off_t. */
#define CS_OBJECT_BYTES_MAX ((uint64_t)INT64_MAX - CS_STRIP)

#endif
