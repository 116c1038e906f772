/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h: structs, encoders and decoders of the messages that
 * wire_messages.h describes.
 *
 * For each message NAME there are
 *     struct wire_NAME
 *     void wire_put_NAME(struct wire_writer *, const struct wire_NAME *)
 *     void wire_get_NAME(struct wire_reader *, struct wire_NAME *)
 * A reader or writer that ran over its end, or met a value out of bounds, goes
 * bad and stays so; whoever uses it asks once, at the end (wire_written(),
 * wire_read_all()). A decoded str or bytes points into the reader's memory. All
 * integers are little-endian; a str is its length (u32), its bytes and a NUL.
 */
#ifndef COMMON_WIRE_H
#define COMMON_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "wire_messages.h"

#define WIRE_MAGIC UINT32_C(0x54464557) /* "WEFT" */

enum { WIRE_REQUEST = 1, WIRE_REPLY = 2 };
enum { WIRE_BODY_IN_PAYLOAD = 1, WIRE_PAYLOAD_CRC = 2, WIRE_REPEATABLE = 4 };
/* Where a new file is: as its directory says, on all groups, on the host of who makes it, on a named host. */
enum { WIRE_PLACEMENT_DEFAULT = 0, WIRE_PLACEMENT_SPREAD = 1, WIRE_PLACEMENT_LOCAL = 2,
       WIRE_PLACEMENT_HOST = 3 };
enum { WIRE_ROLE_CLIENT = 0, WIRE_ROLE_STORAGE = 1, WIRE_ROLE_METADATA = 2 };
enum { WIRE_ACCESS_READ = 1, WIRE_ACCESS_WRITE = 2 };
enum { WIRE_OPEN_READ = 1, WIRE_OPEN_WRITE = 2, WIRE_OPEN_CREATE = 4, WIRE_OPEN_EXCLUSIVE = 8,
       WIRE_OPEN_TRUNCATE = 16, WIRE_OPEN_NOFOLLOW = 32,
       WIRE_OPEN_SMALL = 64, /* it may be a small file */
       WIRE_OPEN_DELEGATE = 128, /* a delegation is wanted */
       WIRE_OPEN_HOLD = 256 /* with _CREATE and _DELEGATE: the folder is to be held, if it was empty */ };
enum { WIRE_NAMING_MAKE = 0, WIRE_NAMING_REMOVE = 1 };
/* Of a stat, beside WEFT_STAT_NOFOLLOW. */
enum { WIRE_STAT_DELEGATE = 2 };
enum { WIRE_USAGE_PATH = 1, WIRE_USAGE_USER = 2, WIRE_USAGE_GROUP = 3, WIRE_USAGE_USERS = 4,
       WIRE_USAGE_GROUPS = 5 };
enum { WIRE_SETATTR_MODE = 1, WIRE_SETATTR_UID = 2, WIRE_SETATTR_GID = 4, WIRE_SETATTR_ATIME = 8,
       WIRE_SETATTR_MTIME = 16, WIRE_SETATTR_NOW = 32 /* the times set are the server's now */ };

enum { WIRE_LOCK_NONE = 0, WIRE_LOCK_SHARED = 1, WIRE_LOCK_EXCLUSIVE = 2 };
enum { WIRE_RECORD_DETECT = 1 /* the owner's waits count for circles */,
       WIRE_RECORD_PASS = 2 /* others that wait don't matter */,
       WIRE_RECORD_BLOCKERS = 4 /* when it is not granted, say who is in the way */ };
enum { WIRE_WAIT_GOES_ON = 0, WIRE_WAIT_DEADLOCK = 1, WIRE_WAIT_PASS = 2 };

#define WIRE_MAC_BYTES 16u

struct wire_mac {
    uint8_t bytes[WIRE_MAC_BYTES];
};
struct wire_bytes {
    const uint8_t *data;
    uint32_t length;
};
/* Elements are encoded messages; read them with a wire_reader over `encoded`. */
struct wire_list {
    uint32_t count;
    struct wire_bytes encoded;
};

enum wire_operation {
#define WIRE_OPERATION_ENUM(number, name) WIRE_OP_##name = number,
    WIRE_OPERATIONS(WIRE_OPERATION_ENUM)
#undef WIRE_OPERATION_ENUM
};

/* "write", or "unknown"; for logs and counters. */
const char *wire_operation_name(unsigned operation);

#define WIRE_TYPE_u8 uint8_t
#define WIRE_TYPE_u16 uint16_t
#define WIRE_TYPE_u32 uint32_t
#define WIRE_TYPE_u64 uint64_t
#define WIRE_TYPE_i64 int64_t
#define WIRE_TYPE_str const char *
#define WIRE_TYPE_bytes struct wire_bytes
#define WIRE_TYPE_mac struct wire_mac
#define WIRE_TYPE_list struct wire_list
#define WIRE_TYPE_layout struct wire_layout
#define WIRE_TYPE_capability struct wire_capability
#define WIRE_TYPE_attr struct wire_attr
#define WIRE_TYPE_delegation struct wire_delegation
#define WIRE_TYPE_small struct wire_small
#define WIRE_TYPE_inode_range struct wire_inode_range
#define WIRE_TYPE_holding struct wire_holding
#define WIRE_TYPE_map_host struct wire_map_host

#define WIRE_FIELD(kind, name, max) WIRE_TYPE_##kind name;
#define WIRE_STRUCT(message)                                                                           \
    struct wire_##message {                                                                            \
        WIRE_FIELDS_##message(WIRE_FIELD)                                                              \
    };
WIRE_MESSAGES(WIRE_STRUCT)
#undef WIRE_STRUCT
#undef WIRE_FIELD

struct wire_writer {
    uint8_t *start, *at, *end;
    bool bad;
};
struct wire_reader {
    const uint8_t *at, *end;
    bool bad;
};

static inline struct wire_writer wire_writer_on(void *buffer, size_t size)
{
    return (struct wire_writer){.start = buffer, .at = buffer, .end = (uint8_t *)buffer + size};
}
static inline struct wire_reader wire_reader_on(const void *data, size_t length)
{
    /* There need not be any, and nothing may be added to NULL. */
    return (struct wire_reader){.at = data, .end = length ? (const uint8_t *)data + length : data};
}
static inline struct wire_reader wire_list_reader(const struct wire_list *list)
{
    return wire_reader_on(list->encoded.data, list->encoded.length);
}
/* Bytes written, or -ENOBUFS when they did not fit or a value was out of bounds. */
ssize_t wire_written(const struct wire_writer *writer);
/* 0 when all was read and nothing was bad, else -EBADMSG with a text naming `what`. */
int wire_read_all(const struct wire_reader *reader, const char *what);
/* The list that `count` elements put into `writer` since its start make. */
struct wire_list wire_list_of(const struct wire_writer *writer, uint32_t count);

#define WIRE_PROTOTYPES(message)                                                                       \
    void wire_put_##message(struct wire_writer *writer, const struct wire_##message *value);           \
    void wire_get_##message(struct wire_reader *reader, struct wire_##message *value);
WIRE_MESSAGES(WIRE_PROTOTYPES)
#undef WIRE_PROTOTYPES

/* Every message, for tests and the fuzzer. */
struct wire_description {
    const char *name;
    size_t struct_size;
    int (*decode)(const void *data, size_t length, void *value);
    ssize_t (*encode)(void *buffer, size_t size, const void *value);
};
extern const struct wire_description wire_descriptions[];
extern const size_t wire_description_count;

/* Decodes one whole message; -EBADMSG with a text. Encodes one; -ENOBUFS. */
#define WIRE_WHOLE(message)                                                                            \
    int wire_decode_##message(const void *data, size_t length, struct wire_##message *value);          \
    ssize_t wire_encode_##message(void *buffer, size_t size, const struct wire_##message *value);
WIRE_MESSAGES(WIRE_WHOLE)
#undef WIRE_WHOLE

#endif
