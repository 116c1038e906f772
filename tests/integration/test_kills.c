/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers are killed and started again, over and over, while clients write, read, cut and sync: what a
 * client was told stays true. Each writer knows what its own file and its records of a shared
 * file must be, reads parts of them all the time, and in the end another client reads all of it.
 *
 *   WEFT_TEST_SEED=N   another run (the seed is printed)
 *   WEFT_TEST_KILLS=N  so many kills (default 8), every sixth of them of the metadata server
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "calls.h"
#include "cluster.h"
#include "seed.h"

enum {
    SERVERS = 3,
    WRITERS = 3,
    KILLS = 8,
    CHUNK = 65536,
    OWN_BYTES = 12 * CHUNK + 1234,
    RECORD = 47008,
    RECORDS = 12, /* of each writer in the shared file */
    PIECE_MAX = 50000,
    DEADLINE_MS = 60000,
};

/* A file, or a writer's part of one, and what must be there. */
struct part {
    weft_file_t *file;
    uint64_t bytes, length; /* at most; now */
    uint8_t *expected;
};

struct writer {
    pthread_t thread;
    unsigned number, random_state;
    weft_session_t *session;
    struct part own, shared;
    atomic_bool stop;
    unsigned calls;
    char fault[700];
};

static struct cluster cluster;
static struct writer writers[WRITERS];

/* Where byte `at` of a writer's records lies in the shared file, and how much of its record follows. */
static uint64_t place_of(const struct writer *writer, uint64_t at, uint64_t *follows)
{
    *follows = RECORD - at % RECORD;
    return (at / RECORD * WRITERS + writer->number) * RECORD + at % RECORD;
}

/* ---- what a writer does -------------------------------------------------- */

static bool failed(struct writer *writer, const char *what)
{
    snprintf(writer->fault, sizeof writer->fault, "writer %u, call %u: %s: %s", writer->number, writer->calls,
             what, weft_error());
    return false;
}

/* One piece; `own` is of the writer's own file. */
static bool write_piece(struct writer *writer, struct part *part, uint64_t at, uint64_t length)
{
    uint64_t offset = at, follows = length;
    if (part == &writer->shared)
        offset = place_of(writer, at, &follows);
    if (length > follows)
        length = follows;
    for (uint64_t i = 0; i < length; i++)
        part->expected[at + i] = (uint8_t)below_of(&writer->random_state, 256);
    if (part->length < at + length)
        part->length = at + length;
    return weft_file_write(part->file, part->expected + at, length, offset) == (ssize_t)length ||
           failed(writer, "write");
}

static bool check_piece(struct writer *writer, weft_file_t *file, const struct part *part, uint64_t at,
                        uint64_t length)
{
    static _Thread_local uint8_t seen[OWN_BYTES];
    uint64_t offset = at, follows = length;
    if (part == &writer->shared)
        offset = place_of(writer, at, &follows);
    if (length > follows)
        length = follows;
    memset(seen, 0, length);
    ssize_t result = weft_file_read(file, seen, length, offset);
    if (result < 0)
        return failed(writer, "read");
    for (uint64_t i = 0; i < length; i++) {
        if (seen[i] == part->expected[at + i])
            continue;
        snprintf(writer->fault, sizeof writer->fault,
                 "writer %u, call %u: byte %llu of its %s is %#x and was %#x; it read %zd bytes from %llu",
                 writer->number, writer->calls, (unsigned long long)(at + i),
                 part == &writer->shared ? "records" : "file", seen[i], part->expected[at + i], result,
                 (unsigned long long)at);
        return false;
    }
    return true;
}

static bool cut_own(struct writer *writer)
{
    struct part *own = &writer->own;
    const uint64_t length = below_of(&writer->random_state, OWN_BYTES);
    if (length < own->length)
        memset(own->expected + length, 0, own->length - length);
    own->length = length;
    return weft_file_truncate(own->file, length) == 0 || failed(writer, "truncate");
}

static bool call(struct writer *writer)
{
    unsigned *state = &writer->random_state;
    struct part *part = below_of(state, 2) ? &writer->own : &writer->shared;
    const uint64_t at = below_of(state, (unsigned)part->bytes);
    uint64_t length = 1 + below_of(state, below_of(state, 3) ? 3000 : PIECE_MAX);
    if (length > part->bytes - at)
        length = part->bytes - at;
    writer->calls++;
    switch (below_of(state, 20)) {
    case 0:
        return cut_own(writer);
    case 1:
        return weft_file_sync(part->file) == 0 || failed(writer, "sync");
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
        return check_piece(writer, part->file, part, at, length);
    default:
        return write_piece(writer, part, at, length);
    }
}

static void *work(void *arg)
{
    struct writer *writer = arg;
    while (!writer->stop && call(writer))
        ;
    return NULL;
}

/* ---- the test ------------------------------------------------------------- */

static void open_part(weft_session_t *session, struct part *part, const char *path, uint64_t bytes)
{
    *part = (struct part){.bytes = bytes, .expected = calloc(1, bytes)};
    assert_non_null(part->expected);
    ok(weft_file_open(session, path, O_RDWR | O_CREAT, 0644, &(struct weft_layout){0}, &part->file));
}

static void own_path(char path[32], unsigned number)
{
    snprintf(path, 32, "/own-%u", number);
}

static int setup(void **state)
{
    (void)state;
    random_state = seed_wanted();
    cluster_open(&cluster,
                 &(struct cluster_options){
                     .servers = SERVERS, .shards = 2, .chunk_size = CHUNK, .deadline_ms = DEADLINE_MS});
    for (unsigned i = 0; i < WRITERS; i++) {
        struct writer *writer = &writers[i];
        char path[32];
        own_path(path, i);
        *writer = (struct writer){.number = i, .random_state = random_state + i};
        ok(weft_connect(NULL, &writer->session));
        open_part(writer->session, &writer->own, path, OWN_BYTES);
        open_part(writer->session, &writer->shared, "/shared", RECORDS * RECORD);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WRITERS; i++) {
        weft_disconnect(writers[i].session);
        free(writers[i].own.expected);
        free(writers[i].shared.expected);
    }
    cluster_close(&cluster);
    return 0;
}

static void kill_servers(unsigned kills)
{
    for (unsigned n = 0; n < kills; n++) {
        const int server = n % 6 == 5 ? CLUSTER_METADATA : (int)below(SERVERS);
        usleep(20000 + below(200000));
        cluster_kill(&cluster, server);
        usleep(below(50000));
        cluster_start(&cluster, server);
        for (unsigned i = 0; i < WRITERS; i++)
            if (writers[i].fault[0])
                return;
    }
}

/* By someone who has written nothing. */
static void check_all(struct writer *writer, weft_session_t *session)
{
    weft_file_t *own, *shared;
    struct weft_attr attr;
    char path[32];
    own_path(path, writer->number);
    ok(weft_file_open(session, path, O_RDONLY, 0, NULL, &own));
    ok(weft_file_open(session, "/shared", O_RDONLY, 0, NULL, &shared));
    ok(weft_stat(session, path, 0, &attr));
    assert_int_equal(attr.size, writer->own.length);
    bool right = check_piece(writer, own, &writer->own, 0, OWN_BYTES);
    for (uint64_t at = 0; at < RECORDS * RECORD && right; at += RECORD)
        right = check_piece(writer, shared, &writer->shared, at, RECORD);
    if (!right)
        fail_msg("%s", writer->fault);
    ok(weft_file_close(own));
    ok(weft_file_close(shared));
}

static void check_targets(void)
{
    const char *store = getenv("WEFT_TEST_STORE"), *build = getenv("WEFT_TOP_BUILDDIR");
    char command[400];
    for (int server = 0; server < SERVERS; server++)
        cluster_stop(&cluster, server);
    for (int target = 0; target < SERVERS && (!store || strcmp(store, "chunks") == 0); target++) {
        snprintf(command, sizeof command,
                 "'%s/server/storage/weft-fsck' -c '%s' %d >'%s/fsck' || cat '%s/fsck'", build, cluster.conf,
                 target, cluster.dir, cluster.dir);
        assert_int_equal(system(command), 0);
        snprintf(command, sizeof command, "grep -q ' 0 faults' '%s/fsck'", cluster.dir);
        assert_int_equal(system(command), 0);
    }
}

static void test_kills(void **state)
{
    const unsigned kills = number_wanted("WEFT_TEST_KILLS", KILLS);
    unsigned calls = 0;
    weft_session_t *reader;
    (void)state;
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i].thread, NULL, work, &writers[i]), 0);
    kill_servers(kills);
    for (unsigned i = 0; i < WRITERS; i++)
        writers[i].stop = true;
    for (unsigned i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
        calls += writers[i].calls;
    }
    for (unsigned i = 0; i < WRITERS; i++)
        if (writers[i].fault[0])
            fail_msg("%s", writers[i].fault);
    ok(weft_connect(NULL, &reader));
    for (unsigned i = 0; i < WRITERS; i++)
        check_all(&writers[i], reader);
    weft_disconnect(reader);
    print_message("%u kills, %u calls\n", kills, calls);
    check_targets();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_kills, setup, teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
