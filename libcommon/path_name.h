/* SPDX-License-Identifier: Apache-2.0 */
/*
 * path_name.h: paths as numbers, which both ends make in the same way: under which a client keeps what it
 * knows of a path, and by which the metadata server knows that it has forgotten that; and paths that are
 * numbers themselves.
 *
 * Threads: none of its own.
 */
#ifndef COMMON_PATH_NAME_H
#define COMMON_PATH_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4 of the text's bytes, never 0. Two paths of one client that have the same number would be
 * taken for one: at a million paths a chance of 3 in 10^8. */
uint64_t path_name(const char *text, size_t length);

/* What stands behind the number of a path that begins with one (WEFT_INODE_PREFIX), or NULL when it does
 * not. */
const char *path_inode_rest(const char *text, uint64_t *ino);

/* Bytes of the path of the folder that it lies in: of "/a" 1, of "/a/b" 2. `text` begins with a slash. */
size_t path_folder_length(const char *text);

/* Whether something may have this name in a folder, its length aside: not "", ".", ".." nor with a slash. */
bool path_is_name(const char *text);

/* What a request changes that has this path: what is there, and the folder that it lies in. */
struct path_parts {
    uint64_t names[2];
    uint64_t inos[2]; /* of those that are named by their number; else 0 */
};
/* `text` begins with a slash. */
struct path_parts path_parts(const char *text);
static inline bool path_parts_have(const struct path_parts *parts, uint64_t name, uint64_t ino)
{
    return parts->names[0] == name || parts->names[1] == name || parts->inos[0] == ino ||
           parts->inos[1] == ino;
}

#endif
