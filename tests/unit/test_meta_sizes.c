/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes are exact, whoever writes, closes, vanishes or restarts, and whichever
 * truncations come in between.
 */
#include "meta_files.h"

/* ---- sizes -------------------------------------------------------------- */

static void a_file_that_was_not_written_is_known_at_once(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_true(file.created);
    assert_ok(capability_check(lab.conf.key, &file.capability, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE));
    assert_int_equal(look("/f").size_open, 1);
    lab_close_and_wait(&ann, &file, false);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(lab.calls_made, 0);
    /* Nor is there anything to remove. */
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_wait(50);
    assert_int_equal(lab.calls_made, 0);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(rows(STORE_UNSETTLED), 0);
}

static void a_size_settles_after_the_last_close(void **state)
{
    struct lab_file first, second;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &first));
    assert_ok(lab_open(&bob, "/g", NEW, &second));
    assert_ok(ask(&root, setattr, .path = "/f", .mask = WIRE_SETATTR_MODE, .mode = 0666));
    assert_ok(lab_open(&bob, "/f", RW, &second));
    assert_false(second.created);
    fake_write(1, first.ino, 300000);
    assert_int_equal(exact_size("/f"), 300000);
    lab_close_and_wait(&ann, &first, true);
    assert_int_equal(look("/f").size_open, 1);
    fake_write(2, first.ino, 500000);
    assert_int_equal(exact_size("/f"), 500000);
    lab.answers = false;
    /* The last one did not write; the one before did. */
    lab_close_and_wait(&bob, &second, false);
    assert_int_equal(look("/f").size_open, 1);
    assert_int_equal(exact_size("/f"), 500000);
    lab.answers = true;
    lab_run();
    assert_settled("/f", 500000);
    assert_int_equal(look("/f").bytes, 2 * 4096);
    assert_int_equal(look("/f").mtime_ns, fake_object(2, first.ino)->mtime_ns);
    assert_int_equal(rows(STORE_UNSETTLED), 0);
}

static void a_writer_that_comes_meanwhile_keeps_the_size_open(void **state)
{
    struct lab_file first, second;
    (void)state;
    lab_open_written(&ann, "/f", 100, &first);
    lab.answers = false;
    lab_close_and_wait(&ann, &first, true);
    assert_int_equal(lab.calls_made, SERVERS);
    /* The servers have been asked; now someone opens, writes, and closes again. */
    assert_ok(lab_open(&ann, "/f", RW, &second));
    lab.answers = true;
    lab_run();
    assert_int_equal(look("/f").size_open, 1);
    fake_write(0, first.ino, 200);
    assert_int_equal(exact_size("/f"), 200);
    lab_close_and_wait(&ann, &second, false); /* dirty all the same: no one has settled it */
    assert_settled("/f", 200);
}

static void a_writer_that_came_and_went_meanwhile_is_noticed(void **state)
{
    struct lab_file first, second;
    (void)state;
    lab_open_written(&ann, "/f", 100, &first);
    lab.answers = false;
    lab_close_and_wait(&ann, &first, true);
    assert_int_equal(lab.calls_made, SERVERS);
    /* The first server has said 100 already when someone writes to it; the others have not answered. */
    fake_answer(list_item(list_first(&lab.calls), struct fake_call, link));
    assert_ok(lab_open(&ann, "/f", RW, &second));
    fake_write(0, first.ino, 200);
    lab_close_and_wait(&ann, &second, true);
    fake_answer_all();
    lab_run();
    assert_int_equal(exact_size("/f"), 200);
    lab.answers = true;
    lab_run();
    assert_settled("/f", 200);
}

static void settling_goes_on_when_a_server_comes_back(void **state)
{
    struct lab_file file;
    (void)state;
    lab_open_written(&ann, "/f", 100, &file);
    lab.server_error[1] = -ETIMEDOUT;
    assert_ok(lab_close_file(&ann, &file, true));
    lab_live(2000);
    assert_int_equal(look("/f").size_open, 1);
    assert_int_equal(exact_size("/f"), 100);
    lab.server_error[1] = 0;
    lab_live(31000);
    assert_settled("/f", 100);
}

static void a_client_that_vanishes_has_its_files_closed_after_its_lease(void **state)
{
    struct lab_file file;
    (void)state;
    lab_open_written(&ann, "/f", 100, &file);
    lab_disconnect(&ann);
    lab_live(9000);
    fake_write(0, file.ino, 150);
    assert_int_equal(look("/f").size_open, 1);
    assert_int_equal(exact_size("/f"), 150);
    lab_live(2000);
    assert_settled("/f", 150);
    assert_int_equal(rows(STORE_WRITERS), 0);
    /* Should it come back all the same, its close is no error. */
    lab_connect(&ann);
    assert_ok(lab_close_file(&ann, &file, true));
}

static void a_client_that_comes_back_in_time_keeps_its_files(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    lab_disconnect(&ann);
    lab_live(8000);
    lab_connect(&ann);
    lab_live(30000);
    assert_int_equal(look("/f").size_open, 1);
    fake_write(0, file.ino, 100);
    lab_close_and_wait(&ann, &file, true);
    assert_int_equal(look("/f").size, 100);
}

static void a_client_keeps_its_lease_while_the_server_was_deaf(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    /* It went away while the server was busy with a slow disk, and was noticed only afterwards. */
    lab.monotonic_ns += UINT64_C(60000) * MS;
    lab_disconnect(&ann);
    lab_jump(0);
    lab_live(9000);
    assert_int_equal(rows(STORE_WRITERS), 1);
    lab_live(2000);
    assert_int_equal(rows(STORE_WRITERS), 0);
}

static void files_that_were_being_written_stay_open_over_a_restart(void **state)
{
    struct lab_file file, idle;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(lab_open(&ann, "/idle", NEW, &idle));
    lab_close_and_wait(&ann, &idle, false);
    fake_write(0, file.ino, 100);
    lab_restart();
    lab_connect(&root);
    /* ann computes on, and has no need to talk to the metadata server. */
    lab_live(60000);
    assert_int_equal(look("/f").size_open, 1);
    assert_int_equal(look("/idle").size_open, 0);
    fake_write(0, file.ino, 200);
    assert_int_equal(exact_size("/f"), 200);
    lab_connect(&ann);
    assert_ok(lab_close_file(&ann, &file, true));
    lab_live(100);
    assert_settled("/f", 200);
}

static void a_writer_that_is_never_heard_again_is_given_up_after_a_day(void **state)
{
    struct lab_file file;
    (void)state;
    lab_open_written(&ann, "/f", 100, &file);
    lab_restart();
    lab_connect(&root);
    lab_heartbeats();
    lab_wait(UINT64_C(25) * 3600 * 1000);
    /* The storage servers were silent for as long. */
    lab_register_all();
    lab_live(2000);
    assert_settled("/f", 100);
}

static void unsettled_files_are_settled_after_a_restart(void **state)
{
    struct lab_file file;
    char path[32];
    (void)state;
    lab.answers = false;
    for (int i = 0; i < 50; i++) {
        snprintf(path, sizeof path, "/f%d", i);
        lab_open_written(&ann, path, 100 + (uint64_t)i, &file);
        assert_ok(lab_close_file(&ann, &file, true));
    }
    lab_wait(50);
    lab_restart();
    lab_connect(&root);
    assert_int_equal(rows(STORE_UNSETTLED), 50);
    assert_int_equal(exact_size("/f7"), 107);
    lab.answers = true;
    lab_live(1000);
    assert_int_equal(rows(STORE_UNSETTLED), 0);
    assert_settled("/f49", 149);
}

static void one_of_two_writers_closing_changes_nothing(void **state)
{
    struct lab_file first, second;
    (void)state;
    assert_ok(lab_open(&root, "/f", NEW, &first));
    assert_ok(lab_open(&root, "/f", RW, &second));
    lab_close_and_wait(&root, &first, false);
    fake_write(1, first.ino, 100);
    assert_int_equal(exact_size("/f"), 100);
    lab_close_and_wait(&root, &second, true);
    assert_settled("/f", 100);
}

static void what_one_writer_wrote_is_not_forgotten_over_a_restart(void **state)
{
    struct lab_file first, second;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &first));
    assert_ok(lab_open(&ann, "/f", RW, &second));
    fake_write(0, first.ino, 100);
    lab_close_and_wait(&ann, &first, true);
    lab_restart();
    lab_connect(&root);
    lab_connect(&ann);
    /* This one wrote nothing; that the other had is known to the store only. */
    assert_ok(lab_close_file(&ann, &second, false));
    lab_live(100);
    assert_settled("/f", 100);
}

static void files_that_have_not_been_loaded_yet_stay_open(void **state)
{
    struct lab_file file;
    char path[32];
    (void)state;
    lab.answers = false;
    for (int i = 0; i < 400; i++) {
        snprintf(path, sizeof path, "/f%d", i);
        assert_ok(lab_open(&ann, path, NEW, &file));
        if (i == 399)
            fake_write(0, file.ino, 100);
        assert_ok(lab_close_file(&ann, &file, true));
    }
    lab_wait(50);
    lab_restart();
    lab_connect(&ann);
    lab_connect(&root);
    /* The servers are slow, so most files are still waiting to be asked for. */
    assert_null(opens_file_find(lab.service->opens, file.ino));
    assert_ok(lab_open(&ann, "/f399", RW, &file));
    lab_close_and_wait(&ann, &file, false);
    assert_int_equal(exact_size("/f399"), 100);
    lab.answers = true;
    lab_live(1000);
    assert_settled("/f399", 100);
    assert_int_equal(rows(STORE_UNSETTLED), 0);
}

/* ---- truncation --------------------------------------------------------- */

static void truncate_cuts_every_server_before_it_answers(void **state)
{
    struct lab_file file;
    (void)state;
    lab_make(&ann, "/f", 300000, &file);
    lab.answers = false;
    struct lab_answer *answer = submit(&ann, truncate, .path = "/f", .size = 1000);
    lab_run();
    assert_false(answer->done);
    /* Others go on meanwhile, and know that the size is in doubt. */
    assert_int_equal(look("/f").size_open, 1);
    fake_answer(list_item(list_first(&lab.calls), struct fake_call, link));
    lab_run();
    assert_false(answer->done);
    fake_answer_all();
    lab_run();
    assert_answered(answer, 0);
    assert_int_equal(lab.truncates, SERVERS);
    assert_settled("/f", 1000);
    assert_int_equal(look("/f").mtime_ns, lab.realtime_ns);
}

static void truncate_to_the_same_size_asks_no_one(void **state)
{
    struct lab_file file;
    (void)state;
    lab_make(&ann, "/f", 1000, &file);
    lab.truncates = 0;
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 1000));
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 999, .grow_only = 1));
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 1000, .grow_only = 1));
    assert_int_equal(lab.truncates, 0);
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 1001, .grow_only = 1));
    assert_int_equal(lab.truncates, SERVERS);
    assert_settled("/f", 1001);
}

static void truncate_of_a_file_that_others_write_leaves_its_size_open(void **state)
{
    struct lab_file file;
    (void)state;
    lab_open_written(&ann, "/f", 1000, &file);
    assert_ok(
        ask(&ann, truncate, .path = "", .handle = file.handle, .capability = file.capability, .size = 400));
    assert_int_equal(exact_size("/f"), 400);
    fake_write(1, file.ino, 600);
    assert_int_equal(exact_size("/f"), 600);
    /* It was cut, so that the size must be asked for although this client says it wrote nothing. */
    lab_close_and_wait(&ann, &file, false);
    assert_settled("/f", 600);
}

static void grow_only_with_writers_keeps_what_they_wrote(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(2, file.ino, 5000);
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 100, .grow_only = 1));
    assert_int_equal(exact_size("/f"), 5000);
    assert_ok(lab_close_file(&ann, &file, true));
    /* The settling of the close and a growth one after the other. */
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 200, .grow_only = 1));
    lab_wait(50);
    assert_settled("/f", 5000);
}

static void truncations_of_one_file_do_not_mix(void **state)
{
    struct lab_file file;
    (void)state;
    lab_make(&ann, "/f", 300000, &file);
    lab.answers = false;
    struct lab_answer *first = submit(&ann, truncate, .path = "/f", .size = 1000);
    struct lab_answer *second = submit(&root, truncate, .path = "/f", .size = 2000);
    lab_run();
    unsigned under_way = 0;
    list_each(&lab.calls, link, after) under_way++;
    assert_int_equal(under_way, SERVERS);
    fake_answer_all();
    lab_run();
    assert_answered(first, 0);
    assert_false(second->done);
    assert_int_equal(look("/f").size_open, 1);
    fake_answer_all();
    lab_run();
    assert_answered(second, 0);
    for (uint32_t i = 0; i < SERVERS; i++)
        assert_int_equal(fake_object(i, file.ino)->end, 2000);
    assert_settled("/f", 2000);
}

static void a_truncation_that_fails_says_where_and_settles_later(void **state)
{
    struct lab_file file;
    (void)state;
    lab_make(&ann, "/f", 1000, &file);
    lab.server_error[2] = -EIO;
    assert_result(ask(&ann, truncate, .path = "/f", .size = 10), -EIO);
    assert_non_null(strstr(err_text(), "s2"));
    assert_int_equal(look("/f").size_open, 1);
    lab.server_error[2] = 0;
    lab_live(31000);
    assert_settled("/f", 10);
}

static void a_server_that_is_down_fails_a_truncation_before_anything_is_cut(void **state)
{
    struct lab_file file;
    (void)state;
    lab_make(&ann, "/f", 1000, &file);
    for (int i = 0; i < 12; i++) {
        assert_ok(ask(&storage[0], heartbeat, .name = "s0"));
        assert_ok(ask(&storage[2], heartbeat, .name = "s2"));
        lab_wait(1000);
    }
    assert_result(ask(&ann, truncate, .path = "/f", .size = 10), -EHOSTDOWN);
    assert_non_null(strstr(err_text(), "s1"));
    assert_int_equal(lab.truncates, 0);
    assert_int_equal(fake_object(0, file.ino)->end, 1000);
}

static void a_writer_that_closes_while_the_file_is_cut_leaves_its_size_open(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    lab.answers = false;
    struct lab_answer *answer = submit(&ann, truncate, .path = "/f", .size = 1000);
    lab_run();
    lab_close_and_wait(&ann, &file, false);
    assert_int_equal(look("/f").size_open, 1);
    lab.answers = true;
    lab_run();
    assert_answered(answer, 0);
    assert_settled("/f", 1000);
}

static void truncate_refuses(void **state)
{
    struct lab_file file, readable;
    (void)state;
    assert_ok(lab_open(&root, "/f", NEW, &file));
    assert_ok(ask(&root, mkdir, .path = "/d", .mode = 0777));
    assert_ok(lab_open(&ann, "/f", WIRE_OPEN_READ, &readable));
    assert_result(ask(&ann, truncate, .path = "/f", .size = 1), -EACCES);
    assert_result(ask(&ann, truncate, .path = "/d", .size = 1), -EISDIR);
    assert_result(ask(&ann, truncate, .path = "/none", .size = 1), -ENOENT);
    /* A capability for reading, a forged one, and none. */
    assert_result(ask(&ann, truncate, .path = "", .capability = readable.capability, .size = 1), -EACCES);
    struct wire_capability forged = file.capability;
    forged.ino++;
    assert_result(ask(&ann, truncate, .path = "", .capability = forged, .size = 1), -EACCES);
    assert_int_not_equal(ask(&ann, truncate, .path = "", .handle = file.handle, .size = 1), 0);
    /* By its capability a file can be cut that has no name any more. */
    assert_ok(ask(&root, unlink, .path = "/f"));
    assert_ok(ask(&root, truncate, .path = "", .capability = file.capability, .size = 77));
    assert_ok(lab_close_file(&root, &file, true));
    lab_close_and_wait(&ann, &readable, false);
    assert_result(ask(&root, truncate, .path = "", .capability = file.capability, .size = 1), -ESTALE);
    assert_int_equal(rows(STORE_INODES), 2);
}

static void open_with_truncation_answers_when_the_file_is_empty(void **state)
{
    struct lab_file file, again;
    (void)state;
    lab_make(&ann, "/f", 1000, &file);
    lab.answers = false;
    struct lab_answer *answer = submit(&ann, open, .path = "/f", .flags = RW | WIRE_OPEN_TRUNCATE);
    lab_run();
    assert_false(answer->done);
    lab.answers = true;
    lab_run();
    struct wire_open_reply reply;
    decode_answer(answer, open_reply, &reply);
    assert_int_equal(reply.attr.size, 0);
    assert_int_equal(reply.created, 0);
    again.handle = reply.handle;
    lab_answer_free(answer);
    assert_int_equal(fake_object(0, file.ino)->end, 0);
    /* Nothing was written since, so the size is known when it is closed. */
    unsigned stats = lab.stats;
    lab_close_and_wait(&ann, &again, false);
    assert_settled("/f", 0);
    assert_int_equal(lab.stats, stats);
    /* An empty file that no one has written is empty already. */
    lab.truncates = 0;
    assert_ok(lab_open(&ann, "/g", NEW, &file));
    lab_close_and_wait(&ann, &file, false);
    assert_ok(lab_open(&ann, "/g", RW | WIRE_OPEN_TRUNCATE, &file));
    assert_int_equal(lab.truncates, 0);
}

static void open_with_a_truncation_that_fails_opens_nothing(void **state)
{
    struct lab_file file;
    (void)state;
    lab_make(&ann, "/f", 1000, &file);
    lab.server_error[1] = -EIO;
    assert_result(lab_open(&ann, "/f", RW | WIRE_OPEN_TRUNCATE, &file), -EIO);
    assert_int_equal(rows(STORE_WRITERS), 0);
    lab.server_error[1] = 0;
    lab_live(31000);
    assert_int_equal(look("/f").size_open, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lab_test(a_file_that_was_not_written_is_known_at_once),
        lab_test(a_size_settles_after_the_last_close),
        lab_test(a_writer_that_comes_meanwhile_keeps_the_size_open),
        lab_test(a_writer_that_came_and_went_meanwhile_is_noticed),
        lab_test(settling_goes_on_when_a_server_comes_back),
        lab_test(a_client_that_vanishes_has_its_files_closed_after_its_lease),
        lab_test(a_client_that_comes_back_in_time_keeps_its_files),
        lab_test(a_client_keeps_its_lease_while_the_server_was_deaf),
        lab_test(files_that_were_being_written_stay_open_over_a_restart),
        lab_test(a_writer_that_is_never_heard_again_is_given_up_after_a_day),
        lab_test(unsettled_files_are_settled_after_a_restart),
        lab_test(one_of_two_writers_closing_changes_nothing),
        lab_test(what_one_writer_wrote_is_not_forgotten_over_a_restart),
        lab_test(files_that_have_not_been_loaded_yet_stay_open),
        lab_test(truncate_cuts_every_server_before_it_answers),
        lab_test(truncate_to_the_same_size_asks_no_one),
        lab_test(truncate_of_a_file_that_others_write_leaves_its_size_open),
        lab_test(grow_only_with_writers_keeps_what_they_wrote),
        lab_test(truncations_of_one_file_do_not_mix),
        lab_test(a_truncation_that_fails_says_where_and_settles_later),
        lab_test(a_server_that_is_down_fails_a_truncation_before_anything_is_cut),
        lab_test(a_writer_that_closes_while_the_file_is_cut_leaves_its_size_open),
        lab_test(truncate_refuses),
        lab_test(open_with_truncation_answers_when_the_file_is_empty),
        lab_test(open_with_a_truncation_that_fails_opens_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
