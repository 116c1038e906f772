/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_held.h: folders that a client holds (metadata/delegations_hold.c) of a metadata service in a test, and
 * what it tells of them (metadata/request_held.c).
 */
#ifndef TESTS_META_HELD_H
#define TESTS_META_HELD_H

#include "inode_range.h"
#include "meta_promises.h"

enum { HOLD = NEW | SMALL | WIRE_OPEN_DELEGATE | WIRE_OPEN_HOLD };

/* ---- coming to hold ------------------------------------------------------------- */

struct held {
    struct lab_file file; /* that was made */
    struct promise folder;
    uint32_t gid, small_max;
    struct wire_inode_range range;
    uint32_t other_count;
    struct {
        char name[WEFT_NAME_BYTES_MAX + 1];
        uint64_t ino;
        bool is_file;
    } others[LIMITS_HELD_OTHERS_MAX];
};

static inline bool holds(const struct held *held)
{
    return held->folder.ino != 0;
}

static inline void held_take(const struct lab_answer *answer, struct held *held)
{
    struct wire_open_reply reply;
    *held = (struct held){0};
    decode_answer(answer, open_reply, &reply);
    held->file = lab_file_of(&reply);
    held->folder = promise_of(&reply.delegation, reply.holding.folder);
    held->gid = reply.holding.gid;
    held->small_max = reply.holding.small_max;
    held->range = reply.holding.range;
    held->other_count = reply.holding.others.count;
    struct wire_reader reader = wire_list_reader(&reply.holding.others);
    for (uint32_t i = 0; i < held->other_count; i++) {
        struct wire_held_entry entry;
        wire_get_held_entry(&reader, &entry);
        assert_false(reader.bad);
        snprintf(held->others[i].name, sizeof held->others[i].name, "%s", entry.name);
        held->others[i].ino = entry.ino;
        held->others[i].is_file = entry.is_file;
    }
    assert_ok(wire_read_all(&reader, "others"));
}

/* Makes a file; then it may hold the folder. */
static inline struct held make_in(struct lab_client *client, const char *path, uint32_t flags)
{
    struct held held;
    struct lab_answer *answer = submit(client, open, .path = path, .flags = flags, .mode = 0644);
    lab_run();
    held_take(answer, &held);
    lab_answer_free(answer);
    return held;
}

static inline struct held hold(struct lab_client *client, const char *path)
{
    struct held held = make_in(client, path, HOLD);
    assert_true(holds(&held));
    assert_true(held.folder.generation > 0);
    assert_true(held.folder.given);
    return held;
}

static inline uint32_t holds_now(void)
{
    return lab.service->delegations.holds;
}
static inline uint64_t counted(enum deleg_count what)
{
    return lab.service->delegations.counters[what].value;
}

/* An empty folder of ann's, and a server that has promised something before. */
static inline int held_setup(void **state)
{
    small_setup(state);
    assert_ok(ask(&ann, mkdir, .path = "/d", .mode = 0777));
    assert_ok(ask(&ann, mkdir, .path = "/other", .mode = 0777));
    struct held first = make_in(&ann, "/other/1", HOLD);
    assert_false(holds(&first)); /* the store has to know first that there are any promises */
    make_in(&ann, "/other/2", HOLD);
    lab_jump(TERM_MS);
    lab_jump(TERM_MS); /* what was given with that is forgotten */
    return 0;
}

#define held_test(name) cmocka_unit_test_setup_teardown(name, held_setup, lab_teardown)

/* ---- telling ------------------------------------------------------------------------ */

struct names {
    uint8_t bytes[32768 - 256];
    struct wire_writer writer;
    uint32_t count;
};

static inline void names_add(struct names *names, const struct wire_naming *naming)
{
    if (!names->count)
        names->writer = wire_writer_on(names->bytes, sizeof names->bytes);
    wire_put_naming(&names->writer, naming);
    assert_false(names->writer.bad);
    names->count++;
}

static inline struct wire_naming naming_of(const char *name, uint64_t ino, const char *text)
{
    return (struct wire_naming){.name = name,
                                .ino = ino,
                                .kind = WIRE_NAMING_MAKE,
                                .mode = 0640,
                                .made_ns = lab.realtime_ns - 2000,
                                .changed_ns = lab.realtime_ns - 1000,
                                .data = {.data = (const uint8_t *)text, .length = (uint32_t)strlen(text)}};
}

static inline void add_made(struct names *names, const char *name, uint64_t ino, const char *text)
{
    const struct wire_naming naming = naming_of(name, ino, text);
    names_add(names, &naming);
}

static inline void add_removed(struct names *names, const char *name, uint64_t ino)
{
    names_add(names,
              &(struct wire_naming){
                  .name = name, .ino = ino, .kind = WIRE_NAMING_REMOVE, .changed_ns = lab.realtime_ns - 500});
}

struct outcome {
    bool given, late;
    uint64_t generation;
    struct wire_inode_range range;
    uint32_t count;
    struct wire_named named[LIMITS_NAMINGS_MAX];
};

static inline struct lab_answer *tell_as(struct lab_client *client, uint64_t id, const struct held *held,
                                         const struct names *names, bool wants_range)
{
    return submit_as(client, id, names, .folder = held->folder.ino,
                     .range = held->range, .wants_range = wants_range,
                     .namings = wire_list_of(&names->writer, names->count));
}

static inline struct lab_answer *tell_begin(struct lab_client *client, const struct held *held,
                                            const struct names *names)
{
    return tell_as(client, ++client->request_id, held, names, false);
}

static inline struct outcome tell_end(struct lab_answer *answer)
{
    struct wire_names_reply reply;
    struct outcome outcome = {0};
    lab_run();
    decode_answer(answer, names_reply, &reply);
    outcome.given = reply.delegation.given;
    outcome.late = reply.late;
    outcome.generation = reply.delegation.generation;
    outcome.range = reply.range;
    outcome.count = reply.named.count;
    struct wire_reader reader = wire_list_reader(&reply.named);
    for (uint32_t i = 0; i < outcome.count; i++)
        wire_get_named(&reader, &outcome.named[i]);
    assert_ok(wire_read_all(&reader, "named"));
    lab_answer_free(answer);
    return outcome;
}

static inline struct outcome tell(struct lab_client *client, const struct held *held,
                                  const struct names *names)
{
    return tell_end(tell_begin(client, held, names));
}

/* One name. Returns what became of it, as a negative errno. */
static inline int tell_one(struct lab_client *client, const struct held *held,
                           const struct wire_naming *naming)
{
    struct names names = {0};
    names_add(&names, naming);
    struct outcome outcome = tell(client, held, &names);
    assert_true(outcome.count <= 1);
    return outcome.count ? -(int)outcome.named[0].status : 0;
}

static inline int tell_made(struct lab_client *client, const struct held *held, const char *name,
                            uint64_t ino, const char *text)
{
    const struct wire_naming naming = naming_of(name, ino, text);
    return tell_one(client, held, &naming);
}

static inline int tell_removed(struct lab_client *client, const struct held *held, const char *name,
                               uint64_t ino)
{
    return tell_one(client, held,
                    &(struct wire_naming){.name = name, .ino = ino, .kind = WIRE_NAMING_REMOVE});
}

/* ---- looking without anybody's noticing ------------------------------------------------ */

/* What the store has; 0: there is no such name. */
static inline uint64_t stored(uint64_t folder, const char *name, struct inode *inode)
{
    struct store_txn *txn;
    uint64_t ino = 0;
    assert_ok(store_begin(lab.world.store, false, &txn));
    int error = records_dirent_get(txn, folder, name, &ino);
    assert_true(error == 0 || error == -ENOENT);
    if (error)
        ino = 0;
    if (ino && inode)
        assert_ok(records_inode_get(txn, ino, inode));
    store_abort(txn);
    return ino;
}

static inline struct inode stored_inode(uint64_t ino)
{
    struct store_txn *txn;
    struct inode inode;
    assert_ok(store_begin(lab.world.store, false, &txn));
    assert_ok(records_inode_get(txn, ino, &inode));
    store_abort(txn);
    return inode;
}

static inline void assert_stored(const struct held *held, const char *name, uint64_t ino)
{
    assert_int_equal(stored(held->folder.ino, name, NULL), ino);
}

static inline void assert_text(struct lab_client *client, const char *path, const char *text)
{
    struct opened file;
    open_file(client, path, WIRE_OPEN_READ | SMALL, &file);
    assert_int_equal(file.length, strlen(text));
    assert_memory_equal(file.data, text, file.length);
}

#endif
