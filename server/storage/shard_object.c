/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "capability.h"
#include "err.h"
#include "shard.h"

/* One counter takes so much at most in an answer: list item with a name of 63 bytes. */
enum { COUNTER_BYTES_MAX = 4 + 64 + 8, COUNTERS_REPLY_MAX = 1024 };

void shard_answer(struct shard_io *io, ssize_t length)
{
    if (length < 0)
        shard_io_fail(io, (int)length);
    else
        io->body_length = (size_t)length;
    shard_io_end(io, 0);
}

/* ---- stat --------------------------------------------------------------- */

struct layout_part shard_part_of(const struct shard_io *io, uint32_t position)
{
    return (struct layout_part){
        .position = position,
        .shard = io->shard->index,
        .shard_count = io->shard->server->shard_count,
    };
}

/* The answer's body; its length, or a negative errno. */
static ssize_t make_stat_body(struct shard_io *io, const struct wire_object_stat_reply *reply)
{
    enum { SIZE = 64 };
    io->body = malloc(SIZE);
    return io->body ? wire_encode_object_stat_reply(io->body, SIZE, reply)
                    : err_set(-ENOMEM, "no memory for an answer");
}

/* Of the objects that were found. */
static int stat_found(struct shard_io *io, struct wire_object_stat_reply *reply)
{
    int error = 0;
    for (uint32_t i = 0; i < io->run_count && !error; i++) {
        struct store_object object = shard_object_of(io, &io->runs[i]);
        struct store *store = io->shard->stores[io->runs[i].target];
        struct layout_part part = shard_part_of(io, object.position);
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

void shard_object_tell(struct shard_io *io)
{
    struct wire_object_stat_reply reply = {0};
    if (io->runs != io->few) /* not worth it: such a write is large */
        return;
    if (shard_find_objects(io) || stat_found(io, &reply))
        return;
    ssize_t length = make_stat_body(io, &reply);
    io->body_length = length > 0 ? (size_t)length : 0;
}

/* Answers with what the objects that were found are now. */
static void answer_stat(struct shard_io *io)
{
    struct wire_object_stat_reply reply = {0};
    int error = stat_found(io, &reply);
    if (error) {
        shard_io_store_failed(io, error);
        shard_io_end(io, 0);
        return;
    }
    shard_answer(io, make_stat_body(io, &reply));
}

void shard_object_stat(struct shard_io *io)
{
    int error = shard_find_objects(io);
    if (error) {
        shard_io_store_failed(io, error);
        shard_io_end(io, 0);
        return;
    }
    answer_stat(io);
}

/* ---- something with each object of the file ----------------------------- */

/* One object has ended, or the last has been started. */
static void part_ended(struct shard_io *io)
{
    if (--io->pending)
        return;
    if (io->ended && !io->status)
        io->ended(io);
    else
        shard_io_end(io, 0);
}

static void object_done(struct store_op *op, ssize_t status)
{
    struct shard_io *io = op->arg;
    if (status < 0)
        shard_io_store_failed(io, (int)status);
    part_ended(io);
}

void shard_with_objects(struct shard_io *io,
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
    part_ended(io);
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
    shard_with_objects(io, sync_start);
}

/* ---- remove --------------------------------------------------------------- */

static_assert(LIMITS_REMOVES_MAX <= 32, "each file of a list has a bit");

/* One object of one file of the list; it lives until its removal has ended, and is durable. */
struct removing {
    struct store_op op;
    struct shard_io *io;
    struct store *store;
    uint32_t index;
};

static void remove_end(struct shard_io *io)
{
    enum { SIZE = 16 + 4 * LIMITS_REMOVES_MAX };
    uint8_t list[4 * LIMITS_REMOVES_MAX];
    uint32_t count = 0;
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    for (uint32_t i = 0; i < io->removes.count; i++) {
        if (!(io->removes_failed >> i & 1))
            continue;
        wire_put_number(&writer, &(struct wire_number){.value = i});
        count++;
    }
    struct wire_object_remove_reply reply = {.failed = wire_list_of(&writer, count)};
    io->body = malloc(SIZE);
    shard_answer(io, io->body ? wire_encode_object_remove_reply(io->body, SIZE, &reply)
                              : err_set(-ENOMEM, "no memory for an answer"));
}

static void remove_failed(struct shard_io *io, uint32_t index, int error)
{
    shard_io_store_noted(io, error);
    io->removes_failed |= UINT32_C(1) << index;
}

static void settle_done(struct store_op *op, ssize_t status)
{
    struct removing *removing = op->arg;
    struct shard_io *io = removing->io;
    if (status < 0)
        remove_failed(io, removing->index, (int)status);
    free(removing);
    if (--io->pending == 0)
        remove_end(io);
}

/* Once it is answered nobody asks for it again, so a crash must not bring the object back. A server that
 * stops does not wait for the next commit. */
static int settle(struct removing *removing)
{
    struct shard_io *io = removing->io;
    const struct store_type *type = removing->store->type;
    removing->op.done = settle_done;
    const bool hurry = io->hurry || atomic_load(&io->shard->stop);
    return type->settle ? type->settle(removing->store, hurry, &removing->op) : 0;
}

static void remove_done(struct store_op *op, ssize_t status)
{
    ssize_t result = status < 0 ? status : settle(op->arg);
    if (result != STORE_PENDING)
        settle_done(op, result);
}

static int remove_object(struct shard_io *io, uint32_t index, const struct shard_run *run)
{
    struct store *store = io->shard->stores[run->target];
    struct store_object object = shard_object_of(io, run);
    struct removing *removing = malloc(sizeof *removing);
    if (!removing)
        return err_set(-ENOMEM, "no memory to remove an object");
    *removing = (struct removing){
        .op = {.done = remove_done, .arg = removing}, .io = io, .store = store, .index = index};
    int result = store->type->remove(store, &object, &removing->op);
    if (result == 0)
        result = settle(removing);
    if (result == STORE_PENDING)
        io->pending++;
    else
        free(removing);
    return result < 0 ? result : 0;
}

/* Goes on after an error: those that can be removed are. */
void shard_object_remove(struct shard_io *io)
{
    struct wire_reader reader = wire_list_reader(&io->removes);
    io->pending = 1;
    for (uint32_t i = 0; i < io->removes.count; i++) {
        wire_get_capability(&reader, &io->capability);
        io->layout = capability_layout(&io->capability);
        if (io->runs != io->few)
            free(io->runs);
        io->runs = io->few;
        int error = shard_find_objects(io);
        for (uint32_t r = 0; r < io->run_count && !error; r++)
            error = remove_object(io, i, &io->runs[r]);
        if (error)
            remove_failed(io, i, error);
    }
    if (--io->pending == 0)
        remove_end(io);
}

/* ---- truncate -------------------------------------------------------------- */

/* What lies behind the new size is cut off. Of a file that grows only the part
 * with its last byte is lengthened: that makes the size, the rest are holes. */
static int truncate_start(struct shard_io *io, struct store *store, const struct store_object *object,
                          struct shard_run *run)
{
    struct layout_part part = shard_part_of(io, object->position);
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
    io->ended = answer_stat;
    shard_with_objects(io, truncate_start);
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
    shard_answer(io, make_counters(io, counters, count));
}
