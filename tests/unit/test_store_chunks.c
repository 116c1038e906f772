/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk store as the server uses it: through store.h, on real files, with its threads. What
 * the bytes and crashes are is tested in test_cs_store.c and test_cs_crash.c. */
#include "chunks_lab.h"

#include "storage/chunks/cs_faults.h"

/* ---- tests --------------------------------------------------------------- */

static void test_bytes_come_back(void **state)
{
    (void)state;
    assert_int_equal(get(1, 0, buffer, 100), 0);
    assert_int_equal(stat_of(1).mtime_ns, 0);
    assert_int_equal(put(1, 1000, data, sizeof data - 1000), 0);
    assert_int_equal(stat_of(1).length, sizeof data);
    assert_true(stat_of(1).mtime_ns > 0);
    assert_int_equal(get(1, 1000, buffer, sizeof buffer), sizeof data - 1000);
    assert_memory_equal(buffer, data, sizeof data - 1000);
    assert_int_equal(truncate_to(1, 5000), 0);
    assert_int_equal(stat_of(1).length, 5000);
    assert_int_equal(stat_of(1).bytes, 8192);
    assert_int_equal(drop(1), 0);
    assert_int_equal(get(1, 0, buffer, 100), 0);
    assert_int_equal(drop(1), 0);
}

static void test_close_makes_durable(void **state)
{
    (void)state;
    assert_int_equal(put(1, 0, data, sizeof data), 0);
    assert_int_equal(store_chunks.close(store), 0);
    open_store();
    assert_int_equal(get(1, 0, buffer, sizeof buffer), sizeof data);
    assert_memory_equal(buffer, data, sizeof data);
    assert_int_equal(sync_it(1), 0);
}

/* Syncs that are asked for while one is under way are all answered, after what they follow. */
static void test_syncs_together(void **state)
{
    (void)state;
    enum { SYNCS = 20 };
    struct wait waits[SYNCS];
    for (unsigned i = 0; i < SYNCS; i++) {
        struct store_object object = object_of(i);
        assert_int_equal(put(i, 0, data, 10000), 0);
        int result = store_chunks.sync(store, &object, op_of(&waits[i]));
        if (result != STORE_PENDING) {
            assert_int_equal(result, 0);
            waits[i].over = true;
        }
    }
    for (unsigned i = 0; i < SYNCS; i++)
        if (!waits[i].over)
            assert_int_equal(end_of(&waits[i], STORE_PENDING), 0);
}

static bool is_committed(void)
{
    struct chunks_store *chunks = (struct chunks_store *)store;
    pthread_mutex_lock(&chunks->core);
    const bool committed = !chunks->cs->changed && !chunks->cs->sealed;
    pthread_mutex_unlock(&chunks->core);
    return committed;
}

static int settle(bool hurry, struct wait *wait)
{
    return store_chunks.settle(store, hurry, op_of(wait));
}

/* Who only wants to know when all is durable waits for the commit that comes by itself, or hurries it. */
static void test_settled(void **state)
{
    (void)state;
    struct wait waits[3];
    int results[3];
    assert_int_equal(put(1, 0, data, 10000), 0);
    assert_int_equal(sync_it(1), 0);
    assert_int_equal(settle(false, &waits[0]), 0);
    assert_int_equal(drop(1), 0);
    for (int i = 0; i < 2; i++)
        results[i] = settle(false, &waits[i]);
    results[2] = settle(true, &waits[2]);
    for (int i = 0; i < 3; i++)
        assert_int_equal(end_of(&waits[i], results[i]), 0);
    assert_true(is_committed());
    assert_int_equal(drop(1), 0);
    assert_int_equal(settle(true, &waits[0]), 0);
    assert_int_equal(put(1, 0, data, 10000), 0);
    results[0] = settle(false, &waits[0]);
    assert_int_equal(end_of(&waits[0], results[0]), 0);
    assert_true(is_committed());
    assert_int_equal(put(1, 0, data, 5000), 0);
    results[0] = settle(false, &waits[0]);
    store_chunks.settle(store, true, NULL);
    assert_int_equal(end_of(&waits[0], results[0]), 0);
    assert_true(is_committed());
}

/* A process dies, without closing anything, after a sync: a child makes the store and writes. */
static void test_what_was_synced_survives_a_death(void **state)
{
    (void)state;
    assert_int_equal(store_chunks.close(store), 0);
    store = NULL;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        open_store();
        bool good = put(1, 0, data, 300000) == 0 && sync_it(1) == 0 && put(1, 0, buffer, 300000) == 0;
        _exit(good ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    target_close(&target); /* a disk's table has changed since it was read */
    assert_int_equal(target_open(&conf, 2, &store_chunks, &target), 0);
    open_store();
    assert_int_equal(get(1, 0, buffer, 300000), 300000);
    assert_memory_equal(buffer, data, 300000);
}

/* A large object goes in steps, by the worker, while others are served. */
static void test_large_removal(void **state)
{
    (void)state;
    struct wait removal;
    struct store_object object = object_of(1);
    for (uint64_t offset = 0; offset < 40 * sizeof data; offset += sizeof data)
        assert_int_equal(put(1, offset, data, sizeof data), 0);
    int result = store_chunks.remove(store, &object, op_of(&removal));
    assert_int_equal(result, STORE_PENDING);
    assert_int_equal(put(2, 0, data, 5000), 0);
    assert_int_equal(get(2, 0, buffer, 5000), 5000);
    assert_memory_equal(buffer, data, 5000);
    assert_int_equal(end_of(&removal, result), 0);
    assert_int_equal(stat_of(1).length, 0);
    assert_int_equal(sync_it(2), 0);
}

/* What was removed can be written again, and a small store takes little of the disk. */
static void test_room(void **state)
{
    (void)state;
    struct cs_io *io = ((struct chunks_store *)store)->cs->io;
    uint64_t size;
    const uint64_t empty = store_chunks.room(store);
    assert_int_equal(put(1, 0, data, sizeof data), 0);
    const uint64_t written = store_chunks.room(store);
    assert_true(written < 8 << 20);
    assert_int_equal(io->type->size(io, CS_DATA, &size), 0);
    assert_in_range(size, sizeof data, 8 << 20);
    assert_int_equal(store_chunks.room(store) + sizeof data, size);
    assert_int_equal(drop(1), 0);
    assert_int_equal(sync_it(1), 0);
    assert_int_equal(store_chunks.room(store), size);
    assert_true(empty < written);
}

/* What follows a change that is with the worker does not overtake it: neither is lost. */
static void test_changes_keep_their_order(void **state)
{
    (void)state;
    enum { CHANGES = 30 };
    struct wait removal, waits[CHANGES];
    struct store_object object = object_of(1);
    int results[CHANGES];
    for (uint64_t offset = 0; offset < 40 * sizeof data; offset += sizeof data)
        assert_int_equal(put(1, offset, data, sizeof data), 0);
    int removed = store_chunks.remove(store, &object, op_of(&removal));
    assert_int_equal(removed, STORE_PENDING);
    uint8_t bytes[CHANGES];
    struct iovec iov[CHANGES];
    for (unsigned i = 0; i < CHANGES; i++) {
        bytes[i] = (uint8_t)(i + 1);
        iov[i] = (struct iovec){&bytes[i], 1};
        results[i] = store_chunks.write(store, &object, 100, &iov[i], 1, op_of(&waits[i]));
    }
    assert_int_equal(end_of(&removal, removed), 0);
    for (unsigned i = 0; i < CHANGES; i++)
        assert_int_equal(end_of(&waits[i], results[i]), 0);
    assert_int_equal(get(1, 0, buffer, sizeof buffer), 101);
    assert_int_equal(buffer[100], CHANGES);
}

static int punch_start(uint64_t offset, uint64_t length, struct wait *wait)
{
    struct store_object object = object_of(1);
    return store_chunks.punch(store, &object, offset, length, op_of(wait));
}

static struct store_seek seek_from(uint64_t ino, uint64_t offset, bool hole)
{
    struct wait wait;
    struct store_seek seek;
    struct store_object object = object_of(ino);
    assert_int_equal(end_of(&wait, store_chunks.seek(store, &object, offset, hole, &seek, op_of(&wait))), 0);
    return seek;
}

/* A long range goes in steps, by the worker; what is written to it meanwhile comes after it. */
static void test_punches_keep_their_order(void **state)
{
    (void)state;
    struct wait punch, write;
    struct store_object object = object_of(1);
    struct iovec iov = {data, 5000};
    for (uint64_t offset = 0; offset < 40 * sizeof data; offset += sizeof data)
        assert_int_equal(put(1, offset, data, sizeof data), 0);
    assert_int_equal(seek_from(1, 0, true).offset, 40 * sizeof data);
    const uint64_t room = store_chunks.room(store);
    const int punched = punch_start(4096, 40 * sizeof data, &punch);
    assert_int_equal(punched, STORE_PENDING);
    const int written = store_chunks.write(store, &object, 1 << 20, &iov, 1, op_of(&write));
    assert_int_equal(end_of(&punch, punched), 0);
    assert_int_equal(end_of(&write, written), 0);
    assert_int_equal(seek_from(1, 0, true).offset, 4096);
    assert_int_equal(seek_from(1, 4096, false).offset, 1 << 20);
    assert_int_equal(seek_from(1, 1 << 20, true).offset, (1 << 20) + 8192);
    assert_true(seek_from(1, (1 << 20) + 8192, false).offset == UINT64_MAX);
    assert_int_equal(seek_from(1, 0, true).length, 40 * sizeof data);
    assert_int_equal(get(1, 1 << 20, buffer, 5001), 5001);
    assert_memory_equal(buffer, data, 5000);
    assert_int_equal(buffer[5000], 0);
    assert_int_equal(stat_of(1).bytes, 3 * 4096);
    assert_int_equal(sync_it(1), 0);
    assert_true(store_chunks.room(store) >= room + 39 * sizeof data);
    /* There is none of that name. */
    assert_int_equal(seek_from(2, 77, true).offset, 77);
    assert_true(seek_from(2, 77, false).offset == UINT64_MAX);
    assert_int_equal(seek_from(2, 77, true).length, 0);
}

/* Flips a bit of the first block that is full of `byte`. */
static void flip_in_block(uint8_t byte)
{
    uint8_t block[4096];
    int fd = open(data_path(), O_RDWR);
    assert_true(fd >= 0);
    for (off_t at = 0;; at += 4096) {
        assert_int_equal(pread(fd, block, 4096, at), 4096);
        if (block[0] != byte || memcmp(block, block + 1, sizeof block - 1) != 0)
            continue;
        block[1234] ^= 4;
        assert_int_equal(pwrite(fd, block, 4096, at), 4096);
        break;
    }
    close(fd);
}

static void test_damage_is_an_error(void **state)
{
    (void)state;
    memset(buffer, 0xa5, 8192);
    assert_int_equal(put(1, 0, buffer, 8192), 0);
    assert_int_equal(put(2, 0, data, 8192), 0);
    assert_int_equal(store_chunks.close(store), 0);
    flip_in_block(0xa5);
    open_store();
    assert_int_equal(get(1, 0, buffer, 10), -EIO);
    assert_non_null(
        strstr(err_text(), "target 3 shard 1: inode 1 is damaged at offset 12288 of the file (position 1, "));
    assert_int_equal(get(2, 0, buffer, 8192), 8192);
    assert_memory_equal(buffer, data, 8192);
}

/* ---- space that is given back --------------------------------------------- */

static struct counter discarded;

static void open_discarding(void)
{
    struct store_config config = {.target = &target,
                                  .shard = 1,
                                  .direct_io = past_cache,
                                  .discard = {.rate = 1 << 30, .bytes = &discarded}};
    assert_int_equal(store_chunks.close(store), 0);
    discarded.value = 0;
    assert_int_equal(store_chunks.open(&config, &store), 0);
}

static uint64_t allocated(void)
{
    struct stat file;
    assert_int_equal(stat(data_path(), &file), 0);
    return (uint64_t)file.st_blocks * 512;
}

/* The file below gets smaller, all can be written again, and is what it was. */
static void test_space_goes_back(void **state)
{
    (void)state;
    /* A file keeps 64 MiB. */
    if (!on_disk && cs_mapping_in_memory(target.dir_fd))
        skip(); /* files in memory give nothing back */
    const uint64_t objects = on_disk ? 40 : 100, least = (on_disk ? 38u : 30u) * sizeof data;
    open_discarding();
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t ino = 0; ino < objects; ino++)
            assert_int_equal(put(ino, 0, data, sizeof data), 0);
        assert_int_equal(sync_it(0), 0);
        const uint64_t before = allocated(), counted = counter_get(&discarded);
        assert_true(before >= objects * sizeof data);
        for (uint64_t ino = 1; ino < objects; ino++)
            assert_int_equal(drop(ino), 0);
        assert_int_equal(sync_it(0), 0);
        for (unsigned ms = 0; counter_get(&discarded) < counted + least; ms++) {
            if (ms > DEADLINE_MS)
                fail_msg("%llu bytes were given back", (unsigned long long)counter_get(&discarded));
            usleep(1000);
        }
        assert_true(allocated() <= before - least);
        assert_int_equal(get(0, 0, buffer, sizeof buffer), sizeof data);
        assert_memory_equal(buffer, data, sizeof data);
    }
}

/* On a disk that is full, space that is just being given back is waited for. */
static void test_no_false_alarm_on_a_full_disk(void **state)
{
    (void)state;
    if (!on_disk)
        return;
    open_discarding();
    uint64_t count = 0;
    while (put(count, 0, data, sizeof data) == 0)
        count++;
    for (unsigned round = 0; round < 4; round++) {
        for (uint64_t ino = 0; ino < count; ino++)
            assert_int_equal(drop(ino), 0);
        assert_int_equal(sync_it(0), 0);
        usleep(1000000); /* it begins a second later */
        for (uint64_t ino = 0; ino < count; ino++)
            if (put(ino, 0, data, sizeof data))
                fail_msg("object %llu of %llu: %s", (unsigned long long)ino, (unsigned long long)count,
                         err_text());
    }
    assert_true(counter_get(&discarded) > 0);
}

/* ---- the scrubber --------------------------------------------------------- */

static struct counter scrubbed, scrubs, scrub_damage;

static struct {
    uint64_t ino, offset, length;
    uint32_t position;
    unsigned times;
} told;

static void note_damage(void *arg, uint64_t ino, uint32_t position, uint64_t offset, uint64_t length)
{
    assert_ptr_equal(arg, &told);
    told.ino = ino;
    told.position = position;
    told.offset = offset;
    told.length = length;
    told.times++;
}

static void open_scrubbed(uint64_t rate)
{
    struct store_config config = {
        .target = &target,
        .shard = 1,
        .scrub = {.rate = rate,
                  .pause_ms = 1,
                  .bytes = &scrubbed,
                  .passes = &scrubs,
                  .damaged = &scrub_damage,
                  .found = note_damage,
                  .arg = &told}};
    memset(&told, 0, sizeof told);
    scrubbed.value = scrubs.value = scrub_damage.value = 0;
    assert_int_equal(store_chunks.open(&config, &store), 0);
}

/* Until so many passes have begun and ended from now on. */
static void wait_for_scrubs(uint64_t passes)
{
    const uint64_t wanted = counter_get(&scrubs) + 1 + passes;
    for (unsigned ms = 0; counter_get(&scrubs) < wanted; ms++) {
        assert_true(ms < DEADLINE_MS);
        usleep(1000);
    }
}

static void test_the_scrubber_finds_damage(void **state)
{
    (void)state;
    assert_int_equal(store_chunks.close(store), 0);
    open_scrubbed(1 << 30);
    for (uint64_t ino = 1; ino < 6; ino++)
        assert_int_equal(put(ino, 0, data, 300000), 0);
    memset(buffer, 0xa5, 4096);
    assert_int_equal(put(3, 8192, buffer, 4096), 0);
    wait_for_scrubs(2);
    assert_true(counter_get(&scrubbed) >= 2 * 5 * 300000);
    assert_int_equal(counter_get(&scrub_damage), 0);
    flip_in_block(0xa5);
    wait_for_scrubs(1);
    assert_true(counter_get(&scrub_damage) >= 1);
    /* Who wants to know is told by progress(), for which the descriptor gets readable. */
    assert_int_equal(told.times, 0);
    struct pollfd ready = {.fd = store_chunks.fd(store), .events = POLLIN};
    assert_int_equal(poll(&ready, 1, DEADLINE_MS), 1);
    store_chunks.progress(store);
    assert_true(told.times >= 1);
    assert_int_equal(told.ino, 3);
    assert_int_equal(told.offset, 8192);
    assert_int_equal(told.length, 4096);
    /* What is written anew is whole again. */
    assert_int_equal(put(3, 8192, buffer, 4096), 0);
    wait_for_scrubs(1);
    const uint64_t then = counter_get(&scrub_damage);
    wait_for_scrubs(3);
    assert_int_equal(counter_get(&scrub_damage), then);
}

/* At a byte a second the second strip is three days away, and yet the store closes at once. */
static void test_the_scrubber_is_slow(void **state)
{
    (void)state;
    assert_int_equal(put(1, 0, data, sizeof data), 0);
    assert_int_equal(store_chunks.close(store), 0);
    open_scrubbed(1);
    for (unsigned ms = 0; counter_get(&scrubbed) == 0; ms++) {
        assert_true(ms < DEADLINE_MS);
        usleep(1000);
    }
    usleep(20000);
    assert_int_equal(counter_get(&scrubbed), 64 * 4096);
    assert_int_equal(counter_get(&scrubs), 0);
}

/* Blocks come and go while they are looked at. */
static void test_the_scrubber_gives_no_false_alarm(void **state)
{
    (void)state;
    unsigned random = 1;
    assert_int_equal(store_chunks.close(store), 0);
    open_scrubbed(1 << 30);
    for (unsigned n = 0; n < 4000 || counter_get(&scrubs) < 20; n++) {
        const uint64_t ino = 1 + (unsigned)rand_r(&random) % 5;
        const uint64_t offset = (unsigned)rand_r(&random) % 300000;
        assert_true(n < 1000000);
        if (n % 50 == 0)
            assert_int_equal(drop(ino), 0);
        else if (n % 50 == 25)
            assert_int_equal(truncate_to(ino, offset), 0);
        else
            assert_int_equal(put(ino, offset, data, 1 + (unsigned)rand_r(&random) % 70000), 0);
        if (n % 200 == 0)
            assert_int_equal(sync_it(ino), 0);
    }
    assert_int_equal(counter_get(&scrub_damage), 0);
}

/* ---- faults on purpose ----------------------------------------------------- */

static struct cs_faults *faults;
static struct counter faults_made;

static void write_rules(const char *rules)
{
    char path[200], other[200];
    snprintf(path, sizeof path, "%s/faults", dir);
    snprintf(other, sizeof other, "%s/faults.new", dir);
    FILE *file = fopen(other, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "faults = ( %s );\n", rules) > 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(other, path), 0);
}

static void open_faulty(const char *rules)
{
    char path[200];
    snprintf(path, sizeof path, "%s/faults", dir);
    struct store_config config = {.target = &target, .shard = 1};
    assert_int_equal(store_chunks.close(store), 0);
    write_rules(rules);
    faults_made.value = 0;
    assert_int_equal(cs_faults_open(path, &faults), 0);
    config.faults = (struct store_faults){.rules = faults, .made = &faults_made};
    assert_int_equal(store_chunks.open(&config, &store), 0);
}

static void close_faulty(void)
{
    assert_int_equal(store_chunks.close(store), 0);
    store = NULL;
    cs_faults_close(faults);
}

/* A minute's delay of each operation is the worker's: those who ask have their thread back, and when the disk
 * is well again all of it is done. */
static void test_a_slow_disk_holds_nobody_up(void **state)
{
    (void)state;
    struct wait reading, writing;
    struct store_object object = object_of(1), other = object_of(2);
    struct iovec iov = {data, 5000};
    size_t count;
    assert_int_equal(put(1, 0, data, 300000), 0);
    open_faulty("{ on = \"read\"; file = \"data\"; fault = \"delay\"; ms = 60000; },"
                "{ on = \"write\"; file = \"data\"; fault = \"delay\"; ms = 60000; }");
    int read = store_chunks.read(store, &object, 0, buffer, 300000, &count, op_of(&reading));
    assert_int_equal(read, STORE_PENDING);
    int written = store_chunks.write(store, &other, 0, &iov, 1, op_of(&writing));
    assert_int_equal(written, STORE_PENDING);
    usleep(100000);
    store_chunks.progress(store);
    assert_false(reading.over || writing.over);
    write_rules("");
    assert_int_equal(end_of(&reading, read), 300000);
    assert_memory_equal(buffer, data, 300000);
    assert_int_equal(end_of(&writing, written), 0);
    assert_true(counter_get(&faults_made) >= 1);
    assert_int_equal(get(2, 0, buffer, 5000), 5000);
    assert_memory_equal(buffer, data, 5000);
    close_faulty();
}

/* A write for which there is room is done at once, until writes would wait; then the worker does it, once. */
static void test_a_write_to_a_slow_disk_waits_aside(void **state)
{
    (void)state;
    const struct cs_fault_place place = {.target = 3, .shard = 1, .on = CS_ON_WRITE, .file = CS_DATA};
    struct wait wait;
    struct store_object object = object_of(1);
    struct iovec iov = {data, 5000};
    open_faulty("");
    assert_int_equal(put(2, 0, data, 5000), 0);
    /* A commit that is under way may have the store just then. */
    int result = STORE_PENDING;
    for (int i = 0; i < 100 && result; i++) {
        iov = (struct iovec){data, 5000};
        result = store_chunks.write(store, &object, 0, &iov, 1, op_of(&wait));
        assert_int_equal(end_of(&wait, result), 0);
    }
    assert_int_equal(result, 0);
    write_rules("{ on = \"write\"; file = \"data\"; fault = \"delay\"; ms = 10; }");
    for (unsigned ms = 0; !cs_faults_may_wait(faults, &place); ms++) {
        assert_true(ms < DEADLINE_MS);
        usleep(1000);
    }
    iov = (struct iovec){data + 1, 5000};
    result = store_chunks.write(store, &object, 0, &iov, 1, op_of(&wait));
    assert_int_equal(result, STORE_PENDING);
    assert_int_equal(end_of(&wait, result), 0);
    assert_true(counter_get(&faults_made) >= 1);
    assert_int_equal(get(1, 0, buffer, sizeof buffer), 5000);
    assert_memory_equal(buffer, data + 1, 5000);
    close_faulty();
}

static void test_a_removal_that_is_not_durable_is_told(void **state)
{
    struct wait wait;
    (void)state;
    if (past_cache)
        return;
    assert_int_equal(put(1, 0, data, 300000), 0);
    open_faulty("{ on = \"flush\"; fault = \"eio\"; }");
    assert_int_equal(drop(1), 0);
    const int result = settle(false, &wait);
    assert_int_equal(end_of(&wait, result), -EIO);
    assert_int_equal(store_chunks.close(store), -EIO);
    store = NULL;
    cs_faults_close(faults);
}

/* What a killed server has left to the page cache is not durable because nothing has changed since. */
static void test_a_sync_flushes_what_was_found(void **state)
{
    (void)state;
    if (past_cache)
        return;
    assert_int_equal(put(1, 0, data, 300000), 0);
    assert_int_equal(sync_it(1), 0);
    open_faulty("{ on = \"flush\"; fault = \"eio\"; times = 1; }");
    assert_int_equal(sync_it(1), -EIO);
    assert_int_equal(sync_it(1), 0);
    assert_int_equal(faults_made.value, 1);
    close_faulty();
}

static void test_faults_come_through(void **state)
{
    (void)state;
    if (past_cache)
        return; /* what the page cache has not is read once more, and has the next fault then */
    assert_int_equal(put(1, 0, data, 300000), 0);
    open_faulty("{ on = \"read\"; file = \"data\"; fault = \"eio\"; times = 1; shard = 1; target = 3; },"
                "{ on = \"read\"; file = \"data\"; fault = \"flip\"; times = 1; },"
                "{ on = \"read\"; file = \"data\"; fault = \"eio\"; shard = 0; }");
    assert_int_equal(get(1, 0, buffer, 300000), -EIO);
    assert_non_null(strstr(err_text(), "target 3 shard 1: inode 1 can't be read at offset "));
    assert_non_null(strstr(err_text(), ": read: Input/output error, on purpose"));
    assert_int_equal(get(1, 0, buffer, 300000), -EIO);
    assert_non_null(strstr(err_text(), "target 3 shard 1: inode 1 is damaged at offset "));
    assert_int_equal(get(1, 0, buffer, 300000), 300000);
    assert_memory_equal(buffer, data, 300000);
    assert_int_equal(counter_get(&faults_made), 2);
    close_faulty();
}

static void test_both_stores_have_names(void **state)
{
    (void)state;
    assert_ptr_equal(store_type_by_name("files"), &store_files);
    assert_ptr_equal(store_type_by_name("chunks"), &store_chunks);
    assert_null(store_type_by_name("other"));
}

static int run(const char *name)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_bytes_come_back),
        TEST(test_close_makes_durable),
        TEST(test_syncs_together),
        TEST(test_settled),
        TEST(test_what_was_synced_survives_a_death),
        TEST(test_large_removal),
        TEST(test_changes_keep_their_order),
        TEST(test_punches_keep_their_order),
        TEST(test_room),
        TEST(test_the_scrubber_finds_damage),
        TEST(test_the_scrubber_is_slow),
        TEST(test_the_scrubber_gives_no_false_alarm),
        TEST(test_space_goes_back),
        TEST(test_no_false_alarm_on_a_full_disk),
        TEST(test_damage_is_an_error),
        TEST(test_a_slow_disk_holds_nobody_up),
        TEST(test_a_write_to_a_slow_disk_waits_aside),
        TEST(test_a_removal_that_is_not_durable_is_told),
        TEST(test_a_sync_flushes_what_was_found),
        TEST(test_faults_come_through),
        TEST(test_both_stores_have_names),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return lab_run(run);
}
