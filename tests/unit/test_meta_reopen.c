/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles that the server has closed when their client's lease ended, and that are open again when it is
 * back: sizes are asked for again, a restart knows of them, and nothing else than what was lost is changed.
 */
#include "meta_small.h"

#include "metadata/opens.h"

static uint64_t reopens(void)
{
    return counter_get(&lab.service->reopens);
}

/* ---- asking --------------------------------------------------------------- */

/* A list of handles, encoded into `bytes`. */
enum { LIST_BYTES = 4096 };
static struct wire_list list_of(uint8_t bytes[LIST_BYTES], const struct lab_file *const *files,
                                uint32_t count)
{
    struct wire_writer writer = wire_writer_on(bytes, LIST_BYTES);
    for (uint32_t i = 0; i < count; i++)
        wire_put_reopening(&writer, &(struct wire_reopening){.handle = files[i]->handle,
                                                             .capability = files[i]->capability});
    assert_false(writer.bad);
    return wire_list_of(&writer, count);
}

static struct lab_answer *begin(struct lab_client *client, const struct lab_file *file)
{
    uint8_t bytes[LIST_BYTES];
    return submit(client, reopen, .handles = list_of(bytes, &file, 1));
}

/* How many of them are lost, each of which has its bit in *lost; or the error. */
static int reopen_list(struct lab_client *client, const struct lab_file *const *files, uint32_t count,
                       uint64_t *lost)
{
    uint8_t bytes[LIST_BYTES];
    struct lab_answer *answer = submit(client, reopen, .handles = list_of(bytes, files, count));
    struct wire_reopen_reply reply;
    lab_run();
    assert_true(answer->done);
    int result = answer->status;
    *lost = 0;
    if (result == 0) {
        decode_answer(answer, reopen_reply, &reply);
        struct wire_reader reader = wire_list_reader(&reply.lost);
        for (uint32_t i = 0; i < reply.lost.count; i++) {
            struct wire_number number;
            wire_get_number(&reader, &number);
            *lost |= UINT64_C(1) << number.value;
        }
        assert_ok(wire_read_all(&reader, "lost"));
        result = (int)reply.lost.count;
    }
    lab_answer_free(answer);
    return result;
}

/* 1: it is lost. */
static int reopen(struct lab_client *client, const struct lab_file *file)
{
    uint64_t lost;
    return reopen_list(client, &file, 1, &lost);
}

/* Out of touch for so long that the lease is over, and back. */
static void lose_lease(struct lab_client *client)
{
    lab_disconnect(client);
    lab_live(12000);
    lab_connect(client);
}

/* ---- sizes ------------------------------------------------------------------ */

static void what_is_written_after_the_lease_is_seen(void **state)
{
    (void)state;
    struct lab_file file;
    lab_open_written(&ann, "/f", 100, &file);
    lose_lease(&ann);
    assert_settled("/f", 100);
    assert_int_equal(rows(STORE_WRITERS), 0);
    fake_write(1, file.ino, 70000);
    assert_int_equal(exact_size("/f"), 100); /* nobody knows yet */
    assert_int_equal(reopen(&ann, &file), 0);
    assert_int_equal(reopens(), 1);
    assert_int_equal(exact_size("/f"), 70000);
    assert_int_equal(rows(STORE_WRITERS), 1);
    fake_write(1, file.ino, 80000);
    assert_int_equal(exact_size("/f"), 80000);
    lab_close_and_wait(&ann, &file, true);
    assert_settled("/f", 80000);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_null(opens_find(lab.service->opens, file.handle));
}

/* The client need not have written through it since: what it wrote may have come before. */
static void its_size_is_asked_for_even_if_it_says_that_nothing_was_written(void **state)
{
    (void)state;
    struct lab_file file;
    lab_open_written(&ann, "/f", 100, &file);
    lose_lease(&ann);
    fake_write(1, file.ino, 500);
    assert_int_equal(reopen(&ann, &file), 0);
    lab_close_and_wait(&ann, &file, false);
    assert_settled("/f", 500);
}

static void its_size_is_not_believed_when_told(void **state)
{
    (void)state;
    struct lab_file file, other;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    lose_lease(&ann);
    assert_int_equal(reopen(&ann, &file), 0);
    fake_write(0, file.ino, 3000); /* by ann, but not told */
    const struct wire_closing told = {.handle = file.handle, .wrote = 1, .told = 1, .end = 10, .bytes = 4096};
    assert_ok(lab_close(&ann, &told));
    lab_wait(50);
    assert_settled("/f", 3000);
    /* Nor of another one's handle who opened it meanwhile. */
    assert_ok(lab_open(&ann, "/g", NEW, &file));
    lose_lease(&ann);
    assert_ok(lab_open(&root, "/g", RW, &other));
    assert_int_equal(reopen(&ann, &file), 0);
    fake_write(0, file.ino, 5000);
    lab_close_and_wait(&ann, &file, true);
    const struct wire_closing others = {.handle = other.handle, .wrote = 1, .told = 1, .end = 10};
    assert_ok(lab_close(&root, &others));
    lab_wait(50);
    assert_settled("/g", 5000);
}

static void a_restart_knows_of_it(void **state)
{
    (void)state;
    struct lab_file file;
    lab_open_written(&ann, "/f", 100, &file);
    lose_lease(&ann);
    assert_int_equal(reopen(&ann, &file), 0);
    lab_restart();
    fake_write(1, file.ino, 900);
    assert_int_equal(exact_size("/f"), 900);
    lab_connect(&ann);
    assert_int_equal(reopen(&ann, &file), 0);
    assert_int_equal(reopens(), 0); /* it is there */
    lab_live(20000);
    lab_close_and_wait(&ann, &file, true);
    assert_settled("/f", 900);
    assert_int_equal(rows(STORE_WRITERS), 0);
}

static void what_was_lost_before_a_restart_is_open_after_it(void **state)
{
    (void)state;
    struct lab_file file;
    lab_open_written(&ann, "/f", 100, &file);
    lab_disconnect(&ann);
    lab_live(12000);
    lab_restart();
    fake_write(2, file.ino, 700);
    lab_connect(&ann);
    assert_int_equal(reopen(&ann, &file), 0);
    assert_int_equal(reopens(), 1);
    assert_int_equal(exact_size("/f"), 700);
    lab_close_and_wait(&ann, &file, true);
    assert_settled("/f", 700);
}

/* ---- what changes nothing --------------------------------------------------- */

static void what_is_open_is_left_alone(void **state)
{
    (void)state;
    struct lab_file file;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    lab_disconnect(&ann);
    lab_live(5000);
    lab_connect(&ann);
    const uint64_t commits = counter_get(&lab.service->turn.counters[TURN_COMMITS]);
    assert_int_equal(reopen(&ann, &file), 0);
    assert_int_equal(reopen(&ann, &file), 0);
    assert_int_equal(reopens(), 0);
    assert_int_equal(counter_get(&lab.service->turn.counters[TURN_COMMITS]), commits);
    /* So its close is still believed. */
    fake_write(0, file.ino, 50);
    lab.stats = 0;
    const struct wire_closing told = {.handle = file.handle, .wrote = 1, .told = 1, .end = 50};
    assert_ok(lab_close(&ann, &told));
    lab_wait(50);
    assert_settled("/f", 50);
    assert_int_equal(lab.stats, 0);
}

static void one_that_reads_changes_no_size(void **state)
{
    (void)state;
    struct lab_file made, file;
    lab_make(&ann, "/f", 100, &made);
    assert_ok(lab_open(&ann, "/f", WIRE_OPEN_READ, &file));
    lose_lease(&ann);
    assert_int_equal(reopen(&ann, &file), 0);
    assert_int_equal(reopens(), 1);
    assert_settled("/f", 100);
    assert_int_equal(rows(STORE_WRITERS), 0);
    /* It keeps the file. */
    assert_ok(ask(&root, unlink, .path = "/f"));
    lab_live(1000);
    assert_true(fake_object(0, file.ino)->exists);
    lab_close_and_wait(&ann, &file, false);
    lab_live(1000);
    assert_false(fake_object(0, file.ino)->exists);
}

static void a_small_file_stays_one(void **state)
{
    (void)state;
    struct opened file;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "abc"), 0);
    lose_lease(&ann);
    assert_int_equal(reopen(&ann, &file.file), 0);
    assert_int_equal(reopens(), 1);
    assert_non_null(opens_find(lab.service->opens, file.file.handle));
    assert_settled("/f", 3);
    assert_int_equal(rows(STORE_WRITERS), 0);
    /* When it spills, it is known who writes to it. */
    assert_false(spill(&ann, &file));
    assert_int_equal(rows(STORE_WRITERS), 1);
    fake_write(1, file.file.ino, 6000);
    assert_int_equal(exact_size("/f"), 6000);
    lab_close_and_wait(&ann, &file.file, true);
    assert_settled("/f", 6000);
}

static void one_that_has_spilled_meanwhile_is_noted(void **state)
{
    (void)state;
    struct opened file, other;
    open_file(&ann, "/f", NEW | SMALL, &file);
    lose_lease(&ann);
    open_file(&bob, "/f", RW, &other); /* does not ask for a small one */
    lab_close_and_wait(&bob, &other.file, true);
    assert_int_equal(reopen(&ann, &file.file), 0);
    assert_int_equal(rows(STORE_WRITERS), 1);
    fake_write(1, file.file.ino, 6000);
    assert_int_equal(exact_size("/f"), 6000);
}

/* ---- files that are gone ----------------------------------------------------- */

static void a_file_that_was_removed_is_lost(void **state)
{
    (void)state;
    struct lab_file file, kept;
    const struct lab_file *both[] = {&file, &kept};
    uint64_t lost;
    lab_open_written(&ann, "/f", 100, &file);
    lab_open_written(&ann, "/g", 100, &kept);
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lose_lease(&ann);
    assert_int_equal(reopen_list(&ann, both, 2, &lost), 1);
    assert_int_equal(lost, 1);
    assert_int_equal(reopens(), 1);
    assert_null(opens_find(lab.service->opens, file.handle));
    assert_int_equal(rows(STORE_WRITERS), 1);
}

static void one_without_a_name_stays_for_all_who_have_it(void **state)
{
    (void)state;
    struct lab_file mine, other;
    lab_open_written(&ann, "/f", 100, &mine);
    assert_ok(lab_open(&root, "/f", RW, &other));
    assert_ok(ask(&root, unlink, .path = "/f"));
    lose_lease(&ann);
    assert_int_equal(reopen(&ann, &mine), 0);
    lab_close_and_wait(&root, &other, true);
    lab_live(12000);
    assert_true(fake_object(0, mine.ino)->exists);
    lab_restart();
    lab_connect(&ann);
    lab_register_all();
    assert_int_equal(reopen(&ann, &mine), 0);
    lab_live(20000);
    assert_true(fake_object(0, mine.ino)->exists);
    lab_close_and_wait(&ann, &mine, true);
    lab_live(2000);
    assert_false(fake_object(0, mine.ino)->exists);
    assert_int_equal(rows(STORE_ORPHANS), 0);
}

/* The store does not know who has it open for reading: a restart keeps it for a lease, for who comes back. */
static void one_without_a_name_stays_for_a_reader_after_a_restart(void **state)
{
    (void)state;
    struct lab_file made, file;
    lab_make(&ann, "/f", 100, &made);
    assert_ok(lab_open(&ann, "/f", WIRE_OPEN_READ, &file));
    assert_ok(ask(&root, unlink, .path = "/f"));
    lab_restart();
    lab_connect(&ann);
    lab_register_all();
    assert_int_equal(reopen(&ann, &file), 0);
    assert_int_equal(reopens(), 1);
    lab_live(20000);
    assert_true(fake_object(0, file.ino)->exists);
    lab_close_and_wait(&ann, &file, false);
    lab_live(2000);
    assert_false(fake_object(0, file.ino)->exists);
    assert_int_equal(rows(STORE_ORPHANS), 0);
}

/* ---- what is undone ------------------------------------------------------------ */

/* Another request of the same transaction fails when it has begun to write: all is done again. */
static void what_is_undone_with_others_is_done_again(void **state)
{
    (void)state;
    struct lab_file file, other;
    lab_open_written(&ann, "/f", 100, &file);
    lab_open_written(&ann, "/g", 100, &other);
    lose_lease(&ann);
    const struct lab_file *both[] = {&file, &other};
    uint8_t bytes[LIST_BYTES];
    struct lab_answer *answer = submit(&ann, reopen, .handles = list_of(bytes, both, 2));
    struct store_txn *txn;
    assert_ok(store_begin(lab.world.store, true, &txn));
    struct ns ns = {.txn = txn, .opens = lab.service->opens};
    struct request request = {.service = lab.service, .from = &answer->request};
    assert_ok(wire_decode_reopen(answer->body, answer->request.body_length, &request.body.reopen));
    assert_ok(request_reopen(&request, &ns));
    assert_non_null(opens_find(lab.service->opens, file.handle));
    store_abort(txn);
    opens_rollback(lab.service->opens);
    free(request.reply);
    assert_null(opens_find(lab.service->opens, file.handle));
    lab_run();
    assert_answered(answer, 0);
    assert_int_equal(rows(STORE_WRITERS), 2);
    fake_write(0, file.ino, 400);
    assert_int_equal(exact_size("/f"), 400);
}

/* Who relies on what the file was is told first. Meanwhile its client may have connected anew, said all this
 * again, and closed the file: what waits here is not done any more. */
static void what_waits_while_its_connection_ends_is_not_done(void **state)
{
    (void)state;
    struct lab_file file;
    lab_open_written(&ann, "/f", 100, &file);
    lose_lease(&ann);
    for (unsigned i = 0; i < 10; i++) /* so that it is given */
        assert_ok(ask(&bob, stat, .path = "/f", .flags = WIRE_STAT_DELEGATE));
    const uint64_t waits = counter_get(&lab.service->delegations.counters[DELEG_WAITS]);
    struct lab_answer *first = begin(&ann, &file);
    lab_run();
    assert_false(first->done);
    assert_true(counter_get(&lab.service->delegations.counters[DELEG_WAITS]) > waits);
    lab_disconnect(&ann);
    lab_connect(&ann);
    struct lab_answer *second = begin(&ann, &file);
    lab_run();
    assert_false(second->done);
    lab_live(LIMITS_DELEGATION_MS + 100);
    assert_answered(first, -ECANCELED);
    assert_answered(second, 0);
    assert_int_equal(reopens(), 1);
    lab_close_and_wait(&ann, &file, true);
    assert_null(opens_find(lab.service->opens, file.handle));
}

/* ---- what makes no sense --------------------------------------------------------- */

static void what_was_never_theirs_is_lost(void **state)
{
    (void)state;
    struct lab_file file, other, wrong;
    uint64_t lost;
    lab_open_written(&ann, "/f", 100, &file);
    assert_ok(lab_open(&bob, "/g", NEW, &other));
    const uint64_t commits = counter_get(&lab.service->turn.counters[TURN_COMMITS]);
    assert_int_equal(reopen(&bob, &file), 1); /* another's */
    wrong = file;
    wrong.capability = other.capability; /* of another file */
    assert_int_equal(reopen(&ann, &wrong), 1);
    assert_int_equal(counter_get(&lab.service->turn.counters[TURN_COMMITS]), commits);
    wrong = file;
    wrong.handle = file.handle + 1000; /* never given out */
    assert_int_equal(reopen(&ann, &wrong), 1);
    wrong.handle = 0;
    assert_int_equal(reopen(&ann, &wrong), 1);
    /* One number for two files: the first one has it. */
    struct lab_file twice = other;
    twice.handle = file.handle;
    const struct lab_file *both[] = {&file, &twice, &file};
    lose_lease(&ann);
    assert_int_equal(reopen_list(&ann, both, 3, &lost), 1);
    assert_int_equal(lost, 2);
    assert_int_equal(reopens(), 1);
    assert_int_equal(rows(STORE_WRITERS), 2);
}

static void forged_and_broken_ones_are_refused_as_a_whole(void **state)
{
    (void)state;
    struct lab_file file, forged;
    uint8_t bytes[LIST_BYTES];
    uint64_t lost;
    lab_open_written(&ann, "/f", 100, &file);
    lose_lease(&ann);
    forged = file;
    forged.capability.ino++;
    const struct lab_file *both[] = {&file, &forged};
    assert_int_equal(reopen_list(&ann, both, 2, &lost), -EACCES);
    forged = file;
    forged.capability.access = 0;
    capability_sign(lab.conf.key, &forged.capability); /* as a stat gives it */
    assert_int_equal(reopen_list(&ann, both, 2, &lost), -EACCES);
    const struct lab_file *one[] = {&file};
    struct wire_list list = list_of(bytes, one, 1);
    list.encoded.length--;
    assert_result(ask(&ann, reopen, .handles = list), -EBADMSG);
    list.encoded.length++;
    list.count = 2;
    assert_result(ask(&ann, reopen, .handles = list), -EBADMSG);
    list.count = 0;
    assert_result(ask(&ann, reopen, .handles = list), -EBADMSG);
    assert_result(ask(&storage[0], reopen, .handles = list_of(bytes, one, 1)), -EPERM);
    assert_ok(ask(&ann, reopen));
    assert_int_equal(reopens(), 0);
    assert_null(opens_find(lab.service->opens, file.handle));
    assert_int_equal(rows(STORE_WRITERS), 0);
}

static void as_many_as_one_names_fit_the_header(void **state)
{
    (void)state;
    static struct lab_file files[LIMITS_REOPENS_MAX];
    const struct lab_file *all[LIMITS_REOPENS_MAX];
    uint64_t lost;
    char path[16];
    for (uint32_t i = 0; i < LIMITS_REOPENS_MAX; i++) {
        snprintf(path, sizeof path, "/f%u", i);
        assert_ok(lab_open(&ann, path, NEW, &files[i]));
        all[i] = &files[i];
    }
    lose_lease(&ann);
    assert_int_equal(reopen_list(&ann, all, LIMITS_REOPENS_MAX, &lost), 0);
    assert_int_equal(reopens(), LIMITS_REOPENS_MAX);
    assert_int_equal(rows(STORE_WRITERS), LIMITS_REOPENS_MAX);
    uint8_t bytes[LIST_BYTES], body[LIMITS_BODY_INLINE_MAX];
    const struct wire_reopen full = {.handles = list_of(bytes, all, LIMITS_REOPENS_MAX)};
    assert_true(wire_encode_reopen(body, sizeof body, &full) > 0);
}

static void its_shared_pointer_is_lost(void **state)
{
    (void)state;
    struct lab_file file;
    assert_ok(lab_open(&ann, "/f", NEW, &file));
    assert_ok(ask(&ann, pointer, .handle = file.handle, .capability = file.capability, .value = 10));
    lose_lease(&ann);
    assert_int_equal(reopen(&ann, &file), 0);
    assert_result(ask(&ann, pointer, .handle = file.handle, .capability = file.capability, .value = 1),
                  -EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        lab_test(what_is_written_after_the_lease_is_seen),
        lab_test(its_size_is_asked_for_even_if_it_says_that_nothing_was_written),
        lab_test(its_size_is_not_believed_when_told),
        lab_test(a_restart_knows_of_it),
        lab_test(what_was_lost_before_a_restart_is_open_after_it),
        lab_test(what_is_open_is_left_alone),
        lab_test(one_that_reads_changes_no_size),
        small_test(a_small_file_stays_one),
        small_test(one_that_has_spilled_meanwhile_is_noted),
        lab_test(a_file_that_was_removed_is_lost),
        lab_test(one_without_a_name_stays_for_all_who_have_it),
        lab_test(one_without_a_name_stays_for_a_reader_after_a_restart),
        lab_test(what_is_undone_with_others_is_done_again),
        lab_test(what_waits_while_its_connection_ends_is_not_done),
        lab_test(what_was_never_theirs_is_lost),
        lab_test(forged_and_broken_ones_are_refused_as_a_whole),
        lab_test(as_many_as_one_names_fit_the_header),
        lab_test(its_shared_pointer_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
