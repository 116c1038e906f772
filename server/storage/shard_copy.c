/* SPDX-License-Identifier: Apache-2.0 */
/* shard_copy.c: what the leader of our groups asks for when it brings us up to date (lead_sync.c). */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

#include "err.h"
#include "shard.h"

enum { DIGEST_BYTES = 32, REPLY_BYTES = 64 };

/* Ends with a body of that length, or with the error. */
static void answer(struct shard_io *io, ssize_t length)
{
    if (length < 0)
        shard_io_fail(io, (int)length);
    else
        io->body_length = (size_t)length;
    shard_io_end(io, 0);
}

/* ---- list -------------------------------------------------------------------------- */

static struct store *listed_store(const struct shard_io *io)
{
    const int index = shard_target_index(io->shard->server, io->list.target);
    return index >= 0 ? io->shard->stores[index] : NULL;
}

/* Objects of other groups are the leader's to pass over: it knows what it leads as well as we do. */
static int put_objects(struct shard_io *io, struct store *store, struct wire_writer *writer, uint32_t *count,
                       uint8_t *end)
{
    struct store_object object = {.ino = io->list.ino, .position = io->list.position};
    int error = 0;
    while (*count < LIMITS_COPY_OBJECTS_MAX && (error = store->type->next(store, &object)) == 0) {
        wire_put_copy_object(
            writer, &(struct wire_copy_object){.ino = object.ino,
                                               .position = object.position,
                                               .layout = {.chunk_size = object.layout.chunk_size,
                                                          .seed = object.layout.seed,
                                                          .stripe_count = object.layout.stripe_count,
                                                          .group_count = object.layout.group_count}});
        ++*count;
    }
    *end = error == -ENOENT;
    return error == -ENOENT ? 0 : error;
}

void shard_copy_list(struct shard_io *io)
{
    enum { OBJECT_BYTES = 48, LIST_BYTES = LIMITS_COPY_OBJECTS_MAX * OBJECT_BYTES };
    struct wire_copy_list_reply reply = {0};
    struct store *store = listed_store(io);
    uint32_t count = 0;
    uint8_t *list = malloc(LIST_BYTES);
    io->body = malloc(LIST_BYTES + REPLY_BYTES);
    int error = list && io->body ? 0 : err_set(-ENOMEM, "no memory for a list of objects");
    if (!error && !store)
        error = err_set(-EINVAL, "target %u is not served here", io->list.target);
    struct wire_writer writer = wire_writer_on(list, LIST_BYTES);
    if (!error)
        error = put_objects(io, store, &writer, &count, &reply.end);
    reply.objects = wire_list_of(&writer, count);
    if (error)
        answer(io, error);
    else
        answer(io, wire_encode_copy_list_reply(io->body, LIST_BYTES + REPLY_BYTES, &reply));
    /* The answer has been encoded; nothing points to it. */
    free(list);
}

/* ---- digest ------------------------------------------------------------------------- */

static void digest_read(struct shard_io *io, ssize_t got)
{
    uint8_t digest[DIGEST_BYTES];
    struct shard_run *run = &io->runs[0];
    struct store *store = io->shard->stores[run->target];
    struct store_object object = shard_object_of(io, run);
    struct store_stat stat;
    int error = got < 0 ? (int)got : store->type->stat(store, &object, &stat);
    io->body = malloc(REPLY_BYTES);
    if (!error && !io->body)
        error = err_set(-ENOMEM, "no memory for an answer");
    if (error) {
        answer(io, error);
        return;
    }
    crypto_generichash(digest, sizeof digest, io->buffer, (size_t)got, NULL, 0);
    struct wire_copy_digest_reply reply = {.length = stat.length,
                                           .digest = {.data = digest, .length = sizeof digest}};
    answer(io, wire_encode_copy_digest_reply(io->body, REPLY_BYTES, &reply));
}

static void digest_done(struct store_op *op, ssize_t status)
{
    digest_read(op->arg, status);
}

void shard_read_object(struct shard_io *io, void (*done)(struct store_op *op, ssize_t status),
                       void (*done_here)(struct shard_io *io, ssize_t got))
{
    struct shard_run *run = &io->runs[0];
    struct store *store = io->shard->stores[run->target];
    struct store_object object = shard_object_of(io, run);
    size_t count = 0;
    run->op = (struct store_op){.done = done, .arg = io};
    int result = store->type->read(store, &object, io->offset, io->buffer, io->bytes, &count, &run->op);
    if (result != STORE_PENDING)
        done_here(io, result ? result : (ssize_t)count);
}

static void digest_begin(struct bufpool_waiter *waiter, void *buffer)
{
    struct shard_io *io = list_item(waiter, struct shard_io, waiter);
    io->buffer = buffer;
    shard_read_object(io, digest_done, digest_read);
}

void shard_copy_digest(struct shard_io *io)
{
    shard_buffer_wait(io, digest_begin);
}

/* ---- fetch ------------------------------------------------------------------------------ */

static void fetch_read(struct shard_io *io, ssize_t got)
{
    if (got < 0)
        shard_io_store_failed(io, (int)got);
    shard_io_end(io, got > 0 ? (size_t)got : 0);
}

static void fetch_done(struct store_op *op, ssize_t status)
{
    fetch_read(op->arg, status);
}

static void fetch_begin(struct bufpool_waiter *waiter, void *buffer)
{
    struct shard_io *io = list_item(waiter, struct shard_io, waiter);
    io->buffer = buffer;
    shard_read_object(io, fetch_done, fetch_read);
}

void shard_copy_fetch(struct shard_io *io)
{
    shard_buffer_wait(io, fetch_begin);
}

/* ---- cut and settle -------------------------------------------------------------------- */

static void op_done(struct store_op *op, ssize_t status)
{
    struct shard_io *io = op->arg;
    if (status < 0)
        shard_io_store_failed(io, (int)status);
    if (--io->pending == 0)
        shard_io_end(io, 0);
}

static void note(struct shard_io *io, int result)
{
    if (result == STORE_PENDING)
        io->pending++;
    else if (result)
        shard_io_store_failed(io, result);
}

void shard_copy_cut(struct shard_io *io)
{
    struct shard_run *run = &io->runs[0];
    struct store *store = io->shard->stores[run->target];
    struct store_object object = shard_object_of(io, run);
    run->op = (struct store_op){.done = op_done, .arg = io};
    shard_io_changes(io);
    io->pending = 1;
    note(io, io->is_gone ? store->type->remove(store, &object, &run->op)
                         : store->type->truncate(store, &object, io->size, &run->op));
    if (--io->pending == 0)
        shard_io_end(io, 0);
}

void shard_copy_settle(struct shard_io *io)
{
    const uint32_t count = io->shard->server->target_count;
    io->run_count = count;
    int error = shard_runs_make(io);
    if (error) {
        io->run_count = 0;
        answer(io, error);
        return;
    }
    io->pending = 1;
    for (uint32_t i = 0; i < count; i++) {
        struct store *store = io->shard->stores[i];
        io->runs[i] = (struct shard_run){.op = {.done = op_done, .arg = io}};
        note(io, store->type->settle ? store->type->settle(store, io->hurry, &io->runs[i].op) : 0);
    }
    if (--io->pending == 0)
        shard_io_end(io, 0);
}
