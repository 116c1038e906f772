/* SPDX-License-Identifier: Apache-2.0 */
/* wire_usage.h: a part of wire_messages.h, which explains it. */
#ifndef COMMON_WIRE_USAGE_H
#define COMMON_WIRE_USAGE_H

/* How much there is: below a path, of a user or a group, or of all of them. */
#define WIRE_FIELDS_usage(X)                                     \
    X(u8, kind, 5)                    /* WIRE_USAGE_* */         \
    X(str, path, WEFT_PATH_BYTES_MAX) /* with WIRE_USAGE_PATH */ \
    X(u32, flags, 1)                  /* WEFT_STAT_NOFOLLOW */   \
    X(u64, id, U64)                   /* the user or group; of all those from here on */
#define WIRE_FIELDS_usage_sums(X)                                                     \
    X(u64, id, U64) /* of the user or group; of a path the inode's number */          \
    X(u64, files, U64)                                                                \
    X(u64, directories, U64)                                                          \
    X(u64, bytes, U64) /* these two are cut to 64 bits; sparse files may have more */ \
    X(u64, size, U64)
#define WIRE_FIELDS_usage_reply(X)                             \
    X(u8, end, 1)                    /* there are no others */ \
    X(list, sums, LIMITS_USAGES_MAX) /* usage_sums, in the order of their ids */

#endif
