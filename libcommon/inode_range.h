/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inode_range.h: the metadata server's signed word that one client may make files under certain inode
 * numbers (docs/protocol.md, "Held folders"): a server that was started since knows its own numbers again,
 * and nobody uses those of somebody else. Signed and checked with the cluster key, as capabilities are.
 *
 * Threads: pure functions.
 */
#ifndef COMMON_INODE_RANGE_H
#define COMMON_INODE_RANGE_H

#include <stdbool.h>

#include "conf.h"
#include "wire.h"

void inode_range_sign(const uint8_t key[CONF_KEY_BYTES], const uint8_t client[16],
                      struct wire_inode_range *range);
/* -EACCES with a text when it is not this client's. */
int inode_range_check(const uint8_t key[CONF_KEY_BYTES], const uint8_t client[16],
                      const struct wire_inode_range *range);

static inline bool inode_range_has(const struct wire_inode_range *range, uint64_t ino)
{
    return ino >= range->first && ino - range->first < range->count;
}

#endif
