/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client is told when a storage server's host has crashed between a write and its sync: that something
 * may be lost, once for each open file, and not when only the server has ended. With real servers, and
 * crashes that are acted (host_crash.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "calls.h"
#include "cluster.h"
#include "host_crash.h"

enum { SERVERS = 2, CHUNK = 65536, LENGTH = 8 * CHUNK };

static struct cluster cluster;
static weft_session_t *session;
static weft_file_t *file;
static uint8_t bytes[LENGTH];

static weft_file_t *open_file(int flags)
{
    static const struct weft_layout striped = {0};
    weft_file_t *opened;
    ok(weft_file_open(session, "/f", flags, 0644, &striped, &opened));
    return opened;
}

static int setup(void **state)
{
    (void)state;
    cluster_open(&cluster, &(struct cluster_options){.servers = SERVERS, .chunk_size = CHUNK});
    ok(weft_connect(NULL, &session));
    file = open_file(O_RDWR | O_CREAT);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ok(weft_file_close(file));
    weft_disconnect(session);
    cluster_close(&cluster);
    return 0;
}

static void write_all(int value)
{
    memset(bytes, value, sizeof bytes);
    assert_int_equal(weft_file_write(file, bytes, sizeof bytes, 0), sizeof bytes);
}

static size_t count(int value)
{
    size_t found = 0;
    assert_int_equal(weft_file_read(file, bytes, sizeof bytes, 0), sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        found += bytes[i] == value;
    return found;
}

/* The target of s0. */
static const char *target_dir(void)
{
    static char dir[128];
    snprintf(dir, sizeof dir, "%s/s0/t0", cluster.dir);
    return dir;
}

/* As it is now. */
static void keep(void)
{
    shell("cp -a '%s' '%s/kept'", target_dir(), cluster.dir);
}

static void put_back(void)
{
    shell("rm -rf '%s'%s", target_dir(), "");
    shell("cp -a '%s/kept' '%s'", cluster.dir, target_dir());
}

static void start(void)
{
    cluster_start(&cluster, 0);
    cluster_wait_up(&cluster, SERVERS);
}

static void expect_told(weft_file_t *of)
{
    assert_int_equal(weft_file_sync(of), -EIO);
    assert_non_null(strstr(weft_error(), "/f: the host of storage server s0 has crashed"));
    ok(weft_file_sync(of));
}

/* What was written after keep() is lost. */
static void crash(void)
{
    cluster_kill(&cluster, 0);
    put_back();
    host_started_anew(target_dir());
    start();
}

static void a_loss_is_told_once(void **state)
{
    uint8_t blob[16384];
    weft_file_t *copy;
    (void)state;
    weft_file_t *reader = open_file(O_RDONLY);
    ssize_t length = weft_file_export(file, blob, sizeof blob);
    ok(length);
    ok(weft_file_import(session, blob, (size_t)length, &copy));
    write_all('a');
    ok(weft_file_sync(file));
    keep();
    write_all('b');
    crash();
    assert_in_range(count('a'), 1, LENGTH - 1); /* it is as this test wants it */
    expect_told(file);
    expect_told(copy);
    expect_told(reader);
    weft_file_t *later = open_file(O_RDWR);
    ok(weft_file_sync(later));
    write_all('c');
    ok(weft_file_sync(file));
    assert_int_equal(count('c'), LENGTH);
    ok(weft_file_close(later));
    ok(weft_file_close(reader));
    ok(weft_file_close(copy));
}

static void the_end_of_a_server_is_no_loss(void **state)
{
    (void)state;
    write_all('a');
    cluster_kill(&cluster, 0);
    start();
    ok(weft_file_sync(file));
    write_all('b');
    cluster_stop(&cluster, 0);
    start();
    ok(weft_file_sync(file));
    /* Nor is a crash after a stop. */
    write_all('c');
    cluster_stop(&cluster, 0);
    shell("grep -q '^boot 00000000000000000000000000000000$' '%s/target'%s", target_dir(), "");
    start();
    ok(weft_file_sync(file));
    assert_int_equal(count('c'), LENGTH);
    assert_false(cluster_logged(&cluster, 0, "has crashed"));
}

/* One that does not know itself what it has lost. */
static void a_target_that_was_put_back_is_a_loss(void **state)
{
    (void)state;
    write_all('a');
    ok(weft_file_sync(file));
    keep();
    crash();
    expect_told(file);
    write_all('b');
    cluster_stop(&cluster, 0);
    put_back();
    start();
    assert_true(cluster_logged(&cluster, 0, "was put back to what it was earlier"));
    expect_told(file);
    /* From then on it counts by itself. */
    write_all('c');
    cluster_kill(&cluster, 0);
    start();
    ok(weft_file_sync(file));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_loss_is_told_once),
        TEST(the_end_of_a_server_is_no_loss),
        TEST(a_target_that_was_put_back_is_a_loss),
    };
    return cmocka_run_group_tests_name("losses", tests, NULL, NULL);
}
