/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crash simulator of the chunk store. What it must survive, between any two writes, flushes or discards:
 *  - a crash of the host: whatever part of what was not flushed is on the disk, in any order, torn at any 512
 *    bytes, files at their size from before; what was given back may be gone, at any time until the next
 *    flush;
 *  - the death of the process: all that was written is there, and a part of the write that came next.
 *
 * A workload from a seed runs on a disk that records (cs_disk.h), with operations also in the middle of
 * commits, as the helper thread of a server makes them, and with blocks that go to the disk ahead of their
 * writes, some of which never come. Then, for crash points in rising order, a disk
 * is made as the crash may have left it and mounted, to the last commit and with the log. The store must then
 * be, to the last byte and length, what it was when some commit was sealed, none older than the last one that
 * had ended; with the log what it was between two changes after that, and after the death of a process behind
 * all operations that had ended. No checksum fails, no block is leaked or has two owners, and it must be able
 * to go on: write, die, commit, mount.
 *
 *   WEFT_SEED=N             another run (the seed is printed)
 *   WEFT_CRASH_STATES=N     so many states (default 400)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "log.h"
#include "storage/chunks/cs_ahead.h"
#include "storage/chunks/cs_store.h"
#include "cs_disk.h"
#include "volume_lab.h"

enum {
    OBJECTS = 5,
    BYTES = CS_STRIP + CS_STRIP / 2,
    COMMITS_MAX = 64,
    STEPS = 160,
    STATES = 400,
    STATES_A_RUN = 100,
    OPS_MAX = 8 * STEPS + 8 * COMMITS_MAX,
    AHEAD_MAX = 6,
};

struct model {
    uint64_t length[OBJECTS];
    bool exists[OBJECTS];
    uint8_t bytes[OBJECTS][BYTES];
};

static const struct layout layout = {.chunk_size = 4096, .seed = 1, .stripe_count = 1, .group_count = 1};
static uint64_t seed, run_seed;
static uint64_t replayed;  /* changes, by all mounts */
static uint64_t discarded; /* bytes, by all runs */
static bool punching;      /* what is discarded has no space behind it (cs_disk.h) */

/* The workload. */
static struct disk disk;
static struct cs_config config;
static struct cs_store *store;
static struct model now;

/* What was done, so that the state at any moment can be made again. */
struct op {
    enum { OP_WRITE, OP_TRUNCATE, OP_REMOVE, OP_PUNCH } kind;
    unsigned object;
    uint64_t offset, length;
    uint64_t seed;     /* of the bytes */
    uint64_t sequence; /* of the change that comes next in the log */
    size_t event;      /* that comes next */
};
static struct op ops[OPS_MAX];
static unsigned op_count;
static unsigned inside; /* operations to be made in the middle of this commit */

/* Writes of which a part is on the disk, and which are not made yet. */
static struct ahead {
    bool used;
    struct op op;
    uint8_t *data;
    struct cs_ahead blocks;
    unsigned written; /* pieces */
} aheads[AHEAD_MAX];
static uint64_t made_ahead; /* by all runs */

/* What a mount may find: the state at each seal, and from which event on none older. */
static struct {
    struct model *model;
    uint64_t generation, sequence;
    size_t event;
    unsigned ops; /* that it has */
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

static uint8_t *data_of(const struct op *op)
{
    static uint8_t data[BYTES];
    uint64_t of = op->seed;
    for (uint64_t k = 0; k < op->length; k += 512)
        memset(data + k, (int)disk_random(&of), op->length - k < 512 ? op->length - k : 512);
    return data;
}

/* What the operation makes of the model. */
static void model_op(struct model *model, const struct op *op)
{
    const unsigned i = op->object;
    const uint64_t end = op->offset + op->length;
    switch (op->kind) {
    case OP_WRITE:
        memcpy(model->bytes[i] + op->offset, data_of(op), op->length);
        model->exists[i] = true;
        if (model->length[i] < end)
            model->length[i] = end;
        break;
    case OP_TRUNCATE:
        if (op->length < model->length[i])
            memset(model->bytes[i] + op->length, 0, BYTES - op->length);
        model->exists[i] = model->exists[i] || op->length > 0;
        model->length[i] = op->length;
        break;
    case OP_REMOVE:
        model->length[i] = 0;
        model->exists[i] = false;
        memset(model->bytes[i], 0, BYTES);
        break;
    case OP_PUNCH:
        memset(model->bytes[i] + op->offset, 0, op->length);
        break;
    }
}

static int store_op(const struct op *op, struct cs_ahead *blocks)
{
    const struct cs_name name = name_of(op->object);
    struct iovec iov = {op->kind == OP_WRITE ? data_of(op) : NULL, op->length};
    switch (op->kind) {
    case OP_WRITE:
        return cs_write_ahead(store, name, &layout, op->offset, &iov, 1, NULL, blocks);
    case OP_TRUNCATE:
        return cs_truncate(store, name, &layout, op->length);
    case OP_REMOVE:
        return cs_remove(store, name);
    case OP_PUNCH:
        return cs_punch(store, name, &layout, op->offset, op->length);
    }
    return 0;
}

static struct op draw(void)
{
    struct op op = {.object = (unsigned)(disk_random(&seed) % OBJECTS),
                    .offset = disk_random(&seed) % BYTES,
                    .length = disk_random(&seed) % BYTES,
                    .seed = disk_random(&seed)};
    const unsigned kind = (unsigned)(disk_random(&seed) % 12);
    op.kind = kind == 0 ? OP_TRUNCATE : kind == 1 ? OP_REMOVE : kind == 2 ? OP_PUNCH : OP_WRITE;
    if (op.kind == OP_WRITE)
        op.length = 1 + op.length % (disk_random(&seed) % 4 ? 9000 : 200000);
    /* Much is written over before it is committed. */
    if (op.kind == OP_WRITE && op_count && disk_random(&seed) % 3 == 0) {
        op.object = ops[op_count - 1].object;
        op.offset = ops[op_count - 1].offset;
    }
    if ((op.kind == OP_WRITE || op.kind == OP_PUNCH) && op.length > BYTES - op.offset)
        op.length = BYTES - op.offset;
    return op;
}

/* `blocks`: those of a write that are in place; NULL: none. */
static void make(struct op op, struct cs_ahead *blocks)
{
    int result;
    assert_true(op_count < OPS_MAX);
    while ((result = store_op(&op, blocks)) > 0)
        ;
    check(result);
    model_op(&now, &op);
    op.sequence = store->log.sequence;
    op.event = disk.event_count;
    ops[op_count++] = op;
}

static void ahead_begin(struct ahead *ahead)
{
    struct iovec iov;
    ahead->op = draw();
    if (ahead->op.kind != OP_WRITE)
        return;
    ahead->data = malloc(ahead->op.length);
    assert_non_null(ahead->data);
    memcpy(ahead->data, data_of(&ahead->op), ahead->op.length);
    iov = (struct iovec){ahead->data, ahead->op.length};
    int error =
        cs_ahead_make(store, name_of(ahead->op.object), &layout, ahead->op.offset, &iov, 1, &ahead->blocks);
    ahead->used = error == 0;
    ahead->written = 0;
    if (!ahead->used)
        free(ahead->data);
    if (error != -EAGAIN)
        check(error);
}

static void ahead_end(struct ahead *ahead)
{
    cs_ahead_drop(store, &ahead->blocks);
    free(ahead->data);
    ahead->used = false;
}

/* A piece of one of them goes to the disk, or all of it is there and it is made, or never is. */
static void ahead_step(void)
{
    struct ahead *ahead = &aheads[disk_random(&seed) % AHEAD_MAX];
    if (!ahead->used) {
        ahead_begin(ahead);
        return;
    }
    struct cs_piece *piece = &ahead->blocks.pieces[ahead->written];
    if (ahead->written < ahead->blocks.piece_count) {
        ahead->written++;
        check(store->io->type->write(store->io, CS_DATA, piece->offset, piece->iov, piece->iov_count));
        return;
    }
    if (disk_random(&seed) % 8) {
        make(ahead->op, &ahead->blocks);
        made_ahead++;
    }
    ahead_end(ahead);
}

static void step(void)
{
    while (disk_random(&seed) % 4)
        ahead_step();
    if (op_count < OPS_MAX - OBJECTS)
        make(draw(), NULL);
}

/* Most of the space becomes free. */
static void remove_most(void)
{
    const unsigned stays = (unsigned)(disk_random(&seed) % OBJECTS);
    for (unsigned i = 0; i < OBJECTS; i++)
        if (i != stays)
            make((struct op){.kind = OP_REMOVE, .object = i}, NULL);
}

/* Gives space back, with others at work meanwhile. */
static void discard(void)
{
    struct cs_discard discard;
    while (disk_random(&seed) % 4 &&
           cs_discard_begin(store, (1 + disk_random(&seed) % 4) * CS_STRIP, &discard)) {
        if (disk_random(&seed) % 4 == 0)
            step();
        check(cs_discard_make(store, &discard));
        if (disk_random(&seed) % 4 == 0)
            step();
        cs_discard_end(store, &discard, 0);
    }
}

/* Between the writes and flushes of a commit. */
static void in_between(void *arg)
{
    (void)arg;
    if (disk_random(&seed) % 8 == 0)
        discard();
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
    sealed[sealed_count].sequence = store->log.sequence;
    sealed[sealed_count].ops = op_count;
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
    lab_disk_open(&disk);
    config = (struct cs_config){.io = lab_io(&disk, 0),
                                .name = "target 0 shard 0",
                                .uuid = {9},
                                .grow_blocks = 64,
                                .cache_pages = 64,
                                .discard = true,
                                .log = true};
    check(cs_format(&config));
    lab_formatted(&config);
    disk_record(&disk);
    if (punching)
        disk_punches(&disk, UINT64_MAX);
    config.io = lab_io(&disk, 0);
    check(cs_open(&config, &store));
    memset(&now, 0, sizeof now);
    sealed[0].model = calloc(1, sizeof now);
    sealed[0].generation = 1;
    sealed[0].sequence = store->log.sequence;
    sealed[0].event = sealed[0].ops = op_count = 0;
    sealed_count = 1;
    ended[0].event = 0;
    ended[0].generation = 1;
    ended_count = 1;
    for (unsigned n = 0; n < STEPS; n++) {
        step();
        if (disk_random(&seed) % 12 == 0)
            remove_most();
        if (disk_random(&seed) % 6 == 0 && sealed_count < COMMITS_MAX)
            commit();
        if (disk_random(&seed) % 3 == 0)
            discard();
    }
    for (unsigned i = 0; i < AHEAD_MAX; i++)
        if (aheads[i].used)
            ahead_end(&aheads[i]);
    cs_close(store);
    discarded += disk.discarded;
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

/* The store is between the two states: each byte is of one of them. Both are the same where it is known. */
static void check_objects(struct cs_store *mounted, const struct model *one, const struct model *other)
{
    static uint8_t bytes[BYTES];
    for (unsigned i = 0; i < OBJECTS; i++) {
        struct cs_stat stat;
        size_t count;
        check(cs_stat(mounted, name_of(i), &layout, &stat));
        assert_true(stat.exists == one->exists[i] || stat.exists == other->exists[i]);
        const uint64_t low = one->length[i] < other->length[i] ? one->length[i] : other->length[i];
        assert_in_range(stat.length, low, one->length[i] + other->length[i] - low);
        check(cs_read(mounted, name_of(i), &layout, 0, bytes, BYTES, &count, NULL));
        assert_int_equal(count, stat.length);
        if (memcmp(bytes, one->bytes[i], count) == 0)
            continue;
        for (size_t k = 0; k < count; k++)
            if (bytes[k] != one->bytes[i][k] && bytes[k] != other->bytes[i][k])
                fail_msg("seed %llu: object %u, byte %zu", (unsigned long long)run_seed, i, k);
    }
}

static unsigned seal_of(uint64_t generation)
{
    for (unsigned i = 0; i < sealed_count; i++)
        if (sealed[i].generation == generation)
            return i;
    fail_msg("seed %llu: generation %llu was never sealed", (unsigned long long)run_seed,
             (unsigned long long)generation);
    return 0;
}

/* As it was behind so many operations. */
static void model_at(unsigned count, struct model *model)
{
    unsigned from = 0;
    for (unsigned i = 0; i < sealed_count; i++)
        if (sealed[i].ops <= count)
            from = i;
    memcpy(model, sealed[from].model, sizeof *model);
    for (unsigned i = sealed[from].ops; i < count; i++)
        model_op(model, &ops[i]);
}

static void write_some(struct cs_store *mounted, uint8_t with)
{
    static uint8_t data[70000];
    struct iovec iov = {data, sizeof data};
    int result;
    memset(data, with, sizeof data);
    check(cs_write(mounted, name_of(0), &layout, 3000, &iov, 1, NULL));
    check(cs_write(mounted, name_of(0), &layout, 2000, &iov, 1, NULL));
    while ((result = cs_remove(mounted, name_of(1))) > 0)
        ;
    check(result);
}

/* After the crash it goes on; with the log nothing is lost without a commit either. */
static void go_on(struct cs_config *after, struct disk *left, struct cs_store *mounted)
{
    uint8_t byte;
    size_t count;
    write_some(mounted, 0x5a);
    if (after->log) {
        cs_close(mounted);
        after->io = lab_io(left, 0);
        check(cs_open(after, &mounted));
        check(cs_read(mounted, name_of(0), &layout, 2000, &byte, 1, &count, NULL));
        assert_true(count == 1 && byte == 0x5a && mounted->log.replayed > 0);
        write_some(mounted, 0xa5);
    }
    check(cs_commit(mounted));
    check_whole(mounted);
    cs_close(mounted);
    after->io = lab_io(left, 0);
    check(cs_open(after, &mounted));
    assert_int_equal(mounted->failed, 0);
    check_whole(mounted);
    cs_close(mounted);
}

static struct cs_store *mount(struct cs_config *after, struct disk *left, bool log)
{
    struct cs_store *mounted;
    *after = config;
    after->io = lab_io(left, 0);
    after->log = log;
    check(cs_open(after, &mounted));
    if (mounted->failed)
        fail_msg("seed %llu: %s", (unsigned long long)run_seed, mounted->failed_text);
    return mounted;
}

/* With what the log has on top of that seal; `least` operations must be there. */
static void check_log(struct disk *left, unsigned seal, unsigned least)
{
    static struct model one, other;
    struct cs_config after;
    struct cs_store *mounted = mount(&after, left, true);
    const uint64_t sequence = sealed[seal].sequence + mounted->log.replayed;
    unsigned done = sealed[seal].ops;
    while (done < op_count && ops[done].sequence <= sequence)
        done++;
    if (done < least)
        fail_msg("seed %llu: %u operations of %u are left", (unsigned long long)run_seed, done, least);
    const bool within = done < op_count && sequence > (done ? ops[done - 1].sequence : sealed[0].sequence);
    model_at(done, &one);
    model_at(within ? done + 1 : done, &other);
    check_objects(mounted, &one, &other);
    check_whole(mounted);
    replayed += mounted->log.replayed;
    go_on(&after, left, mounted);
}

static void crash(const struct disk_replay *replay, size_t event)
{
    struct disk left;
    struct cs_config after;
    uint64_t oldest = 0, same = seed;
    unsigned least = 0;
    for (unsigned i = 0; i < ended_count && ended[i].event <= event; i++)
        oldest = ended[i].generation;
    disk_replay_crash(replay, &seed, &left);
    struct cs_store *mounted = mount(&after, &left, false);
    assert_true(mounted->generation >= oldest);
    unsigned seal = seal_of(mounted->generation);
    check_objects(mounted, sealed[seal].model, sealed[seal].model);
    check_whole(mounted);
    go_on(&after, &left, mounted);
    disk_close(&left);

    disk_replay_crash(replay, &same, &left);
    check_log(&left, seal, 0);
    disk_close(&left);

    same = seed;
    disk_replay_kill(replay, &seed, &left);
    mounted = mount(&after, &left, false);
    seal = seal_of(mounted->generation);
    cs_close(mounted);
    disk_close(&left);
    disk_replay_kill(replay, &same, &left);
    while (least < op_count && ops[least].event <= event)
        least++;
    check_log(&left, seal, least);
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
    print_message("%u crashes and deaths each, of runs WEFT_SEED=%llu to %llu, with %u commits; %llu changes "
                  "came from the log; %llu strips' space was given back; %llu writes had blocks ahead\n",
                  done, (unsigned long long)first, (unsigned long long)run_seed, commits,
                  (unsigned long long)replayed, (unsigned long long)discarded / CS_STRIP,
                  (unsigned long long)made_ahead);
    assert_true(discarded > 0 && made_ahead > 0);
    discarded = replayed = made_ahead = 0;
}

static int run(const char *name)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crashes),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void)
{
    /* Each crash copies the disk four times: it is no larger than the workload needs. */
    lab_disk_bytes = UINT64_C(16) << 20;
    const int failed = lab_run(run);
    on_volume = false;
    punching = true;
    return failed + run("in files that get holes");
}
