/* SPDX-License-Identifier: Apache-2.0 */
/* The coders of wire.c: bytes as they must lie on the wire, bounds on both
 * sides, and every message of the schema through the table. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "wire.h"

#define BUFFER_BYTES 65536

static uint8_t buffer[BUFFER_BYTES], second[BUFFER_BYTES];

static uint64_t random_state = 88172645463325252u;
static uint64_t random_next(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* A copy of exactly `length` bytes, so that a sanitizer sees a read beyond it. */
static uint8_t *exactly(const void *data, size_t length)
{
    uint8_t *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, data, length);
    return copy;
}

/* ---- bytes ---------------------------------------------------------------- */

static void envelope_lies_as_specified(void **state)
{
    (void)state;
    static const uint8_t expected[] = {
        'W',  'E',  'F',  'T',                          /* magic */
        0x33, 0x00,                                     /* operation: write */
        0x01, 0x03,                                     /* kind, flags */
        0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, /* token */
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* id */
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, /* settled */
        0x2a, 0x01, 0x00, 0x00,                         /* body_length */
        0x6e, 0x00, 0x00, 0x00,                         /* status */
        0x00, 0x00, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, /* payload_length */
        0x83, 0x92, 0x06, 0xe3,                         /* payload_crc */
        0x04, 0x03, 0x02, 0x01,                         /* header_crc */
    };
    const struct wire_envelope envelope = {
        .magic = WIRE_MAGIC,
        .operation = WIRE_OP_write,
        .kind = WIRE_REQUEST,
        .flags = WIRE_BODY_IN_PAYLOAD | WIRE_PAYLOAD_CRC,
        .token = UINT64_C(0x0102030405060708),
        .id = UINT64_MAX,
        .settled = UINT64_C(0x8000000000000001),
        .body_length = 298,
        .status = 110,
        .payload_length = 8 << 20,
        .payload_crc = 0xe3069283,
        .header_crc = 0x01020304,
    };
    struct wire_envelope decoded;
    assert_int_equal(wire_encode_envelope(buffer, sizeof buffer, &envelope), sizeof expected);
    assert_memory_equal(buffer, expected, sizeof expected);
    assert_int_equal(wire_decode_envelope(expected, sizeof expected, &decoded), 0);
    assert_int_equal(decoded.magic, envelope.magic);
    assert_int_equal(decoded.operation, envelope.operation);
    assert_int_equal(decoded.kind, envelope.kind);
    assert_int_equal(decoded.flags, envelope.flags);
    assert_int_equal(decoded.token, envelope.token);
    assert_int_equal(decoded.id, envelope.id);
    assert_int_equal(decoded.settled, envelope.settled);
    assert_int_equal(decoded.body_length, envelope.body_length);
    assert_int_equal(decoded.status, envelope.status);
    assert_int_equal(decoded.payload_length, envelope.payload_length);
    assert_int_equal(decoded.payload_crc, envelope.payload_crc);
    assert_int_equal(decoded.header_crc, envelope.header_crc);
}

static void text_lies_as_specified(void **state)
{
    (void)state;
    static const uint8_t expected[] = {3, 0, 0, 0, '/', 'a', 'b', 0, 0xed, 1, 0, 0};
    struct wire_mkdir decoded;
    assert_int_equal(wire_encode_mkdir(buffer, sizeof buffer, &(struct wire_mkdir){"/ab", 0755}),
                     sizeof expected);
    assert_memory_equal(buffer, expected, sizeof expected);
    assert_int_equal(wire_decode_mkdir(expected, sizeof expected, &decoded), 0);
    assert_string_equal(decoded.path, "/ab");
    assert_int_equal(decoded.mode, 0755);
}

static void signed_numbers_keep_their_sign(void **state)
{
    (void)state;
    const struct wire_setattr setattr = {.path = "/", .atime_ns = -1, .mtime_ns = INT64_MIN};
    struct wire_setattr decoded;
    ssize_t length = wire_encode_setattr(buffer, sizeof buffer, &setattr);
    assert_true(length > 0);
    assert_int_equal(wire_decode_setattr(buffer, (size_t)length, &decoded), 0);
    assert_true(decoded.atime_ns == -1 && decoded.mtime_ns == INT64_MIN);
}

static void no_text_is_an_empty_text(void **state)
{
    (void)state;
    struct wire_mkdir decoded;
    ssize_t length = wire_encode_mkdir(buffer, sizeof buffer, &(struct wire_mkdir){NULL, 0});
    assert_int_equal(length, 4 + 1 + 4);
    assert_int_equal(wire_decode_mkdir(buffer, (size_t)length, &decoded), 0);
    assert_string_equal(decoded.path, "");
}

/* ---- bounds --------------------------------------------------------------- */

static void values_above_the_bound_are_not_sent(void **state)
{
    (void)state;
    assert_int_equal(wire_encode_mkdir(buffer, sizeof buffer, &(struct wire_mkdir){"/a", 010000}), -ENOBUFS);
    const struct wire_closing closing = {.handle = 1, .wrote = 2};
    assert_int_equal(wire_encode_closing(buffer, sizeof buffer, &closing), -ENOBUFS);
    const struct wire_extent extent = {.offset = UINT64_C(1) << 63, .length = 1};
    assert_int_equal(wire_encode_extent(buffer, sizeof buffer, &extent), -ENOBUFS);
}

static void values_above_the_bound_are_not_taken(void **state)
{
    (void)state;
    struct wire_mkdir mkdir;
    uint8_t bytes[] = {1, 0, 0, 0, '/', 0, 0xff, 0x0f, 0, 0};
    assert_int_equal(wire_decode_mkdir(bytes, sizeof bytes, &mkdir), 0);
    bytes[7] = 0x10; /* mode 010377 */
    assert_int_equal(wire_decode_mkdir(bytes, sizeof bytes, &mkdir), -EBADMSG);
    assert_non_null(strstr(err_text(), "mkdir"));

    struct wire_closing closing;
    uint8_t flag[8 + 1 + 1 + 3 * 8] = {[8] = 1};
    assert_int_equal(wire_decode_closing(flag, sizeof flag, &closing), 0);
    flag[8] = 2;
    assert_int_equal(wire_decode_closing(flag, sizeof flag, &closing), -EBADMSG);
}

static void texts_are_bounded(void **state)
{
    (void)state;
    static char path[WEFT_PATH_BYTES_MAX + 2];
    struct wire_rmdir decoded;
    memset(path, 'p', sizeof path - 1);
    assert_int_equal(wire_encode_rmdir(buffer, sizeof buffer, &(struct wire_rmdir){path}), -ENOBUFS);
    path[WEFT_PATH_BYTES_MAX] = '\0';
    ssize_t length = wire_encode_rmdir(buffer, sizeof buffer, &(struct wire_rmdir){path});
    assert_int_equal(length, 4 + WEFT_PATH_BYTES_MAX + 1);
    assert_int_equal(wire_decode_rmdir(buffer, (size_t)length, &decoded), 0);
    assert_string_equal(decoded.path, path);
    buffer[1]++; /* 256 bytes more than the bound */
    assert_int_equal(wire_decode_rmdir(buffer, sizeof buffer, &decoded), -EBADMSG);
}

static void texts_end_where_they_say(void **state)
{
    (void)state;
    struct wire_rmdir decoded;
    const uint8_t within[] = {3, 0, 0, 0, 'a', 0, 'b', 0}, unended[] = {3, 0, 0, 0, 'a', 'b', 'c', 'd'};
    const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 'a', 0};
    assert_int_equal(wire_decode_rmdir(within, sizeof within, &decoded), -EBADMSG);
    assert_int_equal(wire_decode_rmdir(unended, sizeof unended, &decoded), -EBADMSG);
    assert_int_equal(wire_decode_rmdir(huge, sizeof huge, &decoded), -EBADMSG);
    assert_string_equal(decoded.path, "");
}

static void a_list_cannot_promise_more_than_its_bytes(void **state)
{
    (void)state;
    struct wire_object_remove_reply reply;
    uint8_t bytes[] = {1, 0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0};
    assert_int_equal(wire_decode_object_remove_reply(bytes, sizeof bytes, &reply), 0);
    assert_int_equal(reply.failed.count, 1);
    assert_int_equal(reply.failed.encoded.length, 4);
    bytes[0] = 5;
    assert_int_equal(wire_decode_object_remove_reply(bytes, sizeof bytes, &reply), -EBADMSG);
    assert_int_equal(reply.failed.count, 0);
    bytes[0] = LIMITS_REMOVES_MAX + 1;
    assert_int_equal(wire_decode_object_remove_reply(bytes, sizeof bytes, &reply), -EBADMSG);
}

static void a_full_buffer_is_told(void **state)
{
    (void)state;
    const struct wire_rename rename = {.from = "/from", .to = "/to"};
    ssize_t length = wire_encode_rename(buffer, sizeof buffer, &rename);
    assert_int_equal(length, 4 + 6 + 4 + 4 + 8); /* two texts, and no closes */
    for (size_t size = 0; size < (size_t)length; size++) {
        uint8_t *room = exactly(buffer, size);
        assert_int_equal(wire_encode_rename(room, size, &rename), -ENOBUFS);
        free(room);
    }
}

/* ---- lists ---------------------------------------------------------------- */

static void lists_carry_messages(void **state)
{
    (void)state;
    struct wire_writer elements = wire_writer_on(second, sizeof second);
    for (uint32_t i = 0; i < 100; i++)
        wire_put_extent(&elements,
                        &(struct wire_extent){.offset = UINT64_C(1) << 40 | i, .length = i, .target = 7 * i});
    struct wire_write write = {.map_version = 9, .extents = wire_list_of(&elements, 100)};
    ssize_t length = wire_encode_write(buffer, sizeof buffer, &write);
    assert_true(length > 0);

    struct wire_write decoded;
    assert_int_equal(wire_decode_write(buffer, (size_t)length, &decoded), 0);
    assert_int_equal(decoded.extents.count, 100);
    struct wire_reader reader = wire_list_reader(&decoded.extents);
    for (uint32_t i = 0; i < decoded.extents.count; i++) {
        struct wire_extent extent;
        wire_get_extent(&reader, &extent);
        assert_int_equal(extent.offset, UINT64_C(1) << 40 | i);
        assert_int_equal(extent.length, i);
        assert_int_equal(extent.target, 7 * i);
    }
    assert_int_equal(wire_read_all(&reader, "extent list"), 0);
}

static void a_bad_reader_stays_bad_and_gives_nothing(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 6};
    struct wire_reader reader = wire_reader_on(bytes, sizeof bytes);
    struct wire_number number;
    wire_get_number(&reader, &number);
    assert_int_equal(number.value, 0x04030201);
    wire_get_number(&reader, &number);
    assert_int_equal(number.value, 0);
    assert_true(reader.bad);
    assert_int_equal(wire_read_all(&reader, "number"), -EBADMSG);
}

/* ---- every message -------------------------------------------------------- */

/* Of the message's type, all zero; the caller's to free. */
static void *new_value(const struct wire_description *message)
{
    void *value = calloc(1, message->struct_size);
    assert_non_null(value);
    return value;
}

static void every_empty_message_makes_the_trip(void **state)
{
    (void)state;
    for (size_t i = 0; i < wire_description_count; i++) {
        const struct wire_description *message = &wire_descriptions[i];
        void *value = new_value(message);
        ssize_t length = message->encode(buffer, sizeof buffer, value);
        assert_true(length > 0);
        assert_int_equal(message->decode(buffer, (size_t)length, value), 0);
        assert_int_equal(message->encode(second, sizeof second, value), length);
        assert_memory_equal(buffer, second, (size_t)length);
        free(value);
    }
}

static void every_message_cut_short_or_too_long_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < wire_description_count; i++) {
        const struct wire_description *message = &wire_descriptions[i];
        void *value = new_value(message);
        ssize_t length = message->encode(buffer, sizeof buffer, value);
        for (size_t cut = 0; cut < (size_t)length; cut++) {
            uint8_t *data = exactly(buffer, cut);
            assert_int_equal(message->decode(data, cut, value), -EBADMSG);
            assert_non_null(strstr(err_text(), message->name));
            free(data);
        }
        buffer[length] = 0;
        assert_int_equal(message->decode(buffer, (size_t)length + 1, value), -EBADMSG);
        free(value);
    }
}

/* What decodes has one encoding only, so it must come out as it went in. */
static void damaged_messages_are_refused_or_consistent(void **state)
{
    (void)state;
    unsigned decoded = 0, refused = 0;
    for (unsigned round = 0; round < 300; round++) {
        for (size_t i = 0; i < wire_description_count; i++) {
            const struct wire_description *message = &wire_descriptions[i];
            void *value = new_value(message);
            size_t length = (size_t)message->encode(buffer, sizeof buffer, value);
            for (unsigned hits = 1 + random_next() % 3; hits > 0; hits--)
                buffer[random_next() % length] = (uint8_t)random_next();
            uint8_t *data = exactly(buffer, length);
            if (message->decode(data, length, value) == 0) {
                decoded++;
                assert_int_equal(message->encode(second, sizeof second, value), length);
                assert_memory_equal(second, data, length);
            } else {
                refused++;
            }
            free(data);
            free(value);
        }
    }
    assert_true(decoded > 1000 && refused > 1000);
}

static void operations_have_names(void **state)
{
    (void)state;
    assert_string_equal(wire_operation_name(WIRE_OP_write), "write");
    assert_string_equal(wire_operation_name(WIRE_OP_object_truncate), "object_truncate");
    assert_string_equal(wire_operation_name(0), "unknown");
    assert_string_equal(wire_operation_name(65535), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(envelope_lies_as_specified),
        cmocka_unit_test(text_lies_as_specified),
        cmocka_unit_test(signed_numbers_keep_their_sign),
        cmocka_unit_test(no_text_is_an_empty_text),
        cmocka_unit_test(values_above_the_bound_are_not_sent),
        cmocka_unit_test(values_above_the_bound_are_not_taken),
        cmocka_unit_test(texts_are_bounded),
        cmocka_unit_test(texts_end_where_they_say),
        cmocka_unit_test(a_list_cannot_promise_more_than_its_bytes),
        cmocka_unit_test(a_full_buffer_is_told),
        cmocka_unit_test(lists_carry_messages),
        cmocka_unit_test(a_bad_reader_stays_bad_and_gives_nothing),
        cmocka_unit_test(every_empty_message_makes_the_trip),
        cmocka_unit_test(every_message_cut_short_or_too_long_is_refused),
        cmocka_unit_test(damaged_messages_are_refused_or_consistent),
        cmocka_unit_test(operations_have_names),
    };
    return cmocka_run_group_tests_name("wire", tests, NULL, NULL);
}
