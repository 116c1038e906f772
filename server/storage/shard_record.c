/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records on the wire: what owners (numbers of a client's) have locked. A request is repeatable: what
 * became of the latest ones of each client is remembered as long as it is connected.
 *
 * Records end with the client's connection. Whoever had some and asks again over another one names the
 * epoch that he had them in, and is told that they are lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "err.h"
#include "shard_lock.h"

enum { BLOCKER_BYTES = 33, REPLY_BYTES = 32 + LIMITS_LOCK_BLOCKERS_MAX * BLOCKER_BYTES };

static_assert(REPLY_BYTES < LIMITS_BODY_MAX, "an answer with all blockers fits");

/* ---- answers ------------------------------------------------------------ */

static struct wire_list encode_blockers(const struct lock *lock, uint8_t *room, size_t size)
{
    struct lock_blocker blockers[LIMITS_LOCK_BLOCKERS_MAX];
    uint32_t count = lock_record_blockers(lock, blockers, LIMITS_LOCK_BLOCKERS_MAX);
    struct wire_writer writer = wire_writer_on(room, size);
    for (uint32_t i = 0; i < count; i++) {
        struct wire_lock_blocker wire = {
            .owner = blockers[i].holder, .serial = blockers[i].serial, .direct = blockers[i].direct};
        memcpy(wire.client.bytes, blockers[i].client, sizeof wire.client.bytes);
        wire_put_lock_blocker(&writer, &wire);
    }
    return wire_list_of(&writer, count);
}

static void reply_with(struct rpc_request *request, const struct wire_record_reply *reply)
{
    uint8_t body[REPLY_BYTES];
    ssize_t length = wire_encode_record_reply(body, sizeof body, reply);
    if (length < 0)
        rpc_reply(request, (int)length, NULL, 0, NULL, 0, NULL, NULL);
    else
        rpc_reply(request, 0, body, (size_t)length, NULL, 0, NULL, NULL);
}

void shard_record_answer(struct rpc_request *request, const struct lock *lock, bool granted, bool tells)
{
    uint8_t room[LIMITS_LOCK_BLOCKERS_MAX * BLOCKER_BYTES];
    struct wire_record_reply reply = {
        .granted = granted, .holds = granted, .epoch = lock_record_client(lock)->epoch};
    if (tells)
        reply.blockers = encode_blockers(lock, room, sizeof room);
    reply_with(request, &reply);
}

static void answer_at_once(struct rpc_request *request, const struct lock_client *client,
                           const struct wire_record *wire, bool granted)
{
    struct wire_record_reply reply = {
        .granted = granted,
        .holds = client && lock_record_holds(client, wire->owner, wire->capability.ino),
        .epoch = client ? client->epoch : 0,
    };
    reply_with(request, &reply);
}

/* ---- asking for a record ------------------------------------------------ */

static int lost(void)
{
    return err_set(-EOWNERDEAD, "locks were lost while they were held: the connection to the storage server "
                                "that keeps them broke, or that server was started anew");
}

/* Whose records they are; NULL without an error: he has none, and gives some back. */
static int find_client(struct shard_io *io, const struct wire_record *wire, struct lock_client **out)
{
    const struct rpc_identity *identity = rpc_peer_identity(io->request->peer);
    struct lock_table *table = io->shard->locks->table;
    *out = lock_client_get(table, identity->client, wire->type != WIRE_LOCK_NONE);
    if (wire->epoch && (!*out || (*out)->epoch != wire->epoch))
        return lost();
    if (!*out)
        return wire->type == WIRE_LOCK_NONE ? 0 : err_set(-ENOMEM, "no memory for a client's locks");
    (*out)->arg = io->request->peer; /* they end with this connection, if they came by another one */
    return 0;
}

static int check(const struct shard_io *io, const struct wire_record *wire)
{
    if (!(io->capability.access & (WIRE_ACCESS_READ | WIRE_ACCESS_WRITE)))
        return err_set(-EACCES, "the capability for inode %" PRIu64 " allows neither to read nor to write",
                       io->capability.ino);
    if (wire->id == 0 || wire->start >= wire->end)
        return err_set(-EINVAL, wire->id ? "the lock covers nothing" : "a lock has the number 0");
    return 0;
}

/* The same record was asked for before, and stands in the line. */
static int set_again(struct shard_io *io, const struct wire_record *wire, struct lock **lock)
{
    if (!(*lock)->record || (*lock)->ino != wire->capability.ino ||
        (*lock)->exclusive != (wire->type == WIRE_LOCK_EXCLUSIVE))
        return err_set(-EPROTO, "lock %" PRIu64 " was asked for before, and as another one", wire->id);
    if ((*lock)->arg)
        shard_lock_waiting_answer((*lock)->arg, false);
    if ((wire->flags & WIRE_RECORD_PASS) && lock_record_pass(io->shard->locks->table, *lock))
        *lock = NULL;
    return 0;
}

/* *lock NULL: it is done. */
static int set(struct shard_io *io, const struct wire_record *wire, struct lock_client *client,
               struct lock **lock)
{
    struct lock_table *table = io->shard->locks->table;
    const struct lock_wish wish = {
        .ino = wire->capability.ino,
        .holder = wire->owner,
        .id = wire->id,
        .pid = wire->pid,
        .type = wire->type == WIRE_LOCK_NONE     ? LOCK_NONE
                : wire->type == WIRE_LOCK_SHARED ? LOCK_SHARED
                                                 : LOCK_EXCLUSIVE,
        .waits = wire->wait_ms > 0,
        .detect = (wire->flags & WIRE_RECORD_DETECT) != 0,
        .pass = (wire->flags & WIRE_RECORD_PASS) != 0,
        .range = {wire->start, wire->end},
    };
    struct lock_name name = {.id = wire->id};
    memcpy(name.client, client->client, sizeof name.client);
    *lock = lock_table_find(table, &name);
    if (*lock)
        return set_again(io, wire, lock);
    int ended = lock_client_ended(client, wire->id);
    if (ended < 0)
        return err_set(ended, "lock %" PRIu64 " was given up before", wire->id);
    if (ended > 0)
        return 0;
    int error = lock_record_set(table, client, &wish, lock);
    if (!error && wish.type != LOCK_NONE)
        shard_counter_add(io->shard, *lock ? SHARD_LOCKS_WAITED : SHARD_LOCKS_GRANTED, 1);
    return error;
}

void shard_record(struct shard_io *io)
{
    struct wire_record wire;
    struct lock_client *client = NULL;
    struct lock *lock = NULL;
    int error = wire_decode_record(io->request->body, io->request->body_length, &wire);
    if (!error)
        error = check(io, &wire);
    if (error) {
        shard_io_refuse(io, error);
        return;
    }
    error = find_client(io, &wire, &client);
    if (!error && client)
        error = set(io, &wire, client, &lock);
    if (!error && lock)
        error = shard_lock_wait(io, wire.wait_ms, (wire.flags & WIRE_RECORD_BLOCKERS) != 0, lock);
    if (error && error != -EAGAIN) {
        shard_io_fail(io, error);
        shard_io_end(io, 0);
        return;
    }
    struct rpc_request *request = io->request;
    shard_io_leave(io);
    if (!lock)
        answer_at_once(request, client, &wire, !error);
}

/* ---- giving up ---------------------------------------------------------- */

/* Whether it has been granted, and stays so. */
static bool cancel(struct shard *shard, struct lock_client *client, const struct wire_record_cancel *wire)
{
    struct lock_table *table = shard->locks->table;
    const uint64_t id = wire->id;
    struct lock_name name = {.id = id};
    memcpy(name.client, client->client, sizeof name.client);
    struct lock *lock = lock_table_find(table, &name);
    if (lock && lock->record) {
        if (lock->arg)
            shard_lock_waiting_answer(lock->arg, false);
        lock_table_remove(table, lock);
    }
    bool undone = wire->undo && lock_record_undo(table, client, id);
    if (!undone && lock_client_ended(client, id) > 0)
        return true;
    lock_client_note(client, id, false);
    return false;
}

void shard_record_cancel(struct shard_io *io)
{
    uint8_t body[16];
    struct wire_record_cancel wire;
    struct wire_record_cancel_reply reply = {0};
    struct rpc_request *request = io->request;
    int error = wire_decode_record_cancel(request->body, request->body_length, &wire);
    if (error) {
        shard_io_refuse(io, error);
        return;
    }
    /* Made when he is not known: a request that comes late must find that it was given up. */
    struct lock_client *client =
        lock_client_get(io->shard->locks->table, rpc_peer_identity(request->peer)->client, true);
    if (client) {
        client->arg = request->peer;
        reply.granted = cancel(io->shard, client, &wire);
        reply.epoch = client->epoch;
    }
    ssize_t length = wire_encode_record_cancel_reply(body, sizeof body, &reply);
    shard_io_leave(io);
    rpc_reply(request, length < 0 ? (int)length : 0, body, length < 0 ? 0 : (size_t)length, NULL, 0, NULL,
              NULL);
}

/* ---- looking ------------------------------------------------------------ */

static ssize_t test(struct shard_io *io, const struct wire_record_test *wire, void *body, size_t size)
{
    const struct lock_table *table = io->shard->locks->table;
    const struct lock_client *client =
        lock_client_get(io->shard->locks->table, rpc_peer_identity(io->request->peer)->client, false);
    const struct lock_wish wish = {
        .ino = wire->capability.ino,
        .holder = wire->owner,
        .type = wire->type == WIRE_LOCK_EXCLUSIVE ? LOCK_EXCLUSIVE : LOCK_SHARED,
        .range = {wire->start, wire->end},
    };
    struct lock_found found;
    struct wire_record_test_reply reply = {0};
    if (lock_record_test(table, client, &wish, &found)) {
        reply.type = found.type == LOCK_EXCLUSIVE ? WIRE_LOCK_EXCLUSIVE : WIRE_LOCK_SHARED;
        reply.start = found.range.start;
        reply.end = found.range.end;
        reply.owner = found.holder;
        reply.pid = found.pid;
        memcpy(reply.client.bytes, found.client, sizeof reply.client.bytes);
    }
    return wire_encode_record_test_reply(body, size, &reply);
}

void shard_record_test(struct shard_io *io)
{
    uint8_t body[64];
    struct wire_record_test wire;
    struct rpc_request *request = io->request;
    int error = wire_decode_record_test(request->body, request->body_length, &wire);
    if (!error && (wire.start >= wire.end || wire.type == WIRE_LOCK_NONE))
        error = err_set(-EINVAL, "the lock that is looked for covers nothing");
    if (error) {
        shard_io_refuse(io, error);
        return;
    }
    ssize_t length = test(io, &wire, body, sizeof body);
    shard_io_leave(io);
    rpc_reply(request, length < 0 ? (int)length : 0, body, length < 0 ? 0 : (size_t)length, NULL, 0, NULL,
              NULL);
}

/* ---- the end ------------------------------------------------------------ */

uint32_t shard_records_peer_down(struct shard *shard, struct rpc_peer *peer)
{
    struct shard_locks *locks = shard->locks;
    list_each(&locks->waiting, link, after)
    {
        struct waiting *waiting = list_item(link, struct waiting, link);
        if (waiting->request->peer == peer && waiting->lock->record)
            shard_lock_waiting_answer(waiting, false); /* to nobody, but it has to end */
    }
    struct lock_client *client = lock_client_get(locks->table, rpc_peer_identity(peer)->client, false);
    return client && client->arg == peer ? lock_client_end(locks->table, client) : 0;
}
