/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata service as a whole, without a network: what must hold
 *  - sizes are exact, whoever writes, closes, vanishes or restarts;
 *  - a file's bytes go when its last name and its last user are gone, and not before;
 *  - a repeated request changes nothing and gets the same answer;
 *  - nothing that was answered is lost, and nothing that failed leaves a trace;
 *  - whatever a peer sends is answered.
 */
#include "meta_service.h"

enum { RW = WIRE_OPEN_READ | WIRE_OPEN_WRITE, NEW = RW | WIRE_OPEN_CREATE };

/* How many rows a table has. */
static uint64_t rows(enum store_table table)
{
    struct store_txn *txn;
    uint64_t count;
    assert_ok(store_begin(lab.world.store, false, &txn));
    assert_ok(store_count(txn, table, &count));
    store_abort(txn);
    return count;
}

static struct wire_attr look(const char *path)
{
    struct wire_attr attr;
    assert_ok(lab_stat(&root, path, &attr));
    return attr;
}

/* What a client makes of a stat: it asks the storage servers when it is told to. */
static uint64_t exact_size(const char *path)
{
    struct wire_attr attr = look(path);
    uint64_t size = attr.size_open ? 0 : attr.size;
    for (uint32_t i = 0; attr.size_open && i < SERVERS; i++) {
        if (fake_object(i, attr.ino)->end > size)
            size = fake_object(i, attr.ino)->end;
    }
    return size;
}

/* ---- sizes -------------------------------------------------------------- */

static void a_file_that_was_not_written_is_known_at_once(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_true(file.created);
    assert_ok(capability_check(lab.conf.key, &file.capability, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE));
    assert_int_equal(look("/f").size_open, 1);
    assert_ok(lab_close_file(&ann, &file, false));
    lab_wait(50);
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
    assert_ok(lab_close_file(&ann, &first, true));
    lab_wait(50);
    assert_int_equal(look("/f").size_open, 1);
    fake_write(2, first.ino, 500000);
    assert_int_equal(exact_size("/f"), 500000);
    lab.answers = false;
    /* The last one did not write; the one before did. */
    assert_ok(lab_close_file(&bob, &second, false));
    lab_wait(50);
    assert_int_equal(look("/f").size_open, 1);
    assert_int_equal(exact_size("/f"), 500000);
    lab.answers = true;
    lab_run();
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 500000);
    assert_int_equal(look("/f").bytes, 2 * 4096);
    assert_int_equal(look("/f").mtime_ns, fake_object(2, first.ino)->mtime_ns);
    assert_int_equal(rows(STORE_UNSETTLED), 0);
}

static void a_writer_that_comes_meanwhile_keeps_the_size_open(void **state)
{
    struct lab_file first, second;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &first));
    fake_write(0, first.ino, 100);
    lab.answers = false;
    assert_ok(lab_close_file(&ann, &first, true));
    lab_wait(50);
    assert_int_equal(lab.calls_made, SERVERS);
    /* The servers have been asked; now someone opens, writes, and closes again. */
    assert_ok(lab_open(&ann, "/f", RW, &second));
    lab.answers = true;
    lab_run();
    assert_int_equal(look("/f").size_open, 1);
    fake_write(0, first.ino, 200);
    assert_int_equal(exact_size("/f"), 200);
    assert_ok(lab_close_file(&ann, &second, false)); /* dirty all the same: no one has settled it */
    lab_wait(50);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 200);
}

static void a_writer_that_came_and_went_meanwhile_is_noticed(void **state)
{
    struct lab_file first, second;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &first));
    fake_write(0, first.ino, 100);
    lab.answers = false;
    assert_ok(lab_close_file(&ann, &first, true));
    lab_wait(50);
    unsigned asked = lab.calls_made;
    /* Answers that say 100 are on their way. */
    fake_answer_all();
    assert_ok(lab_open(&ann, "/f", RW, &second));
    fake_write(0, first.ino, 200);
    assert_ok(lab_close_file(&ann, &second, true));
    lab_wait(50);
    lab.answers = true;
    lab_run();
    assert_true(lab.calls_made > asked);
    assert_int_equal(exact_size("/f"), 200);
    assert_int_equal(look("/f").size_open, 0);
}

static void settling_goes_on_when_a_server_comes_back(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 100);
    lab.server_error[1] = -ETIMEDOUT;
    assert_ok(lab_close_file(&ann, &file, true));
    lab_live(2000);
    assert_int_equal(look("/f").size_open, 1);
    assert_int_equal(exact_size("/f"), 100);
    lab.server_error[1] = 0;
    lab_live(31000);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 100);
}

static void a_client_that_vanishes_has_its_files_closed_after_its_lease(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 100);
    lab_disconnect(&ann);
    lab_live(9000);
    fake_write(0, file.ino, 150);
    assert_int_equal(look("/f").size_open, 1);
    assert_int_equal(exact_size("/f"), 150);
    lab_live(2000);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 150);
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
    assert_ok(lab_close_file(&ann, &file, true));
    lab_wait(50);
    assert_int_equal(look("/f").size, 100);
}

static void files_that_were_being_written_stay_open_over_a_restart(void **state)
{
    struct lab_file file, idle;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(lab_open(&ann, "/idle", NEW, &idle));
    assert_ok(lab_close_file(&ann, &idle, false));
    lab_wait(50);
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
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 200);
}

static void a_writer_that_is_never_heard_again_is_given_up_after_a_day(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 100);
    lab_restart();
    lab_connect(&root);
    lab_heartbeats();
    lab_wait(UINT64_C(25) * 3600 * 1000);
    /* The storage servers were silent for as long. */
    lab_register_all();
    lab_live(2000);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 100);
}

static void unsettled_files_are_settled_after_a_restart(void **state)
{
    struct lab_file file;
    char path[32];
    (void)state;
    lab.answers = false;
    for (int i = 0; i < 50; i++) {
        snprintf(path, sizeof path, "/f%d", i);
        assert_ok(lab_open(&ann, path, NEW, &file));
        fake_write(0, file.ino, 100 + (uint64_t)i);
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
    assert_int_equal(look("/f49").size_open, 0);
    assert_int_equal(look("/f49").size, 149);
}

/* ---- truncation --------------------------------------------------------- */

static void truncate_cuts_every_server_before_it_answers(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 300000);
    assert_ok(lab_close_file(&ann, &file, true));
    lab_wait(50);
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
    assert_true(answer->done);
    assert_int_equal(answer->status, 0);
    lab_answer_free(answer);
    assert_int_equal(lab.truncates, SERVERS);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 1000);
    assert_int_equal(look("/f").mtime_ns, lab.realtime_ns);
}

static void truncate_to_the_same_size_asks_no_one(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 1000);
    assert_ok(lab_close_file(&ann, &file, true));
    lab_wait(50);
    lab.truncates = 0;
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 1000));
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 999, .grow_only = 1));
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 1000, .grow_only = 1));
    assert_int_equal(lab.truncates, 0);
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 1001, .grow_only = 1));
    assert_int_equal(lab.truncates, SERVERS);
    assert_int_equal(look("/f").size, 1001);
    assert_int_equal(look("/f").size_open, 0);
}

static void truncate_of_a_file_that_others_write_leaves_its_size_open(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 1000);
    assert_ok(ask(&ann, truncate, .path = "", .handle = file.handle, .capability = file.capability, .size = 400));
    assert_int_equal(exact_size("/f"), 400);
    fake_write(1, file.ino, 600);
    assert_int_equal(exact_size("/f"), 600);
    /* It was cut, so that the size must be asked for although this client says it wrote nothing. */
    assert_ok(lab_close_file(&ann, &file, false));
    lab_wait(50);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 600);
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
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 5000);
}

static void truncations_of_one_file_do_not_mix(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 300000);
    assert_ok(lab_close_file(&ann, &file, true));
    lab_wait(50);
    lab.answers = false;
    struct lab_answer *first = submit(&ann, truncate, .path = "/f", .size = 1000);
    struct lab_answer *second = submit(&root, truncate, .path = "/f", .size = 2000);
    lab_run();
    unsigned under_way = 0;
    list_each(&lab.calls, link, after)
        under_way++;
    assert_int_equal(under_way, SERVERS);
    fake_answer_all();
    lab_run();
    assert_true(first->done);
    assert_false(second->done);
    assert_int_equal(look("/f").size_open, 1);
    fake_answer_all();
    lab_run();
    assert_true(second->done);
    lab_answer_free(first);
    lab_answer_free(second);
    for (uint32_t i = 0; i < SERVERS; i++)
        assert_int_equal(fake_object(i, file.ino)->end, 2000);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 2000);
}

static void a_truncation_that_fails_says_where_and_settles_later(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 1000);
    assert_ok(lab_close_file(&ann, &file, true));
    lab_wait(50);
    lab.server_error[2] = -EIO;
    assert_result(ask(&ann, truncate, .path = "/f", .size = 10), -EIO);
    assert_non_null(strstr(err_text(), "s2"));
    assert_int_equal(look("/f").size_open, 1);
    lab.server_error[2] = 0;
    lab_live(31000);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 10);
}

static void a_server_that_is_down_fails_a_truncation_before_anything_is_cut(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 1000);
    assert_ok(lab_close_file(&ann, &file, true));
    lab_wait(50);
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
    assert_ok(lab_close_file(&ann, &readable, false));
    lab_wait(50);
    assert_result(ask(&root, truncate, .path = "", .capability = file.capability, .size = 1), -ESTALE);
    assert_int_equal(rows(STORE_INODES), 2);
}

static void open_with_truncation_answers_when_the_file_is_empty(void **state)
{
    struct lab_file file, again;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 1000);
    assert_ok(lab_close_file(&ann, &file, true));
    lab_wait(50);
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
    assert_ok(lab_close_file(&ann, &again, false));
    lab_wait(50);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 0);
    assert_int_equal(lab.stats, stats);
    /* An empty file that no one has written is empty already. */
    lab.truncates = 0;
    assert_ok(lab_open(&ann, "/g", NEW, &file));
    assert_ok(lab_close_file(&ann, &file, false));
    lab_wait(50);
    assert_ok(lab_open(&ann, "/g", RW | WIRE_OPEN_TRUNCATE, &file));
    assert_int_equal(lab.truncates, 0);
}

static void open_with_a_truncation_that_fails_opens_nothing(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 1000);
    assert_ok(lab_close_file(&ann, &file, true));
    lab_wait(50);
    lab.server_error[1] = -EIO;
    assert_result(lab_open(&ann, "/f", RW | WIRE_OPEN_TRUNCATE, &file), -EIO);
    assert_int_equal(rows(STORE_WRITERS), 0);
    lab.server_error[1] = 0;
    lab_live(31000);
    assert_int_equal(look("/f").size_open, 0);
}

/* ---- the end of files --------------------------------------------------- */

static void objects_are_removed_after_the_last_name(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 1000);
    assert_ok(lab_close_file(&ann, &file, true));
    lab_wait(50);
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
    assert_ok(lab_close_file(&bob, &reader, false));
    lab_wait(50);
    assert_int_equal(lab.removes, SERVERS);
    assert_int_equal(rows(STORE_INODES), 1);
    assert_int_equal(rows(STORE_ORPHANS), 0);
    assert_int_equal(rows(STORE_UNSETTLED), 0);
}

static void a_file_without_a_name_ends_with_its_clients_lease(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 1000);
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
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 1000);
    assert_ok(lab_open(&bob, "/g", NEW, &reader));
    fake_write(0, reader.ino, 1000);
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

static void removals_wait_for_servers_that_are_down(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 1000);
    assert_ok(lab_close_file(&ann, &file, true));
    lab_wait(50);
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
        assert_ok(lab_open(&ann, path, NEW, &file));
        fake_write(0, file.ino, 1000);
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
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 1000);
    assert_ok(lab_close_file(&ann, &file, true));
    lab_wait(50);
    lab.answers = false;
    struct lab_answer *answer = submit(&ann, truncate, .path = "/f", .size = 10);
    lab_run();
    assert_ok(ask(&ann, unlink, .path = "/f"));
    assert_int_equal(rows(STORE_REMOVALS), 0);
    lab.answers = true;
    lab_run();
    assert_true(answer->done);
    lab_answer_free(answer);
    lab_wait(50);
    assert_int_equal(lab.removes, SERVERS);
    assert_int_equal(rows(STORE_INODES), 1);
    assert_int_equal(rows(STORE_ORPHANS), 0);
}

/* ---- repeated requests -------------------------------------------------- */

static void a_repeated_request_gets_the_same_answer(void **state)
{
    (void)state;
    uint64_t id = ++ann.request_id;
    struct lab_answer *answer = submit_as(&ann, id, mkdir, .path = "/d", .mode = 0755);
    lab_run();
    assert_int_equal(answer->status, 0);
    lab_answer_free(answer);
    struct world_dump before = world_dump(lab.world.store);
    lab_disconnect(&ann);
    lab_connect(&ann);
    answer = submit_as(&ann, id, mkdir, .path = "/d", .mode = 0755);
    lab_run();
    assert_int_equal(answer->status, 0);
    lab_answer_free(answer);
    assert_same_dump(before, world_dump(lab.world.store));
    assert_result(ask(&ann, mkdir, .path = "/d", .mode = 0755), -EEXIST);
    /* The same number from someone else is another request. */
    answer = submit_as(&bob, id, mkdir, .path = "/d", .mode = 0755);
    lab_run();
    assert_int_equal(answer->status, -EEXIST);
    lab_answer_free(answer);
}

static void a_repeated_request_gets_the_same_answer_after_a_restart(void **state)
{
    (void)state;
    assert_ok(ask(&ann, mkdir, .path = "/a", .mode = 0755));
    uint64_t id = ++ann.request_id;
    struct lab_answer *answer = submit_as(&ann, id, rename, .from = "/a", .to = "/b");
    lab_run();
    lab_answer_free(answer);
    uint64_t open_id = ++ann.request_id;
    answer = submit_as(&ann, open_id, open, .path = "/f", .flags = NEW | WIRE_OPEN_EXCLUSIVE, .mode = 0600);
    lab_run();
    struct wire_open_reply first, second;
    decode_answer(answer, open_reply, &first);
    lab_restart();
    lab_connect(&ann);
    struct lab_answer *again = submit_as(&ann, id, rename, .from = "/a", .to = "/b");
    lab_run();
    assert_int_equal(again->status, 0);
    lab_answer_free(again);
    again = submit_as(&ann, open_id, open, .path = "/f", .flags = NEW | WIRE_OPEN_EXCLUSIVE, .mode = 0600);
    lab_run();
    decode_answer(again, open_reply, &second);
    assert_int_equal(second.handle, first.handle);
    assert_int_equal(second.created, 1);
    assert_int_equal(rows(STORE_WRITERS), 1);
    lab_answer_free(answer);
    lab_answer_free(again);
}

static void repeated_in_the_same_turn_happens_once(void **state)
{
    (void)state;
    uint64_t id = ++ann.request_id;
    struct lab_answer *first = submit_as(&ann, id, open, .path = "/f", .flags = NEW | WIRE_OPEN_EXCLUSIVE);
    struct lab_answer *second = submit_as(&ann, id, open, .path = "/f", .flags = NEW | WIRE_OPEN_EXCLUSIVE);
    lab_run();
    assert_int_equal(first->status, 0);
    assert_int_equal(second->status, 0);
    assert_int_equal(first->reply_length, second->reply_length);
    assert_memory_equal(first->reply, second->reply, first->reply_length);
    lab_answer_free(first);
    lab_answer_free(second);
    assert_int_equal(rows(STORE_WRITERS), 1);
}

static void a_truncation_that_is_repeated_meanwhile_happens_once(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(0, file.ino, 1000);
    assert_ok(lab_close_file(&ann, &file, true));
    lab_wait(50);
    lab.answers = false;
    lab.calls_made = 0;
    uint64_t id = ++ann.request_id;
    struct lab_answer *first = submit_as(&ann, id, truncate, .path = "/f", .size = 10);
    lab_run();
    lab_disconnect(&ann);
    lab_connect(&ann);
    struct lab_answer *second = submit_as(&ann, id, truncate, .path = "/f", .size = 10);
    struct lab_answer *third = submit_as(&ann, id, truncate, .path = "/f", .size = 10);
    lab_run();
    assert_int_equal(lab.calls_made, SERVERS);
    assert_false(second->done);
    lab.answers = true;
    lab_run();
    assert_int_equal(lab.calls_made, SERVERS);
    assert_true(first->done && second->done && third->done);
    assert_int_equal(second->status, 0);
    struct lab_answer *late = submit_as(&ann, id, truncate, .path = "/f", .size = 10);
    lab_run();
    assert_int_equal(late->status, 0);
    assert_int_equal(lab.calls_made, SERVERS);
    lab_answer_free(first);
    lab_answer_free(second);
    lab_answer_free(third);
    lab_answer_free(late);
}

static void a_repeated_open_for_reading_leaves_one_handle(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(lab_close_file(&ann, &file, false));
    lab_wait(50);
    uint64_t id = ++ann.request_id;
    lab_answer_free(({
        struct lab_answer *lost = submit_as(&ann, id, open, .path = "/f", .flags = WIRE_OPEN_READ);
        lab_run();
        lost;
    }));
    lab_disconnect(&ann);
    lab_connect(&ann);
    struct lab_answer *answer = submit_as(&ann, id, open, .path = "/f", .flags = WIRE_OPEN_READ);
    lab_run();
    struct wire_open_reply reply;
    decode_answer(answer, open_reply, &reply);
    assert_int_equal(opens_file_find(lab.service->opens, file.ino)->handles, 1);
    assert_non_null(opens_find(lab.service->opens, reply.handle));
    lab_answer_free(answer);
}

static void answers_go_when_they_are_settled_and_when_they_are_old(void **state)
{
    char path[32];
    (void)state;
    for (int i = 0; i < 100; i++) {
        snprintf(path, sizeof path, "/d%d", i);
        assert_ok(ask(&ann, mkdir, .path = path, .mode = 0755));
        assert_ok(ask(&bob, mkdir, .path = "/d0/x", .mode = 0755) == -EACCES ? 0 : 1);
    }
    assert_int_equal(rows(STORE_ANSWERS), 100);
    ann.settled = ann.request_id - 3;
    assert_ok(ask(&ann, mkdir, .path = "/last", .mode = 0755));
    assert_int_equal(rows(STORE_ANSWERS), 5);
    assert_ok(ask(&bob, mkdir, .path = "/bobs", .mode = 0755));
    /* A day later, bob is still there. */
    lab_disconnect(&ann);
    lab_wait(UINT64_C(86400) * 1000 + 100000);
    lab_wait(UINT64_C(61) * 1000);
    assert_int_equal(rows(STORE_ANSWERS), 1);
}

/* ---- group commit ------------------------------------------------------- */

static void requests_of_one_turn_are_one_commit(void **state)
{
    struct lab_answer *answers[64];
    char path[32];
    (void)state;
    uint64_t commits = counter_get(&lab.service->turn.counters[TURN_COMMITS]);
    for (int i = 0; i < 64; i++) {
        snprintf(path, sizeof path, "/d%d", i);
        answers[i] = submit(&ann, mkdir, .path = path, .mode = 0755);
    }
    struct lab_answer *seen = submit(&bob, stat, .path = "/d63");
    struct lab_answer *failed = submit(&bob, mkdir, .path = "/d63", .mode = 0755);
    lab_run();
    assert_int_equal(counter_get(&lab.service->turn.counters[TURN_COMMITS]), commits + 1);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(answers[i]->status, 0);
        lab_answer_free(answers[i]);
    }
    assert_int_equal(seen->status, 0);
    assert_int_equal(failed->status, -EEXIST);
    assert_non_null(strstr(failed->text, "/d63"));
    lab_answer_free(seen);
    lab_answer_free(failed);
}

static void a_full_store_fails_only_what_does_not_fit(void **state)
{
    struct lab_answer *answers[400], *small;
    char path[64], target[LIMITS_SYMLINK_MAX + 1];
    int fitted = 0, refused = 0;
    (void)state;
    lab_teardown(state);
    lab_open_empty(UINT64_C(1) << 20);
    lab_register_all();
    memset(target, 't', LIMITS_SYMLINK_MAX);
    target[LIMITS_SYMLINK_MAX] = 0;
    for (int i = 0; i < 400; i++) {
        snprintf(path, sizeof path, "/l%d", i);
        answers[i] = submit(&ann, symlink, .target = target, .path = path);
    }
    small = submit(&ann, stat, .path = "/");
    lab_run();
    for (int i = 0; i < 400; i++) {
        struct wire_attr attr;
        assert_true(answers[i]->done);
        snprintf(path, sizeof path, "/l%d", i);
        struct lab_answer *answer = submit(&root, stat, .path = path, .flags = WEFT_STAT_NOFOLLOW);
        lab_run();
        if (answers[i]->status == 0) {
            fitted++;
            assert_int_equal(answer->status, 0);
        } else {
            refused++;
            assert_int_equal(answers[i]->status, -ENOSPC);
            assert_non_null(strstr(answers[i]->text, "metadata_bytes_max"));
            assert_int_equal(answer->status, -ENOENT);
        }
        (void)attr;
        lab_answer_free(answer);
        lab_answer_free(answers[i]);
    }
    assert_true(fitted > 20 && refused > 20);
    assert_int_equal(small->status, 0);
    lab_answer_free(small);
    /* There is no way out but making room, and that works. */
    for (int i = 0; i < 10; i++) {
        snprintf(path, sizeof path, "/l%d", i);
        assert_ok(ask(&ann, unlink, .path = path));
    }
    assert_ok(ask(&ann, mkdir, .path = "/d", .mode = 0755));
}

static void four_racing_to_create_make_one(void **state)
{
    struct lab_answer *answers[4];
    struct lab_client *racers[4] = {&root, &root, &root, &root};
    unsigned created = 0;
    uint64_t ino = 0;
    (void)state;
    for (int i = 0; i < 4; i++)
        answers[i] = submit(racers[i], open, .path = "/f", .flags = NEW, .mode = 0666);
    lab_run();
    for (int i = 0; i < 4; i++) {
        struct wire_open_reply reply;
        decode_answer(answers[i], open_reply, &reply);
        created += reply.created;
        assert_true(ino == 0 || ino == reply.attr.ino);
        ino = reply.attr.ino;
        lab_answer_free(answers[i]);
    }
    assert_int_equal(created, 1);
}

/* ---- listings ----------------------------------------------------------- */

static void a_large_directory_is_listed_in_batches(void **state)
{
    char path[WEFT_NAME_BYTES_MAX + 8], after[WEFT_NAME_BYTES_MAX + 1] = "", last[WEFT_NAME_BYTES_MAX + 1] = "";
    unsigned count = 0, batches = 0;
    bool end = false;
    (void)state;
    assert_ok(ask(&ann, mkdir, .path = "/d", .mode = 0755));
    for (int i = 0; i < 3000; i++) {
        /* Long names, so that a batch ends by its bytes. */
        snprintf(path, sizeof path, "/d/%0200d", i);
        struct lab_answer *answer = submit(&ann, mkdir, .path = path, .mode = 0755);
        if (i % 100 == 99)
            lab_run();
        if (answer->done)
            lab_answer_free(answer);
        else if (i % 100 != 99)
            lab_run(), lab_answer_free(answer);
    }
    while (!end) {
        struct lab_answer *answer = submit(&bob, readdir, .path = "/d", .after = after, .count_max = 4096);
        lab_run();
        struct wire_readdir_reply reply;
        decode_answer(answer, readdir_reply, &reply);
        assert_true(answer->reply_length <= LIMITS_BODY_MAX / 2);
        struct wire_reader reader = wire_list_reader(&reply.entries);
        for (uint32_t i = 0; i < reply.entries.count; i++) {
            struct wire_dirent dirent;
            wire_get_dirent(&reader, &dirent);
            assert_false(reader.bad);
            assert_true(strcmp(dirent.name, last) > 0);
            assert_true(S_ISDIR(dirent.attr.mode));
            snprintf(last, sizeof last, "%s", dirent.name);
            count++;
        }
        assert_ok(wire_read_all(&reader, "dirents"));
        assert_true(reply.entries.count > 0 || reply.end);
        snprintf(after, sizeof after, "%s", last);
        end = reply.end;
        batches++;
        lab_answer_free(answer);
    }
    assert_int_equal(count, 3000);
    assert_true(batches > 1);
    struct lab_answer *answer = submit(&bob, readdir, .path = "/d", .after = "", .count_max = 7);
    lab_run();
    struct wire_readdir_reply reply;
    decode_answer(answer, readdir_reply, &reply);
    assert_int_equal(reply.entries.count, 7);
    assert_int_equal(reply.end, 0);
    lab_answer_free(answer);
}

/* ---- what peers must not do --------------------------------------------- */

static void other_peers_requests_are_refused(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    /* Another client's handle. */
    assert_result(lab_close_file(&bob, &file, true), -EBADF);
    assert_result(ask(&bob, close, .handle = file.handle + 1000), -EBADF);
    assert_result(ask(&bob, close, .handle = 0), -EBADF);
    /* Roles. */
    assert_result(ask(&storage[0], mkdir, .path = "/d", .mode = 0755), -EPERM);
    assert_result(ask(&ann, heartbeat, .name = "s0"), -EPERM);
    assert_result(lab_register(&ann, "evil", 1, &(uint32_t){99}, 1, 7600), -EPERM);
    /* What storage servers do. */
    assert_result(ask(&ann, object_remove, .capability = file.capability), -EOPNOTSUPP);
    assert_result(ask(&ann, sync, .capability = file.capability), -EOPNOTSUPP);
}

static void messages_that_make_no_sense_are_answered(void **state)
{
    uint64_t random = 42;
    (void)state;
    struct world_dump before = world_dump(lab.world.store);
    for (unsigned operation = 0; operation < 70; operation++) {
        for (int round = 0; round < 20; round++) {
            struct lab_answer *answer = lab_answer_new();
            ssize_t length = round;
            for (ssize_t i = 0; i < length; i++)
                answer->body[i] = (uint8_t)(layout_hash(random++) >> 8);
            lab_submit_as(&bob, ++bob.request_id, (uint16_t)operation, answer, length);
            lab_run();
            assert_true(answer->done);
            if (answer->status < 0)
                assert_true(*answer->text);
            lab_answer_free(answer);
        }
    }
    assert_same_dump(before, world_dump(lab.world.store));
    assert_true(counter_get(&lab.service->requests_refused) > 500);
}

#define T(name) cmocka_unit_test_setup_teardown(name, lab_setup, lab_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_file_that_was_not_written_is_known_at_once),
        T(a_size_settles_after_the_last_close),
        T(a_writer_that_comes_meanwhile_keeps_the_size_open),
        T(a_writer_that_came_and_went_meanwhile_is_noticed),
        T(settling_goes_on_when_a_server_comes_back),
        T(a_client_that_vanishes_has_its_files_closed_after_its_lease),
        T(a_client_that_comes_back_in_time_keeps_its_files),
        T(files_that_were_being_written_stay_open_over_a_restart),
        T(a_writer_that_is_never_heard_again_is_given_up_after_a_day),
        T(unsettled_files_are_settled_after_a_restart),
        T(truncate_cuts_every_server_before_it_answers),
        T(truncate_to_the_same_size_asks_no_one),
        T(truncate_of_a_file_that_others_write_leaves_its_size_open),
        T(grow_only_with_writers_keeps_what_they_wrote),
        T(truncations_of_one_file_do_not_mix),
        T(a_truncation_that_fails_says_where_and_settles_later),
        T(a_server_that_is_down_fails_a_truncation_before_anything_is_cut),
        T(truncate_refuses),
        T(open_with_truncation_answers_when_the_file_is_empty),
        T(open_with_a_truncation_that_fails_opens_nothing),
        T(objects_are_removed_after_the_last_name),
        T(an_open_file_keeps_its_bytes_until_its_last_close),
        T(a_file_without_a_name_ends_with_its_clients_lease),
        T(a_file_without_a_name_ends_after_a_restart),
        T(removals_wait_for_servers_that_are_down),
        T(many_removals_are_all_done),
        T(a_file_that_is_replaced_while_it_is_cut_ends_afterwards),
        T(a_repeated_request_gets_the_same_answer),
        T(a_repeated_request_gets_the_same_answer_after_a_restart),
        T(repeated_in_the_same_turn_happens_once),
        T(a_truncation_that_is_repeated_meanwhile_happens_once),
        T(a_repeated_open_for_reading_leaves_one_handle),
        T(answers_go_when_they_are_settled_and_when_they_are_old),
        T(requests_of_one_turn_are_one_commit),
        T(a_full_store_fails_only_what_does_not_fit),
        T(four_racing_to_create_make_one),
        T(a_large_directory_is_listed_in_batches),
        T(other_peers_requests_are_refused),
        T(messages_that_make_no_sense_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
