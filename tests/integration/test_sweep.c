/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that are made when their file is gone already: storage servers find them and remove them, and
 * nothing else. Who has a handle from another process can make some, since that is used without a word to the
 * metadata server.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "calls.h"
#include "cluster.h"

/* Of those that are gone each shard has more than it asks for at once. */
enum { SERVERS = 2, SHARDS = 2, CHUNK = 4096, BYTES = 8 * CHUNK, GONE = 200, LIVE = 20, BLOB_BYTES = 8192 };
enum { PATIENCE_S = 60 };

static struct cluster cluster;
static weft_session_t *session;
static uint8_t bytes[BYTES], back[BYTES];

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / CHUNK);
    cluster_open(&cluster, &(struct cluster_options){.servers = SERVERS,
                                                     .shards = SHARDS,
                                                     .chunk_size = CHUNK,
                                                     .more = "sweep_interval_s = 1;"});
    ok(weft_connect(NULL, &session));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    weft_disconnect(session);
    cluster_close(&cluster);
    return 0;
}

static void wait_for(const char *name, uint64_t wanted)
{
    const double until = cluster_now() + PATIENCE_S;
    while (server_counter(session, name) < wanted) {
        assert_true(cluster_now() < until);
        cluster_pause(20);
    }
}

static void wait_for_sweeps(unsigned of_each_shard)
{
    wait_for("sweeps", server_counter(session, "sweeps") + of_each_shard * SERVERS * SHARDS);
}

static weft_file_t *make(const char *path)
{
    static const struct weft_layout striped = {0};
    weft_file_t *file;
    ok(weft_file_open(session, path, O_RDWR | O_CREAT | O_EXCL, 0600, &striped, &file));
    assert_int_equal(weft_file_write(file, bytes, sizeof bytes, 0), sizeof bytes);
    return file;
}

static void must_be_whole(weft_file_t *file)
{
    memset(back, 0, sizeof back);
    assert_int_equal(weft_file_read(file, back, sizeof back, 0), sizeof back);
    assert_memory_equal(back, bytes, sizeof bytes);
}

static void make_live(void)
{
    char path[32];
    for (unsigned i = 0; i < LIVE; i++) {
        snprintf(path, sizeof path, "/live-%u", i);
        ok(weft_file_close(make(path)));
    }
}

static void live_must_be_whole(void)
{
    char path[32];
    for (unsigned i = 0; i < LIVE; i++) {
        weft_file_t *file;
        snprintf(path, sizeof path, "/live-%u", i);
        ok(weft_file_open(session, path, O_RDONLY, 0, NULL, &file));
        must_be_whole(file);
        ok(weft_file_close(file));
    }
}

struct blob {
    uint8_t bytes[BLOB_BYTES];
    size_t length;
};

/* A file that is removed, and a handle of it that is nobody's any more. */
static void make_gone(struct blob *blob)
{
    weft_file_t *file = make("/gone");
    const ssize_t length = weft_file_export(file, blob->bytes, sizeof blob->bytes);
    ok(length);
    assert_true(length <= (ssize_t)sizeof blob->bytes);
    blob->length = (size_t)length;
    ok(weft_file_close(file));
    ok(weft_unlink(session, "/gone"));
}

static void what_is_made_too_late_is_removed(void **state)
{
    static struct blob blobs[GONE];
    static weft_file_t *late[GONE];
    const uint64_t swept = server_counter(session, "objects_swept");
    (void)state;
    make_live();
    weft_file_t *open = make("/open");
    ok(weft_unlink(session, "/open"));
    for (unsigned i = 0; i < GONE; i++)
        make_gone(&blobs[i]);
    wait_for("removals", GONE);
    /* What was removed as it should be leaves nothing to sweep. */
    wait_for_sweeps(2);
    assert_int_equal(server_counter(session, "objects_swept"), swept);

    for (unsigned i = 0; i < GONE; i++) {
        ok(weft_file_import(session, blobs[i].bytes, blobs[i].length, &late[i]));
        assert_int_equal(weft_file_write(late[i], bytes, sizeof bytes, 0), sizeof bytes);
    }
    wait_for("objects_swept", swept + (uint64_t)GONE * SERVERS * SHARDS);
    for (unsigned i = 0; i < GONE; i++)
        assert_int_equal(weft_file_read(late[i], back, sizeof back, 0), 0);
    wait_for_sweeps(1); /* which ends with a line in the log */
    for (int i = 0; i < SERVERS; i++)
        assert_true(cluster_logged(&cluster, i, "objects of files that are gone"));
    for (unsigned i = 0; i < GONE; i++)
        (void)weft_file_close(late[i]); /* it may be told that the handle is known to nobody */
    live_must_be_whole();
    must_be_whole(open);
    ok(weft_file_close(open));
}

/* What is there stays there when any of the servers is started again. */
static void what_is_there_outlives_restarts(void **state)
{
    (void)state;
    weft_file_t *open = make("/open");
    ok(weft_unlink(session, "/open"));
    cluster_kill(&cluster, CLUSTER_METADATA);
    cluster_start(&cluster, CLUSTER_METADATA);
    for (int i = 0; i < SERVERS; i++) {
        cluster_kill(&cluster, i);
        cluster_start(&cluster, i);
    }
    cluster_wait_up(&cluster, SERVERS);
    for (unsigned i = 0; i < 4; i++) {
        wait_for_sweeps(1);
        must_be_whole(open);
        live_must_be_whole();
    }
    assert_int_equal(server_counter(session, "objects_swept"), 0);
    ok(weft_file_close(open));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_made_too_late_is_removed),
        cmocka_unit_test(what_is_there_outlives_restarts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
