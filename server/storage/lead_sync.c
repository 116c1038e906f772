/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lead_sync.c: a leader brings other members up to date.
 *
 * One server at a time, a walk over all objects of the groups that it has members of: first over ours,
 * whose pieces are compared by hash and given where they differ, then over the other one's, of which those
 * that we do not have are removed. Each piece is in the line like any other change, so that what is written
 * meanwhile is before it, or behind it. Whatever fails, or changes in the map, ends the walk; it begins
 * anew while the map says that there is something to be done.
 */
#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "capability.h"
#include "err.h"
#include "lead_internal.h"
#include "log.h"
#include "shard.h"

enum { PIECE_BYTES = 1 << 20, DIGEST_BYTES = 32 };
/* Of our own that can't be read; with more of them the disk is not one to bring others up to date from. */
enum { LACKING_MAX = 64 };

struct duty {
    uint32_t group;
    uint32_t target; /* id */
    uint64_t changed;
    bool lacks; /* a piece that we can't read */
};

enum stage { OURS, THEIRS, SETTLE };

struct lead_walk {
    struct shard *shard;
    uint32_t server; /* its place in the map */
    enum stage stage;
    uint32_t duty_count;
    struct duty *duties;

    uint32_t store;             /* of the object, or where it would be: index into the shard's stores */
    uint32_t duty;              /* theirs: whose target is listed */
    struct store_object object; /* the latest one */
    uint64_t offset;            /* of the piece */
    struct lead_change change;  /* in line while a piece is compared */
    struct wire_capability capability;

    struct store_op op;
    uint8_t *piece;
    size_t piece_length;
    uint64_t length; /* of our object */
    uint8_t digest[DIGEST_BYTES];
    struct iovec iov;

    struct rpc_call call;
    uint8_t body[LIMITS_BODY_INLINE_MAX];
    struct wire_copy_object *listed; /* theirs, that are not looked at yet */
    uint32_t listed_count, listed_at;
    bool listed_all;
    uint32_t lacking; /* pieces of ours that can't be read */
    bool stopped;     /* what it waits for ends it */
};

static void next_object(struct lead_walk *walk);
static void next_piece(struct lead_walk *walk);

/* ---- its life ------------------------------------------------------------------- */

static void walk_free(struct lead_walk *walk)
{
    struct lead *lead = walk->shard->lead;
    if (lead->walk == walk)
        lead->walk = NULL;
    free(walk->duties);
    free(walk->piece);
    free(walk->listed);
    lead_leave(walk->shard, &walk->change);
    free(walk);
}

/* Ends it; who is still syncing then gets another one. */
static void give_up(struct lead_walk *walk, const char *why)
{
    log_debug("shard %" PRIu32 ": bringing storage server %s up to date goes no further: %s",
              walk->shard->index, walk->shard->map->servers[walk->server].name, why);
    walk->shard->lead->walk_at_ns = rpc_now_ns() + LEAD_WALK_PAUSE_NS;
    walk_free(walk);
}

static bool is_due(const struct map *map, const struct duty *duty)
{
    return map->groups[duty->group].changed == duty->changed;
}

/* Whether it still is what the map wants. */
static bool goes_on(struct lead_walk *walk)
{
    for (uint32_t i = 0; i < walk->duty_count; i++) {
        if (walk->stopped || !is_due(walk->shard->map, &walk->duties[i])) {
            give_up(walk, "the map has changed");
            return false;
        }
    }
    return true;
}

static bool has_group(const struct lead_walk *walk, const struct store_object *object)
{
    const struct map *map = walk->shard->map;
    if (map_layout_check(map, &object->layout) || object->position >= object->layout.stripe_count)
        return false;
    const uint32_t group = map_group_of(map, &object->layout, object->position);
    for (uint32_t i = 0; i < walk->duty_count; i++)
        if (walk->duties[i].group == group)
            return true;
    return false;
}

/* ---- asking the other server -------------------------------------------------------- */

static void ask(struct lead_walk *walk, uint16_t operation, ssize_t length, rpc_call_fn *done)
{
    struct rpc_connection *connection;
    struct shard *shard = walk->shard;
    int error = length < 0 ? (int)length : lead_connect(shard, walk->server, &connection);
    walk->call = (struct rpc_call){.operation = operation,
                                   .body = walk->body,
                                   .body_length = length > 0 ? (uint32_t)length : 0,
                                   .deadline_ms = lead_deadline_ms(shard, operation),
                                   .done = done,
                                   .arg = walk};
    if (operation == WIRE_OP_copy) {
        walk->call.payload = &walk->iov;
        walk->call.payload_count = 1;
    }
    if (!error)
        error = rpc_call_start(connection, &walk->call);
    if (error)
        give_up(walk, err_text());
}

/* True when the answer is there and the walk goes on. */
static bool answered(struct lead_walk *walk)
{
    if (walk->call.status) {
        give_up(walk, err_text());
        return false;
    }
    return goes_on(walk);
}

/* ---- one piece ------------------------------------------------------------------------ */

static void piece_ended(struct lead_walk *walk)
{
    walk->offset += PIECE_BYTES;
    lead_leave(walk->shard, &walk->change);
    if (walk->offset < walk->length)
        next_piece(walk);
    else
        next_object(walk);
}

static void given(struct rpc_call *call)
{
    struct lead_walk *walk = call->arg;
    if (!answered(walk))
        return;
    shard_counter_add(walk->shard, SHARD_BYTES_RESYNCED, walk->piece_length);
    piece_ended(walk);
}

static void give_piece(struct lead_walk *walk)
{
    uint8_t list[16];
    struct wire_writer writer = wire_writer_on(list, sizeof list);
    wire_put_copy_piece(&writer, &(struct wire_copy_piece){.position = walk->object.position,
                                                           .offset = walk->offset,
                                                           .length = (uint32_t)walk->piece_length});
    walk->iov = (struct iovec){.iov_base = walk->piece, .iov_len = walk->piece_length};
    struct wire_copy copy = {.capability = walk->capability,
                             .map_version = walk->shard->map->version,
                             .leader = lead_own_id(walk->shard),
                             .pieces = wire_list_of(&writer, 1)};
    ask(walk, WIRE_OP_copy, wire_encode_copy(walk->body, sizeof walk->body, &copy), given);
}

static bool differs(const struct lead_walk *walk, const struct wire_copy_digest_reply *reply)
{
    return reply->digest.length != DIGEST_BYTES ||
           memcmp(reply->digest.data, walk->digest, DIGEST_BYTES) != 0;
}

/* It is as long as ours now; its bytes may differ. */
static void cut_done(struct rpc_call *call)
{
    struct lead_walk *walk = call->arg;
    if (!answered(walk))
        return;
    if (walk->stage == OURS && walk->piece_length)
        give_piece(walk);
    else
        piece_ended(walk);
}

static void cut(struct lead_walk *walk)
{
    struct wire_copy_cut message = {.capability = walk->capability,
                                    .map_version = walk->shard->map->version,
                                    .leader = lead_own_id(walk->shard),
                                    .position = walk->object.position,
                                    .length = walk->length,
                                    .gone = walk->stage == THEIRS};
    ask(walk, WIRE_OP_copy_cut, wire_encode_copy_cut(walk->body, sizeof walk->body, &message), cut_done);
}

static void digest_came(struct rpc_call *call)
{
    struct lead_walk *walk = call->arg;
    struct wire_copy_digest_reply reply = {.length = UINT64_MAX};
    /* What it can't read is another thing there, and is written anew. */
    const bool unreadable = call->status == -EIO;
    if (unreadable ? !goes_on(walk) : !answered(walk))
        return;
    if (!unreadable && wire_decode_copy_digest_reply(call->reply, call->reply_length, &reply)) {
        give_up(walk, err_text());
        return;
    }
    if (reply.length != walk->length && walk->offset == 0)
        cut(walk);
    else if (walk->piece_length && differs(walk, &reply))
        give_piece(walk);
    else
        piece_ended(walk);
}

/* Our own bytes can't be read: the other groups go on, and there may be a third member that has them. */
static void lack_piece(struct lead_walk *walk)
{
    struct shard *shard = walk->shard;
    const uint32_t group = map_group_of(shard->map, &walk->object.layout, walk->object.position);
    log_warn("shard %" PRIu32 ": group %" PRIu32 " of storage server %s can't be brought up to date: %s",
             shard->index, group, shard->map->servers[walk->server].name, err_text());
    lead_mend_want(shard, walk->store, &walk->object, walk->offset, PIECE_BYTES);
    for (uint32_t i = 0; i < walk->duty_count; i++)
        walk->duties[i].lacks |= walk->duties[i].group == group;
    if (++walk->lacking <= LACKING_MAX) {
        piece_ended(walk);
        return;
    }
    give_up(walk, "too much can't be read");
    shard->lead->walk_at_ns = rpc_now_ns() + LEAD_WALK_LACKING_NS;
}

static void compare(struct lead_walk *walk, ssize_t got)
{
    if (got < 0) {
        lack_piece(walk);
        return;
    }
    walk->piece_length = (size_t)got;
    crypto_generichash(walk->digest, sizeof walk->digest, walk->piece, walk->piece_length, NULL, 0);
    struct wire_copy_digest message = {.capability = walk->capability,
                                       .map_version = walk->shard->map->version,
                                       .leader = lead_own_id(walk->shard),
                                       .position = walk->object.position,
                                       .offset = walk->offset,
                                       .length = PIECE_BYTES};
    shard_counter_add(walk->shard, SHARD_PIECES_COMPARED, 1);
    ask(walk, WIRE_OP_copy_digest, wire_encode_copy_digest(walk->body, sizeof walk->body, &message),
        digest_came);
}

static void piece_read(struct store_op *op, ssize_t status)
{
    struct lead_walk *walk = op->arg;
    walk->shard->under_way--;
    if (goes_on(walk))
        compare(walk, status);
}

static struct store *store_of(const struct lead_walk *walk)
{
    return walk->shard->stores[walk->store];
}

static bool exists(const struct store_stat *stat)
{
    return stat->length || stat->mtime_ns;
}

/* No other change of these bytes is under way, nor begins. */
static void piece_in_turn(struct lead_change *change)
{
    struct lead_walk *walk = list_item(change, struct lead_walk, change);
    struct store *store = store_of(walk);
    struct store_stat stat;
    size_t count = 0;
    if (!goes_on(walk))
        return;
    int error = store->type->stat(store, &walk->object, &stat);
    if (error) {
        give_up(walk, err_text());
        return;
    }
    walk->length = stat.length;
    if (walk->stage == THEIRS) {
        /* Ours were all looked at; one that was made since then was made there, too. */
        if (exists(&stat))
            piece_ended(walk);
        else
            cut(walk);
        return;
    }
    walk->op = (struct store_op){.done = piece_read, .arg = walk};
    walk->shard->under_way++; /* the store must not be closed */
    int result =
        store->type->read(store, &walk->object, walk->offset, walk->piece, PIECE_BYTES, &count, &walk->op);
    if (result != STORE_PENDING) {
        walk->shard->under_way--;
        compare(walk, result ? result : (ssize_t)count);
    }
}

static void next_piece(struct lead_walk *walk)
{
    /* Of the first one depends how long the object is, so nothing of it may change. */
    const bool all = walk->offset == 0;
    lead_of_object(&walk->change, walk->object.position, walk->offset,
                   all ? UINT64_MAX : walk->offset + PIECE_BYTES);
    lead_enter(walk->shard, &walk->change, walk->object.ino, piece_in_turn);
}

/* ---- the walk ------------------------------------------------------------------------- */

static void begin_object(struct lead_walk *walk)
{
    walk->offset = 0;
    walk->capability = capability_make(walk->shard->server->conf->key, walk->object.ino, &walk->object.layout,
                                       WIRE_ACCESS_READ | WIRE_ACCESS_WRITE);
    next_piece(walk);
}

static bool promise_all(const struct lead_walk *walk)
{
    for (uint32_t i = 0; i < walk->duty_count; i++) {
        const struct duty *duty = &walk->duties[i];
        if (!duty->lacks &&
            lead_promise(walk->shard->lead, &(struct lead_promise){duty->group, duty->target, duty->changed}))
            return false;
    }
    return true;
}

static void settled(struct rpc_call *call)
{
    struct lead_walk *walk = call->arg;
    struct shard *shard = walk->shard;
    uint64_t pause_ns = LEAD_WALK_PAUSE_NS;
    if (!answered(walk))
        return;
    if (!promise_all(walk)) {
        give_up(walk, err_text());
        return;
    }
    for (uint32_t i = 0; i < walk->duty_count; i++) {
        const struct duty *duty = &walk->duties[i];
        if (duty->lacks)
            pause_ns = LEAD_WALK_LACKING_NS;
        else
            shard->server->synced(
                shard->server->map_wanted_arg, shard->index,
                &(struct wire_group_verdict){
                    .group = duty->group, .changed = duty->changed, .target = duty->target, .synced = 1});
    }
    log_debug("shard %" PRIu32 ": storage server %s is up to date%s", shard->index,
              shard->map->servers[walk->server].name,
              pause_ns == LEAD_WALK_PAUSE_NS ? "" : ", but for what can't be read here");
    shard->lead->walk_at_ns = rpc_now_ns() + pause_ns;
    walk_free(walk);
}

static void settle(struct lead_walk *walk)
{
    struct wire_copy_settle message = {
        .map_version = walk->shard->map->version, .leader = lead_own_id(walk->shard), .hurry = 1};
    walk->stage = SETTLE;
    ask(walk, WIRE_OP_copy_settle, wire_encode_copy_settle(walk->body, sizeof walk->body, &message), settled);
}

static void list_came(struct rpc_call *call)
{
    struct lead_walk *walk = call->arg;
    struct wire_copy_list_reply reply;
    if (!answered(walk))
        return;
    if (wire_decode_copy_list_reply(call->reply, call->reply_length, &reply)) {
        give_up(walk, err_text());
        return;
    }
    free(walk->listed);
    walk->listed_at = 0;
    walk->listed_count = reply.objects.count;
    walk->listed_all = reply.end;
    walk->listed = malloc((walk->listed_count + 1) * sizeof *walk->listed);
    struct wire_reader reader = wire_list_reader(&reply.objects);
    for (uint32_t i = 0; walk->listed && i < walk->listed_count; i++)
        wire_get_copy_object(&reader, &walk->listed[i]);
    if (!walk->listed || wire_read_all(&reader, "list of objects") ||
        (!walk->listed_count && !walk->listed_all)) {
        give_up(walk, "its list of objects makes no sense");
        return;
    }
    next_object(walk);
}

static void ask_list(struct lead_walk *walk)
{
    struct wire_copy_list message = {.map_version = walk->shard->map->version,
                                     .leader = lead_own_id(walk->shard),
                                     .target = walk->duties[walk->duty].target,
                                     .ino = walk->object.ino,
                                     .position = walk->object.position};
    ask(walk, WIRE_OP_copy_list, wire_encode_copy_list(walk->body, sizeof walk->body, &message), list_came);
}

/* Duties with the same target are listed once: by the first. */
static bool is_listed_before(const struct lead_walk *walk, uint32_t duty)
{
    for (uint32_t i = 0; i < duty; i++)
        if (walk->duties[i].target == walk->duties[duty].target)
            return true;
    return false;
}

/* Our target that leads the object's group: where it would be, if we had it. -1: none of ours does. */
static int own_target(const struct lead_walk *walk, const struct store_object *object)
{
    const struct map *map = walk->shard->map;
    const uint32_t group = map_group_of(map, &object->layout, object->position);
    return shard_target_index(walk->shard->server, map_leader(map, group)->id);
}

static void next_of_theirs(struct lead_walk *walk)
{
    while (walk->listed_at < walk->listed_count) {
        const struct wire_copy_object *listed = &walk->listed[walk->listed_at++];
        walk->object = (struct store_object){.ino = listed->ino,
                                             .position = listed->position,
                                             .layout = {.chunk_size = listed->layout.chunk_size,
                                                        .seed = listed->layout.seed,
                                                        .stripe_count = listed->layout.stripe_count,
                                                        .group_count = listed->layout.group_count}};
        if (!has_group(walk, &walk->object))
            continue;
        const int store = own_target(walk, &walk->object);
        struct store_stat stat;
        if (store < 0)
            continue;
        walk->store = (uint32_t)store;
        if (store_of(walk)->type->stat(store_of(walk), &walk->object, &stat) || exists(&stat))
            continue;
        begin_object(walk);
        return;
    }
    if (!walk->listed_all) {
        ask_list(walk);
        return;
    }
    do
        walk->duty++;
    while (walk->duty < walk->duty_count && is_listed_before(walk, walk->duty));
    walk->object = (struct store_object){0};
    walk->listed_all = false;
    if (walk->duty < walk->duty_count)
        ask_list(walk);
    else
        settle(walk);
}

static void next_of_ours(struct lead_walk *walk)
{
    while (walk->store < walk->shard->server->target_count) {
        struct store *store = store_of(walk);
        int error = store->type->next(store, &walk->object);
        if (error == -ENOENT) {
            walk->store++;
            walk->object = (struct store_object){0};
            continue;
        }
        if (error) {
            give_up(walk, err_text());
            return;
        }
        if (has_group(walk, &walk->object) && own_target(walk, &walk->object) == (int)walk->store) {
            begin_object(walk);
            return;
        }
    }
    walk->stage = THEIRS;
    ask_list(walk);
}

static void next_object(struct lead_walk *walk)
{
    if (walk->stage == OURS)
        next_of_ours(walk);
    else
        next_of_theirs(walk);
}

/* ---- beginning -------------------------------------------------------------------------- */

static bool is_own_group(const struct shard *shard, uint32_t group)
{
    return shard->map->targets[map_leader(shard->map, group) - shard->map->targets].server ==
           shard->lead->own;
}

/* The member of the group that is on that server and is to be brought up to date; -1: none, or we have said
 * that it is. */
static int syncing_on(const struct shard *shard, uint32_t number, uint32_t server)
{
    const struct map *map = shard->map;
    const struct map_group *group = &map->groups[number];
    for (uint32_t m = 0; m < group->member_count; m++) {
        const struct map_target *target = &map->targets[group->members[m]];
        if (group->states[m] == MAP_MEMBER_SYNCING && target->server == server)
            return lead_is_promised(shard->lead, &(struct lead_duty){number, target->id}) ? -1 : (int)m;
    }
    return -1;
}

/* The next server, from the one on that had its turn last, with something to be done; -1: none. */
static int find_server(const struct shard *shard)
{
    const struct map *map = shard->map;
    for (uint32_t i = 1; i <= map->server_count; i++) {
        const uint32_t server = (shard->lead->walked + i) % map->server_count;
        if (map->servers[server].state != MAP_STATE_UP)
            continue;
        for (uint32_t g = 0; g < map->group_count; g++)
            if (is_own_group(shard, g) && syncing_on(shard, g, server) >= 0)
                return (int)server;
    }
    return -1;
}

static void begin(struct shard *shard, uint32_t server)
{
    const struct map *map = shard->map;
    struct lead_walk *walk = calloc(1, sizeof *walk);
    if (!walk)
        return;
    walk->shard = shard;
    walk->server = server;
    walk->duties = malloc(map->group_count * sizeof *walk->duties);
    walk->piece = malloc(PIECE_BYTES);
    shard->lead->walk = walk;
    shard->lead->walked = server;
    if (!walk->duties || !walk->piece) {
        give_up(walk, "there is no memory");
        return;
    }
    for (uint32_t g = 0; g < map->group_count; g++) {
        const int member = is_own_group(shard, g) ? syncing_on(shard, g, server) : -1;
        if (member >= 0)
            walk->duties[walk->duty_count++] =
                (struct duty){.group = g,
                              .target = map->targets[map->groups[g].members[member]].id,
                              .changed = map->groups[g].changed};
    }
    next_object(walk);
}

void lead_sync_look(struct shard *shard)
{
    if (!shard->lead->leads || shard->lead->walk || rpc_now_ns() < shard->lead->walk_at_ns)
        return;
    const int server = find_server(shard);
    shard->lead->to_walk = server >= 0;
    /* What came before we led may still be under way here, and is not to come after the comparison. */
    if (server >= 0 && !shard_has_older(shard) && !atomic_load(&shard->stop))
        begin(shard, (uint32_t)server);
}

void lead_sync_void(struct shard *shard, uint32_t server)
{
    struct lead_walk *walk = shard->lead->walk;
    if (walk && walk->server == server)
        walk->stopped = true;
}

void lead_sync_stop(struct shard *shard)
{
    if (shard->lead && shard->lead->walk)
        shard->lead->walk->stopped = true;
}
