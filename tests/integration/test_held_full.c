/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders that a session holds (libclient/held.h) where the metadata server has no room for what it is told:
 * nothing is lost when there is room in time, and it is said when there is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_pair.h"
#include "weft_limits.h"

enum { HELD = 20, FILL_MAX = 4000, FILL_BYTES = 2000, LOST_AFTER_S = 60 };

#define ROOM      "metadata_bytes_max = \"1M\";"
#define MORE_ROOM "metadata_bytes_max = \"4M\";"

static int setup(void **state)
{
    struct weft_attr attr;
    (void)state;
    cluster_open(&cluster, &(struct cluster_options){.servers = 1, .chunk_size = CHUNK, .limits = ROOM});
    ok(weft_connect(NULL, &session));
    ok(weft_connect(NULL, &other));
    ok(weft_keep_attributes(session, NULL));
    for (unsigned i = 0; i < 8; i++)
        ok(weft_stat(session, "/", 0, &attr));
    ok(weft_mkdir(session, "/folder", 0755));
    return 0;
}

static int make(weft_session_t *of, const char *path, size_t length)
{
    static const char bytes[FILL_BYTES];
    weft_file_t *file;
    int result = weft_file_open(of, path, O_RDWR | O_CREAT, 0640, NULL, &file);
    if (result < 0)
        return result;
    ssize_t written = weft_file_write(file, bytes, length, 0);
    result = weft_file_close(file);
    return written < 0 ? (int)written : result;
}

/* In "/folder", until one is made without a request: then it is held. */
static void hold_folder(void)
{
    char path[64];
    for (unsigned i = 0; i < 100; i++) {
        const uint64_t before = counter(session, "held_changes");
        snprintf(path, sizeof path, "/folder/%u", i);
        ok(make(session, path, 1));
        ok(weft_unlink(session, path));
        if (counter(session, "held_changes") > before)
            return;
        ok(weft_rmdir(session, "/folder"));
        ok(weft_mkdir(session, "/folder", 0755));
    }
    fail_msg("the folder is never held");
}

static void fill_store(void)
{
    char path[64];
    int result = 0;
    ok(weft_mkdir(other, "/fill", 0755));
    for (unsigned i = 0; i < FILL_MAX && result == 0; i++) {
        snprintf(path, sizeof path, "/fill/%u", i);
        result = make(other, path, FILL_BYTES);
    }
    assert_int_equal(result, -ENOSPC);
}

/* The first file in a folder that is held when the store is full. On a busy machine this process may not be
 * heard for so long that it is not held any more: then anew. */
static void make_first(void)
{
    for (unsigned i = 0; i < 20; i++) {
        hold_folder();
        fill_store();
        const uint64_t before = counter(session, "held_changes");
        int result = make(session, "/folder/file.0", FILL_BYTES);
        if (result == 0 && counter(session, "held_changes") > before)
            return;
        assert_true(result == 0 || result == -ENOSPC);
        pair_teardown(NULL);
        setup(NULL);
    }
    fail_msg("the folder is never held for long");
}

static void make_held(void)
{
    char path[64];
    make_first();
    for (unsigned i = 1; i < HELD; i++) {
        snprintf(path, sizeof path, "/folder/file.%u", i);
        ok(make(session, path, FILL_BYTES));
    }
    assert_int_equal(weft_sync(session), -ENOSPC);
}

/* The metadata server may use more from its next start on. */
static void make_room(void)
{
    static char text[65536];
    FILE *file = fopen(cluster.conf, "r+");
    assert_non_null(file);
    const size_t length = fread(text, 1, sizeof text - 1, file);
    assert_true(length > 0);
    text[length] = 0;
    char *place = strstr(text, ROOM);
    assert_non_null(place);
    memcpy(place, MORE_ROOM, strlen(MORE_ROOM));
    rewind(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    cluster_stop(&cluster, CLUSTER_METADATA);
    cluster_start(&cluster, CLUSTER_METADATA);
}

static unsigned count_held(void)
{
    struct weft_attr attr;
    char path[64];
    unsigned count = 0;
    for (unsigned i = 0; i < HELD; i++) {
        snprintf(path, sizeof path, "/folder/file.%u", i);
        count += weft_stat(other, path, 0, &attr) == 0 && attr.size == FILL_BYTES;
    }
    return count;
}

static void what_finds_no_room_is_told_when_there_is(void **state)
{
    (void)state;
    make_held();
    assert_int_equal(counter(session, "held_lost"), 0);
    make_room();
    ok(weft_sync(session));
    assert_int_equal(count_held(), HELD);
    assert_int_equal(counter(session, "held_lost"), 0);
}

static void what_finds_none_for_long_is_lost(void **state)
{
    (void)state;
    make_held();
    const double before = cluster_now();
    while (counter(session, "held_lost") == 0 && cluster_now() - before < LOST_AFTER_S)
        cluster_pause(100);
    assert_true(counter(session, "held_lost") > 0);
    assert_int_equal(weft_sync(session), -ENOSPC); /* once */
    ok(weft_sync(session));
    assert_int_equal(count_held() + counter(session, "held_lost"), HELD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_finds_no_room_is_told_when_there_is, setup, pair_teardown),
        cmocka_unit_test_setup_teardown(what_finds_none_for_long_is_lost, setup, pair_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
