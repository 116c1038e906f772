/* SPDX-License-Identifier: Apache-2.0 */
/*
 * permission.h: who may do what with an inode, by its mode, owner and group. The metadata server decides by
 * it, and a client that was promised that these stay so comes to the same answer without asking.
 *
 * Threads: none of its own.
 */
#ifndef COMMON_PERMISSION_H
#define COMMON_PERMISSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct permission {
    uint32_t mode; /* with the type */
    uint32_t uid, gid;
};

/* `wanted` is of access(2): R_OK, W_OK, X_OK. Supplementary groups do not count. */
static inline bool permission_has(const struct permission *of, uint32_t uid, uint32_t gid, unsigned wanted)
{
    if (uid == 0) {
        /* Even root executes only what someone may execute. */
        return !(wanted & 1) || S_ISDIR(of->mode) || (of->mode & 0111);
    }
    const unsigned shift = uid == of->uid ? 6 : gid == of->gid ? 3 : 0;
    return ((of->mode >> shift) & wanted) == wanted;
}

#endif
