/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_small.h: small files (metadata/small.h) of a metadata service in a test, and what clients do with
 * them.
 */
#ifndef TESTS_META_SMALL_H
#define TESTS_META_SMALL_H

#include "meta_files.h"

enum { SMALL = WIRE_OPEN_SMALL, LIMIT = 4000, LEASE_MS = 5 };

static inline int small_setup(void **state)
{
    (void)state;
    lab_open_empty(WORLD_STORE_BYTES);
    lab.conf.small_file = LIMIT;
    lab_register_all();
    assert_ok(ask(&root, setattr, .path = "/", .mask = WIRE_SETATTR_MODE, .mode = 0777));
    lab_jump(LEASE_MS + 1); /* what an earlier server may have promised is over */
    lab.calls_made = 0;
    return 0;
}

#define small_test(name) cmocka_unit_test_setup_teardown(name, small_setup, lab_teardown)

/* ---- what clients do ------------------------------------------------------------ */

struct opened {
    struct lab_file file;
    uint32_t small_max, lease_us, length;
    uint8_t data[LIMITS_SMALL_BYTES_MAX];
};

static inline void opened_take(const struct lab_answer *answer, struct opened *opened)
{
    struct wire_open_reply reply;
    decode_answer(answer, open_reply, &reply);
    opened->file = lab_file_of(&reply);
    opened->small_max = reply.small_max;
    opened->lease_us = reply.small.lease_us;
    opened->length = reply.small.data.length;
    memcpy(opened->data, reply.small.data.data, opened->length);
}

static inline void open_file(struct lab_client *client, const char *path, uint32_t flags,
                             struct opened *opened)
{
    struct lab_answer *answer = submit(client, open, .path = path, .flags = flags, .mode = 0666);
    lab_run();
    opened_take(answer, opened);
    lab_answer_free(answer);
}

static inline struct lab_answer *write_begin(struct lab_client *client, const struct opened *opened,
                                             uint32_t offset, const char *text)
{
    uint8_t pieces[16];
    struct wire_writer writer = wire_writer_on(pieces, sizeof pieces);
    uint32_t length = (uint32_t)strlen(text);
    wire_put_small_piece(&writer, &(struct wire_small_piece){.offset = offset, .length = length});
    return submit(client, small_write, .capability = opened->file.capability, .handle = opened->file.handle,
                  .pieces = wire_list_of(&writer, 1),
                  .data = {.data = (const uint8_t *)text, .length = length});
}

/* 0: it was written; 1: the file has spilled. */
static inline int write_end(struct lab_answer *answer)
{
    struct wire_small_write_reply reply;
    decode_answer(answer, small_write_reply, &reply);
    lab_answer_free(answer);
    return reply.spilled;
}

static inline int write_text(struct lab_client *client, const struct opened *opened, uint32_t offset,
                             const char *text)
{
    struct lab_answer *answer = write_begin(client, opened, offset, text);
    lab_run();
    return write_end(answer);
}

/* A new one, open, with this text in it. */
static inline void new_file(struct lab_client *client, const char *path, const char *text,
                            struct opened *opened)
{
    open_file(client, path, NEW | SMALL, opened);
    assert_int_equal(write_text(client, opened, 0, text), 0);
}

static inline void assert_reads(struct lab_client *client, const struct opened *opened, const void *bytes,
                                uint32_t length)
{
    struct wire_small_read_reply reply;
    struct lab_answer *answer =
        submit(client, small_read, .capability = opened->file.capability, .handle = 0);
    lab_run();
    decode_answer(answer, small_read_reply, &reply);
    assert_int_equal(reply.spilled, 0);
    assert_int_equal(reply.small.data.length, length);
    assert_memory_equal(reply.small.data.data, bytes, length);
    lab_answer_free(answer);
}

static inline struct lab_answer *spill_begin(struct lab_client *client, const struct opened *opened)
{
    struct lab_answer *answer =
        submit(client, spill, .capability = opened->file.capability, .handle = opened->file.handle);
    lab_run();
    return answer;
}

/* Whether this one alone has it open for writing, and it is empty. */
static inline bool spill_end(struct lab_answer *answer)
{
    struct wire_spill_reply reply;
    decode_answer(answer, spill_reply, &reply);
    lab_answer_free(answer);
    return reply.sole;
}

static inline bool spill(struct lab_client *client, const struct opened *opened)
{
    return spill_end(spill_begin(client, opened));
}

#endif
