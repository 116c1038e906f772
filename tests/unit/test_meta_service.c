/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to the metadata service, without a network: a repeated one changes
 * nothing and gets the same answer; nothing that was answered is lost, and
 * nothing that failed leaves a trace; whatever a peer sends is answered.
 */
#include "meta_files.h"

/* ---- repeated requests -------------------------------------------------- */

static void a_repeated_request_gets_the_same_answer(void **state)
{
    (void)state;
    uint64_t id = ++ann.request_id;
    assert_ok(ask_as(&ann, id, mkdir, .path = "/d", .mode = 0755));
    struct world_dump before = world_dump(lab.world.store);
    lab_disconnect(&ann);
    lab_connect(&ann);
    assert_ok(ask_as(&ann, id, mkdir, .path = "/d", .mode = 0755));
    assert_same_dump(before, world_dump(lab.world.store));
    assert_result(ask(&ann, mkdir, .path = "/d", .mode = 0755), -EEXIST);
    /* The same number from someone else is another request. */
    assert_result(ask_as(&bob, id, mkdir, .path = "/d", .mode = 0755), -EEXIST);
}

static void a_repeated_request_gets_the_same_answer_after_a_restart(void **state)
{
    (void)state;
    assert_ok(ask(&ann, mkdir, .path = "/a", .mode = 0755));
    uint64_t id = ++ann.request_id;
    assert_ok(ask_as(&ann, id, rename, .from = "/a", .to = "/b"));
    uint64_t open_id = ++ann.request_id;
    struct lab_answer *answer =
        submit_as(&ann, open_id, open, .path = "/f", .flags = NEW | WIRE_OPEN_EXCLUSIVE, .mode = 0600);
    lab_run();
    struct wire_open_reply first, second;
    decode_answer(answer, open_reply, &first);
    lab_restart();
    lab_connect(&ann);
    assert_ok(ask_as(&ann, id, rename, .from = "/a", .to = "/b"));
    struct lab_answer *again =
        submit_as(&ann, open_id, open, .path = "/f", .flags = NEW | WIRE_OPEN_EXCLUSIVE, .mode = 0600);
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
    lab_make(&ann, "/f", 1000, &file);
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
    assert_answered(first, 0);
    assert_answered(second, 0);
    assert_answered(third, 0);
    /* Someone else has cut it since: the repeated request must not do it again. */
    assert_ok(ask(&root, truncate, .path = "/f", .size = 500));
    assert_ok(ask_as(&ann, id, truncate, .path = "/f", .size = 10));
    assert_int_equal(lab.calls_made, 2 * SERVERS);
    assert_int_equal(look("/f").size, 500);
}

static void a_repeated_open_for_reading_leaves_one_handle(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    lab_close_and_wait(&ann, &file, false);
    uint64_t id = ++ann.request_id;
    assert_ok(ask_as(&ann, id, open, .path = "/f", .flags = WIRE_OPEN_READ)); /* it is lost on the way */
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
    for (int i = 0; i < 64; i++)
        assert_answered(answers[i], 0);
    assert_answered(seen, 0);
    assert_non_null(strstr(failed->text, "/d63"));
    assert_answered(failed, -EEXIST);
}

static void a_close_waits_for_the_next_change(void **state)
{
    struct lab_file file;
    char path[32];
    (void)state;
    const struct counter *counter = &lab.service->turn.counters[TURN_COMMITS];
    uint64_t commits = counter_get(counter);
    for (int i = 0; i < 10; i++) {
        snprintf(path, sizeof path, "/f%d", i);
        assert_ok(lab_open(&ann, path, NEW, &file));
        assert_ok(lab_close_file(&ann, &file, false));
        assert_ok(lab_close_file(&ann, &file, false)); /* repeated */
    }
    assert_int_equal(counter_get(counter), commits + 10);
    assert_int_equal(rows(STORE_WRITERS), 1);
    /* But not for long. */
    assert_in_range(service_timeout_ms(lab.service), 1, 50);
    lab_wait(50);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(counter_get(counter), commits + 11);
    assert_int_equal(service_timeout_ms(lab.service), -1);
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
        assert_true(answers[i]->done);
        snprintf(path, sizeof path, "/l%d", i);
        int looked = ask(&root, stat, .path = path, .flags = WEFT_STAT_NOFOLLOW);
        if (answers[i]->status == 0) {
            fitted++;
            assert_ok(looked);
        } else {
            refused++;
            assert_int_equal(answers[i]->status, -ENOSPC);
            assert_non_null(strstr(answers[i]->text, "metadata_bytes_max"));
            assert_result(looked, -ENOENT);
        }
        lab_answer_free(answers[i]);
    }
    assert_true(fitted > 20 && refused > 20);
    assert_answered(small, 0);
    /* There is no way out but making room, and that works. */
    for (int i = 0; i < 10; i++) {
        snprintf(path, sizeof path, "/l%d", i);
        assert_ok(ask(&ann, unlink, .path = path));
    }
    assert_ok(ask(&ann, mkdir, .path = "/d", .mode = 0755));
}

static void opens_that_do_not_fit_leave_no_handle(void **state)
{
    struct lab_answer *answers[400];
    char path[300];
    unsigned opened = 0;
    (void)state;
    lab_teardown(state);
    lab_open_empty(UINT64_C(384) << 10);
    lab_register_all();
    for (int i = 0; i < 400; i++) {
        snprintf(path, sizeof path, "/%0250d", i);
        answers[i] = submit(&ann, open, .path = path, .flags = NEW);
    }
    lab_run();
    for (int i = 0; i < 400; i++) {
        assert_true(answers[i]->status == 0 || answers[i]->status == -ENOSPC);
        opened += answers[i]->status == 0;
        lab_answer_free(answers[i]);
    }
    assert_true(opened > 20 && opened < 380);
    assert_int_equal(lab.service->opens->handles.count, opened);
    assert_int_equal(lab.service->opens->files.count, opened);
    assert_int_equal(rows(STORE_WRITERS), opened);
    assert_int_equal(rows(STORE_INODES), opened + 1);
}

/* A job that puts one row, and fails after that when it is told to. */
struct put_job {
    struct job job;
    const char *key;
    int result;
    int told;
    unsigned runs;
};

static bool put_writes(struct job *job)
{
    (void)job;
    return true;
}

static int put_run(struct job *job, struct ns *ns)
{
    struct put_job *put = (struct put_job *)job;
    put->runs++;
    assert_ok(
        store_put(ns->txn, STORE_SYMLINKS, (struct store_bytes){put->key, 1}, (struct store_bytes){"", 0}));
    return put->result ? err_set(put->result, "job %s was told to fail", put->key) : 0;
}

static void put_done(struct job *job, int status)
{
    struct put_job *put = (struct put_job *)job;
    assert_int_equal(put->told, 1);
    put->told = status;
    if (status)
        assert_non_null(strstr(err_text(), put->key));
}

static void a_job_that_fails_half_way_leaves_nothing(void **state)
{
    struct put_job jobs[4];
    static const char *const keys[] = {"a", "b", "c", "d"};
    (void)state;
    for (int i = 0; i < 4; i++) {
        jobs[i] = (struct put_job){.job = {.writes = put_writes, .run = put_run, .done = put_done},
                                   .key = keys[i],
                                   .result = i == 2 ? -EIO : 0,
                                   .told = 1};
        turn_submit(&lab.service->turn, &jobs[i].job);
    }
    lab_run();
    assert_int_equal(rows(STORE_SYMLINKS), 3);
    for (int i = 0; i < 4; i++)
        assert_int_equal(jobs[i].told, jobs[i].result);
    assert_int_equal(jobs[0].runs, 2);
    /* Alone, too. */
    jobs[2].told = 1;
    turn_submit(&lab.service->turn, &jobs[2].job);
    lab_run();
    assert_int_equal(jobs[2].told, -EIO);
    assert_int_equal(rows(STORE_SYMLINKS), 3);
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
    char path[WEFT_NAME_BYTES_MAX + 8], after[WEFT_NAME_BYTES_MAX + 1] = "",
                                                                    last[WEFT_NAME_BYTES_MAX + 1] = "";
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
    assert_result(lab_close(&bob, &(struct wire_closing){.handle = file.handle + 1000}), -EBADF);
    assert_result(lab_close(&bob, &(struct wire_closing){.handle = 0}), -EBADF);
    /* Roles. */
    assert_result(ask(&storage[0], mkdir, .path = "/d", .mode = 0755), -EPERM);
    assert_result(ask(&ann, heartbeat, .name = "s0"), -EPERM);
    assert_result(lab_register(&ann, "evil", 1, &(uint32_t){99}, 1, 7600), -EPERM);
    /* What storage servers do. */
    assert_result(ask(&ann, object_remove, .files = {0}), -EOPNOTSUPP);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        lab_test(a_repeated_request_gets_the_same_answer),
        lab_test(a_repeated_request_gets_the_same_answer_after_a_restart),
        lab_test(repeated_in_the_same_turn_happens_once),
        lab_test(a_truncation_that_is_repeated_meanwhile_happens_once),
        lab_test(a_repeated_open_for_reading_leaves_one_handle),
        lab_test(answers_go_when_they_are_settled_and_when_they_are_old),
        lab_test(requests_of_one_turn_are_one_commit),
        lab_test(a_close_waits_for_the_next_change),
        lab_test(a_full_store_fails_only_what_does_not_fit),
        lab_test(opens_that_do_not_fit_leave_no_handle),
        lab_test(a_job_that_fails_half_way_leaves_nothing),
        lab_test(four_racing_to_create_make_one),
        lab_test(a_large_directory_is_listed_in_batches),
        lab_test(other_peers_requests_are_refused),
        lab_test(messages_that_make_no_sense_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
