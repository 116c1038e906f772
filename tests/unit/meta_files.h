/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_files.h: files of a metadata service in a test: opened, written and closed by its clients, and looked
 * at as others see them.
 */
#ifndef TESTS_META_FILES_H
#define TESTS_META_FILES_H

#include "meta_service.h"

/* ---- opening and closing ---------------------------------------------------- */

enum { RW = WIRE_OPEN_READ | WIRE_OPEN_WRITE, NEW = RW | WIRE_OPEN_CREATE };

struct lab_file {
    uint64_t handle, ino;
    bool created;
    struct wire_capability capability;
    struct wire_attr attr;
};

/* Its attributes without texts, which end with the answer. */
static inline struct lab_file lab_file_of(const struct wire_open_reply *reply)
{
    struct lab_file file = {.handle = reply->handle,
                            .ino = reply->attr.ino,
                            .created = reply->created,
                            .capability = reply->capability,
                            .attr = reply->attr};
    file.attr.pool = file.attr.host = "";
    return file;
}

static inline int lab_open_placed(struct lab_client *client, const char *path, uint32_t flags,
                                  uint8_t placement, const char *host, struct lab_file *file)
{
    struct lab_answer *answer = submit(client, open, .path = path, .flags = flags, .mode = 0644,
                                       .placement = placement, .host = host);
    lab_run();
    assert_true(answer->done);
    int status = answer->status;
    if (status < 0) {
        err_set(status, "%s", answer->text);
    } else {
        struct wire_open_reply reply;
        decode_answer(answer, open_reply, &reply);
        *file = lab_file_of(&reply);
    }
    lab_answer_free(answer);
    return status;
}

static inline int lab_open(struct lab_client *client, const char *path, uint32_t flags, struct lab_file *file)
{
    return lab_open_placed(client, path, flags, WIRE_PLACEMENT_DEFAULT, "", file);
}

static inline int lab_stat(struct lab_client *client, const char *path, struct wire_attr *attr)
{
    struct lab_answer *answer = submit(client, stat, .path = path);
    lab_run();
    assert_true(answer->done);
    int status = answer->status;
    if (status == 0) {
        struct wire_stat_reply reply;
        decode_answer(answer, stat_reply, &reply);
        *attr = reply.attr;
        attr->pool = "";
        if (reply.attr.size_open)
            assert_ok(capability_check(lab.conf.key, &reply.capability, 0));
    }
    lab_answer_free(answer);
    return status;
}

/* A list of closes, encoded into `bytes`. */
enum { CLOSES_BYTES = 4096 };
static inline struct wire_list lab_closes(uint8_t bytes[CLOSES_BYTES], const struct wire_closing *items,
                                          uint32_t count)
{
    struct wire_writer writer = wire_writer_on(bytes, CLOSES_BYTES);
    for (uint32_t i = 0; i < count; i++)
        wire_put_closing(&writer, &items[i]);
    assert_false(writer.bad);
    return wire_list_of(&writer, count);
}

static inline int lab_close(struct lab_client *client, const struct wire_closing *closing)
{
    uint8_t bytes[CLOSES_BYTES];
    return ask(client, close, .closes = lab_closes(bytes, closing, 1));
}

static inline int lab_close_file(struct lab_client *client, const struct lab_file *file, bool wrote)
{
    return lab_close(client, &(struct wire_closing){.handle = file->handle, .wrote = wrote});
}

/* The same, and all that follows from it is done. */
static inline void lab_close_and_wait(struct lab_client *client, const struct lab_file *file, bool wrote)
{
    assert_ok(lab_close_file(client, file, wrote));
    lab_wait(50);
}

/* A new file that is open, and of whose bytes up to `end` the first storage server has the last. */
static inline void lab_open_written(struct lab_client *client, const char *path, uint64_t end,
                                    struct lab_file *file)
{
    assert_ok(lab_open(client, path, NEW, file));
    fake_write(0, file->ino, end);
}

/* The same, with its only writer gone: its size is known. */
static inline void lab_make(struct lab_client *client, const char *path, uint64_t end, struct lab_file *file)
{
    lab_open_written(client, path, end, file);
    lab_close_and_wait(client, file, true);
}

/* ---- looking ------------------------------------------------------------------ */

static inline struct wire_attr look(const char *path)
{
    struct wire_attr attr;
    assert_ok(lab_stat(&root, path, &attr));
    return attr;
}

/* What a client makes of a stat: it asks the storage servers when it is told to. */
static inline uint64_t exact_size(const char *path)
{
    struct wire_attr attr = look(path);
    uint64_t size = attr.size_open ? 0 : attr.size;
    for (uint32_t i = 0; attr.size_open && i < SERVERS; i++) {
        if (fake_object(i, attr.ino)->end > size)
            size = fake_object(i, attr.ino)->end;
    }
    return size;
}

/* Nobody has the file open for writing any more, and its size is known. */
#define assert_settled(path, expected)               \
    do {                                             \
        struct wire_attr settled_ = look(path);      \
        assert_int_equal(settled_.size_open, 0);     \
        assert_int_equal(settled_.size, (expected)); \
    } while (0)

#endif
