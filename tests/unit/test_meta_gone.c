/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the metadata server says is gone for good: storage servers remove the objects of that, so it is never
 * what somebody has, or could still get.
 */
#include "meta_files.h"

enum { CHUNK = 65536 };

/* A bit for each of up to 64 inodes. */
static uint64_t gone_of(const uint64_t *inos, uint32_t count)
{
    uint8_t bytes[64 * 8];
    struct wire_writer writer = wire_writer_on(bytes, sizeof bytes);
    struct wire_inodes_gone_reply reply;
    uint64_t gone = 0;
    for (uint32_t i = 0; i < count; i++)
        wire_put_inode_number(&writer, &(struct wire_inode_number){.ino = inos[i]});
    struct lab_answer *answer =
        submit(&storage[0], inodes_gone, .name = "s0", .inos = wire_list_of(&writer, count));
    lab_run();
    decode_answer(answer, inodes_gone_reply, &reply);
    struct wire_reader reader = wire_list_reader(&reply.gone);
    for (uint32_t i = 0; i < reply.gone.count; i++) {
        struct wire_number number;
        wire_get_number(&reader, &number);
        assert_true(!reader.bad && number.value < count);
        gone |= UINT64_C(1) << number.value;
    }
    lab_answer_free(answer);
    return gone;
}

static bool is_gone(uint64_t ino)
{
    return gone_of(&ino, 1) == 1;
}

/* A removed file, of which nothing is left. */
static uint64_t make_gone(const char *path)
{
    struct lab_file file;
    lab_make(&bob, path, CHUNK, &file);
    assert_ok(ask(&bob, unlink, .path = path));
    lab_wait(50);
    assert_int_equal(rows(STORE_REMOVALS), 0);
    return file.ino;
}

static void what_has_a_name_is_there(void **state)
{
    struct lab_file open, closed;
    (void)state;
    lab_open_written(&ann, "/open", CHUNK, &open);
    lab_make(&ann, "/closed", CHUNK, &closed);
    assert_ok(ask(&ann, mkdir, .path = "/d", .mode = 0755));
    assert_ok(ask(&ann, symlink, .path = "/l", .target = "closed"));
    const uint64_t gone = make_gone("/f");
    const uint64_t inos[] = {look("/").ino, open.ino, gone, closed.ino, look("/d").ino, look("/l").ino};
    assert_int_equal(gone_of(inos, 6), 1 << 2);
    /* The same number twice, and no number at all. */
    assert_int_equal(gone_of((const uint64_t[]){gone, gone}, 2), 3);
    assert_int_equal(gone_of(NULL, 0), 0);
    /* By its other name it is there. */
    assert_ok(ask(&ann, link, .from = "/closed", .to = "/other"));
    assert_ok(ask(&ann, unlink, .path = "/closed"));
    lab_wait(50);
    assert_false(is_gone(closed.ino));
}

static void what_is_open_is_there(void **state)
{
    struct lab_file file;
    (void)state;
    lab_open_written(&ann, "/f", CHUNK, &file);
    assert_ok(ask(&root, unlink, .path = "/f"));
    lab_wait(50);
    assert_false(is_gone(file.ino));
    lab_close_and_wait(&ann, &file, true);
    assert_true(is_gone(file.ino));
}

static void what_is_to_be_removed_is_not_gone_yet(void **state)
{
    struct lab_file file;
    (void)state;
    lab_make(&ann, "/f", CHUNK, &file);
    lab.stubborn_ino = file.ino;
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_wait(50);
    assert_int_equal(rows(STORE_REMOVALS), 1);
    assert_false(is_gone(file.ino));
    lab.stubborn_ino = 0;
    lab_live(70000);
    assert_int_equal(rows(STORE_REMOVALS), 0);
    assert_true(is_gone(file.ino));
}

/* Not in what this server has taken from its store, and not beyond. */
static void what_was_never_given_out_is_not_gone(void **state)
{
    struct lab_file file;
    (void)state;
    const uint64_t last = make_gone("/f");
    const uint64_t inos[] = {last, last + 1, last + 2, last + 100, last + 1000000, UINT64_MAX};
    assert_int_equal(gone_of(inos, 6), 1);
    assert_ok(lab_open(&ann, "/g", NEW, &file));
    assert_int_equal(file.ino, last + 1);
    assert_false(is_gone(file.ino));
}

/* Whoever had a file open may come back for a lease. What a server that ended has taken and not given out is
 * never given out. */
static void a_server_that_has_just_started_says_no(void **state)
{
    struct lab_file file, orphan;
    (void)state;
    lab_open_written(&ann, "/f", CHUNK, &file);
    lab_open_written(&ann, "/g", CHUNK, &orphan);
    assert_ok(ask(&root, unlink, .path = "/g"));
    const uint64_t gone = make_gone("/h");
    assert_true(is_gone(gone));
    lab_restart();
    lab_connect(&ann);
    assert_false(is_gone(gone));
    lab_live(lab.conf.lease_ms - 1000);
    assert_false(is_gone(gone));
    lab_live(2000);
    const uint64_t inos[] = {gone, file.ino, orphan.ino, gone + 1, gone + 5000};
    assert_int_equal(gone_of(inos, 5), 1 | 1 << 3);
    assert_ok(lab_open(&ann, "/i", NEW, &file));
    assert_true(file.ino > gone + 1 && file.ino < gone + 5000);
    assert_false(is_gone(file.ino));
    lab_close_and_wait(&ann, &orphan, true);
    assert_true(is_gone(orphan.ino));
}

static void only_storage_servers_are_told(void **state)
{
    static uint8_t bytes[8 * (LIMITS_SWEEP_INODES_MAX + 1)];
    (void)state;
    struct wire_list all = {.count = LIMITS_SWEEP_INODES_MAX,
                            .encoded = {.data = bytes, .length = 8 * LIMITS_SWEEP_INODES_MAX}};
    assert_ok(ask(&storage[0], inodes_gone, .name = "s0", .inos = all));
    assert_result(ask(&ann, inodes_gone, .name = "s0"), -EPERM);
    assert_result(ask(&storage[0], inodes_gone, .name = "nobody"), -ENOENT);
    all.encoded.length -= 1;
    assert_result(ask(&storage[0], inodes_gone, .name = "s0", .inos = all), -EBADMSG);
    lab_wait(2 * lab.conf.lease_ms); /* they are silent */
    assert_result(ask(&storage[0], inodes_gone, .name = "s0"), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lab_test(what_has_a_name_is_there),
        lab_test(what_is_open_is_there),
        lab_test(what_is_to_be_removed_is_not_gone_yet),
        lab_test(what_was_never_given_out_is_not_gone),
        lab_test(a_server_that_has_just_started_says_no),
        lab_test(only_storage_servers_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
