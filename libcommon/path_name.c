/* SPDX-License-Identifier: Apache-2.0 */
#include "path_name.h"

#include <sodium.h>
#include <string.h>

#include "weft/weft.h"

uint64_t path_name(const char *text, size_t length)
{
    /* Not secret: who makes two paths of the same number deceives himself only. */
    static const unsigned char key[crypto_shorthash_KEYBYTES] = "weft path name";
    uint64_t name;
    _Static_assert(sizeof name == crypto_shorthash_BYTES, "a name is a hash");
    crypto_shorthash((unsigned char *)&name, (const unsigned char *)text, length, key);
    return name ? name : 1;
}

const char *path_inode_rest(const char *text, uint64_t *ino)
{
    static const char prefix[] = WEFT_INODE_PREFIX;
    if (strncmp(text, prefix, sizeof prefix - 1) != 0)
        return NULL;
    const char *at = text + sizeof prefix - 1;
    uint64_t number = 0;
    if (*at < '1' || *at > '9')
        return NULL;
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (number > (UINT64_MAX - digit) / 10)
            return NULL;
        number = number * 10 + digit;
    }
    *ino = number;
    return *at == '/' || *at == 0 ? at : NULL;
}

bool path_is_name(const char *text)
{
    return *text && !strchr(text, '/') && strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

size_t path_folder_length(const char *text)
{
    const char *slash = strrchr(text, '/');
    return slash && slash != text ? (size_t)(slash - text) : 1;
}

struct path_parts path_parts(const char *text)
{
    const size_t folder = path_folder_length(text);
    struct path_parts parts = {.names = {path_name(text, strlen(text)), path_name(text, folder)}};
    uint64_t ino;
    const char *rest = path_inode_rest(text, &ino);
    if (rest && *rest == 0)
        parts.inos[0] = ino;
    else if (rest == text + folder)
        parts.inos[1] = ino;
    return parts;
}
