/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of sums of usage, to whom, and what becomes of them by what the metadata service does
 * besides: restarts, batches that are undone, files that are settled late.
 */
#include "meta_small.h"

#include "metadata/usage.h"

struct told {
    bool end;
    uint32_t count;
    struct wire_usage_sums sums[LIMITS_USAGES_MAX];
};

static int take(const struct lab_answer *answer, struct told *told)
{
    struct wire_usage_reply reply;
    *told = (struct told){0};
    assert_true(answer->done);
    if (answer->status < 0)
        return err_set(answer->status, "%s", answer->text);
    decode_answer(answer, usage_reply, &reply);
    struct wire_reader reader = wire_list_reader(&reply.sums);
    for (uint32_t i = 0; i < reply.sums.count; i++)
        wire_get_usage_sums(&reader, &told->sums[i]);
    assert_ok(wire_read_all(&reader, "sums"));
    told->end = reply.end;
    told->count = reply.sums.count;
    return 0;
}

static int usage(struct lab_client *client, const struct wire_usage *body, struct told *told)
{
    struct lab_answer *answer =
        submit(client, usage, .kind = body->kind, .path = body->path ? body->path : "", .id = body->id,
               .flags = body->flags);
    lab_run();
    int status = take(answer, told);
    lab_answer_free(answer);
    return status;
}

#define ask_usage(client, told, ...) usage((client), &(struct wire_usage){__VA_ARGS__}, (told))

#define assert_told(told, id_, files_, directories_, bytes_, size_)   \
    do {                                                              \
        assert_true((told).end);                                      \
        assert_int_equal((told).count, 1);                            \
        assert_int_equal((told).sums[0].id, (id_));                   \
        assert_int_equal((told).sums[0].files, (files_));             \
        assert_int_equal((told).sums[0].directories, (directories_)); \
        assert_int_equal((told).sums[0].bytes, (bytes_));             \
        assert_int_equal((told).sums[0].size, (size_));               \
    } while (0)

static struct told told;

static void it_is_told_of_paths(void **state)
{
    struct lab_file file = {0};
    (void)state;
    assert_ok(ask(&root, mkdir, .path = "/d", .mode = 0777));
    assert_ok(ask(&ann, mkdir, .path = "/d/e", .mode = 0755));
    lab_open_written(&ann, "/d/e/f", 5000, &file);
    assert_ok(ask_usage(&ann, &told, .kind = WIRE_USAGE_PATH, .path = "/d"));
    assert_told(told, look("/d").ino, 1, 1, 0, 0); /* it is open: what it has so far is not known */
    lab_close_and_wait(&ann, &file, true);
    assert_settled("/d/e/f", 5000);
    const uint64_t bytes = look("/d/e/f").bytes;
    assert_true(bytes > 0);
    assert_ok(ask_usage(&ann, &told, .kind = WIRE_USAGE_PATH, .path = "/d"));
    assert_told(told, look("/d").ino, 1, 1, bytes, 5000);
    assert_ok(ask_usage(&bob, &told, .kind = WIRE_USAGE_PATH, .path = "/d/e/f"));
    assert_told(told, file.ino, 1, 0, bytes, 5000);
    assert_ok(ask(&ann, symlink, .target = "e", .path = "/d/link"));
    assert_ok(ask_usage(&ann, &told, .kind = WIRE_USAGE_PATH, .path = "/d/link"));
    assert_told(told, look("/d/e").ino, 1, 0, bytes, 5000);
    assert_ok(ask_usage(&ann, &told, .kind = WIRE_USAGE_PATH, .path = "/d/link", .flags = 1));
    assert_int_equal(told.sums[0].files, 1);
    assert_int_equal(told.sums[0].size, 0);
    assert_result(ask_usage(&ann, &told, .kind = WIRE_USAGE_PATH, .path = "/none"), -ENOENT);
    /* As with stat. */
    assert_ok(ask(&ann, setattr, .path = "/d/e", .mask = WIRE_SETATTR_MODE, .mode = 0700));
    assert_result(ask_usage(&bob, &told, .kind = WIRE_USAGE_PATH, .path = "/d/e/f"), -EACCES);
    assert_ok(ask_usage(&bob, &told, .kind = WIRE_USAGE_PATH, .path = "/d/e"));
}

static void owners_are_told_to_themselves_and_to_root(void **state)
{
    static const uint32_t groups[] = {7, 300};
    struct lab_client eve = {.id = "eve", .uid = 1002, .gid = 200, .groups = groups, .group_count = 2};
    (void)state;
    lab_connect(&eve);
    assert_ok(ask(&root, mkdir, .path = "/d", .mode = 0777));
    assert_ok(ask(&ann, mkdir, .path = "/d/ann", .mode = 0755));
    assert_ok(ask_usage(&ann, &told, .kind = WIRE_USAGE_USER, .id = 1000));
    assert_told(told, 1000, 0, 1, 0, 0);
    assert_ok(ask_usage(&bob, &told, .kind = WIRE_USAGE_GROUP, .id = 100));
    assert_told(told, 100, 0, 1, 0, 0);
    assert_ok(ask_usage(&eve, &told, .kind = WIRE_USAGE_GROUP, .id = 300));
    assert_told(told, 300, 0, 0, 0, 0);
    assert_result(ask_usage(&eve, &told, .kind = WIRE_USAGE_GROUP, .id = 100), -EPERM);
    assert_non_null(strstr(err_text(), "group 100"));
    assert_result(ask_usage(&eve, &told, .kind = WIRE_USAGE_USER, .id = 1000), -EPERM);
    assert_non_null(strstr(err_text(), "user 1000"));
    assert_result(ask_usage(&eve, &told, .kind = WIRE_USAGE_USERS), -EPERM);
    assert_result(ask_usage(&eve, &told, .kind = WIRE_USAGE_GROUPS), -EPERM);
    assert_ok(ask_usage(&root, &told, .kind = WIRE_USAGE_USER, .id = 1000));
    assert_told(told, 1000, 0, 1, 0, 0);
    assert_ok(ask_usage(&root, &told, .kind = WIRE_USAGE_USERS));
    assert_true(told.end);
    assert_int_equal(told.count, 2);
    assert_int_equal(told.sums[0].id, 0);
    assert_int_equal(told.sums[1].id, 1000);
    assert_ok(ask_usage(&root, &told, .kind = WIRE_USAGE_GROUPS, .id = 1));
    assert_int_equal(told.count, 1);
    assert_int_equal(told.sums[0].id, 100);
}

static void questions_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    assert_result(ask_usage(&root, &told, .kind = 0, .path = "/"), -EBADMSG);
    assert_result(ask_usage(&root, &told, .kind = WIRE_USAGE_PATH), -EBADMSG);
    assert_result(ask_usage(&root, &told, .kind = WIRE_USAGE_USER, .path = "/"), -EBADMSG);
    /* Its lower half is somebody who may ask. */
    assert_result(ask_usage(&ann, &told, .kind = WIRE_USAGE_USER, .id = (UINT64_C(1) << 32) + 1000),
                  -EBADMSG);
}

static void many_users_come_in_several_answers(void **state)
{
    enum { USERS = 2500 };
    (void)state;
    for (uint32_t i = 0; i < USERS; i++) {
        char path[32];
        snprintf(path, sizeof path, "/d%u", i);
        assert_ok(ask(&root, mkdir, .path = path, .mode = 0755));
        assert_ok(ask(&root, setattr, .path = path, .mask = WIRE_SETATTR_UID | WIRE_SETATTR_GID,
                      .uid = 5000 + i, .gid = 7));
    }
    uint64_t next = 0;
    uint32_t met = 0;
    do {
        assert_ok(ask_usage(&root, &told, .kind = WIRE_USAGE_USERS, .id = next));
        assert_true(told.count > 0);
        for (uint32_t i = 0; i < told.count; i++) {
            assert_true(told.sums[i].id >= next);
            assert_int_equal(told.sums[i].directories, 1);
            next = told.sums[i].id + 1;
        }
        met += told.count;
    } while (!told.end);
    assert_int_equal(met, USERS + 1); /* root has the root directory */
    assert_ok(ask_usage(&root, &told, .kind = WIRE_USAGE_GROUP, .id = 7));
    assert_told(told, 7, 0, USERS, 0, 0);
}

static void a_question_sees_what_came_before_it_in_its_turn(void **state)
{
    (void)state;
    struct lab_answer *first = submit(&root, mkdir, .path = "/a", .mode = 0755);
    struct lab_answer *second = submit(&root, usage, .kind = WIRE_USAGE_PATH, .path = "/");
    struct lab_answer *third = submit(&root, mkdir, .path = "/b", .mode = 0755);
    struct lab_answer *fourth = submit(&root, usage, .kind = WIRE_USAGE_USER, .path = "", .id = 0);
    lab_run();
    assert_answered(first, 0);
    assert_answered(third, 0);
    assert_ok(take(second, &told));
    assert_told(told, INODE_ROOT, 0, 1, 0, 0);
    assert_ok(take(fourth, &told));
    assert_told(told, 0, 0, 3, 0, 0);
    lab_answer_free(second);
    lab_answer_free(fourth);
}

static void small_files_count_and_spill(void **state)
{
    struct opened opened;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &opened);
    struct lab_answer *answer = write_begin(&ann, &opened, 0, "some text");
    lab_run();
    assert_answered(answer, 0);
    assert_ok(ask_usage(&ann, &told, .kind = WIRE_USAGE_USER, .id = 1000));
    assert_told(told, 1000, 1, 0, 512, 9);
    assert_ok(ask(&ann, spill, .capability = opened.file.capability, .handle = opened.file.handle));
    lab_close_and_wait(&ann, &opened.file, true);
    assert_settled("/f", 9);
    assert_ok(ask_usage(&ann, &told, .kind = WIRE_USAGE_USER, .id = 1000));
    assert_told(told, 1000, 1, 0, look("/f").bytes, 9);
}

/* ---- what happens to the server ----------------------------------------------- */

static void put_setting(uint64_t value)
{
    struct store_txn *txn;
    assert_ok(store_begin(lab.world.store, true, &txn));
    assert_ok(records_setting_put(txn, SETTING_USAGE, value));
    assert_ok(store_commit(txn));
}

static void a_restart_knows_what_the_one_before_knew(void **state)
{
    (void)state;
    assert_ok(ask(&root, mkdir, .path = "/a", .mode = 0755));
    /* Wrong, to see that nothing is counted. */
    struct store_txn *txn;
    assert_ok(store_begin(lab.world.store, true, &txn));
    assert_ok(usage_record_put(txn, USAGE_USER, 9, &(struct usage){.files = 9}));
    assert_ok(store_commit(txn));
    lab_restart();
    assert_ok(ask_usage(&root, &told, .kind = WIRE_USAGE_USER, .id = 9));
    assert_told(told, 9, 9, 0, 0, 0);
    /* An older server has been there, which counts starts and nothing else. */
    put_setting(1);
    lab_restart();
    assert_ok(ask_usage(&root, &told, .kind = WIRE_USAGE_USER, .id = 9));
    assert_told(told, 9, 0, 0, 0, 0);
    assert_ok(ask_usage(&root, &told, .kind = WIRE_USAGE_PATH, .path = "/"));
    assert_told(told, INODE_ROOT, 0, 1, 0, 0);
}

static void sums_that_are_not_known_are_not_told(void **state)
{
    (void)state;
    put_setting(USAGE_UNKNOWN);
    assert_ok(ask(&root, mkdir, .path = "/a", .mode = 0755));
    assert_result(ask_usage(&root, &told, .kind = WIRE_USAGE_PATH, .path = "/"), -EUCLEAN);
    assert_non_null(strstr(err_text(), "starts again"));
    assert_result(ask_usage(&root, &told, .kind = WIRE_USAGE_USERS), -EUCLEAN);
    lab_restart();
    assert_ok(ask_usage(&root, &told, .kind = WIRE_USAGE_PATH, .path = "/"));
    assert_told(told, INODE_ROOT, 0, 1, 0, 0);
}

/* Begins to write, and fails: the batch is undone, and its requests run again. */
static bool always(struct job *job)
{
    (void)job;
    return true;
}
static int spoil(struct job *job, struct ns *ns)
{
    (void)job;
    assert_ok(store_put(ns->txn, STORE_SYMLINKS, (struct store_bytes){"x", 1}, (struct store_bytes){"", 0}));
    return err_set(-EIO, "it fails on purpose");
}
static void spoiled(struct job *job, int status)
{
    (void)job;
    assert_int_equal(status, -EIO);
}

static void a_batch_that_is_undone_counts_once(void **state)
{
    struct job job = {.writes = always, .run = spoil, .done = spoiled};
    (void)state;
    assert_ok(ask(&root, mkdir, .path = "/from", .mode = 0755));
    assert_ok(ask(&root, mkdir, .path = "/to", .mode = 0755));
    assert_ok(ask(&root, mkdir, .path = "/from/tree", .mode = 0755));
    struct lab_answer *first = submit(&root, mkdir, .path = "/from/tree/a", .mode = 0755);
    struct lab_answer *second = submit(&root, rename, .from = "/from/tree", .to = "/to/tree");
    turn_submit(&lab.service->turn, &job);
    struct lab_answer *third = submit(&root, mkdir, .path = "/to/tree/b", .mode = 0755);
    lab_run();
    assert_answered(first, 0);
    assert_answered(second, 0);
    assert_answered(third, 0);
    world_recount(lab.world.store);
    assert_ok(ask_usage(&root, &told, .kind = WIRE_USAGE_PATH, .path = "/to"));
    assert_told(told, look("/to").ino, 0, 3, 0, 0);
}

#define T(name) lab_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(it_is_told_of_paths),
        T(owners_are_told_to_themselves_and_to_root),
        T(questions_that_make_no_sense_are_refused),
        T(many_users_come_in_several_answers),
        T(a_question_sees_what_came_before_it_in_its_turn),
        small_test(small_files_count_and_spill),
        T(a_restart_knows_what_the_one_before_knew),
        T(sums_that_are_not_known_are_not_told),
        T(a_batch_that_is_undone_counts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
