/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "../../server/storage/store_files.h"
#include "../../server/storage/target.h"

static char dir[128];
static struct conf_target conf;
static struct target target;
static struct store *store;

static const struct layout layout = {.chunk_size = 4096, .seed = 1, .stripe_count = 2, .group_count = 2};

static struct store_object object_of(uint64_t ino)
{
    return (struct store_object){.ino = ino, .position = 1, .layout = layout};
}

static void open_store(uint32_t open_files_max)
{
    struct store_config config = {.target = &target, .shard = 1, .open_files_max = open_files_max};
    assert_int_equal(store_files.open(&config, &store), 0);
}

static void reopen(void)
{
    assert_int_equal(store_files.close(store), 0);
    open_store(0);
}

static int setup(void **state)
{
    const char *base = getenv("TMPDIR");
    (void)state;
    snprintf(dir, sizeof dir, "%.90s/weft-test-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    conf = (struct conf_target){.id = 3, .dir = dir};
    assert_int_equal(target_open(&conf, 2, &store_files, &target), 0);
    open_store(0);
    return 0;
}

static int teardown(void **state)
{
    char command[256];
    (void)state;
    if (store)
        assert_int_equal(store_files.close(store), 0);
    store = NULL;
    target_close(&target);
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* ---- tools ---------------------------------------------------------------- */

static int put(uint64_t ino, uint64_t offset, const void *data, size_t length)
{
    struct store_object object = object_of(ino);
    struct store_op op = {0};
    struct iovec iov = {(void *)data, length};
    return store_files.write(store, &object, offset, &iov, 1, &op);
}

/* Bytes read, or a negative errno. */
static ssize_t get(uint64_t ino, uint64_t offset, void *data, size_t length)
{
    struct store_object object = object_of(ino);
    struct store_op op = {0};
    size_t count;
    int error = store_files.read(store, &object, offset, data, length, &count, &op);
    return error ? error : (ssize_t)count;
}

static int cut(uint64_t ino, uint64_t length)
{
    struct store_object object = object_of(ino);
    struct store_op op = {0};
    return store_files.truncate(store, &object, length, &op);
}

static struct store_stat stat_of(uint64_t ino)
{
    struct store_object object = object_of(ino);
    struct store_stat stat;
    assert_int_equal(store_files.stat(store, &object, &stat), 0);
    return stat;
}

struct done {
    struct store_op op;
    unsigned times;
    ssize_t status;
};

static void on_done(struct store_op *op, ssize_t status)
{
    struct done *done = op->arg;
    done->times++;
    done->status = status;
}

static int start_sync(uint64_t ino, struct done *done)
{
    struct store_object object = object_of(ino);
    *done = (struct done){.op = {.done = on_done, .arg = done}};
    return store_files.sync(store, &object, &done->op);
}

static void wait_for(const struct done *done)
{
    while (!done->times) {
        struct pollfd pollfd = {.fd = store_files.fd(store), .events = POLLIN};
        assert_int_equal(poll(&pollfd, 1, 10000), 1);
        store_files.progress(store);
    }
    assert_int_equal(done->times, 1);
}

static int sync_object(uint64_t ino)
{
    struct done done;
    int result = start_sync(ino, &done);
    if (result != STORE_PENDING)
        return result;
    wait_for(&done);
    return (int)done.status;
}

static void path_of(uint64_t ino, const char *suffix, char path[512])
{
    snprintf(path, 512, "%s/shard-1/%02x/%016" PRIx64 ".1%s", dir, (unsigned)(ino & 0xff), ino, suffix);
}

static bool exists(uint64_t ino, const char *suffix)
{
    char path[512];
    path_of(ino, suffix, path);
    return access(path, F_OK) == 0;
}

static void poke(uint64_t ino, const char *suffix, off_t offset, const void *data, size_t length)
{
    char path[512];
    path_of(ino, suffix, path);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, length, offset), length);
    close(fd);
}

/* ---- bytes ---------------------------------------------------------------- */

static void test_nothing_there(void **state)
{
    char byte;
    (void)state;
    assert_int_equal(get(42, 0, &byte, 1), 0);
    assert_int_equal(stat_of(42).length, 0);
    assert_int_equal(stat_of(42).mtime_ns, 0);
    assert_int_equal(sync_object(42), 0);
    assert_int_equal(cut(42, 0), 0);
    assert_false(exists(42, "") || exists(42, ".new"));
}

static void test_write_read_and_holes(void **state)
{
    char back[64];
    (void)state;
    assert_int_equal(put(1, 20, "world", 5), 0);
    assert_int_equal(stat_of(1).length, 25);
    assert_int_equal(put(1, 0, "hello", 5), 0);
    assert_int_equal(stat_of(1).length, 25);
    memset(back, 'x', sizeof back);
    assert_int_equal(get(1, 0, back, sizeof back), 25);
    assert_memory_equal(back, "hello\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0world", 25);
    assert_int_equal(back[25], 'x');
    assert_int_equal(get(1, 24, back, 10), 1);
    assert_int_equal(get(1, 25, back, 10), 0);
    assert_int_equal(get(1, 1000, back, 10), 0);
    assert_true(stat_of(1).mtime_ns > 0 && stat_of(1).bytes > 0);
    /* Another position is another object. */
    struct store_object other = object_of(1);
    struct store_op op = {0};
    size_t count;
    other.position = 0;
    assert_int_equal(store_files.read(store, &other, 0, back, 10, &count, &op), 0);
    assert_int_equal(count, 0);
}

/* More pieces than the kernel takes at once, some of them empty. */
static void test_many_pieces(void **state)
{
    enum { PIECES = 2500, BYTES = 7 };
    static uint8_t data[PIECES * BYTES], read_back[PIECES * BYTES];
    struct store_object object = object_of(24);
    struct store_op op = {0};
    struct iovec iov[PIECES + 2] = {{data, 0}};
    (void)state;
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(layout_hash(i) | 1);
    for (unsigned i = 0; i < PIECES; i++)
        iov[1 + i] = (struct iovec){data + i * BYTES, BYTES};
    iov[PIECES + 1] = (struct iovec){data, 0};
    assert_int_equal(store_files.write(store, &object, 3, iov, PIECES + 2, &op), 0);
    assert_int_equal(get(24, 3, read_back, sizeof read_back), sizeof read_back);
    assert_memory_equal(read_back, data, sizeof data);
    assert_int_equal(stat_of(24).length, 3 + sizeof data);
}

/* A file may become no longer than this: the kernel writes what fits, and fails then. */
static void test_a_write_cut_short(void **state)
{
    struct store_object object = object_of(25);
    struct store_op op = {0};
    char data[11];
    struct iovec iov[] = {{"abcd", 4}, {"efgh", 4}, {"ij", 2}};
    struct rlimit before, small;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    small = (struct rlimit){FILES_HEADER_BYTES + 6, before.rlim_max};
    assert_int_equal(put(25, 0, "", 0), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    assert_int_equal(store_files.write(store, &object, 0, iov, 3, &op), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(get(25, 0, data, sizeof data), 6);
    assert_memory_equal(data, "abcdef", 6);
}

static void test_length_is_exact(void **state)
{
    const uint64_t ends[] = {1, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1, UINT64_C(1) << 40};
    (void)state;
    for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++) {
        assert_int_equal(put(2, ends[i] - 1, "x", 1), 0);
        assert_int_equal(stat_of(2).length, ends[i]);
    }
    assert_true(stat_of(2).bytes < 1 << 20);
    reopen();
    assert_int_equal(stat_of(2).length, UINT64_C(1) << 40);
}

static void test_truncate(void **state)
{
    char back[16];
    (void)state;
    assert_int_equal(put(3, 0, "0123456789", 10), 0);
    assert_int_equal(cut(3, 4), 0);
    assert_int_equal(stat_of(3).length, 4);
    assert_int_equal(cut(3, 12), 0);
    assert_int_equal(get(3, 0, back, 16), 12);
    assert_memory_equal(back, "0123\0\0\0\0\0\0\0\0", 12);
    /* Growing makes the object. */
    assert_int_equal(cut(4, 7), 0);
    assert_int_equal(stat_of(4).length, 7);
}

static void test_bounds(void **state)
{
    char byte = 0;
    (void)state;
    assert_int_equal(put(5, UINT64_MAX, &byte, 1), -EFBIG);
    assert_int_equal(put(5, INT64_MAX, &byte, 1), -EFBIG);
    assert_int_equal(get(5, UINT64_MAX - 5, &byte, 1), -EFBIG);
    assert_int_equal(cut(5, INT64_MAX), -EFBIG);
    assert_false(exists(5, ".new"));
}

static void test_errors_name_target_and_file(void **state)
{
    struct rlimit before, small;
    (void)state;
    assert_int_equal(put(6, 0, "x", 1), 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 100000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int error = put(6, 100000, "x", 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(error, -EFBIG);
    assert_non_null(strstr(err_text(), "target 3: write "));
    assert_non_null(strstr(err_text(), "shard-1/06/0000000000000006.1"));
}

/* ---- sync ----------------------------------------------------------------- */

static void test_sync_gives_the_name(void **state)
{
    struct done done;
    (void)state;
    assert_int_equal(put(7, 0, "x", 1), 0);
    assert_true(exists(7, ".new") && !exists(7, ""));
    assert_int_equal(start_sync(7, &done), STORE_PENDING);
    assert_int_equal(done.times, 0);
    wait_for(&done);
    assert_int_equal(done.status, 0);
    assert_true(!exists(7, ".new") && exists(7, ""));
    /* Nothing changed: nothing to do. */
    assert_int_equal(start_sync(7, &done), 0);
    assert_int_equal(put(7, 0, "y", 1), 0);
    assert_int_equal(start_sync(7, &done), STORE_PENDING);
    wait_for(&done);
    /* What an earlier opening wrote is not known to be durable. */
    reopen();
    assert_int_equal(start_sync(7, &done), STORE_PENDING);
    wait_for(&done);
}

static void test_syncs_join_and_follow(void **state)
{
    enum { COUNT = 20 };
    struct done done[COUNT];
    (void)state;
    for (unsigned i = 0; i < COUNT; i++) {
        /* Half of them after a change of their own. */
        if (i % 2 == 0)
            assert_int_equal(put(8, i, "x", 1), 0);
        assert_int_equal(start_sync(8, &done[i]), STORE_PENDING);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        wait_for(&done[i]);
        assert_int_equal(done[i].status, 0);
    }
    struct done last;
    assert_int_equal(start_sync(8, &last), 0);
    assert_int_equal(stat_of(8).length, COUNT - 1);
}

static void test_remove_during_sync(void **state)
{
    struct done synced, removed = {.op = {.done = on_done, .arg = &removed}};
    struct store_object object = object_of(9);
    (void)state;
    assert_int_equal(put(9, 0, "x", 1), 0);
    assert_int_equal(start_sync(9, &synced), STORE_PENDING);
    assert_int_equal(store_files.remove(store, &object, &removed.op), STORE_PENDING);
    wait_for(&removed);
    wait_for(&synced);
    assert_int_equal(removed.status, 0);
    assert_false(exists(9, "") || exists(9, ".new"));
    assert_int_equal(stat_of(9).length, 0);
    assert_int_equal(store_files.remove(store, &object, &removed.op), 0);
}

static void test_close_makes_durable(void **state)
{
    char byte;
    (void)state;
    assert_int_equal(put(10, 0, "x", 1), 0);
    assert_true(exists(10, ".new"));
    reopen();
    assert_true(exists(10, "") && !exists(10, ".new"));
    assert_int_equal(get(10, 0, &byte, 1), 1);
}

/* ---- the cache of open files ------------------------------------------------ */

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *fds = opendir("/proc/self/fd");
    assert_non_null(fds);
    while (readdir(fds))
        count++;
    closedir(fds);
    return count;
}

static void test_open_files_are_bounded(void **state)
{
    enum { OPEN_MAX = 4, FILES = 100 };
    char back[32], data[32] = "";
    (void)state;
    assert_int_equal(store_files.close(store), 0);
    open_store(OPEN_MAX);
    unsigned before = open_descriptors();
    for (unsigned turn = 0; turn < 3; turn++)
        for (unsigned i = 0; i < FILES; i++) {
            snprintf(data, sizeof data, "file %u, turn %u", i, turn);
            assert_int_equal(put(100 + i, 32 * turn, data, sizeof data), 0);
            assert_true(open_descriptors() <= before + OPEN_MAX);
        }
    for (unsigned i = 0; i < FILES; i++)
        for (unsigned turn = 0; turn < 3; turn++) {
            snprintf(data, sizeof data, "file %u, turn %u", i, turn);
            assert_int_equal(get(100 + i, 32 * turn, back, sizeof back), sizeof back);
            assert_string_equal(back, data);
        }
    /* A file that was closed before its sync is synced all the same. */
    assert_true(exists(100, ".new"));
    assert_int_equal(sync_object(100), 0);
    assert_true(exists(100, ""));
}

static void test_files_being_flushed_stay_open(void **state)
{
    enum { FILES = 16 };
    struct done done[FILES];
    (void)state;
    assert_int_equal(store_files.close(store), 0);
    open_store(2);
    for (unsigned i = 0; i < FILES; i++) {
        assert_int_equal(put(100 + i, 0, "x", 1), 0);
        assert_int_equal(start_sync(100 + i, &done[i]), STORE_PENDING);
    }
    for (unsigned i = 0; i < FILES; i++) {
        wait_for(&done[i]);
        assert_int_equal(done[i].status, 0);
    }
}

/* ---- damage ----------------------------------------------------------------- */

static void expect_refused(uint64_t ino, const char *why)
{
    char byte, path[512];
    path_of(ino, "", path);
    assert_int_equal(get(ino, 0, &byte, 1), -EIO);
    assert_non_null(strstr(err_text(), path));
    assert_non_null(strstr(err_text(), why));
    assert_int_equal(put(ino, 0, "x", 1), -EIO);
}

static void test_damaged_headers_are_refused(void **state)
{
    const struct {
        off_t offset;
        const char *why;
    } damages[] = {
        {0, "does not begin like an object"},
        {8, "another version"},
        {12, "wrong checksum"},
        {16, "wrong checksum"},
        {40, "wrong checksum"},
        {4095, "wrong checksum"},
    };
    struct store_object object = object_of(0);
    struct store_op op = {0};
    (void)state;
    for (unsigned i = 0; i < sizeof damages / sizeof *damages; i++)
        assert_int_equal(put(200 + i, 0, "x", 1), 0);
    reopen();
    for (unsigned i = 0; i < sizeof damages / sizeof *damages; i++) {
        poke(200 + i, "", damages[i].offset, "\xa5", 1);
        expect_refused(200 + i, damages[i].why);
        /* It can be got rid of. */
        object.ino = 200 + i;
        assert_int_equal(store_files.remove(store, &object, &op), 0);
        assert_int_equal(put(200 + i, 0, "x", 1), 0);
    }
}

static void test_cut_files_are_refused(void **state)
{
    char path[512];
    (void)state;
    assert_int_equal(put(20, 0, "x", 1), 0);
    reopen();
    path_of(20, "", path);
    assert_int_equal(truncate(path, 100), 0);
    expect_refused(20, "shorter than a header");
    assert_int_equal(truncate(path, 0), 0);
    expect_refused(20, "shorter than a header");
}

static void test_files_in_the_wrong_place_are_refused(void **state)
{
    char from[512], to[512];
    (void)state;
    assert_int_equal(put(21, 0, "x", 1), 0);
    reopen();
    path_of(21, "", from);
    path_of(22, "", to);
    assert_int_equal(rename(from, to), 0);
    expect_refused(22, "another object's");
}

static void test_another_layout_is_refused(void **state)
{
    struct store_object object = object_of(23);
    struct store_op op = {0};
    struct iovec iov = {"y", 1};
    (void)state;
    assert_int_equal(put(23, 0, "x", 1), 0);
    object.layout.chunk_size = 8192;
    assert_int_equal(store_files.write(store, &object, 0, &iov, 1, &op), -EIO);
    reopen();
    assert_int_equal(store_files.write(store, &object, 0, &iov, 1, &op), -EIO);
    assert_non_null(strstr(err_text(), "another layout"));
}

/* What a crash can leave of a file that was never synced counts as nothing. */
static void test_remains_of_unsynced_files_are_discarded(void **state)
{
    static const char zeros[FILES_HEADER_BYTES];
    char path[512], byte;
    (void)state;
    for (uint64_t ino = 30; ino < 33; ino++) {
        path_of(ino, ".new", path);
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, zeros,
                               ino == 30   ? 0
                               : ino == 31 ? 100
                                           : sizeof zeros),
                         ino == 30   ? 0
                         : ino == 31 ? 100
                                     : (int)sizeof zeros);
        assert_int_equal(pwrite(fd, "lost", ino == 32 ? 4 : 0, sizeof zeros), ino == 32 ? 4 : 0);
        close(fd);
    }
    for (uint64_t ino = 30; ino < 33; ino++) {
        assert_int_equal(get(ino, 0, &byte, 1), 0);
        assert_false(exists(ino, ".new"));
    }
    for (uint64_t ino = 33; ino < 34; ino++) {
        path_of(ino, ".new", path);
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, "lost", 4, sizeof zeros), 4);
        close(fd);
        assert_int_equal(put(ino, 10, "x", 1), 0);
        assert_int_equal(get(ino, 0, &byte, 1), 1);
        assert_int_equal(byte, 0);
    }
}

static struct store_seek seek_from(uint64_t ino, uint64_t offset, bool hole)
{
    struct store_object object = object_of(ino);
    struct store_seek seek;
    struct store_op op = {0};
    assert_int_equal(store_files.seek(store, &object, offset, hole, &seek, &op), 0);
    assert_true(seek.found && seek.offset >= offset);
    return seek;
}

/* How exact holes are is the file system's affair; that they are zeros is not. */
static void test_punch_and_seek(void **state)
{
    enum { BYTES = 1 << 20 };
    static uint8_t data[BYTES], buffer[BYTES];
    struct store_object object = object_of(40);
    struct store_op op = {0};
    (void)state;
    assert_int_equal(store_files.punch(store, &object, 0, 100, &op), 0);
    assert_int_equal(seek_from(40, 10, true).offset, 10);
    assert_true(seek_from(40, 10, false).offset == UINT64_MAX);
    memset(data, 5, BYTES);
    assert_int_equal(put(40, 0, data, BYTES), 0);
    const struct store_stat before = stat_of(40);
    usleep(20000); /* a file system's clock */
    assert_int_equal(store_files.punch(store, &object, 100000, 700000, &op), 0);
    memset(data + 100000, 0, 700000);
    assert_int_equal(get(40, 0, buffer, BYTES), BYTES);
    assert_memory_equal(buffer, data, BYTES);
    const struct store_stat after = stat_of(40);
    assert_int_equal(after.length, BYTES);
    assert_true(after.mtime_ns > before.mtime_ns);
    const uint64_t hole = seek_from(40, 0, true).offset, behind = seek_from(40, 500000, false).offset;
    assert_in_range(hole, 100000, BYTES);
    assert_int_equal(seek_from(40, 0, true).length, BYTES);
    assert_in_range(behind, 500000, 800000);
    if (hole < BYTES) {
        assert_true(after.bytes < before.bytes);
        assert_int_equal(seek_from(40, 500000, true).offset, 500000);
    }
    /* Up to the end and no further. */
    assert_int_equal(store_files.punch(store, &object, 900000, UINT64_MAX - 900000, &op), 0);
    assert_int_equal(store_files.punch(store, &object, BYTES, 100, &op), 0);
    assert_int_equal(stat_of(40).length, BYTES);
    assert_int_equal(get(40, 900000, buffer, BYTES), BYTES - 900000);
    assert_int_equal(buffer[0], 0);
    assert_int_equal(buffer[BYTES - 900001], 0);
    assert_int_equal(seek_from(40, BYTES, true).offset, BYTES);
    assert_true(seek_from(40, BYTES, false).offset == UINT64_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_there),
        TEST(test_write_read_and_holes),
        TEST(test_many_pieces),
        TEST(test_a_write_cut_short),
        TEST(test_length_is_exact),
        TEST(test_truncate),
        TEST(test_punch_and_seek),
        TEST(test_bounds),
        TEST(test_errors_name_target_and_file),
        TEST(test_sync_gives_the_name),
        TEST(test_syncs_join_and_follow),
        TEST(test_remove_during_sync),
        TEST(test_close_makes_durable),
        TEST(test_open_files_are_bounded),
        TEST(test_files_being_flushed_stay_open),
        TEST(test_damaged_headers_are_refused),
        TEST(test_cut_files_are_refused),
        TEST(test_files_in_the_wrong_place_are_refused),
        TEST(test_another_layout_is_refused),
        TEST(test_remains_of_unsynced_files_are_discarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
