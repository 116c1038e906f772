/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How small files spill (metadata/spill.h): to the right place, durable there before the inode says so, seen
 * by those who had them open before, and with nothing left behind by a try that failed.
 */
#include "meta_small.h"

/* ---- spilling -------------------------------------------------------------------------- */

static void an_empty_one_spills_at_once(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_true(spill(&ann, &file));
    assert_int_equal(lab.calls_made, 0);
    assert_int_equal(rows(STORE_WRITERS), 1);
    assert_int_equal(look("/f").size_open, 1);
    /* Its only writer may tell what he has written. */
    fake_write(1, file.file.ino, 5000);
    assert_ok(lab_close(&ann, &(struct wire_closing){.handle = file.file.handle,
                                                     .wrote = 1,
                                                     .told = 1,
                                                     .end = 5000,
                                                     .bytes = 8192,
                                                     .mtime_ns = lab.realtime_ns}));
    lab_wait(50);
    assert_settled("/f", 5000);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(lab.stats, 0);
}

static void bytes_go_with_it(void **state)
{
    struct opened file, second, third;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    open_file(&bob, "/f", RW | SMALL, &second);
    assert_int_equal(write_text(&ann, &file, 0, "to be moved"), 0);
    int64_t mtime_ns = look("/f").mtime_ns;
    lab_jump(3);
    open_file(&root, "/f", RW, &third); /* does not ask for a small one */
    assert_int_equal(third.small_max, 0);
    assert_int_equal(lab.writes, 1);
    assert_int_equal(lab.syncs, 1);
    assert_memory_equal(lab.written, "to be moved", 11);
    assert_int_equal(exact_size("/f"), 11);
    assert_int_equal(look("/f").mtime_ns, mtime_ns);
    assert_int_equal(rows(STORE_SMALL), 0);
    assert_int_equal(rows(STORE_WRITERS), 3);
    assert_int_equal(write_text(&bob, &second, 0, "late"), 1);
    assert_false(spill(&ann, &file));
    assert_int_equal(lab.writes, 1);
    lab_close_and_wait(&ann, &file.file, false);
    lab_close_and_wait(&bob, &second.file, false);
    lab_close_and_wait(&root, &third.file, false);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(look("/f").size, 11);
    assert_int_equal(look("/f").mtime_ns, mtime_ns);
    assert_ok(ask(&root, unlink, .path = "/f"));
    lab_live(15000);
    for (uint32_t i = 0; i < SERVERS; i++)
        assert_false(fake_object(i, file.file.ino)->exists);
}

/* Steps of a spill, one at a time. */
static void answer_step(unsigned writes, unsigned syncs)
{
    fake_answer_all();
    lab_run();
    assert_int_equal(lab.writes, writes);
    assert_int_equal(lab.syncs, syncs);
}

static void lose(uint32_t server)
{
    char name[8];
    snprintf(name, sizeof name, "s%u", server);
    lab_losses[server]++;
    assert_ok(lab_register(&storage[server], name, 1, &server, 1, (uint16_t)(7500 + 10 * server)));
}

/* A host with a part of it that crashes has lost it, whatever its sync says. */
static void what_a_crash_takes_is_written_again(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "0123456789", &file);
    lab.answers = false;
    struct lab_answer *answer = spill_begin(&ann, &file);
    answer_step(1, 0);
    for (uint32_t i = 0; i < SERVERS; i++)
        lose(i);
    answer_step(1, 1);
    answer_step(2, 1);
    assert_false(answer->done);
    answer_step(2, 2);
    spill_end(answer);
    lab.answers = true;
    assert_int_equal(exact_size("/f"), 10);
}

/* Its request was refused since it named a map of before the crash: it is made again. */
static void a_refusal_for_an_old_map_is_no_failure(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "0123456789", &file);
    lab.answers = false;
    struct lab_answer *answer = spill_begin(&ann, &file);
    for (uint32_t i = 0; i < SERVERS; i++) {
        lose(i);
        lab.server_error[i] = -ESTALE;
    }
    /* Not from inside the answer: the connection that it came by may have to be given up. */
    const unsigned made = lab.calls_made;
    fake_answer_all();
    assert_int_equal(lab.calls_made, made);
    lab_run();
    assert_true(lab.calls_made > made);
    memset(lab.server_error, 0, sizeof lab.server_error);
    assert_false(answer->done);
    answer_step(1, 0);
    answer_step(1, 1);
    spill_end(answer);
    /* When no newer map explains it, it is told. */
    lab.answers = true;
    new_file(&ann, "/g", "0123456789", &file);
    for (uint32_t i = 0; i < SERVERS; i++)
        lab.server_error[i] = -ESTALE;
    assert_result(ask(&ann, spill, .capability = file.file.capability, .handle = file.file.handle),
                  -ETIMEDOUT);
    memset(lab.server_error, 0, sizeof lab.server_error);
}

static void nothing_changes_it_on_the_way(void **state)
{
    struct opened file, reader;
    (void)state;
    new_file(&ann, "/f", "before", &file);
    lab.answers = false;
    struct lab_answer *growing = submit(&ann, truncate, .path = "/f", .size = 100000);
    lab_run();
    struct lab_answer *writing = write_begin(&ann, &file, 0, "behind");
    lab_run();
    assert_false(writing->done);
    assert_reads(&bob, &file, "before", 6); /* reading goes on */
    lab.answers = true;
    lab_run();
    assert_answered(growing, 0);
    assert_int_equal(write_end(writing), 1);
    assert_memory_equal(lab.written, "before", 6);
    assert_int_equal(exact_size("/f"), 100000);
    open_file(&bob, "/f", WIRE_OPEN_READ | SMALL, &reader);
    assert_int_equal(reader.small_max, 0);
}

static void a_try_that_failed_is_cut_away(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "0123456789", &file);
    for (int i = 0; i < SERVERS; i++)
        lab.server_error[i] = -EIO;
    struct lab_answer *answer = spill_begin(&ann, &file);
    assert_answered(answer, -EIO);
    /* It is a small one still, of which something may lie there. */
    assert_int_equal(write_text(&ann, &file, 0, "X"), 0);
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 3));
    fake_write(0, file.file.ino, 10);
    for (int i = 0; i < SERVERS; i++)
        lab.server_error[i] = 0;
    spill(&ann, &file);
    assert_int_equal(lab.truncates, SERVERS);
    assert_memory_equal(lab.written, "X12", 3);
    assert_int_equal(exact_size("/f"), 3);
}

static void a_try_that_failed_is_removed_with_the_file(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "0123456789", &file);
    lab.answers = false;
    struct lab_answer *answer = spill_begin(&ann, &file);
    fake_write(2, file.file.ino, 10);
    lab_restart(); /* in the middle of it */
    lab_answer_free(answer);
    lab.answers = true;
    lab_register_all();
    lab_connect(&root);
    assert_int_equal(look("/f").size, 10);
    assert_reads(&bob, &file, "0123456789", 10);
    assert_ok(ask(&root, unlink, .path = "/f"));
    lab_live(15000);
    assert_false(fake_object(2, file.file.ino)->exists);
    assert_int_equal(rows(STORE_REMOVALS), 0);
}

/* ---- who has it open ------------------------------------------------------------------- */

static void the_last_close_during_a_spill_settles_the_size(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "0123456789", &file);
    lab.answers = false;
    struct lab_answer *answer = submit(&root, open, .path = "/f", .flags = WIRE_OPEN_READ);
    lab_run();
    assert_ok(lab_close_file(&ann, &file.file, false));
    lab.answers = true;
    lab_run();
    assert_answered(answer, 0);
    lab_live(1000);
    assert_settled("/f", 10);
}

static void a_file_without_a_name_lives_on_for_its_writer(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "kept", &file);
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_restart();
    lab_connect(&ann);
    lab_register_all();
    lab_live(12000);
    assert_reads(&ann, &file, "kept", 4);
    lab_close_and_wait(&ann, &file.file, false);
    assert_int_equal(rows(STORE_SMALL), 0);
    assert_int_equal(rows(STORE_ORPHANS), 0);
    assert_int_equal(rows(STORE_WRITERS), 0);
}

static void a_name_that_goes_during_a_spill_ends_the_file(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "0123456789", &file);
    lab.answers = false;
    struct lab_answer *answer = spill_begin(&ann, &file);
    assert_ok(ask(&ann, unlink, .path = "/f"));
    assert_ok(lab_close_file(&ann, &file.file, false));
    lab.answers = true;
    lab_run();
    assert_true(answer->done);
    lab_answer_free(answer);
    lab_live(15000);
    assert_int_equal(rows(STORE_ORPHANS), 0);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(rows(STORE_REMOVALS), 0);
    for (uint32_t i = 0; i < SERVERS; i++)
        assert_false(fake_object(i, file.file.ino)->exists);
}

static void a_handle_of_an_earlier_server_joins(void **state)
{
    struct opened file, other;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    lab_restart();
    lab_connect(&ann);
    lab_connect(&root);
    lab_register_all();
    lab_jump(LEASE_MS);
    open_file(&root, "/f", RW, &other);
    lab_close_and_wait(&root, &other.file, false);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(write_text(&ann, &file, 0, "late"), 1);
    assert_int_equal(look("/f").size_open, 1); /* it is about to write */
    fake_write(0, file.file.ino, 4);
    assert_ok(lab_close_file(&ann, &file.file, true));
    lab_live(1000);
    assert_settled("/f", 4);
}

/* Its client was out of touch for longer than its lease, and does not know that. */
static void a_handle_that_was_given_up_joins(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    lab_disconnect(&ann);
    lab_live(12000);
    lab_connect(&ann);
    assert_false(spill(&ann, &file));
    assert_int_equal(look("/f").size_open, 1);
    assert_int_equal(rows(STORE_WRITERS), 1);
    assert_ok(lab_close_file(&ann, &file.file, false));
    lab_live(1000);
    assert_int_equal(rows(STORE_WRITERS), 0);
}

static void one_that_spills_the_file_itself_joins_too(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    lab_restart();
    lab_connect(&ann);
    lab_connect(&root);
    lab_register_all();
    lab_jump(LEASE_MS);
    assert_false(spill(&ann, &file));
    assert_int_equal(look("/f").size_open, 1);
    assert_int_equal(rows(STORE_WRITERS), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        small_test(an_empty_one_spills_at_once),
        small_test(bytes_go_with_it),
        small_test(nothing_changes_it_on_the_way),
        small_test(a_try_that_failed_is_cut_away),
        small_test(a_try_that_failed_is_removed_with_the_file),
        small_test(what_a_crash_takes_is_written_again),
        small_test(a_refusal_for_an_old_map_is_no_failure),
        small_test(the_last_close_during_a_spill_settles_the_size),
        small_test(a_file_without_a_name_lives_on_for_its_writer),
        small_test(a_name_that_goes_during_a_spill_ends_the_file),
        small_test(a_handle_of_an_earlier_server_joins),
        small_test(a_handle_that_was_given_up_joins),
        small_test(one_that_spills_the_file_itself_joins_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
