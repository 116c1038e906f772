/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom those wait for who tell of a folder that they hold, or have held, and what becomes of it when the
 * server is started again meanwhile, or a transaction is undone (metadata/request_held.c).
 */
#include "meta_held.h"

/* ---- who waits for whom ----------------------------------------------------------------------- */

static void telling_does_not_wait_while_it_is_recalled(void **state)
{
    (void)state;
    struct held held = hold(&ann, "/d/1");
    struct lab_answer *stat = submit(&root, stat, .path = "/d/a");
    lab_run();
    assert_false(stat->done);
    struct names names = {0};
    add_made(&names, "a", held.range.first, "text");
    struct outcome outcome = tell(&ann, &held, &names);
    assert_int_equal(outcome.count, 0);
    assert_false(outcome.late || outcome.given);
    assert_false(stat->done);
    assert_waits_for(stat, &ann, &held.folder);
    assert_int_equal(counted(DELEG_HOLDS_RECALLED), 1);
    assert_int_equal(counted(DELEG_RECALLED), 1);
    assert_text(&bob, "/d/a", "text");
}

static void what_is_removed_is_recalled_from_others(void **state)
{
    char by_number[64];
    struct names names = {0};
    (void)state;
    make_file(&root, "/d/f");
    struct held held = hold(&ann, "/d/1");
    const uint64_t ino = stored(held.folder.ino, "f", NULL);
    snprintf(by_number, sizeof by_number, "%s%llu", WEFT_INODE_PREFIX, (unsigned long long)ino);
    struct promise roots = get(&root, by_number);
    add_made(&names, "a", held.range.first, "text");
    add_removed(&names, "f", ino);
    const uint64_t reruns = lab.service->turn.counters[TURN_RERUNS].value;
    struct lab_answer *before = submit(&root, mkdir, .path = "/before", .mode = 0755);
    struct lab_answer *telling = tell_begin(&ann, &held, &names);
    lab_run();
    assert_answered(before, 0);
    assert_int_equal(lab.service->turn.counters[TURN_RERUNS].value, reruns); /* it was asked first */
    assert_false(telling->done);
    assert_stored(&held, "a", 0);
    struct lab_answer *wait =
        listen_from(&root, roots.generation, assert_told(listen_for(&root, &roots), ino));
    assert_int_equal(tell_end(telling).count, 0);
    assert_stored(&held, "a", held.range.first);
    assert_stored(&held, "f", 0);
    assert_int_equal(holds_now(), 1);
    told((lab_jump(TOLD_MS), wait));
}

/* What the teller knows of the file itself it has forgotten. */
static void ones_own_of_a_file_that_is_removed_ends(void **state)
{
    (void)state;
    make_file(&ann, "/d/f");
    get(&ann, "/d/f");
    struct held held = hold(&ann, "/d/1");
    get(&ann, "/d");
    assert_ok(tell_removed(&ann, &held, "f", stored(held.folder.ino, "f", NULL)));
    assert_ok(tell_removed(&ann, &held, "1", held.file.ino));
    assert_int_equal(lab.service->delegations.by_ino.count, 1);
    assert_int_equal(holds_now(), 1);
    assert_int_equal(counted(DELEG_RECALLED), 0);
}

static void late_ones_wait_for_who_holds_it_now(void **state)
{
    struct names names = {0};
    (void)state;
    struct held late = hold(&ann, "/d/1");
    lab_jump(TERM_MS);
    lab_jump(TERM_MS);
    struct held held = hold(&bob, "/d/2");
    assert_ok(tell_made(&bob, &held, "a", held.range.first, "bob's"));
    add_made(&names, "a", late.range.first, "ann's");
    add_made(&names, "b", late.range.first + 1, "ann's");
    struct lab_answer *telling = tell_begin(&ann, &late, &names);
    lab_run();
    assert_false(telling->done);
    struct lab_answer *wait = listen_from(&bob, held.folder.generation,
                                          assert_told(listen_for(&bob, &held.folder), held.folder.ino));
    struct outcome outcome = tell_end(telling);
    assert_false(outcome.given);
    assert_true(outcome.late);
    assert_int_equal(outcome.count, 1);
    assert_int_equal(outcome.named[0].status, EEXIST);
    assert_text(&root, "/d/a", "bob's");
    assert_text(&root, "/d/b", "ann's");
    told((lab_jump(TOLD_MS), wait));
}

/* What is refused ends nothing. */
static void a_held_folder_is_not_removed(void **state)
{
    (void)state;
    assert_ok(ask(&ann, mkdir, .path = "/d/sub", .mode = 0777));
    struct held held = hold(&ann, "/d/1"), below = hold(&ann, "/d/sub/1");
    assert_int_equal(tell_removed(&ann, &held, "sub", below.folder.ino), -EISDIR);
    assert_int_equal(holds_now(), 2);
}

/* A promise of another folder is no leave to change this one. */
static void a_hold_is_of_one_folder(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1"), bobs = make_in(&bob, "/other/3", HOLD);
    assert_true(holds(&bobs));
    held.folder.ino = bobs.folder.ino;
    add_made(&names, "a", held.range.first, "");
    struct lab_answer *telling = tell_begin(&ann, &held, &names);
    lab_run();
    assert_false(telling->done);
    lab_jump(TERM_MS);
    assert_int_equal(tell_end(telling).count, 0);
}

/* ---- what is undone, and restarts ---------------------------------------------------------------- */

static struct job spoiler;

static bool always(struct job *job)
{
    (void)job;
    return true;
}
static int spoil_run(struct job *job, struct ns *ns)
{
    (void)job;
    assert_ok(store_put(ns->txn, STORE_SYMLINKS, (struct store_bytes){"x", 1}, (struct store_bytes){"", 0}));
    return err_set(-EIO, "the test wants this to fail");
}
static void spoil_done(struct job *job, int status)
{
    (void)job;
    assert_int_not_equal(status, 0);
}
/* What was submitted before it is undone and runs again. */
static void spoil(void)
{
    spoiler = (struct job){.writes = always, .run = spoil_run, .done = spoil_done};
    turn_submit(&lab.service->turn, &spoiler);
}

static void telling_that_is_undone_is_done_once(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    struct wire_naming naming = naming_of("a", held.range.first, "text");
    naming.access = WIRE_ACCESS_WRITE;
    names_add(&names, &naming);
    add_removed(&names, "1", held.file.ino);
    struct lab_answer *telling = tell_as(&ann, ++ann.request_id, &held, &names, true);
    spoil();
    struct outcome outcome = tell_end(telling);
    assert_int_equal(outcome.count, 1);
    assert_non_null(opens_find(lab.service->opens, outcome.named[0].handle));
    assert_int_equal(opens_file_find(lab.service->opens, held.range.first)->handles, 1);
    assert_stored(&held, "a", held.range.first);
    assert_true(outcome.range.first >= held.range.first + held.range.count);
    struct held other = make_in(&bob, "/other/3", HOLD);
    assert_true(other.file.ino >= outcome.range.first + outcome.range.count);
}

static void a_hold_that_is_undone_is_given_again(void **state)
{
    struct held held;
    (void)state;
    struct lab_answer *answer = submit(&ann, open, .path = "/d/1", .flags = HOLD, .mode = 0644);
    spoil();
    lab_run();
    held_take(answer, &held);
    lab_answer_free(answer);
    assert_true(holds(&held));
    assert_int_equal(holds_now(), 1);
    assert_ok(tell_made(&ann, &held, "a", held.range.first, ""));
}

static void a_new_server_is_told_by_who_held_it(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1"), claimed = held;
    lab_restart();
    lab_connect(&ann);
    lab_connect(&bob);
    add_made(&names, "a", held.range.first, "text");
    struct outcome outcome = tell(&ann, &held, &names); /* at once */
    assert_int_equal(outcome.count, 0);
    assert_false(outcome.given || outcome.late);
    names.count = 0;
    assert_stored(&held, "a", held.range.first);
    /* Not who has no numbers, nor somebody else. */
    add_made(&names, "b", held.range.first + 1, "text");
    claimed.range.mac.bytes[0] ^= 1;
    struct outcome forged = tell(&ann, &claimed, &names);
    assert_int_equal(forged.named[0].status, EACCES);
    struct lab_answer *others = tell_begin(&bob, &held, &names);
    lab_run();
    assert_false(others->done);
    lab_jump(TERM_MS);
    lab_jump(TERM_MS);
    outcome = tell_end(others);
    assert_int_equal(outcome.named[0].status, EACCES);
    assert_true(outcome.late);
    assert_text(&bob, "/d/a", "text");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        held_test(telling_does_not_wait_while_it_is_recalled),
        held_test(what_is_removed_is_recalled_from_others),
        held_test(ones_own_of_a_file_that_is_removed_ends),
        held_test(late_ones_wait_for_who_holds_it_now),
        held_test(a_held_folder_is_not_removed),
        held_test(a_hold_is_of_one_folder),
        held_test(telling_that_is_undone_is_done_once),
        held_test(a_hold_that_is_undone_is_given_again),
        held_test(a_new_server_is_told_by_who_held_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
