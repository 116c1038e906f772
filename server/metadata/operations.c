/* SPDX-License-Identifier: Apache-2.0 */
#include "service_internal.h"

#define DECODER(name)                                                        \
    static int decode_##name(const void *data, size_t length, void *body)    \
    {                                                                        \
        return wire_decode_##name(data, length, body);                       \
    }
DECODER(stat)
DECODER(open)
DECODER(close)
DECODER(reopen)
DECODER(mkdir)
DECODER(mknod)
DECODER(rmdir)
DECODER(unlink)
DECODER(rename)
DECODER(symlink)
DECODER(link)
DECODER(names)
DECODER(readlink)
DECODER(setattr)
DECODER(truncate)
DECODER(readdir)
DECODER(layout_set)
DECODER(hints_set)
DECODER(hints_get)
DECODER(xattr_set)
DECODER(xattr_get)
DECODER(xattr_list)
DECODER(xattr_remove)
DECODER(usage)
DECODER(access)
DECODER(pointer)
DECODER(lock_wait)
DECODER(delegation_wait)
DECODER(small_read)
DECODER(small_write)
DECODER(spill)
DECODER(server_register)
DECODER(heartbeat)
DECODER(group_report)
DECODER(inodes_gone)

#define CLOSES(name)                                                                \
    static const struct wire_list *closes_of_##name(const struct request *request)  \
    {                                                                               \
        return &request->body.name.closes;                                          \
    }
CLOSES(stat)
CLOSES(open)
CLOSES(close)
CLOSES(unlink)
CLOSES(rename)
CLOSES(setattr)
CLOSES(truncate)

static bool never(const struct request *request)
{
    (void)request;
    return false;
}
static bool always(const struct request *request)
{
    (void)request;
    return true;
}

/* What changes names or attributes; `...` is more about it. */
#define CHANGING(name, ...)                                                                        \
    {                                                                                         \
        .number = WIRE_OP_##name, .roles = ROLE_CLIENT, .kept = true, .decode = decode_##name, \
        .writes = always, .run = request_##name, __VA_ARGS__                                  \
    }
#define LOOKING(name, ...)                                                                      \
    {                                                                                      \
        .number = WIRE_OP_##name, .roles = ROLE_CLIENT, .decode = decode_##name,           \
        .writes = never, .run = request_##name, __VA_ARGS__                                \
    }

static const struct operation operations[] = {
    LOOKING(stat, .closes = closes_of_stat),
    LOOKING(access),
    LOOKING(readlink),
    LOOKING(readdir),
    LOOKING(hints_get),
    LOOKING(xattr_get),
    LOOKING(xattr_list),
    LOOKING(usage),
    LOOKING(lock_wait),
    LOOKING(delegation_wait),
    LOOKING(small_read),
    CHANGING(mkdir),
    CHANGING(mknod),
    CHANGING(rmdir),
    CHANGING(unlink, .closes = closes_of_unlink),
    CHANGING(rename, .closes = closes_of_rename),
    CHANGING(symlink),
    CHANGING(link),
    CHANGING(names),
    CHANGING(setattr, .closes = closes_of_setattr),
    CHANGING(layout_set),
    CHANGING(hints_set),
    CHANGING(xattr_set),
    CHANGING(xattr_remove),
    CHANGING(truncate, .closes = closes_of_truncate),
    CHANGING(pointer),
    CHANGING(small_write),
    CHANGING(spill),
    {.number = WIRE_OP_open,
     .roles = ROLE_CLIENT,
     .kept = true,
     .decode = decode_open,
     .writes = request_open_writes,
     .closes = closes_of_open,
     .run = request_open},
    /* A handle that is closed already is closed: a repeated close needs no kept answer. */
    {.number = WIRE_OP_close,
     .roles = ROLE_CLIENT,
     .decode = decode_close,
     .writes = never,
     .closes = closes_of_close,
     .run = request_close},
    /* It is never repeated; what is open already stays so. */
    {.number = WIRE_OP_reopen,
     .roles = ROLE_CLIENT,
     .decode = decode_reopen,
     .writes = request_reopen_writes,
     .run = request_reopen},
    {.number = WIRE_OP_statfs, .roles = ROLE_CLIENT, .writes = never, .run = request_statfs},
    {.number = WIRE_OP_map_get, .roles = ROLE_ANY, .writes = never, .run = request_map_get},
    {.number = WIRE_OP_counters, .roles = ROLE_ANY, .writes = never, .run = request_counters},
    {.number = WIRE_OP_server_register,
     .roles = ROLE_STORAGE,
     .alone = true,
     .decode = decode_server_register,
     .writes = always,
     .run = request_server_register,
     .committed = request_server_registered},
    {.number = WIRE_OP_heartbeat,
     .roles = ROLE_STORAGE,
     .decode = decode_heartbeat,
     .writes = never,
     .run = request_heartbeat},
    {.number = WIRE_OP_group_report,
     .roles = ROLE_STORAGE,
     .alone = true,
     .decode = decode_group_report,
     .writes = always,
     .run = request_group_report,
     .committed = request_group_reported},
    {.number = WIRE_OP_inodes_gone,
     .roles = ROLE_STORAGE,
     .decode = decode_inodes_gone,
     .writes = never,
     .run = request_inodes_gone},
};

const struct operation *operation_find(uint16_t number)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        if (operations[i].number == number)
            return &operations[i];
    }
    return NULL;
}
