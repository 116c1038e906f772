/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files (metadata/small.h): what is in them, leases on that, and how they spill: to the right place,
 * durable there before the inode says so, seen by those who had them open before, and with nothing left
 * behind by a try that failed.
 */
#include "meta_service.h"

enum { SMALL = WIRE_OPEN_SMALL, LIMIT = 4000, LEASE_MS = 5 };

static int setup(void **state)
{
    (void)state;
    lab_open_empty(WORLD_STORE_BYTES);
    lab.conf.small_file = LIMIT;
    lab_register_all();
    assert_ok(ask(&root, setattr, .path = "/", .mask = WIRE_SETATTR_MODE, .mode = 0777));
    lab_jump(LEASE_MS + 1); /* what an earlier server may have promised is over */
    lab.calls_made = 0;
    return 0;
}

/* ---- what clients do ------------------------------------------------------------ */

struct opened {
    struct lab_file file;
    uint32_t small_max, lease_us, length;
    uint8_t data[LIMITS_SMALL_BYTES_MAX];
};

static void opened_take(const struct lab_answer *answer, struct opened *opened)
{
    struct wire_open_reply reply;
    decode_answer(answer, open_reply, &reply);
    opened->file = (struct lab_file){.handle = reply.handle,
                                     .ino = reply.attr.ino,
                                     .created = reply.created,
                                     .capability = reply.capability,
                                     .attr = reply.attr};
    opened->small_max = reply.small_max;
    opened->lease_us = reply.small.lease_us;
    opened->length = reply.small.data.length;
    memcpy(opened->data, reply.small.data.data, opened->length);
}

static void open_file(struct lab_client *client, const char *path, uint32_t flags, struct opened *opened)
{
    struct lab_answer *answer = submit(client, open, .path = path, .flags = flags, .mode = 0666);
    lab_run();
    opened_take(answer, opened);
    lab_answer_free(answer);
}

static struct lab_answer *write_begin(struct lab_client *client, const struct opened *opened, uint32_t offset,
                                      const char *text)
{
    uint8_t pieces[16];
    struct wire_writer writer = wire_writer_on(pieces, sizeof pieces);
    uint32_t length = (uint32_t)strlen(text);
    wire_put_small_piece(&writer, &(struct wire_small_piece){.offset = offset, .length = length});
    return submit(client, small_write, .capability = opened->file.capability, .handle = opened->file.handle,
                  .pieces = wire_list_of(&writer, 1),
                  .data = {.data = (const uint8_t *)text, .length = length});
}

/* 0: it was written; 1: the file has spilled. */
static int write_end(struct lab_answer *answer)
{
    struct wire_small_write_reply reply;
    decode_answer(answer, small_write_reply, &reply);
    lab_answer_free(answer);
    return reply.spilled;
}

static int write_text(struct lab_client *client, const struct opened *opened, uint32_t offset,
                      const char *text)
{
    struct lab_answer *answer = write_begin(client, opened, offset, text);
    lab_run();
    return write_end(answer);
}

static void assert_reads(struct lab_client *client, const struct opened *opened, const void *bytes,
                         uint32_t length)
{
    struct wire_small_read_reply reply;
    struct lab_answer *answer =
        submit(client, small_read, .capability = opened->file.capability, .handle = 0);
    lab_run();
    decode_answer(answer, small_read_reply, &reply);
    assert_int_equal(reply.spilled, 0);
    assert_int_equal(reply.small.data.length, length);
    assert_memory_equal(reply.small.data.data, bytes, length);
    lab_answer_free(answer);
}

/* Whether this one alone has it open for writing, and it is empty. */
static bool spill(struct lab_client *client, const struct opened *opened)
{
    struct wire_spill_reply reply;
    struct lab_answer *answer =
        submit(client, spill, .capability = opened->file.capability, .handle = opened->file.handle);
    lab_run();
    decode_answer(answer, spill_reply, &reply);
    lab_answer_free(answer);
    return reply.sole;
}

static void close_file(struct lab_client *client, const struct opened *opened)
{
    assert_ok(lab_close_file(client, &opened->file, false));
    lab_wait(50);
}

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
    close_file(&ann, &file);
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
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "0123456789"), 0);
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 4));
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 6));
    assert_reads(&ann, &file, "0123\0\0", 6);
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 5, .grow_only = 1));
    assert_int_equal(look("/f").size, 6);
    close_file(&ann, &file);
    open_file(&ann, "/f", RW | WIRE_OPEN_TRUNCATE | SMALL, &file);
    assert_int_equal(look("/f").size, 0);
    assert_int_equal(rows(STORE_SMALL), 0);
    assert_int_equal(lab.calls_made, 0);
}

static void the_end_leaves_nothing(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "x"), 0);
    close_file(&ann, &file);
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
    close_file(&bob, &writer);
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
    close_file(&bob, &writer);
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
    assert_true(answer->done);
    lab_answer_free(answer);
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

/* ---- spilling -------------------------------------------------------------------------- */

static void an_empty_one_spills_at_once(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_true(spill(&ann, &file));
    assert_int_equal(lab.calls_made, 0);
    assert_int_equal(rows(STORE_WRITERS), 1);
    assert_int_equal(look("/f").size_open, 1);
    /* Its only writer may tell what he has written. */
    fake_write(1, file.file.ino, 5000);
    assert_ok(lab_close(&ann, &(struct wire_closing){.handle = file.file.handle,
                                                     .wrote = 1,
                                                     .told = 1,
                                                     .end = 5000,
                                                     .bytes = 8192,
                                                     .mtime_ns = lab.realtime_ns}));
    lab_wait(50);
    assert_int_equal(look("/f").size, 5000);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(lab.stats, 0);
}

static void bytes_go_with_it(void **state)
{
    struct opened file, second, third;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    open_file(&bob, "/f", RW | SMALL, &second);
    assert_int_equal(write_text(&ann, &file, 0, "to be moved"), 0);
    int64_t mtime_ns = look("/f").mtime_ns;
    lab_jump(3);
    open_file(&root, "/f", RW, &third); /* does not ask for a small one */
    assert_int_equal(third.small_max, 0);
    assert_int_equal(lab.writes, 1);
    assert_int_equal(lab.syncs, 1);
    assert_memory_equal(lab.written, "to be moved", 11);
    assert_int_equal(exact_size("/f"), 11);
    assert_int_equal(look("/f").mtime_ns, mtime_ns);
    assert_int_equal(rows(STORE_SMALL), 0);
    assert_int_equal(rows(STORE_WRITERS), 3);
    assert_int_equal(write_text(&bob, &second, 0, "late"), 1);
    assert_false(spill(&ann, &file));
    assert_int_equal(lab.writes, 1);
    close_file(&ann, &file);
    close_file(&bob, &second);
    close_file(&root, &third);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(look("/f").size, 11);
    assert_int_equal(look("/f").mtime_ns, mtime_ns);
    assert_ok(ask(&root, unlink, .path = "/f"));
    lab_live(15000);
    for (uint32_t i = 0; i < SERVERS; i++)
        assert_false(fake_object(i, file.file.ino)->exists);
}

/* Steps of a spill, one at a time. */
static void answer_step(unsigned writes, unsigned syncs)
{
    fake_answer_all();
    lab_run();
    assert_int_equal(lab.writes, writes);
    assert_int_equal(lab.syncs, syncs);
}

static void lose(uint32_t server)
{
    char name[8];
    snprintf(name, sizeof name, "s%u", server);
    lab_losses[server]++;
    assert_ok(lab_register(&storage[server], name, 1, &server, 1, (uint16_t)(7500 + 10 * server)));
}

/* A host with a part of it that crashes has lost it, whatever its sync says. */
static void what_a_crash_takes_is_written_again(void **state)
{
    struct opened file;
    struct wire_spill_reply reply;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "0123456789"), 0);
    lab.answers = false;
    struct lab_answer *answer =
        submit(&ann, spill, .capability = file.file.capability, .handle = file.file.handle);
    lab_run();
    answer_step(1, 0);
    for (uint32_t i = 0; i < SERVERS; i++)
        lose(i);
    answer_step(1, 1);
    answer_step(2, 1);
    assert_false(answer->done);
    answer_step(2, 2);
    decode_answer(answer, spill_reply, &reply);
    lab_answer_free(answer);
    lab.answers = true;
    assert_int_equal(exact_size("/f"), 10);
}

/* Its request was refused since it named a map of before the crash: it is made again. */
static void a_refusal_for_an_old_map_is_no_failure(void **state)
{
    struct opened file;
    struct wire_spill_reply reply;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "0123456789"), 0);
    lab.answers = false;
    struct lab_answer *answer =
        submit(&ann, spill, .capability = file.file.capability, .handle = file.file.handle);
    lab_run();
    for (uint32_t i = 0; i < SERVERS; i++) {
        lose(i);
        lab.server_error[i] = -ESTALE;
    }
    /* Not from inside the answer: the connection that it came by may have to be given up. */
    const unsigned made = lab.calls_made;
    fake_answer_all();
    assert_int_equal(lab.calls_made, made);
    lab_run();
    assert_true(lab.calls_made > made);
    memset(lab.server_error, 0, sizeof lab.server_error);
    assert_false(answer->done);
    answer_step(1, 0);
    answer_step(1, 1);
    decode_answer(answer, spill_reply, &reply);
    lab_answer_free(answer);
    /* When no newer map explains it, it is told. */
    lab.answers = true;
    open_file(&ann, "/g", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "0123456789"), 0);
    for (uint32_t i = 0; i < SERVERS; i++)
        lab.server_error[i] = -ESTALE;
    assert_result(ask(&ann, spill, .capability = file.file.capability, .handle = file.file.handle), -ESTALE);
    memset(lab.server_error, 0, sizeof lab.server_error);
}

static void nothing_changes_it_on_the_way(void **state)
{
    struct opened file, reader;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "before"), 0);
    lab.answers = false;
    struct lab_answer *growing = submit(&ann, truncate, .path = "/f", .size = 100000);
    lab_run();
    struct lab_answer *writing = write_begin(&ann, &file, 0, "behind");
    lab_run();
    assert_false(writing->done);
    assert_reads(&bob, &file, "before", 6); /* reading goes on */
    lab.answers = true;
    lab_run();
    assert_true(growing->done);
    assert_int_equal(growing->status, 0);
    lab_answer_free(growing);
    assert_int_equal(write_end(writing), 1);
    assert_memory_equal(lab.written, "before", 6);
    assert_int_equal(exact_size("/f"), 100000);
    open_file(&bob, "/f", WIRE_OPEN_READ | SMALL, &reader);
    assert_int_equal(reader.small_max, 0);
}

static void a_try_that_failed_is_cut_away(void **state)
{
    struct opened file;
    struct wire_spill_reply reply;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "0123456789"), 0);
    for (int i = 0; i < SERVERS; i++)
        lab.server_error[i] = -EIO;
    struct lab_answer *answer =
        submit(&ann, spill, .capability = file.file.capability, .handle = file.file.handle);
    lab_run();
    assert_true(answer->done);
    assert_int_equal(answer->status, -EIO);
    lab_answer_free(answer);
    /* It is a small one still, of which something may lie there. */
    assert_int_equal(write_text(&ann, &file, 0, "X"), 0);
    assert_ok(ask(&ann, truncate, .path = "/f", .size = 3));
    fake_write(0, file.file.ino, 10);
    for (int i = 0; i < SERVERS; i++)
        lab.server_error[i] = 0;
    answer = submit(&ann, spill, .capability = file.file.capability, .handle = file.file.handle);
    lab_run();
    decode_answer(answer, spill_reply, &reply);
    lab_answer_free(answer);
    assert_int_equal(lab.truncates, SERVERS);
    assert_memory_equal(lab.written, "X12", 3);
    assert_int_equal(exact_size("/f"), 3);
}

static void a_try_that_failed_is_removed_with_the_file(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "0123456789"), 0);
    lab.answers = false;
    struct lab_answer *answer =
        submit(&ann, spill, .capability = file.file.capability, .handle = file.file.handle);
    lab_run();
    fake_write(2, file.file.ino, 10);
    lab_restart(); /* in the middle of it */
    lab_answer_free(answer);
    lab.answers = true;
    lab_register_all();
    lab_connect(&root);
    assert_int_equal(look("/f").size, 10);
    assert_reads(&bob, &file, "0123456789", 10);
    assert_ok(ask(&root, unlink, .path = "/f"));
    lab_live(15000);
    assert_false(fake_object(2, file.file.ino)->exists);
    assert_int_equal(rows(STORE_REMOVALS), 0);
}

/* ---- who has it open ------------------------------------------------------------------- */

static void the_last_close_during_a_spill_settles_the_size(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "0123456789"), 0);
    lab.answers = false;
    struct lab_answer *answer = submit(&root, open, .path = "/f", .flags = WIRE_OPEN_READ);
    lab_run();
    assert_ok(lab_close_file(&ann, &file.file, false));
    lab.answers = true;
    lab_run();
    assert_true(answer->done);
    assert_int_equal(answer->status, 0);
    lab_answer_free(answer);
    lab_live(1000);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(look("/f").size, 10);
}

static void a_file_without_a_name_lives_on_for_its_writer(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "kept"), 0);
    assert_ok(ask(&ann, unlink, .path = "/f"));
    lab_restart();
    lab_connect(&ann);
    lab_register_all();
    lab_live(12000);
    assert_reads(&ann, &file, "kept", 4);
    assert_ok(lab_close_file(&ann, &file.file, false));
    lab_wait(50);
    assert_int_equal(rows(STORE_SMALL), 0);
    assert_int_equal(rows(STORE_ORPHANS), 0);
    assert_int_equal(rows(STORE_WRITERS), 0);
}

static void a_name_that_goes_during_a_spill_ends_the_file(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "0123456789"), 0);
    lab.answers = false;
    struct lab_answer *answer =
        submit(&ann, spill, .capability = file.file.capability, .handle = file.file.handle);
    lab_run();
    assert_ok(ask(&ann, unlink, .path = "/f"));
    assert_ok(lab_close_file(&ann, &file.file, false));
    lab.answers = true;
    lab_run();
    assert_true(answer->done);
    lab_answer_free(answer);
    lab_live(15000);
    assert_int_equal(rows(STORE_ORPHANS), 0);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(rows(STORE_REMOVALS), 0);
    for (uint32_t i = 0; i < SERVERS; i++)
        assert_false(fake_object(i, file.file.ino)->exists);
}

static void a_handle_of_an_earlier_server_joins(void **state)
{
    struct opened file, other;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    lab_restart();
    lab_connect(&ann);
    lab_connect(&root);
    lab_register_all();
    lab_jump(LEASE_MS);
    open_file(&root, "/f", RW, &other);
    close_file(&root, &other);
    assert_int_equal(look("/f").size_open, 0);
    assert_int_equal(write_text(&ann, &file, 0, "late"), 1);
    assert_int_equal(look("/f").size_open, 1); /* it is about to write */
    fake_write(0, file.file.ino, 4);
    assert_ok(lab_close_file(&ann, &file.file, true));
    lab_live(1000);
    assert_int_equal(look("/f").size, 4);
    assert_int_equal(look("/f").size_open, 0);
}

/* Its client was out of touch for longer than its lease, and does not know that. */
static void a_handle_that_was_given_up_joins(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    lab_disconnect(&ann);
    lab_live(12000);
    lab_connect(&ann);
    assert_false(spill(&ann, &file));
    assert_int_equal(look("/f").size_open, 1);
    assert_int_equal(rows(STORE_WRITERS), 1);
    assert_ok(lab_close_file(&ann, &file.file, false));
    lab_live(1000);
    assert_int_equal(rows(STORE_WRITERS), 0);
}

static void one_that_spills_the_file_itself_joins_too(void **state)
{
    struct opened file;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    lab_restart();
    lab_connect(&ann);
    lab_connect(&root);
    lab_register_all();
    lab_jump(LEASE_MS);
    assert_false(spill(&ann, &file));
    assert_int_equal(look("/f").size_open, 1);
    assert_int_equal(rows(STORE_WRITERS), 1);
}

static void its_shared_pointer_outlives_a_restart(void **state)
{
    struct opened file;
    struct wire_pointer_reply reply;
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_ok(ask(&ann, pointer, .handle = file.file.handle, .capability = file.file.capability,
                  .value = 59));
    lab_restart();
    lab_connect(&ann);
    struct lab_answer *answer =
        submit(&ann, pointer, .handle = file.file.handle, .capability = file.file.capability, .value = 1);
    lab_run();
    decode_answer(answer, pointer_reply, &reply);
    assert_int_equal(reply.before, 59);
    lab_answer_free(answer);
    assert_ok(lab_close_file(&ann, &file.file, false));
    lab_wait(50);
    assert_int_equal(rows(STORE_WRITERS), 0);
    assert_int_equal(rows(STORE_POINTERS), 0);
}

static void damage_is_told(void **state)
{
    struct opened file;
    struct store_txn *txn;
    uint8_t key[8];
    (void)state;
    open_file(&ann, "/f", NEW | SMALL, &file);
    assert_int_equal(write_text(&ann, &file, 0, "0123456789"), 0);
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
        cmocka_unit_test_setup_teardown(bytes_are_in_the_store, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(sizes_change, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(the_end_leaves_nothing, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(who_wants_a_layout_gets_no_small_file, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(a_lease_keeps_others_from_writing, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(one_is_given_back_with_the_file, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(ones_own_is_no_obstacle_to_writing, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(nobody_gets_one_while_others_write, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(a_new_server_waits_for_those_of_the_old_one, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(an_empty_one_spills_at_once, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(bytes_go_with_it, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(nothing_changes_it_on_the_way, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(a_try_that_failed_is_cut_away, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(a_try_that_failed_is_removed_with_the_file, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(what_a_crash_takes_is_written_again, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(a_refusal_for_an_old_map_is_no_failure, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(the_last_close_during_a_spill_settles_the_size, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(a_file_without_a_name_lives_on_for_its_writer, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(a_name_that_goes_during_a_spill_ends_the_file, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(a_handle_of_an_earlier_server_joins, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(a_handle_that_was_given_up_joins, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(one_that_spills_the_file_itself_joins_too, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(its_shared_pointer_outlives_a_restart, setup, lab_teardown),
        cmocka_unit_test_setup_teardown(damage_is_told, setup, lab_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
