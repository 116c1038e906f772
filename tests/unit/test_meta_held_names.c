/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client tells of a folder that it holds, or has held (metadata/request_held.c).
 */
#include "meta_held.h"

static const char long_text[LIMIT + 2] = {[0 ... LIMIT] = 'x'};

/* ---- making and removing ------------------------------------------------------------------ */

static void names_are_made_and_removed(void **state)
{
    struct names names = {0};
    struct inode inode, dir;
    (void)state;
    struct held held = hold(&ann, "/d/1");
    const uint64_t first = held.range.first, last = first + held.range.count - 1;
    add_made(&names, "a", first, "text of a");
    add_made(&names, "empty", last, "");
    add_removed(&names, "1", held.file.ino);
    const int64_t made_ns = lab.realtime_ns - 2000, changed_ns = lab.realtime_ns - 1000;
    lab_jump(10);
    struct outcome outcome = tell(&ann, &held, &names);
    assert_int_equal(outcome.count, 0);
    assert_true(outcome.given);
    assert_int_equal(outcome.generation, held.folder.generation);
    assert_stored(&held, "1", 0);
    assert_stored(&held, "empty", last);
    assert_int_equal(stored(held.folder.ino, "a", &inode), first);
    assert_int_equal(inode.mode, S_IFREG | 0640);
    assert_int_equal(inode.uid, ann.uid);
    assert_int_equal(inode.gid, ann.gid);
    assert_int_equal(inode.nlink, 1);
    assert_int_equal(inode.flags, INODE_SMALL);
    assert_int_equal(inode.size, 9);
    assert_int_equal(inode.bytes, 512);
    assert_int_equal(inode.atime_ns, made_ns);
    assert_int_equal(inode.mtime_ns, changed_ns);
    assert_int_equal(inode.ctime_ns, changed_ns);
    assert_int_equal(inode.layout.seed, layout_seed(first));
    const struct inode pattern = stored_inode(held.file.ino == 0 ? first : last);
    assert_int_equal(pattern.layout.chunk_size, inode.layout.chunk_size);
    assert_int_equal(inode.layout.chunk_size, lab.conf.chunk_size);
    assert_string_equal(inode.pool, "main");
    dir = stored_inode(held.folder.ino);
    assert_int_equal(dir.mtime_ns, lab.realtime_ns - 10 * MS); /* when the first file was made */
    assert_int_equal(holds_now(), 1);
    assert_int_equal(counted(DELEG_NAMES_REQUESTS), 1);
    assert_int_equal(counted(DELEG_NAMES_MADE), 2);
    assert_int_equal(counted(DELEG_NAMES_REMOVED), 1);
    assert_text(&ann, "/d/a", "text of a");
    assert_text(&ann, "/d/empty", "");
}

static void the_folder_has_the_time_of_its_latest_change(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    lab_jump(100);
    add_made(&names, "a", held.range.first, "");
    const int64_t changed_ns = lab.realtime_ns - 2000; /* made then, and written to later */
    add_removed(&names, "gone", 12345); /* which changes nothing */
    lab_jump(100);
    assert_int_equal(tell(&ann, &held, &names).count, 0);
    struct inode dir = stored_inode(held.folder.ino);
    assert_int_equal(dir.mtime_ns, changed_ns);
    assert_int_equal(dir.ctime_ns, changed_ns);
}

static void times_are_within_reason(void **state)
{
    struct inode inode;
    (void)state;
    struct held held = hold(&ann, "/d/1");
    struct wire_naming naming = naming_of("past", held.range.first, "x");
    naming.made_ns = naming.changed_ns = INT64_MIN;
    assert_ok(tell_one(&ann, &held, &naming));
    stored(held.folder.ino, "past", &inode);
    assert_int_equal(inode.atime_ns, 0);
    assert_int_equal(inode.mtime_ns, 0);
    naming = naming_of("future", held.range.first + 1, "x");
    naming.made_ns = naming.changed_ns = INT64_MAX;
    assert_ok(tell_one(&ann, &held, &naming));
    stored(held.folder.ino, "future", &inode);
    assert_int_equal(inode.atime_ns, lab.realtime_ns);
    assert_int_equal(inode.mtime_ns, lab.realtime_ns);
    naming = naming_of("ahead", held.range.first + 2, "x");
    naming.changed_ns = lab.realtime_ns + MS;
    assert_ok(tell_one(&ann, &held, &naming));
    stored(held.folder.ino, "ahead", &inode);
    assert_int_equal(inode.mtime_ns, lab.realtime_ns + MS);
    assert_int_equal(inode.mtime_base_ns, lab.realtime_ns);
}

static void what_is_told_again_is_done(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    add_made(&names, "a", held.range.first, "text");
    add_removed(&names, "1", held.file.ino);
    const uint64_t id = ++ann.request_id;
    assert_int_equal(tell_end(tell_as(&ann, id, &held, &names, false)).count, 0);
    const struct inode dir = stored_inode(held.folder.ino);
    assert_int_equal(tell(&ann, &held, &names).count, 0);
    lab_disconnect(&ann);
    lab_connect(&ann);
    assert_int_equal(tell_end(tell_as(&ann, id, &held, &names, false)).count, 0);
    assert_int_equal(counted(DELEG_NAMES_REQUESTS), 2);
    assert_int_equal(counted(DELEG_NAMES_MADE), 1);
    assert_int_equal(counted(DELEG_NAMES_REMOVED), 1);
    assert_int_equal(stored_inode(held.folder.ino).ctime_ns, dir.ctime_ns);
}

/* Removed before it was answered, and the name was given anew. */
static void a_removal_is_done_when_its_file_is_gone(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    add_removed(&names, "1", held.file.ino);
    assert_int_equal(tell(&ann, &held, &names).count, 0);
    assert_ok(tell_made(&ann, &held, "1", held.range.first, "another"));
    assert_int_equal(tell(&ann, &held, &names).count, 0);
    assert_stored(&held, "1", held.range.first);
}

/* Each by itself, and the others are done. */
static void conflicts_are_told_name_by_name(void **state)
{
    static const int expected[] = {EEXIST, EEXIST, EACCES, EACCES, EFBIG,  EINVAL, EINVAL,
                                   EINVAL, EINVAL, ESTALE, EISDIR, EEXIST, EINVAL};
    struct names names = {0};
    (void)state;
    assert_ok(ask(&ann, mkdir, .path = "/d/sub", .mode = 0755));
    struct held held = hold(&ann, "/d/1");
    const uint64_t first = held.range.first;
    assert_ok(tell_made(&ann, &held, "there", first, "one"));
    add_made(&names, "good", first + 1, "good");
    add_made(&names, "there", first + 2, "two");
    add_made(&names, "else", first, "the number is used");
    add_made(&names, "below", first - 1, "");
    add_made(&names, "above", first + held.range.count, "");
    add_made(&names, "long", first + 3, long_text);
    add_made(&names, "", first + 4, "");
    add_made(&names, ".", first + 4, "");
    add_made(&names, "..", first + 4, "");
    add_made(&names, "a/b", first + 4, "");
    add_removed(&names, "there", held.file.ino);
    add_removed(&names, "sub", stored(held.folder.ino, "sub", NULL));
    add_made(&names, "1", first + 6, "");
    add_removed(&names, "..", held.folder.ino);
    add_made(&names, "last", first + 7, "last");
    struct outcome outcome = tell(&ann, &held, &names);
    const size_t count = sizeof expected / sizeof expected[0];
    assert_int_equal(outcome.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(outcome.named[i].place, i + 1);
        assert_int_equal(outcome.named[i].status, expected[i]);
        assert_int_equal(outcome.named[i].handle, 0);
    }
    assert_stored(&held, "good", first + 1);
    assert_stored(&held, "last", first + 7);
    assert_stored(&held, "there", first);
    assert_stored(&held, "1", held.file.ino);
    assert_stored(&held, "else", 0);
    assert_int_equal(rows(STORE_INODES), 1 + 3 + 3 + 3); /* the root, folders, files of before, and these */
}

static void a_full_file_is_taken(void **state)
{
    char text[LIMIT + 1];
    (void)state;
    struct held held = hold(&ann, "/d/1");
    snprintf(text, sizeof text, "%s", long_text);
    assert_int_equal(strlen(text), LIMIT);
    assert_ok(tell_made(&ann, &held, "full", held.range.first, text));
    assert_text(&ann, "/d/full", text);
}

/* In one request a name may come and go. */
static void they_are_done_in_order(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    add_made(&names, "a", held.range.first, "1");
    add_removed(&names, "a", held.range.first);
    add_made(&names, "a", held.range.first + 1, "2");
    assert_int_equal(tell(&ann, &held, &names).count, 0);
    assert_stored(&held, "a", held.range.first + 1);
}

/* It spilled, and what the storage servers have of it is in line to be removed. */
static void a_number_whose_objects_are_being_removed_is_used(void **state)
{
    struct opened file;
    (void)state;
    struct held held = hold(&ann, "/d/1");
    assert_ok(tell_made(&ann, &held, "a", held.range.first, "text"));
    open_file(&ann, "/d/a", RW | SMALL, &file);
    spill(&ann, &file);
    lab.answers = false;
    lab_close_and_wait(&ann, &file.file, true);
    assert_ok(tell_removed(&ann, &held, "a", held.range.first));
    assert_int_equal(rows(STORE_REMOVALS), 1);
    assert_int_equal(tell_made(&ann, &held, "a", held.range.first, "text"), -EEXIST);
    lab.answers = true;
    lab_run();
    assert_int_equal(rows(STORE_REMOVALS), 0); /* at once, not with the next sweep */
}

static void one_in_use_stays_until_it_is_closed(void **state)
{
    struct opened file;
    (void)state;
    struct held held = hold(&ann, "/d/1");
    assert_ok(tell_made(&ann, &held, "a", held.range.first, "text"));
    open_file(&ann, "/d/a", RW | SMALL, &file);
    assert_ok(tell_removed(&ann, &held, "a", held.range.first));
    assert_reads(&ann, &file, "text", 4);
    assert_int_equal(stored_inode(held.range.first).nlink, 0);
    assert_int_equal(tell_made(&ann, &held, "a", held.range.first, "text"), -EEXIST);
    lab_close_and_wait(&ann, &file.file, false);
    assert_int_equal(rows(STORE_SMALL), 0);
}

static void the_last_of_two_names_ends_it(void **state)
{
    (void)state;
    struct held held = hold(&ann, "/d/1");
    assert_ok(ask(&ann, link, .from = "/d/1", .to = "/d/2"));
    assert_ok(tell_removed(&ann, &held, "1", held.file.ino));
    assert_int_equal(stored_inode(held.file.ino).nlink, 1);
}

/* ---- files that are open ----------------------------------------------------------------- */

static void files_are_open_as_is_told(void **state)
{
    struct names names = {0};
    struct opened file = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    struct wire_naming naming = naming_of("a", held.range.first, "text");
    naming.access = WIRE_ACCESS_READ | WIRE_ACCESS_WRITE;
    add_made(&names, "closed", held.range.first + 1, "");
    names_add(&names, &naming);
    struct outcome outcome = tell(&ann, &held, &names);
    assert_int_equal(outcome.count, 1);
    assert_int_equal(outcome.named[0].place, 1);
    assert_int_equal(outcome.named[0].status, 0);
    file.file.handle = outcome.named[0].handle;
    file.file.capability = outcome.named[0].capability;
    assert_int_equal(file.file.capability.ino, held.range.first);
    assert_int_equal(file.file.capability.layout.seed, layout_seed(held.range.first));
    assert_ok(capability_check(lab.conf.key, &file.file.capability, naming.access));
    assert_int_equal(write_text(&ann, &file, 4, " and more"), 0);
    assert_reads(&ann, &file, "text and more", 13);
    /* Told again, it is the same one. */
    outcome = tell(&ann, &held, &names);
    assert_int_equal(outcome.count, 1);
    assert_int_equal(outcome.named[0].handle, file.file.handle);
    lab_close_and_wait(&ann, &file.file, true);
    outcome = tell(&ann, &held, &names);
    assert_int_equal(outcome.count, 1);
    assert_int_not_equal(outcome.named[0].handle, file.file.handle);
    assert_int_equal(opens_file_find(lab.service->opens, held.range.first)->writers, 1);
    assert_int_equal(opens_file_find(lab.service->opens, held.range.first)->handles, 1);
}

/* Whoever has set the mode of a file since it was made is not got around by telling of it again. */
static void what_is_told_again_is_opened_as_its_mode_says(void **state)
{
    struct names names = {0};
    struct opened file = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    struct wire_naming naming = naming_of("a", held.range.first, "text");
    naming.access = WIRE_ACCESS_READ | WIRE_ACCESS_WRITE;
    naming.mode = 0400;
    names_add(&names, &naming);
    struct outcome outcome = tell(&ann, &held, &names);
    assert_int_equal(outcome.named[0].status, 0);
    file.file.handle = outcome.named[0].handle;
    file.file.capability = outcome.named[0].capability;
    assert_int_equal(tell(&ann, &held, &names).named[0].handle, file.file.handle); /* it is open already */
    lab_close_and_wait(&ann, &file.file, true);
    outcome = tell(&ann, &held, &names);
    assert_int_equal(outcome.count, 1);
    assert_int_equal(outcome.named[0].status, EACCES);
    assert_int_equal(outcome.named[0].handle, 0);
    assert_stored(&held, "a", held.range.first);
}

/* Meanwhile somebody has made it one of the storage servers'. */
static void one_that_has_spilled_is_opened_as_such(void **state)
{
    struct names names = {0};
    struct lab_file file = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    struct wire_naming naming = naming_of("a", held.range.first, "text");
    naming.access = WIRE_ACCESS_WRITE;
    assert_ok(tell_made(&ann, &held, "a", held.range.first, "text"));
    assert_ok(lab_open(&ann, "/d/a", RW, &file));
    lab_close_and_wait(&ann, &file, true);
    assert_false(stored_inode(held.range.first).flags & (INODE_SMALL | INODE_SIZE_OPEN));
    names_add(&names, &naming);
    struct outcome outcome = tell(&ann, &held, &names);
    assert_int_equal(outcome.count, 1);
    assert_true(stored_inode(held.range.first).flags & INODE_SIZE_OPEN);
    assert_int_equal(rows(STORE_WRITERS), 1);
    /* One whose close is under way does not do. */
    const uint64_t first = outcome.named[0].handle;
    assert_ok(lab_close(&ann, &(struct wire_closing){.handle = first}));
    outcome = tell(&ann, &held, &names);
    assert_int_equal(outcome.count, 1);
    assert_int_not_equal(outcome.named[0].handle, first);
}

static void they_end_with_their_client(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    struct wire_naming naming = naming_of("a", held.range.first, "text");
    naming.access = WIRE_ACCESS_WRITE;
    names_add(&names, &naming);
    assert_int_equal(tell(&ann, &held, &names).count, 1);
    lab_disconnect(&ann);
    lab_live(2 * lab.conf.lease_ms);
    assert_null(opens_file_find(lab.service->opens, held.range.first));
    lab_connect(&ann);
}

/* ---- who may ------------------------------------------------------------------------------- */

static void numbers_of_somebody_else_are_refused(void **state)
{
    (void)state;
    struct held anns = hold(&ann, "/d/1"), bobs = make_in(&bob, "/other/3", HOLD);
    assert_true(holds(&bobs));
    struct held stolen = anns;
    stolen.range = bobs.range;
    assert_int_equal(tell_made(&ann, &stolen, "a", bobs.range.first, ""), -EACCES);
    stolen.range = anns.range;
    stolen.range.first++;
    assert_int_equal(tell_made(&ann, &stolen, "a", anns.range.first + 1, ""), -EACCES);
    stolen.range = anns.range;
    stolen.range.mac.bytes[15] ^= 1;
    assert_int_equal(tell_made(&ann, &stolen, "a", anns.range.first, ""), -EACCES);
    stolen.range = (struct wire_inode_range){0};
    inode_range_sign(lab.conf.key, ann.id, &stolen.range);
    assert_int_equal(tell_made(&ann, &stolen, "a", 0, ""), -EACCES);
    assert_ok(tell_removed(&ann, &stolen, "1", anns.file.ino)); /* needs none */
}

static void who_may_not_write_to_the_folder_is_refused(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    lab_jump(TERM_MS);
    lab_jump(TERM_MS);
    assert_ok(ask(&ann, setattr, .path = "/d", .mask = WIRE_SETATTR_MODE, .mode = 0555));
    add_made(&names, "a", held.range.first, "");
    add_removed(&names, "1", held.file.ino);
    struct outcome outcome = tell(&ann, &held, &names);
    assert_int_equal(outcome.count, 2);
    assert_int_equal(outcome.named[0].status, EACCES);
    assert_int_equal(outcome.named[1].status, EACCES);
    assert_ok(ask(&ann, setattr, .path = "/d", .mask = WIRE_SETATTR_MODE, .mode = 0777));
    /* Nor who could not have got there. */
    assert_ok(ask(&ann, mkdir, .path = "/d/sub", .mode = 0777));
    held.folder.ino = look("/d/sub").ino;
    assert_ok(tell_made(&ann, &held, "a", held.range.first, ""));
    assert_ok(ask(&root, setattr, .path = "/d", .mask = WIRE_SETATTR_MODE | WIRE_SETATTR_UID, .mode = 0700,
                  .uid = 0));
    assert_int_equal(tell_made(&ann, &held, "b", held.range.first + 1, ""), -EACCES);
}

/* It is answered at once. */
static void who_may_not_write_recalls_nothing(void **state)
{
    struct names names = {0};
    (void)state;
    struct held anns = hold(&ann, "/d/1");
    assert_ok(ask(&bob, mkdir, .path = "/bobs", .mode = 0755));
    struct held bobs = hold(&bob, "/bobs/1"), claimed = anns;
    claimed.folder.ino = bobs.folder.ino;
    add_made(&names, "a", anns.range.first, "");
    struct outcome outcome = tell(&ann, &claimed, &names);
    assert_int_equal(outcome.named[0].status, EACCES);
    assert_int_equal(counted(DELEG_RECALLED), 0);
    assert_int_equal(holds_now(), 2);
}

/* What is no file of this name and number is not recalled from those who rely on it. */
static void a_removal_of_another_file_recalls_nothing(void **state)
{
    char by_number[64];
    (void)state;
    make_file(&root, "/d/f");
    struct held held = hold(&ann, "/d/1");
    snprintf(by_number, sizeof by_number, "%s%llu", WEFT_INODE_PREFIX,
             (unsigned long long)stored(held.folder.ino, "f", NULL));
    get(&root, by_number);
    assert_int_equal(tell_removed(&ann, &held, "f", held.file.ino), -ESTALE);
    assert_int_equal(counted(DELEG_RECALLED), 0);
}

static void the_sticky_bit_counts(void **state)
{
    (void)state;
    make_file(&ann, "/d/anns");
    const uint64_t ino = look("/d/anns").ino;
    assert_ok(ask(&ann, setattr, .path = "/d", .mask = WIRE_SETATTR_MODE, .mode = 01777));
    struct held held = hold(&bob, "/d/bobs");
    assert_int_equal(tell_removed(&bob, &held, "anns", ino), -EPERM);
    assert_ok(tell_removed(&bob, &held, "bobs", held.file.ino));
}

static void the_folders_group_is_its_files(void **state)
{
    struct inode inode;
    (void)state;
    assert_ok(ask(&root, setattr, .path = "/d", .mask = WIRE_SETATTR_MODE | WIRE_SETATTR_GID, .mode = 02777,
                  .gid = 4711));
    struct held held = hold(&ann, "/d/1");
    assert_int_equal(held.gid, 4711);
    assert_ok(tell_made(&ann, &held, "a", held.range.first, ""));
    stored(held.folder.ino, "a", &inode);
    assert_int_equal(inode.gid, 4711);
    assert_int_equal(inode.uid, ann.uid);
    assert_int_equal(inode.mode, S_IFREG | 0640);
}

/* ---- what makes no sense --------------------------------------------------------------------- */

static void folders_that_are_none_are_refused(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1"), wrong = held;
    add_made(&names, "a", held.range.first, "");
    wrong.folder.ino = held.file.ino;
    struct lab_answer *answer = tell_begin(&ann, &wrong, &names);
    lab_run();
    assert_answered(answer, -ESTALE);
    wrong.folder.ino = 123456;
    answer = tell_begin(&ann, &wrong, &names);
    lab_run();
    assert_answered(answer, -ESTALE);
}

static void damaged_lists_are_refused(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    add_made(&names, "a", held.range.first, "text");
    add_made(&names, "b", held.range.first + 1, "text");
    struct wire_list list = wire_list_of(&names.writer, 2);
    for (int i = 0; i < 2; i++) {
        list.encoded.length -= i == 0;
        list.count = i == 0 ? 2 : 1; /* the second time more than was said */
        assert_int_equal(ask(&ann, names, .folder = held.folder.ino,
                             .range = held.range, .namings = list),
                         -EBADMSG);
    }
    assert_stored(&held, "a", 0);
    names.count = 0;
    names.writer = wire_writer_on(names.bytes, sizeof names.bytes);
    assert_int_equal(tell(&ann, &held, &names).count, 0);
}

/* ---- numbers ------------------------------------------------------------------------------------ */

static void who_holds_it_gets_more_numbers(void **state)
{
    struct names names = {0};
    (void)state;
    struct held held = hold(&ann, "/d/1");
    add_made(&names, "a", held.range.first, "");
    struct outcome outcome = tell_end(tell_as(&ann, ++ann.request_id, &held, &names, true));
    assert_int_equal(outcome.range.count, LIMITS_INODES_GIVEN_MAX);
    assert_true(outcome.range.first >= held.range.first + held.range.count);
    struct held more = held;
    more.range = outcome.range;
    assert_ok(tell_made(&ann, &more, "b", outcome.range.first, ""));
    struct lab_answer *stat = submit(&root, stat, .path = "/d/b");
    lab_run();
    assert_false(stat->done);
    outcome = tell_end(tell_as(&ann, ++ann.request_id, &held, &names, true));
    assert_false(outcome.given);
    assert_int_equal(outcome.range.count, 0);
    assert_waits_for(stat, &ann, &held.folder);
    assert_int_equal(tell_end(tell_as(&ann, ++ann.request_id, &held, &names, true)).range.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        held_test(names_are_made_and_removed),
        held_test(the_folder_has_the_time_of_its_latest_change),
        held_test(times_are_within_reason),
        held_test(what_is_told_again_is_done),
        held_test(a_removal_is_done_when_its_file_is_gone),
        held_test(conflicts_are_told_name_by_name),
        held_test(a_full_file_is_taken),
        held_test(they_are_done_in_order),
        held_test(a_number_whose_objects_are_being_removed_is_used),
        held_test(one_in_use_stays_until_it_is_closed),
        held_test(the_last_of_two_names_ends_it),
        held_test(files_are_open_as_is_told),
        held_test(what_is_told_again_is_opened_as_its_mode_says),
        held_test(one_that_has_spilled_is_opened_as_such),
        held_test(they_end_with_their_client),
        held_test(numbers_of_somebody_else_are_refused),
        held_test(who_may_not_write_to_the_folder_is_refused),
        held_test(who_may_not_write_recalls_nothing),
        held_test(a_removal_of_another_file_recalls_nothing),
        held_test(the_sticky_bit_counts),
        held_test(the_folders_group_is_its_files),
        held_test(folders_that_are_none_are_refused),
        held_test(damaged_lists_are_refused),
        held_test(who_holds_it_gets_more_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
