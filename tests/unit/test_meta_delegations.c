/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delegations (metadata/delegations.h): who gets them, whose changes wait for whom, and how they end.
 */
#include "meta_promises.h"

/* A file of ann's in a folder of ann's, and a server that has promised something before. */
static int setup(void **state)
{
    small_setup(state);
    assert_ok(ask(&ann, mkdir, .path = "/d", .mode = 0777));
    make_file(&ann, "/d/f");
    assert_false(ask_for(&root, "/").given); /* the store has to know first that there will be any */
    assert_true(ask_for(&root, "/").given);
    lab_jump(TERM_MS);
    lab_jump(TERM_MS); /* it is forgotten */
    return 0;
}

#define deleg_test(name) cmocka_unit_test_setup_teardown(name, setup, lab_teardown)

/* ---- who gets them ------------------------------------------------------------------ */

static void ones_are_given_by_stat_and_open(void **state)
{
    struct wire_open_reply reply;
    (void)state;
    struct promise first = get(&ann, "/d/f"), again = get(&ann, "/d/f"), folder = get(&ann, "/d");
    assert_int_equal(again.generation, first.generation);
    assert_int_equal(folder.generation, first.generation);
    assert_true(get(&bob, "/d/f").generation > first.generation);
    struct lab_answer *answer =
        submit(&ann, open, .path = "/d/new", .mode = 0644, .flags = NEW | SMALL | WIRE_OPEN_DELEGATE);
    lab_run();
    decode_answer(answer, open_reply, &reply);
    assert_true(reply.delegation.given);
    assert_int_equal(reply.delegation.generation, first.generation);
    lab_answer_free(answer);
    assert_int_equal(lab.service->delegations.by_ino.count, 3); /* the folder has changed */
}

/* It is told before the link has written anything: others of its batch would have to run again. */
static void a_second_name_waits_before_it_writes(void **state)
{
    (void)state;
    assert_ok(ask(&root, mkdir, .path = "/e", .mode = 0777));
    struct promise promise = get(&ann, "/d/f");
    const uint64_t reruns = counter_get(&lab.service->turn.counters[TURN_RERUNS]);
    struct lab_answer *other = submit(&bob, mkdir, .path = "/e/folder", .mode = 0755);
    struct lab_answer *link = submit(&bob, link, .from = "/d/f", .to = "/e/g");
    assert_waits_for(link, &ann, &promise);
    assert_answered(other, 0);
    assert_int_equal(counter_get(&lab.service->turn.counters[TURN_RERUNS]), reruns);
}

static void who_does_not_ask_gets_none(void **state)
{
    struct opened file;
    (void)state;
    look("/d/f");
    open_file(&ann, "/d/f", RW | SMALL, &file);
    assert_int_equal(lab.service->delegations.by_ino.count, 0);
}

static void paths_that_depend_on_more_get_none(void **state)
{
    static const char *const paths[] = {"/d/./f", "/d/../d/f", "/link/f", "//d/f", "/d//f", "/d/", "/."};
    (void)state;
    assert_ok(ask(&ann, symlink, .path = "/link", .target = "/d"));
    assert_ok(ask(&ann, symlink, .path = "/to", .target = "/d/f"));
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_false(ask_for(&ann, paths[i]).given);
    struct lab_answer *answer = submit(&ann, stat, .path = "/to", .flags = WIRE_STAT_DELEGATE);
    struct wire_stat_reply reply;
    lab_run();
    decode_answer(answer, stat_reply, &reply);
    assert_false(reply.delegation.given);
    lab_answer_free(answer);
    get(&ann, "/to"); /* the link itself */
    get(&ann, "/d/f");
    assert_false(ask_for(&ann, "/link/f").given);
}

/* ---- names that are not there ---------------------------------------------------------- */

/* A promise on the folder; or none, and the error. */
static bool is_absent(struct lab_client *client, const char *path, struct promise *promise)
{
    struct wire_stat_reply reply = {0};
    struct lab_answer *answer =
        submit(client, stat, .path = path, .flags = WIRE_STAT_DELEGATE | WEFT_STAT_NOFOLLOW);
    lab_run();
    if (answer->status == 0) {
        decode_answer(answer, stat_reply, &reply);
        assert_true(reply.absent);
        assert_true(reply.delegation.given);
        *promise = promise_of(&reply.delegation, reply.attr.ino);
        lab_answer_free(answer);
    } else {
        assert_answered(answer, -ENOENT);
    }
    return reply.absent;
}

static void a_name_that_is_not_there_is_the_folders(void **state)
{
    (void)state;
    struct promise folder = get(&ann, "/d"), absent;
    assert_true(is_absent(&ann, "/d/none", &absent));
    assert_int_equal(absent.ino, folder.ino);
    assert_int_equal(absent.generation, folder.generation);
    assert_int_equal(lab.service->delegations.by_ino.count, 1);
    assert_waits_for(submit(&bob, open, .path = "/d/none", .mode = 0644, .flags = NEW | SMALL), &ann,
                     &absent);
    get(&ann, "/d/none");
}

/* Whoever makes it has forgotten that it was not there, and waits for nobody. */
static void ones_own_new_name_does_not_wait(void **state)
{
    struct promise absent;
    struct opened file;
    (void)state;
    assert_true(is_absent(&ann, "/d/none", &absent));
    open_file(&ann, "/d/none", NEW | SMALL, &file);
    assert_int_equal(lab.service->delegations.by_ino.count, 0);
}

static void where_names_come_and_go_none_is_promised(void **state)
{
    struct promise absent;
    struct opened file;
    (void)state;
    open_file(&ann, "/d/new", NEW | SMALL, &file);
    assert_false(is_absent(&ann, "/d/none", &absent));
    lab_jump(20);
    assert_true(is_absent(&ann, "/d/none", &absent));
    lab_jump(TERM_MS);
    assert_ok(ask(&bob, unlink, .path = "/d/f"));
    assert_false(is_absent(&ann, "/d/f", &absent));
}

static void who_has_no_plain_folder_is_promised_nothing(void **state)
{
    static const char *const paths[] = {"/none/none", "/d/f/none", "/d/./none",
                                        "/link/none", "/d/none/",  "/to"};
    struct promise absent;
    (void)state;
    assert_ok(ask(&ann, symlink, .path = "/link", .target = "/d"));
    assert_ok(ask(&ann, symlink, .path = "/to", .target = "/d/none"));
    lab_jump(20);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct lab_answer *answer = submit(&ann, stat, .path = paths[i], .flags = WIRE_STAT_DELEGATE);
        lab_run();
        assert_true(answer->status == -ENOENT || answer->status == -ENOTDIR);
        lab_answer_free(answer);
    }
    assert_int_equal(lab.service->delegations.by_ino.count, 0);
    assert_true(is_absent(&ann, "/none", &absent));
}

static void a_second_path_to_the_same_inode_gets_none(void **state)
{
    char by_number[64];
    (void)state;
    assert_ok(ask(&ann, link, .from = "/d/f", .to = "/d/g"));
    struct promise first = get(&ann, "/d/f"), folder = get(&ann, "/d");
    assert_false(ask_for(&ann, "/d/g").given);
    snprintf(by_number, sizeof by_number, "%s%llu/f", WEFT_INODE_PREFIX, (unsigned long long)folder.ino);
    assert_false(ask_for(&ann, by_number).given);
    get(&bob, by_number);
    get(&ann, "/d/f");
    (void)first;
}

static void large_files_that_are_open_for_writing_get_none(void **state)
{
    struct lab_file file = {0};
    (void)state;
    lab_open_written(&bob, "/d/large", 1000000, &file);
    assert_false(ask_for(&ann, "/d/large").given);
    lab_close_and_wait(&bob, &file, true);
    struct promise promise = get(&ann, "/d/large");
    assert_waits_for(submit(&bob, open, .path = "/d/large", .flags = RW, .mode = 0644), &ann, &promise);
    assert_false(ask_for(&ann, "/d/large").given);
}

static void who_has_too_many_begins_anew(void **state)
{
    char path[64];
    (void)state;
    struct promise promise = get(&ann, "/d/f");
    struct deleg_client *client = delegations_client_find(&lab.service->delegations, ann.id);
    client->count += LIMITS_DELEGATIONS_MAX - 1; /* as if */
    struct lab_answer *wait = listen_for(&ann, &promise);
    snprintf(path, sizeof path, "/d");
    assert_false(ask_for(&ann, path).given);
    client->count -= LIMITS_DELEGATIONS_MAX - 1;
    struct recalled recalled = told(wait);
    assert_true(recalled.all);
    assert_int_equal(recalled.generation, promise.generation);
    wait = listen_from(&ann, recalled.generation, recalled.recalls);
    assert_int_equal(lab.service->delegations.by_ino.count, 0);
    get(&ann, path);
    lab_jump(TOLD_MS);
    told(wait);
}

/* ---- whose changes wait --------------------------------------------------------------- */

static void others_changes_wait(void **state)
{
    (void)state;
    struct promise file = get(&ann, "/d/f");
    assert_waits_for(submit(&root, setattr, .path = "/d/f", .mask = WIRE_SETATTR_MODE, .mode = 0600), &ann,
                     &file);
    file = get(&ann, "/d/f");
    assert_waits_for(submit(&root, link, .from = "/d/f", .to = "/other"), &ann, &file);
    file = get(&ann, "/d/f");
    assert_waits_for(submit(&root, unlink, .path = "/other"), &ann, &file);
    file = get(&ann, "/d/f");
    assert_waits_for(submit(&root, truncate, .path = "/d/f", .size = 5), &ann, &file);
    file = get(&ann, "/d/f");
    assert_waits_for(submit(&root, rename, .from = "/d/f", .to = "/f"), &ann, &file);
    file = get(&ann, "/f");
    make_file(&root, "/g");
    assert_waits_for(submit(&root, rename, .from = "/g", .to = "/f"), &ann, &file);
    file = get(&ann, "/f");
    assert_waits_for(submit(&root, unlink, .path = "/f"), &ann, &file);
}

static void a_folder_changes_with_what_is_in_it(void **state)
{
    (void)state;
    struct promise folder = get(&ann, "/d");
    assert_waits_for(submit(&bob, mkdir, .path = "/d/sub", .mode = 0755), &ann, &folder);
    folder = get(&ann, "/d");
    assert_waits_for(submit(&bob, rmdir, .path = "/d/sub"), &ann, &folder);
    folder = get(&ann, "/d");
    assert_waits_for(submit(&bob, symlink, .path = "/d/sub", .target = "x"), &ann, &folder);
    folder = get(&ann, "/d");
    assert_waits_for(submit(&bob, open, .path = "/d/new", .flags = NEW | SMALL, .mode = 0644), &ann, &folder);
    folder = get(&ann, "/d");
    assert_ok(
        ask(&bob, setattr, .path = "/d/new", .mask = WIRE_SETATTR_MODE, .mode = 0640)); /* not the folder */
    assert_waits_for(submit(&root, hints_set, .path = "/d", .hints = "weft_trace=1"), &ann, &folder);
}

static void ones_own_changes_of_what_is_named_do_not_wait(void **state)
{
    struct opened file;
    (void)state;
    struct promise promise = get(&ann, "/d/f");
    get(&ann, "/d");
    assert_ok(ask(&ann, setattr, .path = "/d/f", .mask = WIRE_SETATTR_MODE, .mode = 0600));
    get(&ann, "/d/f");
    assert_ok(ask(&ann, setattr, .path = "", .ino = promise.ino, .mask = WIRE_SETATTR_MODE, .mode = 0644));
    get(&ann, "/d/f");
    assert_ok(ask(&ann, truncate, .path = "/d/f", .size = 7));
    get(&ann, "/d/f");
    open_file(&ann, "/d/f", RW | SMALL | WIRE_OPEN_TRUNCATE, &file);
    get(&ann, "/d/f");
    assert_int_equal(write_text(&ann, &file, 0, "weft"), 0);
    get(&ann, "/d");
    assert_ok(ask(&ann, link, .from = "/d/f", .to = "/d/g"));
    get(&ann, "/d/g");
    get(&ann, "/d");
    assert_ok(ask(&ann, unlink, .path = "/d/g"));
    get(&ann, "/d/f");
    get(&ann, "/d");
    assert_ok(ask(&ann, rename, .from = "/d/f", .to = "/d/h"));
    get(&ann, "/d/h");
    get(&ann, "/d");
    assert_ok(ask(&ann, unlink, .path = "/d/h"));
    get(&ann, "/d");
    assert_ok(ask(&ann, mkdir, .path = "/d/sub", .mode = 0755));
    get(&ann, "/d/sub");
    get(&ann, "/d");
    assert_ok(ask(&ann, rmdir, .path = "/d/sub"));
    assert_int_equal(lab.service->delegations.counters[DELEG_RECALLED].value, 0);
}

/* As a mount names things: by numbers, whatever the path was by which they were found. */
static void ones_own_by_its_number_does_not_wait(void **state)
{
    char file[64], in_folder[64];
    (void)state;
    const struct promise folder = get(&ann, "/d"), inside = get(&ann, "/d/f");
    snprintf(file, sizeof file, "%s%llu", WEFT_INODE_PREFIX, (unsigned long long)inside.ino);
    snprintf(in_folder, sizeof in_folder, "%s%llu/sub", WEFT_INODE_PREFIX, (unsigned long long)folder.ino);
    assert_ok(ask(&ann, setattr, .path = file, .mask = WIRE_SETATTR_MODE, .mode = 0600));
    assert_ok(ask(&ann, mkdir, .path = in_folder, .mode = 0755));
    get(&ann, "/d");
    assert_ok(ask(&ann, rmdir, .path = in_folder));
    assert_int_equal(lab.service->delegations.counters[DELEG_RECALLED].value, 0);
}

static void ones_own_by_another_path_is_recalled(void **state)
{
    (void)state;
    assert_ok(ask(&ann, link, .from = "/d/f", .to = "/d/g"));
    struct promise file = get(&ann, "/d/f");
    assert_waits_for(submit(&ann, unlink, .path = "/d/g"), &ann, &file);
}

/* What the client writes to a small file it has a delegation on, the answer tells. */
static void a_write_keeps_ones_own(void **state)
{
    struct opened file;
    struct wire_small_write_reply reply;
    (void)state;
    open_file(&ann, "/d/f", RW | SMALL, &file);
    get(&ann, "/d/f");
    struct promise bobs = get(&bob, "/d/f");
    struct lab_answer *answer = write_begin(&ann, &file, 0, "weft");
    lab_run();
    assert_false(answer->done);
    struct lab_answer *wait =
        listen_from(&bob, bobs.generation, assert_told(listen_for(&bob, &bobs), bobs.ino));
    decode_answer(answer, small_write_reply, &reply);
    assert_true(reply.delegation.given);
    assert_int_equal(reply.attr.size, 4);
    lab_answer_free(answer);
    /* Bob's writing recalls it. */
    open_file(&root, "/d/f", RW | SMALL, &file);
    answer = write_begin(&root, &file, 0, "x");
    lab_run();
    assert_false(answer->done);
    lab_jump(TERM_MS);
    assert_int_equal(write_end(answer), 0);
    told(wait);
}

static void a_write_gives_none_that_was_not_there(void **state)
{
    struct opened file;
    struct wire_small_write_reply reply;
    (void)state;
    get(&ann, "/d");
    open_file(&ann, "/d/f", RW | SMALL, &file);
    struct lab_answer *answer = write_begin(&ann, &file, 0, "weft");
    lab_run();
    decode_answer(answer, small_write_reply, &reply);
    assert_false(reply.delegation.given);
    lab_answer_free(answer);
}

static void nobody_gets_one_while_somebody_waits(void **state)
{
    (void)state;
    struct promise file = get(&ann, "/d/f");
    struct lab_answer *change =
        submit(&root, setattr, .path = "/d/f", .mask = WIRE_SETATTR_MODE, .mode = 0600);
    lab_run();
    assert_false(change->done);
    assert_false(ask_for(&bob, "/d/f").given);
    assert_false(ask_for(&ann, "/d/f").given);
    get(&bob, "/d");
    assert_waits_for(change, &ann, &file);
    get(&bob, "/d/f");
}

/* Of two who have one, both are to answer. */
static void all_are_waited_for(void **state)
{
    (void)state;
    struct promise anns = get(&ann, "/d/f"), bobs = get(&bob, "/d/f");
    struct lab_answer *change =
        submit(&root, setattr, .path = "/d/f", .mask = WIRE_SETATTR_MODE, .mode = 0600);
    lab_run();
    uint32_t recalls = assert_told(listen_for(&bob, &bobs), bobs.ino);
    struct lab_answer *wait = listen_from(&bob, bobs.generation, recalls);
    assert_false(change->done);
    assert_waits_for(change, &ann, &anns);
    told(wait);
}

/* What a request has changed when it finds out is taken back, and those who were in the same transaction
 * are done once. */
static void half_a_change_is_undone(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/d/text", "0123456789", &file);
    struct promise promise = get(&bob, "/d/text");
    struct lab_answer *before = submit(&ann, mkdir, .path = "/before", .mode = 0755);
    struct lab_answer *cut = submit(&ann, truncate, .path = "/d/text", .size = 3);
    struct lab_answer *after = submit(&ann, mkdir, .path = "/after", .mode = 0755);
    lab_run();
    assert_answered(before, 0);
    assert_answered(after, 0);
    assert_reads(&ann, &file, "0123456789", 10);
    assert_waits_for(cut, &bob, &promise);
    assert_reads(&ann, &file, "012", 3);
}

static void a_spill_waits(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/d/text", "0123456789", &file);
    struct promise promise = get(&bob, "/d/text");
    struct lab_answer *answer = spill_begin(&ann, &file);
    assert_false(answer->done);
    struct lab_answer *wait =
        listen_from(&bob, promise.generation, assert_told(listen_for(&bob, &promise), promise.ino));
    spill_end(answer);
    assert_false(ask_for(&bob, "/d/text").given);
    told((lab_jump(TOLD_MS), wait));
}

/* ---- folders on the way ------------------------------------------------------------------ */

static void assert_recalls_all(struct lab_answer *change, struct lab_client *client,
                               const struct promise *promise)
{
    lab_run();
    assert_false(change->done);
    struct recalled recalled = told(listen_for(client, promise));
    assert_true(recalled.all);
    assert_false(change->done);
    struct lab_answer *wait = listen_from(client, recalled.generation, recalled.recalls);
    assert_answered(change, 0);
    lab_jump(TOLD_MS);
    told(wait);
}

static void paths_change_with_the_folders_that_they_go_through(void **state)
{
    (void)state;
    struct promise file = get(&ann, "/d/f");
    assert_recalls_all(submit(&root, setattr, .path = "/d", .mask = WIRE_SETATTR_MODE, .mode = 0700), &ann,
                       &file);
    file = get(&ann, "/d/f");
    assert_recalls_all(submit(&root, rename, .from = "/d", .to = "/e"), &ann, &file);
    file = get(&ann, "/e/f");
    /* Also one's own, who can't know all that goes through it. */
    assert_recalls_all(submit(&ann, setattr, .path = "/e", .mask = WIRE_SETATTR_MODE, .mode = 0755), &ann,
                       &file);
    file = get(&ann, "/e/f");
    assert_ok(ask(&root, setattr, .path = "/e", .mask = WIRE_SETATTR_MTIME | WIRE_SETATTR_NOW));
    assert_ok(ask(&root, mkdir, .path = "/else", .mode = 0755));
    assert_ok(ask(&root, rename, .from = "/else", .to = "/elsewhere"));
}

static void a_number_depends_on_the_folders_above(void **state)
{
    char by_number[64];
    (void)state;
    assert_ok(ask(&ann, mkdir, .path = "/d/sub", .mode = 0755));
    make_file(&ann, "/d/sub/f");
    snprintf(by_number, sizeof by_number, "%s%llu/f", WEFT_INODE_PREFIX,
             (unsigned long long)look("/d/sub").ino);
    struct promise file = get(&bob, by_number);
    assert_recalls_all(submit(&root, setattr, .path = "/d", .mask = WIRE_SETATTR_MODE, .mode = 0700), &bob,
                       &file);
}

/* ---- the end ------------------------------------------------------------------------------- */

static void who_is_silent_loses_them(void **state)
{
    (void)state;
    struct promise file = get(&ann, "/d/f");
    lab_jump(TERM_MS / 2);
    struct lab_answer *change =
        submit(&root, setattr, .path = "/d/f", .mask = WIRE_SETATTR_MODE, .mode = 0600);
    lab_run();
    lab_jump(TERM_MS / 2 - 1);
    assert_false(change->done);
    lab_jump(1);
    assert_answered(change, 0);
    struct recalled recalled = told(listen_for(&ann, &file));
    assert_true(recalled.all);
    assert_int_equal(recalled.generation, 0);
    assert_true(get(&ann, "/d/f").generation > file.generation);
}

/* Any request tells that a client is there. */
static void who_is_heard_keeps_them(void **state)
{
    (void)state;
    struct promise file = get(&ann, "/d/f");
    for (int i = 0; i < 4; i++) {
        lab_jump(TERM_MS - 1);
        assert_ok(ask(&ann, access, .path = "/", .mode = 0));
    }
    struct lab_answer *change =
        submit(&root, setattr, .path = "/d/f", .mask = WIRE_SETATTR_MODE, .mode = 0600);
    assert_waits_for(change, &ann, &file);
}

static void who_gives_them_up_is_not_waited_for(void **state)
{
    (void)state;
    struct promise file = get(&ann, "/d/f");
    struct lab_answer *wait = listen_for(&ann, &file);
    assert_ok(ask(&ann, delegation_wait, .generation = file.generation, .ends = 1));
    assert_true(told(wait).all);
    assert_ok(ask(&root, setattr, .path = "/d/f", .mask = WIRE_SETATTR_MODE, .mode = 0600));
    assert_true(get(&ann, "/d/f").generation > file.generation);
}

/* A request that came by an earlier connection is not left without an answer. */
static void there_is_one_wait_for_a_client(void **state)
{
    (void)state;
    struct promise file = get(&ann, "/d/f");
    struct lab_answer *first = listen_for(&ann, &file), *second = listen_for(&ann, &file);
    assert_int_equal(told(first).count, 0);
    assert_false(second->done);
    lab_jump(TOLD_MS);
    assert_int_equal(told(second).count, 0);
}

static void what_does_not_fit_an_answer_comes_with_the_next(void **state)
{
    enum { MANY = LIMITS_RECALLS_MAX + 10 };
    struct lab_answer *changes[MANY];
    struct promise promise = {0};
    char path[32];
    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "/d/%d", i);
        make_file(&ann, path);
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "/d/%d", i);
        promise = get(&ann, path);
        changes[i] = NULL;
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "/d/%d", i);
        changes[i] = submit(&root, setattr, .path = path, .mask = WIRE_SETATTR_MODE, .mode = 0600);
    }
    lab_run();
    struct recalled recalled = told(listen_for(&ann, &promise));
    assert_int_equal(recalled.count, LIMITS_RECALLS_MAX);
    recalled = told(listen_from(&ann, promise.generation, recalled.recalls));
    assert_int_equal(recalled.count, MANY - LIMITS_RECALLS_MAX);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(changes[i]->done, i < (int)LIMITS_RECALLS_MAX);
    struct lab_answer *wait = listen_from(&ann, promise.generation, recalled.recalls);
    for (int i = 0; i < MANY; i++)
        assert_answered(changes[i], 0);
    lab_jump(TOLD_MS);
    told(wait);
}

static void a_new_server_waits_for_those_of_the_old_one(void **state)
{
    (void)state;
    struct promise file = get(&ann, "/d/f");
    lab_restart();
    lab_connect(&ann);
    lab_connect(&root);
    struct lab_answer *change =
        submit(&root, setattr, .path = "/d/f", .mask = WIRE_SETATTR_MODE, .mode = 0600);
    lab_run();
    assert_false(ask_for(&ann, "/d/f").given);
    assert_int_equal(told(listen_for(&ann, &file)).generation, 0);
    lab_jump(TERM_MS - 1);
    assert_false(change->done);
    lab_jump(1);
    assert_answered(change, 0);
    assert_true(get(&ann, "/d/f").generation > file.generation);
}

static void without_any_a_new_server_waits_for_nothing(void **state)
{
    (void)state;
    lab_restart();
    lab_connect(&root);
    assert_ok(ask(&root, mkdir, .path = "/at-once", .mode = 0755));
}

static void a_server_that_ends_leaves_nobody_waiting(void **state)
{
    (void)state;
    struct promise file = get(&ann, "/d/f");
    struct lab_answer *wait = listen_for(&ann, &file);
    get(&bob, "/d/f");
    struct lab_answer *change =
        submit(&root, setattr, .path = "/d/f", .mask = WIRE_SETATTR_MODE, .mode = 0600);
    lab_run();
    assert_told(wait, file.ino);
    wait = listen_for(&bob, &(struct promise){0});
    told(wait);
    service_dismiss(lab.service);
    assert_answered(change, -ECANCELED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        deleg_test(ones_are_given_by_stat_and_open),
        deleg_test(a_second_name_waits_before_it_writes),
        deleg_test(who_does_not_ask_gets_none),
        deleg_test(paths_that_depend_on_more_get_none),
        deleg_test(a_name_that_is_not_there_is_the_folders),
        deleg_test(ones_own_new_name_does_not_wait),
        deleg_test(where_names_come_and_go_none_is_promised),
        deleg_test(who_has_no_plain_folder_is_promised_nothing),
        deleg_test(a_second_path_to_the_same_inode_gets_none),
        deleg_test(large_files_that_are_open_for_writing_get_none),
        deleg_test(who_has_too_many_begins_anew),
        deleg_test(others_changes_wait),
        deleg_test(a_folder_changes_with_what_is_in_it),
        deleg_test(ones_own_changes_of_what_is_named_do_not_wait),
        deleg_test(ones_own_by_its_number_does_not_wait),
        deleg_test(ones_own_by_another_path_is_recalled),
        deleg_test(a_write_keeps_ones_own),
        deleg_test(a_write_gives_none_that_was_not_there),
        deleg_test(nobody_gets_one_while_somebody_waits),
        deleg_test(all_are_waited_for),
        deleg_test(half_a_change_is_undone),
        deleg_test(a_spill_waits),
        deleg_test(paths_change_with_the_folders_that_they_go_through),
        deleg_test(a_number_depends_on_the_folders_above),
        deleg_test(who_is_silent_loses_them),
        deleg_test(who_is_heard_keeps_them),
        deleg_test(who_gives_them_up_is_not_waited_for),
        deleg_test(there_is_one_wait_for_a_client),
        deleg_test(what_does_not_fit_an_answer_comes_with_the_next),
        deleg_test(a_new_server_waits_for_those_of_the_old_one),
        small_test(without_any_a_new_server_waits_for_nothing),
        deleg_test(a_server_that_ends_leaves_nobody_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
