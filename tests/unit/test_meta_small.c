/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files (metadata/small.h): what is in them, leases on that, and what is left of them.
 */
#include "meta_small.h"

/* ---- what is in them ---------------------------------------------------------------- */

static void bytes_are_in_the_store(void **state)
{
    struct opened file, reader;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(file.small_max, LIMIT);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(write_text(&ann, &file, 3, "weft"), 0);
    assert_reads(&ann, &file, "\0\0\0weft", 7);
    assert_int_equal(write_text(&ann, &file, 0, "the"), 0);
    struct wire_attr attr = look("/f");
    assert_int_equal(attr.size, 7);
    assert_int_equal(attr.size_open, 0);
    assert_int_equal(attr.bytes, 512);
    lab_close_and_wait(&ann, &file.file, false);
    open_file(&bob, "/f", WIRE_OPEN_READ | SMALL, &reader);
    assert_int_equal(reader.length, 7);
    assert_memory_equal(reader.data, "theweft", 7);
    assert_int_equal(reader.lease_us, LEASE_MS * 1000);
    lab_restart();
    lab_connect(&root);
    assert_int_equal(look("/f").size, 7);
    assert_reads(&bob, &reader, "theweft", 7);
    assert_int_equal(lab.calls_made, 0);
}

static void sizes_change(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "0123456789", &file);
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 4));
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 6));
    assert_reads(&ann, &file, "0123\0\0", 6);
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 5, .grow_only = 1));
    assert_int_equal(look("/f").size, 6);
    lab_close_and_wait(&ann, &file.file, false);
    open_file(&ann, "/f", RW | WIRE_OPEN_TRUNCATE | SMALL, &file);
    assert_int_equal(look("/f").size, 0);
    assert_int_equal(rows(STORE_SMALL), 0);
    assert_int_equal(lab.calls_made, 0);
}

static void the_end_leaves_nothing(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "x", &file);
    lab_close_and_wait(&ann, &file.file, false);
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_live(15000);
    assert_int_equal(rows(STORE_SMALL), 0);
    assert_int_equal(rows(STORE_REMOVALS), 0);
    assert_int_equal(lab.calls_made, 0);
}

static void who_wants_a_layout_gets_no_small_file(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/plain", NEW, &file);
    assert_int_equal(file.small_max, 0);
    struct lab_answer *answer = submit(&ann, open, .path = "/chosen", .flags = NEW | SMALL, .mode = 0666,
                                       .layout = {.chunk_size = 131072});
    lab_run();
    opened_take(answer, &file);
    assert_int_equal(file.small_max, 0);
    lab_answer_free(answer);
    lab.conf.small_file = 0;
    open_file(&ann, "/off", NEW | SMALL, &file);
    assert_int_equal(file.small_max, 0);
}

static void nonsense_is_refused(void **state)
{
    struct opened file, reader;
    uint8_t pieces[16];
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    struct wire_writer writer = wire_writer_on(pieces, sizeof pieces);
    wire_put_small_piece(&writer, &(struct wire_small_piece){.offset = LIMITS_SMALL_BYTES_MAX, .length = 2});
    assert_int_equal(ask(&ann, small_write, .capability = file.file.capability,
                         .pieces = wire_list_of(&writer, 1),
                         .data = {.data = (const uint8_t *)"ab", .length = 2}),
                     -EINVAL);
    writer = wire_writer_on(pieces, sizeof pieces);
    wire_put_small_piece(&writer, &(struct wire_small_piece){.offset = 0, .length = 9});
    assert_int_equal(ask(&ann, small_write, .capability = file.file.capability,
                         .pieces = wire_list_of(&writer, 1),
                         .data = {.data = (const uint8_t *)"ab", .length = 2}),
                     -EINVAL);
    open_file(&bob, "/f", WIRE_OPEN_READ | SMALL, &reader);
    assert_int_equal(ask(&bob, small_write, .capability = reader.file.capability), -EACCES);
    assert_int_equal(look("/f").size, 0);
}

/* ---- leases -------------------------------------------------------------------------- */

static void a_lease_keeps_others_from_writing(void **state)
{
    struct opened writer, reader;
    (void)state;
    open_file(&bob, "/f", NEW | SMALL, &writer);
    lab_close_and_wait(&bob, &writer.file, false);
    open_file(&ann, "/f", WIRE_OPEN_READ | SMALL, &reader);
    assert_int_equal(reader.lease_us, LEASE_MS * 1000);
    open_file(&bob, "/f", RW | SMALL, &writer);
    struct lab_answer *answer = write_begin(&bob, &writer, 0, "new");
    lab_jump(LEASE_MS - 1);
    assert_false(answer->done);
    /* Nor does it begin anew while someone waits. */
    struct opened late;
    open_file(&ann, "/f", WIRE_OPEN_READ | SMALL, &late);
    assert_int_equal(late.lease_us, 0);
    assert_int_equal(late.length, 0);
    lab_jump(1);
    assert_true(answer->done);
    assert_int_equal(write_end(answer), 0);
}

static void one_is_given_back_with_the_file(void **state)
{
    struct opened writer, reader;
    (void)state;
    open_file(&bob, "/f", NEW | SMALL, &writer);
    lab_close_and_wait(&bob, &writer.file, false);
    open_file(&ann, "/f", WIRE_OPEN_READ | SMALL, &reader);
    assert_ok(lab_close_file(&ann, &reader.file, false));
    open_file(&bob, "/f", RW | SMALL, &writer);
    assert_int_equal(write_text(&bob, &writer, 0, "new"), 0);
}

static void ones_own_is_no_obstacle_to_writing(void **state)
{
    struct opened writer, reader;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &writer);
    open_file(&ann, "/f", WIRE_OPEN_READ | SMALL, &reader);
    assert_int_equal(reader.lease_us, LEASE_MS * 1000);
    assert_int_equal(write_text(&ann, &writer, 0, "new"), 0);
    /* A cut waits: it may be made by a name, and the client does not know of which file. */
    struct lab_answer *answer = submit(&ann, truncate, .path = "/f", .size = 1);
    lab_run();
    assert_false(answer->done);
    lab_jump(LEASE_MS);
    assert_answered(answer, 0);
    assert_int_equal(look("/f").size, 1);
}

static void nobody_gets_one_while_others_write(void **state)
{
    struct opened writer, reader;
    (void)state;
    open_file(&bob, "/f", NEW | SMALL, &writer);
    open_file(&ann, "/f", WIRE_OPEN_READ | SMALL, &reader);
    assert_int_equal(reader.lease_us, 0);
    assert_int_equal(write_text(&bob, &writer, 0, "new"), 0);
}

static void a_new_server_waits_for_those_of_the_old_one(void **state)
{
    struct opened writer;
    (void)state;
    open_file(&bob, "/f", NEW | SMALL, &writer);
    lab_restart();
    lab_connect(&bob);
    struct lab_answer *answer = write_begin(&bob, &writer, 0, "new");
    lab_run();
    assert_false(answer->done);
    lab_jump(LEASE_MS);
    assert_int_equal(write_end(answer), 0);
}

/* ---- a new server, and names that go ----------------------------------------------------- */

/* It knows nothing of who has a small file open, until he writes. */
static void unlinked_soon_after_a_restart(struct opened *file)
{
    open_file(&ann, "/f", NEW | SMALL, file);
    assert_int_equal(write_text(&ann, file, 0, "old"), 0);
    lab_restart();
    lab_jump(LEASE_MS);
    lab_connect(&bob);
    assert_ok(ask(&bob, unlink, .path = "/f"));
    assert_int_equal(ask(&bob, stat, .path = "/f"), -ENOENT);
    assert_int_equal(rows(STORE_ORPHANS), 1);
}

static void one_without_a_name_is_kept_for_who_comes_back(void **state)
{
    struct opened file;
    (void)state;
    unlinked_soon_after_a_restart(&file);
    lab_connect(&ann);
    assert_int_equal(write_text(&ann, &file, 3, "new"), 0);
    lab_live(20000);
    assert_reads(&ann, &file, "oldnew", 6);
    /* By now it is known, and outlives the next one as well. */
    lab_restart();
    lab_jump(LEASE_MS);
    lab_connect(&ann);
    lab_live(20000);
    assert_int_equal(write_text(&ann, &file, 6, "est"), 0);
    assert_reads(&ann, &file, "oldnewest", 9);
    lab_close_and_wait(&ann, &file.file, false);
    assert_int_equal(rows(STORE_ORPHANS), 0);
    assert_int_equal(rows(STORE_SMALL), 0);
    assert_int_equal(rows(STORE_WRITERS), 0);
}

static void one_without_a_name_goes_when_nobody_comes(void **state)
{
    struct opened file;
    (void)state;
    unlinked_soon_after_a_restart(&file);
    lab_live(20000);
    assert_int_equal(rows(STORE_ORPHANS), 0);
    assert_int_equal(rows(STORE_SMALL), 0);
    lab_connect(&ann);
    struct lab_answer *answer = write_begin(&ann, &file, 3, "new");
    lab_run();
    assert_answered(answer, -ESTALE);
    /* Later nothing is kept for anybody. */
    new_file(&bob, "/g", "x", &file);
    lab_close_and_wait(&bob, &file.file, false);
    assert_ok(ask(&bob, unlink, .path = "/g"));
    assert_int_equal(rows(STORE_ORPHANS), 0);
}

static void nothing_is_kept_when_nobody_had_a_file_open(void **state)
{
    struct opened file;
    (void)state;
    new_file(&ann, "/f", "x", &file);
    lab_close_and_wait(&ann, &file.file, false);
    lab_restart();
    lab_jump(LEASE_MS);
    lab_connect(&bob);
    assert_ok(ask(&bob, unlink, .path = "/f"));
    assert_int_equal(rows(STORE_ORPHANS), 0);
}

/* ---- what else they have ----------------------------------------------------------------- */

static void its_shared_pointer_outlives_a_restart(void **state)
{
    struct opened file;
    struct wire_pointer_reply reply;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_ok(
        ask(&ann, pointer, .handle = file.file.handle, .capability = file.file.capability, .value = 59));
    lab_restart();
    lab_connect(&ann);
    struct lab_answer *answer =
        submit(&ann, pointer, .handle = file.file.handle, .capability = file.file.capability, .value = 1);
    lab_run();
    decode_answer(answer, pointer_reply, &reply);
    assert_int_equal(reply.before, 59);
    lab_answer_free(answer);
    lab_close_and_wait(&ann, &file.file, false);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(rows(STORE_POINTERS), 0);
}

static void damage_is_told(void **state)
{
    struct opened file;
    struct store_txn *txn;
    uint8_t key[8];
    (void)state;
    new_file(&ann, "/f", "0123456789", &file);
    records_key_u64(key, file.file.ino);
    assert_ok(store_begin(lab.world.store, true, &txn));
    assert_ok(store_put(txn, STORE_SMALL, (struct store_bytes){key, 8},
                        (struct store_bytes){"????0123456789", 14}));
    assert_ok(store_commit(txn));
    assert_int_equal(ask(&ann, small_read, .capability = file.file.capability), -EUCLEAN);
    assert_non_null(strstr(err_text(), "checksum"));
    assert_int_equal(ask(&ann, spill, .capability = file.file.capability, .handle = file.file.handle),
                     -EUCLEAN);
    assert_int_equal(lab.calls_made, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        small_test(bytes_are_in_the_store),
        small_test(sizes_change),
        small_test(the_end_leaves_nothing),
        small_test(who_wants_a_layout_gets_no_small_file),
        small_test(nonsense_is_refused),
        small_test(a_lease_keeps_others_from_writing),
        small_test(one_is_given_back_with_the_file),
        small_test(ones_own_is_no_obstacle_to_writing),
        small_test(nobody_gets_one_while_others_write),
        small_test(a_new_server_waits_for_those_of_the_old_one),
        small_test(one_without_a_name_is_kept_for_who_comes_back),
        small_test(one_without_a_name_goes_when_nobody_comes),
        small_test(nothing_is_kept_when_nobody_had_a_file_open),
        small_test(its_shared_pointer_outlives_a_restart),
        small_test(damage_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
