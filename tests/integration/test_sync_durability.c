/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sync covered survives a lost page cache. What must survive: a crash
 * after any system call of the store, where of everything that was not flushed any
 * part may be lost.
 *
 * The calls that the store makes are recorded on their way to the kernel (recorder.h). A crash
 * is then played as often as wanted: a copy of the store gets what was flushed until then and a
 * random part of the rest, is opened, and must hold what had been promised. The model: an
 * fdatasync makes durable the writes to that file that were done before it began, and no name;
 * an fsync of a directory makes durable its names. Of the writes that are not durable each may
 * be lost by itself; of the changes to a directory only the latest ones.
 *
 * test_sync_durability --run DIR works once on a store in DIR and tells of each sync
 * on standard error, for test_sync_trace.sh to trace from outside.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "err.h"
#include "recorder.h"
#include "../../server/storage/store_files.h"
#include "../../server/storage/target.h"

enum {
    OBJECTS = 10,
    OBJECT_BYTES = 16384,
    FILE_BYTES = OBJECT_BYTES + FILES_HEADER_BYTES,
    STEPS = 400,
    DIRS = 3, /* the objects lie in these */
};

static const struct layout layout = {.chunk_size = 4096, .seed = 1, .stripe_count = 1, .group_count = 1};

/* ---- what was promised ------------------------------------------------------ */

struct version {
    unsigned at; /* events when it was made */
    uint8_t bytes[OBJECT_BYTES];
};

struct promise {
    unsigned at;      /* events when it was given, or taken back */
    unsigned version; /* nothing older may be seen */
    bool given;
};

static struct history {
    struct version *versions;
    unsigned version_count;
    struct promise promises[STEPS * 2];
    unsigned promise_count;
} histories[OBJECTS];

static uint64_t random_state;

static unsigned random_below(unsigned bound)
{
    random_state = layout_hash(random_state);
    return (unsigned)(random_state >> 33) % bound;
}

static struct store_object object_of(unsigned object)
{
    /* Three directories, several objects in each. */
    return (struct store_object){.ino = (uint64_t)(object / DIRS + 1) << 8 | (object % DIRS),
                                 .layout = layout};
}

static struct version *next_version(struct history *history)
{
    history->versions = realloc(history->versions, (history->version_count + 1) * sizeof *history->versions);
    assert_non_null(history->versions);
    struct version *version = &history->versions[history->version_count];
    if (history->version_count)
        *version = version[-1];
    else
        memset(version, 0, sizeof *version);
    history->version_count++;
    return version;
}

static void promise(struct history *history, unsigned version, bool given)
{
    assert_true(history->promise_count < STEPS * 2);
    history->promises[history->promise_count++] =
        (struct promise){.at = recorder_now(), .version = version, .given = given};
}

/* ---- the work ------------------------------------------------------------- */

struct pending {
    struct store_op op;
    unsigned object;
    unsigned version; /* that a sync covers */
    bool is_remove;
    unsigned life; /* of the object when it was asked for */
};

static unsigned lives[OBJECTS]; /* removals so far */
/* The version that stands for no object. Nobody is promised that a removed one stays
 * away: the metadata server asks for the removal again until it has been answered. */
static unsigned born[OBJECTS];
static unsigned pending_count, removals_pending[OBJECTS];
static bool tell;

static void gone(unsigned object)
{
    memset(next_version(&histories[object])->bytes, 0, OBJECT_BYTES);
    histories[object].versions[histories[object].version_count - 1].at = recorder_now();
    lives[object]++;
    born[object] = histories[object].version_count - 1;
}

static void finished(struct pending *pending)
{
    unsigned object = pending->object;
    if (pending->is_remove) {
        removals_pending[object]--;
        gone(object);
    } else if (pending->life == lives[object] && !removals_pending[object] &&
               pending->version > born[object]) {
        promise(&histories[object], pending->version, true);
        if (tell) {
            char line[64];
            int length = snprintf(line, sizeof line, "synced %016" PRIx64 "\n", object_of(object).ino);
            assert_int_equal(write(STDERR_FILENO, line, (size_t)length), length);
        }
    }
    free(pending);
}

static void on_done(struct store_op *op, ssize_t status)
{
    assert_int_equal(status, 0);
    pending_count--;
    finished(op->arg);
}

static struct pending *pending_new(unsigned object, bool is_remove)
{
    struct pending *pending = calloc(1, sizeof *pending);
    assert_non_null(pending);
    pending->op = (struct store_op){.done = on_done, .arg = pending};
    pending->object = object;
    pending->is_remove = is_remove;
    pending->version = histories[object].version_count - 1;
    pending->life = lives[object];
    return pending;
}

static void change(struct store *store, unsigned object)
{
    struct store_object key = object_of(object);
    struct store_op op = {0};
    uint8_t data[OBJECT_BYTES];
    unsigned offset = random_below(OBJECT_BYTES), length = 1 + random_below(OBJECT_BYTES - offset);
    bool is_cut = random_below(8) == 0;
    struct version *version = next_version(&histories[object]);
    if (is_cut) {
        memset(version->bytes + offset, 0, OBJECT_BYTES - offset);
        assert_int_equal(store_files.truncate(store, &key, offset, &op), 0);
    } else {
        for (unsigned i = 0; i < length; i++)
            data[i] = (uint8_t)(1 + random_below(255));
        memcpy(version->bytes + offset, data, length);
        struct iovec iov[] = {{data, length / 3}, {data + length / 3, length - length / 3}};
        assert_int_equal(store_files.write(store, &key, offset, iov, 2, &op), 0);
    }
    version->at = recorder_now();
}

static void progress(struct store *store, int timeout_ms)
{
    struct pollfd pollfd = {.fd = store_files.fd(store), .events = POLLIN};
    if (poll(&pollfd, 1, timeout_ms) == 1)
        store_files.progress(store);
}

static void start(struct store *store, unsigned object, bool is_remove)
{
    struct store_object key = object_of(object);
    struct pending *pending = pending_new(object, is_remove);
    removals_pending[object] += is_remove;
    if (is_remove)
        promise(&histories[object], 0, false);
    int result = is_remove ? store_files.remove(store, &key, &pending->op)
                           : store_files.sync(store, &key, &pending->op);
    assert_true(result == 0 || result == STORE_PENDING);
    if (result == STORE_PENDING)
        pending_count++;
    else
        finished(pending);
    /* Seen from outside, nothing may come between a sync and its end. */
    while (tell && pending_count)
        progress(store, 1000);
}

static void work(struct store *store)
{
    for (unsigned object = 0; object < OBJECTS; object++)
        next_version(&histories[object]);
    for (unsigned step = 0; step < STEPS;) {
        unsigned object = random_below(OBJECTS), what = random_below(100);
        /* A write to an object that is being removed is nobody's business. On a slow disk that takes long. */
        if (removals_pending[object]) {
            progress(store, 1);
            continue;
        }
        step++;
        if (what < 60)
            change(store, object);
        else
            start(store, object, what >= 96);
        progress(store, random_below(4) == 0 ? 2 : 0);
    }
    while (pending_count)
        progress(store, 1000);
}

/* ---- the crash -------------------------------------------------------------- */

static char base[128];
static struct target copy;

struct names {
    unsigned count;
    struct {
        char name[FILES_NAME_MAX];
        unsigned file;
    } of[256];
};

static int find_name(const struct names *names, const char *name)
{
    for (unsigned i = 0; i < names->count; i++)
        if (!strcmp(names->of[i].name, name))
            return (int)i;
    return -1;
}

static void change_names(struct names *names, const struct event *event)
{
    int at = find_name(names, event->name), to = event->kind == RENAME ? find_name(names, event->to) : -1;
    if (event->kind == CREATE) {
        assert_int_equal(at, -1);
        assert_true(names->count < 256);
        snprintf(names->of[names->count].name, FILES_NAME_MAX, "%s", event->name);
        names->of[names->count++].file = event->file;
        return;
    }
    assert_true(at >= 0);
    if (to >= 0) {
        names->of[to].file = names->of[at].file;
    } else if (event->kind == RENAME) {
        snprintf(names->of[at].name, FILES_NAME_MAX, "%s", event->to);
        return;
    }
    names->of[at] = names->of[--names->count];
}

/* How the caller wants to be lied to; the test of the test. */
struct disk {
    bool drops_file_flushes, drops_dir_flushes;
};

/* The changes to the directory that a crash at `point` leaves. */
static struct names names_after(unsigned dir, unsigned point, const struct disk *disk)
{
    struct names names = {0};
    unsigned durable = 0, end = point;
    for (unsigned i = 0; i < point; i++)
        if (recorder.events[i].kind == FLUSH_DIR && recorder.events[i].dir == dir && !disk->drops_dir_flushes)
            durable = recorder.events[i].covers;
    if (random_below(3) > 0 && point > durable)
        end = durable + random_below(point - durable + 1);
    for (unsigned i = 0; i < end; i++) {
        const struct event *event = &recorder.events[i];
        if (event->dir == dir &&
            (event->kind == CREATE || event->kind == RENAME || event->kind == UNLINK))
            change_names(&names, event);
    }
    return names;
}

static size_t bytes_after(unsigned file, unsigned point, const struct disk *disk, uint8_t bytes[FILE_BYTES])
{
    unsigned durable = 0, loses = random_below(3);
    size_t length = 0;
    memset(bytes, 0, FILE_BYTES);
    for (unsigned i = 0; i < point; i++) {
        const struct event *event = &recorder.events[i];
        if (event->kind == FLUSH_FILE && event->file == file && !disk->drops_file_flushes)
            durable = event->covers > durable ? event->covers : durable;
    }
    for (unsigned i = 0; i < point; i++) {
        const struct event *event = &recorder.events[i];
        if (event->file != file || (event->kind != WRITE && event->kind != CUT))
            continue;
        /* All of what is not durable is lost, or some, or nothing. */
        if (i >= durable && (loses == 0 || (loses == 1 && random_below(2))))
            continue;
        if (event->kind == CUT) {
            if ((size_t)event->offset < length)
                memset(bytes + event->offset, 0, length - (size_t)event->offset);
            length = (size_t)event->offset;
            continue;
        }
        memcpy(bytes + event->offset, event->data, event->length);
        if ((size_t)event->offset + event->length > length)
            length = (size_t)event->offset + event->length;
    }
    return length;
}

static void empty_copy(void)
{
    char command[256];
    for (unsigned dir = 0; dir < DIRS; dir++) {
        snprintf(command, sizeof command, "%s/copy/shard-0/%02x", base, dir);
        int fd = open(command, O_RDONLY | O_DIRECTORY);
        assert_true(fd >= 0);
        for (unsigned object = 0; object < OBJECTS; object++) {
            char name[FILES_NAME_MAX];
            struct store_object key = object_of(object);
            for (unsigned is_new = 0; is_new < 2; is_new++) {
                files_object_name(&key, is_new, name);
                unlinkat(fd, name + 3, 0);
            }
        }
        close(fd);
    }
}

static void crash_at(unsigned point, const struct disk *disk)
{
    static uint8_t bytes[FILE_BYTES];
    empty_copy();
    for (unsigned dir = 0; dir < DIRS; dir++) {
        struct names names = names_after(dir, point, disk);
        for (unsigned i = 0; i < names.count; i++) {
            char path[256];
            size_t length = bytes_after(names.of[i].file, point, disk, bytes);
            snprintf(path, sizeof path, "%s/copy/shard-0/%s", base, names.of[i].name);
            int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
            assert_true(fd >= 0);
            assert_int_equal(write(fd, bytes, length), length);
            close(fd);
        }
    }
}

/* Whether the byte may be what is there after a crash at `point`. */
static bool is_possible(const struct history *history, unsigned oldest, bool is_promised, unsigned point,
                        unsigned at, uint8_t byte)
{
    if (!is_promised && byte == 0)
        return true;
    for (unsigned v = oldest; v < history->version_count; v++) {
        /* One version beyond: its bytes may have been written before it was noted. */
        bool last = history->versions[v].at > point;
        if (history->versions[v].bytes[at] == byte)
            return true;
        if (last)
            break;
    }
    return false;
}

/* What is wrong with the object after a crash at `point`; NULL: nothing. */
static const char *fault_of(struct store *store, unsigned object, unsigned point)
{
    static uint8_t bytes[OBJECT_BYTES];
    const struct history *history = &histories[object];
    struct store_object key = object_of(object);
    struct store_op op = {0};
    unsigned oldest = 0;
    bool is_promised = false;
    size_t count;
    for (unsigned i = 0; i < history->promise_count && history->promises[i].at <= point; i++) {
        is_promised = history->promises[i].given;
        oldest = is_promised ? history->promises[i].version : 0;
    }
    memset(bytes, 0, sizeof bytes);
    if (store_files.read(store, &key, 0, bytes, sizeof bytes, &count, &op))
        return "it can't be read";
    for (unsigned at = 0; at < OBJECT_BYTES; at++)
        if (!is_possible(history, oldest, is_promised, point, at, bytes[at]))
            return is_promised ? "a byte that was synced is another one" : "a byte was never written";
    return NULL;
}

/* Plays `turns` crashes at each point; returns how many objects were not as promised. */
static unsigned play(const struct disk *disk, unsigned turns, bool say)
{
    struct store_config config = {.target = &copy};
    unsigned faults = 0;
    recorder.skips_flushes = true;
    for (unsigned point = 0; point <= recorder.count; point++)
        for (unsigned turn = 0; turn < turns; turn++) {
            struct store *store;
            crash_at(point, disk);
            assert_int_equal(store_files.open(&config, &store), 0);
            for (unsigned object = 0; object < OBJECTS; object++) {
                const char *fault = fault_of(store, object, point);
                if (fault && say)
                    print_error("crash after event %u, object %u: %s (%s)\n", point, object, fault,
                                err_text());
                faults += fault != NULL;
            }
            assert_int_equal(store_files.close(store), 0);
        }
    recorder.skips_flushes = false;
    return faults;
}

/* ---- the tests ------------------------------------------------------------ */

static void open_target(const char *name, struct target *target)
{
    static char paths[2][256];
    static unsigned used;
    char *path = paths[used++ % 2];
    snprintf(path, 256, "%s/%s", base, name);
    struct conf_target conf = {.id = 1, .dir = path};
    assert_int_equal(target_open(&conf, 1, &store_files, target), 0);
}

static void reset(void)
{
    recorder_reset();
    for (unsigned i = 0; i < OBJECTS; i++)
        free(histories[i].versions);
    memset(histories, 0, sizeof histories);
    memset(lives, 0, sizeof lives);
    memset(born, 0, sizeof born);
}

static void record_work(uint64_t seed, uint32_t open_files_max)
{
    struct target target;
    struct store *store;
    char name[32];
    reset();
    random_state = seed;
    snprintf(name, sizeof name, "store-%u", (unsigned)seed);
    open_target(name, &target);
    struct store_config config = {.target = &target, .open_files_max = open_files_max};
    assert_int_equal(store_files.open(&config, &store), 0);
    recorder.on = true;
    work(store);
    recorder.on = false;
    assert_int_equal(store_files.close(store), 0);
    target_close(&target);
}

static int setup(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    snprintf(base, sizeof base, "%.90s/weft-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(base));
    open_target("copy", &copy);
    return 0;
}

static int teardown(void **state)
{
    char command[256];
    (void)state;
    reset();
    target_close(&copy);
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    return system(command);
}

static unsigned promises_given(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < OBJECTS; i++)
        for (unsigned p = 0; p < histories[i].promise_count; p++)
            count += histories[i].promises[p].given;
    return count;
}

static void test_synced_bytes_survive_any_crash(void **state)
{
    const struct disk honest = {0};
    (void)state;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        record_work(seed, 0);
        assert_true(promises_given() > 50);
        assert_int_equal(play(&honest, 2, true), 0);
    }
}

static void test_so_do_those_of_files_that_were_closed(void **state)
{
    const struct disk honest = {0};
    (void)state;
    record_work(3, 2);
    assert_true(promises_given() > 50);
    assert_int_equal(play(&honest, 2, true), 0);
}

/* This test would see a flush that is missing. */
static void test_a_disk_that_lies_is_caught(void **state)
{
    const struct disk drops_data = {.drops_file_flushes = true}, drops_names = {.drops_dir_flushes = true};
    (void)state;
    record_work(4, 0);
    assert_true(play(&drops_data, 1, false) > 0);
    assert_true(play(&drops_names, 1, false) > 0);
}

static int run_once(const char *dir)
{
    struct target target;
    struct store *store;
    snprintf(base, sizeof base, "%.100s", dir);
    open_target("store", &target);
    struct store_config config = {.target = &target, .open_files_max = 4};
    assert_int_equal(store_files.open(&config, &store), 0);
    tell = true;
    random_state = 5;
    work(store);
    /* What close() flushes is nobody's sync. */
    assert_int_equal(store_files.close(store), 0);
    target_close(&target);
    reset();
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_synced_bytes_survive_any_crash),
        cmocka_unit_test(test_so_do_those_of_files_that_were_closed),
        cmocka_unit_test(test_a_disk_that_lies_is_caught),
    };
    if (argc == 3 && !strcmp(argv[1], "--run"))
        return run_once(argv[2]);
    return cmocka_run_group_tests(tests, setup, teardown);
}
