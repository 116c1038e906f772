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
    /* Another one may lead by now what has been written, and the objects that are counted here be others than
     * the sender means: he would take the file for shorter than it is. */
    if (shard_is_outdated(io))
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
    if (shard_check_lease(io))
        answer_stat(io);
    else
        shard_wait_for_lease(io);
}

/* ---- something with each object of the file ----------------------------- */

/* What only looks must know that it is the leader still. */
static bool looks(const struct shard_io *io)
{
    return io->request->operation == WIRE_OP_object_stat || io->request->operation == WIRE_OP_object_seek;
}

static void objects_end(struct shard_io *io)
{
    if (io->status && lead_failed_here(io))
        return;
    if (looks(io) && shard_is_outdated(io))
        shard_io_stale(io);
    if (looks(io) && !io->is_stale && !shard_check_lease(io)) {
        shard_wait_for_lease(io);
        return;
    }
    if (io->ended && !io->status)
        io->ended(io);
    else
        shard_io_end(io, 0);
}

/* One object has ended, or the last has been started. */
static void part_ended(struct shard_io *io)
{
    if (--io->pending == 0)
        objects_end(io);
}

static void object_done(struct store_op *op, ssize_t status)
{
    struct shard_io *io = op->arg;
    if (status < 0)
        shard_io_store_failed(io, (int)status);
    part_ended(io);
}

void shard_with_objects(struct shard_io *io, shard_start_fn *start)
{
    int error = shard_find_objects(io);
    if (error)
        shard_io_fail(io, error);
    io->pending = 1;
    io->end = objects_end;
    if (!error && !looks(io) && !shard_is_copy(io) && lead_has_others(io->shard))
        lead_give_file(io);
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

static void change_in_turn(struct lead_change *change)
{
    struct shard_io *io = list_item(change, struct shard_io, change);
    /* Another server may lead what the sender means, and it is to ask that one. */
    if (shard_is_outdated(io)) {
        shard_io_stale(io);
        shard_io_end(io, 0);
        return;
    }
    shard_io_changes(io);
    shard_with_objects(io, io->start);
}

void shard_change_objects(struct shard_io *io, shard_start_fn *start)
{
    if (shard_is_copy(io) || !lead_has_others(io->shard)) {
        shard_io_changes(io);
        shard_with_objects(io, start);
        return;
    }
    int error = lead_of_file(io);
    if (error) {
        shard_io_fail(io, error);
        shard_io_end(io, 0);
        return;
    }
    io->start = start;
    lead_enter(io->shard, &io->change, io->capability.ino, change_in_turn);
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

/* One file of the list, where we lead groups with others: its removal is a change like any other. */
struct file_removal {
    struct lead_change change;
    struct shard_io *io;
    uint32_t index;
    uint32_t pending; /* objects here, copies, and one while they are being started */
    struct wire_capability capability;
};

/* One object of one file of the list; it lives until its removal has ended, and is durable. */
struct removing {
    struct store_op op;
    struct shard_io *io;
    struct store *store;
    uint32_t index;
    struct file_removal *file; /* NULL: it is not in the line */
};

static void remove_end(struct shard_io *io);

/* Done here and everywhere, and durable here: now the others make it durable. */
static bool settle_others(struct shard_io *io)
{
    if (shard_is_copy(io) || io->settles_others || !lead_has_others(io->shard))
        return false;
    io->settles_others = true;
    io->pending = 1;
    io->end = remove_end;
    lead_give_settle(io);
    return --io->pending > 0;
}

static void remove_end(struct shard_io *io)
{
    enum { SIZE = 16 + 4 * LIMITS_REMOVES_MAX };
    uint8_t list[4 * LIMITS_REMOVES_MAX];
    uint32_t count = 0;
    if (settle_others(io))
        return;
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

static void file_part_ended(struct file_removal *file)
{
    struct shard_io *io = file->io;
    if (--file->pending)
        return;
    lead_leave(io->shard, &file->change);
    free(file);
    if (--io->pending == 0)
        remove_end(io);
}

static void settle_done(struct store_op *op, ssize_t status)
{
    struct removing *removing = op->arg;
    struct shard_io *io = removing->io;
    struct file_removal *file = removing->file;
    if (status < 0)
        remove_failed(io, removing->index, (int)status);
    free(removing);
    if (file)
        file_part_ended(file);
    else if (--io->pending == 0)
        remove_end(io);
}

/* Once it is answered nobody asks for it again, so a crash must not bring the object back. A server that
 * stops does not wait for the next commit. */
static int settle(struct removing *removing)
{
    struct shard_io *io = removing->io;
    const struct store_type *type = removing->store->type;
    removing->op.done = settle_done;
    if (shard_is_copy(io)) /* its leader asks for that when all of its files are done with */
        return 0;
    const bool hurry = io->hurry || atomic_load(&io->shard->stop);
    return type->settle ? type->settle(removing->store, hurry, &removing->op) : 0;
}

static void remove_done(struct store_op *op, ssize_t status)
{
    ssize_t result = status < 0 ? status : settle(op->arg);
    if (result != STORE_PENDING)
        settle_done(op, result);
}

static int remove_object(struct shard_io *io, uint32_t index, const struct shard_run *run,
                         struct file_removal *file)
{
    struct store *store = io->shard->stores[run->target];
    struct store_object object = shard_object_of(io, run);
    struct removing *removing = malloc(sizeof *removing);
    if (!removing)
        return err_set(-ENOMEM, "no memory to remove an object");
    *removing = (struct removing){
        .op = {.done = remove_done, .arg = removing}, .io = io, .store = store, .index = index, .file = file};
    int result = store->type->remove(store, &object, &removing->op);
    if (result == 0)
        result = settle(removing);
    if (result == STORE_PENDING)
        ++*(file ? &file->pending : &io->pending);
    else
        free(removing);
    return result < 0 ? result : 0;
}

static void remove_file(struct shard_io *io, uint32_t index, const struct wire_capability *capability,
                        struct file_removal *file)
{
    io->capability = *capability;
    io->layout = capability_layout(capability);
    if (io->runs != io->few)
        free(io->runs);
    io->runs = io->few;
    int error = shard_find_objects(io);
    for (uint32_t r = 0; r < io->run_count && !error; r++)
        error = remove_object(io, index, &io->runs[r], file);
    if (error)
        remove_failed(io, index, error);
}

static void copy_ended(void *arg, int error)
{
    struct file_removal *file = arg;
    if (error)
        remove_failed(file->io, file->index, error);
    file_part_ended(file);
}

static void remove_in_turn(struct lead_change *change)
{
    struct file_removal *file = list_item(change, struct file_removal, change);
    file->pending = 1;
    /* The metadata server asks again, whoever leads then. */
    if (shard_is_outdated(file->io)) {
        file->io->removes_failed |= UINT32_C(1) << file->index;
        file_part_ended(file);
        return;
    }
    shard_io_changes(file->io);
    remove_file(file->io, file->index, &file->capability, file);
    int error = lead_give_removal(file->io, &file->pending, copy_ended, file);
    if (error)
        remove_failed(file->io, file->index, error);
    file_part_ended(file);
}

static void line_up(struct shard_io *io, uint32_t index)
{
    struct file_removal *file = calloc(1, sizeof *file);
    int error = file ? lead_of_positions(&file->change, io->layout.stripe_count)
                     : err_set(-ENOMEM, "no memory to remove an object");
    if (error) {
        free(file);
        remove_failed(io, index, error);
        return;
    }
    file->io = io;
    file->index = index;
    file->capability = io->capability;
    io->pending++;
    lead_enter(io->shard, &file->change, io->capability.ino, remove_in_turn);
}

/* Goes on after an error: those that can be removed are. */
void shard_object_remove(struct shard_io *io)
{
    struct wire_reader reader = wire_list_reader(&io->removes);
    const bool has_others = !shard_is_copy(io) && lead_has_others(io->shard);
    struct wire_capability capability;
    io->pending = 1;
    for (uint32_t i = 0; i < io->removes.count; i++) {
        wire_get_capability(&reader, &capability);
        if (!has_others) {
            shard_io_changes(io);
            remove_file(io, i, &capability, NULL);
            continue;
        }
        io->capability = capability;
        io->layout = capability_layout(&capability);
        line_up(io, i);
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
    int error = !shard_is_copy(io) && lead_has_others(io->shard) ? lead_check_size(io) : 0;
    if (error) {
        shard_io_fail(io, error);
        shard_io_end(io, 0);
        return;
    }
    if (!shard_is_copy(io))
        io->ended = answer_stat;
    shard_change_objects(io, truncate_start);
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
