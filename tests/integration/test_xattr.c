/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes through libweft, with real servers: what one client sets the other finds, by path and
 * by open file; how many requests looking takes; and that each change is made once, while the metadata
 * server is killed again and again in the middle.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_pair.h"

enum { WARM = 8 };

static char value[WEFT_XATTR_VALUE_BYTES_MAX + 1], names[WEFT_XATTR_BYTES_MAX];

static const char *value_of(weft_session_t *of, const char *path, const char *name)
{
    ssize_t length = weft_xattr_get(of, path, name, value, sizeof value - 1, 0);
    ok(length);
    value[length] = 0;
    return value;
}

static int set(weft_session_t *of, const char *path, const char *name, const char *text)
{
    return weft_xattr_set(of, path, name, text, strlen(text), 0);
}

static weft_file_t *make(weft_session_t *of, const char *path)
{
    weft_file_t *file;
    ok(weft_file_open(of, path, O_RDWR | O_CREAT, 0644, NULL, &file));
    return file;
}

/* ---- two clients ------------------------------------------------------------------ */

static void test_one_sets_the_other_finds(void **state)
{
    struct weft_attr before, after;
    (void)state;
    ok(weft_file_close(make(session, "/f")));
    ok(weft_stat(other, "/f", 0, &before));
    assert_int_equal(before.xattrs, 0);
    ok(set(session, "/f", "user.b", "bytes"));
    ok(set(session, "weft:/f", "user.a", ""));
    assert_string_equal(value_of(other, "/f", "user.b"), "bytes");
    assert_string_equal(value_of(other, "/f", "user.a"), "");
    assert_int_equal(weft_xattr_list(other, "/f", names, sizeof names, 0), 14);
    assert_memory_equal(names, "user.a\0user.b", 14);
    ok(weft_stat(other, "/f", 0, &after));
    assert_int_equal(after.xattrs, 1);
    assert_true(after.ctime_ns > before.ctime_ns);
    assert_int_equal(after.mtime_ns, before.mtime_ns);
    assert_int_equal(weft_xattr_set(other, "/f", "user.a", "x", 1, WEFT_XATTR_CREATE), -EEXIST);
    assert_int_equal(weft_xattr_set(other, "/f", "user.c", "x", 1, WEFT_XATTR_REPLACE), -ENODATA);
    ok(weft_xattr_remove(other, "/f", "user.b", 0));
    assert_int_equal(weft_xattr_get(session, "/f", "user.b", value, sizeof value, 0), -ENODATA);
    assert_non_null(strstr(weft_error(), "weft_xattr_get: /f"));
    assert_int_equal(weft_xattr_remove(session, "/f", "user.b", 0), -ENODATA);
    ok(weft_unlink(session, "/f"));
}

static void test_sizes(void **state)
{
    (void)state;
    ok(weft_mkdir(session, "/d", 0755));
    memset(value, 'v', sizeof value);
    assert_int_equal(weft_xattr_set(session, "/d", "user.long", value, sizeof value, 0), -E2BIG);
    ok(weft_xattr_set(session, "/d", "user.long", value, sizeof value - 1, 0));
    assert_int_equal(weft_xattr_get(other, "/d", "user.long", NULL, 0, 0), WEFT_XATTR_VALUE_BYTES_MAX);
    assert_int_equal(weft_xattr_get(other, "/d", "user.long", names, 100, 0), -ERANGE);
    memset(names, 0, sizeof names);
    assert_int_equal(weft_xattr_get(other, "/d", "user.long", names, sizeof names, 0),
                     WEFT_XATTR_VALUE_BYTES_MAX);
    assert_memory_equal(names, value, WEFT_XATTR_VALUE_BYTES_MAX);
    assert_int_equal(weft_xattr_list(other, "/d", NULL, 0, 0), sizeof "user.long");
    assert_int_equal(weft_xattr_list(other, "/d", names, 9, 0), -ERANGE);
    /* All that there may be, with names as long as they may be. */
    char name[WEFT_XATTR_NAME_BYTES_MAX + 2];
    ok(weft_xattr_remove(session, "/d", "user.long", 0));
    for (unsigned i = 0; i < WEFT_XATTR_COUNT_MAX; i++) {
        snprintf(name, sizeof name, "user.%0*u", (int)(WEFT_XATTR_NAME_BYTES_MAX - 5), i);
        ok(weft_xattr_set(session, "/d", name, NULL, 0, 0));
    }
    assert_int_equal(weft_xattr_list(other, "/d", names, sizeof names, 0), WEFT_XATTR_BYTES_MAX);
    assert_string_equal(names + sizeof names - sizeof name + 1, name);
    assert_int_equal(weft_xattr_set(session, "/d", "user.more", NULL, 0, 0), -ENOSPC);
    ok(weft_rmdir(session, "/d"));
}

static void test_arguments(void **state)
{
    char name[WEFT_XATTR_NAME_BYTES_MAX + 2];
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    const uint64_t before = counter(session, "metadata_requests");
    assert_int_equal(weft_xattr_set(session, "/", name, "", 0, 0), -ERANGE);
    assert_int_equal(weft_xattr_set(session, "/", "", "", 0, 0), -ERANGE);
    assert_int_equal(weft_xattr_set(session, "/", NULL, "", 0, 0), -ERANGE);
    assert_int_equal(weft_xattr_set(session, "/", "user.a", NULL, 1, 0), -EINVAL);
    assert_int_equal(weft_xattr_set(session, "/", "user.a", "", 0, 8), -EINVAL);
    assert_int_equal(weft_xattr_get(session, "/", "user.a", NULL, 1, 0), -EINVAL);
    assert_int_equal(weft_xattr_list(session, "/", NULL, 1, 0), -EINVAL);
    assert_int_equal(weft_xattr_list(session, "/", NULL, 0, WEFT_XATTR_CREATE), -EINVAL);
    assert_int_equal(weft_xattr_get(session, "/", "security.capability", NULL, 0, 0), -EOPNOTSUPP);
    assert_int_equal(weft_xattr_set(session, "/", "system.posix_acl_access", "", 0, 0), -EOPNOTSUPP);
    assert_int_equal(weft_file_xattr_get(NULL, "user.a", NULL, 0), -EINVAL);
    assert_int_equal(counter(session, "metadata_requests"), before);
    assert_int_equal(weft_xattr_get(session, "/none", "user.a", NULL, 0, 0), -ENOENT);
}

static void test_open_files(void **state)
{
    (void)state;
    weft_file_t *file = make(session, "/f"), *again;
    ok(weft_file_xattr_set(file, "user.a", "one", 3, 0));
    assert_string_equal(value_of(other, "/f", "user.a"), "one");
    ok(weft_file_open(other, "/f", O_RDONLY, 0, NULL, &again));
    ok(weft_rename(session, "/f", "/g"));
    ok(weft_file_close(make(session, "/f")));
    assert_int_equal(weft_file_xattr_get(again, "user.a", value, sizeof value), 3);
    assert_int_equal(weft_file_xattr_set(again, "user.a", "two", 3, WEFT_XATTR_CREATE), -EEXIST);
    ok(weft_file_xattr_set(again, "user.a", "two", 3, WEFT_XATTR_REPLACE));
    assert_string_equal(value_of(session, "/g", "user.a"), "two");
    /* Also without a name. */
    ok(weft_unlink(session, "/g"));
    assert_int_equal(weft_file_xattr_list(file, names, sizeof names), sizeof "user.a");
    ok(weft_file_xattr_remove(again, "user.a"));
    assert_int_equal(weft_file_xattr_list(file, names, sizeof names), 0);
    assert_int_equal(weft_xattr_list(session, "/f", names, sizeof names, 0), 0);
    ok(weft_file_close(file));
    ok(weft_file_close(again));
    ok(weft_unlink(session, "/f"));
}

/* ---- requests ----------------------------------------------------------------------- */

/* A session that has been promised something of the path. */
static weft_session_t *keeper_of(const char *path)
{
    weft_session_t *keeper;
    struct weft_attr attr;
    ok(weft_connect(NULL, &keeper));
    ok(weft_keep_attributes(keeper, NULL));
    for (unsigned i = 0; i < 1000; i++) {
        const uint64_t hits = counter(keeper, "attr_hits");
        ok(weft_stat(keeper, path, 0, &attr));
        if (counter(keeper, "attr_hits") > hits)
            break;
    }
    return keeper;
}

/* Who keeps attributes knows of files that they have no extended ones, until somebody sets some. */
static void test_requests(void **state)
{
    struct weft_attr attr;
    (void)state;
    ok(weft_file_close(make(session, "/f")));
    weft_session_t *keeper = keeper_of("/f");
    const uint64_t before = counter(keeper, "metadata_requests") - counter(keeper, "sent_delegation_wait");
    assert_int_equal(weft_xattr_list(keeper, "/f", NULL, 0, 0), 0);
    assert_int_equal(weft_xattr_get(keeper, "/f", "user.a", NULL, 0, 0), -ENODATA);
    assert_int_equal(counter(keeper, "metadata_requests") - counter(keeper, "sent_delegation_wait"), before);
    for (unsigned i = 0; i < WARM; i++) {
        ok(set(session, "/f", "user.a", "x"));
        assert_string_equal(value_of(keeper, "/f", "user.a"), "x");
        ok(weft_stat(keeper, "/f", 0, &attr));
        assert_int_equal(attr.xattrs, 1);
        ok(weft_xattr_remove(session, "/f", "user.a", 0));
        assert_int_equal(weft_xattr_get(keeper, "/f", "user.a", NULL, 0, 0), -ENODATA);
        ok(weft_stat(keeper, "/f", 0, &attr));
        assert_int_equal(attr.xattrs, 0);
        /* Its own changes, too. */
        ok(set(keeper, "/f", "user.a", "y"));
        assert_string_equal(value_of(keeper, "/f", "user.a"), "y");
        ok(weft_xattr_remove(keeper, "/f", "user.a", 0));
        assert_int_equal(weft_xattr_list(keeper, "/f", NULL, 0, 0), 0);
    }
    weft_disconnect(keeper);
    ok(weft_unlink(session, "/f"));
}

/* ---- once ----------------------------------------------------------------------------- */

struct changer {
    pthread_t thread;
    atomic_bool stop;
    atomic_uint rounds;
    char text[700];
};

/* Whatever is done twice fails the second time: what is made exists, what is removed is not there. */
static void *make_and_remove(void *arg)
{
    struct changer *changer = arg;
    while (!changer->stop && !*changer->text) {
        int result = weft_xattr_set(session, "/busy", "user.once", "x", 1, WEFT_XATTR_CREATE);
        if (result == 0)
            result = weft_xattr_remove(session, "/busy", "user.once", 0);
        if (result < 0)
            snprintf(changer->text, sizeof changer->text, "%s", weft_error());
        changer->rounds++;
    }
    return NULL;
}

static void test_a_change_is_made_once(void **state)
{
    struct changer changer = {0};
    (void)state;
    ok(weft_mkdir(session, "/busy", 0755));
    ok(set(session, "/busy", "user.kept", "bytes"));
    weft_session_t *keeper = keeper_of("/busy");
    assert_int_equal(pthread_create(&changer.thread, NULL, make_and_remove, &changer), 0);
    for (unsigned turn = 0; turn < 8; turn++) {
        const unsigned rounds = changer.rounds;
        while (changer.rounds < rounds + 20 && !*changer.text)
            cluster_pause(1);
        if (turn % 2) {
            cluster_cut(&cluster, CLUSTER_METADATA);
            continue;
        }
        cluster_kill(&cluster, CLUSTER_METADATA);
        cluster_start(&cluster, CLUSTER_METADATA);
    }
    changer.stop = true;
    pthread_join(changer.thread, NULL);
    assert_string_equal(changer.text, "");
    assert_string_equal(value_of(other, "/busy", "user.kept"), "bytes");
    assert_int_equal(weft_xattr_list(other, "/busy", names, sizeof names, 0), sizeof "user.kept");
    weft_disconnect(keeper);
    ok(weft_rmdir(session, "/busy"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_sets_the_other_finds),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_open_files),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_a_change_is_made_once),
    };
    return cmocka_run_group_tests(tests, pair_setup, pair_teardown);
}
