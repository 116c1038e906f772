/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders that a session holds (libclient/held.h): how few requests it takes to make and remove many files,
 * that whoever looks sees all of it, that files which are open go on being so, and what becomes of what was
 * made when the process, or the metadata server, is killed, stopped or ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_pair.h"
#include "seed.h"
#include "weft_limits.h"

enum { WARM = 8, FILES = 500, MANY = 9000 };

static void keep(weft_session_t *of)
{
    struct weft_attr attr;
    ok(weft_keep_attributes(of, NULL));
    for (unsigned i = 0; i < WARM; i++)
        ok(weft_stat(of, "/", 0, &attr));
}

static int setup(void **state)
{
    random_state = seed_wanted();
    pair_setup(state);
    keep(session);
    return 0;
}

static const char *name_of(unsigned i)
{
    static char names[2][64];
    static unsigned which;
    which = !which;
    snprintf(names[which], sizeof names[which], "/folder/file.%u", i);
    return names[which];
}

static int try_make(weft_session_t *of, const char *path, int flags, const char *text)
{
    weft_file_t *file;
    int result = weft_file_open(of, path, O_RDWR | O_CREAT | flags, 0640, NULL, &file);
    if (result < 0)
        return result;
    if (*text)
        assert_int_equal(weft_file_write(file, text, strlen(text), 0), strlen(text));
    ok(weft_file_close(file));
    return 0;
}

static void make(weft_session_t *of, const char *path, const char *text)
{
    ok(try_make(of, path, 0, text));
}

static void check_text(weft_session_t *of, const char *path, const char *text)
{
    char buffer[64] = "";
    weft_file_t *file;
    ok(weft_file_open(of, path, O_RDONLY, 0, NULL, &file));
    assert_int_equal(weft_file_read(file, buffer, sizeof buffer - 1, 0), strlen(text));
    assert_string_equal(buffer, text);
    ok(weft_file_close(file));
}

static unsigned count_names(weft_session_t *of, const char *path)
{
    weft_dir_t *dir;
    const char *name;
    unsigned count = 0;
    ok(weft_dir_open(of, path, &dir));
    while (weft_dir_next(dir, &name, NULL) > 0)
        count++;
    weft_dir_close(dir);
    return count;
}

/* An empty folder that is held once a file was made in it. The first ones may come before the server has
 * noted that there are any promises. */
static void hold_folder(weft_session_t *of)
{
    for (unsigned i = 0; i < 100; i++) {
        ok(weft_mkdir(of, "/folder", 0755));
        make(of, "/folder/first", "");
        const uint64_t before = counter(of, "held_changes");
        make(of, "/folder/second", "");
        ok(weft_unlink(of, "/folder/second"));
        ok(weft_unlink(of, "/folder/first"));
        if (counter(of, "held_changes") > before)
            return;
        ok(weft_rmdir(of, "/folder"));
    }
    fail_msg("the folder is never held");
}

static void remove_folder(weft_session_t *of)
{
    weft_dir_t *dir;
    const char *name;
    char path[512];
    ok(weft_dir_open(of, "/folder", &dir));
    while (weft_dir_next(dir, &name, NULL) > 0) {
        snprintf(path, sizeof path, "/folder/%s", name);
        ok(weft_unlink(of, path));
    }
    weft_dir_close(dir);
    ok(weft_rmdir(of, "/folder"));
}

/* ---- requests ---------------------------------------------------------------- */

static void test_requests(void **state)
{
    struct weft_attr attr;
    (void)state;
    hold_folder(session);
    const uint64_t before = counter(session, "metadata_requests");
    for (unsigned i = 0; i < FILES; i++)
        make(session, name_of(i), i % 3 ? "" : "some text");
    for (unsigned i = 0; i < FILES; i++) {
        ok(weft_stat(session, name_of(i), 0, &attr));
        assert_int_equal(attr.size, i % 3 ? 0 : 9);
        assert_int_equal(attr.mode, S_IFREG | 0640);
        assert_int_equal(attr.uid, getuid());
    }
    assert_int_equal(weft_access(session, "/folder/none", F_OK), -ENOENT);
    /* At least one in 5 ms, so a machine that has much else to do sends more. */
    assert_true(counter(session, "metadata_requests") - before < FILES / 4);

    assert_int_equal(count_names(other, "/folder"), FILES);
    for (unsigned i = 0; i < FILES; i++)
        check_text(other, name_of(i), i % 3 ? "" : "some text");
    assert_int_equal(counter(session, "held_lost"), 0);
    remove_folder(other);
}

/* More than the numbers that come with the folder. */
static void test_many(void **state)
{
    (void)state;
    hold_folder(session);
    uint64_t before = counter(session, "metadata_requests");
    for (unsigned i = 0; i < MANY; i++)
        make(session, name_of(i), "");
    assert_true(counter(session, "metadata_requests") - before < MANY / 4);
    assert_int_equal(count_names(session, "/folder"), MANY);
    before = counter(session, "metadata_requests");
    for (unsigned i = 0; i < MANY; i++)
        ok(weft_unlink(session, name_of(i)));
    assert_true(counter(session, "metadata_requests") - before < MANY / 4);
    assert_int_equal(count_names(other, "/folder"), 0);
    assert_int_equal(counter(session, "held_lost"), 0);
    ok(weft_rmdir(session, "/folder"));
}

/* What is told at last is what was told of before. */
static void test_attributes_are_the_same(void **state)
{
    struct weft_attr here, there;
    (void)state;
    hold_folder(session);
    make(session, "/folder/a", "12345");
    ok(weft_stat(session, "/folder/a", 0, &here));
    ok(weft_stat(other, "/folder/a", 0, &there));
    assert_memory_equal(&here, &there, sizeof here);
    remove_folder(session);
}

/* ---- others --------------------------------------------------------------------- */

/* Each looks right after the other has done something. */
static void test_others_see_all(void **state)
{
    struct weft_attr attr;
    (void)state;
    for (unsigned i = 0; i < 50; i++) {
        hold_folder(session);
        make(session, name_of(i), "text");
        switch (i % 6) {
        case 0:
            ok(weft_stat(other, name_of(i), 0, &attr));
            assert_int_equal(attr.size, 4);
            break;
        case 1:
            check_text(other, name_of(i), "text");
            break;
        case 2:
            assert_int_equal(try_make(other, name_of(i), O_EXCL, ""), -EEXIST);
            break;
        case 3:
            ok(weft_rename(other, name_of(i), name_of(i + 1)));
            assert_int_equal(weft_stat(session, name_of(i), 0, &attr), -ENOENT);
            check_text(session, name_of(i + 1), "text");
            break;
        case 4:
            ok(weft_unlink(other, name_of(i)));
            assert_int_equal(weft_unlink(session, name_of(i)), -ENOENT);
            ok(try_make(session, name_of(i), O_EXCL, "new"));
            check_text(other, name_of(i), "new");
            break;
        default:
            assert_int_equal(count_names(other, "/folder"), 1);
            ok(weft_rename(other, "/folder", "/elsewhere"));
            assert_int_equal(weft_stat(session, name_of(i), 0, &attr), -ENOENT);
            assert_int_equal(try_make(session, name_of(i), 0, ""), -ENOENT);
            ok(weft_rename(session, "/elsewhere", "/folder"));
        }
        remove_folder(i % 2 ? session : other);
    }
    assert_int_equal(counter(session, "held_lost"), 0);
}

/* The session's other calls are as they are everywhere. */
static void test_one_session(void **state)
{
    struct weft_attr attr;
    (void)state;
    hold_folder(session);
    make(session, "/folder/a", "text");
    assert_int_equal(try_make(session, "/folder/a", O_EXCL, ""), -EEXIST);
    make(session, "/folder/a", "TE");
    check_text(session, "/folder/a", "TExt");
    ok(weft_link(session, "/folder/a", "/folder/b"));
    ok(weft_stat(session, "/folder/a", 0, &attr));
    assert_int_equal(attr.nlink, 2);
    ok(weft_chmod(session, "/folder/b", 0600));
    ok(weft_stat(session, "/folder/a", 0, &attr));
    assert_int_equal(attr.mode & 07777, 0600);
    make(session, "/folder/c", "");
    ok(weft_truncate(session, "/folder/c", 100));
    ok(weft_stat(session, "/folder/c", 0, &attr));
    assert_int_equal(attr.size, 100);
    ok(weft_mkdir(session, "/folder/d", 0700));
    assert_int_equal(weft_unlink(session, "/folder/d"), -EISDIR);
    ok(weft_rmdir(session, "/folder/d"));
    assert_int_equal(weft_unlink(session, "/folder/."), -EISDIR);
    make(session, "/folder/e", "");
    ok(weft_chmod(session, "/folder", 0700));
    ok(weft_stat(session, "/folder", 0, &attr));
    assert_int_equal(attr.mode & 07777, 0700);
    make(session, "/folder/f", "");
    ok(weft_unlink(session, "/folder/f"));
    assert_int_equal(weft_stat(session, "/folder/f", 0, &attr), -ENOENT);
    assert_int_equal(weft_rmdir(session, "/folder"), -ENOTEMPTY);
    remove_folder(session);
}

/* What a session knows of a file by the one name it may have changed by another. */
static void test_other_names(void **state)
{
    struct weft_attr attr;
    weft_file_t *file;
    (void)state;
    hold_folder(session);
    ok(weft_symlink(session, "folder/f", "/link"));
    ok(weft_symlink(session, "folder", "/way"));
    make(session, "/folder/f", "text");
    ok(weft_stat(session, "/folder/f", 0, &attr));
    ok(weft_chmod(session, "/link", 0600));
    ok(weft_stat(session, "/folder/f", 0, &attr));
    assert_int_equal(attr.mode, S_IFREG | 0600);
    ok(weft_file_open(session, "/way/f", O_WRONLY, 0, NULL, &file));
    assert_int_equal(weft_file_write(file, "longer text", 11, 0), 11);
    ok(weft_file_close(file));
    ok(weft_stat(session, "/folder/f", 0, &attr));
    assert_int_equal(attr.size, 11);
    make(session, "/way/made", "");
    ok(weft_stat(session, "/folder/made", 0, &attr));
    ok(weft_unlink(session, "/way/made"));
    assert_int_equal(weft_stat(session, "/folder/made", 0, &attr), -ENOENT);
    ok(weft_unlink(session, "/way/f"));
    make(session, "/link", "by the link");
    check_text(session, "/folder/f", "by the link");
    ok(weft_unlink(session, "/way"));
    ok(weft_unlink(session, "/link"));
    remove_folder(session);
}

/* ---- files that are open ------------------------------------------------------------ */

/* A file that was made here and is open stays what it is when others come. */
static void test_open_files(void **state)
{
    char buffer[16];
    struct weft_attr attr;
    weft_file_t *files[4];
    (void)state;
    hold_folder(session);
    for (unsigned i = 0; i < 4; i++) {
        ok(weft_file_open(session, name_of(i), O_RDWR | O_CREAT, 0600, NULL, &files[i]));
        assert_int_equal(weft_file_write(files[i], "0123", 4, 0), 4);
    }
    ok(weft_file_stat(files[0], &attr));
    assert_int_equal(attr.size, 4);
    ok(weft_unlink(other, name_of(0)));
    ok(weft_unlink(session, name_of(1)));
    check_text(other, name_of(2), "0123");
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(weft_file_write(files[i], "45", 2, 4), 2);
        assert_int_equal(weft_file_read(files[i], buffer, sizeof buffer, 0), 6);
        assert_memory_equal(buffer, "012345", 6);
        ok(weft_file_stat(files[i], &attr));
        assert_int_equal(attr.nlink, i >= 2);
        ok(weft_file_close(files[i]));
    }
    check_text(other, name_of(2), "012345");
    check_text(other, name_of(3), "012345");
    assert_int_equal(weft_stat(other, name_of(0), 0, &attr), -ENOENT);
    remove_folder(session);
}

/* One that grows beyond what is small, and one that is read at once. */
static void test_growing(void **state)
{
    static char bytes[100000], found[100000];
    weft_file_t *file;
    (void)state;
    hold_folder(session);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 7);
    ok(weft_file_open(session, name_of(0), O_RDWR | O_CREAT, 0600, NULL, &file));
    for (size_t at = 0; at < sizeof bytes; at += 1000)
        assert_int_equal(weft_file_write(file, bytes + at, 1000, at), 1000);
    assert_int_equal(weft_file_read(file, found, sizeof found, 0), sizeof found);
    assert_memory_equal(found, bytes, sizeof found);
    ok(weft_file_close(file));
    ok(weft_file_open(other, name_of(0), O_RDONLY, 0, NULL, &file));
    memset(found, 0, sizeof found);
    assert_int_equal(weft_file_read(file, found, sizeof found, 0), sizeof found);
    assert_memory_equal(found, bytes, sizeof found);
    ok(weft_file_close(file));
    /* With a hole in front. */
    ok(weft_file_open(session, name_of(1), O_RDWR | O_CREAT, 0600, NULL, &file));
    assert_int_equal(weft_file_write(file, "x", 1, 9), 1);
    assert_int_equal(weft_file_read(file, found, 16, 0), 10);
    assert_memory_equal(found, "\0\0\0\0\0\0\0\0\0x", 10);
    ok(weft_file_close(file));
    remove_folder(session);
}

/* ---- processes that end, and servers that do --------------------------------------------- */

enum { STEP = 50 };

/* Makes files in "/folder", tells, and then does as it is told. */
static void fill(int told, const char *how)
{
    weft_session_t *own;
    if (weft_connect(NULL, &own) < 0)
        _exit(1);
    keep(own);
    hold_folder(own);
    for (unsigned i = 0; i < STEP; i++)
        make(own, name_of(i), "text");
    if (strcmp(how, "end") == 0)
        weft_disconnect(own);
    if (strcmp(how, "stop") == 0)
        raise(SIGSTOP);
    if (write(told, "f", 1) != 1)
        _exit(1);
    if (strcmp(how, "end") != 0)
        pause();
    _exit(0);
}

static pid_t start_filling(const char *how)
{
    int told[2];
    char byte, number[16];
    assert_int_equal(pipe(told), 0);
    snprintf(number, sizeof number, "%d", told[1]);
    const pid_t pid = cluster_run_again((const char *const[]){"fill", number, how, NULL});
    close(told[1]);
    assert_int_equal(read(told[0], &byte, 1), 1);
    close(told[0]);
    return pid;
}

static void kill_and_wait(pid_t pid, int number)
{
    kill(pid, number);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void check_filled(void)
{
    assert_int_equal(count_names(other, "/folder"), STEP);
    for (unsigned i = 0; i < STEP; i++)
        check_text(other, name_of(i), "text");
    remove_folder(other);
}

/* It only waits, and is looked at by nobody: within milliseconds all is told. */
static void test_a_process_that_is_killed_later(void **state)
{
    (void)state;
    const pid_t pid = start_filling("wait");
    usleep(300000);
    kill_and_wait(pid, SIGKILL);
    check_filled();
}

static void test_a_process_that_ends(void **state)
{
    (void)state;
    assert_int_equal(waitpid(start_filling("end"), NULL, 0) > 0, 1);
    check_filled();
}

/* Who is stopped is not waited for for ever, and tells the rest when it goes on. */
static void test_a_process_that_is_stopped(void **state)
{
    int status;
    (void)state;
    const pid_t pid = start_filling("wait");
    kill(pid, SIGSTOP);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    const double before = cluster_now();
    (void)count_names(other, "/folder");
    assert_true(cluster_now() - before < 20);
    kill(pid, SIGCONT);
    for (unsigned i = 0; i < 1000 && count_names(other, "/folder") < STEP; i++)
        usleep(10000);
    kill_and_wait(pid, SIGKILL);
    check_filled();
}

/* What is told late waits after a start of the server, and that ends in this moment: nothing is lost. */
static void test_the_server_ends_while_it_is_told(void **state)
{
    int told[2], status;
    char number[16];
    (void)state;
    assert_int_equal(pipe(told), 0);
    snprintf(number, sizeof number, "%d", told[1]);
    const pid_t pid = cluster_run_again((const char *const[]){"fill", number, "stop", NULL});
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    (void)count_names(other, "/folder"); /* others do not wait for who is silent */
    cluster_kill(&cluster, CLUSTER_METADATA);
    cluster_start(&cluster, CLUSTER_METADATA);
    kill(pid, SIGCONT);
    for (unsigned i = 0; i < 200 && server_counter(other, "delegations_waits") == 0; i++)
        usleep(2000);
    cluster_stop(&cluster, CLUSTER_METADATA);
    cluster_start(&cluster, CLUSTER_METADATA);
    for (unsigned i = 0; i < 1000 && count_names(other, "/folder") < STEP; i++)
        usleep(10000);
    kill_and_wait(pid, SIGKILL);
    check_filled();
    close(told[0]);
    close(told[1]);
}

static void test_the_server_is_killed(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        hold_folder(session);
        for (unsigned i = 0; i < FILES; i++) {
            if (i == FILES / 2)
                cluster_kill(&cluster, CLUSTER_METADATA);
            if (i == FILES / 2 + 20)
                cluster_start(&cluster, CLUSTER_METADATA);
            make(session, name_of(i), "text");
        }
        assert_int_equal(count_names(other, "/folder"), FILES);
        for (unsigned i = 0; i < FILES; i++)
            check_text(other, name_of(i), "text");
        remove_folder(session);
    }
    assert_int_equal(counter(session, "held_lost"), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_attributes_are_the_same),
        cmocka_unit_test(test_others_see_all),
        cmocka_unit_test(test_one_session),
        cmocka_unit_test(test_other_names),
        cmocka_unit_test(test_open_files),
        cmocka_unit_test(test_growing),
        cmocka_unit_test(test_a_process_that_is_killed_later),
        cmocka_unit_test(test_a_process_that_ends),
        cmocka_unit_test(test_a_process_that_is_stopped),
        cmocka_unit_test(test_the_server_ends_while_it_is_told),
        cmocka_unit_test(test_the_server_is_killed),
    };
    if (argc == 4 && strcmp(argv[1], "fill") == 0)
        fill((int)strtol(argv[2], NULL, 10), argv[3]);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, setup, pair_teardown);
}
