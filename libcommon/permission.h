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

#include "weft_limits.h"

struct permission_caller {
    uint32_t uid, gid;
    uint32_t group_count;
    const uint32_t *groups; /* the supplementary ones */
};

/* What of an inode counts. */
struct permission {
    uint32_t mode; /* with the type */
    uint32_t uid, gid;
};

/* The running process, by its effective user and group. Of its supplementary groups those that fit are put
 * into `room`; that not all do is logged, once. */
void permission_caller_take(struct permission_caller *caller, uint32_t room[LIMITS_CALLER_GROUPS_MAX]);

bool permission_is_in_group(const struct permission_caller *caller, uint32_t gid);
/* `wanted` is of access(2): R_OK, W_OK, X_OK. */
bool permission_has(const struct permission_caller *caller, const struct permission *of, unsigned wanted);

#endif
