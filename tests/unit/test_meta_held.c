/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders that a client holds (metadata/delegations_hold.c): who comes to hold one, who waits for that, and
 * how it ends. What is told of them is in test_meta_held_names.c and test_meta_held_waits.c.
 */
#include "meta_held.h"
#include "metadata/store_lmdb.h"

/* ---- who comes to hold one ----------------------------------------------------------- */

static void who_makes_the_first_file_holds_the_folder(void **state)
{
    (void)state;
    struct held held = hold(&ann, "/d/1");
    struct promise file = ask_for(&ann, "/d/1"), folder = ask_for(&ann, "/d");
    assert_int_equal(held.folder.ino, folder.ino);
    assert_int_equal(held.folder.generation, file.generation);
    assert_true(folder.given);
    assert_int_equal(held.gid, ann.gid);
    assert_int_equal(held.small_max, LIMIT);
    assert_int_equal(held.other_count, 0);
    assert_int_equal(held.range.count, LIMITS_INODES_GIVEN_MAX);
    assert_true(held.range.first > held.file.ino);
    assert_ok(inode_range_check(lab.conf.key, ann.id, &held.range));
    assert_int_equal(holds_now(), 1);
    assert_int_equal(counted(DELEG_HOLDS_GIVEN), 2); /* with the one of the setup */
}

static void the_store_knows_before_the_first(void **state)
{
    (void)state;
    small_setup(state);
    assert_ok(ask(&ann, mkdir, .path = "/d", .mode = 0777));
    assert_false(ask_for(&ann, "/d").given);
    struct held held = make_in(&ann, "/d/1", HOLD);
    assert_true(holds(&held));
    assert_int_equal(lab.service->delegations.noted, DELEG_NOTED);
    hold(&ann, "/d/2");
}

static void who_does_not_ask_does_not_hold(void **state)
{
    static const uint32_t flags[] = {HOLD & ~(uint32_t)WIRE_OPEN_HOLD, HOLD & ~(uint32_t)WIRE_OPEN_DELEGATE,
                                     HOLD & ~(uint32_t)WIRE_OPEN_SMALL};
    char path[32];
    (void)state;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        snprintf(path, sizeof path, "/d/%zu", i);
        struct held held = make_in(&ann, path, flags[i]);
        assert_false(holds(&held));
    }
    struct held held = make_in(&ann, "/d/0", HOLD); /* it is there already */
    assert_false(holds(&held));
    assert_int_equal(holds_now(), 0);
}

static void where_files_are_not_small_nobody_holds(void **state)
{
    (void)state;
    assert_ok(ask(&ann, layout_set, .path = "/d", .placement = WIRE_PLACEMENT_LOCAL, .host = "", .pool = ""));
    struct held held = make_in(&ann, "/d/1", HOLD);
    assert_false(holds(&held));
    assert_ok(
        ask(&ann, layout_set, .path = "/d", .placement = WIRE_PLACEMENT_SPREAD, .host = "", .pool = ""));
    hold(&ann, "/d/2");
    lab.conf.small_file = 0;
    held = make_in(&ann, "/other/3", HOLD);
    assert_false(holds(&held));
}

static void paths_that_depend_on_more_do_not_do(void **state)
{
    (void)state;
    assert_ok(ask(&ann, symlink, .path = "/link", .target = "/d"));
    get(&ann, "/other");
    struct held held = make_in(&ann, "/link/1", HOLD);
    assert_false(holds(&held));
    held = make_in(&ann, "/d/./2", HOLD);
    assert_false(holds(&held));
    hold(&ann, "/d/3");
}

static void all_that_is_there_is_told(void **state)
{
    (void)state;
    make_file(&bob, "/d/file");
    assert_ok(ask(&bob, mkdir, .path = "/d/folder", .mode = 0755));
    struct held held = hold(&ann, "/d/new");
    assert_int_equal(held.other_count, 2);
    assert_string_equal(held.others[0].name, "file");
    assert_true(held.others[0].is_file);
    assert_int_equal(held.others[0].ino, stored(held.folder.ino, "file", NULL));
    assert_string_equal(held.others[1].name, "folder");
    assert_false(held.others[1].is_file);
}

static void where_much_is_there_nobody_holds(void **state)
{
    char path[32];
    (void)state;
    for (unsigned i = 0; i <= LIMITS_HELD_OTHERS_MAX; i++) {
        snprintf(path, sizeof path, "/d/%u", i);
        make_file(&bob, path);
    }
    struct held held = make_in(&ann, "/d/new", HOLD);
    assert_false(holds(&held));
    assert_ok(ask(&ann, unlink, .path = "/d/new"));
    assert_ok(ask(&ann, unlink, .path = path));
    held = hold(&ann, "/d/new");
    assert_int_equal(held.other_count, LIMITS_HELD_OTHERS_MAX);
}

/* The files there as well as the folder: what is removed of them is not seen before it is told. */
static void where_others_rely_on_anything_nobody_holds(void **state)
{
    (void)state;
    make_file(&ann, "/d/f");
    assert_ok(ask(&bob, link, .from = "/d/f", .to = "/alias"));
    get(&bob, "/alias");
    struct held held = make_in(&ann, "/d/1", HOLD);
    assert_false(holds(&held));
    lab_jump(TERM_MS);
    lab_jump(TERM_MS);
    get(&ann, "/alias");
    hold(&ann, "/d/2");
}

/* With the next one it begins anew, which is how it gets more numbers. */
static void ones_own_request_ends_it_and_gives_another(void **state)
{
    (void)state;
    struct held first = hold(&ann, "/d/1"), second = hold(&ann, "/d/2");
    assert_int_equal(second.other_count, 1);
    assert_int_equal(second.folder.generation, first.folder.generation);
    assert_true(second.range.first >= first.range.first + first.range.count);
    assert_int_equal(holds_now(), 1);
    assert_ok(ask(&ann, mkdir, .path = "/d/sub", .mode = 0755));
    assert_int_equal(holds_now(), 0);
    assert_int_equal(counted(DELEG_RECALLED), 0);
    lab_jump(1);
    look("/d"); /* waits for nobody */
}

static void numbers_are_given_once(void **state)
{
    (void)state;
    struct held first = hold(&ann, "/d/1"), second = make_in(&ann, "/other/3", HOLD);
    struct opened file;
    assert_true(holds(&second));
    open_file(&bob, "/free", NEW | SMALL, &file);
    assert_true(second.range.first >= first.range.first + first.range.count);
    assert_true(file.file.ino >= second.range.first + second.range.count);
    lab_restart();
    lab_connect(&bob);
    lab_jump(TERM_MS + 2);
    open_file(&bob, "/free2", NEW | SMALL, &file);
    assert_true(file.file.ino >= second.range.first + second.range.count);
}

/* Several that make files in one folder do not recall each other's all the time. */
static void who_contend_for_it_do_without(void **state)
{
    (void)state;
    struct held held = hold(&ann, "/d/1");
    /* She has forgotten what she knows of the file. */
    assert_ok(ask(&ann, setattr, .path = "/d/1", .mask = WIRE_SETATTR_MODE, .mode = 0600));
    assert_int_equal(holds_now(), 1);
    assert_waits_for(submit(&bob, open, .path = "/d/2", .flags = HOLD, .mode = 0644), &ann, &held.folder);
    assert_int_equal(holds_now(), 0);
    held = make_in(&ann, "/d/3", HOLD);
    assert_false(holds(&held));
    lab_jump(TERM_MS);
    lab_jump(TERM_MS);
    hold(&ann, "/d/4");
}

static void where_somebody_waits_nobody_holds(void **state)
{
    (void)state;
    struct promise folder = get(&ann, "/d");
    struct lab_answer *change = submit(&bob, mkdir, .path = "/d/sub", .mode = 0755);
    lab_run();
    assert_false(change->done);
    struct held held = make_in(&ann, "/d/1", HOLD);
    assert_false(holds(&held));
    assert_answered(change, 0);
    struct lab_answer *wait = listen_for(&ann, &folder);
    lab_jump(TOLD_MS);
    assert_int_equal(told(wait).count, 0);
}

/* Whoever gives one that is repeated gives no other. */
static void a_repeated_open_is_answered_as_before(void **state)
{
    struct held held, again;
    (void)state;
    const uint64_t id = ++ann.request_id;
    struct lab_answer *answer = submit_as(&ann, id, open, .path = "/d/1", .flags = HOLD, .mode = 0644);
    lab_run();
    held_take(answer, &held);
    lab_answer_free(answer);
    assert_true(holds(&held));
    assert_waits_for(submit(&root, stat, .path = "/d"), &ann, &held.folder);
    lab_disconnect(&ann);
    lab_connect(&ann);
    answer = submit_as(&ann, id, open, .path = "/d/1", .flags = HOLD, .mode = 0644);
    lab_run();
    held_take(answer, &again);
    lab_answer_free(answer);
    assert_int_equal(again.folder.ino, held.folder.ino); /* it is told of what is gone: by its recalls */
    assert_int_equal(again.folder.recalls, held.folder.recalls);
    assert_int_equal(holds_now(), 0);
}

/* ---- who waits --------------------------------------------------------------------------- */

#define assert_look_waits(name, ...)                                             \
    do {                                                                         \
        char path_[32];                                                          \
        snprintf(path_, sizeof path_, "/d/%u", ++made);                          \
        lab_jump(TERM_MS);                                                       \
        lab_jump(TERM_MS);                                                       \
        struct held held_ = hold(&ann, path_);                                   \
        assert_waits_for(submit(&root, name, __VA_ARGS__), &ann, &held_.folder); \
        assert_int_equal(holds_now(), 0);                                        \
    } while (0)

static void looking_waits(void **state)
{
    unsigned made = 0;
    char folder[64], above[64];
    (void)state;
    make_file(&ann, "/d/f");
    assert_ok(ask(&ann, mkdir, .path = "/d/sub", .mode = 0755));
    assert_ok(ask(&ann, symlink, .path = "/to", .target = "/d"));
    const uint64_t ino = look("/d").ino;
    snprintf(folder, sizeof folder, "%s%llu", WEFT_INODE_PREFIX, (unsigned long long)ino);
    snprintf(above, sizeof above, "%s%llu/..", WEFT_INODE_PREFIX, (unsigned long long)look("/d/sub").ino);
    assert_look_waits(stat, .path = "/d/f");
    assert_look_waits(stat, .path = "/d");
    assert_look_waits(stat, .path = "/d/");
    assert_look_waits(stat, .path = "/d/.");
    assert_look_waits(stat, .path = "/to");
    assert_look_waits(stat, .path = "/d/sub/..");
    assert_look_waits(stat, .path = above);
    assert_look_waits(stat, .path = folder);
    assert_look_waits(stat, .path = "", .ino = ino);
    assert_look_waits(readdir, .path = "/d", .after = "");
    assert_look_waits(readdir, .path = "/", .after = ""); /* its attributes are told */
    assert_look_waits(access, .path = "/d/f", .mode = 4);
    assert_look_waits(hints_get, .path = "/d");
    assert_look_waits(xattr_list, .path = "/d");
    assert_look_waits(open, .path = "/d/f", .flags = RW | SMALL);
    assert_look_waits(mkdir, .path = "/d/new", .mode = 0755);
    assert_look_waits(unlink, .path = "/d/f");
    assert_look_waits(link, .from = "/other/1", .to = "/d/other");
}

static void a_listing_recalls_all_at_once(void **state)
{
    char path[32];
    struct held held;
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "/d/sub%u", i);
        assert_ok(ask(&ann, mkdir, .path = path, .mode = 0755));
        snprintf(path, sizeof path, "/d/sub%u/1", i);
        held = hold(&ann, path);
    }
    struct lab_answer *listing = submit(&bob, readdir, .path = "/d", .after = "");
    lab_run();
    struct recalled recalled = told(listen_for(&ann, &held.folder));
    assert_int_equal(recalled.count, 3);
    assert_false(listing->done);
    struct lab_answer *wait = listen_from(&ann, recalled.generation, recalled.recalls);
    assert_answered(listing, 0);
    lab_jump(TOLD_MS);
    told(wait);
}

/* Else who makes files in many folders would keep it from ending. */
static void a_listing_waits_once_for_each(void **state)
{
    (void)state;
    assert_ok(ask(&ann, mkdir, .path = "/d/sub1", .mode = 0755));
    assert_ok(ask(&ann, mkdir, .path = "/d/sub2", .mode = 0755));
    hold(&ann, "/d/sub1/1");
    struct held held = hold(&ann, "/d/sub2/1");
    struct lab_answer *listing = submit(&bob, readdir, .path = "/d", .after = "");
    lab_run();
    struct recalled recalled = told(listen_for(&ann, &held.folder));
    assert_int_equal(recalled.count, 2);
    struct lab_answer *wait = listen_from(&ann, recalled.generation, recalled.recalls - 1);
    assert_int_equal(holds_now(), 1);
    lab_jump(TERM_MS / 10);
    const struct held again = hold(&ann, "/d/sub1/2");
    assert_false(listing->done);
    told(wait);
    wait = listen_from(&ann, recalled.generation, recalled.recalls);
    assert_answered(listing, 0);
    assert_int_equal(holds_now(), 1);
    /* Its names are not to be seen all the same, nor its attributes by who asks now. */
    struct lab_answer *name = submit(&bob, stat, .path = "/d/sub1/3");
    listing = submit(&bob, readdir, .path = "/d", .after = "");
    lab_run();
    assert_false(name->done || listing->done);
    recalled = told(wait);
    assert_int_equal(recalled.count, 1);
    assert_int_equal(recalled.inos[0], again.folder.ino);
    wait = listen_from(&ann, recalled.generation, recalled.recalls);
    assert_answered(name, -ENOENT);
    assert_answered(listing, 0);
    lab_jump(TOLD_MS);
    told(wait);
}

/* Others know what they ask for before they ask again. */
static void what_is_not_there_waits_too(void **state)
{
    (void)state;
    struct held held = hold(&ann, "/d/1");
    struct lab_answer *stat = submit(&bob, stat, .path = "/d/none");
    lab_run();
    assert_false(stat->done);
    struct lab_answer *wait = listen_for(&ann, &held.folder);
    uint32_t recalls = assert_told(wait, held.folder.ino);
    wait = listen_from(&ann, held.folder.generation, recalls);
    assert_answered(stat, -ENOENT);
    lab_jump(TOLD_MS);
    told(wait);
}

static void passing_by_does_not_wait(void **state)
{
    (void)state;
    assert_ok(ask(&ann, mkdir, .path = "/d/sub", .mode = 0777));
    make_file(&ann, "/d/sub/f");
    const uint64_t ino = look("/d/sub").ino;
    char by_number[64];
    snprintf(by_number, sizeof by_number, "%s%llu/f", WEFT_INODE_PREFIX, (unsigned long long)ino);
    struct held held = hold(&ann, "/d/1");
    look(by_number);
    snprintf(by_number, sizeof by_number, "%s%llu/../other/1", WEFT_INODE_PREFIX,
             (unsigned long long)held.folder.ino);
    look(by_number);
    look("/other/1");
    look("/other");
    assert_int_equal(counted(DELEG_RECALLED), 0);
    assert_int_equal(holds_now(), 1);
}

static void the_holder_itself_does_not_wait(void **state)
{
    (void)state;
    struct held held = hold(&ann, "/d/1");
    assert_ok(ask(&ann, stat, .path = "/d"));
    assert_ok(ask(&ann, stat, .path = "/d/1"));
    assert_ok(ask(&ann, stat, .path = "", .ino = held.folder.ino));
    assert_ok(ask(&ann, readdir, .path = "/d", .after = ""));
    assert_ok(ask(&ann, readdir, .path = "/", .after = ""));
    struct opened file;
    open_file(&ann, "/d/1", RW | SMALL, &file);
    assert_int_equal(holds_now(), 1);
    assert_int_equal(counted(DELEG_RECALLED), 0);
}

static void a_folder_that_changes_on_the_way_ends_it(void **state)
{
    (void)state;
    struct held held = hold(&ann, "/d/1");
    struct lab_answer *change =
        submit(&root, rename, .from = "/other", .to = "/else"); /* no way that anything was given by */
    lab_run();
    assert_answered(change, 0);
    change = submit(&root, setattr, .path = "/", .mask = WIRE_SETATTR_MODE, .mode = 0755);
    lab_run();
    assert_false(change->done);
    struct recalled recalled = told(listen_for(&ann, &held.folder));
    assert_true(recalled.all);
    /* What is told meanwhile is told by who holds it. */
    struct names names = {0};
    add_made(&names, "2", held.range.first, "two");
    struct outcome outcome = tell(&ann, &held, &names);
    assert_int_equal(outcome.count, 0);
    assert_false(outcome.given || outcome.late);
    struct lab_answer *wait = listen_from(&ann, recalled.generation, recalled.recalls);
    assert_answered(change, 0);
    assert_int_equal(holds_now(), 0);
    lab_jump(TOLD_MS);
    told(wait);
}

/* ---- the end ---------------------------------------------------------------------------------- */

static void who_is_silent_holds_nothing(void **state)
{
    (void)state;
    struct held held = hold(&ann, "/d/1");
    lab_jump(TERM_MS / 2);
    struct lab_answer *stat = submit(&bob, stat, .path = "/d/1");
    lab_run();
    lab_jump(TERM_MS / 2 - 1);
    assert_false(stat->done);
    lab_jump(1);
    assert_answered(stat, 0);
    assert_int_equal(holds_now(), 0);
    assert_int_equal(counted(DELEG_HOLDS_RECALLED), 1);
    assert_true(told(listen_for(&ann, &held.folder)).all);
}

/* Not only for who has noticed first. */
static void until_the_store_knows_of_his_silence_all_wait(void **state)
{
    (void)state;
    hold(&ann, "/d/1");
    lab.monotonic_ns += TERM_MS * (uint64_t)MS;
    struct lab_answer *first = submit(&bob, stat, .path = "/d/1"),
                      *second = submit(&root, stat, .path = "/d/1"),
                      *made = submit(&root, open, .path = "/d/2", .flags = NEW | SMALL, .mode = 0644);
    service_turn(lab.service);
    assert_false(first->done || second->done || made->done);
    lab_run();
    assert_answered(first, 0);
    assert_answered(second, 0);
    assert_answered(made, 0);
}

/* Nor is it forgotten where the store fails. */
static void a_store_that_fails_is_told_later(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    lab.monotonic_ns += TERM_MS * (uint64_t)MS;
    struct lab_answer *first = submit(&bob, stat, .path = "/d/1");
    service_turn(lab.service);
    lab.world.store->dead = true;
    lab_run();
    lab.world.store->dead = false;
    assert_true(first->done);
    lab_answer_free(first);
    assert_int_equal(holds_now(), 0);
    struct lab_answer *second = submit(&bob, stat, .path = "/d/1");
    lab_run();
    assert_false(second->done);
    lab_jump(TERM_MS);
    assert_answered(second, 0);
    lab_restart();
    lab_connect(&ann);
    add_made(&names, "2", held.range.first, "text");
    struct lab_answer *telling = tell_begin(&ann, &held, &names);
    lab_run();
    lab_jump(TERM_MS);
    assert_true(tell_end(telling).late);
}

/* Nobody has asked in the meantime. */
static void one_that_has_ended_by_time_holds_up_nobody(void **state)
{
    (void)state;
    hold(&ann, "/d/1");
    lab.monotonic_ns += TERM_MS * (uint64_t)MS;
    look("/d");
    assert_int_equal(holds_now(), 0);
}

/* ---- a server that was just started -------------------------------------------------- */

/* The holder is waited for: he has to tell what he has done. */
static void a_new_server_waits_for_who_held_it(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    make_file(&bob, "/other/f");
    lab_restart();
    lab_connect(&ann);
    lab_connect(&bob);
    struct lab_answer *stat = submit(&bob, stat, .path = "/d/2");
    look("/other/f"); /* where nobody holds anything, nobody waits */
    lab_jump(5 * TERM_MS);
    assert_false(stat->done);
    /* What he asks for is answered with a recall of everything, which he acknowledges when all is told. */
    struct lab_answer *wait = listen_from(&ann, held.folder.generation, held.folder.recalls);
    lab_run();
    assert_true(wait->done);
    struct wire_delegation_wait_reply reply;
    decode_answer(wait, delegation_wait_reply, &reply);
    assert_true(reply.all && reply.delegation.generation > held.folder.generation);
    const struct wire_delegation now = reply.delegation;
    lab_answer_free(wait);
    add_made(&names, "2", held.range.first, "text");
    assert_false(tell(&ann, &held, &names).late);
    lab_run();
    assert_false(stat->done);
    wait = listen_from(&ann, now.generation, now.recalls);
    lab_run();
    assert_answered(stat, 0);
    assert_int_equal(holds_now(), 0);
    lab_jump(TERM_MS);
    lab_answer_free(wait);
}

static void a_new_server_does_not_wait_for_ever(void **state)
{
    (void)state;
    hold(&ann, "/d/1");
    lab_restart();
    lab_connect(&bob);
    struct lab_answer *stat = submit(&bob, stat, .path = "/d/1");
    struct lab_answer *made = submit(&bob, open, .path = "/d/2", .flags = NEW | SMALL, .mode = 0644);
    lab_jump(lab.conf.lease_ms - TERM_MS);
    assert_false(stat->done || made->done);
    lab_jump(TERM_MS);
    lab_jump(TERM_MS);
    assert_answered(stat, 0);
    assert_answered(made, 0);
    look("/d/1");
}

/* What was given up before is not waited for. */
static void a_new_server_knows_what_was_given_up(void **state)
{
    (void)state;
    struct held held = hold(&ann, "/d/1");
    assert_ok(ask(&ann, mkdir, .path = "/d/sub", .mode = 0755)); /* which ends it */
    assert_int_equal(holds_now(), 0);
    lab_run();
    lab_restart();
    lab_connect(&bob);
    look("/d/1");
    assert_int_equal(holds_now(), 0);
    (void)held;
}

/* Who was silent for too long is not taken for the holder, even if the server ends in this moment. */
static void who_lost_it_is_late_after_a_start(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    lab.monotonic_ns += TERM_MS * (uint64_t)MS;
    look("/d");
    lab_restart();
    lab_connect(&ann);
    add_made(&names, "2", held.range.first, "text");
    struct lab_answer *telling = tell_begin(&ann, &held, &names);
    lab_run();
    lab_jump(TERM_MS);
    assert_true(tell_end(telling).late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        held_test(who_makes_the_first_file_holds_the_folder),
        cmocka_unit_test_teardown(the_store_knows_before_the_first, lab_teardown),
        held_test(who_does_not_ask_does_not_hold),
        held_test(where_files_are_not_small_nobody_holds),
        held_test(paths_that_depend_on_more_do_not_do),
        held_test(all_that_is_there_is_told),
        held_test(where_much_is_there_nobody_holds),
        held_test(where_others_rely_on_anything_nobody_holds),
        held_test(ones_own_request_ends_it_and_gives_another),
        held_test(numbers_are_given_once),
        held_test(who_contend_for_it_do_without),
        held_test(where_somebody_waits_nobody_holds),
        held_test(a_repeated_open_is_answered_as_before),
        held_test(looking_waits),
        held_test(a_listing_recalls_all_at_once),
        held_test(a_listing_waits_once_for_each),
        held_test(what_is_not_there_waits_too),
        held_test(passing_by_does_not_wait),
        held_test(the_holder_itself_does_not_wait),
        held_test(a_folder_that_changes_on_the_way_ends_it),
        held_test(who_is_silent_holds_nothing),
        held_test(until_the_store_knows_of_his_silence_all_wait),
        held_test(a_store_that_fails_is_told_later),
        held_test(one_that_has_ended_by_time_holds_up_nobody),
        held_test(a_new_server_waits_for_who_held_it),
        held_test(a_new_server_does_not_wait_for_ever),
        held_test(a_new_server_knows_what_was_given_up),
        held_test(who_lost_it_is_late_after_a_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
