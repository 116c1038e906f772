/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session does without any server: configuration, paths, errors' texts, absent
 * servers, child processes; and handles as bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_world.h"

static char conf_path[WORLD_PATH_MAX], other_path[WORLD_PATH_MAX];

static int setup(void **state)
{
    (void)state;
    if (world_open() < 0)
        return -1;
    world_conf("one", '5', world_free_port(), "deadline_ms = 500;", conf_path);
    world_conf("two", '6', world_free_port(), "deadline_ms = 500;", other_path);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return world_close();
}

static void give_map(weft_session_t *session, uint8_t cluster, uint64_t version)
{
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", world_free_port());
    struct map *map = world_map(cluster, version, 1, (const char *[]){address}, 1, (unsigned[]){0});
    world_give_map(session, map);
    map_unref(map);
}

/* ---- sessions ------------------------------------------------------------------ */

static void test_connect_errors(void **state)
{
    (void)state;
    weft_session_t *session;
    assert_int_equal(weft_connect("/nonexistent/weft.conf", &session), -ENOENT);
    assert_memory_equal(weft_error(), "weft_connect: ", 14);
    assert_non_null(strstr(weft_error(), "/nonexistent/weft.conf"));
    assert_int_equal(weft_connect(conf_path, NULL), -EINVAL);
    weft_disconnect(NULL);
}

static void test_nobody_there(void **state)
{
    (void)state;
    weft_session_t *session = world_connect(conf_path);
    struct weft_attr attr;
    uint64_t start = rpc_now_ns();
    int result = weft_stat(session, "weft:/run7/state", 0, &attr);
    assert_true(result == -ECONNREFUSED || result == -ETIMEDOUT);
    assert_in_range((rpc_now_ns() - start) / 1000000000, 0, 30); /* the deadline is half a second */
    assert_memory_equal(weft_error(), "weft_stat: ", 11);
    assert_non_null(strstr(weft_error(), "/run7/state"));
    assert_non_null(strstr(weft_error(), "metadata server at 127.0.0.1:"));
    weft_disconnect(session);
}

static void test_paths(void **state)
{
    (void)state;
    weft_session_t *session = world_connect(conf_path);
    static char longest[WEFT_PATH_BYTES_MAX + 3];
    assert_true(weft_path_match("weft:/a"));
    assert_false(weft_path_match("/weft:/a"));
    assert_false(weft_path_match(NULL));
    assert_int_equal(weft_unlink(session, NULL), -EINVAL);
    assert_int_equal(weft_unlink(session, ""), -EINVAL);
    assert_int_equal(weft_unlink(session, "weft:a"), -EINVAL);
    assert_non_null(strstr(weft_error(), "begins with /"));
    memset(longest, 'a', sizeof longest - 1);
    longest[0] = '/';
    assert_int_equal(weft_mkdir(session, longest, 0777), -ENAMETOOLONG);
    assert_int_equal(weft_rename(session, "/a", longest), -ENAMETOOLONG);
    assert_int_equal(weft_access(session, "/a", 8), -EINVAL);
    assert_int_equal(weft_stat(session, "/a", 2, &(struct weft_attr){0}), -EINVAL);
    assert_int_equal(weft_unlink(NULL, "/a"), -EINVAL);
    weft_disconnect(session);
}

static void test_open_arguments(void **state)
{
    (void)state;
    weft_session_t *session = world_connect(conf_path);
    weft_file_t *file;
    struct weft_layout layout = {.chunk_size = 100};
    assert_int_equal(weft_file_open(session, "/a", O_RDWR | O_APPEND, 0666, NULL, &file), -EINVAL);
    assert_int_equal(weft_file_open(session, "/a", O_ACCMODE, 0666, NULL, &file), -EINVAL);
    assert_int_equal(weft_file_open(session, "/a", O_RDWR | O_CREAT, 0666, &layout, &file), -EINVAL);
    assert_non_null(strstr(weft_error(), "chunk size"));
    memset(layout.pool, 'p', sizeof layout.pool);
    layout.chunk_size = 0;
    assert_int_equal(weft_file_open(session, "/a", O_RDWR | O_CREAT, 0666, &layout, &file), -EINVAL);
    assert_int_equal(weft_file_open(session, "/a", O_RDONLY, 0, NULL, NULL), -EINVAL);
    assert_int_equal(weft_file_close(NULL), -EINVAL);
    assert_int_equal(weft_file_read(NULL, NULL, 0, 0), -EINVAL);
    assert_int_equal(weft_wait(NULL), -EINVAL);
    weft_disconnect(session);
}

static void test_child_process(void **state)
{
    (void)state;
    weft_session_t *session = world_connect(conf_path);
    pid_t child = fork();
    if (child == 0) {
        int result = weft_unlink(session, "/a");
        weft_disconnect(session); /* leaves the parent's alone */
        _exit(result == -EINVAL && strstr(weft_error(), "parent process") ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    /* The parent's is as it was: it fails for the server's absence only. */
    assert_int_not_equal(weft_unlink(session, "/a"), -EINVAL);
    weft_disconnect(session);
}

static void test_counters(void **state)
{
    (void)state;
    weft_session_t *session = world_connect(conf_path);
    assert_int_equal(world_counter(session, "metadata_requests"), 0);
    weft_unlink(session, "/a");
    weft_unlink(session, "/b");
    assert_int_equal(world_counter(session, "metadata_requests"), 2);
    assert_int_equal(weft_counters(session, NULL, NULL), -EINVAL);
    weft_disconnect(session);
}

/* WEFT_COUNTERS=1: one line at the end, whole. */
static void test_counters_line(void **state)
{
    (void)state;
    char line[16384] = "", start[64];
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    setenv("WEFT_COUNTERS", "1", 1);
    weft_session_t *session = world_connect(conf_path);
    unsetenv("WEFT_COUNTERS");
    weft_unlink(session, "/a");
    dup2(ends[1], STDERR_FILENO);
    weft_disconnect(session);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t length = read(ends[0], line, sizeof line - 1);
    close(ends[0]);
    assert_true(length > 0);
    assert_ptr_equal(strchr(line, '\n'), line + length - 1);
    snprintf(start, sizeof start, "weft-counters pid=%ld metadata_requests=1 ", (long)getpid());
    assert_memory_equal(line, start, strlen(start));
    assert_non_null(strstr(line, " storage_requests=0 "));
    assert_non_null(strstr(line, " deadlines_missed="));
}

/* ---- handles as bytes ------------------------------------------------------------- */

static void test_export_import(void **state)
{
    (void)state;
    uint8_t blob[4096];
    weft_session_t *session = world_connect(conf_path), *importer = world_connect(conf_path);
    weft_file_t *file, *copy;
    struct weft_layout layout;

    give_map(session, 1, 7);
    file = world_file(session, WIRE_ACCESS_WRITE, 65536, 1);
    ssize_t length = weft_file_export(file, NULL, 0);
    assert_in_range(length, 100, sizeof blob);
    assert_false(file->wrote);
    memset(blob, '#', sizeof blob);
    assert_int_equal(weft_file_export(file, blob, (size_t)length - 1), length);
    assert_int_equal(blob[0], '#');
    assert_int_equal(weft_file_export(file, blob, sizeof blob), length);
    assert_true(file->wrote); /* by an importer, as far as is known */

    assert_int_equal(weft_file_import(importer, blob, (size_t)length, &copy), 0);
    assert_int_equal(copy->handle, 77);
    assert_int_equal(copy->capability.ino, 1234);
    assert_int_equal(importer->map->version, 7);
    weft_file_layout(copy, &layout);
    assert_int_equal(layout.chunk_size, 65536);
    assert_int_equal(layout.seed, 5);
    assert_string_equal(layout.pool, "main");
    assert_string_equal(weft_file_hints(copy), "weft_collective=direct");
    char byte = 0;
    assert_int_equal(weft_file_read(copy, &byte, 1, 0), -EBADF); /* it was opened for writing */
    assert_non_null(strstr(weft_error(), "/run7/state"));
    assert_int_equal(weft_file_close(copy), 0);
    assert_int_equal(world_counter(importer, "metadata_requests"), 0);

    /* Every bit counts, and so does the length. */
    for (ssize_t i = 0; i < length * 8; i += 3) {
        blob[i / 8] ^= (uint8_t)(1 << i % 8);
        assert_int_equal(weft_file_import(importer, blob, (size_t)length, &copy), -EBADMSG);
        blob[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (ssize_t cut = 0; cut < length; cut++)
        assert_int_equal(weft_file_import(importer, blob, (size_t)cut, &copy), -EBADMSG);
    assert_int_equal(weft_file_import(importer, blob, (size_t)length + 1, &copy), -EBADMSG);
    assert_int_equal(weft_file_import(importer, NULL, 0, &copy), -EINVAL);
    blob[0] ^= 2;
    assert_int_equal(weft_file_import(importer, blob, (size_t)length, &copy), -EBADMSG);
    assert_non_null(strstr(weft_error(), "version"));
    blob[0] ^= 2;

    /* Another cluster, by its key and by its identity alone. */
    weft_session_t *stranger = world_connect(other_path);
    assert_int_equal(weft_file_import(stranger, blob, (size_t)length, &copy), -EBADMSG);
    assert_non_null(strstr(weft_error(), "another key"));
    weft_disconnect(stranger);
    stranger = world_connect(conf_path);
    give_map(stranger, 2, 1);
    assert_int_equal(weft_file_import(stranger, blob, (size_t)length, &copy), -EBADMSG);
    assert_non_null(strstr(weft_error(), "another cluster"));
    weft_disconnect(stranger);

    world_file_drop(file);
    weft_disconnect(importer);
    weft_disconnect(session);
}

/* An older map never replaces a newer one. */
static void test_map_versions(void **state)
{
    (void)state;
    weft_session_t *session = world_connect(conf_path);
    give_map(session, 1, 7);
    give_map(session, 1, 5);
    assert_int_equal(session->map->version, 7);
    give_map(session, 1, 8);
    assert_int_equal(session->map->version, 8);
    weft_disconnect(session);
}

static void test_locate(void **state)
{
    (void)state;
    struct weft_location places[4];
    weft_session_t *session = world_connect(conf_path);
    give_map(session, 1, 7);
    weft_file_t *file = world_file(session, WIRE_ACCESS_WRITE, 65536, 1);
    assert_int_equal(weft_file_locate(file, 65000, 65536 * 2, places, 4), 3);
    assert_int_equal(places[0].offset, 65000);
    assert_int_equal(places[0].length, 536);
    assert_int_equal(places[1].offset, 65536);
    assert_int_equal(places[1].length, 65536);
    assert_int_equal(places[1].chunk, 1);
    assert_int_equal(places[2].length, 65000);
    assert_string_equal(places[2].server, "s0");
    assert_int_equal(weft_file_locate(file, 0, 0, places, 4), 0);
    assert_int_equal(weft_file_locate(file, 0, 65536 * 1000, NULL, 0), 1000);
    assert_int_equal(weft_file_locate(file, UINT64_MAX, 2, NULL, 0), -EFBIG);
    world_file_drop(file);
    weft_disconnect(session);
}

/* A storage server that is not there: an error in time that names all there is to name. */
static void test_storage_absent(void **state)
{
    (void)state;
    char bytes[100] = "";
    weft_session_t *session = world_connect(conf_path);
    give_map(session, 1, 7);
    weft_file_t *file = world_file(session, WIRE_ACCESS_WRITE, 65536, 1);
    uint64_t start = rpc_now_ns();
    ssize_t result = weft_file_write(file, bytes, sizeof bytes, 4242);
    assert_true(result == -ECONNREFUSED || result == -ETIMEDOUT);
    assert_in_range((rpc_now_ns() - start) / 1000000000, 0, 30); /* the deadline is half a second */
    assert_memory_equal(weft_error(), "weft_file_write: /run7/state: ", 30);
    assert_non_null(strstr(weft_error(), "4242"));
    assert_non_null(strstr(weft_error(), "storage server s0 at 127.0.0.1:"));
    assert_int_equal(weft_file_write(file, bytes, 0, 0), 0);
    assert_int_equal(weft_file_write(file, bytes, 10, INT64_MAX), -EFBIG);
    world_file_drop(file);
    weft_disconnect(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_errors), cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_paths),          cmocka_unit_test(test_open_arguments),
        cmocka_unit_test(test_child_process),  cmocka_unit_test(test_counters),
        cmocka_unit_test(test_counters_line),  cmocka_unit_test(test_export_import),
        cmocka_unit_test(test_map_versions),   cmocka_unit_test(test_locate),
        cmocka_unit_test(test_storage_absent),
    };
    return cmocka_run_group_tests_name("client_session", tests, setup, teardown);
}
