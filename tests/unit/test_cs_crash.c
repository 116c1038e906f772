/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crash simulator of the chunk store. What it must survive: a crash between any two
 * writes or flushes, with whatever part of what was not flushed on the disk, in any
 * order, torn at any 512 bytes, files at their size from before.
 *
 * A workload from a seed runs on a disk that records (cs_disk.h), with operations also in the middle of
 * commits, as the helper thread of a server makes them. Then, for crash points in rising order, a disk
 * is made as the crash may have left it and mounted. The store must then be, to the last byte and
 * length, what it was when some commit was sealed, none older than the last one that had
 * ended; no checksum fails, no block is leaked or has two owners, and it must be able to
 * go on: write, commit, mount.
 *
 *   WEFT_SEED=N             another run (the seed is printed)
 *   WEFT_CRASH_STATES=N     so many states (default 400)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "storage/chunks/cs_store.h"
#include "cs_disk.h"

enum {
    OBJECTS = 5,
    BYTES = CS_STRIP + CS_STRIP / 2,
    COMMITS_MAX = 64,
    STEPS = 160,
    STATES = 400,
    STATES_A_RUN = 100,
};

struct model {
    uint64_t length[OBJECTS];
    bool exists[OBJECTS];
    uint8_t bytes[OBJECTS][BYTES];
};

static const struct layout layout = {.chunk_size = 4096, .seed = 1, .stripe_count = 1, .group_count = 1};
static uint64_t seed, run_seed;

/* The workload. */
static struct disk disk;
static struct cs_config config;
static struct cs_store *store;
static struct model now;
static unsigned inside; /* operations to be made in the middle of this commit */

/* What a mount may find: the state at each seal, and from which event on none older. */
static struct {
    struct model *model;
    uint64_t generation;
    size_t event;
} sealed[COMMITS_MAX];
static unsigned sealed_count;
static struct {
    size_t event;
    uint64_t generation;
} ended[COMMITS_MAX];
static unsigned ended_count;

static struct cs_name name_of(unsigned i)
{
    return (struct cs_name){.ino = 100 + i, .position = i % 2};
}

static void check(int error)
{
    if (error < 0)
        fail_msg("seed %llu: %s", (unsigned long long)run_seed, err_text());
}

/* ---- the workload ------------------------------------------------------- */

static void step_write(unsigned i)
{
    static uint8_t data[BYTES];
    const bool large = disk_random(&seed) % 4 == 0;
    const uint64_t offset = disk_random(&seed) % BYTES;
    uint64_t length = 1 + disk_random(&seed) % (large ? 200000 : 9000);
    if (length > BYTES - offset)
        length = BYTES - offset;
    for (uint64_t k = 0; k < length; k += 512)
        memset(data + k, (int)disk_random(&seed), length - k < 512 ? length - k : 512);
    struct iovec iov = {data, length};
    check(cs_write(store, name_of(i), &layout, offset, &iov, 1, NULL));
    memcpy(now.bytes[i] + offset, data, length);
    now.exists[i] = true;
    if (now.length[i] < offset + length)
        now.length[i] = offset + length;
}

static void step_truncate(unsigned i)
{
    const uint64_t length = disk_random(&seed) % BYTES;
    int result;
    while ((result = cs_truncate(store, name_of(i), &layout, length)) > 0)
        ;
    check(result);
    if (length < now.length[i])
        memset(now.bytes[i] + length, 0, BYTES - length);
    now.exists[i] = now.exists[i] || length > 0;
    now.length[i] = length;
}

static void step_remove(unsigned i)
{
    int result;
    while ((result = cs_remove(store, name_of(i))) > 0)
        ;
    check(result);
    now.length[i] = 0;
    now.exists[i] = false;
    memset(now.bytes[i], 0, BYTES);
}

static void step_punch(unsigned i)
{
    const uint64_t offset = disk_random(&seed) % BYTES, length = disk_random(&seed) % (BYTES - offset);
    check(cs_punch(store, name_of(i), &layout, offset, length));
    memset(now.bytes[i] + offset, 0, length);
}

static void step(void)
{
    const unsigned i = (unsigned)(disk_random(&seed) % OBJECTS);
    switch (disk_random(&seed) % 12) {
    case 0:
        step_truncate(i);
        break;
    case 1:
        step_remove(i);
        break;
    case 2:
        step_punch(i);
        break;
    default:
        step_write(i);
    }
}

/* Between the writes and flushes of a commit. */
static void in_between(void *arg)
{
    (void)arg;
    if (inside && disk_random(&seed) % 3 == 0) {
        inside--;
        step();
    }
}

static void commit(void)
{
    struct cs_commit *commit;
    check(cs_seal(store, &commit));
    if (!commit || sealed_count == COMMITS_MAX)
        return;
    sealed[sealed_count].model = malloc(sizeof now);
    assert_non_null(sealed[sealed_count].model);
    memcpy(sealed[sealed_count].model, &now, sizeof now);
    sealed[sealed_count].generation = store->pages.generation - 1;
    sealed[sealed_count++].event = disk.event_count;
    inside = (unsigned)(disk_random(&seed) % 4);
    disk.before = in_between;
    const uint64_t generation = store->pages.generation - 1;
    int error = cs_commit_flush(commit);
    disk.before = NULL;
    check(error);
    cs_commit_finish(store, commit, error);
    ended[ended_count].event = disk.event_count;
    ended[ended_count++].generation = generation;
}

static void run_workload(void)
{
    disk_open(&disk);
    config = (struct cs_config){
        .io = &disk.io, .name = "target 0 shard 0", .uuid = {9}, .grow_blocks = 64, .cache_pages = 64};
    check(cs_format(&config));
    disk_record(&disk);
    check(cs_open(&config, &store));
    memset(&now, 0, sizeof now);
    sealed[0].model = calloc(1, sizeof now);
    sealed[0].generation = 1;
    sealed[0].event = 0;
    sealed_count = 1;
    ended[0].event = 0;
    ended[0].generation = 1;
    ended_count = 1;
    for (unsigned n = 0; n < STEPS; n++) {
        step();
        if (disk_random(&seed) % 6 == 0 && sealed_count < COMMITS_MAX)
            commit();
    }
    cs_close(store);
}

/* ---- crashes ------------------------------------------------------------ */

static void print_fault(void *arg, const char *text)
{
    (void)arg;
    print_message("fault: %s\n", text);
}

static void check_whole(struct cs_store *mounted)
{
    struct cs_check_result result;
    check(cs_check(mounted, true, print_fault, NULL, &result));
    if (result.faults)
        fail_msg("seed %llu: %llu faults", (unsigned long long)run_seed, (unsigned long long)result.faults);
}

static void check_objects(struct cs_store *mounted, const struct model *model)
{
    static uint8_t bytes[BYTES];
    for (unsigned i = 0; i < OBJECTS; i++) {
        struct cs_stat stat;
        size_t count;
        check(cs_stat(mounted, name_of(i), &layout, &stat));
        assert_int_equal(stat.exists, model->exists[i]);
        assert_int_equal(stat.length, model->length[i]);
        check(cs_read(mounted, name_of(i), &layout, 0, bytes, BYTES, &count, NULL));
        assert_int_equal(count, model->length[i]);
        assert_memory_equal(bytes, model->bytes[i], count);
    }
}

static const struct model *model_of(uint64_t generation)
{
    for (unsigned i = 0; i < sealed_count; i++)
        if (sealed[i].generation == generation)
            return sealed[i].model;
    fail_msg("seed %llu: generation %llu was never sealed", (unsigned long long)run_seed,
             (unsigned long long)generation);
    return NULL;
}

/* After the crash it goes on. */
static void go_on(struct cs_config *after, struct cs_store *mounted)
{
    static uint8_t data[70000];
    struct iovec iov = {data, sizeof data};
    memset(data, 0x5a, sizeof data);
    check(cs_write(mounted, name_of(0), &layout, 3000, &iov, 1, NULL));
    int result;
    while ((result = cs_remove(mounted, name_of(1))) > 0)
        ;
    check(result);
    check(cs_commit(mounted));
    check_whole(mounted);
    cs_close(mounted);
    check(cs_open(after, &mounted));
    assert_int_equal(mounted->failed, 0);
    check_whole(mounted);
    cs_close(mounted);
}

static void crash(const struct disk_replay *replay, size_t event)
{
    struct disk left;
    struct cs_config after = config;
    struct cs_store *mounted;
    uint64_t oldest = 0;
    for (unsigned i = 0; i < ended_count && ended[i].event <= event; i++)
        oldest = ended[i].generation;
    disk_replay_crash(replay, &seed, &left);
    after.io = &left.io;
    check(cs_open(&after, &mounted));
    if (mounted->failed)
        fail_msg("seed %llu, event %zu: %s", (unsigned long long)run_seed, event, mounted->failed_text);
    assert_true(mounted->generation >= oldest);
    check_objects(mounted, model_of(mounted->generation));
    check_whole(mounted);
    go_on(&after, mounted);
    disk_close(&left);
}

static unsigned crash_run(unsigned states)
{
    struct disk_replay replay;
    run_workload();
    disk_replay_open(&replay, &disk);
    for (unsigned n = 0; n < states; n++) {
        /* In rising order, over all events and behind the last one. */
        const size_t low = (size_t)((uint64_t)n * (disk.event_count + 1) / states);
        const size_t high = (size_t)((uint64_t)(n + 1) * (disk.event_count + 1) / states);
        const size_t event = low + (high > low ? disk_random(&seed) % (high - low) : 0);
        disk_replay_to(&replay, event);
        crash(&replay, event);
    }
    disk_replay_close(&replay);
    disk_close(&disk);
    for (unsigned i = 0; i < sealed_count; i++)
        free(sealed[i].model);
    const unsigned commits = ended_count;
    sealed_count = ended_count = 0;
    return commits;
}

static void test_crashes(void **state)
{
    (void)state;
    const char *states_text = getenv("WEFT_CRASH_STATES"), *seed_text = getenv("WEFT_SEED");
    const unsigned states = states_text ? (unsigned)strtoul(states_text, NULL, 0) : STATES;
    uint64_t first = seed_text ? strtoull(seed_text, NULL, 0) : 1;
    unsigned commits = 0, done = 0;
    for (; done < states; done += STATES_A_RUN) {
        seed = run_seed = first + done / STATES_A_RUN;
        commits += crash_run(STATES_A_RUN);
    }
    print_message("%u states of runs WEFT_SEED=%llu to %llu, with %u commits\n", done,
                  (unsigned long long)first, (unsigned long long)run_seed, commits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
