/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "shard.h"

/* One counter takes so much at most in an answer: list item with a name of 63 bytes. */
enum { COUNTER_BYTES_MAX = 4 + 64 + 8, COUNTERS_REPLY_MAX = 1024 };

/* ---- something with each object of the file ----------------------------- */

static void object_done(struct store_op *op, ssize_t status)
{
    struct shard_io *io = op->arg;
    if (status < 0)
        shard_io_store_failed(io, (int)status);
    if (--io->pending == 0)
        shard_io_end(io, 0);
}

/* Calls `start` for each object, goes on after an error, and answers when all are done. */
static void with_objects(struct shard_io *io,
                         int (*start)(struct shard_io *io, struct store *store,
                                      const struct store_object *object, struct shard_run *run))
{
    int error = shard_find_objects(io);
    if (error)
        shard_io_fail(io, error);
    io->pending = 1;
    for (uint32_t i = 0; i < io->run_count && !error; i++) {
        struct shard_run *run = &io->runs[i];
        struct store_object object = shard_object_of(io, run);
        run->op = (struct store_op){.done = object_done, .arg = io};
        int result = start(io, io->shard->stores[run->target], &object, run);
        if (result == STORE_PENDING)
            io->pending++;
        else if (result)
            shard_io_store_failed(io, result);
    }
    if (--io->pending == 0)
        shard_io_end(io, 0);
}

static int sync_start(struct shard_io *io, struct store *store, const struct store_object *object,
                      struct shard_run *run)
{
    (void)io;
    return store->type->sync(store, object, &run->op);
}

void shard_sync(struct shard_io *io)
{
    shard_counter_add(io->shard, SHARD_SYNCS, 1);
    with_objects(io, sync_start);
}

static int remove_start(struct shard_io *io, struct store *store, const struct store_object *object,
                        struct shard_run *run)
{
    (void)io;
    return store->type->remove(store, object, &run->op);
}

void shard_object_remove(struct shard_io *io)
{
    with_objects(io, remove_start);
}

static struct layout_part part_of(const struct shard_io *io, const struct store_object *object)
{
    return (struct layout_part){
        .position = object->position,
        .shard = io->shard->index,
        .shard_count = io->shard->server->shard_count,
    };
}

/* What lies behind the new size is cut off. Of a file that grows only the part
 * with its last byte is lengthened: that makes the size, the rest are holes. */
static int truncate_start(struct shard_io *io, struct store *store, const struct store_object *object,
                          struct shard_run *run)
{
    struct layout_part part = part_of(io, object);
    uint64_t wanted = layout_part_length(&io->layout, &part, io->size);
    struct store_stat stat;
    int error = store->type->stat(store, object, &stat);
    if (error)
        return error;
    if (stat.length > wanted && io->grow_only)
        return 0;
    if (stat.length < wanted && layout_part_end(&io->layout, &part, wanted) != io->size)
        return 0;
    return stat.length == wanted ? 0 : store->type->truncate(store, object, wanted, &run->op);
}

void shard_object_truncate(struct shard_io *io)
{
    with_objects(io, truncate_start);
}

/* ---- stat --------------------------------------------------------------- */

static int stat_objects(struct shard_io *io, struct wire_object_stat_reply *reply)
{
    int error = shard_find_objects(io);
    for (uint32_t i = 0; i < io->run_count && !error; i++) {
        struct store_object object = shard_object_of(io, &io->runs[i]);
        struct store *store = io->shard->stores[io->runs[i].target];
        struct layout_part part = part_of(io, &object);
        struct store_stat stat;
        error = store->type->stat(store, &object, &stat);
        if (error)
            break;
        uint64_t end = layout_part_end(&io->layout, &part, stat.length);
        reply->end = end > reply->end ? end : reply->end;
        reply->mtime_ns = stat.mtime_ns > reply->mtime_ns ? stat.mtime_ns : reply->mtime_ns;
        reply->bytes += stat.bytes;
    }
    return error;
}

enum { STAT_REPLY_SIZE = 64 };

void shard_object_tell(struct shard_io *io)
{
    struct wire_object_stat_reply reply = {0};
    if (io->runs != io->few) /* not worth it: such a write is large */
        return;
    if (stat_objects(io, &reply))
        return;
    io->body = malloc(STAT_REPLY_SIZE);
    ssize_t length = io->body ? wire_encode_object_stat_reply(io->body, STAT_REPLY_SIZE, &reply) : 0;
    io->body_length = length > 0 ? (size_t)length : 0;
}

static void answer(struct shard_io *io, ssize_t length)
{
    if (length < 0)
        shard_io_fail(io, (int)length);
    else
        io->body_length = (size_t)length;
    shard_io_end(io, 0);
}

void shard_object_stat(struct shard_io *io)
{
    struct wire_object_stat_reply reply = {0};
    int error = stat_objects(io, &reply);
    if (error) {
        shard_io_store_failed(io, error);
        shard_io_end(io, 0);
        return;
    }
    io->body = malloc(STAT_REPLY_SIZE);
    answer(io, io->body ? wire_encode_object_stat_reply(io->body, STAT_REPLY_SIZE, &reply)
                        : err_set(-ENOMEM, "no memory for an answer"));
}

/* ---- counters ----------------------------------------------------------- */

static uint32_t put_counters(struct wire_writer *writer, const struct counter *counters, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct wire_counter counter = {.name = counters[i].name, .value = counter_get(&counters[i])};
        wire_put_counter(writer, &counter);
    }
    return (uint32_t)count;
}

static ssize_t make_counters(struct shard_io *io, const struct counter *counters, size_t count)
{
    const size_t list_size = (count + SHARD_COUNTERS) * COUNTER_BYTES_MAX, size = list_size + 16;
    uint8_t *list = malloc(list_size);
    io->body = malloc(size);
    if (!list || !io->body) {
        free(list);
        return err_set(-ENOMEM, "no memory for an answer");
    }
    struct wire_writer writer = wire_writer_on(list, list_size);
    uint32_t total = put_counters(&writer, counters, count);
    total += put_counters(&writer, io->shard->counters, SHARD_COUNTERS);
    struct wire_counters_reply reply = {.counters = wire_list_of(&writer, total)};
    ssize_t length = wire_written(&writer);
    if (length >= 0)
        length = wire_encode_counters_reply(io->body, size, &reply);
    free(list);
    return length;
}

void shard_counters(struct shard_io *io)
{
    const struct counter *counters;
    size_t count = rpc_counters(io->shard->rpc, &counters);
    if (count + SHARD_COUNTERS > COUNTERS_REPLY_MAX)
        count = COUNTERS_REPLY_MAX - SHARD_COUNTERS;
    answer(io, make_counters(io, counters, count));
}
