/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files: how few requests they take, and that nobody ever sees anything old in them. Several clients
 * open, read, write, cut, rename and close a few files that grow over the limit and are made anew, one call
 * after the other, drawn from a seed: each must find what the one before has left, although reads are
 * answered from leases. The same while the metadata server is killed again and again. Then all at once
 * append to one file. WEFT_TEST_SEED repeats a run.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client_pair.h"
#include "seed.h"

enum { FILES = 100, LIMIT = 4000, NAMES = 4, HANDLES = 2, SIZE_MAX_HERE = 12000, STEPS = 6000 };

/* In memory, since on a disk a write's commit takes longer than a lease. */
static int setup(void **state)
{
    random_state = seed_wanted();
    crowd_setup(state);
    ok(weft_keep_attributes(clients[0], NULL));
    ok(weft_keep_attributes(clients[1], NULL));
    return 0;
}

static weft_file_t *open_small(weft_session_t *of, const char *path, int flags)
{
    weft_file_t *file;
    ok(weft_file_open(of, path, flags, 0644, NULL, &file));
    return file;
}

/* ---- requests ----------------------------------------------------------------------- */

static const char *name_of(unsigned i)
{
    static char name[32];
    snprintf(name, sizeof name, "/file.%u", i);
    return name;
}

static uint64_t metadata_requests(weft_session_t *of)
{
    return counter(of, "metadata_requests");
}

/* Making, writing and closing one: two requests; opening, reading and closing one: one, unless this machine
 * was so busy that the lease was over by then. */
static void test_requests(void **state)
{
    (void)state;
    char bytes[LIMIT], back[LIMIT];
    memset(bytes, 'w', sizeof bytes);
    uint64_t before = metadata_requests(session);
    for (unsigned i = 0; i < FILES; i++) {
        weft_file_t *file = open_small(session, name_of(i), O_WRONLY | O_CREAT | O_EXCL);
        assert_int_equal(weft_file_write(file, bytes, sizeof bytes, 0), sizeof bytes);
        ok(weft_file_close(file));
    }
    assert_int_equal(metadata_requests(session), before + 2 * FILES);
    before = metadata_requests(other);
    for (unsigned i = 0; i < FILES; i++) {
        weft_file_t *file = open_small(other, name_of(i), O_RDONLY);
        assert_int_equal(weft_file_read(file, back, sizeof back, 0), sizeof back);
        assert_memory_equal(back, bytes, sizeof back);
        ok(weft_file_close(file));
    }
    uint64_t asked = metadata_requests(other) - before, hits = counter(other, "small_hits");
    assert_int_equal(asked + hits, 2 * FILES);
    assert_true(hits > 0);
    before = metadata_requests(session);
    for (unsigned i = 0; i < FILES; i++)
        ok(weft_unlink(session, name_of(i)));
    assert_in_range(metadata_requests(session), before + FILES, before + FILES + 5);
    assert_int_equal(counter(session, "storage_requests"), 0);
    assert_int_equal(counter(other, "storage_requests"), 0);
}

/* A large one costs one request more than one with a layout, and is one that its close tells the size of. */
static void test_growing(void **state)
{
    (void)state;
    static char bytes[3 * CHUNK];
    struct weft_attr attr;
    uint64_t settled = server_counter(session, "settled"), before = metadata_requests(session);
    weft_file_t *file = open_small(session, "/large", O_RDWR | O_CREAT);
    assert_int_equal(weft_file_write(file, bytes, sizeof bytes, 0), sizeof bytes);
    assert_int_equal(weft_file_write(file, bytes, sizeof bytes, sizeof bytes), sizeof bytes);
    assert_int_equal(metadata_requests(session), before + 2);
    ok(weft_file_close(file));
    ok(weft_stat(session, "/large", 0, &attr));
    assert_int_equal(attr.size, 2 * sizeof bytes);
    assert_int_equal(server_counter(session, "settled"), settled);
    ok(weft_unlink(session, "/large"));
}

/* Who reads has a lease when somebody writes, through another session or this one. Again and again, as the
 * lease may be over before that on a busy machine. */
static void test_leases_end_in_time(void **state)
{
    (void)state;
    char back;
    for (unsigned i = 0; i < FILES; i++) {
        const char now = (char)('a' + i % 26), before = (char)('a' + (i + 25) % 26);
        weft_file_t *writer = open_small(session, "/leased", O_RDWR | O_CREAT);
        assert_int_equal(weft_file_write(writer, &before, 1, 0), 1);
        ok(weft_file_close(writer));
        ok(weft_stat(session, "/leased", 0, &(struct weft_attr){0})); /* takes the close along */
        weft_file_t *reader = open_small(i % 2 ? other : session, "/leased", O_RDONLY);
        writer = open_small(session, "/leased", O_RDWR);
        assert_int_equal(weft_file_write(writer, &now, 1, 0), 1);
        assert_int_equal(weft_file_read(reader, &back, 1, 0), 1);
        assert_int_equal(back, now);
        ok(weft_file_close(reader));
        ok(weft_file_close(writer));
    }
    ok(weft_unlink(session, "/leased"));
}

/* ---- one call after the other ----------------------------------------------------------- */

struct model {
    bool exists;
    size_t size;
    uint8_t bytes[SIZE_MAX_HERE];
};
static struct model models[NAMES];
/* Handles stay with their file when its name goes to another, so a file is closed by all before that. */
static weft_file_t *handles[CLIENTS][NAMES][HANDLES];
static bool writable[CLIENTS][NAMES][HANDLES];
static unsigned steps;

static const char *path_of(unsigned name)
{
    static char path[16];
    snprintf(path, sizeof path, "/small.%u", name);
    return path;
}

static void close_all(unsigned name)
{
    for (unsigned c = 0; c < CLIENTS; c++) {
        for (unsigned h = 0; h < HANDLES; h++) {
            if (handles[c][name][h])
                ok(weft_file_close(handles[c][name][h]));
            handles[c][name][h] = NULL;
        }
    }
}

static void step_read(weft_file_t *file, const struct model *model)
{
    static uint8_t back[SIZE_MAX_HERE];
    size_t offset = below(4) ? 0 : below(SIZE_MAX_HERE), length = below(2) ? SIZE_MAX_HERE : below(5000);
    size_t wanted = offset >= model->size ? 0 : model->size - offset;
    if (wanted > length)
        wanted = length;
    ssize_t got = weft_file_read(file, back, length, offset);
    if (got == -EBADF)
        return; /* it is open for writing only */
    ok(got);
    if ((size_t)got != wanted || memcmp(back, model->bytes + offset, wanted) != 0)
        fail_msg("step %u: %zd bytes at %zu, of %zu, are not those %zu that were written", steps, got, offset,
                 model->size, wanted);
}

static void step_open(unsigned client, unsigned name, unsigned handle)
{
    static const struct weft_layout some = {0};
    static const int flags[] = {O_RDONLY, O_RDONLY, O_RDWR, O_WRONLY, O_RDWR | O_CREAT, O_RDWR | O_TRUNC};
    struct model *model = &models[name];
    int how = flags[below(6)];
    weft_file_t *file;
    int result = weft_file_open(clients[client], path_of(name), how, 0644, below(15) ? NULL : &some, &file);
    if (!model->exists && !(how & O_CREAT)) {
        assert_int_equal(result, -ENOENT);
        return;
    }
    ok(result);
    if (!model->exists || (how & O_TRUNC))
        model->size = 0;
    model->exists = true;
    handles[client][name][handle] = file;
    writable[client][name][handle] = (how & O_ACCMODE) != O_RDONLY;
    if (below(2))
        step_read(file, model);
}

static void model_grow(struct model *model, size_t size)
{
    if (size > model->size)
        memset(model->bytes + model->size, 0, size - model->size);
}

static void step_write(weft_file_t *file, struct model *model)
{
    static uint8_t bytes[SIZE_MAX_HERE];
    bool large = below(25) == 0;
    size_t offset = large ? below(6000) : below(3000), length = 1 + below(large ? 6000 : 900);
    memset(bytes, 1 + (int)below(255), length);
    struct iovec iov[2] = {{bytes, length / 3}, {bytes + length / 3, length - length / 3}};
    assert_int_equal(weft_file_writev(file, iov, 2, offset), length);
    model_grow(model, offset);
    memcpy(model->bytes + offset, bytes, length);
    if (offset + length > model->size)
        model->size = offset + length;
}

static void step_cut(unsigned client, unsigned name, weft_file_t *file, bool can_write)
{
    struct model *model = &models[name];
    size_t size = below(8) ? below(4000) : below(SIZE_MAX_HERE);
    if (file && can_write && below(2))
        ok(weft_file_truncate(file, size));
    else
        ok(weft_truncate(clients[client], path_of(name), size));
    model_grow(model, size);
    model->size = size;
}

static void step_look(unsigned client, unsigned name, weft_file_t *file)
{
    const struct model *model = &models[name];
    struct weft_attr attr;
    uint64_t size;
    ok(weft_stat(clients[client], path_of(name), 0, &attr));
    assert_int_equal(attr.size, model->size);
    if (file) {
        ok(weft_file_size(file, &size));
        assert_int_equal(size, model->size);
    }
}

static void step_name(unsigned client, unsigned name)
{
    unsigned to = below(NAMES);
    close_all(name);
    close_all(to);
    if (below(2) || to == name) {
        ok(weft_unlink(clients[client], path_of(name)));
    } else {
        char from[16];
        snprintf(from, sizeof from, "%s", path_of(name));
        ok(weft_rename(clients[client], from, path_of(to)));
        models[to] = models[name];
    }
    models[name].exists = false;
}

static void step(void)
{
    unsigned client = below(CLIENTS), name = below(NAMES), handle = below(HANDLES), what = below(100);
    weft_file_t **file = &handles[client][name][handle];
    struct model *model = &models[name];
    if (!*file && (what < 60 || !model->exists)) {
        step_open(client, name, handle);
    } else if (what < 2) {
        step_name(client, name);
    } else if (what < 25 && *file) {
        ok(weft_file_close(*file));
        *file = NULL;
    } else if (what < 55 && *file) {
        step_read(*file, model);
    } else if (what < 85 && *file && writable[client][name][handle]) {
        step_write(*file, model);
    } else if (what < 90) {
        step_cut(client, name, *file, writable[client][name][handle]);
    } else {
        step_look(client, name, *file);
    }
}

static void run_steps(unsigned count, unsigned kill_every)
{
    for (steps = 0; steps < count; steps++) {
        if (kill_every && steps % kill_every == kill_every - 1) {
            cluster_kill(&cluster, CLUSTER_METADATA);
            cluster_start(&cluster, CLUSTER_METADATA);
        }
        step();
    }
    for (unsigned name = 0; name < NAMES; name++) {
        close_all(name);
        if (models[name].exists)
            ok(weft_unlink(session, path_of(name)));
        models[name].exists = false;
    }
}

static void test_each_sees_what_was_before(void **state)
{
    (void)state;
    run_steps(STEPS, 0);
    assert_true(server_counter(session, "small_spills") > 0);
    uint64_t hits = 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        hits += counter(clients[i], "small_hits");
    assert_true(hits > 0);
}

static void test_servers_that_are_killed(void **state)
{
    (void)state;
    run_steps(STEPS / 4, STEPS / 60);
}

/* ---- all at once -------------------------------------------------------------------------- */

enum { APPENDS = 120, RECORD = 64 };

static void *append(void *arg)
{
    weft_session_t *own = arg;
    char record[RECORD + 1];
    weft_file_t *file;
    if (weft_file_open(own, "/log", O_WRONLY | O_CREAT, 0644, NULL, &file) < 0)
        return "open";
    for (unsigned i = 0; i < APPENDS; i++) {
        snprintf(record, sizeof record, "%-20p %-20u %21s\n", arg, i, "");
        struct iovec iov = {record, RECORD};
        if (weft_file_append(file, &iov, 1, NULL) != RECORD)
            return "append";
    }
    return weft_file_close(file) < 0 ? "close" : NULL;
}

/* The file spills in the middle of that. */
static void test_appending_at_once(void **state)
{
    (void)state;
    static char all[CLIENTS * APPENDS * RECORD + 1];
    pthread_t threads[CLIENTS];
    for (unsigned i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, append, clients[i]), 0);
    for (unsigned i = 0; i < CLIENTS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        if (wrong)
            fail_msg("client %u: %s", i, (char *)wrong);
    }
    weft_file_t *file = open_small(session, "/log", O_RDONLY);
    assert_int_equal(weft_file_read(file, all, sizeof all, 0), CLIENTS * APPENDS * RECORD);
    ok(weft_file_close(file));
    for (unsigned i = 0; i < CLIENTS; i++) {
        unsigned next = 0;
        for (size_t at = 0; at < CLIENTS * APPENDS; at++) {
            void *who;
            unsigned number;
            assert_int_equal(sscanf(all + at * RECORD, "%p %u", &who, &number), 2);
            if (who == clients[i])
                assert_int_equal(number, next++);
        }
        assert_int_equal(next, APPENDS);
    }
    ok(weft_unlink(session, "/log"));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),           cmocka_unit_test(test_growing),
        cmocka_unit_test(test_leases_end_in_time), cmocka_unit_test(test_each_sees_what_was_before),
        cmocka_unit_test(test_appending_at_once),  cmocka_unit_test(test_servers_that_are_killed),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, setup, crowd_teardown);
}
