/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lead_mend.c: bytes that can't be read here are had from another member, and written anew.
 *
 * Who reads asks another member himself; this is what becomes of ours. The leader has the bytes and keeps
 * changes from them: so a member asks it (object_mend) for a copy like any other. A leader that can't read
 * its own fetches them from another current member. One range at a time; what was done is looked at by
 * reading it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "capability.h"
#include "crc.h"
#include "err.h"
#include "lead_internal.h"
#include "log.h"
#include "shard.h"

/* Ranges that wait; what else can't be read is found again. */
enum { WAITING_MAX = 1024, MEND_BYTES = 1 << 20 };
/* From one that failed to the next one. */
#define PAUSE_NS UINT64_C(1000000000)

struct mend {
    struct list_link link;
    uint32_t target; /* index into the server's */
    uint64_t ino;
    uint32_t position;
    uint64_t offset;
    uint32_t length;
};

struct lead_mender {
    struct shard *shard;
    struct list waiting;
    uint32_t waiting_count;
    uint64_t not_before_ns;

    struct mend *now; /* NULL: none */
    struct store_object object;
    uint32_t group;
    uint32_t member; /* of the group, that was asked last */
    struct lead_change change;
    struct wire_capability capability;
    struct rpc_call call;
    uint8_t body[LIMITS_BODY_INLINE_MAX];
    struct store_op op;
    uint64_t began_at; /* the write */
    struct iovec iov;
    uint8_t *piece;
};

int lead_mender_open(struct shard *shard)
{
    struct lead_mender *mender = calloc(1, sizeof *mender);
    if (!mender)
        return err_set(-ENOMEM, "no memory for a shard");
    mender->shard = shard;
    list_init(&mender->waiting);
    shard->lead->mender = mender;
    return 0;
}

void lead_mender_close(struct shard *shard)
{
    struct lead_mender *mender = shard->lead->mender;
    struct list_link *link;
    if (!mender)
        return;
    while ((link = list_pop(&mender->waiting)))
        free(list_item(link, struct mend, link));
    free(mender);
}

/* ---- what is wanted ------------------------------------------------------------ */

static bool is_same_object(const struct mend *a, const struct mend *b)
{
    return a->target == b->target && a->ino == b->ino && a->position == b->position;
}

static bool has(const struct mend *mend, const struct mend *wanted)
{
    return is_same_object(mend, wanted) && mend->offset <= wanted->offset &&
           wanted->offset + wanted->length <= mend->offset + mend->length;
}

static bool lengthen(struct mend *mend, const struct mend *wanted)
{
    if (!is_same_object(mend, wanted) || mend->offset + mend->length != wanted->offset ||
        mend->length + wanted->length > MEND_BYTES)
        return false;
    mend->length += wanted->length;
    return true;
}

static void add(struct lead_mender *mender, const struct mend *wanted)
{
    if (mender->now && has(mender->now, wanted))
        return;
    list_each(&mender->waiting, link, after)
    {
        struct mend *mend = list_item(link, struct mend, link);
        if (has(mend, wanted) || lengthen(mend, wanted))
            return;
    }
    if (mender->waiting_count >= WAITING_MAX)
        return;
    struct mend *mend = malloc(sizeof *mend);
    if (!mend)
        return;
    *mend = *wanted;
    list_push_back(&mender->waiting, &mend->link);
    mender->waiting_count++;
}

void lead_mend_want(struct shard *shard, uint32_t target, const struct store_object *object, uint64_t offset,
                    uint64_t length)
{
    uint64_t at = offset - offset % CRC_BLOCK;
    const uint64_t end = (offset + length + CRC_BLOCK - 1) / CRC_BLOCK * CRC_BLOCK;
    if (!shard->lead || !shard->map || !map_has_replicas(shard->map))
        return;
    for (; at < end; at += MEND_BYTES) {
        const uint64_t left = end - at;
        add(shard->lead->mender, &(struct mend){.target = target,
                                                .ino = object->ino,
                                                .position = object->position,
                                                .offset = at,
                                                .length = left < MEND_BYTES ? (uint32_t)left : MEND_BYTES});
    }
}

/* ---- the end ------------------------------------------------------------------- */

static void end(struct lead_mender *mender)
{
    free(mender->now);
    free(mender->piece);
    mender->now = NULL;
    mender->piece = NULL;
    lead_leave(mender->shard, &mender->change);
}

static void failed(struct lead_mender *mender, const char *why)
{
    const struct mend *mend = mender->now;
    mender->not_before_ns = rpc_now_ns() + PAUSE_NS;
    if (atomic_load(&mender->shard->stop)) {
        end(mender);
        return;
    }
    shard_counter_add(mender->shard, SHARD_MENDS_FAILED, 1);
    log_warn("target %" PRIu32 ": %" PRIu32 " bytes of inode %" PRIu64 " at position %" PRIu32
             ", object offset %" PRIu64 ", are damaged, and could not be mended: %s",
             mender->shard->server->targets[mend->target].id, mend->length, mend->ino, mend->position,
             mend->offset, why);
    end(mender);
}

static void looked_at(struct lead_mender *mender, ssize_t got)
{
    const struct mend *mend = mender->now;
    if (got < 0) {
        failed(mender, err_text());
        return;
    }
    shard_counter_add(mender->shard, SHARD_BYTES_MENDED, (uint64_t)got);
    log_info("target %" PRIu32 ": %zd bytes of inode %" PRIu64 " at position %" PRIu32
             ", object offset %" PRIu64 ", were damaged, and have been mended from another member",
             mender->shard->server->targets[mend->target].id, got, mend->ino, mend->position, mend->offset);
    end(mender);
}

static void read_again(struct store_op *op, ssize_t status)
{
    struct lead_mender *mender = op->arg;
    mender->shard->under_way--;
    looked_at(mender, status);
}

static struct store *store_of(const struct lead_mender *mender)
{
    return mender->shard->stores[mender->now->target];
}

static void look(struct lead_mender *mender)
{
    const struct mend *mend = mender->now;
    struct store *store = store_of(mender);
    size_t count = 0;
    mender->op = (struct store_op){.done = read_again, .arg = mender};
    mender->shard->under_way++; /* the store must not be closed */
    int result = store->type->read(store, &mender->object, mend->offset, mender->piece, mend->length, &count,
                                   &mender->op);
    if (result == STORE_PENDING)
        return;
    mender->shard->under_way--;
    looked_at(mender, result ? result : (ssize_t)count);
}

/* ---- as the leader: from another member -------------------------------------------- */

static void ask_next(struct lead_mender *mender);

static bool leads(const struct lead_mender *mender)
{
    const struct shard *shard = mender->shard;
    return map_leader(shard->map, mender->group)->id == shard->server->targets[mender->now->target].id;
}

static void written(struct store_op *op, ssize_t status)
{
    struct lead_mender *mender = op->arg;
    mender->shard->under_way--;
    shard_change_ended(mender->shard, mender->began_at);
    if (status < 0)
        failed(mender, err_text());
    else
        look(mender);
}

static void write_anew(struct lead_mender *mender, uint64_t length)
{
    struct store *store = store_of(mender);
    mender->iov = (struct iovec){.iov_base = mender->piece, .iov_len = length};
    mender->op = (struct store_op){.done = written, .arg = mender};
    mender->shard->under_way++;
    mender->began_at = shard_change_began(mender->shard);
    int result =
        store->type->write(store, &mender->object, mender->now->offset, &mender->iov, 1, &mender->op);
    if (result == STORE_PENDING)
        return;
    written(&mender->op, result);
}

static void fetched(struct rpc_call *call)
{
    struct lead_mender *mender = call->arg;
    if (atomic_load(&mender->shard->stop)) /* connections are being closed */
        failed(mender, "the server is ending");
    else if (!leads(mender))
        failed(mender, "another storage server leads by now");
    else if (call->status || call->reply_payload_length == 0)
        ask_next(mender);
    else
        write_anew(mender, call->reply_payload_length);
}

static void *place(struct rpc_call *call, const void *body, uint32_t body_length, uint64_t length)
{
    const struct lead_mender *mender = call->arg;
    (void)body;
    (void)body_length;
    return length <= mender->now->length ? mender->piece : NULL;
}

static int call_start(struct lead_mender *mender, uint32_t server, ssize_t length)
{
    struct rpc_connection *connection;
    int error = length < 0 ? (int)length : lead_connect(mender->shard, server, &connection);
    if (error)
        return error;
    mender->call.body = mender->body;
    mender->call.body_length = (uint32_t)length;
    mender->call.deadline_ms = mender->shard->server->conf->lease_ms;
    mender->call.arg = mender;
    mender->call.repeatable = true;
    return rpc_call_start(connection, &mender->call);
}

static int ask(struct lead_mender *mender, uint32_t server)
{
    const struct mend *mend = mender->now;
    const struct map *map = mender->shard->map;
    struct wire_copy_fetch message = {.capability = mender->capability,
                                      .map_version = map->version,
                                      .leader = lead_own_id(mender->shard),
                                      .position = mend->position,
                                      .offset = mend->offset,
                                      .length = mend->length};
    mender->call = (struct rpc_call){
        .operation = WIRE_OP_copy_fetch, .reply_bytes_max = mend->length, .place = place, .done = fetched};
    return call_start(mender, server, wire_encode_copy_fetch(mender->body, sizeof mender->body, &message));
}

static bool can_be_asked(const struct map *map, const struct map_group *group, uint32_t member)
{
    return member != group->leader && group->states[member] == MAP_MEMBER_CURRENT &&
           map->servers[map->targets[group->members[member]].server].state == MAP_STATE_UP;
}

/* The next member that may have it. */
static void ask_next(struct lead_mender *mender)
{
    const struct map *map = mender->shard->map;
    const struct map_group *group = &map->groups[mender->group];
    while (++mender->member < group->member_count) {
        if (can_be_asked(map, group, mender->member) &&
            ask(mender, map->targets[group->members[mender->member]].server) == 0)
            return;
    }
    failed(mender, "nobody else has them");
}

static void in_turn(struct lead_change *change)
{
    struct lead_mender *mender = list_item(change, struct lead_mender, change);
    mender->member = UINT32_MAX;
    if (atomic_load(&mender->shard->stop))
        failed(mender, "the server is ending");
    else if (leads(mender))
        ask_next(mender);
    else
        failed(mender, "another storage server leads by now");
}

/* ---- as another member: from the leader --------------------------------------------- */

static void given(struct rpc_call *call)
{
    struct lead_mender *mender = call->arg;
    if (call->status)
        failed(mender, err_text());
    else
        look(mender);
}

static void ask_leader(struct lead_mender *mender)
{
    const struct mend *mend = mender->now;
    const struct map *map = mender->shard->map;
    struct wire_object_mend message = {.capability = mender->capability,
                                       .map_version = map->version,
                                       .target = mender->shard->server->targets[mend->target].id,
                                       .position = mend->position,
                                       .offset = mend->offset,
                                       .length = mend->length};
    mender->call = (struct rpc_call){.operation = WIRE_OP_object_mend, .done = given};
    if (call_start(mender, map_leader(map, mender->group)->server,
                   wire_encode_object_mend(mender->body, sizeof mender->body, &message)))
        failed(mender, err_text());
}

/* ---- the beginning ------------------------------------------------------------------ */

/* The object as the store has it: who found the damage need not know its layout. */
static bool find_object(struct lead_mender *mender)
{
    const struct mend *mend = mender->now;
    struct store *store = store_of(mender);
    struct store_object *object = &mender->object;
    *object = (struct store_object){.ino = mend->position ? mend->ino : mend->ino - 1,
                                    .position = mend->position ? mend->position - 1 : UINT32_MAX};
    return store->type->next && store->type->next(store, object) == 0 && object->ino == mend->ino &&
           object->position == mend->position;
}

/* Whether it is ours to mend, and there is who may have it. A member that is not current is brought up to
 * date anyhow. */
static bool is_worth_it(struct lead_mender *mender)
{
    const struct shard *shard = mender->shard;
    const struct layout *layout = &mender->object.layout;
    if (!find_object(mender) || map_layout_check(shard->map, layout) ||
        mender->object.position >= layout->stripe_count)
        return false;
    mender->group = map_group_of(shard->map, layout, mender->object.position);
    return map_group_current(&shard->map->groups[mender->group]) > 1 &&
           map_member_state(shard->map, mender->group, shard->server->targets[mender->now->target].id,
                            NULL) == MAP_MEMBER_CURRENT;
}

static void begin(struct lead_mender *mender)
{
    struct shard *shard = mender->shard;
    mender->now = list_item(list_pop(&mender->waiting), struct mend, link);
    mender->waiting_count--;
    mender->piece = malloc(mender->now->length);
    if (!mender->piece || !is_worth_it(mender)) {
        end(mender);
        return;
    }
    mender->capability = capability_make(shard->server->conf->key, mender->object.ino, &mender->object.layout,
                                         WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    if (!leads(mender)) {
        ask_leader(mender);
        return;
    }
    lead_of_object(&mender->change, mender->now->position, mender->now->offset,
                   mender->now->offset + mender->now->length);
    lead_enter(shard, &mender->change, mender->now->ino, in_turn);
}

bool lead_mend_waits(const struct shard *shard)
{
    const struct lead_mender *mender = shard->lead->mender;
    return mender->waiting_count && !mender->now;
}

void lead_mend_look(struct shard *shard)
{
    if (lead_mend_waits(shard) && rpc_now_ns() >= shard->lead->mender->not_before_ns &&
        !atomic_load(&shard->stop))
        begin(shard->lead->mender);
}

/* ---- as the leader: for another member ----------------------------------------------- */

static void serve_end(struct shard_io *io)
{
    shard_io_end(io, 0);
}

static void serve_read(struct shard_io *io, ssize_t got)
{
    const struct shard_run *run = &io->runs[0];
    io->pending = 1;
    if (got < 0) {
        const struct store_object object = shard_object_of(io, run);
        lead_mend_want(io->shard, run->target, &object, io->offset, io->bytes);
        shard_io_store_failed(io, (int)got);
    } else if (got > 0) {
        lead_give_piece(io, (size_t)got);
    }
    if (--io->pending == 0)
        serve_end(io);
}

static void serve_done(struct store_op *op, ssize_t status)
{
    serve_read(op->arg, status);
}

static void serve_in_turn(struct lead_change *change)
{
    struct shard_io *io = list_item(change, struct shard_io, change);
    int verdict = shard_check_object(io);
    if (verdict) {
        shard_io_fail(io, verdict > 0 ? err_set(-EAGAIN, "the cluster map changed") : verdict);
        serve_end(io);
        return;
    }
    shard_read_object(io, serve_done, serve_read);
}

static void serve_begin(struct bufpool_waiter *waiter, void *buffer)
{
    struct shard_io *io = list_item(waiter, struct shard_io, waiter);
    io->buffer = buffer;
    io->end = serve_end;
    lead_of_object(&io->change, io->position, io->offset, io->offset + io->bytes);
    lead_enter(io->shard, &io->change, io->capability.ino, serve_in_turn);
}

void lead_mend_serve(struct shard_io *io)
{
    shard_buffer_wait(io, serve_begin);
}
