/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inode.h: what the metadata server knows of one file, directory, symbolic link or
 * special file (a FIFO, a socket, a device), and the record that keeps it.
 *
 * A record carries its version, its own number and a checksum; one that does
 * not make sense is an error that names the inode, never a crash. A record is written in the oldest version
 * that can say what is to be said, so that an older server still reads a store in which there is nothing new.
 *   1  files, directories, symbolic links
 *   2  also special files, and the number of a device
 *   3  files on one host, and directories that say where new files are to be
 *   4  small files
 *   5  whatever has extended attributes
 *
 * Threads: pure functions.
 */
#ifndef METADATA_INODE_H
#define METADATA_INODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "layout.h"
#include "weft_limits.h"
#include "wire.h"

#define INODE_ROOT UINT64_C(1)
#define INODE_RECORD_VERSION 5u /* the newest */
#define INODE_RECORD_BYTES 152u
#define INODE_NLINK_MAX UINT32_C(0x7fffffff)

enum {
    /* The file may have grown behind the metadata server's back: `size` is not to be
     * relied on until the storage servers have been asked. */
    INODE_SIZE_OPEN = 1,
    /* The storage servers may hold objects of it. */
    INODE_WRITTEN = 2,
    /* Of a file with INODE_WRITTEN: no object of it ever lay behind `size`. */
    INODE_BOUNDED = 4,
    /* A small file: its bytes are in the store (records_small_get), `size` of them. With INODE_WRITTEN,
     * moving them to the storage servers was begun, and what lies there is not to be relied on. */
    INODE_SMALL = 8,
    /* It has extended attributes: who ends it has to look for them. */
    INODE_XATTRS = 16,
};

struct inode {
    uint64_t ino;
    uint32_t mode; /* type and permission bits as in st_mode */
    uint32_t nlink;
    uint32_t uid;
    uint32_t gid;
    uint32_t flags; /* INODE_* */
    uint64_t size;
    uint64_t bytes;
    int64_t atime_ns;
    int64_t mtime_ns;
    int64_t ctime_ns;
    /* When mtime was last settled or set: a write no later than this does not change it. */
    int64_t mtime_base_ns;
    /* The directory that has its name; the root's is itself. Of several names one that has one of them
     * (links.h); 0 when there is no name. */
    uint64_t parent;
    uint64_t rdev; /* of a device: its number, as st_rdev; else 0 */
    /* Of a file: where its bytes are. Of a directory: the default for new files in it, a
     * zero field meaning the configuration's; seed and group_count are not used then. */
    struct layout layout;
    /* Of a directory: WIRE_PLACEMENT_*, where new files in it are; layout.host is the host that is meant
     * with WIRE_PLACEMENT_HOST. */
    uint8_t placement;
    char pool[WEFT_POOL_BYTES_MAX + 1];
};

static inline bool inode_is_dir(const struct inode *inode)
{
    return S_ISDIR(inode->mode);
}
static inline bool inode_is_file(const struct inode *inode)
{
    return S_ISREG(inode->mode);
}
static inline bool inode_is_symlink(const struct inode *inode)
{
    return S_ISLNK(inode->mode);
}

static inline bool inode_is_device(const struct inode *inode)
{
    return S_ISCHR(inode->mode) || S_ISBLK(inode->mode);
}
/* Something that lives in the kernel of whoever opens it; only its name and attributes are kept here. */
static inline bool inode_is_special(const struct inode *inode)
{
    return S_ISFIFO(inode->mode) || S_ISSOCK(inode->mode) || inode_is_device(inode);
}

void inode_encode(const struct inode *inode, uint8_t record[INODE_RECORD_BYTES]);
/* -EUCLEAN with a text naming `ino` and what is wrong. */
int inode_decode(uint64_t ino, const void *data, size_t length, struct inode *inode);

/* For answers. A directory's default layout is shown with the configuration's
 * values filled in by the caller. The attr points into `inode`. */
void inode_attr(const struct inode *inode, struct wire_attr *attr);

#endif
