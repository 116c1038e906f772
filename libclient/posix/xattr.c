/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes. Programs ask for those that Weft has none of all the time, and are told so without
 * a request, and without a word on stderr.
 */
#include "px.h"

/* What is asked for by a path or a descriptor. */
struct wish {
    enum { SET, GET, LIST, REMOVE } what;
    const char *name;
    const void *value; /* to be set */
    void *out;         /* where a value or the names go */
    size_t size;       /* of either */
    int flags;         /* XATTR_CREATE, XATTR_REPLACE */
};

/* -EINVAL in `flags` becomes what no call knows. */
static unsigned flags_of(const struct wish *wish)
{
    unsigned flags = (unsigned)wish->flags & ~(unsigned)(XATTR_CREATE | XATTR_REPLACE) ? ~0u : 0;
    if (wish->flags & XATTR_CREATE)
        flags |= WEFT_XATTR_CREATE;
    if (wish->flags & XATTR_REPLACE)
        flags |= WEFT_XATTR_REPLACE;
    return flags;
}

static ssize_t ask_path(const char *path, const struct wish *wish, bool is_followed)
{
    const unsigned nofollow = is_followed ? 0 : WEFT_STAT_NOFOLLOW;
    switch (wish->what) {
    case SET:
        return PX_ASK(xattr_set, path, wish->name, wish->value, wish->size, flags_of(wish) | nofollow);
    case GET:
        return PX_ASK(xattr_get, path, wish->name, wish->out, wish->size, nofollow);
    case LIST:
        return PX_ASK(xattr_list, path, wish->out, wish->size, nofollow);
    default:
        return PX_ASK(xattr_remove, path, wish->name, nofollow);
    }
}

static ssize_t ask_file(weft_file_t *file, const struct wish *wish)
{
    switch (wish->what) {
    case SET:
        return PX_CALL(file_xattr_set, file, wish->name, wish->value, wish->size, flags_of(wish));
    case GET:
        return PX_CALL(file_xattr_get, file, wish->name, wish->out, wish->size);
    case LIST:
        return PX_CALL(file_xattr_list, file, wish->out, wish->size);
    default:
        return PX_CALL(file_xattr_remove, file, wish->name);
    }
}

static ssize_t ask_fd(int fd, const struct wish *wish)
{
    weft_file_t *file;
    struct px_desc *desc = px_desc_get(fd);
    ssize_t result = desc ? 0 : -EBADF;
    if (result == 0 && desc->kind == PX_FILE)
        result = px_open_file(desc, &file);
    if (result == 0)
        result = desc->kind == PX_FILE ? ask_file(file, wish)
                                       : ask_path(desc->path, wish, !(desc->flags & O_NOFOLLOW));
    px_desc_put(desc);
    return px_return(result);
}

#define BY_PATH(type, name, parameters, followed, next, ...)                                \
    PX_EXPORT type name parameters                                                          \
    {                                                                                       \
        struct px_place place;                                                              \
        char local[PX_PATH_ROOM];                                                           \
        if (!px_find(AT_FDCWD, path, &place))                                               \
            return PX_NEXT(name) next;                                                      \
        PX_COUNT(name);                                                                     \
        const struct wish wish = {__VA_ARGS__};                                             \
        ssize_t result = place.error ? place.error : ask_path(place.path, &wish, followed); \
        /* A look through a link that leads out of the cluster. */                          \
        if (result == -ENOENT && (followed) && (wish.what == GET || wish.what == LIST) &&   \
            px_place_leads_out(place.path, local)) {                                        \
            place.local = local;                                                            \
            return PX_NEXT(name) next;                                                      \
        }                                                                                   \
        return (type)px_return(result);                                                     \
    }
#define BY_FD(type, name, parameters, next, ...)                    \
    PX_EXPORT type name parameters                                  \
    {                                                               \
        if (px_is_inside() || !px_table_has(fd))                    \
            return PX_NEXT(name) next;                              \
        PX_COUNT(name);                                             \
        return (type)ask_fd(fd, &(const struct wish){__VA_ARGS__}); \
    }

/* Where it is, as the program says it, and what follows it. */
#define BOTH(type, plain, link, open, rest, followed_by, ...)                                      \
    BY_PATH(type, plain, (const char *path, UNPACK rest), true, (place.local, UNPACK followed_by), \
            __VA_ARGS__)                                                                           \
    BY_PATH(type, link, (const char *path, UNPACK rest), false, (place.local, UNPACK followed_by), \
            __VA_ARGS__)                                                                           \
    BY_FD(type, open, (int fd, UNPACK rest), (fd, UNPACK followed_by), __VA_ARGS__)
#define UNPACK(...) __VA_ARGS__

BOTH(int, setxattr, lsetxattr, fsetxattr, (const char *name, const void *value, size_t size, int flags),
     (name, value, size, flags), .what = SET, .name = name, .value = value, .size = size, .flags = flags)
BOTH(ssize_t, getxattr, lgetxattr, fgetxattr, (const char *name, void *value, size_t size),
     (name, value, size), .what = GET, .name = name, .out = value, .size = size)
BOTH(ssize_t, listxattr, llistxattr, flistxattr, (char *list, size_t size), (list, size), .what = LIST,
     .out = list, .size = size)
BOTH(int, removexattr, lremovexattr, fremovexattr, (const char *name), (name), .what = REMOVE, .name = name)
