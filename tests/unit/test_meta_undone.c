/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a transaction that was undone leaves in memory: nothing, as far as it matters. Its jobs run again,
 * each by itself, and find everything as it was.
 */
#include "meta_small.h"

#include "metadata/store_lmdb.h"

enum { FILE_INO = 17 };

/* ---- open files ------------------------------------------------------------------- */

struct table_of_opens {
    struct opens *opens;
    struct opens_client *client;
    struct opens_handle *handle; /* for writing */
};

static int opens_setup(void **state)
{
    static struct table_of_opens own;
    static const uint8_t id[16] = "ann";
    assert_ok(opens_new(1, &own.opens));
    own.client = opens_client_get(own.opens, id);
    own.handle = opens_add(own.opens, own.client, FILE_INO, WIRE_ACCESS_WRITE, 1);
    assert_non_null(own.handle);
    opens_commit(own.opens);
    *state = &own;
    return 0;
}

static int opens_teardown(void **state)
{
    const struct table_of_opens *own = *state;
    opens_free(own->opens);
    return 0;
}

static void assert_open(const struct table_of_opens *own, uint32_t handles)
{
    const struct opens_file *file = opens_file_find(own->opens, FILE_INO);
    assert_non_null(file);
    assert_int_equal(file->handles, handles);
    assert_int_equal(file->writers, handles);
    assert_int_equal(file->pins, 0);
    assert_int_equal(own->opens->handles.count, handles);
}

static void a_record_is_taken_back(void **state)
{
    struct table_of_opens *own = *state;
    opens_record(own->opens, own->handle);
    assert_true(own->handle->recorded);
    opens_rollback(own->opens);
    assert_false(own->handle->recorded);
    assert_open(own, 1);
    opens_record(own->opens, own->handle);
    opens_commit(own->opens);
    opens_rollback(own->opens);
    assert_true(own->handle->recorded);
    assert_open(own, 1);
}

static void a_close_is_taken_back(void **state)
{
    struct table_of_opens *own = *state;
    const uint64_t generation = own->handle->file->generation, number = opens_number(own->handle);
    opens_record(own->opens, own->handle);
    opens_close(own->opens, own->handle);
    assert_null(opens_find(own->opens, number));
    opens_rollback(own->opens);
    assert_ptr_equal(opens_find(own->opens, number), own->handle);
    assert_false(own->handle->recorded);
    assert_int_equal(own->handle->file->generation, generation); /* nobody has opened it */
    assert_open(own, 1);
    opens_record(own->opens, own->handle);
    opens_close(own->opens, own->handle);
    opens_commit(own->opens);
    assert_null(opens_file_find(own->opens, FILE_INO));
}

static void an_opening_is_taken_back(void **state)
{
    struct table_of_opens *own = *state;
    struct opens_handle *handle = opens_add(own->opens, own->client, FILE_INO, WIRE_ACCESS_WRITE, 2);
    assert_non_null(handle);
    opens_record(own->opens, handle);
    opens_rollback(own->opens);
    assert_open(own, 1);
}

static void one_that_is_known_again_is_taken_back(void **state)
{
    struct table_of_opens *own = *state;
    const uint64_t number = opens_number(own->handle);
    assert_non_null(opens_adopt(own->opens, own->client, FILE_INO, WIRE_ACCESS_WRITE, 7));
    opens_rollback(own->opens);
    assert_null(opens_find(own->opens, 7));
    assert_open(own, 1);
    /* Something late came by a handle that was closed in the same transaction. */
    opens_close(own->opens, own->handle);
    struct opens_handle *again = opens_adopt(own->opens, own->client, FILE_INO, WIRE_ACCESS_WRITE, number);
    assert_ptr_equal(opens_find(own->opens, number), again);
    opens_rollback(own->opens);
    assert_ptr_equal(opens_find(own->opens, number), own->handle);
    assert_open(own, 1);
}

static void what_is_said_of_a_file_is_taken_back(void **state)
{
    struct table_of_opens *own = *state;
    struct opens_file *file = own->handle->file;
    file->dirty = true;
    opens_file_clean(own->opens, file);
    opens_file_orphan(own->opens, file);
    assert_true(file->orphan && !file->dirty);
    opens_rollback(own->opens);
    assert_true(!file->orphan && file->dirty);
    assert_open(own, 1);
    opens_file_orphan(own->opens, file);
    opens_file_clean(own->opens, file);
    opens_commit(own->opens);
    opens_rollback(own->opens);
    assert_true(file->orphan && !file->dirty);
    assert_open(own, 1);
}

/* ---- batches that fail -------------------------------------------------------------- */

static struct spoiler {
    struct job job;
    bool kills; /* the store is dead from then on, until it is told otherwise */
    const char *unlinks;
} spoiler;

static bool always(struct job *job)
{
    (void)job;
    return true;
}

/* Begins to write, and fails. */
static int spoil_run(struct job *job, struct ns *ns)
{
    (void)job;
    if (spoiler.unlinks)
        assert_ok(ns_unlink(ns, spoiler.unlinks));
    assert_ok(store_put(ns->txn, STORE_SYMLINKS, (struct store_bytes){"x", 1}, (struct store_bytes){"", 0}));
    lab.world.store->dead = spoiler.kills;
    return err_set(-EIO, "the test wants this to fail");
}

static void spoil_done(struct job *job, int status)
{
    (void)job;
    assert_int_not_equal(status, 0);
}

/* What was submitted before it, and has not run, is undone and runs again. */
static void spoil(void)
{
    spoiler.job = (struct job){.writes = always, .run = spoil_run, .done = spoil_done};
    turn_submit(&lab.service->turn, &spoiler.job);
}

/* What follows finds no store. */
static void spoil_for_good(void)
{
    spoiler.kills = true;
    spoil();
    service_turn(lab.service);
    spoiler.kills = false;
    lab.world.store->dead = false;
    lab_run();
}

static int undone_setup(void **state)
{
    spoiler = (struct spoiler){0};
    return small_setup(state);
}

#define undone_test(name) cmocka_unit_test_setup_teardown(name, undone_setup, lab_teardown)

/* An opening of something in the root directory fails when nearly all is done. */
static void hints_put(const char *hints, size_t length)
{
    struct store_txn *txn;
    uint8_t key[8];
    records_key_u64(key, INODE_ROOT);
    assert_ok(store_begin(lab.world.store, true, &txn));
    assert_ok(store_put(txn, STORE_HINTS, (struct store_bytes){key, sizeof key},
                        (struct store_bytes){hints, length}));
    assert_ok(store_commit(txn));
}

static void hints_damage(void)
{
    hints_put("a\0b", 3);
}
static void hints_mend(void)
{
    hints_put("a=b", 3);
}

static struct lab_answer *move_pointer(struct lab_client *client, const struct opened *opened, int64_t value)
{
    return submit(client, pointer, .handle = opened->file.handle, .capability = opened->file.capability,
                  .value = value);
}

static int64_t moved(struct lab_answer *answer)
{
    struct wire_pointer_reply reply;
    lab_run();
    decode_answer(answer, pointer_reply, &reply);
    lab_answer_free(answer);
    return reply.before;
}

static void a_writer_is_noted_with_its_pointer(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "text", &file);
    struct lab_answer *answer = move_pointer(&ann, &file, 60);
    spoil();
    assert_int_equal(moved(answer), 0);
    assert_int_equal(rows(STORE_WRITERS), 1);
    lab_restart();
    lab_connect(&ann);
    assert_int_equal(moved(move_pointer(&ann, &file, 1)), 60);
}

static void writers_are_noted_when_a_file_spills(void **state)
{
    struct opened file, other;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    open_file(&bob, "/f", RW | SMALL, &other);
    struct lab_answer *answer =
        submit(&ann, spill, .capability = file.file.capability, .handle = file.file.handle);
    spoil();
    lab_run();
    spill_end(answer);
    assert_int_equal(rows(STORE_WRITERS), 2);
}

static void writers_are_noted_when_the_last_name_goes(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "text", &file);
    struct lab_answer *answer = submit(&ann, unlink, .path = "/f");
    spoil();
    lab_run();
    assert_answered(answer, 0);
    assert_int_equal(rows(STORE_WRITERS), 1);
    lab_restart();
    lab_connect(&ann);
    lab_live(2 * lab.conf.lease_ms);
    assert_reads(&ann, &file, "text", 4);
}

static void a_name_that_stays_makes_no_orphan(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "text", &file);
    spoiler.unlinks = "/f";
    spoil();
    lab_run();
    assert_false(opens_file_find(lab.service->opens, file.file.ino)->orphan);
    assert_int_equal(look("/f").nlink, 1);
}

/* The close comes first, and must not take the other one's truncation for begun. */
static void a_close_does_not_wait_for_a_truncation_that_is_not(void **state)
{
    struct lab_file file;
    uint8_t bytes[CLOSES_BYTES];
    (void)state;
    lab_make(&ann, "/f", 100, &file);
    assert_ok(lab_open(&ann, "/f", RW, &file));
    hints_damage();
    const struct wire_closing closing = {.handle = file.handle};
    struct lab_answer *closed = submit(&ann, close, .closes = lab_closes(bytes, &closing, 1));
    struct lab_answer *cut = submit(&root, open, .path = "/f", .flags = RW | WIRE_OPEN_TRUNCATE);
    lab_run();
    assert_answered(closed, 0);
    assert_answered(cut, -EUCLEAN);
    hints_mend();
    lab_wait(50);
    assert_settled("/f", 100);
}

static void an_opening_that_was_undone_does_not_keep_a_size_open(void **state)
{
    struct lab_file file;
    (void)state;
    lab_open_written(&ann, "/f", 100, &file);
    lab.answers = false;
    lab_close_and_wait(&ann, &file, true);
    assert_false(list_empty(&lab.calls)); /* it is being asked for */
    hints_damage();
    struct lab_answer *answer = submit(&root, open, .path = "/f", .flags = RW);
    lab.answers = true;
    lab_run();
    assert_answered(answer, -EUCLEAN);
    hints_mend();
    lab_wait(50);
    assert_settled("/f", 100);
    assert_null(opens_file_find(lab.service->opens, file.ino));
}

/* ---- a store that takes nothing --------------------------------------------------------- */

static void a_truncation_that_can_not_be_noted_leaves_the_size_open(void **state)
{
    struct lab_file file;
    (void)state;
    for (int has_writer = 0; has_writer < 2; has_writer++) {
        lab_make(&ann, "/f", 100, &file);
        if (has_writer)
            assert_ok(lab_open(&ann, "/f", RW, &file));
        lab.answers = false;
        struct lab_answer *answer = submit(&root, truncate, .path = "/f", .size = 10);
        lab_run();
        fake_answer_all();
        spoil_for_good();
        assert_true(answer->done && answer->status < 0);
        lab_answer_free(answer);
        lab.answers = true;
        lab_run();
        if (has_writer)
            lab_close_and_wait(&ann, &file, false);
        lab_wait(50);
        assert_settled("/f", 10);
        assert_ok(ask(&root, unlink, .path = "/f"));
    }
}

static void what_is_not_removed_keeps_its_objects(void **state)
{
    struct lab_file file;
    (void)state;
    lab_make(&ann, "/f", 100, &file);
    lab_live(2 * lab.conf.lease_ms);
    lab.calls_made = 0;
    struct lab_answer *answer = submit(&ann, unlink, .path = "/f");
    removals_want(&lab.service->removals);
    removals_hurry(&lab.service->removals);
    removals_run(&lab.service->removals, lab.monotonic_ns);
    assert_true(lab.service->removals.reading);
    spoil_for_good();
    assert_true(answer->done && answer->status < 0);
    lab_answer_free(answer);
    assert_int_equal(lab.calls_made, 0);
    assert_true(fake_object(0, file.ino)->exists);
    assert_int_equal(look("/f").size, 100);
}

#define opens_test(name) cmocka_unit_test_setup_teardown(name, opens_setup, opens_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        opens_test(a_record_is_taken_back),
        opens_test(a_close_is_taken_back),
        opens_test(an_opening_is_taken_back),
        opens_test(one_that_is_known_again_is_taken_back),
        opens_test(what_is_said_of_a_file_is_taken_back),
        undone_test(a_writer_is_noted_with_its_pointer),
        undone_test(writers_are_noted_when_a_file_spills),
        undone_test(writers_are_noted_when_the_last_name_goes),
        undone_test(a_name_that_stays_makes_no_orphan),
        undone_test(a_close_does_not_wait_for_a_truncation_that_is_not),
        undone_test(an_opening_that_was_undone_does_not_keep_a_size_open),
        undone_test(a_truncation_that_can_not_be_noted_leaves_the_size_open),
        undone_test(what_is_not_removed_keeps_its_objects),
    };
    return cmocka_run_group_tests_name("meta_undone", tests, NULL, NULL);
}
