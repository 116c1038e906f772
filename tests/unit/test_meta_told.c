/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only writer of a new file tells its size with the close, and no storage server is asked. When
 * anyone else may have changed the file, they are asked, whatever the close says.
 */
#include "meta_files.h"

enum { TOLD_END = 3901, TOLD_BYTES = 8192, REAL_END = 5000 };

static struct wire_closing telling(const struct lab_file *file)
{
    return (struct wire_closing){.handle = file->handle,
                                 .wrote = 1,
                                 .told = 1,
                                 .end = TOLD_END,
                                 .bytes = TOLD_BYTES,
                                 .mtime_ns = lab.realtime_ns + 5};
}

static uint64_t told(void)
{
    return counter_get(&lab.service->closes_told);
}

/* The close says one thing, the servers know another: theirs counts. */
static void assert_asked(struct lab_client *client, const struct lab_file *file)
{
    uint64_t before = told();
    struct wire_closing closing = telling(file);
    fake_write(1, file->ino, REAL_END);
    lab.stats = 0;
    assert_ok(lab_close(client, &closing));
    lab_live(100);
    assert_int_equal(told(), before);
    assert_int_equal(lab.stats, SERVERS);
    assert_settled("/f", REAL_END);
    assert_int_equal(look("/f").bytes, 4096);
}

static void what_is_told_is_taken(void **state)
{
    struct lab_file file, reader;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(ask(&root, setattr, .path = "/f", .mask = WIRE_SETATTR_MODE, .mode = 0666));
    assert_ok(lab_open(&bob, "/f", WIRE_OPEN_READ, &reader)); /* who only reads changes nothing */
    struct wire_closing closing = telling(&file);
    assert_ok(lab_close(&ann, &closing));
    lab_wait(50);
    assert_int_equal(told(), 1);
    assert_int_equal(lab.calls_made, 0);
    struct wire_attr attr = look("/f");
    assert_int_equal(attr.size_open, 0);
    assert_int_equal(attr.size, TOLD_END);
    assert_int_equal(attr.bytes, TOLD_BYTES);
    assert_int_equal(attr.mtime_ns, closing.mtime_ns);
    assert_int_equal(attr.ctime_ns, closing.mtime_ns);
    assert_int_equal(rows(STORE_UNSETTLED), 0);
    assert_int_equal(rows(STORE_WRITERS), 0);
    lab_restart();
    lab_connect(&root);
    assert_int_equal(look("/f").size, TOLD_END);
    /* It has an object. */
    struct layout layout = capability_layout(&file.capability);
    uint32_t server = layout_place_of(&layout, 0).group;
    fake_write(server, file.ino, TOLD_END);
    assert_ok(ask(&root, unlink, .path = "/f"));
    lab_live(15000);
    assert_false(fake_object(server, file.ino)->exists);
}

static void a_stat_that_brings_it_tells_it(void **state)
{
    struct lab_file file;
    uint8_t bytes[CLOSES_BYTES];
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    struct wire_closing closing = telling(&file);
    struct lab_answer *answer =
        submit(&ann, stat, .path = "/f", .closes = lab_closes(bytes, &closing, 1));
    lab_run();
    struct wire_stat_reply reply;
    decode_answer(answer, stat_reply, &reply);
    assert_int_equal(reply.attr.size_open, 0);
    assert_int_equal(reply.attr.size, TOLD_END);
    lab_answer_free(answer);
}

static void a_time_that_was_set_stays(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    struct wire_closing closing = telling(&file);
    lab_jump(1000);
    assert_ok(ask(&ann, setattr, .path = "/f", .mask = WIRE_SETATTR_MTIME, .mtime_ns = 12345));
    assert_ok(lab_close(&ann, &closing));
    lab_wait(50);
    assert_int_equal(told(), 1);
    assert_int_equal(look("/f").mtime_ns, 12345);
}

static void two_writers_know_only_a_part_each(void **state)
{
    struct lab_file first, second;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &first));
    assert_ok(lab_open(&ann, "/f", RW, &second));
    struct wire_closing closing = telling(&second);
    assert_ok(lab_close(&ann, &closing));
    lab_wait(50);
    assert_int_equal(look("/f").size_open, 1);
    assert_asked(&ann, &first);
}

static void one_who_came_and_went_is_remembered(void **state)
{
    struct lab_file first, second;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &first));
    assert_ok(lab_open(&ann, "/f", RW, &second));
    lab_close_and_wait(&ann, &second, false);
    assert_asked(&ann, &first);
}

static void one_who_comes_later_knows_only_a_part(void **state)
{
    struct lab_file first, second;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &first));
    assert_ok(lab_open(&ann, "/f", RW, &second));
    lab_close_and_wait(&ann, &first, true);
    assert_asked(&ann, &second);
}

static void a_truncation_in_between_counts(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 400));
    assert_asked(&ann, &file);
}

static void a_truncation_under_way_counts(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    lab.answers = false;
    struct lab_answer *answer = submit(&ann, truncate, .path = "/f", .size = REAL_END);
    lab_run();
    struct wire_closing closing = telling(&file);
    assert_ok(lab_close(&ann, &closing));
    lab.answers = true;
    lab_run();
    lab_wait(50);
    assert_answered(answer, 0);
    assert_int_equal(told(), 0);
    assert_int_equal(exact_size("/f"), REAL_END);
    assert_int_equal(look("/f").size_open, 0);
}

static void a_file_that_was_written_before_is_asked_for(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    struct wire_closing closing = telling(&file);
    assert_ok(lab_close(&ann, &closing));
    lab_wait(50);
    assert_int_equal(told(), 1);
    assert_ok(lab_open(&ann, "/f", RW, &file));
    assert_asked(&ann, &file);
    assert_ok(lab_open(&ann, "/f", RW | WIRE_OPEN_TRUNCATE, &file));
    assert_asked(&ann, &file);
}

static void what_is_not_settled_yet_is_asked_for(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    lab.answers = false;
    lab_close_and_wait(&ann, &file, true);
    assert_ok(lab_open(&ann, "/f", RW, &file));
    lab.answers = true;
    lab_run();
    assert_asked(&ann, &file);
}

static void a_restart_forgets_who_was_alone(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    lab_restart();
    lab_connect(&ann);
    lab_connect(&root);
    lab_heartbeats();
    assert_asked(&ann, &file);
}

static void who_reads_tells_nothing(void **state)
{
    struct lab_file file, reader;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(lab_open(&ann, "/f", WIRE_OPEN_READ, &reader));
    struct wire_closing closing = telling(&reader);
    assert_ok(lab_close(&ann, &closing));
    lab_wait(50);
    assert_int_equal(told(), 0);
    assert_int_equal(look("/f").size_open, 1);
    closing = telling(&file);
    assert_ok(lab_close(&ann, &closing));
    lab_wait(50);
    assert_int_equal(told(), 1);
}

static void a_removed_file_ends(void **state)
{
    struct lab_file file;
    (void)state;
    lab_open_written(&ann, "/f", TOLD_END, &file);
    assert_ok(ask(&ann, unlink, .path = "/f"));
    struct wire_closing closing = telling(&file);
    assert_ok(lab_close(&ann, &closing));
    lab_wait(50);
    assert_int_equal(rows(STORE_ORPHANS), 0);
    assert_int_equal(rows(STORE_REMOVALS), 0);
    assert_false(fake_object(0, file.ino)->exists);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lab_test(what_is_told_is_taken),
        lab_test(a_stat_that_brings_it_tells_it),
        lab_test(a_time_that_was_set_stays),
        lab_test(two_writers_know_only_a_part_each),
        lab_test(one_who_came_and_went_is_remembered),
        lab_test(one_who_comes_later_knows_only_a_part),
        lab_test(a_truncation_in_between_counts),
        lab_test(a_truncation_under_way_counts),
        lab_test(a_file_that_was_written_before_is_asked_for),
        lab_test(what_is_not_settled_yet_is_asked_for),
        lab_test(a_restart_forgets_who_was_alone),
        lab_test(who_reads_tells_nothing),
        lab_test(a_removed_file_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
