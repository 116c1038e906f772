/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared pointers, without a network: a move happens once however often it is asked for, is there after
 * a restart, and ends with the handle that it belongs to.
 */
#include "meta_files.h"

#define DAY_MS (UINT64_C(24) * 3600 * 1000)

/* What the pointer was before, or the error. */
static int64_t move(struct lab_client *client, const struct lab_file *file, bool set, int64_t value)
{
    struct wire_pointer_reply reply = {0};
    struct lab_answer *answer = submit(client, pointer, .handle = file->handle,
                                       .capability = file->capability, .set = set, .value = value);
    lab_run();
    assert_true(answer->done);
    int64_t result = answer->status;
    if (result == 0) {
        decode_answer(answer, pointer_reply, &reply);
        assert_true(reply.before >= 0);
        result = reply.before;
    }
    lab_answer_free(answer);
    return result;
}

static int64_t add(struct lab_client *client, const struct lab_file *file, int64_t value)
{
    return move(client, file, false, value);
}

static void everyone_moves_one_pointer(void **state)
{
    (void)state;
    struct lab_file file;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_int_equal(rows(STORE_POINTERS), 0);
    assert_int_equal(add(&ann, &file, 10), 0);
    assert_int_equal(add(&bob, &file, 5), 10); /* who has imported it */
    assert_int_equal(move(&bob, &file, true, 3), 15);
    assert_int_equal(add(&ann, &file, -3), 3);
    assert_int_equal(add(&ann, &file, 0), 0);
    assert_int_equal(rows(STORE_POINTERS), 1);
    assert_ok(lab_close_file(&ann, &file, false));
    turn_hurry(&lab.service->turn);
    lab_run();
    assert_int_equal(rows(STORE_POINTERS), 0);
    assert_int_equal(add(&bob, &file, 1), -EBADF);
    assert_int_equal(rows(STORE_POINTERS), 0);
}

static void each_opening_has_its_own(void **state)
{
    (void)state;
    struct lab_file writer, reader;
    assert_ok(lab_open(&ann, "/f", NEW, &writer));
    assert_ok(lab_open(&ann, "/f", WIRE_OPEN_READ, &reader));
    assert_int_equal(add(&ann, &writer, 10), 0);
    assert_int_equal(add(&ann, &reader, 20), 0);
    assert_int_equal(add(&ann, &writer, 0), 10);
    assert_int_equal(add(&ann, &reader, 0), 20);
}

static void what_can_not_be_is_refused(void **state)
{
    (void)state;
    struct lab_file file, other, forged, unknown;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(lab_open(&ann, "/g", NEW, &other));
    assert_int_equal(add(&ann, &file, 7), 0);
    assert_int_equal(add(&ann, &file, -8), -EINVAL);
    assert_int_equal(add(&ann, &file, INT64_MIN), -EINVAL);
    assert_int_equal(add(&ann, &file, INT64_MAX - 6), -EOVERFLOW);
    assert_int_equal(move(&ann, &file, true, -1), -EINVAL);
    assert_int_equal(add(&ann, &file, INT64_MAX - 7), 7);
    assert_true(add(&ann, &file, 0) == INT64_MAX);
    forged = file;
    forged.capability.ino++;
    assert_int_equal(add(&ann, &forged, 1), -EACCES);
    forged = file;
    forged.capability = other.capability; /* a good one, but of another file */
    assert_int_equal(add(&ann, &forged, 1), -EBADF);
    unknown = file;
    unknown.handle += 100;
    assert_int_equal(add(&ann, &unknown, 1), -EBADF);
    unknown.handle = 0;
    assert_int_equal(add(&ann, &unknown, 1), -EBADF);
    assert_int_equal(rows(STORE_POINTERS), 1);
}

static int64_t move_as(struct lab_client *client, uint64_t id, const struct lab_file *file, int64_t value)
{
    struct wire_pointer_reply reply;
    struct lab_answer *answer =
        submit_as(client, id, pointer, .handle = file->handle, .capability = file->capability,
                  .value = value);
    lab_run();
    decode_answer(answer, pointer_reply, &reply);
    lab_answer_free(answer);
    return reply.before;
}

static void a_repeated_move_happens_once(void **state)
{
    (void)state;
    struct lab_file file;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    uint64_t id = ++ann.request_id;
    assert_int_equal(move_as(&ann, id, &file, 5), 0);
    assert_int_equal(add(&bob, &file, 1), 5);
    assert_int_equal(move_as(&ann, id, &file, 5), 0);
    lab_restart();
    lab_connect(&ann);
    lab_connect(&bob);
    assert_int_equal(move_as(&ann, id, &file, 5), 0);
    assert_int_equal(add(&bob, &file, 0), 6);
    /* And in one turn. */
    id = ++ann.request_id;
    struct lab_answer *first =
        submit_as(&ann, id, pointer, .handle = file.handle, .capability = file.capability, .value = 4);
    struct lab_answer *second =
        submit_as(&ann, id, pointer, .handle = file.handle, .capability = file.capability, .value = 4);
    lab_run();
    assert_int_equal(first->status, 0);
    assert_int_equal(first->reply_length, second->reply_length);
    assert_memory_equal(first->reply, second->reply, first->reply_length);
    lab_answer_free(first);
    lab_answer_free(second);
    assert_int_equal(add(&bob, &file, 0), 10);
}

/* ---- restarts ----------------------------------------------------------- */

static void restart_with_everyone(void)
{
    lab_restart();
    lab_connect(&ann);
    lab_connect(&bob);
}

static void a_restart_keeps_them(void **state)
{
    (void)state;
    struct lab_file writer, reader;
    assert_ok(lab_open(&ann, "/f", NEW, &writer));
    assert_ok(lab_open(&bob, "/f", WIRE_OPEN_READ, &reader));
    assert_int_equal(add(&ann, &writer, 10), 0);
    assert_int_equal(add(&bob, &reader, 20), 0);
    restart_with_everyone();
    assert_int_equal(add(&ann, &writer, 1), 10);
    assert_int_equal(add(&bob, &reader, 1), 20);
    restart_with_everyone();
    assert_int_equal(add(&ann, &writer, 1), 11);
    assert_int_equal(add(&bob, &reader, 1), 21);
    /* A reader does not make a size doubtful. */
    assert_ok(lab_close_file(&ann, &writer, false));
    turn_hurry(&lab.service->turn);
    lab_run();
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(rows(STORE_POINTERS), 1);
    assert_ok(lab_close_file(&bob, &reader, false));
    turn_hurry(&lab.service->turn);
    lab_run();
    assert_int_equal(rows(STORE_POINTERS), 0);
}

static void one_that_is_first_used_after_a_restart_ends_with_its_handle(void **state)
{
    (void)state;
    struct lab_file file, reader;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(lab_close_file(&ann, &file, false));
    assert_ok(lab_open(&ann, "/f", WIRE_OPEN_READ, &reader));
    restart_with_everyone();
    assert_int_equal(add(&bob, &reader, 20), 0);
    assert_int_equal(add(&ann, &reader, 1), 20);
    restart_with_everyone();
    assert_int_equal(add(&bob, &reader, 1), 21);
    assert_int_equal(rows(STORE_POINTERS), 1);
    assert_ok(lab_close_file(&ann, &reader, false));
    turn_hurry(&lab.service->turn);
    lab_run();
    assert_int_equal(rows(STORE_POINTERS), 0);
}

static void one_that_nobody_closes_goes_in_the_end(void **state)
{
    (void)state;
    struct lab_file reader, file;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(lab_open(&ann, "/f", WIRE_OPEN_READ, &reader));
    restart_with_everyone();
    assert_int_equal(add(&bob, &reader, 20), 0);
    lab.realtime_ns += (int64_t)(DAY_MS / 2) * MS;
    restart_with_everyone();
    assert_int_equal(rows(STORE_POINTERS), 1);
    lab.realtime_ns += (int64_t)DAY_MS * MS;
    restart_with_everyone();
    assert_int_equal(rows(STORE_POINTERS), 0);
}

static void it_goes_with_its_client(void **state)
{
    (void)state;
    struct lab_file reader, file;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(lab_open(&bob, "/f", WIRE_OPEN_READ, &reader));
    assert_int_equal(add(&bob, &reader, 20), 0);
    assert_int_equal(add(&ann, &file, 20), 0);
    lab_disconnect(&bob);
    lab_live(lab.conf.lease_ms + 2000);
    assert_int_equal(rows(STORE_POINTERS), 1);
    lab_disconnect(&ann);
    lab_live(lab.conf.lease_ms + 2000);
    assert_int_equal(rows(STORE_POINTERS), 0);
    lab_connect(&ann);
    lab_connect(&bob);
}

/* The reader of a file without a name keeps the file, over a restart, and its close ends both. */
static void a_file_without_a_name_stays_as_long_as_its_pointer(void **state)
{
    (void)state;
    struct lab_file file, reader;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(lab_close_file(&ann, &file, false));
    assert_ok(lab_open(&bob, "/f", WIRE_OPEN_READ, &reader));
    assert_int_equal(add(&bob, &reader, 20), 0);
    assert_ok(ask(&ann, unlink, .path = "/f"));
    uint64_t inodes = rows(STORE_INODES);
    restart_with_everyone();
    assert_int_equal(add(&bob, &reader, 20), 20);
    lab_live(lab.conf.lease_ms * 2);
    assert_int_equal(rows(STORE_INODES), inodes);
    assert_ok(lab_close_file(&bob, &reader, false));
    turn_hurry(&lab.service->turn);
    lab_run();
    assert_int_equal(rows(STORE_INODES), inodes - 1);
    assert_int_equal(rows(STORE_POINTERS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lab_test(everyone_moves_one_pointer),
        lab_test(each_opening_has_its_own),
        lab_test(what_can_not_be_is_refused),
        lab_test(a_repeated_move_happens_once),
        lab_test(a_restart_keeps_them),
        lab_test(one_that_is_first_used_after_a_restart_ends_with_its_handle),
        lab_test(one_that_nobody_closes_goes_in_the_end),
        lab_test(it_goes_with_its_client),
        lab_test(a_file_without_a_name_stays_as_long_as_its_pointer),
    };
    return cmocka_run_group_tests_name("meta_pointer", tests, NULL, NULL);
}
