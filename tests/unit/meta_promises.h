/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meta_promises.h: delegations (metadata/delegations.h) of a metadata service in a test: how clients get
 * them, and how they hear of recalls.
 */
#ifndef TESTS_META_PROMISES_H
#define TESTS_META_PROMISES_H

#include "meta_small.h"
#include "metadata/delegations_internal.h"

enum { TERM_MS = LIMITS_DELEGATION_MS, TOLD_MS = TERM_MS / 3 + 1 };

/* ---- what clients do ------------------------------------------------------------ */

struct promise {
    bool given;
    uint64_t generation, ino;
    uint32_t recalls;
};

static inline struct promise promise_of(const struct wire_delegation *wire, uint64_t ino)
{
    return (struct promise){
        .given = wire->given, .generation = wire->generation, .recalls = wire->recalls, .ino = ino};
}

static inline struct promise ask_for(struct lab_client *client, const char *path)
{
    struct wire_stat_reply reply;
    struct lab_answer *answer =
        submit(client, stat, .path = path, .flags = WIRE_STAT_DELEGATE | WEFT_STAT_NOFOLLOW);
    lab_run();
    decode_answer(answer, stat_reply, &reply);
    struct promise promise = promise_of(&reply.delegation, reply.attr.ino);
    lab_answer_free(answer);
    return promise;
}

static inline struct promise get(struct lab_client *client, const char *path)
{
    struct promise promise = ask_for(client, path);
    assert_true(promise.given);
    assert_true(promise.generation > 0);
    return promise;
}

static inline struct lab_answer *listen_from(struct lab_client *client, uint64_t generation, uint32_t recalls)
{
    struct lab_answer *answer = submit(client, delegation_wait, .generation = generation, .recalls = recalls);
    lab_run();
    return answer;
}

static inline struct lab_answer *listen_for(struct lab_client *client, const struct promise *promise)
{
    return listen_from(client, promise->generation, promise->recalls);
}

struct recalled {
    bool all;
    uint64_t generation;
    uint32_t recalls, count;
    uint64_t inos[LIMITS_RECALLS_MAX];
};

static inline struct recalled told(struct lab_answer *answer)
{
    struct wire_delegation_wait_reply reply;
    struct recalled recalled;
    decode_answer(answer, delegation_wait_reply, &reply);
    recalled = (struct recalled){.all = reply.all,
                                 .generation = reply.delegation.generation,
                                 .recalls = reply.delegation.recalls,
                                 .count = reply.inos.count};
    struct wire_reader reader = wire_list_reader(&reply.inos);
    for (uint32_t i = 0; i < recalled.count; i++) {
        struct wire_inode_number number;
        wire_get_inode_number(&reader, &number);
        recalled.inos[i] = number.ino;
    }
    assert_ok(wire_read_all(&reader, "inodes"));
    lab_answer_free(answer);
    return recalled;
}

/* What is recalled, and only that. */
static inline uint32_t assert_told(struct lab_answer *answer, uint64_t ino)
{
    struct recalled recalled = told(answer);
    assert_false(recalled.all);
    assert_int_equal(recalled.count, 1);
    assert_int_equal(recalled.inos[0], ino);
    return recalled.recalls;
}

/* It waits until the client has heard and answered. */
static inline void assert_waits_for(struct lab_answer *change, struct lab_client *client,
                                    const struct promise *promise)
{
    lab_run();
    assert_false(change->done);
    uint32_t recalls = assert_told(listen_for(client, promise), promise->ino);
    assert_false(change->done);
    struct lab_answer *more = listen_from(client, promise->generation, recalls);
    assert_answered(change, 0);
    lab_jump(TOLD_MS);
    assert_int_equal(told(more).count, 0);
}

static inline void make_file(struct lab_client *client, const char *path)
{
    struct opened file;
    open_file(client, path, NEW | SMALL, &file);
    lab_close_and_wait(client, &file.file, false);
}

#endif
