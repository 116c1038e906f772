/* SPDX-License-Identifier: Apache-2.0 */
#include "wire.h"

#include <errno.h>

#include "err.h"

/* ---- the basic kinds ---------------------------------------------------- */

static void put_raw(struct wire_writer *writer, const void *data, size_t length)
{
    if (writer->bad || (size_t)(writer->end - writer->at) < length) {
        writer->bad = true;
        return;
    }
    if (length)
        memcpy(writer->at, data, length);
    writer->at += length;
}

static const uint8_t *get_raw(struct wire_reader *reader, size_t length)
{
    if (reader->bad || (size_t)(reader->end - reader->at) < length) {
        reader->bad = true;
        return NULL;
    }
    const uint8_t *data = reader->at;
    reader->at += length;
    return data;
}

static void put_integer(struct wire_writer *writer, uint64_t value, unsigned bytes, uint64_t max)
{
    uint8_t raw[8];
    if (value > max)
        writer->bad = true;
    for (unsigned i = 0; i < bytes; i++)
        raw[i] = (uint8_t)(value >> (8 * i));
    put_raw(writer, raw, bytes);
}

static uint64_t get_integer(struct wire_reader *reader, unsigned bytes, uint64_t max)
{
    const uint8_t *raw = get_raw(reader, bytes);
    uint64_t value = 0;
    if (!raw)
        return 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)raw[i] << (8 * i);
    if (value > max) {
        reader->bad = true;
        return 0;
    }
    return value;
}

#define WIRE_INTEGER(kind, bytes)                                                                      \
    static void put_##kind(struct wire_writer *writer, const uint##bytes##_t *value, uint64_t max)     \
    {                                                                                                  \
        put_integer(writer, *value, bytes / 8, max);                                                   \
    }                                                                                                  \
    static void get_##kind(struct wire_reader *reader, uint##bytes##_t *value, uint64_t max)           \
    {                                                                                                  \
        *value = (uint##bytes##_t)get_integer(reader, bytes / 8, max);                                 \
    }
WIRE_INTEGER(u8, 8)
WIRE_INTEGER(u16, 16)
WIRE_INTEGER(u32, 32)
WIRE_INTEGER(u64, 64)

static void put_i64(struct wire_writer *writer, const int64_t *value, uint64_t max)
{
    (void)max;
    put_integer(writer, (uint64_t)*value, 8, U64);
}
static void get_i64(struct wire_reader *reader, int64_t *value, uint64_t max)
{
    (void)max;
    *value = (int64_t)get_integer(reader, 8, U64);
}

static void put_mac(struct wire_writer *writer, const struct wire_mac *value, uint64_t max)
{
    (void)max;
    put_raw(writer, value->bytes, WIRE_MAC_BYTES);
}
static void get_mac(struct wire_reader *reader, struct wire_mac *value, uint64_t max)
{
    (void)max;
    const uint8_t *raw = get_raw(reader, WIRE_MAC_BYTES);
    if (raw)
        memcpy(value->bytes, raw, WIRE_MAC_BYTES);
    else
        memset(value->bytes, 0, WIRE_MAC_BYTES);
}

static void put_bytes(struct wire_writer *writer, const struct wire_bytes *value, uint64_t max)
{
    put_integer(writer, value->length, 4, max);
    put_raw(writer, value->data, value->length);
}
static void get_bytes(struct wire_reader *reader, struct wire_bytes *value, uint64_t max)
{
    uint32_t length = (uint32_t)get_integer(reader, 4, max);
    value->data = get_raw(reader, length);
    value->length = value->data ? length : 0;
}

static void put_str(struct wire_writer *writer, const char *const *value, uint64_t max)
{
    const char *text = *value ? *value : "";
    size_t length = strlen(text);
    put_integer(writer, length, 4, max);
    put_raw(writer, text, length + 1);
}
static void get_str(struct wire_reader *reader, const char **value, uint64_t max)
{
    size_t length = get_integer(reader, 4, max);
    const uint8_t *text = get_raw(reader, length + 1);
    *value = "";
    if (!text)
        return;
    if (memchr(text, 0, length + 1) != text + length)
        reader->bad = true;
    else
        *value = (const char *)text;
}

static void put_list(struct wire_writer *writer, const struct wire_list *value, uint64_t max)
{
    put_integer(writer, value->count, 4, max);
    put_bytes(writer, &value->encoded, LIMITS_BODY_MAX);
}
static void get_list(struct wire_reader *reader, struct wire_list *value, uint64_t max)
{
    value->count = (uint32_t)get_integer(reader, 4, max);
    get_bytes(reader, &value->encoded, LIMITS_BODY_MAX);
    /* An element takes a byte at least: a count beyond that is a lie that
     * could make a caller allocate too much. */
    if (value->count > value->encoded.length) {
        reader->bad = true;
        value->count = 0;
    }
}

#define WIRE_NESTED(message)                                                                           \
    static void put_##message(struct wire_writer *writer, const struct wire_##message *value,          \
                              uint64_t max)                                                            \
    {                                                                                                  \
        (void)max;                                                                                     \
        wire_put_##message(writer, value);                                                             \
    }                                                                                                  \
    static void get_##message(struct wire_reader *reader, struct wire_##message *value, uint64_t max)  \
    {                                                                                                  \
        (void)max;                                                                                     \
        wire_get_##message(reader, value);                                                             \
    }
WIRE_NESTED(layout)
WIRE_NESTED(delegation)
WIRE_NESTED(capability)
WIRE_NESTED(attr)
WIRE_NESTED(small)
WIRE_NESTED(inode_range)
WIRE_NESTED(holding)
WIRE_NESTED(map_host)

/* ---- the messages --------------------------------------------------------- */

#define WIRE_PUT_FIELD(kind, name, max) put_##kind(writer, &value->name, max);
#define WIRE_GET_FIELD(kind, name, max) get_##kind(reader, &value->name, max);
#define WIRE_DEFINE(message)                                                                           \
    void wire_put_##message(struct wire_writer *writer, const struct wire_##message *value)            \
    {                                                                                                  \
        WIRE_FIELDS_##message(WIRE_PUT_FIELD)                                                          \
    }                                                                                                  \
    void wire_get_##message(struct wire_reader *reader, struct wire_##message *value)                  \
    {                                                                                                  \
        WIRE_FIELDS_##message(WIRE_GET_FIELD)                                                          \
    }                                                                                                  \
    int wire_decode_##message(const void *data, size_t length, struct wire_##message *value)           \
    {                                                                                                  \
        struct wire_reader reader = wire_reader_on(data, length);                                      \
        wire_get_##message(&reader, value);                                                            \
        return wire_read_all(&reader, #message);                                                       \
    }                                                                                                  \
    ssize_t wire_encode_##message(void *buffer, size_t size, const struct wire_##message *value)       \
    {                                                                                                  \
        struct wire_writer writer = wire_writer_on(buffer, size);                                      \
        wire_put_##message(&writer, value);                                                            \
        return wire_written(&writer);                                                                  \
    }                                                                                                  \
    static int decode_any_##message(const void *data, size_t length, void *value)                      \
    {                                                                                                  \
        return wire_decode_##message(data, length, value);                                             \
    }                                                                                                  \
    static ssize_t encode_any_##message(void *buffer, size_t size, const void *value)                  \
    {                                                                                                  \
        return wire_encode_##message(buffer, size, value);                                             \
    }
WIRE_MESSAGES(WIRE_DEFINE)

#define WIRE_DESCRIPTION(message) \
    {#message, sizeof(struct wire_##message), decode_any_##message, encode_any_##message},
const struct wire_description wire_descriptions[] = {WIRE_MESSAGES(WIRE_DESCRIPTION)};
const size_t wire_description_count = sizeof wire_descriptions / sizeof wire_descriptions[0];

ssize_t wire_written(const struct wire_writer *writer)
{
    if (writer->bad)
        return err_set(-ENOBUFS, "a message does not fit its buffer or has a value out of bounds");
    return writer->at - writer->start;
}

int wire_read_all(const struct wire_reader *reader, const char *what)
{
    if (reader->bad)
        return err_set(-EBADMSG, "a %s message is cut short or has a value out of bounds", what);
    if (reader->at != reader->end)
        return err_set(-EBADMSG, "a %s message has %zu bytes too many", what,
                       (size_t)(reader->end - reader->at));
    return 0;
}

struct wire_list wire_list_of(const struct wire_writer *writer, uint32_t count)
{
    return (struct wire_list){
        .count = count,
        .encoded = {.data = writer->start, .length = (uint32_t)(writer->at - writer->start)},
    };
}

const char *wire_operation_name(unsigned operation)
{
    switch (operation) {
#define WIRE_OPERATION_NAME(number, name) \
    case number:                          \
        return #name;
        WIRE_OPERATIONS(WIRE_OPERATION_NAME)
#undef WIRE_OPERATION_NAME
    }
    return "unknown";
}
