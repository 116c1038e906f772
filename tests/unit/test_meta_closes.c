/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Closes that ride with other requests take effect whatever becomes of the request, cost no commit
 * of their own, and may come twice.
 */
#include "meta_files.h"

static struct wire_closing closing_of(const struct lab_file *file, bool wrote)
{
    return (struct wire_closing){.handle = file->handle, .wrote = wrote};
}

static uint64_t commits(void)
{
    return counter_get(&lab.service->turn.counters[TURN_COMMITS]);
}

static void a_close_rides_with_an_open_in_one_commit(void **state)
{
    struct lab_file first, second;
    uint8_t bytes[CLOSES_BYTES];
    (void)state;
    lab_open_written(&ann, "/a", 100, &first);
    struct wire_closing closing = closing_of(&first, true);
    uint64_t before = commits();
    lab.answers = false; /* settling is a commit of its own */
    struct lab_answer *answer = submit(&ann, open, .path = "/b", .flags = NEW, .mode = 0644,
                                       .closes = lab_closes(bytes, &closing, 1));
    lab_run();
    assert_int_equal(commits(), before + 1);
    struct wire_open_reply reply;
    decode_answer(answer, open_reply, &reply);
    second.handle = reply.handle;
    lab_answer_free(answer);
    assert_int_equal(rows(STORE_WRITERS), 1);
    assert_null(opens_find(lab.service->opens, first.handle));
    lab.answers = true;
    lab_run();
    assert_settled("/a", 100);
    assert_ok(lab_close_file(&ann, &second, false));
}

static void a_close_counts_although_its_request_fails(void **state)
{
    struct lab_file file;
    uint8_t bytes[CLOSES_BYTES];
    (void)state;
    for (int i = 0; i < 4; i++) {
        lab_open_written(&ann, "/a", 100, &file);
        struct wire_closing closing = closing_of(&file, true);
        struct wire_list closes = lab_closes(bytes, &closing, 1);
        int result = i == 0   ? ask(&ann, unlink, .path = "/none", .closes = closes)
                     : i == 1 ? ask(&ann, stat, .path = "/none", .closes = closes)
                     : i == 2 ? ask(&ann, rename, .from = "/none", .to = "/a", .closes = closes)
                              : ask(&ann, open, .path = "/none", .flags = WIRE_OPEN_READ, .closes = closes);
        assert_result(result, -ENOENT);
        lab_wait(50);
        assert_int_equal(rows(STORE_WRITERS), 0);
        assert_settled("/a", 100);
    }
    assert_int_equal(counter_get(&lab.service->closes), 4);
}

static void a_repeated_request_closes_nothing_twice(void **state)
{
    struct lab_file file, again;
    uint8_t bytes[CLOSES_BYTES];
    (void)state;
    assert_ok(lab_open(&ann, "/a", NEW, &file));
    struct wire_closing closing = closing_of(&file, false);
    struct wire_list closes = lab_closes(bytes, &closing, 1);
    uint64_t id = ++ann.request_id;
    for (int i = 0; i < 2; i++) {
        struct lab_answer *answer =
            submit_as(&ann, id, open, .path = "/b", .flags = NEW, .mode = 0644, .closes = closes);
        lab_run();
        struct wire_open_reply reply;
        decode_answer(answer, open_reply, &reply);
        again.handle = reply.handle;
        lab_answer_free(answer);
        assert_int_equal(rows(STORE_WRITERS), 1);
        lab_disconnect(&ann);
        lab_connect(&ann);
    }
    assert_int_equal(counter_get(&lab.service->closes), 1);
    assert_non_null(opens_find(lab.service->opens, again.handle));
    /* Twice in one list is once. */
    struct wire_closing twice[2] = {closing_of(&again, false), closing_of(&again, true)};
    assert_ok(ask(&ann, close, .closes = lab_closes(bytes, twice, 2)));
    lab_wait(50);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(counter_get(&lab.service->closes), 2);
}

static void no_one_closes_what_is_another_ones(void **state)
{
    struct lab_file file;
    uint8_t bytes[CLOSES_BYTES];
    (void)state;
    assert_ok(lab_open(&ann, "/a", NEW, &file));
    struct wire_closing closing = closing_of(&file, true);
    assert_ok(ask(&bob, stat, .path = "/a", .closes = lab_closes(bytes, &closing, 1)));
    assert_result(ask(&bob, close, .closes = lab_closes(bytes, &closing, 1)), -EBADF);
    lab_wait(50);
    assert_int_equal(rows(STORE_WRITERS), 1);
    assert_non_null(opens_find(lab.service->opens, file.handle));
}

static void a_list_that_makes_no_sense_is_refused_as_a_whole(void **state)
{
    struct lab_file file;
    uint8_t bytes[CLOSES_BYTES];
    (void)state;
    assert_ok(lab_open(&ann, "/a", NEW, &file));
    struct wire_closing items[2] = {closing_of(&file, true), closing_of(&file, true)};
    struct wire_list list = lab_closes(bytes, items, 2);
    list.encoded.length--;
    assert_result(ask(&ann, stat, .path = "/a", .closes = list), -EBADMSG);
    list.encoded.length++;
    list.count = 1;
    assert_result(ask(&ann, unlink, .path = "/a", .closes = list), -EBADMSG);
    bytes[8] = 2; /* neither written nor not */
    list.count = 2;
    assert_result(ask(&ann, close, .closes = list), -EBADMSG);
    lab_wait(50);
    assert_int_equal(rows(STORE_WRITERS), 1);
}

static void a_full_list_is_closed(void **state)
{
    struct lab_file file;
    struct wire_closing items[LIMITS_CLOSES_MAX];
    uint8_t bytes[CLOSES_BYTES];
    char path[32];
    (void)state;
    for (unsigned i = 0; i < LIMITS_CLOSES_MAX; i++) {
        snprintf(path, sizeof path, "/f%u", i);
        assert_ok(lab_open(&ann, path, i % 3 ? NEW : NEW & ~WIRE_OPEN_WRITE, &file));
        items[i] = closing_of(&file, false);
    }
    uint64_t before = commits();
    assert_ok(ask(&ann, unlink, .path = "/f0", .closes = lab_closes(bytes, items, LIMITS_CLOSES_MAX)));
    assert_int_equal(commits(), before + 1);
    assert_int_equal(rows(STORE_WRITERS), 0);
    for (unsigned i = 0; i < LIMITS_CLOSES_MAX; i++)
        assert_null(opens_find(lab.service->opens, items[i].handle));
    assert_int_equal(look("/f31").size_open, 0);
}

/* Reading it back costs no commit: who reads a thousand files writes nothing. */
static void a_handle_for_reading_is_closed_without_a_commit(void **state)
{
    struct lab_file file;
    uint8_t bytes[CLOSES_BYTES];
    (void)state;
    assert_ok(lab_open(&ann, "/a", NEW, &file));
    lab_close_and_wait(&ann, &file, false);
    assert_ok(lab_open(&ann, "/a", WIRE_OPEN_READ, &file));
    struct wire_closing closing = closing_of(&file, false);
    uint64_t before = commits();
    assert_ok(ask(&ann, stat, .path = "/a", .closes = lab_closes(bytes, &closing, 1)));
    lab_wait(50);
    assert_null(opens_find(lab.service->opens, file.handle));
    assert_int_equal(commits(), before);
}

static void the_last_user_of_a_removed_file_rides_as_well(void **state)
{
    struct lab_file file;
    uint8_t bytes[CLOSES_BYTES];
    (void)state;
    lab_make(&ann, "/a", 100, &file);
    assert_ok(lab_open(&bob, "/a", WIRE_OPEN_READ, &file));
    assert_ok(ask(&ann, unlink, .path = "/a"));
    lab_wait(50);
    assert_int_equal(rows(STORE_ORPHANS), 1);
    struct wire_closing closing = closing_of(&file, false);
    assert_ok(ask(&bob, stat, .path = "/", .closes = lab_closes(bytes, &closing, 1)));
    lab_wait(50);
    assert_int_equal(rows(STORE_ORPHANS), 0);
    assert_int_equal(rows(STORE_REMOVALS), 0);
    assert_false(fake_object(0, file.ino)->exists);
}

static void a_close_after_a_restart_finds_its_file(void **state)
{
    struct lab_file file, reader;
    uint8_t bytes[CLOSES_BYTES];
    (void)state;
    assert_ok(lab_open(&ann, "/a", NEW, &file));
    assert_ok(lab_open(&ann, "/a", WIRE_OPEN_READ, &reader));
    fake_write(0, file.ino, 100);
    lab_restart();
    lab_connect(&ann);
    lab_connect(&root);
    struct wire_closing items[2] = {closing_of(&file, true), closing_of(&reader, false)};
    assert_ok(ask(&ann, stat, .path = "/", .closes = lab_closes(bytes, items, 2)));
    lab_live(100);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_settled("/a", 100);
    /* The server ends again before it has heard of a close: the file is taken for open, and the close comes
     * again with the request that was not answered. */
    assert_ok(lab_open(&ann, "/a", RW, &file));
    items[0] = closing_of(&file, false);
    struct lab_answer *lost = submit(&ann, stat, .path = "/", .closes = lab_closes(bytes, items, 1));
    lab.service->turn.lazy_due_ns = UINT64_MAX;
    lab_run();
    lab_answer_free(lost);
    assert_int_equal(rows(STORE_WRITERS), 1);
    assert_ok(ask(&ann, unlink, .path = "/a", .closes = lab_closes(bytes, items, 1)));
    lab_wait(50);
    assert_int_equal(rows(STORE_WRITERS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lab_test(a_close_rides_with_an_open_in_one_commit),
        lab_test(a_close_counts_although_its_request_fails),
        lab_test(a_repeated_request_closes_nothing_twice),
        lab_test(no_one_closes_what_is_another_ones),
        lab_test(a_list_that_makes_no_sense_is_refused_as_a_whole),
        lab_test(a_full_list_is_closed),
        lab_test(a_handle_for_reading_is_closed_without_a_commit),
        lab_test(the_last_user_of_a_removed_file_rides_as_well),
        lab_test(a_close_after_a_restart_finds_its_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
