/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects of removed files: only the shards that can have some are told, of many files at once, and
 * what fails is told again, whoever else is in the same list.
 */
#include "meta_files.h"

enum { CHUNK = 65536, MANY = 50 };

/* A file that one client wrote and told; its objects are on the servers where its chunks are. */
static uint64_t make(const char *path, uint64_t end)
{
    struct lab_file file;
    assert_ok(lab_open(&ann, path, NEW, &file));
    struct layout layout = capability_layout(&file.capability);
    for (uint64_t offset = 0; offset < end; offset += CHUNK)
        fake_write(layout_place_of(&layout, offset).group, file.ino, end);
    struct wire_closing closing = {
        .handle = file.handle, .wrote = 1, .told = 1, .end = end, .bytes = 4096, .mtime_ns = lab.realtime_ns};
    assert_ok(lab_close(&ann, &closing));
    lab_wait(50);
    assert_int_equal(look(path).size, end);
    return file.ino;
}

static void assert_gone(uint64_t ino)
{
    for (uint32_t i = 0; i < SERVERS; i++)
        assert_false(fake_object(i, ino)->exists);
}

static void only_shards_with_chunks_are_told(void **state)
{
    (void)state;
    for (unsigned chunks = 1; chunks <= SERVERS + 1; chunks++) {
        uint64_t ino = make("/f", chunks * CHUNK - 1);
        lab.removes = 0;
        assert_ok(ask(&ann, unlink, .path = "/f"));
        lab_wait(50);
        assert_int_equal(lab.removes, chunks < SERVERS ? chunks : SERVERS);
        assert_gone(ino);
        assert_int_equal(rows(STORE_REMOVALS), 0);
    }
    /* Of so many chunks nobody looks at each. */
    uint64_t ino = make("/f", 1000 * CHUNK);
    lab.removes = 0;
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_wait(50);
    assert_int_equal(lab.removes, SERVERS);
    assert_gone(ino);
}

static void where_more_may_have_been_all_are_told(void **state)
{
    struct lab_file file;
    (void)state;
    for (int i = 0; i < 4; i++) {
        uint64_t ino = make("/f", 2 * CHUNK);
        if (i == 0) {
            assert_ok(ask(&ann, truncate, .path = "/f", .size = 10));
        } else if (i == 1) {
            assert_ok(lab_open(&ann, "/f", RW, &file));
            assert_ok(lab_close_file(&ann, &file, false));
        } else if (i == 2) {
            assert_ok(lab_open(&ann, "/f", RW | WIRE_OPEN_TRUNCATE, &file));
            assert_ok(lab_close_file(&ann, &file, false));
        } else {
            assert_ok(lab_open(&ann, "/f", RW, &file));
            fake_write(2, ino, 3 * CHUNK);
            assert_ok(lab_close_file(&ann, &file, true));
        }
        lab_wait(50);
        assert_int_equal(look("/f").size_open, 0);
        lab.removes = 0;
        assert_ok(ask(&ann, unlink, .path = "/f"));
        lab_wait(50);
        assert_int_equal(lab.removes, SERVERS);
        assert_gone(ino);
    }
    /* And of one that is removed while it is open, by whoever closes it. */
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(1, file.ino, 100);
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab.removes = 0;
    lab_close_and_wait(&ann, &file, true);
    assert_int_equal(lab.removes, SERVERS);
    assert_gone(file.ino);
}

static void make_many(uint64_t inos[MANY])
{
    char path[32];
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "/f%d", i);
        inos[i] = make(path, CHUNK);
    }
}

static void remove_many(void)
{
    struct lab_answer *answers[MANY];
    char path[32];
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "/f%d", i);
        answers[i] = submit(&ann, unlink, .path = path);
    }
    lab_run();
    for (int i = 0; i < MANY; i++) {
        assert_true(answers[i]->done);
        assert_int_equal(answers[i]->status, 0);
        lab_answer_free(answers[i]);
    }
}

static void many_files_are_one_request_to_each_shard(void **state)
{
    uint64_t inos[MANY];
    (void)state;
    make_many(inos);
    lab.removes = lab.remove_calls = 0;
    remove_many();
    assert_int_equal(lab.removes, MANY);
    /* Two where one server has more than fit one request. */
    assert_in_range(lab.remove_calls, 2, SERVERS + MANY / LIMITS_REMOVES_MAX);
    assert_int_equal(rows(STORE_REMOVALS), 0);
    for (int i = 0; i < MANY; i++)
        assert_gone(inos[i]);
}

static void what_fails_holds_up_no_one_else(void **state)
{
    uint64_t inos[MANY];
    (void)state;
    make_many(inos);
    lab.stubborn_ino = inos[7];
    remove_many();
    assert_int_equal(rows(STORE_REMOVALS), 1);
    for (int i = 0; i < MANY; i++) {
        if (i != 7)
            assert_gone(inos[i]);
    }
    lab_live(5000);
    assert_int_equal(rows(STORE_REMOVALS), 1);
    lab.stubborn_ino = 0;
    lab_live(70000);
    assert_int_equal(rows(STORE_REMOVALS), 0);
    assert_gone(inos[7]);
}

static void a_server_that_fails_is_told_again(void **state)
{
    uint64_t inos[MANY];
    (void)state;
    make_many(inos);
    lab.server_error[1] = -ETIMEDOUT;
    remove_many();
    uint64_t left = rows(STORE_REMOVALS);
    assert_in_range(left, 1, MANY - 1);
    lab_restart();
    lab_connect(&ann);
    lab_live(1000);
    assert_int_equal(rows(STORE_REMOVALS), left);
    lab.server_error[1] = 0;
    lab.removes = 0;
    lab_live(70000);
    assert_int_equal(rows(STORE_REMOVALS), 0);
    assert_int_equal(lab.removes, left); /* a restart forgets nothing of where they are */
    for (int i = 0; i < MANY; i++)
        assert_gone(inos[i]);
}

/* As servers before this one wrote it. */
static void a_record_without_an_end_is_for_all_shards(void **state)
{
    struct lab_file file;
    (void)state;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    fake_write(2, file.ino, 100);
    uint8_t key[8], value[24];
    struct store_txn *txn;
    records_key_u64(key, 4711);
    struct layout layout = capability_layout(&file.capability);
    memcpy(value, &layout.chunk_size, 8);
    memcpy(value + 8, &layout.seed, 8);
    memcpy(value + 16, &layout.stripe_count, 4);
    memcpy(value + 20, &layout.group_count, 4);
    fake_write(2, 4711, 100);
    assert_ok(store_begin(lab.world.store, true, &txn));
    assert_ok(store_put(txn, STORE_REMOVALS, (struct store_bytes){key, sizeof key},
                        (struct store_bytes){value, sizeof value}));
    assert_ok(store_commit(txn));
    lab.removes = 0;
    lab_restart();
    lab_live(1000);
    assert_int_equal(lab.removes, SERVERS);
    assert_gone(4711);
    assert_int_equal(rows(STORE_REMOVALS), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lab_test(only_shards_with_chunks_are_told),
        lab_test(where_more_may_have_been_all_are_told),
        lab_test(many_files_are_one_request_to_each_shard),
        lab_test(what_fails_holds_up_no_one_else),
        lab_test(a_server_that_fails_is_told_again),
        lab_test(a_record_without_an_end_is_for_all_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
