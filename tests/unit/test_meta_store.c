/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must survive: a transaction that was committed, when the process is
 * killed at any moment after; nothing of one that was not. A full store and a
 * second server on it are refused, and do no harm.
 */
#include "meta_world.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct world world;

static int setup(void **state)
{
    (void)state;
    world_open(&world);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

static struct store_bytes text(const char *string)
{
    return (struct store_bytes){string, strlen(string)};
}

static void put(const char *key, const char *value)
{
    assert_ok(store_put(world.txn, STORE_SETTINGS, text(key), text(value)));
}

static void assert_value(struct store_txn *txn, const char *key, const char *value)
{
    struct store_bytes found;
    int error = store_get(txn, STORE_SETTINGS, text(key), &found);
    if (!value) {
        assert_int_equal(error, -ENOENT);
        return;
    }
    assert_ok(error);
    assert_int_equal(found.length, strlen(value));
    assert_memory_equal(found.data, value, found.length);
}

static void a_transaction_sees_its_own_changes(void **state)
{
    (void)state;
    world_begin(&world, 0, 0);
    put("x", "1");
    assert_value(world.txn, "x", "1");
    put("x", "22");
    assert_value(world.txn, "x", "22");
    assert_ok(store_delete(world.txn, STORE_SETTINGS, text("x")));
    assert_value(world.txn, "x", NULL);
    assert_result(store_delete(world.txn, STORE_SETTINGS, text("x")), -ENOENT);
    assert_false(store_broken(world.txn));
    world_commit(&world);
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
    (void)state;
    struct world_dump before = world_dump(world.store);
    world_begin(&world, 0, 0);
    put("x", "1");
    store_abort(world.txn);
    assert_same_dump(before, world_dump(world.store));
}

struct seen {
    char keys[16][8];
    size_t count, stop_at;
};

static int see(void *arg, struct store_bytes key, struct store_bytes value)
{
    struct seen *seen = arg;
    (void)value;
    if (seen->count == seen->stop_at)
        return 42;
    memcpy(seen->keys[seen->count], key.data, key.length);
    seen->count++;
    return 0;
}

static void each_goes_in_the_order_of_bytes_from_where_it_is_told(void **state)
{
    (void)state;
    static const char *const keys[] = {"b", "a", "ab", "\xff", "B", "a\x01"};
    static const char *const sorted[] = {"B", "a", "a\x01", "ab", "b", "\xff"};
    world_begin(&world, 0, 0);
    for (size_t i = 0; i < 6; i++)
        assert_ok(store_put(world.txn, STORE_SYMLINKS, text(keys[i]), text("")));
    struct seen seen = {.stop_at = 16};
    assert_ok(store_each(world.txn, STORE_SYMLINKS, text(""), see, &seen));
    assert_int_equal(seen.count, 6);
    for (size_t i = 0; i < 6; i++)
        assert_string_equal(seen.keys[i], sorted[i]);
    seen = (struct seen){.stop_at = 2};
    assert_result(store_each(world.txn, STORE_SYMLINKS, text("a\x01"), see, &seen), 42);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.keys[0], "a\x01");
    assert_string_equal(seen.keys[1], "ab");
    uint64_t count;
    assert_ok(store_count(world.txn, STORE_SYMLINKS, &count));
    assert_int_equal(count, 6);
    store_abort(world.txn);
}

static void a_second_server_is_refused(void **state)
{
    struct store *second;
    (void)state;
    assert_result(store_open(world.dir, WORLD_STORE_BYTES, &second), -EBUSY);
    assert_non_null(strstr(err_text(), world.dir));
}

static void a_full_store_refuses_and_stays_whole(void **state)
{
    static char big[100000];
    char key[32];
    int error = 0;
    (void)state;
    struct world_dump before = world_dump(world.store);
    world_begin(&world, 0, 0);
    for (int i = 0; i < 10000 && !error; i++) {
        snprintf(key, sizeof key, "big%d", i);
        error = store_put(world.txn, STORE_SETTINGS, text(key), (struct store_bytes){big, sizeof big});
    }
    assert_int_equal(error, -ENOSPC);
    assert_non_null(strstr(err_text(), "metadata_bytes_max"));
    assert_true(store_broken(world.txn));
    assert_result(store_commit(world.txn), -EIO);
    assert_same_dump(before, world_dump(world.store));
    world_begin(&world, 0, 0);
    put("after", "1");
    world_commit(&world);
}

/* Pieces of 100,000 bytes; 0, or the error of the first that did not fit. */
static int fill(int from, int to)
{
    static char big[100000];
    char key[32];
    int error = 0;
    world_begin(&world, 0, 0);
    for (int i = from; i < to && !error; i++) {
        snprintf(key, sizeof key, "big%d", i);
        memset(big, i, sizeof big);
        error = store_put(world.txn, STORE_SETTINGS, text(key), (struct store_bytes){big, sizeof big});
    }
    if (error)
        store_abort(world.txn);
    else
        world_commit(&world);
    return error;
}

static void assert_filled(int to)
{
    char key[32];
    world_begin(&world, 0, 0);
    for (int i = 0; i < to; i++) {
        struct store_bytes value;
        snprintf(key, sizeof key, "big%d", i);
        assert_ok(store_get(world.txn, STORE_SETTINGS, text(key), &value));
        assert_int_equal(value.length, 100000);
        assert_int_equal(((const uint8_t *)value.data)[99999], (uint8_t)i);
    }
    store_abort(world.txn);
}

/* Its file begins with 16 MiB. */
static void a_store_grows_with_what_is_put_into_it(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i += 10)
        assert_ok(fill(i, i + 10));
    assert_filled(300);
    /* What is larger than the room that there is may have to be tried again. */
    int error = -ENOSPC;
    for (int tries = 0; tries < 3 && error == -ENOSPC; tries++)
        error = fill(300, 500);
    assert_ok(error);
    store_close(world.store);
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES, &world.store));
    assert_filled(500);
}

/* As a disk that is full; the store must not find out by SIGBUS. */
static void a_file_that_can_not_grow_is_an_error(void **state)
{
    struct rlimit old, low;
    struct stat file;
    char path[4096];
    int fitted = 0, error = 0;
    (void)state;
    snprintf(path, sizeof path, "%s/data.mdb", world.dir);
    assert_int_equal(stat(path, &file), 0);
    if (file.st_size < 16 << 20)
        skip(); /* this file system is written to through the descriptor */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    low = (struct rlimit){.rlim_cur = 24 << 20, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    while (fitted < 400 && !(error = fill(fitted, fitted + 10)))
        fitted += 10;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(error, -ENOSPC);
    assert_true(fitted > 100 && fitted < 400);
    assert_non_null(strstr(err_text(), "no space"));
    assert_filled(fitted);
    /* There is space again. */
    for (; fitted < 400; fitted += 10)
        assert_ok(fill(fitted, fitted + 10));
    assert_filled(400);
}

/* `count` numbers in one transaction, each larger than all before that were committed. */
static void take_numbers(struct ino_range *range, int count, uint64_t *latest, bool commit)
{
    uint64_t last = *latest, ino;
    world_begin(&world, 0, 0);
    for (int i = 0; i < count; i++) {
        assert_ok(records_ino_next(world.txn, range, &ino));
        assert_true(ino > last);
        last = ino;
    }
    if (commit) {
        world_commit(&world);
        *latest = last;
    } else {
        store_abort(world.txn);
        *range = (struct ino_range){0};
    }
}

static void no_number_of_an_inode_is_given_out_twice(void **state)
{
    struct ino_range range = {0}, none = {0};
    uint64_t latest = 0;
    (void)state;
    take_numbers(&range, 1500, &latest, true);
    take_numbers(&range, 3000, &latest, false);
    take_numbers(&range, 10, &latest, true);
    take_numbers(&range, 10, &latest, false);
    take_numbers(&range, 10, &latest, true);
    /* After a restart, and without a range. */
    range = none;
    take_numbers(&range, 10, &latest, true);
    take_numbers(NULL, 10, &latest, true);
    range = none;
    take_numbers(&range, 2000, &latest, true);
}

static void what_was_committed_is_there_after_opening_again(void **state)
{
    struct ns_identity identity;
    (void)state;
    world_begin(&world, 0, 0);
    put("x", "1");
    world_commit(&world);
    struct world_dump before = world_dump(world.store);
    store_close(world.store);
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES, &world.store));
    assert_same_dump(before, world_dump(world.store));
    world_begin(&world, 0, 0);
    assert_ok(ns_format(world.txn, world.now_ns, &identity));
    assert_int_equal(identity.epoch, 2);
    world_commit(&world);
}

/* ---- kill -9 ------------------------------------------------------------ */

/* Makes directories and moves them, a few to a transaction, and writes the number of each
 * finished transaction to `fd`, until it is killed. */
static void work_until_killed(int fd)
{
    char path[64], other[64];
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES, &world.store));
    for (uint32_t i = 0;; i++) {
        world_begin(&world, 0, 0);
        for (int k = 0; k < 3; k++) {
            snprintf(path, sizeof path, "/t%u-%d", i, k);
            assert_ok(ns_mkdir(&world.ns, path, 0755));
        }
        snprintf(path, sizeof path, "/t%u-0", i);
        snprintf(other, sizeof other, "/t%u-1/moved", i);
        assert_ok(ns_rename(&world.ns, path, other));
        assert_ok(store_commit(world.txn));
        if (write(fd, &i, sizeof i) != sizeof i)
            _exit(1);
    }
}

/* Every transaction is there as a whole or not at all; returns whether it is. */
static bool is_whole(uint32_t i)
{
    char path[64];
    struct inode inode;
    int errors[3];
    snprintf(path, sizeof path, "/t%u-0", i);
    assert_result(ns_stat(&world.ns, path, 0, true, &inode), -ENOENT);
    snprintf(path, sizeof path, "/t%u-1", i);
    errors[0] = ns_stat(&world.ns, path, 0, true, &inode);
    snprintf(path, sizeof path, "/t%u-1/moved", i);
    errors[1] = ns_stat(&world.ns, path, 0, true, &inode);
    snprintf(path, sizeof path, "/t%u-2", i);
    errors[2] = ns_stat(&world.ns, path, 0, true, &inode);
    assert_int_equal(errors[0], errors[1]);
    assert_int_equal(errors[0], errors[2]);
    return errors[0] == 0;
}

static void what_was_acknowledged_survives_kill_9(void **state)
{
    (void)state;
    store_close(world.store);
    world.store = NULL;
    for (int round = 0; round < 5; round++) {
        int pipe_fds[2];
        uint32_t done = 0, number;
        bool any = false;
        assert_int_equal(pipe(pipe_fds), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(pipe_fds[0]);
            work_until_killed(pipe_fds[1]);
        }
        close(pipe_fds[1]);
        usleep((useconds_t)(20000 + round * 13337));
        kill(child, SIGKILL);
        while (read(pipe_fds[0], &number, sizeof number) == sizeof number) {
            done = number;
            any = true;
        }
        close(pipe_fds[0]);
        assert_int_equal(waitpid(child, NULL, 0), child);

        assert_ok(store_open(world.dir, WORLD_STORE_BYTES, &world.store));
        world_begin(&world, 0, 0);
        for (uint32_t i = 0; any && i <= done; i++)
            assert_true(is_whole(i));
        /* The one that was under way happened as a whole or not at all. */
        is_whole(any ? done + 1 : 0);
        for (uint32_t i = 0; i <= done + 1; i++) {
            char path[64];
            snprintf(path, sizeof path, "/t%u-1/moved", i);
            ns_rmdir(&world.ns, path);
            snprintf(path, sizeof path, "/t%u-1", i);
            ns_rmdir(&world.ns, path);
            snprintf(path, sizeof path, "/t%u-2", i);
            ns_rmdir(&world.ns, path);
        }
        assert_int_equal(records_dir_empty(world.txn, INODE_ROOT), 1);
        world_commit(&world);
        store_close(world.store);
        world.store = NULL;
    }
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES, &world.store));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_transaction_sees_its_own_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(an_aborted_transaction_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(each_goes_in_the_order_of_bytes_from_where_it_is_told, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_second_server_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_store_refuses_and_stays_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(no_number_of_an_inode_is_given_out_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_grows_with_what_is_put_into_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_can_not_grow_is_an_error, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_committed_is_there_after_opening_again, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_acknowledged_survives_kill_9, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
