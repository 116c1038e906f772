/* SPDX-License-Identifier: Apache-2.0 */
/* What the client does when the cluster map changes under it, and when a server answers nonsense. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "redo_servers.h"
#include "err.h"

enum { CHUNK = 4096 };

/* ---- the client's side ---------------------------------------------------------------- */

static char conf_path[WORLD_PATH_MAX];
static weft_session_t *session;
static weft_file_t *file;

static int open_servers(void **state)
{
    (void)state;
    return redo_servers_open(conf_path);
}

static int close_servers(void **state)
{
    (void)state;
    return redo_servers_close();
}

/* A session that knows map 1, of servers that know `version`. */
static void begin(unsigned version, enum manner manner)
{
    redo.version = version;
    redo.manner = manner;
    for (unsigned i = 0; i < PLACES; i++)
        redo.asked[i] = 0;
    pthread_mutex_lock(&redo.lock);
    memset(redo.store, 0, sizeof redo.store);
    redo.end = 0;
    pthread_mutex_unlock(&redo.lock);
    session = world_connect(conf_path);
    struct map *map = redo_servers_map(1);
    world_give_map(session, map);
    map_unref(map);
    file = world_file(session, WIRE_ACCESS_READ | WIRE_ACCESS_WRITE, CHUNK, TARGETS);
}

static void end(void)
{
    redo.manner = MANNER_GOOD;
    world_file_drop(file);
    weft_disconnect(session);
}

enum { COUNT = 300, LENGTH = 100, STRIDE = 1000 };
static uint8_t memory[COUNT * LENGTH], back[COUNT * LENGTH];
static struct iovec iov[COUNT];
static struct weft_extent extents[COUNT];

/* Small pieces over all targets, the memory pieces of other lengths than the extents. */
static void lists_make(uint8_t *at)
{
    for (unsigned i = 0; i < COUNT; i++) {
        iov[i] = (struct iovec){at + i * LENGTH + (i % 2 ? 7 : 0), i % 2 ? LENGTH - 7 : LENGTH + 7};
        extents[i] = (struct weft_extent){50 + i * STRIDE, LENGTH};
    }
    for (unsigned i = 0; i < sizeof memory; i++)
        memory[i] = (uint8_t)(i * 7 + i / 251);
}

static void check_store(void)
{
    pthread_mutex_lock(&redo.lock);
    for (unsigned i = 0; i < COUNT; i++)
        assert_memory_equal(redo.store + extents[i].offset, memory + i * LENGTH, LENGTH);
    pthread_mutex_unlock(&redo.lock);
}

/* ---- tests --------------------------------------------------------------------------------- */

/* One request is refused, and becomes two: the target moved. */
static void test_write_is_split(void **state)
{
    (void)state;
    begin(2, MANNER_GOOD);
    lists_make(memory);
    assert_int_equal(weft_file_write_list(file, iov, COUNT, extents, COUNT), sizeof memory);
    check_store();
    assert_int_equal(redo.asked[PLACE_A], 2);
    assert_int_equal(redo.asked[PLACE_B], 1);
    assert_int_equal(redo.asked[PLACE_METADATA], 0);
    assert_int_equal(world_counter(session, "retries"), 1);
    assert_int_equal(session->map->version, 2);
    /* From now on it goes right at once. */
    assert_int_equal(weft_file_write_list(file, iov, COUNT, extents, COUNT), sizeof memory);
    assert_int_equal(redo.asked[PLACE_A], 3);
    assert_int_equal(redo.asked[PLACE_B], 2);
    end();
}

static void test_read_is_split(void **state)
{
    (void)state;
    begin(1, MANNER_GOOD);
    lists_make(memory);
    assert_int_equal(weft_file_write_list(file, iov, COUNT, extents, COUNT), sizeof memory);
    assert_int_equal(redo.asked[PLACE_B], 0);
    redo.version = 2;
    lists_make(back);
    memset(back, '#', sizeof back);
    assert_int_equal(weft_file_read_list(file, iov, COUNT, extents, COUNT), sizeof memory);
    assert_memory_equal(memory, back, sizeof back);
    assert_int_equal(redo.asked[PLACE_B], 1);
    end();
}

/* A large transfer in one piece of memory, over several requests, in the middle of which the map changes. */
static void test_large_is_split(void **state)
{
    (void)state;
    enum { BYTES = 6 << 20 };
    uint8_t *bytes = malloc(BYTES), *seen = malloc(BYTES);
    for (unsigned i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(i * 13 + (i >> 12));
    begin(2, MANNER_GOOD);
    assert_int_equal(weft_file_write(file, bytes, BYTES, 5), BYTES);
    pthread_mutex_lock(&redo.lock);
    assert_memory_equal(redo.store + 5, bytes, BYTES);
    pthread_mutex_unlock(&redo.lock);
    end();
    begin(1, MANNER_GOOD);
    assert_int_equal(weft_file_write(file, bytes, BYTES, 5), BYTES);
    redo.version = 2;
    assert_int_equal(weft_file_read(file, seen, BYTES, 5), BYTES);
    assert_memory_equal(bytes, seen, BYTES);
    assert_true(redo.asked[PLACE_B] > 0);
    end();
    free(bytes);
    free(seen);
}

/* The size is asked from all, by the new map. */
static void test_size_again(void **state)
{
    (void)state;
    uint64_t size;
    begin(1, MANNER_GOOD);
    assert_int_equal(weft_file_write(file, "x", 1, 99999), 1);
    redo.version = 2;
    assert_int_equal(weft_file_size(file, &size), 0);
    assert_int_equal(size, 100000);
    assert_true(redo.asked[PLACE_B] > 0);
    assert_int_equal(session->map->version, 2);
    end();
}

/* The map was too long to be sent along: the metadata server has it. */
static void test_map_is_asked_for(void **state)
{
    (void)state;
    begin(2, MANNER_STALE_SILENT);
    lists_make(memory);
    ssize_t result = weft_file_write_list(file, iov, COUNT, extents, COUNT);
    if (result < 0)
        fail_msg("%s", weft_error());
    check_store();
    assert_int_equal(redo.asked[PLACE_METADATA], 1);
    end();
}

static void test_no_newer_map(void **state)
{
    (void)state;
    uint64_t start = rpc_now_ns();
    begin(1, MANNER_GOOD);
    struct map *map = redo_servers_map(2);
    world_give_map(session, map);
    map_unref(map);
    /* By map 2 target 1 is on B; the servers fall back to map 1, where it is on A. */
    lists_make(memory);
    assert_int_equal(weft_file_write_list(file, iov, COUNT, extents, COUNT), -ESTALE);
    assert_non_null(strstr(weft_error(), "knows of no other place"));
    assert_true(rpc_now_ns() - start < UINT64_C(4000000000));
    end();
}

static void test_ever_newer_maps(void **state)
{
    (void)state;
    begin(2, MANNER_STALE_ALWAYS);
    assert_int_equal(weft_file_write(file, "x", 1, 0), -ESTALE);
    assert_in_range(redo.asked[PLACE_A], 2, 20);
    end();
}

static void test_again(void **state)
{
    (void)state;
    begin(1, MANNER_AGAIN_ONCE);
    assert_int_equal(weft_file_write(file, "x", 1, 0), 1);
    assert_int_equal(redo.asked[PLACE_A], 2);
    end();
}

/* Replies that make no sense end in an error, and touch no memory that is not theirs. */
static void test_nonsense_replies(void **state)
{
    (void)state;
    static const enum manner manners[] = {MANNER_PRESENT_SUM, MANNER_PRESENT_COUNT, MANNER_PRESENT_MORE,
                                          MANNER_TOO_LONG, MANNER_NO_BODY};
    for (unsigned i = 0; i < sizeof manners / sizeof manners[0]; i++) {
        for (unsigned pieces = 1; pieces <= 2; pieces++) {
            uint8_t guarded[3000];
            struct iovec into[2] = {{guarded + 100, 1000}, {guarded + 1500, 1000}};
            struct weft_extent from[2] = {{0, 500}, {600, 1500}};
            begin(1, MANNER_GOOD);
            assert_int_equal(weft_file_write(file, memory, 3000, 0), 3000);
            redo.manner = (int)manners[i];
            if (pieces == 1)
                into[0].iov_len = 2000;
            memset(guarded, '#', sizeof guarded);
            ssize_t result = weft_file_read_list(file, into, pieces, from, 2);
            assert_true(result == -EPROTO || result == -EBADMSG);
            assert_non_null(strstr(weft_error(), "/run7/state"));
            for (unsigned k = 0; k < sizeof guarded; k++) {
                bool inside =
                    (k >= 100 && k < 100 + into[0].iov_len) || (pieces == 2 && k >= 1500 && k < 2500);
                if (!inside)
                    assert_int_equal(guarded[k], '#');
            }
            end();
        }
    }
}

/* Many transfers at once wait in line: never more under way than the credit, and no deadline
 * passes although all of them together take longer than one. */
static void test_line(void **state)
{
    (void)state;
    enum { OPS = 24, BYTES = 256 << 10 };
    weft_op_t *ops[OPS];
    uint8_t *bytes = calloc(1, BYTES);
    begin(1, MANNER_SLOW);
    redo.held_most = 0;
    redo.held_bytes_most = 0;
    struct weft_extent *chunks = calloc(BYTES / CHUNK, sizeof *chunks);
    for (unsigned i = 0; i < BYTES / CHUNK; i++) /* all of one target */
        chunks[i] = (struct weft_extent){(uint64_t)i * CHUNK * TARGETS, CHUNK};
    uint64_t start = rpc_now_ns();
    for (unsigned i = 0; i < OPS; i++)
        assert_int_equal(weft_file_write_list_async(file, &(struct iovec){bytes, BYTES}, 1, chunks,
                                                    BYTES / CHUNK, &ops[i]),
                         0);
    for (unsigned i = 0; i < OPS; i++) {
        ssize_t result = weft_wait(ops[i]);
        if (result != BYTES)
            fail_msg("operation %u: %s", i, weft_error());
    }
    assert_true(rpc_now_ns() - start > DEADLINE_MS * UINT64_C(1000000));
    assert_in_range(redo.held_most, 2, CREDIT_BYTES / BYTES);
    assert_in_range(redo.held_bytes_most, 1, CREDIT_BYTES);
    free(chunks);
    free(bytes);
    end();
}

/* ---- losses -------------------------------------------------------------------------------- */

static void expect_loss(int result)
{
    assert_int_equal(result, -EIO);
    assert_non_null(strstr(weft_error(), "/run7/state"));
    assert_non_null(strstr(weft_error(), "host of storage server s1 has crashed"));
}

/* Whoever has a file open is told of a loss by his next sync that ends well otherwise, once. */
static void test_sync_tells_of_losses(void **state)
{
    weft_op_t *ops[2];
    (void)state;
    begin(2, MANNER_GOOD);
    file->synced = 2;
    assert_int_equal(weft_file_sync(file), 0);
    assert_int_equal(file->synced, 2);
    redo.version = 3;
    expect_loss(weft_file_sync(file));
    assert_int_equal(weft_file_sync(file), 0);
    assert_int_equal(file->synced, 3);
    /* Two that are under way together both cover what was lost. */
    file->synced = 2;
    for (int i = 0; i < 2; i++)
        assert_int_equal(weft_file_sync_async(file, &ops[i]), 0);
    for (int i = 0; i < 2; i++)
        expect_loss((int)weft_wait(ops[i]));
    assert_int_equal(weft_file_sync(file), 0);
    end();
}

/* One that failed for another reason leaves it to the next. */
static void test_a_failed_sync_forgets_no_loss(void **state)
{
    (void)state;
    begin(3, MANNER_GOOD);
    file->synced = 2;
    struct wire_capability capability = file->capability;
    uint32_t groups = file->layout.group_count;
    file->capability.layout.group_count = 100; /* there are not so many */
    assert_int_equal(weft_file_sync(file), -EINVAL);
    file->capability = capability;
    file->layout.group_count = groups;
    expect_loss(weft_file_sync(file));
    end();
}

static void test_a_loss_elsewhere_is_not_told(void **state)
{
    (void)state;
    begin(4, MANNER_GOOD);
    world_file_drop(file);
    file = world_file(session, WIRE_ACCESS_WRITE, CHUNK, 2); /* targets 0 and 1 */
    file->synced = 3;
    redo.version = 5;
    assert_int_equal(weft_file_sync(file), 0);
    assert_int_equal(file->synced, 5);
    end();
}

/* Who gets a copy of a handle is told of what the handle would be. */
static void test_a_copy_of_a_handle(void **state)
{
    uint8_t blob[16384];
    weft_file_t *copy;
    (void)state;
    begin(4, MANNER_GOOD);
    file->synced = 2;
    ssize_t length = weft_file_export(file, blob, sizeof blob);
    assert_true(length > 0 && length <= (ssize_t)sizeof blob);
    assert_int_equal(weft_file_import(session, blob, (size_t)length, &copy), 0);
    expect_loss(weft_file_sync(copy));
    expect_loss(weft_file_sync(file));
    assert_int_equal(weft_file_sync(copy), 0);
    assert_int_equal(weft_file_close(copy), 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_is_split),
        cmocka_unit_test(test_read_is_split),
        cmocka_unit_test(test_large_is_split),
        cmocka_unit_test(test_size_again),
        cmocka_unit_test(test_map_is_asked_for),
        cmocka_unit_test(test_no_newer_map),
        cmocka_unit_test(test_ever_newer_maps),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_nonsense_replies),
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_sync_tells_of_losses),
        cmocka_unit_test(test_a_failed_sync_forgets_no_loss),
        cmocka_unit_test(test_a_loss_elsewhere_is_not_told),
        cmocka_unit_test(test_a_copy_of_a_handle),
    };
    return cmocka_run_group_tests_name("client_redo", tests, open_servers, close_servers);
}
