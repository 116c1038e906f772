/* SPDX-License-Identifier: Apache-2.0 */
#include "inode.h"

#include <errno.h>
#include <inttypes.h>

#include "crc.h"
#include "err.h"

/* The record as it lies in the store: little-endian, as this machine is
 * (configure refuses others). Checked by a CRC32C over all in front of it. */
struct inode_record {
    uint16_t version;      /*   0 */
    uint16_t flags;        /*   2 */
    uint32_t mode;         /*   4 */
    uint64_t ino;          /*   8 */
    uint32_t nlink;        /*  16 */
    uint32_t uid;          /*  20 */
    uint32_t gid;          /*  24 */
    uint32_t stripe_count; /*  28 */
    uint64_t size;         /*  32 */
    uint64_t bytes;        /*  40 */
    int64_t atime_ns;      /*  48 */
    int64_t mtime_ns;      /*  56 */
    int64_t ctime_ns;      /*  64 */
    int64_t mtime_base_ns; /*  72 */
    uint64_t parent;       /*  80 */
    uint64_t chunk_size;   /*  88 */
    uint64_t seed;         /*  96 */
    uint32_t group_count;  /* 104 */
    char pool[32];         /* 108 */
    uint8_t rdev[8];       /* 140: not aligned; of a file or directory struct placement_record (version
                                       3) or zeros */
    uint32_t crc;          /* 148 */
};

struct placement_record {
    uint32_t host; /* layout.host */
    uint8_t placement;
    uint8_t zero[3];
};

static_assert(sizeof(struct placement_record) == sizeof(((struct inode_record *)0)->rdev), "format");
static_assert(sizeof(struct inode_record) == INODE_RECORD_BYTES, "the record's size is its format");
static_assert(offsetof(struct inode_record, ino) == 8, "format");
static_assert(offsetof(struct inode_record, size) == 32, "format");
static_assert(offsetof(struct inode_record, parent) == 80, "format");
static_assert(offsetof(struct inode_record, pool) == 108, "format");
static_assert(offsetof(struct inode_record, rdev) == 140, "format");
static_assert(offsetof(struct inode_record, crc) == 148, "format");
static_assert(WEFT_POOL_BYTES_MAX + 1 == 32, "a pool's name fits its place in the record");

/* The oldest that can say it. */
static uint16_t version_of(const struct inode *inode)
{
    if (inode->flags & INODE_XATTRS)
        return 5;
    if (inode->flags & INODE_SMALL)
        return 4;
    return inode->layout.host || inode->placement ? 3 : inode_is_special(inode) ? 2 : 1;
}

void inode_encode(const struct inode *inode, uint8_t record[INODE_RECORD_BYTES])
{
    const struct placement_record placement = {.host = inode->layout.host, .placement = inode->placement};
    struct inode_record raw = {
        .version = version_of(inode),
        .flags = (uint16_t)inode->flags,
        .mode = inode->mode,
        .ino = inode->ino,
        .nlink = inode->nlink,
        .uid = inode->uid,
        .gid = inode->gid,
        .stripe_count = inode->layout.stripe_count,
        .size = inode->size,
        .bytes = inode->bytes,
        .atime_ns = inode->atime_ns,
        .mtime_ns = inode->mtime_ns,
        .ctime_ns = inode->ctime_ns,
        .mtime_base_ns = inode->mtime_base_ns,
        .parent = inode->parent,
        .chunk_size = inode->layout.chunk_size,
        .seed = inode->layout.seed,
        .group_count = inode->layout.group_count,
    };
    memcpy(raw.pool, inode->pool, strnlen(inode->pool, WEFT_POOL_BYTES_MAX));
    if (inode_is_device(inode))
        memcpy(raw.rdev, &inode->rdev, sizeof raw.rdev);
    else
        memcpy(raw.rdev, &placement, sizeof raw.rdev);
    raw.crc = crc_of(0, &raw, offsetof(struct inode_record, crc));
    memcpy(record, &raw, sizeof raw);
}

static int corrupt(uint64_t ino, const char *what)
{
    return err_set(-EUCLEAN, "the record of inode %" PRIu64 " is damaged: %s", ino, what);
}

static bool default_layout_valid(const struct layout *layout)
{
    return (layout->chunk_size == 0 ||
            (layout->chunk_size >= WEFT_CHUNK_BYTES_MIN && layout->chunk_size <= WEFT_CHUNK_BYTES_MAX)) &&
           layout->stripe_count <= LIMITS_GROUPS_MAX && layout->host <= LIMITS_HOSTS_MAX;
}

static bool placement_valid(const struct inode *inode)
{
    if (inode_is_dir(inode))
        return inode->placement <= WIRE_PLACEMENT_HOST &&
               (inode->placement == WIRE_PLACEMENT_HOST) == (inode->layout.host != 0);
    return inode->placement == 0 && (inode_is_file(inode) || inode->layout.host == 0);
}

/* A damaged record whose checksum is right was written by a program of ours
 * that was wrong, so the fields are looked at as well. */
static const char *fields_wrong(unsigned version, const struct inode *inode)
{
    if (!inode_is_dir(inode) && !inode_is_file(inode) && !inode_is_symlink(inode) &&
        !(version >= 2 && inode_is_special(inode)))
        return "its type is unknown";
    if (inode->rdev && !inode_is_device(inode))
        return "it has a device's number and is none";
    if ((inode->mode & ~(uint32_t)(S_IFMT | 07777)) ||
        (inode->flags &
         ~(uint32_t)(INODE_SIZE_OPEN | INODE_WRITTEN | INODE_BOUNDED | INODE_SMALL | INODE_XATTRS)) ||
        ((inode->flags & INODE_XATTRS) && version < 5))
        return "bits are set that mean nothing";
    if ((inode->flags & INODE_SMALL) &&
        (version < 4 || !inode_is_file(inode) || (inode->flags & INODE_SIZE_OPEN) ||
         inode->size > LIMITS_SMALL_BYTES_MAX))
        return "it is a small file, and can't be one";
    if (inode->nlink > INODE_NLINK_MAX)
        return "its number of links is out of range";
    if (inode->size > INT64_MAX)
        return "its size is out of range";
    if (inode_is_dir(inode) && (inode->parent == 0 || inode->nlink < 2))
        return "it is a directory without a parent";
    if (inode_is_file(inode) && !layout_valid(&inode->layout))
        return "its layout makes no sense";
    if (inode_is_dir(inode) && !default_layout_valid(&inode->layout))
        return "its default layout makes no sense";
    if (!placement_valid(inode))
        return "it is placed in a way that makes no sense";
    return NULL;
}

/* From version 3 on. Devices have their number there, and have had no newer records before version 5. */
static const char *take_placement(unsigned version, const uint8_t bytes[8], struct inode *inode)
{
    struct placement_record placement;
    if (inode_is_device(inode))
        return version < 5 ? "a device has no placement" : NULL;
    memcpy(&placement, bytes, sizeof placement);
    inode->layout.host = placement.host;
    inode->placement = placement.placement;
    return placement.zero[0] || placement.zero[1] || placement.zero[2] ? "bits are set that mean nothing"
                                                                       : NULL;
}

int inode_decode(uint64_t ino, const void *data, size_t length, struct inode *inode)
{
    struct inode_record raw;
    if (length < sizeof raw.version)
        return corrupt(ino, "it is too short");
    memcpy(&raw, data, sizeof raw.version);
    if (raw.version < 1 || raw.version > INODE_RECORD_VERSION)
        return err_set(-EUCLEAN, "the record of inode %" PRIu64 " has version %u, and this server knows %u",
                       ino, raw.version, INODE_RECORD_VERSION);
    if (length != sizeof raw)
        return corrupt(ino, "its length is wrong");
    memcpy(&raw, data, sizeof raw);
    if (raw.crc != crc_of(0, &raw, offsetof(struct inode_record, crc)))
        return corrupt(ino, "its checksum is wrong");
    if (raw.ino != ino)
        return corrupt(ino, "it is another inode's");
    if (memchr(raw.pool, 0, sizeof raw.pool) == NULL)
        return corrupt(ino, "the pool's name has no end");

    *inode = (struct inode){
        .ino = raw.ino,
        .mode = raw.mode,
        .nlink = raw.nlink,
        .uid = raw.uid,
        .gid = raw.gid,
        .flags = raw.flags,
        .size = raw.size,
        .bytes = raw.bytes,
        .atime_ns = raw.atime_ns,
        .mtime_ns = raw.mtime_ns,
        .ctime_ns = raw.ctime_ns,
        .mtime_base_ns = raw.mtime_base_ns,
        .parent = raw.parent,
        .layout = {.chunk_size = raw.chunk_size,
                   .seed = raw.seed,
                   .stripe_count = raw.stripe_count,
                   .group_count = raw.group_count},
    };
    memcpy(inode->pool, raw.pool, sizeof inode->pool);
    if (raw.version < 3 || inode_is_device(inode))
        memcpy(&inode->rdev, raw.rdev, sizeof inode->rdev);
    const char *wrong = raw.version >= 3 ? take_placement(raw.version, raw.rdev, inode) : NULL;
    if (!wrong)
        wrong = fields_wrong(raw.version, inode);
    return wrong ? corrupt(ino, wrong) : 0;
}

void inode_attr(const struct inode *inode, struct wire_attr *attr)
{
    *attr = (struct wire_attr){
        .ino = inode->ino,
        .size = inode->size,
        .size_open = (inode->flags & INODE_SIZE_OPEN) != 0,
        .bytes = inode->bytes,
        .mode = inode->mode,
        .nlink = inode->nlink,
        .uid = inode->uid,
        .gid = inode->gid,
        .atime_ns = inode->atime_ns,
        .mtime_ns = inode->mtime_ns,
        .mtime_base_ns = inode->mtime_base_ns,
        .ctime_ns = inode->ctime_ns,
        .rdev = inode->rdev,
        .small = (inode->flags & INODE_SMALL) != 0,
        .xattrs = (inode->flags & INODE_XATTRS) != 0,
        .layout = {.chunk_size = inode->layout.chunk_size,
                   .seed = inode->layout.seed,
                   .stripe_count = inode->layout.stripe_count,
                   .group_count = inode->layout.group_count,
                   .host = inode->layout.host},
        .placement = inode->placement,
        .host = "",
        .pool = inode->pool,
    };
}
