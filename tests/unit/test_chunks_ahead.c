/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to a disk that has to be waited for: past the page cache, by io_uring and by threads, and by threads
 * to a disk that is slow on purpose. Whatever is under way at once, changes of an object take effect in the
 * order in which they were asked for, all blocks are somebody's or free, and what fails is told.
 *
 *   WEFT_SEED=N  another run (the seed is printed)
 */
#include "chunks_lab.h"

#include "storage/chunks/cs_faults.h"

enum {
    OBJECTS = 4,
    OBJECT_BYTES = 700000,
    UNDER_WAY = 24,
    OPS = 300,
    WRITE_MAX = 300000,
};

static struct cs_faults *faults;

/* What each object is to be in the end. */
static struct {
    uint8_t bytes[OBJECT_BYTES];
    uint64_t length;
} model[OBJECTS];

static struct slot {
    struct wait wait;
    struct iovec iov[5];
    uint8_t *bytes;
    bool used;
} slots[UNDER_WAY];

static struct chunks_store *inner(void)
{
    return (struct chunks_store *)store;
}

/* Two objects have one hash, so that one waits for the other. */
static uint64_t ino_of(unsigned i)
{
    return i == 0 ? 1 : i == 1 ? 1 + CHUNKS_SLOTS : 1 + i;
}

/* ---- a slow disk ---------------------------------------------------------- */

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
    struct store_config config = {.target = &target, .shard = 1, .direct_io = past_cache};
    assert_int_equal(store_chunks.close(store), 0);
    write_rules(rules);
    assert_int_equal(cs_faults_open(path, &faults), 0);
    config.faults = (struct store_faults){.rules = faults};
    assert_int_equal(store_chunks.open(&config, &store), 0);
}

static int setup_ahead(void **state)
{
    seed_take();
    memset(model, 0, sizeof model);
    int error = setup(state);
    if (!error && !past_cache)
        open_faulty("{ on = \"write\"; file = \"data\"; fault = \"delay\"; ms = 1; }");
    return error;
}

static int setup_without_rings(void **state)
{
    int error = setup_ahead(state);
    if (!error)
        inner()->rings = false;
    return error;
}

static int teardown_ahead(void **state)
{
    int error = teardown(state);
    if (faults)
        cs_faults_close(faults);
    faults = NULL;
    return error;
}

/* ---- many at once ---------------------------------------------------------- */

static void slot_end(struct slot *slot)
{
    if (!slot->used)
        return;
    assert_int_equal(end_of(&slot->wait, STORE_PENDING), 0);
    free(slot->bytes);
    slot->used = false;
}

static void all_end(void)
{
    for (unsigned i = 0; i < UNDER_WAY; i++)
        slot_end(&slots[i]);
}

static int begin_write(unsigned object, struct slot *slot)
{
    struct store_object to = object_of(ino_of(object));
    const size_t unit = random_below(3) ? CS_BLOCK : 1;
    uint64_t offset = random_below(OBJECT_BYTES) / unit * unit;
    size_t length = 1 + random_below(random_below(3) ? 20000 : WRITE_MAX);
    length = (length + unit - 1) / unit * unit;
    if (length > OBJECT_BYTES - offset)
        length = OBJECT_BYTES - offset;
    const size_t align = random_below(2) ? 0 : random_below(4000);
    slot->bytes = aligned_alloc(CS_BLOCK, (length + align + CS_BLOCK) / CS_BLOCK * CS_BLOCK);
    assert_non_null(slot->bytes);
    for (size_t k = 0; k < length; k += 256)
        memset(slot->bytes + align + k, (int)random_below(256), length - k < 256 ? length - k : 256);
    memcpy(model[object].bytes + offset, slot->bytes + align, length);
    if (model[object].length < offset + length)
        model[object].length = offset + length;
    /* In some pieces of memory. */
    size_t pieces = 0, at = 0;
    while (pieces < 4 && random_below(3) == 0 && at + 1 < length) {
        const size_t part = 1 + random_below((uint32_t)(length - at - 1));
        slot->iov[pieces++] = (struct iovec){slot->bytes + align + at, part};
        at += part;
    }
    slot->iov[pieces++] = (struct iovec){slot->bytes + align + at, length - at};
    return store_chunks.write(store, &to, offset, slot->iov, pieces, op_of(&slot->wait));
}

static int begin_other(unsigned object, struct slot *slot)
{
    struct store_object to = object_of(ino_of(object));
    const unsigned kind = random_below(3);
    slot->bytes = NULL;
    if (kind == 0)
        return store_chunks.sync(store, &to, op_of(&slot->wait));
    if (kind == 1) {
        memset(&model[object], 0, sizeof model[object]);
        return store_chunks.remove(store, &to, op_of(&slot->wait));
    }
    const uint64_t length = random_below(OBJECT_BYTES);
    memset(model[object].bytes + length, 0, OBJECT_BYTES - length);
    model[object].length = length;
    return store_chunks.truncate(store, &to, length, op_of(&slot->wait));
}

static void step(void)
{
    struct slot *slot = &slots[random_below(UNDER_WAY)];
    const unsigned object = random_below(OBJECTS);
    slot_end(slot);
    const int result = random_below(12) ? begin_write(object, slot) : begin_other(object, slot);
    assert_true(result == 0 || result == STORE_PENDING);
    slot->used = result == STORE_PENDING;
    if (!slot->used)
        free(slot->bytes);
}

static void check_objects(void)
{
    static uint8_t bytes[OBJECT_BYTES];
    for (unsigned i = 0; i < OBJECTS; i++) {
        assert_int_equal(stat_of(ino_of(i)).length, model[i].length);
        assert_int_equal(get(ino_of(i), 0, bytes, sizeof bytes), model[i].length);
        assert_memory_equal(bytes, model[i].bytes, model[i].length);
    }
}

static void reopen(void)
{
    assert_int_equal(store_chunks.close(store), 0);
    open_store();
}

static void test_all_in_order(void **state)
{
    (void)state;
    unsigned lined = 0;
    for (unsigned n = 0; n < OPS; n++) {
        step();
        for (unsigned slot = 0; slot < CHUNKS_SLOTS; slot++)
            lined += inner()->lined[slot] > 1;
        if (n % 100 == 99) {
            all_end();
            check_objects();
        }
    }
    assert_true(lined > 0);
    all_end();
    reopen();
    check_objects();
}

static void count_faults(void *arg, const char *text)
{
    (void)arg;
    print_message("fault: %s\n", text);
}

/* What the store says is in use is what objects have, in memory as on the disk. */
static void test_no_block_is_lost(void **state)
{
    (void)state;
    struct cs_check_result result;
    for (unsigned n = 0; n < OPS / 2; n++)
        step();
    all_end();
    assert_int_equal(sync_it(1), 0);
    pthread_mutex_lock(&inner()->core);
    const struct cs_space *space = &inner()->cs->space;
    uint32_t used = 0;
    for (uint32_t block = 0; block < space->blocks; block++)
        used += space->used[block / 64] >> block % 64 & 1;
    assert_int_equal(used, space->blocks - space->free);
    assert_int_equal(space->pending.count, 0);
    cs_nowait(inner()->cs, false);
    assert_int_equal(cs_check(inner()->cs, true, count_faults, NULL, &result), 0);
    assert_int_equal(result.faults, 0);
    assert_int_equal(result.blocks, used);
    pthread_mutex_unlock(&inner()->core);
}

/* ---- what goes wrong ------------------------------------------------------- */

static void test_a_disk_that_fails_is_told(void **state)
{
    (void)state;
    assert_int_equal(put(1, 0, data, 300000), 0);
    reopen();
    if (faults)
        cs_faults_close(faults);
    open_faulty("{ on = \"write\"; file = \"data\"; fault = \"eio\"; },"
                "{ on = \"write\"; file = \"data\"; fault = \"delay\"; ms = 1; }");
    pthread_mutex_lock(&inner()->core);
    const uint32_t free = inner()->cs->space.free;
    pthread_mutex_unlock(&inner()->core);
    assert_int_equal(put(1, 8192, data, 200000), -EIO);
    assert_non_null(strstr(err_text(), "on purpose"));
    pthread_mutex_lock(&inner()->core);
    assert_int_equal(inner()->cs->space.free, free);
    pthread_mutex_unlock(&inner()->core);
    write_rules("{ on = \"write\"; file = \"data\"; fault = \"delay\"; ms = 1; }");
    while (put(2, 0, data, 100000) == -EIO)
        usleep(10000);
    assert_int_equal(get(1, 0, buffer, sizeof buffer), 300000);
    assert_memory_equal(buffer, data, 300000);
    assert_int_equal(get(2, 0, buffer, sizeof buffer), 100000);
    assert_memory_equal(buffer, data, 100000);
}

/* What was answered is there after the death of the process, whatever else was under way. */
static void test_a_death_with_writes_under_way(void **state)
{
    enum { WRITES = 16, BYTES = 60000 };
    (void)state;
    int answers[2];
    assert_int_equal(store_chunks.close(store), 0);
    store = NULL;
    assert_int_equal(pipe(answers), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        open_store();
        for (unsigned i = 0; i < WRITES; i++) {
            struct store_object object = object_of(i + 1);
            slots[i].iov[0] = (struct iovec){data + i, BYTES};
            const int result = store_chunks.write(store, &object, 0, slots[i].iov, 1, op_of(&slots[i].wait));
            slots[i].wait.over = result != STORE_PENDING;
        }
        while (!slots[3].wait.over)
            store_chunks.progress(store);
        for (unsigned i = 0; i < WRITES; i++)
            if (slots[i].wait.over && write(answers[1], &i, sizeof i) < 0)
                _exit(1);
        _exit(0);
    }
    int status;
    unsigned i, count = 0;
    close(answers[1]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    target_close(&target);
    assert_int_equal(target_open(&conf, 2, &store_chunks, &target), 0);
    open_store();
    while (read(answers[0], &i, sizeof i) == sizeof i) {
        assert_int_equal(get(i + 1, 0, buffer, sizeof buffer), BYTES);
        assert_memory_equal(buffer, data + i, BYTES);
        count++;
    }
    assert_true(count > 0);
    close(answers[0]);
}

static int run(const char *name)
{
#define BOTH_WAYS(name)                                                      \
    {#name, name, setup_ahead, teardown_ahead, NULL},                        \
    {                                                                        \
#name " by threads", name, setup_without_rings, teardown_ahead, NULL \
    }
    const struct CMUnitTest tests[] = {
        BOTH_WAYS(test_all_in_order),
        BOTH_WAYS(test_no_block_is_lost),
        {"test_a_disk_that_fails_is_told", test_a_disk_that_fails_is_told, setup_ahead, teardown_ahead, NULL},
        {"test_a_death_with_writes_under_way", test_a_death_with_writes_under_way, setup_ahead,
         teardown_ahead, NULL},
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    return lab_run(run);
}
