/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file's bytes go when its last name and its last user are gone, and not
 * before; also when servers are down, and when this one restarts.
 */
#include "meta_files.h"

/* ---- the end of files --------------------------------------------------- */

static void objects_are_removed_after_the_last_name(void **state)
{
    struct lab_file file;
    (void)state;
    lab_make(&ann, "/f", 1000, &file);
    assert_ok(ask(&ann, link, .from = "/f", .to = "/g"));
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_wait(50);
    assert_int_equal(lab.removes, 0);
    assert_ok(ask(&ann, unlink, .path = "/g"));
    lab_wait(50);
    assert_int_equal(lab.removes, SERVERS);
    assert_int_equal(rows(STORE_REMOVALS), 0);
}

static void an_open_file_keeps_its_bytes_until_its_last_close(void **state)
{
    struct lab_file writer, reader;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &writer));
    assert_ok(lab_open(&bob, "/f", WIRE_OPEN_READ, &reader));
    fake_write(0, writer.ino, 1000);
    assert_ok(ask(&ann, unlink, .path = "/f"));
    assert_ok(lab_close_file(&ann, &writer, true));
    lab_wait(1000);
    assert_int_equal(lab.removes, 0);
    struct lab_answer *answer = submit(&bob, stat, .path = "", .ino = reader.ino);
    lab_run();
    struct wire_stat_reply reply;
    decode_answer(answer, stat_reply, &reply);
    assert_int_equal(reply.attr.nlink, 0);
    lab_answer_free(answer);
    lab_close_and_wait(&bob, &reader, false);
    assert_int_equal(lab.removes, SERVERS);
    assert_int_equal(rows(STORE_INODES), 1);
    assert_int_equal(rows(STORE_ORPHANS), 0);
    assert_int_equal(rows(STORE_UNSETTLED), 0);
}

static void a_file_without_a_name_ends_with_its_clients_lease(void **state)
{
    struct lab_file file;
    (void)state;
    lab_open_written(&ann, "/f", 1000, &file);
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_disconnect(&ann);
    lab_live(9000);
    assert_int_equal(lab.removes, 0);
    lab_live(2000);
    assert_int_equal(lab.removes, SERVERS);
    assert_int_equal(rows(STORE_INODES), 1);
}

static void a_file_without_a_name_ends_after_a_restart(void **state)
{
    struct lab_file file, reader;
    (void)state;
    lab_open_written(&ann, "/f", 1000, &file);
    lab_open_written(&bob, "/g", 1000, &reader);
    assert_ok(lab_close_file(&bob, &reader, true));
    assert_ok(lab_open(&bob, "/g", WIRE_OPEN_READ, &reader));
    assert_ok(ask(&ann, unlink, .path = "/f"));
    assert_ok(ask(&bob, unlink, .path = "/g"));
    lab_restart();
    lab_live(9000);
    assert_int_equal(rows(STORE_ORPHANS), 2);
    lab_live(3000);
    assert_int_equal(rows(STORE_ORPHANS), 0);
    assert_int_equal(rows(STORE_INODES), 1);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(lab.removes, 2 * SERVERS);
}

static void over_a_restart_only_what_no_one_can_reach_is_ended(void **state)
{
    struct lab_file named, orphan, bobs;
    (void)state;
    assert_ok(lab_open(&ann, "/named", NEW, &named));
    assert_ok(lab_open(&ann, "/orphan", NEW, &orphan));
    assert_ok(lab_open(&bob, "/bobs", NEW, &bobs));
    fake_write(0, orphan.ino, 10);
    fake_write(0, bobs.ino, 10);
    assert_ok(ask(&root, unlink, .path = "/orphan"));
    assert_ok(ask(&root, unlink, .path = "/bobs"));
    lab_restart();
    /* bob is back at once, ann is not. */
    lab_connect(&bob);
    lab_connect(&root);
    lab_live(20000);
    assert_int_equal(rows(STORE_ORPHANS), 1);
    assert_int_equal(rows(STORE_WRITERS), 2);
    assert_int_equal(lab.removes, SERVERS);
    assert_true(fake_object(0, bobs.ino)->exists);
    assert_int_equal(look("/named").size_open, 1);
    assert_ok(lab_close_file(&bob, &bobs, true));
    lab_live(1000);
    assert_int_equal(rows(STORE_ORPHANS), 0);
    assert_false(fake_object(0, bobs.ino)->exists);
}

static void removals_wait_for_servers_that_are_down(void **state)
{
    struct lab_file file;
    (void)state;
    lab_make(&ann, "/f", 1000, &file);
    lab.server_error[1] = -ECONNREFUSED;
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_live(10000);
    assert_int_equal(rows(STORE_REMOVALS), 1);
    lab_restart();
    lab_live(3000);
    assert_int_equal(rows(STORE_REMOVALS), 1);
    lab.server_error[1] = 0;
    lab_live(61000);
    assert_int_equal(rows(STORE_REMOVALS), 0);
    assert_false(fake_object(1, file.ino)->exists);
}

static void many_removals_are_all_done(void **state)
{
    struct lab_file file;
    char path[32];
    (void)state;
    for (int i = 0; i < 60; i++) {
        snprintf(path, sizeof path, "/f%d", i);
        lab_open_written(&ann, path, 1000, &file);
        assert_ok(lab_close_file(&ann, &file, true));
    }
    lab_wait(50);
    lab.answers = false;
    for (int i = 0; i < 60; i++) {
        snprintf(path, sizeof path, "/f%d", i);
        assert_ok(ask(&ann, unlink, .path = path));
    }
    lab.answers = true;
    lab_live(2000);
    assert_int_equal(rows(STORE_REMOVALS), 0);
    assert_int_equal(lab.removes, 60 * SERVERS);
}

static void a_file_that_is_replaced_while_it_is_cut_ends_afterwards(void **state)
{
    struct lab_file file;
    (void)state;
    lab_make(&ann, "/f", 1000, &file);
    lab.answers = false;
    struct lab_answer *answer = submit(&ann, truncate, .path = "/f", .size = 10);
    lab_run();
    assert_ok(ask(&ann, unlink, .path = "/f"));
    assert_int_equal(rows(STORE_REMOVALS), 0);
    lab.answers = true;
    lab_run();
    assert_answered(answer, 0);
    lab_wait(50);
    assert_int_equal(lab.removes, SERVERS);
    assert_int_equal(rows(STORE_INODES), 1);
    assert_int_equal(rows(STORE_ORPHANS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lab_test(objects_are_removed_after_the_last_name),
        lab_test(an_open_file_keeps_its_bytes_until_its_last_close),
        lab_test(a_file_without_a_name_ends_with_its_clients_lease),
        lab_test(a_file_without_a_name_ends_after_a_restart),
        lab_test(over_a_restart_only_what_no_one_can_reach_is_ended),
        lab_test(removals_wait_for_servers_that_are_down),
        lab_test(many_removals_are_all_done),
        lab_test(a_file_that_is_replaced_while_it_is_cut_ends_afterwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
