/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client must survive, with real servers:
 *  - every server ended and started again: what was synced is there, open files go on;
 *  - a storage server killed and started again in the middle of I/O: the I/O goes on;
 *  - one killed for good, or stopped: an error within the deadline that names it, and no
 *    harm to what needs other servers only;
 *  - one that comes back at another address: found by itself, by the metadata server, too;
 *  - the metadata server killed: what it acknowledged is there after its restart, clients
 *    in the middle of requests ride through, and open files do not notice;
 *  - nonsense on any server's port: refused, logged, and nothing else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "calls.h"
#include "cluster.h"

/* The deadline is short where it has to pass, and long where a busy machine has to start a server
 * within it. */
enum { CHUNK = 65536, SERVERS = 3, DEADLINE_MS = 3000, DEADLINE_LONG_MS = 15000 };
#define LATEST_S ((DEADLINE_MS + 1500) / 1e3)

static struct cluster cluster;
static weft_session_t *session;

static int setup_with(unsigned deadline_ms, bool moving)
{
    cluster_open(&cluster,
                 &(struct cluster_options){
                     .servers = SERVERS, .chunk_size = CHUNK, .deadline_ms = deadline_ms, .moving = moving});
    ok(weft_connect(NULL, &session));
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(DEADLINE_MS, false);
}

static int setup_patient(void **state)
{
    (void)state;
    return setup_with(DEADLINE_LONG_MS, false);
}

static int setup_moving(void **state)
{
    (void)state;
    return setup_with(DEADLINE_LONG_MS, true);
}

static int teardown(void **state)
{
    (void)state;
    weft_disconnect(session);
    session = NULL;
    cluster_close(&cluster);
    return 0;
}

static weft_file_t *open_file(const char *path, int flags)
{
    weft_file_t *file;
    ok(weft_file_open(session, path, flags, 0644, &(struct weft_layout){0}, &file));
    return file;
}

static void fill(uint8_t *bytes, size_t length, unsigned seed)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(i * 31 + (i >> 8) + seed);
}

enum { BYTES = 20 * CHUNK + 99 };
static uint8_t bytes[BYTES], back[BYTES];

static void check_file(weft_file_t *file, unsigned seed)
{
    memset(back, '#', sizeof back);
    ssize_t result = weft_file_read(file, back, sizeof back, 0);
    ok(result);
    assert_int_equal(result, BYTES);
    fill(bytes, sizeof bytes, seed);
    assert_memory_equal(bytes, back, sizeof back);
}

/* An offset in the file that lies on storage server `server`. */
static uint64_t offset_on(weft_file_t *file, unsigned server)
{
    struct weft_location places[64];
    char name[8];
    snprintf(name, sizeof name, "s%u", server);
    ssize_t count = weft_file_locate(file, 0, 64 * CHUNK, places, 64);
    assert_int_equal(count, 64);
    for (unsigned i = 0; i < 64; i++) {
        if (strcmp(places[i].server, name) == 0)
            return places[i].offset;
    }
    fail_msg("nothing of the file is on %s", name);
    return 0;
}

/* ---- ended and started again ------------------------------------------------------- */

static void test_restart_with_data(void **state)
{
    (void)state;
    weft_file_t *file = open_file("/kept", O_RDWR | O_CREAT);
    fill(bytes, sizeof bytes, 1);
    assert_int_equal(weft_file_write(file, bytes, sizeof bytes, 0), sizeof bytes);
    ok(weft_file_sync(file));
    for (int i = SERVERS - 1; i >= CLUSTER_METADATA; i--)
        cluster_stop(&cluster, i);
    for (int i = CLUSTER_METADATA; i < SERVERS; i++)
        cluster_start(&cluster, i);
    check_file(file, 1);
    ok(weft_file_write(file, "more", 4, BYTES));
    ok(weft_file_close(file));
    struct weft_attr attr;
    ok(weft_stat(session, "/kept", 0, &attr));
    assert_int_equal(attr.size, BYTES + 4);
}

static void test_kill_and_restart_all(void **state)
{
    (void)state;
    weft_file_t *file = open_file("/kept", O_RDWR | O_CREAT);
    fill(bytes, sizeof bytes, 2);
    assert_int_equal(weft_file_write(file, bytes, sizeof bytes, 0), sizeof bytes);
    ok(weft_file_sync(file));
    for (int i = CLUSTER_METADATA; i < SERVERS; i++)
        cluster_kill(&cluster, i);
    for (int i = CLUSTER_METADATA; i < SERVERS; i++)
        cluster_start(&cluster, i);
    check_file(file, 2);
    ok(weft_file_close(file));
}

/* ---- in the middle of I/O ------------------------------------------------------------- */

/* A thread that writes and reads without end until told, or until an error. */
struct writer {
    pthread_t thread;
    weft_file_t *file;
    atomic_bool stop;
    atomic_uint turns;
    long result;
    double longest_s; /* of one call */
    char text[600];
};

static void timed(struct writer *writer, double start)
{
    double took = cluster_now() - start;
    if (took > writer->longest_s)
        writer->longest_s = took;
}

static void *write_without_end(void *arg)
{
    struct writer *writer = arg;
    uint8_t *own = malloc(BYTES), *seen = malloc(BYTES);
    for (unsigned turn = 0; !writer->stop && writer->result >= 0; turn++, writer->turns++) {
        fill(own, BYTES, turn);
        double start = cluster_now();
        writer->result = weft_file_write(writer->file, own, BYTES, 0);
        timed(writer, start);
        start = cluster_now();
        if (writer->result >= 0)
            writer->result = weft_file_read(writer->file, seen, BYTES, 0);
        timed(writer, start);
        if (writer->result < 0)
            snprintf(writer->text, sizeof writer->text, "%s", weft_error());
        else if (memcmp(own, seen, BYTES) != 0)
            writer->result = -EILSEQ;
    }
    free(own);
    free(seen);
    return NULL;
}

static void writer_start(struct writer *writer, const char *path)
{
    *writer = (struct writer){.file = open_file(path, O_RDWR | O_CREAT)};
    assert_int_equal(pthread_create(&writer->thread, NULL, write_without_end, writer), 0);
    while (writer->turns < 5)
        cluster_pause(1);
}

static void writer_goes_on(struct writer *writer)
{
    unsigned turns = writer->turns;
    double end = cluster_now() + DEADLINE_LONG_MS / 1e3;
    while (writer->turns < turns + 5 && cluster_now() < end)
        cluster_pause(5);
    writer->stop = true;
    pthread_join(writer->thread, NULL);
    if (writer->result < 0)
        fail_msg("%ld: %s", writer->result, writer->text);
    assert_true(writer->turns >= turns + 5);
    ok(weft_file_close(writer->file));
}

/* Begins what needs a server that is away, which then comes back. */
static void start_late(struct writer *writer, void *(*run)(void *arg), int server)
{
    assert_int_equal(pthread_create(&writer->thread, NULL, run, writer), 0);
    cluster_pause(2500); /* longer than one waits where nobody is known to be */
    cluster_start(&cluster, server);
}

static void test_storage_killed_and_back(void **state)
{
    (void)state;
    struct writer writer;
    writer_start(&writer, "/busy");
    for (int server = 0; server < SERVERS; server++) {
        cluster_kill(&cluster, server);
        cluster_pause(200);
        cluster_start(&cluster, server);
        cluster_pause(100);
    }
    writer_goes_on(&writer);
}

/* The session has not met the server yet; the metadata server says that it is up. */
static void test_storage_back_for_a_newcomer(void **state)
{
    (void)state;
    struct writer writer = {.file = open_file("/new", O_RDWR | O_CREAT)};
    cluster_kill(&cluster, 1);
    start_late(&writer, write_without_end, 1);
    writer_goes_on(&writer);
}

static void test_storage_killed_for_good(void **state)
{
    (void)state;
    struct writer writer;
    writer_start(&writer, "/busy");
    cluster_kill(&cluster, 1);
    pthread_join(writer.thread, NULL);
    assert_true(writer.result == -ETIMEDOUT || writer.result == -ECONNREFUSED ||
                writer.result == -ECONNRESET);
    if (writer.longest_s > LATEST_S)
        fail_msg("the error came after %.1f s", writer.longest_s);
    assert_non_null(strstr(writer.text, "/busy"));
    assert_non_null(strstr(writer.text, "storage server s1 at 127.0.0.1:"));
    assert_non_null(strstr(writer.text, "offset "));

    /* What lies on the others can still be had, at once. */
    double start = cluster_now();
    char byte;
    assert_int_equal(weft_file_read(writer.file, &byte, 1, offset_on(writer.file, 0)), 1);
    assert_int_equal(weft_file_write(writer.file, &byte, 1, offset_on(writer.file, 2)), 1);
    assert_true(cluster_now() - start < 1);
    /* Sizes and syncs need all of them. */
    uint64_t size;
    start = cluster_now();
    assert_true(weft_file_size(writer.file, &size) < 0);
    assert_non_null(strstr(weft_error(), "s1"));
    assert_true(weft_file_sync(writer.file) < 0);
    assert_true(cluster_now() - start < 2 * LATEST_S);
    ok(weft_file_close(writer.file)); /* needs the metadata server only */
}

static void test_storage_stopped(void **state)
{
    (void)state;
    weft_file_t *file = open_file("/stopped", O_RDWR | O_CREAT);
    uint64_t offset = offset_on(file, 2);
    ok(weft_file_write(file, "a", 1, offset));
    cluster_signal(&cluster, 2, SIGSTOP);
    double start = cluster_now();
    ssize_t result = weft_file_write(file, "b", 1, offset);
    double took = cluster_now() - start;
    cluster_signal(&cluster, 2, SIGCONT);
    assert_int_equal(result, -ETIMEDOUT);
    assert_true(took > DEADLINE_MS / 1e3 - 0.5 && took < LATEST_S);
    assert_non_null(strstr(weft_error(), "storage server s2 at "));
    char byte = 0;
    ok(weft_file_write(file, "c", 1, offset));
    assert_int_equal(weft_file_read(file, &byte, 1, offset), 1);
    assert_int_equal(byte, 'c');
    ok(weft_file_close(file));
}

/* ---- at another address ------------------------------------------------------------------ */

static void test_storage_moves(void **state)
{
    (void)state;
    struct writer writer;
    char before[64];
    snprintf(before, sizeof before, "%s", cluster.address[0]);
    writer_start(&writer, "/busy");
    /* A second session knows the old map but has no connection yet. */
    weft_session_t *late;
    weft_file_t *file;
    ok(weft_connect(NULL, &late));
    ok(weft_file_open(late, "/late", O_RDWR | O_CREAT, 0644, NULL, &file));
    cluster_kill(&cluster, 0);
    cluster_start(&cluster, 0);
    assert_string_not_equal(before, cluster.address[0]);
    writer_goes_on(&writer);
    ok(weft_file_write(file, "late", 4, offset_on(file, 0)));
    ok(weft_file_close(file));
    weft_disconnect(late);
}

/* ---- calls that wait for a server that is being started --------------------------------------- */

static void *noted(struct writer *writer, long result)
{
    writer->result = result;
    if (result < 0)
        snprintf(writer->text, sizeof writer->text, "%s", weft_error());
    return NULL;
}

static void succeeds_late(struct writer *writer, void *(*run)(void *arg), int server)
{
    start_late(writer, run, server);
    pthread_join(writer->thread, NULL);
    if (writer->result < 0)
        fail_msg("%ld: %s", writer->result, writer->text);
}

static void *cut(void *arg)
{
    struct writer *writer = arg;
    return noted(writer, weft_file_truncate(writer->file, BYTES / 2));
}

/* The metadata server has not met the storage server yet. But it is up in the map, so that a truncation
 * waits for it, also where it moves to. */
static void test_truncation_waits(void **state)
{
    (void)state;
    struct writer writer = {.file = open_file("/cut", O_RDWR | O_CREAT)};
    fill(bytes, sizeof bytes, 5);
    assert_int_equal(weft_file_write(writer.file, bytes, sizeof bytes, 0), sizeof bytes);
    cluster_kill(&cluster, CLUSTER_METADATA);
    cluster_start(&cluster, CLUSTER_METADATA);
    cluster_kill(&cluster, 1);
    succeeds_late(&writer, cut, 1);
    uint64_t size;
    ok(weft_file_size(writer.file, &size));
    assert_int_equal(size, BYTES / 2);
    ok(weft_file_close(writer.file));
}

/* A handle from elsewhere says that there is a metadata server. */
static void *add(void *arg)
{
    struct writer *writer = arg;
    return noted(writer, weft_file_pointer_add(writer->file, 1, NULL));
}

static void test_importer_waits(void **state)
{
    (void)state;
    static uint8_t blob[65536];
    struct writer writer = {0};
    weft_session_t *late;
    weft_file_t *file = open_file("/exported", O_RDWR | O_CREAT);
    ssize_t length = weft_file_export(file, blob, sizeof blob);
    ok(length);
    cluster_kill(&cluster, CLUSTER_METADATA);
    ok(weft_connect(NULL, &late));
    ok(weft_file_import(late, blob, (size_t)length, &writer.file));
    succeeds_late(&writer, add, CLUSTER_METADATA);
    ok(weft_file_close(writer.file));
    weft_disconnect(late);
    ok(weft_file_close(file));
}

/* ---- the metadata server -------------------------------------------------------------------- */

/* Makes files without end; `made` are acknowledged. */
struct maker {
    pthread_t thread;
    atomic_bool stop;
    atomic_uint made;
    double longest_s;
    atomic_int result;
    char text[600];
};

static void *make_without_end(void *arg)
{
    struct maker *maker = arg;
    char path[64];
    while (!maker->stop && maker->result == 0) {
        weft_file_t *file;
        double start = cluster_now();
        snprintf(path, sizeof path, "/made.%u", maker->made);
        maker->result = weft_file_open(session, path, O_WRONLY | O_CREAT | O_EXCL, 0644, NULL, &file);
        if (maker->result == 0)
            maker->result = weft_file_close(file);
        if (maker->result < 0)
            snprintf(maker->text, sizeof maker->text, "%s", weft_error());
        else
            maker->made++;
        if (cluster_now() - start > maker->longest_s)
            maker->longest_s = cluster_now() - start;
    }
    return NULL;
}

static void test_metadata_killed_and_back(void **state)
{
    (void)state;
    struct maker maker = {0};
    struct writer writer;
    double slowest_start_s = 0;
    struct weft_attr attr;
    char path[64];
    writer_start(&writer, "/busy");
    assert_int_equal(pthread_create(&maker.thread, NULL, make_without_end, &maker), 0);
    for (unsigned turn = 0; turn < 4; turn++) {
        unsigned made = maker.made;
        while (maker.made < made + 20 && maker.result == 0)
            cluster_pause(1);
        cluster_kill(&cluster, CLUSTER_METADATA);
        cluster_pause(turn * 100);
        double start = cluster_now();
        cluster_start(&cluster, CLUSTER_METADATA);
        if (cluster_now() - start > slowest_start_s)
            slowest_start_s = cluster_now() - start;
    }
    maker.stop = true;
    pthread_join(maker.thread, NULL);
    if (maker.result < 0)
        fail_msg("%d: %s", maker.result, maker.text);
    for (unsigned i = 0; i < maker.made; i++) {
        snprintf(path, sizeof path, "/made.%u", i);
        ok(weft_stat(session, path, 0, &attr));
    }
    print_message("%u files made while the metadata server was killed 4 times, the slowest in %.2f s "
                  "(the slowest start took %.2f s)\n",
                  maker.made, maker.longest_s, slowest_start_s);
    writer_goes_on(&writer);
}

static void test_metadata_gone(void **state)
{
    (void)state;
    struct weft_attr attr;
    weft_file_t *file = open_file("/open", O_RDWR | O_CREAT);
    /* In the first second of its life a storage server may not know all groups yet. */
    assert_int_equal(weft_file_write(file, bytes, sizeof bytes, 0), sizeof bytes);
    cluster_kill(&cluster, CLUSTER_METADATA);
    fill(bytes, sizeof bytes, 3);
    double start = cluster_now();
    assert_int_equal(weft_file_write(file, bytes, sizeof bytes, 0), sizeof bytes);
    check_file(file, 3);
    ok(weft_file_sync(file));
    assert_true(cluster_now() - start < 2);
    start = cluster_now();
    int result = weft_stat(session, "/open", 0, &attr);
    assert_true(result == -ETIMEDOUT || result == -ECONNREFUSED);
    assert_true(cluster_now() - start < LATEST_S);
    assert_non_null(strstr(weft_error(), "metadata server at 127.0.0.1:"));
    assert_non_null(strstr(weft_error(), "/open"));
    cluster_start(&cluster, CLUSTER_METADATA);
    ok(weft_stat(session, "/open", 0, &attr));
    assert_int_equal(attr.size, BYTES);
    ok(weft_file_close(file));
    ok(weft_stat(session, "/open", 0, &attr));
    assert_int_equal(attr.size, BYTES);
}

/* ---- nonsense ---------------------------------------------------------------------------------- */

static int dial(unsigned port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = 8};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

/* The server ends the connection, sooner or later, and never answers at length. */
static void expect_refusal(int fd)
{
    char answer[4096];
    size_t total = 0;
    for (;;) {
        ssize_t got = recv(fd, answer, sizeof answer, 0);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            fail_msg("the server keeps a connection that sent nonsense");
        if (got <= 0)
            break;
        total += (size_t)got;
        assert_true(total < 65536);
    }
    close(fd);
}

static void throw_nonsense(unsigned port)
{
    static const uint8_t long_frame[] = {0xff, 0xff, 0xff, 0xff, 'W', 'E', 'F', 'T'};
    static const char http[] = "GET / HTTP/1.1\r\nHost: weft\r\n\r\n";
    uint8_t random[4096];
    unsigned state = port;
    int fd = dial(port);
    send(fd, long_frame, sizeof long_frame, MSG_NOSIGNAL);
    expect_refusal(fd);
    fd = dial(port);
    send(fd, http, sizeof http - 1, MSG_NOSIGNAL);
    expect_refusal(fd);
    for (unsigned turn = 0; turn < 30; turn++) {
        for (size_t i = 0; i < sizeof random; i++)
            random[i] = (uint8_t)((state = state * 1664525u + 1013904223u) >> 24);
        if (turn % 2) { /* a frame of a possible length, full of noise */
            random[0] = (uint8_t)(turn * 8);
            random[1] = random[2] = random[3] = 0;
        }
        fd = dial(port);
        send(fd, random, sizeof random, MSG_NOSIGNAL);
        expect_refusal(fd);
    }
    close(dial(port)); /* a port scanner */
}

static void test_nonsense(void **state)
{
    (void)state;
    weft_file_t *file = open_file("/nonsense", O_RDWR | O_CREAT);
    fill(bytes, sizeof bytes, 4);
    assert_int_equal(weft_file_write(file, bytes, sizeof bytes, 0), sizeof bytes);
    /* One that says nothing at all takes no place for ever. */
    int silent = dial(cluster.metadata_port);
    throw_nonsense(cluster.metadata_port);
    for (unsigned i = 0; i < SERVERS; i++)
        throw_nonsense(cluster.storage_port + i);
    expect_refusal(silent);
    for (int i = CLUSTER_METADATA; i < SERVERS; i++) {
        assert_true(cluster_runs(&cluster, i));
        assert_true(cluster_logged(&cluster, i, "refused a connection"));
    }
    check_file(file, 4);
    ok(weft_file_close(file));
    file = open_file("/nonsense", O_RDONLY);
    check_file(file, 4);
    ok(weft_file_close(file));
}

/* Usage: test_client_faults [PATTERN]: only the tests whose name matches. */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_restart_with_data, setup_patient, teardown),
        cmocka_unit_test_setup_teardown(test_kill_and_restart_all, setup_patient, teardown),
        cmocka_unit_test_setup_teardown(test_storage_killed_and_back, setup_patient, teardown),
        cmocka_unit_test_setup_teardown(test_storage_back_for_a_newcomer, setup_patient, teardown),
        cmocka_unit_test_setup_teardown(test_storage_killed_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_storage_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_storage_moves, setup_moving, teardown),
        cmocka_unit_test_setup_teardown(test_truncation_waits, setup_patient, teardown),
        cmocka_unit_test_setup_teardown(test_truncation_waits, setup_moving, teardown),
        cmocka_unit_test_setup_teardown(test_metadata_killed_and_back, setup_patient, teardown),
        cmocka_unit_test_setup_teardown(test_importer_waits, setup_patient, teardown),
        cmocka_unit_test_setup_teardown(test_metadata_gone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
    };
    return cmocka_run_group_tests_name("client_faults", tests, NULL, NULL);
}
