/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes that sessions keep (weft_keep_attributes()): how few requests looking takes, and that nobody
 * ever sees anything old. Sessions that keep them and one that does not make, look at, change, rename and
 * remove a few names, one call after the other, drawn from a seed: each must find what the one before has
 * left. The same while the metadata server is killed again and again. And what becomes of changes when a
 * process that has promises is silent. WEFT_TEST_SEED repeats a run.
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

enum { FILES = 200, WARM = 8, NAMES = 6, FOLDERS = 2, STEPS = 4000 };

static struct weft_attr look(weft_session_t *of, const char *path)
{
    struct weft_attr attr;
    ok(weft_stat(of, path, WEFT_STAT_NOFOLLOW, &attr));
    return attr;
}

/* Keeps attributes, and has asked for enough to be promised something. */
static void keep(weft_session_t *of)
{
    ok(weft_keep_attributes(of, NULL));
    for (unsigned i = 0; i < WARM; i++)
        look(of, "/");
}

/* One session in the middle, and one of the crowd, do not keep any. */
static int setup(void **state)
{
    random_state = seed_wanted();
    crowd_setup(state);
    keep(session);
    keep(clients[0]);
    keep(clients[1]);
    return 0;
}

/* Looks until the answer was a promise: the first one may come before the server has noted that there are
 * any. */
static void look_until_known(weft_session_t *of, const char *path)
{
    for (unsigned i = 0; i < 1000; i++) {
        const uint64_t hits = counter(of, "attr_hits");
        look(of, path);
        if (counter(of, "attr_hits") > hits)
            return;
    }
    fail_msg("%s is never known", path);
}

static void make(weft_session_t *of, const char *path, const char *text)
{
    weft_file_t *file;
    ok(weft_file_open(of, path, O_WRONLY | O_CREAT | O_TRUNC, 0644, NULL, &file));
    if (*text)
        assert_int_equal(weft_file_write(file, text, strlen(text), 0), strlen(text));
    ok(weft_file_close(file));
}

static const char *name_of(unsigned i)
{
    static char name[32];
    snprintf(name, sizeof name, "/file.%u", i);
    return name;
}

/* ---- requests ----------------------------------------------------------------------- */

/* Who makes small files knows all about them. What somebody else changes takes him a request, and the other
 * one needs no longer than it takes to tell him. */
static void test_requests(void **state)
{
    (void)state;
    look_until_known(session, "/");
    for (unsigned i = 0; i < FILES; i++)
        make(session, name_of(i), i % 2 ? "some" : "");
    uint64_t before = counter(session, "sent_stat"), hits = counter(session, "attr_hits");
    for (unsigned i = 0; i < FILES; i++)
        assert_int_equal(look(session, name_of(i)).size, i % 2 ? 4 : 0);
    assert_int_equal(counter(session, "attr_hits") - hits, FILES);
    assert_int_equal(counter(session, "sent_stat"), before);

    look(other, name_of(0)); /* the session held the folder */
    for (unsigned i = 0; i < FILES; i++)
        look(session, name_of(i));
    before = counter(session, "sent_stat");
    const uint64_t recalled = server_counter(session, "delegations_recalled");
    for (unsigned i = 0; i < FILES; i++) {
        ok(weft_chmod(other, name_of(i), 0600));
        assert_int_equal(look(session, name_of(i)).mode & 07777, 0600);
        assert_int_equal(look(session, name_of(i)).mode & 07777, 0600);
    }
    assert_int_equal(counter(session, "sent_stat"), before + FILES);
    assert_int_equal(server_counter(session, "delegations_expired"), 0);
    assert_int_equal(server_counter(session, "delegations_recalled"), recalled + FILES);
    for (unsigned i = 0; i < FILES; i++)
        ok(weft_unlink(session, name_of(i)));
    assert_int_equal(server_counter(session, "delegations_recalled"), recalled + FILES);
}

/* Until it is known that there is nothing of that name. */
static void miss_until_known(weft_session_t *of, const char *path)
{
    struct weft_attr attr;
    for (unsigned i = 0; i < 1000; i++) {
        const uint64_t hits = counter(of, "attr_hits");
        assert_int_equal(weft_stat(of, path, 0, &attr), -ENOENT);
        if (counter(of, "attr_hits") > hits)
            return;
        usleep(1000);
    }
    fail_msg("it is never known that %s does not exist", path);
}

/* A name that is not there takes no request either, until somebody makes it. */
static void test_names_that_are_not_there(void **state)
{
    weft_file_t *file;
    (void)state;
    ok(weft_mkdir(session, "/folder", 0755));
    for (unsigned round = 0; round < 4; round++) {
        miss_until_known(session, "/folder/none");
        const uint64_t before = counter(session, "metadata_requests");
        for (unsigned i = 0; i < FILES; i++) {
            assert_int_equal(weft_access(session, "/folder/none", F_OK), -ENOENT);
            assert_int_equal(weft_file_open(session, "/folder/none", O_RDWR, 0, NULL, &file), -ENOENT);
        }
        assert_true(counter(session, "metadata_requests") - before < 10); /* those that wait for recalls */
        make(round % 2 ? session : other, "/folder/none", "");
        ok(weft_access(session, "/folder/none", F_OK));
        ok(weft_file_open(session, "/folder/none", O_RDWR, 0, NULL, &file));
        ok(weft_file_close(file));
        ok(weft_unlink(round < 2 ? session : other, "/folder/none"));
        assert_int_equal(weft_access(session, "/folder/none", F_OK), -ENOENT);
    }
    ok(weft_rmdir(session, "/folder"));
}

/* Permissions are known with the attributes. */
static void test_access(void **state)
{
    (void)state;
    make(session, "/file", "");
    look_until_known(session, "/file");
    const uint64_t before = counter(session, "sent_stat") + counter(session, "sent_access");
    for (unsigned i = 0; i < FILES; i++) {
        ok(weft_access(session, "/file", R_OK | W_OK));
        assert_int_equal(weft_access(session, "/file", X_OK), -EACCES);
    }
    assert_int_equal(counter(session, "sent_stat") + counter(session, "sent_access"), before);
    ok(weft_chmod(other, "/file", 0755));
    ok(weft_access(session, "/file", X_OK));
    ok(weft_unlink(session, "/file"));
}

/* What is not used is given up, and nothing is asked any more. */
static void test_idle_sessions_are_quiet(void **state)
{
    (void)state;
    make(session, "/file", "");
    look_until_known(session, "/file");
    usleep(3 * LIMITS_DELEGATION_MS * 1000);
    uint64_t before = counter(session, "metadata_requests");
    const uint64_t expired = server_counter(other, "delegations_expired");
    usleep(2 * LIMITS_DELEGATION_MS * 1000);
    assert_int_equal(counter(session, "metadata_requests"), before);
    ok(weft_chmod(other, "/file", 0600));
    assert_int_equal(server_counter(other, "delegations_expired"), expired);
    assert_int_equal(look(session, "/file").mode & 07777, 0600);
    ok(weft_unlink(other, "/file"));
}

/* ---- one call after the other ----------------------------------------------------------- */

struct model {
    bool exists;
    mode_t mode;
    uint64_t size, ino;
};

static struct model models[FOLDERS][NAMES];
static unsigned steps;

static const char *path_of(unsigned folder, unsigned name)
{
    static char paths[2][32];
    static unsigned which;
    which = !which;
    snprintf(paths[which], sizeof paths[which], "/folder.%u/%u", folder, name);
    return paths[which];
}

static void step_look(weft_session_t *of, unsigned folder, unsigned name)
{
    const struct model *model = &models[folder][name];
    struct weft_attr attr;
    const int result = weft_stat(of, path_of(folder, name), 0, &attr);
    if (result != (model->exists ? 0 : -ENOENT))
        fail_msg("step %u: looking at %s: %d", steps, path_of(folder, name), result);
    if (result == 0 && (attr.size != model->size || (attr.mode & 07777) != model->mode ||
                        (model->ino && attr.ino != model->ino)))
        fail_msg("step %u: %s has mode %o and %llu bytes, and should have %o and %llu", steps,
                 path_of(folder, name), attr.mode, (unsigned long long)attr.size, model->mode,
                 (unsigned long long)model->size);
}

static void step_write(weft_session_t *of, unsigned folder, unsigned name)
{
    static const struct weft_layout striped = {0};
    static char bytes[5000];
    struct model *model = &models[folder][name];
    weft_file_t *file;
    const size_t length = 1 + below(below(4) ? 100 : sizeof bytes - 1);
    ok(weft_file_open(of, path_of(folder, name), O_WRONLY | O_CREAT, 0644, below(4) ? NULL : &striped,
                      &file));
    if (!model->exists)
        *model = (struct model){.exists = true, .mode = 0644, .ino = weft_file_ino(file)};
    assert_int_equal(weft_file_write(file, bytes, length, 0), length);
    if (length > model->size)
        model->size = length;
    step_look(clients[below(CLIENTS)], folder, name);
    ok(weft_file_close(file));
}

static void step_change(weft_session_t *of, unsigned folder, unsigned name)
{
    struct model *model = &models[folder][name];
    weft_file_t *file;
    if (!model->exists) {
        assert_int_equal(weft_truncate(of, path_of(folder, name), 1), -ENOENT);
        return;
    }
    switch (below(4)) {
    case 0:
        model->mode = 0600 | below(0200);
        ok(weft_chmod(of, path_of(folder, name), model->mode));
        break;
    case 1:
        model->mode = 0600 | below(0200);
        ok(weft_file_open(of, path_of(folder, name), O_RDONLY, 0, NULL, &file));
        ok(weft_file_chmod(file, model->mode));
        ok(weft_file_close(file));
        break;
    case 2:
        model->size = below(200);
        ok(weft_truncate(of, path_of(folder, name), model->size));
        break;
    default:
        ok(weft_unlink(of, path_of(folder, name)));
        *model = (struct model){0};
        break;
    }
}

static void step_rename(weft_session_t *of, unsigned folder, unsigned name)
{
    const unsigned folder_to = below(FOLDERS), to = below(NAMES);
    struct model *from = &models[folder][name];
    const int result = weft_rename(of, path_of(folder, name), path_of(folder_to, to));
    assert_int_equal(result, from->exists ? 0 : -ENOENT);
    if (result == 0 && from != &models[folder_to][to]) {
        models[folder_to][to] = *from;
        *from = (struct model){0};
    }
}

/* The folders change places, with all that is known by paths through them. */
static void step_folders(weft_session_t *of)
{
    struct model kept[NAMES];
    ok(weft_rename(of, "/folder.0", "/folder.x"));
    ok(weft_rename(of, "/folder.1", "/folder.0"));
    ok(weft_rename(of, "/folder.x", "/folder.1"));
    memcpy(kept, models[0], sizeof kept);
    memcpy(models[0], models[1], sizeof kept);
    memcpy(models[1], kept, sizeof kept);
}

static void step(void)
{
    weft_session_t *of = clients[below(CLIENTS)];
    const unsigned folder = below(FOLDERS), name = below(NAMES), what = below(200);
    if (what < 120)
        step_look(of, folder, name);
    else if (what < 160)
        step_write(of, folder, name);
    else if (what < 190)
        step_change(of, folder, name);
    else if (what < 198)
        step_rename(of, folder, name);
    else
        step_folders(of);
}

static uint64_t hits(void)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        count += counter(clients[i], "attr_hits");
    return count;
}

static void run_steps(unsigned count, unsigned kill_every)
{
    memset(models, 0, sizeof models);
    ok(weft_mkdir(session, "/folder.0", 0755));
    ok(weft_mkdir(session, "/folder.1", 0755));
    for (steps = 0; steps < count; steps++) {
        if (kill_every && steps % kill_every == kill_every - 1) {
            cluster_kill(&cluster, CLUSTER_METADATA);
            cluster_start(&cluster, CLUSTER_METADATA);
        }
        step();
        if (below(40) == 0)
            usleep(25000); /* so that names which are not there are promised, too */
    }
    for (unsigned i = 0; i < FOLDERS * NAMES; i++) {
        if (models[i / NAMES][i % NAMES].exists)
            ok(weft_unlink(session, path_of(i / NAMES, i % NAMES)));
    }
    ok(weft_rmdir(session, "/folder.0"));
    ok(weft_rmdir(session, "/folder.1"));
}

static void test_each_sees_what_was_before(void **state)
{
    (void)state;
    const uint64_t before = hits();
    run_steps(STEPS, 0);
    assert_true(hits() > before);
    assert_true(server_counter(session, "delegations_recalled_all") > 0);
    assert_int_equal(server_counter(session, "delegations_expired"), 0);
}

static void test_servers_that_are_killed(void **state)
{
    (void)state;
    const uint64_t before = hits();
    run_steps(STEPS / 8, STEPS / 80);
    assert_true(hits() > before);
}

/* ---- processes that are silent ------------------------------------------------------------- */

static volatile sig_atomic_t ends;

static void on_term(int number)
{
    (void)number;
    ends = 1;
}

/* Goes on using what it knows of "/file", and tells when it does so. */
static void know(int told)
{
    weft_session_t *own;
    struct weft_attr attr;
    signal(SIGTERM, on_term);
    if (weft_connect(NULL, &own) < 0 || weft_keep_attributes(own, NULL) < 0)
        _exit(1);
    while (!ends) {
        if (weft_stat(own, "/file", 0, &attr) < 0 ||
            (counter(own, "attr_hits") == 1 && write(told, "k", 1) != 1))
            _exit(1);
        usleep(10000);
    }
    weft_disconnect(own);
    _exit(0);
}

static pid_t start_knowing(void)
{
    int told[2];
    char byte;
    assert_int_equal(pipe(told), 0);
    char number[16];
    snprintf(number, sizeof number, "%d", told[1]);
    const pid_t pid = cluster_run_again((const char *const[]){"know", number, NULL});
    close(told[1]);
    assert_int_equal(read(told[0], &byte, 1), 1);
    close(told[0]);
    return pid;
}

static void end(pid_t pid, int number)
{
    kill(pid, SIGCONT);
    kill(pid, number);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* It computes, say, and does not call the library for a while: its own thread answers. */
static void test_a_busy_process_holds_nobody_up(void **state)
{
    (void)state;
    make(session, "/file", "");
    const uint64_t expired = server_counter(session, "delegations_expired");
    const pid_t pid = start_knowing();
    const uint64_t recalled = server_counter(session, "delegations_recalled");
    ok(weft_chmod(session, "/file", 0640));
    assert_int_equal(server_counter(session, "delegations_recalled"), recalled + 1);
    assert_int_equal(server_counter(session, "delegations_expired"), expired);
    end(pid, SIGTERM);
}

static void test_a_stopped_process_is_not_waited_for_long(void **state)
{
    (void)state;
    make(session, "/file", "");
    const pid_t pid = start_knowing();
    const uint64_t expired = server_counter(session, "delegations_expired");
    int status;
    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid); /* all of its threads have stopped */
    assert_true(WIFSTOPPED(status));
    ok(weft_chmod(session, "/file", 0600));
    const uint64_t after = server_counter(session, "delegations_expired");
    end(pid, SIGTERM);
    assert_true(after > expired);
}

static void test_a_killed_process_is_not_waited_for_long(void **state)
{
    (void)state;
    make(session, "/file", "");
    end(start_knowing(), SIGKILL);
    const uint64_t expired = server_counter(session, "delegations_expired");
    ok(weft_chmod(session, "/file", 0644));
    assert_true(server_counter(session, "delegations_expired") > expired);
    ok(weft_unlink(session, "/file"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_names_that_are_not_there),
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_idle_sessions_are_quiet),
        cmocka_unit_test(test_each_sees_what_was_before),
        cmocka_unit_test(test_a_busy_process_holds_nobody_up),
        cmocka_unit_test(test_a_stopped_process_is_not_waited_for_long),
        cmocka_unit_test(test_a_killed_process_is_not_waited_for_long),
        cmocka_unit_test(test_servers_that_are_killed),
    };
    if (argc == 3 && strcmp(argv[1], "know") == 0)
        know((int)strtol(argv[2], NULL, 10));
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, setup, crowd_teardown);
}
