/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session does without any server: configuration, paths, errors' texts, absent
 * servers, child processes; and handles as bytes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../libclient/client.h"
#include "err.h"

static char folder[] = "/tmp/weft-test-XXXXXX";
static char conf_path[sizeof folder + 64], other_path[sizeof folder + 64];

/* A port that nobody listens on: bound, and let go. */
static unsigned free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void conf_write(char *path, size_t size, const char *name, char key_digit)
{
    char key_path[sizeof folder + 64];
    snprintf(key_path, sizeof key_path, "%s/%s.key", folder, name);
    FILE *file = fopen(key_path, "w");
    for (int i = 0; i < 64; i++)
        fputc(key_digit, file);
    fputc('\n', file);
    fclose(file);
    chmod(key_path, 0600);
    snprintf(path, size, "%s/%s.conf", folder, name);
    file = fopen(path, "w");
    fprintf(file,
            "cluster = { name = \"test\"; key_file = \"%s.key\"; };\n"
            "metadata = { listen = \"127.0.0.1:%u\"; dir = \"metadata\"; };\n"
            "storage = ( { name = \"s0\"; listen = \"127.0.0.1:%u\"; targets = ( { id = 0; dir = \"s0\"; } "
            "); } );\n"
            "limits = { deadline_ms = 500; };\n",
            name, free_port(), free_port());
    fclose(file);
}

static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    conf_write(conf_path, sizeof conf_path, "one", '5');
    conf_write(other_path, sizeof other_path, "two", '6');
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    const char *names[] = {"one.conf", "one.key", "two.conf", "two.key"};
    char path[sizeof folder + 64];
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

static weft_session_t *connect_to(const char *path)
{
    weft_session_t *session;
    if (weft_connect(path, &session) < 0)
        fail_msg("%s", weft_error());
    return session;
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
    weft_session_t *session = connect_to(conf_path);
    struct weft_attr attr;
    uint64_t start = rpc_now_ns();
    int result = weft_stat(session, "weft:/run7/state", 0, &attr);
    assert_true(result == -ECONNREFUSED || result == -ETIMEDOUT);
    assert_in_range((rpc_now_ns() - start) / 1000000, 0, 2000);
    assert_memory_equal(weft_error(), "weft_stat: ", 11);
    assert_non_null(strstr(weft_error(), "/run7/state"));
    assert_non_null(strstr(weft_error(), "metadata server at 127.0.0.1:"));
    weft_disconnect(session);
}

static void test_paths(void **state)
{
    (void)state;
    weft_session_t *session = connect_to(conf_path);
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
    weft_session_t *session = connect_to(conf_path);
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
    weft_session_t *session = connect_to(conf_path);
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

static void count(void *arg, const char *server, const char *name, uint64_t value)
{
    assert_string_equal(server, "client");
    if (strcmp(name, "metadata_requests") == 0)
        *(uint64_t *)arg = value;
}

static void test_counters(void **state)
{
    (void)state;
    uint64_t requests = 99;
    weft_session_t *session = connect_to(conf_path);
    assert_int_equal(weft_counters(session, count, &requests), 0);
    assert_int_equal(requests, 0);
    weft_unlink(session, "/a");
    weft_unlink(session, "/b");
    assert_int_equal(weft_counters(session, count, &requests), 0);
    assert_int_equal(requests, 2);
    assert_int_equal(weft_counters(session, NULL, NULL), -EINVAL);
    weft_disconnect(session);
}

/* ---- handles as bytes ------------------------------------------------------------- */

/* Gives the session a map, as a metadata server would. */
static void give_map(weft_session_t *session, uint8_t cluster, uint64_t version)
{
    uint8_t encoded[4096];
    struct map *map = map_new(1, (uint32_t[]){1}, 1, 1);
    map->version = version;
    memset(map->cluster, cluster, sizeof map->cluster);
    snprintf(map->servers[0].name, sizeof map->servers[0].name, "s0");
    snprintf(map->servers[0].addresses[0], sizeof map->servers[0].addresses[0], "127.0.0.1:%u", free_port());
    map->servers[0].state = map->targets[0].state = MAP_STATE_UP;
    map->groups[0].member_count = 1;
    ssize_t length = map_encode(map, encoded, sizeof encoded);
    assert_true(length > 0);
    map_unref(map);
    session_lock(session);
    assert_int_equal(session_map_adopt(session, encoded, (size_t)length), 0);
    session_unlock(session);
}

/* A file as if it had been opened. */
static weft_file_t *file_make(weft_session_t *session)
{
    weft_file_t *file = calloc(1, sizeof *file);
    file->session = session;
    file->path = strdup("/run7/state");
    file->handle = 77;
    file->access = WIRE_ACCESS_WRITE;
    file->layout = (struct layout){.chunk_size = 65536, .seed = 5, .stripe_count = 1, .group_count = 1};
    file->capability = (struct wire_capability){
        .ino = 1234,
        .access = 3,
        .layout = {.chunk_size = 65536, .seed = 5, .stripe_count = 1, .group_count = 1},
    };
    snprintf(file->pool, sizeof file->pool, "main");
    return file;
}

static void file_drop(weft_file_t *file)
{
    file->imported = true; /* closes without a server */
    assert_int_equal(weft_file_close(file), 0);
}

static void test_export_import(void **state)
{
    (void)state;
    uint8_t blob[4096];
    weft_session_t *session = connect_to(conf_path), *importer = connect_to(conf_path);
    weft_file_t *file, *copy;
    struct weft_layout layout;
    uint64_t requests;

    give_map(session, 1, 7);
    file = file_make(session);
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
    char byte = 0;
    assert_int_equal(weft_file_read(copy, &byte, 1, 0), -EBADF); /* it was opened for writing */
    assert_non_null(strstr(weft_error(), "/run7/state"));
    assert_int_equal(weft_file_close(copy), 0);
    weft_counters(importer, count, &requests);
    assert_int_equal(requests, 0);

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
    weft_session_t *stranger = connect_to(other_path);
    assert_int_equal(weft_file_import(stranger, blob, (size_t)length, &copy), -EBADMSG);
    assert_non_null(strstr(weft_error(), "another key"));
    weft_disconnect(stranger);
    stranger = connect_to(conf_path);
    give_map(stranger, 2, 1);
    assert_int_equal(weft_file_import(stranger, blob, (size_t)length, &copy), -EBADMSG);
    assert_non_null(strstr(weft_error(), "another cluster"));
    weft_disconnect(stranger);

    file_drop(file);
    weft_disconnect(importer);
    weft_disconnect(session);
}

/* An older map never replaces a newer one. */
static void test_map_versions(void **state)
{
    (void)state;
    weft_session_t *session = connect_to(conf_path);
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
    weft_session_t *session = connect_to(conf_path);
    give_map(session, 1, 7);
    weft_file_t *file = file_make(session);
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
    file_drop(file);
    weft_disconnect(session);
}

/* A storage server that is not there: an error in time that names all there is to name. */
static void test_storage_absent(void **state)
{
    (void)state;
    char bytes[100] = "";
    weft_session_t *session = connect_to(conf_path);
    give_map(session, 1, 7);
    weft_file_t *file = file_make(session);
    uint64_t start = rpc_now_ns();
    ssize_t result = weft_file_write(file, bytes, sizeof bytes, 4242);
    assert_true(result == -ECONNREFUSED || result == -ETIMEDOUT);
    assert_in_range((rpc_now_ns() - start) / 1000000, 0, 2000);
    assert_memory_equal(weft_error(), "weft_file_write: /run7/state: ", 30);
    assert_non_null(strstr(weft_error(), "4242"));
    assert_non_null(strstr(weft_error(), "storage server s0 at 127.0.0.1:"));
    assert_int_equal(weft_file_write(file, bytes, 0, 0), 0);
    assert_int_equal(weft_file_write(file, bytes, 10, INT64_MAX), -EFBIG);
    file_drop(file);
    weft_disconnect(session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_errors), cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_paths),          cmocka_unit_test(test_open_arguments),
        cmocka_unit_test(test_child_process),  cmocka_unit_test(test_counters),
        cmocka_unit_test(test_export_import),  cmocka_unit_test(test_map_versions),
        cmocka_unit_test(test_locate),         cmocka_unit_test(test_storage_absent),
    };
    return cmocka_run_group_tests_name("client_session", tests, setup, teardown);
}
