/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal of the metadata store. What must survive: every transaction that was acknowledged, whatever
 * part of all that was not flushed is on the disk after a crash; and the end of a journal must be told from
 * damage in its middle. WEFT_TEST_SEED repeats the random ones.
 */
#include "meta_world.h"

#include <sys/stat.h>

#include "metadata/store_journal.h"
#include "../integration/seed.h"

enum { PAGE = 4096, SECTOR = 512, KEYS = 300, ID = 77 };

static struct world world;

static int setup(void **state)
{
    (void)state;
    world_dir_make(&world);
    assert_int_equal(mkdir(world.dir, 0700), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    store_close(world.store);
    world.store = NULL;
    world_dir_remove(&world);
    return 0;
}

/* ---- files -------------------------------------------------------------- */

struct image {
    uint8_t *bytes;
    size_t length;
};

static const char *path_of(const char *name)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", world.dir, name);
    return path;
}

static struct image image_of(const char *name)
{
    struct stat stat;
    struct image image;
    int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &stat), 0);
    image.length = (size_t)stat.st_size;
    image.bytes = malloc(image.length + 1);
    assert_non_null(image.bytes);
    assert_int_equal(read(fd, image.bytes, image.length), image.length);
    close(fd);
    return image;
}

static void put_image(const char *name, const struct image *image)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, image->bytes, image->length), image->length);
    close(fd);
}

static void free_image(struct image *image)
{
    free(image->bytes);
    *image = (struct image){0};
}

/* The journal as it was when it was flushed last, and the time before that. */
static struct image flushed, flushed_before;
static uint64_t flush_count;

/* In the place of the C library's: what has not come here is not sure to be on the disk. */
int fdatasync(int fd)
{
    struct image image = {malloc(JOURNAL_BYTES), JOURNAL_BYTES};
    if (!image.bytes || pread(fd, image.bytes, JOURNAL_BYTES, 0) != JOURNAL_BYTES)
        abort();
    free_image(&flushed_before);
    flushed_before = flushed;
    flushed = image;
    flush_count++;
    return fsync(fd);
}

/* ---- the journal by itself ------------------------------------------------ */

struct told {
    unsigned changes, transactions;
    char text[4096];
};

static int tell(void *arg, const struct journal_change *change)
{
    struct told *told = arg;
    size_t at = strlen(told->text);
    told->changes++;
    snprintf(told->text + at, sizeof told->text - at, "%s%u:%.*s=%.*s ", change->is_delete ? "-" : "",
             change->table, (int)change->key.length, (const char *)change->key.data,
             (int)change->value.length, (const char *)change->value.data);
    return 0;
}

static void note(struct journal *journal, bool is_delete, unsigned table, const char *key, const char *value)
{
    journal_note(journal, &(struct journal_change){.is_delete = is_delete,
                                                   .table = (uint8_t)table,
                                                   .key = {key, strlen(key)},
                                                   .value = {value, strlen(value)}});
}

static struct told replay(uint64_t done, int64_t wanted)
{
    struct journal *journal;
    struct told told = {0};
    assert_ok(journal_open(world.dir, ID, JOURNAL_BYTES, &journal));
    assert_int_equal(journal_replay(journal, done, tell, &told), wanted);
    journal_close(journal);
    return told;
}

/* Three transactions; returns where the second and the third begin, and where they end. */
static void write_three(uint64_t ends[3])
{
    static const size_t head = 32, change = 8;
    struct journal *journal;
    struct told none = {0};
    assert_ok(journal_open(world.dir, ID, 0, &journal));
    assert_int_equal(journal_replay(journal, 10, tell, &none), 0);
    note(journal, false, 1, "a", "one");
    note(journal, false, 2, "b", "");
    assert_true(journal_fits(journal));
    assert_ok(journal_write(journal));
    note(journal, false, 1, "lost", "lost");
    journal_forget(journal);
    note(journal, true, 1, "a", "");
    assert_ok(journal_write(journal));
    note(journal, false, 3, "c", "three");
    assert_ok(journal_write(journal));
    assert_int_equal(journal_last(journal), 13);
    journal_close(journal);
    ends[0] = head + change + 4 + change + 1;
    ends[1] = ends[0] + head + change + 1;
    ends[2] = ends[1] + head + change + 6;
}

static void what_was_written_is_found_again(void **state)
{
    uint64_t ends[3];
    (void)state;
    write_three(ends);
    assert_string_equal(replay(10, 3).text, "1:a=one 2:b= -1:a= 3:c=three ");
    /* Nothing of before a checkpoint, whose number is another one. */
    assert_string_equal(replay(13, 0).text, "");
    assert_string_equal(replay(9, -EUCLEAN).text, "");
}

static void a_checkpoint_begins_anew(void **state)
{
    struct journal *journal;
    struct told told = {0};
    uint64_t ends[3];
    (void)state;
    write_three(ends);
    assert_ok(journal_open(world.dir, ID, JOURNAL_BYTES, &journal));
    assert_int_equal(journal_replay(journal, 10, tell, &told), 3);
    assert_false(journal_is_empty(journal));
    journal_restart(journal);
    assert_true(journal_is_empty(journal));
    note(journal, false, 4, "d", "four");
    assert_ok(journal_write(journal));
    journal_close(journal);
    assert_string_equal(replay(13, 1).text, "4:d=four ");
}

static void another_stores_journal_is_none(void **state)
{
    struct journal *journal;
    struct told told = {0};
    uint64_t ends[3];
    (void)state;
    write_three(ends);
    assert_ok(journal_open(world.dir, ID + 1, JOURNAL_BYTES, &journal));
    assert_int_equal(journal_replay(journal, 10, tell, &told), 0);
    journal_close(journal);
}

/* The last record may be there in part; all before it are. */
static void a_torn_end_is_an_end(void **state)
{
    uint64_t ends[3];
    (void)state;
    write_three(ends);
    struct image whole = image_of("journal");
    for (uint64_t cut = ends[1]; cut < ends[2]; cut++) {
        struct image torn = {malloc(whole.length), whole.length};
        memcpy(torn.bytes, whole.bytes, whole.length);
        memset(torn.bytes + cut, 0, ends[2] - cut);
        if (memcmp(torn.bytes, whole.bytes, whole.length) != 0) {
            put_image("journal", &torn);
            assert_string_equal(replay(10, 2).text, "1:a=one 2:b= -1:a= ");
        }
        free(torn.bytes);
    }
    free(whole.bytes);
}

static void damage_before_the_end_is_told(void **state)
{
    uint64_t ends[3];
    (void)state;
    write_three(ends);
    struct image whole = image_of("journal");
    for (uint64_t at = 0; at < ends[1]; at++) {
        whole.bytes[at] ^= 0x10;
        put_image("journal", &whole);
        replay(10, -EUCLEAN);
        assert_non_null(strstr(err_text(), "is damaged"));
        whole.bytes[at] ^= 0x10;
    }
    free(whole.bytes);
}

static void one_that_is_too_long_does_not_fit(void **state)
{
    static char big[JOURNAL_BYTES];
    struct journal *journal;
    struct told told = {0};
    (void)state;
    assert_ok(journal_open(world.dir, ID, 0, &journal));
    assert_int_equal(journal_replay(journal, 0, tell, &told), 0);
    journal_note(journal, &(struct journal_change){.key = {"k", 1}, .value = {big, JOURNAL_BYTES - 41}});
    assert_true(journal_fits(journal));
    journal_forget(journal);
    journal_note(journal, &(struct journal_change){.key = {"k", 1}, .value = {big, JOURNAL_BYTES - 40}});
    assert_false(journal_fits(journal));
    note(journal, false, 1, "x", "y");
    assert_false(journal_fits(journal));
    journal_forget(journal);
    journal_note(journal, &(struct journal_change){.key = {"k", 1}, .value = {big, JOURNAL_BYTES / 2}});
    assert_ok(journal_write(journal));
    journal_note(journal, &(struct journal_change){.key = {"k", 1}, .value = {big, JOURNAL_BYTES / 2}});
    assert_false(journal_fits(journal));
    journal_close(journal);
}

/* ---- the store, and crashes ----------------------------------------------- */

/* What the keys of one table have; 0: there is none. */
struct model {
    uint32_t values[KEYS];
};

static struct store_bytes key_of(unsigned i)
{
    static char text[16];
    snprintf(text, sizeof text, "key-%u", i);
    return (struct store_bytes){text, strlen(text)};
}

static struct store_bytes value_of(uint32_t number)
{
    static uint32_t words[1500];
    for (unsigned i = 0; i < 1500; i++)
        words[i] = number + i;
    return (struct store_bytes){words, number % 7 ? 4 : 4 + number % 1499 * 4};
}

static bool is_as(const struct model *model)
{
    struct store_txn *txn;
    bool same = true;
    assert_ok(store_begin(world.store, false, &txn));
    for (unsigned i = 0; i < KEYS; i++) {
        struct store_bytes found, wanted = value_of(model->values[i]);
        int error = store_get(txn, STORE_SYMLINKS, key_of(i), &found);
        assert_true(error == 0 || error == -ENOENT);
        if (model->values[i] == 0)
            same = same && error == -ENOENT;
        else
            same = same && error == 0 && found.length == wanted.length &&
                   memcmp(found.data, wanted.data, wanted.length) == 0;
    }
    store_abort(txn);
    return same;
}

/* One transaction; whether it is committed. */
static bool change(struct model *model, uint32_t number)
{
    struct model next = *model;
    struct store_txn *txn;
    assert_ok(store_begin(world.store, true, &txn));
    for (unsigned count = below(12); count > 0; count--) {
        const unsigned key = below(KEYS);
        if (below(3) == 0) {
            assert_result(store_delete(txn, STORE_SYMLINKS, key_of(key)), next.values[key] ? 0 : -ENOENT);
            next.values[key] = 0;
        } else {
            next.values[key] = number * 16 + count;
            assert_ok(store_put(txn, STORE_SYMLINKS, key_of(key), value_of(next.values[key])));
        }
    }
    if (below(10) == 0) {
        store_abort(txn);
        return false;
    }
    assert_ok(store_commit(txn));
    *model = next;
    return true;
}

/* Any part of what is new, by pieces. */
static void mix(struct image *now, const struct image *before, size_t piece, size_t from)
{
    for (size_t at = from; at + piece <= now->length && at + piece <= before->length; at += piece)
        if (memcmp(now->bytes + at, before->bytes + at, piece) != 0 && below(2))
            memcpy(now->bytes + at, before->bytes + at, piece);
}

static void reopen(void)
{
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES / 4, &world.store));
    free_image(&flushed);
    flushed = image_of("journal");
}

/* As the process's death or the host's leaves the files, opened anew. Of LMDB's file any page may be as at
 * the checkpoint, and the first two, which say where all is, are; of the journal any sector may be as it
 * was when it was flushed last, or, if the last transaction was not answered, the time before. */
static void crash(const struct image *checkpoint, bool is_answered)
{
    struct image data = image_of("data.mdb"), journal = image_of("journal");
    if (below(2)) {
        memcpy(data.bytes, checkpoint->bytes, 2 * PAGE);
        mix(&data, checkpoint, PAGE, 2 * PAGE);
        mix(&journal, is_answered ? &flushed : &flushed_before, SECTOR, 0);
    }
    store_close(world.store);
    put_image("data.mdb", &data);
    put_image("journal", &journal);
    free_image(&data);
    free_image(&journal);
    reopen();
}

/* LMDB's first two pages change with each of its commits, and by nothing else. */
static bool is_checkpoint(const struct image *checkpoint)
{
    uint8_t now[2 * PAGE];
    int fd = open(path_of("data.mdb"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, now, sizeof now), sizeof now);
    close(fd);
    return memcmp(now, checkpoint->bytes, sizeof now) != 0;
}

static void acknowledged_transactions_survive_any_crash(void **state)
{
    const unsigned rounds = number_wanted("WEFT_TEST_ROUNDS", 60);
    struct model model = {0};
    uint32_t number = 0;
    (void)state;
    random_state = seed_wanted();
    reopen();
    for (unsigned round = 0; round < rounds; round++) {
        struct image checkpoint = image_of("data.mdb");
        struct model before = model;
        bool is_open = false; /* the last transaction is in the journal only */
        for (unsigned count = 1 + below(60); count > 0; count--) {
            const uint64_t flushes = flush_count;
            before = model;
            change(&model, ++number);
            is_open = flush_count == flushes + 1;
            if (is_checkpoint(&checkpoint)) {
                free_image(&checkpoint);
                checkpoint = image_of("data.mdb");
                is_open = false;
            }
        }
        const bool is_answered = !is_open || below(2);
        crash(&checkpoint, is_answered);
        if (!is_answered && is_as(&before))
            model = before;
        assert_true(is_as(&model));
        free_image(&checkpoint);
    }
    free_image(&flushed);
    free_image(&flushed_before);
}

static void an_abort_undoes_itself_only(void **state)
{
    struct model model = {0}, other;
    (void)state;
    random_state = seed_wanted();
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES / 4, &world.store));
    for (unsigned i = 1; i < 500; i++) {
        change(&model, i);
        if (below(20) == 0)
            assert_true(is_as(&model));
    }
    assert_true(is_as(&model));
    other = model;
    other.values[0]++;
    assert_false(is_as(&other));
}

/* Without one that it needs the store is not opened, as it would lack what was acknowledged. */
static void a_journal_that_is_gone_is_missed(void **state)
{
    struct model model = {0}, nothing = {0};
    (void)state;
    random_state = 1;
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES / 4, &world.store));
    while (!change(&model, 1))
        ;
    struct image data = image_of("data.mdb"), journal = image_of("journal");
    store_close(world.store);
    world.store = NULL;
    put_image("data.mdb", &data);
    assert_int_equal(unlink(path_of("journal")), 0);
    assert_result(store_open(world.dir, WORLD_STORE_BYTES / 4, &world.store), -EUCLEAN);
    assert_non_null(strstr(err_text(), "journal is missing"));
    struct image half = {journal.bytes, journal.length / 2};
    put_image("journal", &half);
    assert_result(store_open(world.dir, WORLD_STORE_BYTES / 4, &world.store), -EUCLEAN);
    /* Unless somebody does without it, which is not forgotten. */
    put_image("journal.given-up", &half);
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES / 4, &world.store));
    assert_true(is_as(&nothing));
    assert_int_equal(access(path_of("journal.given-up"), F_OK), -1);
    assert_int_equal(access(path_of("journal.old"), F_OK), 0);
    store_close(world.store);
    world.store = NULL;
    put_image("data.mdb", &data);
    put_image("journal", &journal);
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES / 4, &world.store));
    assert_true(is_as(&model));
    /* One that was closed as it should be needs none. */
    store_close(world.store);
    assert_int_equal(unlink(path_of("journal")), 0);
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES / 4, &world.store));
    assert_true(is_as(&model));
    free(data.bytes);
    free(journal.bytes);
}

/* One entry; its value is much of a page. */
static int put_one(uint32_t i)
{
    static char value[4000];
    struct store_txn *txn;
    memset(value, (int)i, sizeof value);
    int error = store_begin(world.store, true, &txn);
    if (error)
        return error;
    error = store_put(txn, STORE_SYMLINKS, key_of(i), (struct store_bytes){value, sizeof value});
    if (!error)
        return store_commit(txn);
    store_abort(txn);
    return error;
}

static void assert_all(uint32_t count)
{
    struct store_txn *txn;
    struct store_bytes found;
    assert_ok(store_begin(world.store, false, &txn));
    for (uint32_t i = 0; i < count; i++) {
        assert_ok(store_get(txn, STORE_SYMLINKS, key_of(i), &found));
        assert_int_equal(found.length, 4000);
        assert_int_equal(*(const uint8_t *)found.data, (uint8_t)i);
    }
    assert_result(store_get(txn, STORE_SYMLINKS, key_of(count), &found), -ENOENT);
    store_abort(txn);
}

/* What is in the journal only still finds room, to the last page. */
static void a_full_store_keeps_what_it_has(void **state)
{
    struct store_txn *txn;
    uint32_t count = 0;
    int error;
    (void)state;
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES / 4, &world.store));
    while (!(error = put_one(count)))
        count++;
    assert_int_equal(error, -ENOSPC);
    assert_in_range(count, 1000, 4096);
    assert_all(count);
    assert_int_equal(put_one(count), -ENOSPC);
    store_close(world.store);
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES / 4, &world.store));
    assert_all(count);
    for (uint32_t i = 0; i < 500; i++) {
        assert_ok(store_begin(world.store, true, &txn));
        assert_ok(store_delete(txn, STORE_SYMLINKS, key_of(count - 1 - i)));
        assert_ok(store_commit(txn));
    }
    assert_all(count - 500);
    for (uint32_t i = 0; i < 300; i++)
        assert_ok(put_one(count - 500 + i));
    assert_all(count - 200);
}

static void a_store_works_without_one(void **state)
{
    struct model model = {0};
    (void)state;
    random_state = 1;
    assert_int_equal(mkdir(path_of("journal"), 0700), 0);
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES / 4, &world.store));
    for (unsigned i = 1; i < 50; i++)
        change(&model, i);
    assert_true(is_as(&model));
    struct image data = image_of("data.mdb");
    store_close(world.store);
    world.store = NULL;
    put_image("data.mdb", &data);
    assert_int_equal(rmdir(path_of("journal")), 0);
    assert_ok(store_open(world.dir, WORLD_STORE_BYTES / 4, &world.store));
    assert_true(is_as(&model));
    free(data.bytes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_written_is_found_again),
        TEST(a_checkpoint_begins_anew),
        TEST(another_stores_journal_is_none),
        TEST(a_torn_end_is_an_end),
        TEST(damage_before_the_end_is_told),
        TEST(one_that_is_too_long_does_not_fit),
        TEST(acknowledged_transactions_survive_any_crash),
        TEST(an_abort_undoes_itself_only),
        TEST(a_journal_that_is_gone_is_missed),
        TEST(a_full_store_keeps_what_it_has),
        TEST(a_store_works_without_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
