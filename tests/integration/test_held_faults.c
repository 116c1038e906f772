/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders that a session holds (libclient/held.h) where the metadata server
 *  - has no room for what it is told: nothing is lost when there is room in time, and it is said when there
 *    is not;
 *  - does what it is told, but answers too late: what the program does meanwhile is not mistaken for that.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
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
/* Shorter than what is held is promised for, so that it is still when a request was not answered. */
enum { DEADLINE_MS = LIMITS_DELEGATION_MS * 4 / 10 };

#define ROOM      "metadata_bytes_max = \"1M\";"
#define MORE_ROOM "metadata_bytes_max = \"4M\";"

static int setup_with(unsigned deadline_ms, const char *limits)
{
    struct weft_attr attr;
    cluster_open(&cluster, &(struct cluster_options){.servers = 1,
                                                     .chunk_size = CHUNK,
                                                     .deadline_ms = deadline_ms,
                                                     .limits = limits});
    ok(weft_connect(NULL, &session));
    ok(weft_connect(NULL, &other));
    ok(weft_keep_attributes(session, NULL));
    for (unsigned i = 0; i < 8; i++)
        ok(weft_stat(session, "/", 0, &attr));
    ok(weft_mkdir(session, "/folder", 0755));
    return 0;
}

static int setup_full(void **state)
{
    (void)state;
    return setup_with(0, ROOM);
}

static int setup_late(void **state)
{
    (void)state;
    return setup_with(DEADLINE_MS, NULL);
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

/* ---- a metadata server that is full ---------------------------------------------------- */

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
        setup_full(NULL);
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

/* ---- one that answers too late --------------------------------------------------------- */

static void *wake_server(void *unused)
{
    (void)unused;
    cluster_pause(100);
    cluster_signal(&cluster, CLUSTER_METADATA, SIGCONT);
    return NULL;
}

/* The deadline is short for a busy machine. */
#define patiently(call)                                             \
    ({                                                              \
        long status_ = -ETIMEDOUT;                                  \
        for (unsigned i_ = 0; i_ < 50 && status_ == -ETIMEDOUT; i_++) \
            status_ = (long)(call);                                 \
        status_;                                                    \
    })

static weft_file_t *open_held(const char *path)
{
    weft_file_t *file;
    ok(weft_file_open(session, path, O_RDWR | O_CREAT, 0640, NULL, &file));
    assert_int_equal(weft_file_write(file, "a", 1, 0), 1);
    return file;
}

static uint64_t size_of(weft_session_t *of, const char *path)
{
    struct weft_attr attr;
    ok(patiently(weft_stat(of, path, 0, &attr)));
    return attr.size;
}

/* It finds the request when it goes on, long after the session has given it up, and does it. */
static void what_is_done_before_the_answer_is_not_lost(void **state)
{
    pthread_t waker;
    struct weft_attr attr;
    char bytes[4];
    (void)state;
    hold_folder();
    cluster_signal(&cluster, CLUSTER_METADATA, SIGSTOP);
    weft_file_t *written = open_held("/folder/written"), *closed = open_held("/folder/closed");
    ok(make(session, "/folder/removed", 1));
    cluster_pause(DEADLINE_MS + 50);
    pthread_create(&waker, NULL, wake_server, NULL);
    assert_int_equal(patiently(weft_file_write(written, "b", 1, 1)), 1);
    const int removed = (int)patiently(weft_unlink(session, "/folder/removed"));
    assert_true(removed == 0 || removed == -ENOENT); /* by a request that was sent twice */
    ok(weft_file_close(closed));
    pthread_join(waker, NULL);
    assert_int_equal(patiently(weft_file_read(written, bytes, sizeof bytes, 0)), 2);
    assert_memory_equal(bytes, "ab", 2);
    assert_int_equal(patiently(weft_stat(other, "/folder/removed", 0, &attr)), -ENOENT);
    assert_int_equal(size_of(other, "/folder/closed"), 1);
    (void)weft_file_close(written); /* which may time out, and is told later */
    assert_int_equal(size_of(other, "/folder/written"), 2);
    assert_int_equal(counter(session, "held_lost"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_finds_no_room_is_told_when_there_is, setup_full, pair_teardown),
        cmocka_unit_test_setup_teardown(what_finds_none_for_long_is_lost, setup_full, pair_teardown),
        cmocka_unit_test_setup_teardown(what_is_done_before_the_answer_is_not_lost, setup_late,
                                        pair_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
