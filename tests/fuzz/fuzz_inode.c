/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_inode: any bytes as the record of an inode. As they are, the checksum
 * refuses nearly all; so they are tried with the right one, too. What is taken
 * for an inode must be the same again after a round trip.
 */
#include "crc.h"
#include "fuzz.h"
#include "metadata/inode.h"

static void try(const uint8_t *record, size_t size)
{
    struct inode inode, again;
    uint8_t copy[INODE_RECORD_BYTES];
    struct wire_attr attr;
    uint64_t ino = 0;
    if (size >= 16)
        memcpy(&ino, record + 8, sizeof ino);
    if (inode_decode(ino, record, size, &inode))
        return;
    require(inode.ino == ino);
    require(inode_is_dir(&inode) + inode_is_file(&inode) + inode_is_symlink(&inode) +
                inode_is_special(&inode) ==
            1);
    require(inode_is_device(&inode) || inode.rdev == 0);
    require(!inode_is_file(&inode) || layout_group_of(&inode.layout, 0) < inode.layout.group_count);
    inode_encode(&inode, copy);
    require(inode_decode(ino, copy, sizeof copy, &again) == 0);
    /* Padding aside, all fields are compared by their records. */
    uint8_t second[INODE_RECORD_BYTES];
    inode_encode(&again, second);
    require(memcmp(copy, second, sizeof copy) == 0);
    inode_attr(&inode, &attr);
    require(strlen(attr.pool) <= WEFT_POOL_BYTES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t record[INODE_RECORD_BYTES];
    try(data, size);
    if (size > sizeof record)
        size = sizeof record;
    memset(record, 0, sizeof record);
    if (size)
        memcpy(record, data, size);
    record[0] = INODE_RECORD_VERSION;
    record[1] = 0;
    uint32_t crc = crc_of(0, record, sizeof record - 4);
    memcpy(record + sizeof record - 4, &crc, 4);
    try(record, sizeof record);
    return 0;
}
