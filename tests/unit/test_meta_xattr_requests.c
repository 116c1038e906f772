/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests about extended attributes: by path and by open file, repeated after a lost answer and after a
 * restart, and with delegations; and that nothing is left of them when a file ends that was in use.
 */
#include "meta_small.h"

static struct wire_bytes bytes_of(const char *text)
{
    return (struct wire_bytes){(const uint8_t *)text, (uint32_t)strlen(text)};
}

static int set(struct lab_client *client, const char *path, const char *name, const char *text)
{
    return ask(client, xattr_set, .path = path, .name = name, .value = bytes_of(text));
}

static int set_open(struct lab_client *client, const struct wire_capability *capability, const char *text)
{
    return ask(client, xattr_set, .path = "", .capability = *capability, .name = "user.a",
               .value = bytes_of(text));
}

/* The value and a NUL; "-" when there is none. */
static const char *value_of(struct lab_client *client, const char *path, const char *name)
{
    static char text[256];
    struct lab_answer *answer = submit(client, xattr_get, .path = path, .name = name);
    struct wire_xattr_get_reply reply;
    lab_run();
    snprintf(text, sizeof text, "-");
    if (answer->status != -ENODATA) {
        decode_answer(answer, xattr_get_reply, &reply);
        snprintf(text, sizeof text, "%.*s", (int)reply.value.length, (const char *)reply.value.data);
    }
    lab_answer_free(answer);
    return text;
}

/* ---- by path and by open file ------------------------------------------- */

static void an_open_file_is_judged_by_its_mode(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(set_open(&ann, &file.capability, "one"));
    assert_string_equal(value_of(&ann, "/f", "user.a"), "one");
    /* bob may read it, whatever ann had opened it for. */
    assert_result(set_open(&bob, &file.capability, "two"), -EACCES);
    assert_ok(ask(&ann, unlink, .path = "/f"));
    assert_ok(set_open(&ann, &file.capability, "three"));
    lab_close_and_wait(&ann, &file, false);
    assert_result(set_open(&ann, &file.capability, "four"), -ESTALE);
    assert_int_equal(rows(STORE_XATTRS), 0);
}

static void only_what_was_opened_counts_as_an_open_file(void **state)
{
    struct lab_file file;
    struct wire_stat_reply reply;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    struct wire_capability capability = file.capability;
    capability.ino++;
    assert_result(set_open(&ann, &capability, "x"), -EACCES);
    capability = file.capability;
    capability.mac.bytes[3] ^= 1;
    assert_result(set_open(&ann, &capability, "x"), -EACCES);
    /* What a look at the number tells. */
    struct lab_answer *answer = submit(&ann, stat, .path = "", .ino = file.ino);
    lab_run();
    decode_answer(answer, stat_reply, &reply);
    assert_int_equal(reply.attr.size_open, 1);
    assert_result(set_open(&ann, &reply.capability, "x"), -EACCES);
    lab_answer_free(answer);
    assert_int_equal(rows(STORE_XATTRS), 0);
}

static void links_are_followed_unless_they_are_meant(void **state)
{
    (void)state;
    assert_ok(ask(&root, mkdir, .path = "/d", .mode = 0755));
    assert_ok(ask(&root, symlink, .target = "d", .path = "/l"));
    assert_ok(set(&root, "/l", "trusted.a", "directory"));
    assert_string_equal(value_of(&root, "/d", "trusted.a"), "directory");
    assert_ok(ask(&root, xattr_set, .path = "/l", .flags = WEFT_STAT_NOFOLLOW, .name = "trusted.a",
                  .value = bytes_of("link")));
    assert_string_equal(value_of(&root, "/d", "trusted.a"), "directory");
    assert_ok(ask(&root, xattr_remove, .path = "/l", .name = "trusted.a"));
    assert_string_equal(value_of(&root, "/d", "trusted.a"), "-");
    assert_int_equal(rows(STORE_XATTRS), 1);
    assert_result(set(&root, "/none", "user.a", "x"), -ENOENT);
}

static void the_attributes_tell_whether_there_are_any(void **state)
{
    (void)state;
    assert_ok(ask(&ann, mkdir, .path = "/d", .mode = 0755));
    assert_int_equal(look("/d").xattrs, 0);
    assert_ok(set(&ann, "/d", "user.a", "x"));
    assert_int_equal(look("/d").xattrs, 1);
    assert_ok(ask(&ann, xattr_remove, .path = "/d", .name = "user.a"));
    assert_int_equal(look("/d").xattrs, 0);
}

/* ---- repeated ------------------------------------------------------------ */

static int create_as(uint64_t id)
{
    return ask_as(&ann, id, xattr_set, .path = "/d", .flags = WEFT_XATTR_CREATE, .name = "user.a",
                  .value = bytes_of("first"));
}

static int remove_as(uint64_t id)
{
    return ask_as(&ann, id, xattr_remove, .path = "/d", .name = "user.a");
}

static void what_is_repeated_is_done_once(void **state)
{
    (void)state;
    assert_ok(ask(&ann, mkdir, .path = "/d", .mode = 0777));
    const uint64_t made = ++ann.request_id;
    assert_ok(create_as(made));
    /* Somebody else changes it before the request comes again. */
    assert_ok(set(&bob, "/d", "user.a", "second"));
    lab_disconnect(&ann);
    lab_connect(&ann);
    assert_ok(create_as(made));
    assert_string_equal(value_of(&bob, "/d", "user.a"), "second");
    lab_restart();
    lab_connect(&ann);
    lab_connect(&bob);
    assert_ok(create_as(made));
    assert_string_equal(value_of(&bob, "/d", "user.a"), "second");
    const uint64_t removed = ++ann.request_id;
    assert_ok(remove_as(removed));
    assert_ok(set(&bob, "/d", "user.a", "third"));
    lab_restart();
    lab_connect(&ann);
    lab_connect(&bob);
    assert_ok(remove_as(removed));
    assert_string_equal(value_of(&bob, "/d", "user.a"), "third");
    assert_result(create_as(++ann.request_id), -EEXIST);
}

/* ---- many ------------------------------------------------------------------ */

/* More than the journal takes, and than there is room for in the store's map when the turn begins. */
static void many_long_values_in_one_turn_are_all_kept(void **state)
{
    enum { FOLDERS = 200, EACH = 3 };
    static uint8_t value[WEFT_XATTR_VALUE_BYTES_MAX];
    struct lab_answer *answers[FOLDERS * EACH];
    char path[32], name[32];
    (void)state;
    for (unsigned i = 0; i < FOLDERS; i++) {
        snprintf(path, sizeof path, "/d%u", i);
        assert_ok(ask(&ann, mkdir, .path = path, .mode = 0755));
    }
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < FOLDERS * EACH; i++) {
        snprintf(path, sizeof path, "/d%u", i / EACH);
        snprintf(name, sizeof name, "user.%u", i % EACH);
        answers[i] = submit(&ann, xattr_set, .path = path, .name = name, .value = {value, sizeof value});
    }
    lab_run();
    for (unsigned i = 0; i < FOLDERS * EACH; i++)
        assert_answered(answers[i], 0);
    lab_restart();
    lab_connect(&ann);
    assert_int_equal(rows(STORE_XATTRS), FOLDERS * EACH);
    assert_int_equal(strlen(value_of(&ann, "/d0", "user.2")), 255);
    for (unsigned i = 0; i < FOLDERS; i++) {
        snprintf(path, sizeof path, "/d%u", i);
        assert_ok(ask(&ann, rmdir, .path = path));
    }
    assert_int_equal(rows(STORE_XATTRS), 0);
}

/* ---- files in use --------------------------------------------------------- */

static void they_stay_until_the_last_close(void **state)
{
    struct lab_file file, other;
    (void)state;
    lab_open_written(&ann, "/f", 1000, &file);
    assert_ok(lab_open(&bob, "/f", WIRE_OPEN_READ, &other));
    assert_ok(set(&ann, "/f", "user.a", "x"));
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_close_and_wait(&ann, &file, true);
    assert_int_equal(rows(STORE_XATTRS), 1);
    lab_close_and_wait(&bob, &other, false);
    assert_int_equal(rows(STORE_INODES), 1);
    assert_int_equal(rows(STORE_XATTRS), 0);
}

static void they_end_with_what_no_one_can_reach_after_a_restart(void **state)
{
    struct lab_file file;
    (void)state;
    lab_open_written(&ann, "/f", 1000, &file);
    assert_ok(set(&ann, "/f", "user.a", "x"));
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_restart();
    lab_live(9000);
    assert_int_equal(rows(STORE_XATTRS), 1);
    lab_live(3000);
    assert_int_equal(rows(STORE_INODES), 1);
    assert_int_equal(rows(STORE_XATTRS), 0);
}

static void they_end_with_a_cut_of_a_removed_file(void **state)
{
    struct lab_file file;
    (void)state;
    lab_make(&ann, "/f", 1000, &file);
    assert_ok(set(&ann, "/f", "user.a", "x"));
    lab.answers = false;
    struct lab_answer *cut = submit(&ann, truncate, .path = "/f", .size = 10);
    lab_run();
    assert_ok(ask(&ann, unlink, .path = "/f"));
    assert_int_equal(rows(STORE_XATTRS), 1);
    lab.answers = true;
    lab_wait(50);
    assert_answered(cut, 0);
    lab_wait(50);
    assert_int_equal(rows(STORE_INODES), 1);
    assert_int_equal(rows(STORE_XATTRS), 0);
}

static void a_small_file_keeps_them_when_it_spills(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "text"), 0);
    assert_ok(set(&ann, "/f", "user.a", "x"));
    assert_int_equal(look("/f").small, 1);
    assert_ok(ask(&ann, spill, .capability = file.file.capability, .handle = file.file.handle));
    lab_wait(50);
    assert_int_equal(look("/f").small, 0);
    assert_string_equal(value_of(&ann, "/f", "user.a"), "x");
    lab_close_and_wait(&ann, &file.file, false);
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_wait(50);
    assert_int_equal(rows(STORE_XATTRS), 0);
}

/* ---- delegations ------------------------------------------------------------ */

/* The server has to have noted first that there will be any. */
static struct wire_delegation promise_to(struct lab_client *client, const char *path)
{
    struct wire_stat_reply reply;
    for (int i = 0; i < 3; i++) {
        struct lab_answer *answer = submit(client, stat, .path = path, .flags = WIRE_STAT_DELEGATE);
        lab_run();
        decode_answer(answer, stat_reply, &reply);
        lab_answer_free(answer);
        if (reply.delegation.given)
            break;
    }
    assert_true(reply.delegation.given);
    return reply.delegation;
}

static void a_change_is_told_to_who_relies_on_the_inode(void **state)
{
    (void)state;
    assert_ok(ask(&ann, mkdir, .path = "/d", .mode = 0777));
    lab_jump(LIMITS_DELEGATION_MS);
    promise_to(&ann, "/d");
    /* Looking changes nothing. */
    assert_string_equal(value_of(&bob, "/d", "user.a"), "-");
    struct lab_answer *change =
        submit(&bob, xattr_set, .path = "/d", .name = "user.a", .value = bytes_of("x"));
    lab_run();
    assert_false(change->done);
    assert_int_equal(rows(STORE_XATTRS), 0);
    lab_jump(LIMITS_DELEGATION_MS + 1);
    assert_answered(change, 0);
    assert_string_equal(value_of(&ann, "/d", "user.a"), "x");
    /* Its own change needs nobody's leave. */
    promise_to(&ann, "/d");
    assert_ok(set(&ann, "/d", "user.a", "y"));
    promise_to(&ann, "/d");
    assert_ok(ask(&ann, xattr_remove, .path = "/d", .name = "user.a"));
}

/* ---- nonsense ---------------------------------------------------------------- */

static void what_makes_no_sense_is_refused(void **state)
{
    static uint8_t body[2 * WEFT_XATTR_VALUE_BYTES_MAX], value[WEFT_XATTR_VALUE_BYTES_MAX + 1];
    (void)state;
    const struct wire_xattr_set longest = {
        .path = "/", .name = "user.a", .value = {value, WEFT_XATTR_VALUE_BYTES_MAX}};
    assert_true(wire_encode_xattr_set(body, sizeof body, &longest) > 0);
    struct wire_xattr_set too_long = longest;
    too_long.value.length++;
    assert_true(wire_encode_xattr_set(body, sizeof body, &too_long) < 0);
    assert_result(set(&ann, "", "user.a", "x"), -EACCES);
    assert_result(set(&ann, "/", "", "x"), -EOPNOTSUPP);
    assert_int_equal(rows(STORE_XATTRS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        small_test(an_open_file_is_judged_by_its_mode),
        small_test(only_what_was_opened_counts_as_an_open_file),
        small_test(links_are_followed_unless_they_are_meant),
        small_test(the_attributes_tell_whether_there_are_any),
        small_test(what_is_repeated_is_done_once),
        small_test(many_long_values_in_one_turn_are_all_kept),
        small_test(they_stay_until_the_last_close),
        small_test(they_end_with_what_no_one_can_reach_after_a_restart),
        small_test(they_end_with_a_cut_of_a_removed_file),
        small_test(a_small_file_keeps_them_when_it_spills),
        small_test(a_change_is_told_to_who_relies_on_the_inode),
        small_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
